/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* task.c - hardware task switching (SDM 3A, chapter 7): 16- and 32-bit TSS. */
#include "engine/exec/core.h"
#include "engine/mmu/walk.h"
#include "engine/x86/control.h"
#include "engine/x86/event.h"
#include "engine/x86/seg.h"

enum {
    TSS32_CR3 = 28,
    TSS32_EIP = 32,
    TSS32_EFLAGS = 36,
    TSS32_REGS = 40,
    TSS32_SEGS = 72,
    TSS32_LDT = 96,
    TSS32_TRAP = 100,
    TSS32_LIMIT = 103,
    TSS16_IP = 14,
    TSS16_FLAGS = 16,
    TSS16_REGS = 18,
    TSS16_SEGS = 34,
    TSS16_LDT = 42,
    TSS16_LIMIT = 43,
};

/* The dynamic part of a TSS. */
struct task {
    uint32_t eip, eflags, gpr[8], cr3;
    uint16_t seg[SEG_COUNT], ldt;
    bool trap;
};

static void save(struct cpu *cpu, const struct seg *tr, uint64_t rip, uint64_t flags)
{
    uint64_t at = tr->base;

    if ((tr->attr & 8) != 0) {
        store_system(cpu, at + TSS32_EIP, 4, rip);
        store_system(cpu, at + TSS32_EFLAGS, 4, flags);
        for (unsigned r = 0; r < 8; r++) {
            store_system(cpu, at + TSS32_REGS + 4 * r, 4, cpu->gpr[r]);
        }
        for (unsigned s = 0; s < SEG_COUNT; s++) {
            store_system(cpu, at + TSS32_SEGS + 4 * s, 2, cpu->seg[s].sel);
        }
    } else {
        store_system(cpu, at + TSS16_IP, 2, rip);
        store_system(cpu, at + TSS16_FLAGS, 2, flags);
        for (unsigned r = 0; r < 8; r++) {
            store_system(cpu, at + TSS16_REGS + 2 * r, 2, cpu->gpr[r]);
        }
        for (unsigned s = 0; s < 4; s++) {
            store_system(cpu, at + TSS16_SEGS + 2 * s, 2, cpu->seg[s].sel);
        }
    }
}

static struct task read_task(struct cpu *cpu, const struct seg *tr)
{
    struct task t = { 0 };
    uint64_t at = tr->base;

    if ((tr->attr & 8) != 0) {
        t.cr3 = (uint32_t)load_system(cpu, at + TSS32_CR3, 4);
        t.eip = (uint32_t)load_system(cpu, at + TSS32_EIP, 4);
        t.eflags = (uint32_t)load_system(cpu, at + TSS32_EFLAGS, 4);
        for (unsigned r = 0; r < 8; r++) {
            t.gpr[r] = (uint32_t)load_system(cpu, at + TSS32_REGS + 4 * r, 4);
        }
        for (unsigned s = 0; s < SEG_COUNT; s++) {
            t.seg[s] = (uint16_t)load_system(cpu, at + TSS32_SEGS + 4 * s, 2);
        }
        t.ldt = (uint16_t)load_system(cpu, at + TSS32_LDT, 2);
        t.trap = (load_system(cpu, at + TSS32_TRAP, 2) & 1) != 0;
    } else {
        t.eip = (uint16_t)load_system(cpu, at + TSS16_IP, 2);
        t.eflags = (uint16_t)load_system(cpu, at + TSS16_FLAGS, 2);
        for (unsigned r = 0; r < 8; r++) {
            t.gpr[r] = (uint32_t)load_system(cpu, at + TSS16_REGS + 2 * r, 2) | 0xffff0000;
        }
        for (unsigned s = 0; s < 4; s++) {
            t.seg[s] = (uint16_t)load_system(cpu, at + TSS16_SEGS + 2 * s, 2);
        }
        t.ldt = (uint16_t)load_system(cpu, at + TSS16_LDT, 2);
    }
    return t;
}

static void set_busy(struct cpu *cpu, uint16_t sel, bool busy)
{
    struct desc d;

    if (desc_try(cpu, sel, &d)) {
        d.hi = busy ? d.hi | 2 << 8 : d.hi & ~(uint32_t)(2 << 8);
        store_system(cpu, d.at + 4, 4, d.hi);
    }
}

/* Faults from here on belong to the new task: its state is in place, selectors without hidden
 * parts. */
