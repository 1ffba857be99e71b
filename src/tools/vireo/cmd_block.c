/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_block.c - jobs on disks' images, sizes, limits of input and output. */
#include "tools/vireo/shell.h"

#include <inttypes.h>
#include <signal.h>
#include <time.h>

enum {
    JOB_PULL = 1,
    JOB_COPY,
    JOB_COMMIT,
    JOB_ACTIVE_COMMIT,
    ABORT_ASYNC = 1,
    ABORT_PIVOT = 2,
    POLL_USEC = 100000,
    BYTES_OF_MIB = 1 << 20
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

static const char *const job_titles[] = { "Unknown job", "Block Pull", "Block Copy", "Block Commit",
                                          "Active Block Commit" };

static void print_progress(const char *title, uint64_t cur, uint64_t end)
{
    double percent = end == 0 ? 0 : cur >= end ? 100 : (double)cur * 100 / (double)end;

    if (cur < end && percent > 99.99) {
        percent = 99.99;
    }
    (void)fprintf(stderr, "\r%s: [%5.2f %%]", title, percent);
    (void)fflush(stderr);
}

/* What waiting for a job found. */
enum outcome { OUTCOME_DONE, OUTCOME_READY, OUTCOME_FAILED, OUTCOME_CANCELED };

/* Until the job is gone or ready; how it ended is what its event says. */
struct wait {
    const char *path;
    enum outcome outcome;
    bool told;
};

static void on_event(void *arg, int qemu, int event, const void *msg)
{
    struct wait *w = arg;
    const struct vireo_domain_event_block_job_2_msg *m = msg;

    if (!qemu && event == VIREO_DOMAIN_EVENT_BLOCK_JOB_2 && str_eq(m->dst, w->path)) {
        w->told = true;
        w->outcome = m->status == 0   ? OUTCOME_DONE
                     : m->status == 1 ? OUTCOME_FAILED
                     : m->status == 2 ? OUTCOME_CANCELED
                                      : OUTCOME_READY;
    }
}

static int wait_job(struct shell *sh, struct args *a, const struct vireo_domain *d,
                    const char *title, int32_t callback, enum outcome *ret)
{
    bool verbose = arg_set(a, "verbose");
    struct wait w = { .path = arg(a, "path"), .outcome = OUTCOME_DONE };
    struct sigaction act = { .sa_handler = on_interrupt }, old;
    unsigned timeout = 0;
    uint64_t until;
    int r = 0;

    if (arg_uint(a, "timeout", &timeout) < 0) {
        return -1;
    }
    until = timeout > 0 ? (uint64_t)time(NULL) + timeout : UINT64_MAX;
    interrupted = 0;
    (void)sigaction(SIGINT, &act, &old);
    for (bool over = false; !over && r == 0;) {
        AUTO_RET struct vireo_domain_get_block_job_info_ret *i = NULL;

        if (vireo_domain_get_block_job_info(sh->conn, d, w.path, 0, &i) < 0) {
            r = fail("failed to query job for disk %s", w.path);
            break;
        }
        if (verbose && i->found) {
            print_progress(title, i->cur, i->end);
        }
        if (!i->found || (i->end != 0 && i->cur == i->end)) {
            /* Its last event says how it ended. */
            if (i->found) {
                w.outcome = OUTCOME_READY;
                over = true;
            }
            for (int tries = 0; !over && !w.told && tries < 20; tries++) {
                (void)vireo_connect_events(sh->conn, POLL_USEC / 1000, on_event, &w);
            }
            over = true;
            break;
        }
        if (interrupted || (uint64_t)time(NULL) >= until) {
            (void)vireo_domain_block_job_abort(sh->conn, d, w.path,
                                               arg_set(a, "async") ? ABORT_ASYNC : 0);
            w.outcome = OUTCOME_CANCELED;
            break;
        }
        (void)vireo_connect_events(sh->conn, POLL_USEC / 1000, on_event, &w);
        over = w.told;
    }
    (void)sigaction(SIGINT, &old, NULL);
    if (verbose && r == 0 && (w.outcome == OUTCOME_DONE || w.outcome == OUTCOME_READY)) {
        print_progress(title, 1, 1);
    }
    (void)callback;
    *ret = w.outcome;
    return r;
}

/* Begins, and with --wait goes on to the end. */
static int run_job(struct shell *sh, struct args *a, const struct vireo_domain *d,
                   const char *title, const char *what, int begun, int32_t callback,
                   bool two_phases)
{
    bool pivot = arg_set(a, "pivot"), finish = arg_set(a, "finish") || arg_set(a, "keep-overlay");
    enum outcome outcome;
    const char *path = arg(a, "path");

    if (begun < 0) {
        return fail_last();
    }
    if (!arg_set(a, "wait") && !arg_set(a, "verbose") && !pivot && !finish) {
        extra(sh, "%s started", what);
        return 0;
    }
    if (wait_job(sh, a, d, title, callback, &outcome)) {
        return -1;
    }
    if (arg_set(a, "verbose")) {
        printf("\n");
    }
    switch (outcome) {
    case OUTCOME_FAILED:
        extra(sh, "\n%s failed", what);
        return -1;
    case OUTCOME_CANCELED:
        extra(sh, "\n%s aborted", what);
        return -1;
    case OUTCOME_READY:
        if (pivot) {
            if (vireo_domain_block_job_abort(sh->conn, d, path, ABORT_PIVOT) < 0) {
                return fail("failed to pivot job for disk %s", path);
            }
            extra(sh, "\nSuccessfully pivoted");
        } else if (finish) {
            if (vireo_domain_block_job_abort(sh->conn, d, path, 0) < 0) {
                return fail("failed to finish job for disk %s", path);
            }
            extra(sh, arg_set(a, "finish") ? "\nSuccessfully copied"
                                           : "\nCommit complete, overlay image kept");
        } else {
            extra(sh, "\nNow in mirroring phase");
        }
        return 0;
    default:
        extra(sh, two_phases                    ? "\nNow in mirroring phase"
                  : str_eq(title, "Block Pull") ? "\nPull complete"
                                                : "\nCommit complete");
        return 0;
    }
}

static int listen_jobs(struct shell *sh, struct args *a, const struct vireo_domain *d, int32_t *ret)
{
    AUTO_RET struct vireo_connect_domain_event_callback_register_any_ret *cb = NULL;

    *ret = -1;
    if (arg_set(a, "wait") || arg_set(a, "verbose") || arg_set(a, "pivot") ||
        arg_set(a, "finish") || arg_set(a, "keep-overlay")) {
        if (vireo_connect_domain_event_callback_register_any(sh->conn, 16, d, &cb) < 0) {
            return fail_last();
        }
        *ret = cb->callbackID;
    }
    return 0;
}

static void ignore_jobs(struct shell *sh, int32_t callback)
{
    if (callback >= 0) {
        (void)vireo_connect_domain_event_callback_deregister_any(sh->conn, callback);
    }
}

static int bandwidth(struct args *a, bool bytes, uint64_t *ret)
{
    unsigned long long v = 0;

    if (arg_size(a, "bandwidth", bytes ? 1 : BYTES_OF_MIB, &v) < 0) {
        return -1;
    }
    *ret = bytes ? v : v / BYTES_OF_MIB;
    return 0;
}

static int commit(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "shallow", 1 },       { "delete", 2 }, { "active", 4 },
                                         { "keep-relative", 8 }, { "bytes", 16 }, { NULL, 0 } };
    uint32_t bits = arg_flags(a, flags);
    int32_t cb;
    uint64_t bw;
    int r;

    DOMAIN(a, d);
    if (arg_exclusive(a, "pivot", "keep-overlay") || bandwidth(a, arg_set(a, "bytes"), &bw) ||
        listen_jobs(sh, a, &d, &cb)) {
        return -1;
    }
    if (arg_set(a, "pivot") || arg_set(a, "keep-overlay")) {
        bits |= 4;
    }
    r = vireo_domain_block_commit(sh->conn, &d, arg(a, "path"), arg(a, "base"), arg(a, "top"), bw,
                                  bits);
    r = run_job(sh, a, &d, "Block commit", bits & 4 ? "Active Block Commit" : "Block Commit", r, cb,
                (bits & 4) != 0);
    ignore_jobs(sh, cb);
    return r;
}

