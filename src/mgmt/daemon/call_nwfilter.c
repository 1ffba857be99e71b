/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_nwfilter.c - network filters: defined, listed, kept. */
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/driver.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/files.h"
#include "mgmt/object/nwfilter.h"
#include "mgmt/server/remote-ops.h"

#include <errno.h>

struct filter {
    struct list link;
    uint8_t uuid[16];
    char uuid_text[UUID_TEXT_BYTES];
    char *name; /* owned */
    struct node *def;
};

static struct filter *by_name(struct world *w, const char *name)
{
    LIST_FOREACH(&w->filters, it) {
        struct filter *f = CONTAINER_OF(it, struct filter, link);

        if (str_eq(f->name, name)) {
            return f;
        }
    }
    return NULL;
}

static struct filter *by_uuid(struct world *w, const uint8_t uuid[16])
{
    LIST_FOREACH(&w->filters, it) {
        struct filter *f = CONTAINER_OF(it, struct filter, link);

        if (memcmp(f->uuid, uuid, 16) == 0) {
            return f;
        }
    }
    return NULL;
}

static void to_wire(const struct filter *f, struct arena *a, struct remote_nwfilter *ret)
{
    ret->name = arena_strdup(a, f->name);
    memcpy(ret->uuid, f->uuid, 16);
}

static int of_call(struct call *call, const struct remote_nwfilter *wire, struct filter **ret, struct err **err)
{
    char text[UUID_TEXT_BYTES];

    *ret = by_uuid(call->world, wire->uuid);
    if (*ret == NULL) {
        uuid_format(wire->uuid, text);
        return fault(err, DOM_NWFILTER, NO_NWFILTER, "no nwfilter with matching uuid '%s' (%s)", text, wire->name);
    }
    return 0;
}

static int complete(struct node *def, struct err **err)
{
    const char *uuid = node_get(def, "uuid");
    uint8_t bytes[16];
    char text[UUID_TEXT_BYTES];

    if (node_attr(def, "name") == NULL) {
        return fault(err, DOM_NWFILTER, INTERNAL_ERROR, "filter has no name");
    }
    if (strchr(node_attr(def, "name"), '/') != NULL) {
        return fault(err, DOM_NWFILTER, XML_ERROR, "name %s cannot contain '/'", node_attr(def, "name"));
    }
    if (uuid == NULL) {
        uuid_generate(bytes);
    } else if (uuid_parse(uuid, bytes) < 0) {
        return fault(err, DOM_NWFILTER, INTERNAL_ERROR, "malformed uuid element");
    }
    uuid_format(bytes, text);
    if (node_attr(def, "chain") == NULL && node_set(def, "@chain", "root") < 0) {
        return -ENOMEM;
    }
    for (struct node *r = node_child(def, "rule"); r != NULL; r = node_next(r, "rule")) {
        if (node_attr(r, "action") == NULL || node_attr(r, "direction") == NULL) {
            return fault(err, DOM_NWFILTER, INTERNAL_ERROR, "rule node requires action attribute");
        }
        if (node_attr(r, "priority") == NULL && node_set(r, "@priority", "500") < 0) {
            return -ENOMEM;
        }
    }
    return node_set(def, "uuid", text);
}

static int add(struct world *w, struct node *def, struct filter **ret)
{
    struct filter *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        node_free(def);
        return -ENOMEM;
    }
    f->def = def;
    f->name = strdup(node_attr(def, "name"));
    (void)uuid_parse(node_get(def, "uuid"), f->uuid);
    uuid_format(f->uuid, f->uuid_text);
    list_append(&w->filters, &f->link);
    *ret = f;
    return f->name != NULL ? 0 : -ENOMEM;
}

static int load_one(struct world *w, const char *path, struct err **err)
{
    struct node *def = NULL;
    struct filter *f;
    int r = files_read_node(path, &schema_filter, false, &def, err);

    r = r == 0 ? complete(def, err) : r;
    return r == 0 ? add(w, def, &f) : r;
}

void nwfilters_load_all(struct world *w)
{
    AUTO_FREE char *dir = str_format("%s/nwfilter", w->config_dir);

    if (dir != NULL) {
        (void)files_each(dir, ".xml", load_one, w);
    }
}

static int list_all(struct call *call, const struct remote_connect_list_all_nwfilters_args *args,
                    struct remote_connect_list_all_nwfilters_ret *ret, struct err **err)
{
    unsigned n = 0;

    (void)err;
    LIST_FOREACH(&call->world->filters, it) {
        n++;
    }
    ret->filters = arena_array(&call->arena, n + 1, sizeof(*ret->filters));
    if (ret->filters == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH(&call->world->filters, it) {
        if (args->need_results) {
            to_wire(CONTAINER_OF(it, struct filter, link), &call->arena, &ret->filters[ret->n_filters++]);
        }
        ret->ret++;
    }
    return 0;
}

static int num(struct call *call, struct remote_connect_num_of_nwfilters_ret *ret, struct err **err)
{
    (void)err;
    LIST_FOREACH(&call->world->filters, it) {
        ret->num++;
    }
    return 0;
}

static int list(struct call *call, const struct remote_connect_list_nwfilters_args *args,
                struct remote_connect_list_nwfilters_ret *ret, struct err **err)
{
    (void)err;
    ret->names = arena_array(&call->arena, 16384, sizeof(*ret->names));
    if (ret->names == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH(&call->world->filters, it) {
        if ((int)ret->n_names < args->maxnames && ret->n_names < 16384) {
            ret->names[ret->n_names++] = arena_strdup(&call->arena, CONTAINER_OF(it, struct filter, link)->name);
        }
    }
    return 0;
}

static int lookup_name(struct call *call, const struct remote_nwfilter_lookup_by_name_args *args,
                       struct remote_nwfilter_lookup_by_name_ret *ret, struct err **err)
{
    struct filter *f = by_name(call->world, args->name);

