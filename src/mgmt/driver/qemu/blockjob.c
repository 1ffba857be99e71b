/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/blockjob.h"

#include "base/str.h"
#include "mgmt/driver/qemu/backup.h"
#include "mgmt/driver/qemu/chain.h"
#include "mgmt/driver/qemu/events.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/driver/qemu/snapshot.h"
#include "mgmt/server/lock.h"
#include "mgmt/server/worker.h"
#include "os/loop.h"

#include <errno.h>

enum { DONE_COMPLETED, DONE_FAILED, DONE_CANCELED, DONE_READY };
enum { READY_POLL_USEC = 1000000 };

struct blockjob *blockjob_of(struct run *r, const char *target)
{
    LIST_FOREACH (&r->block_jobs, it) {
        struct blockjob *j = CONTAINER_OF(it, struct blockjob, link);

        if (str_eq(j->target, target)) {
            return j;
        }
    }
    return NULL;
}

static struct blockjob *by_name(struct run *r, const char *name)
{
    LIST_FOREACH (&r->block_jobs, it) {
        struct blockjob *j = CONTAINER_OF(it, struct blockjob, link);

        if (str_eq(j->name, name)) {
            return j;
        }
    }
    return NULL;
}

void blockjob_free(struct blockjob *j)
{
    list_remove(&j->link);
    free(j->name);
    free(j->target);
    free(j->path);
    free(j->format);
    free(j->why);
    node_free(j->mirror);
    free(j);
}

static struct blockjob *add(struct run *r, enum blockjob_type type, const char *name,
                            const char *target, const char *path)
{
    struct blockjob *j = calloc(1, sizeof(*j));

    if (j == NULL) {
        return NULL;
    }
    list_init(&j->link);
    j->type = type;
    j->name = strdup(name);
    j->target = strdup(target);
    j->path = strdup(path);
    if (j->name == NULL || j->target == NULL || j->path == NULL) {
        blockjob_free(j);
        return NULL;
    }
    list_append(&r->block_jobs, &j->link);
    return j;
}

int blockjob_new(struct domain *d, const struct node *disk, enum blockjob_type type,
                 const char *prefix, struct blockjob **ret, struct err **err)
{
    struct run *r = run_of(d);
    const char *target = node_get(disk, "target/@dev"), *file = node_get(disk, "source/@file");
    AUTO_FREE char *name = str_format("%s-%s-libvirt-%u-format", prefix, target, chain_index(disk));

    if (blockjob_of(r, target) != NULL) {
        return fault(err, DOM_QEMU, BLOCK_COPY_ACTIVE, "disk '%s' already in active block job",
                     target);
    }
    *ret = name != NULL ? add(r, type, name, target, file != NULL ? file : "") : NULL;
    return *ret != NULL ? 0 : -ENOMEM;
}

struct json_object *blockjob_args(const struct blockjob *j, const struct node *disk,
                                  uint64_t bandwidth)
{
    struct json_object *a = json_object_new_object();
    AUTO_FREE char *node = disk_node_name(disk);

    (void)json_add_str(a, "job-id", j->name);
    (void)json_add_str(a, "device", node != NULL ? node : "");
    if (bandwidth > 0) {
        (void)json_add_u64(a, "speed", bandwidth);
    }
    (void)json_add_bool(a, "auto-finalize", true);
    (void)json_add_bool(a, "auto-dismiss", false);
    return a;
}

/* ---- how they end ---- */

static void pivot_to_copy(struct run *r, struct blockjob *j, struct node *disk)
{
    bool shallow = j->base_index != 0;

    chain_drop_nodes(r, chain_index(disk));
    for (struct node *l = shallow ? NULL : chain_below(disk); l != NULL; l = chain_below(l)) {
        chain_drop_nodes(r, chain_index(l));
    }
    node_remove(disk, "source");
    node_remove(disk, "mirror");
    (void)node_setf(j->mirror, "@index", "%u", j->mirror_node);
    (void)node_set(disk, "driver/@type", j->format);
    node_insert(disk, TAKE_PTR(j->mirror));
    if (!shallow) {
        node_remove(disk, "backingStore");
        (void)node_add(disk, "backingStore");
    }
}

static void pivot_to_base(struct run *r, struct blockjob *j, struct node *disk)
{
    AUTO_FREE char *old_path =
        node_get(disk, "source/@file") ? strdup(node_get(disk, "source/@file")) : NULL;

    while (chain_index(disk) != j->base_index && chain_below(disk) != NULL) {
        unsigned old = chain_index(disk);

        if (chain_pop(disk) < 0) {
            break;
        }
        chain_drop_nodes(r, old);
    }
    if (j->delete_top && old_path != NULL) {
        (void)unlink(old_path);
    }
}

