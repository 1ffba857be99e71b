/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/disk/scsi.h"

#include "base/bytes.h"
#include "vmm/mem/gmem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    TEST_UNIT_READY = 0x00,
    REQUEST_SENSE = 0x03,
    READ_6 = 0x08,
    WRITE_6 = 0x0a,
    INQUIRY = 0x12,
    MODE_SELECT_6 = 0x15,
    RESERVE_6 = 0x16,
    RELEASE_6 = 0x17,
    MODE_SENSE_6 = 0x1a,
    START_STOP = 0x1b,
    SEND_DIAGNOSTIC = 0x1d,
    ALLOW_REMOVAL = 0x1e,
    READ_CAPACITY_10 = 0x25,
    READ_10 = 0x28,
    WRITE_10 = 0x2a,
    SEEK_10 = 0x2b,
    WRITE_VERIFY_10 = 0x2e,
    VERIFY_10 = 0x2f,
    SYNCHRONIZE_10 = 0x35,
    WRITE_SAME_10 = 0x41,
    UNMAP = 0x42,
    READ_TOC = 0x43,
    GET_CONFIGURATION = 0x46,
    GET_EVENT = 0x4a,
    READ_DISC_INFO = 0x51,
    MODE_SELECT_10 = 0x55,
    MODE_SENSE_10 = 0x5a,
    READ_16 = 0x88,
    WRITE_16 = 0x8a,
    VERIFY_16 = 0x8f,
    SYNCHRONIZE_16 = 0x91,
    WRITE_SAME_16 = 0x93,
    SERVICE_ACTION_IN = 0x9e,
    REPORT_LUNS = 0xa0,
    READ_12 = 0xa8,
    WRITE_12 = 0xaa,
    READ_DVD_STRUCTURE = 0xad,
    SET_SPEED = 0xbb,
    MECHANISM_STATUS = 0xbd,
    READ_CD = 0xbe,

    REPLY_MAX = 512,
    CD_BLOCK = 2048,
    MAX_UNMAP = 256,
};

static uint32_t block_size(const struct scsi_lun *l)
{
    return l->cd ? CD_BLOCK : l->disk->logical;
}

static uint64_t n_blocks(const struct scsi_lun *l)
{
    return disk_bytes(l->disk) / block_size(l);
}

unsigned scsi_cdb_length(uint8_t opcode)
{
    static const uint8_t by_group[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };

    return by_group[opcode >> 5];
}

/* ---- endings ---- */

static void fill_sense(uint8_t *s, uint8_t key, uint8_t asc, uint8_t ascq)
{
    memset(s, 0, SCSI_SENSE_BYTES);
    s[0] = 0x70;
    s[2] = key;
    s[7] = 10;
    s[12] = asc;
    s[13] = ascq;
}

static void finish(struct scsi_req *r)
{
    free(r->part);
    free(r->data);
    r->part = NULL;
    r->data = NULL;
    r->done(r);
}

static void good(struct scsi_req *r, size_t transferred)
{
    r->status = SCSI_GOOD;
    r->transferred = transferred;
    r->lun->key = r->lun->asc = r->lun->ascq = 0;
    finish(r);
}

static void check(struct scsi_req *r, uint8_t key, uint8_t asc, uint8_t ascq)
{
    r->status = SCSI_CHECK_CONDITION;
    r->transferred = 0;
    r->lun->key = key;
    r->lun->asc = asc;
    r->lun->ascq = ascq;
    fill_sense(r->sense, key, asc, ascq);
    finish(r);
}

static void illegal(struct scsi_req *r)
{
    check(r, SENSE_ILLEGAL_REQUEST, 0x24, 0); /* invalid field in CDB */
}

static void reply(struct scsi_req *r, const void *data, size_t len, size_t allocation)
{
    size_t n = len < allocation ? len : allocation;

    good(r, iov_write(r->iov, r->n_iov, 0, data, n));
}

/* ---- reading and writing ---- */

