/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_secret.c - secrets: their definitions are kept as XML, their values in files of their own. */
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/driver.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/files.h"
#include "mgmt/object/secret.h"
#include "mgmt/server/event.h"
#include "mgmt/server/remote-ops.h"
#include "os/fd.h"

#include <errno.h>

enum { VALUE_MAX = 65536, SECRET_DEFINED = 0, SECRET_UNDEFINED = 1 };
enum { LIST_EPHEMERAL = 1, LIST_NO_EPHEMERAL = 2, LIST_PRIVATE = 4, LIST_NO_PRIVATE = 8 };

static const char *const usages[] = { "none", "volume", "ceph", "iscsi", "tls", "vtpm" };

struct secret {
    struct list link;
    uint8_t uuid[16];
    char uuid_text[UUID_TEXT_BYTES];
    struct node *def;
    uint8_t *value; /* owned; NULL: not set */
    size_t len;
};

static int usage_type(const struct secret *s)
{
    const char *t = node_get(s->def, "usage/@type");

    for (int i = 0; t != NULL && i < 6; i++) {
        if (str_eq(usages[i], t)) {
            return i;
        }
    }
    return 0;
}

static const char *usage_id(const struct secret *s)
{
    static const char *const paths[] = { NULL, "usage/volume", "usage/name", "usage/target", "usage/name",
                                         "usage/name" };
    const char *p = paths[usage_type(s)], *v = p != NULL ? node_get(s->def, p) : NULL;

    return v != NULL ? v : "";
}

static void to_wire(const struct secret *s, struct arena *a, struct remote_secret *ret)
{
    memcpy(ret->uuid, s->uuid, 16);
    ret->usageType = usage_type(s);
    ret->usageID = arena_strdup(a, usage_id(s));
}

static struct secret *by_uuid(struct world *w, const uint8_t uuid[16])
{
    LIST_FOREACH(&w->secrets, it) {
        struct secret *s = CONTAINER_OF(it, struct secret, link);

        if (memcmp(s->uuid, uuid, 16) == 0) {
            return s;
        }
    }
    return NULL;
}

static int of_call(struct call *call, const struct remote_secret *wire, struct secret **ret, struct err **err)
{
    char text[UUID_TEXT_BYTES];

    *ret = by_uuid(call->world, wire->uuid);
    if (*ret == NULL) {
        uuid_format(wire->uuid, text);
        return fault(err, DOM_SECRET, NO_SECRET, "no secret with matching uuid '%s'", text);
    }
    return 0;
}

static char *path_for(struct world *w, const struct secret *s, const char *ending)
{
    return w->config_dir != NULL ? str_format("%s/secrets/%s.%s", w->config_dir, s->uuid_text, ending) : NULL;
}

static void emit(struct world *w, struct secret *s, int event)
{
    struct remote_secret_event_lifecycle_msg msg = { .event = event };
    struct event_message m = { .class = EVENT_SECRET, .object = s->uuid_text, .program = &remote_program,
                               .proc = REMOTE_SECRET_EVENT_LIFECYCLE, .msg = &msg };

    memcpy(msg.secret.uuid, s->uuid, 16);
    msg.secret.usageType = usage_type(s);
    msg.secret.usageID = (char *)(uintptr_t)usage_id(s);
    event_send(w->server, w, &m);
}

static int add(struct world *w, struct node *def, struct secret **ret)
{
    struct secret *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        node_free(def);
        return -ENOMEM;
    }
    s->def = def;
    (void)uuid_parse(node_get(def, "uuid"), s->uuid);
    uuid_format(s->uuid, s->uuid_text);
    list_append(&w->secrets, &s->link);
    *ret = s;
    return 0;
}

static int complete(struct node *def, struct err **err)
{
    const char *uuid = node_get(def, "uuid");
    uint8_t bytes[16];
    char text[UUID_TEXT_BYTES];

    if (uuid == NULL) {
        uuid_generate(bytes);
    } else if (uuid_parse(uuid, bytes) < 0) {
        return fault(err, DOM_SECRET, XML_ERROR, "malformed uuid element");
    }
    uuid_format(bytes, text);
    if (node_set(def, "uuid", text) < 0) {
        return -ENOMEM;
    }
    for (const char *const *k = (const char *const[]) { "@ephemeral", "@private", NULL }; *k != NULL; k++) {
        if (node_get(def, *k) == NULL && node_set(def, *k, "no") < 0) {
            return -ENOMEM;
        }
    }
    if (node_child(def, "usage") != NULL && node_get(def, "usage/@type") == NULL) {
        return fault(err, DOM_SECRET, XML_ERROR, "unknown secret usage type");
    }
    return 0;
}

