/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_net.c - NICs: the device, and its back end (user network, tap on a bridge, macvtap, sockets).
 */
#include "mgmt/driver/qemu/cmdline.h"

#include "base/str.h"
#include "mgmt/driver/qemu/run.h"
#include "mgmt/model/domain/domain.h"
#include "mgmt/network/tap.h"
#include "mgmt/object/network.h"
#include "rpc/fault.h"

#include <errno.h>

static char *backend_id(const struct node *nic)
{
    return str_format("host%s", node_get(nic, "alias/@name"));
}

struct json_object *nic_device(struct cmdline *c, const struct node *nic)
{
    const char *model = node_get(nic, "model/@type");
    AUTO_FREE char *netdev = backend_id(nic);
    struct json_object *o;
    unsigned order = 0, at = 1;

    if (model == NULL) {
        model = "rtl8139";
    }
    o = device_json(c,
                    str_eq(model, "virtio")                    ? "virtio-net-pci"
                    : str_eq(model, "virtio-transitional")     ? "virtio-net-pci-transitional"
                    : str_eq(model, "virtio-non-transitional") ? "virtio-net-pci-non-transitional"
                                                               : model,
                    nic);
    if (o == NULL) {
        return NULL;
    }
    if (node_get(nic, "driver/@queues") != NULL && str_starts(model, "virtio")) {
        uint64_t q = node_get_u64(nic, "driver/@queues", 1);

        if (q > 1) {
            (void)json_add_bool(o, "mq", true);
            (void)json_add_u64(o, "vectors", 2 * q + 2);
        }
    }
    (void)json_add_str(o, "netdev", netdev != NULL ? netdev : "");
    (void)json_add_str(o, "mac", node_get(nic, "mac/@address"));
    if (node_get(nic, "rom/@bar") != NULL) {
        (void)json_add_i64(o, "rombar", node_is(nic, "rom/@bar", "on"));
    }
    if (node_get(nic, "rom/@file") != NULL) {
        (void)json_add_str(o, "romfile", node_get(nic, "rom/@file"));
    }
    if (node_get(nic, "mtu/@size") != NULL && str_starts(model, "virtio")) {
        (void)json_add_u64(o, "host_mtu", node_get_u64(nic, "mtu/@size", 1500));
    }
    if (node_child(nic, "boot") != NULL) {
        order = (unsigned)node_get_u64(nic, "boot/@order", 0);
    } else if (node_child(domain_devices(c->def), "interface") == nic) {
        for (const struct node *b = node_child(node_child(c->def, "os"), "boot"); b != NULL;
             b = node_next(b, "boot"), at++) {
            if (node_is(b, "@dev", "network")) {
                order = at;
            }
        }
    }
    if (order > 0) {
        (void)json_add_u64(o, "bootindex", order);
    }
    return o;
}

static void user_net(struct json_object *o, const struct node *nic)
{
    struct json_object *forwards = NULL;

    (void)json_add_str(o, "type", "user");
    for (const struct node *f = node_child(nic, "portForward"); f != NULL;
         f = node_next(f, "portForward")) {
        for (const struct node *r = node_child(f, "range"); r != NULL; r = node_next(r, "range")) {
            uint64_t start = node_get_u64(r, "@start", 0), end = node_get_u64(r, "@end", start);
            uint64_t to = node_get_u64(r, "@to", start);

            for (uint64_t p = start; p <= end && p - start < 64; p++) {
                AUTO_FREE char *text =
                    str_format("%s:%s:%llu-:%llu", node_attr(f, "proto"),
                               node_attr(f, "address") ? node_attr(f, "address") : "",
                               (unsigned long long)p, (unsigned long long)(to + (p - start)));
                struct json_object *one = json_object_new_object();

                (void)json_add_str(one, "str", text != NULL ? text : "");
                if (forwards == NULL) {
                    forwards = json_object_new_array();
                }
                json_object_array_add(forwards, one);
            }
        }
    }
    if (forwards != NULL) {
        (void)json_add(o, "hostfwd", forwards);
    }
    for (const struct node *ip = node_child(nic, "ip"); ip != NULL; ip = node_next(ip, "ip")) {
        bool v6 = node_is(ip, "@family", "ipv6");
        AUTO_FREE char *net = str_format("%s/%s", node_attr(ip, "address"),
                                         node_attr(ip, "prefix") ? node_attr(ip, "prefix")
                                         : v6                    ? "64"
                                                                 : "24");

        (void)json_add_str(o, v6 ? "ipv6-prefix" : "net", v6 ? node_attr(ip, "address") : net);
    }
}

