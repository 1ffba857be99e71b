/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * snapshot.c - snapshots inside the image (qcow2, Snapshots).
 *
 * A snapshot is a copy of the L1 table whose clusters all got one more reference. Refcounts go up
 * before a table names the clusters, and down after it no longer does.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRY_BYTES = 40, KNOWN_EXTRA = 24 };

int qcow2_read_l1(struct qcow2 *q, uint64_t off, uint32_t n, uint64_t **ret)
{
    uint64_t *l1 = calloc((size_t)n + 1, 8);
    uint8_t *raw = malloc((size_t)n * 8 + 1);
    int r =
        l1 != NULL && raw != NULL ? block_pread(q->node.file, raw, (size_t)n * 8, off) : -ENOMEM;

    for (uint32_t i = 0; r == 0 && i < n; i++) {
        l1[i] = be64_get(raw + (size_t)i * 8);
    }
    free(raw);
    if (r < 0) {
        free(l1);
        return r;
    }
    *ret = l1;
    return 0;
}

static void free_list(struct qcow2_snapshot *list, unsigned n)
{
    for (unsigned i = 0; list != NULL && i < n; i++) {
        free(list[i].sn.id);
        free(list[i].sn.name);
        free(list[i].extra);
    }
    free(list);
}

void qcow2_free_snapshots(struct qcow2 *q)
{
    free_list(q->snapshots, q->snapshots != NULL ? q->n_snapshots : 0);
    q->snapshots = NULL;
}

static int parse_one(struct qcow2 *q, uint64_t at, struct qcow2_snapshot *sn, uint64_t *ret_next,
                     struct err **err)
{
    uint8_t head[ENTRY_BYTES];
    uint8_t extra[KNOWN_EXTRA] = { 0 };
    uint32_t extra_size;
    uint32_t known;
    uint16_t id_len;
    uint16_t name_len;
    int r = block_pread(q->node.file, head, sizeof(head), at);

    if (r < 0) {
        return err_set(err, -r, "Failed to read snapshot table: %s", strerror(-r));
    }
    sn->l1_offset = be64_get(head);
    sn->l1_size = be32_get(head + 8);
    id_len = be16_get(head + 12);
    name_len = be16_get(head + 14);
    sn->sn.date_sec = be32_get(head + 16);
    sn->sn.date_nsec = be32_get(head + 20);
    sn->sn.vm_clock_nsec = be64_get(head + 24);
    sn->sn.vm_state_size = be32_get(head + 32);
    extra_size = be32_get(head + 36);
    if (extra_size > QCOW2_MAX_SNAPSHOT_EXTRA) {
        return err_set(err, EINVAL, "Too much extra metadata in snapshot table entry");
    }
    known = extra_size < KNOWN_EXTRA ? extra_size : KNOWN_EXTRA;
    at += ENTRY_BYTES;
    r = block_pread(q->node.file, extra, known, at);
    if (r == 0 && extra_size > known) {
        sn->extra_size = extra_size - known;
        sn->extra = malloc(sn->extra_size);
        r = sn->extra != NULL ? block_pread(q->node.file, sn->extra, sn->extra_size, at + known)
                              : -ENOMEM;
    }
    at += extra_size;
    if (known >= 8) {
        sn->sn.vm_state_size = be64_get(extra);
    }
    sn->sn.disk_size = known >= 16 ? be64_get(extra + 8) : q->size;
    sn->sn.icount = known >= 24 ? be64_get(extra + 16) : UINT64_MAX;
    sn->sn.id = calloc(1, (size_t)id_len + 1);
    sn->sn.name = calloc(1, (size_t)name_len + 1);
    if (sn->sn.id == NULL || sn->sn.name == NULL) {
        return -ENOMEM;
    }
    if (r == 0) {
        r = block_pread(q->node.file, sn->sn.id, id_len, at);
    }
    if (r == 0) {
        r = block_pread(q->node.file, sn->sn.name, name_len, at + id_len);
    }
    *ret_next = round_up_u64(at + id_len + name_len, 8);
    return r < 0 ? err_set(err, -r, "Failed to read snapshot table: %s", strerror(-r)) : 0;
}

