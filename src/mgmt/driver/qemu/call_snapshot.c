/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * call_snapshot.c - snapshots. Internal ones live in the qcow2 images (savevm by the emulator, or
 * the image program while nothing runs); external ones put a new image on top of each disk.
 */
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/cmdline.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/driver/qemu/save.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/snapshot.h"
#include "mgmt/storage/image.h"
#include "os/path.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum {
    CREATE_REDEFINE = 1,
    CREATE_CURRENT = 2,
    CREATE_NO_METADATA = 4,
    CREATE_HALT = 8,
    CREATE_DISK_ONLY = 16,
    CREATE_REUSE_EXT = 32,
    CREATE_QUIESCE = 64,
    CREATE_ATOMIC = 128,
    CREATE_LIVE = 256,
    DELETE_CHILDREN = 1,
    DELETE_METADATA_ONLY = 2,
    DELETE_CHILDREN_ONLY = 4,
    REVERT_RUNNING = 1,
    REVERT_PAUSED = 2,
    REVERT_FORCE = 4,
    LIST_ROOTS = 1,
    LIST_DESCENDANTS = 1,
    LIST_METADATA = 2,
    LIST_LEAVES = 4,
    LIST_NO_LEAVES = 8,
    LIST_NO_METADATA = 16,
    LIST_INACTIVE = 32,
    LIST_ACTIVE = 64,
    LIST_DISK_ONLY = 128,
    LIST_INTERNAL = 256,
    LIST_EXTERNAL = 512,
};

static int no_snapshot(const char *name, struct err **err)
{
    return fault(err, DOM_QEMU, NO_DOMAIN_SNAPSHOT, "no domain snapshot with matching name '%s'",
                 name);
}

static void to_wire(const struct snapshot *s, struct arena *a, struct remote_domain_snapshot *ret)
{
    ret->name = arena_strdup(a, s->name);
    domain_to_wire(s->domain, a, &ret->dom);
}

static int of_call(struct call *call, const struct remote_domain_snapshot *wire,
                   struct domain **ret_domain, struct snapshot **ret, struct err **err)
{
    int r = domain_of_call(call, &wire->dom, ret_domain, err);

    if (r < 0) {
        return r;
    }
    *ret = snapshot_find(&(*ret_domain)->snapshots, wire->name);
    return *ret != NULL ? 0 : no_snapshot(wire->name, err);
}

/* ---- definitions ---- */

