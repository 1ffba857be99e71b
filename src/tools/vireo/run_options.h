/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run_options.h - what `vireo run` was asked for. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { RUN_MAX_LIST = 32 };

struct run_options {
    const char *kernel, *initrd, *append; /* borrowed from argv, NULL: ours */
    const char *accel;
    const char *rootfs; /* folder or image; NULL: "/" for a command */
    const char *disk[RUN_MAX_LIST];
    unsigned n_disks;
    const char *share[RUN_MAX_LIST];
    unsigned n_shares;
    const char *rw[RUN_MAX_LIST];
    unsigned n_rws;
    const char *forward[RUN_MAX_LIST];
    unsigned n_forwards;
    uint32_t cpus;
    uint64_t memory_mib;
    uint64_t timeout_usec; /* 0: none */
    bool net;
    bool quiet;
    char *const *command; /* NULL: a shell; ends with NULL */
};

extern const char run_help[];

int run_options_parse(int argc, char **argv, struct run_options *ret, struct err **err) MUST_CHECK;
