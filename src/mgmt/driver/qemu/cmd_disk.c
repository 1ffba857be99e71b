/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_disk.c - disks and controllers: block nodes for the chain of images, the device on top. */
#include "mgmt/driver/qemu/cmdline.h"

#include "base/str.h"
#include "mgmt/driver/qemu/run.h"
#include "mgmt/model/domain/domain.h"
#include "mgmt/storage/image.h"
#include "rpc/fault.h"

#include <errno.h>

enum { CHAIN_MAX = 200 };

void device_address(struct json_object *o, const struct node *def, const struct node *dev)
{
    const struct node *a = node_child(dev, "address");
    const char *type = a != NULL ? node_attr(a, "type") : NULL;

    if (type == NULL) {
        return;
    }
    if (str_eq(type, "pci")) {
        unsigned bus = (unsigned)node_get_u64(a, "@bus", 0);
        unsigned slot = (unsigned)node_get_u64(a, "@slot", 0);
        unsigned fn = (unsigned)node_get_u64(a, "@function", 0);
        bool multi = node_is(a, "@multifunction", "on");
        AUTO_FREE char *name =
            str_format(bus == 0 && domain_is_q35(def) ? "pcie.%u" : "pci.%u", bus);
        AUTO_FREE char *addr =
            fn != 0 ? str_format("0x%x.0x%x", slot, fn) : str_format("0x%x", slot);

        (void)json_add_str(o, "bus", name != NULL ? name : "");
        if (multi) {
            (void)json_add_bool(o, "multifunction", true);
        }
        (void)json_add_str(o, "addr", addr != NULL ? addr : "");
    } else if (str_eq(type, "usb")) {
        AUTO_FREE char *name = NULL;
        unsigned bus = (unsigned)node_get_u64(a, "@bus", 0);

        name = bus == 0 ? strdup("usb.0") : str_format("usb%u.0", bus);
        (void)json_add_str(o, "bus", name != NULL ? name : "");
        if (node_attr(a, "port") != NULL) {
            (void)json_add_str(o, "port", node_attr(a, "port"));
        }
    } else if (str_eq(type, "virtio-serial")) {
        AUTO_FREE char *name = str_format("virtio-serial%llu.0",
                                          (unsigned long long)node_get_u64(a, "@controller", 0));

        (void)json_add_str(o, "bus", name != NULL ? name : "");
        (void)json_add_u64(o, "nr", node_get_u64(a, "@port", 1));
    }
}

struct json_object *device_json(struct cmdline *c, const char *driver, const struct node *dev)
{
    struct json_object *o = json_object_new_object();

    if (o == NULL || json_add_str(o, "driver", driver) < 0) {
        json_object_put(o);
        return NULL;
    }
    if (node_get(dev, "alias/@name") != NULL) {
        (void)json_add_str(o, "id", node_get(dev, "alias/@name"));
    }
    device_address(o, c->def, dev);
    return o;
}

struct json_object *controller_device(struct cmdline *c, const struct node *ctl)
{
    const char *type = node_attr(ctl, "type"), *model = node_attr(ctl, "model");
    unsigned index = (unsigned)node_get_u64(ctl, "@index", 0);
    struct json_object *o;

