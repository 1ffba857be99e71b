/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * core.h - what the interpreter's files share: raising faults, guest memory as the running
 * instruction sees it, its operands.
 *
 * Inside an instruction, a fault or an exit leaves by longjmp to interp_step(). So every handler
 * does all that can fault before it changes a register.
 */
#pragma once

#include "engine/exec/exec.h"
#include "engine/exec/interp.h"
#include "engine/mmu/mem.h"
#include "engine/x86/cpuid.h"
#include "engine/x86/regs.h"

#include <setjmp.h>
#include <string.h>

enum { LEAVE_FAULT = 1, LEAVE_EXIT = 2 };
enum { REPLAY_MAX = 160 };

/* A device access of the running instruction that is done already: when the instruction is executed
 * again, it is answered from here. */
struct replay {
    uint64_t at;
    uint8_t data[8];
    uint8_t len;
    bool write, port;
};

/* A handler returns whether the loop may go on without looking at anything. */
enum op_result { OP_NEXT, OP_STOP };
typedef enum op_result op_fn(struct cpu *cpu, const struct insn *i);

struct decoded {
    uint64_t bytes[2];
    uint64_t mask[2];
    op_fn *fn;
    void *thunk; /* native code of this instruction; valid for thunk_epoch */
    uint32_t thunk_epoch;
    uint8_t code_bits;
    struct insn insn;
};

enum { DECODE_BITS = 12, DECODE_SLOTS = 1 << DECODE_BITS };

struct interp {
    struct cpuid_table cpuid;
    jmp_buf *env;
    enum cpu_exit exit;
    uint64_t next_rip;
    struct decoded *current;
    uint8_t ext;          /* EXT bit for selector error codes while an event is delivered */
    uint8_t db_hit;       /* data breakpoints hit by this instruction */
    uint8_t db_held;      /* ... hit by MOV SS: they wait for the next instruction's end */
    uint16_t db_pending;  /* DR6 bits of a trap that is due before the next instruction */
    bool new_shadow;      /* this instruction has opened an interrupt shadow */
    bool no_trap;         /* ... ends without a single-step trap: entered a handler */
    bool waiting;         /* the last exit was for the access at replay[replay_n - 1] */
    uint64_t waiting_rip; /* of that instruction */
    unsigned replay_n, replay_at;
    struct replay replay[REPLAY_MAX];
    struct decoded slow; /* an instruction that crosses a page */
    struct decoded cache[DECODE_SLOTS];
    struct thunk_memory *thunks;
};

static inline struct interp *interp_of(const struct cpu *cpu)
{
    return cpu->interp;
}

/* ---- leaving an instruction ---- */

_Noreturn void leave(struct cpu *cpu, int why);
_Noreturn void raise_exc(struct cpu *cpu, unsigned vector);
_Noreturn void raise_err(struct cpu *cpu, unsigned vector, uint32_t error);
_Noreturn void exit_now(struct cpu *cpu, enum cpu_exit exit);

static inline _Noreturn void raise_gp(struct cpu *cpu)
{
    raise_err(cpu, EXC_GP, 0);
}

static inline _Noreturn void raise_ud(struct cpu *cpu)
{
    raise_exc(cpu, EXC_UD);
}

/* ---- linear memory; index tells with whose rights ---- */

uint64_t mem_load_slow(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size);
void mem_store_slow(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size, uint64_t v);
void mem_load_bytes(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size, void *buf);
void mem_store_bytes(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size,
                     const void *buf);
/* Raises the page fault that writing there would raise; changes nothing but A and D bits. */
void mem_probe_write(struct cpu *cpu, uint64_t va, unsigned size);
/* Host address for a read-modify-write that must be one locked instruction; NULL: device memory or
 * split over two pages, to be done by load and store inside mem_split_lock(). */
void *mem_rmw_host(struct cpu *cpu, uint64_t va, unsigned size);
/* Port access with replay. */
uint32_t port_read(struct cpu *cpu, uint16_t port, unsigned size);
void port_write(struct cpu *cpu, uint16_t port, unsigned size, uint32_t value);

static inline uint64_t load_host(const void *p, unsigned size)
{
    switch (size) {
    case 1:
        return *(const volatile uint8_t *)p;
    case 2:
        return *(const volatile uint16_t *)p;
    case 4:
        return *(const volatile uint32_t *)p;
    default:
        return *(const volatile uint64_t *)p;
    }
}

static inline void store_host(void *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1:
        *(volatile uint8_t *)p = (uint8_t)v;
        break;
    case 2:
        *(volatile uint16_t *)p = (uint16_t)v;
        break;
    case 4:
        *(volatile uint32_t *)p = (uint32_t)v;
        break;
    default:
        *(volatile uint64_t *)p = v;
        break;
    }
}

