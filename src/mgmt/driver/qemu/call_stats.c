/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_stats.c - what running domains use: CPUs, memory, disks, NICs; one by one and all at once.
 */
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/migrate.h"
#include "mgmt/host/topology.h"
#include "os/fd.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
    STATS_STATE = 1,
    STATS_CPU = 2,
    STATS_BALLOON = 4,
    STATS_VCPU = 8,
    STATS_INTERFACE = 16,
    STATS_BLOCK = 32,
    STATS_PERF = 64,
    STATS_IOTHREAD = 128,
    STATS_MEMORY = 256,
    STATS_DIRTYRATE = 512,
    STATS_VM = 1024,
    STATS_FILTERS = 0xffff0000u
};
enum {
    TAG_SWAP_IN,
    TAG_SWAP_OUT,
    TAG_MAJOR_FAULT,
    TAG_MINOR_FAULT,
    TAG_UNUSED,
    TAG_AVAILABLE,
    TAG_ACTUAL,
    TAG_RSS,
    TAG_USABLE,
    TAG_LAST_UPDATE,
    TAG_DISK_CACHES,
    TAG_HUGETLB_ALLOC,
    TAG_HUGETLB_FAIL
};

struct task_times {
    unsigned long long user, sys, start;
    int cpu;
};

/* Of a process or one of its threads, in clock ticks. */
static bool task_times(pid_t pid, pid_t tid, struct task_times *ret)
{
    AUTO_FREE char *text = NULL;
    char path[96], *p;
    size_t n;
    int field = 2;

    (void)snprintf(path, sizeof(path), tid > 0 ? "/proc/%d/task/%d/stat" : "/proc/%d/stat",
                   (int)pid, (int)tid);
    if (file_slurp(path, 4096, &text, &n) < 0 || (p = strrchr(text, ')')) == NULL) {
        return false;
    }
    memset(ret, 0, sizeof(*ret));
    for (p++; *p == ' '; field++) {
        p++;
        if (field + 1 == 14) {
            ret->user = strtoull(p, NULL, 10);
        } else if (field + 1 == 15) {
            ret->sys = strtoull(p, NULL, 10);
        } else if (field + 1 == 39) {
            ret->cpu = (int)strtol(p, NULL, 10);
        }
        p += strcspn(p, " ");
    }
    return true;
}

static uint64_t tick_nsec(void)
{
    return 1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK);
}

static uint64_t rss_kib(pid_t pid)
{
    AUTO_FREE char *text = NULL;
    char path[64];
    const char *p;
    size_t n;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (file_slurp(path, 65536, &text, &n) < 0 || (p = strstr(text, "VmRSS:")) == NULL) {
        return 0;
    }
    return strtoull(p + 6, NULL, 10);
}

/* ---- block ---- */

struct disk_numbers {
    int64_t rd_ops, rd_bytes, rd_ns, wr_ops, wr_bytes, wr_ns, fl_ops, fl_ns;
};

static int query_blocks(struct run *r, struct json_object **ret, struct err **err)
{
    return monitor_run(r->qmp, "query-blockstats", NULL, ret, err);
}

static bool numbers_of(struct json_object *list, const struct node *disk, struct disk_numbers *ret)
{
    const char *alias = node_get(disk, "alias/@name");

    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *o = json_object_array_get_idx(list, i), *s = json_member(o, "stats");
        const char *qdev = json_str_or(o, "qdev", "");
        const char *at = alias != NULL ? strstr(qdev, alias) : NULL;

        if (at == NULL || s == NULL || (at[strlen(alias)] != '\0' && at[strlen(alias)] != '/')) {
            continue;
        }
        ret->rd_ops = json_i64_or(s, "rd_operations", 0);
        ret->rd_bytes = json_i64_or(s, "rd_bytes", 0);
        ret->rd_ns = json_i64_or(s, "rd_total_time_ns", 0);
        ret->wr_ops = json_i64_or(s, "wr_operations", 0);
        ret->wr_bytes = json_i64_or(s, "wr_bytes", 0);
        ret->wr_ns = json_i64_or(s, "wr_total_time_ns", 0);
        ret->fl_ops = json_i64_or(s, "flush_operations", 0);
        ret->fl_ns = json_i64_or(s, "flush_total_time_ns", 0);
        return true;
    }
    return false;
}

