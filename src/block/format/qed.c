/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qed.c - QEMU enhanced disks (QEMU's docs/interop/qed_spec.txt).
 *
 * Little-endian header: 0 "QED\0", 4 cluster size, 8 table size and 12 header size in clusters, 16
 * features, 24 compatible and 32 autoclear features, 40 L1 offset, 48 image size, 56 offset and 60
 * length of the backing file's name. L1 and L2 entries are offsets; 0 is unallocated, 1 a zero
 * cluster. While blocks are allocated the header says "needs check".
 */
#include "block/format/table.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/keyval.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FEATURE_BACKING    1ull
#define FEATURE_NEED_CHECK 2ull
#define FEATURE_RAW        4ull /* the backing file is raw */

enum { HEADER = 64, MAX_NAME = 1023, DEFAULT_TABLE = 4, ZERO_CLUSTER = 1 };

struct qed {
    struct table_node t;
    uint8_t header[HEADER];
    uint64_t cluster;
    uint64_t table_bytes;
    uint64_t n;  /* entries of a table */
    uint8_t *l1; /* owned, as on disk */
    uint8_t *l2; /* owned: the table last used */
    uint64_t l2_off;
    uint64_t features;
};

static int qed_probe(const uint8_t *head, size_t len, const char *filename)
{
    (void)filename;
    return len >= HEADER && memcmp(head, "QED\0", 4) == 0 ? 100 : 0;
}

static int put_features(struct qed *q, uint64_t features)
{
    q->features = features;
    le64_put(q->header + 16, features);
    return block_pwrite_sync(q->t.node.file, q->header, HEADER, 0);
}

static int load_l2(struct qed *q, uint64_t off)
{
    int r = 0;

    if (off % q->cluster != 0 || off == 0) {
        return -EINVAL;
    }
    if (off != q->l2_off) {
        q->l2_off = 0;
        r = block_pread(q->t.node.file, q->l2, q->table_bytes, off);
        q->l2_off = r == 0 ? off : 0;
    }
    return r;
}

static int lookup(struct table_node *t, uint64_t off, struct table_entry *ret)
{
    struct qed *q = (struct qed *)t;
    uint64_t i = off / q->cluster;
    uint64_t table = i / q->n < q->n ? le64_get(q->l1 + i / q->n * 8) : 0;
    uint64_t e = 0;

    ret->start = i * q->cluster;
    ret->len = min_u64(q->cluster, round_up_u64(t->size, BLOCK_SECTOR) - ret->start);
    if (table != 0) {
        int r = load_l2(q, table);

        if (r < 0) {
            return r;
        }
        e = le64_get(q->l2 + i % q->n * 8);
    }
    if (e > ZERO_CLUSTER && e % q->cluster != 0) {
        return -EINVAL;
    }
    ret->kind = e == 0 ? TABLE_NONE : e == ZERO_CLUSTER ? TABLE_ZERO : TABLE_DATA;
    ret->host = e;
    return 0;
}

static int mark(struct qed *q)
{
    return (q->features & FEATURE_NEED_CHECK) != 0
               ? 0
               : put_features(q, q->features | FEATURE_NEED_CHECK);
}

static int alloc(struct table_node *t, struct table_entry *ret, bool *ret_zero)
{
    struct qed *q = (struct qed *)t;
    int r = mark(q);

    *ret_zero = true;
    return r == 0 ? table_append(t, q->cluster, &ret->host) : r;
}

static int put_entry(struct qed *q, uint64_t i, uint64_t value)
{
    uint64_t table = le64_get(q->l1 + i / q->n * 8);
    uint64_t k = i % q->n;
    int r;

    if (table != 0) {
        r = load_l2(q, table);
        if (r == 0) {
            le64_put(q->l2 + k * 8, value);
            r = block_pwrite(q->t.node.file, q->l2 + k * 8, 8, table + k * 8);
        }
        return r;
    }
    r = table_append(&q->t, q->table_bytes, &table);
    if (r < 0) {
        return r;
    }
    memset(q->l2, 0, q->table_bytes);
    le64_put(q->l2 + k * 8, value);
    r = block_pwrite(q->t.node.file, q->l2, q->table_bytes, table);
    q->l2_off = r == 0 ? table : 0;
    if (r == 0 && !q->t.node.no_flush) {
        r = block_flush(q->t.node.file);
    }
    if (r == 0) {
        le64_put(q->l1 + i / q->n * 8, table);
        r = block_pwrite(q->t.node.file, q->l1 + i / q->n * 8, 8,
                         le64_get(q->header + 40) + i / q->n * 8);
    }
    return r;
}

static int link_block(struct table_node *t, const struct table_entry *e)
{
    struct qed *q = (struct qed *)t;

    return put_entry(q, e->start / q->cluster, e->host);
}

/* Only of clusters without a place: one that has is a leak then. */
static int zero(struct table_node *t, const struct table_entry *e, bool unmap)
{
    struct qed *q = (struct qed *)t;
    int r;

    (void)unmap;
    if (e->kind == TABLE_DATA) {
        return -ENOTSUP;
    }
    r = mark(q);
    return r == 0 ? put_entry(q, e->start / q->cluster, ZERO_CLUSTER) : r;
}

static const struct table_ops ops = {
    .lookup = lookup, .alloc = alloc, .link = link_block, .zero = zero
};

static bool is_power(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

static int check_header(struct qed *q, struct err **err)
{
    const uint8_t *h = q->header;
    uint32_t table = le32_get(h + 8);

    if (memcmp(h, "QED\0", 4) != 0) {
        return err_set(err, EINVAL, "Image not in QED format");
    }
    q->cluster = le32_get(h + 4);
    q->features = le64_get(h + 16);
    q->t.size = le64_get(h + 48);
    if ((q->features & ~7ull) != 0) {
        return err_set(err, ENOTSUP, "Unsupported QED features: %llx",
                       (unsigned long long)(q->features & ~7ull));
    }
    if (!is_power(q->cluster) || q->cluster < 4096 || q->cluster > 64 << 20) {
        return err_set(err, EINVAL,
                       "QED cluster size must be within range [4096, 67108864] and power of 2");
    }
    if (!is_power(table) || table > 16) {
        return err_set(err, EINVAL, "QED table size must be within range [1, 16] and power of 2");
    }
    q->table_bytes = q->cluster * table;
    q->n = q->table_bytes / 8;
    if (q->table_bytes > 64 << 20 || q->t.size > BLOCK_MAX_LENGTH ||
        q->t.size % BLOCK_SECTOR != 0 || q->t.size / q->cluster / q->n >= q->n ||
        le64_get(h + 40) % q->cluster != 0 || le64_get(h + 40) == 0) {
        return err_set(
            err, EINVAL,
            "QED image size must be a non-zero multiple of cluster size and less than its tables address");
    }
    return 0;
}

static int read_backing_name(struct qed *q, struct err **err)
{
    uint32_t off = le32_get(q->header + 56);
    uint32_t len = le32_get(q->header + 60);
    struct block_node *node = &q->t.node;

    if ((q->features & FEATURE_BACKING) == 0) {
        return 0;
    }
    if (len > MAX_NAME || (uint64_t)off + len > q->cluster * le32_get(q->header + 12)) {
        return err_set(err, EINVAL, "Backing file name too long");
    }
    node->backing_file = calloc(1, len + 1ull);
    if ((q->features & FEATURE_RAW) != 0) {
        node->backing_fmt = strdup("raw");
    }
    return node->backing_file != NULL ? block_pread(node->file, node->backing_file, len, off)
                                      : -ENOMEM;
}

static int qed_check(struct block_node *node, struct block_check *check, struct err **err);

static int qed_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct qed *q = (struct qed *)node;
    int64_t len;
    int r = block_open_file_child(node, opts, err);

    if (r == 0) {
        r = block_pread(node->file, q->header, HEADER, 0);
    }
    if (r == 0) {
        r = check_header(q, err);
    }
    if (r == 0) {
        r = read_backing_name(q, err);
    }
    if (r == 0) {
        r = table_read_all(node->file, le64_get(q->header + 40), q->n, 8, 64 << 20, &q->l1, err);
    }
    if (r < 0) {
        return r;
    }
    q->l2 = malloc(q->table_bytes);
    len = block_length(node->file);
    if (q->l2 == NULL || len < 0) {
        return -ENOMEM;
    }
    q->t.space.end = round_up_u64((uint64_t)len, q->cluster);
    table_init(&q->t, &ops);
    if ((q->features & FEATURE_NEED_CHECK) != 0 && !node->read_only && !node->for_check) {
        struct block_check check = { .fix = BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS };

        r = qed_check(node, &check, err);
    }
    return r == 0 ? block_open_backing(node, opts, err) : r;
}

static void qed_close(struct block_node *node)
{
    struct qed *q = (struct qed *)node;

    table_trim(&q->t);
    if (q->l2 != NULL && (q->features & FEATURE_NEED_CHECK) != 0 && !node->read_only &&
        !node->for_check) {
        (void)!block_flush(node->file);
        (void)!put_features(q, q->features & ~FEATURE_NEED_CHECK);
    }
    table_done(&q->t);
    free(q->l1);
    free(q->l2);
}

/* One cluster in use; false when it cannot be. */
static bool use(uint8_t *used, uint64_t n, uint64_t i)
{
    bool fine = i < n && used[i] == 0;

    if (i < n) {
        used[i] = 1;
    }
    return fine;
}

static int check_l2(struct qed *q, struct block_check *check, uint8_t *used, uint64_t n,
                    uint64_t table)
{
    bool fix = (check->fix & BLOCK_FIX_ERRORS) != 0;
    uint64_t prev = 0;
    int r = load_l2(q, table);

    for (uint64_t k = 0; r == 0 && k < q->n; k++) {
        uint64_t e = le64_get(q->l2 + k * 8);

        if (e <= ZERO_CLUSTER) {
            continue;
        }
        check->allocated_clusters++;
        check->fragmented_clusters += prev != 0 && prev + q->cluster != e;
        prev = e;
        if (e % q->cluster != 0 || e / q->cluster >= n) {
            if (fix) {
                le64_put(q->l2 + k * 8, 0);
                r = block_pwrite(q->t.node.file, q->l2 + k * 8, 8, table + k * 8);
                check->corruptions_fixed++;
            } else {
                check->corruptions++;
            }
        } else if (!use(used, n, e / q->cluster)) {
            check->corruptions++;
        }
    }
    return r;
}

static int qed_check(struct block_node *node, struct block_check *check, struct err **err)
{
    struct qed *q = (struct qed *)node;
    int64_t len = block_length(node->file);
    uint64_t n = len > 0 ? ((uint64_t)len + q->cluster - 1) / q->cluster : 0;
    AUTO_FREE uint8_t *used = calloc(1, n + 1);
    uint64_t first = le64_get(q->header + 40) / q->cluster;
    int r = used != NULL ? 0 : -ENOMEM;

    check->total_clusters = (q->t.size + q->cluster - 1) / q->cluster;
    for (uint64_t i = 0; r == 0 && i < le32_get(q->header + 12); i++) {
        (void)use(used, n, i);
    }
    for (uint64_t i = 0; r == 0 && i < q->table_bytes / q->cluster; i++) {
        (void)use(used, n, first + i);
    }
    for (uint64_t i = 0; r == 0 && i < q->n; i++) {
        uint64_t table = le64_get(q->l1 + i * 8);
        bool fine =
            table % q->cluster == 0 && table / q->cluster + q->table_bytes / q->cluster <= n;

        if (table == 0) {
            continue;
        }
        for (uint64_t k = 0; fine && k < q->table_bytes / q->cluster; k++) {
            fine = use(used, n, table / q->cluster + k);
        }
        if (fine) {
            r = check_l2(q, check, used, n, table);
        } else if ((check->fix & BLOCK_FIX_ERRORS) != 0) {
            le64_put(q->l1 + i * 8, 0);
            r = block_pwrite(node->file, q->l1 + i * 8, 8, first * q->cluster + i * 8);
            check->corruptions_fixed++;
        } else {
            check->corruptions++;
        }
    }
    for (uint64_t i = 0; r == 0 && i < n; i++) {
        check->leaks += used[i] == 0;
    }
    if (r == 0 && check->fix != 0 && check->corruptions == 0 &&
        (q->features & FEATURE_NEED_CHECK) != 0) {
        r = put_features(q, q->features & ~FEATURE_NEED_CHECK);
    }
    return r < 0 ? err_set(err, -r, "the check failed: %s", strerror(-r)) : 0;
}

static int qed_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                        struct err **err)
{
    struct qed *q = (struct qed *)node;
    int r;

    if (prealloc != BLOCK_PREALLOC_OFF) {
        return err_set(err, ENOTSUP, "Unsupported preallocation mode");
    }
    if (len < q->t.size) {
        return err_set(err, ENOTSUP, "Shrinking images is currently not supported");
    }
    if (len % BLOCK_SECTOR != 0 || len / q->cluster / q->n >= q->n) {
        return err_set(err, EINVAL, "Invalid image size specified");
    }
    (void)pthread_mutex_lock(&q->t.lock);
    le64_put(q->header + 48, len);
    r = block_pwrite_sync(node->file, q->header, HEADER, 0);
    q->t.size = r == 0 ? len : q->t.size;
    (void)pthread_mutex_unlock(&q->t.lock);
    return r;
}