/* The layers between are gone: what is above the first of them stands on the base. */
static void cut_chain(struct run *r, struct blockjob *j, struct node *disk)
{
    unsigned first = j->type == JOB_COMMIT ? j->top_index : 0;
    struct node *base = j->base_index != 0 ? chain_layer(disk, j->base_index) : NULL;
    struct node *above = disk, *layer;

    if (first != 0) {
        layer = chain_layer(disk, first);
        above = layer != NULL ? layer->parent : NULL;
    }
    layer = above != NULL ? node_child(above, "backingStore") : NULL;
    if (layer == NULL || layer == base) {
        return;
    }
    if (base != NULL) {
        node_detach(base);
    }
    for (struct node *l = layer; l != NULL && l->first != NULL; l = node_child(l, "backingStore")) {
        chain_drop_nodes(r, chain_index(l));
    }
    node_free(node_detach(layer));
    if (base != NULL) {
        node_insert(above, base);
    } else {
        (void)node_add(above, "backingStore");
    }
}

static void apply_success(struct domain *d, struct blockjob *j)
{
    struct run *r = run_of(d);
    struct node *disk = find_disk(d->def, j->target);
    AUTO_FREE char *merged = NULL, *into = NULL, *format = NULL;

    if (disk == NULL) {
        return;
    }
    if (j->type == JOB_COMMIT || (j->type == JOB_ACTIVE_COMMIT && j->pivot)) {
        const struct node *top = chain_layer(disk, j->top_index),
                          *base = chain_layer(disk, j->base_index);

        merged = top != NULL && node_get(top, "source/@file")
                     ? strdup(node_get(top, "source/@file"))
                     : NULL;
        into = base != NULL && node_get(base, "source/@file")
                   ? strdup(node_get(base, "source/@file"))
                   : NULL;
        format = base != NULL ? strdup(chain_format(base)) : NULL;
    }
    if (j->type == JOB_COPY && j->pivot) {
        pivot_to_copy(r, j, disk);
    } else if (j->type == JOB_ACTIVE_COMMIT && j->pivot) {
        pivot_to_base(r, j, disk);
    } else if (j->type == JOB_COMMIT || j->type == JOB_PULL) {
        cut_chain(r, j, disk);
    } else {
        return;
    }
    (void)!chain_follow(d, j->target, NULL);
    if (merged != NULL && into != NULL) {
        (void)!snapshot_file_merged(d, merged, into, format, NULL);
    }
}

static void dismiss(struct run *r, struct blockjob *j)
{
    AUTO_JSON struct json_object *jobs = NULL;
    struct json_object *a = json_object_new_object();

    if (monitor_run(r->qmp, "query-jobs", NULL, &jobs, NULL) == 0) {
        for (size_t i = 0; i < json_object_array_length(jobs); i++) {
            struct json_object *o = json_object_array_get_idx(jobs, i);
            const char *why = json_str_or(o, "error", NULL);

            if (!str_eq(json_str_or(o, "id", ""), j->name)) {
                continue;
            }
            j->progress = (uint64_t)json_i64_or(o, "current-progress", 0);
            j->length = (uint64_t)json_i64_or(o, "total-progress", 0);
            if (why != NULL) {
                j->failed = true;
                free(j->why);
                j->why = strdup(why);
            }
        }
    }
    (void)json_add_str(a, "id", j->name);
    (void)monitor_run(r->qmp, "job-dismiss", a, NULL, NULL);
}

/* On a worker: dismisses the job and tells how it ended. */
static void conclude_one(struct run *r, struct blockjob *j)
{
    struct domain *d = r->domain;
    struct node *disk;
    int status;

    dismiss(r, j);
    if (r->domain == NULL) {
        return;
    }
    status = j->failed && !j->canceled                ? DONE_FAILED
             : j->canceled || (j->ready && !j->pivot) ? DONE_CANCELED
                                                      : DONE_COMPLETED;
    if (j->type == JOB_BACKUP) {
        backup_disk_done(d, j, status == DONE_COMPLETED);
    } else if (status == DONE_COMPLETED) {
        apply_success(d, j);
    } else if (j->type == JOB_COPY) {
        chain_drop_nodes(r, j->mirror_node);
    }
    disk = r->domain != NULL ? find_disk(d->def, j->target) : NULL;
    if (disk != NULL) {
        node_remove(disk, "mirror");
    }
    if (r->domain != NULL && !j->quiet) {
        events_block_job(d, j->path, j->target, j->type, status);
    }
}

