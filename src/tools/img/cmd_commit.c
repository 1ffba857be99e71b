/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_commit.c - an overlay's content into its backing image. */
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

/* The image of the chain that the user means by name. */
static struct block_node *find_base(struct block_node *node, const char *name)
{
    for (struct block_node *n = node; n != NULL; n = block_backing(n)) {
        struct block_node *below = block_backing(n);
        AUTO_FREE char *full = block_full_backing_name(n);

        if (below != NULL && ((n->backing_file != NULL && str_eq(n->backing_file, name)) ||
                              (full != NULL && str_eq(full, name)))) {
            return below;
        }
    }
    return NULL;
}

static int commit(struct block_node *node, const char *base_name, bool drop,
                  struct block_transfer *t)
{
    struct block_node *base = base_name != NULL ? find_base(node, base_name) : block_backing(node);
    struct err *err = NULL;
    int r;

    if (base == NULL) {
        return base_name != NULL ? img_fail("Did not find '%s' in the backing chain of '%s'",
                                            base_name, node->filename)
                                 : img_fail("Image does not have a backing file");
    }
    r = block_set_read_only(base, false, &err);
    if (r == 0) {
        r = block_commit_images(node, base, t, &err);
    }
    if (r < 0) {
        err_prefix(&err, "Could not commit the image: ");
        return img_fail_err(err, r);
    }
    /* With images between, emptying this one would bring back their content. */
    if (!drop && base_name == NULL && node->drv->make_empty != NULL) {
        r = node->drv->make_empty(node);
        if (r < 0) {
            return img_fail("Could not empty %s: %s", node->filename, strerror(-r));
        }
    }
    img_progress_end();
    return 0;
}

static int run(struct img *img, int argc, char **argv)
{
    static const struct option longs[] = { IMG_COMMON_LONGS, { 0 } };
    struct img_open how = { .write = true };
    struct block_transfer t = { .progress = on_progress };
    struct block_node *node;
    const char *base = NULL;
    bool drop = false;
    bool progress = false;
    int json = 0;
    int r = 0;
    int c;

    while ((c = getopt_long(argc, argv, ":f:ht:b:dpqr:", longs, NULL)) != -1) {
        if (c == 't') {
            how.cache = optarg;
            r = img_cache_check(optarg);
        } else if (c == 'b') {
            base = optarg;
            drop = true;
        } else if (c == 'd') {
            drop = true;
        } else if (c == 'p') {
            progress = true;
        } else if (c == 'r') {
            r = img_size("rate limit", optarg, &t.rate);
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
    node = img_open(img, argv[optind], &how);
    if (node == NULL) {
        return 1;
    }
    img_progress_begin(progress && !how.quiet);
    r = commit(node, base, drop, &t);
    (void)block_unref(node);
    if (r == 0 && !how.quiet) {
        printf("Image committed.\n");
    }
    return r;
}

const struct img_command img_commit = {
    .name = "commit",
    .usage =
        "[--object objectdef] [--image-opts] [-q] [-f fmt] [-t cache] [-b base] [-r rate_limit] [-d] [-p] filename",
    .run = run,
};