static int disk_numbers(struct domain *d, const char *name, struct disk_numbers *ret,
                        struct err **err)
{
    AUTO_JSON struct json_object *list = NULL;
    int r = query_blocks(run_of(d), &list, err);

    memset(ret, 0, sizeof(*ret));
    if (r < 0) {
        return r;
    }
    if (*name == '\0') {
        for (const struct node *k = node_child(domain_devices(d->def), "disk"); k != NULL;
             k = node_next(k, "disk")) {
            struct disk_numbers one = { 0 };

            if (numbers_of(list, k, &one)) {
                for (size_t i = 0; i < sizeof(one) / sizeof(int64_t); i++) {
                    ((int64_t *)ret)[i] += ((int64_t *)&one)[i];
                }
            }
        }
        return 0;
    }
    {
        const struct node *k = find_disk(d->def, name);

        if (k == NULL) {
            return fault(err, DOM_QEMU, INVALID_ARG, "invalid path: %s", name);
        }
        (void)numbers_of(list, k, ret);
    }
    return 0;
}

int qemu_domain_block_stats(struct call *call, const struct remote_domain_block_stats_args *args,
                            struct remote_domain_block_stats_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct disk_numbers n;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? disk_numbers(u.d, args->path, &n, err) : r;
    if (r == 0) {
        *ret = (struct remote_domain_block_stats_ret) { .rd_req = n.rd_ops,
                                                        .rd_bytes = n.rd_bytes,
                                                        .wr_req = n.wr_ops,
                                                        .wr_bytes = n.wr_bytes,
                                                        .errs = -1 };
    }
    return r;
}

int qemu_domain_block_stats_flags(struct call *call,
                                  const struct remote_domain_block_stats_flags_args *args,
                                  struct remote_domain_block_stats_flags_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct params p = { .arena = &call->arena };
    struct disk_numbers n;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? disk_numbers(u.d, args->path, &n, err) : r;
    if (r < 0) {
        return r;
    }
    if (args->nparams == 0) {
        ret->nparams = 8;
        return 0;
    }
    params_llong(&p, "wr_bytes", n.wr_bytes);
    params_llong(&p, "wr_operations", n.wr_ops);
    params_llong(&p, "rd_bytes", n.rd_bytes);
    params_llong(&p, "rd_operations", n.rd_ops);
    params_llong(&p, "flush_operations", n.fl_ops);
    params_llong(&p, "wr_total_times", n.wr_ns);
    params_llong(&p, "rd_total_times", n.rd_ns);
    params_llong(&p, "flush_total_times", n.fl_ns);
    ret->params = p.list;
    ret->n_params = p.n;
    return p.failed ? -ENOMEM : 0;
}

static int block_sizes(struct domain *d, const struct node *disk, uint64_t *ret_alloc,
                       uint64_t *ret_cap, uint64_t *ret_phys, struct err **err)
{
    AUTO_JSON struct json_object *list = NULL;
    AUTO_FREE char *name = disk_node_name(disk);
    const char *file = node_get(disk, "source/@file");
    struct stat st;
    struct json_object *a;
    int r;

    if (file != NULL && stat(file, &st) == 0) {
        *ret_phys = (uint64_t)st.st_size;
        *ret_alloc = (uint64_t)st.st_blocks * 512;
        *ret_cap = *ret_phys;
    }
    if (!domain_active(d) || name == NULL) {
        return 0;
    }
    a = json_object_new_object();
    (void)json_add_bool(a, "flat", true);
    r = monitor_run(run_of(d)->qmp, "query-named-block-nodes", a, &list, err);
    for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
        struct json_object *o = json_object_array_get_idx(list, i);

        if (str_eq(json_str_or(o, "node-name", ""), name)) {
            *ret_cap =
                (uint64_t)json_i64_or(json_member(o, "image"), "virtual-size", (int64_t)*ret_cap);
        }
    }
    return r;
}

