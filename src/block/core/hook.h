/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hook.h - being told of the writes to a node: how jobs follow an image in use.
 *
 * A hook is called on the thread that does the write, around it. Nodes with hooks or with enabled
 * dirty bitmaps do all their writing on blocking threads.
 */
#pragma once

#include "block/core/block.h"

struct block_hook {
    struct list link;
    /* Before anything changes in [off, off+len). A negative errno fails the write. May be NULL. */
    int (*before)(struct block_hook *hook, uint64_t off, uint64_t len);
    /* After it, with its result; iov is NULL for zeroes and discards. May be NULL. */
    void (*after)(struct block_hook *hook, enum block_op op, const struct iovec *iov, unsigned n,
                  uint64_t off, uint64_t len, int result);
};

/* Any thread. After block_hook_remove() no call is under way. */
void block_hook_add(struct block_node *node, struct block_hook *hook);
void block_hook_remove(struct block_node *node, struct block_hook *hook);
