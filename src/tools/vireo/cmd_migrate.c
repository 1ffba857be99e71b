/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_migrate.c - moving domains to other hosts, and long jobs in general. */
#include "tools/vireo/document.h"
#include "tools/vireo/shell.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum {
    MIGRATE_PEER2PEER = 2,
    MIGRATE_PAUSED = 32,
    MIGRATE_OFFLINE = 1024,
    JOB_NONE = 0,
    JOB_COMPLETED = 3,
    POLL_USEC = 250000,
    PARAMS_MAX = 24
};

/* ---- the steps, driven from here ---- */

struct move {
    struct shell *sh;
    const struct vireo_domain *d;
    const char *dest; /* the other daemon's URI */
    struct vireo_param params[PARAMS_MAX];
    uint32_t n, flags;
    bool direct;
    atomic_bool over;
    int result;
    struct vireo_error error; /* of the thread that failed; the text is owned */
};

static void add_text(struct move *m, const char *name, const char *value)
{
    if (value != NULL && m->n < PARAMS_MAX) {
        m->params[m->n++] = (struct vireo_param) { .field = (char *)(uintptr_t)name,
                                                   .kind = VIREO_PARAM_STRING,
                                                   .value.s = (char *)(uintptr_t)value };
    }
}

static void set_text(struct move *m, const char *name, const char *value)
{
    for (uint32_t i = 0; i < m->n; i++) {
        if (str_eq(m->params[i].field, name)) {
            m->params[i].value.s = (char *)(uintptr_t)value;
            return;
        }
    }
    add_text(m, name, value);
}

static void keep_error(struct move *m)
{
    const struct vireo_error *e = vireo_last_error();

    if (m->error.message == NULL) {
        m->error = *e;
        m->error.message = strdup(e->message);
    }
}

static int direct_steps(struct move *m, struct vireo_connect *there)
{
    struct vireo_connect *here = m->sh->conn;
    AUTO_RET struct vireo_domain_migrate_begin3_params_ret *begun = NULL;
    AUTO_RET struct vireo_domain_migrate_prepare3_params_ret *prepared = NULL;
    AUTO_RET struct vireo_domain_migrate_perform3_params_ret *performed = NULL;
    AUTO_RET struct vireo_domain_migrate_finish3_params_ret *finished = NULL;
    AUTO_RET struct vireo_domain_get_state_ret *state = NULL;
    uint32_t flags = m->flags;
    int r, end;

    if (vireo_domain_get_state(here, m->d, 0, &state) == 0 && state->state == 3) {
        flags |= MIGRATE_PAUSED;
    }
    if (vireo_domain_migrate_begin3_params(here, m->d, m->params, m->n, flags, &begun) < 0) {
        keep_error(m);
        return -1;
    }
    set_text(m, "destination_xml", begun->xml);
    r = vireo_domain_migrate_prepare3_params(there, m->params, m->n, begun->cookie_out,
                                             begun->n_cookie_out, flags, &prepared);
    if (r < 0) {
        keep_error(m);
        return -1;
    }
    if (prepared->uri_out != NULL) {
        set_text(m, "migrate_uri", prepared->uri_out);
    }
    r = vireo_domain_migrate_perform3_params(here, m->d, NULL, m->params, m->n,
                                             prepared->cookie_out, prepared->n_cookie_out, flags,
                                             &performed);
    if (r < 0) {
        keep_error(m);
    }
    set_text(m, "destination_name", m->d->name);
    end = vireo_domain_migrate_finish3_params(
        there, m->params, m->n, performed != NULL ? performed->cookie_out : NULL,
        performed != NULL ? performed->n_cookie_out : 0, flags, r < 0, &finished);
    if (r == 0 && end < 0) {
        keep_error(m);
    }
    if (r == 0) {
        r = end;
        if (vireo_domain_migrate_confirm3_params(
                here, m->d, m->params, m->n, finished != NULL ? finished->cookie_out : NULL,
                finished != NULL ? finished->n_cookie_out : 0, flags, r < 0) < 0 &&
            r == 0) {
            keep_error(m);
            r = -1;
        }
    }
    return r;
}

static int peer_steps(struct move *m)
{
    AUTO_RET struct vireo_domain_migrate_perform3_params_ret *ret = NULL;

    if (vireo_domain_migrate_perform3_params(m->sh->conn, m->d, m->dest, m->params, m->n, NULL, 0,
                                             m->flags, &ret) < 0) {
        keep_error(m);
        return -1;
    }
    return 0;
}