static inline uint64_t mem_load(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size)
{
    const struct tlb_entry *e = &cpu->tlb.slot[index][tlb_slot(&cpu->tlb, va)];
    uint64_t off = va ^ e->tag_r;

    if (__builtin_expect(off <= 4096 - size && (cpu->mode & MODE_AC) == 0, 1)) {
        return load_host((const void *)(e->host + off), size);
    }
    return mem_load_slow(cpu, index, va, size);
}

static inline void mem_store(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size,
                             uint64_t v)
{
    const struct tlb_entry *e = &cpu->tlb.slot[index][tlb_slot(&cpu->tlb, va)];
    uint64_t off = va ^ e->tag_w;

    if (__builtin_expect(off <= 4096 - size && (cpu->mode & MODE_AC) == 0, 1)) {
        store_host((void *)(e->host + off), size, v);
        return;
    }
    mem_store_slow(cpu, index, va, size, v);
}

/* Rights of accesses that the processor makes by itself: descriptor tables, TSS, inner stacks. */
static inline enum tlb_index index_system(const struct cpu *cpu)
{
    return (cpu->cr4 & CR4_SMAP) != 0 ? TLB_KERNEL : TLB_KERNEL_AC;
}

static inline uint64_t load_system(struct cpu *cpu, uint64_t va, unsigned size)
{
    if ((cpu->mode & MODE_LONG) == 0) {
        va = (uint32_t)va;
    }
    return mem_load(cpu, index_system(cpu), va, size);
}

static inline void store_system(struct cpu *cpu, uint64_t va, unsigned size, uint64_t v)
{
    if ((cpu->mode & MODE_LONG) == 0) {
        va = (uint32_t)va;
    }
    mem_store(cpu, index_system(cpu), va, size, v);
}

/* ---- segments ---- */

static inline bool in_64(const struct cpu *cpu)
{
    return (cpu->mode & MODE_CODE_MASK) == MODE_CODE_64;
}

static inline bool in_protected(const struct cpu *cpu)
{
    return (cpu->mode & (MODE_PE | MODE_VM86)) == MODE_PE;
}

