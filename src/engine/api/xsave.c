/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xsave.c - KVM_GET/SET_FPU, XSAVE(2) and XCRS: views of the CPU's XSAVE image (SDM 1, 13.4), which
 * is in the standard format that KVM's API also uses.
 */
#include "base/bytes.h"
#include "engine/api/vcpu.h"

#include <errno.h>

enum {
    FCW = 0,
    FSW = 2,
    FTW = 4, /* abridged: a bit a register */
    FOP = 6,
    FIP = 8,
    FDP = 16,
    MXCSR = 24,
    ST0 = 32,
    XMM0 = 160,
    HEADER = 512, /* XSTATE_BV */
    IMAGE_BYTES = 4096,
    MXCSR_RESERVED = ~0xffff,
};
#define XSTATE_X87 1ull
#define XSTATE_SSE 2ull

int vcpu_get_fpu(void *object, void *arg)
{
    const uint8_t *x = ((struct vcpu *)object)->cpu->xsave;
    struct kvm_fpu f = { .fcw = le16_get(x + FCW),
                         .fsw = le16_get(x + FSW),
                         .ftwx = x[FTW],
                         .last_opcode = le16_get(x + FOP),
                         .last_ip = le64_get(x + FIP),
                         .last_dp = le64_get(x + FDP),
                         .mxcsr = le32_get(x + MXCSR) };

    memcpy(f.fpr, x + ST0, sizeof(f.fpr));
    memcpy(f.xmm, x + XMM0, sizeof(f.xmm));
    memcpy(arg, &f, sizeof(f));
    return 0;
}

int vcpu_set_fpu(void *object, void *arg)
{
    uint8_t *x = ((struct vcpu *)object)->cpu->xsave;
    struct kvm_fpu f;

    memcpy(&f, arg, sizeof(f));
    if ((f.mxcsr & (uint32_t)MXCSR_RESERVED) != 0) {
        return -EINVAL;
    }
    le16_put(x + FCW, f.fcw);
    le16_put(x + FSW, f.fsw);
    x[FTW] = f.ftwx;
    le16_put(x + FOP, f.last_opcode);
    le64_put(x + FIP, f.last_ip);
    le64_put(x + FDP, f.last_dp);
    le32_put(x + MXCSR, f.mxcsr);
    memcpy(x + ST0, f.fpr, sizeof(f.fpr));
    memcpy(x + XMM0, f.xmm, sizeof(f.xmm));
    le64_put(x + HEADER, le64_get(x + HEADER) | XSTATE_X87 | XSTATE_SSE);
    return 0;
}

int vcpu_get_xsave(void *object, void *arg)
{
    memcpy(arg, ((struct vcpu *)object)->cpu->xsave, IMAGE_BYTES);
    return 0;
}

int vcpu_set_xsave(void *object, void *arg)
{
    const uint8_t *in = arg;
    static const uint8_t zero[48];

    /* An image that XRSTOR would refuse (SDM 1, 13.8): unknown components, compaction, MXCSR. */
    if ((le64_get(in + HEADER) & ~7ull & ~0xe0ull) != 0 ||
        memcmp(in + HEADER + 8, zero, sizeof(zero)) != 0 ||
        (le32_get(in + MXCSR) & (uint32_t)MXCSR_RESERVED) != 0) {
        return -EINVAL;
    }
    memcpy(((struct vcpu *)object)->cpu->xsave, in, IMAGE_BYTES);
    return 0;
}

int vcpu_get_xcrs(void *object, void *arg)
{
    struct kvm_xcrs x = { .nr_xcrs = 1 };

    x.xcrs[0].value = ((struct vcpu *)object)->cpu->xcr0;
    memcpy(arg, &x, sizeof(x));
    return 0;
}

int vcpu_set_xcrs(void *object, void *arg)
{
    struct cpu *c = ((struct vcpu *)object)->cpu;
    struct kvm_xcrs x;

    memcpy(&x, arg, sizeof(x));
    if (x.nr_xcrs > KVM_MAX_XCRS || x.flags != 0) {
        return -EINVAL;
    }
    for (uint32_t i = 0; i < x.nr_xcrs; i++) {
        uint64_t value = x.xcrs[i].value;

        if (x.xcrs[i].xcr != 0) {
            continue;
        }
        if ((value & 1) == 0 || ((value & 4) != 0 && (value & 2) == 0)) {
            return -EINVAL;
        }
        c->xcr0 = value;
        cpu_state_changed(c);
    }
    return 0;
}
