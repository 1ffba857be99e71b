/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ich9_lpc.c - the ICH9's LPC bridge (Intel document 316972): interrupt routing, ACPI registers at
 * PMBASE, the root complex's registers (RCBA), the SMI command port.
 *
 * PCI pins of slots 0 to 24 go to PIRQE-H, those of the chipset's slots 25 to 31 to PIRQA-D as the
 * root complex registers say. PIRQ n is IOAPIC pin 16+n, and an ISA interrupt as well where the
 * routing registers say so.
 */
#include "base/bytes.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/chipset/acpi_pm.h"

enum {
    PMBASE = 0x40,
    ACPI_CTRL = 0x44,
    ACPI_EN = 0x80,
    PIRQA = 0x60,
    PIRQE = 0x68,
    PIRQ_OFF = 0x80,
    RCBA = 0xf0,
    RCBA_BYTES = 0x4000,
    D31IR = 0x3140, /* down to D25IR at 0x3150 */
    N_PIRQ = 8,
    N_IRQ = 16,
    PM_BYTES = 128,
    PM_GPE = 0x20,
    PM_SMI_EN = 0x30,
    SMI_APMC_EN = 1 << 5, /* set: firmware takes SMM for set up and leaves it alone */
    TCO = 0x60,
    SCI = 9,
};

struct lpc {
    struct pci_dev pd;
    bool disable_s3, disable_s4, noreboot, hotplug, smi_negotiated;
    struct acpi_pm pm;
    bool pirq[N_PIRQ];
    bool line[N_IRQ];
    uint8_t apm[2];
    uint32_t smi_en;
    uint8_t rcba[RCBA_BYTES];
    uint32_t pm_at, rcba_at; /* 0: not mapped */
};

static const struct opt lpc_opts[] = {
    OPT_BOOL(struct lpc, disable_s3, "disable_s3", "off", "no suspend to RAM"),
    OPT_BOOL(struct lpc, disable_s4, "disable_s4", "off", "no suspend to disk"),
    OPT_BOOL(struct lpc, noreboot, "noreboot", "on", "accepted"),
    OPT_BOOL(struct lpc, hotplug, "acpi-pci-hotplug-with-bridge-support", "on", "accepted"),
    OPT_END,
};

static void route(struct lpc *l)
{
    bool want[N_IRQ] = { false };

    for (unsigned i = 0; i < N_PIRQ; i++) {
        uint8_t irq = l->pd.config[(i < 4 ? PIRQA : PIRQE - 4) + i];

        if (irq < N_IRQ) {
            want[irq] |= l->pirq[i];
        }
    }
    for (unsigned i = 0; i < N_IRQ; i++) {
        if (want[i] != l->line[i]) {
            struct irq irq = machine_irq(l->pd.dev.m, i);

            l->line[i] = want[i];
            irq_set(&irq, want[i]);
        }
    }
}

static unsigned map_pin(void *arg, unsigned slot, unsigned pin)
{
    struct lpc *l = arg;

    if (slot < 25) {
        return (slot + pin) % 4 + 4;
    }
    return le16_get(l->rcba + D31IR + (31 - slot) * 4) >> (pin * 4) & 7;
}

static void set_pirq(void *arg, unsigned pirq, int level)
{
    struct lpc *l = arg;
    struct irq irq = machine_irq(l->pd.dev.m, 16 + pirq);

    l->pirq[pirq] = level != 0;
    irq_set(&irq, level);
    route(l);
}

static uint64_t pm_read(void *dev, uint64_t off, unsigned size)
{
    struct lpc *l = dev;

    if (off >= PM_GPE && off < PM_SMI_EN) {
        return acpi_pm_gpe_read(&l->pm, off - PM_GPE, size);
    }
    if (off == PM_SMI_EN) {
        return l->smi_en;
    }
    return off < PM_GPE ? acpi_pm_read(&l->pm, off, size) : 0;
}

static void pm_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct lpc *l = dev;

    if (off >= PM_GPE && off < PM_SMI_EN) {
        acpi_pm_gpe_write(&l->pm, off - PM_GPE, value, size);
    } else if (off == PM_SMI_EN && size == 4) {
        l->smi_en = (uint32_t)value;
    } else if (off < PM_GPE) {
        acpi_pm_write(&l->pm, off, value, size);
    }
}

static uint64_t apm_read(void *dev, uint64_t off, unsigned size)
{
    (void)size;
    return ((struct lpc *)dev)->apm[off];
}

static void apm_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct lpc *l = dev;

    (void)size;
    l->apm[off] = (uint8_t)value;
    if (off == 0 && (value == PM_ACPI_ENABLE || value == PM_ACPI_DISABLE)) {
        acpi_pm_enable(&l->pm, value == PM_ACPI_ENABLE);
    }
}

static uint64_t rcba_read(void *dev, uint64_t off, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, ((struct lpc *)dev)->rcba + off, size);
    return v;
}

static void rcba_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    memcpy(((struct lpc *)dev)->rcba + off, &value, size);
}

