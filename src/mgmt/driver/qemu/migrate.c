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
                 { "dirty-sync-count", offsetof(struct job_stats, iteration) } };
    int64_t v;

    for (size_t i = 0; ram != NULL && i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (json_get_i64(ram, keys[i].key, &v, NULL) == 0) {
            *(uint64_t *)(void *)((char *)s + keys[i].at) = (uint64_t)v;
        }
    }
    if (json_get_i64(o, "downtime", &v, NULL) == 0) {
        s->downtime_msec = (uint64_t)v;
    }
    s->elapsed_msec = (loop_now_usec() - s->start_usec) / 1000;
}

static int set_pause(struct run *r, bool on, struct err **err)
{
    struct json_object *a = json_object_new_object(), *list = json_object_new_array();
    struct json_object *one = json_object_new_object();

    (void)json_add_str(one, "capability", "pause-before-switchover");
    (void)json_add_bool(one, "state", on);
    json_object_array_add(list, one);
    (void)json_add(a, "capabilities", list);
    return monitor_run(r->qmp, "migrate-set-capabilities", a, NULL, err);
}

int migrate_run(struct domain *d, const char *uri, int fd, const char *operation, bool pause_before,
                struct err **err)
{
    struct run *r = run_ref(run_of(d));
    struct json_object *a;
    int result = stats_begin(d, operation) != NULL ? 0 : -ENOMEM;

    if (result == 0) {
        result = set_pause(r, pause_before, err);
    }
    if (result == 0) {
        a = json_object_new_object();
        (void)json_add_i64(a, "max-bandwidth", INT64_MAX / 1024 / 1024 / 1024 * 1024 * 1024);
        result = monitor_run(r->qmp, "migrate-set-parameters", a, NULL, err);
    }
    if (result == 0 && fd >= 0) {
        a = json_object_new_object();
        (void)json_add_str(a, "fdname", "migrate");
        result = monitor_run_fd(r->qmp, "getfd", a, fd, MONITOR_WAIT_USEC, NULL, err);
    }
    if (result == 0) {
        a = json_object_new_object();
        (void)json_add_str(a, "uri", uri);
        result = monitor_run(r->qmp, "migrate", a, NULL, err);
    }
    while (result == 0) {
        AUTO_JSON struct json_object *o = NULL;
        const char *status = "", *why = NULL;

        if (r->domain == NULL) {
            result = fault(err, DOM_QEMU, OPERATION_FAILED, "domain is not running");
            break;
        }
        result = monitor_run(r->qmp, "query-migrate", NULL, &o, err);
        if (result < 0) {
            break;
        }
        status = json_str_or(o, "status", status);
        why = json_str_or(o, "error-desc", why);
        take_stats(r->stats, o);
        if (str_eq(status, "completed")) {
            break;
        }
        if (str_eq(status, "failed")) {
            result = fault(err, DOM_QEMU, OPERATION_FAILED, "job '%s' failed%s%s", operation,
                           why != NULL ? ": " : "", why != NULL ? why : "");
            break;
        }
        if (str_eq(status, "cancelled")) {
            result =
                fault(err, DOM_QEMU, OPERATION_ABORTED, "job '%s' canceled by client", operation);
            break;
        }
        if (str_eq(status, "pre-switchover")) {
            a = json_object_new_object();
            (void)json_add_str(a, "state", "pre-switchover");
            result = monitor_run(r->qmp, "migrate-continue", a, NULL, err);
            continue;
        }
        (void)lock_wait(&r->changed, loop_now_usec() + POLL_USEC);
    }
    if (r->domain != NULL) {
        stats_end(d, result == 0, err != NULL && *err != NULL ? (*err)->text : NULL);
    }
    run_unref(r);
    return result;
}

int migrate_to_fd(struct domain *d, int fd, const char *operation, struct err **err)
{
    return migrate_run(d, "fd:migrate", fd, operation, false, err);
}

void migrate_cancel(struct domain *d)
{
    run_of(d)->job_abort = true;
    (void)monitor_run(run_of(d)->qmp, "migrate_cancel", NULL, NULL, NULL);
}
