/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga.c - IBM's VGA (register names as in the VGA reference: SR sequencer, GR graphics controller,
 * AR attribute controller, CR CRT controller) and the Bochs VBE ports 0x1ce and 0x1cf.
 *
 * Video memory is interleaved: 32-bit word n holds byte n of the four planes; in chained and linear
 * modes bytes lie as the guest sees them.
 */
#include "vmm/dev/display/vga.h"

#include "vmm/state/stream.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum {
    WINDOW_GPA = 0xa0000,
    WINDOW_BYTES = 0x20000,
    VBE_ENABLED = 1,
    VBE_GETCAPS = 2,
    VBE_8BIT_DAC = 0x20,
    VBE_LFB = 0x40,
    VBE_NO_CLEAR = 0x80,
    VBE_MAX_X = 4096,
    VBE_MAX_Y = 4096,
    VBE_ID5 = 0xb0c5,
    SR_MASK = 2,
    SR_MODE = 4,
    SR_CHAIN4 = 8,
    SR_SEQUENTIAL = 4,
    GR_MODE = 5,
    GR_MISC = 6,
    ST01_BLANK = 1,
    ST01_VRETRACE = 8,
};

static bool vbe_on(const struct vga *v)
{
    return (v->vbe[VBE_ENABLE] & VBE_ENABLED) != 0;
}

/* ---- the memory window ---- */

/* Where in the window's memory an address is, or -1. */
static int64_t window_offset(const struct vga *v, uint64_t off)
{
    switch (v->gr[GR_MISC] >> 2 & 3) {
    case 0:
        return (int64_t)off;
    case 1:
        return off < 0x10000 ? (int64_t)(off + (uint64_t)v->vbe[VBE_BANK] * 0x10000) : -1;
    case 2:
        return off >= 0x10000 && off < 0x18000 ? (int64_t)off - 0x10000 : -1;
    default:
        return off >= 0x18000 ? (int64_t)off - 0x18000 : -1;
    }
}

static uint32_t expand4(uint8_t bits)
{
    return ((bits & 1) != 0 ? 0xffu : 0) | ((bits & 2) != 0 ? 0xff00u : 0) |
           ((bits & 4) != 0 ? 0xff0000u : 0) | ((bits & 8) != 0 ? 0xff000000u : 0);
}

static uint8_t mem_read(struct vga *v, uint64_t window)
{
    int64_t at = window_offset(v, window);

    if (at < 0) {
        return 0xff;
    }
    if ((v->sr[SR_MODE] & SR_CHAIN4) != 0) {
        return (uint64_t)at < v->vram_bytes ? v->vram[at] : 0xff;
    }
    if ((v->gr[GR_MODE] & 0x10) != 0) {
        /* Odd and even addresses are planes. */
        uint64_t o = ((uint64_t)at & ~1ull) << 1 | (v->gr[4] & 2) | ((uint64_t)at & 1);

        return o < v->vram_bytes ? v->vram[o] : 0xff;
    }
    if ((uint64_t)at * 4 + 4 > v->vram_bytes) {
        return 0xff;
    }
    v->latch = le32_get(v->vram + at * 4);
    if ((v->gr[GR_MODE] & 8) == 0) {
        return (uint8_t)(v->latch >> ((v->gr[4] & 3) * 8));
    } else {
        uint32_t diff = (v->latch ^ expand4(v->gr[2])) & expand4(v->gr[7]);

        diff |= diff >> 16;
        diff |= diff >> 8;
        return (uint8_t)~diff;
    }
}

