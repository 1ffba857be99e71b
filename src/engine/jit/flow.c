/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flow.c - branches, calls, returns, and what else uses the stack.
 */
#include "engine/jit/tr.h"

static unsigned stack_bytes(const struct tr *t)
{
    return t->bits / 8;
}

void tr_set_rip(struct tr *t, uint64_t va)
{
    if ((int64_t)va == (int32_t)va) {
        emit_ctx(t->e, true, 0xc7, 0, rip);
        emit_4(t->e, (uint32_t)va);
    } else {
        emit_mov_imm(t->e, HS, va);
        emit_ctx(t->e, true, 0x89, HS, rip);
    }
}

static uint64_t mask_ip(const struct tr *t, uint64_t va)
{
    return t->bits == 64 ? va : (uint32_t)va;
}

static bool same_page(uint64_t a, uint64_t b)
{
    return ((a ^ b) & ~UINT64_C(0xfff)) == 0;
}

/* Where a jump from this block to b may enter: inside a page the mapping is known to be current,
 * backward jumps poll for attention. 0: unknown block. */
void tr_exit(struct tr *t, unsigned cc, uint64_t target)
{
    target = mask_ip(t, target);
    uint8_t *patch = emit_jump(t->e, cc);
    if (JIT_JOINS && same_page(target, t->b->va)) {
        uint64_t gpa = t->page.gpa | (target & 0xfff);
        struct block *to = target == t->b->va ? t->b : jit_find(t->j, gpa, target, t->mode);
        if (to != NULL) {
            emit_patch(patch, t->j->rw + (target <= t->at[t->now] ? to->ep : to->e2));
            return;
        }
    }
    if (JIT_JOINS && !same_page(target, t->b->va)) {
        uint64_t gpa = jit_mapped_code(t->j->cpu, target);
        struct block *to = gpa != 0 ? jit_find(t->j, gpa, target, t->mode) : NULL;
        if (to != NULL) {
            emit_patch(patch, t->j->rw + to->e1); /* checks the mapping for itself */
            return;
        }
    }
    struct stub *s = tr_stub(t, STUB_LINK, patch);
    s->va = target;
    s->flags |= target <= t->at[t->now] ? SITE_BACKWARD : 0;
}

/* To the guest address in HT, by the jump table of the mode; flags must be right by now. */
static void jump_indirect(struct tr *t)
{
    struct emit *e = t->e;

    if (t->j->wide_table)
        emit_pext(e, HS, HT, (int32_t)(offsetof(struct cpu, scratch) + 8 * SCR_JUMP_MASK));
    else
        emit_rr(e, false, 0x0fb7, HS, HT); /* movzx r14d, r15w */
    emit_rex(e, false, 0, HS, H_CTX);
    emit_1(e, 0xff);
    emit_1(e, 0xa4); /* jmp [rsp + r14 * 8 + disp32] */
    emit_1(e, 3 << 6 | (HS & 7) << 3 | H_CTX);
    emit_4(e, (uint32_t)jit_table_offset((unsigned)t->mode_index));
}

/* t->mem := the new stack top, for a push of size bytes. */
static void push_slot(struct tr *t, unsigned size)
{
    if (t->stack_window[t->now] != 0) {
        tr_window_operand(t, t->stack_window[t->now], -(int)size);
        return;
    }
    t->hs_window = 0;
    emit_rm(t->e, t->bits == 64, 0x8d, HS, H_GSP, -(int)size);
    tr_check(t, size, true, false);
}

static void move_sp(struct tr *t, int by)
{
    emit_rm(t->e, t->bits == 64, 0x8d, H_GSP, H_GSP, by);
}

static void top_of_stack(struct tr *t, unsigned size)
{
    if (t->stack_window[t->now] != 0) {
        tr_window_operand(t, t->stack_window[t->now], 0);
        return;
    }
    t->hs_window = 0;
    emit_rr(t->e, t->bits == 64, 0x8b, HS, H_GSP);
    tr_check(t, size, false, false);
}

