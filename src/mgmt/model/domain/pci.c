/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pci.c - PCI addresses: which devices need one, and where each goes.
 *
 * pc: one bus; 00:01 is the PIIX3 (IDE at function 1, USB at 2), 00:02 the primary display, the
 * rest follows from 00:03 up. q35: each device gets a root port of its own; root ports share
 * slots, eight functions each, from the first free slot of the root bus; the chip set's own devices
 * sit where Intel put them (SATA 1f.2, sound 1b, display 01).
 */
#include "mgmt/model/domain/domain.h"

#include "rpc/fault.h"

#include <errno.h>

enum { BUSES_MAX = 256, SLOTS = 32, FUNCTIONS = 8 };

struct bus {
    bool there;
    bool port; /* one slot, for a device of its own: a root or downstream port */
    bool express;
    bool root;
    uint8_t slots[SLOTS]; /* bit per function in use */
    bool shared[SLOTS];   /* holds root ports; the next one may join */
};

struct plan {
    struct node *def;
    struct bus bus[BUSES_MAX];
    bool q35;
};

bool device_is_virtio(const struct node *dev)
{
    const char *m = node_attr(dev, "model");

    if (str_eq(dev->name, "disk")) {
        return node_is(dev, "target/@bus", "virtio");
    }
    if (str_eq(dev->name, "interface")) {
        m = node_get(dev, "model/@type");
    }
    if (str_eq(dev->name, "video")) {
        m = node_get(dev, "model/@type");
    }
    if (str_eq(dev->name, "controller")) {
        return node_is(dev, "@type", "virtio-serial") || (m != NULL && str_starts(m, "virtio"));
    }
    if (str_eq(dev->name, "input")) {
        return node_is(dev, "@bus", "virtio");
    }
    return m != NULL && str_starts(m, "virtio");
}

static bool needs_pci(const struct node *d)
{
    const char *n = d->name;

    if (node_child(d, "address") != NULL) {
        return false;
    }
    if (str_eq(n, "disk")) {
        return node_is(d, "target/@bus", "virtio");
    }
    if (str_eq(n, "interface") || str_eq(n, "vsock") || str_eq(n, "rng")) {
        return true;
    }
    if (str_eq(n, "controller")) {
        const char *t = node_attr(d, "type");

        return str_eq(t, "usb") || str_eq(t, "scsi") || str_eq(t, "virtio-serial") ||
               str_eq(t, "sata") || str_eq(t, "ide") ||
               (str_eq(t, "pci") && node_get_u64(d, "@index", 0) > 0);
    }
    if (str_eq(n, "sound")) {
        return !node_is(d, "@model", "usb") && !node_is(d, "@model", "pcspk") &&
               !node_is(d, "@model", "sb16");
    }
    if (str_eq(n, "memballoon")) {
        return !node_is(d, "@model", "none");
    }
    if (str_eq(n, "video")) {
        return !node_is(d, "model/@type", "none") && !node_is(d, "model/@type", "ramfb");
    }
    if (str_eq(n, "watchdog")) {
        return node_is(d, "@model", "i6300esb");
    }
    if (str_eq(n, "hostdev")) {
        return node_is(d, "@type", "pci") || node_is(d, "@type", "scsi_host") ||
               node_is(d, "@type", "mdev");
    }
    if (str_eq(n, "filesystem") || str_eq(n, "shmem") || str_eq(n, "crypto")) {
        return true;
    }
    if (str_eq(n, "input")) {
        return node_is(d, "@bus", "virtio");
    }
    if (str_eq(n, "serial")) {
        return node_is(d, "target/@type", "pci-serial");
    }
    if (str_eq(n, "memory")) {
        return node_is(d, "@model", "virtio-mem") || node_is(d, "@model", "virtio-pmem");
    }
    if (str_eq(n, "iommu")) {
        return node_is(d, "@model", "virtio");
    }
    return false;
}

static int put(struct node *d, unsigned bus, unsigned slot, unsigned fn)
{
    struct node *a = node_need(d, "address");

    return a == NULL || node_set(a, "@type", "pci") < 0 || node_set(a, "@domain", "0x0000") < 0 ||
                   node_setf(a, "@bus", "0x%02x", bus) < 0 ||
                   node_setf(a, "@slot", "0x%02x", slot) < 0 ||
                   node_setf(a, "@function", "0x%x", fn) < 0
               ? -ENOMEM
               : 0;
}