static bool is_external(const struct snapshot *s)
{
    if (node_is(s->def, "memory/@snapshot", "external")) {
        return true;
    }
    for (const struct node *k = node_child(node_child(s->def, "disks"), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        if (node_is(k, "@snapshot", "external")) {
            return true;
        }
    }
    return false;
}

static const char *state_name(const struct domain *d, bool disk_only)
{
    return disk_only                   ? "disk-snapshot"
           : d->state == STATE_RUNNING ? "running"
           : d->state == STATE_PAUSED  ? "paused"
           : d->state == STATE_CRASHED ? "crashed"
                                       : "shutoff";
}

/* The rest of a disk's line: mode, and for an external one the new file. */
static int plan_disk(const struct domain *d, const struct node *disk, struct node *disks,
                     const char *name, bool external, struct err **err)
{
    const char *target = node_get(disk, "target/@dev"), *file = node_get(disk, "source/@file");
    struct node *k = NULL;
    const char *mode;

    (void)d;
    for (struct node *o = node_child(disks, "disk"); o != NULL; o = node_next(o, "disk")) {
        if (node_is(o, "@name", target) || (file != NULL && node_is(o, "@name", file))) {
            k = o;
        }
    }
    if (k == NULL) {
        k = node_add(disks, "disk");
    }
    if (k == NULL || node_set(k, "@name", target) < 0) {
        return -ENOMEM;
    }
    mode = node_attr(k, "snapshot");
    if (mode == NULL) {
        const char *own = node_attr(disk, "snapshot");

        mode = own != NULL ? own
               : node_is(disk, "@device", "cdrom") || node_child(disk, "source") == NULL ||
                       node_child(disk, "readonly") != NULL
                   ? "no"
               : external ? "external"
                          : "internal";
        if (node_set(k, "@snapshot", mode) < 0) {
            return -ENOMEM;
        }
        mode = node_attr(k, "snapshot");
    }
    if (str_eq(mode, "internal") && !node_is(disk, "driver/@type", "qcow2")) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "internal snapshot for disk %s unsupported for storage type %s", target,
                     node_get(disk, "driver/@type"));
    }
    if (!str_eq(mode, "external")) {
        return 0;
    }
    if (node_attr(k, "type") == NULL && node_set(k, "@type", "file") < 0) {
        return -ENOMEM;
    }
    if (node_get(k, "driver/@type") == NULL && node_set(k, "driver/@type", "qcow2") < 0) {
        return -ENOMEM;
    }
    if (node_get(k, "source/@file") == NULL) {
        const char *slash = file != NULL ? strrchr(file, '/') : NULL, *dot;
        size_t len;

        if (slash == NULL) {
            return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED,
                         "cannot generate external snapshot name for disk '%s' without source",
                         target);
        }
        dot = strrchr(slash, '.');
        len = dot != NULL ? (size_t)(dot - file) : strlen(file);
        if (node_setf(k, "source/@file", "%.*s.%s", (int)len, file, name) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static int complete(struct domain *d, struct node *def, unsigned flags, struct err **err)
{
    bool disk_only = (flags & CREATE_DISK_ONLY) != 0;
    const char *mem = node_get(def, "memory/@snapshot");
    struct node *disks, *copy;
    char now[32];

    if (node_get(def, "name") == NULL || *node_get(def, "name") == '\0') {
        (void)snprintf(now, sizeof(now), "%lld", (long long)time(NULL));
        if (node_set(def, "name", now) < 0) {
            return -ENOMEM;
        }
    }
    if (strchr(node_get(def, "name"), '/') != NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "name %s cannot contain '/'",
                     node_get(def, "name"));
    }
    if (node_set(def, "state", state_name(d, disk_only)) < 0 ||
        node_setf(def, "creationTime", "%lld", (long long)time(NULL)) < 0) {
        return -ENOMEM;
    }
    if (mem == NULL &&
        node_set(def, "memory/@snapshot", disk_only || !domain_active(d) ? "no" : "internal") < 0) {
        return -ENOMEM;
    }
    if (mem != NULL && str_eq(mem, "external") && node_get(def, "memory/@file") == NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "external memory snapshots require a filename");
    }
    disks = node_need(def, "disks");
    if (disks == NULL) {
        return -ENOMEM;
    }
    for (const struct node *k = node_child(domain_devices(d->def), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        int r = plan_disk(d, k, disks, node_get(def, "name"),
                          disk_only || node_is(def, "memory/@snapshot", "external"), err);

        if (r < 0) {
            return r;
        }
    }
    node_remove(def, "domain");
    node_remove(def, "inactiveDomain");
    copy = node_copy(d->def);
    if (copy == NULL) {
        return -ENOMEM;
    }
    (void)node_set(copy, "@id", NULL);
    node_insert(def, copy);
    if (d->next != NULL) {
        /* What the next start would have used. */
        const struct elem_ref *ref = elem_child(def->elem, "inactiveDomain", NULL);

        copy = node_copy(d->next);
        if (copy == NULL) {
            return -ENOMEM;
        }
        copy->name = ref->name;
        node_insert(def, copy);
    }
    if (d->current_snapshot != NULL &&
        node_set(def, "parent/name", d->current_snapshot->name) < 0) {
        return -ENOMEM;
    }
    return 0;
}

/* ---- making ---- */

static int hmp(struct domain *d, const char *fmt, const char *name, struct err **err)
{
    AUTO_FREE char *line = str_format("%s \"%s\"", fmt, name);
    AUTO_JSON struct json_object *v = NULL;
    struct json_object *a = json_object_new_object();
    int r;

    (void)json_add_str(a, "command-line", line != NULL ? line : "");
    r = monitor_run_fd(run_of(d)->qmp, "human-monitor-command", a, -1, 600000000ull, &v, err);
    if (r == 0 && v != NULL && *json_object_get_string(v) != '\0') {
        AUTO_FREE char *text = strdup(json_object_get_string(v));

        text[strcspn(text, "\r\n")] = '\0';
        return fault(err, DOM_QEMU, OPERATION_FAILED, "%s", text);
    }
    return r;
}

