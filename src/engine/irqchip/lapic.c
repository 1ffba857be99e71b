/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lapic.c - the local APIC (SDM 3A, chapter 10), xAPIC and x2APIC.
 *
 * regs is the register page. IRR (and TMR) are changed by other threads too, so they live in atomic
 * words of their own and are copied into the page when it is read. INIT, SIPI and NMI arrive as
 * bits of events.
 */
#include "base/bytes.h"
#include "engine/irqchip/irqchip.h"
#include "engine/irqchip/tsc.h"

#include <errno.h>
#include <stdlib.h>

enum {
    REG_ID = 0x20,
    REG_VERSION = 0x30,
    REG_TPR = 0x80,
    REG_APR = 0x90,
    REG_PPR = 0xa0,
    REG_EOI = 0xb0,
    REG_LDR = 0xd0,
    REG_DFR = 0xe0,
    REG_SVR = 0xf0,
    REG_ISR = 0x100,
    REG_TMR = 0x180,
    REG_IRR = 0x200,
    REG_ESR = 0x280,
    REG_LVT_CMCI = 0x2f0,
    REG_ICR = 0x300,
    REG_ICR2 = 0x310,
    REG_LVT_TIMER = 0x320,
    REG_LVT_THERMAL = 0x330,
    REG_LVT_PERF = 0x340,
    REG_LVT_LINT0 = 0x350,
    REG_LVT_LINT1 = 0x360,
    REG_LVT_ERROR = 0x370,
    REG_TIMER_INIT = 0x380,
    REG_TIMER_COUNT = 0x390,
    REG_TIMER_DIV = 0x3e0,
    REG_SELF_IPI = 0x3f0,
};
enum {
    SVR_ENABLED = 1 << 8,
    SVR_DIRECTED_EOI = 1 << 12,
    LVT_MASKED = 1 << 16,
    LVT_TIMER_MODE_SHIFT = 17,
    TIMER_ONESHOT = 0,
    TIMER_PERIODIC = 1,
    TIMER_DEADLINE = 2,
    ICR_BUSY = 1 << 12,
    BASE_BSP = 1 << 8,
    BASE_X2APIC = 1 << 10,
    BASE_ENABLED = 1 << 11,
    APIC_VERSION = 0x14 | 5 << 16, /* six LVT entries */
    EVENT_INIT = 1 << 0,
    EVENT_SIPI = 1 << 1,
    EVENT_NMI = 1 << 2,
    BUS_NSEC = 1, /* the timer's clock is 1 GHz, as KVM's */
    NMI_MOST = 2,
    PERIOD_LEAST_NSEC = 200000, /* what KVM's min_timer_period_us allows */
};
#define BASE_ADDR 0xfee00000ull

struct lapic {
    struct vcpu *vcpu; /* borrowed */
    uint8_t regs[APIC_REG_BYTES];
    atomic_uint irr[8], tmr[8];
    atomic_uint events;
    atomic_uint nmis; /* arrived, not yet looked at by the vCPU */
    bool nmi_second;  /* waits behind cpu->nmi_pending */
    atomic_uint sipi_vector;
    struct io_timer *timer;             /* owned */
    uint64_t timer_start, timer_period; /* nanoseconds; CLOCK_MONOTONIC */
    atomic_uint arbitration;            /* lowest-priority deliveries so far */
};

static uint32_t reg(const struct lapic *a, unsigned off)
{
    return le32_get(a->regs + off);
}

static void set_reg(struct lapic *a, unsigned off, uint32_t v)
{
    le32_put(a->regs + off, v);
}

static bool is_x2apic(const struct lapic *a)
{
    return (a->vcpu->cpu->apic_base & (BASE_X2APIC | BASE_ENABLED)) == (BASE_X2APIC | BASE_ENABLED);
}

static bool hw_enabled(const struct lapic *a)
{
    return (a->vcpu->cpu->apic_base & BASE_ENABLED) != 0;
}

static bool sw_enabled(const struct lapic *a)
{
    return (reg(a, REG_SVR) & SVR_ENABLED) != 0;
}

bool lapic_is_bsp(const struct lapic *a)
{
    return (a->vcpu->cpu->apic_base & BASE_BSP) != 0;
}

static uint32_t apic_id(const struct lapic *a)
{
    return is_x2apic(a) ? reg(a, REG_ID) : reg(a, REG_ID) >> 24;
}

/* ---- vectors ---- */

static int highest(const uint32_t words[8])
{
    for (int i = 7; i >= 0; i--) {
        if (words[i] != 0) {
            return i * 32 + 31 - __builtin_clz(words[i]);
        }
    }
    return -1;
}

static int highest_irr(const struct lapic *a)
{
    for (int i = 7; i >= 0; i--) {
        uint32_t w = atomic_load_explicit(&a->irr[i], memory_order_acquire);

        if (w != 0) {
            return i * 32 + 31 - __builtin_clz(w);
        }
    }
    return -1;
}

