/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connection.h - the client's half of the wire: calls, streams and events over one transport.
 *
 * Any thread may call. There is no thread of ours: whoever waits for a reply reads the transport,
 * one at a time, and hands the others what is theirs; events wait in a queue until somebody asks
 * for them.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "rpc/codec.h"
#include "rpc/protocol/qemu.h"
#include "rpc/protocol/remote.h"

#include <stdbool.h>

struct connection;
struct flow;

enum { CLIENT_ARENA_MAX = 256 << 20, CLIENT_EVENTS_MAX = 10000 };

/* NULL: $LIBVIRT_DEFAULT_URI, else the system's daemon for root and the session's for others. */
int connection_open(const char *uri, bool readonly, struct connection **ret, struct err **err)
    MUST_CHECK;
struct connection *connection_close(struct connection *c);
DEFINE_CLEANUP(struct connection, connection_close)
/* The URI that was opened. Borrowed. */
const char *connection_uri(const struct connection *c);
bool connection_secure(const struct connection *c);
int connection_fd(const struct connection *c);
bool connection_alive(struct connection *c);

/* args and ret may be NULL where the call has none; what ret points to lives in the arena. The
 * server's error message becomes the error's text, its number and domain the code. */
int connection_call(struct connection *c, const struct rpc_program *program, int proc,
                    const void *args, void *ret, struct arena *a, struct err **err) MUST_CHECK;
/* The same for a call that a stream belongs to. */
int connection_call_stream(struct connection *c, const struct rpc_program *program, int proc,
                           const void *args, void *ret, struct arena *a, struct flow **ret_stream,
                           struct err **err) MUST_CHECK;

/* A message from the server: the generated struct of the procedure. */
typedef void connection_event_fn(void *arg, const struct rpc_program *program, int proc,
                                 const void *msg);
/* Waits for events and hands them to fn: how many, 0 after the time (-1: no limit), or a negative
 * errno when the connection ended. */
int connection_events(struct connection *c, int timeout_ms, connection_event_fn *fn, void *arg);

/* Bytes from the server: their count, 0 at the end (or after a hole: *ret_hole), -EAGAIN after the
 * time, or an error. */
ssize_t flow_recv(struct flow *s, void *buf, size_t len, int timeout_ms, uint64_t *ret_hole,
                  struct err **err);
int flow_send(struct flow *s, const void *buf, size_t len, struct err **err) MUST_CHECK;
int flow_send_hole(struct flow *s, uint64_t len, struct err **err) MUST_CHECK;
/* All was sent, or all was received; waits for the server's word. */
int flow_finish(struct flow *s, struct err **err) MUST_CHECK;
/* Gives the rest up. */
void flow_abort(struct flow *s);
struct flow *flow_free(struct flow *s);
DEFINE_CLEANUP(struct flow, flow_free)
