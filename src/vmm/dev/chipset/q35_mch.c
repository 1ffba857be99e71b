/* SPDX-License-Identifier: GPL-2.0-or-later */
/* q35_mch.c - the Q35 host bridge: as i440fx.c, and PCIEXBAR, where configuration space lies in
 * memory. */
#include "base/bytes.h"
#include "vmm/bus/pci/pci.h"

enum { PCIEXBAR = 0x60, PAM = 0x90, SMRAM = 0x9d };

struct mch {
    struct pci_dev pd;
    uint64_t ecam_at; /* 0: not mapped */
};

static void update_ecam(struct mch *h)
{
    struct iobus *mmio = &h->pd.dev.m->mmio;
    uint64_t v = le64_get(h->pd.config + PCIEXBAR);
    uint64_t len = (v >> 1 & 3) == 0 ? 256 << 20 : (v >> 1 & 3) == 1 ? 128 << 20 : 64 << 20;
    uint64_t at = (v & 1) != 0 ? v & ~(len - 1) & ((1ull << 36) - 1) : 0;

    if (at == h->ecam_at) {
        return;
    }
    if (h->ecam_at != 0) {
        iobus_remove_at(mmio, h->ecam_at, h);
    }
    h->ecam_at =
        at != 0 && iobus_add(mmio, at, len, &pci_ecam_io, h, "pcie-mmcfg", NULL) == 0 ? at : 0;
}

static void mch_config_written(struct pci_dev *pd, unsigned off, unsigned size)
{
    if (off < PCIEXBAR + 8 && off + size > PCIEXBAR) {
        update_ecam((struct mch *)pd);
    }
}

static int mch_init(struct pci_dev *pd, struct err **err)
{
    struct iobus *pio = &pd->dev.m->pio;
    int r = iobus_add(pio, 0xcf8, 4, &pci_cf8_io, pd, "pci-conf-idx", err);

    le64_put(pd->wmask + PCIEXBAR, 0xffc000007ull);
    le32_put(pd->wmask + PCIEXBAR, 0xfc000007u);
    memset(pd->wmask + PAM, 0x33, 7);
    pd->wmask[PAM] = 0x30;
    pd->wmask[SMRAM] = 0x7a;
    return r == 0 ? iobus_add(pio, 0xcfc, 4, &pci_cfc_io, pd, "pci-conf-data", err) : r;
}

static void mch_reset(struct pci_dev *pd)
{
    le64_put(pd->config + PCIEXBAR, 0xb0000000);
    memset(pd->config + PAM, 0, 7);
    pd->config[SMRAM] = 2;
    pd->dev.m->pci_address = 0;
    update_ecam((struct mch *)pd);
}

static int mch_post_load(struct device *dev, struct err **err)
{
    (void)err;
    update_ecam((struct mch *)dev);
    return 0;
}

static const struct pci_class mch_pci = {
    .vendor = PCI_VENDOR_INTEL,
    .device = 0x29c0,
    .class_code = 0x060000,
    .no_hotplug = true,
    .init = mch_init,
    .reset = mch_reset,
    .config_written = mch_config_written,
};

const struct device_class mch_class = {
    .name = "mch",
    .desc = "Host bridge",
    .size = sizeof(struct mch),
    .internal = true,
    .pci = &mch_pci,
    .post_load = mch_post_load,
    PCI_DEVICE_CALLBACKS,
};
