/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmdk.h - the inside of VMware's disk images ("Virtual Disk Format 5.0", VMware 2011).
 *
 * A text, the descriptor, names extents: flat ones, which are bytes, and sparse ones, each with a
 * directory of tables of grains (64 KiB, as a rule). The descriptor is a file, or lies in the only
 * extent. A table's entry is the sector of its grain; 0: not there; 1: zeroes, where a flag of the
 * extent says so. Directory and tables are there twice. In a stream-optimized extent a grain is
 * deflated behind a marker of 12 bytes (its sector and length), and stands at a sector.
 *
 * Limits: grains to 2 MiB, directories to 32 MiB, descriptors to 1 MiB. The "sesparse" of vSphere 6
 * and raw device maps are refused.
 */
#pragma once

#include "block/format/table.h"

#define VMDK_MAGIC   0x564d444bu /* "KDMV" */
#define VMDK_MAGIC_3 0x44574f43u /* "COWD": VMFS sparse */

enum {
    VMDK_FLAG_NEWLINES = 1 << 0,
    VMDK_FLAG_TWO_DIRS = 1 << 1,
    VMDK_FLAG_ZERO_GRAINS = 1 << 2,
    VMDK_FLAG_COMPRESSED = 1 << 16,
    VMDK_FLAG_MARKERS = 1 << 17,

    VMDK_HEADER = 512,
    VMDK_MARKER = 12,
    VMDK_GRAIN = 64 << 10, /* of images that we make */
    VMDK_TABLE_ENTRIES = 512,
    VMDK_DESCRIPTOR = 20, /* its sectors in an extent */
    VMDK_MAX_DESCRIPTOR = 1 << 20,
    VMDK_MAX_GRAIN = 2 << 20,
    VMDK_MAX_DIRECTORY = 32 << 20,
    VMDK_CACHED_TABLES = 1024,
};

#define VMDK_AT_END UINT64_MAX /* the directory's place: the header at the end says it */
#define VMDK_NO_CID 0xffffffffu
#define VMDK_SPLIT  (2ull << 30) /* the longest of twoGbMaxExtent... */

struct vmdk_table {
    uint32_t index; /* + 1; 0: the slot is empty */
    uint8_t *data;  /* owned */
};

struct vmdk_extent {
    struct block_node *file; /* borrowed */
    char *type;     /* owned: "SPARSE" ..., or "" for the extent that holds the descriptor */
    uint64_t start; /* in the image, bytes */
    uint64_t len;
    bool flat;
    bool zero;     /* of no file: reads as zeroes */
    uint64_t host; /* flat: where it begins in the file */

    bool compressed;
    bool zero_grains;
    uint64_t grain;         /* bytes */
    uint32_t table_entries; /* of a table */
    uint32_t n_tables;
    uint8_t *directory; /* owned, as on disk: the tables' sectors */
    uint8_t *second;    /* owned: the copy's; NULL: there is none */
    struct table_space space;
    struct vmdk_table tables[VMDK_CACHED_TABLES];
};

struct vmdk {
    struct table_node t;
    struct vmdk_extent *extents; /* owned */
    unsigned n_extents;
    char *descriptor;        /* owned */
    uint64_t descriptor_off; /* in the node's file */
    char *create_type;       /* owned */
    uint32_t cid;
    uint32_t parent_cid;
    bool cid_changed; /* by our first write */
};

/* The image's text in pieces, and its extents (descriptor.c). */
int vmdk_read_descriptor(struct vmdk *v, struct keyval *opts, struct err **err);
/* The extent in a file with a sparse header; sets its length (sparse.c). */
int vmdk_open_sparse(struct vmdk_extent *x, bool read_only, struct err **err);
/* Adds an extent; -ENOMEM. */
int vmdk_add_extent(struct vmdk *v, struct block_node *file, const char *type,
                    struct vmdk_extent **ret);
void vmdk_extent_done(struct vmdk_extent *x);
/* A new content id, as something was written. */
int vmdk_change_cid(struct vmdk *v);

/* The grain that off of the extent lies in. */
int vmdk_grain_lookup(struct vmdk_extent *x, uint64_t off, struct table_entry *ret);
/* Its entry in both tables. */
int vmdk_grain_set(struct vmdk_extent *x, uint64_t off, uint32_t value);
int vmdk_grain_inflate(struct vmdk_extent *x, const struct table_entry *e, uint8_t *buf);
/* Deflates a whole grain, appends it and enters it. */
int vmdk_grain_deflate(struct vmdk_extent *x, pthread_mutex_t *lock, const uint8_t *buf,
                       uint64_t off);

extern const struct block_opt vmdk_create_opts[];
int vmdk_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                struct keyval *opts, struct err **err);
