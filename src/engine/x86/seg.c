/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/x86/seg.h"

#include "engine/exec/core.h"

uint64_t seg_linear_slow(struct cpu *cpu, unsigned seg, uint64_t off, unsigned size, bool write,
                         bool stack)
{
    const struct seg *s = &cpu->seg[seg];
    unsigned vector = stack ? EXC_SS : EXC_GP;
    uint64_t last = off + size - 1;

    if ((s->attr & SEG_UNUSABLE) != 0) {
        raise_err(cpu, vector, 0);
    }
    if (in_protected(cpu)) {
        bool code = (s->attr & 8) != 0;

        if (write ? code || (s->attr & 2) == 0 : code && (s->attr & 2) == 0) {
            raise_err(cpu, EXC_GP, 0);
        }
    }
    if ((s->attr & 12) == 4 && (s->attr & SEG_ATTR_S) != 0) { /* expand-down data */
        uint64_t top = (s->attr & SEG_ATTR_DB) != 0 ? UINT32_MAX : 0xffff;

        if (off <= s->limit || last > top) {
            raise_err(cpu, vector, 0);
        }
    } else if (last > s->limit || off > s->limit) {
        raise_err(cpu, vector, 0);
    }
    return (uint32_t)(s->base + off);
}

void check_cs_limit(struct cpu *cpu, uint64_t ip)
{
    if (ip > cpu->seg[SEG_CS].limit) {
        raise_gp(cpu);
    }
}

uint32_t sel_error(struct cpu *cpu, uint16_t sel)
{
    return (sel & 0xfffc) | interp_of(cpu)->ext;
}

bool desc_try(struct cpu *cpu, uint16_t sel, struct desc *ret)
{
    uint64_t base = cpu->gdt.base;
    uint32_t limit = cpu->gdt.limit;
    uint64_t raw;

    if ((sel & 4) != 0) {
        if ((cpu->ldt.attr & SEG_UNUSABLE) != 0) {
            return false;
        }
        base = cpu->ldt.base;
        limit = cpu->ldt.limit;
    }
    if ((sel | 7u) > limit) {
        return false;
    }
    ret->at = base + (sel & 0xfff8);
    raw = load_system(cpu, ret->at, 8);
    ret->lo = (uint32_t)raw;
    ret->hi = (uint32_t)(raw >> 32);
    return true;
}

struct desc desc_fetch(struct cpu *cpu, uint16_t sel, unsigned vector)
{
    struct desc d;

    if (!desc_try(cpu, sel, &d)) {
        raise_err(cpu, vector, sel_error(cpu, sel));
    }
    return d;
}

struct seg seg_of(uint16_t sel, const struct desc *d)
{
    struct seg s = { .sel = sel };

    s.base = (d->lo >> 16) | (d->hi & 0xff) << 16 | (d->hi & 0xff000000);
    s.limit = (d->lo & 0xffff) | (d->hi & 0xf0000);
    s.attr = (d->hi >> 8) & 0xf0ff;
    if ((s.attr & SEG_ATTR_G) != 0) {
        s.limit = s.limit << 12 | 0xfff;
    }
    return s;
}

void desc_set_accessed(struct cpu *cpu, struct desc *d)
{
    if ((d->hi & (1 << 8)) == 0) {
        d->hi |= 1 << 8;
        store_system(cpu, d->at + 4, 4, d->hi);
    }
}

void seg_load_real(struct cpu *cpu, unsigned seg, uint16_t sel)
{
    struct seg *s = &cpu->seg[seg];

    s->sel = sel;
    s->base = (uint64_t)sel << 4;
    if ((cpu->rflags & FL_VM) != 0 && (cpu->cr0 & CR0_PE) != 0) {
        s->limit = 0xffff;
        s->attr = SEG_ATTR_P | SEG_ATTR_S | 3 | 3 << SEG_ATTR_DPL_SHIFT;
    } else {
        /* Real mode keeps the limit and the attributes ("unreal mode"), but can always write. */
        s->attr &= ~(uint32_t)SEG_UNUSABLE;
    }
}

struct seg seg_stack(struct cpu *cpu, uint16_t sel, unsigned cpl, unsigned vector)
{
    struct desc d;

    if ((sel & 0xfffc) == 0) {
        raise_err(cpu, vector, sel_error(cpu, sel));
    }
    d = desc_fetch(cpu, sel, vector);
    if ((sel & 3) != cpl || desc_dpl(&d) != cpl || !desc_is_writable_data(&d)) {
        raise_err(cpu, vector, sel_error(cpu, sel));
    }
    if (!desc_is_present(&d)) {
        raise_err(cpu, EXC_SS, sel_error(cpu, sel));
    }
    desc_set_accessed(cpu, &d);
    return seg_of(sel, &d);
}

/* A null selector; the base becomes 0 for FS and GS too (CPUID says so). */
static void load_null(struct cpu *cpu, unsigned seg, uint16_t sel)
{
    cpu->seg[seg] = (struct seg) { .sel = sel, .attr = SEG_UNUSABLE };
    if (seg == SEG_SS) {
        cpu->seg[seg].attr |= (uint32_t)cpu->cpl << SEG_ATTR_DPL_SHIFT | SEG_ATTR_DB;
    }
}

