/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pit.c - the 8254 interval timer (Intel order number 231164): ports 0x40 to 0x43, and the speaker
 * port 0x61 that gates and shows channel 2. Channel 0 drives GSI 0.
 *
 * Counters are not counted: their value is computed from the time since they were loaded.
 */
#include "base/bytes.h"
#include "engine/irqchip/irqchip.h"

#include <errno.h>

enum { PIT_HZ = 1193182, RW_LSB = 1, RW_MSB = 2, RW_WORD0 = 3, RW_WORD1 = 4 };

static uint64_t ticks_since(const struct pit_channel *c)
{
    uint64_t ns = monotonic_nsec() - c->load_nsec;

    return (uint64_t)((unsigned __int128)ns * PIT_HZ / 1000000000u);
}

static uint64_t ticks_to_ns(uint64_t ticks)
{
    return (uint64_t)((unsigned __int128)ticks * 1000000000u / PIT_HZ);
}

static unsigned current_count(const struct pit_channel *c)
{
    uint64_t t = ticks_since(c);

    switch (c->mode) {
    case 0:
    case 1:
    case 4:
    case 5:
        return (unsigned)(c->count - t) & 0xffff;
    case 3:
        return (unsigned)(c->count - (2 * t) % c->count);
    default:
        return (unsigned)(c->count - t % c->count);
    }
}

static bool output_of(const struct pit_channel *c)
{
    uint64_t t = ticks_since(c);

    switch (c->mode) {
    case 0:
        return t >= c->count;
    case 1:
        return t < c->count;
    case 2:
        return t % c->count != 0 || t == 0;
    case 3:
        return t % c->count < (c->count + 1) / 2;
    default:
        return t == c->count;
    }
}

static void on_tick(void *arg, uint64_t count)
{
    struct vm *vm = arg;

    (void)count;
    (void)pthread_mutex_lock(&vm->irq_lock);
    if ((vm->irqchip->pit.flags & KVM_PIT_FLAGS_HPET_LEGACY) == 0) {
        (void)irqchip_set_gsi_locked(vm, 0, IRQ_SOURCE_PIT, true);
        (void)irqchip_set_gsi_locked(vm, 0, IRQ_SOURCE_PIT, false);
    }
    (void)pthread_mutex_unlock(&vm->irq_lock);
}

static void arm(struct pit *pit)
{
    struct pit_channel *c = &pit->ch[0];
    uint64_t period = ticks_to_ns(c->count);

    switch (c->mode) {
    case 2:
    case 3:
        io_timer_arm(pit->timer, c->load_nsec + period, period > 200000 ? period : 200000);
        break;
    case 0:
    case 1:
    case 4:
        io_timer_arm(pit->timer, c->load_nsec + period, 0);
        break;
    default:
        io_timer_arm(pit->timer, 0, 0);
        break;
    }
}

static void load(struct pit *pit, unsigned ch, unsigned val)
{
    struct pit_channel *c = &pit->ch[ch];

    c->count = val == 0 ? 0x10000 : val;
    c->load_nsec = monotonic_nsec();
    if (ch == 0) {
        arm(pit);
    }
}

static void latch_count(struct pit_channel *c)
{
    if (c->count_latched == 0) {
        c->latched_count = (uint16_t)current_count(c);
        c->count_latched = c->rw_mode;
    }
}

static void latch_status(struct pit_channel *c)
{
    if (c->status_latched == 0) {
        c->status =
            (uint8_t)((output_of(c) ? 0x80 : 0) | (c->rw_mode << 4) | (c->mode << 1) | c->bcd);
        c->status_latched = 1;
    }
}

