/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_network.c - virtual networks and the host's own interfaces. */
#include "tools/vireo/document.h"
#include "tools/vireo/shell.h"

#include <inttypes.h>
#include <time.h>

#define NETWORK(a, n)                     \
    AUTO_RET void *n##_keep = NULL;       \
    struct vireo_network n;               \
    if (find_network(a, &n, &n##_keep)) { \
        return -1;                        \
    }
#define INTERFACE(a, i)                     \
    AUTO_RET void *i##_keep = NULL;         \
    struct vireo_interface i;               \
    if (find_interface(a, &i, &i##_keep)) { \
        return -1;                          \
    }

#define SIMPLE(fn, object, call, done, failed)      \
    static int fn(struct shell *sh, struct args *a) \
    {                                               \
        object if ((call) < 0)                      \
        {                                           \
            return fail(failed " %s", o.name);      \
        }                                           \
        extra(sh, done "\n", o.name);               \
        return 0;                                   \
    }

SIMPLE(net_start, NETWORK(a, o), vireo_network_create(sh->conn, &o), "Network %s started",
       "Failed to start network")
SIMPLE(net_destroy, NETWORK(a, o), vireo_network_destroy(sh->conn, &o), "Network %s destroyed",
       "Failed to destroy network")
SIMPLE(net_undefine, NETWORK(a, o), vireo_network_undefine(sh->conn, &o),
       "Network %s has been undefined", "Failed to undefine network")
SIMPLE(iface_start, INTERFACE(a, o), vireo_interface_create(sh->conn, &o, 0),
       "Interface %s started", "Failed to start interface")
SIMPLE(iface_destroy, INTERFACE(a, o), vireo_interface_destroy(sh->conn, &o, 0),
       "Interface %s destroyed", "Failed to destroy interface")
SIMPLE(iface_undefine, INTERFACE(a, o), vireo_interface_undefine(sh->conn, &o),
       "Interface %s undefined", "Failed to undefine interface")

static int net_autostart(struct shell *sh, struct args *a)
{
    bool off = arg_set(a, "disable");

    NETWORK(a, n)
    if (vireo_network_set_autostart(sh->conn, &n, !off) < 0) {
        return off ? fail("failed to unmark network %s as autostarted", n.name)
                   : fail("failed to mark network %s as autostarted", n.name);
    }
    extra(sh, off ? "Network %s unmarked as autostarted\n" : "Network %s marked as autostarted\n",
          n.name);
    return 0;
}

static int net_define(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_network_define_xml_ret *plain = NULL;
    AUTO_RET struct vireo_network_define_xml_flags_ret *ret = NULL;
    AUTO_FREE char *xml = read_file(arg(a, "file"));

    if (xml == NULL) {
        return -1;
    }
    if ((arg_set(a, "validate") ? vireo_network_define_xml_flags(sh->conn, xml, 1, &ret)
                                : vireo_network_define_xml(sh->conn, xml, &plain)) < 0) {
        return fail("Failed to define network from %s", arg(a, "file"));
    }
    extra(sh, "Network %s defined from %s\n", ret != NULL ? ret->net.name : plain->net.name,
          arg(a, "file"));
    return 0;
}

static int net_create(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_network_create_xml_ret *plain = NULL;
    AUTO_RET struct vireo_network_create_xml_flags_ret *ret = NULL;
    AUTO_FREE char *xml = read_file(arg(a, "file"));

    if (xml == NULL) {
        return -1;
    }
    if ((arg_set(a, "validate") ? vireo_network_create_xml_flags(sh->conn, xml, 1, &ret)
                                : vireo_network_create_xml(sh->conn, xml, &plain)) < 0) {
        return fail("Failed to create network from %s", arg(a, "file"));
    }
    extra(sh, "Network %s created from %s\n", ret != NULL ? ret->net.name : plain->net.name,
          arg(a, "file"));
    return 0;
}

static int net_dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_network_get_xml_desc_ret *x = NULL;

    NETWORK(a, n)
    return vireo_network_get_xml_desc(sh->conn, &n, arg_set(a, "inactive") ? 1 : 0, &x) < 0
               ? fail_last()
               : print_xml(a, x->xml);
}

static int net_edit(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_network_get_xml_desc_ret *x = NULL;
    AUTO_RET struct vireo_network_define_xml_ret *ret = NULL;
    AUTO_FREE char *text = NULL;

    NETWORK(a, n)
    if (vireo_network_get_xml_desc(sh->conn, &n, 1, &x) < 0) {
        return fail_last();
    }
    if (edit_text(x->xml, &text)) {
        return -1;
    }
    if (text == NULL) {
        extra(sh, "Network %s XML configuration not changed.\n", n.name);
        return 0;
    }
    if (vireo_network_define_xml(sh->conn, text, &ret) < 0) {
        return fail_last();
    }
    extra(sh, "Network %s XML configuration edited.\n", ret->net.name);
    return 0;
}

static int net_name(struct shell *sh, struct args *a)
{
    (void)sh;
    NETWORK(a, n)
    printf("%s\n", n.name);
    return 0;
}

static int net_uuid(struct shell *sh, struct args *a)
{
    char text[37];

    (void)sh;
    NETWORK(a, n)
    uuid_text(n.uuid, text);
    printf("%s\n", text);
    return 0;
}

static int net_info(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_network_is_active_ret *active = NULL;
    AUTO_RET struct vireo_network_is_persistent_ret *persistent = NULL;
    AUTO_RET struct vireo_network_get_autostart_ret *autostart = NULL;
    AUTO_RET struct vireo_network_get_bridge_name_ret *bridge = NULL;
    char text[37];

    NETWORK(a, n)
    uuid_text(n.uuid, text);
    printf("%-15s %s\n%-15s %s\n", "Name:", n.name, "UUID:", text);
    if (vireo_network_is_active(sh->conn, &n, &active) == 0) {
        printf("%-15s %s\n", "Active:", active->active ? "yes" : "no");
    }
    printf("%-15s %s\n", "Persistent:",
           vireo_network_is_persistent(sh->conn, &n, &persistent) < 0 ? "unknown"
           : persistent->persistent                                   ? "yes"
                                                                      : "no");
    printf("%-15s %s\n", "Autostart:",
           vireo_network_get_autostart(sh->conn, &n, &autostart) < 0 ? "no autostart"
           : autostart->autostart                                    ? "yes"
                                                                     : "no");
    if (vireo_network_get_bridge_name(sh->conn, &n, &bridge) == 0 && bridge->name != NULL) {
        printf("%-15s %s\n", "Bridge:", bridge->name);
    }
    return 0;
}

static int net_by_name(const void *x, const void *y)
{
    return strcasecmp(((const struct vireo_network *)x)->name,
                      ((const struct vireo_network *)y)->name);
}

static int net_list(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "persistent", 4 },
                                         { "transient", 8 },
                                         { "autostart", 16 },
                                         { "no-autostart", 32 },
                                         { NULL, 0 } };
    AUTO_RET struct vireo_connect_list_all_networks_ret *ret = NULL;
    uint32_t bits = arg_flags(a, flags) | (arg_set(a, "all")        ? 3u
                                           : arg_set(a, "inactive") ? 1u
                                                                    : 2u);
    struct table *t = NULL;

    if (arg_exclusive(a, "table", "name") || arg_exclusive(a, "table", "uuid")) {
        return -1;
    }
    if (vireo_connect_list_all_networks(sh->conn, 1, bits, &ret) < 0) {
        return fail("Failed to list networks");
    }
    qsort(ret->nets, ret->n_nets, sizeof(ret->nets[0]), net_by_name);
    if (!arg_set(a, "name") && !arg_set(a, "uuid")) {
        t = table_new("Name", "State", "Autostart", "Persistent", NULL);
    }
    for (uint32_t i = 0; i < ret->n_nets; i++) {
        AUTO_RET struct vireo_network_is_active_ret *active = NULL;
        AUTO_RET struct vireo_network_is_persistent_ret *persistent = NULL;
        AUTO_RET struct vireo_network_get_autostart_ret *autostart = NULL;
        const struct vireo_network *n = &ret->nets[i];
        char text[37];

        uuid_text(n->uuid, text);
        if (t == NULL) {
            printf("%s\n", arg_set(a, "uuid") ? text : n->name);
            continue;
        }
        table_row(t, n->name,
                  vireo_network_is_active(sh->conn, n, &active) == 0 && active->active ? "active"
                                                                                       : "inactive",
                  vireo_network_get_autostart(sh->conn, n, &autostart) < 0 ? "no autostart"
                  : autostart->autostart                                   ? "yes"
                                                                           : "no",
                  vireo_network_is_persistent(sh->conn, n, &persistent) == 0 &&
                          persistent->persistent
                      ? "yes"
                      : "no");
    }
    table_print(t, sh, true);
    return 0;
}

