/* SPDX-License-Identifier: GPL-2.0-or-later */
/* scsi_bus.c - scsi-hd and scsi-cd, and the buses they sit on. */
#include "vmm/dev/disk/scsi_bus.h"

#include "base/bytes.h"
#include "base/str.h"
#include "vmm/bus/pci/pci.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { UNSET = 0xffffffff };

static const struct opt scsi_opts[] = {
    DISK_OPTS(struct scsi_dev, disk),
    OPT_STR(struct scsi_dev, opt_bus, "bus", NULL, "bus, as scsi0.0"),
    OPT_U32(struct scsi_dev, opt_channel, "channel", "0", "accepted: 0"),
    OPT_U32(struct scsi_dev, opt_id, "scsi-id", "4294967295", "target"),
    OPT_U32(struct scsi_dev, opt_lun, "lun", "4294967295", "logical unit"),
    OPT_STR(struct scsi_dev, opt_vendor, "vendor", "QEMU", "vendor's name"),
    OPT_STR(struct scsi_dev, opt_product, "product", NULL, "product's name"),
    OPT_STR(struct scsi_dev, opt_ver, "ver", "2.5+", "firmware version"),
    OPT_STR(struct scsi_dev, opt_device_id, "device_id", NULL, "name in page 83h"),
    OPT_STR(struct scsi_dev, opt_wwn, "wwn", "0", "world wide name"),
    OPT_U32(struct scsi_dev, opt_rotation, "rotation_rate", "0", "1: solid state"),
    OPT_BOOL(struct scsi_dev, opt_removable, "removable", "off", "the medium can be taken out"),
    OPT_BOOL(struct scsi_dev, opt_dpofua, "dpofua", "off", "accepted"),
    OPT_END,
};

int scsi_bus_new(struct device *adapter, uint32_t max_target, uint32_t max_lun,
                 void (*changed)(void *arg, struct scsi_dev *sd, bool here), struct scsi_bus **ret,
                 struct err **err)
{
    CLEANUP(free_memp) struct scsi_bus *bus = calloc(1, sizeof(*bus));
    unsigned number = 0;

