/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * user.c - user-mode network: frames go over a socket pair to vireo-net-user, a process of its own
 * that holds the TCP/IP stack (src/vmm/net/slirp/main.c). A frame is a datagram.
 */
#include "vmm/net/netdev.h"

#include "base/str.h"
#include "codec/keyval.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/path.h"
#include "os/process.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOCKET_BUFFER = 1 << 20, MAX_ARGS = 64, BURST = 64, ERROR_BYTES = 512 };

struct user {
    struct netdev nd;
    int fd;
    pid_t pid;
    struct loop_source *source;
    uint8_t *frame; /* owned: NETDEV_MAX_FRAME */
    size_t held;    /* bytes of a frame that the guest had no room for */
    bool blocked;   /* send() said -EAGAIN */
};

static void watch(struct user *u)
{
    (void)loop_fd_events(u->source,
                         (u->held == 0 ? EPOLLIN : 0) | (u->blocked ? (uint32_t)EPOLLOUT : 0));
}

static void on_socket(int fd, uint32_t events, void *arg)
{
    struct user *u = arg;

    if ((events & EPOLLOUT) != 0 && u->blocked) {
        u->blocked = false;
        watch(u);
        if (u->nd.ready != NULL) {
            u->nd.ready(u->nd.arg);
        }
    }
    for (unsigned i = 0; i < BURST && u->held == 0; i++) {
        ssize_t n = recv(fd, u->frame, NETDEV_MAX_FRAME, MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            u->source = loop_source_free(u->source); /* the process is gone: the cable is out */
            return;
        }
        if (n < 0) {
            return;
        }
        if (u->nd.receive != NULL && !u->nd.receive(u->nd.arg, u->frame, (size_t)n)) {
            u->held = (size_t)n;
            watch(u);
        }
    }
}

static void user_resume(struct netdev *nd)
{
    struct user *u = (struct user *)nd;

    if (u->held > 0 && nd->receive(nd->arg, u->frame, u->held)) {
        u->held = 0;
        if (u->source != NULL) {
            watch(u);
        }
    }
}

static int user_send(struct netdev *nd, const struct iovec *iov, unsigned n)
{
    struct user *u = (struct user *)nd;
    union {
        const struct iovec *from;
        struct iovec *to;
    } list = { .from = iov };
    struct msghdr msg = { .msg_iov = list.to, .msg_iovlen = n };

    if (u->source == NULL) {
        return 0;
    }
    while (sendmsg(u->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno == EAGAIN || errno == ENOBUFS) {
            u->blocked = true;
            watch(u);
            return -EAGAIN;
        }
        if (errno != EINTR) {
            return 0; /* a frame too long or a process gone: lost, as on a wire */
        }
    }
    return 0;
}

/* The helper's options are ours, as KEY=VALUE arguments; it says "ok" or an error as first message.
 */
static int collect_args(struct keyval *opts, const char *program, char *args[MAX_ARGS])
{
    static const char *const keys[] = { "net",        "host",      "dhcpstart", "dns",  "restrict",
                                        "hostname",   "tftp",      "bootfile",  "ipv4", "ipv6",
                                        "domainname", "dnssearch", "hostfwd" };
    unsigned n = 0;

    args[n++] = strdup(program);
    for (size_t i = 0; i < opts->n; i++) {
        struct keyval_pair *p = &opts->pairs[i];

        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
            if (str_eq(p->key, keys[k])) {
                p->used = true;
                if (n == MAX_ARGS - 1) {
                    return -E2BIG;
                }
                args[n++] = str_format("%s=%s", p->key, p->value);
            }
        }
    }
    args[n] = NULL;
    return 0;
}

static int start(struct user *u, struct keyval *opts, struct err **err)
{
    AUTO_FREE char *program = path_find_program("vireo-net-user");
    char *args[MAX_ARGS] = { NULL };
    char answer[ERROR_BYTES] = { 0 };
    int pair[2] = { -1, -1 };
    struct process_spec spec = {
        .fd_in = -1, .fd_out = -1, .fd_err = PROCESS_INHERIT, .die_with_parent = true
    };
    union {
        char *const *mutable;
        const char *const *fixed;
    } argv = { .mutable = args };
    int size = SOCKET_BUFFER;
    ssize_t n;
    int r;

    if (program == NULL) {
        return err_set(err, ENOENT, "the program vireo-net-user is not installed");
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return err_set(err, errno, "cannot make a socket pair: %s", strerror(errno));
    }
    for (unsigned i = 0; i < 2; i++) {
        (void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
    r = collect_args(opts, program, args);
    if (r == 0) {
        spec.argv = argv.fixed;
        spec.fd_in = pair[1];
        r = process_spawn(&spec, &u->pid, err);
    } else {
        r = err_set(err, E2BIG, "too many options");
    }
    for (unsigned i = 0; args[i] != NULL; i++) {
        free(args[i]);
    }
    close_fdp(&pair[1]);
    u->fd = pair[0];
    if (r < 0) {
        return r;
    }
    n = recv(u->fd, answer, sizeof(answer) - 1, 0);
    if (n <= 0 || !str_eq(answer, "ok")) {
        return err_set(err, EINVAL, "%s", n > 0 ? answer : "vireo-net-user ended at once");
    }
    return 0;
}

static int user_open(struct netdev *nd, struct keyval *opts, struct err **err)
{
    struct user *u = (struct user *)nd;
    int r;

    u->fd = -1;
    u->frame = malloc(NETDEV_MAX_FRAME);
    if (u->frame == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    r = start(u, opts, err);
    if (r < 0) {
        return r;
    }
    (void)!fd_set_nonblock(u->fd, true);
    r = loop_add_fd(nd->m->loop, u->fd, EPOLLIN, on_socket, u, &u->source);
    return r < 0 ? err_set(err, -r, "cannot watch the socket: %s", strerror(-r)) : 0;
}

static void user_close(struct netdev *nd)
{
    struct user *u = (struct user *)nd;

    u->source = loop_source_free(u->source);
    close_fdp(&u->fd); /* the helper ends when its socket does */
    if (u->pid > 0) {
        (void)waitpid(u->pid, NULL, 0);
    }
    free(u->frame);
}

const struct netdev_class netdev_user = {
    .name = "user",
    .size = sizeof(struct user),
    .open = user_open,
    .close = user_close,
    .send = user_send,
    .resume = user_resume,
};
