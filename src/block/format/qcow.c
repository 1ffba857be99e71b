/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow.c - version 1 of QEMU's copy-on-write images.
 *
 * Big-endian header of 48 bytes: 0 "QFI\xfb", 4 version 1, 8 offset and 16 length of the backing
 * file's name, 24 size, 32 cluster bits, 33 L2 bits, 36 encryption, 40 L1 offset. L1 entries are
 * offsets of L2 tables, theirs are of clusters; bit 63 marks a compressed one, whose length is
 * above the offset. Limits: L1 of 32 MiB, as QEMU.
 */
#include "block/format/table.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "block/core/iov.h"
#include "block/crypto/crypto.h"
#include "codec/keyval.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#define QCOW_MAGIC      0x514649fbu
#define QCOW_COMPRESSED (1ull << 63)

enum { HEADER = 48, MAX_NAME = 1023, MAX_L1_BYTES = 32 << 20 };

struct qcow {
    struct table_node t;
    unsigned cluster_bits;
    unsigned l2_bits;
    uint64_t cluster;
    uint64_t l1_off;
    uint64_t l1_n;
    uint8_t *l1; /* owned, as on disk */
    uint8_t *l2; /* owned: the table last used */
    uint64_t l2_off;
    struct block_crypto *crypto; /* owned; NULL: not encrypted */
};

static int qcow_probe(const uint8_t *head, size_t len, const char *filename)
{
    (void)filename;
    return len >= HEADER && be32_get(head) == QCOW_MAGIC && be32_get(head + 4) == 1 ? 100 : 0;
}

static int load_l2(struct qcow *q, uint64_t off)
{
    int r = 0;

    if (off != q->l2_off) {
        q->l2_off = 0;
        r = block_pread(q->t.node.file, q->l2, 8ull << q->l2_bits, off);
        q->l2_off = r == 0 ? off : 0;
    }
    return r;
}

static int lookup(struct table_node *t, uint64_t off, struct table_entry *ret)
{
    struct qcow *q = (struct qcow *)t;
    uint64_t i = off >> (q->cluster_bits + q->l2_bits);
    uint64_t table = i < q->l1_n ? be64_get(q->l1 + i * 8) : 0;
    uint64_t e = 0;

    ret->start = off & ~(q->cluster - 1);
    ret->len = q->cluster;
    ret->kind = TABLE_NONE;
    if (table != 0) {
        int r = load_l2(q, table);

        if (r < 0) {
            return r;
        }
        e = be64_get(q->l2 + (off >> q->cluster_bits & ((1ull << q->l2_bits) - 1)) * 8);
    }
    if (e != 0) {
        ret->kind = (e & QCOW_COMPRESSED) != 0 || q->crypto != NULL ? TABLE_SPECIAL : TABLE_DATA;
        ret->host = e;
        ret->aux = e;
    }
    return 0;
}

static int alloc(struct table_node *t, struct table_entry *ret, bool *ret_zero)
{
    struct qcow *q = (struct qcow *)t;

    t->space.end = round_up_u64(t->space.end, q->cluster);
    *ret_zero = true;
    return table_append(t, q->cluster, &ret->host);
}

static int link_block(struct table_node *t, const struct table_entry *e)
{
    struct qcow *q = (struct qcow *)t;
    uint64_t i = e->start >> (q->cluster_bits + q->l2_bits);
    uint64_t k = e->start >> q->cluster_bits & ((1ull << q->l2_bits) - 1);
    uint64_t table = be64_get(q->l1 + i * 8);
    int r = 0;

    if (table == 0) {
        t->space.end = round_up_u64(t->space.end, q->cluster);
        r = table_append(t, 8ull << q->l2_bits, &table);
        if (r < 0) {
            return r;
        }
        memset(q->l2, 0, 8ull << q->l2_bits);
        be64_put(q->l2 + k * 8, e->host);
        r = block_pwrite(t->node.file, q->l2, 8ull << q->l2_bits, table);
        q->l2_off = r == 0 ? table : 0;
        if (r == 0 && !t->node.no_flush) {
            r = block_flush(t->node.file);
        }
        if (r == 0) {
            be64_put(q->l1 + i * 8, table);
            r = block_pwrite(t->node.file, q->l1 + i * 8, 8, q->l1_off + i * 8);
        }
        return r;
    }
    r = load_l2(q, table);
    if (r == 0) {
        be64_put(q->l2 + k * 8, e->host);
        r = block_pwrite(t->node.file, q->l2 + k * 8, 8, table + k * 8);
    }
    return r;
}

