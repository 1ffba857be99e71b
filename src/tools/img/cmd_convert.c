/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_convert.c - images into another format. */
#include "tools/img/img.h"

#include "base/opt.h"
#include "base/str.h"
#include "block/core/bitmap.h"
#include "block/core/image.h"
#include "block/core/snapshot.h"
#include "block/job/copy.h"
#include "codec/keyval.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct convert {
    struct img_open in;
    const char *out_fmt;
    const char *out_cache;
    const char *backing;
    const char *backing_fmt;
    const char *snapshot;
    bool target_image_opts;
    bool compressed;
    bool no_create;
    bool bitmaps;
    bool skip_broken;
    bool progress;
    bool explicit_sparse;
    bool copy_offload;
    struct keyval *opts; /* owned */
    struct block_copy copy;
    struct block_node *target_backing; /* owned */
};

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    img_progress(total > 0 ? (double)done * 100.0 / (double)total : 100.0);
}

static void on_unreadable(void *arg, uint64_t off, uint64_t len, int error)
{
    (void)arg;
    (void)len;
    (void)fprintf(stderr, "vireo-img: warning: error while reading offset %" PRIu64 ": %s\n", off,
                  strerror(-error));
}

static int open_sources(struct img *img, struct convert *cv, char **names, int n)
{
    for (int i = 0; i < n; i++) {
        struct block_node *node;

        if (cv->copy.n_sources == COPY_MAX_SOURCES) {
            return img_fail("more than %d source images", COPY_MAX_SOURCES);
        }
        node = img_open(img, names[i], &cv->in);
        if (node == NULL) {
            return 1;
        }
        cv->copy.sources[cv->copy.n_sources++] = node;
    }
    if (cv->snapshot != NULL) {
        CLEANUP(keyval_freep) struct keyval *kv = NULL;
        const char *id = cv->snapshot;
        struct err *err = NULL;
        int r;

        if (cv->copy.n_sources > 1) {
            return img_fail("No support for concatenating multiple snapshot");
        }
        if (str_starts(id, "snapshot.")) {
            r = keyval_parse(id, NULL, false, &kv, &err);
            id = r == 0 ? keyval_get(kv, "snapshot.id") : NULL;
            if (r == 0 && id == NULL) {
                id = keyval_get(kv, "snapshot.name");
            }
            if (id == NULL) {
                return img_fail("Failed in parsing snapshot param '%s'", cv->snapshot);
            }
        }
        r = block_snapshot_load(cv->copy.sources[0], id, &err);
        if (r < 0) {
            err_prefix(&err, "Failed to load snapshot: ");
            return img_fail_err(err, r);
        }
    }
    return 0;
}

static uint64_t total_size(const struct convert *cv)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < cv->copy.n_sources; i++) {
        total += (uint64_t)block_length(cv->copy.sources[i]);
    }
    return total;
}

static int check_options(struct convert *cv)
{
    const char *prealloc = keyval_get(cv->opts, "preallocation");
    const char *data_file = keyval_get(cv->opts, "data_file");
    const struct block_driver *drv = block_driver_find(cv->out_fmt);

    if (drv == NULL) {
        return img_fail("Unknown file format '%s'", cv->out_fmt);
    }
    if (!cv->no_create && drv->create == NULL) {
        return img_fail("Format driver '%s' does not support image creation", cv->out_fmt);
    }
    if (cv->compressed && drv->pwrite_compressed == NULL) {
        return img_fail("Compression not supported for this file format");
    }
    if (cv->compressed && keyval_get(cv->opts, "encryption") != NULL &&
        str_eq(keyval_get(cv->opts, "encryption"), "on")) {
        return img_fail("Compression and encryption not supported at the same time");
    }
    if (cv->compressed && keyval_get(cv->opts, "encrypt.format") != NULL) {
        return img_fail("Compression and encryption not supported at the same time");
    }
    if (cv->compressed && prealloc != NULL && !str_eq(prealloc, "off")) {
        return img_fail("Compression and preallocation not supported at the same time");
    }
    if (cv->compressed && data_file != NULL) {
        return img_fail("Compression and data file not supported at the same time");
    }
    return 0;
}

