/* SPDX-License-Identifier: GPL-2.0-or-later */
/* params.c - lists of typed parameters. */
#include "base/str.h"
#include "mgmt/daemon/calls.h"

static struct rpc_typed_param *add(struct params *p, const char *field, int kind)
{
    struct rpc_typed_param *v;

    if (p->n == p->room) {
        uint32_t room = p->room > 0 ? p->room * 2 : 16;
        struct rpc_typed_param *list = arena_array(p->arena, room, sizeof(*list));

        if (list == NULL) {
            p->failed = true;
            return NULL;
        }
        if (p->n > 0) {
            memcpy(list, p->list, p->n * sizeof(*list));
        }
        p->list = list;
        p->room = room;
    }
    v = &p->list[p->n];
    v->field = arena_strdup(p->arena, field);
    v->kind = kind;
    if (v->field == NULL) {
        p->failed = true;
        return NULL;
    }
    p->n++;
    return v;
}

void params_int(struct params *p, const char *field, int32_t v)
{
    struct rpc_typed_param *t = add(p, field, RPC_TYPED_INT);

    if (t != NULL) {
        t->value.i = v;
    }
}

void params_uint(struct params *p, const char *field, uint32_t v)
{
    struct rpc_typed_param *t = add(p, field, RPC_TYPED_UINT);

    if (t != NULL) {
        t->value.ui = v;
    }
}

void params_llong(struct params *p, const char *field, int64_t v)
{
    struct rpc_typed_param *t = add(p, field, RPC_TYPED_LLONG);

    if (t != NULL) {
        t->value.l = v;
    }
}

void params_ullong(struct params *p, const char *field, uint64_t v)
{
    struct rpc_typed_param *t = add(p, field, RPC_TYPED_ULLONG);

    if (t != NULL) {
        t->value.ul = v;
    }
}

void params_double(struct params *p, const char *field, double v)
{
    struct rpc_typed_param *t = add(p, field, RPC_TYPED_DOUBLE);

    if (t != NULL) {
        t->value.d = v;
    }
}

void params_bool(struct params *p, const char *field, bool v)
{
    struct rpc_typed_param *t = add(p, field, RPC_TYPED_BOOLEAN);

    if (t != NULL) {
        t->value.b = v ? 1 : 0;
    }
}

void params_str(struct params *p, const char *field, const char *v)
{
    struct rpc_typed_param *t = add(p, field, RPC_TYPED_STRING);

    if (t != NULL) {
        t->value.s = arena_strdup(p->arena, v != NULL ? v : "");
        p->failed |= t->value.s == NULL;
    }
}

const struct rpc_typed_param *params_find(const struct rpc_typed_param *list, uint32_t n,
                                          const char *field)
{
    for (uint32_t i = 0; i < n; i++) {
        if (str_eq(list[i].field, field)) {
            return &list[i];
        }
    }
    return NULL;
}

int flags_check(struct call *call, unsigned flags, unsigned known, struct err **err)
{
    if (flags & ~known) {
        return fault(err, DOM_NONE, INVALID_ARG, "unsupported flags (0x%x) in function %s",
                     flags & ~known, call_api_name(call));
    }
    return 0;
}
