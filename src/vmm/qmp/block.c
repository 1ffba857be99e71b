/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block.c - QMP commands about images (schema/block.json). */
#include "block/core/bitmap.h"
#include "block/core/block.h"
#include "block/core/limits.h"

#include "base/hash.h"
#include "base/str.h"
#include "codec/flatten.h"
#include "vmm/cli/drive.h"
#include "vmm/dev/device.h"
#include "vmm/dev/disk/disk.h"
#include "vmm/machine/block.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

#include <errno.h>
#include <stdio.h>

static struct json_object *image_info(struct block_node *node)
{
    struct json_object *o = json_object_new_object();
    int64_t len = block_length(node);

    (void)json_add_str(o, "filename", node->filename != NULL ? node->filename : "");
    (void)json_add_str(o, "format", node->drv->name);
    (void)json_add_i64(o, "virtual-size", len > 0 ? len : 0);
    return o;
}

static const char *const limit_names[BLOCK_N_LIMITS] = { "bps",  "bps_rd",  "bps_wr",
                                                         "iops", "iops_rd", "iops_wr" };

static void add_bitmap(struct json_object *list, struct block_bitmap *bm)
{
    struct json_object *o = json_object_new_object();

    if (bm->name != NULL) {
        (void)json_add_str(o, "name", bm->name);
    }
    (void)json_add_u64(o, "count", block_bitmap_dirty_bytes(bm));
    (void)json_add_u64(o, "granularity", bm->granularity);
    (void)json_add_bool(o, "recording", bm->enabled);
    (void)json_add_bool(o, "busy", bm->busy);
    (void)json_add_bool(o, "persistent", bm->persistent);
    if (bm->inconsistent) {
        (void)json_add_bool(o, "inconsistent", true);
    }
    (void)json_object_array_add(list, o);
}

static int64_t chain_depth(struct block_node *node)
{
    int64_t n = 0;

    while ((node = block_backing(node)) != NULL && n < BLOCK_MAX_DEPTH) {
        n++;
    }
    return n;
}

static struct json_object *node_info(struct block_node *node, const char *name)
{
    struct json_object *o = json_object_new_object();
    struct json_object *cache = json_object_new_object();
    struct json_object *bitmaps = json_object_new_array();
    struct block_limits limits;

    (void)json_add_str(o, "node-name", name);
    (void)json_add_str(o, "drv", node->drv->name);
    (void)json_add_bool(o, "ro", node->read_only);
    (void)json_add_str(o, "file", node->filename != NULL ? node->filename : "");
    (void)json_add_bool(o, "encrypted", false);
    (void)json_add_i64(o, "backing_file_depth", chain_depth(node));
    if (block_backing(node) != NULL && block_backing(node)->filename != NULL) {
        (void)json_add_str(o, "backing_file", block_backing(node)->filename);
    }
    (void)json_add_str(o, "detect_zeroes", "off");
    block_get_limits(node, &limits);
    for (unsigned i = 0; i < BLOCK_N_LIMITS; i++) {
        (void)json_add_u64(o, limit_names[i], limits.avg[i]);
        if (limits.max[i] != 0) {
            AUTO_FREE char *max = str_format("%s_max", limit_names[i]);

            (void)json_add_u64(o, max != NULL ? max : "", limits.max[i]);
        }
    }
    (void)json_add_i64(o, "write_threshold", 0);
    LIST_FOREACH (&node->bitmaps, it) {
        add_bitmap(bitmaps, CONTAINER_OF(it, struct block_bitmap, link));
    }
    if (json_object_array_length(bitmaps) > 0) {
        (void)json_add(o, "dirty-bitmaps", bitmaps);
    } else {
        (void)json_object_put(bitmaps);
    }
    (void)json_add_bool(cache, "writeback", true);
    (void)json_add_bool(cache, "direct", node->direct);
    (void)json_add_bool(cache, "no-flush", node->no_flush);
    (void)json_add(o, "cache", cache);
    (void)json_add(o, "image", image_info(node));
    return o;
}

static int add_node(const char *key, void *value, void *arg)
{
    (void)json_object_array_add(arg, node_info(value, key));
    return 0;
}

int qmp_do_query_named_block_nodes(struct machine *m, struct json_object *args,
                                   struct json_object **ret, struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    (void)hash_each(m->blocks, add_node, *ret);
    return 0;
}

static char *qdev_path(const struct device *dev)
{
    const char *backend = dev->cls->virtio != NULL ? "/virtio-backend" : "";

    return dev->id != NULL ? str_format("/machine/peripheral/%s%s", dev->id, backend)
                           : str_format("/machine/unattached/%s%s", dev->cls->name, backend);
}