static void planar_write(struct vga *v, uint64_t at, uint8_t value)
{
    uint8_t mode = v->gr[GR_MODE] & 3;
    uint8_t bit_mask = v->gr[8];
    uint32_t write_mask = expand4(v->sr[SR_MASK]);
    uint32_t set = expand4(v->gr[0]);
    uint32_t data;
    uint32_t bits;
    unsigned rotate = v->gr[3] & 7;
    uint8_t rotated = (uint8_t)(value >> rotate | value << ((8 - rotate) & 7));

    if (rotate == 0) {
        rotated = value;
    }
    if (at * 4 + 4 > v->vram_bytes) {
        return;
    }
    switch (mode) {
    case 0:
        data = (uint32_t)rotated * 0x01010101u;
        data = (data & ~expand4(v->gr[1])) | (set & expand4(v->gr[1]));
        break;
    case 1:
        data = v->latch;
        le32_put(v->vram + at * 4,
                 (le32_get(v->vram + at * 4) & ~write_mask) | (data & write_mask));
        return;
    case 2:
        data = expand4(value & 0xf);
        break;
    default:
        bit_mask &= rotated;
        data = set;
        break;
    }
    switch (v->gr[3] >> 3 & 3) {
    case 1:
        data &= v->latch;
        break;
    case 2:
        data |= v->latch;
        break;
    case 3:
        data ^= v->latch;
        break;
    default:
        break;
    }
    bits = (uint32_t)bit_mask * 0x01010101u;
    data = (data & bits) | (v->latch & ~bits);
    le32_put(v->vram + at * 4, (le32_get(v->vram + at * 4) & ~write_mask) | (data & write_mask));
}

static void mem_write(struct vga *v, uint64_t window, uint8_t value)
{
    int64_t at = window_offset(v, window);

    if (at < 0) {
        return;
    }
    if ((v->sr[SR_MODE] & SR_CHAIN4) != 0) {
        if ((v->sr[SR_MASK] & 1u << (at & 3)) != 0 && (uint64_t)at < v->vram_bytes) {
            v->vram[at] = value;
        }
    } else if ((v->gr[GR_MODE] & 0x10) != 0) {
        unsigned plane = (v->gr[4] & 2) | ((unsigned)at & 1);
        uint64_t o = ((uint64_t)at & ~1ull) << 1 | plane;

        if ((v->sr[SR_MASK] & 1u << plane) != 0 && o < v->vram_bytes) {
            v->vram[o] = value;
        }
    } else {
        planar_write(v, (uint64_t)at, value);
    }
}

static uint64_t window_read(void *dev, uint64_t off, unsigned size)
{
    uint64_t r = 0;

    for (unsigned i = 0; i < size; i++) {
        r |= (uint64_t)mem_read(dev, off + i) << (i * 8);
    }
    return r;
}

static void window_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        mem_write(dev, off + i, (uint8_t)(value >> (i * 8)));
    }
}

/* ---- ports ---- */

static bool is_colour(const struct vga *v)
{
    return (v->misc & 1) != 0;
}

static uint8_t port_read(struct vga *v, unsigned port)
{
    uint8_t r;

    if ((port >= 0x3b0 && port <= 0x3bf && is_colour(v)) ||
        (port >= 0x3d0 && port <= 0x3df && !is_colour(v))) {
        return 0xff;
    }
    switch (port) {
    case 0x3c0:
        return v->ar_data ? 0 : v->ar_index;
    case 0x3c1:
        return (v->ar_index & 0x1f) < VGA_N_AR ? v->ar[v->ar_index & 0x1f] : 0;
    case 0x3c2:
        return 0x10; /* a monitor is there */
    case 0x3c4:
        return v->sr_index;
    case 0x3c5:
        return v->sr[v->sr_index & 7];
    case 0x3c6:
        return v->dac_mask;
    case 0x3c7:
        return v->dac_state;
    case 0x3c8:
        return v->dac_write;
    case 0x3c9:
        r = v->dac[v->dac_read * 3 + v->dac_sub];
        if (++v->dac_sub == 3) {
            v->dac_sub = 0;
            v->dac_read++;
        }
        return r;
    case 0x3cc:
        return v->misc;
    case 0x3ce:
        return v->gr_index;
    case 0x3cf:
        return v->gr[v->gr_index & 0xf];
    case 0x3b4:
    case 0x3d4:
        return v->cr_index;
    case 0x3b5:
    case 0x3d5:
        return v->cr_index < VGA_N_CR ? v->cr[v->cr_index] : 0;
    case 0x3ba:
    case 0x3da:
        v->ar_data = false;
        v->st01 ^= ST01_BLANK | ST01_VRETRACE; /* whoever waits for retrace sees it soon */
        return v->st01;
    default:
        return 0;
    }
}

