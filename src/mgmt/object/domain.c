/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/object/domain.h"

#include "base/arena.h"
#include "base/log.h"
#include "mgmt/driver/driver.h"
#include "mgmt/model/domain/domain.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/files.h"
#include "mgmt/object/snapshot.h"
#include "mgmt/server/client.h"
#include "mgmt/server/event.h"
#include "mgmt/server/lock.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/path.h"
#include "rpc/fault.h"
#include "rpc/protocol/remote.h"

#include <errno.h>

enum { JOB_WAIT_USEC = 30000000 };

struct domain *domain_ref(struct domain *d)
{
    d->refs++;
    return d;
}

struct domain *domain_unref(struct domain *d)
{
    if (d == NULL || --d->refs > 0) {
        return NULL;
    }
    snapshot_forget_all(d);
    node_free(d->def);
    node_free(d->next);
    free(d->name);
    pthread_cond_destroy(&d->job_cond);
    free(d);
    return NULL;
}

int domain_add(struct world *w, struct node *def, struct domain **ret, struct err **err)
{
    const char *name = node_get(def, "name");
    struct domain *d = calloc(1, sizeof(*d));
    int r;

    (void)err;
    if (d == NULL) {
        node_free(def);
        return -ENOMEM;
    }
    d->refs = 1;
    d->id = -1;
    d->def = def;
    d->state = STATE_SHUTOFF;
    d->reason = SHUTOFF_UNKNOWN;
    d->name = strdup(name);
    list_init(&d->link);
    list_init(&d->snapshots);
    list_init(&d->checkpoints);
    lock_cond_init(&d->job_cond);
    (void)uuid_parse(node_get(def, "uuid"), d->uuid);
    uuid_format(d->uuid, d->uuid_text);
    r = d->name != NULL ? hash_add(w->by_name, name, d) : -ENOMEM;
    if (r == 0) {
        r = hash_add(w->by_uuid, d->uuid_text, d);
        if (r < 0) {
            (void)hash_remove(w->by_name, name);
        }
    }
    if (r < 0) {
        domain_unref(d);
        return r;
    }
    d->world = w;
    list_append(&w->domains, &d->link);
    w->n_domains++;
    *ret = d;
    return 0;
}

void domain_remove(struct domain *d)
{
    struct world *w = d->world;

    if (w == NULL) {
        return;
    }
    (void)hash_remove(w->by_name, d->name);
    (void)hash_remove(w->by_uuid, d->uuid_text);
    list_remove(&d->link);
    w->n_domains--;
    d->world = NULL;
    domain_unref(d);
}

int domain_rename(struct domain *d, const char *name)
{
    char *copy = strdup(name);
    int r = copy != NULL ? hash_add(d->world->by_name, name, d) : -ENOMEM;

    if (r == 0) {
        r = node_set(d->def, "name", name);
    }
    if (r < 0) {
        free(copy);
        return r;
    }
    (void)hash_remove(d->world->by_name, d->name);
    free(d->name);
    d->name = copy;
    return 0;
}

struct domain *domain_by_name(struct world *w, const char *name)
{
    return hash_get(w->by_name, name);
}

struct domain *domain_by_uuid(struct world *w, const uint8_t uuid[16])
{
    char text[UUID_TEXT_BYTES];

    uuid_format(uuid, text);
    return hash_get(w->by_uuid, text);
}

struct domain *domain_by_id(struct world *w, int id)
{
    LIST_FOREACH (&w->domains, it) {
        struct domain *d = CONTAINER_OF(it, struct domain, link);

        if (d->id == id && id >= 0) {
            return d;
        }
    }
    return NULL;
}

int domain_of_call(struct call *call, const struct remote_domain *wire, struct domain **ret,
                   struct err **err)
{
    char text[UUID_TEXT_BYTES];
    struct domain *d;

    uuid_format(wire->uuid, text);
    d = hash_get(call->world->by_uuid, text);
    if (d == NULL) {
        return err_set(err, FAULT_CODE(call->world->driver->fault_domain, NO_DOMAIN),
                       "no domain with matching uuid '%s' (%s)", text, wire->name);
    }
    *ret = domain_ref(d);
    return 0;
}

void domain_to_wire(const struct domain *d, struct arena *a, struct remote_domain *ret)
{
    ret->name = arena_strdup(a, d->name);
    memcpy(ret->uuid, d->uuid, 16);
    ret->id = d->id;
}

int domain_check_active(const struct domain *d, struct err **err)
{
    return domain_active(d) ? 0
                            : fault(err, DOM_DOMAIN, OPERATION_INVALID, "domain is not running");
}

struct node *domain_config(const struct domain *d)
{
    return d->next != NULL ? d->next : d->def;
}

int domain_affects(struct domain *d, unsigned flags, struct node **ret_live,
                   struct node **ret_config, struct err **err)
{
    *ret_live = *ret_config = NULL;
    if ((flags & (AFFECT_LIVE | AFFECT_CONFIG)) == 0) {
        flags |= domain_active(d) ? AFFECT_LIVE : AFFECT_CONFIG;
    }
    if (flags & AFFECT_LIVE) {
        int r = domain_check_active(d, err);

        if (r < 0) {
            return r;
        }
        *ret_live = d->def;
    }
    if (flags & AFFECT_CONFIG) {
        if (!d->persistent) {
            return fault(err, DOM_DOMAIN, OPERATION_INVALID,
                         "transient domains do not have any persistent config");
        }
        *ret_config = domain_config(d);
    }
    return 0;
}

