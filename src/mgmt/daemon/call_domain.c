/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_domain.c - finding, listing, defining domains and driving their life cycle. */
#include "base/log.h"
#include "mgmt/daemon/autodestroy.h"
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/driver.h"
#include "mgmt/model/metadata.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/snapshot.h"
#include "mgmt/server/event.h"
#include "mgmt/server/remote-ops.h"

#include <errno.h>

enum {
    LIST_ACTIVE = 1,
    LIST_INACTIVE = 2,
    LIST_PERSISTENT = 4,
    LIST_TRANSIENT = 8,
    LIST_RUNNING = 16,
    LIST_PAUSED = 32,
    LIST_SHUTOFF = 64,
    LIST_OTHER = 128,
    LIST_MANAGEDSAVE = 256,
    LIST_NO_MANAGEDSAVE = 512,
    LIST_AUTOSTART = 1024,
    LIST_NO_AUTOSTART = 2048,
    LIST_HAS_SNAPSHOT = 4096,
    LIST_NO_SNAPSHOT = 8192,
    LIST_HAS_CHECKPOINT = 16384,
    LIST_NO_CHECKPOINT = 32768,
    LIST_ALL = 65535,
};
enum { DEFINE_VALIDATE = 1 };
enum { START_KNOWN = 63 };

#define DRV(call) ((call)->world->driver)
#define WANT(op)                                                                  \
    do {                                                                          \
        if (DRV(call)->op == NULL) {                                              \
            return fault(err, DOM_DOMAIN, NO_SUPPORT, "%s", call_api_name(call)); \
        }                                                                         \
    } while (0)

/* ---- finding ---- */

static int lookup_by_name(struct call *call, const struct remote_domain_lookup_by_name_args *args,
                          struct remote_domain_lookup_by_name_ret *ret, struct err **err)
{
    struct domain *d = domain_by_name(call->world, args->name);

    if (d == NULL) {
        return err_set(err, FAULT_CODE(DRV(call)->fault_domain, NO_DOMAIN),
                       str_eq(DRV(call)->scheme, "test") ? "%s"
                                                         : "no domain with matching name '%s'",
                       str_eq(DRV(call)->scheme, "test") ? "" : args->name);
    }
    domain_to_wire(d, &call->arena, &ret->dom);
    return 0;
}

static int lookup_by_uuid(struct call *call, const struct remote_domain_lookup_by_uuid_args *args,
                          struct remote_domain_lookup_by_uuid_ret *ret, struct err **err)
{
    struct domain *d = domain_by_uuid(call->world, args->uuid);
    char text[UUID_TEXT_BYTES];

    if (d == NULL) {
        uuid_format(args->uuid, text);
        return err_set(err, FAULT_CODE(DRV(call)->fault_domain, NO_DOMAIN),
                       "no domain with matching uuid '%s'", text);
    }
    domain_to_wire(d, &call->arena, &ret->dom);
    return 0;
}

static int lookup_by_id(struct call *call, const struct remote_domain_lookup_by_id_args *args,
                        struct remote_domain_lookup_by_id_ret *ret, struct err **err)
{
    struct domain *d = domain_by_id(call->world, args->id);

    if (d == NULL) {
        return err_set(err, FAULT_CODE(DRV(call)->fault_domain, NO_DOMAIN),
                       "no domain with matching id %d", args->id);
    }
    domain_to_wire(d, &call->arena, &ret->dom);
    return 0;
}

/* A group of opposite flags matches when none is set, or the right one is. */
static bool pair(unsigned flags, unsigned yes, unsigned no, bool is)
{
    return (flags & (yes | no)) == 0 || (is ? flags & yes : flags & no);
}

