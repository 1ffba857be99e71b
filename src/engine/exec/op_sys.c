/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* op_sys.c - ports, control and debug registers, descriptor tables, MSRs, segment registers. */
#include "engine/exec/io.h"
#include "engine/exec/ops.h"
#include "engine/mmu/walk.h"
#include "engine/x86/control.h"
#include "engine/x86/cpuid.h"
#include "engine/x86/debug.h"
#include "engine/x86/seg.h"

static void need_cpl0(struct cpu *cpu)
{
    if (cpu->cpl != 0) {
        raise_gp(cpu);
    }
}

/* ---- ports ---- */

void io_check(struct cpu *cpu, uint16_t port, unsigned size)
{
    uint64_t map;
    uint32_t bits;

    if ((cpu->mode & MODE_PE) == 0 || ((cpu->mode & MODE_VM86) == 0 && cpu->cpl <= iopl(cpu))) {
        return;
    }
    if ((cpu->tr.attr & 8) == 0 || cpu->tr.limit < 103) {
        raise_gp(cpu);
    }
    map = load_system(cpu, cpu->tr.base + 102, 2) + port / 8;
    if (map + 1 > cpu->tr.limit) {
        raise_gp(cpu);
    }
    bits = (uint32_t)load_system(cpu, cpu->tr.base + map, 2) >> (port & 7);
    if ((bits & ((1u << size) - 1)) != 0) {
        raise_gp(cpu);
    }
}

static enum op_result op_in(struct cpu *cpu, const struct insn *i)
{
    unsigned size = (i->opcode & 1) == 0 ? 1 : i->opsize == 2 ? 2 : 4;
    uint16_t port = i->opcode < 0xe8 ? (uint8_t)i->imm : (uint16_t)cpu->gpr[REG_DX];

    io_check(cpu, port, size);
    reg_set(cpu, i, REG_AX, size, port_read(cpu, port, size));
    return OP_NEXT;
}

static enum op_result op_out(struct cpu *cpu, const struct insn *i)
{
    unsigned size = (i->opcode & 1) == 0 ? 1 : i->opsize == 2 ? 2 : 4;
    uint16_t port = i->opcode < 0xe8 ? (uint8_t)i->imm : (uint16_t)cpu->gpr[REG_DX];

    io_check(cpu, port, size);
    port_write(cpu, port, size, (uint32_t)reg_get(cpu, i, REG_AX, size));
    return OP_NEXT;
}

/* ---- segment registers ---- */

static void load_segment(struct cpu *cpu, unsigned seg, uint16_t sel)
{
    seg_load(cpu, seg, sel);
    if (seg == SEG_SS) {
        cpu->irq_shadow = cpu->shadow_is_mov_ss = true;
        interp_of(cpu)->new_shadow = true;
    }
}

static enum op_result op_mov_from_seg(struct cpu *cpu, const struct insn *i)
{
    uint16_t sel = cpu->seg[i->reg & 7].sel;

    rm_set(cpu, i, i->mod == 3 ? i->opsize : 2, sel);
    return OP_NEXT;
}

static enum op_result op_mov_to_seg(struct cpu *cpu, const struct insn *i)
{
    load_segment(cpu, i->reg & 7, (uint16_t)rm_get(cpu, i, 2));
    return OP_STOP;
}

static unsigned seg_of_opcode(const struct insn *i)
{
    if (i->map == MAP_1B) {
        return (i->opcode >> 3) & 3;
    }
    return (i->opcode & 8) != 0 ? SEG_GS : SEG_FS;
}

static enum op_result op_push_seg(struct cpu *cpu, const struct insn *i)
{
    uint64_t sp = cpu->gpr[REG_SP];
    unsigned size = i->map == MAP_1B && in_64(cpu) ? 8 : i->opsize;

    push_at(cpu, &sp, size, cpu->seg[seg_of_opcode(i)].sel);
    sp_set(cpu, sp);
    return OP_NEXT;
}

