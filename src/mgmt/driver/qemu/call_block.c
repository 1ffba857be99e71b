/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * call_block.c - block jobs (pull, commit, copy) and resizing.
 *
 * The emulator's job keeps its state until we dismiss it; JOB_STATUS_CHANGE moves ours:
 *      running --ready (commit of the top, copy)--> waits for abort with the pivot flag
 *      concluded --> dismissed, the definition gets the new chain, "completed" or "failed" is told
 */
#include "mgmt/driver/qemu/blockjob.h"
#include "mgmt/driver/qemu/cmdline.h"
#include "mgmt/driver/qemu/events.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/model/schema.h"
#include "mgmt/server/lock.h"
#include "mgmt/server/worker.h"
#include "mgmt/storage/image.h"
#include "os/loop.h"
#include "os/path.h"

#include <errno.h>

enum { JOB_PULL = 1, JOB_COPY = 2, JOB_COMMIT = 3, JOB_ACTIVE_COMMIT = 4 };
enum { DONE_COMPLETED, DONE_FAILED, DONE_CANCELED, DONE_READY };
enum {
    ABORT_ASYNC = 1,
    ABORT_PIVOT = 2,
    COMMIT_SHALLOW = 1,
    COMMIT_DELETE = 2,
    COMMIT_ACTIVE = 4,
    REBASE_SHALLOW = 1,
    REBASE_REUSE_EXT = 2,
    REBASE_COPY_RAW = 4,
    REBASE_COPY = 8,
    COPY_SHALLOW = 1,
    COPY_REUSE_EXT = 2,
    COPY_TRANSIENT_JOB = 4,
    RESIZE_BYTES = 1,
    BANDWIDTH_BYTES = 1
};
enum { WAIT_USEC = 60000000 };

struct job {
    struct list link;
    char *name, *target, *path; /* owned: QMP's id; "vda"; its file when it began */
    char *format;               /* owned; of the copy's destination */
    int type;
    bool ready, concluded, failed, pivot, canceled;
    struct node *mirror; /* owned; the copy's destination, as a <source> */
    unsigned mirror_node;
    unsigned base_index, top_index; /* of commit and pull; 0: all */
    bool delete_top;
};

static struct job *job_of(struct run *r, const char *target)
{
    LIST_FOREACH (&r->block_jobs, it) {
        struct job *j = CONTAINER_OF(it, struct job, link);

        if (str_eq(j->target, target)) {
            return j;
        }
    }
    return NULL;
}

static void job_free(struct job *j)
{
    list_remove(&j->link);
    free(j->name);
    free(j->target);
    free(j->path);
    free(j->format);
    node_free(j->mirror);
    free(j);
}

/* The layer with that index: the disk itself, or a backingStore below. */
static struct node *layer_of(struct node *disk, unsigned index)
{
    struct node *l = disk;

    if (node_get_u64(disk, "source/@index", 0) == index) {
        return disk;
    }
    while ((l = node_child(l, "backingStore")) != NULL && l->first != NULL) {
        if (node_get_u64(l, "@index", 0) == index) {
            return l;
        }
    }
    return NULL;
}

static void drop_nodes(struct run *r, unsigned index)
{
    for (int part = 0; part < 2; part++) {
        AUTO_FREE char *name = str_format("libvirt-%u-%s", index, part == 0 ? "format" : "storage");
        struct json_object *a = json_object_new_object();

        (void)json_add_str(a, "node-name", name != NULL ? name : "");
        (void)monitor_run(r->qmp, "blockdev-del", a, NULL, NULL);
    }
}

/* The disk becomes the layer below it. */
static int become(struct node *disk, struct node *layer)
{
    struct node *source = node_child(layer, "source"), *below = node_child(layer, "backingStore");
    const char *index = node_attr(layer, "index");

    node_detach(source);
    if (below != NULL) {
        node_detach(below);
    }
    node_remove(disk, "source");
    node_insert(disk, source);
    if (index != NULL && node_set(disk, "source/@index", index) < 0) {
        return -ENOMEM;
    }
    if (node_set(disk, "@type", node_attr(layer, "type")) < 0 ||
        node_set(disk, "driver/@type", node_get(layer, "format/@type")) < 0) {
        return -ENOMEM;
    }
    node_remove(disk, "backingStore");
    if (below != NULL) {
        node_insert(disk, below);
    }
    return 0;
}

