/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blklogwrites.c - a filter that records what is written, in the format of the kernel's
 * dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst), so that a crash at any
 * moment can be made up from it (file=, log=, log-append=, log-sector-size=).
 *
 * Log: a sector with 0 magic, 8 version 1, 16 entries, 24 sector size; then for each entry a sector
 * with 0 first sector, 8 sectors, 16 flags (1 flush, 2 FUA, 4 discard, 8 mark), 24 bytes of data,
 * which follow. Writes that do not fill sectors are logged as the sectors that they result in. A
 * change of the file's length is a mark with the text "length N".
 */
#include "block/filter/pass.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/iov.h"
#include "codec/keyval.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    LOG_FLUSH = 1 << 0,
    LOG_DISCARD = 1 << 2,
    LOG_MARK = 1 << 3,
    LOG_ENTRY = 32,
    ZEROES = 1 << 20,
};

#define LOG_MAGIC   0x6a736677736872ull
#define LOG_VERSION 1

struct blklogwrites {
    struct block_node node;
    struct block_node *log; /* borrowed from children */
    uint32_t sector;
    pthread_mutex_t lock; /* order in the log is order on the disk */
    uint64_t n;
    uint64_t end; /* of the log, bytes */
};

static int write_super(struct blklogwrites *b)
{
    uint8_t super[32];

    le64_put(super, LOG_MAGIC);
    le64_put(super + 8, LOG_VERSION);
    le64_put(super + 16, b->n);
    le32_put(super + 24, b->sector);
    le32_put(super + 28, 0);
    return block_pwrite(b->log, super, 28, 0);
}

/* Goes on after what another run recorded. */
static int find_end(struct blklogwrites *b, struct err **err)
{
    uint8_t head[LOG_ENTRY];
    uint64_t n;
    int r = block_pread(b->log, head, sizeof(head), 0);

    if (r < 0 || le64_get(head) != LOG_MAGIC || le64_get(head + 8) != LOG_VERSION ||
        le32_get(head + 24) != b->sector) {
        return err_set(err, EINVAL, "blklogwrites: this is no log to append to");
    }
    n = le64_get(head + 16);
    for (b->end = b->sector; b->n < n; b->n++) {
        uint64_t len;

        r = block_pread(b->log, head, sizeof(head), b->end);
        len = le64_get(head + 16) & LOG_DISCARD ? 0 : le64_get(head + 24);
        if (r < 0 || len > BLOCK_MAX_BYTES || b->end > BLOCK_MAX_LENGTH) {
            return err_set(err, EINVAL, "blklogwrites: the log's entries make no sense");
        }
        b->end += b->sector + round_up_u64(len, b->sector);
    }
    return 0;
}

static int blklogwrites_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct blklogwrites *b = (struct blklogwrites *)node;
    unsigned long long sector = 0;
    bool append = false;
    int r = keyval_get_size(opts, "log-sector-size", BLOCK_SECTOR, &sector, err);

    (void)pthread_mutex_init(&b->lock, NULL);
    if (r == 0) {
        r = keyval_get_bool(opts, "log-append", false, &append, err);
    }
    if (r == 0 && (sector < 512 || sector > 1 << 20 || (sector & (sector - 1)) != 0)) {
        r = err_set(err, EINVAL, "log-sector-size is a power of two, 512 bytes to 1 MiB");
    }
    if (r == 0) {
        r = pass_open(node, opts, "file", err);
    }
    if (r == 0) {
        r = block_open_child(node, opts, "log", &b->log, err);
    }
    if (r < 0) {
        return r;
    }
    b->sector = (uint32_t)sector;
    b->end = b->sector;
    return append ? find_end(b, err) : write_super(b);
}

static void blklogwrites_close(struct block_node *node)
{
    (void)pthread_mutex_destroy(&((struct blklogwrites *)node)->lock);
}

