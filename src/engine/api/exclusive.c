/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * exclusive.c - sections during which no vCPU of the VM is in guest code.
 *
 * A vCPU counts itself in guests_running while it may execute; an exclusive caller announces
 * itself in exclusive_wanted, kicks everybody and waits for the count to reach zero. Both sides use
 * sequentially consistent atomics: either the vCPU sees the announcement and steps back, or the
 * caller sees its count and waits.
 */
#include "engine/api/vcpu.h"

static void wake_waiters(struct vm *vm)
{
    (void)pthread_mutex_lock(&vm->exclusive_wait_lock);
    (void)pthread_cond_broadcast(&vm->exclusive_cond);
    (void)pthread_mutex_unlock(&vm->exclusive_wait_lock);
}

void vm_guest_enter(struct vm *vm)
{
    for (;;) {
        (void)atomic_fetch_add(&vm->guests_running, 1);
        if (atomic_load(&vm->exclusive_wanted) == 0) {
            return;
        }
        vm_guest_leave(vm);
        (void)pthread_mutex_lock(&vm->exclusive_wait_lock);
        while (atomic_load(&vm->exclusive_wanted) != 0) {
            (void)pthread_cond_wait(&vm->exclusive_cond, &vm->exclusive_wait_lock);
        }
        (void)pthread_mutex_unlock(&vm->exclusive_wait_lock);
    }
}

void vm_guest_leave(struct vm *vm)
{
    if (atomic_fetch_sub(&vm->guests_running, 1) == 1 && atomic_load(&vm->exclusive_wanted) != 0) {
        wake_waiters(vm);
    }
}

static void kick(struct cpu *cpu, void *self)
{
    if (cpu != self) {
        cpu_kick(cpu, false);
    }
}

void vm_exclusive(struct vm *vm, struct cpu *self, void (*fn)(void *arg), void *arg)
{
    if (self != NULL) {
        vm_guest_leave(vm);
    }
    (void)atomic_fetch_add(&vm->exclusive_wanted, 1);
    (void)pthread_mutex_lock(&vm->exclusive_lock);
    if (atomic_load(&vm->guests_running) != 0) {
        vm_each_cpu(vm, kick, self);
        (void)pthread_mutex_lock(&vm->exclusive_wait_lock);
        while (atomic_load(&vm->guests_running) != 0) {
            (void)pthread_cond_wait(&vm->exclusive_cond, &vm->exclusive_wait_lock);
        }
        (void)pthread_mutex_unlock(&vm->exclusive_wait_lock);
    }
    fn(arg);
    (void)pthread_mutex_unlock(&vm->exclusive_lock);
    if (atomic_fetch_sub(&vm->exclusive_wanted, 1) == 1) {
        wake_waiters(vm);
    }
    if (self != NULL) {
        vm_guest_enter(vm);
    }
}

void vm_each_cpu(struct vm *vm, void (*fn)(struct cpu *cpu, void *arg), void *arg)
{
    for (unsigned i = 0; i <= vm->max_id; i++) {
        struct vcpu *v = vm_vcpu(vm, i);

        if (v != NULL) {
            fn(v->cpu, arg);
        }
    }
}
