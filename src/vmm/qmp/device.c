/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device.c - QMP commands about devices, objects and the tree they form (schema/device.json). */
#include "vmm/dev/device.h"

#include "base/hash.h"
#include "base/str.h"
#include "codec/flatten.h"
#include "vmm/accel/cpuid.h"
#include "vmm/bus/pci/hotplug.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/virtio/balloon.h"
#include "vmm/machine/class.h"
#include "vmm/machine/object.h"
#include "vmm/net/netdev.h"
#include "vmm/qmp/command.h"

#include <errno.h>

static void add_name(struct json_object *list, const char *name, const char *parent)
{
    struct json_object *o = json_object_new_object();

    (void)json_add_str(o, "name", name);
    (void)json_add_str(o, "parent", parent);
    (void)json_object_array_add(list, o);
}

int qmp_do_qom_list_types(struct machine *m, struct json_object *args, struct json_object **ret,
                          struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    for (const struct device_class *const *c = device_classes; *c != NULL; c++) {
        add_name(*ret, (*c)->name, (*c)->pci != NULL ? "pci-device" : "device");
    }
    for (const struct object_class *const *c = object_classes; *c != NULL; c++) {
        add_name(*ret, (*c)->name, "object");
    }
    /* The engine answers to QEMU's name of a software accelerator. */
    add_name(*ret, "tcg-accel", "accel");
    add_name(*ret, "kvm-accel", "accel");
    for (const struct machine_class *const *c = machine_classes; *c != NULL; c++) {
        AUTO_FREE char *name = str_format("%s-machine", (*c)->name);

        add_name(*ret, name != NULL ? name : "", "generic-pc-machine");
    }
    for (const struct cpu_model_def *d = cpu_models; d->name != NULL; d++) {
        AUTO_FREE char *name = str_format("%s-x86_64-cpu", d->name);

        add_name(*ret, name != NULL ? name : "", "x86_64-cpu");
    }
    return 0;
}

static void add_options(struct json_object *list, const struct opt *o)
{
    for (; o != NULL && o->name != NULL; o++) {
        struct json_object *p = json_object_new_object();

        (void)json_add_str(p, "name", o->name);
        (void)json_add_str(p, "type", opt_kind_name(o->kind));
        (void)json_add_str(p, "description", o->help);
        (void)json_object_array_add(list, p);
    }
}

static void add_property(struct json_object *list, const char *name, const char *type)
{
    struct json_object *p = json_object_new_object();

    (void)json_add_str(p, "name", name);
    (void)json_add_str(p, "type", type);
    (void)json_object_array_add(list, p);
}

int qmp_do_device_list_properties(struct machine *m, struct json_object *args,
                                  struct json_object **ret, struct err **err)
{
    const char *name = NULL;
    const struct device_class *cls;

    (void)m;
    (void)!json_get_str(args, "typename", &name, NULL);
    cls = device_class_find(name);
    if (cls == NULL) {
        return err_set(err, ENODEV, "Device '%s' not found", name);
    }
    *ret = json_object_new_array();
    add_options(*ret, cls->opts);
    add_options(*ret, cls->bus_opts);
    if (cls->boot_path != NULL) {
        add_property(*ret, "bootindex", "int32");
    }
    return 0;
}

int qmp_do_qom_list_properties(struct machine *m, struct json_object *args,
                               struct json_object **ret, struct err **err)
{
    const char *name = NULL;
    const struct object_class *object;

    (void)m;
    (void)!json_get_str(args, "typename", &name, NULL);
    *ret = json_object_new_array();
    if (str_ends(name, "-machine")) {
        AUTO_FREE char *kind = strndup(name, strlen(name) - strlen("-machine"));
        const struct machine_class *cls = kind != NULL ? machine_class_find(kind) : NULL;

        if (cls != NULL) {
            add_options(*ret, cls->opts);
            return 0;
        }
    }
    if (str_ends(name, "-x86_64-cpu")) {
        return 0;
    }
    object = object_class_find(name);
    if (object != NULL) {
        for (const char *const *p = object->props; *p != NULL; p++) {
            add_property(*ret, *p, "str");
        }
        return 0;
    }
    return qmp_do_device_list_properties(m, args, ret, err);
}

/* ---- the tree ---- */

static const struct device *nth_unattached(struct machine *m, unsigned n)
{
    LIST_FOREACH (&m->devices, it) {
        const struct device *dev = CONTAINER_OF(it, struct device, link);

        if (dev->id == NULL && n-- == 0) {
            return dev;
        }
    }
    return NULL;
}

/* The device of a path, or NULL; vCPUs are the first in /machine/unattached. */
static struct device *by_path(struct machine *m, const char *path)
{
    unsigned n;

    if (str_starts(path, "/machine/peripheral/")) {
        AUTO_FREE char *id = strndup(path + 20, strcspn(path + 20, "/"));

        return id != NULL ? device_find(m, id) : NULL;
    }
    if (sscanf(path, "/machine/unattached/device[%u]", &n) == 1 && n >= m->n_vcpus) {
        return (struct device *)(uintptr_t)nth_unattached(m, n - m->n_vcpus);
    }
    return *path != '/' ? device_find(m, path) : NULL;
}

