/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* iov.h - parts of I/O vectors. */
#pragma once

#include "base/own.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

size_t iov_len(const struct iovec *iov, unsigned n);
/* The bytes [off, off+len) of iov as a vector in to (room for n entries); their number. */
unsigned iov_part(const struct iovec *iov, unsigned n, size_t off, size_t len, struct iovec *to);
void iov_zero(const struct iovec *iov, unsigned n, size_t off, size_t len);
void iov_to_buf(const struct iovec *iov, unsigned n, size_t off, void *buf, size_t len);
void iov_from_buf(const struct iovec *iov, unsigned n, size_t off, const void *buf, size_t len);
bool iov_is_zero(const struct iovec *iov, unsigned n);
/* All bytes are 0. Fast: this decides what convert writes. */
bool buf_is_zero(const void *buf, size_t len);

/* An iovec for data that will only be read. */
static inline struct iovec iov_const(const void *buf, size_t len)
{
    union {
        const void *from;
        void *to;
    } p = { .from = buf };

    return (struct iovec) { .iov_base = p.to, .iov_len = len };
}
