/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * log.c - the log ([MS-VHDX], 2.3): a ring of entries, each a header of 64 bytes, descriptors of 32
 * bytes, and sectors of 4 KiB.
 *
 * Entry: 0 "loge", 4 checksum, 8 length, 12 tail (where the oldest entry still needed begins), 16
 * sequence number, 24 descriptors, 32 log's GUID, 48 flushed file offset, 56 last file offset.
 * Descriptor: "zero" (8 length, 16 file offset, 24 sequence) or "desc" (4 the sector's last 4
 * bytes, 8 its first 8, 16 file offset, 24 sequence). Sector: 0 "data", 4 sequence's upper half, 8
 * bytes 8 to 4091 of what it is for, 4092 the lower half.
 *
 * Here an entry is put in its place as soon as it is on disk, and the next one says that it needs
 * no earlier one: what it does not hold itself was either flushed, or nobody has been told that it
 * is.
 */
#include "block/format/vhdx/vhdx.h"

#include "base/bytes.h"
#include "os/random.h"

#include <errno.h>
#include <string.h>

enum { ENTRY_HEADER = 64, DESCRIPTOR = 32, MAX_ENTRIES = 1 << 14 };

#define LOGE 0x65676f6cu
#define DESC 0x63736564u
#define ZERO 0x6f72657au
#define DATA 0x61746164u

struct entry {
    uint64_t sequence;
    uint32_t off; /* in the log */
    uint32_t len;
    uint32_t tail;
};

/* Bytes of the ring, around its end. */
static int read_ring(struct vhdx *v, const uint8_t *log, uint32_t off, uint32_t len, uint8_t *out)
{
    uint32_t first = (uint32_t)min_u64(len, v->log.len - off);

    memcpy(out, log + off, first);
    memcpy(out + first, log, len - first);
    return 0;
}

static uint32_t descriptor_sectors(uint32_t n)
{
    return (uint32_t)((ENTRY_HEADER + (uint64_t)n * DESCRIPTOR + VHDX_LOG_SECTOR - 1) /
                      VHDX_LOG_SECTOR);
}

/* Is there an entry of this log at off? Its whole content, owned, in *ret_data. */
static bool valid_entry(struct vhdx *v, const uint8_t *log, uint32_t off, struct entry *ret,
                        uint8_t **ret_data)
{
    const uint8_t *h = log + off;
    uint32_t len = le32_get(h + 8);
    uint32_t n = le32_get(h + 24);
    uint32_t at;
    uint8_t *e;
    bool good = true;

    if (le32_get(h) != LOGE || len == 0 || len % VHDX_LOG_SECTOR != 0 || len > v->log.len ||
        le32_get(h + 12) % VHDX_LOG_SECTOR != 0 || le32_get(h + 12) >= v->log.len ||
        le64_get(h + 16) == 0 || memcmp(h + 32, v->log.guid, VHDX_GUID) != 0 ||
        n > len / DESCRIPTOR || descriptor_sectors(n) > len / VHDX_LOG_SECTOR) {
        return false;
    }
    e = malloc(len);
    if (e == NULL) {
        return false;
    }
    (void)read_ring(v, log, off, len, e);
    *ret = (struct entry) {
        .sequence = le64_get(e + 16), .off = off, .len = len, .tail = le32_get(e + 12)
    };
    at = descriptor_sectors(n) * VHDX_LOG_SECTOR;
    if (vhdx_checksum(e, len) != le32_get(e + 4)) {
        good = false;
    }
    for (uint32_t i = 0; good && i < n; i++) {
        const uint8_t *d = e + ENTRY_HEADER + (size_t)i * DESCRIPTOR;

        good = le64_get(d + 24) == ret->sequence && le64_get(d + 16) % VHDX_LOG_SECTOR == 0 &&
               le64_get(d + 16) <= BLOCK_MAX_LENGTH;
        if (good && le32_get(d) == DESC) {
            good = at + VHDX_LOG_SECTOR <= len && le32_get(e + at) == DATA &&
                   le32_get(e + at + 4) == ret->sequence >> 32 &&
                   le32_get(e + at + 4092) == (uint32_t)ret->sequence;
            at += VHDX_LOG_SECTOR;
        } else if (good) {
            good = le32_get(d) == ZERO && le64_get(d + 8) % VHDX_LOG_SECTOR == 0;
        }
    }
    if (!good || ret_data == NULL) {
        free(e);
    } else {
        *ret_data = e;
    }
    return good;
}

