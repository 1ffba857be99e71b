/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ged.c - ACPI's generic event device (ACPI 6.4, 5.6.9) with the sleep and reset registers of a
 * hardware-reduced machine (4.8.3.7).
 */
#include "vmm/dev/misc/ged.h"

#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"

struct ged {
    struct device dev;
    uint64_t gpa;
    uint32_t gsi;
    struct irq irq;
    uint8_t events;
};

static const struct opt ged_opts[] = {
    OPT_U64(struct ged, gpa, "addr", NULL, "address of the registers"),
    OPT_U32(struct ged, gsi, "gsi", NULL, "interrupt"),
    OPT_END,
};

static uint64_t ged_read(void *dev, uint64_t off, unsigned size)
{
    struct ged *g = dev;
    uint8_t events = g->events;

    (void)size;
    if (off != GED_EVENTS) {
        return 0;
    }
    g->events = 0;
    return events;
}

static void ged_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct ged *g = dev;

    (void)size;
    if (off == GED_SLEEP_CONTROL && (value & GED_SLEEP_ENABLE) != 0 &&
        ((value >> 2) & 7) == GED_SLEEP_S5) {
        machine_request_shutdown(g->dev.m, CAUSE_GUEST_SHUTDOWN);
    } else if (off == GED_RESET && value == GED_RESET_VALUE) {
        machine_request_reset(g->dev.m, CAUSE_GUEST_RESET);
    }
}

static const struct io_ops ged_io = { .read = ged_read, .write = ged_write, .max_size = 1 };

static void press_power(void *arg)
{
    struct ged *g = arg;

    g->events |= GED_POWER_BUTTON;
    irq_set(&g->irq, 1);
    irq_set(&g->irq, 0);
}

static int ged_realize(struct device *dev, struct err **err)
{
    struct ged *g = (struct ged *)dev;

    g->irq = machine_irq(dev->m, g->gsi);
    dev->m->powerdown = press_power;
    dev->m->powerdown_arg = g;
    return iobus_add(&dev->m->mmio, g->gpa, GED_BYTES, &ged_io, dev, "ged", err);
}

static void ged_reset(struct device *dev)
{
    ((struct ged *)dev)->events = 0;
}

static void ged_destroy(struct device *dev)
{
    if (dev->m->powerdown_arg == dev) {
        dev->m->powerdown = NULL;
        dev->m->powerdown_arg = NULL;
    }
}

const struct device_class ged_class = {
    .name = "acpi-ged",
    .bus = "System",
    .desc = "ACPI generic event device",
    .opts = ged_opts,
    .size = sizeof(struct ged),
    .internal = true,
    .realize = ged_realize,
    .reset = ged_reset,
    .destroy = ged_destroy,
};
