/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image.h - what an image's header says: format, size, backing file. Only headers are read; the
 * work on images is done by the configured program with qemu-img's interface.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct image_info {
    const char *format; /* "raw", "qcow2" ... as found */
    uint64_t virtual_bytes;
    uint64_t physical_bytes, allocated_bytes;
    char *backing;        /* owned; absolute; NULL: none */
    char *backing_format; /* owned; NULL: not said */
    char *compat;         /* owned; "1.1" of qcow2 */
    bool lazy_refcounts, extended_l2, encrypted;
    uint64_t cluster_bytes;
};

/* format: what it is to be taken for; NULL: as its content says. Negative errno. */
int image_probe(const char *path, const char *format, struct image_info *ret) MUST_CHECK;
void image_info_done(struct image_info *i);

/* vireo-img or qemu-img, or what the configuration names. Owned by the caller. */
char *image_tool(void);
void image_set_tool(const char *path);
/* Runs it (without the daemon's lock); argv after the program, ends with NULL. */
int image_run(const char *const *args, char **ret_out, struct err **err) MUST_CHECK;
