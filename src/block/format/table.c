/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/format/table.h"

#include "base/bytes.h"
#include "block/core/iov.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RESERVE = 32 << 20, MAX_FILL = 1 << 20 };

void table_init(struct table_node *t, const struct table_ops *ops)
{
    t->ops = ops;
    (void)pthread_mutex_init(&t->lock, NULL);
}

void table_done(struct table_node *t)
{
    if (t->ops != NULL) {
        (void)pthread_mutex_destroy(&t->lock);
    }
}

int64_t table_length(struct block_node *node)
{
    return (int64_t)((struct table_node *)node)->size;
}

int table_space_append(struct table_space *space, uint64_t len, uint64_t *ret)
{
    uint64_t end = space->end + len;
    int64_t have = block_length(space->file);
    int r = 0;

    if (have < 0) {
        return (int)have;
    }
    space->reserved = max_u64(space->reserved, (uint64_t)have);
    if (end > space->reserved) {
        r = block_truncate(space->file, end + RESERVE, BLOCK_PREALLOC_OFF, NULL);
        if (r < 0) {
            r = block_truncate(space->file, end, BLOCK_PREALLOC_OFF, NULL);
        }
        if (r == 0) {
            space->reserved = (uint64_t)block_length(space->file);
            r = block_flush(space->file);
        }
    }
    if (r == 0) {
        *ret = space->end;
        space->end = end;
    }
    return r;
}

int table_append(struct table_node *t, uint64_t len, uint64_t *ret)
{
    t->space.file = t->node.file;
    return table_space_append(&t->space, len, ret);
}

void table_space_trim(struct table_space *space)
{
    if (space->reserved > 0 && !space->file->read_only &&
        block_length(space->file) > (int64_t)space->end) {
        (void)!block_truncate(space->file, space->end, BLOCK_PREALLOC_OFF, NULL);
    }
}

void table_trim(struct table_node *t)
{
    table_space_trim(&t->space);
}

int table_read_all(struct block_node *file, uint64_t off, uint64_t n, unsigned entry,
                   uint64_t max_bytes, uint8_t **ret, struct err **err)
{
    int64_t len = block_length(file);
    uint8_t *raw;
    int r;

    if (n > max_bytes / entry) {
        return err_set(err, EFBIG, "a table of %llu entries is too large", (unsigned long long)n);
    }
    if (len < 0 || !range_within(off, n * entry, (uint64_t)len)) {
        return err_set(err, EINVAL, "a table of %llu entries reaches behind the end of the file",
                       (unsigned long long)n);
    }
    raw = malloc(n * entry + 1);
    if (raw == NULL) {
        return -ENOMEM;
    }
    r = block_pread(file, raw, n * entry, off);
    if (r < 0) {
        free(raw);
        return err_set(err, -r, "cannot read a table: %s", strerror(-r));
    }
    *ret = raw;
    return 0;
}

static int lookup(struct table_node *t, uint64_t off, struct table_entry *ret)
{
    int r;

    *ret = (struct table_entry) { .file = t->node.file };
    (void)pthread_mutex_lock(&t->lock);
    r = t->ops->lookup(t, off, ret);
    (void)pthread_mutex_unlock(&t->lock);
    return r;
}

/* A part of a vector in memory of its own. */
static struct iovec *part_of(const struct iovec *iov, unsigned n, size_t done, size_t len,
                             unsigned *ret_n)
{
    struct iovec *part = calloc(n + 1, sizeof(*part));

    if (part != NULL) {
        *ret_n = iov_part(iov, n, done, len, part);
    }
    return part;
}

static int read_special(struct table_node *t, const struct table_entry *e, const struct iovec *iov,
                        unsigned n, uint64_t off)
{
    AUTO_FREE uint8_t *buf = malloc(e->len);
    int r = buf != NULL ? t->ops->read_special(t, e, buf) : -ENOMEM;

    if (r == 0) {
        iov_from_buf(iov, n, 0, buf + (off - e->start), iov_len(iov, n));
    }
    return r;
}

