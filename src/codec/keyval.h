/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keyval.h - option strings in QEMU's form, "a=b,c.d=e,,f,flag", as an ordered list of pairs.
 *
 * A comma inside a value is doubled. A first element without '=' is the value of the implied key.
 * Another element without '=' is "key=on", and "nokey" is "key=off", when the caller allows it.
 * Text that begins with '{' is a JSON object, whose nested members get dotted keys.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct keyval_pair {
    char *key;   /* owned */
    char *value; /* owned */
    bool used;   /* set by the getters; keyval_check_used() finds what nobody asked for */
};

struct keyval {
    struct keyval_pair *pairs; /* in the order written */
    size_t n;
};

enum { KEYVAL_MAX_PAIRS = 512, KEYVAL_MAX_BYTES = 1 << 20 };

/* implied: key of a first value without '=', or NULL. flags: allow "key" and "nokey". */
int keyval_parse(const char *text, const char *implied, bool flags, struct keyval **ret,
                 struct err **err) MUST_CHECK;
struct keyval *keyval_free(struct keyval *kv);
DEFINE_CLEANUP(struct keyval, keyval_free)

/* The last value of the key (later ones win, as in QEMU), borrowed, or NULL. Marks it used. */
const char *keyval_get(struct keyval *kv, const char *key);
/* Adds a pair at the end. */
int keyval_add(struct keyval *kv, const char *key, const char *value) MUST_CHECK;
/* Typed getters: the default when absent, an error that names key and value when bad. */
int keyval_get_bool(struct keyval *kv, const char *key, bool dflt, bool *ret, struct err **err)
    MUST_CHECK;
int keyval_get_u64(struct keyval *kv, const char *key, unsigned long long dflt,
                   unsigned long long *ret, struct err **err) MUST_CHECK;
int keyval_get_size(struct keyval *kv, const char *key, unsigned long long dflt,
                    unsigned long long *ret, struct err **err) MUST_CHECK;

/* An error for the first pair that no getter has asked for. */
int keyval_check_used(const struct keyval *kv, struct err **err) MUST_CHECK;
