/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/backup.h"

#include "base/str.h"
#include "mgmt/driver/qemu/blockjob.h"
#include "mgmt/driver/qemu/chain.h"
#include "mgmt/driver/qemu/checkpoint.h"
#include "mgmt/driver/qemu/cmdline.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/ports.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/driver/qemu/stats.h"
#include "mgmt/storage/image.h"
#include "os/loop.h"
#include "os/path.h"

#include <errno.h>
#include <time.h>

enum { NBD_PORT_FIRST = 10809, NBD_PORT_LAST = 10872 };

static bool is_pull(const struct node *def)
{
    return node_is(def, "@mode", "pull");
}

static struct node *first_disk(const struct node *def)
{
    return node_child(node_child(def, "disks"), "disk");
}

static bool wanted(const struct node *k)
{
    return node_is(k, "@backup", "yes");
}

static const char *file_of(const struct node *def, const struct node *k)
{
    return node_get(k, is_pull(def) ? "scratch/@file" : "target/@file");
}

/* ---- the plan ---- */

static int plan_file(const struct node *def, struct node *k, const struct node *disk,
                     const char *suffix, struct err **err)
{
    const char *path = is_pull(def) ? "scratch/@file" : "target/@file",
               *source = node_get(disk, "source/@file");

    if (node_attr(k, "type") != NULL && !node_is(k, "@type", "file")) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED, "unsupported disk backup type '%s'",
                     node_attr(k, "type"));
    }
    if (node_get(k, path) == NULL) {
        if (source == NULL) {
            return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED,
                         "refusing to generate file name for disk '%s'", node_attr(k, "name"));
        }
        if (node_setf(k, path, "%s.%s", source, suffix) < 0) {
            return -ENOMEM;
        }
    }
    if (node_get(k, "driver/@type") == NULL && node_set(k, "driver/@type", "qcow2") < 0) {
        return -ENOMEM;
    }
    return node_set(k, "@type", "file");
}

static int plan_incremental(struct domain *d, const struct node *def, struct node *k,
                            struct err **err)
{
    const char *from = node_attr(k, "incremental") != NULL ? node_attr(k, "incremental")
                                                           : node_get(def, "incremental");

    if (node_is(k, "@backupmode", "full") || from == NULL) {
        return node_is(k, "@backupmode", "incremental")
                   ? fault(
                         err, DOM_DOMAIN, XML_ERROR,
                         "'incremental' backup mode of disk '%s' requires setting 'incremental' field for disk or backup",
                         node_attr(k, "name"))
                   : node_set(k, "@backupmode", "full");
    }
    if (snapshot_find(&d->checkpoints, from) == NULL) {
        return fault(err, DOM_QEMU, NO_DOMAIN_CHECKPOINT,
                     "Checkpoint '%s' for incremental backup of disk '%s' not found", from,
                     node_attr(k, "name"));
    }
    return node_set(k, "@incremental", from) < 0 || node_set(k, "@backupmode", "incremental") < 0
               ? -ENOMEM
               : 0;
}

static int plan_disk(struct domain *d, struct node *def, struct node *k, const char *suffix,
                     struct err **err)
{
    const struct node *disk = find_disk(d->def, node_attr(k, "name"));
    AUTO_FREE char *bitmap = NULL;
    int r = plan_file(def, k, disk, suffix, err);

    r = r == 0 ? plan_incremental(d, def, k, err) : r;
    if (r < 0 || !is_pull(def)) {
        return r;
    }
    if (node_attr(k, "exportname") == NULL &&
        node_set(k, "@exportname", node_attr(k, "name")) < 0) {
        return -ENOMEM;
    }
    bitmap = str_format("backup-%s", node_attr(k, "name"));
    return node_is(k, "@backupmode", "incremental") && node_attr(k, "exportbitmap") == NULL
               ? node_set(k, "@exportbitmap", bitmap)
               : 0;
}

