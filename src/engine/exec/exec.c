/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * exec.c - the run loop: events between instructions, debugging, and who executes.
 */
#include "engine/exec/exec.h"

#include "engine/exec/core.h"
#include "engine/exec/smc.h"
#include "engine/jit/jit.h"
#include "engine/mmu/walk.h"
#include "engine/x86/debug.h"
#include "engine/x86/event.h"
#include "engine/x86/xstate.h"

#include <stdlib.h>

enum { BATCH = 1 << 20 }; /* instructions between two looks, attention apart */
enum { DEFAULT_MC_BANKS = 32 };

/* VIREO_ENGINE=interpreter: to find out who is wrong. */
static bool interp_only(void)
{
    const char *v = getenv("VIREO_ENGINE");

    return v != NULL && strcmp(v, "interpreter") == 0;
}

struct cpu *cpu_new(struct vm *vm, struct vcpu *vcpu, unsigned index)
{
    struct cpu *cpu = jit_cpu_alloc();

    if (cpu == NULL) {
        return NULL;
    }
    cpu->vm = vm;
    cpu->vcpu = vcpu;
    cpu->index = index;
    cpu->xsave = aligned_alloc(64, XS_ALLOC);
    if (cpu->xsave == NULL || interp_init(cpu) < 0) {
        return cpu_free(cpu);
    }
    memset(cpu->xsave, 0, XS_ALLOC);
    tlb_init(&cpu->tlb);
    cpu_set_cpuid(cpu, NULL, 0);
    cpu->mcg_cap = DEFAULT_MC_BANKS;
    cpu->feature_control = 1;
    cpu_reset(cpu, false);
    if (!interp_only()) {
        (void)jit_init(cpu); /* without one the interpreter does everything */
    }
    return cpu;
}

struct cpu *cpu_free(struct cpu *cpu)
{
    if (cpu != NULL) {
        jit_done(cpu);
        interp_done(cpu);
        free(cpu->xsave);
        jit_cpu_free(cpu);
    }
    return NULL;
}

