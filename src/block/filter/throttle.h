/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * throttle.h - limits on the requests of all nodes of a group, for the filter "throttle".
 *
 * Each limit is a bucket that leaks `avg` units a second. A request waits while its bucket holds
 * more than a tenth of a second's worth, or, with `max`, more than max for `length` seconds.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct block_ctx;
struct keyval;

enum throttle_kind {
    THROTTLE_BPS_TOTAL,
    THROTTLE_BPS_READ,
    THROTTLE_BPS_WRITE,
    THROTTLE_IOPS_TOTAL,
    THROTTLE_IOPS_READ,
    THROTTLE_IOPS_WRITE,
    _THROTTLE_MAX
};

struct throttle_limit {
    uint64_t avg;    /* a second; 0: no limit */
    uint64_t max;    /* a second, in bursts; 0: none */
    uint64_t length; /* of a burst, seconds; at least 1 */
};

struct throttle_limits {
    struct throttle_limit of[_THROTTLE_MAX];
    uint64_t iops_size; /* a longer request counts as several; 0: as one */
};

/* "x-bps-total", "x-iops-read-max", "x-bps-write-max-length", "x-iops-size" ... */
int throttle_parse(struct keyval *opts, struct throttle_limits *ret, struct err **err) MUST_CHECK;
/* Makes a group of that name in the context, or changes its limits. */
int throttle_group_set(struct block_ctx *ctx, const char *name,
                       const struct throttle_limits *limits, struct err **err) MUST_CHECK;
/* The context's end. */
void throttle_groups_free(struct block_ctx *ctx);
