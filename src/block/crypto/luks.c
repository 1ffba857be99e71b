/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * luks.c - the LUKS1 header (LUKS On-Disk Format Specification 1.2.3), and sector encryption.
 *
 * Big-endian: 0 "LUKS\xba\xbe", 6 version 1, 8 cipher, 40 mode, 72 hash, 104 payload (sectors), 108
 * key bytes, 112 digest of the key (20), 132 its salt (32), 164 its iterations, 168 UUID, 208 eight
 * keyslots of 48 bytes: state, iterations, salt (32), offset of the key material (sectors),
 * stripes. Key material is the master key, split into stripes that are all needed (chapter 2.4),
 * encrypted with a key from the passphrase.
 */
#include "block/crypto/crypto.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/block.h"
#include "block/crypto/cipher.h"
#include "block/crypto/hash.h"
#include "codec/json.h"
#include "codec/keyval.h"
#include "os/random.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    SECTOR = 512,
    HEADER = 592,
    SLOTS = 8,
    SLOT_AT = 208,
    SLOT_BYTES = 48,
    STRIPES = 4000,
    DIGEST = 20,
    SALT = 32,
    ALIGN_SECTORS = 8,
    MAX_KEY = 64,
    MAX_STRIPES = 65536,
    MIN_ITERATIONS = 1000,
    DEFAULT_ITER_MSEC = 2000,
};

#define SLOT_ACTIVE   0x00ac71f3u
#define SLOT_INACTIVE 0x0000deadu

static const uint8_t luks_magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

struct luks_slot {
    bool active;
    uint32_t iterations;
    uint8_t salt[SALT];
    uint32_t offset; /* sectors */
    uint32_t stripes;
};

struct block_crypto {
    struct cipher_spec spec;
    struct sector_cipher *cipher; /* owned; NULL: locked */
    const struct nettle_hash *hash;
    uint8_t key[MAX_KEY];
    size_t key_bytes;
    uint8_t digest[DIGEST];
    uint8_t salt[SALT];
    uint32_t iterations;
    uint32_t payload; /* sectors */
    char uuid[40];
    struct luks_slot slots[SLOTS];
    block_crypto_io_fn *io;
    void *arg;
};

static int find_hash(const char *name, const struct nettle_hash **ret, struct err **err)
{
    *ret = hash_by_name(name);
    return *ret != NULL ? 0 : err_set(err, EINVAL, "Hash algorithm '%s' not supported", name);
}

/* Iterations that take msec of CPU time here. */
static uint32_t iterations_for(const struct nettle_hash *hash, size_t out_len, unsigned msec)
{
    uint32_t n = 1 << 15;
    uint8_t salt[SALT] = { 1 };
    uint8_t out[MAX_KEY];

    for (;;) {
        struct timespec from;
        struct timespec to;
        double ms;

        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        if (hash_pbkdf2(hash, "password", 8, salt, SALT, n, out, out_len) < 0) {
            return MIN_ITERATIONS;
        }
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
        if (ms > 20) {
            double want = (double)n / ms * msec;

            return want > UINT32_MAX       ? UINT32_MAX
                   : want < MIN_ITERATIONS ? MIN_ITERATIONS
                                           : (uint32_t)want;
        }
        n *= 4;
    }
}

/* ---- anti-forensic splitting ---- */

/* Mixes a block: each digest-sized part is hashed with its number. */
static int diffuse(const struct nettle_hash *hash, uint8_t *block, size_t len)
{
    size_t step = hash_digest_size(hash);

    for (size_t i = 0; i * step < len; i++) {
        size_t part = min_u64(step, len - i * step);
        uint8_t in[4 + 64];
        uint8_t out[64];

        be32_put(in, (uint32_t)i);
        memcpy(in + 4, block + i * step, part);
        hash_digest(hash, in, 4 + part, out);
        memcpy(block + i * step, out, part);
    }
    return 0;
}