static void io_done(struct block_req *req, int result)
{
    struct scsi_req *r = (struct scsi_req *)req;

    if (result < 0 && req->op != BLOCK_DISCARD &&
        disk_error_stops(r->lun->disk, r->lun->id, req->op, result)) {
        machine_retry(r->lun->disk->m, req);
    } else if (result == 0) {
        good(r, req->op == BLOCK_READ || req->op == BLOCK_WRITE ? req->len : 0);
    } else if (result == -ENOSPC) {
        check(r, SENSE_DATA_PROTECT, 0x27, 7); /* space allocation failed */
    } else {
        check(r, SENSE_MEDIUM_ERROR, req->op == BLOCK_READ ? 0x11 : 0x0c, 0);
    }
}

static void submit(struct scsi_req *r, enum block_op op, uint64_t block, uint64_t count,
                   unsigned flags)
{
    struct scsi_lun *l = r->lun;
    uint32_t size = block_size(l);
    bool data = op == BLOCK_READ || op == BLOCK_WRITE;

    if (op != BLOCK_FLUSH && !range_within(block, count, n_blocks(l))) {
        check(r, SENSE_ILLEGAL_REQUEST, 0x21, 0); /* block address out of range */
        return;
    }
    if (op != BLOCK_READ && op != BLOCK_FLUSH && disk_read_only(l->disk)) {
        check(r, SENSE_DATA_PROTECT, 0x27, 0);
        return;
    }
    if (count == 0 && op != BLOCK_FLUSH) {
        good(r, 0);
        return;
    }
    r->req = (struct block_req) {
        .node = l->disk->node,
        .op = op,
        .flags = flags,
        .off = block * size,
        .len = count * size,
        .done = io_done,
    };
    if (data) {
        r->part = calloc(r->n_iov > 0 ? r->n_iov : 1, sizeof(*r->part));
        if (r->part == NULL || r->req.len > BLOCK_MAX_BYTES ||
            iov_size(r->iov, r->n_iov) < r->req.len) {
            illegal(r);
            return;
        }
        r->req.n_iov = iov_slice(r->iov, r->n_iov, 0, r->req.len, r->part, r->n_iov);
        r->req.iov = r->part;
    }
    block_submit(&r->req);
}

struct range {
    uint64_t block, count;
};

static bool data_range(const uint8_t *c, struct range *ret)
{
    switch (c[0]) {
    case READ_6:
    case WRITE_6:
        ret->block = be32_get(c) & 0x1fffff;
        ret->count = c[4] != 0 ? c[4] : 256;
        return true;
    case READ_10:
    case WRITE_10:
    case WRITE_VERIFY_10:
    case VERIFY_10:
    case SYNCHRONIZE_10:
    case WRITE_SAME_10:
        ret->block = be32_get(c + 2);
        ret->count = be16_get(c + 7);
        return true;
    case READ_12:
    case WRITE_12:
        ret->block = be32_get(c + 2);
        ret->count = be32_get(c + 6);
        return true;
    case READ_16:
    case WRITE_16:
    case VERIFY_16:
    case SYNCHRONIZE_16:
    case WRITE_SAME_16:
        ret->block = be64_get(c + 2);
        ret->count = be32_get(c + 10);
        return true;
    case READ_CD:
        ret->block = be32_get(c + 2);
        ret->count = (uint32_t)c[6] << 16 | (uint32_t)c[7] << 8 | c[8];
        return true;
    default:
        return false;
    }
}

int64_t scsi_transfer(const struct scsi_lun *l, const uint8_t *c)
{
    struct range range = { 0, 0 };

    (void)data_range(c, &range);
    switch (c[0]) {
    case READ_6:
    case READ_10:
    case READ_12:
    case READ_16:
    case READ_CD:
        return (int64_t)min_u64(range.count * block_size(l), BLOCK_MAX_BYTES);
    case WRITE_6:
    case WRITE_10:
    case WRITE_12:
    case WRITE_16:
    case WRITE_VERIFY_10:
        return -(int64_t)min_u64(range.count * block_size(l), BLOCK_MAX_BYTES);
    case WRITE_SAME_10:
    case WRITE_SAME_16:
        return -(int64_t)block_size(l);
    case REQUEST_SENSE:
    case INQUIRY:
    case MODE_SENSE_6:
        return c[4];
    case MODE_SELECT_6:
        return -(int64_t)c[4];
    case MODE_SELECT_10:
    case UNMAP:
        return -(int64_t)be16_get(c + 7);
    case READ_CAPACITY_10:
        return 8;
    case READ_TOC:
    case GET_CONFIGURATION:
    case GET_EVENT:
    case READ_DISC_INFO:
    case MODE_SENSE_10:
        return be16_get(c + 7);
    case MECHANISM_STATUS:
    case READ_DVD_STRUCTURE:
        return be16_get(c + 8);
    case SERVICE_ACTION_IN:
        return be32_get(c + 10);
    case REPORT_LUNS:
        return be32_get(c + 6);
    default:
        return 0;
    }
}

