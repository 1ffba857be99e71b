/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* raw.c - the image is the file, or a window of it (offset=, size=). */
#include "block/core/block.h"

#include "base/bytes.h"
#include "codec/keyval.h"

#include <errno.h>
#include <string.h>

struct raw_node {
    struct block_node node;
    struct block_node *file; /* children[0] */
    uint64_t off;
    uint64_t size; /* 0: to the end of the file */
};

static int raw_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct raw_node *raw = (struct raw_node *)node;
    unsigned long long off = 0;
    unsigned long long size = 0;
    int64_t length;
    int r = keyval_get_size(opts, "offset", 0, &off, err);

    if (r == 0) {
        r = keyval_get_size(opts, "size", 0, &size, err);
    }
    if (r == 0) {
        r = block_open_child(node, opts, "file", &raw->file, err);
    }
    if (r < 0) {
        return r;
    }
    length = block_length(raw->file);
    if (length < 0 || !range_within(off, size, (uint64_t)length)) {
        return err_set(err, EINVAL, "offset and size go beyond the end of the file");
    }
    raw->off = off;
    raw->size = size;
    node->read_only |= raw->file->read_only;
    node->filename = raw->file->filename != NULL ? strdup(raw->file->filename) : NULL;
    return 0;
}

static void raw_close(struct block_node *node)
{
    (void)node;
}

static int64_t raw_length(struct block_node *node)
{
    struct raw_node *raw = (struct raw_node *)node;
    int64_t length = block_length(raw->file);

    if (length < 0 || raw->size != 0) {
        return length < 0 ? length : (int64_t)raw->size;
    }
    return length > (int64_t)raw->off ? length - (int64_t)raw->off : 0;
}

static int raw_map(struct block_node *node, enum block_op op, uint64_t off, uint64_t len,
                   struct block_map *ret)
{
    struct raw_node *raw = (struct raw_node *)node;

    (void)op;
    (void)len;
    *ret = (struct block_map) { .child = raw->file, .off = raw->off + off, .fd = -1 };
    return 0;
}

static int raw_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct raw_node *raw = (struct raw_node *)node;

    return block_preadv(raw->file, iov, n, raw->off + off);
}

static int raw_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct raw_node *raw = (struct raw_node *)node;

    return block_pwritev(raw->file, iov, n, raw->off + off);
}

static int raw_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    struct raw_node *raw = (struct raw_node *)node;

    return block_write_zeroes(raw->file, raw->off + off, len, flags);
}

static int raw_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    struct raw_node *raw = (struct raw_node *)node;

    return block_discard(raw->file, raw->off + off, len);
}

static int raw_flush(struct block_node *node)
{
    return block_flush(((struct raw_node *)node)->file);
}

static int raw_truncate(struct block_node *node, uint64_t len)
{
    struct raw_node *raw = (struct raw_node *)node;

    if (raw->size != 0 || raw->file->drv->truncate == NULL) {
        return -ENOTSUP;
    }
    return raw->file->drv->truncate(raw->file, raw->off + len);
}

const struct block_driver block_raw = {
    .name = "raw",
    .size = sizeof(struct raw_node),
    .open = raw_open,
    .close = raw_close,
    .length = raw_length,
    .map = raw_map,
    .preadv = raw_preadv,
    .pwritev = raw_pwritev,
    .write_zeroes = raw_write_zeroes,
    .discard = raw_discard,
    .flush = raw_flush,
    .truncate = raw_truncate,
};
