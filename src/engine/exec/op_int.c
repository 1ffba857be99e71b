/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * op_int.c - integer instructions. Arithmetic is done by the host's own instruction, so that flags
 * (undefined ones too) are the host's.
 */
#include "engine/exec/ops.h"
#include "engine/x86/cpuid.h"

enum { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

bool rmw_lock(struct rmw *m, uint64_t v)
{
    switch (m->size) {
    case 1: {
        uint8_t old = (uint8_t)m->old;
        bool ok = __atomic_compare_exchange_n((uint8_t *)m->host, &old, (uint8_t)v, false,
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);

        m->old = old;
        return ok;
    }
    case 2: {
        uint16_t old = (uint16_t)m->old;
        bool ok = __atomic_compare_exchange_n((uint16_t *)m->host, &old, (uint16_t)v, false,
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);

        m->old = old;
        return ok;
    }
    case 4: {
        uint32_t old = (uint32_t)m->old;
        bool ok = __atomic_compare_exchange_n((uint32_t *)m->host, &old, (uint32_t)v, false,
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);

        m->old = old;
        return ok;
    }
    default: {
        bool ok = __atomic_compare_exchange_n((uint64_t *)m->host, &m->old, v, false,
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);

        return ok;
    }
    }
}

/* One host instruction on (x, b) with CF as given; x and ax are its results. */
#define NATIVE2(ins, T)                                            \
    do {                                                           \
        T x_ = (T)*x, b_ = (T)b;                                   \
        uint16_t ax_;                                              \
        __asm__("bt $0, %3\n\t" ins " %2, %1\n\tlahf\n\tseto %%al" \
                : "=&a"(ax_), "+r"(x_)                             \
                : "r"(b_), "r"((uint32_t)fl)                       \
                : "cc");                                           \
        *x = x_;                                                   \
        return flags_of(ax_);                                      \
    } while (false)
#define NATIVE1(ins, T)                                        \
    do {                                                       \
        T x_ = (T)*x;                                          \
        uint16_t ax_;                                          \
        __asm__("bt $0, %2\n\t" ins " %1\n\tlahf\n\tseto %%al" \
                : "=&a"(ax_), "+r"(x_)                         \
                : "r"((uint32_t)fl)                            \
                : "cc");                                       \
        *x = x_;                                               \
        return flags_of(ax_);                                  \
    } while (false)
#define BY_SIZE(macro, ins)       \
    switch (size) {               \
    case 1:                       \
        macro(ins "b", uint8_t);  \
    case 2:                       \
        macro(ins "w", uint16_t); \
    case 4:                       \
        macro(ins "l", uint32_t); \
    default:                      \
        macro(ins "q", uint64_t); \
    }

/* *x = *x op b; returns the arithmetic flags. */
static uint64_t alu(unsigned op, unsigned size, uint64_t *x, uint64_t b, uint64_t fl)
{
    switch (op) {
    case ALU_ADD:
        BY_SIZE(NATIVE2, "add")
    case ALU_OR:
        BY_SIZE(NATIVE2, "or")
    case ALU_ADC:
        BY_SIZE(NATIVE2, "adc")
    case ALU_SBB:
        BY_SIZE(NATIVE2, "sbb")
    case ALU_AND:
        BY_SIZE(NATIVE2, "and")
    case ALU_SUB:
        BY_SIZE(NATIVE2, "sub")
    case ALU_XOR:
        BY_SIZE(NATIVE2, "xor")
    default:
        BY_SIZE(NATIVE2, "cmp")
    }
}

static uint64_t unary(unsigned op, unsigned size, uint64_t *x, uint64_t fl)
{
    switch (op) {
    case 0:
        BY_SIZE(NATIVE1, "inc")
    case 1:
        BY_SIZE(NATIVE1, "dec")
    default:
        BY_SIZE(NATIVE1, "neg")
    }
}

#define NATIVE_CL(ins, T)                                            \
    do {                                                             \
        T x_ = (T)*x;                                                \
        uint16_t ax_;                                                \
        __asm__("bt $0, %3\n\t" ins " %%cl, %1\n\tlahf\n\tseto %%al" \
                : "=&a"(ax_), "+r"(x_)                               \
                : "c"((uint8_t)n), "r"((uint32_t)fl)                 \
                : "cc");                                             \
        *x = x_;                                                     \
        return flags_of(ax_);                                        \
    } while (false)

static uint64_t shift(unsigned op, unsigned size, uint64_t *x, unsigned n, uint64_t fl)
{
    switch (op) {
    case 0:
        BY_SIZE(NATIVE_CL, "rol")
    case 1:
        BY_SIZE(NATIVE_CL, "ror")
    case 2:
        BY_SIZE(NATIVE_CL, "rcl")
    case 3:
        BY_SIZE(NATIVE_CL, "rcr")
    case 5:
        BY_SIZE(NATIVE_CL, "shr")
    case 7:
        BY_SIZE(NATIVE_CL, "sar")
    default:
        BY_SIZE(NATIVE_CL, "shl")
    }
}

/* op r/m, value */
static enum op_result alu_rm(struct cpu *cpu, const struct insn *i, unsigned op, unsigned size,
                             uint64_t b)
{
    uint64_t fl, x;

    if (op == ALU_CMP) {
        x = rm_get(cpu, i, size);
        fl = alu(op, size, &x, b, 0);
    } else {
        struct rmw m;

        rmw_begin(cpu, i, size, &m);
        do {
            x = m.old;
            fl = alu(op, size, &x, b, cpu->rflags);
        } while (!rmw_end(cpu, i, &m, x));
    }
    set_flags(cpu, FL_ARITH, fl);
    return OP_NEXT;
}

static enum op_result op_alu_rm_reg(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);

