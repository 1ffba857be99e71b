/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ich9_smb.c - the ICH9's SMBus function. */
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/chipset/smbus.h"

struct smb {
    struct pci_dev pd;
    struct smbus bus;
};

static uint64_t smb_read(void *dev, uint64_t off, unsigned size)
{
    (void)size;
    return smbus_read(&((struct smb *)dev)->bus, off);
}

static void smb_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    (void)size;
    smbus_write(&((struct smb *)dev)->bus, off, (uint8_t)value);
}

static const struct io_ops smb_io = { .read = smb_read, .write = smb_write, .max_size = 1 };

static int smb_init(struct pci_dev *pd, struct err **err)
{
    (void)err;
    pd->wmask[0x40] = 0xff; /* host configuration */
    pci_add_bar_io(pd, 4, PCI_BAR_IO, 64, &smb_io, pd, "ich9-smb");
    return 0;
}

static void smb_reset(struct pci_dev *pd)
{
    smbus_reset(&((struct smb *)pd)->bus);
}

static const struct pci_class smb_pci = {
    .vendor = PCI_VENDOR_INTEL,
    .device = 0x2930,
    .class_code = 0x0c0500,
    .revision = 2,
    .pin = 1,
    .no_hotplug = true,
    .init = smb_init,
    .reset = smb_reset,
};

static const struct state_field smb_fields[] = { FIELD(struct smb, bus), FIELD_END };

const struct device_class ich9_smb_class = {
    .name = "ICH9-SMB",
    .desc = "ICH9 SMBUS Bridge",
    .size = sizeof(struct smb),
    .internal = true,
    .pci = &smb_pci,
    .fields = smb_fields,
    PCI_DEVICE_CALLBACKS,
};
