/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dmg.c - Apple's disk images (UDIF), read-only: raw, zero, zlib and bzip2 chunks.
 *
 * Big-endian. The file ends with 512 bytes: 0 "koly", 24 where data begins, 216 and 224 place and
 * length of a property list, whose <data> elements are, in base64, tables of a partition's chunks:
 * 0 "mish", 8 first sector, 24 offset of its data, from 204 on 40 bytes a chunk: 0 type, 8 sector,
 * 16 sectors, 24 place, 32 length. Limits: chunks of 64 MiB, 16 MiB of property list; ADC, LZFSE
 * and LZMA are refused, images with a resource fork in place of the list, too.
 */
#include "block/format/table.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/format/inflate.h"

#include <errno.h>
#include <string.h>

enum {
    TRAILER = 512,
    MISH = 204,
    CHUNK = 40,
    MAX_LIST = 16 << 20,
    MAX_CHUNK = 64 << 20,
    MAX_CHUNKS = 1 << 20,
};

enum chunk_type {
    TYPE_ZERO = 0,
    TYPE_RAW = 1,
    TYPE_IGNORE = 2,
    TYPE_COMMENT = 0x7ffffffe,
};
#define TYPE_ZLIB  0x80000005u
#define TYPE_BZIP2 0x80000006u
#define TYPE_LAST  0xffffffffu

struct chunk {
    uint32_t type;
    uint64_t start; /* bytes */
    uint64_t len;
    uint64_t host;
    uint64_t host_len;
};

struct dmg {
    struct table_node t;
    struct chunk *chunks; /* owned, by start */
    uint32_t n;
};

static int dmg_probe(const uint8_t *h, size_t len, const char *filename)
{
    (void)h;
    (void)len;
    return filename != NULL && str_ends(filename, ".dmg") ? 2 : 0;
}

