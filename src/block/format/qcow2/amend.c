/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* amend.c - changing an image's features, and emptying it. */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "block/crypto/crypto.h"
#include "codec/keyval.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct block_opt qcow2_amend_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { "compat", BLOCK_OPT_STR, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL },
    { "backing_file", BLOCK_OPT_STR, "File name of a base image", NULL },
    { "backing_fmt", BLOCK_OPT_STR, "Image format of the base image", NULL },
    { "data_file", BLOCK_OPT_STR, "File name of an external data file", NULL },
    { "data_file_raw", BLOCK_OPT_BOOL, "The external data file must stay valid as a raw image",
      NULL },
    { "lazy_refcounts", BLOCK_OPT_BOOL, "Postpone refcount updates", NULL },
    { "refcount_bits", BLOCK_OPT_NUM, "Width of a reference count entry in bits", NULL },
    { "encrypt.state", BLOCK_OPT_STR, "Select new state of affected keyslots (active/inactive)",
      NULL },
    { "encrypt.new-secret", BLOCK_OPT_STR, "New secret to set in the matching keyslots", NULL },
    { "encrypt.old-secret", BLOCK_OPT_STR, "Select all keyslots that match this password", NULL },
    { "encrypt.keyslot", BLOCK_OPT_NUM, "Select a single keyslot to modify explicitly", NULL },
    { "encrypt.iter-time", BLOCK_OPT_NUM, "Time to spend in PBKDF in milliseconds", NULL },
    { 0 },
};

/* All refcounts in another width: built from the present ones, at the end of the file. */
static int change_refcount_width(struct qcow2 *q, unsigned order, struct err **err)
{
    struct qcow2 new = { .refcount_order = order,
                         .cluster_bits = q->cluster_bits,
                         .cluster_size = q->cluster_size };
    uint64_t n;
    uint64_t per_block;
    uint64_t n_blocks = 1;
    uint64_t table_clusters;
    uint64_t max = order == 6 ? INT64_MAX : (1ull << (1u << order)) - 1;
    AUTO_FREE uint8_t *block = calloc(1, q->cluster_size);
    AUTO_FREE uint8_t *raw = NULL;
    AUTO_FREE uint64_t *rt = NULL;
    int64_t len = block_length(q->node.file);
    int r = block != NULL ? qcow2_write_tables(q) : -ENOMEM;

    if (r == 0) {
        r = qcow2_write_tables(q);
    }
    if (r < 0 || len < 0) {
        return r < 0 ? r : (int)len;
    }
    new.block_bits = q->cluster_bits + 3 - order;
    per_block = 1ull << new.block_bits;
    n = qcow2_clusters(q, (uint64_t)len);
    for (;;) {
        table_clusters = qcow2_clusters(q, n_blocks * 8);
        if (n_blocks * per_block >= n + n_blocks + table_clusters) {
            break;
        }
        n_blocks++;
    }
    if (table_clusters << q->cluster_bits > QCOW2_MAX_REFTABLE_BYTES) {
        return err_set(err, EFBIG, "the refcount table would become too large");
    }
    rt = calloc(table_clusters << q->cluster_bits, 1);
    raw = calloc(table_clusters << q->cluster_bits, 1);
    if (rt == NULL || raw == NULL) {
        return -ENOMEM;
    }
    for (uint64_t b = 0; r == 0 && b < n_blocks; b++) {
        memset(block, 0, q->cluster_size);
        for (uint64_t i = 0; r == 0 && i < per_block; i++) {
            uint64_t at = b * per_block + i;
            uint64_t value = at >= n && at < n + n_blocks + table_clusters;

            if (at < n) {
                r = qcow2_refcount_get(q, at, &value);
            }
            if (value > max) {
                return err_set(
                    err, EINVAL,
                    "Cannot decrease refcount entry width to %u bits: Cluster at offset %#llx has a refcount of %llu",
                    1u << order, (unsigned long long)(at << q->cluster_bits),
                    (unsigned long long)value);
            }
            /* The old blocks and table are not counted again. */
            for (uint32_t t = 0; t < q->rt_size && at < n && value > 0; t++) {
                if ((q->rt[t] & QCOW2_OFFSET_MASK) >> q->cluster_bits == at && q->rt[t] != 0) {
                    value = 0;
                }
            }
            if (at < n && at >= q->rt_offset >> q->cluster_bits &&
                at < (q->rt_offset >> q->cluster_bits) + q->rt_clusters) {
                value = 0;
            }
            qcow2_block_put(&new, block, i, value);
        }
        rt[b] = (n + b) << q->cluster_bits;
        be64_put(raw + b * 8, rt[b]);
        if (r == 0) {
            r = block_pwrite(q->node.file, block, q->cluster_size, rt[b]);
        }
    }
    if (r == 0) {
        r = block_pwrite_sync(q->node.file, raw, table_clusters << q->cluster_bits,
                              (n + n_blocks) << q->cluster_bits);
    }
    if (r < 0) {
        return r;
    }
    free(q->rt);
    q->rt = TAKE_PTR(rt);
    q->rt_size = (uint32_t)(table_clusters << q->cluster_bits >> 3);
    q->rt_clusters = (uint32_t)table_clusters;
    q->rt_offset = (n + n_blocks) << q->cluster_bits;
    q->refcount_order = order;
    q->block_bits = new.block_bits;
    q->refcount_max = max;
    q->free_hint = 0;
    q->byte_off = 0;
    qcow2_cache_drop_all(&q->rb_cache);
    return qcow2_write_header(q);
}

