/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_save.c - save, restore, dump, and the jobs that they are. */
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/backup.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/migrate.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/driver/qemu/save.h"
#include "mgmt/driver/qemu/stats.h"
#include "mgmt/model/schema.h"
#include "mgmt/server/lock.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>

enum { DUMP_CRASH = 1, DUMP_LIVE = 2, DUMP_RESET = 8, DUMP_MEMORY_ONLY = 16 };
enum { JOB_NONE, JOB_BOUNDED, JOB_UNBOUNDED, JOB_COMPLETED, JOB_FAILED, STATS_COMPLETED = 1 };

static int save(struct call *call, const struct remote_domain *wire, const char *to,
                const char *dxml, unsigned flags, bool managed, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    AUTO_FREE char *path = NULL;
    int r = domain_of_call(call, wire, &d, err);

    r = r == 0 ? domain_job_begin(d, call_api_name(call), err) : r;
    if (r < 0) {
        return r;
    }
    r = domain_check_active(d, err);
    if (r == 0 && managed && !d->persistent) {
        r = fault(err, DOM_QEMU, OPERATION_INVALID, "cannot do managed save for transient domain");
    }
    if (r == 0) {
        path = managed ? call->world->driver->managed_save_path(d) : strdup(to);
        r = path != NULL ? save_to(d, path, dxml, flags, managed, err) : -ENOMEM;
    }
    domain_job_end(d);
    return r;
}

int qemu_domain_save(struct call *call, const struct remote_domain_save_args *args,
                     struct err **err)
{
    return save(call, &args->dom, args->to, NULL, 0, false, err);
}

int qemu_domain_save_flags(struct call *call, const struct remote_domain_save_flags_args *args,
                           struct err **err)
{
    return save(call, &args->dom, args->to, args->dxml, args->flags, false, err);
}

int qemu_domain_managed_save(struct call *call, const struct remote_domain_managed_save_args *args,
                             struct err **err)
{
    return save(call, &args->dom, NULL, NULL, args->flags, true, err);
}

int qemu_domain_managed_save_remove(struct call *call,
                                    const struct remote_domain_managed_save_remove_args *args,
                                    struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    AUTO_FREE char *path = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r < 0) {
        return r;
    }
    path = call->world->driver->managed_save_path(d);
    if (path == NULL || (unlink(path) < 0 && errno != ENOENT)) {
        return err_set(err, errno, "Failed to remove managed save file '%s'",
                       path != NULL ? path : "");
    }
    d->has_managed_save = false;
    return 0;
}

static int managed_path(struct call *call, const struct remote_domain *wire, char **ret,
                        struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, wire, &d, err);

    if (r < 0) {
        return r;
    }
    if (!d->has_managed_save) {
        return fault(err, DOM_QEMU, OPERATION_INVALID, "domain does not have managed save image");
    }
    *ret = call->world->driver->managed_save_path(d);
    return *ret != NULL ? 0 : -ENOMEM;
}

static int image_xml(struct call *call, const char *path, char **ret, struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    AUTO_FREE char *xml = NULL;
    bool running;
    int r = save_read(path, &def, &running, NULL, err);

    if (r < 0) {
        return r;
    }
    (void)node_set(def, "@id", NULL);
    xml = node_to_xml(def);
    *ret = xml != NULL ? arena_strdup(&call->arena, xml) : NULL;
    return *ret != NULL ? 0 : -ENOMEM;
}

int qemu_domain_managed_save_get_xml_desc(
    struct call *call, const struct remote_domain_managed_save_get_xml_desc_args *args,
    struct remote_domain_managed_save_get_xml_desc_ret *ret, struct err **err)
{
    AUTO_FREE char *path = NULL;
    int r = managed_path(call, &args->dom, &path, err);

    return r == 0 ? image_xml(call, path, &ret->xml, err) : r;
}

int qemu_domain_managed_save_define_xml(
    struct call *call, const struct remote_domain_managed_save_define_xml_args *args,
    struct err **err)
{
    AUTO_FREE char *path = NULL;
    int r = managed_path(call, &args->dom, &path, err);

