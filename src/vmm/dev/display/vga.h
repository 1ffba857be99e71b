/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vga.h - the VGA core, which std VGA and virtio-vga share: registers, the legacy memory window,
 * the Bochs VBE extension, the picture. */
#pragma once

#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"
#include "vmm/ui/display.h"

enum {
    VGA_N_SR = 8,
    VGA_N_GR = 16,
    VGA_N_AR = 21,
    VGA_N_CR = 25,
    VBE_ID = 0,
    VBE_XRES,
    VBE_YRES,
    VBE_BPP,
    VBE_ENABLE,
    VBE_BANK,
    VBE_VIRT_WIDTH,
    VBE_VIRT_HEIGHT,
    VBE_X_OFFSET,
    VBE_Y_OFFSET,
    VBE_MEMORY, /* in 64 KiB */
    VBE_N,
};

struct vga {
    struct machine *m;
    uint8_t *vram; /* owned mapping */
    uint64_t vram_bytes;
    uint8_t sr_index, gr_index, ar_index, cr_index, misc, st01;
    bool ar_data; /* the attribute flip-flop */
    uint8_t sr[VGA_N_SR], gr[VGA_N_GR], ar[VGA_N_AR], cr[VGA_N_CR + 7];
    uint8_t dac[768], dac_sub, dac_state, dac_write, dac_read, dac_mask;
    uint8_t dac_cache[3];
    uint32_t latch;
    uint16_t vbe_index, vbe[VBE_N];
    struct display display;
    unsigned blink;
};

int vga_init(struct vga *v, struct machine *m, struct device *dev, uint64_t vram_bytes,
             struct err **err) MUST_CHECK;
void vga_done(struct vga *v);
void vga_reset(struct vga *v);
/* Claims the ports and the window at 0xa0000; arg of the regions is v. */
int vga_add_legacy(struct vga *v, struct err **err) MUST_CHECK;
/* The same registers in a memory BAR: ports from 0x3c0 at 0x400, VBE at 0x500. */
uint64_t vga_mmio_read(struct vga *v, uint64_t off, unsigned size);
void vga_mmio_write(struct vga *v, uint64_t off, uint64_t value, unsigned size);
/* Draws into the display. */
void vga_refresh(void *vga);

/* Registers and video memory. */
void vga_save(const struct vga *v, struct state_stream *s);
void vga_load(struct vga *v, struct state_stream *s);
