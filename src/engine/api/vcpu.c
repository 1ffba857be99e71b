/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vcpu.c - creating and ending a vCPU, waking it, and the table of its requests. */
#include "engine/api/vcpu.h"

#include "engine/api/handle.h"
#include "engine/irqchip/irqchip.h"
#include "engine/irqchip/pv.h"
#include "engine/irqchip/tsc.h"
#include "os/fd.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

void vcpu_ref(struct vcpu *v)
{
    (void)atomic_fetch_add(&v->refs, 1);
}

static void vcpu_free(struct vcpu *v)
{
    if (v->lapic != NULL) {
        v->cpu->lapic = NULL;
        (void)lapic_free(v->lapic);
    }
    if (v->run != NULL) {
        (void)munmap(v->run, VCPU_MMAP_PAGES * 4096);
    }
    if (v->cpu != NULL) {
        (void)cpu_free(v->cpu);
    }
    stats_done(&v->stats);
    (void)pthread_mutex_destroy(&v->lock);
    vm_unref(v->vm);
    free(v);
}

/* Nobody may be visiting the vCPUs while one leaves. */
static void leave(void *arg)
{
    struct vcpu *v = arg;

    __atomic_store_n(&v->vm->vcpus[v->id], NULL, __ATOMIC_RELEASE);
    v->vm->n_vcpus--;
}

void vcpu_unref(struct vcpu *v)
{
    if (v == NULL || atomic_fetch_sub(&v->refs, 1) != 1) {
        return;
    }
    (void)pthread_mutex_lock(&v->vm->lock);
    (void)pthread_mutex_lock(&v->vm->irq_lock);
    vm_exclusive(v->vm, NULL, leave, v);
    (void)pthread_mutex_unlock(&v->vm->irq_lock);
    (void)pthread_mutex_unlock(&v->vm->lock);
    vcpu_free(v);
}

