/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/filter/pass.h"

#include "base/str.h"

int pass_open(struct block_node *node, struct keyval *opts, const char *child, struct err **err)
{
    struct block_node *file;
    int r = block_open_child(node, opts, child, &file, err);

    if (r == 0) {
        node->file = file;
        node->read_only |= file->read_only;
        node->filename = file->filename != NULL ? strdup(file->filename) : NULL;
    }
    return r;
}

void pass_close(struct block_node *node)
{
    (void)node;
}

int64_t pass_length(struct block_node *node)
{
    return block_length(node->file);
}

int pass_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return block_preadv(node->file, iov, n, off);
}

int pass_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return block_pwritev(node->file, iov, n, off);
}

int pass_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    return block_write_zeroes(node->file, off, len, flags);
}

int pass_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    return block_discard(node->file, off, len);
}

int pass_flush(struct block_node *node)
{
    return block_flush(node->file);
}

int pass_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                  struct err **err)
{
    return block_truncate(node->file, len, prealloc, err);
}

int pass_status(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret)
{
    return block_status(node->file, off, len, ret);
}