static void *run_move(void *arg)
{
    struct move *m = arg;
    struct vireo_connect *there = NULL;

    if (!m->direct) {
        m->result = peer_steps(m);
    } else if (vireo_connect_open(m->dest, 0, &there) < 0) {
        keep_error(m);
        m->result = -1;
    } else {
        m->result = direct_steps(m, there);
        vireo_connect_close(there);
    }
    m->over = true;
    return NULL;
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

static void print_percent(int percent)
{
    (void)fprintf(stderr, "\r%s: [%3d %%]", "Migration", percent);
    (void)fflush(stderr);
}

/* The move runs in its own thread; here its progress is shown, and Ctrl-C ends it. */
static int watch(struct move *m, bool verbose, unsigned timeout, bool suspend)
{
    struct sigaction act = { .sa_handler = on_interrupt }, old;
    pthread_t thread;
    unsigned ticks = 0;
    bool timed_out = false;

    if (pthread_create(&thread, NULL, run_move, m) != 0) {
        return error("cannot start a thread");
    }
    interrupted = 0;
    (void)sigaction(SIGINT, &act, &old);
    while (!m->over) {
        AUTO_RET struct vireo_domain_get_job_info_ret *i = NULL;

        (void)usleep(POLL_USEC / 5);
        if (ticks++ % 5 != 0) {
            continue;
        }
        if (interrupted) {
            (void)vireo_domain_abort_job(m->sh->conn, m->d);
            interrupted = 0;
        }
        if (timeout > 0 && !timed_out && ticks * (POLL_USEC / 5) / 1000000 >= timeout) {
            timed_out = true;
            if (suspend) {
                (void)vireo_domain_suspend(m->sh->conn, m->d);
            }
        }
        if (verbose && vireo_domain_get_job_info(m->sh->conn, m->d, &i) == 0 &&
            i->type_ != JOB_NONE && i->dataTotal > 0) {
            int percent = (int)((i->dataTotal - i->dataRemaining) * 100 / i->dataTotal);

            print_percent(percent > 99 ? 99 : percent);
        }
    }
    (void)pthread_join(thread, NULL);
    (void)sigaction(SIGINT, &old, NULL);
    if (verbose && m->result == 0) {
        print_percent(100);
        (void)fputc('\n', stderr);
    }
    return m->result;
}

static int migrate(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "live", 1 },
                                         { "p2p", 2 },
                                         { "tunnelled", 4 },
                                         { "persistent", 8 },
                                         { "undefinesource", 16 },
                                         { "suspend", 32 },
                                         { "copy-storage-all", 64 },
                                         { "copy-storage-inc", 128 },
                                         { "change-protection", 256 },
                                         { "unsafe", 512 },
                                         { "offline", 1024 },
                                         { "compressed", 2048 },
                                         { "abort-on-error", 4096 },
                                         { "auto-converge", 8192 },
                                         { "rdma-pin-all", 16384 },
                                         { "postcopy", 32768 },
                                         { "tls", 65536 },
                                         { "parallel", 131072 },
                                         { "copy-storage-synchronous-writes", 262144 },
                                         { "postcopy-resume", 524288 },
                                         { "zerocopy", 1048576 },
                                         { NULL, 0 } };
    static const struct {
        const char *option, *field;
    } texts[] = { { "migrateuri", "migrate_uri" },          { "graphicsuri", "graphics_uri" },
                  { "listen-address", "listen_address" },   { "dname", "destination_name" },
                  { "migrate-disks", "migrate_disks" },     { "comp-methods", "compression" },
                  { "tls-destination", "tls.destination" }, { "disks-uri", "disks_uri" } };
    static const struct {
        const char *option, *field;
    } numbers[] = { { "disks-port", "disks_port" },
                    { "comp-mt-level", "compression.mt.level" },
                    { "comp-mt-threads", "compression.mt.threads" },
                    { "comp-mt-dthreads", "compression.mt.dthreads" },
                    { "auto-converge-initial", "auto_converge.initial" },
                    { "auto-converge-increment", "auto_converge.increment" },
                    { "parallel-connections", "parallel.connections" } };
    static const struct {
        const char *option, *field;
    } sizes[] = { { "bandwidth", "bandwidth" },
                  { "postcopy-bandwidth", "bandwidth.postcopy" },
                  { "comp-xbzrle-cache", "compression.xbzrle.cache" } };
    struct move m = { .sh = sh,
                      .dest = arg(a, "desturi"),
                      .flags = arg_flags(a, flags),
                      .direct = !arg_set(a, "p2p") && !arg_set(a, "direct") };
    AUTO_FREE char *xml = NULL, *persistent = NULL;
    unsigned timeout = 0;
    int r;

    DOMAIN(a, d);
    m.d = &d;
    if (arg_exclusive(a, "live", "offline") ||
        arg_exclusive(a, "timeout-suspend", "timeout-postcopy") ||
        arg_requires(a, "postcopy-after-precopy", "postcopy") ||
        arg_requires(a, "persistent-xml", "persistent") || arg_uint(a, "timeout", &timeout) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        add_text(&m, texts[i].field, arg(a, texts[i].option));
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        int v;
        int got = arg_int(a, numbers[i].option, &v);

        if (got < 0) {
            return -1;
        }
        if (got == 1) {
            m.params[m.n++] = (struct vireo_param) { .field = (char *)(uintptr_t)numbers[i].field,
                                                     .kind = VIREO_PARAM_INT,
                                                     .value.i = v };
        }
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned long long v;
        int got = arg_ull(a, sizes[i].option, &v);

        if (got < 0) {
            return -1;
        }
        if (got == 1) {
            m.params[m.n++] = (struct vireo_param) { .field = (char *)(uintptr_t)sizes[i].field,
                                                     .kind = VIREO_PARAM_ULLONG,
                                                     .value.ul = v };
        }
    }
    xml = arg(a, "xml") != NULL ? read_file(arg(a, "xml")) : NULL;
    persistent = arg(a, "persistent-xml") != NULL ? read_file(arg(a, "persistent-xml")) : NULL;
    if ((arg(a, "xml") != NULL && xml == NULL) ||
        (arg(a, "persistent-xml") != NULL && persistent == NULL)) {
        return -1;
    }
    add_text(&m, "destination_xml", xml);
    add_text(&m, "persistent_xml", persistent);
    r = watch(&m, arg_set(a, "verbose"), timeout, !arg_set(a, "timeout-postcopy"));
    if (r < 0) {
        (void)error("%s", m.error.message != NULL ? m.error.message : "migration failed");
    }
    free((char *)(uintptr_t)m.error.message);
    return r;
}

