/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI devices, driven by random accesses to their BARs while the input lies in memory. The first
 * byte chooses the device; each record of 8 bytes is an access: BAR and direction, size, offset,
 * value. A device may have a prelude that brings it to where it looks at memory.
 */
#include "../tests/vmm/board.h"
#include "base/bytes.h"
#include "vmm/bus/pci/pci.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEM_AT = 0x20000000, BAR_GAP = 0x2000000, IO_AT = 0xc000, IO_GAP = 0x100 };

struct access {
    uint8_t bar;
    uint32_t off, value;
};

struct target {
    const char *devices[4]; /* the first is driven */
    struct access prelude[12];
};

static const struct target targets[] = {
    { { "e1000" }, { { 0, 0x100, 0x8002 }, { 0, 0x400, 2 } } },
    { { "piix3-usb-uhci", "usb-tablet", "usb-kbd" },
      { { 4, 8, 0x1000 }, { 4, 0x10, 4 }, { 4, 0x12, 4 }, { 4, 4, 15 }, { 4, 0, 1 } } },
    { { "qemu-xhci", "usb-tablet", "usb-kbd", "usb-mouse" },
      { { 0, 0x58, 0x1001 }, /* command ring, contexts, event ring, run */
        { 0, 0x5c, 0 },
        { 0, 0x70, 0x2000 },
        { 0, 0x1028, 1 },
        { 0, 0x1030, 0x3000 },
        { 0, 0x1034, 0 },
        { 0, 0x440, 0x210 },
        { 0, 0x40, 5 },
        { 0, 0x2000, 0 } } },
    { { "i6300esb" }, { { 0, 0xc, 0x80 }, { 0, 0xc, 0x86 }, { 0, 0, 1 } } },
    { { "pvpanic-pci" }, { { 0, 0, 1 } } },
    { { "VGA" }, { { 2, 0x500, 0 } } },
};

static void bar_access(struct board *b, struct pci_dev *pd, unsigned n, uint64_t off, bool write,
                       uint32_t value, unsigned width)
{
    const struct pci_bar *bar = &pd->bars[n % PCI_N_BARS];

    if (bar->kind == PCI_BAR_NONE || bar->ops == NULL || bar->at == PCI_UNMAPPED) {
        return;
    }
    if (write) {
        iobus_write(bar->kind == PCI_BAR_IO ? &b->m->pio : &b->m->mmio, bar->at + off % bar->size,
                    value, width);
    } else {
        (void)iobus_read(bar->kind == PCI_BAR_IO ? &b->m->pio : &b->m->mmio,
                         bar->at + off % bar->size, width);
    }
}

static void place_bars(struct pci_dev *pd)
{
    for (unsigned n = 0; n < 6; n++) {
        if (pd->bars[n].kind == PCI_BAR_IO) {
            pci_config_write(pd, PCI_BAR0 + n * 4, IO_AT + n * IO_GAP, 4);
        } else if (pd->bars[n].kind != PCI_BAR_NONE) {
            pci_config_write(pd, PCI_BAR0 + n * 4, MEM_AT + n * BAR_GAP, 4);
        }
    }
    pci_config_write(pd, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct target *t;
    struct device *first;
    struct board b;
    uint8_t *ram;

    if (size < 2) {
        return 0;
    }
    t = &targets[data[0] % (sizeof(targets) / sizeof(targets[0]))];
    board_init(&b);
    assert(pci_bus_new(b.m, "pci.0", NULL, false, &b.m->pci_root, NULL) == 0);
    b.m->state = RUN_RUNNING;
    first = board_add(&b, t->devices[0]);
    assert(first != NULL);
    for (unsigned i = 1; i < 4 && t->devices[i] != NULL; i++) {
        assert(board_add(&b, t->devices[i]) != NULL);
    }
    ram = gmem_map(&b.m->mem, 0, BOARD_RAM, true);
    for (size_t at = 0x1000; at + size < 0x10000; at += 0x1000) {
        memcpy(ram + at, data, size < 0x1000 ? size : 0x1000);
    }
    place_bars((struct pci_dev *)first);
    for (unsigned i = 0; i < 12 && (t->prelude[i].off != 0 || t->prelude[i].value != 0); i++) {
        bar_access(&b, (struct pci_dev *)first, t->prelude[i].bar, t->prelude[i].off, true,
                   t->prelude[i].value, 4);
    }
    for (size_t i = 1; i + 8 <= size && i < 1024; i += 8) {
        const uint8_t *r = data + i;

        bar_access(&b, (struct pci_dev *)first, r[0] & 7, le16_get(r + 2), (r[0] & 8) != 0,
                   le32_get(r + 4), 1u << (r[1] % 3));
        if ((r[0] & 0x30) == 0) {
            (void)loop_step(b.loop, 0);
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        (void)loop_step(b.loop, 0);
    }
    board_done(&b);
    return 0;
}
