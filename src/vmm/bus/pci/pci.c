/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pci.c - functions: their place, configuration space, BARs and pins.
 *
 * A BAR is mapped where the guest puts it while its decoding is on; one that overlaps something
 * else, or is in no sensible place, stays unmapped (as when a guest sizes it with decoding on).
 */
#include "vmm/bus/pci/pci.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/str.h"
#include "os/fd.h"
#include "vmm/fw/romfile.h"
#include "vmm/machine/class.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { ROM_MAX = 4 << 20, CAPS_FROM = 0x40, PCI_ROM_ENABLE = 1, MAX_SLOT = 31 };

const struct opt pci_opts[] = {
    OPT_STR(struct pci_dev, opt_addr, "addr", NULL, "slot and function, as 5 or 5.1"),
    OPT_STR(struct pci_dev, opt_bus, "bus", NULL, "bus, as pci.0"),
    OPT_STR(struct pci_dev, opt_romfile, "romfile", NULL, "option ROM; empty: none"),
    OPT_BOOL(struct pci_dev, opt_multifunction, "multifunction", "off", "slot has more functions"),
    OPT_U32(struct pci_dev, opt_rombar, "rombar", "1", "0: no option ROM"),
    OPT_END,
};

/* ---- pins ---- */

/* Brings the wire to what the class wants and the command register allows. */
static void update_wire(struct pci_dev *pd)
{
    struct pci_bus *bus = pd->bus;
    unsigned pin = pd->config[PCI_INTERRUPT_PIN];
    unsigned slot = pd->devfn >> 3;
    bool level = pd->intx && (le16_get(pd->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) == 0;
    unsigned pirq;

    if (pd->wire == level || pin == 0) {
        return;
    }
    pd->wire = level;
    pin--;
    /* Bridges turn the pins by the slot (PCI bridges 1.2, 9.1). */
    while (bus->bridge != NULL) {
        pin = (pin + slot) & 3;
        slot = bus->bridge->devfn >> 3;
        bus = bus->bridge->bus;
    }
    if (bus->map_pin != NULL) {
        pirq = bus->map_pin(bus->irq_arg, slot, pin) & 7;
        bus->pirq_count[pirq] += level ? 1u : -1u;
        bus->set_pirq(bus->irq_arg, pirq, bus->pirq_count[pirq] != 0);
    }
}

void pci_set_intx(struct pci_dev *pd, bool level)
{
    if (pd->intx == level || pd->bus == NULL) {
        return;
    }
    pd->intx = level;
    pd->config[PCI_STATUS] = (uint8_t)((pd->config[PCI_STATUS] & ~PCI_STATUS_INTERRUPT) |
                                       (level ? PCI_STATUS_INTERRUPT : 0));
    update_wire(pd);
}

/* ---- configuration space ---- */

static unsigned bar_offset(const struct pci_dev *pd, unsigned n)
{
    if (n == PCI_ROM_BAR) {
        return pd->dev.cls->pci->bridge ? PCI_BRIDGE_ROM : PCI_ROM;
    }
    return PCI_BAR0 + n * 4;
}

uint32_t pci_config_read(struct pci_dev *pd, unsigned off, unsigned size)
{
    uint32_t v = 0;

    if (off + size > pd->config_size) {
        return size == 4 ? UINT32_MAX : (1u << (size * 8)) - 1;
    }
    memcpy(&v, pd->config + off, size);
    return v;
}

void pci_config_write(struct pci_dev *pd, unsigned off, uint32_t value, unsigned size)
{
    const struct pci_class *cls = pd->dev.cls->pci;

    if (off + size > pd->config_size) {
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        uint8_t v = (uint8_t)(value >> (i * 8));
        uint8_t w = pd->wmask[off + i];

        pd->config[off + i] = (uint8_t)((pd->config[off + i] & ~w) | (v & w));
        pd->config[off + i] &= (uint8_t) ~(v & pd->w1cmask[off + i]);
    }
    pci_update_bars(pd);
    update_wire(pd);
    if (cls->config_written != NULL) {
        cls->config_written(pd, off, size);
    }
}

/* ---- BARs ---- */

static void bar_unmap(struct pci_dev *pd, struct pci_bar *bar)
{
    struct machine *m = pd->dev.m;

    if (bar->at == PCI_UNMAPPED) {
        return;
    }
    if (bar->host != NULL) {
        machine_unmap_memory(m, bar->slot);
    } else {
        iobus_remove_at(bar->kind == PCI_BAR_IO ? &m->pio : &m->mmio, bar->at, bar->arg);
    }
    bar->at = PCI_UNMAPPED;
}

static void bar_map(struct pci_dev *pd, struct pci_bar *bar, uint64_t at)
{
    struct machine *m = pd->dev.m;
    int r;

    if (bar->host != NULL) {
        r = machine_map_memory(m, at, bar->mapped_size, bar->host, bar->read_only, &bar->slot);
    } else {
        r = iobus_add(bar->kind == PCI_BAR_IO ? &m->pio : &m->mmio, at, bar->size, bar->ops,
                      bar->arg, bar->name, NULL);
    }
    TRACE(pci_bar_map, "%s %s at 0x%llx size 0x%llx: %d", pd->dev.cls->name,
          bar->name != NULL ? bar->name : "memory", (unsigned long long)at,
          (unsigned long long)bar->size, r);
    if (r == 0) {
        bar->at = at;
    }
}

static uint64_t bar_address(const struct pci_dev *pd, unsigned n)
{
    const struct pci_bar *bar = &pd->bars[n];
    const uint8_t *p = pd->config + bar_offset(pd, n);
    uint16_t command = le16_get(pd->config + PCI_COMMAND);
    uint64_t at = le32_get(p);

    if (bar->kind == PCI_BAR_IO) {
        at &= ~3ull;
        return (command & PCI_COMMAND_IO) != 0 && at != 0 && at + bar->size <= 0x10000
                   ? at
                   : PCI_UNMAPPED;
    }
    if ((command & PCI_COMMAND_MEMORY) == 0 || (n == PCI_ROM_BAR && (at & PCI_ROM_ENABLE) == 0)) {
        return PCI_UNMAPPED;
    }
    if (bar->kind == PCI_BAR_MEM64) {
        at |= (uint64_t)le32_get(p + 4) << 32;
    }
    at &= ~(bar->size - 1);
    if (at == 0 || at + bar->size - 1 < at || at + bar->size >= 1ull << 52 ||
        (bar->kind == PCI_BAR_MEM32 && at + bar->size > 0xfffff000u)) {
        return PCI_UNMAPPED;
    }
    return at;
}

void pci_update_bars(struct pci_dev *pd)
{
    for (unsigned n = 0; n < PCI_N_BARS; n++) {
        struct pci_bar *bar = &pd->bars[n];
        uint64_t at = bar->kind != PCI_BAR_NONE ? bar_address(pd, n) : PCI_UNMAPPED;

        /* One that was refused is tried again only when the guest moves it. */
        if (bar->kind == PCI_BAR_NONE || at == bar->wanted) {
            continue;
        }
        bar->wanted = at;
        bar_unmap(pd, bar);
        if (at != PCI_UNMAPPED) {
            bar_map(pd, bar, at);
        }
    }
}

static struct pci_bar *bar_set(struct pci_dev *pd, unsigned n, enum pci_bar_kind kind,
                               uint64_t size)
{
    struct pci_bar *bar = &pd->bars[n];
    uint8_t *c = pd->config + bar_offset(pd, n);
    uint8_t *w = pd->wmask + bar_offset(pd, n);
    uint64_t mask = ~(size - 1);

    assert((size & (size - 1)) == 0 && size >= 4);
    bar->kind = kind;
    bar->size = size;
    bar->at = bar->wanted = PCI_UNMAPPED;
    if (n == PCI_ROM_BAR) {
        le32_put(w, (uint32_t)mask | PCI_ROM_ENABLE);
        return bar;
    }
    le32_put(w, (uint32_t)mask);
    le32_put(c, kind == PCI_BAR_IO ? 1 : kind == PCI_BAR_MEM64 ? 4 : 0);
    if (kind == PCI_BAR_MEM64) {
        le32_put(w + 4, (uint32_t)(mask >> 32));
    }
    return bar;
}

void pci_add_bar_io(struct pci_dev *pd, unsigned n, enum pci_bar_kind kind, uint64_t size,
                    const struct io_ops *ops, void *arg, const char *name)
{
    struct pci_bar *bar = bar_set(pd, n, kind, size);

    bar->ops = ops;
    bar->arg = arg;
    bar->name = name;
}

void pci_add_bar_memory(struct pci_dev *pd, unsigned n, enum pci_bar_kind kind, uint64_t size,
                        uint8_t *host, bool read_only)
{
    struct pci_bar *bar = bar_set(pd, n, kind, size);

    bar->host = host;
    bar->read_only = read_only;
    bar->mapped_size = round_up_u64(size, 4096);
    if (n != PCI_ROM_BAR) {
        bar->prefetch = true;
        pd->config[bar_offset(pd, n)] |= 8;
    }
}

/* ---- capabilities ---- */

unsigned pci_add_capability(struct pci_dev *pd, uint8_t id, unsigned size)
{
    unsigned off = pd->next_cap;

    assert(off + size <= PCI_CONFIG_BYTES);
    pd->config[off] = id;
    pd->config[off + 1] = 0;
    if (pd->last_cap == 0) {
        pd->config[PCI_CAPABILITIES] = (uint8_t)off;
    } else {
        pd->config[pd->last_cap + 1] = (uint8_t)off;
    }
    pd->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    pd->last_cap = off;
    pd->next_cap = (off + size + 3) & ~3u;
    return off;
}

/* (PCI power management 1.2, 3.2): D0 and D3hot. */
void pci_add_power_management(struct pci_dev *pd)
{
    unsigned off = pci_add_capability(pd, PCI_CAP_PM, 8);

    pd->pm_cap = off;
    le16_put(pd->config + off + 2, 3);
    le16_put(pd->wmask + off + 4, 3);
    le16_put(pd->config + off + 4, 8); /* no soft reset */
}

void pci_add_express(struct pci_dev *pd, unsigned type)
{
    unsigned off = pci_add_capability(pd, PCI_CAP_EXPRESS, 0x3c);
    bool port = type == 4;

    pd->exp_cap = off;
    le16_put(pd->config + off + 2, (uint16_t)(2 | type << 4 | (port ? 1 << 8 : 0)));
    le32_put(pd->config + off + 4, 1 << 15); /* role-based error reporting */
    le16_put(pd->wmask + off + 8, 0x7fff & ~(1u << 15));
    le32_put(pd->config + off + 0xc, 1 | 1 << 4); /* 2.5 GT/s, one lane */
    le16_put(pd->wmask + off + 0x10, 0x3);
    le16_put(pd->config + off + 0x12, 1 | 1 << 4);
    if (pd->config_size < PCIE_CONFIG_BYTES) {
        return;
    }
    le16_put(pd->wmask + off + 0x28, 0x3f);
    le16_put(pd->config + off + 0x30, 1);
}

int pci_add_rom(struct pci_dev *pd, const char *file, struct err **err)
{
    AUTO_FREE char *data = NULL;
    size_t len;
    uint64_t size = 2048;
    int r;

    if (pd->opt_rombar == 0 || (pd->opt_romfile != NULL && *pd->opt_romfile == '\0')) {
        return 0;
    }
    r = romfile_read(pd->dev.m, pd->opt_romfile != NULL ? pd->opt_romfile : file, ROM_MAX, &data,
                     &len, err);
    if (r < 0) {
        /* The machine works without; a ROM that the user named is another matter. */
        if (pd->opt_romfile == NULL) {
            if (err != NULL) {
                *err = err_free(*err);
            }
            return 0;
        }
        return r;
    }
    while (size < len) {
        size *= 2;
    }
    pd->rom_size = round_up_u64(size, 4096);
    pd->rom = mmap(NULL, pd->rom_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pd->rom == MAP_FAILED) {
        pd->rom = NULL;
        return err_set(err, ENOMEM, "no memory for an option ROM");
    }
    memcpy(pd->rom, data, len);
    /* The firmware looks for its device's ids in the ROM (PCI firmware 3.0, 5.1.2). */
    if (len > 0x1a && le16_get(pd->rom + 0x18) + 8u <= len) {
        uint8_t *pcir = pd->rom + le16_get(pd->rom + 0x18);
        size_t image = (size_t)pd->rom[2] * 512;

        if (memcmp(pcir, "PCIR", 4) == 0 && image > 6 && image <= len &&
            memcmp(pcir + 4, pd->config, 4) != 0) {
            uint8_t sum = pd->rom[6];

            for (unsigned i = 0; i < 4; i++) {
                sum = (uint8_t)(sum + pcir[4 + i] - pd->config[i]);
            }
            memcpy(pcir + 4, pd->config, 4);
            pd->rom[6] = sum;
        }
    }
    pci_add_bar_memory(pd, PCI_ROM_BAR, PCI_BAR_MEM32, pd->rom_size, pd->rom, true);
    return 0;
}

/* ---- interrupts ---- */

void pci_set_interrupt(struct pci_dev *pd, bool level)
{
    if (pci_msix_enabled(pd)) {
        if (level) {
            pci_msix_send(pd, 0);
        }
    } else if (pci_msi_enabled(pd)) {
        if (level) {
            pci_msi_send(pd, 0);
        }
    } else {
        pci_set_intx(pd, level);
    }
}

/* ---- life ---- */

/* "5", "5.1", hexadecimal as in QEMU, or "0x5.0x1". */
static int parse_addr(const char *text, unsigned *slot, unsigned *fn, struct err **err)
{
    AUTO_FREE char *first = strndup(text, strcspn(text, "."));
    const char *dot = strchr(text, '.');
    uint64_t s = 0;
    uint64_t f = 0;

    if (first == NULL || str_to_u64(first, 16, &s) < 0 ||
        (dot != NULL && str_to_u64(dot + 1, 16, &f) < 0) || s > MAX_SLOT || f > 7) {
        return err_set(err, EINVAL, "addr=%s is no PCI slot: use 0 to 1f, or SLOT.FUNCTION", text);
    }
    *slot = (unsigned)s;
    *fn = (unsigned)f;
    return 0;
}

static int place(struct pci_dev *pd, struct err **err)
{
    struct machine *m = pd->dev.m;
    struct pci_bus *bus = m->pci_root;
    unsigned slot = 0;
    unsigned fn = 0;

    if (bus == NULL) {
        return err_set(err, ENODEV, "machine '%s' has no PCI bus: use '-M q35' or '-M pc'",
                       m->cls->name);
    }
    if (pd->opt_bus != NULL) {
        bus = pci_bus_find(m, pd->opt_bus);
        if (bus == NULL) {
            return err_set(err, ENOENT, "there is no PCI bus '%s'", pd->opt_bus);
        }
    }
    if (pd->opt_addr != NULL) {
        int r = parse_addr(pd->opt_addr, &slot, &fn, err);

        if (r < 0) {
            return r;
        }
        if (bus->one_slot && slot != 0) {
            return err_set(err, EINVAL, "addr=%s: bus '%s' has slot 0 only", pd->opt_addr,
                           bus->name);
        }
        if (bus->devs[PCI_DEVFN(slot, fn)] != NULL) {
            return err_set(err, EBUSY, "slot %02x.%u of bus '%s' is taken by '%s'", slot, fn,
                           bus->name, bus->devs[PCI_DEVFN(slot, fn)]->dev.cls->name);
        }
        if (fn != 0 && bus->devs[PCI_DEVFN(slot, 0)] != NULL &&
            (bus->devs[PCI_DEVFN(slot, 0)]->config[PCI_HEADER_TYPE] & PCI_HEADER_MULTIFUNCTION) ==
                0) {
            return err_set(err, EINVAL,
                           "addr=%s: the device in function 0 of the slot needs multifunction=on",
                           pd->opt_addr);
        }
    } else {
        while (slot <= MAX_SLOT && bus->devs[PCI_DEVFN(slot, 0)] != NULL) {
            slot++;
        }
        if (slot > MAX_SLOT || (bus->one_slot && slot > 0)) {
            return err_set(err, ENOSPC, "bus '%s' has no free slot", bus->name);
        }
    }
    pd->bus = bus;
    pd->devfn = PCI_DEVFN(slot, fn);
    bus->devs[pd->devfn] = pd;
    pd->placed = true;
    return 0;
}

static void default_header(struct pci_dev *pd)
{
    const struct pci_class *cls = pd->dev.cls->pci;
    uint8_t *c = pd->config;

    le16_put(c + PCI_VENDOR_ID, cls->vendor);
    le16_put(c + PCI_DEVICE_ID, cls->device);
    c[PCI_REVISION] = cls->revision;
    c[PCI_CLASS_PROG] = (uint8_t)cls->class_code;
    le16_put(c + PCI_CLASS, (uint16_t)(cls->class_code >> 8));
    c[PCI_HEADER_TYPE] =
        (uint8_t)((cls->bridge ? 1 : 0) | (pd->opt_multifunction ? PCI_HEADER_MULTIFUNCTION : 0));
    if (!cls->bridge) {
        le16_put(c + PCI_SUBSYSTEM_VENDOR_ID,
                 cls->subsystem_vendor != 0 ? cls->subsystem_vendor : PCI_VENDOR_VIRTIO);
        le16_put(c + PCI_SUBSYSTEM_ID, cls->subsystem != 0 ? cls->subsystem : PCI_SUBSYSTEM_QEMU);
    }
    c[PCI_INTERRUPT_PIN] = cls->pin;
    le16_put(pd->wmask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                                          PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
    pd->wmask[PCI_INTERRUPT_LINE] = 0xff;
    pd->wmask[0x0c] = 0xff; /* cache line size */
    pd->wmask[0x0d] = 0xff; /* latency timer */
    pd->w1cmask[PCI_STATUS + 1] = 0xf9;
}

int pci_realize(struct device *dev, struct err **err)
{
    struct pci_dev *pd = (struct pci_dev *)dev;
    const struct pci_class *cls = dev->cls->pci;
    int r;

    for (unsigned n = 0; n < PCI_N_BARS; n++) {
        pd->bars[n].at = pd->bars[n].wanted = PCI_UNMAPPED;
    }
    r = place(pd, err);
    if (r < 0) {
        return r;
    }
    pd->config_size = pd->bus->express ? PCIE_CONFIG_BYTES : PCI_CONFIG_BYTES;
    pd->config = calloc(1, pd->config_size);
    pd->wmask = calloc(1, pd->config_size);
    pd->w1cmask = calloc(1, pd->config_size);
    if (pd->config == NULL || pd->wmask == NULL || pd->w1cmask == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    pd->next_cap = CAPS_FROM;
    default_header(pd);
    r = cls->init != NULL ? cls->init(pd, err) : 0;
    if (r == 0 && cls->express && pd->exp_cap == 0 && pd->bus->express) {
        pci_add_express(pd, pd->bus->bridge != NULL ? 0 : 9);
    }
    if (r == 0 && pd->opt_romfile != NULL && pd->bars[PCI_ROM_BAR].kind == PCI_BAR_NONE) {
        r = pci_add_rom(pd, pd->opt_romfile, err);
    }
    return r;
}

void pci_reset(struct device *dev)
{
    struct pci_dev *pd = (struct pci_dev *)dev;
    const struct pci_class *cls = dev->cls->pci;

    pci_set_intx(pd, false);
    le16_put(pd->config + PCI_COMMAND, 0);
    pd->config[PCI_INTERRUPT_LINE] = 0;
    for (unsigned n = 0; n < PCI_N_BARS; n++) {
        if (pd->bars[n].kind != PCI_BAR_NONE) {
            uint8_t *c = pd->config + bar_offset(pd, n);
            uint8_t *w = pd->wmask + bar_offset(pd, n);

            le32_put(c, le32_get(c) & ~le32_get(w));
            if (pd->bars[n].kind == PCI_BAR_MEM64) {
                le32_put(c + 4, 0);
            }
        }
    }
    if (pd->msi_cap != 0) {
        le16_put(pd->config + pd->msi_cap + 2,
                 (uint16_t)(le16_get(pd->config + pd->msi_cap + 2) & ~0x71u));
    }
    if (pd->msix_cap != 0) {
        pd->config[pd->msix_cap + 3] &= 0x3f;
        memset(pd->msix_pba, 0, (pd->msix_n + 63) / 64 * 8);
        for (unsigned i = 0; i < pd->msix_n; i++) {
            memset(pd->msix_table + i * 16, 0, 16);
            pd->msix_table[i * 16 + 12] = 1;
        }
    }
    if (pd->pm_cap != 0) {
        pd->config[pd->pm_cap + 4] &= 0xfc;
    }
    pci_update_bars(pd);
    if (cls->reset != NULL) {
        cls->reset(pd);
    }
}

void pci_destroy(struct device *dev)
{
    struct pci_dev *pd = (struct pci_dev *)dev;
    const struct pci_class *cls = dev->cls->pci;

    if (pd->config != NULL) {
        pci_set_intx(pd, false);
    }
    for (unsigned n = 0; n < PCI_N_BARS; n++) {
        if (pd->bars[n].kind != PCI_BAR_NONE) {
            bar_unmap(pd, &pd->bars[n]);
        }
    }
    if (cls->done != NULL && pd->config != NULL) {
        cls->done(pd);
    }
    if (pd->placed) {
        pd->bus->devs[pd->devfn] = NULL;
    }
    pd->secondary = pci_bus_free(pd->secondary);
    free(pd->config);
    free(pd->wmask);
    free(pd->w1cmask);
    free(pd->msix_table);
    free(pd->msix_pba);
    if (pd->rom != NULL) {
        (void)munmap(pd->rom, pd->rom_size);
    }
}

/* ---- buses ---- */

int pci_bus_new(struct machine *m, const char *name, struct pci_dev *bridge, bool express,
                struct pci_bus **ret, struct err **err)
{
    CLEANUP(free_memp) struct pci_bus *bus = calloc(1, sizeof(*bus));

    if (bus == NULL || (bus->name = strdup(name)) == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    bus->m = m;
    bus->bridge = bridge;
    bus->express = express;
    list_append(&m->pci_buses, &bus->link);
    *ret = TAKE_PTR(bus);
    return 0;
}

struct pci_bus *pci_bus_free(struct pci_bus *bus)
{
    if (bus != NULL) {
        list_remove(&bus->link);
        free(bus->name);
        free(bus);
    }
    return NULL;
}

struct pci_bus *pci_bus_find(struct machine *m, const char *name)
{
    LIST_FOREACH (&m->pci_buses, it) {
        struct pci_bus *bus = CONTAINER_OF(it, struct pci_bus, link);

        if (str_eq(bus->name, name)) {
            return bus;
        }
    }
    return NULL;
}

unsigned pci_bus_number(const struct pci_bus *bus)
{
    return bus->bridge == NULL ? 0 : bus->bridge->config[PCI_SECONDARY_BUS];
}

struct pci_bus *pci_bus_by_number(struct machine *m, unsigned number)
{
    struct pci_bus *bus = m->pci_root;

    if (bus == NULL || number == 0) {
        return bus;
    }
    LIST_FOREACH (&m->pci_buses, it) {
        struct pci_bus *b = CONTAINER_OF(it, struct pci_bus, link);

        if (b->bridge != NULL && pci_bus_number(b) == number) {
            return b;
        }
    }
    return NULL;
}

struct pci_dev *pci_find(struct machine *m, unsigned number, unsigned devfn)
{
    struct pci_bus *bus = pci_bus_by_number(m, number);

    return bus != NULL ? bus->devs[devfn & 0xff] : NULL;
}