static int image_snapshot(struct domain *d, const struct node *def, const char *option, bool must,
                          struct err **err)
{
    for (const struct node *k = node_child(domain_devices(d->def), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        const char *file = node_get(k, "source/@file");
        const char *const args[] = { "snapshot", option, node_get(def, "name"), file, NULL };
        int r;

        if (file == NULL || !node_is(k, "driver/@type", "qcow2") ||
            node_is(k, "@device", "cdrom")) {
            continue;
        }
        r = image_run(args, NULL, must ? err : NULL);
        if (r < 0 && must) {
            return r;
        }
    }
    return 0;
}

static int create_internal(struct domain *d, const struct node *def, unsigned flags,
                           struct err **err)
{
    bool was_running = d->state == STATE_RUNNING;
    int r = 0;

    if (!domain_active(d)) {
        return image_snapshot(d, def, "-c", true, err);
    }
    if (was_running) {
        r = process_pause(d, PAUSED_SNAPSHOT, SUSPENDED_PAUSED, err);
    }
    r = r == 0 ? hmp(d, "savevm", node_get(def, "name"), err) : r;
    if (r == 0 && (flags & CREATE_HALT)) {
        return process_stop(d, SHUTOFF_FROM_SNAPSHOT, STOPPED_FROM_SNAPSHOT, err);
    }
    if (was_running && domain_active(d)) {
        int back = process_cont(d, RUNNING_UNPAUSED, RESUMED_UNPAUSED, r == 0 ? err : NULL);

        r = r == 0 ? back : r;
    }
    return r;
}

/* One new image on one disk: the old source becomes its backing store. */
static int put_on_top(struct node *disk, const struct node *plan)
{
    struct node *b = node_new(NULL, "backingStore"), *source, *below, *top;
    const struct elem_ref *ref = elem_child(disk->elem, "backingStore", NULL);

    if (b == NULL) {
        return -ENOMEM;
    }
    b->elem = ref->elem;
    b->name = ref->name;
    source = node_child(disk, "source");
    below = node_child(disk, "backingStore");
    if (node_set(b, "@type", node_attr(disk, "type")) < 0 ||
        node_set(b, "format/@type", node_get(disk, "driver/@type")) < 0) {
        node_free(b);
        return -ENOMEM;
    }
    if (node_get(source, "@index") != NULL) {
        (void)node_set(b, "@index", node_attr(source, "index"));
        (void)node_set_attr(source, "index", NULL);
    }
    node_detach(source);
    node_insert(b, source);
    if (below != NULL) {
        node_detach(below);
        node_insert(b, below);
    }
    node_insert(disk, b);
    top = node_add(disk, "source");
    return top == NULL || node_set(top, "@file", node_get(plan, "source/@file")) < 0 ||
                   node_set(disk, "@type", "file") < 0 ||
                   node_set(disk, "driver/@type", node_get(plan, "driver/@type")) < 0
               ? -ENOMEM
               : 0;
}

static int make_overlay(const struct node *disk, const struct node *plan, struct err **err)
{
    const char *file = node_get(disk, "source/@file"), *format = node_get(disk, "driver/@type");
    CLEANUP(image_info_done) struct image_info info = { 0 };
    int r = file != NULL ? image_probe(file, format, &info) : -EINVAL;
    AUTO_FREE char *size = str_format("%llu", (unsigned long long)info.virtual_bytes);
    /* -u: the running emulator holds the lock of the image below. */
    const char *const args[] = { "create", "-q",   "-u", "-f", node_get(plan, "driver/@type"),
                                 "-F",     format, "-b", file, node_get(plan, "source/@file"),
                                 size,     NULL };

    if (r < 0 || size == NULL) {
        return err_set(err, r < 0 ? -r : ENOMEM, "cannot read the header of '%s'",
                       file != NULL ? file : "");
    }

    return image_run(args, NULL, err);
}

static int create_external(struct domain *d, const struct node *def, unsigned flags,
                           struct err **err)
{
    const struct node *plans = node_child(def, "disks");
    AUTO_JSON struct json_object *actions = json_object_new_array();
    struct node *disk;
    int r = 0;

