/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * op_xsave.c - the area's layouts: legacy region (FXSAVE), standard and compacted form.
 *
 * The image in cpu->xsave is the register file; these copy between it and guest memory.
 */
#include "engine/exec/xsave.h"

#include "base/bytes.h"
#include "engine/x86/cpuid.h"
#include "engine/x86/xstate.h"

enum { AREA_MAX = 1024, LEGACY_XMM_BYTES = 416 /* what FXSAVE defines */ };
#define COMPACTED (UINT64_C(1) << 63)

static void check_fx(struct cpu *cpu)
{
    if ((cpu->cr0 & (CR0_EM | CR0_TS)) != 0) {
        raise_exc(cpu, EXC_NM);
    }
}

static uint64_t area_linear(struct cpu *cpu, const struct insn *i, unsigned bytes, unsigned align,
                            bool write)
{
    uint64_t va = insn_linear(cpu, i, bytes, write);

    if ((va & (align - 1)) != 0) {
        raise_gp(cpu);
    }
    return va;
}

/* FIP and FDP as this operand size has them: 64-bit offsets with REX.W, else selectors of 0. */
static void pointers_out(uint8_t *area, bool wide)
{
    if (!wide) {
        memset(area + XS_FIP + 4, 0, 4);
        memset(area + XS_FDP + 4, 0, 4);
    }
}

/* Outside of 64-bit mode only XMM0-7 exist: the rest of the area stays as memory has it. */
static unsigned xmm_count(const struct cpu *cpu)
{
    return in_64(cpu) ? 16 : 8;
}

static enum op_result op_fxsave(struct cpu *cpu, const struct insn *i)
{
    unsigned bytes = XS_XMM + 16 * xmm_count(cpu);
    uint64_t va;
    uint8_t area[LEGACY_XMM_BYTES];

    check_fx(cpu);
    va = area_linear(cpu, i, 512, 16, true);
    memcpy(area, cpu->xsave, bytes);
    pointers_out(area, (i->rex & 8) != 0);
    mem_store_bytes(cpu, mem_index(cpu), va, bytes, area);
    return OP_NEXT;
}

static enum op_result op_fxrstor(struct cpu *cpu, const struct insn *i)
{
    unsigned bytes = XS_XMM + 16 * xmm_count(cpu);
    uint64_t va;
    uint8_t area[LEGACY_XMM_BYTES];

    check_fx(cpu);
    va = area_linear(cpu, i, 512, 16, false);
    mem_load_bytes(cpu, mem_index(cpu), va, bytes, area);
    if ((le32_get(area + XS_MXCSR) & ~xstate_mxcsr_mask()) != 0) {
        raise_gp(cpu);
    }
    pointers_out(area, (i->rex & 8) != 0);
    le32_put(area + XS_MXCSR_MASK, xstate_mxcsr_mask());
    memcpy(cpu->xsave, area, bytes);
    return OP_NEXT;
}

static void check_xsave(struct cpu *cpu)
{
    if ((cpu->cr4 & CR4_OSXSAVE) == 0) {
        raise_ud(cpu);
    }
    if ((cpu->cr0 & CR0_TS) != 0) {
        raise_exc(cpu, EXC_NM);
    }
}

static uint64_t requested(const struct cpu *cpu)
{
    return ((uint32_t)cpu->gpr[REG_AX] | cpu->gpr[REG_DX] << 32) & cpu->xcr0;
}

/* XINUSE: a component in its initial configuration may be left out. */
static uint64_t in_use(const struct cpu *cpu)
{
    static const uint8_t zero[256];
    const uint8_t *x = cpu->xsave;
    uint64_t bv = XCR0_SSE | XCR0_X87;

    if (le16_get(x + XS_FCW) == 0x37f && le16_get(x + XS_FSW) == 0 && x[XS_FTW] == 0 &&
        memcmp(x + XS_FOP, zero, 18) == 0 && memcmp(x + XS_ST, zero, 128) == 0) {
        bv &= ~(uint64_t)XCR0_X87;
    }
    if (memcmp(x + XS_XMM, zero, 256) == 0) {
        bv &= ~(uint64_t)XCR0_SSE;
    }
    if (memcmp(x + XS_YMMH, zero, 256) != 0) {
        bv |= XCR0_AVX;
    }
    return bv & xstate_supported();
}

