/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run.c - KVM_RUN: takes over what the client answered to the last exit, runs the CPU, sleeps in
 * HLT, and describes the next exit in the shared kvm_run.
 *
 * A sleeping vCPU waits on the first word of kvm_run as a futex: immediate_exit and our own
 * attention byte lie in it, so that neither a signal handler nor a wake-up can slip in between the
 * last look and the sleep.
 */
#include "base/bytes.h"
#include "engine/irqchip/irqchip.h"
#include "engine/irqchip/pv.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HLT_SLEEP_NSEC = 500000000 };

static uint8_t *attention_byte(struct vcpu *v)
{
    return &v->cpu->run_page[RUN_BYTE_ATTENTION];
}

static bool wants_exit(const struct vcpu *v)
{
    return __atomic_load_n(&v->run->immediate_exit, __ATOMIC_ACQUIRE) != 0;
}

/* Sleeps until somebody changes the first word of kvm_run, a signal comes, or half a second. */
static void doze(struct vcpu *v, uint32_t seen)
{
    static const struct timespec most = { .tv_nsec = HLT_SLEEP_NSEC };

    (void)syscall(SYS_futex, v->cpu->run_page, FUTEX_WAIT, seen, &most, NULL, 0);
}

static bool can_wake(struct vcpu *v)
{
    if (atomic_load(&v->mp_state) == KVM_MP_STATE_HALTED) {
        return lapic_has_wakeup(v->lapic) || atomic_exchange(&v->pv.unhalted, false);
    }
    return irq_events(v->cpu);
}

/* 0 when the vCPU is runnable, -EINTR when the client wants it back. */
static int sleep_until_runnable(struct vcpu *v)
{
    v->stat.halts++;
    vcpu_publish_stats(v);
    for (;;) {
        uint32_t seen;

        __atomic_store_n(attention_byte(v), 0, __ATOMIC_SEQ_CST);
        atomic_store(&v->sleeping, true);
        seen = __atomic_load_n((uint32_t *)(void *)v->cpu->run_page, __ATOMIC_SEQ_CST);
        if (can_wake(v)) {
            break;
        }
        if (wants_exit(v)) {
            atomic_store(&v->sleeping, false);
            return -EINTR;
        }
        doze(v, seen);
    }
    atomic_store(&v->sleeping, false);
    if (atomic_load(&v->mp_state) == KVM_MP_STATE_HALTED) {
        atomic_store(&v->mp_state, KVM_MP_STATE_RUNNABLE);
        v->cpu->halted = false;
    }
    cpu_kick(v->cpu, false); /* there is something to look at */
    return 0;
}

/* ---- exits ---- */

static void take_answer(struct vcpu *v)
{
    struct cpu *cpu = v->cpu;

    if (!v->exit_pending) {
        return;
    }
    v->exit_pending = false;
    if (v->run->exit_reason == KVM_EXIT_IO && cpu->exit_io.in) {
        memcpy(
            cpu->exit_io.data, v->pio_data,
            min_u64((uint64_t)cpu->exit_io.size * cpu->exit_io.count, sizeof(cpu->exit_io.data)));
    } else if (v->run->exit_reason == KVM_EXIT_MMIO && !cpu->exit_mmio.write) {
        memcpy(cpu->exit_mmio.data, v->run->mmio.data, sizeof(cpu->exit_mmio.data));
    } else if (v->run->exit_reason == KVM_EXIT_HYPERCALL) {
        cpu->gpr[REG_AX] = v->run->hypercall.ret;
    }
    if (v->run->exit_reason == KVM_EXIT_MMIO) {
        cpu->exit_mmio.done = true;
    }
}

static void exit_io(struct vcpu *v)
{
    struct cpu *cpu = v->cpu;
    uint64_t bytes = (uint64_t)cpu->exit_io.size * cpu->exit_io.count;

    v->run->exit_reason = KVM_EXIT_IO;
    v->run->io.direction = cpu->exit_io.in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
    v->run->io.size = cpu->exit_io.size;
    v->run->io.port = cpu->exit_io.port;
    v->run->io.count = cpu->exit_io.count;
    v->run->io.data_offset = PIO_PAGE * 4096;
    if (!cpu->exit_io.in) {
        memcpy(v->pio_data, cpu->exit_io.data, min_u64(bytes, 4096));
    }
    v->exit_pending = true;
    v->stat.io_exits++;
}

static void exit_mmio(struct vcpu *v)
{
    struct cpu *cpu = v->cpu;

    v->run->exit_reason = KVM_EXIT_MMIO;
    v->run->mmio.phys_addr = cpu->exit_mmio.gpa;
    v->run->mmio.len = cpu->exit_mmio.len;
    v->run->mmio.is_write = cpu->exit_mmio.write ? 1 : 0;
    memcpy(v->run->mmio.data, cpu->exit_mmio.data, sizeof(v->run->mmio.data));
    v->exit_pending = true;
    v->stat.mmio_exits++;
}