/* ---- what a unit says about itself ---- */

static void put_padded(uint8_t *to, const char *s, size_t len)
{
    size_t n = strnlen(s, len);

    memset(to, ' ', len);
    memcpy(to, s, n);
}

static void inquiry(struct scsi_req *r)
{
    struct scsi_lun *l = r->lun;
    const uint8_t *c = r->cdb;
    uint8_t d[REPLY_MAX] = { 0 };
    const char *serial = disk_serial(l->disk);
    size_t n = 36;

    d[0] = l->cd ? 5 : 0;
    if ((c[1] & 1) == 0) {
        d[1] = l->cd ? 0x80 : 0; /* removable */
        d[2] = 5;                /* SPC-3 */
        d[3] = 2;
        d[4] = (uint8_t)(n - 5);
        d[7] = 2; /* command queueing */
        put_padded(d + 8, l->vendor, 8);
        put_padded(d + 16, l->product, 16);
        put_padded(d + 32, l->version, 4);
        reply(r, d, n, c[4] | (size_t)c[3] << 8);
        return;
    }
    d[1] = c[2];
    switch (c[2]) {
    case 0x00: {
        static const uint8_t disk_pages[] = { 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2 };

        n = l->cd ? 3 : sizeof(disk_pages);
        memcpy(d + 4, disk_pages, n);
        break;
    }
    case 0x80:
        n = strlen(serial);
        memcpy(d + 4, serial, n);
        break;
    case 0x83: {
        const char *name = l->device_id != NULL ? l->device_id : serial;
        size_t len = strnlen(name, 64);

        d[4] = 2; /* ASCII */
        d[7] = (uint8_t)len;
        memcpy(d + 8, name, len);
        n = 4 + len;
        if (l->wwn != 0) {
            d[4 + n] = 1;
            d[5 + n] = 3;
            d[7 + n] = 8;
            be64_put(d + 8 + n, l->wwn);
            n += 12;
        }
        break;
    }
    case 0xb0: /* block limits (SBC-3, 6.6.4) */
        n = 0x3c;
        be32_put(d + 8, (uint32_t)(1 << 21) / (block_size(l) / SECTOR_BYTES));
        be32_put(d + 20, 0x200000 / (block_size(l) / SECTOR_BYTES)); /* unmap blocks */
        be32_put(d + 24, 255);
        be64_put(d + 36, 0x200000);
        break;
    case 0xb1: /* not rotating is not claimed; form factor unknown */
        n = 0x3c;
        break;
    case 0xb2: /* logical block provisioning: UNMAP and WRITE SAME */
        n = 4;
        d[5] = 0xe0;
        d[6] = 2;
        break;
    default:
        illegal(r);
        return;
    }
    if (l->cd && c[2] >= 0xb0) {
        illegal(r);
        return;
    }
    be16_put(d + 2, (uint16_t)n);
    reply(r, d, n + 4, c[4] | (size_t)c[3] << 8);
}

