/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_dd.c - a part of an image into a new one. */
#include "tools/img/img.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/keyval.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct dd {
    uint64_t bs;
    uint64_t count;
    uint64_t skip;
    bool has_count;
    const char *in;
    const char *out;
    const char *out_fmt;
};

static int number(const char *what, const char *text, uint64_t *ret)
{
    return img_size(what, text, ret) != 0 ? 1 : 0;
}

static int parse(struct dd *dd, const char *arg)
{
    static const char *const names[] = { "bs=", "count=", "skip=", "if=", "of=" };

    for (int i = 0; i < 5; i++) {
        if (str_starts(arg, names[i])) {
            const char *v = arg + strlen(names[i]);

            switch (i) {
            case 0:
                if (number("number: 'bs'", v, &dd->bs) != 0) {
                    return 1;
                }
                return dd->bs == 0 || dd->bs > INT32_MAX ? img_fail("Invalid number: '%s'", v) : 0;
            case 1:
                dd->has_count = true;
                return number("number: 'count'", v, &dd->count);
            case 2:
                return number("number: 'skip'", v, &dd->skip);
            case 3:
                dd->in = v;
                return 0;
            default:
                dd->out = v;
                return 0;
            }
        }
    }
    return img_fail("unrecognized operand %s", arg);
}

static int copy(struct block_node *in, struct block_node *out, const struct dd *dd, uint64_t from,
                uint64_t size)
{
    AUTO_FREE uint8_t *buf = malloc(dd->bs);

    if (buf == NULL) {
        return img_fail("no memory for blocks of %" PRIu64 " bytes", dd->bs);
    }
    for (uint64_t done = 0; done < size;) {
        size_t n = min_u64(dd->bs, size - done);
        int r = block_pread(in, buf, n, from + done);

        if (r < 0) {
            return img_fail("error while reading from input image file: %s", strerror(-r));
        }
        r = block_pwrite(out, buf, n, done);
        if (r < 0) {
            return img_fail("error while writing to output image file: %s", strerror(-r));
        }
        done += n;
    }
    return 0;
}

static int dd_run(struct img *img, struct img_open *how, const struct dd *dd)
{
    CLEANUP(keyval_freep) struct keyval *opts = NULL;
    CLEANUP(block_unrefp) struct block_node *in = img_open(img, dd->in, how);
    CLEANUP(block_unrefp) struct block_node *out = NULL;
    struct img_open target = { .fmt = dd->out_fmt, .write = true, .cache = "unsafe" };
    struct err *err = NULL;
    uint64_t size;
    uint64_t from;
    char text[48];
    int r;

    if (in == NULL) {
        return 1;
    }
    if (block_driver_find(dd->out_fmt) == NULL) {
        return img_fail("Unknown file format '%s'", dd->out_fmt);
    }
    size = (uint64_t)block_length(in);
    if (dd->has_count && dd->count <= INT64_MAX / dd->bs && dd->count * dd->bs < size) {
        size = dd->count * dd->bs;
    }
    if (!u64_mul(dd->skip, dd->bs, &from) || from > (uint64_t)block_length(in)) {
        from = (uint64_t)block_length(in);
        (void)fprintf(stderr, "vireo-img: %s: cannot skip to specified offset\n", dd->in);
    }
    size = dd->has_count ? min_u64(size, (uint64_t)block_length(in) - from) : size - from;
    (void)snprintf(text, sizeof(text), "size=%" PRIu64, size);
    r = keyval_parse(text, NULL, false, &opts, &err);
    if (r == 0) {
        r = block_create(img->ctx, dd->out_fmt, dd->out, opts, &err);
    }
    if (r < 0) {
        err_prefix(&err, "%s: error while creating output image of type '%s': ", dd->out,
                   dd->out_fmt);
        return img_fail_err(err, r);
    }
    out = img_open(img, dd->out, &target);
    return out != NULL ? copy(in, out, dd, from, size) : 1;
}

static int run(struct img *img, int argc, char **argv)
{
    static const struct option longs[] = { IMG_COMMON_LONGS, { 0 } };
    struct dd dd = { .bs = 512, .out_fmt = "raw" };
    struct img_open how = { 0 };
    int json = 0;
    int r = 0;
    int c;

    while ((c = getopt_long(argc, argv, ":hf:O:U", longs, NULL)) != -1) {
        if (c == 'O') {
            dd.out_fmt = optarg;
        } else if (!img_common_option(img, c, &how, &json, &r)) {
            return img_bad_option(c, argv);
        } else if (r != 0) {
            return r;
        }
    }
    for (int i = optind; i < argc; i++) {
        if (parse(&dd, argv[i]) != 0) {
            return 1;
        }
    }
    if (dd.in == NULL || dd.out == NULL) {
        return img_usage("Must specify both input and output files");
    }
    return dd_run(img, &how, &dd);
}

const struct img_command img_dd = {
    .name = "dd",
    .usage =
        "[--image-opts] [-U] [-f fmt] [-O output_fmt] [bs=block_size] [count=blocks] [skip=blocks] if=input of=output",
    .run = run,
};
