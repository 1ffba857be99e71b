/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ide_drive.c - ide-hd and ide-cd: what a drive is, whichever controller asks. */
#include "base/bytes.h"
#include "base/str.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/disk/ide.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { NO_UNIT = 0xffffffff };

static const struct opt ide_opts[] = {
    DISK_OPTS(struct ide_drive, disk),
    OPT_STR(struct ide_drive, opt_bus, "bus", NULL, "bus, as ide.0"),
    OPT_U32(struct ide_drive, opt_unit, "unit", "4294967295", "0 or 1"),
    OPT_STR(struct ide_drive, opt_model, "model", NULL, "model name"),
    OPT_STR(struct ide_drive, opt_ver, "ver", "2.5+", "firmware version"),
    OPT_STR(struct ide_drive, opt_wwn, "wwn", "0", "world wide name"),
    OPT_U32(struct ide_drive, opt_rotation, "rotation_rate", "0", "1: solid state"),
    OPT_U32(struct ide_drive, opt_cyls, "cyls", "0", "accepted"),
    OPT_U32(struct ide_drive, opt_heads, "heads", "0", "accepted"),
    OPT_U32(struct ide_drive, opt_secs, "secs", "0", "accepted"),
    OPT_END,
};

void ide_bus_add(struct ide_bus *bus, struct machine *m)
{
    list_append(&m->ide_buses, &bus->link);
}

void ide_bus_remove(struct ide_bus *bus)
{
    if (bus->link.next != NULL) {
        list_remove(&bus->link);
    }
}

uint64_t ide_sectors(const struct ide_drive *d)
{
    return disk_bytes(&d->disk) / SECTOR_BYTES;
}

/* Text has its bytes swapped in each word. */
static void put_text(uint8_t *to, const char *s, size_t len)
{
    size_t n = strnlen(s, len);

    for (size_t i = 0; i < len; i++) {
        to[i ^ 1] = (uint8_t)(i < n ? s[i] : ' ');
    }
}

