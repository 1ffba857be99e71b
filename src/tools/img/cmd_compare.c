/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_compare.c - whether two images have the same content. Exit status: 0 yes, 1 no, above an
 * error: 2 opening, 3 finding out what is allocated, 4 reading. */
#include "tools/img/img.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/iov.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { EXIT_SAME, EXIT_DIFFERENT, EXIT_OPEN, EXIT_STATUS, EXIT_READ, CHUNK = 256 << 10 };

struct side {
    struct block_node *node;
    const char *name;
    uint64_t size;
    struct block_extent ext; /* from ext_off */
    uint64_t ext_off;
    uint8_t *buf; /* owned */
};

static int status_at(struct side *s, uint64_t off)
{
    if (off >= s->ext_off && off < s->ext_off + s->ext.len) {
        return 0;
    }
    s->ext_off = off;
    return block_status_above(s->node, NULL, off, s->size - off, &s->ext, NULL);
}

static int report(bool quiet, int code, const char *fmt, uint64_t off)
{
    if (!quiet) {
        printf(fmt, off);
        printf("\n");
    }
    return code;
}

/* One image says zeroes: is the other's data zeroes, too? */
static int check_zero(struct side *s, uint64_t off, uint64_t len, bool quiet)
{
    while (len > 0) {
        size_t n = min_u64(len, CHUNK);
        int r = block_pread(s->node, s->buf, n, off);

        if (r < 0) {
            (void)img_fail("Error while reading offset %" PRIu64 " of %s: %s", off, s->name,
                           strerror(-r));
            return EXIT_READ;
        }
        if (!buf_is_zero(s->buf, n)) {
            for (size_t i = 0; i < n; i += BLOCK_SECTOR) {
                if (!buf_is_zero(s->buf + i, min_u64(BLOCK_SECTOR, n - i))) {
                    return report(quiet, EXIT_DIFFERENT, "Content mismatch at offset %" PRIu64 "!",
                                  off + i);
                }
            }
        }
        off += n;
        len -= n;
    }
    return EXIT_SAME;
}

static int compare_data(struct side *a, struct side *b, uint64_t off, size_t len, bool quiet)
{
    struct side *sides[2] = { a, b };

    for (int i = 0; i < 2; i++) {
        int r = block_pread(sides[i]->node, sides[i]->buf, len, off);

        if (r < 0) {
            (void)img_fail("Error while reading offset %" PRIu64 " of %s: %s", off, sides[i]->name,
                           strerror(-r));
            return EXIT_READ;
        }
    }
    if (memcmp(a->buf, b->buf, len) != 0) {
        size_t i = 0;

        while (memcmp(a->buf + i, b->buf + i, min_u64(BLOCK_SECTOR, len - i)) == 0) {
            i += BLOCK_SECTOR;
        }
        return report(quiet, EXIT_DIFFERENT, "Content mismatch at offset %" PRIu64 "!", off + i);
    }
    return EXIT_SAME;
}

static int compare_common(struct side *a, struct side *b, uint64_t size, bool strict, bool quiet)
{
    for (uint64_t off = 0; off < size;) {
        uint64_t len;
        bool a_data;
        bool b_data;
        int r = EXIT_SAME;

        if (status_at(a, off) < 0 || status_at(b, off) < 0) {
            (void)img_fail("Sector allocation test failed for %s",
                           status_at(a, off) < 0 ? a->name : b->name);
            return EXIT_STATUS;
        }
        len = min_u64(min_u64(a->ext_off + a->ext.len, b->ext_off + b->ext.len), size) - off;
        a_data = (a->ext.flags & BLOCK_ZERO) == 0;
        b_data = (b->ext.flags & BLOCK_ZERO) == 0;
        if (strict &&
            (a->ext.flags & ~(unsigned)(BLOCK_OFFSET | BLOCK_EOF | BLOCK_COMPRESSED)) !=
                (b->ext.flags & ~(unsigned)(BLOCK_OFFSET | BLOCK_EOF | BLOCK_COMPRESSED))) {
            return report(quiet, EXIT_DIFFERENT,
                          "Strict mode: Offset %" PRIu64 " block status mismatch!", off);
        }
        if (a_data && b_data) {
            len = min_u64(len, CHUNK);
            r = compare_data(a, b, off, len, quiet);
        } else if (a_data || b_data) {
            r = check_zero(a_data ? a : b, off, len, quiet);
        }
        if (r != EXIT_SAME) {
            return r;
        }
        off += len;
        img_progress((double)off * 100.0 / (double)size);
    }
    return EXIT_SAME;
}