static bool listed(const struct domain *d, unsigned flags)
{
    unsigned state = d->state == STATE_RUNNING   ? LIST_RUNNING
                     : d->state == STATE_PAUSED  ? LIST_PAUSED
                     : d->state == STATE_SHUTOFF ? LIST_SHUTOFF
                                                 : LIST_OTHER;
    unsigned states = LIST_RUNNING | LIST_PAUSED | LIST_SHUTOFF | LIST_OTHER;

    return pair(flags, LIST_ACTIVE, LIST_INACTIVE, domain_active(d)) &&
           pair(flags, LIST_PERSISTENT, LIST_TRANSIENT, d->persistent) &&
           ((flags & states) == 0 || (flags & state)) &&
           pair(flags, LIST_MANAGEDSAVE, LIST_NO_MANAGEDSAVE, d->has_managed_save) &&
           pair(flags, LIST_AUTOSTART, LIST_NO_AUTOSTART, d->autostart) &&
           pair(flags, LIST_HAS_SNAPSHOT, LIST_NO_SNAPSHOT, !list_empty(&d->snapshots)) &&
           pair(flags, LIST_HAS_CHECKPOINT, LIST_NO_CHECKPOINT, !list_empty(&d->checkpoints));
}

static int list_all(struct call *call, const struct remote_connect_list_all_domains_args *args,
                    struct remote_connect_list_all_domains_ret *ret, struct err **err)
{
    int r = flags_check(call, args->flags, LIST_ALL, err);

    if (r < 0) {
        return r;
    }
    if (args->need_results) {
        ret->domains = arena_array(&call->arena, call->world->n_domains + 1, sizeof(*ret->domains));
        if (ret->domains == NULL) {
            return -ENOMEM;
        }
    }
    LIST_FOREACH (&call->world->domains, it) {
        const struct domain *d = CONTAINER_OF(it, struct domain, link);

        if (!listed(d, args->flags)) {
            continue;
        }
        if (args->need_results) {
            domain_to_wire(d, &call->arena, &ret->domains[ret->n_domains++]);
        }
        ret->ret++;
    }
    return 0;
}

static int num_of(struct call *call, bool active)
{
    int n = 0;

    LIST_FOREACH (&call->world->domains, it) {
        n += domain_active(CONTAINER_OF(it, struct domain, link)) == active;
    }
    return n;
}

static int num_of_domains(struct call *call, struct remote_connect_num_of_domains_ret *ret,
                          struct err **err)
{
    (void)err;
    ret->num = num_of(call, true);
    return 0;
}

static int num_of_defined(struct call *call, struct remote_connect_num_of_defined_domains_ret *ret,
                          struct err **err)
{
    (void)err;
    ret->num = num_of(call, false);
    return 0;
}

