/* SPDX-License-Identifier: GPL-2.0-or-later */
/* export.c - opens images as the options say, and exports them. */
#include "tools/nbd/nbd.h"

#include "base/str.h"
#include "block/core/bitmap.h"
#include "block/core/image.h"
#include "block/core/snapshot.h"
#include "codec/keyval.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int cache_options(const struct nbd_tool *t, struct keyval *kv, struct err **err)
{
    const char *c = t->cache != NULL ? t->cache : "writeback";
    int r = 0;

    if (str_eq(c, "none") || str_eq(c, "off") || str_eq(c, "directsync")) {
        r = keyval_add(kv, "cache.direct", "on");
    } else if (str_eq(c, "unsafe")) {
        r = keyval_add(kv, "cache.no-flush", "on");
    } else if (!str_eq(c, "writeback") && !str_eq(c, "writethrough")) {
        r = err_set(err, EINVAL, "Invalid cache mode `%s'", c);
    }
    return r;
}

static int image_options(const struct nbd_tool *t, struct keyval *kv, struct err **err)
{
    int r = cache_options(t, kv, err);

    if (r == 0) {
        r = keyval_add(kv, "read-only", t->read_only || t->snapshot ? "on" : "off");
    }
    if (r == 0) {
        r = keyval_add(kv, "discard", t->discard != NULL ? t->discard : "unmap");
    }
    if (r == 0 && t->detect_zeroes != NULL && !t->snapshot) {
        r = keyval_add(kv, "detect-zeroes", t->detect_zeroes);
    }
    return r;
}

static int open_image(const struct nbd_tool *t, const char *file, struct block_node **ret,
                      struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = keyval_parse(t->image_opts ? file : "", NULL, false, &kv, err);

    if (r == 0) {
        r = image_options(t, kv, err);
    }
    if (r == 0 && !t->image_opts) {
        return block_open_image(t->ctx, file, t->fmt, kv, ret, err);
    }
    if (r == 0) {
        r = block_open(t->ctx, kv, NULL, NULL, ret, err);
    }
    return r == 0 ? keyval_check_used(kv, err) : r;
}

/* "snapshot.id=ID,snapshot.name=NAME", or one of them without its key. */
static int load_snapshot(struct block_node *node, const char *text, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    const char *id = text;
    int r = 0;

    if (str_starts(text, "snapshot.")) {
        r = keyval_parse(text, NULL, false, &kv, err);
        if (r < 0) {
            return r;
        }
        id = keyval_get(kv, "snapshot.id");
        id = id != NULL ? id : keyval_get(kv, "snapshot.name");
        r = keyval_check_used(kv, err);
    }
    if (r == 0) {
        r = block_snapshot_load(node, id != NULL ? id : "", err);
        err_prefix(err, "Failed to load snapshot: ");
    }
    return r;
}

/* A file that has no name any more holds what is written; the image is its backing node. */
static int put_overlay(struct nbd_tool *t, struct block_node **node, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    CLEANUP(block_unrefp) struct block_node *overlay = NULL;
    const char *dir = getenv("TMPDIR");
    AUTO_FREE char *path = str_format("%s/vireo-nbd.XXXXXX", dir != NULL ? dir : "/var/tmp");
    char text[64];
    AUTO_FD int fd = path != NULL ? mkstemp(path) : -1;
    int r;

    if (fd < 0) {
        return err_set(err, errno, "Could not make a temporary file in '%s': %s",
                       dir != NULL ? dir : "/var/tmp", strerror(errno));
    }
    (void)snprintf(text, sizeof(text), "size=%lld", (long long)block_length(*node));
    r = keyval_parse(text, NULL, false, &kv, err);
    if (r == 0) {
        r = block_create(t->ctx, "qcow2", path, kv, err);
    }
    kv = keyval_free(kv);
    if (r == 0) {
        r = keyval_parse("cache.no-flush=on,discard=unmap", NULL, false, &kv, err);
    }
    if (r == 0 && t->detect_zeroes != NULL) {
        r = keyval_add(kv, "detect-zeroes", t->detect_zeroes);
    }
    if (r == 0) {
        r = block_open_image(t->ctx, path, "qcow2", kv, &overlay, err);
    }
    (void)unlink(path);
    if (r == 0) {
        r = block_set_backing(overlay, *node);
    }
    if (r == 0) {
        (void)block_unref(*node);
        *node = TAKE_PTR(overlay);
    }
    return r;
}

