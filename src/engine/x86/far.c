/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Far jumps, calls and returns (SDM 2, JMP, CALL, RET; SDM 3A, 5.8). */
#include "engine/exec/core.h"
#include "engine/x86/event.h"
#include "engine/x86/seg.h"

void code_check_ip(struct cpu *cpu, const struct desc *d, uint64_t ip)
{
    if ((cpu->mode & MODE_LONG) != 0 && desc_is_long_code(d)) {
        if (!canonical(ip)) {
            raise_gp(cpu);
        }
    } else if (ip > seg_of(0, d).limit) {
        raise_gp(cpu);
    }
}

void code_check_transfer(struct cpu *cpu, uint16_t sel, const struct desc *d)
{
    bool ok = desc_is_conforming(d) ? desc_dpl(d) <= cpu->cpl
                                    : (sel & 3u) <= cpu->cpl && desc_dpl(d) == cpu->cpl;

    if (!ok || ((cpu->mode & MODE_LONG) != 0 && desc_is_long_code(d) && desc_is_big(d))) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    if (!desc_is_present(d)) {
        raise_err(cpu, EXC_NP, sel_error(cpu, sel));
    }
}

/* A call gate: its target and, in *ret_words, how many parameters move to an inner stack. */
struct gate {
    uint16_t sel;
    uint64_t offset;
    unsigned size; /* of pushed values */
    unsigned words;
};

static struct gate gate_read(struct cpu *cpu, uint16_t sel, const struct desc *d)
{
    bool lm = (cpu->mode & MODE_LONG) != 0, wide = desc_type(d) == DESC_CALL32;
    struct gate g = { .sel = (uint16_t)(d->lo >> 16),
                      .offset = (d->lo & 0xffff) | (wide ? d->hi & 0xffff0000 : 0),
                      .size = wide ? 4 : 2,
                      .words = d->hi & 31 };

    if (desc_dpl(d) < cpu->cpl || desc_dpl(d) < (sel & 3u) || (lm && !wide)) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    if (!desc_is_present(d)) {
        raise_err(cpu, EXC_NP, sel_error(cpu, sel));
    }
    if (lm) {
        uint64_t high;

        if ((sel | 15u) > ((sel & 4) != 0 ? cpu->ldt.limit : cpu->gdt.limit)) {
            raise_err(cpu, EXC_GP, sel_error(cpu, sel));
        }
        high = load_system(cpu, d->at + 8, 8);
        if ((high >> 32 & 0x1f00) != 0) {
            raise_err(cpu, EXC_GP, sel_error(cpu, sel));
        }
        g.offset |= high << 32;
        g.size = 8;
        g.words = 0;
    }
    return g;
}

static struct desc gate_target(struct cpu *cpu, const struct gate *g)
{
    struct desc cs;

    if ((g->sel & 0xfffc) == 0) {
        raise_gp(cpu);
    }
    cs = desc_fetch(cpu, g->sel, EXC_GP);
    if (!desc_is_code(&cs) || desc_dpl(&cs) > cpu->cpl ||
        ((cpu->mode & MODE_LONG) != 0 && (!desc_is_long_code(&cs) || desc_is_big(&cs)))) {
        raise_err(cpu, EXC_GP, sel_error(cpu, g->sel));
    }
    if (!desc_is_present(&cs)) {
        raise_err(cpu, EXC_NP, sel_error(cpu, g->sel));
    }
    return cs;
}

/* A selector that names a task gate or a TSS. */
static uint64_t to_task(struct cpu *cpu, uint16_t sel, const struct desc *d, enum task_reason why)
{
    if ((cpu->mode & MODE_LONG) != 0 || desc_dpl(d) < cpu->cpl || desc_dpl(d) < (sel & 3u)) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    if (desc_type(d) == DESC_TASK) {
        if (!desc_is_present(d)) {
            raise_err(cpu, EXC_NP, sel_error(cpu, sel));
        }
        sel = (uint16_t)(d->lo >> 16);
    }
    return task_switch(cpu, sel, why, false, 0, interp_of(cpu)->next_rip);
}

static bool is_task(const struct desc *d)
{
    unsigned t = desc_type(d);

    return t == DESC_TASK || t == DESC_TSS16 || t == DESC_TSS32 || t == DESC_TSS16_BUSY ||
           t == DESC_TSS32_BUSY;
}

