/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_auth.c - proving who one is: nothing, polkit, or SASL. */
#include "base/str.h"
#include "mgmt/access/polkit.h"
#include "mgmt/daemon/calls.h"
#include "mgmt/server/remote-ops.h"
#include "mgmt/transport/sasl.h"

#include <errno.h>

static int list(struct call *call, struct remote_auth_list_ret *ret, struct err **err)
{
    struct client *c = call->client;

    (void)err;
    ret->types = arena_array(&call->arena, 1, sizeof(*ret->types));
    if (ret->types == NULL) {
        return -ENOMEM;
    }
    ret->n_types = 1;
    ret->types[0] = c->authenticated ? AUTH_NONE : (int)c->service->auth;
    return 0;
}

static int polkit(struct call *call, struct remote_auth_polkit_ret *ret, struct err **err)
{
    struct client *c = call->client;
    int r;

    if (c->authenticated || c->service->auth != AUTH_POLKIT) {
        return fault(err, DOM_RPC, INTERNAL_ERROR, "client tried invalid PolicyKit init request");
    }
    r = polkit_check(c, c->readonly ? "org.libvirt.unix.monitor" : "org.libvirt.unix.manage", true,
                     err);
    if (r == -EACCES) {
        return fault(err, DOM_RPC, AUTH_FAILED, "authentication failed");
    }
    if (r == 0) {
        c->authenticated = true;
        ret->complete = 1;
    }
    return r;
}

static int sasl_init(struct call *call, struct remote_auth_sasl_init_ret *ret, struct err **err)
{
    struct client *c = call->client;
    const char *mechs;
    int r;

    if (c->authenticated || c->service->auth != AUTH_SASL || c->sasl != NULL) {
        return fault(err, DOM_RPC, AUTH_FAILED, "authentication failed");
    }
    r = sasl_session_new(c, &c->sasl, err);
    if (r < 0) {
        return r;
    }
    mechs = sasl_mechanisms(c->sasl, err);
    if (mechs == NULL) {
        return -EACCES;
    }
    ret->mechlist = arena_strdup(&call->arena, mechs);
    return ret->mechlist != NULL ? 0 : -ENOMEM;
}

static int step(struct call *call, const char *mech, int nil, const int8_t *data, uint32_t n,
                int32_t *ret_complete, int32_t *ret_nil, uint32_t *ret_n, int8_t **ret_data,
                struct err **err)
{
    struct client *c = call->client;
    const void *out;
    size_t out_len;
    int r;

    if (c->sasl == NULL || c->authenticated) {
        return fault(err, DOM_RPC, AUTH_FAILED, "authentication failed");
    }
    /* The wire carries the C string's NUL, and says with nil that there is no data at all. */
    r = sasl_step(c->sasl, mech, nil ? NULL : (const void *)data, nil || n == 0 ? 0 : n - 1, &out,
                  &out_len, err);
    if (r < 0) {
        c->sasl = sasl_session_free(c->sasl);
        return r;
    }
    *ret_nil = out == NULL;
    *ret_n = out != NULL ? (uint32_t)out_len + 1 : 0;
    *ret_data = arena_alloc(&call->arena, out_len + 1);
    if (*ret_data == NULL) {
        return -ENOMEM;
    }
    if (out != NULL) {
        memcpy(*ret_data, out, out_len);
    }
    *ret_complete = r;
    if (r == 1) {
        const char *user = sasl_user(c->sasl);

        c->authenticated = true;
        c->sasl_user = user != NULL ? strdup(user) : NULL;
        call->sasl_done = true;
    }
    return 0;
}

static int sasl_start(struct call *call, const struct remote_auth_sasl_start_args *args,
                      struct remote_auth_sasl_start_ret *ret, struct err **err)
{
    return step(call, args->mech, args->nil, args->data, args->n_data, &ret->complete, &ret->nil,
                &ret->n_data, &ret->data, err);
}

static int sasl_go_on(struct call *call, const struct remote_auth_sasl_step_args *args,
                      struct remote_auth_sasl_step_ret *ret, struct err **err)
{
    return step(call, NULL, args->nil, args->data, args->n_data, &ret->complete, &ret->nil,
                &ret->n_data, &ret->data, err);
}

const struct remote_ops calls_auth = {
    .auth_list = list,
    .auth_polkit = polkit,
    .auth_sasl_init = sasl_init,
    .auth_sasl_start = sasl_start,
    .auth_sasl_step = sasl_go_on,
};
