/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tables.c - L2 tables and refcount blocks in memory, and the order in which they reach the disk.
 *
 * Dirty pieces are written together: refcount blocks, a barrier, L2 tables, a barrier, and only
 * then are the clusters of q->pending_free given up in memory, to be written with the next round.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "block/core/iov.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int cache_init(struct qcow2_cache *c, const struct qcow2 *q, uint64_t bytes)
{
    uint64_t n = max_u64(bytes / q->slice_bytes, 16);

    c->max = (unsigned)min_u64(n, 1u << 20);
    c->hash_size = 64;
    while (c->hash_size < c->max) {
        c->hash_size *= 2;
    }
    c->hash = calloc(c->hash_size, sizeof(struct qcow2_slice *));
    list_init(&c->lru);
    return c->hash != NULL ? 0 : -ENOMEM;
}

int qcow2_caches_init(struct qcow2 *q, uint64_t l2_bytes, uint64_t rb_bytes)
{
    int r;

    q->slice_bytes = (unsigned)min_u64(q->cluster_size, QCOW2_SLICE_MAX);
    r = cache_init(&q->l2_cache, q, l2_bytes);
    return r == 0 ? cache_init(&q->rb_cache, q, rb_bytes) : r;
}

static struct qcow2_slice **bucket(struct qcow2_cache *c, uint64_t off)
{
    return &c->hash[(off >> 9) * 0x9e3779b97f4a7c15ull >> 32 & (c->hash_size - 1)];
}

static struct qcow2_slice *find(struct qcow2_cache *c, uint64_t off)
{
    struct qcow2_slice *s = *bucket(c, off);

    while (s != NULL && s->off != off) {
        s = s->hash_next;
    }
    return s;
}

static void unhash(struct qcow2_cache *c, struct qcow2_slice *s)
{
    struct qcow2_slice **p = bucket(c, s->off);

    while (*p != s) {
        p = &(*p)->hash_next;
    }
    *p = s->hash_next;
}

static void drop(struct qcow2_cache *c, struct qcow2_slice *s)
{
    unhash(c, s);
    list_remove(&s->lru);
    c->n_dirty -= s->dirty;
    c->n--;
    free(s);
}

void qcow2_cache_drop_all(struct qcow2_cache *c)
{
    while (c->hash != NULL && !list_empty(&c->lru)) {
        drop(c, CONTAINER_OF(c->lru.next, struct qcow2_slice, lru));
    }
}

void qcow2_caches_done(struct qcow2 *q)
{
    qcow2_cache_drop_all(&q->l2_cache);
    qcow2_cache_drop_all(&q->rb_cache);
    free(q->l2_cache.hash);
    free(q->rb_cache.hash);
    q->l2_cache.hash = q->rb_cache.hash = NULL;
}

void qcow2_cache_drop(struct qcow2 *q, struct qcow2_cache *c, uint64_t off)
{
    for (uint64_t at = off; at < off + q->cluster_size; at += q->slice_bytes) {
        struct qcow2_slice *s = find(c, at);

        if (s != NULL) {
            drop(c, s);
        }
    }
}

void qcow2_slice_dirty(struct qcow2_cache *c, struct qcow2_slice *s)
{
    c->n_dirty += !s->dirty;
    s->dirty = true;
}

static int by_offset(const void *a, const void *b)
{
    const struct qcow2_slice *x = *(struct qcow2_slice *const *)a;
    const struct qcow2_slice *y = *(struct qcow2_slice *const *)b;

    return x->off < y->off ? -1 : x->off > y->off;
}

