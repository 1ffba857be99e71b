/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * worker.h - threads for calls that may wait. A call runs on one worker from start to end.
 *
 * Threads are made as calls wait and end when they have been idle. A call marked "high" has threads
 * of its own when all others are taken, so that a stuck guest cannot keep an administrator from
 * ending it.
 */
#pragma once

#include <stdbool.h>

struct call;

typedef void worker_fn(void *arg);

/* Runs fn(arg) under the daemon's lock. -EAGAIN when no thread can be had. */
int worker_run(worker_fn *fn, void *arg, bool high);

struct worker_params {
    unsigned max, max_high;
    unsigned n, n_high, n_idle; /* now */
    unsigned queued;
};
void worker_get(struct worker_params *ret);
void worker_set(unsigned max, unsigned max_high);