void ide_identify(const struct ide_drive *d, unsigned multiple, uint8_t dma, uint8_t out[512])
{
    uint64_t n = ide_sectors(d);
    uint64_t cylinders = min_u64(n / (16 * 63), 16383);
    uint64_t wwn = 0;
    uint16_t mwdma = 7;
    uint16_t udma = 0x3f;

    memset(out, 0, 512);
    if (dma >> 3 == 4) {
        mwdma |= (uint16_t)(1u << (8 + (dma & 7)));
    } else if (dma >> 3 == 8) {
        udma |= (uint16_t)(1u << (8 + (dma & 7)));
    }
    le16_put(out, d->cd ? 0x8580 : 0x0040); /* ATAPI CD-ROM, removable, 12-byte packets */
    put_text(out + 20, disk_serial(&d->disk), 20);
    put_text(out + 46, d->opt_ver, 8);
    put_text(out + 54,
             d->opt_model != NULL ? d->opt_model
             : d->cd              ? "QEMU DVD-ROM"
                                  : "QEMU HARDDISK",
             40);
    le16_put(out + 49 * 2, 0x0b00 & (d->cd ? 0x0300 : 0xffff)); /* LBA, DMA */
    le16_put(out + 53 * 2, 7);
    le16_put(out + 62 * 2, d->cd ? 7 : 0);
    le16_put(out + 63 * 2, mwdma);
    le16_put(out + 64 * 2, 3); /* PIO 3 and 4 */
    for (unsigned w = 65; w <= 68; w++) {
        le16_put(out + w * 2, 120);
    }
    le16_put(out + 80 * 2, d->cd ? 0x1e : 0xf0); /* ATA-4 to ATA-7 */
    le16_put(out + 88 * 2, udma);
    if (d->cd) {
        le16_put(out + 82 * 2, 0x4010 | 0x0200);
        le16_put(out + 85 * 2, 0x4010 | 0x0200);
        return;
    }
    le16_put(out + 1 * 2, (uint16_t)cylinders);
    le16_put(out + 3 * 2, 16);
    le16_put(out + 6 * 2, 63);
    le16_put(out + 47 * 2, 0x8000 | ATA_MAX_MULTIPLE);
    le16_put(out + 54 * 2, (uint16_t)cylinders);
    le16_put(out + 55 * 2, 16);
    le16_put(out + 56 * 2, 63);
    le32_put(out + 57 * 2, (uint32_t)(cylinders * 16 * 63));
    le16_put(out + 59 * 2, (uint16_t)(multiple != 0 ? 0x100 | multiple : 0));
    le32_put(out + 60 * 2, (uint32_t)min_u64(n, 0x0fffffff));
    le16_put(out + 69 * 2, 1 << 14); /* TRIM is deterministic */
    le16_put(out + 75 * 2, 31);      /* queue depth */
    le16_put(out + 76 * 2, d->bus != NULL && d->bus->n_units == 1 ? 0x0106 : 0); /* SATA, NCQ */
    le16_put(out + 82 * 2, 0x4021); /* NOP, write cache, SMART not */
    le16_put(out + 83 * 2, 0x7400); /* FLUSH (EXT), 48 bits */
    le16_put(out + 84 * 2, 0x4000 | (wwn != 0 ? 0x100 : 0));
    le16_put(out + 85 * 2, 0x4020);
    le16_put(out + 86 * 2, 0x3400);
    le16_put(out + 87 * 2, 0x4000);
    le16_put(out + 93 * 2, 0x6001);
    le64_put(out + 100 * 2, n);
    if (d->disk.physical > d->disk.logical) {
        unsigned exponent = 0;

        while ((unsigned)SECTOR_BYTES << exponent < d->disk.physical) {
            exponent++;
        }
        le16_put(out + 106 * 2, (uint16_t)(0x6000 | exponent));
    }
    le16_put(out + 169 * 2, disk_read_only(&d->disk) ? 0 : 1); /* TRIM */
    if (str_to_u64(d->opt_wwn, 0, &wwn) == 0 && wwn != 0) {
        for (unsigned i = 0; i < 4; i++) {
            le16_put(out + (108 + i) * 2, (uint16_t)(wwn >> (48 - i * 16)));
        }
        le16_put(out + 84 * 2, 0x4100);
        le16_put(out + 87 * 2, 0x4100);
    }
    le16_put(out + 217 * 2, (uint16_t)d->opt_rotation);
}

static bool takes(const struct ide_bus *bus, uint32_t unit)
{
    for (unsigned u = 0; u < bus->n_units; u++) {
        if (bus->units[u] == NULL && (unit == NO_UNIT || unit == u)) {
            return true;
        }
    }
    return false;
}

static int attach(struct ide_drive *d, struct err **err)
{
    LIST_FOREACH (&d->dev.m->ide_buses, it) {
        struct ide_bus *bus = CONTAINER_OF(it, struct ide_bus, link);

        if (d->opt_bus != NULL ? !str_eq(bus->name, d->opt_bus) : !takes(bus, d->opt_unit)) {
            continue;
        }
        for (unsigned u = 0; u < bus->n_units; u++) {
            if (bus->units[u] == NULL && (d->opt_unit == NO_UNIT || d->opt_unit == u)) {
                bus->units[u] = d;
                d->bus = bus;
                d->unit = u;
                if (bus->attached != NULL) {
                    bus->attached(bus->arg, bus->index);
                }
                return 0;
            }
        }
        return err_set(err, EBUSY, "bus '%s' has no free place for a drive%s", bus->name,
                       bus->n_units == 1 ? ": an AHCI port takes one" : "");
    }
    return d->opt_bus != NULL ? err_set(err, ENOENT, "there is no IDE bus '%s'", d->opt_bus)
                              : err_set(err, ENODEV,
                                        "there is no free IDE bus: this machine's controllers are "
                                        "full, or it has none (add -device ich9-ahci)");
}

