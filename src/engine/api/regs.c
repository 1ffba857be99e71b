/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* regs.c - KVM_GET/SET_REGS, SREGS, SREGS2 and DEBUGREGS. */
#include "base/bytes.h"
#include "engine/api/vcpu.h"

#include <errno.h>

int vcpu_get_regs(void *object, void *arg)
{
    const struct cpu *c = ((struct vcpu *)object)->cpu;
    struct kvm_regs r = {
        .rax = c->gpr[0],
        .rcx = c->gpr[1],
        .rdx = c->gpr[2],
        .rbx = c->gpr[3],
        .rsp = c->gpr[4],
        .rbp = c->gpr[5],
        .rsi = c->gpr[6],
        .rdi = c->gpr[7],
        .r8 = c->gpr[8],
        .r9 = c->gpr[9],
        .r10 = c->gpr[10],
        .r11 = c->gpr[11],
        .r12 = c->gpr[12],
        .r13 = c->gpr[13],
        .r14 = c->gpr[14],
        .r15 = c->gpr[15],
        .rip = c->rip,
        .rflags = c->rflags,
    };

    memcpy(arg, &r, sizeof(r));
    return 0;
}

int vcpu_set_regs(void *object, void *arg)
{
    struct vcpu *v = object;
    struct cpu *c = v->cpu;
    struct kvm_regs r;

    memcpy(&r, arg, sizeof(r));
    const uint64_t gpr[16] = { r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi,
                               r.r8,  r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15 };

    memcpy(c->gpr, gpr, sizeof(gpr));
    c->rip = r.rip;
    c->rflags = r.rflags | 2;
    c->exception.pending = false;
    cpu_update_mode(c);
    return 0;
}

static void export_segment(const struct seg *s, struct kvm_segment *out)
{
    *out = (struct kvm_segment) {
        .base = s->base,
        .limit = s->limit,
        .selector = s->sel,
        .type = s->attr & SEG_ATTR_TYPE,
        .present = (s->attr & SEG_ATTR_P) != 0,
        .dpl = (uint8_t)(s->attr >> SEG_ATTR_DPL_SHIFT & 3),
        .db = (s->attr & SEG_ATTR_DB) != 0,
        .s = (s->attr & SEG_ATTR_S) != 0,
        .l = (s->attr & SEG_ATTR_L) != 0,
        .g = (s->attr & SEG_ATTR_G) != 0,
        .avl = (s->attr & SEG_ATTR_AVL) != 0,
        .unusable = (s->attr & SEG_UNUSABLE) != 0 || (s->attr & SEG_ATTR_P) == 0,
    };
}

static void import_segment(struct seg *s, const struct kvm_segment *in)
{
    *s = (struct seg) {
        .base = in->base,
        .limit = in->limit,
        .sel = in->selector,
        .attr = (in->type & 15u) | (in->s != 0 ? SEG_ATTR_S : 0) |
                (in->dpl & 3u) << SEG_ATTR_DPL_SHIFT | (in->present != 0 ? SEG_ATTR_P : 0) |
                (in->avl != 0 ? SEG_ATTR_AVL : 0) | (in->l != 0 ? SEG_ATTR_L : 0) |
                (in->db != 0 ? SEG_ATTR_DB : 0) | (in->g != 0 ? SEG_ATTR_G : 0) |
                (in->unusable != 0 ? SEG_UNUSABLE : 0),
    };
}

/* The part that struct kvm_sregs and struct kvm_sregs2 share is laid out alike. */
static void export_common(const struct vcpu *v, struct kvm_sregs *s)
{
    const struct cpu *c = v->cpu;
    struct kvm_segment *const segs[] = { [SEG_ES] = &s->es, [SEG_CS] = &s->cs, [SEG_SS] = &s->ss,
                                         [SEG_DS] = &s->ds, [SEG_FS] = &s->fs, [SEG_GS] = &s->gs };

    for (unsigned i = 0; i < SEG_COUNT; i++) {
        export_segment(&c->seg[i], segs[i]);
    }
    export_segment(&c->tr, &s->tr);
    export_segment(&c->ldt, &s->ldt);
    s->gdt = (struct kvm_dtable) { .base = c->gdt.base, .limit = c->gdt.limit };
    s->idt = (struct kvm_dtable) { .base = c->idt.base, .limit = c->idt.limit };
    s->cr0 = c->cr0;
    s->cr2 = c->cr2;
    s->cr3 = c->cr3;
    s->cr4 = c->cr4;
    s->cr8 = lapic_get_tpr(v->cpu);
    s->efer = c->efer;
    s->apic_base = c->apic_base;
}