static void dac_byte(struct vga *v, uint8_t value)
{
    v->dac_cache[v->dac_sub++] = value;
    if (v->dac_sub == 3) {
        memcpy(&v->dac[v->dac_write * 3], v->dac_cache, 3);
        v->dac_sub = 0;
        v->dac_write++;
    }
}

static void port_write(struct vga *v, unsigned port, uint8_t value)
{
    static const uint8_t sr_masks[8] = { 3, 0x3d, 0xf, 0x3f, 0xe, 0, 0, 0xff };

    if ((port >= 0x3b0 && port <= 0x3bf && is_colour(v)) ||
        (port >= 0x3d0 && port <= 0x3df && !is_colour(v))) {
        return;
    }
    switch (port) {
    case 0x3c0:
        if (!v->ar_data) {
            v->ar_index = value & 0x3f;
        } else if ((v->ar_index & 0x1f) < VGA_N_AR) {
            v->ar[v->ar_index & 0x1f] = value & 0x3f;
            if ((v->ar_index & 0x1f) == 0x10) {
                v->ar[0x10] = value & (uint8_t)~0x10;
            }
        }
        v->ar_data = !v->ar_data;
        break;
    case 0x3c2:
        v->misc = value & (uint8_t)~0x10;
        break;
    case 0x3c4:
        v->sr_index = value & 7;
        break;
    case 0x3c5:
        v->sr[v->sr_index] = value & sr_masks[v->sr_index];
        break;
    case 0x3c6:
        v->dac_mask = value;
        break;
    case 0x3c7:
        v->dac_read = value;
        v->dac_sub = 0;
        v->dac_state = 3;
        break;
    case 0x3c8:
        v->dac_write = value;
        v->dac_sub = 0;
        v->dac_state = 0;
        break;
    case 0x3c9:
        dac_byte(v, value);
        break;
    case 0x3ce:
        v->gr_index = value & 0xf;
        break;
    case 0x3cf:
        v->gr[v->gr_index] = value;
        break;
    case 0x3b4:
    case 0x3d4:
        v->cr_index = value;
        break;
    case 0x3b5:
    case 0x3d5:
        /* CR0 to CR7 may be protected, but for CR7's line compare bit. */
        if (v->cr_index < 8 && (v->cr[0x11] & 0x80) != 0) {
            if (v->cr_index == 7) {
                v->cr[7] = (uint8_t)((v->cr[7] & ~0x10) | (value & 0x10));
            }
        } else if (v->cr_index < VGA_N_CR) {
            v->cr[v->cr_index] = value;
        }
        break;
    default:
        break;
    }
}

/* ---- VBE ---- */

static unsigned vbe_line_bytes(const struct vga *v)
{
    unsigned bpp = v->vbe[VBE_BPP];

    return bpp == 4 ? v->vbe[VBE_VIRT_WIDTH] / 2u
                    : v->vbe[VBE_VIRT_WIDTH] * ((bpp == 15 ? 16u : bpp) / 8);
}

