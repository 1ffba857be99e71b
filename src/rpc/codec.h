/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * codec.h - what the generated encoders and decoders stand on, and the tables they fill.
 *
 * Decoded values live in the call's arena; encoders borrow.
 */
#pragma once

#include "base/arena.h"
#include "codec/xdr.h"

#include <stdbool.h>
#include <stdint.h>

enum { RPC_STRING_MAX = 4194304, RPC_ACL_MAX = 6 };

enum rpc_proc_flags {
    RPC_HIGH = 1 << 0,
    RPC_WRITE = 1 << 1,
    RPC_READSTREAM = 1 << 2,
    RPC_WRITESTREAM = 1 << 3,
    RPC_EVENT = 1 << 4,
    RPC_QUICK = 1 << 5, /* the handler never waits */
};

struct rpc_codec {
    size_t size; /* of the C struct; 0: nothing on the wire */
    void (*put)(struct xdr_out *x, const void *v);
    void (*get)(struct xdr_in *x, struct arena *a, void *v);
};

struct rpc_proc {
    const char *name; /* NULL: no such procedure */
    unsigned flags;
    struct rpc_codec args; /* an event's message */
    struct rpc_codec ret;
    const char *acl[RPC_ACL_MAX];
};

struct rpc_program {
    const char *name;
    uint32_t nr;
    uint32_t version;
    unsigned n_procs;
    const struct rpc_proc *procs; /* by number */
};

/* A named value of one of libvirt's seven types (virTypedParameter). */
enum rpc_typed_kind {
    RPC_TYPED_INT = 1,
    RPC_TYPED_UINT,
    RPC_TYPED_LLONG,
    RPC_TYPED_ULLONG,
    RPC_TYPED_DOUBLE,
    RPC_TYPED_BOOLEAN,
    RPC_TYPED_STRING,
};

struct rpc_typed_param {
    char *field;
    int32_t kind; /* enum rpc_typed_kind */
    union {
        int32_t i;
        uint32_t ui;
        int64_t l;
        uint64_t ul;
        double d;
        int32_t b;
        char *s;
    } value;
};

void rpc_put_string(struct xdr_out *x, const char *s);
void rpc_put_string_opt(struct xdr_out *x, const char *s);
void rpc_put_count(struct xdr_out *x, uint32_t n, uint32_t max);
void rpc_put_typed_param(struct xdr_out *x, const struct rpc_typed_param *v);

char *rpc_get_string(struct xdr_in *x, struct arena *a);
char *rpc_get_string_opt(struct xdr_in *x, struct arena *a);
uint8_t *rpc_get_bytes(struct xdr_in *x, struct arena *a, size_t max, uint32_t *ret_len);
/* Zeroed room for n elements; fails the decoder when there is none. */
void *rpc_get_array(struct xdr_in *x, struct arena *a, size_t n, size_t size);
void rpc_get_typed_param(struct xdr_in *x, struct arena *a, struct rpc_typed_param *v);
