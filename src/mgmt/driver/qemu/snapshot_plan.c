/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot_plan.c - from what the user asks for to what will be done with memory and each disk. */
#include "mgmt/driver/qemu/snapshot.h"

#include "mgmt/driver/qemu/find.h"
#include "mgmt/model/schema.h"

#include <errno.h>
#include <time.h>

bool snapshot_memory_external(const struct node *def)
{
    return node_is(def, "memory/@snapshot", "external");
}

bool snapshot_is_external(const struct node *def)
{
    if (snapshot_memory_external(def)) {
        return true;
    }
    for (const struct node *k = node_child(node_child(def, "disks"), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        if (node_is(k, "@snapshot", "external")) {
            return true;
        }
    }
    return false;
}

const struct node *snapshot_base(const struct node *def, const char *target)
{
    const struct node *dom = node_child(def, "domain");

    return dom != NULL && target != NULL ? find_disk(dom, target) : NULL;
}

static const char *state_name(const struct domain *d, bool disk_only)
{
    return !domain_active(d)               ? "shutoff"
           : disk_only                     ? "disk-snapshot"
           : d->state == STATE_RUNNING     ? "running"
           : d->state == STATE_PAUSED      ? "paused"
           : d->state == STATE_CRASHED     ? "crashed"
           : d->state == STATE_SHUTDOWN    ? "shutdown"
           : d->state == STATE_PMSUSPENDED ? "pmsuspended"
                                           : "shutoff";
}

/* "DIR/disk.qcow2" and "s1": "DIR/disk.s1". */
static int name_overlay(struct node *k, const char *file, const char *name, struct err **err)
{
    const char *slash = file != NULL ? strrchr(file, '/') : NULL, *dot;
    size_t len;

    if (slash == NULL) {
        return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED,
                     "cannot generate external snapshot name for disk '%s' without source",
                     node_attr(k, "name"));
    }
    dot = strrchr(slash, '.');
    len = dot != NULL ? (size_t)(dot - file) : strlen(file);
    return node_setf(k, "source/@file", "%.*s.%s", (int)len, file, name);
}

static int check_listed(const struct domain *d, struct node *disks, bool must_match,
                        struct err **err)
{
    for (struct node *k = node_child(disks, "disk"); k != NULL; k = node_next(k, "disk")) {
        const char *name = node_attr(k, "name"), *mode = node_attr(k, "snapshot");
        const struct node *disk = name != NULL ? find_disk(d->def, name) : NULL;

        if (name == NULL) {
            return fault(err, DOM_DOMAIN, XML_ERROR, "missing name from disk snapshot element");
        }
        if (disk == NULL) {
            return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED, "no disk named '%s'", name);
        }
        if (node_set(k, "@name", node_get(disk, "target/@dev")) < 0) {
            return -ENOMEM;
        }
        for (const struct node *o = node_child(disks, "disk"); o != k; o = node_next(o, "disk")) {
            if (node_is(o, "@name", node_attr(k, "name"))) {
                return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED, "disk '%s' specified twice",
                             node_attr(k, "name"));
            }
        }
        if (must_match && mode != NULL && !str_eq(mode, "internal") && !str_eq(mode, "no") &&
            !str_eq(mode, "default")) {
            return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED,
                         "disk '%s' must use snapshot mode 'internal'", node_attr(k, "name"));
        }
    }
    return 0;
}

/* The rest of a disk's line: mode, and for an external one the new file. */
static int plan_disk(const struct node *disk, struct node *disks, const char *name, bool external,
                     struct err **err)
{
    const char *target = node_get(disk, "target/@dev"), *own = node_attr(disk, "snapshot"), *mode;
    struct node *k = NULL;

    for (struct node *o = node_child(disks, "disk"); o != NULL; o = node_next(o, "disk")) {
        if (node_is(o, "@name", target)) {
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
    if (mode == NULL || str_eq(mode, "default")) {
        mode = own != NULL ? own
               : node_is(disk, "@device", "cdrom") || node_child(disk, "source") == NULL ||
                       node_child(disk, "readonly") != NULL
                   ? "no"
               : external || node_get(k, "source/@file") != NULL ? "external"
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
    if (!node_is(k, "@type", "file")) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "external snapshot of disk '%s' must be a file, not '%s'", target,
                     node_attr(k, "type"));
    }
    if (node_get(k, "driver/@type") == NULL && node_set(k, "driver/@type", "qcow2") < 0) {
        return -ENOMEM;
    }
    if (!node_is(k, "driver/@type", "qcow2") && !node_is(k, "driver/@type", "qed")) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "external snapshot format for disk %s is unsupported: %s", target,
                     node_get(k, "driver/@type"));
    }
    return node_get(k, "source/@file") == NULL
               ? name_overlay(k, node_get(disk, "source/@file"), name, err)
               : 0;
}

