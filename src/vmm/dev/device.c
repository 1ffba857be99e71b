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
    { "virtio-blk", "virtio-blk-device" },      { "virtio-net", "virtio-net-device" },
    { "virtio-rng", "virtio-rng-device" },      { "virtio-serial", "virtio-serial-device" },
    { "virtio-9p", "virtio-9p-device" },        { "virtio-fs", "virtio-fs-device" },
    { "virtio-console-device", "virtconsole" },
};

const struct device_class *device_class_find(const char *name)
{
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (str_eq(name, aliases[i].alias)) {
            name = aliases[i].name;
            break;
        }
    }
    for (const struct device_class *const *c = device_classes; *c != NULL; c++) {
        if (str_eq((*c)->name, name)) {
            return *c;
        }
    }
    return NULL;
}

static const struct opt no_opts[] = { OPT_END };

static int set_options(struct device *dev, struct keyval *opts, struct err **err)
{
    const struct opt *table = dev->cls->opts != NULL ? dev->cls->opts : no_opts;
    int r = opt_defaults(table, dev, err);

    for (size_t i = 0; r == 0 && opts != NULL && i < opts->n; i++) {
        struct keyval_pair *p = &opts->pairs[i];

        p->used = true;
        if (str_eq(p->key, "id")) {
            free(dev->id);
            dev->id = strdup(p->value);
        } else if (!str_eq(p->key, "driver")) {
            r = opt_set(table, dev, p->key, p->value, err);
        }
    }
    return r;
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

struct device *device_free(struct device *dev)
{
    if (dev != NULL) {
        list_remove(&dev->link);
        iobus_remove(&dev->m->pio, dev);
        iobus_remove(&dev->m->mmio, dev);
        if (dev->cls->destroy != NULL) {
            dev->cls->destroy(dev);
        }
        if (dev->cls->opts != NULL) {
            opt_done(dev->cls->opts, dev);
        }
        free(dev->id);
        free(dev);
    }
    return NULL;
}