int table_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct table_node *t = (struct table_node *)node;
    size_t total = iov_len(iov, n);
    size_t done = 0;

    while (done < total) {
        AUTO_FREE struct iovec *part = NULL;
        struct table_entry e;
        uint64_t at = off + done;
        unsigned k = 0;
        size_t len;
        int r = lookup(t, at, &e);

        if (r < 0) {
            return r;
        }
        len = min_u64(total - done, e.start + e.len - at);
        part = part_of(iov, n, done, len, &k);
        if (part == NULL) {
            return -ENOMEM;
        }
        switch (e.kind) {
        case TABLE_DATA:
            r = block_preadv(e.file, part, k, e.host + (at - e.start));
            break;
        case TABLE_ZERO:
            iov_zero(part, k, 0, len);
            break;
        case TABLE_SPECIAL:
            r = read_special(t, &e, part, k, at);
            break;
        case TABLE_NONE:
            r = block_read_backing(node, part, k, at);
            break;
        }
        if (r < 0) {
            return r;
        }
        done += len;
    }
    return 0;
}

/* The rest of a new block around what is written: old content, or nothing where that is zeroes and
 * so is the new place. */
static int fill_edges(struct table_node *t, const struct table_entry *old,
                      const struct table_entry *e, uint64_t from, uint64_t to, bool fresh_zero)
{
    uint64_t spans[2][2] = { { e->start, from }, { to, e->start + e->len } };
    bool zero = old->kind == TABLE_ZERO || (old->kind == TABLE_NONE && t->node.backing == NULL);
    AUTO_FREE uint8_t *whole = NULL;
    AUTO_FREE uint8_t *buf = NULL;
    int r = 0;

    if (zero && fresh_zero) {
        return 0;
    }
    buf = calloc(1, min_u64(MAX_FILL, e->len));
    whole = old->kind == TABLE_SPECIAL ? malloc(e->len) : NULL;
    if (buf == NULL || (old->kind == TABLE_SPECIAL && whole == NULL)) {
        return -ENOMEM;
    }
    if (whole != NULL) {
        r = t->ops->read_special(t, old, whole);
    }
    for (int i = 0; r == 0 && i < 2; i++) {
        for (uint64_t at = spans[i][0]; r == 0 && at < spans[i][1];) {
            struct iovec iov = { .iov_base = buf,
                                 .iov_len = min_u64(min_u64(MAX_FILL, e->len), spans[i][1] - at) };

            if (whole != NULL) {
                memcpy(buf, whole + (at - e->start), iov.iov_len);
            } else if (!zero) {
                r = block_read_backing(&t->node, &iov, 1, at);
            }
            if (r == 0) {
                r = block_pwritev(e->file, &iov, 1, e->host + (at - e->start));
            }
            at += iov.iov_len;
        }
    }
    /* What moved along must be there before the table says so. */
    if (r == 0 && !zero && !t->node.no_flush) {
        r = block_flush(e->file);
    }
    return r;
}

static int write_new(struct table_node *t, const struct iovec *part, unsigned k, uint64_t at,
                     size_t len)
{
    struct table_entry old = { .file = t->node.file };
    struct table_entry e;
    bool zero = false;
    int r;

    (void)pthread_mutex_lock(&t->lock);
    r = t->ops->lookup(t, at, &old);
    e = old;
    if (r == 0 && old.kind != TABLE_DATA && t->ops->write_special != NULL) {
        r = t->ops->write_special(t, &old, part, k, at);
        if (r != -ENOTSUP) {
            (void)pthread_mutex_unlock(&t->lock);
            return r;
        }
        r = 0;
    }
    if (r == 0 && old.kind != TABLE_DATA) {
        r = t->ops->alloc != NULL ? t->ops->alloc(t, &e, &zero) : -ENOTSUP;
        if (r == 0) {
            r = fill_edges(t, &old, &e, at, at + len, zero);
        }
        if (r == 0) {
            r = block_pwritev(e.file, part, k, e.host + (at - e.start));
        }
        if (r == 0) {
            e.kind = TABLE_DATA;
            r = t->ops->link(t, &e);
        }
    } else if (r == 0) {
        r = block_pwritev(e.file, part, k, e.host + (at - e.start));
    }
    (void)pthread_mutex_unlock(&t->lock);
    return r;
}