static int follow_config(struct domain *d, const char *target)
{
    struct node *live = find_disk(d->def, target),
                *conf = d->next != NULL ? find_disk(d->next, target) : NULL;
    const char *file = live != NULL ? node_get(live, "source/@file") : NULL;

    if (conf != NULL && file != NULL) {
        if (node_set(conf, "source/@file", file) < 0 ||
            node_set(conf, "driver/@type", node_get(live, "driver/@type")) < 0) {
            return -ENOMEM;
        }
        node_remove(conf, "backingStore");
        return domain_save_config(d, NULL);
    }
    return 0;
}

static void apply_success(struct domain *d, struct job *j)
{
    struct run *r = run_of(d);
    struct node *disk = find_disk(d->def, j->target), *layer, *above;

    if (disk == NULL) {
        return;
    }
    if (j->type == JOB_COPY && j->pivot) {
        unsigned old = (unsigned)node_get_u64(disk, "source/@index", 0);

        node_remove(disk, "source");
        node_remove(disk, "mirror");
        node_remove(disk, "backingStore");
        (void)node_setf(j->mirror, "@index", "%u", j->mirror_node);
        (void)node_set(disk, "driver/@type", j->format);
        node_insert(disk, TAKE_PTR(j->mirror));
        (void)node_add(disk, "backingStore");
        drop_nodes(r, old);
    } else if (j->type == JOB_ACTIVE_COMMIT && j->pivot) {
        AUTO_FREE char *old_path =
            node_get(disk, "source/@file") ? strdup(node_get(disk, "source/@file")) : NULL;

        for (int guard = 0; guard < 200; guard++) {
            unsigned old = (unsigned)node_get_u64(disk, "source/@index", 0);

            layer = node_child(disk, "backingStore");
            if (old == j->base_index || layer == NULL || layer->first == NULL ||
                become(disk, layer) < 0) {
                break;
            }
            drop_nodes(r, old);
        }
        if (j->delete_top && old_path != NULL) {
            (void)unlink(old_path);
        }
    } else if (j->type == JOB_COMMIT || j->type == JOB_PULL) {
        /* The layers between are gone: what is above the first of them stands on the base. */
        unsigned first = j->type == JOB_COMMIT ? j->top_index : 0;
        struct node *base = j->base_index != 0 ? layer_of(disk, j->base_index) : NULL;

        above = disk;
        if (first != 0) {
            layer = layer_of(disk, first);
            above = layer != NULL ? layer->parent : NULL;
        }
        layer = above != NULL ? node_child(above, "backingStore") : NULL;
        if (layer != NULL && layer != base) {
            if (base != NULL) {
                node_detach(base);
            }
            for (struct node *l = layer; l != NULL && l->first != NULL;
                 l = node_child(l, "backingStore")) {
                drop_nodes(r, (unsigned)node_get_u64(l, "@index", 0));
            }
            node_free(node_detach(layer));
            if (base != NULL) {
                node_insert(above, base);
            } else {
                (void)node_add(above, "backingStore");
            }
        }
    }
    (void)!follow_config(d, j->target);
}