int qemu_domain_get_block_info(struct call *call,
                               const struct remote_domain_get_block_info_args *args,
                               struct remote_domain_get_block_info_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    const struct node *k;
    int r = use_begin(call, &args->dom, false, &u, err);

    if (r < 0) {
        return r;
    }
    k = find_disk(u.d->def, args->path);
    if (k == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "invalid path %s not assigned to domain",
                     args->path);
    }
    if (node_child(k, "source") == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG,
                     "disk '%s' does not currently have a source assigned", args->path);
    }
    return block_sizes(u.d, k, &ret->allocation, &ret->capacity, &ret->physical, err);
}

int qemu_domain_get_disk_errors(struct call *call,
                                const struct remote_domain_get_disk_errors_args *args,
                                struct remote_domain_get_disk_errors_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    AUTO_JSON struct json_object *list = NULL;
    unsigned n = 0;
    int r = use_begin(call, &args->dom, true, &u, err);

    if (r < 0) {
        return r;
    }
    if (args->maxerrors == 0) {
        ret->nerrors = (int32_t)node_count(domain_devices(u.d->def), "disk");
        return 0;
    }
    r = monitor_run(run_of(u.d)->qmp, "query-block", NULL, &list, err);
    ret->errors = arena_array(&call->arena, 256, sizeof(*ret->errors));
    if (r < 0 || ret->errors == NULL) {
        return r < 0 ? r : -ENOMEM;
    }
    for (size_t i = 0; i < json_object_array_length(list) && n < 256 && n < args->maxerrors; i++) {
        struct json_object *o = json_object_array_get_idx(list, i);
        const char *status = json_str_or(o, "io-status", "ok"), *qdev = json_str_or(o, "qdev", "");

        for (const struct node *k = node_child(domain_devices(u.d->def), "disk"); k != NULL;
             k = node_next(k, "disk")) {
            if (!str_eq(status, "ok") && strstr(qdev, node_get(k, "alias/@name")) != NULL) {
                ret->errors[n].disk = arena_strdup(&call->arena, node_get(k, "target/@dev"));
                ret->errors[n++].error = str_eq(status, "nospace") ? 2 : 1;
                break;
            }
        }
    }
    ret->n_errors = n;
    ret->nerrors = (int32_t)n;
    return 0;
}

/* ---- interface ---- */

static uint64_t net_counter(const char *dev, const char *name)
{
    AUTO_FREE char *path = str_format("/sys/class/net/%s/statistics/%s", dev, name), *text = NULL;
    size_t n;

    return path != NULL && file_slurp(path, 64, &text, &n) == 0 ? strtoull(text, NULL, 10) : 0;
}

int qemu_domain_interface_stats(struct call *call,
                                const struct remote_domain_interface_stats_args *args,
                                struct remote_domain_interface_stats_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    const struct node *nic;
    const char *dev;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_check_active(d, err) : r;
    if (r < 0) {
        return r;
    }
    nic = find_nic(d->def, args->device);
    dev = nic != NULL ? node_get(nic, "target/@dev") : NULL;
    if (dev == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "invalid path, '%s' is not a known interface",
                     args->device);
    }
    /* What the host receives from the tap is what the guest sent. */
    ret->rx_bytes = (int64_t)net_counter(dev, "tx_bytes");
    ret->rx_packets = (int64_t)net_counter(dev, "tx_packets");
    ret->rx_errs = (int64_t)net_counter(dev, "tx_errors");
    ret->rx_drop = (int64_t)net_counter(dev, "tx_dropped");
    ret->tx_bytes = (int64_t)net_counter(dev, "rx_bytes");
    ret->tx_packets = (int64_t)net_counter(dev, "rx_packets");
    ret->tx_errs = (int64_t)net_counter(dev, "rx_errors");
    ret->tx_drop = (int64_t)net_counter(dev, "rx_dropped");
    return 0;
}

/* ---- memory ---- */