static enum op_result op_pop_seg(struct cpu *cpu, const struct insn *i)
{
    uint64_t sp = cpu->gpr[REG_SP];
    uint16_t sel = (uint16_t)pop_at(cpu, &sp, i->opsize);
    unsigned bytes = stack_bytes(cpu);
    uint64_t mask = mask_bytes(bytes);

    load_segment(cpu, seg_of_opcode(i), sel);
    /* The increment belongs to the stack that was popped from. */
    cpu->gpr[REG_SP] = bytes == 4 ? (uint32_t)sp : (cpu->gpr[REG_SP] & ~mask) | (sp & mask);
    return OP_STOP;
}

static enum op_result op_load_far_pointer(struct cpu *cpu, const struct insn *i)
{
    uint64_t va = insn_linear(cpu, i, i->opsize + 2, false), off = load(cpu, va, i->opsize);
    uint16_t sel = (uint16_t)load(cpu, va + i->opsize, 2);
    unsigned seg = i->map == MAP_1B       ? (i->opcode == 0xc4 ? SEG_ES : SEG_DS)
                   : i->opcode == 0xb2    ? SEG_SS
                   : (i->opcode & 1) == 0 ? SEG_FS
                                          : SEG_GS;

    seg_load(cpu, seg, sel);
    reg_set(cpu, i, i->reg, i->opsize, off);
    return OP_STOP;
}

/* LAR and LSL: is the descriptor visible, and of a kind that the instruction knows? */
static bool visible(struct cpu *cpu, uint16_t sel, struct desc *d, bool limit)
{
    unsigned type;

    if ((sel & 0xfffc) == 0 || !desc_try(cpu, sel, d)) {
        return false;
    }
    type = desc_type(d);
    if (!desc_is_segment(d)) {
        bool lm = (cpu->mode & MODE_LONG) != 0;
        bool known = type == DESC_LDT || type == DESC_TSS32 || type == DESC_TSS32_BUSY ||
                     (!limit && type == DESC_CALL32);

        known = known || (!lm && (type == DESC_TSS16 || type == DESC_TSS16_BUSY ||
                                  (!limit && (type == DESC_CALL16 || type == DESC_TASK))));
        if (!known) {
            return false;
        }
    }
    if (desc_is_code(d) && desc_is_conforming(d)) {
        return true;
    }
    return desc_dpl(d) >= cpu->cpl && desc_dpl(d) >= (sel & 3u);
}

static enum op_result op_lar_lsl(struct cpu *cpu, const struct insn *i)
{
    uint16_t sel = (uint16_t)rm_get(cpu, i, 2);
    bool limit = i->opcode == 0x03;
    struct desc d;

    if (!in_protected(cpu)) {
        raise_ud(cpu);
    }
    if (visible(cpu, sel, &d, limit)) {
        reg_set(cpu, i, i->reg, i->opsize, limit ? seg_of(sel, &d).limit : d.hi & 0xffff00);
        set_flags(cpu, FL_ZF, FL_ZF);
    } else {
        set_flags(cpu, FL_ZF, 0);
    }
    return OP_NEXT;
}

static bool verify(struct cpu *cpu, uint16_t sel, bool write)
{
    struct desc d;

    if ((sel & 0xfffc) == 0 || !desc_try(cpu, sel, &d) || !desc_is_segment(&d)) {
        return false;
    }
    if (desc_is_code(&d)) {
        if (write || (d.hi & (2 << 8)) == 0) {
            return false;
        }
        if (desc_is_conforming(&d)) {
            return true;
        }
    } else if (write && (d.hi & (2 << 8)) == 0) {
        return false;
    }
    return desc_dpl(&d) >= cpu->cpl && desc_dpl(&d) >= (sel & 3u);
}

static void check_umip(struct cpu *cpu)
{
    if (cpu->cpl != 0 && (cpu->cr4 & CR4_UMIP) != 0) {
        raise_gp(cpu);
    }
}

