/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* descriptor.c - the text that says what a VMware disk consists of. */
#include "block/format/vmdk/vmdk.h"

#include "base/bytes.h"
#include "base/str.h"
#include "codec/keyval.h"
#include "os/random.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LINE = 4096 };

/* The text behind "KEY=" at the beginning of a line, or NULL. */
static const char *find_key(const char *text, const char *key)
{
    size_t len = strlen(key);

    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) == 0 && line[len] == '=') {
            return line + len + 1;
        }
    }
    return NULL;
}

/* Owned; without the quotes. NULL when there is none. */
static char *quoted(const char *text, const char *key)
{
    const char *v = find_key(text, key);

    if (v == NULL || *v != '"') {
        return NULL;
    }
    return strndup(v + 1, strcspn(v + 1, "\"\r\n"));
}

static uint32_t hex_of(const char *text, const char *key, uint32_t dflt)
{
    const char *v = find_key(text, key);
    char buf[9] = { 0 };
    uint64_t n;

    if (v == NULL) {
        return dflt;
    }
    memcpy(buf, v, strnlen(v, 8));
    buf[strspn(buf, "0123456789abcdefABCDEF")] = '\0';
    return str_to_u64(buf, 16, &n) == 0 ? (uint32_t)n : dflt;
}

int vmdk_add_extent(struct vmdk *v, struct block_node *file, const char *type,
                    struct vmdk_extent **ret)
{
    struct vmdk_extent *more;

    if (v->n_extents >= BLOCK_MAX_CHILDREN) {
        return -E2BIG;
    }
    more = realloc(v->extents, (v->n_extents + 1) * sizeof(*more));
    if (more == NULL) {
        return -ENOMEM;
    }
    v->extents = more;
    *ret = &more[v->n_extents];
    memset(*ret, 0, sizeof(**ret));
    (*ret)->file = file;
    (*ret)->type = strdup(type);
    if ((*ret)->type == NULL) {
        return -ENOMEM;
    }
    v->n_extents++;
    return 0;
}

/* Opens the file that a line names, as the child "extents.N". */
static int open_file(struct vmdk *v, struct keyval *opts, const char *name, struct block_node **ret,
                     struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *named = NULL;
    AUTO_FREE char *key = str_format("extents.%u", v->n_extents);
    AUTO_FREE char *path = NULL;
    const char *base = v->t.node.file->filename;
    int r = keyval_parse("", NULL, false, &named, err);

    if (r < 0 || key == NULL) {
        return r < 0 ? r : -ENOMEM;
    }
    /* What the text names is a file where the image is one: it cannot make us connect somewhere. */
    if (block_has_protocol(name) || (base == NULL && *name != '/')) {
        return err_set(err, EINVAL, "the extent '%s' cannot be found from here", name);
    }
    path = base != NULL ? block_path_combine(base, name) : strdup(name);
    r = path != NULL ? block_parse_filename(path, named, err) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < named->n; i++) {
        AUTO_FREE char *full = str_format("%s.%s", key, named->pairs[i].key);

        if (full == NULL) {
            r = -ENOMEM;
        } else if (keyval_get(opts, full) == NULL) {
            r = keyval_add(opts, full, named->pairs[i].value);
        }
    }
    if (r == 0) {
        r = block_open_child(&v->t.node, opts, key, ret, err);
    }
    if (r < 0) {
        err_prefix(err, "Could not open extent '%s': ", name);
    }
    return r;
}

struct line {
    uint64_t sectors;
    char type[32];
    char name[MAX_LINE];
    uint64_t off; /* sectors */
};

/* "RW 4192256 SPARSE "name"" and so on; false: no extent. */
static bool parse_line(const char *at, struct line *ret)
{
    char line[MAX_LINE];
    size_t len = strcspn(at, "\r\n");
    char *first;
    char *last;
    int used = 0;

    if (len >= sizeof(line) || !str_starts(at, "RW ")) {
        return false;
    }
    memcpy(line, at, len);
    line[len] = '\0';
    *ret = (struct line) { 0 };
    if (sscanf(line, "RW %" SCNu64 " %31s%n", &ret->sectors, ret->type, &used) != 2) {
        return false;
    }
    first = strchr(line + used, '"');
    last = first != NULL ? strchr(first + 1, '"') : NULL;
    if (last != NULL) {
        memcpy(ret->name, first + 1, (size_t)(last - first - 1));
        (void)sscanf(last + 1, " %" SCNu64, &ret->off);
    }
    return true;
}