void seg_load(struct cpu *cpu, unsigned seg, uint16_t sel)
{
    unsigned rpl = sel & 3;
    struct desc d;

    if (!in_protected(cpu)) {
        seg_load_real(cpu, seg, sel);
        cpu_update_mode(cpu);
        return;
    }
    if (seg == SEG_SS) {
        if ((sel & 0xfffc) == 0) {
            if (!in_64(cpu) || cpu->cpl == 3 || rpl != cpu->cpl) {
                raise_gp(cpu);
            }
            load_null(cpu, seg, sel);
        } else {
            cpu->seg[seg] = seg_stack(cpu, sel, cpu->cpl, EXC_GP);
        }
        cpu_update_mode(cpu);
        return;
    }
    if ((sel & 0xfffc) == 0) {
        load_null(cpu, seg, sel);
        cpu_update_mode(cpu);
        return;
    }
    d = desc_fetch(cpu, sel, EXC_GP);
    if (!desc_is_segment(&d) || (d.hi & (10 << 8)) == 8 << 8) { /* system or execute-only */
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    if (!(desc_is_code(&d) && desc_is_conforming(&d)) &&
        (rpl > desc_dpl(&d) || cpu->cpl > desc_dpl(&d))) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    if (!desc_is_present(&d)) {
        raise_err(cpu, EXC_NP, sel_error(cpu, sel));
    }
    desc_set_accessed(cpu, &d);
    cpu->seg[seg] = seg_of(sel, &d);
    cpu_update_mode(cpu);
}

void cs_load(struct cpu *cpu, uint16_t sel, struct desc *d, unsigned cpl)
{
    desc_set_accessed(cpu, d);
    cpu->seg[SEG_CS] = seg_of((uint16_t)((sel & 0xfffc) | cpl), d);
    cpu->cpl = (uint8_t)cpl;
    cpu_update_mode(cpu);
}

void seg_drop_privileged(struct cpu *cpu)
{
    static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

    for (unsigned i = 0; i < sizeof(data); i++) {
        struct seg *s = &cpu->seg[data[i]];
        unsigned dpl = (s->attr >> SEG_ATTR_DPL_SHIFT) & 3;
        bool conforming_code = (s->attr & 12) == 12;

        if ((s->attr & SEG_UNUSABLE) == 0 && !conforming_code && dpl < cpu->cpl) {
            /* The base stays: 64-bit code goes on using FS and GS. */
            s->sel = 0;
            s->attr = SEG_UNUSABLE;
        }
    }
}

/* LDT and TSS descriptors have 16 bytes in long mode. */
static struct seg system_seg(struct cpu *cpu, uint16_t sel, struct desc *d)
{
    struct seg s = seg_of(sel, d);

    if ((cpu->mode & MODE_LONG) != 0) {
        uint64_t high;

        if ((sel | 15u) > cpu->gdt.limit) {
            raise_err(cpu, EXC_GP, sel_error(cpu, sel));
        }
        high = load_system(cpu, d->at + 8, 8);
        if ((high >> 32 & 0x1f00) != 0) {
            raise_err(cpu, EXC_GP, sel_error(cpu, sel));
        }
        s.base |= high << 32;
        if (!canonical(s.base)) {
            raise_err(cpu, EXC_GP, sel_error(cpu, sel));
        }
    }
    return s;
}

void lldt(struct cpu *cpu, uint16_t sel)
{
    struct desc d;

    if ((sel & 0xfffc) == 0) {
        cpu->ldt = (struct seg) { .sel = sel, .attr = SEG_UNUSABLE | DESC_LDT };
        return;
    }
    if ((sel & 4) != 0) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    d = desc_fetch(cpu, sel, EXC_GP);
    if (desc_is_segment(&d) || desc_type(&d) != DESC_LDT) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    if (!desc_is_present(&d)) {
        raise_err(cpu, EXC_NP, sel_error(cpu, sel));
    }
    cpu->ldt = system_seg(cpu, sel, &d);
}

void ltr(struct cpu *cpu, uint16_t sel)
{
    struct desc d;
    struct seg s;
    unsigned type;

    if ((sel & 0xfffc) == 0 || (sel & 4) != 0) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    d = desc_fetch(cpu, sel, EXC_GP);
    type = desc_type(&d);
    if (desc_is_segment(&d) ||
        (type != DESC_TSS32 && (type != DESC_TSS16 || (cpu->mode & MODE_LONG) != 0))) {
        raise_err(cpu, EXC_GP, sel_error(cpu, sel));
    }
    if (!desc_is_present(&d)) {
        raise_err(cpu, EXC_NP, sel_error(cpu, sel));
    }
    s = system_seg(cpu, sel, &d);
    d.hi |= 2 << 8;
    store_system(cpu, d.at + 4, 4, d.hi);
    s.attr |= 2;
    cpu->tr = s;
}

void tss_stack(struct cpu *cpu, unsigned level, uint16_t *ret_ss, uint32_t *ret_sp)
{
    bool wide = (cpu->tr.attr & 8) != 0;
    unsigned at = wide ? 4 + level * 8 : 2 + level * 4;

    if (at + (wide ? 7 : 3) > cpu->tr.limit) {
        raise_err(cpu, EXC_TS, sel_error(cpu, cpu->tr.sel));
    }
    *ret_sp = (uint32_t)load_system(cpu, cpu->tr.base + at, wide ? 4 : 2);
    *ret_ss = (uint16_t)load_system(cpu, cpu->tr.base + at + (wide ? 4 : 2), 2);
}

uint64_t tss_stack64(struct cpu *cpu, unsigned offset)
{
    uint64_t sp;

    if (offset + 7 > cpu->tr.limit) {
        raise_err(cpu, EXC_TS, sel_error(cpu, cpu->tr.sel));
    }
    sp = load_system(cpu, cpu->tr.base + offset, 8);
    if (!canonical(sp)) {
        raise_err(cpu, EXC_SS, interp_of(cpu)->ext);
    }
    return sp;
}
