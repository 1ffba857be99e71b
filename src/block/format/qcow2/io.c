/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* io.c - reading and writing guest data. */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "block/core/iov.h"
#include "block/crypto/crypto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ALLOC_BYTES = 8 << 20, SMALL_IOV = 16 };

/* IVs count the sectors of the image file for LUKS, of the guest's disk for the old AES. */
static uint64_t crypt_offset(const struct qcow2 *q, uint64_t off, uint64_t host)
{
    return q->crypt_method == QCOW2_CRYPT_LUKS ? host : off;
}

static int read_data(struct qcow2 *q, const struct iovec *iov, unsigned n, uint64_t off,
                     uint64_t host)
{
    size_t len = iov_len(iov, n);
    AUTO_FREE uint8_t *buf = NULL;
    uint64_t start;
    size_t whole;
    int r;

    if (q->crypt_method == QCOW2_CRYPT_NONE) {
        return block_preadv(q->data_file, iov, n, host);
    }
    if (q->crypto == NULL) {
        return -EACCES;
    }
    start = host & ~(uint64_t)(BLOCK_SECTOR - 1);
    whole = round_up_u64(host + len, BLOCK_SECTOR) - start;
    buf = malloc(whole);
    if (buf == NULL) {
        return -ENOMEM;
    }
    r = block_pread(q->data_file, buf, whole, start);
    if (r == 0) {
        r = block_crypto_decrypt(q->crypto, crypt_offset(q, off - (host - start), start), buf,
                                 whole);
    }
    if (r == 0) {
        iov_from_buf(iov, n, 0, buf + (host - start), len);
    }
    return r;
}

/* host and the length are whole sectors when the image is encrypted. */
static int write_data(struct qcow2 *q, const struct iovec *iov, unsigned n, uint64_t off,
                      uint64_t host)
{
    size_t len = iov_len(iov, n);
    AUTO_FREE uint8_t *buf = NULL;
    int r;

    if (q->crypt_method == QCOW2_CRYPT_NONE) {
        return block_pwritev(q->data_file, iov, n, host);
    }
    if (q->crypto == NULL) {
        return -EACCES;
    }
    buf = malloc(len);
    if (buf == NULL) {
        return -ENOMEM;
    }
    iov_to_buf(iov, n, 0, buf, len);
    r = block_crypto_encrypt(q->crypto, crypt_offset(q, off, host), buf, len);
    return r == 0 ? block_pwrite(q->data_file, buf, len, host) : r;
}

static int read_compressed(struct qcow2 *q, const struct iovec *iov, unsigned n, uint64_t off,
                           uint64_t entry)
{
    AUTO_FREE uint8_t *cluster = malloc(q->cluster_size);
    int r = cluster != NULL ? qcow2_read_compressed(q, entry, cluster) : -ENOMEM;

    if (r == 0) {
        iov_from_buf(iov, n, 0, cluster + (off & (q->cluster_size - 1)), iov_len(iov, n));
    }
    return r;
}

static int read_run(struct qcow2 *q, const struct qcow2_run *run, const struct iovec *iov,
                    unsigned n, uint64_t off)
{
    switch (run->type) {
    case QCOW2_NORMAL:
        return read_data(q, iov, n, off, run->host);
    case QCOW2_TYPE_COMPRESSED:
        return read_compressed(q, iov, n, off, run->entry);
    case QCOW2_ZERO_PLAIN:
    case QCOW2_ZERO_ALLOC:
        iov_zero(iov, n, 0, iov_len(iov, n));
        return 0;
    default:
        return block_read_backing(&q->node, iov, n, off);
    }
}

/* The part [done, done+len) of a vector; small vectors need no allocation. */
struct part {
    struct iovec few[SMALL_IOV];
    struct iovec *iov;
    unsigned n;
};

static int part_of(struct part *p, const struct iovec *iov, unsigned n, size_t done, size_t len)
{
    p->iov = n <= SMALL_IOV ? p->few : calloc(n, sizeof(*iov));
    if (p->iov == NULL) {
        return -ENOMEM;
    }
    p->n = iov_part(iov, n, done, len, p->iov);
    return 0;
}