static enum op_result op_group6(struct cpu *cpu, const struct insn *i)
{
    if (!in_protected(cpu)) {
        raise_ud(cpu);
    }
    switch (i->reg & 7) {
    case 0:
    case 1:
        check_umip(cpu);
        rm_set(cpu, i, i->mod == 3 ? i->opsize : 2, (i->reg & 7) == 0 ? cpu->ldt.sel : cpu->tr.sel);
        return OP_NEXT;
    case 2:
        need_cpl0(cpu);
        lldt(cpu, (uint16_t)rm_get(cpu, i, 2));
        return OP_NEXT;
    case 3:
        need_cpl0(cpu);
        ltr(cpu, (uint16_t)rm_get(cpu, i, 2));
        return OP_NEXT;
    default:
        set_flags(cpu, FL_ZF,
                  verify(cpu, (uint16_t)rm_get(cpu, i, 2), (i->reg & 7) == 5) ? FL_ZF : 0);
        return OP_NEXT;
    }
}

static enum op_result op_arpl(struct cpu *cpu, const struct insn *i)
{
    uint64_t src = reg_get(cpu, i, i->reg, 2) & 3;
    struct rmw m;

    if (!in_protected(cpu)) {
        raise_ud(cpu);
    }
    rmw_begin(cpu, i, 2, &m);
    if ((m.old & 3) < src) {
        (void)rmw_end(cpu, i, &m, (m.old & ~UINT64_C(3)) | src);
        set_flags(cpu, FL_ZF, FL_ZF);
    } else {
        set_flags(cpu, FL_ZF, 0);
    }
    return OP_NEXT;
}

/* ---- 0F 01 ---- */

static enum op_result store_table(struct cpu *cpu, const struct insn *i, const struct dtable *t)
{
    unsigned size = in_64(cpu) ? 8 : 4;
    uint64_t va = insn_linear(cpu, i, 2 + size, true);

    check_umip(cpu);
    mem_probe_write(cpu, va, 2 + size);
    store(cpu, va, 2, t->limit);
    store(cpu, va + 2, size, t->base);
    return OP_NEXT;
}

static enum op_result load_table(struct cpu *cpu, const struct insn *i, struct dtable *t)
{
    unsigned size = in_64(cpu) ? 8 : 4;
    uint64_t va = insn_linear(cpu, i, 2 + size, false), base;
    uint16_t limit;

    need_cpl0(cpu);
    limit = (uint16_t)load(cpu, va, 2);
    base = load(cpu, va + 2, size);
    if (size == 4 && i->opsize == 2) {
        base &= 0xffffff;
    }
    if (size == 8 && !canonical(base)) {
        raise_gp(cpu);
    }
    t->limit = limit;
    t->base = base;
    return OP_NEXT;
}

static enum op_result set_control(struct cpu *cpu, int r)
{
    if (r < 0) {
        raise_gp(cpu);
    }
    return OP_STOP;
}

static enum op_result op_xgetbv(struct cpu *cpu)
{
    uint64_t v;

    if ((cpu->cr4 & CR4_OSXSAVE) == 0) {
        raise_ud(cpu);
    }
    switch ((uint32_t)cpu->gpr[REG_CX]) {
    case 0:
        v = cpu->xcr0;
        break;
    case 1: /* in use: the engine keeps all components in use */
        v = cpu->xcr0;
        break;
    default:
        raise_gp(cpu);
    }
    cpu->gpr[REG_AX] = (uint32_t)v;
    cpu->gpr[REG_DX] = v >> 32;
    return OP_NEXT;
}

static enum op_result op_xsetbv(struct cpu *cpu)
{
    if ((cpu->cr4 & CR4_OSXSAVE) == 0) {
        raise_ud(cpu);
    }
    if (cpu->cpl != 0 || (uint32_t)cpu->gpr[REG_CX] != 0) {
        raise_gp(cpu);
    }
    return set_control(cpu,
                       control_set_xcr0(cpu, (uint32_t)cpu->gpr[REG_AX] | cpu->gpr[REG_DX] << 32));
}

