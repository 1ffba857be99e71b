/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cli/drive.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"
#include "block/core/block.h"
#include "block/core/image.h"
#include "codec/flatten.h"
#include "os/fd.h"
#include "vmm/dev/device.h"
#include "vmm/machine/class.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <unistd.h>
#include <string.h>
#include <stdlib.h>
#include <stdio.h>

static struct block_node *lookup_node(void *arg, const char *name)
{
    return hash_get(((struct machine *)arg)->blocks, name);
}

static int add_node(struct machine *m, struct block_ctx *blocks, struct keyval *opts,
                    const char *name, struct err **err)
{
    CLEANUP(block_unrefp) struct block_node *node = NULL;
    int r = block_open(blocks, opts, lookup_node, m, &node, err);

    if (r == 0) {
        r = keyval_check_used(opts, err);
    }
    if (r == 0 && hash_add(m->blocks, name, node) < 0) {
        r = err_set(err, EEXIST, "block node '%s' exists already", name);
    }
    if (r == 0) {
        node = NULL; /* the table's now */
    }
    return r;
}

int blockdev_add(struct machine *m, struct block_ctx *blocks, struct keyval *opts, struct err **err)
{
    const char *name = keyval_get(opts, "node-name");

    return name == NULL ? err_set(err, EINVAL, "node-name= is missing")
                        : add_node(m, blocks, opts, name, err);
}

struct cache {
    const char *name;
    bool direct, no_flush, writethrough;
};

static const struct cache *find_cache(const char *name)
{
    static const struct cache caches[] = {
        { "writeback", false, false, false }, { "writethrough", false, false, true },
        { "none", true, false, false },       { "directsync", true, false, true },
        { "unsafe", false, true, false },     { NULL, false, false, false },
    };

    for (const struct cache *c = caches; c->name != NULL; c++) {
        if (str_eq(c->name, name)) {
            return c;
        }
    }
    return NULL;
}

static int add_pair(struct keyval *to, const char *key, const char *value)
{
    return value != NULL ? keyval_add(to, key, value) : 0;
}

/* -drive is -blockdev in one option: format over file, with its own words for caching. Options of
 * the format and protocol (file.locking=off, lazy-refcounts=on) go through. */
static int to_node(struct keyval *drive, bool cd, struct keyval **ret, bool *ret_through,
                   struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *node = NULL;
    const char *file = keyval_get(drive, "file");
    const char *format = keyval_get(drive, "format");
    const char *cache = keyval_get(drive, "cache");
    const char *read_only = keyval_get(drive, "readonly");
    const char *discard = keyval_get(drive, "discard");
    const char *zeroes = keyval_get(drive, "detect-zeroes");
    const struct cache *c = cache != NULL ? find_cache(cache) : NULL;
    int r = keyval_parse("", NULL, false, &node, err);

    if (read_only == NULL) {
        read_only = keyval_get(drive, "read-only");
    }
    if (read_only == NULL && cd) {
        read_only = "on";
    }
    (void)keyval_get(drive, "aio");
    if (cache != NULL && c == NULL) {
        return err_set(err, EINVAL,
                       "cache=%s is unknown: use writeback, writethrough, none, "
                       "directsync or unsafe",
                       cache);
    }
    if (format != NULL && block_driver_find(format) == NULL) {
        return err_set(err, EINVAL, "'%s' is no image format of ours", format);
    }
    *ret_through = c != NULL && c->writethrough;
    if (r == 0) {
        r = keyval_add(node, "driver", format != NULL ? format : "raw");
    }
    if (r == 0 && str_starts(file, "json:")) {
        return err_set(err, EINVAL, "file=json: is not supported: use -blockdev");
    }
    if (r == 0) {
        r = keyval_add(node, "file.driver", "file");
    }
    if (r == 0) {
        r = keyval_add(node, "file.filename", file);
    }
    if (r == 0 && c != NULL) {
        r = keyval_add(node, "file.cache.direct", c->direct ? "on" : "off");
    }
    if (r == 0 && c != NULL && c->no_flush) {
        r = keyval_add(node, "cache.no-flush", "on");
    }
    if (r == 0) {
        r = add_pair(node, "read-only", read_only);
    }
    if (r == 0) {
        r = add_pair(node, "file.discard", discard);
    }
    if (r == 0) {
        r = add_pair(node, "discard", discard);
    }
    if (r == 0) {
        r = add_pair(node, "detect-zeroes", zeroes);
    }
    for (size_t i = 0; r == 0 && i < drive->n; i++) {
        struct keyval_pair *p = &drive->pairs[i];

        if (!p->used && strchr(p->key, '.') != NULL) {
            p->used = true;
            r = keyval_add(node, p->key, p->value);
        }
    }
    *ret = TAKE_PTR(node);
    return r;
}

/* Which device and place a drive gets. */
struct placement {
    const char *interface;
    bool cd;
    unsigned long long index, bus, unit;
    bool has_index, has_bus, has_unit;
};

