/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * backup.h - a running domain's disks as they were at one moment: written to files (push), or
 * offered over NBD until the job is ended (pull).
 *
 * run.backup is the job's document, with what was filled in; each disk's copy is a block job. A
 * domain has at most one backup. The document is in the state file.
 */
#pragma once

#include "mgmt/driver/qemu/run.h"

enum { BACKUP_REUSE_EXTERNAL = 1 };

struct blockjob;

/* Takes def and checkpoint (NULL: none is made with it). */
int backup_begin(struct domain *d, struct node *def, struct node *checkpoint, unsigned flags,
                 struct err **err) MUST_CHECK;
/* Ends it before its time; a pull has no other end. */
int backup_abort(struct domain *d, struct err **err) MUST_CHECK;
/* Progress into run.stats. On a worker. */
void backup_measure(struct domain *d);
/* A disk's block job ended. On a worker. */
void backup_disk_done(struct domain *d, const struct blockjob *j, bool success);