int table_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct table_node *t = (struct table_node *)node;
    size_t total = iov_len(iov, n);
    size_t done = 0;

    while (done < total) {
        AUTO_FREE struct iovec *part = NULL;
        struct table_entry e;
        uint64_t at = off + done;
        unsigned k = 0;
        size_t len;
        int r = lookup(t, at, &e);

        if (r < 0) {
            return r;
        }
        len = min_u64(total - done, e.start + e.len - at);
        part = part_of(iov, n, done, len, &k);
        if (part == NULL) {
            return -ENOMEM;
        }
        r = e.kind == TABLE_DATA ? block_pwritev(e.file, part, k, e.host + (at - e.start))
                                 : write_new(t, part, k, at, len);
        if (r < 0) {
            return r;
        }
        done += len;
    }
    return 0;
}

static int zero_part(struct table_node *t, uint64_t at, uint64_t len, unsigned flags)
{
    struct table_entry e = { .file = t->node.file };
    bool whole;
    int r;

    (void)pthread_mutex_lock(&t->lock);
    r = t->ops->lookup(t, at, &e);
    whole = at == e.start && (len == e.len || at + len == t->size);
    if (r == 0 && e.kind != TABLE_ZERO && !(e.kind == TABLE_NONE && t->node.backing == NULL)) {
        r = -ENOTSUP;
        if (whole && t->ops->zero != NULL) {
            r = t->ops->zero(t, &e, (flags & BLOCK_REQ_MAY_UNMAP) != 0);
        }
        if (r == -ENOTSUP && e.kind == TABLE_DATA) {
            r = block_write_zeroes(e.file, e.host + (at - e.start), len,
                                   flags & ~(unsigned)BLOCK_REQ_MAY_UNMAP);
        }
    }
    (void)pthread_mutex_unlock(&t->lock);
    return r;
}

int table_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    struct table_node *t = (struct table_node *)node;

    while (len > 0) {
        struct table_entry e;
        uint64_t part;
        int r = lookup(t, off, &e);

        if (r < 0) {
            return r;
        }
        part = min_u64(len, e.start + e.len - off);
        r = zero_part(t, off, part, flags);
        if (r == -ENOTSUP && (flags & BLOCK_REQ_NO_FALLBACK) == 0) {
            AUTO_FREE void *zeroes = calloc(1, part);
            struct iovec iov = { .iov_base = zeroes, .iov_len = part };

            r = zeroes != NULL ? table_pwritev(node, &iov, 1, off) : -ENOMEM;
        }
        if (r < 0) {
            return r;
        }
        off += part;
        len -= part;
    }
    return 0;
}

int table_status(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret)
{
    struct table_node *t = (struct table_node *)node;
    struct table_entry first = { .file = node->file };
    uint64_t end = off;
    int r;

    (void)pthread_mutex_lock(&t->lock);
    r = t->ops->lookup(t, off, &first);
    while (r == 0 && end < off + len) {
        struct table_entry e = { .file = node->file };

        r = t->ops->lookup(t, end, &e);
        if (r < 0 || e.kind != first.kind ||
            (end > off && (e.kind == TABLE_SPECIAL ||
                           (e.kind == TABLE_DATA &&
                            (e.file != first.file ||
                             e.host + (end - e.start) != first.host + (end - first.start)))))) {
            break;
        }
        end = e.start + e.len;
    }
    (void)pthread_mutex_unlock(&t->lock);
    if (r < 0 && end == off) {
        return r;
    }
    *ret = (struct block_extent) { .len = min_u64(end - off, len) };
    switch (first.kind) {
    case TABLE_DATA:
        ret->flags =
            BLOCK_DATA | BLOCK_ALLOCATED | BLOCK_OFFSET | (t->preallocated ? BLOCK_RECURSE : 0);
        ret->host = first.file;
        ret->host_off = first.host + (off - first.start);
        break;
    case TABLE_ZERO:
        ret->flags = BLOCK_ZERO | BLOCK_ALLOCATED;
        break;
    case TABLE_SPECIAL:
        ret->flags = BLOCK_DATA | BLOCK_ALLOCATED | BLOCK_COMPRESSED;
        break;
    case TABLE_NONE:
        ret->flags = node->drv->supports_backing ? 0
                     : t->none_is_hole           ? BLOCK_ZERO
                                                 : BLOCK_ZERO | BLOCK_ALLOCATED;
        break;
    }
    return 0;
}

int table_flush(struct block_node *node)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < node->n_children; i++) {
        if (node->children[i].node != node->backing) {
            r = block_flush(node->children[i].node);
        }
    }
    return r;
}