/* One mode page (SBC-3, 6.5; MMC-5, 7); returns its length, 0: there is none. */
static size_t mode_page(const struct scsi_lun *l, uint8_t page, bool changeable, uint8_t *p)
{
    static const uint8_t capabilities[] = { 0x2a, 0x14, 0x3b, 0, 0x71, 0x60, 0x29, 0,
                                            0x02, 0xc2, 0,    2, 0x02, 0,    0x02, 0xc2,
                                            0,    0,    0,    0, 0,    0 };

    memset(p, 0, 32);
    switch (page) {
    case 0x01: /* error recovery */
        p[0] = 1;
        p[1] = 10;
        p[2] = changeable ? 0 : 0x80;
        return 12;
    case 0x08: /* caching */
        if (l->cd) {
            return 0;
        }
        p[0] = 8;
        p[1] = 0x12;
        p[2] = changeable ? 0 : 4; /* write cache on */
        return 20;
    case 0x2a:
        if (!l->cd) {
            return 0;
        }
        memcpy(p, capabilities, sizeof(capabilities));
        if (l->disk->tray_locked) {
            p[6] |= 2;
        }
        return sizeof(capabilities);
    default:
        return 0;
    }
}

static void mode_sense(struct scsi_req *r)
{
    static const uint8_t pages[] = { 0x01, 0x08, 0x2a };
    const struct scsi_lun *l = r->lun;
    const uint8_t *c = r->cdb;
    bool ten = c[0] == MODE_SENSE_10;
    bool changeable = (c[2] >> 6) == 1;
    uint8_t page = c[2] & 0x3f;
    uint8_t d[REPLY_MAX] = { 0 };
    size_t n = ten ? 8 : 4;
    size_t header = n;

    if (c[2] >> 6 == 3) {
        check(r, SENSE_ILLEGAL_REQUEST, 0x39, 0); /* saving is not supported */
        return;
    }
    if (!l->cd && (c[1] & 8) == 0) { /* a block descriptor */
        be32_put(d + n, (uint32_t)min_u64(n_blocks(l), 0xffffff));
        be32_put(d + n + 4, block_size(l));
        n += 8;
    }
    for (size_t i = 0; i < sizeof(pages); i++) {
        if (page == 0x3f || page == pages[i]) {
            n += mode_page(l, pages[i], changeable, d + n);
        }
    }
    if (n <= header + 8 && page != 0x3f && page != 0) {
        uint8_t scratch[32];

        if (mode_page(l, page, false, scratch) == 0) {
            illegal(r);
            return;
        }
    }
    if (ten) {
        be16_put(d, (uint16_t)(n - 2));
        d[3] = (uint8_t)(!l->cd ? 0x10 | (disk_read_only(l->disk) ? 0x80 : 0) : 0);
        be16_put(d + 6, !l->cd && (c[1] & 8) == 0 ? 8 : 0);
        reply(r, d, n, be16_get(c + 7));
    } else {
        d[0] = (uint8_t)(n - 1);
        d[2] = (uint8_t)(!l->cd ? 0x10 | (disk_read_only(l->disk) ? 0x80 : 0) : 0);
        d[3] = !l->cd && (c[1] & 8) == 0 ? 8 : 0;
        reply(r, d, n, c[4]);
    }
}

/* (MMC-5, 6.25): one data track and the lead-out. */
static void read_toc(struct scsi_req *r)
{
    const uint8_t *c = r->cdb;
    bool msf = (c[1] & 2) != 0;
    unsigned format = (c[2] & 0xf) != 0 ? c[2] & 0xf : c[9] >> 6;
    uint32_t end = (uint32_t)n_blocks(r->lun);
    uint8_t d[64] = { 0 };
    size_t n = 4;

    d[2] = d[3] = 1;
    if (format == 0) {
        if (c[6] > 1 && c[6] != 0xaa) {
            illegal(r);
            return;
        }
        for (unsigned i = 0; i < 2; i++) {
            uint32_t at = i == 0 ? 0 : end;

            if (i == 0 && c[6] > 1) {
                continue;
            }
            d[n + 1] = 0x14;
            d[n + 2] = i == 0 ? 1 : 0xaa;
            if (msf) {
                at += 150;
                d[n + 5] = (uint8_t)(at / 75 / 60);
                d[n + 6] = (uint8_t)(at / 75 % 60);
                d[n + 7] = (uint8_t)(at % 75);
            } else {
                be32_put(d + n + 4, at);
            }
            n += 8;
        }
    } else if (format == 1) {
        n = 12;
        d[5] = 0x14;
        d[6] = 1;
    } else {
        illegal(r);
        return;
    }
    be16_put(d, (uint16_t)(n - 2));
    reply(r, d, n, be16_get(c + 7));
}

