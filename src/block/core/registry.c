/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* registry.c - the block drivers. */
#include "block/core/block.h"

extern const struct block_driver block_blkdebug;
extern const struct block_driver block_blklogwrites;
extern const struct block_driver block_blkverify;
extern const struct block_driver block_bochs;
extern const struct block_driver block_cloop;
extern const struct block_driver block_copy_on_read;
extern const struct block_driver block_dmg;
extern const struct block_driver block_file;
extern const struct block_driver block_ftp;
extern const struct block_driver block_ftps;
extern const struct block_driver block_host_cdrom;
extern const struct block_driver block_host_device;
extern const struct block_driver block_host_floppy;
extern const struct block_driver block_http;
extern const struct block_driver block_https;
extern const struct block_driver block_iscsi;
extern const struct block_driver block_luks;
extern const struct block_driver block_nbd;
extern const struct block_driver block_nfs;
extern const struct block_driver block_parallels;
extern const struct block_driver block_qcow;
extern const struct block_driver block_qcow2;
extern const struct block_driver block_qed;
extern const struct block_driver block_raw;
extern const struct block_driver block_ssh;
extern const struct block_driver block_throttle;
extern const struct block_driver block_vdi;
extern const struct block_driver block_vhdx;
extern const struct block_driver block_vmdk;
extern const struct block_driver block_vpc;

const struct block_driver *const block_drivers[] = {
    &block_blkdebug,
    &block_blklogwrites,
    &block_blkverify,
    &block_bochs,
    &block_cloop,
    &block_copy_on_read,
    &block_dmg,
    &block_file,
    &block_ftp,
    &block_ftps,
    &block_host_cdrom,
    &block_host_device,
    &block_host_floppy,
    &block_http,
    &block_https,
    &block_iscsi,
    &block_luks,
    &block_nbd,
    &block_nfs,
    &block_parallels,
    &block_qcow,
    &block_qcow2,
    &block_qed,
    &block_raw,
    &block_ssh,
    &block_throttle,
    &block_vdi,
    &block_vhdx,
    &block_vmdk,
    &block_vpc,
    NULL,
};
