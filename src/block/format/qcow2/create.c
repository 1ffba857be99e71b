/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* create.c - new images, their preallocation, measuring them beforehand. */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "block/crypto/crypto.h"
#include "codec/keyval.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CLUSTER = 65536 };

/* What the options ask for, checked. */
struct wanted {
    unsigned long long size;
    unsigned long long cluster_size;
    unsigned version;
    unsigned refcount_order;
    bool lazy;
    bool extended;
    bool raw_data;
    unsigned compression;
    enum block_prealloc prealloc;
    const char *data_file;
    const char *backing_file;
    const char *backing_fmt;
    unsigned crypt;
};

static int parse_encryption(struct keyval *opts, struct wanted *w, struct err **err)
{
    const char *format = keyval_get(opts, "encrypt.format");
    bool old = false;
    int r = keyval_get_bool(opts, "encryption", false, &old, err);

    if (r < 0) {
        return r;
    }
    if (format != NULL && keyval_get(opts, "encryption") != NULL) {
        return err_set(err, EINVAL, "Options encryption and encrypt.format are mutually exclusive");
    }
    if (format != NULL && !str_eq(format, "luks") && !str_eq(format, "aes")) {
        return err_set(err, EINVAL, "Unknown encryption format %s", format);
    }
    w->crypt = old || (format != NULL && str_eq(format, "aes")) ? QCOW2_CRYPT_AES
               : format != NULL                                 ? QCOW2_CRYPT_LUKS
                                                                : QCOW2_CRYPT_NONE;
    return 0;
}

