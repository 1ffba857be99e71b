/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * piix4_pm.c - the 82371AB's power management function: ACPI registers at the base that firmware
 * chooses (register 0x40, enabled by 0x80), general-purpose events at 0xafe0, the SMI command port,
 * and an SMBus host without anything on its bus.
 */
#include "base/bytes.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/chipset/acpi_pm.h"
#include "vmm/dev/chipset/smbus.h"

enum {
    PMBA = 0x40,
    DEVACTB_HIGH = 0x5b, /* bit 1: SMI on APM, which tells firmware that SMM is set up already */
    PMREGMISC = 0x80,
    SMBBA = 0x90,
    SMBHSTCFG = 0xd2,
    PM_BYTES = 64,
    SMB_BYTES = 64,
    GPE_PORT = 0xafe0,
    SCI = 9,
    ACPI_ENABLE = 0xf1,
    ACPI_DISABLE = 0xf0,
};

struct piix4_pm {
    struct pci_dev pd;
    bool disable_s3, disable_s4;
    bool hotplug_bridge;
    uint32_t smb_io_base;
    struct acpi_pm pm;
    struct smbus smb;
    uint8_t apm[2];
    uint32_t pm_at, smb_at; /* 0: not mapped */
};

static const struct opt piix4_opts[] = {
    OPT_BOOL(struct piix4_pm, disable_s3, "disable_s3", "off", "no suspend to RAM"),
    OPT_BOOL(struct piix4_pm, disable_s4, "disable_s4", "off", "no suspend to disk"),
    OPT_BOOL(struct piix4_pm, hotplug_bridge, "acpi-pci-hotplug-with-bridge-support", "on",
             "accepted"),
    OPT_U32(struct piix4_pm, smb_io_base, "smb_io_base", "45312", "accepted"),
    OPT_END,
};

static uint64_t pm_read(void *dev, uint64_t off, unsigned size)
{
    return acpi_pm_read(&((struct piix4_pm *)dev)->pm, off, size);
}

static void pm_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    acpi_pm_write(&((struct piix4_pm *)dev)->pm, off, value, size);
}

static uint64_t gpe_read(void *dev, uint64_t off, unsigned size)
{
    return acpi_pm_gpe_read(&((struct piix4_pm *)dev)->pm, off, size);
}

static void gpe_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    acpi_pm_gpe_write(&((struct piix4_pm *)dev)->pm, off, value, size);
}

static uint64_t apm_read(void *dev, uint64_t off, unsigned size)
{
    (void)size;
    return ((struct piix4_pm *)dev)->apm[off];
}

static void apm_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct piix4_pm *p = dev;

    (void)size;
    p->apm[off] = (uint8_t)value;
    if (off == 0 && (value == ACPI_ENABLE || value == ACPI_DISABLE)) {
        acpi_pm_enable(&p->pm, value == ACPI_ENABLE);
    }
}

static uint64_t smb_read(void *dev, uint64_t off, unsigned size)
{
    (void)size;
    return smbus_read(&((struct piix4_pm *)dev)->smb, off);
}

static void smb_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    (void)size;
    smbus_write(&((struct piix4_pm *)dev)->smb, off, (uint8_t)value);
}

static const struct io_ops pm_io = { .read = pm_read, .write = pm_write, .max_size = 4 };
static const struct io_ops gpe_io = { .read = gpe_read, .write = gpe_write, .max_size = 4 };
static const struct io_ops apm_io = { .read = apm_read, .write = apm_write, .max_size = 1 };
static const struct io_ops smb_io = { .read = smb_read, .write = smb_write, .max_size = 1 };

static void remap(struct piix4_pm *p, uint32_t *at, uint32_t want, uint32_t len,
                  const struct io_ops *ops, const char *name)
{
    struct iobus *pio = &p->pd.dev.m->pio;

    if (*at == want) {
        return;
    }
    if (*at != 0) {
        iobus_remove_at(pio, *at, p);
    }
    *at = want != 0 && iobus_add(pio, want, len, ops, p, name, NULL) == 0 ? want : 0;
}

