/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_node.c - the host: CPUs, memory, its CPU compared with others. */
#include "mgmt/daemon/calls.h"
#include "mgmt/host/cpu.h"
#include "mgmt/host/topology.h"
#include "mgmt/model/schema.h"
#include "mgmt/server/remote-ops.h"
#include "os/fd.h"

#include <errno.h>
#include <stdio.h>

enum { CPU_INCOMPATIBLE, CPU_IDENTICAL, CPU_SUPERSET, COMPARE_FAIL_INCOMPATIBLE = 1, BASELINE_EXPAND = 1 };

static int get_info(struct call *call, struct remote_node_get_info_ret *ret, struct err **err)
{
    const struct host_facts *f = host_facts();

    (void)call;
    (void)err;
    memcpy(ret->model, "x86_64", 7);
    ret->memory = f->memory_kib;
    ret->cpus = (int32_t)f->n_online;
    ret->mhz = (int32_t)f->mhz;
    ret->nodes = (int32_t)f->cells;
    ret->sockets = (int32_t)f->sockets;
    ret->cores = (int32_t)f->cores;
    ret->threads = (int32_t)f->threads;
    return 0;
}

static int get_free_memory(struct call *call, struct remote_node_get_free_memory_ret *ret, struct err **err)
{
    (void)call;
    (void)err;
    ret->freeMem = host_free_kib() * 1024;
    return 0;
}

static int cells_free(struct call *call, const struct remote_node_get_cells_free_memory_args *args,
                      struct remote_node_get_cells_free_memory_ret *ret, struct err **err)
{
    if (args->startCell != 0) {
        return fault(err, DOM_NONE, INTERNAL_ERROR, "start cell %d out of range (0-%d)", args->startCell, 0);
    }
    ret->cells = arena_array(&call->arena, 1, sizeof(*ret->cells));
    if (ret->cells == NULL) {
        return -ENOMEM;
    }
    ret->n_cells = args->maxcells > 0 ? 1 : 0;
    ret->cells[0] = host_free_kib() * 1024;
    return 0;
}

static int cpu_map(struct call *call, const struct remote_node_get_cpu_map_args *args,
                   struct remote_node_get_cpu_map_ret *ret, struct err **err)
{
    const struct host_facts *f = host_facts();
    uint32_t bytes = (f->n_cpus + 7) / 8;

    (void)err;
    if (args->need_map) {
        ret->cpumap = arena_alloc(&call->arena, bytes);
        if (ret->cpumap == NULL) {
            return -ENOMEM;
        }
        ret->n_cpumap = bytes;
    }
    for (unsigned i = 0; i < f->n_cpus; i++) {
        if (host_cpu_online(i)) {
            ret->online++;
            if (args->need_map) {
                ret->cpumap[i / 8] |= (uint8_t)(1u << (i % 8));
            }
        }
    }
    ret->ret = (int32_t)f->n_cpus;
    return 0;
}

static int cpu_stats(struct call *call, const struct remote_node_get_cpu_stats_args *args,
                     struct remote_node_get_cpu_stats_ret *ret, struct err **err)
{
    static const char *const names[] = { "kernel", "user", "idle", "iowait" };
    AUTO_FREE char *text = NULL;
    char want[16];
    unsigned long long user = 0, nice = 0, sys = 0, idle = 0, iowait = 0, irq = 0, softirq = 0;
    size_t n;
    bool found = false;

