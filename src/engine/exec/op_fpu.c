/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * op_fpu.c - x87, MMX, SSE and AVX: availability, memory operands and exceptions around the native
 * execution of the instruction; and what needs more than that (gathers, masked moves).
 */
#include "base/bytes.h"
#include "engine/exec/fpu_trap.h"
#include "engine/exec/ops.h"
#include "engine/exec/thunk.h"
#include "engine/exec/xsave.h"
#include "engine/x86/xstate.h"

enum { OPERAND_MAX = 128, MXCSR_FLAGS = 0x3f, MXCSR_MASKS = 0x1f80, MXCSR_UM = 1 << 11 };
enum { FSW_ES = 1 << 7, FSW_B = 1 << 15 };

/* ---- is it available (SDM 2, table 2-18 on; SDM 3A, 2.5, 13.1)? ---- */

static void check_x87(struct cpu *cpu, const struct insn *i)
{
    bool mmx = i->map != MAP_1B;
    bool fwait = i->map == MAP_1B && i->opcode == 0x9b;

    if (mmx && (cpu->cr0 & CR0_EM) != 0) {
        raise_ud(cpu);
    }
    if (fwait ? (cpu->cr0 & (CR0_TS | CR0_MP)) == (CR0_TS | CR0_MP)
              : (cpu->cr0 & (CR0_TS | CR0_EM)) != 0) {
        raise_exc(cpu, EXC_NM);
    }
}

void fpu_check_sse(struct cpu *cpu)
{
    if ((cpu->cr0 & CR0_EM) != 0 || (cpu->cr4 & CR4_OSFXSR) == 0) {
        raise_ud(cpu);
    }
    if ((cpu->cr0 & CR0_TS) != 0) {
        raise_exc(cpu, EXC_NM);
    }
}

static void check_vec(struct cpu *cpu, const struct insn *i)
{
    if (i->enc == ENC_LEGACY) {
        fpu_check_sse(cpu);
        return;
    }
    if (!in_protected(cpu) || (cpu->cr4 & CR4_OSXSAVE) == 0 ||
        (cpu->xcr0 & (XCR0_SSE | XCR0_AVX)) != (XCR0_SSE | XCR0_AVX)) {
        raise_ud(cpu);
    }
    if ((cpu->cr0 & CR0_TS) != 0) {
        raise_exc(cpu, EXC_NM);
    }
}

/* An unmasked x87 exception waits: #MF before the next waiting instruction. */
static void check_pending(struct cpu *cpu)
{
    if ((le16_get(cpu->xsave + XS_FSW) & FSW_ES) != 0) {
        /* Without CR0.NE the error goes out by FERR# and comes back as IRQ 13; no machine of ours
         * wires that, so #MF is raised in both cases. */
        raise_exc(cpu, EXC_MF);
    }
}

/* It has no MMX register: the x87 state is not its business (SDM 2A, CVTPI2PD). */
static bool is_cvtpi2pd_m64(const struct insn *i)
{
    return i->map == MAP_0F && i->opcode == 0x2a && i->pp == 1 && i->mod != 3;
}

/* FNINIT, FNCLEX, FNSTSW, FNSTCW, FNSTENV, FNSAVE and the 8087's left-overs do not wait. */
static bool waits(const struct insn *i)
{
    unsigned reg = i->reg & 7;

    if (is_cvtpi2pd_m64(i)) {
        return false;
    }
    if (i->map != MAP_1B) {
        return true;
    }
    if (i->mod != 3) {
        return !((i->opcode == 0xd9 && reg >= 6) || (i->opcode == 0xdd && reg >= 6));
    }
    return !((i->opcode == 0xdb && reg == 4) || (i->opcode == 0xdf && reg == 4));
}

/* Instruction and operand pointers are kept while an exception is pending (as AMD's processors
 * do). */
static void note_pointers(struct cpu *cpu, const struct insn *i, uint64_t off)
{
    if (i->map == MAP_1B && waits(i) && (le16_get(cpu->xsave + XS_FSW) & FSW_ES) != 0) {
        le16_put(cpu->xsave + XS_FOP, (uint16_t)(((unsigned)i->opcode & 7) << 8 | i->modrm));
        le64_put(cpu->xsave + XS_FIP, cpu->rip);
        if (i->mod != 3) {
            le64_put(cpu->xsave + XS_FDP, off);
        }
    }
}

