/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xdr.h - External Data Representation (RFC 4506): the primitives under the generated codecs.
 *
 * An encoder appends to a buffer with a limit; a decoder reads a borrowed one. Both stop at the
 * first error and keep it in failed, so that callers check once at the end. Strings and arrays
 * always have a maximum, and a decoder never allocates more than its input could fill.
 */
#pragma once

#include "base/own.h"

#include <stdbool.h>
#include <stdint.h>

struct xdr_out {
    uint8_t *buf; /* owned */
    size_t len;
    size_t room;
    size_t max;
    bool failed;
};

struct xdr_in {
    const uint8_t *p;
    size_t left;
    bool failed;
};

void xdr_out_init(struct xdr_out *x, size_t max);
void xdr_out_done(struct xdr_out *x);
void xdr_put_u32(struct xdr_out *x, uint32_t v);
void xdr_put_u64(struct xdr_out *x, uint64_t v);
void xdr_put_double(struct xdr_out *x, double v);
/* Fixed-length opaque data, padded to four bytes (RFC 4506, 4.9). */
void xdr_put_fixed(struct xdr_out *x, const void *p, size_t len);
/* Bytes as they are: what follows the header of a packet that is no XDR. */
void xdr_put_raw(struct xdr_out *x, const void *p, size_t len);
/* Variable-length opaque data and strings (4.10, 4.11); longer than max fails. */
void xdr_put_bytes(struct xdr_out *x, const void *p, size_t len, size_t max);
void xdr_put_string(struct xdr_out *x, const char *s, size_t max);

struct xdr_in xdr_in_of(const void *buf, size_t len);
uint32_t xdr_get_u32(struct xdr_in *x);
uint64_t xdr_get_u64(struct xdr_in *x);
double xdr_get_double(struct xdr_in *x);
bool xdr_get_bool(struct xdr_in *x);
void xdr_get_fixed(struct xdr_in *x, void *p, size_t len);
/* Borrowed pointer into the input; *ret_len at most max. */
const uint8_t *xdr_get_bytes(struct xdr_in *x, size_t max, size_t *ret_len);
/* Owned, NUL-terminated; a NUL inside fails. NULL after a failure. */
char *xdr_get_string(struct xdr_in *x, size_t max);
/* The element count of an array (4.13) whose elements take at least least_bytes each on the wire.
 */
uint32_t xdr_get_count(struct xdr_in *x, size_t max, size_t least_bytes);