static void part_done(struct part *p)
{
    if (p->iov != p->few) {
        free(p->iov);
    }
}

/* hold: take the ranges; else the caller has them. */
static int read_at(struct qcow2 *q, const struct iovec *iov, unsigned n, uint64_t off, bool hold)
{
    size_t total = iov_len(iov, n);
    size_t done = 0;
    int r = 0;

    while (r == 0 && done < total) {
        struct qcow2_range range = { 0 };
        struct qcow2_run run;
        struct part p;

        (void)pthread_mutex_lock(&q->lock);
        if (hold) {
            qcow2_range_hold(q, &range, off + done, total - done, false);
        }
        r = qcow2_run_at(q, off + done, total - done, &run);
        (void)pthread_mutex_unlock(&q->lock);
        if (r == 0) {
            r = part_of(&p, iov, n, done, run.len);
        }
        if (r == 0) {
            r = read_run(q, &run, p.iov, p.n, off + done);
            part_done(&p);
        }
        if (hold) {
            (void)pthread_mutex_lock(&q->lock);
            qcow2_range_release(q, &range);
            (void)pthread_mutex_unlock(&q->lock);
        }
        done += run.len;
    }
    return r;
}

int qcow2_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return read_at(qcow2_of(node), iov, n, off, true);
}

/* ---- writing ---- */

/* A write to clusters that must be given a place, or change their state. */
struct alloc_write {
    uint64_t first;         /* guest offset of the first cluster */
    uint64_t n;             /* clusters */
    uint64_t host;          /* of the first */
    bool fresh;             /* host was allocated for it; else it is where the cluster was */
    bool copy_whole;        /* there is an old copy elsewhere: all of the cluster moves */
    struct qcow2_entry old; /* of the first cluster, when n is 1 or it is not fresh */
};

static bool can_reuse(const struct qcow2 *q, struct qcow2_entry e)
{
    return (e.entry & QCOW2_COMPRESSED) == 0 && (e.entry & QCOW2_COPIED) != 0 &&
           ((e.entry & QCOW2_OFFSET_MASK) != 0 || q->has_data_file);
}

/* Finds or makes the place for clusters from off; locked. */
static int plan(struct qcow2 *q, uint64_t off, uint64_t len, struct alloc_write *w)
{
    struct qcow2_entry e;
    uint64_t max;
    uint64_t n = 1;
    int64_t host;
    int r;

    w->first = qcow2_start_of(q, off);
    max = min_u64(qcow2_clusters(q, off + len - w->first),
                  max_u64(MAX_ALLOC_BYTES >> q->cluster_bits, 1));
    r = qcow2_lookup(q, w->first, &e);
    if (r < 0) {
        return r;
    }
    w->old = e;
    w->n = 1;
    w->copy_whole = false;
    if (can_reuse(q, e)) {
        w->host = e.entry & QCOW2_OFFSET_MASK;
        w->fresh = false;
        return (w->host & (q->cluster_size - 1)) != 0
                   ? qcow2_corrupt(
                         q, "Preallocated cluster offset %#llx unaligned (guest offset: %#llx)",
                         (unsigned long long)w->host, (unsigned long long)w->first)
                   : 0;
    }
    w->fresh = true;
    w->copy_whole = (e.entry & (QCOW2_COMPRESSED | QCOW2_OFFSET_MASK)) != 0;
    while (n < max && !w->copy_whole) {
        r = qcow2_lookup(q, w->first + (n << q->cluster_bits), &e);
        if (r < 0) {
            return r;
        }
        if (can_reuse(q, e) || (e.entry & (QCOW2_COMPRESSED | QCOW2_OFFSET_MASK)) != 0) {
            break;
        }
        n++;
    }
    if (q->has_data_file) {
        w->host = w->first;
        w->n = n;
        return qcow2_mark_dirty(q);
    }
    host = qcow2_alloc_some(q, n, &w->n);
    w->host = (uint64_t)host;
    return host < 0 ? (int)host : 0;
}

