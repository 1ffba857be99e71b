/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/transport.h"

#include "base/str.h"
#include "os/fd.h"
#include "os/path.h"
#include "os/process.h"
#include "os/tls.h"
#include "rpc/fault.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { TCP_PORT = 16509, TLS_PORT = 16514, SPAWN_TRIES = 100, SPAWN_STEP_USEC = 50000 };

struct transport {
    int fd;      /* non-blocking */
    pid_t child; /* -1: none */
    bool secure;
    struct tls_creds *creds;
    struct tls *tls;
    pthread_mutex_t tls_lock; /* a session is not made for two threads */
};

struct transport *transport_close(struct transport *t)
{
    if (t == NULL) {
        return NULL;
    }
    tls_free(t->tls);
    tls_creds_free(t->creds);
    close_fdp(&t->fd);
    if (t->child > 0) {
        (void)kill(t->child, SIGTERM);
        (void)process_wait(t->child);
    }
    pthread_mutex_destroy(&t->tls_lock);
    free(t);
    return NULL;
}

void transport_shutdown(struct transport *t)
{
    (void)shutdown(t->fd, SHUT_RDWR);
}

int transport_fd(const struct transport *t)
{
    return t->fd;
}

bool transport_secure(const struct transport *t)
{
    return t->secure;
}