static int net_update(struct shell *sh, struct args *a)
{
    static const char *const commands[] = { "none", "modify", "delete", "add-last", "add-first" };
    static const char *const sections[] = {
        "none",         "bridge",        "domain",   "ip",
        "ip-dhcp-host", "ip-dhcp-range", "forward",  "forward-interface",
        "forward-pf",   "portgroup",     "dns-host", "dns-txt",
        "dns-srv"
    };
    const char *command = arg(a, "command");
    AUTO_FREE char *xml = *arg(a, "xml") == '<' ? strdup(arg(a, "xml")) : read_file(arg(a, "xml"));
    uint32_t c = 0, s = 0, affect;
    int parent = -1;

    NETWORK(a, n)
    if (xml == NULL || arg_affect(a, &affect) || arg_int(a, "parent-index", &parent) < 0) {
        return -1;
    }
    command = str_eq(command, "add") ? "add-last" : command;
    for (uint32_t i = 1; i < 5; i++) {
        c = str_eq(commands[i], command) ? i : c;
    }
    for (uint32_t i = 1; i < 13; i++) {
        s = str_eq(sections[i], arg(a, "section")) ? i : s;
    }
    if (c == 0) {
        return error("unrecognized command name '%s'", arg(a, "command"));
    }
    if (s == 0) {
        return error("unrecognized section name '%s'", arg(a, "section"));
    }
    /* The daemon keeps the order in which libvirt before 7.2 had command and section. */
    if (vireo_network_update(sh->conn, &n, c, s, parent, xml, affect) < 0) {
        return fail("Failed to update network %s", n.name);
    }
    extra(sh,
          (affect & 2) && !(affect & 1) ? "Updated network %s persistent config"
          : affect == 3                 ? "Updated network %s persistent config and live state"
                                        : "Updated network %s live state",
          n.name);
    return 0;
}

