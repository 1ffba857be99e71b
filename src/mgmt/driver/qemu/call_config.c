/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_config.c - memory, vCPUs and tunables of a domain, now and for its next start. */
#include "mgmt/driver/qemu/agent.h"
#include "mgmt/driver/qemu/events.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/host/topology.h"
#include "mgmt/model/units.h"
#include "mgmt/server/lock.h"
#include "os/loop.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

enum {
    MEM_MAXIMUM = 4,
    VCPU_MAXIMUM = 4,
    VCPU_GUEST = 8,
    VCPU_HOTPLUGGABLE = 16,
    UNPLUG_USEC = 5000000
};

/* A change to make in each definition that the flags name; the live one may be NULL. */
typedef int change_fn(struct node *def, void *arg, struct err **err);

static int change(struct domain *d, unsigned flags, change_fn *live_fn, change_fn *config_fn,
                  void *arg, struct err **err)
{
    struct node *live, *config;
    int r = domain_affects(d, flags, &live, &config, err);

    if (r == 0 && live != NULL) {
        r = live_fn != NULL ? live_fn(live, arg, err)
                            : fault(err, DOM_QEMU, OPERATION_UNSUPPORTED,
                                    "cannot be changed while the domain runs");
        if (r == 0) {
            process_save(d);
        }
    }
    if (r == 0 && config != NULL && config != live) {
        r = config_fn(config, arg, err);
        r = r == 0 ? domain_save_config(d, err) : r;
    }
    return r;
}

/* ---- memory ---- */

static int set_memory(struct call *call, const struct remote_domain *wire, uint64_t kib,
                      unsigned flags, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct node *live, *config;
    int r = use_begin(call, wire, false, &u, err);

    r = r == 0 ? domain_affects(u.d, flags, &live, &config, err) : r;
    if (r < 0) {
        return r;
    }
    if (flags & MEM_MAXIMUM) {
        if (live != NULL) {
            return fault(err, DOM_QEMU, OPERATION_INVALID,
                         "cannot resize the maximum memory on an active domain");
        }
        r = node_setf(config, "memory", "%llu", (unsigned long long)kib);
        if (r == 0 && node_get_u64(config, "currentMemory", 0) > kib) {
            r = node_setf(config, "currentMemory", "%llu", (unsigned long long)kib);
        }
        return r == 0 ? domain_save_config(u.d, err) : r;
    }
    if (kib > node_get_u64(live != NULL ? live : config, "memory", 0)) {
        return fault(err, DOM_QEMU, INVALID_ARG, "cannot set memory higher than max memory");
    }
    if (live != NULL) {
        struct json_object *a = json_object_new_object();

        (void)json_add_u64(a, "value", kib * 1024);
        r = monitor_run(run_of(u.d)->qmp, "balloon", a, NULL, err);
        if (r < 0) {
            return r;
        }
    }
    if (config != NULL && config != live) {
        r = node_setf(config, "currentMemory", "%llu", (unsigned long long)kib);
        r = r == 0 ? domain_save_config(u.d, err) : r;
    }
    return r;
}

int qemu_domain_set_memory(struct call *call, const struct remote_domain_set_memory_args *args,
                           struct err **err)
{
    return set_memory(call, &args->dom, args->memory, AFFECT_LIVE, err);
}

int qemu_domain_set_max_memory(struct call *call,
                               const struct remote_domain_set_max_memory_args *args,
                               struct err **err)
{
    return set_memory(call, &args->dom, args->memory, MEM_MAXIMUM, err);
}

int qemu_domain_set_memory_flags(struct call *call,
                                 const struct remote_domain_set_memory_flags_args *args,
                                 struct err **err)
{
    return set_memory(call, &args->dom, args->memory, args->flags, err);
}

struct period {
    int seconds;
    struct domain *d;
};

static int period_config(struct node *def, void *arg, struct err **err)
{
    struct period *p = arg;
    struct node *b = node_child(domain_devices(def), "memballoon");

    if (b == NULL || node_is(b, "@model", "none")) {
        return fault(err, DOM_QEMU, OPERATION_INVALID,
                     "Memory balloon model must be virtio to set the collection period");
    }
    if (p->seconds == 0) {
        node_remove(b, "stats");
        return 0;
    }
    return node_setf(b, "stats/@period", "%d", p->seconds);
}

static int period_live(struct node *def, void *arg, struct err **err)
{
    struct period *p = arg;
    struct json_object *a = json_object_new_object();
    int r;

    (void)json_add_str(a, "path", "/machine/peripheral/balloon0");
    (void)json_add_str(a, "property", "guest-stats-polling-interval");
    (void)json_add_i64(a, "value", p->seconds);
    r = monitor_run(run_of(p->d)->qmp, "qom-set", a, NULL, err);
    return r == 0 ? period_config(def, arg, err) : r;
}

int qemu_domain_set_memory_stats_period(
    struct call *call, const struct remote_domain_set_memory_stats_period_args *args,
    struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct period p = { .seconds = args->period };
    int r = use_begin(call, &args->dom, false, &u, err);

    p.d = u.d;
    if (r == 0 && args->period < 0) {
        return fault(err, DOM_QEMU, INVALID_ARG, "invalid value for collection period '%d'",
                     args->period);
    }
    return r == 0 ? change(u.d, args->flags, period_live, period_config, &p, err) : r;
}

/* ---- vCPUs ---- */

static int vcpus_config(struct domain *d, struct node *def, unsigned n, bool maximum,
                        struct err **err)
{
    uint64_t max = node_get_u64(def, "vcpu", 1);

