/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2.c - the qcow2 driver: opening, closing, information, the table.
 *
 * Versions 2 and 3; cluster sizes 512 bytes to 2 MiB, refcounts of 1 to 64 bits, subclusters,
 * external data files, zlib and zstd compression, LUKS and (old) AES encryption, snapshots with
 * machine state, persistent dirty bitmaps, lazy refcounts. Refused: unknown incompatible features,
 * tables above the limits in qcow2.h, and images that are marked corrupt for writing.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/opt.h"
#include "base/str.h"
#include "block/core/image.h"
#include "block/crypto/crypto.h"
#include "codec/json.h"
#include "codec/keyval.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* As QEMU's defaults: L2 entries for the whole disk, at most 32 MiB of them. */
#define DEFAULT_L2_CACHE  (32ull << 20)
#define DEFAULT_REFCOUNTS (4ull << 20)

static int qcow2_probe(const uint8_t *head, size_t len, const char *filename)
{
    (void)filename;
    return len >= 8 && be32_get(head) == QCOW2_MAGIC && be32_get(head + 4) >= 2 ? 100 : 0;
}

/* The options that only tune us. */
static int runtime_options(struct qcow2 *q, struct keyval *opts, uint64_t *l2, uint64_t *rb,
                           struct err **err)
{
    static const char *const ignored[] = { "l2-cache-entry-size",
                                           "cache-clean-interval",
                                           "overlap-check",
                                           "overlap-check.template",
                                           "pass-discard-request",
                                           "pass-discard-snapshot",
                                           "pass-discard-other",
                                           "discard-no-unref",
                                           "overlap-check.main-header",
                                           "overlap-check.active-l1",
                                           "overlap-check.active-l2",
                                           "overlap-check.refcount-table",
                                           "overlap-check.refcount-block",
                                           "overlap-check.snapshot-table",
                                           "overlap-check.inactive-l1",
                                           "overlap-check.inactive-l2",
                                           "overlap-check.bitmap-directory" };
    uint64_t disk_l2 = q->size / q->cluster_size * q->l2_entry_size + QCOW2_SLICE_MAX;
    unsigned long long total = 0;
    unsigned long long v;
    int r;

    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        (void)keyval_get(opts, ignored[i]);
    }
    *l2 = min_u64(DEFAULT_L2_CACHE, max_u64(disk_l2, 1 << 20));
    *rb = DEFAULT_REFCOUNTS;
    r = keyval_get_size(opts, "cache-size", 0, &total, err);
    if (r == 0 && total > 0) {
        *l2 = total * 4 / 5;
        *rb = total / 5;
    }
    if (r == 0) {
        r = keyval_get_size(opts, "l2-cache-size", *l2, &v, err);
        *l2 = v;
    }
    if (r == 0) {
        r = keyval_get_size(opts, "refcount-cache-size", *rb, &v, err);
        *rb = v;
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "lazy-refcounts", (q->compat & QCOW2_COMPAT_LAZY) != 0, &q->lazy,
                            err);
        q->lazy = q->lazy && q->version >= 3;
    }
    return r;
}

static int read_tables(struct qcow2 *q, struct err **err)
{
    uint8_t *raw;
    uint64_t bytes = (uint64_t)q->rt_clusters << q->cluster_bits;
    int64_t file_len = block_length(q->node.file);
    int r;

    /* What lies behind the end of the file is not there: no memory for it. */
    if (file_len >= 0 && q->l1_size > 0 && q->l1_offset >= (uint64_t)file_len) {
        return err_set(err, EINVAL, "Could not read L1 table: it lies behind the end of the file");
    }
    r = qcow2_read_l1(q, q->l1_offset, q->l1_size, &q->l1);
    if (r < 0) {
        return err_set(err, -r, "Could not read L1 table: %s", strerror(-r));
    }
    if (file_len >= 0 && bytes > 0 && q->rt_offset >= (uint64_t)file_len) {
        if (!q->node.for_check) {
            return err_set(err, EINVAL,
                           "Could not read the refcount table: it lies behind the end of the file");
        }
        q->rt_clusters = 0;
        bytes = 0;
    }
    q->rt = calloc(bytes / 8 + 1, 8);
    raw = malloc(bytes + 1);
    r = q->rt != NULL && raw != NULL ? block_pread(q->node.file, raw, bytes, q->rt_offset)
                                     : -ENOMEM;
    for (uint64_t i = 0; r == 0 && i < bytes / 8; i++) {
        q->rt[i] = be64_get(raw + i * 8);
    }
    free(raw);
    q->rt_size = (uint32_t)(bytes / 8);
    return r < 0 ? err_set(err, -r, "Could not initialize refcount handling: %s", strerror(-r)) : 0;
}