static int highest_isr(const struct lapic *a)
{
    uint32_t words[8];

    for (unsigned i = 0; i < 8; i++) {
        words[i] = reg(a, REG_ISR + i * 16);
    }
    return highest(words);
}

static uint8_t ppr(const struct lapic *a)
{
    uint8_t tpr = (uint8_t)reg(a, REG_TPR);
    int isr = highest_isr(a);
    uint8_t isrv = isr < 0 ? 0 : (uint8_t)isr;

    return (tpr & 0xf0) >= (isrv & 0xf0) ? tpr : isrv & 0xf0;
}

static bool set_irr(struct lapic *a, unsigned vector, bool level)
{
    uint32_t bit = 1u << (vector & 31);

    if (level) {
        (void)atomic_fetch_or(&a->tmr[vector / 32], bit);
    } else {
        (void)atomic_fetch_and(&a->tmr[vector / 32], ~bit);
    }
    return (atomic_fetch_or(&a->irr[vector / 32], bit) & bit) == 0;
}

/* One message at one APIC: >0 accepted, 0 coalesced, <0 refused. */
static int accept(struct lapic *a, uint8_t mode, uint8_t vector, bool level)
{
    int r = 1;

    switch (mode) {
    case APIC_DM_FIXED:
    case APIC_DM_LOWEST:
        if (!sw_enabled(a) || !hw_enabled(a)) {
            return -1;
        }
        if (vector < 16) {
            return -1;
        }
        r = set_irr(a, vector, level) ? 1 : 0;
        break;
    case APIC_DM_NMI:
        if (atomic_load(&a->nmis) < NMI_MOST) {
            (void)atomic_fetch_add(&a->nmis, 1);
        }
        (void)atomic_fetch_or(&a->events, EVENT_NMI);
        break;
    case APIC_DM_INIT:
        /* A SIPI that came before this INIT is void. */
        (void)atomic_fetch_and(&a->events, ~(unsigned)EVENT_SIPI);
        (void)atomic_fetch_or(&a->events, EVENT_INIT);
        break;
    case APIC_DM_SIPI:
        atomic_store(&a->sipi_vector, vector);
        (void)atomic_fetch_or(&a->events, EVENT_SIPI);
        break;
    default: /* SMI: no SMM; ExtINT: the PIC's output is looked at directly */
        return mode == APIC_DM_EXTINT ? 1 : -1;
    }
    vcpu_wake(a->vcpu);
    return r;
}

void lapic_inject_nmi(struct lapic *a)
{
    (void)accept(a, APIC_DM_NMI, 0, false);
}

/* ---- destinations (SDM 3A, 10.6.2) ---- */

static bool match_logical(const struct lapic *a, uint32_t dest)
{
    uint32_t ldr = reg(a, REG_LDR);

    if (is_x2apic(a)) {
        return (ldr >> 16) == (dest >> 16) && (ldr & dest & 0xffff) != 0;
    }
    ldr >>= 24;
    if (reg(a, REG_DFR) >> 28 == 0xf) {
        return (ldr & dest) != 0;
    }
    return (ldr >> 4) == (dest >> 4 & 0xf) && (ldr & dest & 0xf) != 0;
}

static bool matches(const struct lapic *a, const struct irq_message *m)
{
    bool broadcast = m->dest == (m->dest_x2apic ? UINT32_MAX : 0xff);

    if (!hw_enabled(a)) {
        /* A disabled APIC still hears INIT and SIPI by its initial ID. */
        return !m->logical && (broadcast || m->dest == a->vcpu->id);
    }
    if (m->logical) {
        return broadcast || match_logical(a, m->dest);
    }
    return broadcast || apic_id(a) == m->dest;
}

static int deliver_lowest(struct vm *vm, const struct irq_message *m)
{
    struct lapic *best = NULL;

    for (unsigned i = 0; i <= vm->max_id; i++) {
        struct vcpu *v = vm_vcpu(vm, i);
        struct lapic *a = v != NULL ? v->lapic : NULL;

        if (a == NULL || !sw_enabled(a) || !matches(a, m)) {
            continue;
        }
        if (best == NULL || atomic_load(&a->arbitration) < atomic_load(&best->arbitration)) {
            best = a;
        }
    }
    if (best == NULL) {
        return -1;
    }
    (void)atomic_fetch_add(&best->arbitration, 1);
    return accept(best, APIC_DM_LOWEST, m->vector, m->level_trigger);
}

