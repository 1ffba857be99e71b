/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/opt.h"

#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

const struct opt *opt_find(const struct opt *table, const char *name)
{
    for (const struct opt *o = table; o != NULL && o->name != NULL; o++) {
        if (str_eq(o->name, name)) {
            return o;
        }
    }
    return NULL;
}

const struct opt *opt_nearest(const struct opt *table, const char *name)
{
    const struct opt *best = NULL;
    unsigned least = 4; /* three edits are still a typing error */

    for (const struct opt *o = table; o != NULL && o->name != NULL; o++) {
        unsigned d = str_distance(o->name, name);

        if (d < least) {
            least = d;
            best = o;
        }
    }
    return best;
}

int opt_parse_size(const char *s, uint64_t *ret)
{
    static const char suffixes[] = "BKMGTPE";
    char *end;
    const char *p = s;
    unsigned shift = 0;
    uint64_t whole;
    double frac = 0;

    if (!isdigit((unsigned char)*s)) {
        return -EINVAL;
    }
    errno = 0;
    whole = strtoull(s, &end, str_starts(s, "0x") ? 16 : 10);
    if (errno != 0) {
        return -ERANGE;
    }
    p = end;
    if (*p == '.') {
        double scale = 0.1;

        for (p++; isdigit((unsigned char)*p); p++, scale /= 10) {
            frac += (*p - '0') * scale;
        }
    }
    if (*p != '\0') {
        const char *at = strchr(suffixes, toupper((unsigned char)*p));

        if (at == NULL) {
            return -EINVAL;
        }
        shift = (unsigned)(at - suffixes) * 10;
        p++;
        if (shift != 0 && (*p == 'i' || *p == 'I')) {
            p++;
            if (toupper((unsigned char)*p) == 'B') {
                p++;
            }
        }
        if (*p != '\0') {
            return -EINVAL;
        }
    }
    if (shift != 0 && (whole >> (64 - shift)) != 0) {
        return -ERANGE;
    }
    *ret = (whole << shift) + (uint64_t)(frac * (double)(1ull << shift) + 0.5);
    return 0;
}

static int set_number(const struct opt *o, void *at, const char *value)
{
    uint64_t v = 0;
    int r = o->kind == OPT_KIND_SIZE ? opt_parse_size(value, &v) : str_to_u64(value, 0, &v);

    if (r < 0) {
        return r;
    }
    switch (o->kind) {
    case OPT_KIND_U16:
        *(uint16_t *)at = (uint16_t)v;
        return v > UINT16_MAX ? -ERANGE : 0;
    case OPT_KIND_U32:
        *(uint32_t *)at = (uint32_t)v;
        return v > UINT32_MAX ? -ERANGE : 0;
    default:
        *(uint64_t *)at = v;
        return 0;
    }
}

static int set_member(const struct opt *o, void *obj, const char *value)
{
    void *at = (char *)obj + o->offset;

    if (o->kind == OPT_KIND_BOOL) {
        return str_to_bool(value, at);
    }
    if (o->kind == OPT_KIND_STR) {
        char *copy = strdup(value);

        if (copy == NULL) {
            return -ENOMEM;
        }
        free(*(char **)at);
        *(char **)at = copy;
        return 0;
    }
    return set_number(o, at, value);
}

int opt_defaults(const struct opt *table, void *obj, struct err **err)
{
    for (const struct opt *o = table; o != NULL && o->name != NULL; o++) {
        int r = o->dflt != NULL ? set_member(o, obj, o->dflt) : 0;

        if (r < 0) {
            return err_set(err, -r, "bad default '%s' of '%s'", o->dflt, o->name);
        }
    }
    return 0;
}

int opt_set(const struct opt *table, void *obj, const char *name, const char *value,
            struct err **err)
{
    const struct opt *o = opt_find(table, name);
    int r;

    if (o == NULL) {
        const struct opt *near = opt_nearest(table, name);

        return near != NULL
                   ? err_set(err, ENOENT, "no option '%s', did you mean '%s'?", name, near->name)
                   : err_set(err, ENOENT, "no option '%s'", name);
    }
    r = set_member(o, obj, value);
    if (r == -ERANGE) {
        return err_set(err, ERANGE, "'%s=%s' is out of range", name, value);
    }
    if (r < 0) {
        return err_set(err, -r, "'%s' takes a %s, not '%s'", name, opt_kind_name(o->kind), value);
    }
    return 0;
}

char *opt_get(const struct opt *o, const void *obj)
{
    const void *at = (const char *)obj + o->offset;

    switch (o->kind) {
    case OPT_KIND_BOOL:
        return strdup(*(const bool *)at ? "on" : "off");
    case OPT_KIND_U16:
        return str_format("%u", *(const uint16_t *)at);
    case OPT_KIND_U32:
        return str_format("%" PRIu32, *(const uint32_t *)at);
    case OPT_KIND_U64:
    case OPT_KIND_SIZE:
        return str_format("%" PRIu64, *(const uint64_t *)at);
    case OPT_KIND_STR:
        return *(char *const *)at != NULL ? strdup(*(char *const *)at) : NULL;
    }
    return NULL;
}

void opt_done(const struct opt *table, void *obj)
{
    for (const struct opt *o = table; o != NULL && o->name != NULL; o++) {
        if (o->kind == OPT_KIND_STR) {
            free_memp((char *)obj + o->offset);
        }
    }
}

const char *opt_kind_name(enum opt_kind kind)
{
    static const char *const names[] = {
        [OPT_KIND_BOOL] = "bool",  [OPT_KIND_U16] = "uint16", [OPT_KIND_U32] = "uint32",
        [OPT_KIND_U64] = "uint64", [OPT_KIND_SIZE] = "size",  [OPT_KIND_STR] = "str",
    };

    return names[kind];
}
