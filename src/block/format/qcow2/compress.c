/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * compress.c - compressed clusters (qcow2, Compressed Clusters Descriptor): raw deflate or zstd.
 *
 * The descriptor holds a byte offset and how many further 512-byte sectors the data may reach
 * into; several compressed clusters share a host cluster. Whole clusters at once, so libdeflate
 * does the deflating; each thread keeps its own compressor.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "block/core/iov.h"
#include "block/crypto/crypto.h"

#include <errno.h>
#include <libdeflate.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* Level 6 is at least as small as zlib's default. */
enum { DEFLATE_LEVEL = 6 };

struct codecs {
    struct libdeflate_compressor *deflate;
    struct libdeflate_decompressor *inflate;
    ZSTD_CCtx *zc;
    ZSTD_DCtx *zd;
};

static pthread_key_t codecs_key;
static pthread_once_t codecs_once = PTHREAD_ONCE_INIT;

static void codecs_free(void *p)
{
    struct codecs *c = p;

    libdeflate_free_compressor(c->deflate);
    libdeflate_free_decompressor(c->inflate);
    (void)ZSTD_freeCCtx(c->zc);
    (void)ZSTD_freeDCtx(c->zd);
    free(c);
}

static void codecs_key_make(void)
{
    (void)pthread_key_create(&codecs_key, codecs_free);
}

static struct codecs *codecs_get(void)
{
    struct codecs *c;

    (void)pthread_once(&codecs_once, codecs_key_make);
    c = pthread_getspecific(codecs_key);
    if (c == NULL) {
        c = calloc(1, sizeof(*c));
        if (c != NULL) {
            (void)pthread_setspecific(codecs_key, c);
        }
    }
    return c;
}

/* Bytes written to out, 0 when it does not become smaller than room, or a negative errno. */
static int64_t compress(const struct qcow2 *q, const uint8_t *in, uint8_t *out, size_t room)
{
    struct codecs *c = codecs_get();

    if (c == NULL) {
        return -ENOMEM;
    }
    if (q->compression == QCOW2_ZLIB) {
        if (c->deflate == NULL) {
            c->deflate = libdeflate_alloc_compressor(DEFLATE_LEVEL);
        }
        return c->deflate != NULL ? (int64_t)libdeflate_deflate_compress(c->deflate, in,
                                                                         q->cluster_size, out, room)
                                  : -ENOMEM;
    }
    if (c->zc == NULL) {
        c->zc = ZSTD_createCCtx();
    }
    if (c->zc != NULL) {
        size_t n = ZSTD_compressCCtx(c->zc, out, room, in, q->cluster_size, ZSTD_CLEVEL_DEFAULT);

        return ZSTD_isError(n) ? 0 : (int64_t)n;
    }
    return -ENOMEM;
}

static int decompress(const struct qcow2 *q, const uint8_t *in, size_t len, uint8_t *out)
{
    struct codecs *c = codecs_get();

    if (c == NULL) {
        return -ENOMEM;
    }
    if (q->compression == QCOW2_ZLIB) {
        size_t got = 0;
        size_t used = 0;

        if (c->inflate == NULL) {
            c->inflate = libdeflate_alloc_decompressor();
        }
        if (c->inflate == NULL) {
            return -ENOMEM;
        }
        return libdeflate_deflate_decompress_ex(c->inflate, in, len, out, q->cluster_size, &used,
                                                &got) == LIBDEFLATE_SUCCESS &&
                       got == q->cluster_size
                   ? 0
                   : -EIO;
    }
    if (c->zd == NULL) {
        c->zd = ZSTD_createDCtx();
    }
    if (c->zd == NULL) {
        return -ENOMEM;
    }
    {
        /* Behind the frame lies the next cluster's data: streaming stops where the cluster is full.
         */
        ZSTD_inBuffer zin = { .src = in, .size = len };
        ZSTD_outBuffer zout = { .dst = out, .size = q->cluster_size };

        (void)ZSTD_DCtx_reset(c->zd, ZSTD_reset_session_only);
        while (zout.pos < zout.size) {
            size_t before_in = zin.pos;
            size_t before_out = zout.pos;
            size_t left = ZSTD_decompressStream(c->zd, &zout, &zin);

            if (ZSTD_isError(left) || (zin.pos == before_in && zout.pos == before_out)) {
                return -EIO;
            }
        }
    }
    return 0;
}

