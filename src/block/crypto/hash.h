/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hash.h - digests and key derivation for encrypted images (Nettle's hashes). */
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct nettle_hash;

enum { HASH_MAX_DIGEST = 64 };

/* Borrowed, for ever; NULL: there is none of this name ("sha1", "sha256", "ripemd160", ...). */
const struct nettle_hash *hash_by_name(const char *name);
const char *hash_alg_name(const struct nettle_hash *h);
size_t hash_digest_size(const struct nettle_hash *h);
/* out: digest size bytes. */
void hash_digest(const struct nettle_hash *h, const void *data, size_t len, uint8_t *out);
/* PBKDF2 with HMAC (RFC 8018, 5.2). */
int hash_pbkdf2(const struct nettle_hash *h, const void *pass, size_t pass_len, const void *salt,
                size_t salt_len, uint32_t iterations, uint8_t *out, size_t len) MUST_CHECK;
