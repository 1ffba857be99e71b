/* SPDX-License-Identifier: GPL-2.0-or-later */
/* devices.c - defaults of devices that need few of them: NICs, character devices, displays and
 * others. */
#include "mgmt/model/domain/domain.h"

#include "mgmt/model/units.h"
#include "rpc/fault.h"

#include <errno.h>

int interface_complete(struct node *def, struct node *nic, struct err **err)
{
    const char *type = node_attr(nic, "type"), *mac = node_get(nic, "mac/@address");
    static const struct {
        const char *type, *path;
    } needs[] = { { "network", "source/@network" },
                  { "bridge", "source/@bridge" },
                  { "direct", "source/@dev" },
                  { "vdpa", "source/@dev" } };
    char text[MAC_TEXT_BYTES];
    uint8_t bytes[6];

    if (type == NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "Missing required attribute '%s' in element '%s'",
                     "type", "interface");
    }
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        if (str_eq(type, needs[i].type) && node_get(nic, needs[i].path) == NULL) {
            return str_eq(type, "network")
                       ? fault(err, DOM_DOMAIN, XML_ERROR,
                               "No <source> 'network' attribute specified with <interface "
                               "type='network'/>")
                       : fault(err, DOM_DOMAIN, XML_ERROR,
                               "No <source> '%s' attribute specified with <interface type='%s'/>",
                               strchr(needs[i].path, '@') + 1, type);
        }
    }
    if (mac == NULL) {
        mac_generate(text);
    } else if (mac_parse(mac, bytes) < 0) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "unable to parse mac address '%s'", mac);
    } else if (bytes[0] & 1) {
        return fault(err, DOM_DOMAIN, XML_ERROR,
                     "expected unicast mac address, found multicast '%s'", mac);
    } else {
        mac_format(bytes, text);
    }
    if (node_set(nic, "mac/@address", text) < 0) {
        return -ENOMEM;
    }
    if (str_eq(type, "direct") && node_get(nic, "source/@mode") == NULL &&
        node_set(nic, "source/@mode", "vepa") < 0) {
        return -ENOMEM;
    }
    if (node_get(nic, "model/@type") == NULL && !str_eq(type, "hostdev") && def != NULL &&
        (domain_is_i440fx(def) || domain_is_q35(def)) &&
        node_set(nic, "model/@type", domain_is_q35(def) ? "e1000e" : "rtl8139") < 0) {
        return -ENOMEM;
    }
    return 0;
}

int chardev_complete(struct node *def, struct node *chr, struct err **err)
{
    struct node *devices = domain_devices(def), *target;
    const char *type = node_attr(chr, "type");
    unsigned port = 0;

    if (type == NULL) {
        if (node_set(chr, "@type", "pty") < 0) {
            return -ENOMEM;
        }
        type = "pty";
    }
    if (str_eq(type, "tcp") && node_child(chr, "protocol") == NULL &&
        node_set(chr, "protocol/@type", "raw") < 0) {
        return -ENOMEM;
    }
    if (str_eq(type, "unix") && node_child(chr, "source") != NULL &&
        node_get(chr, "source/@path") == NULL) {
        node_remove(chr, "source"); /* we choose one for each run */
    }
    if (str_eq(type, "unix") && node_child(chr, "source") != NULL &&
        node_get(chr, "source/@mode") == NULL && node_set(chr, "source/@mode", "connect") < 0) {
        return -ENOMEM;
    }
    if (str_eq(chr->name, "channel")) {
        const char *tt = node_get(chr, "target/@type");

        if (tt == NULL) {
            return fault(err, DOM_DOMAIN, XML_ERROR, "target type must be specified for channel");
        }
        if (str_eq(tt, "virtio") && node_get(chr, "target/@name") == NULL &&
            str_eq(type, "spicevmc") && node_set(chr, "target/@name", "com.redhat.spice.0") < 0) {
            return -ENOMEM;
        }
        return 0;
    }
    target = node_need(chr, "target");
    if (target == NULL) {
        return -ENOMEM;
    }
    if (node_attr(target, "port") == NULL) {
        /* The lowest port that no sibling has. */
        for (;;) {
            bool used = false;

            for (const struct node *o = node_child(devices, chr->name); o != NULL;
                 o = node_next(o, chr->name)) {
                used |= o != chr && node_get_u64(o, "target/@port", 1u << 30) == port;
            }
            if (!used) {
                break;
            }
            port++;
        }
        if (node_setf(target, "@port", "%u", port) < 0) {
            return -ENOMEM;
        }
    }
    if (str_eq(chr->name, "serial")) {
        static const struct {
            const char *type, *model;
        } models[] = { { "isa-serial", "isa-serial" },
                       { "pci-serial", "pci-serial" },
                       { "usb-serial", "usb-serial" },
                       { "isa-debug", "isa-debugcon" } };

        if (node_attr(target, "type") == NULL && node_set(target, "@type", "isa-serial") < 0) {
            return -ENOMEM;
        }
        for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
            if (node_is(target, "@type", models[i].type) && node_child(target, "model") == NULL &&
                node_set(target, "model/@name", models[i].model) < 0) {
                return -ENOMEM;
            }
        }
    }
    if (str_eq(chr->name, "console") && node_attr(target, "type") == NULL &&
        node_set(target, "@type", "serial") < 0) {
        return -ENOMEM;
    }
    return 0;
}