static int pull(struct shell *sh, struct args *a)
{
    int32_t cb;
    uint64_t bw;
    int r;

    DOMAIN(a, d);
    if (bandwidth(a, arg_set(a, "bytes"), &bw) || listen_jobs(sh, a, &d, &cb)) {
        return -1;
    }
    if (arg(a, "base") != NULL || arg_set(a, "keep-relative")) {
        r = vireo_domain_block_rebase(sh->conn, &d, arg(a, "path"), arg(a, "base"), bw,
                                      (arg_set(a, "keep-relative") ? 16u : 0) |
                                          (arg_set(a, "bytes") ? 64u : 0));
    } else {
        r = vireo_domain_block_pull(sh->conn, &d, arg(a, "path"), bw, arg_set(a, "bytes") ? 64 : 0);
    }
    r = run_job(sh, a, &d, "Block Pull", "Block Pull", r, cb, false);
    ignore_jobs(sh, cb);
    return r;
}

static char *copy_target(struct args *a)
{
    AUTO_FREE char *dest = xml_quote(arg(a, "dest"));
    bool block = arg_set(a, "blockdev");

    return dest == NULL ? NULL
           : arg(a, "format") != NULL
               ? str_format(
                     "<disk type='%s'>\n  <source %s='%s'/>\n  <driver type='%s'/>\n</disk>\n",
                     block ? "block" : "file", block ? "dev" : "file", dest, arg(a, "format"))
               : str_format("<disk type='%s'>\n  <source %s='%s'/>\n</disk>\n",
                            block ? "block" : "file", block ? "dev" : "file", dest);
}