static int read_special(struct table_node *t, const struct table_entry *e, uint8_t *buf)
{
    struct qcow *q = (struct qcow *)t;
    uint64_t off = e->aux & ((1ull << (63 - q->cluster_bits)) - 1);
    uint64_t len = e->aux >> (63 - q->cluster_bits) & (q->cluster - 1);
    struct libdeflate_decompressor *d;
    AUTO_FREE uint8_t *in = NULL;
    size_t got = 0;
    size_t used = 0;
    int r;

    if ((e->aux & QCOW_COMPRESSED) == 0) {
        r = block_pread(t->node.file, buf, q->cluster, e->aux);
        return r == 0 ? block_crypto_decrypt(q->crypto, e->start, buf, q->cluster) : r;
    }
    in = malloc(len + 1);
    d = libdeflate_alloc_decompressor();
    r = in != NULL && d != NULL ? block_pread(t->node.file, in, len, off) : -ENOMEM;
    if (r == 0 && (libdeflate_deflate_decompress_ex(d, in, len, buf, q->cluster, &used, &got) !=
                       LIBDEFLATE_SUCCESS ||
                   got != q->cluster)) {
        r = -EIO;
    }
    libdeflate_free_decompressor(d);
    return r;
}

static const struct table_ops ops = {
    .lookup = lookup, .alloc = alloc, .link = link_block, .read_special = read_special
};

static int open_crypto(struct qcow *q, struct keyval *opts, struct err **err)
{
    const char *id = keyval_get(opts, "encrypt.key-secret");
    AUTO_FREE uint8_t *pass = NULL;
    size_t len = 0;
    int r;

    (void)keyval_get(opts, "encrypt.format");
    if (id == NULL && q->t.node.no_io) {
        return block_crypto_open_aes((const uint8_t *)"", 0, &q->crypto, err);
    }
    if (id == NULL) {
        return err_set(err, EINVAL, "Parameter 'encrypt.key-secret' is required for cipher");
    }
    r = block_secret(q->t.node.ctx, id, &pass, &len, err);
    return r == 0 ? block_crypto_open_aes(pass, len, &q->crypto, err) : r;
}

static int check_header(struct qcow *q, const uint8_t *h, struct err **err)
{
    if (qcow_probe(h, HEADER, NULL) == 0) {
        return err_set(err, EINVAL, "Image not in qcow format");
    }
    q->t.size = be64_get(h + 24);
    q->cluster_bits = h[32];
    q->l2_bits = h[33];
    q->l1_off = be64_get(h + 40);
    if (q->t.size <= 1) {
        return err_set(err, EINVAL, "Image size is too small (must be at least 2 bytes)");
    }
    if (q->cluster_bits < 9 || q->cluster_bits > 16) {
        return err_set(err, EINVAL, "Cluster size must be between 512 and 64k");
    }
    if (q->l2_bits < 6 || q->l2_bits > 13) {
        return err_set(err, EINVAL, "L2 table size must be between 512 and 64k");
    }
    if (be32_get(h + 36) > 1) {
        return err_set(err, EINVAL, "invalid encryption method in qcow header");
    }
    q->cluster = 1ull << q->cluster_bits;
    if (q->t.size > BLOCK_MAX_LENGTH) {
        return err_set(err, EFBIG, "Image too large");
    }
    q->l1_n = (q->t.size + (q->cluster << q->l2_bits) - 1) >> (q->cluster_bits + q->l2_bits);
    return 0;
}

