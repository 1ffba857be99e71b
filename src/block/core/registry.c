/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* registry.c - the block drivers. */
#include "block/core/block.h"

extern const struct block_driver block_file;
extern const struct block_driver block_raw;

const struct block_driver *const block_drivers[] = {
    &block_file,
    &block_raw,
    NULL,
};
