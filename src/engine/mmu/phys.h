/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * phys.h - guest physical memory: the slots of KVM_SET_USER_MEMORY_REGION, and flags for each page.
 *
 * The slot table is replaced as a whole when it changes; every vCPU is stopped meanwhile
 * (vm_exclusive()), so that a running one may keep what it looked up until it next leaves
 * its block loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;

enum {
    PAGE_DIRTY = 1 << 0, /* written since the dirty log was last taken (only where it is kept) */
    PAGE_TAGGED = 1 << 1, /* some TLB may have a write tag for it */
    /* Translations exist, of the vCPUs whose bits are set (PAGE_CODE_BIT()): writes go to the slow
     * path. The first bit is set in an exclusive section, which also takes all write tags away. */
    PAGE_CODE_SHIFT = 8,
    PAGE_CODE_CPUS = 8, /* those with higher numbers share the bits */
    PAGE_CODE = 0xff << PAGE_CODE_SHIFT,
};
#define PAGE_CODE_BIT(cpu_id) ((uint16_t)(1u << (PAGE_CODE_SHIFT + (cpu_id) % PAGE_CODE_CPUS)))

struct memslot {
    uint64_t gpa; /* bytes, page-aligned */
    uint64_t size;
    uint8_t *host;
    uint32_t id;
    bool readonly; /* writes are MMIO exits */
    bool log_dirty;
    uint16_t *page_flags; /* atomic; PAGE_ bits, one word a page; owned */
};

/* The slot that holds gpa, or NULL: MMIO. */
struct memslot *phys_slot(struct vm *vm, uint64_t gpa);

/* Host address of a guest physical byte for reading (also page-table walks), NULL: MMIO. */
static inline uint8_t *phys_host(const struct memslot *s, uint64_t gpa)
{
    return s->host + (gpa - s->gpa);
}

static inline uint16_t *phys_flags(const struct memslot *s, uint64_t gpa)
{
    return &s->page_flags[(gpa - s->gpa) >> 12];
}

/* Must follow (or precede, on the same thread) any write of guest memory that does not go through
 * a TLB write tag: marks the page dirty where that is logged. */
void phys_mark_dirty(struct vm *vm, struct memslot *s, uint64_t gpa);
