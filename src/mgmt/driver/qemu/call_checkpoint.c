/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_checkpoint.c - the calls for checkpoints and backups. */
#include "mgmt/driver/qemu/agent.h"
#include "mgmt/driver/qemu/backup.h"
#include "mgmt/driver/qemu/chain.h"
#include "mgmt/driver/qemu/checkpoint.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/model/schema.h"

#include <errno.h>

enum {
    CREATE_REDEFINE = 1,
    CREATE_QUIESCE = 2,
    CREATE_VALIDATE = 4,
    XML_NO_DOMAIN = 2,
    XML_SIZE = 4,
    DELETE_CHILDREN = 1,
    DELETE_METADATA_ONLY = 2,
    DELETE_CHILDREN_ONLY = 4,
};

static int no_checkpoint(const char *name, struct err **err)
{
    return fault(err, DOM_QEMU, NO_DOMAIN_CHECKPOINT,
                 "no domain checkpoint with matching name '%s'", name);
}

static void to_wire(const struct snapshot *s, struct arena *a, struct remote_domain_checkpoint *ret)
{
    ret->name = arena_strdup(a, s->name);
    domain_to_wire(s->domain, a, &ret->dom);
}

static int of_call(struct call *call, const struct remote_domain_checkpoint *wire,
                   struct domain **ret_domain, struct snapshot **ret, struct err **err)
{
    int r = domain_of_call(call, &wire->dom, ret_domain, err);

    if (r < 0) {
        return r;
    }
    *ret = snapshot_find(&(*ret_domain)->checkpoints, wire->name);
    return *ret != NULL ? 0 : no_checkpoint(wire->name, err);
}

/* ---- making ---- */

static int redefine(struct domain *d, struct node *def, struct snapshot **ret, struct err **err)
{
    const char *name = node_get(def, "name"), *uuid = node_get(def, "domain/uuid");
    struct snapshot *have = name != NULL ? snapshot_find(&d->checkpoints, name) : NULL;
    int r = 0;

    if (name == NULL || node_get(def, "creationTime") == NULL) {
        r = fault(err, DOM_DOMAIN, XML_ERROR, "missing %s from existing checkpoint",
                  name == NULL ? "name" : "creationTime");
    } else if (uuid == NULL) {
        r = fault(err, DOM_DOMAIN, XML_ERROR, "missing domain in checkpoint redefine");
    } else if (!str_eq(uuid, d->uuid_text)) {
        r = fault(err, DOM_NONE, INVALID_ARG, "definition for checkpoint %s must use uuid %s", name,
                  d->uuid_text);
    }
    r = r == 0 ? snapshot_check_parent(d, &d->checkpoints, def, true, err) : r;
    if (r < 0) {
        node_free(def);
        return r;
    }
    if (have == NULL) {
        return checkpoint_keep(d, def, ret, err);
    }
    *ret = have;
    r = snapshot_redefine(have, def);
    return r == 0 ? snapshot_save(have, true, false, err) : r;
}

static int create(struct domain *d, struct node *def, unsigned flags, struct err **err)
{
    AUTO_JSON struct json_object *actions = json_object_new_array();
    struct json_object *a = json_object_new_object();
    int r = checkpoint_plan(d, def, err);

    if (r == 0 && (flags & CREATE_QUIESCE)) {
        r = agent_freeze(d, NULL, 0, NULL, err);
    }
    if (r < 0) {
        json_object_put(a);
        return r;
    }
    checkpoint_actions(d, def, actions);
    (void)json_add(a, "actions", json_object_get(actions));
    r = monitor_run(run_of(d)->qmp, "transaction", a, NULL, err);
    if (flags & CREATE_QUIESCE) {
        (void)agent_thaw(d, NULL, NULL);
    }
    return r;
}

int qemu_domain_checkpoint_create_xml(struct call *call,
                                      const struct remote_domain_checkpoint_create_xml_args *args,
                                      struct remote_domain_checkpoint_create_xml_ret *ret,
                                      struct err **err)
{
    AUTO_USE struct use u = { 0 };
    CLEANUP(node_freep) struct node *def = NULL;
    bool again = (args->flags & CREATE_REDEFINE) != 0;
    struct snapshot *s = NULL;
    int r = flags_check(call, args->flags, CREATE_REDEFINE | CREATE_QUIESCE | CREATE_VALIDATE, err);

    r = r == 0 ? use_begin(call, &args->dom, false, &u, err) : r;
    if (r == 0 && !again && !domain_active(u.d)) {
        r = fault(err, DOM_QEMU, OPERATION_UNSUPPORTED,
                  "cannot create checkpoint for inactive domain");
    }
    r = r == 0
            ? schema_parse(args->xml_desc, &schema_domaincheckpoint, DOM_DOMAIN, again, &def, err)
            : r;
    if (r == 0 && again) {
        r = redefine(u.d, TAKE_PTR(def), &s, err);
    } else if (r == 0) {
        r = create(u.d, def, args->flags, err);
        r = r == 0 ? checkpoint_keep(u.d, TAKE_PTR(def), &s, err) : r;
    }
    if (r == 0) {
        to_wire(s, &call->arena, &ret->checkpoint);
    }
    return r;
}

