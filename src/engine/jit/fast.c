/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fast.c - system instructions that kernels execute all the time, without a round through the
 * interpreter: compiled code calls jit_fast() with everything stored but the vector registers, and
 * goes on where it says.
 *
 * What is not the plain 64-bit case is left to the interpreter, faults above all.
 */
#include "engine/exec/core.h"
#include "engine/jit/state.h"
#include "engine/x86/control.h"
#include "engine/x86/cpuid.h"

static bool has_tf(uint64_t rflags)
{
    return (rflags & FL_TF) != 0;
}

static void set_code(struct cpu *cpu, uint16_t sel, unsigned cpl)
{
    cpu->seg[SEG_CS] = (struct seg) { .sel = (uint16_t)((sel & 0xfffc) | cpl),
                                      .limit = UINT32_MAX,
                                      .attr = 11 | SEG_ATTR_S | cpl << SEG_ATTR_DPL_SHIFT |
                                              SEG_ATTR_P | SEG_ATTR_G | SEG_ATTR_L };
    cpu->seg[SEG_SS] = (struct seg) { .sel = (uint16_t)(((sel & 0xfffc) + 8) | cpl),
                                      .limit = UINT32_MAX,
                                      .attr = 3 | SEG_ATTR_S | cpl << SEG_ATTR_DPL_SHIFT |
                                              SEG_ATTR_P | SEG_ATTR_G | SEG_ATTR_DB };
    cpu->cpl = (uint8_t)cpl;
}

static bool fast_syscall(struct cpu *cpu, uint64_t next)
{
    uint64_t flags = (cpu->rflags & ~(cpu->fmask & UINT32_MAX) & ~(uint64_t)FL_RF) | FL_FIXED;

    if ((cpu->efer & EFER_SCE) == 0 || has_tf(cpu->rflags | flags))
        return false;
    cpu->gpr[REG_CX] = next;
    cpu->gpr[11] = cpu->rflags & ~(uint64_t)FL_RF;
    cpu->rip = cpu->lstar;
    cpu->rflags = flags;
    set_code(cpu, (uint16_t)(cpu->star >> 32), 0);
    cpu_update_mode(cpu);
    return true;
}

static bool fast_sysret(struct cpu *cpu)
{
    uint64_t flags = (cpu->gpr[11] & 0x3c7fd7 & ~(uint64_t)(FL_FIXED | FL_RF | FL_VM)) | FL_FIXED;
    bool was_on = (cpu->rflags & FL_IF) != 0;
    uint16_t sel = (uint16_t)(cpu->star >> 48);

    if ((cpu->efer & EFER_SCE) == 0 || cpu->cpl != 0 || !canonical(cpu->gpr[REG_CX]) ||
        has_tf(cpu->rflags | flags))
        return false;
    cpu->rip = cpu->gpr[REG_CX];
    cpu->rflags = flags;
    set_code(cpu, (uint16_t)(sel + 16), 3);
    cpu->seg[SEG_SS].sel = (uint16_t)(((sel + 8) & 0xfffc) | 3);
    cpu_update_mode(cpu);
    if (!was_on && (flags & FL_IF) != 0)
        irq_opened(cpu);
    return true;
}

static bool fast_popf(struct cpu *cpu)
{
    uint64_t change = FL_ARITH | FL_DF | FL_ID | FL_IF | FL_RF, v;
    const struct tlb_entry *e =
        &cpu->tlb.slot[mem_index(cpu)][tlb_slot(&cpu->tlb, cpu->gpr[REG_SP])];
    uint64_t off = cpu->gpr[REG_SP] ^ e->tag_r;
    bool was_on = (cpu->rflags & FL_IF) != 0;

    if (cpu->cpl != 0 || off > 4096 - 8)
        return false;
    memcpy(&v, (const void *)(e->host + off), 8);
    if (((v ^ cpu->rflags) & (FL_TF | FL_NT | FL_AC | FL_IOPL)) != 0)
        return false;
    cpu->rflags = (cpu->rflags & ~change) | (v & change & ~(uint64_t)FL_RF) | FL_FIXED;
    cpu->gpr[REG_SP] += 8;
    if (!was_on && (cpu->rflags & FL_IF) != 0)
        irq_opened(cpu);
    return true;
}