    if (f == NULL) {
        return fault(err, DOM_NWFILTER, NO_NWFILTER, "no nwfilter with matching name '%s'", args->name);
    }
    to_wire(f, &call->arena, &ret->nwfilter);
    return 0;
}

static int lookup_uuid(struct call *call, const struct remote_nwfilter_lookup_by_uuid_args *args,
                       struct remote_nwfilter_lookup_by_uuid_ret *ret, struct err **err)
{
    struct filter *f = by_uuid(call->world, args->uuid);
    char text[UUID_TEXT_BYTES];

    if (f == NULL) {
        uuid_format(args->uuid, text);
        return fault(err, DOM_NWFILTER, NO_NWFILTER, "no nwfilter with matching uuid '%s'", text);
    }
    to_wire(f, &call->arena, &ret->nwfilter);
    return 0;
}

static int get_xml(struct call *call, const struct remote_nwfilter_get_xml_desc_args *args,
                   struct remote_nwfilter_get_xml_desc_ret *ret, struct err **err)
{
    struct filter *f;
    AUTO_FREE char *text = NULL;
    int r = of_call(call, &args->nwfilter, &f, err);

    if (r < 0) {
        return r;
    }
    text = node_to_xml(f->def);
    ret->xml = text != NULL ? arena_strdup(&call->arena, text) : NULL;
    return ret->xml != NULL ? 0 : -ENOMEM;
}

static int define(struct call *call, const char *xml, struct remote_nwfilter *ret, struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    struct filter *f;
    AUTO_FREE char *path = NULL;
    int r = schema_parse(xml, &schema_filter, DOM_NWFILTER, false, &def, err);

    f = r == 0 && node_attr(def, "name") != NULL ? by_name(call->world, node_attr(def, "name")) : NULL;
    if (f != NULL && node_get(def, "uuid") == NULL && node_set(def, "uuid", f->uuid_text) < 0) {
        return -ENOMEM;
    }
    r = r == 0 ? complete(def, err) : r;
    if (r < 0) {
        return r;
    }
    if (f != NULL && !node_is(def, "uuid", f->uuid_text)) {
        return fault(err, DOM_NWFILTER, OPERATION_FAILED, "filter '%s' already exists with uuid %s", f->name,
                     f->uuid_text);
    }
    if (f == NULL) {
        r = add(call->world, TAKE_PTR(def), &f);
        if (r < 0) {
            return r;
        }
    } else {
        node_free(f->def);
        f->def = TAKE_PTR(def);
    }
    path = call->world->config_dir != NULL ? str_format("%s/nwfilter/%s.xml", call->world->config_dir, f->name) : NULL;
    r = path != NULL ? files_write_node(path, f->def, err) : 0;
    if (r == 0) {
        to_wire(f, &call->arena, ret);
    }
    return r;
}

static int define_xml(struct call *call, const struct remote_nwfilter_define_xml_args *args,
                      struct remote_nwfilter_define_xml_ret *ret, struct err **err)
{
    return define(call, args->xml, &ret->nwfilter, err);
}

static int define_xml_flags(struct call *call, const struct remote_nwfilter_define_xml_flags_args *args,
                            struct remote_nwfilter_define_xml_flags_ret *ret, struct err **err)
{
    return define(call, args->xml, &ret->nwfilter, err);
}

static int undefine(struct call *call, const struct remote_nwfilter_undefine_args *args, struct err **err)
{
    struct filter *f;
    AUTO_FREE char *path = NULL;
    int r = of_call(call, &args->nwfilter, &f, err);

    if (r < 0) {
        return r;
    }
    path = call->world->config_dir != NULL ? str_format("%s/nwfilter/%s.xml", call->world->config_dir, f->name) : NULL;
    if (path != NULL) {
        (void)unlink(path);
    }
    list_remove(&f->link);
    node_free(f->def);
    free(f->name);
    free(f);
    return 0;
}

static int list_bindings(struct call *call, const struct remote_connect_list_all_nwfilter_bindings_args *args,
                         struct remote_connect_list_all_nwfilter_bindings_ret *ret, struct err **err)
{
    (void)call;
    (void)args;
    (void)err;
    ret->ret = 0; /* filters are not enforced, so nothing is bound */
    return 0;
}

static int lookup_binding(struct call *call, const struct remote_nwfilter_binding_lookup_by_port_dev_args *args,
                          struct remote_nwfilter_binding_lookup_by_port_dev_ret *ret, struct err **err)
{
    (void)call;
    (void)ret;
    return fault(err, DOM_NWFILTER, NO_NWFILTER_BINDING, "no nwfilter binding for port dev '%s'", args->name);
}

const struct remote_ops calls_nwfilter = {
    .connect_list_all_nwfilters = list_all,
    .connect_num_of_nwfilters = num,
    .connect_list_nwfilters = list,
    .nwfilter_lookup_by_name = lookup_name,
    .nwfilter_lookup_by_uuid = lookup_uuid,
    .nwfilter_get_xml_desc = get_xml,
    .nwfilter_define_xml = define_xml,
    .nwfilter_define_xml_flags = define_xml_flags,
    .nwfilter_undefine = undefine,
    .connect_list_all_nwfilter_bindings = list_bindings,
    .nwfilter_binding_lookup_by_port_dev = lookup_binding,
};
