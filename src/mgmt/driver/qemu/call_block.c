/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_block.c - block jobs (pull, commit, copy), resizing, thresholds. */
#include "mgmt/driver/qemu/blockjob.h"
#include "mgmt/driver/qemu/chain.h"
#include "mgmt/driver/qemu/cmdline.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/model/schema.h"
#include "mgmt/server/lock.h"
#include "mgmt/storage/image.h"
#include "os/loop.h"
#include "os/path.h"

#include <errno.h>

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

static int pull(struct call *call, const struct remote_domain *wire, const char *path,
                const char *base, uint64_t bandwidth, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct node *disk, *layer = NULL;
    struct json_object *a;
    struct blockjob *j = NULL;
    int r = use_begin(call, wire, true, &u, err);

    r = r == 0 ? disk_of(u.d, path, &disk, err) : r;
    if (r == 0 && base != NULL && (layer = chain_find(disk, base)) == NULL) {
        r = fault(err, DOM_STORAGE, INVALID_ARG, "could not find image '%s' in chain for '%s'",
                  base, path);
    }
    r = r == 0 ? blockjob_new(u.d, disk, JOB_PULL, "pull", &j, err) : r;
    if (r < 0) {
        return r;
    }
    a = blockjob_args(j, disk, bandwidth);
    if (layer != NULL) {
        AUTO_FREE char *node = str_format("libvirt-%u-format", chain_index(layer));

        j->base_index = chain_index(layer);
        (void)json_add_str(a, "base-node", node != NULL ? node : "");
        if (node_get(layer, "source/@file") != NULL) {
            (void)json_add_str(a, "backing-file", node_get(layer, "source/@file"));
        }
    }
    r = monitor_run(run_of(u.d)->qmp, "block-stream", a, NULL, err);
    if (r < 0) {
        blockjob_free(j);
        return r;
    }
    process_save(u.d);
    return 0;
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
    struct blockjob *j = NULL;
    const char *format, *file = node_get(dest, "source/@file");
    AUTO_FREE char *base = NULL, *target = NULL, *backing = NULL;
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
    r = blockjob_new(u.d, disk, JOB_COPY, "copy", &j, err);
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
        if ((flags & COPY_SHALLOW) && chain_below(disk) != NULL) {
            j->base_index = chain_index(chain_below(disk));
            backing = str_format("libvirt-%u-format", j->base_index);
        }
        r = storage_blockdev(NULL, (struct node *)(uintptr_t)dest, "file", format, base, false,
                             backing, nodes, err);
    }
    for (size_t i = 0; r == 0 && i < json_object_array_length(nodes); i++) {
        r = monitor_run(run_of(u.d)->qmp, "blockdev-add",
                        json_object_get(json_object_array_get_idx(nodes, i)), NULL, err);
    }
    if (r == 0) {
        j->mirror = node_copy(node_child(dest, "source"));
        j->format = strdup(format);
        a = blockjob_args(j, disk, bandwidth);
        (void)json_add_str(a, "target", target);
        (void)json_add_str(a, "sync", backing != NULL ? "top" : "full");
        r = j->mirror != NULL && j->format != NULL
                ? monitor_run(run_of(u.d)->qmp, "blockdev-mirror", a, NULL, err)
                : -ENOMEM;
    }
    if (r < 0) {
        if (j->mirror_node != 0) {
            chain_drop_nodes(run_of(u.d), j->mirror_node);
        }
        blockjob_free(j);
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
    process_save(u.d);
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
    struct blockjob *j;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? disk_of(u.d, args->disk, &disk, err) : r;
    if (r < 0) {
        return r;
    }
    top = args->top != NULL ? chain_find(disk, args->top) : disk;
    if (top == NULL) {
        return fault(err, DOM_STORAGE, INVALID_ARG, "could not find image '%s' in chain for '%s'",
                     args->top, args->disk);
    }
    if (top == disk && !(args->flags & COMMIT_ACTIVE)) {
        return fault(err, DOM_QEMU, INVALID_ARG, "commit of '%s' active layer requires active flag",
                     args->disk);
    }
    if (args->base != NULL) {
        base = chain_find(disk, args->base);
    } else {
        base = chain_below(top);
        while (base != NULL && !(args->flags & COMMIT_SHALLOW) && chain_below(base) != NULL) {
            base = chain_below(base);
        }
    }
    if (base == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "could not find base image in chain for '%s'",
                     args->disk);
    }
    r = blockjob_commit(u.d, disk, top, base, mib(args->bandwidth, args->flags & 16), false, &j,
                        err);
    if (r == 0) {
        j->delete_top = (args->flags & COMMIT_DELETE) != 0;
    }
    return r;
}

int qemu_domain_get_block_job_info(struct call *call,
                                   const struct remote_domain_get_block_job_info_args *args,
                                   struct remote_domain_get_block_job_info_ret *ret,
                                   struct err **err)
{
    AUTO_USE struct use u = { 0 };
    AUTO_JSON struct json_object *jobs = NULL;
    struct node *disk;
    struct blockjob *j = NULL;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? disk_of(u.d, args->path, &disk, err) : r;
    if (r < 0) {
        return r;
    }
    j = blockjob_of(run_of(u.d), node_get(disk, "target/@dev"));
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
    struct node *disk;
    struct blockjob *j = NULL;
    struct run *run;
    uint64_t until = loop_now_usec() + WAIT_USEC;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? disk_of(u.d, args->path, &disk, err) : r;
    if (r < 0) {
        return r;
    }
    run = run_of(u.d);
    j = blockjob_of(run, node_get(disk, "target/@dev"));
    if (j == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "disk %s does not have an active block job",
                     args->path);
    }
    if ((args->flags & ABORT_PIVOT) && !j->ready) {
        return fault(err, DOM_QEMU, BLOCK_COPY_ACTIVE,
                     "block job on disk '%s' not ready for pivot yet", args->path);
    }
    r = blockjob_finish(u.d, j, (args->flags & ABORT_PIVOT) != 0, err);
    run_ref(run);
    while (r == 0 && !(args->flags & ABORT_ASYNC) && run->domain != NULL &&
           blockjob_of(run, node_get(find_disk(u.d->def, args->path), "target/@dev")) != NULL &&
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
    struct blockjob *j = NULL;
    int r = use_begin(call, &args->dom, true, &u, err);

    r = r == 0 ? disk_of(u.d, args->path, &disk, err) : r;
    if (r < 0) {
        return r;
    }
    j = blockjob_of(run_of(u.d), node_get(disk, "target/@dev"));
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
        disk != NULL ? (strchr(args->dev, '[') != NULL ? chain_find(disk, args->dev) : disk) : NULL;
    if (layer == NULL) {
        return fault(err, DOM_QEMU, INVALID_ARG, "block device '%s' not found", args->dev);
    }
    node = str_format("libvirt-%u-storage", chain_index(layer));
    a = json_object_new_object();
    (void)json_add_str(a, "node-name", node != NULL ? node : "");
    (void)json_add_u64(a, "write-threshold", args->threshold);
    return monitor_run(run_of(u.d)->qmp, "block-set-write-threshold", a, NULL, err);
}