    for (const struct node *p = node_child(plans, "disk"); r == 0 && p != NULL;
         p = node_next(p, "disk")) {
        disk = node_is(p, "@snapshot", "external") ? find_disk(d->def, node_attr(p, "name")) : NULL;
        if (disk == NULL) {
            continue;
        }
        if (!(flags & CREATE_REUSE_EXT) && path_exists(node_get(p, "source/@file"))) {
            return fault(
                err, DOM_QEMU, CONFIG_UNSUPPORTED,
                "external snapshot file for disk %s already exists and is not a block device: %s",
                node_attr(p, "name"), node_get(p, "source/@file"));
        }
        if (!(flags & CREATE_REUSE_EXT)) {
            r = make_overlay(disk, p, err);
        }
        if (r == 0 && domain_active(d)) {
            unsigned n = ++run_of(d)->next_node;
            struct json_object *add = json_object_new_object(), *fmt = json_object_new_object(),
                               *act, *data;
            AUTO_FREE char *storage = str_format("libvirt-%u-storage", n),
                           *format = str_format("libvirt-%u-format", n);
            AUTO_FREE char *old = disk_node_name(disk);

            (void)json_add_str(add, "driver", "file");
            (void)json_add_str(add, "filename", node_get(p, "source/@file"));
            (void)json_add_str(add, "node-name", storage);
            (void)json_add_bool(add, "auto-read-only", true);
            (void)json_add_str(add, "discard", "unmap");
            r = monitor_run(run_of(d)->qmp, "blockdev-add", add, NULL, err);
            (void)json_add_str(fmt, "node-name", format);
            (void)json_add_bool(fmt, "read-only", false);
            (void)json_add_str(fmt, "driver", node_get(p, "driver/@type"));
            (void)json_add_str(fmt, "file", storage);
            (void)json_object_object_add(fmt, "backing", NULL);
            r = r == 0 ? monitor_run(run_of(d)->qmp, "blockdev-add", fmt, NULL, err)
                       : (json_object_put(fmt), r);
            data = json_object_new_object();
            (void)json_add_str(data, "node", old != NULL ? old : "");
            (void)json_add_str(data, "overlay", format);
            act = json_object_new_object();
            (void)json_add_str(act, "type", "blockdev-snapshot");
            (void)json_add(act, "data", data);
            json_object_array_add(actions, act);
        }
    }
    if (r == 0 && domain_active(d) && json_object_array_length(actions) > 0) {
        struct json_object *a = json_object_new_object();

        (void)json_add(a, "actions", json_object_get(actions));
        r = monitor_run(run_of(d)->qmp, "transaction", a, NULL, err);
    }
    if (r < 0) {
        for (const struct node *p = node_child(plans, "disk");
             p != NULL && !(flags & CREATE_REUSE_EXT); p = node_next(p, "disk")) {
            disk = node_is(p, "@snapshot", "external") ? find_disk(d->def, node_attr(p, "name"))
                                                       : NULL;
            if (disk != NULL) {
                (void)unlink(node_get(p, "source/@file"));
            }
        }
        return r;
    }
    {
        unsigned n = domain_active(d)
                         ? run_of(d)->next_node - (unsigned)json_object_array_length(actions)
                         : 0;

        for (const struct node *p = node_child(plans, "disk"); r == 0 && p != NULL;
             p = node_next(p, "disk")) {
            if (!node_is(p, "@snapshot", "external")) {
                continue;
            }
            disk = find_disk(d->def, node_attr(p, "name"));
            r = disk != NULL ? put_on_top(disk, p) : 0;
            if (r == 0 && disk != NULL && domain_active(d)) {
                r = node_setf(disk, "source/@index", "%u", ++n);
            }
            if (r == 0 && d->next != NULL &&
                (disk = find_disk(d->next, node_attr(p, "name"))) != NULL) {
                r = node_set(disk, "source/@file", node_get(p, "source/@file"));
                r = r == 0 ? node_set(disk, "driver/@type", node_get(p, "driver/@type")) : r;
                r = r == 0 ? node_set(disk, "@type", "file") : r;
                node_remove(disk, "backingStore");
            } else if (r == 0 && disk != NULL && !domain_active(d)) {
                node_remove(disk, "backingStore");
            }
        }
    }
    if (r == 0 && d->persistent) {
        r = domain_save_config(d, err);
    }
    process_save(d);
    return r;
}

int qemu_domain_snapshot_create_xml(struct call *call,
                                    const struct remote_domain_snapshot_create_xml_args *args,
                                    struct remote_domain_snapshot_create_xml_ret *ret,
                                    struct err **err)
{
    AUTO_USE struct use u = { 0 };
    CLEANUP(node_freep) struct node *def = NULL;
    struct snapshot *s = NULL, *have;
    bool redefine = (args->flags & CREATE_REDEFINE) != 0, external = false;
    int r = use_begin(call, &args->dom, false, &u, err);