    return alu_rm(cpu, i, i->opcode >> 3, size, reg_get(cpu, i, i->reg, size));
}

static enum op_result op_alu_reg_rm(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i), op = i->opcode >> 3;
    uint64_t b = rm_get(cpu, i, size), x = reg_get(cpu, i, i->reg, size);

    set_flags(cpu, FL_ARITH, alu(op, size, &x, b, cpu->rflags));
    if (op != ALU_CMP) {
        reg_set(cpu, i, i->reg, size, x);
    }
    return OP_NEXT;
}

static enum op_result op_alu_acc(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i), op = i->opcode >> 3;
    uint64_t x = reg_get(cpu, i, REG_AX, size);

    set_flags(cpu, FL_ARITH, alu(op, size, &x, i->imm, cpu->rflags));
    if (op != ALU_CMP) {
        reg_set(cpu, i, REG_AX, size, x);
    }
    return OP_NEXT;
}

static enum op_result op_alu_imm(struct cpu *cpu, const struct insn *i)
{
    return alu_rm(cpu, i, i->reg & 7, i->opcode == 0x80 || i->opcode == 0x82 ? 1 : i->opsize,
                  i->imm);
}

static enum op_result op_test_rm(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);
    uint64_t x = rm_get(cpu, i, size);
    uint64_t b = i->opcode >= 0xf6 ? i->imm : reg_get(cpu, i, i->reg, size);

    set_flags(cpu, FL_ARITH, alu(ALU_AND, size, &x, b, 0));
    return OP_NEXT;
}

static enum op_result op_test_acc(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);
    uint64_t x = reg_get(cpu, i, REG_AX, size);

    set_flags(cpu, FL_ARITH, alu(ALU_AND, size, &x, i->imm, 0));
    return OP_NEXT;
}

/* INC and DEC leave CF alone. */
static enum op_result inc_dec(struct cpu *cpu, const struct insn *i, unsigned op, unsigned size)
{
    struct rmw m;
    uint64_t x, fl;

    rmw_begin(cpu, i, size, &m);
    do {
        x = m.old;
        fl = unary(op, size, &x, cpu->rflags);
    } while (!rmw_end(cpu, i, &m, x));
    set_flags(cpu, FL_ARITH & ~FL_CF, fl);
    return OP_NEXT;
}

static enum op_result op_inc_dec(struct cpu *cpu, const struct insn *i)
{
    return inc_dec(cpu, i, i->reg & 1, insn_size(i));
}

static enum op_result op_inc_dec_reg(struct cpu *cpu, const struct insn *i)
{
    unsigned n = i->opcode & 7;
    uint64_t x = reg_get(cpu, i, n, i->opsize);

    set_flags(cpu, FL_ARITH & ~FL_CF, unary((i->opcode >> 3) & 1, i->opsize, &x, cpu->rflags));
    reg_set(cpu, i, n, i->opsize, x);
    return OP_NEXT;
}

static enum op_result op_not_neg(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);
    bool neg = (i->reg & 7) == 3;
    struct rmw m;
    uint64_t x, fl = 0;

    rmw_begin(cpu, i, size, &m);
    do {
        x = m.old;
        if (neg) {
            fl = unary(2, size, &x, 0);
        } else {
            x = ~x;
        }
    } while (!rmw_end(cpu, i, &m, x));
    if (neg) {
        set_flags(cpu, FL_ARITH, fl);
    }
    return OP_NEXT;
}

static enum op_result op_shift(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i), op = i->reg & 7;
    unsigned n = i->opcode < 0xd0   ? (unsigned)i->imm
                 : i->opcode < 0xd2 ? 1
                                    : (unsigned)cpu->gpr[REG_CX];
    struct rmw m;
    uint64_t x, fl;

    n &= size == 8 ? 63 : 31;
    rmw_begin(cpu, i, size, &m);
    do {
        x = m.old;
        fl = n != 0 ? shift(op, size, &x, n, cpu->rflags) : 0;
    } while (!rmw_end(cpu, i, &m, x));
    if (n != 0) {
        set_flags(cpu, op < 4 ? FL_CF | FL_OF : FL_ARITH, fl);
    }
    return OP_NEXT;
}

/* ---- multiply, divide ---- */

static enum op_result op_mul(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);
    bool is_signed = (i->reg & 7) == 5;
    uint64_t b = rm_get(cpu, i, size), a = reg_get(cpu, i, REG_AX, size), fl;
    uint8_t of;

    if (size == 8) {
        uint64_t lo = a, hi;
        uint8_t sf;

        if (is_signed) {
            __asm__("imulq %4\n\tseto %2\n\tsets %3"
                    : "+a"(lo), "=&d"(hi), "=&r"(of), "=&r"(sf)
                    : "r"(b)
                    : "cc");
        } else {
            __asm__("mulq %4\n\tseto %2\n\tsets %3"
                    : "+a"(lo), "=&d"(hi), "=&r"(of), "=&r"(sf)
                    : "r"(b)
                    : "cc");
        }
        cpu->gpr[REG_AX] = lo;
        cpu->gpr[REG_DX] = hi;
    } else {
        unsigned shift_bits = 64 - 8 * size;
        uint64_t p;

        if (is_signed) {
            int64_t x = (int64_t)(a << shift_bits) >> shift_bits;
            int64_t y = (int64_t)(b << shift_bits) >> shift_bits;

            p = (uint64_t)(x * y);
            of = (int64_t)p != (int64_t)(p << shift_bits) >> shift_bits;
        } else {
            p = a * b;
            of = (p & ~mask_bytes(size)) != 0;
        }
        if (size == 1) {
            reg_set(cpu, i, REG_AX, 2, p);
        } else {
            reg_set(cpu, i, REG_AX, size, p);
            reg_set(cpu, i, REG_DX, size, p >> (8 * size));
        }
    }
    fl = of != 0 ? FL_CF | FL_OF : 0;
    set_flags(cpu, FL_CF | FL_OF, fl);
    return OP_NEXT;
}

