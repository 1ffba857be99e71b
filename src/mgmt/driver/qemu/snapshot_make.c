/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot_make.c - taking a snapshot as planned. */
#include "mgmt/driver/qemu/snapshot.h"

#include "base/log.h"
#include "mgmt/driver/qemu/agent.h"
#include "mgmt/driver/qemu/chain.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/driver/qemu/save.h"
#include "mgmt/storage/image.h"
#include "os/path.h"

#include <errno.h>

enum { SAVEVM_USEC = 600000000 };

int snapshot_monitor(struct domain *d, const char *command, const char *name, struct err **err)
{
    AUTO_FREE char *line = str_format("%s \"%s\"", command, name);
    AUTO_JSON struct json_object *v = NULL;
    struct json_object *a = json_object_new_object();
    int r;

    (void)json_add_str(a, "command-line", line != NULL ? line : "");
    r = monitor_run_fd(run_of(d)->qmp, "human-monitor-command", a, -1, SAVEVM_USEC, &v, err);
    if (r == 0 && v != NULL && *json_object_get_string(v) != '\0') {
        AUTO_FREE char *text = strdup(json_object_get_string(v));

        if (text == NULL) {
            return -ENOMEM;
        }
        text[strcspn(text, "\r\n")] = '\0';
        return fault(err, DOM_QEMU, OPERATION_FAILED, "%s", text);
    }
    return r;
}

int snapshot_images(const struct node *def, const char *option, bool must, struct err **err)
{
    for (const struct node *p = node_child(node_child(def, "disks"), "disk"); p != NULL;
         p = node_next(p, "disk")) {
        const struct node *k = snapshot_base(def, node_attr(p, "name"));
        const char *file = k != NULL ? node_get(k, "source/@file") : NULL;
        const char *const args[] = { "snapshot", option, node_get(def, "name"), file, NULL };
        int r;

        if (file == NULL || !node_is(p, "@snapshot", "internal")) {
            continue;
        }
        r = image_run(args, NULL, must ? err : NULL);
        if (r < 0 && must) {
            return r;
        }
    }
    return 0;
}

static int make_internal(struct domain *d, const struct node *def, unsigned flags, struct err **err)
{
    bool was_running = d->state == STATE_RUNNING;
    int r = 0;

    if (!domain_active(d)) {
        return snapshot_images(def, "-c", true, err);
    }
    if (was_running) {
        r = process_pause(d, PAUSED_SNAPSHOT, SUSPENDED_PAUSED, err);
    }
    r = r == 0 ? snapshot_monitor(d, "savevm", node_get(def, "name"), err) : r;
    if (r == 0 && (flags & SNAPSHOT_HALT)) {
        return process_stop(d, SHUTOFF_FROM_SNAPSHOT, STOPPED_FROM_SNAPSHOT, err);
    }
    if (was_running && domain_active(d)) {
        int back = process_cont(d, RUNNING_UNPAUSED, RESUMED_UNPAUSED, r == 0 ? err : NULL);

        r = r == 0 ? back : r;
    }
    return r;
}

/* ---- external ---- */

int snapshot_overlay(const char *base, const char *base_format, const char *file,
                     const char *format, struct err **err)
{
    CLEANUP(image_info_done) struct image_info info = { 0 };
    int r = base != NULL ? image_probe(base, base_format, &info) : -EINVAL;
    AUTO_FREE char *size = str_format("%llu", (unsigned long long)info.virtual_bytes);
    /* -u: the running emulator holds the lock of the image below. */
    const char *const args[] = { "create",    "-q", "-u", "-f", format, "-F",
                                 base_format, "-b", base, file, size,   NULL };

    if (r < 0 || size == NULL) {
        return err_set(err, r < 0 ? -r : ENOMEM, "cannot read the header of '%s'",
                       base != NULL ? base : "");
    }
    return image_run(args, NULL, err);
}

/* The planned external disks, one after the other. */
static const struct node *next_external(const struct node *def, const struct node *after)
{
    const struct node *p =
        after != NULL ? node_next(after, "disk") : node_child(node_child(def, "disks"), "disk");

    while (p != NULL && !node_is(p, "@snapshot", "external")) {
        p = node_next(p, "disk");
    }
    return p;
}