    r = r == 0
            ? schema_parse(args->xml_desc, &schema_domainsnapshot, DOM_DOMAIN, redefine, &def, err)
            : r;
    if (r < 0) {
        return r;
    }
    if (redefine) {
        if (node_get(def, "name") == NULL || node_get(def, "state") == NULL) {
            return fault(err, DOM_DOMAIN, XML_ERROR, "missing %s from existing snapshot",
                         node_get(def, "name") == NULL ? "name" : "state");
        }
    } else {
        r = complete(u.d, def, args->flags, err);
        if (r < 0) {
            return r;
        }
    }
    have = snapshot_find(&u.d->snapshots, node_get(def, "name"));
    if (have != NULL && !redefine) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "domain snapshot %s already exists",
                     node_get(def, "name"));
    }
    if (!redefine) {
        struct snapshot probe = { .def = def };

        external = is_external(&probe);
        if (node_is(def, "memory/@snapshot", "external") && domain_active(u.d)) {
            return fault(
                err, DOM_QEMU, CONFIG_UNSUPPORTED,
                "external memory snapshots are not supported; use save and a disk-only snapshot");
        }
        r = external ? create_external(u.d, def, args->flags, err)
                     : create_internal(u.d, def, args->flags, err);
        if (r < 0) {
            return r;
        }
    }
    if (have != NULL) {
        snapshot_remove(have);
    }
    r = snapshot_add(u.d, &u.d->snapshots, TAKE_PTR(def), &s);
    if (r < 0) {
        return r;
    }
    to_wire(s, &call->arena, &ret->snap);
    if (args->flags & CREATE_NO_METADATA) {
        snapshot_remove(s);
        return 0;
    }
    if (!redefine || (args->flags & CREATE_CURRENT)) {
        struct snapshot *old = u.d->current_snapshot;

        u.d->current_snapshot = s;
        if (old != NULL && old != s) {
            r = snapshot_save(old, false, false, err);
        }
    }
    return r == 0 ? snapshot_save(s, false, u.d->current_snapshot == s, err) : r;
}

/* ---- reading ---- */

int qemu_domain_snapshot_get_xml_desc(struct call *call,
                                      const struct remote_domain_snapshot_get_xml_desc_args *args,
                                      struct remote_domain_snapshot_get_xml_desc_ret *ret,
                                      struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct snapshot *s;
    AUTO_FREE char *xml = NULL;
    int r = of_call(call, &args->snap, &d, &s, err);

    if (r < 0) {
        return r;
    }
    xml = node_to_xml(s->def);
    ret->xml = xml != NULL ? arena_strdup(&call->arena, xml) : NULL;
    return ret->xml != NULL ? 0 : -ENOMEM;
}

static bool listed(const struct domain *d, const struct snapshot *s, unsigned flags)
{
    struct list *list = (struct list *)(uintptr_t)&d->snapshots;
    bool leaf = snapshot_children(list, s->name, false) == 0, external = is_external(s);
    const char *state = node_get(s->def, "state");
    unsigned kind = state == NULL || str_eq(state, "shutoff") ? LIST_INACTIVE
                    : str_eq(state, "disk-snapshot")          ? LIST_DISK_ONLY
                                                              : LIST_ACTIVE;

    if ((flags & (LIST_LEAVES | LIST_NO_LEAVES)) &&
        !(flags & (leaf ? LIST_LEAVES : LIST_NO_LEAVES))) {
        return false;
    }
    if ((flags & (LIST_METADATA | LIST_NO_METADATA)) == LIST_NO_METADATA) {
        return false;
    }
    if ((flags & (LIST_INACTIVE | LIST_ACTIVE | LIST_DISK_ONLY)) && !(flags & kind)) {
        return false;
    }
    return !(flags & (LIST_INTERNAL | LIST_EXTERNAL)) ||
           (flags & (external ? LIST_EXTERNAL : LIST_INTERNAL));
}