/* Makes what the guest chose possible. */
static void vbe_fix(struct vga *v)
{
    unsigned line;
    unsigned bpp = v->vbe[VBE_BPP];

    if (bpp != 4 && bpp != 8 && bpp != 15 && bpp != 16 && bpp != 24 && bpp != 32) {
        v->vbe[VBE_BPP] = 8;
    }
    if (v->vbe[VBE_XRES] == 0 || v->vbe[VBE_XRES] > VBE_MAX_X) {
        v->vbe[VBE_XRES] = 1024;
    }
    v->vbe[VBE_XRES] &= ~7u;
    if (v->vbe[VBE_XRES] == 0) {
        v->vbe[VBE_XRES] = 8;
    }
    if (v->vbe[VBE_VIRT_WIDTH] < v->vbe[VBE_XRES] || v->vbe[VBE_VIRT_WIDTH] > 2 * VBE_MAX_X) {
        v->vbe[VBE_VIRT_WIDTH] = v->vbe[VBE_XRES];
    }
    line = vbe_line_bytes(v);
    if (line == 0) {
        line = 1;
    }
    if (v->vbe[VBE_YRES] == 0 || v->vbe[VBE_YRES] > VBE_MAX_Y ||
        (uint64_t)v->vbe[VBE_YRES] * line > v->vram_bytes) {
        v->vbe[VBE_YRES] = (uint16_t)min_u64(768, v->vram_bytes / line);
    }
    v->vbe[VBE_VIRT_HEIGHT] = (uint16_t)min_u64(v->vram_bytes / line, 0xffff);
    if (v->vbe[VBE_X_OFFSET] > VBE_MAX_X) {
        v->vbe[VBE_X_OFFSET] = 0;
    }
    if ((uint64_t)(v->vbe[VBE_Y_OFFSET] + v->vbe[VBE_YRES]) * line > v->vram_bytes) {
        v->vbe[VBE_Y_OFFSET] = 0;
    }
}

/* A linear mode with the legacy registers set so that banked access works, too. */
static void vbe_set_registers(struct vga *v)
{
    v->gr[GR_MISC] = (uint8_t)((v->gr[GR_MISC] & ~0xcu) | 4 | 1);
    v->cr[0x17] |= 3;
    v->cr[0x11] &= 0x7f;
    v->gr[GR_MODE] = (uint8_t)((v->gr[GR_MODE] & ~0x60u) | (v->vbe[VBE_BPP] == 4 ? 0 : 0x40));
    if (v->vbe[VBE_BPP] != 4) {
        v->sr[SR_MODE] |= SR_CHAIN4;
        v->sr[SR_MASK] |= 0xf;
    }
}

static uint16_t vbe_read(struct vga *v, unsigned index)
{
    if (index >= VBE_N) {
        return 0;
    }
    if ((v->vbe[VBE_ENABLE] & VBE_GETCAPS) != 0) {
        switch (index) {
        case VBE_XRES:
            return VBE_MAX_X;
        case VBE_YRES:
            return VBE_MAX_Y;
        case VBE_BPP:
            return 32;
        default:
            break;
        }
    }
    return index == VBE_MEMORY ? (uint16_t)(v->vram_bytes >> 16) : v->vbe[index];
}

static void vbe_write(struct vga *v, unsigned index, uint16_t value)
{
    bool was_on = vbe_on(v);

    switch (index) {
    case VBE_ID:
        if (value >= 0xb0c0 && value <= VBE_ID5) {
            v->vbe[VBE_ID] = value;
        }
        break;
    case VBE_XRES:
    case VBE_YRES:
    case VBE_BPP:
    case VBE_VIRT_WIDTH:
    case VBE_X_OFFSET:
    case VBE_Y_OFFSET:
        v->vbe[index] = value;
        if (was_on || index >= VBE_VIRT_WIDTH) {
            vbe_fix(v);
        }
        break;
    case VBE_BANK:
        v->vbe[VBE_BANK] = (uint16_t)(value % (v->vram_bytes >> 16));
        break;
    case VBE_ENABLE:
        if ((value & VBE_ENABLED) != 0 && !was_on) {
            v->vbe[VBE_VIRT_WIDTH] = v->vbe[VBE_X_OFFSET] = v->vbe[VBE_Y_OFFSET] = 0;
            v->vbe[VBE_ENABLE] = value;
            vbe_fix(v);
            vbe_set_registers(v);
            if ((value & VBE_NO_CLEAR) == 0) {
                memset(v->vram, 0,
                       min_u64((uint64_t)v->vbe[VBE_YRES] * vbe_line_bytes(v), v->vram_bytes));
            }
        } else if ((value & VBE_ENABLED) == 0) {
            v->vbe[VBE_BANK] = 0;
        }
        v->vbe[VBE_ENABLE] = value;
        break;
    default:
        break;
    }
}

