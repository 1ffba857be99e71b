/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* copy_on_read.c - a filter that puts what is read from the backing chain into the image (file=).
 */
#include "block/filter/pass.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/iov.h"

#include <errno.h>
#include <pthread.h>

struct copy_on_read {
    struct block_node node;
    pthread_rwlock_t lock; /* a copy is under way alone: no write gets between its two halves */
};

static int cor_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    (void)pthread_rwlock_init(&((struct copy_on_read *)node)->lock, NULL);
    return pass_open(node, opts, "file", err);
}

static void cor_close(struct block_node *node)
{
    (void)pthread_rwlock_destroy(&((struct copy_on_read *)node)->lock);
}

/* A range that the image may not have. */
static int copy(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct block_node *image = block_skip_filters(node->file);
    size_t len = iov_len(iov, n);
    AUTO_FREE struct iovec *part = calloc(n + 1, sizeof(*part));
    int r = part != NULL ? pass_preadv(node, iov, n, off) : -ENOMEM;

    for (size_t done = 0; r == 0 && done < len;) {
        struct block_extent ext;

        r = block_status(image, off + done, len - done, &ext);
        if (r == 0 && (ext.flags & BLOCK_ALLOCATED) == 0) {
            r = pass_pwritev(node, part, iov_part(iov, n, done, ext.len, part), off + done);
        }
        done += r == 0 ? ext.len : 0;
    }
    return r;
}

static bool has_all(struct block_node *node, uint64_t off, uint64_t len)
{
    struct block_node *image = block_skip_filters(node->file);

    while (len > 0) {
        struct block_extent ext;

        if (block_status(image, off, len, &ext) < 0 || (ext.flags & BLOCK_ALLOCATED) == 0) {
            return false;
        }
        off += ext.len;
        len -= ext.len;
    }
    return true;
}

static int cor_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct copy_on_read *c = (struct copy_on_read *)node;
    bool plain = node->read_only || has_all(node, off, iov_len(iov, n));
    int r;

    if (plain) {
        return pass_preadv(node, iov, n, off);
    }
    (void)pthread_rwlock_wrlock(&c->lock);
    r = copy(node, iov, n, off);
    (void)pthread_rwlock_unlock(&c->lock);
    return r;
}

static int cor_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct copy_on_read *c = (struct copy_on_read *)node;
    int r;

    (void)pthread_rwlock_rdlock(&c->lock);
    r = pass_pwritev(node, iov, n, off);
    (void)pthread_rwlock_unlock(&c->lock);
    return r;
}

static int cor_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    struct copy_on_read *c = (struct copy_on_read *)node;
    int r;

    (void)pthread_rwlock_rdlock(&c->lock);
    r = pass_write_zeroes(node, off, len, flags);
    (void)pthread_rwlock_unlock(&c->lock);
    return r;
}

static int cor_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    struct copy_on_read *c = (struct copy_on_read *)node;
    int r;

    (void)pthread_rwlock_rdlock(&c->lock);
    r = pass_discard(node, off, len);
    (void)pthread_rwlock_unlock(&c->lock);
    return r;
}

const struct block_driver block_copy_on_read = {
    .name = "copy-on-read",
    .is_filter = true,
    .size = sizeof(struct copy_on_read),
    .open = cor_open,
    .close = cor_close,
    .length = pass_length,
    .preadv = cor_preadv,
    .pwritev = cor_pwritev,
    .write_zeroes = cor_write_zeroes,
    .discard = cor_discard,
    .flush = pass_flush,
    .truncate = pass_truncate,
    .status = pass_status,
};