static int list_ids(struct call *call, const struct remote_connect_list_domains_args *args,
                    struct remote_connect_list_domains_ret *ret, struct err **err)
{
    (void)err;
    ret->ids = arena_array(&call->arena, call->world->n_domains + 1, sizeof(*ret->ids));
    if (ret->ids == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH (&call->world->domains, it) {
        const struct domain *d = CONTAINER_OF(it, struct domain, link);

        if (domain_active(d) && (int)ret->n_ids < args->maxids) {
            ret->ids[ret->n_ids++] = d->id;
        }
    }
    return 0;
}

static int list_defined(struct call *call,
                        const struct remote_connect_list_defined_domains_args *args,
                        struct remote_connect_list_defined_domains_ret *ret, struct err **err)
{
    (void)err;
    ret->names = arena_array(&call->arena, call->world->n_domains + 1, sizeof(*ret->names));
    if (ret->names == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH (&call->world->domains, it) {
        const struct domain *d = CONTAINER_OF(it, struct domain, link);

        if (!domain_active(d) && (int)ret->n_names < args->maxnames) {
            ret->names[ret->n_names++] = arena_strdup(&call->arena, d->name);
        }
    }
    return 0;
}

/* ---- reading ---- */

static int get_xml_desc(struct call *call, const struct remote_domain_get_xml_desc_args *args,
                        struct remote_domain_get_xml_desc_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    AUTO_FREE char *xml = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r < 0) {
        return r;
    }
    if (call->client->readonly && (args->flags & (XML_SECURE | XML_MIGRATABLE))) {
        return fault(err, DOM_DOMAIN, OPERATION_DENIED, "virDomainGetXMLDesc with secure flag");
    }
    xml = domain_xml(d, args->flags, err);
    ret->xml = xml != NULL ? arena_strdup(&call->arena, xml) : NULL;
    return ret->xml != NULL ? 0 : -ENOMEM;
}

static int get_state(struct call *call, const struct remote_domain_get_state_args *args,
                     struct remote_domain_get_state_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = flags_check(call, args->flags, 0, err);

    r = r == 0 ? domain_of_call(call, &args->dom, &d, err) : r;
    if (r == 0) {
        ret->state = (int)d->state;
        ret->reason = d->reason;
    }
    return r;
}

static int get_info(struct call *call, const struct remote_domain_get_info_args *args,
                    struct remote_domain_get_info_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    uint64_t cpu = 0, mem;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r < 0) {
        return r;
    }
    ret->state = (uint8_t)d->state;
    ret->maxMem = node_get_u64(d->def, "memory", 0);
    mem = node_get_u64(d->def, "currentMemory", ret->maxMem);
    ret->nrVirtCpu =
        (uint16_t)node_get_u64(d->def, "vcpu/@current", node_get_u64(d->def, "vcpu", 1));
    if (domain_active(d) && DRV(call)->usage != NULL) {
        DRV(call)->usage(d, &cpu, &mem);
    }
    ret->memory = mem;
    ret->cpuTime = cpu;
    return 0;
}

#define GETTER(fn, member, value)                                                  \
    static int fn(struct call *call, const struct remote_domain_##fn##_args *args, \
                  struct remote_domain_##fn##_ret *ret, struct err **err)          \
    {                                                                              \
        AUTO_DOMAIN struct domain *d = NULL;                                       \
        int r = domain_of_call(call, &args->dom, &d, err);                         \
                                                                                   \
        if (r == 0) {                                                              \
            ret->member = value;                                                   \
        }                                                                          \
        return r;                                                                  \
    }

GETTER(is_active, active, domain_active(d))
GETTER(is_persistent, persistent, d->persistent)
GETTER(is_updated, updated, d->updated)
GETTER(get_autostart, autostart, d->autostart)
GETTER(get_max_memory, memory, node_get_u64(d->def, "memory", 0))
GETTER(get_max_vcpus, num, (int32_t)node_get_u64(d->def, "vcpu", 1))
GETTER(get_os_type, type_, arena_strdup(&call->arena, node_get(d->def, "os/type")))
GETTER(has_managed_save_image, result, d->has_managed_save)

static int get_scheduler_type(struct call *call,
                              const struct remote_domain_get_scheduler_type_args *args,
                              struct remote_domain_get_scheduler_type_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    bool test = str_eq(DRV(call)->scheme, "test");
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r == 0) {
        /* A run has no cgroup of its own, so that nothing schedules it but the kernel's default. */
        bool unknown = !test && domain_active(d);

        ret->type_ = arena_strdup(&call->arena, test ? "fair" : unknown ? "Unknown" : "posix");
        ret->nparams = test ? 1 : 9;
    }
    return r;
}

static int get_control_info(struct call *call,
                            const struct remote_domain_get_control_info_args *args,
                            struct remote_domain_get_control_info_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_check_active(d, err) : r;
    if (r == 0) {
        ret->state = d->job != NULL ? 1 : 0; /* a job, or nothing */
        ret->stateTime = 0;
    }
    return r;
}

/* ---- defining ---- */