static uint64_t ports_read(void *dev, uint64_t off, unsigned size)
{
    uint64_t r = 0;

    for (unsigned i = 0; i < size; i++) {
        r |= (uint64_t)port_read(dev, 0x3b0 + (unsigned)off + i) << (i * 8);
    }
    return r;
}

static void ports_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    /* A word is index and data. */
    for (unsigned i = 0; i < size; i++) {
        port_write(dev, 0x3b0 + (unsigned)off + i, (uint8_t)(value >> (i * 8)));
    }
}

static uint64_t vbe_port_read(void *dev, uint64_t off, unsigned size)
{
    struct vga *v = dev;

    (void)size;
    return off == 0 ? v->vbe_index : vbe_read(v, v->vbe_index);
}

static void vbe_port_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct vga *v = dev;

    (void)size;
    if (off == 0) {
        v->vbe_index = (uint16_t)value;
    } else {
        vbe_write(v, v->vbe_index, (uint16_t)value);
    }
}

uint64_t vga_mmio_read(struct vga *v, uint64_t off, unsigned size)
{
    if (off >= 0x400 && off + size <= 0x420) {
        uint64_t r = 0;

        for (unsigned i = 0; i < size; i++) {
            r |= (uint64_t)port_read(v, 0x3c0 + (unsigned)(off - 0x400) + i) << (i * 8);
        }
        return r;
    }
    if (off >= 0x500 && off < 0x500 + VBE_N * 2) {
        return vbe_read(v, (unsigned)(off - 0x500) / 2);
    }
    return off >= 0x600 && off < 0x608 ? (off == 0x600 ? 8 : 0x1e1e1e1e) : UINT64_MAX;
}

void vga_mmio_write(struct vga *v, uint64_t off, uint64_t value, unsigned size)
{
    if (off >= 0x400 && off + size <= 0x420) {
        for (unsigned i = 0; i < size; i++) {
            port_write(v, 0x3c0 + (unsigned)(off - 0x400) + i, (uint8_t)(value >> (i * 8)));
        }
    } else if (off >= 0x500 && off < 0x500 + VBE_N * 2) {
        vbe_write(v, (unsigned)(off - 0x500) / 2, (uint16_t)value);
    }
}

/* ---- the picture ---- */

static uint32_t dac_colour(const struct vga *v, unsigned index)
{
    const uint8_t *c = &v->dac[(index & v->dac_mask) * 3];
    bool wide = (v->vbe[VBE_ENABLE] & VBE_8BIT_DAC) != 0;
    uint32_t rgb = 0;

    for (unsigned i = 0; i < 3; i++) {
        rgb = rgb << 8 | (wide ? c[i] : (uint8_t)((c[i] & 0x3f) << 2 | (c[i] & 0x3f) >> 4));
    }
    return rgb;
}

static unsigned attribute_index(const struct vga *v, unsigned pixel)
{
    uint8_t a = v->ar[pixel & 0xf];

    if ((v->ar[0x10] & 0x80) != 0) {
        return (a & 0xfu) | (v->ar[0x14] & 0xfu) << 4;
    }
    return (a & 0x3fu) | (v->ar[0x14] & 0xcu) << 4;
}

static unsigned display_end(const struct vga *v)
{
    return (v->cr[0x12] | (v->cr[7] & 2u) << 7 | (v->cr[7] & 0x40u) << 3) + 1;
}

static void draw_glyph(uint32_t *to, unsigned stride, const uint8_t *font, unsigned height,
                       unsigned width, uint32_t fg, uint32_t bg, bool line_graphics)
{
    for (unsigned y = 0; y < height; y++) {
        uint8_t bits = font[(size_t)y * 4];

        for (unsigned x = 0; x < width; x++) {
            bool on = x < 8 ? (bits & 0x80 >> x) != 0 : line_graphics && (bits & 1) != 0;

            to[(size_t)y * stride + x] = on ? fg : bg;
        }
    }
}

