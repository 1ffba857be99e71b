/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * refcount.c - which host clusters are used, and how often (qcow2, Host cluster management).
 *
 * A table of refcount blocks. A block may count itself; that is how the first one of a new area
 * comes to be. When the table is full, a larger one is made together with the blocks that count
 * it, at the end of what the old one could address.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

unsigned qcow2_block_get(const struct qcow2 *q, const uint8_t *block, uint64_t i, uint64_t *ret)
{
    switch (q->refcount_order) {
    case 0:
    case 1:
    case 2: {
        unsigned bits = 1u << q->refcount_order;
        unsigned per = 8 / bits;

        *ret = block[i / per] >> (i % per * bits) & ((1u << bits) - 1);
        break;
    }
    case 3:
        *ret = block[i];
        break;
    case 4:
        *ret = be16_get(block + i * 2);
        break;
    case 5:
        *ret = be32_get(block + i * 4);
        break;
    default:
        *ret = be64_get(block + i * 8);
        break;
    }
    return 0;
}

void qcow2_block_put(const struct qcow2 *q, uint8_t *block, uint64_t i, uint64_t value)
{
    switch (q->refcount_order) {
    case 0:
    case 1:
    case 2: {
        unsigned bits = 1u << q->refcount_order;
        unsigned per = 8 / bits;
        unsigned shift = (unsigned)(i % per * bits);

        block[i / per] =
            (uint8_t)((block[i / per] & ~(((1u << bits) - 1) << shift)) | value << shift);
        break;
    }
    case 3:
        block[i] = (uint8_t)value;
        break;
    case 4:
        be16_put(block + i * 2, (uint16_t)value);
        break;
    case 5:
        be32_put(block + i * 4, (uint32_t)value);
        break;
    default:
        be64_put(block + i * 8, value);
        break;
    }
}

/* Where the refcount of a cluster lies: its slice and place in it. */
static int locate(struct qcow2 *q, uint64_t index, struct qcow2_slice **ret, uint64_t *ret_i)
{
    uint64_t block = q->rt[index >> q->block_bits] & QCOW2_OFFSET_MASK;
    uint64_t i = index & ((1ull << q->block_bits) - 1);
    unsigned per_slice_bits = 0;
    uint64_t per_slice;
    int r;

    if ((block & (q->cluster_size - 1)) != 0) {
        return qcow2_corrupt(q, "Refblock offset %#llx unaligned (reftable index: %#llx)",
                             (unsigned long long)block,
                             (unsigned long long)(index >> q->block_bits));
    }
    while ((1ull << per_slice_bits << q->refcount_order) < (uint64_t)q->slice_bytes * 8) {
        per_slice_bits++;
    }
    per_slice = 1ull << per_slice_bits;
    r = qcow2_rb_slice(q, block + (i >> per_slice_bits) * q->slice_bytes, ret);
    *ret_i = i & (per_slice - 1);
    return r;
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t index, uint64_t *ret)
{
    uint64_t t = index >> q->block_bits;
    struct qcow2_slice *s;
    uint64_t i;
    int r;

    *ret = 0;
    if (t >= q->rt_size || (q->rt[t] & QCOW2_OFFSET_MASK) == 0) {
        return 0;
    }
    r = locate(q, index, &s, &i);
    if (r == 0) {
        (void)qcow2_block_get(q, s->data, i, ret);
    }
    return r;
}

static int put_rt_entry(struct qcow2 *q, uint64_t t, uint64_t block)
{
    uint8_t raw[8];
    int r;

    be64_put(raw, block);
    r = block_pwrite(q->node.file, raw, sizeof(raw), q->rt_offset + t * 8);
    if (r == 0) {
        q->rt[t] = block;
    }
    return r;
}

