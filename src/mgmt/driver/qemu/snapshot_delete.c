/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot_delete.c - deleting a snapshot: the overlay of an external one is merged into its base.
 */
#include "mgmt/driver/qemu/snapshot.h"

#include "mgmt/driver/qemu/blockjob.h"
#include "mgmt/driver/qemu/chain.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/storage/image.h"
#include "os/path.h"

#include <errno.h>

int snapshot_set_current(struct domain *d, struct snapshot *s, struct err **err)
{
    struct snapshot *old = d->current_snapshot;
    int r = 0;

    d->current_snapshot = s;
    if (old != NULL && old != s) {
        r = snapshot_save(old, false, false, err);
    }
    return r == 0 && s != NULL ? snapshot_save(s, false, true, err) : r;
}

static bool rename_file(struct node *dom, const char *file, const char *into, const char *format)
{
    bool changed = false;

    for (struct node *k = node_child(domain_devices(dom), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        if (node_is(k, "source/@file", file) && chain_set_file(k, into, format) == 0) {
            changed = true;
        }
    }
    return changed;
}

int snapshot_file_merged(struct domain *d, const char *file, const char *into, const char *format,
                         struct err **err)
{
    int r = 0;

    LIST_FOREACH (&d->snapshots, it) {
        struct snapshot *s = CONTAINER_OF(it, struct snapshot, link);
        struct node *now = node_child(s->def, "domain"),
                    *next = node_child(s->def, "inactiveDomain");
        bool changed = now != NULL && rename_file(now, file, into, format);

        changed |= next != NULL && rename_file(next, file, into, format);
        if (changed && r == 0) {
            r = snapshot_save(s, false, d->current_snapshot == s, err);
        }
    }
    return r;
}

/* The domain's own disk uses the file, now or at its next start. */
static bool in_chain(struct domain *d, const char *target, const char *file)
{
    struct node *disk = find_disk(d->def, target);
    AUTO_FREE char *at = NULL;

    if (disk == NULL) {
        return false;
    }
    if (domain_active(d)) {
        return chain_find(disk, file) != NULL;
    }
    at = node_get(disk, "source/@file") != NULL ? strdup(node_get(disk, "source/@file")) : NULL;
    for (int depth = 0; at != NULL && depth < 200; depth++) {
        CLEANUP(image_info_done) struct image_info info = { 0 };

        if (str_eq(at, file)) {
            return true;
        }
        if (image_probe(at, NULL, &info) < 0 || info.backing == NULL) {
            return false;
        }
        free(at);
        at = strdup(info.backing);
    }
    return false;
}

/* Another snapshot's state stands on the file. */
static bool is_base(struct domain *d, const struct snapshot *except, const char *target,
                    const char *file)
{
    LIST_FOREACH (&d->snapshots, it) {
        struct snapshot *s = CONTAINER_OF(it, struct snapshot, link);
        const struct node *base = s != except ? snapshot_base(s->def, target) : NULL;

        if (base != NULL && node_is(base, "source/@file", file)) {
            return true;
        }
    }
    return false;
}

/* What of the disk's overlays is still needed (*ret, borrowed; NULL: none). */
static int overlay_of(struct domain *d, struct snapshot *s, const char *target, const char **ret,
                      bool remove, struct err **err)
{
    static const char *const lists[] = { "disks", "revertDisks" };

    *ret = NULL;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (const struct node *p = node_child(node_child(s->def, lists[i]), "disk"); p != NULL;
             p = node_next(p, "disk")) {
            const char *file = node_is(p, "@name", target) && node_is(p, "@snapshot", "external")
                                   ? node_get(p, "source/@file")
                                   : NULL;

            if (file == NULL) {
                continue;
            }
            if (!in_chain(d, target, file) && !is_base(d, s, target, file)) {
                if (remove) {
                    (void)unlink(file);
                }
            } else if (*ret != NULL) {
                return fault(
                    err, DOM_QEMU, OPERATION_UNSUPPORTED,
                    "snapshot '%s' is where branches part: '%s' and '%s' both stand on it; delete one of the branches first",
                    s->name, *ret, file);
            } else {
                *ret = file;
            }
        }
    }
    return 0;
}

