/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * copy.c - instructions that execute as they are, with registers renamed and the memory operand
 * replaced by [HS].
 */
#include "engine/jit/tr.h"

/* What stands in the r/m field. */
enum rm_kind { RM_NONE, RM_REG, RM_MEM, RM_CTX };

struct fields {
    unsigned reg, rm, vvvv, opc;
    enum rm_kind kind;
    struct tr_mem mem; /* RM_MEM */
};

/* A byte operand AH..BH, which cannot be named together with a REX prefix. */
static bool is_high(const struct insn *in, unsigned use, unsigned n)
{
    return (use & OPND_BYTE) && n >= 4 && n < 8 && !(in->prefixes & PFX_REX) &&
           in->enc == ENC_LEGACY;
}

static void put_rm(struct emit *e, const struct fields *f)
{
    unsigned reg = (f->reg & 7) << 3;

    if (f->kind == RM_REG)
        emit_1(e, 0xc0 | reg | (f->rm & 7));
    else if (f->kind == RM_CTX)
        emit_base_disp(e, f->reg, H_CTX, (int32_t)f->rm * 8);
    else if (f->kind == RM_MEM && f->mem.index == REG_NONE)
        emit_base_disp(e, f->reg, f->mem.base, f->mem.disp);
    else if (f->kind == RM_MEM)
        emit_base_index(e, f->reg, f->mem.base, f->mem.index, 0, f->mem.disp);
}

static void put(struct tr *t, const struct insn *in, const struct fields *f)
{
    struct emit *e = t->e;
    unsigned b = f->kind == RM_REG ? f->rm : f->kind == RM_MEM ? f->mem.base : 0;
    unsigned x = f->kind == RM_MEM && f->mem.index != REG_NONE ? f->mem.index : 0;

    if (in->info->gpr_opc)
        b = f->opc;
    unsigned rex = (in->rex & 8u) | (f->reg & 8) >> 1 | (x & 8) >> 2 | (b & 8) >> 3;
    if (in->enc == ENC_VEX) {
        emit_1(e, 0xc4);
        emit_1(e, (~rex & 7) << 5 | in->map);
        emit_1(e, (in->rex & 8u) << 4 | (~f->vvvv & 15) << 3 | (unsigned)in->vl << 2 | in->pp);
        emit_1(e, in->opcode);
    } else {
        if (in->prefixes & PFX_LOCK)
            emit_1(e, 0xf0);
        if (in->prefixes & PFX_66)
            emit_1(e, 0x66);
        if (in->prefixes & (PFX_F2 | PFX_F3))
            emit_1(e, in->prefixes & PFX_F3 ? 0xf3 : 0xf2);
        if (rex != 0 || in->prefixes & PFX_REX)
            emit_1(e, 0x40 | rex);
        if (in->map != MAP_1B)
            emit_1(e, 0x0f);
        if (in->map >= MAP_0F38)
            emit_1(e, in->map == MAP_0F38 ? 0x38 : 0x3a);
        emit_1(e, in->info->gpr_opc ? (in->opcode & ~7u) | (f->opc & 7) : in->opcode);
    }
    put_rm(e, f);
    for (unsigned i = in->off_imm; i != 0 && i < in->len; i++)
        emit_1(e, in->bytes[i]);
}

/* The general registers that an instruction names, and which host registers stand for them. */
struct operands {
    struct {
        unsigned guest, host, use;
    } op[4];
    unsigned n;
    uint32_t used; /* host registers that must not be borrowed */
    bool hs_free, ht_free;
    unsigned spilled; /* host register whose content is in SCR_SPILL; 0: none */
};

static bool borrow(struct tr *t, struct operands *o, unsigned *ret)
{
    static const uint8_t victims[] = { 8, 9, 10, 11, 12, H_BX, H_BP, H_SI, H_DI };

    if (o->ht_free) {
        o->ht_free = false;
        *ret = HT;
        return true;
    }
    if (o->hs_free) {
        o->hs_free = false;
        t->hs_window = 0;
        *ret = HS;
        return true;
    }
    for (unsigned i = 0; o->spilled == 0 && i < sizeof victims; i++) {
        if (!(o->used >> victims[i] & 1)) {
            o->spilled = *ret = victims[i];
            tr_scr(t, true, 0x89, victims[i], SCR_SPILL);
            return true;
        }
    }
    return false;
}

