/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * save.h - a domain's memory in a file: save, restore, managed save, core dump.
 *
 * The file: a header, the domain's definition as XML, padding up to the data's offset, then the
 * emulator's migration stream.
 *
 *      magic   16 bytes   "VireoDomainSave"; while it is being written "VireoDomainPart"
 *      version u32 LE     1
 *      running u32 LE     1: continue after restoring, 0: stay paused
 *      xml     u32 LE     bytes of the definition
 *      data    u32 LE     offset of the stream
 */
#pragma once

#include "mgmt/object/domain.h"

enum { SAVE_RUNNING = 2, SAVE_PAUSED = 4 };

int save_to(struct domain *d, const char *path, const char *dxml, unsigned flags, bool managed,
            struct err **err) MUST_CHECK;
/* Only the file: on success the guest is stopped, having been so before or at the end. */
int save_memory(struct domain *d, const char *path, const char *xml, bool running,
                const char *operation, struct err **err) MUST_CHECK;
/* Starts the (inactive) domain from the file. */
int save_restore(struct domain *d, const char *path, unsigned flags, struct err **err) MUST_CHECK;
int save_read(const char *path, struct node **ret_def, bool *ret_running, int *ret_fd,
              struct err **err) MUST_CHECK;
/* Replaces the definition in the file; it must describe the same machine. */
int save_rewrite(struct world *w, const char *path, const char *xml, unsigned flags,
                 struct err **err) MUST_CHECK;
