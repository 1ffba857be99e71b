/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cluster.c - where guest clusters lie: L1 and L2 tables (qcow2, Cluster mapping). */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct qcow2_entry qcow2_entry_get(const struct qcow2 *q, const uint8_t *table, unsigned i)
{
    struct qcow2_entry e = { .entry = be64_get(table + (size_t)i * q->l2_entry_size) };

    if (q->l2_entry_size == 16) {
        e.bitmap = be64_get(table + (size_t)i * 16 + 8);
    }
    return e;
}

void qcow2_entry_put(const struct qcow2 *q, uint8_t *table, unsigned i, struct qcow2_entry e)
{
    be64_put(table + (size_t)i * q->l2_entry_size, e.entry);
    if (q->l2_entry_size == 16) {
        be64_put(table + (size_t)i * 16 + 8, e.bitmap);
    }
}

enum qcow2_type qcow2_type_of(const struct qcow2 *q, struct qcow2_entry e, unsigned sub)
{
    bool has_host =
        (e.entry & QCOW2_OFFSET_MASK) != 0 || (q->has_data_file && (e.entry & QCOW2_COPIED) != 0);

    if ((e.entry & QCOW2_COMPRESSED) != 0) {
        return QCOW2_TYPE_COMPRESSED;
    }
    if (q->l2_entry_size == 8) {
        if ((e.entry & QCOW2_ZERO) != 0) {
            return has_host ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
        }
        return has_host ? QCOW2_NORMAL : QCOW2_UNALLOCATED_PLAIN;
    }
    switch ((e.bitmap >> sub & 1) | (e.bitmap >> (32 + sub) & 1) << 1) {
    case 0:
        return has_host ? QCOW2_UNALLOCATED_ALLOC : QCOW2_UNALLOCATED_PLAIN;
    case 1:
        return has_host ? QCOW2_NORMAL : QCOW2_INVALID;
    case 2:
        return has_host ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
    default:
        return QCOW2_INVALID;
    }
}

static unsigned l1_index(const struct qcow2 *q, uint64_t off)
{
    return (unsigned)(off >> (q->l2_bits + q->cluster_bits));
}

static unsigned l2_index(const struct qcow2 *q, uint64_t off)
{
    return (unsigned)(off >> q->cluster_bits & ((1ull << q->l2_bits) - 1));
}

/* The slice that holds the entry of off, and the entry's place in it; *ret NULL: no table. */
static int entry_slice(struct qcow2 *q, uint64_t off, struct qcow2_slice **ret, unsigned *ret_i)
{
    uint64_t l1i = off >> (q->l2_bits + q->cluster_bits);
    uint64_t table = l1i < q->l1_size ? q->l1[l1i] & QCOW2_OFFSET_MASK : 0;
    uint64_t at = (uint64_t)l2_index(q, off) * q->l2_entry_size;

    *ret = NULL;
    if (table == 0) {
        return 0;
    }
    if ((table & (q->cluster_size - 1)) != 0) {
        return qcow2_corrupt(q, "L2 table offset %#llx unaligned (L1 index: %#llx)",
                             (unsigned long long)table, (unsigned long long)l1i);
    }
    *ret_i = (unsigned)((at & (q->slice_bytes - 1)) / q->l2_entry_size);
    return qcow2_l2_slice(q, table + (at & ~(uint64_t)(q->slice_bytes - 1)), ret);
}

int qcow2_lookup(struct qcow2 *q, uint64_t off, struct qcow2_entry *ret)
{
    struct qcow2_slice *s;
    unsigned i;
    int r = entry_slice(q, off, &s, &i);

    *ret = r == 0 && s != NULL ? qcow2_entry_get(q, s->data, i) : (struct qcow2_entry) { 0 };
    return r;
}

void qcow2_l1_dirty(struct qcow2 *q, uint32_t index)
{
    if (q->l1_dirty_lo >= q->l1_dirty_hi) {
        q->l1_dirty_lo = index;
        q->l1_dirty_hi = index + 1;
    }
    q->l1_dirty_lo = index < q->l1_dirty_lo ? index : q->l1_dirty_lo;
    q->l1_dirty_hi = index + 1 > q->l1_dirty_hi ? index + 1 : q->l1_dirty_hi;
}