static const struct {
    const char *key;
    int tag;
    bool kib;
} guest_stats[] = {
    { "stat-swap-in", TAG_SWAP_IN, true },
    { "stat-swap-out", TAG_SWAP_OUT, true },
    { "stat-major-faults", TAG_MAJOR_FAULT, false },
    { "stat-minor-faults", TAG_MINOR_FAULT, false },
    { "stat-free-memory", TAG_UNUSED, true },
    { "stat-total-memory", TAG_AVAILABLE, true },
    { "stat-available-memory", TAG_USABLE, true },
    { "stat-disk-caches", TAG_DISK_CACHES, true },
};

/* Calls put for each number that is known. */
static int balloon_stats(struct domain *d, void (*put)(void *arg, int tag, uint64_t v), void *arg,
                         struct err **err)
{
    struct run *run = run_of(d);
    AUTO_JSON struct json_object *b = NULL;
    AUTO_JSON struct json_object *g = NULL;
    const struct node *balloon = node_child(domain_devices(d->def), "memballoon");
    struct json_object *a, *stats;
    int64_t last;
    int r = 0;

    if (balloon == NULL || node_is(balloon, "@model", "none")) {
        put(arg, TAG_ACTUAL, node_get_u64(d->def, "currentMemory", 0));
        put(arg, TAG_RSS, rss_kib(run->pid));
        return 0;
    }
    r = monitor_run(run->qmp, "query-balloon", NULL, &b, err);
    if (r < 0) {
        return r;
    }
    put(arg, TAG_ACTUAL, (uint64_t)json_i64_or(b, "actual", 0) / 1024);
    a = json_object_new_object();
    (void)json_add_str(a, "path", "/machine/peripheral/balloon0");
    (void)json_add_str(a, "property", "guest-stats");
    if (monitor_run(run->qmp, "qom-get", a, &g, NULL) == 0) {
        stats = json_member(g, "stats");
        for (size_t i = 0; stats != NULL && i < sizeof(guest_stats) / sizeof(guest_stats[0]); i++) {
            int64_t v = json_i64_or(stats, guest_stats[i].key, -1);

            /* All ones: the guest did not say. */
            if (v >= 0 && v != INT64_MAX) {
                put(arg, guest_stats[i].tag, guest_stats[i].kib ? (uint64_t)v / 1024 : (uint64_t)v);
            }
        }
        last = json_i64_or(g, "last-update", 0);
        put(arg, TAG_LAST_UPDATE, (uint64_t)last);
    }
    put(arg, TAG_RSS, rss_kib(run->pid));
    return 0;
}

struct tags {
    struct remote_domain_memory_stat *list;
    uint32_t n, max;
};

static void put_tag(void *arg, int tag, uint64_t v)
{
    struct tags *t = arg;

    if (t->n < t->max) {
        t->list[t->n].tag = tag;
        t->list[t->n++].val = v;
    }
}

int qemu_domain_memory_stats(struct call *call, const struct remote_domain_memory_stats_args *args,
                             struct remote_domain_memory_stats_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct tags t = { .max = args->maxStats < 64 ? args->maxStats : 64 };
    int r = use_begin(call, &args->dom, true, &u, err);

    t.list = arena_array(&call->arena, 64, sizeof(*t.list));
    if (t.list == NULL) {
        return -ENOMEM;
    }
    r = r == 0 ? balloon_stats(u.d, put_tag, &t, err) : r;
    ret->stats = t.list;
    ret->n_stats = t.n;
    return r;
}

/* ---- CPU ---- */

