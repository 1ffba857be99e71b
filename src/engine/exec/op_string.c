/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * op_string.c - MOVS STOS LODS SCAS CMPS INS OUTS, with REP.
 *
 * After each iteration, or run of iterations inside two pages, the registers are exact, so that a
 * fault or an interrupt in between restarts at the right element.
 */
#include "engine/exec/io.h"
#include "engine/exec/ops.h"

static uint64_t addr_get(const struct cpu *cpu, const struct insn *i, unsigned reg)
{
    return cpu->gpr[reg] & mask_bytes(i->addrsize);
}

static void addr_set(struct cpu *cpu, const struct insn *i, unsigned reg, uint64_t v)
{
    reg_set(cpu, i, reg, i->addrsize, v);
}

static bool repeated(const struct insn *i)
{
    return (i->prefixes & (PFX_F2 | PFX_F3)) != 0;
}

static uint64_t linear_si(struct cpu *cpu, const struct insn *i, unsigned size)
{
    return seg_linear(cpu, i->seg, addr_get(cpu, i, REG_SI), size, false, i->seg == SEG_SS);
}

static uint64_t linear_di(struct cpu *cpu, const struct insn *i, unsigned size, bool write)
{
    return seg_linear(cpu, SEG_ES, addr_get(cpu, i, REG_DI), size, write, false);
}

static void step(struct cpu *cpu, const struct insn *i, unsigned reg, uint64_t bytes)
{
    bool down = (cpu->rflags & FL_DF) != 0;

    addr_set(cpu, i, reg, addr_get(cpu, i, reg) + (down ? -bytes : bytes));
}

/* How many elements, at most left, lie in one page and one segment from va, walking upwards. */
static uint64_t in_page(uint64_t va, unsigned size, uint64_t left)
{
    uint64_t n = (4096 - (va & 0xfff)) / size;

    return n < left ? n : left;
}

/* Whole-page runs need plain upward addresses: no limit may lie inside. */
static bool may_run(const struct cpu *cpu, const struct insn *i)
{
    return (cpu->rflags & FL_DF) == 0 && i->addrsize != 2 &&
           (cpu->mode & (MODE_TF | MODE_BP | MODE_AC)) == 0 &&
           (in_64(cpu) || ((cpu->mode & MODE_FLAT) != 0 && i->seg < SEG_FS));
}

static void *host_run(struct cpu *cpu, uint64_t va, uint64_t bytes, enum mem_access access)
{
    void *p = mem_host(cpu, va, (unsigned)bytes, access);

    if (p == NULL && cpu->fault.pending) {
        leave(cpu, LEAVE_FAULT);
    }
    return p;
}

static void fill(uint8_t *p, unsigned size, uint64_t n, uint64_t v)
{
    if (size == 1) {
        memset(p, (int)(v & 0xff), n);
        return;
    }
    for (uint64_t k = 0; k < n; k++) {
        memcpy(p + k * size, &v, size);
    }
}

/* Runs of MOVS and STOS; the number of elements done, 0: use single steps. */
static uint64_t run(struct cpu *cpu, const struct insn *i, unsigned size, uint64_t left)
{
    uint64_t di, n;
    uint8_t *dst;

    if (!may_run(cpu, i)) {
        return 0;
    }
    di = linear_di(cpu, i, size, true);
    n = in_page(di, size, left);
    if ((i->opcode & 0xfe) == 0xa4) {
        uint64_t si = linear_si(cpu, i, size);
        const uint8_t *src;

        n = in_page(si, size, n);
        if (n < 2) {
            return 0;
        }
        src = host_run(cpu, si, n * size, MEM_READ);
        dst = src != NULL ? host_run(cpu, di, n * size, MEM_WRITE) : NULL;
        if (dst == NULL) {
            return 0;
        }
        if (dst > src && dst < src + n * size) {
            if ((uint64_t)(dst - src) < size) {
                return 0;
            }
            for (uint64_t k = 0; k < n; k++) { /* each element may be the source of a later one */
                memmove(dst + k * size, src + k * size, size);
            }
        } else {
            memmove(dst, src, n * size);
        }
        step(cpu, i, REG_SI, n * size);
    } else {
        if (n < 2) {
            return 0;
        }
        dst = host_run(cpu, di, n * size, MEM_WRITE);
        if (dst == NULL) {
            return 0;
        }
        fill(dst, size, n, cpu->gpr[REG_AX]);
    }
    step(cpu, i, REG_DI, n * size);
    return n;
}

