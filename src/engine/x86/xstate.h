/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xstate.h - the XSAVE image in cpu->xsave: standard format (SDM 1, 13.4).
 *
 * All components the CPU offers are kept in it with XSTATE_BV set and initial values written out,
 * so that it can be read and loaded without looking at XSTATE_BV.
 */
#pragma once

#include "engine/x86/cpu.h"

enum {
    XS_FCW = 0,
    XS_FSW = 2,
    XS_FTW = 4,
    XS_FOP = 6,
    XS_FIP = 8,
    XS_FDP = 16,
    XS_MXCSR = 24,
    XS_MXCSR_MASK = 28,
    XS_ST = 32,
    XS_XMM = 160,
    XS_LEGACY_BYTES = 512,
    XS_BV = 512,
    XS_COMP_BV = 520,
    XS_YMMH = 576,
    XS_BYTES = 832, /* x87, SSE and AVX */
    XS_ALLOC = 4096,
};

enum { MXCSR_RESET = 0x1f80 };

void xstate_reset(struct cpu *cpu);

/* After someone has written the image: writes initial values for components whose XSTATE_BV bit is
 * clear, and sets the bit. */
void xstate_normalise(struct cpu *cpu);

/* What the host and so the engine supports: XCR0 bits. */
uint64_t xstate_supported(void);
uint32_t xstate_mxcsr_mask(void);
