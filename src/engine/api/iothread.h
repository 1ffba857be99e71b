/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * iothread.h - a VM's own thread for what happens without a vCPU: timers and event descriptors.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct iothread;
struct io_timer;
struct io_watch;

struct iothread *iothread_new(void);
/* Waits for the thread's end; all timers and watches must be gone. */
struct iothread *iothread_free(struct iothread *io);

/* fn runs on the thread, with the number of expirations since it last ran. */
struct io_timer *io_timer_new(struct iothread *io, void (*fn)(void *arg, uint64_t count),
                              void *arg);
struct io_timer *io_timer_free(struct io_timer *t);
/* Any thread: fires at that CLOCK_MONOTONIC time, then each period (0: once). at 0 disarms. */
void io_timer_arm(struct io_timer *t, uint64_t at_nsec, uint64_t period_nsec);

/* fn runs on the thread each time the eventfd is signalled, after its counter was read. */
struct io_watch *io_watch_new(struct iothread *io, int eventfd, void (*fn)(void *arg), void *arg);
/* Returns after fn has run for the last time. Not from fn. */
struct io_watch *io_watch_free(struct io_watch *w);

uint64_t monotonic_nsec(void);