static void draw_text(struct vga *v)
{
    unsigned height = (v->cr[9] & 0x1fu) + 1;
    unsigned width = (v->sr[1] & 1) != 0 ? 8 : 9;
    unsigned columns = v->cr[1] + 1u;
    unsigned rows = display_end(v) / height;
    unsigned line = v->cr[0x13] * 2u; /* characters */
    unsigned start = (unsigned)v->cr[0xc] << 8 | v->cr[0xd];
    unsigned cursor = (unsigned)v->cr[0xe] << 8 | v->cr[0xf];
    bool cursor_on = (v->cr[0xa] & 0x20) == 0 && (v->blink++ & 16) == 0;
    /* Fonts lie in plane 2; SR3 chooses two of eight. */
    unsigned font_a = ((v->sr[3] >> 2 & 3u) * 2 + (v->sr[3] >> 5 & 1u)) * 8192;
    unsigned font_b = ((v->sr[3] & 3u) * 2 + (v->sr[3] >> 4 & 1u)) * 8192;

    if (rows == 0 || display_resize(&v->display, columns * width, rows * height) < 0) {
        return;
    }
    for (unsigned row = 0; row < rows; row++) {
        for (unsigned column = 0; column < columns; column++) {
            unsigned at = start + row * line + column;
            uint64_t o = (uint64_t)at * 4;
            uint8_t ch;
            uint8_t attr;
            uint32_t fg;
            uint32_t bg;
            const uint8_t *font;
            uint32_t *to = v->display.pixels + (size_t)row * height * v->display.width +
                           (size_t)column * width;

            if (o + 2 > v->vram_bytes) {
                return;
            }
            ch = v->vram[o];
            attr = v->vram[o + 1];
            font = v->vram + ((attr & 8) != 0 ? font_b : font_a) * 4 + ch * 32 * 4 + 2;
            fg = dac_colour(v, attribute_index(v, attr & 0xf));
            bg = dac_colour(v, attribute_index(v, attr >> 4));
            draw_glyph(to, v->display.width, font, height, width, fg, bg,
                       (v->ar[0x10] & 4) != 0 && ch >= 0xc0 && ch <= 0xdf);
            if (cursor_on && at == cursor) {
                for (unsigned y = v->cr[0xa] & 0x1f; y <= (v->cr[0xb] & 0x1fu) && y < height; y++) {
                    for (unsigned x = 0; x < width; x++) {
                        to[(size_t)y * v->display.width + x] = fg;
                    }
                }
            }
        }
    }
}

static uint32_t pixel_at(const struct vga *v, uint64_t line, unsigned x, unsigned bpp)
{
    uint64_t o = line + (uint64_t)x * ((bpp == 15 ? 16u : bpp) / 8);
    uint32_t p;

    if (o + 4 > v->vram_bytes) {
        return 0;
    }
    p = le32_get(v->vram + o);
    switch (bpp) {
    case 8:
        return dac_colour(v, p & 0xff);
    case 15:
        return (p & 0x7c00) << 9 | (p & 0x7000) << 4 | (p & 0x3e0) << 6 | (p & 0x380) << 1 |
               (p & 0x1f) << 3 | (p & 0x1c) >> 2;
    case 16:
        return (p & 0xf800) << 8 | (p & 0xe000) << 3 | (p & 0x7e0) << 5 | (p & 0x600) >> 1 |
               (p & 0x1f) << 3 | (p & 0x1c) >> 2;
    default:
        return p & 0xffffff;
    }
}

static unsigned planar_pixel(const struct vga *v, uint64_t line, unsigned x)
{
    uint64_t o = line + (uint64_t)(x / 8) * 4;
    unsigned shift = 7 - x % 8;

    if (o + 4 > v->vram_bytes) {
        return 0;
    }
    return (v->vram[o] >> shift & 1u) | (v->vram[o + 1] >> shift & 1u) << 1 |
           (v->vram[o + 2] >> shift & 1u) << 2 | (v->vram[o + 3] >> shift & 1u) << 3;
}

