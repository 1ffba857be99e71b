/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* create.c - new VMware disks, of the five kinds that QEMU makes. */
#include "block/format/vmdk/vmdk.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/keyval.h"
#include "os/random.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TEXT = 1 << 20 };

static const struct kind {
    const char *name;
    bool flat;
    bool split;
    bool compressed;
} kinds[] = {
    { .name = "monolithicSparse" },
    { .name = "monolithicFlat", .flat = true },
    { .name = "twoGbMaxExtentSparse", .split = true },
    { .name = "twoGbMaxExtentFlat", .flat = true, .split = true },
    { .name = "streamOptimized", .compressed = true },
    { 0 },
};

struct creation {
    struct block_ctx *ctx;
    struct block_node *file;
    const char *filename;
    const struct kind *kind;
    uint64_t size;
    bool zeroed_grain;
    const char *adapter;
    const char *hw_version;
    const char *tools_version;
    const char *backing;
    uint32_t parent_cid;
    struct strbuf lines; /* of the extents */
};

static int parse_options(struct creation *c, struct keyval *opts, struct err **err)
{
    const char *kind = keyval_get(opts, "subformat");
    unsigned long long size = 0;
    bool compat6 = false;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    c->size = round_up_u64(size, BLOCK_SECTOR);
    c->kind = kinds;
    while (kind != NULL && c->kind->name != NULL && !str_eq(c->kind->name, kind)) {
        c->kind++;
    }
    if (r == 0 && c->kind->name == NULL) {
        return err_set(err, EINVAL, "Invalid subformat '%s'", kind);
    }
    if (r == 0 && size > BLOCK_MAX_LENGTH) {
        return err_set(err, EFBIG, "the image is too large");
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "compat6", false, &compat6, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "zeroed_grain", false, &c->zeroed_grain, err);
    }
    c->adapter = keyval_get(opts, "adapter_type");
    c->adapter = c->adapter != NULL ? c->adapter : "ide";
    c->hw_version = keyval_get(opts, "hwversion");
    c->tools_version = keyval_get(opts, "toolsversion");
    c->tools_version = c->tools_version != NULL ? c->tools_version : "2147483647";
    c->backing = keyval_get(opts, "backing_file");
    if (r == 0 && compat6 && c->hw_version != NULL && !str_eq(c->hw_version, "undefined")) {
        r = err_set(err, EINVAL, "compat6 cannot be enabled with hwversion set");
    }
    if (r == 0 && !str_eq(c->adapter, "ide") && !str_eq(c->adapter, "buslogic") &&
        !str_eq(c->adapter, "lsilogic") && !str_eq(c->adapter, "legacyESX")) {
        r = err_set(err, EINVAL, "Unknown adapter type: %s", c->adapter);
    }
    if (r == 0 && c->kind->flat && c->backing != NULL) {
        r = err_set(err, ENOTSUP, "Flat image can't have backing file");
    }
    if (r == 0 && c->kind->flat && c->zeroed_grain) {
        r = err_set(err, ENOTSUP, "Flat image can't enable zeroed grain");
    }
    if (c->hw_version == NULL || str_eq(c->hw_version, "undefined")) {
        c->hw_version = compat6 ? "6" : "4";
    }
    return r;
}

static int find_parent(struct creation *c, struct keyval *opts, struct err **err)
{
    CLEANUP(block_unrefp) struct block_node *parent = NULL;
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    const char *fmt = keyval_get(opts, "backing_fmt");
    AUTO_FREE char *path = NULL;
    int r;

    c->parent_cid = VMDK_NO_CID;
    if (c->backing == NULL) {
        return 0;
    }
    if (fmt != NULL && !str_eq(fmt, "vmdk")) {
        return err_set(err, EINVAL, "Invalid backing file format: %s. Must be \"vmdk\"", fmt);
    }
    path = block_path_combine(c->filename, c->backing);
    r = keyval_parse("read-only=on,\1no-backing=on", NULL, false, &kv, err);
    if (r == 0 && path != NULL) {
        r = block_open_image(c->ctx, path, "vmdk", kv, &parent, err);
    }
    if (r == 0 && parent != NULL) {
        c->parent_cid = ((struct vmdk *)parent)->cid;
    }
    return r;
}

