/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * own.h - who frees what: scope-bound cleanup and explicit hand-over.
 *
 * Rule: a destructor x_free() takes NULL, copes with a half-built object and
 * returns NULL, so "p = x_free(p)" never leaves a dangling pointer behind.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn)  __attribute__((cleanup(fn)))
#define MUST_CHECK   __attribute__((warn_unused_result))
#define PRINTF(a, b) __attribute__((format(printf, a, b)))

/* Makes x_freep() out of x_free(), for use as CLEANUP(x_freep). */
#define DEFINE_CLEANUP(type, fn)        \
    static inline void fn##p(type **pp) \
    {                                   \
        *pp = fn(*pp);                  \
    }

/* Moves the value out; the variable no longer owns it. */
#define TAKE_PTR(p)                        \
    ({                                     \
        __typeof__(p) *take_pp_ = &(p);    \
        __typeof__(p) take_v_ = *take_pp_; \
        *take_pp_ = NULL;                  \
        take_v_;                           \
    })

#define TAKE_FD(fd)              \
    ({                           \
        int *take_fp_ = &(fd);   \
        int take_f_ = *take_fp_; \
        *take_fp_ = -1;          \
        take_f_;                 \
    })

static inline void free_memp(void *pp)
{
    free(*(void **)pp);
    *(void **)pp = NULL;
}

static inline void close_fdp(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

#define AUTO_FREE CLEANUP(free_memp)
#define AUTO_FD   CLEANUP(close_fdp)