/* A table with room for entry t: new table and its blocks at the end of the addressable. */
static int grow_table(struct qcow2 *q, uint64_t t)
{
    uint64_t per_block = 1ull << q->block_bits;
    uint64_t entries = max_u64(t + 1, q->rt_size + q->rt_size / 2);
    uint64_t first_block = max_u64(q->rt_size, t); /* blocks from here on are new */
    uint64_t start = first_block * per_block;      /* cluster index of the new area */
    uint64_t n_blocks = 1;
    uint64_t table_clusters;
    uint64_t area;
    uint64_t old_offset = q->rt_offset;
    uint32_t old_clusters = q->rt_clusters;
    AUTO_FREE uint64_t *rt = NULL;
    AUTO_FREE uint8_t *raw = NULL;
    uint8_t header[12];
    int r = 0;

    for (;;) {
        table_clusters = qcow2_clusters(q, max_u64(entries, first_block + n_blocks) * 8);
        area = table_clusters + n_blocks;
        if (n_blocks * per_block >= area) {
            break;
        }
        n_blocks++;
    }
    entries = table_clusters << q->cluster_bits >> 3;
    if (entries * 8 > QCOW2_MAX_REFTABLE_BYTES) {
        return -EFBIG;
    }
    rt = calloc(entries, sizeof(uint64_t));
    raw = calloc(entries, sizeof(uint64_t));
    if (rt == NULL || raw == NULL) {
        return -ENOMEM;
    }
    memcpy(rt, q->rt, q->rt_size * sizeof(uint64_t));
    /* Blocks first, then the table; they count each other. */
    for (uint64_t b = 0; r == 0 && b < n_blocks; b++) {
        AUTO_FREE uint8_t *block = calloc(1, q->cluster_size);

        if (block == NULL) {
            return -ENOMEM;
        }
        for (uint64_t i = 0; i < per_block && b * per_block + i < area; i++) {
            qcow2_block_put(q, block, i, 1);
        }
        rt[first_block + b] = (start + b) << q->cluster_bits;
        qcow2_cache_drop(q, &q->rb_cache, rt[first_block + b]);
        r = block_pwrite(q->node.file, block, q->cluster_size, rt[first_block + b]);
    }
    for (uint64_t i = 0; i < entries; i++) {
        be64_put(raw + i * 8, rt[i]);
    }
    if (r == 0) {
        r = block_pwrite(q->node.file, raw, entries * 8, (start + n_blocks) << q->cluster_bits);
    }
    if (r == 0) {
        r = qcow2_write_refcounts(q);
    }
    if (r == 0) {
        be64_put(header, (start + n_blocks) << q->cluster_bits);
        be32_put(header + 8, (uint32_t)table_clusters);
        r = block_pwrite_sync(q->node.file, header, sizeof(header), 48);
    }
    if (r < 0) {
        return r;
    }
    free(q->rt);
    q->rt = TAKE_PTR(rt);
    q->rt_size = (uint32_t)entries;
    q->rt_offset = (start + n_blocks) << q->cluster_bits;
    q->rt_clusters = (uint32_t)table_clusters;
    return qcow2_free_later(q, old_offset, (uint64_t)old_clusters << q->cluster_bits);
}

/* Makes the refcount block of that cluster; the block is in the cluster itself when that is free.
 */
static int make_block(struct qcow2 *q, uint64_t index, bool index_is_free)
{
    uint64_t t = index >> q->block_bits;
    uint64_t host = index;
    int r;

    if (t >= q->rt_size) {
        r = grow_table(q, t);
        return r == 0 ? -EAGAIN : r; /* the area is taken now: look again */
    }
    if (!index_is_free) {
        uint64_t n;
        int64_t off = qcow2_alloc_some(q, 1, &n);

        if (off < 0) {
            return (int)off;
        }
        host = (uint64_t)off >> q->cluster_bits;
        if ((q->rt[t] & QCOW2_OFFSET_MASK) != 0) {
            qcow2_free_now(q, (uint64_t)off, q->cluster_size);
            return 0; /* allocating made it */
        }
    }
    qcow2_cache_drop(q, &q->l2_cache, host << q->cluster_bits);
    r = qcow2_rb_fresh(q, host << q->cluster_bits);
    if (r == 0) {
        q->rt[t] = host << q->cluster_bits;
        if (index_is_free) {
            r = qcow2_refcount_set(q, index, 1);
        }
        if (r == 0) {
            r = qcow2_write_refcounts(q);
        }
        if (r == 0) {
            r = put_rt_entry(q, t, host << q->cluster_bits);
        }
        if (r < 0) {
            q->rt[t] = 0;
            qcow2_cache_drop(q, &q->rb_cache, host << q->cluster_bits);
        }
    }
    return r < 0 ? r : index_is_free ? -EAGAIN : 0;
}

static bool has_block(const struct qcow2 *q, uint64_t index)
{
    uint64_t t = index >> q->block_bits;

    return t < q->rt_size && (q->rt[t] & QCOW2_OFFSET_MASK) != 0;
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t index, uint64_t value)
{
    struct qcow2_slice *s;
    uint64_t i;
    int r;

    while (!has_block(q, index)) {
        r = make_block(q, index, false);
        if (r < 0 && r != -EAGAIN) {
            return r;
        }
    }
    r = locate(q, index, &s, &i);
    if (r == 0) {
        qcow2_block_put(q, s->data, i, value);
        qcow2_slice_dirty(&q->rb_cache, s);
        if (value == 0 && index < q->free_hint) {
            q->free_hint = index;
        }
    }
    return r;
}