static enum op_result op_div(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);
    bool is_signed = (i->reg & 7) == 7;
    uint64_t d = rm_get(cpu, i, size);
    unsigned bits = 8 * size;
    unsigned __int128 n;
    uint64_t quotient, rest;

    if (d == 0) {
        raise_exc(cpu, EXC_DE);
    }
    if (size == 1) {
        n = cpu->gpr[REG_AX] & 0xffff;
    } else {
        n = (unsigned __int128)reg_get(cpu, i, REG_DX, size) << bits |
            reg_get(cpu, i, REG_AX, size);
    }
    if (is_signed) {
        __int128 sn = (__int128)(n << (128 - 2 * bits)) >> (128 - 2 * bits);
        int64_t sd = (int64_t)(d << (64 - bits)) >> (64 - bits);
        __int128 q;

        if (sd == -1 && (unsigned __int128)sn == (unsigned __int128)1 << 127) {
            raise_exc(cpu, EXC_DE);
        }
        q = sn / sd;
        if (q != (__int128)((unsigned __int128)q << (128 - bits)) >> (128 - bits)) {
            raise_exc(cpu, EXC_DE);
        }
        quotient = (uint64_t)q;
        rest = (uint64_t)(sn % sd);
    } else {
        if ((uint64_t)(n >> bits) >= d) {
            raise_exc(cpu, EXC_DE);
        }
        quotient = (uint64_t)(n / d);
        rest = (uint64_t)(n % d);
    }
    if (size == 1) {
        reg_set(cpu, i, REG_AX, 2, (quotient & 0xff) | (rest & 0xff) << 8);
    } else {
        reg_set(cpu, i, REG_AX, size, quotient);
        reg_set(cpu, i, REG_DX, size, rest);
    }
    return OP_NEXT;
}

static enum op_result op_group3(struct cpu *cpu, const struct insn *i)
{
    switch (i->reg & 7) {
    case 0:
    case 1:
        return op_test_rm(cpu, i);
    case 2:
    case 3:
        return op_not_neg(cpu, i);
    case 4:
    case 5:
        return op_mul(cpu, i);
    default:
        return op_div(cpu, i);
    }
}

static enum op_result op_imul(struct cpu *cpu, const struct insn *i)
{
    unsigned size = i->opsize, shift_bits = 64 - 8 * size;
    uint64_t a = rm_get(cpu, i, size);
    uint64_t b = i->map == MAP_0F ? reg_get(cpu, i, i->reg, size) : i->imm;
    int64_t x = (int64_t)(a << shift_bits) >> shift_bits, p;
    int64_t y = (int64_t)(b << shift_bits) >> shift_bits;
    bool over = __builtin_mul_overflow(x, y, &p);

    if (size < 8) {
        over = p != (int64_t)((uint64_t)p << shift_bits) >> shift_bits;
    }
    reg_set(cpu, i, i->reg, size, (uint64_t)p);
    set_flags(cpu, FL_CF | FL_OF, over ? FL_CF | FL_OF : 0);
    return OP_NEXT;
}

/* ---- moves ---- */

static enum op_result op_mov_rm_reg(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);

    rm_set(cpu, i, size, reg_get(cpu, i, i->reg, size));
    return OP_NEXT;
}

static enum op_result op_mov_reg_rm(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);

    reg_set(cpu, i, i->reg, size, rm_get(cpu, i, size));
    return OP_NEXT;
}

static enum op_result op_mov_rm_imm(struct cpu *cpu, const struct insn *i)
{
    rm_set(cpu, i, insn_size(i), i->imm);
    return OP_NEXT;
}

static enum op_result op_mov_reg_imm8(struct cpu *cpu, const struct insn *i)
{
    reg_set(cpu, i, (i->opcode & 7) | (i->rex & 1) << 3, 1, i->imm);
    return OP_NEXT;
}

static enum op_result op_mov_reg_imm(struct cpu *cpu, const struct insn *i)
{
    reg_set(cpu, i, (i->opcode & 7) | (i->rex & 1) << 3, i->opsize, i->imm);
    return OP_NEXT;
}

static enum op_result op_mov_acc_moffs(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);
    bool write = i->opcode >= 0xa2;
    uint64_t va = seg_linear(cpu, i->seg, i->imm, size, write, i->seg == SEG_SS);

    if (write) {
        store(cpu, va, size, reg_get(cpu, i, REG_AX, size));
    } else {
        reg_set(cpu, i, REG_AX, size, load(cpu, va, size));
    }
    return OP_NEXT;
}

static enum op_result op_lea(struct cpu *cpu, const struct insn *i)
{
    reg_set(cpu, i, i->reg, i->opsize, insn_offset(cpu, i));
    return OP_NEXT;
}

static enum op_result op_movzx(struct cpu *cpu, const struct insn *i)
{
    reg_set(cpu, i, i->reg, i->opsize, rm_get(cpu, i, (i->opcode & 1) == 0 ? 1 : 2));
    return OP_NEXT;
}

