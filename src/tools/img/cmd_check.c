/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_check.c - whether an image is consistent, and its repair. Exit status: 0 fine (now), 1 the
 * check failed, 2 corruptions, 3 leaks, 63 the format has no check. */
#include "tools/img/img.h"

#include "base/str.h"
#include "block/core/image.h"
#include "codec/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { EXIT_FAILED = 1, EXIT_CORRUPT = 2, EXIT_LEAKS = 3, EXIT_NO_CHECK = 63 };

static void on_report(void *arg, const char *message)
{
    bool *quiet = arg;

    if (!*quiet) {
        (void)fflush(stdout);
        (void)fprintf(stderr, "%s\n", message);
    }
}

static void print_json(const struct block_check *ck, const char *filename, const char *fmt)
{
    AUTO_JSON struct json_object *o = json_object_new_object();
    const struct {
        const char *key;
        uint64_t value;
    } optional[] = {
        { "corruptions", ck->corruptions },
        { "leaks", ck->leaks },
        { "corruptions-fixed", ck->corruptions_fixed },
        { "leaks-fixed", ck->leaks_fixed },
        { "image-end-offset", ck->image_end },
        { "total-clusters", ck->total_clusters },
        { "allocated-clusters", ck->allocated_clusters },
        { "fragmented-clusters", ck->fragmented_clusters },
        { "compressed-clusters", ck->compressed_clusters },
    };

    (void)json_add_str(o, "filename", filename);
    (void)json_add_str(o, "format", fmt);
    (void)json_add_u64(o, "check-errors", ck->errors);
    for (unsigned i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
        if (optional[i].value != 0) {
            (void)json_add_u64(o, optional[i].key, optional[i].value);
        }
    }
    img_print_json(o);
}

static void print_human(const struct block_check *ck)
{
    if (ck->corruptions + ck->leaks + ck->errors == 0) {
        printf("No errors were found on the image.\n");
    } else {
        if (ck->corruptions > 0) {
            printf(
                "\n%" PRIu64
                " errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt it.\n",
                ck->corruptions);
        }
        if (ck->leaks > 0) {
            printf(
                "\n%" PRIu64
                " leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n",
                ck->leaks);
        }
        if (ck->errors > 0) {
            printf("\n%" PRIu64 " internal errors have occurred during the check.\n", ck->errors);
        }
    }
    if (ck->total_clusters != 0 && ck->allocated_clusters != 0) {
        printf("%" PRIu64 "/%" PRIu64
               " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
               ck->allocated_clusters, ck->total_clusters,
               (double)ck->allocated_clusters * 100.0 / (double)ck->total_clusters,
               (double)ck->fragmented_clusters * 100.0 / (double)ck->allocated_clusters,
               (double)ck->compressed_clusters * 100.0 / (double)ck->allocated_clusters);
    }
    if (ck->image_end != 0) {
        printf("Image end offset: %" PRIu64 "\n", ck->image_end);
    }
}

static int check(struct block_node *node, const char *filename, unsigned fix, bool json, bool quiet)
{
    bool silent = json || quiet;
    struct block_check ck = { .fix = fix, .report = on_report, .arg = &silent };
    struct err *err = NULL;
    int r = block_check(node, &ck, &err);

    if (r == -ENOTSUP) {
        (void)img_fail_err(err, r);
        return EXIT_NO_CHECK;
    }
    if (r < 0) {
        return img_fail_err(err, r);
    }
    if (ck.corruptions_fixed > 0 || ck.leaks_fixed > 0) {
        struct block_check again = { .report = on_report, .arg = &silent };

        if (!json && !quiet) {
            printf("The following inconsistencies were found and repaired:\n\n    %" PRIu64
                   " leaked clusters\n    %" PRIu64
                   " corruptions\n\nDouble checking the fixed image now...\n",
                   ck.leaks_fixed, ck.corruptions_fixed);
        }
        r = block_check(node, &again, &err);
        if (r < 0) {
            return img_fail_err(err, r);
        }
        again.corruptions_fixed = ck.corruptions_fixed;
        again.leaks_fixed = ck.leaks_fixed;
        ck = again;
    }
    if (json) {
        print_json(&ck, filename, node->drv->name);
    } else if (!quiet) {
        print_human(&ck);
    }
    return ck.corruptions > 0 ? EXIT_CORRUPT
           : ck.leaks > 0     ? EXIT_LEAKS
           : ck.errors > 0    ? EXIT_FAILED
                              : 0;
}

static int run(struct img *img, int argc, char **argv)
{
    static const struct option longs[] = { IMG_COMMON_LONGS,
                                           { "repair", required_argument, 0, 'r' },
                                           { 0 } };
    struct img_open how = { .check = true, .no_backing = true };
    struct block_node *node;
    unsigned fix = 0;
    int json = 0;
    int r;
    int c;

    while ((c = getopt_long(argc, argv, ":hf:r:T:qU", longs, NULL)) != -1) {
        switch (c) {
        case 'r':
            if (str_eq(optarg, "leaks")) {
                fix = BLOCK_FIX_LEAKS;
            } else if (str_eq(optarg, "all")) {
                fix = BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS;
            } else {
                return img_usage("--repair (-r) expects 'leaks' or 'all' as argument, not '%s'",
                                 optarg);
            }
            how.write = true;
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
    node = img_open(img, argv[optind], &how);
    if (node == NULL) {
        return EXIT_FAILED;
    }
    r = check(node, argv[optind], fix, json, how.quiet);
    (void)block_unref(node);
    return r;
}

const struct img_command img_check = {
    .name = "check",
    .usage =
        "[--object objectdef] [--image-opts] [-q] [-f fmt] [--output=ofmt] [-r [leaks | all]] [-T src_cache] [-U] filename",
    .run = run,
};
