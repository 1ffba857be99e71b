/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * emit.h - writing x86-64 instructions (SDM 2).
 *
 * While compiled code runs, RSP is the struct cpu; guest registers are in the host registers of the
 * same number, but: guest RSP in R13, guest R13-R15 in cpu->gpr. R14 (HS) and R15 (HT) are scratch.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { H_AX, H_CX, H_DX, H_BX, H_CTX, H_BP, H_SI, H_DI, H_GSP = 13, HS = 14, HT = 15 };

struct emit {
    uint8_t *p; /* in the writable view */
    uint8_t *end;
};

static inline void emit_1(struct emit *e, unsigned v)
{
    *e->p++ = (uint8_t)v;
}

static inline void emit_2(struct emit *e, unsigned v)
{
    uint16_t x = (uint16_t)v;
    memcpy(e->p, &x, 2);
    e->p += 2;
}

static inline void emit_4(struct emit *e, uint32_t v)
{
    memcpy(e->p, &v, 4);
    e->p += 4;
}

static inline void emit_8(struct emit *e, uint64_t v)
{
    memcpy(e->p, &v, 8);
    e->p += 8;
}

/* Opcodes above 0xff are two-byte ones (0x0fxx). */
static inline void emit_opcode(struct emit *e, unsigned op)
{
    if (op > 0xff)
        emit_1(e, op >> 8);
    emit_1(e, op);
}

static inline void emit_rex(struct emit *e, bool w, unsigned reg, unsigned index, unsigned rm)
{
    unsigned rex = (w ? 8u : 0) | (reg & 8) >> 1 | (index & 8) >> 2 | (rm & 8) >> 3;
    if (rex != 0)
        emit_1(e, 0x40 | rex);
}

/* pext to, from, [rsp + disp]: no flags, unlike AND (SDM 2, PEXT). */
static inline void emit_pext(struct emit *e, unsigned to, unsigned from, int32_t disp)
{
    emit_1(e, 0xc4);
    emit_1(e, (to & 8 ? 0 : 0x80) | 0x62);
    emit_1(e, (~from & 15) << 3 | 3);
    emit_1(e, 0xf5);
    emit_1(e, 0x84 | (to & 7) << 3);
    emit_1(e, 0x24);
    emit_4(e, (uint32_t)disp);
}

/* op reg, rm */
static inline void emit_rr(struct emit *e, bool w, unsigned op, unsigned reg, unsigned rm)
{
    emit_rex(e, w, reg, 0, rm);
    emit_opcode(e, op);
    emit_1(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* ModRM, SIB, displacement for [base + disp]; base any register. */
static inline void emit_base_disp(struct emit *e, unsigned reg, unsigned base, int32_t disp)
{
    unsigned mod = disp == 0 && (base & 7) != 5 ? 0 : disp == (int8_t)disp ? 1 : 2;

    emit_1(e, mod << 6 | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == 4)
        emit_1(e, 0x24);
    if (mod == 1)
        emit_1(e, (uint8_t)disp);
    else if (mod == 2)
        emit_4(e, (uint32_t)disp);
}

/* op reg, [base + disp] */
static inline void emit_rm(struct emit *e, bool w, unsigned op, unsigned reg, unsigned base,
                           int32_t disp)
{
    emit_rex(e, w, reg, 0, base);
    emit_opcode(e, op);
    emit_base_disp(e, reg, base, disp);
}

/* ModRM, SIB, displacement for [base + index << scale + disp]; index is not RSP */
static inline void emit_base_index(struct emit *e, unsigned reg, unsigned base, unsigned index,
                                   unsigned scale, int32_t disp)
{
    bool small = disp == (int8_t)disp;

    emit_1(e, (small ? 0x44u : 0x84u) | (reg & 7) << 3);
    emit_1(e, scale << 6 | (index & 7) << 3 | (base & 7));
    if (small)
        emit_1(e, (uint8_t)disp);
    else
        emit_4(e, (uint32_t)disp);
}

/* op reg, [base + index << scale + disp] */
static inline void emit_rmx(struct emit *e, bool w, unsigned op, unsigned reg, unsigned base,
                            unsigned index, unsigned scale, int32_t disp)
{
    emit_rex(e, w, reg, index, base);
    emit_opcode(e, op);
    emit_base_index(e, reg, base, index, scale, disp);
}

/* A member of struct cpu as memory operand. */
#define emit_ctx(e, w, op, reg, member) \
    emit_rm(e, w, op, reg, H_CTX, (int32_t)offsetof(struct cpu, member))

static inline void emit_load_gpr(struct emit *e, unsigned host, unsigned guest)
{
    emit_rm(e, true, 0x8b, host, H_CTX, (int32_t)guest * 8);
}

static inline void emit_store_gpr(struct emit *e, unsigned host, unsigned guest)
{
    emit_rm(e, true, 0x89, host, H_CTX, (int32_t)guest * 8);
}

static inline void emit_mov_imm(struct emit *e, unsigned reg, uint64_t v)
{
    if (v == (uint32_t)v) {
        emit_rex(e, false, 0, 0, reg);
        emit_1(e, 0xb8 | (reg & 7));
        emit_4(e, (uint32_t)v);
    } else if ((int64_t)v == (int32_t)v) {
        emit_rex(e, true, 0, 0, reg);
        emit_1(e, 0xc7);
        emit_1(e, 0xc0 | (reg & 7));
        emit_4(e, (uint32_t)v);
    } else {
        emit_rex(e, true, 0, 0, reg);
        emit_1(e, 0xb8 | (reg & 7));
        emit_8(e, v);
    }
}

/* jcc (cc 0..15) or jmp (cc 16) with a 32-bit displacement to be patched; returns where it is. */
enum { CC_ALWAYS = 16, CC_B = 2, CC_AE = 3, CC_E = 4, CC_NE = 5, CC_BE = 6, CC_A = 7 };
static inline uint8_t *emit_jump(struct emit *e, unsigned cc)
{
    if (cc == CC_ALWAYS) {
        emit_1(e, 0xe9);
    } else {
        emit_1(e, 0x0f);
        emit_1(e, 0x80 | cc);
    }
    emit_4(e, 0);
    return e->p - 4;
}

static inline void emit_patch(uint8_t *where, const uint8_t *target)
{
    int32_t rel = (int32_t)(target - (where + 4));
    memcpy(where, &rel, 4);
}

static inline void emit_jump_to(struct emit *e, unsigned cc, const uint8_t *target)
{
    emit_patch(emit_jump(e, cc), target);
}
