/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/migrate.h"

#include "base/str.h"
#include "mgmt/driver/qemu/stats.h"
#include "mgmt/server/lock.h"
#include "os/loop.h"
#include "rpc/fault.h"

#include <errno.h>

enum { POLL_USEC = 50000 };

static void take_stats(struct job_stats *s, struct json_object *o)
{
    struct json_object *ram = json_member(o, "ram");
    static const struct {
        const char *key;
        size_t at;
    } keys[] = { { "total", offsetof(struct job_stats, total) },
                 { "remaining", offsetof(struct job_stats, remaining) },
                 { "transferred", offsetof(struct job_stats, processed) },
                 { "duplicate", offsetof(struct job_stats, constant) },
                 { "normal", offsetof(struct job_stats, normal) },
                 { "normal-bytes", offsetof(struct job_stats, normal_bytes) },
                 { "dirty-pages-rate", offsetof(struct job_stats, dirty_rate) },
                 { "dirty-sync-count", offsetof(struct job_stats, iteration) },
                 { "page-size", offsetof(struct job_stats, page_size) } };
    int64_t v;

    for (size_t i = 0; ram != NULL && i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (json_get_i64(ram, keys[i].key, &v, NULL) == 0) {
            *(uint64_t *)(void *)((char *)s + keys[i].at) = (uint64_t)v;
        }
    }
    if (json_get_i64(o, "downtime", &v, NULL) == 0) {
        s->downtime_msec = (uint64_t)v;
        s->downtime_known = true;
    }
    s->setup_msec = (uint64_t)json_i64_or(o, "setup-time", 0);
    s->elapsed_msec = (loop_now_usec() - s->start_usec) / 1000;
}

static int no_pause(struct run *r, struct err **err)
{
    struct json_object *a = json_object_new_object(), *list = json_object_new_array();
    struct json_object *one = json_object_new_object();

    (void)json_add_str(one, "capability", "pause-before-switchover");
    (void)json_add_bool(one, "state", false);
    json_object_array_add(list, one);
    (void)json_add(a, "capabilities", list);
    return monitor_run(r->qmp, "migrate-set-capabilities", a, NULL, err);
}

/* One look: 1 when it is over (or goes on from the other side), 0 while it runs. */
static int look(struct run *r, const char *operation, struct err **err)
{
    AUTO_JSON struct json_object *o = NULL;
    const char *status, *why;
    struct json_object *a;
    int result;

    if (r->domain == NULL) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "domain is not running");
    }
    result = monitor_run(r->qmp, "query-migrate", NULL, &o, err);
    if (result < 0) {
        return result;
    }
    status = json_str_or(o, "status", "");
    why = json_str_or(o, "error-desc", NULL);
    if (r->stats != NULL) {
        take_stats(r->stats, o);
    }
    if (str_eq(status, "completed")) {
        return 1;
    }
    if (str_eq(status, "postcopy-active")) {
        return r->migration == MIGRATION_POSTCOPY ? 0 : 2;
    }
    if (str_eq(status, "failed")) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "job '%s' failed%s%s", operation,
                     why != NULL ? ": " : "", why != NULL ? why : "");
    }
    if (str_eq(status, "cancelled")) {
        return fault(err, DOM_QEMU, OPERATION_ABORTED, "job '%s' canceled by client", operation);
    }
    if (str_eq(status, "pre-switchover") && r->stats != NULL && !r->stats->switched) {
        r->stats->switched = true; /* it takes a moment to leave that state */
        a = json_object_new_object();
        (void)json_add_str(a, "state", "pre-switchover");
        return monitor_run(r->qmp, "migrate-continue", a, NULL, err);
    }
    (void)lock_wait(&r->changed, loop_now_usec() + POLL_USEC);
    return 0;
}

int migrate_wait(struct domain *d, const char *operation, struct err **err)
{
    struct run *r = run_ref(run_of(d));
    int result;

    do {
        result = look(r, operation, err);
    } while (result == 0);
    if (result == 2) {
        r->migration = MIGRATION_POSTCOPY;
    } else if (r->domain != NULL) {
        stats_end(d, result > 0, err != NULL && *err != NULL ? (*err)->text : NULL);
    }
    run_unref(r);
    return result > 0 ? 0 : result;
}

int migrate_run(struct domain *d, const char *uri, const char *operation, struct err **err)
{
    struct json_object *a;
    int r;

    if (stats_begin(d, operation) == NULL) {
        return -ENOMEM;
    }
    a = json_object_new_object();
    (void)json_add_str(a, "uri", uri);
    r = monitor_run(run_of(d)->qmp, "migrate", a, NULL, err);
    if (r < 0) {
        stats_end(d, false, err != NULL && *err != NULL ? (*err)->text : NULL);
        return r;
    }
    return migrate_wait(d, operation, err);
}

int migrate_to_fd(struct domain *d, int fd, const char *operation, struct err **err)
{
    struct run *run = run_of(d);
    struct json_object *a = json_object_new_object();
    int r = no_pause(run, err);

    (void)json_add_i64(a, "max-bandwidth", INT64_MAX / 1024 / 1024 / 1024 * 1024 * 1024);
    r = r == 0 ? monitor_run(run->qmp, "migrate-set-parameters", a, NULL, err)
               : (json_object_put(a), r);
    if (r == 0) {
        a = json_object_new_object();
        (void)json_add_str(a, "fdname", "migrate");
        r = monitor_run_fd(run->qmp, "getfd", a, fd, MONITOR_WAIT_USEC, NULL, err);
    }
    return r == 0 ? migrate_run(d, "fd:migrate", operation, err) : r;
}

void migrate_cancel(struct domain *d)
{
    run_of(d)->job_abort = true;
    (void)monitor_run(run_of(d)->qmp, "migrate_cancel", NULL, NULL, NULL);
}