/* An update of what exists must not change its uuid or name; *ret: what exists. */
static int match_existing(struct call *call, const struct node *def, struct domain **ret,
                          struct err **err)
{
    const char *name = node_get(def, "name"), *uuid = node_get(def, "uuid");
    struct domain *by_name = domain_by_name(call->world, name);
    struct domain *by_uuid = hash_get(call->world->by_uuid, uuid);

    if (by_uuid != NULL && by_uuid != by_name) {
        return err_set(err, FAULT_CODE(DOM_DOMAIN, OPERATION_FAILED),
                       "domain '%s' is already defined with uuid %s", by_uuid->name, uuid);
    }
    if (by_name != NULL && by_uuid == NULL) {
        return err_set(err, FAULT_CODE(DOM_DOMAIN, OPERATION_FAILED),
                       "domain '%s' already exists with uuid %s", name, by_name->uuid_text);
    }
    *ret = by_name;
    return 0;
}

static int parse(struct call *call, const char *xml, struct node **ret, struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    int r = schema_parse(xml, &schema_domain, DOM_DOMAIN, false, &def, err);

    r = r == 0 ? DRV(call)->complete(call->world, def, err) : r;
    if (r == 0) {
        *ret = TAKE_PTR(def);
    }
    return r;
}

static int define(struct call *call, const char *xml, unsigned flags, struct remote_domain *ret,
                  struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    struct domain *d = NULL;
    bool added = false, was_persistent;
    int r = flags_check(call, flags, DEFINE_VALIDATE, err);

    r = r == 0 ? parse(call, xml, &def, err) : r;
    r = r == 0 ? match_existing(call, def, &d, err) : r;
    if (r < 0) {
        return r;
    }
    if (d == NULL) {
        r = domain_add(call->world, TAKE_PTR(def), &d, err);
        if (r < 0) {
            return r;
        }
        added = true;
        d->persistent = true;
        domain_ref(d);
        r = domain_save_config(d, err);
        if (r < 0) {
            domain_remove(d);
            domain_unref(d);
            return r;
        }
    } else {
        struct node *old;

        domain_ref(d);
        r = domain_job_begin(d, call_api_name(call), err);
        if (r < 0) {
            domain_unref(d);
            return r;
        }
        was_persistent = d->persistent;
        if (domain_active(d)) {
            old = d->next;
            d->next = TAKE_PTR(def);
        } else {
            old = d->def;
            d->def = TAKE_PTR(def);
        }
        d->persistent = true;
        r = domain_save_config(d, err);
        if (r < 0) {
            /* As it was before. */
            if (domain_active(d)) {
                node_free(d->next);
                d->next = old;
            } else {
                node_free(d->def);
                d->def = old;
            }
            d->persistent = was_persistent;
        } else {
            node_free(old);
            d->updated = true;
        }
        domain_job_end(d);
    }
    if (r == 0) {
        domain_emit(d, EVENT_DEFINED, added ? DEFINED_ADDED : DEFINED_UPDATED);
        domain_to_wire(d, &call->arena, ret);
    }
    domain_unref(d);
    return r;
}

static int define_xml(struct call *call, const struct remote_domain_define_xml_args *args,
                      struct remote_domain_define_xml_ret *ret, struct err **err)
{
    return define(call, args->xml, 0, &ret->dom, err);
}

static int define_xml_flags(struct call *call,
                            const struct remote_domain_define_xml_flags_args *args,
                            struct remote_domain_define_xml_flags_ret *ret, struct err **err)
{
    return define(call, args->xml, args->flags, &ret->dom, err);
}

static int undefine(struct call *call, const struct remote_domain *wire, unsigned flags,
                    struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, wire, &d, err);

    if (r < 0) {
        return r;
    }
    if (!d->persistent) {
        return err_set(err, FAULT_CODE(DRV(call)->fault_domain, OPERATION_INVALID),
                       "cannot undefine transient domain");
    }
    r = domain_job_begin(d, call_api_name(call), err);
    if (r < 0) {
        return r;
    }
    if (DRV(call)->undefine != NULL) {
        r = DRV(call)->undefine(d, flags, err);
    }
    if (r == 0) {
        domain_delete_config(d);
        d->persistent = false;
        d->autostart = false;
        d->next = node_free(d->next);
    }
    domain_job_end(d);
    if (r == 0) {
        domain_emit(d, EVENT_UNDEFINED, UNDEFINED_REMOVED);
        if (!domain_active(d)) {
            domain_remove(d);
        }
    }
    return r;
}

