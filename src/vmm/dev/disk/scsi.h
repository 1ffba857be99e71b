/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scsi.h - SCSI commands of disks and CD-ROMs (SBC-3, MMC-5, SPC-4), for ATAPI, virtio-scsi and USB
 * storage alike. Main loop, or a vCPU's thread with the lock held.
 */
#pragma once

#include "vmm/dev/disk/disk.h"

enum {
    SCSI_GOOD = 0,
    SCSI_CHECK_CONDITION = 2,
    SCSI_SENSE_BYTES = 18,

    SENSE_NONE = 0,
    SENSE_NOT_READY = 2,
    SENSE_MEDIUM_ERROR = 3,
    SENSE_ILLEGAL_REQUEST = 5,
    SENSE_UNIT_ATTENTION = 6,
    SENSE_DATA_PROTECT = 7,
    SENSE_ABORTED = 11,
};

struct scsi_lun {
    struct disk *disk;
    bool cd;
    bool unit_attention;    /* to be told after a reset or a change of medium */
    uint8_t key, asc, ascq; /* of the last command */
    const char *vendor, *product, *version;
    const char *id;  /* of the device: for events */
    char *device_id; /* borrowed: page 0x83; may be NULL */
    uint64_t wwn;
};

struct scsi_req {
    struct block_req req; /* first */
    struct scsi_lun *lun;
    uint8_t cdb[16];
    /* The other side's memory; all that the command may transfer. */
    const struct iovec *iov;
    unsigned n_iov;
    /* Filled in. */
    uint8_t status;
    uint8_t sense[SCSI_SENSE_BYTES];
    size_t transferred;
    void (*done)(struct scsi_req *req); /* may be called inside scsi_start() */
    void *arg;

    struct iovec *part; /* owned */
    uint8_t *data;      /* owned: of UNMAP and others */
};

/* The bytes that a command moves: positive to the guest, negative from it. */
int64_t scsi_transfer(const struct scsi_lun *lun, const uint8_t *cdb);
void scsi_start(struct scsi_req *r);
void scsi_lun_reset(struct scsi_lun *lun);
unsigned scsi_cdb_length(uint8_t opcode);
/* LUN addressing answered for a whole target: REPORT LUNS with one LUN 0 is built in. */