/* 1: the exit is for the client; 0: go on; -EINTR. */
static int handle_exit(struct vcpu *v, enum cpu_exit why)
{
    struct cpu *cpu = v->cpu;

    switch (why) {
    case CPU_EXIT_IO:
        exit_io(v);
        return 1;
    case CPU_EXIT_MMIO:
        exit_mmio(v);
        return 1;
    case CPU_EXIT_HLT:
        if (v->lapic == NULL) {
            v->run->exit_reason = KVM_EXIT_HLT;
            return 1;
        }
        if (atomic_load(&v->mp_state) == KVM_MP_STATE_RUNNABLE) {
            atomic_store(&v->mp_state, KVM_MP_STATE_HALTED);
        }
        return 0;
    case CPU_EXIT_SHUTDOWN:
        v->run->exit_reason = KVM_EXIT_SHUTDOWN;
        return 1;
    case CPU_EXIT_DEBUG:
        v->run->exit_reason = KVM_EXIT_DEBUG;
        v->run->debug.arch.exception = cpu->exception.vector;
        v->run->debug.arch.pc =
            cpu->rip + cpu->seg[SEG_CS].base * ((cpu->mode & MODE_CODE_MASK) != MODE_CODE_64);
        v->run->debug.arch.dr6 = cpu->dr[6];
        v->run->debug.arch.dr7 = cpu->dr[7];
        return 1;
    case CPU_EXIT_IRQ_WINDOW:
        v->run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
        return 1;
    case CPU_EXIT_INTR:
        /* Another exit may be due (split irqchip); else the client asked. */
        return v->eoi_exit || !wants_exit(v) ? 0 : -EINTR;
    case CPU_EXIT_INTERNAL_ERROR:
    default:
        v->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
        v->run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
        v->run->internal.ndata = 0;
        return 1;
    }
}

static int run_loop(struct vcpu *v)
{
    for (;;) {
        enum cpu_exit why;
        int r;

        if (atomic_load_explicit(&v->mp_state, memory_order_relaxed) != KVM_MP_STATE_RUNNABLE) {
            r = sleep_until_runnable(v);
            if (r < 0) {
                return r;
            }
        }
        pv_account_steal(v);
        why = cpu_exec(v->cpu);
        r = handle_exit(v, why);
        if (r == 0 && v->eoi_exit) {
            v->eoi_exit = false;
            v->run->exit_reason = KVM_EXIT_IOAPIC_EOI;
            r = 1;
        }
        if (r != 0) {
            return r;
        }
    }
}

/* What every exit carries (struct kvm_run, "in/out"). */
static void post_run(struct vcpu *v)
{
    struct cpu *cpu = v->cpu;

    v->run->if_flag = (cpu->rflags >> 9) & 1;
    v->run->cr8 = lapic_get_tpr(cpu);
    v->run->apic_base = cpu->apic_base;
    v->run->flags = 0;
    v->run->ready_for_interrupt_injection =
        v->lapic != NULL || (v->run->if_flag != 0 && !cpu->irq_shadow && !cpu->interrupt.pending &&
                             !cpu->exception.pending);
    v->stat.exits++;
    vcpu_publish_stats(v);
    sync_regs_give(v);
}

/* Thread state that lasts: timers that wake this thread must not be 50 us late. */
static void prepare_thread(void)
{
    static _Thread_local bool prepared;

    if (!prepared) {
        prepared = true;
        (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    }
}

/* A signal that KVM_SET_SIGNAL_MASK lets through is pending: KVM_RUN returns and leaves it so. */
static bool signal_waits(const struct vcpu *v)
{
    sigset_t pending;

    if (!v->has_sigmask || sigpending(&pending) != 0) {
        return false;
    }
    for (int s = 1; s < NSIG; s++) {
        if (sigismember(&pending, s) == 1 && sigismember(&v->sigmask, s) == 0) {
            return true;
        }
    }
    return false;
}

int vcpu_run(void *object, void *arg)
{
    struct vcpu *v = object;
    int r;

    if (arg != NULL) {
        return -EINVAL;
    }
    if (pthread_mutex_trylock(&v->lock) != 0) {
        return -EBUSY;
    }
    r = sync_regs_take(v);
    if (r < 0) {
        (void)pthread_mutex_unlock(&v->lock);
        return r;
    }
    prepare_thread();
    if (v->lapic == NULL) {
        v->cpu->cr8 = v->run->cr8 & 0xf;
    }
    v->cpu->want_irq_window = v->lapic == NULL && v->run->request_interrupt_window != 0;
    take_answer(v);
    if (signal_waits(v)) {
        r = -EINTR;
    } else {
        /* An INIT or a wake-up may have come while the client had the vCPU. */
        cpu_kick(v->cpu, false);
        r = run_loop(v);
    }
    post_run(v);
    if (r == -EINTR) {
        v->run->exit_reason = KVM_EXIT_INTR;
        v->stat.signal_exits++;
    }
    (void)pthread_mutex_unlock(&v->lock);
    return r < 0 ? r : 0;
}
