/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* open.c - nodes from options: drivers, probing, children, backing chains. */
#include "block/core/block.h"

#include "base/log.h"
#include "base/str.h"
#include "block/core/ctx.h"
#include "block/core/graph.h"
#include "codec/keyval.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PROBE_BYTES = 2048 };

const struct block_driver *block_driver_find(const char *name)
{
    for (const struct block_driver *const *d = block_drivers; *d != NULL; d++) {
        if (str_eq((*d)->name, name)) {
            return *d;
        }
    }
    return NULL;
}

const struct block_driver *block_probe(const uint8_t *head, size_t len, const char *filename)
{
    const struct block_driver *best = block_driver_find("raw");
    int score = 0;

    for (const struct block_driver *const *d = block_drivers; *d != NULL; d++) {
        int s = (*d)->probe != NULL ? (*d)->probe(head, len, filename) : 0;

        if (s > score) {
            score = s;
            best = *d;
        }
    }
    return best;
}

/* The options that all nodes have (QEMU's BlockdevOptions). */
static int common_options(struct block_node *node, struct keyval *opts, struct err **err)
{
    const char *name = keyval_get(opts, "node-name");
    const char *discard = keyval_get(opts, "discard");
    const char *zeroes = keyval_get(opts, "detect-zeroes");
    bool auto_read_only;
    int r = keyval_get_bool(opts, "read-only", false, &node->read_only, err);

    if (r == 0) {
        r = keyval_get_bool(opts, "auto-read-only", false, &auto_read_only, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "cache.direct", false, &node->direct, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "cache.no-flush", false, &node->no_flush, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "force-share", false, &node->force_share, err);
    }
    if (r < 0) {
        return r;
    }
    if (node->force_share && !node->read_only) {
        return err_set(err, EINVAL, "force-share=on can only be used with read-only images");
    }
    if (zeroes != NULL && !str_eq(zeroes, "off") && !str_eq(zeroes, "on") &&
        !str_eq(zeroes, "unmap")) {
        return err_set(err, EINVAL, "detect-zeroes takes off, on or unmap, not '%s'", zeroes);
    }
    if (discard != NULL && !str_eq(discard, "unmap") && !str_eq(discard, "on") &&
        !str_eq(discard, "ignore") && !str_eq(discard, "off")) {
        return err_set(err, EINVAL, "discard takes unmap or ignore, not '%s'", discard);
    }
    node->detect_zeroes = zeroes != NULL && !str_eq(zeroes, "off");
    node->detect_unmap = zeroes != NULL && str_eq(zeroes, "unmap");
    node->discard_on = discard != NULL && (str_eq(discard, "unmap") || str_eq(discard, "on"));
    if (name == NULL) {
        node->name = str_format("#block%03u", node->ctx->next_name++);
    } else {
        node->name = strdup(name);
    }
    return node->name != NULL ? 0 : err_set(err, ENOMEM, "no memory");
}

/* The core's own words to a node that is being opened; they come as options so that they travel
 * down the graph, and begin with a character that users cannot write. */
static void internal_options(struct block_node *node, struct keyval *opts)
{
    node->no_backing = keyval_get(opts, "\1no-backing") != NULL;
    node->no_io = keyval_get(opts, "\1no-io") != NULL;
    node->for_check = keyval_get(opts, "\1check") != NULL;
    node->shares_writes = keyval_get(opts, "\1shares-writes") != NULL;
    node->is_backing = keyval_get(opts, "\1backing") != NULL;
}

static int open_driver(struct block_ctx *ctx, const struct block_driver *drv, struct keyval *opts,
                       struct block_node *file, struct block_node **ret, struct err **err)
{
    struct block_node *node = calloc(1, drv->size);
    int r;