static int tap_on(struct cmdline *c, struct node *nic, const char *bridge, int *ret_fd,
                  struct err **err)
{
    const char *want = node_get(nic, "target/@dev");
    AUTO_FREE char *name = NULL;
    int r = tap_open(want, bridge, node_get(nic, "mac/@address"),
                     (unsigned)node_get_u64(nic, "mtu/@size", 0),
                     node_is(nic, "link/@state", "down"), ret_fd, &name, err);

    (void)c;
    return r == 0 ? node_set(nic, "target/@dev", name) : r;
}

struct json_object *nic_backend(struct cmdline *c, struct node *nic, int *ret_fd, struct err **err)
{
    const char *type = node_attr(nic, "type");
    AUTO_FREE char *id = backend_id(nic);
    struct json_object *o = json_object_new_object();
    int r = 0;

    *ret_fd = -1;
    if (o == NULL || id == NULL) {
        json_object_put(o);
        return NULL;
    }
    if (str_eq(type, "user")) {
        user_net(o, nic);
    } else if (c->dry && (str_eq(type, "network") || str_eq(type, "bridge") ||
                          str_eq(type, "ethernet") || str_eq(type, "direct"))) {
        (void)json_add_str(o, "type", "tap");
        if (node_get(nic, "target/@dev") != NULL) {
            (void)json_add_str(o, "ifname", node_get(nic, "target/@dev"));
        }
    } else if (str_eq(type, "network")) {
        struct network *n = NULL;

        r = network_join(c->run->domain->world, nic, &n, err);
        r = r == 0 ? tap_on(c, nic, network_bridge(n), ret_fd, err) : r;
        if (r == 0) {
            r = node_set(nic, "source/@bridge", network_bridge(n));
        }
        (void)json_add_str(o, "type", "tap");
    } else if (str_eq(type, "bridge")) {
        r = tap_on(c, nic, node_get(nic, "source/@bridge"), ret_fd, err);
        (void)json_add_str(o, "type", "tap");
    } else if (str_eq(type, "ethernet")) {
        r = tap_on(c, nic, NULL, ret_fd, err);
        (void)json_add_str(o, "type", "tap");
    } else if (str_eq(type, "direct")) {
        AUTO_FREE char *name = NULL;

        r = macvtap_open(node_get(nic, "source/@dev"), node_get(nic, "source/@mode"),
                         node_get(nic, "mac/@address"), ret_fd, &name, err);
        r = r == 0 ? node_set(nic, "target/@dev", name) : r;
        (void)json_add_str(o, "type", "tap");
    } else if (str_eq(type, "mcast") || str_eq(type, "server") || str_eq(type, "client") ||
               str_eq(type, "udp")) {
        const char *host = node_get(nic, "source/@address");
        AUTO_FREE char *at =
            str_format("%s:%s", host != NULL ? host : "",
                       node_get(nic, "source/@port") ? node_get(nic, "source/@port") : "0");

        (void)json_add_str(o, "type", "socket");
        (void)json_add_str(o,
                           str_eq(type, "mcast")    ? "mcast"
                           : str_eq(type, "server") ? "listen"
                           : str_eq(type, "client") ? "connect"
                                                    : "udp",
                           at != NULL ? at : "");
    } else {
        r = fault(err, DOM_QEMU, CONFIG_UNSUPPORTED, "interface type '%s' is not supported", type);
    }
    if (r < 0) {
        json_object_put(o);
        close_fdp(ret_fd);
        return NULL;
    }
    (void)json_add_str(o, "id", id);
    return o;
}