/* How far before off and behind end the old content must be written along. */
static void cow_edges(const struct qcow2 *q, const struct alloc_write *w, uint64_t off,
                      uint64_t end, uint64_t *head, uint64_t *tail)
{
    uint64_t unit =
        w->copy_whole || q->subclusters == 1 ? q->cluster_size : 1ull << q->subcluster_bits;
    uint64_t first_sub = off & (q->cluster_size - 1);
    uint64_t last_sub = (end - 1) & (q->cluster_size - 1);

    *head = off & (unit - 1);
    *tail = round_up_u64(end, unit) - end;
    if (!w->fresh && q->subclusters > 1) {
        /* In place: subclusters that have data keep it. */
        if (qcow2_type_of(q, w->old, (unsigned)(first_sub >> q->subcluster_bits)) == QCOW2_NORMAL) {
            *head = 0;
        }
        if (qcow2_type_of(q, w->old, (unsigned)(last_sub >> q->subcluster_bits)) == QCOW2_NORMAL) {
            *tail = 0;
        }
    }
}

/* Enters the clusters into the tables; locked. [start, end): what was written, edges included. */
static int link_clusters(struct qcow2 *q, const struct alloc_write *w, uint64_t start, uint64_t end)
{
    int r = 0;

    for (uint64_t i = 0; r == 0 && i < w->n; i++) {
        uint64_t at = w->first + (i << q->cluster_bits);
        struct qcow2_entry old;
        struct qcow2_entry e = { .entry = (w->host + (i << q->cluster_bits)) | QCOW2_COPIED };

        r = qcow2_lookup(q, at, &old);
        if (r < 0) {
            break;
        }
        if (q->subclusters > 1) {
            uint64_t from = max_u64(start, at) - at;
            uint64_t to = min_u64(end, at + q->cluster_size) - at;
            unsigned first = (unsigned)(from >> q->subcluster_bits);
            unsigned last = (unsigned)((to - 1) >> q->subcluster_bits);
            uint64_t mask = ((2ull << (last - first)) - 1) << first;

            e.bitmap = w->copy_whole ? 0xffffffffull : (old.bitmap & ~(mask << 32)) | mask;
        }
        r = qcow2_store(q, at, e);
        if (r == 0 && w->copy_whole) {
            r = qcow2_free_entry(q, old.entry);
        }
    }
    return r;
}

static int write_with_edges(struct qcow2 *q, const struct alloc_write *w, const struct iovec *iov,
                            unsigned n, size_t done, uint64_t off, uint64_t len, uint64_t head,
                            uint64_t tail)
{
    AUTO_FREE struct iovec *all = calloc(n + 2, sizeof(*all));
    AUTO_FREE uint8_t *edges = NULL;
    unsigned used = 0;
    int r = all != NULL ? 0 : -ENOMEM;

    if (r == 0 && head + tail > 0) {
        edges = malloc(head + tail);
        r = edges != NULL ? 0 : -ENOMEM;
    }
    if (r == 0 && head > 0) {
        all[used++] = (struct iovec) { .iov_base = edges, .iov_len = head };
        r = read_at(q, all, 1, off - head, false);
    }
    if (r == 0) {
        used += iov_part(iov, n, done, len, all + used);
    }
    if (r == 0 && tail > 0) {
        all[used] = (struct iovec) { .iov_base = edges + head, .iov_len = tail };
        r = read_at(q, all + used, 1, off + len, false);
        used++;
    }
    if (r == 0) {
        r = write_data(q, all, used, off - head, w->host + (off - head - w->first));
    }
    return r;
}

static int write_allocating(struct qcow2 *q, struct qcow2_range *range, const struct iovec *iov,
                            unsigned n, size_t done, uint64_t off, uint64_t len, uint64_t *ret_len)
{
    struct alloc_write w;
    uint64_t end;
    uint64_t head;
    uint64_t tail;
    int r = plan(q, off, len, &w);

    if (r < 0) {
        qcow2_range_release(q, range);
        (void)pthread_mutex_unlock(&q->lock);
        return r;
    }
    (void)pthread_mutex_unlock(&q->lock);
    end = min_u64(off + len, w.first + (w.n << q->cluster_bits));
    cow_edges(q, &w, off, end, &head, &tail);
    r = write_with_edges(q, &w, iov, n, done, off, end - off, head, tail);
    (void)pthread_mutex_lock(&q->lock);
    if (r == 0) {
        r = link_clusters(q, &w, off - head, end + tail);
    } else if (w.fresh && !q->has_data_file) {
        qcow2_free_now(q, w.host, w.n << q->cluster_bits);
    }
    qcow2_range_release(q, range);
    (void)pthread_mutex_unlock(&q->lock);
    *ret_len = end - off;
    return r;
}