static enum op_result op_movsx(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (i->map == MAP_1B) { /* MOVSXD; without REX.W a plain move. With 16 bits AMD's processors read
                               32 all the same: it shows only where the other two fault. */
        v = (uint64_t)(int64_t)(int32_t)rm_get(cpu, i, 4);
    } else if ((i->opcode & 1) == 0) {
        v = (uint64_t)(int64_t)(int8_t)rm_get(cpu, i, 1);
    } else {
        v = (uint64_t)(int64_t)(int16_t)rm_get(cpu, i, 2);
    }
    reg_set(cpu, i, i->reg, i->opsize, v);
    return OP_NEXT;
}

static enum op_result op_xchg(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);
    uint64_t v = reg_get(cpu, i, i->reg, size);
    struct rmw m;

    rmw_begin(cpu, i, size, &m);
    while (!rmw_end(cpu, i, &m, v)) {
    }
    reg_set(cpu, i, i->reg, size, m.old);
    return OP_NEXT;
}

static enum op_result op_xchg_acc(struct cpu *cpu, const struct insn *i)
{
    unsigned n = (i->opcode & 7) | (i->rex & 1) << 3;
    uint64_t a = reg_get(cpu, i, REG_AX, i->opsize), b = reg_get(cpu, i, n, i->opsize);

    if (n != REG_AX) {
        reg_set(cpu, i, n, i->opsize, a);
        reg_set(cpu, i, REG_AX, i->opsize, b);
    }
    return OP_NEXT;
}

static enum op_result op_nop(struct cpu *cpu, const struct insn *i)
{
    (void)cpu;
    (void)i;
    return OP_NEXT;
}

static enum op_result op_setcc(struct cpu *cpu, const struct insn *i)
{
    rm_set(cpu, i, 1, cond(cpu->rflags, i->opcode & 15));
    return OP_NEXT;
}

static enum op_result op_cmov(struct cpu *cpu, const struct insn *i)
{
    uint64_t v = rm_get(cpu, i, i->opsize);

    if (!cond(cpu->rflags, i->opcode & 15)) {
        v = cpu->gpr[i->reg]; /* a 32-bit form still clears the upper half */
    }
    reg_set(cpu, i, i->reg, i->opsize, v);
    return OP_NEXT;
}

static enum op_result op_cbw(struct cpu *cpu, const struct insn *i)
{
    uint64_t a = cpu->gpr[REG_AX];

    a = i->opsize == 8   ? (uint64_t)(int64_t)(int32_t)a
        : i->opsize == 4 ? (uint64_t)(int64_t)(int16_t)a
                         : (uint64_t)(int64_t)(int8_t)a;
    reg_set(cpu, i, REG_AX, i->opsize, a);
    return OP_NEXT;
}

static enum op_result op_cwd(struct cpu *cpu, const struct insn *i)
{
    uint64_t a = cpu->gpr[REG_AX] >> (8 * i->opsize - 1) & 1;

    reg_set(cpu, i, REG_DX, i->opsize, a != 0 ? UINT64_MAX : 0);
    return OP_NEXT;
}

static enum op_result op_flag(struct cpu *cpu, const struct insn *i)
{
    switch (i->opcode) {
    case 0xf5:
        cpu->rflags ^= FL_CF;
        break;
    case 0xf8:
        cpu->rflags &= ~(uint64_t)FL_CF;
        break;
    case 0xf9:
        cpu->rflags |= FL_CF;
        break;
    case 0xfc:
        cpu->rflags &= ~(uint64_t)FL_DF;
        break;
    default:
        cpu->rflags |= FL_DF;
        break;
    }
    return OP_NEXT;
}

static enum op_result op_sahf(struct cpu *cpu, const struct insn *i)
{
    if (i->opcode == 0x9e) {
        set_flags(cpu, FL_ARITH & ~FL_OF, cpu->gpr[REG_AX] >> 8);
    } else {
        cpu->gpr[REG_AX] =
            (cpu->gpr[REG_AX] & ~UINT64_C(0xff00)) | ((cpu->rflags & (FL_ARITH & ~FL_OF)) | 2) << 8;
    }
    return OP_NEXT;
}

static enum op_result op_bswap(struct cpu *cpu, const struct insn *i)
{
    unsigned n = (i->opcode & 7) | (i->rex & 1) << 3;

    if (i->opsize == 2) {
        reg_set(cpu, i, n, 2, 0); /* undefined; what processors do */
    } else {
        reg_set(cpu, i, n, i->opsize,
                i->opsize == 8 ? __builtin_bswap64(cpu->gpr[n])
                               : __builtin_bswap32((uint32_t)cpu->gpr[n]));
    }
    return OP_NEXT;
}

static enum op_result op_movbe(struct cpu *cpu, const struct insn *i)
{
    bool write = i->opcode == 0xf1;
    uint64_t v = write ? reg_get(cpu, i, i->reg, i->opsize) : rm_get(cpu, i, i->opsize);

    v = __builtin_bswap64(v) >> (64 - 8 * i->opsize);
    if (write) {
        rm_set(cpu, i, i->opsize, v);
    } else {
        reg_set(cpu, i, i->reg, i->opsize, v);
    }
    return OP_NEXT;
}

/* ---- bit tests ---- */

