/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_tune.c - memory, CPUs, threads, and the limits of all of them. */
#include "tools/vireo/document.h"
#include "tools/vireo/shell.h"

#include <inttypes.h>

enum { CPUS_MAX = 4096, MAP_BYTES = CPUS_MAX / 8 };

char *param_text(const struct vireo_param *p);

/* ---- memory ---- */

static int set_memory_to(struct shell *sh, struct args *a, uint32_t more, const char *failed)
{
    unsigned long long bytes;
    uint32_t affect;

    DOMAIN(a, d);
    if (arg_affect(a, &affect) || arg_size(a, "size", 1024, &bytes) < 0) {
        return -1;
    }
    if ((affect | more) == 0
            ? vireo_domain_set_memory(sh->conn, &d, bytes / 1024) < 0
            : vireo_domain_set_memory_flags(sh->conn, &d, bytes / 1024, affect | more) < 0) {
        return failed != NULL ? fail("%s", failed) : fail_last();
    }
    return 0;
}

static int setmem(struct shell *sh, struct args *a)
{
    return set_memory_to(sh, a, 0, NULL);
}

static int setmaxmem(struct shell *sh, struct args *a)
{
    return set_memory_to(sh, a, 4, "Unable to change MaxMemorySize");
}

/* ---- parameters of a kind: shown, or set from options ---- */

struct tuning {
    const char *option, *field;
    int kind;
    unsigned long long scale; /* of the option; 0: a plain number or text */
};

typedef int tuning_get(struct vireo_connect *c, const struct vireo_domain *d, uint32_t affect,
                       struct vireo_param **ret, uint32_t *ret_n, void **keep);
typedef int tuning_set(struct vireo_connect *c, const struct vireo_domain *dom,
                       const struct vireo_param *params, uint32_t n_params, uint32_t flags);

#define GETTER(fn, call)                                                                         \
    static int fn(struct vireo_connect *c, const struct vireo_domain *d, uint32_t affect,        \
                  struct vireo_param **ret, uint32_t *ret_n, void **keep)                        \
    {                                                                                            \
        AUTO_RET struct call##_ret *count = NULL;                                                \
        struct call##_ret *all;                                                                  \
                                                                                                 \
        if (call(c, d, 0, affect, &count) < 0 || call(c, d, count->nparams, affect, &all) < 0) { \
            return -1;                                                                           \
        }                                                                                        \
        *keep = all;                                                                             \
        *ret = all->params;                                                                      \
        *ret_n = all->n_params;                                                                  \
        return 0;                                                                                \
    }

GETTER(get_memory, vireo_domain_get_memory_parameters)
GETTER(get_blkio, vireo_domain_get_blkio_parameters)
GETTER(get_numa, vireo_domain_get_numa_parameters)

static void print_params(const struct vireo_param *params, uint32_t n, bool unlimited)
{
    for (uint32_t i = 0; i < n; i++) {
        AUTO_FREE char *text = param_text(&params[i]);

        if (unlimited && params[i].kind == VIREO_PARAM_ULLONG &&
            params[i].value.ul == 9007199254740991ull) {
            printf("%-15s: unlimited\n", params[i].field);
        } else {
            printf("%-15s: %s\n", params[i].field, text != NULL ? text : "");
        }
    }
}

static int read_params(struct args *a, const struct tuning *t, struct vireo_param *out,
                       uint32_t *ret_n)
{
    *ret_n = 0;
    for (; t->option != NULL; t++) {
        struct vireo_param p = { .field = (char *)(uintptr_t)t->field, .kind = t->kind };
        unsigned long long v = 0;

        if (arg(a, t->option) == NULL) {
            continue;
        }
        if (t->kind == VIREO_PARAM_STRING) {
            p.value.s = (char *)(uintptr_t)arg(a, t->option);
        } else if (t->scale > 0) {
            if (str_eq(arg(a, t->option), "-1")) {
                v = 9007199254740991ull;
            } else if (arg_size(a, t->option, t->scale, &v) < 0) {
                return -1;
            } else {
                v /= t->scale;
            }
            p.value.ul = v;
        } else {
            if (arg_ull(a, t->option, &v) < 0) {
                return -1;
            }
            if (t->kind == VIREO_PARAM_ULLONG) {
                p.value.ul = v;
            } else {
                p.value.ui = (uint32_t)v;
            }
        }
        out[(*ret_n)++] = p;
    }
    return 0;
}

static int tune(struct shell *sh, struct args *a, const struct tuning *t, tuning_get *get,
                tuning_set *set, const char *get_failed, const char *set_failed, bool unlimited)
{
    struct vireo_param params[16], *now;
    AUTO_RET void *keep = NULL;
    uint32_t affect, n;

    DOMAIN(a, d);
    if (arg_affect(a, &affect) || read_params(a, t, params, &n)) {
        return -1;
    }
    if (n > 0) {
        return set(sh->conn, &d, params, n, affect) < 0 ? fail("%s", set_failed) : 0;
    }
    if (get(sh->conn, &d, affect, &now, &n, &keep) < 0) {
        return fail("%s", get_failed);
    }
    print_params(now, n, unlimited);
    return 0;
}