int qcow2_read_snapshots(struct qcow2 *q, struct err **err)
{
    uint64_t at = q->snapshots_offset;
    int64_t file_len = block_length(q->node.file);
    unsigned n = q->n_snapshots;

    if (n == 0) {
        return 0;
    }
    q->n_snapshots = 0;
    q->snapshots = calloc(n, sizeof(*q->snapshots));
    if (q->snapshots == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < n; i++) {
        int r;

        q->n_snapshots = i;
        /* Behind the end there is nothing: such an entry would be empty, and the next one, too. */
        if (file_len < 0 || at >= (uint64_t)file_len) {
            return err_set(err, EINVAL, "Snapshot table lies behind the end of the file");
        }
        q->n_snapshots = i + 1; /* what is half read is freed by close */
        r = parse_one(q, at, &q->snapshots[i], &at, err);
        if (r < 0) {
            return r;
        }
        if (at - q->snapshots_offset > QCOW2_MAX_SNAPSHOT_BYTES) {
            return err_set(err, EFBIG, "Snapshot table is too big");
        }
    }
    q->n_snapshots = n;
    q->snapshots_bytes = at - q->snapshots_offset;
    return 0;
}

static size_t entry_size(const struct qcow2_snapshot *sn)
{
    return round_up_u64(
        ENTRY_BYTES + KNOWN_EXTRA + sn->extra_size + strlen(sn->sn.id) + strlen(sn->sn.name), 8);
}

static void put_entry(uint8_t *p, const struct qcow2_snapshot *sn)
{
    size_t id_len = strlen(sn->sn.id);
    size_t name_len = strlen(sn->sn.name);
    uint8_t *at = p + ENTRY_BYTES;

    be64_put(p, sn->l1_offset);
    be32_put(p + 8, sn->l1_size);
    be16_put(p + 12, (uint16_t)id_len);
    be16_put(p + 14, (uint16_t)name_len);
    be32_put(p + 16, sn->sn.date_sec);
    be32_put(p + 20, sn->sn.date_nsec);
    be64_put(p + 24, sn->sn.vm_clock_nsec);
    be32_put(p + 32, sn->sn.vm_state_size > UINT32_MAX ? 0 : (uint32_t)sn->sn.vm_state_size);
    be32_put(p + 36, KNOWN_EXTRA + sn->extra_size);
    be64_put(at, sn->sn.vm_state_size);
    be64_put(at + 8, sn->sn.disk_size);
    be64_put(at + 16, sn->sn.icount);
    at += KNOWN_EXTRA;
    if (sn->extra_size > 0) {
        memcpy(at, sn->extra, sn->extra_size);
        at += sn->extra_size;
    }
    memcpy(at, sn->sn.id, id_len);
    memcpy(at + id_len, sn->sn.name, name_len);
}

int qcow2_write_snapshots(struct qcow2 *q)
{
    AUTO_FREE uint8_t *raw = NULL;
    uint64_t old_off = q->snapshots_offset;
    uint64_t old_bytes = q->snapshots_bytes;
    uint8_t header[12];
    size_t bytes = 0;
    size_t at = 0;
    int64_t off = 0;
    int r = 0;

    for (unsigned i = 0; i < q->n_snapshots; i++) {
        bytes += entry_size(&q->snapshots[i]);
    }
    if (bytes > QCOW2_MAX_SNAPSHOT_BYTES) {
        return -EFBIG;
    }
    if (bytes > 0) {
        raw = calloc(1, bytes);
        off = raw != NULL ? qcow2_alloc(q, bytes) : -ENOMEM;
        if (off < 0) {
            return (int)off;
        }
        for (unsigned i = 0; i < q->n_snapshots; i++) {
            put_entry(raw + at, &q->snapshots[i]);
            at += entry_size(&q->snapshots[i]);
        }
        r = block_pwrite(q->node.file, raw, bytes, (uint64_t)off);
    }
    if (r == 0) {
        r = qcow2_write_refcounts(q);
    }
    if (r == 0) {
        be32_put(header, q->n_snapshots);
        be64_put(header + 4, (uint64_t)off);
        r = block_pwrite_sync(q->node.file, header, sizeof(header), 60);
    }
    if (r < 0) {
        if (bytes > 0) {
            qcow2_free_now(q, (uint64_t)off, bytes);
        }
        return r;
    }
    q->snapshots_offset = (uint64_t)off;
    q->snapshots_bytes = bytes;
    qcow2_free_now(q, old_off, old_bytes);
    return 0;
}