static enum op_result op_hypercall(struct cpu *cpu)
{
    bool wide = in_64(cpu);
    uint64_t mask = wide ? UINT64_MAX : UINT32_MAX;
    uint64_t args[4] = { cpu->gpr[REG_BX] & mask, cpu->gpr[REG_CX] & mask, cpu->gpr[REG_DX] & mask,
                         cpu->gpr[REG_SI] & mask };

    if (cpu->cpl != 0) {
        cpu->gpr[REG_AX] = (uint64_t)-1 & mask; /* -KVM_EPERM */
        return OP_NEXT;
    }
    cpu->gpr[REG_AX] = pv_hypercall(cpu, cpu->gpr[REG_AX] & mask, args) & mask;
    return OP_STOP;
}

static enum op_result op_rdtsc(struct cpu *cpu)
{
    uint64_t v;

    if ((cpu->cr4 & CR4_TSD) != 0 && cpu->cpl != 0 && (cpu->mode & MODE_PE) != 0) {
        raise_gp(cpu);
    }
    v = cpu_tsc(cpu);
    cpu->gpr[REG_AX] = (uint32_t)v;
    cpu->gpr[REG_DX] = v >> 32;
    return OP_NEXT;
}

static enum op_result op_rdtscp(struct cpu *cpu)
{
    if (!cpuid_has(cpu, CPUID_RDTSCP)) {
        raise_ud(cpu);
    }
    (void)op_rdtsc(cpu);
    cpu->gpr[REG_CX] = (uint32_t)cpu->tsc_aux;
    return OP_NEXT;
}

static enum op_result op_0f01_reg(struct cpu *cpu, const struct insn *i)
{
    uint64_t t;

    switch (i->modrm) {
    case 0xc1: /* VMCALL, VMMCALL */
    case 0xd9:
        return op_hypercall(cpu);
    case 0xc8: /* MONITOR and MWAIT are not offered: #UD as without the feature */
    case 0xc9:
        raise_ud(cpu);
    case 0xca:
    case 0xcb: /* CLAC, STAC */
        if (!cpuid_has(cpu, CPUID_SMAP) || cpu->cpl != 0) {
            raise_ud(cpu);
        }
        set_flags(cpu, FL_AC, i->modrm == 0xcb ? FL_AC : 0);
        cpu_update_mode(cpu);
        return OP_NEXT;
    case 0xd0:
        return op_xgetbv(cpu);
    case 0xd1:
        return op_xsetbv(cpu);
    case 0xe8:
        return OP_NEXT; /* SERIALIZE */
    case 0xf8:          /* SWAPGS */
        need_cpl0(cpu);
        t = cpu->seg[SEG_GS].base;
        cpu->seg[SEG_GS].base = cpu->kernel_gs_base;
        cpu->kernel_gs_base = t;
        return OP_NEXT;
    default:
        return op_rdtscp(cpu);
    }
}

static enum op_result op_0f01(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (i->mod == 3 && (i->reg & 7) != 4 && (i->reg & 7) != 6) {
        return op_0f01_reg(cpu, i);
    }
    switch (i->reg & 7) {
    case 0:
        return store_table(cpu, i, &cpu->gdt);
    case 1:
        return store_table(cpu, i, &cpu->idt);
    case 2:
        return load_table(cpu, i, &cpu->gdt);
    case 3:
        return load_table(cpu, i, &cpu->idt);
    case 4:
        check_umip(cpu);
        rm_set(cpu, i, i->mod == 3 ? i->opsize : 2, cpu->cr0);
        return OP_NEXT;
    case 6: /* LMSW sets PE, MP, EM, TS; it cannot clear PE */
        need_cpl0(cpu);
        v = rm_get(cpu, i, 2) & 15;
        v |= cpu->cr0 & CR0_PE;
        return set_control(cpu, control_set_cr0(cpu, (cpu->cr0 & ~UINT64_C(15)) | v));
    default: /* INVLPG */
        need_cpl0(cpu);
        v = insn_offset(cpu, i) + (in_64(cpu) && i->seg < SEG_FS ? 0 : cpu->seg[i->seg].base);
        if (!in_64(cpu)) {
            v = (uint32_t)v;
        }
        tlb_flush_page(cpu, v);
        return OP_STOP;
    }
}