static int leases(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_network_get_dhcp_leases_ret *ret = NULL;
    struct table *t;

    NETWORK(a, n)
    if (vireo_network_get_dhcp_leases(sh->conn, &n, arg(a, "mac"), 1, 0, &ret) < 0) {
        return fail("Failed to get leases info for %s", n.name);
    }
    t = table_new("Expiry Time", "MAC address", "Protocol", "IP address", "Hostname",
                  "Client ID or DUID", NULL);
    for (uint32_t i = 0; i < ret->n_leases; i++) {
        const struct vireo_network_dhcp_lease *l = &ret->leases[i];
        AUTO_FREE char *ip = str_format("%s/%u", l->ipaddr, l->prefix);
        char when[64];
        time_t at = (time_t)l->expirytime;
        struct tm tm;

        (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", localtime_r(&at, &tm));
        table_row(t, when, l->mac != NULL ? l->mac : "", l->type_ == 1 ? "ipv6" : "ipv4", ip,
                  l->hostname != NULL ? l->hostname : "-", l->clientid != NULL ? l->clientid : "-");
    }
    table_print(t, sh, true);
    return 0;
}

/* ---- ports ---- */

static int find_port(struct shell *sh, struct args *a, const struct vireo_network *n,
                     struct vireo_network_port *ret, void **keep)
{
    struct vireo_network_port_lookup_by_uuid_ret *r;
    uint8_t uuid[16];

    if (!uuid_read(arg(a, "port"), uuid) ||
        vireo_network_port_lookup_by_uuid(sh->conn, n, uuid, &r) < 0) {
        return fail("failed to get network port '%s'", arg(a, "port"));
    }
    *keep = r;
    *ret = r->port;
    return 0;
}

static int port_list(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_network_list_all_ports_ret *ret = NULL;
    struct table *t = NULL;

    NETWORK(a, n)
    if (vireo_network_list_all_ports(sh->conn, &n, 1, 0, &ret) < 0) {
        return fail("Failed to list network ports");
    }
    if (!arg_set(a, "uuid")) {
        t = table_new("UUID", NULL);
    }
    for (uint32_t i = 0; i < ret->n_ports; i++) {
        char text[37];

        uuid_text(ret->ports[i].uuid, text);
        if (t != NULL) {
            table_row(t, text);
        } else {
            printf("%s\n", text);
        }
    }
    table_print(t, sh, true);
    return 0;
}

static int port_create(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_network_port_create_xml_ret *ret = NULL;
    AUTO_FREE char *xml = read_file(arg(a, "file"));
    char text[37];

    NETWORK(a, n)
    if (xml == NULL) {
        return -1;
    }
    if (vireo_network_port_create_xml(sh->conn, &n, xml, arg_set(a, "validate") ? 2 : 0, &ret) <
        0) {
        return fail("Failed to create network from %s", arg(a, "file"));
    }
    uuid_text(ret->port.uuid, text);
    extra(sh, "Network port %s created from %s\n", text, arg(a, "file"));
    return 0;
}

static int port_dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_network_port_get_xml_desc_ret *x = NULL;
    AUTO_RET void *keep = NULL;
    struct vireo_network_port p;

    NETWORK(a, n)
    if (find_port(sh, a, &n, &p, &keep)) {
        return -1;
    }
    return vireo_network_port_get_xml_desc(sh->conn, &p, 0, &x) < 0 ? fail_last()
                                                                    : print_xml(a, x->xml);
}

