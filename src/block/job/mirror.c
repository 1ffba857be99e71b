/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mirror.c - mirror, and commit: a target that follows an image in use.
 *
 * A dirty bitmap of the source begins with what is to be copied and gets every later write. A piece
 * is marked clean before it is read, so that a write during the copy makes it dirty again. Once
 * nothing is dirty the job is ready; at the end, with the guest's requests drained, the rest is
 * copied and the target takes the source's place.
 */
#include "block/job/inside.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/job/commit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 20 };

static struct block_node *target_of(struct block_job *job)
{
    return job->spec.type == BLOCK_JOB_COMMIT ? job->spec.base : job->spec.target;
}

static bool is_active(const struct block_job *job)
{
    return job->spec.type == BLOCK_JOB_MIRROR || job->spec.top == NULL ||
           job->spec.top == job->spec.node;
}

/* With copy-mode=write-blocking a guest's write is on both before it completes. */
static void after_write(struct block_hook *hook, enum block_op op, const struct iovec *iov,
                        unsigned n, uint64_t off, uint64_t len, int result)
{
    struct block_job *job = CONTAINER_OF(hook, struct block_job, hook);
    int r = -EIO;

    if (result == 0 && op == BLOCK_WRITE && iov != NULL) {
        r = block_pwritev(target_of(job), iov, n, off);
    } else if (result == 0 && op == BLOCK_WRITE_ZEROES) {
        r = block_write_zeroes(target_of(job), off, len, 0);
    }
    if (r == 0 && off % job->dirty->granularity == 0 && len % job->dirty->granularity == 0) {
        block_bitmap_reset(job->dirty, off, len);
    }
}

static int begin(struct block_job *job, struct err **err)
{
    struct block_node *target = target_of(job);
    int64_t size = block_length(job->spec.node);
    uint32_t granularity = job->spec.granularity != 0 ? (uint32_t)job->spec.granularity : 65536;
    int r = 0;

    if (size < 0) {
        return err_set(err, (int)-size, "cannot tell the image's size");
    }
    if (job->spec.type == BLOCK_JOB_COMMIT) {
        r = block_set_read_only(target, false, err);
    }
    if (r == 0 && target->read_only) {
        r = err_set(err, EROFS, "The target is read-only");
    }
    if (r == 0 && block_length(target) < size) {
        r = block_truncate(target, (uint64_t)size, BLOCK_PREALLOC_OFF, err);
    }
    if (r < 0 || !is_active(job)) {
        return r;
    }
    r = block_bitmap_add(job->spec.node, NULL, granularity, &job->dirty, err);
    if (r == 0 && job->spec.write_blocking) {
        job->hook.after = after_write;
        block_hook_add(job->spec.node, &job->hook);
    }
    return r;
}

/* What is to be copied at first. */
static int mark_start(struct block_job *job)
{
    struct block_node *node = job->spec.node;
    struct block_node *base = job->spec.type == BLOCK_JOB_COMMIT ? job->spec.base
                              : job->spec.sync == BLOCK_SYNC_TOP ? block_backing(node)
                                                                 : NULL;
    uint64_t size = (uint64_t)block_length(node);

    if (job->spec.sync == BLOCK_SYNC_NONE) {
        return 0;
    }
    if (job->spec.type == BLOCK_JOB_MIRROR && job->spec.sync == BLOCK_SYNC_FULL) {
        block_bitmap_set(job->dirty, 0, size);
        return 0;
    }
    for (uint64_t off = 0; off < size;) {
        uint64_t len;
        int r = block_allocated_above(node, base, false, off, size - off, &len);

        if (r < 0) {
            return r;
        }
        if (r > 0) {
            block_bitmap_set(job->dirty, off, len);
        }
        off += len;
    }
    return 0;
}

static int copy_piece(struct block_job *job, uint8_t *buf, uint64_t off, uint64_t len)
{
    struct block_node *node = job->spec.node;
    struct block_node *target = target_of(job);
    uint64_t end = off + len;
    int r = 0;

    while (r == 0 && off < end) {
        struct block_extent ext;

        r = block_status_above(node, NULL, off, end - off, &ext, NULL);
        if (r == 0 && (ext.flags & BLOCK_ZERO) != 0) {
            r = block_write_zeroes(target, off, ext.len, BLOCK_REQ_MAY_UNMAP);
        } else if (r == 0) {
            r = block_pread(node, buf, ext.len, off);
            if (r == 0) {
                r = block_pwrite(target, buf, ext.len, off);
            }
        }
        off += ext.len;
    }
    return r;
}

