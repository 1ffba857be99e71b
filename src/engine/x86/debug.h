/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * debug.h - debug registers: breakpoints, single step (SDM 3B, chapter 17).
 *
 * Guest debugging by the API replaces the guest's DR0-3 and DR7 by debug_dr[].
 */
#pragma once

#include "engine/x86/cpu.h"

#include <stdbool.h>
#include <stdint.h>

/* The registers in force: the guest's own or the API's. */
const uint64_t *debug_regs(const struct cpu *cpu);

/* Must accesses to this linear page take the slow path? */
bool debug_watches_page_slow(const struct cpu *cpu, uint64_t page);

static inline bool debug_watches_page(const struct cpu *cpu, uint64_t page)
{
    return (cpu->mode & MODE_BP) != 0 && debug_watches_page_slow(cpu, page);
}

/* Notes data and I/O breakpoints that the running instruction meets. */
void debug_note_access(struct cpu *cpu, uint64_t va, unsigned size, bool write);
void debug_note_io(struct cpu *cpu, uint16_t port, unsigned size);

static inline void debug_check_access(struct cpu *cpu, uint64_t va, unsigned size, bool write)
{
    if ((cpu->mode & MODE_BP) != 0) {
        debug_note_access(cpu, va, size, write);
    }
}

static inline void debug_check_io(struct cpu *cpu, uint16_t port, unsigned size)
{
    if ((cpu->mode & MODE_BP) != 0) {
        debug_note_io(cpu, port, size);
    }
}

/* Bits 0-3: execution breakpoints at this linear address. */
unsigned debug_exec_hits(const struct cpu *cpu, uint64_t va);
