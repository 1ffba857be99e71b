/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vpc.c - Virtual PC's VHD (Microsoft, Virtual Hard Disk Image Format Specification, 1.0).
 *
 * Big-endian footer at the end (and of dynamic images a copy at 0): 0 "conectix", 16 offset of the
 * dynamic header, 28 creator, 48 size, 56 geometry, 60 type (2 fixed, 3 dynamic), 64 checksum, 68
 * UUID. Dynamic header: 0 "cxsparse", 16 table offset, 28 entries, 32 block size. A block is a
 * bitmap of its sectors followed by them. The size that counts is the geometry's, unless the
 * creator is one that writes the true size. Limits: 2040 GiB; differencing images are refused.
 */
#include "block/format/table.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/keyval.h"
#include "os/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    FOOTER = 512,
    DYNAMIC_HEADER = 1024,
    TYPE_FIXED = 2,
    TYPE_DYNAMIC = 3,
    TABLE_AT = 3 * 512,
    DEFAULT_BLOCK = 2 << 20,
    MAX_GEOMETRY = 65535 * 16 * 255,
    EPOCH = 946684800, /* 2000-01-01 */
};

#define MAX_SECTORS 0xff000000ull
#define FREE_BLOCK  0xffffffffu

struct vpc {
    struct table_node t;
    uint8_t footer[FOOTER];
    bool dynamic;
    uint8_t *map; /* owned, as on disk */
    uint32_t n;
    uint64_t map_off;
    uint64_t block;
    uint64_t bitmap; /* bytes of it before each block */
};

static uint32_t checksum(const uint8_t *p, size_t len, size_t skip)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i++) {
        sum += i >= skip && i < skip + 4 ? 0 : p[i];
    }
    return ~sum;
}

static int vpc_probe(const uint8_t *head, size_t len, const char *filename)
{
    (void)filename;
    return len >= 8 && memcmp(head, "conectix", 8) == 0 ? 100 : 0;
}

static int lookup(struct table_node *t, uint64_t off, struct table_entry *ret)
{
    struct vpc *v = (struct vpc *)t;
    uint64_t i = off / v->block;
    uint32_t e;

    if (!v->dynamic) {
        *ret = (struct table_entry) { .kind = TABLE_DATA, .len = t->size, .file = t->node.file };
        return 0;
    }
    e = i < v->n ? be32_get(v->map + i * 4) : FREE_BLOCK;
    ret->start = i * v->block;
    ret->len = min_u64(v->block, t->size - ret->start);
    ret->kind = e == FREE_BLOCK ? TABLE_NONE : TABLE_DATA;
    ret->host = (uint64_t)e * BLOCK_SECTOR + v->bitmap;
    return 0;
}

/* The block takes the footer's place, which moves behind it. */
static int alloc(struct table_node *t, struct table_entry *ret, bool *ret_zero)
{
    struct vpc *v = (struct vpc *)t;
    AUTO_FREE uint8_t *bitmap = malloc(v->bitmap);
    uint64_t at = t->space.end;
    int r = bitmap != NULL ? 0 : -ENOMEM;

    if (r == 0 && (at + v->bitmap + v->block) / BLOCK_SECTOR >= FREE_BLOCK) {
        r = -EFBIG;
    }
    if (r == 0) {
        r = block_pwrite(t->node.file, v->footer, FOOTER, at + v->bitmap + v->block);
    }
    if (r == 0) {
        memset(bitmap, 0xff, v->bitmap);
        r = block_pwrite(t->node.file, bitmap, v->bitmap, at);
    }
    /* The old footer lay where data will be, in the bitmap's sector at least. */
    if (r == 0) {
        ret->host = at + v->bitmap;
        t->space.end = ret->host + v->block;
        *ret_zero = v->bitmap >= FOOTER;
    }
    return r;
}

static int link_block(struct table_node *t, const struct table_entry *e)
{
    struct vpc *v = (struct vpc *)t;
    uint64_t i = e->start / v->block;

    be32_put(v->map + i * 4, (uint32_t)((e->host - v->bitmap) / BLOCK_SECTOR));
    return block_pwrite(t->node.file, v->map + i * 4, 4, v->map_off + i * 4);
}

static const struct table_ops ops = { .lookup = lookup, .alloc = alloc, .link = link_block };

static bool size_is_true(const uint8_t *f)
{
    static const char creators[][5] = { "win ", "qem2", "d2v ", "tap", "vs  " };
    uint64_t chs = (uint64_t)be16_get(f + 56) * f[58] * f[59];

    for (size_t i = 0; i < sizeof(creators) / sizeof(creators[0]); i++) {
        if (memcmp(f + 28, creators[i], 4) == 0) {
            return true;
        }
    }
    return chs == MAX_GEOMETRY;
}

