/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pass.h - callbacks that do what they are asked to the node's file: what filters do not change. */
#pragma once

#include "block/core/block.h"

/* Opens the child of that name as the node's file, with its name and read-only state. */
int pass_open(struct block_node *node, struct keyval *opts, const char *child, struct err **err)
    MUST_CHECK;
void pass_close(struct block_node *node);
int64_t pass_length(struct block_node *node);
int pass_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
int pass_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
int pass_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags);
int pass_discard(struct block_node *node, uint64_t off, uint64_t len);
int pass_flush(struct block_node *node);
int pass_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                  struct err **err);
int pass_status(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret);
