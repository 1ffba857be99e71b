/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/api/iothread.h"

#include "os/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct iothread {
    struct loop *loop;
    pthread_t thread;
};

/* A call that the caller waits for: sources may be added and freed only on the loop's thread. */
struct sync_call {
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
};

struct io_timer {
    struct iothread *io;
    int fd;
    struct loop_source *src;
    void (*fn)(void *arg, uint64_t count);
    void *arg;
};

struct io_watch {
    struct iothread *io;
    int fd; /* borrowed */
    struct loop_source *src;
    void (*fn)(void *arg);
    void *arg;
    int result;
};

uint64_t monotonic_nsec(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *thread_main(void *arg)
{
    struct iothread *io = arg;

    (void)pthread_setname_np(pthread_self(), "vireo-kvm-io");
    (void)loop_run(io->loop);
    return NULL;
}

struct iothread *iothread_new(void)
{
    struct iothread *io = calloc(1, sizeof(*io));
    sigset_t all;
    sigset_t old;
    int r;

    if (io == NULL || loop_new(&io->loop) < 0) {
        free(io);
        return NULL;
    }
    /* The client's signals are for its own threads. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&io->thread, NULL, thread_main, io);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0) {
        (void)loop_free(io->loop);
        free(io);
        return NULL;
    }
    return io;
}

struct iothread *iothread_free(struct iothread *io)
{
    if (io != NULL) {
        loop_quit(io->loop, 0);
        (void)pthread_join(io->thread, NULL);
        (void)loop_free(io->loop);
        free(io);
    }
    return NULL;
}

static void run_sync(void *arg)
{
    struct sync_call *c = arg;

    c->fn(c->arg);
    (void)pthread_mutex_lock(&c->lock);
    c->done = true;
    (void)pthread_cond_signal(&c->cond);
    (void)pthread_mutex_unlock(&c->lock);
}

static void call_and_wait(struct iothread *io, void (*fn)(void *arg), void *arg)
{
    struct sync_call c = {
        .fn = fn, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER
    };

    if (pthread_equal(pthread_self(), io->thread) != 0 || loop_post(io->loop, run_sync, &c) < 0) {
        fn(arg);
        return;
    }
    (void)pthread_mutex_lock(&c.lock);
    while (!c.done) {
        (void)pthread_cond_wait(&c.cond, &c.lock);
    }
    (void)pthread_mutex_unlock(&c.lock);
}

static void on_timer(int fd, uint32_t events, void *arg)
{
    struct io_timer *t = arg;
    uint64_t count = 0;

    (void)events;
    if (read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count)) {
        t->fn(t->arg, count);
    }
}

static void add_timer(void *arg)
{
    struct io_timer *t = arg;

    if (loop_add_fd(t->io->loop, t->fd, EPOLLIN, on_timer, t, &t->src) < 0) {
        t->src = NULL;
    }
}

static void drop_timer(void *arg)
{
    struct io_timer *t = arg;

    t->src = loop_source_free(t->src);
}

struct io_timer *io_timer_new(struct iothread *io, void (*fn)(void *arg, uint64_t count), void *arg)
{
    struct io_timer *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        return NULL;
    }
    *t = (struct io_timer) { .io = io, .fn = fn, .arg = arg };
    t->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (t->fd >= 0) {
        call_and_wait(io, add_timer, t);
    }
    return t->src != NULL ? t : io_timer_free(t);
}

struct io_timer *io_timer_free(struct io_timer *t)
{
    if (t != NULL) {
        if (t->src != NULL) {
            call_and_wait(t->io, drop_timer, t);
        }
        if (t->fd >= 0) {
            (void)close(t->fd);
        }
        free(t);
    }
    return NULL;
}

void io_timer_arm(struct io_timer *t, uint64_t at_nsec, uint64_t period_nsec)
{
    struct itimerspec spec = {
        .it_value = { .tv_sec = (time_t)(at_nsec / 1000000000u),
                      .tv_nsec = (long)(at_nsec % 1000000000u) },
        .it_interval = { .tv_sec = (time_t)(period_nsec / 1000000000u),
                         .tv_nsec = (long)(period_nsec % 1000000000u) },
    };

    (void)timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void on_watch(int fd, uint32_t events, void *arg)
{
    struct io_watch *w = arg;
    uint64_t count;

    (void)events;
    if (read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count)) {
        w->fn(w->arg);
    }
}

static void add_watch(void *arg)
{
    struct io_watch *w = arg;

    w->result = loop_add_fd(w->io->loop, w->fd, EPOLLIN, on_watch, w, &w->src);
}

static void drop_watch(void *arg)
{
    struct io_watch *w = arg;

    w->src = loop_source_free(w->src);
}

struct io_watch *io_watch_new(struct iothread *io, int eventfd, void (*fn)(void *arg), void *arg)
{
    struct io_watch *w = calloc(1, sizeof(*w));

    if (w == NULL) {
        return NULL;
    }
    *w = (struct io_watch) { .io = io, .fd = eventfd, .fn = fn, .arg = arg };
    call_and_wait(io, add_watch, w);
    if (w->result < 0) {
        free(w);
        return NULL;
    }
    return w;
}

struct io_watch *io_watch_free(struct io_watch *w)
{
    if (w != NULL) {
        call_and_wait(w->io, drop_watch, w);
        free(w);
    }
    return NULL;
}