/* ---- limits ---- */

static int set_downtime(struct shell *sh, struct args *a)
{
    unsigned long long v = 0;

    DOMAIN(a, d);
    if (arg_ull(a, "downtime", &v) < 0) {
        return -1;
    }
    if (v < 1) {
        return error("migrate: Invalid downtime");
    }
    return vireo_domain_migrate_set_max_downtime(sh->conn, &d, v, 0) < 0 ? fail_last() : 0;
}

static int get_downtime(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_migrate_get_max_downtime_ret *ret = NULL;

    DOMAIN(a, d);
    if (vireo_domain_migrate_get_max_downtime(sh->conn, &d, 0, &ret) < 0) {
        return fail_last();
    }
    printf("%" PRIu64 "\n", ret->downtime);
    return 0;
}

static int cache(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_migrate_get_compression_cache_ret *ret = NULL;
    unsigned long long v = 0;
    const char *unit;
    double nice;
    int r;

    DOMAIN(a, d);
    if ((r = arg_ull(a, "size", &v)) < 0) {
        return -1;
    }
    if ((r == 1 && vireo_domain_migrate_set_compression_cache(sh->conn, &d, v, 0) < 0) ||
        vireo_domain_migrate_get_compression_cache(sh->conn, &d, 0, &ret) < 0) {
        return fail_last();
    }
    nice = pretty_size(ret->cacheSize, &unit);
    printf("Compression cache: %.3f %s", nice, unit);
    return 0;
}

static int set_speed(struct shell *sh, struct args *a)
{
    unsigned long long v = 0;

    DOMAIN(a, d);
    if (arg_ull(a, "bandwidth", &v) < 0) {
        return -1;
    }
    return vireo_domain_migrate_set_max_speed(sh->conn, &d, v, arg_set(a, "postcopy") ? 1 : 0) < 0
               ? fail_last()
               : 0;
}

static int get_speed(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_migrate_get_max_speed_ret *ret = NULL;

    DOMAIN(a, d);
    if (vireo_domain_migrate_get_max_speed(sh->conn, &d, arg_set(a, "postcopy") ? 1 : 0, &ret) <
        0) {
        return fail_last();
    }
    printf("%" PRIu64 "\n", ret->bandwidth);
    return 0;
}