/* Some of the request from `done` on; *ret_len how much. */
static int write_some(struct qcow2 *q, const struct iovec *iov, unsigned n, size_t done,
                      uint64_t off, uint64_t len, uint64_t *ret_len)
{
    struct qcow2_range range = { 0 };
    struct qcow2_run run;
    struct part p;
    int r;

    (void)pthread_mutex_lock(&q->lock);
    for (;;) {
        bool in_place;

        r = qcow2_run_at(q, off, len, &run);
        if (r < 0) {
            (void)pthread_mutex_unlock(&q->lock);
            return r;
        }
        in_place = run.type == QCOW2_NORMAL && run.copied;
        if (in_place ? qcow2_range_try(q, &range, off, run.len, false)
                     : qcow2_range_try(q, &range, off, min_u64(len, MAX_ALLOC_BYTES), true)) {
            if (!in_place) {
                return write_allocating(q, &range, iov, n, done, off, min_u64(len, MAX_ALLOC_BYTES),
                                        ret_len);
            }
            break;
        }
        qcow2_range_wait(q); /* and look again: what was in the way may have changed the mapping */
    }
    (void)pthread_mutex_unlock(&q->lock);
    r = part_of(&p, iov, n, done, run.len);
    if (r == 0) {
        r = write_data(q, p.iov, p.n, off, run.host);
        part_done(&p);
    }
    (void)pthread_mutex_lock(&q->lock);
    qcow2_range_release(q, &range);
    (void)pthread_mutex_unlock(&q->lock);
    *ret_len = run.len;
    return r;
}

/* Encrypted data is written by whole sectors. */
static int write_unaligned(struct qcow2 *q, const struct iovec *iov, unsigned n, uint64_t off)
{
    size_t len = iov_len(iov, n);
    uint64_t start = off & ~(uint64_t)(BLOCK_SECTOR - 1);
    size_t whole = round_up_u64(off + len, BLOCK_SECTOR) - start;
    AUTO_FREE uint8_t *buf = malloc(whole);
    struct iovec one = { .iov_base = buf, .iov_len = whole };
    int r = buf != NULL ? read_at(q, &one, 1, start, true) : -ENOMEM;

    if (r == 0) {
        iov_to_buf(iov, n, 0, buf + (off - start), len);
        r = qcow2_pwritev(&q->node, &one, 1, start);
    }
    return r;
}

int qcow2_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct qcow2 *q = qcow2_of(node);
    size_t total = iov_len(iov, n);
    size_t done = 0;
    int r = 0;

    if (q->crypt_method != QCOW2_CRYPT_NONE && ((off | total) & (BLOCK_SECTOR - 1)) != 0) {
        return write_unaligned(q, iov, n, off);
    }
    while (r == 0 && done < total) {
        uint64_t part = 0;

        r = write_some(q, iov, n, done, off + done, total - done, &part);
        done += part;
    }
    return r;
}

/* ---- zeroes and discards ---- */

static int write_zero_bytes(struct qcow2 *q, uint64_t off, uint64_t len)
{
    AUTO_FREE void *zeroes = NULL;
    struct iovec iov;

    if (len == 0) {
        return 0;
    }
    zeroes = calloc(1, len);
    iov = (struct iovec) { .iov_base = zeroes, .iov_len = len };
    return zeroes != NULL ? qcow2_pwritev(&q->node, &iov, 1, off) : -ENOMEM;
}