/* ---- references ---- */

/* Adds delta to what one L2 table (in raw) refers to, and with fix_flags sets the entries' COPIED
 * flags to what the refcounts say. *ret_changed: the table must be written. */
static int table_refs(struct qcow2 *q, uint8_t *raw, int delta, bool fix_flags, bool *ret_changed)
{
    unsigned n = 1u << q->l2_bits;
    uint64_t run_off = 0;
    uint64_t run_len = 0;
    int r = 0;

    for (unsigned i = 0; delta != 0 && r == 0 && i <= n; i++) {
        struct qcow2_entry e = i < n ? qcow2_entry_get(q, raw, i) : (struct qcow2_entry) { 0 };
        uint64_t off = e.entry & QCOW2_OFFSET_MASK;
        uint64_t len = off != 0 && !q->has_data_file ? q->cluster_size : 0;

        if ((e.entry & QCOW2_COMPRESSED) != 0) {
            qcow2_compressed_range(q, e.entry, &off, &len);
        } else if (len > 0 && (off & (q->cluster_size - 1)) != 0) {
            return qcow2_corrupt(q, "Cluster allocation offset %#llx unaligned",
                                 (unsigned long long)off);
        }
        /* Neighbours that are whole clusters in one go. */
        if (len > 0 && run_len > 0 && run_off + run_len == off &&
            ((run_off | run_len | len) & (q->cluster_size - 1)) == 0) {
            run_len += len;
            continue;
        }
        if (run_len > 0 && delta > 0) {
            r = qcow2_refcount_add(q, run_off, run_len, delta);
        } else if (run_len > 0) {
            qcow2_free_now(q, run_off, run_len);
        }
        run_off = off;
        run_len = len;
    }
    for (unsigned i = 0; fix_flags && r == 0 && i < n; i++) {
        struct qcow2_entry e = qcow2_entry_get(q, raw, i);
        uint64_t off = e.entry & QCOW2_OFFSET_MASK;
        uint64_t count = 1;
        uint64_t want;

        if ((e.entry & QCOW2_COMPRESSED) != 0 || off == 0) {
            continue;
        }
        if (!q->has_data_file) {
            r = qcow2_refcount_get(q, off >> q->cluster_bits, &count);
        }
        want = (e.entry & ~QCOW2_COPIED) | (count == 1 ? QCOW2_COPIED : 0);
        if (want != e.entry) {
            e.entry = want;
            qcow2_entry_put(q, raw, i, e);
            *ret_changed = true;
        }
    }
    return r;
}

/* The same for all that an L1 table refers to, L2 tables included. Tables in the cache must be
 * written before; the cache is empty afterwards. */
static int update_refs(struct qcow2 *q, uint64_t *l1, uint32_t n, int delta, bool fix_flags)
{
    AUTO_FREE uint8_t *raw = malloc(q->cluster_size);
    int r = raw != NULL ? 0 : -ENOMEM;

    qcow2_cache_drop_all(&q->l2_cache);
    for (uint32_t i = 0; r == 0 && i < n; i++) {
        uint64_t table = l1[i] & QCOW2_OFFSET_MASK;
        bool changed = false;
        uint64_t count;

        if (table == 0) {
            continue;
        }
        if ((table & (q->cluster_size - 1)) != 0) {
            return qcow2_corrupt(q, "L2 table offset %#llx unaligned (L1 index: %#x)",
                                 (unsigned long long)table, i);
        }
        r = block_pread(q->node.file, raw, q->cluster_size, table);
        if (r == 0) {
            r = table_refs(q, raw, delta, fix_flags, &changed);
        }
        if (r == 0 && changed) {
            r = qcow2_write_refcounts(q);
            if (r == 0) {
                r = block_pwrite(q->node.file, raw, q->cluster_size, table);
            }
        }
        if (r == 0 && delta > 0) {
            r = qcow2_refcount_add(q, table, q->cluster_size, delta);
        } else if (r == 0 && delta < 0) {
            qcow2_free_now(q, table, q->cluster_size);
        }
        if (r == 0 && fix_flags) {
            r = qcow2_refcount_get(q, table >> q->cluster_bits, &count);
            l1[i] = (l1[i] & ~QCOW2_COPIED) | (count == 1 ? QCOW2_COPIED : 0);
        }
    }
    return r;
}