int qemu_domain_get_vcpus(struct call *call, const struct remote_domain_get_vcpus_args *args,
                          struct remote_domain_get_vcpus_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct run *run;
    uint32_t n, host = host_facts()->n_cpus;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r < 0) {
        return r;
    }
    if (!domain_active(d)) {
        return fault(err, DOM_QEMU, OPERATION_INVALID,
                     "cannot retrieve vcpu information for inactive domain");
    }
    if (args->maxinfo < 0 || args->maxinfo > 16384 || args->maplen < 0 || args->maplen > 8192) {
        return fault(err, DOM_RPC, INTERNAL_ERROR, "maxinfo > REMOTE_VCPUINFO_MAX");
    }
    run = run_of(d);
    n = run->n_vcpu_pids < (unsigned)args->maxinfo ? run->n_vcpu_pids : (uint32_t)args->maxinfo;
    ret->info = arena_array(&call->arena, n + 1, sizeof(*ret->info));
    ret->cpumaps = arena_alloc(&call->arena, (size_t)n * (size_t)args->maplen + 1);
    if (ret->info == NULL || ret->cpumaps == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct task_times t = { 0 };

        (void)task_times(run->pid, run->vcpu_pids[i], &t);
        ret->info[i].number = i;
        ret->info[i].state = 1;
        ret->info[i].cpu_time = (t.user + t.sys) * tick_nsec();
        ret->info[i].cpu = t.cpu;
        for (uint32_t c = 0; c < host && c / 8 < (uint32_t)args->maplen; c++) {
            ret->cpumaps[i * (uint32_t)args->maplen + c / 8] |= (uint8_t)(1u << (c % 8));
        }
    }
    ret->n_info = n;
    ret->n_cpumaps = n * (uint32_t)args->maplen;
    return 0;
}

int qemu_domain_get_cpu_stats(struct call *call,
                              const struct remote_domain_get_cpu_stats_args *args,
                              struct remote_domain_get_cpu_stats_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct params p = { .arena = &call->arena };
    struct task_times t;
    uint32_t host = host_facts()->n_cpus;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_check_active(d, err) : r;
    if (r < 0) {
        return r;
    }
    if (args->nparams == 0) {
        ret->nparams = args->start_cpu == -1 ? 3 : args->ncpus == 0 ? (int32_t)host : 1;
        return 0;
    }
    if (!task_times(run_of(d)->pid, 0, &t)) {
        return fault(err, DOM_QEMU, OPERATION_INVALID, "domain is not running");
    }
    if (args->start_cpu == -1) {
        params_ullong(&p, "cpu_time", (t.user + t.sys) * tick_nsec());
        params_ullong(&p, "user_time", t.user * tick_nsec());
        params_ullong(&p, "system_time", t.sys * tick_nsec());
        ret->nparams = 3;
    } else {
        /* Without a cgroup of its own the total is all that is known; it is told for the last CPU
         * used. */
        for (uint32_t c = 0; c < args->ncpus && (uint32_t)args->start_cpu + c < host; c++) {
            bool here = (uint32_t)args->start_cpu + c == (uint32_t)t.cpu;

            params_ullong(&p, "cpu_time", here ? (t.user + t.sys) * tick_nsec() : 0);
        }
        ret->nparams = 1;
    }
    ret->params = p.list;
    ret->n_params = p.n;
    return p.failed ? -ENOMEM : 0;
}

/* ---- all at once ---- */

static void put_balloon(void *arg, int tag, uint64_t v)
{
    static const char *const names[] = { "swap_in",       "swap_out",    "major_fault",
                                         "minor_fault",   "unused",      "available",
                                         "current",       "rss",         "usable",
                                         "last-update",   "disk_caches", "hugetlb_pgalloc",
                                         "hugetlb_pgfail" };
    char field[64];

    if (tag == TAG_ACTUAL) {
        return; /* told before, from the definition */
    }
    (void)snprintf(field, sizeof(field), "balloon.%s", names[tag]);
    params_ullong(arg, field, v);
}

static void stats_vcpu(struct params *p, struct domain *d)
{
    uint32_t max = (uint32_t)node_get_u64(d->def, "vcpu", 1);
    uint32_t cur = (uint32_t)node_get_u64(d->def, "vcpu/@current", max);
    char field[64];

    params_uint(p, "vcpu.current", cur);
    params_uint(p, "vcpu.maximum", max);
    for (uint32_t i = 0; domain_active(d) && i < run_of(d)->n_vcpu_pids; i++) {
        struct task_times t;

        if (!task_times(run_of(d)->pid, run_of(d)->vcpu_pids[i], &t)) {
            continue;
        }
        (void)snprintf(field, sizeof(field), "vcpu.%u.state", i);
        params_int(p, field, 1);
        (void)snprintf(field, sizeof(field), "vcpu.%u.time", i);
        params_ullong(p, field, (t.user + t.sys) * tick_nsec());
        (void)snprintf(field, sizeof(field), "vcpu.%u.wait", i);
        params_ullong(p, field, 0);
    }
}

