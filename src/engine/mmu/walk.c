/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/mmu/walk.h"

#include "engine/mmu/phys.h"
#include "engine/x86/regs.h"

#include <string.h>

enum {
    PTE_P = 1 << 0,
    PTE_W = 1 << 1,
    PTE_U = 1 << 2,
    PTE_A = 1 << 5,
    PTE_D = 1 << 6,
    PTE_PS = 1 << 7,
    PTE_G = 1 << 8,
};
#define PTE_NX   (UINT64_C(1) << 63)
#define PTE_ADDR UINT64_C(0x000ffffffffff000)

/* One paging-structure entry in guest memory. */
struct entry {
    struct memslot *slot;
    uint64_t gpa;
    uint64_t value;
    unsigned bytes;
};

static uint64_t phys_reserved(const struct cpu *cpu)
{
    return PTE_ADDR & ~((UINT64_C(1) << cpu->phys_bits) - 1);
}

/* false: no memory there. Such an entry reads as all ones on a bus; a reserved-bit fault. */
static bool entry_read(struct cpu *cpu, uint64_t gpa, unsigned bytes, struct entry *e)
{
    e->slot = phys_slot(cpu->vm, gpa);
    e->gpa = gpa;
    e->bytes = bytes;
    e->value = UINT64_MAX;
    if (e->slot == NULL) {
        return false;
    }
    if (bytes == 8) {
        e->value = __atomic_load_n((uint64_t *)(void *)phys_host(e->slot, gpa), __ATOMIC_RELAXED);
    } else {
        e->value = __atomic_load_n((uint32_t *)(void *)phys_host(e->slot, gpa), __ATOMIC_RELAXED);
    }
    return true;
}

/* Sets bits as hardware does, by a locked compare and swap; false: someone changed the entry, walk
 * again. */
