/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * limits.h - limits on what guests may do with an image: bytes and operations a second, in all or
 * for reads and writes alone. Requests above them wait in order. Loop's thread.
 */
#pragma once

#include "block/core/block.h"

enum block_limit {
    BLOCK_LIMIT_BPS,
    BLOCK_LIMIT_BPS_READ,
    BLOCK_LIMIT_BPS_WRITE,
    BLOCK_LIMIT_IOPS,
    BLOCK_LIMIT_IOPS_READ,
    BLOCK_LIMIT_IOPS_WRITE,
    BLOCK_N_LIMITS,
};

struct block_limits {
    uint64_t avg[BLOCK_N_LIMITS]; /* a second; 0: none */
    uint64_t max[BLOCK_N_LIMITS]; /* burst: what may come at once after rest; 0: a tenth of avg */
};

/* NULL, or all zeroes: no limits. */
int block_set_limits(struct block_node *node, const struct block_limits *limits, struct err **err)
    MUST_CHECK;
void block_get_limits(const struct block_node *node, struct block_limits *ret);
/* The limits are the other node's now. */
void block_move_limits(struct block_node *from, struct block_node *to);

/* What waits goes now: the node is drained. */
void block_limits_release(struct block_node *node);
/* The core's: true when the request waits. */
bool block_limits_hold(struct block_req *req);
void block_limits_free(struct block_node *node);
