/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stats.h - how far a long job (save, dump, migration, backup) is; the last one is kept as
 * "completed".
 */
#pragma once

#include "mgmt/daemon/calls.h"
#include "mgmt/driver/qemu/run.h"

/* libvirt's numbers. */
enum job_operation {
    OPERATION_UNKNOWN,
    OPERATION_START,
    OPERATION_SAVE,
    OPERATION_RESTORE,
    OPERATION_MIGRATION_IN,
    OPERATION_MIGRATION_OUT,
    OPERATION_SNAPSHOT,
    OPERATION_SNAPSHOT_REVERT,
    OPERATION_DUMP,
    OPERATION_BACKUP,
};

struct job_stats {
    bool active, completed, success;
    bool pull; /* a backup that is read over NBD */
    int operation;
    char *why; /* owned; NULL: no error */
    uint64_t start_usec, elapsed_msec, downtime_msec, setup_msec;
    bool downtime_known;
    bool switched;                       /* the emulator was told to stop the guest for good */
    uint64_t done_processed, done_total; /* of the parts that are over */
    uint64_t total, remaining, processed, bps, iteration, constant, normal, normal_bytes,
        dirty_rate, page_size;
};

/* NULL: no memory. The run's, until the next one. */
struct job_stats *stats_begin(struct domain *d, const char *operation);
/* Over: kept, and told to who listens. */
void stats_end(struct domain *d, bool success, const char *why);
void stats_free(struct job_stats *s);
void stats_params(const struct job_stats *s, struct params *p);
