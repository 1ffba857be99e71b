/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* io.c - the blocking calls down the graph, and who is told of writes. */
#include "block/core/block.h"

#include "base/bytes.h"
#include "block/core/bitmap.h"
#include "block/core/hook.h"
#include "block/core/iov.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ZERO_CHUNK = 1 << 20 };

/* Guards the hook lists of all nodes: readers are writes under way. */
static pthread_rwlock_t hooks_lock = PTHREAD_RWLOCK_INITIALIZER;

void block_hook_add(struct block_node *node, struct block_hook *hook)
{
    (void)pthread_rwlock_wrlock(&hooks_lock);
    list_append(&node->hooks, &hook->link);
    (void)pthread_rwlock_unlock(&hooks_lock);
}

void block_hook_remove(struct block_node *node, struct block_hook *hook)
{
    (void)node;
    (void)pthread_rwlock_wrlock(&hooks_lock);
    list_remove(&hook->link);
    (void)pthread_rwlock_unlock(&hooks_lock);
}

/* One write to a node, between the hooks' before and after. */
struct watched {
    struct block_node *node;
    enum block_op op;
    const struct iovec *iov;
    unsigned n;
    uint64_t off;
    uint64_t len;
    bool locked;
};

static int begin_write(struct watched *w)
{
    int r = 0;

    if (w->node->read_only) {
        return -EROFS;
    }
    if (list_empty(&w->node->hooks)) {
        return 0;
    }
    w->locked = true;
    (void)pthread_rwlock_rdlock(&hooks_lock);
    LIST_FOREACH (&w->node->hooks, it) {
        struct block_hook *hook = CONTAINER_OF(it, struct block_hook, link);

        if (r == 0 && hook->before != NULL) {
            r = hook->before(hook, w->off, w->len);
        }
    }
    return r;
}

static int end_write(struct watched *w, int r)
{
    if (!list_empty(&w->node->bitmaps)) {
        block_bitmaps_written(w->node, w->off, w->len);
    }
    if (w->locked) {
        LIST_FOREACH (&w->node->hooks, it) {
            struct block_hook *hook = CONTAINER_OF(it, struct block_hook, link);

            if (hook->after != NULL) {
                hook->after(hook, w->op, w->iov, w->n, w->off, w->len, r);
            }
        }
        (void)pthread_rwlock_unlock(&hooks_lock);
    }
    return r;
}

int block_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    size_t len = iov_len(iov, n);
    int64_t size = node->drv->length(node);
    struct iovec *part;
    size_t inside;
    int r;

    if (size < 0) {
        return (int)size;
    }
    if (range_within(off, len, (uint64_t)size)) {
        return len > 0 ? node->drv->preadv(node, iov, n, off) : 0;
    }
    inside = off < (uint64_t)size ? (uint64_t)size - off : 0;
    iov_zero(iov, n, inside, len - inside);
    if (inside == 0) {
        return 0;
    }
    part = calloc(n, sizeof(*part));
    if (part == NULL) {
        return -ENOMEM;
    }
    r = node->drv->preadv(node, part, iov_part(iov, n, 0, inside, part), off);
    free(part);
    return r;
}

int block_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct watched w = {
        .node = node, .op = BLOCK_WRITE, .iov = iov, .n = n, .off = off, .len = iov_len(iov, n)
    };
    int r;

    if (node->drv->pwritev == NULL) {
        return -EROFS;
    }
    if (w.len == 0) {
        return 0;
    }
    if (node->detect_zeroes && iov_is_zero(iov, n)) {
        return block_write_zeroes(node, off, w.len, node->detect_unmap ? BLOCK_REQ_MAY_UNMAP : 0);
    }
    r = begin_write(&w);
    return end_write(&w, r == 0 ? node->drv->pwritev(node, iov, n, off) : r);
}

int block_pread(struct block_node *node, void *buf, size_t len, uint64_t off)
{
    struct iovec iov = { .iov_base = buf, .iov_len = len };

    return block_preadv(node, &iov, 1, off);
}