int lapic_deliver(struct vm *vm, const struct irq_message *m, struct lapic *except)
{
    int r = -1;

    if (m->mode == APIC_DM_LOWEST) {
        return deliver_lowest(vm, m);
    }
    /* The common case without a scan: one APIC by its ID, if no guest has given one another's. */
    if (!m->logical && m->dest < VM_MAX_VCPUS && m->dest != 0xff && !vm->apic_ids_changed) {
        struct vcpu *v = vm_vcpu(vm, m->dest);

        if (v != NULL && v->lapic != NULL && v->lapic != except && matches(v->lapic, m)) {
            return accept(v->lapic, m->mode, m->vector, m->level_trigger);
        }
    }
    for (unsigned i = 0; i <= vm->max_id; i++) {
        struct vcpu *v = vm_vcpu(vm, i);

        if (v != NULL && v->lapic != NULL && v->lapic != except && matches(v->lapic, m)) {
            int one = accept(v->lapic, m->mode, m->vector, m->level_trigger);

            r = one > r ? one : r;
        }
    }
    return r;
}

int lapic_deliver_msi(struct vm *vm, uint64_t addr, uint32_t data)
{
    bool wide = (vm->x2apic_flags & KVM_X2APIC_API_USE_32BIT_IDS) != 0;
    struct irq_message m = {
        .dest = (uint32_t)(addr >> 12 & 0xff) | (wide ? (uint32_t)(addr >> 32) & 0xffffff00u : 0),
        .logical = (addr & 4) != 0,
        .mode = (data >> 8) & 7,
        .vector = (uint8_t)data,
        .level_trigger = (data >> 15 & 1) != 0,
    };

    return lapic_deliver(vm, &m, NULL);
}

static void send_ipi(struct lapic *a, uint32_t low, uint32_t dest)
{
    unsigned shorthand = low >> 18 & 3;
    struct irq_message m = { .dest = dest,
                             .logical = (low & 1 << 11) != 0,
                             .dest_x2apic = is_x2apic(a),
                             .mode = (low >> 8) & 7,
                             .vector = (uint8_t)low,
                             .level_trigger = false };

    /* INIT level de-assert does nothing since the Pentium 4 (SDM 3A, 10.6.1). */
    if (m.mode == APIC_DM_INIT && (low & (1 << 15)) != 0 && (low & (1 << 14)) == 0) {
        return;
    }
    if (shorthand == 1) {
        (void)accept(a, m.mode, m.vector, false);
        return;
    }
    if (shorthand >= 2) {
        m.logical = false;
        m.dest = m.dest_x2apic ? UINT32_MAX : 0xff;
    }
    (void)lapic_deliver(a->vcpu->vm, &m, shorthand == 3 ? a : NULL);
}

/* ---- timer (SDM 3A, 10.5.4) ---- */

static unsigned timer_mode(const struct lapic *a)
{
    return reg(a, REG_LVT_TIMER) >> LVT_TIMER_MODE_SHIFT & 3;
}

static void timer_expired(void *arg, uint64_t count)
{
    struct lapic *a = arg;
    uint32_t lvt = reg(a, REG_LVT_TIMER);

    (void)count;
    if (timer_mode(a) == TIMER_DEADLINE) {
        __atomic_store_n(&a->vcpu->cpu->tsc_deadline, 0, __ATOMIC_RELEASE);
    }
    if ((lvt & LVT_MASKED) == 0) {
        (void)accept(a, APIC_DM_FIXED, (uint8_t)lvt, false);
    }
}

static unsigned divisor(const struct lapic *a)
{
    uint32_t d = reg(a, REG_TIMER_DIV);
    unsigned code = (d & 3) | (d >> 1 & 4);

    return 1u << ((code + 1) & 7);
}

static void start_count(struct lapic *a)
{
    uint64_t period = (uint64_t)reg(a, REG_TIMER_INIT) * divisor(a) * BUS_NSEC;
    bool periodic = timer_mode(a) == TIMER_PERIODIC;

    if (timer_mode(a) == TIMER_DEADLINE) {
        return;
    }
    if (periodic && period != 0 && period < PERIOD_LEAST_NSEC) {
        period = PERIOD_LEAST_NSEC;
    }
    a->timer_start = monotonic_nsec();
    a->timer_period = period;
    io_timer_arm(a->timer, period != 0 ? a->timer_start + period : 0, periodic ? period : 0);
}

static uint32_t current_count(const struct lapic *a)
{
    uint64_t passed = monotonic_nsec() - a->timer_start;

    if (a->timer_period == 0 || timer_mode(a) == TIMER_DEADLINE) {
        return 0;
    }
    if (timer_mode(a) == TIMER_PERIODIC) {
        passed %= a->timer_period;
    } else if (passed >= a->timer_period) {
        return 0;
    }
    return (uint32_t)((a->timer_period - passed) / BUS_NSEC / divisor(a));
}