static int undefine_plain(struct call *call, const struct remote_domain_undefine_args *args,
                          struct err **err)
{
    return undefine(call, &args->dom, 0, err);
}

static int undefine_flags(struct call *call, const struct remote_domain_undefine_flags_args *args,
                          struct err **err)
{
    return undefine(call, &args->dom, args->flags, err);
}

static int set_autostart(struct call *call, const struct remote_domain_set_autostart_args *args,
                         struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r < 0) {
        return r;
    }
    if (!d->persistent) {
        return err_set(err, FAULT_CODE(DRV(call)->fault_domain, OPERATION_INVALID),
                       "cannot set autostart for transient domain");
    }
    return d->autostart == (args->autostart != 0)
               ? 0
               : domain_set_autostart(d, args->autostart != 0, err);
}

/* ---- life cycle ---- */

static int start(struct call *call, struct domain *d, unsigned flags, struct err **err)
{
    int r;

    WANT(start);
    r = domain_job_begin(d, call_api_name(call), err);
    if (r < 0) {
        return r;
    }
    if (domain_active(d)) {
        r = fault(err, DOM_DOMAIN, OPERATION_INVALID, "domain is already running");
    } else {
        r = DRV(call)->start(d, flags, err);
        if (r == 0 && (flags & START_AUTODESTROY)) {
            r = autodestroy_set(d, call->client, err);
            if (r < 0) {
                (void)DRV(call)->destroy(d, NULL);
            }
        }
    }
    domain_job_end(d);
    return r;
}

static int create(struct call *call, const struct remote_domain_create_args *args, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    return r == 0 ? start(call, d, 0, err) : r;
}

static int create_with_flags(struct call *call,
                             const struct remote_domain_create_with_flags_args *args,
                             struct remote_domain_create_with_flags_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = flags_check(call, args->flags, START_KNOWN, err);

    r = r == 0 ? domain_of_call(call, &args->dom, &d, err) : r;
    r = r == 0 ? start(call, d, args->flags, err) : r;
    if (r == 0) {
        domain_to_wire(d, &call->arena, &ret->dom);
    }
    return r;
}

static int create_xml(struct call *call, const struct remote_domain_create_xml_args *args,
                      struct remote_domain_create_xml_ret *ret, struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    AUTO_DOMAIN struct domain *d = NULL;
    struct domain *have = NULL;
    int r = flags_check(call, args->flags, START_KNOWN, err);

    WANT(start);
    r = r == 0 ? parse(call, args->xml_desc, &def, err) : r;
    r = r == 0 ? match_existing(call, def, &have, err) : r;
    if (r < 0) {
        return r;
    }
    if (have != NULL && domain_active(have)) {
        return fault(err, DOM_DOMAIN, OPERATION_INVALID, "domain '%s' is already active",
                     have->name);
    }
    if (have != NULL) {
        /* A persistent one is started once with this definition. */
        d = domain_ref(have);
        d->next = d->def;
        d->def = TAKE_PTR(def);
    } else {
        r = domain_add(call->world, TAKE_PTR(def), &have, err);
        if (r < 0) {
            return r;
        }
        d = domain_ref(have);
    }
    r = start(call, d, args->flags, err);
    if (r < 0) {
        if (d->next != NULL && !domain_active(d)) {
            node_free(d->def);
            d->def = TAKE_PTR(d->next);
        }
        if (!d->persistent && d->world != NULL && !domain_active(d)) {
            domain_remove(d);
        }
        return r;
    }
    domain_to_wire(d, &call->arena, &ret->dom);
    return 0;
}