static int open_data_file(struct qcow2 *q, struct keyval *opts, struct err **err)
{
    struct block_node *node = &q->node;
    bool wanted = (q->incompat & QCOW2_INCOMPAT_DATA_FILE) != 0;
    bool given = keyval_get(opts, "data-file") != NULL;
    int r;

    q->data_file = node->file;
    for (size_t i = 0; i < opts->n; i++) {
        given |= str_starts(opts->pairs[i].key, "data-file.");
    }
    if (!wanted) {
        return given ? err_set(err, EINVAL,
                               "'data-file' can only be set for images with an external data file")
                     : 0;
    }
    q->has_data_file = true;
    if (node->no_io) {
        return 0;
    }
    if (!given) {
        AUTO_FREE char *path = NULL;

        if (q->data_file_name == NULL) {
            return err_set(err, EINVAL, "'data-file' is required for this image");
        }
        path = node->filename != NULL ? block_path_combine(node->filename, q->data_file_name)
                                      : strdup(q->data_file_name);
        if (path == NULL || keyval_add(opts, "data-file.filename", path) < 0 ||
            keyval_add(opts, "data-file.driver", "file") < 0) {
            return -ENOMEM;
        }
    }
    r = block_open_child(node, opts, "data-file", &q->data_file, err);
    if (r < 0) {
        err_prefix(err, "Could not open external data file: ");
    }
    return r;
}

static int crypto_io(void *arg, uint64_t off, void *buf, size_t len, bool write)
{
    struct qcow2 *q = arg;

    if (!range_within(off, len, q->crypto_length)) {
        return -EINVAL;
    }
    return write ? block_pwrite(q->node.file, buf, len, q->crypto_offset + off)
                 : block_pread(q->node.file, buf, len, q->crypto_offset + off);
}

static int open_crypto(struct qcow2 *q, struct keyval *opts, struct err **err)
{
    const char *format = keyval_get(opts, "encrypt.format");
    const char *id = keyval_get(opts, "encrypt.key-secret");
    const char *want = q->crypt_method == QCOW2_CRYPT_LUKS ? "luks" : "aes";
    AUTO_FREE uint8_t *pass = NULL;
    size_t len = 0;
    int r = 0;

    if (q->crypt_method == QCOW2_CRYPT_NONE) {
        return format != NULL
                   ? err_set(err, EINVAL,
                             "No encryption in image header, but options specified format '%s'",
                             format)
                   : 0;
    }
    if (format != NULL && !str_eq(format, want)) {
        return err_set(err, EINVAL,
                       "Header reported '%s' encryption format but options specify '%s'", want,
                       format);
    }
    if (id == NULL && !q->node.no_io) {
        return err_set(err, EINVAL, "Parameter 'encrypt.key-secret' is required for cipher");
    }
    if (id != NULL && !q->node.no_io) {
        r = block_secret(q->node.ctx, id, &pass, &len, err);
    }
    if (r < 0) {
        return r;
    }
    if (q->crypt_method == QCOW2_CRYPT_AES) {
        return pass != NULL ? block_crypto_open_aes(pass, len, &q->crypto, err) : 0;
    }
    if (q->crypto_length == 0) {
        return err_set(err, EINVAL, "the image has no LUKS header");
    }
    return block_crypto_open_luks(crypto_io, q, pass, len, &q->crypto, err);
}

