/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * copy.h - copying the content of nodes into another as fast as the disk goes.
 *
 * Threads take pieces of the source in order: each asks for its status, reads, looks for zeroes and
 * writes. Writes are in the source's order unless told otherwise, so that the target is laid out
 * in order; with compression the compressing is what goes in parallel.
 */
#pragma once

#include "block/core/block.h"

enum { COPY_MAX_SOURCES = 256, COPY_MAX_THREADS = 16 };

struct block_copy {
    struct block_node *sources[COPY_MAX_SOURCES]; /* one behind the other */
    unsigned n_sources;
    struct block_node *target;
    struct block_node *target_backing; /* what the target reads where it is not written, or NULL */
    struct block_node *base;           /* only what is allocated above it is copied; NULL: all */
    unsigned threads;                  /* 1 to COPY_MAX_THREADS */
    bool out_of_order;
    bool compressed;
    bool target_is_zero;
    bool salvage;      /* unreadable parts become zeroes */
    uint64_t min_zero; /* runs of zeroes of at least this length are not written; 0: all is */
    uint64_t rate;     /* bytes per second; 0: unlimited */
    void (*progress)(void *arg, uint64_t done, uint64_t total);
    bool (*cancelled)(void *arg); /* may be NULL */
    void (*unreadable)(void *arg, uint64_t off, uint64_t len, int error);
    void *arg;
    bool read_failed; /* set on return: which side the error was on */
    uint64_t failed_off;
};

int block_copy(struct block_copy *c) MUST_CHECK;