/* Those below a snapshot (NULL: of the domain). */
static int collect(struct call *call, struct domain *d, const char *below, unsigned flags,
                   struct remote_domain_snapshot **ret, uint32_t *ret_n, char ***ret_names)
{
    unsigned n = 0, k = 0;

    LIST_FOREACH (&d->snapshots, it) {
        n++;
    }
    *ret = arena_array(&call->arena, n + 1, sizeof(**ret));
    *ret_names = arena_array(&call->arena, n + 1, sizeof(**ret_names));
    if (*ret == NULL || *ret_names == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH (&d->snapshots, it) {
        const struct snapshot *s = CONTAINER_OF(it, struct snapshot, link);
        bool in = below == NULL              ? !(flags & LIST_ROOTS) || s->parent == NULL
                  : flags & LIST_DESCENDANTS ? snapshot_is_below(&d->snapshots, s, below)
                                             : s->parent != NULL && str_eq(s->parent, below);

        if (in && listed(d, s, flags)) {
            to_wire(s, &call->arena, &(*ret)[k]);
            (*ret_names)[k] = (*ret)[k].name;
            k++;
        }
    }
    *ret_n = k;
    return 0;
}

int qemu_domain_list_all_snapshots(struct call *call,
                                   const struct remote_domain_list_all_snapshots_args *args,
                                   struct remote_domain_list_all_snapshots_ret *ret,
                                   struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    char **names;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? collect(call, d, NULL, args->flags, &ret->snapshots, &ret->n_snapshots, &names)
               : r;
    ret->ret = (int32_t)ret->n_snapshots;
    if (!args->need_results) {
        ret->n_snapshots = 0;
    }
    return r;
}

int qemu_domain_snapshot_list_all_children(
    struct call *call, const struct remote_domain_snapshot_list_all_children_args *args,
    struct remote_domain_snapshot_list_all_children_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct snapshot *s;
    char **names;
    int r = of_call(call, &args->snapshot, &d, &s, err);

    r = r == 0 ? collect(call, d, s->name, args->flags, &ret->snapshots, &ret->n_snapshots, &names)
               : r;
    ret->ret = (int32_t)ret->n_snapshots;
    if (!args->need_results) {
        ret->n_snapshots = 0;
    }
    return r;
}

int qemu_domain_snapshot_num(struct call *call, const struct remote_domain_snapshot_num_args *args,
                             struct remote_domain_snapshot_num_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct remote_domain_snapshot *list;
    uint32_t n = 0;
    char **names;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? collect(call, d, NULL, args->flags, &list, &n, &names) : r;
    ret->num = (int32_t)n;
    return r;
}

int qemu_domain_snapshot_num_children(struct call *call,
                                      const struct remote_domain_snapshot_num_children_args *args,
                                      struct remote_domain_snapshot_num_children_ret *ret,
                                      struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct remote_domain_snapshot *list;
    struct snapshot *s;
    uint32_t n = 0;
    char **names;
    int r = of_call(call, &args->snap, &d, &s, err);

    r = r == 0 ? collect(call, d, s->name, args->flags, &list, &n, &names) : r;
    ret->num = (int32_t)n;
    return r;
}

int qemu_domain_snapshot_list_names(struct call *call,
                                    const struct remote_domain_snapshot_list_names_args *args,
                                    struct remote_domain_snapshot_list_names_ret *ret,
                                    struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct remote_domain_snapshot *list;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? collect(call, d, NULL, args->flags, &list, &ret->n_names, &ret->names) : r;
    if (args->maxnames >= 0 && ret->n_names > (uint32_t)args->maxnames) {
        ret->n_names = (uint32_t)args->maxnames;
    }
    return r;
}

int qemu_domain_snapshot_lookup_by_name(
    struct call *call, const struct remote_domain_snapshot_lookup_by_name_args *args,
    struct remote_domain_snapshot_lookup_by_name_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct snapshot *s;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r < 0) {
        return r;
    }
    s = snapshot_find(&d->snapshots, args->name);
    if (s == NULL) {
        return no_snapshot(args->name, err);
    }
    to_wire(s, &call->arena, &ret->snap);
    return 0;
}

