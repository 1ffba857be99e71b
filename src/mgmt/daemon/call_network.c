/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_network.c - virtual networks. */
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/driver.h"
#include "mgmt/model/schema.h"
#include "mgmt/network/dnsmasq.h"
#include "mgmt/object/network.h"
#include "mgmt/server/remote-ops.h"

#include <errno.h>

enum {
    LIST_INACTIVE = 1,
    LIST_ACTIVE = 2,
    LIST_PERSISTENT = 4,
    LIST_TRANSIENT = 8,
    LIST_AUTOSTART = 16,
    LIST_NO_AUTOSTART = 32,
    LIST_ALL = 63,
};
enum { NET_XML_INACTIVE = 1 };
enum { NET_DEFINED, NET_UNDEFINED, NET_STARTED, NET_STOPPED };

static bool pair(unsigned flags, unsigned yes, unsigned no, bool is)
{
    return (flags & (yes | no)) == 0 || (is ? flags & yes : flags & no);
}

static unsigned count_all(struct world *w)
{
    unsigned n = 0;

    LIST_FOREACH (&w->networks, it) {
        n++;
    }
    return n;
}

static int list_all(struct call *call, const struct remote_connect_list_all_networks_args *args,
                    struct remote_connect_list_all_networks_ret *ret, struct err **err)
{
    int r = flags_check(call, args->flags, LIST_ALL, err);

