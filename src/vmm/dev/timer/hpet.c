/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hpet.c - the high-precision event timer (IA-PC HPET 1.0a): a 64-bit counter of 100 MHz and three
 * comparators, periodic ones included, that interrupt by IOAPIC pins or by messages.
 *
 * Legacy replacement is not offered: the PIT and the clock are the accelerator's and the RTC's.
 */
#include "base/bytes.h"
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define HPET_GPA 0xfed00000u

enum {
    N_TIMERS = 3,
    HPET_BYTES = 0x400,
    PERIOD_FS = 10000000,
    NSEC_PER_TICK = 10,
    CFG_ENABLE = 1,
    T_LEVEL = 1 << 1,
    T_ENABLE = 1 << 2,
    T_PERIODIC = 1 << 3,
    T_CAN_PERIODIC = 1 << 4,
    T_64BIT = 1 << 5,
    T_SET_VALUE = 1 << 6,
    T_32BIT = 1 << 8,
    T_ROUTE_SHIFT = 9,
    T_FSB = 1 << 14,
    ROUTES = 0xff0000, /* pins 16 to 23 */
};

struct hpet;

struct timer {
    struct hpet *h;
    struct loop_source *source;
    uint64_t config, comparator, period, fsb;
};

struct hpet {
    struct device dev;
    uint64_t config, status;
    uint64_t counter; /* while it stands */
    int64_t offset;   /* counter less host ticks, while it runs */
    bool arm_posted;
    struct timer timers[N_TIMERS];
};