/* On a worker: dismisses the job and tells how it ended. */
static void conclude(void *arg)
{
    struct run *r = arg;
    struct domain *d = r->domain;
    bool again = true;

    while (d != NULL && again) {
        again = false;
        LIST_FOREACH (&r->block_jobs, it) {
            struct job *j = CONTAINER_OF(it, struct job, link);
            AUTO_JSON struct json_object *jobs = NULL;
            struct json_object *a;
            int status;

            if (!j->concluded) {
                continue;
            }
            if (monitor_run(r->qmp, "query-jobs", NULL, &jobs, NULL) == 0) {
                for (size_t i = 0; i < json_object_array_length(jobs); i++) {
                    struct json_object *o = json_object_array_get_idx(jobs, i);

                    if (str_eq(json_str_or(o, "id", ""), j->name)) {
                        j->failed |= json_member(o, "error") != NULL;
                    }
                }
            }
            a = json_object_new_object();
            (void)json_add_str(a, "id", j->name);
            (void)monitor_run(r->qmp, "job-dismiss", a, NULL, NULL);
            if (r->domain == NULL) {
                break;
            }
            status = j->failed && !j->canceled                ? DONE_FAILED
                     : j->canceled || (j->ready && !j->pivot) ? DONE_CANCELED
                                                              : DONE_COMPLETED;
            if (status == DONE_COMPLETED) {
                apply_success(d, j);
            } else if (j->type == JOB_COPY) {
                struct node *disk = find_disk(d->def, j->target);

                if (disk != NULL) {
                    node_remove(disk, "mirror");
                }
                drop_nodes(r, j->mirror_node);
            }
            {
                struct node *disk = find_disk(d->def, j->target);

                if (disk != NULL) {
                    node_remove(disk, "mirror");
                }
            }
            events_block_job(d, j->path, j->target, j->type, status);
            job_free(j);
            pthread_cond_broadcast(&r->changed);
            process_save(d);
            again = true;
            break;
        }
        d = r->domain;
    }
    run_unref(r);
}

void blockjob_forget(struct run *r)
{
    LIST_FOREACH_SAFE (&r->block_jobs, it) {
        job_free(CONTAINER_OF(it, struct job, link));
    }
}

void blockjob_status(struct run *r, struct json_object *data)
{
    const char *id = json_str_or(data, "id", ""), *status = json_str_or(data, "status", "");

    LIST_FOREACH (&r->block_jobs, it) {
        struct job *j = CONTAINER_OF(it, struct job, link);

        if (!str_eq(j->name, id)) {
            continue;
        }
        if (str_eq(status, "ready") && !j->ready) {
            struct node *disk = find_disk(r->domain->def, j->target);

            j->ready = true;
            if (disk != NULL && node_child(disk, "mirror") != NULL) {
                (void)node_set(disk, "mirror/@ready", "yes");
            }
            events_block_job(r->domain, j->path, j->target, j->type, DONE_READY);
        } else if (str_eq(status, "aborting")) {
            j->failed = true;
        } else if (str_eq(status, "concluded")) {
            j->concluded = true;
            if (worker_run(conclude, run_ref(r), false) < 0) {
                run_unref(r);
            }
        }
    }
}

static int job_new(struct domain *d, struct node *disk, int type, const char *prefix,
                   struct job **ret, struct err **err)
{
    struct run *r = run_of(d);
    const char *target = node_get(disk, "target/@dev"), *file = node_get(disk, "source/@file");
    struct job *j = NULL;

    if (job_of(r, target) != NULL) {
        return fault(err, DOM_QEMU, BLOCK_COPY_ACTIVE, "disk '%s' already in active block job",
                     target);
    }
    j = calloc(1, sizeof(*j));
    if (j == NULL) {
        return -ENOMEM;
    }
    list_init(&j->link);
    j->type = type;
    j->name = str_format("%s-%s-libvirt-%s-format", prefix, target,
                         node_get(disk, "source/@index") ? node_get(disk, "source/@index") : "0");
    j->target = strdup(target);
    j->path = strdup(file != NULL ? file : "");
    if (j->name == NULL || j->target == NULL || j->path == NULL) {
        job_free(j);
        return -ENOMEM;
    }
    list_append(&r->block_jobs, &j->link);
    *ret = j;
    return 0;
}

static struct json_object *job_args(const struct job *j, const struct node *disk,
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

static int disk_of(struct domain *d, const char *path, struct node **ret, struct err **err)
{
    *ret = find_disk(d->def, path);
    if (*ret == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "disk '%s' not found in domain", path);
    }
    if (node_child(*ret, "source") == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "disk '%s' has no source file to be used", path);
    }
    return 0;
}

/* "vda[2]" or a path of the chain. */
static struct node *find_layer(struct node *disk, const char *name)
{
    const char *bracket = strchr(name, '[');
    uint64_t index;
    struct node *l = disk;

