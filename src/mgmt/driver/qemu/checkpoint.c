/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/checkpoint.h"

#include "base/str.h"
#include "mgmt/driver/qemu/chain.h"
#include "mgmt/driver/qemu/find.h"

#include <errno.h>
#include <time.h>

struct snapshot *checkpoint_current(struct domain *d)
{
    struct snapshot *best = NULL;

    LIST_FOREACH (&d->checkpoints, it) {
        struct snapshot *s = CONTAINER_OF(it, struct snapshot, link);

        if (snapshot_children(&d->checkpoints, s->name, false) == 0 &&
            (best == NULL || node_get_u64(s->def, "creationTime", 0) >=
                                 node_get_u64(best->def, "creationTime", 0))) {
            best = s;
        }
    }
    return best;
}

static int plan_disk(const struct node *disk, struct node *disks, bool listed, const char *name,
                     struct err **err)
{
    const char *target = node_get(disk, "target/@dev"), *mode;
    struct node *k = NULL;

    if (node_child(disk, "source") == NULL || node_child(disk, "readonly") != NULL ||
        node_is(disk, "@device", "cdrom") || node_is(disk, "@device", "floppy")) {
        return 0;
    }
    for (struct node *o = node_child(disks, "disk"); o != NULL; o = node_next(o, "disk")) {
        if (node_is(o, "@name", target)) {
            k = o;
        }
    }
    if (k == NULL) {
        k = node_add(disks, "disk");
        if (k == NULL || node_set(k, "@name", target) < 0 ||
            node_set(k, "@checkpoint", listed ? "no" : "bitmap") < 0) {
            return -ENOMEM;
        }
    }
    mode = node_attr(k, "checkpoint");
    if (mode == NULL && node_set(k, "@checkpoint", "bitmap") < 0) {
        return -ENOMEM;
    }
    if (!node_is(k, "@checkpoint", "bitmap")) {
        return 0;
    }
    if (!str_eq(chain_format(disk), "qcow2")) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "checkpoint for disk %s unsupported for storage type %s", target,
                     chain_format(disk));
    }
    return node_attr(k, "bitmap") == NULL ? node_set(k, "@bitmap", name) : 0;
}

int checkpoint_plan(struct domain *d, struct node *def, struct err **err)
{
    struct snapshot *parent = checkpoint_current(d);
    struct node *disks, *copy;
    bool listed;
    int r = 0;

    if (node_get(def, "name") == NULL || *node_get(def, "name") == '\0') {
        r = node_setf(def, "name", "%lld", (long long)time(NULL));
    }
    if (r == 0 && strchr(node_get(def, "name"), '/') != NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "name %s cannot contain '/'",
                     node_get(def, "name"));
    }
    if (r == 0 && snapshot_find(&d->checkpoints, node_get(def, "name")) != NULL) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "domain moment %s already exists",
                     node_get(def, "name"));
    }
    r = r == 0 ? node_setf(def, "creationTime", "%lld", (long long)time(NULL)) : r;
    r = r == 0 && parent != NULL ? node_set(def, "parent/name", parent->name) : r;
    disks = r == 0 ? node_need(def, "disks") : NULL;
    if (disks == NULL) {
        return -ENOMEM;
    }
    listed = disks->first != NULL;
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
    }
    for (const struct node *k = node_child(domain_devices(d->def), "disk"); r == 0 && k != NULL;
         k = node_next(k, "disk")) {
        r = plan_disk(k, disks, listed, node_get(def, "name"), err);
    }
    disks_in_order(disks, d->def);
    node_remove(def, "domain");
    copy = r == 0 ? node_copy(d->def) : NULL;
    if (copy != NULL) {
        (void)node_set(copy, "@id", NULL);
        node_insert(def, copy);
    }
    return r;
}

struct json_object *bitmap_action(const char *action, unsigned layer, const char *name,
                                  struct json_object **ret_data)
{
    struct json_object *o = json_object_new_object(), *data = json_object_new_object();
    AUTO_FREE char *node = str_format("libvirt-%u-format", layer);

    (void)json_add_str(data, "node", node != NULL ? node : "");
    (void)json_add_str(data, str_eq(action, "block-dirty-bitmap-merge") ? "target" : "name", name);
    (void)json_add_str(o, "type", action);
    (void)json_add(o, "data", data);
    *ret_data = data;
    return o;
}

void checkpoint_actions(struct domain *d, const struct node *def, struct json_object *actions)
{
    for (const struct node *k = node_child(node_child(def, "disks"), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        const struct node *disk =
            node_is(k, "@checkpoint", "bitmap") ? find_disk(d->def, node_attr(k, "name")) : NULL;
        struct json_object *data, *o;

        if (disk == NULL) {
            continue;
        }
        o = bitmap_action("block-dirty-bitmap-add", chain_index(disk), node_attr(k, "bitmap"),
                          &data);
        (void)json_add_bool(data, "persistent", true);
        (void)json_add_bool(data, "disabled", false);
        json_object_array_add(actions, o);
    }
}

int checkpoint_keep(struct domain *d, struct node *def, struct snapshot **ret, struct err **err)
{
    struct snapshot *s;
    int r = snapshot_add(d, &d->checkpoints, def, &s);

    r = r == 0 ? snapshot_save(s, true, false, err) : r;
    if (r == 0 && ret != NULL) {
        *ret = s;
    }
    return r;
}

int bitmaps_query(struct domain *d, struct json_object **ret, struct err **err)
{
    struct json_object *a = json_object_new_object();

    (void)json_add_bool(a, "flat", true);
    return monitor_run(run_of(d)->qmp, "query-named-block-nodes", a, ret, err);
}

struct json_object *bitmaps_find(struct json_object *nodes, unsigned layer, const char *name)
{
    AUTO_FREE char *node = str_format("libvirt-%u-format", layer);

    for (size_t i = 0; node != NULL && i < json_object_array_length(nodes); i++) {
        struct json_object *o = json_object_array_get_idx(nodes, i),
                           *maps = json_member(o, "dirty-bitmaps");

        if (!str_eq(json_str_or(o, "node-name", ""), node)) {
            continue;
        }
        for (size_t k = 0; maps != NULL && k < json_object_array_length(maps); k++) {
            struct json_object *m = json_object_array_get_idx(maps, k);

            if (name == NULL || str_eq(json_str_or(m, "name", ""), name)) {
                return m;
            }
        }
    }
    return NULL;
}
