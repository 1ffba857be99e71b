/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * json.h - thin helpers over json-c: strict parsing with limits, typed member access.
 *
 * Objects are json-c's, counted: json_object_put() frees. Getters borrow.
 */
#pragma once

#include "base/err.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

enum { JSON_MAX_DEPTH = 64 };

static inline void json_putp(struct json_object **o)
{
    json_object_put(*o);
    *o = NULL;
}
#define AUTO_JSON CLEANUP(json_putp)

/* One value and nothing but white space after it; UTF-8 is checked. QMP's single-quoted strings are
 * accepted. */
int json_parse(const char *text, size_t len, struct json_object **ret, struct err **err) MUST_CHECK;

/* The member, or NULL when there is none or it is null. */
struct json_object *json_member(struct json_object *o, const char *key);

/* Typed members; a missing one is -ENOENT, one of another type -EINVAL, both with an error text. */
int json_get_str(struct json_object *o, const char *key, const char **ret, struct err **err)
    MUST_CHECK;
int json_get_i64(struct json_object *o, const char *key, int64_t *ret, struct err **err) MUST_CHECK;
int json_get_bool(struct json_object *o, const char *key, bool *ret, struct err **err) MUST_CHECK;

/* The same for members that may be missing: dflt then. */
static inline const char *json_str_or(struct json_object *o, const char *key, const char *dflt)
{
    const char *v;

    return json_get_str(o, key, &v, NULL) == 0 ? v : dflt;
}

static inline int64_t json_i64_or(struct json_object *o, const char *key, int64_t dflt)
{
    int64_t v;

    return json_get_i64(o, key, &v, NULL) == 0 ? v : dflt;
}

static inline bool json_bool_or(struct json_object *o, const char *key, bool dflt)
{
    bool v;

    return json_get_bool(o, key, &v, NULL) == 0 ? v : dflt;
}

/* Adds a member; aborts never: a failed allocation leaves the member out and returns -ENOMEM. */
int json_add_str(struct json_object *o, const char *key, const char *value);
int json_add_i64(struct json_object *o, const char *key, int64_t value);
int json_add_u64(struct json_object *o, const char *key, uint64_t value);
int json_add_bool(struct json_object *o, const char *key, bool value);
/* Takes over value. */
int json_add(struct json_object *o, const char *key, struct json_object *value);