static int parse_placement(struct machine *m, struct keyval *drive, struct placement *p,
                           struct err **err)
{
    const char *media = keyval_get(drive, "media");
    int r = keyval_get_u64(drive, "index", 0, &p->index, err);

    *p = (struct placement) { .interface = keyval_get(drive, "if"), .index = p->index };
    if (r == 0) {
        r = keyval_get_u64(drive, "bus", 0, &p->bus, err);
    }
    if (r == 0) {
        r = keyval_get_u64(drive, "unit", 0, &p->unit, err);
    }
    if (r < 0) {
        return r;
    }
    p->has_index = keyval_get(drive, "index") != NULL;
    p->has_bus = keyval_get(drive, "bus") != NULL;
    p->has_unit = keyval_get(drive, "unit") != NULL;
    if (p->interface == NULL) {
        p->interface = m->cls->disk_interface != NULL ? m->cls->disk_interface : "virtio";
    }
    if (media != NULL && !str_eq(media, "disk") && !str_eq(media, "cdrom")) {
        return err_set(err, EINVAL, "media=%s: use disk or cdrom", media);
    }
    p->cd = media != NULL && str_eq(media, "cdrom");
    return 0;
}

static char *device_text(struct machine *m, const struct placement *p, const char *id, bool empty,
                         const char *extra)
{
    const char *drive = empty ? "" : ",drive=";
    const char *name = empty ? "" : id;
    unsigned per_bus = str_eq(m->cls->name, "pc-i440fx-7.2") ? 2 : 1;

    if (str_eq(p->interface, "ide")) {
        const char *kind = p->cd ? "ide-cd" : "ide-hd";

        if (p->has_index) {
            return str_format("%s,bus=ide.%llu,unit=%llu%s%s%s", kind, p->index / per_bus,
                              p->index % per_bus, drive, name, extra);
        }
        if (p->has_bus || p->has_unit) {
            return str_format("%s,bus=ide.%llu,unit=%llu%s%s%s", kind, p->bus, p->unit, drive, name,
                              extra);
        }
        return str_format("%s%s%s%s", kind, drive, name, extra);
    }
    if (str_eq(p->interface, "scsi")) {
        return str_format("%s%s%s%s", p->cd ? "scsi-cd" : "scsi-hd", drive, name, extra);
    }
    return str_format("virtio-blk,drive=%s%s", id, extra);
}

static int add_device(struct machine *m, struct keyval *drive, const struct placement *p,
                      const char *id, size_t n, bool empty, bool through, struct err **err)
{
    struct strbuf extra = STRBUF_INIT(4096);
    const char *serial = keyval_get(drive, "serial");
    const char *werror = keyval_get(drive, "werror");
    const char *rerror = keyval_get(drive, "rerror");
    const char *addr = keyval_get(drive, "addr");
    AUTO_FREE char *more = NULL;
    AUTO_FREE char *text = NULL;
    bool disk = true;

    if (str_eq(p->interface, "pflash")) {
        if (m->cls->add_flash == NULL) {
            return err_set(err, EINVAL, "if=pflash: machine '%s' has no flash", m->cls->name);
        }
        for (unsigned unit = 0; !p->has_unit && !p->has_index && unit < 2; unit++) {
            if (m->cls->add_flash(m, unit, id, NULL) == 0) {
                return 0;
            }
        }
        return m->cls->add_flash(m, (unsigned)(p->has_unit ? p->unit : p->index), id, err);
    }
    (void)n;
    if (serial != NULL) {
        strbuf_printf(&extra, ",serial=%s", serial);
    }
    if (werror != NULL) {
        strbuf_printf(&extra, ",werror=%s", werror);
    }
    if (rerror != NULL) {
        strbuf_printf(&extra, ",rerror=%s", rerror);
    }
    if (addr != NULL) {
        strbuf_printf(&extra, ",addr=%s", addr);
    }
    if (through && disk) {
        strbuf_puts(&extra, ",write-cache=off");
    }
    more = strbuf_take(&extra);
    text = more != NULL ? device_text(m, p, id, empty, more) : NULL;
    return text != NULL ? device_create_text(m, text, NULL, err) : -ENOMEM;
}

/* snapshot=on: what is written goes to a file of its own that nobody sees; the image is its backing
 * image. *node: the image's options, then the overlay's. */
