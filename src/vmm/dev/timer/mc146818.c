/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mc146818.c - the PC's real-time clock and its 128 bytes of memory (Motorola MC146818A data
 * sheet).
 *
 * The time of day is the host's clock plus an offset that changes when the guest sets the clock.
 * The periodic interrupt, alarm and update-ended interrupt raise IRQ 8.
 */
#include "vmm/dev/timer/mc146818.h"

#include "base/log.h"
#include "os/loop.h"
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

enum {
    PORT = 0x70,
    IRQ = 8,
    NVRAM_BYTES = 128,
    R_SEC = 0,
    R_SEC_ALARM = 1,
    R_MIN = 2,
    R_MIN_ALARM = 3,
    R_HOUR = 4,
    R_HOUR_ALARM = 5,
    R_WDAY = 6,
    R_MDAY = 7,
    R_MONTH = 8,
    R_YEAR = 9,
    R_A = 10,
    R_B = 11,
    R_C = 12,
    R_D = 13,
    R_CENTURY = 0x32,
    A_UIP = 0x80,
    B_24H = 2,
    B_BINARY = 4,
    B_UIE = 0x10,
    B_AIE = 0x20,
    B_PIE = 0x40,
    B_SET = 0x80,
    C_UF = 0x10,
    C_AF = 0x20,
    C_PF = 0x40,
    C_IRQF = 0x80,
    D_VALID = 0x80,
    UIP_USEC = 244, /* the update-in-progress bit rises this long before the second */
    ALARM_ANY = 0xc0,
};

struct rtc {
    struct device dev;
    struct irq irq;
    struct loop_source *timer;
    uint8_t nvram[NVRAM_BYTES];
    uint8_t index;
    int64_t offset_usec;
    int64_t last_second;    /* the last one whose flags were set */
    uint64_t next_periodic; /* loop_now_usec() */
    uint64_t periodic_usec; /* 0: off */
    bool arm_posted;
};

static int64_t guest_usec(const struct rtc *r)
{
    struct timeval tv;

    (void)gettimeofday(&tv, NULL);
    return (int64_t)tv.tv_sec * 1000000 + tv.tv_usec + r->offset_usec;
}

static uint8_t to_reg(const struct rtc *r, int v)
{
    return (uint8_t)((r->nvram[R_B] & B_BINARY) != 0 ? v : (v / 10) << 4 | v % 10);
}

static int from_reg(const struct rtc *r, uint8_t v)
{
    return (r->nvram[R_B] & B_BINARY) != 0 ? v : (v >> 4) * 10 + (v & 0xf);
}

static uint8_t hour_to_reg(const struct rtc *r, int hour)
{
    if ((r->nvram[R_B] & B_24H) != 0) {
        return to_reg(r, hour);
    }
    return (uint8_t)(to_reg(r, hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0));
}

/* The time of day into the registers. */
static void load_time(struct rtc *r)
{
    time_t now = (time_t)(guest_usec(r) / 1000000);
    struct tm tm;

    if ((r->nvram[R_B] & B_SET) != 0 || gmtime_r(&now, &tm) == NULL) {
        return;
    }
    r->nvram[R_SEC] = to_reg(r, tm.tm_sec);
    r->nvram[R_MIN] = to_reg(r, tm.tm_min);
    r->nvram[R_HOUR] = hour_to_reg(r, tm.tm_hour);
    r->nvram[R_WDAY] = to_reg(r, tm.tm_wday + 1);
    r->nvram[R_MDAY] = to_reg(r, tm.tm_mday);
    r->nvram[R_MONTH] = to_reg(r, tm.tm_mon + 1);
    r->nvram[R_YEAR] = to_reg(r, tm.tm_year % 100);
    r->nvram[R_CENTURY] = to_reg(r, (tm.tm_year + 1900) / 100);
}

/* The registers into the offset. */
static void store_time(struct rtc *r)
{
    uint8_t hour = r->nvram[R_HOUR];
    struct tm tm = { .tm_sec = from_reg(r, r->nvram[R_SEC]),
                     .tm_min = from_reg(r, r->nvram[R_MIN]),
                     .tm_mday = from_reg(r, r->nvram[R_MDAY]),
                     .tm_mon = from_reg(r, r->nvram[R_MONTH]) - 1 };
    time_t t;

    if ((r->nvram[R_B] & B_24H) != 0) {
        tm.tm_hour = from_reg(r, hour);
    } else {
        tm.tm_hour = from_reg(r, hour & 0x7f) % 12 + ((hour & 0x80) != 0 ? 12 : 0);
    }
    tm.tm_year = from_reg(r, r->nvram[R_CENTURY]) * 100 + from_reg(r, r->nvram[R_YEAR]) - 1900;
    t = timegm(&tm);
    if (t != (time_t)-1) {
        r->offset_usec += (int64_t)t * 1000000 - guest_usec(r);
    }
}