static enum op_result op_bt(struct cpu *cpu, const struct insn *i)
{
    unsigned op = i->opcode == 0xba ? i->reg & 3 : (i->opcode >> 3) & 3;
    uint64_t n = i->opcode == 0xba ? i->imm : reg_get(cpu, i, i->reg, i->opsize);
    unsigned bit = (unsigned)n & (8u * i->opsize - 1), size = i->opsize;
    struct rmw m;
    uint64_t x;

    if (i->mod != 3 && i->opcode != 0xba) {
        /* The bit string reaches around its address: whole operands by a signed index. */
        unsigned sb = 64 - 8 * size;
        int64_t index = ((int64_t)(n << sb) >> sb) >> (size == 8 ? 6 : size == 4 ? 5 : 4);
        uint64_t off = insn_offset(cpu, i) + (uint64_t)(index * (int64_t)size);

        off = i->addrsize == 8 ? off : off & mask_bytes(i->addrsize);
        m.va = seg_linear(cpu, i->seg, off, size, op != 0, i->seg == SEG_SS);
        if (op == 0) {
            x = load(cpu, m.va, size);
        } else {
            m.size = size;
            m.host = mem_rmw_host(cpu, m.va, size);
            m.old = m.host != NULL ? load_host(m.host, size) : load(cpu, m.va, size);
        }
    } else if (op == 0) {
        x = rm_get(cpu, i, size);
    } else {
        rmw_begin(cpu, i, size, &m);
    }
    if (op != 0) {
        uint64_t mask = UINT64_C(1) << bit, v;

        do {
            x = m.old;
            v = op == 1 ? x | mask : op == 2 ? x & ~mask : x ^ mask;
        } while (!rmw_end(cpu, i, &m, v));
    }
    set_flags(cpu, FL_CF, x >> bit & 1);
    return OP_NEXT;
}

/* ---- compare and exchange ---- */

static enum op_result op_cmpxchg(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);
    uint64_t acc = reg_get(cpu, i, REG_AX, size), src = reg_get(cpu, i, i->reg, size), x, fl;
    struct rmw m;

    rmw_begin(cpu, i, size, &m);
    do {
        x = acc;
        fl = alu(ALU_CMP, size, &x, m.old, 0);
        /* A failed comparison writes the old value back (SDM 2, CMPXCHG); a register destination
         * stays as it is, upper half too. */
        if (m.old != acc && i->mod == 3) {
            break;
        }
    } while (!rmw_end(cpu, i, &m, m.old == acc ? src : m.old));
    if (m.old != acc) {
        reg_set(cpu, i, REG_AX, size, m.old);
    }
    set_flags(cpu, FL_ARITH, fl);
    return OP_NEXT;
}

static enum op_result op_xadd(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);
    uint64_t src = reg_get(cpu, i, i->reg, size), x, fl;
    struct rmw m;

    rmw_begin(cpu, i, size, &m);
    if (i->mod == 3) {
        x = m.old;
        fl = alu(ALU_ADD, size, &x, src, 0);
        reg_set(cpu, i, i->reg, size, m.old);
        reg_set(cpu, i, i->rm, size, x);
    } else {
        do {
            x = m.old;
            fl = alu(ALU_ADD, size, &x, src, 0);
        } while (!rmw_end(cpu, i, &m, x));
        reg_set(cpu, i, i->reg, size, m.old);
    }
    set_flags(cpu, FL_ARITH, fl);
    return OP_NEXT;
}

static enum op_result op_cmpxchg8b(struct cpu *cpu, const struct insn *i)
{
    uint64_t old = (cpu->gpr[REG_DX] << 32) | (uint32_t)cpu->gpr[REG_AX], seen = old;
    uint64_t new = (uint32_t)cpu->gpr[REG_BX] | cpu->gpr[REG_CX] << 32;
    uint64_t va = insn_linear(cpu, i, 8, true);
    uint64_t *host = mem_rmw_host(cpu, va, 8);

    if (host != NULL) {
        (void)__atomic_compare_exchange_n(host, &seen, new, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST);
    } else {
        seen = load(cpu, va, 8);
        store(cpu, va, 8, seen == old ? new : seen);
    }
    set_flags(cpu, FL_ZF, seen == old ? FL_ZF : 0);
    if (seen != old) {
        cpu->gpr[REG_AX] = (uint32_t)seen;
        cpu->gpr[REG_DX] = seen >> 32;
    }
    return OP_NEXT;
}

static enum op_result op_cmpxchg16b(struct cpu *cpu, const struct insn *i)
{
    uint64_t lo = cpu->gpr[REG_AX], hi = cpu->gpr[REG_DX], va;
    uint8_t equal;
    void *host;

    /* Before a stack fault for an address that is not canonical. */
    if (((insn_offset(cpu, i) + (i->seg >= SEG_FS ? cpu->seg[i->seg].base : 0)) & 15) != 0) {
        raise_gp(cpu);
    }
    va = insn_linear(cpu, i, 16, true);
    host = mem_rmw_host(cpu, va, 16);
    if (host != NULL) {
        __asm__ volatile("lock cmpxchg16b (%3)\n\tsete %2"
                         : "+a"(lo), "+d"(hi), "=&r"(equal)
                         : "r"(host), "b"(cpu->gpr[REG_BX]), "c"(cpu->gpr[REG_CX])
                         : "cc", "memory");
    } else {
        uint64_t a = load(cpu, va, 8), b = load(cpu, va + 8, 8);

        equal = a == lo && b == hi;
        store(cpu, va, 8, equal ? cpu->gpr[REG_BX] : a);
        store(cpu, va + 8, 8, equal ? cpu->gpr[REG_CX] : b);
        lo = a;
        hi = b;
    }
    if (!equal) {
        cpu->gpr[REG_AX] = lo;
        cpu->gpr[REG_DX] = hi;
    }
    set_flags(cpu, FL_ZF, equal ? FL_ZF : 0);
    return OP_NEXT;
}

