/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* commit.h - the copying inside of jobs and of the image tool, between images of one chain. */
#pragma once

#include "block/core/block.h"

/* How a copy between images is watched and stopped. */
struct block_transfer {
    void (*progress)(void *arg, uint64_t done, uint64_t total); /* may be NULL */
    bool (*cancelled)(void *arg);                               /* may be NULL */
    void *arg;
    uint64_t rate; /* bytes per second; 0: unlimited */
};

/* Writes what is allocated in the images from top down to, not including, base into base, which
 * grows to top's size when it is shorter. base must be writable. */
int block_commit_images(struct block_node *top, struct block_node *base, struct block_transfer *t,
                        struct err **err) MUST_CHECK;
/* Writes into node what differs between its present backing image and new_backing (NULL: none). */
int block_rebase_images(struct block_node *node, struct block_node *new_backing,
                        struct block_transfer *t, struct err **err) MUST_CHECK;
