/* SPDX-License-Identifier: GPL-2.0-or-later */
/* msi.c - message-signalled interrupts: MSI (PCI 3.0, 6.8.1) with 64-bit addresses and masks off,
 * and MSI-X (6.8.2) with its table and pending bits. */
#include "vmm/bus/pci/pci.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

enum {
    MSI_FLAGS = 2,
    MSI_ADDRESS = 4,
    MSI_DATA = 12,
    MSI_ENABLE = 1,
    MSI_64BIT = 1 << 7,
    MSIX_FLAGS = 2,
    MSIX_ENABLE = 1 << 15,
    MSIX_MASK_ALL = 1 << 14,
    ENTRY = 16,
    ENTRY_MASKED = 1,
};

void pci_add_msi(struct pci_dev *pd, unsigned vectors)
{
    unsigned log = 0;
    unsigned off = pci_add_capability(pd, PCI_CAP_MSI, 14);

    while (1u << log < vectors) {
        log++;
    }
    pd->msi_cap = off;
    le16_put(pd->config + off + MSI_FLAGS, (uint16_t)(MSI_64BIT | log << 1));
    le16_put(pd->wmask + off + MSI_FLAGS, MSI_ENABLE | 7 << 4);
    le32_put(pd->wmask + off + MSI_ADDRESS, 0xfffffffc);
    le32_put(pd->wmask + off + MSI_ADDRESS + 4, 0xffffffff);
    le16_put(pd->wmask + off + MSI_DATA, 0xffff);
}

bool pci_msi_enabled(const struct pci_dev *pd)
{
    return pd->msi_cap != 0 && (pd->config[pd->msi_cap + MSI_FLAGS] & MSI_ENABLE) != 0;
}

void pci_msi_send(struct pci_dev *pd, unsigned vector)
{
    const uint8_t *cap = pd->config + pd->msi_cap;
    unsigned granted = 1u << (cap[MSI_FLAGS] >> 4 & 7);
    uint32_t data = le16_get(cap + MSI_DATA);

    if ((le16_get(pd->config + PCI_COMMAND) & PCI_COMMAND_MASTER) == 0) {
        return;
    }
    data = (data & ~(granted - 1)) | (vector < granted ? vector : 0);
    machine_send_msi(pd->dev.m, le64_get(cap + MSI_ADDRESS), data);
}

bool pci_msix_enabled(const struct pci_dev *pd)
{
    return pd->msix_cap != 0 &&
           (le16_get(pd->config + pd->msix_cap + MSIX_FLAGS) & MSIX_ENABLE) != 0;
}

void pci_msix_send(struct pci_dev *pd, unsigned vector)
{
    const uint8_t *entry;
    uint16_t flags = le16_get(pd->config + pd->msix_cap + MSIX_FLAGS);

    if (vector >= pd->msix_n || (flags & MSIX_ENABLE) == 0) {
        return;
    }
    entry = pd->msix_table + (size_t)vector * ENTRY;
    if ((flags & MSIX_MASK_ALL) != 0 || (entry[12] & ENTRY_MASKED) != 0) {
        pd->msix_pba[vector / 8] |= (uint8_t)(1u << vector % 8);
        return;
    }
    pd->msix_pba[vector / 8] &= (uint8_t) ~(1u << vector % 8);
    machine_send_msi(pd->dev.m, le64_get(entry), le32_get(entry + 8));
}

uint64_t pci_msix_read(struct pci_dev *pd, uint64_t off, unsigned size)
{
    uint64_t v = 0;
    uint32_t table = le32_get(pd->config + pd->msix_cap + 4) & ~7u;
    uint32_t pba = le32_get(pd->config + pd->msix_cap + 8) & ~7u;
    size_t pba_bytes = (size_t)(pd->msix_n + 63) / 64 * 8;

    if (off >= table && range_within(off - table, size, (uint64_t)pd->msix_n * ENTRY)) {
        memcpy(&v, pd->msix_table + (off - table), size);
    } else if (off >= pba && range_within(off - pba, size, pba_bytes)) {
        memcpy(&v, pd->msix_pba + (off - pba), size);
    }
    return v;
}

void pci_msix_write(struct pci_dev *pd, uint64_t off, uint64_t value, unsigned size)
{
    uint32_t table = le32_get(pd->config + pd->msix_cap + 4) & ~7u;
    unsigned vector;

    if (off < table || !range_within(off - table, size, (uint64_t)pd->msix_n * ENTRY)) {
        return;
    }
    off -= table;
    memcpy(pd->msix_table + off, &value, size);
    vector = (unsigned)(off / ENTRY);
    if ((pd->msix_table[vector * ENTRY + 12] & ENTRY_MASKED) == 0 &&
        (pd->msix_pba[vector / 8] & 1u << vector % 8) != 0) {
        pci_msix_send(pd, vector);
    }
}

static uint64_t table_read(void *dev, uint64_t off, unsigned size)
{
    return pci_msix_read(dev, off, size);
}

static void table_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    pci_msix_write(dev, off, value, size);
}

static const struct io_ops table_io = { .read = table_read, .write = table_write, .max_size = 8 };

int pci_add_msix_at(struct pci_dev *pd, unsigned n, unsigned vectors, uint32_t table, uint32_t pba,
                    struct err **err)
{
    unsigned off;

    if (vectors == 0 || vectors > PCI_MAX_VECTORS) {
        return err_set(err, EINVAL, "%u interrupt vectors: 1 to %d are possible", vectors,
                       PCI_MAX_VECTORS);
    }
    pd->msix_table = calloc(vectors, ENTRY);
    pd->msix_pba = calloc((vectors + 63) / 64, 8);
    if (pd->msix_table == NULL || pd->msix_pba == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    off = pci_add_capability(pd, PCI_CAP_MSIX, 12);
    pd->msix_cap = off;
    pd->msix_n = vectors;
    le16_put(pd->config + off + MSIX_FLAGS, (uint16_t)(vectors - 1));
    le16_put(pd->wmask + off + MSIX_FLAGS, MSIX_ENABLE | MSIX_MASK_ALL);
    le32_put(pd->config + off + 4, table | n);
    le32_put(pd->config + off + 8, pba | n);
    for (unsigned i = 0; i < vectors; i++) {
        pd->msix_table[i * ENTRY + 12] = ENTRY_MASKED;
    }
    return 0;
}

int pci_add_msix(struct pci_dev *pd, unsigned n, unsigned vectors, struct err **err)
{
    uint64_t half = 2048;
    int r;

    while (half < (uint64_t)vectors * ENTRY) {
        half *= 2;
    }
    r = pci_add_msix_at(pd, n, vectors, 0, (uint32_t)half, err);
    if (r == 0) {
        pci_add_bar_io(pd, n, PCI_BAR_MEM32, half * 2, &table_io, pd, "msix");
    }
    return r;
}