static const char *drive_id(struct machine *m, const struct disk *d)
{
    return d->drive != NULL && hash_get(m->drives, d->drive) != NULL ? d->drive : "";
}

static const char *node_name(const struct block_node *node)
{
    return node->name != NULL ? node->name : "";
}

int qmp_do_query_block(struct machine *m, struct json_object *args, struct json_object **ret,
                       struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    LIST_FOREACH (&m->devices, it) {
        struct device *dev = CONTAINER_OF(it, struct device, link);
        const struct disk *d = device_disk(dev);
        bool removable = dev->cls->medium_changed != NULL;
        struct json_object *o;
        AUTO_FREE char *path = NULL;

        if (d == NULL) {
            continue;
        }
        path = qdev_path(dev);
        o = json_object_new_object();
        (void)json_add_str(o, "device", drive_id(m, d));
        (void)json_add_str(o, "qdev", path != NULL ? path : "");
        (void)json_add_str(o, "type", "unknown");
        (void)json_add_bool(o, "removable", removable);
        (void)json_add_bool(o, "locked", d->tray_locked);
        (void)json_add_str(o, "io-status", "ok");
        if (removable) {
            (void)json_add_bool(o, "tray_open", d->tray_open);
        }
        if (d->node != NULL) {
            (void)json_add(o, "inserted", node_info(d->node, node_name(d->node)));
        }
        (void)json_object_array_add(*ret, o);
    }
    return 0;
}

/* ---- statistics ---- */

static struct json_object *stats_of(const struct block_node *node)
{
    const struct block_stats *st = &node->stats;
    static const struct {
        const char *name;
        enum block_op op;
    } ops[] = { { "rd", BLOCK_READ },
                { "wr", BLOCK_WRITE },
                { "flush", BLOCK_FLUSH },
                { "unmap", BLOCK_DISCARD } };
    struct json_object *s = json_object_new_object();

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        const char *n = ops[i].name;
        enum block_op op = ops[i].op;
        /* Zeroes that are written are writes. */
        bool w = op == BLOCK_WRITE;
        char key[64];

        (void)snprintf(key, sizeof(key), "%s_operations", n);
        (void)json_add_u64(s, key, st->ops[op] + (w ? st->ops[BLOCK_WRITE_ZEROES] : 0));
        (void)snprintf(key, sizeof(key), "%s_total_time_ns", n);
        (void)json_add_u64(s, key, st->ns[op] + (w ? st->ns[BLOCK_WRITE_ZEROES] : 0));
        (void)snprintf(key, sizeof(key), "failed_%s_operations", n);
        (void)json_add_u64(s, key, st->failed[op] + (w ? st->failed[BLOCK_WRITE_ZEROES] : 0));
        (void)snprintf(key, sizeof(key), "invalid_%s_operations", n);
        (void)json_add_u64(s, key, 0);
        if (op != BLOCK_FLUSH) {
            (void)snprintf(key, sizeof(key), "%s_bytes", n);
            (void)json_add_u64(s, key, st->bytes[op] + (w ? st->bytes[BLOCK_WRITE_ZEROES] : 0));
            (void)snprintf(key, sizeof(key), "%s_merged", n);
            (void)json_add_u64(s, key, 0);
        }
    }
    (void)json_add_u64(s, "wr_highest_offset", st->highest);
    (void)json_add_bool(s, "account_invalid", true);
    (void)json_add_bool(s, "account_failed", true);
    (void)json_add(s, "timed_stats", json_object_new_array());
    return s;
}

static int add_node_stats(const char *key, void *value, void *arg)
{
    struct json_object *o = json_object_new_object();

    (void)json_add_str(o, "node-name", key);
    (void)json_add(o, "stats", stats_of(value));
    (void)json_object_array_add(arg, o);
    return 0;
}

int qmp_do_query_blockstats(struct machine *m, struct json_object *args, struct json_object **ret,
                            struct err **err)
{
    (void)err;
    *ret = json_object_new_array();
    if (json_bool_or(args, "query-nodes", false)) {
        (void)hash_each(m->blocks, add_node_stats, *ret);
        return 0;
    }
    LIST_FOREACH (&m->devices, it) {
        struct device *dev = CONTAINER_OF(it, struct device, link);
        const struct disk *d = device_disk(dev);

        if (d != NULL && d->node != NULL) {
            struct json_object *o = json_object_new_object();
            AUTO_FREE char *path = qdev_path(dev);

            (void)json_add_str(o, "device", drive_id(m, d));
            (void)json_add_str(o, "node-name", node_name(d->node));
            (void)json_add_str(o, "qdev", path != NULL ? path : "");
            (void)json_add(o, "stats", stats_of(d->node));
            if (d->node->file != NULL) {
                struct json_object *file = json_object_new_object();

                (void)json_add(file, "stats", stats_of(d->node->file));
                (void)json_add(o, "parent", file);
            }
            (void)json_object_array_add(*ret, o);
        }
    }
    return 0;
}

