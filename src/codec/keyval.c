/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "codec/keyval.h"

#include "base/opt.h"
#include "base/str.h"
#include "codec/json.h"

#include <errno.h>

struct keyval *keyval_free(struct keyval *kv)
{
    if (kv != NULL) {
        for (size_t i = 0; i < kv->n; i++) {
            free(kv->pairs[i].key);
            free(kv->pairs[i].value);
        }
        free(kv->pairs);
        free(kv);
    }
    return NULL;
}

/* Takes over both strings, also on failure. */
static int add_owned(struct keyval *kv, char *key, char *value)
{
    struct keyval_pair *pairs = NULL;

    if (key != NULL && value != NULL && kv->n < KEYVAL_MAX_PAIRS) {
        pairs = realloc(kv->pairs, (kv->n + 1) * sizeof(*pairs));
    }
    if (pairs == NULL) {
        free(key);
        free(value);
        return kv->n < KEYVAL_MAX_PAIRS ? -ENOMEM : -E2BIG;
    }
    kv->pairs = pairs;
    kv->pairs[kv->n++] = (struct keyval_pair) { .key = key, .value = value };
    return 0;
}

int keyval_add(struct keyval *kv, const char *key, const char *value)
{
    return add_owned(kv, strdup(key), strdup(value));
}

/* Reads up to an undoubled comma; undoubles commas. *p is left on the comma or the end. */
static char *take_value(const char **p)
{
    struct strbuf out = STRBUF_INIT(KEYVAL_MAX_BYTES);

    for (;;) {
        size_t len = strcspn(*p, ",");

        strbuf_append(&out, *p, len);
        *p += len;
        if ((*p)[0] != ',' || (*p)[1] != ',') {
            return strbuf_take(&out);
        }
        strbuf_puts(&out, ",");
        *p += 2;
    }
}

static int parse_element(struct keyval *kv, const char **p, const char *implied, bool flags,
                         struct err **err)
{
    size_t key_len = strcspn(*p, "=,");
    const char *start = *p;

    if (start[key_len] == '=' && key_len > 0) {
        *p += key_len + 1;
        return add_owned(kv, strndup(start, key_len), take_value(p));
    }
    if (implied != NULL && kv->n == 0) {
        return add_owned(kv, strdup(implied), take_value(p));
    }
    if (key_len == 0) {
        return err_set(err, EINVAL, "an option name is missing before '%s'", start);
    }
    if (!flags) {
        return err_set(err, EINVAL, "'%.*s' needs a value: write '%.*s=VALUE'", (int)key_len, start,
                       (int)key_len, start);
    }
    *p += key_len;
    if (key_len > 2 && str_starts(start, "no")) {
        return add_owned(kv, strndup(start + 2, key_len - 2), strdup("off"));
    }
    return add_owned(kv, strndup(start, key_len), strdup("on"));
}

static int flatten(struct keyval *kv, const char *prefix, struct json_object *v, int depth);

static int flatten_member(struct keyval *kv, const char *prefix, const char *name,
                          struct json_object *v, int depth)
{
    AUTO_FREE char *key = str_format("%s%s%s", prefix, *prefix != '\0' ? "." : "", name);

    return key != NULL ? flatten(kv, key, v, depth + 1) : -ENOMEM;
}

static int flatten(struct keyval *kv, const char *prefix, struct json_object *v, int depth)
{
    enum { MAX_DEPTH = 32 };

    if (depth > MAX_DEPTH) {
        return -E2BIG;
    }
    if (json_object_is_type(v, json_type_object)) {
        json_object_object_foreach(v, name, member)
        {
            int r = flatten_member(kv, prefix, name, member, depth);

            if (r < 0) {
                return r;
            }
        }
        return 0;
    }
    if (json_object_is_type(v, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(v); i++) {
            AUTO_FREE char *name = str_format("%zu", i);
            int r = name != NULL
                        ? flatten_member(kv, prefix, name, json_object_array_get_idx(v, i), depth)
                        : -ENOMEM;

            if (r < 0) {
                return r;
            }
        }
        return 0;
    }
    if (json_object_is_type(v, json_type_boolean)) {
        return keyval_add(kv, prefix, json_object_get_boolean(v) ? "on" : "off");
    }
    return keyval_add(kv, prefix, v != NULL ? json_object_get_string(v) : "");
}

static int parse_json(struct keyval *kv, const char *text, struct err **err)
{
    struct json_object *top = NULL;
    int r = json_parse(text, strlen(text), &top, err);

    if (r == 0) {
        r = flatten(kv, "", top, 0);
        json_object_put(top);
    }
    return r;
}

int keyval_parse(const char *text, const char *implied, bool flags, struct keyval **ret,
                 struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = calloc(1, sizeof(*kv));
    int r = 0;

    if (kv == NULL) {
        return -ENOMEM;
    }
    if (strlen(text) > KEYVAL_MAX_BYTES) {
        return err_set(err, E2BIG, "an option longer than 1 MiB");
    }
    if (*text == '{') {
        r = parse_json(kv, text, err);
    }
    for (const char *p = text; r == 0 && *text != '{' && *p != '\0';) {
        r = parse_element(kv, &p, implied, flags, err);
        if (*p == ',') {
            p++;
        }
    }
    if (r < 0) {
        return err_set(err, -r, "cannot parse '%.80s': %s", text, strerror(-r));
    }
    *ret = TAKE_PTR(kv);
    return 0;
}

const char *keyval_get(struct keyval *kv, const char *key)
{
    const char *value = NULL;

    for (size_t i = 0; i < kv->n; i++) {
        if (str_eq(kv->pairs[i].key, key)) {
            kv->pairs[i].used = true;
            value = kv->pairs[i].value;
        }
    }
    return value;
}

int keyval_get_bool(struct keyval *kv, const char *key, bool dflt, bool *ret, struct err **err)
{
    const char *v = keyval_get(kv, key);

    *ret = dflt;
    if (v != NULL && str_to_bool(v, ret) < 0) {
        return err_set(err, EINVAL, "'%s' takes on or off, not '%s'", key, v);
    }
    return 0;
}

int keyval_get_u64(struct keyval *kv, const char *key, unsigned long long dflt,
                   unsigned long long *ret, struct err **err)
{
    const char *v = keyval_get(kv, key);
    uint64_t n = dflt;

    if (v != NULL && str_to_u64(v, 0, &n) < 0) {
        return err_set(err, EINVAL, "'%s' takes a number, not '%s'", key, v);
    }
    *ret = n;
    return 0;
}

int keyval_get_size(struct keyval *kv, const char *key, unsigned long long dflt,
                    unsigned long long *ret, struct err **err)
{
    const char *v = keyval_get(kv, key);
    uint64_t n = dflt;

    if (v != NULL && opt_parse_size(v, &n) < 0) {
        return err_set(err, EINVAL, "'%s' takes a size like 512M or 4G, not '%s'", key, v);
    }
    *ret = n;
    return 0;
}

int keyval_check_used(const struct keyval *kv, struct err **err)
{
    for (size_t i = 0; i < kv->n; i++) {
        if (!kv->pairs[i].used) {
            return err_set(err, EINVAL, "unknown option '%s=%s'", kv->pairs[i].key,
                           kv->pairs[i].value);
        }
    }
    return 0;
}