    if (args->nparams == 0) {
        ret->nparams = 4;
        return 0;
    }
    (void)snprintf(want, sizeof(want), args->cpuNum < 0 ? "cpu " : "cpu%d ", args->cpuNum);
    if (file_slurp("/proc/stat", 1 << 20, &text, &n) < 0) {
        return -EIO;
    }
    for (char *p = text; p != NULL && !found; p = strchr(p, '\n') != NULL ? strchr(p, '\n') + 1 : NULL) {
        if (str_starts(p, want)) {
            found = sscanf(p + strlen(want), "%llu %llu %llu %llu %llu %llu %llu", &user, &nice, &sys, &idle, &iowait,
                           &irq, &softirq) >= 5;
        }
    }
    if (!found) {
        return fault(err, DOM_NONE, INVALID_ARG, "Invalid cpuNum in %s", "virHostCPUGetStatsLinux");
    }
    {
        unsigned long long tick = 1000000000ull / (unsigned long long)sysconf(_SC_CLK_TCK);
        unsigned long long v[4] = { (sys + irq + softirq) * tick, (user + nice) * tick, idle * tick, iowait * tick };

        ret->params = arena_array(&call->arena, 4, sizeof(*ret->params));
        if (ret->params == NULL) {
            return -ENOMEM;
        }
        for (int i = 0; i < 4 && i < args->nparams; i++) {
            ret->params[i].field = arena_strdup(&call->arena, names[i]);
            ret->params[i].value = v[i];
            ret->n_params++;
        }
    }
    return 0;
}

static int memory_stats(struct call *call, const struct remote_node_get_memory_stats_args *args,
                        struct remote_node_get_memory_stats_ret *ret, struct err **err)
{
    static const struct {
        const char *name, *key;
    } keys[] = { { "total", "MemTotal" }, { "free", "MemFree" }, { "buffers", "Buffers" }, { "cached", "Cached" } };

    if (args->cellNum > 0) {
        return fault(err, DOM_NONE, INVALID_ARG, "cellNum in %s must be less than or equal to %d",
                     "virHostMemGetStatsLinux", 0);
    }
    if (args->nparams == 0) {
        ret->nparams = 4;
        return 0;
    }
    ret->params = arena_array(&call->arena, 4, sizeof(*ret->params));
    if (ret->params == NULL) {
        return -ENOMEM;
    }
    for (int i = 0; i < 4 && i < args->nparams; i++) {
        ret->params[i].field = arena_strdup(&call->arena, keys[i].name);
        ret->params[i].value = host_meminfo_kib(keys[i].key);
        ret->n_params++;
    }
    return 0;
}

static int memory_parameters(struct call *call, const struct remote_node_get_memory_parameters_args *args,
                             struct remote_node_get_memory_parameters_ret *ret, struct err **err)
{
    static const char *const files[] = { "pages_to_scan", "sleep_millisecs", "pages_shared", "pages_sharing",
                                         "pages_unshared", "pages_volatile", "full_scans", "merge_across_nodes" };
    static const char *const names[] = { "shm_pages_to_scan", "shm_sleep_millisecs", "shm_pages_shared",
                                         "shm_pages_sharing", "shm_pages_unshared", "shm_pages_volatile",
                                         "shm_full_scans", "shm_merge_across_nodes" };
    struct params p = { .arena = &call->arena };

    (void)err;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        AUTO_FREE char *path = str_format("/sys/kernel/mm/ksm/%s", files[i]);
        AUTO_FREE char *text = NULL;
        size_t n;

        if (path == NULL || file_slurp(path, 64, &text, &n) < 0) {
            continue;
        }
        if (i < 2 || i == 7) {
            params_uint(&p, names[i], (uint32_t)strtoul(text, NULL, 10));
        } else {
            params_ullong(&p, names[i], strtoull(text, NULL, 10));
        }
    }
    if (args->nparams == 0) {
        ret->nparams = (int32_t)p.n;
        return 0;
    }
    ret->params = p.list;
    ret->n_params = p.n;
    return p.failed ? -ENOMEM : 0;
}

static int free_pages(struct call *call, const struct remote_node_get_free_pages_args *args,
                      struct remote_node_get_free_pages_ret *ret, struct err **err)
{
    uint32_t n = args->n_pages * args->cellCount;

    if (args->startCell > 0 || args->cellCount > 16) {
        return fault(err, DOM_NONE, INTERNAL_ERROR, "start cell %d out of range (0-%d)", args->startCell, 0);
    }
    ret->counts = arena_array(&call->arena, n + 1, sizeof(*ret->counts));
    if (ret->counts == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < args->n_pages && n > 0; i++) {
        ret->counts[i] = args->pages[i] == 4      ? host_free_kib() / 4
                         : args->pages[i] == 2048 ? host_meminfo_kib("HugePages_Free")
                                                  : 0;
        ret->n_counts++;
    }
    return 0;
}