int nbd_export_file(struct nbd_tool *t, struct nbd_server *server, const char *file,
                    struct err **err)
{
    struct nbd_export_options o = { .name = t->name != NULL ? t->name : "",
                                    .description = t->description,
                                    .writable = !t->read_only,
                                    .off = t->off,
                                    .len = UINT64_MAX,
                                    .allocation_depth = t->allocation_depth };
    CLEANUP(block_unrefp) struct block_node *node = NULL;
    int r = open_image(t, file, &node, err);

    if (r == 0 && t->load_snapshot != NULL) {
        r = load_snapshot(node, t->load_snapshot, err);
    }
    if (r == 0 && t->snapshot) {
        r = put_overlay(t, &node, err);
    }
    for (unsigned i = 0; r == 0 && i < t->n_bitmaps; i++) {
        struct block_node *at = node;

        for (; at != NULL && o.bitmaps[i] == NULL; at = block_backing(at)) {
            o.bitmaps[i] = block_bitmap_find(block_skip_filters(at), t->bitmaps[i]);
        }
        if (o.bitmaps[i] == NULL) {
            r = err_set(err, ENOENT, "Bitmap '%s' is not found", t->bitmaps[i]);
        }
        o.n_bitmaps = i + 1;
    }
    if (r == 0) {
        o.writethrough = t->cache != NULL &&
                         (str_eq(t->cache, "writethrough") || str_eq(t->cache, "directsync"));
        r = nbd_server_add(server, node, &o, NULL, err);
    }
    return r < 0 ? err_set(err, -r, "%s", strerror(-r)) : 0;
}

int nbd_export_text(struct nbd_tool *t, struct nbd_server *server, const char *text,
                    struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    struct nbd_tool own = *t;
    const char *file;
    unsigned long long off = 0;
    int r = keyval_parse(text, NULL, true, &kv, err);

    if (r < 0) {
        return r;
    }
    own.n_bitmaps = 0;
    own.description = keyval_get(kv, "description");
    own.name = keyval_get(kv, "name");
    own.load_snapshot = keyval_get(kv, "load-snapshot");
    own.fmt = keyval_get(kv, "format");
    own.image_opts = false;
    file = keyval_get(kv, "file");
    r = keyval_get_bool(kv, "read-only", t->read_only, &own.read_only, err);
    if (r == 0) {
        r = keyval_get_bool(kv, "allocation-depth", t->allocation_depth, &own.allocation_depth,
                            err);
    }
    if (r == 0) {
        r = keyval_get_size(kv, "offset", 0, &off, err);
        own.off = off;
    }
    for (size_t i = 0; r == 0 && i < kv->n; i++) {
        if (str_eq(kv->pairs[i].key, "bitmap") && own.n_bitmaps < MAX_BITMAPS) {
            kv->pairs[i].used = true;
            own.bitmaps[own.n_bitmaps++] = kv->pairs[i].value;
        }
    }
    if (r == 0) {
        r = keyval_check_used(kv, err);
    }
    if (r == 0 && (own.name == NULL || file == NULL)) {
        r = err_set(err, EINVAL, "--export takes name=NAME,file=FILE, and more");
    }
    if (r == 0 && own.load_snapshot != NULL) {
        own.read_only = true;
    }
    return r == 0 ? nbd_export_file(&own, server, file, err) : r;
}
