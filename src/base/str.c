/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static bool strbuf_reserve(struct strbuf *b, size_t more)
{
    size_t room = b->room != 0 ? b->room : 64;
    char *s;

    if (b->failed || more > b->max || b->len > b->max - more) {
        goto fail;
    }
    if (b->len + more < b->room) {
        return true;
    }
    while (room <= b->len + more) {
        room *= 2;
    }
    s = realloc(b->s, room);
    if (s == NULL) {
        goto fail;
    }
    b->s = s;
    b->room = room;
    return true;
fail:
    strbuf_done(b);
    b->failed = true;
    return false;
}

void strbuf_append(struct strbuf *b, const void *p, size_t len)
{
    if (strbuf_reserve(b, len)) {
        if (len > 0) {
            memcpy(b->s + b->len, p, len);
        }
        b->len += len;
        b->s[b->len] = '\0';
    }
}

void strbuf_puts(struct strbuf *b, const char *s)
{
    strbuf_append(b, s, strlen(s));
}

void strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !strbuf_reserve(b, (size_t)n)) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(b->s + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

char *strbuf_take(struct strbuf *b)
{
    char *s = NULL;

    if (!b->failed) {
        strbuf_append(b, "", 0);
        s = TAKE_PTR(b->s);
    }
    strbuf_done(b);
    return s;
}

void strbuf_done(struct strbuf *b)
{
    free(b->s);
    b->s = NULL;
    b->len = 0;
    b->room = 0;
    b->failed = false;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s);
    size_t k = strlen(suffix);

    return n >= k && strcmp(s + n - k, suffix) == 0;
}

int str_to_u64(const char *s, int base, uint64_t *ret)
{
    char *end;
    uint64_t v;

    /* strtoull() takes white space and a minus sign; a number here has neither. */
    if (!((*s >= '0' && *s <= '9') || (base == 16 && strchr("abcdefABCDEF", *s) != NULL)) ||
        *s == '\0') {
        return -EINVAL;
    }
    errno = 0;
    v = strtoull(s, &end, base);
    if (errno != 0) {
        return -errno;
    }
    if (*end != '\0') {
        return -EINVAL;
    }
    *ret = v;
    return 0;
}

int str_to_i64(const char *s, int base, int64_t *ret)
{
    bool neg = *s == '-';
    uint64_t v;
    int r = str_to_u64(s + (neg ? 1 : 0), base, &v);

    if (r < 0) {
        return r;
    }
    if (v > (uint64_t)INT64_MAX + (neg ? 1 : 0)) {
        return -ERANGE;
    }
    *ret = neg ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

int str_to_u32(const char *s, uint32_t max, uint32_t *ret)
{
    uint64_t v;
    int r = str_to_u64(s, 0, &v);

    if (r < 0) {
        return r;
    }
    if (v > max) {
        return -ERANGE;
    }
    *ret = (uint32_t)v;
    return 0;
}

int str_to_bool(const char *s, bool *ret)
{
    static const char *const words[2][4] = { { "off", "no", "false", "n" },
                                             { "on", "yes", "true", "y" } };

    for (size_t i = 0; i < 8; i++) {
        if (str_eq(s, words[i / 4][i % 4])) {
            *ret = i / 4 != 0;
            return 0;
        }
    }
    return -EINVAL;
}

char *str_format(const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&s, fmt, ap);
    va_end(ap);
    return n < 0 ? NULL : s;
}

unsigned str_distance(const char *a, const char *b)
{
    enum { MAX_LEN = 48, MAX_DISTANCE = 8 };
    unsigned row[MAX_LEN + 1];
    size_t na = strlen(a);
    size_t nb = strlen(b);

    if (na > MAX_LEN || nb > MAX_LEN) {
        return MAX_DISTANCE;
    }
    for (size_t j = 0; j <= nb; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= na; i++) {
        unsigned diag = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned best = diag + (a[i - 1] != b[j - 1] ? 1 : 0);

            diag = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
        }
    }
    return row[nb] < MAX_DISTANCE ? row[nb] : MAX_DISTANCE;
}
