/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * interp.c - fetch, decode cache and dispatch.
 *
 * The decode cache remembers what bytes mean: an entry holds when the bytes in memory are still the
 * same. So it needs no invalidation, whoever writes code.
 */
#include "engine/exec/interp.h"

#include "base/bytes.h"
#include "engine/exec/ops.h"
#include "engine/exec/smc.h"
#include "engine/exec/thunk.h"
#include "engine/x86/event.h"

#include <errno.h>
#include <stdlib.h>

_Noreturn void leave(struct cpu *cpu, int why)
{
    longjmp(*interp_of(cpu)->env, why);
}

_Noreturn void raise_exc(struct cpu *cpu, unsigned vector)
{
    cpu->fault.pending = true;
    cpu->fault.vector = (uint8_t)vector;
    cpu->fault.has_error = false;
    cpu->fault.error = 0;
    leave(cpu, LEAVE_FAULT);
}

_Noreturn void raise_err(struct cpu *cpu, unsigned vector, uint32_t error)
{
    cpu->fault.pending = true;
    cpu->fault.vector = (uint8_t)vector;
    cpu->fault.has_error = true;
    cpu->fault.error = error;
    leave(cpu, LEAVE_FAULT);
}

_Noreturn void exit_now(struct cpu *cpu, enum cpu_exit exit)
{
    interp_of(cpu)->exit = exit;
    leave(cpu, LEAVE_EXIT);
}

static enum op_result op_invalid(struct cpu *cpu, const struct insn *i)
{
    (void)i;
    raise_ud(cpu);
}

op_fn *interp_handler(const struct insn *i)
{
    op_fn *fn = ops_integer(i);

    if (fn == NULL) {
        fn = ops_flow(i);
    }
    if (fn == NULL) {
        fn = ops_string(i);
    }
    if (fn == NULL) {
        fn = ops_system(i);
    }
    if (fn == NULL) {
        fn = ops_fpu(i);
    }
    return fn;
}

static unsigned code_bits(const struct cpu *cpu)
{
    static const uint8_t bits[] = { [MODE_CODE_16] = 16, [MODE_CODE_32] = 32, [MODE_CODE_64] = 64 };

    return bits[cpu->mode & MODE_CODE_MASK];
}

static void set_masks(struct decoded *d)
{
    unsigned len = d->insn.len;

    d->bytes[0] = le64_get(d->insn.bytes);
    d->bytes[1] = le64_get(d->insn.bytes + 8);
    d->mask[0] = len >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * len)) - 1;
    d->mask[1] = len <= 8 ? 0 : (UINT64_C(1) << (8 * (len - 8))) - 1;
}

/* Decodes n bytes; false: more are needed. */
static bool decode(struct cpu *cpu, struct decoded *d, const uint8_t *bytes, unsigned n)
{
    enum insn_result r = insn_decode(bytes, n, code_bits(cpu), &d->insn);

    d->thunk = NULL;
    d->code_bits = 0;
    switch (r) {
    case INSN_OK:
        break;
    case INSN_MORE:
        return false;
    case INSN_LONG:
        raise_gp(cpu);
    default:
        raise_ud(cpu);
    }
    d->fn = interp_handler(&d->insn);
    if (d->fn == NULL) {
        d->fn = op_invalid;
    }
    set_masks(d);
    d->code_bits = (uint8_t)code_bits(cpu);
    return true;
}

/* Host address of the code byte at va. */
static const uint8_t *code_host(struct cpu *cpu, uint64_t va)
{
    const struct tlb_entry *e = &cpu->tlb.slot[mem_index(cpu)][tlb_slot(&cpu->tlb, va)];

    if ((va & ~UINT64_C(0xfff)) != e->tag_x) {
        if (in_64(cpu) && !canonical(va)) {
            raise_gp(cpu);
        }
        if (!mem_fill(cpu, va, MEM_EXEC, mem_index(cpu), NULL)) {
            leave(cpu, LEAVE_FAULT);
        }
        if ((va & ~UINT64_C(0xfff)) != e->tag_x) {
            exit_now(cpu, CPU_EXIT_INTERNAL_ERROR); /* code in device memory */
        }
    }
    return (const uint8_t *)(e->host + (va & 0xfff));
}

/* The last bytes of a page: the instruction may end in the next one. */
static struct decoded *fetch_crossing(struct cpu *cpu, uint64_t va, const uint8_t *p)
{
    struct interp *it = interp_of(cpu);
    uint8_t buf[INSN_MAX_BYTES];
    unsigned here = 4096 - (unsigned)(va & 0xfff);
    uint64_t next = (va | 0xfff) + 1;

    if (here > INSN_MAX_BYTES) {
        here = INSN_MAX_BYTES;
    }
    memcpy(buf, p, here);
    if (!decode(cpu, &it->slow, buf, here)) {
        if (!in_64(cpu)) {
            next = (uint32_t)next;
        }
        memcpy(buf + here, code_host(cpu, next), INSN_MAX_BYTES - here);
        (void)decode(cpu, &it->slow, buf, INSN_MAX_BYTES);
    }
    return &it->slow;
}

