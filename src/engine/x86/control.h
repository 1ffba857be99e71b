/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control.h - control registers, EFER and XCR0: checks, mode switches, TLB rules (SDM 3A, 2.5,
 * 4.10.4, 9.8).
 */
#pragma once

#include "engine/x86/cpu.h"

/* 0, or -EINVAL for #GP(0). */
int control_set_cr0(struct cpu *cpu, uint64_t v);
int control_set_cr3(struct cpu *cpu, uint64_t v);
int control_set_cr4(struct cpu *cpu, uint64_t v);
int control_set_efer(struct cpu *cpu, uint64_t v, bool host_initiated);
int control_set_xcr0(struct cpu *cpu, uint64_t v);

uint64_t cpu_tsc(const struct cpu *cpu);