static void update_bases(struct piix4_pm *p)
{
    const uint8_t *c = p->pd.config;

    remap(p, &p->pm_at, (c[PMREGMISC] & 1) != 0 ? le32_get(c + PMBA) & 0xffc0 : 0, PM_BYTES, &pm_io,
          "piix4-pm");
    remap(p, &p->smb_at, (c[SMBHSTCFG] & 1) != 0 ? le32_get(c + SMBBA) & 0xffc0 : 0, SMB_BYTES,
          &smb_io, "piix4-smb");
}

static void piix4_config_written(struct pci_dev *pd, unsigned off, unsigned size)
{
    (void)off;
    (void)size;
    update_bases((struct piix4_pm *)pd);
}

static int piix4_init(struct pci_dev *pd, struct err **err)
{
    struct piix4_pm *p = (struct piix4_pm *)pd;
    struct iobus *pio = &pd->dev.m->pio;
    int r;

    acpi_pm_init(&p->pm, pd->dev.m, SCI, 2);
    p->pm.s3_off = p->disable_s3;
    p->pm.s4_off = p->disable_s4;
    le32_put(pd->config + PMBA, 1);
    le32_put(pd->wmask + PMBA, 0xffc0);
    le32_put(pd->config + SMBBA, 1);
    le32_put(pd->wmask + SMBBA, 0xffc0);
    memset(pd->wmask + 0x54, 0xff, 12);
    pd->wmask[PMREGMISC] = 1;
    pd->wmask[SMBHSTCFG] = 0xff;
    r = iobus_add(pio, GPE_PORT, 4, &gpe_io, p, "acpi-gpe0", err);
    return r == 0 ? iobus_add(pio, PM_SMI_CMD, 2, &apm_io, p, "apm", err) : r;
}

static void piix4_reset(struct pci_dev *pd)
{
    struct piix4_pm *p = (struct piix4_pm *)pd;

    acpi_pm_reset(&p->pm);
    le32_put(pd->config + PMBA, 1);
    le32_put(pd->config + SMBBA, 1);
    pd->config[PMREGMISC] = 0;
    pd->config[SMBHSTCFG] = 0;
    pd->config[DEVACTB_HIGH] = 2;
    p->apm[0] = p->apm[1] = 0;
    smbus_reset(&p->smb);
    update_bases(p);
}

static void piix4_done(struct pci_dev *pd)
{
    acpi_pm_done(&((struct piix4_pm *)pd)->pm);
}

static int piix4_post_load(struct device *dev, struct err **err)
{
    (void)err;
    update_bases((struct piix4_pm *)dev);
    return 0;
}

static const struct pci_class piix4_pci = {
    .vendor = PCI_VENDOR_INTEL,
    .device = 0x7113,
    .class_code = 0x068000,
    .revision = 3,
    .pin = 1,
    .no_hotplug = true,
    .init = piix4_init,
    .done = piix4_done,
    .reset = piix4_reset,
    .config_written = piix4_config_written,
};

static const struct state_field piix4_fields[] = {
    FIELD(struct piix4_pm, pm.status),     FIELD(struct piix4_pm, pm.enable),
    FIELD(struct piix4_pm, pm.control),    FIELD(struct piix4_pm, pm.gpe_status),
    FIELD(struct piix4_pm, pm.gpe_enable), FIELD(struct piix4_pm, smb),
    FIELD(struct piix4_pm, apm),           FIELD_END,
};

const struct device_class piix4_pm_class = {
    .name = "PIIX4_PM",
    .desc = "PM",
    .opts = piix4_opts,
    .size = sizeof(struct piix4_pm),
    .internal = true,
    .pci = &piix4_pci,
    .fields = piix4_fields,
    .post_load = piix4_post_load,
    PCI_DEVICE_CALLBACKS,
};