    LIST_FOREACH (&adapter->m->scsi_buses, it) {
        (void)it;
        number++;
    }
    if (bus == NULL || (bus->name = adapter->id != NULL ? str_format("%s.0", adapter->id)
                                                        : str_format("scsi.%u", number)) == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    list_init(&bus->devs);
    bus->max_target = max_target;
    bus->max_lun = max_lun;
    bus->changed = changed;
    bus->arg = adapter;
    list_append(&adapter->m->scsi_buses, &bus->link);
    *ret = TAKE_PTR(bus);
    return 0;
}

struct scsi_bus *scsi_bus_free(struct scsi_bus *bus)
{
    if (bus != NULL) {
        LIST_FOREACH_SAFE (&bus->devs, it) {
            struct scsi_dev *sd = CONTAINER_OF(it, struct scsi_dev, link);

            list_remove(&sd->link);
            sd->bus = NULL;
        }
        list_remove(&bus->link);
        free(bus->name);
        free(bus);
    }
    return NULL;
}

struct scsi_dev *scsi_find(struct scsi_bus *bus, uint32_t target, uint32_t lun)
{
    LIST_FOREACH (&bus->devs, it) {
        struct scsi_dev *sd = CONTAINER_OF(it, struct scsi_dev, link);

        if (sd->target == target && sd->number == lun) {
            return sd;
        }
    }
    return NULL;
}

bool scsi_has_target(struct scsi_bus *bus, uint32_t target)
{
    LIST_FOREACH (&bus->devs, it) {
        if (CONTAINER_OF(it, struct scsi_dev, link)->target == target) {
            return true;
        }
    }
    return false;
}

size_t scsi_report_luns(struct scsi_bus *bus, uint32_t target, uint8_t *buf, size_t len)
{
    size_t n = 16; /* LUN 0 is always told (SPC-3, 6.21) */

    memset(buf, 0, len);
    LIST_FOREACH (&bus->devs, it) {
        const struct scsi_dev *sd = CONTAINER_OF(it, struct scsi_dev, link);

        if (sd->target == target && sd->number != 0 && n + 8 <= len) {
            be16_put(buf + n, (uint16_t)(sd->number < 256 ? sd->number : 0x4000 | sd->number));
            n += 8;
        }
    }
    be32_put(buf, (uint32_t)(n - 8));
    return n;
}

static int place(struct scsi_dev *sd, struct err **err)
{
    struct scsi_bus *bus = NULL;

    LIST_FOREACH (&sd->dev.m->scsi_buses, it) {
        struct scsi_bus *b = CONTAINER_OF(it, struct scsi_bus, link);

        if (bus == NULL && (sd->opt_bus == NULL || str_eq(b->name, sd->opt_bus))) {
            bus = b;
        }
    }
    if (bus == NULL) {
        return sd->opt_bus != NULL
                   ? err_set(err, ENOENT, "there is no SCSI bus '%s'", sd->opt_bus)
                   : err_set(err, ENODEV,
                             "there is no SCSI bus: add an adapter, as '-device virtio-scsi-pci'");
    }
    sd->number = sd->opt_lun != UNSET ? sd->opt_lun : 0;
    sd->target = sd->opt_id != UNSET ? sd->opt_id : 0;
    while (sd->opt_id == UNSET && scsi_find(bus, sd->target, sd->number) != NULL) {
        sd->target++;
    }
    if (sd->opt_channel != 0 || sd->target >= bus->max_target || sd->number >= bus->max_lun) {
        return err_set(err, EINVAL, "bus '%s' has channel 0, scsi-id 0 to %u, lun 0 to %u",
                       bus->name, bus->max_target - 1, bus->max_lun - 1);
    }
    if (scsi_find(bus, sd->target, sd->number) != NULL) {
        return err_set(err, EBUSY, "scsi-id %u, lun %u of bus '%s' is taken", sd->target,
                       sd->number, bus->name);
    }
    sd->bus = bus;
    return 0;
}

static int realize(struct scsi_dev *sd, bool cd, struct err **err)
{
    uint64_t wwn = 0;
    int r = place(sd, err);

    if (r == 0 && str_to_u64(sd->opt_wwn, 0, &wwn) < 0) {
        r = err_set(err, EINVAL, "wwn=%s is no number", sd->opt_wwn);
    }
    if (r == 0) {
        r = disk_init(&sd->disk, sd->dev.m, cd || sd->opt_removable, sd->target + 1, err);
    }
    if (r < 0) {
        sd->bus = NULL;
        return r;
    }
    sd->lun = (struct scsi_lun) {
        .disk = &sd->disk,
        .cd = cd,
        .vendor = sd->opt_vendor,
        .product = sd->opt_product != NULL ? sd->opt_product
                   : cd                    ? "QEMU CD-ROM"
                                           : "QEMU HARDDISK",
        .version = sd->opt_ver,
        .id = sd->dev.id,
        .device_id = sd->opt_device_id,
        .wwn = wwn,
    };
    list_append(&sd->bus->devs, &sd->link);
    sd->bus->changed(sd->bus->arg, sd, true);
    return 0;
}

static int hd_realize(struct device *dev, struct err **err)
{
    return realize((struct scsi_dev *)dev, false, err);
}

static int cd_realize(struct device *dev, struct err **err)
{
    return realize((struct scsi_dev *)dev, true, err);
}

static void scsi_dev_reset(struct device *dev)
{
    scsi_lun_reset(&((struct scsi_dev *)dev)->lun);
}

static void scsi_dev_destroy(struct device *dev)
{
    struct scsi_dev *sd = (struct scsi_dev *)dev;

    if (sd->disk.node != NULL) { /* its requests end before it goes */
        block_drain(sd->disk.node->ctx, sd->disk.node);
    }
    if (sd->bus != NULL && sd->link.next != NULL) {
        list_remove(&sd->link);
        sd->bus->changed(sd->bus->arg, sd, false);
    }
    disk_done(&sd->disk);
}

static void scsi_boot_path(const struct device *dev, char *buf, size_t len)
{
    const struct scsi_dev *sd = (const struct scsi_dev *)dev;

    (void)snprintf(buf, len, "channel@0/disk@%x,%x", sd->target, sd->number);
}

static struct disk *scsi_disk(struct device *dev)
{
    return &((struct scsi_dev *)dev)->disk;
}

static void scsi_medium_changed(struct device *dev)
{
    struct scsi_dev *sd = (struct scsi_dev *)dev;

    sd->disk.medium_changed = true;
    sd->lun.unit_attention = true;
}

static const struct device *scsi_boot_parent(const struct device *dev)
{
    const struct scsi_dev *sd = (const struct scsi_dev *)dev;
    const struct device *adapter = sd->bus != NULL ? sd->bus->arg : NULL;

    return adapter != NULL && adapter->cls->pci != NULL ? adapter : NULL;
}

static const struct state_field scsi_fields[] = {
    FIELD(struct scsi_dev, lun.unit_attention), FIELD(struct scsi_dev, lun.key),
    FIELD(struct scsi_dev, lun.asc),            FIELD(struct scsi_dev, lun.ascq),
    FIELD(struct scsi_dev, disk.tray_open),     FIELD(struct scsi_dev, disk.tray_locked),
    FIELD_END,
};

#define SCSI_CLASS(name_, desc_, realize_, changed_)                                                      \
    {                                                                                           \
        .name = (name_), .bus = "SCSI", .desc = (desc_), .opts = scsi_opts,                     \
        .size = sizeof(struct scsi_dev), .hotplug_free = true, .realize = (realize_),           \
        .reset = scsi_dev_reset, .destroy = scsi_dev_destroy, .boot_path = scsi_boot_path,      \
        .boot_parent = scsi_boot_parent,                                                        \
        .disk = scsi_disk, .medium_changed = (changed_), .fields = scsi_fields                                                                  \
    }

const struct device_class scsi_hd_class = SCSI_CLASS("scsi-hd", "SCSI disk", hd_realize, NULL);
const struct device_class scsi_cd_class = SCSI_CLASS("scsi-cd", "SCSI CD-ROM drive", cd_realize, scsi_medium_changed);
