/* SPDX-License-Identifier: GPL-2.0-or-later */
/* common.c - errors, opening images, sizes, options, progress. */
#include "tools/img/img.h"

#include "base/log.h"
#include "base/opt.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/json.h"
#include "codec/keyval.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void message(const char *fmt, va_list ap)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "vireo-img: ");
    (void)vfprintf(stderr, fmt, ap);
    (void)fprintf(stderr, "\n");
}

int img_fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    message(fmt, ap);
    va_end(ap);
    return 1;
}

int img_fail_err(struct err *err, int r)
{
    (void)img_fail("%s", err != NULL ? err->text : strerror(-r));
    (void)err_free(err);
    return 1;
}

int img_usage(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    message(fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "Try 'vireo-img --help' for more information\n");
    return 1;
}

int img_bad_option(int c, char **argv)
{
    if (c == ':') {
        return img_usage("missing argument for option '%s'", argv[optind - 1]);
    }
    return img_usage("unrecognized option '%s'", argv[optind - 1]);
}

int img_object(struct img *img, const char *text)
{
    struct err *err = NULL;
    int r = objects_add(img->objects, text, &err);

    return r < 0 ? img_fail_err(err, r) : 0;
}

int img_output(const char *text)
{
    if (str_eq(text, "json")) {
        return 1;
    }
    if (str_eq(text, "human")) {
        return 0;
    }
    (void)img_fail("--output must be used with human or json as argument.");
    return -1;
}

bool img_common_option(struct img *img, int c, struct img_open *how, int *json, int *ret)
{
    *ret = 0;
    switch (c) {
    case 'f':
        how->fmt = optarg;
        return true;
    case 'U':
        how->force_share = true;
        return true;
    case 'q':
        how->quiet = true;
        return true;
    case 'T':
        how->cache = optarg;
        *ret = img_cache_check(optarg);
        return true;
    case OPT_OBJECT:
        *ret = img_object(img, optarg);
        return true;
    case OPT_IMAGE_OPTS:
        how->image_opts = true;
        return true;
    case OPT_OUTPUT:
        *json = img_output(optarg);
        *ret = *json < 0;
        return json != NULL;
    default:
        return false;
    }
}

static const struct {
    const char *name;
    bool direct, no_flush, writethrough;
} caches[] = {
    { "writeback", false, false, false }, { "writethrough", false, false, true },
    { "none", true, false, false },       { "off", true, false, false },
    { "directsync", true, false, true },  { "unsafe", false, true, false },
};

enum { N_CACHES = sizeof(caches) / sizeof(caches[0]) };

static int find_cache(const char *cache)
{
    for (unsigned i = 0; i < N_CACHES; i++) {
        if (cache != NULL && str_eq(caches[i].name, cache)) {
            return (int)i;
        }
    }
    return cache == NULL ? 0 : -1;
}

int img_cache_check(const char *cache)
{
    return find_cache(cache) < 0 ? img_fail("Invalid cache option: %s", cache) : 0;
}

bool img_cache_writethrough(const char *cache)
{
    int i = find_cache(cache);

    return i >= 0 && caches[i].writethrough;
}

static int open_options(const struct img_open *how, struct keyval *kv)
{
    int cache = find_cache(how->cache);
    const struct {
        bool on;
        const char *key;
    } flags[] = {
        { !how->write, "read-only" },
        { cache >= 0 && caches[cache].direct, "cache.direct" },
        { cache >= 0 && caches[cache].no_flush, "cache.no-flush" },
        { how->force_share, "force-share" },
        { how->no_backing, "\1no-backing" },
        { how->no_io, "\1no-io" },
        { how->check, "\1check" },
    };
    int r = keyval_add(kv, "discard", "unmap");

    for (unsigned i = 0; r == 0 && i < sizeof(flags) / sizeof(flags[0]); i++) {
        r = flags[i].on ? keyval_add(kv, flags[i].key, "on") : 0;
    }
    return r;
}

struct block_node *img_open(struct img *img, const char *name, const struct img_open *how)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    struct block_node *node = NULL;
    struct err *err = NULL;
    int r;

    if (how->image_opts && how->fmt != NULL) {
        (void)img_fail("--image-opts and --format are mutually exclusive");
        return NULL;
    }
    r = keyval_parse(how->image_opts ? name : "", how->image_opts ? "file" : NULL, false, &kv,
                     &err);
    if (r == 0) {
        r = open_options(how, kv);
    }
    if (r == 0 && how->image_opts) {
        r = block_open(img->ctx, kv, NULL, NULL, &node, &err);
        if (r == 0) {
            r = keyval_check_used(kv, &err);
        }
        if (r < 0) {
            err_prefix(&err, "Could not open '%s': ", name);
            node = block_unref(node);
        }
    } else if (r == 0) {
        r = block_open_image(img->ctx, name, how->fmt, kv, &node, &err);
    }
    if (r < 0) {
        (void)img_fail_err(err, r);
        return NULL;
    }
    if (node->probed && how->write && str_eq(node->drv->name, "raw") && !how->quiet) {
        log_warn(
            "Image format was not specified for '%s' and probing guessed raw.\n"
            "         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.\n"
            "         Specify the 'raw' format explicitly to remove the restrictions.",
            name);
    }
    return node;
}