typedef int active_op(struct domain *d, struct err **err);

static int on_active(struct call *call, const struct remote_domain *wire, active_op *op,
                     struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, wire, &d, err);

    if (r < 0) {
        return r;
    }
    if (op == NULL) {
        return fault(err, DOM_DOMAIN, NO_SUPPORT, "%s", call_api_name(call));
    }
    r = domain_job_begin(d, call_api_name(call), err);
    if (r < 0) {
        return r;
    }
    r = domain_check_active(d, err);
    r = r == 0 ? op(d, err) : r;
    domain_job_end(d);
    return r;
}

/* Ending a domain must not wait for what hangs in it. */
static int end(struct call *call, const struct remote_domain *wire, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, wire, &d, err);

    WANT(destroy);
    r = r == 0 ? domain_check_active(d, err) : r;
    return r == 0 ? DRV(call)->destroy(d, err) : r;
}

static int destroy(struct call *call, const struct remote_domain_destroy_args *args,
                   struct err **err)
{
    return end(call, &args->dom, err);
}

static int destroy_flags(struct call *call, const struct remote_domain_destroy_flags_args *args,
                         struct err **err)
{
    int r = flags_check(call, args->flags, 3, err);

    return r == 0 ? end(call, &args->dom, err) : r;
}

static int suspend(struct call *call, const struct remote_domain_suspend_args *args,
                   struct err **err)
{
    return on_active(call, &args->dom, DRV(call)->suspend, err);
}

static int resume(struct call *call, const struct remote_domain_resume_args *args, struct err **err)
{
    return on_active(call, &args->dom, DRV(call)->resume, err);
}

static int reset(struct call *call, const struct remote_domain_reset_args *args, struct err **err)
{
    int r = flags_check(call, args->flags, 0, err);

    return r == 0 ? on_active(call, &args->dom, DRV(call)->reset, err) : r;
}

static int with_flags(struct call *call, const struct remote_domain *wire, unsigned flags,
                      int (*op)(struct domain *d, unsigned flags, struct err **err),
                      struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, wire, &d, err);

    if (r == 0 && op == NULL) {
        return fault(err, DOM_DOMAIN, NO_SUPPORT, "%s", call_api_name(call));
    }
    r = r == 0 ? domain_job_begin(d, call_api_name(call), err) : r;
    if (r < 0) {
        return r;
    }
    r = domain_check_active(d, err);
    r = r == 0 ? op(d, flags, err) : r;
    domain_job_end(d);
    return r;
}

static int shut_down(struct call *call, const struct remote_domain_shutdown_args *args,
                     struct err **err)
{
    return with_flags(call, &args->dom, 0, DRV(call)->shutdown, err);
}

static int shutdown_flags(struct call *call, const struct remote_domain_shutdown_flags_args *args,
                          struct err **err)
{
    return with_flags(call, &args->dom, args->flags, DRV(call)->shutdown, err);
}

static int reboot(struct call *call, const struct remote_domain_reboot_args *args, struct err **err)
{
    return with_flags(call, &args->dom, args->flags, DRV(call)->reboot, err);
}

/* ---- metadata and name ---- */

enum { METADATA_DESCRIPTION, METADATA_TITLE, METADATA_ELEMENT };

/* The element of the metadata with that namespace. */
static struct node *metadata_find(const struct node *def, const char *uri)
{
    for (struct node *e = node_child(def, "metadata") ? node_child(def, "metadata")->first : NULL;
         e != NULL; e = e->next) {
        for (unsigned i = 0; i < e->n_attrs; i++) {
            if (str_starts(e->attrs[i].name, "xmlns") && str_eq(e->attrs[i].value, uri)) {
                return e;
            }
        }
    }
    return NULL;
}

