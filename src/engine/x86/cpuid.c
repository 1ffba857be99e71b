/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/x86/cpuid.h"

#include "engine/exec/core.h"
#include "engine/x86/xstate.h"

#include <cpuid.h>

enum { FLAG_INDEX = 1 }; /* KVM_CPUID_FLAG_SIGNIFCANT_INDEX */

#define B(n) (UINT32_C(1) << (n))

/* What the engine executes where the host can; and what it does by itself, whatever the host. */
#define M_1C                                                                                      \
    (B(0) | B(1) | B(9) | B(12) | B(13) | B(19) | B(20) | B(23) | B(25) | B(26) | B(28) | B(29) | \
     B(30))
#define E_1C (B(17) | B(21) | B(22) | B(24) | B(31)) /* PCID x2APIC MOVBE deadline hypervisor */
#define M_1D                                                                                \
    (B(0) | B(2) | B(3) | B(4) | B(5) | B(6) | B(7) | B(8) | B(9) | B(11) | B(12) | B(13) | \
     B(14) | B(15) | B(16) | B(17) | B(19) | B(23) | B(24) | B(25) | B(26))
#define M_7B  (B(3) | B(5) | B(8) | B(9) | B(18) | B(19) | B(23) | B(24) | B(29))
#define E_7B  (B(0) | B(1) | B(7) | B(10) | B(20)) /* FSGSBASE TSC_ADJUST SMEP INVPCID SMAP */
#define M_7C  (B(8) | B(9) | B(10))
#define E_7C  (B(2) | B(22))          /* UMIP RDPID */
#define M_7D  B(4)                    /* FSRM */
#define E_7D  (B(26) | B(27) | B(29)) /* IBRS/IBPB, STIBP, ARCH_CAPABILITIES */
#define M_E1C (B(0) | B(5) | B(6) | B(8))
#define M_E1D                                                                                      \
    (B(0) | B(1) | B(2) | B(3) | B(4) | B(5) | B(6) | B(7) | B(8) | B(9) | B(11) | B(12) | B(13) | \
     B(14) | B(15) | B(16) | B(17) | B(22) | B(23) | B(24))
#define E_E1D (B(20) | B(26) | B(27) | B(29)) /* NX, 1 GiB pages, RDTSCP, LM */

struct builder {
    struct cpuid_entry *entries;
    unsigned n;
};

static struct cpuid_entry host(uint32_t leaf, uint32_t sub)
{
    struct cpuid_entry e = { .function = leaf, .index = sub };

    __cpuid_count(leaf, sub, e.eax, e.ebx, e.ecx, e.edx);
    return e;
}

static void add(struct builder *b, struct cpuid_entry e)
{
    if (b->n < CPUID_MAX_ENTRIES) {
        b->entries[b->n++] = e;
    }
}

static void add_xstate(struct builder *b)
{
    bool avx = (xstate_supported() & XCR0_AVX) != 0;
    uint32_t bytes = avx ? XS_BYTES : 576;

    add(b, (struct cpuid_entry) { .function = 13,
                                  .flags = FLAG_INDEX,
                                  .eax = (uint32_t)xstate_supported(),
                                  .ebx = bytes,
                                  .ecx = bytes });
    /* XSAVEOPT, XSAVEC, XGETBV with ECX 1, XSAVES. */
    add(b, (struct cpuid_entry) { .function = 13, .index = 1, .flags = FLAG_INDEX, .eax = 15 });
    if (avx) {
        add(b, (struct cpuid_entry) {
                   .function = 13, .index = 2, .flags = FLAG_INDEX, .eax = 256, .ebx = XS_YMMH });
    }
}

static void add_basic(struct builder *b)
{
    uint32_t top = host(0, 0).eax;
    struct cpuid_entry e = host(0, 0);

    e.eax = 13;
    add(b, e);
    e = host(1, 0);
    e.ebx &= 0xff00; /* CLFLUSH size; APIC ID and count are the client's */
    e.ecx = (e.ecx & M_1C) | E_1C;
    e.edx = (e.edx & M_1D) | B(9);
    if ((xstate_supported() & XCR0_AVX) == 0) {
        e.ecx &= ~(B(12) | B(28) | B(29));
    }
    add(b, e);
    e = top >= 7 ? host(7, 0) : (struct cpuid_entry) { .function = 7 };
    e.flags = FLAG_INDEX;
    e.eax = 0;
    e.ebx = (e.ebx & M_7B) | E_7B;
    e.ecx = (e.ecx & M_7C) | E_7C;
    e.edx = (e.edx & M_7D) | E_7D;
    if ((xstate_supported() & XCR0_AVX) == 0) {
        e.ebx &= ~B(5);
        e.ecx &= ~(B(9) | B(10));
    }
    add(b, e);
    if (top >= 4 && (host(4, 0).eax & 31) != 0) { /* Intel's cache leaf */
        for (uint32_t sub = 0; sub < 8; sub++) {
            e = host(4, sub);
            e.flags = FLAG_INDEX;
            e.eax &= 0x3fff; /* one core, one thread share it; the client says otherwise */
            add(b, e);
            if ((e.eax & 31) == 0) {
                break;
            }
        }
    }
    add(b, (struct cpuid_entry) { .function = 6, .eax = 4 }); /* ARAT */
    add(b, (struct cpuid_entry) { .function = 11, .flags = FLAG_INDEX });
    add_xstate(b);
}