static int copy(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "shallow", 1 },
                                         { "reuse-external", 2 },
                                         { "transient-job", 4 },
                                         { "synchronous-writes", 8 },
                                         { NULL, 0 } };
    struct vireo_param params[3];
    AUTO_FREE char *xml = NULL;
    unsigned granularity = 0;
    unsigned long long buf = 0;
    uint32_t n = 0;
    int32_t cb;
    uint64_t bw;
    int r;

    DOMAIN(a, d);
    if (arg_exclusive(a, "dest", "xml") || arg_exclusive(a, "format", "xml") ||
        arg_exclusive(a, "blockdev", "xml") || arg_exclusive(a, "pivot", "finish") ||
        bandwidth(a, arg_set(a, "bytes"), &bw) || arg_uint(a, "granularity", &granularity) < 0 ||
        arg_ull(a, "buf-size", &buf) < 0) {
        return -1;
    }
    if (!arg_set(a, "dest") && !arg_set(a, "xml")) {
        return error("Option --dest or --xml is required");
    }
    xml = arg(a, "xml") != NULL ? read_file(arg(a, "xml")) : copy_target(a);
    if (xml == NULL) {
        return -1;
    }
    if (arg_set(a, "print-xml")) {
        printf("%s", xml);
        return 0;
    }
    if (bw > 0) {
        params[n++] = (struct vireo_param) { .field = (char *)(uintptr_t) "bandwidth",
                                             .kind = VIREO_PARAM_ULLONG,
                                             .value.ul = arg_set(a, "bytes") ? bw : bw << 20 };
    }
    if (granularity > 0) {
        params[n++] = (struct vireo_param) { .field = (char *)(uintptr_t) "granularity",
                                             .kind = VIREO_PARAM_UINT,
                                             .value.ui = granularity };
    }
    if (buf > 0) {
        params[n++] = (struct vireo_param) { .field = (char *)(uintptr_t) "buf-size",
                                             .kind = VIREO_PARAM_ULLONG,
                                             .value.ul = buf };
    }
    if (listen_jobs(sh, a, &d, &cb)) {
        return -1;
    }
    r = vireo_domain_block_copy(sh->conn, &d, arg(a, "path"), xml, params, n, arg_flags(a, flags));
    r = run_job(sh, a, &d, "Block Copy", "Block Copy", r, cb, true);
    ignore_jobs(sh, cb);
    return r;
}