/* ---- reading ---- */

static int add_sizes(struct domain *d, struct node *def, struct err **err)
{
    AUTO_JSON struct json_object *nodes = NULL;
    int r = bitmaps_query(d, &nodes, err);

    for (struct node *k = node_child(node_child(def, "disks"), "disk"); r == 0 && k != NULL;
         k = node_next(k, "disk")) {
        struct node *disk =
            node_is(k, "@checkpoint", "bitmap") ? find_disk(d->def, node_attr(k, "name")) : NULL;
        uint64_t size = 0;

        if (disk == NULL) {
            continue;
        }
        for (struct node *l = disk; l != NULL; l = chain_below(l)) {
            struct json_object *m = bitmaps_find(nodes, chain_index(l), node_attr(k, "bitmap"));

            size += m != NULL ? (uint64_t)json_i64_or(m, "count", 0) : 0;
        }
        r = node_setf(k, "@size", "%llu", (unsigned long long)size);
    }
    return r;
}

int qemu_domain_checkpoint_get_xml_desc(
    struct call *call, const struct remote_domain_checkpoint_get_xml_desc_args *args,
    struct remote_domain_checkpoint_get_xml_desc_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    CLEANUP(node_freep) struct node *copy = NULL;
    AUTO_FREE char *xml = NULL;
    struct snapshot *s;
    int r = of_call(call, &args->checkpoint, &d, &s, err);

    if (r == 0 && (args->flags & XML_SIZE) && !domain_active(d)) {
        r = fault(err, DOM_QEMU, OPERATION_INVALID, "domain is not running");
    }
    copy = r == 0 ? node_copy(s->def) : NULL;
    if (r == 0 && copy == NULL) {
        r = -ENOMEM;
    }
    if (r == 0 && (args->flags & XML_NO_DOMAIN)) {
        node_remove(copy, "domain");
    }
    if (r == 0 && (args->flags & XML_SIZE)) {
        r = add_sizes(d, copy, err);
    }
    if (r < 0) {
        return r;
    }
    xml = node_to_xml(copy);
    ret->xml = xml != NULL ? arena_strdup(&call->arena, xml) : NULL;
    return ret->xml != NULL ? 0 : -ENOMEM;
}

static int list(struct call *call, struct domain *d, const char *below, unsigned flags, bool need,
                struct remote_domain_checkpoint **ret, uint32_t *ret_n, int32_t *ret_count)
{
    struct snapshot **found;
    uint32_t n = 0;
    int r = snapshot_collect(&d->checkpoints, below, flags, NULL, &call->arena, &found, &n);

    *ret = r == 0 ? arena_array(&call->arena, n + 1, sizeof(**ret)) : NULL;
    if (*ret == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        to_wire(found[i], &call->arena, &(*ret)[i]);
    }
    *ret_count = (int32_t)n;
    *ret_n = need ? n : 0;
    return 0;
}

int qemu_domain_list_all_checkpoints(struct call *call,
                                     const struct remote_domain_list_all_checkpoints_args *args,
                                     struct remote_domain_list_all_checkpoints_ret *ret,
                                     struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    return r == 0 ? list(call, d, NULL, args->flags, args->need_results != 0, &ret->checkpoints,
                         &ret->n_checkpoints, &ret->ret)
                  : r;
}

int qemu_domain_checkpoint_list_all_children(
    struct call *call, const struct remote_domain_checkpoint_list_all_children_args *args,
    struct remote_domain_checkpoint_list_all_children_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct snapshot *s;
    int r = of_call(call, &args->checkpoint, &d, &s, err);

    return r == 0 ? list(call, d, s->name, args->flags, args->need_results != 0, &ret->checkpoints,
                         &ret->n_checkpoints, &ret->ret)
                  : r;
}

int qemu_domain_checkpoint_lookup_by_name(
    struct call *call, const struct remote_domain_checkpoint_lookup_by_name_args *args,
    struct remote_domain_checkpoint_lookup_by_name_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct snapshot *s;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r < 0) {
        return r;
    }
    s = snapshot_find(&d->checkpoints, args->name);
    if (s == NULL) {
        return no_checkpoint(args->name, err);
    }
    to_wire(s, &call->arena, &ret->checkpoint);
    return 0;
}

int qemu_domain_checkpoint_get_parent(struct call *call,
                                      const struct remote_domain_checkpoint_get_parent_args *args,
                                      struct remote_domain_checkpoint_get_parent_ret *ret,
                                      struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct snapshot *s, *parent;
    int r = of_call(call, &args->checkpoint, &d, &s, err);

    if (r < 0) {
        return r;
    }
    parent = s->parent != NULL ? snapshot_find(&d->checkpoints, s->parent) : NULL;
    if (parent == NULL) {
        return fault(err, DOM_QEMU, NO_DOMAIN_CHECKPOINT, "checkpoint '%s' does not have a parent",
                     s->name);
    }
    to_wire(parent, &call->arena, &ret->parent);
    return 0;
}