static int put_overlay(struct block_ctx *blocks, struct keyval **node, const char *file,
                       char **ret_path, struct err **err)
{
    const char *dir = getenv("TMPDIR");
    AUTO_FREE char *path = str_format("%s/vireo-snapshot.XXXXXX", dir != NULL ? dir : "/var/tmp");
    CLEANUP(keyval_freep) struct keyval *above = NULL;
    CLEANUP(keyval_freep) struct keyval *create = NULL;
    CLEANUP(block_unrefp) struct block_node *image = NULL;
    AUTO_FD int fd = path != NULL ? mkstemp(path) : -1;
    char size[32];
    int r = fd < 0 ? err_set(err, errno, "cannot make a temporary file for '%s': %s", file,
                             strerror(errno))
                   : keyval_parse("", NULL, false, &above, err);

    if (r == 0) {
        r = keyval_add(*node, "read-only", "on");
    }
    for (size_t i = 0; r == 0 && i < (*node)->n; i++) {
        AUTO_FREE char *key = str_format("backing.%s", (*node)->pairs[i].key);

        r = key != NULL ? keyval_add(above, key, (*node)->pairs[i].value) : -ENOMEM;
    }
    if (r == 0) {
        r = block_open(blocks, *node, NULL, NULL, &image, err);
    }
    if (r == 0) {
        (void)snprintf(size, sizeof(size), "size=%lld", (long long)block_length(image));
        r = keyval_parse(size, NULL, false, &create, err);
    }
    if (r == 0) {
        r = block_create(blocks, "qcow2", path, create, err);
    }
    if (r == 0) {
        r = keyval_add(above, "driver", "qcow2");
    }
    if (r == 0) {
        r = keyval_add(above, "file.driver", "file");
    }
    if (r == 0) {
        r = keyval_add(above, "file.filename", path);
    }
    if (r < 0 && path != NULL && fd >= 0) {
        (void)unlink(path);
        return r;
    }
    (void)keyval_free(*node);
    *node = TAKE_PTR(above);
    *ret_path = TAKE_PTR(path);
    return r;
}

int drive_add(struct machine *m, struct block_ctx *blocks, struct keyval *drive, size_t n,
              struct err **err)
{
    static const char *const interfaces[] = { "none", "ide", "scsi", "virtio", "pflash" };
    CLEANUP(keyval_freep) struct keyval *node = NULL;
    const char *id = keyval_get(drive, "id");
    const char *file = keyval_get(drive, "file");
    const char *node_name = keyval_get(drive, "node-name");
    const char *snapshot = keyval_get(drive, "snapshot");
    AUTO_FREE char *made_id = id != NULL ? strdup(id) : NULL;
    AUTO_FREE char *overlay = NULL;
    struct placement p;
    bool through = false;
    bool known = false;
    bool snap = m->snapshot_mode;
    int r = parse_placement(m, drive, &p, err);

    if (r < 0) {
        return r;
    }
    if (made_id == NULL) {
        made_id = str_format("%s%llu-%s%llu", p.interface, p.has_index ? p.index / 2 : 0,
                             p.cd ? "cd" : "hd", p.has_index ? p.index % 2 : n);
    }
    for (size_t i = 0; i < sizeof(interfaces) / sizeof(interfaces[0]); i++) {
        known |= str_eq(p.interface, interfaces[i]);
    }
    if (!known) {
        return err_set(err, EINVAL, "if=%s: use ide, scsi, virtio, pflash or none", p.interface);
    }
    if (snapshot != NULL && str_to_bool(snapshot, &snap) < 0) {
        return err_set(err, EINVAL, "snapshot=%s: use on or off", snapshot);
    }
    if (file == NULL || *file == '\0') {
        /* An empty drive, for CD-ROMs. */
        if (!p.cd) {
            return err_set(err, EINVAL, "file= is missing");
        }
        (void)keyval_get(drive, "format");
        (void)keyval_get(drive, "readonly");
        if (str_eq(p.interface, "none")) {
            return 0;
        }
        return add_device(m, drive, &p, made_id, n, true, false, err);
    }
    r = to_node(drive, p.cd, &node, &through, err);
    if (r == 0 && snap) {
        r = put_overlay(blocks, &node, file, &overlay, err);
    }
    if (r == 0) {
        r = keyval_add(node, "node-name", node_name != NULL ? node_name : made_id);
    }
    if (r == 0) {
        r = add_node(m, blocks, node, node_name != NULL ? node_name : made_id, err);
    }
    if (overlay != NULL) {
        (void)unlink(overlay); /* it goes when it is closed */
    }
    if (r == 0 && node_name == NULL && hash_add(m->drives, made_id, m) < 0) {
        r = err_set(err, ENOMEM, "no memory");
    }
    if (r == 0 && !str_eq(p.interface, "none")) {
        r = add_device(m, drive, &p, node_name != NULL ? node_name : made_id, n, false, through,
                       err);
    }
    if (r == 0 && node_name != NULL && id != NULL && !str_eq(id, node_name)) {
        struct block_node *same = hash_get(m->blocks, node_name);

        if (hash_add(m->blocks, id, block_ref(same)) < 0 || hash_add(m->drives, id, m) < 0) {
            (void)block_unref(same);
            r = err_set(err, EEXIST, "drive '%s' exists already", id);
        }
    }
    return r == 0 ? keyval_check_used(drive, err) : r;
}
