/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/api/vm.h"

#include "engine/api/handle.h"
#include "engine/irqchip/irqchip.h"
#include "engine/irqchip/pv.h"

#include <errno.h>
#include <stdlib.h>

void vm_ref(struct vm *vm)
{
    (void)atomic_fetch_add(&vm->refs, 1);
}

void vm_unref(struct vm *vm)
{
    if (vm == NULL || atomic_fetch_sub(&vm->refs, 1) != 1) {
        return;
    }
    vm_free_eventfds(vm);
    irqchip_free(vm->irqchip);
    (void)iothread_free(vm->io);
    vm_free_slots(vm);
    stats_done(&vm->stats);
    (void)pthread_mutex_destroy(&vm->lock);
    (void)pthread_mutex_destroy(&vm->irq_lock);
    (void)pthread_mutex_destroy(&vm->exclusive_lock);
    (void)pthread_mutex_destroy(&vm->exclusive_wait_lock);
    (void)pthread_mutex_destroy(&vm->eventfd_lock);
    (void)pthread_cond_destroy(&vm->exclusive_cond);
    free(vm);
}

struct vcpu *vm_vcpu(struct vm *vm, unsigned id)
{
    return id < VM_MAX_VCPUS ? __atomic_load_n(&vm->vcpus[id], __ATOMIC_ACQUIRE) : NULL;
}

int vm_create(void *unused, void *type)
{
    struct vm *vm;
    int fd;

    (void)unused;
    if (type != NULL) {
        return -EINVAL; /* only the default VM type */
    }
    vm = calloc(1, sizeof(*vm));
    if (vm == NULL || (vm->slots = calloc(1, sizeof(*vm->slots))) == NULL) {
        free(vm);
        return -ENOMEM;
    }
    atomic_init(&vm->refs, 1);
    (void)pthread_mutex_init(&vm->lock, NULL);
    (void)pthread_mutex_init(&vm->irq_lock, NULL);
    (void)pthread_mutex_init(&vm->exclusive_lock, NULL);
    (void)pthread_mutex_init(&vm->exclusive_wait_lock, NULL);
    (void)pthread_mutex_init(&vm->eventfd_lock, NULL);
    (void)pthread_cond_init(&vm->exclusive_cond, NULL);
    list_init(&vm->ioeventfds);
    list_init(&vm->irqfds);
    pv_clock_set(vm, 0);
    fd = handle_new(HANDLE_VM, vm, "vireo-kvm-vm", 0);
    if (fd < 0) {
        vm_unref(vm);
    }
    return fd;
}

static int check_extension(void *vm, void *cap)
{
    return caps_check(vm, (unsigned long)(uintptr_t)cap);
}

static int accept_address(void *vm, void *arg)
{
    /* Real mode needs no task state or page table of ours: the address is taken note of by nobody.
     */
    (void)vm;
    (void)arg;
    return 0;
}

static int set_boot_cpu(void *object, void *arg)
{
    struct vm *vm = object;
    int r = 0;

    (void)pthread_mutex_lock(&vm->lock);
    if (vm->n_vcpus != 0) {
        r = -EBUSY;
    } else if ((uintptr_t)arg >= VM_MAX_VCPUS) {
        r = -EINVAL;
    } else {
        vm->boot_cpu_id = (uint32_t)(uintptr_t)arg;
    }
    (void)pthread_mutex_unlock(&vm->lock);
    return r;
}

static int set_tsc_khz(void *vm, void *arg)
{
    (void)vm;
    (void)arg;
    return -EINVAL; /* the guest's TSC runs at the host's rate */
}

const struct request vm_requests[] = {
    { KVM_IRQ_LINE, irqchip_irq_line },
    { KVM_IRQ_LINE_STATUS, irqchip_irq_line_status },
    { KVM_SIGNAL_MSI, irqchip_signal_msi },
    { KVM_GET_DIRTY_LOG, vm_get_dirty_log },
    { KVM_CLEAR_DIRTY_LOG, vm_clear_dirty_log },
    { KVM_SET_USER_MEMORY_REGION, vm_set_memory },
    { KVM_CREATE_VCPU, vcpu_create },
    { KVM_CHECK_EXTENSION, check_extension },
    { KVM_ENABLE_CAP, vm_enable_cap },
    { KVM_SET_TSS_ADDR, accept_address },
    { KVM_SET_IDENTITY_MAP_ADDR, accept_address },
    { KVM_SET_NR_MMU_PAGES, accept_address },
    { KVM_CREATE_IRQCHIP, irqchip_create },
    { KVM_GET_IRQCHIP, irqchip_get },
    { KVM_SET_IRQCHIP, irqchip_set },
    { KVM_CREATE_PIT, pit_create_legacy },
    { KVM_CREATE_PIT2, pit_create },
    { KVM_GET_PIT2, pit_get },
    { KVM_SET_PIT2, pit_set },
    { KVM_REINJECT_CONTROL, pit_reinject },
    { KVM_SET_GSI_ROUTING, irqchip_set_routing },
    { KVM_IRQFD, vm_irqfd },
    { KVM_IOEVENTFD, vm_ioeventfd },
    { KVM_REGISTER_COALESCED_MMIO, vm_register_coalesced },
    { KVM_UNREGISTER_COALESCED_MMIO, vm_unregister_coalesced },
    { KVM_SET_BOOT_CPU_ID, set_boot_cpu },
    { KVM_GET_CLOCK, pv_get_clock },
    { KVM_SET_CLOCK, pv_set_clock },
    { KVM_SET_TSC_KHZ, set_tsc_khz },
    { KVM_GET_STATS_FD, vm_get_stats_fd },
    { 0, NULL },
};