static int af_split(const struct nettle_hash *hash, const uint8_t *key, size_t len, uint32_t stripes, uint8_t *out)
{
    uint8_t mix[MAX_KEY] = { 0 };
    int r = 0;

    random_bytes(out, len * (stripes - 1));

    for (uint32_t s = 0; r == 0 && s + 1 < stripes; s++) {
        for (size_t i = 0; i < len; i++) {
            mix[i] ^= out[s * len + i];
        }
        r = diffuse(hash, mix, len);
    }
    for (size_t i = 0; i < len; i++) {
        out[(stripes - 1) * len + i] = mix[i] ^ key[i];
    }
    return r;
}

static int af_merge(const struct nettle_hash *hash, const uint8_t *in, size_t len, uint32_t stripes, uint8_t *key)
{
    uint8_t mix[MAX_KEY] = { 0 };
    int r = 0;

    for (uint32_t s = 0; r == 0 && s + 1 < stripes; s++) {
        for (size_t i = 0; i < len; i++) {
            mix[i] ^= in[s * len + i];
        }
        r = diffuse(hash, mix, len);
    }
    for (size_t i = 0; i < len; i++) {
        key[i] = in[(stripes - 1) * len + i] ^ mix[i];
    }
    return r;
}

/* ---- header ---- */

static int parse_mode(char *mode, struct block_crypto *c, struct err **err)
{
    char *ivgen = strchr(mode, '-');
    char *hash;

    if (ivgen == NULL) {
        return err_set(err, EINVAL, "Unexpected cipher mode string format '%s'", mode);
    }
    *ivgen++ = '\0';
    hash = strchr(ivgen, ':');
    if (hash != NULL) {
        *hash++ = '\0';
    }
    if (str_eq(mode, "xts")) {
        c->spec.mode = CIPHER_XTS;
    } else if (str_eq(mode, "cbc")) {
        c->spec.mode = CIPHER_CBC;
    } else if (str_eq(mode, "ecb")) {
        c->spec.mode = CIPHER_ECB;
    } else if (str_eq(mode, "ctr")) {
        c->spec.mode = CIPHER_CTR;
    } else {
        return err_set(err, EINVAL, "Cipher mode '%s' not supported", mode);
    }
    if (str_eq(ivgen, "plain64")) {
        c->spec.ivgen = IVGEN_PLAIN64;
    } else if (str_eq(ivgen, "plain")) {
        c->spec.ivgen = IVGEN_PLAIN;
    } else if (str_eq(ivgen, "essiv")) {
        c->spec.ivgen = IVGEN_ESSIV;
        return hash != NULL ? find_hash(hash, &c->spec.ivgen_hash, err)
                            : err_set(err, EINVAL, "Missing IV generator hash specification");
    } else {
        return err_set(err, EINVAL, "IV generator '%s' not supported", ivgen);
    }
    return 0;
}

static int parse_header(struct block_crypto *c, const uint8_t *h, struct err **err)
{
    char cipher[33] = { 0 };
    char mode[33] = { 0 };
    char hash[33] = { 0 };
    int r;

    if (memcmp(h, luks_magic, sizeof(luks_magic)) != 0) {
        return err_set(err, EINVAL, "Volume is not in LUKS format");
    }
    if (be16_get(h + 6) != 1) {
        return err_set(err, ENOTSUP, "LUKS version %u is not supported", be16_get(h + 6));
    }
    memcpy(cipher, h + 8, 32);
    memcpy(mode, h + 40, 32);
    memcpy(hash, h + 72, 32);
    c->payload = be32_get(h + 104);
    c->key_bytes = be32_get(h + 108);
    memcpy(c->digest, h + 112, DIGEST);
    memcpy(c->salt, h + 132, SALT);
    c->iterations = be32_get(h + 164);
    memcpy(c->uuid, h + 168, 39);
    r = parse_mode(mode, c, err);
    if (r == 0) {
        r = find_hash(hash, &c->hash, err);
    }
    if (r == 0 && (c->key_bytes == 0 || c->key_bytes > MAX_KEY)) {
        r = err_set(err, EINVAL, "a LUKS key of %zu bytes", c->key_bytes);
    }
    if (r == 0) {
        r = cipher_find_luks(cipher, c->spec.mode == CIPHER_XTS ? c->key_bytes / 2 : c->key_bytes,
                             &c->spec, err);
    }
    for (unsigned i = 0; r == 0 && i < SLOTS; i++) {
        const uint8_t *s = h + SLOT_AT + i * SLOT_BYTES;
        struct luks_slot *slot = &c->slots[i];
        uint32_t state = be32_get(s);

        if (state != SLOT_ACTIVE && state != SLOT_INACTIVE) {
            return err_set(err, EINVAL, "Keyslot %u state (active/disable) is corrupted", i);
        }
        slot->active = state == SLOT_ACTIVE;
        slot->iterations = be32_get(s + 4);
        memcpy(slot->salt, s + 8, SALT);
        slot->offset = be32_get(s + 40);
        slot->stripes = be32_get(s + 44);
        if (slot->active &&
            (slot->iterations == 0 || slot->stripes == 0 || slot->stripes > MAX_STRIPES ||
             slot->offset < 2 ||
             (uint64_t)slot->offset + slot->stripes * c->key_bytes / SECTOR > c->payload)) {
            return err_set(err, EINVAL, "Keyslot %u is corrupted", i);
        }
    }
    return r;
}