/* Host register for a named guest register, loaded where it is read. */
static bool name(struct tr *t, struct operands *o, const struct insn *in, unsigned guest,
                 unsigned use, unsigned *ret)
{
    *ret = guest;
    if (!in_memory(guest) || is_high(in, use, guest)) {
        if (!is_high(in, use, guest))
            *ret = host_of(guest);
        return true;
    }
    bool partial = (use & OPND_BYTE) || in->opsize == 2;
    bool reads = (use & OPND_READ) || partial;
    for (unsigned i = 0; i < o->n; i++) {
        if (o->op[i].guest != guest)
            continue;
        *ret = o->op[i].host;
        if (reads && !(o->op[i].use & OPND_READ))
            emit_load_gpr(t->e, *ret, guest);
        o->op[i].use |= use | (reads ? OPND_READ : 0);
        return true;
    }
    if (!borrow(t, o, ret))
        return false;
    if (reads)
        emit_load_gpr(t->e, *ret, guest);
    o->op[o->n].guest = guest;
    o->op[o->n].host = *ret;
    o->op[o->n++].use = use | (reads ? OPND_READ : 0);
    return true;
}

static void give_back(struct tr *t, struct operands *o)
{
    for (unsigned i = 0; i < o->n; i++) {
        if (o->op[i].use & OPND_WRITE)
            emit_store_gpr(t->e, o->op[i].host, o->op[i].guest);
    }
    if (o->spilled != 0)
        tr_scr(t, true, 0x8b, o->spilled, SCR_SPILL);
}

/* May a guest register in memory be an r/m operand in memory? Not where the memory form of the
 * instruction does something else than the register form. */
static bool ctx_operand_ok(const struct insn *in)
{
    const struct insn_info *info = in->info;

    if (!in->has_modrm || in->mod != 3 || !in_memory(in->rm) || info->gpr_rm == 0 ||
        info->bits & (INFO_BITSTRING | INFO_IMPLICIT_LOCK) ||
        !(info->bits & (INFO_MEM_READ | INFO_MEM_WRITE)))
        return false;
    if (!(info->gpr_rm & OPND_WRITE))
        return info->cls == CLASS_INT;
    return info->cls == CLASS_INT &&
           (in->opsize == 8 || in->opsize == 2 || info->gpr_rm & OPND_BYTE) &&
           in->enc == ENC_LEGACY;
}

static uint32_t used_registers(const struct insn *in)
{
    uint32_t used = in->info->regs_read | in->info->regs_written | 1u << H_CTX;

    if (in->info->gpr_reg)
        used |= 1u << in->reg | 1u << (in->reg & 3);
    if (in->info->gpr_rm && in->mod == 3)
        used |= 1u << in->rm | 1u << (in->rm & 3);
    if (in->info->gpr_vvvv)
        used |= 1u << in->vvvv;
    if (in->info->gpr_opc)
        used |= 1u << ((in->opcode & 7) | (in->rex & 1) << 3);
    return used;
}

static enum tr_result copy_with(struct tr *t, const struct insn *in, bool mem, unsigned fixed_reg)
{
    const struct insn_info *info = in->info;
    struct fields f = { .reg = in->reg, .rm = in->rm, .vvvv = in->vvvv, .mem = t->mem };
    struct operands o = { .used = used_registers(in), .hs_free = !mem, .ht_free = true };
    bool high =
        (info->gpr_reg && is_high(in, info->gpr_reg, in->reg)) ||
        (info->gpr_rm && in->mod == 3 && in->has_modrm && is_high(in, info->gpr_rm, in->rm)) ||
        (info->gpr_opc && is_high(in, info->gpr_opc, in->opcode & 7));

    tr_restore_flags(t, HT); /* before operands are loaded there */
    f.kind = mem ? RM_MEM : in->has_modrm ? RM_REG : RM_NONE;
    if (info->gpr_reg && !name(t, &o, in, in->reg, info->gpr_reg, &f.reg))
        return TR_STEP;
    if (fixed_reg != REG_NONE)
        f.reg = fixed_reg;
    if (info->gpr_vvvv && !name(t, &o, in, in->vvvv, info->gpr_vvvv, &f.vvvv))
        return TR_STEP;
    if (info->gpr_rm && f.kind == RM_REG) {
        if (ctx_operand_ok(in) && !(info->gpr_reg && in->reg == in->rm))
            f.kind = RM_CTX;
        else if (!name(t, &o, in, in->rm, info->gpr_rm, &f.rm))
            return TR_STEP;
    }
    unsigned opc = (in->opcode & 7) | (in->rex & 1u) << 3;
    if (info->gpr_opc && !name(t, &o, in, opc, info->gpr_opc, &f.opc))
        return TR_STEP;
    if (high && ((f.reg | (f.kind == RM_REG ? f.rm : 0) | (info->gpr_opc ? f.opc : 0)) & 8))
        return TR_STEP;
    if (high && mem) { /* R14 would need a REX prefix */
        tr_op_mem(t, true, 0x8d, HS);
        t->hs_window = 0;
        emit_rr(t->e, true, 0x87, H_SI, HS);
        f.mem = (struct tr_mem) { .base = H_SI, .index = REG_NONE };
        put(t, in, &f);
        emit_rr(t->e, true, 0x87, H_SI, HS);
    } else {
        put(t, in, &f);
    }
    give_back(t, &o);
    return TR_NEXT;
}

