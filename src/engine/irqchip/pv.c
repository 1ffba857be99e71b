/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/irqchip/pv.h"

#include "base/bytes.h"
#include "engine/irqchip/irqchip.h"
#include "engine/irqchip/tsc.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <sys/resource.h>
#include <time.h>

enum {
    MSR_WALL_CLOCK = 0x11,
    MSR_SYSTEM_TIME = 0x12,
    MSR_WALL_CLOCK_NEW = 0x4b564d00,
    MSR_SYSTEM_TIME_NEW = 0x4b564d01,
    MSR_STEAL_TIME = 0x4b564d03,
    MSR_EOI_EN = 0x4b564d04,
    MSR_POLL_CONTROL = 0x4b564d05,
    TSC_STABLE = 1 << 0,
};
#define STEAL_RESERVED 0x3eull

uint32_t pv_features(void)
{
    return 1u << KVM_FEATURE_CLOCKSOURCE | 1u << KVM_FEATURE_NOP_IO_DELAY |
           1u << KVM_FEATURE_CLOCKSOURCE2 | 1u << KVM_FEATURE_STEAL_TIME |
           1u << KVM_FEATURE_PV_EOI | 1u << KVM_FEATURE_PV_UNHALT | 1u << KVM_FEATURE_PV_SEND_IPI |
           1u << KVM_FEATURE_POLL_CONTROL | 1u << KVM_FEATURE_PV_SCHED_YIELD |
           1u << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT;
}

/* ---- kvmclock ---- */

uint64_t pv_clock_nsec(struct vm *vm)
{
    return vm->clock_ns + tsc_to_nsec(tsc_read() - vm->clock_tsc);
}

void pv_clock_set(struct vm *vm, uint64_t nsec)
{
    vm->clock_tsc = tsc_read();
    vm->clock_ns = nsec;
}

int pv_get_clock(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_clock_data c = { .flags = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME |
                                         KVM_CLOCK_HOST_TSC };
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    c.host_tsc = tsc_read();
    c.clock = vm->clock_ns + tsc_to_nsec(c.host_tsc - vm->clock_tsc);
    c.realtime = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    memcpy(arg, &c, sizeof(c));
    return 0;
}

/* The guest's memory, for the few bytes that paravirtual structures have; NULL outside RAM. */
static uint8_t *guest(struct vcpu *v, uint64_t gpa, unsigned len)
{
    struct memslot *s = phys_slot(v->vm, gpa);

    if (s == NULL || s->readonly || gpa + len > s->gpa + s->size) {
        return NULL;
    }
    phys_mark_dirty(v->vm, s, gpa);
    return phys_host(s, gpa);
}

