/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vhdx.c - VHDX images: headers, regions, metadata, requests. */
#include "block/format/vhdx/vhdx.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "os/random.h"

#include <errno.h>
#include <string.h>

enum { MAX_REGIONS = 2047, MAX_METADATA = 2047, ENTRY = 32 };

#define HEAD 0x64616568u
#define REGI 0x69676572u

/* ---- checksums: CRC-32C, reflected ---- */

uint32_t vhdx_crc(const void *buf, size_t len)
{
    const uint8_t *p = buf;
    uint32_t crc = ~0u;
    uint32_t table[256];

    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;

        for (int k = 0; k < 8; k++) {
            c = (c & 1) != 0 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        }
        table[i] = c;
    }
    while (len-- > 0) {
        crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
    }
    return ~crc;
}

uint32_t vhdx_checksum(uint8_t *buf, size_t len)
{
    uint32_t saved = le32_get(buf + 4);
    uint32_t crc;

    le32_put(buf + 4, 0);
    crc = vhdx_crc(buf, len);
    le32_put(buf + 4, saved);
    return crc;
}

/* ---- opening ---- */

static int vhdx_probe(const uint8_t *head, size_t len, const char *filename)
{
    (void)filename;
    return len >= 8 && memcmp(head, "vhdxfile", 8) == 0 ? 100 : 0;
}

static int read_headers(struct vhdx *v, struct err **err)
{
    uint8_t h[VHDX_HEADER];
    bool found = false;

    for (unsigned i = 0; i < 2; i++) {
        int r = block_pread(v->t.node.file, h, sizeof(h), (i + 1ull) * VHDX_HEADER_AT);

        if (r < 0) {
            return r;
        }
        if (le32_get(h) != HEAD || le16_get(h + 66) != 1 ||
            vhdx_checksum(h, sizeof(h)) != le32_get(h + 4)) {
            continue;
        }
        if (!found || le64_get(h + 8) > le64_get(v->header + 8)) {
            memcpy(v->header, h, sizeof(h));
            v->current = i;
            found = true;
        }
    }
    if (!found) {
        return err_set(err, EINVAL, "No valid VHDX header found");
    }
    memcpy(v->log.guid, v->header + 48, VHDX_GUID);
    v->log.len = le32_get(v->header + 68);
    v->log.off = le64_get(v->header + 72);
    if (le16_get(v->header + 64) != 0 || v->log.off < VHDX_MIB || v->log.off % VHDX_MIB != 0 ||
        v->log.len == 0 || v->log.len % VHDX_MIB != 0 || v->log.len > VHDX_MAX_LOG ||
        v->log.off > BLOCK_MAX_LENGTH) {
        return err_set(err, EINVAL, "the log's place in the VHDX header makes no sense");
    }
    return 0;
}

static int read_regions(struct vhdx *v, struct err **err)
{
    AUTO_FREE uint8_t *t = malloc(VHDX_REGIONS);
    uint32_t n = 0;
    int r = -EINVAL;

    if (t == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; r < 0 && i < 2; i++) {
        r = block_pread(v->t.node.file, t, VHDX_REGIONS,
                        VHDX_REGIONS_AT + i * (uint64_t)VHDX_REGIONS);
        n = le32_get(t + 8);
        if (r == 0 && (le32_get(t) != REGI || n > MAX_REGIONS ||
                       vhdx_checksum(t, VHDX_REGIONS) != le32_get(t + 4))) {
            r = -EINVAL;
        }
    }
    if (r < 0) {
        return err_set(err, EINVAL, "No valid VHDX region table found");
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *e = t + 16 + (size_t)i * ENTRY;
        uint64_t off = le64_get(e + 16);
        uint32_t len = le32_get(e + 24);

        if (off < VHDX_MIB || off % VHDX_MIB != 0 || len % VHDX_MIB != 0 ||
            off > BLOCK_MAX_LENGTH) {
            return err_set(err, EINVAL, "a VHDX region's place makes no sense");
        }
        if (memcmp(e, vhdx_guid_bat, VHDX_GUID) == 0) {
            v->bat_off = off;
            v->bat_len = len;
        } else if (memcmp(e, vhdx_guid_metadata, VHDX_GUID) == 0) {
            v->metadata_off = off;
            v->metadata_len = len;
        } else if ((le32_get(e + 28) & 1) != 0) {
            return err_set(err, ENOTSUP,
                           "the VHDX image has a required region that is not known here");
        }
    }
    return v->bat_off != 0 && v->metadata_off != 0
               ? 0
               : err_set(err, EINVAL, "the VHDX image has no block table or no metadata");
}

