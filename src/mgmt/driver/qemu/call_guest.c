/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_guest.c - keys and NMIs into the guest, and what the guest agent does. */
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/agent.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/keys.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/network/dnsmasq.h"
#include "mgmt/object/network.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

enum {
    SOURCE_LEASE,
    SOURCE_AGENT,
    SOURCE_ARP,
    CODESET_LINUX = 0,
    IFACES_MAX = 256,
    ADDRS_MAX = 64
};

int qemu_domain_send_key(struct call *call, const struct remote_domain_send_key_args *args,
                         struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct json_object *a, *keys;
    int r = use_begin(call, &args->dom, true, &u, err);

    if (r < 0) {
        return r;
    }
    a = json_object_new_object();
    keys = json_object_new_array();
    for (uint32_t i = 0; i < args->n_keycodes; i++) {
        struct json_object *k = json_object_new_object();
        int code = keys_to_qnum(args->codeset, args->keycodes[i]);

        if (code < 0) {
            json_object_put(a);
            json_object_put(keys);
            json_object_put(k);
            return fault(err, DOM_QEMU, INVALID_ARG,
                         "cannot translate keycode %u of codeset %u to rfb keycode",
                         args->keycodes[i], args->codeset);
        }
        (void)json_add_str(k, "type", "number");
        (void)json_add_i64(k, "data", code);
        json_object_array_add(keys, k);
    }
    (void)json_add(a, "keys", keys);
    if (args->holdtime > 0) {
        (void)json_add_u64(a, "hold-time", args->holdtime);
    }
    return monitor_run(run_of(u.d)->qmp, "send-key", a, NULL, err);
}

int qemu_domain_inject_nmi(struct call *call, const struct remote_domain_inject_nmi_args *args,
                           struct err **err)
{
    AUTO_USE struct use u = { 0 };
    int r = use_begin(call, &args->dom, true, &u, err);

    return r == 0 ? monitor_run(run_of(u.d)->qmp, "inject-nmi", NULL, NULL, err) : r;
}

int qemu_domain_pm_suspend_for_duration(
    struct call *call, const struct remote_domain_pm_suspend_for_duration_args *args,
    struct err **err)
{
    static const char *const commands[] = { "guest-suspend-ram", "guest-suspend-disk",
                                            "guest-suspend-hybrid" };
    AUTO_USE struct use u = { 0 };
    int r = use_begin(call, &args->dom, true, &u, err);

    if (r < 0) {
        return r;
    }
    if (args->duration != 0) {
        return fault(err, DOM_QEMU, ARGUMENT_UNSUPPORTED, "Duration not supported. Use 0 for now");
    }
    if (args->target > 2) {
        return fault(err, DOM_QEMU, INVALID_ARG, "Unknown suspend target: %u", args->target);
    }
    return agent_run(u.d, commands[args->target], NULL, NULL, err);
}

int qemu_domain_pm_wakeup(struct call *call, const struct remote_domain_pm_wakeup_args *args,
                          struct err **err)
{
    AUTO_USE struct use u = { 0 };
    int r = use_begin(call, &args->dom, true, &u, err);

    return r == 0 ? monitor_run(run_of(u.d)->qmp, "system_wakeup", NULL, NULL, err) : r;
}

int qemu_domain_get_hostname(struct call *call, const struct remote_domain_get_hostname_args *args,
                             struct remote_domain_get_hostname_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    AUTO_JSON struct json_object *o = NULL;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? agent_run(u.d, "guest-get-host-name", NULL, &o, err) : r;
    if (r == 0) {
        ret->hostname = arena_strdup(&call->arena, json_str_or(o, "host-name", ""));
    }
    return r;
}

int qemu_domain_fstrim(struct call *call, const struct remote_domain_fstrim_args *args,
                       struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct json_object *a;
    int r = use_begin(call, &args->dom, true, &u, err);

    if (r < 0) {
        return r;
    }
    if (args->mountPoint != NULL) {
        return fault(err, DOM_QEMU, ARGUMENT_UNSUPPORTED,
                     "Specifying mount point is not supported for now");
    }
    a = json_object_new_object();
    (void)json_add_u64(a, "minimum", args->minimum);
    return agent_run(u.d, "guest-fstrim", a, NULL, err);
}

