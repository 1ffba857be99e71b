/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/core/bitmap.h"

#include "base/bytes.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Bits of one bitmap take at most this much memory: 2 PiB at 64 KiB. */
#define MAX_BITS (1ull << 35)

uint32_t block_bitmap_default_granularity(struct block_node *node)
{
    struct block_info info = { 0 };

    if (node->drv->info != NULL) {
        node->drv->info(node, &info);
    }
    return info.cluster_size == 0 ? 65536
                                  : (uint32_t)max_u64(4096, min_u64(65536, info.cluster_size));
}

static uint64_t bits_for(uint64_t size, uint32_t granularity)
{
    return size / granularity + (size % granularity != 0);
}

int block_bitmap_add(struct block_node *node, const char *name, uint32_t granularity,
                     struct block_bitmap **ret, struct err **err)
{
    int64_t size = block_length(node);
    struct block_bitmap *bm;

    if (size < 0) {
        return err_set(err, (int)-size, "could not get length of device");
    }
    if (granularity < 512 || (granularity & (granularity - 1)) != 0) {
        return err_set(err, EINVAL,
                       granularity < 512 ? "Granularity must be at least 512 bytes"
                                         : "Granularity must be power of 2");
    }
    if (name != NULL && (*name == '\0' || strlen(name) > BLOCK_BITMAP_NAME_MAX)) {
        return err_set(err, EINVAL,
                       *name == '\0' ? "Bitmap name cannot be empty" : "Bitmap name too long");
    }
    if (name != NULL && block_bitmap_find(node, name) != NULL) {
        return err_set(err, EEXIST, "Bitmap already exists: %s", name);
    }
    bm = calloc(1, sizeof(*bm));
    if (bm != NULL) {
        bm->n_bits = bits_for((uint64_t)size, granularity);
        bm->bits = bm->n_bits <= MAX_BITS ? calloc(bm->n_bits / 64 + 1, sizeof(uint64_t)) : NULL;
        bm->name = name != NULL ? strdup(name) : NULL;
    }
    if (bm == NULL || bm->bits == NULL || (name != NULL && bm->name == NULL)) {
        if (bm != NULL) {
            free(bm->bits);
            free(bm->name);
        }
        free(bm);
        return err_set(err, ENOMEM, "no memory for a dirty bitmap");
    }
    bm->granularity = granularity;
    bm->size = (uint64_t)size;
    bm->enabled = true;
    (void)pthread_mutex_init(&bm->lock, NULL);
    list_append(&node->bitmaps, &bm->link);
    *ret = bm;
    return 0;
}

void block_bitmap_remove(struct block_node *node, struct block_bitmap *bm)
{
    (void)node;
    list_remove(&bm->link);
    (void)pthread_mutex_destroy(&bm->lock);
    free(bm->name);
    free(bm->bits);
    free(bm);
}

struct block_bitmap *block_bitmap_find(struct block_node *node, const char *name)
{
    LIST_FOREACH (&node->bitmaps, it) {
        struct block_bitmap *bm = CONTAINER_OF(it, struct block_bitmap, link);

        if (bm->name != NULL && str_eq(bm->name, name)) {
            return bm;
        }
    }
    return NULL;
}

static void change(struct block_bitmap *bm, uint64_t off, uint64_t len, bool set)
{
    uint64_t first;
    uint64_t last;

    if (len == 0 || off >= bm->size) {
        return;
    }
    len = min_u64(len, bm->size - off);
    first = off / bm->granularity;
    last = (off + len - 1) / bm->granularity;
    (void)pthread_mutex_lock(&bm->lock);
    for (uint64_t i = first; i <= last;) {
        uint64_t mask;
        uint64_t old = bm->bits[i / 64];
        unsigned n = (unsigned)min_u64(64 - i % 64, last - i + 1);

        mask = (n == 64 ? UINT64_MAX : (1ull << n) - 1) << (i % 64);
        bm->bits[i / 64] = set ? old | mask : old & ~mask;
        bm->count +=
            (uint64_t)__builtin_popcountll(bm->bits[i / 64]) - (uint64_t)__builtin_popcountll(old);
        i += n;
    }
    (void)pthread_mutex_unlock(&bm->lock);
}

void block_bitmap_set(struct block_bitmap *bm, uint64_t off, uint64_t len)
{
    change(bm, off, len, true);
}

void block_bitmap_reset(struct block_bitmap *bm, uint64_t off, uint64_t len)
{
    change(bm, off, len, false);
}

