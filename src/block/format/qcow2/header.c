/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * header.c - the header cluster (qcow2, Header; Header extensions).
 *
 * Bytes of the header, big-endian:
 *     0 magic, 4 version, 8 backing name offset, 16 its length, 20 cluster bits, 24 size,
 *     32 encryption, 36 L1 entries, 40 L1 offset, 48 refcount table offset, 56 its clusters,
 *     60 snapshots, 64 their offset; from version 3: 72 incompatible, 80 compatible, 88 autoclear
 *     features, 96 refcount order, 100 header length, 104 compression type.
 * Then extensions {type, length, data padded to 8}, then the backing file's name.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EXT_END = 0,
    MAX_BACKING_NAME = 1023,
    FULL_HEADER = 112, /* what we write: version 3 with the compression type */
};

#define EXT_BACKING_FMT 0xe2792acau
#define EXT_FEATURES    0x6803f857u
#define EXT_BITMAPS     0x23852875u
#define EXT_CRYPTO      0x0537be77u
#define EXT_DATA_FILE   0x44415441u

int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (q->corrupt_seen || q->node.for_check) {
        return -EIO;
    }
    q->corrupt_seen = true;
    log_warn("qcow2: %s: %s; %s", q->node.filename != NULL ? q->node.filename : "image", text,
             q->node.read_only ? "the image is left as it is" : "further writes to it are refused");
    if (!q->node.read_only && q->version >= 3) {
        uint8_t raw[8];

        be64_put(raw, q->incompat | QCOW2_INCOMPAT_CORRUPT);
        if (block_pwrite_sync(q->node.file, raw, sizeof(raw), 72) == 0) {
            q->incompat |= QCOW2_INCOMPAT_CORRUPT;
        }
    }
    return -EIO;
}

int qcow2_check_table(struct qcow2 *q, uint64_t off, uint64_t n, unsigned entry, uint64_t max_bytes,
                      const char *name, struct err **err)
{
    if (n > max_bytes / entry) {
        return err_set(err, EFBIG, "%s too large", name);
    }
    if (off > INT64_MAX - n * entry || (off & (q->cluster_size - 1)) != 0) {
        return err_set(err, EINVAL, "%s offset invalid", name);
    }
    return 0;
}

static char *dup_bytes(const uint8_t *p, size_t len)
{
    char *s = malloc(len + 1);

    if (s != NULL) {
        memcpy(s, p, len);
        s[len] = '\0';
    }
    return s;
}

static int keep_unknown(struct qcow2 *q, const uint8_t *ext, size_t len)
{
    size_t padded = round_up_u64(len, 8);
    uint8_t *more = realloc(q->unknown_exts, q->unknown_exts_len + padded);

    if (more == NULL) {
        return -ENOMEM;
    }
    memset(more + q->unknown_exts_len, 0, padded);
    memcpy(more + q->unknown_exts_len, ext, len);
    q->unknown_exts = more;
    q->unknown_exts_len += padded;
    return 0;
}

static int one_extension(struct qcow2 *q, uint32_t type, const uint8_t *ext, uint32_t len,
                         struct err **err)
{
    const uint8_t *data = ext + 8;

    switch (type) {
    case EXT_BACKING_FMT:
        if (len > 255) {
            return err_set(err, EINVAL, "ERROR: ext_backing_format: len=%u too large", len);
        }
        free(q->node.backing_fmt);
        q->node.backing_fmt = dup_bytes(data, len);
        return q->node.backing_fmt != NULL ? 0 : -ENOMEM;
    case EXT_FEATURES:
        return 0; /* written anew each time */
    case EXT_DATA_FILE:
        free(q->data_file_name);
        q->data_file_name = dup_bytes(data, len);
        return q->data_file_name != NULL ? 0 : -ENOMEM;
    case EXT_CRYPTO:
        if (len != 16) {
            return err_set(err, EINVAL, "CRYPTO header extension size %u, but expected size 16",
                           len);
        }
        q->crypto_offset = be64_get(data);
        q->crypto_length = be64_get(data + 8);
        if ((q->crypto_offset & (q->cluster_size - 1)) != 0) {
            return err_set(
                err, EINVAL,
                "Encryption header offset '%llu' is not a multiple of cluster size '%llu'",
                (unsigned long long)q->crypto_offset, (unsigned long long)q->cluster_size);
        }
        return 0;
    case EXT_BITMAPS:
        if (len != 24) {
            return err_set(err, EINVAL, "bitmaps_ext: Invalid extension length");
        }
        if ((q->autoclear & QCOW2_AUTOCLEAR_BITMAPS) == 0) {
            return 0; /* somebody wrote to the image who does not know bitmaps: they are stale */
        }
        q->n_bitmaps = be32_get(data);
        q->bitmap_dir_size = be64_get(data + 8);
        q->bitmap_dir_offset = be64_get(data + 16);
        if (q->n_bitmaps == 0 || q->n_bitmaps > QCOW2_MAX_BITMAPS || be32_get(data + 4) != 0 ||
            (q->bitmap_dir_offset & (q->cluster_size - 1)) != 0 ||
            q->bitmap_dir_size > QCOW2_MAX_BITMAP_DIR || q->bitmap_dir_size == 0) {
            return err_set(err, EINVAL, "bitmaps_ext: invalid directory of %u bitmaps",
                           q->n_bitmaps);
        }
        return 0;
    default:
        return keep_unknown(q, ext, 8 + (size_t)len);
    }
}

