/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/stats.h"

#include "base/str.h"
#include "mgmt/driver/qemu/events.h"
#include "os/loop.h"

static const char *const operations[] = {
    [OPERATION_START] = "start",
    [OPERATION_SAVE] = "save",
    [OPERATION_RESTORE] = "restore",
    [OPERATION_MIGRATION_IN] = "migration in",
    [OPERATION_MIGRATION_OUT] = "migration out",
    [OPERATION_SNAPSHOT] = "snapshot",
    [OPERATION_SNAPSHOT_REVERT] = "snapshot revert",
    [OPERATION_DUMP] = "dump",
    [OPERATION_BACKUP] = "backup",
};

void stats_free(struct job_stats *s)
{
    if (s != NULL) {
        free(s->why);
        free(s);
    }
}

struct job_stats *stats_begin(struct domain *d, const char *operation)
{
    struct run *r = run_of(d);

    stats_free(r->stats);
    r->stats = calloc(1, sizeof(*r->stats));
    if (r->stats == NULL) {
        return NULL;
    }
    r->stats->active = true;
    r->stats->start_usec = loop_now_usec();
    for (size_t i = OPERATION_START; i < sizeof(operations) / sizeof(operations[0]); i++) {
        if (str_eq(operations[i], operation)) {
            r->stats->operation = (int)i;
        }
    }
    r->job_operation = operation;
    r->job_abort = false;
    return r->stats;
}

void stats_end(struct domain *d, bool success, const char *why)
{
    struct run *r = run_of(d);

    r->job_operation = NULL;
    if (r->stats == NULL || !r->stats->active) {
        return;
    }
    r->stats->active = false;
    r->stats->completed = true;
    r->stats->success = success;
    r->stats->elapsed_msec = (loop_now_usec() - r->stats->start_usec) / 1000;
    free(r->stats->why);
    r->stats->why = why != NULL ? strdup(why) : NULL;
    events_job_completed(d);
}

static void backup_params(const struct job_stats *s, struct params *p)
{
    if (s->pull) {
        params_ullong(p, "disk_temp_used", s->processed);
        params_ullong(p, "disk_temp_total", s->total);
    } else {
        params_ullong(p, "disk_total", s->total);
        params_ullong(p, "disk_processed", s->processed);
        params_ullong(p, "disk_remaining", s->remaining);
    }
}

static void memory_params(const struct job_stats *s, struct params *p)
{
    if (s->downtime_known) {
        params_ullong(p, "downtime", s->downtime_msec);
    }
    if (s->setup_msec > 0) {
        params_ullong(p, "setup_time", s->setup_msec);
    }
    params_ullong(p, "data_total", s->total);
    params_ullong(p, "data_processed", s->processed);
    params_ullong(p, "data_remaining", s->remaining);
    params_ullong(p, "memory_total", s->total);
    params_ullong(p, "memory_processed", s->processed);
    params_ullong(p, "memory_remaining", s->remaining);
    params_ullong(p, "memory_bps", s->bps);
    params_ullong(p, "memory_constant", s->constant);
    params_ullong(p, "memory_normal", s->normal);
    params_ullong(p, "memory_normal_bytes", s->normal_bytes);
    params_ullong(p, "memory_dirty_rate", s->dirty_rate);
    params_ullong(p, "memory_iteration", s->iteration);
    if (s->page_size > 0) {
        params_ullong(p, "memory_page_size", s->page_size);
    }
}

void stats_params(const struct job_stats *s, struct params *p)
{
    params_int(p, "operation", s->operation);
    params_ullong(p, "time_elapsed", s->elapsed_msec);
    if (s->operation == OPERATION_BACKUP) {
        backup_params(s, p);
    } else {
        memory_params(s, p);
    }
    if (s->completed) {
        params_bool(p, "success", s->success);
    }
    if (s->why != NULL) {
        params_str(p, "errmsg", s->why);
    }
}
