/* SPDX-License-Identifier: GPL-2.0-or-later */
/* controller.c - the controllers that a machine has anyway, and those that devices need. */
#include "mgmt/model/domain/domain.h"

#include "rpc/fault.h"

#include <errno.h>

static struct node *controller_find(const struct node *def, const char *type, unsigned index)
{
    for (struct node *c = node_child(domain_devices(def), "controller"); c != NULL;
         c = node_next(c, "controller")) {
        if (node_is(c, "@type", type) && node_get_u64(c, "@index", 0) == index) {
            return c;
        }
    }
    return NULL;
}

/* Those of a type stay together, ordered by index. */
static void place(struct node *devices, struct node *c)
{
    const char *type = node_attr(c, "type");
    uint64_t index = node_get_u64(c, "@index", 0);
    struct node *after = NULL, *same = NULL;

    node_insert(devices, c); /* at the end of all controllers */
    for (struct node *o = node_child(devices, "controller"); o != NULL;
         o = node_next(o, "controller")) {
        if (o != c && node_is(o, "@type", type)) {
            same = same != NULL ? same : o;
            if (node_get_u64(o, "@index", 0) < index) {
                after = o;
            }
        }
    }
    if (same == NULL) {
        return;
    }
    node_detach(c);
    c->parent = devices;
    if (after != NULL) {
        c->next = after->next;
        after->next = c;
    } else {
        struct node **link = &devices->first;

        while (*link != same) {
            link = &(*link)->next;
        }
        c->next = same;
        *link = c;
    }
    if (c->next == NULL) {
        devices->last = c;
    }
}

struct node *controller_need(struct node *def, const char *type, unsigned index, const char *model)
{
    struct node *devices = domain_devices(def);
    struct node *c = controller_find(def, type, index);

    if (c != NULL) {
        return c;
    }
    c = node_add(devices, "controller");
    if (c == NULL || node_set(c, "@type", type) < 0 || node_setf(c, "@index", "%u", index) < 0 ||
        (model != NULL && node_set(c, "@model", model) < 0)) {
        return NULL;
    }
    place(devices, node_detach(c));
    return c;
}

/* For each device with a drive or serial address: the controller that it names. */
static int for_devices(struct node *def, struct err **err)
{
    struct node *devices = domain_devices(def);

    for (struct node *d = devices->first; d != NULL; d = d->next) {
        const char *bus = node_get(d, "target/@bus");
        unsigned index = (unsigned)node_get_u64(d, "address/@controller", 0);
        struct node *c = NULL;

        if (index > 255) {
            return fault(err, DOM_DOMAIN, XML_ERROR, "controller index %u of %s is too large",
                         index, d->name);
        }
        if (str_eq(d->name, "disk") && bus != NULL &&
            (str_eq(bus, "ide") || str_eq(bus, "scsi") || str_eq(bus, "fdc") ||
             str_eq(bus, "sata"))) {
            c = controller_need(def, bus, index, NULL);
        } else if (str_eq(d->name, "channel") && node_is(d, "target/@type", "virtio")) {
            struct node *a = node_child(d, "address");

            if (a == NULL) {
                unsigned port = 1;

                for (const struct node *o = node_child(devices, "channel"); o != NULL;
                     o = node_next(o, "channel")) {
                    uint64_t p = node_get_u64(o, "address/@port", 0);

                    if (node_is(o, "address/@type", "virtio-serial") && p >= port) {
                        port = (unsigned)p + 1;
                    }
                }
                a = node_add(d, "address");
                if (a == NULL || node_set(a, "@type", "virtio-serial") < 0 ||
                    node_set(a, "@controller", "0") < 0 || node_set(a, "@bus", "0") < 0 ||
                    node_setf(a, "@port", "%u", port) < 0) {
                    return -ENOMEM;
                }
            }
            c = controller_need(def, "virtio-serial", index, NULL);
        } else if (str_eq(d->name, "smartcard")) {
            c = controller_need(def, "ccid", index, NULL);
        } else if (str_eq(d->name, "hostdev") && node_is(d, "@type", "scsi")) {
            c = controller_need(def, "scsi", index, NULL);
        } else {
            continue;
        }
        if (c == NULL) {
            return -ENOMEM;
        }
    }
    return 0;
}

