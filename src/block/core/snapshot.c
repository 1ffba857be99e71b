/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/core/snapshot.h"

#include "base/str.h"

#include <errno.h>
#include <stdlib.h>

void block_snapshots_free(struct block_snapshot *list, size_t n)
{
    for (size_t i = 0; list != NULL && i < n; i++) {
        free(list[i].id);
        free(list[i].name);
    }
    free(list);
}

int block_snapshot_list(struct block_node *node, struct block_snapshot **ret, size_t *ret_n)
{
    return node->drv->snapshot_list != NULL ? node->drv->snapshot_list(node, ret, ret_n) : -ENOTSUP;
}

/* The id of the snapshot with that id or name, owned by the caller. */
static int find_id(struct block_node *node, const char *id_or_name, char **ret, struct err **err)
{
    struct block_snapshot *list = NULL;
    const char *found = NULL;
    size_t n = 0;
    int r = block_snapshot_list(node, &list, &n);

    if (r < 0) {
        return err_set(err, -r, "images of format %s have no snapshots", node->drv->name);
    }
    for (size_t i = 0; i < n && found == NULL; i++) {
        found = str_eq(list[i].id, id_or_name) ? list[i].id : NULL;
    }
    for (size_t i = 0; i < n && found == NULL; i++) {
        found = str_eq(list[i].name, id_or_name) ? list[i].id : NULL;
    }
    *ret = found != NULL ? strdup(found) : NULL;
    block_snapshots_free(list, n);
    if (found == NULL) {
        return err_set(err, ENOENT, "snapshot '%s' not found", id_or_name);
    }
    return *ret != NULL ? 0 : err_set(err, ENOMEM, "no memory");
}

int block_snapshot_create(struct block_node *node, struct block_snapshot *sn, struct err **err)
{
    if (node->drv->snapshot_create == NULL) {
        return err_set(err, ENOTSUP, "images of format %s have no snapshots", node->drv->name);
    }
    return node->read_only ? err_set(err, EROFS, "the image is open for reading only")
                           : node->drv->snapshot_create(node, sn, err);
}

int block_snapshot_goto(struct block_node *node, const char *id_or_name, struct err **err)
{
    AUTO_FREE char *id = NULL;
    int r = find_id(node, id_or_name, &id, err);

    if (r == 0 && node->read_only) {
        r = err_set(err, EROFS, "the image is open for reading only");
    }
    return r == 0 ? node->drv->snapshot_goto(node, id, err) : r;
}

int block_snapshot_delete(struct block_node *node, const char *id_or_name, struct err **err)
{
    AUTO_FREE char *id = NULL;
    int r = find_id(node, id_or_name, &id, err);

    if (r == 0 && node->read_only) {
        r = err_set(err, EROFS, "the image is open for reading only");
    }
    return r == 0 ? node->drv->snapshot_delete(node, id, err) : r;
}

int block_snapshot_load(struct block_node *node, const char *id_or_name, struct err **err)
{
    AUTO_FREE char *id = NULL;
    int r = find_id(node, id_or_name, &id, err);

    return r == 0 ? node->drv->snapshot_load(node, id, err) : r;
}

int block_vmstate_pread(struct block_node *node, void *buf, size_t len, uint64_t off)
{
    return node->drv->vmstate_pread != NULL ? node->drv->vmstate_pread(node, buf, len, off)
                                            : -ENOTSUP;
}

int block_vmstate_pwrite(struct block_node *node, const void *buf, size_t len, uint64_t off)
{
    return node->drv->vmstate_pwrite != NULL ? node->drv->vmstate_pwrite(node, buf, len, off)
                                             : -ENOTSUP;
}