static int read_extensions(struct qcow2 *q, const uint8_t *head, size_t from, size_t to,
                           struct err **err)
{
    size_t at = from;

    while (at + 8 <= to) {
        uint32_t type = be32_get(head + at);
        uint32_t len = be32_get(head + at + 4);
        int r;

        if (type == EXT_END) {
            return 0;
        }
        if (len > to - at - 8) {
            return err_set(err, EINVAL, "Header extension too large");
        }
        r = one_extension(q, type, head + at, len, err);
        if (r < 0) {
            return r;
        }
        at += 8 + round_up_u64(len, 8);
    }
    return 0;
}

static int check_version(struct qcow2 *q, const uint8_t *head, struct err **err)
{
    uint32_t order = 4;

    q->version = be32_get(head + 4);
    if (be32_get(head) != QCOW2_MAGIC) {
        return err_set(err, EINVAL, "Image is not in qcow2 format");
    }
    if (q->version < 2 || q->version > 3) {
        return err_set(err, ENOTSUP, "Unsupported qcow2 version %u", q->version);
    }
    q->cluster_bits = be32_get(head + 20);
    if (q->cluster_bits < QCOW2_MIN_CLUSTER_BITS || q->cluster_bits > QCOW2_MAX_CLUSTER_BITS) {
        return err_set(err, EINVAL, "Unsupported cluster size: 2^%u", q->cluster_bits);
    }
    q->cluster_size = 1ull << q->cluster_bits;
    q->header_length = QCOW2_V2_HEADER;
    if (q->version == 3) {
        q->incompat = be64_get(head + 72);
        q->compat = be64_get(head + 80);
        q->autoclear = be64_get(head + 88);
        order = be32_get(head + 96);
        q->header_length = be32_get(head + 100);
        if (q->header_length < QCOW2_V3_HEADER) {
            return err_set(err, EINVAL, "qcow2 header too short");
        }
    }
    if (q->header_length > q->cluster_size) {
        return err_set(err, EINVAL, "qcow2 header exceeds cluster size");
    }
    if ((q->incompat & ~QCOW2_INCOMPAT_KNOWN) != 0) {
        return err_set(err, ENOTSUP, "Unsupported qcow2 feature(s): %llx",
                       (unsigned long long)(q->incompat & ~QCOW2_INCOMPAT_KNOWN));
    }
    if (order > 6) {
        return err_set(err, EINVAL,
                       "Reference count entry width too large; may not exceed 64 bits");
    }
    q->refcount_order = order;
    return 0;
}

static void set_geometry(struct qcow2 *q)
{
    bool extended = (q->incompat & QCOW2_INCOMPAT_EXTL2) != 0;

    q->l2_entry_size = extended ? 16 : 8;
    q->l2_bits = q->cluster_bits - (extended ? 4 : 3);
    q->subclusters = extended ? QCOW2_EXTL2_SUBCLUSTERS : 1;
    q->subcluster_bits = q->cluster_bits - (extended ? 5 : 0);
    q->block_bits = q->cluster_bits + 3 - q->refcount_order;
    q->refcount_max = q->refcount_order == 6 ? INT64_MAX : (1ull << (1u << q->refcount_order)) - 1;
}