static int usb_addresses(struct node *def)
{
    struct node *devices = domain_devices(def);
    unsigned port = 1;

    for (struct node *d = devices->first; d != NULL; d = d->next) {
        uint64_t p = node_get_u64(d, "address/@port", 0);

        if (node_is(d, "address/@type", "usb") && p >= port) {
            port = (unsigned)p + 1;
        }
    }
    for (struct node *d = devices->first; d != NULL; d = d->next) {
        bool usb = node_is(d, "@bus", "usb") || node_is(d, "target/@bus", "usb") ||
                   (str_eq(d->name, "hub")) ||
                   (str_eq(d->name, "hostdev") && node_is(d, "@type", "usb")) ||
                   (str_eq(d->name, "sound") && node_is(d, "@model", "usb"));
        struct node *a = node_child(d, "address");

        if (!usb || a != NULL) {
            continue;
        }
        a = node_add(d, "address");
        if (a == NULL || node_set(a, "@type", "usb") < 0 || node_set(a, "@bus", "0") < 0 ||
            node_setf(a, "@port", "%u", port++) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static bool is_companion(const struct node *c)
{
    const char *m = node_attr(c, "model");

    return m != NULL && str_starts(m, "ich9-uhci");
}

int controllers_complete(struct node *def, struct err **err)
{
    bool q35 = domain_is_q35(def), i440fx = domain_is_i440fx(def);
    bool have_usb = false;
    unsigned ehci = 0;
    int r;

    for (struct node *c = node_child(domain_devices(def), "controller"); c != NULL;
         c = node_next(c, "controller")) {
        if (node_attr(c, "type") == NULL) {
            return fault(err, DOM_DOMAIN, XML_ERROR,
                         "Missing required attribute '%s' in element '%s'", "type", "controller");
        }
        if (node_attr(c, "index") == NULL && is_companion(c)) {
            /* Of the EHCI controller before it. */
            if (node_setf(c, "@index", "%u", ehci) < 0) {
                return -ENOMEM;
            }
        }
        if (node_attr(c, "index") == NULL) {
            unsigned index = 0;

            while (controller_find(def, node_attr(c, "type"), index) != NULL &&
                   controller_find(def, node_attr(c, "type"), index) != c) {
                index++;
            }
            if (node_setf(c, "@index", "%u", index) < 0) {
                return -ENOMEM;
            }
        }
        if (node_is(c, "@model", "ich9-ehci1")) {
            ehci = (unsigned)node_get_u64(c, "@index", 0);
        }
        if (node_is(c, "@type", "usb")) {
            have_usb = true;
            if (node_attr(c, "model") == NULL && (q35 || i440fx) &&
                node_set(c, "@model", q35 ? "qemu-xhci" : "piix3-uhci") < 0) {
                return -ENOMEM;
            }
        }
        if (node_is(c, "@type", "pci") && node_attr(c, "model") == NULL) {
            return fault(err, DOM_DOMAIN, XML_ERROR,
                         "The device at PCI address needs a 'model' in controller index %s",
                         node_attr(c, "index"));
        }
    }
    if (!have_usb && (q35 || i440fx) &&
        controller_need(def, "usb", 0, q35 ? "qemu-xhci" : "piix3-uhci") == NULL) {
        return -ENOMEM;
    }
    if (q35 && controller_need(def, "sata", 0, NULL) == NULL) {
        return -ENOMEM;
    }
    if ((q35 || i440fx) && controller_need(def, "pci", 0, q35 ? "pcie-root" : "pci-root") == NULL) {
        return -ENOMEM;
    }
    r = for_devices(def, err);
    if (r < 0) {
        return r;
    }
    for (struct node *c = node_child(domain_devices(def), "controller"); c != NULL;
         c = node_next(c, "controller")) {
        if (node_is(c, "@type", "scsi") && node_attr(c, "model") == NULL && (q35 || i440fx) &&
            node_set(c, "@model", "lsilogic") < 0) {
            return -ENOMEM;
        }
    }
    return usb_addresses(def);
}
