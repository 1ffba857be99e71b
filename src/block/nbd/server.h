/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * server.h - an NBD server: exports of block nodes, for clients on sockets that the caller made.
 *
 * Clients are served on threads of their own by the blocking calls, so that a server needs no
 * loop. The functions here may be called on any thread, but one at a time for a server; an export
 * must be removed before its node is closed or its graph changes.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct block_bitmap;
struct block_node;
struct nbd_export;
struct nbd_server;
struct tls_creds;

enum { NBD_MAX_NAME = 4096, NBD_MAX_EXPORT_BITMAPS = 64 };

struct nbd_server_options {
    struct tls_creds *tls; /* borrowed; not NULL: clients must use TLS */
    bool verify_peer;      /* and have a certificate */
    unsigned max_clients;  /* at once; 0: any number. Others wait to be accepted */
    /* A client is gone; used: it got as far as an export; left: how many there are now. Called on
     * a thread of the server. May be NULL. */
    void (*on_gone)(void *arg, bool used, unsigned left);
    void *arg;
};

struct nbd_export_options {
    const char *name;        /* "" is the default export */
    const char *description; /* or NULL */
    bool writable;
    bool writethrough; /* each write is on stable storage before it is answered */
    uint64_t off;      /* of the window that is exported */
    uint64_t len;      /* UINT64_MAX: to the node's end */
    bool allocation_depth;
    struct block_bitmap *bitmaps[NBD_MAX_EXPORT_BITMAPS]; /* borrowed; they outlive the export */
    unsigned n_bitmaps;
};

int nbd_server_new(const struct nbd_server_options *options, struct nbd_server **ret,
                   struct err **err) MUST_CHECK;
/* Ends all connections and waits for them. */
struct nbd_server *nbd_server_free(struct nbd_server *server);
DEFINE_CLEANUP(struct nbd_server, nbd_server_free)

/* Accepts clients on a listening socket, which it takes. */
int nbd_server_listen(struct nbd_server *server, int fd, struct err **err) MUST_CHECK;
/* Serves a client that is connected already; takes fd. */
int nbd_server_add_client(struct nbd_server *server, int fd, struct err **err) MUST_CHECK;
unsigned nbd_server_clients(struct nbd_server *server);

/* Takes a reference to the node. -EEXIST when the name is in use. *ret may be NULL. */
int nbd_server_add(struct nbd_server *server, struct block_node *node,
                   const struct nbd_export_options *options, struct nbd_export **ret,
                   struct err **err) MUST_CHECK;
struct nbd_export *nbd_server_find(struct nbd_server *server, const char *name);
/* -EBUSY when clients use it and force is not set; their connections are ended when it is. */
int nbd_server_remove(struct nbd_server *server, struct nbd_export *export, bool force) MUST_CHECK;