static int check_modes(const struct domain *d, const struct node *def, unsigned flags,
                       struct err **err)
{
    bool memory = snapshot_memory_external(def);
    unsigned internal = 0, external = 0;

    for (const struct node *k = node_child(node_child(def, "disks"), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        internal += node_is(k, "@snapshot", "internal");
        external += node_is(k, "@snapshot", "external");
        if (node_is(k, "@snapshot", "internal") && domain_active(d) &&
            (flags & SNAPSHOT_DISK_ONLY)) {
            return fault(
                err, DOM_QEMU, CONFIG_UNSUPPORTED,
                "active qemu domains require external disk snapshots; disk %s requested internal",
                node_attr(k, "name"));
        }
    }
    if (internal > 0 && (external > 0 || memory)) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "mixing internal and external targets for a snapshot is not yet supported");
    }
    if (external == 0 && !memory && (flags & SNAPSHOT_DISK_ONLY) && internal == 0) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED, "nothing selected for snapshot");
    }
    return 0;
}

/* The definition of now, and what the next start would have used. */
static int keep_definitions(const struct domain *d, struct node *def)
{
    struct node *copy = node_copy(d->def);

    node_remove(def, "domain");
    node_remove(def, "inactiveDomain");
    if (copy == NULL) {
        return -ENOMEM;
    }
    (void)node_set(copy, "@id", NULL);
    node_insert(def, copy);
    if (d->next != NULL) {
        const struct elem_ref *ref = elem_child(def->elem, "inactiveDomain", NULL);

        copy = node_copy(d->next);
        if (copy == NULL) {
            return -ENOMEM;
        }
        copy->name = ref->name;
        node_insert(def, copy);
    }
    return 0;
}

static int plan_memory(const struct domain *d, struct node *def, bool disk_only, struct err **err)
{
    const char *mode = node_get(def, "memory/@snapshot"), *file = node_get(def, "memory/@file");

    if (mode == NULL && file != NULL) {
        mode = "external";
    }
    if (mode == NULL) {
        mode = disk_only || !domain_active(d) ? "no" : "internal";
    }
    if (str_eq(mode, "external")) {
        if (file == NULL) {
            return fault(err, DOM_DOMAIN, XML_ERROR,
                         "external memory snapshots require a filename");
        }
        if (*file != '/') {
            return fault(err, DOM_DOMAIN, XML_ERROR,
                         "memory snapshot file path (%s) must be absolute", file);
        }
    } else if (file != NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "memory filename '%s' requires external snapshot",
                     file);
    }
    if (!str_eq(mode, "no") && (disk_only || !domain_active(d))) {
        return fault(err, DOM_DOMAIN, XML_ERROR,
                     "memory state cannot be saved with offline or disk-only snapshot");
    }
    return node_set(def, "memory/@snapshot", mode);
}

int snapshot_plan(struct domain *d, struct node *def, unsigned flags, struct err **err)
{
    bool disk_only = (flags & SNAPSHOT_DISK_ONLY) != 0, external;
    struct node *disks;
    int r;

    if (node_get(def, "name") == NULL || *node_get(def, "name") == '\0') {
        r = node_setf(def, "name", "%lld", (long long)time(NULL));
        if (r < 0) {
            return r;
        }
    }
    if (strchr(node_get(def, "name"), '/') != NULL || *node_get(def, "name") == '.') {
        return fault(err, DOM_DOMAIN, XML_ERROR,
                     *node_get(def, "name") == '.' ? "name %s cannot start with '.'"
                                                   : "name %s cannot contain '/'",
                     node_get(def, "name"));
    }
    if (node_set(def, "state", state_name(d, disk_only)) < 0 ||
        node_setf(def, "creationTime", "%lld", (long long)time(NULL)) < 0) {
        return -ENOMEM;
    }
    disks = node_need(def, "disks");
    if (disks == NULL) {
        return -ENOMEM;
    }
    r = plan_memory(d, def, disk_only, err);
    external = disk_only || snapshot_memory_external(def);
    r = r == 0 ? check_listed(d, disks, !external && domain_active(d), err) : r;
    for (const struct node *k = node_child(domain_devices(d->def), "disk"); r == 0 && k != NULL;
         k = node_next(k, "disk")) {
        r = plan_disk(k, disks, node_get(def, "name"), external, err);
    }
    disks_in_order(disks, d->def);
    r = r == 0 ? check_modes(d, def, flags, err) : r;
    r = r == 0 ? keep_definitions(d, def) : r;
    if (r == 0 && d->current_snapshot != NULL) {
        r = node_set(def, "parent/name", d->current_snapshot->name);
    }
    return r;
}