static void store_top(struct tr *t, unsigned size, unsigned reg)
{
    if (size == 2)
        emit_1(t->e, 0x66);
    tr_op_mem(t, size == 8, 0x89, reg);
}

static void push_return(struct tr *t, uint64_t va)
{
    unsigned size = stack_bytes(t);

    push_slot(t, size);
    if (size == 4 || (int64_t)va == (int32_t)va) {
        tr_op_mem(t, size == 8, 0xc7, 0);
        emit_4(t->e, (uint32_t)va);
    } else {
        emit_mov_imm(t->e, HT, va);
        tr_op_mem(t, true, 0x89, HT);
    }
    move_sp(t, -(int)size);
}

/* HT := the target of an indirect branch. */
static bool load_target(struct tr *t, const struct insn *in)
{
    if (in->mod == 3) {
        tr_get(t, HT, in->rm);
        if (t->bits == 32)
            emit_rr(t->e, false, 0x8b, HT, HT);
        return true;
    }
    if (!tr_operand(t, in, stack_bytes(t), false, false))
        return false;
    tr_op_mem(t, t->bits == 64, 0x8b, HT);
    return true;
}

static enum tr_result indirect(struct tr *t, const struct insn *in)
{
    bool call = (in->modrm >> 3 & 7) == 2;

    if (in->opsize != stack_bytes(t) || !load_target(t, in))
        return TR_STEP;
    if (call) {
        tr_scr(t, true, 0x89, HT, SCR_TMP);
        push_return(t, t->at[t->now] + in->len);
        tr_scr(t, true, 0x8b, HT, SCR_TMP);
    }
    tr_force_flags(t, HS);
    jump_indirect(t);
    return TR_END;
}

/* LOOP and JCXZ: the host's own, over a jump. */
static enum tr_result loop(struct tr *t, const struct insn *in, uint64_t next)
{
    struct emit *e = t->e;

    if (in->addrsize == 2)
        return TR_STEP;
    if (in->addrsize == 4)
        emit_1(e, 0x67);
    emit_1(e, in->opcode);
    emit_1(e, 5);
    tr_exit(t, CC_ALWAYS, next);
    tr_exit(t, CC_ALWAYS, next + in->imm);
    return TR_END;
}

enum tr_result tr_branch(struct tr *t, const struct insn *in)
{
    uint64_t next = t->at[t->now] + in->len;
    unsigned size = stack_bytes(t);

    if (in->info->flags_read != 0 || in->opcode == 0xe2 || in->opcode == 0xe3)
        tr_force_flags(t, HT);
    if (in->opsize != size)
        return TR_STEP;      /* truncates the instruction pointer to 16 bits */
    if (in->map == MAP_0F) { /* 80..8F */
        tr_exit(t, in->opcode & 15, next + in->imm);
        return TR_NEXT;
    }
    switch (in->opcode) {
    case 0xe8:
        push_return(t, next);
        tr_force_flags(t, HT);
        tr_exit(t, CC_ALWAYS, next + in->imm);
        return TR_END;
    case 0xe9:
    case 0xeb:
        tr_force_flags(t, HT);
        tr_exit(t, CC_ALWAYS, next + in->imm);
        return TR_END;
    case 0xc2:
    case 0xc3:
        top_of_stack(t, size);
        tr_op_mem(t, size == 8, 0x8b, HT);
        move_sp(t, (int)size + (in->opcode == 0xc2 ? (int)in->imm : 0));
        tr_force_flags(t, HS);
        jump_indirect(t);
        return TR_END;
    case 0xff:
        return indirect(t, in);
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
        return loop(t, in, next);
    default:
        if (in->opcode < 0x70 || in->opcode > 0x7f)
            return TR_STEP;
        tr_exit(t, in->opcode & 15, next + in->imm);
        return TR_NEXT;
    }
}

static enum tr_result push_reg(struct tr *t, unsigned guest, unsigned size)
{
    push_slot(t, size);
    unsigned host = host_of(guest);
    if (in_memory(guest)) {
        emit_load_gpr(t->e, HT, guest);
        host = HT;
    }
    store_top(t, size, host);
    move_sp(t, -(int)size);
    return TR_NEXT;
}

