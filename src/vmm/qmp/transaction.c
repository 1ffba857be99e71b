/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transaction.c - several changes as one (schema/job.json): each is done in turn; when one fails,
 * those before it are undone, last first.
 */
#include "base/hash.h"
#include "base/str.h"
#include "block/core/bitmap.h"
#include "block/core/block.h"
#include "vmm/machine/block.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

#include <errno.h>
#include <string.h>

enum { MAX_ACTIONS = 256 };

struct action {
    const char *type;
    qmp_fn *run;
    void (*undo)(struct machine *m, struct json_object *data, struct block_node *before);
    const char *node_key; /* the member that names what is looked at before; NULL: none */
};

/* The overlay goes, its backing image is the drive's again. */
static void undo_snapshot(struct machine *m, struct json_object *data, struct block_node *before)
{
    struct block_node *now = machine_node(m, json_str_or(data, "overlay",
                                                         json_str_or(data, "snapshot-node-name",
                                                                     json_str_or(data, "device",
                                                                                 NULL))),
                                          NULL);

    if (now != NULL && before != NULL && now != before && block_backing(now) == before) {
        (void)!machine_replace_node(m, now, before, NULL);
        (void)block_set_backing(now, NULL);
        if (json_member(data, "snapshot-file") != NULL) {
            machine_forget_node(m, now);
        }
    }
}

static void undo_job(struct machine *m, struct json_object *data, struct block_node *before)
{
    AUTO_JSON struct json_object *args = json_object_new_object();

    (void)before;
    (void)json_add_str(args, "id",
                       json_str_or(data, "job-id", json_str_or(data, "device", "")));
    (void)qmp_do_job_cancel(m, args, NULL, NULL);
}

static void undo_bitmap_add(struct machine *m, struct json_object *data, struct block_node *before)
{
    struct block_bitmap *bm =
        before != NULL ? block_bitmap_find(before, json_str_or(data, "name", "")) : NULL;

    (void)m;
    if (bm != NULL) {
        block_bitmap_remove(before, bm);
    }
}

static void undo_enable(struct machine *m, struct json_object *data, struct block_node *before)
{
    (void)before;
    (void)qmp_do_block_dirty_bitmap_disable(m, data, NULL, NULL);
}

static void undo_disable(struct machine *m, struct json_object *data, struct block_node *before)
{
    (void)before;
    (void)qmp_do_block_dirty_bitmap_enable(m, data, NULL, NULL);
}

static int do_abort(struct machine *m, struct json_object *args, struct json_object **ret,
                    struct err **err)
{
    (void)m;
    (void)args;
    (void)ret;
    return err_set(err, EINVAL, "Transaction aborted using Abort action");
}


static const struct action actions[] = {
    { "blockdev-snapshot", qmp_do_blockdev_snapshot, undo_snapshot, "node" },
    { "blockdev-snapshot-sync", qmp_do_blockdev_snapshot_sync, undo_snapshot, "device" },
    { "blockdev-backup", qmp_do_blockdev_backup, undo_job, "device" },
    { "drive-backup", qmp_do_drive_backup, undo_job, "device" },
    { "block-dirty-bitmap-add", qmp_do_block_dirty_bitmap_add, undo_bitmap_add, "node" },
    { "block-dirty-bitmap-enable", qmp_do_block_dirty_bitmap_enable, undo_enable, "node" },
    { "block-dirty-bitmap-disable", qmp_do_block_dirty_bitmap_disable, undo_disable, "node" },
    { "block-dirty-bitmap-clear", qmp_do_block_dirty_bitmap_clear, NULL, "node" },
    { "block-dirty-bitmap-merge", qmp_do_block_dirty_bitmap_merge, NULL, "node" },
    { "block-dirty-bitmap-remove", qmp_do_block_dirty_bitmap_remove, NULL, "node" },
    { "abort", do_abort, NULL, NULL },
};

static const struct action *find(const char *type)
{
    for (size_t i = 0; type != NULL && i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (str_eq(actions[i].type, type)) {
            return &actions[i];
        }
    }
    return NULL;
}

int qmp_do_transaction(struct machine *m, struct json_object *args, struct json_object **ret,
                       struct err **err)
{
    struct json_object *list = json_member(args, "actions");
    struct block_node *before[MAX_ACTIONS] = { NULL };
    size_t n;
    size_t done = 0;
    int r = 0;

    (void)ret;
    if (!json_object_is_type(list, json_type_array) ||
        (n = json_object_array_length(list)) > MAX_ACTIONS) {
        return err_set(err, EINVAL, "Invalid parameter type for 'actions', expected: array");
    }
    for (size_t i = 0; i < n; i++) {
        struct json_object *item = json_object_array_get_idx(list, i);
        const char *type = json_str_or(item, "type", NULL);

        if (find(type) == NULL ||
            !json_object_is_type(json_member(item, "data"), json_type_object)) {
            return err_set(err, EINVAL, "Invalid parameter '%s'", type != NULL ? type : "type");
        }
    }
    for (; done < n && r == 0; done++) {
        struct json_object *item = json_object_array_get_idx(list, done);
        struct json_object *data = json_member(item, "data");
        const struct action *a = find(json_str_or(item, "type", ""));

        if (a->node_key != NULL && json_member(data, a->node_key) != NULL) {
            before[done] = machine_node(m, json_str_or(data, a->node_key, NULL), NULL);
        }
        r = a->run(m, data, NULL, err);
    }
    for (size_t i = r < 0 ? done - 1 : 0; i > 0; i--) {
        struct json_object *item = json_object_array_get_idx(list, i - 1);
        const struct action *a = find(json_str_or(item, "type", ""));

        if (a->undo != NULL) {
            a->undo(m, json_member(item, "data"), before[i - 1]);
        }
    }
    return r < 0 ? r : 0;
}