static int load_one(struct world *w, const char *path, struct err **err)
{
    struct node *def = NULL;
    struct secret *s;
    AUTO_FREE char *value = NULL, *data = NULL;
    size_t len;
    int r = files_read_node(path, &schema_secret, false, &def, err);

    r = r == 0 ? complete(def, err) : r;
    r = r == 0 ? add(w, def, &s) : r;
    if (r < 0) {
        return r;
    }
    value = path_for(w, s, "value");
    if (value != NULL && file_slurp(value, VALUE_MAX, &data, &len) == 0) {
        s->value = (uint8_t *)TAKE_PTR(data);
        s->len = len;
    }
    return 0;
}

void secrets_load_all(struct world *w)
{
    AUTO_FREE char *dir = str_format("%s/secrets", w->config_dir);

    if (dir != NULL) {
        (void)files_each(dir, ".xml", load_one, w);
    }
}

static bool pair(unsigned flags, unsigned yes, unsigned no, bool is)
{
    return (flags & (yes | no)) == 0 || (is ? flags & yes : flags & no);
}

static int list_all(struct call *call, const struct remote_connect_list_all_secrets_args *args,
                    struct remote_connect_list_all_secrets_ret *ret, struct err **err)
{
    unsigned n = 0;

    (void)err;
    LIST_FOREACH(&call->world->secrets, it) {
        n++;
    }
    ret->secrets = arena_array(&call->arena, n + 1, sizeof(*ret->secrets));
    if (ret->secrets == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH(&call->world->secrets, it) {
        struct secret *s = CONTAINER_OF(it, struct secret, link);

        if (pair(args->flags, LIST_EPHEMERAL, LIST_NO_EPHEMERAL, node_is(s->def, "@ephemeral", "yes")) &&
            pair(args->flags, LIST_PRIVATE, LIST_NO_PRIVATE, node_is(s->def, "@private", "yes"))) {
            if (args->need_results) {
                to_wire(s, &call->arena, &ret->secrets[ret->n_secrets++]);
            }
            ret->ret++;
        }
    }
    return 0;
}

static int num(struct call *call, struct remote_connect_num_of_secrets_ret *ret, struct err **err)
{
    (void)err;
    LIST_FOREACH(&call->world->secrets, it) {
        ret->num++;
    }
    return 0;
}

static int list(struct call *call, const struct remote_connect_list_secrets_args *args,
                struct remote_connect_list_secrets_ret *ret, struct err **err)
{
    (void)err;
    ret->uuids = arena_array(&call->arena, 16384, sizeof(*ret->uuids));
    if (ret->uuids == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH(&call->world->secrets, it) {
        if ((int)ret->n_uuids < args->maxuuids && ret->n_uuids < 16384) {
            ret->uuids[ret->n_uuids++] =
                arena_strdup(&call->arena, CONTAINER_OF(it, struct secret, link)->uuid_text);
        }
    }
    return 0;
}

static int lookup(struct call *call, const struct remote_secret_lookup_by_uuid_args *args,
                  struct remote_secret_lookup_by_uuid_ret *ret, struct err **err)
{
    struct remote_secret wire = { 0 };
    struct secret *s;
    int r;

    memcpy(wire.uuid, args->uuid, 16);
    r = of_call(call, &wire, &s, err);
    if (r == 0) {
        to_wire(s, &call->arena, &ret->secret);
    }
    return r;
}

static int lookup_usage(struct call *call, const struct remote_secret_lookup_by_usage_args *args,
                        struct remote_secret_lookup_by_usage_ret *ret, struct err **err)
{
    LIST_FOREACH(&call->world->secrets, it) {
        struct secret *s = CONTAINER_OF(it, struct secret, link);

        if (usage_type(s) == args->usageType && str_eq(usage_id(s), args->usageID)) {
            to_wire(s, &call->arena, &ret->secret);
            return 0;
        }
    }
    return fault(err, DOM_SECRET, NO_SECRET, "no secret with matching usage '%s'", args->usageID);
}

static int define(struct call *call, const struct remote_secret_define_xml_args *args,
                  struct remote_secret_define_xml_ret *ret, struct err **err)
{
    struct node *def = NULL;
    struct secret *s;
    uint8_t uuid[16];
    AUTO_FREE char *path = NULL;
    int r = schema_parse(args->xml, &schema_secret, DOM_SECRET, false, &def, err);