    if (node == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    node->drv = drv;
    node->ctx = ctx;
    node->refs = 1;
    list_init(&node->hooks);
    list_init(&node->bitmaps);
    node->given_file = file;
    internal_options(node, opts);
    r = common_options(node, opts, err);
    if (r == 0) {
        r = drv->open(node, opts, err);
    }
    node->given_file = NULL;
    if (r < 0) {
        r = err_set(err, -r, "%s", strerror(-r));
        (void)block_unref(node);
        return r;
    }
    node->opened = true;
    *ret = node;
    return 0;
}

/* Opens the file under an image whose format is to be found out, and finds it out. */
static int open_to_probe(struct block_ctx *ctx, struct keyval *opts, struct block_node **ret_file,
                         const struct block_driver **ret_drv, struct err **err)
{
    struct block_node scratch = { .ctx = ctx, .shares_writes = true };
    uint8_t head[PROBE_BYTES] = { 0 };
    int64_t length;
    size_t len;
    int r = keyval_get_bool(opts, "read-only", false, &scratch.read_only, err);

    if (r == 0) {
        r = block_open_child(&scratch, opts, "file", ret_file, err);
    }
    free(scratch.children != NULL ? scratch.children[0].name : NULL);
    free(scratch.children); /* the reference is the caller's now */
    if (r < 0) {
        return r;
    }
    length = block_length(*ret_file);
    len = length < 0 ? 0 : length < PROBE_BYTES ? (size_t)length : PROBE_BYTES;
    r = len > 0 ? block_pread(*ret_file, head, len, 0) : 0;
    if (r < 0) {
        *ret_file = block_unref(*ret_file);
        return err_set(err, -r, "Could not read image for determining its format: %s",
                       strerror(-r));
    }
    *ret_drv = block_probe(head, len, (*ret_file)->filename);
    return 0;
}

/* "filename=X" of an image without a driver is "file.filename=X" with what the name stands for. */
static int expand_filename(struct keyval *opts, const char *driver, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *named = NULL;
    const char *filename = keyval_get(opts, "filename");
    const struct block_driver *drv = driver != NULL ? block_driver_find(driver) : NULL;
    int r;

    if (filename == NULL || (drv != NULL && drv->is_protocol)) {
        return 0;
    }
    r = keyval_parse("", NULL, false, &named, err);
    if (r == 0) {
        r = block_parse_filename(filename, named, err);
    }
    for (size_t i = 0; r == 0 && i < named->n; i++) {
        bool whole = str_starts(filename, "json:");
        AUTO_FREE char *key = str_format("%s%s", whole ? "" : "file.", named->pairs[i].key);

        r = key != NULL ? keyval_add(opts, key, named->pairs[i].value) : -ENOMEM;
    }
    return r;
}

int block_open(struct block_ctx *ctx, struct keyval *opts, block_lookup_fn *lookup, void *arg,
               struct block_node **ret, struct err **err)
{
    const struct block_driver *drv;
    struct block_node *file = NULL;
    const char *driver;
    int r = 0;

