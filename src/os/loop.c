/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/loop.h"

#include "base/list.h"
#include "os/dynlib.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <systemd/sd-event.h>
#include <time.h>

struct call {
    struct list link;
    loop_call_fn *fn;
    void *arg;
};

/* Programs that make no loop, as those for images, do without it (dynlib.h). */
#define FUNCTIONS(X)                 \
    X(sd_event_add_child)            \
    X(sd_event_add_io)               \
    X(sd_event_add_signal)           \
    X(sd_event_add_time)             \
    X(sd_event_exit)                 \
    X(sd_event_loop)                 \
    X(sd_event_dispatch)             \
    X(sd_event_get_exit_code)        \
    X(sd_event_get_fd)               \
    X(sd_event_get_state)            \
    X(sd_event_prepare)              \
    X(sd_event_wait)                 \
    X(sd_event_new)                  \
    X(sd_event_run)                  \
    X(sd_event_source_disable_unref) \
    X(sd_event_source_set_enabled)   \
    X(sd_event_source_set_io_events) \
    X(sd_event_source_set_time)      \
    X(sd_event_source_unref)         \
    X(sd_event_unref)
FUNCTIONS(DYNLIB_POINTER)

struct loop {
    sd_event *ev;
    pthread_mutex_t lock; /* calls, due, quit_* */
    struct list calls;
    struct list due; /* calls that this round runs */
    bool quit;
    int quit_code;
    int wake_fd;
    sd_event_source *wake;
    loop_guard_fn *enter; /* NULL: no guard */
    loop_guard_fn *leave;
    void *guard_arg;
    bool held;        /* the guard is held around the whole round */
    pthread_t thread; /* that runs the loop */
    bool runs;
};

struct loop_source {
    struct loop *loop;
    sd_event_source *src;
    union {
        loop_fd_fn *fd;
        loop_timer_fn *timer;
        loop_signal_fn *signal;
        loop_child_fn *child;
    } fn;
    void *arg;
};

static void enter(struct loop *loop)
{
    if (loop->enter != NULL && !loop->held) {
        loop->enter(loop->guard_arg);
    }
}

static void leave(struct loop *loop)
{
    if (loop->leave != NULL && !loop->held) {
        loop->leave(loop->guard_arg);
    }
}

static int on_wake(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
    struct loop *loop = arg;
    uint64_t count;

    (void)src;
    (void)revents;
    (void)!read(fd, &count, sizeof(count));
    (void)pthread_mutex_lock(&loop->lock);
    if (loop->quit) {
        (void)dyn_sd_event_exit(loop->ev, loop->quit_code);
    }
    /* What these calls post themselves waits for the next round. */
    while (!list_empty(&loop->calls)) {
        struct list *it = loop->calls.next;

        list_remove(it);
        list_append(&loop->due, it);
    }
    while (!list_empty(&loop->due)) {
        struct call *call = CONTAINER_OF(loop->due.next, struct call, link);

        list_remove(&call->link);
        (void)pthread_mutex_unlock(&loop->lock);
        enter(loop);
        call->fn(call->arg);
        leave(loop);
        free(call);
        (void)pthread_mutex_lock(&loop->lock);
    }
    (void)pthread_mutex_unlock(&loop->lock);
    return 0;
}

static void drop(struct list *calls, const void *arg)
{
    LIST_FOREACH_SAFE (calls, it) {
        struct call *call = CONTAINER_OF(it, struct call, link);

        if (call->arg == arg) {
            list_remove(it);
            free(call);
        }
    }
}

void loop_unpost(struct loop *loop, const void *arg)
{
    (void)pthread_mutex_lock(&loop->lock);
    drop(&loop->calls, arg);
    drop(&loop->due, arg);
    (void)pthread_mutex_unlock(&loop->lock);
}

