/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* greet.c - the server's half of NBD's handshake (fixed newstyle). */
#include "block/nbd/peer.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/nbd/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_OPTION = 64 << 10, /* names and a few queries; longer ones are refused unread */
    MAX_OPTIONS = 1024,    /* that a client may send before it starts */
    MAX_QUERIES = 256,
    MAX_CONTEXT_NAME = NBD_MAX_NAME + 32,
};

static int reply(struct nbd_peer *p, uint32_t option, uint32_t type, const void *data, size_t len)
{
    struct iovec iov = { .iov_len = len };
    uint8_t head[20];

    memcpy(&iov.iov_base, &data, sizeof(data));
    be64_put(head, NBD_MAGIC_OPT_REPLY);
    be32_put(head + 8, option);
    be32_put(head + 12, type);
    be32_put(head + 16, (uint32_t)len);
    return nbd_stream_writev(&p->stream, head, sizeof(head), &iov, len > 0);
}

static int refuse(struct nbd_peer *p, uint32_t option, uint32_t type, const char *why)
{
    return reply(p, option, type, why, strlen(why));
}

/* A name of that length, owned; NULL (and reader failed) when it is too long or not text. */
static char *take_name(struct reader *r, uint32_t len)
{
    const uint8_t *s = len <= NBD_MAX_NAME ? reader_take(r, len) : NULL;

    if (s == NULL || memchr(s, 0, len) != NULL) {
        r->failed = true;
        return NULL;
    }
    return strndup((const char *)s, len);
}

static int list(struct nbd_peer *p)
{
    char **names = NULL;
    unsigned n = 0;
    int r = nbd_server_names(p->server, &names, &n);

    for (unsigned i = 0; i < n; i++) {
        struct nbd_export *e = r == 0 ? nbd_server_use(p->server, names[i]) : NULL;
        size_t len = strlen(names[i]);

        if (e != NULL) {
            AUTO_FREE uint8_t *data = (uint8_t *)str_format(
                "....%s%s", names[i], e->description != NULL ? e->description : "");

            if (data != NULL) {
                be32_put(data, (uint32_t)len);
                r = reply(p, NBD_OPT_LIST, NBD_REP_SERVER, data,
                          4 + len + (e->description != NULL ? strlen(e->description) : 0));
            }
            nbd_server_unuse(p->server, e);
        }
        free(names[i]);
    }
    free(names);
    return r == 0 ? reply(p, NBD_OPT_LIST, NBD_REP_ACK, NULL, 0) : r;
}

static int send_info(struct nbd_peer *p, uint32_t option, uint16_t info, const void *data,
                     size_t len)
{
    AUTO_FREE uint8_t *buf = malloc(len + 2);

    if (buf == NULL) {
        return -ENOMEM;
    }
    be16_put(buf, info);
    memcpy(buf + 2, data, len);
    return reply(p, option, NBD_REP_INFO, buf, len + 2);
}

static uint16_t export_flags(const struct nbd_peer *p, const struct nbd_export *e)
{
    return e->flags | (p->structured ? NBD_FLAG_SEND_DF : 0);
}

static int describe(struct nbd_peer *p, uint32_t option, const struct nbd_export *e,
                    struct reader *in)
{
    uint16_t n = (uint16_t)(reader_u8(in) << 8);
    uint8_t sizes[12];
    uint8_t export[10];
    int r = 0;

    n |= reader_u8(in);
    for (unsigned i = 0; r == 0 && i < n; i++) {
        uint16_t want = (uint16_t)(reader_u8(in) << 8);

        want |= reader_u8(in);
        if (want == NBD_INFO_NAME && !in->failed) {
            r = send_info(p, option, NBD_INFO_NAME, e->name, strlen(e->name));
        } else if (want == NBD_INFO_DESCRIPTION && e->description != NULL && !in->failed) {
            r = send_info(p, option, NBD_INFO_DESCRIPTION, e->description, strlen(e->description));
        }
    }
    if (in->failed) {
        return refuse(p, option, NBD_REP_ERR_INVALID,
                      "the list of wanted information is cut short");
    }
    be32_put(sizes, 1);
    be32_put(sizes + 4, 4096);
    be32_put(sizes + 8, NBD_MAX_PAYLOAD);
    if (r == 0) {
        r = send_info(p, option, NBD_INFO_BLOCK_SIZE, sizes, sizeof(sizes));
    }
    be64_put(export, e->len);
    be16_put(export + 8, export_flags(p, e));
    if (r == 0) {
        r = send_info(p, option, NBD_INFO_EXPORT, export, sizeof(export));
    }
    return r == 0 ? reply(p, option, NBD_REP_ACK, NULL, 0) : r;
}

