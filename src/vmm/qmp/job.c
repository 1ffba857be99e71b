/* SPDX-License-Identifier: GPL-2.0-or-later */
/* job.c - QMP's view of jobs: their list, their events, the commands that steer them
 * (schema/job.json). */
#include "vmm/qmp/job.h"

#include "base/str.h"
#include "vmm/machine/block.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct qmp_job {
    struct list link;
    struct machine *m;
    char *id;              /* owned */
    const char *type;      /* QMP's name */
    struct block_job *job; /* owned; NULL: it was over when it was made */
    struct err *error;     /* owned; of such a job */
    struct block_node *target; /* forgotten at the end; NULL: none */
    bool auto_finalize, auto_dismiss, concluded, dismiss_posted;
};

static struct qmp_job *job_free(struct qmp_job *j)
{
    list_remove(&j->link);
    loop_unpost(j->m->loop, j);
    (void)block_job_free(j->job);
    if (j->target != NULL) {
        machine_forget_node(j->m, j->target);
    }
    (void)err_free(j->error);
    free(j->id);
    free(j);
    return NULL;
}

void qmp_jobs_free(struct machine *m)
{
    LIST_FOREACH_SAFE (&m->jobs, it) {
        (void)job_free(CONTAINER_OF(it, struct qmp_job, link));
    }
}

static struct qmp_job *job_find(struct machine *m, const char *id)
{
    LIST_FOREACH (&m->jobs, it) {
        struct qmp_job *j = CONTAINER_OF(it, struct qmp_job, link);

        if (id != NULL && str_eq(j->id, id)) {
            return j;
        }
    }
    return NULL;
}

/* ---- events ---- */

static void tell_status(struct qmp_job *j, const char *status)
{
    machine_event(j->m, "JOB_STATUS_CHANGE", "{\"status\": \"%s\", \"id\": \"%s\"}", status, j->id);
}

static void dismiss(void *arg)
{
    struct qmp_job *j = arg;

    tell_status(j, "null");
    (void)job_free(j);
}

static void tell_block(struct qmp_job *j, const char *name, const struct block_job_info *i)
{
    AUTO_JSON struct json_object *o = json_object_new_object();

    (void)json_add_str(o, "type", j->type);
    (void)json_add_str(o, "device", j->id);
    (void)json_add_u64(o, "len", i->total);
    (void)json_add_u64(o, "offset", i->done);
    (void)json_add_u64(o, "speed", i->speed);
    if (i->error != NULL && str_eq(name, "BLOCK_JOB_COMPLETED")) {
        (void)json_add_str(o, "error", i->error);
    }
    machine_event(j->m, name, "%s", json_object_to_json_string(o));
}

static void on_event(void *arg, struct block_job *job, enum block_job_event ev)
{
    struct qmp_job *j = arg;
    struct block_job_info i;

    block_job_query(job, &i);
    switch (ev) {
    case BLOCK_JOB_EV_STATUS:
        tell_status(j, block_job_status_name(i.told));
        j->concluded |= i.told == BLOCK_JOB_CONCLUDED;
        break;
    case BLOCK_JOB_EV_READY:
        tell_block(j, "BLOCK_JOB_READY", &i);
        break;
    case BLOCK_JOB_EV_PENDING:
        machine_event(j->m, "BLOCK_JOB_PENDING", "{\"type\": \"%s\", \"id\": \"%s\"}", j->type,
                      j->id);
        break;
    case BLOCK_JOB_EV_ERROR:
        machine_event(j->m, "BLOCK_JOB_ERROR",
                      "{\"device\": \"%s\", \"operation\": \"write\", \"action\": \"%s\"}", j->id,
                      i.paused ? "stop" : "ignore");
        break;
    case BLOCK_JOB_EV_COMPLETED:
        tell_block(j, "BLOCK_JOB_COMPLETED", &i);
        break;
    case BLOCK_JOB_EV_CANCELLED:
        tell_block(j, "BLOCK_JOB_CANCELLED", &i);
        break;
    }
    if ((ev == BLOCK_JOB_EV_COMPLETED || ev == BLOCK_JOB_EV_CANCELLED) && j->auto_dismiss &&
        !j->dismiss_posted) {
        j->dismiss_posted = loop_post(j->m->loop, dismiss, j) == 0;
    }
}

static int replace(void *arg, struct block_node *from, struct block_node *to, struct err **err)
{
    struct qmp_job *j = arg;

    if (j->target == to) {
        j->target = NULL; /* it is the guest's image now */
    }
    return machine_replace_node(j->m, from, to, err);
}

/* ---- making them ---- */

