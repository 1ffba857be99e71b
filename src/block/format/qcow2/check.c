/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check.c - counts what refers to each cluster and compares that with the refcounts.
 *
 * One array of counts for the clusters of the file, filled from everything that refers to
 * clusters; then refcount blocks are read one after the other. A refcount above the count is a
 * leak, one below it a corruption. When blocks are missing or misplaced, all refcounts are built
 * anew at the end of the file.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "block/core/image.h"
#include "block/core/iov.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Counts of more clusters than this would take too much memory: 64 TiB at 64 KiB. */
#define MAX_CLUSTERS (1ull << 30)

enum { SAYS_COPIED = 1, SAYS_SHARED = 2 };

struct counting {
    struct qcow2 *q;
    struct block_check *check;
    uint32_t *counts; /* owned */
    uint8_t *flags;   /* owned: what active entries say of each cluster, SAYS_... */
    bool doubt;       /* an entry's flag is wrong whatever the counts are */
    uint64_t n;       /* clusters of the file, and of tables behind its end */
    uint64_t file_len;
    bool rebuild;
};

static void corruption(struct counting *c, const char *what, uint64_t off)
{
    block_check_report(c->check, "ERROR %s: offset=0x%llx", what, (unsigned long long)off);
    c->check->corruptions++;
}

static int count(struct counting *c, uint64_t off, uint64_t len)
{
    uint64_t last;

    if (len == 0) {
        return 0;
    }
    last = (off + len - 1) >> c->q->cluster_bits;
    /* Up to one cluster behind the end is normal: the last one need not be whole. */
    if (off + len < off || last >= c->n) {
        block_check_report(
            c->check,
            "ERROR: counting reference for region exceeding the end of the file by one cluster or "
            "more: offset 0x%llx size 0x%llx",
            (unsigned long long)off, (unsigned long long)len);
        c->check->corruptions++;
        return 0;
    }
    for (uint64_t i = off >> c->q->cluster_bits; i <= last; i++) {
        c->counts[i] += c->counts[i] < UINT32_MAX;
    }
    return 0;
}

static int count_fn(void *arg, uint64_t off, uint64_t len)
{
    return count(arg, off, len);
}

/* Remembers what an active entry says of the cluster, to be compared with the count at the end. */
static void note_flag(struct counting *c, uint64_t off, uint64_t entry)
{
    bool copied = (entry & QCOW2_COPIED) != 0;
    uint64_t i = off >> c->q->cluster_bits;

    if ((off & (c->q->cluster_size - 1)) != 0) {
        return;
    }
    if (c->q->has_data_file || i >= c->n) {
        c->doubt |= copied != c->q->has_data_file;
    } else {
        c->flags[i] |= copied ? SAYS_COPIED : SAYS_SHARED;
    }
}

/* Whether the flags can be right; only where they are not their tables are read once more. */
static bool flags_fit(const struct counting *c)
{
    uint8_t bad = 0;

    for (uint64_t i = 0; i < c->n; i++) {
        bad |= c->flags[i] & (c->counts[i] == 1 ? SAYS_SHARED : SAYS_COPIED);
    }
    return bad == 0 && !c->doubt;
}

/* What one L2 table refers to. */
static void count_l2(struct counting *c, const uint8_t *raw, bool active)
{
    enum { PIECE = 512 }; /* bytes: mostly empty tables are passed over in these */
    struct qcow2 *q = c->q;
    unsigned n = 1u << q->l2_bits;
    unsigned step = PIECE / q->l2_entry_size;
    uint64_t expected = 0;

    for (unsigned i = 0; i < n; i++) {
        struct qcow2_entry e;
        uint64_t off;

        if (i % step == 0 && i + step <= n &&
            buf_is_zero(raw + (size_t)i * q->l2_entry_size, PIECE)) {
            i += step - 1;
            continue;
        }
        e = qcow2_entry_get(q, raw, i);
        off = e.entry & QCOW2_OFFSET_MASK;
        if (e.entry == 0 && e.bitmap == 0) {
            continue;
        }
        if ((e.entry & QCOW2_COMPRESSED) != 0) {
            uint64_t len;

            if ((e.entry & QCOW2_COPIED) != 0) {
                block_check_report(
                    c->check,
                    "ERROR: coffset=0x%llx: copied flag must never be set for compressed clusters",
                    (unsigned long long)off);
                c->check->corruptions++;
            }
            if (q->has_data_file) {
                corruption(c, "compressed cluster with data file", off);
                continue;
            }
            qcow2_compressed_range(q, e.entry, &off, &len);
            (void)count(c, off, len);
            if (active) {
                c->check->allocated_clusters++;
                c->check->compressed_clusters++;
                c->check->fragmented_clusters++; /* by nature */
            }
            continue;
        }
        if (q->l2_entry_size == 16 && (e.bitmap & e.bitmap >> 32) != 0) {
            corruption(c, "L2 entry with subclusters both allocated and zero", off);
        }
        if (off == 0 && (!q->has_data_file || (e.entry & QCOW2_COPIED) == 0)) {
            continue;
        }
        if (active) {
            note_flag(c, off, e.entry);
            c->check->allocated_clusters++;
            c->check->fragmented_clusters += expected != 0 && off != expected;
            expected = off + q->cluster_size;
        }
        if (q->has_data_file) {
            continue;
        }
        if ((off & (q->cluster_size - 1)) != 0) {
            corruption(c, "cluster is not properly aligned; L2 entry corrupted", off);
            continue;
        }
        /* The common case without a call. */
        if (off >> q->cluster_bits < c->n) {
            c->counts[off >> q->cluster_bits]++;
        } else {
            (void)count(c, off, q->cluster_size);
        }
    }
}

