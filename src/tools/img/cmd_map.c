/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_map.c - which parts of an image are where. */
#include "tools/img/img.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct entry {
    uint64_t start;
    uint64_t len;
    unsigned flags;
    unsigned depth;
    uint64_t host_off;
    struct block_node *host;
};

enum { SHOWN = BLOCK_DATA | BLOCK_ZERO | BLOCK_ALLOCATED | BLOCK_OFFSET | BLOCK_COMPRESSED };

static int dump_json(const struct entry *e, bool first)
{
    printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
           ", \"depth\": %u, \"present\": %s, \"zero\": %s, \"data\": %s",
           first ? "[" : ",\n", e->start, e->len, e->depth,
           (e->flags & BLOCK_ALLOCATED) != 0 ? "true" : "false",
           (e->flags & BLOCK_ZERO) != 0 ? "true" : "false",
           (e->flags & BLOCK_DATA) != 0 ? "true" : "false");
    if ((e->flags & BLOCK_OFFSET) != 0) {
        printf(", \"offset\": %" PRIu64, e->host_off);
    }
    printf("}");
    return 0;
}

static int dump_human(const struct entry *e)
{
    if ((e->flags & BLOCK_DATA) != 0 && (e->flags & BLOCK_OFFSET) == 0) {
        (void)fflush(stdout);
        return img_fail("File contains external, encrypted or compressed clusters.");
    }
    if ((e->flags & BLOCK_DATA) != 0 && (e->flags & BLOCK_ZERO) == 0) {
        printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", e->start, e->len,
               (e->flags & BLOCK_OFFSET) != 0 ? e->host_off : 0,
               e->host != NULL && e->host->filename != NULL ? e->host->filename : "");
    }
    return 0;
}

static bool mergeable(const struct entry *a, const struct entry *b)
{
    return a->flags == b->flags && a->depth == b->depth && a->host == b->host &&
           ((a->flags & BLOCK_OFFSET) == 0 || a->host_off + a->len == b->host_off);
}

/* The first image down the chain that says data or zeroes. */
static int status_of(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret,
                     unsigned *ret_depth)
{
    int r = 0;

    *ret_depth = 0;
    for (node = block_skip_filters(node);; node = block_backing(node)) {
        r = block_status(node, off, len, ret);
        if (r < 0 || (ret->flags & (BLOCK_DATA | BLOCK_ZERO)) != 0 || block_backing(node) == NULL) {
            return r;
        }
        len = ret->len;
        *ret_depth += 1;
    }
}

static int map(struct block_node *node, uint64_t start, uint64_t end, bool json)
{
    struct entry now = { 0 };
    bool first = true;
    int r = 0;

    if (!json) {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    }
    for (uint64_t off = start; r == 0 && off < end;) {
        struct block_extent ext;
        struct entry e;
        unsigned depth;
        int s = status_of(node, off, min_u64(end - off, 1ull << 30), &ext, &depth);

        if (s < 0) {
            return img_fail("Failed to read image metadata: %s", strerror(-s));
        }
        e = (struct entry) { .start = off,
                             .len = ext.len,
                             .flags = ext.flags & SHOWN & ~(unsigned)BLOCK_COMPRESSED,
                             .depth = depth,
                             .host_off = (ext.flags & BLOCK_OFFSET) != 0 ? ext.host_off : 0,
                             .host = (ext.flags & BLOCK_OFFSET) != 0 ? block_skip_filters(ext.host)
                                                                     : NULL };
        off += ext.len;
        if (now.len > 0 && mergeable(&now, &e)) {
            now.len += e.len;
            continue;
        }
        if (now.len > 0) {
            r = json ? dump_json(&now, first) : dump_human(&now);
            first = false;
        }
        now = e;
    }
    if (r == 0 && now.len > 0) {
        r = json ? dump_json(&now, first) : dump_human(&now);
        first = false;
    }
    if (json) {
        printf("%s]\n", first ? "[" : "");
    }
    return r;
}

static int run(struct img *img, int argc, char **argv)
{
    static const struct option longs[] = { IMG_COMMON_LONGS,
                                           { "start-offset", required_argument, 0, 's' },
                                           { "max-length", required_argument, 0, 'l' },
                                           { 0 } };
    struct img_open how = { 0 };
    struct block_node *node;
    uint64_t start = 0;
    uint64_t max = UINT64_MAX;
    uint64_t size;
    int json = 0;
    int r;
    int c;

    while ((c = getopt_long(argc, argv, ":f:s:l:hU", longs, NULL)) != -1) {
        switch (c) {
        case 's':
            if (img_size("start offset", optarg, &start) != 0) {
                return 1;
            }
            break;
        case 'l':
            if (img_size("max length", optarg, &max) != 0) {
                return 1;
            }
            break;
        default:
            if (!img_common_option(img, c, &how, &json, &r)) {
                return img_bad_option(c, argv);
            }
            if (r != 0) {
                return r;
            }
        }
    }
    if (optind != argc - 1) {
        return img_usage("Expecting one image file name");
    }
    node = img_open(img, argv[optind], &how);
    if (node == NULL) {
        return 1;
    }
    size = (uint64_t)block_length(node);
    r = map(node, min_u64(start, size), max < size - min_u64(start, size) ? start + max : size,
            json);
    (void)block_unref(node);
    return r;
}

const struct img_command img_map = {
    .name = "map",
    .usage =
        "[--object objectdef] [--image-opts] [-f fmt] [--start-offset=offset] [--max-length=len] [--output=ofmt] [-U] filename",
    .run = run,
};
