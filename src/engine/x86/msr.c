/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msr.c - RDMSR and WRMSR (SDM 4; AMD APM 2, appendix A): what QEMU's and Linux' KVM code use. */
#include "engine/x86/cpuid.h"

#include "engine/exec/core.h"
#include "engine/x86/control.h"

#include <errno.h>

/* Registers that only have to hold what was written. */
static uint64_t *plain(struct cpu *cpu, uint32_t index)
{
    switch (index) {
    case MSR_STAR:
        return &cpu->star;
    case MSR_FMASK:
        return &cpu->fmask;
    case MSR_SYSENTER_CS:
        return &cpu->sysenter_cs;
    case MSR_MISC_ENABLE:
        return &cpu->misc_enable;
    case MSR_MTRR_FIX64K:
        return &cpu->mtrr_fixed[0];
    case MSR_MTRR_FIX16K_8:
    case MSR_MTRR_FIX16K_A:
        return &cpu->mtrr_fixed[1 + index - MSR_MTRR_FIX16K_8];
    case MSR_MTRR_FIX4K ... MSR_MTRR_FIX4K + 7:
        return &cpu->mtrr_fixed[3 + index - MSR_MTRR_FIX4K];
    case MSR_MTRR_PHYS0 ... MSR_MTRR_PHYS0 + 15:
        return &cpu->mtrr_var[index - MSR_MTRR_PHYS0];
    case MSR_MCG_STATUS:
        return &cpu->mcg_status;
    case MSR_SMBASE:
        return &cpu->smbase;
    case MSR_MISC_FEATURES_ENABLES:
        return &cpu->misc_features;
    default:
        return NULL;
    }
}

static uint64_t *canonical_msr(struct cpu *cpu, uint32_t index)
{
    switch (index) {
    case MSR_LSTAR:
        return &cpu->lstar;
    case MSR_CSTAR:
        return &cpu->cstar;
    case MSR_FS_BASE:
        return &cpu->seg[SEG_FS].base;
    case MSR_GS_BASE:
        return &cpu->seg[SEG_GS].base;
    case MSR_KERNEL_GS_BASE:
        return &cpu->kernel_gs_base;
    case MSR_SYSENTER_ESP:
        return &cpu->sysenter_esp;
    case MSR_SYSENTER_EIP:
        return &cpu->sysenter_eip;
    default:
        return NULL;
    }
}

static unsigned mc_registers(const struct cpu *cpu)
{
    unsigned banks = (unsigned)cpu->mcg_cap & 0xff;

    return 4 * (banks < 32 ? banks : 32);
}

static uint64_t rdtsc(void)
{
    return __builtin_ia32_rdtsc();
}

uint64_t cpu_tsc(const struct cpu *cpu)
{
    return rdtsc() + cpu->tsc_offset;
}

static bool is_pv(uint32_t index)
{
    return index == 0x11 || index == 0x12 || (index >= 0x4b564d00 && index <= 0x4b564d10);
}

/* Those of AMD and Intel that read as 0 and ignore writes, as KVM has them. */
static bool reads_zero(uint32_t index)
{
    switch (index) {
    case MSR_PLATFORM_ID:
    case MSR_BIOS_UPDT_TRIG:
    case MSR_BBL_CR_CTL3:
    case MSR_DEBUGCTL:
    case MSR_LASTBRANCHFROM:
    case MSR_LASTBRANCHTO:
    case MSR_LASTINTFROM:
    case MSR_LASTINTTO:
    case MSR_PERF_STATUS:
    case 0xc1 ... 0xc2: /* PMC0-1 and their event selects: no vPMU */
    case 0x186 ... 0x187:
    case UINT32_C(0xc0010000)... UINT32_C(0xc0010007): /* K7 counters */
    case UINT32_C(0xc0010010):                         /* SYSCFG */
    case UINT32_C(0xc0010015):                         /* HWCR */
    case UINT32_C(0xc001001f):                         /* NB_CFG */
    case UINT32_C(0xc0010055):                         /* INT_PENDING_MSG */
    case UINT32_C(0xc0010058):                         /* MMIO configuration */
    case UINT32_C(0xc0010064):                         /* P-state 0 */
    case UINT32_C(0xc0010117):                         /* VM_HSAVE_PA */
    case UINT32_C(0xc0011022):                         /* DC_CFG */
    case UINT32_C(0xc001102a):                         /* BU_CFG2 */
    case 0x606:                                        /* RAPL units and energy */
    case 0x611:
    case 0x639:
    case 0x641:
    case 0x619:
        return true;
    default:
        return false;
    }
}

