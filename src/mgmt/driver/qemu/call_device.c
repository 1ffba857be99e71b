/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_device.c - devices that come, go and change: in the running emulator, in the definition, or
 * both. */
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/caps.h"
#include "mgmt/driver/qemu/cmdline.h"
#include "mgmt/driver/qemu/events.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/network.h"
#include "mgmt/server/lock.h"
#include "os/loop.h"

#include <errno.h>

enum { UNPLUG_USEC = 5000000, UPDATE_FORCE = 4 };

/* One device by its root element. */
static int parse_device(const char *xml, struct node **ret, struct err **err)
{
    const char *p = strchr(xml, '<');
    const struct elem *e;
    char name[32];
    size_t n;
    int r;

    while (p != NULL && (p[1] == '?' || p[1] == '!')) {
        p = strchr(p + 1, '<');
    }
    n = p != NULL ? strspn(p + 1, "abcdefghijklmnopqrstuvwxyz") : 0;
    if (n == 0 || n >= sizeof(name)) {
        return fault(err, DOM_XML, XML_ERROR, "unknown device type");
    }
    memcpy(name, p + 1, n);
    name[n] = '\0';
    e = schema_device_elem(name);
    if (e == NULL) {
        return fault(err, DOM_DOMAIN, INTERNAL_ERROR, "unknown device type '%s'", name);
    }
    r = schema_parse(xml, e, DOM_DOMAIN, false, ret, err);
    if (r == 0) {
        const struct elem_ref *ref = elem_child(&schema_device, name, NULL);

        (*ret)->name = ref->name;
    }
    return r;
}

static bool opt_same(const struct node *a, const struct node *b, const char *path)
{
    const char *x = node_get(a, path), *y = node_get(b, path);

    return x == NULL || (y != NULL && strcasecmp(x, y) == 0);
}

/* The definition's device that the user describes. */
static struct node *match(const struct node *def, const struct node *dev)
{
    static const struct {
        const char *name, *key;
    } keys[] = { { "disk", "target/@dev" },
                 { "interface", "mac/@address" },
                 { "controller", "@index" },
                 { "channel", "target/@name" },
                 { "filesystem", "target/@dir" } };

    for (struct node *k = node_child(domain_devices(def), dev->name); k != NULL;
         k = node_next(k, dev->name)) {
        bool is = true;

        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
            if (str_eq(dev->name, keys[i].name)) {
                is &= opt_same(dev, k, keys[i].key);
            }
        }
        is &= opt_same(dev, k, "@type") && opt_same(dev, k, "alias/@name") &&
              opt_same(dev, k, "@bus");
        if (node_child(dev, "address") != NULL && node_child(k, "address") != NULL) {
            is &= opt_same(dev, k, "address/@type") && opt_same(dev, k, "address/@slot") &&
                  opt_same(dev, k, "address/@port");
        }
        if (str_eq(dev->name, "hostdev")) {
            is &= opt_same(dev, k, "source/address/@bus") &&
                  opt_same(dev, k, "source/address/@slot") &&
                  opt_same(dev, k, "source/vendor/@id") && opt_same(dev, k, "source/product/@id");
        }
        if (is) {
            return k;
        }
    }
    return NULL;
}

static const char *label(const struct node *dev)
{
    return str_eq(dev->name, "disk")        ? node_get(dev, "target/@dev")
           : str_eq(dev->name, "interface") ? node_get(dev, "mac/@address")
                                            : dev->name;
}

static int not_found(const struct node *dev, struct err **err)
{
    if (str_eq(dev->name, "disk")) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "disk %s not found",
                     label(dev) ? label(dev) : "");
    }
    if (str_eq(dev->name, "interface")) {
        return fault(err, DOM_QEMU, DEVICE_MISSING, "no device matching MAC address %s found",
                     label(dev) ? label(dev) : "");
    }
    return fault(err, DOM_QEMU, DEVICE_MISSING, "matching %s device not found", dev->name);
}

