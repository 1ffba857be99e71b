/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* peer.h - the inside of the NBD server: its exports, and one client's connection. */
#pragma once

#include "base/list.h"
#include "block/nbd/server.h"
#include "block/nbd/stream.h"

#include <pthread.h>

/* Metadata contexts of an export by number; dirty bitmaps follow. */
enum {
    CONTEXT_BASE,
    CONTEXT_DEPTH,
    CONTEXT_BITMAPS,
    MAX_CONTEXTS_SET = 2 + NBD_MAX_EXPORT_BITMAPS
};

struct nbd_export {
    struct list link;
    struct block_node *node; /* counted */
    char *name;
    char *description;                 /* or NULL */
    struct nbd_export_options options; /* name and description are the two above */
    uint64_t len;
    uint16_t flags;   /* NBD_FLAG_* */
    unsigned n_peers; /* under the server's lock, as removed is */
    bool removed;
};

/* A client. */
struct nbd_peer {
    struct list link;
    struct nbd_server *server;
    struct nbd_stream stream;
    struct nbd_export *export; /* from the end of the handshake */
    bool structured;
    bool contexts[MAX_CONTEXTS_SET]; /* that it wants, of context_export */
    char *context_export;            /* owned */

    /* Requests: threads take turns in reading one and work on it while the next one reads. */
    pthread_mutex_t read_lock;
    pthread_mutex_t write_lock;
    pthread_mutex_t lock; /* what follows */
    unsigned n_threads;
    unsigned n_idle; /* of them wait to read */
    bool over;
};

/* The handshake, to the point where requests begin. 0, or a negative errno: the client is gone. */
int nbd_peer_greet(struct nbd_peer *p);
/* Serves requests until the client leaves: to be called by each of its threads. */
void nbd_peer_serve(struct nbd_peer *p);
/* One more thread for the client, when there may be one (server.c). */
void nbd_peer_more_threads(struct nbd_peer *p);

const struct nbd_server_options *nbd_server_options(const struct nbd_server *server);
/* Finds the export and counts the client as its user; NULL when there is none. */
struct nbd_export *nbd_server_use(struct nbd_server *server, const char *name);
void nbd_server_unuse(struct nbd_server *server, struct nbd_export *export);
/* The client, which uses the export, gets to requests. -ESHUTDOWN: the export is being removed. */
int nbd_server_start(struct nbd_peer *p, struct nbd_export *export);
/* The names of all exports, each owned as the array is; *ret_n: how many. */
int nbd_server_names(struct nbd_server *server, char ***ret, unsigned *ret_n);
/* "base:allocation" ... of context i, in buf; false when the export has none of that number. */
bool nbd_export_context(const struct nbd_export *export, unsigned i, char *buf, size_t size);