/* One pass over what is dirty. */
static int copy_dirty(struct block_job *job, uint8_t *buf, bool at_end)
{
    uint64_t at = 0;
    uint64_t off;
    uint64_t len;
    int r = 0;

    while (r == 0 && block_bitmap_next(job->dirty, at, CHUNK, &off, &len)) {
        block_bitmap_reset(job->dirty, off, len);
        r = copy_piece(job, buf, off, len);
        if (r < 0) {
            block_bitmap_set(job->dirty, off, len);
            r = at_end ? r : block_job_error(job, r);
            if (r > 0) { /* ignored: goes on behind it */
                r = 0;
                at = off + len;
            }
            continue;
        }
        at = off + len;
        if (!at_end) {
            (void)pthread_mutex_lock(&job->lock);
            job->done += len;
            job->total = job->done + block_bitmap_dirty_bytes(job->dirty);
            (void)pthread_mutex_unlock(&job->lock);
            r = block_job_point(job, len);
        }
    }
    return r;
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    block_job_progress(arg, done, total);
}

static bool is_cancelled(void *arg)
{
    return block_job_point(arg, 0) < 0;
}

static int run(struct block_job *job, struct err **err)
{
    AUTO_FREE uint8_t *buf = NULL;
    int r;

    if (!is_active(job)) {
        struct block_transfer t = {
            .progress = on_progress, .cancelled = is_cancelled, .arg = job, .rate = job->speed
        };

        return block_commit_images(job->spec.top, job->spec.base, &t, err);
    }
    buf = malloc(CHUNK);
    r = buf != NULL ? mark_start(job) : -ENOMEM;
    while (r == 0) {
        r = copy_dirty(job, buf, false);
        if (r == 0 && job->dirty->count == 0) {
            block_job_set_ready(job);
            if (block_job_wants_end(job)) {
                break;
            }
        }
        if (r == 0) {
            r = block_job_point(job, 0);
        }
    }
    if (r == 0) {
        r = block_flush(target_of(job));
    }
    return r < 0 ? err_set(err, -r, "%s", strerror(-r)) : 0;
}

/* The image whose backing image is top. */
static struct block_node *overlay_of(struct block_job *job)
{
    for (struct block_node *n = job->spec.node; n != NULL; n = block_backing(n)) {
        if (block_backing(n) == block_skip_filters(job->spec.top)) {
            return block_skip_filters(n);
        }
    }
    return NULL;
}

static int finish_passive(struct block_job *job, struct err **err)
{
    struct block_node *overlay = overlay_of(job);
    AUTO_FREE char *name =
        job->backing_file != NULL ? strdup(job->backing_file) : block_reopen_name(job->spec.base);
    bool was_ro;
    int r;

    if (overlay == NULL || name == NULL) {
        return err_set(err, ENOENT, "the image above the committed one is not there any more");
    }
    was_ro = overlay->read_only;
    r = block_set_read_only(overlay, false, err);
    if (r == 0) {
        r = block_change_backing_file(overlay, name, job->spec.base->drv->name, err);
    }
    if (r == 0) {
        r = block_set_backing(overlay, job->spec.base);
    }
    if (r == 0 && was_ro) {
        r = block_set_read_only(overlay, true, err);
    }
    return r;
}

static int finish(struct block_job *job, struct err **err)
{
    AUTO_FREE uint8_t *buf = NULL;
    int r;

    if (!is_active(job)) {
        return finish_passive(job, err);
    }
    buf = malloc(CHUNK);
    r = buf != NULL ? copy_dirty(job, buf, true) : -ENOMEM;
    if (r == 0) {
        r = block_flush(target_of(job));
    }
    if (r < 0) {
        return err_set(err, -r, "cannot copy the last writes: %s", strerror(-r));
    }
    return job->spec.replace != NULL
               ? job->spec.replace(job->spec.arg, job->spec.node, target_of(job), err)
               : 0;
}

static void clean(struct block_job *job, bool success)
{
    (void)success;
    if (job->dirty != NULL) {
        if (job->spec.write_blocking) {
            block_hook_remove(job->spec.node, &job->hook);
        }
        block_bitmap_remove(job->spec.node, job->dirty);
        job->dirty = NULL;
    }
    /* The base is a backing image again, unless guests write to it now. */
    if (job->spec.type == BLOCK_JOB_COMMIT && (!success || !is_active(job))) {
        (void)!block_set_read_only(job->spec.base, true, NULL);
    }
}

const struct block_job_ops block_job_mirror_ops = {
    .begin = begin, .run = run, .finish = finish, .clean = clean
};
const struct block_job_ops block_job_commit_ops = {
    .begin = begin, .run = run, .finish = finish, .clean = clean
};
