/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bitmap.h - dirty bitmaps: which parts of a node were written since some moment.
 *
 * A bit stands for `granularity` bytes. Setting bits is safe from any thread.
 */
#pragma once

#include "block/core/block.h"

#include <pthread.h>

enum { BLOCK_BITMAP_NAME_MAX = 1023 };

struct block_bitmap {
    struct list link; /* in the node's bitmaps */
    char *name;       /* owned; NULL for a job's own */
    uint32_t granularity;
    uint64_t size; /* bytes of the node that it covers */
    uint64_t n_bits;
    uint64_t *bits; /* owned */
    uint64_t count; /* bits set */
    bool enabled;   /* writes set bits */
    bool persistent;
    bool inconsistent; /* was in use when its image was not closed: can only be removed */
    bool busy;         /* a job uses it */
    pthread_mutex_t lock;
};

/* Power of two, 512 bytes to 2 GiB. Added to the node; name may be NULL. */
int block_bitmap_add(struct block_node *node, const char *name, uint32_t granularity,
                     struct block_bitmap **ret, struct err **err) MUST_CHECK;
/* Removes it from the node and frees it. */
void block_bitmap_remove(struct block_node *node, struct block_bitmap *bm);
struct block_bitmap *block_bitmap_find(struct block_node *node, const char *name);
/* QEMU's choice: the cluster size within 4 KiB and 64 KiB. */
uint32_t block_bitmap_default_granularity(struct block_node *node);

void block_bitmap_set(struct block_bitmap *bm, uint64_t off, uint64_t len);
void block_bitmap_reset(struct block_bitmap *bm, uint64_t off, uint64_t len);
void block_bitmap_clear(struct block_bitmap *bm);
bool block_bitmap_get(struct block_bitmap *bm, uint64_t off);
/* The next dirty range at or after off: true, or false when there is none. */
bool block_bitmap_next(struct block_bitmap *bm, uint64_t off, uint64_t max_len, uint64_t *ret_off,
                       uint64_t *ret_len);
/* Adds the bits of from, which may have another granularity. */
int block_bitmap_merge(struct block_bitmap *to, struct block_bitmap *from, struct err **err)
    MUST_CHECK;
uint64_t block_bitmap_dirty_bytes(struct block_bitmap *bm);

/* The core's: a write to the node happened; the node changed its size. */
void block_bitmaps_written(struct block_node *node, uint64_t off, uint64_t len);
int block_bitmaps_resize(struct block_node *node, uint64_t size);
