/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-image.c - hostile images of every format: open, read, map, check, repair, write.
 *
 * Input: a byte that chooses the format, then pieces of the file, so that sparse images stay small:
 * 4 bytes where (in sectors), 2 bytes how long (little-endian), and that many bytes. fuzz/mkimages
 * makes such files. No other file than the image can be opened.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "base/str.h"
#include "block/core/image.h"
#include "block/core/snapshot.h"
#include "codec/keyval.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_SECTOR = 1 << 14, PIECE = 4096, MAX_EXTENTS = 256 };

static const char *const formats[] = { "qcow2", "qcow", "qed",  "vdi", "vpc",   "parallels",
                                       "luks",  "vmdk", "vhdx", "dmg", "cloop", "bochs" };

static int image = -1;

static int open_image(void *arg, const char *path, int flags, unsigned mode)
{
    char self[64];
    int fd;

    (void)arg;
    if (!str_eq(path, "image")) {
        return -EACCES;
    }
    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", image);
    fd = open(self, flags | O_CLOEXEC, mode);
    return fd >= 0 ? fd : -errno;
}

static void put_image(const uint8_t *data, size_t size)
{
    struct reader in = reader_of(data, size);

    if (image < 0) {
        (void)!fd_memfd("image", 0, &image);
        fd_set_opener(open_image, NULL);
        log_set_level(LOG_ERROR);
    }
    (void)!ftruncate(image, 0);
    while (in.left > 6) {
        uint32_t sector = reader_le32(&in) % MAX_SECTOR;
        size_t len = reader_le16(&in);
        const uint8_t *p;

        len = min_u64(len, in.left);
        p = reader_take(&in, len);

        (void)!fd_pwrite_all(image, p, len, (uint64_t)sector * 512);
    }
}

static void look(struct block_node *node)
{
    struct json_object *info = NULL;
    struct block_snapshot *list = NULL;
    uint8_t buf[PIECE];
    size_t n = 0;
    uint64_t length = (uint64_t)block_length(node);
    uint64_t places[] = { 0, length / 2, length > PIECE ? length - PIECE : 0 };
    uint64_t off = 0;

    if (block_image_info(node, &info, NULL) == 0) {
        json_object_put(info);
    }
    for (int i = 0; i < MAX_EXTENTS && off < length; i++) {
        struct block_extent ext;

        if (block_status(node, off, length - off, &ext) < 0) {
            break;
        }
        (void)!block_pread(node, buf, min_u64(ext.len, sizeof(buf)), off);
        off += ext.len;
    }
    for (unsigned i = 0; i < 3; i++) {
        (void)!block_pread(node, buf, min_u64(length, sizeof(buf)), places[i]);
    }
    if (block_snapshot_list(node, &list, &n) == 0) {
        block_snapshots_free(list, n);
    }
}

static void change(struct block_node *node)
{
    uint8_t buf[PIECE];
    uint64_t length = (uint64_t)block_length(node);

    memset(buf, 'x', sizeof(buf));
    if (length > 3 * PIECE) {
        (void)!block_pwrite(node, buf, sizeof(buf), 0);
        (void)!block_pwrite(node, buf, sizeof(buf), round_down_u64(length / 2, 512));
        (void)!block_pwrite(node, buf, sizeof(buf), length - PIECE);
        (void)!block_write_zeroes(node, PIECE, PIECE, BLOCK_REQ_MAY_UNMAP);
        (void)!block_discard(node, 0, 2 * PIECE);
    }
    (void)!block_flush(node);
    look(node);
}

static void run(const char *fmt, const char *flags, void (*fn)(struct block_node *))
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    struct block_ctx *ctx = NULL;
    struct block_node *node = NULL;
    char text[256];

    (void)snprintf(text, sizeof(text),
                   "driver=%s,\1no-backing=on,%s,file.driver=file,file.filename=image", fmt, flags);
    if (block_ctx_new(NULL, &ctx, NULL) == 0 && keyval_parse(text, NULL, false, &kv, NULL) == 0 &&
        block_open(ctx, kv, NULL, NULL, &node, NULL) == 0) {
        fn(node);
        (void)block_unref(node);
    }
    (void)block_ctx_free(ctx);
}

static void check(struct block_node *node)
{
    struct block_check ck = { 0 };

    (void)!block_check(node, &ck, NULL);
}

static void repair(struct block_node *node)
{
    struct block_check ck = { .fix = BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS };

    (void)!block_check(node, &ck, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *fmt;

    if (size < 8) {
        return 0;
    }
    fmt = formats[data[0] % (sizeof(formats) / sizeof(formats[0]))];
    if (block_driver_find(fmt) == NULL) {
        return 0;
    }
    put_image(data + 1, size - 1);
    run(fmt, "read-only=on", look);
    run(fmt, "read-only=on,\1check=on", check);
    put_image(data + 1, size - 1);
    run(fmt, "discard=unmap", change);
    put_image(data + 1, size - 1);
    run(fmt, "\1check=on", repair);
    run(fmt, "read-only=on", look);
    return 0;
}
