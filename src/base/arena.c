/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_BYTES = 4096, ALIGN = 16 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t room;
    size_t used;
    _Alignas(ALIGN) char data[];
};

void *arena_alloc(struct arena *a, size_t size)
{
    size_t want = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct arena_chunk *c = a->chunks;
    void *p;

    if (want < size || want > a->max || a->used > a->max - want) {
        return NULL;
    }
    if (c == NULL || c->room - c->used < want) {
        size_t room = want > CHUNK_BYTES ? want : CHUNK_BYTES;

        c = malloc(sizeof(*c) + room);
        if (c == NULL) {
            return NULL;
        }
        *c = (struct arena_chunk) { .next = a->chunks, .room = room };
        a->chunks = c;
    }
    p = c->data + c->used;
    c->used += want;
    a->used += want;
    return memset(p, 0, want);
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
    size_t total;

    return __builtin_mul_overflow(n, size, &total) ? NULL : arena_alloc(a, total);
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *p = len + 1 > len ? arena_alloc(a, len + 1) : NULL;

    return p != NULL ? memcpy(p, s, len) : NULL;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_format(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    char *p;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    p = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (p != NULL) {
        va_start(ap, fmt);
        (void)vsnprintf(p, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    return p;
}

void arena_done(struct arena *a)
{
    while (a->chunks != NULL) {
        struct arena_chunk *next = a->chunks->next;

        free(a->chunks);
        a->chunks = next;
    }
    a->used = 0;
}
