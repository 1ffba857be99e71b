/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/crypto/hash.h"

#include "base/bytes.h"
#include "base/str.h"

#include <errno.h>
#include <nettle/nettle-meta.h>
#include <stddef.h>
#include <string.h>

static const struct nettle_hash *const hashes[] = {
    &nettle_sha1,   &nettle_sha224, &nettle_sha256,
    &nettle_sha384, &nettle_sha512, &nettle_ripemd160,
};

const struct nettle_hash *hash_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        if (str_eq(hashes[i]->name, name)) {
            return hashes[i];
        }
    }
    return NULL;
}

const char *hash_alg_name(const struct nettle_hash *h)
{
    return h->name;
}

size_t hash_digest_size(const struct nettle_hash *h)
{
    return h->digest_size;
}

/* A context of any of our hashes: SHA-512's is the largest. */
union context {
    max_align_t align;
    uint8_t bytes[512];
};

void hash_digest(const struct nettle_hash *h, const void *data, size_t len, uint8_t *out)
{
    union context c;

    h->init(&c);
    h->update(&c, len, data);
    h->digest(&c, h->digest_size, out);
}

/* HMAC (RFC 2104): the states after the inner and the outer padded key are kept, since a key derivation
 * starts from them a million times. */
struct hmac {
    const struct nettle_hash *h;
    union context inner, outer;
};

static void hmac_set_key(struct hmac *m, const void *key, size_t len)
{
    uint8_t pad[128] = { 0 };

    if (len > m->h->block_size) {
        hash_digest(m->h, key, len, pad);
    } else if (len > 0) {
        memcpy(pad, key, len);
    }
    for (unsigned i = 0; i < m->h->block_size; i++) {
        pad[i] ^= 0x36;
    }
    m->h->init(&m->inner);
    m->h->update(&m->inner, m->h->block_size, pad);
    for (unsigned i = 0; i < m->h->block_size; i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }
    m->h->init(&m->outer);
    m->h->update(&m->outer, m->h->block_size, pad);
    explicit_bzero(pad, sizeof(pad));
}

/* The digest of two pieces, the second of which may be empty. */
static void hmac_digest(const struct hmac *m, const void *a, size_t a_len, const void *b,
                        size_t b_len, uint8_t *out)
{
    union context c;

    memcpy(&c, &m->inner, m->h->context_size);
    m->h->update(&c, a_len, a);
    m->h->update(&c, b_len, b);
    m->h->digest(&c, m->h->digest_size, out);
    memcpy(&c, &m->outer, m->h->context_size);
    m->h->update(&c, m->h->digest_size, out);
    m->h->digest(&c, m->h->digest_size, out);
}

int hash_pbkdf2(const struct nettle_hash *h, const void *pass, size_t pass_len, const void *salt,
                size_t salt_len, uint32_t iterations, uint8_t *out, size_t len)
{
    struct hmac m = { .h = h };
    size_t step = h->digest_size;

    if (iterations == 0 || h->context_size > sizeof(union context) || h->block_size > 128) {
        return -EINVAL;
    }
    hmac_set_key(&m, pass, pass_len);
    for (uint32_t block = 1; len > 0; block++) {
        size_t part = min_u64(step, len);
        uint8_t u[HASH_MAX_DIGEST], t[HASH_MAX_DIGEST], number[4];

        be32_put(number, block);
        hmac_digest(&m, salt, salt_len, number, sizeof(number), u);
        memcpy(t, u, step);
        for (uint32_t i = 1; i < iterations; i++) {
            hmac_digest(&m, u, step, u, 0, u);
            for (size_t k = 0; k < step; k++) {
                t[k] ^= u[k];
            }
        }
        memcpy(out, t, part);
        out += part;
        len -= part;
    }
    explicit_bzero(&m, sizeof(m));
    return 0;
}
