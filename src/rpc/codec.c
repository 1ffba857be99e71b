/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rpc/codec.h"

#include <string.h>

void rpc_put_string(struct xdr_out *x, const char *s)
{
    xdr_put_string(x, s != NULL ? s : "", RPC_STRING_MAX);
}

void rpc_put_string_opt(struct xdr_out *x, const char *s)
{
    xdr_put_u32(x, s != NULL ? 1 : 0);
    if (s != NULL) {
        xdr_put_string(x, s, RPC_STRING_MAX);
    }
}

void rpc_put_count(struct xdr_out *x, uint32_t n, uint32_t max)
{
    if (n > max) {
        x->failed = true;
        return;
    }
    xdr_put_u32(x, n);
}

void rpc_put_typed_param(struct xdr_out *x, const struct rpc_typed_param *v)
{
    rpc_put_string(x, v->field);
    xdr_put_u32(x, (uint32_t)v->kind);
    switch (v->kind) {
    case RPC_TYPED_INT:
    case RPC_TYPED_BOOLEAN:
        xdr_put_u32(x, (uint32_t)v->value.i);
        break;
    case RPC_TYPED_UINT:
        xdr_put_u32(x, v->value.ui);
        break;
    case RPC_TYPED_LLONG:
    case RPC_TYPED_ULLONG:
        xdr_put_u64(x, v->value.ul);
        break;
    case RPC_TYPED_DOUBLE:
        xdr_put_double(x, v->value.d);
        break;
    case RPC_TYPED_STRING:
        rpc_put_string(x, v->value.s);
        break;
    default:
        x->failed = true;
        break;
    }
}

char *rpc_get_string(struct xdr_in *x, struct arena *a)
{
    size_t len;
    const uint8_t *p = xdr_get_bytes(x, RPC_STRING_MAX, &len);
    char *s =
        p != NULL && memchr(p, '\0', len) == NULL ? arena_strndup(a, (const char *)p, len) : NULL;

    if (s == NULL) {
        x->failed = true;
    }
    return s;
}

char *rpc_get_string_opt(struct xdr_in *x, struct arena *a)
{
    return xdr_get_bool(x) ? rpc_get_string(x, a) : NULL;
}

uint8_t *rpc_get_bytes(struct xdr_in *x, struct arena *a, size_t max, uint32_t *ret_len)
{
    size_t len;
    const uint8_t *p = xdr_get_bytes(x, max, &len);
    uint8_t *copy = p != NULL ? arena_alloc(a, len) : NULL;

    *ret_len = 0;
    if (copy == NULL) {
        x->failed = true;
        return NULL;
    }
    *ret_len = (uint32_t)len;
    return len > 0 ? memcpy(copy, p, len) : copy;
}

void *rpc_get_array(struct xdr_in *x, struct arena *a, size_t n, size_t size)
{
    void *p = x->failed ? NULL : arena_array(a, n, size);

    if (p == NULL) {
        x->failed = true;
    }
    return p;
}

void rpc_get_typed_param(struct xdr_in *x, struct arena *a, struct rpc_typed_param *v)
{
    v->field = rpc_get_string(x, a);
    v->kind = (int32_t)xdr_get_u32(x);
    switch (v->kind) {
    case RPC_TYPED_INT:
    case RPC_TYPED_BOOLEAN:
        v->value.i = (int32_t)xdr_get_u32(x);
        break;
    case RPC_TYPED_UINT:
        v->value.ui = xdr_get_u32(x);
        break;
    case RPC_TYPED_LLONG:
    case RPC_TYPED_ULLONG:
        v->value.ul = xdr_get_u64(x);
        break;
    case RPC_TYPED_DOUBLE:
        v->value.d = xdr_get_double(x);
        break;
    case RPC_TYPED_STRING:
        v->value.s = rpc_get_string(x, a);
        break;
    default:
        x->failed = true;
        break;
    }
}