static int memtune(struct shell *sh, struct args *a)
{
    static const struct tuning t[] = {
        { "hard-limit", "hard_limit", VIREO_PARAM_ULLONG, 1024 },
        { "soft-limit", "soft_limit", VIREO_PARAM_ULLONG, 1024 },
        { "swap-hard-limit", "swap_hard_limit", VIREO_PARAM_ULLONG, 1024 },
        { "min-guarantee", "min_guarantee", VIREO_PARAM_ULLONG, 1024 },
        { NULL, NULL, 0, 0 }
    };

    return tune(sh, a, t, get_memory, vireo_domain_set_memory_parameters,
                "Unable to get memory parameters", "Unable to change memory parameters", true);
}

static int blkiotune(struct shell *sh, struct args *a)
{
    static const struct tuning t[] = {
        { "weight", "weight", VIREO_PARAM_UINT, 0 },
        { "device-weights", "device_weight", VIREO_PARAM_STRING, 0 },
        { "device-read-iops-sec", "device_read_iops_sec", VIREO_PARAM_STRING, 0 },
        { "device-write-iops-sec", "device_write_iops_sec", VIREO_PARAM_STRING, 0 },
        { "device-read-bytes-sec", "device_read_bytes_sec", VIREO_PARAM_STRING, 0 },
        { "device-write-bytes-sec", "device_write_bytes_sec", VIREO_PARAM_STRING, 0 },
        { NULL, NULL, 0, 0 }
    };

    return tune(sh, a, t, get_blkio, vireo_domain_set_blkio_parameters,
                "Unable to get blkio parameters", "Unable to change blkio parameters", false);
}

static int numatune(struct shell *sh, struct args *a)
{
    static const char *const modes[] = { "strict", "preferred", "interleave", "restrictive" };
    struct vireo_param params[2], *now;
    AUTO_RET void *keep = NULL;
    uint32_t affect, n = 0;
    const char *mode = arg(a, "mode");

    DOMAIN(a, d);
    if (arg_affect(a, &affect)) {
        return -1;
    }
    if (arg(a, "nodeset") != NULL) {
        params[n++] = (struct vireo_param) { .field = (char *)(uintptr_t) "numa_nodeset",
                                             .kind = VIREO_PARAM_STRING,
                                             .value.s = (char *)(uintptr_t)arg(a, "nodeset") };
    }
    if (mode != NULL) {
        int32_t m = 0;
        uint32_t number;

        while (m < 4 && !str_eq(modes[m], mode)) {
            m++;
        }
        if (m == 4 && str_to_u32(mode, 3, &number) == 0) {
            m = (int32_t)number;
        }
        if (m == 4) {
            return error("Invalid mode: %s", mode);
        }
        params[n++] = (struct vireo_param) { .field = (char *)(uintptr_t) "numa_mode",
                                             .kind = VIREO_PARAM_INT,
                                             .value.i = m };
    }
    if (n > 0) {
        return vireo_domain_set_numa_parameters(sh->conn, &d, params, n, affect) < 0
                   ? fail("Unable to change numa parameters")
                   : 0;
    }
    if (get_numa(sh->conn, &d, affect, &now, &n, &keep) < 0) {
        return fail("Unable to get numa parameters");
    }
    for (uint32_t i = 0; i < n; i++) {
        AUTO_FREE char *text =
            str_eq(now[i].field, "numa_mode") && now[i].value.i >= 0 && now[i].value.i < 4
                ? strdup(modes[now[i].value.i])
                : param_text(&now[i]);

        printf("%-15s: %s\n", now[i].field, text != NULL ? text : "");
    }
    return 0;
}

