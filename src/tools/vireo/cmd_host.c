/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_host.c - the host: what it can do and what it has. */
#include "tools/vireo/document.h"
#include "tools/vireo/shell.h"

#include <inttypes.h>

char *param_text(const struct vireo_param *p);

/* A call without arguments whose answer is one text. */
#define TEXT(fn, call, type, member, format, failed) \
    static int fn(struct shell *sh, struct args *a)  \
    {                                                \
        AUTO_RET struct type *ret = NULL;            \
                                                     \
        (void)a;                                     \
        if (call < 0) {                              \
            return fail(failed);                     \
        }                                            \
        printf(format, ret->member);                 \
        return 0;                                    \
    }

TEXT(hostname, vireo_connect_get_hostname(sh->conn, &ret), vireo_connect_get_hostname_ret, hostname,
     "%s\n", "failed to get hostname")
TEXT(sysinfo, vireo_connect_get_sysinfo(sh->conn, 0, &ret), vireo_connect_get_sysinfo_ret, sysinfo,
     "%s", "failed to get sysinfo")
TEXT(capabilities, vireo_connect_get_capabilities(sh->conn, &ret),
     vireo_connect_get_capabilities_ret, capabilities, "%s\n", "failed to get capabilities")

static int uri(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_get_uri_ret *ret = NULL;
    const char *own = vireo_connect_uri(sh->conn);

    (void)a;
    if (vireo_connect_get_uri(sh->conn, &ret) < 0) {
        return fail("failed to get URI");
    }
    printf("%s\n", strchr(own, '+') != NULL || strchr(own, '?') != NULL ? own : ret->uri);
    return 0;
}

static int domcapabilities(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_get_domain_capabilities_ret *ret = NULL;

    if (vireo_connect_get_domain_capabilities(sh->conn, arg(a, "emulatorbin"), arg(a, "arch"),
                                              arg(a, "machine"), arg(a, "virttype"), 0, &ret) < 0) {
        return fail("failed to get emulator capabilities");
    }
    printf("%s\n", ret->capabilities);
    return 0;
}

static int nodeinfo(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_node_get_info_ret *i = NULL;

    (void)a;
    if (vireo_node_get_info(sh->conn, &i) < 0) {
        return fail("failed to get node information");
    }
    printf("%-20s %.32s\n%-20s %d\n", "CPU model:", (const char *)i->model, "CPU(s):", i->cpus);
    if (i->mhz != 0) {
        printf("%-20s %d MHz\n", "CPU frequency:", i->mhz);
    }
    printf("%-20s %d\n%-20s %d\n%-20s %d\n%-20s %d\n%-20s %" PRIu64 " KiB\n",
           "CPU socket(s):", i->sockets, "Core(s) per socket:", i->cores,
           "Thread(s) per core:", i->threads, "NUMA cell(s):", i->nodes, "Memory size:", i->memory);
    return 0;
}

static int cpumap(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_node_get_cpu_map_ret *ret = NULL;

    if (vireo_node_get_cpu_map(sh->conn, 1, 1, 0, &ret) < 0) {
        return fail("Unable to get cpu map");
    }
    printf("%-15s %d\n%-15s %d\n%-15s ", "CPUs present:", ret->ret, "CPUs online:", ret->online,
           "CPU map:");
    if (arg_set(a, "pretty")) {
        bool first = true;

        for (int i = 0; i < ret->ret; i++) {
            int end = i;

            if (!(ret->cpumap[i / 8] & (1u << (i % 8)))) {
                continue;
            }
            while (end + 1 < ret->ret && (ret->cpumap[(end + 1) / 8] & (1u << ((end + 1) % 8)))) {
                end++;
            }
            printf(end > i ? "%s%d-%d" : "%s%d", first ? "" : ",", i, end);
            first = false;
            i = end;
        }
    } else {
        for (int i = 0; i < ret->ret; i++) {
            (void)putchar(ret->cpumap[i / 8] & (1u << (i % 8)) ? 'y' : '-');
        }
    }
    printf("\n");
    return 0;
}