int domain_def_of(struct domain *d, unsigned flags, struct node **ret, struct err **err)
{
    struct node *live, *config;
    int r = domain_affects(d, flags & (AFFECT_LIVE | AFFECT_CONFIG), &live, &config, err);

    if (r == 0) {
        *ret = live != NULL ? live : config;
    }
    return r;
}

int domain_job_begin(struct domain *d, const char *api, struct err **err)
{
    uint64_t until = loop_now_usec() + JOB_WAIT_USEC;

    while (d->job != NULL) {
        if (!lock_wait(&d->job_cond, until)) {
            return fault(err, DOM_QEMU, OPERATION_TIMEOUT,
                         "cannot acquire state change lock (held by monitor=%s)", d->job);
        }
    }
    if (d->world == NULL) {
        return fault(err, DOM_QEMU, NO_DOMAIN, "no domain with matching uuid '%s' (%s)",
                     d->uuid_text, d->name);
    }
    d->job = api;
    d->job_start_usec = loop_now_usec();
    return 0;
}

void domain_job_end(struct domain *d)
{
    d->job = NULL;
    pthread_cond_signal(&d->job_cond);
}

/* A copy without what only a run or its owner may see. */
static struct node *public_copy(const struct node *def)
{
    struct node *n = node_copy(def);

    if (n == NULL) {
        return NULL;
    }
    for (struct node *g = node_child(domain_devices(n), "graphics"); g != NULL;
         g = node_next(g, "graphics")) {
        (void)node_set(g, "@passwd", NULL);
    }
    return n;
}

char *domain_xml(struct domain *d, unsigned flags, struct err **err)
{
    bool inactive = (flags & XML_INACTIVE) != 0;
    const struct node *def =
        (inactive || (flags & XML_MIGRATABLE)) && d->next != NULL ? d->next : d->def;
    struct node *copy = NULL;
    char *xml;

    (void)err;
    if (node_child(domain_devices(def), "graphics") != NULL && !(flags & XML_SECURE)) {
        copy = public_copy(def);
        if (copy == NULL) {
            return NULL;
        }
        def = copy;
    }
    xml = node_to_xml(def);
    node_free(copy);
    return xml;
}

void domain_set_state(struct domain *d, enum domain_state state, int reason)
{
    d->state = state;
    d->reason = reason;
}

void domain_emit(struct domain *d, int event, int detail)
{
    struct remote_domain_event_lifecycle_msg old = { .event = event, .detail = detail };
    struct remote_domain_event_callback_lifecycle_msg msg = { 0 };
    struct event_message m = {
        .class = EVENT_DOMAIN,
        .event = DOMAIN_EVENT_LIFECYCLE,
        .object = d->uuid_text,
        .program = &remote_program,
        .proc = REMOTE_DOMAIN_EVENT_CALLBACK_LIFECYCLE,
        .msg = &msg,
        .legacy_proc = REMOTE_DOMAIN_EVENT_LIFECYCLE,
        .legacy_msg = &old,
    };

    old.dom.name = d->name;
    memcpy(old.dom.uuid, d->uuid, 16);
    old.dom.id = d->id;
    msg.msg = old;
    if (d->world != NULL) {
        event_send(d->world->server, d->world, &m);
    }
}

static char *config_path(const struct domain *d)
{
    return d->world->config_dir != NULL
               ? str_format("%s/%s/%s.xml", d->world->config_dir, d->world->driver->scheme, d->name)
               : NULL;
}

static char *autostart_path(const struct domain *d)
{
    return d->world->config_dir != NULL ? str_format("%s/%s/autostart/%s.xml", d->world->config_dir,
                                                     d->world->driver->scheme, d->name)
                                        : NULL;
}

int domain_save_config(struct domain *d, struct err **err)
{
    AUTO_FREE char *path = config_path(d);

    return path != NULL ? files_write_node(path, domain_config(d), err) : 0;
}

int domain_set_autostart(struct domain *d, bool on, struct err **err)
{
    AUTO_FREE char *path = autostart_path(d);
    AUTO_FREE char *target = config_path(d);
    int r;

    if (path != NULL && target != NULL) {
        r = files_link(target, path, on, err);
        if (r < 0) {
            return r;
        }
    }
    d->autostart = on;
    return 0;
}

void domain_delete_config(struct domain *d)
{
    AUTO_FREE char *path = config_path(d);
    AUTO_FREE char *link = autostart_path(d);

    if (path != NULL) {
        (void)unlink(path);
    }
    if (link != NULL) {
        (void)unlink(link);
    }
}

static int load_one(struct world *w, const char *path, struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    AUTO_FREE char *auto_path = NULL;
    struct domain *d;
    int r = files_read_node(path, &schema_domain, false, &def, err);

    r = r == 0 ? w->driver->complete(w, def, err) : r;
    if (r == 0) {
        r = domain_add(w, TAKE_PTR(def), &d, err);
    }
    if (r < 0) {
        return r;
    }
    d->persistent = true;
    auto_path = autostart_path(d);
    d->autostart = auto_path != NULL && path_exists(auto_path);
    if (w->driver->managed_save_path != NULL) {
        AUTO_FREE char *save = w->driver->managed_save_path(d);

        d->has_managed_save = save != NULL && path_exists(save);
    }
    return 0;
}

int domain_load_all(struct world *w, struct err **err)
{
    AUTO_FREE char *dir = str_format("%s/%s", w->config_dir, w->driver->scheme);

    (void)err;
    return dir != NULL ? files_each(dir, ".xml", load_one, w) : -ENOMEM;
}