static void get_configuration(struct scsi_req *r)
{
    uint8_t d[64] = { 0 };
    uint64_t bytes = disk_bytes(r->lun->disk);
    unsigned profile = bytes == 0 ? 0 : bytes > 800u << 20 ? 0x10 : 8; /* DVD-ROM, CD-ROM */
    size_t n = 8;

    be16_put(d + 6, (uint16_t)profile);
    /* Profile list */
    d[n + 2] = 3;
    d[n + 3] = 8;
    be16_put(d + n + 4, 0x10);
    d[n + 6] = profile == 0x10;
    be16_put(d + n + 8, 8);
    d[n + 10] = profile == 8;
    n += 12;
    /* Core: ATAPI */
    be16_put(d + n, 1);
    d[n + 2] = 0xb;
    d[n + 3] = 8;
    be32_put(d + n + 4, 2);
    d[n + 8] = 1;
    n += 12;
    /* Removable medium: tray, ejects */
    be16_put(d + n, 3);
    d[n + 2] = 3;
    d[n + 3] = 4;
    d[n + 4] = 0x39;
    n += 8;
    be32_put(d, (uint32_t)(n - 4));
    reply(r, d, n, be16_get(r->cdb + 7));
}

static void get_event(struct scsi_req *r)
{
    struct disk *disk = r->lun->disk;
    uint8_t d[8] = { 0 };

    if ((r->cdb[1] & 1) == 0) {
        illegal(r);
        return;
    }
    if ((r->cdb[4] & 0x10) == 0) {
        d[1] = 2;
        d[2] = 0x80;
        d[3] = 0x10;
        reply(r, d, 4, be16_get(r->cdb + 7));
        return;
    }
    d[1] = 6;
    d[2] = 4; /* media */
    d[3] = 0x10;
    d[4] = disk->medium_changed ? 2 : 0;
    d[5] = (uint8_t)((disk->tray_open ? 1 : 0) | (disk_bytes(disk) > 0 ? 2 : 0));
    disk->medium_changed = false;
    reply(r, d, 8, be16_get(r->cdb + 7));
}

static void start_stop(struct scsi_req *r)
{
    struct disk *disk = r->lun->disk;
    bool start = (r->cdb[4] & 1) != 0;

    if (r->lun->cd && (r->cdb[4] & 2) != 0) {
        if (!start && disk->tray_locked) {
            check(r, SENSE_ILLEGAL_REQUEST, 0x53, 2); /* removal prevented */
            return;
        }
        if (disk->tray_open == start) {
            disk->tray_open = !start;
            machine_event(disk->m, "DEVICE_TRAY_MOVED",
                          "{\"device\": \"%s\", \"id\": \"%s\", \"tray-open\": %s}",
                          disk->drive != NULL ? disk->drive : "",
                          r->lun->id != NULL ? r->lun->id : "", start ? "false" : "true");
        }
    }
    good(r, 0);
}

static void read_capacity(struct scsi_req *r)
{
    const struct scsi_lun *l = r->lun;
    uint64_t n = n_blocks(l);
    uint8_t d[32] = { 0 };

    if (r->cdb[0] == READ_CAPACITY_10) {
        be32_put(d, (uint32_t)min_u64(n - 1, UINT32_MAX));
        be32_put(d + 4, block_size(l));
        reply(r, d, 8, 8);
        return;
    }
    be64_put(d, n - 1);
    be32_put(d + 8, block_size(l));
    while (block_size(l) << d[13] < l->disk->physical) {
        d[13]++;
    }
    d[14] = 0xc0; /* thin, unmapped blocks read as zeroes */
    reply(r, d, 32, be32_get(r->cdb + 10));
}

static void report_luns(struct scsi_req *r)
{
    uint8_t d[16] = { 0 };

    be32_put(d, 8);
    reply(r, d, sizeof(d), be32_get(r->cdb + 6));
}

