/* SPDX-License-Identifier: GPL-2.0-or-later */
/* job.h - jobs as QMP knows them. Main loop. */
#pragma once

#include "base/err.h"
#include "block/job/job.h"

struct json_object;
struct machine;

/* Starts a job on a drive. args: what all jobs take ("job-id", "device", "speed", "auto-finalize",
 * "auto-dismiss", "on-error"); spec: the rest, with node and type. target: a node of the job's own,
 * forgotten when it ends; NULL: none. */
int qmp_job_start(struct machine *m, struct json_object *args, struct block_job_spec *spec,
                  struct block_node *target, struct err **err) MUST_CHECK;
/* A job that is over when it is made (blockdev-create). error: NULL when it went well; taken. */
int qmp_job_done(struct machine *m, const char *id, const char *type, struct err *error,
                 struct err **err) MUST_CHECK;
void qmp_jobs_free(struct machine *m);
/* The NBD server and its exports. */
void qmp_nbd_free(struct machine *m);