/* The entries from the tail of the newest whole sequence on; *ret_n 0: the log is empty. */
static int find_sequence(struct vhdx *v, const uint8_t *log, struct entry **ret, unsigned *ret_n)
{
    struct entry *best = calloc(MAX_ENTRIES, sizeof(*best));
    struct entry *now = calloc(MAX_ENTRIES, sizeof(*now));
    uint32_t from = 0;
    unsigned n_best = 0;

    if (best == NULL || now == NULL) {
        free(best);
        free(now);
        return -ENOMEM;
    }
    while (from < v->log.len) {
        struct entry e;
        uint32_t at = from;
        uint32_t total = 0;
        unsigned n = 0;
        bool has_tail = false;

        while (n < MAX_ENTRIES && total < v->log.len && valid_entry(v, log, at, &e, NULL) &&
               (n == 0 || e.sequence == now[n - 1].sequence + 1)) {
            now[n++] = e;
            total += e.len;
            at = (at + e.len) % v->log.len;
        }
        /* The newest entry's tail must be in the sequence ([MS-VHDX], 2.3.2). */
        for (unsigned i = 0; i < n; i++) {
            has_tail |= now[i].off == now[n - 1].tail;
        }
        if (has_tail && (n_best == 0 || now[n - 1].sequence > best[n_best - 1].sequence)) {
            struct entry *swap = best;

            best = now;
            now = swap;
            n_best = n;
            from = best[n - 1].off >= from ? best[n - 1].off + best[n - 1].len : v->log.len;
            continue;
        }
        from += VHDX_LOG_SECTOR;
    }
    free(now);
    *ret = best;
    *ret_n = n_best;
    return 0;
}

static int apply(struct vhdx *v, const uint8_t *e)
{
    uint32_t n = le32_get(e + 24);
    uint32_t at = descriptor_sectors(n) * VHDX_LOG_SECTOR;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < n; i++) {
        const uint8_t *d = e + ENTRY_HEADER + (size_t)i * DESCRIPTOR;
        uint64_t off = le64_get(d + 16);

        if (le32_get(d) == ZERO) {
            uint64_t len = le64_get(d + 8);

            r = len <= BLOCK_MAX_LENGTH - off ? block_write_zeroes(v->t.node.file, off, len, 0)
                                              : -EIO;
        } else {
            uint8_t sector[VHDX_LOG_SECTOR];

            memcpy(sector, d + 8, 8);
            memcpy(sector + 8, e + at + 8, 4084);
            memcpy(sector + 4092, d + 4, 4);
            r = block_pwrite(v->t.node.file, sector, sizeof(sector), off);
            at += VHDX_LOG_SECTOR;
        }
    }
    return r;
}

static int replay_entry(struct vhdx *v, const uint8_t *log, const struct entry *which,
                        struct err **err)
{
    AUTO_FREE uint8_t *e = NULL;
    struct entry again;
    int64_t len = block_length(v->t.node.file);
    int r;

    if (!valid_entry(v, log, which->off, &again, &e)) {
        return -ENOMEM;
    }
    if (len < 0 || le64_get(e + 48) > (uint64_t)len) {
        return err_set(err, EINVAL,
                       "the file was cut: its log speaks of %llu bytes, there are %lld",
                       (unsigned long long)le64_get(e + 48), (long long)len);
    }
    r = apply(v, e);
    if (r == 0 && le64_get(e + 56) > (uint64_t)block_length(v->t.node.file) &&
        le64_get(e + 56) <= BLOCK_MAX_LENGTH) {
        r = block_truncate(v->t.node.file, le64_get(e + 56), BLOCK_PREALLOC_OFF, err);
    }
    return r;
}