static void set_deadline(struct lapic *a, uint64_t deadline)
{
    struct cpu *cpu = a->vcpu->cpu;
    uint64_t now = tsc_read() + cpu->tsc_offset;

    if (timer_mode(a) != TIMER_DEADLINE) {
        return;
    }
    __atomic_store_n(&cpu->tsc_deadline, deadline, __ATOMIC_RELEASE);
    if (deadline == 0) {
        io_timer_arm(a->timer, 0, 0);
    } else if (deadline <= now) {
        io_timer_arm(a->timer, 0, 0);
        timer_expired(a, 1);
    } else {
        io_timer_arm(a->timer, monotonic_nsec() + tsc_to_nsec(deadline - now), 0);
    }
}

/* ---- registers ---- */

static void export_vectors(struct lapic *a)
{
    for (unsigned i = 0; i < 8; i++) {
        set_reg(a, REG_IRR + i * 16, atomic_load(&a->irr[i]));
        set_reg(a, REG_TMR + i * 16, atomic_load(&a->tmr[i]));
    }
    set_reg(a, REG_PPR, ppr(a));
}

static void eoi(struct lapic *a)
{
    int vector = highest_isr(a);
    unsigned off;

    if (vector < 0) {
        return;
    }
    off = REG_ISR + (unsigned)vector / 32 * 16;
    set_reg(a, off, reg(a, off) & ~(1u << (vector & 31)));
    if ((atomic_load(&a->tmr[vector / 32]) & 1u << (vector & 31)) != 0 &&
        (reg(a, REG_SVR) & SVR_DIRECTED_EOI) == 0) {
        struct vm *vm = a->vcpu->vm;

        if (vm->irqchip->split) {
            /* The client's IOAPIC hears of it by an exit. */
            a->vcpu->run->eoi.vector = (uint8_t)vector;
            a->vcpu->eoi_exit = true;
            cpu_kick(a->vcpu->cpu, true);
        } else {
            ioapic_eoi(vm, (uint8_t)vector);
        }
    }
    /* A lower vector may be deliverable now. */
    cpu_kick(a->vcpu->cpu, false);
}

/* One-shot to periodic or back: what is left of the count runs on; an expired one stays at zero. */
static void change_period(struct lapic *a, unsigned old_mode)
{
    uint64_t now = monotonic_nsec();
    uint64_t passed = now - a->timer_start;
    uint64_t left;

    if (a->timer_period == 0 || (old_mode != TIMER_PERIODIC && passed >= a->timer_period)) {
        a->timer_period = 0;
        return;
    }
    left = a->timer_period - passed % a->timer_period;
    a->timer_start = now + left - a->timer_period;
    io_timer_arm(a->timer, now + left, timer_mode(a) == TIMER_PERIODIC ? a->timer_period : 0);
}

static void write_lvt(struct lapic *a, unsigned off, uint32_t v)
{
    static const struct {
        unsigned off;
        uint32_t mask;
    } lvts[] = {
        { REG_LVT_TIMER, 0x710ff }, { REG_LVT_THERMAL, 0x117ff }, { REG_LVT_PERF, 0x117ff },
        { REG_LVT_LINT0, 0x1f7ff }, { REG_LVT_LINT1, 0x1f7ff },   { REG_LVT_ERROR, 0x110ff },
    };

    for (size_t i = 0; i < sizeof(lvts) / sizeof(lvts[0]); i++) {
        if (lvts[i].off == off) {
            v &= lvts[i].mask;
        }
    }
    if (!sw_enabled(a)) {
        v |= LVT_MASKED;
    }
    if (off == REG_LVT_TIMER) {
        unsigned old = timer_mode(a);

        set_reg(a, off, v);
        /* One-shot and periodic share the counter; only the deadline mode is apart (SDM
         * 3A, 10.5.4.1). */
        if ((old == TIMER_DEADLINE) != (timer_mode(a) == TIMER_DEADLINE)) {
            io_timer_arm(a->timer, 0, 0);
            a->timer_period = 0;
            a->vcpu->cpu->tsc_deadline = 0;
            set_reg(a, REG_TIMER_INIT, 0);
        } else if (old != timer_mode(a)) {
            change_period(a, old);
        }
        return;
    }
    set_reg(a, off, v);
}

static void write_svr(struct lapic *a, uint32_t v)
{
    set_reg(a, REG_SVR, v & 0x3ff);
    if ((v & SVR_ENABLED) == 0) {
        for (unsigned off = REG_LVT_TIMER; off <= REG_LVT_ERROR; off += 16) {
            set_reg(a, off, reg(a, off) | LVT_MASKED);
        }
    }
    cpu_kick(a->vcpu->cpu, false);
}