/* The client goes on to requests, with its use of the export: contexts that it set for another one
 * do not count. */
static int start(struct nbd_peer *p, struct nbd_export *e)
{
    int r = nbd_server_start(p, e);

    if (r < 0) {
        nbd_server_unuse(p->server, e);
    } else if (p->context_export == NULL || !str_eq(p->context_export, e->name)) {
        memset(p->contexts, 0, sizeof(p->contexts));
    }
    return r;
}

static int info_or_go(struct nbd_peer *p, uint32_t option, struct reader *in)
{
    AUTO_FREE char *name = take_name(in, reader_be32(in));
    struct nbd_export *e;
    int r;

    if (name == NULL) {
        return refuse(p, option, NBD_REP_ERR_INVALID, "the export's name makes no sense");
    }
    e = nbd_server_use(p->server, name);
    if (e == NULL) {
        AUTO_FREE char *why = str_format("export '%s' not present", name);

        return refuse(p, option, NBD_REP_ERR_UNKNOWN, why != NULL ? why : "no such export");
    }
    r = describe(p, option, e, in);
    if (r == 0 && option == NBD_OPT_GO && !in->failed) {
        return start(p, e);
    }
    nbd_server_unuse(p->server, e);
    return r;
}

static int export_name(struct nbd_peer *p, struct reader *in, bool no_zeroes)
{
    AUTO_FREE char *name = take_name(in, (uint32_t)in->left);
    struct nbd_export *e = name != NULL ? nbd_server_use(p->server, name) : NULL;
    uint8_t tail[10 + 124] = { 0 };

    if (e == NULL || start(p, e) < 0) {
        return -ENOENT; /* this option has no way to say so but to hang up */
    }
    be64_put(tail, e->len);
    be16_put(tail + 8, export_flags(p, e));
    return nbd_stream_write(&p->stream, tail, no_zeroes ? 10 : sizeof(tail));
}

static bool matches(const char *query, const char *context, bool listing)
{
    size_t len = strlen(query);

    /* A list may ask for a name space, "base:" or "qemu:dirty-bitmap:" (proto.md, metadata). */
    return str_eq(query, context) ||
           (listing && len > 0 && query[len - 1] == ':' && str_starts(context, query));
}

static int send_context(struct nbd_peer *p, uint32_t option, unsigned i, const char *name)
{
    AUTO_FREE uint8_t *data = (uint8_t *)str_format("....%s", name);

    if (data == NULL) {
        return -ENOMEM;
    }
    be32_put(data, option == NBD_OPT_SET_META_CONTEXT ? i : 0);
    return reply(p, option, NBD_REP_META_CONTEXT, data, 4 + strlen(name));
}

static int answer_contexts(struct nbd_peer *p, uint32_t option, const struct nbd_export *e,
                           struct reader *in)
{
    bool setting = option == NBD_OPT_SET_META_CONTEXT;
    bool wanted[MAX_CONTEXTS_SET] = { 0 };
    uint32_t n = reader_be32(in);
    char context[MAX_CONTEXT_NAME];
    int r = 0;

    if (n > MAX_QUERIES) {
        return refuse(p, option, NBD_REP_ERR_TOO_BIG, "too many queries");
    }
    for (uint32_t q = 0; q < n; q++) {
        AUTO_FREE char *query = take_name(in, reader_be32(in));

        for (unsigned i = 0; query != NULL && i < MAX_CONTEXTS_SET; i++) {
            if (nbd_export_context(e, i, context, sizeof(context))) {
                wanted[i] |= matches(query, context, !setting);
            }
        }
    }
    if (in->failed || in->left > 0) {
        return refuse(p, option, NBD_REP_ERR_INVALID, "the queries make no sense");
    }
    for (unsigned i = 0; r == 0 && i < MAX_CONTEXTS_SET; i++) {
        if ((wanted[i] || (n == 0 && !setting)) &&
            nbd_export_context(e, i, context, sizeof(context))) {
            r = send_context(p, option, i, context);
        }
    }
    if (setting) {
        memcpy(p->contexts, wanted, sizeof(wanted));
        free(p->context_export);
        p->context_export = strdup(e->name);
    }
    return r == 0 ? reply(p, option, NBD_REP_ACK, NULL, 0) : r;
}

static int meta_context(struct nbd_peer *p, uint32_t option, struct reader *in)
{
    AUTO_FREE char *name = NULL;
    struct nbd_export *e;
    int r;

    if (!p->structured) {
        return refuse(p, option, NBD_REP_ERR_INVALID, "structured replies come first");
    }
    name = take_name(in, reader_be32(in));
    if (name == NULL) {
        return refuse(p, option, NBD_REP_ERR_INVALID, "the export's name makes no sense");
    }
    e = nbd_server_use(p->server, name);
    if (e == NULL) {
        return refuse(p, option, NBD_REP_ERR_UNKNOWN, "no such export");
    }
    r = answer_contexts(p, option, e, in);
    nbd_server_unuse(p->server, e);
    return r;
}

