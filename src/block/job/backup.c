/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * backup.c - the image as it is now, in a target: what a guest is about to overwrite is copied
 * first.
 */
#include "block/job/inside.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT = 65536 };

static bool get(const uint64_t *bits, uint64_t i)
{
    return (bits[i / 64] >> (i % 64) & 1) != 0;
}

static int copy(struct block_job *job, uint64_t i, uint8_t *buf)
{
    uint64_t size = (uint64_t)block_length(job->spec.node);
    uint64_t off = i * job->unit;
    uint64_t len = off < size ? min_u64(job->unit, size - off) : 0;
    struct block_extent ext;
    int r;

    if (len == 0) {
        return 0;
    }
    r = block_status_above(job->spec.node, NULL, off, len, &ext, NULL);
    if (r == 0 && (ext.flags & BLOCK_ZERO) != 0 && ext.len >= len) {
        return block_write_zeroes(job->spec.target, off, len, BLOCK_REQ_MAY_UNMAP);
    }
    r = block_pread(job->spec.node, buf, len, off);
    return r == 0 ? block_pwrite(job->spec.target, buf, len, off) : r;
}

/* Copies a unit once, whoever comes first; others wait for it. */
static int copy_once(struct block_job *job, uint64_t i, uint8_t *buf)
{
    int r = 0;

    (void)pthread_mutex_lock(&job->lock);
    while (get(job->copying, i)) {
        (void)pthread_cond_wait(&job->cond, &job->lock);
    }
    if (!get(job->copied, i)) {
        job->copying[i / 64] |= 1ull << (i % 64);
        (void)pthread_mutex_unlock(&job->lock);
        r = copy(job, i, buf);
        (void)pthread_mutex_lock(&job->lock);
        job->copying[i / 64] &= ~(1ull << (i % 64));
        if (r == 0) {
            job->copied[i / 64] |= 1ull << (i % 64);
            job->done += job->unit;
        }
        (void)pthread_cond_broadcast(&job->cond);
    }
    (void)pthread_mutex_unlock(&job->lock);
    return r;
}

static int before_write(struct block_hook *hook, uint64_t off, uint64_t len)
{
    struct block_job *job = CONTAINER_OF(hook, struct block_job, hook);
    AUTO_FREE uint8_t *buf = malloc(job->unit);
    int r = buf != NULL ? 0 : -ENOMEM;

    for (uint64_t i = off / job->unit; r == 0 && i <= (off + len - 1) / job->unit; i++) {
        r = copy_once(job, i, buf);
    }
    if (r < 0) {
        /* The guest's write matters more than the backup, which is broken now. */
        (void)pthread_mutex_lock(&job->lock);
        job->cancel_wanted = job->force_cancel = true;
        (void)err_set(&job->err, -r, "cannot copy what the guest overwrites: %s", strerror(-r));
        (void)pthread_mutex_unlock(&job->lock);
    }
    return 0;
}

/* Units that need no copy count as copied from the start. */
static void leave_out(struct block_job *job, uint64_t n)
{
    uint64_t size = (uint64_t)block_length(job->spec.node);
    struct block_node *base = block_backing(job->spec.node);

    for (uint64_t i = 0; i < n; i++) {
        uint64_t off = i * job->unit;
        uint64_t len = min_u64(job->unit, size - off);
        bool wanted = true;

        if (job->spec.sync == BLOCK_SYNC_BITMAP) {
            uint64_t at;
            uint64_t run;

            wanted = block_bitmap_next(job->spec.bitmap, off, len, &at, &run) && at < off + len;
        } else if (job->spec.sync == BLOCK_SYNC_TOP) {
            uint64_t got = 0;

            wanted = false;
            for (uint64_t p = off; !wanted && p < off + len; p += got) {
                wanted =
                    block_allocated_above(job->spec.node, base, false, p, off + len - p, &got) != 0;
            }
        }
        if (!wanted) {
            job->copied[i / 64] |= 1ull << (i % 64);
        }
    }
}

