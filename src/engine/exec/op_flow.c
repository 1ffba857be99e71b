/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* op_flow.c - jumps, calls, returns, software interrupts, system calls. */
#include "engine/exec/ops.h"
#include "engine/x86/cpuid.h"
#include "engine/x86/event.h"
#include "engine/x86/seg.h"

static enum op_result op_jcc(struct cpu *cpu, const struct insn *i)
{
    if (cond(cpu->rflags, i->opcode & 15)) {
        jump_near(cpu, i->opsize, interp_of(cpu)->next_rip + i->imm);
    }
    return OP_NEXT;
}

static enum op_result op_jmp(struct cpu *cpu, const struct insn *i)
{
    jump_near(cpu, i->opsize, interp_of(cpu)->next_rip + i->imm);
    return OP_NEXT;
}

static void call_to(struct cpu *cpu, const struct insn *i, uint64_t target)
{
    uint64_t next = interp_of(cpu)->next_rip, sp = cpu->gpr[REG_SP];

    push_at(cpu, &sp, i->opsize, next);
    jump_near(cpu, i->opsize, target);
    sp_set(cpu, sp);
}

static enum op_result op_call(struct cpu *cpu, const struct insn *i)
{
    call_to(cpu, i, interp_of(cpu)->next_rip + i->imm);
    return OP_NEXT;
}

static enum op_result op_call_rm(struct cpu *cpu, const struct insn *i)
{
    call_to(cpu, i, rm_get(cpu, i, i->opsize));
    return OP_NEXT;
}

static enum op_result op_jmp_rm(struct cpu *cpu, const struct insn *i)
{
    jump_near(cpu, i->opsize, rm_get(cpu, i, i->opsize));
    return OP_NEXT;
}

static enum op_result op_ret(struct cpu *cpu, const struct insn *i)
{
    uint64_t sp = cpu->gpr[REG_SP], ip = pop_at(cpu, &sp, i->opsize);

    jump_near(cpu, i->opsize, ip);
    sp_set(cpu, sp + (i->opcode == 0xc2 ? i->imm & 0xffff : 0));
    return OP_NEXT;
}

static enum op_result op_loop(struct cpu *cpu, const struct insn *i)
{
    uint64_t n = (cpu->gpr[REG_CX] - 1) & mask_bytes(i->addrsize);
    bool taken = n != 0;

    if (i->opcode == 0xe3) {
        if ((cpu->gpr[REG_CX] & mask_bytes(i->addrsize)) == 0) {
            jump_near(cpu, i->opsize, interp_of(cpu)->next_rip + i->imm);
        }
        return OP_NEXT;
    }
    if (i->opcode != 0xe2) {
        taken = taken && ((cpu->rflags & FL_ZF) != 0) == (i->opcode == 0xe1);
    }
    if (taken) {
        jump_near(cpu, i->opsize, interp_of(cpu)->next_rip + i->imm);
    }
    reg_set(cpu, i, REG_CX, i->addrsize, n);
    return OP_NEXT;
}

/* Far transfers and events may change anything that the loop keeps in mind. */
static enum op_result go(struct cpu *cpu, uint64_t rip)
{
    interp_of(cpu)->next_rip = rip;
    irq_opened(cpu);
    return OP_STOP;
}

static enum op_result op_far_direct(struct cpu *cpu, const struct insn *i)
{
    return go(cpu, i->opcode == 0xea ? far_jump(cpu, i->imm2, i->imm, i->opsize)
                                     : far_call(cpu, i->imm2, i->imm, i->opsize));
}

static enum op_result op_far_indirect(struct cpu *cpu, const struct insn *i)
{
    uint64_t va = insn_linear(cpu, i, i->opsize + 2, false), off = load(cpu, va, i->opsize);
    uint16_t sel = (uint16_t)load(cpu, va + i->opsize, 2);

    return go(cpu, (i->reg & 7) == 5 ? far_jump(cpu, sel, off, i->opsize)
                                     : far_call(cpu, sel, off, i->opsize));
}

static enum op_result op_retf(struct cpu *cpu, const struct insn *i)
{
    return go(cpu, far_return(cpu, i->opsize, i->opcode == 0xca ? i->imm & 0xffff : 0));
}

static enum op_result op_iret(struct cpu *cpu, const struct insn *i)
{
    return go(cpu, event_return(cpu, i->opsize));
}

static enum op_result op_int(struct cpu *cpu, const struct insn *i)
{
    struct interp *it = interp_of(cpu);
    unsigned vector = i->opcode == 0xcc ? EXC_BP : i->opcode == 0xce ? EXC_OF : i->imm & 0xff;

