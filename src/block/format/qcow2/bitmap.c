/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bitmap.c - dirty bitmaps kept in the image (qcow2, Bitmaps).
 *
 * Directory entry: 0 table offset, 8 table entries, 12 flags, 16 type, 17 granularity bits, 18 name
 * length, 20 length of extra data, then that, the name, padding to 8. A table entry is the offset
 * of a cluster of bits (least significant first), or 0 (all clear) or 1 (all set).
 *
 * While the image is open for writing all bitmaps on disk are flagged "in use", so that whoever
 * finds them after a crash knows that they miss writes; close stores them anew.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/str.h"
#include "codec/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FLAG_IN_USE = 1 << 0,
    FLAG_AUTO = 1 << 1,
    FLAG_EXTRA_COMPATIBLE = 1 << 2,
    TYPE_DIRTY = 1,
    ENTRY_BYTES = 24,
    MIN_GRANULARITY_BITS = 9,
    MAX_GRANULARITY_BITS = 31,
};

/* Bits of one bitmap, on disk and in memory: 1 GiB of them would be 512 TiB at 64 KiB. */
#define MAX_BITMAP_BYTES (512ull << 20)

void qcow2_bitmaps_done(struct qcow2 *q)
{
    for (unsigned i = 0; i < q->n_stored; i++) {
        free(q->stored[i].name);
    }
    free(q->stored);
    q->stored = NULL;
    q->n_stored = 0;
}

static int parse_entry(const uint8_t *dir, uint64_t left, struct qcow2_stored *ret,
                       uint64_t *ret_len, struct err **err)
{
    uint64_t len;
    uint16_t name_len;
    uint32_t extra;

    if (left < ENTRY_BYTES) {
        return err_set(err, EINVAL, "Broken bitmap directory");
    }
    name_len = be16_get(dir + 18);
    extra = be32_get(dir + 20);
    len = round_up_u64(ENTRY_BYTES + (uint64_t)extra + name_len, 8);
    if (len > left || name_len == 0 || name_len > BLOCK_BITMAP_NAME_MAX) {
        return err_set(err, EINVAL, "Broken bitmap directory");
    }
    ret->table_offset = be64_get(dir);
    ret->table_size = be32_get(dir + 8);
    ret->flags = be32_get(dir + 12);
    ret->granularity_bits = dir[17];
    if (dir[16] != TYPE_DIRTY || ret->granularity_bits < MIN_GRANULARITY_BITS ||
        ret->granularity_bits > MAX_GRANULARITY_BITS || extra != 0 ||
        (ret->flags & ~(uint32_t)(FLAG_IN_USE | FLAG_AUTO | FLAG_EXTRA_COMPATIBLE)) != 0) {
        return err_set(err, ENOTSUP, "A bitmap of the image has unknown features");
    }
    ret->name = strndup((const char *)dir + ENTRY_BYTES, name_len);
    *ret_len = len;
    return ret->name != NULL ? 0 : -ENOMEM;
}

static int read_directory(struct qcow2 *q, struct err **err)
{
    AUTO_FREE uint8_t *dir = NULL;
    int64_t file_len = block_length(q->node.file);
    uint64_t at = 0;
    int r;

    if (q->n_bitmaps == 0 || q->stored != NULL) {
        return 0;
    }
    if (file_len < 0 || !range_within(q->bitmap_dir_offset, q->bitmap_dir_size,
                                      round_up_u64((uint64_t)file_len, q->cluster_size))) {
        return err_set(err, EINVAL, "The bitmap directory lies behind the end of the file");
    }
    dir = malloc(q->bitmap_dir_size);
    q->stored = calloc(q->n_bitmaps, sizeof(*q->stored));
    if (dir == NULL || q->stored == NULL) {
        return -ENOMEM;
    }
    r = block_pread(q->node.file, dir, q->bitmap_dir_size, q->bitmap_dir_offset);
    for (uint32_t i = 0; r == 0 && i < q->n_bitmaps; i++) {
        uint64_t len = 0;

        r = parse_entry(dir + at, q->bitmap_dir_size - at, &q->stored[i], &len, err);
        q->n_stored += r == 0;
        at += len;
    }
    return r < 0 ? err_set(err, -r, "Could not read the bitmap directory: %s", strerror(-r)) : 0;
}