/* An L2 table for off that may be changed: new, or a copy of one shared with a snapshot. */
static int own_table(struct qcow2 *q, uint64_t off)
{
    unsigned i = l1_index(q, off);
    uint64_t old;
    int64_t table;
    int r;

    if (i >= q->l1_size) {
        return -EINVAL;
    }
    old = q->l1[i] & QCOW2_OFFSET_MASK;
    if (old != 0 && (q->l1[i] & QCOW2_COPIED) != 0) {
        return 0;
    }
    if ((old & (q->cluster_size - 1)) != 0) {
        return qcow2_corrupt(q, "L2 table offset %#llx unaligned (L1 index: %#x)",
                             (unsigned long long)old, i);
    }
    table = qcow2_alloc(q, q->cluster_size);
    if (table < 0) {
        return (int)table;
    }
    r = qcow2_l2_fresh(q, (uint64_t)table);
    for (uint64_t at = 0; r == 0 && old != 0 && at < q->cluster_size; at += q->slice_bytes) {
        AUTO_FREE uint8_t *copy = malloc(q->slice_bytes);
        struct qcow2_slice *s;

        if (copy == NULL) {
            r = -ENOMEM;
            break;
        }
        r = qcow2_l2_slice(q, old + at, &s);
        if (r == 0) {
            memcpy(copy, s->data, q->slice_bytes);
            r = qcow2_l2_slice(q, (uint64_t)table + at, &s);
        }
        if (r == 0) {
            memcpy(s->data, copy, q->slice_bytes);
            qcow2_slice_dirty(&q->l2_cache, s);
        }
    }
    if (r == 0 && old != 0) {
        r = qcow2_free_later(q, old, q->cluster_size);
    }
    if (r < 0) {
        qcow2_cache_drop(q, &q->l2_cache, (uint64_t)table);
        qcow2_free_now(q, (uint64_t)table, q->cluster_size);
        return r;
    }
    q->l1[i] = (uint64_t)table | QCOW2_COPIED;
    qcow2_l1_dirty(q, i);
    return 0;
}

int qcow2_store(struct qcow2 *q, uint64_t off, struct qcow2_entry e)
{
    struct qcow2_slice *s;
    unsigned i;
    int r = own_table(q, off);

    if (r == 0) {
        r = entry_slice(q, off, &s, &i);
    }
    if (r == 0) {
        qcow2_entry_put(q, s->data, i, e);
        qcow2_slice_dirty(&q->l2_cache, s);
    }
    return r;
}

static int bad_entry(struct qcow2 *q, struct qcow2_entry e, uint64_t off)
{
    return qcow2_corrupt(q, "Cluster allocation offset %#llx unaligned (guest offset: %#llx)",
                         (unsigned long long)(e.entry & QCOW2_OFFSET_MASK),
                         (unsigned long long)off);
}

int qcow2_run_at(struct qcow2 *q, uint64_t off, uint64_t len, struct qcow2_run *ret)
{
    uint64_t sub_size = 1ull << q->subcluster_bits;
    unsigned per_slice = q->slice_bytes / q->l2_entry_size;
    struct qcow2_slice *s;
    struct qcow2_entry e;
    uint64_t pos = off;
    unsigned i = 0;
    int r = entry_slice(q, off, &s, &i);

    if (r < 0) {
        return r;
    }
    *ret = (struct qcow2_run) { .type = QCOW2_UNALLOCATED_PLAIN };
    if (s == NULL) {
        uint64_t end = (off / qcow2_l2_coverage(q) + 1) * qcow2_l2_coverage(q);

        ret->len = min_u64(len, end - off);
        return 0;
    }
    e = qcow2_entry_get(q, s->data, i);
    ret->type = qcow2_type_of(q, e, (unsigned)(off >> q->subcluster_bits & (q->subclusters - 1)));
    if (ret->type == QCOW2_INVALID) {
        return qcow2_corrupt(q, "Invalid cluster entry found (guest offset: %#llx)",
                             (unsigned long long)off);
    }
    if (ret->type == QCOW2_TYPE_COMPRESSED) {
        ret->entry = e.entry;
        ret->len = min_u64(len, qcow2_start_of(q, off) + q->cluster_size - off);
        return 0;
    }
    ret->copied = (e.entry & QCOW2_COPIED) != 0 || q->has_data_file;
    if (ret->type != QCOW2_UNALLOCATED_PLAIN && ret->type != QCOW2_ZERO_PLAIN) {
        uint64_t host = e.entry & QCOW2_OFFSET_MASK;

        if ((host & (q->cluster_size - 1)) != 0) {
            return bad_entry(q, e, off);
        }
        ret->host = host + (off & (q->cluster_size - 1));
    }
    /* On, while it goes on alike. */
    for (;;) {
        unsigned sub;

        pos = (pos & ~(sub_size - 1)) + sub_size;
        if (pos - off >= len) {
            break;
        }
        if ((pos & (q->cluster_size - 1)) == 0) {
            if (++i == per_slice) {
                break;
            }
            e = qcow2_entry_get(q, s->data, i);
        }
        sub = (unsigned)(pos >> q->subcluster_bits & (q->subclusters - 1));
        if (qcow2_type_of(q, e, sub) != ret->type) {
            break;
        }
        if (ret->type != QCOW2_UNALLOCATED_PLAIN && ret->type != QCOW2_ZERO_PLAIN &&
            ((e.entry & QCOW2_OFFSET_MASK) + (pos & (q->cluster_size - 1)) !=
                 ret->host + (pos - off) ||
             ((e.entry & QCOW2_COPIED) != 0 || q->has_data_file) != ret->copied)) {
            break;
        }
    }
    ret->len = min_u64(len, pos - off);
    return 0;
}

