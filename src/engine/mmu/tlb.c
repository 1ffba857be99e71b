/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/mmu/tlb.h"

#include "engine/x86/cpu.h"

#include <sys/mman.h>

static void clear_slot(struct tlb *tlb, unsigned index, unsigned slot)
{
    struct tlb_entry *e = &tlb->slot[index][slot];

    e->tag_r = e->tag_w = e->tag_x = tlb_no_tag(slot);
    for (unsigned kind = 0; kind < TLB_KINDS; kind++) {
        tlb_set_remove(&tlb->filled[index][kind], slot);
    }
}

unsigned tlb_set_next(const struct tlb_set *set, unsigned slot)
{
    while (slot < TLB_MAX_SLOTS) {
        uint64_t words = set->word[slot / 4096] >> (slot / 64 % 64);
        uint64_t bits = set->slot[slot / 64] >> (slot % 64);

        if (bits != 0) {
            return slot + (unsigned)__builtin_ctzll(bits);
        }
        words &= ~UINT64_C(1); /* of this word nothing is left */
        slot =
            words != 0 ? (slot & ~63u) + 64 * (unsigned)__builtin_ctzll(words) : (slot | 4095) + 1;
    }
    return TLB_MAX_SLOTS;
}

void tlb_drop_names(struct tlb *tlb, bool keep_global)
{
    for (unsigned index = 0; index < TLB_INDEXES; index++) {
        for (unsigned word = 0; word < TLB_NAMES / 64; word++) {
            uint64_t kept = keep_global ? tlb->named_global[index][word] : 0;

            for (uint64_t bits = tlb->named[index][word] & ~kept; bits != 0; bits &= bits - 1) {
                tlb->token[index][word * 64 + (unsigned)__builtin_ctzll(bits)] = 0;
            }
            tlb->named[index][word] &= kept;
        }
    }
}

static void drop_tables(struct tlb *tlb)
{
    if (++tlb->table_epoch >> TLB_EPOCH_BITS != 0 || tlb->table_epoch == 1) {
        tlb->table_epoch = 1;
        for (unsigned i = 0; i < TLB_TABLES; i++) {
            tlb->table[i].region = 0;
        }
    }
}

/* Names of code pages in one region, perhaps of a large page that has changed. */
static void drop_names_in(struct tlb *tlb, uint64_t region)
{
    for (unsigned index = 0; index < TLB_INDEXES; index++) {
        for (unsigned word = 0; word < TLB_NAMES / 64; word++) {
            for (uint64_t bits = tlb->named[index][word]; bits != 0; bits &= bits - 1) {
                unsigned slot = word * 64 + (unsigned)__builtin_ctzll(bits);

                if ((tlb->name_va[index][slot] & ~(TLB_LARGE_BYTES - 1)) == region) {
                    tlb->token[index][slot] = 0;
                }
            }
        }
    }
}

/* The memory is zeroed: all other slots are empty. */
void tlb_init(struct tlb *tlb)
{
    tlb->slots = TLB_MIN_SLOTS;
    for (unsigned index = 0; index < TLB_INDEXES; index++) {
        clear_slot(tlb, index, 0);
    }
    tlb->table_epoch = 1;
    tlb->large_lo = UINT64_MAX;
    tlb->large_hi = 0;
}

void tlb_grow(struct cpu *cpu)
{
    struct tlb *tlb = &cpu->tlb;

    tlb_flush(cpu, false);
    tlb->grow_wanted = false;
    if (tlb->slots < TLB_MAX_SLOTS) {
        tlb->slots *= 4;
        /* Every access of the guest reads a slot: one huge page a table, where the kernel is 6.1. */
        (void)madvise(tlb->slot, sizeof tlb->slot, MADV_COLLAPSE);
    }
}

void tlb_flush(struct cpu *cpu, bool keep_global)
{
    struct tlb *tlb = &cpu->tlb;

    tlb->evicted = 0;
    for (unsigned index = 0; index < TLB_INDEXES; index++) {
        for (unsigned kind = 0; kind < (keep_global ? 1 : TLB_KINDS); kind++) {
            const struct tlb_set *set = &tlb->filled[index][kind];

            for (unsigned slot = 0; (slot = tlb_set_next(set, slot)) < TLB_MAX_SLOTS; slot++) {
                clear_slot(tlb, index, slot);
            }
        }
    }
    tlb_drop_names(tlb, keep_global);
    drop_tables(tlb);
    if (!keep_global) {
        tlb->large_seen = 0;
        tlb->large_lo = UINT64_MAX;
        tlb->large_hi = 0;
    }
}

static void drop_large(struct tlb *tlb, unsigned index, const struct tlb_set *set, uint64_t region)
{
    for (unsigned s = 0; (s = tlb_set_next(set, s)) < TLB_MAX_SLOTS; s++) {
        const struct tlb_entry *e = &tlb->slot[index][s];
        uint64_t none = tlb_no_tag(s);
        uint64_t at = e->tag_r != none ? e->tag_r : e->tag_w != none ? e->tag_w : e->tag_x;

        if ((tlb->gpa[index][s] & TLB_GPA_LARGE) != 0 &&
            (at == none || (at & ~(TLB_LARGE_BYTES - 1)) == region)) {
            clear_slot(tlb, index, s);
        }
    }
}

void tlb_flush_page(struct cpu *cpu, uint64_t va)
{
    struct tlb *tlb = &cpu->tlb;
    uint64_t region = va & ~(TLB_LARGE_BYTES - 1);

    drop_tables(tlb);
    for (unsigned index = 0; index < TLB_INDEXES; index++) {
        clear_slot(tlb, index, tlb_slot(tlb, va));
        tlb->token[index][tlb_name_slot(va)] = 0;
    }
    if (region < tlb->large_lo || region > tlb->large_hi ||
        (tlb->large_seen & tlb_region_bit(va)) == 0) {
        return;
    }
    drop_names_in(tlb, region);
    /* Pieces of a large page that contains va go too (SDM 3A, 4.10.4.1). A slot does not know its
     * address once all its tags are taken, so that all large pieces go; INVLPG of a large page is
     * rare, but the kernel's own mapping is made of them: globals of other regions stay. */
    for (unsigned index = 0; index < TLB_INDEXES; index++) {
        for (unsigned kind = 0; kind < TLB_KINDS; kind++) {
            drop_large(tlb, index, &tlb->filled[index][kind], region);
        }
    }
}
