/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd.h - what vireo-nbd was told to do. */
#pragma once

#include "block/core/block.h"
#include "block/nbd/server.h"
#include "tools/image/objects.h"

enum { MAX_EXPORTS = 256, MAX_BITMAPS = NBD_MAX_EXPORT_BITMAPS };

struct nbd_tool {
    struct block_ctx *ctx;
    struct objects *objects;

    /* where */
    const char *path; /* unix socket; NULL: TCP */
    const char *bind;
    const char *port;
    const char *tls_creds; /* NULL: plain */
    const char *tls_hostname;

    /* how images are opened */
    const char *fmt;
    const char *cache;
    const char *discard;
    const char *detect_zeroes;
    const char *load_snapshot;
    bool image_opts;
    bool read_only;
    bool snapshot; /* writes go to a temporary file */

    /* the export of the image on the command line */
    const char *name;
    const char *description;
    uint64_t off;
    bool allocation_depth;
    const char *bitmaps[MAX_BITMAPS];
    unsigned n_bitmaps;
    /* further ones: "name=X,file=Y,..." */
    const char *exports[MAX_EXPORTS];
    unsigned n_exports;
};

/* Adds the export of that file with the tool's options. 0, or a negative errno. */
int nbd_export_file(struct nbd_tool *t, struct nbd_server *server, const char *file,
                    struct err **err) MUST_CHECK;
/* The same for --export's text: name=, file=, and what differs from the tool's options. */
int nbd_export_text(struct nbd_tool *t, struct nbd_server *server, const char *text,
                    struct err **err) MUST_CHECK;
/* -L: the exports of the server there, on stdout. */
int nbd_print_list(struct nbd_tool *t, struct err **err) MUST_CHECK;
