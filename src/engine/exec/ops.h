/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ops.h - the instruction families, one function each: which handler executes an instruction.
 * NULL: not of this family.
 */
#pragma once

#include "engine/exec/core.h"

op_fn *ops_integer(const struct insn *i); /* op_int.c */
op_fn *ops_string(const struct insn *i);  /* op_string.c */
op_fn *ops_flow(const struct insn *i);    /* op_flow.c */
op_fn *ops_system(const struct insn *i);  /* op_sys.c */
op_fn *ops_fpu(const struct insn *i);     /* op_fpu.c: x87, MMX, SSE, AVX, state saving */
/* thunk.c: executes the instruction natively on the guest's general registers. */
op_fn ops_native;

/* The handler of any decoded instruction; NULL: not executed (interp.c). */
op_fn *interp_handler(const struct insn *i);

/* Condition code 0..15 of Jcc, SETcc, CMOVcc. */
static inline bool cond(uint64_t fl, unsigned cc)
{
    bool r;

    switch (cc >> 1) {
    case 0:
        r = (fl & FL_OF) != 0;
        break;
    case 1:
        r = (fl & FL_CF) != 0;
        break;
    case 2:
        r = (fl & FL_ZF) != 0;
        break;
    case 3:
        r = (fl & (FL_CF | FL_ZF)) != 0;
        break;
    case 4:
        r = (fl & FL_SF) != 0;
        break;
    case 5:
        r = (fl & FL_PF) != 0;
        break;
    case 6:
        r = ((fl >> 7) & 1) != ((fl >> 11) & 1);
        break;
    default:
        r = (fl & FL_ZF) != 0 || ((fl >> 7) & 1) != ((fl >> 11) & 1);
        break;
    }
    return r != ((cc & 1) != 0);
}

/* An operand that is read, changed and written back; with LOCK in one atomic step. */
struct rmw {
    uint64_t va, old;
    void *host;
    unsigned size;
};

static inline void rmw_begin(struct cpu *cpu, const struct insn *i, unsigned size, struct rmw *m)
{
    m->size = size;
    if (i->mod == 3) {
        m->old = reg_get(cpu, i, i->rm, size);
        return;
    }
    m->va = insn_linear(cpu, i, size, true);
    {
        const struct tlb_entry *e = &cpu->tlb.slot[mem_index(cpu)][tlb_slot(&cpu->tlb, m->va)];
        uint64_t off = m->va ^ e->tag_w;

        m->host = off <= 4096 - size && (cpu->mode & MODE_AC) == 0 ? (void *)(e->host + off)
                                                                   : mem_rmw_host(cpu, m->va, size);
    }
    m->old = m->host != NULL ? load_host(m->host, size) : load(cpu, m->va, size);
}

bool rmw_lock(struct rmw *m, uint64_t v);

/* false: another CPU was faster; m->old is new, compute again. */
static inline bool rmw_end(struct cpu *cpu, const struct insn *i, struct rmw *m, uint64_t v)
{
    if (i->mod == 3) {
        reg_set(cpu, i, i->rm, m->size, v);
    } else if (m->host == NULL) {
        store(cpu, m->va, m->size, v);
    } else if ((i->prefixes & PFX_LOCK) != 0 || (i->info->bits & INFO_IMPLICIT_LOCK) != 0) {
        return rmw_lock(m, v);
    } else {
        store_host(m->host, m->size, v);
    }
    return true;
}

static inline void set_flags(struct cpu *cpu, uint64_t mask, uint64_t v)
{
    cpu->rflags = (cpu->rflags & ~mask) | (v & mask);
}

/* From LAHF and SETO: AH has SF ZF AF PF CF at their places, AL has OF. */
static inline uint64_t flags_of(uint16_t ax)
{
    return ((ax >> 8) & 0xd5) | (uint64_t)(ax & 1) << 11;
}