/* What one image has more than the other must be zeroes. */
static int compare_rest(struct side *s, uint64_t from, bool quiet)
{
    for (uint64_t off = from; off < s->size;) {
        uint64_t len;
        int r = EXIT_SAME;

        if (status_at(s, off) < 0) {
            (void)img_fail("Sector allocation test failed for %s", s->name);
            return EXIT_STATUS;
        }
        len = s->ext_off + s->ext.len - off;
        if ((s->ext.flags & BLOCK_ALLOCATED) != 0 && (s->ext.flags & BLOCK_ZERO) == 0) {
            r = check_zero(s, off, len, quiet);
        }
        if (r != EXIT_SAME) {
            return r;
        }
        off += len;
    }
    return EXIT_SAME;
}

static int compare(struct side *a, struct side *b, bool strict, bool quiet)
{
    uint64_t common = min_u64(a->size, b->size);
    int r;

    if (strict && a->size != b->size) {
        if (!quiet) {
            printf("Strict mode: Image size mismatch!\n");
        }
        return EXIT_DIFFERENT;
    }
    r = compare_common(a, b, common, strict, quiet);
    if (r == EXIT_SAME && a->size != b->size) {
        if (!quiet) {
            printf("Warning: Image size mismatch!\n");
        }
        r = compare_rest(a->size > b->size ? a : b, common, quiet);
    }
    if (r == EXIT_SAME && !quiet) {
        printf("Images are identical.\n");
    }
    return r;
}

static int run(struct img *img, int argc, char **argv)
{
    static const struct option longs[] = { IMG_COMMON_LONGS, { 0 } };
    struct img_open how = { 0 };
    struct side sides[2] = { 0 };
    const char *second_fmt = NULL;
    bool strict = false;
    bool progress = false;
    int json = 0;
    int r = 0;
    int c;

    while ((c = getopt_long(argc, argv, ":hf:F:T:pqsU", longs, NULL)) != -1) {
        if (c == 'F') {
            second_fmt = optarg;
        } else if (c == 'p') {
            progress = true;
        } else if (c == 's') {
            strict = true;
        } else if (!img_common_option(img, c, &how, &json, &r)) {
            (void)img_bad_option(c, argv);
            return EXIT_OPEN;
        } else if (r != 0) {
            return EXIT_OPEN;
        }
    }
    if (argc - optind != 2) {
        (void)img_usage("Expecting two image file names");
        return EXIT_OPEN;
    }
    for (int i = 0; i < 2 && r == 0; i++) {
        struct img_open each = how;

        each.fmt = i == 0 ? how.fmt : second_fmt;
        sides[i].name = argv[optind + i];
        sides[i].node = img_open(img, sides[i].name, &each);
        sides[i].buf = malloc(CHUNK);
        r = sides[i].node == NULL || sides[i].buf == NULL ? EXIT_OPEN : 0;
        sides[i].size = r == 0 ? (uint64_t)block_length(sides[i].node) : 0;
    }
    if (r == 0) {
        img_progress_begin(progress && !how.quiet);
        r = compare(&sides[0], &sides[1], strict, how.quiet);
        img_progress_end();
    }
    for (int i = 0; i < 2; i++) {
        (void)block_unref(sides[i].node);
        free(sides[i].buf);
    }
    return r;
}

const struct img_command img_compare = {
    .name = "compare",
    .usage =
        "[--object objectdef] [--image-opts] [-f fmt] [-F fmt] [-T src_cache] [-p] [-q] [-s] [-U] filename1 filename2",
    .run = run,
};
