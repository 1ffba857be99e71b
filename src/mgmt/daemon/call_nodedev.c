/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_nodedev.c - the host's devices: the computer, PCI, USB, network and block devices of /sys. */
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/driver.h"
#include "mgmt/server/remote-ops.h"
#include "os/fd.h"
#include "os/path.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

enum { DEVICES_MAX = 4096, CAP_SYSTEM = 1 << 0, CAP_PCI = 1 << 1, CAP_USB = 1 << 2, CAP_USB_INTERFACE = 1 << 3,
       CAP_NET = 1 << 4, CAP_SCSI_HOST = 1 << 5, CAP_SCSI = 1 << 7, CAP_STORAGE = 1 << 8 };

struct device {
    char *name, *path, *parent; /* in the call's arena */
    unsigned cap;
};

static const struct {
    unsigned flag;
    const char *name;
} caps[] = { { CAP_SYSTEM, "system" }, { CAP_PCI, "pci" }, { CAP_USB, "usb_device" }, { CAP_USB_INTERFACE, "usb" },
             { CAP_NET, "net" }, { CAP_STORAGE, "storage" } };

static const char *cap_name(unsigned cap)
{
    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        if (caps[i].flag == cap) {
            return caps[i].name;
        }
    }
    return "";
}

static char *attribute(struct call *call, const char *path, const char *file)
{
    AUTO_FREE char *full = str_format("%s/%s", path, file), *text = NULL;
    size_t n;

    if (full == NULL || file_slurp(full, 4096, &text, &n) < 0) {
        return NULL;
    }
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ')) {
        text[--n] = '\0';
    }
    return arena_strdup(&call->arena, text);
}

static char *clean(struct arena *a, const char *fmt, const char *x, const char *y)
{
    char *s = arena_format(a, fmt, x, y);

    for (char *p = s; p != NULL && *p != '\0'; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9'))) {
            *p = '_';
        }
    }
    return s;
}

/* "pci_0000_00_01_0" of the nearest PCI device above, or the computer. */
static char *parent_of(struct call *call, const char *path)
{
    AUTO_FREE char *real = realpath(path, NULL);
    char *slash;

    while (real != NULL && (slash = strrchr(real, '/')) != NULL && slash != real) {
        unsigned d, b, s, f;
        int used = 0;
        const char *base;

        *slash = '\0';
        base = strrchr(real, '/');
        base = base != NULL ? base + 1 : real;
        if (sscanf(base, "%x:%x:%x.%x%n", &d, &b, &s, &f, &used) == 4 && base[used] == '\0') {
            return clean(&call->arena, "pci_%s%s", base, "");
        }
    }
    return arena_strdup(&call->arena, "computer");
}

static void add(struct call *call, struct device *list, unsigned *n, unsigned cap, char *name, const char *path)
{
    if (*n < DEVICES_MAX && name != NULL) {
        list[*n] = (struct device) { .name = name, .path = path != NULL ? arena_strdup(&call->arena, path) : NULL,
                                     .cap = cap,
                                     .parent = path != NULL ? parent_of(call, path) : NULL };
        (*n)++;
    }
}

static struct device *all(struct call *call, unsigned *ret_n)
{
    static const struct {
        const char *dir;
        unsigned cap;
    } folders[] = { { "/sys/bus/pci/devices", CAP_PCI }, { "/sys/bus/usb/devices", CAP_USB },
                    { "/sys/class/net", CAP_NET }, { "/sys/block", CAP_STORAGE } };
    struct device *list = arena_array(&call->arena, DEVICES_MAX, sizeof(*list));
    struct arena *a = &call->arena;

    *ret_n = 0;
    if (list == NULL) {
        return NULL;
    }
    add(call, list, ret_n, CAP_SYSTEM, arena_strdup(a, "computer"), NULL);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && str_eq(call->world->driver->scheme, "qemu"); i++) {
        DIR *d = opendir(folders[i].dir);
        struct dirent *e;

        while (d != NULL && (e = readdir(d)) != NULL) {
            const char *path;
            char *name = NULL;

            if (e->d_name[0] == '.') {
                continue;
            }
            path = arena_format(a, "%s/%s", folders[i].dir, e->d_name);
            if (path == NULL) {
                break;
            }
            switch (folders[i].cap) {
            case CAP_PCI:
                name = clean(a, "pci_%s%s", e->d_name, "");
                break;
            case CAP_USB:
                name = strchr(e->d_name, ':') == NULL ? clean(a, "usb_%s%s", e->d_name, "") : NULL;
                break;
            case CAP_NET: {
                const char *mac = attribute(call, path, "address");

                name = mac != NULL ? clean(a, "net_%s_%s", e->d_name, mac) : NULL;
                break;
            }
            default:
                name = str_starts(e->d_name, "loop") || str_starts(e->d_name, "ram")
                           ? NULL
                           : clean(a, "block_%s%s", e->d_name, "");
                break;
            }
            add(call, list, ret_n, folders[i].cap, name, path);
        }
        if (d != NULL) {
            (void)closedir(d);
        }
    }
    return list;
}

