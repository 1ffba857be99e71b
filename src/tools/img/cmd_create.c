/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_create.c - a new, empty image. */
#include "tools/img/img.h"

#include "base/opt.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/keyval.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_value(const struct block_opt *o, const char *value)
{
    uint64_t n;

    if (o->type == BLOCK_OPT_SIZE && opt_parse_size(value, &n) == 0) {
        printf(" %s=%" PRIu64, o->name, n);
    } else if (o->type == BLOCK_OPT_BOOL) {
        printf(" %s=%s", o->name,
               str_eq(value, "on") || str_eq(value, "yes") || str_eq(value, "true") ? "on" : "off");
    } else if (strpbrk(value, " ,'\"") != NULL) {
        printf(" %s='%s'", o->name, value);
    } else {
        printf(" %s=%s", o->name, value);
    }
}

/* "Formatting 'a', fmt=qcow2 cluster_size=65536 ...": what was asked for and what goes without
 * saying. */
static void announce(const char *filename, const char *fmt, struct keyval *opts)
{
    const struct block_driver *drv = block_driver_find(fmt);
    const struct block_opt *tables[2] = { drv->create_opts,
                                          block_driver_find("file")->create_opts };

    printf("Formatting '%s', fmt=%s", filename, fmt);
    for (int t = 0; t < 2; t++) {
        for (const struct block_opt *o = tables[t]; o != NULL && o->name != NULL; o++) {
            const char *value = keyval_get(opts, o->name);
            bool seen = false;

            for (const struct block_opt *p = tables[0]; t == 1 && p != NULL && p->name != NULL;
                 p++) {
                seen |= str_eq(p->name, o->name);
            }
            if (value == NULL && t == 0) {
                value = o->dflt;
            }
            if (value != NULL && !seen) {
                print_value(o, value);
            }
        }
    }
    printf("\n");
}

/* The size of the backing image, which also shows that it can be opened. */
static int backing_size(struct img *img, const char *filename, const char *backing, const char *fmt,
                        uint64_t *ret)
{
    AUTO_FREE char *path = block_path_combine(filename, backing);
    struct img_open how = { .fmt = fmt };
    struct block_node *node = path != NULL ? img_open(img, path, &how) : NULL;

    if (node == NULL) {
        return img_fail(
            "Could not open backing image of '%s' to determine its size: use -u to create it without",
            filename);
    }
    *ret = (uint64_t)block_length(node);
    (void)block_unref(node);
    return 0;
}

static int add(struct keyval *kv, const char *key, const char *value)
{
    return value != NULL && keyval_add(kv, key, value) < 0 ? img_fail("no memory") : 0;
}

static int create(struct img *img, const char *fmt, const char *filename, const char *size,
                  struct keyval *opts, bool unsafe, bool quiet)
{
    const struct block_driver *drv = block_driver_find(fmt);
    const char *backing = keyval_get(opts, "backing_file");
    const char *backing_fmt = keyval_get(opts, "backing_fmt");
    uint64_t bytes = 0;
    struct err *err = NULL;
    char text[32];
    int r;

    if (drv == NULL) {
        return img_fail("%s: Unknown file format '%s'", filename, fmt);
    }
    if (drv->create == NULL) {
        return img_fail("%s: Format driver '%s' does not support image creation", filename, fmt);
    }
    if (backing != NULL && !drv->supports_backing) {
        return img_fail("%s: Backing file not supported for file format '%s'", filename, fmt);
    }
    if (backing_fmt != NULL && backing == NULL) {
        return img_fail("%s: Backing format not supported without a backing file", filename);
    }
    if (backing != NULL && str_eq(backing, filename)) {
        return img_fail(
            "%s: Error: Trying to create an image with the same filename as the backing file",
            filename);
    }
    if (backing_fmt != NULL && block_driver_find(backing_fmt) == NULL) {
        return img_fail("%s: Unknown backing file format '%s'", filename, backing_fmt);
    }
    if (backing != NULL && backing_fmt == NULL && !unsafe) {
        return img_fail(
            "%s: Backing file specified without backing format\nDetected format may be wrong: give it with -F",
            filename);
    }
    if (size != NULL) {
        if (img_size("image size", size, &bytes) != 0) {
            return 1;
        }
    } else if (keyval_get(opts, "size") != NULL) {
        size = keyval_get(opts, "size");
        if (img_size("image size", size, &bytes) != 0) {
            return 1;
        }
    }
    if (backing != NULL && !unsafe) {
        uint64_t from_backing = 0;

        if (backing_size(img, filename, backing, backing_fmt, &from_backing) != 0) {
            return 1;
        }
        bytes = size == NULL ? from_backing : bytes;
    } else if (size == NULL) {
        return img_fail("%s: Image creation needs a size parameter", filename);
    }
    (void)snprintf(text, sizeof(text), "%" PRIu64, bytes);
    if (add(opts, "size", text) != 0) {
        return 1;
    }
    if (!quiet) {
        announce(filename, fmt, opts);
        (void)fflush(stdout);
    }
    r = block_create(img->ctx, fmt, filename, opts, &err);
    if (r < 0) {
        err_prefix(&err, "%s: ", filename);
        return img_fail_err(err, r);
    }
    return 0;
}

static int run(struct img *img, int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, 0, 'h' },
                                           { "object", required_argument, 0, OPT_OBJECT },
                                           { 0 } };
    CLEANUP(keyval_freep) struct keyval *opts = NULL;
    const char *fmt = "raw";
    const char *backing = NULL;
    const char *backing_fmt = NULL;
    const char *help = NULL;
    bool unsafe = false;
    bool quiet = false;
    int c;

    if (keyval_parse("", NULL, false, &opts, NULL) < 0) {
        return img_fail("no memory");
    }
    while ((c = getopt_long(argc, argv, ":F:b:f:ho:qu", longs, NULL)) != -1) {
        switch (c) {
        case 'F':
            backing_fmt = optarg;
            break;
        case 'b':
            backing = optarg;
            break;
        case 'f':
            fmt = optarg;
            break;
        case 'o':
            if (img_is_help(optarg)) {
                help = optarg;
            } else if (img_add_options(opts, optarg) != 0) {
                return 1;
            }
            break;
        case 'q':
            quiet = true;
            break;
        case 'u':
            unsafe = true;
            break;
        case OPT_OBJECT:
            if (img_object(img, optarg) != 0) {
                return 1;
            }
            break;
        default:
            return img_bad_option(c, argv);
        }
    }
    if (help != NULL) {
        return img_print_create_options(fmt, optind < argc ? argv[optind] : NULL);
    }
    if (optind >= argc) {
        return img_usage("Expecting image file name");
    }
    if (argc - optind > 2) {
        return img_usage("Unexpected argument: %s", argv[optind + 2]);
    }
    if (add(opts, "backing_file", backing) != 0 || add(opts, "backing_fmt", backing_fmt) != 0) {
        return 1;
    }
    return create(img, fmt, argv[optind], optind + 1 < argc ? argv[optind + 1] : NULL, opts, unsafe,
                  quiet);
}

const struct img_command img_create = {
    .name = "create",
    .usage =
        "[--object objectdef] [-q] [-f fmt] [-b backing_file [-F backing_fmt]] [-u] [-o options] filename [size]",
    .run = run,
};
