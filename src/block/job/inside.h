/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inside.h - a job seen from its own work (job only). */
#pragma once

#include "block/core/hook.h"
#include "block/job/job.h"

#include <pthread.h>

struct block_job_ops {
    /* On the loop's thread before the work begins, and after it ended: hooks and bitmaps. */
    int (*begin)(struct block_job *job, struct err **err);
    /* The job's thread. */
    int (*run)(struct block_job *job, struct err **err);
    /* Loop's thread, nodes drained. success: what the job is for. NULL: nothing. */
    int (*finish)(struct block_job *job, struct err **err);
    void (*clean)(struct block_job *job, bool success);
};

struct block_job {
    struct block_job_spec spec; /* node, top, base, target counted */
    const struct block_job_ops *ops;
    char *id;           /* owned */
    char *backing_file; /* owned */
    struct block_ctx *ctx;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t cond;
    enum block_job_status status;
    enum block_job_status told; /* of the event that is being told */
    uint64_t done;
    uint64_t total;
    uint64_t speed;
    uint64_t slept_for; /* bytes since the last pause for speed */
    bool pause_wanted;
    bool cancel_wanted;
    bool force_cancel;
    bool complete_wanted;
    bool ready;
    int result;
    struct err *err; /* owned */
    unsigned posted; /* calls on their way to the loop */

    /* The work's own. */
    struct block_hook hook;
    struct block_bitmap *dirty; /* of node */
    uint64_t unit;
    uint64_t *copied;               /* backup: owned bit per unit */
    uint64_t *copying;              /* backup: units under way */
    struct block_job_write *writes; /* stream: guests' writes under way */
    uint64_t busy_off, busy_len;    /* stream: what is being copied */
};

/* Where the work may be stopped: waits while paused, sleeps for the speed limit, and says
 * -ECANCELED when it is to end. moved: bytes since the last call. */
int block_job_point(struct block_job *job, uint64_t moved);
void block_job_progress(struct block_job *job, uint64_t done, uint64_t total);
void block_job_set_ready(struct block_job *job);
bool block_job_wants_end(struct block_job *job);
/* An I/O error: 0 to try again (after a stop), 1 to go on, negative to end. */
int block_job_error(struct block_job *job, int error);

extern const struct block_job_ops block_job_commit_ops, block_job_stream_ops, block_job_mirror_ops,
    block_job_backup_ops;
