/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * parallels.c - Parallels disk images (QEMU's docs/interop/parallels.txt).
 *
 * Little-endian header of 64 bytes: 0 magic, 16 version 2, 20 heads, 24 cylinders, 28 sectors of a
 * block, 32 table entries, 36 sectors of the disk (64 bits), 44 in-use mark, 48 first data sector,
 * 52 flags, 56 extension. Table entries are sectors ("WithoutFreeSpace") or blocks
 * ("WithouFreSpacExt").
 */
#include "block/format/table.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/keyval.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC_OLD "WithoutFreeSpace"
#define MAGIC_EXT "WithouFreSpacExt"
#define IN_USE    0x746f6e59u

enum { HEADER = 64, VERSION = 2, DEFAULT_BLOCK = 1 << 20, ENTRIES_AT = 64 };

/* 2^31 sectors of 4 bytes each is what QEMU allows at most. */
#define MAX_TABLE (1ull << 30)

struct parallels {
    struct table_node t;
    uint8_t header[HEADER];
    uint8_t *map; /* owned, as on disk */
    uint32_t n;
    uint32_t multiplier; /* of entries, in sectors */
    uint64_t block;
    uint64_t data_start;
    bool marked;
};

static int parallels_probe(const uint8_t *head, size_t len, const char *filename)
{
    (void)filename;
    return len >= HEADER &&
                   (memcmp(head, MAGIC_OLD, 16) == 0 || memcmp(head, MAGIC_EXT, 16) == 0) &&
                   le32_get(head + 16) == VERSION
               ? 100
               : 0;
}

static int lookup(struct table_node *t, uint64_t off, struct table_entry *ret)
{
    struct parallels *p = (struct parallels *)t;
    uint64_t i = off / p->block;
    uint32_t e = i < p->n ? le32_get(p->map + i * 4) : 0;

    ret->start = i * p->block;
    ret->len = min_u64(p->block, t->size - ret->start);
    ret->kind = e == 0 ? TABLE_NONE : TABLE_DATA;
    ret->host = (uint64_t)e * p->multiplier * BLOCK_SECTOR;
    return 0;
}

/* Who finds the mark knows that the image was not closed. */
static int mark(struct parallels *p, uint32_t value)
{
    le32_put(p->header + 44, value);
    return block_pwrite_sync(p->t.node.file, p->header, HEADER, 0);
}

static int alloc(struct table_node *t, struct table_entry *ret, bool *ret_zero)
{
    struct parallels *p = (struct parallels *)t;
    int r = 0;

    if (!p->marked) {
        r = mark(p, IN_USE);
        p->marked = r == 0;
    }
    *ret_zero = true;
    return r == 0 ? table_append(t, p->block, &ret->host) : r;
}

static int link_block(struct table_node *t, const struct table_entry *e)
{
    struct parallels *p = (struct parallels *)t;
    uint64_t i = e->start / p->block;

    le32_put(p->map + i * 4, (uint32_t)(e->host / BLOCK_SECTOR / p->multiplier));
    return block_pwrite(t->node.file, p->map + i * 4, 4, ENTRIES_AT + i * 4);
}

static const struct table_ops ops = { .lookup = lookup, .alloc = alloc, .link = link_block };

static int parallels_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct parallels *p = (struct parallels *)node;
    const uint8_t *h = p->header;
    uint64_t highest = 0;
    uint32_t tracks;
    bool ext;
    int r;

    (void)keyval_get(opts, "prealloc-size");
    (void)keyval_get(opts, "prealloc-mode");
    r = block_open_file_child(node, opts, err);
    if (r == 0) {
        r = block_pread(node->file, p->header, HEADER, 0);
    }
    if (r < 0) {
        return r;
    }
    if (parallels_probe(h, HEADER, NULL) == 0) {
        return err_set(err, EINVAL, "Image not in Parallels format");
    }
    ext = memcmp(h, MAGIC_EXT, 16) == 0;
    tracks = le32_get(h + 28);
    p->n = le32_get(h + 32);
    if (tracks == 0 || tracks > INT32_MAX / BLOCK_SECTOR) {
        return err_set(err, EFBIG, "Invalid image: %s cluster size",
                       tracks == 0 ? "Zero" : "Too big");
    }
    if (le32_get(h + 44) == IN_USE && !node->read_only && !node->for_check) {
        return err_set(err, EACCES,
                       "parallels: Image was not closed correctly; cannot be opened read/write");
    }
    p->block = (uint64_t)tracks * BLOCK_SECTOR;
    p->multiplier = ext ? tracks : 1;
    p->t.size = (ext ? le64_get(h + 36) : le32_get(h + 36)) * BLOCK_SECTOR;
    if (p->t.size > BLOCK_MAX_LENGTH || p->t.size / p->block > p->n) {
        return err_set(err, EINVAL, "Catalog too small for the disk, or the disk too large");
    }
    r = table_read_all(node->file, ENTRIES_AT, p->n, 4, MAX_TABLE, &p->map, err);
    if (r < 0) {
        return r;
    }
    p->data_start = round_up_u64(ENTRIES_AT + p->n * 4ull, BLOCK_SECTOR);
    if (le32_get(h + 48) != 0) {
        p->data_start = (uint64_t)le32_get(h + 48) * BLOCK_SECTOR;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        uint64_t end =
            (uint64_t)le32_get(p->map + i * 4ull) * p->multiplier * BLOCK_SECTOR + p->block;

        highest = end > p->block && end > highest ? end : highest;
    }
    p->t.space.end = max_u64(highest, ext ? (p->data_start + p->block - 1) / p->block * p->block
                                          : p->data_start);
    p->t.none_is_hole = true;
    table_init(&p->t, &ops);
    return 0;
}

