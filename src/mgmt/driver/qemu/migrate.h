/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * migrate.h - the emulator's migration stream, to a file or to another daemon's emulator.
 */
#pragma once

#include "mgmt/driver/qemu/run.h"

/* Waits until all is written. The guest is stopped by the caller. On a worker, under the job. */
int migrate_to_fd(struct domain *d, int fd, const char *operation, struct err **err) MUST_CHECK;
/* Runs "migrate" to the URI, as set up, and waits. 0 as well when the guest went over to the other
 * side and only the rest of its memory follows (run.migration is MIGRATION_POSTCOPY then; wait
 * again). */
int migrate_run(struct domain *d, const char *uri, const char *operation, struct err **err)
    MUST_CHECK;
int migrate_wait(struct domain *d, const char *operation, struct err **err) MUST_CHECK;
void migrate_cancel(struct domain *d);
