/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/chain.h"

#include "base/str.h"
#include "mgmt/driver/qemu/find.h"
#include "mgmt/model/schema.h"

#include <errno.h>

struct node *chain_below(const struct node *layer)
{
    struct node *b = node_child(layer, "backingStore");

    return b != NULL && b->first != NULL ? b : NULL;
}

unsigned chain_index(const struct node *layer)
{
    return (unsigned)node_get_u64(
        layer, str_eq(layer->name, "backingStore") ? "@index" : "source/@index", 0);
}

const char *chain_format(const struct node *layer)
{
    const char *f =
        node_get(layer, str_eq(layer->name, "backingStore") ? "format/@type" : "driver/@type");

    return f != NULL ? f : "raw";
}

struct node *chain_layer(struct node *disk, unsigned index)
{
    for (struct node *l = disk; l != NULL; l = chain_below(l)) {
        if (chain_index(l) == index) {
            return l;
        }
    }
    return NULL;
}

struct node *chain_find(struct node *disk, const char *name)
{
    const char *bracket = strchr(name, '[');
    uint64_t index;

    if (bracket != NULL) {
        AUTO_FREE char *digits = strndup(bracket + 1, strcspn(bracket + 1, "]"));

        return digits != NULL && str_to_u64(digits, 10, &index) == 0
                   ? chain_layer(disk, (unsigned)index)
                   : NULL;
    }
    for (struct node *l = disk; l != NULL; l = chain_below(l)) {
        if (node_is(l, "source/@file", name)) {
            return l;
        }
    }
    return NULL;
}

int chain_push(struct node *disk, const char *file, const char *format)
{
    struct node *b = node_new(NULL, "backingStore"), *source, *below, *top;
    const struct elem_ref *ref = elem_child(disk->elem, "backingStore", NULL);

    if (b == NULL) {
        return -ENOMEM;
    }
    b->elem = ref->elem;
    b->name = ref->name;
    source = node_child(disk, "source");
    below = node_child(disk, "backingStore");
    if (node_set(b, "@type", node_attr(disk, "type")) < 0 ||
        node_set(b, "format/@type", chain_format(disk)) < 0) {
        node_free(b);
        return -ENOMEM;
    }
    if (node_get(source, "@index") != NULL) {
        (void)node_set(b, "@index", node_attr(source, "index"));
        (void)node_set_attr(source, "index", NULL);
    }
    node_insert(b, node_detach(source));
    if (below != NULL) {
        node_insert(b, node_detach(below));
    }
    node_insert(disk, b);
    top = node_add(disk, "source");
    return top == NULL || node_set(top, "@file", file) < 0 || node_set(disk, "@type", "file") < 0 ||
                   node_set(disk, "driver/@type", format) < 0
               ? -ENOMEM
               : 0;
}

int chain_pop(struct node *disk)
{
    struct node *layer = chain_below(disk), *source, *below;
    const char *index;

    if (layer == NULL) {
        return -ENOENT;
    }
    source = node_child(layer, "source");
    below = node_child(layer, "backingStore");
    index = node_attr(layer, "index");
    node_detach(source);
    if (below != NULL) {
        node_detach(below);
    }
    node_remove(disk, "source");
    node_insert(disk, source);
    if ((index != NULL && node_set(disk, "source/@index", index) < 0) ||
        node_set(disk, "@type", node_attr(layer, "type")) < 0 ||
        node_set(disk, "driver/@type", chain_format(layer)) < 0) {
        return -ENOMEM;
    }
    node_remove(disk, "backingStore");
    if (below != NULL) {
        node_insert(disk, below);
    }
    return 0;
}

int chain_set_file(struct node *disk, const char *file, const char *format)
{
    node_remove(disk, "backingStore");
    node_remove(disk, "source");
    return node_set(disk, "source/@file", file) < 0 || node_set(disk, "driver/@type", format) < 0 ||
                   node_set(disk, "@type", "file") < 0
               ? -ENOMEM
               : 0;
}

int chain_follow(struct domain *d, const char *target, struct err **err)
{
    struct node *live = find_disk(d->def, target),
                *conf = d->next != NULL ? find_disk(d->next, target) : NULL;
    const char *file = live != NULL ? node_get(live, "source/@file") : NULL;
    int r = 0;

    if (conf != NULL && file != NULL) {
        r = chain_set_file(conf, file, chain_format(live));
        r = r == 0 ? domain_save_config(d, err) : r;
    }
    return r;
}

void chain_drop_nodes(struct run *r, unsigned index)
{
    for (int part = 0; part < 2; part++) {
        AUTO_FREE char *name = str_format("libvirt-%u-%s", index, part == 0 ? "format" : "storage");
        struct json_object *a = json_object_new_object();

        (void)json_add_str(a, "node-name", name != NULL ? name : "");
        (void)monitor_run(r->qmp, "blockdev-del", a, NULL, NULL);
    }
}
