/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stream.c - a descriptor as a back end: input by the loop, output at once, and by the loop what
 * the other end does not take.
 *
 * Output comes from vCPU threads too, but only the loop's thread may touch sources: those threads
 * queue the rest and post a call.
 */
#include "vmm/char/chardev.h"

#include "os/fd.h"
#include "os/loop.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* A guest that writes faster than the other end reads waits for nobody: beyond this, old output
 * goes first through a blocking write of at most a second, then the rest is dropped. */
enum { QUEUE_MAX = 1 << 20, INPUT_CHUNK = 4096, WRITE_PATIENCE_MSEC = 1000 };

static void flush_queue(struct chardev_stream *s)
{
    while (s->queued > 0) {
        ssize_t n = write(s->fd_out, s->queue, s->queued);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n <= 0) {
            s->queued = 0; /* nobody there */
            return;
        }
        memmove(s->queue, s->queue + n, s->queued - (size_t)n);
        s->queued -= (size_t)n;
    }
}

static void on_output(int fd, uint32_t events, void *arg)
{
    struct chardev_stream *s = arg;

    (void)fd;
    (void)events;
    flush_queue(s);
    if (s->queued == 0) {
        s->out_armed = false;
        (void)loop_fd_events(s->out, 0);
        s->out = loop_source_free(s->out);
    }
}

static void arm_output(void *arg)
{
    struct chardev_stream *s = arg;

    s->kick_posted = false;
    if (s->fd_out < 0 || s->queued == 0 || s->out_armed) {
        return;
    }
    /* The same file may be watched for input already: epoll needs another descriptor then. */
    if (s->fd_out == s->fd_in && s->fd_watch < 0) {
        s->fd_watch = dup(s->fd_out);
    }
    if (loop_add_fd(s->chr->loop, s->fd_watch >= 0 ? s->fd_watch : s->fd_out, EPOLLOUT, on_output,
                    s, &s->out) < 0) {
        struct pollfd p = { .fd = s->fd_out, .events = POLLOUT };

        (void)poll(&p, 1, WRITE_PATIENCE_MSEC);
        flush_queue(s);
        s->queued = 0;
        return;
    }
    s->out_armed = true;
}

void chardev_stream_write(struct chardev_stream *s, const uint8_t *buf, size_t len)
{
    if (s->fd_out < 0) {
        return;
    }
    while (len > 0 && s->queued == 0) {
        ssize_t n = write(s->fd_out, buf, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        if (n <= 0) {
            return;
        }
        buf += n;
        len -= (size_t)n;
    }
    if (len == 0) {
        return;
    }
    if (s->queue == NULL) {
        s->queue = malloc(QUEUE_MAX);
    }
    if (s->queue != NULL && s->queued + len > QUEUE_MAX) {
        struct pollfd p = { .fd = s->fd_out, .events = POLLOUT };

        (void)poll(&p, 1, WRITE_PATIENCE_MSEC);
        flush_queue(s);
    }
    if (s->queue == NULL || s->queued + len > QUEUE_MAX) {
        return;
    }
    memcpy(s->queue + s->queued, buf, len);
    s->queued += len;
    if (!s->out_armed && !s->kick_posted) {
        s->kick_posted = loop_post(s->chr->loop, arm_output, s) == 0;
    }
}

/* A descriptor that comes along is for the QMP command it comes with. */
static ssize_t read_with_fd(struct chardev_stream *s, void *buf, size_t len)
{
    struct machine *m = s->chr->m;
    int passed = -1;
    size_t n_fds = 0;
    ssize_t n = fd_recv_with(s->fd_in, buf, len, &passed, 1, &n_fds);

    if (n_fds == 1) {
        close_fdp(&m->received_fd);
        m->received_fd = passed;
    }
    if (n < 0) {
        errno = (int)-n;
        return -1;
    }
    return n;
}

static void on_input(int fd, uint32_t events, void *arg)
{
    struct chardev_stream *s = arg;
    uint8_t buf[INPUT_CHUNK];
    size_t room = s->filter != NULL ? s->filter_room(s->chr) : chardev_room(s->chr);
    ssize_t n;

    (void)events;
    if (room == 0) {
        s->in_parked = true;
        (void)loop_fd_events(s->in, 0);
        return;
    }
    n = s->takes_fds ? read_with_fd(s, buf, room < sizeof(buf) ? room : sizeof(buf))
                     : read(fd, buf, room < sizeof(buf) ? room : sizeof(buf));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        s->in = loop_source_free(s->in);
        if (s->on_hangup != NULL) {
            s->on_hangup(s->chr);
        }
        return;
    }
    if (s->filter != NULL) {
        s->filter(s->chr, buf, (size_t)n);
    } else {
        chardev_input(s->chr, buf, (size_t)n);
    }
}

void chardev_stream_accept(struct chardev_stream *s)
{
    if (s->in_parked && s->in != NULL) {
        s->in_parked = false;
        (void)loop_fd_events(s->in, EPOLLIN);
    }
}

int chardev_stream_open(struct chardev_stream *s, struct chardev *chr, int fd_in, int fd_out,
                        struct err **err)
{
    int r;

    s->chr = chr;
    s->fd_in = fd_in;
    s->fd_out = fd_out;
    s->fd_watch = -1;
    s->queued = 0;
    s->in_parked = false;
    s->out_armed = false;
    if (fd_out >= 0) {
        (void)!fd_set_nonblock(fd_out, true);
    }
    if (fd_in < 0) {
        return 0;
    }
    (void)!fd_set_nonblock(fd_in, true);
    r = loop_add_fd(chr->loop, fd_in, EPOLLIN, on_input, s, &s->in);
    if (r == -EPERM) { /* a regular file or /dev/null: no input from there */
        s->in = NULL;
        r = 0;
    }
    return r < 0 ? err_set(err, -r, "cannot watch the input: %s", strerror(-r)) : 0;
}

void chardev_stream_close(struct chardev_stream *s)
{
    if (s->fd_out >= 0) {
        flush_queue(s);
    }
    s->in = loop_source_free(s->in);
    s->out = loop_source_free(s->out);
    if (s->queue != NULL) {
        close_fdp(&s->fd_watch);
    }
    free(s->queue);
    s->queue = NULL;
    s->queued = 0;
    s->fd_in = -1;
    s->fd_out = -1;
}