static int schedinfo(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_scheduler_type_ret *type = NULL;
    AUTO_RET struct vireo_domain_get_scheduler_parameters_flags_ret *now = NULL;
    uint32_t affect;
    int r = 0;

    DOMAIN(a, d);
    if (arg_affect(a, &affect)) {
        return -1;
    }
    if (vireo_domain_get_scheduler_type(sh->conn, &d, &type) < 0) {
        return fail_last();
    }
    printf("%-15s: %s\n", "Scheduler", str_eq(type->type_, "none") ? "Unknown" : type->type_);
    if (type->nparams == 0) {
        return 0;
    }
    if (vireo_domain_get_scheduler_parameters_flags(sh->conn, &d, type->nparams, affect, &now) <
        0) {
        return fail_last();
    }
    if (a->n_rest > 0) {
        struct vireo_param params[16];
        AUTO_FREE char *copies[16] = { NULL };
        uint32_t n = 0;

        for (unsigned i = 0; i < a->n_rest && n < 16; i++) {
            char *copy = strdup(a->rest[i]), *eq = copy != NULL ? strchr(copy, '=') : NULL;
            const struct vireo_param *known;
            int64_t v;

            copies[n] = copy;
            if (eq == NULL) {
                r = error("Invalid syntax for --set, expecting name=value");
                break;
            }
            *eq = '\0';
            known = vireo_param_find(now->params, now->n_params, copy);
            if (known == NULL) {
                r = error("invalid scheduler option: %s", copy);
                break;
            }
            if (str_to_i64(eq + 1, 10, &v) < 0) {
                r = error("invalid value for parameter '%s': %s", copy, eq + 1);
                break;
            }
            params[n] = *known;
            if (known->kind == VIREO_PARAM_LLONG) {
                params[n].value.l = v;
            } else {
                params[n].value.ul = (uint64_t)v;
            }
            n++;
        }
        if (r == 0 &&
            vireo_domain_set_scheduler_parameters_flags(sh->conn, &d, params, n, affect) < 0) {
            r = fail_last();
        }
        for (uint32_t i = 1; i < 16; i++) {
            free(copies[i]);
        }
        if (r != 0) {
            return r;
        }
        vireo_free(now);
        now = NULL;
        if (vireo_domain_get_scheduler_parameters_flags(sh->conn, &d, type->nparams, affect, &now) <
            0) {
            return fail_last();
        }
    }
    for (uint32_t i = 0; i < now->n_params; i++) {
        AUTO_FREE char *text = param_text(&now->params[i]);

        printf("%-15s: %s\n", now->params[i].field, text != NULL ? text : "");
    }
    return 0;
}

/* "average,peak,burst" of one direction. */
static int read_rate(struct args *a, const char *way, struct vireo_param *params,
                     char fields[3][32], uint32_t *n)
{
    static const char *const names[] = { "average", "peak", "burst" };
    AUTO_FREE char *copy = arg(a, way) != NULL ? strdup(arg(a, way)) : NULL;
    char *p = copy;

    for (int i = 0; p != NULL && i < 3; i++) {
        char *v = strsep(&p, ",");
        uint32_t value = 0;

        if (*v != '\0' && str_to_u32(v, UINT32_MAX, &value) < 0) {
            return error("%s rate '%s' is invalid", way, arg(a, way));
        }
        if (*v != '\0') {
            (void)snprintf(fields[i], 32, "%s.%s", way, names[i]);
            params[(*n)++] = (struct vireo_param) { .field = fields[i],
                                                    .kind = VIREO_PARAM_UINT,
                                                    .value.ui = value };
        }
    }
    return 0;
}

static int domiftune(struct shell *sh, struct args *a)
{
    struct vireo_param params[6];
    char in[3][32], out[3][32];
    uint32_t affect, n = 0;
    const char *dev = arg(a, "interface");

    DOMAIN(a, d);
    if (arg_affect(a, &affect) || read_rate(a, "inbound", params, in, &n) ||
        read_rate(a, "outbound", params, out, &n)) {
        return -1;
    }
    if (n > 0) {
        return vireo_domain_set_interface_parameters(sh->conn, &d, dev, params, n, affect) < 0
                   ? fail("Unable to set interface parameters")
                   : 0;
    }
    {
        AUTO_RET struct vireo_domain_get_interface_parameters_ret *count = NULL;
        AUTO_RET struct vireo_domain_get_interface_parameters_ret *ret = NULL;

        if (vireo_domain_get_interface_parameters(sh->conn, &d, dev, 0, affect, &count) < 0) {
            return fail("Unable to get number of interface parameters");
        }
        if (count->nparams > 0 && vireo_domain_get_interface_parameters(
                                      sh->conn, &d, dev, count->nparams, affect, &ret) < 0) {
            return fail("Unable to get interface parameters");
        }
        print_params(ret != NULL ? ret->params : NULL, ret != NULL ? ret->n_params : 0, false);
    }
    return 0;
}

/* ---- CPUs ---- */

static int setvcpus(struct shell *sh, struct args *a)
{
    unsigned count;
    uint32_t affect;

    DOMAIN(a, d);
    if (arg_exclusive(a, "guest", "config") || arg_affect(a, &affect) ||
        arg_uint(a, "count", &count) < 0) {
        return -1;
    }
    if (count == 0) {
        return error("Can't set 0 processors for a VM");
    }
    affect |= (arg_set(a, "maximum") ? 4u : 0) | (arg_set(a, "guest") ? 8u : 0) |
              (arg_set(a, "hotpluggable") ? 16u : 0);
    if (arg_set(a, "maximum") && !(affect & 2)) {
        return error("--maximum requires --config");
    }
    if (affect == 0 && !arg_set(a, "current")) {
        return vireo_domain_set_vcpus(sh->conn, &d, count) < 0 ? fail_last() : 0;
    }
    return vireo_domain_set_vcpus_flags(sh->conn, &d, count, affect) < 0 ? fail_last() : 0;
}

static int count_of(struct shell *sh, const struct vireo_domain *d, uint32_t flags)
{
    AUTO_RET struct vireo_domain_get_vcpus_flags_ret *ret = NULL;

    return vireo_domain_get_vcpus_flags(sh->conn, d, flags, &ret) < 0 ? -1 : ret->num;
}