/* A metadata item of at least that size: its offset in the file; 0: there is none. */
static uint64_t item_at(struct vhdx *v, const uint8_t *table, const uint8_t *guid, uint32_t size)
{
    uint32_t n = le16_get(table + 10);

    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *e = table + ENTRY + (size_t)i * ENTRY;
        uint32_t off = le32_get(e + 16);

        if (memcmp(e, guid, VHDX_GUID) == 0 && le32_get(e + 20) >= size &&
            range_within(off, size, v->metadata_len)) {
            return v->metadata_off + off;
        }
    }
    return 0;
}

static bool all_known(const uint8_t *table)
{
    const uint8_t *known[] = { vhdx_guid_parameters, vhdx_guid_size, vhdx_guid_page83,
                               vhdx_guid_logical, vhdx_guid_physical };
    uint32_t n = le16_get(table + 10);

    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *e = table + ENTRY + (size_t)i * ENTRY;
        bool found = (le32_get(e + 24) & 4) == 0; /* not required */

        for (unsigned k = 0; k < 5; k++) {
            found |= memcmp(e, known[k], VHDX_GUID) == 0;
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static int read_metadata(struct vhdx *v, struct err **err)
{
    enum { TABLE = 64 << 10 };
    AUTO_FREE uint8_t *t = malloc(TABLE);
    struct block_node *file = v->t.node.file;
    uint8_t params[8];
    uint8_t size[8];
    uint8_t logical[4];
    uint64_t at[3];
    int r;

    if (t == NULL) {
        return -ENOMEM;
    }
    r = block_pread(file, t, TABLE, v->metadata_off);
    if (r == 0 && (memcmp(t, "metadata", 8) != 0 || le16_get(t + 10) > MAX_METADATA)) {
        r = err_set(err, EINVAL, "the VHDX metadata makes no sense");
    }
    if (r < 0) {
        return r;
    }
    at[0] = item_at(v, t, vhdx_guid_parameters, 8);
    at[1] = item_at(v, t, vhdx_guid_size, 8);
    at[2] = item_at(v, t, vhdx_guid_logical, 4);
    if (at[0] == 0 || at[1] == 0 || at[2] == 0) {
        return err_set(err, ENOTSUP, "the VHDX metadata is not complete");
    }
    r = block_pread(file, params, 8, at[0]);
    if (r == 0) {
        r = block_pread(file, size, 8, at[1]);
    }
    if (r == 0) {
        r = block_pread(file, logical, 4, at[2]);
    }
    if (r < 0) {
        return r;
    }
    v->block = le32_get(params);
    v->fixed = (le32_get(params + 4) & 1) != 0;
    v->t.size = le64_get(size);
    v->sector = le32_get(logical);
    if ((le32_get(params + 4) & 2) != 0) {
        return err_set(err, ENOTSUP, "VHDX images with a parent are not supported");
    }
    if (!all_known(t)) {
        return err_set(err, ENOTSUP, "the VHDX image has required metadata that is not known here");
    }
    if (v->block < VHDX_MIB || v->block > VHDX_MAX_BLOCK || (v->block & (v->block - 1)) != 0 ||
        (v->sector != 512 && v->sector != 4096) || v->t.size % v->sector != 0 ||
        v->t.size > VHDX_MAX_SIZE) {
        return err_set(err, EINVAL, "the VHDX image has impossible sizes");
    }
    return 0;
}

static int check_bat(struct vhdx *v, struct block_check *check)
{
    int64_t len = block_length(v->t.node.file);
    int bad = 0;

    for (uint64_t i = 0; len >= 0 && i < v->n_blocks; i++) {
        uint64_t e = le64_get(v->bat + (i + i / v->chunk) * 8);
        uint64_t off = e & ~(uint64_t)(VHDX_MIB - 1);
        uint64_t end = min_u64(v->block, v->t.size - i * v->block);

        if ((e & 7) == VHDX_BLOCK_PRESENT && !range_within(off, end, (uint64_t)len)) {
            bad++;
            if (check != NULL) {
                block_check_report(check, "ERROR: block %llu lies behind the end of the file",
                                   (unsigned long long)i);
            }
        }
    }
    return bad;
}

static int read_bat(struct vhdx *v, struct err **err)
{
    uint64_t n;
    uint64_t highest = max_u64(v->bat_off + v->bat_len, v->metadata_off + v->metadata_len);

    v->n_blocks = (v->t.size + v->block - 1) / v->block;
    v->chunk = ((uint64_t)v->sector << 23) / v->block;
    n = v->n_blocks + (v->n_blocks > 0 ? (v->n_blocks - 1) / v->chunk : 0);
    if (n * 8 > v->bat_len) {
        return err_set(err, EINVAL, "the VHDX block table is too short for the image");
    }
    int r = table_read_all(v->t.node.file, v->bat_off, round_up_u64(n * 8, VHDX_LOG_SECTOR) / 8, 8,
                           VHDX_MAX_BAT, &v->bat, err);

    if (r < 0) {
        return r;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint64_t e = le64_get(v->bat + i * 8);

        if ((e & 7) == VHDX_BLOCK_PRESENT) {
            highest = max_u64(highest, (e & ~(uint64_t)(VHDX_MIB - 1)) + v->block);
        }
    }
    highest = max_u64(highest, v->log.off + v->log.len);
    v->t.space.end = round_up_u64(max_u64(highest, 4 * VHDX_MIB), VHDX_MIB);
    return 0;
}

static int lookup(struct table_node *t, uint64_t off, struct table_entry *ret)
{
    struct vhdx *v = (struct vhdx *)t;
    uint64_t i = off / v->block;
    uint64_t e = le64_get(v->bat + (i + i / v->chunk) * 8);

    ret->start = i * v->block;
    ret->len = min_u64(v->block, t->size - ret->start);
    ret->host = e & ~(uint64_t)(VHDX_MIB - 1);
    switch (e & 7) {
    case VHDX_BLOCK_PRESENT:
        ret->kind = TABLE_DATA;
        return 0;
    case VHDX_BLOCK_ZERO:
        ret->kind = TABLE_ZERO;
        return 0;
    case VHDX_BLOCK_PARTIAL:
        return -EIO; /* of differencing images only */
    default:
        ret->kind = TABLE_NONE;
        return 0;
    }
}

int vhdx_write_header(struct vhdx *v, bool log)
{
    unsigned next = 1 - v->current;
    uint8_t *h = v->header;
    int r;

    le64_put(h + 8, le64_get(h + 8) + 1);
    memset(h + 48, 0, VHDX_GUID);
    if (log) {
        memcpy(h + 48, v->log.guid, VHDX_GUID);
    }
    le32_put(h + 4, vhdx_checksum(h, VHDX_HEADER));
    r = block_pwrite_sync(v->t.node.file, h, VHDX_HEADER, (next + 1ull) * VHDX_HEADER_AT);
    if (r == 0) {
        v->current = next;
    }
    return r;
}

/* The header says that somebody wrote ([MS-VHDX], 2.2.2: FileWriteGuid, DataWriteGuid). */
static int touch(struct vhdx *v)
{
    int r = 0;

    if (!v->touched) {
        random_bytes(v->header + 16, VHDX_GUID);
        random_bytes(v->header + 32, VHDX_GUID);
        r = vhdx_write_header(v, true);
        v->touched = r == 0;
    }
    return r;
}

static int alloc(struct table_node *t, struct table_entry *ret, bool *ret_zero)
{
    struct vhdx *v = (struct vhdx *)t;

    *ret_zero = true;
    return table_append(t, v->block, &ret->host);
}

static int set_entry(struct vhdx *v, uint64_t i, uint64_t value)
{
    uint64_t at = (i + i / v->chunk) * 8;
    uint64_t sector = round_down_u64(at, VHDX_LOG_SECTOR);
    uint64_t old = le64_get(v->bat + at);
    int r;

    le64_put(v->bat + at, value);
    r = vhdx_log_write(v, v->bat + sector, v->bat_off + sector);
    if (r < 0) {
        le64_put(v->bat + at, old);
    }
    return r;
}

static int link_block(struct table_node *t, const struct table_entry *e)
{
    struct vhdx *v = (struct vhdx *)t;

    return set_entry(v, e->start / v->block, e->host | VHDX_BLOCK_PRESENT);
}

static const struct table_ops ops = { .lookup = lookup, .alloc = alloc, .link = link_block };

static int vhdx_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct vhdx *v = (struct vhdx *)node;
    static const uint8_t none[VHDX_GUID];
    uint8_t magic[8];
    int r = block_open_file_child(node, opts, err);

    if (r == 0) {
        r = block_pread(node->file, magic, sizeof(magic), 0);
    }
    if (r == 0 && memcmp(magic, "vhdxfile", 8) != 0) {
        r = err_set(err, EINVAL, "Image not in VHDX format");
    }
    if (r == 0) {
        r = read_headers(v, err);
    }
    if (r == 0 && memcmp(v->log.guid, none, VHDX_GUID) != 0) {
        r = vhdx_log_replay(v, err);
    }
    if (r == 0) {
        r = read_regions(v, err);
    }
    if (r == 0) {
        r = read_metadata(v, err);
    }
    if (r == 0) {
        r = read_bat(v, err);
    }
    if (r == 0 && !node->for_check && check_bat(v, NULL) != 0) {
        r = err_set(err, EINVAL, "VHDX blocks lie behind the end of the file");
    }
    if (r < 0) {
        return r;
    }
    v->t.preallocated = v->fixed;
    table_init(&v->t, &ops);
    return 0;
}

/* Nobody needs the log any more when everything is in its place. */
static int put_log_away(struct vhdx *v)
{
    static const uint8_t none[VHDX_GUID];
    int r = 0;

    if (memcmp(v->log.guid, none, VHDX_GUID) != 0) {
        r = block_flush(v->t.node.file);
        if (r == 0) {
            table_trim(&v->t);
            memset(v->log.guid, 0, VHDX_GUID);
            r = vhdx_write_header(v, false);
        }
    }
    return r;
}

static int vhdx_reopen(struct block_node *node, bool read_only, struct err **err)
{
    int r = read_only ? put_log_away((struct vhdx *)node) : 0;

    return r < 0 ? err_set(err, -r, "cannot finish the log: %s", strerror(-r)) : 0;
}

static void vhdx_close(struct block_node *node)
{
    struct vhdx *v = (struct vhdx *)node;

    if (v->t.ops != NULL && !node->read_only) {
        (void)put_log_away(v);
    }
    table_done(&v->t);
    free(v->bat);
}

static int vhdx_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct vhdx *v = (struct vhdx *)node;
    int r;

    (void)pthread_mutex_lock(&v->t.lock);
    r = touch(v);
    (void)pthread_mutex_unlock(&v->t.lock);
    return r == 0 ? table_pwritev(node, iov, n, off) : r;
}