static bool fast_sti(struct cpu *cpu)
{
    if (cpu->cpl != 0)
        return false;
    if ((cpu->rflags & FL_IF) == 0) {
        cpu->rflags |= FL_IF;
        cpu->irq_shadow = true;
        cpu->shadow_is_mov_ss = false;
        irq_opened(cpu);
    }
    return true;
}

static bool fast_base(struct cpu *cpu, unsigned what, unsigned reg, bool wide)
{
    uint64_t *base = &cpu->seg[(what & 1) == 0 ? SEG_FS : SEG_GS].base;
    uint64_t v = wide ? cpu->gpr[reg] : (uint32_t)cpu->gpr[reg];

    if ((cpu->cr4 & CR4_FSGSBASE) == 0 || (what >= 2 && !canonical(v)))
        return false;
    if (what >= 2)
        *base = v;
    else
        cpu->gpr[reg] = wide ? *base : (uint32_t)*base;
    return true;
}

static bool fast_swapgs(struct cpu *cpu)
{
    uint64_t base = cpu->seg[SEG_GS].base;

    if (cpu->cpl != 0)
        return false;
    cpu->seg[SEG_GS].base = cpu->kernel_gs_base;
    cpu->kernel_gs_base = base;
    return true;
}

static bool fast_rdtsc(struct cpu *cpu)
{
    if ((cpu->cr4 & CR4_TSD) != 0 && cpu->cpl != 0)
        return false;
    uint64_t v = cpu_tsc(cpu);
    cpu->gpr[REG_AX] = (uint32_t)v;
    cpu->gpr[REG_DX] = v >> 32;
    return true;
}

/* AC as SMAP's switch. Linux executes these only where CPUID has SMAP. */
static bool fast_ac(struct cpu *cpu, bool on)
{
    if (cpu->cpl != 0 || (cpu->cr4 & CR4_SMAP) == 0)
        return false;
    cpu->rflags = on ? cpu->rflags | FL_AC : cpu->rflags & ~(uint64_t)FL_AC;
    cpu_update_mode(cpu);
    return true;
}

static bool execute(struct cpu *cpu, unsigned kind, unsigned reg, unsigned len, bool wide)
{
    uint64_t next = cpu->rip + len;
    bool ok;

    switch (kind) {
    case FAST_SYSCALL:
        return fast_syscall(cpu, next);
    case FAST_SYSRET:
        return fast_sysret(cpu);
    case FAST_POPF:
        ok = fast_popf(cpu);
        break;
    case FAST_STI:
        ok = fast_sti(cpu);
        break;
    case FAST_SWAPGS:
        ok = fast_swapgs(cpu);
        break;
    case FAST_RDTSC:
        ok = fast_rdtsc(cpu);
        break;
    case FAST_RDTSCP:
        ok = cpuid_has(cpu, CPUID_RDTSCP) && fast_rdtsc(cpu);
        if (ok)
            cpu->gpr[REG_CX] = (uint32_t)cpu->tsc_aux;
        break;
    case FAST_STAC:
    case FAST_CLAC:
        ok = fast_ac(cpu, kind == FAST_STAC);
        break;
    default:
        ok = fast_base(cpu, kind - FAST_RDFSBASE, reg, wide);
        break;
    }
    if (ok)
        cpu->rip = next;
    return ok;
}

uint64_t jit_fast(struct cpu *cpu, uint32_t what)
{
    struct jit *j = cpu->jit;
    unsigned kind = what & 0xff;

    if (!execute(cpu, kind, what >> 8 & 15, what >> 16 & 15, what >> 24 & 1))
        return FAST_NOT_DONE;
    if (kind != FAST_STI)
        cpu->irq_shadow = false;
    if (!JIT_JOINS || cpu_attention(cpu) || (cpu->mode & MODE_CODE_MASK) != MODE_CODE_64)
        return FAST_LEAVE;
    for (unsigned i = 0; i < j->n_modes; i++) {
        if (j->mode[i] == cpu->mode)
            return *jit_table_slot(cpu, i, cpu->rip);
    }
    return FAST_LEAVE;
}