static int sysinfo(struct call *call, const struct remote_connect_get_sysinfo_args *args,
                   struct remote_connect_get_sysinfo_ret *ret, struct err **err)
{
    static const struct {
        const char *block, *entry, *file;
    } rows[] = { { "bios", "vendor", "bios_vendor" },         { "bios", "version", "bios_version" },
                 { "bios", "date", "bios_date" },             { "bios", "release", "bios_release" },
                 { "system", "manufacturer", "sys_vendor" },  { "system", "product", "product_name" },
                 { "system", "version", "product_version" },  { "system", "serial", "product_serial" },
                 { "system", "uuid", "product_uuid" },        { "baseBoard", "manufacturer", "board_vendor" },
                 { "baseBoard", "product", "board_name" },    { "chassis", "manufacturer", "chassis_vendor" } };
    struct strbuf b = STRBUF_INIT(65536);
    AUTO_FREE char *text = NULL;
    const char *open = NULL;

    (void)args;
    (void)err;
    strbuf_puts(&b, "<sysinfo type='smbios'>\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        AUTO_FREE char *path = str_format("/sys/class/dmi/id/%s", rows[i].file), *v = NULL;
        size_t n;

        if (path == NULL || file_slurp(path, 4096, &v, &n) < 0) {
            continue;
        }
        while (n > 0 && v[n - 1] == '\n') {
            v[--n] = '\0';
        }
        if (open == NULL || !str_eq(open, rows[i].block)) {
            if (open != NULL) {
                strbuf_printf(&b, "  </%s>\n", open);
            }
            open = rows[i].block;
            strbuf_printf(&b, "  <%s>\n", open);
        }
        strbuf_printf(&b, "    <entry name='%s'>", rows[i].entry);
        xml_escape(&b, v);
        strbuf_puts(&b, "</entry>\n");
    }
    if (open != NULL) {
        strbuf_printf(&b, "  </%s>\n", open);
    }
    strbuf_puts(&b, "</sysinfo>\n");
    text = strbuf_take(&b);
    ret->sysinfo = text != NULL ? arena_strdup(&call->arena, text) : NULL;
    return ret->sysinfo != NULL ? 0 : -ENOMEM;
}

static int sev_info(struct call *call, const struct remote_node_get_sev_info_args *args,
                    struct remote_node_get_sev_info_ret *ret, struct err **err)
{
    (void)call;
    (void)args;
    (void)ret;
    return fault(err, DOM_QEMU, OPERATION_UNSUPPORTED, "QEMU does not support SEV guest");
}

static int suspend(struct call *call, const struct remote_node_suspend_for_duration_args *args, struct err **err)
{
    (void)call;
    (void)args;
    return fault(err, DOM_NONE, ARGUMENT_UNSUPPORTED, "%s",
                 args->target == 0   ? "Suspend-to-RAM is not supported on this host"
                 : args->target == 1 ? "Suspend-to-Disk is not supported on this host"
                                     : "Hybrid-Suspend is not supported on this host");
}

static int security_model(struct call *call, struct remote_node_get_security_model_ret *ret, struct err **err)
{
    (void)err;
    ret->model = arena_alloc(&call->arena, 5);
    ret->doi = arena_alloc(&call->arena, 2);
    if (ret->model == NULL || ret->doi == NULL) {
        return -ENOMEM;
    }
    memcpy(ret->model, "none", 5);
    memcpy(ret->doi, "0", 2);
    ret->n_model = 5;
    ret->n_doi = 2;
    return 0;
}

/* ---- CPU comparison ---- */

static int read_cpu(const char *xml, struct node **ret, struct err **err)
{
    const char *cpu = strstr(xml, "<cpu");
    const char *end = cpu != NULL ? strstr(cpu, "</cpu>") : NULL;
    AUTO_FREE char *only = NULL;

    /* Capabilities and domains carry one, too. */
    if (cpu == NULL) {
        return fault(err, DOM_CPU, XML_ERROR, "XML does not contain expected 'cpu' element");
    }
    only = end != NULL ? strndup(cpu, (size_t)(end - cpu) + 6) : strdup(cpu);
    if (only == NULL) {
        return -ENOMEM;
    }
    return schema_parse(only, &schema_cpu, DOM_CPU, false, ret, err);
}

