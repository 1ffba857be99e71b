/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/object/network.h"

#include "base/arena.h"
#include "base/log.h"
#include "mgmt/driver/driver.h"
#include "mgmt/model/domain/domain.h"
#include "mgmt/model/schema.h"
#include "mgmt/network/dnsmasq.h"
#include "mgmt/network/firewall.h"
#include "mgmt/network/tap.h"
#include "mgmt/object/files.h"
#include "mgmt/server/event.h"
#include "mgmt/server/lock.h"
#include "os/path.h"
#include "rpc/fault.h"
#include "rpc/protocol/remote.h"

#include <arpa/inet.h>
#include <errno.h>

int network_add(struct world *w, struct node *def, struct network **ret)
{
    struct network *n = calloc(1, sizeof(*n));

    if (n == NULL) {
        node_free(def);
        return -ENOMEM;
    }
    n->world = w;
    n->def = def;
    n->name = strdup(node_get(def, "name"));
    (void)uuid_parse(node_get(def, "uuid"), n->uuid);
    uuid_format(n->uuid, n->uuid_text);
    list_append(&w->networks, &n->link);
    *ret = n;
    return n->name != NULL ? 0 : -ENOMEM;
}

void network_remove(struct network *n)
{
    list_remove(&n->link);
    node_free(n->def);
    node_free(n->next);
    free(n->name);
    free(n);
}

struct network *network_by_name(struct world *w, const char *name)
{
    LIST_FOREACH (&w->networks, it) {
        struct network *n = CONTAINER_OF(it, struct network, link);

        if (str_eq(n->name, name)) {
            return n;
        }
    }
    return NULL;
}

struct network *network_by_uuid(struct world *w, const uint8_t uuid[16])
{
    LIST_FOREACH (&w->networks, it) {
        struct network *n = CONTAINER_OF(it, struct network, link);

        if (memcmp(n->uuid, uuid, 16) == 0) {
            return n;
        }
    }
    return NULL;
}

int network_of_call(struct call *call, const struct remote_network *wire, struct network **ret,
                    struct err **err)
{
    char text[UUID_TEXT_BYTES];

    *ret = network_by_uuid(call->world, wire->uuid);
    if (*ret == NULL) {
        uuid_format(wire->uuid, text);
        return fault(err, DOM_NETWORK, NO_NETWORK, "no network with matching uuid '%s' (%s)", text,
                     wire->name);
    }
    return 0;
}

void network_to_wire(const struct network *n, struct arena *a, struct remote_network *ret)
{
    ret->name = arena_strdup(a, n->name);
    memcpy(ret->uuid, n->uuid, 16);
}

const char *network_bridge(const struct network *n)
{
    return node_get(n->def, "bridge/@name");
}

struct node *network_config(const struct network *n)
{
    return n->next != NULL ? n->next : n->def;
}

static char *config_path(const struct network *n, const char *folder)
{
    return n->world->config_dir != NULL
               ? str_format("%s/%s/networks/%s%s.xml", n->world->config_dir,
                            n->world->driver->scheme, folder, n->name)
               : NULL;
}

int network_save(struct network *n, struct err **err)
{
    AUTO_FREE char *path = config_path(n, "");
    AUTO_FREE char *link = config_path(n, "autostart/");
    int r;

    if (path == NULL || link == NULL) {
        return 0;
    }
    if (!n->persistent) {
        (void)unlink(path);
        (void)unlink(link);
        return 0;
    }
    r = files_write_node(path, network_config(n), err);
    return r == 0 ? files_link(path, link, n->autostart, err) : r;
}

void network_emit(struct network *n, int event)
{
    struct remote_network_event_lifecycle_msg msg = { .event = event };
    struct event_message m = { .class = EVENT_NETWORK,
                               .object = n->uuid_text,
                               .program = &remote_program,
                               .proc = REMOTE_NETWORK_EVENT_LIFECYCLE,
                               .msg = &msg };

    msg.net.name = n->name;
    memcpy(msg.net.uuid, n->uuid, 16);
    event_send(n->world->server, n->world, &m);
}

static char *free_bridge(struct world *w)
{
    for (unsigned i = 0; i < 256; i++) {
        char *name = str_format("virbr%u", i);
        bool used = name == NULL || link_exists(name);

        LIST_FOREACH (&w->networks, it) {
            const struct network *n = CONTAINER_OF(it, struct network, link);

            used |= name != NULL && (node_is(n->def, "bridge/@name", name) ||
                                     (n->next != NULL && node_is(n->next, "bridge/@name", name)));
        }
        if (!used) {
            return name;
        }
        free(name);
    }
    return NULL;
}