static int qed_change_backing(struct block_node *node, const char *file, const char *fmt,
                              struct err **err)
{
    struct qed *q = (struct qed *)node;
    size_t len = file != NULL ? strlen(file) : 0;
    AUTO_FREE uint8_t *raw = NULL;
    uint64_t features = q->features & ~(FEATURE_BACKING | FEATURE_RAW);

    if (len > MAX_NAME || HEADER + len > q->cluster * le32_get(q->header + 12)) {
        return err_set(err, ENAMETOOLONG, "the backing file's name is too long");
    }
    raw = calloc(1, HEADER + len);
    if (raw == NULL) {
        return -ENOMEM;
    }
    if (file != NULL) {
        features |= FEATURE_BACKING | (fmt != NULL && str_eq(fmt, "raw") ? FEATURE_RAW : 0);
        memcpy(raw + HEADER, file, len);
    }
    q->features = features;
    le64_put(q->header + 16, features);
    le32_put(q->header + 56, file != NULL ? HEADER : 0);
    le32_put(q->header + 60, (uint32_t)len);
    memcpy(raw, q->header, HEADER);
    return block_pwrite_sync(node->file, raw, HEADER + len, 0);
}

static void qed_info(struct block_node *node, struct block_info *ret)
{
    struct qed *q = (struct qed *)node;

    ret->cluster_size = q->cluster;
    ret->has_dirty = true;
    ret->dirty = (q->features & FEATURE_NEED_CHECK) != 0;
}