static const struct io_ops pm_io = { .read = pm_read, .write = pm_write, .max_size = 4 };
static const struct io_ops apm_io = { .read = apm_read, .write = apm_write, .max_size = 1 };
static const struct io_ops rcba_io = { .read = rcba_read, .write = rcba_write, .max_size = 4 };

static void update_bases(struct lpc *l)
{
    struct machine *m = l->pd.dev.m;
    const uint8_t *c = l->pd.config;
    uint32_t pm = (c[ACPI_CTRL] & ACPI_EN) != 0 ? le32_get(c + PMBASE) & 0xff80 : 0;
    uint32_t rcba = (c[RCBA] & 1) != 0 ? le32_get(c + RCBA) & 0xffffc000 : 0;

    if (pm != l->pm_at) {
        if (l->pm_at != 0) {
            iobus_remove_at(&m->pio, l->pm_at, l);
        }
        l->pm_at =
            pm != 0 && iobus_add(&m->pio, pm, PM_BYTES, &pm_io, l, "ich9-pm", NULL) == 0 ? pm : 0;
    }
    if (rcba != l->rcba_at) {
        if (l->rcba_at != 0) {
            iobus_remove_at(&m->mmio, l->rcba_at, l);
        }
        l->rcba_at =
            rcba != 0 && iobus_add(&m->mmio, rcba, RCBA_BYTES, &rcba_io, l, "rcba", NULL) == 0
                ? rcba
                : 0;
    }
}

static void lpc_config_written(struct pci_dev *pd, unsigned off, unsigned size)
{
    (void)off;
    (void)size;
    update_bases((struct lpc *)pd);
    route((struct lpc *)pd);
}

static int lpc_init(struct pci_dev *pd, struct err **err)
{
    struct lpc *l = (struct lpc *)pd;
    struct pci_bus *root = pd->bus;

    acpi_pm_init(&l->pm, pd->dev.m, SCI, 8);
    l->pm.s3_off = l->disable_s3;
    l->pm.s4_off = l->disable_s4;
    le32_put(pd->wmask + PMBASE, 0xff80);
    pd->wmask[ACPI_CTRL] = 0x87;
    memset(pd->wmask + PIRQA, 0x8f, 4);
    memset(pd->wmask + PIRQE, 0x8f, 4);
    le32_put(pd->wmask + RCBA, 0xffffc001);
    root->map_pin = map_pin;
    root->set_pirq = set_pirq;
    root->irq_arg = pd;
    return iobus_add(&pd->dev.m->pio, PM_SMI_CMD, 2, &apm_io, l, "apm", err);
}

static void lpc_reset(struct pci_dev *pd)
{
    struct lpc *l = (struct lpc *)pd;

    acpi_pm_reset(&l->pm);
    l->smi_en = SMI_APMC_EN;
    l->apm[0] = l->apm[1] = 0;
    le32_put(pd->config + PMBASE, 1);
    pd->config[ACPI_CTRL] = 0;
    memset(pd->config + PIRQA, PIRQ_OFF, 4);
    memset(pd->config + PIRQE, PIRQ_OFF, 4);
    le32_put(pd->config + RCBA, 0);
    memset(l->rcba, 0, sizeof(l->rcba));
    for (unsigned slot = 25; slot < 32; slot++) {
        le16_put(l->rcba + D31IR + (31 - slot) * 4, 0x3210);
    }
    update_bases(l);
    route(l);
}

static void lpc_done(struct pci_dev *pd)
{
    acpi_pm_done(&((struct lpc *)pd)->pm);
    pd->bus->map_pin = NULL;
}

static int lpc_post_load(struct device *dev, struct err **err)
{
    (void)err;
    update_bases((struct lpc *)dev);
    return 0;
}

static const struct pci_class lpc_pci = {
    .vendor = PCI_VENDOR_INTEL,
    .device = 0x2918,
    .class_code = 0x060100,
    .revision = 2,
    .no_hotplug = true,
    .init = lpc_init,
    .done = lpc_done,
    .reset = lpc_reset,
    .config_written = lpc_config_written,
};

static const struct state_field lpc_fields[] = {
    FIELD(struct lpc, pm.status),
    FIELD(struct lpc, pm.enable),
    FIELD(struct lpc, pm.control),
    FIELD(struct lpc, pm.gpe_status),
    FIELD(struct lpc, pm.gpe_enable),
    FIELD(struct lpc, pirq),
    FIELD(struct lpc, line),
    FIELD(struct lpc, apm),
    FIELD(struct lpc, smi_en),
    FIELD(struct lpc, rcba),
    FIELD_END,
};

const struct device_class ich9_lpc_class = {
    .name = "ICH9-LPC",
    .desc = "ICH9 LPC bridge",
    .opts = lpc_opts,
    .size = sizeof(struct lpc),
    .internal = true,
    .pci = &lpc_pci,
    .fields = lpc_fields,
    .post_load = lpc_post_load,
    PCI_DEVICE_CALLBACKS,
};
