/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/display/edid.h"

#include "base/bytes.h"

#include <string.h>

enum { REFRESH_HZ = 75, DPI = 100, MIN_CLOCK_10KHZ = 1, MAX_CLOCK_10KHZ = 0xffff };

static void text_descriptor(uint8_t *d, uint8_t tag, const char *text)
{
    size_t n = strlen(text);

    memset(d, 0, 18);
    d[3] = tag;
    memset(d + 5, ' ', 13);
    memcpy(d + 5, text, n);
    d[5 + n] = '\n';
}

/* (3.10.2): blanking as CVT would have it, roughly. */
static void timing(uint8_t *d, unsigned width, unsigned height)
{
    unsigned x_blank = width * 35 / 100;
    unsigned y_blank = height * 35 / 1000 + 1;
    unsigned x_front = width * 25 / 1000 + 1;
    unsigned x_sync = width * 3 / 100 + 1;
    unsigned y_front = height * 5 / 1000 + 1;
    unsigned y_sync = height * 5 / 1000 + 1;
    uint64_t clock = (uint64_t)REFRESH_HZ * (width + x_blank) * (height + y_blank) / 10000;
    unsigned mm_x = width * 254 / DPI / 10;
    unsigned mm_y = height * 254 / DPI / 10;

    le16_put(d, (uint16_t)(clock > MAX_CLOCK_10KHZ ? MAX_CLOCK_10KHZ : clock));
    d[2] = (uint8_t)width;
    d[3] = (uint8_t)x_blank;
    d[4] = (uint8_t)((width >> 8 & 15) << 4 | (x_blank >> 8 & 15));
    d[5] = (uint8_t)height;
    d[6] = (uint8_t)y_blank;
    d[7] = (uint8_t)((height >> 8 & 15) << 4 | (y_blank >> 8 & 15));
    d[8] = (uint8_t)x_front;
    d[9] = (uint8_t)x_sync;
    d[10] = (uint8_t)((y_front & 15) << 4 | (y_sync & 15));
    d[11] = (uint8_t)((x_front >> 8 & 3) << 6 | (x_sync >> 8 & 3) << 4 | (y_front >> 4 & 3) << 2 |
                      (y_sync >> 4 & 3));
    d[12] = (uint8_t)mm_x;
    d[13] = (uint8_t)mm_y;
    d[14] = (uint8_t)((mm_x >> 8 & 15) << 4 | (mm_y >> 8 & 15));
    d[15] = d[16] = 0;
    d[17] = 0x18; /* digital, separate sync */
}

void edid_make(uint8_t out[EDID_BYTES], unsigned width, unsigned height)
{
    static const uint8_t head[] = {
        0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, /* */
        0x59, 0x2f,                                     /* "VIO" */
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00,             /* product, no serial number */
        0x01, 32,                                       /* first week of 2022 */
        0x01, 0x04, 0xa5,                               /* 1.4; digital, 8 bits a colour */
    };
    static const uint8_t standard[] = { 0xd1, 0xc0, 0xa9, 0xc0, 0x81, 0xc0, 0x81, 0x80,
                                        0x61, 0x40, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01 };
    static const uint8_t colours[] = { 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54 };
    uint8_t sum = 0;

    memset(out, 0, EDID_BYTES);
    memcpy(out, head, sizeof(head));
    out[21] = (uint8_t)(width * 254 / DPI / 100);
    out[22] = (uint8_t)(height * 254 / DPI / 100);
    out[23] = 120; /* gamma 2.2 */
    out[24] = 0x06; /* sRGB, the first timing is the best */
    memcpy(out + 25, colours, sizeof(colours));
    out[35] = 0x21; /* 640x480, 800x600 */
    out[36] = 0x08; /* 1024x768 */
    memcpy(out + 38, standard, sizeof(standard));
    timing(out + 54, width, height);
    text_descriptor(out + 72, 0xfc, "Vireo");
    memset(out + 90, 0, 18);
    out[93] = 0x10; /* unused */
    memset(out + 108, 0, 18);
    out[111] = 0x10;
    for (unsigned i = 0; i < EDID_BYTES - 1; i++) {
        sum = (uint8_t)(sum + out[i]);
    }
    out[127] = (uint8_t)-sum;
}