int network_complete(struct world *w, struct node *def, struct err **err)
{
    const char *name = node_get(def, "name"), *uuid = node_get(def, "uuid");
    const char *mode = node_get(def, "forward/@mode");
    uint8_t bytes[16];
    char text[UUID_TEXT_BYTES];
    bool own_bridge =
        mode == NULL || str_eq(mode, "nat") || str_eq(mode, "route") || str_eq(mode, "open");

    if (name == NULL || *name == '\0') {
        return fault(err, DOM_NETWORK, NO_NAME, "%s", "");
    }
    if (strchr(name, '/') != NULL) {
        return fault(err, DOM_NETWORK, XML_ERROR, "name %s cannot contain '/'", name);
    }
    if (uuid == NULL) {
        uuid_generate(bytes);
    } else if (uuid_parse(uuid, bytes) < 0) {
        return fault(err, DOM_NETWORK, XML_ERROR, "malformed uuid element");
    }
    uuid_format(bytes, text);
    if (node_set(def, "uuid", text) < 0) {
        return -ENOMEM;
    }
    if (node_child(def, "forward") != NULL && mode == NULL &&
        node_set(def, "forward/@mode", "nat") < 0) {
        return -ENOMEM;
    }
    if (node_is(def, "forward/@mode", "nat") &&
        node_child(node_child(def, "forward"), "nat") == NULL) {
        for (int i = 0; i < 2; i++) {
            if (node_set(def, i == 0 ? "forward/nat/port/@start" : "forward/nat/port/@end",
                         i == 0 ? "1024" : "65535") < 0) {
                return -ENOMEM;
            }
        }
    }
    if (own_bridge) {
        if (node_get(def, "bridge/@name") == NULL) {
            AUTO_FREE char *bridge = free_bridge(w);

            if (bridge == NULL || node_set(def, "bridge/@name", bridge) < 0) {
                return -ENOMEM;
            }
        }
        if (node_get(def, "bridge/@stp") == NULL && node_set(def, "bridge/@stp", "on") < 0) {
            return -ENOMEM;
        }
        if (node_get(def, "bridge/@delay") == NULL && node_set(def, "bridge/@delay", "0") < 0) {
            return -ENOMEM;
        }
        if (node_get(def, "mac/@address") == NULL) {
            char mac[MAC_TEXT_BYTES];

            mac_generate(mac);
            if (node_set(def, "mac/@address", mac) < 0) {
                return -ENOMEM;
            }
        }
    } else if (mode != NULL && str_eq(mode, "bridge") && node_get(def, "bridge/@name") == NULL &&
               node_get(def, "forward/@dev") == NULL &&
               node_child(node_child(def, "forward"), "interface") == NULL) {
        return fault(err, DOM_NETWORK, XML_ERROR,
                     "bridge name or interface dev required for forward mode "
                     "'bridge' in network '%s'",
                     name);
    }
    for (const struct node *ip = node_child(def, "ip"); ip != NULL; ip = node_next(ip, "ip")) {
        const char *a = node_attr(ip, "address");
        uint8_t addr[16];

        if (a == NULL || (inet_pton(AF_INET, a, addr) != 1 && inet_pton(AF_INET6, a, addr) != 1)) {
            return fault(err, DOM_NETWORK, XML_ERROR, "Invalid address '%s' in network '%s'",
                         a != NULL ? a : "", name);
        }
    }
    return 0;
}

static unsigned prefix_of(const struct node *ip)
{
    const char *mask = node_attr(ip, "netmask");
    struct in_addr a;

    if (node_attr(ip, "prefix") != NULL) {
        return (unsigned)node_get_u64(ip, "@prefix", 24);
    }
    if (mask != NULL && inet_pton(AF_INET, mask, &a) == 1) {
        return (unsigned)__builtin_popcount(a.s_addr);
    }
    return node_is(ip, "@family", "ipv6") ? 64 : 24;
}

static int start_bridge(struct network *n, struct err **err)
{
    const char *bridge = network_bridge(n);
    int r;

    if (link_exists(bridge)) {
        return fault(err, DOM_NETWORK, INTERNAL_ERROR, "bridge name '%s' already in use.", bridge);
    }
    r = bridge_make(bridge, node_get(n->def, "mac/@address"), err);
    for (const struct node *ip = node_child(n->def, "ip"); r == 0 && ip != NULL;
         ip = node_next(ip, "ip")) {
        r = link_add_address(bridge, node_attr(ip, "address"), prefix_of(ip), err);
    }
    return r == 0 ? link_up(bridge, true, err) : r;
}

