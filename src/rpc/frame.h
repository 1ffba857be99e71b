/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * frame.h - messages on the wire: a length, a header of six words, a payload.
 *
 *      length   u32    of the whole message, itself included
 *      program  u32    0x20008086 remote, 0x20008087 qemu, 0x6b656570 keepalive ...
 *      version  u32
 *      proc     i32
 *      type     u32    enum rpc_type
 *      serial   u32    chosen by the caller of a call, repeated in reply and stream, 0 in messages
 *      status   u32    enum rpc_status
 *
 * A type with descriptors has their count, a u32, before the payload; they follow the message on
 * the socket, each with one zero byte (SCM_RIGHTS).
 */
#pragma once

#include "rpc/codec.h"

enum {
    RPC_LEN_BYTES = 4,
    RPC_HEADER_BYTES = 24,
    RPC_MESSAGE_MAX = 33554432,
    RPC_STREAM_DATA_MAX = 262120, /* what old peers accept in one packet */
    RPC_FDS_MAX = 32,
    RPC_KEEPALIVE_PROGRAM = 0x6b656570,
};

enum rpc_type {
    RPC_CALL,
    RPC_REPLY,
    RPC_MESSAGE,
    RPC_STREAM,
    RPC_CALL_FDS,
    RPC_REPLY_FDS,
    RPC_STREAM_HOLE,
    _RPC_TYPE_END,
};

enum rpc_status { RPC_OK, RPC_ERROR, RPC_CONTINUE, _RPC_STATUS_END };

struct rpc_header {
    uint32_t program, version;
    int32_t proc;
    uint32_t type, serial, status;
};

/* The length word of a message: 0, or -EPROTO when no message has that length. */
int rpc_frame_length(const uint8_t word[RPC_LEN_BYTES], size_t *ret);

/* Takes the header off the front; false for a header that no peer may send. */
bool rpc_header_get(struct xdr_in *x, struct rpc_header *ret);

/* Begins a message in x: room for the length, and the header. */
void rpc_frame_begin(struct xdr_out *x, const struct rpc_header *h);
/* Sets the length. False when something did not fit; then nothing may be sent. */
bool rpc_frame_end(struct xdr_out *x);