static inline struct decoded *fetch(struct cpu *cpu)
{
    struct interp *it = interp_of(cpu);
    uint64_t va = cpu->rip, w0, w1;
    const struct tlb_entry *e;
    const uint8_t *p;
    struct decoded *d;
    uintptr_t hash;

    if (!in_64(cpu)) {
        check_cs_limit(cpu, va);
        va = (uint32_t)(cpu->seg[SEG_CS].base + va);
    }
    e = &cpu->tlb.slot[mem_index(cpu)][tlb_slot(&cpu->tlb, va)];
    p = (va & ~UINT64_C(0xfff)) == e->tag_x ? (const uint8_t *)(e->host + (va & 0xfff))
                                            : code_host(cpu, va);
    if ((va & 0xfff) > 4096 - 16) {
        return fetch_crossing(cpu, va, p);
    }
    hash = (uintptr_t)p ^ (uintptr_t)p >> DECODE_BITS;
    d = &it->cache[hash & (DECODE_SLOTS - 1)];
    w0 = le64_get(p);
    w1 = le64_get(p + 8);
    if (__builtin_expect(((w0 ^ d->bytes[0]) & d->mask[0]) != 0 ||
                             ((w1 ^ d->bytes[1]) & d->mask[1]) != 0 ||
                             d->code_bits != code_bits(cpu),
                         0)) {
        uint8_t buf[16];

        le64_put(buf, w0);
        le64_put(buf + 8, w1);
        (void)decode(cpu, d, buf, INSN_MAX_BYTES);
    }
    return d;
}

static inline enum op_result execute(struct cpu *cpu)
{
    struct interp *it = interp_of(cpu);
    struct decoded *d = fetch(cpu);
    enum op_result r;

    it->current = d;
    it->next_rip = cpu->rip + d->insn.len;
    if (!in_64(cpu)) {
        it->next_rip = (uint32_t)it->next_rip;
        check_cs_limit(cpu, cpu->rip + d->insn.len - 1);
    }
    r = d->fn(cpu, &d->insn);
    cpu->rip = it->next_rip;
    return r;
}

/* What an instruction leaves behind when it is complete. */
static void complete(struct cpu *cpu)
{
    struct interp *it = interp_of(cpu);

    it->replay_n = it->replay_at = 0;
    it->waiting = false;
    smc_settle(cpu);
}

/* A read that the client was asked for has its answer. */
static void take_answer(struct cpu *cpu)
{
    struct interp *it = interp_of(cpu);
    struct replay *r = &it->replay[it->replay_n - 1];

    it->waiting = false;
    if (it->waiting_rip != cpu->rip) {
        it->replay_n = 0; /* the client has moved the CPU elsewhere */
    } else if (!r->write) {
        memcpy(r->data, r->port ? cpu->exit_io.data : cpu->exit_mmio.data, sizeof(r->data));
    }
    it->replay_at = 0;
}

enum cpu_exit interp_deliver_fault(struct cpu *cpu)
{
    unsigned vector = cpu->fault.vector;

    cpu->fault.pending = false;
    if (vector == EXC_PF) {
        cpu->cr2 = cpu->fault.cr2;
    }
    return event_deliver(cpu, vector, EVENT_EXCEPTION,
                         cpu->fault.has_error && (cpu->mode & MODE_PE) != 0, cpu->fault.error);
}

enum cpu_exit interp_step(struct cpu *cpu)
{
    struct interp *it = interp_of(cpu);
    jmp_buf env;
    int why;

    it->env = &env;
    it->new_shadow = it->no_trap = false;
    it->db_hit = 0;
    if (it->waiting) {
        take_answer(cpu);
    }
    why = _setjmp(env);
    if (why == 0) {
        (void)execute(cpu);
        complete(cpu);
    } else if (why == LEAVE_EXIT) {
        it->replay_at = 0;
        smc_settle(cpu);
        return it->exit;
    } else {
        enum cpu_exit r;

        complete(cpu);
        it->no_trap = true;
        it->db_hit = 0;
        r = interp_deliver_fault(cpu);
        if (r != CPU_EXIT_NONE) {
            return r;
        }
    }
    if (!it->new_shadow) {
        cpu->irq_shadow = false;
    }
    if ((cpu->mode & (MODE_TF | MODE_BP)) != 0) {
        cpu_look(cpu); /* the run loop goes on instruction by instruction */
    }
    return CPU_EXIT_NONE;
}

enum cpu_exit interp_run(struct cpu *cpu, unsigned long max)
{
    struct interp *it = interp_of(cpu);
    jmp_buf env;
    volatile unsigned long left = max;
    int why;

    it->env = &env;
    why = _setjmp(env);
    if (why == 0) {
        unsigned long n = left;

        for (;;) {
            if (execute(cpu) != OP_NEXT || cpu_attention(cpu) || --n == 0) {
                break;
            }
            if (__builtin_expect((it->replay_n | cpu->n_smc_writes) != 0, 0)) {
                complete(cpu);
            }
        }
        complete(cpu);
        return CPU_EXIT_NONE;
    }
    if (why == LEAVE_EXIT) {
        it->replay_at = 0;
        return it->exit;
    }
    complete(cpu);
    return interp_deliver_fault(cpu);
}

int interp_init(struct cpu *cpu)
{
    struct interp *it = calloc(1, sizeof(*it));

    if (it == NULL) {
        return -ENOMEM;
    }
    cpu->interp = it;
    it->thunks = thunk_memory_new();
    if (it->thunks == NULL) {
        interp_done(cpu);
        return -ENOMEM;
    }
    return 0;
}

void interp_done(struct cpu *cpu)
{
    struct interp *it = cpu->interp;

    if (it != NULL) {
        (void)thunk_memory_free(it->thunks);
        free(it);
        cpu->interp = NULL;
    }
}