static void draw_vbe(struct vga *v)
{
    unsigned bpp = v->vbe[VBE_BPP];
    uint64_t line_bytes = vbe_line_bytes(v) * (bpp == 4 ? 4u : 1u);

    if (display_resize(&v->display, v->vbe[VBE_XRES], v->vbe[VBE_YRES]) < 0) {
        return;
    }
    for (unsigned y = 0; y < v->display.height; y++) {
        uint64_t line = (y + (uint64_t)v->vbe[VBE_Y_OFFSET]) * line_bytes;
        uint32_t *to = v->display.pixels + (size_t)y * v->display.width;

        if (bpp == 32 &&
            line + (v->vbe[VBE_X_OFFSET] + (uint64_t)v->display.width) * 4 <= v->vram_bytes) {
            memcpy(to, v->vram + line + v->vbe[VBE_X_OFFSET] * 4u, v->display.width * 4u);
            continue;
        }
        for (unsigned x = 0; x < v->display.width; x++) {
            to[x] = bpp == 4 ? dac_colour(v, attribute_index(v, planar_pixel(v, line, x)))
                             : pixel_at(v, line, x + v->vbe[VBE_X_OFFSET], bpp);
        }
    }
}

/* The graphics modes of old: planar 16 colours, CGA's 2 and 4, chained 256. */
static void draw_graphics(struct vga *v)
{
    unsigned shift = v->gr[GR_MODE] >> 5 & 3;
    unsigned width = (v->cr[1] + 1u) * 8;
    unsigned height = display_end(v);
    unsigned repeat = (v->cr[9] & 0x1fu) + 1;
    uint64_t line_bytes = (uint64_t)v->cr[0x13] * 8; /* interleaved: four planes */
    uint64_t start = ((uint64_t)v->cr[0xc] << 8 | v->cr[0xd]) * 4;

    if (shift >= 2) {
        width /= 2;
    }
    if ((v->cr[9] & 0x80) != 0) {
        repeat *= 2;
    }
    if (display_resize(&v->display, width, height) < 0) {
        return;
    }
    for (unsigned y = 0; y < height; y++) {
        unsigned row = y / repeat;
        uint64_t line = start + row * line_bytes;
        uint32_t *to = v->display.pixels + (size_t)y * width;

        if ((v->cr[0x17] & 1) == 0) { /* CGA: odd rows 8 KiB further */
            line = start + (row / 2) * line_bytes + (row % 2) * 0x2000u * 4;
        }
        for (unsigned x = 0; x < width; x++) {
            if (shift >= 2) {
                uint64_t o = line + x;

                to[x] = o < v->vram_bytes ? dac_colour(v, v->vram[o]) : 0;
            } else if (shift == 1) {
                uint64_t o = line + (uint64_t)(x / 8) * 4 + (x % 8) / 4;
                unsigned p = o < v->vram_bytes ? v->vram[o] >> (6 - x % 4 * 2) & 3u : 0;

                to[x] = dac_colour(v, attribute_index(v, p));
            } else {
                to[x] = dac_colour(v, attribute_index(v, planar_pixel(v, line, x) & v->ar[0x12]));
            }
        }
    }
}

void vga_refresh(void *arg)
{
    struct vga *v = arg;

    if (vbe_on(v)) {
        draw_vbe(v);
    } else if ((v->ar_index & 0x20) == 0) {
        /* Blanked. */
        if (display_resize(&v->display, v->display.width != 0 ? v->display.width : 720,
                           v->display.height != 0 ? v->display.height : 400) == 0) {
            memset(v->display.pixels, 0, (size_t)v->display.width * v->display.height * 4);
        }
    } else if ((v->gr[GR_MISC] & 1) != 0) {
        draw_graphics(v);
    } else {
        draw_text(v);
    }
}

/* ---- life ---- */

static const struct io_ops window_io = { .read = window_read,
                                         .write = window_write,
                                         .max_size = 8 };
static const struct io_ops ports_io = { .read = ports_read, .write = ports_write, .max_size = 2 };
static const struct io_ops vbe_io = { .read = vbe_port_read,
                                      .write = vbe_port_write,
                                      .max_size = 2 };

