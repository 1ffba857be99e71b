/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vm.h - one virtual machine: its memory slots, vCPUs, interrupt controllers and event descriptors.
 *
 * lock protects what is created and destroyed (slots, vCPUs, lists); irq_lock, taken after it,
 * protects PIC, IOAPIC, PIT and the routing table. Guest execution takes neither, but for an
 * in-kernel device.
 */
#pragma once

#include "engine/api/stats.h"
#include "base/list.h"
#include "engine/exec/exec.h"
#include "engine/mmu/phys.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    VM_MAX_VCPUS = 256,
    VM_MAX_SLOTS = 512,
    VM_MAX_COALESCED = 100,
    VCPU_MMAP_PAGES = 3, /* kvm_run, PIO data, coalesced MMIO ring */
    PIO_PAGE = 1,
    COALESCED_PAGE = 2,
};

struct irqchip;
struct iothread;

struct slot_table {
    unsigned n;
    struct memslot *by_gpa[VM_MAX_SLOTS]; /* ascending, no overlap; owned */
};

struct vm {
    atomic_uint refs;
    pthread_mutex_t lock;
    pthread_mutex_t irq_lock;

    struct slot_table *slots; /* owned; replaced only while no vCPU runs */

    struct vcpu *vcpus[VM_MAX_VCPUS]; /* by id; borrowed: a vCPU removes itself */
    unsigned n_vcpus;
    unsigned max_id; /* the highest vCPU id so far */
    uint32_t boot_cpu_id;

    /* Exclusive sections: see exclusive.c. */
    atomic_uint guests_running;
    atomic_uint exclusive_wanted;
    pthread_mutex_t exclusive_lock;
    pthread_mutex_t exclusive_wait_lock;
    pthread_cond_t exclusive_cond;

    struct irqchip *irqchip; /* owned; NULL: none */
    struct iothread *io;     /* owned; timers and irqfds */
    bool apic_ids_changed;   /* a guest has written an xAPIC ID: look at all of them */

    pthread_mutex_t eventfd_lock; /* the two lists, and the coalesced zones */
    struct list ioeventfds;
    struct list irqfds;
    struct kvm_coalesced_mmio_zone coalesced[VM_MAX_COALESCED];
    unsigned n_coalesced;

    /* kvmclock: guest nanoseconds = tsc_to_ns(host TSC - clock_tsc) + clock_ns. */
    uint64_t clock_tsc;
    uint64_t clock_ns;

    uint64_t x2apic_flags; /* KVM_CAP_X2APIC_API */
    uint64_t disabled_exits;
    uint64_t dirty_log_manual;
    bool exception_payload;

    struct stats_file stats; /* under lock */
};

void vm_ref(struct vm *vm);
void vm_unref(struct vm *vm);

/* KVM_CREATE_VM: the descriptor or a negative errno. */
int vm_create(void *unused, void *type);

/* The vCPU with that id, or NULL. */
struct vcpu *vm_vcpu(struct vm *vm, unsigned id);

/* memslot.c */
int vm_set_memory(void *vm, void *region);
int vm_get_dirty_log(void *vm, void *log);
int vm_clear_dirty_log(void *vm, void *log);
void vm_free_slots(struct vm *vm);

/* eventfd.c */
int vm_irqfd(void *vm, void *arg);
int vm_ioeventfd(void *vm, void *arg);
void vm_free_eventfds(struct vm *vm);
/* Signals the ioeventfd that the write matches, if any. */
bool vm_ioeventfd_signal(struct vm *vm, uint64_t addr, const uint8_t *data, unsigned len, bool pio);
/* A level interrupt was acknowledged at the IOAPIC or PIC: resample irqfds of that GSI. Called with
 * irq_lock held. */
void vm_irqfd_resample(struct vm *vm, unsigned gsi);

/* bus.c */
int vm_register_coalesced(void *vm, void *zone);
int vm_unregister_coalesced(void *vm, void *zone);

/* caps.c: the answer to KVM_CHECK_EXTENSION; vm NULL: on the system handle. */
int caps_check(const struct vm *vm, unsigned long cap);
int vm_enable_cap(void *vm, void *arg);
int vcpu_enable_cap(void *vcpu, void *arg);
