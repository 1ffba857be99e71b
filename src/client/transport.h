/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * transport.h - the byte stream to a server: a Unix socket, TCP, TLS over TCP, or the standard
 * streams of a program (ssh, or one the user names).
 *
 * Reads and writes wait. One thread may read while another one writes.
 */
#pragma once

#include "client/uri.h"

#include <sys/types.h>

struct transport;

int transport_open(const struct uri *u, bool readonly, struct transport **ret, struct err **err)
    MUST_CHECK;
struct transport *transport_close(struct transport *t);
DEFINE_CLEANUP(struct transport, transport_close)

/* All of it, or a negative errno; the end of the stream is -ECONNRESET. */
int transport_read(struct transport *t, void *buf, size_t len) MUST_CHECK;
int transport_write(struct transport *t, const void *buf, size_t len) MUST_CHECK;
/* Something to read: 1, 0 after the time (-1: no limit), or a negative errno. */
int transport_wait(struct transport *t, int timeout_ms);
int transport_fd(const struct transport *t);
/* Nobody can listen in: a Unix socket, TLS, ssh. */
bool transport_secure(const struct transport *t);
/* Wakes a thread that waits in transport_read(), which then fails. */
void transport_shutdown(struct transport *t);