static int drive_init(struct device *dev, bool cd, struct err **err)
{
    struct ide_drive *d = (struct ide_drive *)dev;
    static unsigned number;
    int r;

    d->cd = cd;
    r = disk_init(&d->disk, dev->m, cd, ++number, err);
    if (r == 0 && !cd && disk_read_only(&d->disk)) {
        return err_set(err, EROFS, "an IDE disk cannot be read-only: use another bus, or ide-cd");
    }
    if (r == 0 && !cd && d->disk.logical != SECTOR_BYTES) {
        return err_set(err, EINVAL, "logical_block_size must be 512 for IDE");
    }
    d->lun = (struct scsi_lun) {
        .disk = &d->disk,
        .cd = true,
        .vendor = "QEMU",
        .product = "QEMU DVD-ROM",
        .version = d->opt_ver,
        .id = dev->id,
    };
    return r == 0 ? attach(d, err) : r;
}

static int hd_realize(struct device *dev, struct err **err)
{
    return drive_init(dev, false, err);
}

static int cd_realize(struct device *dev, struct err **err)
{
    return drive_init(dev, true, err);
}

static void drive_reset(struct device *dev)
{
    struct ide_drive *d = (struct ide_drive *)dev;

    d->disk.tray_open = d->disk.tray_locked = false;
    if (d->cd) {
        scsi_lun_reset(&d->lun);
    }
}

static void drive_destroy(struct device *dev)
{
    struct ide_drive *d = (struct ide_drive *)dev;

    if (d->bus != NULL) {
        d->bus->units[d->unit] = NULL;
    }
    disk_done(&d->disk);
}

static void drive_boot_path(const struct device *dev, char *buf, size_t len)
{
    const struct ide_drive *d = (const struct ide_drive *)dev;
    const struct pci_dev *c = d->bus->controller;

    if (d->bus->n_units == 2) {
        (void)snprintf(buf, len, "ide@%x,%x/drive@%x/disk@%x", c->devfn >> 3, c->devfn & 7,
                       d->bus->index, d->unit);
    } else {
        (void)snprintf(buf, len, "pci%x,%x@%x,%x/drive@%x/disk@0", le16_get(c->config),
                       le16_get(c->config + 2), c->devfn >> 3, c->devfn & 7, d->bus->index);
    }
}

static const struct state_field drive_fields[] = {
    FIELD(struct ide_drive, disk.tray_open),
    FIELD(struct ide_drive, disk.tray_locked),
    FIELD(struct ide_drive, lun.key),
    FIELD(struct ide_drive, lun.asc),
    FIELD(struct ide_drive, lun.ascq),
    FIELD(struct ide_drive, lun.unit_attention),
    FIELD_END,
};

static struct disk *drive_disk(struct device *dev)
{
    return &((struct ide_drive *)dev)->disk;
}

static void drive_medium_changed(struct device *dev)
{
    struct ide_drive *d = (struct ide_drive *)dev;

    d->disk.medium_changed = true;
    d->lun.unit_attention = true;
}

const struct device_class ide_hd_class = {
    .name = "ide-hd",
    .bus = "IDE",
    .desc = "ATA disk",
    .opts = ide_opts,
    .size = sizeof(struct ide_drive),
    .realize = hd_realize,
    .reset = drive_reset,
    .destroy = drive_destroy,
    .boot_path = drive_boot_path,
    .disk = drive_disk,
    .fields = drive_fields,
};

const struct device_class ide_cd_class = {
    .name = "ide-cd",
    .bus = "IDE",
    .desc = "ATAPI CD-ROM",
    .opts = ide_opts,
    .size = sizeof(struct ide_drive),
    .realize = cd_realize,
    .reset = drive_reset,
    .destroy = drive_destroy,
    .boot_path = drive_boot_path,
    .disk = drive_disk,
    .medium_changed = drive_medium_changed,
    .fields = drive_fields,
};
