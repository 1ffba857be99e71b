/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot_revert.c - going back to a snapshot. */
#include "mgmt/driver/qemu/snapshot.h"

#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/chain.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/driver/qemu/save.h"
#include "mgmt/model/schema.h"
#include "os/path.h"

#include <errno.h>

enum { NAMES_MAX = 10000 };

/* What the emulator had opened is found anew. */
static void forget_chains(struct node *def)
{
    for (struct node *k = node_child(domain_devices(def), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        if (node_get(k, "source/@index") != NULL) {
            (void)node_set(k, "source/@index", NULL);
            node_remove(k, "backingStore");
        }
        node_remove(k, "mirror");
    }
}

/* "DIR/disk.SNAPSHOT-1": the next free one beside the base. */
static char *free_name(const char *base, const char *snapshot)
{
    const char *slash = strrchr(base, '/'), *dot = slash != NULL ? strrchr(slash, '.') : NULL;
    int len = (int)(dot != NULL ? (size_t)(dot - base) : strlen(base));

    for (unsigned i = 1; i < NAMES_MAX; i++) {
        char *name = str_format("%.*s.%s-%u", len, base, snapshot, i);

        if (name == NULL || !path_exists(name)) {
            return name;
        }
        free(name);
    }
    return NULL;
}

static void unlink_overlays(const struct node *disks)
{
    for (const struct node *p = node_child(disks, "disk"); p != NULL; p = node_next(p, "disk")) {
        if (node_is(p, "@snapshot", "external") && node_get(p, "source/@file") != NULL) {
            (void)unlink(node_get(p, "source/@file"));
        }
    }
}

/* Overlays for the external disks of s, listed in *ret as a <disks> element. */
static int make_overlays(struct snapshot *s, struct node **ret, struct err **err)
{
    struct node *disks = node_copy(node_child(s->def, "disks"));
    int r = disks != NULL ? 0 : -ENOMEM;

    for (struct node *p = disks != NULL ? node_child(disks, "disk") : NULL; r == 0 && p != NULL;
         p = node_next(p, "disk")) {
        const struct node *base;
        const char *file;
        AUTO_FREE char *name = NULL;

        if (!node_is(p, "@snapshot", "external")) {
            continue;
        }
        base = snapshot_base(s->def, node_attr(p, "name"));
        file = base != NULL ? node_get(base, "source/@file") : NULL;
        (void)node_set(p, "source/@file", NULL);
        if (file == NULL) {
            r = fault(err, DOM_QEMU, INTERNAL_ERROR,
                      "snapshot '%s' does not know the image of disk '%s'", s->name,
                      node_attr(p, "name"));
            break;
        }
        name = free_name(file, s->name);
        r = name != NULL
                ? snapshot_overlay(file, chain_format(base), name, node_get(p, "driver/@type"), err)
                : -ENOMEM;
        r = r == 0 ? node_set(p, "source/@file", name) : r;
    }
    if (r < 0) {
        unlink_overlays(disks);
        node_free(disks);
        return r;
    }
    *ret = disks;
    return 0;
}

static int use_overlays(struct node *def, const struct node *disks)
{
    int r = 0;

    for (const struct node *p = node_child(disks, "disk"); r == 0 && p != NULL;
         p = node_next(p, "disk")) {
        struct node *k =
            node_is(p, "@snapshot", "external") ? find_disk(def, node_attr(p, "name")) : NULL;

        if (k != NULL) {
            r = chain_set_file(k, node_get(p, "source/@file"), node_get(p, "driver/@type"));
        }
    }
    return r;
}

/* The overlays that were in use until now and that nothing needs any more go away; the new ones
 * are written down. */
static int keep_overlays(struct domain *d, struct snapshot *s, struct node *disks)
{
    struct snapshot *before = d->current_snapshot;
    struct node *old = before != NULL ? node_child(before->def, "revertDisks") : NULL;
    bool again = old != NULL;

    if (again) {
        unlink_overlays(old);
        node_remove(before->def, "revertDisks");
    }
    if (disks == NULL) {
        return again && before != s ? snapshot_save(before, false, false, NULL) : 0;
    }
    if (snapshot_children(&d->snapshots, s->name, false) == 0) {
        unlink_overlays(node_child(s->def, "disks"));
        node_remove(s->def, "disks");
    } else {
        const struct elem_ref *ref = elem_child(s->def->elem, "revertDisks", NULL);

        disks->name = ref->name;
        disks->elem = ref->elem;
    }
    node_insert(s->def, disks);
    return again && before != s ? snapshot_save(before, false, false, NULL) : 0;
}

/* Writing into images that frozen states stand on would destroy those. */
static int check_frozen(struct domain *d, const struct snapshot *s, struct err **err)
{
    for (const struct node *p = node_child(node_child(s->def, "disks"), "disk"); p != NULL;
         p = node_next(p, "disk")) {
        const struct node *mine = node_is(p, "@snapshot", "internal")
                                      ? snapshot_base(s->def, node_attr(p, "name"))
                                      : NULL;
        const char *file = mine != NULL ? node_get(mine, "source/@file") : NULL;

        LIST_FOREACH (&d->snapshots, it) {
            struct snapshot *o = CONTAINER_OF(it, struct snapshot, link);
            const struct node *base =
                snapshot_is_external(o->def) ? snapshot_base(o->def, node_attr(p, "name")) : NULL;

            if (file != NULL && base != NULL && node_is(base, "source/@file", file)) {
                return fault(err, DOM_QEMU, SNAPSHOT_REVERT_RISKY,
                             "external snapshot '%s' stands on '%s'", o->name, file);
            }
        }
    }
    return 0;
}

/* Ends the run; a transient domain stays in the world meanwhile. */
static int stop(struct domain *d, struct err **err)
{
    bool persistent = d->persistent;
    int r;

    if (!domain_active(d)) {
        return 0;
    }
    d->persistent = true;
    r = process_stop(d, SHUTOFF_FROM_SNAPSHOT, STOPPED_FROM_SNAPSHOT, err);
    d->persistent = persistent;
    return r;
}

static int take_definitions(struct domain *d, const struct snapshot *s, const struct node *disks,
                            bool run, struct err **err)
{
    const struct node *inactive = node_child(s->def, "inactiveDomain");
    struct node *now = node_copy(node_child(s->def, "domain")), *next = NULL;
    int r = now != NULL ? 0 : -ENOMEM;

    if (r == 0 && inactive != NULL) {
        next = node_copy(inactive);
        r = next != NULL ? 0 : -ENOMEM;
        if (next != NULL) {
            next->name = now->name;
        }
    }
    for (int i = 0; r == 0 && i < 2; i++) {
        struct node *def = i == 0 ? now : next;

        if (def != NULL) {
            forget_chains(def);
            r = disks != NULL ? use_overlays(def, disks) : 0;
            r = r == 0 ? d->world->driver->complete(d->world, def, err) : r;
        }
    }
    if (r < 0) {
        node_free(now);
        node_free(next);
        return r;
    }
    node_free(d->def);
    node_free(d->next);
    d->next = NULL;
    if (next != NULL && run && d->persistent) {
        d->def = now;
        d->next = next;
    } else if (next != NULL && !run) {
        d->def = next;
        node_free(now);
    } else {
        d->def = now;
        node_free(next);
    }
    return d->persistent ? domain_save_config(d, err) : 0;
}

static int start(struct domain *d, const struct snapshot *s, bool memory, bool run,
                 struct err **err)
{
    struct start_spec spec = { .paused = !run,
                               .incoming_fd = -1,
                               .running_reason = RUNNING_FROM_SNAPSHOT,
                               .started_detail = STARTED_FROM_SNAPSHOT };
    AUTO_FD int fd = -1;

    if (memory && snapshot_memory_external(s->def)) {
        CLEANUP(node_freep) struct node *saved = NULL;
        bool running;
        int r = save_read(node_get(s->def, "memory/@file"), &saved, &running, &fd, err);

        if (r < 0) {
            return r;
        }
        spec.incoming_fd = fd;
    } else if (memory) {
        spec.loadvm = s->name;
    }
    return process_start(d, &spec, err);
}

static int check(struct domain *d, const struct snapshot *s, bool run, unsigned flags,
                 struct err **err)
{
    const char *file = node_get(s->def, "memory/@file");

    if (node_child(s->def, "domain") == NULL) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "snapshot '%s' lacks domain '%s' rollback info", s->name, d->name);
    }
    if (!d->persistent && !run && !(flags & REVERT_PAUSED)) {
        return fault(
            err, DOM_QEMU, OPERATION_INVALID,
            "transient domain needs to request run or pause to revert to inactive snapshot");
    }
    if (snapshot_memory_external(s->def) && !path_exists(file)) {
        return err_set(err, ENOENT, "the memory of snapshot '%s' is not at '%s'", s->name, file);
    }
    return flags & REVERT_FORCE ? 0 : check_frozen(d, s, err);
}

