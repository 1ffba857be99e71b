/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/x86/event.h"

#include "engine/exec/core.h"
#include "engine/x86/seg.h"

/* Pushes below sp on a stack that is not yet the current one. */
struct stack {
    enum tlb_index index;
    struct seg ss; /* its base and limits; unused in long mode */
    uint64_t sp, mask;
};

static void stack_push(struct cpu *cpu, struct stack *st, unsigned size, uint64_t v)
{
    uint64_t sp = (st->sp - size) & st->mask;
    uint64_t va = sp;

    if ((cpu->mode & MODE_LONG) == 0) {
        bool down = (st->ss.attr & 12) == 4;
        uint64_t top = (st->ss.attr & SEG_ATTR_DB) != 0 ? UINT32_MAX : 0xffff;

        if (down ? sp <= st->ss.limit || sp + size - 1 > top : sp + size - 1 > st->ss.limit) {
            raise_err(cpu, EXC_SS,
                      sel_error(cpu, st->ss.sel == cpu->seg[SEG_SS].sel ? 0 : st->ss.sel));
        }
        va = (uint32_t)(st->ss.base + sp);
    } else if (!canonical(va)) {
        raise_err(cpu, EXC_SS, interp_of(cpu)->ext);
    }
    mem_store(cpu, st->index, va, size, v);
    st->sp = sp;
}

static struct stack stack_current(struct cpu *cpu)
{
    return (struct stack) { .index = mem_index(cpu),
                            .ss = cpu->seg[SEG_SS],
                            .sp = cpu->gpr[REG_SP],
                            .mask = mask_bytes(stack_bytes(cpu)) };
}

static void stack_commit(struct cpu *cpu, const struct stack *st)
{
    cpu->gpr[REG_SP] = (cpu->gpr[REG_SP] & ~st->mask) | (st->sp & st->mask);
    if (st->mask == UINT32_MAX) {
        cpu->gpr[REG_SP] = (uint32_t)st->sp;
    }
}

/* RFLAGS as it is saved: faults set RF so that the instruction does not meet its breakpoint twice
 * (SDM 3B, 17.3.1.1); traps and interrupts save what is there. */
static uint64_t saved_flags(const struct cpu *cpu, unsigned vector, enum event_kind kind)
{
    uint64_t fl = cpu->rflags;

    if (kind == EVENT_EXCEPTION && vector != EXC_DB && vector != EXC_BP && vector != EXC_OF &&
        vector != EXC_DF && vector != EXC_MC) {
        fl |= FL_RF;
    }
    return fl;
}

static void enter_real(struct cpu *cpu, unsigned vector, uint64_t rip)
{
    struct stack st = stack_current(cpu);
    uint64_t target;

    if (vector * 4 + 3 > cpu->idt.limit) {
        raise_gp(cpu);
    }
    target = load_system(cpu, cpu->idt.base + vector * 4, 4);
    stack_push(cpu, &st, 2, cpu->rflags);
    stack_push(cpu, &st, 2, cpu->seg[SEG_CS].sel);
    stack_push(cpu, &st, 2, rip);
    stack_commit(cpu, &st);
    cpu->rflags &= ~(uint64_t)(FL_IF | FL_TF | FL_AC | FL_RF);
    seg_load_real(cpu, SEG_CS, (uint16_t)(target >> 16));
    cpu->rip = target & 0xffff;
    cpu_update_mode(cpu);
}

static void check_gate(struct cpu *cpu, unsigned vector, enum event_kind kind, const struct desc *g)
{
    uint32_t error = vector * 8 + 2;

    if (kind == EVENT_INT_N && desc_dpl(g) < cpu->cpl) {
        raise_err(cpu, EXC_GP, error);
    }
    if (!desc_is_present(g)) {
        raise_err(cpu, EXC_NP, error | interp_of(cpu)->ext);
    }
}

