/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pic.c - the two 8259A interrupt controllers of a PC, the second one on pin 2 of the first
 * (Intel 8259A data sheet, order number 231468).
 */
#include "engine/irqchip/irqchip.h"

#include <string.h>

enum {
    ICW1 = 0x10,
    ICW1_IC4 = 0x01,
    ICW4_AUTO_EOI = 0x02,
    ICW4_SFNM = 0x10,
    OCW3 = 0x08,
    OCW3_POLL = 0x04,
    OCW3_RR = 0x02,
    OCW3_RIS = 0x01,
    OCW3_ESMM = 0x40,
    CASCADE_PIN = 2,
    SPURIOUS_PIN = 7,
};

void pic_reset(struct pic *pic)
{
    memset(pic, 0, sizeof(*pic));
    pic->chip[0].elcr_mask = 0xf8;
    pic->chip[1].elcr_mask = 0xde;
}

static void chip_reset(struct pic_chip *s)
{
    uint8_t elcr = s->elcr;
    uint8_t elcr_mask = s->elcr_mask;
    uint8_t base = s->irq_base;

    *s = (struct pic_chip) { .elcr = elcr, .elcr_mask = elcr_mask, .irq_base = base };
}

/* 8 when nothing is requested, else how far the highest request is from the highest priority. */
static unsigned priority_of(const struct pic_chip *s, uint8_t mask)
{
    unsigned p = 0;

    if (mask == 0) {
        return 8;
    }
    while ((mask & (1u << ((p + s->priority_add) & 7))) == 0) {
        p++;
    }
    return p;
}

/* The pin that should interrupt now, or -1. */
static int chip_pending(const struct pic *pic, unsigned which)
{
    const struct pic_chip *s = &pic->chip[which];
    uint8_t mask = (uint8_t)(s->irr & ~s->imr);
    unsigned priority = priority_of(s, mask);
    unsigned current;

    if (priority == 8) {
        return -1;
    }
    mask = s->isr;
    if (s->special_mask != 0) {
        mask &= (uint8_t)~s->imr;
    }
    if (s->special_fully_nested != 0 && which == 0) {
        mask &= (uint8_t) ~(1u << CASCADE_PIN);
    }
    current = priority_of(s, mask);
    return priority < current ? (int)((priority + s->priority_add) & 7) : -1;
}

static void chip_set(struct pic_chip *s, unsigned pin, bool level)
{
    uint8_t bit = (uint8_t)(1u << pin);

    if ((s->elcr & bit) != 0) {
        s->irr = level ? s->irr | bit : s->irr & (uint8_t)~bit;
        s->last_irr = level ? s->last_irr | bit : s->last_irr & (uint8_t)~bit;
        return;
    }
    if (level && (s->last_irr & bit) == 0) {
        s->irr |= bit;
    }
    s->last_irr = level ? s->last_irr | bit : s->last_irr & (uint8_t)~bit;
}

void pic_update_locked(struct vm *vm)
{
    struct pic *pic = &vm->irqchip->pic;
    bool was = atomic_load(&pic->output);
    bool now;

    if (chip_pending(pic, 1) >= 0) {
        chip_set(&pic->chip[0], CASCADE_PIN, true);
        chip_set(&pic->chip[0], CASCADE_PIN, false);
    }
    now = chip_pending(pic, 0) >= 0;
    atomic_store(&pic->output, now);
    if (now && !was) {
        struct vcpu *bsp = vm_vcpu(vm, vm->boot_cpu_id);

        if (bsp != NULL) {
            vcpu_wake(bsp);
        }
    }
}

void pic_set_locked(struct vm *vm, unsigned pin, bool level)
{
    chip_set(&vm->irqchip->pic.chip[pin >> 3], pin & 7, level);
    pic_update_locked(vm);
}

static void chip_ack(struct pic_chip *s, unsigned pin)
{
    uint8_t bit = (uint8_t)(1u << pin);

    if (s->auto_eoi != 0) {
        if (s->rotate_on_auto_eoi != 0) {
            s->priority_add = (pin + 1) & 7;
        }
    } else {
        s->isr |= bit;
    }
    if ((s->elcr & bit) == 0) {
        s->irr &= (uint8_t)~bit;
    }
}

int pic_ack(struct vm *vm)
{
    struct pic *pic = &vm->irqchip->pic;
    struct pic_chip *master = &pic->chip[0];
    struct pic_chip *slave = &pic->chip[1];
    int pin;
    int vector;

    (void)pthread_mutex_lock(&vm->irq_lock);
    pin = chip_pending(pic, 0);
    if (pin < 0) {
        /* The request went away: the 8259A answers as if pin 7 had asked. */
        vector = master->irq_base + SPURIOUS_PIN;
    } else {
        chip_ack(master, (unsigned)pin);
        vector = master->irq_base + pin;
        if (pin == CASCADE_PIN) {
            int pin2 = chip_pending(pic, 1);

            if (pin2 >= 0) {
                chip_ack(slave, (unsigned)pin2);
            }
            vector = slave->irq_base + (pin2 >= 0 ? pin2 : SPURIOUS_PIN);
        }
    }
    pic_update_locked(vm);
    (void)pthread_mutex_unlock(&vm->irq_lock);
    return vector;
}

