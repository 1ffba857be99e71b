/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vdi.c - VirtualBox disk images ("VDI File Format", Oracle's VDICore.h).
 *
 * Little-endian header: 64 signature, 68 version 1.1, 72 header length, 76 type (1 dynamic, 2
 * static), 340 offset of the block map, 344 of the data, 360 sector size, 368 disk size, 376 block
 * size, 384 blocks, 388 blocks allocated, 392 four UUIDs. The map has a 32-bit number of a block
 * in the data area each. Limits: 1 MiB blocks, images without parents.
 */
#include "block/format/table.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/keyval.h"
#include "os/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VDI_SIGNATURE 0xbeda107fu
#define VDI_FREE      0xffffffffu /* never written */
#define VDI_ZERO      0xfffffffeu /* discarded */

enum { HEADER = 512, BLOCK = 1 << 20, VERSION = 0x00010001, TYPE_DYNAMIC = 1, TYPE_STATIC = 2 };

/* As many blocks as QEMU takes: 1 PiB of 1 MiB. */
#define MAX_BLOCKS 0x3fffffffull

struct vdi {
    struct table_node t;
    uint8_t header[HEADER];
    uint8_t *map; /* owned, as on disk */
    uint64_t map_off;
    uint64_t data_off;
    uint32_t n_blocks;
    uint32_t n_allocated;
};

static int vdi_probe(const uint8_t *head, size_t len, const char *filename)
{
    (void)filename;
    return len >= HEADER && le32_get(head + 64) == VDI_SIGNATURE ? 100 : 0;
}

static int lookup(struct table_node *t, uint64_t off, struct table_entry *ret)
{
    struct vdi *v = (struct vdi *)t;
    uint64_t i = off / BLOCK;
    uint32_t e = le32_get(v->map + i * 4);

    ret->start = i * BLOCK;
    ret->len = min_u64(BLOCK, t->size - ret->start);
    ret->kind = e == VDI_FREE ? TABLE_NONE : e == VDI_ZERO ? TABLE_ZERO : TABLE_DATA;
    ret->host = v->data_off + (uint64_t)e * BLOCK;
    return 0;
}

static int alloc(struct table_node *t, struct table_entry *ret, bool *ret_zero)
{
    *ret_zero = true;
    return table_append(t, BLOCK, &ret->host);
}

static int put_entry(struct vdi *v, uint64_t i, uint32_t e)
{
    uint64_t sector = i * 4 / BLOCK_SECTOR * BLOCK_SECTOR;

    le32_put(v->map + i * 4, e);
    return block_pwrite(v->t.node.file, v->map + sector, BLOCK_SECTOR, v->map_off + sector);
}

static int link_block(struct table_node *t, const struct table_entry *e)
{
    struct vdi *v = (struct vdi *)t;
    int r = put_entry(v, e->start / BLOCK, (uint32_t)((e->host - v->data_off) / BLOCK));

    if (r == 0) {
        v->n_allocated++;
        le32_put(v->header + 388, v->n_allocated);
        r = block_pwrite(t->node.file, v->header, HEADER, 0);
    }
    return r;
}

static const struct table_ops ops = { .lookup = lookup, .alloc = alloc, .link = link_block };

static int vdi_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct vdi *v = (struct vdi *)node;
    const uint8_t *h = v->header;
    uint32_t highest = 0;
    int r = block_open_file_child(node, opts, err);

    if (r == 0) {
        r = block_pread(node->file, v->header, HEADER, 0);
    }
    if (r < 0) {
        return r;
    }
    if (le32_get(h + 64) != VDI_SIGNATURE) {
        return err_set(err, EINVAL, "Image not in VDI format (bad signature %08x)",
                       le32_get(h + 64));
    }
    if (le32_get(h + 68) != VERSION) {
        return err_set(err, ENOTSUP, "unsupported VDI image (version %u.%u)",
                       le32_get(h + 68) >> 16, le32_get(h + 68) & 0xffff);
    }
    v->map_off = le32_get(h + 340);
    v->data_off = le32_get(h + 344);
    v->n_blocks = le32_get(h + 384);
    v->n_allocated = le32_get(h + 388);
    v->t.size = round_up_u64(le64_get(h + 368), BLOCK_SECTOR);
    if (v->map_off % BLOCK_SECTOR != 0 || v->data_off % BLOCK_SECTOR != 0) {
        return err_set(err, ENOTSUP, "unsupported VDI image (unaligned block map or data)");
    }
    if (le32_get(h + 360) != BLOCK_SECTOR || le32_get(h + 376) != BLOCK) {
        return err_set(err, ENOTSUP,
                       "unsupported VDI image (sector size %u, block size %u: 512 and 1 MiB are)",
                       le32_get(h + 360), le32_get(h + 376));
    }
    if (v->n_blocks > MAX_BLOCKS || v->t.size > (uint64_t)v->n_blocks * BLOCK) {
        return err_set(err, ENOTSUP,
                       "unsupported VDI image (disk size %llu, image bitmap has room for %llu)",
                       (unsigned long long)v->t.size, (unsigned long long)v->n_blocks * BLOCK);
    }
    for (int i = 0; i < 16; i++) {
        if (h[424 + i] != 0 || h[440 + i] != 0) {
            return err_set(err, ENOTSUP, "unsupported VDI image (it has a parent)");
        }
    }
    r = table_read_all(node->file, v->map_off, round_up_u64(v->n_blocks * 4ull, BLOCK_SECTOR) / 4,
                       4, 4 * MAX_BLOCKS, &v->map, err);
    if (r < 0) {
        return r;
    }
    for (uint32_t i = 0; i < v->n_blocks; i++) {
        uint32_t e = le32_get(v->map + i * 4ull);

        if (e < VDI_ZERO && e + 1 > highest) {
            highest = e + 1;
        }
    }
    v->t.space.end = v->data_off + (uint64_t)highest * BLOCK;
    v->t.preallocated = le32_get(h + 76) == TYPE_STATIC;
    table_init(&v->t, &ops);
    return 0;
}

