/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/x86/debug.h"

#include "engine/exec/core.h"

enum { GUESTDBG_USE_HW_BP = 0x20000 }; /* KVM_GUESTDBG_USE_HW_BP */
enum { BP_EXEC, BP_WRITE, BP_IO, BP_ACCESS };

const uint64_t *debug_regs(const struct cpu *cpu)
{
    return (cpu->guest_debug & GUESTDBG_USE_HW_BP) != 0 ? cpu->debug_dr : cpu->dr;
}

static bool enabled(uint64_t dr7, unsigned n)
{
    return ((dr7 >> (2 * n)) & 3) != 0;
}

static unsigned kind(uint64_t dr7, unsigned n)
{
    return (unsigned)(dr7 >> (16 + 4 * n)) & 3;
}

static unsigned bytes(uint64_t dr7, unsigned n)
{
    static const uint8_t of[] = { 1, 2, 8, 4 };

    return of[(dr7 >> (18 + 4 * n)) & 3];
}

bool debug_watches_page_slow(const struct cpu *cpu, uint64_t page)
{
    const uint64_t *dr = debug_regs(cpu);

    for (unsigned n = 0; n < 4; n++) {
        if (enabled(dr[7], n) && (kind(dr[7], n) & 1) != 0 && (dr[n] & ~UINT64_C(0xfff)) == page) {
            return true;
        }
    }
    return false;
}

static void note(struct cpu *cpu, uint64_t at, unsigned size, bool write, bool io)
{
    const uint64_t *dr = debug_regs(cpu);

    for (unsigned n = 0; n < 4; n++) {
        unsigned k = kind(dr[7], n);
        uint64_t len = bytes(dr[7], n);
        uint64_t from = dr[n] & ~(len - 1);
        bool match = io ? k == BP_IO : k == BP_ACCESS || (k == BP_WRITE && write);

        if (enabled(dr[7], n) && match && at < from + len && from < at + size) {
            interp_of(cpu)->db_hit |= (uint8_t)(1u << n);
        }
    }
}

void debug_note_access(struct cpu *cpu, uint64_t va, unsigned size, bool write)
{
    note(cpu, va, size, write, false);
}

void debug_note_io(struct cpu *cpu, uint16_t port, unsigned size)
{
    if ((cpu->cr4 & CR4_DE) != 0) {
        note(cpu, port, size, true, true);
    }
}

unsigned debug_exec_hits(const struct cpu *cpu, uint64_t va)
{
    const uint64_t *dr = debug_regs(cpu);
    unsigned hits = 0;

    for (unsigned n = 0; n < 4; n++) {
        if (enabled(dr[7], n) && kind(dr[7], n) == BP_EXEC && dr[n] == va) {
            hits |= 1u << n;
        }
    }
    return hits;
}
