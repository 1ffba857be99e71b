/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/object/snapshot.h"

#include "base/arena.h"
#include "base/log.h"
#include "mgmt/driver/driver.h"
#include "mgmt/object/files.h"
#include "os/path.h"
#include "rpc/fault.h"

#include <errno.h>

struct snapshot *snapshot_find(struct list *list, const char *name)
{
    LIST_FOREACH (list, it) {
        struct snapshot *s = CONTAINER_OF(it, struct snapshot, link);

        if (str_eq(s->name, name)) {
            return s;
        }
    }
    return NULL;
}

int snapshot_add(struct domain *d, struct list *list, struct node *def, struct snapshot **ret)
{
    struct snapshot *s = calloc(1, sizeof(*s));
    const char *parent = node_get(def, "parent/name");

    if (s == NULL) {
        node_free(def);
        return -ENOMEM;
    }
    list_init(&s->link);
    s->domain = d;
    s->def = def;
    s->name = strdup(node_get(def, "name"));
    s->parent = parent != NULL ? strdup(parent) : NULL;
    if (s->name == NULL || (parent != NULL && s->parent == NULL)) {
        snapshot_remove(s);
        return -ENOMEM;
    }
    list_append(list, &s->link);
    *ret = s;
    return 0;
}

void snapshot_remove(struct snapshot *s)
{
    list_remove(&s->link);
    if (s->domain != NULL && s->domain->current_snapshot == s) {
        s->domain->current_snapshot = NULL;
    }
    node_free(s->def);
    free(s->name);
    free(s->parent);
    free(s);
}

int snapshot_set_parent(struct snapshot *s, const char *parent)
{
    char *copy = parent != NULL ? strdup(parent) : NULL;

    if (parent != NULL && copy == NULL) {
        return -ENOMEM;
    }
    free(s->parent);
    s->parent = copy;
    if (parent != NULL) {
        return node_set(s->def, "parent/name", parent);
    }
    node_remove(s->def, "parent");
    return 0;
}

int snapshot_redefine(struct snapshot *s, struct node *def)
{
    node_free(s->def);
    s->def = def;
    return snapshot_set_parent(
        s, node_get(def, "parent/name") != NULL ? node_get(def, "parent/name") : NULL);
}

int snapshot_check_parent(const struct domain *d, struct list *list, const struct node *def,
                          bool checkpoint, struct err **err)
{
    const char *name = node_get(def, "name"), *parent = node_get(def, "parent/name");
    const char *kind = checkpoint ? "checkpoint" : "snapshot";
    const struct snapshot *p;

    (void)d;
    if (parent == NULL) {
        return 0;
    }
    if (str_eq(parent, name)) {
        return fault(err, DOM_NONE, INVALID_ARG, "cannot set %s %s as its own parent", kind, name);
    }
    p = snapshot_find(list, parent);
    if (p == NULL) {
        return fault(err, DOM_NONE, INVALID_ARG, "parent %s for %s %s not found", parent, kind,
                     name);
    }
    return snapshot_is_below(list, p, name)
               ? fault(err, DOM_NONE, INVALID_ARG, "parent %s would create cycle to %s", parent,
                       name)
               : 0;
}

int snapshot_collect(struct list *list, const char *below, unsigned flags,
                     bool (*filter)(const struct snapshot *s, unsigned flags), struct arena *a,
                     struct snapshot ***ret, uint32_t *ret_n)
{
    uint32_t n = 0, k = 0;