static int read_table(struct qcow2 *q, const struct qcow2_stored *s, uint64_t **ret)
{
    int64_t file_len = block_length(q->node.file);

    if (s->table_size > MAX_BITMAP_BYTES / q->cluster_size + 1 ||
        (s->table_offset & (q->cluster_size - 1)) != 0 || file_len < 0 ||
        s->table_offset >= (uint64_t)file_len) {
        return -EINVAL;
    }
    return qcow2_read_l1(q, s->table_offset, s->table_size, ret);
}

static int load_bits(struct qcow2 *q, const struct qcow2_stored *s, struct block_bitmap *bm)
{
    AUTO_FREE uint64_t *table = NULL;
    uint64_t bytes = (bm->n_bits + 7) / 8;
    int r = read_table(q, s, &table);

    if (r == 0 && s->table_size != qcow2_clusters(q, bytes)) {
        return -EINVAL;
    }
    for (uint32_t i = 0; r == 0 && i < s->table_size; i++) {
        uint64_t at = (uint64_t)i << q->cluster_bits;
        uint64_t part = min_u64(q->cluster_size, bytes - at);
        uint64_t off = table[i] & QCOW2_OFFSET_MASK;

        if (off == 0) {
            memset((uint8_t *)bm->bits + at, (table[i] & 1) != 0 ? 0xff : 0, part);
        } else {
            r = block_pread(q->node.file, (uint8_t *)bm->bits + at, part, off);
        }
    }
    /* Bits behind the end count for nothing. */
    if (bm->n_bits % 64 != 0) {
        bm->bits[bm->n_bits / 64] &= (1ull << bm->n_bits % 64) - 1;
    } else {
        bm->bits[bm->n_bits / 64] = 0;
    }
    bm->count = 0;
    for (uint64_t i = 0; i <= bm->n_bits / 64; i++) {
        bm->count += (uint64_t)__builtin_popcountll(bm->bits[i]);
    }
    return r;
}

static int mark_in_use(struct qcow2 *q)
{
    AUTO_FREE uint8_t *dir = malloc(q->bitmap_dir_size);
    uint64_t at = 0;
    int r = dir != NULL ? block_pread(q->node.file, dir, q->bitmap_dir_size, q->bitmap_dir_offset)
                        : -ENOMEM;

    for (uint32_t i = 0; r == 0 && i < q->n_stored; i++) {
        be32_put(dir + at + 12, be32_get(dir + at + 12) | FLAG_IN_USE);
        at += round_up_u64(ENTRY_BYTES + be16_get(dir + at + 18), 8);
    }
    return r == 0 ? block_pwrite_sync(q->node.file, dir, q->bitmap_dir_size, q->bitmap_dir_offset)
                  : r;
}

int qcow2_bitmaps_load(struct qcow2 *q, struct err **err)
{
    int r = 0;

    if (q->node.for_check || q->node.no_io) {
        return 0;
    }
    r = read_directory(q, err);
    for (uint32_t i = 0; r == 0 && i < q->n_stored; i++) {
        struct qcow2_stored *s = &q->stored[i];
        struct block_bitmap *bm;

        if ((q->size >> s->granularity_bits) / 8 > MAX_BITMAP_BYTES) {
            return err_set(err, EFBIG, "bitmap '%s' is too large", s->name);
        }
        r = block_bitmap_add(&q->node, s->name, 1u << s->granularity_bits, &bm, err);
        if (r < 0) {
            break;
        }
        bm->persistent = true;
        bm->inconsistent = (s->flags & FLAG_IN_USE) != 0;
        bm->enabled = (s->flags & FLAG_AUTO) != 0 && !bm->inconsistent;
        if (!bm->inconsistent) {
            r = load_bits(q, s, bm);
            if (r < 0) {
                return err_set(err, -r, "Could not read bitmap '%s': %s", s->name, strerror(-r));
            }
        }
    }
    if (r == 0 && q->n_stored > 0 && !q->node.read_only) {
        r = mark_in_use(q);
    }
    return r;
}

/* Gives back what a stored bitmap takes. */
static void free_stored(struct qcow2 *q, const struct qcow2_stored *s)
{
    AUTO_FREE uint64_t *table = NULL;

    if (read_table(q, s, &table) < 0) {
        return; /* leaks what cannot be read */
    }
    for (uint32_t i = 0; i < s->table_size; i++) {
        if ((table[i] & QCOW2_OFFSET_MASK) != 0) {
            qcow2_free_now(q, table[i] & QCOW2_OFFSET_MASK, q->cluster_size);
        }
    }
    qcow2_free_now(q, s->table_offset, (uint64_t)s->table_size * 8);
}