    if (str_eq(type, "pci")) {
        if (index == 0) {
            return NULL;
        }
        o = device_json(c,
                        str_eq(model, "pcie-to-pci-bridge")  ? "pcie-pci-bridge"
                        : str_eq(model, "dmi-to-pci-bridge") ? "i82801b11-bridge"
                                                             : model,
                        ctl);
        if (o != NULL && str_eq(model, "pcie-root-port")) {
            (void)json_add_u64(o, "port", node_get_u64(ctl, "target/@port", 0));
            (void)json_add_u64(o, "chassis", node_get_u64(ctl, "target/@chassis", index));
        }
        if (o != NULL && str_eq(model, "pci-bridge")) {
            (void)json_add_u64(o, "chassis_nr", node_get_u64(ctl, "target/@chassisNr", index));
        }
        return o;
    }
    if (str_eq(type, "usb")) {
        if (model == NULL || str_eq(model, "none")) {
            return NULL;
        }
        o = device_json(c,
                        str_eq(model, "piix3-uhci")   ? "piix3-usb-uhci"
                        : str_eq(model, "piix4-uhci") ? "piix4-usb-uhci"
                        : str_eq(model, "ehci")       ? "usb-ehci"
                        : str_eq(model, "ich9-ehci1") ? "ich9-usb-ehci1"
                        : str_eq(model, "ich9-uhci1") ? "ich9-usb-uhci1"
                        : str_eq(model, "ich9-uhci2") ? "ich9-usb-uhci2"
                        : str_eq(model, "ich9-uhci3") ? "ich9-usb-uhci3"
                                                      : model,
                        ctl);
        if (o != NULL && node_child(ctl, "master") != NULL) {
            json_object_object_del(o, "id");
            (void)json_add_str(o, "masterbus", "usb.0");
            (void)json_add_u64(o, "firstport", node_get_u64(ctl, "master/@startport", 0));
        }
        if (o != NULL && node_attr(ctl, "ports") != NULL) {
            (void)json_add_u64(o, "p2", node_get_u64(ctl, "@ports", 15));
            (void)json_add_u64(o, "p3", node_get_u64(ctl, "@ports", 15));
        }
        return o;
    }
    if (str_eq(type, "scsi")) {
        o = device_json(c,
                        str_eq(model, "virtio-scsi") || str_eq(model, "virtio") ? "virtio-scsi-pci"
                        : str_eq(model, "lsilogic")                             ? "lsi"
                        : str_eq(model, "lsisas1068")                           ? "mptsas1068"
                        : str_eq(model, "vmpvscsi")                             ? "pvscsi"
                                                                                : model,
                        ctl);
        if (o != NULL && node_get(ctl, "driver/@queues") != NULL) {
            (void)json_add_u64(o, "num_queues", node_get_u64(ctl, "driver/@queues", 1));
        }
        return o;
    }
    if (str_eq(type, "virtio-serial")) {
        o = device_json(c, "virtio-serial-pci", ctl);
        if (o != NULL && node_attr(ctl, "ports") != NULL) {
            (void)json_add_u64(o, "max_ports", node_get_u64(ctl, "@ports", 31));
        }
        return o;
    }
    if (str_eq(type, "sata")) {
        return index == 0 && domain_is_q35(c->def) ? NULL : device_json(c, "ahci", ctl);
    }
    if (str_eq(type, "ide")) {
        return index == 0 ? NULL : device_json(c, "piix3-ide", ctl);
    }
    if (str_eq(type, "ccid")) {
        return device_json(c, "usb-ccid", ctl);
    }
    return NULL;
}

/* The protocol node's object, without its node-name. */
static struct json_object *protocol_node(const struct node *src, const char *type, struct err **err)
{
    struct json_object *o = json_object_new_object();
    const char *path = node_get(src, "@file");

    if (o == NULL) {
        return NULL;
    }
    if (str_eq(type, "block")) {
        (void)json_add_str(o, "driver", "host_device");
        (void)json_add_str(o, "filename", node_get(src, "@dev"));
    } else if (str_eq(type, "dir")) {
        (void)json_add_str(o, "driver", "vvfat");
        (void)json_add_str(o, "dir", node_get(src, "@dir"));
        (void)json_add_bool(o, "floppy", false);
    } else if (str_eq(type, "network")) {
        const char *proto = node_attr(src, "protocol");
        const char *name = node_attr(src, "name") ? node_attr(src, "name") : "";
        const struct node *h = node_child(src, "host");
        const char *host = h != NULL && node_attr(h, "name") ? node_attr(h, "name") : "localhost";
        const char *port = h != NULL ? node_attr(h, "port") : NULL;

        if (str_eq(proto, "nbd")) {
            struct json_object *server = json_object_new_object();

            (void)json_add_str(o, "driver", "nbd");
            if (h != NULL && node_is(h, "@transport", "unix")) {
                (void)json_add_str(server, "type", "unix");
                (void)json_add_str(server, "path", node_attr(h, "socket"));
            } else {
                (void)json_add_str(server, "type", "inet");
                (void)json_add_str(server, "host", host);
                (void)json_add_str(server, "port", port != NULL ? port : "10809");
            }
            (void)json_add(o, "server", server);
            if (*name != '\0') {
                (void)json_add_str(o, "export", name);
            }
        } else if (str_eq(proto, "http") || str_eq(proto, "https") || str_eq(proto, "ftp") ||
                   str_eq(proto, "ftps")) {
            AUTO_FREE char *url =
                str_format("%s://%s%s%s/%s%s%s", proto, host, port ? ":" : "", port ? port : "",
                           name, node_attr(src, "query") ? "?" : "",
                           node_attr(src, "query") ? node_attr(src, "query") : "");

            (void)json_add_str(o, "driver", proto);
            (void)json_add_str(o, "url", url != NULL ? url : "");
        } else if (str_eq(proto, "iscsi")) {
            AUTO_FREE char *portal = str_format("%s:%s", host, port != NULL ? port : "3260");
            AUTO_FREE char *target = strdup(name);
            char *slash = target != NULL ? strrchr(target, '/') : NULL;

            (void)json_add_str(o, "driver", "iscsi");
            (void)json_add_str(o, "portal", portal != NULL ? portal : "");
            (void)json_add_i64(o, "lun", slash != NULL ? strtol(slash + 1, NULL, 10) : 0);
            if (slash != NULL) {
                *slash = '\0';
            }
            (void)json_add_str(o, "target", target != NULL ? target : "");
            (void)json_add_str(o, "transport", "tcp");
        } else if (str_eq(proto, "rbd")) {
            AUTO_FREE char *pool = strdup(name);
            char *slash = pool != NULL ? strchr(pool, '/') : NULL;

            (void)json_add_str(o, "driver", "rbd");
            if (slash != NULL) {
                *slash = '\0';
                (void)json_add_str(o, "image", slash + 1);
            }
            (void)json_add_str(o, "pool", pool != NULL ? pool : "");
        } else {
            json_object_put(o);
            (void)fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                        "network disk protocol '%s' is not supported", proto);
            return NULL;
        }
    } else {
        (void)json_add_str(o, "driver", "file");
        (void)json_add_str(o, "filename", path != NULL ? path : "");
    }
    return o;
}

