/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stream.h - data that follows a call, in either direction, named by the call's procedure and
 * serial.
 *
 * A stream copies between its client and a descriptor (a pty, a socket, a file, a pipe): the
 * descriptor is read only while the client keeps up, and the client is read only while the
 * descriptor takes what came, so that neither side fills our memory. From us: data packets, then an
 * empty one for the end; the client answers "ok", and so do we. To us: data, then "ok", which we
 * answer when all is written. Either side may send an error instead.
 */
#pragma once

#include "mgmt/server/client.h"

enum { STREAMS_MAX = 64 };

typedef void stream_end_fn(void *arg, bool aborted);

struct stream_spec {
    int fd_read;        /* what the client gets; owned; -1: nothing */
    int fd_write;       /* where its data goes; owned, may equal fd_read; -1: nowhere */
    uint64_t read_max;  /* ends after so many bytes; 0: at the end of the file */
    uint64_t write_max; /* more is an error; 0: no limit */
    bool sparse;        /* holes are sent as such (regular files) */
    bool regular;       /* fd is a file: no waiting */
    stream_end_fn *end; /* called once, when all is over */
    void *arg;
};

struct stream {
    struct list link;
    struct client *client; /* borrowed: streams end with their client */
    struct rpc_header header;
    struct stream_spec spec;
    struct loop_source *read_source, *write_source;
    uint64_t n_read, n_written;
    bool started, read_eof, client_done, finished;
    uint8_t *queue; /* owned; what the descriptor has not taken yet */
    size_t queue_len, queue_off, queue_room;
};

/* Makes the call's stream; it starts with the call's reply. */
int stream_new(struct call *call, const struct stream_spec *spec, struct err **err);
void stream_start(struct stream *s);
/* Ends it from our side with an error to the client. */
void stream_abort(struct stream *s, struct err *err);
struct stream *stream_free(struct stream *s);

int stream_message(struct client *c, const struct rpc_header *h, const uint8_t *p, size_t len);
/* The client's queue got shorter. */
void stream_client_ready(struct client *c);