static enum op_result op_invpcid(struct cpu *cpu, const struct insn *i)
{
    unsigned size = in_64(cpu) ? 8 : 4;
    uint64_t type, pcid, va, at;

    if (!cpuid_has(cpu, CPUID_INVPCID) || (cpu->mode & MODE_PE) == 0) {
        raise_ud(cpu);
    }
    need_cpl0(cpu);
    type = cpu->gpr[i->reg] & mask_bytes(size);
    at = insn_linear(cpu, i, 16, false);
    pcid = load(cpu, at, 8);
    va = load(cpu, at + 8, 8);
    if (type > 3 || (type < 2 && (pcid >> 12) != 0) || (type == 0 && !canonical(va)) ||
        (type < 2 && pcid != 0 && (cpu->cr4 & CR4_PCIDE) == 0)) {
        raise_gp(cpu);
    }
    /* Entries of other PCIDs than the current one do not exist. */
    if (type == 0) {
        if ((cpu->cr4 & CR4_PCIDE) == 0 || pcid == (cpu->cr3 & 0xfff)) {
            tlb_flush_page(cpu, va);
        }
    } else {
        tlb_flush(cpu, type != 2);
    }
    return OP_STOP;
}

/* ---- control and debug registers ---- */

static enum op_result op_mov_from_cr(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    need_cpl0(cpu);
    switch (i->reg) {
    case 0:
        v = cpu->cr0;
        break;
    case 2:
        v = cpu->cr2;
        break;
    case 3:
        v = cpu->cr3;
        break;
    case 4:
        v = cpu->cr4;
        break;
    default:
        v = lapic_get_tpr(cpu);
        break;
    }
    reg_set(cpu, i, i->rm, in_64(cpu) ? 8 : 4, v);
    return OP_NEXT;
}

static enum op_result op_mov_to_cr(struct cpu *cpu, const struct insn *i)
{
    uint64_t v = cpu->gpr[i->rm];

    need_cpl0(cpu);
    if (!in_64(cpu)) {
        v = (uint32_t)v;
    }
    switch (i->reg) {
    case 0:
        return set_control(cpu, control_set_cr0(cpu, v));
    case 2:
        cpu->cr2 = v;
        return OP_NEXT;
    case 3:
        return set_control(cpu, control_set_cr3(cpu, v));
    case 4:
        return set_control(cpu, control_set_cr4(cpu, v));
    default:
        if ((v & ~UINT64_C(15)) != 0) {
            raise_gp(cpu);
        }
        lapic_set_tpr(cpu, v);
        irq_opened(cpu);
        return OP_STOP;
    }
}

static unsigned debug_register(struct cpu *cpu, const struct insn *i)
{
    unsigned n = i->reg;

    if (n == 4 || n == 5) {
        if ((cpu->cr4 & CR4_DE) != 0) {
            raise_ud(cpu);
        }
        n += 2;
    }
    need_cpl0(cpu);
    if ((cpu->dr[7] & DR7_GD) != 0) {
        cpu->dr[7] &= ~(uint64_t)DR7_GD;
        cpu->dr[6] |= DR6_BD;
        raise_exc(cpu, EXC_DB);
    }
    return n;
}

static enum op_result op_mov_from_dr(struct cpu *cpu, const struct insn *i)
{
    unsigned n = debug_register(cpu, i);

    reg_set(cpu, i, i->rm, in_64(cpu) ? 8 : 4, cpu->dr[n]);
    return OP_NEXT;
}

static enum op_result op_mov_to_dr(struct cpu *cpu, const struct insn *i)
{
    unsigned n = debug_register(cpu, i);
    uint64_t v = cpu->gpr[i->rm];

    if (!in_64(cpu)) {
        v = (uint32_t)v;
    }
    if (n >= 6) {
        if (v > UINT32_MAX) {
            raise_gp(cpu);
        }
        v = n == 6 ? (v & 0x1e00f) | DR6_FIXED : (v & 0xffff2bff) | DR7_FIXED;
    }
    cpu->dr[n] = v;
    tlb_flush(cpu, false); /* watched pages must lose their tags */
    cpu_update_mode(cpu);
    return OP_STOP;
}