/* ---- memory operands ---- */

static unsigned operand_bytes(const struct insn *i)
{
    unsigned n = insn_mem_bytes(i);

    if (n == 0 && i->map == MAP_1B) { /* FLDENV, FNSTENV: 14 or 28; FRSTOR, FNSAVE: 80 more */
        n = (i->opsize == 2 ? 14 : 28) + (i->opcode == 0xdd ? 80 : 0);
    }
    return n;
}

/* Host memory that the operand occupies, when that is in one piece. */
static void *operand_host(struct cpu *cpu, uint64_t va, unsigned n, bool write)
{
    const struct tlb_entry *e = &cpu->tlb.slot[mem_index(cpu)][tlb_slot(&cpu->tlb, va)];
    uint64_t off = va ^ (write ? e->tag_w : e->tag_r);

    if (off <= 4096 - n && (cpu->mode & MODE_AC) == 0) {
        return (void *)(e->host + off);
    }
    return write ? mem_rmw_host(cpu, va, n) : NULL;
}

/* What the instruction may change, to take it back. */
struct snapshot {
    uint8_t image[XS_BYTES];
    uint64_t gpr[16], rflags;
};

static void snapshot_take(const struct cpu *cpu, struct snapshot *s)
{
    memcpy(s->image, cpu->xsave, XS_BYTES);
    memcpy(s->gpr, cpu->gpr, sizeof(s->gpr));
    s->rflags = cpu->rflags;
}

static void snapshot_put(struct cpu *cpu, const struct snapshot *s)
{
    memcpy(cpu->xsave, s->image, XS_BYTES);
    memcpy(cpu->gpr, s->gpr, sizeof(s->gpr));
    cpu->rflags = s->rflags;
}

static uint32_t mxcsr(const struct cpu *cpu)
{
    return le32_get(cpu->xsave + XS_MXCSR);
}

/* Runs with all SSE exceptions masked; new flags are added to the guest's MXCSR. */
static void run_masked(struct cpu *cpu, const struct insn *i, void *mem)
{
    cpu->thunk.mxcsr = mxcsr(cpu) | MXCSR_MASKS;
    thunk_run(cpu, i, mem);
    le32_put(cpu->xsave + XS_MXCSR, mxcsr(cpu) | (cpu->thunk.mxcsr & MXCSR_FLAGS));
}

/* The image keeps ST(0) to ST(7); MMX registers are the physical ones below it. */
static unsigned mmx_slot(const struct cpu *cpu, unsigned n)
{
    return XS_ST + 16 * ((n - (le16_get(cpu->xsave + XS_FSW) >> 11)) & 7);
}

static void enter_mmx(struct cpu *cpu)
{
    uint8_t regs[128];

    for (unsigned n = 0; n < 8; n++) {
        memcpy(regs + 16 * n, cpu->xsave + mmx_slot(cpu, n), 16);
    }
    memcpy(cpu->xsave + XS_ST, regs, sizeof(regs));
    le16_put(cpu->xsave + XS_FSW, le16_get(cpu->xsave + XS_FSW) & ~UINT16_C(0x3800));
    cpu->xsave[XS_FTW] = 0xff;
}

/* A conversion with an MMX register has made the x87 state that of MMX already. */
static _Noreturn void raise_sse(struct cpu *cpu, const struct insn *i)
{
    if (i->info->cls == CLASS_X87 && !is_cvtpi2pd_m64(i)) {
        enter_mmx(cpu);
    }
    raise_exc(cpu, (cpu->cr4 & CR4_OSXMMEXCPT) != 0 ? EXC_XM : EXC_UD);
}

/* Some exception is unmasked: find out what the instruction raises, undo it if that is a fault
 * (SDM 1, 11.5.2: invalid, denormal and zero-divide are found before the operation). */
static void run_unmasked(struct cpu *cpu, const struct insn *i, void *mem)
{
    struct snapshot s;
    uint32_t control = mxcsr(cpu), enabled = ~control >> 7 & MXCSR_FLAGS, raised;

    snapshot_take(cpu, &s);
    cpu->thunk.mxcsr = (control & ~(uint32_t)MXCSR_FLAGS) | MXCSR_MASKS;
    thunk_run(cpu, i, mem);
    raised = cpu->thunk.mxcsr & MXCSR_FLAGS;
    if ((raised & 7 & enabled) != 0) {
        raised &= 7;
    }
    if ((raised & enabled) != 0) {
        snapshot_put(cpu, &s);
    }
    le32_put(cpu->xsave + XS_MXCSR, control | raised);
    if ((raised & enabled) != 0) {
        raise_sse(cpu, i);
    }
}

