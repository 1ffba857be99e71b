/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * snapshot.h - snapshots inside an image (qcow2 has them), and the machine state saved with them.
 */
#pragma once

#include "block/core/block.h"

struct block_snapshot {
    char *id;   /* owned; a decimal number */
    char *name; /* owned */
    uint64_t vm_state_size;
    uint32_t date_sec;
    uint32_t date_nsec;
    uint64_t vm_clock_nsec;
    uint64_t icount; /* UINT64_MAX: not recorded */
    uint64_t disk_size;
};

void block_snapshots_free(struct block_snapshot *list, size_t n);

/* Owned list, oldest first. -ENOTSUP when the format has no snapshots. */
int block_snapshot_list(struct block_node *node, struct block_snapshot **ret, size_t *ret_n)
    MUST_CHECK;
/* sn->name, times and vm_state_size are the caller's; the id is chosen (sn->id gets it). */
int block_snapshot_create(struct block_node *node, struct block_snapshot *sn, struct err **err)
    MUST_CHECK;
/* By id, else by name. */
int block_snapshot_goto(struct block_node *node, const char *id_or_name, struct err **err)
    MUST_CHECK;
int block_snapshot_delete(struct block_node *node, const char *id_or_name, struct err **err)
    MUST_CHECK;
int block_snapshot_load(struct block_node *node, const char *id_or_name, struct err **err)
    MUST_CHECK;
/* The machine state of a snapshot about to be made, or just gone to: bytes behind the disk's. */
int block_vmstate_pread(struct block_node *node, void *buf, size_t len, uint64_t off) MUST_CHECK;
int block_vmstate_pwrite(struct block_node *node, const void *buf, size_t len, uint64_t off)
    MUST_CHECK;