static const struct device *find(struct call *call, const char *name, struct err **err)
{
    unsigned n;
    const struct device *list = all(call, &n);

    for (unsigned i = 0; list != NULL && i < n; i++) {
        if (str_eq(list[i].name, name)) {
            return &list[i];
        }
    }
    (void)fault(err, DOM_NODEDEV, NO_NODE_DEVICE, "no node device with matching name '%s'", name);
    return NULL;
}

#define FIND(call, name)                               \
    const struct device *d = find((call), (name), err); \
    if (d == NULL) {                                   \
        return -ENOENT;                                \
    }

static bool matches(const struct device *d, const char *cap)
{
    return cap == NULL || str_eq(cap_name(d->cap), cap);
}

static int list_all(struct call *call, const struct remote_connect_list_all_node_devices_args *args,
                    struct remote_connect_list_all_node_devices_ret *ret, struct err **err)
{
    unsigned n, active = args->flags & (1u << 30 | 1u << 31), want = args->flags & 0x3fffffff;
    const struct device *list = all(call, &n);

    (void)err;
    ret->devices = arena_array(&call->arena, n + 1, sizeof(*ret->devices));
    if (list == NULL || ret->devices == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < n; i++) {
        if ((want != 0 && !(want & list[i].cap)) || (active != 0 && !(active & 1u << 31))) {
            continue;
        }
        if (args->need_results) {
            ret->devices[ret->n_devices++].name = list[i].name;
        }
        ret->ret++;
    }
    return 0;
}

static int num(struct call *call, const struct remote_node_num_of_devices_args *args,
               struct remote_node_num_of_devices_ret *ret, struct err **err)
{
    unsigned n;
    const struct device *list = all(call, &n);

    (void)err;
    for (unsigned i = 0; list != NULL && i < n; i++) {
        ret->num += matches(&list[i], args->cap);
    }
    return 0;
}

static int list_names(struct call *call, const struct remote_node_list_devices_args *args,
                      struct remote_node_list_devices_ret *ret, struct err **err)
{
    unsigned n;
    const struct device *list = all(call, &n);

    (void)err;
    ret->names = arena_array(&call->arena, n + 1, sizeof(*ret->names));
    if (list == NULL || ret->names == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < n; i++) {
        if (matches(&list[i], args->cap) && (int)ret->n_names < args->maxnames) {
            ret->names[ret->n_names++] = list[i].name;
        }
    }
    return 0;
}

static int lookup(struct call *call, const struct remote_node_device_lookup_by_name_args *args,
                  struct remote_node_device_lookup_by_name_ret *ret, struct err **err)
{
    FIND(call, args->name)
    ret->dev.name = d->name;
    return 0;
}

static void put(struct strbuf *b, const char *name, const char *value)
{
    if (value != NULL && *value != '\0') {
        strbuf_printf(b, "    <%s>", name);
        xml_escape(b, value);
        strbuf_printf(b, "</%s>\n", name);
    }
}

static void describe(struct call *call, struct strbuf *b, const struct device *d)
{
    const char *base = d->path != NULL ? strrchr(d->path, '/') + 1 : "";
    unsigned dom, bus, slot, fn;

    switch (d->cap) {
    case CAP_SYSTEM:
        put(b, "product", attribute(call, "/sys/class/dmi/id", "product_name"));
        strbuf_puts(b, "    <hardware>\n");
        for (int i = 0; i < 2; i++) {
            const char *v = attribute(call, "/sys/class/dmi/id", i == 0 ? "sys_vendor" : "product_version");

            if (v != NULL && *v != '\0') {
                strbuf_printf(b, "      <%s>", i == 0 ? "vendor" : "version");
                xml_escape(b, v);
                strbuf_printf(b, "</%s>\n", i == 0 ? "vendor" : "version");
            }
        }
        strbuf_puts(b, "    </hardware>\n");
        break;
    case CAP_PCI:
        put(b, "class", attribute(call, d->path, "class"));
        if (sscanf(base, "%x:%x:%x.%x", &dom, &bus, &slot, &fn) == 4) {
            strbuf_printf(b, "    <domain>%u</domain>\n    <bus>%u</bus>\n    <slot>%u</slot>\n"
                             "    <function>%u</function>\n", dom, bus, slot, fn);
        }
        strbuf_printf(b, "    <product id='%s'/>\n    <vendor id='%s'/>\n", attribute(call, d->path, "device"),
                      attribute(call, d->path, "vendor"));
        break;
    case CAP_USB:
        put(b, "bus", attribute(call, d->path, "busnum"));
        put(b, "device", attribute(call, d->path, "devnum"));
        strbuf_printf(b, "    <product id='0x%s'>", attribute(call, d->path, "idProduct"));
        xml_escape(b, attribute(call, d->path, "product") ? attribute(call, d->path, "product") : "");
        strbuf_printf(b, "</product>\n    <vendor id='0x%s'>", attribute(call, d->path, "idVendor"));
        xml_escape(b, attribute(call, d->path, "manufacturer") ? attribute(call, d->path, "manufacturer") : "");
        strbuf_puts(b, "</vendor>\n");
        break;
    case CAP_NET:
        put(b, "interface", base);
        put(b, "address", attribute(call, d->path, "address"));
        strbuf_printf(b, "    <link state='%s'/>\n",
                      str_eq(attribute(call, d->path, "operstate") ? attribute(call, d->path, "operstate") : "", "up")
                          ? "up"
                          : "down");
        strbuf_puts(b, "    <capability type='80203'/>\n");
        break;
    default:
        strbuf_printf(b, "    <block>/dev/%s</block>\n    <drive_type>disk</drive_type>\n", base);
        put(b, "model", attribute(call, d->path, "device/model"));
        strbuf_printf(b, "    <size>%llu</size>\n    <logical_block_size>512</logical_block_size>\n"
                         "    <num_blocks>%s</num_blocks>\n",
                      attribute(call, d->path, "size")
                          ? strtoull(attribute(call, d->path, "size"), NULL, 10) * 512
                          : 0ull,
                      attribute(call, d->path, "size") ? attribute(call, d->path, "size") : "0");
        break;
    }
}

