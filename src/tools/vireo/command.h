/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.h - one command of `vireo`: a const table entry, declared in registry.c.
 */
#pragma once

#include "base/err.h"

struct command {
    const char *name;
    const char *usage; /* what follows the name */
    const char *summary;
    const char *help; /* option lines; NULL: none */
    /* argv[0] is the command's name. The exit status, or a negative errno with err set. */
    int (*run)(int argc, char **argv, struct err **err);
};

extern const struct command *const commands[]; /* ends with NULL */