static int job(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_block_job_info_ret *i = NULL;
    const char *path = arg(a, "path");
    bool bytes = arg_set(a, "bytes");
    uint64_t bw;

    DOMAIN(a, d);
    if (arg_exclusive(a, "raw", "abort") || arg_exclusive(a, "raw", "async") ||
        arg_exclusive(a, "raw", "pivot") || arg_exclusive(a, "abort", "info") ||
        arg_exclusive(a, "pivot", "info") || arg_exclusive(a, "bandwidth", "info")) {
        return -1;
    }
    if (arg_set(a, "abort") || arg_set(a, "async") || arg_set(a, "pivot")) {
        return vireo_domain_block_job_abort(sh->conn, &d, path,
                                            (arg_set(a, "async") ? ABORT_ASYNC : 0u) |
                                                (arg_set(a, "pivot") ? ABORT_PIVOT : 0u)) < 0
                   ? fail_last()
                   : 0;
    }
    if (arg_set(a, "bandwidth")) {
        if (bandwidth(a, bytes, &bw)) {
            return -1;
        }
        return vireo_domain_block_job_set_speed(sh->conn, &d, path, bw, bytes ? 1 : 0) < 0
                   ? fail_last()
                   : 0;
    }
    if (vireo_domain_get_block_job_info(sh->conn, &d, path, bytes ? 1 : 0, &i) < 0) {
        return fail_last();
    }
    if (!i->found) {
        if (!arg_set(a, "raw")) {
            extra(sh, "No current block job for %s", path);
        }
        return 0;
    }
    if (arg_set(a, "raw")) {
        printf(" type=%d\n bandwidth=%" PRIu64 "\n cur=%" PRIu64 "\n end=%" PRIu64 "\n", i->type_,
               i->bandwidth, i->cur, i->end);
        return 0;
    }
    print_progress(job_titles[i->type_ >= 0 && i->type_ < 5 ? i->type_ : 0], i->cur, i->end);
    if (i->bandwidth != 0) {
        const char *unit;
        double v = pretty_size(bytes ? i->bandwidth : i->bandwidth << 20, &unit);

        printf("    Bandwidth limit: %" PRIu64 " %s (%-.3lf %s/s)", i->bandwidth,
               bytes ? "bytes/s" : "MiB/s", v, unit);
    }
    printf("\n");
    return 0;
}

static int resize(struct shell *sh, struct args *a)
{
    unsigned long long size;

    DOMAIN(a, d);
    if (arg_size(a, "size", 1024, &size) < 0) {
        return -1;
    }
    if (vireo_domain_block_resize(sh->conn, &d, arg(a, "path"),
                                  size % 1024 == 0 ? size / 1024 : size,
                                  size % 1024 == 0 ? 0 : 1) < 0) {
        return fail("Failed to resize block device '%s'", arg(a, "path"));
    }
    extra(sh, "Block device '%s' is resized", arg(a, "path"));
    return 0;
}

static int threshold(struct shell *sh, struct args *a)
{
    unsigned long long v;

    DOMAIN(a, d);
    if (arg_size(a, "threshold", 1, &v) < 0) {
        return -1;
    }
    return vireo_domain_set_block_threshold(sh->conn, &d, arg(a, "dev"), v, 0) < 0 ? fail_last()
                                                                                   : 0;
}

char *param_text(const struct vireo_param *p);