int loop_new(struct loop **ret)
{
    static const struct dynlib_symbol symbols[] = { FUNCTIONS(DYNLIB_SYMBOL) };
    CLEANUP(loop_freep) struct loop *loop = NULL;
    int r = dynlib_open("libsystemd.so.0", symbols, sizeof(symbols) / sizeof(symbols[0]), NULL);

    if (r < 0) {
        return r;
    }
    loop = calloc(1, sizeof(*loop));
    if (loop == NULL) {
        return -ENOMEM;
    }
    list_init(&loop->calls);
    list_init(&loop->due);
    (void)pthread_mutex_init(&loop->lock, NULL);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        return -errno;
    }
    r = dyn_sd_event_new(&loop->ev);
    if (r >= 0) {
        r = dyn_sd_event_add_io(loop->ev, &loop->wake, loop->wake_fd, EPOLLIN, on_wake, loop);
    }
    if (r < 0) {
        return r;
    }
    *ret = TAKE_PTR(loop);
    return 0;
}

struct loop *loop_free(struct loop *loop)
{
    if (loop != NULL) {
        LIST_FOREACH_SAFE (&loop->calls, it) {
            free(CONTAINER_OF(it, struct call, link));
        }
        dyn_sd_event_source_unref(loop->wake);
        dyn_sd_event_unref(loop->ev);
        close_fdp(&loop->wake_fd);
        (void)pthread_mutex_destroy(&loop->lock);
        free(loop);
    }
    return NULL;
}

void loop_set_guard(struct loop *loop, loop_guard_fn *enter_fn, loop_guard_fn *leave_fn, void *arg)
{
    loop->enter = enter_fn;
    loop->leave = leave_fn;
    loop->guard_arg = arg;
}

static void hold(struct loop *loop, bool on)
{
    if (on) {
        loop->enter(loop->guard_arg);
        loop->held = true;
    } else {
        loop->held = false;
        loop->leave(loop->guard_arg);
    }
}

/* sd-event itself is for one thread only. Under the guard, which other threads hold while they add
 * and change sources, runs all of it but the wait. */
static int guarded_round(struct loop *loop)
{
    int r;

    hold(loop, true);
    r = dyn_sd_event_prepare(loop->ev);
    if (r == 0) {
        struct pollfd p = { .fd = dyn_sd_event_get_fd(loop->ev), .events = POLLIN };

        hold(loop, false);
        (void)poll(&p, 1, -1);
        hold(loop, true);
        r = dyn_sd_event_wait(loop->ev, 0);
    }
    if (r > 0) {
        r = dyn_sd_event_dispatch(loop->ev);
    }
    hold(loop, false);
    return r;
}

int loop_run(struct loop *loop)
{
    int r = 0, code = 0;

    loop->thread = pthread_self();
    loop->runs = true;
    if (loop->enter == NULL) {
        return dyn_sd_event_loop(loop->ev);
    }
    while (r >= 0 && dyn_sd_event_get_state(loop->ev) != SD_EVENT_FINISHED) {
        r = guarded_round(loop);
    }
    return r < 0 ? r : dyn_sd_event_get_exit_code(loop->ev, &code) < 0 ? 0 : code;
}

int loop_step(struct loop *loop, uint64_t timeout_usec)
{
    return dyn_sd_event_run(loop->ev, timeout_usec);
}

static void wake(struct loop *loop)
{
    uint64_t one = 1;

    (void)!write(loop->wake_fd, &one, sizeof(one));
}

void loop_quit(struct loop *loop, int code)
{
    (void)pthread_mutex_lock(&loop->lock);
    loop->quit = true;
    loop->quit_code = code;
    (void)pthread_mutex_unlock(&loop->lock);
    wake(loop);
}

int loop_post(struct loop *loop, loop_call_fn *fn, void *arg)
{
    struct call *call = malloc(sizeof(*call));

    if (call == NULL) {
        return -ENOMEM;
    }
    call->fn = fn;
    call->arg = arg;
    (void)pthread_mutex_lock(&loop->lock);
    list_append(&loop->calls, &call->link);
    (void)pthread_mutex_unlock(&loop->lock);
    wake(loop);
    return 0;
}

