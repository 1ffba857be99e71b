/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * exec.h - the seam between KVM's API (api/, irqchip/) and the CPU (x86/, exec/, jit/, mmu/).
 */
#pragma once

#include "engine/x86/cpu.h"

struct vm;

/* ---- what the CPU gives to the API ---- */

/* A CPU in its reset state, or NULL (no memory). The struct lies page-aligned in its own mapping;
 * the API may map shared memory over cpu->run_page. */
struct cpu *cpu_new(struct vm *vm, struct vcpu *vcpu, unsigned index);
struct cpu *cpu_free(struct cpu *cpu);

/* Runs guest code until something needs the API. Delivers cpu->exception, interrupts and NMIs by
 * itself, asking the irqchip below. On CPU_EXIT_IO/MMIO the caller fills a read's data and
 * calls again; then the instruction completes. */
enum cpu_exit cpu_exec(struct cpu *cpu);

/* Any thread, any time: makes cpu_exec() look at requests soon (sets RUN_BYTE_ATTENTION); with
 * exit, makes it return CPU_EXIT_INTR at an instruction boundary. Async-signal-safe. */
void cpu_kick(struct cpu *cpu, bool exit);

/* Writes an MSR or control register as the guest would, from the API (host_initiated: no permission
 * or reserved-bit faults that only guests get). 0, or -EINVAL where a guest gets #GP. */
int cpu_msr_read(struct cpu *cpu, uint32_t index, uint64_t *ret, bool host_initiated);
int cpu_msr_write(struct cpu *cpu, uint32_t index, uint64_t value, bool host_initiated);

/* After the API has replaced sregs/cpuid/xcr0: recompute cached state, flush the TLB. */
void cpu_state_changed(struct cpu *cpu);

/* CPUID as the guest sees it (leaf tables are set with KVM_SET_CPUID2). */
struct cpuid_entry {
    uint32_t function, index, flags, eax, ebx, ecx, edx;
};
enum { CPUID_MAX_ENTRIES = 100 };
void cpu_set_cpuid(struct cpu *cpu, const struct cpuid_entry *entries, unsigned n);
/* What the engine can do on this host: for KVM_GET_SUPPORTED_CPUID. Returns the count. */
unsigned cpuid_supported(struct cpuid_entry entries[CPUID_MAX_ENTRIES]);

/* Linear to physical through the guest's page tables without side effects (KVM_TRANSLATE, gdb):
 * false when nothing is mapped. */
bool cpu_translate_debug(struct cpu *cpu, uint64_t va, uint64_t *ret_gpa);

/* Guest physical memory changed behind the CPUs' back (slots, ROM/RAM writes by a device into
 * code): all vCPUs are stopped or the caller is one of them. */
void exec_flush_all(struct vm *vm);
void exec_invalidate_range(struct vm *vm, uint64_t gpa, uint64_t len);

/* ---- what the API gives to the CPU ---- */

/* Runs fn while every other vCPU of the VM is outside guest code. Called from a vCPU thread inside
 * cpu_exec() or from any other thread. */
void vm_exclusive(struct vm *vm, struct cpu *self, void (*fn)(void *arg), void *arg);
/* Bracket guest execution on a vCPU thread; enter waits while another thread is exclusive.
 * cpu_exec() calls them around its block loop, and safepoint whenever attention is set. */
void vm_guest_enter(struct vm *vm);
void vm_guest_leave(struct vm *vm);
/* Visits each CPU of the VM. */
void vm_each_cpu(struct vm *vm, void (*fn)(struct cpu *cpu, void *arg), void *arg);

/* In-kernel devices (lapic, ioapic, pic, pit, ioeventfd, coalesced MMIO): true when one of them
 * took the access; false: the CPU exits to the client. */
bool vm_mmio(struct cpu *cpu, uint64_t gpa, uint8_t *data, unsigned len, bool write);
bool vm_pio(struct cpu *cpu, uint16_t port, uint8_t *data, unsigned len, bool write);

/* Interrupts, asked at instruction boundaries while attention is set or IF was just enabled.
 * irq_ready: could an external interrupt be delivered now (PPR considered)? irq_take: the vector,
 * acknowledged; -1 when it went away. Without in-kernel irqchip: never ready (KVM_INTERRUPT fills
 * cpu->interrupt). */
bool irq_ready(struct cpu *cpu);
int irq_take(struct cpu *cpu);
/* Other events that the irqchip has for this CPU (NMI, INIT, SIPI, SMI) are applied here; returns
 * false when the CPU must not run (waiting for SIPI): cpu_exec() returns CPU_EXIT_HLT. */
bool irq_events(struct cpu *cpu);
/* CR8 and the x2APIC/APIC_BASE/TSC_DEADLINE MSRs live in the lapic. */
uint64_t lapic_get_tpr(struct cpu *cpu);
void lapic_set_tpr(struct cpu *cpu, uint64_t cr8);
int lapic_msr_read(struct cpu *cpu, uint32_t index, uint64_t *ret);
int lapic_msr_write(struct cpu *cpu, uint32_t index, uint64_t value);
int lapic_set_base(struct cpu *cpu, uint64_t value, bool host_initiated);
/* KVM's paravirtual MSRs (kvmclock, async pf, steal time, EOI, poll control) and hypercalls. */
int pv_msr_read(struct cpu *cpu, uint32_t index, uint64_t *ret);
int pv_msr_write(struct cpu *cpu, uint32_t index, uint64_t value);
uint64_t pv_hypercall(struct cpu *cpu, uint64_t nr, const uint64_t args[4]);
