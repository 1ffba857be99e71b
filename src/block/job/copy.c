/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/job/copy.h"

#include "base/bytes.h"
#include "block/core/iov.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* One piece: large enough that calls do not count, small enough to stay in the CPU's cache between
 * reading, looking for zeroes and writing. */
enum { PIECE = 1 << 20, ALIGN = 4096 };

struct state {
    struct block_copy *c;
    uint64_t total;
    uint64_t starts[COPY_MAX_SOURCES + 1];
    uint64_t unit; /* zeroes are looked for in pieces of this */
    uint64_t piece;
    bool has_zero_init;

    pthread_mutex_t lock;
    pthread_cond_t turn_cond;
    uint64_t next;   /* where the next piece begins */
    uint64_t ticket; /* of the next piece */
    uint64_t turn;   /* which piece may write */
    uint64_t done;
    uint64_t allowed; /* bytes since started, by the rate */
    struct timespec started;
    struct block_extent ext; /* of the source from ext_off */
    uint64_t ext_off;
    int result;
};

struct piece {
    uint64_t off;
    uint64_t len;
    uint64_t ticket;
    bool zero; /* reads as zeroes */
    bool skip; /* the target has it already */
    struct block_node *source;
    uint64_t source_off;
};

static unsigned source_at(const struct state *s, uint64_t off)
{
    unsigned i = 0;

    while (i + 1 < s->c->n_sources && off >= s->starts[i + 1]) {
        i++;
    }
    return i;
}

/* What is to be done with the bytes from off. Locked. */
static int classify(struct state *s, struct piece *p)
{
    struct block_copy *c = s->c;
    unsigned i = source_at(s, p->off);
    uint64_t in = p->off - s->starts[i];
    uint64_t end = s->starts[i + 1];
    int r;

    if (p->off < s->ext_off || p->off >= s->ext_off + s->ext.len) {
        s->ext_off = p->off;
        r = block_status_above(c->sources[i], c->base, in, min_u64(end - p->off, 1ull << 40),
                               &s->ext, NULL);
        if (r < 0 && c->salvage) {
            s->ext = (struct block_extent) { .len = min_u64(end - p->off, 65536),
                                             .flags = BLOCK_DATA | BLOCK_ALLOCATED };
            r = 0;
        }
        if (r < 0) {
            c->read_failed = true;
            c->failed_off = p->off;
            return r;
        }
    }
    p->len = min_u64(s->ext_off + s->ext.len, end) - p->off;
    p->source = c->sources[i];
    p->source_off = in;
    p->zero = (s->ext.flags & BLOCK_ZERO) != 0;
    if ((s->ext.flags & BLOCK_ALLOCATED) == 0 && c->target_backing != NULL) {
        /* Behind the end of the target's backing image there is nothing to fall back to. */
        int64_t below = block_length(c->target_backing);

        if (p->off < (uint64_t)below) {
            p->skip = true;
            p->len = min_u64(p->len, (uint64_t)below - p->off);
        }
    } else if ((s->ext.flags & BLOCK_ALLOCATED) == 0 && c->base != NULL) {
        p->skip = true;
    }
    if (p->zero && c->min_zero == 0 && !p->skip && c->target_backing == NULL) {
        p->zero = false; /* everything is written */
    }
    return 0;
}

/* Compressed clusters are written once, whole: pieces begin and end at clusters. */
static int take_whole(struct state *s, struct piece *p)
{
    uint64_t end = min_u64(round_down_u64(p->off, s->unit) + s->piece, s->total);
    struct piece first = *p;
    uint64_t at = p->off;

    if ((first.zero || first.skip) && first.len >= s->unit) {
        p->len = p->off + first.len == s->total ? first.len : round_down_u64(first.len, s->unit);
        return 0;
    }
    /* Data up to where a whole cluster of something else begins. */
    p->zero = p->skip = false;
    while (at < end) {
        struct piece q = { .off = at };
        int r = classify(s, &q);

        if (r < 0) {
            return r;
        }
        if ((q.zero || q.skip) && round_up_u64(at, s->unit) + s->unit <= at + q.len &&
            round_up_u64(at, s->unit) > p->off) {
            at = round_up_u64(at, s->unit);
            break;
        }
        at += q.len;
    }
    p->len = min_u64(at, end) - p->off;
    return 0;
}