/* Does [off, off+len) read as zeroes already, as far as the tables tell? Locked. */
static bool is_zero(struct qcow2 *q, uint64_t off, uint64_t len)
{
    while (len > 0) {
        struct qcow2_run run;

        if (qcow2_run_at(q, off, len, &run) < 0) {
            return false;
        }
        if (run.type == QCOW2_UNALLOCATED_PLAIN || run.type == QCOW2_UNALLOCATED_ALLOC) {
            if (q->node.backing != NULL && off < (uint64_t)block_length(q->node.backing)) {
                return false;
            }
        } else if (run.type != QCOW2_ZERO_PLAIN && run.type != QCOW2_ZERO_ALLOC) {
            return false;
        }
        off += run.len;
        len -= run.len;
    }
    return true;
}

int qcow2_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_range range = { 0 };
    uint64_t unit = q->subclusters > 1 ? 1ull << q->subcluster_bits : q->cluster_size;
    uint64_t end = off + len;
    uint64_t start = round_up_u64(off, unit);
    uint64_t stop = end == q->size ? end : round_down_u64(end, unit);
    int r = 0;

    if (q->version < 3 && q->node.backing != NULL) {
        return -ENOTSUP;
    }
    /* Edges that are zero up to their unit's border count as whole. */
    (void)pthread_mutex_lock(&q->lock);
    if (start != off && is_zero(q, round_down_u64(off, unit), off - round_down_u64(off, unit))) {
        start = round_down_u64(off, unit);
    }
    if (stop != end && is_zero(q, end, min_u64(round_up_u64(end, unit), q->size) - end)) {
        stop = min_u64(round_up_u64(end, unit), q->size);
    }
    if (stop > start) {
        qcow2_range_hold(q, &range, start, stop - start, true);
        /* What was zero may have been written meanwhile. */
        if ((start < off && !is_zero(q, start, off - start)) ||
            (stop > end && !is_zero(q, end, stop - end))) {
            r = -ENOTSUP;
        } else if (q->version < 3) {
            r = qcow2_discard_clusters(q, start, stop - start, true);
        } else {
            r = qcow2_zero_clusters(q, start, stop - start, (flags & BLOCK_REQ_MAY_UNMAP) != 0);
        }
        qcow2_range_release(q, &range);
    }
    (void)pthread_mutex_unlock(&q->lock);
    if (r < 0 || stop <= start) {
        return r < 0 ? r : write_zero_bytes(q, off, len);
    }
    if (start > off) {
        r = write_zero_bytes(q, off, start - off);
    }
    if (r == 0 && end > stop) {
        r = write_zero_bytes(q, stop, end - stop);
    }
    return r;
}

int qcow2_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_range range = { 0 };
    uint64_t start = round_up_u64(off, q->cluster_size);
    uint64_t end = off + len == q->size ? off + len : round_down_u64(off + len, q->cluster_size);
    int r;

    if (end <= start) {
        return 0; /* less than a cluster: nothing that could be given back */
    }
    if (q->version < 3 && node->backing != NULL) {
        return 0; /* would bring back the backing image's content */
    }
    (void)pthread_mutex_lock(&q->lock);
    qcow2_range_hold(q, &range, start, end - start, true);
    if (q->has_data_file && q->version >= 3) {
        r = qcow2_zero_clusters(q, start, end - start, true);
        if (r == 0 && (q->autoclear & QCOW2_AUTOCLEAR_RAW) == 0) {
            r = block_discard(q->data_file, start, end - start);
        }
    } else {
        r = qcow2_discard_clusters(q, start, end - start, false);
    }
    qcow2_range_release(q, &range);
    (void)pthread_mutex_unlock(&q->lock);
    return r;
}

int qcow2_flush(struct block_node *node)
{
    struct qcow2 *q = qcow2_of(node);
    int r;

    (void)pthread_mutex_lock(&q->lock);
    r = qcow2_write_tables(q);
    (void)pthread_mutex_unlock(&q->lock);
    return r == 0 ? qcow2_barrier(q) : r;
}

/* ---- status ---- */

/* Images with preallocated metadata have clusters that are holes of the file: only then is it worth
 * to ask the file, too. A tenth more clusters counted than the file has space for tells. */
