/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/job/commit.h"

#include "base/bytes.h"
#include "block/core/iov.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHUNK = 1 << 20 };

static bool stopped(struct block_transfer *t)
{
    return t->cancelled != NULL && t->cancelled(t->arg);
}

static void step(struct block_transfer *t, uint64_t done, uint64_t total, uint64_t moved)
{
    if (t->progress != NULL) {
        t->progress(t->arg, done, total);
    }
    if (t->rate > 0 && moved > 0) {
        uint64_t nsec = moved * 1000000000ull / t->rate;
        struct timespec ts = { .tv_sec = (time_t)(nsec / 1000000000),
                               .tv_nsec = (long)(nsec % 1000000000) };

        (void)nanosleep(&ts, NULL);
    }
}

/* Zeroes stay zeroes where the target can say so. */
static int copy_range(struct block_node *from, struct block_node *to, uint8_t *buf, uint64_t off,
                      size_t len, bool zero)
{
    int r;

    if (zero) {
        return block_write_zeroes(to, off, len, BLOCK_REQ_MAY_UNMAP);
    }
    r = block_pread(from, buf, len, off);
    return r == 0 ? block_pwrite(to, buf, len, off) : r;
}

int block_commit_images(struct block_node *top, struct block_node *base, struct block_transfer *t,
                        struct err **err)
{
    AUTO_FREE uint8_t *buf = malloc(CHUNK);
    int64_t size = block_length(top);
    int64_t base_size = block_length(base);
    int r = buf == NULL ? -ENOMEM : size < 0 ? (int)size : base_size < 0 ? (int)base_size : 0;

    if (r == 0 && base_size < size) {
        r = block_truncate(base, (uint64_t)size, BLOCK_PREALLOC_OFF, err);
    }
    for (uint64_t off = 0; r == 0 && off < (uint64_t)size;) {
        uint64_t len = (uint64_t)size - off;
        struct block_extent ext;
        bool moved = false;

        if (stopped(t)) {
            return -ECANCELED;
        }
        r = block_allocated_above(top, base, false, off, len, &len);
        if (r > 0) {
            unsigned depth;

            len = min_u64(len, CHUNK);
            r = block_status_above(top, base, off, len, &ext, &depth);
            if (r == 0) {
                len = ext.len;
                r = copy_range(top, base, buf, off, len, (ext.flags & BLOCK_ZERO) != 0);
                moved = true;
            }
        }
        off += len;
        step(t, off, (uint64_t)size, moved ? len : 0);
    }
    if (r == 0) {
        r = block_flush(base);
    }
    return r < 0 ? err_set(err, -r, "%s", strerror(-r)) : 0;
}

int block_rebase_images(struct block_node *node, struct block_node *new_backing,
                        struct block_transfer *t, struct err **err)
{
    AUTO_FREE uint8_t *old_buf = malloc(CHUNK);
    AUTO_FREE uint8_t *new_buf = malloc(CHUNK);
    struct block_node *old = block_backing(node);
    int64_t size = block_length(node);
    uint64_t old_size = old != NULL ? (uint64_t)block_length(old) : 0;
    uint64_t new_size = new_backing != NULL ? (uint64_t)block_length(new_backing) : 0;
    struct block_info info = { 0 };
    uint64_t unit;
    int r = old_buf == NULL || new_buf == NULL ? -ENOMEM : size < 0 ? (int)size : 0;

    if (node->drv->info != NULL) {
        node->drv->info(node, &info);
    }
    unit = info.cluster_size != 0 && info.cluster_size < CHUNK ? info.cluster_size : BLOCK_SECTOR;
    for (uint64_t off = 0; r == 0 && off < (uint64_t)size;) {
        struct block_extent ext;
        uint64_t len;

        if (stopped(t)) {
            return -ECANCELED;
        }
        r = block_status(node, off, min_u64((uint64_t)size - off, CHUNK), &ext);
        len = ext.len;
        if (r == 0 && (ext.flags & BLOCK_ALLOCATED) == 0 && (off < old_size || off < new_size)) {
            r = block_pread(node, old_buf, len, off); /* behind its end the old one is zeroes */
            memset(new_buf, 0, len);
            if (r == 0 && new_backing != NULL) {
                r = block_pread(new_backing, new_buf, len, off);
            }
            for (uint64_t at = 0; r == 0 && at < len;) {
                uint64_t n = min_u64(round_down_u64(off + at, unit) + unit - off, len) - at;

                if (memcmp(old_buf + at, new_buf + at, n) != 0) {
                    r = buf_is_zero(old_buf + at, n)
                            ? block_write_zeroes(node, off + at, n, 0)
                            : block_pwrite(node, old_buf + at, n, off + at);
                }
                at += n;
            }
        }
        off += len;
        step(t, off, (uint64_t)size, 0);
    }
    if (r == 0) {
        r = block_flush(node);
    }
    return r < 0 ? err_set(err, -r, "%s", strerror(-r)) : 0;
}
