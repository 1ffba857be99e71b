/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_resize.c - another size for an image. */
#include "tools/img/img.h"

#include "base/str.h"
#include "block/core/image.h"

#include <inttypes.h>
#include <stdio.h>

/* "+SIZE", "-SIZE" or "SIZE" as a size in all. */
static int target_size(const char *text, int64_t old, uint64_t *ret)
{
    char sign = *text;
    uint64_t n;

    if (sign == '+' || sign == '-') {
        text++;
    }
    if (img_size("image size", text, &n) != 0) {
        return 1;
    }
    if (sign == '+') {
        *ret = (uint64_t)old + n;
    } else if (sign == '-') {
        if (n >= (uint64_t)old) {
            return img_fail("New image size must be positive");
        }
        *ret = (uint64_t)old - n;
    } else {
        *ret = n;
    }
    return *ret == 0 ? img_fail("New image size must be positive") : 0;
}

static int resize(struct block_node *node, const char *size, enum block_prealloc prealloc,
                  bool shrink, bool quiet)
{
    int64_t old = block_length(node);
    struct err *err = NULL;
    uint64_t want;
    int r;

    if (target_size(size, old, &want) != 0) {
        return 1;
    }
    if (want < (uint64_t)old && prealloc != BLOCK_PREALLOC_OFF) {
        return img_fail("Preallocation can only be used for growing images");
    }
    if (want < (uint64_t)old && !shrink) {
        if (str_eq(node->drv->name, "raw")) {
            (void)img_fail("Use the --shrink option to perform a shrink operation.");
            (void)fprintf(
                stderr,
                "vireo-img: warning: Shrinking an image will delete all data beyond the shrunken image's end. Before performing such an operation, make sure there is no important data there.\n");
            return 1;
        }
        return img_fail(
            "Use the --shrink option to perform a shrink operation: data behind the new end will be lost.");
    }
    r = block_truncate(node, want, prealloc, &err);
    if (r < 0) {
        return img_fail_err(err, r);
    }
    r = block_flush(node);
    if (r < 0) {
        return img_fail_err(NULL, r);
    }
    if (!quiet) {
        printf("Image resized.\n");
    }
    return 0;
}

static int run(struct img *img, int argc, char **argv)
{
    enum { OPT_PREALLOC = OPT_FIRST_OWN, OPT_SHRINK };
    static const struct option longs[] = { IMG_COMMON_LONGS,
                                           { "preallocation", required_argument, 0, OPT_PREALLOC },
                                           { "shrink", no_argument, 0, OPT_SHRINK },
                                           { 0 } };
    struct img_open how = { .write = true };
    enum block_prealloc prealloc = BLOCK_PREALLOC_OFF;
    struct block_node *node;
    struct err *err = NULL;
    const char *size;
    bool shrink = false;
    int json = 0;
    int r = 0;
    int c;

    /* The size comes last and may look like an option: "-1G". */
    if (argc < 3) {
        return img_usage("Not enough arguments");
    }
    size = argv[--argc];
    while ((c = getopt_long(argc, argv, ":f:hq", longs, NULL)) != -1) {
        if (c == OPT_PREALLOC) {
            r = block_prealloc_parse(optarg, &prealloc, &err);
            if (r < 0) {
                return img_fail("Invalid preallocation mode '%s'", optarg);
            }
        } else if (c == OPT_SHRINK) {
            shrink = true;
        } else if (!img_common_option(img, c, &how, &json, &r)) {
            return img_bad_option(c, argv);
        } else if (r != 0) {
            return r;
        }
    }
    if (optind != argc - 1) {
        return img_usage("Expecting image file name and size");
    }
    node = img_open(img, argv[optind], &how);
    if (node == NULL) {
        return 1;
    }
    r = resize(node, size, prealloc, shrink, how.quiet);
    (void)block_unref(node);
    return r;
}

const struct img_command img_resize = {
    .name = "resize",
    .usage =
        "[--object objectdef] [--image-opts] [-f fmt] [--preallocation=prealloc] [-q] [--shrink] filename [+ | -]size",
    .run = run,
};
