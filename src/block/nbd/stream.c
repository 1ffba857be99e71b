/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/nbd/stream.h"

#include "base/bytes.h"
#include "os/fd.h"
#include "os/tls.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

void nbd_stream_init(struct nbd_stream *s, int fd)
{
    int on = 1;

    *s = (struct nbd_stream) { .fd = fd, .timeout_ms = -1 };
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)pthread_mutex_init(&s->lock, NULL);
}

void nbd_stream_done(struct nbd_stream *s)
{
    s->tls = tls_free(s->tls);
    close_fdp(&s->fd);
    (void)pthread_mutex_destroy(&s->lock);
}

void nbd_stream_shutdown(struct nbd_stream *s)
{
    (void)shutdown(s->fd, SHUT_RDWR);
}

void nbd_stream_set_timeout(struct nbd_stream *s, int ms)
{
    struct timeval tv = { .tv_sec = ms > 0 ? ms / 1000 : 0,
                          .tv_usec = ms > 0 ? ms % 1000 * 1000 : 0 };

    s->timeout_ms = ms;
    (void)setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    (void)setsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static int wait_for(struct nbd_stream *s, short events)
{
    struct pollfd p = { .fd = s->fd, .events = events };
    int n;

    do {
        n = poll(&p, 1, s->timeout_ms);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? 0 : n == 0 ? -ETIMEDOUT : -errno;
}

int nbd_stream_start_tls(struct nbd_stream *s, struct tls_creds *creds, bool server,
                         const char *hostname, bool verify_peer, struct err **err)
{
    int r = fd_set_nonblock(s->fd, true);

    if (r == 0) {
        r = tls_new(creds, s->fd, server, hostname, verify_peer, NULL, &s->tls, err);
    }
    while (r == 0) {
        r = tls_handshake(s->tls, err);
        if (r != -EAGAIN) {
            break;
        }
        r = wait_for(s, tls_wants_write(s->tls) ? POLLOUT : POLLIN);
    }
    return r < 0 ? err_set(err, -r, "TLS handshake failed: %s", strerror(-r)) : 0;
}

static ssize_t read_some(struct nbd_stream *s, void *buf, size_t len)
{
    ssize_t n;

    if (s->tls == NULL) {
        n = recv(s->fd, buf, len, MSG_WAITALL);
        return n < 0 ? (errno == EAGAIN ? -ETIMEDOUT : -errno) : n == 0 ? -ECONNRESET : n;
    }
    for (;;) {
        bool wants_write;
        int r;

        (void)pthread_mutex_lock(&s->lock);
        n = tls_read(s->tls, buf, len);
        wants_write = tls_wants_write(s->tls);
        (void)pthread_mutex_unlock(&s->lock);
        if (n != -EAGAIN) {
            return n == 0 ? -ECONNRESET : n;
        }
        r = wait_for(s, wants_write ? POLLIN | POLLOUT : POLLIN);
        if (r < 0) {
            return r;
        }
    }
}

int nbd_stream_read(struct nbd_stream *s, void *buf, size_t len)
{
    uint8_t *p = buf;

    while (len > 0) {
        ssize_t n = read_some(s, p, len);

        if (n < 0 && n != -EINTR) {
            return (int)n;
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int nbd_stream_readv(struct nbd_stream *s, const struct iovec *iov, unsigned n)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < n; i++) {
        r = nbd_stream_read(s, iov[i].iov_base, iov[i].iov_len);
    }
    return r;
}

int nbd_stream_skip(struct nbd_stream *s, uint64_t len)
{
    uint8_t buf[16384];
    int r = 0;

    while (r == 0 && len > 0) {
        size_t part = min_u64(len, sizeof(buf));

        r = nbd_stream_read(s, buf, part);
        len -= part;
    }
    return r;
}

static int tls_write_all(struct nbd_stream *s, const uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n;

        (void)pthread_mutex_lock(&s->lock);
        n = tls_write(s->tls, p, len);
        (void)pthread_mutex_unlock(&s->lock);
        if (n == -EAGAIN) {
            int r = wait_for(s, POLLOUT);

            if (r < 0) {
                return r;
            }
            continue;
        }
        if (n < 0) {
            return (int)n;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int send_all(struct nbd_stream *s, struct iovec *iov, unsigned n)
{
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };

    while (msg.msg_iovlen > 0) {
        ssize_t done = sendmsg(s->fd, &msg, MSG_NOSIGNAL);

        if (done < 0 && errno != EINTR) {
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
        for (size_t left = done > 0 ? (size_t)done : 0; msg.msg_iovlen > 0;) {
            struct iovec *v = msg.msg_iov;

            if (left < v->iov_len) {
                v->iov_base = (uint8_t *)v->iov_base + left;
                v->iov_len -= left;
                break;
            }
            left -= v->iov_len;
            msg.msg_iov++;
            msg.msg_iovlen--;
        }
    }
    return 0;
}

int nbd_stream_writev(struct nbd_stream *s, const void *head, size_t head_len,
                      const struct iovec *iov, unsigned n)
{
    enum { BATCH = 64 };
    int r = 0;

    if (s->tls != NULL) {
        r = tls_write_all(s, head, head_len);
        for (unsigned i = 0; r == 0 && i < n; i++) {
            r = tls_write_all(s, iov[i].iov_base, iov[i].iov_len);
        }
        return r;
    }
    for (unsigned i = 0; r == 0 && (i < n || head_len > 0);) {
        struct iovec part[BATCH];
        unsigned k = 0;

        if (head_len > 0) {
            union {
                const void *from;
                void *to;
            } p = { .from = head };

            part[k++] = (struct iovec) { .iov_base = p.to, .iov_len = head_len };
            head_len = 0;
        }
        while (i < n && k < BATCH) {
            part[k++] = iov[i++];
        }
        r = send_all(s, part, k);
    }
    return r;
}

int nbd_stream_write(struct nbd_stream *s, const void *buf, size_t len)
{
    return nbd_stream_writev(s, buf, len, NULL, 0);
}