static bool is_memory(const struct insn *in)
{
    return in->has_modrm && in->mod != 3 && in->info->bits & (INFO_MEM_READ | INFO_MEM_WRITE);
}

static enum tr_result copy_moffs(struct tr *t, const struct insn *in)
{
    bool store = in->opcode >= 0xa2;
    unsigned size = in->opcode & 1 ? in->opsize : 1;

    if (!tr_operand(t, in, size, store, false))
        return TR_STEP;
    tr_restore_flags(t, HT);
    if (size == 2)
        emit_1(t->e, 0x66);
    tr_op_mem(t, size == 8, (store ? 0x88u : 0x8au) | (in->opcode & 1), H_AX);
    return TR_NEXT;
}

static enum tr_result copy_lea(struct tr *t, const struct insn *in)
{
    struct insn flat = *in;

    flat.seg = 3;
    if (in->opsize == 2 || !tr_address(t, &flat))
        return TR_STEP;
    if (in->opsize == 4)
        emit_rr(t->e, false, 0x8b, HS, HS);
    tr_put(t, in->reg, HS);
    return TR_NEXT;
}

/* The common LEA: registers that the host has too. */
static bool lea_is_plain(const struct insn *in)
{
    return in->addrsize != 2 && !in->rip_relative && !in_memory(in->reg) && in->opsize != 2 &&
           (in->base == REG_NONE || !in_memory(in->base)) && in->base != REG_NONE &&
           (in->index == REG_NONE || !in_memory(in->index));
}

static void put_lea(struct tr *t, const struct insn *in)
{
    unsigned reg = host_of(in->reg), base = host_of(in->base);

    if (in->addrsize == 4 && in->opsize == 8)
        emit_1(t->e, 0x67);
    if (in->index == REG_NONE)
        emit_rm(t->e, in->opsize == 8, 0x8d, reg, base, in->disp);
    else
        emit_rmx(t->e, in->opsize == 8, 0x8d, reg, base, host_of(in->index), in->scale, in->disp);
}

/* DIV and IDIV with #DE sorted out before: what is not clearly harmless goes to the interpreter. */
static enum tr_result copy_div(struct tr *t, const struct insn *in)
{
    struct emit *e = t->e;
    unsigned size = in->opcode & 1 ? in->opsize : 1;
    bool is_signed = (in->modrm >> 3 & 7) == 7, w = size == 8;
    bool mem = in->mod != 3;

    if (size < 4)
        return TR_STEP;
    if (mem && !tr_operand(t, in, size, false, false))
        return TR_STEP;
    tr_need_flags(t, HT);
    t->hs_window = 0;
    if (mem)
        tr_op_mem(t, w, 0x8b, HS);
    else
        tr_get(t, HS, in->rm);
    if (is_signed) {
        emit_rr(e, w, 0x89, H_AX, HT);
        emit_rr(e, w, 0xc1, 7, HT);
        emit_1(e, size * 8 - 1);
        emit_rr(e, w, 0x39, HT, H_DX);
        tr_stub(t, STUB_STEP, emit_jump(e, CC_NE));
        emit_rm(e, w, 0x8d, HT, HS, 1);
        emit_rr(e, w, 0x83, 7, HT);
        emit_1(e, 1);
        tr_stub(t, STUB_STEP, emit_jump(e, CC_BE));
    } else {
        emit_rr(e, w, 0x39, HS, H_DX); /* cmp rdx, divisor */
        tr_stub(t, STUB_STEP, emit_jump(e, CC_AE));
    }
    tr_restore_flags(t, HT);
    emit_rr(e, w, 0xf7, is_signed ? 7 : 6, HS);
    return TR_NEXT;
}

/* BT and its family with a register offset and memory: the word that holds the bit first. */
static enum tr_result copy_bit_string(struct tr *t, const struct insn *in)
{
    struct emit *e = t->e;
    bool w = in->opsize == 8;

    if (in->opsize == 2 || !tr_address(t, in))
        return TR_STEP;
    tr_need_flags(t, HT);
    tr_get(t, HT, in->reg);
    if (!w)
        emit_rr(e, true, 0x63, HT, HT); /* movsxd */
    emit_rr(e, true, 0xc1, 7, HT);
    emit_1(e, w ? 6 : 5);
    emit_rr(e, true, 0xc1, 4, HT);
    emit_1(e, w ? 3 : 2);
    emit_rr(e, true, 0x01, HT, HS);
    if (in->addrsize == 4)
        emit_rr(e, false, 0x8b, HS, HS);
    tr_check(t, in->opsize, in->info->bits & INFO_MEM_WRITE, false);
    tr_get(t, HT, in->reg);
    emit_rr(e, false, 0x83, 4, HT);
    emit_1(e, w ? 63 : 31);
    tr_restore_flags(t, REG_NONE);
    if (in->prefixes & PFX_LOCK)
        emit_1(e, 0xf0);
    emit_rm(e, w, 0x0f00u | in->opcode, HT, HS, 0);
    return TR_NEXT;
}

