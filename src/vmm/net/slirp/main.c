/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - vireo-net-user: the user-mode network of one VM, in a process of its own, because
 * libslirp brings GLib, whose abort must not end the guest, and because it parses what a guest
 * sends.
 *
 * Standard input is a SOCK_SEQPACKET socket: a datagram is an Ethernet frame. The first one that
 * goes back is "ok" or the reason why the options cannot be had. It ends when the socket does.
 */
#include "base/err.h"
#include "base/str.h"
#include "os/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { PEER = 0, MAX_FRAME = 65536 + 64, MAX_POLL = 1024, BURST = 64 };

struct timer {
    struct timer *next;
    SlirpTimerCb fn;
    void *arg;
    int64_t at_msec; /* -1: off */
};

struct helper {
    Slirp *slirp;
    struct timer *timers;
    struct pollfd polls[MAX_POLL];
    unsigned n_polls;
};

static int64_t now_nsec(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static ssize_t cb_send(const void *buf, size_t len, void *arg)
{
    ssize_t n;

    (void)arg;
    /* Waits for room: TCP then slows down at the host's socket, and nothing is lost. */
    do {
        n = send(PEER, buf, len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n;
}

static void cb_guest_error(const char *msg, void *arg)
{
    (void)msg;
    (void)arg;
}

static int64_t cb_clock(void *arg)
{
    (void)arg;
    return now_nsec();
}

static void *cb_timer_new(SlirpTimerCb fn, void *cb_arg, void *arg)
{
    struct helper *h = arg;
    struct timer *t = calloc(1, sizeof(*t));

    if (t != NULL) {
        *t = (struct timer) { .next = h->timers, .fn = fn, .arg = cb_arg, .at_msec = -1 };
        h->timers = t;
    }
    return t;
}

static void cb_timer_free(void *timer, void *arg)
{
    struct helper *h = arg;

    for (struct timer **p = &h->timers; *p != NULL; p = &(*p)->next) {
        if (*p == timer) {
            *p = (*p)->next;
            free(timer);
            return;
        }
    }
}

static void cb_timer_mod(void *timer, int64_t at_msec, void *arg)
{
    (void)arg;
    if (timer != NULL) {
        ((struct timer *)timer)->at_msec = at_msec;
    }
}

static void cb_poll_fd(int fd, void *arg)
{
    (void)fd;
    (void)arg;
}

static void cb_notify(void *arg)
{
    (void)arg;
}

static int cb_add_poll(int fd, int events, void *arg)
{
    struct helper *h = arg;
    short e = (short)(((events & SLIRP_POLL_IN) != 0 ? POLLIN : 0) |
                      ((events & SLIRP_POLL_OUT) != 0 ? POLLOUT : 0) |
                      ((events & SLIRP_POLL_PRI) != 0 ? POLLPRI : 0));

    if (h->n_polls == MAX_POLL) {
        return -1;
    }
    h->polls[h->n_polls] = (struct pollfd) { .fd = fd, .events = e };
    return (int)h->n_polls++;
}

static int cb_get_revents(int index, void *arg)
{
    struct helper *h = arg;
    int e = index >= 0 ? h->polls[index].revents : 0;

    return ((e & POLLIN) != 0 ? SLIRP_POLL_IN : 0) | ((e & POLLOUT) != 0 ? SLIRP_POLL_OUT : 0) |
           ((e & POLLPRI) != 0 ? SLIRP_POLL_PRI : 0) | ((e & POLLERR) != 0 ? SLIRP_POLL_ERR : 0) |
           ((e & POLLHUP) != 0 ? SLIRP_POLL_HUP : 0);
}

static const SlirpCb callbacks = {
    .send_packet = cb_send,
    .guest_error = cb_guest_error,
    .clock_get_ns = cb_clock,
    .timer_new = cb_timer_new,
    .timer_free = cb_timer_free,
    .timer_mod = cb_timer_mod,
    .register_poll_fd = cb_poll_fd,
    .unregister_poll_fd = cb_poll_fd,
    .notify = cb_notify,
};

static int parse_ip(const char *key, const char *text, struct in_addr *ret, struct err **err)
{
    return inet_pton(AF_INET, text, ret) == 1
               ? 0
               : err_set(err, EINVAL, "%s=%s is no IPv4 address", key, text);
}

/* "10.0.2.0/24" */
static int parse_net(const char *text, SlirpConfig *c, struct err **err)
{
    AUTO_FREE char *addr = strndup(text, strcspn(text, "/"));
    const char *slash = strchr(text, '/');
    uint32_t bits = 24;
    uint32_t host;

    if (addr == NULL || (slash != NULL && str_to_u32(slash + 1, 30, &bits) < 0) || bits == 0) {
        return err_set(err, EINVAL, "net=%s is no network (10.0.2.0/24)", text);
    }
    if (parse_ip("net", addr, &c->vnetwork, err) < 0) {
        return -EINVAL;
    }
    c->vnetmask.s_addr = htonl(~0u << (32 - bits));
    c->vnetwork.s_addr &= c->vnetmask.s_addr;
    host = ntohl(c->vnetwork.s_addr);
    c->vhost.s_addr = htonl(host | 2);
    c->vnameserver.s_addr = htonl(host | 3);
    c->vdhcp_start.s_addr = htonl(host | 15);
    return 0;
}

/* "tcp:HOSTADDR:HOSTPORT-GUESTADDR:GUESTPORT"; addresses may be empty. */
static int add_hostfwd(Slirp *slirp, const char *text, struct err **err)
{
    AUTO_FREE char *copy = strdup(text);
    char *at = copy;
    char *part[5] = { NULL };
    static const char ends[] = "::-::";
    struct in_addr host = { .s_addr = INADDR_ANY };
    struct in_addr guest = { .s_addr = 0 };
    uint32_t host_port;
    uint32_t guest_port;
    bool udp;

    for (unsigned i = 0; at != NULL && i < 5; i++) {
        char *end = i < 4 ? strchr(at, ends[i]) : NULL;

        part[i] = at;
        if (end != NULL) {
            *end++ = '\0';
        }
        at = end;
    }
    if (part[4] == NULL || str_to_u32(part[2], 65535, &host_port) < 0 ||
        str_to_u32(part[4], 65535, &guest_port) < 0 ||
        (*part[0] != '\0' && !str_eq(part[0], "tcp") && !str_eq(part[0], "udp")) ||
        (*part[1] != '\0' && inet_pton(AF_INET, part[1], &host) != 1) ||
        (*part[3] != '\0' && inet_pton(AF_INET, part[3], &guest) != 1)) {
        return err_set(err, EINVAL,
                       "hostfwd=%s is not [tcp|udp]:[ADDRESS]:PORT-[GUESTADDRESS]:PORT", text);
    }
    udp = str_eq(part[0], "udp");
    if (slirp_add_hostfwd(slirp, udp, host, (int)host_port, guest, (int)guest_port) < 0) {
        return err_set(err, EADDRINUSE, "hostfwd=%s: port %u of this host cannot be had: %s", text,
                       host_port, strerror(errno));
    }
    return 0;
}

static int parse_option(SlirpConfig *c, const char *key, const char *value, struct err **err)
{
    bool on = true;

    if (str_eq(key, "net")) {
        return parse_net(value, c, err);
    }
    if (str_eq(key, "host")) {
        return parse_ip(key, value, &c->vhost, err);
    }
    if (str_eq(key, "dns")) {
        return parse_ip(key, value, &c->vnameserver, err);
    }
    if (str_eq(key, "dhcpstart")) {
        return parse_ip(key, value, &c->vdhcp_start, err);
    }
    if (str_eq(key, "restrict") || str_eq(key, "ipv4") || str_eq(key, "ipv6")) {
        if (str_to_bool(value, &on) < 0) {
            return err_set(err, EINVAL, "%s=%s is neither on nor off", key, value);
        }
        if (str_eq(key, "restrict")) {
            c->restricted = on;
        } else if (str_eq(key, "ipv4")) {
            c->in_enabled = on;
        } else {
            c->in6_enabled = on;
        }
    } else if (str_eq(key, "hostname")) {
        c->vhostname = value;
    } else if (str_eq(key, "tftp")) {
        c->tftp_path = value;
    } else if (str_eq(key, "bootfile")) {
        c->bootfile = value;
    } else if (str_eq(key, "domainname")) {
        c->vdomainname = value;
    }
    return 0;
}

static int set_up(struct helper *h, int argc, char **argv, struct err **err)
{
    SlirpConfig c = { .version = 1, .in_enabled = true, .in6_enabled = true };
    int r = parse_net("10.0.2.0/24", &c, err);

    (void)inet_pton(AF_INET6, "fec0::", &c.vprefix_addr6);
    c.vprefix_len = 64;
    (void)inet_pton(AF_INET6, "fec0::2", &c.vhost6);
    (void)inet_pton(AF_INET6, "fec0::3", &c.vnameserver6);
    for (int i = 1; r == 0 && i < argc; i++) {
        char *eq = strchr(argv[i], '=');

        if (eq == NULL) {
            return err_set(err, EINVAL, "'%s' is not KEY=VALUE", argv[i]);
        }
        if (!str_starts(argv[i], "hostfwd=")) {
            AUTO_FREE char *key = strndup(argv[i], (size_t)(eq - argv[i]));

            r = key != NULL ? parse_option(&c, key, eq + 1, err) : -ENOMEM;
        }
    }
    if (r < 0) {
        return r;
    }
    h->slirp = slirp_new(&c, &callbacks, h);
    if (h->slirp == NULL) {
        return err_set(err, EINVAL, "libslirp refuses this network");
    }
    for (int i = 1; r == 0 && i < argc; i++) {
        if (str_starts(argv[i], "hostfwd=")) {
            r = add_hostfwd(h->slirp, argv[i] + 8, err);
        }
    }
    return r;
}

/* What libslirp and GLib need from here on: sockets, and resolv.conf. */
static int confine(struct err **err)
{
    static const char *const calls[] = { "read",
                                         "write",
                                         "readv",
                                         "writev",
                                         "recvfrom",
                                         "sendto",
                                         "recvmsg",
                                         "sendmsg",
                                         "socket",
                                         "connect",
                                         "bind",
                                         "listen",
                                         "accept",
                                         "accept4",
                                         "getsockname",
                                         "getpeername",
                                         "setsockopt",
                                         "getsockopt",
                                         "shutdown",
                                         "close",
                                         "poll",
                                         "ppoll",
                                         "fcntl",
                                         "ioctl",
                                         "clock_gettime",
                                         "gettimeofday",
                                         "brk",
                                         "mmap",
                                         "munmap",
                                         "mremap",
                                         "mprotect",
                                         "madvise",
                                         "futex",
                                         "exit",
                                         "exit_group",
                                         "rt_sigreturn",
                                         "rt_sigaction",
                                         "rt_sigprocmask",
                                         "openat",
                                         "newfstatat",
                                         "fstat",
                                         "stat",
                                         "lseek",
                                         "getrandom",
                                         "getpid",
                                         "gettid",
                                         "tgkill",
                                         "restart_syscall",
                                         "uname",
                                         "getuid",
                                         "geteuid",
                                         "statx",
                                         NULL };
    static const struct sandbox_path files[] = { { "/etc", false } };
    bool active;
    int r = sandbox_drop(0, 0, err);

    if (r == 0) {
        r = sandbox_files(files, 1, &active, err);
    }
    return r == 0 ? sandbox_syscalls(calls, false, err) : r;
}

static void run_timers(struct helper *h)
{
    int64_t now = now_nsec() / 1000000;
    bool again = true;

    /* A callback may change the list: start over after each. */
    while (again) {
        again = false;
        for (struct timer *t = h->timers; t != NULL; t = t->next) {
            if (t->at_msec >= 0 && t->at_msec <= now) {
                t->at_msec = -1;
                t->fn(t->arg);
                again = true;
                break;
            }
        }
    }
}

static int run(struct helper *h)
{
    static uint8_t frame[MAX_FRAME];

    for (;;) {
        uint32_t timeout = 60000;
        int64_t now = now_nsec() / 1000000;
        int r;

        h->n_polls = 0;
        (void)cb_add_poll(PEER, SLIRP_POLL_IN, h);
        slirp_pollfds_fill(h->slirp, &timeout, cb_add_poll, h);
        for (const struct timer *t = h->timers; t != NULL; t = t->next) {
            if (t->at_msec >= 0) {
                int64_t left = t->at_msec > now ? t->at_msec - now : 0;

                timeout = left < timeout ? (uint32_t)left : timeout;
            }
        }
        r = poll(h->polls, h->n_polls, (int)timeout);
        slirp_pollfds_poll(h->slirp, r < 0 && errno != EINTR, cb_get_revents, h);
        run_timers(h);
        for (unsigned i = 0; i < BURST && (h->polls[0].revents & (POLLIN | POLLHUP)) != 0; i++) {
            ssize_t n = recv(PEER, frame, sizeof(frame), MSG_DONTWAIT);

            if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
                return 0;
            }
            if (n < 0) {
                break;
            }
            slirp_input(h->slirp, frame, (int)n);
        }
    }
}

int main(int argc, char **argv)
{
    static struct helper h;
    CLEANUP(err_freep) struct err *err = NULL;
    int r;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN); /* the terminal's Ctrl-C is the emulator's */
    r = set_up(&h, argc, argv, &err);
    if (r == 0) {
        r = confine(&err);
    }
    if (r < 0) {
        const char *why = err != NULL ? err->text : strerror(-r);

        (void)send(PEER, why, strlen(why), MSG_NOSIGNAL);
        return 1;
    }
    (void)send(PEER, "ok", 2, MSG_NOSIGNAL);
    return run(&h);
}