    if (ctx->depth >= BLOCK_MAX_DEPTH) {
        return err_set(err, ELOOP, "images on images without end: more than %d", BLOCK_MAX_DEPTH);
    }
    ctx->depth++;
    ctx->lookup = lookup;
    ctx->lookup_arg = arg;
    r = expand_filename(opts, keyval_get(opts, "driver"), err);
    driver = keyval_get(opts, "driver");
    drv = driver != NULL ? block_driver_find(driver) : NULL;
    if (r == 0 && driver != NULL && drv == NULL) {
        r = err_set(err, EINVAL, "Unknown driver '%s'", driver);
    } else if (r == 0 && driver == NULL) {
        r = open_to_probe(ctx, opts, &file, &drv, err);
    }
    if (r == 0 && file != NULL && file->drv->share_writes != NULL && !str_eq(drv->name, "raw")) {
        r = file->drv->share_writes(file, false, err);
    }
    if (r == 0) {
        r = open_driver(ctx, drv, opts, file, ret, err);
    }
    if (r == 0 && driver == NULL) {
        (*ret)->probed = true;
    }
    (void)block_unref(file);
    ctx->depth--;
    return r;
}

int block_open_image(struct block_ctx *ctx, const char *filename, const char *fmt,
                     struct keyval *opts, struct block_node **ret, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = keyval_parse("", NULL, false, &kv, err);

    if (r == 0 && fmt != NULL && block_driver_find(fmt) == NULL) {
        return err_set(err, EINVAL, "Could not open '%s': Unknown driver '%s'", filename, fmt);
    }
    if (r == 0 && fmt != NULL) {
        r = keyval_add(kv, "driver", fmt);
    }
    if (r == 0) {
        r = fmt != NULL && block_driver_find(fmt)->is_protocol && !str_starts(filename, "json:")
                ? block_parse_filename(filename, kv, err)
                : keyval_add(kv, "filename", filename);
    }
    for (size_t i = 0; r == 0 && opts != NULL && i < opts->n; i++) {
        r = keyval_add(kv, opts->pairs[i].key, opts->pairs[i].value);
    }
    if (r == 0) {
        r = block_open(ctx, kv, ctx->lookup, ctx->lookup_arg, ret, err);
    }
    if (r == 0) {
        r = keyval_check_used(kv, err);
        if (r < 0) {
            *ret = block_unref(*ret);
        }
    }
    if (r < 0) {
        r = err_set(err, -r, "%s", strerror(-r));
        err_prefix(err, "Could not open '%s': ", filename);
    }
    return r;
}

/* "file.driver=file,file.filename=X" below a key becomes "driver=file,filename=X". */
static int sub_options(struct keyval *opts, const char *key, struct keyval **ret, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *sub = NULL;
    size_t len = strlen(key);
    int r = keyval_parse("", NULL, false, &sub, err);

    for (size_t i = 0; r == 0 && i < opts->n; i++) {
        struct keyval_pair *p = &opts->pairs[i];

        if (strncmp(p->key, key, len) == 0 && p->key[len] == '.') {
            p->used = true;
            r = keyval_add(sub, p->key + len + 1, p->value);
        }
    }
    if (r == 0) {
        *ret = TAKE_PTR(sub);
    }
    return r;
}

/* What children get from their parent where they do not say themselves. */
static int inherit(struct keyval *parent, struct block_node *node, struct keyval *sub,
                   const char *key)
{
    static const char *const handed_down[] = { "cache.direct", "cache.no-flush", "force-share",
                                               "\1no-io",      "\1check",        "discard" };
    bool backing = str_eq(key, "backing");
    int r = 0;

    if ((node->read_only || backing) && keyval_get(sub, "read-only") == NULL) {
        r = keyval_add(sub, "read-only", "on");
    }
    for (size_t i = 0; r == 0 && i < sizeof(handed_down) / sizeof(handed_down[0]); i++) {
        const char *value = keyval_get(parent, handed_down[i]);

        if (backing && (str_eq(handed_down[i], "discard") || str_eq(handed_down[i], "\1check"))) {
            continue;
        }
        if (value != NULL && keyval_get(sub, handed_down[i]) == NULL) {
            r = keyval_add(sub, handed_down[i], value);
        }
    }
    /* The format may discard what it frees even where the guest may not. */
    if (r == 0 && !backing && keyval_get(sub, "discard") == NULL) {
        r = keyval_add(sub, "discard", "unmap");
    }
    if (r == 0 && backing) {
        r = keyval_add(sub, "\1backing", "on");
    }
    if (r == 0 && (node->shares_writes || (node->drv != NULL && str_eq(node->drv->name, "raw")))) {
        r = keyval_add(sub, "\1shares-writes", "on");
    }
    return r;
}

int block_open_child(struct block_node *node, struct keyval *opts, const char *key,
                     struct block_node **ret, struct err **err)
{
    const char *name = keyval_get(opts, key);
    struct block_ctx *ctx = node->ctx;
    struct block_node *child = NULL;
    int r;