static int vhdx_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    struct vhdx *v = (struct vhdx *)node;
    int r;

    (void)pthread_mutex_lock(&v->t.lock);
    r = touch(v);
    (void)pthread_mutex_unlock(&v->t.lock);
    return r == 0 ? table_write_zeroes(node, off, len, flags) : r;
}

static void vhdx_info(struct block_node *node, struct block_info *ret)
{
    ret->cluster_size = ((struct vhdx *)node)->block;
    ret->has_dirty = true;
}

static int vhdx_check(struct block_node *node, struct block_check *check, struct err **err)
{
    struct vhdx *v = (struct vhdx *)node;

    (void)err;
    check->corruptions += (uint64_t)check_bat(v, check);
    check->corruptions_fixed += v->replayed;
    v->replayed = false;
    return 0;
}

const struct block_driver block_vhdx = {
    .name = "vhdx",
    .size = sizeof(struct vhdx),
    .probe = vhdx_probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .reopen = vhdx_reopen,
    .length = table_length,
    .preadv = table_preadv,
    .pwritev = vhdx_pwritev,
    .write_zeroes = vhdx_write_zeroes,
    .flush = table_flush,
    .status = table_status,
    .create_opts = vhdx_create_opts,
    .create = vhdx_create,
    .info = vhdx_info,
    .check = vhdx_check,
};