/* Unmasked underflow: only the processor itself knows. */
static void run_trapping(struct cpu *cpu, const struct insn *i, void *mem)
{
    bool raised;

    cpu->thunk.mxcsr = mxcsr(cpu);
    raised = fpu_trap_run(cpu, i, mem);
    le32_put(cpu->xsave + XS_MXCSR, cpu->thunk.mxcsr);
    if (raised) {
        raise_sse(cpu, i);
    }
}

static void run(struct cpu *cpu, const struct insn *i, void *mem)
{
    if (i->info->cls == CLASS_X87 && i->map == MAP_1B) {
        thunk_run(cpu, i, mem);
    } else if ((mxcsr(cpu) & MXCSR_MASKS) == MXCSR_MASKS) {
        run_masked(cpu, i, mem);
    } else if ((mxcsr(cpu) & MXCSR_UM) == 0) {
        run_trapping(cpu, i, mem);
    } else {
        run_unmasked(cpu, i, mem);
    }
}

static enum op_result op_fpu(struct cpu *cpu, const struct insn *original)
{
    const struct insn *i = original;
    bool x87 = i->info->cls == CLASS_X87;
    uint8_t buf[OPERAND_MAX] __attribute__((aligned(64)));
    struct insn masked;
    uint64_t off, va;
    unsigned n;
    void *host;

    if (x87) {
        check_x87(cpu, i);
        if (i->map != MAP_1B && (i->opcode == 0x2a || i->opcode == 0x2c || i->opcode == 0x2d ||
                                 (i->opcode == 0xd6 && i->pp >= 2))) {
            fpu_check_sse(cpu); /* MMX and XMM operands in one instruction */
        }
        if (waits(i)) {
            check_pending(cpu);
        }
    } else {
        check_vec(cpu, i);
    }
    if (!in_64(cpu) && (i->rex & 8) != 0 &&
        (i->info->gpr_reg | i->info->gpr_rm | i->info->gpr_vvvv) != 0) {
        masked = *i; /* VEX.W is ignored for general registers outside of 64-bit mode */
        masked.rex &= 7;
        i = &masked;
    }
    if (!i->has_modrm || i->mod == 3 || (i->info->bits & (INFO_MEM_READ | INFO_MEM_WRITE)) == 0) {
        run(cpu, i, NULL);
        if (x87) {
            note_pointers(cpu, i, 0);
        }
        return OP_NEXT;
    }
    n = operand_bytes(i);
    if (n == 0 || n > OPERAND_MAX) {
        raise_ud(cpu);
    }
    off = insn_offset(cpu, i);
    if ((i->info->bits & INFO_ALIGN) != 0 &&
        ((off + (in_64(cpu) && i->seg < SEG_FS ? 0 : cpu->seg[i->seg].base)) & (n - 1)) != 0) {
        raise_gp(cpu); /* comes before a stack fault for a non-canonical address */
    }
    va = seg_linear(cpu, i->seg, off, n, (i->info->bits & INFO_MEM_WRITE) != 0, i->seg == SEG_SS);
    if ((i->info->bits & INFO_MEM_WRITE) == 0) {
        host = operand_host(cpu, va, n, false);
        if (host == NULL) {
            mem_load_bytes(cpu, mem_index(cpu), va, n, buf);
            host = buf;
        }
        run(cpu, i, host);
    } else {
        struct snapshot before, after;

        host = operand_host(cpu, va, n, true);
        if (host != NULL && !x87 && (mxcsr(cpu) & MXCSR_MASKS) != MXCSR_MASKS) {
            run(cpu, i, buf); /* VCVTPS2PH may fault yet: memory changes only after it */
            memcpy(host, buf, n);
        } else if (host != NULL) {
            run(cpu, i, host);
        } else {
            /* The store may exit to the client and the instruction come again: state changes only
             * after it. */
            memset(buf, 0, n);
            snapshot_take(cpu, &before);
            run(cpu, i, buf);
            snapshot_take(cpu, &after);
            snapshot_put(cpu, &before);
            mem_store_bytes(cpu, mem_index(cpu), va, n, buf);
            snapshot_put(cpu, &after);
        }
    }
    if (x87) {
        note_pointers(cpu, i, off);
    }
    return OP_NEXT;
}