int qcow2_grow_l1(struct qcow2 *q, uint64_t n, bool exact)
{
    AUTO_FREE uint64_t *l1 = NULL;
    AUTO_FREE uint8_t *raw = NULL;
    uint64_t old_offset = q->l1_offset;
    uint64_t old_bytes = (uint64_t)q->l1_size * 8;
    uint8_t header[12];
    int64_t at;
    int r;

    if (n <= q->l1_size) {
        return 0;
    }
    if (!exact) {
        n = max_u64(n, q->l1_size + q->l1_size / 2);
    }
    if (n > QCOW2_MAX_L1_BYTES / 8) {
        return -EFBIG;
    }
    l1 = calloc(n, 8);
    raw = calloc(n, 8);
    if (l1 == NULL || raw == NULL) {
        return -ENOMEM;
    }
    memcpy(l1, q->l1, q->l1_size * 8ull);
    at = qcow2_alloc(q, n * 8);
    if (at < 0) {
        return (int)at;
    }
    r = qcow2_write_tables(q); /* the copy must not point to what is not written */
    for (uint64_t i = 0; i < q->l1_size; i++) {
        l1[i] = q->l1[i];
        be64_put(raw + i * 8, l1[i]);
    }
    if (r == 0) {
        r = block_pwrite_sync(q->node.file, raw, n * 8, (uint64_t)at);
    }
    if (r == 0) {
        be32_put(header, (uint32_t)n);
        be64_put(header + 4, (uint64_t)at);
        r = block_pwrite_sync(q->node.file, header, sizeof(header), 36);
    }
    if (r < 0) {
        qcow2_free_now(q, (uint64_t)at, n * 8);
        return r;
    }
    free(q->l1);
    q->l1 = TAKE_PTR(l1);
    q->l1_offset = (uint64_t)at;
    q->l1_size = (uint32_t)n;
    return qcow2_free_later(q, old_offset, old_bytes);
}

/* The bits of the subclusters in [off, off+len), which lies in one cluster. */
static uint64_t sub_mask(const struct qcow2 *q, uint64_t off, uint64_t len)
{
    unsigned first = (unsigned)((off & (q->cluster_size - 1)) >> q->subcluster_bits);
    unsigned n = (unsigned)(len >> q->subcluster_bits);

    return (n >= 32 ? 0xffffffffull : (1ull << n) - 1) << first;
}

/* Changing many entries frees many clusters: not too many are remembered at once. */
static int limit_pending(struct qcow2 *q)
{
    enum { FLUSH_AT = 65536 };

    return q->n_pending < FLUSH_AT ? 0 : qcow2_write_tables(q);
}