int graphics_complete(struct node *def, struct node *g, struct err **err)
{
    const char *type = node_attr(g, "type"), *listen = node_attr(g, "listen");
    bool socket = str_eq(type != NULL ? type : "", "vnc") ||
                  str_eq(type != NULL ? type : "", "spice") ||
                  str_eq(type != NULL ? type : "", "rdp");

    (void)def;
    if (type == NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "missing graphics device type");
    }
    if (!socket) {
        return 0;
    }
    if (node_is(g, "@port", "-1") && node_set(g, "@autoport", "yes") < 0) {
        return -ENOMEM;
    }
    if (node_attr(g, "socket") == NULL && node_attr(g, "port") == NULL &&
        node_attr(g, "tlsPort") == NULL && node_attr(g, "autoport") == NULL &&
        !node_is(g, "listen/@type", "none") && !node_is(g, "listen/@type", "socket") &&
        node_set(g, "@autoport", "yes") < 0) {
        return -ENOMEM;
    }
    if (node_is(g, "@autoport", "yes")) {
        /* What was chosen for an earlier run says nothing about the next one. */
        if (str_eq(type, "spice")) {
            (void)node_set(g, "@port", NULL);
            (void)node_set(g, "@tlsPort", NULL);
        } else if (node_set(g, "@port", "-1") < 0) {
            return -ENOMEM;
        }
    } else if (node_attr(g, "port") != NULL && node_attr(g, "autoport") == NULL &&
               node_set(g, "@autoport", "no") < 0) {
        return -ENOMEM;
    }
    if (node_child(g, "listen") == NULL) {
        struct node *l = node_add(g, "listen");

        if (l == NULL || node_set(l, "@type", node_attr(g, "socket") ? "socket" : "address") < 0 ||
            (listen != NULL && node_set(l, "@address", listen) < 0) ||
            (node_attr(g, "socket") != NULL &&
             node_set(l, "@socket", node_attr(g, "socket")) < 0)) {
            return -ENOMEM;
        }
    } else if (listen != NULL && node_is(g, "listen/@type", "address") &&
               node_get(g, "listen/@address") != NULL && !node_is(g, "listen/@address", listen)) {
        return fault(err, DOM_DOMAIN, XML_ERROR,
                     "graphics 'listen' attribute '%s' must match 'address' attribute of first "
                     "listen element (found '%s')",
                     listen, node_get(g, "listen/@address"));
    }
    if (node_is(g, "listen/@type", "address") && node_get(g, "listen/@address") != NULL &&
        node_set(g, "@listen", node_get(g, "listen/@address")) < 0) {
        return -ENOMEM;
    }
    return 0;
}

