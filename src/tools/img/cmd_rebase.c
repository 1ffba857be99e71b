/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_rebase.c - another backing image. */
#include "tools/img/img.h"

#include "base/str.h"
#include "block/core/image.h"
#include "block/job/commit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    img_progress((double)done * 100.0 / (double)total);
}

struct rebase {
    const char *name;
    const char *backing;
    const char *backing_fmt;
    const char *src_cache;
    bool unsafe;
};

/* What the overlay sees of the old backing image but not of the new one goes into the overlay. */
static int copy_difference(struct img *img, struct block_node *node, const struct rebase *rb,
                           struct err **err)
{
    CLEANUP(block_unrefp) struct block_node *below = NULL;
    struct block_transfer t = { .progress = on_progress };

    if (*rb->backing != '\0') {
        AUTO_FREE char *path = block_path_combine(node->filename, rb->backing);
        struct img_open how = { .fmt = rb->backing_fmt, .cache = rb->src_cache };

        below = path != NULL ? img_open(img, path, &how) : NULL;
        if (below == NULL) {
            return -EIO;
        }
    }
    return block_rebase_images(node, below, &t, err);
}

static int rebase(struct img *img, struct block_node *node, const struct rebase *rb)
{
    struct err *err = NULL;
    int r = 0;

    if (rb->backing_fmt != NULL && block_driver_find(rb->backing_fmt) == NULL) {
        return img_fail("Invalid format name: '%s'", rb->backing_fmt);
    }
    if (node->drv->change_backing == NULL) {
        return img_fail("images of format %s have no backing file", node->drv->name);
    }
    if (*rb->backing != '\0' && rb->backing_fmt == NULL) {
        return img_fail(
            "Could not change the backing file to '%s': backing format must be specified (-F)",
            rb->backing);
    }
    if (!rb->unsafe) {
        r = copy_difference(img, node, rb, &err);
        if (r < 0 && err == NULL) {
            return 1; /* said already */
        }
        if (r < 0) {
            err_prefix(&err, "error while copying from the old backing file: ");
            return img_fail_err(err, r);
        }
    }
    r = *rb->backing != '\0' ? block_change_backing_file(node, rb->backing, rb->backing_fmt, &err)
                             : block_change_backing_file(node, NULL, NULL, &err);
    if (r < 0) {
        err_prefix(&err, "Could not change the backing file to '%s': ", rb->backing);
        return img_fail_err(err, r);
    }
    img_progress_end();
    return 0;
}

static int run(struct img *img, int argc, char **argv)
{
    static const struct option longs[] = { IMG_COMMON_LONGS, { 0 } };
    struct img_open how = { .write = true };
    struct rebase rb = { 0 };
    struct block_node *node;
    bool progress = false;
    int json = 0;
    int r = 0;
    int c;

    while ((c = getopt_long(argc, argv, ":hf:F:b:upt:T:qU", longs, NULL)) != -1) {
        if (c == 'F') {
            rb.backing_fmt = optarg;
        } else if (c == 'b') {
            rb.backing = optarg;
        } else if (c == 'u') {
            rb.unsafe = true;
        } else if (c == 'p') {
            progress = true;
        } else if (c == 't') {
            how.cache = optarg;
            r = img_cache_check(optarg);
        } else if (c == 'T') {
            rb.src_cache = optarg;
            r = img_cache_check(optarg);
        } else if (!img_common_option(img, c, &how, &json, &r)) {
            return img_bad_option(c, argv);
        }
        if (r != 0) {
            return r;
        }
    }
    if (optind != argc - 1) {
        return img_usage("Expecting one image file name");
    }
    if (rb.backing == NULL) {
        return img_usage("Must specify backing file (-b) or use simple rebase mode (-u)");
    }
    how.no_backing = rb.unsafe;
    how.force_share = false; /* the image itself is written */
    rb.name = argv[optind];
    node = img_open(img, rb.name, &how);
    if (node == NULL) {
        return 1;
    }
    img_progress_begin(progress && !how.quiet);
    r = rebase(img, node, &rb);
    (void)block_unref(node);
    return r;
}

const struct img_command img_rebase = {
    .name = "rebase",
    .usage =
        "[--object objectdef] [--image-opts] [-U] [-q] [-f fmt] [-t cache] [-T src_cache] [-p] [-u] -b backing_file [-F backing_fmt] filename",
    .run = run,
};