int cpu_msr_read(struct cpu *cpu, uint32_t index, uint64_t *ret, bool host_initiated)
{
    uint64_t *p = plain(cpu, index);

    if (p == NULL) {
        p = canonical_msr(cpu, index);
    }
    if (p != NULL) {
        if (index == MSR_SMBASE && !host_initiated) {
            return -EINVAL;
        }
        *ret = *p;
        return 0;
    }
    switch (index) {
    case MSR_TSC:
        *ret = cpu_tsc(cpu);
        return 0;
    case MSR_TSC_ADJUST:
        *ret = cpu->tsc_adjust;
        return 0;
    case MSR_APIC_BASE:
        *ret = cpu->apic_base;
        return 0;
    case MSR_EFER:
        *ret = cpu->efer;
        return 0;
    case MSR_TSC_AUX:
        *ret = cpu->tsc_aux;
        return 0;
    case MSR_PAT:
        *ret = cpu->pat;
        return 0;
    case MSR_MTRR_DEF_TYPE:
        *ret = cpu->mtrr_def_type;
        return 0;
    case MSR_MTRRCAP:
        *ret = 0x508; /* eight variable ranges, fixed ones, write-combining */
        return 0;
    case MSR_FEATURE_CONTROL:
        *ret = cpu->feature_control;
        return 0;
    case MSR_SPEC_CTRL:
        if (!host_initiated && !cpuid_has(cpu, CPUID_SPEC_CTRL)) {
            return -EINVAL;
        }
        *ret = cpu->spec_ctrl;
        return 0;
    case MSR_ARCH_CAPABILITIES:
        if (!host_initiated && !cpuid_has(cpu, CPUID_ARCH_CAPABILITIES)) {
            return -EINVAL;
        }
        *ret = arch_capabilities();
        return 0;
    case MSR_UCODE_REV:
        *ret = UINT64_C(0x100000000);
        return 0;
    case MSR_PLATFORM_INFO:
        *ret = UINT64_C(1) << 31; /* CPUID faulting could be asked for */
        return 0;
    case MSR_XSS:
        *ret = cpu->xss;
        return 0;
    case MSR_MCG_CAP:
        *ret = cpu->mcg_cap;
        return 0;
    case MSR_MCG_CTL:
        if ((cpu->mcg_cap & 0x100) == 0 && !host_initiated) {
            return -EINVAL;
        }
        *ret = cpu->mcg_ctl;
        return 0;
    case MSR_TSC_DEADLINE:
        return lapic_msr_read(cpu, index, ret);
    case UINT32_C(0xc0011029): /* DE_CFG: LFENCE serialises */
        *ret = 2;
        return 0;
    default:
        break;
    }
    if (index >= MSR_X2APIC && index <= MSR_X2APIC + 0xff) {
        return lapic_msr_read(cpu, index, ret);
    }
    if (index >= MSR_MC0_CTL && index < MSR_MC0_CTL + mc_registers(cpu)) {
        *ret = cpu->mc_banks[index - MSR_MC0_CTL];
        return 0;
    }
    if (is_pv(index)) {
        return pv_msr_read(cpu, index, ret);
    }
    if (reads_zero(index)) {
        *ret = 0;
        return 0;
    }
    return -EINVAL;
}

static bool memory_type(uint64_t t)
{
    return t < 8 && t != 2 && t != 3;
}

static bool pat_valid(uint64_t v)
{
    for (unsigned n = 0; n < 8; n++, v >>= 8) {
        if (!memory_type(v & 0xff)) {
            return false;
        }
    }
    return true;
}

static bool mtrr_valid(const struct cpu *cpu, uint32_t index, uint64_t v)
{
    uint64_t addr = (UINT64_C(1) << cpu->phys_bits) - 1;

    if (index >= MSR_MTRR_PHYS0 && index <= MSR_MTRR_PHYS0 + 15) {
        if ((v & ~addr) != 0) {
            return false;
        }
        return (index & 1) != 0 ? (v & 0x7ff) == 0
                                : (v & 0xf00) == 0 && memory_type(v & 0xff) && (v & 0xff) != 7;
    }
    if (index == MSR_MTRR_FIX64K || index == MSR_MTRR_FIX16K_8 || index == MSR_MTRR_FIX16K_A ||
        (index >= MSR_MTRR_FIX4K && index <= MSR_MTRR_FIX4K + 7)) {
        for (unsigned n = 0; n < 8; n++, v >>= 8) {
            if (!memory_type(v & 0xff) || (v & 0xff) == 7) {
                return false;
            }
        }
    }
    return true;
}

