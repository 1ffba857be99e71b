/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bochs.c - growing images of the Bochs emulator, read-only (Bochs' hdimage.h, redolog_t).
 *
 * Little-endian: 0 "Bochs Virtual HD Image", 32 "Redolog", 48 "Growing", 64 version, 68 header's
 * size, 72 entries of the catalog, 76 bytes of an extent's bitmap, 80 of an extent, then the disk's
 * size at 88 (version 1: at 84). Behind the header the catalog: for each extent its number in the
 * file, or all ones. An extent is its bitmap, a bit a sector, and its sectors. Limits: catalogs of
 * 4 MiB, extents to 8 MiB.
 */
#include "block/format/table.h"

#include "base/bytes.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

enum { HEADER = 512, MAX_CATALOG = 1 << 20, MAX_EXTENT = 8 << 20 };

#define BOCHS_V1   0x00010000u
#define BOCHS_V2   0x00020000u
#define BOCHS_NONE 0xffffffffu

struct bochs {
    struct table_node t;
    uint8_t *catalog; /* owned, as on disk */
    uint32_t n;
    uint64_t data_off;
    uint32_t bitmap_bytes; /* in whole sectors */
    uint32_t extent;
};

static int bochs_probe(const uint8_t *h, size_t len, const char *filename)
{
    (void)filename;
    return len >= HEADER && strncmp((const char *)h, "Bochs Virtual HD Image", 32) == 0 &&
                   strncmp((const char *)h + 32, "Redolog", 16) == 0 &&
                   strncmp((const char *)h + 48, "Growing", 16) == 0 &&
                   (le32_get(h + 64) == BOCHS_V1 || le32_get(h + 64) == BOCHS_V2)
               ? 100
               : 0;
}

static int lookup(struct table_node *t, uint64_t off, struct table_entry *ret)
{
    struct bochs *b = (struct bochs *)t;
    uint64_t i = off / b->extent;
    uint32_t where = le32_get(b->catalog + i * 4);
    uint64_t sector = off % b->extent / BLOCK_SECTOR;
    uint64_t at;
    uint8_t bits;
    int r;

    ret->kind = TABLE_NONE;
    if (where == BOCHS_NONE) {
        ret->start = i * b->extent;
        ret->len = min_u64(b->extent, t->size - ret->start);
        return 0;
    }
    ret->start = round_down_u64(off, BLOCK_SECTOR);
    ret->len = min_u64(BLOCK_SECTOR, t->size - ret->start);
    at = b->data_off + (uint64_t)where * (b->bitmap_bytes + round_up_u64(b->extent, BLOCK_SECTOR));
    r = block_pread(t->node.file, &bits, 1, at + sector / 8);
    if (r == 0 && (bits >> sector % 8 & 1) != 0) {
        ret->kind = TABLE_DATA;
        ret->host = at + b->bitmap_bytes + sector * BLOCK_SECTOR;
    }
    return r;
}

static const struct table_ops ops = { .lookup = lookup };

static int bochs_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct bochs *b = (struct bochs *)node;
    uint8_t h[HEADER];
    uint64_t header;
    int r;

    if (!node->read_only) {
        return err_set(err, EACCES, "bochs images are opened read-only");
    }
    r = block_open_file_child(node, opts, err);
    if (r == 0) {
        r = block_pread(node->file, h, sizeof(h), 0);
    }
    if (r < 0) {
        return r;
    }
    if (bochs_probe(h, sizeof(h), NULL) == 0) {
        return err_set(err, EINVAL, "Image not in Bochs format");
    }
    header = le32_get(h + 68);
    b->n = le32_get(h + 72);
    b->bitmap_bytes = (uint32_t)round_up_u64(min_u64(le32_get(h + 76), MAX_EXTENT), BLOCK_SECTOR);
    b->extent = le32_get(h + 80);
    b->t.size =
        round_down_u64(le64_get(h + (le32_get(h + 64) == BOCHS_V1 ? 84 : 88)), BLOCK_SECTOR);
    if (b->n > MAX_CATALOG) {
        return err_set(err, EFBIG, "Catalog size is too large");
    }
    if (b->extent < BLOCK_SECTOR || b->extent > MAX_EXTENT || (b->extent & (b->extent - 1)) != 0 ||
        b->bitmap_bytes < b->extent / BLOCK_SECTOR / 8) {
        return err_set(err, EINVAL, "Extent size %u is not supported", b->extent);
    }
    if (b->t.size / b->extent + (b->t.size % b->extent != 0) > b->n) {
        return err_set(err, EINVAL, "Catalog size is too small for this disk size");
    }
    r = table_read_all(node->file, header, b->n, 4, 4ull * MAX_CATALOG, &b->catalog, err);
    b->data_off = header + b->n * 4ull;
    table_init(&b->t, &ops);
    return r;
}

static void bochs_close(struct block_node *node)
{
    struct bochs *b = (struct bochs *)node;

    table_done(&b->t);
    free(b->catalog);
}

const struct block_driver block_bochs = {
    .name = "bochs",
    .size = sizeof(struct bochs),
    .probe = bochs_probe,
    .open = bochs_open,
    .close = bochs_close,
    .length = table_length,
    .preadv = table_preadv,
    .status = table_status,
};