static int iotune(struct shell *sh, struct args *a)
{
    static const char *const names[] = { "total-bytes-sec",
                                         "read-bytes-sec",
                                         "write-bytes-sec",
                                         "total-iops-sec",
                                         "read-iops-sec",
                                         "write-iops-sec",
                                         "total-bytes-sec-max",
                                         "read-bytes-sec-max",
                                         "write-bytes-sec-max",
                                         "total-iops-sec-max",
                                         "read-iops-sec-max",
                                         "write-iops-sec-max",
                                         "size-iops-sec",
                                         "total-bytes-sec-max-length",
                                         "read-bytes-sec-max-length",
                                         "write-bytes-sec-max-length",
                                         "total-iops-sec-max-length",
                                         "read-iops-sec-max-length",
                                         "write-iops-sec-max-length" };
    enum { N = sizeof(names) / sizeof(names[0]) };
    struct vireo_param params[N + 1];
    char fields[N][64];
    uint32_t affect, n = 0;

    DOMAIN(a, d);
    if (arg_affect(a, &affect)) {
        return -1;
    }
    for (size_t i = 0; i < N; i++) {
        unsigned long long v;
        int r = arg_size(a, names[i], 1, &v);

        if (r < 0) {
            return -1;
        }
        if (r == 1) {
            (void)snprintf(fields[i], sizeof(fields[i]), "%s", names[i]);
            for (char *p = fields[i]; *p != '\0'; p++) {
                *p = *p == '-' ? '_' : *p;
            }
            params[n++] = (struct vireo_param) { .field = fields[i],
                                                 .kind = VIREO_PARAM_ULLONG,
                                                 .value.ul = v };
        }
    }
    if (arg(a, "group-name") != NULL) {
        params[n++] = (struct vireo_param) { .field = (char *)(uintptr_t) "group_name",
                                             .kind = VIREO_PARAM_STRING,
                                             .value.s = (char *)(uintptr_t)arg(a, "group-name") };
    }
    if (n > 0) {
        return vireo_domain_set_block_io_tune(sh->conn, &d, arg(a, "device"), params, n, affect) < 0
                   ? fail("Unable to change block I/O throttle")
                   : 0;
    }
    {
        AUTO_RET struct vireo_domain_get_block_io_tune_ret *count = NULL;
        AUTO_RET struct vireo_domain_get_block_io_tune_ret *ret = NULL;

        if (vireo_domain_get_block_io_tune(sh->conn, &d, arg(a, "device"), 0, affect, &count) < 0 ||
            vireo_domain_get_block_io_tune(sh->conn, &d, arg(a, "device"), count->nparams, affect,
                                           &ret) < 0) {
            return fail("Unable to get block I/O throttle parameters");
        }
        for (uint32_t i = 0; i < ret->n_params; i++) {
            AUTO_FREE char *text = param_text(&ret->params[i]);

            printf("%-15s: %s\n", ret->params[i].field, text != NULL ? text : "");
        }
    }
    return 0;
}

const struct shell_command block_commands[] = {
    { "blkdeviotune",
      "domain! device! total-bytes-sec# --total_bytes_sec>total-bytes-sec read-bytes-sec# write-bytes-sec# total-iops-sec# --total_iops_sec>total-iops-sec read-iops-sec# write-iops-sec# total-bytes-sec-max# read-bytes-sec-max# write-bytes-sec-max# total-iops-sec-max# read-iops-sec-max# write-iops-sec-max# size-iops-sec# group-name total-bytes-sec-max-length# read-bytes-sec-max-length# write-bytes-sec-max-length# total-iops-sec-max-length# read-iops-sec-max-length# write-iops-sec-max-length# --config --live --current",
      iotune, "show or set the limits of a disk", false },
    { "blockcommit",
      "domain! path! bandwidth# base --shallow top --active --delete --wait --verbose timeout# --pivot --keep-overlay --async --keep-relative --bytes",
      commit, "merge a disk's image into the one below", false },
    { "blockcopy",
      "domain! path! dest bandwidth# --shallow --reuse-external --raw --blockdev --wait --verbose timeout# --pivot --finish --async xml format granularity# buf-size# --bytes --transient-job --synchronous-writes --print-xml",
      copy, "copy a disk to another image", false },
    { "blockjob", "domain! path! --abort --async --pivot --info --bytes --raw bandwidth#", job,
      "look at, change or end a disk's job", false },
    { "blockpull",
      "domain! path! bandwidth# base --wait --verbose timeout# --async --keep-relative --bytes",
      pull, "take all data of the images below into a disk's image", false },
    { "blockresize", "domain! path! size#!", resize, "change the size of a disk", false },
    { "domblkthreshold", "domain! dev! threshold#!", threshold,
      "be told when an image grows beyond a size", false },
    { NULL, NULL, NULL, NULL, false },
};
