/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/vcpu.h"

#include "base/log.h"
#include "base/str.h"
#include "vmm/accel/cpuid.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { KICK_SIGNAL = SIGUSR1, N_MSRS = 16, XSAVE_BYTES = 4096 };

/* MSRs that a reset has to put back (SDM 3A, table 9-1). */
static const uint32_t reset_msrs[] = {
    0x10,       /* TSC */
    0x174,      /* SYSENTER_CS */
    0x175,      /* SYSENTER_ESP */
    0x176,      /* SYSENTER_EIP */
    0x277,      /* PAT */
    0x2ff,      /* MTRR_DEF_TYPE */
    0xc0000081, /* STAR */
    0xc0000082, /* LSTAR */
    0xc0000083, /* CSTAR */
    0xc0000084, /* SFMASK */
    0xc0000102, /* KERNEL_GS_BASE */
    0x4b564d00, /* KVM_WALL_CLOCK_NEW */
    0x4b564d01, /* KVM_SYSTEM_TIME_NEW */
    0x4b564d02, /* KVM_ASYNC_PF_EN */
    0x4b564d03, /* KVM_STEAL_TIME */
    0x4b564d04, /* KVM_PV_EOI_EN */
};

struct vcpu_initial {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_fpu fpu;
    struct kvm_vcpu_events events;
    struct kvm_debugregs debugregs;
    struct kvm_xcrs xcrs;
    struct kvm_lapic_state lapic;
    struct kvm_mp_state mp;
    struct {
        struct kvm_msrs h;
        struct kvm_msr_entry e[N_MSRS];
    } msrs;
};

static __thread struct kvm_run *my_run;

static void on_kick(int signo)
{
    (void)signo;
    if (my_run != NULL) {
        __atomic_store_n(&my_run->immediate_exit, 1, __ATOMIC_RELAXED);
    }
}

static int vcpu_ioctl(struct vcpu *v, unsigned long request, void *arg)
{
    int r = v->m->accel->p->ioctl(v->fd, request, arg);

    return r < 0 ? -errno : r;
}

int vcpu_request(struct vcpu *v, unsigned long request, void *arg)
{
    return vcpu_ioctl(v, request, arg);
}

static int save_initial(struct vcpu *v)
{
    struct vcpu_initial *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return -ENOMEM;
    }
    v->initial = s;
    s->msrs.h.nmsrs = 0;
    for (size_t i = 0; i < sizeof(reset_msrs) / sizeof(reset_msrs[0]); i++) {
        struct {
            struct kvm_msrs h;
            struct kvm_msr_entry e;
        } one = { .h.nmsrs = 1, .e.index = reset_msrs[i] };

        /* One at a time: reading stops at the first that this accelerator does not have. */
        if (vcpu_ioctl(v, KVM_GET_MSRS, &one) == 1) {
            s->msrs.e[s->msrs.h.nmsrs++] = one.e;
        }
    }
    (void)vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &s->events);
    (void)vcpu_ioctl(v, KVM_GET_DEBUGREGS, &s->debugregs);
    (void)vcpu_ioctl(v, KVM_GET_XCRS, &s->xcrs);
    (void)vcpu_ioctl(v, KVM_GET_LAPIC, &s->lapic);
    (void)vcpu_ioctl(v, KVM_GET_MP_STATE, &s->mp);
    (void)vcpu_ioctl(v, KVM_GET_FPU, &s->fpu);
    if (vcpu_ioctl(v, KVM_GET_REGS, &s->regs) < 0) {
        return -EIO;
    }
    return vcpu_ioctl(v, KVM_GET_SREGS, &s->sregs);
}

