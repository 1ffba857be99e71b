/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * opt.h - option tables: a struct's settable members, named, typed, with help and default.
 *
 * One const table serves the parser, "help" listings and introspection. Ends with .name == NULL.
 *
 *     static const struct opt rng_opts[] = {
 *         OPT_U64(struct rng, max_bytes, "max-bytes", "INT64_MAX", "bytes per period"),
 *         OPT_END,
 *     };
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum opt_kind {
    OPT_KIND_BOOL,
    OPT_KIND_U16,
    OPT_KIND_U32,
    OPT_KIND_U64,
    OPT_KIND_SIZE,
    OPT_KIND_STR
};

struct opt {
    const char *name;
    const char *help;
    const char *dflt; /* as the user would write it; NULL: zero, false, no string */
    enum opt_kind kind;
    size_t offset;
};

/* offsetof() that refuses to compile when the member has another type. */
#define TYPED_OFFSET(T, member, M) \
    (offsetof(T, member) +         \
     0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((T *)NULL)->member), M) ? 1 : -1]))

#define OPT_ENTRY(T, member, M, kind_, key, dflt_, help_)                 \
    {                                                                     \
        .name = (key), .help = (help_), .dflt = (dflt_), .kind = (kind_), \
        .offset = TYPED_OFFSET(T, member, M)                              \
    }
#define OPT_BOOL(T, member, key, dflt_, help_) \
    OPT_ENTRY(T, member, bool, OPT_KIND_BOOL, key, dflt_, help_)
#define OPT_U16(T, member, key, dflt_, help_) \
    OPT_ENTRY(T, member, uint16_t, OPT_KIND_U16, key, dflt_, help_)
#define OPT_U32(T, member, key, dflt_, help_) \
    OPT_ENTRY(T, member, uint32_t, OPT_KIND_U32, key, dflt_, help_)
#define OPT_U64(T, member, key, dflt_, help_) \
    OPT_ENTRY(T, member, uint64_t, OPT_KIND_U64, key, dflt_, help_)
/* A uint64_t in bytes; takes the suffixes of size_parse() in a caller that has codec. */
#define OPT_SIZE(T, member, key, dflt_, help_) \
    OPT_ENTRY(T, member, uint64_t, OPT_KIND_SIZE, key, dflt_, help_)
/* An owned char *. */
#define OPT_STR(T, member, key, dflt_, help_) \
    OPT_ENTRY(T, member, char *, OPT_KIND_STR, key, dflt_, help_)
#define OPT_END      \
    {                \
        .name = NULL \
    }

/* The entry, or NULL. */
const struct opt *opt_find(const struct opt *table, const char *name);

/* The entry whose name is nearest to what the user wrote, or NULL when none is near. */
const struct opt *opt_nearest(const struct opt *table, const char *name);

/* Sets every member to its default. */
int opt_defaults(const struct opt *table, void *obj, struct err **err) MUST_CHECK;

/* Sets the member from text; the error names the option and the value. */
int opt_set(const struct opt *table, void *obj, const char *name, const char *value,
            struct err **err) MUST_CHECK;

/* The member as text, owned by the caller; NULL when there is no memory or no string is set. */
char *opt_get(const struct opt *o, const void *obj);

/* Frees the strings. */
void opt_done(const struct opt *table, void *obj);

/* "bool", "uint32", "size", "str" ...: as in help texts. */
const char *opt_kind_name(enum opt_kind kind);

/* 1024-based size with an optional suffix B K M G T P E (and kib, MiB ...), and a fraction. */
int opt_parse_size(const char *s, uint64_t *ret) MUST_CHECK;