int qemu_domain_fsfreeze(struct call *call, const struct remote_domain_fsfreeze_args *args,
                         struct remote_domain_fsfreeze_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    int r = use_begin(call, &args->dom, true, &u, err);

    return r == 0
               ? agent_freeze(u.d, args->mountpoints, args->n_mountpoints, &ret->filesystems, err)
               : r;
}

int qemu_domain_fsthaw(struct call *call, const struct remote_domain_fsthaw_args *args,
                       struct remote_domain_fsthaw_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    int r = use_begin(call, &args->dom, true, &u, err);

    return r == 0 ? agent_thaw(u.d, &ret->filesystems, err) : r;
}

int qemu_domain_get_time(struct call *call, const struct remote_domain_get_time_args *args,
                         struct remote_domain_get_time_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    AUTO_JSON struct json_object *o = NULL;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? agent_run(u.d, "guest-get-time", NULL, &o, err) : r;
    if (r == 0) {
        int64_t ns = json_object_get_int64(o);

        ret->seconds = ns / 1000000000;
        ret->nseconds = (uint32_t)(ns % 1000000000);
    }
    return r;
}

int qemu_domain_set_time(struct call *call, const struct remote_domain_set_time_args *args,
                         struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct json_object *a = NULL;
    int r = use_begin(call, &args->dom, true, &u, err);

    if (r < 0) {
        return r;
    }
    if (!(args->flags & 1)) {
        a = json_object_new_object();
        (void)json_add_i64(a, "time", args->seconds * 1000000000 + args->nseconds);
    }
    r = agent_run(u.d, "guest-set-time", a, NULL, err);
    if (r == 0 && domain_active(u.d)) {
        (void)monitor_run(run_of(u.d)->qmp, "rtc-reset-reinjection", NULL, NULL, NULL);
    }
    return r;
}

int qemu_domain_set_user_password(struct call *call,
                                  const struct remote_domain_set_user_password_args *args,
                                  struct err **err)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    AUTO_USE struct use u = { 0 };
    struct strbuf b = STRBUF_INIT(65536);
    AUTO_FREE char *text = NULL;
    struct json_object *a;
    const char *p = args->password != NULL ? args->password : "";
    size_t len = strlen(p);
    int r = use_begin(call, &args->dom, true, &u, err);

    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)(uint8_t)p[i] << 16 |
                     (i + 1 < len ? (uint32_t)(uint8_t)p[i + 1] << 8 : 0) |
                     (i + 2 < len ? (uint8_t)p[i + 2] : 0);

        strbuf_printf(&b, "%c%c%c%c", alphabet[v >> 18], alphabet[v >> 12 & 63],
                      i + 1 < len ? alphabet[v >> 6 & 63] : '=',
                      i + 2 < len ? alphabet[v & 63] : '=');
    }
    text = strbuf_take(&b);
    a = json_object_new_object();
    (void)json_add_str(a, "username", args->user != NULL ? args->user : "");
    (void)json_add_str(a, "password", text != NULL ? text : "");
    (void)json_add_bool(a, "crypted", (args->flags & 1) != 0);
    return agent_run(u.d, "guest-set-user-password", a, NULL, err);
}

int qemu_domain_get_fsinfo(struct call *call, const struct remote_domain_get_fsinfo_args *args,
                           struct remote_domain_get_fsinfo_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    AUTO_JSON struct json_object *o = NULL;
    size_t n;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? agent_run(u.d, "guest-get-fsinfo", NULL, &o, err) : r;
    if (r < 0) {
        return r;
    }
    n = json_object_is_type(o, json_type_array) ? json_object_array_length(o) : 0;
    n = n > 256 ? 256 : n;
    ret->info = arena_array(&call->arena, n + 1, sizeof(*ret->info));
    if (ret->info == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        struct json_object *f = json_object_array_get_idx(o, i);

        ret->info[i].mountpoint = arena_strdup(&call->arena, json_str_or(f, "mountpoint", ""));
        ret->info[i].name = arena_strdup(&call->arena, json_str_or(f, "name", ""));
        ret->info[i].fstype = arena_strdup(&call->arena, json_str_or(f, "type", ""));
    }
    ret->n_info = ret->ret = (uint32_t)n;
    return 0;
}