static void add_extended(struct builder *b)
{
    uint32_t top = host(0x80000000, 0).eax;
    struct cpuid_entry e = host(0x80000000, 0);

    e.eax = 0x80000021;
    add(b, e);
    e = host(0x80000001, 0);
    e.ebx = 0;
    e.ecx = (e.ecx & M_E1C) | B(0);
    e.edx = (e.edx & M_E1D) | E_E1D | B(11);
    add(b, e);
    for (uint32_t leaf = 0x80000002; leaf <= 0x80000006 && leaf <= top; leaf++) {
        add(b, host(leaf, 0));
    }
    e = (struct cpuid_entry) { .function = 0x80000007 };
    if (top >= 0x80000007) {
        e.edx = host(0x80000007, 0).edx & B(8); /* invariant TSC */
    }
    add(b, e);
    e = (struct cpuid_entry) { .function = 0x80000008, .eax = 48 << 8 | 46 };
    if (top >= 0x80000008) {
        uint32_t bits = host(0x80000008, 0).eax & 0xff;

        e.eax = 48 << 8 | (bits < 52 ? bits : 52);
    }
    add(b, e);
    /* No nested data breakpoints, LFENCE serialises, a null selector clears the base, SRSO_NO. */
    add(b, (struct cpuid_entry) { .function = 0x80000021, .eax = B(0) | B(2) | B(6) | B(29) });
}

unsigned cpuid_supported(struct cpuid_entry entries[CPUID_MAX_ENTRIES])
{
    struct builder b = { .entries = entries };

    add_basic(&b);
    add_extended(&b);
    return b.n;
}

uint64_t arch_capabilities(void)
{
    /* A guest's code never runs natively next to data of another privilege level without the
     * engine's own checks, so that the guest need not pay for: RDCL, (IBRS_ALL:) branch target
     * injection, L1TF, SSB, MDS, the page-size errata, TAA, MMIO stale data, PBRSB, GDS, RFDS. */
    return B(0) | B(1) | B(3) | B(4) | B(5) | B(6) | B(8) | B(13) | B(14) | B(15) | B(20) | B(24) |
           B(26) | B(27);
}

static const struct cpuid_entry *find(const struct cpuid_table *t, uint32_t leaf, uint32_t sub)
{
    for (unsigned i = 0; i < t->n; i++) {
        const struct cpuid_entry *e = &t->entries[i];

        if (e->function == leaf && ((e->flags & FLAG_INDEX) == 0 || e->index == sub)) {
            return e;
        }
    }
    return NULL;
}

void cpu_set_cpuid(struct cpu *cpu, const struct cpuid_entry *entries, unsigned n)
{
    struct cpuid_table *t = &interp_of(cpu)->cpuid;
    const struct cpuid_entry *e;

    if (n > CPUID_MAX_ENTRIES) {
        n = CPUID_MAX_ENTRIES;
    }
    if (n == 0) {
        t->n = cpuid_supported(t->entries);
    } else {
        memcpy(t->entries, entries, n * sizeof(entries[0]));
        t->n = n;
    }
    memset(t->words, 0, sizeof(t->words));
    e = find(t, 0, 0);
    t->intel = e != NULL && e->ebx == signature_INTEL_ebx;
    e = find(t, 1, 0);
    if (e != NULL) {
        t->words[CPUID_W_1C] = e->ecx;
        t->words[CPUID_W_1D] = e->edx;
        cpu->reset_signature = e->eax;
    }
    e = find(t, 7, 0);
    if (e != NULL) {
        t->words[CPUID_W_7B] = e->ebx;
        t->words[CPUID_W_7C] = e->ecx;
        t->words[CPUID_W_7D] = e->edx;
    }
    e = find(t, 0x80000001, 0);
    if (e != NULL) {
        t->words[CPUID_W_E1C] = e->ecx;
        t->words[CPUID_W_E1D] = e->edx;
    }
    e = find(t, 0x80000008, 0);
    cpu->phys_bits = 36;
    if (e != NULL && (e->eax & 0xff) >= 32 && (e->eax & 0xff) <= 52) {
        cpu->phys_bits = (uint8_t)e->eax;
    }
}

bool cpuid_has(const struct cpu *cpu, unsigned feature)
{
    return (interp_of(cpu)->cpuid.words[feature / 32] >> (feature % 32) & 1) != 0;
}

bool cpuid_is_intel(const struct cpu *cpu)
{
    return interp_of(cpu)->cpuid.intel;
}

void cpuid_query(const struct cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
    const struct cpuid_table *t = &interp_of(cpu)->cpuid;
    const struct cpuid_entry *e = find(t, leaf, sub);
    const struct cpuid_entry *top;

    memset(out, 0, 4 * sizeof(out[0]));
    if (e == NULL) {
        /* Intel answers leaves above the last with the last basic leaf's data. */
        top = find(t, leaf & 0xffff0000, 0);
        if (!t->intel || (top != NULL && leaf <= top->eax) || (leaf & 0x40000000) != 0) {
            return;
        }
        top = find(t, 0, 0);
        e = top != NULL ? find(t, top->eax, sub) : NULL;
        if (e == NULL) {
            return;
        }
    }
    out[0] = e->eax;
    out[1] = e->ebx;
    out[2] = e->ecx;
    out[3] = e->edx;
    switch (leaf) {
    case 1:
        out[2] &= ~B(27);
        out[2] |= (cpu->cr4 & CR4_OSXSAVE) != 0 ? B(27) : 0;
        out[3] &= ~B(9);
        out[3] |= (cpu->apic_base & 0x800) != 0 || cpu->lapic == NULL ? e->edx & B(9) : 0;
        break;
    case 11:
        out[2] = (out[2] & ~0xffu) | (sub & 0xff);
        break;
    case 13:
        if (sub == 0) {
            out[1] = (cpu->xcr0 & XCR0_AVX) != 0 ? XS_BYTES : 576;
        } else if (sub == 1 && (e->eax & 10) != 0) {
            out[1] = (cpu->xcr0 & XCR0_AVX) != 0 ? XS_BYTES : 576;
        }
        break;
    default:
        break;
    }
}