/* ---- the rest ---- */

static enum op_result op_cli_sti(struct cpu *cpu, const struct insn *i)
{
    bool on = (cpu->rflags & FL_IF) != 0;

    if (((cpu->mode & MODE_PE) != 0 && cpu->cpl > iopl(cpu))) {
        raise_gp(cpu);
    }
    if (i->opcode == 0xfa) {
        cpu->rflags &= ~(uint64_t)FL_IF;
        return OP_NEXT;
    }
    cpu->rflags |= FL_IF;
    if (!on) {
        cpu->irq_shadow = true;
        cpu->shadow_is_mov_ss = false;
        interp_of(cpu)->new_shadow = true;
        irq_opened(cpu);
    }
    return OP_STOP;
}

static enum op_result op_hlt(struct cpu *cpu, const struct insn *i)
{
    (void)i;
    need_cpl0(cpu);
    cpu->halted = true;
    cpu_look(cpu);
    return OP_STOP;
}

static enum op_result op_clts(struct cpu *cpu, const struct insn *i)
{
    (void)i;
    need_cpl0(cpu);
    cpu->cr0 &= ~(uint64_t)CR0_TS;
    cpu_update_mode(cpu);
    return OP_STOP;
}

static enum op_result op_cache(struct cpu *cpu, const struct insn *i)
{
    (void)i;
    need_cpl0(cpu); /* INVD, WBINVD: guest memory is coherent */
    return OP_NEXT;
}

static enum op_result op_msr(struct cpu *cpu, const struct insn *i)
{
    uint32_t index = (uint32_t)cpu->gpr[REG_CX];
    uint64_t v;

    need_cpl0(cpu);
    if (i->opcode == 0x32) {
        if (cpu_msr_read(cpu, index, &v, false) < 0) {
            raise_gp(cpu);
        }
        cpu->gpr[REG_AX] = (uint32_t)v;
        cpu->gpr[REG_DX] = v >> 32;
        return OP_NEXT;
    }
    v = (uint32_t)cpu->gpr[REG_AX] | cpu->gpr[REG_DX] << 32;
    if (cpu_msr_write(cpu, index, v, false) < 0) {
        raise_gp(cpu);
    }
    return OP_STOP;
}

static enum op_result op_read_tsc(struct cpu *cpu, const struct insn *i)
{
    (void)i;
    return op_rdtsc(cpu);
}

static enum op_result op_rdpmc(struct cpu *cpu, const struct insn *i)
{
    (void)i;
    raise_gp(cpu); /* no counter exists */
}

static enum op_result op_cpuid(struct cpu *cpu, const struct insn *i)
{
    uint32_t out[4];

    (void)i;
    if ((cpu->misc_features & 1) != 0 && cpu->cpl != 0 && (cpu->mode & MODE_PE) != 0) {
        raise_gp(cpu); /* CPUID faulting */
    }
    cpuid_query(cpu, (uint32_t)cpu->gpr[REG_AX], (uint32_t)cpu->gpr[REG_CX], out);
    cpu->gpr[REG_AX] = out[0];
    cpu->gpr[REG_BX] = out[1];
    cpu->gpr[REG_CX] = out[2];
    cpu->gpr[REG_DX] = out[3];
    return OP_NEXT;
}

static enum op_result op_fsgsbase(struct cpu *cpu, const struct insn *i)
{
    uint64_t *base = &cpu->seg[(i->reg & 1) == 0 ? SEG_FS : SEG_GS].base;

    if (!in_64(cpu) || (cpu->cr4 & CR4_FSGSBASE) == 0) {
        raise_ud(cpu);
    }
    if ((i->reg & 7) < 2) {
        reg_set(cpu, i, i->rm, i->opsize == 8 ? 8 : 4, *base);
    } else {
        uint64_t v = reg_get(cpu, i, i->rm, i->opsize == 8 ? 8 : 4);

        if (!canonical(v)) {
            raise_gp(cpu);
        }
        *base = v;
    }
    return OP_NEXT;
}