static void update_irq(struct rtc *r)
{
    bool on = (r->nvram[R_C] & r->nvram[R_B] & (B_PIE | B_AIE | B_UIE)) != 0;

    if (on) {
        r->nvram[R_C] |= C_IRQF;
    }
    irq_set(&r->irq, on);
}

/* (data sheet, table 5): rates 1 and 2 are those of 8 and 9 with a 32 kHz clock. */
static uint64_t periodic_usec(const struct rtc *r)
{
    unsigned rate = r->nvram[R_A] & 0xf;

    if (rate == 0 || (r->nvram[R_B] & B_PIE) == 0) {
        return 0;
    }
    if (rate <= 2) {
        rate += 7;
    }
    return (1000000ull << (rate - 1)) / 32768;
}

static bool alarm_matches(const struct rtc *r)
{
    static const uint8_t pairs[][2] = { { R_SEC, R_SEC_ALARM },
                                        { R_MIN, R_MIN_ALARM },
                                        { R_HOUR, R_HOUR_ALARM } };

    for (size_t i = 0; i < 3; i++) {
        uint8_t want = r->nvram[pairs[i][1]];

        if ((want & ALARM_ANY) != ALARM_ANY && want != r->nvram[pairs[i][0]]) {
            return false;
        }
    }
    return true;
}

static void arm(void *arg)
{
    struct rtc *r = arg;
    uint64_t at = UINT64_MAX;

    r->arm_posted = false;
    if (r->timer == NULL) {
        return;
    }
    if (r->periodic_usec != 0) {
        at = r->next_periodic;
    }
    if ((r->nvram[R_B] & (B_UIE | B_AIE)) != 0) {
        uint64_t second = loop_now_usec() + 1000000 - (uint64_t)(guest_usec(r) % 1000000);

        at = second < at ? second : at;
    }
    if (at == UINT64_MAX) {
        (void)loop_timer_disarm(r->timer);
    } else {
        (void)loop_timer_arm(r->timer, at);
    }
}

static void on_timer(void *arg)
{
    struct rtc *r = arg;
    int64_t second = guest_usec(r) / 1000000;
    uint64_t now = loop_now_usec();

    if (r->periodic_usec != 0 && now >= r->next_periodic) {
        r->nvram[R_C] |= C_PF;
        r->next_periodic += r->periodic_usec;
        if (r->next_periodic < now) {
            r->next_periodic = now + r->periodic_usec;
        }
    }
    if (second != r->last_second) {
        r->last_second = second;
        load_time(r);
        r->nvram[R_C] |= (uint8_t)(C_UF | (alarm_matches(r) ? C_AF : 0));
    }
    update_irq(r);
    arm(r);
}

/* Timers are the loop's; registers are written on vCPU threads. */
static void rearm(struct rtc *r)
{
    uint64_t period = periodic_usec(r);

    if (period != r->periodic_usec) {
        r->periodic_usec = period;
        r->next_periodic = loop_now_usec() + period;
    }
    if (r->timer != NULL && !r->arm_posted) {
        r->arm_posted = loop_post(r->dev.m->loop, arm, r) == 0;
    }
}

static uint64_t rtc_read(void *dev, uint64_t off, unsigned size)
{
    struct rtc *r = dev;
    uint8_t v;

    (void)size;
    if (off == 0) {
        return 0xff; /* the index cannot be read */
    }
    if (r->index <= R_YEAR || r->index == R_CENTURY) {
        load_time(r);
    }
    v = r->nvram[r->index];
    if (r->index == R_A) {
        bool uip = (r->nvram[R_B] & B_SET) == 0 && guest_usec(r) % 1000000 >= 1000000 - UIP_USEC;

        v = (uint8_t)((v & 0x7f) | (uip ? A_UIP : 0));
    } else if (r->index == R_C) {
        r->nvram[R_C] = 0;
        update_irq(r);
    }
    return v;
}

/* A time-of-day register, as opposed to an alarm register or memory. */
static bool is_time(uint8_t index)
{
    return index == R_CENTURY || (index <= R_YEAR && index != R_SEC_ALARM && index != R_MIN_ALARM &&
                                  index != R_HOUR_ALARM);
}