    LIST_FOREACH (list, it) {
        n++;
    }
    *ret = arena_array(a, n + 1, sizeof(**ret));
    if (*ret == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH (list, it) {
        struct snapshot *s = CONTAINER_OF(it, struct snapshot, link);
        bool in = below == NULL                 ? !(flags & MOMENTS_ROOTS) || s->parent == NULL
                  : flags & MOMENTS_DESCENDANTS ? snapshot_is_below(list, s, below)
                                                : s->parent != NULL && str_eq(s->parent, below);

        if (in && (flags & (MOMENTS_LEAVES | MOMENTS_NO_LEAVES))) {
            in = (flags & (snapshot_children(list, s->name, false) == 0 ? MOMENTS_LEAVES
                                                                        : MOMENTS_NO_LEAVES)) != 0;
        }
        if (in && (filter == NULL || filter(s, flags))) {
            (*ret)[k++] = s;
        }
    }
    *ret_n = k;
    return 0;
}

void snapshot_forget_all(struct domain *d)
{
    LIST_FOREACH_SAFE (&d->snapshots, it) {
        snapshot_remove(CONTAINER_OF(it, struct snapshot, link));
    }
    LIST_FOREACH_SAFE (&d->checkpoints, it) {
        snapshot_remove(CONTAINER_OF(it, struct snapshot, link));
    }
}

static char *folder(const struct domain *d, bool checkpoint)
{
    return d->world != NULL && d->world->lib_dir != NULL
               ? str_format("%s/%s/%s/%s", d->world->lib_dir, d->world->driver->scheme,
                            checkpoint ? "checkpoint" : "snapshot", d->name)
               : NULL;
}

int snapshot_save(struct snapshot *s, bool checkpoint, bool current, struct err **err)
{
    AUTO_FREE char *dir = folder(s->domain, checkpoint);
    AUTO_FREE char *path = dir != NULL ? str_format("%s/%s.xml", dir, s->name) : NULL;
    CLEANUP(node_freep) struct node *copy = NULL;

    if (path == NULL) {
        return 0;
    }
    copy = node_copy(s->def);
    if (copy == NULL || (!checkpoint && node_set(copy, "active", current ? "1" : "0") < 0)) {
        return -ENOMEM;
    }
    return files_write_node(path, copy, err);
}

void snapshot_unlink(struct snapshot *s, bool checkpoint)
{
    AUTO_FREE char *dir = folder(s->domain, checkpoint);
    AUTO_FREE char *path = dir != NULL ? str_format("%s/%s.xml", dir, s->name) : NULL;

    if (path != NULL) {
        (void)unlink(path);
        (void)rmdir(dir);
    }
}

/* files_each() hands on the world only. */
static struct domain *loading;
static bool loading_checkpoints;

static int load_one(struct world *w, const char *path, struct err **err)
{
    struct node *def = NULL;
    struct snapshot *s;
    bool current;
    int r = files_read_node(path,
                            loading_checkpoints ? &schema_domaincheckpoint : &schema_domainsnapshot,
                            true, &def, err);

    (void)w;
    if (r < 0) {
        return r;
    }
    if (node_get(def, "name") == NULL) {
        node_free(def);
        return err_set(err, EINVAL, "no name");
    }
    current = node_is(def, "active", "1");
    (void)node_set(def, "active", NULL);
    r = snapshot_add(loading, loading_checkpoints ? &loading->checkpoints : &loading->snapshots,
                     def, &s);
    if (r == 0 && current && !loading_checkpoints) {
        loading->current_snapshot = s;
    }
    return r;
}

void snapshot_load_all(struct domain *d)
{
    for (int i = 0; i < 2; i++) {
        AUTO_FREE char *dir = folder(d, i == 1);

        loading = d;
        loading_checkpoints = i == 1;
        if (dir != NULL) {
            (void)files_each(dir, ".xml", load_one, d->world);
        }
    }
    loading = NULL;
}

bool snapshot_is_below(struct list *list, const struct snapshot *s, const char *ancestor)
{
    unsigned hops = 0;

    while (s != NULL && s->parent != NULL && hops++ < 100000) {
        if (str_eq(s->parent, ancestor)) {
            return true;
        }
        s = snapshot_find(list, s->parent);
    }
    return false;
}

unsigned snapshot_children(struct list *list, const char *name, bool descendants)
{
    unsigned n = 0;

    LIST_FOREACH (list, it) {
        struct snapshot *s = CONTAINER_OF(it, struct snapshot, link);

        if ((s->parent != NULL && str_eq(s->parent, name)) ||
            (descendants && snapshot_is_below(list, s, name))) {
            n++;
        }
    }
    return n;
}