/* Neighbours go in one write. */
static int write_dirty(struct qcow2 *q, struct qcow2_cache *c)
{
    enum { BATCH = 256 };
    AUTO_FREE struct qcow2_slice **all = NULL;
    size_t n = 0;
    int r = 0;

    if (c->n_dirty == 0) {
        return 0;
    }
    all = calloc(c->n_dirty, sizeof(struct qcow2_slice *));
    if (all == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH (&c->lru, it) {
        struct qcow2_slice *s = CONTAINER_OF(it, struct qcow2_slice, lru);

        if (s->dirty) {
            all[n++] = s;
        }
    }
    qsort(all, n, sizeof(struct qcow2_slice *), by_offset);
    for (size_t i = 0; r == 0 && i < n;) {
        struct iovec iov[BATCH];
        size_t run = 0;

        while (i + run < n && run < BATCH &&
               all[i + run]->off == all[i]->off + run * q->slice_bytes) {
            iov[run].iov_base = all[i + run]->data;
            iov[run].iov_len = q->slice_bytes;
            run++;
        }
        r = block_pwritev(q->node.file, iov, (unsigned)run, all[i]->off);
        for (size_t k = 0; r == 0 && k < run; k++) {
            all[i + k]->dirty = false;
            c->n_dirty--;
        }
        i += run;
    }
    return r;
}

int qcow2_barrier(struct qcow2 *q)
{
    int r = q->node.no_flush ? 0 : block_flush(q->node.file);

    return r == 0 && q->has_data_file && !q->node.no_flush ? block_flush(q->data_file) : r;
}

static int write_l1(struct qcow2 *q)
{
    /* Whole sectors, so that a torn write tears no entry. */
    uint32_t per = BLOCK_SECTOR / sizeof(uint64_t);
    uint32_t lo = q->l1_dirty_lo / per * per;
    uint32_t hi = (uint32_t)min_u64(round_up_u64(q->l1_dirty_hi, per), q->l1_size);
    AUTO_FREE uint8_t *raw = malloc((hi - lo) * sizeof(uint64_t));
    int r;

    if (raw == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = lo; i < hi; i++) {
        be64_put(raw + (i - lo) * 8, q->l1[i]);
    }
    r = block_pwrite(q->node.file, raw, (hi - lo) * sizeof(uint64_t),
                     q->l1_offset + lo * sizeof(uint64_t));
    if (r == 0) {
        q->l1_dirty_lo = q->l1_dirty_hi = 0;
    }
    return r;
}

int qcow2_write_refcounts(struct qcow2 *q)
{
    int r = write_dirty(q, &q->rb_cache);

    return r == 0 ? qcow2_barrier(q) : r;
}

int qcow2_write_tables(struct qcow2 *q)
{
    bool lazy = q->lazy && q->dirty_set && !q->closing;
    int r = 0;

    /* With lazy refcounts the header's dirty bit says that they are to be rebuilt. */
    if (q->rb_cache.n_dirty > 0 && !lazy) {
        r = write_dirty(q, &q->rb_cache);
    }
    /* The barrier is for the data, too, that new entries point to. */
    if (r == 0 && q->l2_cache.n_dirty > 0) {
        r = qcow2_barrier(q);
        if (r == 0) {
            r = write_dirty(q, &q->l2_cache);
        }
    }
    if (r == 0 && q->l1_dirty_lo < q->l1_dirty_hi) {
        r = qcow2_barrier(q);
        if (r == 0) {
            r = write_l1(q);
        }
    }
    if (r < 0 || q->n_pending == 0) {
        return r;
    }
    r = qcow2_barrier(q);
    if (r == 0) {
        size_t n = q->n_pending;

        q->n_pending = 0;
        for (size_t i = 0; i < n; i++) {
            qcow2_free_now(q, q->pending_free[2 * i], q->pending_free[2 * i + 1]);
        }
    }
    return r;
}

/* Room for one more slice. */
static int make_room(struct qcow2 *q, struct qcow2_cache *c)
{
    struct qcow2_slice *victim;
    int r;

    if (c->n < c->max) {
        return 0;
    }
    victim = CONTAINER_OF(c->lru.prev, struct qcow2_slice, lru);
    if (victim->dirty) {
        r = c == &q->rb_cache ? write_dirty(q, c) : qcow2_write_tables(q);
        if (r < 0) {
            return r;
        }
        victim = CONTAINER_OF(c->lru.prev, struct qcow2_slice, lru);
        if (victim->dirty) {
            return c->n < 2 * c->max ? 0 : -ENOMEM; /* freeing dirtied it again */
        }
    }
    drop(c, victim);
    return 0;
}

static int get_slice(struct qcow2 *q, struct qcow2_cache *c, uint64_t off, bool fresh,
                     struct qcow2_slice **ret)
{
    uint64_t at = off & ~(uint64_t)(q->slice_bytes - 1);
    struct qcow2_slice *s = find(c, at);
    int r;

    if (s == NULL && q->peek) {
        return -EAGAIN;
    }
    if (s == NULL) {
        r = make_room(q, c);
        if (r < 0) {
            return r;
        }
        s = malloc(sizeof(*s) + q->slice_bytes);
        if (s == NULL) {
            return -ENOMEM;
        }
        s->off = at;
        s->dirty = false;
        if (!fresh) {
            r = block_pread(q->node.file, s->data, q->slice_bytes, at);
            if (r < 0) {
                free(s);
                return r;
            }
        }
        s->hash_next = *bucket(c, at);
        *bucket(c, at) = s;
        list_prepend(&c->lru, &s->lru);
        c->n++;
    } else if (c->lru.next != &s->lru) {
        list_remove(&s->lru);
        list_prepend(&c->lru, &s->lru);
    }
    if (fresh) {
        memset(s->data, 0, q->slice_bytes);
        qcow2_slice_dirty(c, s);
    }
    *ret = s;
    return 0;
}

int qcow2_l2_slice(struct qcow2 *q, uint64_t off, struct qcow2_slice **ret)
{
    return get_slice(q, &q->l2_cache, off, false, ret);
}

int qcow2_rb_slice(struct qcow2 *q, uint64_t off, struct qcow2_slice **ret)
{
    return get_slice(q, &q->rb_cache, off, false, ret);
}

static int fresh_table(struct qcow2 *q, struct qcow2_cache *c, uint64_t off)
{
    struct qcow2_slice *s;
    int r = 0;

    for (uint64_t at = off; r == 0 && at < off + q->cluster_size; at += q->slice_bytes) {
        r = get_slice(q, c, at, true, &s);
    }
    return r;
}

int qcow2_l2_fresh(struct qcow2 *q, uint64_t off)
{
    return fresh_table(q, &q->l2_cache, off);
}

int qcow2_rb_fresh(struct qcow2 *q, uint64_t off)
{
    return fresh_table(q, &q->rb_cache, off);
}
