/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mem.h - guest memory by linear address, with the permissions of the current mode.
 *
 * va is the linear address (segment base added, canonical and limit checks done by the caller).
 * These take the slow path that compiled code falls back to: TLB fill, page crossing, pages that
 * hold code, A and D bits, dirty log. When they return false or NULL, cpu->fault says why; when
 * cpu->fault.pending is false then, the page is MMIO: execute the instruction with interp_step().
 */
#pragma once

#include "engine/mmu/tlb.h"
#include "engine/x86/cpu.h"

enum mem_access { MEM_READ, MEM_WRITE, MEM_EXEC };

/* Which table the current mode uses. */
static inline enum tlb_index mem_index(const struct cpu *cpu)
{
    return (enum tlb_index)((cpu->mode >> MODE_MMU_SHIFT) & 3);
}

/* Copies size bytes (1..4096); all or nothing as far as faults go. */
bool mem_read(struct cpu *cpu, uint64_t va, unsigned size, void *buf);
bool mem_write(struct cpu *cpu, uint64_t va, unsigned size, const void *buf);

/* Host address of guest bytes that lie in one page. For a write, the page is dirty and its
 * translations are gone when this returns; the pointer is good for this one access. Also NULL
 * without a fault when the bytes cross into another page. */
void *mem_host(struct cpu *cpu, uint64_t va, unsigned size, enum mem_access access);

/* Fills the TLB entry of va for this access, whatever it holds now; false: cpu->fault. The entry's
 * tags then say what inline code may do: a page of MMIO, or a write to a page with PAGE_CODE,
 * leaves the tag empty. *ret_gpa (may be NULL) gets the physical address of va. */
bool mem_fill(struct cpu *cpu, uint64_t va, enum mem_access access, enum tlb_index index,
              uint64_t *ret_gpa);

/* Sets PAGE_CODE for the page and takes its write tags away, on all CPUs: from here on every write
 * goes to the slow path, which calls jit_invalidate(). */
void mem_protect_code(struct cpu *cpu, uint64_t gpa);
/* This CPU has no translation of the page any more; where no other has one, writes are fast again.
 */
void mem_unprotect_code(struct cpu *cpu, uint64_t gpa);

/* Drops this CPU's write tags for one physical page (set read-only for tags: code, dirty log). */
void mem_drop_write_tags(struct cpu *cpu, uint64_t gpa);