int vcpu_init(struct vcpu *v, struct machine *m, unsigned index, struct err **err)
{
    struct accel *a = m->accel;
    int r;

    v->m = m;
    v->index = index;
    v->fd = accel_vm_ioctl(a, KVM_CREATE_VCPU, (void *)(uintptr_t)index);
    if (v->fd < 0) {
        r = v->fd;
        return err_set(err, -r, "cannot create vCPU %u: %s", index, strerror(-r));
    }
    v->run = a->p->mmap(a->run_size, v->fd, 0);
    if (v->run == MAP_FAILED) {
        v->run = NULL;
        return err_set(err, errno, "cannot map vCPU %u: %s", index, strerror(errno));
    }
    r = cpuid_install(m->cpu, v, err);
    if (r == 0 && save_initial(v) < 0) {
        r = err_set(err, EIO, "cannot read the state of vCPU %u", index);
    }
    return r;
}

int vcpu_reset(struct vcpu *v, struct err **err)
{
    struct vcpu_initial *s = v->initial;
    int r;

    (void)vcpu_ioctl(v, KVM_SET_MP_STATE, &s->mp);
    r = vcpu_ioctl(v, KVM_SET_SREGS, &s->sregs);
    if (r == 0) {
        r = vcpu_ioctl(v, KVM_SET_REGS, &s->regs);
    }
    (void)vcpu_ioctl(v, KVM_SET_FPU, &s->fpu);
    (void)vcpu_ioctl(v, KVM_SET_XCRS, &s->xcrs);
    (void)vcpu_ioctl(v, KVM_SET_DEBUGREGS, &s->debugregs);
    (void)vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &s->events);
    (void)vcpu_ioctl(v, KVM_SET_LAPIC, &s->lapic);
    if (s->msrs.h.nmsrs > 0) {
        (void)vcpu_ioctl(v, KVM_SET_MSRS, &s->msrs);
    }
    return r < 0 ? err_set(err, -r, "cannot reset vCPU %u: %s", v->index, strerror(-r)) : 0;
}

static struct kvm_segment flat_segment(uint16_t selector, bool code, bool long_mode)
{
    return (struct kvm_segment) {
        .base = 0,
        .limit = 0xffffffff,
        .selector = selector,
        .type = code ? 0xb : 0x3,
        .present = 1,
        .db = long_mode && code ? 0 : 1,
        .s = 1,
        .l = long_mode && code,
        .g = 1,
    };
}

int vcpu_set_entry(struct vcpu *v, const struct boot_entry *e, struct err **err)
{
    struct kvm_sregs sregs = v->initial->sregs;
    struct kvm_regs regs = v->initial->regs;
    bool long_mode = e->mode == BOOT_LONG;
    int r;

    if (e->mode == BOOT_RESET_VECTOR) {
        return 0; /* that is the state after reset */
    }
    sregs.cs = flat_segment(0x10, true, long_mode);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat_segment(0x18, false, long_mode);
    sregs.tr = (struct kvm_segment) { .limit = 0x67, .type = 0xb, .present = 1, .selector = 0x20 };
    sregs.ldt = (struct kvm_segment) { .type = 2, .unusable = 1 };
    sregs.gdt.base = e->gdt_base;
    sregs.gdt.limit = e->gdt_limit;
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    sregs.cr0 = 0x11; /* PE, ET */
    if (long_mode) {
        sregs.cr0 |= 0x80000000u;
        sregs.cr3 = e->cr3;
        sregs.cr4 = 0x20;   /* PAE */
        sregs.efer = 0x500; /* LME, LMA */
    }
    regs.rip = e->rip;
    regs.rsp = e->rsp;
    regs.rax = e->rax;
    regs.rbx = e->rbx;
    regs.rsi = e->rsi;
    regs.rflags = 2;
    r = vcpu_ioctl(v, KVM_SET_SREGS, &sregs);
    if (r == 0) {
        r = vcpu_ioctl(v, KVM_SET_REGS, &regs);
    }
    return r < 0 ? err_set(err, -r, "cannot set the boot CPU's registers: %s", strerror(-r)) : 0;
}

static uint64_t load(const void *p, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, p, size <= 8 ? size : 8);
    return v;
}