static int add_to(struct domain *d, struct node *def, const struct node *dev, struct node **ret,
                  struct err **err)
{
    CLEANUP(node_freep) struct node *copy = node_copy(dev);
    struct domain_facts f = { .arch = "x86_64", .emulator = NULL };
    struct node *k;
    int r;

    (void)d;
    if (copy == NULL) {
        return -ENOMEM;
    }
    if (str_eq(dev->name, "disk") && node_get(dev, "target/@dev") != NULL &&
        find_disk(def, node_get(dev, "target/@dev")) != NULL) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "target %s already exists",
                     node_get(dev, "target/@dev"));
    }
    k = copy;
    node_insert(domain_devices(def), TAKE_PTR(copy));
    r = domain_complete_device(def, k, &f, err);
    r = r == 0 ? controllers_complete(def, err) : r;
    r = r == 0 ? addresses_assign(def, err) : r;
    if (r < 0) {
        node_free(node_detach(k));
        return r;
    }
    *ret = k;
    return 0;
}

/* ---- live ---- */

static int run_list(struct run *r, const char *command, struct json_object *list, size_t *ret_done,
                    struct err **err)
{
    int result = 0;

    for (*ret_done = 0; result == 0 && *ret_done < json_object_array_length(list); (*ret_done)++) {
        result =
            monitor_run(r->qmp, command,
                        json_object_get(json_object_array_get_idx(list, *ret_done)), NULL, err);
        if (result < 0) {
            break;
        }
    }
    return result;
}

static void del_nodes(struct run *r, struct json_object *list, size_t n)
{
    while (n-- > 0) {
        struct json_object *a = json_object_new_object();

        (void)json_add_str(a, "node-name",
                           json_str_or(json_object_array_get_idx(list, n), "node-name", ""));
        (void)monitor_run(r->qmp, "blockdev-del", a, NULL, NULL);
    }
}

static int plug_disk(struct domain *d, struct cmdline *c, struct node *k, struct err **err)
{
    AUTO_JSON struct json_object *nodes = json_object_new_array();
    size_t done = 0;
    struct json_object *dev;
    int r = disk_blockdevs(c, k, nodes, err);

    r = r == 0 ? run_list(run_of(d), "blockdev-add", nodes, &done, err) : r;
    if (r == 0) {
        dev = disk_device(c, k);
        r = dev != NULL ? monitor_run(run_of(d)->qmp, "device_add", dev, NULL, err)
                        : fault(err, DOM_QEMU, OPERATION_UNSUPPORTED,
                                "disk bus '%s' cannot be hotplugged.", node_get(k, "target/@bus"));
    }
    if (r < 0 && domain_active(d)) {
        del_nodes(run_of(d), nodes, done);
    }
    return r;
}

static int plug_nic(struct domain *d, struct cmdline *c, struct node *k, struct err **err)
{
    struct json_object *backend, *a;
    AUTO_FREE char *id = str_format("host%s", node_get(k, "alias/@name"));
    AUTO_FD int fd = -1;
    int r = 0;

    backend = nic_backend(c, k, &fd, err);
    if (backend == NULL) {
        return err != NULL && *err != NULL ? -(*err)->code : -ENOMEM;
    }
    if (fd >= 0) {
        AUTO_FREE char *name = str_format("fd-%s", node_get(k, "alias/@name"));

        a = json_object_new_object();
        (void)json_add_str(a, "fdname", name != NULL ? name : "");
        r = monitor_run_fd(run_of(d)->qmp, "getfd", a, fd, MONITOR_WAIT_USEC, NULL, err);
        (void)json_add_str(backend, "fd", name != NULL ? name : "");
    }
    if (r < 0) {
        json_object_put(backend);
        return r;
    }
    r = monitor_run(run_of(d)->qmp, "netdev_add", backend, NULL, err);
    if (r == 0) {
        r = monitor_run(run_of(d)->qmp, "device_add", nic_device(c, k), NULL, err);
        if (r < 0 && domain_active(d)) {
            a = json_object_new_object();
            (void)json_add_str(a, "id", id != NULL ? id : "");
            (void)monitor_run(run_of(d)->qmp, "netdev_del", a, NULL, NULL);
        }
    }
    return r;
}

