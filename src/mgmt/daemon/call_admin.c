/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_admin.c - the administration program: servers, threads, clients, limits (virt-admin). */
#include "base/str.h"
#include "mgmt/daemon/calls.h"
#include "mgmt/server/admin-ops.h"
#include "mgmt/server/worker.h"
#include "rpc/protocol/admin.h"

#include <errno.h>

enum { LIB_VERSION = 9000000, TRANSPORT_UNIX = 0, TRANSPORT_TCP = 1, TRANSPORT_TLS = 2 };

static struct server *servers[2]; /* the clients' and the administrators' */

void admin_set_servers(struct server *main_server, struct server *admin_server)
{
    servers[0] = main_server;
    servers[1] = admin_server;
}

static int find(const char *name, struct server **ret, struct err **err)
{
    for (int i = 0; i < 2; i++) {
        if (servers[i] != NULL && str_eq(servers[i]->name, name)) {
            *ret = servers[i];
            return 0;
        }
    }
    return fault(err, DOM_RPC, NO_SERVER, "No server named '%s'", name);
}

static int open_connection(struct call *call, const struct admin_connect_open_args *args,
                           struct err **err)
{
    (void)call;
    (void)args;
    (void)err;
    return 0;
}

static int close_connection(struct call *call, struct err **err)
{
    (void)call;
    (void)err;
    return 0;
}

static int lib_version(struct call *call, struct admin_connect_get_lib_version_ret *ret,
                       struct err **err)
{
    (void)call;
    (void)err;
    ret->libVer = LIB_VERSION;
    return 0;
}

static int list_servers(struct call *call, const struct admin_connect_list_servers_args *args,
                        struct admin_connect_list_servers_ret *ret, struct err **err)
{
    (void)err;
    ret->servers = arena_array(&call->arena, 2, sizeof(*ret->servers));
    if (ret->servers == NULL) {
        return -ENOMEM;
    }
    for (int i = 0; i < 2; i++) {
        if (args->need_results) {
            ret->servers[ret->n_servers++].name = arena_strdup(&call->arena, servers[i]->name);
        }
        ret->ret++;
    }
    return 0;
}

static int lookup_server(struct call *call, const struct admin_connect_lookup_server_args *args,
                         struct admin_connect_lookup_server_ret *ret, struct err **err)
{
    struct server *s;
    int r = find(args->name, &s, err);

    if (r == 0) {
        ret->srv.name = arena_strdup(&call->arena, s->name);
    }
    return r;
}

static int get_threads(struct call *call,
                       const struct admin_server_get_threadpool_parameters_args *args,
                       struct admin_server_get_threadpool_parameters_ret *ret, struct err **err)
{
    struct params p = { .arena = &call->arena };
    struct worker_params w;
    struct server *s;
    int r = find(args->srv.name, &s, err);

    worker_get(&w);
    params_uint(&p, "minWorkers", 0);
    params_uint(&p, "maxWorkers", w.max);
    params_uint(&p, "nWorkers", w.n);
    params_uint(&p, "freeWorkers", w.n_idle);
    params_uint(&p, "prioWorkers", w.max_high);
    params_uint(&p, "jobQueueDepth", w.queued);
    ret->params = p.list;
    ret->n_params = p.n;
    return r;
}

static int set_threads(struct call *call,
                       const struct admin_server_set_threadpool_parameters_args *args,
                       struct err **err)
{
    const struct rpc_typed_param *max = params_find(args->params, args->n_params, "maxWorkers");
    const struct rpc_typed_param *prio = params_find(args->params, args->n_params, "prioWorkers");
    struct worker_params w;
    struct server *s;
    int r = find(args->srv.name, &s, err);

    (void)call;
    if (r < 0) {
        return r;
    }
    worker_get(&w);
    if ((max != NULL &&
         (max->kind != RPC_TYPED_UINT || max->value.ui == 0 || max->value.ui > 1000)) ||
        (prio != NULL && (prio->kind != RPC_TYPED_UINT || prio->value.ui > 1000))) {
        return fault(err, DOM_RPC, INVALID_ARG, "a number of workers must be between 1 and 1000");
    }
    worker_set(max != NULL ? max->value.ui : w.max, prio != NULL ? prio->value.ui : w.max_high);
    return 0;
}

static int transport_of(const struct client *c)
{
    return c->tls != NULL ? TRANSPORT_TLS : c->address != NULL ? TRANSPORT_TCP : TRANSPORT_UNIX;
}

static void to_wire(const struct client *c, struct arena *a, struct admin_client *ret)
{
    ret->srv.name = arena_strdup(a, c->server->name);
    ret->id = c->id;
    ret->timestamp = c->since;
    ret->transport = (uint32_t)transport_of(c);
}

static int list_clients(struct call *call, const struct admin_server_list_clients_args *args,
                        struct admin_server_list_clients_ret *ret, struct err **err)
{
    struct server *s;
    int r = find(args->srv.name, &s, err);

