/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blkverify.c - a filter that writes to an image and to a raw one beside it, and compares what is
 * read (test=, raw=). A difference fails the read with EIO; trace point blkverify_mismatch says
 * where it is.
 */
#include "block/filter/pass.h"

#include "base/log.h"
#include "base/str.h"
#include "block/core/iov.h"
#include "codec/keyval.h"

#include <errno.h>
#include <string.h>

struct blkverify {
    struct block_node node;
    struct block_node *raw; /* borrowed from children */
};

static int blkverify_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct blkverify *b = (struct blkverify *)node;
    int r;

    if (keyval_get(opts, "raw.driver") == NULL && keyval_get(opts, "raw") == NULL &&
        keyval_add(opts, "raw.driver", "raw") < 0) {
        return -ENOMEM;
    }
    r = block_open_child(node, opts, "raw", &b->raw, err);
    return r == 0 ? pass_open(node, opts, "test", err) : r;
}

static int blkverify_preadv(struct block_node *node, const struct iovec *iov, unsigned n,
                            uint64_t off)
{
    struct blkverify *b = (struct blkverify *)node;
    size_t len = iov_len(iov, n);
    AUTO_FREE uint8_t *want = malloc(len + 1);
    AUTO_FREE uint8_t *got = malloc(len + 1);
    int r = want != NULL && got != NULL ? pass_preadv(node, iov, n, off) : -ENOMEM;

    if (r == 0) {
        r = block_pread(b->raw, want, len, off);
    }
    if (r < 0) {
        return r;
    }
    iov_to_buf(iov, n, 0, got, len);
    for (size_t i = 0; i < len; i++) {
        if (got[i] != want[i]) {
            TRACE(blkverify_mismatch, "byte %llu is 0x%02x, should be 0x%02x",
                  (unsigned long long)(off + i), got[i], want[i]);
            return -EIO;
        }
    }
    return 0;
}

static int blkverify_pwritev(struct block_node *node, const struct iovec *iov, unsigned n,
                             uint64_t off)
{
    int r = block_pwritev(((struct blkverify *)node)->raw, iov, n, off);

    return r == 0 ? pass_pwritev(node, iov, n, off) : r;
}

static int blkverify_write_zeroes(struct block_node *node, uint64_t off, uint64_t len,
                                  unsigned flags)
{
    int r = block_write_zeroes(((struct blkverify *)node)->raw, off, len,
                               flags & ~(unsigned)BLOCK_REQ_NO_FALLBACK);

    return r == 0 ? pass_write_zeroes(node, off, len, flags) : r;
}

static int blkverify_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                              struct err **err)
{
    int r = block_truncate(((struct blkverify *)node)->raw, len, BLOCK_PREALLOC_OFF, err);

    return r == 0 ? pass_truncate(node, len, prealloc, err) : r;
}

/* "blkverify:RAW:IMAGE". */
static int parse_filename(const char *filename, struct keyval *opts, struct err **err)
{
    const char *raw = filename + strlen("blkverify:");
    const char *image = strchr(raw, ':');
    AUTO_FREE char *name = image != NULL ? strndup(raw, (size_t)(image - raw)) : NULL;
    int r;

    if (image == NULL) {
        return err_set(err, EINVAL, "'%s': write blkverify:RAW:IMAGE", filename);
    }
    r = name != NULL ? keyval_add(opts, "raw.file.filename", name) : -ENOMEM;
    return r == 0 ? keyval_add(opts, "test.filename", image + 1) : r;
}

static const char *const schemes[] = { "blkverify", NULL };

/* Discards are not passed on: what is read afterwards may differ and be right. */
const struct block_driver block_blkverify = {
    .name = "blkverify",
    .is_filter = true,
    .size = sizeof(struct blkverify),
    .schemes = schemes,
    .parse_filename = parse_filename,
    .open = blkverify_open,
    .close = pass_close,
    .length = pass_length,
    .preadv = blkverify_preadv,
    .pwritev = blkverify_pwritev,
    .write_zeroes = blkverify_write_zeroes,
    .flush = pass_flush,
    .truncate = blkverify_truncate,
    .status = pass_status,
};
