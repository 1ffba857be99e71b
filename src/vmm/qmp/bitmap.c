/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bitmap.c - QMP commands about dirty bitmaps (schema/job.json). */
#include "block/core/bitmap.h"

#include "base/str.h"
#include "vmm/machine/block.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

#include <errno.h>

static struct block_bitmap *find(struct machine *m, struct json_object *args, const char *key,
                                 struct block_node **ret_node, struct err **err)
{
    const char *name = json_str_or(args, key, "");
    struct block_node *node = machine_node(m, json_str_or(args, "node", NULL), err);
    struct block_bitmap *bm = node != NULL ? block_bitmap_find(node, name) : NULL;

    if (node != NULL && bm == NULL) {
        (void)err_set(err, ENOENT, "Dirty bitmap '%s' not found", name);
    } else if (bm != NULL && bm->busy) {
        (void)err_set(err, EBUSY,
                      "Bitmap '%s' is currently in use by another operation and cannot be used",
                      name);
        bm = NULL;
    }
    *ret_node = node;
    return bm;
}

int qmp_do_block_dirty_bitmap_add(struct machine *m, struct json_object *args,
                                  struct json_object **ret, struct err **err)
{
    struct block_node *node = machine_node(m, json_str_or(args, "node", NULL), err);
    const char *name = json_str_or(args, "name", "");
    bool persistent = json_bool_or(args, "persistent", false);
    struct block_bitmap *bm = NULL;
    int64_t granularity;
    int r;

    (void)ret;
    if (node == NULL) {
        return -ENODEV;
    }
    granularity = json_i64_or(args, "granularity", block_bitmap_default_granularity(node));
    if (*name == '\0') {
        return err_set(err, EINVAL, "Bitmap name cannot be empty");
    }
    if (granularity < 512 || granularity > 1ll << 31 || (granularity & (granularity - 1)) != 0) {
        return err_set(err, EINVAL, "Granularity must be power of 2 and at least 512");
    }
    if (persistent && node->drv->bitmap_can_store == NULL) {
        return err_set(err, ENOTSUP, "Cannot store dirty bitmaps in file '%s'",
                       node->filename != NULL ? node->filename : "");
    }
    r = persistent ? node->drv->bitmap_can_store(node, name, (uint64_t)granularity, err) : 0;
    if (r == 0) {
        r = block_bitmap_add(node, name, (uint32_t)granularity, &bm, err);
    }
    if (r == 0) {
        bm->persistent = persistent;
        bm->enabled = !json_bool_or(args, "disabled", false);
    }
    return r;
}

int qmp_do_block_dirty_bitmap_remove(struct machine *m, struct json_object *args,
                                     struct json_object **ret, struct err **err)
{
    struct block_node *node;
    struct block_bitmap *bm = find(m, args, "name", &node, err);

    (void)ret;
    if (bm == NULL) {
        return -ENOENT;
    }
    block_bitmap_remove(node, bm);
    return 0;
}

int qmp_do_block_dirty_bitmap_clear(struct machine *m, struct json_object *args,
                                    struct json_object **ret, struct err **err)
{
    struct block_node *node;
    struct block_bitmap *bm = find(m, args, "name", &node, err);

    (void)ret;
    if (bm == NULL) {
        return -ENOENT;
    }
    block_bitmap_clear(bm);
    return 0;
}

static int enable(struct machine *m, struct json_object *args, bool on, struct err **err)
{
    struct block_node *node;
    struct block_bitmap *bm = find(m, args, "name", &node, err);

    if (bm == NULL) {
        return -ENOENT;
    }
    block_drain(node->ctx, node);
    bm->enabled = on;
    return 0;
}

int qmp_do_block_dirty_bitmap_enable(struct machine *m, struct json_object *args,
                                     struct json_object **ret, struct err **err)
{
    (void)ret;
    return enable(m, args, true, err);
}

int qmp_do_block_dirty_bitmap_disable(struct machine *m, struct json_object *args,
                                      struct json_object **ret, struct err **err)
{
    (void)ret;
    return enable(m, args, false, err);
}

/* An element is a name on the same node, or {"node": N, "name": B}. */
static struct block_bitmap *source(struct machine *m, struct block_node *node,
                                   struct json_object *item, struct err **err)
{
    const char *name = json_object_is_type(item, json_type_string)
                           ? json_object_get_string(item)
                           : json_str_or(item, "name", "");
    struct block_bitmap *bm;

    if (json_object_is_type(item, json_type_object)) {
        node = machine_node(m, json_str_or(item, "node", NULL), err);
    }
    bm = node != NULL ? block_bitmap_find(node, name) : NULL;
    if (node != NULL && bm == NULL) {
        (void)err_set(err, ENOENT, "Dirty bitmap '%s' not found", name);
    }
    return bm;
}

int qmp_do_block_dirty_bitmap_merge(struct machine *m, struct json_object *args,
                                    struct json_object **ret, struct err **err)
{
    struct json_object *list = json_member(args, "bitmaps");
    struct block_node *node;
    struct block_bitmap *to = find(m, args, "target", &node, err);
    size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

    (void)ret;
    if (to == NULL) {
        return -ENOENT;
    }
    for (size_t i = 0; i < n; i++) { /* all are there before any is merged */
        if (source(m, node, json_object_array_get_idx(list, i), err) == NULL) {
            return -ENOENT;
        }
    }
    for (size_t i = 0; i < n; i++) {
        int r = block_bitmap_merge(to, source(m, node, json_object_array_get_idx(list, i), NULL),
                                   err);

        if (r < 0) {
            return r;
        }
    }
    return 0;
}