static int open_dynamic(struct vpc *v, struct err **err)
{
    struct block_node *file = v->t.node.file;
    uint8_t h[DYNAMIC_HEADER];
    uint64_t end;
    int r = block_pread(file, h, sizeof(h), be64_get(v->footer + 16));

    if (r < 0) {
        return err_set(err, -r, "Error reading dynamic VHD header: %s", strerror(-r));
    }
    if (memcmp(h, "cxsparse", 8) != 0) {
        return err_set(err, EINVAL, "Invalid header magic");
    }
    v->block = be32_get(h + 32);
    if (v->block < BLOCK_SECTOR || (v->block & (v->block - 1)) != 0) {
        return err_set(err, EINVAL, "Invalid block size %llu", (unsigned long long)v->block);
    }
    v->bitmap = round_up_u64(v->block / BLOCK_SECTOR / 8, BLOCK_SECTOR);
    v->n = be32_get(h + 28);
    v->map_off = be64_get(h + 16);
    if ((uint64_t)v->n * v->block < v->t.size) {
        return err_set(err, EINVAL, "Page table too small");
    }
    r = table_read_all(file, v->map_off, v->n, 4, 1ull << 30, &v->map, err);
    if (r < 0) {
        return r;
    }
    end = round_up_u64(v->map_off + v->n * 4ull, BLOCK_SECTOR);
    for (uint32_t i = 0; i < v->n; i++) {
        uint32_t e = be32_get(v->map + i * 4ull);

        if (e != FREE_BLOCK) {
            end = max_u64(end, (uint64_t)e * BLOCK_SECTOR + v->bitmap + v->block);
        }
    }
    if ((int64_t)end > block_length(file)) {
        return err_set(
            err, EINVAL,
            "block-vpc: free_data_block_offset points after the end of file. The image has been truncated.");
    }
    v->t.space.end = end;
    return 0;
}

static int vpc_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct vpc *v = (struct vpc *)node;
    const char *mode = keyval_get(opts, "force_size_calc");
    const uint8_t *f = v->footer;
    int64_t len;
    int r = block_open_file_child(node, opts, err);

    if (r == 0) {
        r = block_pread(node->file, v->footer, FOOTER, 0);
    }
    if (r < 0) {
        return r;
    }
    len = block_length(node->file);
    v->dynamic = memcmp(f, "conectix", 8) == 0 && be32_get(f + 60) != TYPE_FIXED;
    if (memcmp(f, "conectix", 8) != 0) {
        if (len < FOOTER) {
            return err_set(err, EINVAL, "File too small for a VHD header");
        }
        r = block_pread(node->file, v->footer, FOOTER, (uint64_t)len - FOOTER);
        if (r < 0 || memcmp(f, "conectix", 8) != 0 || be32_get(f + 60) != TYPE_FIXED) {
            return r < 0 ? r : err_set(err, EINVAL, "invalid VPC image");
        }
    }
    if (be32_get(f + 64) != checksum(f, FOOTER, 64)) {
        return err_set(err, EINVAL, "Incorrect header checksum");
    }
    if (v->dynamic && be32_get(f + 60) != TYPE_DYNAMIC) {
        return err_set(err, ENOTSUP, "VHD images of type %u (differencing) are not supported",
                       be32_get(f + 60));
    }
    if (mode != NULL ? str_eq(mode, "current_size") : size_is_true(f)) {
        v->t.size = be64_get(f + 48) / BLOCK_SECTOR * BLOCK_SECTOR;
    } else {
        v->t.size = (uint64_t)be16_get(f + 56) * f[58] * f[59] * BLOCK_SECTOR;
    }
    if (v->t.size / BLOCK_SECTOR > MAX_SECTORS) {
        return err_set(err, EFBIG, "VHD images are at most 2040 GiB");
    }
    v->block = DEFAULT_BLOCK;
    if (v->dynamic) {
        r = open_dynamic(v, err);
    } else if ((int64_t)v->t.size > len) {
        r = err_set(err, EINVAL, "the file is shorter than its disk");
    }
    v->t.preallocated = !v->dynamic;
    if (r == 0) {
        table_init(&v->t, &ops);
    }
    return r;
}

static void vpc_close(struct block_node *node)
{
    struct vpc *v = (struct vpc *)node;

    table_done(&v->t);
    free(v->map);
}

static void vpc_info(struct block_node *node, struct block_info *ret)
{
    struct vpc *v = (struct vpc *)node;

    ret->cluster_size = v->dynamic ? v->block : 0;
    ret->has_dirty = true;
}

/* The specification's appendix: cylinders, heads, sectors for a disk of that many sectors. */
static void geometry(uint64_t sectors, uint16_t *cyls, uint8_t *heads, uint8_t *secs)
{
    uint64_t cth;

    if (sectors > 65535ull * 16 * 255) {
        sectors = 65535ull * 16 * 255;
    }
    if (sectors >= 65535ull * 16 * 63) {
        *secs = 255;
        *heads = 16;
        cth = sectors / *secs;
    } else {
        *secs = 17;
        cth = sectors / *secs;
        *heads = (uint8_t)((cth + 1023) / 1024);
        if (*heads < 4) {
            *heads = 4;
        }
        if (cth >= (uint64_t)*heads * 1024 || *heads > 16) {
            *secs = 31;
            *heads = 16;
            cth = sectors / *secs;
        }
        if (cth >= (uint64_t)*heads * 1024) {
            *secs = 63;
            *heads = 16;
            cth = sectors / *secs;
        }
    }
    *cyls = (uint16_t)(cth / *heads);
}

