/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scsi_bus.h - SCSI devices of a host adapter: which logical unit answers at which address. Main
 * loop.
 */
#pragma once

#include "vmm/dev/device.h"
#include "vmm/dev/disk/scsi.h"

enum { SCSI_MAX_TARGETS = 256, SCSI_MAX_LUNS = 16384 };

struct scsi_dev {
    struct device dev;
    struct disk disk;
    char *opt_bus, *opt_vendor, *opt_product, *opt_ver, *opt_device_id, *opt_wwn;
    uint32_t opt_channel, opt_id, opt_lun, opt_rotation;
    bool opt_removable, opt_dpofua;
    struct scsi_lun lun;
    struct scsi_bus *bus; /* NULL: not placed */
    uint32_t target, number;
    struct list link; /* scsi_bus.devs */
};

struct scsi_bus {
    struct list link; /* machine's scsi_buses */
    char *name;       /* owned: ID.0 */
    struct list devs;
    uint32_t max_target, max_lun;
    /* A unit came or went. */
    void (*changed)(void *arg, struct scsi_dev *sd, bool here);
    void *arg;
};

int scsi_bus_new(struct device *adapter, uint32_t max_target, uint32_t max_lun,
                 void (*changed)(void *arg, struct scsi_dev *sd, bool here), struct scsi_bus **ret,
                 struct err **err) MUST_CHECK;
struct scsi_bus *scsi_bus_free(struct scsi_bus *bus);
struct scsi_dev *scsi_find(struct scsi_bus *bus, uint32_t target, uint32_t lun);
/* Is there any unit of that target? */
bool scsi_has_target(struct scsi_bus *bus, uint32_t target);
/* REPORT LUNS of a target, into buf; the length. */
size_t scsi_report_luns(struct scsi_bus *bus, uint32_t target, uint8_t *buf, size_t len);
