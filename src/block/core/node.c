/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* node.c - the graph of nodes: opening from options, references, and the blocking calls. */
#include "block/core/block.h"

#include "base/str.h"
#include "block/core/ctx.h"
#include "codec/keyval.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ZERO_CHUNK = 65536 };

const struct block_driver *block_driver_find(const char *name)
{
    for (const struct block_driver *const *d = block_drivers; *d != NULL; d++) {
        if (str_eq((*d)->name, name)) {
            return *d;
        }
    }
    return NULL;
}

struct block_node *block_ref(struct block_node *node)
{
    node->refs++;
    return node;
}

struct block_node *block_unref(struct block_node *node)
{
    if (node == NULL || --node->refs > 0) {
        return NULL;
    }
    assert(node->in_flight == 0);
    node->drv->close(node);
    for (unsigned i = 0; i < node->n_children; i++) {
        (void)block_unref(node->children[i]);
    }
    free(node->name);
    free(node->filename);
    free(node);
    return NULL;
}

/* The options that all nodes have (QEMU's BlockdevOptions). */
static int common_options(struct block_node *node, struct keyval *opts, struct err **err)
{
    const char *name = keyval_get(opts, "node-name");
    const char *discard = keyval_get(opts, "discard");
    bool auto_read_only;
    bool lock_unused;
    int r = keyval_get_bool(opts, "read-only", false, &node->read_only, err);

    if (r == 0) {
        r = keyval_get_bool(opts, "auto-read-only", false, &auto_read_only, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "cache.direct", false, &node->direct, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "cache.no-flush", false, &node->no_flush, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "force-share", false, &lock_unused, err);
    }
    (void)keyval_get(opts, "detect-zeroes");
    node->discard_on = discard != NULL && (str_eq(discard, "unmap") || str_eq(discard, "on"));
    if (r == 0 && name != NULL) {
        node->name = strdup(name);
    }
    return r;
}

int block_open(struct block_ctx *ctx, struct keyval *opts, block_lookup_fn *lookup, void *arg,
               struct block_node **ret, struct err **err)
{
    const char *driver = keyval_get(opts, "driver");
    const struct block_driver *drv = driver != NULL ? block_driver_find(driver) : NULL;
    struct block_node *node;
    int r;

    if (drv == NULL) {
        return driver == NULL ? err_set(err, EINVAL, "driver= is missing")
                              : err_set(err, EINVAL, "'%s' is no block driver of ours", driver);
    }
    node = calloc(1, drv->size);
    if (node == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    node->drv = drv;
    node->ctx = ctx;
    node->refs = 1;
    ctx->lookup = lookup;
    ctx->lookup_arg = arg;
    r = common_options(node, opts, err);
    if (r == 0) {
        r = drv->open(node, opts, err);
    }
    if (r < 0) {
        (void)block_unref(node);
        return r;
    }
    *ret = node;
    return 0;
}

/* "file.driver=file,file.filename=X" below a key becomes "driver=file,filename=X". */
static int sub_options(struct keyval *opts, const char *key, struct keyval **ret, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *sub = NULL;
    size_t len = strlen(key);
    int r = keyval_parse("", NULL, false, &sub, err);

    for (size_t i = 0; r == 0 && i < opts->n; i++) {
        struct keyval_pair *p = &opts->pairs[i];

        if (strncmp(p->key, key, len) == 0 && p->key[len] == '.') {
            p->used = true;
            r = keyval_add(sub, p->key + len + 1, p->value);
        }
    }
    if (r == 0) {
        *ret = TAKE_PTR(sub);
    }
    return r;
}

int block_open_child(struct block_node *node, struct keyval *opts, const char *key,
                     struct block_node **ret, struct err **err)
{
    const char *name = keyval_get(opts, key);
    struct block_node *child = NULL;
    int r;

    if (node->n_children == BLOCK_MAX_CHILDREN) {
        return err_set(err, E2BIG, "a node has at most %d children", BLOCK_MAX_CHILDREN);
    }
    if (name != NULL) {
        child = node->ctx->lookup != NULL ? node->ctx->lookup(node->ctx->lookup_arg, name) : NULL;
        if (child == NULL) {
            return err_set(err, ENOENT, "there is no block node '%s'", name);
        }
        (void)block_ref(child);
    } else {
        CLEANUP(keyval_freep) struct keyval *sub = NULL;

        r = sub_options(opts, key, &sub, err);
        if (r == 0 && node->read_only && keyval_get(sub, "read-only") == NULL) {
            r = keyval_add(sub, "read-only", "on");
        }
        if (r == 0) {
            r = block_open(node->ctx, sub, node->ctx->lookup, node->ctx->lookup_arg, &child, err);
        }
        if (r == 0) {
            r = keyval_check_used(sub, err);
        }
        if (r < 0) {
            (void)block_unref(child);
            return r;
        }
    }
    node->children[node->n_children++] = child;
    *ret = child;
    return 0;
}

int64_t block_length(struct block_node *node)
{
    return node->drv->length(node);
}

int block_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return node->drv->preadv(node, iov, n, off);
}

int block_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return node->read_only ? -EROFS : node->drv->pwritev(node, iov, n, off);
}

int block_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    static const uint8_t zeroes[ZERO_CHUNK];
    int r = -ENOTSUP;

    if (node->read_only) {
        return -EROFS;
    }
    if (node->drv->write_zeroes != NULL) {
        r = node->drv->write_zeroes(node, off, len, flags);
    }
    if (r != -ENOTSUP) {
        return r;
    }
    while (len > 0) {
        uint64_t part = len < ZERO_CHUNK ? len : ZERO_CHUNK;
        union {
            const void *from;
            void *to;
        } base = { .from = zeroes };
        struct iovec iov = { .iov_base = base.to, .iov_len = part };

        r = node->drv->pwritev(node, &iov, 1, off);
        if (r < 0) {
            return r;
        }
        off += part;
        len -= part;
    }
    return 0;
}

int block_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    if (node->read_only) {
        return -EROFS;
    }
    return node->drv->discard != NULL && node->discard_on ? node->drv->discard(node, off, len) : 0;
}

int block_flush(struct block_node *node)
{
    return node->drv->flush != NULL && !node->no_flush ? node->drv->flush(node) : 0;
}
