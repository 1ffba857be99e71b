/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * operands.c - guest registers, flags kept over checks, memory operands and their TLB checks.
 */
#include "engine/jit/tr.h"

static void keep_ax(struct emit *e, unsigned temp, bool back)
{
    if (temp != REG_NONE)
        emit_rr(e, true, back ? 0x8b : 0x89, H_AX, temp);
    else
        emit_ctx(e, true, back ? 0x8b : 0x89, H_AX, scratch[SCR_AX]);
}

/* LAHF and SETO into SCR_FLAGS; RAX is kept. POPF would cost as much as the rest of the block. */
void tr_save_raw(struct emit *e, unsigned temp)
{
    keep_ax(e, temp, false);
    emit_1(e, 0x9f);
    emit_rr(e, false, 0x0f90, 0, H_AX);
    emit_ctx(e, false, 0x89, H_AX, scratch[SCR_FLAGS]);
    keep_ax(e, temp, true);
}

void tr_restore_raw(struct emit *e, unsigned temp)
{
    keep_ax(e, temp, false);
    emit_ctx(e, false, 0x8b, H_AX, scratch[SCR_FLAGS]);
    emit_1(e, 0x04);
    emit_1(e, 0x7f); /* add al, 127: OF from the byte that SETO wrote */
    emit_1(e, 0x9e);
    keep_ax(e, temp, true);
}

void tr_need_flags(struct tr *t, unsigned temp)
{
    if (t->live[t->now] != 0 && !t->saved) {
        tr_save_raw(t->e, temp);
        t->saved = true;
    }
}

void tr_force_flags(struct tr *t, unsigned temp)
{
    if (t->saved)
        tr_restore_raw(t->e, temp);
    if (temp == HS)
        t->hs_window = 0;
    t->saved = false;
}

void tr_restore_flags(struct tr *t, unsigned temp)
{
    const struct insn_info *info = t->in[t->now].info;
    unsigned written = info->flags_written & FL_ARITH;

    if (written == FL_ARITH && !(info->flags_read & FL_ARITH) && !(info->bits & INFO_FLAGS_COND))
        t->saved = false;
    else if (written != 0 || info->flags_read & FL_ARITH)
        tr_force_flags(t, temp);
}

void tr_op_mem(struct tr *t, bool w, unsigned op, unsigned reg)
{
    if (t->mem.index == REG_NONE)
        emit_rm(t->e, w, op, reg, t->mem.base, t->mem.disp);
    else
        emit_rmx(t->e, w, op, reg, t->mem.base, t->mem.index, 0, t->mem.disp);
}

struct stub *tr_stub(struct tr *t, enum stub_kind kind, uint8_t *patch)
{
    struct stub *s = &t->stub[t->n_stubs++];

    *s = (struct stub) {
        .kind = kind, .patch = patch, .va = t->at[t->now], .flags = t->saved ? SITE_FLAGS_SAVED : 0
    };
    return s;
}

void tr_get(struct tr *t, unsigned host, unsigned guest)
{
    if (in_memory(guest))
        emit_load_gpr(t->e, host, guest);
    else
        emit_rr(t->e, true, 0x8b, host, host_of(guest));
}

void tr_put(struct tr *t, unsigned guest, unsigned host)
{
    if (in_memory(guest))
        emit_store_gpr(t->e, host, guest);
    else
        emit_rr(t->e, true, 0x89, host, host_of(guest));
}

static uint64_t next_va(const struct tr *t, const struct insn *in)
{
    return t->at[t->now] + in->len;
}

static bool is_moffs(const struct insn *in)
{
    return in->map == MAP_1B && in->enc == ENC_LEGACY && in->opcode >= 0xa0 && in->opcode <= 0xa3;
}

/* Is the address known now? */
bool tr_is_const(const struct tr *t, const struct insn *in)
{
    (void)t;
    return (is_moffs(in) || in->rip_relative || (in->base == REG_NONE && in->index == REG_NONE)) &&
           in->seg < SEG_FS;
}

static uint64_t const_address(const struct tr *t, const struct insn *in)
{
    uint64_t a = is_moffs(in) ? in->imm : (uint64_t)(int64_t)in->disp;

    if (in->rip_relative)
        a += next_va(t, in);
    return in->addrsize == 4 ? (uint32_t)a : a;
}

static void add_segment(struct tr *t, const struct insn *in)
{
    struct emit *e = t->e;
    int32_t base = (int32_t)(offsetof(struct cpu, seg) + in->seg * sizeof(struct seg));

    tr_need_flags(t, HT);
    if (t->bits == 32) {
        emit_rm(e, false, 0x81, 7, H_CTX, base + (int32_t)offsetof(struct seg, limit));
        emit_4(e, 0xffffffff);
        tr_stub(t, STUB_STEP, emit_jump(e, CC_NE));
        emit_rm(e, false, 0xf7, 0, H_CTX, base + (int32_t)offsetof(struct seg, attr));
        emit_4(e, SEG_UNUSABLE);
        tr_stub(t, STUB_STEP, emit_jump(e, CC_NE));
    }
    emit_rm(e, t->bits == 64, 0x03, HS, H_CTX, base + (int32_t)offsetof(struct seg, base));
}