static void stats_net(struct params *p, struct domain *d)
{
    static const struct {
        const char *field, *file;
    } rows[] = { { "rx.bytes", "tx_bytes" }, { "rx.pkts", "tx_packets" },
                 { "rx.errs", "tx_errors" }, { "rx.drop", "tx_dropped" },
                 { "tx.bytes", "rx_bytes" }, { "tx.pkts", "rx_packets" },
                 { "tx.errs", "rx_errors" }, { "tx.drop", "rx_dropped" } };
    unsigned i = 0;
    char field[64];

    params_uint(p, "net.count", node_count(domain_devices(d->def), "interface"));
    for (const struct node *n = node_child(domain_devices(d->def), "interface"); n != NULL;
         n = node_next(n, "interface"), i++) {
        const char *dev = node_get(n, "target/@dev");

        if (dev == NULL || !domain_active(d)) {
            continue;
        }
        (void)snprintf(field, sizeof(field), "net.%u.name", i);
        params_str(p, field, dev);
        for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
            (void)snprintf(field, sizeof(field), "net.%u.%s", i, rows[k].field);
            params_ullong(p, field, net_counter(dev, rows[k].file));
        }
    }
}

static void stats_block(struct params *p, struct domain *d)
{
    AUTO_JSON struct json_object *list = NULL;
    unsigned i = 0;
    char field[64];

    params_uint(p, "block.count", node_count(domain_devices(d->def), "disk"));
    if (domain_active(d)) {
        (void)query_blocks(run_of(d), &list, NULL);
    }
    for (const struct node *k = node_child(domain_devices(d->def), "disk"); k != NULL;
         k = node_next(k, "disk"), i++) {
        struct disk_numbers n;
        uint64_t alloc = 0, cap = 0, phys = 0;
        const char *path =
            node_get(k, "source/@file") ? node_get(k, "source/@file") : node_get(k, "source/@dev");

        (void)snprintf(field, sizeof(field), "block.%u.name", i);
        params_str(p, field, node_get(k, "target/@dev"));
        if (path != NULL) {
            (void)snprintf(field, sizeof(field), "block.%u.path", i);
            params_str(p, field, path);
        }
        if (node_get(k, "source/@index") != NULL) {
            (void)snprintf(field, sizeof(field), "block.%u.backingIndex", i);
            params_uint(p, field, (uint32_t)node_get_u64(k, "source/@index", 0));
        }
        if (list != NULL && numbers_of(list, k, &n)) {
            const struct {
                const char *name;
                int64_t v;
            } rows[] = { { "rd.reqs", n.rd_ops },    { "rd.bytes", n.rd_bytes },
                         { "rd.times", n.rd_ns },    { "wr.reqs", n.wr_ops },
                         { "wr.bytes", n.wr_bytes }, { "wr.times", n.wr_ns },
                         { "fl.reqs", n.fl_ops },    { "fl.times", n.fl_ns } };

            for (size_t j = 0; j < sizeof(rows) / sizeof(rows[0]); j++) {
                (void)snprintf(field, sizeof(field), "block.%u.%s", i, rows[j].name);
                params_ullong(p, field, (uint64_t)rows[j].v);
            }
        }
        if (path != NULL && block_sizes(d, k, &alloc, &cap, &phys, NULL) == 0) {
            (void)snprintf(field, sizeof(field), "block.%u.allocation", i);
            params_ullong(p, field, alloc);
            (void)snprintf(field, sizeof(field), "block.%u.capacity", i);
            params_ullong(p, field, cap);
            (void)snprintf(field, sizeof(field), "block.%u.physical", i);
            params_ullong(p, field, phys);
        }
    }
}