/* ---- deleting ---- */

static int remove_bitmaps(struct domain *d, const struct node *def, struct err **err)
{
    AUTO_JSON struct json_object *nodes = NULL;
    AUTO_JSON struct json_object *actions = json_object_new_array();
    struct json_object *a, *data;
    int r = bitmaps_query(d, &nodes, err);

    for (const struct node *k = node_child(node_child(def, "disks"), "disk"); r == 0 && k != NULL;
         k = node_next(k, "disk")) {
        struct node *disk =
            node_is(k, "@checkpoint", "bitmap") ? find_disk(d->def, node_attr(k, "name")) : NULL;

        if (disk != NULL &&
            bitmaps_find(nodes, chain_index(disk), node_attr(k, "bitmap")) != NULL) {
            json_object_array_add(actions,
                                  bitmap_action("block-dirty-bitmap-remove", chain_index(disk),
                                                node_attr(k, "bitmap"), &data));
        }
    }
    if (r < 0 || json_object_array_length(actions) == 0) {
        return r;
    }
    a = json_object_new_object();
    (void)json_add(a, "actions", json_object_get(actions));
    return monitor_run(run_of(d)->qmp, "transaction", a, NULL, err);
}

static int delete_one(struct domain *d, struct snapshot *s, bool metadata_only, struct err **err)
{
    int r = metadata_only ? 0 : remove_bitmaps(d, s->def, err);

    LIST_FOREACH (&d->checkpoints, it) {
        struct snapshot *c = CONTAINER_OF(it, struct snapshot, link);

        if (r == 0 && c->parent != NULL && str_eq(c->parent, s->name)) {
            r = snapshot_set_parent(c, s->parent);
            r = r == 0 ? snapshot_save(c, true, false, err) : r;
        }
    }
    if (r == 0) {
        snapshot_unlink(s, true);
        snapshot_remove(s);
    }
    return r;
}

int qemu_domain_checkpoint_delete(struct call *call,
                                  const struct remote_domain_checkpoint_delete_args *args,
                                  struct err **err)
{
    AUTO_USE struct use u = { 0 };
    bool only = (args->flags & DELETE_METADATA_ONLY) != 0;
    struct snapshot *s = NULL, **below = NULL;
    uint32_t n = 0;
    int r = use_begin(call, &args->checkpoint.dom, false, &u, err);

    if (r == 0 && (s = snapshot_find(&u.d->checkpoints, args->checkpoint.name)) == NULL) {
        r = no_checkpoint(args->checkpoint.name, err);
    }
    if (r == 0 && !only && !domain_active(u.d)) {
        r = fault(err, DOM_QEMU, OPERATION_UNSUPPORTED,
                  "cannot delete checkpoint for inactive domain");
    }
    if (r == 0 && (args->flags & (DELETE_CHILDREN | DELETE_CHILDREN_ONLY))) {
        r = snapshot_collect(&u.d->checkpoints, s->name, MOMENTS_DESCENDANTS, NULL, &call->arena,
                             &below, &n);
        for (uint32_t i = 0; r == 0 && i < n; i++) {
            r = delete_one(u.d, below[i], only, err);
        }
    }
    return r == 0 && !(args->flags & DELETE_CHILDREN_ONLY) ? delete_one(u.d, s, only, err) : r;
}

/* ---- backup ---- */

int qemu_domain_backup_begin(struct call *call, const struct remote_domain_backup_begin_args *args,
                             struct err **err)
{
    AUTO_USE struct use u = { 0 };
    CLEANUP(node_freep) struct node *def = NULL;
    CLEANUP(node_freep) struct node *checkpoint = NULL;
    int r = flags_check(call, args->flags, BACKUP_REUSE_EXTERNAL, err);

    r = r == 0 ? use_begin(call, &args->dom, true, &u, err) : r;
    r = r == 0 ? schema_parse(args->backup_xml, &schema_domainbackup, DOM_DOMAIN, false, &def, err)
               : r;
    if (r == 0 && args->checkpoint_xml != NULL) {
        r = schema_parse(args->checkpoint_xml, &schema_domaincheckpoint, DOM_DOMAIN, false,
                         &checkpoint, err);
    }
    return r == 0 ? backup_begin(u.d, TAKE_PTR(def), TAKE_PTR(checkpoint), args->flags, err) : r;
}

int qemu_domain_backup_get_xml_desc(struct call *call,
                                    const struct remote_domain_backup_get_xml_desc_args *args,
                                    struct remote_domain_backup_get_xml_desc_ret *ret,
                                    struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    AUTO_FREE char *xml = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_check_active(d, err) : r;
    if (r == 0 && run_of(d)->backup == NULL) {
        r = fault(err, DOM_QEMU, NO_DOMAIN_BACKUP, "no domain backup job present");
    }
    if (r < 0) {
        return r;
    }
    xml = node_to_xml(run_of(d)->backup);
    ret->xml = xml != NULL ? arena_strdup(&call->arena, xml) : NULL;
    return ret->xml != NULL ? 0 : -ENOMEM;
}