void vcpu_wake(struct vcpu *v)
{
    cpu_kick(v->cpu, false);
    if (atomic_load(&v->sleeping)) {
        (void)syscall(SYS_futex, v->cpu->run_page, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
}

/* Maps the descriptor's pages for us, and its first one over the page that the CPU polls. */
static int map_run(struct vcpu *v, int fd)
{
    uint8_t *p = mmap(NULL, VCPU_MMAP_PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED) {
        return -errno;
    }
    v->run = (struct kvm_run *)(void *)p;
    v->pio_data = p + PIO_PAGE * 4096;
    v->ring = (struct kvm_coalesced_mmio_ring *)(void *)(p + COALESCED_PAGE * 4096);
    if (mmap(v->cpu->run_page, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
        MAP_FAILED) {
        return -errno;
    }
    return 0;
}

static int build(struct vm *vm, unsigned id, struct vcpu **ret)
{
    struct vcpu *v = calloc(1, sizeof(*v));

    if (v == NULL) {
        return -ENOMEM;
    }
    atomic_init(&v->refs, 1);
    v->vm = vm;
    v->id = id;
    vm_ref(vm);
    (void)pthread_mutex_init(&v->lock, NULL);
    v->cpu = cpu_new(vm, v, id);
    if (v->cpu != NULL) {
        v->cpu->apic_base = 0xfee00800u | (id == vm->boot_cpu_id ? 1u << 8 : 0);
        pv_reset(v);
        if (vm->irqchip != NULL) {
            v->lapic = lapic_new(v);
        }
    }
    if (v->cpu == NULL || (vm->irqchip != NULL && v->lapic == NULL)) {
        vcpu_free(v);
        return -ENOMEM;
    }
    v->cpu->lapic = v->lapic;
    atomic_init(&v->mp_state, vm->irqchip == NULL || id == vm->boot_cpu_id
                                  ? (unsigned)KVM_MP_STATE_RUNNABLE
                                  : (unsigned)KVM_MP_STATE_UNINITIALIZED);
    *ret = v;
    return 0;
}

static int create_locked(struct vm *vm, unsigned id)
{
    struct vcpu *v;
    int fd;
    int r;

    if (id >= VM_MAX_VCPUS) {
        return -EINVAL;
    }
    if (vm_vcpu(vm, id) != NULL) {
        return -EEXIST;
    }
    r = build(vm, id, &v);
    if (r < 0) {
        return r;
    }
    fd = handle_new(HANDLE_VCPU, v, "vireo-kvm-vcpu", VCPU_MMAP_PAGES * 4096);
    r = fd < 0 ? fd : map_run(v, fd);
    if (r < 0) {
        if (fd < 0) {
            vcpu_free(v);
        }
        return r;
    }
    if (id > vm->max_id) {
        vm->max_id = id;
    }
    vm->n_vcpus++;
    __atomic_store_n(&vm->vcpus[id], v, __ATOMIC_RELEASE);
    vm_publish_stats(vm);
    return fd;
}

int vcpu_create(void *object, void *id)
{
    struct vm *vm = object;
    int r;

    (void)pthread_mutex_lock(&vm->lock);
    r = create_locked(vm, (unsigned)(uintptr_t)id);
    (void)pthread_mutex_unlock(&vm->lock);
    return r;
}

static int get_tsc_khz(void *object, void *arg)
{
    struct vcpu *v = object;

    (void)arg;
    return (int)(v->tsc_khz != 0 ? v->tsc_khz : tsc_khz());
}

static int set_tsc_khz(void *object, void *arg)
{
    struct vcpu *v = object;
    uint64_t want = (uintptr_t)arg;
    uint64_t have = tsc_khz();

    /* No scaling: within the 250 ppm that KVM tolerates, the host's rate serves. */
    if (want != 0 && (want > have + have / 4000 || want + have / 4000 < have)) {
        return -EINVAL;
    }
    v->tsc_khz = (uint32_t)want;
    return 0;
}

static int set_signal_mask(void *object, void *arg)
{
    struct vcpu *v = object;
    const struct kvm_signal_mask *mask = arg;

    v->has_sigmask = mask != NULL;
    if (mask != NULL) {
        if (mask->len != 8) {
            return -EINVAL;
        }
        (void)sigemptyset(&v->sigmask);
        memcpy(&v->sigmask, mask->sigset, 8);
    }
    return 0;
}

static int translate(void *object, void *arg)
{
    struct vcpu *v = object;
    struct kvm_translation *t = arg;
    uint64_t gpa = UINT64_MAX;

    t->valid = cpu_translate_debug(v->cpu, t->linear_address, &gpa) ? 1 : 0;
    t->physical_address = gpa;
    t->writeable = 1;
    t->usermode = 0;
    return 0;
}

static int vapic_addr(void *vcpu, void *arg)
{
    (void)vcpu;
    (void)arg;
    return 0; /* a hint for hardware without TPR shadowing */
}

static int kvmclock_ctrl(void *object, void *arg)
{
    struct vcpu *v = object;

    (void)arg;
    return (v->pv.system_time & 1) != 0 ? 0 : -EINVAL;
}

const struct request vcpu_requests[] = {
    { KVM_RUN, vcpu_run },
    { KVM_GET_REGS, vcpu_get_regs },
    { KVM_SET_REGS, vcpu_set_regs },
    { KVM_GET_SREGS, vcpu_get_sregs },
    { KVM_SET_SREGS, vcpu_set_sregs },
    { KVM_GET_SREGS2, vcpu_get_sregs2 },
    { KVM_SET_SREGS2, vcpu_set_sregs2 },
    { KVM_GET_FPU, vcpu_get_fpu },
    { KVM_SET_FPU, vcpu_set_fpu },
    { KVM_GET_XSAVE, vcpu_get_xsave },
    { KVM_GET_XSAVE2, vcpu_get_xsave },
    { KVM_SET_XSAVE, vcpu_set_xsave },
    { KVM_GET_XCRS, vcpu_get_xcrs },
    { KVM_SET_XCRS, vcpu_set_xcrs },
    { KVM_GET_DEBUGREGS, vcpu_get_debugregs },
    { KVM_SET_DEBUGREGS, vcpu_set_debugregs },
    { KVM_GET_MSRS, vcpu_get_msrs },
    { KVM_SET_MSRS, vcpu_set_msrs },
    { KVM_SET_CPUID, vcpu_set_cpuid },
    { KVM_SET_CPUID2, vcpu_set_cpuid2 },
    { KVM_GET_CPUID2, vcpu_get_cpuid2 },
    { KVM_GET_LAPIC, lapic_get_state },
    { KVM_SET_LAPIC, lapic_set_state },
    { KVM_GET_VCPU_EVENTS, vcpu_get_events },
    { KVM_SET_VCPU_EVENTS, vcpu_set_events },
    { KVM_GET_MP_STATE, vcpu_get_mp_state },
    { KVM_SET_MP_STATE, vcpu_set_mp_state },
    { KVM_INTERRUPT, vcpu_interrupt },
    { KVM_NMI, vcpu_nmi },
    { KVM_SET_GUEST_DEBUG, vcpu_set_guest_debug },
    { KVM_X86_SETUP_MCE, vcpu_setup_mce },
    { KVM_X86_SET_MCE, vcpu_set_mce },
    { KVM_GET_TSC_KHZ, get_tsc_khz },
    { KVM_SET_TSC_KHZ, set_tsc_khz },
    { KVM_SET_SIGNAL_MASK, set_signal_mask },
    { KVM_TRANSLATE, translate },
    { KVM_SET_VAPIC_ADDR, vapic_addr },
    { KVM_KVMCLOCK_CTRL, kvmclock_ctrl },
    { KVM_ENABLE_CAP, vcpu_enable_cap },
    { KVM_GET_STATS_FD, vcpu_get_stats_fd },
    { 0, NULL },
};
