/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/migration.h"

#include "base/str.h"
#include "codec/addr.h"
#include "mgmt/daemon/autodestroy.h"
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/ports.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/model/schema.h"
#include "mgmt/server/lock.h"
#include "os/loop.h"

#include <errno.h>

enum { PORT_FIRST = 49152, PORT_LAST = 49215, POLL_USEC = 50000, ARRIVE_USEC = 60000000 };

/* Where to listen and what the source is told, from what the client asked for. */
static int choose_uri(struct run *r, const struct migration *m, char **ret_listen, char **ret_out,
                      struct err **err)
{
    AUTO_FREE char *host = NULL;
    const char *listen = m->listen != NULL ? m->listen : migration_address();
    unsigned port = 0;

    if (m->uri != NULL) {
        const char *s = strchr(m->uri, ':');
        struct addr a = { 0 };

        if (s == NULL || !str_starts(m->uri, "tcp:")) {
            return fault(err, DOM_QEMU, ARGUMENT_UNSUPPORTED,
                         "unsupported scheme in migration URI %s", m->uri);
        }
        s += str_starts(s, "://") ? 3 : 1;
        if (strrchr(s, ':') != NULL && (*s != '[' || strchr(s, ']')[1] == ':') &&
            addr_parse(s, &a, NULL) == 0) {
            port = a.port;
            host = strdup(a.host);
            addr_done(&a);
        } else {
            host = *s == '[' ? strndup(s + 1, strcspn(s + 1, "]")) : strndup(s, strcspn(s, "/:"));
        }
    } else {
        host = migration_host();
    }
    if (host == NULL) {
        return -ENOMEM;
    }
    if (port == 0) {
        int e = ports_take(PORT_FIRST, PORT_LAST, &port, err);

        if (e < 0) {
            return e;
        }
        r->migrate_port = port;
    }
    *ret_listen = strchr(listen, ':') != NULL ? str_format("tcp:[%s]:%u", listen, port)
                                              : str_format("tcp:%s:%u", listen, port);
    *ret_out = strchr(host, ':') != NULL ? str_format("tcp:[%s]:%u", host, port)
                                         : str_format("tcp:%s:%u", host, port);
    return *ret_listen != NULL && *ret_out != NULL ? 0 : -ENOMEM;
}

static int listen_for(struct domain *d, const struct migration *m, const char *uri,
                      struct err **err)
{
    struct json_object *a;
    int r = migration_set_up(d, m, true, NULL, err);

    if (r < 0) {
        return r;
    }
    a = json_object_new_object();
    (void)json_add_str(a, "uri", uri);
    return monitor_run(run_of(d)->qmp, "migrate-incoming", a, NULL, err);
}

/* The definition into the world: a new domain, or the one that is defined here and does not run. */
static int place(struct world *w, struct node *def, struct domain **ret, struct err **err)
{
    struct domain *d = hash_get(w->by_uuid, node_get(def, "uuid"));
    int r;

    if (d == NULL) {
        return domain_add(w, def, ret, err);
    }
    if (!str_eq(d->name, node_get(def, "name"))) {
        r = fault(err, DOM_DOMAIN, OPERATION_FAILED, "domain '%s' is already defined with uuid %s",
                  d->name, d->uuid_text);
    } else if (domain_active(d)) {
        r = fault(err, DOM_DOMAIN, OPERATION_INVALID, "domain is already active as '%s'", d->name);
    } else {
        d->next = d->def;
        d->def = def;
        *ret = d;
        return 0;
    }
    node_free(def);
    return r;
}

int migration_prepare(struct world *w, struct client *client, const struct migration *m,
                      const char *cookie, char **ret_uri, char **ret_cookie, struct err **err)
{
    struct start_spec spec = {
        .paused = true, .incoming_fd = -1, .incoming = "defer", .quiet = true
    };
    CLEANUP(node_freep) struct node *def = NULL;
    AUTO_DOMAIN struct domain *d = NULL;
    AUTO_FREE char *listen = NULL;
    struct domain *placed;
    int r;

    if (m->dest_xml == NULL) {
        return fault(err, DOM_QEMU, INTERNAL_ERROR, "no domain XML passed");
    }
    r = schema_parse(m->dest_xml, &schema_domain, DOM_DOMAIN, false, &def, err);
    if (r == 0 && m->dest_name != NULL) {
        r = node_set(def, "name", m->dest_name);
    }
    r = r == 0 ? w->driver->complete(w, def, err) : r;
    r = r == 0 ? place(w, TAKE_PTR(def), &placed, err) : r;
    if (r < 0) {
        return r;
    }
    d = domain_ref(placed);
    r = domain_job_begin(d, "virDomainMigratePrepare", err);
    r = r == 0 ? migration_check_cookie(d, cookie, err) : r;
    if (r == 0 && (m->flags & MIGRATE_OFFLINE)) {
        AUTO_FREE char *host = migration_host();

        /* Nothing is sent there; clients want one all the same. */
        *ret_uri = str_format("tcp:%s:%u", host != NULL ? host : "localhost", PORT_FIRST);
    } else if (r == 0) {
        r = process_start(d, &spec, err);
        if (r == 0) {
            run_of(d)->migration = MIGRATION_INCOMING;
            r = autodestroy_set(d, client, err);
            r = r == 0 ? choose_uri(run_of(d), m, &listen, ret_uri, err) : r;
            r = r == 0 ? listen_for(d, m, listen, err) : r;
            if (r < 0) {
                (void)process_stop(d, SHUTOFF_FAILED, -1, NULL);
            }
        }
    }
    if (r == 0) {
        *ret_cookie = migration_cookie(d);
        r = *ret_cookie != NULL ? 0 : -ENOMEM;
    }
    if (r == 0 && domain_active(d)) {
        domain_emit(d, EVENT_STARTED, STARTED_MIGRATED);
    }
    if (d->job != NULL) {
        domain_job_end(d);
    }
    if (r < 0 && d->world != NULL && !domain_active(d) && !d->persistent) {
        domain_remove(d);
    }
    return r;
}

