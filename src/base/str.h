/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * str.h - growing strings with a limit, and numbers from text.
 */
#pragma once

#include "base/own.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* A string that grows up to max bytes. After a failure (no memory, limit reached) it stays empty,
 * appends do nothing, and failed is set: check once, at the end. */
struct strbuf {
    char *s; /* owned; NULL until the first append, then NUL-terminated */
    size_t len;
    size_t room;
    size_t max;
    bool failed;
};

#define STRBUF_INIT(max_bytes) \
    {                          \
        .max = (max_bytes)     \
    }

void strbuf_append(struct strbuf *b, const void *p, size_t len);
void strbuf_puts(struct strbuf *b, const char *s);
void strbuf_printf(struct strbuf *b, const char *fmt, ...) PRINTF(2, 3);
/* The owned string ("" when nothing was appended), or NULL after a failure. Resets the buffer. */
char *strbuf_take(struct strbuf *b);
void strbuf_done(struct strbuf *b);

static inline bool str_eq(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static inline bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix);

/* The whole of s is a number (base 0: 0x and 0 prefixes): 0, -EINVAL, or -ERANGE. */
int str_to_u64(const char *s, int base, uint64_t *ret) MUST_CHECK;
int str_to_i64(const char *s, int base, int64_t *ret) MUST_CHECK;
/* The same, with an upper limit. */
int str_to_u32(const char *s, uint32_t max, uint32_t *ret) MUST_CHECK;
/* on/off, yes/no, true/false, y/n. */
int str_to_bool(const char *s, bool *ret) MUST_CHECK;

/* asprintf() that returns the string or NULL. */
char *str_format(const char *fmt, ...) PRINTF(1, 2);

/* Edit distance bounded by 8; for "did you mean". */
unsigned str_distance(const char *a, const char *b);