int cpu_msr_write(struct cpu *cpu, uint32_t index, uint64_t value, bool host_initiated)
{
    uint64_t *p = canonical_msr(cpu, index);

    if (p != NULL) {
        if (!canonical(value)) {
            return -EINVAL;
        }
        *p = value;
        return 0;
    }
    p = plain(cpu, index);
    if (p != NULL) {
        if ((index == MSR_SMBASE && !host_initiated) ||
            (!host_initiated && !mtrr_valid(cpu, index, value)) ||
            (index == MSR_MISC_FEATURES_ENABLES && (value & ~UINT64_C(1)) != 0)) {
            return -EINVAL;
        }
        *p = value;
        return 0;
    }
    switch (index) {
    case MSR_TSC:
        if (!host_initiated) {
            cpu->tsc_adjust += value - cpu_tsc(cpu);
        }
        cpu->tsc_offset = value - rdtsc();
        return 0;
    case MSR_TSC_ADJUST:
        if (!host_initiated) {
            cpu->tsc_offset += value - cpu->tsc_adjust;
        }
        cpu->tsc_adjust = value;
        return 0;
    case MSR_APIC_BASE:
        if (cpu->lapic == NULL) {
            cpu->apic_base = value;
            return 0;
        }
        return lapic_set_base(cpu, value, host_initiated);
    case MSR_EFER:
        return control_set_efer(cpu, value, host_initiated);
    case MSR_TSC_AUX:
        if (!host_initiated && (!cpuid_has(cpu, CPUID_RDTSCP) || value > UINT32_MAX)) {
            return -EINVAL;
        }
        cpu->tsc_aux = (uint32_t)value;
        return 0;
    case MSR_PAT:
        if (!pat_valid(value)) {
            return -EINVAL;
        }
        cpu->pat = value;
        return 0;
    case MSR_MTRR_DEF_TYPE:
        if (!host_initiated && ((value & ~UINT64_C(0xcff)) != 0 || !memory_type(value & 0xff))) {
            return -EINVAL;
        }
        cpu->mtrr_def_type = value;
        return 0;
    case MSR_FEATURE_CONTROL:
        if (!host_initiated) {
            return -EINVAL;
        }
        cpu->feature_control = value;
        return 0;
    case MSR_SPEC_CTRL:
        if ((!host_initiated && !cpuid_has(cpu, CPUID_SPEC_CTRL)) || (value & ~UINT64_C(7)) != 0) {
            return -EINVAL;
        }
        cpu->spec_ctrl = value;
        return 0;
    case MSR_PRED_CMD:
        if (!host_initiated && !cpuid_has(cpu, CPUID_SPEC_CTRL)) {
            return -EINVAL;
        }
        return (value & ~UINT64_C(1)) != 0 ? -EINVAL : 0; /* nothing is kept that could leak */
    case MSR_ARCH_CAPABILITIES:
    case MSR_UCODE_REV:
    case MSR_PLATFORM_INFO:
        return host_initiated || index == MSR_UCODE_REV ? 0 : -EINVAL;
    case MSR_XSS:
        if (value != 0) {
            return -EINVAL;
        }
        return 0;
    case MSR_MCG_CAP:
        return -EINVAL;
    case MSR_MCG_CTL:
        if ((cpu->mcg_cap & 0x100) == 0 || (value != 0 && value != UINT64_MAX)) {
            return host_initiated ? 0 : -EINVAL;
        }
        cpu->mcg_ctl = value;
        return 0;
    case MSR_TSC_DEADLINE:
        return lapic_msr_write(cpu, index, value);
    case UINT32_C(0xc0011029):
        return 0;
    default:
        break;
    }
    if (index >= MSR_X2APIC && index <= MSR_X2APIC + 0xff) {
        return lapic_msr_write(cpu, index, value);
    }
    if (index >= MSR_MC0_CTL && index < MSR_MC0_CTL + mc_registers(cpu)) {
        uint32_t n = (index - MSR_MC0_CTL) % 4;

        /* CTL takes all ones or zeros (Linux clears bit 10 of bank 4 on some AMD); STATUS only 0
         * from a guest. */
        if (!host_initiated &&
            ((n == 0 && value != 0 && (value | 1 << 10) != UINT64_MAX) || (n == 1 && value != 0))) {
            return -EINVAL;
        }
        cpu->mc_banks[index - MSR_MC0_CTL] = value;
        return 0;
    }
    if (is_pv(index)) {
        return pv_msr_write(cpu, index, value);
    }
    return reads_zero(index) ? 0 : -EINVAL;
}