static void eoi(struct vm *vm, unsigned which, unsigned pin)
{
    vm->irqchip->pic.chip[which].isr &= (uint8_t) ~(1u << pin);
    vm_irqfd_resample(vm, which * 8 + pin);
}

static void write_ocw2(struct vm *vm, unsigned which, uint8_t val)
{
    struct pic_chip *s = &vm->irqchip->pic.chip[which];
    unsigned cmd = val >> 5;
    unsigned priority;

    switch (cmd) {
    case 0: /* rotate in automatic EOI mode, clear and set */
    case 4:
        s->rotate_on_auto_eoi = (uint8_t)(cmd >> 2);
        break;
    case 1: /* non-specific EOI */
    case 5:
        priority = priority_of(s, s->isr);
        if (priority != 8) {
            unsigned pin = (priority + s->priority_add) & 7;

            if (cmd == 5) {
                s->priority_add = (uint8_t)((pin + 1) & 7);
            }
            eoi(vm, which, pin);
        }
        break;
    case 3: /* specific EOI */
        eoi(vm, which, val & 7);
        break;
    case 6: /* set priority */
        s->priority_add = (uint8_t)((val + 1) & 7);
        break;
    case 7:
        s->priority_add = (uint8_t)((val + 1) & 7);
        eoi(vm, which, val & 7);
        break;
    default:
        break;
    }
}

static void write_command(struct vm *vm, unsigned which, uint8_t val)
{
    struct pic_chip *s = &vm->irqchip->pic.chip[which];

    if ((val & ICW1) != 0) {
        chip_reset(s);
        s->init4 = val & ICW1_IC4;
        s->init_state = 1;
    } else if ((val & OCW3) != 0) {
        if ((val & OCW3_POLL) != 0) {
            s->poll = 1;
        }
        if ((val & OCW3_RR) != 0) {
            s->read_reg_select = val & OCW3_RIS;
        }
        if ((val & OCW3_ESMM) != 0) {
            s->special_mask = (val >> 5) & 1;
        }
    } else {
        write_ocw2(vm, which, val);
    }
}

static void write_data(struct vm *vm, unsigned which, uint8_t val)
{
    struct pic_chip *s = &vm->irqchip->pic.chip[which];

    switch (s->init_state) {
    case 0:
        s->imr = val;
        break;
    case 1:
        s->irq_base = val & 0xf8;
        s->init_state = 2;
        break;
    case 2: /* the cascade wiring is fixed */
        s->init_state = s->init4 != 0 ? 3 : 0;
        break;
    default:
        s->special_fully_nested = (val & ICW4_SFNM) != 0;
        s->auto_eoi = (val & ICW4_AUTO_EOI) != 0;
        s->init_state = 0;
        break;
    }
}

static uint8_t poll_read(struct vm *vm, unsigned which)
{
    struct pic *pic = &vm->irqchip->pic;
    int pin = chip_pending(pic, which);

    if (pin < 0) {
        return SPURIOUS_PIN;
    }
    if (which == 1) {
        pic->chip[0].isr &= (uint8_t) ~(1u << CASCADE_PIN);
        pic->chip[0].irr &= (uint8_t) ~(1u << CASCADE_PIN);
    }
    pic->chip[which].irr &= (uint8_t) ~(1u << pin);
    pic->chip[which].isr &= (uint8_t) ~(1u << pin);
    return (uint8_t)(pin | 0x80);
}

static uint8_t read_chip(struct vm *vm, unsigned which, bool data_port)
{
    struct pic_chip *s = &vm->irqchip->pic.chip[which];

    if (s->poll != 0) {
        s->poll = 0;
        return poll_read(vm, which);
    }
    if (data_port) {
        return s->imr;
    }
    return s->read_reg_select != 0 ? s->isr : s->irr;
}

bool pic_io(struct vm *vm, uint16_t port, uint8_t *data, bool write)
{
    unsigned which = port == 0x4d1 || (port & ~1u) == 0xa0 ? 1 : 0;
    struct pic_chip *s = &vm->irqchip->pic.chip[which];

    if ((port & ~1u) != 0x20 && (port & ~1u) != 0xa0 && (port & ~1u) != 0x4d0) {
        return false;
    }
    (void)pthread_mutex_lock(&vm->irq_lock);
    if ((port & ~1u) == 0x4d0) {
        if (write) {
            s->elcr = *data & s->elcr_mask;
        } else {
            *data = s->elcr;
        }
    } else if (!write) {
        *data = read_chip(vm, which, (port & 1) != 0);
    } else if ((port & 1) != 0) {
        write_data(vm, which, *data);
    } else {
        write_command(vm, which, *data);
    }
    pic_update_locked(vm);
    (void)pthread_mutex_unlock(&vm->irq_lock);
    return true;
}
