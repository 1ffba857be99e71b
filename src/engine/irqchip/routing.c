/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * routing.c - from a GSI to PIC pins, IOAPIC pins or MSIs (KVM api.rst, KVM_SET_GSI_ROUTING), and
 * the requests about the interrupt controllers as a whole.
 */
#include "engine/irqchip/irqchip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Until the client sets a table: 0-15 to both controllers, 16-23 to the IOAPIC. */
static void default_routes(struct irqchip *chip)
{
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        chip->route[i] = (struct irq_route) { .type = KVM_IRQ_ROUTING_IRQCHIP,
                                              .pic_pin = i < ISA_PINS ? (uint8_t)i : 0xff,
                                              .ioapic_pin = (uint8_t)i,
                                              .ioapic_too = true };
    }
}

static int create(struct vm *vm, bool split)
{
    struct irqchip *chip;

    if (vm->irqchip != NULL) {
        return -EEXIST;
    }
    if (vm->n_vcpus != 0) {
        return -EINVAL;
    }
    if (vm->io == NULL) {
        vm->io = iothread_new();
    }
    chip = vm->io != NULL ? calloc(1, sizeof(*chip)) : NULL;
    if (chip == NULL) {
        return -ENOMEM;
    }
    chip->vm = vm;
    chip->split = split;
    pic_reset(&chip->pic);
    ioapic_reset(&chip->ioapic);
    if (!split) {
        default_routes(chip);
    }
    vm->irqchip = chip;
    return 0;
}

int irqchip_create(void *object, void *unused)
{
    struct vm *vm = object;
    int r;

    (void)unused;
    (void)pthread_mutex_lock(&vm->lock);
    r = create(vm, false);
    (void)pthread_mutex_unlock(&vm->lock);
    return r;
}

int irqchip_enable_split(struct vm *vm, unsigned pins)
{
    int r;

    if (pins > 1024) {
        return -EINVAL;
    }
    (void)pthread_mutex_lock(&vm->lock);
    r = create(vm, true);
    (void)pthread_mutex_unlock(&vm->lock);
    return r;
}

void irqchip_free(struct irqchip *chip)
{
    if (chip != NULL) {
        pit_free(&chip->pit);
        free(chip);
    }
}

/* ---- delivery ---- */

int irqchip_set_gsi_locked(struct vm *vm, unsigned gsi, enum irq_source source, bool level)
{
    struct irqchip *chip = vm->irqchip;
    const struct irq_route *route;
    uint8_t was;
    int r = -1;

    if (gsi >= GSI_COUNT) {
        return -1;
    }
    route = &chip->route[gsi];
    if (route->type == KVM_IRQ_ROUTING_MSI) {
        return level ? lapic_deliver_msi(vm, route->msi_addr, route->msi_data) : 0;
    }
    was = chip->level[gsi];
    chip->level[gsi] = level ? was | (uint8_t)source : was & (uint8_t)~source;
    if ((was != 0) == (chip->level[gsi] != 0)) {
        return 0;
    }
    if (route->type != KVM_IRQ_ROUTING_IRQCHIP) {
        return -1;
    }
    if (route->pic_pin != 0xff) {
        pic_set_locked(vm, route->pic_pin, level);
        r = 1;
    }
    if (route->ioapic_too) {
        int one = ioapic_set_locked(vm, route->ioapic_pin, level);

        r = one > r ? one : r;
    }
    return r;
}

int irqchip_set_gsi(struct vm *vm, unsigned gsi, enum irq_source source, bool level)
{
    int r;

    (void)pthread_mutex_lock(&vm->irq_lock);
    r = irqchip_set_gsi_locked(vm, gsi, source, level);
    (void)pthread_mutex_unlock(&vm->irq_lock);
    return r;
}

void irqchip_pulse_gsi(struct vm *vm, unsigned gsi)
{
    (void)pthread_mutex_lock(&vm->irq_lock);
    (void)irqchip_set_gsi_locked(vm, gsi, IRQ_SOURCE_IRQFD, true);
    if (gsi < GSI_COUNT && vm->irqchip->route[gsi].type != KVM_IRQ_ROUTING_MSI) {
        (void)irqchip_set_gsi_locked(vm, gsi, IRQ_SOURCE_IRQFD, false);
    }
    (void)pthread_mutex_unlock(&vm->irq_lock);
}

