/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_snapshot.c - snapshots inside an image. */
#include "tools/img/img.h"

#include "base/str.h"
#include "block/core/image.h"
#include "block/core/snapshot.h"
#include "codec/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int list(struct block_node *node)
{
    AUTO_JSON struct json_object *info = NULL;
    struct err *err = NULL;
    int r = block_image_info(node, &info, &err);

    if (r < 0) {
        return img_fail_err(err, r);
    }
    if (json_member(info, "snapshots") != NULL) {
        img_dump_snapshots(json_member(info, "snapshots"));
    }
    return 0;
}

static int create(struct block_node *node, const char *name)
{
    struct timespec now;
    struct block_snapshot sn = { .name = strdup(name), .icount = 0 };
    struct err *err = NULL;
    int r;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    sn.date_sec = (uint32_t)now.tv_sec;
    sn.date_nsec = (uint32_t)now.tv_nsec;
    r = sn.name != NULL ? block_snapshot_create(node, &sn, &err) : -ENOMEM;
    free(sn.name);
    free(sn.id);
    return r < 0 ? img_fail_err(err, r) : 0;
}

static int act(struct block_node *node, int action, const char *name)
{
    struct err *err = NULL;
    int r;

    if (action == 'l') {
        return list(node);
    }
    if (action == 'c') {
        return create(node, name);
    }
    r = action == 'a' ? block_snapshot_goto(node, name, &err)
                      : block_snapshot_delete(node, name, &err);
    if (r < 0) {
        err_prefix(&err,
                   action == 'a' ? "Could not apply snapshot '%s': "
                                 : "Could not delete snapshot '%s': ",
                   name);
        return img_fail_err(err, r);
    }
    return 0;
}

static int run(struct img *img, int argc, char **argv)
{
    static const struct option longs[] = { IMG_COMMON_LONGS, { 0 } };
    struct img_open how = { 0 };
    struct block_node *node;
    const char *name = NULL;
    int action = 0;
    int json = 0;
    int r = 0;
    int c;

    while ((c = getopt_long(argc, argv, ":la:c:d:hqUf:", longs, NULL)) != -1) {
        if (c == 'l' || c == 'a' || c == 'c' || c == 'd') {
            if (action != 0) {
                return img_usage("Cannot mix '-l', '-a', '-c', '-d'");
            }
            action = c;
            name = optarg;
        } else if (!img_common_option(img, c, &how, &json, &r)) {
            return img_bad_option(c, argv);
        } else if (r != 0) {
            return r;
        }
    }
    if (optind != argc - 1) {
        return img_usage("Expecting one image file name");
    }
    action = action == 0 ? 'l' : action;
    how.write = action != 'l';
    node = img_open(img, argv[optind], &how);
    if (node == NULL) {
        return 1;
    }
    r = act(node, action, name);
    (void)block_unref(node);
    return r;
}

const struct img_command img_snapshot = {
    .name = "snapshot",
    .usage =
        "[--object objectdef] [--image-opts] [-U] [-q] [-f fmt] [-l | -a snapshot | -c snapshot | -d snapshot] filename",
    .run = run,
};