static int check_listed(struct domain *d, struct node *disks, struct err **err)
{
    for (struct node *k = node_child(disks, "disk"); k != NULL; k = node_next(k, "disk")) {
        const struct node *disk =
            node_attr(k, "name") != NULL ? find_disk(d->def, node_attr(k, "name")) : NULL;

        if (disk == NULL) {
            return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED, "no disk named '%s'",
                         node_attr(k, "name") != NULL ? node_attr(k, "name") : "");
        }
        if (node_set(k, "@name", node_get(disk, "target/@dev")) < 0) {
            return -ENOMEM;
        }
        if (node_attr(k, "backup") == NULL && node_set(k, "@backup", "yes") < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static int plan_server(struct node *def, unsigned *ret_port, struct err **err)
{
    int r = 0;

    if (node_attr(node_child(def, "server"), "transport") == NULL) {
        r = node_set(def, "server/@transport", "tcp");
    }
    if (r == 0 && node_is(def, "server/@transport", "unix")) {
        const char *socket = node_get(def, "server/@socket");

        if (socket == NULL || *socket != '/') {
            return fault(err, DOM_DOMAIN, XML_ERROR, "backup socket path '%s' must be absolute",
                         socket != NULL ? socket : "");
        }
        return 0;
    }
    if (r == 0 && node_get(def, "server/@name") == NULL) {
        r = node_set(def, "server/@name", "localhost");
    }
    if (r == 0 && node_get(def, "server/@port") == NULL) {
        r = ports_take(NBD_PORT_FIRST, NBD_PORT_LAST, ret_port, err);
        r = r == 0 ? node_setf(def, "server/@port", "%u", *ret_port) : r;
    }
    return r;
}

static int plan(struct domain *d, struct node *def, unsigned *ret_port, struct err **err)
{
    AUTO_FREE char *suffix = NULL;
    struct node *disks;
    bool listed;
    unsigned n = 0;
    int r = 0;

    if (node_attr(def, "mode") == NULL) {
        r = node_set(def, "@mode", "push");
    }
    suffix = node_get(def, "incremental") != NULL && is_pull(def)
                 ? strdup(node_get(def, "incremental"))
                 : str_format("%lld", (long long)time(NULL));
    disks = node_need(def, "disks");
    if (r < 0 || disks == NULL || suffix == NULL) {
        return -ENOMEM;
    }
    listed = disks->first != NULL;
    r = check_listed(d, disks, err);
    for (const struct node *disk = node_child(domain_devices(d->def), "disk");
         r == 0 && disk != NULL; disk = node_next(disk, "disk")) {
        const char *target = node_get(disk, "target/@dev");
        struct node *k = NULL;

        if (node_child(disk, "source") == NULL || node_is(disk, "@device", "cdrom") ||
            node_is(disk, "@device", "floppy")) {
            continue;
        }
        for (struct node *o = node_child(disks, "disk"); o != NULL; o = node_next(o, "disk")) {
            k = node_is(o, "@name", target) ? o : k;
        }
        if (k == NULL) {
            k = node_add(disks, "disk");
            r = k == NULL || node_set(k, "@name", target) < 0 ||
                        node_set(k, "@backup",
                                 listed || node_child(disk, "readonly") != NULL ? "no" : "yes") < 0
                    ? -ENOMEM
                    : 0;
        }
        if (r == 0 && wanted(k)) {
            n++;
            r = plan_disk(d, def, k, suffix, err);
        }
    }
    disks_in_order(disks, d->def);
    if (r == 0 && n == 0) {
        return fault(err, DOM_QEMU, INVALID_ARG, "no disks selected for backup");
    }
    return r == 0 && is_pull(def) ? plan_server(def, ret_port, err) : r;
}

/* ---- the emulator's part ---- */

static int make_file(const struct node *def, const struct node *k, const struct node *disk,
                     bool reuse, struct err **err)
{
    CLEANUP(image_info_done) struct image_info info = { 0 };
    const char *file = file_of(def, k);
    AUTO_FREE char *size = NULL;
    int r;

    if (reuse) {
        return 0;
    }
    if (path_exists(file)) {
        return fault(err, DOM_QEMU, INVALID_ARG, "store '%s' for backup of '%s' exists", file,
                     node_attr(k, "name"));
    }
    r = image_probe(node_get(disk, "source/@file"), chain_format(disk), &info);
    size = str_format("%llu", (unsigned long long)info.virtual_bytes);
    if (r < 0 || size == NULL) {
        return err_set(err, r < 0 ? -r : ENOMEM, "cannot read the header of '%s'",
                       node_get(disk, "source/@file"));
    }
    {
        const char *const args[] = { "create", "-q", "-f", node_get(k, "driver/@type"),
                                     file,     size, NULL };

        return image_run(args, NULL, err);
    }
}

static int add_nodes(struct domain *d, const struct node *def, struct node *k,
                     const struct node *disk, struct err **err)
{
    AUTO_JSON struct json_object *nodes = json_object_new_array();
    CLEANUP(node_freep) struct node *owner = node_new(NULL, "disk");
    unsigned index = ++run_of(d)->next_node;
    AUTO_FREE char *base = str_format("libvirt-%u", index);
    AUTO_FREE char *backing = is_pull(def) ? disk_node_name(disk) : NULL;
    int r;

    if (owner == NULL || base == NULL || node_set(owner, "source/@file", file_of(def, k)) < 0 ||
        node_setf(k, "@index", "%u", index) < 0) {
        return -ENOMEM;
    }
    r = storage_blockdev(NULL, owner, "file", node_get(k, "driver/@type"), base, false, backing,
                         nodes, err);
    for (size_t i = 0; r == 0 && i < json_object_array_length(nodes); i++) {
        r = monitor_run(run_of(d)->qmp, "blockdev-add",
                        json_object_get(json_object_array_get_idx(nodes, i)), NULL, err);
    }
    return r;
}

/* The bitmap "backup-vda": all that changed since the checkpoint, whatever layer recorded it. */
static int bitmap_actions(const struct node *k, struct node *disk, struct json_object *nodes,
                          const char *name, struct json_object *actions, struct err **err)
{
    struct json_object *data, *o, *list = json_object_new_array();
    const char *from = node_attr(k, "incremental");

    for (struct node *l = disk; l != NULL; l = chain_below(l)) {
        AUTO_FREE char *node = str_format("libvirt-%u-format", chain_index(l));

        if (bitmaps_find(nodes, chain_index(l), from) != NULL) {
            o = json_object_new_object();
            (void)json_add_str(o, "node", node != NULL ? node : "");
            (void)json_add_str(o, "name", from);
            json_object_array_add(list, o);
        }
    }
    if (json_object_array_length(list) == 0) {
        json_object_put(list);
        return fault(err, DOM_QEMU, CHECKPOINT_INCONSISTENT,
                     "missing or broken bitmap '%s' for disk '%s'", from, node_attr(k, "name"));
    }
    o = bitmap_action("block-dirty-bitmap-add", chain_index(disk), name, &data);
    (void)json_add_bool(data, "persistent", false);
    (void)json_add_bool(data, "disabled", true);
    json_object_array_add(actions, o);
    o = bitmap_action("block-dirty-bitmap-merge", chain_index(disk), name, &data);
    (void)json_add(data, "bitmaps", list);
    json_object_array_add(actions, o);
    return 0;
}

static int job_action(struct domain *d, const struct node *def, const struct node *k,
                      struct node *disk, const char *bitmap, struct json_object *actions,
                      struct err **err)
{
    AUTO_FREE char *target = str_format("libvirt-%s-format", node_attr(k, "index"));
    bool incremental = node_is(k, "@backupmode", "incremental");
    struct json_object *o, *data;
    struct blockjob *j;
    int r = blockjob_new(d, disk, JOB_BACKUP, "backup", &j, err);

    if (r < 0) {
        return r;
    }
    data = blockjob_args(j, disk, 0);
    (void)json_add_str(data, "target", target != NULL ? target : "");
    (void)json_add_str(data, "sync", is_pull(def) ? "none" : incremental ? "bitmap" : "full");
    if (incremental && !is_pull(def)) {
        (void)json_add_str(data, "bitmap", bitmap);
        (void)json_add_str(data, "bitmap-mode", "never");
    }
    o = json_object_new_object();
    (void)json_add_str(o, "type", "blockdev-backup");
    (void)json_add(o, "data", data);
    json_object_array_add(actions, o);
    return 0;
}

static int start_server(struct domain *d, const struct node *def, struct err **err)
{
    const struct node *s = node_child(def, "server");
    struct json_object *a = json_object_new_object(), *addr = json_object_new_object(),
                       *data = json_object_new_object();
    bool local = node_is(s, "@transport", "unix");

    (void)json_add_str(addr, "type", local ? "unix" : "inet");
    if (local) {
        (void)json_add_str(data, "path", node_attr(s, "socket"));
    } else {
        (void)json_add_str(data, "host", node_attr(s, "name"));
        (void)json_add_str(data, "port", node_attr(s, "port"));
    }
    (void)json_add(addr, "data", data);
    (void)json_add(a, "addr", addr);
    return monitor_run(run_of(d)->qmp, "nbd-server-start", a, NULL, err);
}

static int add_export(struct domain *d, const struct node *k, struct err **err)
{
    struct json_object *a = json_object_new_object();
    AUTO_FREE char *node = str_format("libvirt-%s-format", node_attr(k, "index"));
    AUTO_FREE char *bitmap = str_format("backup-%s", node_attr(k, "name"));

    (void)json_add_str(a, "type", "nbd");
    (void)json_add_str(a, "id", node != NULL ? node : "");
    (void)json_add_str(a, "node-name", node != NULL ? node : "");
    (void)json_add_bool(a, "writable", false);
    (void)json_add_str(a, "name", node_attr(k, "exportname"));
    if (node_is(k, "@backupmode", "incremental")) {
        struct json_object *list = json_object_new_array();

        json_object_array_add(list, json_object_new_string(bitmap != NULL ? bitmap : ""));
        (void)json_add(a, "bitmaps", list);
    }
    return monitor_run(run_of(d)->qmp, "block-export-add", a, NULL, err);
}

/* ---- the end ---- */

static void tidy_disk(struct domain *d, const struct node *def, const struct node *k,
                      bool keep_file)
{
    struct run *r = run_of(d);
    struct node *disk = find_disk(d->def, node_attr(k, "name"));
    AUTO_FREE char *node = str_format("libvirt-%s-format",
                                      node_attr(k, "index") != NULL ? node_attr(k, "index") : "0");
    AUTO_FREE char *bitmap = str_format("backup-%s", node_attr(k, "name"));

    if (is_pull(def)) {
        struct json_object *a = json_object_new_object();

        (void)json_add_str(a, "id", node != NULL ? node : "");
        (void)json_add_str(a, "mode", "hard");
        (void)monitor_run(r->qmp, "block-export-del", a, NULL, NULL);
    }
    if (r->domain != NULL && node_is(k, "@backupmode", "incremental") && disk != NULL) {
        AUTO_FREE char *source = disk_node_name(disk);
        struct json_object *a = json_object_new_object();

        (void)json_add_str(a, "node", source != NULL ? source : "");
        (void)json_add_str(a, "name", bitmap != NULL ? bitmap : "");
        (void)monitor_run(r->qmp, "block-dirty-bitmap-remove", a, NULL, NULL);
    }
    if (r->domain != NULL && node_attr(k, "index") != NULL) {
        chain_drop_nodes(r, (unsigned)node_get_u64(k, "@index", 0));
    }
    if (!keep_file && file_of(def, k) != NULL) {
        (void)unlink(file_of(def, k));
    }
}

static void finish(struct domain *d, bool success, const char *why)
{
    struct run *r = run_ref(run_of(d));
    CLEANUP(node_freep) struct node *def = TAKE_PTR(r->backup);

    if (is_pull(def)) {
        (void)monitor_run(r->qmp, "nbd-server-stop", NULL, NULL, NULL);
        ports_give_back(r->backup_port);
        r->backup_port = 0;
    }
    for (struct node *k = first_disk(def); k != NULL && r->domain != NULL;
         k = node_next(k, "disk")) {
        if (wanted(k)) {
            /* A half written copy is of no use; a scratch file never is. */
            tidy_disk(d, def, k, r->backup_reuse || (success && !is_pull(def)));
        }
    }
    if (r->domain != NULL) {
        stats_end(d, success || is_pull(def), why);
        process_save(d);
    }
    run_unref(r);
}

void backup_disk_done(struct domain *d, const struct blockjob *j, bool success)
{
    struct run *r = run_of(d);
    unsigned left = 0;

    if (r->backup == NULL) {
        return;
    }
    if (r->stats != NULL) {
        r->stats->done_processed += j->progress;
        r->stats->done_total += j->length;
    }
    backup_measure(d);
    for (struct node *k = first_disk(r->backup); k != NULL; k = node_next(k, "disk")) {
        if (wanted(k) && node_is(k, "@name", j->target)) {
            (void)node_set(k, "@state", success ? "complete" : "failed");
        }
        left += wanted(k) && node_attr(k, "state") == NULL;
    }
    if (!success && !is_pull(r->backup)) {
        if (r->backup_why == NULL) {
            r->backup_why = strdup(j->why != NULL ? j->why : "Operation canceled");
        }
        if (left > 0) {
            (void)!backup_abort(d, NULL);
        }
    }
    if (left == 0) {
        AUTO_FREE char *reason = TAKE_PTR(r->backup_why);

        finish(d, reason == NULL, is_pull(r->backup) ? "Operation canceled" : reason);
    }
}

int backup_abort(struct domain *d, struct err **err)
{
    struct run *r = run_of(d);
    int result = 0;

    /* The list may change while the emulator is asked. */
    for (bool more = true; more && result == 0 && r->domain != NULL;) {
        more = false;
        LIST_FOREACH (&r->block_jobs, it) {
            struct blockjob *j = CONTAINER_OF(it, struct blockjob, link);

            if (j->type == JOB_BACKUP && !j->canceled) {
                struct json_object *a = json_object_new_object();

                j->canceled = more = true;
                (void)json_add_str(a, "device", j->name);
                result = monitor_run(r->qmp, "block-job-cancel", a, NULL, err);
                break;
            }
        }
    }
    return result;
}

/* ---- beginning ---- */

static int begin_jobs(struct domain *d, struct node *def, const struct node *checkpoint, bool reuse,
                      struct err **err)
{
    AUTO_JSON struct json_object *actions = json_object_new_array();
    AUTO_JSON struct json_object *nodes = NULL;
    int r = bitmaps_query(d, &nodes, err);

    for (struct node *k = first_disk(def); r == 0 && k != NULL; k = node_next(k, "disk")) {
        AUTO_FREE char *bitmap = str_format("backup-%s", node_attr(k, "name"));
        struct node *disk = wanted(k) ? find_disk(d->def, node_attr(k, "name")) : NULL;

        if (disk == NULL) {
            continue;
        }
        r = make_file(def, k, disk, reuse, err);
        r = r == 0 ? add_nodes(d, def, k, disk, err) : r;
        if (r == 0 && node_is(k, "@backupmode", "incremental")) {
            r = bitmap_actions(k, disk, nodes, bitmap, actions, err);
        }
        r = r == 0 ? job_action(d, def, k, disk, bitmap, actions, err) : r;
    }
    if (r == 0 && checkpoint != NULL) {
        checkpoint_actions(d, checkpoint, actions);
    }
    if (r == 0 && is_pull(def)) {
        r = start_server(d, def, err);
    }
    if (r == 0) {
        struct json_object *a = json_object_new_object();

        (void)json_add(a, "actions", json_object_get(actions));
        r = monitor_run(run_of(d)->qmp, "transaction", a, NULL, err);
    }
    return r;
}

static void forget_jobs(struct run *r)
{
    LIST_FOREACH_SAFE (&r->block_jobs, it) {
        struct blockjob *j = CONTAINER_OF(it, struct blockjob, link);

        if (j->type == JOB_BACKUP) {
            blockjob_free(j);
        }
    }
}

int backup_begin(struct domain *d, struct node *def, struct node *checkpoint, unsigned flags,
                 struct err **err)
{
    struct run *run = run_of(d);
    unsigned port = 0;
    int r = 0;

    if (run->backup != NULL) {
        r = fault(
            err, DOM_QEMU, OPERATION_TIMEOUT,
            "cannot acquire state change lock (held by monitor=remoteDispatchDomainBackupBegin)");
    }
    r = r == 0 && checkpoint != NULL ? checkpoint_plan(d, checkpoint, err) : r;
    r = r == 0 ? plan(d, def, &port, err) : r;
    if (r < 0) {
        ports_give_back(port);
        node_free(def);
        node_free(checkpoint);
        return r;
    }
    run->backup = def;
    run->backup_port = port;
    run->backup_reuse = (flags & BACKUP_REUSE_EXTERNAL) != 0;
    r = stats_begin(d, "backup") != NULL ? 0 : -ENOMEM;
    r = r == 0 ? begin_jobs(d, def, checkpoint, run->backup_reuse, err) : r;
    if (r < 0) {
        forget_jobs(run);
        finish(d, false, NULL);
        node_free(checkpoint);
        return r;
    }
    for (struct node *k = first_disk(def); r == 0 && is_pull(def) && k != NULL;
         k = node_next(k, "disk")) {
        r = wanted(k) ? add_export(d, k, err) : 0;
    }
    if (r < 0) {
        (void)!backup_abort(d, NULL);
        node_free(checkpoint);
        return r;
    }
    process_save(d);
    return checkpoint != NULL ? checkpoint_keep(d, checkpoint, NULL, err) : 0;
}

void backup_measure(struct domain *d)
{
    struct run *r = run_of(d);
    AUTO_JSON struct json_object *jobs = NULL;
    uint64_t now, total;

    if (r->backup == NULL || monitor_run(r->qmp, "query-jobs", NULL, &jobs, NULL) < 0 ||
        r->stats == NULL) {
        return;
    }
    now = r->stats->done_processed;
    total = r->stats->done_total;
    for (size_t i = 0; i < json_object_array_length(jobs); i++) {
        struct json_object *o = json_object_array_get_idx(jobs, i);

        if (str_starts(json_str_or(o, "id", ""), "backup-")) {
            now += (uint64_t)json_i64_or(o, "current-progress", 0);
            total += (uint64_t)json_i64_or(o, "total-progress", 0);
        }
    }
    if (total > 0) {
        r->stats->total = total;
        r->stats->processed = now;
        r->stats->remaining = total > now ? total - now : 0;
    }
    r->stats->pull = r->backup != NULL && is_pull(r->backup);
    r->stats->elapsed_msec = (loop_now_usec() - r->stats->start_usec) / 1000;
}