/* The handler's code segment; returns the privilege level it runs at. */
static unsigned check_handler(struct cpu *cpu, uint16_t sel, struct desc *cs)
{
    unsigned cpl = cpu->cpl;

    if ((sel & 0xfffc) == 0) {
        raise_err(cpu, EXC_GP, interp_of(cpu)->ext);
    }
    *cs = desc_fetch(cpu, sel, EXC_GP);
    if (!desc_is_code(cs) || desc_dpl(cs) > cpl) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    if ((cpu->mode & MODE_LONG) != 0 && (!desc_is_long_code(cs) || desc_is_big(cs))) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    if (!desc_is_present(cs)) {
        raise_err(cpu, EXC_NP, sel_error(cpu, sel));
    }
    if (!desc_is_conforming(cs)) {
        cpl = desc_dpl(cs);
    }
    if ((cpu->mode & MODE_VM86) != 0 && cpl != 0) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    return cpl;
}

static void enter_flags(struct cpu *cpu, bool interrupt_gate)
{
    cpu->rflags &= ~(uint64_t)(FL_TF | FL_NT | FL_VM | FL_RF);
    if (interrupt_gate) {
        cpu->rflags &= ~(uint64_t)FL_IF;
    }
}

static void enter_long(struct cpu *cpu, unsigned vector, enum event_kind kind, bool has_error,
                       uint32_t error, uint64_t rip)
{
    struct desc gate, cs;
    struct stack st = { .mask = UINT64_MAX };
    uint64_t at = cpu->idt.base + vector * 16, lo, hi, old_sp = cpu->gpr[REG_SP];
    uint64_t fl = saved_flags(cpu, vector, kind);
    uint16_t sel, old_ss = cpu->seg[SEG_SS].sel, old_cs = cpu->seg[SEG_CS].sel;
    unsigned type, cpl, ist;

    if (vector * 16 + 15 > cpu->idt.limit) {
        raise_err(cpu, EXC_GP, (vector * 8 + 2) | interp_of(cpu)->ext);
    }
    lo = load_system(cpu, at, 8);
    hi = load_system(cpu, at + 8, 8);
    gate = (struct desc) { .lo = (uint32_t)lo, .hi = (uint32_t)(lo >> 32) };
    type = desc_type(&gate);
    if (desc_is_segment(&gate) || (type != DESC_INT32 && type != DESC_TRAP32)) {
        raise_err(cpu, EXC_GP, (vector * 8 + 2) | interp_of(cpu)->ext);
    }
    check_gate(cpu, vector, kind, &gate);
    sel = (uint16_t)(lo >> 16);
    cpl = check_handler(cpu, sel, &cs);
    ist = (unsigned)(lo >> 32) & 7;
    if (ist != 0) {
        st.sp = tss_stack64(cpu, 36 + 8 * (ist - 1));
    } else if (cpl != cpu->cpl) {
        st.sp = tss_stack64(cpu, 4 + 8 * cpl);
    } else {
        st.sp = old_sp;
    }
    st.sp &= ~UINT64_C(15);
    st.index = cpl == 3 ? TLB_USER : cpl == cpu->cpl ? mem_index(cpu) : index_system(cpu);
    if (cpl != 3 && (cpu->rflags & FL_AC) != 0) {
        st.index = TLB_KERNEL_AC; /* an explicit access by the rules of SMAP (SDM 3A, 4.6.1) */
    }
    stack_push(cpu, &st, 8, old_ss);
    stack_push(cpu, &st, 8, old_sp);
    stack_push(cpu, &st, 8, fl);
    stack_push(cpu, &st, 8, old_cs);
    stack_push(cpu, &st, 8, rip);
    if (has_error) {
        stack_push(cpu, &st, 8, error);
    }
    rip = (lo & 0xffff) | (lo >> 48) << 16 | (hi & UINT32_MAX) << 32;
    if (!canonical(rip)) {
        raise_err(cpu, EXC_GP, interp_of(cpu)->ext);
    }
    if (cpl != cpu->cpl) {
        cpu->seg[SEG_SS] =
            (struct seg) { .sel = (uint16_t)cpl,
                           .attr = SEG_UNUSABLE | SEG_ATTR_DB | cpl << SEG_ATTR_DPL_SHIFT };
    }
    cpu->gpr[REG_SP] = st.sp;
    enter_flags(cpu, type == DESC_INT32);
    cpu->rip = rip;
    cs_load(cpu, sel, &cs, cpl);
}