static void request_sense(struct scsi_req *r)
{
    uint8_t s[SCSI_SENSE_BYTES];

    if (r->lun->unit_attention) {
        fill_sense(s, SENSE_UNIT_ATTENTION, 0x29, 0);
        r->lun->unit_attention = false;
    } else {
        fill_sense(s, r->lun->key, r->lun->asc, r->lun->ascq);
    }
    reply(r, s, sizeof(s), r->cdb[4]);
}

/* UNMAP's list, one range after the other: the last one's end ends the command. */
static void unmap_next(struct block_req *req, int result)
{
    struct scsi_req *r = (struct scsi_req *)req;
    size_t len = be16_get(r->data + 2);
    uint32_t size = block_size(r->lun);

    (void)result; /* a hint that was not taken is no error */
    while (r->transferred + 16 <= len) {
        const uint8_t *d = r->data + 8 + r->transferred;
        uint64_t block = be64_get(d);
        uint64_t count = be32_get(d + 8);

        r->transferred += 16;
        if (!range_within(block, count, n_blocks(r->lun))) {
            check(r, SENSE_ILLEGAL_REQUEST, 0x21, 0);
            return;
        }
        if (count > 0) {
            r->req = (struct block_req) {
                .node = r->lun->disk->node,
                .op = BLOCK_DISCARD,
                .off = block * size,
                .len = min_u64(count * size, BLOCK_MAX_BYTES),
                .done = unmap_next,
            };
            block_submit(&r->req);
            return;
        }
    }
    good(r, 0);
}

static void unmap(struct scsi_req *r)
{
    size_t len = be16_get(r->cdb + 7);

    if (disk_read_only(r->lun->disk)) {
        check(r, SENSE_DATA_PROTECT, 0x27, 0);
        return;
    }
    r->data = calloc(1, len + 8);
    if (r->data == NULL || len < 8 || len > 8 + 16 * MAX_UNMAP ||
        iov_read(r->iov, r->n_iov, 0, r->data, len) != len || be16_get(r->data + 2) + 8u > len) {
        illegal(r);
        return;
    }
    r->transferred = 0;
    unmap_next(&r->req, 0);
}

/* Writing one block over a range; of zeroes or by unmapping only. */
static void write_same(struct scsi_req *r)
{
    struct range range;
    uint8_t block[4096] = { 0 };
    uint32_t size = block_size(r->lun);
    bool unmap_bit = (r->cdb[1] & 8) != 0;
    bool no_data = r->cdb[0] == WRITE_SAME_16 && (r->cdb[1] & 1) != 0;
    size_t n =
        no_data ? 0
                : iov_read(r->iov, r->n_iov, 0, block, size < sizeof(block) ? size : sizeof(block));

    (void)data_range(r->cdb, &range);
    for (size_t i = 0; i < n; i++) {
        if (block[i] != 0) {
            illegal(r);
            return;
        }
    }
    if (range.count == 0) {
        range.count = n_blocks(r->lun) > range.block ? n_blocks(r->lun) - range.block : 0;
    }
    submit(r, BLOCK_WRITE_ZEROES, range.block, range.count, unmap_bit ? BLOCK_REQ_MAY_UNMAP : 0);
}

static bool needs_medium(uint8_t op)
{
    switch (op) {
    case INQUIRY:
    case REQUEST_SENSE:
    case REPORT_LUNS:
    case MODE_SENSE_6:
    case MODE_SENSE_10:
    case MODE_SELECT_6:
    case MODE_SELECT_10:
    case START_STOP:
    case ALLOW_REMOVAL:
    case GET_EVENT:
    case GET_CONFIGURATION:
    case MECHANISM_STATUS:
    case SET_SPEED:
    case SEND_DIAGNOSTIC:
    case RESERVE_6:
    case RELEASE_6:
        return false;
    default:
        return true;
    }
}

