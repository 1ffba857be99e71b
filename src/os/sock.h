/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sock.h - stream sockets by path or by host and port.
 *
 * Descriptors are close-on-exec and blocking; a failure names the place.
 */
#pragma once

#include "base/err.h"

/* port: a number or a service's name. host: NULL or "" for any (listening) or this machine. */
int sock_connect_unix(const char *path, int *ret, struct err **err) MUST_CHECK;
int sock_connect_tcp(const char *host, const char *port, int *ret, struct err **err) MUST_CHECK;
/* A socket file that nobody listens on any more is replaced. */
int sock_listen_unix(const char *path, int backlog, int *ret, struct err **err) MUST_CHECK;
/* At most max sockets, as a name may stand for several addresses; *ret_n: how many. */
int sock_listen_tcp(const char *host, const char *port, int backlog, int *ret, unsigned max,
                    unsigned *ret_n, struct err **err) MUST_CHECK;
