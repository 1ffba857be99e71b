/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_migrate.c - the calls for migration and its limits. */
#include "mgmt/driver/qemu/find.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/migration.h"
#include "mgmt/driver/qemu/stats.h"

#include <errno.h>

enum { SPEED_POSTCOPY = 1 };
#define SPEED_UNLIMITED_MIB 8796093022207ull

/* A cookie comes with or without its NUL. */
static char *cookie_text(struct call *call, const uint8_t *p, uint32_t n)
{
    return n > 0 ? arena_strndup(&call->arena, (const char *)p, n) : NULL;
}

static int cookie_reply(struct call *call, const char *text, uint8_t **ret, uint32_t *ret_n)
{
    char *copy = text != NULL ? arena_strdup(&call->arena, text) : NULL;

    *ret = (uint8_t *)copy;
    *ret_n = copy != NULL ? (uint32_t)strlen(copy) + 1 : 0;
    return text != NULL && copy == NULL ? -ENOMEM : 0;
}

/* ---- source ---- */

int qemu_domain_migrate_begin3_params(struct call *call,
                                      const struct remote_domain_migrate_begin3_params_args *args,
                                      struct remote_domain_migrate_begin3_params_ret *ret,
                                      struct err **err)
{
    AUTO_USE struct use u = { 0 };
    AUTO_FREE char *xml = NULL, *cookie = NULL;
    struct migration m;
    int r = migration_read(args->params, args->n_params, args->flags, &m, err);

    r = r == 0 ? use_begin(call, &args->dom, false, &u, err) : r;
    r = r == 0 ? migration_begin(u.d, &m, &xml, &cookie, err) : r;
    r = r == 0 ? cookie_reply(call, cookie, &ret->cookie_out, &ret->n_cookie_out) : r;
    if (r < 0) {
        return r;
    }
    ret->xml = arena_strdup(&call->arena, xml);
    return ret->xml != NULL ? 0 : -ENOMEM;
}

int qemu_domain_migrate_perform3_params(
    struct call *call, const struct remote_domain_migrate_perform3_params_args *args,
    struct remote_domain_migrate_perform3_params_ret *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct migration m;
    int r = migration_read(args->params, args->n_params, args->flags, &m, err);

    (void)ret;
    r = r == 0 ? use_begin(call, &args->dom, !(m.flags & MIGRATE_OFFLINE), &u, err) : r;
    if (r < 0) {
        return r;
    }
    if (m.flags & MIGRATE_PEER2PEER) {
        if (args->dconnuri == NULL) {
            return fault(err, DOM_QEMU, INVALID_ARG,
                         "a peer-to-peer migration needs the destination's URI");
        }
        return migration_peer(u.d, args->dconnuri, args->params, args->n_params, &m, err);
    }
    return m.flags & MIGRATE_OFFLINE
               ? 0
               : migration_perform(u.d, &m, cookie_text(call, args->cookie_in, args->n_cookie_in),
                                   err);
}

int qemu_domain_migrate_confirm3_params(
    struct call *call, const struct remote_domain_migrate_confirm3_params_args *args,
    struct err **err)
{
    AUTO_USE struct use u = { 0 };
    struct migration m;
    int r = migration_read(args->params, args->n_params, args->flags, &m, err);

    r = r == 0 ? use_begin(call, &args->dom, false, &u, err) : r;
    return r == 0 ? migration_confirm(u.d, &m, args->cancelled != 0, err) : r;
}

/* ---- destination ---- */

int qemu_domain_migrate_prepare3_params(
    struct call *call, const struct remote_domain_migrate_prepare3_params_args *args,
    struct remote_domain_migrate_prepare3_params_ret *ret, struct err **err)
{
    AUTO_FREE char *uri = NULL, *cookie = NULL;
    struct migration m;
    int r = migration_read(args->params, args->n_params, args->flags, &m, err);

    r = r == 0 ? migration_prepare(call->world, call->client, &m,
                                   cookie_text(call, args->cookie_in, args->n_cookie_in), &uri,
                                   &cookie, err)
               : r;
    r = r == 0 ? cookie_reply(call, cookie, &ret->cookie_out, &ret->n_cookie_out) : r;
    if (r == 0 && uri != NULL) {
        ret->uri_out = arena_strdup(&call->arena, uri);
        r = ret->uri_out != NULL ? 0 : -ENOMEM;
    }
    return r;
}

int qemu_domain_migrate_finish3_params(struct call *call,
                                       const struct remote_domain_migrate_finish3_params_args *args,
                                       struct remote_domain_migrate_finish3_params_ret *ret,
                                       struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct migration m;
    int r = migration_read(args->params, args->n_params, args->flags, &m, err);

    r = r == 0 ? migration_finish(call->world, &m, args->cancelled != 0, &d, err) : r;
    if (r == 0) {
        domain_to_wire(d, &call->arena, &ret->dom);
    }
    return r;
}