static void enter_protected(struct cpu *cpu, unsigned vector, enum event_kind kind, bool has_error,
                            uint32_t error, uint64_t rip)
{
    bool vm86 = (cpu->mode & MODE_VM86) != 0, wide;
    struct desc gate, cs;
    struct stack st;
    uint64_t raw;
    uint64_t fl = saved_flags(cpu, vector, kind);
    uint16_t sel;
    unsigned type, cpl, size;

    if (vector * 8 + 7 > cpu->idt.limit) {
        raise_err(cpu, EXC_GP, (vector * 8 + 2) | interp_of(cpu)->ext);
    }
    raw = load_system(cpu, cpu->idt.base + vector * 8, 8);
    gate = (struct desc) { .lo = (uint32_t)raw, .hi = (uint32_t)(raw >> 32) };
    type = desc_type(&gate);
    if (desc_is_segment(&gate) || (type != DESC_TASK && (type & 7) != 6 && (type & 7) != 7)) {
        raise_err(cpu, EXC_GP, (vector * 8 + 2) | interp_of(cpu)->ext);
    }
    check_gate(cpu, vector, kind, &gate);
    sel = (uint16_t)(gate.lo >> 16);
    if (type == DESC_TASK) {
        cpu->rip = task_switch(cpu, sel, TASK_EVENT, has_error, error, rip);
        return;
    }
    wide = (type & 8) != 0;
    size = wide ? 4 : 2;
    cpl = check_handler(cpu, sel, &cs);
    if (cpl == cpu->cpl && !vm86) {
        st = stack_current(cpu);
    } else {
        uint16_t ss;
        uint32_t sp;

        tss_stack(cpu, cpl, &ss, &sp);
        st = (struct stack) { .index = index_system(cpu), .sp = sp };
        if ((ss & 0xfffc) == 0) {
            raise_err(cpu, EXC_TS, interp_of(cpu)->ext);
        }
        st.ss = seg_stack(cpu, ss, cpl, EXC_TS);
        st.mask = (st.ss.attr & SEG_ATTR_DB) != 0 ? UINT32_MAX : 0xffff;
        if (vm86) {
            stack_push(cpu, &st, size, cpu->seg[SEG_GS].sel);
            stack_push(cpu, &st, size, cpu->seg[SEG_FS].sel);
            stack_push(cpu, &st, size, cpu->seg[SEG_DS].sel);
            stack_push(cpu, &st, size, cpu->seg[SEG_ES].sel);
        }
        stack_push(cpu, &st, size, cpu->seg[SEG_SS].sel);
        stack_push(cpu, &st, size, cpu->gpr[REG_SP]);
    }
    stack_push(cpu, &st, size, fl);
    stack_push(cpu, &st, size, cpu->seg[SEG_CS].sel);
    stack_push(cpu, &st, size, rip);
    if (has_error) {
        stack_push(cpu, &st, size, error);
    }
    rip = (gate.lo & 0xffff) | (wide ? gate.hi & 0xffff0000 : 0);
    if (rip > seg_of(sel, &cs).limit) {
        raise_err(cpu, EXC_GP, interp_of(cpu)->ext);
    }
    if (vm86) {
        static const uint8_t data[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };

        for (unsigned i = 0; i < sizeof(data); i++) {
            cpu->seg[data[i]] = (struct seg) { .attr = SEG_UNUSABLE };
        }
    }
    cpu->seg[SEG_SS] = st.ss;
    stack_commit(cpu, &st);
    enter_flags(cpu, type == DESC_INT32 || type == DESC_INT16);
    cpu->rip = rip;
    cs_load(cpu, sel, &cs, cpl);
}

void event_enter(struct cpu *cpu, unsigned vector, enum event_kind kind, bool has_error,
                 uint32_t error, uint64_t return_rip)
{
    interp_of(cpu)->no_trap = true;
    if ((cpu->mode & MODE_PE) == 0) {
        enter_real(cpu, vector, return_rip);
    } else if ((cpu->mode & MODE_LONG) != 0) {
        enter_long(cpu, vector, kind, has_error, error, return_rip);
    } else {
        if ((cpu->mode & MODE_VM86) != 0 && kind == EVENT_INT_N && vector != EXC_BP &&
            vector != EXC_OF && iopl(cpu) < 3) {
            raise_gp(cpu);
        }
        enter_protected(cpu, vector, kind, has_error, error, return_rip);
    }
}

