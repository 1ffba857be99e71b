/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockjob.c - QMP commands that start jobs on images, make images, and put overlays on them
 * (schema/job.json). */
#include "vmm/qmp/job.h"

#include "base/hash.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/flatten.h"
#include "vmm/machine/block.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A node of node's chain, by file name as the chain has it. */
static struct block_node *in_chain(struct block_node *node, const char *filename)
{
    for (unsigned i = 0; node != NULL && i < BLOCK_MAX_DEPTH; i++) {
        if (node->filename != NULL && str_eq(node->filename, filename)) {
            return node;
        }
        node = block_backing(node);
    }
    return NULL;
}

/* By node name ("base-node") or file name ("base"); NULL when neither is given. */
static int chain_node(struct machine *m, struct block_node *top, struct json_object *args,
                      const char *by_node, const char *by_file, struct block_node **ret,
                      struct err **err)
{
    const char *node = json_str_or(args, by_node, NULL);
    const char *file = json_str_or(args, by_file, NULL);

    *ret = NULL;
    if (node != NULL && file != NULL) {
        return err_set(err, EINVAL, "'%s' and '%s' are mutually exclusive", by_node, by_file);
    }
    if (node != NULL) {
        *ret = hash_get(m->blocks, node);
        if (*ret == NULL) {
            return err_set(err, ENODEV, "Cannot find device='' nor node-name='%s'", node);
        }
    } else if (file != NULL) {
        *ret = in_chain(top, file);
        if (*ret == NULL) {
            return err_set(err, ENOENT, "Can't find '%s' in the backing chain", file);
        }
    }
    return 0;
}

static struct block_node *device_arg(struct machine *m, struct json_object *args, struct err **err)
{
    return machine_node(m, json_str_or(args, "device", NULL), err);
}

int qmp_do_block_commit(struct machine *m, struct json_object *args, struct json_object **ret,
                        struct err **err)
{
    struct block_job_spec spec = { .type = BLOCK_JOB_COMMIT,
                                   .backing_file = json_str_or(args, "backing-file", NULL) };
    int r;

    (void)ret;
    spec.node = device_arg(m, args, err);
    if (spec.node == NULL) {
        return -ENODEV;
    }
    r = chain_node(m, spec.node, args, "top-node", "top", &spec.top, err);
    if (r == 0) {
        r = chain_node(m, spec.node, args, "base-node", "base", &spec.base, err);
    }
    if (r < 0) {
        return r;
    }
    if (spec.top == spec.node) {
        spec.top = NULL;
    }
    if (spec.base == NULL) { /* the end of the chain */
        struct block_node *n = block_backing(spec.node);

        while (n != NULL && block_backing(n) != NULL) {
            n = block_backing(n);
        }
        spec.base = n;
    }
    return qmp_job_start(m, args, &spec, NULL, err);
}

int qmp_do_block_stream(struct machine *m, struct json_object *args, struct json_object **ret,
                        struct err **err)
{
    struct block_job_spec spec = { .type = BLOCK_JOB_STREAM,
                                   .backing_file = json_str_or(args, "backing-file", NULL) };
    const char *bottom = json_str_or(args, "bottom", NULL);
    int r;

    (void)ret;
    spec.node = device_arg(m, args, err);
    if (spec.node == NULL) {
        return -ENODEV;
    }
    r = chain_node(m, spec.node, args, "base-node", "base", &spec.base, err);
    if (r == 0 && bottom != NULL) {
        struct block_node *n = hash_get(m->blocks, bottom);

        if (n == NULL) {
            return err_set(err, ENODEV, "Cannot find device='' nor node-name='%s'", bottom);
        }
        spec.base = block_backing(n);
    }
    return r == 0 ? qmp_job_start(m, args, &spec, NULL, err) : r;
}

