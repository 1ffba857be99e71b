/* SPDX-License-Identifier: GPL-2.0-or-later */
/* list.c - the exports of another server. */
#include "tools/nbd/nbd.h"

#include "base/str.h"
#include "block/nbd/negotiate.h"
#include "block/nbd/stream.h"
#include "block/nbd/wire.h"
#include "os/sock.h"
#include "os/tls.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static void print_flags(uint16_t flags)
{
    static const char *const names[] = { "readonly", "flush",  "fua",      "rotational",
                                         "trim",     "zeroes", "df",       "multi",
                                         "resize",   "cache",  "fast-zero" };

    printf("  flags: 0x%x (", flags);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((flags & (2u << i)) != 0) {
            printf(" %s", names[i]);
        }
    }
    printf(" )\n");
}

static void print_export(const struct nbd_export_info *e)
{
    printf(" export: '%s'\n", e->name);
    if (e->description != NULL && *e->description != '\0') {
        printf("  description: %s\n", e->description);
    }
    if ((e->flags & NBD_FLAG_HAS_FLAGS) != 0) {
        printf("  size:  %" PRIu64 "\n", e->size);
        print_flags(e->flags);
    }
    if (e->opt_block != 0) {
        printf("  min block: %u\n  opt block: %u\n  max block: %u\n", e->min_block, e->opt_block,
               e->max_block);
    }
    if (e->n_contexts > 0) {
        printf("  available meta contexts: %u\n", e->n_contexts);
        for (unsigned i = 0; i < e->n_contexts; i++) {
            printf("   %s\n", e->contexts[i]);
        }
    }
}

int nbd_print_list(struct nbd_tool *t, struct err **err)
{
    enum { PATIENCE_MS = 30000 };
    CLEANUP(tls_creds_freep) struct tls_creds *creds = NULL;
    struct nbd_wish wish = { .export_name = "", .tls_hostname = t->tls_hostname };
    struct nbd_export_info *list = NULL;
    const char *host = t->bind != NULL ? t->bind : "localhost";
    struct nbd_stream s;
    unsigned n = 0;
    int fd = -1;
    int r = 0;

    if (t->tls_creds != NULL) {
        bool verify;
        const char *dir = objects_tls(t->objects, t->tls_creds, &verify);

        if (wish.tls_hostname == NULL) {
            wish.tls_hostname = t->path == NULL ? host : "localhost";
        }
        r = dir != NULL ? tls_creds_load_folder(dir, false, &creds, err)
                        : err_set(err, ENOENT, "No TLS credentials with id '%s'", t->tls_creds);
        wish.tls = creds;
    }
    if (r == 0) {
        r = t->path != NULL ? sock_connect_unix(t->path, &fd, err)
                            : sock_connect_tcp(host, t->port, &fd, err);
    }
    if (r < 0) {
        return r;
    }
    nbd_stream_init(&s, fd);
    nbd_stream_set_timeout(&s, PATIENCE_MS);
    r = nbd_list(&s, &wish, &list, &n, err);
    if (r == 0) {
        printf("exports available: %u\n", n);
        for (unsigned i = 0; i < n; i++) {
            print_export(&list[i]);
        }
        nbd_list_free(list, n);
    }
    nbd_stream_done(&s);
    return r;
}