static void load_segments(struct cpu *cpu, const struct task *t)
{
    static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    struct desc d;
    unsigned rpl = t->seg[SEG_CS] & 3;

    if ((t->ldt & 0xfffc) != 0) {
        if ((t->ldt & 4) != 0 || !desc_try(cpu, t->ldt, &d) || desc_is_segment(&d) ||
            desc_type(&d) != DESC_LDT || !desc_is_present(&d)) {
            raise_err(cpu, EXC_TS, sel_error(cpu, t->ldt));
        }
        cpu->ldt = seg_of(t->ldt, &d);
    }
    if ((cpu->rflags & FL_VM) != 0) {
        cpu->cpl = 3;
        for (unsigned s = 0; s < SEG_COUNT; s++) {
            seg_load_real(cpu, s, t->seg[s]);
        }
        cpu_update_mode(cpu);
        return;
    }
    if ((t->seg[SEG_CS] & 0xfffc) == 0) {
        raise_err(cpu, EXC_TS, sel_error(cpu, t->seg[SEG_CS]));
    }
    d = desc_fetch(cpu, t->seg[SEG_CS], EXC_TS);
    if (!desc_is_code(&d) || (desc_is_conforming(&d) ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl)) {
        raise_err(cpu, EXC_TS, sel_error(cpu, t->seg[SEG_CS]));
    }
    if (!desc_is_present(&d)) {
        raise_err(cpu, EXC_NP, sel_error(cpu, t->seg[SEG_CS]));
    }
    cs_load(cpu, t->seg[SEG_CS], &d, rpl);
    cpu->seg[SEG_SS] = seg_stack(cpu, t->seg[SEG_SS], rpl, EXC_TS);
    for (unsigned n = 0; n < sizeof(data); n++) {
        uint16_t sel = t->seg[data[n]];

        if ((sel & 0xfffc) == 0) {
            continue;
        }
        d = desc_fetch(cpu, sel, EXC_TS);
        if (!desc_is_segment(&d) || (d.hi & (10 << 8)) == 8 << 8 ||
            (!(desc_is_code(&d) && desc_is_conforming(&d)) &&
             ((sel & 3u) > desc_dpl(&d) || cpu->cpl > desc_dpl(&d)))) {
            raise_err(cpu, EXC_TS, sel_error(cpu, sel));
        }
        if (!desc_is_present(&d)) {
            raise_err(cpu, EXC_NP, sel_error(cpu, sel));
        }
        desc_set_accessed(cpu, &d);
        cpu->seg[data[n]] = seg_of(sel, &d);
    }
    cpu_update_mode(cpu);
}

static void check_target(struct cpu *cpu, uint16_t sel, const struct desc *d,
                         enum task_reason reason)
{
    unsigned want = reason == TASK_IRET ? DESC_TSS32_BUSY : DESC_TSS32;
    unsigned vector = reason == TASK_IRET ? EXC_TS : EXC_GP;
    unsigned type = desc_type(d);

    if ((sel & 4) != 0 || desc_is_segment(d) || (type | 8) != want) {
        raise_err(cpu, vector, sel_error(cpu, sel));
    }
    if (!desc_is_present(d)) {
        raise_err(cpu, EXC_NP, sel_error(cpu, sel));
    }
    if (seg_of(sel, d).limit < ((type & 8) != 0 ? TSS32_LIMIT : TSS16_LIMIT)) {
        raise_err(cpu, EXC_TS, sel_error(cpu, sel));
    }
}

uint64_t task_switch(struct cpu *cpu, uint16_t sel, enum task_reason reason, bool has_error,
                     uint32_t error, uint64_t rip)
{
    bool nested = reason == TASK_CALL || reason == TASK_EVENT, wide;
    uint64_t flags = cpu->rflags;
    struct seg old = cpu->tr, new;
    struct desc d = desc_fetch(cpu, sel, reason == TASK_IRET ? EXC_TS : EXC_GP);
    struct task t;

    check_target(cpu, sel, &d, reason);
    new = seg_of(sel, &d);
    wide = (new.attr & 8) != 0;
    t = read_task(cpu, &new);
    if (reason == TASK_JMP || reason == TASK_IRET) {
        set_busy(cpu, old.sel, false);
    }
    if (reason == TASK_IRET) {
        flags &= ~(uint64_t)FL_NT;
    }
    save(cpu, &old, rip, flags);
    if (nested) {
        store_system(cpu, new.base, 2, old.sel);
    }
    if (reason != TASK_IRET) {
        set_busy(cpu, sel, true);
    }
    new.attr |= 2;
    cpu->tr = new;
    cpu->cr0 |= CR0_TS;
    if (wide && (cpu->cr0 & CR0_PG) != 0) {
        if ((cpu->cr4 & CR4_PAE) != 0 && !walk_load_pdptes(cpu, t.cr3)) {
            raise_err(cpu, EXC_TS, sel_error(cpu, sel));
        }
        cpu->cr3 = t.cr3;
        tlb_flush(cpu, true);
    }
    cpu->rflags = (t.eflags & 0x3f7fd5) | FL_FIXED | (nested ? FL_NT : 0);
    for (unsigned r = 0; r < 8; r++) {
        cpu->gpr[r] = t.gpr[r];
    }
    cpu->dr[7] &= ~UINT64_C(0x155); /* local breakpoints end with the task */
    cpu->rip = t.eip;
    cpu->ldt = (struct seg) { .sel = t.ldt, .attr = SEG_UNUSABLE | DESC_LDT };
    for (unsigned s = 0; s < SEG_COUNT; s++) {
        if (s != SEG_CS || (cpu->rflags & FL_VM) == 0) {
            cpu->seg[s].sel = t.seg[s];
        }
        if (s != SEG_CS && s != SEG_SS) {
            cpu->seg[s] = (struct seg) { .sel = t.seg[s], .attr = SEG_UNUSABLE };
        }
    }
    cpu_update_mode(cpu);
    load_segments(cpu, &t);
    if (t.trap) {
        interp_of(cpu)->db_pending |= DR6_BT;
        cpu_look(cpu);
    }
    if (has_error) {
        uint64_t sp = cpu->gpr[REG_SP];

        push_at(cpu, &sp, wide ? 4 : 2, error);
        sp_set(cpu, sp);
    }
    if (t.eip > cpu->seg[SEG_CS].limit) {
        raise_gp(cpu);
    }
    return t.eip;
}