    if (bracket != NULL) {
        AUTO_FREE char *digits = strndup(bracket + 1, strcspn(bracket + 1, "]"));

        return digits != NULL && str_to_u64(digits, 10, &index) == 0
                   ? layer_of(disk, (unsigned)index)
                   : NULL;
    }
    if (node_is(disk, "source/@file", name)) {
        return disk;
    }
    while ((l = node_child(l, "backingStore")) != NULL && l->first != NULL) {
        if (node_is(l, "source/@file", name)) {
            return l;
        }
    }
    return NULL;
}

static unsigned index_of(const struct node *layer)
{
    return (unsigned)(str_eq(layer->name, "disk") ? node_get_u64(layer, "source/@index", 0)
                                                  : node_get_u64(layer, "@index", 0));
}

static int pull(struct call *call, const struct remote_domain *wire, const char *path,
                const char *base, uint64_t bandwidth, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct node *disk, *layer = NULL;
    struct json_object *a;
    struct job *j = NULL;
    int r = use_begin(call, wire, true, &u, err);

    r = r == 0 ? disk_of(u.d, path, &disk, err) : r;
    if (r == 0 && base != NULL && (layer = find_layer(disk, base)) == NULL) {
        r = fault(err, DOM_STORAGE, INVALID_ARG, "could not find image '%s' in chain for '%s'",
                  base, path);
    }
    r = r == 0 ? job_new(u.d, disk, JOB_PULL, "pull", &j, err) : r;
    if (r < 0) {
        return r;
    }
    a = job_args(j, disk, bandwidth);
    if (layer != NULL) {
        AUTO_FREE char *node = str_format("libvirt-%u-format", index_of(layer));

        j->base_index = index_of(layer);
        (void)json_add_str(a, "base-node", node != NULL ? node : "");
        if (node_get(layer, "source/@file") != NULL) {
            (void)json_add_str(a, "backing-file", node_get(layer, "source/@file"));
        }
    }
    r = monitor_run(run_of(u.d)->qmp, "block-stream", a, NULL, err);
    if (r < 0) {
        job_free(j);
    }
    return r;
}

static uint64_t mib(uint64_t v, bool bytes)
{
    return bytes ? v : v << 20;
}

int qemu_domain_block_pull(struct call *call, const struct remote_domain_block_pull_args *args,
                           struct err **err)
{
    return pull(call, &args->dom, args->path, NULL, mib(args->bandwidth, args->flags & 64), err);
}

