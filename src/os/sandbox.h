/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sandbox.h - giving up what a process no longer needs: capabilities, files (Landlock), system
 * calls (seccomp).
 *
 * Call in the order drop, files, syscalls; none can be undone. All threads made later inherit it;
 * sandbox_syscalls() covers those that exist already as well.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* No new privileges; clears every capability set. uid/gid: changed to when not 0 (needs root). */
int sandbox_drop(unsigned uid, unsigned gid, struct err **err) MUST_CHECK;

/* The same without changing identity, but keeping those of caps (CAP_...; n of them) that we have.
 */
int sandbox_drop_keeping(const unsigned *caps, size_t n, struct err **err) MUST_CHECK;

struct sandbox_path {
    const char *path;
    bool write;
};

/* Afterwards only these files, and what lies below these folders, can be opened. 0 also where the
 * kernel has no Landlock; *ret_active says which. */
int sandbox_files(const struct sandbox_path *paths, size_t n, bool *ret_active, struct err **err)
    MUST_CHECK;

/* Only the named system calls are allowed; others fail with EPERM, or end the process when
 * kill is set. names ends with NULL; names that this kernel does not know are passed over. */
int sandbox_syscalls(const char *const *names, bool kill, struct err **err) MUST_CHECK;