static size_t material_bytes(const struct block_crypto *c, uint32_t stripes)
{
    return round_up_u64(c->key_bytes * stripes, SECTOR);
}

static bool key_matches(const struct block_crypto *c, const uint8_t *key)
{
    uint8_t digest[DIGEST];

    return hash_pbkdf2(c->hash, key, c->key_bytes, c->salt, SALT, c->iterations, digest, DIGEST) == 0 &&
           memcmp(digest, c->digest, DIGEST) == 0;
}

/* The cipher that guards a slot's key material. */
static int slot_cipher(const struct block_crypto *c, const struct luks_slot *slot,
                       const uint8_t *pass, size_t len, struct sector_cipher **ret,
                       struct err **err)
{
    uint8_t key[MAX_KEY];
    int r = hash_pbkdf2(c->hash, pass, len, slot->salt, SALT, slot->iterations, key, c->key_bytes);

    return r == 0 ? sector_cipher_new(&c->spec, key, ret, err) : r;
}

/* 1: the passphrase opens the slot; 0: it does not. */
static int try_slot(struct block_crypto *c, unsigned i, const uint8_t *pass, size_t len,
                    uint8_t key[MAX_KEY], struct err **err)
{
    struct luks_slot *slot = &c->slots[i];
    size_t bytes = material_bytes(c, slot->stripes);
    AUTO_FREE uint8_t *material = NULL;
    struct sector_cipher *cipher = NULL;
    int r;

    if (!slot->active) {
        return 0;
    }
    material = malloc(bytes);
    r = material != NULL ? slot_cipher(c, slot, pass, len, &cipher, err) : -ENOMEM;
    if (r == 0) {
        r = c->io(c->arg, (uint64_t)slot->offset * SECTOR, material, bytes, false);
    }
    if (r == 0) {
        r = sector_cipher_crypt(cipher, 0, material, bytes, false);
    }
    if (r == 0) {
        r = af_merge(c->hash, material, c->key_bytes, slot->stripes, key);
    }
    (void)sector_cipher_free(cipher);
    return r < 0 ? r : key_matches(c, key);
}

static int unlock(struct block_crypto *c, const uint8_t *pass, size_t len, struct err **err)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        int r = try_slot(c, i, pass, len, c->key, err);

        if (r < 0) {
            return err_set(err, -r, "cannot read keyslot %u: %s", i, strerror(-r));
        }
        if (r > 0) {
            return sector_cipher_new(&c->spec, c->key, &c->cipher, err);
        }
    }
    return err_set(err, EPERM, "Invalid password, cannot unlock any keyslot");
}

int block_crypto_open_luks(block_crypto_io_fn *io, void *arg, const uint8_t *passphrase, size_t len,
                           struct block_crypto **ret, struct err **err)
{
    struct block_crypto *c = calloc(1, sizeof(*c));
    uint8_t header[HEADER];
    int r;