int storage_blockdev(struct cmdline *c, struct node *owner, const char *type, const char *format,
                     const char *node_base, bool read_only, const char *backing_node,
                     struct json_object *ret_array, struct err **err)
{
    struct node *src = node_child(owner, "source");
    struct json_object *p = protocol_node(src, type, err), *f = json_object_new_object();
    AUTO_FREE char *storage = str_format("%s-storage", node_base);
    AUTO_FREE char *top = str_format("%s-format", node_base);
    const char *cache = node_get(owner, "driver/@cache"), *aio = node_get(owner, "driver/@io");
    const char *discard = node_get(owner, "driver/@discard");
    const char *zeroes = node_get(owner, "driver/@detect_zeroes");

    (void)c;
    if (p == NULL || f == NULL || storage == NULL || top == NULL) {
        json_object_put(p);
        json_object_put(f);
        return err != NULL && *err != NULL ? -(*err)->code : -ENOMEM;
    }
    (void)json_add_str(p, "node-name", storage);
    (void)json_add_bool(p, "auto-read-only", true);
    (void)json_add_str(p, "discard", "unmap");
    if (aio != NULL) {
        (void)json_add_str(p, "aio", aio);
    }
    (void)json_add_str(f, "node-name", top);
    (void)json_add_bool(f, "read-only", read_only);
    if (discard != NULL) {
        (void)json_add_str(f, "discard", discard);
    }
    if (zeroes != NULL) {
        (void)json_add_str(f, "detect-zeroes", zeroes);
    }
    if (cache != NULL && !str_eq(cache, "default")) {
        for (int i = 0; i < 2; i++) {
            struct json_object *k = json_object_new_object();

            (void)json_add_bool(k, "direct", str_eq(cache, "none") || str_eq(cache, "directsync"));
            (void)json_add_bool(k, "no-flush", str_eq(cache, "unsafe"));
            (void)json_add(i == 0 ? p : f, "cache", k);
        }
    }
    (void)json_add_str(f, "driver", format);
    (void)json_add_str(f, "file", storage);
    if (str_eq(format, "qcow2") || str_eq(format, "qed") || str_eq(format, "vmdk")) {
        if (backing_node != NULL) {
            (void)json_add_str(f, "backing", backing_node);
        } else {
            (void)json_object_object_add(f, "backing", NULL);
        }
    }
    json_object_array_add(ret_array, p);
    json_object_array_add(ret_array, f);
    return 0;
}