static void conclude(void *arg)
{
    struct run *r = arg;
    bool again = r->domain != NULL;

    while (again) {
        again = false;
        LIST_FOREACH (&r->block_jobs, it) {
            struct blockjob *j = CONTAINER_OF(it, struct blockjob, link);

            if (!j->concluded) {
                continue;
            }
            j->concluded = false; /* it is ours: another worker must not take it as well */
            conclude_one(r, j);
            if (r->domain == NULL) {
                break;
            }
            if (j->quiet && j->failed) {
                /* Whoever waits for it takes the reason and frees it. */
                pthread_cond_broadcast(&r->changed);
                continue;
            }
            blockjob_free(j);
            pthread_cond_broadcast(&r->changed);
            process_save(r->domain);
            again = true;
            break;
        }
    }
    run_unref(r);
}

static void concluded(struct run *r, struct blockjob *j)
{
    j->concluded = true;
    if (worker_run(conclude, run_ref(r), false) < 0) {
        run_unref(r);
    }
}

static void became_ready(struct run *r, struct blockjob *j)
{
    struct node *disk = find_disk(r->domain->def, j->target);

    j->ready = true;
    if (disk != NULL && node_child(disk, "mirror") != NULL) {
        (void)node_set(disk, "mirror/@ready", "yes");
    }
    if (!j->quiet) {
        events_block_job(r->domain, j->path, j->target, j->type, DONE_READY);
    }
    pthread_cond_broadcast(&r->changed);
}

void blockjob_forget(struct run *r)
{
    LIST_FOREACH_SAFE (&r->block_jobs, it) {
        blockjob_free(CONTAINER_OF(it, struct blockjob, link));
    }
}

void blockjob_status(struct run *r, struct json_object *data)
{
    struct blockjob *j = by_name(r, json_str_or(data, "id", ""));
    const char *status = json_str_or(data, "status", "");

    if (j == NULL) {
        return;
    }
    if (str_eq(status, "ready") && !j->ready) {
        became_ready(r, j);
    } else if (str_eq(status, "aborting")) {
        j->failed = true;
    } else if (str_eq(status, "concluded")) {
        concluded(r, j);
    }
}

/* ---- beginning and ending them ---- */

int blockjob_commit(struct domain *d, struct node *disk, struct node *top, struct node *base,
                    uint64_t bandwidth, bool quiet, struct blockjob **ret, struct err **err)
{
    AUTO_FREE char *top_node = str_format("libvirt-%u-format", chain_index(top));
    AUTO_FREE char *base_node = str_format("libvirt-%u-format", chain_index(base));
    struct blockjob *j;
    struct json_object *a;
    int r = blockjob_new(d, disk, top == disk ? JOB_ACTIVE_COMMIT : JOB_COMMIT, "commit", &j, err);

    if (r < 0) {
        return r;
    }
    j->quiet = quiet;
    j->top_index = chain_index(top);
    j->base_index = chain_index(base);
    a = blockjob_args(j, disk, bandwidth);
    (void)json_add_str(a, "top-node", top_node != NULL ? top_node : "");
    (void)json_add_str(a, "base-node", base_node != NULL ? base_node : "");
    if (top != disk && node_get(base, "source/@file") != NULL) {
        (void)json_add_str(a, "backing-file", node_get(base, "source/@file"));
    }
    r = monitor_run(run_of(d)->qmp, "block-commit", a, NULL, err);
    if (r < 0) {
        blockjob_free(j);
        return r;
    }
    if (top == disk) {
        struct node *m = node_add(disk, "mirror"), *s = node_copy(node_child(base, "source"));

        if (m != NULL && s != NULL) {
            (void)node_set(m, "@type", "file");
            (void)node_set(m, "@file", node_get(base, "source/@file"));
            (void)node_set(m, "@format", chain_format(base));
            (void)node_set(m, "@job", "active-commit");
            (void)node_set(m, "format/@type", chain_format(base));
            node_insert(m, s);
            (void)node_set(m, "source/@index", node_attr(base, "index"));
        }
    }
    process_save(d);
    if (ret != NULL) {
        *ret = j;
    }
    return 0;
}

int blockjob_finish(struct domain *d, struct blockjob *j, bool pivot, struct err **err)
{
    struct json_object *a = json_object_new_object();

    if (pivot) {
        j->pivot = true;
        (void)json_add_str(a, "id", j->name);
        return monitor_run(run_of(d)->qmp, "job-complete", a, NULL, err);
    }
    j->canceled = true;
    (void)json_add_str(a, "device", j->name);
    return monitor_run(run_of(d)->qmp, "block-job-cancel", a, NULL, err);
}