static void bus_of_controller(struct plan *p, const struct node *c)
{
    uint64_t i = node_get_u64(c, "@index", 0);
    const char *m = node_attr(c, "model");
    struct bus *b;

    if (!node_is(c, "@type", "pci") || i >= BUSES_MAX || m == NULL) {
        return;
    }
    b = &p->bus[i];
    b->there = true;
    b->root = str_eq(m, "pci-root") || str_eq(m, "pcie-root");
    b->port = str_eq(m, "pcie-root-port") || str_eq(m, "pcie-switch-downstream-port");
    b->express = str_starts(m, "pcie-") && !str_eq(m, "pcie-to-pci-bridge");
    if (b->root || str_eq(m, "pci-bridge") || str_eq(m, "pcie-to-pci-bridge")) {
        b->slots[0] = 0xff;
    }
}

static int collect(struct plan *p, struct err **err)
{
    struct node *devices = domain_devices(p->def);

    for (struct node *c = node_child(devices, "controller"); c != NULL;
         c = node_next(c, "controller")) {
        bus_of_controller(p, c);
    }
    for (struct node *d = devices->first; d != NULL; d = d->next) {
        uint64_t bus, slot, fn;

        if (!node_is(d, "address/@type", "pci")) {
            continue;
        }
        if (node_get(d, "address/@slot") == NULL && node_get(d, "address/@bus") == NULL) {
            node_remove(d, "address"); /* "type='pci'" alone asks for any */
            continue;
        }
        if (put(d, (unsigned)node_get_u64(d, "address/@bus", 0),
                (unsigned)node_get_u64(d, "address/@slot", 0),
                (unsigned)node_get_u64(d, "address/@function", 0)) < 0) {
            return -ENOMEM;
        }
        bus = node_get_u64(d, "address/@bus", 0);
        slot = node_get_u64(d, "address/@slot", 0);
        fn = node_get_u64(d, "address/@function", 0);
        if (bus >= BUSES_MAX || slot >= SLOTS || fn >= FUNCTIONS) {
            return fault(err, DOM_DOMAIN, XML_ERROR,
                         "Invalid PCI address %04x:%02x:%02x.%x, only values up to 0:ff:1f.7",
                         (unsigned)node_get_u64(d, "address/@domain", 0), (unsigned)bus,
                         (unsigned)slot, (unsigned)fn);
        }
        if (p->bus[bus].slots[slot] & (1u << fn)) {
            return fault(err, DOM_QEMU, XML_ERROR,
                         "Attempted double use of PCI Address %04x:%02x:%02x.%x", 0, (unsigned)bus,
                         (unsigned)slot, (unsigned)fn);
        }
        p->bus[bus].slots[slot] |= (uint8_t)(1u << fn);
        if (str_eq(d->name, "controller") && node_is(d, "@model", "pcie-root-port") && bus == 0) {
            p->bus[0].shared[slot] = true;
        }
    }
    return 0;
}

/* The fixed places of the chip sets. */
static int fixed(struct plan *p)
{
    struct node *devices = domain_devices(p->def), *v = node_child(devices, "video");
    struct bus *root = &p->bus[0];

    for (struct node *c = node_child(devices, "controller"); c != NULL;
         c = node_next(c, "controller")) {
        unsigned slot = 0, fn = 0;

        if (!needs_pci(c) || node_get_u64(c, "@index", 0) != 0) {
            continue;
        }
        if (!p->q35 && node_is(c, "@type", "ide")) {
            slot = 1;
            fn = 1;
        } else if (!p->q35 && node_is(c, "@model", "piix3-uhci")) {
            slot = 1;
            fn = 2;
        } else if (p->q35 && node_is(c, "@type", "sata")) {
            slot = 0x1f;
            fn = 2;
        } else {
            continue;
        }
        if (root->slots[slot] & (1u << fn)) {
            continue;
        }
        if (put(c, 0, slot, fn) < 0) {
            return -ENOMEM;
        }
        root->slots[slot] |= (uint8_t)(1u << fn);
    }
    root->slots[p->q35 ? 0x1f : 1] = 0xff;
    if (v != NULL && needs_pci(v)) {
        unsigned slot = p->q35 ? 1 : 2;

        if (root->slots[slot] == 0) {
            if (put(v, 0, slot, 0) < 0) {
                return -ENOMEM;
            }
            root->slots[slot] = 0xff;
        }
    } else if (!p->q35 && v == NULL && root->slots[2] == 0) {
        root->slots[2] = 0xff; /* kept for a display that may come */
    }
    if (p->q35) {
        for (struct node *s = node_child(devices, "sound"); s != NULL; s = node_next(s, "sound")) {
            if (node_is(s, "@model", "ich9") && needs_pci(s) && root->slots[0x1b] == 0) {
                if (put(s, 0, 0x1b, 0) < 0) {
                    return -ENOMEM;
                }
                root->slots[0x1b] = 0xff;
            }
        }
    }
    return 0;
}

