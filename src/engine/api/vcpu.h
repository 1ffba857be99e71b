/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vcpu.h - one virtual CPU as KVM's API sees it: struct cpu plus what only the API needs.
 */
#pragma once

#include "engine/api/vm.h"

#include <signal.h>

struct lapic;

struct vcpu {
    atomic_uint refs;
    struct vm *vm; /* counted */
    unsigned id;
    struct cpu *cpu;      /* owned */
    struct lapic *lapic;  /* owned; NULL without in-kernel one */
    pthread_mutex_t lock; /* one request at a time */

    /* The descriptor's memory: VCPU_MMAP_PAGES pages, shared with the client. */
    struct kvm_run *run;
    uint8_t *pio_data;
    struct kvm_coalesced_mmio_ring *ring;

    atomic_bool sleeping; /* in HLT, waiting on run_page as a futex */
    atomic_uint mp_state; /* KVM_MP_STATE_ */
    bool eoi_exit;        /* split irqchip: KVM_EXIT_IOAPIC_EOI is due */
    bool exit_pending;    /* the last exit was IO or MMIO: its data is to be taken over */
    bool has_sigmask;
    sigset_t sigmask;
    struct kvm_cpuid_entry2 cpuid[CPUID_MAX_ENTRIES];
    unsigned n_cpuid;
    uint32_t tsc_khz;

    /* Paravirtual state (irqchip/pv.c). */
    struct {
        uint64_t system_time, wall_clock, steal, eoi, poll_control;
        uint32_t clock_version;
        bool eoi_pending;
        uint64_t steal_ns, steal_seen;
        atomic_bool unhalted;
    } pv;

    struct {
        uint64_t exits, io_exits, mmio_exits, halts, irq_injections, signal_exits;
    } stat;
    struct stats_file stats;
};

void vcpu_ref(struct vcpu *vcpu);
void vcpu_unref(struct vcpu *vcpu);

/* KVM_CREATE_VCPU: the descriptor or a negative errno. */
int vcpu_create(void *vm, void *id);

/* Wakes the vCPU from HLT and makes it look at its interrupts. Any thread. */
void vcpu_wake(struct vcpu *vcpu);

/* Handlers of the table in vcpu.c, each in the file named. */
/* run.c */
int vcpu_run(void *vcpu, void *arg);
/* sync_regs.c: before and after KVM_RUN; -EINVAL: the client asks for what there is not. */
int sync_regs_take(struct vcpu *v);
void sync_regs_give(struct vcpu *v);
/* regs.c */
int vcpu_get_regs(void *vcpu, void *arg);
int vcpu_set_regs(void *vcpu, void *arg);
int vcpu_get_sregs(void *vcpu, void *arg);
int vcpu_set_sregs(void *vcpu, void *arg);
int vcpu_get_sregs2(void *vcpu, void *arg);
int vcpu_set_sregs2(void *vcpu, void *arg);
int vcpu_get_debugregs(void *vcpu, void *arg);
int vcpu_set_debugregs(void *vcpu, void *arg);
/* xsave.c */
int vcpu_get_fpu(void *vcpu, void *arg);
int vcpu_set_fpu(void *vcpu, void *arg);
int vcpu_get_xsave(void *vcpu, void *arg);
int vcpu_set_xsave(void *vcpu, void *arg);
int vcpu_get_xcrs(void *vcpu, void *arg);
int vcpu_set_xcrs(void *vcpu, void *arg);
/* events.c */
int vcpu_get_events(void *vcpu, void *arg);
int vcpu_set_events(void *vcpu, void *arg);
int vcpu_get_mp_state(void *vcpu, void *arg);
int vcpu_set_mp_state(void *vcpu, void *arg);
int vcpu_interrupt(void *vcpu, void *arg);
int vcpu_nmi(void *vcpu, void *arg);
int vcpu_set_guest_debug(void *vcpu, void *arg);
int vcpu_setup_mce(void *vcpu, void *arg);
int vcpu_set_mce(void *vcpu, void *arg);
/* cpuid.c */
int vcpu_set_cpuid(void *vcpu, void *arg);
int vcpu_set_cpuid2(void *vcpu, void *arg);
int vcpu_get_cpuid2(void *vcpu, void *arg);
int system_get_supported_cpuid(void *unused, void *arg);
int system_get_emulated_cpuid(void *unused, void *arg);
/* msrs.c */
int vcpu_get_msrs(void *vcpu, void *arg);
int vcpu_set_msrs(void *vcpu, void *arg);
int system_get_msr_index_list(void *unused, void *arg);
int system_get_msr_feature_list(void *unused, void *arg);
int system_get_msrs(void *unused, void *arg);