/* ---- nodes ---- */

int qmp_do_blockdev_add(struct machine *m, struct json_object *args, struct json_object **ret,
                        struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = json_to_keyval(args, &kv, err);

    (void)ret;
    return r == 0 ? blockdev_add(m, m->block_ctx, kv, err) : r;
}

int qmp_do_blockdev_del(struct machine *m, struct json_object *args, struct json_object **ret,
                        struct err **err)
{
    const char *name = NULL;
    struct block_node *node;

    (void)ret;
    (void)!json_get_str(args, "node-name", &name, NULL);
    node = hash_get(m->blocks, name);
    if (node == NULL) {
        return err_set(err, ENOENT, "Failed to find node with node-name='%s'", name);
    }
    if (node->refs > 1) {
        return err_set(err, EBUSY, "Block device %s is in use", name);
    }
    (void)hash_remove(m->blocks, name);
    (void)block_unref(node);
    return 0;
}

/* ---- sizes and limits ---- */

int qmp_do_block_resize(struct machine *m, struct json_object *args, struct json_object **ret,
                        struct err **err)
{
    const char *name = json_str_or(args, "device", json_str_or(args, "node-name", NULL));
    struct block_node *node = machine_node(m, name, err);
    int64_t size = json_i64_or(args, "size", -1);
    int r;

    (void)ret;
    if (node == NULL) {
        return -ENODEV;
    }
    if (size < 0) {
        return err_set(err, EINVAL, "Parameter 'size' expects a >0 size");
    }
    if (node->read_only) {
        return err_set(err, EROFS, "Block node is read-only");
    }
    block_drain(node->ctx, node);
    r = block_truncate(node, (uint64_t)size, BLOCK_PREALLOC_OFF, err);
    LIST_FOREACH (&m->devices, it) {
        struct device *dev = CONTAINER_OF(it, struct device, link);
        const struct disk *d = device_disk(dev);

        if (r == 0 && d != NULL && d->node == node && dev->cls->resized != NULL) {
            dev->cls->resized(dev);
        }
    }
    return r;
}

int qmp_do_block_set_io_throttle(struct machine *m, struct json_object *args,
                                 struct json_object **ret, struct err **err)
{
    const char *name = json_str_or(args, "id", json_str_or(args, "device", NULL));
    struct block_node *node = machine_node(m, name, err);
    struct block_limits limits = { .avg = { 0 } };

    (void)ret;
    if (node == NULL) {
        return -ENODEV;
    }
    for (unsigned i = 0; i < BLOCK_N_LIMITS; i++) {
        AUTO_FREE char *key = str_format("%s_max", limit_names[i]);
        int64_t avg = json_i64_or(args, limit_names[i], 0);
        int64_t max = key != NULL ? json_i64_or(args, key, 0) : 0;

        if (avg < 0 || max < 0) {
            return err_set(err, EINVAL, "bps/iops/max values must be within [0, 2^63)");
        }
        limits.avg[i] = (uint64_t)avg;
        limits.max[i] = (uint64_t)max;
    }
    for (unsigned i = 0; i < BLOCK_N_LIMITS; i += BLOCK_LIMIT_IOPS) {
        if (limits.avg[i] != 0 && (limits.avg[i + 1] != 0 || limits.avg[i + 2] != 0)) {
            return err_set(err, EINVAL,
                           "bps/iops/max total values and read/write values cannot be used at the "
                           "same time");
        }
    }
    return block_set_limits(node, &limits, err);
}

/* ---- removable media ---- */

static struct device *removable(struct machine *m, struct json_object *args, struct err **err)
{
    const char *name = json_str_or(args, "id", json_str_or(args, "device", ""));
    struct device *dev = machine_disk_device(m, name);

    if (dev == NULL) {
        (void)err_set(err, ENODEV, "Device '%s' not found", name);
    } else if (dev->cls->medium_changed == NULL) {
        (void)err_set(err, EINVAL, "Device '%s' is not removable", name);
        dev = NULL;
    }
    return dev;
}