    (void)d;
    if (maximum) {
        if (node_child(node_child(def, "cpu"), "topology") != NULL) {
            return fault(err, DOM_QEMU, INVALID_ARG,
                         "CPU topology doesn't match the desired vcpu count");
        }
        if (node_get_u64(def, "vcpu/@current", max) > n ||
            node_get_u64(def, "vcpu/@current", 0) == n) {
            (void)node_set_attr(node_child(def, "vcpu"), "current", NULL);
        } else if (node_get(def, "vcpu/@current") == NULL && n > max &&
                   node_setf(def, "vcpu/@current", "%llu", (unsigned long long)max) < 0) {
            return -ENOMEM;
        }
        return node_setf(def, "vcpu", "%u", n);
    }
    if (n > max) {
        return fault(err, DOM_QEMU, INVALID_ARG,
                     "requested vcpus is greater than max allowable vcpus for the %s "
                     "domain: %u > %llu",
                     domain_active(d) && def == d->def ? "live" : "persistent", n,
                     (unsigned long long)max);
    }
    if (n == max) {
        return node_set_attr(node_child(def, "vcpu"), "current", NULL);
    }
    return node_setf(def, "vcpu/@current", "%u", n);
}

static int refresh_vcpus(struct domain *d, struct err **err)
{
    struct run *r = run_of(d);
    AUTO_JSON struct json_object *cpus = NULL;
    int result = monitor_run(r->qmp, "query-cpus-fast", NULL, &cpus, err);

    if (result < 0) {
        return result;
    }
    r->n_vcpu_pids = 0;
    for (size_t i = 0; i < json_object_array_length(cpus) && i < VCPUS_TRACKED_MAX; i++) {
        r->vcpu_pids[r->n_vcpu_pids++] =
            (pid_t)json_i64_or(json_object_array_get_idx(cpus, i), "thread-id", 0);
    }
    return 0;
}

/* Plugs the free slot, or takes out a pluggable one, until n are there. */
static int vcpus_live(struct domain *d, unsigned n, struct err **err)
{
    struct run *run = run_of(d);
    AUTO_JSON struct json_object *slots = NULL;
    unsigned have = run->n_vcpu_pids;
    size_t count;
    int r = monitor_run(run->qmp, "query-hotpluggable-cpus", NULL, &slots, err);

    if (r < 0) {
        return r;
    }
    count = json_object_array_length(slots);
    /* QEMU lists the highest first. */
    for (size_t i = count; have < n && i-- > 0;) {
        struct json_object *s = json_object_array_get_idx(slots, i), *props, *a;
        AUTO_FREE char *id = NULL;

        if (json_member(s, "qom-path") != NULL) {
            continue;
        }
        props = json_member(s, "props");
        a = json_object_new_object();
        id = str_format("vcpu%u", have);
        (void)json_add_str(a, "driver", json_str_or(s, "type", ""));
        (void)json_add_str(a, "id", id != NULL ? id : "");
        json_object_object_foreach(props, key, v)
        {
            (void)json_object_object_add(a, key, json_object_get(v));
        }
        r = monitor_run(run->qmp, "device_add", a, NULL, err);
        if (r < 0) {
            return r;
        }
        have++;
    }
    while (have > n) {
        AUTO_FREE char *id = str_format("vcpu%u", have - 1);
        struct device_wait w = { .alias = id };
        struct json_object *a = json_object_new_object();
        uint64_t until = loop_now_usec() + UNPLUG_USEC;

        (void)json_add_str(a, "id", id != NULL ? id : "");
        list_append(&run->pending, &w.link);
        r = monitor_run(run->qmp, "device_del", a, NULL, err);
        while (r == 0 && !w.gone && !w.refused && run->domain != NULL &&
               lock_wait(&run->changed, until)) {
        }
        list_remove(&w.link);
        if (r < 0) {
            return r;
        }
        if (!w.gone) {
            return fault(err, DOM_QEMU, OPERATION_TIMEOUT,
                         "vcpu unplug request timed out. Unplug result must be "
                         "manually inspected in the domain");
        }
        have--;
    }
    r = refresh_vcpus(d, err);
    return r == 0 ? vcpus_config(d, d->def, n, false, err) : r;
}

static int set_vcpus(struct call *call, const struct remote_domain *wire, unsigned n,
                     unsigned flags, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct node *live, *config;
    int r = use_begin(call, wire, false, &u, err);

    r = r == 0 ? domain_affects(u.d, flags, &live, &config, err) : r;
    if (r < 0) {
        return r;
    }
    if (n == 0) {
        return fault(err, DOM_DOMAIN, INVALID_ARG,
                     "nvcpus in virDomainSetVcpusFlags must not be zero");
    }
    if (flags & VCPU_GUEST) {
        return fault(err, DOM_QEMU, ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured");
    }
    if ((flags & VCPU_MAXIMUM) && live != NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG,
                     "maximum vcpu count of a live domain can't be modified");
    }
    if (live != NULL) {
        uint64_t max = node_get_u64(live, "vcpu", 1);

        if (n > max) {
            return fault(
                err, DOM_QEMU, INVALID_ARG,
                "requested vcpus is greater than max allowable vcpus for the live domain: %u > %llu",
                n, (unsigned long long)max);
        }
        r = vcpus_live(u.d, n, err);
        process_save(u.d);
    }
    if (r == 0 && config != NULL && config != live) {
        r = vcpus_config(u.d, config, n, (flags & VCPU_MAXIMUM) != 0, err);
        r = r == 0 ? domain_save_config(u.d, err) : r;
    }
    return r;
}

