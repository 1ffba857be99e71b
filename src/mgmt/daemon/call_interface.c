/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_interface.c - the host's network interfaces, as the kernel shows them. They are only read. */
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/driver.h"
#include "mgmt/server/remote-ops.h"
#include "os/fd.h"
#include "os/path.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>

enum { LIST_INACTIVE = 1, LIST_ACTIVE = 2, IFACES_MAX = 1024 };

struct iface {
    char name[IFNAMSIZ];
    char mac[32];
    bool up;
};

static bool read_text(const char *name, const char *file, char *buf, size_t room)
{
    AUTO_FREE char *path = str_format("/sys/class/net/%s/%s", name, file), *text = NULL;
    size_t n;

    if (path == NULL || file_slurp(path, 256, &text, &n) < 0) {
        return false;
    }
    while (n > 0 && text[n - 1] == '\n') {
        text[--n] = '\0';
    }
    if (n >= room) {
        return false;
    }
    memcpy(buf, text, n + 1);
    return true;
}

/* The test driver's single one is not on this host. */
static unsigned collect(struct call *call, struct iface *list, unsigned max)
{
    DIR *d;
    struct dirent *e;
    unsigned n = 0;

    if (str_eq(call->world->driver->scheme, "test")) {
        memcpy(list[0].name, "eth1", 5);
        memcpy(list[0].mac, "aa:bb:cc:dd:ee:ff", 18);
        list[0].up = true;
        return 1;
    }
    d = opendir("/sys/class/net");
    if (d == NULL) {
        return 0;
    }
    while ((e = readdir(d)) != NULL && n < max) {
        char flags[32];

        if (e->d_name[0] == '.' || str_eq(e->d_name, "lo") || strlen(e->d_name) >= IFNAMSIZ || str_starts(e->d_name, "vnet") ||
            str_starts(e->d_name, "macvtap")) {
            continue;
        }
        memcpy(list[n].name, e->d_name, strlen(e->d_name) + 1);
        if (!read_text(e->d_name, "address", list[n].mac, sizeof(list[n].mac))) {
            continue;
        }
        list[n].up = read_text(e->d_name, "flags", flags, sizeof(flags)) && (strtoul(flags, NULL, 16) & IFF_UP);
        n++;
    }
    (void)closedir(d);
    return n;
}

static struct iface *all(struct call *call, unsigned *ret_n)
{
    struct iface *list = arena_array(&call->arena, IFACES_MAX, sizeof(*list));

    *ret_n = list != NULL ? collect(call, list, IFACES_MAX) : 0;
    return list;
}

static void to_wire(const struct iface *f, struct arena *a, struct remote_interface *ret)
{
    ret->name = arena_strdup(a, f->name);
    ret->mac = arena_strdup(a, f->mac);
}

static int list_all(struct call *call, const struct remote_connect_list_all_interfaces_args *args,
                    struct remote_connect_list_all_interfaces_ret *ret, struct err **err)
{
    unsigned n, flags = args->flags & (LIST_ACTIVE | LIST_INACTIVE);
    struct iface *list = all(call, &n);

    (void)err;
    ret->ifaces = arena_array(&call->arena, n + 1, sizeof(*ret->ifaces));
    if (list == NULL || ret->ifaces == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < n; i++) {
        if (flags == 0 || (list[i].up ? flags & LIST_ACTIVE : flags & LIST_INACTIVE)) {
            if (args->need_results) {
                to_wire(&list[i], &call->arena, &ret->ifaces[ret->n_ifaces++]);
            }
            ret->ret++;
        }
    }
    return 0;
}

static int count(struct call *call, bool up)
{
    unsigned n;
    const struct iface *list = all(call, &n);
    int k = 0;

    for (unsigned i = 0; list != NULL && i < n; i++) {
        k += list[i].up == up;
    }
    return k;
}

static int num(struct call *call, struct remote_connect_num_of_interfaces_ret *ret, struct err **err)
{
    (void)err;
    ret->num = count(call, true);
    return 0;
}

static int num_defined(struct call *call, struct remote_connect_num_of_defined_interfaces_ret *ret, struct err **err)
{
    (void)err;
    ret->num = count(call, false);
    return 0;
}

static int names(struct call *call, bool up, int max, uint32_t *ret_n, char ***ret)
{
    unsigned n;
    const struct iface *list = all(call, &n);

    *ret = arena_array(&call->arena, n + 1, sizeof(**ret));
    if (list == NULL || *ret == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < n; i++) {
        if (list[i].up == up && (int)*ret_n < max) {
            (*ret)[(*ret_n)++] = arena_strdup(&call->arena, list[i].name);
        }
    }
    return 0;
}

static int list_names(struct call *call, const struct remote_connect_list_interfaces_args *args,
                      struct remote_connect_list_interfaces_ret *ret, struct err **err)
{
    (void)err;
    return names(call, true, args->maxnames, &ret->n_names, &ret->names);
}

static int list_defined(struct call *call, const struct remote_connect_list_defined_interfaces_args *args,
                        struct remote_connect_list_defined_interfaces_ret *ret, struct err **err)
{
    (void)err;
    return names(call, false, args->maxnames, &ret->n_names, &ret->names);
}