/* 0, or -EINVAL for a register that cannot be written (x2APIC: #GP). */
static int write_reg(struct lapic *a, unsigned off, uint32_t v)
{
    bool x2 = is_x2apic(a);

    switch (off) {
    case REG_ID:
        if (x2) {
            return -EINVAL;
        }
        set_reg(a, REG_ID, v & 0xff000000u);
        if (v >> 24 != a->vcpu->id) {
            a->vcpu->vm->apic_ids_changed = true;
        }
        return 0;
    case REG_TPR:
        set_reg(a, REG_TPR, v & 0xff);
        cpu_kick(a->vcpu->cpu, false);
        return 0;
    case REG_EOI:
        eoi(a);
        return 0;
    case REG_LDR:
        if (x2) {
            return -EINVAL;
        }
        set_reg(a, REG_LDR, v & 0xff000000u);
        return 0;
    case REG_DFR:
        if (x2) {
            return -EINVAL;
        }
        set_reg(a, REG_DFR, v | 0x0fffffffu);
        return 0;
    case REG_SVR:
        write_svr(a, v);
        return 0;
    case REG_ESR:
        set_reg(a, REG_ESR, 0);
        return 0;
    case REG_ICR:
        v &= ~(uint32_t)ICR_BUSY;
        set_reg(a, REG_ICR, v);
        send_ipi(a, v, x2 ? reg(a, REG_ICR2) : reg(a, REG_ICR2) >> 24);
        return 0;
    case REG_ICR2:
        set_reg(a, REG_ICR2, x2 ? v : v & 0xff000000u);
        return 0;
    case REG_LVT_TIMER:
    case REG_LVT_THERMAL:
    case REG_LVT_PERF:
    case REG_LVT_LINT0:
    case REG_LVT_LINT1:
    case REG_LVT_ERROR:
        write_lvt(a, off, v);
        return 0;
    case REG_TIMER_INIT:
        if (timer_mode(a) != TIMER_DEADLINE) {
            set_reg(a, REG_TIMER_INIT, v);
            start_count(a);
        }
        return 0;
    case REG_TIMER_DIV:
        set_reg(a, REG_TIMER_DIV, v & 0xb);
        if (a->timer_period != 0) {
            start_count(a);
        }
        return 0;
    case REG_SELF_IPI:
        if (!x2) {
            return -EINVAL;
        }
        if (v > 0xff) {
            return -EINVAL;
        }
        (void)accept(a, APIC_DM_FIXED, (uint8_t)v, false);
        return 0;
    default:
        return -EINVAL;
    }
}

static int read_reg(struct lapic *a, unsigned off, uint32_t *ret)
{
    switch (off) {
    case REG_TIMER_COUNT:
        *ret = current_count(a);
        return 0;
    case REG_ICR2:
        *ret = reg(a, off);
        return is_x2apic(a) ? -EINVAL : 0;
    case REG_APR:
    case REG_EOI:
    case REG_SELF_IPI:
    case REG_LVT_CMCI:
        *ret = 0;
        return is_x2apic(a) ? -EINVAL : 0;
    default:
        if (off >= REG_ISR && off < REG_ESR) {
            export_vectors(a);
        } else if (off == REG_PPR) {
            set_reg(a, REG_PPR, ppr(a));
        }
        *ret = reg(a, off);
        return 0;
    }
}

bool lapic_mmio(struct cpu *cpu, uint64_t gpa, uint8_t *data, unsigned len, bool write)
{
    struct lapic *a = cpu->lapic;
    uint64_t base = cpu->apic_base & ~0xfffull;
    unsigned off = (unsigned)(gpa & 0xfff);
    uint32_t v = 0;

    if (a == NULL || gpa < base || gpa >= base + 4096) {
        return false;
    }
    /* Nothing answers there while the APIC is off or in x2APIC mode, as in KVM by default. */
    if (!hw_enabled(a) || is_x2apic(a)) {
        if (!write) {
            memset(data, 0xff, len);
        }
        return true;
    }
    /* Registers are 32 bits at multiples of 16; other accesses are undefined (SDM 3A, 10.4.1). */
    if (write) {
        if (len == 4 && (off & 15) == 0 && off < APIC_REG_BYTES) {
            (void)write_reg(a, off, le32_get(data));
        }
        return true;
    }
    if (off < APIC_REG_BYTES) {
        (void)read_reg(a, off & ~15u, &v);
    }
    memset(data, 0, len);
    for (unsigned i = 0; i < len && (off & 15) + i < 4; i++) {
        data[i] = (uint8_t)(v >> (((off & 15) + i) * 8));
    }
    return true;
}

/* ---- MSRs ---- */

enum {
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_X2APIC_FIRST = 0x800,
    MSR_X2APIC_LAST = 0x8ff,
    MSR_X2APIC_ICR = 0x830
};

/* Table 10-6 of SDM 3A. */
static bool x2apic_readable(unsigned off)
{
    static const uint16_t single[] = {
        REG_ID,        REG_VERSION,    REG_TPR,         REG_PPR,      REG_LDR,       REG_SVR,
        REG_ESR,       REG_LVT_TIMER,  REG_LVT_THERMAL, REG_LVT_PERF, REG_LVT_LINT0, REG_LVT_LINT1,
        REG_LVT_ERROR, REG_TIMER_INIT, REG_TIMER_COUNT, REG_TIMER_DIV
    };

    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
        if (single[i] == off) {
            return true;
        }
    }
    return off >= REG_ISR && off < REG_ESR;
}