int qemu_domain_set_vcpus(struct call *call, const struct remote_domain_set_vcpus_args *args,
                          struct err **err)
{
    return set_vcpus(call, &args->dom, args->nvcpus, AFFECT_LIVE, err);
}

int qemu_domain_set_vcpus_flags(struct call *call,
                                const struct remote_domain_set_vcpus_flags_args *args,
                                struct err **err)
{
    return set_vcpus(call, &args->dom, args->nvcpus, args->flags, err);
}

int qemu_domain_get_vcpus_flags(struct call *call,
                                const struct remote_domain_get_vcpus_flags_args *args,
                                struct remote_domain_get_vcpus_flags_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct node *def;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r == 0 && (args->flags & VCPU_GUEST)) {
        AUTO_JSON struct json_object *o = NULL;

        r = domain_check_active(d, err);
        r = r == 0 ? agent_run(d, "guest-get-vcpus", NULL, &o, err) : r;
        if (r == 0 && json_object_is_type(o, json_type_array)) {
            ret->num = (int32_t)json_object_array_length(o);
        }
        return r;
    }
    r = r == 0 ? domain_def_of(d, args->flags, &def, err) : r;
    if (r == 0) {
        uint64_t max = node_get_u64(def, "vcpu", 1);

        ret->num =
            (int32_t)(args->flags & VCPU_MAXIMUM ? max : node_get_u64(def, "vcpu/@current", max));
    }
    return r;
}

int qemu_domain_set_vcpu(struct call *call, const struct remote_domain_set_vcpu_args *args,
                         struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct node *live, *config;
    uint8_t map[128];
    unsigned n = 0;
    uint64_t max, cur;
    int r = use_begin(call, &args->dom, false, &u, err);

    r = r == 0 ? domain_affects(u.d, args->flags, &live, &config, err) : r;
    if (r < 0) {
        return r;
    }
    if (cpuset_parse(args->cpumap, map, sizeof(map)) < 0) {
        return fault(err, DOM_QEMU, INVALID_ARG, "Failed to parse bitmap '%s'", args->cpumap);
    }
    for (size_t i = 0; i < sizeof(map); i++) {
        n += (unsigned)__builtin_popcount(map[i]);
    }
    max = node_get_u64(live != NULL ? live : config, "vcpu", 1);
    cur = node_get_u64(live != NULL ? live : config, "vcpu/@current", max);
    if (map[0] & 1) {
        return fault(err, DOM_QEMU, INVALID_ARG, "vCPU '0' can't be modified");
    }
    if (n != 1 && live != NULL) {
        return fault(err, DOM_QEMU, OPERATION_UNSUPPORTED,
                     "only one hotpluggable entity can be selected");
    }
    if (args->state ? cur + n > max : cur <= n) {
        return fault(err, DOM_QEMU, INVALID_ARG, "vCPU '%s' is not in the domain", args->cpumap);
    }
    cur = args->state ? cur + n : cur - n;
    if (live != NULL) {
        r = vcpus_live(u.d, (unsigned)cur, err);
    }
    if (r == 0 && config != NULL && config != live) {
        r = vcpus_config(u.d, config, (unsigned)cur, false, err);
        r = r == 0 ? domain_save_config(u.d, err) : r;
    }
    return r;
}

/* ---- pinning ---- */

struct pin {
    struct domain *d;
    const char *element; /* "vcpupin", "emulatorpin", "iothreadpin" */
    const char *key;     /* attribute with the number; NULL: only one */
    unsigned number;
    uint8_t *map;
    uint32_t len;
    pid_t tid;
};

static int pin_config(struct node *def, void *arg, struct err **err)
{
    struct pin *p = arg;
    struct node *tune = node_need(def, "cputune"), *n = NULL;
    AUTO_FREE char *text = cpuset_format(p->map, p->len);

    (void)err;
    if (tune == NULL || text == NULL) {
        return -ENOMEM;
    }
    for (struct node *k = node_child(tune, p->element); k != NULL; k = node_next(k, p->element)) {
        if (p->key == NULL || node_get_u64(k, p->key, UINT64_MAX) == p->number) {
            n = k;
        }
    }
    if (n == NULL) {
        n = node_add(tune, p->element);
    }
    if (n == NULL || (p->key != NULL && node_setf(n, p->key, "%u", p->number) < 0)) {
        return -ENOMEM;
    }
    return node_set(n, "@cpuset", text);
}

static int pin_live(struct node *def, void *arg, struct err **err)
{
    struct pin *p = arg;
    cpu_set_t set;

    CPU_ZERO(&set);
    for (uint32_t i = 0; i < p->len * 8 && i < CPU_SETSIZE; i++) {
        if (p->map[i / 8] & (1u << (i % 8))) {
            CPU_SET(i, &set);
        }
    }
    if (sched_setaffinity(p->tid, sizeof(set), &set) < 0) {
        return err_set(err, errno, "cannot set CPU affinity on process %d: %s", (int)p->tid,
                       strerror(errno));
    }
    return pin_config(def, arg, err);
}