static const struct iface *find(struct call *call, const char *name, const char *mac)
{
    unsigned n;
    const struct iface *list = all(call, &n);

    for (unsigned i = 0; list != NULL && i < n; i++) {
        if (name != NULL ? str_eq(list[i].name, name) : strcasecmp(list[i].mac, mac) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

static int by_name(struct call *call, const struct remote_interface_lookup_by_name_args *args,
                   struct remote_interface_lookup_by_name_ret *ret, struct err **err)
{
    const struct iface *f = find(call, args->name, NULL);

    if (f == NULL) {
        return fault(err, DOM_INTERFACE, NO_INTERFACE, "couldn't find interface named '%s'", args->name);
    }
    to_wire(f, &call->arena, &ret->iface);
    return 0;
}

static int by_mac(struct call *call, const struct remote_interface_lookup_by_mac_string_args *args,
                  struct remote_interface_lookup_by_mac_string_ret *ret, struct err **err)
{
    const struct iface *f = find(call, NULL, args->mac);

    if (f == NULL) {
        return fault(err, DOM_INTERFACE, NO_INTERFACE, "couldn't find interface with MAC address '%s'", args->mac);
    }
    to_wire(f, &call->arena, &ret->iface);
    return 0;
}

static void addresses(struct strbuf *b, const char *name)
{
    struct ifaddrs *list;

    if (getifaddrs(&list) < 0) {
        return;
    }
    for (int v6 = 0; v6 < 2; v6++) {
        bool open = false;

        for (const struct ifaddrs *a = list; a != NULL; a = a->ifa_next) {
            char text[INET6_ADDRSTRLEN];
            const void *addr, *mask;
            unsigned prefix = 0;

            if (a->ifa_addr == NULL || !str_eq(a->ifa_name, name) ||
                a->ifa_addr->sa_family != (v6 ? AF_INET6 : AF_INET)) {
                continue;
            }
            addr = v6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)a->ifa_addr)->sin6_addr
                      : (const void *)&((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr;
            mask = v6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)a->ifa_netmask)->sin6_addr
                      : (const void *)&((const struct sockaddr_in *)(const void *)a->ifa_netmask)->sin_addr;
            for (int i = 0; i < (v6 ? 16 : 4); i++) {
                prefix += (unsigned)__builtin_popcount(((const uint8_t *)mask)[i]);
            }
            if (inet_ntop(a->ifa_addr->sa_family, addr, text, sizeof(text)) == NULL) {
                continue;
            }
            if (!open) {
                strbuf_printf(b, "  <protocol family='ipv%d'>\n", v6 ? 6 : 4);
                open = true;
            }
            strbuf_printf(b, "    <ip address='%s' prefix='%u'/>\n", text, prefix);
        }
        if (open) {
            strbuf_puts(b, "  </protocol>\n");
        }
    }
    freeifaddrs(list);
}

static int get_xml(struct call *call, const struct remote_interface_get_xml_desc_args *args,
                   struct remote_interface_get_xml_desc_ret *ret, struct err **err)
{
    const struct iface *f = find(call, args->iface.name, NULL);
    AUTO_FREE char *bridge = str_format("/sys/class/net/%s/bridge", args->iface.name), *text = NULL;
    struct strbuf b = STRBUF_INIT(65536);
    char mtu[32];

    if (f == NULL) {
        return fault(err, DOM_INTERFACE, NO_INTERFACE, "couldn't find interface named '%s'", args->iface.name);
    }
    strbuf_printf(&b, "<interface type='%s' name='%s'>\n", bridge != NULL && path_exists(bridge) ? "bridge" : "ethernet",
                  f->name);
    addresses(&b, f->name);
    strbuf_printf(&b, "  <link state='%s'/>\n", f->up ? "up" : "down");
    if (read_text(f->name, "mtu", mtu, sizeof(mtu))) {
        strbuf_printf(&b, "  <mtu size='%s'/>\n", mtu);
    }
    strbuf_printf(&b, "  <mac address='%s'/>\n</interface>\n", f->mac);
    text = strbuf_take(&b);
    ret->xml = text != NULL ? arena_strdup(&call->arena, text) : NULL;
    return ret->xml != NULL ? 0 : -ENOMEM;
}

static int is_active(struct call *call, const struct remote_interface_is_active_args *args,
                     struct remote_interface_is_active_ret *ret, struct err **err)
{
    const struct iface *f = find(call, args->iface.name, NULL);

    if (f == NULL) {
        return fault(err, DOM_INTERFACE, NO_INTERFACE, "couldn't find interface named '%s'", args->iface.name);
    }
    ret->active = f->up;
    return 0;
}

const struct remote_ops calls_interface = {
    .connect_list_all_interfaces = list_all,
    .connect_num_of_interfaces = num,
    .connect_num_of_defined_interfaces = num_defined,
    .connect_list_interfaces = list_names,
    .connect_list_defined_interfaces = list_defined,
    .interface_lookup_by_name = by_name,
    .interface_lookup_by_mac_string = by_mac,
    .interface_get_xml_desc = get_xml,
    .interface_is_active = is_active,
};