static int qcow_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct qcow *q = (struct qcow *)node;
    uint8_t h[HEADER];
    uint32_t name_len;
    int r = block_open_file_child(node, opts, err);

    if (r == 0) {
        r = block_pread(node->file, h, HEADER, 0);
    }
    if (r == 0) {
        r = check_header(q, h, err);
    }
    if (r == 0) {
        r = table_read_all(node->file, q->l1_off, q->l1_n, 8, MAX_L1_BYTES, &q->l1, err);
    }
    if (r < 0) {
        return r;
    }
    q->l2 = malloc(8ull << q->l2_bits);
    name_len = be32_get(h + 16);
    if (be64_get(h + 8) != 0 && name_len > 0) {
        if (name_len > MAX_NAME) {
            return err_set(err, EINVAL, "Backing file name too long");
        }
        node->backing_file = calloc(1, name_len + 1ull);
        r = node->backing_file != NULL
                ? block_pread(node->file, node->backing_file, name_len, be64_get(h + 8))
                : -ENOMEM;
    }
    if (r == 0 && be32_get(h + 36) == 1) {
        r = open_crypto(q, opts, err);
    }
    if (r < 0 || q->l2 == NULL) {
        return r < 0 ? r : -ENOMEM;
    }
    q->t.space.end = (uint64_t)block_length(node->file);
    table_init(&q->t, &ops);
    return block_open_backing(node, opts, err);
}

static void qcow_close(struct block_node *node)
{
    struct qcow *q = (struct qcow *)node;

    table_trim(&q->t);
    table_done(&q->t);
    q->crypto = block_crypto_free(q->crypto);
    free(q->l1);
    free(q->l2);
}

/* Encrypted clusters are read, changed and written whole. */
static int write_encrypted(struct qcow *q, const struct iovec *iov, unsigned n, uint64_t off)
{
    AUTO_FREE uint8_t *buf = malloc(q->cluster);
    size_t total = iov_len(iov, n);
    int r = buf != NULL ? 0 : -ENOMEM;

    for (size_t done = 0; r == 0 && done < total;) {
        uint64_t at = off + done;
        uint64_t start = at & ~(q->cluster - 1);
        size_t len = min_u64(total - done, start + q->cluster - at);
        struct table_entry e = { .file = q->t.node.file };
        struct iovec whole = { .iov_base = buf, .iov_len = q->cluster };
        bool zero;

        r = table_preadv(&q->t.node, &whole, 1, start);
        (void)pthread_mutex_lock(&q->t.lock);
        if (r == 0) {
            r = lookup(&q->t, start, &e);
        }
        if (r == 0 && (e.kind == TABLE_NONE || (e.aux & QCOW_COMPRESSED) != 0)) {
            e.aux = 0;
            r = alloc(&q->t, &e, &zero);
        }
        if (r == 0) {
            iov_to_buf(iov, n, done, buf + (at - start), len);
            r = block_crypto_encrypt(q->crypto, start, buf, q->cluster);
        }
        if (r == 0) {
            r = block_pwrite(q->t.node.file, buf, q->cluster, e.host);
        }
        if (r == 0 && e.aux == 0) {
            r = link_block(&q->t, &e);
        }
        (void)pthread_mutex_unlock(&q->t.lock);
        done += len;
    }
    return r;
}

static int qcow_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct qcow *q = (struct qcow *)node;

    return q->crypto != NULL ? write_encrypted(q, iov, n, off) : table_pwritev(node, iov, n, off);
}

static int qcow_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    return ((struct qcow *)node)->crypto != NULL ? -ENOTSUP
                                                 : table_write_zeroes(node, off, len, flags);
}

static int qcow_pwrite_compressed(struct block_node *node, const void *buf, size_t len,
                                  uint64_t off)
{
    struct qcow *q = (struct qcow *)node;
    struct libdeflate_compressor *c;
    AUTO_FREE uint8_t *in = calloc(1, q->cluster);
    AUTO_FREE uint8_t *out = malloc(q->cluster);
    int r = in != NULL && out != NULL ? 0 : -ENOMEM;

    if (q->crypto != NULL) {
        return -ENOTSUP;
    }
    c = libdeflate_alloc_compressor(6);
    for (size_t done = 0; r == 0 && c != NULL && done < len; done += q->cluster) {
        size_t part = min_u64(len - done, q->cluster);
        struct table_entry e = { .start = off + done, .file = node->file };
        size_t got;
        uint64_t at;

        memset(in, 0, q->cluster);
        memcpy(in, (const uint8_t *)buf + done, part);
        got = libdeflate_deflate_compress(c, in, q->cluster, out, q->cluster - 1);
        if (got == 0) {
            struct iovec iov = { .iov_base = in, .iov_len = part };

            r = table_pwritev(node, &iov, 1, off + done);
            continue;
        }
        (void)pthread_mutex_lock(&q->t.lock);
        r = table_append(&q->t, got, &at);
        if (r == 0) {
            r = block_pwrite(node->file, out, got, at);
        }
        e.host = QCOW_COMPRESSED | (uint64_t)got << (63 - q->cluster_bits) | at;
        if (r == 0) {
            r = link_block(&q->t, &e);
        }
        (void)pthread_mutex_unlock(&q->t.lock);
    }
    libdeflate_free_compressor(c);
    return c == NULL ? -ENOMEM : r;
}

