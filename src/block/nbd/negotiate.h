/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* negotiate.h - the client's half of NBD's handshake. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct nbd_stream;
struct tls_creds;

/* What is asked for. */
struct nbd_wish {
    const char *export_name; /* "" for the default export */
    struct tls_creds *tls;   /* borrowed; NULL: plain */
    const char *tls_hostname;
    const char *context; /* metadata context for block status; NULL: none */
};

/* An export as the server describes it. */
struct nbd_export_info {
    uint64_t size;
    uint16_t flags; /* NBD_FLAG_* */
    bool structured;
    bool has_context;
    uint32_t context_id;
    uint32_t min_block;
    uint32_t opt_block; /* 0: not said */
    uint32_t max_block; /* 0: not said */
    char *name;         /* owned; of lists only, as the two that follow */
    char *description;  /* owned; NULL: none */
    char **contexts;    /* owned */
    unsigned n_contexts;
};

/* From the server's greeting to the start of requests. */
int nbd_negotiate(struct nbd_stream *s, const struct nbd_wish *wish, struct nbd_export_info *ret,
                  struct err **err) MUST_CHECK;

/* All exports of a server, owned. Ends the session. */
int nbd_list(struct nbd_stream *s, const struct nbd_wish *wish, struct nbd_export_info **ret,
             unsigned *ret_n, struct err **err) MUST_CHECK;
void nbd_list_free(struct nbd_export_info *list, unsigned n);