int lapic_msr_read(struct cpu *cpu, uint32_t index, uint64_t *ret)
{
    struct lapic *a = cpu->lapic;
    uint32_t v = 0;
    int r;

    if (index == MSR_TSC_DEADLINE) {
        *ret = a != NULL && timer_mode(a) == TIMER_DEADLINE
                   ? __atomic_load_n(&cpu->tsc_deadline, __ATOMIC_ACQUIRE)
                   : 0;
        return 0;
    }
    if (a == NULL || !is_x2apic(a) || index < MSR_X2APIC_FIRST || index > MSR_X2APIC_LAST) {
        return -EINVAL;
    }
    if (index == MSR_X2APIC_ICR) {
        *ret = (uint64_t)reg(a, REG_ICR2) << 32 | reg(a, REG_ICR);
        return 0;
    }
    if (!x2apic_readable((index - MSR_X2APIC_FIRST) * 16)) {
        return -EINVAL;
    }
    r = read_reg(a, (index - MSR_X2APIC_FIRST) * 16, &v);
    *ret = v;
    return r;
}

int lapic_msr_write(struct cpu *cpu, uint32_t index, uint64_t value)
{
    struct lapic *a = cpu->lapic;
    unsigned off = (index - MSR_X2APIC_FIRST) * 16;

    if (index == MSR_TSC_DEADLINE) {
        if (a != NULL) {
            set_deadline(a, value);
        }
        return 0;
    }
    if (a == NULL || !is_x2apic(a) || index < MSR_X2APIC_FIRST || index > MSR_X2APIC_LAST) {
        return -EINVAL;
    }
    if (index == MSR_X2APIC_ICR) {
        set_reg(a, REG_ICR2, (uint32_t)(value >> 32));
        return write_reg(a, REG_ICR, (uint32_t)value);
    }
    if (off >= APIC_REG_BYTES || value >> 32 != 0 || off == REG_ICR2 ||
        ((off == REG_EOI || off == REG_ESR) && value != 0)) {
        return -EINVAL;
    }
    return write_reg(a, off, (uint32_t)value);
}

static const struct kvm_cpuid_entry2 *cpuid_leaf(const struct vcpu *v, uint32_t function)
{
    for (unsigned i = 0; i < v->n_cpuid; i++) {
        if (v->cpuid[i].function == function) {
            return &v->cpuid[i];
        }
    }
    return NULL;
}

/* Does the guest's CPUID show x2APIC (leaf 1, ECX bit 21)? */
static bool has_x2apic(const struct vcpu *v)
{
    const struct kvm_cpuid_entry2 *e = cpuid_leaf(v, 1);

    return e != NULL && (e->ecx >> 21 & 1) != 0;
}

/* MAXPHYADDR as the guest's CPUID has it. */
static unsigned phys_bits(const struct vcpu *v)
{
    const struct kvm_cpuid_entry2 *e = cpuid_leaf(v, 0x80000008u);
    unsigned bits = e != NULL ? e->eax & 0xff : 36;

    return bits >= 32 && bits <= 52 ? bits : 52;
}

/* The transitions that a guest may not make (SDM 3A, 10.12.5). */
static bool bad_transition(uint64_t old, uint64_t value)
{
    if ((old & BASE_X2APIC) != 0) {
        return (value & (BASE_ENABLED | BASE_X2APIC)) == BASE_ENABLED;
    }
    return (old & BASE_ENABLED) == 0 && (value & BASE_X2APIC) != 0;
}

int lapic_set_base(struct cpu *cpu, uint64_t value, bool host_initiated)
{
    uint64_t old = cpu->apic_base;
    uint64_t changed = old ^ value;
    struct lapic *a = cpu->lapic;

    if ((value & ~((1ull << phys_bits(cpu->vcpu)) - 4096) &
         ~(uint64_t)(BASE_BSP | BASE_X2APIC | BASE_ENABLED)) != 0 ||
        (value & (BASE_X2APIC | BASE_ENABLED)) == BASE_X2APIC ||
        ((value & BASE_X2APIC) != 0 && !host_initiated && !has_x2apic(cpu->vcpu)) ||
        (!host_initiated && bad_transition(old, value))) {
        return -EINVAL;
    }
    cpu->apic_base = value;
    if (a == NULL) {
        return 0;
    }
    if ((changed & BASE_X2APIC) != 0 && (value & BASE_X2APIC) != 0) {
        uint32_t id = a->vcpu->id;

        set_reg(a, REG_ID, id);
        set_reg(a, REG_LDR, (id >> 4) << 16 | 1u << (id & 15));
    }
    if ((changed & BASE_ENABLED) != 0) {
        if ((value & BASE_ENABLED) == 0) {
            io_timer_arm(a->timer, 0, 0);
        }
        set_reg(a, REG_ID, (value & BASE_X2APIC) != 0 ? a->vcpu->id : a->vcpu->id << 24);
    }
    cpu_kick(cpu, false);
    return 0;
}