int network_start(struct network *n, struct err **err)
{
    const char *mode = node_get(n->def, "forward/@mode");
    bool own_bridge =
        mode == NULL || str_eq(mode, "nat") || str_eq(mode, "route") || str_eq(mode, "open");
    int r = 0;

    if (n->persistent && n->next == NULL) {
        n->next = node_copy(n->def);
        if (n->next == NULL) {
            return -ENOMEM;
        }
    }
    if (own_bridge && str_eq(n->world->driver->scheme, "qemu")) {
        UNLOCKED(r = start_bridge(n, err));
        r = r == 0 ? firewall_add(n, err) : r;
        r = r == 0 ? dnsmasq_start(n, err) : r;
    }
    if (r < 0) {
        bool was = n->active;

        n->active = true;
        network_stop(n);
        n->active = was;
        return r;
    }
    n->active = true;
    return 0;
}

void network_stop(struct network *n)
{
    const char *mode = node_get(n->def, "forward/@mode");
    bool own_bridge =
        mode == NULL || str_eq(mode, "nat") || str_eq(mode, "route") || str_eq(mode, "open");

    if (own_bridge && str_eq(n->world->driver->scheme, "qemu")) {
        dnsmasq_stop(n);
        firewall_remove(n);
        bridge_destroy(network_bridge(n));
    }
    n->active = false;
    n->connections = 0;
    if (n->next != NULL) {
        node_free(n->def);
        n->def = TAKE_PTR(n->next);
    }
}

static int load_one(struct world *w, const char *path, struct err **err)
{
    struct node *def = NULL;
    struct network *n;
    AUTO_FREE char *link = NULL;
    int r = files_read_node(path, &schema_network, false, &def, err);

    r = r == 0 ? network_complete(w, def, err) : r;
    if (r < 0) {
        node_free(def);
        return r;
    }
    r = network_add(w, def, &n);
    if (r < 0) {
        return r;
    }
    n->persistent = true;
    link = config_path(n, "autostart/");
    n->autostart = link != NULL && path_exists(link);
    /* Left by an earlier daemon: bridge and dnsmasq go on without us. */
    if (network_bridge(n) != NULL && link_exists(network_bridge(n)) && dnsmasq_adopt(n)) {
        n->next = node_copy(n->def);
        n->active = true;
    }
    return 0;
}

void network_load_all(struct world *w)
{
    AUTO_FREE char *dir = str_format("%s/%s/networks", w->config_dir, w->driver->scheme);

    if (dir != NULL) {
        (void)files_each(dir, ".xml", load_one, w);
    }
}

void network_autostart_all(struct world *w)
{
    LIST_FOREACH (&w->networks, it) {
        struct network *n = CONTAINER_OF(it, struct network, link);
        CLEANUP(err_freep) struct err *err = NULL;

        if (n->autostart && !n->active && network_start(n, &err) < 0) {
            log_warn("network '%s': %s", n->name, err != NULL ? err->text : "not started");
        }
    }
}

int network_join(struct world *w, struct node *nic, struct network **ret, struct err **err)
{
    const char *name = node_get(nic, "source/@network");
    struct network *n = name != NULL ? network_by_name(w, name) : NULL;

    if (n == NULL) {
        return fault(err, DOM_NETWORK, NO_NETWORK, "no network with matching name '%s'",
                     name != NULL ? name : "");
    }
    if (!n->active) {
        return fault(err, DOM_NETWORK, OPERATION_INVALID, "network '%s' is not active", name);
    }
    if (network_bridge(n) == NULL) {
        return fault(err, DOM_NETWORK, CONFIG_UNSUPPORTED, "network '%s' has no bridge", name);
    }
    n->connections++;
    *ret = n;
    return 0;
}

void network_leave(struct world *w, struct node *nic)
{
    const char *name = node_get(nic, "source/@network");
    struct network *n = name != NULL ? network_by_name(w, name) : NULL;

    if (n != NULL && n->connections > 0) {
        n->connections--;
    }
}

void network_rejoin_all(struct world *w, const struct node *domain)
{
    for (const struct node *nic = node_child(domain_devices(domain), "interface"); nic != NULL;
         nic = node_next(nic, "interface")) {
        const char *name =
            node_is(nic, "@type", "network") ? node_get(nic, "source/@network") : NULL;
        struct network *n = name != NULL ? network_by_name(w, name) : NULL;

        if (n != NULL) {
            n->connections++;
        }
    }
}