static bool entry_set(struct cpu *cpu, struct entry *e, uint64_t bits)
{
    bool ok;

    if ((e->value & bits) == bits || e->slot->readonly) {
        return true;
    }
    if (e->bytes == 8) {
        uint64_t old = e->value;

        ok = __atomic_compare_exchange_n((uint64_t *)(void *)phys_host(e->slot, e->gpa), &old,
                                         old | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    } else {
        uint32_t old = (uint32_t)e->value;

        ok = __atomic_compare_exchange_n((uint32_t *)(void *)phys_host(e->slot, e->gpa), &old,
                                         old | (uint32_t)bits, false, __ATOMIC_SEQ_CST,
                                         __ATOMIC_RELAXED);
    }
    if (ok) {
        e->value |= bits;
        phys_mark_dirty(cpu->vm, e->slot, e->gpa);
    }
    return ok;
}

/* SDM 3A, 4.6: may this access use a page with these rights? */
static bool permitted(const struct cpu *cpu, const struct walk *w, enum walk_use use,
                      enum tlb_index index)
{
    if (index == TLB_USER) {
        if (!w->user) {
            return false;
        }
        return use == WALK_READ || (use == WALK_WRITE && w->writable) ||
               (use == WALK_FETCH && !w->nx);
    }
    if (use == WALK_FETCH) {
        return !w->nx && !(w->user && (cpu->cr4 & CR4_SMEP) != 0);
    }
    if (w->user && index == TLB_KERNEL) {
        return false;
    }
    return use == WALK_READ || w->writable || (cpu->cr0 & CR0_WP) == 0;
}

enum step { STEP_OK, STEP_FAULT, STEP_AGAIN };

static enum step leaf(struct cpu *cpu, struct entry *e, enum walk_use use, enum tlb_index index,
                      struct walk *ret, uint32_t *error)
{
    if (use == WALK_PEEK) {
        return STEP_OK;
    }
    if (!permitted(cpu, ret, use, index)) {
        *error |= PF_PRESENT;
        return STEP_FAULT;
    }
    if (!entry_set(cpu, e, PTE_A | (use == WALK_WRITE ? PTE_D : 0))) {
        return STEP_AGAIN;
    }
    ret->dirty = (e->value & PTE_D) != 0;
    return STEP_OK;
}

static enum step walk_legacy(struct cpu *cpu, uint64_t va, enum walk_use use, enum tlb_index index,
                             struct walk *ret, uint32_t *error)
{
    struct entry e;
    bool pse = (cpu->cr4 & CR4_PSE) != 0;

    (void)entry_read(cpu, (cpu->cr3 & 0xfffff000) + ((va >> 22) & 0x3ff) * 4, 4, &e);
    if (e.slot == NULL || (e.value & PTE_P) == 0) {
        return STEP_FAULT;
    }
    ret->writable = (e.value & PTE_W) != 0;
    ret->user = (e.value & PTE_U) != 0;
    if (pse && (e.value & PTE_PS) != 0) {
        /* PSE-36: bits 13-20 are physical address bits 32-39; bit 21 is reserved. */
        uint64_t high = (e.value >> 13) & 0xff;

        if ((e.value & (1 << 21)) != 0 || ((high << 32) & phys_reserved(cpu)) != 0) {
            *error |= PF_PRESENT | PF_RESERVED;
            return STEP_FAULT;
        }
        ret->gpa = (e.value & 0xffc00000) | (high << 32) | (va & 0x3fffff);
        ret->large = true;
        ret->global = (e.value & PTE_G) != 0;
        return leaf(cpu, &e, use, index, ret, error);
    }
    if (use != WALK_PEEK && !entry_set(cpu, &e, PTE_A)) {
        return STEP_AGAIN;
    }
    (void)entry_read(cpu, (e.value & 0xfffff000) + ((va >> 12) & 0x3ff) * 4, 4, &e);
    if (e.slot == NULL || (e.value & PTE_P) == 0) {
        return STEP_FAULT;
    }
    ret->writable = ret->writable && (e.value & PTE_W) != 0;
    ret->user = ret->user && (e.value & PTE_U) != 0;
    ret->gpa = (e.value & 0xfffff000) | (va & 0xfff);
    ret->global = (e.value & PTE_G) != 0;
    return leaf(cpu, &e, use, index, ret, error);
}

/* Levels of 8-byte entries: from the PML4 (top 3) or, for PAE, the page directory (top 1). */
static enum step walk_64(struct cpu *cpu, uint64_t va, enum walk_use use, enum tlb_index index,
                         uint64_t table, int top, struct walk *ret, uint32_t *error)
{
    bool nxe = (cpu->efer & EFER_NXE) != 0;
    uint64_t reserved = phys_reserved(cpu) | (nxe ? 0 : PTE_NX);
    bool lma = (cpu->efer & EFER_LMA) != 0;

    if (!lma) {
        reserved |= UINT64_C(0x7ff0000000000000); /* PAE: 52-62 are reserved, not ignored */
    }
    uint64_t region = tlb_table_key(&cpu->tlb, va);
    struct tlb_table *known = &cpu->tlb.table[va >> 21 & (TLB_TABLES - 1)];

    ret->writable = ret->user = true;
    if (lma && known->region == region) {
        table = known->table;
        top = 0;
        ret->writable = known->writable;
        ret->user = known->user;
        ret->nx = known->nx;
    }
    for (int level = top;; level--) {
        struct entry e;
        uint64_t bad = reserved;
        bool large = false;

        (void)entry_read(cpu, table + ((va >> (12 + 9 * level)) & 0x1ff) * 8, 8, &e);
        if (e.slot == NULL || (e.value & PTE_P) == 0) {
            return STEP_FAULT;
        }
        if ((e.value & PTE_PS) != 0 && level > 0) {
            if (level <= 2) {
                large = true;
                bad |= ((UINT64_C(1) << (12 + 9 * level)) - 1) & ~UINT64_C(0x1fff);
            } else {
                bad |= PTE_PS;
            }
        }
        if ((e.value & bad) != 0) {
            *error |= PF_PRESENT | PF_RESERVED;
            return STEP_FAULT;
        }
        ret->writable = ret->writable && (e.value & PTE_W) != 0;
        ret->user = ret->user && (e.value & PTE_U) != 0;
        ret->nx = ret->nx || (e.value & PTE_NX) != 0;
        if (level == 0 || large) {
            uint64_t offset = (UINT64_C(1) << (12 + 9 * level)) - 1;

            ret->gpa = (e.value & PTE_ADDR & ~offset) | (va & offset);
            ret->large = large;
            ret->global = (e.value & PTE_G) != 0;
            return leaf(cpu, &e, use, index, ret, error);
        }
        if (use != WALK_PEEK && !entry_set(cpu, &e, PTE_A)) {
            return STEP_AGAIN;
        }
        table = e.value & PTE_ADDR;
        if (level == 1 && lma && use != WALK_PEEK) {
            *known = (struct tlb_table) { .region = region,
                                          .table = table,
                                          .writable = ret->writable,
                                          .user = ret->user,
                                          .nx = ret->nx };
        }
    }
}

bool walk_load_pdptes(struct cpu *cpu, uint64_t cr3)
{
    uint64_t new[4];

    for (unsigned i = 0; i < 4; i++) {
        struct entry e;

        (void)entry_read(cpu, (cr3 & 0xffffffe0) + i * 8, 8, &e);
        if ((e.value & PTE_P) != 0 &&
            (e.value & (phys_reserved(cpu) | UINT64_C(0xfff00000000001e6))) != 0) {
            return false;
        }
        new[i] = e.value;
    }
    memcpy(cpu->pdpte, new, sizeof(new));
    return true;
}

bool walk(struct cpu *cpu, uint64_t va, enum walk_use use, enum tlb_index index, struct walk *ret,
          uint32_t *ret_error)
{
    enum step step;
    uint32_t error;

    do {
        *ret = (struct walk) { 0 };
        error = (use == WALK_WRITE ? PF_WRITE : 0) | (index == TLB_USER ? PF_USER : 0);
        if (use == WALK_FETCH && ((cpu->cr4 & CR4_SMEP) != 0 ||
                                  ((cpu->efer & EFER_NXE) != 0 && (cpu->cr4 & CR4_PAE) != 0))) {
            error |= PF_FETCH;
        }
        if ((cpu->cr0 & CR0_PG) == 0) {
            /* Everybody's page: SMEP and SMAP have nothing to say without paging. */
            *ret = (struct walk) {
                .gpa = va & 0xffffffff, .writable = true, .user = index == TLB_USER, .dirty = true
            };
            return true;
        }
        if ((cpu->cr4 & CR4_PAE) == 0) {
            step = walk_legacy(cpu, va & 0xffffffff, use, index, ret, &error);
        } else if ((cpu->efer & EFER_LMA) != 0) {
            step = walk_64(cpu, va, use, index, cpu->cr3 & PTE_ADDR, 3, ret, &error);
        } else if ((cpu->pdpte[(va >> 30) & 3] & PTE_P) == 0) {
            step = STEP_FAULT;
        } else {
            step = walk_64(cpu, va & 0xffffffff, use, index, cpu->pdpte[(va >> 30) & 3] & PTE_ADDR,
                           1, ret, &error);
        }
    } while (step == STEP_AGAIN);
    *ret_error = error;
    return step == STEP_OK;
}