static int store_bits(struct qcow2 *q, struct block_bitmap *bm, struct qcow2_stored *s)
{
    uint64_t bytes = (bm->n_bits + 7) / 8;
    uint32_t n = (uint32_t)qcow2_clusters(q, bytes);
    AUTO_FREE uint8_t *table = calloc(n + 1, 8);
    AUTO_FREE uint8_t *cluster = malloc(q->cluster_size);
    int64_t off;
    int r = table != NULL && cluster != NULL ? 0 : -ENOMEM;

    for (uint32_t i = 0; r == 0 && i < n; i++) {
        uint64_t at = (uint64_t)i << q->cluster_bits;
        uint64_t part = min_u64(q->cluster_size, bytes - at);
        bool any = false;

        memset(cluster, 0, q->cluster_size);
        memcpy(cluster, (uint8_t *)bm->bits + at, part);
        for (uint64_t k = 0; k < part && !any; k++) {
            any = cluster[k] != 0;
        }
        if (any) {
            off = qcow2_alloc(q, q->cluster_size);
            r = off < 0 ? (int)off
                        : block_pwrite(q->node.file, cluster, q->cluster_size, (uint64_t)off);
            be64_put(table + (size_t)i * 8, (uint64_t)off);
        }
    }
    if (r < 0) {
        return r;
    }
    off = qcow2_alloc(q, max_u64((uint64_t)n * 8, 1));
    if (off < 0) {
        return (int)off;
    }
    *s = (struct qcow2_stored) { .table_offset = (uint64_t)off,
                                 .table_size = n,
                                 .flags = bm->enabled ? FLAG_AUTO : 0,
                                 .granularity_bits = (uint8_t)__builtin_ctz(bm->granularity) };
    s->name = strdup(bm->name);
    return s->name != NULL ? block_pwrite(q->node.file, table, (size_t)n * 8, (uint64_t)off)
                           : -ENOMEM;
}

static struct qcow2_stored *find_stored(struct qcow2 *q, const char *name)
{
    for (unsigned i = 0; i < q->n_stored; i++) {
        if (q->stored[i].name != NULL && str_eq(q->stored[i].name, name)) {
            return &q->stored[i];
        }
    }
    return NULL;
}

static int write_directory(struct qcow2 *q, const struct qcow2_stored *list, unsigned n)
{
    AUTO_FREE uint8_t *dir = NULL;
    uint64_t bytes = 0;
    uint64_t at = 0;
    int64_t off;
    int r;

    for (unsigned i = 0; i < n; i++) {
        bytes += round_up_u64(ENTRY_BYTES + strlen(list[i].name), 8);
    }
    q->n_bitmaps = n;
    q->bitmap_dir_size = bytes;
    q->bitmap_dir_offset = 0;
    if (n == 0) {
        q->autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
        return 0;
    }
    dir = calloc(1, bytes);
    off = dir != NULL ? qcow2_alloc(q, bytes) : -ENOMEM;
    if (off < 0) {
        return (int)off;
    }
    for (unsigned i = 0; i < n; i++) {
        size_t len = strlen(list[i].name);

        be64_put(dir + at, list[i].table_offset);
        be32_put(dir + at + 8, list[i].table_size);
        be32_put(dir + at + 12, list[i].flags);
        dir[at + 16] = TYPE_DIRTY;
        dir[at + 17] = list[i].granularity_bits;
        be16_put(dir + at + 18, (uint16_t)len);
        memcpy(dir + at + ENTRY_BYTES, list[i].name, len);
        at += round_up_u64(ENTRY_BYTES + len, 8);
    }
    r = block_pwrite(q->node.file, dir, bytes, (uint64_t)off);
    q->bitmap_dir_offset = (uint64_t)off;
    q->autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
    return r;
}

