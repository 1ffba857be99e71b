/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rpc/frame.h"

#include "base/bytes.h"

#include <errno.h>

int rpc_frame_length(const uint8_t word[RPC_LEN_BYTES], size_t *ret)
{
    uint32_t len = be32_get(word);

    if (len < RPC_LEN_BYTES + RPC_HEADER_BYTES || len > RPC_LEN_BYTES + RPC_MESSAGE_MAX) {
        return -EPROTO;
    }
    *ret = len;
    return 0;
}

bool rpc_header_get(struct xdr_in *x, struct rpc_header *ret)
{
    ret->program = xdr_get_u32(x);
    ret->version = xdr_get_u32(x);
    ret->proc = (int32_t)xdr_get_u32(x);
    ret->type = xdr_get_u32(x);
    ret->serial = xdr_get_u32(x);
    ret->status = xdr_get_u32(x);
    return !x->failed && ret->type < _RPC_TYPE_END && ret->status < _RPC_STATUS_END;
}

void rpc_frame_begin(struct xdr_out *x, const struct rpc_header *h)
{
    xdr_out_init(x, RPC_LEN_BYTES + RPC_MESSAGE_MAX);
    xdr_put_u32(x, 0);
    xdr_put_u32(x, h->program);
    xdr_put_u32(x, h->version);
    xdr_put_u32(x, (uint32_t)h->proc);
    xdr_put_u32(x, h->type);
    xdr_put_u32(x, h->serial);
    xdr_put_u32(x, h->status);
}

bool rpc_frame_end(struct xdr_out *x)
{
    if (x->failed) {
        return false;
    }
    be32_put(x->buf, (uint32_t)x->len);
    return true;
}
