/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bus.c - where a guest's port and MMIO accesses go before the client hears of them: in-kernel
 * devices, ioeventfds, and the ring of coalesced writes (KVM api.rst, KVM_REGISTER_COALESCED_MMIO).
 */
#include "engine/irqchip/irqchip.h"

#include <errno.h>
#include <string.h>

enum {
    RING_ENTRIES =
        (4096 - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio),
};

static bool in_zone(const struct vm *vm, uint64_t addr, unsigned len, bool pio)
{
    for (unsigned i = 0; i < vm->n_coalesced; i++) {
        const struct kvm_coalesced_mmio_zone *z = &vm->coalesced[i];

        if ((z->pio != 0) == pio && addr >= z->addr && addr + len <= z->addr + z->size) {
            return true;
        }
    }
    return false;
}

/* Puts the write into the ring that all vCPUs share (the first one's page); false when it is full.
 */
static bool coalesce(struct vm *vm, uint64_t addr, const uint8_t *data, unsigned len, bool pio)
{
    bool done = false;
    struct vcpu *first;

    if (vm->n_coalesced == 0) {
        return false;
    }
    (void)pthread_mutex_lock(&vm->eventfd_lock);
    first = vm_vcpu(vm, vm->boot_cpu_id);
    if (first != NULL && in_zone(vm, addr, len, pio)) {
        struct kvm_coalesced_mmio_ring *ring = first->ring;
        uint32_t last = ring->last % RING_ENTRIES;
        uint32_t next = (last + 1) % RING_ENTRIES;

        if (next != __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) % RING_ENTRIES) {
            struct kvm_coalesced_mmio *e = &ring->coalesced_mmio[last];

            e->phys_addr = addr;
            e->len = len;
            e->pio = pio ? 1 : 0;
            memcpy(e->data, data, len);
            __atomic_store_n(&ring->last, next, __ATOMIC_RELEASE);
            done = true;
        }
    }
    (void)pthread_mutex_unlock(&vm->eventfd_lock);
    return done;
}

static int change_zone(struct vm *vm, const struct kvm_coalesced_mmio_zone *z, bool add)
{
    unsigned kept = 0;

    if (z->pio > 1) {
        return -EINVAL;
    }
    if (add) {
        if (vm->n_coalesced == VM_MAX_COALESCED) {
            return -ENOSPC;
        }
        vm->coalesced[vm->n_coalesced++] = *z;
        return 0;
    }
    for (unsigned i = 0; i < vm->n_coalesced; i++) {
        const struct kvm_coalesced_mmio_zone *old = &vm->coalesced[i];

        if (old->pio != z->pio || old->addr < z->addr ||
            old->addr + old->size > z->addr + z->size) {
            vm->coalesced[kept++] = *old;
        }
    }
    vm->n_coalesced = kept;
    return 0;
}

static int zone_request(struct vm *vm, const void *arg, bool add)
{
    struct kvm_coalesced_mmio_zone z;
    int r;

    memcpy(&z, arg, sizeof(z));
    (void)pthread_mutex_lock(&vm->eventfd_lock);
    r = change_zone(vm, &z, add);
    (void)pthread_mutex_unlock(&vm->eventfd_lock);
    return r;
}

int vm_register_coalesced(void *vm, void *zone)
{
    return zone_request(vm, zone, true);
}

int vm_unregister_coalesced(void *vm, void *zone)
{
    return zone_request(vm, zone, false);
}

bool vm_mmio(struct cpu *cpu, uint64_t gpa, uint8_t *data, unsigned len, bool write)
{
    struct vm *vm = cpu->vm;

    if (lapic_mmio(cpu, gpa, data, len, write)) {
        return true;
    }
    if (vm->irqchip != NULL && !vm->irqchip->split && ioapic_mmio(vm, gpa, data, len, write)) {
        return true;
    }
    return write &&
           (vm_ioeventfd_signal(vm, gpa, data, len, false) || coalesce(vm, gpa, data, len, false));
}

bool vm_pio(struct cpu *cpu, uint16_t port, uint8_t *data, unsigned len, bool write)
{
    struct vm *vm = cpu->vm;

    if (vm->irqchip != NULL && !vm->irqchip->split && len == 1 &&
        (pic_io(vm, port, data, write) || pit_io(vm, port, data, write))) {
        return true;
    }
    return write &&
           (vm_ioeventfd_signal(vm, port, data, len, true) || coalesce(vm, port, data, len, true));
}
