/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lock.h - the daemon's one lock.
 *
 * Whoever runs daemon code holds it: the event loop around each callback, a worker while it
 * handles a call. What takes long (a QMP reply, a program, a file) is waited for without it, so
 * that objects may change during such a wait: keep a reference, and look again afterwards. Most
 * calls take microseconds; one lock costs less than the bookkeeping of many.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

void lock_enter(void);
void lock_leave(void);

/* Waits for the condition without the lock; false when at_usec (CLOCK_MONOTONIC, UINT64_MAX for
 * ever) passed first. */
bool lock_wait(pthread_cond_t *cond, uint64_t at_usec);
/* A condition for lock_wait(). */
void lock_cond_init(pthread_cond_t *cond);

/* For the loop's guard. */
void lock_enter_arg(void *arg);
void lock_leave_arg(void *arg);

/* Runs one statement without the lock. */
#define UNLOCKED(statement) \
    do {                    \
        lock_leave();       \
        statement;          \
        lock_enter();       \
    } while (0)