/* Fills in the chain that the images' headers name, unless the user gave one. */
static int find_chain(struct node *disk, struct err **err)
{
    struct node *at = disk;
    const char *format = node_get(disk, "driver/@type");

    for (int depth = 0; depth < CHAIN_MAX; depth++) {
        struct node *b = node_child(at, "backingStore");
        const char *file = node_get(at, "source/@file");
        CLEANUP(image_info_done) struct image_info info = { 0 };

        if (b != NULL && b->first == NULL) {
            return 0; /* the end, as the user says */
        }
        if (b != NULL) {
            format = node_get(b, "format/@type");
            at = b;
            continue;
        }
        if (file == NULL || format == NULL || image_probe(file, format, &info) < 0 ||
            info.backing == NULL) {
            return node_add(at, "backingStore") != NULL ? 0 : -ENOMEM;
        }
        b = node_add(at, "backingStore");
        if (b == NULL || node_set(b, "@type", "file") < 0 ||
            node_set(b, "format/@type", info.backing_format != NULL ? info.backing_format : "raw") <
                0 ||
            node_set(b, "source/@file", info.backing) < 0) {
            return -ENOMEM;
        }
        format = node_get(b, "format/@type");
        at = b;
    }
    return fault(err, DOM_QEMU, OPERATION_FAILED, "the backing chain of '%s' is too long",
                 node_get(disk, "source/@file"));
}

static int chain_nodes(struct cmdline *c, struct node *layer, const char *type, const char *format,
                       bool read_only, struct json_object *ret_array, struct err **err)
{
    struct node *below = node_child(layer, "backingStore");
    AUTO_FREE char *base = str_format("libvirt-%u", ++c->run->next_node);
    AUTO_FREE char *backing = NULL;
    int r;

    if (base == NULL ||
        node_setf(layer, str_eq(layer->name, "backingStore") ? "@index" : "source/@index", "%u",
                  c->run->next_node) < 0) {
        return -ENOMEM;
    }
    if (below != NULL && below->first != NULL) {
        r = chain_nodes(c, below, node_attr(below, "type") ? node_attr(below, "type") : "file",
                        node_get(below, "format/@type") ? node_get(below, "format/@type") : "raw",
                        true, ret_array, err);
        if (r < 0) {
            return r;
        }
        backing = str_format("libvirt-%s-format", node_attr(below, "index"));
    }
    return storage_blockdev(c, layer, type, format, base, read_only, backing, ret_array, err);
}

int disk_blockdevs(struct cmdline *c, struct node *disk, struct json_object *ret_array,
                   struct err **err)
{
    const char *type = node_attr(disk, "type"), *format = node_get(disk, "driver/@type");
    const char *file = node_get(disk, "source/@file");
    int r;

    if (node_child(disk, "source") == NULL) {
        return 0; /* an empty drive */
    }
    if (file != NULL && access(file, F_OK) < 0) {
        return fault(err, DOM_STORAGE, SYSTEM_ERROR, "Cannot access storage file '%s': %s", file,
                     strerror(errno));
    }
    r = find_chain(disk, err);
    return r == 0 ? chain_nodes(c, disk, type, format, node_child(disk, "readonly") != NULL,
                                ret_array, err)
                  : r;
}

static unsigned boot_order(const struct cmdline *c, const struct node *disk)
{
    const struct node *os = node_child(c->def, "os");
    const char *kind = node_is(disk, "@device", "cdrom")    ? "cdrom"
                       : node_is(disk, "@device", "floppy") ? "fd"
                                                            : "hd";
    unsigned order = 1;

    if (node_child(disk, "boot") != NULL) {
        return (unsigned)node_get_u64(disk, "boot/@order", 0);
    }
    /* Only the first device of a kind is booted from. */
    for (const struct node *d = node_child(domain_devices(c->def), "disk"); d != disk && d != NULL;
         d = node_next(d, "disk")) {
        if (node_is(d, "@device", node_attr(disk, "device"))) {
            return 0;
        }
    }
    for (const struct node *b = node_child(os, "boot"); b != NULL;
         b = node_next(b, "boot"), order++) {
        if (node_is(b, "@dev", kind)) {
            return order;
        }
    }
    return 0;
}

struct json_object *disk_device(struct cmdline *c, const struct node *disk)
{
    const char *bus = node_get(disk, "target/@bus"), *device = node_attr(disk, "device");
    const struct node *a = node_child(disk, "address");
    bool cd = str_eq(device, "cdrom");
    unsigned order = boot_order(c, disk);
    struct json_object *o;
    const char *cache = node_get(disk, "driver/@cache");