static int vcpucount(struct shell *sh, struct args *a)
{
    bool one = arg_set(a, "maximum") || arg_set(a, "active") || arg_set(a, "live") ||
               arg_set(a, "config") || arg_set(a, "current") || arg_set(a, "guest");
    static const struct {
        const char *which, *when;
        uint32_t flags;
    } rows[] = { { "maximum", "config", 6 },
                 { "maximum", "live", 5 },
                 { "current", "config", 2 },
                 { "current", "live", 1 } };

    DOMAIN(a, d);
    if (arg_exclusive(a, "live", "config") || arg_exclusive(a, "maximum", "active") ||
        arg_exclusive(a, "current", "live") || arg_exclusive(a, "current", "config") ||
        arg_exclusive(a, "guest", "config")) {
        return -1;
    }
    if (one) {
        uint32_t flags = (arg_set(a, "maximum") ? 4u : 0) | (arg_set(a, "live") ? 1u : 0) |
                         (arg_set(a, "config") ? 2u : 0) | (arg_set(a, "guest") ? 8u : 0);
        int n = count_of(sh, &d, flags);

        if (n < 0) {
            return fail_last();
        }
        printf("%d\n", n);
        return 0;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int n = count_of(sh, &d, rows[i].flags);

        if (n >= 0) {
            printf("%-12s %-12s %3d\n", rows[i].which, rows[i].when, n);
        }
    }
    return 0;
}

/* "0,2-3" or with pretty the same words as virsh: "0,2-3 (out of 4)". */
static char *map_text(const uint8_t *map, int n)
{
    struct strbuf b = STRBUF_INIT(65536);
    bool first = true;

    for (int i = 0; i < n; i++) {
        int end = i;

        if (!(map[i / 8] & (1u << (i % 8)))) {
            continue;
        }
        while (end + 1 < n && (map[(end + 1) / 8] & (1u << ((end + 1) % 8)))) {
            end++;
        }
        strbuf_printf(&b, end > i ? "%s%d-%d" : "%s%d", first ? "" : ",", i, end);
        first = false;
        i = end;
    }
    return strbuf_take(&b);
}

static int host_cpus(struct shell *sh)
{
    AUTO_RET struct vireo_node_get_cpu_map_ret *map = NULL;

    return vireo_node_get_cpu_map(sh->conn, 0, 0, 0, &map) < 0 ? -1 : map->ret;
}

static int read_map(const char *text, int n, uint8_t *map)
{
    AUTO_FREE char *copy = strdup(text);
    char *p = copy;

    memset(map, 0, MAP_BYTES);
    if (str_eq(text, "r")) {
        for (int i = 0; i < n; i++) {
            map[i / 8] |= (uint8_t)(1u << (i % 8));
        }
        return 0;
    }
    while (p != NULL && *p != '\0') {
        char *v = strsep(&p, ","), *dash;
        uint32_t from, to;
        bool clear = *v == '^';

        v += clear ? 1 : 0;
        dash = strchr(v, '-');
        if (dash != NULL) {
            *dash = '\0';
        }
        if (str_to_u32(v, CPUS_MAX - 1, &from) < 0 ||
            (dash != NULL && str_to_u32(dash + 1, CPUS_MAX - 1, &to) < 0)) {
            return error("Invalid cpulist '%s'", text);
        }
        to = dash != NULL ? to : from;
        for (uint32_t i = from; i <= to && i < CPUS_MAX; i++) {
            map[i / 8] = clear ? (uint8_t)(map[i / 8] & ~(1u << (i % 8)))
                               : (uint8_t)(map[i / 8] | (1u << (i % 8)));
        }
    }
    return 0;
}

static int vcpuinfo(struct shell *sh, struct args *a)
{
    static const char *const states[] = { "offline", "running", "blocked" };
    AUTO_RET struct vireo_domain_get_info_ret *info = NULL;
    AUTO_RET struct vireo_domain_get_vcpus_ret *ret = NULL;
    AUTO_RET struct vireo_domain_get_vcpu_pin_info_ret *pins = NULL;
    int cpus, len, n;
    const uint8_t *maps;
    bool live = true;

    DOMAIN(a, d);
    cpus = host_cpus(sh);
    if (cpus < 0 || vireo_domain_get_info(sh->conn, &d, &info) < 0) {
        return fail_last();
    }
    len = (cpus + 7) / 8;
    n = info->nrVirtCpu;
    if (vireo_domain_get_vcpus(sh->conn, &d, n, len, &ret) == 0) {
        n = (int)ret->n_info;
        maps = ret->cpumaps;
    } else {
        if (info->state != 5) {
            return fail_last();
        }
        live = false;
        if (vireo_domain_get_vcpu_pin_info(sh->conn, &d, n, len, 2, &pins) < 0) {
            return fail_last();
        }
        n = pins->num;
        maps = pins->cpumaps;
    }
    for (int i = 0; i < n; i++) {
        if (live) {
            printf("%-15s %d\n%-15s %d\n", "VCPU:", ret->info[i].number, "CPU:", ret->info[i].cpu);
            printf(
                "%-15s %s\n", "State:",
                states[ret->info[i].state >= 0 && ret->info[i].state < 3 ? ret->info[i].state : 0]);
            if (ret->info[i].cpu_time != 0) {
                printf("%-15s %.1lfs\n", "CPU time:", (double)ret->info[i].cpu_time / 1000000000.0);
            }
        } else {
            printf("%-15s %d\n%-15s %s\n%-15s %s\n%-15s %s\n", "VCPU:", i, "CPU:", "N/A",
                   "State:", "N/A", "CPU time", "N/A");
        }
        printf("%-15s ", "CPU Affinity:");
        if (arg_set(a, "pretty")) {
            AUTO_FREE char *text = map_text(maps + i * len, cpus);

            printf("%s (out of %d)", text != NULL ? text : "", cpus);
        } else {
            for (int k = 0; k < cpus; k++) {
                (void)putchar(maps[i * len + k / 8] & (1u << (k % 8)) ? 'y' : '-');
            }
        }
        printf(i + 1 < n ? "\n\n" : "\n");
    }
    return 0;
}

