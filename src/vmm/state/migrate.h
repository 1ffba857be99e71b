/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * migrate.h - a machine's state to and from fd:, unix:, tcp: and file: addresses: stop, copy, done.
 * Main loop only; the copying itself keeps the loop busy, as the machine stands still anyway.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct machine;

enum migrate_status {
    MIGRATE_NONE,
    MIGRATE_SETUP,
    MIGRATE_ACTIVE,
    MIGRATE_COMPLETED,
    MIGRATE_FAILED,
};

struct migration {
    enum migrate_status status;
    uint64_t bytes;
    uint64_t total_msec;
    char *error; /* owned */
    char *uri;   /* owned */
    int fd;
    bool posted;
    void *listener; /* struct loop_source, of an incoming address */
};

const char *migrate_status_name(enum migrate_status s);
/* Checks the address and begins soon; events tell how it went. */
int migrate_out(struct machine *m, const char *uri, struct err **err) MUST_CHECK;
/* The machine waits in state inmigrate; "defer": for migrate-incoming. */
int migrate_in(struct machine *m, const char *uri, struct err **err) MUST_CHECK;
void migrate_done(struct machine *m);