void cpu_kick(struct cpu *cpu, bool exit)
{
    if (exit) {
        __atomic_store_n(&cpu->exit_wanted, true, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&cpu->run_page[RUN_BYTE_ATTENTION], 1, __ATOMIC_SEQ_CST);
}

void cpu_state_changed(struct cpu *cpu)
{
    xstate_normalise(cpu);
    if ((cpu->efer & EFER_LMA) == 0 && (cpu->cr0 & CR0_PG) != 0 && (cpu->cr4 & CR4_PAE) != 0) {
        (void)walk_load_pdptes(cpu, cpu->cr3);
    }
    tlb_flush(cpu, false);
    cpu_update_mode(cpu);
}

static void flush_cpu(struct cpu *cpu, void *arg)
{
    (void)arg;
    tlb_flush(cpu, false);
    if (cpu->jit != NULL) {
        jit_flush(cpu, NULL);
    }
}

void exec_flush_all(struct vm *vm)
{
    vm_each_cpu(vm, flush_cpu, NULL);
}

struct invalidation {
    struct cpu *self;
    uint64_t gpa, len;
};

static void invalidate_cpu(struct cpu *cpu, void *arg)
{
    const struct invalidation *inv = arg;

    if (cpu->jit != NULL) {
        jit_invalidate(cpu, inv->self, inv->gpa, inv->len);
    }
}

void exec_invalidate_range(struct vm *vm, uint64_t gpa, uint64_t len)
{
    struct invalidation inv = { .gpa = gpa, .len = len };

    vm_each_cpu(vm, invalidate_cpu, &inv);
}

/* ---- events between two instructions (SDM 3A, table 6-2) ---- */

static bool can_interrupt(const struct cpu *cpu)
{
    return (cpu->rflags & FL_IF) != 0 && !cpu->irq_shadow;
}

/* Delivers at most one event. */
static enum cpu_exit deliver_events(struct cpu *cpu)
{
    if (cpu->exception.pending) {
        cpu->exception.pending = false;
        return event_deliver(cpu, cpu->exception.vector, EVENT_EXCEPTION, cpu->exception.has_error,
                             cpu->exception.error);
    }
    if (interp_of(cpu)->db_pending != 0) {
        cpu->dr[6] = (cpu->dr[6] & ~UINT64_C(15)) | interp_of(cpu)->db_pending;
        interp_of(cpu)->db_pending = 0;
        return event_deliver(cpu, EXC_DB, EVENT_EXCEPTION, false, 0);
    }
    if (cpu->nmi_pending && !cpu->nmi_masked && !cpu->irq_shadow) {
        cpu->nmi_pending = false;
        cpu->nmi_masked = true;
        cpu_kick(cpu, false); /* another one may be waiting at the irqchip */
        return event_deliver(cpu, EXC_NMI, EVENT_EXTERNAL, false, 0);
    }
    if (cpu->interrupt.pending && (cpu->interrupt.soft || can_interrupt(cpu))) {
        cpu->interrupt.pending = false;
        return event_deliver(cpu, cpu->interrupt.vector,
                             cpu->interrupt.soft ? EVENT_INT_N : EVENT_EXTERNAL, false, 0);
    }
    if (can_interrupt(cpu) && irq_ready(cpu)) {
        int vector = irq_take(cpu);

        if (vector >= 0) {
            return event_deliver(cpu, (unsigned)vector, EVENT_EXTERNAL, false, 0);
        }
    }
    return CPU_EXIT_NONE;
}

static enum cpu_exit debug_exit(struct cpu *cpu, uint64_t dr6)
{
    cpu->exception.vector = EXC_DB;
    cpu->dr[6] = (cpu->dr[6] & ~UINT64_C(15)) | DR6_FIXED | dr6;
    return CPU_EXIT_DEBUG;
}

/* One instruction with all that single step, breakpoints and RF ask for. */
static enum cpu_exit step_debugged(struct cpu *cpu)
{
    struct interp *it = interp_of(cpu);
    bool tf = (cpu->rflags & FL_TF) != 0, rf = (cpu->rflags & FL_RF) != 0;
    bool by_api = debug_regs(cpu) == cpu->debug_dr;
    uint64_t va =
        cpu->rip + ((cpu->mode & MODE_CODE_MASK) == MODE_CODE_64 ? 0 : cpu->seg[SEG_CS].base);
    /* AMD's processors do not hold back code breakpoints after MOV SS. */
    bool shadow = cpu->irq_shadow && cpu->shadow_is_mov_ss && cpuid_is_intel(cpu);
    enum cpu_exit r;
    uint64_t hits;

    if ((cpu->mode & MODE_BP) != 0 && !it->waiting && (by_api || !rf) && !shadow) {
        hits = debug_exec_hits(cpu, va);
        if (hits != 0) {
            if (by_api) {
                return debug_exit(cpu, hits);
            }
            cpu->dr[6] = (cpu->dr[6] & ~UINT64_C(15)) | hits;
            return event_deliver(cpu, EXC_DB, EVENT_EXCEPTION, false, 0);
        }
    }
    if (rf) {
        cpu->rflags &= ~(uint64_t)FL_RF;
    }
    r = interp_step(cpu);
    if (r != CPU_EXIT_NONE) {
        if (rf && it->waiting) {
            cpu->rflags |= FL_RF;
        }
        return r;
    }
    hits = it->db_hit;
    it->db_hit = 0;
    if (it->new_shadow && cpu->shadow_is_mov_ss) {
        it->db_held = (uint8_t)hits;
        hits = 0;
    } else {
        hits |= it->db_held;
        it->db_held = 0;
    }
    if (hits != 0 && by_api) {
        return debug_exit(cpu, hits);
    }
    if (tf && !it->no_trap && !(it->new_shadow && cpu->shadow_is_mov_ss)) {
        hits |= DR6_BS;
    }
    if (hits != 0) {
        cpu->dr[6] = (cpu->dr[6] & ~UINT64_C(15)) | hits;
        r = event_deliver(cpu, EXC_DB, EVENT_EXCEPTION, false, 0);
    }
    if (r == CPU_EXIT_NONE && cpu->single_step) {
        return debug_exit(cpu, DR6_BS);
    }
    return r;
}

/* Runs until there is something to look at. */
static enum cpu_exit run(struct cpu *cpu)
{
    if ((cpu->mode & (MODE_TF | MODE_BP)) != 0 || (cpu->rflags & FL_RF) != 0) {
        return step_debugged(cpu);
    }
    if (cpu->irq_shadow || interp_of(cpu)->waiting) {
        return interp_step(cpu);
    }
    return cpu->jit != NULL ? jit_run(cpu) : interp_run(cpu, BATCH);
}

static bool must_exit(struct cpu *cpu)
{
    return __atomic_load_n(&cpu->run_page[RUN_BYTE_IMMEDIATE_EXIT], __ATOMIC_ACQUIRE) != 0 ||
           __atomic_exchange_n(&cpu->exit_wanted, false, __ATOMIC_ACQ_REL);
}

static enum cpu_exit loop(struct cpu *cpu)
{
    enum cpu_exit r;

    if (interp_of(cpu)->waiting) {
        /* An instruction was left in its middle: nothing comes before its end. */
        r = run(cpu);
        if (r != CPU_EXIT_NONE) {
            return r;
        }
        cpu_look(cpu);
    }
    for (;;) {
        smc_settle(cpu);
        if (cpu_attention(cpu)) {
            __atomic_store_n(&cpu->run_page[RUN_BYTE_ATTENTION], 0, __ATOMIC_SEQ_CST);
            vm_guest_leave(cpu->vm); /* lets an exclusive section in */
            vm_guest_enter(cpu->vm);
            if (cpu->tlb.grow_wanted) {
                tlb_grow(cpu);
                if (cpu->jit != NULL) {
                    jit_flush(cpu, cpu);
                }
            }
            if (must_exit(cpu)) {
                cpu_look(cpu);
                return CPU_EXIT_INTR;
            }
            if (!irq_events(cpu)) {
                return CPU_EXIT_HLT;
            }
            if (cpu->fault.pending) {
                r = interp_deliver_fault(cpu);
                if (r != CPU_EXIT_NONE) {
                    return r;
                }
            }
        }
        r = deliver_events(cpu);
        if (r != CPU_EXIT_NONE) {
            return r;
        }
        if (cpu->want_irq_window && can_interrupt(cpu) && !cpu->interrupt.pending) {
            return CPU_EXIT_IRQ_WINDOW;
        }
        if (cpu->halted) {
            if (cpu->lapic == NULL) {
                cpu->halted = false; /* the client decides when to go on */
            }
            return CPU_EXIT_HLT;
        }
        r = run(cpu);
        if (r != CPU_EXIT_NONE) {
            return r;
        }
    }
}

enum cpu_exit cpu_exec(struct cpu *cpu)
{
    enum cpu_exit r;

    vm_guest_enter(cpu->vm);
    if ((cpu->cr0 & CR0_PG) == 0) {
        tlb_drop_names(&cpu->tlb,
                       false); /* code may have been read from a disk, and nothing says so */
    }
    r = loop(cpu);
    vm_guest_leave(cpu->vm);
    return r;
}