static int parse_sync(struct json_object *args, struct block_job_spec *spec, struct err **err)
{
    const char *sync = json_str_or(args, "sync", "");
    const char *name = json_str_or(args, "bitmap", NULL);
    const char *mode = json_str_or(args, "bitmap-mode", NULL);

    if (str_eq(sync, "full")) {
        spec->sync = BLOCK_SYNC_FULL;
    } else if (str_eq(sync, "top")) {
        spec->sync = BLOCK_SYNC_TOP;
    } else if (str_eq(sync, "none")) {
        spec->sync = BLOCK_SYNC_NONE;
    } else if (str_eq(sync, "incremental") || str_eq(sync, "bitmap")) {
        spec->sync = BLOCK_SYNC_BITMAP;
        if (name == NULL) {
            return err_set(err, EINVAL, "must provide a valid bitmap name for '%s' sync mode", sync);
        }
    } else {
        return err_set(err, EINVAL, "Invalid parameter '%s'", sync);
    }
    if (name != NULL) {
        spec->bitmap = block_bitmap_find(spec->node, name);
        if (spec->bitmap == NULL) {
            return err_set(err, ENOENT, "Bitmap '%s' could not be found", name);
        }
    }
    if (mode != NULL && str_eq(mode, "never")) {
        spec->bitmap_mode = BLOCK_BITMAP_NEVER;
    } else if (mode != NULL && str_eq(mode, "always")) {
        spec->bitmap_mode = BLOCK_BITMAP_ALWAYS;
    } else if (mode != NULL && !str_eq(mode, "on-success")) {
        return err_set(err, EINVAL, "Invalid parameter '%s'", mode);
    }
    return 0;
}

static int mirror_options(struct json_object *args, struct block_job_spec *spec, struct err **err)
{
    const char *mode = json_str_or(args, "copy-mode", "background");
    int64_t granularity = json_i64_or(args, "granularity", 0);

    if (!str_eq(mode, "background") && !str_eq(mode, "write-blocking")) {
        return err_set(err, EINVAL, "Invalid parameter '%s'", mode);
    }
    if (granularity != 0 && (granularity < 512 || granularity > 64 << 20 ||
                             (granularity & (granularity - 1)) != 0)) {
        return err_set(err, EINVAL,
                       "Parameter 'granularity' expects a power of 2 from 512 bytes to 64 MB");
    }
    spec->write_blocking = str_eq(mode, "write-blocking");
    spec->granularity = (uint64_t)granularity;
    return 0;
}

/* The file that drive-mirror, drive-backup and blockdev-snapshot-sync copy to: made, or there. */
static int make_target(struct machine *m, const char *filename, const char *format,
                       const char *mode, struct block_node *like, struct block_node *backing,
                       const char *node_name, struct block_node **ret, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    char size[32];
    int r = 0;

    if (str_eq(mode, "absolute-paths")) {
        (void)snprintf(size, sizeof(size), "%llu", (unsigned long long)block_length(like));
        r = keyval_parse("", NULL, false, &kv, err);
        if (r == 0) {
            r = keyval_add(kv, "size", size);
        }
        if (r == 0 && backing != NULL && backing->filename != NULL) {
            r = keyval_add(kv, "backing_file", backing->filename);
        }
        if (r == 0 && backing != NULL && backing->filename != NULL) {
            r = keyval_add(kv, "backing_fmt", backing->drv->name);
        }
        if (r == 0) {
            r = block_create(m->block_ctx, format, filename, kv, err);
        }
    } else if (!str_eq(mode, "existing")) {
        return err_set(err, EINVAL, "Invalid parameter '%s'", mode);
    }
    return r == 0 ? machine_open_image(m, filename, format, node_name, false, ret, err) : r;
}

static int start_copy(struct machine *m, struct json_object *args, enum block_job_type type,
                      struct err **err)
{
    struct block_job_spec spec = { .type = type };
    const char *target = json_str_or(args, "target", "");
    int r;