static enum op_result op_rdpid(struct cpu *cpu, const struct insn *i)
{
    if (!cpuid_has(cpu, CPUID_RDPID)) {
        raise_ud(cpu);
    }
    reg_set(cpu, i, i->rm, in_64(cpu) ? 8 : 4, cpu->tsc_aux);
    return OP_NEXT;
}

/* CLFLUSH and kin: a load as far as faults go. */
static enum op_result op_flush_line(struct cpu *cpu, const struct insn *i)
{
    (void)load(cpu, insn_linear(cpu, i, 1, false), 1);
    return OP_NEXT;
}

static enum op_result op_pause(struct cpu *cpu, const struct insn *i)
{
    (void)cpu;
    (void)i;
    __builtin_ia32_pause();
    return OP_NEXT;
}

static enum op_result op_undefined(struct cpu *cpu, const struct insn *i)
{
    (void)i;
    raise_ud(cpu);
}

static op_fn *two_byte(const struct insn *i)
{
    switch (i->opcode) {
    case 0x00:
        return op_group6;
    case 0x01:
        return op_0f01;
    case 0x02:
    case 0x03:
        return op_lar_lsl;
    case 0x06:
        return op_clts;
    case 0x08:
    case 0x09:
        return op_cache;
    case 0x20:
        return op_mov_from_cr;
    case 0x21:
        return op_mov_from_dr;
    case 0x22:
        return op_mov_to_cr;
    case 0x23:
        return op_mov_to_dr;
    case 0x30:
    case 0x32:
        return op_msr;
    case 0x31:
        return op_read_tsc;
    case 0x33:
        return op_rdpmc;
    case 0xa0:
    case 0xa8:
        return op_push_seg;
    case 0xa1:
    case 0xa9:
        return op_pop_seg;
    case 0xa2:
        return op_cpuid;
    case 0xaa:
        return op_undefined; /* RSM outside of SMM */
    case 0xae:
        if (i->mod == 3 && (i->prefixes & PFX_F3) != 0) {
            return (i->reg & 7) < 4 ? op_fsgsbase : op_undefined;
        }
        if (i->mod != 3 && ((i->reg & 7) == 7 || ((i->reg & 7) == 6 && i->pp == 1))) {
            return op_flush_line;
        }
        return NULL;
    case 0xb2:
    case 0xb4:
    case 0xb5:
        return op_load_far_pointer;
    case 0xc7:
        return i->mod == 3 && (i->prefixes & PFX_F3) != 0 ? op_rdpid : NULL;
    default:
        return NULL;
    }
}

op_fn *ops_system(const struct insn *i)
{
    if (i->enc != ENC_LEGACY) {
        return NULL;
    }
    if (i->map == MAP_0F) {
        return i->info->cls == CLASS_SYSTEM ? two_byte(i) : NULL;
    }
    if (i->map == MAP_0F38) {
        return i->opcode == 0x82 ? op_invpcid : NULL;
    }
    if (i->map != MAP_1B) {
        return NULL;
    }
    switch (i->opcode) {
    case 0x06:
    case 0x0e:
    case 0x16:
    case 0x1e:
        return op_push_seg;
    case 0x07:
    case 0x17:
    case 0x1f:
        return op_pop_seg;
    case 0x63:
        return op_arpl;
    case 0x8c:
        return op_mov_from_seg;
    case 0x8e:
        return op_mov_to_seg;
    case 0x90:
        return op_pause;
    case 0xc4:
    case 0xc5:
        return op_load_far_pointer;
    case 0xe4:
    case 0xe5:
    case 0xec:
    case 0xed:
        return op_in;
    case 0xe6:
    case 0xe7:
    case 0xee:
    case 0xef:
        return op_out;
    case 0xf4:
        return op_hlt;
    case 0xfa:
    case 0xfb:
        return op_cli_sti;
    default:
        return NULL;
    }
}