static int pin_vcpu(struct call *call, const struct remote_domain *wire, unsigned vcpu,
                    uint8_t *map, uint32_t len, unsigned flags, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct pin p = { .element = "vcpupin", .key = "@vcpu", .number = vcpu, .map = map, .len = len };
    int r = use_begin(call, wire, false, &u, err);

    if (r < 0) {
        return r;
    }
    if (vcpu >= node_get_u64(u.d->def, "vcpu", 1)) {
        return fault(err, DOM_QEMU, INVALID_ARG, "vcpu %u is out of range of %s cpu count %llu",
                     vcpu, domain_active(u.d) ? "live" : "persistent",
                     (unsigned long long)node_get_u64(u.d->def, "vcpu", 1));
    }
    p.d = u.d;
    if (domain_active(u.d)) {
        p.tid = vcpu < run_of(u.d)->n_vcpu_pids ? run_of(u.d)->vcpu_pids[vcpu] : run_of(u.d)->pid;
    }
    return change(u.d, flags, pin_live, pin_config, &p, err);
}

int qemu_domain_pin_vcpu(struct call *call, const struct remote_domain_pin_vcpu_args *args,
                         struct err **err)
{
    return pin_vcpu(call, &args->dom, args->vcpu, args->cpumap, args->n_cpumap, AFFECT_LIVE, err);
}

int qemu_domain_pin_vcpu_flags(struct call *call,
                               const struct remote_domain_pin_vcpu_flags_args *args,
                               struct err **err)
{
    return pin_vcpu(call, &args->dom, args->vcpu, args->cpumap, args->n_cpumap, args->flags, err);
}

int qemu_domain_pin_emulator(struct call *call, const struct remote_domain_pin_emulator_args *args,
                             struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct pin p = { .element = "emulatorpin", .map = args->cpumap, .len = args->n_cpumap };
    int r = use_begin(call, &args->dom, false, &u, err);

    p.d = u.d;
    p.tid = r == 0 && domain_active(u.d) ? run_of(u.d)->pid : 0;
    return r == 0 ? change(u.d, args->flags, pin_live, pin_config, &p, err) : r;
}

/* The set of a pin, or all of the host's CPUs. */
static void pin_map(const struct node *def, const char *element, const char *key, unsigned number,
                    uint8_t *map, uint32_t len)
{
    uint32_t host = host_facts()->n_cpus;

    for (const struct node *k = node_child(node_child(def, "cputune"), element); k != NULL;
         k = node_next(k, element)) {
        if ((key == NULL || node_get_u64(k, key, UINT64_MAX) == number) &&
            node_attr(k, "cpuset") != NULL && cpuset_parse(node_attr(k, "cpuset"), map, len) == 0) {
            return;
        }
    }
    if (node_get(def, "vcpu/@cpuset") != NULL &&
        cpuset_parse(node_get(def, "vcpu/@cpuset"), map, len) == 0) {
        return;
    }
    memset(map, 0, len);
    for (uint32_t i = 0; i < host && i < len * 8; i++) {
        map[i / 8] |= (uint8_t)(1u << (i % 8));
    }
}

int qemu_domain_get_vcpu_pin_info(struct call *call,
                                  const struct remote_domain_get_vcpu_pin_info_args *args,
                                  struct remote_domain_get_vcpu_pin_info_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct node *def;
    uint32_t n;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_def_of(d, args->flags, &def, err) : r;
    if (r < 0) {
        return r;
    }
    n = (uint32_t)node_get_u64(def, "vcpu", 1);
    if (args->ncpumaps < 0 || args->maplen < 0 || args->maplen > 8192 || args->ncpumaps > 16384) {
        return fault(err, DOM_RPC, INTERNAL_ERROR, "ncpumaps > REMOTE_VCPUINFO_MAX");
    }
    n = n < (uint32_t)args->ncpumaps ? n : (uint32_t)args->ncpumaps;
    ret->cpumaps = arena_alloc(&call->arena, (size_t)n * (size_t)args->maplen + 1);
    if (ret->cpumaps == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        pin_map(def, "vcpupin", "@vcpu", i, ret->cpumaps + i * (uint32_t)args->maplen,
                (uint32_t)args->maplen);
    }
    ret->n_cpumaps = n * (uint32_t)args->maplen;
    ret->num = (int32_t)n;
    return 0;
}

int qemu_domain_get_emulator_pin_info(struct call *call,
                                      const struct remote_domain_get_emulator_pin_info_args *args,
                                      struct remote_domain_get_emulator_pin_info_ret *ret,
                                      struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct node *def;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_def_of(d, args->flags, &def, err) : r;
    if (r < 0) {
        return r;
    }
    if (args->maplen < 0 || args->maplen > 8192) {
        return fault(err, DOM_RPC, INTERNAL_ERROR, "maplen > REMOTE_CPUMAPS_MAX");
    }
    ret->cpumaps = arena_alloc(&call->arena, (size_t)args->maplen + 1);
    if (ret->cpumaps == NULL) {
        return -ENOMEM;
    }
    pin_map(def, "emulatorpin", NULL, 0, ret->cpumaps, (uint32_t)args->maplen);
    ret->n_cpumaps = (uint32_t)args->maplen;
    ret->ret = 1;
    return 0;
}

/* ---- tunables: typed parameters that are elements of the definition ---- */

struct tunable {
    const char *field, *path;
    int kind; /* enum rpc_typed_kind */
    uint64_t dflt;
};

#define UNLIMITED 9007199254740991ull /* VIR_DOMAIN_MEMORY_PARAM_UNLIMITED, in KiB */

