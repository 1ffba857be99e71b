/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* smc.h - writes of virtual CPUs to pages that hold translated code. */
#pragma once

#include "engine/x86/cpu.h"

/* The CPU is about to write there, in a page with PAGE_CODE: translations go first. */
void smc_written(struct cpu *cpu, uint64_t gpa, unsigned len);

/* The instruction that wrote is over: CPUs that have translated the page between the two are told
 * again. */
void smc_settle_slow(struct cpu *cpu);

static inline void smc_settle(struct cpu *cpu)
{
    if (__builtin_expect(cpu->n_smc_writes != 0, 0)) {
        smc_settle_slow(cpu);
    }
}
