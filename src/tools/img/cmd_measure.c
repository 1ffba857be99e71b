/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_measure.c - how large an image would become. */
#include "tools/img/img.h"

#include "base/str.h"
#include "block/core/image.h"
#include "block/core/snapshot.h"
#include "codec/json.h"
#include "codec/keyval.h"

#include <inttypes.h>
#include <stdio.h>

static void print(const struct block_measure *m, bool json)
{
    if (json) {
        AUTO_JSON struct json_object *o = json_object_new_object();

        (void)json_add_u64(o, "required", m->required);
        (void)json_add_u64(o, "fully-allocated", m->fully_allocated);
        if (m->has_bitmaps) {
            (void)json_add_u64(o, "bitmaps", m->bitmaps);
        }
        img_print_json(o);
        return;
    }
    printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", m->required,
           m->fully_allocated);
    if (m->has_bitmaps && m->bitmaps > 0) {
        printf("bitmaps size: %" PRIu64 "\n", m->bitmaps);
    }
}

static int measure(const char *fmt, struct keyval *opts, struct block_node *node, bool json)
{
    const struct block_driver *drv = block_driver_find(fmt);
    struct block_measure m;
    struct err *err = NULL;
    int r = 0;

    if (drv == NULL || drv->create == NULL) {
        return img_fail(drv == NULL ? "Unknown file format '%s'"
                                    : "Format driver '%s' does not support image creation",
                        fmt);
    }
    r = block_opts_check(drv->create_opts, block_driver_find("file")->create_opts, opts, fmt, &err);
    if (r == 0) {
        r = block_measure(fmt, opts, node, &m, &err);
    }
    if (r < 0) {
        return img_fail_err(err, r);
    }
    print(&m, json);
    return 0;
}

static int run(struct img *img, int argc, char **argv)
{
    enum { OPT_SIZE = OPT_FIRST_OWN };
    static const struct option longs[] = { IMG_COMMON_LONGS,
                                           { "size", required_argument, 0, OPT_SIZE },
                                           { 0 } };
    CLEANUP(keyval_freep) struct keyval *opts = NULL;
    struct img_open how = { 0 };
    struct block_node *node = NULL;
    const char *fmt = "raw";
    const char *snapshot = NULL;
    const char *size = NULL;
    int json = 0;
    int r = 0;
    int c;

    if (keyval_parse("", NULL, false, &opts, NULL) < 0) {
        return img_fail("no memory");
    }
    while ((c = getopt_long(argc, argv, ":hf:l:o:O:U", longs, NULL)) != -1) {
        if (c == 'l') {
            snapshot = optarg;
        } else if (c == 'o') {
            r = img_add_options(opts, optarg);
        } else if (c == 'O') {
            fmt = optarg;
        } else if (c == OPT_SIZE) {
            size = optarg;
        } else if (!img_common_option(img, c, &how, &json, &r)) {
            return img_bad_option(c, argv);
        }
        if (r != 0) {
            return r;
        }
    }
    if (argc - optind > 1) {
        return img_usage("At most one filename argument is allowed.");
    }
    if (optind == argc && (how.fmt != NULL || how.image_opts || snapshot != NULL)) {
        return img_fail("--image-opts, -f, and -l can only be used with a filename argument.");
    }
    if (optind == argc && size == NULL) {
        return img_fail("Either --size N or one filename must be specified.");
    }
    if (optind < argc && size != NULL) {
        return img_fail("--size N cannot be used together with a filename.");
    }
    if (size != NULL) {
        uint64_t n;

        if (img_size("image size", size, &n) != 0 || keyval_add(opts, "size", size) < 0) {
            return 1;
        }
    } else {
        struct err *err = NULL;

        node = img_open(img, argv[optind], &how);
        if (node == NULL) {
            return 1;
        }
        if (snapshot != NULL) {
            r = block_snapshot_load(node, snapshot, &err);
            r = r < 0 ? img_fail_err(err, r) : 0;
        }
    }
    if (r == 0) {
        r = measure(fmt, opts, node, json);
    }
    (void)block_unref(node);
    return r;
}

const struct img_command img_measure = {
    .name = "measure",
    .usage =
        "[--output=ofmt] [-O output_fmt] [-o options] [--size N | [--object objectdef] [--image-opts] [-f fmt] [-l snapshot_param] filename]",
    .run = run,
};