static struct qmp_job *job_new(struct machine *m, const char *id, struct err **err)
{
    struct qmp_job *j;

    if (id == NULL || *id == '\0') {
        (void)err_set(err, EINVAL, "An explicit job ID is required for this node");
        return NULL;
    }
    if (job_find(m, id) != NULL) {
        (void)err_set(err, EEXIST, "Job ID '%s' already in use", id);
        return NULL;
    }
    j = calloc(1, sizeof(*j));
    if (j == NULL || (j->id = strdup(id)) == NULL) {
        free(j);
        (void)err_set(err, ENOMEM, "no memory");
        return NULL;
    }
    j->m = m;
    list_append(&m->jobs, &j->link);
    return j;
}

static int parse_on_error(const char *text, enum block_on_error *ret, struct err **err)
{
    static const struct {
        const char *name;
        enum block_on_error value;
    } names[] = { { "report", BLOCK_ON_ERROR_REPORT },
                  { "ignore", BLOCK_ON_ERROR_IGNORE },
                  { "stop", BLOCK_ON_ERROR_STOP },
                  { "enospc", BLOCK_ON_ERROR_STOP },
                  { "auto", BLOCK_ON_ERROR_REPORT } };

    for (size_t i = 0; text != NULL && i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_eq(names[i].name, text)) {
            *ret = names[i].value;
            return 0;
        }
    }
    return text == NULL ? 0 : err_set(err, EINVAL, "Invalid parameter '%s'", text);
}

int qmp_job_start(struct machine *m, struct json_object *args, struct block_job_spec *spec,
                  struct block_node *target, struct err **err)
{
    const char *device = json_str_or(args, "device", NULL);
    const char *id = json_str_or(args, "job-id", device);
    int64_t speed = json_i64_or(args, "speed", 0);
    struct qmp_job *j;
    int r = parse_on_error(json_str_or(args, "on-error",
                                       json_str_or(args, "on-source-error", NULL)),
                           &spec->on_error, err);

    if (r < 0) {
        return r;
    }
    if (speed < 0) {
        return err_set(err, EINVAL, "Invalid parameter 'speed'");
    }
    j = job_new(m, id, err);
    if (j == NULL) {
        return -EINVAL;
    }
    j->type = spec->type == BLOCK_JOB_COMMIT ? "commit" : block_job_type_name(spec->type);
    j->auto_finalize = json_bool_or(args, "auto-finalize", true);
    j->auto_dismiss = json_bool_or(args, "auto-dismiss", true);
    spec->id = j->id;
    spec->speed = (uint64_t)speed;
    spec->manual_finalize = !j->auto_finalize;
    spec->event = on_event;
    spec->replace = replace;
    spec->arg = j;
    tell_status(j, "created");
    r = block_job_start(m->block_ctx, spec, &j->job, err);
    if (r < 0) {
        tell_status(j, "null");
        (void)job_free(j);
        return r;
    }
    j->target = target;
    return 0;
}

int qmp_job_done(struct machine *m, const char *id, const char *type, struct err *error,
                 struct err **err)
{
    static const char *const good[] = { "created", "running", "waiting", "pending", "concluded" };
    static const char *const bad[] = { "created", "running", "aborting", "concluded" };
    struct qmp_job *j = job_new(m, id, err);

    if (j == NULL) {
        (void)err_free(error);
        return -EINVAL;
    }
    j->type = type;
    j->error = error;
    j->auto_finalize = true;
    j->concluded = true;
    for (size_t i = 0; i < (error != NULL ? 4 : 5); i++) {
        tell_status(j, error != NULL ? bad[i] : good[i]);
    }
    return 0;
}

/* ---- asking ---- */

static void query(struct qmp_job *j, struct block_job_info *i)
{
    if (j->job != NULL) {
        block_job_query(j->job, i);
    } else {
        *i = (struct block_job_info) { .status = BLOCK_JOB_CONCLUDED,
                                       .error = j->error != NULL ? j->error->text : NULL };
    }
}

int qmp_do_query_jobs(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    LIST_FOREACH (&m->jobs, it) {
        struct qmp_job *j = CONTAINER_OF(it, struct qmp_job, link);
        struct json_object *o = json_object_new_object();
        struct block_job_info i;

        query(j, &i);
        (void)json_add_str(o, "id", j->id);
        (void)json_add_str(o, "type", j->type);
        (void)json_add_str(o, "status", block_job_status_name(i.status));
        (void)json_add_u64(o, "current-progress", i.done);
        (void)json_add_u64(o, "total-progress", i.total);
        if (i.error != NULL) {
            (void)json_add_str(o, "error", i.error);
        }
        (void)json_object_array_add(*ret, o);
    }
    return 0;
}

