/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tlb.h - the software TLB: from guest-linear pages to host memory, per virtual CPU.
 *
 * Direct-mapped, one table for each way that permissions can be checked (enum tlb_index): what
 * SMAP, SMEP, NX, WP, U/S say is settled when an entry is filled. The tag of a permission that an
 * entry does not give, or that needs work at each access (page holds code, page tables, MMIO, a
 * dirty bit still to be set), is tlb_no_tag(slot): no address that selects this slot equals it.
 *
 * Compiled code checks an access of n bytes so, with flags and two scratch registers S and T free:
 * S is the address; T is (S ^ S >> TLB_HASH_BITS) >> 12, masked, times 32, so that arrays a power
 * of two apart do not meet in one slot; S ^= tag[T]; above 4096 - n is the slow path, page-crossing
 * accesses included; S += host[T].
 *
 * It begins small and grows where a guest's working set asks for it: a miss costs several hundred
 * instructions, and no two of them overlap. A flush costs as much as there is in it, whatever its
 * size. Compiled code has the size built in, so that growing drops all of it (tlb_grow()).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum tlb_index {
    TLB_USER,      /* CPL 3 */
    TLB_KERNEL,    /* CPL 0-2, user pages denied (SMAP, AC clear) */
    TLB_KERNEL_AC, /* CPL 0-2, user pages allowed */
    TLB_INDEXES,
};

enum {
    TLB_HASH_BITS = 12,
    TLB_MIN_SLOTS = 1 << 12,
    TLB_MAX_SLOTS = 1 << 16,
    TLB_ENTRY_SHIFT = 5,
    TLB_NAMES = 1 << 12,
    TLB_KINDS = 2, /* of pages: private to an address space, and global */
};

enum { TLB_TABLES = 256 };
enum { TLB_EPOCH_BITS = 20 };

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

struct tlb_entry {
    uint64_t tag_r;
    uint64_t tag_w;
    uint64_t tag_x;
    uintptr_t host; /* of the page's first byte */
};

struct tlb {
    _Alignas(4096) struct tlb_entry slot[TLB_INDEXES][TLB_MAX_SLOTS];
    uint32_t slots;   /* in use: a power of two */
    uint32_t evicted; /* entries replaced by others since the last flush */
    bool grow_wanted;
    /* Guest physical page and TLB_GPA_ bits of each entry, kept apart from what compiled code
     * reads. */
    uint64_t gpa[TLB_INDEXES][TLB_MAX_SLOTS];
    /* The translator's name for the mapping of a code page (linear page, physical page, rights), so
     * that compiled code checks it by one comparison; 0: none. A name stays when the slot above is
     * filled for another page: only a flush makes it untrue. The bitmaps: named, and named for a
     * global page. */
    uint32_t token[TLB_INDEXES][TLB_NAMES];
    uint64_t named[TLB_INDEXES][TLB_NAMES / 64];
    uint64_t named_global[TLB_INDEXES][TLB_NAMES / 64];
    uint64_t name_va[TLB_INDEXES][TLB_NAMES];
    /* One bit a slot: filled since the last flush; and one bit for each word of these. Global pages
     * have their own, so that a change of address space does not look at them. */
    struct tlb_set {
        uint64_t slot[TLB_MAX_SLOTS / 64];
        uint64_t word[TLB_MAX_SLOTS / 64 / 64];
    } filled[TLB_INDEXES][TLB_KINDS];
    /* Page tables (last level) that walks have met since the last flush of anything: the paging
     * structure cache of SDM 3A, 4.10.3. */
    struct tlb_table {
        uint64_t region; /* tlb_table_key() */
        uint64_t table;  /* guest physical */
        bool writable, user, nx;
    } table[TLB_TABLES];
    uint32_t table_epoch;
    /* Lowest and highest 1 GiB region with a piece of a large page since the last full flush. */
    uint64_t large_lo, large_hi;
    uint64_t large_seen; /* one bit for each class of regions, tlb_region_bit() */
};

enum { TLB_GPA_GLOBAL = 1, TLB_GPA_LARGE = 2 };
#define TLB_LARGE_BYTES (UINT64_C(1) << 30)

static inline uint64_t tlb_hash(uint64_t va)
{
    return va >> 12 ^ va >> (12 + TLB_HASH_BITS);
}

static inline unsigned tlb_slot(const struct tlb *tlb, uint64_t va)
{
    return (unsigned)tlb_hash(va) & (tlb->slots - 1);
}

/* Where the name of a code page is. */
static inline unsigned tlb_name_slot(uint64_t va)
{
    return (unsigned)tlb_hash(va) & (TLB_NAMES - 1);
}

/* A page that selects another slot; for most the first one, so that fresh memory is an empty TLB.
 */
static inline uint64_t tlb_no_tag(unsigned slot)
{
    return slot == 0 ? 1 << 12 : 0;
}

static inline void tlb_set_add(struct tlb_set *set, unsigned slot)
{
    set->slot[slot / 64] |= UINT64_C(1) << (slot % 64);
    set->word[slot / 4096] |= UINT64_C(1) << (slot / 64 % 64);
}

static inline void tlb_set_remove(struct tlb_set *set, unsigned slot)
{
    set->slot[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    if (set->slot[slot / 64] == 0)
        set->word[slot / 4096] &= ~(UINT64_C(1) << (slot / 64 % 64));
}

/* The first member from this slot on; TLB_MAX_SLOTS: none. */
unsigned tlb_set_next(const struct tlb_set *set, unsigned slot);

static inline void tlb_note_filled(struct tlb *tlb, unsigned index, unsigned slot, bool global)
{
    tlb_set_add(&tlb->filled[index][global], slot);
    tlb_set_remove(&tlb->filled[index][!global], slot);
}

/* Never 0, which is an empty entry: epochs begin with 1. */
static inline uint64_t tlb_table_key(const struct tlb *tlb, uint64_t va)
{
    return va >> 21 | (uint64_t)tlb->table_epoch << (64 - TLB_EPOCH_BITS);
}

static inline uint64_t tlb_region_bit(uint64_t va)
{
    return UINT64_C(1) << (va >> 30 & 63);
}

struct cpu;

static inline void tlb_name(struct tlb *tlb, unsigned index, uint64_t va, uint32_t token,
                            bool global)
{
    unsigned slot = tlb_name_slot(va);
    uint64_t bit = UINT64_C(1) << (slot % 64);

    tlb->token[index][slot] = token;
    tlb->name_va[index][slot] = va;
    tlb->named[index][slot / 64] |= bit;
    if (global)
        tlb->named_global[index][slot / 64] |= bit;
    else
        tlb->named_global[index][slot / 64] &= ~bit;
}

/* Owner thread only. */
void tlb_drop_names(struct tlb *tlb, bool keep_global);
void tlb_init(struct tlb *tlb);
/* Four times the slots, all empty. The caller drops compiled code. */
void tlb_grow(struct cpu *cpu);
void tlb_flush(struct cpu *cpu, bool keep_global);
void tlb_flush_page(struct cpu *cpu, uint64_t va);