static int write_active_l1(struct qcow2 *q)
{
    int r;

    if (q->l1_size == 0) {
        return 0;
    }
    qcow2_l1_dirty(q, 0);
    qcow2_l1_dirty(q, q->l1_size - 1);
    r = qcow2_write_tables(q);
    return r == 0 ? qcow2_barrier(q) : r;
}

/* Everything cached on disk, nobody reading or writing. Refcounts and the flags that go with them
 * lie in different places: while they change, the header says so, and who finds that after a crash
 * counts anew. (Version 2 has no place for it.) */
static int begin(struct qcow2 *q, struct qcow2_range *range)
{
    int r;

    (void)pthread_mutex_lock(&q->lock);
    qcow2_range_hold(q, range, 0, BLOCK_MAX_LENGTH, true);
    r = qcow2_mark_dirty(q);
    for (int i = 0; r == 0 && i < 2; i++) {
        r = qcow2_write_tables(q);
    }
    if (r == 0 && q->version >= 3 && !q->dirty_set) {
        return qcow2_put_dirty(q, true);
    }
    return r == 0 ? qcow2_barrier(q) : r;
}

/* result: of what was done; after a failure in the midst of it the mark stays. */
static int end(struct qcow2 *q, struct qcow2_range *range, int result)
{
    q->byte_off = 0;
    for (int i = 0; result == 0 && i < 2; i++) {
        result = qcow2_write_tables(q);
    }
    if (result == 0 && q->version >= 3 && !q->dirty_set) {
        result = qcow2_barrier(q);
        result = result == 0 ? qcow2_put_dirty(q, false) : result;
    }
    qcow2_range_release(q, range);
    (void)pthread_mutex_unlock(&q->lock);
    return result;
}

/* ---- the calls ---- */

static int find(struct qcow2 *q, const char *id)
{
    for (unsigned i = 0; i < q->n_snapshots; i++) {
        if (str_eq(q->snapshots[i].sn.id, id)) {
            return (int)i;
        }
    }
    return -1;
}

int qcow2_snapshot_list(struct block_node *node, struct block_snapshot **ret, size_t *ret_n)
{
    struct qcow2 *q = qcow2_of(node);
    struct block_snapshot *list;
    int r = 0;

    (void)pthread_mutex_lock(&q->lock);
    list = calloc(q->n_snapshots + 1, sizeof(*list));
    for (unsigned i = 0; list != NULL && i < q->n_snapshots; i++) {
        list[i] = q->snapshots[i].sn;
        list[i].id = strdup(q->snapshots[i].sn.id);
        list[i].name = strdup(q->snapshots[i].sn.name);
        r = list[i].id == NULL || list[i].name == NULL ? -ENOMEM : r;
    }
    if (list == NULL || r < 0) {
        block_snapshots_free(list, q->n_snapshots);
        r = -ENOMEM;
    } else {
        *ret = list;
        *ret_n = q->n_snapshots;
    }
    (void)pthread_mutex_unlock(&q->lock);
    return r;
}

static char *new_id(const struct qcow2 *q)
{
    uint64_t max = 0;

    for (unsigned i = 0; i < q->n_snapshots; i++) {
        uint64_t v;

        if (str_to_u64(q->snapshots[i].sn.id, 10, &v) == 0 && v > max) {
            max = v;
        }
    }
    return str_format("%llu", (unsigned long long)max + 1);
}

static int append(struct qcow2 *q, const struct block_snapshot *sn, uint64_t l1_offset)
{
    struct qcow2_snapshot *more = realloc(q->snapshots, (q->n_snapshots + 1) * sizeof(*more));
    struct qcow2_snapshot *new;

    if (more == NULL) {
        return -ENOMEM;
    }
    q->snapshots = more;
    new = &more[q->n_snapshots];
    *new = (struct qcow2_snapshot) { .sn = *sn, .l1_offset = l1_offset, .l1_size = q->l1_size };
    new->sn.id = strdup(sn->id);
    new->sn.name = strdup(sn->name);
    new->sn.disk_size = q->size;
    if (new->sn.id == NULL || new->sn.name == NULL) {
        free(new->sn.id);
        free(new->sn.name);
        return -ENOMEM;
    }
    q->n_snapshots++;
    return 0;
}

