/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_amend.c - other features for an image. */
#include "tools/img/img.h"

#include "base/str.h"
#include "block/core/image.h"
#include "codec/keyval.h"

#include <stdio.h>

static int amend(struct block_node *node, struct keyval *opts, bool force)
{
    struct err *err = NULL;
    int r;

    if (node->drv->amend == NULL) {
        return img_fail("Format driver '%s' does not support option amendment", node->drv->name);
    }
    r = block_opts_check(node->drv->amend_opts, NULL, opts, node->drv->name, &err);
    if (r == 0) {
        r = node->drv->amend(node, opts, force, &err);
    }
    return r < 0 ? img_fail_err(err, r) : 0;
}

static int run(struct img *img, int argc, char **argv)
{
    enum { OPT_FORCE = OPT_FIRST_OWN };
    static const struct option longs[] = { IMG_COMMON_LONGS,
                                           { "force", no_argument, 0, OPT_FORCE },
                                           { 0 } };
    CLEANUP(keyval_freep) struct keyval *opts = NULL;
    struct img_open how = { .write = true };
    struct block_node *node;
    bool progress = false;
    bool force = false;
    bool help = false;
    int json = 0;
    int r = 0;
    int c;

    if (keyval_parse("", NULL, false, &opts, NULL) < 0) {
        return img_fail("no memory");
    }
    while ((c = getopt_long(argc, argv, ":ho:f:t:pq", longs, NULL)) != -1) {
        if (c == 'o' && img_is_help(optarg)) {
            help = true;
        } else if (c == 'o') {
            r = img_add_options(opts, optarg);
        } else if (c == 't') {
            how.cache = optarg;
            r = img_cache_check(optarg);
        } else if (c == 'p') {
            progress = true;
        } else if (c == OPT_FORCE) {
            force = true;
        } else if (!img_common_option(img, c, &how, &json, &r)) {
            return img_bad_option(c, argv);
        }
        if (r != 0) {
            return r;
        }
    }
    if (help && how.fmt != NULL) {
        return img_print_amend_options(how.fmt);
    }
    if (!help && opts->n == 0) {
        return img_usage("Must specify options (-o)");
    }
    if (optind != argc - 1) {
        return img_usage("Expecting one image file name");
    }
    node = img_open(img, argv[optind], &how);
    if (node == NULL) {
        return 1;
    }
    if (help) {
        r = img_print_amend_options(node->drv->name);
    } else {
        img_progress_begin(progress && !how.quiet);
        r = amend(node, opts, force);
        if (r == 0) {
            img_progress_end();
        }
    }
    (void)block_unref(node);
    return r;
}

const struct img_command img_amend = {
    .name = "amend",
    .usage =
        "[--object objectdef] [--image-opts] [-p] [-q] [-f fmt] [-t cache] [--force] -o options filename",
    .run = run,
};