static void parallels_close(struct block_node *node)
{
    struct parallels *p = (struct parallels *)node;

    table_trim(&p->t);
    if (p->marked) {
        (void)!block_flush(node->file);
        (void)!mark(p, 0);
    }
    table_done(&p->t);
    free(p->map);
}

static int parallels_check(struct block_node *node, struct block_check *check, struct err **err)
{
    struct parallels *p = (struct parallels *)node;
    int64_t len = block_length(node->file);
    uint64_t highest = 0;
    uint64_t prev = 0;

    if (len < 0) {
        return err_set(err, (int)-len, "cannot tell the file's length");
    }
    if (le32_get(p->header + 44) == IN_USE && !p->marked) {
        bool fix = (check->fix & BLOCK_FIX_ERRORS) != 0;

        block_check_report(check, "%s image was not closed correctly", fix ? "Repairing" : "ERROR");
        if (fix && mark(p, 0) == 0) {
            check->corruptions_fixed++;
        } else {
            check->corruptions++;
        }
    }
    check->total_clusters = p->n;
    for (uint32_t i = 0; i < p->n; i++) {
        uint64_t off = (uint64_t)le32_get(p->map + i * 4ull) * p->multiplier * BLOCK_SECTOR;

        if (off == 0) {
            prev = 0;
            continue;
        }
        if (off + p->block > (uint64_t)len) {
            bool fix = (check->fix & BLOCK_FIX_ERRORS) != 0;

            block_check_report(check, "%s cluster %u is outside image", fix ? "Repairing" : "ERROR",
                               i);
            prev = 0;
            if (fix) {
                le32_put(p->map + i * 4ull, 0);
                if (block_pwrite(node->file, p->map + i * 4ull, 4, ENTRIES_AT + i * 4ull) == 0) {
                    check->corruptions_fixed++;
                    continue;
                }
            }
            check->corruptions++;
            continue;
        }
        highest = max_u64(highest, off + p->block);
        check->allocated_clusters++;
        check->fragmented_clusters += prev != 0 && prev + p->block != off;
        prev = off;
    }
    check->image_end = highest;
    if ((uint64_t)len > max_u64(highest, p->data_start)) {
        uint64_t leaks =
            ((uint64_t)len - max_u64(highest, p->data_start) + p->block - 1) / p->block;
        bool fix = (check->fix & BLOCK_FIX_LEAKS) != 0;

        if (highest == 0) {
            return 0; /* an empty image of the length it was made with */
        }
        block_check_report(check, "%s space leaked at the end of the image %llu",
                           fix ? "Repairing" : "ERROR",
                           (unsigned long long)((uint64_t)len - highest));
        if (fix && block_truncate(node->file, highest, BLOCK_PREALLOC_OFF, err) == 0) {
            check->leaks_fixed += leaks;
        } else {
            check->leaks += leaks;
        }
    }
    return 0;
}

static const struct block_opt create_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { "cluster_size", BLOCK_OPT_SIZE, "Parallels image cluster size", "1048576" },
    { 0 },
};

static int parallels_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                            struct keyval *opts, struct err **err)
{
    unsigned long long size = 0;
    unsigned long long block = DEFAULT_BLOCK;
    AUTO_FREE uint8_t *raw = NULL;
    uint64_t n;
    uint64_t bytes;
    uint64_t cylinders;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    (void)ctx;
    (void)filename;
    if (r == 0) {
        r = keyval_get_size(opts, "cluster_size", DEFAULT_BLOCK, &block, err);
    }
    if (r == 0 && (block < BLOCK_SECTOR || block % BLOCK_SECTOR != 0 || block > INT32_MAX)) {
        r = err_set(err, EINVAL, "Cluster size must be a multiple of 512 bytes");
    }
    if (r == 0 && (size / block >= 1u << 31 || size > BLOCK_MAX_LENGTH)) {
        r = err_set(err, E2BIG, "Image size is too large for this cluster size");
    }
    if (r < 0) {
        return r;
    }
    n = (size + block - 1) / block;
    bytes = (ENTRIES_AT + n * 4 + block - 1) / block * block;
    raw = calloc(1, ENTRIES_AT + n * 4);
    if (raw == NULL) {
        return -ENOMEM;
    }
    cylinders = size / BLOCK_SECTOR / 16 / 63;
    memcpy(raw, MAGIC_EXT, 16);
    le32_put(raw + 16, VERSION);
    le32_put(raw + 20, 16);
    le32_put(raw + 24, (uint32_t)min_u64(cylinders, UINT32_MAX));
    le32_put(raw + 28, (uint32_t)(block / BLOCK_SECTOR));
    le32_put(raw + 32, (uint32_t)n);
    le64_put(raw + 36, (size + BLOCK_SECTOR - 1) / BLOCK_SECTOR);
    le32_put(raw + 48, (uint32_t)(bytes / BLOCK_SECTOR));
    r = block_pwrite(file, raw, ENTRIES_AT + n * 4, 0);
    return r == 0 ? block_truncate(file, bytes, BLOCK_PREALLOC_OFF, err) : r;
}

const struct block_driver block_parallels = {
    .name = "parallels",
    .size = sizeof(struct parallels),
    .probe = parallels_probe,
    .open = parallels_open,
    .close = parallels_close,
    .length = table_length,
    .preadv = table_preadv,
    .pwritev = table_pwritev,
    .write_zeroes = table_write_zeroes,
    .flush = table_flush,
    .status = table_status,
    .create_opts = create_opts,
    .create = parallels_create,
    .check = parallels_check,
};
