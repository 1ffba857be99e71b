/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stream.c - an image gets what its backing images hold, and does not need them any more.
 *
 * A piece is read from below and written to the top. A guest's write to the same place must not
 * come between: writes under way are listed, and the job and they wait for each other.
 */
#include "block/job/inside.h"

#include "base/bytes.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512 << 10 };

struct block_job_write {
    struct block_job_write *next;
    uint64_t off;
    uint64_t len;
};

static bool overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a < b + b_len && b < a + a_len;
}

static bool is_own(const struct block_job *job)
{
    return job->has_thread && pthread_equal(job->thread, pthread_self()) != 0;
}

static int before_write(struct block_hook *hook, uint64_t off, uint64_t len)
{
    struct block_job *job = CONTAINER_OF(hook, struct block_job, hook);
    struct block_job_write *w;

    if (is_own(job)) {
        return 0;
    }
    w = malloc(sizeof(*w));
    if (w == NULL) {
        return -ENOMEM;
    }
    *w = (struct block_job_write) { .off = off, .len = len };
    (void)pthread_mutex_lock(&job->lock);
    while (overlaps(off, len, job->busy_off, job->busy_len)) {
        (void)pthread_cond_wait(&job->cond, &job->lock);
    }
    w->next = job->writes;
    job->writes = w;
    (void)pthread_mutex_unlock(&job->lock);
    return 0;
}

static void after_write(struct block_hook *hook, enum block_op op, const struct iovec *iov,
                        unsigned n, uint64_t off, uint64_t len, int result)
{
    struct block_job *job = CONTAINER_OF(hook, struct block_job, hook);
    struct block_job_write **p;

    (void)op;
    (void)iov;
    (void)n;
    (void)result;
    if (is_own(job)) {
        return;
    }
    (void)pthread_mutex_lock(&job->lock);
    for (p = &job->writes; *p != NULL; p = &(*p)->next) {
        if ((*p)->off == off && (*p)->len == len) {
            struct block_job_write *w = *p;

            *p = w->next;
            free(w);
            break;
        }
    }
    (void)pthread_cond_broadcast(&job->cond);
    (void)pthread_mutex_unlock(&job->lock);
}

static void take(struct block_job *job, uint64_t off, uint64_t len)
{
    bool clash;

    (void)pthread_mutex_lock(&job->lock);
    do {
        clash = false;
        for (struct block_job_write *w = job->writes; w != NULL; w = w->next) {
            clash |= overlaps(off, len, w->off, w->len);
        }
        if (clash) {
            (void)pthread_cond_wait(&job->cond, &job->lock);
        }
    } while (clash);
    job->busy_off = off;
    job->busy_len = len;
    (void)pthread_mutex_unlock(&job->lock);
}

static void give(struct block_job *job)
{
    (void)pthread_mutex_lock(&job->lock);
    job->busy_len = 0;
    (void)pthread_cond_broadcast(&job->cond);
    (void)pthread_mutex_unlock(&job->lock);
}

static int begin(struct block_job *job, struct err **err)
{
    (void)err;
    job->hook.before = before_write;
    job->hook.after = after_write;
    block_hook_add(job->spec.node, &job->hook);
    return 0;
}

/* Brings up what is not in the top yet; *ret_len how far that goes. */
static int bring_up(struct block_job *job, uint8_t *buf, uint64_t off, uint64_t len,
                    uint64_t *ret_len)
{
    struct block_node *top = block_skip_filters(job->spec.node);
    struct block_node *below = block_backing(top);
    struct block_extent ext;
    int r = block_status(top, off, len, &ext);

    *ret_len = ext.len;
    if (r < 0 || (ext.flags & BLOCK_ALLOCATED) != 0 || below == NULL || below == job->spec.base) {
        return r;
    }
    r = block_allocated_above(below, job->spec.base, false, off, ext.len, ret_len);
    if (r <= 0) {
        return r;
    }
    *ret_len = min_u64(*ret_len, CHUNK);
    r = block_status_above(below, job->spec.base, off, *ret_len, &ext, NULL);
    if (r < 0) {
        return r;
    }
    *ret_len = ext.len;
    if ((ext.flags & BLOCK_ZERO) != 0) {
        return block_write_zeroes(job->spec.node, off, ext.len, BLOCK_REQ_MAY_UNMAP);
    }
    r = block_pread(job->spec.node, buf, ext.len, off);
    return r == 0 ? block_pwrite(job->spec.node, buf, ext.len, off) : r;
}

static int run(struct block_job *job, struct err **err)
{
    uint64_t size = (uint64_t)block_length(job->spec.node);
    AUTO_FREE uint8_t *buf = malloc(CHUNK);
    int r = buf != NULL ? 0 : -ENOMEM;

    for (uint64_t off = 0; r == 0 && off < size;) {
        uint64_t part = min_u64(size - off, CHUNK);
        uint64_t len = part;

        take(job, off, part);
        r = bring_up(job, buf, off, part, &len);
        give(job);
        if (r < 0) {
            r = block_job_error(job, r);
            len = r > 0 ? part : 0;
            r = r > 0 ? 0 : r;
        }
        off += len;
        block_job_progress(job, off, size);
        r = r == 0 ? block_job_point(job, len) : r;
    }
    if (r == 0) {
        r = block_flush(job->spec.node);
    }
    return r < 0 ? err_set(err, -r, "%s", strerror(-r)) : 0;
}

static int finish(struct block_job *job, struct err **err)
{
    struct block_node *top = block_skip_filters(job->spec.node);
    struct block_node *base = job->spec.base;
    AUTO_FREE char *name = NULL;
    int r;

    if (base != NULL) {
        name = job->backing_file != NULL ? strdup(job->backing_file) : block_reopen_name(base);
        if (name == NULL) {
            return -ENOMEM;
        }
    }
    r = block_change_backing_file(top, name, base != NULL ? base->drv->name : NULL, err);
    return r == 0 ? block_set_backing(top, base) : r;
}

static void clean(struct block_job *job, bool success)
{
    (void)success;
    block_hook_remove(job->spec.node, &job->hook);
}

const struct block_job_ops block_job_stream_ops = {
    .begin = begin, .run = run, .finish = finish, .clean = clean
};