static inline bool canonical(uint64_t va)
{
    return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

uint64_t seg_linear_slow(struct cpu *cpu, unsigned seg, uint64_t off, unsigned size, bool write,
                         bool stack);

/* Linear address of seg:off for size bytes, after the segment's checks. */
static inline uint64_t seg_linear(struct cpu *cpu, unsigned seg, uint64_t off, unsigned size,
                                  bool write, bool stack)
{
    if (__builtin_expect(in_64(cpu), 1)) {
        uint64_t va = seg >= SEG_FS ? off + cpu->seg[seg].base : off;

        if (__builtin_expect(canonical(va) && canonical(va + size - 1), 1)) {
            return va;
        }
        raise_err(cpu, stack ? EXC_SS : EXC_GP, 0);
    }
    return seg_linear_slow(cpu, seg, off, size, write, stack);
}

/* ---- operands ---- */

static inline uint64_t mask_bytes(unsigned size)
{
    return size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

static inline uint64_t insn_offset(const struct cpu *cpu, const struct insn *i)
{
    uint64_t a = (uint64_t)(int64_t)i->disp;

    if (i->base != REG_NONE) {
        a += cpu->gpr[i->base];
    }
    if (i->index != REG_NONE) {
        a += cpu->gpr[i->index] << i->scale;
    }
    if (i->rip_relative) {
        a += interp_of(cpu)->next_rip;
    }
    return i->addrsize == 8 ? a : a & mask_bytes(i->addrsize);
}

static inline uint64_t insn_linear(struct cpu *cpu, const struct insn *i, unsigned size, bool write)
{
    return seg_linear(cpu, i->seg, insn_offset(cpu, i), size, write, i->seg == SEG_SS);
}

/* General register n as an operand of this size; byte registers 4 to 7 without REX are AH..BH. */
static inline uint64_t reg_get(const struct cpu *cpu, const struct insn *i, unsigned n,
                               unsigned size)
{
    if (size == 1) {
        return n >= 4 && n < 8 && (i->prefixes & PFX_REX) == 0 ? (uint8_t)(cpu->gpr[n - 4] >> 8)
                                                               : (uint8_t)cpu->gpr[n];
    }
    return cpu->gpr[n] & mask_bytes(size);
}

static inline void reg_set(struct cpu *cpu, const struct insn *i, unsigned n, unsigned size,
                           uint64_t v)
{
    switch (size) {
    case 1:
        if (n >= 4 && n < 8 && (i->prefixes & PFX_REX) == 0) {
            cpu->gpr[n - 4] = (cpu->gpr[n - 4] & ~UINT64_C(0xff00)) | (v & 0xff) << 8;
        } else {
            cpu->gpr[n] = (cpu->gpr[n] & ~UINT64_C(0xff)) | (v & 0xff);
        }
        break;
    case 2:
        cpu->gpr[n] = (cpu->gpr[n] & ~UINT64_C(0xffff)) | (v & 0xffff);
        break;
    case 4:
        cpu->gpr[n] = (uint32_t)v;
        break;
    default:
        cpu->gpr[n] = v;
        break;
    }
}

static inline uint64_t load(struct cpu *cpu, uint64_t va, unsigned size)
{
    return mem_load(cpu, mem_index(cpu), va, size);
}

static inline void store(struct cpu *cpu, uint64_t va, unsigned size, uint64_t v)
{
    mem_store(cpu, mem_index(cpu), va, size, v);
}

/* Reads the ModRM r/m operand. */
static inline uint64_t rm_get(struct cpu *cpu, const struct insn *i, unsigned size)
{
    return i->mod == 3 ? reg_get(cpu, i, i->rm, size)
                       : load(cpu, insn_linear(cpu, i, size, false), size);
}

static inline void rm_set(struct cpu *cpu, const struct insn *i, unsigned size, uint64_t v)
{
    if (i->mod == 3) {
        reg_set(cpu, i, i->rm, size, v);
    } else {
        store(cpu, insn_linear(cpu, i, size, true), size, v);
    }
}

/* Operand size of a group whose even opcodes are byte forms. */
static inline unsigned insn_size(const struct insn *i)
{
    return (i->opcode & 1) == 0 ? 1 : i->opsize;
}

/* ---- stack ---- */

static inline unsigned stack_bytes(const struct cpu *cpu)
{
    return in_64(cpu) ? 8 : (cpu->mode & MODE_SS32) != 0 ? 4 : 2;
}

static inline void sp_set(struct cpu *cpu, uint64_t sp)
{
    uint64_t mask = mask_bytes(stack_bytes(cpu));

    cpu->gpr[REG_SP] = (cpu->gpr[REG_SP] & ~mask) | (sp & mask);
    if (mask == 0xffffffff) {
        cpu->gpr[REG_SP] = (uint32_t)sp;
    }
}

/* Stores below *sp and moves it; the caller commits by sp_set(). */
static inline void push_at(struct cpu *cpu, uint64_t *sp, unsigned size, uint64_t v)
{
    *sp = (*sp - size) & mask_bytes(stack_bytes(cpu));
    store(cpu, seg_linear(cpu, SEG_SS, *sp, size, true, true), size, v);
}

static inline uint64_t pop_at(struct cpu *cpu, uint64_t *sp, unsigned size)
{
    uint64_t at = *sp & mask_bytes(stack_bytes(cpu));
    uint64_t v = load(cpu, seg_linear(cpu, SEG_SS, at, size, false, true), size);

    *sp = (at + size) & mask_bytes(stack_bytes(cpu));
    return v;
}

static inline void push(struct cpu *cpu, unsigned size, uint64_t v)
{
    uint64_t sp = cpu->gpr[REG_SP];

    push_at(cpu, &sp, size, v);
    sp_set(cpu, sp);
}

/* ---- control flow ---- */

void check_cs_limit(struct cpu *cpu, uint64_t ip);

/* A near jump's target: truncated to the operand size and checked. */
static inline void jump_near(struct cpu *cpu, unsigned opsize, uint64_t ip)
{
    if (in_64(cpu)) {
        if (!canonical(ip)) {
            raise_gp(cpu);
        }
    } else {
        ip &= mask_bytes(opsize);
        check_cs_limit(cpu, ip);
    }
    interp_of(cpu)->next_rip = ip;
}

static inline unsigned iopl(const struct cpu *cpu)
{
    return (unsigned)(cpu->rflags >> FL_IOPL_SHIFT) & 3;
}

/* Makes the run loop look at its requests at the next instruction boundary. Owner thread. */
static inline void cpu_look(struct cpu *cpu)
{
    __atomic_store_n(&cpu->run_page[RUN_BYTE_ATTENTION], 1, __ATOMIC_RELAXED);
}

/* IF or the NMI mask has just opened: leaves compiled code only when something waits. */
static inline void irq_opened(struct cpu *cpu)
{
    if (cpu->interrupt.pending || cpu->want_irq_window || cpu->nmi_pending || irq_ready(cpu)) {
        cpu_look(cpu);
    }
}