static enum op_result op_crc32(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_size(i);
    uint64_t v = rm_get(cpu, i, size), crc = cpu->gpr[i->reg];

    switch (size) {
    case 1:
        __asm__("crc32b %1, %k0" : "+r"(crc) : "r"((uint8_t)v));
        break;
    case 2:
        __asm__("crc32w %1, %k0" : "+r"(crc) : "r"((uint16_t)v));
        break;
    case 4:
        __asm__("crc32l %1, %k0" : "+r"(crc) : "r"((uint32_t)v));
        break;
    default:
        __asm__("crc32q %1, %0" : "+r"(crc) : "r"(v));
        break;
    }
    cpu->gpr[i->reg] = (uint32_t)crc;
    return OP_NEXT;
}

/* ---- stack ---- */

static enum op_result op_push_reg(struct cpu *cpu, const struct insn *i)
{
    push(cpu, i->opsize, cpu->gpr[(i->opcode & 7) | (i->rex & 1) << 3]);
    return OP_NEXT;
}

static enum op_result op_pop_reg(struct cpu *cpu, const struct insn *i)
{
    uint64_t sp = cpu->gpr[REG_SP], v = pop_at(cpu, &sp, i->opsize);

    sp_set(cpu, sp);
    reg_set(cpu, i, (i->opcode & 7) | (i->rex & 1) << 3, i->opsize, v);
    return OP_NEXT;
}

static enum op_result op_push_imm(struct cpu *cpu, const struct insn *i)
{
    push(cpu, i->opsize, i->imm);
    return OP_NEXT;
}

static enum op_result op_push_rm(struct cpu *cpu, const struct insn *i)
{
    push(cpu, i->opsize, rm_get(cpu, i, i->opsize));
    return OP_NEXT;
}

static enum op_result op_pop_rm(struct cpu *cpu, const struct insn *i)
{
    uint64_t old = cpu->gpr[REG_SP], sp = old, v = pop_at(cpu, &sp, i->opsize);

    if (i->mod == 3) {
        sp_set(cpu, sp);
        reg_set(cpu, i, i->rm, i->opsize, v);
        return OP_NEXT;
    }
    /* An address with RSP as base is computed after the increment (SDM 2, POP). */
    sp_set(cpu, sp);
    {
        uint64_t off = insn_offset(cpu, i), va;

        sp = cpu->gpr[REG_SP];
        cpu->gpr[REG_SP] = old; /* as long as it may fault */
        va = seg_linear(cpu, i->seg, off, i->opsize, true, i->seg == SEG_SS);
        store(cpu, va, i->opsize, v);
        cpu->gpr[REG_SP] = sp;
    }
    return OP_NEXT;
}

static enum op_result op_pusha(struct cpu *cpu, const struct insn *i)
{
    uint64_t sp = cpu->gpr[REG_SP], old = sp;

    for (unsigned r = 0; r < 8; r++) {
        push_at(cpu, &sp, i->opsize, r == REG_SP ? old : cpu->gpr[r]);
    }
    sp_set(cpu, sp);
    return OP_NEXT;
}

static enum op_result op_popa(struct cpu *cpu, const struct insn *i)
{
    uint64_t sp = cpu->gpr[REG_SP], v[8];

    for (unsigned r = 8; r-- > 0;) {
        v[r] = pop_at(cpu, &sp, i->opsize);
    }
    sp_set(cpu, sp);
    for (unsigned r = 0; r < 8; r++) {
        if (r != REG_SP) {
            reg_set(cpu, i, r, i->opsize, v[r]);
        }
    }
    return OP_NEXT;
}

static enum op_result op_pushf(struct cpu *cpu, const struct insn *i)
{
    if ((cpu->mode & MODE_VM86) != 0 && iopl(cpu) < 3) {
        raise_gp(cpu);
    }
    push(cpu, i->opsize, cpu->rflags & ~(uint64_t)(FL_RF | FL_VM));
    return OP_NEXT;
}

static enum op_result op_popf(struct cpu *cpu, const struct insn *i)
{
    uint64_t sp = cpu->gpr[REG_SP], v, mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID;
    bool was_on = (cpu->rflags & FL_IF) != 0;

    if ((cpu->mode & MODE_VM86) != 0 && iopl(cpu) < 3) {
        raise_gp(cpu);
    }
    v = pop_at(cpu, &sp, i->opsize);
    if (cpu->cpl == 0) {
        mask |= FL_IOPL;
    }
    if (cpu->cpl <= iopl(cpu)) {
        mask |= FL_IF;
    }
    if (i->opsize == 2) {
        mask &= 0xffff;
    } else {
        mask |= FL_RF; /* POPF clears RF */
        v &= ~(uint64_t)FL_RF;
    }
    sp_set(cpu, sp);
    cpu->rflags = (cpu->rflags & ~mask) | (v & mask) | FL_FIXED;
    cpu_update_mode(cpu);
    if (!was_on && (cpu->rflags & FL_IF) != 0) {
        irq_opened(cpu);
    }
    return OP_STOP;
}

static enum op_result op_enter(struct cpu *cpu, const struct insn *i)
{
    unsigned level = i->imm2 & 31, size = i->opsize;
    uint64_t sp = cpu->gpr[REG_SP], bp = cpu->gpr[REG_BP], frame;
    uint64_t mask = mask_bytes(stack_bytes(cpu));