static const struct block_opt create_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { "subformat", BLOCK_OPT_STR,
      "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} ",
      NULL },
    { "force_size", BLOCK_OPT_BOOL,
      "Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation",
      NULL },
    { 0 },
};

static int write_dynamic(struct block_node *file, const uint8_t *footer, uint64_t size)
{
    uint64_t n = (size + DEFAULT_BLOCK - 1) / DEFAULT_BLOCK;
    uint64_t table = round_up_u64(n * 4, BLOCK_SECTOR);
    AUTO_FREE uint8_t *map = malloc(table);
    uint8_t h[DYNAMIC_HEADER] = { 0 };
    int r = map != NULL ? block_pwrite(file, footer, FOOTER, 0) : -ENOMEM;

    if (r == 0) {
        r = block_pwrite(file, footer, FOOTER, TABLE_AT + table);
    }
    if (r == 0) {
        memset(map, 0xff, table);
        r = block_pwrite(file, map, table, TABLE_AT);
    }
    if (r == 0) {
        memcpy(h, "cxsparse", 8);
        memset(h + 8, 0xff, 8);
        be64_put(h + 16, TABLE_AT);
        be32_put(h + 24, 0x00010000);
        be32_put(h + 28, (uint32_t)n);
        be32_put(h + 32, DEFAULT_BLOCK);
        be32_put(h + 36, checksum(h, DYNAMIC_HEADER, 36));
        r = block_pwrite(file, h, DYNAMIC_HEADER, FOOTER);
    }
    return r;
}

static int vpc_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                      struct keyval *opts, struct err **err)
{
    const char *sub = keyval_get(opts, "subformat");
    uint8_t f[FOOTER] = { 0 };
    unsigned long long size = 0;
    bool force = false;
    bool fixed = sub != NULL && str_eq(sub, "fixed");
    uint64_t sectors;
    uint16_t cyls = 0;
    uint8_t heads = 0;
    uint8_t secs = 0;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    (void)ctx;
    (void)filename;
    if (r == 0) {
        r = keyval_get_bool(opts, "force_size", false, &force, err);
    }
    if (r == 0 && sub != NULL && !fixed && !str_eq(sub, "dynamic")) {
        r = err_set(err, EINVAL, "Invalid subformat '%s': dynamic or fixed", sub);
    }
    if (r < 0) {
        return r;
    }
    sectors = (size + BLOCK_SECTOR - 1) / BLOCK_SECTOR;
    if (force) {
        geometry(sectors, &cyls, &heads, &secs);
        cyls = 65535; /* the size is what counts, not these */
        heads = 16;
        secs = 255;
    } else {
        /* The smallest geometry that holds it all. */
        for (uint64_t i = 0; (uint64_t)cyls * heads * secs < sectors && i < 4096; i++) {
            geometry(sectors + i, &cyls, &heads, &secs);
            if ((uint64_t)cyls * heads * secs == MAX_GEOMETRY) {
                break;
            }
        }
        if ((uint64_t)cyls * heads * secs != MAX_GEOMETRY) {
            sectors = (uint64_t)cyls * heads * secs;
        }
    }
    if (sectors > MAX_SECTORS || (force && sectors > MAX_SECTORS)) {
        return err_set(err, EFBIG, "VHD images are at most 2040 GiB");
    }
    memcpy(f, "conectix", 8);
    be32_put(f + 8, 2);
    be32_put(f + 12, 0x00010000);
    be64_put(f + 16, fixed ? UINT64_MAX : FOOTER);
    be32_put(f + 24, (uint32_t)(time(NULL) - EPOCH));
    memcpy(f + 28, force ? "qem2" : "qemu", 4);
    be16_put(f + 32, 5);
    be16_put(f + 34, 3);
    memcpy(f + 36, "Wi2k", 4);
    be64_put(f + 40, sectors * BLOCK_SECTOR);
    be64_put(f + 48, sectors * BLOCK_SECTOR);
    be16_put(f + 56, cyls);
    f[58] = heads;
    f[59] = secs;
    be32_put(f + 60, fixed ? TYPE_FIXED : TYPE_DYNAMIC);
    random_bytes(f + 68, 16);
    be32_put(f + 64, checksum(f, FOOTER, 64));
    if (!fixed) {
        return write_dynamic(file, f, sectors * BLOCK_SECTOR);
    }
    r = block_truncate(file, sectors * BLOCK_SECTOR + FOOTER, BLOCK_PREALLOC_OFF, err);
    return r == 0 ? block_pwrite(file, f, FOOTER, sectors * BLOCK_SECTOR) : r;
}

const struct block_driver block_vpc = {
    .name = "vpc",
    .size = sizeof(struct vpc),
    .probe = vpc_probe,
    .open = vpc_open,
    .close = vpc_close,
    .length = table_length,
    .preadv = table_preadv,
    .pwritev = table_pwritev,
    .write_zeroes = table_write_zeroes,
    .flush = table_flush,
    .status = table_status,
    .create_opts = create_opts,
    .create = vpc_create,
    .info = vpc_info,
};
