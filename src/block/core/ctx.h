/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ctx.h - the inside of a block context: its ring, its workers (core only). */
#pragma once

#include "block/core/block.h"

#include <liburing.h>
#include <pthread.h>

struct loop_source;

enum { BLOCK_WORKERS = 4, BLOCK_RING_ENTRIES = 128 };

struct block_ctx {
    struct loop *loop; /* borrowed; NULL: blocking calls only */
    block_lookup_fn *lookup;
    void *lookup_arg;
    bool prepared;
    unsigned depth;     /* of block_open() in itself */
    unsigned next_name; /* of generated node names */
    block_secret_fn *secret;
    void *secret_arg;
    block_tls_fn *tls;
    void *tls_arg;
    struct list throttle_groups; /* filter/throttle.c's */

    /* io_uring: loop's thread only. */
    bool has_ring;
    struct io_uring ring;
    int ring_event; /* owned: completions signal it */
    struct loop_source *ring_source;
    struct list ring_waiting; /* requests that found the ring full */
    unsigned ring_in_flight;

    /* Workers: under lock. */
    pthread_mutex_t lock;
    pthread_cond_t work_cond;
    struct list work;
    unsigned n_work;
    struct list finished;
    bool quit;
    int finished_event; /* owned */
    struct loop_source *finished_source;
    pthread_t workers[BLOCK_WORKERS];
    unsigned n_workers; /* loop's thread only */
    unsigned idle_workers;
    unsigned in_flight; /* loop's thread only */
};
