/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* filename.c - what a file name stands for: a path, SCHEME:..., or "json:{...}". */
#include "block/core/block.h"

#include "base/str.h"
#include "codec/json.h"
#include "codec/keyval.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

bool block_has_protocol(const char *filename)
{
    size_t len = strcspn(filename, ":/");

    return filename[len] == ':' && len > 0;
}

const struct block_driver *block_driver_for_scheme(const char *filename)
{
    size_t len = strcspn(filename, ":");

    for (const struct block_driver *const *d = block_drivers; *d != NULL; d++) {
        for (const char *const *s = (*d)->schemes; s != NULL && *s != NULL; s++) {
            if (strlen(*s) == len && strncmp(*s, filename, len) == 0) {
                return *d;
            }
        }
    }
    return NULL;
}

/* What QEMU once had and dropped is refused by its name. */
static bool is_dropped(const char *filename)
{
    return str_starts(filename, "sheepdog:") || str_starts(filename, "sheepdog+") ||
           str_starts(filename, "tftp:") || str_starts(filename, "vxhs:");
}

static const char *device_driver(const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISBLK(st.st_mode)) {
        return str_starts(path, "/dev/sr") || str_starts(path, "/dev/cdrom") ? "host_cdrom"
                                                                             : "host_device";
    }
    return stat(path, &st) == 0 && S_ISCHR(st.st_mode) ? "host_device" : "file";
}

static int merge(struct keyval *to, struct keyval *from)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < from->n; i++) {
        r = keyval_add(to, from->pairs[i].key, from->pairs[i].value);
    }
    return r;
}

int block_parse_filename(const char *filename, struct keyval *opts, struct err **err)
{
    const struct block_driver *drv;
    int r;

    if (str_starts(filename, "json:")) {
        CLEANUP(keyval_freep) struct keyval *kv = NULL;
        const char *text = filename + 5;

        r = keyval_parse(text, NULL, false, &kv, err);
        return r == 0 ? merge(opts, kv) : r;
    }
    if (!block_has_protocol(filename) || str_starts(filename, "file:")) {
        const char *path = str_starts(filename, "file:") ? filename + 5 : filename;

        r = keyval_add(opts, "driver", device_driver(path));
        return r == 0 ? keyval_add(opts, "filename", path) : r;
    }
    drv = block_driver_for_scheme(filename);
    if (drv == NULL) {
        int len = (int)strcspn(filename, ":");

        return is_dropped(filename)
                   ? err_set(err, EINVAL,
                             "protocol '%.*s' is no longer supported, as QEMU dropped it", len,
                             filename)
                   : err_set(err, EINVAL, "Unknown protocol '%.*s'", len, filename);
    }
    r = keyval_add(opts, "driver", drv->name);
    if (r == 0) {
        r = drv->parse_filename != NULL ? drv->parse_filename(filename, opts, err)
                                        : keyval_add(opts, "filename", filename);
    }
    return r;
}

char *block_path_combine(const char *base, const char *name)
{
    const char *slash;

    if (*name == '/' || block_has_protocol(name)) {
        return strdup(name);
    }
    if (block_has_protocol(base) && strstr(base, "://") == NULL) {
        const char *path = strchr(base, ':') + 1;

        slash = strrchr(path, '/');
        slash = slash != NULL ? slash : path - 1;
    } else {
        slash = strrchr(base, '/');
    }
    return slash == NULL ? strdup(name) : str_format("%.*s%s", (int)(slash - base + 1), base, name);
}

/* The file name of a format's protocol node, for names relative to it. */
static const char *base_filename(struct block_node *node)
{
    while (node->file != NULL) {
        node = node->file;
    }
    return node->filename;
}

char *block_full_backing_name(struct block_node *node)
{
    const char *base;

    if (node->backing_file == NULL) {
        return NULL;
    }
    if (str_starts(node->backing_file, "json:") || block_has_protocol(node->backing_file)) {
        return strdup(node->backing_file);
    }
    base = base_filename(node);
    return base != NULL && *base != '\0' ? block_path_combine(base, node->backing_file)
                                         : strdup(node->backing_file);
}

char *block_reopen_name(struct block_node *node)
{
    const char *base = base_filename(node);

    return base != NULL ? strdup(base) : NULL;
}
