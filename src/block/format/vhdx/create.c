/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* create.c - new VHDX images, laid out as QEMU does: log at 1 MiB, block table, metadata, blocks.
 */
#include "block/format/vhdx/vhdx.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/keyval.h"
#include "os/random.h"

#include <errno.h>
#include <string.h>

enum { SECTOR = 512 };

struct creation {
    uint64_t size;
    uint64_t log;
    uint32_t block;
    bool fixed;
    bool zero_blocks;
    uint64_t n_entries;
    uint64_t bat_off;
    uint64_t bat_len;
    uint64_t metadata_off;
    uint64_t data_off;
};

static uint32_t default_block(uint64_t size)
{
    return size > 32ull << 40    ? 64u << 20
           : size > 100ull << 30 ? 32u << 20
           : size > 1ull << 30   ? 16u << 20
                                 : 8u << 20;
}

static int parse_options(struct creation *c, struct keyval *opts, struct err **err)
{
    const char *kind = keyval_get(opts, "subformat");
    unsigned long long size = 0;
    unsigned long long block = 0;
    unsigned long long log = 0;
    uint64_t n;
    uint64_t chunk;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    if (r == 0) {
        r = keyval_get_size(opts, "block_size", 0, &block, err);
    }
    if (r == 0) {
        r = keyval_get_size(opts, "log_size", VHDX_MIB, &log, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "block_state_zero", true, &c->zero_blocks, err);
    }
    if (r < 0) {
        return r;
    }
    if (kind != NULL && !str_eq(kind, "dynamic") && !str_eq(kind, "fixed")) {
        return err_set(err, EINVAL, "Invalid subformat '%s'", kind);
    }
    if (size > VHDX_MAX_SIZE) {
        return err_set(err, EINVAL, "Image size too large; max of 64TB");
    }
    if (block == 0) {
        block = default_block(size);
    }
    block = round_up_u64(block, VHDX_MIB);
    if (block > VHDX_MAX_BLOCK || (block & (block - 1)) != 0) {
        return err_set(err, EINVAL,
                       block > VHDX_MAX_BLOCK ? "Block size must not exceed 256 MB"
                                              : "Block size must be a power of 2");
    }
    if (log < VHDX_MIB || log % VHDX_MIB != 0 || log > VHDX_MAX_LOG) {
        return err_set(err, EINVAL, "Log size must be a multiple of 1 MB, to 64 MB");
    }
    c->size = round_up_u64(size, SECTOR);
    c->block = (uint32_t)block;
    c->log = log;
    c->fixed = kind != NULL && str_eq(kind, "fixed");
    n = (c->size + block - 1) / block;
    chunk = ((uint64_t)SECTOR << 23) / block;
    /* Room for the bitmap entry after each whole chunk, and the last one's. */
    c->n_entries = n + (n + chunk - 1) / chunk;
    c->bat_off = VHDX_MIB + c->log;
    c->bat_len = max_u64(round_up_u64(c->n_entries * 8, VHDX_MIB), VHDX_MIB);
    c->metadata_off = c->bat_off + c->bat_len;
    c->data_off = round_up_u64(c->metadata_off + VHDX_MIB, block);
    return 0;
}

static int write_start(const struct creation *c, struct block_node *file)
{
    static const char creator[] = "Vireo";
    uint8_t h[VHDX_HEADER] = { 0 };
    int r;

    memcpy(h, "vhdxfile", 8);
    for (size_t i = 0; i < sizeof(creator); i++) {
        le16_put(h + 8 + i * 2, (uint16_t)creator[i]);
    }
    r = block_pwrite(file, h, sizeof(h), 0);
    memset(h, 0, sizeof(h));
    memcpy(h, "head", 4);
    random_bytes(h + 16, 2 * VHDX_GUID);
    le16_put(h + 66, 1);
    le32_put(h + 68, (uint32_t)c->log);
    le64_put(h + 72, VHDX_MIB);
    for (unsigned i = 0; r == 0 && i < 2; i++) {
        le64_put(h + 8, i + 1);
        le32_put(h + 4, vhdx_checksum(h, sizeof(h)));
        r = block_pwrite(file, h, sizeof(h), (i + 1ull) * VHDX_HEADER_AT);
    }
    return r;
}