static int copy(struct call *call, const struct remote_domain *wire, const char *path,
                const struct node *dest, uint64_t bandwidth, unsigned flags, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    AUTO_JSON struct json_object *nodes = json_object_new_array();
    struct node *disk, *m;
    struct json_object *a;
    struct job *j = NULL;
    const char *format, *file = node_get(dest, "source/@file");
    AUTO_FREE char *base = NULL, *target = NULL;
    CLEANUP(image_info_done) struct image_info info = { 0 };
    bool existed;
    int r = use_begin(call, wire, true, &u, err);

    r = r == 0 ? disk_of(u.d, path, &disk, err) : r;
    if (r < 0) {
        return r;
    }
    if (file == NULL) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "only a file can be the destination of a copy");
    }
    if (u.d->persistent && !(flags & COPY_TRANSIENT_JOB)) {
        return fault(err, DOM_QEMU, OPERATION_INVALID, "domain is not transient");
    }
    format = node_get(dest, "driver/@type") ? node_get(dest, "driver/@type")
                                            : node_get(disk, "driver/@type");
    existed = path_exists(file);
    if (existed && !(flags & COPY_REUSE_EXT)) {
        return fault(
            err, DOM_QEMU, CONFIG_UNSUPPORTED,
            "external destination file for disk %s already exists and is not a block device: %s",
            path, file);
    }
    r = job_new(u.d, disk, JOB_COPY, "copy", &j, err);
    if (r < 0) {
        return r;
    }
    if (!(flags & COPY_REUSE_EXT)) {
        AUTO_FREE char *size = NULL;

        r = node_get(disk, "source/@file") != NULL
                ? image_probe(node_get(disk, "source/@file"), node_get(disk, "driver/@type"), &info)
                : -EINVAL;
        size = str_format("%llu", (unsigned long long)info.virtual_bytes);
        if (r == 0) {
            const char *const full[] = { "create", "-q", "-f", format, file, size, NULL };
            const char *const shallow[] = {
                "create", "-q",         "-f", format,
                "-b",     info.backing, "-F", info.backing_format ? info.backing_format : "raw",
                file,     size,         NULL
            };

            r = image_run((flags & COPY_SHALLOW) && info.backing != NULL ? shallow : full, NULL,
                          err);
        }
    }
    if (r == 0) {
        j->mirror_node = ++run_of(u.d)->next_node;
        base = str_format("libvirt-%u", j->mirror_node);
        target = str_format("libvirt-%u-format", j->mirror_node);
        r = storage_blockdev(NULL, (struct node *)(uintptr_t)dest, "file", format, base, false,
                             NULL, nodes, err);
    }
    for (size_t i = 0; r == 0 && i < json_object_array_length(nodes); i++) {
        r = monitor_run(run_of(u.d)->qmp, "blockdev-add",
                        json_object_get(json_object_array_get_idx(nodes, i)), NULL, err);
    }
    if (r == 0) {
        j->mirror = node_copy(node_child(dest, "source"));
        j->format = strdup(format);
        a = job_args(j, disk, bandwidth);
        (void)json_add_str(a, "target", target);
        (void)json_add_str(a, "sync",
                           (flags & COPY_SHALLOW) && info.backing != NULL ? "top" : "full");
        r = j->mirror != NULL && j->format != NULL
                ? monitor_run(run_of(u.d)->qmp, "blockdev-mirror", a, NULL, err)
                : -ENOMEM;
    }
    if (r < 0) {
        job_free(j);
        if (!existed) {
            (void)unlink(file);
        }
        return r;
    }
    m = node_add(disk, "mirror");
    if (m != NULL) {
        struct node *s = node_copy(node_child(dest, "source"));

        (void)node_set(m, "@type", "file");
        (void)node_set(m, "@file", file);
        (void)node_set(m, "@format", format);
        (void)node_set(m, "@job", "copy");
        (void)node_set(m, "format/@type", format);
        if (s != NULL) {
            node_insert(m, s);
            (void)node_setf(m, "source/@index", "%u", j->mirror_node);
        }
    }
    return 0;
}

int qemu_domain_block_copy(struct call *call, const struct remote_domain_block_copy_args *args,
                           struct err **err)
{
    CLEANUP(node_freep) struct node *dest = NULL;
    const struct rpc_typed_param *bw = params_find(args->params, args->n_params, "bandwidth");
    int r = schema_parse(args->destxml, schema_device_elem("disk"), DOM_DOMAIN, false, &dest, err);

    return r == 0 ? copy(call, &args->dom, args->path, dest, bw != NULL ? bw->value.ul : 0,
                         args->flags, err)
                  : r;
}

int qemu_domain_block_rebase(struct call *call, const struct remote_domain_block_rebase_args *args,
                             struct err **err)
{
    CLEANUP(node_freep) struct node *dest = NULL;
    unsigned flags = args->flags;

    if (!(flags & REBASE_COPY)) {
        return pull(call, &args->dom, args->path, args->base, mib(args->bandwidth, flags & 64),
                    err);
    }
    dest = node_new(schema_device_elem("disk"), "disk");
    if (dest == NULL || args->base == NULL || node_set(dest, "source/@file", args->base) < 0 ||
        ((flags & REBASE_COPY_RAW) && node_set(dest, "driver/@type", "raw") < 0)) {
        return -ENOMEM;
    }
    return copy(call, &args->dom, args->path, dest, mib(args->bandwidth, flags & 64),
                (flags & REBASE_SHALLOW ? COPY_SHALLOW : 0u) |
                    (flags & REBASE_REUSE_EXT ? COPY_REUSE_EXT : 0u),
                err);
}

