/* SPDX-License-Identifier: GPL-2.0-or-later */
/* alias.c - the names of devices in a running emulator, as libvirt forms them. */
#include "mgmt/model/domain/domain.h"

#include <errno.h>

static int set(struct node *d, const char *fmt, unsigned n)
{
    /* fmt is one of the literals below. */
    return node_setf(d, "alias/@name", fmt, n);
}

static unsigned next_number(const struct node *devices, const char *name, const char *prefix)
{
    unsigned n = 0;

    for (const struct node *d = node_child(devices, name); d != NULL; d = node_next(d, name)) {
        const char *a = node_get(d, "alias/@name");
        uint64_t v;

        if (a != NULL && str_starts(a, prefix) && str_to_u64(a + strlen(prefix), 10, &v) == 0 &&
            v >= n && v < 1000000) {
            n = (unsigned)v + 1;
        }
    }
    return n;
}

static int disk_alias(struct node *d)
{
    const char *bus = node_get(d, "target/@bus");
    int index = disk_index(node_get(d, "target/@dev"));

    if (str_eq(bus, "virtio")) {
        return node_setf(d, "alias/@name", "virtio-disk%d", index);
    }
    if (str_eq(bus, "usb")) {
        return node_setf(d, "alias/@name", "usb-disk%d", index);
    }
    if (str_eq(bus, "scsi")) {
        return node_setf(d, "alias/@name", "scsi%s-%s-%s-%s", node_get(d, "address/@controller"),
                         node_get(d, "address/@bus"), node_get(d, "address/@target"),
                         node_get(d, "address/@unit"));
    }
    if (node_get(d, "address/@controller") != NULL) {
        return node_setf(d, "alias/@name", "%s%s-%s-%s", bus, node_get(d, "address/@controller"),
                         node_get(d, "address/@bus"), node_get(d, "address/@unit"));
    }
    return node_setf(d, "alias/@name", "%s-disk%d", bus, index);
}

static int controller_alias(const struct node *def, struct node *c)
{
    const char *type = node_attr(c, "type");
    unsigned index = (unsigned)node_get_u64(c, "@index", 0);
    bool q35 = domain_is_q35(def);

    if (str_eq(type, "pci")) {
        return node_setf(c, "alias/@name", node_is(c, "@model", "pcie-root") ? "pcie.%u" : "pci.%u",
                         index);
    }
    if (str_eq(type, "ide") && index == 0 && !q35) {
        return node_set(c, "alias/@name", "ide");
    }
    if (str_eq(type, "sata") && index == 0 && q35) {
        return node_set(c, "alias/@name", "ide");
    }
    if (str_eq(type, "usb") && index == 0) {
        return node_set(c, "alias/@name", "usb");
    }
    return node_setf(c, "alias/@name", "%s%u", type, index);
}

int aliases_assign(struct node *def, struct err **err)
{
    static const struct {
        const char *name, *fmt, *prefix;
    } simple[] = {
        { "interface", "net%u", "net" },
        { "serial", "serial%u", "serial" },
        { "parallel", "parallel%u", "parallel" },
        { "channel", "channel%u", "channel" },
        { "input", "input%u", "input" },
        { "sound", "sound%u", "sound" },
        { "video", "video%u", "video" },
        { "hostdev", "hostdev%u", "hostdev" },
        { "redirdev", "redir%u", "redir" },
        { "hub", "hub%u", "hub" },
        { "watchdog", "watchdog%u", "watchdog" },
        { "memballoon", "balloon%u", "balloon" },
        { "rng", "rng%u", "rng" },
        { "tpm", "tpm%u", "tpm" },
        { "filesystem", "fs%u", "fs" },
        { "smartcard", "smartcard%u", "smartcard" },
        { "panic", "panic%u", "panic" },
        { "vsock", "vsock%u", "vsock" },
        { "shmem", "shmem%u", "shmem" },
        { "crypto", "crypto%u", "crypto" },
        { "memory", "dimm%u", "dimm" },
        { "console", "console%u", "console" },
    };
    struct node *devices = domain_devices(def);

    (void)err;
    for (struct node *d = devices->first; d != NULL; d = d->next) {
        const char *name = d->name;
        const char *have = node_get(d, "alias/@name");
        int r = 0;

        if (have != NULL) {
            continue;
        }
        if (str_eq(name, "disk")) {
            r = disk_alias(d);
        } else if (str_eq(name, "controller")) {
            r = controller_alias(def, d);
        } else if (str_eq(name, "console") && node_is(d, "target/@type", "serial") &&
                   node_child(devices, "serial") != NULL && node_child(devices, "console") == d) {
            /* The same device as the first serial port. */
            struct node *s = node_child(devices, "serial");

            r = node_get(s, "alias/@name") == NULL ? set(s, "serial%u", 0) : 0;
            r = r == 0 ? node_set(d, "alias/@name", node_get(s, "alias/@name")) : r;
        } else if (str_eq(name, "memory") && node_is(d, "@model", "virtio-mem")) {
            r = set(d, "virtiomem%u", next_number(devices, name, "virtiomem"));
        } else {
            for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++) {
                if (str_eq(name, simple[i].name)) {
                    r = set(d, simple[i].fmt, next_number(devices, name, simple[i].prefix));
                }
            }
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}
