/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * process.h - starting other programs.
 *
 * The child gets only the descriptors it is given, default signal handling, and no blocked signals.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_spec {
    const char *const *argv; /* ends with NULL; argv[0] is looked up in $PATH */
    const char *const *env;  /* "K=V" entries put on top of ours; NULL: none */
    const char *dir;         /* working folder; NULL: ours */
    int fd_in;               /* -1: /dev/null */
    int fd_out;              /* -1: /dev/null; PROCESS_INHERIT: ours */
    int fd_err;
    const int *keep; /* descriptors passed on with their numbers, ascending */
    size_t n_keep;
    bool die_with_parent; /* SIGKILL when the starting thread ends */
    bool new_session;     /* setsid() */
};

enum { PROCESS_INHERIT = -2 };

/* A failed exec is reported here, not by the child's exit. */
int process_spawn(const struct process_spec *spec, pid_t *ret, struct err **err) MUST_CHECK;

/* Waits: the exit status, or 128 + signal as a shell says it, or a negative errno. */
int process_wait(pid_t pid);

/* Runs the program to its end and returns what it wrote to stdout (up to max bytes, owned);
 * an exit status other than 0 is an error that quotes the end of stderr. */
int process_capture(const char *const *argv, size_t max, char **ret_out, struct err **err)
    MUST_CHECK;