static enum tr_result set_direction(struct tr *t, bool set)
{
    tr_need_flags(t, HT);
    emit_ctx(t->e, false, 0x81, set ? 1 : 4, rflags);
    emit_4(t->e, set ? (uint32_t)FL_DF : ~(uint32_t)FL_DF);
    tr_restore_flags(t, HT);
    return TR_NEXT;
}

static enum tr_result copy_int_special(struct tr *t, const struct insn *in, bool *done)
{
    *done = true;
    if (in->map == MAP_1B && in->enc == ENC_LEGACY) {
        switch (in->opcode) {
        case 0x8d:
            if (!lea_is_plain(in))
                return copy_lea(t, in);
            put_lea(t, in);
            return TR_NEXT;
        case 0x90:
            if (!(in->rex & 1))
                return TR_NEXT;
            break;
        case 0xa0:
        case 0xa1:
        case 0xa2:
        case 0xa3:
            return copy_moffs(t, in);
        case 0xf6:
        case 0xf7:
            if ((in->modrm >> 3 & 7) >= 6)
                return copy_div(t, in);
            break;
        case 0xfc:
        case 0xfd:
            return set_direction(t, in->opcode == 0xfd);
        default:
            if (in->opcode >= 0x40 && in->opcode <= 0x4f) { /* INC, DEC outside 64-bit mode */
                if (in->opsize == 2)
                    emit_1(t->e, 0x66);
                emit_rr(t->e, false, 0xff, in->opcode >> 3 & 1, host_of(in->opcode & 7));
                return TR_NEXT;
            }
            if (in->opcode == 0x82)
                return TR_STEP;
        }
    }
    if (in->has_modrm && in->info->bits & INFO_MEM_ADDR)
        return TR_NEXT; /* a hint */
    if (in->info->bits & INFO_BITSTRING && in->mod != 3)
        return copy_bit_string(t, in);
    *done = false;
    return TR_NEXT;
}

static void guard_fpu(struct tr *t)
{
    if (t->fpu_here)
        return;
    tr_need_flags(t, HT);
    tr_scr(t, false, 0x83, 7, SCR_FPU);
    emit_1(t->e, 0);
    struct stub *s = tr_stub(t, STUB_FPU, emit_jump(t->e, CC_E));
    s->resume = t->e->p;
    t->hs_window = 0;
    t->fpu_here = true;
}

/* Vector and x87 work: what the interpreter must do, since it needs a look at the state. */
static bool fpu_is_special(const struct tr *t, const struct insn *in)
{
    unsigned reg = in->modrm >> 3 & 7;
    uint32_t off = MODE_FPU_OFF | (in->enc == ENC_VEX           ? MODE_AVX_OFF
                                   : in->info->cls == CLASS_VEC ? MODE_SSE_OFF
                                                                : 0);

    if (t->mode & off || in->info->bits & (INFO_VSIB | INFO_MASKED | INFO_MASKMOV))
        return true;
    if (in->map == MAP_0F && in->opcode == 0xae)
        return reg == 2; /* LDMXCSR might unmask */
    if (in->map != MAP_1B || in->mod == 3 || !in->has_modrm)
        return false;
    return (in->opcode == 0xd9 && (reg == 4 || reg == 5 || reg == 6)) ||
           (in->opcode == 0xdd && (reg == 4 || reg == 6));
}

enum tr_result tr_copy(struct tr *t, const struct insn *in)
{
    bool mem = is_memory(in), done;
    bool fpu = in->info->cls == CLASS_VEC || in->info->cls == CLASS_X87;

    if (in->map == MAP_0F && in->opcode == 0xae && in->mod == 3 && in->info->cls == CLASS_VEC) {
        struct fields f = { .reg = in->reg, .rm = in->rm, .kind = RM_REG };
        put(t, in, &f); /* fences */
        return TR_NEXT;
    }
    if ((fpu && fpu_is_special(t, in)) || (t->bits == 32 && in->rex & 8))
        return TR_STEP; /* VEX.W counts in 64-bit mode only */
    if (!fpu) {
        enum tr_result r = copy_int_special(t, in, &done);
        if (done)
            return r;
    }
    if (fpu)
        guard_fpu(t);
    if (mem && !tr_operand(t, in, insn_mem_bytes(in), in->info->bits & INFO_MEM_WRITE,
                           in->info->bits & INFO_ALIGN))
        return TR_STEP;
    return copy_with(t, in, mem, REG_NONE);
}