static void do_pio(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;

    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            iobus_write(&v->m->pio, run->io.port, load(data, run->io.size), run->io.size);
        } else {
            uint64_t value = iobus_read(&v->m->pio, run->io.port, run->io.size);

            memcpy(data, &value, run->io.size);
        }
    }
}

/* An access may be 1 to 8 bytes long; what is no power of two is made of bytes. */
static void do_mmio(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    unsigned len = run->mmio.len <= 8 ? run->mmio.len : 8;
    unsigned step = (len & (len - 1)) == 0 ? len : 1;

    for (unsigned i = 0; i < len; i += step) {
        if (run->mmio.is_write) {
            iobus_write(&v->m->mmio, run->mmio.phys_addr + i, load(run->mmio.data + i, step), step);
        } else {
            uint64_t value = iobus_read(&v->m->mmio, run->mmio.phys_addr + i, step);

            memcpy(run->mmio.data + i, &value, step);
        }
    }
}

/* What a person needs to find out why: where the CPU is, in which mode, at which instruction. */
static void report_stuck(struct vcpu *v, const char *what, unsigned long long detail)
{
    struct kvm_regs regs = { 0 };
    struct kvm_sregs sregs = { 0 };
    struct kvm_translation tr = { 0 };
    uint8_t code[16] = { 0 };
    struct strbuf text = STRBUF_INIT(64);
    AUTO_FREE char *hex = NULL;

    (void)vcpu_ioctl(v, KVM_GET_REGS, &regs);
    (void)vcpu_ioctl(v, KVM_GET_SREGS, &sregs);
    tr.linear_address = sregs.cs.base + regs.rip;
    if (vcpu_ioctl(v, KVM_TRANSLATE, &tr) == 0 && tr.valid) {
        (void)!gmem_read(&v->m->mem, tr.physical_address, code, sizeof(code));
    }
    for (size_t i = 0; i < sizeof(code); i++) {
        strbuf_printf(&text, " %02x", code[i]);
    }
    hex = strbuf_take(&text);
    log_error("vCPU %u: %s (0x%llx) at rip 0x%llx, cs base 0x%llx, cr0 0x%llx, code%s", v->index,
              what, detail, (unsigned long long)regs.rip, (unsigned long long)sregs.cs.base,
              (unsigned long long)sregs.cr0, hex != NULL ? hex : "");
}

static void do_debug(struct vcpu *v)
{
    const struct machine_debug *d = &v->m->debug;
    struct kvm_guest_debug inject = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP |
                                                 KVM_GUESTDBG_INJECT_BP };

    if (d->is_ours != NULL && !d->is_ours(d->arg, &v->run->debug.arch)) {
        (void)vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &inject);
    } else {
        machine_debug_hit(v->m, v->index);
    }
}

/* With the lock held. */
static void handle_exit(struct vcpu *v)
{
    struct kvm_run *run = v->run;

    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        do_pio(v);
        break;
    case KVM_EXIT_MMIO:
        do_mmio(v);
        break;
    case KVM_EXIT_DEBUG:
        do_debug(v);
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        break;
    case KVM_EXIT_SHUTDOWN: /* triple fault: a PC resets */
        TRACE(vcpu_triple_fault, "vCPU %u", v->index);
        machine_request_reset(v->m, CAUSE_GUEST_RESET);
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        if (run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN) {
            machine_request_shutdown(v->m, CAUSE_GUEST_SHUTDOWN);
        } else {
            machine_request_reset(v->m, CAUSE_GUEST_RESET);
        }
        break;
    case KVM_EXIT_FAIL_ENTRY:
        report_stuck(v, "the accelerator cannot enter the guest",
                     run->fail_entry.hardware_entry_failure_reason);
        machine_request_internal_error(v->m);
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        report_stuck(v, "the accelerator cannot go on, suberror", run->internal.suberror);
        machine_request_internal_error(v->m);
        break;
    default:
        report_stuck(v, "unexpected exit", run->exit_reason);
        machine_request_internal_error(v->m);
        break;
    }
}

