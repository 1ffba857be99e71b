/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/x86/cpu.h"

#include "engine/mmu/phys.h"
#include "engine/x86/debug.h"
#include "engine/x86/regs.h"
#include "engine/x86/xstate.h"

#include <string.h>

static bool flat_data(const struct seg *s)
{
    return s->base == 0 && s->limit == UINT32_MAX &&
           (s->attr & (SEG_UNUSABLE | SEG_ATTR_P | SEG_ATTR_S | 8 | 4 | 2)) ==
               (SEG_ATTR_P | SEG_ATTR_S | 2);
}

void cpu_update_mode(struct cpu *cpu)
{
    const struct seg *cs = &cpu->seg[SEG_CS];
    uint32_t mode = (uint32_t)(cpu->cpl & 3) << MODE_CPL_SHIFT;
    enum tlb_index mmu;

    if ((cpu->efer & EFER_LMA) != 0) {
        mode |= MODE_LONG;
    }
    if ((cpu->cr0 & CR0_PE) != 0) {
        mode |= MODE_PE;
        if ((cpu->rflags & FL_VM) != 0) {
            mode |= MODE_VM86;
        }
    }
    if ((mode & MODE_LONG) != 0 && (cs->attr & SEG_ATTR_L) != 0) {
        mode |= MODE_CODE_64 | MODE_FLAT;
    } else {
        if ((cs->attr & SEG_ATTR_DB) != 0 && (mode & MODE_VM86) == 0) {
            mode |= MODE_CODE_32;
        }
        if (flat_data(&cpu->seg[SEG_DS]) && flat_data(&cpu->seg[SEG_ES]) &&
            flat_data(&cpu->seg[SEG_SS])) {
            mode |= MODE_FLAT;
        }
    }
    if ((cpu->seg[SEG_SS].attr & SEG_ATTR_DB) != 0) {
        mode |= MODE_SS32;
    }
    if (cpu->cpl == 3) {
        mmu = TLB_USER;
    } else if ((cpu->cr4 & CR4_SMAP) != 0 && (cpu->rflags & FL_AC) == 0) {
        mmu = TLB_KERNEL;
    } else {
        mmu = TLB_KERNEL_AC;
    }
    mode |= (uint32_t)mmu << MODE_MMU_SHIFT;
    if ((cpu->cr0 & (CR0_EM | CR0_TS)) != 0) {
        mode |= MODE_FPU_OFF;
    }
    if ((cpu->cr4 & CR4_OSXSAVE) == 0 || (cpu->xcr0 & XCR0_AVX) == 0) {
        mode |= MODE_AVX_OFF;
    }
    if ((cpu->cr4 & CR4_OSFXSR) == 0) {
        mode |= MODE_SSE_OFF;
    }
    if (cpu->cpl == 3 && (cpu->cr0 & CR0_AM) != 0 && (cpu->rflags & FL_AC) != 0) {
        mode |= MODE_AC;
    }
    if ((cpu->rflags & FL_TF) != 0 || cpu->single_step) {
        mode |= MODE_TF;
    }
    if ((debug_regs(cpu)[7] & 0xff) != 0) {
        mode |= MODE_BP;
    }
    cpu->mode = mode;
}

static void reset_seg(struct seg *s, uint16_t sel, uint64_t base, uint32_t attr)
{
    *s = (struct seg) { .base = base, .limit = 0xffff, .sel = sel, .attr = attr };
}

void cpu_reset(struct cpu *cpu, bool init)
{
    uint64_t cr0 = cpu->cr0;

    memset(cpu->gpr, 0, sizeof(cpu->gpr));
    cpu->gpr[REG_DX] = cpu->reset_signature;
    cpu->rip = 0xfff0;
    cpu->rflags = FL_FIXED;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        reset_seg(&cpu->seg[i], 0, 0, SEG_ATTR_P | SEG_ATTR_S | 3);
    }
    reset_seg(&cpu->seg[SEG_CS], 0xf000, 0xffff0000, SEG_ATTR_P | SEG_ATTR_S | 11);
    reset_seg(&cpu->ldt, 0, 0, SEG_ATTR_P | 2);
    reset_seg(&cpu->tr, 0, 0, SEG_ATTR_P | 11);
    cpu->gdt = cpu->idt = (struct dtable) { .limit = 0xffff };
    /* CD and NW survive INIT (SDM 3A, table 9-1). */
    cpu->cr0 = CR0_ET | (init ? cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
    cpu->cr2 = cpu->cr3 = cpu->cr4 = cpu->cr8 = cpu->efer = 0;
    cpu->cpl = 0;
    memset(cpu->dr, 0, sizeof(cpu->dr));
    cpu->dr[6] = DR6_FIXED;
    cpu->dr[7] = DR7_FIXED;
    cpu->irq_shadow = cpu->shadow_is_mov_ss = cpu->nmi_masked = cpu->nmi_pending = false;
    cpu->halted = false;
    cpu->fault.pending = cpu->exception.pending = cpu->interrupt.pending = false;
    if (!init) {
        cpu->xcr0 = XCR0_X87;
        cpu->xss = 0;
        xstate_reset(cpu);
        cpu->star = cpu->lstar = cpu->cstar = cpu->fmask = cpu->kernel_gs_base = 0;
        cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
        cpu->pat = UINT64_C(0x0007040600070406);
        cpu->tsc_aux = 0;
        cpu->spec_ctrl = 0;
        cpu->misc_enable = 1; /* fast strings */
        cpu->mtrr_def_type = 0;
        memset(cpu->mtrr_fixed, 0, sizeof(cpu->mtrr_fixed));
        memset(cpu->mtrr_var, 0, sizeof(cpu->mtrr_var));
        cpu->mcg_status = 0;
        cpu->smbase = 0x30000;
    }
    tlb_flush(cpu, false);
    cpu_update_mode(cpu);
}