static int compare(const char *xml, unsigned flags, int32_t *ret, struct err **err)
{
    CLEANUP(node_freep) struct node *cpu = NULL;
    const char *missing = NULL;
    int r = read_cpu(xml, &cpu, err);

    if (r < 0) {
        return r;
    }
    for (const struct node *f = node_child(cpu, "feature"); f != NULL; f = node_next(f, "feature")) {
        const char *policy = node_attr(f, "policy");

        if (node_attr(f, "name") == NULL) {
            return fault(err, DOM_CPU, XML_ERROR, "missing feature name");
        }
        if ((policy == NULL || str_eq(policy, "require")) && !host_cpu_has(node_attr(f, "name"))) {
            missing = node_attr(f, "name");
        }
    }
    if (missing == NULL && node_get(cpu, "vendor") != NULL && !node_is(cpu, "vendor", host_cpu_vendor())) {
        missing = "vendor";
    }
    if (missing != NULL && (flags & COMPARE_FAIL_INCOMPATIBLE)) {
        return fault(err, DOM_CPU, CPU_INCOMPATIBLE, "Host CPU does not provide required features: %s", missing);
    }
    *ret = missing != NULL                               ? CPU_INCOMPATIBLE
           : node_is(cpu, "model", host_cpu_model()) ? CPU_IDENTICAL
                                                         : CPU_SUPERSET;
    return 0;
}

static int compare_cpu(struct call *call, const struct remote_connect_compare_cpu_args *args,
                       struct remote_connect_compare_cpu_ret *ret, struct err **err)
{
    (void)call;
    return compare(args->xml, args->flags, &ret->result, err);
}

static int compare_hypervisor_cpu(struct call *call, const struct remote_connect_compare_hypervisor_cpu_args *args,
                                  struct remote_connect_compare_hypervisor_cpu_ret *ret, struct err **err)
{
    (void)call;
    return compare(args->xmlCPU, args->flags, &ret->result, err);
}

/* What all have: the model when they share one, and the features in common. */
static int baseline(struct call *call, char *const *xmls, uint32_t n, char **ret, struct err **err)
{
    CLEANUP(node_freep) struct node *first = NULL;
    struct strbuf b = STRBUF_INIT(1 << 20);
    AUTO_FREE char *text = NULL;
    bool same_model = true;
    int r;

    if (n == 0) {
        return fault(err, DOM_CPU, INVALID_ARG, "No CPUs given");
    }
    r = read_cpu(xmls[0], &first, err);
    if (r < 0) {
        return r;
    }
    for (uint32_t i = 1; i < n; i++) {
        CLEANUP(node_freep) struct node *c = NULL;

        r = read_cpu(xmls[i], &c, err);
        if (r < 0) {
            return r;
        }
        if (node_get(c, "vendor") != NULL && node_get(first, "vendor") != NULL &&
            !node_is(c, "vendor", node_get(first, "vendor"))) {
            return fault(err, DOM_CPU, OPERATION_FAILED, "CPU vendors do not match");
        }
        same_model &= node_get(first, "model") != NULL && node_is(c, "model", node_get(first, "model"));
        for (struct node *f = node_child(first, "feature"); f != NULL;) {
            struct node *next = node_next(f, "feature");
            bool has = false;

            for (const struct node *g = node_child(c, "feature"); g != NULL; g = node_next(g, "feature")) {
                has |= node_is(g, "@name", node_attr(f, "name"));
            }
            if (!has) {
                node_free(node_detach(f));
            }
            f = next;
        }
    }
    strbuf_puts(&b, "<cpu mode='custom' match='exact'>\n");
    strbuf_printf(&b, "  <model fallback='forbid'>%s</model>\n",
                  same_model && node_get(first, "model") ? node_get(first, "model") : "qemu64");
    if (node_get(first, "vendor") != NULL) {
        strbuf_printf(&b, "  <vendor>%s</vendor>\n", node_get(first, "vendor"));
    }
    for (const struct node *f = node_child(first, "feature"); f != NULL; f = node_next(f, "feature")) {
        strbuf_printf(&b, "  <feature policy='require' name='%s'/>\n", node_attr(f, "name"));
    }
    strbuf_puts(&b, "</cpu>\n");
    text = strbuf_take(&b);
    *ret = text != NULL ? arena_strdup(&call->arena, text) : NULL;
    return *ret != NULL ? 0 : -ENOMEM;
}