uint64_t loop_now_usec(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static int on_fd(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
    struct loop_source *s = arg;
    struct loop *loop = s->loop; /* s may be freed by its own callback */

    (void)src;
    enter(loop);
    s->fn.fd(fd, revents, s->arg);
    leave(loop);
    return 0;
}

static int on_timer(sd_event_source *src, uint64_t usec, void *arg)
{
    struct loop_source *s = arg;
    struct loop *loop = s->loop; /* s may be freed by its own callback */

    (void)src;
    (void)usec;
    enter(loop);
    s->fn.timer(s->arg);
    leave(loop);
    return 0;
}

static int on_signal(sd_event_source *src, const struct signalfd_siginfo *si, void *arg)
{
    struct loop_source *s = arg;
    struct loop *loop = s->loop; /* s may be freed by its own callback */

    (void)src;
    enter(loop);
    s->fn.signal((int)si->ssi_signo, s->arg);
    leave(loop);
    return 0;
}

static int on_child(sd_event_source *src, const siginfo_t *si, void *arg)
{
    struct loop_source *s = arg;
    struct loop *loop = s->loop; /* s may be freed by its own callback */

    (void)src;
    enter(loop);
    s->fn.child(si->si_pid, si->si_code, si->si_status, s->arg);
    leave(loop);
    return 0;
}

static struct loop_source *source_new(struct loop *loop, void *arg)
{
    struct loop_source *s = calloc(1, sizeof(*s));

    if (s != NULL) {
        s->loop = loop;
        s->arg = arg;
    }
    return s;
}

/* Common end of the loop_add_ functions: hands the source out, or undoes it. */
static int source_done(struct loop_source *s, int r, struct loop_source **ret)
{
    if (r < 0) {
        free(s);
        return r;
    }
    *ret = s;
    return 0;
}

int loop_add_fd(struct loop *loop, int fd, uint32_t epoll_events, loop_fd_fn *fn, void *arg,
                struct loop_source **ret)
{
    struct loop_source *s = source_new(loop, arg);

    if (s == NULL) {
        return -ENOMEM;
    }
    s->fn.fd = fn;
    return source_done(s, dyn_sd_event_add_io(loop->ev, &s->src, fd, epoll_events, on_fd, s), ret);
}

int loop_fd_events(struct loop_source *s, uint32_t epoll_events)
{
    return dyn_sd_event_source_set_io_events(s->src, epoll_events);
}

int loop_add_timer(struct loop *loop, loop_timer_fn *fn, void *arg, struct loop_source **ret)
{
    struct loop_source *s = source_new(loop, arg);
    int r;

    if (s == NULL) {
        return -ENOMEM;
    }
    s->fn.timer = fn;
    r = dyn_sd_event_add_time(loop->ev, &s->src, CLOCK_MONOTONIC, 0, 1, on_timer, s);
    if (r >= 0) {
        r = dyn_sd_event_source_set_enabled(s->src, SD_EVENT_OFF);
    }
    return source_done(s, r, ret);
}

int loop_timer_arm(struct loop_source *s, uint64_t at_usec)
{
    int r = dyn_sd_event_source_set_time(s->src, at_usec);

    r = r < 0 ? r : dyn_sd_event_source_set_enabled(s->src, SD_EVENT_ONESHOT);
    if (s->loop->runs && !pthread_equal(s->loop->thread, pthread_self())) {
        wake(s->loop); /* it waits for the timers it knew */
    }
    return r;
}

int loop_timer_disarm(struct loop_source *s)
{
    return dyn_sd_event_source_set_enabled(s->src, SD_EVENT_OFF);
}

static int block_signal(int signo)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, signo);
    return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int loop_add_signal(struct loop *loop, int signo, loop_signal_fn *fn, void *arg,
                    struct loop_source **ret)
{
    struct loop_source *s = source_new(loop, arg);
    int r;

    if (s == NULL) {
        return -ENOMEM;
    }
    s->fn.signal = fn;
    r = block_signal(signo);
    if (r >= 0) {
        r = dyn_sd_event_add_signal(loop->ev, &s->src, signo, on_signal, s);
    }
    return source_done(s, r, ret);
}

int loop_add_child(struct loop *loop, pid_t pid, loop_child_fn *fn, void *arg,
                   struct loop_source **ret)
{
    struct loop_source *s = source_new(loop, arg);
    int r;

    if (s == NULL) {
        return -ENOMEM;
    }
    s->fn.child = fn;
    r = block_signal(SIGCHLD);
    if (r >= 0) {
        r = dyn_sd_event_add_child(loop->ev, &s->src, pid, WEXITED, on_child, s);
    }
    return source_done(s, r, ret);
}

struct loop_source *loop_source_free(struct loop_source *s)
{
    if (s != NULL) {
        dyn_sd_event_source_disable_unref(s->src);
        free(s);
    }
    return NULL;
}