static int new_bus(struct plan *p, const char *model, unsigned *ret)
{
    unsigned i = 1;
    struct node *c;

    while (i < BUSES_MAX && p->bus[i].there) {
        i++;
    }
    if (i == BUSES_MAX) {
        return -ENOSPC;
    }
    c = controller_need(p->def, "pci", i, model);
    if (c == NULL) {
        return -ENOMEM;
    }
    bus_of_controller(p, c);
    *ret = i;
    return 0;
}

/* A place for a root port on the root bus. */
static int place_port(struct plan *p, struct node *c)
{
    struct bus *root = &p->bus[0];
    unsigned i = (unsigned)node_get_u64(c, "@index", 0);
    unsigned slot = 0, fn = 0;

    for (unsigned s = 1; s < SLOTS && slot == 0; s++) {
        if (root->shared[s] && root->slots[s] != 0xff) {
            slot = s;
            while (root->slots[s] & (1u << fn)) {
                fn++;
            }
        }
    }
    for (unsigned s = 1; s < SLOTS && slot == 0; s++) {
        if (root->slots[s] == 0) {
            slot = s;
            root->shared[s] = true;
        }
    }
    if (slot == 0) {
        return -ENOSPC;
    }
    root->slots[slot] |= (uint8_t)(1u << fn);
    if (put(c, 0, slot, fn) < 0) {
        return -ENOMEM;
    }
    if (node_get(c, "target/@chassis") == NULL && node_setf(c, "target/@chassis", "%u", i) < 0) {
        return -ENOMEM;
    }
    if (node_get(c, "target/@port") == NULL &&
        node_setf(c, "target/@port", "0x%x", slot << 3 | fn) < 0) {
        return -ENOMEM;
    }
    if (fn == 0) {
        return node_set(c, "address/@multifunction", "on");
    }
    return 0;
}

static int place_device(struct plan *p, struct node *d, struct err **err)
{
    bool express = p->q35 && !str_eq(d->name, "sound");
    bool hub = str_eq(d->name, "controller") && node_is(d, "@type", "pci");
    unsigned b;
    int r;

    if (hub && node_is(d, "@model", "pcie-root-port")) {
        return place_port(p, d);
    }
    if (p->q35 && hub) {
        express = node_is(d, "@model", "pcie-to-pci-bridge");
    }
    if (express) {
        for (b = 1; b < BUSES_MAX; b++) {
            if (p->bus[b].there && p->bus[b].port && p->bus[b].slots[0] == 0) {
                break;
            }
        }
        if (b == BUSES_MAX) {
            r = new_bus(p, "pcie-root-port", &b);
            if (r < 0) {
                return r == -ENOSPC
                           ? fault(err, DOM_QEMU, INTERNAL_ERROR, "No more available PCI slots")
                           : r;
            }
        }
        p->bus[b].slots[0] = 1;
        return put(d, b, 0, 0);
    }
    for (b = 0; b < BUSES_MAX; b++) {
        if (!p->bus[b].there || p->bus[b].port || (p->bus[b].express && !p->bus[b].root)) {
            continue;
        }
        for (unsigned s = p->q35 && b == 0 ? 1 : 0; s < SLOTS; s++) {
            if (p->bus[b].slots[s] == 0) {
                p->bus[b].slots[s] = 0xff;
                return put(d, b, s, 0);
            }
        }
    }
    if (!p->q35 && !hub && new_bus(p, "pci-bridge", &b) == 0) {
        p->bus[b].slots[1] = 0xff;
        return put(d, b, 1, 0);
    }
    return fault(err, DOM_QEMU, INTERNAL_ERROR, "No more available PCI slots");
}

/* The ICH9's USB controllers share a slot: the EHCI one is function 7, its companions 0, 1 and 2.
 */
