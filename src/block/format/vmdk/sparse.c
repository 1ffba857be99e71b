/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sparse.c - extents of grains. Header (Virtual Disk Format 5.0, Hosted Sparse Extent Header):
 * 0 magic, 4 version, 8 flags, 12 sectors, 20 sectors of a grain, 28 descriptor's sector, 36 its
 * sectors, 44 entries of a table, 48 second directory's sector, 56 directory's, 64 where grains
 * begin, 72 unclean, 73 four bytes that text transfers would change, 77 compression.
 */
#include "block/format/vmdk/vmdk.h"

#include "base/bytes.h"

#include <errno.h>
#include <libdeflate.h>
#include <string.h>

enum { DEFLATE_LEVEL = 6, FOOTER = 1536, MAX_VERSION = 3 };

/* Whether behind what a header says there is a footer with the final header. */
static int read_footer(struct vmdk_extent *x, uint8_t *header, struct err **err)
{
    uint8_t footer[FOOTER];
    int64_t len = block_length(x->file);
    int r;

    if (len < FOOTER) {
        return err_set(err, EINVAL, "the footer is missing");
    }
    r = block_pread(x->file, footer, sizeof(footer), (uint64_t)len - FOOTER);
    if (r < 0) {
        return r;
    }
    /* A marker of type 3 before it, one of type 0 behind it. */
    if (le32_get(footer + 8) != 0 || le32_get(footer + 12) != 3 ||
        le32_get(footer + 512) != VMDK_MAGIC || le32_get(footer + 1024 + 8) != 0 ||
        le32_get(footer + 1024 + 12) != 0) {
        return err_set(err, EINVAL, "the footer makes no sense");
    }
    memcpy(header, footer + 512, VMDK_HEADER);
    return 0;
}

static int read_directory(struct vmdk_extent *x, uint64_t sector, uint8_t **ret, struct err **err)
{
    return table_read_all(x->file, sector * BLOCK_SECTOR, x->n_tables, 4, VMDK_MAX_DIRECTORY, ret,
                          err);
}

static int set_geometry(struct vmdk_extent *x, uint64_t sectors, uint64_t grain_sectors,
                        uint32_t table_entries, struct err **err)
{
    uint64_t n;

    if (grain_sectors == 0 || (grain_sectors & (grain_sectors - 1)) != 0 ||
        grain_sectors > VMDK_MAX_GRAIN / BLOCK_SECTOR) {
        return err_set(err, EFBIG, "invalid granularity of %llu sectors, image may be corrupt",
                       (unsigned long long)grain_sectors);
    }
    if (table_entries == 0 || table_entries > 4096) {
        return err_set(err, EINVAL, "L2 table size too big: %u entries", table_entries);
    }
    if (sectors > BLOCK_MAX_LENGTH / BLOCK_SECTOR) {
        return err_set(err, EFBIG, "the image is too large");
    }
    x->grain = grain_sectors * BLOCK_SECTOR;
    x->table_entries = table_entries;
    x->len = sectors * BLOCK_SECTOR;
    n = (sectors + grain_sectors * table_entries - 1) / (grain_sectors * table_entries);
    if (n > VMDK_MAX_DIRECTORY / 4) {
        return err_set(err, EFBIG, "L1 size too big");
    }
    x->n_tables = (uint32_t)n;
    return 0;
}

static int open_vmfs(struct vmdk_extent *x, const uint8_t *h, struct err **err)
{
    int r = set_geometry(x, le32_get(h + 12), le32_get(h + 16), 4096, err);

    return r == 0 ? read_directory(x, le32_get(h + 20), &x->directory, err) : r;
}