    return r == 0 ? save_rewrite(call->world, path, args->dxml != NULL ? args->dxml : "",
                                 args->flags, err)
                  : r;
}

int qemu_domain_save_image_get_xml_desc(
    struct call *call, const struct remote_domain_save_image_get_xml_desc_args *args,
    struct remote_domain_save_image_get_xml_desc_ret *ret, struct err **err)
{
    return image_xml(call, args->file, &ret->xml, err);
}

int qemu_domain_save_image_define_xml(struct call *call,
                                      const struct remote_domain_save_image_define_xml_args *args,
                                      struct err **err)
{
    return save_rewrite(call->world, args->file, args->dxml, args->flags, err);
}

static int restore(struct call *call, const char *path, const char *dxml, unsigned flags,
                   struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    AUTO_DOMAIN struct domain *d = NULL;
    struct domain *have;
    bool running, added = false;
    int r;

    if (dxml != NULL) {
        r = save_rewrite(call->world, path, dxml, flags, err);
        if (r < 0) {
            return r;
        }
    }
    r = save_read(path, &def, &running, NULL, err);
    r = r == 0 ? call->world->driver->complete(call->world, def, err) : r;
    if (r < 0) {
        return r;
    }
    have = hash_get(call->world->by_uuid, node_get(def, "uuid"));
    if (have == NULL) {
        if (domain_by_name(call->world, node_get(def, "name")) != NULL) {
            return fault(err, DOM_DOMAIN, OPERATION_FAILED,
                         "domain '%s' already exists with uuid %s", node_get(def, "name"),
                         domain_by_name(call->world, node_get(def, "name"))->uuid_text);
        }
        r = domain_add(call->world, TAKE_PTR(def), &have, err);
        if (r < 0) {
            return r;
        }
        added = true;
    }
    d = domain_ref(have);
    r = domain_job_begin(d, call_api_name(call), err);
    if (r == 0) {
        r = domain_active(d) ? fault(err, DOM_DOMAIN, OPERATION_INVALID,
                                     "domain is already active as '%s'", d->name)
                             : save_restore(d, path, flags & (SAVE_RUNNING | SAVE_PAUSED), err);
        domain_job_end(d);
    }
    if (r < 0 && added && d->world != NULL && !domain_active(d)) {
        domain_remove(d);
    }
    return r;
}

int qemu_domain_restore(struct call *call, const struct remote_domain_restore_args *args,
                        struct err **err)
{
    return restore(call, args->from, NULL, 0, err);
}

int qemu_domain_restore_flags(struct call *call,
                              const struct remote_domain_restore_flags_args *args, struct err **err)
{
    return restore(call, args->from, args->dxml, args->flags, err);
}

/* Only the memory, as an ELF core. */
static int dump_memory(struct domain *d, int fd, struct err **err)
{
    struct run *r = run_of(d);
    struct json_object *a = json_object_new_object();
    int result;

    (void)json_add_str(a, "fdname", "dump");
    result = monitor_run_fd(r->qmp, "getfd", a, fd, MONITOR_WAIT_USEC, NULL, err);
    if (result < 0) {
        return result;
    }
    a = json_object_new_object();
    (void)json_add_bool(a, "paging", false);
    (void)json_add_str(a, "protocol", "fd:dump");
    (void)json_add_bool(a, "detach", true);
    result = monitor_run(r->qmp, "dump-guest-memory", a, NULL, err);
    while (result == 0) {
        AUTO_JSON struct json_object *o = NULL;
        const char *status = "";

        result = monitor_run(r->qmp, "query-dump", NULL, &o, err);
        status = json_str_or(o, "status", status);
        if (result < 0 || str_eq(status, "completed")) {
            break;
        }
        if (str_eq(status, "failed")) {
            return fault(err, DOM_QEMU, OPERATION_FAILED, "memory-only dump job failed");
        }
        (void)lock_wait(&r->changed, loop_now_usec() + 50000);
    }
    return result;
}