/* Under the lock. */
static int record(struct blklogwrites *b, uint64_t off, uint64_t len, unsigned flags,
                  const void *data, uint64_t data_len)
{
    uint8_t head[LOG_ENTRY];
    int r;

    le64_put(head, off / b->sector);
    le64_put(head + 8, len / b->sector);
    le64_put(head + 16, flags);
    le64_put(head + 24, data_len);
    r = block_pwrite(b->log, head, sizeof(head), b->end);
    if (r == 0 && data_len > 0) {
        r = block_pwrite(b->log, data, data_len, b->end + b->sector);
    }
    if (r == 0) {
        b->end += b->sector + round_up_u64(data_len, b->sector);
        b->n++;
        r = write_super(b);
    }
    return r;
}

/* The sectors that hold the range, as they are now. */
static int record_range(struct blklogwrites *b, uint64_t off, uint64_t len)
{
    uint64_t end = round_up_u64(off + len, b->sector);
    int r = 0;

    off = round_down_u64(off, b->sector);
    while (r == 0 && off < end) {
        uint64_t part = min_u64(end - off, ZEROES);
        AUTO_FREE uint8_t *buf = malloc(part);

        r = buf != NULL ? block_pread(b->node.file, buf, part, off) : -ENOMEM;
        if (r == 0) {
            r = record(b, off, part, 0, buf, part);
        }
        off += part;
    }
    return r;
}

static int record_length(struct blklogwrites *b)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "length %lld", (long long)block_length(b->node.file));

    return record(b, 0, 0, LOG_MARK, text, (uint64_t)len);
}

/* Records the range if the request went well, and the file's length if that changed. */
static int finish(struct blklogwrites *b, int r, int64_t length, uint64_t off, uint64_t len)
{
    if (r == 0 && block_length(b->node.file) != length) {
        r = record_length(b);
    }
    if (r == 0 && len > 0) {
        r = record_range(b, off, len);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return r;
}

static int64_t begin(struct blklogwrites *b)
{
    (void)pthread_mutex_lock(&b->lock);
    return block_length(b->node.file);
}

static int blklogwrites_pwritev(struct block_node *node, const struct iovec *iov, unsigned n,
                                uint64_t off)
{
    struct blklogwrites *b = (struct blklogwrites *)node;
    int64_t length = begin(b);

    return finish(b, pass_pwritev(node, iov, n, off), length, off, iov_len(iov, n));
}

static int blklogwrites_write_zeroes(struct block_node *node, uint64_t off, uint64_t len,
                                     unsigned flags)
{
    struct blklogwrites *b = (struct blklogwrites *)node;
    int64_t length = begin(b);

    return finish(b, pass_write_zeroes(node, off, len, flags), length, off, len);
}

static int blklogwrites_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    struct blklogwrites *b = (struct blklogwrites *)node;
    int64_t length = begin(b);

    return finish(b, pass_discard(node, off, len), length, off, len);
}

static int blklogwrites_truncate(struct block_node *node, uint64_t len,
                                 enum block_prealloc prealloc, struct err **err)
{
    struct blklogwrites *b = (struct blklogwrites *)node;
    int64_t length = begin(b);

    return finish(b, pass_truncate(node, len, prealloc, err), length, 0, 0);
}

static int blklogwrites_flush(struct block_node *node)
{
    struct blklogwrites *b = (struct blklogwrites *)node;
    int r;

    (void)pthread_mutex_lock(&b->lock);
    r = pass_flush(node);
    if (r == 0) {
        r = record(b, 0, 0, LOG_FLUSH, NULL, 0);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return r;
}

const struct block_driver block_blklogwrites = {
    .name = "blklogwrites",
    .is_filter = true,
    .size = sizeof(struct blklogwrites),
    .open = blklogwrites_open,
    .close = blklogwrites_close,
    .length = pass_length,
    .preadv = pass_preadv,
    .pwritev = blklogwrites_pwritev,
    .write_zeroes = blklogwrites_write_zeroes,
    .discard = blklogwrites_discard,
    .flush = blklogwrites_flush,
    .truncate = blklogwrites_truncate,
    .status = pass_status,
};