/* An empty sparse extent; *ret_descriptor: where the text goes in it. */
static int write_sparse(const struct creation *c, struct block_node *file, uint64_t size,
                        struct err **err)
{
    const uint32_t table_sectors = VMDK_TABLE_ENTRIES * 4 / BLOCK_SECTOR;
    uint64_t n = (size + (uint64_t)VMDK_GRAIN * VMDK_TABLE_ENTRIES - 1) /
                 ((uint64_t)VMDK_GRAIN * VMDK_TABLE_ENTRIES);
    uint64_t dir_sectors = (n * 4 + BLOCK_SECTOR - 1) / BLOCK_SECTOR;
    uint64_t second = 1 + VMDK_DESCRIPTOR;
    uint64_t first = second + dir_sectors + n * table_sectors;
    uint64_t grains =
        round_up_u64(first + dir_sectors + n * table_sectors, VMDK_GRAIN / BLOCK_SECTOR);
    AUTO_FREE uint8_t *dir = calloc(dir_sectors + 1, BLOCK_SECTOR);
    uint8_t h[VMDK_HEADER] = { 0 };
    int r;

    if (dir == NULL) {
        return -ENOMEM;
    }
    if (grains > UINT32_MAX || n > VMDK_MAX_DIRECTORY / 4) {
        return err_set(err, EFBIG, "the image is too large for a sparse extent");
    }
    le32_put(h, VMDK_MAGIC);
    le32_put(h + 4, c->zeroed_grain ? 2 : c->kind->compressed ? 3 : 1);
    le32_put(h + 8, VMDK_FLAG_NEWLINES | VMDK_FLAG_TWO_DIRS |
                        (c->kind->compressed ? VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS : 0) |
                        (c->zeroed_grain ? VMDK_FLAG_ZERO_GRAINS : 0));
    le64_put(h + 12, size / BLOCK_SECTOR);
    le64_put(h + 20, VMDK_GRAIN / BLOCK_SECTOR);
    le64_put(h + 28, 1);
    le64_put(h + 36, VMDK_DESCRIPTOR);
    le32_put(h + 44, VMDK_TABLE_ENTRIES);
    le64_put(h + 48, second);
    le64_put(h + 56, first);
    le64_put(h + 64, grains);
    memcpy(h + 73, "\n \r\n", 4);
    le16_put(h + 77, c->kind->compressed);
    r = block_pwrite(file, h, sizeof(h), 0);
    if (r == 0) {
        r = block_truncate(file, grains * BLOCK_SECTOR, BLOCK_PREALLOC_OFF, err);
    }
    for (int copy = 0; r == 0 && copy < 2; copy++) {
        uint64_t at = copy == 0 ? second : first;

        for (uint64_t i = 0; i < n; i++) {
            le32_put(dir + i * 4, (uint32_t)(at + dir_sectors + i * table_sectors));
        }
        r = block_pwrite(file, dir, dir_sectors * BLOCK_SECTOR, at * BLOCK_SECTOR);
    }
    return r;
}

/* "disk-s001.vmdk" for "disk.vmdk". */
static char *extent_name(const struct creation *c, const char *filename, unsigned i)
{
    const char *slash = strrchr(filename, '/');
    const char *base = slash != NULL ? slash + 1 : filename;
    const char *dot = strrchr(base, '.');
    int stem = (int)(dot != NULL ? (size_t)(dot - filename) : strlen(filename));
    const char *ext = dot != NULL ? dot : "";

    return c->kind->split
               ? str_format("%.*s-%c%03u%s", stem, filename, c->kind->flat ? 'f' : 's', i, ext)
               : str_format("%.*s-flat%s", stem, filename, ext);
}

static int make_extent(struct creation *c, unsigned i, uint64_t size, struct err **err)
{
    const char *name = str_starts(c->filename, "file:") ? c->filename + 5 : c->filename;
    CLEANUP(block_unrefp) struct block_node *file = NULL;
    AUTO_FREE char *path = extent_name(c, name, i);
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    int r = path != NULL ? block_create_file(c->ctx, path, c->kind->flat ? size : 0, &file, err)
                         : -ENOMEM;

    if (r == 0 && !c->kind->flat) {
        r = write_sparse(c, file, size, err);
    }
    strbuf_printf(&c->lines, "RW %llu %s \"%s\"%s\n", (unsigned long long)(size / BLOCK_SECTOR),
                  c->kind->flat ? "FLAT" : "SPARSE", slash != NULL ? slash + 1 : path,
                  c->kind->flat ? " 0" : "");
    return r;
}

