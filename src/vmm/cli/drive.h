/* SPDX-License-Identifier: GPL-2.0-or-later */
/* drive.h - -drive and its short forms: a block node and the device that shows it. */
#pragma once

#include "base/err.h"

#include <stddef.h>

struct block_ctx;
struct keyval;
struct machine;

/* Opens a block node from options and names it. */
int blockdev_add(struct machine *m, struct block_ctx *blocks, struct keyval *opts, struct err **err)
    MUST_CHECK;
/* n: which -drive it is. */
int drive_add(struct machine *m, struct block_ctx *blocks, struct keyval *drive, size_t n,
              struct err **err) MUST_CHECK;