    if (node->given_file != NULL && str_eq(key, "file")) {
        child = block_ref(node->given_file);
        for (size_t i = 0; i < opts->n; i++) {
            opts->pairs[i].used |= str_starts(opts->pairs[i].key, "file.");
        }
    } else if (name != NULL) {
        child = ctx->lookup != NULL ? ctx->lookup(ctx->lookup_arg, name) : NULL;
        if (child == NULL) {
            return err_set(err, ENOENT, "Cannot find device='' nor node-name='%s'", name);
        }
        (void)block_ref(child);
    } else {
        CLEANUP(keyval_freep) struct keyval *sub = NULL;
        block_lookup_fn *lookup = ctx->lookup;
        void *arg = ctx->lookup_arg;

        r = sub_options(opts, key, &sub, err);
        if (r == 0 && sub->n == 0) {
            return err_set(err, EINVAL, "A block device must be specified for \"%s\"", key);
        }
        /* What a format lies in is a file, never another image that might be guessed. */
        if (r == 0 && (str_eq(key, "file") || str_eq(key, "data-file")) &&
            keyval_get(sub, "driver") == NULL && keyval_get(sub, "filename") != NULL) {
            AUTO_FREE char *filename = strdup(keyval_get(sub, "filename"));

            r = filename != NULL ? block_parse_filename(filename, sub, err) : -ENOMEM;
        }
        if (r == 0) {
            r = inherit(opts, node, sub, key);
        }
        if (r == 0) {
            r = block_open(ctx, sub, lookup, arg, &child, err);
        }
        if (r == 0) {
            r = keyval_check_used(sub, err);
        }
        if (r < 0) {
            (void)block_unref(child);
            return r;
        }
    }
    r = block_attach_child(node, child, key);
    if (r < 0) {
        (void)block_unref(child);
        return err_set(err, -r, "a node has at most %d children", BLOCK_MAX_CHILDREN);
    }
    *ret = child;
    return 0;
}

int block_open_file_child(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct block_node *file;
    int r = block_open_child(node, opts, "file", &file, err);

    if (r == 0) {
        node->read_only |= file->read_only;
        node->filename = file->filename != NULL ? strdup(file->filename) : NULL;
    }
    return r;
}

static bool has_sub_options(struct keyval *opts, const char *prefix)
{
    for (size_t i = 0; i < opts->n; i++) {
        if (str_starts(opts->pairs[i].key, prefix)) {
            return true;
        }
    }
    return false;
}

int block_open_backing(struct block_node *node, struct keyval *opts, struct err **err)
{
    const char *name = keyval_get(opts, "backing");
    struct block_node *backing;
    bool given = has_sub_options(opts, "backing.");
    int r;

    if (node->no_backing) {
        return 0;
    }
    if (name != NULL && *name == '\0') {
        return 0; /* "backing": null */
    }
    if (name == NULL && (!given || keyval_get(opts, "backing.filename") == NULL) &&
        keyval_get(opts, "backing.file.filename") == NULL &&
        keyval_get(opts, "backing.file") == NULL) {
        AUTO_FREE char *full = block_full_backing_name(node);

        if (full == NULL && !given) {
            return 0;
        }
        if (full != NULL && keyval_get(opts, "backing.driver") == NULL &&
            node->backing_fmt != NULL && *node->backing_fmt != '\0' &&
            keyval_add(opts, "backing.driver", node->backing_fmt) < 0) {
            return -ENOMEM;
        }
        if (full != NULL && keyval_add(opts, "backing.filename", full) < 0) {
            return -ENOMEM;
        }
    }
    r = block_open_child(node, opts, "backing", &backing, err);
    if (r < 0) {
        err_prefix(err, "Could not open backing file: ");
    }
    return r;
}