int qemu_domain_block_commit(struct call *call, const struct remote_domain_block_commit_args *args,
                             struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct node *disk, *top, *base;
    struct json_object *a;
    struct job *j = NULL;
    AUTO_FREE char *top_node = NULL, *base_node = NULL;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? disk_of(u.d, args->disk, &disk, err) : r;
    if (r < 0) {
        return r;
    }
    top = args->top != NULL ? find_layer(disk, args->top) : disk;
    if (top == NULL) {
        return fault(err, DOM_STORAGE, INVALID_ARG, "could not find image '%s' in chain for '%s'",
                     args->top, args->disk);
    }
    if (top == disk && !(args->flags & COMMIT_ACTIVE)) {
        return fault(err, DOM_QEMU, INVALID_ARG, "commit of '%s' active layer requires active flag",
                     args->disk);
    }
    if (args->base != NULL) {
        base = find_layer(disk, args->base);
    } else {
        base = node_child(top, "backingStore");
        while (base != NULL && !(args->flags & COMMIT_SHALLOW) &&
               node_child(base, "backingStore") != NULL &&
               node_child(base, "backingStore")->first != NULL) {
            base = node_child(base, "backingStore");
        }
    }
    if (base == NULL || base->first == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "could not find base image in chain for '%s'",
                     args->disk);
    }
    r = job_new(u.d, disk, top == disk ? JOB_ACTIVE_COMMIT : JOB_COMMIT, "commit", &j, err);
    if (r < 0) {
        return r;
    }
    j->top_index = index_of(top);
    j->base_index = index_of(base);
    j->delete_top = (args->flags & COMMIT_DELETE) != 0;
    top_node = str_format("libvirt-%u-format", j->top_index);
    base_node = str_format("libvirt-%u-format", j->base_index);
    a = job_args(j, disk, mib(args->bandwidth, args->flags & 16));
    (void)json_add_str(a, "top-node", top_node != NULL ? top_node : "");
    (void)json_add_str(a, "base-node", base_node != NULL ? base_node : "");
    if (top != disk && node_get(base, "source/@file") != NULL) {
        (void)json_add_str(a, "backing-file", node_get(base, "source/@file"));
    }
    r = monitor_run(run_of(u.d)->qmp, "block-commit", a, NULL, err);
    if (r < 0) {
        job_free(j);
        return r;
    }
    if (top == disk) {
        struct node *m = node_add(disk, "mirror"), *s = node_copy(node_child(base, "source"));

        if (m != NULL && s != NULL) {
            (void)node_set(m, "@type", "file");
            (void)node_set(m, "@file", node_get(base, "source/@file"));
            (void)node_set(m, "@format", node_get(base, "format/@type"));
            (void)node_set(m, "@job", "active-commit");
            (void)node_set(m, "format/@type", node_get(base, "format/@type"));
            node_insert(m, s);
            (void)node_set(m, "source/@index", node_attr(base, "index"));
        }
    }
    return 0;
}

int qemu_domain_get_block_job_info(struct call *call,
                                   const struct remote_domain_get_block_job_info_args *args,
                                   struct remote_domain_get_block_job_info_ret *ret,
                                   struct err **err)
{
    AUTO_USE struct use u = { 0 };
    AUTO_JSON struct json_object *jobs = NULL;
    struct node *disk;
    struct job *j = NULL;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? disk_of(u.d, args->path, &disk, err) : r;
    if (r < 0) {
        return r;
    }
    j = job_of(run_of(u.d), node_get(disk, "target/@dev"));
    if (j == NULL) {
        ret->found = 0;
        return 0;
    }
    ret->found = 1;
    ret->type_ = j->type;
    r = monitor_run(run_of(u.d)->qmp, "query-block-jobs", NULL, &jobs, err);
    for (size_t i = 0; r == 0 && i < json_object_array_length(jobs); i++) {
        struct json_object *o = json_object_array_get_idx(jobs, i);

        if (str_eq(json_str_or(o, "device", ""), j->name)) {
            ret->bandwidth = (uint64_t)json_i64_or(o, "speed", 0);
            ret->cur = (uint64_t)json_i64_or(o, "offset", 0);
            ret->end = (uint64_t)json_i64_or(o, "len", 0);
            if (!(args->flags & BANDWIDTH_BYTES)) {
                ret->bandwidth >>= 20;
            }
            /* Equal numbers mean "ready" to clients. */
            if (ret->cur == ret->end && !j->ready && j->type != JOB_PULL && j->type != JOB_COMMIT &&
                ret->end > 0) {
                ret->cur--;
            }
        }
    }
    if (r == 0 && ret->end == 0 && !j->ready) {
        ret->end = 1;
    }
    return r;
}

