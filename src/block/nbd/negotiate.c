/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/nbd/negotiate.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/nbd/stream.h"
#include "block/nbd/wire.h"

#include <errno.h>
#include <string.h>

enum {
    MAX_REPLY = 64 << 10, /* name, description and their frame are below this */
    MAX_REPLIES = 4096,   /* to one option */
    MAX_CONTEXTS = 1024,
};

struct handshake {
    struct nbd_stream *s;
    bool fixed;
    bool no_zeroes;
    bool old_style;
};

/* One reply to an option; data is owned and ends with a NUL that is not counted. */
struct reply {
    uint32_t type;
    uint32_t len;
    uint8_t *data;
};

static void reply_done(struct reply *r)
{
    free(r->data);
    r->data = NULL;
}

static int lost(int r, struct err **err)
{
    return err_set(err, -r, "the NBD server ended the handshake: %s", strerror(-r));
}

static int send_option(struct handshake *h, uint32_t option, const void *data, size_t len,
                       struct err **err)
{
    struct iovec iov = { .iov_len = len };
    uint8_t head[16];
    int r;

    memcpy(&iov.iov_base, &data, sizeof(data));
    be64_put(head, NBD_MAGIC_OPT);
    be32_put(head + 8, option);
    be32_put(head + 12, (uint32_t)len);
    r = nbd_stream_writev(h->s, head, sizeof(head), &iov, len > 0);
    return r < 0 ? lost(r, err) : 0;
}