    if (r < 0) {
        return r;
    }
    ret->nets = arena_array(&call->arena, count_all(call->world) + 1, sizeof(*ret->nets));
    if (ret->nets == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH (&call->world->networks, it) {
        struct network *n = CONTAINER_OF(it, struct network, link);

        if (pair(args->flags, LIST_ACTIVE, LIST_INACTIVE, n->active) &&
            pair(args->flags, LIST_PERSISTENT, LIST_TRANSIENT, n->persistent) &&
            pair(args->flags, LIST_AUTOSTART, LIST_NO_AUTOSTART, n->autostart)) {
            if (args->need_results) {
                network_to_wire(n, &call->arena, &ret->nets[ret->n_nets++]);
            }
            ret->ret++;
        }
    }
    return 0;
}

static int count(struct call *call, bool active)
{
    int n = 0;

    LIST_FOREACH (&call->world->networks, it) {
        n += CONTAINER_OF(it, struct network, link)->active == active;
    }
    return n;
}

static int num(struct call *call, struct remote_connect_num_of_networks_ret *ret, struct err **err)
{
    (void)err;
    ret->num = count(call, true);
    return 0;
}

static int num_defined(struct call *call, struct remote_connect_num_of_defined_networks_ret *ret,
                       struct err **err)
{
    (void)err;
    ret->num = count(call, false);
    return 0;
}

static int names(struct call *call, bool active, int max, uint32_t *ret_n, char ***ret)
{
    *ret = arena_array(&call->arena, count_all(call->world) + 1, sizeof(**ret));
    if (*ret == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH (&call->world->networks, it) {
        struct network *n = CONTAINER_OF(it, struct network, link);

        if (n->active == active && (int)*ret_n < max) {
            (*ret)[(*ret_n)++] = arena_strdup(&call->arena, n->name);
        }
    }
    return 0;
}

static int list(struct call *call, const struct remote_connect_list_networks_args *args,
                struct remote_connect_list_networks_ret *ret, struct err **err)
{
    (void)err;
    return names(call, true, args->maxnames, &ret->n_names, &ret->names);
}

static int list_defined(struct call *call,
                        const struct remote_connect_list_defined_networks_args *args,
                        struct remote_connect_list_defined_networks_ret *ret, struct err **err)
{
    (void)err;
    return names(call, false, args->maxnames, &ret->n_names, &ret->names);
}

static int by_name(struct call *call, const struct remote_network_lookup_by_name_args *args,
                   struct remote_network_lookup_by_name_ret *ret, struct err **err)
{
    struct network *n = network_by_name(call->world, args->name);

    if (n == NULL) {
        return fault(err, DOM_NETWORK, NO_NETWORK, "no network with matching name '%s'",
                     args->name);
    }
    network_to_wire(n, &call->arena, &ret->net);
    return 0;
}

static int by_uuid(struct call *call, const struct remote_network_lookup_by_uuid_args *args,
                   struct remote_network_lookup_by_uuid_ret *ret, struct err **err)
{
    struct network *n = network_by_uuid(call->world, args->uuid);
    char text[UUID_TEXT_BYTES];

    if (n == NULL) {
        uuid_format(args->uuid, text);
        return fault(err, DOM_NETWORK, NO_NETWORK, "no network with matching uuid '%s'", text);
    }
    network_to_wire(n, &call->arena, &ret->net);
    return 0;
}

static int xml(struct call *call, const struct remote_network_get_xml_desc_args *args,
               struct remote_network_get_xml_desc_ret *ret, struct err **err)
{
    struct network *n;
    CLEANUP(node_freep) struct node *copy = NULL;
    AUTO_FREE char *text = NULL;
    int r = network_of_call(call, &args->net, &n, err);

    if (r < 0) {
        return r;
    }
    copy = node_copy(args->flags & NET_XML_INACTIVE ? network_config(n) : n->def);
    if (copy == NULL) {
        return -ENOMEM;
    }
    if (n->connections > 0 && !(args->flags & NET_XML_INACTIVE)) {
        (void)node_setf(copy, "@connections", "%u", n->connections);
    }
    text = node_to_xml(copy);
    ret->xml = text != NULL ? arena_strdup(&call->arena, text) : NULL;
    return ret->xml != NULL ? 0 : -ENOMEM;
}

#define GETTER(fn, member, value)                                                   \
    static int fn(struct call *call, const struct remote_network_##fn##_args *args, \
                  struct remote_network_##fn##_ret *ret, struct err **err)          \
    {                                                                               \
        struct network *n;                                                          \
        int r = network_of_call(call, &args->net, &n, err);                         \
                                                                                    \
        if (r == 0) {                                                               \
            ret->member = value;                                                    \
        }                                                                           \
        return r;                                                                   \
    }

GETTER(is_active, active, n->active)
GETTER(is_persistent, persistent, n->persistent)
GETTER(get_autostart, autostart, n->autostart)

static int get_bridge_name(struct call *call,
                           const struct remote_network_get_bridge_name_args *args,
                           struct remote_network_get_bridge_name_ret *ret, struct err **err)
{
    struct network *n;
    int r = network_of_call(call, &args->net, &n, err);

    if (r < 0) {
        return r;
    }
    if (network_bridge(n) == NULL) {
        return fault(err, DOM_NETWORK, INTERNAL_ERROR, "network '%s' does not have a bridge name.",
                     n->name);
    }
    ret->name = arena_strdup(&call->arena, network_bridge(n));
    return 0;
}

static int parse(struct call *call, const char *text, struct node **ret, struct network **ret_have,
                 struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    struct network *by, *other = NULL;
    uint8_t uuid[16];
    int r = schema_parse(text, &schema_network, DOM_NETWORK, false, &def, err);
    const char *name = r == 0 ? node_get(def, "name") : NULL;

    by = name != NULL ? network_by_name(call->world, name) : NULL;
    if (by != NULL && node_get(def, "bridge/@name") == NULL && network_bridge(by) != NULL &&
        r == 0) {
        r = node_set(def, "bridge/@name", network_bridge(by));
    }
    r = r == 0 ? network_complete(call->world, def, err) : r;
    if (r < 0) {
        return r;
    }
    (void)uuid_parse(node_get(def, "uuid"), uuid);
    other = network_by_uuid(call->world, uuid);
    if (other != NULL && other != by) {
        return fault(err, DOM_NETWORK, OPERATION_FAILED,
                     "network '%s' is already defined with uuid %s", other->name, other->uuid_text);
    }
    if (by != NULL && other == NULL) {
        return fault(err, DOM_NETWORK, OPERATION_FAILED, "network '%s' already exists with uuid %s",
                     by->name, by->uuid_text);
    }
    LIST_FOREACH (&call->world->networks, it) {
        struct network *n = CONTAINER_OF(it, struct network, link);
        const char *bridge = node_get(def, "bridge/@name");

        if (n != by && bridge != NULL && network_bridge(n) != NULL &&
            str_eq(bridge, network_bridge(n))) {
            return fault(err, DOM_NETWORK, INTERNAL_ERROR, "bridge name '%s' already in use.",
                         bridge);
        }
    }
    *ret = TAKE_PTR(def);
    *ret_have = by;
    return 0;
}

static int define(struct call *call, const char *text, struct remote_network *ret, struct err **err)
{
    struct node *def = NULL;
    struct network *n = NULL;
    int r = parse(call, text, &def, &n, err);

    if (r < 0) {
        return r;
    }
    if (n == NULL) {
        r = network_add(call->world, def, &n);
        if (r < 0) {
            return r;
        }
    } else if (n->active) {
        node_free(n->next);
        n->next = def;
    } else {
        node_free(n->def);
        n->def = def;
    }
    n->persistent = true;
    r = network_save(n, err);
    if (r == 0) {
        network_emit(n, NET_DEFINED);
        network_to_wire(n, &call->arena, ret);
    }
    return r;
}

static int define_xml(struct call *call, const struct remote_network_define_xml_args *args,
                      struct remote_network_define_xml_ret *ret, struct err **err)
{
    return define(call, args->xml, &ret->net, err);
}

static int define_xml_flags(struct call *call,
                            const struct remote_network_define_xml_flags_args *args,
                            struct remote_network_define_xml_flags_ret *ret, struct err **err)
{
    return define(call, args->xml, &ret->net, err);
}

static int create_from(struct call *call, const char *text, struct remote_network *ret,
                       struct err **err)
{
    struct node *def = NULL;
    struct network *n = NULL;
    int r = parse(call, text, &def, &n, err);

    if (r < 0) {
        return r;
    }
    if (n != NULL && n->active) {
        node_free(def);
        return fault(err, DOM_NETWORK, OPERATION_INVALID, "network is already active as '%s'",
                     n->name);
    }
    if (n == NULL) {
        r = network_add(call->world, def, &n);
    } else {
        n->next = n->def;
        n->def = def;
    }
    r = r == 0 ? network_start(n, err) : r;
    if (r < 0) {
        if (!n->persistent) {
            network_remove(n);
        }
        return r;
    }
    network_emit(n, NET_STARTED);
    network_to_wire(n, &call->arena, ret);
    return 0;
}

static int create_xml(struct call *call, const struct remote_network_create_xml_args *args,
                      struct remote_network_create_xml_ret *ret, struct err **err)
{
    return create_from(call, args->xml, &ret->net, err);
}

static int create_xml_flags(struct call *call,
                            const struct remote_network_create_xml_flags_args *args,
                            struct remote_network_create_xml_flags_ret *ret, struct err **err)
{
    return create_from(call, args->xml, &ret->net, err);
}

static int create(struct call *call, const struct remote_network_create_args *args,
                  struct err **err)
{
    struct network *n;
    int r = network_of_call(call, &args->net, &n, err);

    if (r == 0 && n->active) {
        return fault(err, DOM_NETWORK, OPERATION_INVALID, "network is already active");
    }
    r = r == 0 ? network_start(n, err) : r;
    if (r == 0) {
        network_emit(n, NET_STARTED);
    }
    return r;
}

static int destroy(struct call *call, const struct remote_network_destroy_args *args,
                   struct err **err)
{
    struct network *n;
    int r = network_of_call(call, &args->net, &n, err);

    if (r < 0) {
        return r;
    }
    if (!n->active) {
        return fault(err, DOM_NETWORK, OPERATION_INVALID, "network '%s' is not active", n->name);
    }
    network_stop(n);
    network_emit(n, NET_STOPPED);
    if (!n->persistent) {
        network_remove(n);
    }
    return 0;
}

static int undefine(struct call *call, const struct remote_network_undefine_args *args,
                    struct err **err)
{
    struct network *n;
    int r = network_of_call(call, &args->net, &n, err);

    if (r < 0) {
        return r;
    }
    if (!n->persistent) {
        return fault(err, DOM_NETWORK, OPERATION_INVALID, "can't undefine transient network");
    }
    n->persistent = n->autostart = false;
    n->next = node_free(n->next);
    r = network_save(n, err);
    network_emit(n, NET_UNDEFINED);
    if (!n->active) {
        network_remove(n);
    }
    return r;
}

static int set_autostart(struct call *call, const struct remote_network_set_autostart_args *args,
                         struct err **err)
{
    struct network *n;
    int r = network_of_call(call, &args->net, &n, err);

    if (r < 0) {
        return r;
    }
    if (!n->persistent) {
        return fault(err, DOM_NETWORK, OPERATION_INVALID,
                     "cannot set autostart for transient network");
    }
    n->autostart = args->autostart != 0;
    return network_save(n, err);
}

/* ---- live update ---- */

enum { CMD_NONE, CMD_MODIFY, CMD_DELETE, CMD_ADD_LAST, CMD_ADD_FIRST };
enum {
    SECTION_IP_DHCP_HOST = 4,
    SECTION_IP_DHCP_RANGE = 5,
    SECTION_DNS_HOST = 10,
    SECTION_DNS_TXT = 11,
    SECTION_DNS_SRV = 12,
    SECTION_PORTGROUP = 9,
    SECTION_FORWARD_INTERFACE = 7
};

static bool same_entry(const struct node *a, const struct node *b)
{
    static const char *const keys[] = { "mac", "id", "ip", "name", "start", "dev" };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *x = node_attr(a, keys[i]), *y = node_attr(b, keys[i]);

        if (x != NULL && y != NULL) {
            if (strcasecmp(x, y) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* The parent of the section's entries, and their name. */
static struct node *section_parent(struct node *def, unsigned section, int index,
                                   const char **ret_name)
{
    struct node *ip = node_child(def, "ip");
    int i = 0;

    switch (section) {
    case SECTION_IP_DHCP_HOST:
    case SECTION_IP_DHCP_RANGE:
        *ret_name = section == SECTION_IP_DHCP_HOST ? "host" : "range";
        for (; ip != NULL; ip = node_next(ip, "ip"), i++) {
            if (index == i || (index < 0 && node_child(ip, "dhcp") != NULL)) {
                return node_need(ip, "dhcp");
            }
        }
        ip = node_child(def, "ip");
        return index < 0 && ip != NULL ? node_need(ip, "dhcp") : NULL;
    case SECTION_DNS_HOST:
    case SECTION_DNS_TXT:
    case SECTION_DNS_SRV:
        *ret_name = section == SECTION_DNS_HOST  ? "host"
                    : section == SECTION_DNS_TXT ? "txt"
                                                 : "srv";
        return node_need(def, "dns");
    case SECTION_PORTGROUP:
        *ret_name = "portgroup";
        return def;
    case SECTION_FORWARD_INTERFACE:
        *ret_name = "interface";
        return node_need(def, "forward");
    default:
        return NULL;
    }
}

static int change(struct node *def, unsigned command, unsigned section, int index, const char *text,
                  struct err **err)
{
    const char *name = "";
    struct node *parent = section_parent(def, section, index, &name), *have = NULL;
    const struct elem_ref *ref = parent != NULL ? elem_child(parent->elem, name, NULL) : NULL;
    CLEANUP(node_freep) struct node *entry = NULL;
    int r;

    if (ref == NULL) {
        return fault(err, DOM_NETWORK, NO_SUPPORT, "can't update '%u' section of network '%s'",
                     section, node_get(def, "name"));
    }
    r = schema_parse(text, ref->elem, DOM_NETWORK, false, &entry, err);
    if (r < 0) {
        return r;
    }
    entry->name = ref->name;
    for (struct node *n = node_child(parent, name); n != NULL; n = node_next(n, name)) {
        if (same_entry(n, entry)) {
            have = n;
        }
    }
    if (command == CMD_ADD_LAST || command == CMD_ADD_FIRST) {
        if (have != NULL) {
            return fault(err, DOM_NETWORK, OPERATION_INVALID,
                         "there is an existing dhcp host entry in network '%s' that matches \"%s\"",
                         node_get(def, "name"), text);
        }
        node_insert(parent, TAKE_PTR(entry));
        return 0;
    }
    if (have == NULL) {
        return fault(err, DOM_NETWORK, OPERATION_INVALID,
                     "couldn't locate a matching dhcp host entry in network '%s'",
                     node_get(def, "name"));
    }
    node_free(node_detach(have));
    if (command == CMD_MODIFY) {
        node_insert(parent, TAKE_PTR(entry));
    }
    return 0;
}

static int update(struct call *call, const struct remote_network_update_args *args,
                  struct err **err)
{
    struct network *n;
    unsigned flags = args->flags;
    int r = network_of_call(call, &args->net, &n, err);

    if (r < 0) {
        return r;
    }
    if ((flags & 3) == 0) {
        flags |= n->active ? 1 : 2;
    }
    if ((flags & 1) && !n->active) {
        return fault(err, DOM_NETWORK, OPERATION_INVALID, "network is not running");
    }
    if ((flags & 2) && !n->persistent) {
        return fault(err, DOM_NETWORK, OPERATION_INVALID,
                     "cannot change persistent config of a transient network");
    }
    if (flags & 2) {
        r = change(network_config(n), args->command, args->section, args->parentIndex, args->xml,
                   err);
        r = r == 0 ? network_save(n, err) : r;
    }
    if (r == 0 && (flags & 1) && network_config(n) != n->def) {
        r = change(n->def, args->command, args->section, args->parentIndex, args->xml, err);
    }
    return r == 0 && (flags & 1) && str_eq(call->world->driver->scheme, "qemu")
               ? dnsmasq_reload(n, err)
               : r;
}

/* ---- leases ---- */

struct leases {
    struct call *call;
    const struct remote_network_get_dhcp_leases_args *args;
    struct remote_network_get_dhcp_leases_ret *ret;
    const char *bridge;
    unsigned room;
};

static int take_lease(const struct lease *l, void *arg)
{
    struct leases *s = arg;
    struct arena *a = &s->call->arena;
    struct remote_network_dhcp_lease *to;

    if (s->args->mac != NULL && strcasecmp(s->args->mac, l->mac) != 0) {
        return 0;
    }
    s->ret->ret++;
    if (!s->args->need_results || s->ret->n_leases >= s->room) {
        return 0;
    }
    to = &s->ret->leases[s->ret->n_leases++];
    to->iface = arena_strdup(a, s->bridge);
    to->expirytime = l->expiry;
    to->type_ = l->v6 ? 1 : 0;
    to->mac = l->mac[0] != '\0' ? arena_strdup(a, l->mac) : NULL;
    to->iaid = l->iaid[0] != '\0' ? arena_strdup(a, l->iaid) : NULL;
    to->ipaddr = arena_strdup(a, l->ip);
    to->prefix = l->v6 ? 64 : 24;
    to->hostname = str_eq(l->hostname, "*") ? NULL : arena_strdup(a, l->hostname);
    to->clientid = str_eq(l->client_id, "*") ? NULL : arena_strdup(a, l->client_id);
    return 0;
}

static int get_dhcp_leases(struct call *call,
                           const struct remote_network_get_dhcp_leases_args *args,
                           struct remote_network_get_dhcp_leases_ret *ret, struct err **err)
{
    struct leases s = { .call = call, .args = args, .ret = ret, .room = 4096 };
    struct network *n;
    int r = network_of_call(call, &args->net, &n, err);

    if (r < 0) {
        return r;
    }
    if (!n->active) {
        return fault(err, DOM_NETWORK, OPERATION_INVALID, "network '%s' is not active", n->name);
    }
    ret->leases = arena_array(&call->arena, s.room, sizeof(*ret->leases));
    s.bridge = network_bridge(n);
    return ret->leases != NULL ? dnsmasq_leases(n, take_lease, &s) : -ENOMEM;
}

static int list_ports(struct call *call, const struct remote_network_list_all_ports_args *args,
                      struct remote_network_list_all_ports_ret *ret, struct err **err)
{
    struct network *n;

    ret->ret = 0;
    return network_of_call(call, &args->network, &n, err);
}

const struct remote_ops calls_network = {
    .connect_list_all_networks = list_all,
    .connect_num_of_networks = num,
    .connect_num_of_defined_networks = num_defined,
    .connect_list_networks = list,
    .connect_list_defined_networks = list_defined,
    .network_lookup_by_name = by_name,
    .network_lookup_by_uuid = by_uuid,
    .network_get_xml_desc = xml,
    .network_is_active = is_active,
    .network_is_persistent = is_persistent,
    .network_get_autostart = get_autostart,
    .network_get_bridge_name = get_bridge_name,
    .network_define_xml = define_xml,
    .network_define_xml_flags = define_xml_flags,
    .network_create_xml = create_xml,
    .network_create_xml_flags = create_xml_flags,
    .network_create = create,
    .network_destroy = destroy,
    .network_undefine = undefine,
    .network_set_autostart = set_autostart,
    .network_update = update,
    .network_get_dhcp_leases = get_dhcp_leases,
    .network_list_all_ports = list_ports,
};