/* All has come, and the emulator could make a machine of it. */
static int wait_arrival(struct domain *d, struct err **err)
{
    struct run *r = run_of(d);
    uint64_t until = loop_now_usec() + ARRIVE_USEC;

    for (;;) {
        AUTO_JSON struct json_object *o = NULL;
        const char *status;
        int result;

        if (r->domain == NULL) {
            return fault(err, DOM_QEMU, OPERATION_FAILED, "domain is not running");
        }
        result = monitor_run(r->qmp, "query-migrate", NULL, &o, err);
        if (result < 0) {
            return result;
        }
        status = json_str_or(o, "status", "");
        if (str_eq(status, "completed") || str_eq(status, "postcopy-active")) {
            return 0;
        }
        if (str_eq(status, "failed") || loop_now_usec() > until) {
            return fault(err, DOM_QEMU, OPERATION_FAILED, "job 'migration in' failed%s%s",
                         json_str_or(o, "error-desc", NULL) != NULL ? ": " : "",
                         json_str_or(o, "error-desc", ""));
        }
        (void)lock_wait(&r->changed, loop_now_usec() + POLL_USEC);
    }
}

static int persist(struct domain *d, const struct migration *m, struct err **err)
{
    CLEANUP(node_freep) struct node *next = NULL;
    bool had = d->persistent;
    int r;

    if (m->persist_xml != NULL) {
        r = schema_parse(m->persist_xml, &schema_domain, DOM_DOMAIN, false, &next, err);
        r = r == 0 ? d->world->driver->complete(d->world, next, err) : r;
    } else {
        next = node_copy(d->def);
        r = next != NULL ? node_set(next, "@id", NULL) : -ENOMEM;
        if (next != NULL) {
            /* What only the run knows is not read back from the file. */
            AUTO_FREE char *xml = node_to_xml(next);

            next = node_free(next);
            r = xml != NULL ? schema_parse(xml, &schema_domain, DOM_DOMAIN, false, &next, err)
                            : -ENOMEM;
        }
    }
    if (r < 0) {
        return r;
    }
    if (domain_active(d)) {
        node_free(d->next);
        d->next = TAKE_PTR(next);
    } else {
        node_free(d->def);
        d->def = TAKE_PTR(next);
    }
    d->persistent = true;
    r = domain_save_config(d, err);
    if (r == 0) {
        domain_emit(d, EVENT_DEFINED, had ? DEFINED_UPDATED : DEFINED_ADDED);
    }
    return r;
}

static int arrive(struct domain *d, const struct migration *m, struct err **err)
{
    int r = wait_arrival(d, err);

    if (r == 0 && d->id >= 0) {
        run_of(d)->migration = MIGRATION_NONE;
        ports_give_back(run_of(d)->migrate_port);
        run_of(d)->migrate_port = 0;
        d->autodestroy = NULL;
    }
    if (r == 0 && (m->flags & MIGRATE_PERSIST_DEST)) {
        r = persist(d, m, err);
    }
    if (r == 0 && !(m->flags & MIGRATE_PAUSED)) {
        r = process_cont(d, RUNNING_MIGRATED, RESUMED_MIGRATED, err);
    } else if (r == 0) {
        domain_set_state(d, STATE_PAUSED, PAUSED_USER);
        domain_emit(d, EVENT_SUSPENDED, SUSPENDED_PAUSED);
    }
    if (r == 0) {
        process_save(d);
    }
    return r;
}

int migration_finish(struct world *w, const struct migration *m, bool cancelled,
                     struct domain **ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct domain *found = m->dest_name != NULL ? domain_by_name(w, m->dest_name) : NULL;
    int r;

    if (found == NULL) {
        return fault(err, DOM_QEMU, NO_DOMAIN, "no domain with matching name '%s'",
                     m->dest_name != NULL ? m->dest_name : "");
    }
    d = domain_ref(found);
    r = domain_job_begin(d, "virDomainMigrateFinish", err);
    if (r < 0) {
        return r;
    }
    if (m->flags & MIGRATE_OFFLINE) {
        r = cancelled ? fault(err, DOM_QEMU, OPERATION_FAILED, "migration successfully aborted")
                      : persist(d, m, err);
        if (r < 0 && !d->persistent && d->world != NULL) {
            domain_remove(d);
        }
    } else if (!domain_active(d)) {
        r = fault(err, DOM_QEMU, OPERATION_INVALID, "guest unexpectedly quit");
    } else if (cancelled) {
        (void)process_stop(d, SHUTOFF_FAILED, STOPPED_FAILED, NULL);
        r = fault(err, DOM_QEMU, OPERATION_FAILED, "migration successfully aborted");
    } else {
        r = arrive(d, m, err);
        if (r < 0 && domain_active(d)) {
            (void)process_stop(d, SHUTOFF_FAILED, STOPPED_FAILED, NULL);
        }
    }
    domain_job_end(d);
    if (r == 0) {
        *ret = TAKE_PTR(d);
    }
    return r;
}