static int plug_other(struct domain *d, struct cmdline *c, struct node *k, struct err **err)
{
    struct json_object *dev, *o;
    int r = 0;

    if (str_eq(k->name, "controller")) {
        dev = controller_device(c, k);
    } else {
        dev = misc_device(c, k);
    }
    if (dev == NULL) {
        return fault(err, DOM_QEMU, OPERATION_UNSUPPORTED,
                     "live attach of device '%s' is not supported", k->name);
    }
    if (str_eq(k->name, "rng") || str_eq(k->name, "memory")) {
        bool rng = str_eq(k->name, "rng");
        AUTO_FREE char *id = str_format(rng ? "obj%s" : "mem%s", node_get(k, "alias/@name"));

        o = json_object_new_object();
        (void)json_add_str(o, "qom-type",
                           !rng                                      ? "memory-backend-ram"
                           : node_is(k, "backend/@model", "builtin") ? "rng-builtin"
                                                                     : "rng-random");
        (void)json_add_str(o, "id", id != NULL ? id : "");
        if (!rng) {
            (void)json_add_u64(o, "size", node_get_u64(k, "target/size", 0) * 1024);
        } else if (!node_is(k, "backend/@model", "builtin")) {
            (void)json_add_str(o, "filename", node_get(k, "backend"));
        }
        r = monitor_run(run_of(d)->qmp, "object-add", o, NULL, err);
    }
    if (r < 0) {
        json_object_put(dev);
        return r;
    }
    return monitor_run(run_of(d)->qmp, "device_add", dev, NULL, err);
}

static int attach_live(struct domain *d, const struct node *dev, struct err **err)
{
    struct cmdline c = {
        .def = d->def, .run = run_of(d), .emulator = run_of(d)->emulator, .lib_dir = run_of(d)->dir
    };
    struct node *k;
    int r = add_to(d, d->def, dev, &k, err);

    if (r < 0) {
        return r;
    }
    r = aliases_assign(d->def, err);
    if (r == 0) {
        r = str_eq(k->name, "disk")        ? plug_disk(d, &c, k, err)
            : str_eq(k->name, "interface") ? plug_nic(d, &c, k, err)
                                           : plug_other(d, &c, k, err);
    }
    cmdline_done(&c);
    if (r < 0) {
        if (domain_active(d)) {
            if (str_eq(k->name, "interface") && node_is(k, "@type", "network")) {
                network_leave(d->world, k);
            }
            node_free(node_detach(k));
        }
        return r;
    }
    events_device(d, true, node_get(k, "alias/@name"));
    process_save(d);
    return 0;
}

