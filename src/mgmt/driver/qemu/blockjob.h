/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockjob.h - jobs that move data between the images of a running domain's disk.
 *
 * The emulator's job keeps its state until we dismiss it; its JOB_STATUS_CHANGE events move ours:
 *      running --ready (commit of the top, copy)--> waits for the end, with or without a pivot
 *      concluded --> dismissed, the definition gets the new chain, "completed" or "failed" is told
 * A disk has at most one. They are in the domain's state file, so that a restarted daemon goes on.
 */
#pragma once

#include "mgmt/driver/qemu/run.h"

struct json_object;

enum blockjob_type {
    JOB_PULL = 1,
    JOB_COPY = 2,
    JOB_COMMIT = 3,
    JOB_ACTIVE_COMMIT = 4,
    JOB_BACKUP = 5
};

struct blockjob {
    struct list link;
    char *name, *target, *path; /* owned: QMP's id; "vda"; its file when it began */
    char *format;               /* owned; of the copy's destination */
    enum blockjob_type type;
    bool ready, concluded, failed, pivot, canceled;
    bool quiet;                /* part of something bigger: no events */
    uint64_t progress, length; /* when it was over */
    char *why;                 /* owned; the emulator's reason for a failure */
    struct node *mirror;       /* owned; the copy's destination, as a <source> */
    unsigned mirror_node;
    unsigned base_index, top_index; /* of commit and pull; 0: all */
    bool delete_top;
};

/* The disk's job; NULL. */
struct blockjob *blockjob_of(struct run *r, const char *target);
/* Registers one, before the emulator's begins. "already in active block job". */
int blockjob_new(struct domain *d, const struct node *disk, enum blockjob_type type,
                 const char *prefix, struct blockjob **ret, struct err **err) MUST_CHECK;
void blockjob_free(struct blockjob *j);
/* What all of the emulator's commands take; counted. */
struct json_object *blockjob_args(const struct blockjob *j, const struct node *disk,
                                  uint64_t bandwidth);

/* Begins a commit of top (the disk or a layer) into base, a layer below. */
int blockjob_commit(struct domain *d, struct node *disk, struct node *top, struct node *base,
                    uint64_t bandwidth, bool quiet, struct blockjob **ret, struct err **err)
    MUST_CHECK;
/* Ends a ready job: its destination takes over (pivot), or is given up. */
int blockjob_finish(struct domain *d, struct blockjob *j, bool pivot, struct err **err) MUST_CHECK;
/* Waits until the disk's job is over, pivoting when it is ready; the failure of a quiet one is the
 * error. On a worker. */
int blockjob_wait(struct domain *d, const char *target, struct err **err) MUST_CHECK;

/* Events and the end of the run. */
void blockjob_status(struct run *r, struct json_object *data);
void blockjob_forget(struct run *r);

/* In the state file, and taken over from it. */
void blockjobs_write(const struct run *r, struct node *status);
void blockjobs_adopt(struct domain *d, const struct node *status);