int qemu_domain_has_current_snapshot(struct call *call,
                                     const struct remote_domain_has_current_snapshot_args *args,
                                     struct remote_domain_has_current_snapshot_ret *ret,
                                     struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    ret->result = r == 0 && d->current_snapshot != NULL;
    return r;
}

int qemu_domain_snapshot_current(struct call *call,
                                 const struct remote_domain_snapshot_current_args *args,
                                 struct remote_domain_snapshot_current_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r == 0 && d->current_snapshot == NULL) {
        return fault(err, DOM_QEMU, NO_DOMAIN_SNAPSHOT,
                     "the domain does not have a current snapshot");
    }
    if (r == 0) {
        to_wire(d->current_snapshot, &call->arena, &ret->snap);
    }
    return r;
}

int qemu_domain_snapshot_get_parent(struct call *call,
                                    const struct remote_domain_snapshot_get_parent_args *args,
                                    struct remote_domain_snapshot_get_parent_ret *ret,
                                    struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct snapshot *s, *parent;
    int r = of_call(call, &args->snap, &d, &s, err);

    if (r < 0) {
        return r;
    }
    parent = s->parent != NULL ? snapshot_find(&d->snapshots, s->parent) : NULL;
    if (parent == NULL) {
        return fault(err, DOM_QEMU, NO_DOMAIN_SNAPSHOT, "snapshot '%s' does not have a parent",
                     s->name);
    }
    to_wire(parent, &call->arena, &ret->snap);
    return 0;
}

int qemu_domain_snapshot_is_current(struct call *call,
                                    const struct remote_domain_snapshot_is_current_args *args,
                                    struct remote_domain_snapshot_is_current_ret *ret,
                                    struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct snapshot *s;
    int r = of_call(call, &args->snap, &d, &s, err);

    ret->current = r == 0 && d->current_snapshot == s;
    return r;
}

int qemu_domain_snapshot_has_metadata(struct call *call,
                                      const struct remote_domain_snapshot_has_metadata_args *args,
                                      struct remote_domain_snapshot_has_metadata_ret *ret,
                                      struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct snapshot *s;
    int r = of_call(call, &args->snap, &d, &s, err);

    ret->metadata = r == 0;
    return r;
}

/* ---- going back, deleting ---- */

static int revert(struct domain *d, struct snapshot *s, unsigned flags, struct err **err)
{
    const char *state = node_get(s->def, "state");
    bool had_memory = state != NULL && (str_eq(state, "running") || str_eq(state, "paused"));
    bool run = had_memory ? !str_eq(state, "paused") : false;
    struct node *def = node_child(s->def, "domain"), *copy;
    int r = 0;

    if (is_external(s)) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "revert to external snapshot not supported yet");
    }
    if (flags & REVERT_RUNNING) {
        run = true;
    } else if (flags & REVERT_PAUSED) {
        run = false;
    }
    if (domain_active(d)) {
        r = process_stop(d, SHUTOFF_FROM_SNAPSHOT, STOPPED_FROM_SNAPSHOT, err);
        if (r < 0 || d->world == NULL) {
            return r < 0 ? r : fault(err, DOM_QEMU, OPERATION_INVALID, "transient domain is gone");
        }
    }
    if (def != NULL) {
        copy = node_copy(def);
        r = copy != NULL ? d->world->driver->complete(d->world, copy, err) : -ENOMEM;
        if (r < 0) {
            node_free(copy);
            return r;
        }
        node_free(d->def);
        d->def = copy;
        if (node_child(s->def, "inactiveDomain") != NULL && had_memory) {
            d->next = node_copy(node_child(s->def, "inactiveDomain"));
            if (d->next == NULL) {
                return -ENOMEM;
            }
            d->next->name = "domain";
        }
        r = d->persistent ? domain_save_config(d, err) : 0;
    }
    if (r == 0 && had_memory) {
        struct start_spec spec = { .paused = !run,
                                   .incoming_fd = -1,
                                   .loadvm = s->name,
                                   .running_reason = RUNNING_FROM_SNAPSHOT,
                                   .started_detail = STARTED_FROM_SNAPSHOT };

        r = process_start(d, &spec, err);
    } else if (r == 0) {
        r = image_snapshot(d, s->def, "-a", true, err);
        if (r == 0 && (flags & (REVERT_RUNNING | REVERT_PAUSED))) {
            struct start_spec spec = { .paused = !run,
                                       .incoming_fd = -1,
                                       .running_reason = RUNNING_FROM_SNAPSHOT,
                                       .started_detail = STARTED_FROM_SNAPSHOT };

            r = process_start(d, &spec, err);
        }
    }
    if (r == 0) {
        struct snapshot *old = d->current_snapshot;

        d->current_snapshot = s;
        if (old != NULL && old != s) {
            r = snapshot_save(old, false, false, err);
        }
        r = r == 0 ? snapshot_save(s, false, true, err) : r;
    }
    return r;
}