/* The next piece; 0 length at the end. */
static int take(struct state *s, struct piece *p)
{
    int r = 0;

    *p = (struct piece) { .off = s->next };
    if (s->result < 0 || s->next >= s->total) {
        return 0;
    }
    if (s->c->cancelled != NULL && s->c->cancelled(s->c->arg)) {
        return -ECANCELED;
    }
    r = classify(s, p);
    if (r == 0 && s->c->compressed) {
        r = take_whole(s, p);
    } else if (r == 0 && !p->zero && !p->skip) {
        p->len = min_u64(p->len, round_down_u64(p->off, s->unit) + s->piece - p->off);
    }
    s->next = p->off + p->len;
    p->ticket = s->ticket++;
    return r;
}

static void limit_rate(struct state *s, uint64_t len)
{
    struct timespec now;
    double due;
    double passed;

    if (s->c->rate == 0) {
        return;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->allowed += len;
    due = (double)s->allowed / (double)s->c->rate;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    passed =
        (double)(now.tv_sec - s->started.tv_sec) + (double)(now.tv_nsec - s->started.tv_nsec) / 1e9;
    (void)pthread_mutex_unlock(&s->lock);
    if (due > passed) {
        double wait = due - passed;
        struct timespec ts = { .tv_sec = (time_t)wait,
                               .tv_nsec = (long)((wait - (double)(time_t)wait) * 1e9) };

        (void)nanosleep(&ts, NULL);
    }
}

static int read_piece(struct state *s, const struct piece *p, uint8_t *buf)
{
    uint64_t done = 0;
    int r = 0;

    /* A piece may reach over the border of sources. */
    while (r == 0 && done < p->len) {
        unsigned i = source_at(s, p->off + done);
        uint64_t part = min_u64(p->len - done, s->starts[i + 1] - p->off - done);

        r = block_pread(s->c->sources[i], buf + done, part, p->off + done - s->starts[i]);
        if (r < 0 && s->c->salvage) {
            /* Sector by sector: what can be read is kept. */
            for (uint64_t at = 0; at < part; at += BLOCK_SECTOR) {
                size_t n = min_u64(BLOCK_SECTOR, part - at);
                int e = block_pread(s->c->sources[i], buf + done + at, n,
                                    p->off + done + at - s->starts[i]);

                if (e < 0) {
                    memset(buf + done + at, 0, n);
                    if (s->c->unreadable != NULL) {
                        s->c->unreadable(s->c->arg, p->off + done + at, n, e);
                    }
                }
            }
            r = 0;
        }
        done += part;
    }
    return r;
}

static int write_zeroes(struct state *s, uint64_t off, uint64_t len)
{
    if (s->has_zero_init) {
        return 0;
    }
    return block_write_zeroes(s->c->target, off, len,
                              s->c->min_zero != 0 ? BLOCK_REQ_MAY_UNMAP : 0);
}

/* Data without its runs of zeroes. */
static int write_sparse(struct state *s, const struct piece *p, const uint8_t *buf)
{
    uint64_t at = 0;
    int r = 0;

    while (r == 0 && at < p->len) {
        uint64_t to = at;
        bool zero = false;

        for (uint64_t next = at; next < p->len;) {
            uint64_t step =
                min_u64(round_down_u64(p->off + next, s->unit) + s->unit - p->off, p->len);
            bool z = buf_is_zero(buf + next, step - next);

            if (to == at) {
                zero = z;
            } else if (z != zero) {
                break;
            }
            to = next = step;
        }
        r = zero ? write_zeroes(s, p->off + at, to - at)
                 : block_pwrite(s->c->target, buf + at, to - at, p->off + at);
        at = to;
    }
    return r;
}

static int write_compressed(struct state *s, const struct piece *p, const uint8_t *buf)
{
    int r = 0;

    for (uint64_t at = 0; r == 0 && at < p->len;) {
        uint64_t n = min_u64(s->unit, p->len - at);

        if (s->c->min_zero == 0 || !buf_is_zero(buf + at, n)) {
            r = block_pwrite_compressed(s->c->target, buf + at, n, p->off + at);
        } else if (s->c->target_backing != NULL || !s->has_zero_init) {
            r = block_write_zeroes(s->c->target, p->off + at, n, BLOCK_REQ_MAY_UNMAP);
        }
        at += n;
    }
    return r;
}

static int write_piece(struct state *s, const struct piece *p, const uint8_t *buf)
{
    if (p->skip) {
        return 0;
    }
    if (p->zero) {
        return s->c->target_backing != NULL
                   ? block_write_zeroes(s->c->target, p->off, p->len, BLOCK_REQ_MAY_UNMAP)
                   : write_zeroes(s, p->off, p->len);
    }
    if (s->c->compressed) {
        return write_compressed(s, p, buf);
    }
    return s->c->min_zero > 0 ? write_sparse(s, p, buf)
                              : block_pwrite(s->c->target, buf, p->len, p->off);
}

/* Waits for the piece's turn; false when it need not be written any more. */
static bool await_turn(struct state *s, const struct piece *p)
{
    bool go;

    (void)pthread_mutex_lock(&s->lock);
    while (!s->c->out_of_order && !s->c->compressed && s->turn != p->ticket && s->result == 0) {
        (void)pthread_cond_wait(&s->turn_cond, &s->lock);
    }
    go = s->result == 0;
    (void)pthread_mutex_unlock(&s->lock);
    return go;
}

static void finish(struct state *s, const struct piece *p, int r)
{
    (void)pthread_mutex_lock(&s->lock);
    if (r < 0 && s->result == 0) {
        s->result = r;
        s->c->failed_off = p->off;
    }
    s->turn = p->ticket + 1;
    s->done += p->len;
    if (s->c->progress != NULL && s->result == 0) {
        s->c->progress(s->c->arg, s->done, s->total);
    }
    (void)pthread_cond_broadcast(&s->turn_cond);
    (void)pthread_mutex_unlock(&s->lock);
}

static void *copy_main(void *arg)
{
    struct state *s = arg;
    void *mem = NULL;
    int r = posix_memalign(&mem, ALIGN, s->piece + ALIGN) == 0 ? 0 : -ENOMEM;

    for (;;) {
        struct piece p = { 0 };

        (void)pthread_mutex_lock(&s->lock);
        if (r == 0) {
            r = take(s, &p);
        }
        if (r < 0 && s->result == 0) {
            s->result = r;
        }
        if (s->result < 0) {
            (void)pthread_cond_broadcast(&s->turn_cond);
        }
        (void)pthread_mutex_unlock(&s->lock);
        if (r < 0 || p.len == 0) {
            break;
        }
        if (!p.skip && !p.zero) {
            limit_rate(s, p.len);
            r = read_piece(s, &p, mem);
            if (r < 0) {
                s->c->read_failed = true;
            }
        }
        if (r == 0 && await_turn(s, &p)) {
            r = write_piece(s, &p, mem);
        }
        finish(s, &p, r);
    }
    free(mem);
    return NULL;
}

static int prepare(struct state *s)
{
    struct block_copy *c = s->c;
    struct block_info info = { 0 };

    for (unsigned i = 0; i < c->n_sources; i++) {
        int64_t len = block_length(c->sources[i]);

        if (len < 0) {
            return (int)len;
        }
        s->starts[i] = s->total;
        s->total += (uint64_t)len;
    }
    s->starts[c->n_sources] = s->total;
    if (c->target->drv->info != NULL) {
        c->target->drv->info(c->target, &info);
    }
    s->piece = PIECE;
    /* A cluster is written whole or not at all. */
    s->unit = max_u64(c->min_zero, BLOCK_SECTOR);
    if (info.cluster_size > s->unit && info.cluster_size <= PIECE &&
        c->target->drv->supports_backing) {
        s->unit = info.cluster_size;
    }
    if (c->compressed) {
        s->unit = info.cluster_size != 0 ? info.cluster_size : 65536;
        s->piece = max_u64(s->unit, min_u64(PIECE, s->unit * 8));
    }
    if ((s->unit & (s->unit - 1)) != 0) {
        s->unit = 4096;
    }
    s->piece = max_u64(s->piece, s->unit);
    s->has_zero_init = c->target_is_zero && c->target_backing == NULL;
    return 0;
}

int block_copy(struct block_copy *c)
{
    struct state s = { .c = c };
    pthread_t threads[COPY_MAX_THREADS];
    unsigned n = 0;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned want = c->threads < 1                  ? 1
                    : c->threads > COPY_MAX_THREADS ? COPY_MAX_THREADS
                                                    : c->threads;
    int r = prepare(&s);

    if (r < 0) {
        return r;
    }
    /* More threads than CPUs only help where reading waits for somebody else's. */
    if (cpus > 0 && want > (unsigned)cpus * 2) {
        want = (unsigned)cpus * 2;
    }
    if (c->compressed && cpus > 0 && want > (unsigned)cpus) {
        want = (unsigned)cpus;
    }
    (void)pthread_mutex_init(&s.lock, NULL);
    (void)pthread_cond_init(&s.turn_cond, NULL);
    (void)clock_gettime(CLOCK_MONOTONIC, &s.started);
    while (n + 1 < want && pthread_create(&threads[n], NULL, copy_main, &s) == 0) {
        n++;
    }
    (void)copy_main(&s);
    while (n > 0) {
        (void)pthread_join(threads[--n], NULL);
    }
    (void)pthread_mutex_destroy(&s.lock);
    (void)pthread_cond_destroy(&s.turn_cond);
    return s.result;
}
