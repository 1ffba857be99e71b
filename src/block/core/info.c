/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* info.c - QEMU's ImageInfo of a node. */
#include "block/core/image.h"

#include "block/core/snapshot.h"
#include "codec/json.h"

#include <errno.h>
#include <string.h>

static int add_snapshots(struct block_node *node, struct json_object *o)
{
    struct block_snapshot *list = NULL;
    struct json_object *array;
    size_t n = 0;
    int r = block_snapshot_list(node, &list, &n);

    if (r < 0 || n == 0) {
        block_snapshots_free(list, n);
        return r == -ENOTSUP ? 0 : r;
    }
    array = json_object_new_array();
    for (size_t i = 0; i < n; i++) {
        struct json_object *sn = json_object_new_object();

        (void)json_add_str(sn, "id", list[i].id);
        (void)json_add_str(sn, "name", list[i].name);
        (void)json_add_u64(sn, "vm-state-size", list[i].vm_state_size);
        (void)json_add_u64(sn, "date-sec", list[i].date_sec);
        (void)json_add_u64(sn, "date-nsec", list[i].date_nsec);
        (void)json_add_u64(sn, "vm-clock-sec", list[i].vm_clock_nsec / 1000000000);
        (void)json_add_u64(sn, "vm-clock-nsec", list[i].vm_clock_nsec % 1000000000);
        if (list[i].icount != UINT64_MAX) {
            (void)json_add_u64(sn, "icount", list[i].icount);
        }
        json_object_array_add(array, sn);
    }
    block_snapshots_free(list, n);
    return json_add(o, "snapshots", array);
}

static void add_specific(struct block_node *node, struct json_object *o)
{
    struct json_object *data = node->drv->specific != NULL ? node->drv->specific(node) : NULL;
    struct json_object *specific;

    if (data != NULL) {
        specific = json_object_new_object();
        (void)json_add_str(specific, "type", node->drv->name);
        (void)json_add(specific, "data", data);
        (void)json_add(o, "format-specific", specific);
    }
}

int block_image_info(struct block_node *node, struct json_object **ret, struct err **err)
{
    struct block_info info = { 0 };
    AUTO_JSON struct json_object *o = json_object_new_object();
    AUTO_FREE char *full = NULL;
    AUTO_FREE char *name = block_reopen_name(node);
    int64_t size = block_length(node);
    int64_t allocated;
    int r;

    if (size < 0) {
        return err_set(err, (int)-size, "Can't get image size '%s': %s", name,
                       strerror((int)-size));
    }
    if (node->drv->info != NULL) {
        node->drv->info(node, &info);
    }
    r = add_snapshots(node, o);
    if (r < 0) {
        return err_set(err, -r, "Could not read the snapshots: %s", strerror(-r));
    }
    (void)json_add_str(o, "filename", name != NULL ? name : "");
    (void)json_add_str(o, "format", node->drv->name);
    (void)json_add_u64(o, "virtual-size", (uint64_t)size);
    allocated = block_allocated_size(node);
    if (allocated >= 0) {
        (void)json_add_i64(o, "actual-size", allocated);
    }
    if (info.encrypted) {
        (void)json_add_bool(o, "encrypted", true);
    }
    if (info.cluster_size != 0) {
        (void)json_add_u64(o, "cluster-size", info.cluster_size);
    }
    if (info.has_dirty) {
        (void)json_add_bool(o, "dirty-flag", info.dirty);
    }
    if (node->backing_file != NULL) {
        (void)json_add_str(o, "backing-filename", node->backing_file);
        full = block_full_backing_name(node);
        if (full != NULL) {
            (void)json_add_str(o, "full-backing-filename", full);
        }
        if (node->backing_fmt != NULL && *node->backing_fmt != '\0') {
            (void)json_add_str(o, "backing-filename-format", node->backing_fmt);
        }
    }
    add_specific(node, o);
    *ret = TAKE_PTR(o);
    return 0;
}