static int count_l1(struct counting *c, const uint64_t *l1, uint32_t n, uint64_t l1_off,
                    bool active)
{
    struct qcow2 *q = c->q;
    AUTO_FREE uint8_t *raw = malloc(q->cluster_size);
    int r = raw != NULL ? count(c, l1_off, (uint64_t)n * 8) : -ENOMEM;

    for (uint32_t i = 0; r == 0 && i < n; i++) {
        uint64_t off = l1[i] & QCOW2_OFFSET_MASK;

        if (off == 0) {
            continue;
        }
        if ((off & (q->cluster_size - 1)) != 0) {
            corruption(c, "l2_offset: Table is not cluster aligned; L1 entry corrupted", off);
            continue;
        }
        (void)count(c, off, q->cluster_size);
        if (off >= c->file_len) {
            continue;
        }
        if (active && off >> q->cluster_bits < c->n) {
            c->flags[off >> q->cluster_bits] |=
                (l1[i] & QCOW2_COPIED) != 0 ? SAYS_COPIED : SAYS_SHARED;
        }
        r = block_pread(q->node.file, raw, q->cluster_size, off);
        if (r < 0) {
            block_check_report(c->check, "ERROR: I/O error in check_refcounts_l2");
            c->check->errors++;
            r = 0;
            continue;
        }
        count_l2(c, raw, active);
    }
    return r;
}

static int count_snapshots(struct counting *c)
{
    struct qcow2 *q = c->q;
    int r = 0;

    for (unsigned i = 0; r == 0 && i < q->n_snapshots; i++) {
        struct qcow2_snapshot *sn = &q->snapshots[i];
        AUTO_FREE uint64_t *l1 = NULL;

        if (qcow2_check_table(q, sn->l1_offset, sn->l1_size, 8, QCOW2_MAX_L1_BYTES,
                              "Snapshot L1 table", NULL) < 0 ||
            sn->l1_offset >= c->file_len) {
            block_check_report(
                c->check,
                "ERROR snapshot %s (%s) l1_offset=0x%llx: L1 table is not valid; snapshot table entry corrupted",
                sn->sn.id, sn->sn.name, (unsigned long long)sn->l1_offset);
            c->check->corruptions++;
            continue;
        }
        r = qcow2_read_l1(q, sn->l1_offset, sn->l1_size, &l1);
        if (r == 0) {
            r = count_l1(c, l1, sn->l1_size, sn->l1_offset, false);
        }
    }
    return r == 0 ? count(c, q->snapshots_offset, q->snapshots_bytes) : r;
}

/* Everything but the refcounts themselves. */
static int count_content(struct counting *c)
{
    struct qcow2 *q = c->q;
    int r = count(c, 0, q->cluster_size);

    if (r == 0) {
        r = count_l1(c, q->l1, q->l1_size, q->l1_offset, true);
    }
    if (r == 0 && q->has_data_file && q->n_snapshots > 0) {
        block_check_report(c->check, "ERROR internal snapshots with an external data file");
        c->check->corruptions++;
    }
    if (r == 0) {
        r = count_snapshots(c);
    }
    if (r == 0 && q->crypto_length > 0) {
        r = count(c, q->crypto_offset, q->crypto_length);
    }
    if (r == 0 && qcow2_bitmaps_walk(q, count_fn, c) < 0) {
        block_check_report(c->check, "ERROR the bitmaps cannot be read");
        c->check->corruptions++;
    }
    return r;
}