    push_at(cpu, &sp, size, bp);
    frame = sp;
    for (unsigned n = 1; n < level; n++) {
        uint64_t v;

        bp = (bp - size) & mask;
        v = load(cpu, seg_linear(cpu, SEG_SS, bp, size, false, true), size);
        push_at(cpu, &sp, size, v);
    }
    if (level > 0) {
        push_at(cpu, &sp, size, frame);
    }
    sp = (sp - (i->imm & 0xffff)) & mask;
    /* The new top must be writable (SDM 2, ENTER). */
    mem_probe_write(cpu, seg_linear(cpu, SEG_SS, sp, size, true, true), size);
    reg_set(cpu, i, REG_BP, size == 2 ? 2 : stack_bytes(cpu) == 2 ? 2 : size, frame);
    sp_set(cpu, sp);
    return OP_NEXT;
}

static enum op_result op_leave(struct cpu *cpu, const struct insn *i)
{
    uint64_t sp = cpu->gpr[REG_BP], v = pop_at(cpu, &sp, i->opsize);

    sp_set(cpu, sp);
    reg_set(cpu, i, REG_BP, i->opsize, v);
    return OP_NEXT;
}

/* ---- decimal ---- */

static uint64_t parity_flags(uint8_t v)
{
    uint64_t fl = v == 0 ? FL_ZF : 0;

    fl |= v & FL_SF;
    return fl | (__builtin_parity(v) == 0 ? FL_PF : 0);
}

static enum op_result op_daa(struct cpu *cpu, const struct insn *i)
{
    uint8_t al = (uint8_t)cpu->gpr[REG_AX], old = al;
    bool sub = i->opcode == 0x2f, cf = (cpu->rflags & FL_CF) != 0, carry = false, af;

    af = (al & 15) > 9 || (cpu->rflags & FL_AF) != 0;
    if (af) {
        carry = sub ? old < 6 : old > 0xf9;
        al = (uint8_t)(sub ? al - 6 : al + 6);
        carry = carry || cf;
    }
    if (old > 0x99 || cf) {
        al = (uint8_t)(sub ? al - 0x60 : al + 0x60);
        carry = true;
    } else if (!sub) {
        carry = false;
    }
    reg_set(cpu, i, REG_AX, 1, al);
    set_flags(cpu, FL_ARITH & ~FL_OF, parity_flags(al) | (carry ? FL_CF : 0) | (af ? FL_AF : 0));
    return OP_NEXT;
}

static enum op_result op_aaa(struct cpu *cpu, const struct insn *i)
{
    uint16_t ax = (uint16_t)cpu->gpr[REG_AX];
    bool adjust = (ax & 15) > 9 || (cpu->rflags & FL_AF) != 0;

    if (adjust) {
        ax = (uint16_t)(i->opcode == 0x37 ? ax + 0x106 : ax - 6 - 0x100);
    }
    ax &= 0xff0f;
    reg_set(cpu, i, REG_AX, 2, ax);
    set_flags(cpu, FL_ARITH & ~FL_OF, parity_flags((uint8_t)ax) | (adjust ? FL_CF | FL_AF : 0));
    return OP_NEXT;
}

static enum op_result op_aam(struct cpu *cpu, const struct insn *i)
{
    uint8_t al = (uint8_t)cpu->gpr[REG_AX], base = (uint8_t)i->imm, ah;

    if (i->opcode == 0xd4) {
        if (base == 0) {
            raise_exc(cpu, EXC_DE);
        }
        ah = al / base;
        al = al % base;
    } else {
        al = (uint8_t)(al + (uint8_t)(cpu->gpr[REG_AX] >> 8) * base);
        ah = 0;
    }
    reg_set(cpu, i, REG_AX, 2, (uint64_t)ah << 8 | al);
    set_flags(cpu, FL_ARITH, parity_flags(al));
    return OP_NEXT;
}

static enum op_result op_salc(struct cpu *cpu, const struct insn *i)
{
    reg_set(cpu, i, REG_AX, 1, (cpu->rflags & FL_CF) != 0 ? 0xff : 0);
    return OP_NEXT;
}

static enum op_result op_xlat(struct cpu *cpu, const struct insn *i)
{
    uint64_t off = (cpu->gpr[REG_BX] + (uint8_t)cpu->gpr[REG_AX]) & mask_bytes(i->addrsize);

    reg_set(cpu, i, REG_AX, 1,
            load(cpu, seg_linear(cpu, i->seg, off, 1, false, i->seg == SEG_SS), 1));
    return OP_NEXT;
}

static enum op_result op_bound(struct cpu *cpu, const struct insn *i)
{
    unsigned size = i->opsize, sb = 64 - 8 * size;
    uint64_t va = insn_linear(cpu, i, 2 * size, false);
    int64_t n = (int64_t)(cpu->gpr[i->reg] << sb) >> sb;
    int64_t lo = (int64_t)(load(cpu, va, size) << sb) >> sb;
    int64_t hi = (int64_t)(load(cpu, (uint32_t)(va + size), size) << sb) >> sb;

    if (n < lo || n > hi) {
        raise_exc(cpu, EXC_BR);
    }
    return OP_NEXT;
}

static enum op_result op_random(struct cpu *cpu, const struct insn *i)
{
    unsigned long long v = 0;
    uint8_t ok;