/* A writer before us who did not close: refcounts are wrong where they were lazy. */
static int repair_dirty(struct qcow2 *q, struct err **err)
{
    struct block_check check = { .fix = BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS };
    int r;

    if ((q->incompat & QCOW2_INCOMPAT_DIRTY) == 0 || q->node.read_only || q->node.for_check) {
        return 0;
    }
    r = qcow2_check(&q->node, &check, err);
    if (r == 0 && check.errors > 0) {
        r = err_set(err, EIO, "Could not repair dirty image");
    }
    return r;
}

static int qcow2_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    uint64_t l2_bytes = 0;
    uint64_t rb_bytes = 0;
    int r;

    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->range_cond, NULL);
    list_init(&q->ranges);
    list_init(&q->l2_cache.lru);
    list_init(&q->rb_cache.lru);
    r = block_open_file_child(node, opts, err);
    if (r == 0) {
        q->data_file = node->file;
        r = qcow2_read_header(q, err);
    }
    if (r == 0 && (q->incompat & QCOW2_INCOMPAT_CORRUPT) != 0 && !node->read_only &&
        !node->for_check) {
        r = err_set(err, EACCES, "qcow2: Image is corrupt; cannot be opened read/write");
    }
    if (r == 0) {
        r = runtime_options(q, opts, &l2_bytes, &rb_bytes, err);
    }
    if (r == 0) {
        r = qcow2_caches_init(q, l2_bytes, rb_bytes);
    }
    if (r == 0) {
        r = read_tables(q, err);
    }
    if (r == 0) {
        r = open_data_file(q, opts, err);
    }
    if (r == 0) {
        r = open_crypto(q, opts, err);
    }
    if (r == 0) {
        r = qcow2_read_snapshots(q, err);
    }
    /* Features that describe what others may not know about are void once we write. */
    if (r == 0 && !node->read_only && !node->for_check &&
        (q->autoclear & ~(QCOW2_AUTOCLEAR_BITMAPS | QCOW2_AUTOCLEAR_RAW)) != 0) {
        q->autoclear &= QCOW2_AUTOCLEAR_BITMAPS | QCOW2_AUTOCLEAR_RAW;
        r = qcow2_write_header(q);
    }
    if (r == 0) {
        r = repair_dirty(q, err);
    }
    if (r == 0) {
        r = qcow2_bitmaps_load(q, err);
    }
    if (r == 0) {
        r = block_open_backing(node, opts, err);
    }
    return r;
}

static int put_clean(struct qcow2 *q)
{
    uint8_t raw[8];
    int r = qcow2_barrier(q);

    if (r < 0) {
        return r;
    }
    be64_put(raw, q->incompat & ~QCOW2_INCOMPAT_DIRTY);
    return block_pwrite(q->node.file, raw, sizeof(raw), 72);
}

/* Everything on disk, as close leaves it. */
static int settle(struct qcow2 *q, struct err **err)
{
    int r = qcow2_bitmaps_store(&q->node, err);

    q->closing = true;
    /* Freeing what was pending makes refcounts dirty once more. */
    for (int i = 0; r == 0 && i < 2; i++) {
        r = qcow2_write_tables(q);
    }
    if (r == 0 && q->dirty_set) {
        r = put_clean(q);
    }
    q->closing = false;
    return r;
}

static int qcow2_reopen(struct block_node *node, bool read_only, struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    int r;

    if (!read_only && (q->incompat & (QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_DIRTY)) != 0) {
        return err_set(err, EACCES, "qcow2: the image is %s: repair it with check -r all",
                       (q->incompat & QCOW2_INCOMPAT_CORRUPT) != 0 ? "corrupt" : "marked dirty");
    }
    if (!read_only) {
        return 0;
    }
    r = settle(q, err);
    if (r == 0) {
        q->incompat &= q->dirty_set ? ~QCOW2_INCOMPAT_DIRTY : UINT64_MAX;
        q->dirty_set = false;
        r = qcow2_barrier(q);
    }
    return r < 0 ? err_set(err, -r, "cannot write the image's tables: %s", strerror(-r)) : 0;
}

