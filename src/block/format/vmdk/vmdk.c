/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmdk.c - VMware's disk images: opening, requests, information. */
#include "block/format/vmdk/vmdk.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "block/core/iov.h"
#include "codec/json.h"
#include "codec/keyval.h"

#include <errno.h>
#include <string.h>

extern const struct block_driver block_vmdk;

/* A text that begins with comments and then says version=1, 2 or 3. */
static int probe_text(const uint8_t *head, size_t len)
{
    const char *p = (const char *)head;
    const char *end = p + len;

    while (p < end) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        size_t n = line_end != NULL ? (size_t)(line_end - p) : (size_t)(end - p);

        if (*p != '#' && n > 1) {
            return n >= 9 && memcmp(p, "version=", 8) == 0 && p[8] >= '1' && p[8] <= '3' &&
                           (n == 9 || p[9] == '\r')
                       ? 100
                       : 0;
        }
        p += n + 1;
    }
    return 0;
}

static int vmdk_probe(const uint8_t *head, size_t len, const char *filename)
{
    (void)filename;
    if (len >= 4 && (le32_get(head) == VMDK_MAGIC || le32_get(head) == VMDK_MAGIC_3)) {
        return 100;
    }
    return len >= 1 && *head == '#' ? probe_text(head, len) : 0;
}

static struct vmdk_extent *extent_at(struct vmdk *v, uint64_t off)
{
    unsigned low = 0;
    unsigned high = v->n_extents;

    while (high - low > 1) {
        unsigned mid = (low + high) / 2;

        if (v->extents[mid].start <= off) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return &v->extents[low];
}

static int lookup(struct table_node *t, uint64_t off, struct table_entry *ret)
{
    struct vmdk_extent *x = extent_at((struct vmdk *)t, off);
    int r;

    if (x->flat || x->zero) {
        ret->kind = x->zero ? TABLE_ZERO : TABLE_DATA;
        ret->start = x->start;
        ret->len = x->len;
        ret->host = x->host;
        ret->file = x->file != NULL ? x->file : t->node.file;
        return 0;
    }
    r = vmdk_grain_lookup(x, off - x->start, ret);
    ret->start += x->start;
    return r;
}

static int alloc(struct table_node *t, struct table_entry *ret, bool *ret_zero)
{
    struct vmdk_extent *x = extent_at((struct vmdk *)t, ret->start);

    if (x->zero) {
        return -EROFS;
    }
    *ret_zero = true;
    ret->file = x->file;
    return table_space_append(&x->space, x->grain, &ret->host);
}

static int link_grain(struct table_node *t, const struct table_entry *e)
{
    struct vmdk_extent *x = extent_at((struct vmdk *)t, e->start);

    if (e->host / BLOCK_SECTOR > UINT32_MAX) {
        return -EFBIG;
    }
    return vmdk_grain_set(x, e->start - x->start, (uint32_t)(e->host / BLOCK_SECTOR));
}

static int zero(struct table_node *t, const struct table_entry *e, bool unmap)
{
    struct vmdk_extent *x = extent_at((struct vmdk *)t, e->start);

    (void)unmap;
    return x->zero_grains && !x->flat && !x->compressed ? vmdk_grain_set(x, e->start - x->start, 1)
                                                        : -ENOTSUP;
}

static int read_special(struct table_node *t, const struct table_entry *e, uint8_t *buf)
{
    struct vmdk_extent *x = extent_at((struct vmdk *)t, e->start);
    AUTO_FREE uint8_t *whole = e->len < x->grain ? malloc(x->grain) : NULL;
    int r;

    if (e->len < x->grain && whole == NULL) {
        return -ENOMEM;
    }
    r = vmdk_grain_inflate(x, e, whole != NULL ? whole : buf);
    if (r == 0 && whole != NULL) {
        memcpy(buf, whole, e->len);
    }
    return r;
}

/* A part of a grain in a stream-optimized extent: the grain is deflated anew, at the end. */
static int write_special(struct table_node *t, const struct table_entry *e, const struct iovec *iov,
                         unsigned n, uint64_t off)
{
    struct vmdk_extent *x = extent_at((struct vmdk *)t, e->start);
    AUTO_FREE uint8_t *whole = NULL;
    int r = 0;

    if (!x->compressed) {
        return -ENOTSUP;
    }
    whole = calloc(1, x->grain);
    if (whole == NULL) {
        return -ENOMEM;
    }
    if (e->kind == TABLE_SPECIAL) {
        r = vmdk_grain_inflate(x, e, whole);
    } else if (e->kind == TABLE_NONE) {
        struct iovec all = { .iov_base = whole, .iov_len = e->len };

        r = block_read_backing(&t->node, &all, 1, e->start);
    }
    iov_to_buf(iov, n, 0, whole + (off - e->start), iov_len(iov, n));
    return r == 0 ? vmdk_grain_deflate(x, NULL, whole, e->start - x->start) : r;
}

static const struct table_ops ops = {
    .lookup = lookup,
    .alloc = alloc,
    .link = link_grain,
    .zero = zero,
    .read_special = read_special,
    .write_special = write_special,
};

/* An overlay is worth nothing on another parent than the one that it was made for. */
static int check_parent(struct vmdk *v, struct err **err)
{
    struct block_node *parent = block_backing(&v->t.node);
    uint32_t cid;

    if (parent == NULL || parent->drv != &block_vmdk) {
        return 0;
    }
    cid = ((struct vmdk *)parent)->cid;
    return cid == v->parent_cid
               ? 0
               : err_set(err, EINVAL,
                         "its parent was changed: its CID is %08x, not %08x; the overlay would be "
                         "read wrongly",
                         cid, v->parent_cid);
}

static int vmdk_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct vmdk *v = (struct vmdk *)node;
    uint64_t at = 0;
    int r = block_open_file_child(node, opts, err);