uint64_t far_jump(struct cpu *cpu, uint16_t sel, uint64_t offset, unsigned opsize)
{
    struct desc d;

    if (!in_protected(cpu)) {
        if (offset > cpu->seg[SEG_CS].limit) {
            raise_gp(cpu);
        }
        seg_load_real(cpu, SEG_CS, sel);
        cpu_update_mode(cpu);
        return offset;
    }
    (void)opsize;
    if ((sel & 0xfffc) == 0) {
        raise_gp(cpu);
    }
    d = desc_fetch(cpu, sel, EXC_GP);
    if (desc_is_segment(&d)) {
        if (!desc_is_code(&d)) {
            raise_err(cpu, EXC_GP, sel_error(cpu, sel));
        }
        code_check_transfer(cpu, sel, &d);
        code_check_ip(cpu, &d, offset);
        cs_load(cpu, sel, &d, cpu->cpl);
        return offset;
    }
    if (desc_type(&d) == DESC_CALL32 || desc_type(&d) == DESC_CALL16) {
        struct gate g = gate_read(cpu, sel, &d);
        struct desc cs = gate_target(cpu, &g);

        if (!desc_is_conforming(&cs) && desc_dpl(&cs) != cpu->cpl) {
            raise_err(cpu, EXC_GP, sel_error(cpu, g.sel));
        }
        code_check_ip(cpu, &cs, g.offset);
        cs_load(cpu, g.sel, &cs, cpu->cpl);
        return g.offset;
    }
    if (is_task(&d)) {
        return to_task(cpu, sel, &d, TASK_JMP);
    }
    raise_err(cpu, EXC_GP, sel_error(cpu, sel));
}

static void store_at(struct cpu *cpu, const struct seg *ss, uint64_t *sp, unsigned size, uint64_t v)
{
    bool lm = (cpu->mode & MODE_LONG) != 0;
    uint64_t mask = lm ? UINT64_MAX : (ss->attr & SEG_ATTR_DB) != 0 ? UINT32_MAX : 0xffff;

    *sp = (*sp - size) & mask;
    if (!lm && *sp + size - 1 > ss->limit && (ss->attr & 12) != 4) {
        raise_err(cpu, EXC_SS, sel_error(cpu, ss->sel));
    }
    store_system(cpu, lm ? *sp : ss->base + *sp, size, v);
}

/* Through a call gate to a more privileged level (SDM 3A, 5.8.5). */
static uint64_t call_inner(struct cpu *cpu, const struct gate *g, struct desc *cs)
{
    unsigned cpl = desc_dpl(cs);
    uint64_t sp, old_sp = cpu->gpr[REG_SP] & mask_bytes(stack_bytes(cpu)), param = old_sp;
    struct seg ss;
    uint64_t words[32];

    if ((cpu->mode & MODE_LONG) != 0) {
        sp = tss_stack64(cpu, 4 + 8 * cpl);
        ss = (struct seg) { .sel = (uint16_t)cpl,
                            .attr = SEG_UNUSABLE | SEG_ATTR_DB | cpl << SEG_ATTR_DPL_SHIFT };
    } else {
        uint16_t sel;
        uint32_t sp32;

        tss_stack(cpu, cpl, &sel, &sp32);
        sp = sp32;
        ss = seg_stack(cpu, sel, cpl, EXC_TS);
    }
    for (unsigned n = 0; n < g->words; n++) {
        words[n] = pop_at(cpu, &param, g->size);
    }
    code_check_ip(cpu, cs, g->offset);
    store_at(cpu, &ss, &sp, g->size, cpu->seg[SEG_SS].sel);
    store_at(cpu, &ss, &sp, g->size, old_sp);
    for (unsigned n = g->words; n > 0; n--) {
        store_at(cpu, &ss, &sp, g->size, words[n - 1]);
    }
    store_at(cpu, &ss, &sp, g->size, cpu->seg[SEG_CS].sel);
    store_at(cpu, &ss, &sp, g->size, interp_of(cpu)->next_rip);
    cpu->seg[SEG_SS] = ss;
    cs_load(cpu, g->sel, cs, cpl);
    sp_set(cpu, sp);
    return g->offset;
}

