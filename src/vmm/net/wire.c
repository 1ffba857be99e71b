/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire.c - networks over sockets: stream (passt, another emulator), dgram, and socket, which is the
 * older way to say both.
 */
#include "vmm/net/frames.h"

#include "base/str.h"
#include "codec/addr.h"
#include "codec/keyval.h"
#include "os/fd.h"
#include "os/loop.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct wire {
    struct netdev nd;
    struct frames frames;
    int listen_fd; /* owned; -1: none */
    struct loop_source *listening;
    char *path; /* owned: of a unix socket that is ours to remove */
};

/* ---- addresses ---- */

struct place {
    struct sockaddr_storage sa;
    socklen_t len;
};

static int unix_place(const char *path, struct place *ret, struct err **err)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(un.sun_path)) {
        return err_set(err, ENAMETOOLONG, "socket path '%s' is longer than %zu bytes", path,
                       sizeof(un.sun_path) - 1);
    }
    memcpy(un.sun_path, path, strlen(path));
    memcpy(&ret->sa, &un, sizeof(un));
    ret->len = sizeof(un);
    return 0;
}

static int inet_place(const char *host, const char *port, bool dgram, struct place *ret,
                      struct err **err)
{
    struct addrinfo hints = { .ai_socktype = dgram ? SOCK_DGRAM : SOCK_STREAM,
                              .ai_flags = host == NULL || *host == '\0' ? AI_PASSIVE : 0 };
    struct addrinfo *found = NULL;
    int r = getaddrinfo(host != NULL && *host != '\0' ? host : NULL, port, &hints, &found);

    if (r != 0) {
        return err_set(err, EINVAL, "cannot find '%s:%s': %s", host != NULL ? host : "", port,
                       gai_strerror(r));
    }
    memcpy(&ret->sa, found->ai_addr, found->ai_addrlen);
    ret->len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

/* "HOST:PORT" */
static int text_place(const char *text, bool dgram, struct place *ret, struct err **err)
{
    struct addr a;
    char port[16];
    int r = addr_parse(text, &a, err);

    if (r == 0 && a.kind != ADDR_TCP) {
        r = err_set(err, EINVAL, "'%s' is not of the form HOST:PORT", text);
    } else if (r == 0) {
        (void)snprintf(port, sizeof(port), "%u", a.port);
        r = inet_place(a.host, port, dgram, ret, err);
    }
    addr_done(&a);
    return r;
}

/* PREFIX.type=unix|inet|fd and what goes with it. *ret_fd: -1, or the descriptor. */
static int option_place(struct wire *w, struct keyval *opts, const char *prefix, bool dgram,
                        struct place *ret, int *ret_fd, const char **ret_path, struct err **err)
{
    static const char *const names[] = { "type", "path", "host", "port", "str" };
    const char *v[5];

    for (size_t i = 0; i < 5; i++) {
        AUTO_FREE char *key = str_format("%s.%s", prefix, names[i]);

        v[i] = key != NULL ? keyval_get(opts, key) : NULL;
    }
    *ret_fd = -1;
    *ret_path = NULL;
    if (v[0] != NULL && str_eq(v[0], "unix") && v[1] != NULL) {
        *ret_path = v[1];
        return unix_place(v[1], ret, err);
    }
    if (v[0] != NULL && str_eq(v[0], "inet") && v[3] != NULL) {
        return inet_place(v[2], v[3], dgram, ret, err);
    }
    if (v[0] != NULL && str_eq(v[0], "fd") && v[4] != NULL) {
        *ret_fd = machine_take_fd(w->nd.m, v[4]);
        return *ret_fd < 0 ? err_set(err, -*ret_fd, "%s.str=%s: there is no such descriptor",
                                     prefix, v[4])
                           : 0;
    }
    return err_set(err, EINVAL,
                   "%s.type= must be unix (with %s.path), inet (with %s.host and .port) or fd "
                   "(with %s.str)",
                   prefix, prefix, prefix, prefix);
}

static int new_socket(const struct place *p, int type, int *ret, struct err **err)
{
    int fd = socket(p->sa.ss_family, type | SOCK_CLOEXEC, 0);
    int one = 1;

    if (fd < 0) {
        return err_set(err, errno, "cannot make a socket: %s", strerror(errno));
    }
    if (p->sa.ss_family != AF_UNIX) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    }
    *ret = fd;
    return 0;
}