static const struct tunable sched[] = {
    { "cpu_shares", "cputune/shares", RPC_TYPED_ULLONG, 0 },
    { "vcpu_period", "cputune/period", RPC_TYPED_ULLONG, 0 },
    { "vcpu_quota", "cputune/quota", RPC_TYPED_LLONG, 0 },
    { "emulator_period", "cputune/emulator_period", RPC_TYPED_ULLONG, 0 },
    { "emulator_quota", "cputune/emulator_quota", RPC_TYPED_LLONG, 0 },
    { "global_period", "cputune/global_period", RPC_TYPED_ULLONG, 0 },
    { "global_quota", "cputune/global_quota", RPC_TYPED_LLONG, 0 },
    { "iothread_period", "cputune/iothread_period", RPC_TYPED_ULLONG, 0 },
    { "iothread_quota", "cputune/iothread_quota", RPC_TYPED_LLONG, 0 },
};
static const struct tunable mem[] = {
    { "hard_limit", "memtune/hard_limit", RPC_TYPED_ULLONG, UNLIMITED },
    { "soft_limit", "memtune/soft_limit", RPC_TYPED_ULLONG, UNLIMITED },
    { "swap_hard_limit", "memtune/swap_hard_limit", RPC_TYPED_ULLONG, UNLIMITED },
};

static int tunables_get(struct params *p, const struct node *def, const struct tunable *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = node_get_u64(def, t[i].path, t[i].dflt);

        if (t[i].kind == RPC_TYPED_LLONG) {
            int64_t s = 0;

            if (node_get(def, t[i].path) != NULL) {
                (void)!str_to_i64(node_get(def, t[i].path), 10, &s);
            }
            params_llong(p, t[i].field, s);
        } else {
            params_ullong(p, t[i].field, v);
        }
    }
    return p->failed ? -ENOMEM : 0;
}