static int open_hosted(struct vmdk_extent *x, uint8_t *h, bool read_only, struct err **err)
{
    uint32_t flags;
    int r = 0;

    if (le64_get(h + 56) == VMDK_AT_END) {
        r = read_footer(x, h, err);
    }
    flags = le32_get(h + 8);
    x->compressed = (flags & VMDK_FLAG_COMPRESSED) != 0;
    x->zero_grains = (flags & VMDK_FLAG_ZERO_GRAINS) != 0;
    if (r == 0 && (le32_get(h + 4) > MAX_VERSION ||
                   (le32_get(h + 4) == MAX_VERSION && !x->compressed && !read_only))) {
        /* Version 3 has changed block tracking, which writers would have to keep. */
        r = err_set(err, ENOTSUP, "VMDK version %u is not supported%s", le32_get(h + 4),
                    le32_get(h + 4) == MAX_VERSION ? " for writing: open it read-only" : "");
    }
    if (r == 0 && x->compressed && le16_get(h + 77) > 1) {
        r = err_set(err, ENOTSUP, "compression %u is not supported", le16_get(h + 77));
    }
    if (r == 0) {
        r = set_geometry(x, le64_get(h + 12), le64_get(h + 20), le32_get(h + 44), err);
    }
    if (r == 0 && le64_get(h + 56) > UINT64_MAX / BLOCK_SECTOR) {
        r = err_set(err, EINVAL, "the directory lies behind the end of the file");
    }
    if (r == 0) {
        r = read_directory(x, le64_get(h + 56), &x->directory, err);
    }
    if (r == 0 && (flags & VMDK_FLAG_TWO_DIRS) != 0 && le64_get(h + 48) <= UINT32_MAX) {
        r = read_directory(x, le64_get(h + 48), &x->second, err);
    }
    return r;
}

int vmdk_open_sparse(struct vmdk_extent *x, bool read_only, struct err **err)
{
    uint8_t h[VMDK_HEADER];
    int r = block_pread(x->file, h, sizeof(h), 0);

    if (r < 0) {
        return r;
    }
    if (le32_get(h) == VMDK_MAGIC) {
        r = open_hosted(x, h, read_only, err);
    } else if (le32_get(h) == VMDK_MAGIC_3) {
        r = open_vmfs(x, h, err);
    } else {
        r = err_set(err, EINVAL, "Image not in VMDK format");
    }
    x->space.file = x->file;
    x->space.end = round_up_u64((uint64_t)block_length(x->file),
                                x->compressed ? BLOCK_SECTOR : max_u64(x->grain, BLOCK_SECTOR));
    return r;
}

void vmdk_extent_done(struct vmdk_extent *x)
{
    if (x->space.file != NULL) {
        table_space_trim(&x->space);
    }
    free(x->type);
    free(x->directory);
    free(x->second);
    for (unsigned i = 0; i < VMDK_CACHED_TABLES; i++) {
        free(x->tables[i].data);
    }
}

/* The table with that number, through the cache. NULL in *ret: there is none. */
static int get_table(struct vmdk_extent *x, uint32_t i, uint8_t **ret)
{
    struct vmdk_table *slot = &x->tables[i % VMDK_CACHED_TABLES];
    uint32_t sector = le32_get(x->directory + i * 4ull);
    int64_t len = block_length(x->file);
    int r;

    *ret = NULL;
    if (sector == 0) {
        return 0;
    }
    if (slot->index == i + 1) {
        *ret = slot->data;
        return 0;
    }
    if (len < 0 ||
        !range_within((uint64_t)sector * BLOCK_SECTOR, x->table_entries * 4ull, (uint64_t)len)) {
        return -EIO;
    }
    if (slot->data == NULL) {
        slot->data = malloc(x->table_entries * 4ull);
        if (slot->data == NULL) {
            return -ENOMEM;
        }
    }
    slot->index = 0;
    r = block_pread(x->file, slot->data, x->table_entries * 4ull, (uint64_t)sector * BLOCK_SECTOR);
    if (r == 0) {
        slot->index = i + 1;
        *ret = slot->data;
    }
    return r;
}

int vmdk_grain_lookup(struct vmdk_extent *x, uint64_t off, struct table_entry *ret)
{
    uint64_t i = off / x->grain;
    uint32_t entry = 0;
    uint8_t *table;
    int r = get_table(x, (uint32_t)(i / x->table_entries), &table);

    if (r < 0) {
        return r;
    }
    if (table != NULL) {
        entry = le32_get(table + i % x->table_entries * 4);
    }
    ret->file = x->file;
    ret->start = i * x->grain;
    ret->len = min_u64(x->grain, x->len - ret->start);
    ret->host = (uint64_t)entry * BLOCK_SECTOR;
    ret->kind = entry == 0                     ? TABLE_NONE
                : entry == 1 && x->zero_grains ? TABLE_ZERO
                : x->compressed                ? TABLE_SPECIAL
                                               : TABLE_DATA;
    return 0;
}