int snapshot_revert(struct domain *d, struct snapshot *s, unsigned flags, struct err **err)
{
    const char *state = node_get(s->def, "state");
    bool memory = state != NULL && (str_eq(state, "running") || str_eq(state, "paused"));
    bool run = memory && !str_eq(state, "paused");
    bool external = snapshot_is_external(s->def);
    struct node *disks = NULL;
    int r;

    if (flags & (REVERT_RUNNING | REVERT_PAUSED)) {
        run = (flags & REVERT_RUNNING) != 0;
    }
    r = check(d, s, run || memory, flags, err);
    r = r == 0 && external ? make_overlays(s, &disks, err) : r;
    if (r < 0) {
        return r;
    }
    r = stop(d, err);
    if (r == 0 && !memory && !external) {
        r = snapshot_images(s->def, "-a", true, err);
    }
    r = r == 0 ? take_definitions(d, s, disks, memory || (flags & (REVERT_RUNNING | REVERT_PAUSED)),
                                  err)
               : r;
    if (r < 0) {
        unlink_overlays(disks);
        node_free(disks);
        return r;
    }
    r = keep_overlays(d, s, disks);
    r = r == 0 ? snapshot_set_current(d, s, err) : r;
    if (r == 0 && (memory || (flags & (REVERT_RUNNING | REVERT_PAUSED)))) {
        bool persistent = d->persistent;

        r = start(d, s, memory, run, err);
        if (r < 0 && !persistent && d->world != NULL && !domain_active(d)) {
            domain_remove(d);
        }
    }
    return r;
}