static int port_delete(struct shell *sh, struct args *a)
{
    AUTO_RET void *keep = NULL;
    struct vireo_network_port p;

    NETWORK(a, n)
    if (find_port(sh, a, &n, &p, &keep)) {
        return -1;
    }
    if (vireo_network_port_delete(sh->conn, &p, 0) < 0) {
        return fail("Failed to delete network port %s", arg(a, "port"));
    }
    extra(sh, "Network port %s deleted\n", arg(a, "port"));
    return 0;
}

const struct shell_command network_commands[] = {
    { "net-autostart", "network! --disable", net_autostart,
      "start a network with the host, or no longer", false },
    { "net-create", "file! --validate", net_create, "start a network from an XML file", false },
    { "net-define", "file! --validate", net_define, "define a network from an XML file", false },
    { "net-destroy", "network!", net_destroy, "stop a network", false },
    { "net-dhcp-leases", "network! mac", leases, "list the addresses a network gave", false },
    { "net-dumpxml", "network! --inactive xpath --wrap", net_dumpxml, "print a network's XML",
      false },
    { "net-edit", "network!", net_edit, "edit a network's XML", false },
    { "net-info", "network!", net_info, "show a network's main facts", false },
    { "net-list",
      "--inactive --all --persistent --transient --autostart --no-autostart --uuid --name --table",
      net_list, "list networks", false },
    { "net-name", "network!", net_name, "show a network's name", false },
    { "net-port-create", "network! file! --validate", port_create, "make a network port", false },
    { "net-port-delete", "network! port!", port_delete, "delete a network port", false },
    { "net-port-dumpxml", "network! port! xpath --wrap", port_dumpxml, "print a network port's XML",
      false },
    { "net-port-list", "network! --uuid --table", port_list, "list a network's ports", false },
    { "net-start", "network!", net_start, "start a network", false },
    { "net-undefine", "network!", net_undefine, "forget a network's definition", false },
    { "net-update", "network! command! section! xml! parent-index# --config --live --current",
      net_update, "change a part of a network", false },
    { "net-uuid", "network!", net_uuid, "show a network's UUID", false },
    { NULL, NULL, NULL, NULL, false },
};

