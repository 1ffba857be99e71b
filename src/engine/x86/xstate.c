/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/x86/xstate.h"

#include "base/bytes.h"
#include "engine/x86/regs.h"

#include <cpuid.h>
#include <string.h>

static void reset_x87(uint8_t *x)
{
    memset(x, 0, XS_MXCSR);
    memset(x + XS_ST, 0, XS_XMM - XS_ST);
    le16_put(x + XS_FCW, 0x37f);
}

void xstate_reset(struct cpu *cpu)
{
    memset(cpu->xsave, 0, XS_BYTES);
    reset_x87(cpu->xsave);
    /* As after FINIT, which is what KVM gives; a real RESET leaves 0x40 and valid zeros. */
    le32_put(cpu->xsave + XS_MXCSR, MXCSR_RESET);
    le32_put(cpu->xsave + XS_MXCSR_MASK, xstate_mxcsr_mask());
    le64_put(cpu->xsave + XS_BV, xstate_supported());
}

void xstate_normalise(struct cpu *cpu)
{
    uint8_t *x = cpu->xsave;
    uint64_t bv = le64_get(x + XS_BV);

    if ((bv & XCR0_X87) == 0) {
        reset_x87(x);
    }
    if ((bv & XCR0_SSE) == 0) {
        memset(x + XS_XMM, 0, 256);
    }
    if ((bv & (XCR0_SSE | XCR0_AVX)) == 0) {
        le32_put(x + XS_MXCSR, MXCSR_RESET);
    }
    if ((bv & XCR0_AVX) == 0) {
        memset(x + XS_YMMH, 0, 256);
    }
    le32_put(x + XS_MXCSR, le32_get(x + XS_MXCSR) & xstate_mxcsr_mask());
    le32_put(x + XS_MXCSR_MASK, xstate_mxcsr_mask());
    le64_put(x + XS_BV, xstate_supported());
    le64_put(x + XS_COMP_BV, 0);
}

uint64_t xstate_supported(void)
{
    static uint64_t cached; /* the same value from each thread */
    uint64_t v = __atomic_load_n(&cached, __ATOMIC_RELAXED);

    if (v == 0) {
        unsigned a, b, c, d;

        v = XCR0_X87 | XCR0_SSE;
        /* AVX without AVX2 is not offered: the decoder knows them as one (x86/insn.h). */
        if (__get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_OSXSAVE) != 0 && (c & bit_AVX) != 0 &&
            __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_AVX2) != 0) {
            unsigned lo, hi;

            __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
            v |= lo & XCR0_AVX;
        }
        __atomic_store_n(&cached, v, __ATOMIC_RELAXED);
    }
    return v;
}

uint32_t xstate_mxcsr_mask(void)
{
    static uint32_t cached;
    uint32_t v = __atomic_load_n(&cached, __ATOMIC_RELAXED);

    if (v == 0) {
        uint8_t image[512] __attribute__((aligned(16))) = { 0 };

        __asm__ volatile("fxsave %0" : "=m"(image));
        v = le32_get(image + XS_MXCSR_MASK);
        if (v == 0) {
            v = 0xffbf;
        }
        __atomic_store_n(&cached, v, __ATOMIC_RELAXED);
    }
    return v;
}