int qemu_domain_get_guest_info(struct call *call,
                               const struct remote_domain_get_guest_info_args *args,
                               struct remote_domain_get_guest_info_ret *ret, struct err **err)
{
    static const struct {
        const char *key, *field;
    } os_rows[] = { { "id", "os.id" },
                    { "name", "os.name" },
                    { "pretty-name", "os.pretty-name" },
                    { "version", "os.version" },
                    { "version-id", "os.version-id" },
                    { "machine", "os.machine" },
                    { "kernel-release", "os.kernel-release" },
                    { "kernel-version", "os.kernel-version" } };
    AUTO_USE struct use u = { 0 };
    AUTO_JSON struct json_object *os = NULL;
    AUTO_JSON struct json_object *host = NULL;
    struct params p = { .arena = &call->arena };
    unsigned types = args->types != 0 ? args->types : ~0u;
    int r = use_begin(call, &args->dom, true, &u, err);

    if (r == 0 && (types & 2)) {
        r = agent_run(u.d, "guest-get-osinfo", NULL, &os, err);
        for (size_t i = 0; r == 0 && i < sizeof(os_rows) / sizeof(os_rows[0]); i++) {
            if (json_member(os, os_rows[i].key) != NULL) {
                params_str(&p, os_rows[i].field, json_str_or(os, os_rows[i].key, ""));
            }
        }
    }
    if (r == 0 && (types & 8)) {
        r = agent_run(u.d, "guest-get-host-name", NULL, &host, err);
        if (r == 0) {
            params_str(&p, "hostname", json_str_or(host, "host-name", ""));
        }
    }
    ret->params = p.list;
    ret->n_params = p.n;
    return r;
}

int qemu_domain_get_guest_vcpus(struct call *call,
                                const struct remote_domain_get_guest_vcpus_args *args,
                                struct remote_domain_get_guest_vcpus_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    AUTO_JSON struct json_object *o = NULL;
    struct params p = { .arena = &call->arena };
    uint8_t all[128] = { 0 }, online[128] = { 0 }, off[128] = { 0 };
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? agent_run(u.d, "guest-get-vcpus", NULL, &o, err) : r;
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; json_object_is_type(o, json_type_array) && i < json_object_array_length(o);
         i++) {
        struct json_object *v = json_object_array_get_idx(o, i);
        int64_t id = json_i64_or(v, "logical-id", -1);

        if (id < 0 || id >= 1024) {
            continue;
        }
        all[id / 8] |= (uint8_t)(1u << (id % 8));
        if (json_bool_or(v, "online", false)) {
            online[id / 8] |= (uint8_t)(1u << (id % 8));
        }
        if (json_bool_or(v, "can-offline", false)) {
            off[id / 8] |= (uint8_t)(1u << (id % 8));
        }
    }
    {
        AUTO_FREE char *a = cpuset_format(all, sizeof(all)),
                       *b = cpuset_format(online, sizeof(online)),
                       *c = cpuset_format(off, sizeof(off));

        params_str(&p, "vcpus", a);
        params_str(&p, "online", b);
        params_str(&p, "offlinable", c);
    }
    ret->params = p.list;
    ret->n_params = p.n;
    return 0;
}

int qemu_domain_agent_set_response_timeout(
    struct call *call, const struct remote_domain_agent_set_response_timeout_args *args,
    struct remote_domain_agent_set_response_timeout_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;

    ret->result = 0;
    return domain_of_call(call, &args->dom, &d, err);
}

/* ---- addresses ---- */

struct lease_search {
    struct call *call;
    const char *mac;
    struct remote_domain_interface *to;
};

static int lease_of(const struct lease *l, void *arg)
{
    struct lease_search *s = arg;

    if (strcasecmp(l->mac, s->mac) == 0 && s->to->n_addrs < ADDRS_MAX) {
        struct remote_domain_ip_addr *a = &s->to->addrs[s->to->n_addrs++];

        a->type_ = l->v6 ? 1 : 0;
        a->addr = arena_strdup(&s->call->arena, l->ip);
        a->prefix = l->v6 ? 64 : 24;
    }
    return 0;
}