static void count_refcounts(struct counting *c)
{
    struct qcow2 *q = c->q;

    (void)count(c, q->rt_offset, (uint64_t)q->rt_clusters << q->cluster_bits);
    for (uint32_t i = 0; i < q->rt_size; i++) {
        uint64_t off = q->rt[i] & QCOW2_OFFSET_MASK;

        if ((q->rt[i] & ~QCOW2_OFFSET_MASK) != 0) {
            block_check_report(c->check, "ERROR refcount table entry %u has reserved bits set", i);
            c->check->corruptions++;
            c->rebuild = true;
        } else if ((off & (q->cluster_size - 1)) != 0) {
            block_check_report(
                c->check,
                "ERROR refcount block %u is not cluster aligned; refcount table entry corrupted",
                i);
            c->check->corruptions++;
            c->rebuild = true;
        } else if (off >= round_up_u64(c->file_len, q->cluster_size)) {
            block_check_report(c->check, "ERROR refcount block %u is outside image", i);
            c->check->corruptions++;
            c->rebuild = true;
        } else if (off != 0) {
            (void)count(c, off, q->cluster_size);
            if (c->counts[off >> q->cluster_bits] != 1) {
                block_check_report(c->check, "ERROR refcount block %u refcount=%u", i,
                                   c->counts[off >> q->cluster_bits]);
                c->check->corruptions++;
                c->rebuild = true;
            }
        }
    }
}

/* One cluster whose refcount is not its count. Afterwards counts[] has the refcount in force. */
static int mismatch(struct counting *c, uint64_t i, uint64_t refcount)
{
    struct block_check *check = c->check;
    uint64_t reference = c->counts[i];
    bool leak = refcount > reference;
    bool fix = (check->fix & (leak ? BLOCK_FIX_LEAKS : BLOCK_FIX_ERRORS)) != 0 && !c->rebuild;

    block_check_report(check, "%s cluster %llu refcount=%llu reference=%llu",
                       fix    ? "Repairing"
                       : leak ? "Leaked"
                              : "ERROR",
                       (unsigned long long)i, (unsigned long long)refcount,
                       (unsigned long long)reference);
    if (fix && qcow2_refcount_set(c->q, i, reference) == 0) {
        *(leak ? &check->leaks_fixed : &check->corruptions_fixed) += 1;
        return 0;
    }
    *(leak ? &check->leaks : &check->corruptions) += 1;
    c->counts[i] = (uint32_t)min_u64(refcount, UINT32_MAX);
    return 0;
}

static int compare(struct counting *c)
{
    struct qcow2 *q = c->q;
    AUTO_FREE uint8_t *block = malloc(q->cluster_size);
    uint64_t per_block = 1ull << q->block_bits;
    uint64_t highest = 0;
    int r = block != NULL ? 0 : -ENOMEM;

    for (uint64_t first = 0; r == 0 && first < c->n; first += per_block) {
        uint64_t t = first >> q->block_bits;
        uint64_t off = t < q->rt_size ? q->rt[t] & QCOW2_OFFSET_MASK : 0;
        uint64_t n = min_u64(per_block, c->n - first);
        bool have = off != 0 && (off & (q->cluster_size - 1)) == 0;

        if (have) {
            r = block_pread(q->node.file, block, q->cluster_size, off);
        }
        if (r < 0) {
            block_check_report(c->check, "Can't get refcounts of clusters from %llu: %s",
                               (unsigned long long)first, strerror(-r));
            c->check->errors++;
            c->rebuild = true;
            have = false;
            r = 0;
        }
        for (uint64_t i = 0; r == 0 && i < n; i++) {
            uint64_t refcount = 0;

            if (have) {
                (void)qcow2_block_get(q, block, i, &refcount);
            } else if (c->counts[first + i] > 0) {
                c->rebuild = true;
            }
            if (refcount > 0 || c->counts[first + i] > 0) {
                highest = first + i + 1;
            }
            if (refcount != c->counts[first + i]) {
                r = mismatch(c, first + i, refcount);
            }
        }
    }
    c->check->image_end = highest << q->cluster_bits;
    return r;
}

