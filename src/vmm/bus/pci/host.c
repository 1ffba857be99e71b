/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.c - how a PC's CPU reaches configuration space: an address at port 0xcf8 and data at 0xcfc
 * (PCI 3.0, 3.2.2.3.2), and PCIe's memory window, one MiB a bus (PCIe 4.0, 7.2.2).
 */
#include "vmm/bus/pci/pci.h"

enum { CONFIG_ENABLE = 1u << 31 };

static uint32_t ones(unsigned size)
{
    return size >= 4 ? UINT32_MAX : (1u << (size * 8)) - 1;
}

static uint32_t bus_read(struct machine *m, unsigned bus, unsigned devfn, unsigned off,
                         unsigned size)
{
    struct pci_dev *pd = pci_find(m, bus, devfn);

    return pd != NULL ? pci_config_read(pd, off, size) : ones(size);
}

static void bus_write(struct machine *m, unsigned bus, unsigned devfn, unsigned off, uint32_t value,
                      unsigned size)
{
    struct pci_dev *pd = pci_find(m, bus, devfn);

    if (pd != NULL) {
        pci_config_write(pd, off, value, size);
    }
}

static uint64_t cf8_read(void *dev, uint64_t off, unsigned size)
{
    const struct machine *m = ((struct device *)dev)->m;

    return size == 4 && off == 0 ? m->pci_address : ones(size);
}

static void cf8_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct machine *m = ((struct device *)dev)->m;

    if (size == 4 && off == 0) {
        m->pci_address = (uint32_t)value;
    } else if (size == 1 && off == 1 && (value & 4) != 0) {
        /* Port 0xcf9, reset control of the south bridges. */
        machine_request_reset(m, CAUSE_GUEST_RESET);
    }
}

static uint64_t cfc_read(void *dev, uint64_t off, unsigned size)
{
    struct machine *m = ((struct device *)dev)->m;
    uint32_t a = m->pci_address;

    if ((a & CONFIG_ENABLE) == 0) {
        return ones(size);
    }
    return bus_read(m, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + (unsigned)off, size);
}

static void cfc_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct machine *m = ((struct device *)dev)->m;
    uint32_t a = m->pci_address;

    if ((a & CONFIG_ENABLE) != 0) {
        bus_write(m, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + (unsigned)off, (uint32_t)value,
                  size);
    }
}

static uint64_t ecam_read(void *dev, uint64_t off, unsigned size)
{
    struct machine *m = ((struct device *)dev)->m;

    return bus_read(m, off >> 20 & 0xff, off >> 12 & 0xff, off & 0xfff, size);
}

static void ecam_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct machine *m = ((struct device *)dev)->m;

    bus_write(m, off >> 20 & 0xff, off >> 12 & 0xff, off & 0xfff, (uint32_t)value, size);
}

const struct io_ops pci_cf8_io = { .read = cf8_read, .write = cf8_write, .max_size = 4 };
const struct io_ops pci_cfc_io = { .read = cfc_read, .write = cfc_write, .max_size = 4 };
const struct io_ops pci_ecam_io = { .read = ecam_read, .write = ecam_write, .max_size = 4 };