static void qcow2_close(struct block_node *node)
{
    struct qcow2 *q = qcow2_of(node);

    if (q->rt != NULL && !node->read_only) {
        struct err *err = NULL;
        int r = settle(q, &err);

        if (r < 0) {
            log_error("qcow2: closing '%s': %s", node->filename,
                      err != NULL ? err->text : strerror(-r));
        }
        (void)err_free(err);
    }
    qcow2_caches_done(q);
    qcow2_free_snapshots(q);
    qcow2_bitmaps_done(q);
    while (!list_empty(&q->ranges)) {
        struct qcow2_range *r = CONTAINER_OF(q->ranges.next, struct qcow2_range, link);

        list_remove(&r->link);
        free(r);
    }
    q->crypto = block_crypto_free(q->crypto);
    free(q->l1);
    free(q->rt);
    free(q->pending_free);
    free(q->data_file_name);
    free(q->unknown_exts);
    (void)pthread_mutex_destroy(&q->lock);
    (void)pthread_cond_destroy(&q->range_cond);
}

static int64_t qcow2_length(struct block_node *node)
{
    return (int64_t)__atomic_load_n(&qcow2_of(node)->size, __ATOMIC_RELAXED);
}

static void qcow2_info(struct block_node *node, struct block_info *ret)
{
    struct qcow2 *q = qcow2_of(node);

    ret->cluster_size = q->cluster_size;
    ret->vm_state_offset =
        (q->size + qcow2_l2_coverage(q) - 1) / qcow2_l2_coverage(q) * qcow2_l2_coverage(q);
    ret->has_dirty = true;
    ret->dirty = (q->incompat & QCOW2_INCOMPAT_DIRTY) != 0;
    ret->encrypted = q->crypt_method != QCOW2_CRYPT_NONE;
}

static struct json_object *qcow2_specific(struct block_node *node)
{
    struct qcow2 *q = qcow2_of(node);
    struct json_object *o = json_object_new_object();

    (void)json_add_str(o, "compat", q->version == 2 ? "0.10" : "1.1");
    (void)json_add_str(o, "compression-type", q->compression == QCOW2_ZSTD ? "zstd" : "zlib");
    if (q->version >= 3) {
        struct json_object *bitmaps = qcow2_bitmaps_info(q);

        (void)json_add_bool(o, "lazy-refcounts", (q->compat & QCOW2_COMPAT_LAZY) != 0);
        if (bitmaps != NULL) {
            (void)json_add(o, "bitmaps", bitmaps);
        }
    }
    (void)json_add_u64(o, "refcount-bits", 1u << q->refcount_order);
    if (q->version >= 3) {
        (void)json_add_bool(o, "corrupt", (q->incompat & QCOW2_INCOMPAT_CORRUPT) != 0);
        if (q->has_data_file) {
            (void)json_add_str(o, "data-file", q->data_file_name != NULL ? q->data_file_name : "");
            (void)json_add_bool(o, "data-file-raw", (q->autoclear & QCOW2_AUTOCLEAR_RAW) != 0);
        }
    }
    if (q->crypt_method == QCOW2_CRYPT_AES) {
        struct json_object *e = json_object_new_object();

        (void)json_add_str(e, "format", "aes");
        (void)json_add(o, "encrypt", e);
    } else if (q->crypt_method == QCOW2_CRYPT_LUKS && q->crypto != NULL) {
        struct json_object *e = block_crypto_luks_info(q->crypto);

        (void)json_add_str(e, "format", "luks");
        (void)json_add(o, "encrypt", e);
    }
    if (q->version >= 3) {
        (void)json_add_bool(o, "extended-l2", (q->incompat & QCOW2_INCOMPAT_EXTL2) != 0);
    }
    return o;
}

