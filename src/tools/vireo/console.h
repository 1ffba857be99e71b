/* SPDX-License-Identifier: GPL-2.0-or-later */
/* console.h - streams on the terminal and in files. */
#pragma once

#include "tools/vireo/shell.h"

/* The terminal is the guest's console until the escape key. resume: the domain was started paused.
 */
int console_run(struct shell *sh, const struct vireo_domain *d, const char *device, uint32_t flags,
                bool resume);
/* A screenshot into a file, named after the domain when the user gave no name. Frees the stream. */
int stream_to_image(struct shell *sh, struct vireo_stream *s, const char *domain, const char *mime,
                    const char *file);
/* Whole transfers of volumes. Free the stream. */
int stream_to_file(struct vireo_stream *s, const char *file);
int file_to_stream(const char *file, uint64_t length, bool sparse, struct vireo_stream *s);
/* The volumes of a domain's disks ("vda,vdb" or paths; NULL: all). */
int remove_volumes(struct shell *sh, const char *domain_xml, const char *which);
