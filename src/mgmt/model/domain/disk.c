/* SPDX-License-Identifier: GPL-2.0-or-later */
/* disk.c - disks: bus from the target's name, drivers, drive addresses. */
#include "mgmt/model/domain/domain.h"

#include "rpc/fault.h"

#include <errno.h>

static const char *const prefixes[] = { "fd", "hd", "vd", "sd", "xvd", "ubd" };

int disk_index(const char *target)
{
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t len = strlen(prefixes[i]);
        int n = 0;
        const char *p = target + len;

        if (!str_starts(target, prefixes[i])) {
            continue;
        }
        for (; *p >= 'a' && *p <= 'z'; p++) {
            if (n > 1000000) {
                return -1;
            }
            n = (n + (p > target + len ? 1 : 0)) * 26 + (*p - 'a');
        }
        for (const char *d = p; *d != '\0'; d++) {
            if (*d < '0' || *d > '9') {
                return -1;
            }
        }
        return p > target + len ? n : -1;
    }
    return -1;
}

char *disk_target_name(const char *prefix, unsigned index)
{
    char buf[16];
    size_t at = sizeof(buf) - 1;
    long n = index;

    buf[at] = '\0';
    do {
        buf[--at] = (char)('a' + n % 26);
        n = n / 26 - 1;
    } while (n >= 0 && at > 0);
    return str_format("%s%s", prefix, buf + at);
}

static const char *bus_of(const struct node *disk, const char *target)
{
    if (node_is(disk, "@device", "floppy")) {
        return "fdc";
    }
    if (str_starts(target, "hd")) {
        return "ide";
    }
    if (str_starts(target, "sd")) {
        return "scsi";
    }
    if (str_starts(target, "vd")) {
        return "virtio";
    }
    if (str_starts(target, "xvd")) {
        return "xen";
    }
    return "ide";
}

static int drive_address(struct node *def, struct node *disk, const char *bus, int index)
{
    unsigned controller = 0, b = 0, unit = 0, target = 0;
    struct node *a;

    if (node_child(disk, "address") != NULL) {
        return 0;
    }
    if (str_eq(bus, "scsi")) {
        controller = (unsigned)index / 7;
        unit = (unsigned)index % 7;
    } else if (str_eq(bus, "ide")) {
        controller = (unsigned)index / 4;
        b = (unsigned)index % 4 / 2;
        unit = (unsigned)index % 2;
    } else if (str_eq(bus, "fdc")) {
        controller = (unsigned)index / 2;
        unit = (unsigned)index % 2;
    } else if (str_eq(bus, "sata")) {
        controller = (unsigned)index / 6;
        unit = (unsigned)index % 6;
    } else {
        return 0;
    }
    (void)def;
    a = node_add(disk, "address");
    return a == NULL || node_set(a, "@type", "drive") < 0 ||
                   node_setf(a, "@controller", "%u", controller) < 0 ||
                   node_setf(a, "@bus", "%u", b) < 0 || node_setf(a, "@target", "%u", target) < 0 ||
                   node_setf(a, "@unit", "%u", unit) < 0
               ? -ENOMEM
               : 0;
}

static bool has_source(const struct node *disk)
{
    const struct node *s = node_child(disk, "source");

    return s != NULL && (node_attr(s, "file") || node_attr(s, "dev") || node_attr(s, "dir") ||
                         node_attr(s, "protocol") || node_attr(s, "pool") || node_attr(s, "type"));
}

static int check_source(const struct node *disk, const char *target, struct err **err)
{
    const struct node *s = node_child(disk, "source");

    if (node_is(disk, "@type", "network")) {
        if (s == NULL || node_attr(s, "protocol") == NULL) {
            return fault(err, DOM_DOMAIN, XML_ERROR, "missing network source protocol type");
        }
    } else if (node_is(disk, "@type", "volume") && s != NULL &&
               (node_attr(s, "pool") == NULL || node_attr(s, "volume") == NULL)) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "missing 'pool' or 'volume' attribute for source");
    }
    if (!has_source(disk) && !node_is(disk, "@device", "cdrom") &&
        !node_is(disk, "@device", "floppy")) {
        return fault(err, DOM_DOMAIN, NO_SOURCE, "%s", target);
    }
    return 0;
}

int disk_complete(struct node *def, struct node *disk, struct err **err)
{
    const char *target = node_get(disk, "target/@dev");
    const char *bus, *device;
    int index;

    if (node_attr(disk, "type") == NULL && node_set(disk, "@type", "file") < 0) {
        return -ENOMEM;
    }
    if (node_attr(disk, "device") == NULL && node_set(disk, "@device", "disk") < 0) {
        return -ENOMEM;
    }
    device = node_attr(disk, "device");
    if (target == NULL) {
        return has_source(disk)
                   ? fault(err, DOM_DOMAIN, NO_TARGET, "%s",
                           node_get(disk, "source/@file") ? node_get(disk, "source/@file") : "disk")
                   : fault(err, DOM_DOMAIN, NO_TARGET, "disk");
    }
    index = disk_index(target);
    if (index < 0) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "Unknown disk name '%s' and no address specified",
                     target);
    }
    bus = node_get(disk, "target/@bus");
    if (bus == NULL) {
        bus = bus_of(disk, target);
        if (node_set(disk, "target/@bus", bus) < 0) {
            return -ENOMEM;
        }
        bus = node_get(disk, "target/@bus");
    }
    if (str_eq(device, "floppy") != str_eq(bus, "fdc")) {
        return fault(err, DOM_DOMAIN, XML_ERROR,
                     str_eq(device, "floppy") ? "Invalid bus type '%s' for floppy disk"
                                              : "Invalid bus type '%s' for disk",
                     bus);
    }
    if (str_eq(device, "cdrom") && str_eq(bus, "virtio")) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "disk type '%s' of '%s' does not support ejectable media", bus, target);
    }
    {
        int r = check_source(disk, target, err);

        if (r < 0) {
            return r;
        }
    }
    if (node_get(disk, "driver/@name") == NULL && node_set(disk, "driver/@name", "qemu") < 0) {
        return -ENOMEM;
    }
    if (node_get(disk, "driver/@type") == NULL && node_set(disk, "driver/@type", "raw") < 0) {
        return -ENOMEM;
    }
    if (!has_source(disk)) {
        node_remove(disk, "source");
    }
    if (str_eq(device, "cdrom") && node_child(disk, "readonly") == NULL &&
        node_add(disk, "readonly") == NULL) {
        return -ENOMEM;
    }
    return drive_address(def, disk, bus, index);
}