int vmdk_grain_set(struct vmdk_extent *x, uint64_t off, uint32_t value)
{
    uint64_t grain = off / x->grain;
    uint32_t i = (uint32_t)(grain / x->table_entries);
    uint64_t in = grain % x->table_entries * 4;
    uint8_t *table;
    uint8_t entry[4];
    int r = get_table(x, i, &table);

    /* Tables are made with the image; one that is missing stays so. */
    if (r < 0 || table == NULL) {
        return r < 0 ? r : -EIO;
    }
    le32_put(entry, value);
    r = block_pwrite(x->file, entry, 4,
                     (uint64_t)le32_get(x->directory + i * 4ull) * BLOCK_SECTOR + in);
    if (r == 0 && x->second != NULL && le32_get(x->second + i * 4ull) != 0) {
        r = block_pwrite(x->file, entry, 4,
                         (uint64_t)le32_get(x->second + i * 4ull) * BLOCK_SECTOR + in);
    }
    if (r == 0) {
        memcpy(table + in, entry, 4);
    }
    return r;
}

int vmdk_grain_inflate(struct vmdk_extent *x, const struct table_entry *e, uint8_t *buf)
{
    struct libdeflate_decompressor *d;
    AUTO_FREE uint8_t *raw = NULL;
    uint8_t marker[VMDK_MARKER];
    int64_t file_len = block_length(x->file);
    uint32_t len;
    size_t got = 0;
    int r = block_pread(x->file, marker, sizeof(marker), e->host);

    if (r < 0 || file_len < 0) {
        return r < 0 ? r : (int)file_len;
    }
    len = le32_get(marker + 8);
    if (len == 0 || len > 2 * VMDK_MAX_GRAIN ||
        !range_within(e->host + VMDK_MARKER, len, (uint64_t)file_len)) {
        return -EIO;
    }
    raw = malloc(len);
    d = libdeflate_alloc_decompressor();
    if (raw == NULL || d == NULL) {
        libdeflate_free_decompressor(d);
        return -ENOMEM;
    }
    r = block_pread(x->file, raw, len, e->host + VMDK_MARKER);
    /* The last grain may hold no more than the image needs of it. */
    if (r == 0 &&
        libdeflate_zlib_decompress(d, raw, len, buf, x->grain, &got) != LIBDEFLATE_SUCCESS) {
        r = -EIO;
    }
    libdeflate_free_decompressor(d);
    if (r == 0 && got < e->len) {
        r = -EIO;
    }
    return r;
}

int vmdk_grain_deflate(struct vmdk_extent *x, pthread_mutex_t *lock, const uint8_t *buf,
                       uint64_t off)
{
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(DEFLATE_LEVEL);
    size_t room = c != NULL ? libdeflate_zlib_compress_bound(c, x->grain) : 0;
    size_t whole = round_up_u64(VMDK_MARKER + room, BLOCK_SECTOR);
    AUTO_FREE uint8_t *out = calloc(1, whole);
    uint64_t at = 0;
    size_t n = 0;
    int r = c != NULL && out != NULL ? 0 : -ENOMEM;

    if (r == 0) {
        n = libdeflate_zlib_compress(c, buf, x->grain, out + VMDK_MARKER, room);
        le64_put(out, off / BLOCK_SECTOR);
        le32_put(out + 8, (uint32_t)n);
        whole = round_up_u64(VMDK_MARKER + n, BLOCK_SECTOR);
        r = n > 0 ? 0 : -EIO;
    }
    libdeflate_free_compressor(c);
    if (lock != NULL) {
        (void)pthread_mutex_lock(lock);
    }
    if (r == 0) {
        r = table_space_append(&x->space, whole, &at);
    }
    if (r == 0) {
        r = block_pwrite(x->file, out, whole, at);
    }
    if (r == 0 && at / BLOCK_SECTOR > UINT32_MAX) {
        r = -EFBIG;
    }
    if (r == 0) {
        r = vmdk_grain_set(x, off, (uint32_t)(at / BLOCK_SECTOR));
    }
    if (lock != NULL) {
        (void)pthread_mutex_unlock(lock);
    }
    return r;
}