int video_complete(struct node *def, struct node *v, struct err **err)
{
    struct node *m = node_need(v, "model");
    static const struct {
        const char *type, *ram, *vram, *vgamem;
    } sizes[] = { { "vga", NULL, "16384", NULL },
                  { "cirrus", NULL, "16384", NULL },
                  { "vmvga", NULL, "16384", NULL },
                  { "bochs", NULL, "16384", NULL },
                  { "qxl", "65536", "65536", "16384" } };
    const char *type;

    (void)err;
    if (m == NULL) {
        return -ENOMEM;
    }
    if (node_attr(m, "type") == NULL && node_set(m, "@type", "cirrus") < 0) {
        return -ENOMEM;
    }
    type = node_attr(m, "type");
    if (str_eq(type, "none")) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (!str_eq(type, sizes[i].type)) {
            continue;
        }
        if ((sizes[i].ram != NULL && node_attr(m, "ram") == NULL &&
             node_set(m, "@ram", sizes[i].ram) < 0) ||
            (node_attr(m, "vram") == NULL && node_set(m, "@vram", sizes[i].vram) < 0) ||
            (sizes[i].vgamem != NULL && node_attr(m, "vgamem") == NULL &&
             node_set(m, "@vgamem", sizes[i].vgamem) < 0)) {
            return -ENOMEM;
        }
    }
    if (node_attr(m, "heads") == NULL && node_set(m, "@heads", "1") < 0) {
        return -ENOMEM;
    }
    if (node_child(domain_devices(def), "video") == v && node_attr(m, "primary") == NULL &&
        node_set(m, "@primary", "yes") < 0) {
        return -ENOMEM;
    }
    return 0;
}

static int set_default(struct node *n, const char *path, const char *value)
{
    return node_get(n, path) == NULL ? node_set(n, path, value) : 0;
}

int misc_complete(struct node *def, struct node *dev, struct err **err)
{
    const char *name = dev->name;
    int r = 0;

    (void)err;
    if (str_eq(name, "input")) {
        r = set_default(dev, "@bus", node_is(dev, "@type", "tablet") ? "usb" : "ps2");
    } else if (str_eq(name, "watchdog")) {
        r = set_default(dev, "@model", "i6300esb");
        r = r == 0 ? set_default(dev, "@action", "reset") : r;
    } else if (str_eq(name, "memballoon")) {
        r = set_default(dev, "@model", "virtio");
    } else if (str_eq(name, "rng")) {
        r = set_default(dev, "@model", "virtio");
        if (r == 0 && node_is(dev, "backend/@model", "random") &&
            node_get(dev, "backend")[0] == 0) {
            r = node_set_text(node_child(dev, "backend"), "/dev/urandom");
        }
    } else if (str_eq(name, "panic")) {
        r = set_default(dev, "@model", "isa");
    } else if (str_eq(name, "tpm")) {
        r = set_default(dev, "@model", "tpm-tis");
        if (r == 0 && node_is(dev, "backend/@type", "emulator")) {
            r = set_default(dev, "backend/@version", "2.0");
        }
    } else if (str_eq(name, "vsock")) {
        r = set_default(dev, "@model", "virtio");
    } else if (str_eq(name, "sound")) {
        if (node_attr(dev, "model") == NULL) {
            return fault(err, DOM_DOMAIN, XML_ERROR,
                         "Missing required attribute '%s' in element '%s'", "model", "sound");
        }
        if (node_is(dev, "@model", "ich6") || node_is(dev, "@model", "ich9")) {
            r = 0;
        }
    } else if (str_eq(name, "filesystem")) {
        r = set_default(dev, "@type", "mount");
        if (r == 0 && !node_is(dev, "driver/@type", "virtiofs")) {
            r = set_default(dev, "@accessmode", "passthrough");
        }
    } else if (str_eq(name, "hostdev")) {
        r = set_default(dev, "@mode", "subsystem");
        r = r == 0 ? set_default(dev, "@managed", "no") : r;
    } else if (str_eq(name, "hub") || str_eq(name, "redirdev")) {
        r = set_default(dev, str_eq(name, "hub") ? "@type" : "@bus", "usb");
    } else if (str_eq(name, "memory")) {
        struct node *size = node_child(node_child(dev, "target"), "size");

        r = size != NULL ? unit_normalize(size, 1024, 1024, "KiB", DOM_DOMAIN, err) : 0;
    }
    (void)def;
    return r;
}