static int get_reply(struct handshake *h, uint32_t option, struct reply *ret, struct err **err)
{
    uint8_t head[20];
    int r = nbd_stream_read(h->s, head, sizeof(head));

    *ret = (struct reply) { .type = be32_get(head + 12), .len = be32_get(head + 16) };
    if (r < 0) {
        return lost(r, err);
    }
    if (be64_get(head) != NBD_MAGIC_OPT_REPLY || be32_get(head + 8) != option ||
        ret->len > MAX_REPLY) {
        return err_set(err, EPROTO, "the NBD server's reply to option %u makes no sense", option);
    }
    ret->data = calloc(1, ret->len + 1ull);
    if (ret->data == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    r = nbd_stream_read(h->s, ret->data, ret->len);
    if (r < 0) {
        reply_done(ret);
        return lost(r, err);
    }
    return 0;
}

/* An error reply in words. */
static int refused(const struct reply *rep, const char *what, struct err **err)
{
    const char *why = "it does not say why";
    int code = EINVAL;

    switch (rep->type) {
    case NBD_REP_ERR_UNSUP:
        why = "it does not know that option";
        code = ENOTSUP;
        break;
    case NBD_REP_ERR_POLICY:
        why = "it does not allow it";
        code = EPERM;
        break;
    case NBD_REP_ERR_TLS_REQD:
        why = "it demands TLS: give tls-creds=";
        code = EPERM;
        break;
    case NBD_REP_ERR_UNKNOWN:
        why = "Requested export not available";
        code = ENOENT;
        break;
    case NBD_REP_ERR_SHUTDOWN:
        why = "it is shutting down";
        code = ESHUTDOWN;
        break;
    case NBD_REP_ERR_BLOCK_SIZE_REQD:
        why = "it demands other block sizes";
        break;
    default:
        break;
    }
    if (rep->len > 0) {
        return err_set(err, code, "the NBD server refuses %s: %s (it says: %s)", what, why,
                       (const char *)rep->data);
    }
    return err_set(err, code, "the NBD server refuses %s: %s", what, why);
}

static int greet(struct handshake *h, struct err **err)
{
    uint8_t head[18];
    uint8_t flags[4];
    int r = nbd_stream_read(h->s, head, 16);

    if (r < 0) {
        return lost(r, err);
    }
    if (be64_get(head) != NBD_MAGIC) {
        return err_set(err, EPROTO, "this is no NBD server");
    }
    if (be64_get(head + 8) == NBD_MAGIC_OLD) {
        h->old_style = true;
        return 0;
    }
    if (be64_get(head + 8) != NBD_MAGIC_OPT) {
        return err_set(err, EPROTO, "this NBD server has an unknown handshake");
    }
    r = nbd_stream_read(h->s, head + 16, 2);
    if (r < 0) {
        return lost(r, err);
    }
    h->fixed = (be16_get(head + 16) & NBD_FIXED_NEWSTYLE) != 0;
    h->no_zeroes = (be16_get(head + 16) & NBD_NO_ZEROES) != 0;
    be32_put(flags, (h->fixed ? NBD_FIXED_NEWSTYLE : 0) | (h->no_zeroes ? NBD_NO_ZEROES : 0));
    r = nbd_stream_write(h->s, flags, sizeof(flags));
    return r < 0 ? lost(r, err) : 0;
}

/* 1: accepted, 0: not known to the server. */
static int simple_option(struct handshake *h, uint32_t option, const char *what, struct err **err)
{
    struct reply rep;
    int r = send_option(h, option, NULL, 0, err);

    if (r == 0) {
        r = get_reply(h, option, &rep, err);
    }
    if (r < 0) {
        return r;
    }
    if (rep.type == NBD_REP_ACK) {
        r = 1;
    } else if (rep.type == NBD_REP_ERR_UNSUP || rep.type == NBD_REP_ERR_INVALID) {
        r = 0;
    } else {
        r = refused(&rep, what, err);
    }
    reply_done(&rep);
    return r;
}

static int start_tls(struct handshake *h, const struct nbd_wish *wish, struct err **err)
{
    int r;

    if (!h->fixed) {
        return err_set(err, EPERM, "the NBD server has no TLS");
    }
    r = simple_option(h, NBD_OPT_STARTTLS, "TLS", err);
    if (r == 0) {
        return err_set(err, EPERM, "the NBD server has no TLS");
    }
    return r < 0 ? r : nbd_stream_start_tls(h->s, wish->tls, false, wish->tls_hostname, true, err);
}

/* The export's name and one query, or none, as LIST_ and SET_META_CONTEXT take them. */
static int send_contexts(struct handshake *h, uint32_t option, const char *name, const char *query,
                         struct err **err)
{
    size_t name_len = strlen(name);
    size_t query_len = query != NULL ? strlen(query) : 0;
    size_t len = 4 + name_len + 4 + (query != NULL ? 4 + query_len : 0);
    AUTO_FREE uint8_t *data = malloc(len);

    if (data == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    be32_put(data, (uint32_t)name_len);
    memcpy(data + 4, name, name_len);
    be32_put(data + 4 + name_len, query != NULL);
    if (query != NULL) {
        be32_put(data + 8 + name_len, (uint32_t)query_len);
        memcpy(data + 12 + name_len, query, query_len);
    }
    return send_option(h, option, data, len, err);
}

static int set_context(struct handshake *h, const struct nbd_wish *wish,
                       struct nbd_export_info *info, struct err **err)
{
    int r = send_contexts(h, NBD_OPT_SET_META_CONTEXT, wish->export_name, wish->context, err);

    for (int i = 0; r == 0 && i < MAX_REPLIES; i++) {
        struct reply rep;
        bool last;

        r = get_reply(h, NBD_OPT_SET_META_CONTEXT, &rep, err);
        if (r < 0) {
            return r;
        }
        last = rep.type != NBD_REP_META_CONTEXT;
        if (!last && rep.len >= 4 && str_eq((char *)rep.data + 4, wish->context)) {
            info->has_context = true;
            info->context_id = be32_get(rep.data);
        } else if (last && rep.type == NBD_REP_ERR_UNKNOWN) {
            r = refused(&rep, "the export", err);
        }
        reply_done(&rep);
        if (last) {
            return r;
        }
    }
    return r < 0 ? r : err_set(err, EPROTO, "the NBD server offers metadata without end");
}

static void take_info(const struct reply *rep, struct nbd_export_info *info)
{
    switch (rep->len >= 2 ? be16_get(rep->data) : 0xffff) {
    case NBD_INFO_EXPORT:
        if (rep->len >= 12) {
            info->size = be64_get(rep->data + 2);
            info->flags = be16_get(rep->data + 10);
        }
        break;
    case NBD_INFO_DESCRIPTION:
        free(info->description);
        info->description = strndup((char *)rep->data + 2, rep->len - 2);
        break;
    case NBD_INFO_BLOCK_SIZE:
        if (rep->len >= 14) {
            info->min_block = be32_get(rep->data + 2);
            info->opt_block = be32_get(rep->data + 6);
            info->max_block = be32_get(rep->data + 10);
        }
        break;
    default:
        break;
    }
}

/* GO or INFO. 1: done, 0: the server does not know it. */
static int go(struct handshake *h, uint32_t option, const char *name, bool describe,
              struct nbd_export_info *info, struct err **err)
{
    size_t name_len = strlen(name);
    size_t len = 4 + name_len + 2 + 2 + (describe ? 2 : 0);
    AUTO_FREE uint8_t *data = malloc(len);
    int r;

    if (data == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    be32_put(data, (uint32_t)name_len);
    memcpy(data + 4, name, name_len);
    be16_put(data + 4 + name_len, describe ? 2 : 1);
    be16_put(data + 6 + name_len, NBD_INFO_BLOCK_SIZE);
    if (describe) {
        be16_put(data + 8 + name_len, NBD_INFO_DESCRIPTION);
    }
    r = send_option(h, option, data, len, err);
    for (int i = 0; r == 0 && i < MAX_REPLIES; i++) {
        struct reply rep;
        uint32_t type;

        r = get_reply(h, option, &rep, err);
        if (r < 0) {
            return r;
        }
        type = rep.type;
        if (type == NBD_REP_INFO) {
            take_info(&rep, info);
        } else if (type != NBD_REP_ACK && type != NBD_REP_ERR_UNSUP) {
            AUTO_FREE char *what = str_format("export '%s'", name);

            r = refused(&rep, what != NULL ? what : "the export", err);
        }
        reply_done(&rep);
        if (type == NBD_REP_ACK || type == NBD_REP_ERR_UNSUP) {
            return type == NBD_REP_ACK;
        }
    }
    return r < 0 ? r : err_set(err, EPROTO, "the NBD server describes its export without end");
}

static int by_export_name(struct handshake *h, const struct nbd_wish *wish,
                          struct nbd_export_info *info, struct err **err)
{
    uint8_t tail[10];
    int r = send_option(h, NBD_OPT_EXPORT_NAME, wish->export_name, strlen(wish->export_name), err);

    if (r < 0) {
        return r;
    }
    r = nbd_stream_read(h->s, tail, sizeof(tail));
    if (r == 0 && !h->no_zeroes) {
        r = nbd_stream_skip(h->s, 124);
    }
    if (r < 0) {
        return err_set(err, ENOENT, "the NBD server has no export '%s'", wish->export_name);
    }
    info->size = be64_get(tail);
    info->flags = be16_get(tail + 8);
    return 0;
}

static int old_style(struct handshake *h, const struct nbd_wish *wish, struct nbd_export_info *info,
                     struct err **err)
{
    uint8_t tail[12];
    int r;

    if (wish->tls != NULL) {
        return err_set(err, EPERM, "the NBD server has no TLS");
    }
    if (*wish->export_name != '\0') {
        return err_set(err, ENOENT, "the NBD server has no exports with names");
    }
    r = nbd_stream_read(h->s, tail, sizeof(tail));
    if (r == 0) {
        r = nbd_stream_skip(h->s, 124);
    }
    if (r < 0) {
        return lost(r, err);
    }
    info->size = be64_get(tail);
    info->flags = (uint16_t)be32_get(tail + 8);
    return 0;
}

static bool is_power_of_two(uint32_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

static int check_info(struct nbd_export_info *info, struct err **err)
{
    if (info->size > INT64_MAX) {
        return err_set(err, EFBIG, "the NBD server's export is too large: %llu bytes",
                       (unsigned long long)info->size);
    }
    if (!is_power_of_two(info->min_block) || info->min_block > 65536) {
        return err_set(err, EPROTO, "the NBD server demands blocks of %u bytes", info->min_block);
    }
    if (info->max_block != 0 && info->max_block < info->min_block) {
        return err_set(err, EPROTO,
                       "the NBD server demands blocks of at least %u and at most %u bytes",
                       info->min_block, info->max_block);
    }
    return 0;
}

int nbd_negotiate(struct nbd_stream *s, const struct nbd_wish *wish, struct nbd_export_info *ret,
                  struct err **err)
{
    struct handshake h = { .s = s };
    int r = greet(&h, err);

    *ret = (struct nbd_export_info) { .min_block = 1 };
    if (r == 0 && strlen(wish->export_name) > NBD_MAX_STRING) {
        r = err_set(err, EINVAL, "the export's name is longer than %d bytes", NBD_MAX_STRING);
    }
    if (r < 0) {
        return r;
    }
    if (h.old_style) {
        r = old_style(&h, wish, ret, err);
        return r == 0 ? check_info(ret, err) : r;
    }
    if (wish->tls != NULL) {
        r = start_tls(&h, wish, err);
    }
    if (r >= 0 && h.fixed) {
        r = simple_option(&h, NBD_OPT_STRUCTURED_REPLY, "structured replies", err);
        ret->structured = r == 1;
    }
    if (r >= 0 && ret->structured && wish->context != NULL) {
        r = set_context(&h, wish, ret, err);
    }
    if (r >= 0) {
        r = h.fixed ? go(&h, NBD_OPT_GO, wish->export_name, false, ret, err) : 0;
    }
    if (r == 0) {
        r = by_export_name(&h, wish, ret, err);
    }
    return r >= 0 ? check_info(ret, err) : r;
}

static int list_contexts(struct handshake *h, struct nbd_export_info *info, struct err **err)
{
    int r = send_contexts(h, NBD_OPT_LIST_META_CONTEXT, info->name, NULL, err);

    while (r == 0) {
        struct reply rep;
        bool last;

        r = get_reply(h, NBD_OPT_LIST_META_CONTEXT, &rep, err);
        if (r < 0) {
            return r;
        }
        last = rep.type != NBD_REP_META_CONTEXT;
        if (!last && rep.len >= 4) {
            char **more = realloc(info->contexts, (info->n_contexts + 1) * sizeof(*more));

            if (more != NULL) {
                info->contexts = more;
                more[info->n_contexts] = strdup((char *)rep.data + 4);
                info->n_contexts += more[info->n_contexts] != NULL;
            }
        }
        reply_done(&rep);
        if (last) {
            return 0;
        }
        if (info->n_contexts > MAX_CONTEXTS) {
            r = err_set(err, EPROTO, "the NBD server lists metadata without end");
        }
    }
    return r;
}

static int list_names(struct handshake *h, struct nbd_export_info **ret, unsigned *ret_n,
                      struct err **err)
{
    int r = send_option(h, NBD_OPT_LIST, NULL, 0, err);

    while (r == 0) {
        struct reply rep;
        uint32_t type;

        r = get_reply(h, NBD_OPT_LIST, &rep, err);
        if (r < 0) {
            return r;
        }
        type = rep.type;
        if (type == NBD_REP_SERVER && rep.len >= 4) {
            uint32_t len = be32_get(rep.data);
            struct nbd_export_info *more = realloc(*ret, (*ret_n + 1) * sizeof(*more));

            if (more == NULL || len > rep.len - 4 || *ret_n == MAX_REPLIES) {
                r = err_set(err, EPROTO, "the NBD server's list makes no sense");
            }
            if (more != NULL) {
                *ret = more;
            }
            if (r == 0) {
                more[*ret_n] = (struct nbd_export_info) { .min_block = 1 };
                more[*ret_n].name = strndup((char *)rep.data + 4, len);
                if (len + 4 < rep.len) {
                    more[*ret_n].description = strdup((char *)rep.data + 4 + len);
                }
                (*ret_n)++;
            }
        } else if (type != NBD_REP_ACK) {
            r = refused(&rep, "to list its exports", err);
        }
        reply_done(&rep);
        if (type == NBD_REP_ACK) {
            return 0;
        }
    }
    return r;
}

int nbd_list(struct nbd_stream *s, const struct nbd_wish *wish, struct nbd_export_info **ret,
             unsigned *ret_n, struct err **err)
{
    struct handshake h = { .s = s };
    struct nbd_export_info *list = NULL;
    unsigned n = 0;
    bool structured = false;
    int r = greet(&h, err);

    if (r == 0 && h.old_style) {
        struct nbd_wish plain = *wish;

        plain.export_name = "";
        list = calloc(1, sizeof(*list));
        if (list == NULL) {
            return err_set(err, ENOMEM, "no memory");
        }
        list->name = strdup("");
        list->min_block = 1;
        n = 1;
        r = old_style(&h, &plain, list, err);
    } else if (r == 0 && !h.fixed) {
        r = err_set(err, ENOTSUP, "the NBD server is too old to list its exports");
    } else if (r == 0) {
        r = wish->tls != NULL ? start_tls(&h, wish, err) : 0;
        if (r >= 0) {
            r = simple_option(&h, NBD_OPT_STRUCTURED_REPLY, "structured replies", err);
            structured = r == 1;
        }
        if (r >= 0) {
            r = list_names(&h, &list, &n, err);
        }
        for (unsigned i = 0; r >= 0 && i < n; i++) {
            r = go(&h, NBD_OPT_INFO, list[i].name, true, &list[i], err);
            if (r > 0 && structured) {
                list[i].structured = true;
                r = list_contexts(&h, &list[i], err);
            }
        }
        if (r >= 0) {
            (void)!send_option(&h, NBD_OPT_ABORT, NULL, 0, NULL);
            r = 0;
        }
    }
    if (r < 0) {
        nbd_list_free(list, n);
        return r;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

void nbd_list_free(struct nbd_export_info *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        free(list[i].name);
        free(list[i].description);
        for (unsigned k = 0; k < list[i].n_contexts; k++) {
            free(list[i].contexts[k]);
        }
        free(list[i].contexts);
    }
    free(list);
}