/* After the guest gave it back. */
static void unplugged(struct domain *d, struct node *k)
{
    struct run *r = run_of(d);
    AUTO_FREE char *alias = strdup(node_get(k, "alias/@name") ? node_get(k, "alias/@name") : "");
    struct json_object *a;

    if (str_eq(k->name, "disk")) {
        const struct node *layer = k;

        for (int depth = 0; layer != NULL && depth < 200; depth++) {
            const char *index =
                depth == 0 ? node_get(layer, "source/@index") : node_get(layer, "@index");

            for (int part = 0; index != NULL && part < 2; part++) {
                AUTO_FREE char *name =
                    str_format("libvirt-%s-%s", index, part == 0 ? "format" : "storage");

                a = json_object_new_object();
                (void)json_add_str(a, "node-name", name != NULL ? name : "");
                (void)monitor_run(r->qmp, "blockdev-del", a, NULL, NULL);
            }
            layer = node_child(layer, "backingStore");
            layer = layer != NULL && layer->first != NULL ? layer : NULL;
        }
    } else if (str_eq(k->name, "interface")) {
        AUTO_FREE char *id = str_format("host%s", alias);

        a = json_object_new_object();
        (void)json_add_str(a, "id", id != NULL ? id : "");
        (void)monitor_run(r->qmp, "netdev_del", a, NULL, NULL);
        if (node_is(k, "@type", "network")) {
            network_leave(d->world, k);
        }
    } else if (str_eq(k->name, "rng") || str_eq(k->name, "memory")) {
        AUTO_FREE char *id = str_format(str_eq(k->name, "rng") ? "obj%s" : "mem%s", alias);

        a = json_object_new_object();
        (void)json_add_str(a, "id", id != NULL ? id : "");
        (void)monitor_run(r->qmp, "object-del", a, NULL, NULL);
    }
    if (domain_active(d)) {
        node_free(node_detach(k));
        events_device(d, false, alias);
        process_save(d);
    }
}

static int detach_live(struct domain *d, struct node *k, struct err **err)
{
    struct run *r = run_ref(run_of(d));
    struct device_wait w = { .alias = node_get(k, "alias/@name") };
    struct json_object *a = json_object_new_object();
    uint64_t until = loop_now_usec() + UNPLUG_USEC;
    int result;

    (void)json_add_str(a, "id", w.alias);
    list_append(&r->pending, &w.link);
    result = monitor_run(r->qmp, "device_del", a, NULL, err);
    while (result == 0 && !w.gone && !w.refused && r->domain != NULL &&
           lock_wait(&r->changed, until)) {
    }
    list_remove(&w.link);
    if (result == 0 && w.refused) {
        result =
            fault(err, DOM_QEMU, OPERATION_FAILED, "unplug of device was rejected by the guest");
    } else if (result == 0 && w.gone) {
        unplugged(d, k);
    }
    /* Otherwise the guest has not answered yet; as in libvirt, the request stands. */
    run_unref(r);
    return result;
}

/* ---- the calls ---- */

static int attach(struct call *call, const struct remote_domain *wire, const char *xml,
                  unsigned flags, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    CLEANUP(node_freep) struct node *dev = NULL, *before = NULL;
    struct node *live, *config, *k;
    int r = use_begin(call, wire, false, &u, err);

    r = r == 0 ? domain_affects(u.d, flags, &live, &config, err) : r;
    r = r == 0 ? parse_device(xml, &dev, err) : r;
    if (r < 0) {
        return r;
    }
    /* Both get the same MAC address. */
    if (str_eq(dev->name, "interface") && node_get(dev, "mac/@address") == NULL) {
        char mac[MAC_TEXT_BYTES];

        mac_generate(mac);
        if (node_set(dev, "mac/@address", mac) < 0) {
            return -ENOMEM;
        }
    }
    if (config != NULL && config != live) {
        before = node_copy(config);
        r = before != NULL ? add_to(u.d, config, dev, &k, err) : -ENOMEM;
    }
    if (r == 0 && live != NULL) {
        r = attach_live(u.d, dev, err);
    }
    if (before != NULL) {
        if (r == 0) {
            r = domain_save_config(u.d, err);
        }
        if (r < 0) {
            /* The definition is as it was. */
            struct node **at = u.d->next != NULL ? &u.d->next : &u.d->def;

            node_free(*at);
            *at = TAKE_PTR(before);
        }
    }
    return r;
}

int qemu_domain_attach_device(struct call *call,
                              const struct remote_domain_attach_device_args *args, struct err **err)
{
    return attach(call, &args->dom, args->xml, AFFECT_LIVE, err);
}

int qemu_domain_attach_device_flags(struct call *call,
                                    const struct remote_domain_attach_device_flags_args *args,
                                    struct err **err)
{
    return attach(call, &args->dom, args->xml, args->flags, err);
}