static void park(struct vcpu *v)
{
    struct machine *m = v->m;

    v->parked = true;
    (void)pthread_cond_broadcast(&m->vcpus_cond);
    while (m->stop_requested && !v->quit) {
        (void)pthread_cond_wait(&m->vcpus_cond, &m->lock);
    }
    v->parked = v->quit;
}

/* An I/O exit is finished by entering the accelerator once more; do that before parking, so that
 * the registers are those after the instruction (KVM api.rst, KVM_RUN). */
static void complete_io(struct vcpu *v)
{
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
    (void)vcpu_ioctl(v, KVM_RUN, NULL);
}

static void *vcpu_main(void *arg)
{
    struct vcpu *v = arg;
    struct machine *m = v->m;

    my_run = v->run;
    machine_lock(m);
    v->tid = gettid();
    (void)pthread_cond_broadcast(&m->vcpus_cond);
    for (;;) {
        int r;

        /* Cleared before the flags are looked at: a kick after that is not lost. */
        __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        if (m->stop_requested || v->quit) {
            park(v);
            if (v->quit) {
                break;
            }
            continue;
        }
        machine_unlock(m);
        r = vcpu_ioctl(v, KVM_RUN, NULL);
        machine_lock(m);
        if (r == -EINTR || r == -EAGAIN) {
            continue;
        }
        if (r < 0) {
            report_stuck(v, strerror(-r), (unsigned long long)-r);
            machine_request_internal_error(m);
            continue;
        }
        handle_exit(v);
        if (m->stop_requested &&
            (v->run->exit_reason == KVM_EXIT_IO || v->run->exit_reason == KVM_EXIT_MMIO)) {
            complete_io(v);
        }
    }
    machine_unlock(m);
    return NULL;
}

int vcpu_start(struct vcpu *v, struct err **err)
{
    struct sigaction kick = { .sa_handler = on_kick };
    pthread_attr_t attr;
    sigset_t all;
    sigset_t old;
    int r;

    (void)sigaction(KICK_SIGNAL, &kick, NULL);
    (void)sigfillset(&all);
    (void)sigdelset(&all, KICK_SIGNAL);
    (void)sigdelset(&all, SIGSEGV);
    (void)sigdelset(&all, SIGBUS);
    (void)sigdelset(&all, SIGFPE);
    (void)sigdelset(&all, SIGILL);
    (void)sigdelset(&all, SIGTRAP);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, 256 * 1024);
    r = pthread_create(&v->thread, &attr, vcpu_main, v);
    (void)pthread_attr_destroy(&attr);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0) {
        return err_set(err, r, "cannot start the thread of vCPU %u: %s", v->index, strerror(r));
    }
    v->started = true;
    return 0;
}

void vcpu_kick(struct vcpu *v)
{
    if (v->started && !pthread_equal(v->thread, pthread_self())) {
        (void)pthread_kill(v->thread, KICK_SIGNAL);
    }
}

void vcpu_nmi(struct vcpu *v)
{
    (void)vcpu_ioctl(v, KVM_NMI, NULL);
}

void vcpu_done(struct vcpu *v)
{
    if (v->m == NULL) {
        return;
    }
    if (v->started) {
        machine_lock(v->m);
        v->quit = true;
        (void)pthread_cond_broadcast(&v->m->vcpus_cond);
        machine_unlock(v->m);
        vcpu_kick(v);
        (void)pthread_join(v->thread, NULL);
        v->started = false;
    }
    if (v->run != NULL) {
        (void)munmap(v->run, v->m->accel->run_size);
        v->run = NULL;
    }
    if (v->fd > 0) {
        (void)v->m->accel->p->close(v->fd);
        v->fd = -1;
    }
    free(v->initial);
    v->initial = NULL;
}
