/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/broker.h"

#include "base/str.h"
#include "os/fd.h"
#include "os/sock.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_PATH = 4096 };

enum broker_kind { BROKER_FILE, BROKER_LISTEN_UNIX, BROKER_LISTEN_TCP, BROKER_CONNECT_UNIX,
                   BROKER_CONNECT_TCP };

/* One message each way: what, flags, mode and path (TCP: host, newline, port); result, and the
 * descriptor with it. */
struct request {
    int32_t kind; /* enum broker_kind */
    int32_t flags;
    uint32_t mode;
    char path[MAX_PATH];
};

/* A descriptor or a negative errno. */
static int open_socket(int kind, char *place, struct err **err)
{
    char *port = strchr(place, '\n');
    unsigned n = 0;
    int fd = -1;
    int r = -EINVAL;

    if (port != NULL) {
        *port++ = '\0';
    }
    switch (kind) {
    case BROKER_LISTEN_UNIX:
        r = sock_listen_unix(place, 16, &fd, err);
        break;
    case BROKER_CONNECT_UNIX:
        r = sock_connect_unix(place, &fd, err);
        break;
    case BROKER_LISTEN_TCP:
        r = port != NULL ? sock_listen_tcp(place, port, 16, &fd, 1, &n, err) : r;
        break;
    case BROKER_CONNECT_TCP:
        r = port != NULL ? sock_connect_tcp(place, port, &fd, err) : r;
        break;
    default:
        break;
    }
    return r < 0 ? r : fd;
}

static void serve(int sock)
{
    struct request r;

    for (;;) {
        size_t n_fds = 0;
        ssize_t n = fd_recv_with(sock, &r, sizeof(r), NULL, 0, &n_fds);
        int32_t result;
        int fd;

        if (n <= 0) {
            return;
        }
        r.path[MAX_PATH - 1] = '\0';
        if (r.kind == BROKER_FILE) {
            fd = open(r.path, r.flags | O_CLOEXEC, r.mode);
            result = fd < 0 ? -errno : 0;
        } else {
            fd = open_socket(r.kind, r.path, NULL);
            result = fd < 0 ? fd : 0;
        }
        if (fd_send_with(sock, &result, sizeof(result), &fd, fd >= 0 ? 1 : 0) < 0) {
            return;
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
}

static void become_broker(int sock, unsigned uid, unsigned gid)
{
    int null = open("/dev/null", O_RDWR);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    for (int i = 0; i < 3; i++) {
        (void)dup2(null, i);
    }
    (void)dup2(sock, 3);
    (void)close_range(4, ~0u, 0);
    if (uid != 0 && (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
                     setresuid(uid, uid, uid) < 0)) {
        _exit(1);
    }
    serve(3);
    _exit(0);
}

int broker_start(unsigned uid, unsigned gid, int *ret, struct err **err)
{
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return err_set(err, errno, "cannot make a socket pair: %s", strerror(errno));
    }
    pid = fork();
    if (pid < 0) {
        int e = errno;

        (void)close(pair[0]);
        (void)close(pair[1]);
        return err_set(err, e, "cannot start the broker: %s", strerror(e));
    }
    if (pid == 0) {
        become_broker(pair[1], uid, gid);
    }
    (void)close(pair[1]);
    *ret = pair[0];
    return 0;
}

static int send_request(struct machine *m, struct request *r, const char *path)
{
    int32_t result = -EIO;
    size_t n_fds = 0;
    int fd = -1;

    if (strlen(path) >= MAX_PATH) {
        return -ENAMETOOLONG;
    }
    memcpy(r->path, path, strlen(path));
    if (fd_send_with(m->broker_fd, r, sizeof(*r), NULL, 0) < 0 ||
        fd_recv_with(m->broker_fd, &result, sizeof(result), &fd, 1, &n_fds) !=
            (ssize_t)sizeof(result)) {
        return -EIO;
    }
    return result < 0 ? result : n_fds == 1 ? fd : -EIO;
}

static int ask(void *arg, const char *path, int flags, unsigned mode)
{
    struct request r = { .kind = BROKER_FILE, .flags = flags, .mode = mode };

    return send_request(arg, &r, path);
}

int machine_open_socket(struct machine *m, bool listening, const char *place, const char *port,
                        int *ret, struct err **err)
{
    AUTO_FREE char *text =
        port != NULL ? str_format("%s\n%s", place, port) : str_format("%s", place);
    struct request r = { .kind = listening ? (port != NULL ? BROKER_LISTEN_TCP : BROKER_LISTEN_UNIX)
                         : port != NULL    ? BROKER_CONNECT_TCP
                                           : BROKER_CONNECT_UNIX };
    int fd;

    if (text == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    if (m->broker_fd < 0) {
        fd = open_socket(r.kind, text, err);
    } else {
        fd = send_request(m, &r, text);
    }
    if (fd < 0) {
        return err_set(err, -fd, "Failed to %s '%s%s%s': %s", listening ? "listen at" : "connect to",
                       place, port != NULL ? ":" : "", port != NULL ? port : "", strerror(-fd));
    }
    *ret = fd;
    return 0;
}

void broker_use(struct machine *m, int fd)
{
    m->broker_fd = fd;
    fd_set_opener(ask, m);
}

int machine_open_file(struct machine *m, const char *path, int flags, unsigned mode)
{
    (void)m;
    return fd_open(path, flags, mode);
}