int qmp_do_query_block_jobs(struct machine *m, struct json_object *args, struct json_object **ret,
                            struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    LIST_FOREACH (&m->jobs, it) {
        struct qmp_job *j = CONTAINER_OF(it, struct qmp_job, link);
        struct json_object *o;
        struct block_job_info i;

        if (j->job == NULL) {
            continue;
        }
        query(j, &i);
        o = json_object_new_object();
        (void)json_add_str(o, "type", j->type);
        (void)json_add_str(o, "device", j->id);
        (void)json_add_u64(o, "len", i.total);
        (void)json_add_u64(o, "offset", i.done);
        (void)json_add_bool(o, "busy", i.busy);
        (void)json_add_bool(o, "paused", i.paused);
        (void)json_add_u64(o, "speed", i.speed);
        (void)json_add_str(o, "io-status", i.error != NULL ? "failed" : "ok");
        (void)json_add_bool(o, "ready", i.ready);
        (void)json_add_str(o, "status", block_job_status_name(i.status));
        (void)json_add_bool(o, "auto-finalize", j->auto_finalize);
        (void)json_add_bool(o, "auto-dismiss", j->auto_dismiss);
        if (i.error != NULL) {
            (void)json_add_str(o, "error", i.error);
        }
        (void)json_object_array_add(*ret, o);
    }
    return 0;
}

/* ---- steering ---- */

static struct qmp_job *named(struct machine *m, struct json_object *args, struct err **err)
{
    bool block = json_member(args, "device") != NULL;
    const char *id = json_str_or(args, block ? "device" : "id", NULL);
    struct qmp_job *j = job_find(m, id);

    if (j == NULL || (block && j->job == NULL)) {
        (void)err_set(err, ENODEV,
                      block ? "Block job '%s' not found" : "Job not found", id != NULL ? id : "");
        return NULL;
    }
    return j;
}

static struct block_job *running(struct machine *m, struct json_object *args, const char *verb,
                                 struct err **err)
{
    struct qmp_job *j = named(m, args, err);

    if (j != NULL && (j->job == NULL || j->concluded)) {
        (void)err_set(err, EBUSY, "Job '%s' in state 'concluded' cannot accept command verb '%s'",
                      j->id, verb);
        return NULL;
    }
    return j != NULL ? j->job : NULL;
}

#define STEER(name, verb, call)                                                              \
    int qmp_do_##name(struct machine *m, struct json_object *args, struct json_object **ret, \
                      struct err **err)                                                      \
    {                                                                                        \
        struct block_job *job = running(m, args, verb, err);                                 \
                                                                                             \
        (void)ret;                                                                           \
        return job != NULL ? (call) : -ENODEV;                                               \
    }

STEER(job_pause, "pause", block_job_pause(job, err))
STEER(job_resume, "resume", block_job_resume(job, err))
STEER(job_complete, "complete", block_job_complete(job, err))
STEER(job_finalize, "finalize", block_job_finalize(job, err))
STEER(job_cancel, "cancel", block_job_cancel(job, true, err))
STEER(block_job_pause, "pause", block_job_pause(job, err))
STEER(block_job_resume, "resume", block_job_resume(job, err))
STEER(block_job_complete, "complete", block_job_complete(job, err))
STEER(block_job_finalize, "finalize", block_job_finalize(job, err))
STEER(block_job_cancel, "cancel", block_job_cancel(job, json_bool_or(args, "force", false), err))

int qmp_do_block_job_set_speed(struct machine *m, struct json_object *args,
                               struct json_object **ret, struct err **err)
{
    struct block_job *job = running(m, args, "set-speed", err);
    int64_t speed = json_i64_or(args, "speed", -1);

    (void)ret;
    if (job == NULL) {
        return -ENODEV;
    }
    return speed < 0 ? err_set(err, EINVAL, "Invalid parameter 'speed'")
                     : block_job_set_speed(job, (uint64_t)speed, err);
}

int qmp_do_job_dismiss(struct machine *m, struct json_object *args, struct json_object **ret,
                       struct err **err)
{
    struct qmp_job *j = named(m, args, err);

    (void)ret;
    if (j == NULL) {
        return -ENODEV;
    }
    if (!j->concluded) {
        return err_set(err, EBUSY, "Job '%s' cannot accept command verb 'dismiss' now", j->id);
    }
    if (!j->dismiss_posted) {
        dismiss(j);
    }
    return 0;
}

int qmp_do_block_job_dismiss(struct machine *m, struct json_object *args, struct json_object **ret,
                             struct err **err)
{
    return qmp_do_job_dismiss(m, args, ret, err);
}