static int wait_fd(int fd, short events, int timeout_ms)
{
    struct pollfd p = { .fd = fd, .events = events };
    int n;

    do {
        n = poll(&p, 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int transport_wait(struct transport *t, int timeout_ms)
{
    return t->tls != NULL && tls_pending(t->tls) > 0 ? 1 : wait_fd(t->fd, POLLIN, timeout_ms);
}

int transport_read(struct transport *t, void *buf, size_t len)
{
    uint8_t *p = buf;

    while (len > 0) {
        bool write = false;
        ssize_t n;

        if (t->tls != NULL) {
            (void)pthread_mutex_lock(&t->tls_lock);
            n = tls_read(t->tls, p, len);
            write = n == -EAGAIN && tls_wants_write(t->tls);
            (void)pthread_mutex_unlock(&t->tls_lock);
        } else {
            n = recv(t->fd, p, len, 0);
            n = n < 0 ? -errno : n;
        }
        if (n == 0) {
            return -ECONNRESET;
        }
        if (n == -EAGAIN || n == -EINTR) {
            int r = wait_fd(t->fd, write ? POLLOUT : POLLIN, -1);

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

int transport_write(struct transport *t, const void *buf, size_t len)
{
    const uint8_t *p = buf;

    while (len > 0) {
        ssize_t n;

        if (t->tls != NULL) {
            (void)pthread_mutex_lock(&t->tls_lock);
            n = tls_write(t->tls, p, len);
            (void)pthread_mutex_unlock(&t->tls_lock);
        } else {
            n = send(t->fd, p, len, MSG_NOSIGNAL);
            n = n < 0 ? -errno : n;
        }
        if (n == -EAGAIN || n == -EINTR) {
            int r = wait_fd(t->fd, POLLOUT, -1);

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

/* ---- Unix sockets ---- */

static int connect_unix(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(sa.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        return -errno;
    }
    return TAKE_FD(fd);
}

/* Our own socket, or the standard one that we may own as well. */
static char *default_socket(bool system, bool readonly)
{
    const char *suffix = readonly && system ? "-ro" : "";
    AUTO_FREE char *name = str_format("vireo-sock%s", suffix);
    AUTO_FREE char *own = name != NULL ? path_of(PATH_RUN, system, name) : NULL;
    AUTO_FREE char *standard = str_format("/var/run/libvirt/libvirt-sock%s", suffix);

    if (own == NULL || standard == NULL) {
        return NULL;
    }
    return !path_exists(own) && system && path_exists(standard) ? TAKE_PTR(standard)
                                                                : TAKE_PTR(own);
}

/* A session's daemon starts when it is first needed. */
static int spawn_session(const char *path, struct err **err)
{
    AUTO_FREE char *program = path_find_program("vireod");
    const char *argv[] = { program, "--session", "--timeout=120", NULL };
    struct process_spec spec = {
        .argv = argv, .fd_in = -1, .fd_out = -1, .fd_err = -1, .new_session = true
    };
    pid_t pid;
    int fd = -ENOENT, r;

    if (program == NULL) {
        return fault(err, DOM_REMOTE, INTERNAL_ERROR,
                     "cannot find 'vireod' to start the session's daemon");
    }
    r = process_spawn(&spec, &pid, err);
    for (int i = 0; r == 0 && fd < 0 && i < SPAWN_TRIES; i++) {
        (void)usleep(SPAWN_STEP_USEC);
        fd = connect_unix(path);
    }
    return r < 0 ? r : fd;
}

static int open_unix(struct transport *t, const struct uri *u, bool readonly, struct err **err)
{
    bool session = str_eq(u->path, "/session") && geteuid() != 0;
    const char *given = uri_param(u, "socket");
    AUTO_FREE char *path = given != NULL ? strdup(given) : default_socket(!session, readonly);

    if (path == NULL) {
        return -ENOMEM;
    }
    t->secure = true;
    t->fd = connect_unix(path);
    if (t->fd < 0 && session && given == NULL && (t->fd == -ENOENT || t->fd == -ECONNREFUSED)) {
        t->fd = spawn_session(path, err);
    }
    if (t->fd < 0) {
        int e = -t->fd;

        t->fd = -1;
        return err_set(err, FAULT_CODE(DOM_RPC, SYSTEM_ERROR),
                       "Failed to connect socket to '%s': %s", path,
                       strerror(e < FAULT_BASE ? e : EIO));
    }
    return 0;
}

/* ---- TCP and TLS ---- */

static int open_tcp(struct transport *t, const struct uri *u, unsigned port, struct err **err)
{
    AUTO_FREE char *service = str_format("%u", u->port != 0 ? u->port : port);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *list = NULL;
    int r = getaddrinfo(u->host != NULL ? u->host : "localhost", service, &hints, &list), e = 0;
    const int on = 1;

    if (r != 0) {
        return fault(err, DOM_RPC, SYSTEM_ERROR, "unable to resolve '%s' service '%s': %s",
                     u->host != NULL ? u->host : "localhost", service, gai_strerror(r));
    }
    for (struct addrinfo *a = list; a != NULL && t->fd < 0; a = a->ai_next) {
        t->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (t->fd >= 0 && connect(t->fd, a->ai_addr, a->ai_addrlen) < 0) {
            e = errno;
            close_fdp(&t->fd);
        }
    }
    freeaddrinfo(list);
    if (t->fd < 0) {
        return fault(err, DOM_RPC, SYSTEM_ERROR, "unable to connect to server at '%s:%s': %s",
                     u->host != NULL ? u->host : "localhost", service, strerror(e));
    }
    (void)setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return 0;
}

static int load_pki(const struct uri *u, struct tls_creds **ret, struct err **err)
{
    const char *dir = uri_param(u, "pkipath"), *home = getenv("HOME");
    AUTO_FREE char *own = str_format("%s/.pki/libvirt", home != NULL ? home : "/");
    AUTO_FREE char *own_ca = str_format("%s/cacert.pem", own != NULL ? own : "");
    AUTO_FREE char *ca = NULL, *cert = NULL, *key = NULL, *crl = NULL;

    if (own == NULL || own_ca == NULL) {
        return -ENOMEM;
    }
    if (dir == NULL && geteuid() != 0 && path_exists(own_ca)) {
        dir = own;
    }
    if (dir != NULL) {
        ca = str_format("%s/cacert.pem", dir);
        cert = str_format("%s/clientcert.pem", dir);
        key = str_format("%s/clientkey.pem", dir);
        crl = str_format("%s/cacrl.pem", dir);
    } else {
        ca = strdup("/etc/pki/CA/cacert.pem");
        cert = strdup("/etc/pki/libvirt/clientcert.pem");
        key = strdup("/etc/pki/libvirt/private/clientkey.pem");
        crl = strdup("/etc/pki/CA/cacrl.pem");
    }
    if (ca == NULL || cert == NULL || key == NULL || crl == NULL) {
        return -ENOMEM;
    }
    if (!path_exists(ca)) {
        return fault(err, DOM_RPC, SYSTEM_ERROR, "Cannot read CA certificate '%s': %s", ca,
                     strerror(ENOENT));
    }
    return tls_creds_load(ca, path_exists(cert) ? cert : NULL, path_exists(cert) ? key : NULL,
                          path_exists(crl) ? crl : NULL, ret, err);
}

static int open_tls(struct transport *t, const struct uri *u, struct err **err)
{
    const char *no_verify = uri_param(u, "no_verify");
    bool verify = no_verify == NULL || str_eq(no_verify, "0");
    char said;
    int r = load_pki(u, &t->creds, err);

    r = r == 0 ? open_tcp(t, u, TLS_PORT, err) : r;
    r = r == 0 ? fd_set_nonblock(t->fd, true) : r;
    if (r == 0) {
        r = tls_new(t->creds, t->fd, false, verify && u->host != NULL ? u->host : NULL, verify,
                    uri_param(u, "tls_priority"), &t->tls, err);
    }
    while (r == 0 && (r = tls_handshake(t->tls, err)) == -EAGAIN) {
        r = wait_fd(t->fd, tls_wants_write(t->tls) ? POLLOUT : POLLIN, -1);
        r = r > 0 ? 0 : r;
    }
    /* The server says whether it likes our certificate. */
    if (r == 0 && (transport_read(t, &said, 1) < 0 || said != 1)) {
        r = fault(err, DOM_RPC, RPC,
                  "server verification (of our certificate or IP address) failed");
    }
    t->secure = true;
    return r;
}

/* ---- programs ---- */

static int open_program(struct transport *t, const char *const *argv, struct err **err)
{
    int pair[2], r;
    struct process_spec spec = { .argv = argv, .fd_err = PROCESS_INHERIT };

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return err_set(err, errno, "cannot make a socket pair: %s", strerror(errno));
    }
    spec.fd_in = spec.fd_out = pair[1];
    r = process_spawn(&spec, &t->child, err);
    (void)close(pair[1]);
    if (r < 0) {
        (void)close(pair[0]);
        t->child = -1;
        return r;
    }
    t->fd = pair[0];
    return 0;
}

/* What runs on the other host: libvirt's helper where it is, else netcat with the daemon's socket.
 */
static char *remote_script(const struct uri *u, bool readonly)
{
    const char *socket = uri_param(u, "socket"), *nc = uri_param(u, "netcat"),
               *proxy = uri_param(u, "proxy");
    AUTO_FREE char *name = uri_for_server(u);
    const char *path = socket != NULL ? socket
                       : readonly     ? "/var/run/libvirt/libvirt-sock-ro"
                                      : "/var/run/libvirt/libvirt-sock";
    AUTO_FREE char *cat = str_format(
        "if '%s' -q 2>&1 | grep 'requires an argument' >/dev/null 2>&1; then A=-q0; else A=; fi; '%s' $A -U '%s'",
        nc != NULL ? nc : "nc", nc != NULL ? nc : "nc", path);
    bool direct = socket != NULL || nc != NULL || (proxy != NULL && str_eq(proxy, "netcat"));

    if (name == NULL || cat == NULL) {
        return NULL;
    }
    return direct
               ? str_format("%s", cat)
               : str_format(
                     "if command -v virt-ssh-helper >/dev/null 2>&1; then virt-ssh-helper %s'%s'; else %s; fi",
                     readonly ? "-r " : "", name, cat);
}

static int open_ssh(struct transport *t, const struct uri *u, bool readonly, struct err **err)
{
    const char *argv[24];
    const char *command = uri_param(u, "command"), *key = uri_param(u, "keyfile");
    AUTO_FREE char *script = remote_script(u, readonly);
    AUTO_FREE char *quoted = NULL, *port = str_format("%u", u->port);
    const char *no_verify = uri_param(u, "no_verify"), *no_tty = uri_param(u, "no_tty");
    size_t n = 0;

    if (u->host == NULL) {
        return fault(err, DOM_REMOTE, INVALID_ARG, "transport 'ssh' needs a host in the URI");
    }
    quoted = script != NULL ? str_format("sh -c \"%s\"", script) : NULL;
    if (quoted == NULL || port == NULL) {
        return -ENOMEM;
    }
    argv[n++] = command != NULL ? command : "ssh";
    if (key != NULL) {
        argv[n++] = "-i";
        argv[n++] = key;
    }
    if (u->port != 0) {
        argv[n++] = "-p";
        argv[n++] = port;
    }
    if (u->user != NULL) {
        argv[n++] = "-l";
        argv[n++] = u->user;
    }
    argv[n++] = "-T";
    argv[n++] = "-e";
    argv[n++] = "none";
    if (no_tty != NULL && !str_eq(no_tty, "0")) {
        argv[n++] = "-o";
        argv[n++] = "BatchMode=yes";
    }
    if (no_verify != NULL && !str_eq(no_verify, "0")) {
        argv[n++] = "-o";
        argv[n++] = "StrictHostKeyChecking=no";
    }
    argv[n++] = "--";
    argv[n++] = u->host;
    argv[n++] = quoted;
    argv[n] = NULL;
    t->secure = true;
    return open_program(t, argv, err);
}

static int open_ext(struct transport *t, const struct uri *u, struct err **err)
{
    const char *argv[] = { uri_param(u, "command"), NULL };

    return argv[0] != NULL
               ? open_program(t, argv, err)
               : fault(err, DOM_REMOTE, INVALID_ARG, "transport 'ext' needs 'command=' in the URI");
}

int transport_open(const struct uri *u, bool readonly, struct transport **ret, struct err **err)
{
    CLEANUP(transport_closep) struct transport *t = calloc(1, sizeof(*t));
    const char *name = u->transport != NULL ? u->transport : u->host != NULL ? "tls" : "unix";
    int r;

    if (t == NULL) {
        return -ENOMEM;
    }
    t->fd = t->child = -1;
    (void)pthread_mutex_init(&t->tls_lock, NULL);
    if (str_eq(name, "unix")) {
        r = open_unix(t, u, readonly, err);
    } else if (str_eq(name, "tcp")) {
        r = open_tcp(t, u, TCP_PORT, err);
    } else if (str_eq(name, "tls")) {
        r = open_tls(t, u, err);
    } else if (str_eq(name, "ssh")) {
        r = open_ssh(t, u, readonly, err);
    } else if (str_eq(name, "ext")) {
        r = open_ext(t, u, err);
    } else {
        r = fault(err, DOM_REMOTE, INVALID_ARG,
                  "transport '%s' in the URI is not one of unix, tcp, tls, ssh, ext", name);
    }
    if (r == 0 && t->tls == NULL) {
        r = fd_set_nonblock(t->fd, true);
    }
    if (r == 0) {
        *ret = TAKE_PTR(t);
    }
    return r;
}