    if (str_eq(bus, "virtio")) {
        const char *model = node_attr(disk, "model");

        o = device_json(c,
                        model == NULL || str_eq(model, "virtio") ? "virtio-blk-pci"
                        : str_eq(model, "virtio-transitional")   ? "virtio-blk-pci-transitional"
                                                               : "virtio-blk-pci-non-transitional",
                        disk);
        if (o != NULL && node_get(disk, "driver/@queues") != NULL) {
            (void)json_add_u64(o, "num-queues", node_get_u64(disk, "driver/@queues", 1));
        }
        if (o != NULL && node_get(disk, "driver/@iothread") != NULL) {
            AUTO_FREE char *id = str_format("iothread%s", node_get(disk, "driver/@iothread"));

            (void)json_add_str(o, "iothread", id != NULL ? id : "");
        }
    } else if (str_eq(bus, "ide") || str_eq(bus, "sata")) {
        unsigned ctl = (unsigned)node_get_u64(a, "@controller", 0);
        unsigned b = (unsigned)node_get_u64(a, "@bus", 0),
                 unit = (unsigned)node_get_u64(a, "@unit", 0);
        AUTO_FREE char *name = NULL;

        o = json_object_new_object();
        (void)json_add_str(o, "driver", cd ? "ide-cd" : "ide-hd");
        if (str_eq(bus, "ide")) {
            name = str_format("ide.%u", b);
            (void)json_add_str(o, "bus", name != NULL ? name : "");
            (void)json_add_u64(o, "unit", unit);
        } else {
            name = ctl == 0 && domain_is_q35(c->def) ? str_format("ide.%u", unit)
                                                     : str_format("sata%u.%u", ctl, unit);
            (void)json_add_str(o, "bus", name != NULL ? name : "");
        }
    } else if (str_eq(bus, "scsi")) {
        AUTO_FREE char *name =
            str_format("scsi%llu.0", (unsigned long long)node_get_u64(a, "@controller", 0));
        bool virtio = false;

        for (const struct node *k = node_child(domain_devices(c->def), "controller"); k != NULL;
             k = node_next(k, "controller")) {
            virtio |= node_is(k, "@type", "scsi") &&
                      node_get_u64(k, "@index", 0) == node_get_u64(a, "@controller", 0) &&
                      node_is(k, "@model", "virtio-scsi");
        }
        o = json_object_new_object();
        (void)json_add_str(o, "driver",
                           cd                      ? "scsi-cd"
                           : str_eq(device, "lun") ? "scsi-block"
                                                   : "scsi-hd");
        (void)json_add_str(o, "bus", name != NULL ? name : "");
        if (virtio) {
            (void)json_add_u64(o, "channel", 0);
            (void)json_add_u64(o, "scsi-id", node_get_u64(a, "@target", 0));
            (void)json_add_u64(o, "lun", node_get_u64(a, "@unit", 0));
        } else {
            (void)json_add_u64(o, "scsi-id", node_get_u64(a, "@unit", 0));
        }
    } else if (str_eq(bus, "usb")) {
        o = device_json(c, "usb-storage", disk);
    } else if (str_eq(bus, "fdc")) {
        o = json_object_new_object();
        (void)json_add_str(o, "driver", "floppy");
        (void)json_add_u64(o, "unit", node_get_u64(a, "@unit", 0));
    } else {
        return NULL;
    }
    if (o == NULL) {
        return NULL;
    }
    if (json_member(o, "id") == NULL) {
        (void)json_add_str(o, "id", node_get(disk, "alias/@name"));
    }
    if (node_get(disk, "source/@index") != NULL) {
        AUTO_FREE char *drive = str_format("libvirt-%s-format", node_get(disk, "source/@index"));

        (void)json_add_str(o, "drive", drive != NULL ? drive : "");
    }
    if (order > 0) {
        (void)json_add_u64(o, "bootindex", order);
    }
    if (cache != NULL && !cd && !str_eq(bus, "fdc") && !str_eq(bus, "usb")) {
        (void)json_add_str(o, "write-cache",
                           str_eq(cache, "writethrough") || str_eq(cache, "directsync") ? "off"
                                                                                        : "on");
    }
    if (node_get(disk, "serial") != NULL) {
        (void)json_add_str(o, "serial", node_get(disk, "serial"));
    }
    if (node_get(disk, "blockio/@logical_block_size") != NULL) {
        (void)json_add_u64(o, "logical_block_size",
                           node_get_u64(disk, "blockio/@logical_block_size", 512));
    }
    if (node_get(disk, "blockio/@physical_block_size") != NULL) {
        (void)json_add_u64(o, "physical_block_size",
                           node_get_u64(disk, "blockio/@physical_block_size", 512));
    }
    if (node_get(disk, "wwn") != NULL) {
        uint64_t w = 0;

        if (str_to_u64(node_get(disk, "wwn"), 16, &w) == 0) {
            (void)json_add_u64(o, "wwn", w);
        }
    }
    if (node_child(disk, "shareable") != NULL) {
        (void)json_add_bool(o, "share-rw", true);
    }
    return o;
}