static int create(struct qcow2 *q, struct block_snapshot *sn)
{
    AUTO_FREE uint8_t *raw = malloc((size_t)q->l1_size * 8 + 8);
    uint64_t bytes = (uint64_t)q->l1_size * 8;
    int64_t l1_off;
    int r;

    if (raw == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < q->l1_size; i++) {
        be64_put(raw + (size_t)i * 8, q->l1[i] & ~QCOW2_COPIED);
    }
    l1_off = qcow2_alloc(q, max_u64(bytes, 1));
    if (l1_off < 0) {
        return (int)l1_off;
    }
    r = block_pwrite(q->node.file, raw, bytes, (uint64_t)l1_off);
    if (r == 0) {
        r = update_refs(q, q->l1, q->l1_size, 1, true);
    }
    if (r == 0) {
        r = write_active_l1(q);
    }
    if (r == 0) {
        r = append(q, sn, (uint64_t)l1_off);
    }
    if (r == 0) {
        r = qcow2_write_snapshots(q);
        if (r < 0) {
            q->n_snapshots--;
            free(q->snapshots[q->n_snapshots].sn.id);
            free(q->snapshots[q->n_snapshots].sn.name);
        }
    }
    return r;
}

int qcow2_snapshot_create(struct block_node *node, struct block_snapshot *sn, struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_range range = { 0 };
    uint64_t cover = qcow2_l2_coverage(q);
    uint64_t behind = (q->size + cover - 1) / cover * cover;
    int r;

    if (q->has_data_file) {
        return err_set(err, ENOTSUP,
                       "images with an external data file have no internal snapshots");
    }
    if (q->n_snapshots >= QCOW2_MAX_SNAPSHOTS) {
        return err_set(err, EFBIG, "the image has %d snapshots already", QCOW2_MAX_SNAPSHOTS);
    }
    r = begin(q, &range);
    free(sn->id);
    sn->id = new_id(q);
    sn->disk_size = q->size;
    if (r == 0) {
        r = sn->id != NULL ? create(q, sn) : -ENOMEM;
    }
    /* The machine state is the snapshot's alone. */
    if (r == 0 && sn->vm_state_size > 0) {
        r = qcow2_discard_clusters(q, behind, round_up_u64(sn->vm_state_size, q->cluster_size),
                                   true);
        for (int i = 0; r == 0 && i < 2; i++) {
            r = qcow2_write_tables(q);
        }
    }
    r = end(q, &range, r);
    return r < 0 ? err_set(err, -r, "Could not create snapshot '%s': %s", sn->name, strerror(-r))
                 : block_flush(node);
}

static int go_to(struct qcow2 *q, const struct qcow2_snapshot *sn, struct err **err)
{
    AUTO_FREE uint64_t *l1 = NULL;
    AUTO_FREE uint64_t *old = NULL;
    uint32_t n;
    int r = qcow2_check_table(q, sn->l1_offset, sn->l1_size, 8, QCOW2_MAX_L1_BYTES,
                              "Snapshot L1 table", err);

    if (r == 0) {
        r = qcow2_grow_l1(q,
                          max_u64(sn->l1_size, (sn->sn.disk_size + qcow2_l2_coverage(q) - 1) /
                                                   qcow2_l2_coverage(q)),
                          true);
    }
    if (r == 0) {
        r = qcow2_read_l1(q, sn->l1_offset, sn->l1_size, &l1);
    }
    if (r == 0) {
        old = malloc((size_t)q->l1_size * 8 + 8);
        r = old != NULL ? update_refs(q, l1, sn->l1_size, 1, false) : -ENOMEM;
    }
    if (r < 0) {
        return r;
    }
    n = q->l1_size;
    memcpy(old, q->l1, (size_t)n * 8);
    memset(q->l1, 0, (size_t)n * 8);
    for (uint32_t i = 0; i < sn->l1_size && i < n; i++) {
        q->l1[i] = l1[i] & ~QCOW2_COPIED;
    }
    r = write_active_l1(q);
    if (r == 0 && q->size != sn->sn.disk_size) {
        __atomic_store_n(&q->size, sn->sn.disk_size, __ATOMIC_RELAXED);
        r = qcow2_write_header(q);
    }
    if (r == 0) {
        r = update_refs(q, old, n, -1, false);
    }
    if (r == 0) {
        r = update_refs(q, q->l1, n, 0, true);
    }
    return r == 0 ? write_active_l1(q) : r;
}