static int zero_one(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap)
{
    struct qcow2_entry old;
    struct qcow2_entry e;
    int r = qcow2_lookup(q, off, &old);

    if (r < 0) {
        return r;
    }
    e = old;
    if (q->l2_entry_size == 16 && len < q->cluster_size) {
        uint64_t mask = sub_mask(q, off, len);

        if ((old.entry & QCOW2_COMPRESSED) != 0 ||
            ((old.entry & QCOW2_OFFSET_MASK) != 0 && (old.entry & QCOW2_COPIED) == 0 &&
             !q->has_data_file)) {
            return -ENOTSUP; /* needs a copy: the caller writes zeroes */
        }
        e.bitmap = (old.bitmap & ~mask) | mask << 32;
    } else {
        bool free_it = (old.entry & QCOW2_COMPRESSED) != 0 ||
                       ((old.entry & QCOW2_OFFSET_MASK) != 0 &&
                        (unmap || (old.entry & QCOW2_COPIED) == 0) && !q->has_data_file);

        if (free_it) {
            e.entry = 0;
        }
        if (q->l2_entry_size == 16) {
            e.bitmap = 0xffffffffull << 32;
        } else {
            e.entry |= QCOW2_ZERO;
        }
    }
    if (e.entry == old.entry && e.bitmap == old.bitmap) {
        return 0;
    }
    r = qcow2_store(q, off, e);
    if (r == 0 &&
        (old.entry & ~(QCOW2_ZERO | QCOW2_COPIED)) != (e.entry & ~(QCOW2_ZERO | QCOW2_COPIED))) {
        r = qcow2_free_entry(q, old.entry);
    }
    return r;
}

int qcow2_zero_clusters(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap)
{
    uint64_t end = off + len;
    int r = 0;

    if (q->version < 3) {
        return -ENOTSUP;
    }
    if (q->has_data_file && (q->autoclear & QCOW2_AUTOCLEAR_RAW) != 0) {
        r = block_write_zeroes(q->data_file, off, len, unmap ? BLOCK_REQ_MAY_UNMAP : 0);
    }
    while (r == 0 && off < end) {
        uint64_t part = min_u64(end, qcow2_start_of(q, off) + q->cluster_size) - off;

        /* The last cluster of the image ends with it. */
        if (off + part == q->size) {
            part = round_up_u64(part, 1ull << q->subcluster_bits);
        }
        r = zero_one(q, off, part, unmap);
        if (r == 0) {
            r = limit_pending(q);
        }
        off += part;
    }
    return r;
}

int qcow2_discard_clusters(struct qcow2 *q, uint64_t off, uint64_t len, bool full)
{
    uint64_t end = off + len;
    int r = 0;

    while (r == 0 && off < end) {
        struct qcow2_entry old;
        struct qcow2_entry e = { 0 };

        if (off >> (q->l2_bits + q->cluster_bits) >= q->l1_size ||
            (q->l1[l1_index(q, off)] & QCOW2_OFFSET_MASK) == 0) {
            bool keeps = full || q->node.backing == NULL;

            if (keeps) {
                off = (off / qcow2_l2_coverage(q) + 1) * qcow2_l2_coverage(q);
                continue;
            }
        }
        r = qcow2_lookup(q, off, &old);
        if (r < 0) {
            break;
        }
        if (!full && q->version >= 3 &&
            (q->node.backing != NULL ||
             (old.entry & (QCOW2_OFFSET_MASK | QCOW2_COMPRESSED)) != 0)) {
            /* It reads as zeroes from now on, not as what the backing image has there. */
            if (q->l2_entry_size == 16) {
                e.bitmap = 0xffffffffull << 32;
            } else {
                e.entry = QCOW2_ZERO;
            }
        } else if (!full && q->l2_entry_size == 8 && (old.entry & QCOW2_OFFSET_MASK) == 0) {
            e = old;
        } else if (!full && q->l2_entry_size == 16) {
            e.bitmap = old.bitmap & 0xffffffffull << 32;
        }
        if (q->has_data_file && (old.entry & QCOW2_OFFSET_MASK) != 0 && !full) {
            e.entry |= old.entry & (QCOW2_OFFSET_MASK | QCOW2_COPIED);
        }
        if (e.entry != old.entry || e.bitmap != old.bitmap) {
            r = qcow2_store(q, off, e);
            if (r == 0 && !q->has_data_file) {
                r = qcow2_free_entry(q, old.entry);
            }
        }
        if (r == 0) {
            r = limit_pending(q);
        }
        off += q->cluster_size;
    }
    return r;
}
