/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * socket.c - a stream socket, unix (path=) or TCP (host=, port=), as server (server=on, wait=off)
 * or client; fd= takes a socket that is listening or connected already.
 */
#include "vmm/char/chardev.h"

#include "base/str.h"
#include "codec/keyval.h"
#include "os/fd.h"
#include "os/loop.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct socket_chr {
    struct chardev chr;
    struct chardev_stream s;
    struct loop_source *listen_source;
    int listen_fd;
    int fd;
    char *unlink_path; /* owned: removed at the end */
};

static void start_stream(struct socket_chr *c);

static void close_connection(struct socket_chr *c)
{
    chardev_stream_close(&c->s);
    close_fdp(&c->fd);
}

static void on_hangup(struct chardev *chr)
{
    struct socket_chr *c = (struct socket_chr *)chr;

    close_connection(c);
    if (c->listen_source != NULL) {
        (void)loop_fd_events(c->listen_source, EPOLLIN);
    }
    chardev_signal(chr, CHARDEV_CLOSED);
}

/* One connection at a time, as QEMU has it; the next waits in the backlog. */
static void on_connection(int fd, uint32_t events, void *arg)
{
    struct socket_chr *c = arg;

    (void)events;
    if (c->fd >= 0) {
        (void)loop_fd_events(c->listen_source, 0);
        return;
    }
    c->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (c->fd >= 0) {
        (void)loop_fd_events(c->listen_source, 0);
        start_stream(c);
    }
}

static bool is_unix(int fd)
{
    int domain = 0;
    socklen_t len = sizeof(domain);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

static void start_stream(struct socket_chr *c)
{
    int on = 1;

    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (chardev_stream_open(&c->s, &c->chr, c->fd, c->fd, NULL) < 0) {
        close_connection(c);
        return;
    }
    c->s.on_hangup = on_hangup;
    c->s.takes_fds = is_unix(c->fd);
    chardev_signal(&c->chr, CHARDEV_OPENED);
}

static int unix_socket(const char *path, bool server, char **ret_unlink, int *ret, struct err **err)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(sa.sun_path)) {
        return err_set(err, ENAMETOOLONG, "socket path '%s' is longer than %zu bytes", path,
                       sizeof(sa.sun_path) - 1);
    }
    memcpy(sa.sun_path, path, strlen(path));
    if (server) {
        (void)unlink(path);
    }
    if (fd < 0 || (server ? bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 8) < 0
                          : connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)) {
        return err_set(err, errno, "cannot %s '%s': %s", server ? "listen on" : "connect to", path,
                       strerror(errno));
    }
    if (server) {
        *ret_unlink = strdup(path);
    }
    *ret = TAKE_FD(fd);
    return 0;
}

static int tcp_socket(const char *host, const char *port, bool server, int *ret, struct err **err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = server ? AI_PASSIVE : AI_ADDRCONFIG };
    struct addrinfo *list = NULL;
    int r = getaddrinfo(host != NULL && *host != '\0' ? host : NULL, port, &hints, &list);
    int why = 0;

    if (r != 0) {
        return err_set(err, EINVAL, "cannot find '%s:%s': %s", host != NULL ? host : "", port,
                       gai_strerror(r));
    }
    for (struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
        AUTO_FD int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int on = 1;

        if (server) {
            (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        }
        if (fd >= 0 && (server ? bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, 8) == 0
                               : connect(fd, ai->ai_addr, ai->ai_addrlen) == 0)) {
            *ret = TAKE_FD(fd);
            freeaddrinfo(list);
            return 0;
        }
        why = errno;
    }
    freeaddrinfo(list);
    return err_set(err, why, "cannot %s '%s:%s': %s", server ? "listen on" : "connect to",
                   host != NULL ? host : "", port, strerror(why));
}

static int open_socket(struct socket_chr *c, struct keyval *opts, bool server, int *ret_fd,
                       struct err **err)
{
    const char *path = keyval_get(opts, "path");
    const char *host = keyval_get(opts, "host");
    const char *port = keyval_get(opts, "port");
    const char *fd_text = keyval_get(opts, "fd");
    uint32_t fd;

    if (fd_text != NULL) {
        if (str_to_u32(fd_text, 65535, &fd) < 0) {
            return err_set(err, EINVAL, "fd=%s is no descriptor", fd_text);
        }
        *ret_fd = (int)fd;
        c->chr.filename = str_format("fd:%s", fd_text);
        return 0;
    }
    if (path != NULL) {
        c->chr.filename = str_format("unix:%s%s", path, server ? ",server=on" : "");
        return unix_socket(path, server, &c->unlink_path, ret_fd, err);
    }
    if (port != NULL) {
        c->chr.filename =
            str_format("tcp:%s:%s%s", host != NULL ? host : "", port, server ? ",server=on" : "");
        return tcp_socket(host, port, server, ret_fd, err);
    }
    return err_set(err, EINVAL, "path=, port= or fd= is missing");
}

static int socket_open(struct chardev *chr, struct keyval *opts, struct err **err)
{
    struct socket_chr *c = (struct socket_chr *)chr;
    AUTO_FD int fd = -1;
    bool server = false;
    bool wait = true;
    int r;

    c->fd = -1;
    c->listen_fd = -1;
    c->s.fd_in = c->s.fd_out = -1;
    r = keyval_get_bool(opts, "server", false, &server, err);
    if (r == 0) {
        r = keyval_get_bool(opts, "wait", true, &wait, err);
    }
    if (r == 0) {
        r = open_socket(c, opts, server, &fd, err);
    }
    if (r < 0) {
        return r;
    }
    if (!server) {
        c->fd = TAKE_FD(fd);
        start_stream(c);
        return 0;
    }
    c->listen_fd = TAKE_FD(fd);
    if (wait) {
        c->fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (c->fd < 0) {
            return err_set(err, errno, "cannot accept a connection: %s", strerror(errno));
        }
        start_stream(c);
    }
    (void)!fd_set_nonblock(c->listen_fd, true);
    r = loop_add_fd(chr->loop, c->listen_fd, wait ? 0 : EPOLLIN, on_connection, c,
                    &c->listen_source);
    return r < 0 ? err_set(err, -r, "cannot watch the socket: %s", strerror(-r)) : 0;
}

static void socket_close(struct chardev *chr)
{
    struct socket_chr *c = (struct socket_chr *)chr;

    close_connection(c);
    c->listen_source = loop_source_free(c->listen_source);
    close_fdp(&c->listen_fd);
    if (c->unlink_path != NULL) {
        (void)unlink(c->unlink_path);
        free(c->unlink_path);
    }
}

static void socket_write(struct chardev *chr, const uint8_t *buf, size_t len)
{
    struct socket_chr *c = (struct socket_chr *)chr;

    if (c->fd >= 0) {
        chardev_stream_write(&c->s, buf, len);
    }
}

static void socket_accept(struct chardev *chr)
{
    chardev_stream_accept(&((struct socket_chr *)chr)->s);
}

const struct chardev_class chardev_socket = {
    .name = "socket",
    .desc = "a unix or TCP socket",
    .size = sizeof(struct socket_chr),
    .open = socket_open,
    .close = socket_close,
    .write = socket_write,
    .accept_input = socket_accept,
};