    if (!cpuid_has(cpu, (i->reg & 7) == 6 ? CPUID_RDRAND : CPUID_RDSEED)) {
        raise_ud(cpu);
    }
    if ((i->reg & 7) == 6) {
        __asm__ volatile("rdrand %0\n\tsetc %1" : "=r"(v), "=qm"(ok) : : "cc");
    } else {
        __asm__ volatile("rdseed %0\n\tsetc %1" : "=r"(v), "=qm"(ok) : : "cc");
    }
    reg_set(cpu, i, i->rm, i->opsize, ok != 0 ? v : 0);
    set_flags(cpu, FL_ARITH, ok != 0 ? FL_CF : 0);
    return OP_NEXT;
}

static op_fn *one_byte(const struct insn *i)
{
    unsigned op = i->opcode;

    if (op < 0x40) {
        switch (op & 7) {
        case 0:
        case 1:
            return op_alu_rm_reg;
        case 2:
        case 3:
            return op_alu_reg_rm;
        case 4:
        case 5:
            return op_alu_acc;
        default:
            switch (op) {
            case 0x27:
            case 0x2f:
                return op_daa;
            case 0x37:
            case 0x3f:
                return op_aaa;
            default:
                return NULL; /* PUSH, POP of segments: system */
            }
        }
    }
    switch (op) {
    case 0x40 ... 0x4f:
        return op_inc_dec_reg;
    case 0x50 ... 0x57:
        return op_push_reg;
    case 0x58 ... 0x5f:
        return op_pop_reg;
    case 0x60:
        return op_pusha;
    case 0x61:
        return op_popa;
    case 0x62:
        return op_bound;
    case 0x68:
    case 0x6a:
        return op_push_imm;
    case 0x69:
    case 0x6b:
        return op_imul;
    case 0x80 ... 0x83:
        return op_alu_imm;
    case 0x84:
    case 0x85:
        return op_test_rm;
    case 0x86:
    case 0x87:
        return op_xchg;
    case 0x88:
    case 0x89:
        return op_mov_rm_reg;
    case 0x8a:
    case 0x8b:
        return op_mov_reg_rm;
    case 0x8d:
        return op_lea;
    case 0x8f:
        return op_pop_rm;
    case 0x90 ... 0x97:
        return i->info->cls == CLASS_INT ? op_xchg_acc : NULL;
    case 0x98:
        return op_cbw;
    case 0x99:
        return op_cwd;
    case 0x9c:
        return op_pushf;
    case 0x9d:
        return op_popf;
    case 0x9e:
    case 0x9f:
        return op_sahf;
    case 0xa0 ... 0xa3:
        return op_mov_acc_moffs;
    case 0xa8:
    case 0xa9:
        return op_test_acc;
    case 0xb0 ... 0xb7:
        return op_mov_reg_imm8;
    case 0xb8 ... 0xbf:
        return op_mov_reg_imm;
    case 0xc0:
    case 0xc1:
    case 0xd0 ... 0xd3:
        return op_shift;
    case 0xc6:
    case 0xc7:
        return op_mov_rm_imm;
    case 0xc8:
        return op_enter;
    case 0xc9:
        return op_leave;
    case 0xd4:
    case 0xd5:
        return op_aam;
    case 0xd6:
        return op_salc;
    case 0xd7:
        return op_xlat;
    case 0xf5:
    case 0xf8:
    case 0xf9:
    case 0xfc:
    case 0xfd:
        return op_flag;
    case 0xf6:
    case 0xf7:
        return op_group3;
    case 0xfe:
        return op_inc_dec;
    case 0xff:
        return (i->reg & 7) < 2 ? op_inc_dec : (i->reg & 7) == 6 ? op_push_rm : NULL;
    default:
        return NULL;
    }
}

static op_fn *two_byte(const struct insn *i)
{
    switch (i->opcode) {
    case 0x0d:
    case 0x18 ... 0x1f:
        return op_nop;
    case 0x40 ... 0x4f:
        return op_cmov;
    case 0x90 ... 0x9f:
        return op_setcc;
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
    case 0xba:
        return op_bt;
    case 0xaf:
        return op_imul;
    case 0xb0:
    case 0xb1:
        return op_cmpxchg;
    case 0xb6:
    case 0xb7:
        return op_movzx;
    case 0xbe:
    case 0xbf:
        return op_movsx;
    case 0xc0:
    case 0xc1:
        return op_xadd;
    case 0xc3:
        return op_mov_rm_reg; /* MOVNTI: opcode is odd, so insn_size() is right */
    case 0xc7:
        if (i->mod != 3) {
            return (i->reg & 7) == 1 ? (i->rex & 8) != 0 ? op_cmpxchg16b : op_cmpxchg8b : NULL;
        }
        return (i->prefixes & PFX_F3) == 0 && (i->reg & 7) >= 6 ? op_random : NULL;
    case 0xc8 ... 0xcf:
        return op_bswap;
    default:
        return NULL;
    }
}

op_fn *ops_integer(const struct insn *i)
{
    if (i->enc != ENC_LEGACY) {
        return NULL;
    }
    switch (i->map) {
    case MAP_1B:
        if (i->opcode == 0x63) {
            return strcmp(i->info->name, "movsxd") == 0 ? op_movsx : NULL;
        }
        return one_byte(i);
    case MAP_0F:
        if (i->info->cls == CLASS_X87 || i->info->cls == CLASS_VEC) {
            return NULL;
        }
        return two_byte(i);
    case MAP_0F38:
        if (i->opcode == 0xf0 || i->opcode == 0xf1) {
            return i->pp == 3 ? op_crc32 : op_movbe;
        }
        return NULL;
    default:
        return NULL;
    }
}