static void move_tray(struct device *dev, bool open)
{
    struct disk *d = device_disk(dev);

    if (d->tray_open != open) {
        d->tray_open = open;
        machine_event(dev->m, "DEVICE_TRAY_MOVED",
                      "{\"device\": \"%s\", \"id\": \"%s\", \"tray-open\": %s}",
                      drive_id(dev->m, d), dev->id != NULL ? dev->id : "",
                      open ? "true" : "false");
    }
}

static int open_tray(struct device *dev, bool force, struct err **err)
{
    struct disk *d = device_disk(dev);

    if (d->tray_locked && !force && !d->tray_open) {
        return err_set(err, EBUSY, "Device '%s' is locked and force was not specified, wait for tray "
                       "to open and try again", dev->id != NULL ? dev->id : "");
    }
    move_tray(dev, true);
    return 0;
}

static void take_out(struct device *dev)
{
    struct disk *d = device_disk(dev);

    if (d->node != NULL) {
        block_drain(d->node->ctx, d->node);
        d->node = block_unref(d->node);
        dev->cls->medium_changed(dev);
    }
}

int qmp_do_eject(struct machine *m, struct json_object *args, struct json_object **ret,
                 struct err **err)
{
    struct device *dev = removable(m, args, err);
    int r = dev != NULL ? open_tray(dev, json_bool_or(args, "force", false), err) : -ENODEV;

    (void)ret;
    if (r == 0) {
        take_out(dev);
    }
    return r;
}

int qmp_do_blockdev_open_tray(struct machine *m, struct json_object *args,
                              struct json_object **ret, struct err **err)
{
    struct device *dev = removable(m, args, err);

    (void)ret;
    return dev != NULL ? open_tray(dev, json_bool_or(args, "force", false), err) : -ENODEV;
}

int qmp_do_blockdev_close_tray(struct machine *m, struct json_object *args,
                               struct json_object **ret, struct err **err)
{
    struct device *dev = removable(m, args, err);

    (void)ret;
    if (dev != NULL) {
        move_tray(dev, false);
    }
    return dev != NULL ? 0 : -ENODEV;
}

int qmp_do_blockdev_remove_medium(struct machine *m, struct json_object *args,
                                  struct json_object **ret, struct err **err)
{
    struct device *dev = removable(m, args, err);

    (void)ret;
    if (dev == NULL) {
        return -ENODEV;
    }
    if (!device_disk(dev)->tray_open) {
        return err_set(err, EBUSY, "Tray of device '%s' is not open",
                       dev->id != NULL ? dev->id : "");
    }
    take_out(dev);
    return 0;
}

static int put_in(struct device *dev, struct block_node *node, struct err **err)
{
    struct disk *d = device_disk(dev);

    if (d->node != NULL) {
        return err_set(err, EBUSY, "There already is a medium in device '%s'",
                       dev->id != NULL ? dev->id : "");
    }
    d->node = block_ref(node);
    dev->cls->medium_changed(dev);
    return 0;
}

int qmp_do_blockdev_insert_medium(struct machine *m, struct json_object *args,
                                  struct json_object **ret, struct err **err)
{
    struct device *dev = removable(m, args, err);
    struct block_node *node =
        dev != NULL ? hash_get(m->blocks, json_str_or(args, "node-name", "")) : NULL;

    (void)ret;
    if (dev == NULL) {
        return -ENODEV;
    }
    if (node == NULL) {
        return err_set(err, ENODEV, "Node '%s' not found", json_str_or(args, "node-name", ""));
    }
    if (!device_disk(dev)->tray_open) {
        return err_set(err, EBUSY, "Tray of device '%s' is not open",
                       dev->id != NULL ? dev->id : "");
    }
    return put_in(dev, node, err);
}

int qmp_do_blockdev_change_medium(struct machine *m, struct json_object *args,
                                  struct json_object **ret, struct err **err)
{
    struct device *dev = removable(m, args, err);
    struct block_node *node = NULL;
    int r;

    (void)ret;
    if (dev == NULL) {
        return -ENODEV;
    }
    r = machine_open_medium(m, json_str_or(args, "filename", ""),
                            json_str_or(args, "format", "raw"), &node, err);
    if (r == 0) {
        r = open_tray(dev, json_bool_or(args, "force", false), err);
    }
    if (r == 0) {
        take_out(dev);
        r = put_in(dev, node, err);
        move_tray(dev, false);
    }
    /* The drive holds it now; it has no other name. */
    (void)block_unref(node);
    return r;
}
