/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* luks.c - a whole file encrypted: LUKS header, then the disk's sectors (crypto/luks.c). */
#include "block/core/block.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "block/core/iov.h"
#include "block/crypto/crypto.h"
#include "codec/json.h"
#include "codec/keyval.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 20 };

struct luks {
    struct block_node node;
    struct block_crypto *crypto; /* owned */
    uint64_t payload;
    pthread_mutex_t lock; /* writes of parts of sectors */
};

static int header_io(void *arg, uint64_t off, void *buf, size_t len, bool write)
{
    struct block_node *file = arg;

    return write ? block_pwrite(file, buf, len, off) : block_pread(file, buf, len, off);
}

static int luks_probe(const uint8_t *head, size_t len, const char *filename)
{
    (void)filename;
    return len >= 592 && memcmp(head, "LUKS\xba\xbe", 6) == 0 && be16_get(head + 6) == 1 ? 100 : 0;
}

static int luks_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct luks *l = (struct luks *)node;
    const char *id = keyval_get(opts, "key-secret");
    AUTO_FREE uint8_t *pass = NULL;
    size_t len = 0;
    int r;

    (void)pthread_mutex_init(&l->lock, NULL);
    r = block_open_file_child(node, opts, err);
    if (r == 0 && id == NULL && !node->no_io) {
        r = err_set(err, EINVAL, "Parameter 'key-secret' is required for cipher");
    }
    if (r == 0 && id != NULL && !node->no_io) {
        r = block_secret(node->ctx, id, &pass, &len, err);
    }
    if (r == 0) {
        r = block_crypto_open_luks(header_io, node->file, pass, len, &l->crypto, err);
    }
    if (r == 0) {
        l->payload = block_crypto_payload(l->crypto);
    }
    return r;
}

static void luks_close(struct block_node *node)
{
    struct luks *l = (struct luks *)node;

    l->crypto = block_crypto_free(l->crypto);
    (void)pthread_mutex_destroy(&l->lock);
}

static int64_t luks_length(struct block_node *node)
{
    struct luks *l = (struct luks *)node;
    int64_t len = block_length(node->file);

    return len < 0                     ? len
           : len > (int64_t)l->payload ? (len - (int64_t)l->payload) / BLOCK_SECTOR * BLOCK_SECTOR
                                       : 0;
}

static int crypt_read(struct luks *l, uint8_t *buf, size_t len, uint64_t off)
{
    int r = block_pread(l->node.file, buf, len, l->payload + off);

    return r == 0 ? block_crypto_decrypt(l->crypto, off, buf, len) : r;
}

static int luks_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct luks *l = (struct luks *)node;
    size_t total = iov_len(iov, n);
    AUTO_FREE uint8_t *buf = malloc(min_u64(total + 2 * BLOCK_SECTOR, CHUNK + 2 * BLOCK_SECTOR));
    int r = buf != NULL ? 0 : -ENOMEM;

    for (size_t done = 0; r == 0 && done < total;) {
        size_t len = min_u64(CHUNK, total - done);
        uint64_t start = round_down_u64(off + done, BLOCK_SECTOR);
        uint64_t end = round_up_u64(off + done + len, BLOCK_SECTOR);

        r = crypt_read(l, buf, end - start, start);
        if (r == 0) {
            iov_from_buf(iov, n, done, buf + (off + done - start), len);
        }
        done += len;
    }
    return r;
}

static int luks_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct luks *l = (struct luks *)node;
    size_t total = iov_len(iov, n);
    AUTO_FREE uint8_t *buf = malloc(min_u64(total + 2 * BLOCK_SECTOR, CHUNK + 2 * BLOCK_SECTOR));
    int r = buf != NULL ? 0 : -ENOMEM;

    for (size_t done = 0; r == 0 && done < total;) {
        size_t len = min_u64(CHUNK, total - done);
        uint64_t start = round_down_u64(off + done, BLOCK_SECTOR);
        uint64_t end = round_up_u64(off + done + len, BLOCK_SECTOR);
        bool partial = start != off + done || end != off + done + len;

        if (partial) {
            (void)pthread_mutex_lock(&l->lock);
            r = crypt_read(l, buf, end - start, start);
        }
        if (r == 0) {
            iov_to_buf(iov, n, done, buf + (off + done - start), len);
            r = block_crypto_encrypt(l->crypto, start, buf, end - start);
        }
        if (r == 0) {
            r = block_pwrite(node->file, buf, end - start, l->payload + start);
        }
        if (partial) {
            (void)pthread_mutex_unlock(&l->lock);
        }
        done += len;
    }
    return r;
}