uint64_t lapic_get_tpr(struct cpu *cpu)
{
    return cpu->lapic != NULL ? reg(cpu->lapic, REG_TPR) >> 4 & 0xf : cpu->cr8;
}

void lapic_set_tpr(struct cpu *cpu, uint64_t cr8)
{
    if (cpu->lapic != NULL) {
        (void)write_reg(cpu->lapic, REG_TPR, (uint32_t)(cr8 & 0xf) << 4);
    } else {
        cpu->cr8 = cr8 & 0xf;
    }
}

/* ---- what the CPU asks ---- */

bool lapic_accepts_pic(struct lapic *a)
{
    uint32_t lvt = reg(a, REG_LVT_LINT0);

    if (!hw_enabled(a)) {
        return lapic_is_bsp(a);
    }
    return (lvt & LVT_MASKED) == 0 && (lvt >> 8 & 7) == APIC_DM_EXTINT;
}

static bool pic_ready(struct lapic *a)
{
    struct irqchip *chip = a->vcpu->vm->irqchip;

    return chip != NULL && !chip->split &&
           atomic_load_explicit(&chip->pic.output, memory_order_acquire) && lapic_accepts_pic(a);
}

static int ready_vector(struct lapic *a)
{
    int vector = hw_enabled(a) && sw_enabled(a) ? highest_irr(a) : -1;

    return vector >= 0 && (vector & 0xf0) > (ppr(a) & 0xf0) ? vector : -1;
}

bool irq_ready(struct cpu *cpu)
{
    return cpu->lapic != NULL && (pic_ready(cpu->lapic) || ready_vector(cpu->lapic) >= 0);
}

int irq_take(struct cpu *cpu)
{
    struct lapic *a = cpu->lapic;
    int vector;
    unsigned off;

    if (a == NULL) {
        return -1;
    }
    a->vcpu->stat.irq_injections++;
    if (pic_ready(a)) {
        return pic_ack(a->vcpu->vm);
    }
    vector = ready_vector(a);
    if (vector < 0) {
        return -1;
    }
    (void)atomic_fetch_and(&a->irr[vector / 32], ~(1u << (vector & 31)));
    off = REG_ISR + (unsigned)vector / 32 * 16;
    set_reg(a, off, reg(a, off) | 1u << (vector & 31));
    return vector;
}

static void start_at(struct cpu *cpu, unsigned vector)
{
    cpu_reset(cpu, true);
    cpu->seg[SEG_CS].sel = (uint16_t)(vector << 8);
    cpu->seg[SEG_CS].base = (uint64_t)vector << 12;
    cpu->rip = 0;
    cpu_state_changed(cpu);
}

/* While one NMI is handled one more may wait, else two; the rest are lost, as in KVM. */
static void take_nmis(struct lapic *a)
{
    struct cpu *cpu = a->vcpu->cpu;
    unsigned most = cpu->nmi_masked ? 1 : NMI_MOST;
    unsigned n =
        atomic_exchange(&a->nmis, 0) + (cpu->nmi_pending ? 1 : 0) + (a->nmi_second ? 1 : 0);

    n = n < most ? n : most;
    cpu->nmi_pending = n >= 1;
    a->nmi_second = n == 2;
}

bool irq_events(struct cpu *cpu)
{
    struct lapic *a = cpu->lapic;
    struct vcpu *v = cpu->vcpu;
    unsigned events;

    if (a == NULL) {
        return true;
    }
    if (a->nmi_second && !cpu->nmi_pending) {
        a->nmi_second = false;
        cpu->nmi_pending = true;
    }
    if (atomic_load_explicit(&a->events, memory_order_acquire) != 0) {
        events = atomic_exchange(&a->events, 0);
        if ((events & EVENT_NMI) != 0) {
            take_nmis(a);
        }
        if ((events & EVENT_INIT) != 0) {
            cpu_reset(cpu, true);
            lapic_reset(a, true);
            cpu_state_changed(cpu);
            atomic_store(&v->mp_state, lapic_is_bsp(a) ? (unsigned)KVM_MP_STATE_RUNNABLE
                                                       : (unsigned)KVM_MP_STATE_INIT_RECEIVED);
        }
        if ((events & EVENT_SIPI) != 0 && atomic_load(&v->mp_state) == KVM_MP_STATE_INIT_RECEIVED) {
            start_at(cpu, atomic_load(&a->sipi_vector));
            atomic_store(&v->mp_state, KVM_MP_STATE_RUNNABLE);
        }
    }
    return atomic_load(&v->mp_state) == KVM_MP_STATE_RUNNABLE ||
           atomic_load(&v->mp_state) == KVM_MP_STATE_HALTED;
}