int qcow2_refcount_add(struct qcow2 *q, uint64_t off, uint64_t len, int delta)
{
    uint64_t first = off >> q->cluster_bits;
    uint64_t last = (off + len - 1) >> q->cluster_bits;

    for (uint64_t i = first; len > 0 && i <= last; i++) {
        uint64_t count;
        int r = qcow2_refcount_get(q, i, &count);

        if (r == 0 && delta > 0 && count + (unsigned)delta > q->refcount_max) {
            r = -EINVAL;
        }
        if (r == 0 && delta < 0 && count < (unsigned)-delta) {
            r = -EINVAL;
        }
        if (r == 0) {
            r = qcow2_refcount_set(q, i, count + (uint64_t)(int64_t)delta);
        }
        if (r < 0) {
            while (i-- > first) {
                if (qcow2_refcount_get(q, i, &count) == 0) {
                    (void)!qcow2_refcount_set(q, i, count - (uint64_t)(int64_t)delta);
                }
            }
            return r;
        }
    }
    return 0;
}

int qcow2_put_dirty(struct qcow2 *q, bool dirty)
{
    uint64_t incompat =
        dirty ? q->incompat | QCOW2_INCOMPAT_DIRTY : q->incompat & ~QCOW2_INCOMPAT_DIRTY;
    uint8_t raw[8];
    int r;

    be64_put(raw, incompat);
    r = block_pwrite_sync(q->node.file, raw, sizeof(raw), 72);
    if (r == 0) {
        q->incompat = incompat;
    }
    return r;
}

int qcow2_mark_dirty(struct qcow2 *q)
{
    int r;

    if (!q->lazy || q->dirty_set || q->closing) {
        return 0;
    }
    r = qcow2_put_dirty(q, true);
    q->dirty_set = r == 0;
    return r;
}

/* The first index at or after i whose refcount is 0. */
static int next_free(struct qcow2 *q, uint64_t i, uint64_t *ret)
{
    /* Far behind the end of the file nothing can be in use; a hostile table could keep us looking.
     */
    enum { FAR = 1 << 24 };
    int64_t len = block_length(q->node.file);
    uint64_t limit = ((uint64_t)(len > 0 ? len : 0) >> q->cluster_bits) + FAR;

    for (;; i++) {
        uint64_t count;
        int r = i <= limit
                    ? qcow2_refcount_get(q, i, &count)
                    : qcow2_corrupt(q, "clusters far behind the file's end are counted as used");

        if (r < 0 || count == 0) {
            *ret = i;
            return r;
        }
    }
}

static int try_alloc(struct qcow2 *q, uint64_t max, bool exact, uint64_t *ret_first,
                     uint64_t *ret_n)
{
    uint64_t at = q->free_hint;
    uint64_t first;
    uint64_t n;
    int r;

    for (;;) {
        r = next_free(q, at, &first);
        if (r < 0) {
            return r;
        }
        if (at == q->free_hint) {
            q->free_hint = first;
        }
        for (n = 1; n < max; n++) {
            uint64_t count;

            r = qcow2_refcount_get(q, first + n, &count);
            if (r < 0) {
                return r;
            }
            if (count != 0) {
                break;
            }
        }
        if (n == max || !exact) {
            break;
        }
        at = first + n;
    }
    if (first == 0) {
        return qcow2_corrupt(q, "the header's cluster is counted as free");
    }
    /* The highest cluster that a standard entry can name. */
    if (first + n > QCOW2_OFFSET_MASK >> q->cluster_bits) {
        return -EFBIG;
    }
    /* Blocks for all of them first: making one may take a cluster of these. */
    for (uint64_t i = first; i < first + n; i++) {
        if (!has_block(q, i)) {
            r = make_block(q, i, true);
            return r == 0 ? -EAGAIN : r;
        }
        i |= (1ull << q->block_bits) - 1;
    }
    if (!has_block(q, first + n - 1)) {
        r = make_block(q, first + n - 1, true);
        return r == 0 ? -EAGAIN : r;
    }
    for (uint64_t i = 0; r == 0 && i < n; i++) {
        r = qcow2_refcount_set(q, first + i, 1);
        if (r < 0) {
            while (i-- > 0) {
                (void)!qcow2_refcount_set(q, first + i, 0);
            }
        }
    }
    if (r == 0 && first == q->free_hint) {
        q->free_hint = first + n;
    }
    *ret_first = first;
    *ret_n = n;
    return r;
}

static int64_t alloc(struct qcow2 *q, uint64_t max, bool exact, uint64_t *ret_n)
{
    uint64_t first = 0;
    int r = qcow2_mark_dirty(q);

    if (r < 0) {
        return r;
    }
    do {
        r = try_alloc(q, max, exact, &first, ret_n);
    } while (r == -EAGAIN);
    return r < 0 ? r : (int64_t)(first << q->cluster_bits);
}