static int luks_flush(struct block_node *node)
{
    return block_flush(node->file);
}

static int luks_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                         struct err **err)
{
    return block_truncate(node->file, len + ((struct luks *)node)->payload, prealloc, err);
}

static void luks_info(struct block_node *node, struct block_info *ret)
{
    (void)node;
    ret->encrypted = true;
    ret->has_dirty = true;
}

static struct json_object *luks_specific(struct block_node *node)
{
    return block_crypto_luks_info(((struct luks *)node)->crypto);
}

static const struct block_opt create_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { "key-secret", BLOCK_OPT_STR, "ID of the secret that provides the keyslot passphrase", NULL },
    { "cipher-alg", BLOCK_OPT_STR, "Name of encryption cipher algorithm", NULL },
    { "cipher-mode", BLOCK_OPT_STR, "Name of encryption cipher mode", NULL },
    { "ivgen-alg", BLOCK_OPT_STR, "Name of IV generator algorithm", NULL },
    { "ivgen-hash-alg", BLOCK_OPT_STR, "Name of IV generator hash algorithm", NULL },
    { "hash-alg", BLOCK_OPT_STR, "Name of encryption hash algorithm", NULL },
    { "iter-time", BLOCK_OPT_NUM, "Time to spend in PBKDF in milliseconds", NULL },
    { "preallocation", BLOCK_OPT_STR, "Preallocation mode (allowed values: off, falloc, full)",
      NULL },
    { 0 },
};

static int luks_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                       struct keyval *opts, struct err **err)
{
    const char *id = keyval_get(opts, "key-secret");
    AUTO_FREE uint8_t *pass = NULL;
    enum block_prealloc prealloc;
    unsigned long long size = 0;
    uint64_t header;
    size_t len = 0;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    (void)filename;
    if (r == 0) {
        r = block_prealloc_parse(keyval_get(opts, "preallocation"), &prealloc, err);
    }
    if (r == 0 && id == NULL) {
        r = err_set(err, EINVAL, "Parameter 'key-secret' is required for cipher");
    }
    if (r == 0) {
        r = block_secret(ctx, id, &pass, &len, err);
    }
    if (r == 0) {
        r = block_crypto_luks_header_size(opts, "", &header, err);
    }
    if (r == 0 && size > BLOCK_MAX_LENGTH - header) {
        r = err_set(err, EFBIG, "The requested file size is too large");
    }
    if (r == 0) {
        r = block_truncate(file, header + round_up_u64(size, BLOCK_SECTOR), prealloc, err);
    }
    return r == 0 ? block_crypto_create_luks(header_io, file, opts, "", pass, len, err) : r;
}

static int luks_measure(struct keyval *opts, struct block_node *in, struct block_measure *ret,
                        struct err **err)
{
    unsigned long long size = 0;
    uint64_t header;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    if (r == 0) {
        r = block_crypto_luks_header_size(opts, "", &header, err);
    }
    if (r == 0) {
        size = in != NULL ? (uint64_t)block_length(in) : round_up_u64(size, BLOCK_SECTOR);
        ret->required = ret->fully_allocated = size + header;
    }
    return r;
}

static const struct block_opt amend_opts[] = {
    { "state", BLOCK_OPT_STR, "Select new state of affected keyslots (active/inactive)", NULL },
    { "new-secret", BLOCK_OPT_STR, "New secret to set in the matching keyslots", NULL },
    { "old-secret", BLOCK_OPT_STR, "Select all keyslots that match this password", NULL },
    { "keyslot", BLOCK_OPT_NUM, "Select a single keyslot to modify explicitly", NULL },
    { "iter-time", BLOCK_OPT_NUM, "Time to spend in PBKDF in milliseconds", NULL },
    { 0 },
};

static int luks_amend(struct block_node *node, struct keyval *opts, bool force, struct err **err)
{
    struct luks *l = (struct luks *)node;

    return block_crypto_luks_amend(l->crypto, node->ctx, opts, "", force, err);
}

const struct block_driver block_luks = {
    .name = "luks",
    .size = sizeof(struct luks),
    .probe = luks_probe,
    .open = luks_open,
    .close = luks_close,
    .length = luks_length,
    .preadv = luks_preadv,
    .pwritev = luks_pwritev,
    .flush = luks_flush,
    .truncate = luks_truncate,
    .create_opts = create_opts,
    .create = luks_create,
    .measure = luks_measure,
    .amend_opts = amend_opts,
    .amend = luks_amend,
    .info = luks_info,
    .specific = luks_specific,
};
