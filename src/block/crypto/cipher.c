/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/crypto/cipher.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/crypto/hash.h"

#include <errno.h>
#include <nettle/cbc.h>
#include <nettle/ctr.h>
#include <string.h>

enum { SECTOR = 512, MAX_BLOCK = 16, MAX_KEY = 32 };

struct sector_cipher {
    struct cipher_spec spec;
    void *enc; /* owned key schedules */
    void *dec;
    void *tweak; /* XTS: of the second key; ESSIV: of the hashed key */
    const struct nettle_cipher *tweak_cipher;
};

static const struct {
    const char *qemu;
    const char *luks;
    const struct nettle_cipher *cipher;
} ciphers[] = {
    { "aes-128", "aes", &nettle_aes128 },
    { "aes-192", "aes", &nettle_aes192 },
    { "aes-256", "aes", &nettle_aes256 },
    { "cast5-128", "cast5", &nettle_cast128 },
    { "serpent-128", "serpent", &nettle_serpent128 },
    { "serpent-192", "serpent", &nettle_serpent192 },
    { "serpent-256", "serpent", &nettle_serpent256 },
    { "twofish-128", "twofish", &nettle_twofish128 },
    { "twofish-192", "twofish", &nettle_twofish192 },
    { "twofish-256", "twofish", &nettle_twofish256 },
};

enum { N_CIPHERS = sizeof(ciphers) / sizeof(ciphers[0]) };

int cipher_find(const char *qemu_alg, struct cipher_spec *ret, struct err **err)
{
    for (unsigned i = 0; i < N_CIPHERS; i++) {
        if (str_eq(ciphers[i].qemu, qemu_alg)) {
            ret->cipher = ciphers[i].cipher;
            ret->alg = ciphers[i].qemu;
            return 0;
        }
    }
    return err_set(err, EINVAL, "Algorithm '%s' not supported", qemu_alg);
}

int cipher_find_luks(const char *name, size_t key_bytes, struct cipher_spec *ret, struct err **err)
{
    for (unsigned i = 0; i < N_CIPHERS; i++) {
        if (str_eq(ciphers[i].luks, name) && ciphers[i].cipher->key_size == key_bytes) {
            ret->cipher = ciphers[i].cipher;
            ret->alg = ciphers[i].qemu;
            return 0;
        }
    }
    return err_set(err, EINVAL, "Algorithm '%s' with key size %zu bits not supported", name,
                   key_bytes * 8);
}

const char *cipher_luks_name(const struct cipher_spec *spec)
{
    for (unsigned i = 0; i < N_CIPHERS; i++) {
        if (ciphers[i].cipher == spec->cipher) {
            return ciphers[i].luks;
        }
    }
    return "";
}

size_t cipher_key_bytes(const struct cipher_spec *spec)
{
    return spec->cipher->key_size * (spec->mode == CIPHER_XTS ? 2u : 1u);
}

/* The smallest cipher of the same kind whose key is the hash. */
static const struct nettle_cipher *essiv_cipher(const struct cipher_spec *spec, size_t hash_bytes)
{
    const char *luks = cipher_luks_name(spec);

    for (unsigned i = 0; i < N_CIPHERS; i++) {
        if (str_eq(ciphers[i].luks, luks) && ciphers[i].cipher->key_size == hash_bytes) {
            return ciphers[i].cipher;
        }
    }
    return NULL;
}

static int set_up_tweak(struct sector_cipher *c, const uint8_t *key, struct err **err)
{
    const struct nettle_cipher *cipher = c->spec.cipher;
    uint8_t hash[HASH_MAX_DIGEST];

    if (c->spec.mode == CIPHER_XTS) {
        if (cipher->block_size != MAX_BLOCK) {
            return err_set(err, EINVAL, "Cipher '%s' cannot be used in XTS mode", c->spec.alg);
        }
        c->tweak_cipher = cipher;
        key += cipher->key_size;
    } else if (c->spec.ivgen == IVGEN_ESSIV) {
        unsigned len = (unsigned)hash_digest_size(c->spec.ivgen_hash);

        c->tweak_cipher = essiv_cipher(&c->spec, len);
        if (c->tweak_cipher == NULL) {
            return err_set(err, EINVAL, "No %s with the IV generator's hash as key", c->spec.alg);
        }
        hash_digest(c->spec.ivgen_hash, key, cipher->key_size, hash);
        key = hash;
    } else {
        return 0;
    }
    c->tweak = malloc(c->tweak_cipher->context_size);
    if (c->tweak == NULL) {
        return -ENOMEM;
    }
    c->tweak_cipher->set_encrypt_key(c->tweak, key);
    return 0;
}