    r = r == 0 ? complete(def, err) : r;
    if (r < 0) {
        node_free(def);
        return r;
    }
    (void)uuid_parse(node_get(def, "uuid"), uuid);
    s = by_uuid(call->world, uuid);
    LIST_FOREACH(&call->world->secrets, it) {
        struct secret *o = CONTAINER_OF(it, struct secret, link);
        struct secret probe = { .def = def };

        if (o != s && usage_type(o) != 0 && usage_type(o) == usage_type(&probe) &&
            str_eq(usage_id(o), usage_id(&probe))) {
            r = fault(err, DOM_SECRET, INTERNAL_ERROR, "a secret with UUID %s already defined for use with %s",
                      o->uuid_text, usage_id(o));
            node_free(def);
            return r;
        }
    }
    if (s != NULL) {
        if (node_is(s->def, "@private", "yes") && !node_is(def, "@private", "yes")) {
            node_free(def);
            return fault(err, DOM_SECRET, OPERATION_DENIED, "cannot change private flag on existing secret");
        }
        node_free(s->def);
        s->def = def;
    } else {
        r = add(call->world, def, &s);
        if (r < 0) {
            return r;
        }
    }
    path = path_for(call->world, s, "xml");
    if (path != NULL && !node_is(s->def, "@ephemeral", "yes")) {
        r = files_write_node(path, s->def, err);
    }
    if (r == 0) {
        emit(call->world, s, SECRET_DEFINED);
        to_wire(s, &call->arena, &ret->secret);
    }
    return r;
}

static int get_xml(struct call *call, const struct remote_secret_get_xml_desc_args *args,
                   struct remote_secret_get_xml_desc_ret *ret, struct err **err)
{
    struct secret *s;
    AUTO_FREE char *text = NULL;
    int r = of_call(call, &args->secret, &s, err);

    if (r < 0) {
        return r;
    }
    text = node_to_xml(s->def);
    ret->xml = text != NULL ? arena_strdup(&call->arena, text) : NULL;
    return ret->xml != NULL ? 0 : -ENOMEM;
}

static int set_value(struct call *call, const struct remote_secret_set_value_args *args, struct err **err)
{
    struct secret *s;
    uint8_t *copy;
    AUTO_FREE char *path = NULL;
    int r = of_call(call, &args->secret, &s, err);

    if (r < 0) {
        return r;
    }
    copy = malloc(args->n_value + 1);
    if (copy == NULL) {
        return -ENOMEM;
    }
    memcpy(copy, args->value, args->n_value);
    if (s->value != NULL) {
        explicit_bzero(s->value, s->len);
        free(s->value);
    }
    s->value = copy;
    s->len = args->n_value;
    path = path_for(call->world, s, "value");
    if (path != NULL && !node_is(s->def, "@ephemeral", "yes")) {
        r = file_replace(path, s->value, s->len, 0600);
        if (r < 0) {
            return err_set(err, -r, "cannot write '%s': %s", path, strerror(-r));
        }
    }
    {
        struct remote_secret_event_value_changed_msg msg = { 0 };
        struct event_message m = { .class = EVENT_SECRET, .event = 1, .object = s->uuid_text,
                                   .program = &remote_program, .proc = REMOTE_SECRET_EVENT_VALUE_CHANGED,
                                   .msg = &msg };

        to_wire(s, &call->arena, &msg.secret);
        event_send(call->world->server, call->world, &m);
    }
    return 0;
}

static int get_value(struct call *call, const struct remote_secret_get_value_args *args,
                     struct remote_secret_get_value_ret *ret, struct err **err)
{
    struct secret *s;
    int r = of_call(call, &args->secret, &s, err);

    if (r < 0) {
        return r;
    }
    if (node_is(s->def, "@private", "yes")) {
        return fault(err, DOM_SECRET, INVALID_SECRET, "secret is private");
    }
    if (s->value == NULL) {
        return fault(err, DOM_SECRET, NO_SECRET, "secret '%s' does not have a value", s->uuid_text);
    }
    ret->value = arena_alloc(&call->arena, s->len + 1);
    if (ret->value == NULL) {
        return -ENOMEM;
    }
    memcpy(ret->value, s->value, s->len);
    ret->n_value = (uint32_t)s->len;
    return 0;
}

static int undefine(struct call *call, const struct remote_secret_undefine_args *args, struct err **err)
{
    struct secret *s;
    AUTO_FREE char *path = NULL, *value = NULL;
    int r = of_call(call, &args->secret, &s, err);

    if (r < 0) {
        return r;
    }
    path = path_for(call->world, s, "xml");
    value = path_for(call->world, s, "value");
    if (path != NULL && value != NULL) {
        (void)unlink(value);
        (void)unlink(path);
    }
    emit(call->world, s, SECRET_UNDEFINED);
    list_remove(&s->link);
    node_free(s->def);
    if (s->value != NULL) {
        explicit_bzero(s->value, s->len);
    }
    free(s->value);
    free(s);
    return 0;
}

const struct remote_ops calls_secret = {
    .connect_list_all_secrets = list_all,
    .connect_num_of_secrets = num,
    .connect_list_secrets = list,
    .secret_lookup_by_uuid = lookup,
    .secret_lookup_by_usage = lookup_usage,
    .secret_define_xml = define,
    .secret_get_xml_desc = get_xml,
    .secret_set_value = set_value,
    .secret_get_value = get_value,
    .secret_undefine = undefine,
};