/* ---- the host's interfaces ---- */

static int iface_define(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_interface_define_xml_ret *ret = NULL;
    AUTO_FREE char *xml = read_file(arg(a, "file"));

    if (xml == NULL) {
        return -1;
    }
    if (vireo_interface_define_xml(sh->conn, xml, arg_set(a, "validate") ? 1 : 0, &ret) < 0) {
        return fail("Failed to define interface from %s", arg(a, "file"));
    }
    extra(sh, "Interface %s defined from %s\n", ret->iface.name, arg(a, "file"));
    return 0;
}

static int iface_dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_interface_get_xml_desc_ret *x = NULL;

    INTERFACE(a, i)
    return vireo_interface_get_xml_desc(sh->conn, &i, arg_set(a, "inactive") ? 1 : 0, &x) < 0
               ? fail_last()
               : print_xml(a, x->xml);
}

static int iface_edit(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_interface_get_xml_desc_ret *x = NULL;
    AUTO_RET struct vireo_interface_define_xml_ret *ret = NULL;
    AUTO_FREE char *text = NULL;

    INTERFACE(a, i)
    if (vireo_interface_get_xml_desc(sh->conn, &i, 1, &x) < 0) {
        return fail_last();
    }
    if (edit_text(x->xml, &text)) {
        return -1;
    }
    if (text == NULL) {
        extra(sh, "Interface %s XML configuration not changed.\n", i.name);
        return 0;
    }
    if (vireo_interface_define_xml(sh->conn, text, 0, &ret) < 0) {
        return fail_last();
    }
    extra(sh, "Interface %s XML configuration edited.\n", ret->iface.name);
    return 0;
}

static int iface_by_name(const void *x, const void *y)
{
    return strcasecmp(((const struct vireo_interface *)x)->name,
                      ((const struct vireo_interface *)y)->name);
}

static int iface_list(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_list_all_interfaces_ret *ret = NULL;
    struct table *t;

    if (vireo_connect_list_all_interfaces(sh->conn, 1,
                                          arg_set(a, "all")        ? 3
                                          : arg_set(a, "inactive") ? 1
                                                                   : 2,
                                          &ret) < 0) {
        return fail("Failed to list interfaces");
    }
    qsort(ret->ifaces, ret->n_ifaces, sizeof(ret->ifaces[0]), iface_by_name);
    t = table_new("Name", "State", "MAC Address", NULL);
    for (uint32_t i = 0; i < ret->n_ifaces; i++) {
        AUTO_RET struct vireo_interface_is_active_ret *active = NULL;

        table_row(t, ret->ifaces[i].name,
                  vireo_interface_is_active(sh->conn, &ret->ifaces[i], &active) == 0 &&
                          active->active
                      ? "active"
                      : "inactive",
                  ret->ifaces[i].mac);
    }
    table_print(t, sh, true);
    return 0;
}

static int iface_mac(struct shell *sh, struct args *a)
{
    (void)sh;
    INTERFACE(a, i)
    printf("%s\n", i.mac);
    return 0;
}

static int iface_name(struct shell *sh, struct args *a)
{
    (void)sh;
    INTERFACE(a, i)
    printf("%s\n", i.name);
    return 0;
}

static int iface_begin(struct shell *sh, struct args *a)
{
    (void)a;
    if (vireo_interface_change_begin(sh->conn, 0) < 0) {
        return fail("Failed to begin network config change transaction");
    }
    extra(sh, "Network config change transaction started\n");
    return 0;
}

static int iface_commit(struct shell *sh, struct args *a)
{
    (void)a;
    if (vireo_interface_change_commit(sh->conn, 0) < 0) {
        return fail("Failed to commit network config change transaction");
    }
    extra(sh, "Network config change transaction committed\n");
    return 0;
}