static int tunables_set(struct node *def, const struct tunable *t, size_t n,
                        const struct rpc_typed_param *list, uint32_t n_list, struct err **err)
{
    for (uint32_t i = 0; i < n_list; i++) {
        const struct tunable *k = NULL;
        int r;

        for (size_t j = 0; j < n; j++) {
            if (str_eq(t[j].field, list[i].field)) {
                k = &t[j];
            }
        }
        if (k == NULL) {
            return fault(err, DOM_NONE, INVALID_ARG, "parameter '%s' not supported", list[i].field);
        }
        if (list[i].kind != k->kind) {
            return fault(err, DOM_NONE, INVALID_ARG,
                         "invalid type '%s' for parameter '%s', expected '%s'",
                         list[i].kind == RPC_TYPED_STRING ? "string" : "number", list[i].field,
                         k->kind == RPC_TYPED_LLONG ? "llong" : "ullong");
        }
        r = k->kind == RPC_TYPED_LLONG
                ? node_setf(def, k->path, "%lld", (long long)list[i].value.l)
                : node_setf(def, k->path, "%llu", (unsigned long long)list[i].value.ul);
        if (r == 0 && t == mem) {
            AUTO_FREE char *unit = str_format("%s/@unit", k->path);

            r = unit != NULL ? node_set(def, unit, "KiB") : -ENOMEM;
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int no_cgroup(const char *controller, struct err **err)
{
    return fault(err, DOM_QEMU, OPERATION_INVALID, "cgroup %s controller is not mounted",
                 controller);
}

static int get_sched(struct call *call, const struct remote_domain *wire, unsigned flags,
                     uint32_t *ret_n, struct rpc_typed_param **ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct params p = { .arena = &call->arena };
    struct node *def;
    int r = domain_of_call(call, wire, &d, err);

    r = r == 0 ? domain_def_of(d, flags, &def, err) : r;
    if (r == 0 && domain_active(d) && !(flags & AFFECT_CONFIG)) {
        return no_cgroup("CPU", err);
    }
    r = r == 0 ? tunables_get(&p, def, sched, sizeof(sched) / sizeof(sched[0])) : r;
    *ret = p.list;
    *ret_n = p.n;
    return r;
}

int qemu_domain_get_scheduler_parameters(
    struct call *call, const struct remote_domain_get_scheduler_parameters_args *args,
    struct remote_domain_get_scheduler_parameters_ret *ret, struct err **err)
{
    return get_sched(call, &args->dom, 0, &ret->n_params, &ret->params, err);
}

int qemu_domain_get_scheduler_parameters_flags(
    struct call *call, const struct remote_domain_get_scheduler_parameters_flags_args *args,
    struct remote_domain_get_scheduler_parameters_flags_ret *ret, struct err **err)
{
    return get_sched(call, &args->dom, args->flags, &ret->n_params, &ret->params, err);
}

static int set_list(struct call *call, const struct remote_domain *wire, const struct tunable *t,
                    size_t n, const char *controller, const struct rpc_typed_param *list,
                    uint32_t n_list, unsigned flags, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct node *live, *config;
    int r = use_begin(call, wire, false, &u, err);

    r = r == 0 ? domain_affects(u.d, flags, &live, &config, err) : r;
    if (r == 0 && live != NULL) {
        return no_cgroup(controller, err);
    }
    r = r == 0 ? tunables_set(config, t, n, list, n_list, err) : r;
    return r == 0 ? domain_save_config(u.d, err) : r;
}

int qemu_domain_set_scheduler_parameters(
    struct call *call, const struct remote_domain_set_scheduler_parameters_args *args,
    struct err **err)
{
    return set_list(call, &args->dom, sched, sizeof(sched) / sizeof(sched[0]), "CPU", args->params,
                    args->n_params, 0, err);
}

int qemu_domain_set_scheduler_parameters_flags(
    struct call *call, const struct remote_domain_set_scheduler_parameters_flags_args *args,
    struct err **err)
{
    return set_list(call, &args->dom, sched, sizeof(sched) / sizeof(sched[0]), "CPU", args->params,
                    args->n_params, args->flags, err);
}

int qemu_domain_set_memory_parameters(struct call *call,
                                      const struct remote_domain_set_memory_parameters_args *args,
                                      struct err **err)
{
    return set_list(call, &args->dom, mem, sizeof(mem) / sizeof(mem[0]), "memory", args->params,
                    args->n_params, args->flags, err);
}

int qemu_domain_get_memory_parameters(struct call *call,
                                      const struct remote_domain_get_memory_parameters_args *args,
                                      struct remote_domain_get_memory_parameters_ret *ret,
                                      struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct params p = { .arena = &call->arena };
    struct node *def;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_def_of(d, args->flags, &def, err) : r;
    if (r == 0 && domain_active(d) && !(args->flags & AFFECT_CONFIG)) {
        return no_cgroup("memory", err);
    }
    if (r == 0 && args->nparams == 0) {
        ret->nparams = 3;
        return 0;
    }
    r = r == 0 ? tunables_get(&p, def, mem, sizeof(mem) / sizeof(mem[0])) : r;
    ret->params = p.list;
    ret->n_params = p.n;
    return r;
}

int qemu_domain_get_blkio_parameters(struct call *call,
                                     const struct remote_domain_get_blkio_parameters_args *args,
                                     struct remote_domain_get_blkio_parameters_ret *ret,
                                     struct err **err)
{
    static const char *const names[] = { "device_weight", "device_read_iops_sec",
                                         "device_write_iops_sec", "device_read_bytes_sec",
                                         "device_write_bytes_sec" };
    AUTO_DOMAIN struct domain *d = NULL;
    struct params p = { .arena = &call->arena };
    struct node *def;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_def_of(d, args->flags, &def, err) : r;
    if (r == 0 && domain_active(d) && !(args->flags & AFFECT_CONFIG)) {
        return fault(err, DOM_QEMU, OPERATION_INVALID, "blkio cgroup isn't mounted");
    }
    if (r == 0 && args->nparams == 0) {
        ret->nparams = 6;
        return 0;
    }
    if (r == 0) {
        params_uint(&p, "weight", (uint32_t)node_get_u64(def, "blkiotune/weight", 0));
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            params_str(&p, names[i], "");
        }
    }
    ret->params = p.list;
    ret->n_params = p.n;
    return r;
}

int qemu_domain_set_blkio_parameters(struct call *call,
                                     const struct remote_domain_set_blkio_parameters_args *args,
                                     struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct node *live, *config;
    int r = use_begin(call, &args->dom, false, &u, err);

    r = r == 0 ? domain_affects(u.d, args->flags, &live, &config, err) : r;
    if (r == 0 && live != NULL) {
        return fault(err, DOM_QEMU, OPERATION_INVALID, "blkio cgroup isn't mounted");
    }
    for (uint32_t i = 0; r == 0 && i < args->n_params; i++) {
        if (str_eq(args->params[i].field, "weight") && args->params[i].kind == RPC_TYPED_UINT) {
            r = node_setf(config, "blkiotune/weight", "%u", args->params[i].value.ui);
        } else if (!str_starts(args->params[i].field, "device_")) {
            r = fault(err, DOM_NONE, INVALID_ARG, "parameter '%s' not supported",
                      args->params[i].field);
        }
    }
    return r == 0 ? domain_save_config(u.d, err) : r;
}

static const char *const numa_modes[] = { "strict", "preferred", "interleave", "restrictive" };

int qemu_domain_get_numa_parameters(struct call *call,
                                    const struct remote_domain_get_numa_parameters_args *args,
                                    struct remote_domain_get_numa_parameters_ret *ret,
                                    struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct params p = { .arena = &call->arena };
    struct node *def;
    int mode = 0, r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_def_of(d, args->flags, &def, err) : r;
    if (r == 0 && args->nparams == 0) {
        ret->nparams = 2;
        return 0;
    }
    if (r == 0) {
        for (int i = 0; i < 4; i++) {
            mode = node_is(def, "numatune/memory/@mode", numa_modes[i]) ? i : mode;
        }
        params_int(&p, "numa_mode", mode);
        params_str(&p, "numa_nodeset", node_get(def, "numatune/memory/@nodeset"));
    }
    ret->params = p.list;
    ret->n_params = p.n;
    return r;
}

int qemu_domain_set_numa_parameters(struct call *call,
                                    const struct remote_domain_set_numa_parameters_args *args,
                                    struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct node *live, *config;
    int r = use_begin(call, &args->dom, false, &u, err);

    r = r == 0 ? domain_affects(u.d, args->flags, &live, &config, err) : r;
    if (r == 0 && live != NULL) {
        return no_cgroup("cpuset", err);
    }
    for (uint32_t i = 0; r == 0 && i < args->n_params; i++) {
        const struct rpc_typed_param *p = &args->params[i];

        if (str_eq(p->field, "numa_mode") && p->kind == RPC_TYPED_INT && p->value.i >= 0 &&
            p->value.i < 4) {
            r = node_set(config, "numatune/memory/@mode", numa_modes[p->value.i]);
        } else if (str_eq(p->field, "numa_nodeset") && p->kind == RPC_TYPED_STRING) {
            r = node_set(config, "numatune/memory/@nodeset", p->value.s);
        } else {
            r = fault(err, DOM_QEMU, INVALID_ARG, "unsupported value of parameter '%s'", p->field);
        }
    }
    return r == 0 ? domain_save_config(u.d, err) : r;
}

int qemu_domain_get_interface_parameters(
    struct call *call, const struct remote_domain_get_interface_parameters_args *args,
    struct remote_domain_get_interface_parameters_ret *ret, struct err **err)
{
    static const struct {
        const char *field, *path;
    } rows[] = { { "inbound.average", "bandwidth/inbound/@average" },
                 { "inbound.peak", "bandwidth/inbound/@peak" },
                 { "inbound.burst", "bandwidth/inbound/@burst" },
                 { "inbound.floor", "bandwidth/inbound/@floor" },
                 { "outbound.average", "bandwidth/outbound/@average" },
                 { "outbound.peak", "bandwidth/outbound/@peak" },
                 { "outbound.burst", "bandwidth/outbound/@burst" } };
    AUTO_DOMAIN struct domain *d = NULL;
    struct params p = { .arena = &call->arena };
    const struct node *nic;
    struct node *def;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r == 0 && args->nparams == 0) {
        ret->nparams = 7;
        return 0;
    }
    r = r == 0 ? domain_def_of(d, args->flags, &def, err) : r;
    if (r < 0) {
        return r;
    }
    nic = find_nic(def, args->device);
    if (nic == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "cannot find interface '%s'", args->device);
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        params_uint(&p, rows[i].field, (uint32_t)node_get_u64(nic, rows[i].path, 0));
    }
    ret->params = p.list;
    ret->n_params = p.n;
    return 0;
}