static int get_xml(struct call *call, const struct remote_node_device_get_xml_desc_args *args,
                   struct remote_node_device_get_xml_desc_ret *ret, struct err **err)
{
    struct strbuf b = STRBUF_INIT(65536);
    AUTO_FREE char *text = NULL, *real = NULL;

    FIND(call, args->name)
    strbuf_printf(&b, "<device>\n  <name>%s</name>\n", d->name);
    if (d->path != NULL) {
        real = realpath(d->path, NULL);
        strbuf_printf(&b, "  <path>%s</path>\n", real != NULL ? real : d->path);
        strbuf_printf(&b, "  <parent>%s</parent>\n", d->parent);
    }
    strbuf_printf(&b, "  <capability type='%s'>\n", cap_name(d->cap));
    describe(call, &b, d);
    strbuf_puts(&b, "  </capability>\n</device>\n");
    text = strbuf_take(&b);
    ret->xml = text != NULL ? arena_strdup(&call->arena, text) : NULL;
    return ret->xml != NULL ? 0 : -ENOMEM;
}

static int get_parent(struct call *call, const struct remote_node_device_get_parent_args *args,
                      struct remote_node_device_get_parent_ret *ret, struct err **err)
{
    FIND(call, args->name)
    ret->parentName = d->parent;
    return 0;
}

static int num_caps(struct call *call, const struct remote_node_device_num_of_caps_args *args,
                    struct remote_node_device_num_of_caps_ret *ret, struct err **err)
{
    FIND(call, args->name)
    ret->num = 1;
    return 0;
}

static int list_caps(struct call *call, const struct remote_node_device_list_caps_args *args,
                     struct remote_node_device_list_caps_ret *ret, struct err **err)
{
    FIND(call, args->name)
    ret->names = arena_array(&call->arena, 1, sizeof(*ret->names));
    if (ret->names == NULL) {
        return -ENOMEM;
    }
    ret->n_names = args->maxnames > 0;
    ret->names[0] = arena_strdup(&call->arena, cap_name(d->cap));
    return 0;
}

static int is_active(struct call *call, const struct remote_node_device_is_active_args *args,
                     struct remote_node_device_is_active_ret *ret, struct err **err)
{
    FIND(call, args->name)
    ret->active = 1;
    return 0;
}

static int is_persistent(struct call *call, const struct remote_node_device_is_persistent_args *args,
                         struct remote_node_device_is_persistent_ret *ret, struct err **err)
{
    FIND(call, args->name)
    ret->persistent = 1;
    return 0;
}

static int get_autostart(struct call *call, const struct remote_node_device_get_autostart_args *args,
                         struct remote_node_device_get_autostart_ret *ret, struct err **err)
{
    FIND(call, args->name)
    ret->autostart = 1;
    return 0;
}

const struct remote_ops calls_nodedev = {
    .connect_list_all_node_devices = list_all,
    .node_num_of_devices = num,
    .node_list_devices = list_names,
    .node_device_lookup_by_name = lookup,
    .node_device_get_xml_desc = get_xml,
    .node_device_get_parent = get_parent,
    .node_device_num_of_caps = num_caps,
    .node_device_list_caps = list_caps,
    .node_device_is_active = is_active,
    .node_device_is_persistent = is_persistent,
    .node_device_get_autostart = get_autostart,
};