#define COMPARE(T)                                                                         \
    do {                                                                                   \
        T x_ = (T)a, y_ = (T)b;                                                            \
        uint16_t ax_;                                                                      \
        __asm__("cmp %2, %1\n\tlahf\n\tseto %%al" : "=&a"(ax_) : "r"(x_), "r"(y_) : "cc"); \
        set_flags(cpu, FL_ARITH, flags_of(ax_));                                           \
    } while (false)

static void compare(struct cpu *cpu, unsigned size, uint64_t a, uint64_t b)
{
    switch (size) {
    case 1:
        COMPARE(uint8_t);
        break;
    case 2:
        COMPARE(uint16_t);
        break;
    case 4:
        COMPARE(uint32_t);
        break;
    default:
        COMPARE(uint64_t);
        break;
    }
}

static void element(struct cpu *cpu, const struct insn *i, unsigned size)
{
    uint64_t a;

    switch (i->opcode & 0xfe) {
    case 0x6c: { /* INS: the destination must be writable before the port is read */
        uint64_t va = linear_di(cpu, i, size, true);

        mem_probe_write(cpu, va, size);
        store(cpu, va, size, port_read(cpu, (uint16_t)cpu->gpr[REG_DX], size));
        break;
    }
    case 0x6e:
        a = load(cpu, linear_si(cpu, i, size), size);
        port_write(cpu, (uint16_t)cpu->gpr[REG_DX], size, (uint32_t)a);
        break;
    case 0xa4:
        a = load(cpu, linear_si(cpu, i, size), size);
        store(cpu, linear_di(cpu, i, size, true), size, a);
        step(cpu, i, REG_SI, size);
        break;
    case 0xa6: {
        uint64_t b;

        a = load(cpu, linear_si(cpu, i, size), size);
        b = load(cpu, linear_di(cpu, i, size, false), size);
        compare(cpu, size, a, b);
        step(cpu, i, REG_SI, size);
        break;
    }
    case 0xaa:
        store(cpu, linear_di(cpu, i, size, true), size, cpu->gpr[REG_AX]);
        break;
    case 0xac:
        a = load(cpu, linear_si(cpu, i, size), size);
        reg_set(cpu, i, REG_AX, size, a);
        break;
    default:
        a = load(cpu, linear_di(cpu, i, size, false), size);
        compare(cpu, size, cpu->gpr[REG_AX], a);
        break;
    }
    switch (i->opcode & 0xfe) {
    case 0x6e:
    case 0xac:
        step(cpu, i, REG_SI, size);
        break;
    default:
        step(cpu, i, REG_DI, size);
        break;
    }
}

/* One element is done: what it noted for replay must not answer the next one. */
static void forget_replay(struct cpu *cpu)
{
    struct interp *it = interp_of(cpu);

    it->replay_n = it->replay_at = 0;
    it->waiting = false;
}

static enum op_result op_string(struct cpu *cpu, const struct insn *i)
{
    unsigned size = (i->opcode & 1) == 0 ? 1 : i->opsize;
    bool compares = (i->opcode & 0xf6) == 0xa6, ports = (i->opcode & 0xfc) == 0x6c;
    unsigned steps = 0;

    if (ports) {
        if (size == 8) {
            size = 4;
        }
        io_check(cpu, (uint16_t)cpu->gpr[REG_DX], size);
    }
    if (!repeated(i)) {
        element(cpu, i, size);
        return OP_NEXT;
    }
    for (;;) {
        uint64_t left = addr_get(cpu, i, REG_CX), done = 0;

        if (left == 0) {
            return OP_NEXT;
        }
        if ((i->opcode & 0xfe) == 0xa4 || (i->opcode & 0xfe) == 0xaa) {
            done = run(cpu, i, size, left);
        }
        if (done == 0) {
            element(cpu, i, size);
            done = 1;
        }
        addr_set(cpu, i, REG_CX, left - done);
        forget_replay(cpu);
        if (compares && ((cpu->rflags & FL_ZF) != 0) != ((i->prefixes & PFX_F3) != 0)) {
            return OP_NEXT;
        }
        if (left != done &&
            (cpu_attention(cpu) || (cpu->mode & (MODE_TF | MODE_BP)) != 0 || ++steps == 4096)) {
            interp_of(cpu)->next_rip = cpu->rip; /* go on here after a look at interrupts */
            return OP_NEXT;
        }
    }
}

op_fn *ops_string(const struct insn *i)
{
    if (i->map != MAP_1B || i->enc != ENC_LEGACY || i->info->cls != CLASS_STRING ||
        i->opcode == 0xd7) {
        return NULL;
    }
    return op_string;
}
