/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bytes.h - integers in byte buffers, a bounded reader, and arithmetic that cannot wrap.
 *
 * Everything that comes from a guest, an image or a wire is read with these: no struct is laid
 * over foreign memory, and no unchecked length takes part in an allocation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BYTES_DEFINE(name, type, conv)             \
    static inline type name##_get(const void *p)   \
    {                                              \
        type v;                                    \
        memcpy(&v, p, sizeof(v));                  \
        return conv(v);                            \
    }                                              \
    static inline void name##_put(void *p, type v) \
    {                                              \
        v = conv(v);                               \
        memcpy(p, &v, sizeof(v));                  \
    }

#define BYTES_SAME(v) (v)
BYTES_DEFINE(le16, uint16_t, BYTES_SAME)
BYTES_DEFINE(le32, uint32_t, BYTES_SAME)
BYTES_DEFINE(le64, uint64_t, BYTES_SAME)
BYTES_DEFINE(be16, uint16_t, __builtin_bswap16)
BYTES_DEFINE(be32, uint32_t, __builtin_bswap32)
BYTES_DEFINE(be64, uint64_t, __builtin_bswap64)
#undef BYTES_SAME
#undef BYTES_DEFINE

/* Reads front to back; after the first short read every getter returns 0 and failed stays set,
 * so that a parser may check once at its end. */
struct reader {
    const uint8_t *p;
    size_t left;
    bool failed;
};

static inline struct reader reader_of(const void *buf, size_t len)
{
    return (struct reader) { .p = buf, .left = len, .failed = false };
}

/* Borrowed pointer to the next len bytes, NULL when there are fewer. */
static inline const uint8_t *reader_take(struct reader *r, size_t len)
{
    const uint8_t *at = r->p;

    if (r->failed || len > r->left) {
        r->failed = true;
        return NULL;
    }
    r->p += len;
    r->left -= len;
    return at;
}

static inline uint8_t reader_u8(struct reader *r)
{
    const uint8_t *p = reader_take(r, 1);

    return p != NULL ? *p : 0;
}

static inline uint16_t reader_le16(struct reader *r)
{
    const uint8_t *p = reader_take(r, 2);

    return p != NULL ? le16_get(p) : 0;
}

static inline uint32_t reader_le32(struct reader *r)
{
    const uint8_t *p = reader_take(r, 4);

    return p != NULL ? le32_get(p) : 0;
}

static inline uint64_t reader_le64(struct reader *r)
{
    const uint8_t *p = reader_take(r, 8);

    return p != NULL ? le64_get(p) : 0;
}

static inline uint32_t reader_be32(struct reader *r)
{
    const uint8_t *p = reader_take(r, 4);

    return p != NULL ? be32_get(p) : 0;
}

static inline uint64_t reader_be64(struct reader *r)
{
    const uint8_t *p = reader_take(r, 8);

    return p != NULL ? be64_get(p) : 0;
}

/* *ret = a + b or a * b; false (and *ret unchanged) when that does not fit. */
static inline bool u64_add(uint64_t a, uint64_t b, uint64_t *ret)
{
    uint64_t v;

    return !__builtin_add_overflow(a, b, &v) && (*ret = v, true);
}

static inline bool u64_mul(uint64_t a, uint64_t b, uint64_t *ret)
{
    uint64_t v;

    return !__builtin_mul_overflow(a, b, &v) && (*ret = v, true);
}

static inline bool size_mul(size_t a, size_t b, size_t *ret)
{
    size_t v;

    return !__builtin_mul_overflow(a, b, &v) && (*ret = v, true);
}

/* Is [off, off + len) inside [0, size)? */
static inline bool range_within(uint64_t off, uint64_t len, uint64_t size)
{
    return off <= size && len <= size - off;
}

static inline uint64_t round_up_u64(uint64_t v, uint64_t align_pow2)
{
    return (v + align_pow2 - 1) & ~(align_pow2 - 1);
}

static inline uint64_t round_down_u64(uint64_t v, uint64_t align_pow2)
{
    return v & ~(align_pow2 - 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