static bool is_cpu(struct machine *m, const char *path)
{
    unsigned n;

    return sscanf(path, "/machine/unattached/device[%u]", &n) == 1 && n < m->n_vcpus;
}

int qmp_do_qom_list(struct machine *m, struct json_object *args, struct json_object **ret,
                    struct err **err)
{
    const char *path = NULL;
    struct device *dev;

    (void)!json_get_str(args, "path", &path, NULL);
    *ret = json_object_new_array();
    if (str_eq(path, "/machine") || str_eq(path, "/")) {
        add_property(*ret, "peripheral", "child<container>");
        add_property(*ret, "unattached", "child<container>");
        add_property(*ret, "type", "string");
        return 0;
    }
    if (str_eq(path, "/machine/peripheral")) {
        add_property(*ret, "type", "string");
        LIST_FOREACH (&m->devices, it) {
            const struct device *d = CONTAINER_OF(it, struct device, link);

            if (d->id != NULL) {
                AUTO_FREE char *type = str_format("child<%s>", d->cls->name);

                add_property(*ret, d->id, type != NULL ? type : "child<>");
            }
        }
        return 0;
    }
    if (is_cpu(m, path)) {
        add_property(*ret, "type", "string");
        add_property(*ret, "realized", "bool");
        return 0;
    }
    dev = by_path(m, path);
    if (dev == NULL) {
        return str_eq(path, "/machine/unattached") || str_starts(path, "/objects")
                   ? 0
                   : err_set(err, ENODEV, "Device '%s' not found", path);
    }
    add_property(*ret, "type", "string");
    add_options(*ret, dev->cls->opts);
    add_options(*ret, dev->cls->bus_opts);
    for (const struct device_prop *p = dev->cls->props; p != NULL && p->name != NULL; p++) {
        add_property(*ret, p->name, p->type);
    }
    return 0;
}

static const struct device_prop *prop_find(const struct device *dev, const char *name)
{
    for (const struct device_prop *p = dev->cls->props; p != NULL && p->name != NULL; p++) {
        if (str_eq(p->name, name)) {
            return p;
        }
    }
    return NULL;
}

static struct json_object *option_value(const struct opt *o, const struct device *dev)
{
    AUTO_FREE char *text = opt_get(o, dev);
    uint64_t v;

    if (o->kind == OPT_KIND_STR) {
        return json_object_new_string(text != NULL ? text : "");
    }
    if (o->kind == OPT_KIND_BOOL) {
        return json_object_new_boolean(text != NULL && str_eq(text, "on"));
    }
    return json_object_new_uint64(text != NULL && str_to_u64(text, 0, &v) == 0 ? v : 0);
}

int qmp_do_qom_get(struct machine *m, struct json_object *args, struct json_object **ret,
                   struct err **err)
{
    const char *path = NULL;
    const char *property = NULL;
    struct device *dev;
    const struct opt *o = NULL;

    (void)!json_get_str(args, "path", &path, NULL);
    (void)!json_get_str(args, "property", &property, NULL);
    if (is_cpu(m, path)) {
        if (str_eq(property, "realized")) {
            *ret = json_object_new_boolean(true);
            return 0;
        }
        if (str_eq(property, "type")) {
            *ret = json_object_new_string("qemu64-x86_64-cpu");
            return 0;
        }
    }
    dev = by_path(m, path);
    if (dev == NULL) {
        return err_set(err, ENODEV, "Device '%s' not found", path);
    }
    if (str_eq(property, "type")) {
        *ret = json_object_new_string(dev->cls->name);
        return 0;
    }
    if (prop_find(dev, property) != NULL) {
        *ret = prop_find(dev, property)->get(dev);
        return 0;
    }
    if (dev->cls->opts != NULL) {
        o = opt_find(dev->cls->opts, property);
    }
    if (o == NULL && dev->cls->bus_opts != NULL) {
        o = opt_find(dev->cls->bus_opts, property);
    }
    if (o == NULL) {
        return err_set(err, ENOENT, "Property '%s.%s' not found", dev->cls->name, property);
    }
    *ret = option_value(o, dev);
    return 0;
}

int qmp_do_qom_set(struct machine *m, struct json_object *args, struct json_object **ret,
                   struct err **err)
{
    const char *path = NULL;
    const char *property = NULL;
    const struct device_prop *prop;
    struct device *dev;

    (void)ret;
    (void)!json_get_str(args, "path", &path, NULL);
    (void)!json_get_str(args, "property", &property, NULL);
    dev = by_path(m, path);
    if (dev == NULL) {
        return err_set(err, ENODEV, "Device '%s' not found", path);
    }
    prop = prop_find(dev, property);
    if (prop != NULL && prop->set != NULL) {
        return prop->set(dev, json_member(args, "value"), err);
    }
    return err_set(err, EINVAL, "Property '%s.%s' is not writable while the machine exists",
                   dev->cls->name, property);
}

/* ---- coming and going ---- */