int64_t qcow2_alloc(struct qcow2 *q, uint64_t bytes)
{
    uint64_t n;

    return alloc(q, max_u64(qcow2_clusters(q, bytes), 1), true, &n);
}

int64_t qcow2_alloc_some(struct qcow2 *q, uint64_t max_clusters, uint64_t *ret_n)
{
    return alloc(q, max_clusters, false, ret_n);
}

int64_t qcow2_alloc_bytes(struct qcow2 *q, uint64_t bytes)
{
    uint64_t left = q->byte_off == 0 ? 0 : q->cluster_size - (q->byte_off & (q->cluster_size - 1));
    uint64_t need = left >= bytes ? 0 : qcow2_clusters(q, bytes - left);
    uint64_t count = 0;
    int64_t more = 0;
    int64_t at;
    int r;

    if (left > 0) {
        r = qcow2_refcount_get(q, q->byte_off >> q->cluster_bits, &count);
        if (r < 0) {
            return r;
        }
    }
    /* The rest of the last cluster is of use only when the next one follows it, and may be shared.
     */
    if (left == 0 || count == 0 || count >= q->refcount_max) {
        left = 0;
        need = qcow2_clusters(q, bytes);
    }
    if (need > 0) {
        more = qcow2_alloc(q, need << q->cluster_bits);
        if (more < 0) {
            return more;
        }
        if (left > 0 && (uint64_t)more != round_up_u64(q->byte_off, q->cluster_size)) {
            left = 0;
            if (need < qcow2_clusters(q, bytes)) {
                qcow2_free_now(q, (uint64_t)more, need << q->cluster_bits);
                q->byte_off = 0;
                return qcow2_alloc_bytes(q, bytes);
            }
        }
    }
    at = left > 0 ? (int64_t)q->byte_off : more;
    if (left > 0) {
        r = qcow2_refcount_add(q, (uint64_t)at, 1, 1);
        if (r < 0) {
            if (need > 0) {
                qcow2_free_now(q, (uint64_t)more, need << q->cluster_bits);
            }
            return r;
        }
    }
    q->byte_off = (uint64_t)at + bytes;
    if ((q->byte_off & (q->cluster_size - 1)) == 0) {
        q->byte_off = 0;
    }
    return at;
}

void qcow2_free_now(struct qcow2 *q, uint64_t off, uint64_t bytes)
{
    uint64_t last = (off + bytes - 1) >> q->cluster_bits;

    if (bytes == 0) {
        return;
    }
    for (uint64_t i = off >> q->cluster_bits; i <= last; i++) {
        uint64_t count;

        /* A refcount of 0 here was the image's mistake; a leak is the worst that may come of it. */
        if (qcow2_refcount_get(q, i, &count) == 0 && count > 0 &&
            qcow2_refcount_set(q, i, count - 1) == 0 && count == 1) {
            if (q->byte_off >> q->cluster_bits == i) {
                q->byte_off = 0;
            }
            qcow2_cache_drop(q, &q->l2_cache, i << q->cluster_bits);
            (void)block_discard(q->node.file, i << q->cluster_bits, q->cluster_size);
        }
    }
}

int qcow2_free_later(struct qcow2 *q, uint64_t off, uint64_t bytes)
{
    if (bytes == 0) {
        return 0;
    }
    if (q->n_pending > 0 &&
        q->pending_free[2 * q->n_pending - 2] + q->pending_free[2 * q->n_pending - 1] == off &&
        ((off | bytes | q->pending_free[2 * q->n_pending - 1]) & (q->cluster_size - 1)) == 0) {
        q->pending_free[2 * q->n_pending - 1] += bytes;
        return 0;
    }
    if (q->n_pending == q->room_pending) {
        size_t room = q->room_pending == 0 ? 64 : q->room_pending * 2;
        uint64_t *more = realloc(q->pending_free, room * 2 * sizeof(uint64_t));

        if (more == NULL) {
            return -ENOMEM;
        }
        q->pending_free = more;
        q->room_pending = room;
    }
    q->pending_free[2 * q->n_pending] = off;
    q->pending_free[2 * q->n_pending + 1] = bytes;
    q->n_pending++;
    return 0;
}

int qcow2_free_entry(struct qcow2 *q, uint64_t entry)
{
    if ((entry & QCOW2_COMPRESSED) != 0) {
        uint64_t off;
        uint64_t len;

        qcow2_compressed_range(q, entry, &off, &len);
        return qcow2_free_later(q, off, len);
    }
    if ((entry & QCOW2_OFFSET_MASK) == 0 || q->has_data_file) {
        return 0;
    }
    return qcow2_free_later(q, entry & QCOW2_OFFSET_MASK, q->cluster_size);
}
