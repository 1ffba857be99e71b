/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i440fx.c - the 82441FX host bridge. Its attribute registers (PAM) and SMRAM control keep what the
 * firmware writes; memory below 1 MiB is RAM at all times, with the ROM's copy in it after a reset,
 * and there is no system-management mode.
 */
#include "base/bytes.h"
#include "vmm/bus/pci/pci.h"

enum { PAM = 0x59, SMRAM = 0x72 };

static int i440fx_init(struct pci_dev *pd, struct err **err)
{
    struct iobus *pio = &pd->dev.m->pio;
    int r = iobus_add(pio, 0xcf8, 4, &pci_cf8_io, pd, "pci-conf-idx", err);

    memset(pd->wmask + PAM, 0x33, 7);
    pd->wmask[PAM] = 0x30;
    pd->wmask[SMRAM] = 0x7a;
    pd->config[SMRAM] = 2;
    return r == 0 ? iobus_add(pio, 0xcfc, 4, &pci_cfc_io, pd, "pci-conf-data", err) : r;
}

static void i440fx_reset(struct pci_dev *pd)
{
    memset(pd->config + PAM, 0, 7);
    pd->config[SMRAM] = 2;
    pd->dev.m->pci_address = 0;
}

static const struct pci_class i440fx_pci = {
    .vendor = PCI_VENDOR_INTEL,
    .device = 0x1237,
    .class_code = 0x060000,
    .revision = 2,
    .no_hotplug = true,
    .init = i440fx_init,
    .reset = i440fx_reset,
};

const struct device_class i440fx_class = {
    .name = "i440FX",
    .desc = "Host bridge",
    .size = sizeof(struct pci_dev),
    .internal = true,
    .pci = &i440fx_pci,
    PCI_DEVICE_CALLBACKS,
};