static void stats_one(struct params *p, struct domain *d, unsigned stats)
{
    if (stats & STATS_STATE) {
        params_int(p, "state.state", (int32_t)d->state);
        params_int(p, "state.reason", d->reason);
    }
    if ((stats & STATS_CPU) && domain_active(d)) {
        struct task_times t;

        if (task_times(run_of(d)->pid, 0, &t)) {
            params_ullong(p, "cpu.time", (t.user + t.sys) * tick_nsec());
            params_ullong(p, "cpu.user", t.user * tick_nsec());
            params_ullong(p, "cpu.system", t.sys * tick_nsec());
        }
    }
    if (stats & STATS_BALLOON) {
        params_ullong(p, "balloon.current", node_get_u64(d->def, "currentMemory", 0));
        params_ullong(p, "balloon.maximum", node_get_u64(d->def, "memory", 0));
        if (domain_active(d)) {
            (void)balloon_stats(d, put_balloon, p, NULL);
        }
    }
    if (stats & STATS_VCPU) {
        stats_vcpu(p, d);
    }
    if (stats & STATS_INTERFACE) {
        stats_net(p, d);
    }
    if (stats & STATS_BLOCK) {
        stats_block(p, d);
    }
    if ((stats & STATS_IOTHREAD) && domain_active(d)) {
        params_uint(p, "iothread.count", (uint32_t)node_get_u64(d->def, "iothreads", 0));
    }
    if ((stats & STATS_DIRTYRATE) && domain_active(d)) {
        AUTO_JSON struct json_object *o = NULL;

        if (monitor_run(run_of(d)->qmp, "query-dirty-rate", NULL, &o, NULL) == 0) {
            const char *status = json_str_or(o, "status", "unstarted");

            params_int(p, "dirtyrate.calc_status",
                       str_eq(status, "measured")    ? 2
                       : str_eq(status, "measuring") ? 1
                                                     : 0);
            params_llong(p, "dirtyrate.calc_start_time", json_i64_or(o, "start-time", 0));
            params_int(p, "dirtyrate.calc_period", (int32_t)json_i64_or(o, "calc-time", 0));
            if (str_eq(status, "measured")) {
                params_llong(p, "dirtyrate.megabytes_per_second", json_i64_or(o, "dirty-rate", 0));
            }
            params_str(p, "dirtyrate.calc_mode", json_str_or(o, "mode", "page-sampling"));
        }
    }
}

static bool wanted(const struct domain *d, unsigned flags)
{
    static const struct {
        unsigned yes, no;
    } pairs[] = { { 1, 2 }, { 4, 8 } };
    bool is[2] = { domain_active(d), d->persistent };
    unsigned states = flags & (16 | 32 | 64 | 128);

    for (int i = 0; i < 2; i++) {
        unsigned f = flags & (pairs[i].yes | pairs[i].no);

        if (f != 0 && !(f & (is[i] ? pairs[i].yes : pairs[i].no))) {
            return false;
        }
    }
    return states == 0 || (states & (d->state == STATE_RUNNING   ? 16
                                     : d->state == STATE_PAUSED  ? 32
                                     : d->state == STATE_SHUTOFF ? 64
                                                                 : 128));
}

int qemu_connect_get_all_domain_stats(struct call *call,
                                      const struct remote_connect_get_all_domain_stats_args *args,
                                      struct remote_connect_get_all_domain_stats_ret *ret,
                                      struct err **err)
{
    unsigned stats = args->stats != 0 ? args->stats : 0xffff;
    struct domain **list;
    unsigned n = 0, room = args->n_doms > 0 ? args->n_doms : call->world->n_domains;