/* ---- registers of the image ---- */

static void vec_get(const struct cpu *cpu, unsigned n, uint8_t v[32])
{
    memcpy(v, cpu->xsave + XS_XMM + 16 * n, 16);
    memcpy(v + 16, cpu->xsave + XS_YMMH + 16 * n, 16);
}

static void vec_set(struct cpu *cpu, unsigned n, const uint8_t v[32])
{
    memcpy(cpu->xsave + XS_XMM + 16 * n, v, 16);
    memcpy(cpu->xsave + XS_YMMH + 16 * n, v + 16, 16);
}

/* VGATHER, VPGATHER (SDM 2): elements are fetched one by one; done ones leave the mask, so that a
 * fault restarts where it was. */
static enum op_result op_gather(struct cpu *cpu, const struct insn *i)
{
    unsigned element = (i->rex & 8) != 0 ? 8 : 4, index_size = (i->opcode & 1) != 0 ? 8 : 4;
    unsigned bytes = 16u << i->vl;
    unsigned n = bytes / (element > index_size ? element : index_size);
    uint8_t dst[32], mask[32], index[32], zero[32] = { 0 };

    check_vec(cpu, i);
    vec_get(cpu, i->reg, dst);
    vec_get(cpu, i->vvvv, mask);
    vec_get(cpu, i->index, index);
    for (unsigned k = 0; k < n; k++) {
        int64_t at =
            index_size == 8 ? (int64_t)le64_get(index + 8 * k) : (int32_t)le32_get(index + 4 * k);
        uint64_t off = (uint64_t)(at * (1 << i->scale)) + (uint64_t)(int64_t)i->disp, v;

        if ((mask[k * element + element - 1] & 0x80) == 0) {
            continue;
        }
        if (i->base != REG_NONE) {
            off += cpu->gpr[i->base];
        }
        if (i->addrsize != 8) {
            off = (uint32_t)off;
        }
        v = load(cpu, seg_linear(cpu, i->seg, off, element, false, i->seg == SEG_SS), element);
        memcpy(dst + k * element, &v, element);
        memset(mask + k * element, 0, element);
        vec_set(cpu, i->reg, dst);
        vec_set(cpu, i->vvvv, mask);
    }
    if (n * element < 32) {
        memset(dst + n * element, 0, 32 - n * element);
    }
    vec_set(cpu, i->reg, dst);
    vec_set(cpu, i->vvvv, zero);
    return OP_NEXT;
}

/* VMASKMOVPS/PD, VPMASKMOVD/Q: elements that the mask leaves out are not touched. */
static enum op_result op_masked(struct cpu *cpu, const struct insn *i)
{
    unsigned bytes = 16u << i->vl, element;
    bool is_store = (i->info->bits & INFO_MEM_WRITE) != 0;
    uint8_t mask[32], data[32] = { 0 };
    uint64_t off = insn_offset(cpu, i);

    check_vec(cpu, i);
    if (i->opcode >= 0x8c) {
        element = (i->rex & 8) != 0 ? 8 : 4;
    } else {
        element = (i->opcode & 1) != 0 ? 8 : 4;
    }
    vec_get(cpu, i->vvvv, mask);
    if (is_store) {
        vec_get(cpu, i->reg, data);
    }
    for (int pass = is_store ? 0 : 1; pass < 2; pass++) { /* all faults before the first store */
        for (unsigned k = 0; k < bytes; k += element) {
            uint64_t v = 0, va;

            if ((mask[k + element - 1] & 0x80) == 0) {
                continue;
            }
            va = seg_linear(cpu, i->seg, (off + k) & mask_bytes(i->addrsize), element, is_store,
                            i->seg == SEG_SS);
            if (!is_store) {
                v = load(cpu, va, element);
                memcpy(data + k, &v, element);
            } else if (pass == 0) {
                mem_probe_write(cpu, va, element);
            } else {
                memcpy(&v, data + k, element);
                store(cpu, va, element, v);
            }
        }
    }
    if (!is_store) {
        vec_set(cpu, i->reg, data);
    }
    return OP_NEXT;
}