static int create_target(struct img *img, struct convert *cv, const char *filename)
{
    struct err *err = NULL;
    char text[32];
    int r;

    if (cv->backing == NULL) {
        cv->backing = keyval_get(cv->opts, "backing_file");
        cv->backing_fmt =
            cv->backing_fmt == NULL ? keyval_get(cv->opts, "backing_fmt") : cv->backing_fmt;
    } else if (keyval_add(cv->opts, "backing_file", cv->backing) < 0 ||
               (cv->backing_fmt != NULL &&
                keyval_add(cv->opts, "backing_fmt", cv->backing_fmt) < 0)) {
        return img_fail("no memory");
    }
    if (cv->backing != NULL && !block_driver_find(cv->out_fmt)->supports_backing) {
        return img_fail("Backing file not supported for file format '%s'", cv->out_fmt);
    }
    if (cv->backing != NULL && cv->backing_fmt == NULL) {
        return img_fail("backing format must be specified with -F, for the backing file '%s'",
                        cv->backing);
    }
    (void)snprintf(text, sizeof(text), "%" PRIu64, total_size(cv));
    if (keyval_get(cv->opts, "size") == NULL && keyval_add(cv->opts, "size", text) < 0) {
        return img_fail("no memory");
    }
    r = block_create(img->ctx, cv->out_fmt, filename, cv->opts, &err);
    if (r < 0) {
        err_prefix(&err, "%s: error while converting %s: ", filename, cv->out_fmt);
        return img_fail_err(err, r);
    }
    return 0;
}

static int open_target(struct img *img, struct convert *cv, const char *filename)
{
    struct img_open how = { .fmt = cv->target_image_opts ? NULL : cv->out_fmt,
                            .image_opts = cv->target_image_opts,
                            .write = true,
                            .cache = cv->out_cache,
                            .no_backing = cv->backing != NULL,
                            .quiet = cv->in.quiet };
    AUTO_FREE char *named = NULL;

    /* An encrypted image that was just made is opened with its secret. */
    if (!cv->target_image_opts && keyval_get(cv->opts, "encrypt.key-secret") != NULL) {
        named = str_format("driver=%s,file.filename=%s,encrypt.key-secret=%s", cv->out_fmt,
                           filename, keyval_get(cv->opts, "encrypt.key-secret"));
    } else if (!cv->target_image_opts && keyval_get(cv->opts, "key-secret") != NULL) {
        named = str_format("driver=%s,file.filename=%s,key-secret=%s", cv->out_fmt, filename,
                           keyval_get(cv->opts, "key-secret"));
    }
    if (named != NULL) {
        how.image_opts = true;
        how.fmt = NULL;
    }
    cv->copy.target = img_open(img, named != NULL ? named : filename, &how);
    if (cv->copy.target == NULL) {
        return 1;
    }
    if (cv->backing != NULL) {
        AUTO_FREE char *path = block_path_combine(filename, cv->backing);
        struct img_open below = { .fmt = cv->backing_fmt };

        cv->target_backing = path != NULL ? img_open(img, path, &below) : NULL;
        if (cv->target_backing == NULL) {
            return 1;
        }
        cv->copy.target_backing = cv->target_backing;
        if (block_set_backing(cv->copy.target, cv->target_backing) < 0) {
            return img_fail("cannot use '%s' as backing image", cv->backing);
        }
    } else if (cv->copy.target->backing != NULL) {
        cv->copy.target_backing = cv->copy.target->backing;
    }
    return 0;
}

static int match_size(struct convert *cv, const char *filename)
{
    struct block_node *target = cv->copy.target;
    uint64_t want = total_size(cv);
    int64_t have = block_length(target);
    struct err *err = NULL;
    int r;

    if (have >= 0 && (uint64_t)have >= want) {
        return 0;
    }
    if (cv->no_create || have < 0) {
        return img_fail("output file is smaller than input file");
    }
    r = block_truncate(target, want, BLOCK_PREALLOC_OFF, &err);
    if (r < 0) {
        err_prefix(&err, "%s: ", filename);
        return img_fail_err(err, r);
    }
    return 0;
}

static int copy_bitmaps(struct convert *cv)
{
    struct block_node *source = cv->copy.sources[0];
    struct block_node *target = cv->copy.target;

    LIST_FOREACH (&source->bitmaps, it) {
        struct block_bitmap *from = CONTAINER_OF(it, struct block_bitmap, link);
        struct block_bitmap *to = NULL;
        struct err *err = NULL;
        int r;

        if (from->inconsistent) {
            if (cv->skip_broken) {
                (void)fprintf(stderr, "vireo-img: warning: Skipping inconsistent bitmap '%s'\n",
                              from->name);
                continue;
            }
            return img_fail(
                "Cannot copy inconsistent bitmap '%s': use --skip-broken-bitmaps, or use 'vireo-img bitmap --remove'",
                from->name);
        }
        r = target->drv->bitmap_can_store != NULL
                ? target->drv->bitmap_can_store(target, from->name, from->granularity, &err)
                : err_set(&err, ENOTSUP, "Format driver '%s' does not support bitmaps",
                          target->drv->name);
        if (r == 0) {
            r = block_bitmap_add(target, from->name, from->granularity, &to, &err);
        }
        if (r == 0) {
            to->persistent = true;
            to->enabled = from->enabled;
            r = block_bitmap_merge(to, from, &err);
        }
        if (r < 0) {
            err_prefix(&err, "Failed to populate bitmap %s: ", from->name);
            return img_fail_err(err, r);
        }
    }
    return 0;
}