/* ---- streams ---- */

static void on_connection(int fd, uint32_t events, void *arg)
{
    struct wire *w = arg;
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    (void)events;
    if (peer < 0) {
        return;
    }
    if (w->frames.fd >= 0 || frames_open(&w->frames, peer, FRAMES_STREAM, NULL) < 0) {
        (void)close(peer); /* one peer at a time */
    }
}

static int serve(struct wire *w, int fd, struct err **err)
{
    int r;

    w->listen_fd = fd;
    r = loop_add_fd(w->nd.m->loop, fd, EPOLLIN, on_connection, w, &w->listening);
    return r < 0 ? err_set(err, -r, "cannot watch a socket: %s", strerror(-r)) : 0;
}

static int open_stream(struct wire *w, const struct place *p, bool server, const char *path,
                       struct err **err)
{
    AUTO_FD int fd = -1;
    int r = new_socket(p, SOCK_STREAM, &fd, err);

    if (r < 0) {
        return r;
    }
    if (server) {
        if (path != NULL) {
            (void)unlink(path);
        }
        if (bind(fd, (const struct sockaddr *)&p->sa, p->len) < 0 || listen(fd, 1) < 0) {
            return err_set(err, errno, "cannot listen: %s", strerror(errno));
        }
        w->path = path != NULL ? strdup(path) : NULL;
        (void)!fd_set_nonblock(fd, true);
        return serve(w, TAKE_FD(fd), err);
    }
    if (connect(fd, (const struct sockaddr *)&p->sa, p->len) < 0) {
        return err_set(err, errno, "cannot connect%s%s: %s", path != NULL ? " to " : "",
                       path != NULL ? path : "", strerror(errno));
    }
    return frames_open(&w->frames, TAKE_FD(fd), FRAMES_STREAM, err);
}

static void wire_init(struct wire *w)
{
    frames_init(&w->frames, &w->nd);
    w->listen_fd = -1;
}

static int stream_open(struct netdev *nd, struct keyval *opts, struct err **err)
{
    struct wire *w = (struct wire *)nd;
    struct place p = { .len = 0 };
    const char *path = NULL;
    bool server = false;
    int fd = -1;
    int r;

    wire_init(w);
    r = keyval_get_bool(opts, "server", false, &server, err);
    if (r == 0) {
        r = option_place(w, opts, "addr", false, &p, &fd, &path, err);
    }
    if (r == 0 && fd >= 0) {
        return server ? serve(w, fd, err) : frames_open(&w->frames, fd, FRAMES_STREAM, err);
    }
    return r == 0 ? open_stream(w, &p, server, path, err) : r;
}

/* ---- datagrams ---- */

static int open_dgram(struct wire *w, const struct place *local, const struct place *remote,
                      const char *path, struct err **err)
{
    AUTO_FD int fd = -1;
    int r = new_socket(local != NULL ? local : remote, SOCK_DGRAM, &fd, err);

    if (r < 0) {
        return r;
    }
    if (path != NULL) {
        (void)unlink(path);
    }
    if (local != NULL && bind(fd, (const struct sockaddr *)&local->sa, local->len) < 0) {
        return err_set(err, errno, "cannot use the local address: %s", strerror(errno));
    }
    w->path = path != NULL ? strdup(path) : NULL;
    w->frames.to = remote->sa;
    w->frames.to_len = remote->len;
    return frames_open(&w->frames, TAKE_FD(fd), FRAMES_DATAGRAM, err);
}