static void vdi_close(struct block_node *node)
{
    struct vdi *v = (struct vdi *)node;

    table_trim(&v->t);
    table_done(&v->t);
    free(v->map);
}

static void vdi_info(struct block_node *node, struct block_info *ret)
{
    (void)node;
    ret->cluster_size = BLOCK;
    ret->has_dirty = true;
}

static int vdi_check(struct block_node *node, struct block_check *check, struct err **err)
{
    struct vdi *v = (struct vdi *)node;
    uint8_t *used = calloc(v->n_blocks + 1ull, 1);
    uint32_t n = 0;

    if (used == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    if (check->fix != 0) {
        free(used);
        return err_set(err, ENOTSUP, "repair of VDI images is not supported");
    }
    for (uint32_t i = 0; i < v->n_blocks; i++) {
        uint32_t e = le32_get(v->map + i * 4ull);

        if (e >= VDI_ZERO) {
            continue;
        }
        if (e < v->n_blocks) {
            n++;
            if (used[e]++ != 0) {
                block_check_report(check, "ERROR: block index %u also used by %u", i, e);
            }
        } else {
            block_check_report(check, "ERROR: block index %u out of range, is %u", i, e);
            check->corruptions++;
        }
    }
    if (n != v->n_allocated) {
        block_check_report(check, "ERROR: allocated blocks mismatch, is %u, should be %u", n,
                           v->n_allocated);
        check->corruptions++;
    }
    free(used);
    return 0;
}

static const struct block_opt create_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { "static", BLOCK_OPT_BOOL, "VDI static (pre-allocated) image", "off" },
    { "preallocation", BLOCK_OPT_STR, "Preallocation mode (allowed values: off, metadata)", NULL },
    { 0 },
};

static int vdi_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                      struct keyval *opts, struct err **err)
{
    uint8_t h[HEADER] = { 0 };
    unsigned long long size = 0;
    bool fixed = false;
    AUTO_FREE uint8_t *map = NULL;
    uint64_t n;
    uint64_t map_bytes;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    (void)ctx;
    (void)filename;
    if (r == 0) {
        r = keyval_get_bool(opts, "static", false, &fixed, err);
    }
    if (keyval_get(opts, "preallocation") != NULL &&
        str_eq(keyval_get(opts, "preallocation"), "metadata")) {
        fixed = true;
    }
    n = (size + BLOCK - 1) / BLOCK;
    if (r == 0 && n > MAX_BLOCKS) {
        r = err_set(err, ENOTSUP,
                    "Unsupported VDI image size (size is 0x%llx, max supported is 0x%llx)", size,
                    MAX_BLOCKS * BLOCK);
    }
    if (r < 0) {
        return r;
    }
    map_bytes = round_up_u64(n * 4, BLOCK_SECTOR);
    (void)snprintf((char *)h, 64, "<<< QEMU VM Virtual Disk Image >>>\n");
    le32_put(h + 64, VDI_SIGNATURE);
    le32_put(h + 68, VERSION);
    le32_put(h + 72, 0x180);
    le32_put(h + 76, fixed ? TYPE_STATIC : TYPE_DYNAMIC);
    le32_put(h + 340, HEADER);
    le32_put(h + 344, (uint32_t)(HEADER + map_bytes));
    le32_put(h + 360, BLOCK_SECTOR);
    le64_put(h + 368, size);
    le32_put(h + 376, BLOCK);
    le32_put(h + 384, (uint32_t)n);
    le32_put(h + 388, fixed ? (uint32_t)n : 0);
    random_bytes(h + 392, 32);
    map = malloc(map_bytes + 1);
    if (map == NULL) {
        return -ENOMEM;
    }
    memset(map, 0, map_bytes);
    for (uint64_t i = 0; i < n; i++) {
        le32_put(map + i * 4, fixed ? (uint32_t)i : VDI_FREE);
    }
    r = block_pwrite(file, h, HEADER, 0);
    if (r == 0) {
        r = block_pwrite(file, map, map_bytes, HEADER);
    }
    return r == 0 && fixed
               ? block_truncate(file, HEADER + map_bytes + n * BLOCK, BLOCK_PREALLOC_OFF, err)
               : r;
}

const struct block_driver block_vdi = {
    .name = "vdi",
    .size = sizeof(struct vdi),
    .probe = vdi_probe,
    .open = vdi_open,
    .close = vdi_close,
    .length = table_length,
    .preadv = table_preadv,
    .pwritev = table_pwritev,
    .write_zeroes = table_write_zeroes,
    .flush = table_flush,
    .status = table_status,
    .create_opts = create_opts,
    .create = vdi_create,
    .info = vdi_info,
    .check = vdi_check,
};