static void write_control(struct pit *pit, uint8_t val)
{
    unsigned ch = val >> 6;
    unsigned access = (val >> 4) & 3;

    if (ch == 3) {
        for (unsigned i = 0; i < 3; i++) {
            if ((val & (2u << i)) != 0) {
                if ((val & 0x20) == 0) {
                    latch_count(&pit->ch[i]);
                }
                if ((val & 0x10) == 0) {
                    latch_status(&pit->ch[i]);
                }
            }
        }
        return;
    }
    if (access == 0) {
        latch_count(&pit->ch[ch]);
        return;
    }
    pit->ch[ch].rw_mode = (uint8_t)access;
    pit->ch[ch].read_state = (uint8_t)access;
    pit->ch[ch].write_state = (uint8_t)access;
    pit->ch[ch].mode = (val >> 1) & 7;
    if (pit->ch[ch].mode > 5) {
        pit->ch[ch].mode &= 3; /* the top bit does not count for modes 2 and 3 */
    }
    pit->ch[ch].bcd = val & 1;
    if (ch == 0) {
        io_timer_arm(pit->timer, 0, 0);
    }
}

static void write_count(struct pit *pit, unsigned ch, uint8_t val)
{
    struct pit_channel *c = &pit->ch[ch];

    switch (c->write_state) {
    case RW_LSB:
        load(pit, ch, val);
        break;
    case RW_MSB:
        load(pit, ch, (unsigned)val << 8);
        break;
    case RW_WORD0:
        c->write_latch = val;
        c->write_state = RW_WORD1;
        break;
    case RW_WORD1:
        load(pit, ch, c->write_latch | (unsigned)val << 8);
        c->write_state = RW_WORD0;
        break;
    default:
        break;
    }
}

static uint8_t read_latched(struct pit_channel *c)
{
    switch (c->count_latched) {
    case RW_MSB:
        c->count_latched = 0;
        return (uint8_t)(c->latched_count >> 8);
    case RW_WORD0:
        c->count_latched = RW_MSB;
        return (uint8_t)c->latched_count;
    default:
        c->count_latched = 0;
        return (uint8_t)c->latched_count;
    }
}

static uint8_t read_channel(struct pit_channel *c)
{
    unsigned count;

    if (c->status_latched != 0) {
        c->status_latched = 0;
        return c->status;
    }
    if (c->count_latched != 0) {
        return read_latched(c);
    }
    count = current_count(c);
    switch (c->read_state) {
    case RW_MSB:
        return (uint8_t)(count >> 8);
    case RW_WORD0:
        c->read_state = RW_WORD1;
        return (uint8_t)count;
    case RW_WORD1:
        c->read_state = RW_WORD0;
        return (uint8_t)(count >> 8);
    default:
        return (uint8_t)count;
    }
}

static void write_speaker(struct pit *pit, uint8_t val)
{
    struct pit_channel *c = &pit->ch[2];
    uint8_t gate = val & 1;

    pit->speaker_on = (val & 2) != 0;
    /* A rising gate restarts the counter in all modes but 0 and 4. */
    if (gate > c->gate && c->mode != 0 && c->mode != 4) {
        c->load_nsec = monotonic_nsec();
    }
    c->gate = gate;
}

static uint8_t read_speaker(const struct pit *pit)
{
    /* Bit 4 is the refresh clock, about 15 us a half period. */
    unsigned refresh = (unsigned)(monotonic_nsec() / 15000) & 1;

    return (uint8_t)(pit->ch[2].gate | (pit->speaker_on ? 2 : 0) | refresh << 4 |
                     (output_of(&pit->ch[2]) ? 0x20 : 0));
}

bool pit_io(struct vm *vm, uint16_t port, uint8_t *data, bool write)
{
    struct pit *pit = &vm->irqchip->pit;

    if (!pit->present || ((port & ~3u) != 0x40 && port != 0x61)) {
        return false;
    }
    if (port == 0x61 && (pit->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON) == 0 && vm->irqchip->split) {
        return false;
    }
    (void)pthread_mutex_lock(&vm->irq_lock);
    if (port == 0x61) {
        if (write) {
            write_speaker(pit, *data);
        } else {
            *data = read_speaker(pit);
        }
    } else if (port == 0x43) {
        if (write) {
            write_control(pit, *data);
        } else {
            *data = 0;
        }
    } else if (write) {
        write_count(pit, port & 3, *data);
    } else {
        *data = read_channel(&pit->ch[port & 3]);
    }
    (void)pthread_mutex_unlock(&vm->irq_lock);
    return true;
}