static int begin(struct block_job *job, struct err **err)
{
    int64_t size = block_length(job->spec.node);
    struct block_info info = { 0 };
    uint64_t n;
    int r = 0;

    if (size < 0 || job->spec.target->read_only) {
        return err_set(err, size < 0 ? EIO : EROFS,
                       size < 0 ? "cannot tell the image's size" : "The target is read-only");
    }
    if (block_length(job->spec.target) < size) {
        r = block_truncate(job->spec.target, (uint64_t)size, BLOCK_PREALLOC_OFF, err);
    }
    if (job->spec.target->drv->info != NULL) {
        job->spec.target->drv->info(job->spec.target, &info);
    }
    job->unit = max_u64(UNIT, (info.cluster_size & (info.cluster_size - 1)) == 0 ? info.cluster_size
                                                                                 : UNIT);
    n = ((uint64_t)size + job->unit - 1) / job->unit;
    job->copied = calloc(n / 64 + 1, sizeof(uint64_t));
    job->copying = calloc(n / 64 + 1, sizeof(uint64_t));
    if (r < 0 || job->copied == NULL || job->copying == NULL) {
        return r < 0 ? r : err_set(err, ENOMEM, "no memory");
    }
    leave_out(job, n);
    job->total = (uint64_t)size;
    if (job->spec.bitmap != NULL) {
        /* From now on it collects for the next backup; what was in it comes back on failure. */
        struct block_bitmap *bm = job->spec.bitmap;

        bm->busy = true;
        if (job->spec.bitmap_mode != BLOCK_BITMAP_NEVER) {
            r = block_bitmap_add(job->spec.node, NULL, bm->granularity, &job->dirty, err);
            if (r == 0) {
                job->dirty->enabled = false;
                r = block_bitmap_merge(job->dirty, bm, err);
                block_bitmap_clear(bm);
            }
        }
    }
    if (r == 0) {
        job->hook.before = before_write;
        block_hook_add(job->spec.node, &job->hook);
    }
    return r;
}

static int run(struct block_job *job, struct err **err)
{
    uint64_t size = (uint64_t)block_length(job->spec.node);
    AUTO_FREE uint8_t *buf = malloc(job->unit);
    int r = buf != NULL ? 0 : -ENOMEM;

    for (uint64_t i = 0; r == 0 && i * job->unit < size; i++) {
        if (get(job->copied, i)) {
            r = i % 1024 == 0 ? block_job_point(job, 0) : 0;
            continue;
        }
        if (job->spec.sync == BLOCK_SYNC_NONE) {
            break;
        }
        r = copy_once(job, i, buf);
        if (r < 0) {
            r = block_job_error(job, r);
            i -= r == 0; /* stopped and resumed: once more */
            r = r > 0 ? 0 : r;
            continue;
        }
        r = block_job_point(job, job->unit);
    }
    /* Only what guests overwrite, until cancelled. */
    while (r == 0 && job->spec.sync == BLOCK_SYNC_NONE && !block_job_wants_end(job)) {
        r = block_job_point(job, 0);
    }
    if (r == 0) {
        r = block_flush(job->spec.target);
    }
    block_job_progress(job, size, size);
    return r < 0 ? err_set(err, -r, "%s", strerror(-r)) : 0;
}

static void clean(struct block_job *job, bool success)
{
    struct block_bitmap *bm = job->spec.bitmap;

    block_hook_remove(job->spec.node, &job->hook);
    if (bm != NULL && job->dirty != NULL) {
        if (!success && job->spec.bitmap_mode == BLOCK_BITMAP_ON_SUCCESS) {
            (void)!block_bitmap_merge(bm, job->dirty, NULL);
        }
        block_bitmap_remove(job->spec.node, job->dirty);
        job->dirty = NULL;
    }
    if (bm != NULL) {
        bm->busy = false;
    }
}

const struct block_job_ops block_job_backup_ops = { .begin = begin, .run = run, .clean = clean };