static void data_write(struct rtc *r, uint8_t v)
{
    switch (r->index) {
    case R_A:
        r->nvram[R_A] = v & 0x7f;
        rearm(r);
        break;
    case R_B:
        if ((r->nvram[R_B] & B_SET) == 0 && (v & B_SET) != 0) {
            load_time(r);
        } else if ((r->nvram[R_B] & B_SET) != 0 && (v & B_SET) == 0) {
            r->nvram[R_B] = v;
            store_time(r);
        }
        r->nvram[R_B] = v;
        r->last_second = guest_usec(r) / 1000000;
        update_irq(r);
        rearm(r);
        break;
    case R_C:
    case R_D:
        break; /* read-only */
    default:
        if (is_time(r->index)) {
            load_time(r);
        }
        r->nvram[r->index] = v;
        if (is_time(r->index) && (r->nvram[R_B] & B_SET) == 0) {
            store_time(r);
        }
        break;
    }
}

static void rtc_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct rtc *r = dev;

    (void)size;
    if (off == 0) {
        r->index = value & 0x7f; /* bit 7 masks NMIs, which nothing here raises */
    } else {
        data_write(r, (uint8_t)value);
    }
}

static const struct io_ops rtc_io = { .read = rtc_read, .write = rtc_write, .max_size = 1 };

static int rtc_realize(struct device *dev, struct err **err)
{
    struct rtc *r = (struct rtc *)dev;
    uint64_t ext = dev->m->ram_bytes > 1 << 20 ? (dev->m->ram_bytes - (1 << 20)) >> 10 : 0;
    uint64_t high = dev->m->ram_bytes > 16 << 20 ? (dev->m->ram_bytes - (16 << 20)) >> 16 : 0;
    int res = 0;

    r->irq = machine_irq(dev->m, IRQ);
    r->offset_usec = dev->m->rtc_offset_usec;
    r->nvram[R_A] = 0x26;
    r->nvram[R_B] = B_24H;
    r->nvram[R_D] = D_VALID;
    /* Memory sizes where firmware looks for them: base, extended, above 16 MiB in 64 KiB. */
    ext = ext > 0xffff ? 0xffff : ext;
    high = high > 0xffff ? 0xffff : high;
    r->nvram[0x15] = 640 & 0xff;
    r->nvram[0x16] = 640 >> 8;
    r->nvram[0x17] = r->nvram[0x30] = (uint8_t)ext;
    r->nvram[0x18] = r->nvram[0x31] = (uint8_t)(ext >> 8);
    r->nvram[0x34] = (uint8_t)high;
    r->nvram[0x35] = (uint8_t)(high >> 8);
    r->nvram[0x5f] = (uint8_t)(dev->m->n_vcpus - 1);
    if (dev->m->loop != NULL) {
        res = loop_add_timer(dev->m->loop, on_timer, r, &r->timer);
    }
    if (res < 0) {
        return err_set(err, -res, "cannot make a timer: %s", strerror(-res));
    }
    return iobus_add(&dev->m->pio, PORT, 2, &rtc_io, dev, "rtc", err);
}

static void rtc_reset(struct device *dev)
{
    struct rtc *r = (struct rtc *)dev;

    r->nvram[R_B] &= (uint8_t) ~(B_PIE | B_AIE | B_UIE);
    r->nvram[R_C] = 0;
    update_irq(r);
    rearm(r);
}

static void rtc_destroy(struct device *dev)
{
    struct rtc *r = (struct rtc *)dev;

    r->timer = loop_source_free(r->timer);
}

void rtc_set_nvram(struct device *dev, unsigned index, uint8_t value)
{
    ((struct rtc *)dev)->nvram[index % NVRAM_BYTES] = value;
}

static int rtc_post_load(struct device *dev, struct err **err)
{
    struct rtc *r = (struct rtc *)dev;

    (void)err;
    update_irq(r);
    rearm(r);
    return 0;
}

/* The guest's time goes on by the host's: what is kept is the difference. */
static const struct state_field rtc_fields[] = {
    FIELD(struct rtc, nvram),
    FIELD(struct rtc, index),
    FIELD(struct rtc, offset_usec),
    FIELD(struct rtc, last_second),
    FIELD_END,
};

const struct device_class mc146818_class = {
    .name = "mc146818rtc",
    .bus = "ISA",
    .desc = "real-time clock",
    .size = sizeof(struct rtc),
    .internal = true,
    .realize = rtc_realize,
    .reset = rtc_reset,
    .destroy = rtc_destroy,
    .fields = rtc_fields,
    .post_load = rtc_post_load,
};
