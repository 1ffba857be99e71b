/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table.h - what formats share whose images are tables of blocks: reading, writing, status.
 *
 * The format says for each block where it is, makes room for new ones, and enters them in its
 * tables; the order is: data, barrier where old content moved along, table. The lock is held
 * around its callbacks and whenever a block is allocated, not while present blocks are read and
 * written: blocks never move.
 */
#pragma once

#include "block/core/block.h"

#include <pthread.h>

enum table_kind {
    TABLE_NONE,    /* not allocated: the backing image's, or zeroes */
    TABLE_ZERO,    /* zeroes */
    TABLE_DATA,    /* at host of file */
    TABLE_SPECIAL, /* the format reads it itself (compressed) */
};

struct table_entry {
    enum table_kind kind;
    uint64_t start; /* guest offset of the block */
    uint64_t len;   /* its length */
    uint64_t host;
    struct block_node *file; /* borrowed */
    uint64_t aux;            /* the format's */
};

struct table_node;

struct table_ops {
    /* The block that off lies in. */
    int (*lookup)(struct table_node *t, uint64_t off, struct table_entry *ret);
    /* A place for the block: fills host and file. It reads as zeroes up to ret->len when
     * *ret_zero is set. NULL: read-only. */
    int (*alloc)(struct table_node *t, struct table_entry *ret, bool *ret_zero);
    /* Enters it into the tables. */
    int (*link)(struct table_node *t, const struct table_entry *e);
    /* Makes the whole block zero in the tables. NULL: cannot. */
    int (*zero)(struct table_node *t, const struct table_entry *e, bool unmap);
    /* The whole block into buf. */
    int (*read_special)(struct table_node *t, const struct table_entry *e, uint8_t *buf);
    /* Writes to a part of a block that is not TABLE_DATA, itself; -ENOTSUP: as usual. NULL: always
     * as usual. */
    int (*write_special)(struct table_node *t, const struct table_entry *e, const struct iovec *iov,
                         unsigned n, uint64_t off);
};

/* The end of a file that grows by blocks. */
struct table_space {
    struct block_node *file; /* borrowed */
    uint64_t end;            /* the next block goes here */
    uint64_t reserved;       /* the file was made this long on disk */
};

struct table_node {
    struct block_node node;
    const struct table_ops *ops;
    pthread_mutex_t lock;
    uint64_t size; /* bytes of the image */
    struct table_space space;
    bool preallocated; /* blocks may be holes of the file */
    bool none_is_hole; /* status: not allocated, rather than allocated zeroes */
};

void table_init(struct table_node *t, const struct table_ops *ops);
void table_done(struct table_node *t);
int64_t table_length(struct block_node *node);
int table_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
int table_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
int table_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags);
int table_status(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret);
int table_flush(struct block_node *node);

/* len bytes at the end of the file, which is made longer in large steps, so that a table never
 * points behind its end after a crash. They read as zeroes. */
int table_append(struct table_node *t, uint64_t len, uint64_t *ret) MUST_CHECK;
int table_space_append(struct table_space *space, uint64_t len, uint64_t *ret) MUST_CHECK;
/* Cuts what table_append() made too much. */
void table_trim(struct table_node *t);
void table_space_trim(struct table_space *space);
/* A whole table of n entries of that size, for which the file must be long enough; owned. */
int table_read_all(struct block_node *file, uint64_t off, uint64_t n, unsigned entry,
                   uint64_t max_bytes, uint8_t **ret, struct err **err) MUST_CHECK;