static const struct block_opt create_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { "backing_file", BLOCK_OPT_STR, "File name of a base image", NULL },
    { "backing_fmt", BLOCK_OPT_STR, "Image format of the base image", NULL },
    { "cluster_size", BLOCK_OPT_SIZE, "Cluster size (in bytes)", "65536" },
    { "table_size", BLOCK_OPT_SIZE, "L1/L2 table size (in clusters)", NULL },
    { 0 },
};

static int qed_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                      struct keyval *opts, struct err **err)
{
    const char *backing = keyval_get(opts, "backing_file");
    const char *fmt = keyval_get(opts, "backing_fmt");
    unsigned long long size = 0;
    unsigned long long cluster = 65536;
    unsigned long long table = DEFAULT_TABLE;
    struct qed q = { 0 };
    size_t len = backing != NULL ? strlen(backing) : 0;
    AUTO_FREE uint8_t *raw = NULL;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    (void)ctx;
    (void)filename;
    if (r == 0) {
        r = keyval_get_size(opts, "cluster_size", cluster, &cluster, err);
    }
    if (r == 0) {
        r = keyval_get_size(opts, "table_size", table, &table, err);
    }
    if (r < 0) {
        return r;
    }
    size = round_up_u64(size, BLOCK_SECTOR);
    table = table == 0 ? DEFAULT_TABLE : table;
    memcpy(q.header, "QED\0", 4);
    le32_put(q.header + 4, (uint32_t)min_u64(cluster, UINT32_MAX));
    le32_put(q.header + 8, (uint32_t)min_u64(table, UINT32_MAX));
    le32_put(q.header + 12, 1);
    le64_put(q.header + 40, cluster);
    le64_put(q.header + 48, size);
    if (backing != NULL) {
        le64_put(q.header + 16,
                 FEATURE_BACKING | (fmt != NULL && str_eq(fmt, "raw") ? FEATURE_RAW : 0));
        le32_put(q.header + 56, HEADER);
        le32_put(q.header + 60, (uint32_t)len);
    }
    r = check_header(&q, err);
    if (r == 0 && (len > MAX_NAME || HEADER + len > cluster)) {
        r = err_set(err, EINVAL, "Backing file name too long");
    }
    raw = r == 0 ? calloc(1, cluster + q.table_bytes) : NULL;
    if (raw == NULL) {
        return r < 0 ? r : -ENOMEM;
    }
    memcpy(raw, q.header, HEADER);
    if (backing != NULL) {
        memcpy(raw + HEADER, backing, len);
    }
    return block_pwrite(file, raw, cluster + q.table_bytes, 0);
}

const struct block_driver block_qed = {
    .name = "qed",
    .supports_backing = true,
    .size = sizeof(struct qed),
    .probe = qed_probe,
    .open = qed_open,
    .close = qed_close,
    .length = table_length,
    .preadv = table_preadv,
    .pwritev = table_pwritev,
    .write_zeroes = table_write_zeroes,
    .flush = table_flush,
    .truncate = qed_truncate,
    .status = table_status,
    .create_opts = create_opts,
    .create = qed_create,
    .info = qed_info,
    .check = qed_check,
    .change_backing = qed_change_backing,
};