void tr_lea(struct tr *t, unsigned gbase, unsigned gindex, unsigned scale, int disp, bool wide)
{
    struct emit *e = t->e;
    unsigned base = gbase == REG_NONE ? REG_NONE : host_of(gbase), index = REG_NONE;
    if (base != REG_NONE && in_memory(gbase)) {
        emit_load_gpr(e, HS, gbase);
        base = HS;
    }
    if (gindex != REG_NONE) {
        index = host_of(gindex);
        if (in_memory(gindex) && gindex == gbase) {
            index = HS;
        } else if (in_memory(gindex)) {
            emit_load_gpr(e, HT, gindex);
            index = HT;
        }
    }
    if (index == REG_NONE) {
        emit_rm(e, wide, 0x8d, HS, base, disp);
    } else if (base == REG_NONE) { /* [index << scale + disp32] */
        emit_rex(e, wide, HS, index, 0);
        emit_1(e, 0x8d);
        emit_1(e, 0x04 | (HS & 7) << 3);
        emit_1(e, (unsigned)scale << 6 | (index & 7) << 3 | 5);
        emit_4(e, (uint32_t)disp);
    } else {
        emit_rmx(e, wide, 0x8d, HS, base, index, scale, disp);
    }
}

/* HS := linear address of the memory operand. */
bool tr_address(struct tr *t, const struct insn *in)
{
    struct emit *e = t->e;
    bool wide = in->addrsize == 8;

    if (in->addrsize == 2)
        return false;
    t->hs_window = 0;
    if (is_moffs(in) || in->rip_relative || (in->base == REG_NONE && in->index == REG_NONE)) {
        emit_mov_imm(e, HS, const_address(t, in));
    } else {
        tr_lea(t, in->base, in->index, in->scale, in->disp, wide);
    }
    if (in->seg >= SEG_FS)
        add_segment(t, in);
    return true;
}

static int32_t slot_offset(const struct tr *t)
{
    return (int32_t)(offsetof(struct cpu, tlb.slot) +
                     t->index * sizeof(((struct tlb *)NULL)->slot[0]));
}

static int32_t tag_offset(const struct tr *t, bool write)
{
    return slot_offset(t) +
           (int32_t)(write ? offsetof(struct tlb_entry, tag_w) : offsetof(struct tlb_entry, tag_r));
}

/* mmu/tlb.h describes the sequence. */
void tr_check(struct tr *t, unsigned size, bool write, bool align)
{
    struct emit *e = t->e;

    tr_need_flags(t, HT);
    t->hs_window = 0;
    t->mem = (struct tr_mem) { .base = HS, .index = REG_NONE };
    emit_rr(e, true, 0x89, HS, HT);
    emit_rr(e, true, 0xc1, 5, HT);
    emit_1(e, TLB_HASH_BITS);
    emit_rr(e, false, 0x31, HS, HT);
    emit_rr(e, false, 0xc1, 5, HT);
    emit_1(e, 12 - TLB_ENTRY_SHIFT);
    emit_rr(e, false, 0x81, 4, HT);
    emit_4(e, (t->j->cpu->tlb.slots - 1) << TLB_ENTRY_SHIFT);
    emit_rmx(e, true, 0x33, HS, H_CTX, HT, 0, tag_offset(t, write));
    if (align && size > 1) {
        emit_rr(e, true, 0xf7, 0, HS); /* test: neither outside the page nor misaligned */
        emit_4(e, 0xfffff000 | (size - 1));
    } else {
        emit_rr(e, true, 0x81, 7, HS);
        emit_4(e, 4096 - size);
    }
    struct stub *s = tr_stub(t, STUB_SLOW, emit_jump(e, align && size > 1 ? CC_NE : CC_A));
    s->size = (uint16_t)size;
    s->flags |= (write ? SITE_WRITE : 0) | (align ? SITE_ALIGN : 0);
    emit_rmx(e, true, 0x03, HS, H_CTX, HT, 0,
             slot_offset(t) + (int32_t)offsetof(struct tlb_entry, host));
    s->resume = e->p;
}

static bool check_const(struct tr *t, const struct insn *in, unsigned size, bool write, bool align)
{
    struct emit *e = t->e;
    uint64_t va = const_address(t, in);
    int32_t at = (int32_t)(tlb_slot(&t->j->cpu->tlb, va) * sizeof(struct tlb_entry));

    if ((va & 0xfff) + size > 4096 || (align && (va & (size - 1)) != 0))
        return false;
    tr_need_flags(t, HT);
    emit_mov_imm(e, HS, va & ~UINT64_C(0xfff));
    emit_rm(e, true, 0x3b, HS, H_CTX, tag_offset(t, write) + at);
    struct stub *s = tr_stub(t, STUB_SLOW, emit_jump(e, CC_NE));
    s->size = 1;
    s->flags |= SITE_CONST | (write ? SITE_WRITE : 0);
    emit_rm(e, true, 0x8b, HS, H_CTX,
            slot_offset(t) + at + (int32_t)offsetof(struct tlb_entry, host));
    s->resume = e->p;
    t->hs_window = 0;
    t->mem = (struct tr_mem) { .base = HS, .index = REG_NONE, .disp = (int32_t)(va & 0xfff) };
    return true;
}

bool tr_operand(struct tr *t, const struct insn *in, unsigned size, bool write, bool align)
{
    if (size == 0 || in->addrsize == 2)
        return false;
    if (t->explicit_window[t->now] != 0) {
        tr_window_operand(t, t->explicit_window[t->now], in->disp);
        return true;
    }
    if (tr_is_const(t, in))
        return check_const(t, in, size, write, align);
    if (!tr_address(t, in))
        return false;
    tr_check(t, size, write, align);
    return true;
}