static int get_metadata(struct call *call, const struct remote_domain_get_metadata_args *args,
                        struct remote_domain_get_metadata_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct node *def;
    const char *v = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_def_of(d, args->flags, &def, err) : r;
    if (r < 0) {
        return r;
    }
    switch (args->type_) {
    case METADATA_DESCRIPTION:
    case METADATA_TITLE:
        v = node_get(def, args->type_ == METADATA_TITLE ? "title" : "description");
        if (v == NULL) {
            return fault(err, DOM_DOMAIN, NO_DOMAIN_METADATA,
                         "Requested metadata element is not present");
        }
        ret->metadata = arena_strdup(&call->arena, v);
        break;
    case METADATA_ELEMENT: {
        struct node *e = args->uri != NULL ? metadata_find(def, args->uri) : NULL;
        AUTO_FREE char *xml = NULL;

        if (e == NULL) {
            return fault(err, DOM_DOMAIN, NO_DOMAIN_METADATA,
                         "Requested metadata element is not present");
        }
        xml = metadata_to_xml(e, args->uri);
        if (xml == NULL) {
            return -ENOMEM;
        }
        ret->metadata = arena_strdup(&call->arena, xml);
        break;
    }
    default:
        return fault(err, DOM_DOMAIN, INVALID_ARG, "unsupported metadata type %d", args->type_);
    }
    return ret->metadata != NULL ? 0 : -ENOMEM;
}

static int change_metadata(struct node *def, const struct remote_domain_set_metadata_args *args,
                           struct err **err)
{
    struct node *m;

    if (args->type_ != METADATA_ELEMENT) {
        const char *text =
            args->metadata != NULL && *args->metadata != '\0' ? args->metadata : NULL;

        if (args->type_ == METADATA_TITLE && text != NULL && strchr(text, '\n') != NULL) {
            return fault(err, DOM_DOMAIN, INVALID_ARG, "metadata title can't contain newlines");
        }
        return node_set(def, args->type_ == METADATA_TITLE ? "title" : "description", text);
    }
    m = metadata_find(def, args->uri);
    if (m != NULL) {
        node_free(node_detach(m));
    }
    if (args->metadata == NULL) {
        m = node_child(def, "metadata");
        if (m != NULL && m->first == NULL) {
            node_free(node_detach(m));
        }
        return 0;
    }
    return metadata_add(def, args->metadata, args->key, args->uri, err);
}

static int set_metadata(struct call *call, const struct remote_domain_set_metadata_args *args,
                        struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct node *live, *config;
    struct remote_domain_event_callback_metadata_change_msg msg = { 0 };
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_job_begin(d, call_api_name(call), err) : r;
    if (r < 0) {
        return r;
    }
    r = domain_affects(d, args->flags, &live, &config, err);
    if (r == 0 && live != NULL) {
        r = change_metadata(live, args, err);
    }
    if (r == 0 && config != NULL && config != live) {
        r = change_metadata(config, args, err);
        r = r == 0 ? domain_save_config(d, err) : r;
    }
    domain_job_end(d);
    if (r == 0) {
        struct event_message m = {
            .class = EVENT_DOMAIN,
            .event = DOMAIN_EVENT_METADATA_CHANGE,
            .object = d->uuid_text,
            .program = &remote_program,
            .proc = REMOTE_DOMAIN_EVENT_CALLBACK_METADATA_CHANGE,
            .msg = &msg,
        };

        domain_to_wire(d, &call->arena, &msg.dom);
        msg.type_ = args->type_;
        msg.nsuri = args->uri;
        event_send(call->world->server, call->world, &m);
    }
    return r;
}