enum form { FORM_STANDARD, FORM_OPT, FORM_COMPACT };

static void save(struct cpu *cpu, const struct insn *i, enum form form)
{
    enum tlb_index index = mem_index(cpu);
    uint64_t rfbm, bv, va, old_bv = 0;
    unsigned n = xmm_count(cpu), avx_at = XS_YMMH;
    uint8_t head[XS_XMM];

    check_xsave(cpu);
    rfbm = requested(cpu);
    va = area_linear(cpu, i, (rfbm & XCR0_AVX) != 0 ? XS_BYTES : XS_YMMH, 64, true);
    bv = in_use(cpu);
    /* Everything that can fault first. */
    mem_probe_write(cpu, va, (rfbm & XCR0_AVX) != 0 ? XS_BYTES : XS_YMMH);
    if (form != FORM_COMPACT) {
        old_bv = mem_load(cpu, index, va + XS_BV, 8);
    }
    memcpy(head, cpu->xsave, sizeof(head));
    pointers_out(head, (i->rex & 8) != 0);
    if ((rfbm & XCR0_X87) != 0 && (form == FORM_STANDARD || (bv & XCR0_X87) != 0)) {
        mem_store_bytes(cpu, index, va, XS_MXCSR, head);
        mem_store_bytes(cpu, index, va + XS_ST, 128, head + XS_ST);
    }
    if (form == FORM_COMPACT
            ? (rfbm & bv & XCR0_SSE) != 0 ||
                  ((rfbm & XCR0_SSE) != 0 && le32_get(cpu->xsave + XS_MXCSR) != MXCSR_RESET)
            : (rfbm & (XCR0_SSE | XCR0_AVX)) != 0) {
        mem_store_bytes(cpu, index, va + XS_MXCSR, 8, head + XS_MXCSR);
    }
    if (le32_get(cpu->xsave + XS_MXCSR) != MXCSR_RESET && form == FORM_COMPACT) {
        bv |= XCR0_SSE; /* MXCSR belongs to SSE's component here (SDM 1, 13.10) */
    }
    if ((rfbm & XCR0_SSE) != 0 && (form == FORM_STANDARD || (bv & XCR0_SSE) != 0)) {
        mem_store_bytes(cpu, index, va + XS_XMM, 16 * n, cpu->xsave + XS_XMM);
    }
    if ((rfbm & XCR0_AVX) != 0 && (form == FORM_STANDARD || (bv & XCR0_AVX) != 0)) {
        mem_store_bytes(cpu, index, va + avx_at, 16 * n, cpu->xsave + XS_YMMH);
    }
    mem_store(cpu, index, va + XS_BV, 8,
              form == FORM_COMPACT ? bv & rfbm : (old_bv & ~rfbm) | (bv & rfbm));
    if (form == FORM_COMPACT) {
        mem_store(cpu, index, va + XS_COMP_BV, 8, COMPACTED | rfbm);
    }
}

static enum op_result op_xsave(struct cpu *cpu, const struct insn *i)
{
    save(cpu, i, FORM_STANDARD);
    return OP_NEXT;
}

static enum op_result op_xsaveopt(struct cpu *cpu, const struct insn *i)
{
    save(cpu, i, FORM_OPT);
    return OP_NEXT;
}

static enum op_result op_xsavec(struct cpu *cpu, const struct insn *i)
{
    save(cpu, i, FORM_COMPACT);
    return OP_NEXT;
}

static enum op_result op_xsaves(struct cpu *cpu, const struct insn *i)
{
    check_xsave(cpu);
    if (cpu->cpl != 0) {
        raise_gp(cpu);
    }
    save(cpu, i, FORM_COMPACT);
    return OP_NEXT;
}

/* Component i's initial values. */
static void init_component(uint8_t *x, uint64_t bit)
{
    if (bit == XCR0_X87) {
        memset(x, 0, XS_MXCSR);
        memset(x + XS_ST, 0, 128);
        le16_put(x + XS_FCW, 0x37f);
    } else if (bit == XCR0_SSE) {
        memset(x + XS_XMM, 0, 256);
    } else {
        memset(x + XS_YMMH, 0, 256);
    }
}

