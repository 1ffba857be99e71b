/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_bitmap.c - the persistent dirty bitmaps of an image. */
#include "tools/img/img.h"

#include "base/opt.h"
#include "base/str.h"
#include "block/core/bitmap.h"

#include <errno.h>
#include <stdio.h>

enum {
    OPT_ADD = OPT_FIRST_OWN,
    OPT_REMOVE,
    OPT_CLEAR,
    OPT_ENABLE,
    OPT_DISABLE,
    OPT_MERGE,
    MAX_ACTIONS = 64
};

struct action {
    int what;
    const char *source;
};

static int add(struct block_node *node, const char *name, uint64_t granularity, struct err **err)
{
    struct block_bitmap *bm;
    int r;

    if (granularity == 0) {
        granularity = block_bitmap_default_granularity(node);
    }
    r = node->drv->bitmap_can_store != NULL
            ? node->drv->bitmap_can_store(node, name, granularity, err)
            : err_set(err, ENOTSUP, "Cannot store dirty bitmaps in file '%s'", node->filename);
    if (r == 0) {
        r = granularity <= UINT32_MAX
                ? block_bitmap_add(node, name, (uint32_t)granularity, &bm, err)
                : err_set(err, EINVAL, "Granularity is too large");
    }
    if (r == 0) {
        bm->persistent = true;
    }
    return r;
}

static struct block_bitmap *find(struct block_node *node, const char *name, bool broken_too,
                                 struct err **err)
{
    struct block_bitmap *bm = block_bitmap_find(node, name);

    if (bm == NULL) {
        (void)err_set(err, ENOENT, "Dirty bitmap '%s' not found", name);
    } else if (bm->inconsistent && !broken_too) {
        (void)err_set(err, EINVAL,
                      "Bitmap '%s' is inconsistent and cannot be used: remove it with --remove",
                      name);
        return NULL;
    }
    return bm;
}

static int act(struct block_node *node, struct block_node *other, const struct action *a,
               const char *name, uint64_t granularity, struct err **err)
{
    struct block_bitmap *from = NULL;
    struct block_bitmap *bm;

    if (a->what == OPT_ADD) {
        return add(node, name, granularity, err);
    }
    bm = find(node, name, a->what == OPT_REMOVE, err);
    if (bm == NULL) {
        return -ENOENT;
    }
    switch (a->what) {
    case OPT_REMOVE:
        block_bitmap_remove(node, bm);
        return 0;
    case OPT_CLEAR:
        block_bitmap_clear(bm);
        return 0;
    case OPT_ENABLE:
    case OPT_DISABLE:
        bm->enabled = a->what == OPT_ENABLE;
        return 0;
    default:
        from = find(other != NULL ? other : node, a->source, false, err);
        return from != NULL ? block_bitmap_merge(bm, from, err) : -ENOENT;
    }
}

static int run(struct img *img, int argc, char **argv)
{
    static const struct option longs[] = { IMG_COMMON_LONGS,
                                           { "add", no_argument, 0, OPT_ADD },
                                           { "remove", no_argument, 0, OPT_REMOVE },
                                           { "clear", no_argument, 0, OPT_CLEAR },
                                           { "enable", no_argument, 0, OPT_ENABLE },
                                           { "disable", no_argument, 0, OPT_DISABLE },
                                           { "merge", required_argument, 0, OPT_MERGE },
                                           { "granularity", required_argument, 0, 'g' },
                                           { "source-file", required_argument, 0, 'b' },
                                           { "source-format", required_argument, 0, 'F' },
                                           { 0 } };
    struct action actions[MAX_ACTIONS];
    struct img_open how = { .write = true, .no_backing = true };
    struct block_node *node;
    struct block_node *other = NULL;
    const char *source = NULL;
    const char *source_fmt = NULL;
    uint64_t granularity = 0;
    struct err *err = NULL;
    bool adds = false;
    bool merges = false;
    int n = 0;
    int json = 0;
    int r = 0;
    int c;

    while ((c = getopt_long(argc, argv, ":hf:b:F:g:U", longs, NULL)) != -1) {
        if (c >= OPT_ADD && c <= OPT_MERGE) {
            if (n == MAX_ACTIONS) {
                return img_fail("more than %d actions", MAX_ACTIONS);
            }
            actions[n++] = (struct action) { .what = c, .source = optarg };
            adds |= c == OPT_ADD;
            merges |= c == OPT_MERGE;
        } else if (c == 'b') {
            source = optarg;
        } else if (c == 'F') {
            source_fmt = optarg;
        } else if (c == 'g') {
            if (img_size("granularity", optarg, &granularity) != 0) {
                return 1;
            }
        } else if (!img_common_option(img, c, &how, &json, &r)) {
            return img_bad_option(c, argv);
        } else if (r != 0) {
            return r;
        }
    }
    if (argc - optind != 2) {
        return img_usage("Expecting filename and bitmap name");
    }
    if (n == 0) {
        return img_usage(
            "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge");
    }
    if (granularity != 0 && !adds) {
        return img_fail("granularity only supported with --add");
    }
    if (source_fmt != NULL && source == NULL) {
        return img_fail("-F only supported with -b");
    }
    if (source != NULL && !merges) {
        return img_fail("Merge bitmap source file only supported with --merge");
    }
    node = img_open(img, argv[optind], &how);
    if (node == NULL) {
        return 1;
    }
    if (source != NULL) {
        struct img_open from = { .fmt = source_fmt, .no_backing = true };

        other = img_open(img, source, &from);
        r = other == NULL;
    }
    for (int i = 0; r == 0 && i < n; i++) {
        r = act(node, other, &actions[i], argv[optind + 1], granularity, &err);
        if (r < 0) {
            err_prefix(&err, "Operation %s on bitmap %s failed: ",
                       longs[actions[i].what - OPT_ADD + 6].name, argv[optind + 1]);
            r = img_fail_err(err, r);
        }
    }
    (void)block_unref(other);
    (void)block_unref(node);
    return r;
}

const struct img_command img_bitmap = {
    .name = "bitmap",
    .usage =
        "(--merge SOURCE | --add | --remove | --clear | --enable | --disable)... [-b source_file [-F source_fmt]] [-g granularity] [--object objectdef] [--image-opts | -f fmt] filename bitmap",
    .run = run,
};
