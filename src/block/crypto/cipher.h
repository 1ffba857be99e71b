/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cipher.h - sector ciphers: a block cipher, a mode, and how sectors get their IVs. */
#pragma once

#include "base/err.h"

#include <nettle/nettle-meta.h>
#include <stdbool.h>
#include <stdint.h>

enum cipher_mode { CIPHER_ECB, CIPHER_CBC, CIPHER_XTS, CIPHER_CTR };
enum cipher_ivgen { IVGEN_NONE, IVGEN_PLAIN, IVGEN_PLAIN64, IVGEN_ESSIV };

struct cipher_spec {
    const struct nettle_cipher *cipher;
    const char *alg; /* QEMU's name: "aes-256" */
    enum cipher_mode mode;
    enum cipher_ivgen ivgen;
    const struct nettle_hash *ivgen_hash; /* for ESSIV */
};

/* A key in use. Read-only once made: any thread. */
struct sector_cipher;

/* By QEMU's name, or by LUKS' name ("aes") and the key's length of one cipher. */
int cipher_find(const char *qemu_alg, struct cipher_spec *ret, struct err **err) MUST_CHECK;
int cipher_find_luks(const char *name, size_t key_bytes, struct cipher_spec *ret, struct err **err)
    MUST_CHECK;
/* "aes" of "aes-256". */
const char *cipher_luks_name(const struct cipher_spec *spec);
/* Bytes of key: twice the cipher's for XTS. */
size_t cipher_key_bytes(const struct cipher_spec *spec);

int sector_cipher_new(const struct cipher_spec *spec, const uint8_t *key,
                      struct sector_cipher **ret, struct err **err) MUST_CHECK;
struct sector_cipher *sector_cipher_free(struct sector_cipher *c);
/* len: whole sectors, the first of which has that number. */
int sector_cipher_crypt(const struct sector_cipher *c, uint64_t sector, uint8_t *buf, size_t len,
                        bool encrypt) MUST_CHECK;
