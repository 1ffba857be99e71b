/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* node.c - the graph of nodes: references, children, backing chains. */
#include "block/core/block.h"

#include "base/str.h"
#include "block/core/bitmap.h"
#include "block/core/graph.h"
#include "block/core/limits.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct block_node *block_ref(struct block_node *node)
{
    node->refs++;
    return node;
}

struct block_node *block_unref(struct block_node *node)
{
    if (node == NULL || --node->refs > 0) {
        return NULL;
    }
    assert(node->in_flight == 0);
    block_limits_free(node);
    /* What was written is on disk when the image is closed, as with QEMU. */
    if (node->opened) {
        (void)block_flush(node);
    }
    node->drv->close(node);
    while (!list_empty(&node->bitmaps)) {
        block_bitmap_remove(node, CONTAINER_OF(node->bitmaps.next, struct block_bitmap, link));
    }
    for (unsigned i = 0; i < node->n_children; i++) {
        (void)block_unref(node->children[i].node);
        free(node->children[i].name);
    }
    free(node->children);
    free(node->name);
    free(node->filename);
    free(node->backing_file);
    free(node->backing_fmt);
    free(node);
    return NULL;
}

int block_attach_child(struct block_node *node, struct block_node *child, const char *name)
{
    struct block_child *more;
    char *copy;

    if (node->n_children == BLOCK_MAX_CHILDREN) {
        return -E2BIG;
    }
    copy = strdup(name);
    more = realloc(node->children, (node->n_children + 1) * sizeof(*more));
    if (more != NULL) {
        node->children = more;
    }
    if (copy == NULL || more == NULL) {
        free(copy);
        return -ENOMEM;
    }
    more[node->n_children++] = (struct block_child) { .node = child, .name = copy };
    if (str_eq(name, "file")) {
        node->file = child;
    } else if (str_eq(name, "backing")) {
        node->backing = child;
    }
    return 0;
}

void block_detach_child(struct block_node *node, struct block_node *child)
{
    for (unsigned i = 0; i < node->n_children; i++) {
        if (node->children[i].node == child) {
            free(node->children[i].name);
            memmove(&node->children[i], &node->children[i + 1],
                    (node->n_children - i - 1) * sizeof(node->children[0]));
            node->n_children--;
            break;
        }
    }
    if (node->file == child) {
        node->file = NULL;
    }
    if (node->backing == child) {
        node->backing = NULL;
    }
    (void)block_unref(child);
}

int block_set_backing(struct block_node *node, struct block_node *backing)
{
    if (backing != NULL) {
        for (struct block_node *n = backing; n != NULL; n = block_backing(n)) {
            if (n == node) {
                return -ELOOP;
            }
        }
        (void)block_ref(backing);
    }
    if (node->backing != NULL) {
        block_detach_child(node, node->backing);
    }
    if (backing != NULL) {
        int r = block_attach_child(node, backing, "backing");

        if (r < 0) {
            (void)block_unref(backing);
            return r;
        }
        backing->is_backing = true;
    }
    return 0;
}

int block_replace_child(struct block_node *parent, struct block_node *from, struct block_node *to)
{
    for (unsigned i = 0; i < parent->n_children; i++) {
        if (parent->children[i].node == from) {
            parent->children[i].node = block_ref(to);
            if (parent->file == from) {
                parent->file = to;
            }
            if (parent->backing == from) {
                parent->backing = to;
            }
            (void)block_unref(from);
            return 0;
        }
    }
    return -ENOENT;
}

struct block_node *block_skip_filters(struct block_node *node)
{
    while (node != NULL && node->drv->is_filter && node->file != NULL) {
        node = node->file;
    }
    return node;
}

struct block_node *block_backing(struct block_node *node)
{
    node = block_skip_filters(node);
    return node != NULL ? block_skip_filters(node->backing) : NULL;
}

int block_change_backing_file(struct block_node *node, const char *file, const char *fmt,
                              struct err **err)
{
    AUTO_FREE char *new_file = NULL;
    AUTO_FREE char *new_fmt = NULL;
    int r;

    if (node->drv->change_backing == NULL) {
        return err_set(err, ENOTSUP, "images of format %s do not name a backing file",
                       node->drv->name);
    }
    if (node->read_only) {
        return err_set(err, EROFS, "the image is open for reading only");
    }
    if (file != NULL) {
        new_file = strdup(file);
        new_fmt = fmt != NULL ? strdup(fmt) : NULL;
        if (new_file == NULL || (fmt != NULL && new_fmt == NULL)) {
            return err_set(err, ENOMEM, "no memory");
        }
    }
    r = node->drv->change_backing(node, file, fmt, err);
    if (r < 0) {
        return err_set(err, -r, "cannot write the name of the backing file: %s", strerror(-r));
    }
    free(node->backing_file);
    free(node->backing_fmt);
    node->backing_file = TAKE_PTR(new_file);
    node->backing_fmt = TAKE_PTR(new_fmt);
    return 0;
}

static int set_children_read_only(struct block_node *node, bool read_only, struct err **err)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < node->n_children; i++) {
        if (node->children[i].node != node->backing) {
            r = block_set_read_only(node->children[i].node, read_only, err);
        }
    }
    return r;
}

int block_set_read_only(struct block_node *node, bool read_only, struct err **err)
{
    int r = 0;

    if (node->read_only == read_only) {
        return 0;
    }
    if (!read_only) {
        r = set_children_read_only(node, false, err);
    }
    if (r == 0 && node->drv->reopen != NULL) {
        r = node->drv->reopen(node, read_only, err);
    }
    if (r < 0) {
        return r;
    }
    node->read_only = read_only;
    return read_only ? set_children_read_only(node, true, err) : 0;
}

int64_t block_length(struct block_node *node)
{
    return node->drv->length(node);
}

int64_t block_allocated_size(struct block_node *node)
{
    int64_t sum = 0;

    if (node->drv->allocated != NULL) {
        return node->drv->allocated(node);
    }
    for (unsigned i = 0; i < node->n_children; i++) {
        struct block_node *child = node->children[i].node;
        int64_t size = child != node->backing ? block_allocated_size(child) : 0;

        if (size < 0) {
            return size;
        }
        sum += size;
    }
    return node->n_children > 0 ? sum : -ENOTSUP;
}