int vhdx_log_replay(struct vhdx *v, struct err **err)
{
    AUTO_FREE struct entry *entries = NULL;
    AUTO_FREE uint8_t *log = NULL;
    unsigned n = 0;
    unsigned from = 0;
    int r;

    log = malloc(v->log.len + 1ull);
    r = log != NULL ? block_pread(v->t.node.file, log, v->log.len, v->log.off) : -ENOMEM;
    if (r == 0) {
        r = find_sequence(v, log, &entries, &n);
    }
    if (r < 0) {
        return err_set(err, -r, "cannot read the log: %s", strerror(-r));
    }
    if (n > 0 && v->t.node.read_only) {
        return err_set(err, EPERM,
                       "VHDX image file '%s' opened read-only, but contains a log that needs to be "
                       "replayed: run 'vireo-img check -r all' on it",
                       v->t.node.filename != NULL ? v->t.node.filename : "");
    }
    while (from < n && entries[from].off != entries[n - 1].tail) {
        from++;
    }
    for (unsigned i = from; r == 0 && i < n; i++) {
        r = replay_entry(v, log, &entries[i], err);
    }
    if (r == 0 && n > 0) {
        r = block_flush(v->t.node.file);
        v->replayed = r == 0;
    }
    if (r == 0 && !v->t.node.read_only) {
        memset(v->log.guid, 0, sizeof(v->log.guid));
        r = vhdx_write_header(v, false);
    }
    return r < 0 ? err_set(err, -r, "cannot replay the log: %s", strerror(-r)) : 0;
}

static bool has_guid(const struct vhdx_log *log)
{
    static const uint8_t none[VHDX_GUID];

    return memcmp(log->guid, none, VHDX_GUID) != 0;
}

int vhdx_log_write(struct vhdx *v, const uint8_t *sector, uint64_t off)
{
    enum { ENTRY = 2 * VHDX_LOG_SECTOR };
    struct block_node *file = v->t.node.file;
    uint8_t e[ENTRY] = { 0 };
    uint8_t *d = e + ENTRY_HEADER;
    uint8_t *s = e + VHDX_LOG_SECTOR;
    int64_t len = block_length(file);
    int r = 0;

    if (!has_guid(&v->log)) {
        random_bytes(v->log.guid, sizeof(v->log.guid));
        v->log.sequence = 0;
        v->log.next = 0;
        r = vhdx_write_header(v, true);
    }
    if (r < 0 || len < 0) {
        return r < 0 ? r : (int)len;
    }
    v->log.sequence++;
    le32_put(e, LOGE);
    le32_put(e + 8, ENTRY);
    le32_put(e + 12, v->log.next);
    le64_put(e + 16, v->log.sequence);
    le32_put(e + 24, 1);
    memcpy(e + 32, v->log.guid, VHDX_GUID);
    le64_put(e + 48, (uint64_t)len);
    le64_put(e + 56, (uint64_t)len);
    le32_put(d, DESC);
    memcpy(d + 4, sector + 4092, 4);
    memcpy(d + 8, sector, 8);
    le64_put(d + 16, off);
    le64_put(d + 24, v->log.sequence);
    le32_put(s, DATA);
    le32_put(s + 4, (uint32_t)(v->log.sequence >> 32));
    memcpy(s + 8, sector + 8, 4084);
    le32_put(s + 4092, (uint32_t)v->log.sequence);
    le32_put(e + 4, vhdx_checksum(e, sizeof(e)));
    /* Entries are all of one size, which the ring's length is a multiple of. */
    r = block_pwrite(file, e, sizeof(e), v->log.off + v->log.next);
    if (r == 0) {
        r = block_flush(file);
    }
    if (r == 0) {
        v->log.next = (v->log.next + ENTRY) % v->log.len;
        r = block_pwrite(file, sector, VHDX_LOG_SECTOR, off);
    }
    return r;
}