static int check_files(const struct node *def, unsigned flags, struct err **err)
{
    for (const struct node *p = next_external(def, NULL); p != NULL; p = next_external(def, p)) {
        const char *file = node_get(p, "source/@file");
        bool there = path_exists(file);

        if (there && !(flags & SNAPSHOT_REUSE_EXT)) {
            return fault(
                err, DOM_QEMU, CONFIG_UNSUPPORTED,
                "external snapshot file for disk %s already exists and is not a block device: %s",
                node_attr(p, "name"), file);
        }
        if (!there && (flags & SNAPSHOT_REUSE_EXT)) {
            return err_set(err, ENOENT, "unable to stat for disk %s: %s: %s", node_attr(p, "name"),
                           file, strerror(ENOENT));
        }
    }
    return 0;
}

static void remove_files(const struct node *def, unsigned flags)
{
    for (const struct node *p = next_external(def, NULL);
         p != NULL && !(flags & SNAPSHOT_REUSE_EXT); p = next_external(def, p)) {
        (void)unlink(node_get(p, "source/@file"));
    }
}

/* The emulator opens the new image; an action puts it on the old one. */
static int add_overlay_nodes(struct domain *d, const struct node *disk, const struct node *plan,
                             unsigned index, struct json_object *actions, struct err **err)
{
    struct json_object *add = json_object_new_object(), *fmt, *act, *data;
    AUTO_FREE char *storage = str_format("libvirt-%u-storage", index);
    AUTO_FREE char *format = str_format("libvirt-%u-format", index);
    AUTO_FREE char *old = disk_node_name(disk);
    int r;

    if (storage == NULL || format == NULL || old == NULL) {
        json_object_put(add);
        return -ENOMEM;
    }
    (void)json_add_str(add, "driver", "file");
    (void)json_add_str(add, "filename", node_get(plan, "source/@file"));
    (void)json_add_str(add, "node-name", storage);
    (void)json_add_bool(add, "auto-read-only", true);
    (void)json_add_str(add, "discard", "unmap");
    r = monitor_run(run_of(d)->qmp, "blockdev-add", add, NULL, err);
    if (r < 0) {
        return r;
    }
    fmt = json_object_new_object();
    (void)json_add_str(fmt, "node-name", format);
    (void)json_add_bool(fmt, "read-only", false);
    (void)json_add_str(fmt, "driver", node_get(plan, "driver/@type"));
    (void)json_add_str(fmt, "file", storage);
    (void)json_object_object_add(fmt, "backing", NULL);
    r = monitor_run(run_of(d)->qmp, "blockdev-add", fmt, NULL, err);
    if (r < 0) {
        return r;
    }
    data = json_object_new_object();
    (void)json_add_str(data, "node", old);
    (void)json_add_str(data, "overlay", format);
    act = json_object_new_object();
    (void)json_add_str(act, "type", "blockdev-snapshot");
    (void)json_add(act, "data", data);
    json_object_array_add(actions, act);
    return 0;
}

static int switch_live(struct domain *d, const struct node *def, unsigned *first_index,
                       struct err **err)
{
    AUTO_JSON struct json_object *actions = json_object_new_array();
    unsigned n = run_of(d)->next_node;
    struct json_object *a;
    int r = 0;

    *first_index = n + 1;
    for (const struct node *p = next_external(def, NULL); r == 0 && p != NULL;
         p = next_external(def, p)) {
        run_of(d)->next_node = ++n;
        r = add_overlay_nodes(d, find_disk(d->def, node_attr(p, "name")), p, n, actions, err);
    }
    if (r == 0 && json_object_array_length(actions) > 0) {
        a = json_object_new_object();
        (void)json_add(a, "actions", json_object_get(actions));
        r = monitor_run(run_of(d)->qmp, "transaction", a, NULL, err);
    }
    for (unsigned i = *first_index; r < 0 && i <= n && domain_active(d); i++) {
        chain_drop_nodes(run_of(d), i);
    }
    return r;
}