static int vcpupin(struct shell *sh, struct args *a)
{
    uint8_t map[MAP_BYTES];
    unsigned vcpu = 0;
    uint32_t affect;
    int cpus, len, given;

    DOMAIN(a, d);
    if (arg_affect(a, &affect) || (given = arg_uint(a, "vcpu", &vcpu)) < 0) {
        return -1;
    }
    if (given == 0 && arg(a, "cpulist") != NULL) {
        return error("vcpupin: Missing vCPU number in pin mode.");
    }
    cpus = host_cpus(sh);
    if (cpus < 0) {
        return fail_last();
    }
    len = (cpus + 7) / 8;
    if (arg(a, "cpulist") == NULL) {
        AUTO_RET struct vireo_domain_get_vcpu_pin_info_ret *ret = NULL;
        struct table *t;
        int n = count_of(sh, &d, affect | 4);

        if (n < 0) {
            n = count_of(sh, &d, affect == 1 ? 5 : 6);
        }
        if (n < 0 || vireo_domain_get_vcpu_pin_info(sh->conn, &d, n, len, affect, &ret) < 0) {
            return fail_last();
        }
        t = table_new("VCPU", "CPU Affinity", NULL);
        for (int i = 0; i < ret->num; i++) {
            AUTO_FREE char *text = map_text(ret->cpumaps + i * len, cpus);
            char number[16];

            (void)snprintf(number, sizeof(number), "%d", i);
            if (given == 0 || (int)vcpu == i) {
                table_row(t, number, text);
            }
        }
        table_print(t, sh, true);
        return 0;
    }
    if (read_map(arg(a, "cpulist"), cpus, map)) {
        return -1;
    }
    return (affect != 0 || arg_set(a, "current")
                ? vireo_domain_pin_vcpu_flags(sh->conn, &d, vcpu, map, (uint32_t)len, affect)
                : vireo_domain_pin_vcpu(sh->conn, &d, vcpu, map, (uint32_t)len)) < 0
               ? fail_last()
               : 0;
}

static int emulatorpin(struct shell *sh, struct args *a)
{
    uint8_t map[MAP_BYTES];
    uint32_t affect;
    int cpus, len;

    DOMAIN(a, d);
    if (arg_affect(a, &affect)) {
        return -1;
    }
    cpus = host_cpus(sh);
    if (cpus < 0) {
        return fail_last();
    }
    len = (cpus + 7) / 8;
    if (arg(a, "cpulist") == NULL) {
        AUTO_RET struct vireo_domain_get_emulator_pin_info_ret *ret = NULL;
        AUTO_FREE char *text = NULL;

        if (vireo_domain_get_emulator_pin_info(sh->conn, &d, len, affect, &ret) < 0) {
            return fail_last();
        }
        text = map_text(ret->cpumaps, cpus);
        printf("%s %s\n", "emulator:", "CPU Affinity");
        printf("----------------------------------\n");
        printf("       *: %s\n", text != NULL ? text : "");
        return 0;
    }
    if (read_map(arg(a, "cpulist"), cpus, map)) {
        return -1;
    }
    return vireo_domain_pin_emulator(sh->conn, &d, map, (uint32_t)len, affect) < 0 ? fail_last()
                                                                                   : 0;
}