static int write_regions(const struct creation *c, struct block_node *file)
{
    AUTO_FREE uint8_t *t = calloc(1, VHDX_REGIONS);
    int r;

    if (t == NULL) {
        return -ENOMEM;
    }
    memcpy(t, "regi", 4);
    le32_put(t + 8, 2);
    memcpy(t + 16, vhdx_guid_bat, VHDX_GUID);
    le64_put(t + 32, c->bat_off);
    le32_put(t + 40, (uint32_t)c->bat_len);
    le32_put(t + 44, 1);
    memcpy(t + 48, vhdx_guid_metadata, VHDX_GUID);
    le64_put(t + 64, c->metadata_off);
    le32_put(t + 72, VHDX_MIB);
    le32_put(t + 76, 1);
    le32_put(t + 4, vhdx_checksum(t, VHDX_REGIONS));
    r = block_pwrite(file, t, VHDX_REGIONS, VHDX_REGIONS_AT);
    return r == 0 ? block_pwrite(file, t, VHDX_REGIONS, VHDX_REGIONS_AT + VHDX_REGIONS) : r;
}

static int write_metadata(const struct creation *c, struct block_node *file)
{
    enum { TABLE = 64 << 10, ITEMS = 40, DISK = 2, REQUIRED = 4 };
    static const struct {
        const uint8_t *guid;
        uint32_t off;
        uint32_t len;
        uint32_t flags;
    } items[] = {
        { vhdx_guid_parameters, 0, 8, REQUIRED },
        { vhdx_guid_size, 8, 8, REQUIRED | DISK },
        { vhdx_guid_page83, 16, 16, REQUIRED | DISK },
        { vhdx_guid_logical, 32, 4, REQUIRED | DISK },
        { vhdx_guid_physical, 36, 4, REQUIRED | DISK },
    };
    uint8_t t[ITEMS * 8] = { 0 };
    uint8_t data[ITEMS] = { 0 };
    int r;

    memcpy(t, "metadata", 8);
    le16_put(t + 10, sizeof(items) / sizeof(items[0]));
    for (unsigned i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        uint8_t *e = t + 32 + i * 32;

        memcpy(e, items[i].guid, VHDX_GUID);
        le32_put(e + 16, TABLE + items[i].off);
        le32_put(e + 20, items[i].len);
        le32_put(e + 24, items[i].flags);
    }
    le32_put(data, c->block);
    le32_put(data + 4, c->fixed);
    le64_put(data + 8, c->size);
    random_bytes(data + 16, VHDX_GUID);
    le32_put(data + 32, SECTOR);
    le32_put(data + 36, SECTOR);
    r = block_pwrite(file, t, sizeof(t), c->metadata_off);
    return r == 0 ? block_pwrite(file, data, sizeof(data), c->metadata_off + TABLE) : r;
}

static int write_bat(const struct creation *c, struct block_node *file)
{
    uint64_t chunk = ((uint64_t)SECTOR << 23) / c->block;
    uint64_t n = (c->size + c->block - 1) / c->block;
    AUTO_FREE uint8_t *bat = calloc(c->n_entries + 1, 8);

    if (bat == NULL) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < n; i++) {
        le64_put(bat + (i + i / chunk) * 8, c->fixed
                                                ? (c->data_off + i * c->block) | VHDX_BLOCK_PRESENT
                                            : c->zero_blocks ? VHDX_BLOCK_ZERO
                                                             : VHDX_BLOCK_NONE);
    }
    return c->fixed || c->zero_blocks ? block_pwrite(file, bat, c->n_entries * 8, c->bat_off) : 0;
}

int vhdx_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                struct keyval *opts, struct err **err)
{
    struct creation c = { 0 };
    int r = parse_options(&c, opts, err);

    (void)ctx;
    (void)filename;
    if (r == 0) {
        r = block_truncate(file, c.fixed ? c.data_off + round_up_u64(c.size, c.block) : c.data_off,
                           BLOCK_PREALLOC_OFF, err);
    }
    if (r == 0) {
        r = write_start(&c, file);
    }
    if (r == 0) {
        r = write_regions(&c, file);
    }
    if (r == 0) {
        r = write_bat(&c, file);
    }
    return r == 0 ? write_metadata(&c, file) : r;
}

const uint8_t vhdx_guid_bat[] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                  0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
const uint8_t vhdx_guid_metadata[] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                       0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
const uint8_t vhdx_guid_parameters[] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                         0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b };
const uint8_t vhdx_guid_size[] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                   0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 };
const uint8_t vhdx_guid_page83[] = { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
                                     0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46 };
const uint8_t vhdx_guid_logical[] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                      0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f };
const uint8_t vhdx_guid_physical[] = { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
                                       0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56 };

const struct block_opt vhdx_create_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size; max of 64TB.", NULL },
    { "log_size", BLOCK_OPT_SIZE, "Log size; min 1MB.", "1048576" },
    { "block_size", BLOCK_OPT_SIZE,
      "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.", "0" },
    { "subformat", BLOCK_OPT_STR,
      "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'.", NULL },
    { "block_state_zero", BLOCK_OPT_BOOL,
      "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to 'off' "
      "when using 'qemu-img convert' with subformat=dynamic.",
      NULL },
    { 0 },
};