int vga_init(struct vga *v, struct machine *m, struct device *dev, uint64_t vram_bytes,
             struct err **err)
{
    v->m = m;
    v->vram_bytes = vram_bytes;
    v->vram = mmap(NULL, vram_bytes, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (v->vram == MAP_FAILED) {
        v->vram = NULL;
        return err_set(err, ENOMEM, "no memory for %llu MiB of video memory",
                       (unsigned long long)vram_bytes >> 20);
    }
    v->display.refresh = vga_refresh;
    v->display.arg = v;
    v->display.device_id = dev->id;
    display_attach(m, &v->display);
    return 0;
}

void vga_done(struct vga *v)
{
    if (v->m != NULL) {
        display_detach(v->m, &v->display);
        iobus_remove(&v->m->pio, v);
        iobus_remove(&v->m->mmio, v);
    }
    display_done(&v->display);
    if (v->vram != NULL) {
        (void)munmap(v->vram, v->vram_bytes);
        v->vram = NULL;
    }
}

void vga_reset(struct vga *v)
{
    v->sr_index = v->gr_index = v->ar_index = v->cr_index = v->misc = v->st01 = 0;
    v->ar_data = false;
    memset(v->sr, 0, sizeof(v->sr));
    memset(v->gr, 0, sizeof(v->gr));
    memset(v->ar, 0, sizeof(v->ar));
    memset(v->cr, 0, sizeof(v->cr));
    memset(v->dac, 0, sizeof(v->dac));
    v->dac_sub = v->dac_state = v->dac_write = v->dac_read = 0;
    v->dac_mask = 0xff;
    v->latch = 0;
    memset(v->vbe, 0, sizeof(v->vbe));
    v->vbe[VBE_ID] = VBE_ID5;
    v->vbe_index = 0;
}

/* Registers that came from outside are brought into range. */
static void sanitize(struct vga *v)
{
    v->sr_index &= 7;
    v->gr_index &= 0xf;
    v->dac_sub %= 3;
    v->vbe[VBE_BANK] = (uint16_t)(v->vbe[VBE_BANK] % (v->vram_bytes >> 16));
    if (vbe_on(v)) {
        vbe_fix(v);
    }
}

int vga_add_legacy(struct vga *v, struct err **err)
{
    struct iobus *pio = &v->m->pio;
    int r = iobus_add(&v->m->mmio, WINDOW_GPA, WINDOW_BYTES, &window_io, v, "vga-window", err);

    if (r == 0) {
        r = iobus_add(pio, 0x3b0, 0x30, &ports_io, v, "vga", err);
    }
    return r == 0 ? iobus_add(pio, 0x1ce, 2, &vbe_io, v, "vbe", err) : r;
}

static const struct state_field vga_fields[] = {
    FIELD(struct vga, sr_index),  FIELD(struct vga, gr_index),
    FIELD(struct vga, ar_index),  FIELD(struct vga, cr_index),
    FIELD(struct vga, misc),      FIELD(struct vga, st01),
    FIELD(struct vga, ar_data),   FIELD(struct vga, sr),
    FIELD(struct vga, gr),        FIELD(struct vga, ar),
    FIELD(struct vga, cr),        FIELD(struct vga, dac),
    FIELD(struct vga, dac_sub),   FIELD(struct vga, dac_state),
    FIELD(struct vga, dac_write), FIELD(struct vga, dac_read),
    FIELD(struct vga, dac_mask),  FIELD(struct vga, dac_cache),
    FIELD(struct vga, latch),     FIELD(struct vga, vbe_index),
    FIELD(struct vga, vbe),       FIELD_END,
};

void vga_save(const struct vga *v, struct state_stream *s)
{
    for (const struct state_field *f = vga_fields; f->name != NULL; f++) {
        state_put_record(s, f->name, (const uint8_t *)v + f->offset, f->size);
    }
    state_put_record(s, "vram", v->vram, v->vram_bytes);
}

void vga_load(struct vga *v, struct state_stream *s)
{
    for (const struct state_field *f = vga_fields; f->name != NULL; f++) {
        state_get_record(s, f->name, (uint8_t *)v + f->offset, f->size);
    }
    state_get_record(s, "vram", v->vram, v->vram_bytes);
    sanitize(v);
}
