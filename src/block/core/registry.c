/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* registry.c - the block drivers. */
#include "block/core/block.h"

extern const struct block_driver block_file;
extern const struct block_driver block_host_cdrom;
extern const struct block_driver block_host_device;
extern const struct block_driver block_host_floppy;
extern const struct block_driver block_qcow2;
extern const struct block_driver block_raw;

const struct block_driver *const block_drivers[] = {
    &block_file,
    &block_host_cdrom,
    &block_host_device,
    &block_host_floppy,
    &block_qcow2,
    &block_raw,
    NULL,
};
