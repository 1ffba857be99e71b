/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client.h - one connected peer.
 */
#pragma once

#include "mgmt/server/server.h"

struct out_chunk {
    struct list link;
    size_t len, off;
    int fds[RPC_FDS_MAX]; /* follow the bytes, each with a zero byte; owned */
    unsigned n_fds, fds_sent;
    uint8_t bytes[];
};

struct client {
    struct list link;
    unsigned refs;
    struct server *server;
    struct service *service; /* NULL once it is gone */
    uint64_t id;
    int64_t since; /* seconds since 1970 */
    int fd;        /* -1: closed */
    struct tls *tls;
    bool tls_ready;
    struct sasl_session *sasl;
    struct loop_source *source;
    struct loop_source *keepalive;
    unsigned keepalive_unanswered;
    uint64_t heard_usec;

    bool readonly, admin;
    bool authenticated;
    bool asked_keepalive;
    bool wants_close_event;
    pid_t pid;
    uid_t uid;
    gid_t gid;
    unsigned long long start_time; /* of the peer's process, from /proc; 0 unknown */
    char *sasl_user;               /* owned */
    char *x509_name;               /* owned */
    char *address;                 /* owned; of the peer, NULL for local ones */

    struct world *world; /* NULL until connect_open */
    char *uri;           /* owned; as the client asked */
    struct list streams;
    struct list subscriptions;

    uint8_t *in;
    size_t in_len, in_room;
    int in_fds[RPC_FDS_MAX];
    unsigned n_in_fds, want_fds;
    struct list out;
    size_t out_bytes;
    unsigned n_calls;   /* unanswered */
    struct arena arena; /* of the call handled on the loop; reused */
};

struct client *client_ref(struct client *c);
struct client *client_unref(struct client *c);

/* Takes the connected fd. */
int client_new(struct service *service, int fd, struct err **err);
/* Lets go of everything but the memory that references hold. */
void client_close(struct client *c);

/* Queues a finished message, which it frees; fd: sent along, owned, or -1. */
void client_send(struct client *c, struct xdr_out *x, int fd);
void client_send_error(struct client *c, const struct rpc_header *h, struct err *err);
/* The reply of a call, or its error; frees the call. */
void call_finish(struct call *call, const void *ret, int r, struct err *err);

/* Reading may go on: a call was answered or the queue got shorter. */
void client_resume(struct client *c);

/* It knows how to answer pings: they begin. */
void client_wants_keepalive(struct client *c);