static int get_times(struct shell *sh, int cpu, struct vireo_node_get_cpu_stats_ret **ret)
{
    AUTO_RET struct vireo_node_get_cpu_stats_ret *count = NULL;

    if (vireo_node_get_cpu_stats(sh->conn, cpu, 0, 0, &count) < 0) {
        return fail("Unable to get number of cpu stats");
    }
    return vireo_node_get_cpu_stats(sh->conn, cpu, count->nparams, 0, ret) < 0
               ? fail("Unable to get node cpu stats")
               : 0;
}

static uint64_t time_of(const struct vireo_node_get_cpu_stats_ret *r, const char *field)
{
    for (uint32_t i = 0; i < r->n_params; i++) {
        if (str_eq(r->params[i].field, field)) {
            return r->params[i].value;
        }
    }
    return 0;
}

static int cpustats(struct shell *sh, struct args *a)
{
    static const char *const names[] = { "user", "kernel", "idle", "iowait" };
    static const char *const titles[] = { "user:", "system:", "idle:", "iowait:" };
    AUTO_RET struct vireo_node_get_cpu_stats_ret *one = NULL;
    AUTO_RET struct vireo_node_get_cpu_stats_ret *two = NULL;
    int cpu = -1;
    double d[4], total = 0;

    if (arg_int(a, "cpu", &cpu) < 0 || get_times(sh, cpu, &one)) {
        return -1;
    }
    if (!arg_set(a, "percent")) {
        for (int i = 0; i < 4; i++) {
            printf("%-15s %20" PRIu64 "\n", titles[i], time_of(one, names[i]));
        }
        return 0;
    }
    (void)sleep(1);
    if (get_times(sh, cpu, &two)) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        d[i] = (double)(time_of(two, names[i]) - time_of(one, names[i]));
        total += d[i];
    }
    total = total > 0 ? total : 1;
    printf("%-15s %5.1lf%%\n", "usage:", (total - d[2]) / total * 100);
    for (int i = 0; i < 4; i++) {
        printf("%-15s %5.1lf%%\n", titles[i], d[i] / total * 100);
    }
    return 0;
}

static int memstats(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_node_get_memory_stats_ret *count = NULL;
    AUTO_RET struct vireo_node_get_memory_stats_ret *ret = NULL;
    int cell = -1;

    if (arg_int(a, "cell", &cell) < 0) {
        return -1;
    }
    if (vireo_node_get_memory_stats(sh->conn, 0, cell, 0, &count) < 0 ||
        vireo_node_get_memory_stats(sh->conn, count->nparams, cell, 0, &ret) < 0) {
        return fail("Unable to get memory stats");
    }
    for (uint32_t i = 0; i < ret->n_params; i++) {
        printf("%-7s: %20" PRIu64 " KiB\n", ret->params[i].field, ret->params[i].value);
    }
    return 0;
}

static int maxvcpus(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_get_max_vcpus_ret *ret = NULL;
    AUTO_RET struct vireo_connect_get_domain_capabilities_ret *caps = NULL;

    if (vireo_connect_get_domain_capabilities(sh->conn, NULL, NULL, NULL, arg(a, "type"), 0,
                                              &caps) == 0) {
        AUTO_DOC xmlDoc *doc = document_read(caps->capabilities);
        AUTO_FREE char *max =
            doc != NULL ? element_get(xmlDocGetRootElement(doc), "vcpu/@max") : NULL;

        if (max != NULL) {
            printf("%s\n", max);
            return 0;
        }
    }
    if (vireo_connect_get_max_vcpus(sh->conn, arg(a, "type"), &ret) < 0) {
        return fail_last();
    }
    printf("%d\n", ret->max_vcpus);
    return 0;
}