/* ---- I/O throttling ---- */

static const char *const tune_names[] = {
    "total_bytes_sec",
    "read_bytes_sec",
    "write_bytes_sec",
    "total_iops_sec",
    "read_iops_sec",
    "write_iops_sec",
    "total_bytes_sec_max",
    "read_bytes_sec_max",
    "write_bytes_sec_max",
    "total_iops_sec_max",
    "read_iops_sec_max",
    "write_iops_sec_max",
    "size_iops_sec",
    "group_name",
    "total_bytes_sec_max_length",
    "read_bytes_sec_max_length",
    "write_bytes_sec_max_length",
    "total_iops_sec_max_length",
    "read_iops_sec_max_length",
    "write_iops_sec_max_length",
};
/* The emulator's names, in the same order. */
static const char *const tune_args[] = {
    "bps",
    "bps_rd",
    "bps_wr",
    "iops",
    "iops_rd",
    "iops_wr",
    "bps_max",
    "bps_rd_max",
    "bps_wr_max",
    "iops_max",
    "iops_rd_max",
    "iops_wr_max",
    "iops_size",
    "group",
    "bps_max_length",
    "bps_rd_max_length",
    "bps_wr_max_length",
    "iops_max_length",
    "iops_rd_max_length",
    "iops_wr_max_length",
};
enum { N_TUNE = sizeof(tune_names) / sizeof(tune_names[0]), TUNE_GROUP = 13 };

static int tune_def(struct node *disk, const struct rpc_typed_param *list, uint32_t n,
                    struct err **err)
{
    for (uint32_t i = 0; i < n; i++) {
        bool known = false;
        char path[64];
        int r = 0;

        for (size_t k = 0; k < N_TUNE; k++) {
            known |= str_eq(tune_names[k], list[i].field);
        }
        if (!known) {
            return fault(err, DOM_NONE, INVALID_ARG, "parameter '%s' not supported", list[i].field);
        }
        (void)snprintf(path, sizeof(path), "iotune/%s", list[i].field);
        if (list[i].kind == RPC_TYPED_STRING) {
            r = node_set(disk, path, list[i].value.s);
        } else {
            r = list[i].value.ul == 0
                    ? node_set(disk, path, NULL)
                    : node_setf(disk, path, "%llu", (unsigned long long)list[i].value.ul);
        }
        if (r < 0) {
            return r;
        }
    }
    if (node_child(disk, "iotune") != NULL && node_child(disk, "iotune")->first == NULL) {
        node_remove(disk, "iotune");
    }
    return 0;
}

static int tune_apply(struct domain *d, const struct node *disk, struct err **err)
{
    struct json_object *a = json_object_new_object();
    AUTO_FREE char *qom = disk_qom_path(disk);
    char path[64];

    (void)json_add_str(a, "id", qom != NULL ? qom : "");
    for (size_t i = 0; i < N_TUNE; i++) {
        (void)snprintf(path, sizeof(path), "iotune/%s", tune_names[i]);
        if (i == TUNE_GROUP) {
            (void)json_add_str(a, "group",
                               node_get(disk, path) ? node_get(disk, path)
                               : qom != NULL        ? qom
                                                    : "");
        } else if (i < 6 || node_get(disk, path) != NULL) {
            (void)json_add_u64(a, tune_args[i], node_get_u64(disk, path, 0));
        }
    }
    return monitor_run(run_of(d)->qmp, "block_set_io_throttle", a, NULL, err);
}