/* Takes back the extents' files after a failure. */
static void remove_extents(struct creation *c, unsigned n)
{
    for (unsigned i = 1; i <= n; i++) {
        AUTO_FREE char *path =
            extent_name(c, str_starts(c->filename, "file:") ? c->filename + 5 : c->filename, i);

        if (path != NULL) {
            (void)unlink(path);
        }
    }
}

static int make_extents(struct creation *c, struct err **err)
{
    uint64_t left = c->size;
    unsigned i = 0;
    int r = 0;

    if (block_has_protocol(c->filename) && !str_starts(c->filename, "file:")) {
        return err_set(err, ENOTSUP, "a disk of several files needs a folder: '%s' is none",
                       c->filename);
    }
    do {
        uint64_t part = c->kind->split ? min_u64(left, VMDK_SPLIT) : left;

        r = make_extent(c, ++i, part, err);
        left -= part;
    } while (r == 0 && left > 0);
    if (r < 0) {
        remove_extents(c, i);
    }
    return r;
}

static char *descriptor(struct creation *c, const char *lines)
{
    struct strbuf b = STRBUF_INIT(MAX_TEXT);
    unsigned heads = str_eq(c->adapter, "ide") ? 16 : 255;
    uint32_t cid;

    random_bytes(&cid, sizeof(cid));
    cid -= cid == VMDK_NO_CID;
    strbuf_printf(&b,
                  "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n",
                  cid, c->parent_cid, c->kind->name);
    if (c->backing != NULL) {
        strbuf_printf(&b, "parentFileNameHint=\"%s\"\n", c->backing);
    }
    strbuf_printf(&b, "\n# Extent description\n%s\n# The Disk Data Base\n#DDB\n\n", lines);
    strbuf_printf(&b,
                  "ddb.virtualHWVersion = \"%s\"\nddb.geometry.cylinders = \"%llu\"\n"
                  "ddb.geometry.heads = \"%u\"\nddb.geometry.sectors = \"63\"\n"
                  "ddb.adapterType = \"%s\"\nddb.toolsVersion = \"%s\"\n",
                  c->hw_version, (unsigned long long)(c->size / (63ull * heads * BLOCK_SECTOR)),
                  heads, c->adapter, c->tools_version);
    return strbuf_take(&b);
}

int vmdk_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                struct keyval *opts, struct err **err)
{
    struct creation c = {
        .ctx = ctx, .file = file, .filename = filename, .lines = STRBUF_INIT(MAX_TEXT)
    };
    const char *slash = strrchr(filename, '/');
    bool embedded;
    AUTO_FREE char *lines = NULL;
    AUTO_FREE char *text = NULL;
    int r = parse_options(&c, opts, err);

    if (r == 0) {
        r = find_parent(&c, opts, err);
    }
    if (r < 0) {
        return r;
    }
    embedded = !c.kind->flat && !c.kind->split;
    if (embedded) {
        strbuf_printf(&c.lines, "RW %llu SPARSE \"%s\"\n",
                      (unsigned long long)(c.size / BLOCK_SECTOR),
                      slash != NULL ? slash + 1 : filename);
        r = write_sparse(&c, file, c.size, err);
    } else {
        r = make_extents(&c, err);
    }
    lines = strbuf_take(&c.lines);
    text = r == 0 && lines != NULL ? descriptor(&c, lines) : NULL;
    if (r == 0 && text == NULL) {
        r = -ENOMEM;
    }
    if (r == 0 && embedded && strlen(text) > VMDK_DESCRIPTOR * BLOCK_SECTOR) {
        r = err_set(err, EINVAL, "the names in the descriptor are too long");
    }
    return r == 0 ? block_pwrite(file, text, strlen(text), embedded ? BLOCK_SECTOR : 0) : r;
}

const struct block_opt vmdk_create_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { "adapter_type", BLOCK_OPT_STR,
      "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX", NULL },
    { "backing_file", BLOCK_OPT_STR, "File name of a base image", NULL },
    { "backing_fmt", BLOCK_OPT_STR, "Must be 'vmdk' if present", NULL },
    { "compat6", BLOCK_OPT_BOOL, "VMDK version 6 image", "off" },
    { "hwversion", BLOCK_OPT_STR, "VMDK hardware version", "undefined" },
    { "toolsversion", BLOCK_OPT_STR, "VMware guest tools version", NULL },
    { "subformat", BLOCK_OPT_STR,
      "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | "
      "twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} ",
      NULL },
    { "zeroed_grain", BLOCK_OPT_BOOL,
      "Enable efficient zero writes using the zeroed-grain GTE feature", NULL },
    { 0 },
};
