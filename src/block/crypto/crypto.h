/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crypto.h - encryption of images: sectors by a cipher, and the LUKS header that guards its key.
 *
 * Sectors are 512 bytes and have an IV made from their number. Thread-safe once opened.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct block_crypto;
struct json_object;
struct keyval;

/* Where the LUKS header lies. */
typedef int block_crypto_io_fn(void *arg, uint64_t off, void *buf, size_t len, bool write);

/* The cipher of QEMU's old qcow and qcow2 encryption: AES-128-CBC keyed by the passphrase. */
int block_crypto_open_aes(const uint8_t *passphrase, size_t len, struct block_crypto **ret,
                          struct err **err) MUST_CHECK;
/* Opens a LUKS1 header. passphrase NULL: only the header is looked at; no data can be read. */
int block_crypto_open_luks(block_crypto_io_fn *io, void *arg, const uint8_t *passphrase, size_t len,
                           struct block_crypto **ret, struct err **err) MUST_CHECK;
struct block_crypto *block_crypto_free(struct block_crypto *c);
DEFINE_CLEANUP(struct block_crypto, block_crypto_free)

/* Options of a new header, with QEMU's names less their prefix: cipher-alg, cipher-mode, ivgen-alg,
 * ivgen-hash-alg, hash-alg, iter-time. Bytes that the header needs: */
int block_crypto_luks_header_size(struct keyval *opts, const char *prefix, uint64_t *ret,
                                  struct err **err) MUST_CHECK;
int block_crypto_create_luks(block_crypto_io_fn *io, void *arg, struct keyval *opts,
                             const char *prefix, const uint8_t *passphrase, size_t len,
                             struct err **err) MUST_CHECK;
/* Where the payload begins in a file that begins with the header. */
uint64_t block_crypto_payload(const struct block_crypto *c);
/* QEMU's description of a LUKS header; owned by the caller. */
struct json_object *block_crypto_luks_info(const struct block_crypto *c);

/* Changes keyslots by the options state, new-secret, old-secret, keyslot, iter-time. */
struct block_ctx;
int block_crypto_luks_amend(struct block_crypto *c, struct block_ctx *ctx, struct keyval *opts,
                            const char *prefix, bool force, struct err **err) MUST_CHECK;

/* off: byte offset of the first sector, from which IVs are made; len: whole sectors. */
int block_crypto_encrypt(struct block_crypto *c, uint64_t off, uint8_t *buf, size_t len) MUST_CHECK;
int block_crypto_decrypt(struct block_crypto *c, uint64_t off, uint8_t *buf, size_t len) MUST_CHECK;
