/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cloop.c - compressed loop images, read-only (Knoppix' cloop.h, version 2).
 *
 * Big-endian: 128 bytes of a shell script, 128 a block's size, 132 blocks, 136 the blocks' places,
 * one more than there are blocks. Each block is a zlib stream. Limits: blocks of 64 MiB, 512 MiB of
 * places.
 */
#include "block/format/table.h"

#include "base/bytes.h"
#include "block/format/inflate.h"

#include <errno.h>
#include <string.h>

enum { HEADER = 136, MAX_BLOCK = 64 << 20, MAX_PLACES = 512 << 20 };

struct cloop {
    struct table_node t;
    uint8_t *places; /* owned, as on disk */
    uint32_t n;
    uint32_t block;
};

static int cloop_probe(const uint8_t *h, size_t len, const char *filename)
{
    static const char script[] =
        "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 "
        "/dev/cloop $1\n";

    (void)filename;
    return len >= sizeof(script) - 1 && memcmp(h, script, sizeof(script) - 1) == 0 ? 2 : 0;
}

static int lookup(struct table_node *t, uint64_t off, struct table_entry *ret)
{
    struct cloop *c = (struct cloop *)t;
    uint64_t i = off / c->block;

    ret->kind = TABLE_SPECIAL;
    ret->start = i * c->block;
    ret->len = c->block;
    ret->host = be64_get(c->places + i * 8);
    ret->aux = be64_get(c->places + i * 8 + 8) - ret->host;
    return 0;
}

static int read_special(struct table_node *t, const struct table_entry *e, uint8_t *buf)
{
    AUTO_FREE uint8_t *raw = malloc(e->aux + 1);
    int r = raw != NULL ? block_pread(t->node.file, raw, e->aux, e->host) : -ENOMEM;

    return r == 0 ? inflate_zlib(raw, e->aux, buf, e->len) : r;
}

static const struct table_ops ops = { .lookup = lookup, .read_special = read_special };

static int check_places(const struct cloop *c, uint64_t file_len, struct err **err)
{
    for (uint32_t i = 0; i < c->n; i++) {
        uint64_t from = be64_get(c->places + i * 8ull);
        uint64_t to = be64_get(c->places + i * 8ull + 8);

        if (to < from || to - from > 2ull * MAX_BLOCK || to > file_len) {
            return err_set(
                err, EINVAL,
                "offsets not monotonically increasing at index %u, image file is corrupt", i + 1);
        }
    }
    return 0;
}

static int cloop_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct cloop *c = (struct cloop *)node;
    uint8_t h[HEADER];
    int r;

    if (!node->read_only) {
        return err_set(err, EACCES, "cloop images are opened read-only");
    }
    r = block_open_file_child(node, opts, err);
    if (r == 0) {
        r = block_pread(node->file, h, sizeof(h), 0);
    }
    if (r < 0) {
        return r;
    }
    c->block = be32_get(h + 128);
    c->n = be32_get(h + 132);
    if (c->block == 0 || c->block % BLOCK_SECTOR != 0 || c->block > MAX_BLOCK) {
        return err_set(err, EINVAL, "block_size %u must be a multiple of 512, at most 64 MB",
                       c->block);
    }
    r = table_read_all(node->file, HEADER, c->n + 1ull, 8, MAX_PLACES, &c->places, err);
    if (r == 0) {
        r = check_places(c, (uint64_t)block_length(node->file), err);
    }
    c->t.size = (uint64_t)c->n * c->block;
    table_init(&c->t, &ops);
    return r;
}

static void cloop_close(struct block_node *node)
{
    struct cloop *c = (struct cloop *)node;

    table_done(&c->t);
    free(c->places);
}

const struct block_driver block_cloop = {
    .name = "cloop",
    .size = sizeof(struct cloop),
    .probe = cloop_probe,
    .open = cloop_open,
    .close = cloop_close,
    .length = table_length,
    .preadv = table_preadv,
};
