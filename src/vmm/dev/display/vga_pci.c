/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vga_pci.c - "VGA", the standard graphics card: frame buffer in BAR 0, registers in BAR 2. */
#include "base/bytes.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/display/vga.h"

#include <errno.h>

enum { MMIO_BYTES = 4096 };

struct vga_pci {
    struct pci_dev pd;
    uint32_t vgamem_mb, xres, yres, xmax, ymax, refresh_rate;
    bool mmio, edid, big_endian, global_vmstate;
    struct vga vga;
};

static const struct opt vga_opts[] = {
    OPT_U32(struct vga_pci, vgamem_mb, "vgamem_mb", "16", "video memory, MiB"),
    OPT_BOOL(struct vga_pci, mmio, "mmio", "on", "registers in BAR 2"),
    OPT_BOOL(struct vga_pci, edid, "edid", "on", "accepted"),
    OPT_U32(struct vga_pci, xres, "xres", "1280", "accepted"),
    OPT_U32(struct vga_pci, yres, "yres", "800", "accepted"),
    OPT_U32(struct vga_pci, xmax, "xmax", "0", "accepted"),
    OPT_U32(struct vga_pci, ymax, "ymax", "0", "accepted"),
    OPT_U32(struct vga_pci, refresh_rate, "refresh_rate", "0", "accepted"),
    OPT_BOOL(struct vga_pci, global_vmstate, "global-vmstate", "off", "accepted"),
    OPT_END,
};

static uint64_t mmio_read(void *dev, uint64_t off, unsigned size)
{
    return vga_mmio_read(&((struct vga_pci *)dev)->vga, off, size);
}

static void mmio_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    vga_mmio_write(&((struct vga_pci *)dev)->vga, off, value, size);
}

static const struct io_ops mmio_io = { .read = mmio_read, .write = mmio_write, .max_size = 4 };

static int vga_pci_init(struct pci_dev *pd, struct err **err)
{
    struct vga_pci *p = (struct vga_pci *)pd;
    int r;

    if (p->vgamem_mb < 1 || p->vgamem_mb > 256 || (p->vgamem_mb & (p->vgamem_mb - 1)) != 0) {
        return err_set(err, EINVAL, "vgamem_mb=%u: 1 to 256, a power of two", p->vgamem_mb);
    }
    r = vga_init(&p->vga, pd->dev.m, &pd->dev, (uint64_t)p->vgamem_mb << 20, err);
    if (r == 0) {
        r = vga_add_legacy(&p->vga, err);
    }
    if (r == 0) {
        pci_add_bar_memory(pd, 0, PCI_BAR_MEM32, p->vga.vram_bytes, p->vga.vram, false);
        if (p->mmio) {
            pci_add_bar_io(pd, 2, PCI_BAR_MEM32, MMIO_BYTES, &mmio_io, p, "vga-mmio");
        }
        r = pci_add_rom(pd, "vgabios-stdvga.bin", err);
    }
    return r;
}

static void vga_pci_reset(struct pci_dev *pd)
{
    vga_reset(&((struct vga_pci *)pd)->vga);
}

static void vga_pci_done(struct pci_dev *pd)
{
    vga_done(&((struct vga_pci *)pd)->vga);
}

static void save_more(struct device *dev, struct state_stream *s)
{
    vga_save(&((struct vga_pci *)dev)->vga, s);
}

static void load_more(struct device *dev, struct state_stream *s)
{
    vga_load(&((struct vga_pci *)dev)->vga, s);
}

static const struct pci_class vga_class_pci = {
    .vendor = 0x1234,
    .device = 0x1111,
    .class_code = 0x030000,
    .revision = 2,
    .no_hotplug = true,
    .init = vga_pci_init,
    .done = vga_pci_done,
    .reset = vga_pci_reset,
};

const struct device_class vga_class = {
    .name = "VGA",
    .desc = "standard graphics card",
    .opts = vga_opts,
    .size = sizeof(struct vga_pci),
    .pci = &vga_class_pci,
    .save_more = save_more,
    .load_more = load_more,
    PCI_DEVICE_CALLBACKS,
};