bool lapic_has_wakeup(struct lapic *a)
{
    struct cpu *cpu = a->vcpu->cpu;

    return atomic_load(&a->events) != 0 || cpu->nmi_pending || cpu->interrupt.pending ||
           cpu->exception.pending || ((cpu->rflags & 1 << 9) != 0 && irq_ready(cpu));
}

/* ---- life ---- */

void lapic_reset(struct lapic *a, bool init)
{
    struct cpu *cpu = a->vcpu->cpu;
    bool bsp = a->vcpu->id == a->vcpu->vm->boot_cpu_id;

    io_timer_arm(a->timer, 0, 0);
    a->timer_period = 0;
    cpu->tsc_deadline = 0;
    memset(a->regs, 0, sizeof(a->regs));
    for (unsigned i = 0; i < 8; i++) {
        atomic_store(&a->irr[i], 0);
        atomic_store(&a->tmr[i], 0);
    }
    if (!init) {
        cpu->apic_base = BASE_ADDR | BASE_ENABLED | (bsp ? BASE_BSP : 0);
        atomic_store(&a->events, 0);
        atomic_store(&a->nmis, 0);
    }
    set_reg(a, REG_ID, is_x2apic(a) ? a->vcpu->id : a->vcpu->id << 24);
    if (is_x2apic(a)) {
        set_reg(a, REG_LDR, (a->vcpu->id >> 4) << 16 | 1u << (a->vcpu->id & 15));
    }
    set_reg(a, REG_VERSION, APIC_VERSION);
    set_reg(a, REG_DFR, UINT32_MAX);
    set_reg(a, REG_SVR, 0xff);
    for (unsigned off = REG_LVT_TIMER; off <= REG_LVT_ERROR; off += 16) {
        set_reg(a, off, LVT_MASKED);
    }
    if (bsp && !init) {
        /* Virtual wire mode, as firmware leaves it and KVM's reset gives it. */
        set_reg(a, REG_LVT_LINT0, APIC_DM_EXTINT << 8);
    }
}

struct lapic *lapic_new(struct vcpu *vcpu)
{
    struct lapic *a = calloc(1, sizeof(*a));

    if (a == NULL) {
        return NULL;
    }
    a->vcpu = vcpu;
    a->timer = io_timer_new(vcpu->vm->io, timer_expired, a);
    if (a->timer == NULL) {
        return lapic_free(a);
    }
    lapic_reset(a, false);
    return a;
}

struct lapic *lapic_free(struct lapic *a)
{
    if (a != NULL) {
        (void)io_timer_free(a->timer);
        free(a);
    }
    return NULL;
}

int lapic_get_state(void *object, void *arg)
{
    struct vcpu *v = object;

    if (v->lapic == NULL) {
        return -EINVAL;
    }
    export_vectors(v->lapic);
    set_reg(v->lapic, REG_TIMER_COUNT, current_count(v->lapic));
    memcpy(arg, v->lapic->regs, APIC_REG_BYTES);
    if (is_x2apic(v->lapic) && (v->vm->x2apic_flags & KVM_X2APIC_API_USE_32BIT_IDS) == 0) {
        le32_put((uint8_t *)arg + REG_ID, v->id << 24);
    }
    return 0;
}

int lapic_set_state(void *object, void *arg)
{
    struct vcpu *v = object;
    struct lapic *a = v->lapic;
    uint32_t left;

    if (a == NULL) {
        return -EINVAL;
    }
    io_timer_arm(a->timer, 0, 0);
    memcpy(a->regs, arg, APIC_REG_BYTES);
    if (is_x2apic(a)) {
        set_reg(a, REG_ID, v->id);
        set_reg(a, REG_LDR, (v->id >> 4) << 16 | 1u << (v->id & 15));
    }
    set_reg(a, REG_VERSION, APIC_VERSION);
    for (unsigned i = 0; i < 8; i++) {
        atomic_store(&a->irr[i], reg(a, REG_IRR + i * 16));
        atomic_store(&a->tmr[i], reg(a, REG_TMR + i * 16));
    }
    left = reg(a, REG_TIMER_COUNT);
    a->timer_period = 0;
    if (timer_mode(a) == TIMER_DEADLINE) {
        set_deadline(a, v->cpu->tsc_deadline);
    } else if (left != 0) {
        uint64_t period = (uint64_t)reg(a, REG_TIMER_INIT) * divisor(a) * BUS_NSEC;
        uint64_t rest = (uint64_t)left * divisor(a) * BUS_NSEC;
        uint64_t now = monotonic_nsec();

        a->timer_period = period;
        a->timer_start = now + rest - period;
        io_timer_arm(a->timer, now + rest, timer_mode(a) == TIMER_PERIODIC ? period : 0);
    }
    vcpu_wake(v);
    return 0;
}
