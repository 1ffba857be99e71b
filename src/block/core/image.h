/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * image.h - whole-image operations: create, check, measure, info.
 */
#pragma once

#include "block/core/block.h"

enum { BLOCK_FIX_LEAKS = 1 << 0, BLOCK_FIX_ERRORS = 1 << 1 };

/* What check found. Messages go to report, one at a time, without newline. */
struct block_check {
    unsigned fix;
    void (*report)(void *arg, const char *message);
    void *arg;
    uint64_t errors; /* the check itself failed at these */
    uint64_t corruptions;
    uint64_t leaks;
    uint64_t corruptions_fixed;
    uint64_t leaks_fixed;
    uint64_t image_end; /* 0: not known */
    uint64_t allocated_clusters;
    uint64_t fragmented_clusters;
    uint64_t compressed_clusters;
    uint64_t total_clusters; /* 0: the format does not say */
};

void block_check_report(struct block_check *check, const char *fmt, ...) PRINTF(2, 3);

struct block_measure {
    uint64_t required;
    uint64_t fully_allocated;
    bool has_bitmaps;
    uint64_t bitmaps;
};

/* Makes the file and the empty image in it. opts as in "-o": "size", "backing_file" ... are checked
 * against the driver's table. On failure no new file is left behind. */
int block_create(struct block_ctx *ctx, const char *fmt, const char *filename, struct keyval *opts,
                 struct err **err) MUST_CHECK;
/* For drivers: makes a further file (split images) of that size and opens it for writing. */
int block_create_file(struct block_ctx *ctx, const char *filename, uint64_t size,
                      struct block_node **ret, struct err **err) MUST_CHECK;
/* Values of opts against the table: types, and no unknown names. */
int block_opts_check(const struct block_opt *table, const struct block_opt *more,
                     struct keyval *opts, const char *fmt, struct err **err) MUST_CHECK;
int block_prealloc_parse(const char *text, enum block_prealloc *ret, struct err **err) MUST_CHECK;

int block_check(struct block_node *node, struct block_check *check, struct err **err) MUST_CHECK;
int block_measure(const char *fmt, struct keyval *opts, struct block_node *in,
                  struct block_measure *ret, struct err **err) MUST_CHECK;
/* QEMU's ImageInfo of one node (not of its chain), owned by the caller. */
int block_image_info(struct block_node *node, struct json_object **ret, struct err **err)
    MUST_CHECK;