static int version(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_get_type_ret *type = NULL;
    AUTO_RET struct vireo_connect_get_version_ret *hv = NULL;
    AUTO_RET struct vireo_connect_get_lib_version_ret *lib = NULL;
    unsigned long long l, h;

    if (vireo_connect_get_type(sh->conn, &type) < 0) {
        return fail("failed to get hypervisor type");
    }
    if (vireo_connect_get_lib_version(sh->conn, &lib) < 0) {
        return fail("failed to get the library version");
    }
    l = lib->lib_ver;
    printf(
        "Compiled against library: libvirt %llu.%llu.%llu\nUsing library: libvirt %llu.%llu.%llu\nUsing API: %s %llu.%llu.%llu\n",
        l / 1000000, l / 1000 % 1000, l % 1000, l / 1000000, l / 1000 % 1000, l % 1000, type->type_,
        l / 1000000, l / 1000 % 1000, l % 1000);
    if (vireo_connect_get_version(sh->conn, &hv) < 0) {
        return fail("failed to get the hypervisor version");
    }
    h = hv->hv_ver;
    if (h == 0) {
        printf("Cannot extract running %s hypervisor version\n", type->type_);
    } else {
        printf("Running hypervisor: %s %llu.%llu.%llu\n", type->type_, h / 1000000, h / 1000 % 1000,
               h % 1000);
    }
    if (arg_set(a, "daemon")) {
        printf("Running against daemon: %llu.%llu.%llu\n", l / 1000000, l / 1000 % 1000, l % 1000);
    }
    return 0;
}

/* ---- memory ---- */

static int freecell(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_node_get_free_memory_ret *all = NULL;
    AUTO_RET struct vireo_node_get_cells_free_memory_ret *ret = NULL;
    uint64_t total = 0;
    int cell = 0, given;

    if (arg_exclusive(a, "all", "cellno") || (given = arg_int(a, "cellno", &cell)) < 0) {
        return -1;
    }
    if (!arg_set(a, "all") && given == 0) {
        if (vireo_node_get_free_memory(sh->conn, &all) < 0) {
            return fail_last();
        }
        printf("Total: %" PRIu64 " KiB\n", all->freeMem / 1024);
        return 0;
    }
    if (vireo_node_get_cells_free_memory(sh->conn, given == 1 ? cell : 0, given == 1 ? 1 : 256,
                                         &ret) < 0) {
        return fail_last();
    }
    if (given == 1) {
        printf("%d: %" PRIu64 " KiB\n", cell, ret->n_cells > 0 ? ret->cells[0] / 1024 : 0);
        return 0;
    }
    for (uint32_t i = 0; i < ret->n_cells; i++) {
        total += ret->cells[i] / 1024;
        printf("%5u: %10" PRIu64 " KiB\n", i, ret->cells[i] / 1024);
    }
    printf("--------------------\n%5s: %10" PRIu64 " KiB\n", "Total", total);
    return 0;
}

static int freepages(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_get_capabilities_ret *caps = NULL;
    AUTO_DOC xmlDoc *doc = NULL;
    uint32_t pages[16], n = 0;
    unsigned long long size = 0;
    int cell = 0, given, sized;
    xmlNode *cells, *c = NULL;

    if (arg_exclusive(a, "all", "cellno") || (given = arg_int(a, "cellno", &cell)) < 0 ||
        (sized = arg_size(a, "pagesize", 1024, &size)) < 0) {
        return -1;
    }
    if (!arg_set(a, "all") && (given == 0 || sized == 0)) {
        return error(given == 0 ? "missing cellno argument" : "missing pagesize argument");
    }
    if (vireo_connect_get_capabilities(sh->conn, &caps) < 0 ||
        (doc = document_read(caps->capabilities)) == NULL) {
        return fail("unable to get node capabilities");
    }
    if (sized == 1) {
        pages[n++] = (uint32_t)(size / 1024);
    } else {
        xmlNode *cpu = element_at(xmlDocGetRootElement(doc), "host/cpu"), *p = NULL;

        while ((p = element_next(cpu, p, "pages")) != NULL && n < 16) {
            AUTO_FREE char *kib = element_attr(p, "size");

            pages[n++] = kib != NULL ? (uint32_t)strtoul(kib, NULL, 10) : 4;
        }
    }
    cells = element_at(xmlDocGetRootElement(doc), "host/topology/cells");
    while ((c = element_next(cells, c, "cell")) != NULL) {
        AUTO_RET struct vireo_node_get_free_pages_ret *ret = NULL;
        AUTO_FREE char *id = element_attr(c, "id");
        int number = id != NULL ? (int)strtol(id, NULL, 10) : 0;

        if (given == 1 && number != cell) {
            continue;
        }
        if (vireo_node_get_free_pages(sh->conn, pages, n, number, 1, 0, &ret) < 0) {
            return fail_last();
        }
        if (arg_set(a, "all")) {
            printf("Node %d:\n", number);
        }
        for (uint32_t i = 0; i < n && i < ret->n_counts; i++) {
            printf(arg_set(a, "all") ? "%uKiB: %" PRIu64 "\n" : "%uKiB: %" PRIu64 "\n", pages[i],
                   ret->counts[i]);
        }
        if (arg_set(a, "all")) {
            printf("\n");
        }
    }
    return 0;
}

