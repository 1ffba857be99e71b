/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ide.h - ATA drives and the buses they hang on: two on a channel of piix3-ide, one on a port of
 * ich9-ahci.
 */
#pragma once

#include "vmm/dev/device.h"
#include "vmm/dev/disk/disk.h"
#include "vmm/dev/disk/scsi.h"

enum {
    ATA_ERR = 0x01,
    ATA_DRQ = 0x08,
    ATA_DSC = 0x10,
    ATA_DF = 0x20,
    ATA_DRDY = 0x40,
    ATA_BSY = 0x80,
    ATA_ERROR_ABORT = 0x04,
    ATA_ERROR_UNC = 0x40,

    ATA_READ_SECTORS = 0x20,
    ATA_READ_SECTORS_EXT = 0x24,
    ATA_READ_DMA_EXT = 0x25,
    ATA_READ_MULTIPLE_EXT = 0x29,
    ATA_WRITE_SECTORS = 0x30,
    ATA_WRITE_SECTORS_EXT = 0x34,
    ATA_WRITE_DMA_EXT = 0x35,
    ATA_WRITE_MULTIPLE_EXT = 0x39,
    ATA_READ_FPDMA = 0x60,
    ATA_WRITE_FPDMA = 0x61,
    ATA_PACKET = 0xa0,
    ATA_IDENTIFY_PACKET = 0xa1,
    ATA_READ_MULTIPLE = 0xc4,
    ATA_WRITE_MULTIPLE = 0xc5,
    ATA_SET_MULTIPLE = 0xc6,
    ATA_READ_DMA = 0xc8,
    ATA_WRITE_DMA = 0xca,
    ATA_FLUSH = 0xe7,
    ATA_FLUSH_EXT = 0xea,
    ATA_IDENTIFY = 0xec,
    ATA_SET_FEATURES = 0xef,
    ATA_TRIM = 0x06,

    ATA_MAX_MULTIPLE = 16,
};

struct ide_drive;

struct ide_bus {
    struct list link; /* machine's ide_buses */
    char name[32];    /* "ide.0", or CONTROLLER.N */
    unsigned n_units;
    struct ide_drive *units[2];
    struct pci_dev *controller;
    unsigned index;
    void (*attached)(void *arg, unsigned index); /* may be NULL */
    void *arg;
};

struct ide_drive {
    struct device dev;
    struct disk disk;
    char *opt_bus, *opt_model, *opt_ver, *opt_wwn;
    uint32_t opt_unit, opt_cyls, opt_heads, opt_secs, opt_rotation;
    struct scsi_lun lun; /* of CD-ROMs */
    bool cd;
    struct ide_bus *bus;
    unsigned unit;
};

void ide_bus_add(struct ide_bus *bus, struct machine *m);
void ide_bus_remove(struct ide_bus *bus);

uint64_t ide_sectors(const struct ide_drive *d);
/* IDENTIFY (PACKET) DEVICE's 512 bytes (ATA8-ACS, 7.16). dma: the mode that is set. */
void ide_identify(const struct ide_drive *d, unsigned multiple, uint8_t dma, uint8_t out[512]);