static int rename_domain(struct call *call, const struct remote_domain_rename_args *args,
                         struct remote_domain_rename_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    AUTO_FREE char *old = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r < 0) {
        return r;
    }
    if (args->new_name == NULL || *args->new_name == '\0') {
        return fault(err, DOM_DOMAIN, INVALID_ARG, "new_name is empty");
    }
    if (strchr(args->new_name, '/') != NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "name %s cannot contain '/'", args->new_name);
    }
    if (domain_active(d)) {
        return err_set(err, FAULT_CODE(DRV(call)->fault_domain, OPERATION_INVALID),
                       "cannot rename active domain");
    }
    if (!d->persistent) {
        return err_set(err, FAULT_CODE(DRV(call)->fault_domain, OPERATION_INVALID),
                       "cannot rename a transient domain");
    }
    if (str_eq(args->new_name, d->name)) {
        return fault(err, DOM_DOMAIN, OPERATION_INVALID, "Can't rename domain to itself");
    }
    if (domain_by_name(call->world, args->new_name) != NULL) {
        return fault(err, DOM_DOMAIN, OPERATION_INVALID, "domain with name '%s' already exists",
                     args->new_name);
    }
    if (!list_empty(&d->snapshots)) {
        return err_set(err, FAULT_CODE(DRV(call)->fault_domain, OPERATION_INVALID),
                       "cannot rename domain with snapshots");
    }
    r = domain_job_begin(d, call_api_name(call), err);
    if (r < 0) {
        return r;
    }
    old = strdup(d->name);
    domain_emit(d, EVENT_UNDEFINED, UNDEFINED_RENAMED);
    {
        bool autostart = d->autostart;

        domain_delete_config(d);
        r = domain_rename(d, args->new_name);
        r = r == 0 ? domain_save_config(d, err) : r;
        if (r < 0 && old != NULL) {
            (void)domain_rename(d, old);
            int back = domain_save_config(d, NULL);

            r = back < 0 ? back : r;
        }
        if (autostart) {
            int linked = domain_set_autostart(d, true, NULL);

            r = r == 0 ? linked : r;
        }
    }
    domain_job_end(d);
    if (r == 0) {
        domain_emit(d, EVENT_DEFINED, DEFINED_RENAMED);
    }
    ret->retcode = 0;
    return r;
}

const struct remote_ops calls_domain = {
    .domain_lookup_by_name = lookup_by_name,
    .domain_lookup_by_uuid = lookup_by_uuid,
    .domain_lookup_by_id = lookup_by_id,
    .connect_list_all_domains = list_all,
    .connect_num_of_domains = num_of_domains,
    .connect_num_of_defined_domains = num_of_defined,
    .connect_list_domains = list_ids,
    .connect_list_defined_domains = list_defined,
    .domain_get_xml_desc = get_xml_desc,
    .domain_get_state = get_state,
    .domain_get_info = get_info,
    .domain_is_active = is_active,
    .domain_is_persistent = is_persistent,
    .domain_is_updated = is_updated,
    .domain_get_autostart = get_autostart,
    .domain_get_max_memory = get_max_memory,
    .domain_get_max_vcpus = get_max_vcpus,
    .domain_get_os_type = get_os_type,
    .domain_has_managed_save_image = has_managed_save_image,
    .domain_get_scheduler_type = get_scheduler_type,
    .domain_get_control_info = get_control_info,
    .domain_define_xml = define_xml,
    .domain_define_xml_flags = define_xml_flags,
    .domain_undefine = undefine_plain,
    .domain_undefine_flags = undefine_flags,
    .domain_set_autostart = set_autostart,
    .domain_create = create,
    .domain_create_with_flags = create_with_flags,
    .domain_create_xml = create_xml,
    .domain_destroy = destroy,
    .domain_destroy_flags = destroy_flags,
    .domain_suspend = suspend,
    .domain_resume = resume,
    .domain_reset = reset,
    .domain_shutdown = shut_down,
    .domain_shutdown_flags = shutdown_flags,
    .domain_reboot = reboot,
    .domain_get_metadata = get_metadata,
    .domain_set_metadata = set_metadata,
    .domain_rename = rename_domain,
};