    if (r == 0) {
        r = vmdk_read_descriptor(v, opts, err);
    }
    if (r < 0) {
        return r;
    }
    v->t.preallocated = v->n_extents > 0;
    for (unsigned i = 0; i < v->n_extents; i++) {
        v->extents[i].start = at;
        if (!u64_add(at, v->extents[i].len, &at) || at > BLOCK_MAX_LENGTH) {
            return err_set(err, EFBIG, "the image is too large");
        }
        v->t.preallocated &= v->extents[i].flat;
    }
    if (v->n_extents == 0) {
        return err_set(err, EINVAL, "the descriptor names no extent");
    }
    v->t.size = at;
    table_init(&v->t, &ops);
    r = block_open_backing(node, opts, err);
    return r == 0 ? check_parent(v, err) : r;
}

static void vmdk_close(struct block_node *node)
{
    struct vmdk *v = (struct vmdk *)node;

    for (unsigned i = 0; i < v->n_extents; i++) {
        vmdk_extent_done(&v->extents[i]);
    }
    table_done(&v->t);
    free(v->extents);
    free(v->descriptor);
    free(v->create_type);
}

/* What is written makes overlays stale; not what is committed from them. */
static int written(struct vmdk *v)
{
    int r = 0;

    (void)pthread_mutex_lock(&v->t.lock);
    if (!v->cid_changed && !v->t.node.is_backing) {
        r = vmdk_change_cid(v);
        v->cid_changed = r == 0;
    }
    (void)pthread_mutex_unlock(&v->t.lock);
    return r;
}

static int vmdk_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    int r = written((struct vmdk *)node);

    return r == 0 ? table_pwritev(node, iov, n, off) : r;
}

static int vmdk_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    int r = written((struct vmdk *)node);

    return r == 0 ? table_write_zeroes(node, off, len, flags) : r;
}