static uint64_t host_ticks(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return ((uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec) / NSEC_PER_TICK;
}

static uint64_t counter(const struct hpet *h)
{
    return (h->config & CFG_ENABLE) != 0 ? host_ticks() + (uint64_t)h->offset : h->counter;
}

static bool is_32bit(const struct timer *t)
{
    return (t->config & T_32BIT) != 0;
}

/* Ticks until the comparator matches. */
static uint64_t distance(const struct timer *t, uint64_t now)
{
    if (is_32bit(t)) {
        uint32_t d = (uint32_t)t->comparator - (uint32_t)now;

        return (int32_t)d <= 0 ? 0 : d;
    }
    return (int64_t)(t->comparator - now) <= 0 ? 0 : t->comparator - now;
}

static void set_line(struct timer *t, bool level)
{
    unsigned pin = t->config >> T_ROUTE_SHIFT & 0x1f;
    struct irq irq = machine_irq(t->h->dev.m, pin);

    if (pin >= 16) {
        irq_set(&irq, level);
    }
}

static void raise(struct timer *t)
{
    unsigned n = (unsigned)(t - t->h->timers);

    if ((t->config & T_ENABLE) == 0 || (t->h->config & CFG_ENABLE) == 0) {
        return;
    }
    if ((t->config & T_FSB) != 0) {
        machine_send_msi(t->h->dev.m, t->fsb >> 32, (uint32_t)t->fsb);
    } else if ((t->config & T_LEVEL) != 0) {
        t->h->status |= 1u << n;
        set_line(t, true);
    } else {
        set_line(t, true);
        set_line(t, false);
    }
}

static void arm(struct timer *t)
{
    uint64_t d = distance(t, counter(t->h));

    if (t->source == NULL) {
        return;
    }
    if ((t->h->config & CFG_ENABLE) == 0 || (t->config & T_ENABLE) == 0) {
        (void)loop_timer_disarm(t->source);
        return;
    }
    d = min_u64(d, 1ull << 40);
    (void)loop_timer_arm(t->source, loop_now_usec() + d * NSEC_PER_TICK / 1000);
}

/* Timers belong to the loop's thread; registers are written on vCPUs'. */
static void arm_all(void *arg)
{
    struct hpet *h = arg;

    h->arm_posted = false;
    for (unsigned i = 0; i < N_TIMERS; i++) {
        arm(&h->timers[i]);
    }
}

static void post_arm(struct hpet *h)
{
    if (!h->arm_posted && h->dev.m->loop != NULL) {
        h->arm_posted = loop_post(h->dev.m->loop, arm_all, h) == 0;
    }
}

static void expired(void *arg)
{
    struct timer *t = arg;
    uint64_t now = counter(t->h);

    if (distance(t, now) > 0) {
        arm(t);
        return;
    }
    if ((t->config & T_PERIODIC) != 0 && t->period > 0) {
        uint64_t late = is_32bit(t) ? (uint32_t)now - (uint32_t)t->comparator : now - t->comparator;

        t->comparator += (late / t->period + 1) * t->period;
        if (is_32bit(t)) {
            t->comparator = (uint32_t)t->comparator;
        }
        raise(t);
        arm(t);
    } else {
        raise(t);
        /* Once around, it matches again: far away, and guests set a new one. */
    }
}

static uint64_t reg_read(struct hpet *h, unsigned off)
{
    if (off >= 0x100 && off < 0x100 + N_TIMERS * 0x20) {
        const struct timer *t = &h->timers[(off - 0x100) / 0x20];

        switch ((off - 0x100) % 0x20) {
        case 0x00:
            return t->config;
        case 0x08:
            return t->comparator;
        case 0x10:
            return t->fsb;
        default:
            return 0;
        }
    }
    switch (off) {
    case 0x00: /* three timers, 64 bits */
        return (uint64_t)PERIOD_FS << 32 | 0x8086u << 16 | 1u << 13 | (N_TIMERS - 1) << 8 | 1;
    case 0x10:
        return h->config;
    case 0x20:
        return h->status;
    case 0xf0:
        return counter(h);
    default:
        return 0;
    }
}

static void timer_write(struct timer *t, unsigned off, uint64_t v, uint64_t mask)
{
    const uint64_t writable = 0x7f4e & ~(uint64_t)(T_CAN_PERIODIC | T_64BIT);

    switch (off) {
    case 0x00:
        v = (t->config & ~(writable & mask)) | (v & writable & mask);
        if ((t->config & T_LEVEL) != 0 && (v & T_LEVEL) == 0) {
            set_line(t, false);
        }
        t->config = v;
        if (is_32bit(t)) {
            t->comparator = (uint32_t)t->comparator;
            t->period = (uint32_t)t->period;
        }
        break;
    case 0x08:
        v = (t->comparator & ~mask) | (v & mask);
        if ((t->config & T_PERIODIC) == 0 || (t->config & T_SET_VALUE) != 0) {
            t->comparator = is_32bit(t) ? (uint32_t)v : v;
        }
        if ((t->config & T_PERIODIC) != 0) {
            t->period = is_32bit(t) ? (uint32_t)v : v;
        }
        t->config &= ~(uint64_t)T_SET_VALUE;
        break;
    case 0x10:
        t->fsb = (t->fsb & ~mask) | (v & mask);
        break;
    default:
        break;
    }
}

static void reg_write(struct hpet *h, unsigned off, uint64_t v, uint64_t mask)
{
    if (off >= 0x100 && off < 0x100 + N_TIMERS * 0x20) {
        timer_write(&h->timers[(off - 0x100) / 0x20], (off - 0x100) % 0x20, v, mask);
    } else if (off == 0x10) {
        uint64_t now = counter(h);

        v = (h->config & ~mask) | (v & mask & CFG_ENABLE);
        if ((v & CFG_ENABLE) != 0 && (h->config & CFG_ENABLE) == 0) {
            h->offset = (int64_t)(now - host_ticks());
        } else if ((v & CFG_ENABLE) == 0) {
            h->counter = now;
        }
        h->config = v;
    } else if (off == 0x20) {
        for (unsigned i = 0; i < N_TIMERS; i++) {
            if ((v & mask & h->status & 1u << i) != 0) {
                h->status &= ~(uint64_t)(1u << i);
                set_line(&h->timers[i], false);
            }
        }
        return;
    } else if (off == 0xf0 && (h->config & CFG_ENABLE) == 0) {
        h->counter = (h->counter & ~mask) | (v & mask);
    }
    post_arm(h);
}

static uint64_t hpet_read(void *dev, uint64_t off, unsigned size)
{
    uint64_t v = reg_read(dev, (unsigned)(off & ~7ull));

    return size == 8 ? v : v >> ((off & 7) * 8);
}

static void hpet_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    uint64_t mask = size == 8 ? UINT64_MAX : ((1ull << (size * 8)) - 1) << ((off & 7) * 8);

    reg_write(dev, (unsigned)(off & ~7ull), value << ((off & 7) * 8), mask);
}