/* Combinations that no CPU can be in are refused (SDM 3A, 4.1.1 and 9.8.5). */
static bool valid(const struct kvm_sregs *s)
{
    bool pg = (s->cr0 >> 31 & 1) != 0;
    bool lme = (s->efer >> 8 & 1) != 0;
    bool lma = (s->efer >> 10 & 1) != 0;

    if (s->cr0 >> 32 != 0 || (pg && (s->cr0 & 1) == 0)) {
        return false;
    }
    if (lme && pg) {
        return (s->cr4 >> 5 & 1) != 0 && lma;
    }
    return !lma && s->cs.l == 0;
}

static int import_common(struct vcpu *v, const struct kvm_sregs *s)
{
    struct cpu *c = v->cpu;
    const struct kvm_segment *const segs[] = {
        [SEG_ES] = &s->es, [SEG_CS] = &s->cs, [SEG_SS] = &s->ss,
        [SEG_DS] = &s->ds, [SEG_FS] = &s->fs, [SEG_GS] = &s->gs
    };

    if (!valid(s)) {
        return -EINVAL;
    }
    if (s->apic_base != c->apic_base && lapic_set_base(c, s->apic_base, true) < 0) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        import_segment(&c->seg[i], segs[i]);
    }
    import_segment(&c->tr, &s->tr);
    import_segment(&c->ldt, &s->ldt);
    c->gdt = (struct dtable) { .base = s->gdt.base, .limit = s->gdt.limit };
    c->idt = (struct dtable) { .base = s->idt.base, .limit = s->idt.limit };
    c->cr0 = s->cr0 | 0x10;
    c->cr2 = s->cr2;
    c->cr3 = s->cr3;
    c->cr4 = s->cr4;
    c->efer = s->efer;
    c->cpl = (s->cr0 & 1) == 0 ? 0 : s->ss.dpl & 3;
    if ((c->rflags >> 17 & 1) != 0 && (s->cr0 & 1) != 0) {
        c->cpl = 3;
    }
    lapic_set_tpr(c, s->cr8);
    cpu_state_changed(c);
    return 0;
}

int vcpu_get_sregs(void *object, void *arg)
{
    struct vcpu *v = object;
    struct kvm_sregs s = { .cr0 = 0 };

    export_common(v, &s);
    if (v->cpu->interrupt.pending && !v->cpu->interrupt.soft) {
        s.interrupt_bitmap[v->cpu->interrupt.vector / 64] = 1ull << (v->cpu->interrupt.vector % 64);
    }
    memcpy(arg, &s, sizeof(s));
    return 0;
}

int vcpu_set_sregs(void *object, void *arg)
{
    struct vcpu *v = object;
    struct kvm_sregs s;
    int r;

    memcpy(&s, arg, sizeof(s));
    r = import_common(v, &s);
    if (r == 0) {
        v->cpu->interrupt.pending = false;
        for (unsigned i = 0; i < 256; i++) {
            if ((s.interrupt_bitmap[i / 64] >> (i % 64) & 1) != 0) {
                v->cpu->interrupt.pending = true;
                v->cpu->interrupt.soft = false;
                v->cpu->interrupt.vector = (uint8_t)i;
            }
        }
    }
    return r;
}

_Static_assert(offsetof(struct kvm_sregs, interrupt_bitmap) == offsetof(struct kvm_sregs2, flags),
               "both structures begin alike");

int vcpu_get_sregs2(void *object, void *arg)
{
    struct kvm_sregs s = { .cr0 = 0 };
    struct kvm_sregs2 *out = arg;

    export_common(object, &s);
    memset(out, 0, sizeof(*out));
    memcpy(out, &s, offsetof(struct kvm_sregs, interrupt_bitmap));
    return 0;
}

int vcpu_set_sregs2(void *object, void *arg)
{
    struct kvm_sregs s = { .cr0 = 0 };

    memcpy(&s, arg, offsetof(struct kvm_sregs, interrupt_bitmap));
    return import_common(object, &s);
}

int vcpu_get_debugregs(void *object, void *arg)
{
    const struct cpu *c = ((struct vcpu *)object)->cpu;
    struct kvm_debugregs d = { .dr6 = c->dr[6], .dr7 = c->dr[7] };

    memcpy(d.db, c->dr, sizeof(d.db));
    memcpy(arg, &d, sizeof(d));
    return 0;
}

int vcpu_set_debugregs(void *object, void *arg)
{
    struct cpu *c = ((struct vcpu *)object)->cpu;
    struct kvm_debugregs d;

    memcpy(&d, arg, sizeof(d));
    if (d.flags != 0 || d.dr6 >> 32 != 0 || d.dr7 >> 32 != 0) {
        return -EINVAL;
    }
    memcpy(c->dr, d.db, sizeof(d.db));
    c->dr[6] = d.dr6 | 0xffff0ff0u;
    c->dr[7] = d.dr7 | 0x400;
    cpu_update_mode(c);
    return 0;
}