static void restore(struct cpu *cpu, const struct insn *i, bool only_compacted)
{
    enum tlb_index index = mem_index(cpu);
    uint64_t rfbm, bv, comp, va;
    unsigned n = xmm_count(cpu);
    uint8_t area[AREA_MAX], next[XS_BYTES];
    bool compact;

    check_xsave(cpu);
    if (only_compacted && cpu->cpl != 0) {
        raise_gp(cpu);
    }
    rfbm = requested(cpu);
    va = area_linear(cpu, i, XS_YMMH, 64, false);
    mem_load_bytes(cpu, index, va, XS_YMMH, area);
    bv = le64_get(area + XS_BV);
    comp = le64_get(area + XS_COMP_BV);
    compact = (comp & COMPACTED) != 0;
    if ((only_compacted && !compact) || (bv & ~cpu->xcr0) != 0 ||
        (compact ? (comp & ~COMPACTED & ~cpu->xcr0) != 0 || (bv & ~comp) != 0 : comp != 0)) {
        raise_gp(cpu);
    }
    for (unsigned k = XS_COMP_BV + 8; k < (compact ? XS_YMMH : XS_COMP_BV + 16); k++) {
        if (area[k] != 0) {
            raise_gp(cpu);
        }
    }
    memcpy(next, cpu->xsave, XS_BYTES);
    if ((rfbm & XCR0_AVX) != 0) {
        if ((bv & XCR0_AVX) != 0) {
            uint8_t high[256];

            mem_load_bytes(cpu, index, va + XS_YMMH, 16 * n, high);
            memcpy(next + XS_YMMH, high, 16 * n);
        } else {
            memset(next + XS_YMMH, 0, 16 * n);
        }
    }
    if ((rfbm & XCR0_SSE) != 0) {
        if ((bv & XCR0_SSE) != 0) {
            memcpy(next + XS_XMM, area + XS_XMM, 16 * n);
        } else {
            memset(next + XS_XMM, 0, 16 * n);
        }
    }
    /* MXCSR: always from memory in the standard form when SSE or AVX is asked for; as part of SSE
     * in the compacted one (SDM 1, 13.8). */
    if (compact ? (rfbm & XCR0_SSE) != 0 : (rfbm & (XCR0_SSE | XCR0_AVX)) != 0) {
        uint32_t v = le32_get(area + XS_MXCSR);

        if (compact && (bv & XCR0_SSE) == 0) {
            v = MXCSR_RESET;
        }
        if ((v & ~xstate_mxcsr_mask()) != 0) {
            raise_gp(cpu);
        }
        le32_put(next + XS_MXCSR, v);
    }
    if ((rfbm & XCR0_X87) != 0) {
        if ((bv & XCR0_X87) != 0) {
            pointers_out(area, (i->rex & 8) != 0);
            memcpy(next, area, XS_MXCSR);
            memcpy(next + XS_ST, area + XS_ST, 128);
        } else {
            init_component(next, XCR0_X87);
        }
    }
    memcpy(cpu->xsave, next, XS_BYTES);
    le64_put(cpu->xsave + XS_BV, xstate_supported());
    le64_put(cpu->xsave + XS_COMP_BV, 0);
}

static enum op_result op_xrstor(struct cpu *cpu, const struct insn *i)
{
    restore(cpu, i, false);
    return OP_NEXT;
}

static enum op_result op_xrstors(struct cpu *cpu, const struct insn *i)
{
    restore(cpu, i, true);
    return OP_NEXT;
}

op_fn *xsave_op(const struct insn *i)
{
    static op_fn *const group15[8] = {
        [0] = op_fxsave, [1] = op_fxrstor, [4] = op_xsave, [5] = op_xrstor, [6] = op_xsaveopt
    };
    static op_fn *const group9[8] = { [3] = op_xrstors, [4] = op_xsavec, [5] = op_xsaves };

    if (i->enc != ENC_LEGACY || i->pp != 0) {
        return NULL;
    }
    return i->opcode == 0xae ? group15[i->reg & 7] : group9[i->reg & 7];
}
