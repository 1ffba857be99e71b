/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * caps.c - what KVM_CHECK_EXTENSION answers, and KVM_ENABLE_CAP. A capability that is not in the
 * table is 0: not there.
 */
#include "engine/irqchip/irqchip.h"

#include <errno.h>
#include <string.h>

static const struct {
    uint16_t cap;
    int value;
} caps[] = {
    { KVM_CAP_IRQCHIP, 1 },
    { KVM_CAP_HLT, 1 },
    { KVM_CAP_USER_MEMORY, 1 },
    { KVM_CAP_SET_TSS_ADDR, 1 },
    { KVM_CAP_EXT_CPUID, 1 },
    { KVM_CAP_CLOCKSOURCE, 1 },
    { KVM_CAP_NR_VCPUS, 8 },
    { KVM_CAP_MAX_VCPUS, VM_MAX_VCPUS },
    { KVM_CAP_MAX_VCPU_ID, VM_MAX_VCPUS },
    { KVM_CAP_NR_MEMSLOTS, VM_MAX_SLOTS },
    { KVM_CAP_PIT, 1 },
    { KVM_CAP_NOP_IO_DELAY, 1 },
    { KVM_CAP_MP_STATE, 1 },
    { KVM_CAP_COALESCED_MMIO, COALESCED_PAGE },
    { KVM_CAP_COALESCED_PIO, 1 },
    { KVM_CAP_SYNC_MMU, 1 },
    { KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1 },
    { KVM_CAP_USER_NMI, 1 },
    { KVM_CAP_SET_GUEST_DEBUG, 1 },
    { KVM_CAP_REINJECT_CONTROL, 1 },
    { KVM_CAP_IRQ_ROUTING, GSI_COUNT },
    { KVM_CAP_IRQ_INJECT_STATUS, 1 },
    { KVM_CAP_MCE, 32 },
    { KVM_CAP_IRQFD, 1 },
    { KVM_CAP_PIT2, 1 },
    { KVM_CAP_SET_BOOT_CPU_ID, 1 },
    { KVM_CAP_PIT_STATE2, 1 },
    { KVM_CAP_IOEVENTFD, 1 },
    { KVM_CAP_IOEVENTFD_ANY_LENGTH, 1 },
    { KVM_CAP_IOEVENTFD_NO_LENGTH, 1 },
    { KVM_CAP_SET_IDENTITY_MAP_ADDR, 1 },
    { KVM_CAP_ADJUST_CLOCK, KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC },
    { KVM_CAP_INTERNAL_ERROR_DATA, 1 },
    { KVM_CAP_VCPU_EVENTS, 1 },
    { KVM_CAP_DEBUGREGS, 1 },
    { KVM_CAP_X86_ROBUST_SINGLESTEP, 1 },
    { KVM_CAP_ENABLE_CAP, 1 },
    { KVM_CAP_ENABLE_CAP_VM, 1 },
    { KVM_CAP_XSAVE, 1 },
    { KVM_CAP_XSAVE2, 4096 },
    { KVM_CAP_XCRS, 1 },
    { KVM_CAP_GET_TSC_KHZ, 1 },
    { KVM_CAP_TSC_DEADLINE_TIMER, 1 },
    { KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1 },
    { KVM_CAP_SIGNAL_MSI, 1 },
    { KVM_CAP_READONLY_MEM, 1 },
    { KVM_CAP_IRQFD_RESAMPLE, 1 },
    { KVM_CAP_KVMCLOCK_CTRL, 1 },
    { KVM_CAP_GET_MSR_FEATURES, 1 },
    { KVM_CAP_CHECK_EXTENSION_VM, 1 },
    { KVM_CAP_SPLIT_IRQCHIP, 1 },
    { KVM_CAP_IMMEDIATE_EXIT, 1 },
    { KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK },
    { KVM_CAP_MSI_DEVID, 0 },
    { KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_PAUSE },
    { KVM_CAP_EXCEPTION_PAYLOAD, 1 },
    { KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
    { KVM_CAP_MULTI_ADDRESS_SPACE, 1 },
    { KVM_CAP_SREGS2, 1 },
    { KVM_CAP_VAPIC, 1 },
    { KVM_CAP_SYNC_REGS, KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS },
    { KVM_CAP_BINARY_STATS_FD, 1 },
};

int caps_check(const struct vm *vm, unsigned long cap)
{
    if (cap == KVM_CAP_IRQ_ROUTING && vm != NULL && vm->irqchip == NULL) {
        return GSI_COUNT;
    }
    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        if (caps[i].cap == cap) {
            return caps[i].value;
        }
    }
    return 0;
}

int vm_enable_cap(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_enable_cap cap;

    memcpy(&cap, arg, sizeof(cap));
    if (cap.flags != 0) {
        return -EINVAL;
    }
    switch (cap.cap) {
    case KVM_CAP_SPLIT_IRQCHIP:
        return irqchip_enable_split(vm, (unsigned)cap.args[0]);
    case KVM_CAP_X2APIC_API:
        if ((cap.args[0] & ~(uint64_t)(KVM_X2APIC_API_USE_32BIT_IDS |
                                       KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)) != 0) {
            return -EINVAL;
        }
        vm->x2apic_flags = cap.args[0];
        return 0;
    case KVM_CAP_X86_DISABLE_EXITS:
        if ((cap.args[0] & ~(uint64_t)KVM_X86_DISABLE_EXITS_PAUSE) != 0) {
            return -EINVAL;
        }
        vm->disabled_exits = cap.args[0];
        return 0;
    case KVM_CAP_EXCEPTION_PAYLOAD:
        vm->exception_payload = cap.args[0] != 0;
        return 0;
    case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
        if ((cap.args[0] & ~(uint64_t)KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) != 0) {
            return -EINVAL;
        }
        vm->dirty_log_manual = cap.args[0];
        return 0;
    default:
        return -EINVAL;
    }
}

int vcpu_enable_cap(void *vcpu, void *arg)
{
    (void)vcpu;
    (void)arg;
    return -EINVAL; /* Hyper-V and the like: none yet */
}
