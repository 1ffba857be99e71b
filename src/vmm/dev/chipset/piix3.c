/* SPDX-License-Identifier: GPL-2.0-or-later */
/* piix3.c - the 82371SB's ISA bridge: which ISA interrupt each PCI pin ends at (PIRQRC registers).
 */
#include "vmm/bus/pci/pci.h"

#include <string.h>

enum { PIRQRC = 0x60, PIRQ_OFF = 0x80, N_PIRQ = 4, N_IRQ = 16 };

struct piix3 {
    struct pci_dev pd;
    bool pirq[N_PIRQ];
    bool line[N_IRQ];
};

static void route(struct piix3 *p)
{
    bool want[N_IRQ] = { false };

    for (unsigned i = 0; i < N_PIRQ; i++) {
        uint8_t irq = p->pd.config[PIRQRC + i];

        if (irq < N_IRQ) {
            want[irq] |= p->pirq[i];
        }
    }
    for (unsigned i = 0; i < N_IRQ; i++) {
        if (want[i] != p->line[i]) {
            struct irq irq = machine_irq(p->pd.dev.m, i);

            p->line[i] = want[i];
            irq_set(&irq, want[i]);
        }
    }
}

static unsigned map_pin(void *arg, unsigned slot, unsigned pin)
{
    (void)arg;
    return (slot + pin - 1) % N_PIRQ;
}

static void set_pirq(void *arg, unsigned pirq, int level)
{
    struct piix3 *p = arg;

    p->pirq[pirq % N_PIRQ] = level != 0;
    route(p);
}

static void piix3_config_written(struct pci_dev *pd, unsigned off, unsigned size)
{
    if (off < PIRQRC + N_PIRQ && off + size > PIRQRC) {
        route((struct piix3 *)pd);
    }
}

static int piix3_init(struct pci_dev *pd, struct err **err)
{
    struct pci_bus *root = pd->bus;

    (void)err;
    memset(pd->wmask + PIRQRC, 0x8f, N_PIRQ);
    pd->wmask[0x4c] = pd->wmask[0x4e] = pd->wmask[0x4f] = pd->wmask[0x69] = 0xff;
    root->map_pin = map_pin;
    root->set_pirq = set_pirq;
    root->irq_arg = pd;
    return 0;
}

static void piix3_reset(struct pci_dev *pd)
{
    memset(pd->config + PIRQRC, PIRQ_OFF, N_PIRQ);
    pd->config[0x4c] = 0x4d;
    pd->config[0x4e] = 3;
    route((struct piix3 *)pd);
}

static void piix3_done(struct pci_dev *pd)
{
    pd->bus->map_pin = NULL;
}

static const struct pci_class piix3_pci = {
    .vendor = PCI_VENDOR_INTEL,
    .device = 0x7000,
    .class_code = 0x060100,
    .no_hotplug = true,
    .init = piix3_init,
    .done = piix3_done,
    .reset = piix3_reset,
    .config_written = piix3_config_written,
};

static const struct state_field piix3_fields[] = {
    FIELD(struct piix3, pirq),
    FIELD(struct piix3, line),
    FIELD_END,
};

const struct device_class piix3_class = {
    .name = "PIIX3",
    .desc = "ISA bridge",
    .size = sizeof(struct piix3),
    .internal = true,
    .pci = &piix3_pci,
    .fields = piix3_fields,
    PCI_DEVICE_CALLBACKS,
};