static int allocpages(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_node_alloc_pages_ret *ret = NULL;
    unsigned long long size = 0, count = 0;
    int cell = -1;
    uint32_t page;
    uint64_t n;

    if (arg_exclusive(a, "all", "cellno") || arg_size(a, "pagesize", 1024, &size) < 0 ||
        arg_ull(a, "pagecount", &count) < 0 || arg_int(a, "cellno", &cell) < 0) {
        return -1;
    }
    page = (uint32_t)(size / 1024);
    n = count;
    return vireo_node_alloc_pages(sh->conn, &page, 1, &n, 1, cell, 1, arg_set(a, "add") ? 0 : 1,
                                  &ret) < 0
               ? fail_last()
               : 0;
}

static int memory_tune(struct shell *sh, struct args *a)
{
    static const char *const options[] = { "shm-pages-to-scan", "shm-sleep-millisecs",
                                           "shm-merge-across-nodes" };
    static const char *const fields[] = { "shm_pages_to_scan", "shm_sleep_millisecs",
                                          "shm_merge_across_nodes" };
    struct vireo_param params[3];
    uint32_t n = 0;

    for (int i = 0; i < 3; i++) {
        unsigned v;
        int r = arg_uint(a, options[i], &v);

        if (r < 0) {
            return -1;
        }
        if (r == 1) {
            params[n++] = (struct vireo_param) { .field = (char *)(uintptr_t)fields[i],
                                                 .kind = VIREO_PARAM_UINT,
                                                 .value.ui = v };
        }
    }
    if (n > 0) {
        return vireo_node_set_memory_parameters(sh->conn, params, n, 0) < 0
                   ? fail("Unable to change memory parameters")
                   : 0;
    }
    {
        AUTO_RET struct vireo_node_get_memory_parameters_ret *count = NULL;
        AUTO_RET struct vireo_node_get_memory_parameters_ret *ret = NULL;

        if (vireo_node_get_memory_parameters(sh->conn, 0, 0, &count) < 0) {
            return fail("Unable to get number of memory parameters");
        }
        if (count->nparams == 0) {
            return 0;
        }
        if (vireo_node_get_memory_parameters(sh->conn, count->nparams, 0, &ret) < 0) {
            return fail("Unable to get memory parameters");
        }
        printf("Shared memory:\n");
        for (uint32_t i = 0; i < ret->n_params; i++) {
            AUTO_FREE char *text = param_text(&ret->params[i]);
            const char *name = ret->params[i].field;

            printf("\t%-15s %s\n", str_starts(name, "shm_") ? name + 4 : name,
                   text != NULL ? text : "");
        }
    }
    return 0;
}

static int suspend(struct shell *sh, struct args *a)
{
    static const char *const targets[] = { "mem", "disk", "hybrid" };
    unsigned long long duration = 0;
    uint32_t target = 3;

    for (uint32_t i = 0; i < 3; i++) {
        target = str_eq(targets[i], arg(a, "target")) ? i : target;
    }
    if (arg_ull(a, "duration", &duration) < 0) {
        return -1;
    }
    if (target == 3) {
        return error("Invalid target");
    }
    return vireo_node_suspend_for_duration(sh->conn, target, duration, 0) < 0
               ? fail("The host was not suspended")
               : 0;
}

static int sev(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_node_get_sev_info_ret *count = NULL;
    AUTO_RET struct vireo_node_get_sev_info_ret *ret = NULL;

    (void)a;
    if (vireo_node_get_sev_info(sh->conn, 0, 0, &count) < 0 ||
        vireo_node_get_sev_info(sh->conn, count->nparams, 0, &ret) < 0) {
        return fail("Unable to get host SEV information");
    }
    for (uint32_t i = 0; i < ret->n_params; i++) {
        AUTO_FREE char *text = param_text(&ret->params[i]);

        printf("%-18s: %s\n", ret->params[i].field, text != NULL ? text : "");
    }
    return 0;
}