static int follow_definitions(struct domain *d, const struct node *def, unsigned index,
                              struct err **err)
{
    bool live = domain_active(d);
    int r = 0;

    for (const struct node *p = next_external(def, NULL); r == 0 && p != NULL;
         p = next_external(def, p)) {
        struct node *disk = find_disk(d->def, node_attr(p, "name"));
        struct node *conf = d->next != NULL ? find_disk(d->next, node_attr(p, "name")) : NULL;
        const char *file = node_get(p, "source/@file"), *format = node_get(p, "driver/@type");

        if (disk != NULL && live) {
            r = chain_push(disk, file, format);
            r = r == 0 ? node_setf(disk, "source/@index", "%u", index++) : r;
        } else if (disk != NULL) {
            r = chain_set_file(disk, file, format);
        }
        r = r == 0 && conf != NULL ? chain_set_file(conf, file, format) : r;
    }
    if (r == 0 && d->persistent) {
        r = domain_save_config(d, err);
    }
    if (live) {
        process_save(d);
    }
    return r;
}

static int make_disks(struct domain *d, const struct node *def, unsigned flags, struct err **err)
{
    unsigned index = 0;
    int r = 0;

    for (const struct node *p = next_external(def, NULL);
         r == 0 && p != NULL && !(flags & SNAPSHOT_REUSE_EXT); p = next_external(def, p)) {
        const struct node *disk = find_disk(d->def, node_attr(p, "name"));

        r = disk != NULL
                ? snapshot_overlay(node_get(disk, "source/@file"), chain_format(disk),
                                   node_get(p, "source/@file"), node_get(p, "driver/@type"), err)
                : 0;
    }
    if (r == 0 && domain_active(d)) {
        r = switch_live(d, def, &index, err);
    }
    if (r < 0) {
        remove_files(def, flags);
        return r;
    }
    return follow_definitions(d, def, index, err);
}

static int make_memory(struct domain *d, const struct node *def, bool running, struct err **err)
{
    AUTO_FREE char *xml = domain_xml(d, XML_SECURE, err);

    return xml != NULL
               ? save_memory(d, node_get(def, "memory/@file"), xml, running, "snapshot", err)
               : -ENOMEM;
}

static int make_external(struct domain *d, const struct node *def, unsigned flags, struct err **err)
{
    bool was_running = d->state == STATE_RUNNING, memory = snapshot_memory_external(def);
    bool frozen = false;
    int r = check_files(def, flags, err);

    if (r == 0 && domain_active(d) && (flags & SNAPSHOT_QUIESCE)) {
        r = agent_freeze(d, NULL, 0, NULL, err);
        frozen = r == 0;
    }
    if (r == 0 && was_running &&
        ((memory && !(flags & SNAPSHOT_LIVE)) || (flags & SNAPSHOT_HALT))) {
        r = process_pause(d, PAUSED_SNAPSHOT, SUSPENDED_PAUSED, err);
    }
    if (r == 0 && memory) {
        r = make_memory(d, def, was_running, err);
    }
    r = r == 0 ? make_disks(d, def, flags, err) : r;
    if (r < 0 && memory) {
        (void)unlink(node_get(def, "memory/@file"));
    }
    if (frozen && domain_active(d)) {
        int thawed = agent_thaw(d, NULL, r == 0 ? err : NULL);

        r = r == 0 && thawed < 0 ? thawed : r;
    }
    if (r == 0 && (flags & SNAPSHOT_HALT) && domain_active(d)) {
        return process_stop(d, SHUTOFF_FROM_SNAPSHOT, STOPPED_FROM_SNAPSHOT, err);
    }
    if (was_running && domain_active(d) && (memory || d->state == STATE_PAUSED)) {
        int back = process_cont(d, RUNNING_UNPAUSED, RESUMED_UNPAUSED, r == 0 ? err : NULL);

        r = r == 0 ? back : r;
    }
    return r;
}

int snapshot_make(struct domain *d, const struct node *def, unsigned flags, struct err **err)
{
    return snapshot_is_external(def) ? make_external(d, def, flags, err)
                                     : make_internal(d, def, flags, err);
}
