/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/device.h"

#include "base/str.h"
#include "codec/keyval.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *alias;
    const char *name;
} aliases[] = {
    { "virtio-console-device", "virtconsole" },
    { "ahci", "ich9-ahci" },
    { "e1000-82540em", "e1000" },
    { "virtio-input-host", "virtio-input-host-pci" },
};

static const struct device_class *find_exact(const char *name)
{
    for (const struct device_class *const *c = device_classes; *c != NULL; c++) {
        if (str_eq((*c)->name, name)) {
            return *c;
        }
    }
    return NULL;
}

const struct device_class *device_class_for(const struct machine *m, const char *name)
{
    const struct device_class *cls = device_class_find(name);

    if (str_starts(name, "virtio-") && m->pci_root != NULL) {
        AUTO_FREE char *pci = str_format("%s-pci", name);
        const struct device_class *on_pci = pci != NULL ? find_exact(pci) : NULL;

        return on_pci != NULL ? on_pci : cls;
    }
    return cls;
}

const struct device_class *device_class_find(const char *name)
{
    const struct device_class *cls = find_exact(name);

    for (size_t i = 0; cls == NULL && i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (str_eq(name, aliases[i].alias)) {
            cls = find_exact(aliases[i].name);
        }
    }
    if (cls == NULL && str_starts(name, "virtio-")) {
        AUTO_FREE char *full = str_format("%s-device", name);

        cls = full != NULL ? find_exact(full) : NULL;
        if (cls == NULL && !str_ends(name, "-transitional")) {
            return NULL;
        }
    }
    return cls;
}

struct device *device_find(struct machine *m, const char *id)
{
    LIST_FOREACH (&m->devices, it) {
        struct device *dev = CONTAINER_OF(it, struct device, link);

        if (dev->id != NULL && str_eq(dev->id, id)) {
            return dev;
        }
    }
    return NULL;
}

static const struct opt no_opts[] = { OPT_END };

static int set_bootindex(struct device *dev, const char *value, struct err **err)
{
    int64_t v;

    if (str_to_i64(value, 10, &v) < 0 || v < -1 || v > INT32_MAX) {
        return err_set(err, EINVAL, "bootindex=%s is no number", value);
    }
    dev->bootindex = v;
    return 0;
}

static int set_options(struct device *dev, struct keyval *opts, struct err **err)
{
    const struct opt *table = dev->cls->opts != NULL ? dev->cls->opts : no_opts;
    const struct opt *bus = dev->cls->bus_opts != NULL ? dev->cls->bus_opts : no_opts;
    int r = opt_defaults(table, dev, err);

    if (r == 0) {
        r = opt_defaults(bus, dev, err);
    }
    dev->bootindex = -1;
    for (size_t i = 0; r == 0 && opts != NULL && i < opts->n; i++) {
        struct keyval_pair *p = &opts->pairs[i];

        p->used = true;
        if (str_eq(p->key, "id")) {
            free(dev->id);
            dev->id = strdup(p->value);
        } else if (str_eq(p->key, "bootindex") && dev->cls->boot_path != NULL) {
            r = set_bootindex(dev, p->value, err);
        } else if (!str_eq(p->key, "driver")) {
            r = opt_set(opt_find(bus, p->key) != NULL ? bus : table, dev, p->key, p->value, err);
        }
    }
    return r;
}

int device_create_text(struct machine *m, const char *text, struct device **ret, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = text != NULL ? keyval_parse(text, "driver", false, &kv, err) : -ENOMEM;
    const struct device_class *cls = r == 0 ? device_class_for(m, keyval_get(kv, "driver")) : NULL;

    if (r == 0 && cls == NULL) {
        return err_set(err, ENODEV, "'%s' is no device of ours", keyval_get(kv, "driver"));
    }
    return r == 0 ? device_create(m, cls, kv, ret, err) : r;
}

int device_create(struct machine *m, const struct device_class *cls, struct keyval *opts,
                  struct device **ret, struct err **err)
{
    CLEANUP(device_freep) struct device *dev = calloc(1, cls->size);
    int r;

    if (dev == NULL) {
        return err_set(err, ENOMEM, "no memory for '%s'", cls->name);
    }
    dev->cls = cls;
    dev->m = m;
    list_init(&dev->link);
    r = set_options(dev, opts, err);
    if (r == 0 && dev->id != NULL) {
        LIST_FOREACH (&m->devices, it) {
            const struct device *other = CONTAINER_OF(it, struct device, link);

            if (other->id != NULL && str_eq(other->id, dev->id)) {
                r = err_set(err, EEXIST, "id '%s' is taken by another device", dev->id);
                break;
            }
        }
    }
    if (r == 0) {
        r = cls->realize(dev, err);
    }
    if (r < 0) {
        err_prefix(err, "device '%s': ", cls->name);
        return r;
    }
    dev->realized = true;
    list_append(&m->devices, &dev->link);
    device_reset(dev);
    if (ret != NULL) {
        *ret = dev;
    }
    dev = NULL;
    return 0;
}

void device_reset(struct device *dev)
{
    if (dev->cls->reset != NULL) {
        dev->cls->reset(dev);
    }
}

void device_delete(struct device *dev)
{
    struct machine *m = dev->m;
    AUTO_FREE char *id = dev->id != NULL ? strdup(dev->id) : NULL;
    bool virtio_on_pci = dev->cls->virtio != NULL && dev->cls->pci != NULL;

    (void)device_free(dev);
    if (id == NULL) {
        return;
    }
    if (virtio_on_pci) { /* the device proper, below its transport */
        machine_event(m, "DEVICE_DELETED", "{\"path\": \"/machine/peripheral/%s/virtio-backend\"}",
                      id);
    }
    machine_event(m, "DEVICE_DELETED", "{\"device\": \"%s\", \"path\": \"/machine/peripheral/%s\"}",
                  id, id);
}

struct device *device_free(struct device *dev)
{
    if (dev != NULL) {
        list_remove(&dev->link);
        iobus_remove(&dev->m->pio, dev);
        iobus_remove(&dev->m->mmio, dev);
        if (dev->cls->destroy != NULL) {
            dev->cls->destroy(dev);
        }
        if (dev->m->loop != NULL) {
            loop_unpost(dev->m->loop, dev);
        }
        if (dev->cls->opts != NULL) {
            opt_done(dev->cls->opts, dev);
        }
        if (dev->cls->bus_opts != NULL) {
            opt_done(dev->cls->bus_opts, dev);
        }
        free(dev->id);
        free(dev);
    }
    return NULL;
}
