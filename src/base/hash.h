/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hash.h - a table from strings to pointers.
 *
 * Keys are copied; values are borrowed. The hash is seeded per process, so that a peer who chooses
 * the keys cannot choose collisions. Not thread-safe.
 */
#pragma once

#include "base/own.h"

#include <stdbool.h>
#include <stdint.h>

struct hash;

/* NULL when there is no memory. */
struct hash *hash_new(void);
struct hash *hash_free(struct hash *h);
DEFINE_CLEANUP(struct hash, hash_free)

/* The value at key, or NULL. */
void *hash_get(const struct hash *h, const char *key);

/* -EEXIST when the key is there already, -ENOMEM. value must not be NULL. */
int hash_add(struct hash *h, const char *key, void *value) MUST_CHECK;

/* Removes the key and returns its value, NULL when it was not there. */
void *hash_remove(struct hash *h, const char *key);

size_t hash_count(const struct hash *h);

/* Calls fn for each pair, in no order, until it returns non-zero, and returns that. fn must not
 * change the table. */
int hash_each(const struct hash *h, int (*fn)(const char *key, void *value, void *arg), void *arg);

/* The seeded hash of a byte string, for tables of another shape. */
uint64_t hash_bytes(const void *p, size_t len);
