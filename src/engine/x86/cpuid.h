/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cpuid.h - CPUID as the guest sees it, and which features it has.
 */
#pragma once

#include "engine/exec/exec.h"

/* Feature words; a feature's number is word * 32 + bit. */
enum {
    CPUID_W_1C,
    CPUID_W_1D,
    CPUID_W_7B,
    CPUID_W_7C,
    CPUID_W_7D,
    CPUID_W_E1C,
    CPUID_W_E1D,
    CPUID_WORDS
};

enum {
    CPUID_PCID = CPUID_W_1C * 32 + 17,
    CPUID_X2APIC = CPUID_W_1C * 32 + 21,
    CPUID_TSC_DEADLINE = CPUID_W_1C * 32 + 24,
    CPUID_XSAVE = CPUID_W_1C * 32 + 26,
    CPUID_RDRAND = CPUID_W_1C * 32 + 30,
    CPUID_DE = CPUID_W_1D * 32 + 2,
    CPUID_PSE = CPUID_W_1D * 32 + 3,
    CPUID_PGE = CPUID_W_1D * 32 + 13,
    CPUID_FSGSBASE = CPUID_W_7B * 32 + 0,
    CPUID_SMEP = CPUID_W_7B * 32 + 7,
    CPUID_INVPCID = CPUID_W_7B * 32 + 10,
    CPUID_RDSEED = CPUID_W_7B * 32 + 18,
    CPUID_SMAP = CPUID_W_7B * 32 + 20,
    CPUID_UMIP = CPUID_W_7C * 32 + 2,
    CPUID_RDPID = CPUID_W_7C * 32 + 22,
    CPUID_SPEC_CTRL = CPUID_W_7D * 32 + 26,
    CPUID_ARCH_CAPABILITIES = CPUID_W_7D * 32 + 29,
    CPUID_NX = CPUID_W_E1D * 32 + 20,
    CPUID_RDTSCP = CPUID_W_E1D * 32 + 27,
    CPUID_LM = CPUID_W_E1D * 32 + 29,
};

struct cpuid_table {
    struct cpuid_entry entries[CPUID_MAX_ENTRIES];
    unsigned n;
    uint32_t words[CPUID_WORDS];
    bool intel;
};

bool cpuid_has(const struct cpu *cpu, unsigned feature);
bool cpuid_is_intel(const struct cpu *cpu);

/* The CPUID instruction: out is EAX, EBX, ECX, EDX. */
void cpuid_query(const struct cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t out[4]);

uint64_t arch_capabilities(void);