static int store_all(struct qcow2 *q, struct err **err)
{
    struct qcow2_stored *new = NULL;
    uint64_t old_dir = q->bitmap_dir_offset;
    uint64_t old_size = q->bitmap_dir_size;
    unsigned n = 0;
    unsigned max = 0;
    int r = 0;

    LIST_FOREACH (&q->node.bitmaps, it) {
        max++;
    }
    new = calloc(max + 1, sizeof(*new));
    if (new == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH (&q->node.bitmaps, it) {
        struct block_bitmap *bm = CONTAINER_OF(it, struct block_bitmap, link);
        struct qcow2_stored *old = bm->name != NULL ? find_stored(q, bm->name) : NULL;

        if (r < 0 || !bm->persistent) {
            continue;
        }
        if (bm->inconsistent && old != NULL) {
            new[n++] = *old;
            old->name = NULL; /* stays as it is on disk */
        } else if (!bm->inconsistent) {
            r = store_bits(q, bm, &new[n++]);
        }
    }
    if (r == 0) {
        r = write_directory(q, new, n);
    }
    for (int i = 0; r == 0 && i < 2; i++) {
        r = qcow2_write_tables(q);
    }
    if (r == 0) {
        r = qcow2_barrier(q);
    }
    if (r == 0) {
        r = qcow2_write_header(q);
    }
    if (r == 0) {
        r = qcow2_barrier(q);
    }
    if (r == 0) {
        for (unsigned i = 0; i < q->n_stored; i++) {
            if (q->stored[i].name != NULL) {
                free_stored(q, &q->stored[i]);
            }
        }
        if (old_size > 0) {
            qcow2_free_now(q, old_dir, old_size);
        }
    }
    qcow2_bitmaps_done(q);
    q->stored = new;
    q->n_stored = n;
    return r < 0 ? err_set(err, -r, "Could not store the bitmaps: %s", strerror(-r)) : 0;
}

int qcow2_bitmaps_store(struct block_node *node, struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    bool any = q->n_stored > 0;
    int r;

    if (node->read_only || node->for_check || node->no_io) {
        return 0;
    }
    LIST_FOREACH (&node->bitmaps, it) {
        any |= CONTAINER_OF(it, struct block_bitmap, link)->persistent;
    }
    if (!any) {
        return 0;
    }
    (void)pthread_mutex_lock(&q->lock);
    r = store_all(q, err);
    (void)pthread_mutex_unlock(&q->lock);
    return r;
}

int qcow2_bitmap_can_store(struct block_node *node, const char *name, uint64_t granularity,
                           struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    unsigned n = 0;

    if (q->version < 3) {
        return err_set(err, ENOTSUP, "Cannot store dirty bitmaps in qcow2 v2 files");
    }
    LIST_FOREACH (&node->bitmaps, it) {
        n += CONTAINER_OF(it, struct block_bitmap, link)->persistent;
    }
    if (n >= QCOW2_MAX_BITMAPS) {
        return err_set(err, EOVERFLOW, "Maximum number of persistent bitmaps is already reached");
    }
    if (strlen(name) > BLOCK_BITMAP_NAME_MAX || granularity < 512 ||
        granularity > 1ull << MAX_GRANULARITY_BITS ||
        q->size / granularity / 8 > MAX_BITMAP_BYTES) {
        return err_set(err, EINVAL,
                       "Bitmap '%s' doesn't satisfy the constraints of a persistent bitmap", name);
    }
    return 0;
}

struct json_object *qcow2_bitmaps_info(struct qcow2 *q)
{
    struct json_object *array;

    if (read_directory(q, NULL) < 0 || q->n_stored == 0) {
        return NULL;
    }
    array = json_object_new_array();
    for (unsigned i = 0; i < q->n_stored; i++) {
        struct json_object *o = json_object_new_object();
        struct json_object *flags = json_object_new_array();

        if ((q->stored[i].flags & FLAG_IN_USE) != 0) {
            json_object_array_add(flags, json_object_new_string("in-use"));
        }
        if ((q->stored[i].flags & FLAG_AUTO) != 0) {
            json_object_array_add(flags, json_object_new_string("auto"));
        }
        (void)json_add(o, "flags", flags);
        (void)json_add_str(o, "name", q->stored[i].name);
        (void)json_add_u64(o, "granularity", 1ull << q->stored[i].granularity_bits);
        json_object_array_add(array, o);
    }
    return array;
}

int qcow2_bitmaps_walk(struct qcow2 *q, int (*fn)(void *arg, uint64_t off, uint64_t len), void *arg)
{
    int r;

    if (q->n_bitmaps == 0) {
        return 0;
    }
    r = read_directory(q, NULL);
    if (r == 0) {
        r = fn(arg, q->bitmap_dir_offset, q->bitmap_dir_size);
    }
    for (unsigned i = 0; r == 0 && i < q->n_stored; i++) {
        AUTO_FREE uint64_t *table = NULL;

        r = read_table(q, &q->stored[i], &table);
        if (r == 0) {
            r = fn(arg, q->stored[i].table_offset, (uint64_t)q->stored[i].table_size * 8);
        }
        for (uint32_t k = 0; r == 0 && k < q->stored[i].table_size; k++) {
            if ((table[k] & QCOW2_OFFSET_MASK) != 0) {
                r = fn(arg, table[k] & QCOW2_OFFSET_MASK, q->cluster_size);
            }
        }
    }
    return r;
}
