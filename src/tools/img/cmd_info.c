/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_info.c - what an image is. */
#include "tools/img/img.h"

#include "base/str.h"
#include "block/core/image.h"
#include "codec/json.h"

#include <stdio.h>

static int collect(struct img *img, const char *filename, struct img_open how, bool chain,
                   struct json_object *list)
{
    AUTO_FREE char *name = strdup(filename);
    AUTO_FREE char *fmt = how.fmt != NULL ? strdup(how.fmt) : NULL;

    how.no_backing = true;
    how.no_io = true;
    for (int depth = 0; name != NULL; depth++) {
        struct block_node *node;
        struct json_object *info = NULL;
        struct err *err = NULL;
        int r;

        if (depth > BLOCK_MAX_DEPTH) {
            return img_fail("Backing file '%s' creates an infinite loop.", name);
        }
        how.fmt = fmt;
        node = img_open(img, name, &how);
        if (node == NULL) {
            return 1;
        }
        r = block_image_info(node, &info, &err);
        if (r < 0) {
            (void)block_unref(node);
            return img_fail_err(err, r);
        }
        json_object_array_add(list, info);
        free(name);
        free(fmt);
        name = chain ? block_full_backing_name(node) : NULL;
        fmt = name != NULL && node->backing_fmt != NULL && *node->backing_fmt != '\0'
                  ? strdup(node->backing_fmt)
                  : NULL;
        how.image_opts = false;
        (void)block_unref(node);
    }
    return 0;
}

static int run(struct img *img, int argc, char **argv)
{
    static const struct option longs[] = { IMG_COMMON_LONGS,
                                           { "backing-chain", no_argument, 0, OPT_BACKING_CHAIN },
                                           { 0 } };
    AUTO_JSON struct json_object *list = json_object_new_array();
    struct img_open how = { 0 };
    bool chain = false;
    int json = 0;
    int r;
    int c;

    while ((c = getopt_long(argc, argv, ":hf:U", longs, NULL)) != -1) {
        switch (c) {
        case OPT_BACKING_CHAIN:
            chain = true;
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
    if (collect(img, argv[optind], how, chain, list) != 0) {
        return 1;
    }
    if (json) {
        img_print_json(chain ? list : json_object_array_get_idx(list, 0));
        return 0;
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        if (i > 0) {
            printf("\n");
        }
        img_dump_info(json_object_array_get_idx(list, i));
    }
    return 0;
}

const struct img_command img_info = {
    .name = "info",
    .usage =
        "[--object objectdef] [--image-opts] [-f fmt] [--output=ofmt] [--backing-chain] [-U] filename",
    .run = run,
};