int pit_create(void *object, void *config)
{
    struct vm *vm = object;
    struct pit *pit;
    int r = 0;

    (void)config; /* the dummy-speaker flag changes nothing: there is no sound to make */
    (void)pthread_mutex_lock(&vm->lock);
    if (vm->irqchip == NULL || vm->irqchip->split) {
        r = -ENOENT;
    } else if (vm->irqchip->pit.present) {
        r = -EEXIST;
    } else {
        pit = &vm->irqchip->pit;
        pit->timer = io_timer_new(vm->io, on_tick, vm);
        if (pit->timer == NULL) {
            r = -ENOMEM;
        } else {
            for (unsigned i = 0; i < 3; i++) {
                pit->ch[i] = (struct pit_channel) { .mode = 3, .gate = i != 2, .count = 0x10000 };
            }
            pit->present = true;
        }
    }
    (void)pthread_mutex_unlock(&vm->lock);
    return r;
}

int pit_create_legacy(void *vm, void *unused)
{
    (void)unused;
    return pit_create(vm, NULL);
}

void pit_free(struct pit *pit)
{
    pit->timer = io_timer_free(pit->timer);
}

int pit_get(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_pit_state2 s = { .flags = 0 };

    if (vm->irqchip == NULL || !vm->irqchip->pit.present) {
        return -ENXIO;
    }
    (void)pthread_mutex_lock(&vm->irq_lock);
    for (unsigned i = 0; i < 3; i++) {
        const struct pit_channel *c = &vm->irqchip->pit.ch[i];

        s.channels[i] = (struct kvm_pit_channel_state) {
            .count = c->count,
            .latched_count = c->latched_count,
            .count_latched = c->count_latched,
            .status_latched = c->status_latched,
            .status = c->status,
            .read_state = c->read_state,
            .write_state = c->write_state,
            .write_latch = c->write_latch,
            .rw_mode = c->rw_mode,
            .mode = c->mode,
            .bcd = c->bcd,
            .gate = c->gate,
            .count_load_time = (int64_t)c->load_nsec,
        };
    }
    s.flags = vm->irqchip->pit.flags;
    (void)pthread_mutex_unlock(&vm->irq_lock);
    memcpy(arg, &s, sizeof(s));
    return 0;
}

int pit_set(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_pit_state2 s;
    struct pit *pit;

    if (vm->irqchip == NULL || !vm->irqchip->pit.present) {
        return -ENXIO;
    }
    memcpy(&s, arg, sizeof(s));
    (void)pthread_mutex_lock(&vm->irq_lock);
    pit = &vm->irqchip->pit;
    for (unsigned i = 0; i < 3; i++) {
        const struct kvm_pit_channel_state *c = &s.channels[i];

        pit->ch[i] = (struct pit_channel) {
            .count = c->count == 0 || c->count > 0x10000 ? 0x10000 : c->count,
            .latched_count = c->latched_count,
            .count_latched = c->count_latched & 7,
            .status_latched = c->status_latched,
            .status = c->status,
            .read_state = c->read_state & 7,
            .write_state = c->write_state & 7,
            .write_latch = c->write_latch,
            .rw_mode = c->rw_mode & 3,
            .mode = c->mode & 7,
            .bcd = c->bcd,
            .gate = c->gate,
            .load_nsec = monotonic_nsec(),
        };
    }
    pit->flags = s.flags;
    arm(pit);
    (void)pthread_mutex_unlock(&vm->irq_lock);
    return 0;
}

int pit_reinject(void *object, void *arg)
{
    struct vm *vm = object;

    (void)arg; /* ticks that the guest misses are dropped, with either policy */
    return vm->irqchip != NULL && vm->irqchip->pit.present ? 0 : -ENXIO;
}