static int detach(struct call *call, const struct remote_domain *wire, const char *xml,
                  const char *alias, unsigned flags, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    CLEANUP(node_freep) struct node *dev = NULL;
    struct node *live, *config, *k;
    int r = use_begin(call, wire, false, &u, err);

    r = r == 0 ? domain_affects(u.d, flags, &live, &config, err) : r;
    if (r == 0 && alias != NULL) {
        struct node *def = live != NULL ? live : config;

        for (k = domain_devices(def)->first; k != NULL && !node_is(k, "alias/@name", alias);
             k = k->next) {
        }
        if (k == NULL) {
            return fault(err, DOM_QEMU, DEVICE_MISSING, "no device found with alias %s", alias);
        }
        dev = node_copy(k);
        r = dev != NULL ? 0 : -ENOMEM;
    } else if (r == 0) {
        r = parse_device(xml, &dev, err);
    }
    if (r < 0) {
        return r;
    }
    if (config != NULL && config != live) {
        k = match(config, dev);
        if (k == NULL) {
            return not_found(dev, err);
        }
        node_free(node_detach(k));
        r = domain_save_config(u.d, err);
    }
    if (r == 0 && live != NULL) {
        k = match(live, dev);
        r = k != NULL ? detach_live(u.d, k, err) : not_found(dev, err);
    }
    return r;
}

int qemu_domain_detach_device(struct call *call,
                              const struct remote_domain_detach_device_args *args, struct err **err)
{
    return detach(call, &args->dom, args->xml, NULL, AFFECT_LIVE, err);
}

int qemu_domain_detach_device_flags(struct call *call,
                                    const struct remote_domain_detach_device_flags_args *args,
                                    struct err **err)
{
    return detach(call, &args->dom, args->xml, NULL, args->flags, err);
}

int qemu_domain_detach_device_alias(struct call *call,
                                    const struct remote_domain_detach_device_alias_args *args,
                                    struct err **err)
{
    return detach(call, &args->dom, NULL, args->alias, args->flags, err);
}

static int update_live(struct domain *d, struct node *k, struct node *dev, unsigned flags,
                       struct err **err)
{
    struct run *run = run_of(d);
    struct json_object *a;
    int r;