/* Images that stand on the file, of whatever snapshot, are told of its heir. */
static int rebase_tops(struct domain *d, const char *target, const char *file, const char *into,
                       const char *format, struct err **err)
{
    static const char *const lists[] = { "disks", "revertDisks" };
    int r = 0;

    LIST_FOREACH (&d->snapshots, it) {
        struct snapshot *s = CONTAINER_OF(it, struct snapshot, link);
        const struct node *base = snapshot_base(s->def, target);

        for (size_t i = 0; i < 2 && r == 0 && base != NULL && node_is(base, "source/@file", file);
             i++) {
            for (const struct node *p = node_child(node_child(s->def, lists[i]), "disk");
                 r == 0 && p != NULL; p = node_next(p, "disk")) {
                const char *top = node_is(p, "@name", target) ? node_get(p, "source/@file") : NULL;
                const char *const args[] = { "rebase", "-u", "-f", node_get(p, "driver/@type"),
                                             "-b",     into, "-F", format,
                                             top,      NULL };

                if (top != NULL && node_is(p, "@snapshot", "external") && path_exists(top) &&
                    !(domain_active(d) && in_chain(d, target, top))) {
                    r = image_run(args, NULL, err);
                }
            }
        }
    }
    return r;
}

static int merge_live(struct domain *d, struct node *disk, struct node *top, struct err **err)
{
    AUTO_FREE char *target = strdup(node_get(disk, "target/@dev"));
    struct node *base = chain_below(top);
    int r;

    if (base == NULL || target == NULL) {
        return fault(err, DOM_QEMU, OPERATION_INVALID,
                     "disk '%s' has no image below its snapshot's overlay",
                     node_get(disk, "target/@dev"));
    }
    r = blockjob_commit(d, disk, top, base, 0, true, NULL, err);
    return r == 0 ? blockjob_wait(d, target, err) : r;
}

static int merge_offline(struct domain *d, const char *target, const char *file, const char *format,
                         const char *base, const char *base_format, struct err **err)
{
    const char *const args[] = { "commit", "-q", "-f", format, file, NULL };
    int r = image_run(args, NULL, err);

    r = r == 0 ? rebase_tops(d, target, file, base, base_format, err) : r;
    for (int i = 0; r == 0 && i < 2; i++) {
        struct node *def = i == 0 ? d->def : d->next;
        struct node *disk = def != NULL ? find_disk(def, target) : NULL;

        if (disk != NULL && node_is(disk, "source/@file", file)) {
            r = chain_set_file(disk, base, base_format);
        }
    }
    return r == 0 && d->persistent ? domain_save_config(d, err) : r;
}

static int merge(struct domain *d, struct snapshot *s, const struct node *plan, struct err **err)
{
    AUTO_FREE char *target = strdup(node_attr(plan, "name"));
    const struct node *base = snapshot_base(s->def, target);
    AUTO_FREE char *into = base != NULL && node_get(base, "source/@file")
                               ? strdup(node_get(base, "source/@file"))
                               : NULL;
    AUTO_FREE char *base_format = base != NULL ? strdup(chain_format(base)) : NULL;
    CLEANUP(image_info_done) struct image_info info = { 0 };
    AUTO_FREE char *file = NULL;
    const char *found;
    struct node *disk, *top;
    int r = overlay_of(d, s, target, &found, true, err);

    if (r < 0 || found == NULL) {
        return r;
    }
    file = strdup(found);
    if (file == NULL || into == NULL || base_format == NULL) {
        return fault(err, DOM_QEMU, INTERNAL_ERROR,
                     "snapshot '%s' does not know the image of disk '%s'", s->name,
                     node_attr(plan, "name"));
    }
    if (image_probe(file, NULL, &info) < 0 || info.backing == NULL || !str_eq(info.backing, into)) {
        return fault(err, DOM_QEMU, OPERATION_FAILED,
                     "image '%s' does not stand on '%s' as snapshot '%s' says", file, into,
                     s->name);
    }
    disk = find_disk(d->def, target);
    top = domain_active(d) && disk != NULL ? chain_find(disk, file) : NULL;
    if (top != NULL) {
        r = merge_live(d, disk, top, err);
        r = r == 0 ? rebase_tops(d, target, file, into, base_format, err) : r;
    } else {
        r = merge_offline(d, target, file, node_get(plan, "driver/@type"), into, base_format, err);
    }
    r = r == 0 ? snapshot_file_merged(d, file, into, base_format, err) : r;
    if (r == 0) {
        (void)unlink(file);
    }
    return r;
}