int qemu_domain_core_dump(struct call *call, const struct remote_domain_core_dump_args *args,
                          struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    AUTO_FD int fd = -1;
    bool was_running;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_job_begin(d, call_api_name(call), err) : r;
    if (r < 0) {
        return r;
    }
    r = domain_check_active(d, err);
    was_running = d->state == STATE_RUNNING;
    if (r == 0) {
        fd = open(args->to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        r = fd < 0
                ? err_set(err, errno, "Failed to create file '%s': %s", args->to, strerror(errno))
                : 0;
    }
    if (r == 0 && was_running && !(args->flags & DUMP_LIVE)) {
        r = process_pause(d, PAUSED_DUMP, SUSPENDED_PAUSED, err);
    }
    if (r == 0) {
        r = args->flags & DUMP_MEMORY_ONLY ? dump_memory(d, fd, err)
                                           : migrate_to_fd(d, fd, "dump", err);
    }
    if (fd >= 0 && r < 0) {
        (void)unlink(args->to);
    }
    if (r == 0 && (args->flags & DUMP_CRASH)) {
        r = process_stop(d, SHUTOFF_CRASHED, STOPPED_CRASHED, err);
    } else if (domain_active(d)) {
        if (r == 0 && (args->flags & DUMP_RESET)) {
            r = monitor_run(run_of(d)->qmp, "system_reset", NULL, NULL, err);
        }
        if (was_running && d->state == STATE_PAUSED) {
            int back = process_cont(d, RUNNING_UNPAUSED, RESUMED_UNPAUSED, r == 0 ? err : NULL);

            r = r == 0 ? back : r;
        }
    }
    domain_job_end(d);
    return r;
}

/* The run's, brought up to date. */
static const struct job_stats *job_of(struct domain *d)
{
    if (!domain_active(d) || run_of(d)->stats == NULL) {
        return NULL;
    }
    if (run_of(d)->stats->active && run_of(d)->backup != NULL) {
        backup_measure(d);
    }
    return domain_active(d) ? run_of(d)->stats : NULL;
}

int qemu_domain_get_job_info(struct call *call, const struct remote_domain_get_job_info_args *args,
                             struct remote_domain_get_job_info_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    const struct job_stats *s;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_check_active(d, err) : r;
    if (r < 0) {
        return r;
    }
    s = job_of(d);
    if (s == NULL || !s->active) {
        ret->type_ = JOB_NONE;
        return 0;
    }
    ret->type_ = JOB_UNBOUNDED;
    ret->timeElapsed = s->elapsed_msec;
    if (s->operation == OPERATION_BACKUP) {
        ret->fileTotal = s->total;
        ret->fileProcessed = s->processed;
        ret->fileRemaining = s->remaining;
    } else {
        ret->memTotal = s->total;
        ret->memProcessed = s->processed;
        ret->memRemaining = s->remaining;
    }
    ret->dataTotal = s->total;
    ret->dataProcessed = s->processed;
    ret->dataRemaining = s->remaining;
    return 0;
}

int qemu_domain_get_job_stats(struct call *call,
                              const struct remote_domain_get_job_stats_args *args,
                              struct remote_domain_get_job_stats_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct params p = { .arena = &call->arena };
    const struct job_stats *s;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 && !(args->flags & STATS_COMPLETED) ? domain_check_active(d, err) : r;
    if (r < 0) {
        return r;
    }
    s = job_of(d);
    if (s == NULL || s->completed != ((args->flags & STATS_COMPLETED) != 0)) {
        ret->type_ = JOB_NONE;
        return 0;
    }
    ret->type_ = s->active                                        ? JOB_UNBOUNDED
                 : s->success || s->operation == OPERATION_BACKUP ? JOB_COMPLETED
                                                                  : JOB_FAILED;
    stats_params(s, &p);
    ret->params = p.list;
    ret->n_params = p.n;
    return p.failed ? -ENOMEM : 0;
}

int qemu_domain_abort_job(struct call *call, const struct remote_domain_abort_job_args *args,
                          struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_check_active(d, err) : r;
    if (r < 0) {
        return r;
    }
    if (run_of(d)->stats == NULL || !run_of(d)->stats->active) {
        return fault(err, DOM_QEMU, OPERATION_INVALID, "no job is active on the domain");
    }
    if (run_of(d)->backup != NULL) {
        return backup_abort(d, err);
    }
    migrate_cancel(d);
    return 0;
}