static int convert(struct img *img, struct convert *cv, char **names, int n)
{
    const char *filename = names[n - 1];
    const char *prealloc = keyval_get(cv->opts, "preallocation");
    struct block_info info = { 0 };
    int r = open_sources(img, cv, names, n - 1);
    int e;

    if (r == 0 && cv->no_create && cv->out_fmt == NULL) {
        cv->out_fmt = "raw";
    }
    if (r == 0 && !cv->target_image_opts) {
        r = check_options(cv);
    }
    if (r == 0 && cv->bitmaps && cv->copy.n_sources > 1) {
        r = img_fail("Copying bitmaps only possible with single source");
    }
    if (r == 0 && !cv->no_create) {
        r = create_target(img, cv, filename);
    }
    if (r == 0) {
        r = open_target(img, cv, filename);
    }
    if (r == 0) {
        r = match_size(cv, filename);
    }
    if (r == 0 && cv->bitmaps && cv->copy.target->drv->bitmap_can_store == NULL) {
        r = img_fail("Format driver '%s' does not support bitmaps", cv->copy.target->drv->name);
    }
    if (r != 0) {
        return r;
    }
    if (cv->copy.target->drv->info != NULL) {
        cv->copy.target->drv->info(cv->copy.target, &info);
    }
    /* New images read as zeroes where nothing was written; so do new files. */
    cv->copy.target_is_zero |= !cv->no_create && (prealloc == NULL || !str_eq(prealloc, "never"));
    if (!cv->no_create && block_has_protocol(filename) && !str_starts(filename, "file:")) {
        cv->copy.target_is_zero = false;
    }
    cv->copy.compressed = cv->compressed || info.needs_compressed;
    cv->copy.progress = on_progress;
    cv->copy.unreadable = on_unreadable;
    img_progress_begin(cv->progress);
    r = block_copy(&cv->copy);
    if (r == 0) {
        img_progress_end();
    } else if (cv->copy.read_failed) {
        return img_fail("error while reading at byte %" PRIu64 ": %s", cv->copy.failed_off,
                        strerror(-r));
    } else {
        return img_fail("error while writing at byte %" PRIu64 ": %s", cv->copy.failed_off,
                        strerror(-r));
    }
    if (cv->bitmaps && copy_bitmaps(cv) != 0) {
        return 1;
    }
    e = block_flush(cv->copy.target);
    return e < 0 ? img_fail("error while writing '%s': %s", filename, strerror(-e)) : 0;
}

static int parse_threads(const char *text, unsigned *ret)
{
    uint32_t n;

    if (str_to_u32(text, COPY_MAX_THREADS, &n) < 0 || n < 1) {
        return img_fail(
            "Invalid number of coroutines. Allowed number of coroutines is between 1 and %d",
            COPY_MAX_THREADS);
    }
    *ret = n;
    return 0;
}

