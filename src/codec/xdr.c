/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "codec/xdr.h"

#include "base/bytes.h"

void xdr_out_init(struct xdr_out *x, size_t max)
{
    *x = (struct xdr_out) { .max = max };
}

void xdr_out_done(struct xdr_out *x)
{
    free(x->buf);
    *x = (struct xdr_out) { .max = x->max };
}

static uint8_t *reserve(struct xdr_out *x, size_t len)
{
    uint8_t *at;

    if (x->failed || len > x->max || x->len > x->max - len) {
        x->failed = true;
        return NULL;
    }
    if (x->len + len > x->room) {
        size_t room = x->room != 0 ? x->room : 256;
        uint8_t *buf;

        while (room < x->len + len) {
            room *= 2;
        }
        buf = realloc(x->buf, room);
        if (buf == NULL) {
            x->failed = true;
            return NULL;
        }
        x->buf = buf;
        x->room = room;
    }
    at = x->buf + x->len;
    x->len += len;
    return at;
}

void xdr_put_u32(struct xdr_out *x, uint32_t v)
{
    uint8_t *p = reserve(x, 4);

    if (p != NULL) {
        be32_put(p, v);
    }
}

void xdr_put_u64(struct xdr_out *x, uint64_t v)
{
    uint8_t *p = reserve(x, 8);

    if (p != NULL) {
        be64_put(p, v);
    }
}

void xdr_put_double(struct xdr_out *x, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    xdr_put_u64(x, bits);
}

void xdr_put_fixed(struct xdr_out *x, const void *p, size_t len)
{
    uint8_t *at;

    if (len > x->max) {
        x->failed = true;
        return;
    }
    at = reserve(x, round_up_u64(len, 4));
    if (at != NULL && len > 0) {
        /* Zero the whole last word first, then lay the bytes over it. */
        memset(at + (round_up_u64(len, 4) - 4), 0, 4);
        memcpy(at, p, len);
    }
}

void xdr_put_bytes(struct xdr_out *x, const void *p, size_t len, size_t max)
{
    if (len > max || len > UINT32_MAX) {
        x->failed = true;
        return;
    }
    xdr_put_u32(x, (uint32_t)len);
    xdr_put_fixed(x, p, len);
}

void xdr_put_string(struct xdr_out *x, const char *s, size_t max)
{
    xdr_put_bytes(x, s, strlen(s), max);
}

struct xdr_in xdr_in_of(const void *buf, size_t len)
{
    return (struct xdr_in) { .p = buf, .left = len };
}

static const uint8_t *take(struct xdr_in *x, size_t len)
{
    const uint8_t *at = x->p;

    if (x->failed || len > x->left) {
        x->failed = true;
        return NULL;
    }
    x->p += len;
    x->left -= len;
    return at;
}

uint32_t xdr_get_u32(struct xdr_in *x)
{
    const uint8_t *p = take(x, 4);

    return p != NULL ? be32_get(p) : 0;
}

uint64_t xdr_get_u64(struct xdr_in *x)
{
    const uint8_t *p = take(x, 8);

    return p != NULL ? be64_get(p) : 0;
}

double xdr_get_double(struct xdr_in *x)
{
    uint64_t bits = xdr_get_u64(x);
    double v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

bool xdr_get_bool(struct xdr_in *x)
{
    uint32_t v = xdr_get_u32(x);

    if (v > 1) {
        x->failed = true;
    }
    return v == 1;
}

void xdr_get_fixed(struct xdr_in *x, void *p, size_t len)
{
    const uint8_t *at = len <= x->left ? take(x, round_up_u64(len, 4)) : NULL;

    if (at == NULL) {
        x->failed = true;
        memset(p, 0, len);
        return;
    }
    memcpy(p, at, len);
}

const uint8_t *xdr_get_bytes(struct xdr_in *x, size_t max, size_t *ret_len)
{
    uint32_t len = xdr_get_u32(x);
    const uint8_t *at = len <= max && len <= x->left ? take(x, round_up_u64(len, 4)) : NULL;

    *ret_len = at != NULL ? len : 0;
    if (at == NULL) {
        x->failed = true;
    }
    return at;
}

char *xdr_get_string(struct xdr_in *x, size_t max)
{
    size_t len;
    const uint8_t *at = xdr_get_bytes(x, max, &len);
    char *s;

    if (at == NULL || memchr(at, '\0', len) != NULL) {
        x->failed = true;
        return NULL;
    }
    s = malloc(len + 1);
    if (s == NULL) {
        x->failed = true;
        return NULL;
    }
    memcpy(s, at, len);
    s[len] = '\0';
    return s;
}

uint32_t xdr_get_count(struct xdr_in *x, size_t max, size_t least_bytes)
{
    uint32_t n = xdr_get_u32(x);

    if (n > max || (least_bytes > 0 && n > x->left / least_bytes)) {
        x->failed = true;
        return 0;
    }
    return n;
}

void xdr_put_raw(struct xdr_out *x, const void *p, size_t len)
{
    uint8_t *at = reserve(x, len);

    if (at != NULL) {
        memcpy(at, p, len);
    }
}