static int check_fields(struct qcow2 *q, const uint8_t *head, size_t len, struct err **err)
{
    bool extended = (q->incompat & QCOW2_INCOMPAT_EXTL2) != 0;
    uint32_t crypt = be32_get(head + 32);

    q->compression = QCOW2_ZLIB;
    if (q->version == 3 && q->header_length > QCOW2_V3_HEADER && len > QCOW2_V3_HEADER) {
        q->compression = head[QCOW2_V3_HEADER];
    }
    if (q->compression > QCOW2_ZSTD) {
        return err_set(err, ENOTSUP, "qcow2: unknown compression type: %u", q->compression);
    }
    if ((q->compression != QCOW2_ZLIB) != ((q->incompat & QCOW2_INCOMPAT_COMPRESSION) != 0)) {
        return err_set(err, EINVAL,
                       "qcow2: Compression type incompatible feature bit must %sbe set",
                       q->compression == QCOW2_ZLIB ? "not " : "");
    }
    if (extended && q->cluster_bits < 14) {
        return err_set(
            err, EINVAL,
            "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
    }
    if (crypt > QCOW2_CRYPT_LUKS) {
        return err_set(err, EINVAL, "Unsupported encryption method %u", crypt);
    }
    q->crypt_method = crypt;
    set_geometry(q);
    q->size = be64_get(head + 24);
    if (q->size > BLOCK_MAX_LENGTH) {
        return err_set(err, EFBIG, "the image's size of %llu bytes is too large",
                       (unsigned long long)q->size);
    }
    q->l1_size = be32_get(head + 36);
    q->l1_offset = be64_get(head + 40);
    q->rt_offset = be64_get(head + 48);
    q->rt_clusters = be32_get(head + 56);
    q->n_snapshots = be32_get(head + 60);
    q->snapshots_offset = be64_get(head + 64);
    return 0;
}

static int check_tables(struct qcow2 *q, struct err **err)
{
    uint64_t need;
    int r;

    if (q->rt_clusters == 0 && !q->node.for_check) {
        return err_set(err, EINVAL, "Image does not contain a reference count table");
    }
    r = qcow2_check_table(q, q->rt_offset, (uint64_t)q->rt_clusters << (q->cluster_bits - 3), 8,
                          QCOW2_MAX_REFTABLE_BYTES, "Reference count table", err);
    if (r == 0 && q->n_snapshots > QCOW2_MAX_SNAPSHOTS) {
        r = err_set(err, EFBIG, "Snapshot table too large");
    }
    if (r == 0) {
        r = qcow2_check_table(q, q->snapshots_offset, q->n_snapshots, 40, QCOW2_MAX_SNAPSHOT_BYTES,
                              "Snapshot table", err);
    }
    if (r == 0) {
        r = qcow2_check_table(q, q->l1_offset, q->l1_size, 8, QCOW2_MAX_L1_BYTES, "Active L1 table",
                              err);
    }
    need = (q->size + qcow2_l2_coverage(q) - 1) / qcow2_l2_coverage(q);
    if (r == 0 && need > QCOW2_MAX_L1_BYTES / 8) {
        r = err_set(err, EFBIG, "Image is too big");
    }
    if (r == 0 && q->l1_size < need) {
        r = err_set(err, EINVAL, "L1 table is too small");
    }
    return r;
}

int qcow2_read_header(struct qcow2 *q, struct err **err)
{
    AUTO_FREE uint8_t *head = NULL;
    uint8_t first[QCOW2_V3_HEADER];
    uint64_t name_off;
    uint32_t name_len;
    int64_t file_len = block_length(q->node.file);
    int r = block_pread(q->node.file, first, sizeof(first), 0);

    if (r < 0 || file_len < 0) {
        return err_set(err, r < 0 ? -r : EIO, "Could not read qcow2 header: %s",
                       strerror(r < 0 ? -r : EIO));
    }
    r = check_version(q, first, err);
    if (r < 0) {
        return r;
    }
    head = malloc(q->cluster_size);
    if (head == NULL) {
        return -ENOMEM;
    }
    r = block_pread(q->node.file, head, q->cluster_size, 0);
    if (r < 0) {
        return err_set(err, -r, "Could not read qcow2 header: %s", strerror(-r));
    }
    r = check_fields(q, head, q->cluster_size, err);
    name_off = be64_get(head + 8);
    name_len = be32_get(head + 16);
    if (r == 0 && name_off != 0 &&
        (name_off > q->cluster_size || name_len > q->cluster_size - name_off ||
         name_len > MAX_BACKING_NAME)) {
        r = err_set(err, EINVAL,
                    name_off > q->cluster_size ? "Invalid backing file offset"
                                               : "Backing file name too long");
    }
    if (r == 0) {
        r = read_extensions(q, head, q->header_length, name_off != 0 ? name_off : q->cluster_size,
                            err);
    }
    if (r == 0 && name_off != 0 && name_len > 0) {
        q->node.backing_file = dup_bytes(head + name_off, name_len);
        r = q->node.backing_file != NULL ? 0 : -ENOMEM;
    }
    return r == 0 ? check_tables(q, err) : r;
}

static size_t put_extension(uint8_t *at, uint32_t type, const void *data, size_t len)
{
    be32_put(at, type);
    be32_put(at + 4, (uint32_t)len);
    memcpy(at + 8, data, len);
    return 8 + round_up_u64(len, 8);
}

/* Names of the feature bits, for programs that do not know them. */
static size_t put_features(uint8_t *at)
{
    static const struct {
        uint8_t type, bit;
        const char *name;
    } features[] = {
        { 0, 0, "dirty bit" },
        { 0, 1, "corrupt bit" },
        { 0, 2, "external data file" },
        { 0, 3, "compression type" },
        { 0, 4, "extended L2 entries" },
        { 1, 0, "lazy refcounts" },
        { 2, 0, "bitmaps" },
        { 2, 1, "raw external data" },
    };
    enum { N = sizeof(features) / sizeof(features[0]) };
    uint8_t table[N * 48] = { 0 };

    for (size_t i = 0; i < N; i++) {
        table[i * 48] = features[i].type;
        table[i * 48 + 1] = features[i].bit;
        memcpy(table + i * 48 + 2, features[i].name, strlen(features[i].name));
    }
    return put_extension(at, EXT_FEATURES, table, sizeof(table));
}

static size_t extensions_room(const struct qcow2 *q)
{
    return q->unknown_exts_len +
           (q->node.backing_fmt != NULL ? strlen(q->node.backing_fmt) + 16 : 0) +
           (q->data_file_name != NULL ? strlen(q->data_file_name) + 16 : 0) +
           (q->node.backing_file != NULL ? strlen(q->node.backing_file) : 0) + 32 + 24 + 8 +
           FULL_HEADER;
}

int qcow2_write_header(struct qcow2 *q)
{
    AUTO_FREE uint8_t *head = NULL;
    size_t at = q->version >= 3 ? FULL_HEADER : QCOW2_V2_HEADER;
    const char *backing = q->node.backing_file;

    if (extensions_room(q) > q->cluster_size) {
        return -ENOSPC;
    }
    head = calloc(1, q->cluster_size);
    if (head == NULL) {
        return -ENOMEM;
    }
    be32_put(head, QCOW2_MAGIC);
    be32_put(head + 4, q->version);
    be32_put(head + 20, q->cluster_bits);
    be64_put(head + 24, q->size);
    be32_put(head + 32, q->crypt_method);
    be32_put(head + 36, q->l1_size);
    be64_put(head + 40, q->l1_offset);
    be64_put(head + 48, q->rt_offset);
    be32_put(head + 56, q->rt_clusters);
    be32_put(head + 60, q->n_snapshots);
    be64_put(head + 64, q->snapshots_offset);
    if (q->version >= 3) {
        be64_put(head + 72, q->incompat);
        be64_put(head + 80, q->compat);
        be64_put(head + 88, q->autoclear);
        be32_put(head + 96, q->refcount_order);
        be32_put(head + 100, FULL_HEADER);
        head[104] = (uint8_t)q->compression;
        q->header_length = FULL_HEADER;
    }
    if (q->node.backing_fmt != NULL && *q->node.backing_fmt != '\0') {
        at += put_extension(head + at, EXT_BACKING_FMT, q->node.backing_fmt,
                            strlen(q->node.backing_fmt));
    }
    if (q->data_file_name != NULL && q->has_data_file) {
        at += put_extension(head + at, EXT_DATA_FILE, q->data_file_name, strlen(q->data_file_name));
    }
    if (q->crypto_length > 0) {
        uint8_t data[16];

        be64_put(data, q->crypto_offset);
        be64_put(data + 8, q->crypto_length);
        at += put_extension(head + at, EXT_CRYPTO, data, sizeof(data));
    }
    if (q->version >= 3 && q->cluster_size >= extensions_room(q) + 8 + 8 * 48) {
        at += put_features(head + at);
    }
    if (q->n_bitmaps > 0) {
        uint8_t data[24] = { 0 };

        be32_put(data, q->n_bitmaps);
        be64_put(data + 8, q->bitmap_dir_size);
        be64_put(data + 16, q->bitmap_dir_offset);
        at += put_extension(head + at, EXT_BITMAPS, data, sizeof(data));
    }
    if (q->unknown_exts_len > 0) {
        memcpy(head + at, q->unknown_exts, q->unknown_exts_len);
        at += q->unknown_exts_len;
    }
    at += 8; /* the end, type 0 */
    if (backing != NULL) {
        if (strlen(backing) > MAX_BACKING_NAME) {
            return -EINVAL;
        }
        be64_put(head + 8, at);
        be32_put(head + 16, (uint32_t)strlen(backing));
        memcpy(head + at, backing, strlen(backing));
    }
    return block_pwrite(q->node.file, head, q->cluster_size, 0);
}