static int run(struct img *img, int argc, char **argv)
{
    enum { OPT_TARGET_OPTS = OPT_FIRST_OWN, OPT_SALVAGE, OPT_ZERO, OPT_BITMAPS, OPT_SKIP };
    static const struct option longs[] = { { "help", no_argument, 0, 'h' },
                                           { "source-image-opts", no_argument, 0, OPT_IMAGE_OPTS },
                                           { "image-opts", no_argument, 0, OPT_IMAGE_OPTS },
                                           { "object", required_argument, 0, OPT_OBJECT },
                                           { "force-share", no_argument, 0, 'U' },
                                           { "target-image-opts", no_argument, 0, OPT_TARGET_OPTS },
                                           { "salvage", no_argument, 0, OPT_SALVAGE },
                                           { "target-is-zero", no_argument, 0, OPT_ZERO },
                                           { "bitmaps", no_argument, 0, OPT_BITMAPS },
                                           { "skip-broken-bitmaps", no_argument, 0, OPT_SKIP },
                                           { 0 } };
    struct convert cv = { .out_cache = "unsafe", .copy = { .threads = 8, .min_zero = 4096 } };
    bool want_help = false;
    int r = 0;
    int c;

    if (keyval_parse("", NULL, false, &cv.opts, NULL) < 0) {
        return img_fail("no memory");
    }
    while (r == 0 &&
           (c = getopt_long(argc, argv, ":hf:O:B:CcF:o:l:S:pt:T:qnm:WUr:", longs, NULL)) != -1) {
        switch (c) {
        case 'f':
            cv.in.fmt = optarg;
            break;
        case 'O':
            cv.out_fmt = optarg;
            break;
        case 'B':
            cv.backing = optarg;
            break;
        case 'F':
            cv.backing_fmt = optarg;
            break;
        case 'C':
            cv.copy_offload = true;
            break;
        case 'c':
            cv.compressed = true;
            break;
        case 'o':
            if (img_is_help(optarg)) {
                want_help = true;
            } else {
                r = img_add_options(cv.opts, optarg);
            }
            break;
        case 'l':
            cv.snapshot = optarg;
            break;
        case 'S':
            r = img_size("buffer size for sparse output", optarg, &cv.copy.min_zero);
            if (r == 0 && cv.copy.min_zero % BLOCK_SECTOR != 0) {
                r = img_fail(
                    "Invalid buffer size for sparse output specified. Valid sizes are multiples of %d up to %d. Select 0 to disable sparse detection (fully allocates output).",
                    BLOCK_SECTOR, 1 << 30);
            }
            cv.explicit_sparse = true;
            break;
        case 'p':
            cv.progress = true;
            break;
        case 't':
            cv.out_cache = optarg;
            r = img_cache_check(optarg);
            break;
        case 'T':
            cv.in.cache = optarg;
            r = img_cache_check(optarg);
            break;
        case 'q':
            cv.in.quiet = true;
            break;
        case 'n':
            cv.no_create = true;
            break;
        case 'm':
            r = parse_threads(optarg, &cv.copy.threads);
            break;
        case 'W':
            cv.copy.out_of_order = true;
            break;
        case 'U':
            cv.in.force_share = true;
            break;
        case 'r':
            r = img_size("rate limit", optarg, &cv.copy.rate);
            break;
        case OPT_OBJECT:
            r = img_object(img, optarg);
            break;
        case OPT_IMAGE_OPTS:
            cv.in.image_opts = true;
            break;
        case OPT_TARGET_OPTS:
            cv.target_image_opts = true;
            break;
        case OPT_SALVAGE:
            cv.copy.salvage = true;
            break;
        case OPT_ZERO:
            cv.copy.target_is_zero = true;
            break;
        case OPT_BITMAPS:
            cv.bitmaps = true;
            break;
        case OPT_SKIP:
            cv.skip_broken = true;
            break;
        default:
            r = img_bad_option(c, argv);
        }
    }
    if (r == 0 && want_help) {
        r = img_print_create_options(cv.out_fmt != NULL ? cv.out_fmt : "raw",
                                     optind < argc ? argv[argc - 1] : NULL);
        goto out;
    }
    if (r == 0 && cv.out_fmt == NULL && !cv.target_image_opts) {
        cv.out_fmt = "raw";
    }
    if (r == 0 && cv.skip_broken && !cv.bitmaps) {
        r = img_fail("Use of --skip-broken-bitmaps requires --bitmaps");
    } else if (r == 0 && cv.target_image_opts && !cv.no_create) {
        r = img_fail("--target-image-opts requires use of -n flag");
    } else if (r == 0 && cv.copy.target_is_zero && !cv.no_create) {
        r = img_fail("--target-is-zero requires use of -n flag");
    } else if (r == 0 && cv.copy_offload && cv.compressed) {
        r = img_fail("Cannot enable copy offloading when -c is used");
    } else if (r == 0 && cv.copy_offload && cv.explicit_sparse) {
        r = img_fail("Cannot enable copy offloading when -S is used");
    } else if (r == 0 && argc - optind < 2) {
        r = img_usage("Must specify image file name");
    }
    if (r == 0) {
        r = convert(img, &cv, argv + optind, argc - optind);
    }
out:
    for (unsigned i = 0; i < cv.copy.n_sources; i++) {
        (void)block_unref(cv.copy.sources[i]);
    }
    (void)block_unref(cv.copy.target);
    (void)block_unref(cv.target_backing);
    cv.opts = keyval_free(cv.opts);
    return r;
}

const struct img_command img_convert = {
    .name = "convert",
    .usage =
        "[--object objectdef] [--image-opts] [--target-image-opts] [--target-is-zero] [--bitmaps [--skip-broken-bitmaps]] [-U] [-C] [-c] [-p] [-q] [-n] [-f fmt] [-t cache] [-T src_cache] [-O output_fmt] [-B backing_file [-F backing_fmt]] [-o options] [-l snapshot_param] [-S sparse_size] [-r rate_limit] [-m num_threads] [-W] [--salvage] filename [filename2 [...]] output_filename",
    .run = run,
};
