/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connection.h - the client's half of the wire: one call at a time over a Unix socket.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "rpc/codec.h"
#include "rpc/protocol/remote.h"

#include <stdbool.h>

struct connection;

enum { CLIENT_ARENA_MAX = 256 << 20 };

/* uri: "qemu:///system", "qemu+unix:///system?socket=PATH", "test+unix:///default?socket=PATH";
 * NULL: the daemon that is found, the system's first for root. */
int connection_open(const char *uri, bool readonly, struct connection **ret, struct err **err)
    MUST_CHECK;
struct connection *connection_close(struct connection *c);
DEFINE_CLEANUP(struct connection, connection_close)

/* args and ret may be NULL where the call has none; what ret points to lives in the arena. The
 * server's error message becomes the error's text, its number and domain the code. */
int connection_call(struct connection *c, int proc, const void *args, void *ret, struct arena *a,
                    struct err **err) MUST_CHECK;