static bool has_holes(struct qcow2 *q)
{
    int64_t allocated = block_allocated_size(q->node.file);
    int64_t length = block_length(q->node.file);
    uint64_t real = (uint64_t)allocated >> q->cluster_bits;
    uint64_t threshold = max_u64(real * 10 / 9, real + 2);
    uint64_t count = 0;

    if (allocated < 0 || length < 0) {
        return false;
    }
    for (uint64_t i = 0; i < qcow2_clusters(q, (uint64_t)length) && count < threshold; i++) {
        uint64_t refs;

        if (qcow2_refcount_get(q, i, &refs) < 0) {
            return false;
        }
        count += refs > 0;
    }
    return count >= threshold;
}

int qcow2_status(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_run run;
    int r;

    *ret = (struct block_extent) { 0 };
    (void)pthread_mutex_lock(&q->lock);
    if (!q->sparse_checked) {
        q->sparse_checked = true;
        q->sparse = has_holes(q);
    }
    r = qcow2_run_at(q, off, len, &run);
    if (r == 0) {
        ret->len = run.len;
        /* Runs end with their table's piece; what follows may go on alike. */
        while (ret->len < len) {
            struct qcow2_run next;

            if (qcow2_run_at(q, off + ret->len, len - ret->len, &next) < 0 ||
                next.type != run.type || run.type == QCOW2_TYPE_COMPRESSED ||
                (run.host != 0 && next.host != run.host + ret->len)) {
                break;
            }
            ret->len += next.len;
        }
    }
    (void)pthread_mutex_unlock(&q->lock);
    if (r < 0) {
        return r;
    }
    switch (run.type) {
    case QCOW2_NORMAL:
        ret->flags = BLOCK_DATA | BLOCK_ALLOCATED |
                     (q->sparse && q->crypt_method == QCOW2_CRYPT_NONE ? BLOCK_RECURSE : 0);
        break;
    case QCOW2_TYPE_COMPRESSED:
        ret->flags = BLOCK_DATA | BLOCK_ALLOCATED | BLOCK_COMPRESSED;
        break;
    case QCOW2_ZERO_PLAIN:
    case QCOW2_ZERO_ALLOC:
        ret->flags = BLOCK_ZERO | BLOCK_ALLOCATED;
        break;
    default:
        break;
    }
    if ((run.type == QCOW2_NORMAL || run.type == QCOW2_ZERO_ALLOC ||
         run.type == QCOW2_UNALLOCATED_ALLOC) &&
        q->crypt_method == QCOW2_CRYPT_NONE) {
        ret->flags |= BLOCK_OFFSET;
        ret->host = q->data_file;
        ret->host_off = run.host;
    }
    return 0;
}

int qcow2_map(struct block_node *node, enum block_op op, uint64_t off, uint64_t len,
              struct block_map *ret)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_range *range;
    struct qcow2_run run;
    int r;

    if ((op != BLOCK_READ && op != BLOCK_WRITE) || q->crypt_method != QCOW2_CRYPT_NONE ||
        len == 0 || pthread_mutex_trylock(&q->lock) != 0) {
        return -EAGAIN;
    }
    q->peek = true;
    r = qcow2_run_at(q, off, len, &run);
    q->peek = false;
    if (r == 0 && run.len == len && run.type == QCOW2_NORMAL && (op == BLOCK_READ || run.copied)) {
        *ret = (struct block_map) { .child = q->data_file, .off = run.host, .fd = -1 };
    } else if (r == 0 && run.len == len && op == BLOCK_READ &&
               run.type == QCOW2_UNALLOCATED_PLAIN && node->backing != NULL &&
               range_within(off, len, (uint64_t)block_length(node->backing))) {
        *ret = (struct block_map) { .child = node->backing, .off = off, .fd = -1 };
    } else {
        r = -EAGAIN;
    }
    /* What lies in a read-only image stays where it is. */
    if (r == 0 && !node->read_only) {
        range = malloc(sizeof(*range));
        if (range != NULL && qcow2_range_try(q, range, off, len, false)) {
            ret->held = range;
        } else {
            free(range);
            r = -EAGAIN;
        }
    }
    (void)pthread_mutex_unlock(&q->lock);
    return r;
}