int qcow2_snapshot_goto(struct block_node *node, const char *id, struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_range range = { 0 };
    int r;
    int i;

    if (q->has_data_file) {
        return err_set(err, ENOTSUP,
                       "images with an external data file have no internal snapshots");
    }
    r = begin(q, &range);
    i = find(q, id);
    if (r == 0) {
        r = i >= 0 ? go_to(q, &q->snapshots[i], err) : 0;
    }
    r = end(q, &range, r);
    r = r == 0 && i < 0 ? -ENOENT : r;
    if (r == 0) {
        r = block_bitmaps_resize(node, q->size);
    }
    return r < 0 ? err_set(err, -r, "Could not go to snapshot '%s': %s", id, strerror(-r))
                 : block_flush(node);
}

int qcow2_snapshot_delete(struct block_node *node, const char *id, struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_range range = { 0 };
    struct qcow2_snapshot sn;
    AUTO_FREE uint64_t *l1 = NULL;
    int r = begin(q, &range);
    int i = find(q, id);

    if (r == 0 && i < 0) {
        r = -ENOENT;
    }
    if (r == 0) {
        r = qcow2_check_table(q, q->snapshots[i].l1_offset, q->snapshots[i].l1_size, 8,
                              QCOW2_MAX_L1_BYTES, "Snapshot L1 table", err);
    }
    if (r < 0) {
        (void)end(q, &range, 0); /* nothing was changed */
        return err_set(err, -r, "Could not delete snapshot '%s': %s", id, strerror(-r));
    }
    sn = q->snapshots[i];
    memmove(&q->snapshots[i], &q->snapshots[i + 1],
            (q->n_snapshots - (unsigned)i - 1) * sizeof(sn));
    q->n_snapshots--;
    r = qcow2_write_snapshots(q);
    if (r < 0) {
        memmove(&q->snapshots[i + 1], &q->snapshots[i],
                (q->n_snapshots - (unsigned)i) * sizeof(sn));
        q->snapshots[i] = sn;
        q->n_snapshots++;
    } else {
        r = qcow2_read_l1(q, sn.l1_offset, sn.l1_size, &l1);
        if (r == 0) {
            r = update_refs(q, l1, sn.l1_size, -1, false);
        }
        if (r == 0) {
            qcow2_free_now(q, sn.l1_offset, max_u64((uint64_t)sn.l1_size * 8, 1));
            r = update_refs(q, q->l1, q->l1_size, 0, true);
        }
        if (r == 0) {
            r = write_active_l1(q);
        }
        free(sn.sn.id);
        free(sn.sn.name);
        free(sn.extra);
    }
    r = end(q, &range, r);
    return r < 0 ? err_set(err, -r, "Could not delete snapshot '%s': %s", id, strerror(-r))
                 : block_flush(node);
}

int qcow2_snapshot_load(struct block_node *node, const char *id, struct err **err)
{
    struct qcow2 *q = qcow2_of(node);
    int i = find(q, id);
    uint64_t *l1 = NULL;
    int r;

    if (!node->read_only) {
        return err_set(err, EINVAL, "Device is not readonly");
    }
    r = i < 0 ? -ENOENT
              : qcow2_check_table(q, q->snapshots[i].l1_offset, q->snapshots[i].l1_size, 8,
                                  QCOW2_MAX_L1_BYTES, "Snapshot L1 table", err);
    if (r == 0) {
        r = qcow2_read_l1(q, q->snapshots[i].l1_offset, q->snapshots[i].l1_size, &l1);
    }
    if (r < 0) {
        return err_set(err, -r, "Could not load snapshot '%s': %s", id, strerror(-r));
    }
    (void)pthread_mutex_lock(&q->lock);
    free(q->l1);
    q->l1 = l1;
    q->l1_size = q->snapshots[i].l1_size;
    q->l1_offset = q->snapshots[i].l1_offset;
    __atomic_store_n(&q->size, q->snapshots[i].sn.disk_size, __ATOMIC_RELAXED);
    (void)pthread_mutex_unlock(&q->lock);
    return 0;
}
