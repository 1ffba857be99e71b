/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vhdx.h - the inside of Hyper-V's VHDX images ([MS-VHDX], Virtual Hard Disk v2 File Format).
 *
 * "vhdxfile" at 0; two headers at 64 and 128 KiB, of which the valid one with the higher sequence
 * number counts; two region tables at 192 and 256 KiB, which place the block table (BAT) and the
 * metadata. A BAT entry is a block's state (3 bits) and its place (MiB, from bit 20 on); after each
 * "chunk" of them stands one for a sector bitmap, which only differencing images use.
 *
 * Changes to the BAT go to a log first, and to their place when the log is on disk. While the
 * header names a log (its GUID), whoever opens the image replays it; closing takes the name away.
 *
 * Limits: blocks 1 to 256 MiB, 64 TiB; images with parents and unknown required regions or metadata
 * are refused.
 */
#pragma once

#include "block/format/table.h"

enum {
    VHDX_MIB = 1 << 20,
    VHDX_HEADER_AT = 64 << 10, /* and the second one that far behind */
    VHDX_HEADER = 4096,
    VHDX_REGIONS_AT = 192 << 10,
    VHDX_REGIONS = 64 << 10,
    VHDX_LOG_SECTOR = 4096,
    VHDX_MAX_BLOCK = 256 << 20,
    VHDX_MAX_BAT = 1 << 30,
    VHDX_MAX_LOG = 64 << 20,
    VHDX_GUID = 16,

    VHDX_BLOCK_NONE = 0,
    VHDX_BLOCK_UNDEFINED = 1,
    VHDX_BLOCK_ZERO = 2,
    VHDX_BLOCK_UNMAPPED_OLD = 3, /* before version 1.0 of the format */
    VHDX_BLOCK_UNMAPPED = 5,
    VHDX_BLOCK_PRESENT = 6,
    VHDX_BLOCK_PARTIAL = 7,
};

#define VHDX_MAX_SIZE (64ull << 40)

struct vhdx_log {
    uint64_t off;
    uint32_t len;
    uint8_t guid[VHDX_GUID]; /* all zero: the log is empty */
    uint32_t next;           /* where in it the next entry goes */
    uint64_t sequence;
};

struct vhdx {
    struct table_node t;
    uint8_t header[VHDX_HEADER]; /* the current one */
    unsigned current;            /* 0 or 1 */
    uint64_t bat_off;
    uint64_t bat_len;
    uint64_t metadata_off;
    uint64_t metadata_len;
    uint8_t *bat; /* owned, as on disk */
    uint64_t n_blocks;
    uint64_t chunk; /* blocks between two bitmap entries */
    uint32_t block;
    uint32_t sector; /* that the guest is told; everything here counts in 512 bytes */
    bool fixed;      /* made with all its blocks */
    bool replayed;   /* what was found in the log was put in place */
    bool touched;    /* the header says that we write */
    struct vhdx_log log;
};

uint32_t vhdx_crc(const void *buf, size_t len);
/* The checksum of a structure whose own one is at byte 4. */
uint32_t vhdx_checksum(uint8_t *buf, size_t len);
/* Writes v->header as the new current one. log: with the log's GUID, or without one. */
int vhdx_write_header(struct vhdx *v, bool log);

/* Replays what the log has (log.c). -EROFS with a text when that cannot be done. */
int vhdx_log_replay(struct vhdx *v, struct err **err) MUST_CHECK;
/* A sector of the file by way of the log: on return it is in the log on disk, and written in its
 * place. */
int vhdx_log_write(struct vhdx *v, const uint8_t *sector, uint64_t off) MUST_CHECK;

extern const uint8_t vhdx_guid_bat[VHDX_GUID];
extern const uint8_t vhdx_guid_metadata[VHDX_GUID];
extern const uint8_t vhdx_guid_parameters[VHDX_GUID];
extern const uint8_t vhdx_guid_size[VHDX_GUID];
extern const uint8_t vhdx_guid_page83[VHDX_GUID];
extern const uint8_t vhdx_guid_logical[VHDX_GUID];
extern const uint8_t vhdx_guid_physical[VHDX_GUID];

extern const struct block_opt vhdx_create_opts[];
int vhdx_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                struct keyval *opts, struct err **err);