static int cpu_stats(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_cpu_stats_ret *count = NULL;
    AUTO_RET struct vireo_domain_get_cpu_stats_ret *ret = NULL;
    bool all = !arg_set(a, "total") && !arg_set(a, "start") && !arg_set(a, "count"),
         total = arg_set(a, "total") || all;
    unsigned start = 0, want = 0;

    DOMAIN(a, d);
    if (arg_uint(a, "start", &start) < 0 || arg_uint(a, "count", &want) < 0) {
        return -1;
    }
    if (all || arg_set(a, "start") || arg_set(a, "count")) {
        AUTO_RET struct vireo_domain_get_cpu_stats_ret *cpus = NULL;
        AUTO_RET struct vireo_domain_get_cpu_stats_ret *each = NULL;
        AUTO_RET struct vireo_domain_get_cpu_stats_ret *rows = NULL;
        unsigned n;

        if (vireo_domain_get_cpu_stats(sh->conn, &d, 0, 0, 0, 0, &cpus) < 0 ||
            vireo_domain_get_cpu_stats(sh->conn, &d, 0, 0, 1, 0, &each) < 0) {
            return fail("Failed to retrieve CPU statistics for domain '%s'", d.name);
        }
        n = cpus->nparams > (int)start ? (unsigned)cpus->nparams - start : 0;
        n = want > 0 && want < n ? want : n;
        if (n > 0 && each->nparams > 0) {
            if (vireo_domain_get_cpu_stats(sh->conn, &d, (uint32_t)each->nparams, (int32_t)start, n,
                                           0, &rows) < 0) {
                return fail("Failed to retrieve CPU statistics for domain '%s'", d.name);
            }
            for (unsigned i = 0; i < n; i++) {
                printf("CPU%u:\n", start + i);
                for (int k = 0; k < each->nparams && (uint32_t)(i * (unsigned)each->nparams +
                                                                (unsigned)k) < rows->n_params;
                     k++) {
                    const struct vireo_param *p =
                        &rows->params[i * (unsigned)each->nparams + (unsigned)k];

                    if (p->kind == VIREO_PARAM_ULLONG) {
                        printf("\t%-12s %9llu.%09llu seconds\n", p->field,
                               (unsigned long long)p->value.ul / 1000000000,
                               (unsigned long long)p->value.ul % 1000000000);
                    }
                }
            }
        }
    }
    if (!total) {
        return 0;
    }
    if (vireo_domain_get_cpu_stats(sh->conn, &d, 0, -1, 1, 0, &count) < 0 ||
        vireo_domain_get_cpu_stats(sh->conn, &d, (uint32_t)count->nparams, -1, 1, 0, &ret) < 0) {
        return fail("Failed to retrieve CPU statistics for domain '%s'", d.name);
    }
    printf("Total:\n");
    for (uint32_t i = 0; i < ret->n_params; i++) {
        if (ret->params[i].kind == VIREO_PARAM_ULLONG) {
            printf("\t%-12s %9llu.%09llu seconds\n", ret->params[i].field,
                   (unsigned long long)ret->params[i].value.ul / 1000000000,
                   (unsigned long long)ret->params[i].value.ul % 1000000000);
        }
    }
    return 0;
}

static int guestvcpus(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_guest_vcpus_ret *ret = NULL;

    DOMAIN(a, d);
    if (arg_exclusive(a, "enable", "disable")) {
        return -1;
    }
    if (arg_set(a, "enable") || arg_set(a, "disable")) {
        if (arg(a, "cpulist") == NULL) {
            return error("Option --cpulist is required by option --%s",
                         arg_set(a, "enable") ? "enable" : "disable");
        }
        return vireo_domain_set_guest_vcpus(sh->conn, &d, arg(a, "cpulist"), arg_set(a, "enable"),
                                            0) < 0
                   ? fail_last()
                   : 0;
    }
    if (vireo_domain_get_guest_vcpus(sh->conn, &d, 0, &ret) < 0) {
        return fail_last();
    }
    for (uint32_t i = 0; i < ret->n_params; i++) {
        AUTO_FREE char *text = param_text(&ret->params[i]);

        printf("%-15s: %s\n", ret->params[i].field, text != NULL ? text : "");
    }
    return 0;
}

static int setvcpu(struct shell *sh, struct args *a)
{
    uint32_t affect;

    DOMAIN(a, d);
    if (arg_exclusive(a, "enable", "disable") || arg_affect(a, &affect)) {
        return -1;
    }
    if (!arg_set(a, "enable") && !arg_set(a, "disable")) {
        return error("one of options --enable or --disable is required by command setvcpu");
    }
    return vireo_domain_set_vcpu(sh->conn, &d, arg(a, "vcpulist"), arg_set(a, "enable"), affect) < 0
               ? fail_last()
               : 0;
}

/* ---- I/O threads ---- */

static int iothreadinfo(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_iothread_info_ret *ret = NULL;
    struct table *t;
    uint32_t affect;
    int cpus;

    DOMAIN(a, d);
    if (arg_affect(a, &affect)) {
        return -1;
    }
    cpus = host_cpus(sh);
    if (vireo_domain_get_iothread_info(sh->conn, &d, affect, &ret) < 0) {
        return fail("Unable to get domain IOThreads information");
    }
    if (ret->n_info == 0) {
        printf("No IOThreads found for the domain");
        return 0;
    }
    t = table_new("IOThread ID", "CPU Affinity", NULL);
    for (uint32_t i = 0; i < ret->n_info; i++) {
        AUTO_FREE char *text =
            map_text(ret->info[i].cpumap,
                     (int)ret->info[i].n_cpumap * 8 < cpus ? (int)ret->info[i].n_cpumap * 8 : cpus);
        char number[16];

        (void)snprintf(number, sizeof(number), "%u", ret->info[i].iothread_id);
        table_row(t, number, text);
    }
    table_print(t, sh, true);
    return 0;
}