    if (str_eq(k->name, "interface")) {
        const char *link = node_get(dev, "link/@state");
        bool up = link == NULL || str_eq(link, "up");

        a = json_object_new_object();
        (void)json_add_str(a, "name", node_get(k, "alias/@name"));
        (void)json_add_bool(a, "up", up);
        r = monitor_run(run->qmp, "set_link", a, NULL, err);
        return r < 0          ? r
               : link != NULL ? node_set(k, "link/@state", link)
                              : (node_remove(k, "link"), 0);
    }
    if (str_eq(k->name, "disk") &&
        (node_is(k, "@device", "cdrom") || node_is(k, "@device", "floppy"))) {
        struct cmdline c = {
            .def = d->def, .run = run, .emulator = run->emulator, .lib_dir = run->dir
        };
        AUTO_JSON struct json_object *nodes = json_object_new_array();
        AUTO_FREE char *old_node = disk_node_name(k);
        struct node *source = node_child(dev, "source");
        size_t done = 0;

        a = json_object_new_object();
        (void)json_add_str(a, "id", node_get(k, "alias/@name"));
        (void)json_add_bool(a, "force", (flags & UPDATE_FORCE) != 0 || true);
        r = monitor_run(run->qmp, "blockdev-open-tray", a, NULL, err);
        if (r == 0 && old_node != NULL) {
            a = json_object_new_object();
            (void)json_add_str(a, "id", node_get(k, "alias/@name"));
            r = monitor_run(run->qmp, "blockdev-remove-medium", a, NULL, err);
            if (r == 0) {
                AUTO_FREE char *storage =
                    str_format("libvirt-%s-storage", node_get(k, "source/@index"));

                a = json_object_new_object();
                (void)json_add_str(a, "node-name", old_node);
                (void)monitor_run(run->qmp, "blockdev-del", a, NULL, NULL);
                a = json_object_new_object();
                (void)json_add_str(a, "node-name", storage != NULL ? storage : "");
                (void)monitor_run(run->qmp, "blockdev-del", a, NULL, NULL);
            }
        }
        if (r < 0) {
            return r;
        }
        events_disk_change(d, node_get(k, "source/@file"),
                           source ? node_attr(source, "file") : NULL, node_get(k, "alias/@name"),
                           0);
        node_remove(k, "source");
        node_remove(k, "backingStore");
        if (node_get(dev, "driver/@type") != NULL) {
            (void)node_set(k, "driver/@type", node_get(dev, "driver/@type"));
        }
        if (source != NULL && source->n_attrs > 0) {
            struct node *copy = node_copy(source);

            if (copy == NULL) {
                return -ENOMEM;
            }
            node_insert(k, copy);
            r = disk_blockdevs(&c, k, nodes, err);
            r = r == 0 ? run_list(run, "blockdev-add", nodes, &done, err) : r;
            if (r == 0) {
                AUTO_FREE char *node = disk_node_name(k);

                a = json_object_new_object();
                (void)json_add_str(a, "id", node_get(k, "alias/@name"));
                (void)json_add_str(a, "node-name", node != NULL ? node : "");
                r = monitor_run(run->qmp, "blockdev-insert-medium", a, NULL, err);
            }
        }
        a = json_object_new_object();
        (void)json_add_str(a, "id", node_get(k, "alias/@name"));
        (void)monitor_run(run->qmp, "blockdev-close-tray", a, NULL, NULL);
        (void)node_set(k, "target/@tray", NULL);
        return r;
    }
    if (str_eq(k->name, "graphics") && node_attr(dev, "passwd") != NULL) {
        a = json_object_new_object();
        (void)json_add_str(a, "protocol", node_attr(k, "type"));
        (void)json_add_str(a, "password", node_attr(dev, "passwd"));
        r = monitor_run(run->qmp, "set_password", a, NULL, err);
        return r == 0 ? node_set(k, "@passwd", node_attr(dev, "passwd")) : r;
    }
    return fault(err, DOM_QEMU, OPERATION_UNSUPPORTED,
                 "live update of device '%s' is not supported", k->name);
}

int qemu_domain_update_device_flags(struct call *call,
                                    const struct remote_domain_update_device_flags_args *args,
                                    struct err **err)
{
    AUTO_USE struct use u = { 0 };
    CLEANUP(node_freep) struct node *dev = NULL;
    struct node *live, *config, *k, *copy;
    int r = use_begin(call, &args->dom, false, &u, err);

    r = r == 0 ? domain_affects(u.d, args->flags, &live, &config, err) : r;
    r = r == 0 ? parse_device(args->xml, &dev, err) : r;
    if (r == 0 && live != NULL) {
        k = match(live, dev);
        r = k != NULL ? update_live(u.d, k, dev, args->flags, err) : not_found(dev, err);
        process_save(u.d);
    }
    if (r == 0 && config != NULL && config != live) {
        struct domain_facts f = { .arch = "x86_64" };

        k = match(config, dev);
        if (k == NULL) {
            return not_found(dev, err);
        }
        copy = node_copy(dev);
        if (copy == NULL) {
            return -ENOMEM;
        }
        if (node_child(copy, "address") == NULL && node_child(k, "address") != NULL) {
            struct node *a = node_copy(node_child(k, "address"));

            if (a != NULL) {
                node_insert(copy, a);
            }
        }
        node_free(node_detach(k));
        node_insert(domain_devices(config), copy);
        r = domain_complete_device(config, copy, &f, err);
        r = r == 0 ? addresses_assign(config, err) : r;
        r = r == 0 ? domain_save_config(u.d, err) : r;
    }
    return r;
}