/* New refcounts for the counts, behind the end of the file. */
static int rebuild(struct counting *c)
{
    struct qcow2 *q = c->q;
    uint64_t per_block = 1ull << q->block_bits;
    uint64_t start = c->n;
    uint64_t n_blocks = 1;
    uint64_t table_clusters;
    AUTO_FREE uint8_t *block = malloc(q->cluster_size);
    AUTO_FREE uint64_t *rt = NULL;
    AUTO_FREE uint8_t *raw = NULL;
    uint8_t header[12];
    int r = block != NULL ? 0 : -ENOMEM;

    for (;;) {
        table_clusters = qcow2_clusters(q, n_blocks * 8);
        if (n_blocks * per_block >= start + n_blocks + table_clusters) {
            break;
        }
        n_blocks++;
    }
    if ((table_clusters << q->cluster_bits) > QCOW2_MAX_REFTABLE_BYTES) {
        return -EFBIG;
    }
    rt = calloc(table_clusters << q->cluster_bits, 1);
    raw = calloc(table_clusters << q->cluster_bits, 1);
    if (rt == NULL || raw == NULL) {
        return -ENOMEM;
    }
    for (uint64_t b = 0; r == 0 && b < n_blocks; b++) {
        memset(block, 0, q->cluster_size);
        for (uint64_t i = 0; i < per_block; i++) {
            uint64_t at = b * per_block + i;
            uint64_t value = at < start ? c->counts[at] : at < start + n_blocks + table_clusters;

            qcow2_block_put(q, block, i, min_u64(value, q->refcount_max));
        }
        rt[b] = (start + b) << q->cluster_bits;
        be64_put(raw + b * 8, rt[b]);
        r = block_pwrite(q->node.file, block, q->cluster_size, rt[b]);
    }
    if (r == 0) {
        r = block_pwrite_sync(q->node.file, raw, table_clusters << q->cluster_bits,
                              (start + n_blocks) << q->cluster_bits);
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
    q->rt_size = (uint32_t)(table_clusters << q->cluster_bits >> 3);
    q->rt_clusters = (uint32_t)table_clusters;
    q->rt_offset = (start + n_blocks) << q->cluster_bits;
    q->free_hint = 0;
    qcow2_cache_drop_all(&q->rb_cache);
    return 0;
}

/* In the active tables COPIED must be set exactly where the refcount is 1. */
static int check_copied(struct counting *c)
{
    struct qcow2 *q = c->q;
    /* Where nothing else is wrong the flags can be put right without risk, as qemu-img does. */
    bool only_flags = c->check->errors + c->check->corruptions + c->check->leaks == 0;
    bool fix = (c->check->fix & BLOCK_FIX_ERRORS) != 0 || (c->check->fix != 0 && only_flags);
    AUTO_FREE uint8_t *raw = malloc(q->cluster_size);
    int r = raw != NULL ? 0 : -ENOMEM;

    for (uint32_t i = 0; r == 0 && i < q->l1_size; i++) {
        uint64_t off = q->l1[i] & QCOW2_OFFSET_MASK;
        bool changed = false;

        if (off == 0 || (off & (q->cluster_size - 1)) != 0 || off >= c->file_len ||
            off >> q->cluster_bits >= c->n) {
            continue;
        }
        if ((c->counts[off >> q->cluster_bits] == 1) != ((q->l1[i] & QCOW2_COPIED) != 0)) {
            block_check_report(c->check,
                               "%s OFLAG_COPIED L2 cluster: l1_index=%u l1_entry=%llx refcount=%u",
                               fix ? "Repairing" : "ERROR", i, (unsigned long long)q->l1[i],
                               c->counts[off >> q->cluster_bits]);
            if (fix) {
                q->l1[i] ^= QCOW2_COPIED;
                qcow2_l1_dirty(q, i);
                c->check->corruptions_fixed++;
            } else {
                c->check->corruptions++;
            }
        }
        r = block_pread(q->node.file, raw, q->cluster_size, off);
        for (unsigned k = 0; r == 0 && k < 1u << q->l2_bits; k++) {
            struct qcow2_entry e = qcow2_entry_get(q, raw, k);
            uint64_t data = e.entry & QCOW2_OFFSET_MASK;
            uint64_t refs;

            if ((e.entry & QCOW2_COMPRESSED) != 0 || data == 0 ||
                (data & (q->cluster_size - 1)) != 0) {
                continue;
            }
            refs = q->has_data_file                 ? 1
                   : data >> q->cluster_bits < c->n ? c->counts[data >> q->cluster_bits]
                                                    : 0;
            if ((refs == 1) == ((e.entry & QCOW2_COPIED) != 0)) {
                continue;
            }
            block_check_report(
                c->check, "%s OFLAG_COPIED data cluster: l2_entry=%llx refcount=%llu",
                fix ? "Repairing" : "ERROR", (unsigned long long)e.entry, (unsigned long long)refs);
            if (fix) {
                e.entry ^= QCOW2_COPIED;
                qcow2_entry_put(q, raw, k, e);
                changed = true;
                c->check->corruptions_fixed++;
            } else {
                c->check->corruptions++;
            }
        }
        if (r == 0 && changed) {
            r = block_pwrite(q->node.file, raw, q->cluster_size, off);
        }
    }
    return r;
}

static int clear_flags(struct qcow2 *q)
{
    uint64_t clear = QCOW2_INCOMPAT_CORRUPT | (q->dirty_set ? 0 : QCOW2_INCOMPAT_DIRTY);
    uint8_t raw[8];

    if (q->version < 3 || (q->incompat & clear) == 0) {
        return 0;
    }
    q->incompat &= ~clear;
    be64_put(raw, q->incompat);
    return block_pwrite_sync(q->node.file, raw, sizeof(raw), 72);
}

static int run(struct counting *c)
{
    struct qcow2 *q = c->q;
    struct block_check *check = c->check;
    int r = count_content(c);

    if (r < 0) {
        return r;
    }
    count_refcounts(c);
    r = compare(c);
    if (r == 0 && c->rebuild && check->corruptions > 0 && (check->fix & BLOCK_FIX_ERRORS) != 0) {
        struct block_check quiet = { 0 };
        uint64_t fixed = check->corruptions;

        block_check_report(check, "Rebuilding refcount structure");
        memset(c->counts, 0, c->n * sizeof(c->counts[0]));
        c->check = &quiet;
        r = count_content(c);
        c->check = check;
        if (r == 0) {
            r = rebuild(c);
        }
        if (r == 0) {
            check->corruptions = quiet.corruptions;
            check->corruptions_fixed += fixed - min_u64(fixed, quiet.corruptions);
            check->leaks_fixed += check->leaks;
            check->leaks = 0;
        }
    }
    if (r == 0 && (check->fix != 0 || !flags_fit(c))) {
        r = check_copied(c);
    }
    if (r == 0 && (check->fix & BLOCK_FIX_ERRORS) != 0) {
        for (int i = 0; r == 0 && i < 2; i++) {
            r = qcow2_write_tables(q);
        }
        if (r == 0) {
            r = qcow2_barrier(q);
        }
        if (r == 0 && check->corruptions == 0 && check->errors == 0) {
            r = clear_flags(q);
        }
    }
    return r;
}

int qcow2_check(struct block_node *node, struct block_check *check, struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    struct counting c = { .q = q, .check = check };
    int64_t len = block_length(node->file);
    int r;

    if (len < 0) {
        return err_set(err, (int)-len, "cannot tell the file's length: %s", strerror((int)-len));
    }
    c.file_len = (uint64_t)len;
    c.n = qcow2_clusters(q, c.file_len);
    if (c.n > MAX_CLUSTERS) {
        return err_set(err, EFBIG, "the file has too many clusters to be checked: %llu",
                       (unsigned long long)c.n);
    }
    c.counts = calloc(c.n + 1, sizeof(*c.counts));
    c.flags = calloc(c.n + 1, sizeof(*c.flags));
    if (c.counts == NULL || c.flags == NULL) {
        free(c.counts);
        free(c.flags);
        return err_set(err, ENOMEM, "no memory for the counts of %llu clusters",
                       (unsigned long long)c.n);
    }
    (void)pthread_mutex_lock(&q->lock);
    check->total_clusters = qcow2_clusters(q, q->size);
    r = node->read_only ? 0 : qcow2_write_tables(q);
    if (r == 0) {
        qcow2_cache_drop_all(&q->l2_cache);
        r = run(&c);
        if (!node->read_only && check->fix != 0) {
            int w = qcow2_write_tables(q);

            r = r == 0 ? w : r;
            qcow2_cache_drop_all(&q->l2_cache);
        }
    }
    (void)pthread_mutex_unlock(&q->lock);
    free(c.counts);
    free(c.flags);
    return r < 0 ? err_set(err, -r, "the check failed: %s", strerror(-r)) : 0;
}