int qemu_domain_block_job_abort(struct call *call,
                                const struct remote_domain_block_job_abort_args *args,
                                struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct json_object *a;
    struct node *disk;
    struct job *j = NULL;
    struct run *run;
    uint64_t until = loop_now_usec() + WAIT_USEC;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? disk_of(u.d, args->path, &disk, err) : r;
    if (r < 0) {
        return r;
    }
    run = run_of(u.d);
    j = job_of(run, node_get(disk, "target/@dev"));
    if (j == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "disk %s does not have an active block job",
                     args->path);
    }
    if ((args->flags & ABORT_PIVOT) && !j->ready) {
        return fault(err, DOM_QEMU, BLOCK_COPY_ACTIVE,
                     "block job on disk '%s' not ready for pivot yet", args->path);
    }
    a = json_object_new_object();
    if (args->flags & ABORT_PIVOT) {
        j->pivot = true;
        (void)json_add_str(a, "id", j->name);
        r = monitor_run(run->qmp, "job-complete", a, NULL, err);
    } else {
        j->canceled = true;
        (void)json_add_str(a, "device", j->name);
        r = monitor_run(run->qmp, "block-job-cancel", a, NULL, err);
    }
    run_ref(run);
    while (r == 0 && !(args->flags & ABORT_ASYNC) && run->domain != NULL &&
           job_of(run, node_get(find_disk(u.d->def, args->path), "target/@dev")) != NULL &&
           lock_wait(&run->changed, until)) {
        if (find_disk(u.d->def, args->path) == NULL) {
            break;
        }
    }
    run_unref(run);
    return r;
}

int qemu_domain_block_job_set_speed(struct call *call,
                                    const struct remote_domain_block_job_set_speed_args *args,
                                    struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct json_object *a;
    struct node *disk;
    struct job *j = NULL;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? disk_of(u.d, args->path, &disk, err) : r;
    if (r < 0) {
        return r;
    }
    j = job_of(run_of(u.d), node_get(disk, "target/@dev"));
    if (j == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "disk %s does not have an active block job",
                     args->path);
    }
    a = json_object_new_object();
    (void)json_add_str(a, "device", j->name);
    (void)json_add_u64(a, "speed", mib(args->bandwidth, args->flags & BANDWIDTH_BYTES));
    return monitor_run(run_of(u.d)->qmp, "block-job-set-speed", a, NULL, err);
}

int qemu_domain_block_resize(struct call *call, const struct remote_domain_block_resize_args *args,
                             struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct json_object *a;
    struct node *disk;
    AUTO_FREE char *node = NULL;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? disk_of(u.d, args->disk, &disk, err) : r;
    if (r < 0) {
        return r;
    }
    node = disk_node_name(disk);
    a = json_object_new_object();
    (void)json_add_str(a, "node-name", node != NULL ? node : "");
    (void)json_add_u64(a, "size", args->flags & RESIZE_BYTES ? args->size : args->size * 1024);
    return monitor_run(run_of(u.d)->qmp, "block_resize", a, NULL, err);
}

int qemu_domain_set_block_threshold(struct call *call,
                                    const struct remote_domain_set_block_threshold_args *args,
                                    struct err **err)
{
    AUTO_USE struct use u = { 0 };
    AUTO_FREE char *target = strndup(args->dev, strcspn(args->dev, "[")), *node = NULL;
    struct json_object *a;
    struct node *disk, *layer;
    int r = use_begin(call, &args->dom, true, &u, err);

    if (r < 0 || target == NULL) {
        return r < 0 ? r : -ENOMEM;
    }
    disk = find_disk(u.d->def, target);
    layer =
        disk != NULL ? (strchr(args->dev, '[') != NULL ? find_layer(disk, args->dev) : disk) : NULL;
    if (layer == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "block device '%s' not found", args->dev);
    }
    node = str_format("libvirt-%u-storage", index_of(layer));
    a = json_object_new_object();
    (void)json_add_str(a, "node-name", node != NULL ? node : "");
    (void)json_add_u64(a, "write-threshold", args->threshold);
    return monitor_run(run_of(u.d)->qmp, "block-set-write-threshold", a, NULL, err);
}
