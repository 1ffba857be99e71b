/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration_peer.c - peer to peer: the source is the destination's client. */
#include "mgmt/driver/qemu/migration.h"

#include "base/str.h"
#include "client/connection.h"
#include "mgmt/server/lock.h"

#include <errno.h>

enum { FEATURE_P2P = 4, FEATURE_V3 = 6, FEATURE_PARAMS = 13, PARAMS_MAX = 62 };

struct peer {
    struct connection *c;
    struct arena a;
    struct rpc_typed_param params[PARAMS_MAX + 2];
    uint32_t n;
};

/* Sets or replaces a text. */
static void set_param(struct peer *p, const char *name, const char *value)
{
    struct rpc_typed_param *at = &p->params[p->n];

    for (uint32_t i = 0; i < p->n; i++) {
        if (str_eq(p->params[i].field, name)) {
            at = &p->params[i];
        }
    }
    if (at == &p->params[p->n]) {
        if (p->n >= PARAMS_MAX) {
            return;
        }
        p->n++;
    }
    at->field = (char *)(uintptr_t)name;
    at->kind = RPC_TYPED_STRING;
    at->value.s = (char *)(uintptr_t)value;
}

static int call(struct peer *p, int proc, const void *args, void *ret, struct err **err)
{
    int r;

    UNLOCKED(r = connection_call(p->c, &remote_program, proc, args, ret, &p->a, err));
    return r;
}

static int connect_peer(struct peer *p, const char *dconn, struct err **err)
{
    static const int features[] = { FEATURE_P2P, FEATURE_V3, FEATURE_PARAMS };
    CLEANUP(err_freep) struct err *own = NULL;
    int r;

    UNLOCKED(r = connection_open(dconn, false, &p->c, &own));
    if (r < 0) {
        return fault(err, DOM_QEMU, OPERATION_FAILED,
                     "Failed to connect to remote libvirt URI %s: %s", dconn,
                     own != NULL ? own->text : strerror(-r));
    }
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        struct remote_connect_supports_feature_args args = { .feature = features[i] };
        struct remote_connect_supports_feature_ret ret = { 0 };

        r = call(p, REMOTE_CONNECT_SUPPORTS_FEATURE, &args, &ret, err);
        if (r < 0) {
            return r;
        }
        if (!ret.supported) {
            return fault(err, DOM_QEMU, OPERATION_FAILED,
                         "Destination libvirt does not support peer-to-peer migration protocol");
        }
    }
    return 0;
}

static char *text_of(struct arena *a, const uint8_t *p, uint32_t n)
{
    return p != NULL ? arena_strndup(a, (const char *)p, n) : NULL;
}

static int prepare(struct peer *p, const char *cookie, unsigned flags, char **ret_uri,
                   char **ret_cookie, struct err **err)
{
    struct remote_domain_migrate_prepare3_params_args args = { .n_params = p->n,
                                                               .params = p->params,
                                                               .flags = flags };
    struct remote_domain_migrate_prepare3_params_ret ret = { 0 };
    int r;

    args.cookie_in = (uint8_t *)(uintptr_t)cookie;
    args.n_cookie_in = (uint32_t)strlen(cookie) + 1;
    r = call(p, REMOTE_DOMAIN_MIGRATE_PREPARE3_PARAMS, &args, &ret, err);
    if (r == 0) {
        *ret_uri = ret.uri_out;
        *ret_cookie = text_of(&p->a, ret.cookie_out, ret.n_cookie_out);
    }
    return r;
}

static int finish(struct peer *p, const char *cookie, unsigned flags, bool cancelled,
                  struct err **err)
{
    struct remote_domain_migrate_finish3_params_args args = {
        .n_params = p->n, .params = p->params, .flags = flags, .cancelled = cancelled
    };
    struct remote_domain_migrate_finish3_params_ret ret = { 0 };

    args.cookie_in = (uint8_t *)(uintptr_t)cookie;
    args.n_cookie_in = (uint32_t)strlen(cookie) + 1;
    return call(p, REMOTE_DOMAIN_MIGRATE_FINISH3_PARAMS, &args, &ret, err);
}

static int steps(struct domain *d, struct peer *p, const struct migration *m, struct err **err)
{
    AUTO_FREE char *xml = NULL, *cookie = NULL, *own = NULL;
    struct migration here = *m;
    char *uri = NULL, *cookie_in = NULL;
    unsigned flags = m->flags;
    int r = migration_begin(d, m, &xml, &cookie, err), end;

    if (r < 0) {
        return r;
    }
    own = migration_cookie(d);
    set_param(p, "destination_xml", xml);
    if (m->dest_name == NULL) {
        set_param(p, "destination_name", d->name);
    }
    if (d->state == STATE_PAUSED) {
        flags |= MIGRATE_PAUSED;
    }
    r = prepare(p, cookie, flags, &uri, &cookie_in, err);
    if (r < 0) {
        return r;
    }
    if (uri != NULL) {
        here.uri = uri;
    }
    r = m->flags & MIGRATE_OFFLINE ? 0 : migration_perform(d, &here, cookie_in, err);
    end = finish(p, own != NULL ? own : "", flags, r < 0, r < 0 ? NULL : err);
    if (r == 0) {
        r = end;
        end = migration_confirm(d, m, r < 0, r < 0 ? NULL : err);
        r = r == 0 ? end : r;
    }
    return r;
}

int migration_peer(struct domain *d, const char *dconn, const struct rpc_typed_param *params,
                   uint32_t n_params, const struct migration *m, struct err **err)
{
    struct peer p = { .a = ARENA_INIT(CLIENT_ARENA_MAX) };
    int r = connect_peer(&p, dconn, err);

    for (uint32_t i = 0; i < n_params && p.n < PARAMS_MAX; i++) {
        p.params[p.n++] = params[i];
    }
    r = r == 0 ? steps(d, &p, m, err) : r;
    UNLOCKED(p.c = connection_close(p.c));
    arena_done(&p.a);
    return r;
}