/* What lies between chunks reads as zeroes. */
static int lookup(struct table_node *t, uint64_t off, struct table_entry *ret)
{
    struct dmg *d = (struct dmg *)t;
    uint32_t low = 0;
    uint32_t high = d->n;
    const struct chunk *c;
    uint64_t end = t->size;

    while (low < high) {
        uint32_t mid = (low + high) / 2;

        if (d->chunks[mid].start + d->chunks[mid].len <= off) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    c = low < d->n ? &d->chunks[low] : NULL;
    if (c == NULL || c->start > off) {
        uint64_t from = low > 0 ? d->chunks[low - 1].start + d->chunks[low - 1].len : 0;

        end = c != NULL ? c->start : end;
        *ret = (struct table_entry) {
            .kind = TABLE_ZERO, .start = from, .len = end - from, .file = ret->file
        };
        return 0;
    }
    ret->start = c->start;
    ret->len = c->len;
    ret->host = c->host;
    ret->aux = low;
    ret->kind = c->type == TYPE_RAW                             ? TABLE_DATA
                : c->type == TYPE_ZLIB || c->type == TYPE_BZIP2 ? TABLE_SPECIAL
                                                                : TABLE_ZERO;
    return 0;
}

static int read_special(struct table_node *t, const struct table_entry *e, uint8_t *buf)
{
    const struct chunk *c = &((struct dmg *)t)->chunks[e->aux];
    AUTO_FREE uint8_t *raw = malloc(c->host_len + 1);
    int r = raw != NULL ? block_pread(t->node.file, raw, c->host_len, c->host) : -ENOMEM;

    if (r < 0) {
        return r;
    }
    return c->type == TYPE_ZLIB ? inflate_zlib(raw, c->host_len, buf, c->len)
                                : inflate_bzip2(raw, c->host_len, buf, c->len);
}

static const struct table_ops ops = { .lookup = lookup, .read_special = read_special };

static int add_chunk(struct dmg *d, const struct chunk *c, uint64_t file_len, struct err **err)
{
    bool stored = c->type == TYPE_RAW || c->type == TYPE_ZLIB || c->type == TYPE_BZIP2;

    if (!stored && c->type != TYPE_ZERO && c->type != TYPE_IGNORE) {
        return err_set(err, ENOTSUP, "chunks of type %#x are not supported", c->type);
    }
    if (c->len == 0) {
        return 0;
    }
    if (stored && (c->len > MAX_CHUNK || c->host_len > 2ull * MAX_CHUNK ||
                   !range_within(c->host, c->host_len, file_len) ||
                   (c->type == TYPE_RAW && c->host_len < c->len))) {
        return err_set(err, EINVAL, "a chunk of the image makes no sense");
    }
    if (c->start > BLOCK_MAX_LENGTH || c->len > BLOCK_MAX_LENGTH - c->start || d->n == MAX_CHUNKS) {
        return err_set(err, EFBIG, "the image is too large");
    }
    if ((d->n & (d->n - 1)) == 0) {
        struct chunk *more = realloc(d->chunks, (d->n == 0 ? 1 : d->n * 2ull) * sizeof(*more));

        if (more == NULL) {
            return err_set(err, ENOMEM, "no memory");
        }
        d->chunks = more;
    }
    d->chunks[d->n++] = *c;
    return 0;
}

static int add_table(struct dmg *d, const uint8_t *m, size_t len, uint64_t data_off,
                     uint64_t file_len, struct err **err)
{
    uint64_t first;
    int r = 0;

    if (len < MISH || memcmp(m, "mish", 4) != 0) {
        return 0; /* another kind of data */
    }
    first = be64_get(m + 8);
    for (size_t at = MISH; r == 0 && at + CHUNK <= len; at += CHUNK) {
        const uint8_t *p = m + at;
        uint64_t sector = be64_get(p + 8) + first;
        struct chunk c = { .type = be32_get(p),
                           .host = be64_get(p + 24) + be64_get(m + 24) + data_off,
                           .host_len = be64_get(p + 32) };

        if (c.type == TYPE_COMMENT || c.type == TYPE_LAST) {
            continue;
        }
        if (sector > BLOCK_MAX_LENGTH / BLOCK_SECTOR ||
            be64_get(p + 16) > BLOCK_MAX_LENGTH / BLOCK_SECTOR) {
            return err_set(err, EFBIG, "the image is too large");
        }
        c.start = sector * BLOCK_SECTOR;
        c.len = be64_get(p + 16) * BLOCK_SECTOR;
        r = add_chunk(d, &c, file_len, err);
    }
    return r;
}

static int digit_of(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* Base64 with white space in it (RFC 4648, 4); the bytes, in place of the text. */
static size_t decode(char *text, size_t len)
{
    uint32_t bits = 0;
    unsigned n = 0;
    size_t to = 0;

    for (size_t i = 0; i < len; i++) {
        int v = digit_of(text[i]);

        if (v < 0) {
            continue;
        }
        bits = bits << 6 | (uint32_t)v;
        n += 6;
        if (n >= 8) {
            n -= 8;
            text[to++] = (char)(bits >> n & 0xff);
        }
    }
    return to;
}

static int read_list(struct dmg *d, char *list, uint64_t data_off, uint64_t file_len,
                     struct err **err)
{
    int r = 0;

    for (char *at = strstr(list, "<data>"); r == 0 && at != NULL;) {
        char *end = strstr(at, "</data>");
        char *next = end != NULL ? strstr(end, "<data>") : NULL;

        if (end == NULL) {
            break;
        }
        at += strlen("<data>");
        r = add_table(d, (uint8_t *)at, decode(at, (size_t)(end - at)), data_off, file_len, err);
        at = next;
    }
    return r;
}

static int by_start(const void *a, const void *b)
{
    const struct chunk *x = a;
    const struct chunk *y = b;

    return x->start < y->start ? -1 : x->start > y->start;
}

static int finish(struct dmg *d, struct err **err)
{
    if (d->n == 0) {
        return err_set(err, EINVAL, "the image has no chunks");
    }
    qsort(d->chunks, d->n, sizeof(d->chunks[0]), by_start);
    for (uint32_t i = 0; i < d->n; i++) {
        uint64_t end = d->chunks[i].start + d->chunks[i].len;

        if (i + 1 < d->n && end > d->chunks[i + 1].start) {
            return err_set(err, EINVAL, "chunks of the image overlap");
        }
        d->t.size = end;
    }
    return 0;
}

static int dmg_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct dmg *d = (struct dmg *)node;
    AUTO_FREE char *list = NULL;
    uint8_t k[TRAILER];
    int64_t len;
    int r;

    if (!node->read_only) {
        return err_set(err, EACCES, "dmg images are opened read-only");
    }
    r = block_open_file_child(node, opts, err);
    if (r < 0) {
        return r;
    }
    len = block_length(node->file);
    r = len < TRAILER ? -EINVAL : block_pread(node->file, k, sizeof(k), (uint64_t)len - TRAILER);
    if (r < 0 || memcmp(k, "koly", 4) != 0) {
        return err_set(err, EINVAL, "Could not locate UDIF trailer in dmg file");
    }
    if (be64_get(k + 224) == 0) {
        return err_set(err, ENOTSUP, "dmg images without a property list are not supported");
    }
    if (be64_get(k + 224) > MAX_LIST ||
        !range_within(be64_get(k + 216), be64_get(k + 224), (uint64_t)len)) {
        return err_set(err, EINVAL, "the property list's place makes no sense");
    }
    list = calloc(1, be64_get(k + 224) + 1);
    r = list != NULL ? block_pread(node->file, list, be64_get(k + 224), be64_get(k + 216))
                     : -ENOMEM;
    if (r == 0) {
        r = read_list(d, list, be64_get(k + 24), (uint64_t)len, err);
    }
    if (r == 0) {
        r = finish(d, err);
    }
    table_init(&d->t, &ops);
    return r;
}

static void dmg_close(struct block_node *node)
{
    struct dmg *d = (struct dmg *)node;

    table_done(&d->t);
    free(d->chunks);
}

const struct block_driver block_dmg = {
    .name = "dmg",
    .size = sizeof(struct dmg),
    .probe = dmg_probe,
    .open = dmg_open,
    .close = dmg_close,
    .length = table_length,
    .preadv = table_preadv,
    .status = table_status,
};
