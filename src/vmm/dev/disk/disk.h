/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk.h - what all disks have in common whatever their bus: the image, serial number, block sizes,
 * error policy.
 */
#pragma once

#include "base/opt.h"
#include "block/core/block.h"
#include "vmm/machine/machine.h"

#include <stdbool.h>
#include <stdint.h>

enum { SECTOR_BYTES = 512, DISK_SERIAL_BYTES = 20 };

struct disk {
    /* Options (DISK_OPTS). */
    char *drive, *serial, *write_cache, *rerror, *werror, *wwn_text, *share_rw, *throttling;
    uint32_t logical, physical;
    /* State. */
    struct machine *m;
    struct block_node *node; /* counted; NULL: an empty drive */
    bool tray_open, tray_locked, medium_changed;
    char made_serial[DISK_SERIAL_BYTES + 1];
};

#define DISK_OPTS(T, d)                                                                      \
    OPT_STR(T, d.drive, "drive", NULL, "drive or block node"),                               \
        OPT_STR(T, d.serial, "serial", NULL, "serial number"),                               \
        OPT_STR(T, d.write_cache, "write-cache", "auto", "on, off or auto"),                 \
        OPT_STR(T, d.rerror, "rerror", "auto", "read errors: report, ignore, stop or auto"), \
        OPT_STR(T, d.werror, "werror", "auto",                                               \
                "write errors: report, ignore, stop, enospc or auto"),                       \
        OPT_STR(T, d.share_rw, "share-rw", "off",                                            \
                "accepted: other writers are the image's matter"),                           \
        OPT_U32(T, d.logical, "logical_block_size", "512", "bytes"),                         \
        OPT_U32(T, d.physical, "physical_block_size", "512", "bytes")

/* Looks the image up; a NULL drive is an error unless removable. */
int disk_init(struct disk *d, struct machine *m, bool removable, unsigned number, struct err **err)
    MUST_CHECK;
void disk_done(struct disk *d);
/* Bytes; 0 without medium. */
uint64_t disk_bytes(const struct disk *d);
const char *disk_serial(const struct disk *d);
bool disk_read_only(const struct disk *d);

/* What to do about a failed request, by rerror/werror: true: the machine stops and the request is
 * to be tried again when it goes on. */
bool disk_error_stops(struct disk *d, const char *id, enum block_op op, int error);