static int baseline_cpu(struct call *call, const struct remote_connect_baseline_cpu_args *args,
                        struct remote_connect_baseline_cpu_ret *ret, struct err **err)
{
    return baseline(call, args->xmlCPUs, args->n_xmlCPUs, &ret->cpu, err);
}

static int baseline_hypervisor_cpu(struct call *call, const struct remote_connect_baseline_hypervisor_cpu_args *args,
                                   struct remote_connect_baseline_hypervisor_cpu_ret *ret, struct err **err)
{
    return baseline(call, args->xmlCPUs, args->n_xmlCPUs, &ret->cpu, err);
}

static int cpu_model_names(struct call *call, const struct remote_connect_get_cpu_model_names_args *args,
                           struct remote_connect_get_cpu_model_names_ret *ret, struct err **err)
{
    static const char *const names[] = {
        "486", "pentium", "pentium2", "pentium3", "pentiumpro", "coreduo", "n270", "core2duo", "qemu32", "kvm32",
        "cpu64-rhel5", "cpu64-rhel6", "qemu64", "kvm64", "Conroe", "Penryn", "Nehalem", "Nehalem-IBRS", "Westmere",
        "Westmere-IBRS", "SandyBridge", "SandyBridge-IBRS", "IvyBridge", "IvyBridge-IBRS", "Haswell-noTSX",
        "Haswell-noTSX-IBRS", "Haswell", "Haswell-IBRS", "Broadwell-noTSX", "Broadwell-noTSX-IBRS", "Broadwell",
        "Broadwell-IBRS", "Skylake-Client", "Skylake-Client-IBRS", "Skylake-Client-noTSX-IBRS", "Skylake-Server",
        "Skylake-Server-IBRS", "Skylake-Server-noTSX-IBRS", "Cascadelake-Server", "Cascadelake-Server-noTSX",
        "Cooperlake", "Icelake-Client", "Icelake-Client-noTSX", "Icelake-Server", "Icelake-Server-noTSX", "Snowridge",
        "SapphireRapids", "athlon", "phenom", "Opteron_G1", "Opteron_G2", "Opteron_G3", "Opteron_G4", "Opteron_G5",
        "EPYC", "EPYC-IBPB", "EPYC-Rome", "EPYC-Milan", "Dhyana",
    };
    uint32_t n = sizeof(names) / sizeof(names[0]);

    if (!str_eq(args->arch, "x86_64") && !str_eq(args->arch, "i686")) {
        return fault(err, DOM_CPU, INVALID_ARG, "cannot find architecture %s", args->arch);
    }
    ret->ret = (int32_t)n;
    if (!args->need_results) {
        return 0;
    }
    ret->models = arena_array(&call->arena, n, sizeof(*ret->models));
    if (ret->models == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        ret->models[i] = arena_strdup(&call->arena, names[i]);
    }
    ret->n_models = n;
    return 0;
}

const struct remote_ops calls_node = {
    .node_get_info = get_info,
    .node_get_free_memory = get_free_memory,
    .node_get_cells_free_memory = cells_free,
    .node_get_cpu_map = cpu_map,
    .node_get_cpu_stats = cpu_stats,
    .node_get_memory_stats = memory_stats,
    .node_get_memory_parameters = memory_parameters,
    .node_get_free_pages = free_pages,
    .node_get_sev_info = sev_info,
    .node_suspend_for_duration = suspend,
    .node_get_security_model = security_model,
    .connect_get_sysinfo = sysinfo,
    .connect_compare_cpu = compare_cpu,
    .connect_compare_hypervisor_cpu = compare_hypervisor_cpu,
    .connect_baseline_cpu = baseline_cpu,
    .connect_baseline_hypervisor_cpu = baseline_hypervisor_cpu,
    .connect_get_cpu_model_names = cpu_model_names,
};