static int parse_compat(struct keyval *opts, struct wanted *w, struct err **err)
{
    const char *compat = keyval_get(opts, "compat");
    const char *type = keyval_get(opts, "compression_type");
    unsigned long long bits = 16;
    int r;

    w->version = 3;
    if (compat != NULL && (str_eq(compat, "0.10") || str_eq(compat, "v2"))) {
        w->version = 2;
    } else if (compat != NULL && !str_eq(compat, "1.1") && !str_eq(compat, "v3")) {
        return err_set(err, EINVAL, "Invalid compatibility level '%s': v2 (0.10) or v3 (1.1)",
                       compat);
    }
    r = keyval_get_u64(opts, "refcount_bits", 16, &bits, err);
    if (r < 0) {
        return r;
    }
    if (bits > 64 || bits == 0 || (bits & (bits - 1)) != 0) {
        return err_set(err, EINVAL,
                       "Refcount width must be a power of two and may not exceed 64 bits");
    }
    if (w->version < 3 && bits != 16) {
        return err_set(
            err, EINVAL,
            "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)");
    }
    w->refcount_order = (unsigned)__builtin_ctzll(bits);
    w->compression = QCOW2_ZLIB;
    if (type != NULL && str_eq(type, "zstd")) {
        w->compression = QCOW2_ZSTD;
    } else if (type != NULL && !str_eq(type, "zlib")) {
        return err_set(err, EINVAL, "Invalid parameter '%s'", type);
    }
    if (w->version < 3 && type != NULL && w->compression != QCOW2_ZLIB) {
        return err_set(
            err, EINVAL,
            "Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    }
    return 0;
}

static int parse_options(struct keyval *opts, struct wanted *w, struct err **err)
{
    unsigned bits;
    int r = keyval_get_size(opts, "size", 0, &w->size, err);

    w->size = round_up_u64(w->size, BLOCK_SECTOR);
    if (r == 0) {
        r = keyval_get_bool(opts, "extended_l2", false, &w->extended, err);
    }
    if (r == 0) {
        r = keyval_get_size(opts, "cluster_size", DEFAULT_CLUSTER, &w->cluster_size, err);
    }
    if (r == 0) {
        r = parse_compat(opts, w, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "lazy_refcounts", false, &w->lazy, err);
    }
    if (r == 0) {
        r = block_prealloc_parse(keyval_get(opts, "preallocation"), &w->prealloc, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "data_file_raw", false, &w->raw_data, err);
    }
    if (r == 0) {
        r = parse_encryption(opts, w, err);
    }
    if (r < 0) {
        return r;
    }
    w->data_file = keyval_get(opts, "data_file");
    w->backing_file = keyval_get(opts, "backing_file");
    w->backing_fmt = keyval_get(opts, "backing_fmt");
    if (w->cluster_size < 512 || w->cluster_size > 1ull << QCOW2_MAX_CLUSTER_BITS ||
        (w->cluster_size & (w->cluster_size - 1)) != 0) {
        return err_set(err, EINVAL, "Cluster size must be a power of two between 512 and 2048k");
    }
    if (w->extended && w->version < 3) {
        return err_set(
            err, EINVAL,
            "Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    }
    if (w->extended && w->cluster_size < 16384) {
        return err_set(
            err, EINVAL,
            "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
    }
    if (w->lazy && w->version < 3) {
        return err_set(
            err, EINVAL,
            "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    }
    if (w->data_file != NULL && w->version < 3) {
        return err_set(
            err, EINVAL,
            "External data files are only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    }
    if (w->raw_data && w->data_file == NULL) {
        return err_set(err, EINVAL, "data-file-raw requires data-file");
    }
    if (w->raw_data && w->backing_file != NULL) {
        return err_set(err, EINVAL,
                       "Backing file and data-file-raw cannot be used at the same time");
    }
    if (w->backing_fmt != NULL && w->backing_file == NULL) {
        return err_set(err, EINVAL, "Backing format cannot be used without backing file");
    }
    if (w->backing_file != NULL && w->prealloc != BLOCK_PREALLOC_OFF && !w->extended) {
        return err_set(
            err, EINVAL,
            "Backing file and preallocation can only be used at the same time if extended_l2 is enabled");
    }
    if (w->data_file != NULL && w->prealloc == BLOCK_PREALLOC_OFF && w->raw_data) {
        w->prealloc = BLOCK_PREALLOC_METADATA; /* every cluster is where the raw file has it */
    }
    bits = (unsigned)__builtin_ctzll(w->cluster_size);
    if (w->size > (QCOW2_MAX_L1_BYTES / 8ull) << (bits - (w->extended ? 4 : 3)) << bits) {
        return err_set(err, EFBIG,
                       "Image size too large for a cluster size of %llu: use a larger cluster_size",
                       w->cluster_size);
    }
    return 0;
}

/* Header, a refcount table of one cluster and one block that counts the three; the rest as if the
 * image were open. */
static int write_first(struct block_node *file, const struct wanted *w, struct qcow2 *q)
{
    AUTO_FREE uint8_t *block = calloc(1, w->cluster_size);
    AUTO_FREE uint8_t *table = calloc(1, w->cluster_size);
    int r;

    if (block == NULL || table == NULL) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < 3; i++) {
        qcow2_block_put(q, block, i, 1);
    }
    be64_put(table, 2 * w->cluster_size);
    q->rt_offset = w->cluster_size;
    q->rt_clusters = 1;
    r = qcow2_write_header(q);
    if (r == 0) {
        r = block_pwrite(file, table, w->cluster_size, w->cluster_size);
    }
    return r == 0 ? block_pwrite(file, block, w->cluster_size, 2 * w->cluster_size) : r;
}

static int write_empty(struct block_node *file, const struct wanted *w)
{
    struct qcow2 q = { .version = w->version, .compression = w->compression };

    q.node.file = file;
    q.cluster_size = w->cluster_size;
    q.cluster_bits = (unsigned)__builtin_ctzll(w->cluster_size);
    q.refcount_order = w->refcount_order;
    q.crypt_method = QCOW2_CRYPT_NONE;
    q.compat = w->lazy ? QCOW2_COMPAT_LAZY : 0;
    q.incompat = (w->extended ? QCOW2_INCOMPAT_EXTL2 : 0) |
                 (w->compression != QCOW2_ZLIB ? QCOW2_INCOMPAT_COMPRESSION : 0);
    return write_first(file, w, &q);
}

static int crypt_io(void *arg, uint64_t off, void *buf, size_t len, bool write)
{
    struct qcow2 *q = arg;

    return write ? block_pwrite(q->node.file, buf, len, q->crypto_offset + off)
                 : block_pread(q->node.file, buf, len, q->crypto_offset + off);
}

static int create_luks(struct qcow2 *q, struct keyval *opts, struct err **err)
{
    const char *id = keyval_get(opts, "encrypt.key-secret");
    AUTO_FREE uint8_t *pass = NULL;
    size_t pass_len = 0;
    uint64_t bytes;
    int64_t off;
    int r = id != NULL
                ? block_secret(q->node.ctx, id, &pass, &pass_len, err)
                : err_set(err, EINVAL, "Parameter 'encrypt.key-secret' is required for cipher");

    if (r == 0) {
        r = block_crypto_luks_header_size(opts, "encrypt.", &bytes, err);
    }
    if (r < 0) {
        return r;
    }
    off = qcow2_alloc(q, bytes);
    if (off < 0) {
        return (int)off;
    }
    q->crypto_offset = (uint64_t)off;
    q->crypto_length = bytes;
    r = block_write_zeroes(q->node.file, q->crypto_offset,
                           qcow2_clusters(q, bytes) << q->cluster_bits, 0);
    return r == 0 ? block_crypto_create_luks(crypt_io, q, opts, "encrypt.", pass, pass_len, err)
                  : r;
}

static int create_data_file(struct qcow2 *q, struct block_ctx *ctx, const struct wanted *w,
                            struct err **err)
{
    AUTO_FREE char *path = NULL;
    struct block_node *data = NULL;
    int r;

    if (w->data_file == NULL) {
        return 0;
    }
    path = q->node.filename != NULL ? block_path_combine(q->node.filename, w->data_file)
                                    : strdup(w->data_file);
    q->data_file_name = strdup(w->data_file);
    if (path == NULL || q->data_file_name == NULL) {
        return -ENOMEM;
    }
    r = block_create_file(ctx, path, 0, &data, err);
    if (r < 0) {
        err_prefix(err, "Could not create the data file: ");
        return r;
    }
    (void)block_unref(data);
    q->incompat |= QCOW2_INCOMPAT_DATA_FILE;
    q->autoclear |= w->raw_data ? QCOW2_AUTOCLEAR_RAW : 0;
    q->has_data_file = true;
    return 0;
}

/* The features that the first, minimal header does not say: on the open image. */
static int finish_header(struct qcow2 *q, struct block_ctx *ctx, struct keyval *opts,
                         const struct wanted *w, struct err **err)
{
    int r = create_data_file(q, ctx, w, err);

    if (r == 0 && w->backing_file != NULL) {
        q->node.backing_file = strdup(w->backing_file);
        q->node.backing_fmt = w->backing_fmt != NULL ? strdup(w->backing_fmt) : NULL;
        r = q->node.backing_file != NULL ? 0 : -ENOMEM;
    }
    if (r == 0 && w->crypt == QCOW2_CRYPT_LUKS) {
        r = create_luks(q, opts, err);
    }
    if (r == 0 && w->crypt == QCOW2_CRYPT_AES && keyval_get(opts, "encrypt.key-secret") == NULL) {
        r = err_set(err, EINVAL, "Parameter 'encrypt.key-secret' is required for cipher");
    }
    if (r == 0) {
        r = qcow2_grow_l1(q, (w->size + qcow2_l2_coverage(q) - 1) / qcow2_l2_coverage(q), true);
    }
    if (r == 0) {
        q->crypt_method = w->crypt;
        q->size = w->size;
        r = qcow2_write_tables(q);
    }
    return r == 0 ? qcow2_write_header(q) : r;
}

static struct block_node *find_created(void *arg, const char *name)
{
    (void)name;
    return arg;
}

static int open_on(struct block_ctx *ctx, struct block_node *file, const char *id,
                   struct block_node **ret, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = keyval_parse("driver=qcow2,file=created,cache.no-flush=on,lazy-refcounts=off,backing=",
                         NULL, false, &kv, err);

    if (r == 0 && id != NULL) {
        r = keyval_add(kv, "encrypt.key-secret", id);
    }
    return r == 0 ? block_open(ctx, kv, find_created, file, ret, err) : r;
}

int qcow2_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                 struct keyval *opts, struct err **err)
{
    struct block_node *node = NULL;
    struct wanted w = { 0 };
    bool opened = false;
    int r = parse_options(opts, &w, err);

    (void)filename;
    if (r == 0) {
        r = write_empty(file, &w);
    }
    if (r == 0) {
        r = open_on(ctx, file, NULL, &node, err);
    }
    if (r == 0) {
        struct qcow2 *q = qcow2_of(node);

        (void)pthread_mutex_lock(&q->lock);
        r = finish_header(q, ctx, opts, &w, err);
        (void)pthread_mutex_unlock(&q->lock);
        q->has_data_file = false; /* closing must not look for it */
        (void)block_unref(node);
    }
    if (r == 0 && (w.prealloc != BLOCK_PREALLOC_OFF || w.data_file != NULL)) {
        r = open_on(ctx, file,
                    w.crypt != QCOW2_CRYPT_NONE ? keyval_get(opts, "encrypt.key-secret") : NULL,
                    &node, err);
        opened = r == 0;
        if (r == 0 && w.prealloc != BLOCK_PREALLOC_OFF) {
            r = qcow2_preallocate(qcow2_of(node), 0, w.size, w.prealloc, err);
        }
        if (r == 0 && w.data_file != NULL &&
            block_length(qcow2_of(node)->data_file) < (int64_t)w.size && w.raw_data) {
            r = block_truncate(qcow2_of(node)->data_file, w.size, BLOCK_PREALLOC_OFF, err);
        }
        if (opened) {
            (void)block_unref(node);
        }
    }
    return r < 0 ? err_set(err, -r, "Could not create the image: %s", strerror(-r)) : 0;
}

/* ---- preallocation ---- */

int qcow2_preallocate(struct qcow2 *q, uint64_t off, uint64_t len, enum block_prealloc mode,
                      struct err **err)
{
    enum { AT_ONCE = 64 << 20 };
    uint64_t end = off + len;
    uint64_t last = 0;
    struct qcow2_range range = { 0 };
    int r = 0;

    (void)pthread_mutex_lock(&q->lock);
    qcow2_range_hold(q, &range, off, len, true);
    off = qcow2_start_of(q, off);
    while (r == 0 && off < end) {
        struct qcow2_entry e;
        uint64_t n = qcow2_clusters(q, min_u64(end - off, AT_ONCE));
        int64_t host = (int64_t)off;

        r = qcow2_lookup(q, off, &e);
        if (r == 0 && (e.entry & (QCOW2_OFFSET_MASK | QCOW2_COMPRESSED)) != 0) {
            off += q->cluster_size;
            continue;
        }
        if (r == 0 && !q->has_data_file) {
            host = qcow2_alloc_some(q, n, &n);
            r = host < 0 ? (int)host : 0;
        }
        if (r == 0 && (mode == BLOCK_PREALLOC_FALLOC || mode == BLOCK_PREALLOC_FULL)) {
            int64_t have = block_length(q->data_file);
            uint64_t want = (uint64_t)host + (n << q->cluster_bits);

            if (have >= 0 && (uint64_t)have < want) {
                r = block_truncate(q->data_file, want, mode, err);
            }
        }
        for (uint64_t i = 0; r == 0 && i < n; i++) {
            uint64_t at = off + (i << q->cluster_bits);

            r = qcow2_lookup(q, at, &e);
            if (r == 0 && (e.entry & (QCOW2_OFFSET_MASK | QCOW2_COMPRESSED)) != 0) {
                qcow2_free_now(q, (uint64_t)host + (i << q->cluster_bits),
                               q->has_data_file ? 0 : q->cluster_size);
                continue;
            }
            e.entry = ((uint64_t)host + (i << q->cluster_bits)) | QCOW2_COPIED;
            /* With subclusters the space is there but the content stays the backing image's. */
            if (q->subclusters == 1 || q->node.backing_file != NULL) {
                e.bitmap = 0;
            } else {
                e.bitmap = 0xffffffffull;
            }
            r = r == 0 ? qcow2_store(q, at, e) : r;
        }
        last = (uint64_t)host + (n << q->cluster_bits);
        off += n << q->cluster_bits;
    }
    qcow2_range_release(q, &range);
    (void)pthread_mutex_unlock(&q->lock);
    /* The file reaches to the last cluster that is allocated. */
    if (r == 0 && last > 0) {
        int64_t have = block_length(q->data_file);

        if (q->has_data_file) {
            last = min_u64(last, max_u64(end, 1));
        }
        if (have >= 0 && (uint64_t)have < last) {
            r = block_truncate(q->data_file, last, BLOCK_PREALLOC_OFF, err);
        }
    }
    return r < 0 ? err_set(err, -r, "Could not preallocate metadata: %s", strerror(-r)) : 0;
}

/* ---- resize ---- */

/* Host clusters in use end here. */
static int used_end(struct qcow2 *q, uint64_t *ret)
{
    int64_t len = block_length(q->node.file);
    uint64_t i = len < 0 ? 0 : qcow2_clusters(q, (uint64_t)len);

    while (i > 0) {
        uint64_t count;
        int r = qcow2_refcount_get(q, i - 1, &count);

        if (r < 0) {
            return r;
        }
        if (count > 0) {
            break;
        }
        i--;
    }
    *ret = i << q->cluster_bits;
    return 0;
}

static int shrink(struct qcow2 *q, uint64_t len)
{
    uint64_t cover = qcow2_l2_coverage(q);
    uint64_t keep = (len + cover - 1) / cover;
    uint64_t end = 0;
    int r = qcow2_discard_clusters(
        q, round_up_u64(len, q->cluster_size),
        round_up_u64(q->size, q->cluster_size) - round_up_u64(len, q->cluster_size), true);

    for (uint64_t i = keep; r == 0 && i < q->l1_size; i++) {
        uint64_t table = q->l1[i] & QCOW2_OFFSET_MASK;

        if (table != 0) {
            q->l1[i] = 0;
            qcow2_l1_dirty(q, (uint32_t)i);
            r = qcow2_free_later(q, table, q->cluster_size);
        }
    }
    for (int i = 0; r == 0 && i < 2; i++) {
        r = qcow2_write_tables(q);
    }
    if (r == 0) {
        r = used_end(q, &end);
    }
    if (r == 0 && end > 0 && (int64_t)end < block_length(q->node.file)) {
        r = block_truncate(q->node.file, end, BLOCK_PREALLOC_OFF, NULL);
    }
    return r;
}

static int set_size(struct qcow2 *q, uint64_t len)
{
    uint8_t raw[8];
    int r;

    be64_put(raw, len);
    r = block_pwrite_sync(q->node.file, raw, sizeof(raw), 24);
    if (r == 0) {
        __atomic_store_n(&q->size, len, __ATOMIC_RELAXED);
    }
    return r;
}

/* What the image grows by must read as zeroes: the rest of its last cluster, and what a longer
 * backing image has there. */
static int zero_growth(struct qcow2 *q, uint64_t old, uint64_t len)
{
    uint64_t edge = min_u64(round_up_u64(old, q->cluster_size), len);
    int64_t below = q->node.backing != NULL ? block_length(q->node.backing) : 0;
    int r = 0;

    if (edge > old) {
        struct block_extent ext;

        r = qcow2_status(&q->node, old, edge - old, &ext);
        if (r == 0 && ((ext.flags & BLOCK_ZERO) == 0 || ext.len < edge - old) &&
            (ext.flags & BLOCK_ALLOCATED) != 0) {
            r = qcow2_write_zeroes(&q->node, old, edge - old, 0);
        }
    }
    if (r == 0 && below > (int64_t)old) {
        r = qcow2_write_zeroes(&q->node, old, min_u64((uint64_t)below, len) - old, 0);
    }
    return r;
}

int qcow2_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                   struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_range range = { 0 };
    uint64_t old = q->size;
    int r = 0;

    if ((len & (BLOCK_SECTOR - 1)) != 0) {
        return err_set(err, EINVAL, "The new size must be a multiple of %d", BLOCK_SECTOR);
    }
    if (q->n_snapshots > 0 && q->version < 3) {
        return err_set(err, ENOTSUP, "Can't resize a version 2 image which has snapshots");
    }
    if (len < old && prealloc != BLOCK_PREALLOC_OFF) {
        return err_set(err, ENOTSUP, "Preallocation can't be used for shrinking images");
    }
    (void)pthread_mutex_lock(&q->lock);
    qcow2_range_hold(q, &range, 0, BLOCK_MAX_LENGTH, true);
    r = qcow2_mark_dirty(q);
    if (r == 0 && len < old) {
        r = shrink(q, len);
    } else if (r == 0) {
        r = qcow2_grow_l1(q, (len + qcow2_l2_coverage(q) - 1) / qcow2_l2_coverage(q), true);
    }
    for (int i = 0; r == 0 && i < 2; i++) {
        r = qcow2_write_tables(q);
    }
    if (r == 0) {
        r = set_size(q, len);
    }
    qcow2_range_release(q, &range);
    (void)pthread_mutex_unlock(&q->lock);
    if (r == 0 && q->has_data_file && (q->autoclear & QCOW2_AUTOCLEAR_RAW) != 0) {
        r = block_truncate(q->data_file, len,
                           prealloc == BLOCK_PREALLOC_METADATA ? BLOCK_PREALLOC_OFF : prealloc,
                           err);
    }
    if (r == 0 && len > old) {
        r = zero_growth(q, old, len);
    }
    if (r == 0 && len > old && prealloc != BLOCK_PREALLOC_OFF) {
        r = qcow2_preallocate(q, old, len - old, prealloc, err);
    }
    return r < 0 ? err_set(err, -r, "Failed to resize the image: %s", strerror(-r)) : 0;
}

/* ---- measure ---- */

/* File size of an image with all clusters allocated, as the layout of create makes it. */
static uint64_t full_size(uint64_t size, uint64_t cluster, unsigned order, unsigned entry)
{
    uint64_t aligned = round_up_u64(size, cluster);
    uint64_t meta = cluster; /* header */
    uint64_t l2 = round_up_u64(aligned / cluster, cluster / entry);
    uint64_t l1 = round_up_u64(l2 * entry / cluster, cluster / 8);
    uint64_t per_block = (cluster * 8) >> order;
    uint64_t clusters;
    uint64_t n = 0;
    uint64_t table = 0;
    uint64_t blocks = 0;
    uint64_t last;

    meta += l2 * entry + l1 * 8;
    clusters = (meta + aligned) / cluster;
    do {
        last = n;
        blocks = (clusters + table + blocks + per_block - 1) / per_block;
        table = (blocks * 8 + cluster - 1) / cluster;
        n = clusters + blocks + table;
    } while (n != last);
    return meta + aligned + (blocks + table) * cluster;
}

static int count_needed(struct block_node *in, uint64_t size, uint64_t cluster, uint64_t *ret,
                        struct err **err)
{
    uint64_t off = 0;
    uint64_t last_end = 0;

    *ret = 0;
    while (off < size) {
        struct block_extent ext;
        int r = block_status_above(in, NULL, off, size - off, &ext, NULL);

        if (r < 0) {
            return err_set(err, -r, "Unable to get block status: %s", strerror(-r));
        }
        if ((ext.flags & BLOCK_ZERO) == 0 && (ext.flags & BLOCK_DATA) != 0) {
            uint64_t from = max_u64(round_down_u64(off, cluster), last_end);
            uint64_t to = round_up_u64(off + ext.len, cluster);

            if (to > from) {
                *ret += to - from;
                last_end = to;
            }
        }
        off += ext.len;
    }
    return 0;
}

int qcow2_measure(struct keyval *opts, struct block_node *in, struct block_measure *ret,
                  struct err **err)
{
    struct wanted w = { 0 };
    uint64_t luks = 0;
    uint64_t size;
    uint64_t needed = 0;
    int r = parse_options(opts, &w, err);

    if (r == 0 && w.crypt == QCOW2_CRYPT_LUKS) {
        r = block_crypto_luks_header_size(opts, "encrypt.", &luks, err);
        luks = round_up_u64(luks, w.cluster_size);
    }
    if (r < 0) {
        return r;
    }
    size = round_up_u64(w.size, w.cluster_size);
    if (in != NULL) {
        int64_t len = block_length(in);

        if (len < 0) {
            return err_set(err, (int)-len, "Unable to get image virtual_size");
        }
        size = round_up_u64((uint64_t)len, w.cluster_size);
        r = w.backing_file != NULL ? 0
                                   : count_needed(in, (uint64_t)len, w.cluster_size, &needed, err);
        if (w.backing_file != NULL) {
            needed = size;
        }
        ret->has_bitmaps = w.version >= 3 && in->drv->bitmap_store != NULL;
        ret->bitmaps = 0;
        LIST_FOREACH (&in->bitmaps, it) {
            struct block_bitmap *bm = CONTAINER_OF(it, struct block_bitmap, link);
            uint64_t bits = (uint64_t)len / bm->granularity + 1;

            if (bm->persistent && !bm->inconsistent) {
                ret->bitmaps +=
                    round_up_u64((bits + 7) / 8, w.cluster_size) +
                    round_up_u64(((bits + 7) / 8 + w.cluster_size - 1) / w.cluster_size * 8,
                                 w.cluster_size);
            }
        }
        if (!w.extended && !list_empty(&in->bitmaps) && ret->bitmaps > 0) {
            ret->bitmaps += w.cluster_size;
        }
    } else if (w.size == 0 && keyval_get(opts, "size") == NULL) {
        return err_set(err, EINVAL, "a size or an image is needed");
    }
    ret->fully_allocated =
        full_size(size, w.cluster_size, w.refcount_order, w.extended ? 16 : 8) + luks;
    ret->required =
        ret->fully_allocated - size + (w.prealloc >= BLOCK_PREALLOC_FALLOC ? size : needed);
    return r;
}

const struct block_opt qcow2_create_opts[] = {
    { "encryption", BLOCK_OPT_BOOL,
      "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)", NULL },
    { "encrypt.format", BLOCK_OPT_STR, "Encrypt the image, format choices: 'aes', 'luks'", NULL },
    { "encrypt.key-secret", BLOCK_OPT_STR, "ID of secret providing qcow AES key or LUKS passphrase",
      NULL },
    { "encrypt.cipher-alg", BLOCK_OPT_STR, "Name of encryption cipher algorithm", NULL },
    { "encrypt.cipher-mode", BLOCK_OPT_STR, "Name of encryption cipher mode", NULL },
    { "encrypt.ivgen-alg", BLOCK_OPT_STR, "Name of IV generator algorithm", NULL },
    { "encrypt.ivgen-hash-alg", BLOCK_OPT_STR, "Name of IV generator hash algorithm", NULL },
    { "encrypt.hash-alg", BLOCK_OPT_STR, "Name of encryption hash algorithm", NULL },
    { "encrypt.iter-time", BLOCK_OPT_NUM, "Time to spend in PBKDF in milliseconds", NULL },
    { "cluster_size", BLOCK_OPT_SIZE, "qcow2 cluster size", "65536" },
    { "extended_l2", BLOCK_OPT_BOOL, "Extended L2 tables", "off" },
    { "preallocation", BLOCK_OPT_STR,
      "Preallocation mode (allowed values: off, metadata, falloc, full)", NULL },
    { "compression_type", BLOCK_OPT_STR, "Compression method used for image cluster compression",
      "zlib" },
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { "compat", BLOCK_OPT_STR, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL },
    { "backing_file", BLOCK_OPT_STR, "File name of a base image", NULL },
    { "backing_fmt", BLOCK_OPT_STR, "Image format of the base image", NULL },
    { "data_file", BLOCK_OPT_STR, "File name of an external data file", NULL },
    { "data_file_raw", BLOCK_OPT_BOOL, "The external data file must stay valid as a raw image",
      NULL },
    { "lazy_refcounts", BLOCK_OPT_BOOL, "Postpone refcount updates", "off" },
    { "refcount_bits", BLOCK_OPT_NUM, "Width of a reference count entry in bits", "16" },
    { 0 },
};
