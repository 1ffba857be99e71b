/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * walk.h - the guest's page tables (SDM 3A, chapter 4): none, 32-bit, PAE, 4-level.
 */
#pragma once

#include "engine/x86/cpu.h"

struct walk {
    uint64_t gpa; /* of va itself */
    bool writable, user, nx, global, large, dirty;
};

enum {
    PF_PRESENT = 1 << 0,
    PF_WRITE = 1 << 1,
    PF_USER = 1 << 2,
    PF_RESERVED = 1 << 3,
    PF_FETCH = 1 << 4,
};

enum walk_use {
    WALK_PEEK, /* change nothing, check nothing but presence */
    WALK_READ,
    WALK_WRITE, /* sets D */
    WALK_FETCH,
};

/* Translates va as an access of class index would. On success the accessed bits are set (and D for
 * a write). false: *ret_error is the page fault's error code. */
bool walk(struct cpu *cpu, uint64_t va, enum walk_use use, enum tlb_index index, struct walk *ret,
          uint32_t *ret_error);

/* Reads the four PDPTEs at CR3 for PAE paging; false: a reserved bit is set (#GP). */
bool walk_load_pdptes(struct cpu *cpu, uint64_t cr3);

/* Physical address bits that the guest's CPUID gives. */
enum { WALK_MAX_PHYS_BITS = 52 };