static int place_ich9_usb(struct plan *p, struct node *d, bool *ret_done)
{
    static const struct {
        const char *model;
        unsigned fn;
    } functions[] = {
        { "ich9-ehci1", 7 }, { "ich9-uhci1", 0 }, { "ich9-uhci2", 1 }, { "ich9-uhci3", 2 }
    };
    int fn = -1;
    unsigned slot = 0;

    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        if (node_is(d, "@model", functions[i].model)) {
            fn = (int)functions[i].fn;
        }
    }
    *ret_done = false;
    if (fn < 0) {
        return 0;
    }
    for (const struct node *o = node_child(domain_devices(p->def), "controller"); o != NULL;
         o = node_next(o, "controller")) {
        const char *m = node_attr(o, "model");

        if (o != d && m != NULL && str_starts(m, "ich9-") &&
            node_is(o, "@index", node_attr(d, "index")) && node_is(o, "address/@type", "pci")) {
            slot = (unsigned)node_get_u64(o, "address/@slot", 0);
        }
    }
    for (unsigned s = 1; slot == 0 && s < SLOTS; s++) {
        if (p->bus[0].slots[s] == 0) {
            slot = s;
        }
    }
    if (slot == 0) {
        return 0;
    }
    p->bus[0].slots[slot] = 0xff;
    *ret_done = true;
    if (put(d, 0, slot, (unsigned)fn) < 0) {
        return -ENOMEM;
    }
    return fn == 0 ? node_set(d, "address/@multifunction", "on") : 0;
}

static int place_all(struct plan *p, const char *name, const char *not_type, struct err **err)
{
    for (struct node *d = node_child(domain_devices(p->def), name); d != NULL;
         d = node_next(d, name)) {
        if (needs_pci(d) && (not_type == NULL || !node_is(d, "@type", not_type))) {
            bool done;
            int r = place_ich9_usb(p, d, &done);

            r = r == 0 && !done ? place_device(p, d, err) : r;
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

int addresses_assign(struct node *def, struct err **err)
{
    static const char *const order[] = {
        "filesystem", "interface", "sound",    "controller", "disk",  "hostdev",
        "memballoon", "rng",       "watchdog", "video",      "shmem", "input",
        "serial",     "vsock",     "crypto",   "memory",     "iommu",
    };
    struct plan *p = calloc(1, sizeof(*p));
    int r;

    if (p == NULL) {
        return -ENOMEM;
    }
    p->def = def;
    p->q35 = domain_is_q35(def);
    r = collect(p, err);
    r = r == 0 ? fixed(p) : r;
    for (struct node *c = node_child(domain_devices(def), "controller"); r == 0 && c != NULL;
         c = node_next(c, "controller")) {
        if (node_is(c, "@type", "pci") && needs_pci(c)) {
            r = place_device(p, c, err);
        }
    }
    for (size_t i = 0; r == 0 && i < sizeof(order) / sizeof(order[0]); i++) {
        r = place_all(p, order[i], "pci", err);
    }
    for (struct node *d = node_child(domain_devices(def), "hostdev"); r == 0 && d != NULL;
         d = node_next(d, "hostdev")) {
        if (needs_pci(d)) {
            r = place_device(p, d, err);
        }
    }
    /* The ports and bridges that were made on the way. */
    for (struct node *c = node_child(domain_devices(def), "controller"); r == 0 && c != NULL;
         c = node_next(c, "controller")) {
        if (!node_is(c, "@type", "pci") || node_get_u64(c, "@index", 0) == 0) {
            continue;
        }
        if (node_child(c, "model") == NULL) {
            r = node_set(c, "model/@name", node_attr(c, "model"));
        }
        if (r == 0 && needs_pci(c)) {
            r = place_device(p, c, err);
        }
        if (r == 0 && node_is(c, "@model", "pci-bridge") &&
            node_get(c, "target/@chassisNr") == NULL) {
            r = node_set(c, "target/@chassisNr", node_attr(c, "index"));
        }
        if (r == 0 && node_is(c, "@model", "pcie-root-port")) {
            unsigned slot = (unsigned)node_get_u64(c, "address/@slot", 0);
            unsigned fn = (unsigned)node_get_u64(c, "address/@function", 0);

            if (node_get(c, "target/@chassis") == NULL) {
                r = node_set(c, "target/@chassis", node_attr(c, "index"));
            }
            if (r == 0 && node_get(c, "target/@port") == NULL) {
                r = node_setf(c, "target/@port", "0x%x", slot << 3 | fn);
            }
        }
    }
    free(p);
    return r;
}