int irqchip_irq_line_status(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_irq_level *level = arg;

    if (vm->irqchip == NULL) {
        return -ENXIO;
    }
    level->status = irqchip_set_gsi(vm, level->irq, IRQ_SOURCE_CLIENT, level->level != 0);
    return 0;
}

int irqchip_irq_line(void *object, void *arg)
{
    struct kvm_irq_level level;

    memcpy(&level, arg, sizeof(level)); /* the plain form does not write back */
    return irqchip_irq_line_status(object, &level);
}

int irqchip_signal_msi(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_msi msi;

    memcpy(&msi, arg, sizeof(msi));
    if (vm->irqchip == NULL || msi.flags != 0) {
        return -EINVAL;
    }
    return lapic_deliver_msi(vm, (uint64_t)msi.address_hi << 32 | msi.address_lo, msi.data) > 0 ? 1
                                                                                                : 0;
}

/* ---- the table ---- */

static int add_route(struct irq_route *table, const struct kvm_irq_routing_entry *e, bool split)
{
    struct irq_route *route;

    if (e->gsi >= GSI_COUNT) {
        return -EINVAL;
    }
    route = &table[e->gsi];
    if (e->type == KVM_IRQ_ROUTING_MSI) {
        *route = (struct irq_route) { .type = KVM_IRQ_ROUTING_MSI,
                                      .pic_pin = 0xff,
                                      .msi_addr =
                                          (uint64_t)e->u.msi.address_hi << 32 | e->u.msi.address_lo,
                                      .msi_data = e->u.msi.data };
        return 0;
    }
    if (e->type == KVM_IRQ_ROUTING_HV_SINT) {
        return -EINVAL;
    }
    if (e->type != KVM_IRQ_ROUTING_IRQCHIP || split) {
        return -EINVAL;
    }
    if (route->type != KVM_IRQ_ROUTING_IRQCHIP) {
        *route = (struct irq_route) { .type = KVM_IRQ_ROUTING_IRQCHIP, .pic_pin = 0xff };
    }
    switch (e->u.irqchip.irqchip) {
    case KVM_IRQCHIP_PIC_MASTER:
    case KVM_IRQCHIP_PIC_SLAVE:
        if (e->u.irqchip.pin >= 8) {
            return -EINVAL;
        }
        route->pic_pin =
            (uint8_t)(e->u.irqchip.pin + (e->u.irqchip.irqchip == KVM_IRQCHIP_PIC_SLAVE ? 8 : 0));
        return 0;
    case KVM_IRQCHIP_IOAPIC:
        if (e->u.irqchip.pin >= IOAPIC_PINS) {
            return -EINVAL;
        }
        route->ioapic_pin = (uint8_t)e->u.irqchip.pin;
        route->ioapic_too = true;
        return 0;
    default:
        return -EINVAL;
    }
}

int irqchip_set_routing(void *object, void *arg)
{
    struct vm *vm = object;
    const struct kvm_irq_routing *in = arg;
    struct irq_route *table;
    int r = 0;

    if (vm->irqchip == NULL || in->nr > GSI_COUNT || in->flags != 0) {
        return -EINVAL;
    }
    table = calloc(GSI_COUNT, sizeof(*table));
    if (table == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < in->nr && r == 0; i++) {
        r = add_route(table, &in->entries[i], vm->irqchip->split);
    }
    if (r == 0) {
        (void)pthread_mutex_lock(&vm->irq_lock);
        memcpy(vm->irqchip->route, table, sizeof(vm->irqchip->route));
        (void)pthread_mutex_unlock(&vm->irq_lock);
    }
    free(table);
    return r;
}

/* ---- KVM_GET_IRQCHIP, KVM_SET_IRQCHIP ---- */