/* Version 2 has no zero clusters: they become unallocated, or get real zeroes. */
static int expand_zeroes(struct qcow2 *q)
{
    uint64_t off = 0;
    int r = 0;

    while (r == 0 && off < q->size) {
        struct qcow2_run run;

        (void)pthread_mutex_lock(&q->lock);
        r = qcow2_run_at(q, off, q->size - off, &run);
        if (r == 0 && (run.type == QCOW2_ZERO_PLAIN || run.type == QCOW2_ZERO_ALLOC) &&
            q->node.backing == NULL) {
            r = qcow2_discard_clusters(q, off, run.len, true);
            run.type = QCOW2_UNALLOCATED_PLAIN;
        }
        (void)pthread_mutex_unlock(&q->lock);
        if (r == 0 && (run.type == QCOW2_ZERO_PLAIN || run.type == QCOW2_ZERO_ALLOC)) {
            uint64_t part = min_u64(run.len, 1 << 20);
            AUTO_FREE void *zeroes = calloc(1, part);
            struct iovec iov = { .iov_base = zeroes, .iov_len = part };

            r = zeroes != NULL ? qcow2_pwritev(&q->node, &iov, 1, off) : -ENOMEM;
            run.len = part;
        }
        off += run.len;
    }
    return r;
}

static int downgrade(struct qcow2 *q, struct err **err)
{
    int r;

    if (q->has_data_file) {
        return err_set(err, ENOTSUP, "Cannot downgrade an image with a data file");
    }
    if ((q->incompat & QCOW2_INCOMPAT_EXTL2) != 0) {
        return err_set(err, ENOTSUP, "Cannot downgrade an image with incompatible features set");
    }
    if (q->compression != QCOW2_ZLIB) {
        return err_set(err, ENOTSUP, "Cannot downgrade an image with zstd compression type");
    }
    for (unsigned i = 0; i < q->n_snapshots; i++) {
        if (q->snapshots[i].sn.disk_size != q->size) {
            return err_set(err, ENOTSUP, "Internal snapshots prevent downgrade of image");
        }
    }
    LIST_FOREACH (&q->node.bitmaps, it) {
        if (CONTAINER_OF(it, struct block_bitmap, link)->persistent) {
            return err_set(err, ENOTSUP, "Cannot downgrade an image with bitmaps");
        }
    }
    if (q->refcount_order != 4) {
        return err_set(err, ENOTSUP, "compat=0.10 requires refcount_bits=16");
    }
    r = expand_zeroes(q);
    if (r < 0) {
        return err_set(err, -r, "Failed to turn zero into data clusters: %s", strerror(-r));
    }
    (void)pthread_mutex_lock(&q->lock);
    for (int i = 0; r == 0 && i < 2; i++) {
        r = qcow2_write_tables(q);
    }
    q->lazy = q->dirty_set = false;
    q->incompat = q->compat = q->autoclear = 0;
    q->version = 2;
    if (r == 0) {
        r = qcow2_write_header(q);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return r;
}

static int amend_crypto(struct qcow2 *q, struct keyval *opts, bool force, struct err **err)
{
    if (keyval_get(opts, "encrypt.state") == NULL) {
        return 0;
    }
    if (q->crypt_method != QCOW2_CRYPT_LUKS || q->crypto == NULL) {
        return err_set(err, EINVAL, "Amending the encryption needs an image with LUKS encryption");
    }
    return block_crypto_luks_amend(q->crypto, q->node.ctx, opts, "encrypt.", force, err);
}

int qcow2_amend(struct block_node *node, struct keyval *opts, bool force, struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    const char *compat = keyval_get(opts, "compat");
    const char *backing = keyval_get(opts, "backing_file");
    const char *fmt = keyval_get(opts, "backing_fmt");
    const char *data_file = keyval_get(opts, "data_file");
    unsigned version = q->version;
    unsigned long long bits = 1u << q->refcount_order;
    unsigned long long size = 0;
    bool lazy = (q->compat & QCOW2_COMPAT_LAZY) != 0;
    bool raw = (q->autoclear & QCOW2_AUTOCLEAR_RAW) != 0;
    bool was_raw = raw;
    int r = 0;

    if (compat != NULL) {
        if (!str_eq(compat, "0.10") && !str_eq(compat, "v2") && !str_eq(compat, "1.1") &&
            !str_eq(compat, "v3")) {
            return err_set(err, EINVAL, "Unknown compatibility level %s", compat);
        }
        version = str_eq(compat, "0.10") || str_eq(compat, "v2") ? 2 : 3;
    }
    r = keyval_get_u64(opts, "refcount_bits", bits, &bits, err);
    if (r == 0) {
        r = keyval_get_bool(opts, "lazy_refcounts", lazy, &lazy, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "data_file_raw", raw, &raw, err);
    }
    if (r == 0) {
        r = keyval_get_size(opts, "size", 0, &size, err);
    }
    if (r < 0) {
        return r;
    }
    if (bits == 0 || bits > 64 || (bits & (bits - 1)) != 0) {
        return err_set(err, EINVAL,
                       "Refcount width must be a power of two and may not exceed 64 bits");
    }
    if (raw && !was_raw) {
        return err_set(err, EINVAL, "data-file-raw cannot be set on existing images");
    }
    if (version < 3 && bits != 16) {
        return err_set(
            err, EINVAL,
            "Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)");
    }
    if (version < 3 && lazy && keyval_get(opts, "lazy_refcounts") != NULL) {
        return err_set(
            err, EINVAL,
            "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)");
    }
    (void)pthread_mutex_lock(&q->lock);
    if (version > q->version) {
        q->version = version;
        r = qcow2_write_header(q);
    }
    if (r == 0 && bits != 1u << q->refcount_order) {
        r = change_refcount_width(q, (unsigned)__builtin_ctzll(bits), err);
    }
    if (r == 0 && q->version >= 3 && lazy != ((q->compat & QCOW2_COMPAT_LAZY) != 0)) {
        q->compat ^= QCOW2_COMPAT_LAZY;
        q->lazy = lazy && q->lazy;
        r = qcow2_write_header(q);
    }
    if (r == 0 && raw != was_raw) {
        q->autoclear &= ~QCOW2_AUTOCLEAR_RAW;
        r = qcow2_write_header(q);
    }
    if (r == 0 && data_file != NULL) {
        if (!q->has_data_file) {
            r = err_set(err, EINVAL,
                        "data-file can only be set for images that use an external data file");
        } else {
            free(q->data_file_name);
            q->data_file_name = *data_file != '\0' ? strdup(data_file) : NULL;
            r = qcow2_write_header(q);
        }
    }
    (void)pthread_mutex_unlock(&q->lock);
    if (r == 0 && (backing != NULL || fmt != NULL)) {
        AUTO_FREE char *f = strdup(backing != NULL              ? backing
                                   : node->backing_file != NULL ? node->backing_file
                                                                : "");

        r = f == NULL ? -ENOMEM
                      : block_change_backing_file(node, *f != '\0' ? f : NULL,
                                                  fmt != NULL ? fmt : node->backing_fmt, err);
    }
    if (r == 0) {
        r = amend_crypto(q, opts, force, err);
    }
    if (r == 0 && size != 0 && size != q->size) {
        r = block_truncate(node, size, BLOCK_PREALLOC_OFF, err);
    }
    if (r == 0 && version < q->version) {
        r = downgrade(q, err);
    }
    return r < 0 ? err_set(err, -r, "Could not amend the image: %s", strerror(-r))
                 : block_flush(node);
}

int qcow2_make_empty(struct block_node *node)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_range range = { 0 };
    int r;

    (void)pthread_mutex_lock(&q->lock);
    qcow2_range_hold(q, &range, 0, BLOCK_MAX_LENGTH, true);
    r = qcow2_discard_clusters(q, 0, round_up_u64(q->size, q->cluster_size), true);
    for (int i = 0; r == 0 && i < 2; i++) {
        r = qcow2_write_tables(q);
    }
    qcow2_range_release(q, &range);
    (void)pthread_mutex_unlock(&q->lock);
    return r == 0 ? block_flush(node) : r;
}