static int start_postcopy(struct shell *sh, struct args *a)
{
    DOMAIN(a, d);
    return vireo_domain_migrate_start_post_copy(sh->conn, &d, 0) < 0 ? fail_last() : 0;
}

/* ---- jobs ---- */

static const char *const job_types[] = { "None",      "Bounded", "Unbounded",
                                         "Completed", "Failed",  "Cancelled" };
static const char *const operations[] = {
    "Unknown",  "Start",           "Save", "Restore", "Incoming migration", "Outgoing migration",
    "Snapshot", "Snapshot revert", "Dump", "Backup",  "Snapshot delete"
};

static void size_line(const struct vireo_param *list, uint32_t n, const char *field,
                      const char *title, bool zero)
{
    const struct vireo_param *p = vireo_param_find(list, n, field);
    const char *unit;
    double v;

    if (p == NULL || (!zero && p->value.ul == 0)) {
        return;
    }
    v = pretty_size(p->value.ul, &unit);
    printf("%-17s %-.3lf %s\n", title, v, unit);
}

static void number_line(const struct vireo_param *list, uint32_t n, const char *field,
                        const char *title, const char *unit)
{
    const struct vireo_param *p = vireo_param_find(list, n, field);

    if (p != NULL) {
        printf("%-17s %-12" PRIu64 "%s%s\n", title, p->value.ul, *unit != '\0' ? " " : "", unit);
    }
}

static int job_info(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_job_stats_ret *ret = NULL;
    const struct vireo_param *p, *l;
    uint32_t n,
        flags = (arg_set(a, "completed") ? 1u : 0) | (arg_set(a, "keep-completed") ? 2u : 0);

    DOMAIN(a, d);
    if (arg_requires(a, "keep-completed", "completed") ||
        arg_exclusive(a, "keep-completed", "anystats")) {
        return -1;
    }
    if (vireo_domain_get_job_stats(sh->conn, &d, flags, &ret) < 0) {
        return fail_last();
    }
    l = ret->params;
    n = ret->n_params;
    if (arg_set(a, "rawstats")) {
        printf("Job type: %d\n\n", ret->type_);
        for (uint32_t i = 0; i < n; i++) {
            char *param_text(const struct vireo_param *q);
            AUTO_FREE char *text = param_text(&l[i]);

            printf("%s: %s\n", l[i].field, text != NULL ? text : "");
        }
        return 0;
    }
    printf("%-17s %-12s\n",
           "Job type:", job_types[ret->type_ >= 0 && ret->type_ < 6 ? ret->type_ : 0]);
    if (ret->type_ == JOB_NONE ||
        (ret->type_ >= JOB_COMPLETED && !arg_set(a, "completed") && !arg_set(a, "anystats"))) {
        return 0;
    }
    p = vireo_param_find(l, n, "operation");
    printf("%-17s %-12s\n", "Operation:",
           operations[p != NULL && p->value.i >= 0 && p->value.i < 11 ? p->value.i : 0]);
    number_line(l, n, "time_elapsed", "Time elapsed:", "ms");
    number_line(l, n, "time_remaining", "Time remaining:", "ms");
    size_line(l, n, "data_processed", "Data processed:", true);
    size_line(l, n, "data_remaining", "Data remaining:", true);
    size_line(l, n, "data_total", "Data total:", true);
    size_line(l, n, "memory_processed", "Memory processed:", true);
    size_line(l, n, "memory_remaining", "Memory remaining:", true);
    size_line(l, n, "memory_total", "Memory total:", true);
    p = vireo_param_find(l, n, "memory_bps");
    if (p != NULL && p->value.ul > 0) {
        const char *unit;
        double v = pretty_size(p->value.ul, &unit);

        printf("%-17s %-.3lf %s/s\n", "Memory bandwidth:", v, unit);
    }
    p = vireo_param_find(l, n, "memory_dirty_rate");
    if (p != NULL && ret->type_ != JOB_COMPLETED) {
        printf("%-17s %-12" PRIu64 " pages/s\n", "Dirty rate:", p->value.ul);
    }
    p = vireo_param_find(l, n, "memory_page_size");
    if (p != NULL) {
        printf("%-17s %-12" PRIu64 " bytes\n", "Page size:", p->value.ul);
    }
    p = vireo_param_find(l, n, "memory_iteration");
    if (p != NULL) {
        printf("%-17s %-12" PRIu64 "\n", "Iteration:", p->value.ul);
    }
    size_line(l, n, "disk_processed", "File processed:", true);
    size_line(l, n, "disk_remaining", "File remaining:", true);
    size_line(l, n, "disk_total", "File total:", true);
    p = vireo_param_find(l, n, "memory_constant");
    if (p != NULL) {
        printf("%-17s %-12" PRIu64 "\n", "Constant pages:", p->value.ul);
    }
    p = vireo_param_find(l, n, "memory_normal");
    if (p != NULL) {
        printf("%-17s %-12" PRIu64 "\n", "Normal pages:", p->value.ul);
    }
    size_line(l, n, "memory_normal_bytes", "Normal data:", true);
    p = vireo_param_find(l, n, "downtime");
    if (p != NULL) {
        printf(ret->type_ == JOB_COMPLETED ? "%-17s %-12" PRIu64 " ms\n"
                                           : "%-17s %-12" PRIu64 " ms\n",
               ret->type_ == JOB_COMPLETED ? "Total downtime:" : "Expected downtime:", p->value.ul);
    }
    number_line(l, n, "setup_time", "Setup time:", "ms");
    size_line(l, n, "disk_temp_used", "Temporary disk space use:", true);
    size_line(l, n, "disk_temp_total", "Temporary disk space total:", true);
    p = vireo_param_find(l, n, "errmsg");
    if (p != NULL) {
        printf("%-17s %s\n", "Error message:", p->value.s);
    }
    return 0;
}

