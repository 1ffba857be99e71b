/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/x86/control.h"

#include "engine/exec/core.h"
#include "engine/mmu/walk.h"
#include "engine/x86/cpuid.h"
#include "engine/x86/xstate.h"

#include <errno.h>

/* Bits whose change alters what the page tables mean. */
#define CR0_PAGING (CR0_PG | CR0_WP | CR0_PE)
#define CR4_PAGING (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP)

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) != 0 && (cr4 & CR4_PAE) != 0 && (efer & EFER_LME) == 0;
}

int control_set_cr0(struct cpu *cpu, uint64_t v)
{
    uint64_t old = cpu->cr0;
    bool on = (v & CR0_PG) != 0 && (old & CR0_PG) == 0;
    bool off = (v & CR0_PG) == 0 && (old & CR0_PG) != 0;

    if (v > UINT32_MAX) {
        return -EINVAL;
    }
    v = (v & (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |
              CR0_PG)) |
        CR0_ET;
    if (((v & CR0_PG) != 0 && (v & CR0_PE) == 0) || ((v & CR0_NW) != 0 && (v & CR0_CD) == 0)) {
        return -EINVAL;
    }
    if (on && (cpu->efer & EFER_LME) != 0) {
        if ((cpu->cr4 & CR4_PAE) == 0 || (cpu->seg[SEG_CS].attr & SEG_ATTR_L) != 0) {
            return -EINVAL;
        }
    }
    if (off && (cpu->efer & EFER_LMA) != 0 &&
        ((cpu->cr4 & CR4_PCIDE) != 0 || (cpu->mode & MODE_CODE_MASK) == MODE_CODE_64)) {
        return -EINVAL;
    }
    /* PAE pointers are read again when caching or paging bits change (SDM 3A, 4.4.1). */
    if (pae_paging(v, cpu->cr4, cpu->efer) && ((v ^ old) & (CR0_PG | CR0_CD | CR0_NW)) != 0 &&
        !walk_load_pdptes(cpu, cpu->cr3)) {
        return -EINVAL;
    }
    if (on && (cpu->efer & EFER_LME) != 0) {
        cpu->efer |= EFER_LMA;
    } else if (off) {
        cpu->efer &= ~(uint64_t)EFER_LMA;
    }
    cpu->cr0 = v;
    if (((v ^ old) & CR0_PAGING) != 0) {
        tlb_flush(cpu, false);
    }
    cpu_update_mode(cpu);
    return 0;
}

int control_set_cr3(struct cpu *cpu, uint64_t v)
{
    bool keep = false;

    if ((cpu->efer & EFER_LMA) != 0) {
        if ((cpu->cr4 & CR4_PCIDE) != 0) {
            keep = (v >> 63) != 0;
            v &= ~(UINT64_C(1) << 63);
        }
        if ((v >> cpu->phys_bits) != 0) {
            return -EINVAL;
        }
    } else {
        v &= UINT32_MAX;
        if (pae_paging(cpu->cr0, cpu->cr4, cpu->efer) && !walk_load_pdptes(cpu, v)) {
            return -EINVAL;
        }
    }
    /* Entries carry no PCID: only a switch to the same one may keep them. */
    if (!keep || (v ^ cpu->cr3) != 0) {
        tlb_flush(cpu, true);
    }
    cpu->cr3 = v;
    return 0;
}

static uint64_t cr4_allowed(const struct cpu *cpu)
{
    uint64_t bits = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE |
                    CR4_OSFXSR | CR4_OSXMMEXCPT;

    bits |= cpuid_has(cpu, CPUID_UMIP) ? CR4_UMIP : 0;
    bits |= cpuid_has(cpu, CPUID_FSGSBASE) ? CR4_FSGSBASE : 0;
    bits |= cpuid_has(cpu, CPUID_PCID) ? CR4_PCIDE : 0;
    bits |= cpuid_has(cpu, CPUID_XSAVE) ? CR4_OSXSAVE : 0;
    bits |= cpuid_has(cpu, CPUID_SMEP) ? CR4_SMEP : 0;
    bits |= cpuid_has(cpu, CPUID_SMAP) ? CR4_SMAP : 0;
    return bits;
}

int control_set_cr4(struct cpu *cpu, uint64_t v)
{
    uint64_t old = cpu->cr4;

    if ((v & ~cr4_allowed(cpu)) != 0) {
        return -EINVAL;
    }
    if ((cpu->efer & EFER_LMA) != 0) {
        if ((v & CR4_PAE) == 0) {
            return -EINVAL;
        }
    } else if ((v & CR4_PCIDE) != 0) {
        return -EINVAL;
    }
    if ((v & ~old & CR4_PCIDE) != 0 && (cpu->cr3 & 0xfff) != 0) {
        return -EINVAL;
    }
    if (pae_paging(cpu->cr0, v, cpu->efer) && ((v ^ old) & CR4_PAGING) != 0 &&
        !walk_load_pdptes(cpu, cpu->cr3)) {
        return -EINVAL;
    }
    cpu->cr4 = v;
    if (((v ^ old) & CR4_PAGING) != 0 || (old & ~v & CR4_PCIDE) != 0) {
        tlb_flush(cpu, false);
    }
    cpu_update_mode(cpu);
    return 0;
}

int control_set_efer(struct cpu *cpu, uint64_t v, bool host_initiated)
{
    uint64_t old = cpu->efer, allowed = EFER_SCE;

    if (host_initiated) {
        /* The API restores LMA with the rest of the state (KVM_SET_SREGS, KVM_SET_MSRS). */
        allowed |= EFER_LME | EFER_LMA | EFER_NXE | EFER_FFXSR;
    } else {
        allowed |= cpuid_has(cpu, CPUID_LM) ? EFER_LME | EFER_LMA : 0;
        allowed |= cpuid_has(cpu, CPUID_NX) ? EFER_NXE : 0;
    }
    if ((v & ~allowed) != 0) {
        return -EINVAL;
    }
    if (!host_initiated && (cpu->cr0 & CR0_PG) != 0 && ((v ^ old) & EFER_LME) != 0) {
        return -EINVAL;
    }
    v = (v & ~(uint64_t)EFER_LMA) | (old & EFER_LMA);
    cpu->efer = v;
    if (((v ^ old) & EFER_NXE) != 0) {
        tlb_flush(cpu, false);
    }
    cpu_update_mode(cpu);
    return 0;
}

int control_set_xcr0(struct cpu *cpu, uint64_t v)
{
    if ((v & XCR0_X87) == 0 || (v & ~xstate_supported()) != 0 ||
        ((v & XCR0_AVX) != 0 && (v & XCR0_SSE) == 0)) {
        return -EINVAL;
    }
    cpu->xcr0 = v;
    cpu_update_mode(cpu);
    return 0;
}
