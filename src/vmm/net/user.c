/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * user.c - user-mode network: frames go over a socket pair to vireo-net-user, a process of its own
 * that holds the TCP/IP stack (src/vmm/net/slirp/main.c). A frame is a datagram.
 */
#include "vmm/net/frames.h"

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

enum { SOCKET_BUFFER = 1 << 20, MAX_ARGS = 64, ERROR_BYTES = 512 };

struct user {
    struct netdev nd;
    struct frames frames;
    pid_t pid;
};

static void user_resume(struct netdev *nd)
{
    frames_resume(&((struct user *)nd)->frames);
}

static int user_send(struct netdev *nd, const struct iovec *iov, unsigned n)
{
    return frames_send(&((struct user *)nd)->frames, iov, n);
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

static int start(struct user *u, struct keyval *opts, int *ret, struct err **err)
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
    *ret = pair[0];
    if (r < 0) {
        return r;
    }
    n = recv(*ret, answer, sizeof(answer) - 1, 0);
    if (n <= 0 || !str_eq(answer, "ok")) {
        return err_set(err, EINVAL, "%s", n > 0 ? answer : "vireo-net-user ended at once");
    }
    return 0;
}

static int user_open(struct netdev *nd, struct keyval *opts, struct err **err)
{
    struct user *u = (struct user *)nd;
    AUTO_FD int fd = -1;
    int r;

    frames_init(&u->frames, nd);
    r = start(u, opts, &fd, err);
    return r == 0 ? frames_open(&u->frames, TAKE_FD(fd), FRAMES_DATAGRAM, err) : r;
}

static void user_close(struct netdev *nd)
{
    struct user *u = (struct user *)nd;

    frames_close(&u->frames); /* the helper ends when its socket does */
    if (u->pid > 0) {
        (void)waitpid(u->pid, NULL, 0);
    }
}

const struct netdev_class netdev_user = {
    .name = "user",
    .size = sizeof(struct user),
    .open = user_open,
    .close = user_close,
    .send = user_send,
    .resume = user_resume,
};
