/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/server/server.h"

#include "base/log.h"
#include "base/str.h"
#include "mgmt/server/client.h"
#include "os/loop.h"
#include "os/path.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { BACKLOG = 256, ACCEPT_ROUNDS = 64 };

int server_init(struct server *s, struct loop *loop, const char *name)
{
    memset(s, 0, sizeof(*s));
    s->loop = loop;
    s->name = name;
    s->max_clients = CLIENTS_MAX;
    s->keepalive_seconds = 5;
    s->keepalive_count = 5;
    list_init(&s->services);
    list_init(&s->clients);
    return 0;
}

void server_done(struct server *s)
{
    LIST_FOREACH_SAFE (&s->clients, it) {
        client_close(CONTAINER_OF(it, struct client, link));
    }
    LIST_FOREACH_SAFE (&s->services, it) {
        struct service *v = CONTAINER_OF(it, struct service, link);

        loop_source_free(v->source);
        (void)close(v->fd);
        if (v->path != NULL) {
            (void)unlink(v->path);
        }
        free(v->path);
        list_remove(&v->link);
        free(v);
    }
    s->idle_timer = loop_source_free(s->idle_timer);
}

static void on_idle(void *arg)
{
    struct server *s = arg;

    if (s->n_clients == 0 && (s->busy == NULL || !s->busy())) {
        log_note("nobody is connected; ending");
        loop_quit(s->loop, 0);
    }
}

void server_check_idle(struct server *s)
{
    if (s->idle_timeout_usec == 0) {
        return;
    }
    if (s->idle_timer == NULL && loop_add_timer(s->loop, on_idle, s, &s->idle_timer) < 0) {
        return;
    }
    if (s->n_clients == 0) {
        (void)loop_timer_arm(s->idle_timer, loop_now_usec() + s->idle_timeout_usec);
    } else {
        (void)loop_timer_disarm(s->idle_timer);
    }
}

static void on_accept(int fd, uint32_t events, void *arg)
{
    struct service *v = arg;

    (void)events;
    for (int i = 0; i < ACCEPT_ROUNDS; i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (got < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                LOG_LIMITED(LOG_WARN, "accept: %s", strerror(errno));
            }
            return;
        }
        if (v->server->n_clients >= v->server->max_clients) {
            LOG_LIMITED(LOG_WARN, "too many clients (%u); one was refused", v->server->n_clients);
            (void)close(got);
            continue;
        }
        if (client_new(v, got, &err) < 0) {
            LOG_LIMITED(LOG_WARN, "a client was refused: %s",
                        err != NULL ? err->text : "no memory");
        }
        server_check_idle(v->server);
    }
}

int server_listen(struct server *s, int fd, char *path, struct service **ret, struct err **err)
{
    struct service *v = calloc(1, sizeof(*v));
    int r;

    if (v == NULL) {
        free(path);
        (void)close(fd);
        return -ENOMEM;
    }
    v->server = s;
    v->kind = "unix";
    v->fd = fd;
    v->path = path;
    list_append(&s->services, &v->link);
    r = loop_add_fd(s->loop, fd, EPOLLIN, on_accept, v, &v->source);
    if (r < 0) {
        return err_set(err, -r, "cannot watch a listening socket");
    }
    *ret = v;
    return 0;
}

/* Is somebody answering there? A socket file without a listener is left over. */
static bool socket_alive(const struct sockaddr_un *sa)
{
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0;
}

int server_listen_unix(struct server *s, const char *path, unsigned mode, struct service **ret,
                       struct err **err)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    AUTO_FD int fd = -1;
    AUTO_FREE char *copy = NULL;
    AUTO_FREE char *folder = NULL;
    char *slash;
    mode_t old;
    int r;

    if (strlen(path) >= sizeof(sa.sun_path)) {
        return err_set(err, ENAMETOOLONG, "socket path '%s' is longer than %zu bytes", path,
                       sizeof(sa.sun_path) - 1);
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    copy = strdup(path);
    folder = strdup(path);
    if (copy == NULL || folder == NULL) {
        return -ENOMEM;
    }
    slash = strrchr(folder, '/');
    if (slash != NULL && slash != folder) {
        *slash = '\0';
        r = path_make_folders(folder, 0755, err);
        if (r < 0) {
            return r;
        }
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_set(err, errno, "cannot make a socket: %s", strerror(errno));
    }
    if (socket_alive(&sa)) {
        return err_set(err, EADDRINUSE, "another daemon answers at '%s'", path);
    }
    (void)unlink(path);
    old = umask(0777 & ~mode);
    r = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
    (void)umask(old);
    if (r < 0) {
        return err_set(err, -r, "cannot listen at '%s': %s", path, strerror(-r));
    }
    return server_listen(s, TAKE_FD(fd), TAKE_PTR(copy), ret, err);
}

int server_listen_tcp(struct server *s, const char *host, uint16_t port, struct service **ret,
                      struct err **err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
    struct addrinfo *list = NULL;
    AUTO_FD int fd = -1;
    char text[8];
    int one = 1, r;

    (void)snprintf(text, sizeof(text), "%u", port);
    r = getaddrinfo(host, text, &hints, &list);
    if (r != 0) {
        return err_set(err, EINVAL, "listen address '%s': %s", host != NULL ? host : "",
                       gai_strerror(r));
    }
    r = -EADDRNOTAVAIL;
    for (struct addrinfo *a = list; a != NULL && r < 0; a = a->ai_next) {
        close_fdp(&fd);
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            r = -errno;
            continue;
        }
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        r = bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
    }
    freeaddrinfo(list);
    if (r < 0) {
        return err_set(err, -r, "cannot listen at port %u: %s", port, strerror(-r));
    }
    r = server_listen(s, TAKE_FD(fd), NULL, ret, err);
    if (r == 0) {
        (*ret)->kind = "tcp";
    }
    return r;
}