/* What every MMX instruction does to the x87 state: top 0, all registers valid. */
/* MASKMOVQ, MASKMOVDQU: bytes selected by the mask go to DS:[DI]. All bytes must be writable, as
 * AMD's processors have it. */
static enum op_result op_maskmov(struct cpu *cpu, const struct insn *i)
{
    bool mmx = i->info->cls == CLASS_X87;
    unsigned n = mmx ? 8 : 16;
    uint8_t data[32], mask[32];
    uint64_t off = cpu->gpr[REG_DI] & mask_bytes(i->addrsize), va;

    if (mmx) {
        check_x87(cpu, i);
        check_pending(cpu);
        memcpy(data, cpu->xsave + mmx_slot(cpu, i->reg), 8);
        memcpy(mask, cpu->xsave + mmx_slot(cpu, i->rm), 8);
    } else {
        check_vec(cpu, i);
        vec_get(cpu, i->reg, data);
        vec_get(cpu, i->rm, mask);
    }
    va = seg_linear(cpu, i->seg, off, n, true, i->seg == SEG_SS);
    mem_probe_write(cpu, va, n);
    for (unsigned k = 0; k < n; k++) {
        if ((mask[k] & 0x80) != 0) {
            store(cpu, va + k, 1, data[k]);
        }
    }
    if (mmx) {
        enter_mmx(cpu);
    }
    return OP_NEXT;
}

static enum op_result op_vzero(struct cpu *cpu, const struct insn *i)
{
    unsigned n = in_64(cpu) ? 16 : 8;

    check_vec(cpu, i);
    memset(cpu->xsave + XS_YMMH, 0, 16 * n);
    if (i->vl != 0) {
        memset(cpu->xsave + XS_XMM, 0, 16 * n);
    }
    return OP_NEXT;
}

static enum op_result op_mxcsr(struct cpu *cpu, const struct insn *i)
{
    uint64_t va;
    uint32_t v;

    check_vec(cpu, i);
    if ((i->reg & 7) == 3) {
        va = insn_linear(cpu, i, 4, true);
        store(cpu, va, 4, mxcsr(cpu));
        return OP_NEXT;
    }
    v = (uint32_t)load(cpu, insn_linear(cpu, i, 4, false), 4);
    if ((v & ~xstate_mxcsr_mask()) != 0) {
        raise_gp(cpu);
    }
    le32_put(cpu->xsave + XS_MXCSR, v);
    return OP_NEXT;
}

static enum op_result op_fence(struct cpu *cpu, const struct insn *i)
{
    (void)cpu;
    (void)i;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return OP_NEXT;
}

static enum op_result op_fwait(struct cpu *cpu, const struct insn *i)
{
    check_x87(cpu, i);
    check_pending(cpu);
    return OP_NEXT;
}

/* BMI and other VEX-encoded integer instructions. */
static enum op_result op_vex_integer(struct cpu *cpu, const struct insn *i)
{
    if (!in_protected(cpu)) {
        raise_ud(cpu);
    }
    return ops_native(cpu, i);
}

op_fn *ops_fpu(const struct insn *i)
{
    unsigned cls = i->info->cls;

    if (cls == CLASS_INT && i->map != MAP_1B) {
        return i->enc == ENC_VEX ? op_vex_integer : ops_native;
    }
    if (i->map == MAP_0F && (i->opcode == 0xae || i->opcode == 0xc7)) {
        if (i->opcode == 0xae && i->mod == 3) {
            return op_fence;
        }
        if (i->opcode == 0xae && ((i->reg & 7) == 2 || (i->reg & 7) == 3)) {
            return op_mxcsr;
        }
        return i->mod != 3 ? xsave_op(i) : NULL;
    }
    if (cls != CLASS_X87 && cls != CLASS_VEC) {
        return NULL;
    }
    if (i->map == MAP_1B && i->opcode == 0x9b) {
        return op_fwait;
    }
    if ((i->info->bits & INFO_VSIB) != 0) {
        return op_gather;
    }
    if ((i->info->bits & INFO_MASKMOV) != 0) {
        return op_maskmov;
    }
    if ((i->info->bits & INFO_MASKED) != 0) {
        return op_masked;
    }
    if (i->enc == ENC_VEX && i->map == MAP_0F && i->opcode == 0x77) {
        return op_vzero;
    }
    return op_fpu;
}
