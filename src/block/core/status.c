/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status.c - where the content of a range comes from, in one node and through a backing chain. */
#include "block/core/block.h"

#include "base/bytes.h"

#include <errno.h>

int block_status(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret)
{
    int64_t size = block_length(node);
    int r = 0;

    if (size < 0) {
        return (int)size;
    }
    *ret = (struct block_extent) { 0 };
    if (off >= (uint64_t)size) {
        *ret = (struct block_extent) { .len = len, .flags = BLOCK_ZERO | BLOCK_EOF };
        return 0;
    }
    len = min_u64(len, (uint64_t)size - off);
    if (node->drv->status == NULL) {
        *ret = (struct block_extent) { .len = len, .flags = BLOCK_DATA | BLOCK_ALLOCATED };
        if (node->drv->is_protocol) {
            ret->flags |= BLOCK_OFFSET;
            ret->host = node;
            ret->host_off = off;
        }
    } else {
        r = node->drv->status(node, off, len, ret);
    }
    if (r < 0) {
        return r;
    }
    ret->len = min_u64(ret->len, len);
    if (ret->len == 0) {
        return -EIO; /* a driver must make progress */
    }
    if ((ret->flags & BLOCK_RECURSE) != 0 && ret->host != NULL && ret->host != node) {
        struct block_extent below;
        unsigned keep = ret->flags & ~(unsigned)BLOCK_RECURSE;

        /* The file may know of holes: what the format calls data reads as zeroes there. */
        r = block_status(ret->host, ret->host_off, ret->len, &below);
        if (r == 0 && (below.flags & BLOCK_EOF) != 0 && (below.flags & BLOCK_ZERO) != 0 &&
            below.len >= ret->len) {
            keep |= BLOCK_ZERO;
        } else if (r == 0 && below.len > 0) {
            ret->len = min_u64(ret->len, below.len);
            keep |= below.flags & BLOCK_ZERO;
        }
        ret->flags = keep;
    }
    /* Unallocated without anything behind reads as zeroes. */
    if ((ret->flags & (BLOCK_DATA | BLOCK_ZERO)) == 0 && (ret->flags & BLOCK_ALLOCATED) == 0) {
        if (node->backing == NULL && node->drv->supports_backing) {
            ret->flags |= BLOCK_ZERO;
        } else if (node->backing != NULL) {
            int64_t below = block_length(node->backing);

            if (below >= 0 && off >= (uint64_t)below) {
                ret->flags |= BLOCK_ZERO;
            } else if (below >= 0 && off + ret->len > (uint64_t)below) {
                ret->len = (uint64_t)below - off;
            }
        }
    }
    if (off + ret->len == (uint64_t)size) {
        ret->flags |= BLOCK_EOF;
    }
    return 0;
}

int block_status_above(struct block_node *node, struct block_node *base, uint64_t off, uint64_t len,
                       struct block_extent *ret, unsigned *ret_depth)
{
    unsigned depth = 0;
    bool eof;
    int r;

    node = block_skip_filters(node);
    r = block_status(node, off, len, ret);
    if (r < 0) {
        return r;
    }
    eof = (ret->flags & BLOCK_EOF) != 0;
    while ((ret->flags & BLOCK_ALLOCATED) == 0) {
        struct block_node *below = block_backing(node);
        struct block_extent next;

        if (below == NULL || below == base) {
            break;
        }
        r = block_status(below, off, ret->len, &next);
        if (r < 0) {
            return r;
        }
        depth++;
        if ((next.flags & BLOCK_EOF) != 0 && (next.flags & BLOCK_ZERO) != 0 &&
            off >= (uint64_t)block_length(below)) {
            /* The overlay is longer than this one: its end is as good as zeroes there. */
            next.flags = BLOCK_ZERO | BLOCK_ALLOCATED;
        }
        next.len = min_u64(next.len, ret->len);
        eof = eof && next.len == ret->len;
        *ret = next;
        ret->flags &= ~(unsigned)BLOCK_EOF;
        node = below;
    }
    ret->flags = (ret->flags & ~(unsigned)BLOCK_EOF) | (eof ? BLOCK_EOF : 0);
    if (ret_depth != NULL) {
        *ret_depth = depth;
    }
    return 0;
}

int block_allocated_above(struct block_node *node, struct block_node *base, bool include_base,
                          uint64_t off, uint64_t len, uint64_t *ret_len)
{
    uint64_t shortest = len;

    for (node = block_skip_filters(node); node != NULL; node = block_backing(node)) {
        struct block_extent ext;
        int r;

        if (node == base && !include_base) {
            break;
        }
        r = block_status(node, off, len, &ext);
        if (r < 0) {
            return r;
        }
        if ((ext.flags & BLOCK_ALLOCATED) != 0) {
            *ret_len = min_u64(ext.len, shortest);
            return 1;
        }
        /* Behind the end of a short backing node nothing is allocated, as far as one may ask. */
        if (off < (uint64_t)block_length(node)) {
            shortest = min_u64(shortest, ext.len);
        }
        if (node == base) {
            break;
        }
    }
    *ret_len = shortest;
    return 0;
}