static int vmdk_pwrite_compressed(struct block_node *node, const void *buf, size_t len,
                                  uint64_t off)
{
    struct vmdk *v = (struct vmdk *)node;
    struct vmdk_extent *x = extent_at(v, off);
    AUTO_FREE uint8_t *padded = NULL;
    int r;

    if (v->n_extents != 1 || !x->compressed) {
        return -ENOTSUP;
    }
    if (off % x->grain != 0 || len > x->grain || (len < x->grain && off + len != v->t.size)) {
        return -EINVAL;
    }
    if (len < x->grain) {
        padded = calloc(1, x->grain);
        if (padded == NULL) {
            return -ENOMEM;
        }
        memcpy(padded, buf, len);
    }
    r = written(v);
    return r == 0 ? vmdk_grain_deflate(x, &v->t.lock, padded != NULL ? padded : buf, off) : r;
}

static void vmdk_info(struct block_node *node, struct block_info *ret)
{
    struct vmdk *v = (struct vmdk *)node;

    ret->cluster_size = v->extents[0].flat || v->extents[0].zero ? 0 : v->extents[0].grain;
    ret->has_dirty = true;
    for (unsigned i = 0; i < v->n_extents; i++) {
        ret->needs_compressed |= v->extents[i].compressed;
    }
}

static struct json_object *vmdk_specific(struct block_node *node)
{
    struct vmdk *v = (struct vmdk *)node;
    struct json_object *o = json_object_new_object();
    struct json_object *list = json_object_new_array();

    (void)json_add_u64(o, "cid", v->cid);
    (void)json_add_u64(o, "parent-cid", v->parent_cid);
    (void)json_add_str(o, "create-type", v->create_type);
    for (unsigned i = 0; i < v->n_extents; i++) {
        struct vmdk_extent *x = &v->extents[i];
        struct json_object *e = json_object_new_object();

        (void)json_add_u64(e, "virtual-size", x->len);
        if (x->file != NULL && x->file->filename != NULL) {
            (void)json_add_str(e, "filename", x->file->filename);
        }
        if (!x->flat && !x->zero) {
            (void)json_add_u64(e, "cluster-size", x->grain);
        }
        (void)json_add_str(e, "format", x->type);
        if (x->compressed) {
            (void)json_add_bool(e, "compressed", true);
        }
        json_object_array_add(list, e);
    }
    (void)json_add(o, "extents", list);
    return o;
}

static int vmdk_check(struct block_node *node, struct block_check *check, struct err **err)
{
    struct vmdk *v = (struct vmdk *)node;
    int r = 0;

    if (check->fix != 0) {
        return err_set(err, ENOTSUP, "repair of VMDK images is not supported");
    }
    for (uint64_t at = 0; at < v->t.size;) {
        struct table_entry e = { .file = node->file };
        int64_t len;

        r = lookup(&v->t, at, &e);
        if (r < 0) {
            block_check_report(check, "ERROR: could not get cluster_offset of sector %llu",
                               (unsigned long long)(at / BLOCK_SECTOR));
            check->corruptions++;
            return 0;
        }
        len = block_length(e.file);
        if (e.kind == TABLE_DATA && !extent_at(v, at)->flat && len >= 0 &&
            e.host >= (uint64_t)len) {
            block_check_report(check, "ERROR: cluster offset after file size, of sector %llu",
                               (unsigned long long)(at / BLOCK_SECTOR));
            check->corruptions++;
            return 0;
        }
        at = e.start + e.len;
    }
    return 0;
}

const struct block_driver block_vmdk = {
    .name = "vmdk",
    .size = sizeof(struct vmdk),
    .supports_backing = true,
    .probe = vmdk_probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .length = table_length,
    .preadv = table_preadv,
    .pwritev = vmdk_pwritev,
    .pwrite_compressed = vmdk_pwrite_compressed,
    .write_zeroes = vmdk_write_zeroes,
    .flush = table_flush,
    .status = table_status,
    .create_opts = vmdk_create_opts,
    .create = vmdk_create,
    .info = vmdk_info,
    .specific = vmdk_specific,
    .check = vmdk_check,
};