static void cd_command(struct scsi_req *r)
{
    uint8_t d[40] = { 0 };
    struct range range;

    switch (r->cdb[0]) {
    case READ_TOC:
        read_toc(r);
        break;
    case GET_CONFIGURATION:
        get_configuration(r);
        break;
    case GET_EVENT:
        get_event(r);
        break;
    case READ_DISC_INFO:
        be16_put(d, 32);
        d[2] = 0xe; /* complete */
        d[3] = d[4] = d[5] = d[6] = 1;
        d[7] = 0x20;
        reply(r, d, 34, be16_get(r->cdb + 7));
        break;
    case MECHANISM_STATUS:
        d[5] = 1;
        reply(r, d, 8, be16_get(r->cdb + 8));
        break;
    case SET_SPEED:
        good(r, 0);
        break;
    case READ_CD:
        (void)data_range(r->cdb, &range);
        if ((r->cdb[9] & 0xf8) != 0x10 && (r->cdb[9] & 0xf8) != 0) {
            illegal(r);
        } else {
            submit(r, BLOCK_READ, range.block, (r->cdb[9] & 0xf8) == 0 ? 0 : range.count, 0);
        }
        break;
    default:
        check(r, SENSE_ILLEGAL_REQUEST, 0x20, 0); /* invalid operation code */
        break;
    }
}

static void run(struct scsi_req *r)
{
    struct range range = { 0, 0 };
    const uint8_t *c = r->cdb;

    (void)data_range(c, &range);
    switch (c[0]) {
    case READ_6:
    case READ_10:
    case READ_12:
    case READ_16:
        submit(r, BLOCK_READ, range.block, range.count, 0);
        break;
    case WRITE_6:
    case WRITE_10:
    case WRITE_12:
    case WRITE_16:
    case WRITE_VERIFY_10:
        submit(r, BLOCK_WRITE, range.block, range.count,
               c[0] != WRITE_6 && (c[1] & 8) != 0 ? BLOCK_REQ_FUA : 0);
        break;
    case SYNCHRONIZE_10:
    case SYNCHRONIZE_16:
        submit(r, BLOCK_FLUSH, 0, 0, 0);
        break;
    case VERIFY_10:
    case VERIFY_16:
    case TEST_UNIT_READY:
    case SEEK_10:
    case MODE_SELECT_6:
    case MODE_SELECT_10:
    case SEND_DIAGNOSTIC:
    case RESERVE_6:
    case RELEASE_6:
        good(r, 0);
        break;
    case REQUEST_SENSE:
        request_sense(r);
        break;
    case INQUIRY:
        inquiry(r);
        break;
    case MODE_SENSE_6:
    case MODE_SENSE_10:
        mode_sense(r);
        break;
    case START_STOP:
        start_stop(r);
        break;
    case ALLOW_REMOVAL:
        r->lun->disk->tray_locked = (c[4] & 1) != 0;
        good(r, 0);
        break;
    case READ_CAPACITY_10:
        read_capacity(r);
        break;
    case SERVICE_ACTION_IN:
        if ((c[1] & 0x1f) == 0x10) {
            read_capacity(r);
        } else {
            illegal(r);
        }
        break;
    case REPORT_LUNS:
        report_luns(r);
        break;
    case UNMAP:
        unmap(r);
        break;
    case WRITE_SAME_10:
    case WRITE_SAME_16:
        write_same(r);
        break;
    default:
        if (r->lun->cd) {
            cd_command(r);
        } else {
            check(r, SENSE_ILLEGAL_REQUEST, 0x20, 0);
        }
        break;
    }
}

void scsi_start(struct scsi_req *r)
{
    struct scsi_lun *l = r->lun;
    uint8_t op = r->cdb[0];

    r->part = NULL;
    r->data = NULL;
    r->transferred = 0;
    if (l->unit_attention && op != INQUIRY && op != REQUEST_SENSE && op != REPORT_LUNS &&
        op != GET_EVENT && op != GET_CONFIGURATION) {
        l->unit_attention = false;
        check(r, SENSE_UNIT_ATTENTION, l->disk->medium_changed ? 0x28 : 0x29, 0);
        return;
    }
    if (disk_bytes(l->disk) == 0 && needs_medium(op)) {
        check(r, SENSE_NOT_READY, 0x3a, l->disk->tray_open ? 2 : 1);
        return;
    }
    run(r);
}

void scsi_lun_reset(struct scsi_lun *l)
{
    l->unit_attention = true;
    l->key = l->asc = l->ascq = 0;
    l->disk->tray_locked = false;
}