static const struct io_ops hpet_io = { .read = hpet_read, .write = hpet_write, .max_size = 8 };

static int hpet_realize(struct device *dev, struct err **err)
{
    struct hpet *h = (struct hpet *)dev;

    for (unsigned i = 0; i < N_TIMERS; i++) {
        h->timers[i].h = h;
        if (dev->m->loop != NULL) {
            int r = loop_add_timer(dev->m->loop, expired, &h->timers[i], &h->timers[i].source);

            if (r < 0) {
                return err_set(err, -r, "cannot make a timer: %s", strerror(-r));
            }
        }
    }
    return iobus_add(&dev->m->mmio, HPET_GPA, HPET_BYTES, &hpet_io, dev, "hpet", err);
}

static void hpet_reset(struct device *dev)
{
    struct hpet *h = (struct hpet *)dev;

    h->config = h->status = h->counter = 0;
    h->offset = 0;
    for (unsigned i = 0; i < N_TIMERS; i++) {
        struct timer *t = &h->timers[i];

        set_line(t, false);
        t->config = (uint64_t)ROUTES << 32 | T_CAN_PERIODIC | T_64BIT;
        t->comparator = UINT64_MAX;
        t->period = t->fsb = 0;
    }
    post_arm(h);
}

static void hpet_destroy(struct device *dev)
{
    struct hpet *h = (struct hpet *)dev;

    for (unsigned i = 0; i < N_TIMERS; i++) {
        h->timers[i].source = loop_source_free(h->timers[i].source);
    }
}

static void hpet_pre_save(struct device *dev)
{
    struct hpet *h = (struct hpet *)dev;

    h->counter = counter(h);
}

static int hpet_post_load(struct device *dev, struct err **err)
{
    struct hpet *h = (struct hpet *)dev;

    (void)err;
    h->offset = (int64_t)(h->counter - host_ticks());
    post_arm(h);
    return 0;
}

static const struct state_field hpet_fields[] = {
    FIELD(struct hpet, config),
    FIELD(struct hpet, status),
    FIELD(struct hpet, counter),
    FIELD(struct hpet, timers[0].config),
    FIELD(struct hpet, timers[0].comparator),
    FIELD(struct hpet, timers[0].period),
    FIELD(struct hpet, timers[0].fsb),
    FIELD(struct hpet, timers[1].config),
    FIELD(struct hpet, timers[1].comparator),
    FIELD(struct hpet, timers[1].period),
    FIELD(struct hpet, timers[1].fsb),
    FIELD(struct hpet, timers[2].config),
    FIELD(struct hpet, timers[2].comparator),
    FIELD(struct hpet, timers[2].period),
    FIELD(struct hpet, timers[2].fsb),
    FIELD_END,
};

const struct device_class hpet_class = {
    .name = "hpet",
    .bus = "System",
    .desc = "high-precision event timer",
    .size = sizeof(struct hpet),
    .internal = true,
    .realize = hpet_realize,
    .reset = hpet_reset,
    .destroy = hpet_destroy,
    .fields = hpet_fields,
    .pre_save = hpet_pre_save,
    .post_load = hpet_post_load,
};