static int dgram_open(struct netdev *nd, struct keyval *opts, struct err **err)
{
    struct wire *w = (struct wire *)nd;
    struct place local = { .len = 0 };
    struct place remote = { .len = 0 };
    const char *local_path = NULL;
    const char *remote_path = NULL;
    bool has_local = keyval_get(opts, "local.type") != NULL;
    int fd = -1;
    int ignored = -1;
    int r = 0;

    wire_init(w);
    if (has_local) {
        r = option_place(w, opts, "local", true, &local, &fd, &local_path, err);
    }
    if (r == 0 && fd >= 0) {
        return frames_open(&w->frames, fd, FRAMES_DATAGRAM, err);
    }
    if (r == 0) {
        r = option_place(w, opts, "remote", true, &remote, &ignored, &remote_path, err);
    }
    if (r == 0 && ignored >= 0) {
        (void)close(ignored);
        r = err_set(err, EINVAL, "remote.type=fd: use local.type=fd");
    }
    return r == 0 ? open_dgram(w, has_local ? &local : NULL, &remote, local_path, err) : r;
}

/* ---- -netdev socket ---- */

static int socket_open(struct netdev *nd, struct keyval *opts, struct err **err)
{
    struct wire *w = (struct wire *)nd;
    const char *fd_name = keyval_get(opts, "fd");
    const char *listen_at = keyval_get(opts, "listen");
    const char *connect_to = keyval_get(opts, "connect");
    const char *udp = keyval_get(opts, "udp");
    const char *local_text = keyval_get(opts, "localaddr");
    struct place p = { .len = 0 };
    struct place local = { .len = 0 };
    int type = 0;
    socklen_t len = sizeof(type);
    int fd;
    int r;

    wire_init(w);
    if ((fd_name != NULL) + (listen_at != NULL) + (connect_to != NULL) + (udp != NULL) != 1) {
        return err_set(err, EINVAL, "exactly one of fd=, listen=, connect= and udp= is required");
    }
    if (fd_name != NULL) {
        fd = machine_take_fd(nd->m, fd_name);
        if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
            return err_set(err, EINVAL, "fd=%s is no socket", fd_name);
        }
        return frames_open(&w->frames, fd, type == SOCK_STREAM ? FRAMES_STREAM : FRAMES_DATAGRAM,
                           err);
    }
    if (udp != NULL) {
        if (local_text == NULL) {
            return err_set(err, EINVAL, "udp= needs localaddr=");
        }
        r = text_place(udp, true, &p, err);
        if (r == 0) {
            r = text_place(local_text, true, &local, err);
        }
        return r == 0 ? open_dgram(w, &local, &p, NULL, err) : r;
    }
    r = text_place(listen_at != NULL ? listen_at : connect_to, false, &p, err);
    return r == 0 ? open_stream(w, &p, listen_at != NULL, NULL, err) : r;
}

static void wire_close(struct netdev *nd)
{
    struct wire *w = (struct wire *)nd;

    w->listening = loop_source_free(w->listening);
    close_fdp(&w->listen_fd);
    frames_close(&w->frames);
    if (w->path != NULL) {
        (void)unlink(w->path);
        free(w->path);
    }
}

static int wire_send(struct netdev *nd, const struct iovec *iov, unsigned n)
{
    return frames_send(&((struct wire *)nd)->frames, iov, n);
}

static void wire_resume(struct netdev *nd)
{
    frames_resume(&((struct wire *)nd)->frames);
}

#define WIRE_CLASS(name_, open_)                                                       \
    {                                                                                  \
        .name = (name_), .size = sizeof(struct wire), .open = (open_),                 \
        .close = wire_close, .send = wire_send, .resume = wire_resume                  \
    }

const struct netdev_class netdev_stream = WIRE_CLASS("stream", stream_open);
const struct netdev_class netdev_dgram = WIRE_CLASS("dgram", dgram_open);
const struct netdev_class netdev_socket = WIRE_CLASS("socket", socket_open);
