/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ioapic.c - the I/O APIC (Intel 82093AA data sheet): 24 pins, each with a redirection entry that
 * turns a line into a message to local APICs.
 */
#include "base/bytes.h"
#include "engine/irqchip/irqchip.h"

enum {
    REG_SELECT = 0x00,
    REG_WINDOW = 0x10,
    REG_EOI = 0x40,
    VERSION = 0x20, /* with an EOI register */
};
#define REDIR_VECTOR     0xffull
#define REDIR_MODE(e)    ((unsigned)((e) >> 8) & 7)
#define REDIR_LOGICAL    (1ull << 11)
#define REDIR_PENDING    (1ull << 12)
#define REDIR_REMOTE_IRR (1ull << 14)
#define REDIR_LEVEL      (1ull << 15)
#define REDIR_MASK       (1ull << 16)
#define REDIR_DEST(e)    ((uint32_t)((e) >> 56))
#define REDIR_READONLY   (REDIR_PENDING | REDIR_REMOTE_IRR)

void ioapic_reset(struct ioapic *io)
{
    memset(io, 0, sizeof(*io));
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        io->redir[i] = REDIR_MASK;
    }
}

/* Sends pin's message if its line and entry say so. */
static int service(struct vm *vm, unsigned pin)
{
    struct ioapic *io = &vm->irqchip->ioapic;
    uint64_t e = io->redir[pin];
    struct irq_message m = { .dest = REDIR_DEST(e),
                             .logical = (e & REDIR_LOGICAL) != 0,
                             .mode = (uint8_t)REDIR_MODE(e),
                             .vector = (uint8_t)(e & REDIR_VECTOR),
                             .level_trigger = (e & REDIR_LEVEL) != 0 };
    int r;

    if ((io->irr & (1u << pin)) == 0 || (e & REDIR_MASK) != 0) {
        return -1;
    }
    if (m.level_trigger && (e & REDIR_REMOTE_IRR) != 0) {
        return 0;
    }
    r = lapic_deliver(vm, &m, NULL);
    if (!m.level_trigger) {
        io->irr &= ~(1u << pin);
    } else if (r > 0) {
        io->redir[pin] |= REDIR_REMOTE_IRR;
    }
    return r;
}

int ioapic_set_locked(struct vm *vm, unsigned pin, bool level)
{
    struct ioapic *io = &vm->irqchip->ioapic;
    uint32_t bit = 1u << pin;
    bool edge = (io->redir[pin] & REDIR_LEVEL) == 0;

    if (!level) {
        if (!edge) {
            io->irr &= ~bit;
        }
        return 1;
    }
    if (edge) {
        /* The caller reports rising edges only; while masked they are lost (82093AA, 3.2.4). */
        if ((io->redir[pin] & REDIR_MASK) != 0) {
            return -1;
        }
    }
    io->irr |= bit;
    return service(vm, pin);
}

void ioapic_refresh_locked(struct vm *vm)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        (void)service(vm, pin);
    }
}

void ioapic_eoi(struct vm *vm, uint8_t vector)
{
    struct ioapic *io;

    (void)pthread_mutex_lock(&vm->irq_lock);
    io = &vm->irqchip->ioapic;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        if ((io->redir[pin] & REDIR_VECTOR) != vector || (io->redir[pin] & REDIR_LEVEL) == 0) {
            continue;
        }
        io->redir[pin] &= ~REDIR_REMOTE_IRR;
        vm_irqfd_resample(vm, pin);
        (void)service(vm, pin);
    }
    (void)pthread_mutex_unlock(&vm->irq_lock);
}

static uint32_t read_register(const struct ioapic *io)
{
    unsigned pin = (io->select - 0x10) / 2;

    switch (io->select) {
    case 0:
    case 2: /* arbitration ID follows the ID */
        return io->id << 24;
    case 1:
        return VERSION | (IOAPIC_PINS - 1) << 16;
    default:
        if (io->select < 0x10 || pin >= IOAPIC_PINS) {
            return UINT32_MAX;
        }
        return (uint32_t)(io->redir[pin] >> ((io->select & 1) * 32));
    }
}

static void write_redirection(struct vm *vm, uint32_t val)
{
    struct ioapic *io = &vm->irqchip->ioapic;
    unsigned pin = (io->select - 0x10) / 2;
    uint64_t old;
    uint64_t e;

    if (io->select < 0x10 || pin >= IOAPIC_PINS) {
        return;
    }
    old = io->redir[pin];
    if ((io->select & 1) != 0) {
        e = (old & UINT32_MAX) | (uint64_t)val << 32;
    } else {
        e = (old & ~(uint64_t)UINT32_MAX) | (val & ~(uint32_t)REDIR_READONLY) |
            (old & REDIR_READONLY);
    }
    if ((e & REDIR_LEVEL) == 0) {
        e &= ~REDIR_REMOTE_IRR;
    }
    io->redir[pin] = e;
    if ((e & REDIR_LEVEL) != 0) {
        (void)service(vm, pin);
    }
}

static void write_register(struct vm *vm, uint32_t val)
{
    struct ioapic *io = &vm->irqchip->ioapic;

    if (io->select == 0) {
        io->id = (val >> 24) & 0xf;
    } else {
        write_redirection(vm, val);
    }
}

bool ioapic_mmio(struct vm *vm, uint64_t gpa, uint8_t *data, unsigned len, bool write)
{
    uint8_t word[8] = { 0 };
    unsigned reg = (unsigned)(gpa - IOAPIC_BASE) & 0xff;

    if (gpa < IOAPIC_BASE || gpa >= IOAPIC_BASE + IOAPIC_BYTES) {
        return false;
    }
    if (write) {
        memcpy(word, data, len < sizeof(word) ? len : sizeof(word));
    }
    if (write && reg == REG_EOI) {
        ioapic_eoi(vm, word[0]);
        return true;
    }
    (void)pthread_mutex_lock(&vm->irq_lock);
    if (write && reg == REG_SELECT) {
        vm->irqchip->ioapic.select = word[0];
    } else if (write && reg == REG_WINDOW) {
        write_register(vm, le32_get(word));
    } else if (!write) {
        uint32_t v = reg == REG_SELECT   ? vm->irqchip->ioapic.select
                     : reg == REG_WINDOW ? read_register(&vm->irqchip->ioapic)
                                         : 0;

        le32_put(word, v);
        memcpy(data, word, len < sizeof(word) ? len : sizeof(word));
    }
    (void)pthread_mutex_unlock(&vm->irq_lock);
    return true;
}