    (void)err;
    ret->retStats = arena_array(&call->arena, room + 1, sizeof(*ret->retStats));
    list = arena_array(&call->arena, room + 1, sizeof(struct domain *));
    if (ret->retStats == NULL || list == NULL) {
        return -ENOMEM;
    }
    if (args->n_doms > 0) {
        for (uint32_t i = 0; i < args->n_doms; i++) {
            struct domain *d = domain_by_uuid(call->world, args->doms[i].uuid);

            if (d != NULL && wanted(d, args->flags)) {
                list[n++] = domain_ref(d);
            }
        }
    } else {
        LIST_FOREACH (&call->world->domains, it) {
            struct domain *d = CONTAINER_OF(it, struct domain, link);

            if (wanted(d, args->flags) && n < room) {
                list[n++] = domain_ref(d);
            }
        }
    }
    for (unsigned i = 0; i < n; i++) {
        struct params p = { .arena = &call->arena };

        /* A domain that is busy still tells what needs no emulator. */
        if (list[i]->world != NULL) {
            bool job = domain_active(list[i]) && list[i]->job == NULL &&
                       domain_job_begin(list[i], "stats", NULL) == 0;

            stats_one(&p, list[i],
                      domain_active(list[i]) && !job
                          ? stats & (STATS_STATE | STATS_CPU | STATS_VCPU)
                          : stats);
            if (job) {
                domain_job_end(list[i]);
            }
            domain_to_wire(list[i], &call->arena, &ret->retStats[ret->n_retStats].dom);
            ret->retStats[ret->n_retStats].params = p.list;
            ret->retStats[ret->n_retStats++].n_params = p.n;
        }
        domain_unref(list[i]);
    }
    return 0;
}

int qemu_domain_get_perf_events(struct call *call,
                                const struct remote_domain_get_perf_events_args *args,
                                struct remote_domain_get_perf_events_ret *ret, struct err **err)
{
    static const char *const names[] = { "cmt",
                                         "mbmt",
                                         "mbml",
                                         "cpu_cycles",
                                         "instructions",
                                         "cache_references",
                                         "cache_misses",
                                         "branch_instructions",
                                         "branch_misses",
                                         "bus_cycles",
                                         "stalled_cycles_frontend",
                                         "stalled_cycles_backend",
                                         "ref_cpu_cycles",
                                         "cpu_clock",
                                         "task_clock",
                                         "page_faults",
                                         "context_switches",
                                         "cpu_migrations",
                                         "page_faults_min",
                                         "page_faults_maj",
                                         "alignment_faults",
                                         "emulation_faults" };
    AUTO_DOMAIN struct domain *d = NULL;
    struct params p = { .arena = &call->arena };
    int r = domain_of_call(call, &args->dom, &d, err);

    for (size_t i = 0; r == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        params_bool(&p, names[i], false);
    }
    ret->params = p.list;
    ret->n_params = p.n;
    return r;
}

int qemu_domain_start_dirty_rate_calc(struct call *call,
                                      const struct remote_domain_start_dirty_rate_calc_args *args,
                                      struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct json_object *a;
    int r = use_begin(call, &args->dom, true, &u, err);

    if (r < 0) {
        return r;
    }
    if (args->seconds < 1 || args->seconds > 60) {
        return fault(err, DOM_QEMU, INVALID_ARG,
                     "seconds=%d is invalid, please choose value within [1, 60].", args->seconds);
    }
    a = json_object_new_object();
    (void)json_add_i64(a, "calc-time", args->seconds);
    return monitor_run(run_of(u.d)->qmp, "calc-dirty-rate", a, NULL, err);
}

int qemu_domain_get_messages(struct call *call, const struct remote_domain_get_messages_args *args,
                             struct remote_domain_get_messages_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r < 0 || !domain_active(d) || geteuid() != 0) {
        return r;
    }
    ret->msgs = arena_array(&call->arena, 1, sizeof(*ret->msgs));
    if (ret->msgs == NULL) {
        return -ENOMEM;
    }
    ret->msgs[ret->n_msgs++] =
        arena_strdup(&call->arena, "tainted: running with undesirable elevated privileges");
    return 0;
}

int qemu_domain_get_security_label(struct call *call,
                                   const struct remote_domain_get_security_label_args *args,
                                   struct remote_domain_get_security_label_ret *ret,
                                   struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    ret->label = arena_alloc(&call->arena, 1);
    ret->n_label = ret->label != NULL ? 1 : 0;
    return r;
}
