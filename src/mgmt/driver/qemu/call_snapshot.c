/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_snapshot.c - the calls for snapshots: making, listing, going back, deleting. */
#include "mgmt/driver/qemu/snapshot.h"

#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/model/schema.h"

#include <errno.h>

enum {
    DELETE_CHILDREN = 1,
    DELETE_METADATA_ONLY = 2,
    DELETE_CHILDREN_ONLY = 4,
    LIST_METADATA = 2,
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

/* What a redefinition may not change. */
static int check_redefine(struct domain *d, const struct node *def, const struct snapshot *have,
                          struct err **err)
{
    const char *state = node_get(def, "state"), *uuid = node_get(def, "domain/uuid");
    const char *before = have != NULL ? node_get(have->def, "state") : NULL;

    if (node_get(def, "name") == NULL || state == NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "missing %s from existing snapshot",
                     node_get(def, "name") == NULL ? "name" : "state");
    }
    if (node_get(def, "creationTime") == NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "missing creationTime from existing snapshot");
    }
    if (uuid != NULL && !str_eq(uuid, d->uuid_text)) {
        return fault(err, DOM_NONE, INVALID_ARG, "definition for snapshot %s must use uuid %s",
                     node_get(def, "name"), d->uuid_text);
    }
    if (before != NULL) {
        bool online = str_eq(state, "running") || str_eq(state, "paused");
        bool was_online = str_eq(before, "running") || str_eq(before, "paused");

        if (online != was_online) {
            return fault(err, DOM_NONE, INVALID_ARG,
                         "cannot change between online and offline snapshot state in snapshot %s",
                         have->name);
        }
        if (str_eq(state, "disk-snapshot") != str_eq(before, "disk-snapshot")) {
            return fault(err, DOM_NONE, INVALID_ARG,
                         "cannot change between disk only and full system in snapshot %s",
                         have->name);
        }
    }
    return snapshot_check_parent(d, &d->snapshots, def, false, err);
}

static int redefine(struct domain *d, struct node *def, struct snapshot **ret, struct err **err)
{
    struct snapshot *have =
        node_get(def, "name") != NULL ? snapshot_find(&d->snapshots, node_get(def, "name")) : NULL;
    int r = check_redefine(d, def, have, err);

    if (r < 0) {
        node_free(def);
        return r;
    }
    if (have == NULL) {
        return snapshot_add(d, &d->snapshots, def, ret);
    }
    if (node_child(def, "domain") == NULL && node_child(have->def, "domain") != NULL) {
        node_insert(def, node_detach(node_child(have->def, "domain")));
    }
    *ret = have;
    return snapshot_redefine(have, def);
}

int qemu_domain_snapshot_create_xml(struct call *call,
                                    const struct remote_domain_snapshot_create_xml_args *args,
                                    struct remote_domain_snapshot_create_xml_ret *ret,
                                    struct err **err)
{
    AUTO_USE struct use u = { 0 };
    CLEANUP(node_freep) struct node *def = NULL;
    struct snapshot *s = NULL;
    bool again = (args->flags & SNAPSHOT_REDEFINE) != 0;
    int r = flags_check(call, args->flags, SNAPSHOT_VALIDATE * 2 - 1, err);

    r = r == 0 ? use_begin(call, &args->dom, false, &u, err) : r;
    r = r == 0 ? schema_parse(args->xml_desc, &schema_domainsnapshot, DOM_DOMAIN, again, &def, err)
               : r;
    if (r == 0 && (args->flags & SNAPSHOT_HALT) && !u.d->persistent) {
        r = fault(err, DOM_QEMU, OPERATION_INVALID, "cannot halt after transient domain snapshot");
    }
    if (r == 0 && again) {
        r = redefine(u.d, TAKE_PTR(def), &s, err);
    } else if (r == 0) {
        r = snapshot_plan(u.d, def, args->flags, err);
        if (r == 0 && snapshot_find(&u.d->snapshots, node_get(def, "name")) != NULL) {
            r = fault(err, DOM_QEMU, OPERATION_FAILED, "domain snapshot %s already exists",
                      node_get(def, "name"));
        }
        r = r == 0 ? snapshot_make(u.d, def, args->flags, err) : r;
        r = r == 0 ? snapshot_add(u.d, &u.d->snapshots, TAKE_PTR(def), &s) : r;
    }
    if (r < 0) {
        return r;
    }
    to_wire(s, &call->arena, &ret->snap);
    if (args->flags & SNAPSHOT_NO_METADATA) {
        snapshot_remove(s);
        return 0;
    }
    return !again || (args->flags & SNAPSHOT_CURRENT)
               ? snapshot_set_current(u.d, s, err)
               : snapshot_save(s, false, u.d->current_snapshot == s, err);
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

static bool listed(const struct snapshot *s, unsigned flags)
{
    const char *state = node_get(s->def, "state");
    unsigned kind = state == NULL || str_eq(state, "shutoff") ? LIST_INACTIVE
                    : str_eq(state, "disk-snapshot")          ? LIST_DISK_ONLY
                                                              : LIST_ACTIVE;

    if ((flags & (LIST_METADATA | LIST_NO_METADATA)) == LIST_NO_METADATA) {
        return false;
    }
    if ((flags & (LIST_INACTIVE | LIST_ACTIVE | LIST_DISK_ONLY)) && !(flags & kind)) {
        return false;
    }
    return !(flags & (LIST_INTERNAL | LIST_EXTERNAL)) ||
           (flags & (snapshot_is_external(s->def) ? LIST_EXTERNAL : LIST_INTERNAL));
}

/* Those below a snapshot (NULL: of the domain). */
static int collect(struct call *call, struct domain *d, const char *below, unsigned flags,
                   struct remote_domain_snapshot **ret, uint32_t *ret_n, char ***ret_names)
{
    struct snapshot **found;
    int r = snapshot_collect(&d->snapshots, below, flags, listed, &call->arena, &found, ret_n);

    *ret = r == 0 ? arena_array(&call->arena, *ret_n + 1, sizeof(**ret)) : NULL;
    *ret_names = r == 0 ? arena_array(&call->arena, *ret_n + 1, sizeof(**ret_names)) : NULL;
    if (*ret == NULL || *ret_names == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < *ret_n; i++) {
        to_wire(found[i], &call->arena, &(*ret)[i]);
        (*ret_names)[i] = (*ret)[i].name;
    }
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
    return s != NULL ? snapshot_revert(u.d, s, args->flags, err)
                     : no_snapshot(args->snap.name, err);
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
                    r = snapshot_delete(u.d, c, only, err);
                    more = true;
                    break;
                }
            }
        }
    }
    return r == 0 && !(args->flags & DELETE_CHILDREN_ONLY) ? snapshot_delete(u.d, s, only, err) : r;
}