int block_pwrite(struct block_node *node, const void *buf, size_t len, uint64_t off)
{
    struct iovec iov = iov_const(buf, len);

    return block_pwritev(node, &iov, 1, off);
}

int block_pwrite_sync(struct block_node *node, const void *buf, size_t len, uint64_t off)
{
    int r = block_pwrite(node, buf, len, off);

    return r == 0 ? block_flush(node) : r;
}

static int write_zero_buffers(struct block_node *node, uint64_t off, uint64_t len)
{
    size_t chunk = min_u64(len, ZERO_CHUNK);
    AUTO_FREE void *zeroes = calloc(1, chunk);
    int r = zeroes != NULL ? 0 : -ENOMEM;

    while (r == 0 && len > 0) {
        struct iovec iov = { .iov_base = zeroes, .iov_len = min_u64(len, chunk) };

        r = node->drv->pwritev(node, &iov, 1, off);
        off += iov.iov_len;
        len -= iov.iov_len;
    }
    return r;
}

int block_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    struct watched w = { .node = node, .op = BLOCK_WRITE_ZEROES, .off = off, .len = len };
    int r;

    if (len == 0) {
        return 0;
    }
    if (node->drv->pwritev == NULL) {
        return -EROFS;
    }
    if (!node->discard_on) {
        flags &= ~(unsigned)BLOCK_REQ_MAY_UNMAP;
    }
    r = begin_write(&w);
    if (r == 0) {
        r = node->drv->write_zeroes != NULL ? node->drv->write_zeroes(node, off, len, flags)
                                            : -ENOTSUP;
        if (r == -ENOTSUP && (flags & BLOCK_REQ_NO_FALLBACK) == 0) {
            r = write_zero_buffers(node, off, len);
        }
    }
    return end_write(&w, r);
}

int block_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    struct watched w = { .node = node, .op = BLOCK_DISCARD, .off = off, .len = len };
    int r;

    if (node->read_only) {
        return -EROFS;
    }
    if (node->drv->discard == NULL || !node->discard_on || len == 0) {
        return 0;
    }
    r = begin_write(&w);
    return end_write(&w, r == 0 ? node->drv->discard(node, off, len) : r);
}

int block_pwrite_compressed(struct block_node *node, const void *buf, size_t len, uint64_t off)
{
    struct iovec iov = iov_const(buf, len);
    struct watched w = {
        .node = node, .op = BLOCK_WRITE, .iov = &iov, .n = 1, .off = off, .len = len
    };
    int r;

    if (node->drv->pwrite_compressed == NULL) {
        return -ENOTSUP;
    }
    r = begin_write(&w);
    return end_write(&w, r == 0 ? node->drv->pwrite_compressed(node, buf, len, off) : r);
}

int block_flush(struct block_node *node)
{
    return node->drv->flush != NULL && !node->read_only ? node->drv->flush(node) : 0;
}

int block_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                   struct err **err)
{
    int r;

    if (node->drv->truncate == NULL) {
        return err_set(err, ENOTSUP, "Image format driver does not support resize");
    }
    if (node->read_only) {
        return err_set(err, EACCES, "Image is read-only");
    }
    if (len > BLOCK_MAX_LENGTH) {
        return err_set(err, EFBIG, "Required too big image size, it must be not greater than %lld",
                       BLOCK_MAX_LENGTH);
    }
    r = block_bitmaps_resize(node, len);
    if (r < 0) {
        return err_set(err, -r, "cannot resize the dirty bitmaps: %s", strerror(-r));
    }
    r = node->drv->truncate(node, len, prealloc, err);
    return r < 0 ? err_set(err, -r, "Failed to resize the image: %s", strerror(-r)) : 0;
}

int block_read_backing(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    if (node->backing == NULL) {
        iov_zero(iov, n, 0, iov_len(iov, n));
        return 0;
    }
    return block_preadv(node->backing, iov, n, off);
}
