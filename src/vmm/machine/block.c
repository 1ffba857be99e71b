/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/block.h"

#include "base/hash.h"
#include "base/str.h"
#include "block/core/block.h"
#include "block/core/limits.h"
#include "codec/keyval.h"
#include "vmm/dev/device.h"
#include "vmm/dev/disk/disk.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct disk *device_disk(struct device *dev)
{
    return dev->cls->disk != NULL ? dev->cls->disk(dev) : NULL;
}

struct device *machine_disk_device(struct machine *m, const char *name)
{
    AUTO_FREE char *id = NULL;

    if (str_starts(name, "/machine/peripheral/")) {
        id = strndup(name + 20, strcspn(name + 20, "/"));
        name = id != NULL ? id : name;
    }
    LIST_FOREACH (&m->devices, it) {
        struct device *dev = CONTAINER_OF(it, struct device, link);
        const struct disk *d = device_disk(dev);

        if (d != NULL && ((dev->id != NULL && str_eq(dev->id, name)) ||
                          (d->drive != NULL && str_eq(d->drive, name)))) {
            return dev;
        }
    }
    return NULL;
}

struct block_node *machine_node(struct machine *m, const char *name, struct err **err)
{
    struct block_node *node = name != NULL ? hash_get(m->blocks, name) : NULL;
    struct device *dev;

    if (node != NULL) {
        return node;
    }
    dev = name != NULL ? machine_disk_device(m, name) : NULL;
    if (dev != NULL && device_disk(dev)->node != NULL) {
        return device_disk(dev)->node;
    }
    (void)err_set(err, ENODEV, "Cannot find device=\'%s\' nor node-name=\'%s\'",
                  name != NULL ? name : "", name != NULL ? name : "");
    return NULL;
}

bool machine_node_in_use(struct machine *m, const struct block_node *node)
{
    LIST_FOREACH (&m->devices, it) {
        struct disk *d = device_disk(CONTAINER_OF(it, struct device, link));

        if (d != NULL && d->node == node) {
            return true;
        }
    }
    return false;
}

struct change {
    struct machine *m;
    struct block_node *from;
    char *names[64]; /* borrowed keys */
    unsigned n;
};

static int collect(const char *key, void *value, void *arg)
{
    struct change *c = arg;

    if (value == c->from && hash_get(c->m->drives, key) != NULL && c->n < 64) {
        c->names[c->n] = strdup(key);
        c->n += c->names[c->n] != NULL;
    }
    return 0;
}

int machine_replace_node(struct machine *m, struct block_node *from, struct block_node *to,
                         struct err **err)
{
    struct change c = { .m = m, .from = from };

    if (to->read_only && !from->read_only && machine_node_in_use(m, from)) {
        return err_set(err, EROFS, "Block node is read-only");
    }
    block_drain(from->ctx, from);
    LIST_FOREACH (&m->devices, it) {
        struct disk *d = device_disk(CONTAINER_OF(it, struct device, link));

        if (d != NULL && d->node == from) {
            d->node = block_ref(to);
            (void)block_unref(from);
        }
    }
    block_move_limits(from, to);
    to->stats = from->stats; /* they are the drive's, as people see it */
    (void)hash_each(m->blocks, collect, &c);
    for (unsigned i = 0; i < c.n; i++) {
        (void)hash_remove(m->blocks, c.names[i]);
        if (hash_add(m->blocks, c.names[i], block_ref(to)) < 0) {
            (void)block_unref(to);
        }
        /* What has no other name keeps one. */
        if (from->name == NULL || str_eq(from->name, c.names[i]) ||
            hash_add(m->blocks, from->name, from) < 0) {
            (void)block_unref(from);
        }
        free(c.names[i]);
    }
    return 0;
}

static struct block_node *lookup(void *arg, const char *name)
{
    return hash_get(((struct machine *)arg)->blocks, name);
}

int machine_open_node(struct machine *m, struct keyval *opts, struct block_node **ret,
                      struct err **err)
{
    CLEANUP(block_unrefp) struct block_node *node = NULL;
    int r = block_open(m->block_ctx, opts, lookup, m, &node, err);

    if (r == 0) {
        r = keyval_check_used(opts, err);
    }
    if (r == 0 && hash_add(m->blocks, node->name, node) < 0) {
        r = err_set(err, EEXIST, "Duplicate nodes with node-name='%s'", node->name);
    }
    if (r == 0) {
        *ret = TAKE_PTR(node);
    }
    return r;
}

int machine_open_image(struct machine *m, const char *filename, const char *format,
                       const char *node_name, bool backing, struct block_node **ret,
                       struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = keyval_parse("", NULL, false, &kv, err);

    if (r == 0) {
        r = keyval_add(kv, "driver", format);
    }
    if (r == 0) {
        r = keyval_add(kv, "file.driver", "file");
    }
    if (r == 0) {
        r = keyval_add(kv, "file.filename", filename);
    }
    if (r == 0 && node_name != NULL) {
        r = keyval_add(kv, "node-name", node_name);
    }
    if (r == 0 && !backing && block_driver_find(format) != NULL &&
        block_driver_find(format)->supports_backing) {
        r = keyval_add(kv, "backing", "");
    }
    return r == 0 ? machine_open_node(m, kv, ret, err) : r;
}

static int find_name(const char *key, void *value, void *arg)
{
    struct change *c = arg;

    if (value == c->from && hash_get(c->m->drives, key) == NULL && c->n == 0) {
        c->names[c->n++] = strdup(key);
    }
    return 0;
}

void machine_forget_node(struct machine *m, struct block_node *node)
{
    struct change c = { .m = m, .from = node };

    (void)hash_each(m->blocks, find_name, &c);
    if (c.n > 0 && c.names[0] != NULL) {
        (void)hash_remove(m->blocks, c.names[0]);
        (void)block_unref(node);
        free(c.names[0]);
    }
}

int machine_open_medium(struct machine *m, const char *filename, const char *format,
                        struct block_node **ret, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = keyval_parse("read-only=on", NULL, false, &kv, err);

    return r == 0 ? block_open_image(m->block_ctx, filename, format, kv, ret, err) : r;
}
