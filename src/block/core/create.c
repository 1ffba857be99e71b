/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* create.c - new images: the file by its protocol, the empty image in it by its format. */
#include "block/core/image.h"

#include "base/opt.h"
#include "base/str.h"
#include "codec/keyval.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int block_prealloc_parse(const char *text, enum block_prealloc *ret, struct err **err)
{
    static const char *const names[] = { "off", "metadata", "falloc", "full" };

    *ret = BLOCK_PREALLOC_OFF;
    for (unsigned i = 0; text != NULL; i++) {
        if (i == sizeof(names) / sizeof(names[0])) {
            return err_set(err, EINVAL, "Invalid parameter '%s'", text);
        }
        if (str_eq(text, names[i])) {
            *ret = (enum block_prealloc)i;
            return 0;
        }
    }
    return 0;
}

static const struct block_opt *find_opt(const struct block_opt *table, const char *name)
{
    for (; table != NULL && table->name != NULL; table++) {
        if (str_eq(table->name, name)) {
            return table;
        }
    }
    return NULL;
}

int block_opts_check(const struct block_opt *table, const struct block_opt *more,
                     struct keyval *opts, const char *fmt, struct err **err)
{
    for (size_t i = 0; i < opts->n; i++) {
        const char *key = opts->pairs[i].key;
        const char *value = opts->pairs[i].value;
        const struct block_opt *o = find_opt(table, key);
        uint64_t n;
        bool b;

        if (o == NULL) {
            o = find_opt(more, key);
        }
        if (o == NULL) {
            return err_set(err, EINVAL, "Invalid parameter '%s'", key);
        }
        if (o->type == BLOCK_OPT_SIZE && opt_parse_size(value, &n) < 0) {
            return err_set(
                err, EINVAL,
                "Parameter '%s' expects a non-negative number below 2^64\n"
                "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
                "and exabytes, respectively.",
                key);
        }
        if (o->type == BLOCK_OPT_NUM && str_to_u64(value, 0, &n) < 0) {
            return err_set(err, EINVAL, "Parameter '%s' expects a number", key);
        }
        if (o->type == BLOCK_OPT_BOOL && !str_eq(value, "on") && !str_eq(value, "off")) {
            if (str_to_bool(value, &b) < 0) {
                return err_set(err, EINVAL, "Parameter '%s' expects 'on' or 'off'", key);
            }
        }
    }
    (void)fmt;
    return 0;
}

/* The protocol's share of the options. */
static int protocol_options(const struct block_driver *proto, struct keyval *opts, bool raw,
                            struct keyval **ret, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = keyval_parse("", NULL, false, &kv, err);

    for (const struct block_opt *o = proto->create_opts; r == 0 && o != NULL && o->name != NULL;
         o++) {
        const char *value = keyval_get(opts, o->name);

        /* A format makes its file itself as large as it needs. */
        if (value != NULL &&
            (raw || (!str_eq(o->name, "size") && !str_eq(o->name, "preallocation")))) {
            r = keyval_add(kv, o->name, value);
        }
    }
    *ret = TAKE_PTR(kv);
    return r;
}

int block_create_file(struct block_ctx *ctx, const char *filename, uint64_t size,
                      struct block_node **ret, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *opts = NULL;
    char text[32];
    int r;

    (void)snprintf(text, sizeof(text), "size=%llu", (unsigned long long)size);
    r = keyval_parse(text, NULL, false, &opts, err);
    if (r == 0) {
        r = block_driver_find("file")->create(ctx, NULL, filename, opts, err);
    }
    return r == 0 ? block_open_image(ctx, filename, "file", NULL, ret, err) : r;
}

static int create_in(struct block_ctx *ctx, const struct block_driver *drv, const char *filename,
                     struct keyval *opts, struct err **err)
{
    CLEANUP(block_unrefp) struct block_node *file = NULL;
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = keyval_parse("cache.no-flush=on", NULL, false, &kv, err);

    if (r == 0) {
        r = block_parse_filename(filename, kv, err);
    }
    if (r == 0) {
        r = block_open(ctx, kv, NULL, NULL, &file, err);
    }
    return r == 0 ? drv->create(ctx, file, filename, opts, err) : r;
}

int block_create(struct block_ctx *ctx, const char *fmt, const char *filename, struct keyval *opts,
                 struct err **err)
{
    const struct block_driver *drv = block_driver_find(fmt);
    CLEANUP(keyval_freep) struct keyval *proto_opts = NULL;
    CLEANUP(keyval_freep) struct keyval *name_opts = NULL;
    const struct block_driver *proto;
    const char *name;
    bool is_raw = str_eq(fmt, "raw");
    bool existed;
    int r;

    if (drv == NULL) {
        return err_set(err, EINVAL, "Unknown file format '%s'", fmt);
    }
    if (drv->create == NULL) {
        return err_set(err, ENOTSUP, "Format driver '%s' does not support image creation", fmt);
    }
    r = keyval_parse("", NULL, false, &name_opts, err);
    if (r == 0) {
        r = block_parse_filename(filename, name_opts, err);
    }
    if (r < 0) {
        return r;
    }
    name = keyval_get(name_opts, "driver");
    proto = name != NULL ? block_driver_find(name) : NULL;
    if (proto == NULL || !proto->is_protocol) {
        return err_set(err, EINVAL, "'%s' does not name a file to create", filename);
    }
    r = block_opts_check(drv->create_opts, proto->create_opts, opts, fmt, err);
    if (r < 0) {
        return r;
    }
    existed = str_eq(proto->name, "file") && access(keyval_get(name_opts, "filename"), F_OK) == 0;
    if (proto->create != NULL) {
        r = protocol_options(proto, opts, is_raw || drv->is_protocol, &proto_opts, err);
        if (r == 0) {
            r = proto->create(ctx, NULL, filename, proto_opts, err);
        }
    } else if (!str_starts(proto->name, "host_") && !str_eq(proto->name, "nbd")) {
        r = err_set(err, ENOTSUP, "Protocol driver '%s' does not support image creation",
                    proto->name);
    }
    if (r == 0 && !drv->is_protocol && !is_raw) {
        r = create_in(ctx, drv, filename, opts, err);
    }
    if (r < 0 && r != -EBUSY && str_eq(proto->name, "file") && !existed) {
        (void)unlink(keyval_get(name_opts, "filename"));
    }
    return r < 0 ? err_set(err, -r, "%s", strerror(-r)) : 0;
}

void block_check_report(struct block_check *check, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (check->report == NULL) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    check->report(check->arg, text);
}

int block_check(struct block_node *node, struct block_check *check, struct err **err)
{
    return node->drv->check != NULL
               ? node->drv->check(node, check, err)
               : err_set(err, ENOTSUP, "This image format does not support checks");
}

int block_measure(const char *fmt, struct keyval *opts, struct block_node *in,
                  struct block_measure *ret, struct err **err)
{
    const struct block_driver *drv = block_driver_find(fmt);

    *ret = (struct block_measure) { 0 };
    if (drv == NULL) {
        return err_set(err, EINVAL, "Unknown file format '%s'", fmt);
    }
    return drv->measure != NULL
               ? drv->measure(opts, in, ret, err)
               : err_set(err, ENOTSUP, "Block driver '%s' does not support size measurement", fmt);
}
