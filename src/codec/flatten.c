/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "codec/flatten.h"

#include "base/str.h"

#include <errno.h>
#include <stdio.h>

static int flatten(struct json_object *o, const char *prefix, struct keyval *kv, unsigned depth,
                   struct err **err);

static int add_member(const char *prefix, const char *key, struct json_object *v, struct keyval *kv,
                      unsigned depth, struct err **err)
{
    AUTO_FREE char *name =
        *prefix != '\0' ? str_format("%s.%s", prefix, key) : str_format("%s", key);

    if (name == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    return flatten(v, name, kv, depth + 1, err);
}

static int flatten(struct json_object *o, const char *prefix, struct keyval *kv, unsigned depth,
                   struct err **err)
{
    int r = 0;

    if (depth > JSON_MAX_DEPTH) {
        return err_set(err, EINVAL, "'%s' is nested too deeply", prefix);
    }
    switch (json_object_get_type(o)) {
    case json_type_object: {
        json_object_object_foreach(o, key, value)
        {
            if (r == 0) {
                r = add_member(prefix, key, value, kv, depth, err);
            }
        }
        return r;
    }
    case json_type_array:
        for (size_t i = 0; r == 0 && i < json_object_array_length(o); i++) {
            char index[24];

            (void)snprintf(index, sizeof(index), "%zu", i);
            r = add_member(prefix, index, json_object_array_get_idx(o, i), kv, depth, err);
        }
        return r;
    case json_type_boolean:
        return keyval_add(kv, prefix, json_object_get_boolean(o) ? "on" : "off");
    case json_type_null:
        return keyval_add(kv, prefix, "");
    default:
        return keyval_add(kv, prefix, json_object_get_string(o));
    }
}

int json_to_keyval(struct json_object *o, struct keyval **ret, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r;

    if (!json_object_is_type(o, json_type_object)) {
        return err_set(err, EINVAL, "a JSON object is needed");
    }
    r = keyval_parse("", NULL, false, &kv, err);
    if (r == 0) {
        r = flatten(o, "", kv, 0, err);
    }
    if (r == -ENOMEM) {
        return err_set(err, ENOMEM, "no memory, or too many members");
    }
    if (r == 0) {
        *ret = TAKE_PTR(kv);
    }
    return r;
}

int keyval_parse_any(const char *text, const char *implied, bool flags, struct keyval **ret,
                     struct err **err)
{
    AUTO_JSON struct json_object *o = NULL;
    int r;

    if (*text != '{') {
        return keyval_parse(text, implied, flags, ret, err);
    }
    r = json_parse(text, strlen(text), &o, err);
    return r == 0 ? json_to_keyval(o, ret, err) : r;
}