static int from_leases(struct call *call, struct domain *d,
                       struct remote_domain_interface_addresses_ret *ret)
{
    for (const struct node *n = node_child(domain_devices(d->def), "interface"); n != NULL;
         n = node_next(n, "interface")) {
        struct network *net = node_is(n, "@type", "network")
                                  ? network_by_name(call->world, node_get(n, "source/@network"))
                                  : NULL;
        struct remote_domain_interface *to;
        struct lease_search s = { .call = call, .mac = node_get(n, "mac/@address") };

        if (net == NULL || ret->n_ifaces >= IFACES_MAX) {
            continue;
        }
        to = &ret->ifaces[ret->n_ifaces];
        to->name = arena_strdup(&call->arena,
                                node_get(n, "target/@dev") ? node_get(n, "target/@dev") : "");
        to->hwaddr = arena_strdup(&call->arena, s.mac);
        to->addrs = arena_array(&call->arena, ADDRS_MAX, sizeof(*to->addrs));
        if (to->addrs == NULL) {
            return -ENOMEM;
        }
        s.to = to;
        (void)dnsmasq_leases(net, lease_of, &s);
        if (to->n_addrs > 0) {
            ret->n_ifaces++;
        }
    }
    return 0;
}

static int from_agent(struct call *call, struct domain *d,
                      struct remote_domain_interface_addresses_ret *ret, struct err **err)
{
    AUTO_JSON struct json_object *o = NULL;
    int r = agent_run(d, "guest-network-get-interfaces", NULL, &o, err);

    for (size_t i = 0; r == 0 && json_object_is_type(o, json_type_array) &&
                       i < json_object_array_length(o) && i < IFACES_MAX;
         i++) {
        struct json_object *f = json_object_array_get_idx(o, i),
                           *list = json_member(f, "ip-addresses");
        struct remote_domain_interface *to = &ret->ifaces[ret->n_ifaces++];

        to->name = arena_strdup(&call->arena, json_str_or(f, "name", ""));
        to->hwaddr =
            arena_strdup(&call->arena, json_str_or(f, "hardware-address", "00:00:00:00:00:00"));
        to->addrs = arena_array(&call->arena, ADDRS_MAX, sizeof(*to->addrs));
        if (to->addrs == NULL) {
            return -ENOMEM;
        }
        for (size_t k = 0; list != NULL && json_object_is_type(list, json_type_array) &&
                           k < json_object_array_length(list) && k < ADDRS_MAX;
             k++) {
            struct json_object *a = json_object_array_get_idx(list, k);

            to->addrs[to->n_addrs].type_ = str_eq(json_str_or(a, "ip-address-type", ""), "ipv6");
            to->addrs[to->n_addrs].addr =
                arena_strdup(&call->arena, json_str_or(a, "ip-address", ""));
            to->addrs[to->n_addrs++].prefix = (uint32_t)json_i64_or(a, "prefix", 0);
        }
    }
    return r;
}

int qemu_domain_interface_addresses(struct call *call,
                                    const struct remote_domain_interface_addresses_args *args,
                                    struct remote_domain_interface_addresses_ret *ret,
                                    struct err **err)
{
    AUTO_USE struct use u = { 0 };
    int r = use_begin(call, &args->dom, true, &u, err);

    ret->ifaces = arena_array(&call->arena, IFACES_MAX, sizeof(*ret->ifaces));
    if (r < 0 || ret->ifaces == NULL) {
        return r < 0 ? r : -ENOMEM;
    }
    switch (args->source) {
    case SOURCE_LEASE:
        return from_leases(call, u.d, ret);
    case SOURCE_AGENT:
        return from_agent(call, u.d, ret, err);
    case SOURCE_ARP:
        return 0;
    default:
        return fault(err, DOM_QEMU, ARGUMENT_UNSUPPORTED, "Unknown IP address data source %u",
                     args->source);
    }
}

int qemu_domain_get_launch_security_info(
    struct call *call, const struct remote_domain_get_launch_security_info_args *args,
    struct remote_domain_get_launch_security_info_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    (void)ret;
    return r == 0 ? fault(err, DOM_QEMU, OPERATION_UNSUPPORTED,
                          "launch security type is not supported by this domain")
                  : r;
}