int sector_cipher_new(const struct cipher_spec *spec, const uint8_t *key,
                      struct sector_cipher **ret, struct err **err)
{
    struct sector_cipher *c = calloc(1, sizeof(*c));
    int r;

    if (c == NULL) {
        return -ENOMEM;
    }
    c->spec = *spec;
    c->enc = malloc(spec->cipher->context_size);
    c->dec = malloc(spec->cipher->context_size);
    r = c->enc != NULL && c->dec != NULL ? 0 : -ENOMEM;
    if (r == 0) {
        spec->cipher->set_encrypt_key(c->enc, key);
        spec->cipher->set_decrypt_key(c->dec, key);
        r = set_up_tweak(c, key, err);
    }
    if (r < 0) {
        (void)sector_cipher_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

struct sector_cipher *sector_cipher_free(struct sector_cipher *c)
{
    if (c != NULL) {
        free(c->enc);
        free(c->dec);
        free(c->tweak);
        free(c);
    }
    return NULL;
}

static void make_iv(const struct sector_cipher *c, uint64_t sector, uint8_t iv[MAX_BLOCK])
{
    memset(iv, 0, MAX_BLOCK);
    switch (c->spec.ivgen) {
    case IVGEN_NONE:
        break;
    case IVGEN_PLAIN:
        le32_put(iv, (uint32_t)sector);
        break;
    case IVGEN_PLAIN64:
        le64_put(iv, sector);
        break;
    case IVGEN_ESSIV:
        le64_put(iv, sector);
        c->tweak_cipher->encrypt(c->tweak, c->tweak_cipher->block_size, iv, iv);
        break;
    }
}

/* XTS (IEEE 1619, 5.3): every block is masked by the tweak, which is doubled from block to block.
 */
static void xts(const struct sector_cipher *c, uint8_t iv[MAX_BLOCK], uint8_t *buf, bool encrypt)
{
    uint8_t tweaks[SECTOR];
    uint64_t lo;
    uint64_t hi;

    c->tweak_cipher->encrypt(c->tweak, MAX_BLOCK, iv, iv);
    lo = le64_get(iv);
    hi = le64_get(iv + 8);
    for (unsigned i = 0; i < SECTOR; i += MAX_BLOCK) {
        uint64_t carry = hi >> 63;

        le64_put(tweaks + i, lo);
        le64_put(tweaks + i + 8, hi);
        hi = hi << 1 | lo >> 63;
        lo = lo << 1 ^ (carry != 0 ? 0x87 : 0);
    }
    for (unsigned i = 0; i < SECTOR; i++) {
        buf[i] ^= tweaks[i];
    }
    if (encrypt) {
        c->spec.cipher->encrypt(c->enc, SECTOR, buf, buf);
    } else {
        c->spec.cipher->decrypt(c->dec, SECTOR, buf, buf);
    }
    for (unsigned i = 0; i < SECTOR; i++) {
        buf[i] ^= tweaks[i];
    }
}

int sector_cipher_crypt(const struct sector_cipher *c, uint64_t sector, uint8_t *buf, size_t len,
                        bool encrypt)
{
    const struct nettle_cipher *n = c->spec.cipher;

    if (len % SECTOR != 0) {
        return -EINVAL;
    }
    for (; len > 0; len -= SECTOR, buf += SECTOR, sector++) {
        uint8_t iv[MAX_BLOCK];

        make_iv(c, sector, iv);
        switch (c->spec.mode) {
        case CIPHER_XTS:
            xts(c, iv, buf, encrypt);
            break;
        case CIPHER_CBC:
            if (encrypt) {
                cbc_encrypt(c->enc, n->encrypt, n->block_size, iv, SECTOR, buf, buf);
            } else {
                cbc_decrypt(c->dec, n->decrypt, n->block_size, iv, SECTOR, buf, buf);
            }
            break;
        case CIPHER_CTR:
            ctr_crypt(c->enc, n->encrypt, n->block_size, iv, SECTOR, buf, buf);
            break;
        case CIPHER_ECB:
            if (encrypt) {
                n->encrypt(c->enc, SECTOR, buf, buf);
            } else {
                n->decrypt(c->dec, SECTOR, buf, buf);
            }
            break;
        }
    }
    return 0;
}