/* ---- CPUs ---- */

/* The <cpu> elements of a document of any kind, each as a text; their number. */
static uint32_t find_cpus(xmlNode *n, char **out, uint32_t have, uint32_t max)
{
    for (; n != NULL && have < max; n = n->next) {
        if (n->type != XML_ELEMENT_NODE) {
            continue;
        }
        if (str_eq((const char *)n->name, "cpu") ||
            (str_eq((const char *)n->name, "mode") && n->parent != NULL &&
             str_eq((const char *)n->parent->name, "cpu"))) {
            AUTO_FREE char *mode = element_attr(n, "name");

            if (str_eq((const char *)n->name, "mode")) {
                if (mode != NULL && str_eq(mode, "host-model")) {
                    xmlNodeSetName(n, (const xmlChar *)"cpu");
                    (void)xmlUnsetProp(n, (const xmlChar *)"name");
                    (void)xmlUnsetProp(n, (const xmlChar *)"supported");
                    out[have++] = element_text(n);
                }
                continue;
            }
            if (element_next(n, NULL, "mode") == NULL) {
                out[have++] = element_text(n);
                continue;
            }
        }
        have = find_cpus(n->children, out, have, max);
    }
    return have;
}

static char *wrap_cpus(const char *path)
{
    AUTO_FREE char *text = read_file(path);
    const char *body = text;

    if (text == NULL) {
        return NULL;
    }
    if (str_starts(text, "<?xml")) {
        body = strstr(text, "?>");
        body = body != NULL ? body + 2 : text;
    }
    return str_format("<container>%s</container>", body);
}

static int read_cpus(const char *path, char **out, uint32_t max, uint32_t *ret_n)
{
    AUTO_FREE char *text = wrap_cpus(path);
    AUTO_DOC xmlDoc *doc = text != NULL ? document_read(text) : NULL;

    if (doc == NULL) {
        return -1;
    }
    *ret_n = find_cpus(xmlDocGetRootElement(doc)->children, out, 0, max);
    return *ret_n > 0 ? 0 : error("No host CPU specified in '%s'", path);
}

static int said_result(int result, const char *path)
{
    switch (result) {
    case 0:
        return error("CPU described in %s is incompatible with host CPU", path), -1;
    case 1:
        printf("CPU described in %s is identical to host CPU\n", path);
        return 0;
    case 2:
        printf("Host CPU is a superset of CPU described in %s\n", path);
        return 0;
    default:
        return error("Failed to compare host CPU with %s", path);
    }
}

static int compare(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_compare_cpu_ret *ret = NULL;
    AUTO_RET struct vireo_connect_compare_hypervisor_cpu_ret *hv = NULL;
    static const struct flag flags[] = { { "error", 1 }, { "validate", 2 }, { NULL, 0 } };
    bool hypervisor = str_starts(a->command->name, "hypervisor");
    const char *path = arg(a, "file");
    char *cpus[1] = { NULL };
    AUTO_FREE char *cpu = NULL;
    uint32_t n;
    int result;

    if (read_cpus(path, cpus, 1, &n)) {
        return -1;
    }
    cpu = cpus[0];
    if ((hypervisor ? vireo_connect_compare_hypervisor_cpu(
                          sh->conn, arg(a, "emulator"), arg(a, "arch"), arg(a, "machine"),
                          arg(a, "virttype"), cpu, arg_flags(a, flags), &hv)
                    : vireo_connect_compare_cpu(sh->conn, cpu, arg_flags(a, flags), &ret)) < 0) {
        return fail("Failed to compare %s CPU with %s", hypervisor ? "hypervisor" : "host", path);
    }
    result = hypervisor ? hv->result : ret->result;
    if (!hypervisor) {
        if (result == 0) {
            printf("CPU described in %s is incompatible with host CPU\n", path);
            return -1;
        }
        return said_result(result, path);
    }
    if (result == 0) {
        printf(
            "CPU described in %s is incompatible with the CPU provided by hypervisor on the host\n",
            path);
        return -1;
    }
    printf(
        result == 1
            ? "CPU described in %s is identical to the CPU provided by hypervisor on the host\n"
            : "The CPU provided by hypervisor on the host is a superset of CPU described in %s\n",
        path);
    return 0;
}

