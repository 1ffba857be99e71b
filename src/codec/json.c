/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "codec/json.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>

int json_parse(const char *text, size_t len, struct json_object **ret, struct err **err)
{
    struct json_tokener *tok = json_tokener_new_ex(JSON_MAX_DEPTH);
    struct json_object *o;
    enum json_tokener_error why;
    size_t end;

    if (tok == NULL) {
        return -ENOMEM;
    }
    if (len == 0 || len > INT_MAX) {
        json_tokener_free(tok);
        return err_set(err, EINVAL, "not JSON: %s", len == 0 ? "empty" : "too long");
    }
    json_tokener_set_flags(tok, JSON_TOKENER_VALIDATE_UTF8);
    o = json_tokener_parse_ex(tok, text, (int)len);
    why = json_tokener_get_error(tok);
    if (why == json_tokener_continue) {
        /* A number at the very end is complete only when its end is seen. */
        end = json_tokener_get_parse_end(tok);
        o = json_tokener_parse_ex(tok, "", 1);
        why = json_tokener_get_error(tok);
        end = len;
    } else {
        end = json_tokener_get_parse_end(tok);
    }
    json_tokener_free(tok);
    if (why != json_tokener_success) {
        return err_set(err, EINVAL, "not JSON: %s at byte %zu", json_tokener_error_desc(why), end);
    }
    while (end < len && isspace((unsigned char)text[end])) {
        end++;
    }
    if (end != len) {
        json_object_put(o);
        return err_set(err, EINVAL, "not JSON: something follows the value at byte %zu", end);
    }
    *ret = o;
    return 0;
}

struct json_object *json_member(struct json_object *o, const char *key)
{
    struct json_object *v = NULL;

    if (!json_object_is_type(o, json_type_object)) {
        return NULL;
    }
    return json_object_object_get_ex(o, key, &v) ? v : NULL;
}

static int typed(struct json_object *o, const char *key, enum json_type type, const char *what,
                 struct json_object **ret, struct err **err)
{
    struct json_object *v = json_member(o, key);

    if (v == NULL) {
        return err_set(err, ENOENT, "Parameter '%s' is missing", key);
    }
    if (!json_object_is_type(v, type)) {
        return err_set(err, EINVAL, "Invalid parameter type for '%s', expected: %s", key, what);
    }
    *ret = v;
    return 0;
}

int json_get_str(struct json_object *o, const char *key, const char **ret, struct err **err)
{
    struct json_object *v = NULL;
    int r = typed(o, key, json_type_string, "string", &v, err);

    if (r == 0) {
        *ret = json_object_get_string(v);
    }
    return r;
}

int json_get_i64(struct json_object *o, const char *key, int64_t *ret, struct err **err)
{
    struct json_object *v = NULL;
    int r = typed(o, key, json_type_int, "integer", &v, err);

    if (r == 0) {
        *ret = json_object_get_int64(v);
    }
    return r;
}

int json_get_bool(struct json_object *o, const char *key, bool *ret, struct err **err)
{
    struct json_object *v = NULL;
    int r = typed(o, key, json_type_boolean, "boolean", &v, err);

    if (r == 0) {
        *ret = json_object_get_boolean(v) != 0;
    }
    return r;
}

int json_add(struct json_object *o, const char *key, struct json_object *value)
{
    if (value == NULL || json_object_object_add(o, key, value) < 0) {
        json_object_put(value);
        return -ENOMEM;
    }
    return 0;
}

int json_add_str(struct json_object *o, const char *key, const char *value)
{
    return json_add(o, key, json_object_new_string(value));
}

int json_add_i64(struct json_object *o, const char *key, int64_t value)
{
    return json_add(o, key, json_object_new_int64(value));
}

int json_add_u64(struct json_object *o, const char *key, uint64_t value)
{
    return json_add(o, key, json_object_new_uint64(value));
}

int json_add_bool(struct json_object *o, const char *key, bool value)
{
    return json_add(o, key, json_object_new_boolean(value ? 1 : 0));
}