int qemu_domain_revert_to_snapshot(struct call *call,
                                   const struct remote_domain_revert_to_snapshot_args *args,
                                   struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct snapshot *s;
    int r = use_begin(call, &args->snap.dom, false, &u, err);

    if (r < 0) {
        return r;
    }
    s = snapshot_find(&u.d->snapshots, args->snap.name);
    return s != NULL ? revert(u.d, s, args->flags, err) : no_snapshot(args->snap.name, err);
}

static int delete_one(struct domain *d, struct snapshot *s, bool metadata_only, struct err **err)
{
    const char *parent = s->parent;
    int r = 0;

    if (!metadata_only && is_external(s)) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "deletion of %u external disk snapshots not supported yet",
                     node_count(node_child(s->def, "disks"), "disk"));
    }
    if (!metadata_only) {
        r = domain_active(d) ? hmp(d, "delvm", s->name, err)
                             : image_snapshot(d, s->def, "-d", false, err);
        if (r < 0) {
            return r;
        }
    }
    /* Its children move up. */
    LIST_FOREACH (&d->snapshots, it) {
        struct snapshot *c = CONTAINER_OF(it, struct snapshot, link);

        if (c->parent != NULL && str_eq(c->parent, s->name)) {
            free(c->parent);
            c->parent = parent != NULL ? strdup(parent) : NULL;
            r = parent != NULL ? node_set(c->def, "parent/name", parent)
                               : (node_remove(c->def, "parent"), 0);
            r = r == 0 ? snapshot_save(c, false, d->current_snapshot == c, err) : r;
        }
    }
    if (d->current_snapshot == s) {
        d->current_snapshot = parent != NULL ? snapshot_find(&d->snapshots, parent) : NULL;
        if (r == 0 && d->current_snapshot != NULL) {
            r = snapshot_save(d->current_snapshot, false, true, err);
        }
    }
    snapshot_unlink(s, false);
    {
        bool is_current = d->current_snapshot == s;

        snapshot_remove(s);
        if (is_current) {
            d->current_snapshot = NULL;
        }
    }
    return r;
}

int qemu_domain_snapshot_delete(struct call *call,
                                const struct remote_domain_snapshot_delete_args *args,
                                struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct snapshot *s;
    bool only = (args->flags & DELETE_METADATA_ONLY) != 0;
    int r = use_begin(call, &args->snap.dom, false, &u, err);

    if (r < 0) {
        return r;
    }
    s = snapshot_find(&u.d->snapshots, args->snap.name);
    if (s == NULL) {
        return no_snapshot(args->snap.name, err);
    }
    if (args->flags & (DELETE_CHILDREN | DELETE_CHILDREN_ONLY)) {
        /* Deepest first, so that nothing moves up in between. */
        for (bool more = true; r == 0 && more;) {
            more = false;
            LIST_FOREACH (&u.d->snapshots, it) {
                struct snapshot *c = CONTAINER_OF(it, struct snapshot, link);

                if (snapshot_is_below(&u.d->snapshots, c, args->snap.name) &&
                    snapshot_children(&u.d->snapshots, c->name, false) == 0) {
                    r = delete_one(u.d, c, only, err);
                    more = true;
                    break;
                }
            }
        }
    }
    return r == 0 && !(args->flags & DELETE_CHILDREN_ONLY) ? delete_one(u.d, s, only, err) : r;
}
