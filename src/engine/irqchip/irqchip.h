/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * irqchip.h - the in-kernel interrupt controllers: two 8259 PICs, the IOAPIC, the PIT, the GSI
 * routing table, and one local APIC a vCPU.
 *
 * PIC, IOAPIC, PIT and routing are protected by vm->irq_lock; functions that expect it held end in
 * _locked. A local APIC belongs to its vCPU's thread; other threads only set bits in its IRR and
 * event word, which are atomic, and then wake the vCPU.
 */
#pragma once

#include "engine/api/iothread.h"
#include "engine/api/vcpu.h"

enum { GSI_COUNT = 4096, ISA_PINS = 16, IOAPIC_PINS = 24, APIC_REG_BYTES = 1024 };

struct pic_chip {
    uint8_t last_irr, irr, imr, isr;
    uint8_t priority_add, irq_base;
    uint8_t read_reg_select, poll, special_mask, init_state;
    uint8_t auto_eoi, rotate_on_auto_eoi, special_fully_nested, init4;
    uint8_t elcr, elcr_mask;
};

struct pic {
    struct pic_chip chip[2];
    atomic_bool output;
};

struct ioapic {
    uint64_t redir[IOAPIC_PINS];
    uint32_t irr; /* lines that are, or were, asserted and not yet delivered */
    uint32_t id;
    uint32_t select;
};

struct pit_channel {
    uint32_t count; /* 1 to 65536 */
    uint16_t latched_count;
    uint8_t count_latched, status_latched, status;
    uint8_t read_state, write_state, write_latch, rw_mode, mode, bcd, gate;
    uint64_t load_nsec;
};

struct pit {
    struct pit_channel ch[3];
    uint32_t flags; /* KVM_PIT_FLAGS_ */
    bool speaker_on;
    struct io_timer *timer; /* owned */
    bool present;
};

struct irq_route {
    uint8_t type;    /* KVM_IRQ_ROUTING_; 0: free */
    bool ioapic_too; /* the same GSI also goes to an IOAPIC pin */
    uint8_t pic_pin, ioapic_pin;
    uint64_t msi_addr;
    uint32_t msi_data;
};

struct irqchip {
    struct vm *vm; /* borrowed */
    bool split;    /* PIC and IOAPIC are the client's */
    struct pic pic;
    struct ioapic ioapic;
    struct pit pit;
    struct irq_route route[GSI_COUNT];
    /* Level of each GSI by source (client, resample irqfd ...), wired-OR. */
    uint8_t level[GSI_COUNT];
};

enum irq_source { IRQ_SOURCE_CLIENT = 1, IRQ_SOURCE_PIT = 2, IRQ_SOURCE_IRQFD = 4 };

/* routing.c */
int irqchip_create(void *vm, void *unused);
int irqchip_enable_split(struct vm *vm, unsigned pins);
void irqchip_free(struct irqchip *chip);
int irqchip_set_routing(void *vm, void *arg);
int irqchip_irq_line(void *vm, void *arg);
int irqchip_irq_line_status(void *vm, void *arg);
int irqchip_signal_msi(void *vm, void *arg);
int irqchip_get(void *vm, void *arg);
int irqchip_set(void *vm, void *arg);
/* Drives a GSI. >0: delivered, 0: coalesced, <0: masked or no route. */
int irqchip_set_gsi(struct vm *vm, unsigned gsi, enum irq_source source, bool level);
/* One edge through the routing table (irqfd). */
void irqchip_pulse_gsi(struct vm *vm, unsigned gsi);
int irqchip_set_gsi_locked(struct vm *vm, unsigned gsi, enum irq_source source, bool level);

/* pic.c */
void pic_reset(struct pic *pic);
void pic_set_locked(struct vm *vm, unsigned pin, bool level);
int pic_ack(struct vm *vm);
bool pic_io(struct vm *vm, uint16_t port, uint8_t *data, bool write);
void pic_update_locked(struct vm *vm);

/* ioapic.c */
enum { IOAPIC_BASE = 0xfec00000u, IOAPIC_BYTES = 0x100 };
void ioapic_reset(struct ioapic *io);
int ioapic_set_locked(struct vm *vm, unsigned pin, bool level);
void ioapic_eoi(struct vm *vm, uint8_t vector);
bool ioapic_mmio(struct vm *vm, uint64_t gpa, uint8_t *data, unsigned len, bool write);
void ioapic_refresh_locked(struct vm *vm);

/* pit.c */
int pit_create(void *vm, void *config);
int pit_create_legacy(void *vm, void *unused);
int pit_get(void *vm, void *arg);
int pit_set(void *vm, void *arg);
int pit_reinject(void *vm, void *arg);
bool pit_io(struct vm *vm, uint16_t port, uint8_t *data, bool write);
void pit_free(struct pit *pit);

/* lapic.c */
enum {
    APIC_DM_FIXED,
    APIC_DM_LOWEST,
    APIC_DM_SMI,
    APIC_DM_NMI = 4,
    APIC_DM_INIT,
    APIC_DM_SIPI,
    APIC_DM_EXTINT
};
struct irq_message {
    uint32_t dest;
    bool logical;
    bool dest_x2apic; /* 32-bit destination, 0xffffffff broadcasts */
    uint8_t mode;
    uint8_t vector;
    bool level_trigger;
};
struct lapic *lapic_new(struct vcpu *vcpu);
struct lapic *lapic_free(struct lapic *apic);
void lapic_reset(struct lapic *apic, bool init);
/* To every matching APIC; >0 when one took it. Any thread. */
int lapic_deliver(struct vm *vm, const struct irq_message *m, struct lapic *except);
int lapic_deliver_msi(struct vm *vm, uint64_t addr, uint32_t data);
bool lapic_mmio(struct cpu *cpu, uint64_t gpa, uint8_t *data, unsigned len, bool write);
bool lapic_accepts_pic(struct lapic *apic);
/* Can this vCPU leave HLT? Owner thread. */
bool lapic_has_wakeup(struct lapic *apic);
int lapic_get_state(void *vcpu, void *arg);
int lapic_set_state(void *vcpu, void *arg);
void lapic_inject_nmi(struct lapic *apic);
/* LINT0 and LINT1 as KVM_NMI drives them. */
bool lapic_is_bsp(const struct lapic *apic);