    if (c == NULL) {
        return -ENOMEM;
    }
    c->io = io;
    c->arg = arg;
    r = io(arg, 0, header, sizeof(header), false);
    if (r < 0) {
        r = err_set(err, -r, "Unable to read LUKS header: %s", strerror(-r));
    }
    if (r == 0) {
        r = parse_header(c, header, err);
    }
    if (r == 0 && passphrase != NULL) {
        r = unlock(c, passphrase, len, err);
    }
    if (r < 0) {
        (void)block_crypto_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

int block_crypto_open_aes(const uint8_t *passphrase, size_t len, struct block_crypto **ret,
                          struct err **err)
{
    struct block_crypto *c = calloc(1, sizeof(*c));
    uint8_t key[16] = { 0 };
    int r;

    if (c == NULL) {
        return -ENOMEM;
    }
    memcpy(key, passphrase, min_u64(len, sizeof(key)));
    c->spec = (struct cipher_spec) {
        .cipher = &nettle_aes128, .alg = "aes-128", .mode = CIPHER_CBC, .ivgen = IVGEN_PLAIN64
    };
    r = sector_cipher_new(&c->spec, key, &c->cipher, err);
    if (r < 0) {
        (void)block_crypto_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

struct block_crypto *block_crypto_free(struct block_crypto *c)
{
    if (c != NULL) {
        (void)sector_cipher_free(c->cipher);
        explicit_bzero(c->key, sizeof(c->key));
        free(c);
    }
    return NULL;
}

uint64_t block_crypto_payload(const struct block_crypto *c)
{
    return (uint64_t)c->payload * SECTOR;
}

int block_crypto_encrypt(struct block_crypto *c, uint64_t off, uint8_t *buf, size_t len)
{
    return c->cipher != NULL ? sector_cipher_crypt(c->cipher, off / SECTOR, buf, len, true)
                             : -EACCES;
}

int block_crypto_decrypt(struct block_crypto *c, uint64_t off, uint8_t *buf, size_t len)
{
    return c->cipher != NULL ? sector_cipher_crypt(c->cipher, off / SECTOR, buf, len, false)
                             : -EACCES;
}

/* ---- creation ---- */

static const char *option(struct keyval *opts, const char *prefix, const char *name,
                          const char *dflt)
{
    AUTO_FREE char *key = str_format("%s%s", prefix, name);
    const char *value = key != NULL ? keyval_get(opts, key) : NULL;

    return value != NULL ? value : dflt;
}

static int spec_from_options(struct block_crypto *c, struct keyval *opts, const char *prefix,
                             struct err **err)
{
    const char *mode = option(opts, prefix, "cipher-mode", "xts");
    const char *ivgen = option(opts, prefix, "ivgen-alg", "plain64");
    const char *ivhash =
        option(opts, prefix, "ivgen-hash-alg", str_eq(ivgen, "essiv") ? "sha256" : NULL);
    AUTO_FREE char *text = str_format("%s-%s%s%s", mode, ivgen, ivhash != NULL ? ":" : "",
                                      ivhash != NULL ? ivhash : "");
    int r = text != NULL ? cipher_find(option(opts, prefix, "cipher-alg", "aes-256"), &c->spec, err)
                         : -ENOMEM;

    if (r == 0) {
        r = parse_mode(text, c, err);
    }
    if (r == 0) {
        r = find_hash(option(opts, prefix, "hash-alg", "sha256"), &c->hash, err);
    }
    c->key_bytes = r == 0 ? cipher_key_bytes(&c->spec) : 0;
    return r;
}

static uint32_t slot_sectors(const struct block_crypto *c)
{
    return (uint32_t)round_up_u64(material_bytes(c, STRIPES) / SECTOR, ALIGN_SECTORS);
}

int block_crypto_luks_header_size(struct keyval *opts, const char *prefix, uint64_t *ret,
                                  struct err **err)
{
    struct block_crypto c = { 0 };
    int r = spec_from_options(&c, opts, prefix, err);

    if (r == 0) {
        *ret = ((uint64_t)ALIGN_SECTORS + (uint64_t)SLOTS * slot_sectors(&c)) * SECTOR;
    }
    return r;
}

static int write_header(struct block_crypto *c)
{
    static const char *const modes[] = { "ecb", "cbc", "xts", "ctr" };
    static const char *const ivgens[] = { "", "plain", "plain64", "essiv" };
    uint8_t h[HEADER] = { 0 };
    const char *ivhash =
        c->spec.ivgen == IVGEN_ESSIV ? hash_alg_name(c->spec.ivgen_hash) : NULL;

    memcpy(h, luks_magic, sizeof(luks_magic));
    be16_put(h + 6, 1);
    (void)snprintf((char *)h + 8, 32, "%s", cipher_luks_name(&c->spec));
    (void)snprintf((char *)h + 40, 32, "%s-%s%s%s", modes[c->spec.mode], ivgens[c->spec.ivgen],
                   ivhash != NULL ? ":" : "", ivhash != NULL ? ivhash : "");
    (void)snprintf((char *)h + 72, 32, "%s", hash_alg_name(c->hash));
    be32_put(h + 104, c->payload);
    be32_put(h + 108, (uint32_t)c->key_bytes);
    memcpy(h + 112, c->digest, DIGEST);
    memcpy(h + 132, c->salt, SALT);
    be32_put(h + 164, c->iterations);
    memcpy(h + 168, c->uuid, 40);
    for (unsigned i = 0; i < SLOTS; i++) {
        uint8_t *s = h + SLOT_AT + i * SLOT_BYTES;

        be32_put(s, c->slots[i].active ? SLOT_ACTIVE : SLOT_INACTIVE);
        be32_put(s + 4, c->slots[i].iterations);
        memcpy(s + 8, c->slots[i].salt, SALT);
        be32_put(s + 40, c->slots[i].offset);
        be32_put(s + 44, c->slots[i].stripes);
    }
    return c->io(c->arg, 0, h, sizeof(h), true);
}

/* Puts the master key into a slot. */
static int store_key(struct block_crypto *c, unsigned i, const uint8_t *pass, size_t len,
                     unsigned msec, struct err **err)
{
    struct luks_slot *slot = &c->slots[i];
    size_t bytes = material_bytes(c, STRIPES);
    AUTO_FREE uint8_t *material = calloc(1, bytes);
    struct sector_cipher *cipher = NULL;
    int r = material != NULL ? 0 : -ENOMEM;

    slot->stripes = STRIPES;
    slot->iterations = iterations_for(c->hash, c->key_bytes, msec);
    random_bytes(slot->salt, SALT);
    if (r == 0) {
        r = af_split(c->hash, c->key, c->key_bytes, STRIPES, material);
    }
    if (r == 0) {
        r = slot_cipher(c, slot, pass, len, &cipher, err);
    }
    if (r == 0) {
        r = sector_cipher_crypt(cipher, 0, material, bytes, true);
    }
    if (r == 0) {
        r = c->io(c->arg, (uint64_t)slot->offset * SECTOR, material, bytes, true);
    }
    (void)sector_cipher_free(cipher);
    slot->active = r == 0;
    return r == 0 ? write_header(c) : r;
}

static void make_uuid(char *out)
{
    uint8_t b[16];

    random_bytes(b, sizeof(b));
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    (void)snprintf(out, 40, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                   b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
                   b[13], b[14], b[15]);
}

int block_crypto_create_luks(block_crypto_io_fn *io, void *arg, struct keyval *opts,
                             const char *prefix, const uint8_t *passphrase, size_t len,
                             struct err **err)
{
    struct block_crypto c = { .io = io, .arg = arg };
    const char *iter = option(opts, prefix, "iter-time", NULL);
    uint32_t msec = DEFAULT_ITER_MSEC;
    int r = spec_from_options(&c, opts, prefix, err);

    if (r == 0 && iter != NULL && (str_to_u32(iter, 3600000, &msec) < 0 || msec == 0)) {
        r = err_set(err, EINVAL, "iter-time takes milliseconds, not '%s'", iter);
    }
    if (r < 0) {
        return r;
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        c.slots[i].offset = ALIGN_SECTORS + i * slot_sectors(&c);
        c.slots[i].stripes = STRIPES;
    }
    c.payload = ALIGN_SECTORS + SLOTS * slot_sectors(&c);
    make_uuid(c.uuid);
    /* The digest is checked once for each slot: an eighth of the time. */
    c.iterations = iterations_for(c.hash, DIGEST, msec / 8 + 1);
    random_bytes(c.key, c.key_bytes);
    random_bytes(c.salt, SALT);
    r = hash_pbkdf2(c.hash, c.key, c.key_bytes, c.salt, SALT, c.iterations, c.digest, DIGEST);
    if (r == 0) {
        r = store_key(&c, 0, passphrase, len, msec, err);
    }
    explicit_bzero(c.key, sizeof(c.key));
    return r < 0 ? err_set(err, -r, "cannot write the LUKS header: %s", strerror(-r)) : 0;
}

/* ---- keyslots ---- */

static int add_key(struct block_crypto *c, int slot, const uint8_t *pass, size_t len,
                   unsigned iter_msec, struct err **err)
{
    int r;

    if (c->cipher == NULL) {
        return err_set(err, EACCES, "the image is locked: its key is needed to add another");
    }
    for (int i = 0; slot < 0 && i < SLOTS; i++) {
        slot = c->slots[i].active ? -1 : i;
    }
    if (slot < 0 || slot >= SLOTS) {
        return err_set(err, EINVAL,
                       slot < 0 ? "Can't add a keyslot - all keyslots are in use"
                                : "Invalid keyslot %d",
                       slot);
    }
    if (c->slots[slot].active) {
        return err_set(err, EINVAL,
                       "Refusing to overwrite active keyslot %d - please erase it first", slot);
    }
    r = store_key(c, (unsigned)slot, pass, len, iter_msec, err);
    return r < 0 ? err_set(err, -r, "cannot write keyslot %d: %s", slot, strerror(-r)) : 0;
}

static unsigned active_slots(const struct block_crypto *c)
{
    unsigned n = 0;

    for (unsigned i = 0; i < SLOTS; i++) {
        n += c->slots[i].active;
    }
    return n;
}

static int erase_slot(struct block_crypto *c, unsigned i)
{
    size_t bytes = material_bytes(c, c->slots[i].stripes == 0 ? STRIPES : c->slots[i].stripes);
    AUTO_FREE uint8_t *junk = malloc(bytes);
    int r;

    c->slots[i].active = false;
    c->slots[i].iterations = 0;
    memset(c->slots[i].salt, 0, SALT);
    r = junk != NULL ? write_header(c) : -ENOMEM;
    if (r == 0) {
        random_bytes(junk, bytes);
    }
    return r == 0 ? c->io(c->arg, (uint64_t)c->slots[i].offset * SECTOR, junk, bytes, true) : r;
}

static int erase(struct block_crypto *c, int slot, const uint8_t *old, size_t len, bool force,
                 struct err **err)
{
    bool match[SLOTS] = { false };
    unsigned n = 0;
    int r = 0;

    if (slot >= SLOTS) {
        return err_set(err, EINVAL, "Invalid keyslot %d, must be between 0 and %d", slot,
                       SLOTS - 1);
    }
    if (slot < 0 && old == NULL) {
        return err_set(
            err, EINVAL,
            "To erase keyslot(s), either explicit keyslot index or the password currently contained in them must be given");
    }
    for (unsigned i = 0; r >= 0 && i < SLOTS; i++) {
        uint8_t key[MAX_KEY];

        if (!c->slots[i].active || (slot >= 0 && (int)i != slot)) {
            continue;
        }
        r = old != NULL ? try_slot(c, i, old, len, key, err) : 1;
        match[i] = r > 0;
        n += r > 0;
    }
    if (r >= 0 && n == 0) {
        return err_set(err, EINVAL, "No keyslots match given (old) password for erase operation");
    }
    if (r >= 0 && n == active_slots(c) && !force) {
        return err_set(
            err, EINVAL,
            "Attempt to erase the only active keyslot %sthat will leave no usable keyslot: use --force to do so",
            "");
    }
    for (unsigned i = 0; r >= 0 && i < SLOTS; i++) {
        r = match[i] ? erase_slot(c, i) : 0;
    }
    return r < 0 ? err_set(err, -r, "cannot erase a keyslot: %s", strerror(-r)) : 0;
}

int block_crypto_luks_amend(struct block_crypto *c, struct block_ctx *ctx, struct keyval *opts,
                            const char *prefix, bool force, struct err **err)
{
    const char *state = option(opts, prefix, "state", NULL);
    const char *new_id = option(opts, prefix, "new-secret", NULL);
    const char *old_id = option(opts, prefix, "old-secret", NULL);
    const char *slot_text = option(opts, prefix, "keyslot", NULL);
    const char *iter_text = option(opts, prefix, "iter-time", NULL);
    uint32_t slot = 0;
    uint32_t iter = DEFAULT_ITER_MSEC;
    AUTO_FREE uint8_t *new_pass = NULL;
    AUTO_FREE uint8_t *old_pass = NULL;
    size_t new_len = 0;
    size_t old_len = 0;
    int r = 0;

    if (state == NULL || (!str_eq(state, "active") && !str_eq(state, "inactive"))) {
        return err_set(err, EINVAL, "state takes active or inactive");
    }
    if ((slot_text != NULL && str_to_u32(slot_text, SLOTS - 1, &slot) < 0) ||
        (iter_text != NULL && str_to_u32(iter_text, 3600000, &iter) < 0)) {
        return err_set(err, EINVAL, "keyslot takes 0 to %d, iter-time milliseconds", SLOTS - 1);
    }
    if (new_id != NULL) {
        r = block_secret(ctx, new_id, &new_pass, &new_len, err);
    }
    if (r == 0 && old_id != NULL) {
        r = block_secret(ctx, old_id, &old_pass, &old_len, err);
    }
    if (r < 0) {
        return r;
    }
    if (str_eq(state, "inactive")) {
        return erase(c, slot_text != NULL ? (int)slot : -1, old_pass, old_len, force, err);
    }
    return new_pass == NULL
               ? err_set(err, EINVAL, "'new-secret' is required to activate a keyslot")
               : add_key(c, slot_text != NULL ? (int)slot : -1, new_pass, new_len, iter, err);
}

struct json_object *block_crypto_luks_info(const struct block_crypto *c)
{
    static const char *const modes[] = { "ecb", "cbc", "xts", "ctr" };
    static const char *const ivgens[] = { "", "plain", "plain64", "essiv" };
    struct json_object *o = json_object_new_object();
    struct json_object *slots = json_object_new_array();

    (void)json_add_str(o, "ivgen-alg", ivgens[c->spec.ivgen]);
    if (c->spec.ivgen == IVGEN_ESSIV) {
        (void)json_add_str(o, "ivgen-hash-alg", hash_alg_name(c->spec.ivgen_hash));
    }
    (void)json_add_str(o, "hash-alg", hash_alg_name(c->hash));
    (void)json_add_str(o, "cipher-alg", c->spec.alg);
    (void)json_add_str(o, "uuid", c->uuid);
    (void)json_add_str(o, "cipher-mode", modes[c->spec.mode]);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct json_object *s = json_object_new_object();

        (void)json_add_bool(s, "active", c->slots[i].active);
        if (c->slots[i].active) {
            (void)json_add_u64(s, "iters", c->slots[i].iterations);
            (void)json_add_u64(s, "stripes", c->slots[i].stripes);
        }
        (void)json_add_u64(s, "key-offset", (uint64_t)c->slots[i].offset * SECTOR);
        json_object_array_add(slots, s);
    }
    (void)json_add(o, "slots", slots);
    (void)json_add_u64(o, "payload-offset", block_crypto_payload(c));
    (void)json_add_u64(o, "master-key-iters", c->iterations);
    return o;
}
