/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * job.h - long work on images in use: commit, stream, mirror, backup.
 *
 * A job is made, asked and ended on the loop's thread; its work is done on a thread of its own with
 * blocking calls, while guests go on reading and writing. What changes the graph happens on the
 * loop's thread at the end, with the nodes drained. The states and words are QMP's.
 *
 *     created -> running <-> paused
 *     running -> ready -> (complete) -> waiting -> pending -> concluded
 *     any -> aborting -> concluded           (cancelled or failed)
 */
#pragma once

#include "block/core/bitmap.h"
#include "block/core/block.h"

struct block_job;

enum block_job_type { BLOCK_JOB_COMMIT, BLOCK_JOB_STREAM, BLOCK_JOB_MIRROR, BLOCK_JOB_BACKUP };

enum block_job_status {
    BLOCK_JOB_CREATED,
    BLOCK_JOB_RUNNING,
    BLOCK_JOB_PAUSED,
    BLOCK_JOB_READY,
    BLOCK_JOB_WAITING,
    BLOCK_JOB_PENDING, /* waits for block_job_finalize() */
    BLOCK_JOB_ABORTING,
    BLOCK_JOB_CONCLUDED,
};

/* "running", "ready" ... as query-jobs says it. */
const char *block_job_status_name(enum block_job_status s);
const char *block_job_type_name(enum block_job_type t);

enum block_job_sync { BLOCK_SYNC_FULL, BLOCK_SYNC_TOP, BLOCK_SYNC_NONE, BLOCK_SYNC_BITMAP };

/* What happens to the bitmap of an incremental backup. */
enum block_bitmap_mode { BLOCK_BITMAP_ON_SUCCESS, BLOCK_BITMAP_NEVER, BLOCK_BITMAP_ALWAYS };

enum block_on_error { BLOCK_ON_ERROR_REPORT, BLOCK_ON_ERROR_IGNORE, BLOCK_ON_ERROR_STOP };

enum block_job_event {
    BLOCK_JOB_EV_STATUS,    /* JOB_STATUS_CHANGE */
    BLOCK_JOB_EV_READY,     /* BLOCK_JOB_READY */
    BLOCK_JOB_EV_PENDING,   /* BLOCK_JOB_PENDING */
    BLOCK_JOB_EV_ERROR,     /* BLOCK_JOB_ERROR: a request failed, the job goes on or stops */
    BLOCK_JOB_EV_COMPLETED, /* BLOCK_JOB_COMPLETED, with an error or without */
    BLOCK_JOB_EV_CANCELLED, /* BLOCK_JOB_CANCELLED */
};

struct block_job_spec {
    const char *id;
    enum block_job_type type;
    /* The image that guests use: source of mirror and backup, what stream completes, the top of
     * the chain for commit. */
    struct block_node *node;
    struct block_node *top;    /* commit: what is merged down; NULL: node itself (active commit) */
    struct block_node *base;   /* commit: into it; stream: stays as backing image, NULL: none */
    struct block_node *target; /* mirror, backup; opened for writing by the caller */
    const char
        *backing_file; /* name that the overlay will have for its backing image; NULL: base's */
    enum block_job_sync sync;
    struct block_bitmap *bitmap; /* with BLOCK_SYNC_BITMAP */
    enum block_bitmap_mode bitmap_mode;
    uint64_t speed;       /* bytes per second; 0: unlimited */
    uint64_t granularity; /* mirror; 0: the default */
    enum block_on_error on_error;
    bool manual_finalize; /* auto-finalize=false */
    bool write_blocking;  /* mirror: copy-mode=write-blocking */
    /* On the loop's thread. */
    void (*event)(void *arg, struct block_job *job, enum block_job_event ev);
    /* All users of `from` must use `to` from now on; both are drained. Mirror and active commit. */
    int (*replace)(void *arg, struct block_node *from, struct block_node *to, struct err **err);
    void *arg;
};

struct block_job_info {
    const char *id; /* borrowed */
    enum block_job_type type;
    enum block_job_status status;
    enum block_job_status told; /* in an event: the status that it tells of */
    uint64_t done;
    uint64_t total;
    uint64_t speed;
    bool busy;
    bool paused;
    bool ready;
    bool cancelled;
    const char *error; /* borrowed; NULL: none (yet) */
};

/* Starts it. The nodes are counted by the job. */
int block_job_start(struct block_ctx *ctx, const struct block_job_spec *spec,
                    struct block_job **ret, struct err **err) MUST_CHECK;
void block_job_query(struct block_job *job, struct block_job_info *ret);
int block_job_pause(struct block_job *job, struct err **err) MUST_CHECK;
int block_job_resume(struct block_job *job, struct err **err) MUST_CHECK;
int block_job_set_speed(struct block_job *job, uint64_t speed, struct err **err) MUST_CHECK;
/* A ready mirror or commit that is not forced ends without replacing, as with success. */
int block_job_cancel(struct block_job *job, bool force, struct err **err) MUST_CHECK;
/* Of a ready job: replace and end. */
int block_job_complete(struct block_job *job, struct err **err) MUST_CHECK;
/* Of a pending job. */
int block_job_finalize(struct block_job *job, struct err **err) MUST_CHECK;
/* Ends it first when it still runs. */
struct block_job *block_job_free(struct block_job *job);