static bool contributory(unsigned vector)
{
    return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

enum cpu_exit event_deliver(struct cpu *cpu, unsigned vector, enum event_kind kind, bool has_error,
                            uint32_t error)
{
    struct interp *it = interp_of(cpu);
    jmp_buf *outer = it->env, env;
    /* Kept over longjmp. */
    volatile unsigned v = vector;
    volatile enum event_kind k = kind;
    volatile bool he = has_error;
    volatile uint32_t e = error;
    volatile enum cpu_exit exit = CPU_EXIT_NONE;

    it->env = &env;
    cpu->halted = false; /* whatever is delivered ends HLT */
    for (;;) {
        int why = _setjmp(env);
        unsigned next;

        if (why == 0) {
            it->ext = k != EVENT_INT_N;
            event_enter(cpu, v, k, he, e, cpu->rip);
            break;
        }
        if (why == LEAVE_EXIT) {
            exit = CPU_EXIT_INTERNAL_ERROR;
            break;
        }
        next = cpu->fault.vector;
        cpu->fault.pending = false;
        if (next == EXC_PF) {
            cpu->cr2 = cpu->fault.cr2;
        }
        if (k == EVENT_EXCEPTION && v == EXC_DF) {
            exit = CPU_EXIT_SHUTDOWN;
            break;
        }
        if (k == EVENT_EXCEPTION && ((contributory(v) && contributory(next)) ||
                                     (v == EXC_PF && (contributory(next) || next == EXC_PF)))) {
            v = EXC_DF;
            he = true;
            e = 0;
        } else {
            v = next;
            he = cpu->fault.has_error;
            e = cpu->fault.error;
        }
        k = EVENT_EXCEPTION;
        if ((cpu->mode & MODE_PE) == 0) {
            he = false;
        }
    }
    it->ext = 0;
    it->env = outer;
    it->replay_n = it->replay_at = 0;
    it->waiting = false;
    return exit;
}

/* ---- IRET ---- */

static uint64_t flags_mask(const struct cpu *cpu, unsigned opsize)
{
    uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID | FL_RF;

    if (cpu->cpl == 0) {
        mask |= FL_IOPL | FL_VIF | FL_VIP;
    }
    if (cpu->cpl <= iopl(cpu)) {
        mask |= FL_IF;
    }
    return opsize == 2 ? mask & 0xffff : mask;
}

static uint64_t return_real(struct cpu *cpu, unsigned opsize)
{
    uint64_t sp = cpu->gpr[REG_SP], mask, ip, cs, fl;

    if ((cpu->mode & MODE_VM86) != 0 && iopl(cpu) < 3) {
        raise_gp(cpu);
    }
    ip = pop_at(cpu, &sp, opsize);
    cs = pop_at(cpu, &sp, opsize);
    fl = pop_at(cpu, &sp, opsize);
    if (ip > 0xffff) {
        raise_gp(cpu);
    }
    mask = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_NT | FL_AC | FL_ID | FL_RF;
    if ((cpu->mode & MODE_VM86) == 0) {
        mask |= FL_IOPL;
    }
    if (opsize == 2) {
        mask &= 0xffff;
    }
    sp_set(cpu, sp);
    cpu->rflags = (cpu->rflags & ~mask) | (fl & mask) | FL_FIXED;
    seg_load_real(cpu, SEG_CS, (uint16_t)cs);
    cpu_update_mode(cpu);
    return ip;
}

static uint64_t return_to_vm86(struct cpu *cpu, uint64_t sp, uint64_t ip, uint64_t cs, uint64_t fl)
{
    static const uint8_t order[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    uint16_t sel[4];
    uint64_t new_sp, new_ss;

    new_sp = pop_at(cpu, &sp, 4);
    new_ss = pop_at(cpu, &sp, 4);
    for (unsigned i = 0; i < 4; i++) {
        sel[i] = (uint16_t)pop_at(cpu, &sp, 4);
    }
    if ((ip & UINT32_MAX) > 0xffff) {
        raise_gp(cpu);
    }
    cpu->rflags = (fl & (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM |
                         FL_AC | FL_VIF | FL_VIP | FL_ID)) |
                  FL_FIXED;
    cpu->cpl = 3;
    for (unsigned i = 0; i < 4; i++) {
        seg_load_real(cpu, order[i], sel[i]);
    }
    seg_load_real(cpu, SEG_CS, (uint16_t)cs);
    seg_load_real(cpu, SEG_SS, (uint16_t)new_ss);
    cpu->gpr[REG_SP] = (uint32_t)new_sp;
    cpu_update_mode(cpu);
    return ip & 0xffff;
}

uint64_t event_return(struct cpu *cpu, unsigned opsize)
{
    bool lm = (cpu->mode & MODE_LONG) != 0;
    uint64_t sp = cpu->gpr[REG_SP], ip, fl, mask, new_sp = 0;
    uint16_t sel, ss = 0;
    struct desc cs;
    struct seg new_ss = { 0 };
    unsigned rpl;
    bool outer;

    cpu->nmi_masked = false;
    if (!in_protected(cpu)) {
        return return_real(cpu, opsize);
    }
    if ((cpu->rflags & FL_NT) != 0) {
        uint16_t back;

        if (lm) {
            raise_gp(cpu);
        }
        back = (uint16_t)load_system(cpu, cpu->tr.base, 2);
        return task_switch(cpu, back, TASK_IRET, false, 0, interp_of(cpu)->next_rip);
    }
    ip = pop_at(cpu, &sp, opsize);
    sel = (uint16_t)pop_at(cpu, &sp, opsize);
    fl = pop_at(cpu, &sp, opsize);
    if (opsize == 4 && !lm && (fl & FL_VM) != 0 && cpu->cpl == 0) {
        return return_to_vm86(cpu, sp, ip, sel, fl);
    }
    if ((sel & 0xfffc) == 0) {
        raise_gp(cpu);
    }
    cs = desc_fetch(cpu, sel, EXC_GP);
    rpl = sel & 3;
    if (!desc_is_code(&cs) || rpl < cpu->cpl ||
        (desc_is_conforming(&cs) ? desc_dpl(&cs) > rpl : desc_dpl(&cs) != rpl) ||
        (lm && desc_is_long_code(&cs) && desc_is_big(&cs))) {
        raise_err(cpu, EXC_GP, sel & 0xfffc);
    }
    if (!desc_is_present(&cs)) {
        raise_err(cpu, EXC_NP, sel & 0xfffc);
    }
    outer = rpl > cpu->cpl || in_64(cpu);
    if (outer) {
        new_sp = pop_at(cpu, &sp, opsize);
        ss = (uint16_t)pop_at(cpu, &sp, opsize);
        if ((ss & 0xfffc) == 0) {
            if (!lm || !desc_is_long_code(&cs) || rpl == 3 || (ss & 3) != rpl) {
                raise_gp(cpu);
            }
            new_ss =
                (struct seg) { .sel = ss,
                               .attr = SEG_UNUSABLE | SEG_ATTR_DB | rpl << SEG_ATTR_DPL_SHIFT };
        } else {
            new_ss = seg_stack(cpu, ss, rpl, EXC_GP);
        }
    }
    code_check_ip(cpu, &cs, ip);
    mask = flags_mask(cpu, opsize);
    if (opsize == 8 || opsize == 4) {
        fl &= ~(uint64_t)FL_VM;
    }
    {
        bool lower = rpl > cpu->cpl;

        if (outer) {
            uint64_t sp_mask = lm && desc_is_long_code(&cs)
                                   ? UINT64_MAX
                                   : ((new_ss.attr & SEG_ATTR_DB) != 0 ? UINT32_MAX : 0xffff);

            cpu->seg[SEG_SS] = new_ss;
            cpu->gpr[REG_SP] = sp_mask == UINT64_MAX || sp_mask == UINT32_MAX
                                   ? new_sp & sp_mask
                                   : (cpu->gpr[REG_SP] & ~sp_mask) | (new_sp & sp_mask);
        } else {
            sp_set(cpu, sp);
        }
        cpu->rflags = (cpu->rflags & ~mask) | (fl & mask) | FL_FIXED;
        cs_load(cpu, sel, &cs, rpl);
        if (lower) {
            seg_drop_privileged(cpu);
        }
    }
    if ((cpu->rflags & (FL_RF | FL_TF)) != 0) {
        cpu_look(cpu);
    }
    return ip;
}