    spec.node = device_arg(m, args, err);
    if (spec.node == NULL) {
        return -ENODEV;
    }
    spec.target = hash_get(m->blocks, target);
    if (spec.target == NULL) {
        return err_set(err, ENODEV, "Cannot find device='%s' nor node-name='%s'", target, target);
    }
    r = parse_sync(args, &spec, err);
    if (r == 0 && type == BLOCK_JOB_MIRROR) {
        r = mirror_options(args, &spec, err);
    }
    return r == 0 ? qmp_job_start(m, args, &spec, NULL, err) : r;
}

static int start_copy_to_file(struct machine *m, struct json_object *args, enum block_job_type type,
                              struct err **err)
{
    struct block_job_spec spec = { .type = type };
    struct block_node *backing;
    struct block_node *target = NULL;
    int r;

    spec.node = device_arg(m, args, err);
    if (spec.node == NULL) {
        return -ENODEV;
    }
    r = parse_sync(args, &spec, err);
    if (r == 0 && type == BLOCK_JOB_MIRROR) {
        r = mirror_options(args, &spec, err);
    }
    backing = spec.sync == BLOCK_SYNC_TOP    ? block_backing(spec.node)
              : spec.sync == BLOCK_SYNC_NONE ? spec.node
                                             : NULL;
    if (r == 0) {
        r = make_target(m, json_str_or(args, "target", ""),
                        json_str_or(args, "format", spec.node->drv->name),
                        json_str_or(args, "mode", "absolute-paths"), spec.node, backing,
                        json_str_or(args, "node-name", NULL), &target, err);
    }
    if (r == 0) {
        spec.target = target;
        r = qmp_job_start(m, args, &spec, target, err);
        if (r < 0) {
            machine_forget_node(m, target);
        }
    }
    return r;
}

int qmp_do_blockdev_mirror(struct machine *m, struct json_object *args, struct json_object **ret,
                           struct err **err)
{
    (void)ret;
    return start_copy(m, args, BLOCK_JOB_MIRROR, err);
}

int qmp_do_blockdev_backup(struct machine *m, struct json_object *args, struct json_object **ret,
                           struct err **err)
{
    (void)ret;
    return start_copy(m, args, BLOCK_JOB_BACKUP, err);
}

int qmp_do_drive_mirror(struct machine *m, struct json_object *args, struct json_object **ret,
                        struct err **err)
{
    (void)ret;
    return start_copy_to_file(m, args, BLOCK_JOB_MIRROR, err);
}

int qmp_do_drive_backup(struct machine *m, struct json_object *args, struct json_object **ret,
                        struct err **err)
{
    (void)ret;
    return start_copy_to_file(m, args, BLOCK_JOB_BACKUP, err);
}

/* ---- overlays ---- */

static int put_overlay(struct machine *m, struct block_node *node, struct block_node *overlay,
                       struct err **err)
{
    int r;

    if (overlay == node || machine_node_in_use(m, overlay)) {
        return err_set(err, EBUSY, "The overlay is already in use");
    }
    if (!overlay->drv->supports_backing) {
        return err_set(err, ENOTSUP, "The overlay does not support backing images");
    }
    if (block_backing(overlay) != NULL) {
        return err_set(err, EINVAL, "The overlay already has a backing image");
    }
    block_drain(node->ctx, node);
    (void)block_flush(node);
    r = block_set_backing(overlay, node);
    if (r < 0) {
        return err_set(err, -r, "Cannot set the backing image: %s", strerror(-r));
    }
    r = machine_replace_node(m, node, overlay, err);
    if (r < 0) {
        (void)block_set_backing(overlay, NULL);
    }
    return r;
}

int qmp_do_blockdev_snapshot(struct machine *m, struct json_object *args, struct json_object **ret,
                             struct err **err)
{
    struct block_node *node = machine_node(m, json_str_or(args, "node", NULL), err);
    struct block_node *overlay =
        node != NULL ? machine_node(m, json_str_or(args, "overlay", NULL), err) : NULL;