static int delete_external(struct domain *d, struct snapshot *s, struct err **err)
{
    const char *memory = snapshot_memory_external(s->def) ? node_get(s->def, "memory/@file") : NULL,
               *keep;
    int r = 0;

    /* All disks are looked at before the first is touched. */
    for (const struct node *p = node_child(node_child(s->def, "disks"), "disk");
         r == 0 && p != NULL; p = node_next(p, "disk")) {
        if (node_is(p, "@snapshot", "external")) {
            r = overlay_of(d, s, node_attr(p, "name"), &keep, false, err);
        }
    }
    for (const struct node *p = node_child(node_child(s->def, "disks"), "disk");
         r == 0 && p != NULL; p = node_next(p, "disk")) {
        if (node_is(p, "@snapshot", "external")) {
            r = merge(d, s, p, err);
        }
    }
    if (r == 0 && memory != NULL) {
        (void)unlink(memory);
    }
    return r;
}

static int delete_internal(struct domain *d, struct snapshot *s, struct err **err)
{
    if (!domain_active(d)) {
        return snapshot_images(s->def, "-d", false, err);
    }
    for (const struct node *p = node_child(node_child(s->def, "disks"), "disk"); p != NULL;
         p = node_next(p, "disk")) {
        const struct node *base = node_is(p, "@snapshot", "internal")
                                      ? snapshot_base(s->def, node_attr(p, "name"))
                                      : NULL;
        const struct node *disk = base != NULL ? find_disk(d->def, node_attr(p, "name")) : NULL;

        if (disk != NULL && node_get(base, "source/@file") != NULL &&
            !node_is(disk, "source/@file", node_get(base, "source/@file"))) {
            return fault(
                err, DOM_QEMU, OPERATION_UNSUPPORTED,
                "disk image '%s' for internal snapshot '%s' is not the same as disk image currently used by VM",
                node_attr(p, "name"), s->name);
        }
    }
    return snapshot_monitor(d, "delvm", s->name, err);
}

/* Its children get its parent. */
static int move_children_up(struct domain *d, const struct snapshot *s, struct err **err)
{
    int r = 0;

    LIST_FOREACH (&d->snapshots, it) {
        struct snapshot *c = CONTAINER_OF(it, struct snapshot, link);

        if (r < 0 || c->parent == NULL || !str_eq(c->parent, s->name)) {
            continue;
        }
        r = snapshot_set_parent(c, s->parent);
        r = r == 0 ? snapshot_save(c, false, d->current_snapshot == c, err) : r;
    }
    return r;
}

int snapshot_delete(struct domain *d, struct snapshot *s, bool metadata_only, struct err **err)
{
    int r = 0;

    if (!metadata_only) {
        r = snapshot_is_external(s->def) ? delete_external(d, s, err) : delete_internal(d, s, err);
    }
    r = r == 0 ? move_children_up(d, s, err) : r;
    if (r < 0) {
        return r;
    }
    if (d->current_snapshot == s) {
        d->current_snapshot = NULL;
        r = snapshot_set_current(
            d, s->parent != NULL ? snapshot_find(&d->snapshots, s->parent) : NULL, err);
    }
    snapshot_unlink(s, false);
    snapshot_remove(s);
    return r;
}