static int start_tls(struct nbd_peer *p)
{
    const struct nbd_server_options *o = nbd_server_options(p->server);
    int r = reply(p, NBD_OPT_STARTTLS, NBD_REP_ACK, NULL, 0);

    /* What was agreed on in the clear may have been put there by anybody. */
    p->structured = false;
    return r == 0 ? nbd_stream_start_tls(&p->stream, o->tls, true, NULL, o->verify_peer, NULL) : r;
}

static int handle(struct nbd_peer *p, uint32_t option, struct reader *in, bool no_zeroes)
{
    bool plain = nbd_server_options(p->server)->tls != NULL && p->stream.tls == NULL;

    if (option == NBD_OPT_ABORT) {
        (void)!reply(p, option, NBD_REP_ACK, NULL, 0);
        return -ECONNABORTED;
    }
    if (option == NBD_OPT_EXPORT_NAME) {
        return plain ? -EPERM : export_name(p, in, no_zeroes);
    }
    if (plain && option != NBD_OPT_STARTTLS) {
        return refuse(p, option, NBD_REP_ERR_TLS_REQD, "TLS comes first");
    }
    switch (option) {
    case NBD_OPT_LIST:
        return in->left > 0 ? refuse(p, option, NBD_REP_ERR_INVALID, "LIST takes no data")
                            : list(p);
    case NBD_OPT_STARTTLS:
        if (!plain) {
            return refuse(p, option,
                          p->stream.tls != NULL ? NBD_REP_ERR_INVALID : NBD_REP_ERR_POLICY,
                          p->stream.tls != NULL ? "TLS is on already" : "TLS is not configured");
        }
        return in->left > 0 ? refuse(p, option, NBD_REP_ERR_INVALID, "STARTTLS takes no data")
                            : start_tls(p);
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        return info_or_go(p, option, in);
    case NBD_OPT_STRUCTURED_REPLY:
        if (in->left > 0 || p->structured) {
            return refuse(p, option, NBD_REP_ERR_INVALID,
                          "structured replies are agreed on already");
        }
        p->structured = true;
        return reply(p, option, NBD_REP_ACK, NULL, 0);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        return meta_context(p, option, in);
    default:
        break;
    }
    return refuse(p, option, NBD_REP_ERR_UNSUP, "");
}

static int one_option(struct nbd_peer *p, bool no_zeroes)
{
    AUTO_FREE uint8_t *data = NULL;
    struct reader in;
    uint8_t head[16];
    uint32_t option;
    uint32_t len;
    int r = nbd_stream_read(&p->stream, head, sizeof(head));

    if (r < 0) {
        return r;
    }
    option = be32_get(head + 8);
    len = be32_get(head + 12);
    if (be64_get(head) != NBD_MAGIC_OPT) {
        return -EPROTO;
    }
    if (len > MAX_OPTION) {
        if (len > NBD_MAX_PAYLOAD || option == NBD_OPT_EXPORT_NAME) {
            return -EPROTO;
        }
        r = nbd_stream_skip(&p->stream, len);
        return r == 0 ? refuse(p, option, NBD_REP_ERR_TOO_BIG, "the option is too long") : r;
    }
    data = malloc(len + 1ull);
    if (data == NULL) {
        return -ENOMEM;
    }
    r = nbd_stream_read(&p->stream, data, len);
    in = reader_of(data, len);
    return r == 0 ? handle(p, option, &in, no_zeroes) : r;
}

int nbd_peer_greet(struct nbd_peer *p)
{
    uint8_t hello[18];
    uint8_t answer[4];
    uint32_t flags;
    int r;

    be64_put(hello, NBD_MAGIC);
    be64_put(hello + 8, NBD_MAGIC_OPT);
    be16_put(hello + 16, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    r = nbd_stream_write(&p->stream, hello, sizeof(hello));
    if (r == 0) {
        r = nbd_stream_read(&p->stream, answer, sizeof(answer));
    }
    if (r < 0) {
        return r;
    }
    flags = be32_get(answer);
    if ((flags & ~(uint32_t)(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES)) != 0) {
        return -EPROTO;
    }
    for (int i = 0; r == 0 && p->export == NULL; i++) {
        r = i < MAX_OPTIONS ? one_option(p, (flags & NBD_NO_ZEROES) != 0) : -EPROTO;
    }
    return r;
}
