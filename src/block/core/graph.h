/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* graph.h - changing a node's children (core only). */
#pragma once

#include "block/core/block.h"

/* Takes over the caller's reference to child when it succeeds. */
int block_attach_child(struct block_node *node, struct block_node *child, const char *name)
    MUST_CHECK;
void block_detach_child(struct block_node *node, struct block_node *child);