static int qcow2_change_backing(struct block_node *node, const char *file, const char *fmt,
                                struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    char *old_file = node->backing_file;
    char *old_fmt = node->backing_fmt;
    int r;

    if (q->has_data_file && file != NULL && (q->autoclear & QCOW2_AUTOCLEAR_RAW) != 0) {
        return err_set(err, EINVAL, "data-file-raw images have no backing file");
    }
    node->backing_file = file != NULL ? strdup(file) : NULL;
    node->backing_fmt = fmt != NULL && file != NULL ? strdup(fmt) : NULL;
    (void)pthread_mutex_lock(&q->lock);
    r = qcow2_write_tables(q);
    if (r == 0) {
        r = qcow2_barrier(q);
    }
    if (r == 0) {
        r = qcow2_write_header(q);
    }
    (void)pthread_mutex_unlock(&q->lock);
    free(node->backing_file);
    free(node->backing_fmt);
    node->backing_file = old_file;
    node->backing_fmt = old_fmt;
    return r == 0 ? block_flush(node) : r;
}

/* Machine state lies behind the disk's clusters, as if the disk were longer. */
static uint64_t vmstate_offset(const struct qcow2 *q)
{
    uint64_t cover = qcow2_l2_coverage(q);

    return (q->size + cover - 1) / cover * cover;
}

static int qcow2_vmstate_pread(struct block_node *node, void *buf, size_t len, uint64_t off)
{
    struct iovec iov = { .iov_base = buf, .iov_len = len };

    return qcow2_preadv(node, &iov, 1, vmstate_offset(qcow2_of(node)) + off);
}

static int qcow2_vmstate_pwrite(struct block_node *node, const void *buf, size_t len, uint64_t off)
{
    struct qcow2 *q = qcow2_of(node);
    uint64_t at = vmstate_offset(q) + off;
    AUTO_FREE void *copy = malloc(len);
    struct iovec iov = { .iov_base = copy, .iov_len = len };
    int r;

    if (copy == NULL) {
        return -ENOMEM;
    }
    memcpy(copy, buf, len);
    (void)pthread_mutex_lock(&q->lock);
    r = qcow2_grow_l1(q, (at + len + qcow2_l2_coverage(q) - 1) / qcow2_l2_coverage(q), false);
    (void)pthread_mutex_unlock(&q->lock);
    return r == 0 ? qcow2_pwritev(node, &iov, 1, at) : r;
}

const struct block_driver block_qcow2 = {
    .name = "qcow2",
    .supports_backing = true,
    .size = sizeof(struct qcow2),
    .probe = qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .reopen = qcow2_reopen,
    .length = qcow2_length,
    .map = qcow2_map,
    .unmap = qcow2_unmap,
    .preadv = qcow2_preadv,
    .pwritev = qcow2_pwritev,
    .write_zeroes = qcow2_write_zeroes,
    .discard = qcow2_discard,
    .flush = qcow2_flush,
    .pwrite_compressed = qcow2_pwrite_compressed,
    .truncate = qcow2_truncate,
    .status = qcow2_status,
    .create_opts = qcow2_create_opts,
    .amend_opts = qcow2_amend_opts,
    .create = qcow2_create,
    .amend = qcow2_amend,
    .measure = qcow2_measure,
    .info = qcow2_info,
    .specific = qcow2_specific,
    .check = qcow2_check,
    .change_backing = qcow2_change_backing,
    .make_empty = qcow2_make_empty,
    .snapshot_list = qcow2_snapshot_list,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_goto = qcow2_snapshot_goto,
    .snapshot_delete = qcow2_snapshot_delete,
    .snapshot_load = qcow2_snapshot_load,
    .vmstate_pread = qcow2_vmstate_pread,
    .vmstate_pwrite = qcow2_vmstate_pwrite,
    .bitmap_can_store = qcow2_bitmap_can_store,
    .bitmap_store = qcow2_bitmaps_store,
};