static int iothread_id(struct args *a, const char *name, unsigned *ret)
{
    return arg_uint(a, name, ret) < 0 ? -1
           : *ret == 0                ? error("Invalid IOThread id value: '%u'", *ret)
                                      : 0;
}

static int iothreadadd(struct shell *sh, struct args *a)
{
    uint32_t affect;
    unsigned id = 0;

    DOMAIN(a, d);
    return arg_affect(a, &affect) || iothread_id(a, "id", &id)       ? -1
           : vireo_domain_add_iothread(sh->conn, &d, id, affect) < 0 ? fail_last()
                                                                     : 0;
}

static int iothreaddel(struct shell *sh, struct args *a)
{
    uint32_t affect;
    unsigned id = 0;

    DOMAIN(a, d);
    return arg_affect(a, &affect) || iothread_id(a, "id", &id)       ? -1
           : vireo_domain_del_iothread(sh->conn, &d, id, affect) < 0 ? fail_last()
                                                                     : 0;
}

static int iothreadset(struct shell *sh, struct args *a)
{
    static const struct tuning t[] = { { "poll-max-ns", "poll_max_ns", VIREO_PARAM_ULLONG, 0 },
                                       { "poll-grow", "poll_grow", VIREO_PARAM_UINT, 0 },
                                       { "poll-shrink", "poll_shrink", VIREO_PARAM_UINT, 0 },
                                       { "thread-pool-min", "thread_pool_min", VIREO_PARAM_INT, 0 },
                                       { "thread-pool-max", "thread_pool_max", VIREO_PARAM_INT, 0 },
                                       { NULL, NULL, 0, 0 } };
    struct vireo_param params[8];
    uint32_t affect, n;
    unsigned id = 0;

    DOMAIN(a, d);
    if (arg_affect(a, &affect) || iothread_id(a, "id", &id) || read_params(a, t, params, &n)) {
        return -1;
    }
    if (n == 0) {
        return error("Not enough arguments passed, nothing to set");
    }
    return vireo_domain_set_iothread_params(sh->conn, &d, id, params, n, affect) < 0 ? fail_last()
                                                                                     : 0;
}

static int iothreadpin(struct shell *sh, struct args *a)
{
    uint8_t map[MAP_BYTES];
    uint32_t affect;
    unsigned id = 0;
    int cpus;

    DOMAIN(a, d);
    cpus = host_cpus(sh);
    if (arg_affect(a, &affect) || iothread_id(a, "iothread", &id) || cpus < 0 ||
        read_map(arg(a, "cpulist"), cpus, map)) {
        return -1;
    }
    return vireo_domain_pin_iothread(sh->conn, &d, id, map, (uint32_t)(cpus + 7) / 8, affect) < 0
               ? fail_last()
               : 0;
}

static int perf(struct shell *sh, struct args *a)
{
    struct vireo_param params[64];
    AUTO_FREE char *on = arg(a, "enable") != NULL ? strdup(arg(a, "enable")) : NULL;
    AUTO_FREE char *off = arg(a, "disable") != NULL ? strdup(arg(a, "disable")) : NULL;
    uint32_t affect, n = 0;

    DOMAIN(a, d);
    if (arg_affect(a, &affect)) {
        return -1;
    }
    for (int k = 0; k < 2; k++) {
        char *p = k == 0 ? on : off;

        while (p != NULL && n < 64) {
            params[n++] = (struct vireo_param) { .field = strsep(&p, ","),
                                                 .kind = VIREO_PARAM_BOOLEAN,
                                                 .value.b = k == 0 };
        }
    }
    if (n > 0) {
        if (vireo_domain_set_perf_events(sh->conn, &d, params, n, affect) < 0) {
            return fail("Unable to enable/disable perf events");
        }
    } else {
        AUTO_RET struct vireo_domain_get_perf_events_ret *ret = NULL;

        if (vireo_domain_get_perf_events(sh->conn, &d, affect, &ret) < 0) {
            return fail("Unable to get perf events");
        }
        for (uint32_t i = 0; i < ret->n_params; i++) {
            if (ret->params[i].kind == VIREO_PARAM_BOOLEAN) {
                printf("%-15s: %s\n", ret->params[i].field,
                       ret->params[i].value.b ? "enabled" : "disabled");
            }
        }
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        printf("%-15s: %s\n", params[i].field, params[i].value.b ? "enabled" : "disabled");
    }
    return 0;
}

