/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pv.h - KVM's paravirtual interface to guests (KVM cpuid.rst, msr.rst, hypercalls.rst): the CPUID
 * leaves at 0x40000000, kvmclock, steal time, end-of-interrupt, poll control, hypercalls.
 */
#pragma once

#include "engine/api/vcpu.h"

enum { PV_CPUID_SIGNATURE = 0x40000000, PV_CPUID_FEATURES = 0x40000001 };

/* EAX of PV_CPUID_FEATURES. */
uint32_t pv_features(void);

/* Guest nanoseconds (kvmclock) now. */
uint64_t pv_clock_nsec(struct vm *vm);
void pv_clock_set(struct vm *vm, uint64_t nsec);
int pv_get_clock(void *vm, void *arg);
int pv_set_clock(void *vm, void *arg);

/* Before guest execution begins or resumes after a sleep: steal time, on the vCPU's thread. */
void pv_account_steal(struct vcpu *vcpu);

/* All paravirtual MSRs off (reset). */
void pv_reset(struct vcpu *vcpu);
