/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * server.h - sockets and their clients: framing, dispatch of calls, limits.
 *
 * Everything here is called with the daemon's lock held.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"
#include "rpc/frame.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct client;
struct loop;
struct server;
struct sasl_session;
struct transport;
struct world;

enum {
    CLIENTS_MAX = 5000,
    CLIENT_CALLS_MAX = 64,        /* unanswered calls at which we stop reading */
    CLIENT_QUEUE_MAX = 64 << 20,  /* unsent bytes at which events are dropped with the client */
    CLIENT_QUEUE_PAUSE = 4 << 20, /* unsent bytes at which we stop reading */
    CALL_ARENA_MAX = 128 << 20,
};

enum server_auth { AUTH_NONE = 0, AUTH_SASL = 1, AUTH_POLKIT = 2 };

/* A listening socket's properties, which its clients inherit. */
struct service {
    struct list link;
    struct server *server;
    const char *kind; /* "unix", "tcp", "tls" */
    int fd;
    bool readonly;
    bool admin;
    enum server_auth auth;
    struct tls_creds *tls; /* borrowed; NULL: plain */
    char *path;            /* owned; unlinked at the end */
    struct loop_source *source;
};

struct server {
    struct loop *loop;
    const char *name;
    bool system;
    struct list services;
    struct list clients;
    unsigned n_clients;
    unsigned max_clients;
    uint64_t next_client_id;
    unsigned keepalive_seconds; /* 0: never */
    unsigned keepalive_count;
    uint64_t idle_timeout_usec; /* 0: stays */
    struct loop_source *idle_timer;
    void (*client_gone)(struct client *c); /* NULL: nobody asks */
    bool (*busy)(void);                    /* a reason to stay although nobody is connected */
    const char *sasl_mechanisms;
    uint8_t *stream_buffer;                /* owned; a packet being read */
    bool (*tls_allowed)(const char *name); /* NULL: every verified peer */
};

/* One call being handled; dies with its reply. */
struct call {
    struct client *client; /* counted */
    struct world *world;   /* what the connection was opened on; NULL before */
    struct arena arena;    /* arguments and results */
    const struct rpc_program *program;
    const struct rpc_proc *proc;
    struct rpc_header header;
    void *args;
    int fds[RPC_FDS_MAX]; /* sent with the call; closed with it unless taken */
    unsigned n_fds;
    int reply_fd; /* sent with the reply, owned; -1: none */
    struct stream *stream;
    bool sasl_done; /* what follows the reply is wrapped */
    struct list link;
};

int server_init(struct server *s, struct loop *loop, const char *name);
void server_done(struct server *s);
/* Owns fd and path. */
int server_listen(struct server *s, int fd, char *path, struct service **ret, struct err **err);
/* Binds and listens. */
int server_listen_unix(struct server *s, const char *path, unsigned mode, struct service **ret,
                       struct err **err);
int server_listen_tcp(struct server *s, const char *host, uint16_t port, struct service **ret,
                      struct err **err);
/* Starts or stops the idle clock; to be called when busy() may have changed. */
void server_check_idle(struct server *s);

/* A short text on the reason, "virDomainCreate" from "domain_create". */
const char *call_api_name(struct call *call);