    if (i->opcode == 0xce && (cpu->rflags & FL_OF) == 0) {
        return OP_NEXT;
    }
    if (i->opcode == 0xcc && (cpu->guest_debug & 0x10000) != 0) { /* KVM_GUESTDBG_USE_SW_BP */
        cpu->exception.vector = EXC_BP;
        exit_now(cpu, CPU_EXIT_DEBUG);
    }
    event_enter(cpu, vector, EVENT_INT_N, false, 0, it->next_rip);
    it->next_rip = cpu->rip;
    return OP_STOP;
}

static enum op_result op_int1(struct cpu *cpu, const struct insn *i)
{
    struct interp *it = interp_of(cpu);

    (void)i;
    if (it->db_held != 0) { /* one #DB tells both */
        cpu->dr[6] = (cpu->dr[6] & ~UINT64_C(15)) | it->db_held;
        it->db_held = 0;
    }
    event_enter(cpu, EXC_DB, EVENT_ICEBP, false, 0, it->next_rip);
    it->next_rip = cpu->rip;
    return OP_STOP;
}

/* ---- system calls ---- */

static void flat_code(struct cpu *cpu, uint16_t sel, unsigned cpl, uint32_t size_bits)
{
    cpu->seg[SEG_CS] = (struct seg) { .sel = (uint16_t)((sel & 0xfffc) | cpl),
                                      .limit = UINT32_MAX,
                                      .attr = 11 | SEG_ATTR_S | cpl << SEG_ATTR_DPL_SHIFT |
                                              SEG_ATTR_P | SEG_ATTR_G | size_bits };
}

static void flat_stack(struct cpu *cpu, uint16_t sel, unsigned cpl)
{
    cpu->seg[SEG_SS] = (struct seg) { .sel = (uint16_t)((sel & 0xfffc) | cpl),
                                      .limit = UINT32_MAX,
                                      .attr = 3 | SEG_ATTR_S | cpl << SEG_ATTR_DPL_SHIFT |
                                              SEG_ATTR_P | SEG_ATTR_G | SEG_ATTR_DB };
}

/* SYSCALL and SYSRET trap by the TF that they set, not by the one they found. */
static void trap_by_new_flags(struct cpu *cpu)
{
    interp_of(cpu)->no_trap = true;
    if ((cpu->rflags & FL_TF) != 0) {
        interp_of(cpu)->db_pending |= DR6_BS;
        cpu_look(cpu);
    }
}

static enum op_result op_syscall(struct cpu *cpu, const struct insn *i)
{
    struct interp *it = interp_of(cpu);
    uint16_t sel = (uint16_t)(cpu->star >> 32) & 0xfffc;

    (void)i;
    if ((cpu->efer & EFER_SCE) == 0 || (cpu->mode & MODE_PE) == 0) {
        raise_ud(cpu);
    }
    cpu->gpr[REG_CX] = it->next_rip;
    if ((cpu->mode & MODE_LONG) != 0) {
        cpu->gpr[11] = cpu->rflags & ~(uint64_t)FL_RF;
        it->next_rip = in_64(cpu) ? cpu->lstar : cpu->cstar;
        cpu->rflags = (cpu->rflags & ~(cpu->fmask & UINT32_MAX) & ~(uint64_t)FL_RF) | FL_FIXED;
        flat_code(cpu, sel, 0, SEG_ATTR_L);
    } else {
        cpu->gpr[REG_CX] = (uint32_t)it->next_rip;
        it->next_rip = (uint32_t)cpu->star;
        cpu->rflags &= ~(uint64_t)(FL_IF | FL_VM | FL_RF);
        flat_code(cpu, sel, 0, SEG_ATTR_DB);
    }
    flat_stack(cpu, (uint16_t)(sel + 8), 0);
    cpu->cpl = 0;
    cpu_update_mode(cpu);
    trap_by_new_flags(cpu);
    return OP_STOP;
}

static enum op_result op_sysret(struct cpu *cpu, const struct insn *i)
{
    struct interp *it = interp_of(cpu);
    uint16_t sel = (uint16_t)(cpu->star >> 48);

    if ((cpu->efer & EFER_SCE) == 0 || (cpu->mode & MODE_PE) == 0) {
        raise_ud(cpu);
    }
    if (cpu->cpl != 0) {
        raise_gp(cpu);
    }
    if ((cpu->mode & MODE_LONG) != 0) {
        uint64_t keep = FL_FIXED | FL_RF | FL_VM;

        if (i->opsize == 8) {
            if (!canonical(cpu->gpr[REG_CX])) {
                raise_gp(cpu);
            }
            it->next_rip = cpu->gpr[REG_CX];
            flat_code(cpu, (uint16_t)(sel + 16), 3, SEG_ATTR_L);
        } else {
            it->next_rip = (uint32_t)cpu->gpr[REG_CX];
            flat_code(cpu, sel, 3, SEG_ATTR_DB);
        }
        cpu->rflags = (cpu->gpr[11] & 0x3c7fd7 & ~keep) | FL_FIXED;
    } else {
        it->next_rip = (uint32_t)cpu->gpr[REG_CX];
        cpu->rflags |= FL_IF;
        flat_code(cpu, sel, 3, SEG_ATTR_DB);
    }
    flat_stack(cpu, (uint16_t)(sel + 8), 3);
    cpu->cpl = 3;
    cpu_update_mode(cpu);
    trap_by_new_flags(cpu);
    irq_opened(cpu);
    return OP_STOP;
}

