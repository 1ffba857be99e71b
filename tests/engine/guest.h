/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest.h - small guests for tests: memory, one vCPU, and a mode to start in.
 */
#pragma once

#include "unit.h"

#include <linux/kvm.h>

#include <stdbool.h>
#include <stdint.h>

enum guest_mode { GUEST_REAL, GUEST_32, GUEST_64 };

enum {
    GUEST_RAM = 0x400000,
    GUEST_GDT = 0x1000, /* 0x08 code, 0x10 data, 0x1b user data, 0x23 user code; 0x28 on: free */
    GUEST_IDT = 0x2000, /* every vector halts with its number pushed */
    GUEST_STUBS = 0x3000,
    GUEST_TSS = 0x5000,
    GUEST_CODE = 0x8000,
    GUEST_STACK = 0x20000, /* grows down */
    GUEST_DATA = 0x30000,
    GUEST_PML4 = 0x100000, /* identity, 4 KiB pages for the first 2 MiB, then 2 MiB pages */
    GUEST_PT = 0x103000,
    GUEST_MMIO = 0x10000000,
};

struct guest {
    int sys, vm, vcpu;
    uint8_t *ram;
    struct kvm_run *run;
    size_t run_bytes;
    enum guest_mode mode;
};

/* interpreter: without the translator. */
void guest_init(struct guest *g, enum guest_mode mode, bool interpreter);
void guest_done(struct guest *g);
void guest_code(struct guest *g, uint32_t at, const void *start, const void *end);

/* Runs to the next exit and returns its reason. */
uint32_t guest_run(struct guest *g);

void guest_get_regs(struct guest *g, struct kvm_regs *regs);
void guest_set_regs(struct guest *g, const struct kvm_regs *regs);
void guest_get_sregs(struct guest *g, struct kvm_sregs *sregs);
void guest_set_sregs(struct guest *g, const struct kvm_sregs *sregs);

/* After a halt in a vector's stub: which one, and what the processor pushed. */
struct guest_trap {
    unsigned vector;
    uint64_t error, rip, rflags, cr2;
};
struct guest_trap guest_trap(struct guest *g);
