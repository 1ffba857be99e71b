/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/core/iov.h"

#include "base/bytes.h"

#include <string.h>

size_t iov_len(const struct iovec *iov, unsigned n)
{
    size_t len = 0;

    for (unsigned i = 0; i < n; i++) {
        len += iov[i].iov_len;
    }
    return len;
}

unsigned iov_part(const struct iovec *iov, unsigned n, size_t off, size_t len, struct iovec *to)
{
    unsigned used = 0;

    for (unsigned i = 0; i < n && len > 0; i++) {
        size_t part;

        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        part = min_u64(iov[i].iov_len - off, len);
        to[used].iov_base = (uint8_t *)iov[i].iov_base + off;
        to[used++].iov_len = part;
        len -= part;
        off = 0;
    }
    return used;
}

static void walk(const struct iovec *iov, unsigned n, size_t off, uint8_t *out, const uint8_t *in,
                 size_t len)
{
    for (unsigned i = 0; i < n && len > 0; i++) {
        size_t part;
        uint8_t *at;

        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        part = min_u64(iov[i].iov_len - off, len);
        at = (uint8_t *)iov[i].iov_base + off;
        if (out != NULL) {
            memcpy(out, at, part);
            out += part;
        } else if (in != NULL) {
            memcpy(at, in, part);
            in += part;
        } else {
            memset(at, 0, part);
        }
        len -= part;
        off = 0;
    }
}

void iov_zero(const struct iovec *iov, unsigned n, size_t off, size_t len)
{
    walk(iov, n, off, NULL, NULL, len);
}

void iov_to_buf(const struct iovec *iov, unsigned n, size_t off, void *buf, size_t len)
{
    walk(iov, n, off, buf, NULL, len);
}

void iov_from_buf(const struct iovec *iov, unsigned n, size_t off, const void *buf, size_t len)
{
    walk(iov, n, off, NULL, buf, len);
}

bool iov_is_zero(const struct iovec *iov, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (!buf_is_zero(iov[i].iov_base, iov[i].iov_len)) {
            return false;
        }
    }
    return true;
}

bool buf_is_zero(const void *buf, size_t len)
{
    enum { HEAD = 16, STEP = 128 };
    const uint8_t *p = buf;
    size_t head = len < HEAD ? len : HEAD;

    for (size_t i = 0; i < head; i++) {
        if (p[i] != 0) {
            return false;
        }
    }
    /* Most data shows itself at the first, middle or last byte; else or whole lines together. */
    if (len > HEAD && (p[len - 1] != 0 || p[len / 2] != 0)) {
        return false;
    }
    while (len >= STEP) {
        uint64_t v[STEP / 8];
        uint64_t any = 0;

        memcpy(v, p, STEP);
        for (unsigned i = 0; i < STEP / 8; i++) {
            any |= v[i];
        }
        if (any != 0) {
            return false;
        }
        p += STEP;
        len -= STEP;
    }
    for (size_t i = 0; i < len; i++) {
        if (p[i] != 0) {
            return false;
        }
    }
    return true;
}