int blockjob_wait(struct domain *d, const char *target, struct err **err)
{
    struct run *run = run_ref(run_of(d));
    struct blockjob *j;
    int r = 0;

    while (r == 0 && run->domain != NULL && (j = blockjob_of(run, target)) != NULL) {
        if (j->quiet && j->failed && !j->concluded) {
            r = fault(err, DOM_QEMU, OPERATION_FAILED, "block job on disk '%s' failed%s%s", target,
                      j->why != NULL ? ": " : "", j->why != NULL ? j->why : "");
            blockjob_free(j);
            break;
        }
        if (j->ready && !j->pivot && !j->canceled) {
            r = blockjob_finish(d, j, true, err);
            continue;
        }
        (void)lock_wait(&run->changed, loop_now_usec() + READY_POLL_USEC);
    }
    if (r == 0 && run->domain == NULL) {
        r = fault(err, DOM_QEMU, OPERATION_FAILED, "domain is not running");
    }
    run_unref(run);
    return r;
}

/* ---- across a restart of the daemon ---- */

static const char *const type_names[] = { [JOB_PULL] = "pull",
                                          [JOB_COPY] = "copy",
                                          [JOB_COMMIT] = "commit",
                                          [JOB_ACTIVE_COMMIT] = "active-commit",
                                          [JOB_BACKUP] = "backup" };

void blockjobs_write(const struct run *r, struct node *status)
{
    LIST_FOREACH (&r->block_jobs, it) {
        const struct blockjob *j = CONTAINER_OF(it, struct blockjob, link);
        struct node *n = node_add(status, "blockjob");

        if (n == NULL) {
            return;
        }
        (void)node_set(n, "@disk", j->target);
        (void)node_set(n, "@name", j->name);
        (void)node_set(n, "@type", type_names[j->type]);
        (void)node_set(n, "@state",
                       j->pivot      ? "pivot"
                       : j->canceled ? "canceled"
                       : j->ready    ? "ready"
                                     : "running");
        (void)node_set(n, "@path", j->path);
        (void)node_setf(n, "@base", "%u", j->base_index);
        (void)node_setf(n, "@top", "%u", j->top_index);
        (void)node_set(n, "@delete", j->delete_top ? "yes" : "no");
        if (j->mirror != NULL) {
            struct node *s = node_copy(j->mirror), *m = node_add(n, "mirror");

            (void)node_setf(n, "@mirror", "%u", j->mirror_node);
            (void)node_set(n, "@format", j->format);
            if (s != NULL && m != NULL) {
                node_insert(m, s);
            }
        }
    }
}

static void adopt_one(struct domain *d, const struct node *n)
{
    struct run *r = run_of(d);
    const char *type = node_attr(n, "type"), *state = node_attr(n, "state");
    struct blockjob *j = NULL;

    for (size_t i = JOB_PULL; i <= JOB_BACKUP && type != NULL && state != NULL; i++) {
        if (str_eq(type_names[i], type) && node_attr(n, "name") != NULL &&
            node_attr(n, "disk") != NULL) {
            j = add(r, (enum blockjob_type)i, node_attr(n, "name"), node_attr(n, "disk"),
                    node_attr(n, "path") != NULL ? node_attr(n, "path") : "");
        }
    }
    if (j == NULL) {
        return;
    }
    j->pivot = str_eq(state, "pivot");
    j->canceled = str_eq(state, "canceled");
    j->ready = j->pivot || str_eq(state, "ready");
    j->base_index = (unsigned)node_get_u64(n, "@base", 0);
    j->top_index = (unsigned)node_get_u64(n, "@top", 0);
    j->mirror_node = (unsigned)node_get_u64(n, "@mirror", 0);
    j->delete_top = node_is(n, "@delete", "yes");
    j->format = node_attr(n, "format") != NULL ? strdup(node_attr(n, "format")) : NULL;
    if (node_child(node_child(n, "mirror"), "source") != NULL) {
        j->mirror = node_copy(node_child(node_child(n, "mirror"), "source"));
    }
}

void blockjobs_adopt(struct domain *d, const struct node *status)
{
    struct run *r = run_of(d);
    AUTO_JSON struct json_object *jobs = NULL;

    for (const struct node *n = node_child(status, "blockjob"); n != NULL;
         n = node_next(n, "blockjob")) {
        adopt_one(d, n);
    }
    if (list_empty(&r->block_jobs) || monitor_run(r->qmp, "query-jobs", NULL, &jobs, NULL) < 0) {
        return;
    }
    LIST_FOREACH_SAFE (&r->block_jobs, it) {
        struct blockjob *j = CONTAINER_OF(it, struct blockjob, link);
        const char *status_now = NULL;

        for (size_t i = 0; i < json_object_array_length(jobs); i++) {
            struct json_object *o = json_object_array_get_idx(jobs, i);

            if (str_eq(json_str_or(o, "id", ""), j->name)) {
                status_now = json_str_or(o, "status", "");
            }
        }
        if (status_now == NULL) {
            blockjob_free(j);
        } else if (str_eq(status_now, "concluded")) {
            concluded(r, j);
        } else if (str_eq(status_now, "ready") && !j->ready) {
            became_ready(r, j);
        }
    }
}