/* ---- limits ---- */

static int set_parameter(struct domain *d, const char *name, uint64_t value, struct err **err)
{
    struct json_object *a = json_object_new_object();

    (void)json_add_u64(a, name, value);
    return monitor_run(run_of(d)->qmp, "migrate-set-parameters", a, NULL, err);
}

static int get_parameter(struct call *call, const struct remote_domain *wire, const char *name,
                         uint64_t *ret, struct err **err)
{
    AUTO_USE struct use u = { 0 };
    AUTO_JSON struct json_object *o = NULL;
    int r = use_begin(call, wire, true, &u, err);

    r = r == 0 ? monitor_run(run_of(u.d)->qmp, "query-migrate-parameters", NULL, &o, err) : r;
    *ret = r == 0 ? (uint64_t)json_i64_or(o, name, 0) : 0;
    return r;
}

/* Works while the migration holds the domain's job: the emulator takes it at once. */
int qemu_domain_migrate_set_max_downtime(
    struct call *call, const struct remote_domain_migrate_set_max_downtime_args *args,
    struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_check_active(d, err) : r;
    if (r < 0) {
        return r;
    }
    run_of(d)->migrate_downtime_msec = args->downtime;
    return set_parameter(d, "downtime-limit", args->downtime, err);
}

int qemu_domain_migrate_get_max_downtime(
    struct call *call, const struct remote_domain_migrate_get_max_downtime_args *args,
    struct remote_domain_migrate_get_max_downtime_ret *ret, struct err **err)
{
    return get_parameter(call, &args->dom, "downtime-limit", &ret->downtime, err);
}

int qemu_domain_migrate_set_max_speed(struct call *call,
                                      const struct remote_domain_migrate_set_max_speed_args *args,
                                      struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r == 0 && args->bandwidth > SPEED_UNLIMITED_MIB) {
        r = fault(err, DOM_NONE, OVERFLOW, "bandwidth must be less than %llu",
                  SPEED_UNLIMITED_MIB + 1);
    }
    r = r == 0 ? domain_check_active(d, err) : r;
    if (r < 0) {
        return r;
    }
    if (args->flags & SPEED_POSTCOPY) {
        return set_parameter(d, "max-postcopy-bandwidth", args->bandwidth << 20, err);
    }
    run_of(d)->migrate_mib = args->bandwidth;
    return run_of(d)->stats != NULL && run_of(d)->stats->active &&
                   run_of(d)->stats->operation == OPERATION_MIGRATION_OUT
               ? set_parameter(d, "max-bandwidth", args->bandwidth << 20, err)
               : 0;
}

int qemu_domain_migrate_get_max_speed(struct call *call,
                                      const struct remote_domain_migrate_get_max_speed_args *args,
                                      struct remote_domain_migrate_get_max_speed_ret *ret,
                                      struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    if (r == 0 && (args->flags & SPEED_POSTCOPY)) {
        r = get_parameter(call, &args->dom, "max-postcopy-bandwidth", &ret->bandwidth, err);
        ret->bandwidth >>= 20;
        return r;
    }
    if (r == 0) {
        ret->bandwidth = domain_active(d) && run_of(d)->migrate_mib > 0 ? run_of(d)->migrate_mib
                                                                        : SPEED_UNLIMITED_MIB;
    }
    return r;
}

int qemu_domain_migrate_get_compression_cache(
    struct call *call, const struct remote_domain_migrate_get_compression_cache_args *args,
    struct remote_domain_migrate_get_compression_cache_ret *ret, struct err **err)
{
    return get_parameter(call, &args->dom, "xbzrle-cache-size", &ret->cacheSize, err);
}

int qemu_domain_migrate_set_compression_cache(
    struct call *call, const struct remote_domain_migrate_set_compression_cache_args *args,
    struct err **err)
{
    AUTO_USE struct use u = { 0 };
    int r = use_begin(call, &args->dom, true, &u, err);

    return r == 0 ? set_parameter(u.d, "xbzrle-cache-size", args->cacheSize, err) : r;
}

int qemu_domain_migrate_start_post_copy(
    struct call *call, const struct remote_domain_migrate_start_post_copy_args *args,
    struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_check_active(d, err) : r;
    if (r < 0) {
        return r;
    }
    if (run_of(d)->stats == NULL || !run_of(d)->stats->active ||
        run_of(d)->stats->operation != OPERATION_MIGRATION_OUT) {
        return fault(err, DOM_QEMU, OPERATION_INVALID,
                     "post-copy can only be started while outgoing migration is in progress");
    }
    return monitor_run(run_of(d)->qmp, "migrate-start-postcopy", NULL, NULL, err);
}