static void pic_export(const struct pic_chip *s, struct kvm_pic_state *out)
{
    *out = (struct kvm_pic_state) {
        .last_irr = s->last_irr,
        .irr = s->irr,
        .imr = s->imr,
        .isr = s->isr,
        .priority_add = s->priority_add,
        .irq_base = s->irq_base,
        .read_reg_select = s->read_reg_select,
        .poll = s->poll,
        .special_mask = s->special_mask,
        .init_state = s->init_state,
        .auto_eoi = s->auto_eoi,
        .rotate_on_auto_eoi = s->rotate_on_auto_eoi,
        .special_fully_nested_mode = s->special_fully_nested,
        .init4 = s->init4,
        .elcr = s->elcr,
        .elcr_mask = s->elcr_mask,
    };
}

static void pic_import(struct pic_chip *s, const struct kvm_pic_state *in)
{
    *s = (struct pic_chip) {
        .last_irr = in->last_irr,
        .irr = in->irr,
        .imr = in->imr,
        .isr = in->isr,
        .priority_add = in->priority_add & 7,
        .irq_base = in->irq_base,
        .read_reg_select = in->read_reg_select,
        .poll = in->poll,
        .special_mask = in->special_mask,
        .init_state = in->init_state & 3,
        .auto_eoi = in->auto_eoi,
        .rotate_on_auto_eoi = in->rotate_on_auto_eoi,
        .special_fully_nested = in->special_fully_nested_mode,
        .init4 = in->init4,
        .elcr = in->elcr,
        .elcr_mask = in->elcr_mask,
    };
}

int irqchip_get(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_irqchip *out = arg;
    int r = 0;

    if (vm->irqchip == NULL || vm->irqchip->split) {
        return -ENXIO;
    }
    (void)pthread_mutex_lock(&vm->irq_lock);
    switch (out->chip_id) {
    case KVM_IRQCHIP_PIC_MASTER:
    case KVM_IRQCHIP_PIC_SLAVE:
        pic_export(&vm->irqchip->pic.chip[out->chip_id], &out->chip.pic);
        break;
    case KVM_IRQCHIP_IOAPIC:
        memset(&out->chip.ioapic, 0, sizeof(out->chip.ioapic));
        out->chip.ioapic.base_address = IOAPIC_BASE;
        out->chip.ioapic.ioregsel = vm->irqchip->ioapic.select;
        out->chip.ioapic.id = vm->irqchip->ioapic.id;
        out->chip.ioapic.irr = vm->irqchip->ioapic.irr;
        for (unsigned i = 0; i < IOAPIC_PINS; i++) {
            out->chip.ioapic.redirtbl[i].bits = vm->irqchip->ioapic.redir[i];
        }
        break;
    default:
        r = -EINVAL;
        break;
    }
    (void)pthread_mutex_unlock(&vm->irq_lock);
    return r;
}

int irqchip_set(void *object, void *arg)
{
    struct vm *vm = object;
    const struct kvm_irqchip *in = arg;
    int r = 0;

    if (vm->irqchip == NULL || vm->irqchip->split) {
        return -ENXIO;
    }
    (void)pthread_mutex_lock(&vm->irq_lock);
    switch (in->chip_id) {
    case KVM_IRQCHIP_PIC_MASTER:
    case KVM_IRQCHIP_PIC_SLAVE:
        pic_import(&vm->irqchip->pic.chip[in->chip_id], &in->chip.pic);
        pic_update_locked(vm);
        break;
    case KVM_IRQCHIP_IOAPIC:
        vm->irqchip->ioapic.select = in->chip.ioapic.ioregsel & 0xff;
        vm->irqchip->ioapic.id = in->chip.ioapic.id & 0xf;
        vm->irqchip->ioapic.irr = in->chip.ioapic.irr & ((1u << IOAPIC_PINS) - 1);
        for (unsigned i = 0; i < IOAPIC_PINS; i++) {
            vm->irqchip->ioapic.redir[i] = in->chip.ioapic.redirtbl[i].bits;
        }
        ioapic_refresh_locked(vm);
        break;
    default:
        r = -EINVAL;
        break;
    }
    (void)pthread_mutex_unlock(&vm->irq_lock);
    return r;
}
