/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* raw.c - the image is the file, or a window of it (offset=, size=). */
#include "block/core/block.h"

#include "base/bytes.h"
#include "block/core/image.h"
#include "codec/keyval.h"

#include <errno.h>
#include <string.h>

struct raw_node {
    struct block_node node;
    uint64_t off;
    uint64_t size; /* 0: to the end of the file */
};

static uint64_t base(struct block_node *node)
{
    return ((struct raw_node *)node)->off;
}

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
        r = block_open_file_child(node, opts, err);
    }
    if (r < 0) {
        return r;
    }
    length = block_length(node->file);
    if (length < 0 || !range_within(off, size, (uint64_t)length)) {
        return err_set(err, EINVAL, "offset and size go beyond the end of the file");
    }
    raw->off = off;
    raw->size = size;
    return 0;
}

static void raw_close(struct block_node *node)
{
    (void)node;
}

static int64_t raw_length(struct block_node *node)
{
    struct raw_node *raw = (struct raw_node *)node;
    int64_t length = block_length(node->file);

    if (length < 0 || raw->size != 0) {
        return length < 0 ? length : (int64_t)raw->size;
    }
    return length > (int64_t)raw->off ? length - (int64_t)raw->off : 0;
}

static int raw_map(struct block_node *node, enum block_op op, uint64_t off, uint64_t len,
                   struct block_map *ret)
{
    (void)op;
    (void)len;
    *ret = (struct block_map) { .child = node->file, .off = base(node) + off, .fd = -1 };
    return 0;
}

static int raw_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return block_preadv(node->file, iov, n, base(node) + off);
}

static int raw_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return block_pwritev(node->file, iov, n, base(node) + off);
}

static int raw_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    return block_write_zeroes(node->file, base(node) + off, len, flags);
}

static int raw_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    return block_discard(node->file, base(node) + off, len);
}

static int raw_flush(struct block_node *node)
{
    return block_flush(node->file);
}

static int raw_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                        struct err **err)
{
    struct raw_node *raw = (struct raw_node *)node;

    if (raw->size != 0) {
        return err_set(err, ENOTSUP, "Cannot resize fixed-size raw disks");
    }
    return block_truncate(node->file, raw->off + len, prealloc, err);
}

static int raw_status(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret)
{
    (void)len;
    *ret = (struct block_extent) { .len = len,
                                   .flags = BLOCK_DATA | BLOCK_ALLOCATED | BLOCK_OFFSET,
                                   .host = node->file,
                                   .host_off = base(node) + off };
    return block_status(node->file, base(node) + off, len, ret);
}

/* The protocol makes the file in its full size; nothing is to be written into it. */
static int raw_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                      struct keyval *opts, struct err **err)
{
    (void)ctx;
    (void)file;
    (void)filename;
    (void)opts;
    (void)err;
    return 0;
}

static int raw_measure(struct keyval *opts, struct block_node *in, struct block_measure *ret,
                       struct err **err)
{
    unsigned long long size = 0;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    if (r < 0) {
        return r;
    }
    ret->required = in != NULL ? (uint64_t)block_length(in) : round_up_u64(size, BLOCK_SECTOR);
    ret->fully_allocated = ret->required;
    return 0;
}

static const struct block_opt raw_create_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { 0 },
};

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
    .status = raw_status,
    .create_opts = raw_create_opts,
    .create = raw_create,
    .measure = raw_measure,
};