int qmp_do_device_add(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    const struct device_class *cls;
    struct device *dev = NULL;
    const char *driver = NULL;
    int r = json_to_keyval(args, &kv, err);

    (void)ret;
    (void)!json_get_str(args, "driver", &driver, NULL);
    cls = r == 0 ? device_class_for(m, driver) : NULL;
    if (r == 0 && (cls == NULL || cls->internal)) {
        return err_set(err, EINVAL, "'%s' is not a valid device model name", driver);
    }
    if (r == 0 && cls->pci != NULL) {
        r = cls->pci->no_hotplug
                ? err_set(err, EINVAL, "Device '%s' does not support hotplugging", cls->name)
                : pci_may_plug(m, keyval_get(kv, "bus"), err);
    }
    if (r == 0) {
        r = device_create(m, cls, kv, &dev, err);
    }
    if (r == 0 && cls->pci != NULL) {
        pci_plugged((struct pci_dev *)dev);
    }
    return r;
}

static void delete_later(void *arg)
{
    device_delete(arg);
}

int qmp_do_device_del(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    const char *id = NULL;
    struct device *dev;

    (void)ret;
    (void)!json_get_str(args, "id", &id, NULL);
    dev = by_path(m, id);
    if (dev == NULL) {
        return err_set(err, ENODEV, "Device '%s' not found", id);
    }
    if (dev->cls->pci != NULL) {
        return pci_ask_unplug((struct pci_dev *)dev, err);
    }
    if (dev->cls->hotplug_free) {
        return loop_post(m->loop, delete_later, dev);
    }
    return err_set(err, EINVAL, "Device '%s' does not support hotplugging", dev->cls->name);
}

int qmp_do_netdev_add(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = json_to_keyval(args, &kv, err);

    (void)ret;
    return r == 0 ? netdev_add(m, kv, err) : r;
}

int qmp_do_netdev_del(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    const char *id = NULL;
    struct netdev *nd;

    (void)ret;
    (void)!json_get_str(args, "id", &id, NULL);
    nd = netdev_find(m, id);
    if (nd == NULL) {
        return err_set(err, ENODEV, "Device '%s' not found", id);
    }
    if (nd->receive != NULL) {
        return err_set(err, EBUSY, "network back end '%s' is in use by a card", id);
    }
    (void)hash_remove(m->netdevs, id);
    (void)netdev_free(nd);
    return 0;
}

int qmp_do_object_add(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = json_to_keyval(args, &kv, err);

    (void)ret;
    return r == 0 ? object_add(m, kv, err) : r;
}

int qmp_do_object_del(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    const char *id = NULL;

    (void)ret;
    (void)!json_get_str(args, "id", &id, NULL);
    return object_del(m, id, err);
}

int qmp_do_query_pci(struct machine *m, struct json_object *args, struct json_object **ret,
                     struct err **err)
{
    struct json_object *bus = json_object_new_object();
    struct json_object *list = json_object_new_array();

    (void)args;
    (void)err;
    for (unsigned devfn = 0; m->pci_root != NULL && devfn < 256; devfn++) {
        struct pci_dev *pd = m->pci_root->devs[devfn];
        struct json_object *o;
        struct json_object *cls;
        struct json_object *id;

        if (pd == NULL) {
            continue;
        }
        o = json_object_new_object();
        cls = json_object_new_object();
        id = json_object_new_object();
        (void)json_add_i64(o, "bus", 0);
        (void)json_add_i64(o, "slot", devfn >> 3);
        (void)json_add_i64(o, "function", devfn & 7);
        (void)json_add_i64(cls, "class", pci_config_read(pd, PCI_CLASS, 2));
        (void)json_add_str(cls, "desc", pd->dev.cls->desc);
        (void)json_add_i64(id, "vendor", pci_config_read(pd, PCI_VENDOR_ID, 2));
        (void)json_add_i64(id, "device", pci_config_read(pd, PCI_DEVICE_ID, 2));
        (void)json_add(o, "class_info", cls);
        (void)json_add(o, "id", id);
        (void)json_add_i64(o, "irq", pd->config[PCI_INTERRUPT_LINE]);
        (void)json_add_str(o, "qdev_id", pd->dev.id != NULL ? pd->dev.id : "");
        (void)json_add(o, "regions", json_object_new_array());
        (void)json_object_array_add(list, o);
    }
    (void)json_add_i64(bus, "bus", 0);
    (void)json_add(bus, "devices", list);
    *ret = json_object_new_array();
    (void)json_object_array_add(*ret, bus);
    return 0;
}

int qmp_do_balloon(struct machine *m, struct json_object *args, struct json_object **ret,
                   struct err **err)
{
    int64_t value = json_i64_or(args, "value", 0);

    (void)ret;
    return balloon_set(m, value > 0 ? (uint64_t)value : 0, err);
}

int qmp_do_query_balloon(struct machine *m, struct json_object *args, struct json_object **ret,
                         struct err **err)
{
    uint64_t bytes;
    int r = balloon_get(m, &bytes, err);

    (void)args;
    if (r == 0) {
        *ret = json_object_new_object();
        (void)json_add_u64(*ret, "actual", bytes);
    }
    return r;
}
