/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * arena.h - memory that is freed all at once: for what lives exactly as long as one request.
 *
 * Not thread-safe. A limit bounds what one request may make us allocate.
 */
#pragma once

#include "base/own.h"

#include <stdint.h>

struct arena {
    struct arena_chunk *chunks; /* newest first; owned */
    size_t used;                /* bytes handed out */
    size_t max;
};

#define ARENA_INIT(max_bytes) \
    {                         \
        .max = (max_bytes)    \
    }

/* Zeroed and aligned for any type; NULL when the limit or memory is reached. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t n, size_t size);
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_strdup(struct arena *a, const char *s);
char *arena_format(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
/* Frees everything; the arena may be used again. */
void arena_done(struct arena *a);