int img_size(const char *what, const char *text, uint64_t *ret)
{
    int r = opt_parse_size(text, ret);

    if (r == 0 && *ret <= INT64_MAX) {
        return 0;
    }
    if (r == -ERANGE || (r == 0 && *ret > INT64_MAX)) {
        return img_fail("Invalid %s specified. Must be between 0 and %lld.", what,
                        (long long)INT64_MAX);
    }
    (void)img_fail("Invalid %s specified. You may use k, M, G, T, P or E suffixes for ", what);
    (void)fprintf(
        stderr, "vireo-img: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.\n");
    return 1;
}

/* ---- options ---- */

bool img_is_help(const char *options)
{
    size_t len = strlen(options);

    return str_eq(options, "help") || str_eq(options, "?") || str_starts(options, "help,") ||
           (len > 5 && str_eq(options + len - 5, ",help"));
}

static int opt_by_name(const void *a, const void *b)
{
    return strcmp((*(const struct block_opt *const *)a)->name,
                  (*(const struct block_opt *const *)b)->name);
}

static void print_options(const struct block_opt *table, const struct block_opt *more)
{
    static const char *const types[] = { "str", "size", "num", "bool (on/off)" };
    const struct block_opt *all[128];
    size_t n = 0;

    for (const struct block_opt *o = table; o != NULL && o->name != NULL && n < 128; o++) {
        all[n++] = o;
    }
    for (const struct block_opt *o = more; o != NULL && o->name != NULL && n < 128; o++) {
        bool known = false;

        for (size_t i = 0; i < n; i++) {
            known |= str_eq(all[i]->name, o->name);
        }
        if (!known) {
            all[n++] = o;
        }
    }
    qsort(all, n, sizeof(all[0]), opt_by_name);
    for (size_t i = 0; i < n; i++) {
        char left[128];

        (void)snprintf(left, sizeof(left), "%s=<%s>", all[i]->name, types[all[i]->type]);
        printf("  %-22s - %s\n", left, all[i]->help);
    }
}

int img_print_create_options(const char *fmt, const char *filename)
{
    const struct block_driver *drv = block_driver_find(fmt);
    const struct block_driver *proto = block_driver_find("file");

    if (drv == NULL) {
        return img_fail("Unknown file format '%s'", fmt);
    }
    if (drv->create == NULL) {
        return img_fail("Format driver '%s' does not support image creation", fmt);
    }
    if (filename != NULL && block_has_protocol(filename) && !str_starts(filename, "json:")) {
        proto = block_driver_for_scheme(filename);
    }
    if (filename == NULL) {
        printf("Supported %s options:\n", fmt);
        print_options(drv->create_opts, NULL);
        printf(
            "\nThe protocol level may support further options.\nSpecify the target filename to include those options.\n");
    } else {
        printf("Supported options:\n");
        print_options(drv->create_opts, proto != NULL ? proto->create_opts : NULL);
    }
    return 0;
}

int img_print_amend_options(const char *fmt)
{
    const struct block_driver *drv = block_driver_find(fmt);

    if (drv == NULL || drv->amend_opts == NULL) {
        return img_fail("Format driver '%s' does not support option amendment", fmt);
    }
    printf("Amend options for '%s':\n", fmt);
    print_options(drv->amend_opts, NULL);
    return 0;
}

int img_add_options(struct keyval *kv, const char *text)
{
    CLEANUP(keyval_freep) struct keyval *more = NULL;
    struct err *err = NULL;
    int r = keyval_parse(text, NULL, true, &more, &err);

    for (size_t i = 0; r == 0 && i < more->n; i++) {
        r = keyval_add(kv, more->pairs[i].key, more->pairs[i].value);
    }
    return r < 0 ? img_fail_err(err, r) : 0;
}

/* ---- progress ---- */

static bool progress_on;

void img_progress_begin(bool on)
{
    progress_on = on;
    img_progress(0);
}

void img_progress(double percent)
{
    if (progress_on) {
        printf("    (%3.2f/100%%)\r", percent);
        (void)fflush(stdout);
    }
}

void img_progress_end(void)
{
    if (progress_on) {
        printf("    (100.00/100%%)\n");
        progress_on = false;
    }
}