static int iface_rollback(struct shell *sh, struct args *a)
{
    (void)a;
    if (vireo_interface_change_rollback(sh->conn, 0) < 0) {
        return fail("Failed to rollback network config change transaction");
    }
    extra(sh, "Network config change transaction rolled back\n");
    return 0;
}

static int iface_bridge(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_interface_get_xml_desc_ret *x = NULL;
    AUTO_RET struct vireo_interface_define_xml_ret *ret = NULL;
    AUTO_FREE char *xml = NULL;
    unsigned delay = 0;

    if (arg_uint(a, "delay", &delay) < 0) {
        return -1;
    }
    INTERFACE(a, i)
    if (vireo_interface_get_xml_desc(sh->conn, &i, 1, &x) < 0) {
        return fail("Failed to get interface XML");
    }
    xml = str_format(
        "<interface type='bridge' name='%s'>\n  <start mode='onboot'/>\n  <bridge stp='%s' delay='%u'>\n    <interface type='ethernet' name='%s'/>\n  </bridge>\n</interface>\n",
        arg(a, "bridge"), arg_set(a, "no-stp") ? "off" : "on", delay, i.name);
    if (xml == NULL || vireo_interface_define_xml(sh->conn, xml, 0, &ret) < 0) {
        return fail("Failed to define new bridge interface %s", arg(a, "bridge"));
    }
    extra(sh, "Created bridge %s with attached device %s\n", arg(a, "bridge"), i.name);
    if (!arg_set(a, "no-start")) {
        if (vireo_interface_create(sh->conn, &ret->iface, 0) < 0) {
            return fail("Failed to start bridge interface %s", arg(a, "bridge"));
        }
        extra(sh, "Bridge interface %s started\n", arg(a, "bridge"));
    }
    return 0;
}

static int iface_unbridge(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_interface_lookup_by_name_ret *found = NULL;

    if (vireo_interface_lookup_by_name(sh->conn, arg(a, "bridge"), &found) < 0) {
        return fail("failed to get interface '%s'", arg(a, "bridge"));
    }
    if (vireo_interface_destroy(sh->conn, &found->iface, 0) < 0) {
        return fail("Failed to destroy bridge interface %s", arg(a, "bridge"));
    }
    if (vireo_interface_undefine(sh->conn, &found->iface) < 0) {
        return fail("Failed to undefine bridge interface %s", arg(a, "bridge"));
    }
    extra(sh, "Bridge %s removed\n", arg(a, "bridge"));
    return 0;
}

const struct shell_command interface_commands[] = {
    { "iface-begin", "", iface_begin, "begin a change of the host's interfaces", false },
    { "iface-bridge", "interface! bridge! --no-stp delay# --no-start", iface_bridge,
      "put an interface on a new bridge", false },
    { "iface-commit", "", iface_commit, "keep a change of the host's interfaces", false },
    { "iface-define", "file! --validate", iface_define, "define a host interface from an XML file",
      false },
    { "iface-destroy", "interface!", iface_destroy, "stop a host interface", false },
    { "iface-dumpxml", "interface! --inactive xpath --wrap", iface_dumpxml,
      "print a host interface's XML", false },
    { "iface-edit", "interface!", iface_edit, "edit a host interface's XML", false },
    { "iface-list", "--inactive --all", iface_list, "list host interfaces", false },
    { "iface-mac", "interface!", iface_mac, "show a host interface's MAC address", false },
    { "iface-name", "interface!", iface_name, "show a host interface's name", false },
    { "iface-rollback", "", iface_rollback, "take a change of the host's interfaces back", false },
    { "iface-start", "interface!", iface_start, "start a host interface", false },
    { "iface-unbridge", "bridge! --no-start", iface_unbridge, "take a bridge away", false },
    { "iface-undefine", "interface!", iface_undefine, "forget a host interface's definition",
      false },
    { NULL, NULL, NULL, NULL, false },
};