int qemu_domain_set_block_io_tune(struct call *call,
                                  const struct remote_domain_set_block_io_tune_args *args,
                                  struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct node *live, *config, *k;
    int r = use_begin(call, &args->dom, false, &u, err);

    r = r == 0 ? domain_affects(u.d, args->flags, &live, &config, err) : r;
    if (r < 0) {
        return r;
    }
    if (live != NULL) {
        k = find_disk(live, args->disk);
        if (k == NULL) {
            return fault(err, DOM_QEMU, INVALID_ARG,
                         "missing persistent configuration for disk '%s'", args->disk);
        }
        r = tune_def(k, args->params, args->n_params, err);
        r = r == 0 ? tune_apply(u.d, k, err) : r;
    }
    if (r == 0 && config != NULL && config != live) {
        k = find_disk(config, args->disk);
        if (k == NULL) {
            return fault(err, DOM_QEMU, INVALID_ARG,
                         "missing persistent configuration for disk '%s'", args->disk);
        }
        r = tune_def(k, args->params, args->n_params, err);
        r = r == 0 ? domain_save_config(u.d, err) : r;
    }
    return r;
}

int qemu_domain_get_block_io_tune(struct call *call,
                                  const struct remote_domain_get_block_io_tune_args *args,
                                  struct remote_domain_get_block_io_tune_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct params p = { .arena = &call->arena };
    const struct node *k;
    struct node *def;
    char path[64];
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r == 0 && args->nparams == 0) {
        ret->nparams = N_TUNE;
        return 0;
    }
    r = r == 0 ? domain_def_of(d, args->flags, &def, err) : r;
    if (r < 0) {
        return r;
    }
    k = args->disk != NULL ? find_disk(def, args->disk) : NULL;
    if (k == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "disk '%s' was not found in the domain config",
                     args->disk != NULL ? args->disk : "");
    }
    for (size_t i = 0; i < N_TUNE; i++) {
        (void)snprintf(path, sizeof(path), "iotune/%s", tune_names[i]);
        if (i == TUNE_GROUP) {
            /* The emulator names the group after the device when the user did not. */
            AUTO_FREE char *qom = disk_qom_path(k);

            params_str(&p, tune_names[i],
                       node_get(k, path)                                    ? node_get(k, path)
                       : domain_active(d) && !(args->flags & AFFECT_CONFIG) ? qom
                                                                            : "");
        } else {
            params_ullong(&p, tune_names[i], node_get_u64(k, path, 0));
        }
    }
    ret->params = p.list;
    ret->n_params = p.n;
    return p.failed ? -ENOMEM : 0;
}

/* ---- I/O threads ---- */

int qemu_domain_get_iothread_info(struct call *call,
                                  const struct remote_domain_get_iothread_info_args *args,
                                  struct remote_domain_get_iothread_info_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct node *def;
    uint64_t n;
    uint32_t bytes = (host_facts()->n_cpus + 7) / 8;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_def_of(d, args->flags, &def, err) : r;
    if (r < 0) {
        return r;
    }
    n = node_get_u64(def, "iothreads", 0);
    n = n > 64 ? 64 : n;
    ret->info = arena_array(&call->arena, n + 1, sizeof(*ret->info));
    if (ret->info == NULL) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < n; i++) {
        ret->info[i].iothread_id = (uint32_t)i + 1;
        ret->info[i].cpumap = arena_alloc(&call->arena, bytes);
        ret->info[i].n_cpumap = bytes;
        if (ret->info[i].cpumap == NULL) {
            return -ENOMEM;
        }
        pin_map(def, "iothreadpin", "@iothread", (unsigned)i + 1, ret->info[i].cpumap, bytes);
    }
    ret->n_info = (uint32_t)n;
    ret->ret = (uint32_t)n;
    return 0;
}

struct iothread_change {
    struct domain *d;
    unsigned id;
    bool add;
};

static int iothread_config(struct node *def, void *arg, struct err **err)
{
    struct iothread_change *c = arg;
    uint64_t n = node_get_u64(def, "iothreads", 0);

    if (c->add ? c->id <= n : c->id != n) {
        return fault(err, DOM_QEMU, INVALID_ARG,
                     c->add ? "an IOThread is already using iothread_id '%u'"
                            : "cannot find IOThread '%u' in iothreadids list",
                     c->id);
    }
    n = c->add ? n + 1 : n - 1;
    return n > 0 ? node_setf(def, "iothreads", "%llu", (unsigned long long)n)
                 : node_set(def, "iothreads", NULL);
}

static int iothread_live(struct node *def, void *arg, struct err **err)
{
    struct iothread_change *c = arg;
    struct json_object *a = json_object_new_object();
    AUTO_FREE char *id = str_format("iothread%u", c->id);
    int r;

    if (c->add) {
        (void)json_add_str(a, "qom-type", "iothread");
    }
    (void)json_add_str(a, "id", id != NULL ? id : "");
    r = monitor_run(run_of(c->d)->qmp, c->add ? "object-add" : "object-del", a, NULL, err);
    return r == 0 ? iothread_config(def, arg, err) : r;
}

static int change_iothread(struct call *call, const struct remote_domain *wire, unsigned id,
                           unsigned flags, bool add, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct iothread_change c = { .id = id, .add = add };
    int r = use_begin(call, wire, false, &u, err);

    c.d = u.d;
    if (r == 0 && id == 0) {
        return fault(err, DOM_QEMU, INVALID_ARG, "invalid value of 0 for iothread_id");
    }
    return r == 0 ? change(u.d, flags, iothread_live, iothread_config, &c, err) : r;
}

int qemu_domain_add_iothread(struct call *call, const struct remote_domain_add_iothread_args *args,
                             struct err **err)
{
    return change_iothread(call, &args->dom, args->iothread_id, args->flags, true, err);
}

int qemu_domain_del_iothread(struct call *call, const struct remote_domain_del_iothread_args *args,
                             struct err **err)
{
    return change_iothread(call, &args->dom, args->iothread_id, args->flags, false, err);
}