static int add_line(struct vmdk *v, struct keyval *opts, const struct line *l, struct err **err)
{
    bool flat = str_eq(l->type, "FLAT") || str_eq(l->type, "VMFS");
    struct block_node *file = NULL;
    struct vmdk_extent *x;
    int r;

    if (l->sectors > BLOCK_MAX_LENGTH / BLOCK_SECTOR || l->off > BLOCK_MAX_LENGTH / BLOCK_SECTOR) {
        return err_set(err, EFBIG, "an extent of %" PRIu64 " sectors is too large", l->sectors);
    }
    if (str_eq(l->type, "ZERO")) {
        r = vmdk_add_extent(v, NULL, l->type, &x);
        if (r == 0) {
            x->zero = true;
            x->len = l->sectors * BLOCK_SECTOR;
        }
        return r;
    }
    if (!flat && !str_eq(l->type, "SPARSE") && !str_eq(l->type, "VMFSSPARSE")) {
        return err_set(err, ENOTSUP, "Unsupported extent type '%s'", l->type);
    }
    if (*l->name == '\0') {
        return err_set(err, EINVAL, "an extent of type %s has no file name", l->type);
    }
    r = open_file(v, opts, l->name, &file, err);
    if (r == 0) {
        r = vmdk_add_extent(v, file, l->type, &x);
    }
    if (r < 0) {
        return r;
    }
    if (!flat) {
        r = vmdk_open_sparse(x, v->t.node.read_only, err);
        if (r < 0) {
            err_prefix(err, "extent '%s': ", l->name);
        }
    }
    x->flat = flat;
    x->host = flat ? l->off * BLOCK_SECTOR : 0;
    if (r == 0 && !flat && x->len < l->sectors * BLOCK_SECTOR) {
        return err_set(err, EINVAL, "extent '%s' is shorter than the descriptor says", l->name);
    }
    x->len = l->sectors * BLOCK_SECTOR;
    return r;
}

static int add_lines(struct vmdk *v, struct keyval *opts, struct err **err)
{
    AUTO_FREE struct line *l = malloc(sizeof(*l));
    int r = l != NULL ? 0 : -ENOMEM;

    for (const char *at = v->descriptor; r == 0 && at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (parse_line(at, l)) {
            r = add_line(v, opts, l, err);
        }
    }
    return r;
}

/* Is the only extent the file itself? Its header then says where the text is. */
static int read_text(struct vmdk *v, bool *ret_embedded, struct err **err)
{
    struct block_node *file = v->t.node.file;
    uint8_t h[VMDK_HEADER];
    int64_t len = block_length(file);
    uint64_t size = len > 0 ? (uint64_t)len : 0;
    int r = block_pread(file, h, sizeof(h), 0);

    if (r < 0 || len < 0) {
        return r < 0 ? r : (int)len;
    }
    *ret_embedded = le32_get(h) == VMDK_MAGIC || le32_get(h) == VMDK_MAGIC_3;
    if (*ret_embedded) {
        v->descriptor_off = le64_get(h + 28) * BLOCK_SECTOR;
        size = le64_get(h + 36) * BLOCK_SECTOR;
        if (le32_get(h) == VMDK_MAGIC_3 || le64_get(h + 28) == 0) {
            size = 0;
        } else if (le64_get(h + 28) > INT32_MAX || le64_get(h + 36) > VMDK_MAX_DESCRIPTOR / 512) {
            return err_set(err, EFBIG, "the descriptor is too long");
        }
    }
    size = min_u64(size, VMDK_MAX_DESCRIPTOR);
    v->descriptor = calloc(1, size + 1);
    if (v->descriptor == NULL) {
        return -ENOMEM;
    }
    return size > 0 ? block_pread(file, v->descriptor, size, v->descriptor_off) : 0;
}

int vmdk_read_descriptor(struct vmdk *v, struct keyval *opts, struct err **err)
{
    struct block_node *node = &v->t.node;
    bool embedded = false;
    int r = read_text(v, &embedded, err);

    if (r < 0) {
        return r;
    }
    v->create_type = quoted(v->descriptor, "createType");
    v->cid = hex_of(v->descriptor, "CID", VMDK_NO_CID);
    v->parent_cid = hex_of(v->descriptor, "parentCID", VMDK_NO_CID);
    if (v->parent_cid != VMDK_NO_CID) {
        node->backing_file = quoted(v->descriptor, "parentFileNameHint");
        node->backing_fmt = node->backing_file != NULL ? strdup("vmdk") : NULL;
    }
    if (!embedded) {
        if (v->create_type == NULL) {
            return err_set(err, EINVAL, "invalid VMDK image descriptor");
        }
        if (!str_eq(v->create_type, "monolithicFlat") && !str_eq(v->create_type, "vmfs") &&
            !str_eq(v->create_type, "vmfsSparse") &&
            !str_starts(v->create_type, "twoGbMaxExtent")) {
            return err_set(err, ENOTSUP, "Unsupported image type '%s'", v->create_type);
        }
        return add_lines(v, opts, err);
    }
    if (v->create_type == NULL) {
        v->create_type = strdup("");
    }
    if (v->create_type == NULL) {
        return -ENOMEM;
    }
    struct vmdk_extent *x;

    r = vmdk_add_extent(v, node->file, "", &x);
    return r == 0 ? vmdk_open_sparse(x, node->read_only, err) : r;
}

int vmdk_change_cid(struct vmdk *v)
{
    const char *at = find_key(v->descriptor, "CID");
    /* Others write it without leading zeroes: the new one has as many digits as there is room for. */
    size_t digits = at != NULL ? strspn(at, "0123456789abcdefABCDEF") : 0;
    uint32_t cid;
    char text[9];
    int r;

    if (digits == 0 || digits > 8) {
        return 0;
    }
    random_bytes(&cid, sizeof(cid));
    cid -= cid == VMDK_NO_CID;
    cid &= UINT32_MAX >> (32 - 4 * digits);
    (void)snprintf(text, sizeof(text), "%0*x", (int)digits, cid);
    r = block_pwrite(v->t.node.file, text, digits,
                     v->descriptor_off + (uint64_t)(at - v->descriptor));
    if (r == 0) {
        memcpy(v->descriptor + (at - v->descriptor), text, digits);
        v->cid = cid;
    }
    return r;
}
