/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * path.h - where things live: XDG folders for a user, /etc, /var/lib, /run for the system.
 *
 * Returned strings are owned by the caller; NULL means no memory.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

enum path_kind {
    PATH_CONFIG, /* $XDG_CONFIG_HOME/vireo or /etc/vireo */
    PATH_STATE,  /* $XDG_DATA_HOME/vireo or /var/lib/vireo */
    PATH_CACHE,  /* $XDG_CACHE_HOME/vireo or /var/cache/vireo */
    PATH_RUN,    /* $XDG_RUNTIME_DIR/vireo or /run/vireo */
};

/* The folder of that kind, with name appended when not NULL. Nothing is created. */
char *path_of(enum path_kind kind, bool system, const char *name);

/* dir + "/" + name, or name when that is absolute. */
char *path_join(const char *dir, const char *name);

/* mkdir -p. */
int path_make_folders(const char *path, mode_t mode, struct err **err) MUST_CHECK;

bool path_exists(const char *path);

/* First executable of that name: beside the running program, then in $PATH. */
char *path_find_program(const char *name);
