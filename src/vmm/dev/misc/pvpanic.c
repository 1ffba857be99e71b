/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic.c - pvpanic (an ISA port, 0x505) and pvpanic-pci: the guest tells that it has crashed.
 * Reading gives what can be told: bit 0 panicked, bit 1 a crash kernel runs.
 */
#include "vmm/bus/pci/pci.h"
#include "vmm/machine/machine.h"

#include <errno.h>

enum { PANICKED = 1, CRASH_LOADED = 2, BAR_BYTES = 16 };

struct pvpanic {
    union {
        struct device dev;
        struct pci_dev pci;
    };
    uint32_t port, events;
};

static const struct opt isa_opts[] = {
    OPT_U32(struct pvpanic, port, "ioport", "0x505", "port"),
    OPT_U32(struct pvpanic, events, "events", "3", "what can be told"),
    OPT_END,
};

static const struct opt pci_opts_[] = {
    OPT_U32(struct pvpanic, events, "events", "3", "what can be told"),
    OPT_END,
};

static uint64_t pvpanic_read(void *dev, uint64_t off, unsigned size)
{
    (void)size;
    return off == 0 ? ((struct pvpanic *)dev)->events : 0;
}

static void pvpanic_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct pvpanic *p = dev;

    (void)size;
    if (off == 0 && (value & PANICKED) != 0) {
        machine_guest_panicked(p->dev.m);
    } else if (off == 0 && (value & CRASH_LOADED) != 0) {
        machine_event(p->dev.m, "GUEST_CRASHLOADED", "{\"action\": \"run\"}");
    }
}

static const struct io_ops pvpanic_io = { .read = pvpanic_read,
                                          .write = pvpanic_write,
                                          .max_size = 1 };

static int isa_realize(struct device *dev, struct err **err)
{
    struct pvpanic *p = (struct pvpanic *)dev;

    return p->port < 0x10000
               ? iobus_add(&dev->m->pio, p->port, 1, &pvpanic_io, dev, "pvpanic", err)
               : err_set(err, EINVAL, "port 0x%x does not exist", p->port);
}

static int pci_init(struct pci_dev *pd, struct err **err)
{
    (void)err;
    pci_add_bar_io(pd, 0, PCI_BAR_MEM32, BAR_BYTES, &pvpanic_io, pd, "pvpanic");
    return 0;
}

const struct device_class pvpanic_class = {
    .name = "pvpanic",
    .bus = "ISA",
    .desc = "tells of the guest's crashes",
    .opts = isa_opts,
    .size = sizeof(struct pvpanic),
    .realize = isa_realize,
};

static const struct pci_class pvpanic_pci = {
    .vendor = PCI_VENDOR_REDHAT,
    .device = 0x0011,
    .class_code = 0x088000,
    .revision = 1,
    .init = pci_init,
};

const struct device_class pvpanic_pci_class = {
    .name = "pvpanic-pci",
    .desc = "tells of the guest's crashes",
    .opts = pci_opts_,
    .size = sizeof(struct pvpanic),
    .pci = &pvpanic_pci,
    PCI_DEVICE_CALLBACKS,
};