static enum op_result op_sysenter(struct cpu *cpu, const struct insn *i)
{
    struct interp *it = interp_of(cpu);
    bool lm = (cpu->mode & MODE_LONG) != 0;
    uint16_t sel = (uint16_t)cpu->sysenter_cs & 0xfffc;

    (void)i;
    if (lm && !cpuid_is_intel(cpu)) {
        raise_ud(cpu); /* AMD: not in long mode */
    }
    if ((cpu->mode & MODE_PE) == 0 || sel == 0) {
        raise_gp(cpu);
    }
    cpu->rflags &= ~(uint64_t)(FL_VM | FL_IF | FL_RF);
    flat_code(cpu, sel, 0, lm ? SEG_ATTR_L : SEG_ATTR_DB);
    flat_stack(cpu, (uint16_t)(sel + 8), 0);
    cpu->cpl = 0;
    it->next_rip = lm ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
    cpu->gpr[REG_SP] = lm ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
    cpu_update_mode(cpu);
    return OP_STOP;
}

static enum op_result op_sysexit(struct cpu *cpu, const struct insn *i)
{
    struct interp *it = interp_of(cpu);
    uint16_t sel = (uint16_t)cpu->sysenter_cs & 0xfffc;
    bool wide = i->opsize == 8;

    if ((cpu->mode & MODE_LONG) != 0 && !cpuid_is_intel(cpu)) {
        raise_ud(cpu);
    }
    if (cpu->cpl != 0 || (cpu->mode & MODE_PE) == 0 || sel == 0) {
        raise_gp(cpu);
    }
    if (wide && (!canonical(cpu->gpr[REG_CX]) || !canonical(cpu->gpr[REG_DX]))) {
        raise_gp(cpu);
    }
    flat_code(cpu, (uint16_t)(sel + (wide ? 32 : 16)), 3, wide ? SEG_ATTR_L : SEG_ATTR_DB);
    flat_stack(cpu, (uint16_t)(sel + (wide ? 40 : 24)), 3);
    cpu->cpl = 3;
    it->next_rip = wide ? cpu->gpr[REG_DX] : (uint32_t)cpu->gpr[REG_DX];
    cpu->gpr[REG_SP] = wide ? cpu->gpr[REG_CX] : (uint32_t)cpu->gpr[REG_CX];
    cpu_update_mode(cpu);
    return OP_STOP;
}

static enum op_result op_ud(struct cpu *cpu, const struct insn *i)
{
    (void)i;
    raise_ud(cpu);
}

op_fn *ops_flow(const struct insn *i)
{
    if (i->enc != ENC_LEGACY) {
        return NULL;
    }
    if (i->map == MAP_0F) {
        switch (i->opcode) {
        case 0x05:
            return op_syscall;
        case 0x07:
            return op_sysret;
        case 0x0b:
        case 0xb9:
        case 0xff:
            return op_ud;
        case 0x34:
            return op_sysenter;
        case 0x35:
            return op_sysexit;
        case 0x80 ... 0x8f:
            return op_jcc;
        default:
            return NULL;
        }
    }
    if (i->map != MAP_1B) {
        return NULL;
    }
    switch (i->opcode) {
    case 0x70 ... 0x7f:
        return op_jcc;
    case 0x9a:
    case 0xea:
        return op_far_direct;
    case 0xc2:
    case 0xc3:
        return op_ret;
    case 0xca:
    case 0xcb:
        return op_retf;
    case 0xcc ... 0xce:
        return op_int;
    case 0xcf:
        return op_iret;
    case 0xe0 ... 0xe3:
        return op_loop;
    case 0xe8:
        return op_call;
    case 0xe9:
    case 0xeb:
        return op_jmp;
    case 0xf1:
        return op_int1;
    case 0xff:
        switch (i->reg & 7) {
        case 2:
            return op_call_rm;
        case 3:
        case 5:
            return op_far_indirect;
        case 4:
            return op_jmp_rm;
        default:
            return NULL;
        }
    default:
        return NULL;
    }
}