uint64_t far_call(struct cpu *cpu, uint16_t sel, uint64_t offset, unsigned opsize)
{
    uint64_t sp = cpu->gpr[REG_SP], next = interp_of(cpu)->next_rip;
    struct desc d;

    if (!in_protected(cpu)) {
        if (offset > cpu->seg[SEG_CS].limit) {
            raise_gp(cpu);
        }
        push_at(cpu, &sp, opsize, cpu->seg[SEG_CS].sel);
        push_at(cpu, &sp, opsize, next);
        sp_set(cpu, sp);
        seg_load_real(cpu, SEG_CS, sel);
        cpu_update_mode(cpu);
        return offset;
    }
    if ((sel & 0xfffc) == 0) {
        raise_gp(cpu);
    }
    d = desc_fetch(cpu, sel, EXC_GP);
    if (desc_is_segment(&d)) {
        if (!desc_is_code(&d)) {
            raise_err(cpu, EXC_GP, sel_error(cpu, sel));
        }
        code_check_transfer(cpu, sel, &d);
        push_at(cpu, &sp, opsize, cpu->seg[SEG_CS].sel);
        push_at(cpu, &sp, opsize, next);
        code_check_ip(cpu, &d, offset);
        sp_set(cpu, sp);
        cs_load(cpu, sel, &d, cpu->cpl);
        return offset;
    }
    if (desc_type(&d) == DESC_CALL32 || desc_type(&d) == DESC_CALL16) {
        struct gate g = gate_read(cpu, sel, &d);
        struct desc cs = gate_target(cpu, &g);

        if (!desc_is_conforming(&cs) && desc_dpl(&cs) < cpu->cpl) {
            return call_inner(cpu, &g, &cs);
        }
        push_at(cpu, &sp, g.size, cpu->seg[SEG_CS].sel);
        push_at(cpu, &sp, g.size, next);
        code_check_ip(cpu, &cs, g.offset);
        sp_set(cpu, sp);
        cs_load(cpu, g.sel, &cs, cpu->cpl);
        return g.offset;
    }
    if (is_task(&d)) {
        return to_task(cpu, sel, &d, TASK_CALL);
    }
    raise_err(cpu, EXC_GP, sel_error(cpu, sel));
}

uint64_t far_return(struct cpu *cpu, unsigned opsize, unsigned release)
{
    uint64_t sp = cpu->gpr[REG_SP], ip, new_sp;
    uint16_t sel, ss_sel;
    struct seg ss;
    struct desc cs;
    unsigned rpl;

    ip = pop_at(cpu, &sp, opsize);
    sel = (uint16_t)pop_at(cpu, &sp, opsize);
    if (!in_protected(cpu)) {
        if (ip > cpu->seg[SEG_CS].limit) {
            raise_gp(cpu);
        }
        sp_set(cpu, sp + release);
        seg_load_real(cpu, SEG_CS, sel);
        cpu_update_mode(cpu);
        return ip;
    }
    if ((sel & 0xfffc) == 0) {
        raise_gp(cpu);
    }
    cs = desc_fetch(cpu, sel, EXC_GP);
    rpl = sel & 3;
    if (!desc_is_code(&cs) || rpl < cpu->cpl ||
        (desc_is_conforming(&cs) ? desc_dpl(&cs) > rpl : desc_dpl(&cs) != rpl) ||
        ((cpu->mode & MODE_LONG) != 0 && desc_is_long_code(&cs) && desc_is_big(&cs))) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    if (!desc_is_present(&cs)) {
        raise_err(cpu, EXC_NP, sel_error(cpu, sel));
    }
    if (rpl == cpu->cpl) {
        code_check_ip(cpu, &cs, ip);
        sp_set(cpu, sp + release);
        cs_load(cpu, sel, &cs, rpl);
        return ip;
    }
    sp += release;
    new_sp = pop_at(cpu, &sp, opsize);
    ss_sel = (uint16_t)pop_at(cpu, &sp, opsize);
    if ((ss_sel & 0xfffc) == 0) {
        if ((cpu->mode & MODE_LONG) == 0 || !desc_is_long_code(&cs) || rpl == 3) {
            raise_gp(cpu);
        }
        ss = (struct seg) { .sel = ss_sel,
                            .attr = SEG_UNUSABLE | SEG_ATTR_DB | rpl << SEG_ATTR_DPL_SHIFT };
    } else {
        ss = seg_stack(cpu, ss_sel, rpl, EXC_GP);
    }
    code_check_ip(cpu, &cs, ip);
    cpu->seg[SEG_SS] = ss;
    cs_load(cpu, sel, &cs, rpl);
    if (stack_bytes(cpu) > 2) {
        cpu->gpr[REG_SP] = 0;
    }
    sp_set(cpu, new_sp + release);
    seg_drop_privileged(cpu);
    return ip;
}
