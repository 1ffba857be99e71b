/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/net/frames.h"

#include "base/bytes.h"
#include "os/fd.h"
#include "os/loop.h"
#include "vmm/machine/machine.h"
#include "vmm/mem/gmem.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BURST = 64, LENGTH = 4, MAX_IOV = 64, MAX_HEADER = 16 };

void frames_init(struct frames *f, struct netdev *nd)
{
    *f = (struct frames) { .nd = nd, .fd = -1 };
}

static void watch(struct frames *f)
{
    if (f->source != NULL) {
        (void)loop_fd_events(f->source, (f->held == 0 ? EPOLLIN : 0) |
                                            (f->blocked ? (uint32_t)EPOLLOUT : 0));
    }
}

static void cable_out(struct frames *f)
{
    f->source = loop_source_free(f->source);
    close_fdp(&f->fd);
    f->held = f->have = f->out_len = f->out_at = 0;
    f->blocked = false;
    if (f->gone != NULL) {
        f->gone(f->arg);
    }
}

/* true: the guest took it. */
static bool give(struct frames *f, const uint8_t *frame, size_t len)
{
    return f->nd->receive == NULL || f->nd->receive(f->nd->arg, frame, len);
}

static void read_datagrams(struct frames *f, bool hung_up)
{
    for (unsigned i = 0; i < BURST && f->held == 0; i++) {
        ssize_t n = f->kind == FRAMES_TAP ? read(f->fd, f->in, NETDEV_MAX_FRAME)
                                          : recv(f->fd, f->in, NETDEV_MAX_FRAME, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED)) {
            return;
        }
        if (n < 0 || (n == 0 && hung_up)) { /* alone, an empty datagram means nothing */
            cable_out(f);
            return;
        }
        if ((size_t)n > f->header && !give(f, f->in + f->header, (size_t)n - f->header)) {
            f->held = (size_t)n;
            watch(f);
        }
    }
}

/* Whole frames at the front of the buffer go to the guest. */
static void take_from_stream(struct frames *f)
{
    f->held = 0;
    while (f->have >= LENGTH) {
        size_t len = be32_get(f->in);

        if (len > NETDEV_MAX_FRAME) {
            cable_out(f); /* not our protocol */
            return;
        }
        if (f->have < LENGTH + len) {
            return;
        }
        if (len > 0 && !give(f, f->in + LENGTH, len)) {
            f->held = len;
            return;
        }
        f->have -= LENGTH + len;
        memmove(f->in, f->in + LENGTH + len, f->have);
    }
}

static void read_stream(struct frames *f)
{
    for (unsigned i = 0; i < BURST && f->held == 0 && f->fd >= 0; i++) {
        ssize_t n = recv(f->fd, f->in + f->have, LENGTH + NETDEV_MAX_FRAME - f->have, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (n <= 0) {
            cable_out(f);
            return;
        }
        f->have += (size_t)n;
        take_from_stream(f);
    }
    watch(f);
}

/* The rest of a frame; false: the socket is full again, or gone. */
static bool flush(struct frames *f)
{
    while (f->out_at < f->out_len) {
        ssize_t n = send(f->fd, f->out + f->out_at, f->out_len - f->out_at,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR) {
            if (errno != EAGAIN) {
                cable_out(f);
            }
            return false;
        }
        f->out_at += n > 0 ? (size_t)n : 0;
    }
    f->out_len = f->out_at = 0;
    return true;
}

static void on_event(int fd, uint32_t events, void *arg)
{
    struct frames *f = arg;

    (void)fd;
    if ((events & EPOLLOUT) != 0 && f->blocked && flush(f)) {
        f->blocked = false;
        watch(f);
        if (f->nd->ready != NULL) {
            f->nd->ready(f->nd->arg);
        }
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || f->fd < 0) {
        return;
    }
    if (f->kind == FRAMES_STREAM) {
        read_stream(f);
    } else {
        read_datagrams(f, (events & EPOLLHUP) != 0);
    }
}

int frames_open(struct frames *f, int fd, enum frames_kind kind, struct err **err)
{
    int r;

    f->fd = fd;
    f->kind = kind;
    f->in = f->in != NULL ? f->in : malloc(LENGTH + NETDEV_MAX_FRAME);
    f->out = f->out != NULL ? f->out : malloc(LENGTH + NETDEV_MAX_FRAME);
    if (f->in == NULL || f->out == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    (void)!fd_set_nonblock(fd, true);
    r = loop_add_fd(f->nd->m->loop, fd, EPOLLIN, on_event, f, &f->source);
    return r < 0 ? err_set(err, -r, "cannot watch the network's descriptor: %s", strerror(-r)) : 0;
}

void frames_close(struct frames *f)
{
    f->source = loop_source_free(f->source);
    close_fdp(&f->fd);
    free(f->in);
    free(f->out);
    f->in = f->out = NULL;
}

static int send_stream(struct frames *f, const struct iovec *iov, unsigned n)
{
    size_t len = iov_size(iov, n);

    if (f->out_len > 0) {
        f->blocked = true;
        watch(f);
        return -EAGAIN;
    }
    if (len > NETDEV_MAX_FRAME) {
        return 0;
    }
    be32_put(f->out, (uint32_t)len);
    (void)iov_read(iov, n, 0, f->out + LENGTH, len);
    f->out_len = LENGTH + len;
    f->out_at = 0;
    if (!flush(f) && f->fd >= 0) { /* this frame is ours already, the next one waits */
        f->blocked = true;
        watch(f);
    }
    return 0;
}

int frames_send(struct frames *f, const struct iovec *iov, unsigned n)
{
    uint8_t zeroes[MAX_HEADER] = { 0 };
    struct iovec all[MAX_IOV];
    struct msghdr msg = { .msg_iov = all };
    unsigned at = 0;

    if (f->fd < 0 || n >= MAX_IOV) {
        return 0;
    }
    if (f->kind == FRAMES_STREAM) {
        return send_stream(f, iov, n);
    }
    if (f->header > 0) {
        all[at++] = (struct iovec) { .iov_base = zeroes, .iov_len = f->header };
    }
    memcpy(all + at, iov, n * sizeof(*iov));
    msg.msg_iovlen = at + n;
    msg.msg_name = f->to_len > 0 ? &f->to : NULL;
    msg.msg_namelen = f->to_len;
    for (;;) {
        ssize_t done = f->kind == FRAMES_TAP
                           ? writev(f->fd, all, (int)(at + n))
                           : sendmsg(f->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (done < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
            f->blocked = true;
            watch(f);
            return -EAGAIN;
        }
        if (done >= 0 || errno != EINTR) {
            return 0; /* a frame that did not go is lost, as on a wire */
        }
    }
}

void frames_resume(struct frames *f)
{
    if (f->held == 0 || f->nd->receive == NULL) {
        return;
    }
    if (f->kind == FRAMES_STREAM) {
        take_from_stream(f);
    } else if (give(f, f->in + f->header, f->held - f->header)) {
        f->held = 0;
    }
    watch(f);
}