static int job_abort(struct shell *sh, struct args *a)
{
    DOMAIN(a, d);
    return (arg_set(a, "postcopy") ? vireo_domain_abort_job_flags(sh->conn, &d, 1)
                                   : vireo_domain_abort_job(sh->conn, &d)) < 0
               ? fail_last()
               : 0;
}

static int dirty_rate(struct shell *sh, struct args *a)
{
    int seconds = 1;

    DOMAIN(a, d);
    if (arg_int(a, "seconds", &seconds) < 0) {
        return -1;
    }
    if (vireo_domain_start_dirty_rate_calc(sh->conn, &d, seconds, 0) < 0) {
        return fail_last();
    }
    extra(sh, "Start to calculate domain's memory dirty rate successfully.\n");
    return 0;
}

static int associate(struct shell *sh, struct args *a)
{
    (void)sh;
    return error("command '%s' passes descriptors, which this client cannot", a->command->name);
}

const struct shell_command migrate_commands[] = {
    { "dom-fd-associate", "domain! name! pass-fds! --seclabel-writable --seclabel-restore",
      associate, "give a domain open descriptors", false },
    { "domdirtyrate-calc", "domain! seconds# mode", dirty_rate,
      "measure how fast the guest writes memory", false },
    { "domjobabort", "domain! --postcopy", job_abort, "end a domain's job", false },
    { "domjobinfo", "domain! --completed --keep-completed --anystats --rawstats", job_info,
      "show a domain's job", false },
    { "migrate",
      "domain! desturi! --live --offline --p2p --direct --tunnelled --persistent --undefinesource --suspend --copy-storage-all --copy-storage-inc --copy-storage-synchronous-writes --change-protection --unsafe --verbose --compressed --auto-converge --rdma-pin-all --abort-on-error --postcopy --postcopy-after-precopy --postcopy-resume --zerocopy migrateuri graphicsuri listen-address dname timeout# --timeout-suspend --timeout-postcopy xml migrate-disks disks-port# disks-uri comp-methods comp-mt-level# comp-mt-threads# comp-mt-dthreads# comp-xbzrle-cache# auto-converge-initial# auto-converge-increment# persistent-xml --tls postcopy-bandwidth# --parallel parallel-connections# bandwidth# tls-destination",
      migrate, "move a domain to another host", false },
    { "migrate-compcache", "domain! size#", cache, "show or set the cache of compressed migration",
      false },
    { "migrate-getmaxdowntime", "domain!", get_downtime,
      "show how long a migration may stop the guest", false },
    { "migrate-getspeed", "domain! --postcopy", get_speed,
      "show the limit of a migration's bandwidth", false },
    { "migrate-postcopy", "domain!", start_postcopy, "switch a migration to post-copy", false },
    { "migrate-setmaxdowntime", "domain! downtime#!", set_downtime,
      "set how long a migration may stop the guest", false },
    { "migrate-setspeed", "domain! bandwidth#! --postcopy", set_speed,
      "limit a migration's bandwidth", false },
    { NULL, NULL, NULL, NULL, false },
};