static void qcow_info(struct block_node *node, struct block_info *ret)
{
    ret->cluster_size = ((struct qcow *)node)->cluster;
    ret->has_dirty = true;
    ret->encrypted = ((struct qcow *)node)->crypto != NULL;
}

static const struct block_opt create_opts[] = {
    { "encryption", BLOCK_OPT_BOOL,
      "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)", NULL },
    { "encrypt.format", BLOCK_OPT_STR, "Encrypt the image, format choices: 'aes'", NULL },
    { "encrypt.key-secret", BLOCK_OPT_STR, "ID of the secret that provides the AES encryption key",
      NULL },
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { "backing_file", BLOCK_OPT_STR, "File name of a base image", NULL },
    { "backing_fmt", BLOCK_OPT_STR, "Format of the backing image", NULL },
    { 0 },
};

static int qcow_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                       struct keyval *opts, struct err **err)
{
    const char *backing = keyval_get(opts, "backing_file");
    const char *format = keyval_get(opts, "encrypt.format");
    unsigned long long size = 0;
    bool encrypt = false;
    size_t name_len = backing != NULL ? strlen(backing) : 0;
    unsigned cluster_bits = backing != NULL ? 9 : 12;
    unsigned l2_bits = backing != NULL ? 12 : 9;
    uint64_t l1_off = round_up_u64(HEADER + name_len, 8);
    uint64_t l1_n;
    AUTO_FREE uint8_t *raw = NULL;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    (void)ctx;
    (void)filename;
    if (r == 0) {
        r = keyval_get_bool(opts, "encryption", false, &encrypt, err);
    }
    if (r == 0 && format != NULL && !str_eq(format, "aes")) {
        r = err_set(err, EINVAL, "Unknown encryption format '%s': aes is what qcow has", format);
    }
    if (r == 0 && (size == 0 || size > BLOCK_MAX_LENGTH / 2)) {
        r = err_set(err, EINVAL, "Image size is too %s",
                    size == 0 ? "small, cannot be zero length" : "large");
    }
    if (r == 0 && name_len > MAX_NAME) {
        r = err_set(err, EINVAL, "Backing file name too long");
    }
    if (r < 0) {
        return r;
    }
    encrypt |= format != NULL;
    l1_n = (size + (1ull << (cluster_bits + l2_bits)) - 1) >> (cluster_bits + l2_bits);
    if (l1_n * 8 > MAX_L1_BYTES) {
        return err_set(err, EFBIG, "Image size is too large for the qcow format");
    }
    raw = calloc(1, l1_off + l1_n * 8);
    if (raw == NULL) {
        return -ENOMEM;
    }
    be32_put(raw, QCOW_MAGIC);
    be32_put(raw + 4, 1);
    if (backing != NULL) {
        be64_put(raw + 8, HEADER);
        be32_put(raw + 16, (uint32_t)name_len);
        memcpy(raw + HEADER, backing, name_len);
    }
    be64_put(raw + 24, size);
    raw[32] = (uint8_t)cluster_bits;
    raw[33] = (uint8_t)l2_bits;
    be32_put(raw + 36, encrypt);
    be64_put(raw + 40, l1_off);
    return block_pwrite(file, raw, l1_off + l1_n * 8, 0);
}

const struct block_driver block_qcow = {
    .name = "qcow",
    .supports_backing = true,
    .size = sizeof(struct qcow),
    .probe = qcow_probe,
    .open = qcow_open,
    .close = qcow_close,
    .length = table_length,
    .preadv = table_preadv,
    .pwritev = qcow_pwritev,
    .pwrite_compressed = qcow_pwrite_compressed,
    .write_zeroes = qcow_write_zeroes,
    .flush = table_flush,
    .status = table_status,
    .create_opts = create_opts,
    .create = qcow_create,
    .info = qcow_info,
};
