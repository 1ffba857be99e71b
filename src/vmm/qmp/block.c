/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block.c - QMP commands about images (schema/block.json). */
#include "block/core/block.h"

#include "base/hash.h"
#include "base/str.h"
#include "codec/flatten.h"
#include "vmm/cli/drive.h"
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

#include <errno.h>

static const char *drive_of(const struct device *dev)
{
    const struct opt *o = dev->cls->opts != NULL ? opt_find(dev->cls->opts, "drive") : NULL;

    return o != NULL && o->kind == OPT_KIND_STR
               ? *(char *const *)(const void *)((const char *)dev + o->offset)
               : NULL;
}

static bool is_disk(const struct device *dev)
{
    return dev->cls->opts != NULL && opt_find(dev->cls->opts, "drive") != NULL &&
           dev->cls->boot_path != NULL;
}

static struct json_object *image_info(struct block_node *node)
{
    struct json_object *o = json_object_new_object();
    int64_t len = block_length(node);

    (void)json_add_str(o, "filename", node->filename != NULL ? node->filename : "");
    (void)json_add_str(o, "format", node->drv->name);
    (void)json_add_i64(o, "virtual-size", len > 0 ? len : 0);
    return o;
}

static struct json_object *node_info(struct block_node *node, const char *name)
{
    struct json_object *o = json_object_new_object();
    struct json_object *cache = json_object_new_object();
    static const char *const zeroes[] = { "bps",     "bps_rd",  "bps_wr",         "iops",
                                          "iops_rd", "iops_wr", "write_threshold" };

    (void)json_add_str(o, "node-name", name);
    (void)json_add_str(o, "drv", node->drv->name);
    (void)json_add_bool(o, "ro", node->read_only);
    (void)json_add_str(o, "file", node->filename != NULL ? node->filename : "");
    (void)json_add_bool(o, "encrypted", false);
    (void)json_add_i64(o, "backing_file_depth", block_backing(node) != NULL ? 1 : 0);
    (void)json_add_str(o, "detect_zeroes", "off");
    for (size_t i = 0; i < sizeof(zeroes) / sizeof(zeroes[0]); i++) {
        (void)json_add_i64(o, zeroes[i], 0);
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

int qmp_do_query_block(struct machine *m, struct json_object *args, struct json_object **ret,
                       struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    LIST_FOREACH (&m->devices, it) {
        const struct device *dev = CONTAINER_OF(it, struct device, link);
        const char *drive;
        struct json_object *o;
        struct block_node *node;
        bool removable = str_eq(dev->cls->name, "ide-cd") || str_eq(dev->cls->name, "scsi-cd");

        if (!is_disk(dev)) {
            continue;
        }
        drive = drive_of(dev);
        node = drive != NULL ? hash_get(m->blocks, drive) : NULL;
        o = json_object_new_object();
        {
            AUTO_FREE char *path = qdev_path(dev);

            (void)json_add_str(o, "device", "");
            (void)json_add_str(o, "qdev", path != NULL ? path : "");
            (void)json_add_str(o, "type", "unknown");
            (void)json_add_bool(o, "removable", removable);
            (void)json_add_bool(o, "locked", false);
            (void)json_add_str(o, "io-status", "ok");
            if (removable) {
                (void)json_add_bool(o, "tray_open", false);
            }
            if (node != NULL) {
                (void)json_add(o, "inserted", node_info(node, drive));
            }
        }
        (void)json_object_array_add(*ret, o);
    }
    return 0;
}

static struct json_object *stats_of(struct block_node *node)
{
    static const char *const counters[] = {
        "rd_bytes",
        "wr_bytes",
        "unmap_bytes",
        "rd_operations",
        "wr_operations",
        "flush_operations",
        "unmap_operations",
        "rd_total_time_ns",
        "wr_total_time_ns",
        "flush_total_time_ns",
        "unmap_total_time_ns",
        "rd_merged",
        "wr_merged",
        "unmap_merged",
        "failed_rd_operations",
        "failed_wr_operations",
        "failed_flush_operations",
        "failed_unmap_operations",
        "invalid_rd_operations",
        "invalid_wr_operations",
        "invalid_flush_operations",
        "invalid_unmap_operations",
        "wr_highest_offset",
    };
    struct json_object *s = json_object_new_object();

    (void)node;
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        (void)json_add_i64(s, counters[i], 0);
    }
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
    bool nodes = false;

    (void)err;
    (void)!json_get_bool(args, "query-nodes", &nodes, NULL);
    *ret = json_object_new_array();
    if (nodes) {
        (void)hash_each(m->blocks, add_node_stats, *ret);
        return 0;
    }
    LIST_FOREACH (&m->devices, it) {
        const struct device *dev = CONTAINER_OF(it, struct device, link);
        const char *drive = is_disk(dev) ? drive_of(dev) : NULL;
        struct block_node *node = drive != NULL ? hash_get(m->blocks, drive) : NULL;

        if (node != NULL) {
            struct json_object *o = json_object_new_object();
            AUTO_FREE char *path = qdev_path(dev);

            (void)json_add_str(o, "device", "");
            (void)json_add_str(o, "node-name", drive);
            (void)json_add_str(o, "qdev", path != NULL ? path : "");
            (void)json_add(o, "stats", stats_of(node));
            (void)json_object_array_add(*ret, o);
        }
    }
    return 0;
}

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

int qmp_do_query_block_jobs(struct machine *m, struct json_object *args, struct json_object **ret,
                            struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    return 0;
}

int qmp_do_query_jobs(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    return qmp_do_query_block_jobs(m, args, ret, err);
}