void qcow2_compressed_range(const struct qcow2 *q, uint64_t entry, uint64_t *ret_off,
                            uint64_t *ret_len)
{
    unsigned bits = 62 - (q->cluster_bits - 8);
    uint64_t off = entry & ((1ull << bits) - 1);
    uint64_t sectors = (entry >> bits & ((1ull << (q->cluster_bits - 8)) - 1)) + 1;

    *ret_off = off;
    *ret_len = sectors * BLOCK_SECTOR - (off & (BLOCK_SECTOR - 1));
}

int qcow2_read_compressed(struct qcow2 *q, uint64_t entry, uint8_t *cluster)
{
    AUTO_FREE uint8_t *in = NULL;
    uint64_t off;
    uint64_t len;
    int r;

    qcow2_compressed_range(q, entry, &off, &len);
    in = malloc(len);
    if (in == NULL) {
        return -ENOMEM;
    }
    r = block_pread(q->node.file, in, len, off);
    return r == 0 ? decompress(q, in, len, cluster) : r;
}

/* Enters the descriptor; locked. */
static int link_compressed(struct qcow2 *q, uint64_t guest, uint64_t host, uint64_t bytes)
{
    unsigned bits = 62 - (q->cluster_bits - 8);
    uint64_t sectors = ((host + bytes - 1) >> 9) - (host >> 9);
    struct qcow2_entry e = { .entry = QCOW2_COMPRESSED | sectors << bits | host };
    struct qcow2_entry old;
    int r = qcow2_lookup(q, guest, &old);

    if (r == 0) {
        r = qcow2_store(q, guest, e);
    }
    return r == 0 ? qcow2_free_entry(q, old.entry) : r;
}

static int write_one(struct qcow2 *q, const uint8_t *in, uint8_t *out, uint64_t off)
{
    struct qcow2_range range = { 0 };
    int64_t n = compress(q, in, out, q->cluster_size - 1);
    int64_t host;
    int r;

    if (n < 0) {
        return (int)n;
    }
    if (n == 0) { /* it does not shrink: an ordinary cluster */
        struct iovec iov = iov_const(in, min_u64(q->cluster_size, q->size - off));

        return qcow2_pwritev(&q->node, &iov, 1, off);
    }
    (void)pthread_mutex_lock(&q->lock);
    qcow2_range_hold(q, &range, off, q->cluster_size, true);
    host = qcow2_alloc_bytes(q, (uint64_t)n);
    (void)pthread_mutex_unlock(&q->lock);
    r = host < 0 ? (int)host : block_pwrite(q->node.file, out, (size_t)n, (uint64_t)host);
    (void)pthread_mutex_lock(&q->lock);
    if (r == 0) {
        r = link_compressed(q, off, (uint64_t)host, (uint64_t)n);
    } else if (host >= 0) {
        qcow2_free_now(q, (uint64_t)host, (uint64_t)n);
    }
    qcow2_range_release(q, &range);
    (void)pthread_mutex_unlock(&q->lock);
    return r;
}

int qcow2_pwrite_compressed(struct block_node *node, const void *buf, size_t len, uint64_t off)
{
    struct qcow2 *q = qcow2_of(node);
    AUTO_FREE uint8_t *out = NULL;
    AUTO_FREE uint8_t *last = NULL;
    const uint8_t *in = buf;
    int r = 0;

    if (q->has_data_file || q->crypt_method != QCOW2_CRYPT_NONE) {
        return -ENOTSUP; /* the format has no compressed clusters there */
    }
    if ((off & (q->cluster_size - 1)) != 0 ||
        ((len & (q->cluster_size - 1)) != 0 && off + len != q->size)) {
        return -EINVAL;
    }
    out = malloc(q->cluster_size);
    if (out == NULL) {
        return -ENOMEM;
    }
    for (size_t done = 0; r == 0 && done < len; done += q->cluster_size) {
        const uint8_t *cluster = in + done;

        if (len - done < q->cluster_size) {
            last = calloc(1, q->cluster_size);
            if (last == NULL) {
                return -ENOMEM;
            }
            memcpy(last, cluster, len - done);
            cluster = last;
        }
        r = write_one(q, cluster, out, off + done);
    }
    return r;
}