static int baseline(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_baseline_cpu_ret *ret = NULL;
    AUTO_RET struct vireo_connect_baseline_hypervisor_cpu_ret *hv = NULL;
    static const struct flag flags[] = { { "features", 1 }, { "migratable", 2 }, { NULL, 0 } };
    bool hypervisor = str_starts(a->command->name, "hypervisor");
    char *cpus[64] = { NULL };
    uint32_t n = 0;
    int r = 0;

    if (arg(a, "file") != NULL) {
        if (read_cpus(arg(a, "file"), cpus, 64, &n)) {
            return -1;
        }
    } else if (arg(a, "model") != NULL) {
        cpus[n++] = str_format("<cpu><model>%s</model></cpu>", arg(a, "model"));
    } else if (hypervisor) {
        return error("either --file or --model is required");
    }
    if ((hypervisor
             ? vireo_connect_baseline_hypervisor_cpu(
                   sh->conn, arg(a, "emulator"), arg(a, "arch"), arg(a, "machine"),
                   arg(a, "virttype"), (const char *const *)cpus, n, arg_flags(a, flags), &hv)
             : vireo_connect_baseline_cpu(sh->conn, (const char *const *)cpus, n,
                                          arg_flags(a, flags), &ret)) < 0) {
        r = fail_last();
    } else {
        printf("%s", hypervisor ? hv->cpu : ret->cpu);
    }
    for (uint32_t i = 0; i < n; i++) {
        free(cpus[i]);
    }
    return r;
}

static int models(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_get_cpu_model_names_ret *ret = NULL;

    if (vireo_connect_get_cpu_model_names(sh->conn, arg(a, "arch"), 1, 0, &ret) < 0) {
        return fail("failed to get CPU model names");
    }
    if (ret->n_models == 0) {
        printf("all CPU models are accepted\n");
    }
    for (uint32_t i = 0; i < ret->n_models; i++) {
        printf("%s\n", ret->models[i]);
    }
    return 0;
}

const struct shell_command host_commands[] = {
    { "allocpages", "pagesize#! pagecount#! cellno# --add --all", allocpages,
      "change how many huge pages there are", false },
    { "capabilities", "", capabilities, "print what the host can do", false },
    { "cpu-baseline", "file! --features --migratable", baseline,
      "compute the CPU that several hosts have in common", false },
    { "cpu-compare", "file! --error --validate", compare, "compare a CPU with the host's", false },
    { "cpu-models", "arch!", models, "list CPU models", false },
    { "domcapabilities", "virttype emulatorbin arch machine", domcapabilities,
      "print what domains can have", false },
    { "freecell", "cellno# --all", freecell, "show free memory", false },
    { "freepages", "cellno# pagesize# --all", freepages, "show free pages", false },
    { "hostname", "", hostname, "show the host's name", false },
    { "hypervisor-cpu-baseline",
      "file virttype emulator arch machine --features --migratable model", baseline,
      "compute the CPU that the emulator can give on several hosts", false },
    { "hypervisor-cpu-compare", "file! virttype emulator arch machine --error --validate", compare,
      "compare a CPU with what the emulator can give", false },
    { "maxvcpus", "type", maxvcpus, "show how many vCPUs a domain can have", false },
    { "node-memory-tune", "shm-pages-to-scan# shm-sleep-millisecs# shm-merge-across-nodes#",
      memory_tune, "show or set the merging of pages", false },
    { "nodecpumap", "--pretty", cpumap, "show the host's CPUs", false },
    { "nodecpustats", "cpu# --percent", cpustats, "show the use of the host's CPUs", false },
    { "nodeinfo", "", nodeinfo, "show the host's main facts", false },
    { "nodememstats", "cell#", memstats, "show the use of the host's memory", false },
    { "nodesevinfo", "", sev, "show the host's SEV facts", false },
    { "nodesuspend", "target! duration#!", suspend, "suspend the host for a time", false },
    { "sysinfo", "", sysinfo, "print the host's firmware tables", false },
    { "uri", "", uri, "show the URI of the connection", false },
    { "version", "--daemon", version, "show versions", false },
    { NULL, NULL, NULL, NULL, false },
};