/* struct pvclock_vcpu_time_info: the version is odd while the rest changes. */
static void publish_clock(struct vcpu *v)
{
    uint8_t *p = (v->pv.system_time & 1) != 0 ? guest(v, v->pv.system_time & ~1ull, 32) : NULL;
    uint64_t khz = v->tsc_khz != 0 ? v->tsc_khz : tsc_khz();
    uint64_t scaled = 1000000000ull;
    uint64_t hz = khz * 1000;
    int8_t shift = 0;

    if (p == NULL) {
        return;
    }
    /* nsec = (ticks << shift) * mul >> 32 with mul below 2^32 (pvclock's rule). */
    while (hz > scaled * 2 || hz >> 32 != 0) {
        hz >>= 1;
        shift--;
    }
    while (hz <= scaled) {
        if ((hz & 1ull << 31) != 0) {
            scaled >>= 1;
        } else {
            hz <<= 1;
        }
        shift++;
    }
    v->pv.clock_version += 2;
    __atomic_store_n((uint32_t *)(void *)p, v->pv.clock_version - 1, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    le64_put(p + 8, v->vm->clock_tsc + v->cpu->tsc_offset);
    le64_put(p + 16, v->vm->clock_ns);
    le32_put(p + 24, (uint32_t)(((unsigned __int128)scaled << 32) / hz));
    p[28] = (uint8_t)shift;
    p[29] = TSC_STABLE;
    __atomic_store_n((uint32_t *)(void *)p, v->pv.clock_version, __ATOMIC_RELEASE);
}

static void publish_one(struct cpu *cpu, void *arg)
{
    (void)arg;
    publish_clock(cpu->vcpu);
}

static void publish_all(void *arg)
{
    vm_each_cpu(arg, publish_one, NULL);
}

int pv_set_clock(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_clock_data c;

    memcpy(&c, arg, sizeof(c));
    if ((c.flags & ~(uint32_t)(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)) !=
        0) {
        return -EINVAL;
    }
    if ((c.flags & KVM_CLOCK_REALTIME) != 0) {
        struct timespec now;
        uint64_t real;

        (void)clock_gettime(CLOCK_REALTIME, &now);
        real = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
        c.clock += real > c.realtime ? real - c.realtime : 0;
    }
    pv_clock_set(vm, c.clock);
    vm_exclusive(vm, NULL, publish_all, vm);
    return 0;
}

static void write_wall_clock(struct vcpu *v, uint64_t gpa)
{
    uint8_t *p = guest(v, gpa & ~3ull, 12);
    struct timespec now;
    uint64_t boot;

    if (p == NULL) {
        return;
    }
    (void)clock_gettime(CLOCK_REALTIME, &now);
    boot = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - pv_clock_nsec(v->vm);
    le32_put(p, le32_get(p) | 1);
    le32_put(p + 4, (uint32_t)(boot / 1000000000u));
    le32_put(p + 8, (uint32_t)(boot % 1000000000u));
    le32_put(p, le32_get(p) + 1);
}

/* ---- steal time ---- */

/* Nanoseconds that this thread was runnable but did not run. */
static uint64_t run_delay(void)
{
    struct timespec cpu;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    return (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
}

void pv_account_steal(struct vcpu *v)
{
    uint8_t *p;
    uint64_t wall;
    uint64_t ran;

    if ((v->pv.steal & 1) == 0) {
        return;
    }
    wall = monotonic_nsec();
    ran = run_delay();
    p = guest(v, v->pv.steal & ~0x3full, 64);
    if (p == NULL) {
        return;
    }
    /* Since the last look: wall time that was neither used by this thread nor slept in HLT. */
    if (v->pv.steal_seen != 0 && wall - ran > v->pv.steal_seen) {
        v->pv.steal_ns += wall - ran - v->pv.steal_seen;
    }
    v->pv.steal_seen = wall - ran;
    le32_put(p + 8, le32_get(p + 8) + 1);
    le64_put(p, v->pv.steal_ns);
    le32_put(p + 8, le32_get(p + 8) + 1);
}

/* ---- MSRs ---- */

int pv_msr_read(struct cpu *cpu, uint32_t index, uint64_t *ret)
{
    struct vcpu *v = cpu->vcpu;

    switch (index) {
    case MSR_WALL_CLOCK:
    case MSR_WALL_CLOCK_NEW:
        *ret = v->pv.wall_clock;
        return 0;
    case MSR_SYSTEM_TIME:
    case MSR_SYSTEM_TIME_NEW:
        *ret = v->pv.system_time;
        return 0;
    case MSR_STEAL_TIME:
        *ret = v->pv.steal;
        return 0;
    case MSR_EOI_EN:
        *ret = v->pv.eoi;
        return 0;
    case MSR_POLL_CONTROL:
        *ret = v->pv.poll_control;
        return 0;
    default:
        return -EINVAL;
    }
}

int pv_msr_write(struct cpu *cpu, uint32_t index, uint64_t value)
{
    struct vcpu *v = cpu->vcpu;

    switch (index) {
    case MSR_WALL_CLOCK:
    case MSR_WALL_CLOCK_NEW:
        v->pv.wall_clock = value;
        write_wall_clock(v, value);
        return 0;
    case MSR_SYSTEM_TIME:
    case MSR_SYSTEM_TIME_NEW:
        v->pv.system_time = value;
        publish_clock(v);
        return 0;
    case MSR_STEAL_TIME:
        if ((value & STEAL_RESERVED) != 0) {
            return -EINVAL;
        }
        v->pv.steal = value;
        v->pv.steal_seen = 0;
        pv_account_steal(v);
        return 0;
    case MSR_EOI_EN:
        v->pv.eoi = value;
        return 0;
    case MSR_POLL_CONTROL:
        if ((value & ~1ull) != 0) {
            return -EINVAL;
        }
        v->pv.poll_control = value;
        return 0;
    default:
        return -EINVAL;
    }
}

void pv_reset(struct vcpu *v)
{
    memset(&v->pv, 0, sizeof(v->pv));
    v->pv.poll_control = 1;
}

/* ---- hypercalls ---- */

/* Wakes a vCPU whose guest halted in a paravirtual spin lock. */
static void kick_apic(struct vm *vm, uint32_t apic_id)
{
    struct vcpu *v = vm_vcpu(vm, apic_id);

    if (v != NULL) {
        atomic_store(&v->pv.unhalted, true);
        vcpu_wake(v);
    }
}

static uint64_t send_ipi(struct vm *vm, const uint64_t args[4], bool long_mode)
{
    uint32_t icr = (uint32_t)args[3];
    unsigned words = long_mode ? 64 : 32;
    uint64_t count = 0;

    /* Only fixed and NMI messages (hypercalls.rst). */
    if ((icr >> 8 & 7) != APIC_DM_FIXED && (icr >> 8 & 7) != APIC_DM_NMI) {
        return (uint64_t)-KVM_EINVAL;
    }
    for (unsigned i = 0; i < 2 * words; i++) {
        struct irq_message m = { .dest = (uint32_t)args[2] + i,
                                 .dest_x2apic = true,
                                 .mode = icr >> 8 & 7,
                                 .vector = (uint8_t)icr };

        if ((args[i / words] >> (i % words) & 1) != 0 && lapic_deliver(vm, &m, NULL) > 0) {
            count++;
        }
    }
    return count;
}

uint64_t pv_hypercall(struct cpu *cpu, uint64_t nr, const uint64_t args[4])
{
    struct vm *vm = cpu->vm;
    bool long_mode = (cpu->mode & MODE_CODE_MASK) == MODE_CODE_64;

    if (cpu->cpl != 0) {
        return (uint64_t)-KVM_EPERM;
    }
    switch (nr) {
    case KVM_HC_VAPIC_POLL_IRQ:
        return 0;
    case KVM_HC_KICK_CPU:
        kick_apic(vm, (uint32_t)args[1]);
        return 0;
    case KVM_HC_SEND_IPI:
        return vm->irqchip != NULL ? send_ipi(vm, args, long_mode) : (uint64_t)-KVM_ENOSYS;
    case KVM_HC_SCHED_YIELD:
        kick_apic(vm, (uint32_t)args[0]);
        return 0;
    default:
        return (uint64_t)-KVM_ENOSYS;
    }
}