static enum tr_result pop_reg(struct tr *t, unsigned guest, unsigned size)
{
    if (size == 2)
        return TR_STEP;
    top_of_stack(t, size);
    if (guest == 4) {
        tr_op_mem(t, size == 8, 0x8b, H_GSP);
        return TR_NEXT;
    }
    tr_op_mem(t, size == 8, 0x8b, in_memory(guest) ? HT : guest);
    if (in_memory(guest))
        emit_store_gpr(t->e, HT, guest);
    move_sp(t, (int)size);
    return TR_NEXT;
}

static enum tr_result push_memory(struct tr *t, const struct insn *in, unsigned size)
{
    if (!tr_operand(t, in, size, false, false))
        return TR_STEP;
    tr_op_mem(t, size == 8, 0x8b, HT);
    tr_scr(t, true, 0x89, HT, SCR_TMP);
    push_slot(t, size);
    tr_scr(t, true, 0x8b, HT, SCR_TMP);
    store_top(t, size, HT);
    move_sp(t, -(int)size);
    return TR_NEXT;
}

static enum tr_result pushf(struct tr *t, unsigned size)
{
    struct emit *e = t->e;

    if (t->mode & MODE_VM86)
        return TR_STEP;
    tr_force_flags(t, HT);
    emit_1(e, 0x9c);
    emit_1(e, 0x41);
    emit_1(e, 0x5f); /* pushf; pop r15 */
    tr_scr(t, true, 0x89, HT, SCR_TMP);
    push_slot(t, size);
    tr_scr(t, true, 0x8b, HT, SCR_TMP);
    tr_need_flags(t, REG_NONE);
    emit_rr(e, false, 0x81, 4, HT);
    emit_4(e, FL_ARITH);
    tr_scr(t, true, 0x89, HT, SCR_TMP);
    emit_ctx(e, false, 0x8b, HT, rflags);
    emit_rr(e, false, 0x81, 4, HT);
    emit_4(e, ~(uint32_t)(FL_ARITH | 1 << 16 | 1 << 17)); /* RF and VM are not pushed */
    tr_scr(t, false, 0x0b, HT, SCR_TMP);
    store_top(t, size, HT);
    move_sp(t, -(int)size);
    return TR_NEXT;
}

static enum tr_result leave(struct tr *t, unsigned size)
{
    t->hs_window = 0;
    emit_rr(t->e, size == 8, 0x8b, HS, H_BP);
    tr_check(t, size, false, false);
    tr_op_mem(t, size == 8, 0x8b, HT);
    emit_rm(t->e, size == 8, 0x8d, H_GSP, H_BP, (int)size);
    emit_rr(t->e, true, 0x8b, H_BP, HT);
    return TR_NEXT;
}

static enum tr_result stack(struct tr *t, const struct insn *in)
{
    unsigned size = in->opsize, reg = (in->opcode & 7) | (in->rex & 1u) << 3;

    if (size != stack_bytes(t))
        return TR_STEP;
    switch (in->opcode) {
    case 0x68:
    case 0x6a:
        push_slot(t, size);
        tr_op_mem(t, size == 8, 0xc7, 0);
        emit_4(t->e, (uint32_t)in->imm);
        move_sp(t, -(int)size);
        return TR_NEXT;
    case 0x9c:
        return pushf(t, size);
    case 0xc9:
        return leave(t, size);
    case 0xff:
        return in->mod == 3 ? push_reg(t, in->rm, size) : push_memory(t, in, size);
    case 0x8f:
        return in->mod == 3 ? pop_reg(t, in->rm, size) : TR_STEP;
    default:
        if (in->opcode >= 0x50 && in->opcode <= 0x57)
            return push_reg(t, reg, size);
        if (in->opcode >= 0x58 && in->opcode <= 0x5f)
            return pop_reg(t, reg, size);
        return TR_STEP; /* ENTER, POPF */
    }
}

enum tr_result tr_stack(struct tr *t, const struct insn *in)
{
    enum tr_result r = stack(t, in);

    if (r == TR_NEXT)
        tr_restore_flags(t, HT);
    return r;
}
