/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi_hotplug.c - hot-plug of pc's root bus by ACPI: registers at 0xae00 that say which slots have
 * come (0) and are to go (4), and the one that ejects (8); general-purpose event 1 tells the guest
 * to look. fw/acpi_pc_dsdt.c has the other half.
 */
#include "vmm/bus/pci/hotplug.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/chipset/acpi_pm.h"
#include "vmm/fw/acpi_pc.h"

#include <errno.h>

enum { R_UP = 0, R_DOWN = 4, R_EJECT = 8, R_REMOVABLE = 12, BYTES = 16, GPE_BIT = 1 };

struct acpi_hotplug {
    struct device dev;
    uint32_t up, down;
};

static uint64_t hotplug_read(void *dev, uint64_t off, unsigned size)
{
    struct acpi_hotplug *h = dev;
    uint32_t v = 0;

    (void)size;
    switch (off) {
    case R_UP:
        v = h->up;
        h->up = 0; /* told once */
        break;
    case R_DOWN:
        v = h->down;
        break;
    case R_REMOVABLE:
        v = UINT32_MAX;
        break;
    default:
        break;
    }
    return v;
}

static void hotplug_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct acpi_hotplug *h = dev;

    (void)size;
    if (off != R_EJECT) {
        return;
    }
    for (unsigned slot = 0; slot < 32; slot++) {
        if ((value >> slot & 1) == 0) {
            continue;
        }
        h->down &= ~(1u << slot);
        for (unsigned fn = 8; fn-- > 0;) {
            struct pci_dev *pd = h->dev.m->pci_root->devs[PCI_DEVFN(slot, fn)];

            if (pd != NULL && !pd->dev.cls->pci->no_hotplug) {
                pci_unplug_soon(pd);
            }
        }
    }
}

static const struct io_ops hotplug_io = { .read = hotplug_read,
                                          .write = hotplug_write,
                                          .max_size = 4 };

void acpi_hotplug_plugged(struct machine *m, unsigned slot)
{
    if (m->acpi_hotplug != NULL && m->pm != NULL) {
        ((struct acpi_hotplug *)m->acpi_hotplug)->up |= 1u << slot;
        acpi_pm_gpe_raise(m->pm, GPE_BIT);
    }
}

int acpi_hotplug_ask_unplug(struct machine *m, unsigned slot, struct err **err)
{
    if (m->acpi_hotplug == NULL || m->pm == NULL) {
        return err_set(err, EINVAL, "Bus '%s' does not support hotplugging", m->pci_root->name);
    }
    ((struct acpi_hotplug *)m->acpi_hotplug)->down |= 1u << slot;
    acpi_pm_gpe_raise(m->pm, GPE_BIT);
    return 0;
}

static int hotplug_realize(struct device *dev, struct err **err)
{
    dev->m->acpi_hotplug = dev;
    return iobus_add(&dev->m->pio, ACPI_PC_HOTPLUG_PORT, BYTES, &hotplug_io, dev,
                     "acpi-pci-hotplug", err);
}

/* A reset lets go what was asked to go, as the machine starts without. */
static void hotplug_reset(struct device *dev)
{
    struct acpi_hotplug *h = (struct acpi_hotplug *)dev;

    for (unsigned devfn = 256; devfn-- > 0;) {
        struct pci_dev *pd = dev->m->pci_root->devs[devfn];

        if (pd != NULL && pd->unplug_asked) {
            pci_unplug_soon(pd);
        }
    }
    h->up = h->down = 0;
}

static void hotplug_destroy(struct device *dev)
{
    dev->m->acpi_hotplug = NULL;
}

static const struct state_field hotplug_fields[] = { FIELD(struct acpi_hotplug, up),
                                                     FIELD(struct acpi_hotplug, down), FIELD_END };

const struct device_class acpi_hotplug_class = {
    .name = "acpi-pci-hotplug",
    .bus = "System",
    .desc = "hot-plug registers",
    .size = sizeof(struct acpi_hotplug),
    .internal = true,
    .realize = hotplug_realize,
    .reset = hotplug_reset,
    .destroy = hotplug_destroy,
    .fields = hotplug_fields,
};
