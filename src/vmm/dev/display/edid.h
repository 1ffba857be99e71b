/* SPDX-License-Identifier: GPL-2.0-or-later */
/* edid.h - what a monitor says about itself (VESA E-EDID release A, 3: base block 1.4). */
#pragma once

#include <stdint.h>

enum { EDID_BYTES = 128 };

/* A monitor that prefers that size. */
void edid_make(uint8_t out[EDID_BYTES], unsigned width, unsigned height);
