/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * loop.h - the event loop: sd-event, with our signatures and one addition, calls from other
 * threads.
 *
 * A loop belongs to the thread that runs it. Only loop_post() and loop_quit() may be called from
 * another thread, unless a guard is set (see below). Sources are owned by who adds them; freeing
 * one inside its own callback is fine.
 */
#pragma once

#include "base/own.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct loop_source;

int loop_new(struct loop **ret) MUST_CHECK;
struct loop *loop_free(struct loop *loop);
DEFINE_CLEANUP(struct loop, loop_free)

/* Runs until loop_quit(); returns its code, or a negative errno. */
int loop_run(struct loop *loop);
/* One round; waits at most timeout_usec (UINT64_MAX: for ever). 1 when something ran, 0 when not.
 */
int loop_step(struct loop *loop, uint64_t timeout_usec);
void loop_quit(struct loop *loop, int code);

/* enter and leave are called around every callback: how a loop shares objects with other threads
 * under one lock. loop_run() holds it in all but the wait, so that who holds it may add, change and
 * free sources on any thread. Set before the loop runs. */
typedef void loop_guard_fn(void *arg);
void loop_set_guard(struct loop *loop, loop_guard_fn *enter, loop_guard_fn *leave, void *arg);

/* CLOCK_MONOTONIC now, in microseconds. */
uint64_t loop_now_usec(void);

typedef void loop_fd_fn(int fd, uint32_t epoll_events, void *arg);
typedef void loop_timer_fn(void *arg);
typedef void loop_signal_fn(int signo, void *arg);
typedef void loop_child_fn(pid_t pid, int code, int status, void *arg); /* as waitid()'s si_code */
typedef void loop_call_fn(void *arg);

/* epoll_events: EPOLLIN | EPOLLOUT ... (0: parked). The descriptor stays the caller's. */
int loop_add_fd(struct loop *loop, int fd, uint32_t epoll_events, loop_fd_fn *fn, void *arg,
                struct loop_source **ret) MUST_CHECK;
int loop_fd_events(struct loop_source *s, uint32_t epoll_events);
/* Added disarmed; fires once each time it is armed. */
int loop_add_timer(struct loop *loop, loop_timer_fn *fn, void *arg, struct loop_source **ret)
    MUST_CHECK;
int loop_timer_arm(struct loop_source *s, uint64_t at_usec);
int loop_timer_disarm(struct loop_source *s);
/* Blocks the signal in the calling thread; threads made later inherit that. */
int loop_add_signal(struct loop *loop, int signo, loop_signal_fn *fn, void *arg,
                    struct loop_source **ret) MUST_CHECK;
/* SIGCHLD must be blocked (process_spawn() callers: loop_add_signal or pthread_sigmask). */
int loop_add_child(struct loop *loop, pid_t pid, loop_child_fn *fn, void *arg,
                   struct loop_source **ret) MUST_CHECK;
struct loop_source *loop_source_free(struct loop_source *s);
DEFINE_CLEANUP(struct loop_source, loop_source_free)

/* Runs fn on the loop's thread, in the order of posting. Any thread. -ENOMEM. */
int loop_post(struct loop *loop, loop_call_fn *fn, void *arg) MUST_CHECK;
/* Drops the calls with that argument, which is about to be freed. On the loop's thread. */
void loop_unpost(struct loop *loop, const void *arg);