void block_bitmap_clear(struct block_bitmap *bm)
{
    (void)pthread_mutex_lock(&bm->lock);
    memset(bm->bits, 0, (bm->n_bits / 64 + 1) * sizeof(uint64_t));
    bm->count = 0;
    (void)pthread_mutex_unlock(&bm->lock);
}

static bool get_bit(const struct block_bitmap *bm, uint64_t i)
{
    return (bm->bits[i / 64] >> (i % 64) & 1) != 0;
}

bool block_bitmap_get(struct block_bitmap *bm, uint64_t off)
{
    bool set;

    (void)pthread_mutex_lock(&bm->lock);
    set = off < bm->size && get_bit(bm, off / bm->granularity);
    (void)pthread_mutex_unlock(&bm->lock);
    return set;
}

/* The first bit at or after i that is `set`, or n_bits. */
static uint64_t scan(const struct block_bitmap *bm, uint64_t i, bool set)
{
    while (i < bm->n_bits) {
        uint64_t word = set ? bm->bits[i / 64] : ~bm->bits[i / 64];

        word &= UINT64_MAX << (i % 64);
        if (word != 0) {
            return min_u64((i & ~63ull) + (uint64_t)__builtin_ctzll(word), bm->n_bits);
        }
        i = (i | 63) + 1;
    }
    return bm->n_bits;
}

bool block_bitmap_next(struct block_bitmap *bm, uint64_t off, uint64_t max_len, uint64_t *ret_off,
                       uint64_t *ret_len)
{
    uint64_t first;
    uint64_t end;
    uint64_t stop;

    (void)pthread_mutex_lock(&bm->lock);
    first = scan(bm, off / bm->granularity, true);
    end = first < bm->n_bits ? scan(bm, first, false) : first;
    (void)pthread_mutex_unlock(&bm->lock);
    if (first == bm->n_bits) {
        return false;
    }
    *ret_off = max_u64(off, first * bm->granularity);
    stop = min_u64(end * bm->granularity, bm->size);
    *ret_len = min_u64(max_len, stop - *ret_off);
    return true;
}

int block_bitmap_merge(struct block_bitmap *to, struct block_bitmap *from, struct err **err)
{
    uint64_t off = 0;
    uint64_t at;
    uint64_t len;

    if (to->size != from->size) {
        return err_set(
            err, EINVAL,
            "Bitmaps are of different sizes (destination size is %llu and source size is %llu)",
            (unsigned long long)to->size, (unsigned long long)from->size);
    }
    while (off < from->size && block_bitmap_next(from, off, UINT64_MAX, &at, &len)) {
        block_bitmap_set(to, at, len);
        off = at + len;
    }
    return 0;
}

uint64_t block_bitmap_dirty_bytes(struct block_bitmap *bm)
{
    uint64_t bytes = bm->count * bm->granularity;

    if (bm->n_bits > 0 && bm->size % bm->granularity != 0 && get_bit(bm, bm->n_bits - 1)) {
        bytes -= bm->granularity - bm->size % bm->granularity;
    }
    return bytes;
}

void block_bitmaps_written(struct block_node *node, uint64_t off, uint64_t len)
{
    LIST_FOREACH (&node->bitmaps, it) {
        struct block_bitmap *bm = CONTAINER_OF(it, struct block_bitmap, link);

        if (bm->enabled && !bm->inconsistent) {
            block_bitmap_set(bm, off, len);
        }
    }
}

int block_bitmaps_resize(struct block_node *node, uint64_t size)
{
    LIST_FOREACH (&node->bitmaps, it) {
        struct block_bitmap *bm = CONTAINER_OF(it, struct block_bitmap, link);
        uint64_t n = bits_for(size, bm->granularity);
        uint64_t *bits;

        if (size < bm->size) {
            block_bitmap_reset(bm,
                               size / bm->granularity * bm->granularity +
                                   (size % bm->granularity != 0 ? bm->granularity : 0),
                               UINT64_MAX - size);
        }
        bits = n <= MAX_BITS ? realloc(bm->bits, (n / 64 + 1) * sizeof(uint64_t)) : NULL;
        if (bits == NULL) {
            return -ENOMEM;
        }
        if (n > bm->n_bits) {
            memset(bits + bm->n_bits / 64 + 1, 0, (n / 64 - bm->n_bits / 64) * sizeof(uint64_t));
        }
        bm->bits = bits;
        bm->n_bits = n;
        bm->size = size;
    }
    return 0;
}