static int update_memory(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_xml_desc_ret *x = NULL;
    AUTO_DOC xmlDoc *doc = NULL;
    AUTO_FREE char *text = NULL;
    xmlNode *devices, *m = NULL, *found = NULL, *requested;
    unsigned long long size = 0;
    unsigned node = 0;
    uint32_t affect;
    int by_node;

    DOMAIN(a, d);
    if (arg_affect(a, &affect) || arg_exclusive(a, "node", "alias") ||
        (by_node = arg_uint(a, "node", &node)) < 0 ||
        arg_size(a, "requested-size", 1024, &size) < 0) {
        return -1;
    }
    if (vireo_domain_get_xml_desc(sh->conn, &d, affect == 2 ? 2 : 0, &x) < 0 ||
        (doc = document_read(x->xml)) == NULL) {
        return fail_last();
    }
    devices = element_at(xmlDocGetRootElement(doc), "devices");
    while ((m = element_next(devices, m, "memory")) != NULL) {
        AUTO_FREE char *model = element_attr(m, "model"), *alias = element_get(m, "alias/@name"),
                       *on = element_get(m, "target/node");

        if (model != NULL && str_eq(model, "virtio-mem") &&
            (arg(a, "alias") == NULL || (alias != NULL && str_eq(alias, arg(a, "alias")))) &&
            (by_node == 0 || (on != NULL && (unsigned)strtoul(on, NULL, 10) == node))) {
            found = m;
        }
    }
    if (found == NULL) {
        return error("no virtio-mem device found");
    }
    requested = element_at(found, "target/requested");
    if (requested != NULL && arg(a, "requested-size") != NULL) {
        char kib[32];

        (void)snprintf(kib, sizeof(kib), "%llu", size / 1024);
        xmlNodeSetContent(requested, (const xmlChar *)kib);
        (void)xmlSetProp(requested, (const xmlChar *)"unit", (const xmlChar *)"KiB");
    }
    text = element_text(found);
    if (text == NULL) {
        return -1;
    }
    if (arg_set(a, "print-xml")) {
        printf("%s", text);
        return 0;
    }
    return vireo_domain_update_device_flags(sh->conn, &d, text, affect) < 0
               ? fail("Failed to update memory device")
               : 0;
}

const struct shell_command tune_commands[] = {
    { "blkiotune",
      "domain! weight# device-weights device-read-iops-sec device-write-iops-sec device-read-bytes-sec device-write-bytes-sec --config --live --current",
      blkiotune, "show or set the shares of disk input and output", false },
    { "cpu-stats", "domain! --total start# count#", cpu_stats, "show the CPU time a domain used",
      false },
    { "domiftune", "domain! interface! inbound outbound --config --live --current", domiftune,
      "show or set the rates of a network interface", false },
    { "emulatorpin", "domain! cpulist --config --live --current", emulatorpin,
      "show or set the emulator's CPUs", false },
    { "guestvcpus", "domain! cpulist --enable --disable", guestvcpus,
      "show or set the CPUs that the guest uses", false },
    { "iothreadadd", "domain! id#! --config --live --current", iothreadadd, "add an I/O thread",
      false },
    { "iothreaddel", "domain! id#! --config --live --current", iothreaddel, "remove an I/O thread",
      false },
    { "iothreadinfo", "domain! --config --live --current", iothreadinfo, "list I/O threads",
      false },
    { "iothreadpin", "domain! iothread#! cpulist! --config --live --current", iothreadpin,
      "set the CPUs of an I/O thread", false },
    { "iothreadset",
      "domain! id#! poll-max-ns# poll-grow# poll-shrink# thread-pool-min# thread-pool-max# --config --live --current",
      iothreadset, "change an I/O thread", false },
    { "memtune",
      "domain! hard-limit# soft-limit# swap-hard-limit# min-guarantee# --config --live --current",
      memtune, "show or set memory limits", false },
    { "numatune", "domain! mode nodeset --config --live --current", numatune,
      "show or set where memory comes from", false },
    { "perf", "domain! enable disable --config --live --current", perf,
      "show or switch performance events", false },
    { "schedinfo", "domain! weight#= cap#= --current --config --live set*", schedinfo,
      "show or set scheduler parameters", false },
    { "setmaxmem", "domain! size#! --config --live --current", setmaxmem,
      "set the most memory a domain may have", false },
    { "setmem", "domain! size#! --config --live --current", setmem, "set a domain's memory",
      false },
    { "setvcpu", "domain! vcpulist! --enable --disable --config --live --current", setvcpu,
      "switch single vCPUs", false },
    { "setvcpus", "domain! count#! --maximum --config --live --current --guest --hotpluggable",
      setvcpus, "set the number of vCPUs", false },
    { "update-memory-device",
      "domain! --config --live --current --print-xml alias node# requested-size#", update_memory,
      "change a memory device", false },
    { "vcpucount", "domain! --maximum --active --live --config --current --guest", vcpucount,
      "show the number of vCPUs", false },
    { "vcpuinfo", "domain! --pretty", vcpuinfo, "show each vCPU", false },
    { "vcpupin", "domain! vcpu# cpulist --config --live --current", vcpupin,
      "show or set the CPUs of vCPUs", false },
    { NULL, NULL, NULL, NULL, false },
};