    (void)ret;
    return node != NULL && overlay != NULL ? put_overlay(m, node, overlay, err) : -ENODEV;
}

int qmp_do_blockdev_snapshot_sync(struct machine *m, struct json_object *args,
                                  struct json_object **ret, struct err **err)
{
    const char *name = json_str_or(args, "device", json_str_or(args, "node-name", NULL));
    struct block_node *node = machine_node(m, name, err);
    struct block_node *overlay = NULL;
    int r;

    (void)ret;
    if (node == NULL) {
        return -ENODEV;
    }
    r = make_target(m, json_str_or(args, "snapshot-file", ""), json_str_or(args, "format", "qcow2"),
                    json_str_or(args, "mode", "absolute-paths"), node, node,
                    json_str_or(args, "snapshot-node-name", NULL), &overlay, err);
    if (r == 0) {
        r = put_overlay(m, node, overlay, err);
        if (r < 0) {
            machine_forget_node(m, overlay);
        }
    }
    return r;
}

/* ---- making images ---- */

static int create_in_node(struct machine *m, const struct block_driver *drv, struct keyval *opts,
                          struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    struct block_node *file = machine_node(m, keyval_get(opts, "file"), err);
    int r = file != NULL ? keyval_parse("", NULL, false, &kv, err) : -ENODEV;

    for (size_t i = 0; r == 0 && i < opts->n; i++) {
        AUTO_FREE char *key = strdup(opts->pairs[i].key);

        if (key == NULL) {
            return -ENOMEM;
        }
        for (char *p = key; *p != '\0'; p++) { /* "backing-file" is "backing_file" in -o */
            *p = *p == '-' ? '_' : *p;
        }
        if (str_eq(key, "driver") || str_eq(key, "file")) {
            continue;
        }
        if (str_eq(key, "version")) {
            r = keyval_add(kv, "compat", str_eq(opts->pairs[i].value, "v2") ? "0.10" : "1.1");
        } else {
            r = keyval_add(kv, key, opts->pairs[i].value);
        }
    }
    if (r == 0) {
        r = block_opts_check(drv->create_opts, NULL, kv, drv->name, err);
    }
    return r == 0 ? drv->create(m->block_ctx, file, file->filename, kv, err) : r;
}

static int create(struct machine *m, struct keyval *opts, struct err **err)
{
    const char *driver = keyval_get(opts, "driver");
    const struct block_driver *drv = driver != NULL ? block_driver_find(driver) : NULL;
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    const char *filename = keyval_get(opts, "filename");
    const char *size = keyval_get(opts, "size");
    int r;

    if (drv == NULL || drv->create == NULL) {
        return err_set(err, ENOTSUP, "Driver '%s' does not support image creation",
                       driver != NULL ? driver : "");
    }
    if (!drv->is_protocol) {
        return create_in_node(m, drv, opts, err);
    }
    if (filename == NULL || size == NULL) {
        return err_set(err, EINVAL, "Parameter '%s' is missing",
                       filename == NULL ? "filename" : "size");
    }
    r = keyval_parse("", NULL, false, &kv, err);
    if (r == 0) {
        r = keyval_add(kv, "size", size);
    }
    return r == 0 ? block_create(m->block_ctx, "raw", filename, kv, err) : r;
}

int qmp_do_blockdev_create(struct machine *m, struct json_object *args, struct json_object **ret,
                           struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *opts = NULL;
    struct err *failed = NULL;
    int r = json_to_keyval(json_member(args, "options"), &opts, err);

    (void)ret;
    if (r < 0) {
        return r;
    }
    r = create(m, opts, &failed);
    if (r < 0 && failed == NULL) {
        (void)err_set(&failed, -r, "%s", strerror(-r));
    }
    return qmp_job_done(m, json_str_or(args, "job-id", NULL), "create", failed, err);
}