    if (r < 0) {
        return r;
    }
    ret->clients = arena_array(&call->arena, s->n_clients + 1, sizeof(*ret->clients));
    if (ret->clients == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH (&s->clients, it) {
        if (args->need_results && ret->n_clients < s->n_clients) {
            to_wire(CONTAINER_OF(it, struct client, link), &call->arena,
                    &ret->clients[ret->n_clients++]);
        }
        ret->ret++;
    }
    return 0;
}

static int find_client(const char *server, uint64_t id, struct client **ret, struct err **err)
{
    struct server *s;
    int r = find(server, &s, err);

    if (r < 0) {
        return r;
    }
    LIST_FOREACH (&s->clients, it) {
        *ret = CONTAINER_OF(it, struct client, link);
        if ((*ret)->id == id) {
            return 0;
        }
    }
    return fault(err, DOM_RPC, NO_CLIENT, "No client with matching ID '%llu'",
                 (unsigned long long)id);
}

static int lookup_client(struct call *call, const struct admin_server_lookup_client_args *args,
                         struct admin_server_lookup_client_ret *ret, struct err **err)
{
    struct client *c;
    int r = find_client(args->srv.name, args->id, &c, err);

    if (r == 0) {
        to_wire(c, &call->arena, &ret->clnt);
    }
    return r;
}

static int client_info(struct call *call, const struct admin_client_get_info_args *args,
                       struct admin_client_get_info_ret *ret, struct err **err)
{
    struct params p = { .arena = &call->arena };
    struct client *c;
    int r = find_client(args->clnt.srv.name, args->clnt.id, &c, err);

    if (r < 0) {
        return r;
    }
    params_bool(&p, "readonly", c->readonly);
    if (c->address != NULL) {
        params_str(&p, "sock_addr", c->address);
        if (c->sasl_user != NULL) {
            params_str(&p, "sasl_user_name", c->sasl_user);
        }
        if (c->x509_name != NULL) {
            params_str(&p, "tls_x509_dname", c->x509_name);
        }
    } else {
        params_int(&p, "unix_user_id", (int32_t)c->uid);
        params_int(&p, "unix_group_id", (int32_t)c->gid);
        params_int(&p, "unix_process_id", (int32_t)c->pid);
    }
    ret->params = p.list;
    ret->n_params = p.n;
    return p.failed ? -ENOMEM : 0;
}

static int close_client(struct call *call, const struct admin_client_close_args *args,
                        struct err **err)
{
    struct client *c;
    int r = find_client(args->clnt.srv.name, args->clnt.id, &c, err);

    if (r < 0) {
        return r;
    }
    if (c != call->client) {
        client_close(c);
    }
    return 0;
}

static int get_limits(struct call *call, const struct admin_server_get_client_limits_args *args,
                      struct admin_server_get_client_limits_ret *ret, struct err **err)
{
    struct params p = { .arena = &call->arena };
    struct server *s;
    unsigned unauthenticated = 0;
    int r = find(args->srv.name, &s, err);

    if (r < 0) {
        return r;
    }
    LIST_FOREACH (&s->clients, it) {
        unauthenticated += !CONTAINER_OF(it, struct client, link)->authenticated;
    }
    params_uint(&p, "nclients_max", s->max_clients);
    params_uint(&p, "nclients", s->n_clients);
    params_uint(&p, "nclients_unauth_max", s->max_clients);
    params_uint(&p, "nclients_unauth", unauthenticated);
    ret->params = p.list;
    ret->n_params = p.n;
    return p.failed ? -ENOMEM : 0;
}

static int set_limits(struct call *call, const struct admin_server_set_client_limits_args *args,
                      struct err **err)
{
    const struct rpc_typed_param *max = params_find(args->params, args->n_params, "nclients_max");
    struct server *s;
    int r = find(args->srv.name, &s, err);

    (void)call;
    if (r == 0 && max != NULL) {
        if (max->kind != RPC_TYPED_UINT || max->value.ui == 0 || max->value.ui > CLIENTS_MAX) {
            return fault(err, DOM_RPC, INVALID_ARG, "nclients_max must be between 1 and %d",
                         CLIENTS_MAX);
        }
        s->max_clients = max->value.ui;
    }
    return r;
}

static int set_timeout(struct call *call, const struct admin_connect_set_daemon_timeout_args *args,
                       struct err **err)
{
    (void)call;
    (void)err;
    servers[0]->idle_timeout_usec = (uint64_t)args->timeout * 1000000;
    server_check_idle(servers[0]);
    return 0;
}

const struct admin_ops calls_admin = {
    .connect_open = open_connection,
    .connect_close = close_connection,
    .connect_get_lib_version = lib_version,
    .connect_list_servers = list_servers,
    .connect_lookup_server = lookup_server,
    .server_get_threadpool_parameters = get_threads,
    .server_set_threadpool_parameters = set_threads,
    .server_list_clients = list_clients,
    .server_lookup_client = lookup_client,
    .client_get_info = client_info,
    .client_close = close_client,
    .server_get_client_limits = get_limits,
    .server_set_client_limits = set_limits,
    .connect_set_daemon_timeout = set_timeout,
};
