/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/sock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int unix_address(const char *path, struct sockaddr_un *ret, struct err **err)
{
    *ret = (struct sockaddr_un) { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(ret->sun_path)) {
        return err_set(err, ENAMETOOLONG, "socket path '%s' is longer than %zu bytes", path,
                       sizeof(ret->sun_path) - 1);
    }
    memcpy(ret->sun_path, path, strlen(path));
    return 0;
}

int sock_connect_unix(const char *path, int *ret, struct err **err)
{
    struct sockaddr_un sa;
    AUTO_FD int fd = -1;
    int r = unix_address(path, &sa, err);

    if (r < 0) {
        return r;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        return err_set(err, errno, "Failed to connect to '%s': %s", path, strerror(errno));
    }
    *ret = TAKE_FD(fd);
    return 0;
}

int sock_listen_unix(const char *path, int backlog, int *ret, struct err **err)
{
    struct sockaddr_un sa;
    AUTO_FD int fd = -1;
    int stale = -1;
    int r = unix_address(path, &sa, err);

    if (r < 0) {
        return r;
    }
    if (sock_connect_unix(path, &stale, NULL) == 0) {
        (void)close(stale);
        return err_set(err, EADDRINUSE,
                       "Failed to bind socket to %s: another program listens there", path);
    }
    if (errno == ECONNREFUSED) {
        (void)unlink(path);
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, backlog) < 0) {
        return err_set(err, errno, "Failed to bind socket to %s: %s", path, strerror(errno));
    }
    *ret = TAKE_FD(fd);
    return 0;
}

static int resolve(const char *host, const char *port, int flags, struct addrinfo **ret,
                   struct err **err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags };
    int r = getaddrinfo(host != NULL && *host != '\0' ? host : NULL, port, &hints, ret);

    return r == 0 ? 0
                  : err_set(err, ENOENT, "address resolution failed for %s:%s: %s",
                            host != NULL ? host : "", port, gai_strerror(r));
}

int sock_connect_tcp(const char *host, const char *port, int *ret, struct err **err)
{
    struct addrinfo *list = NULL;
    int why = ENOENT;
    int r = resolve(host, port, AI_ADDRCONFIG, &list, err);

    if (r < 0) {
        return r;
    }
    for (struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
        AUTO_FD int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int on = 1;

        if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) == 0) {
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            *ret = TAKE_FD(fd);
            freeaddrinfo(list);
            return 0;
        }
        why = errno;
    }
    freeaddrinfo(list);
    return err_set(err, why, "Failed to connect to '%s:%s': %s", host, port, strerror(why));
}

int sock_listen_tcp(const char *host, const char *port, int backlog, int *ret, unsigned max,
                    unsigned *ret_n, struct err **err)
{
    struct addrinfo *list = NULL;
    int why = ENOENT;
    int r = resolve(host, port, AI_PASSIVE, &list, err);

    *ret_n = 0;
    for (struct addrinfo *ai = r == 0 ? list : NULL; ai != NULL && *ret_n < max; ai = ai->ai_next) {
        AUTO_FD int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int on = 1;

        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (ai->ai_family == AF_INET6) {
            (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
        }
        if (fd >= 0 && bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, backlog) == 0) {
            ret[(*ret_n)++] = TAKE_FD(fd);
        } else {
            why = errno;
        }
    }
    if (r < 0) {
        return r;
    }
    freeaddrinfo(list);
    return *ret_n > 0 ? 0
                      : err_set(err, why, "Failed to listen on '%s:%s': %s",
                                host != NULL ? host : "", port, strerror(why));
}
