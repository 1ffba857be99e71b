/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guest.h"

#include "base/bytes.h"
#include "vireo/kvm.h"

#include <stdlib.h>
#include <sys/mman.h>

#define FLAT_CODE UINT64_C(0x00cf9b000000ffff)
#define FLAT_DATA UINT64_C(0x00cf93000000ffff)
#define LONG_CODE UINT64_C(0x00af9b000000ffff)
#define DPL3      UINT64_C(0x0000600000000000)

static void *number(uintptr_t n)
{
    return (void *)n;
}

static bool has_error(unsigned vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

static void fill_tables(struct guest *g)
{
    bool wide = g->mode == GUEST_64;
    uint8_t *gdt = g->ram + GUEST_GDT;

    le64_put(gdt + 0x08, wide ? LONG_CODE : FLAT_CODE);
    le64_put(gdt + 0x10, FLAT_DATA);
    le64_put(gdt + 0x18, FLAT_DATA | DPL3);
    le64_put(gdt + 0x20, (wide ? LONG_CODE : FLAT_CODE) | DPL3);
    for (unsigned v = 0; v < 256; v++) {
        uint32_t stub = GUEST_STUBS + v * 8;
        uint8_t *p = g->ram + stub;
        uint64_t gate = (stub & 0xffff) | UINT64_C(8) << 16 | UINT64_C(0xee00) << 32 |
                        (uint64_t)(stub >> 16) << 48;

        p[0] = 0x68; /* push imm32; hlt */
        le32_put(p + 1, v);
        p[5] = 0xf4;
        if (wide) {
            le64_put(g->ram + GUEST_IDT + v * 16, gate);
        } else {
            le64_put(g->ram + GUEST_IDT + v * 8, gate);
        }
    }
    /* RSP0, or ESP0 and SS0. */
    le32_put(g->ram + GUEST_TSS + 4, GUEST_STACK + 0x8000);
    le32_put(g->ram + GUEST_TSS + 8, wide ? 0 : 0x10);
}

static void fill_page_tables(struct guest *g)
{
    le64_put(g->ram + GUEST_PML4, (GUEST_PML4 + 0x1000) | 7);
    le64_put(g->ram + GUEST_PML4 + 0x1000, (GUEST_PML4 + 0x2000) | 7);
    for (uint64_t i = 0; i < 512; i++) {
        le64_put(g->ram + GUEST_PML4 + 0x2000 + 8 * i, i << 21 | 0x87);
        le64_put(g->ram + GUEST_PT + 8 * i, i << 12 | 7);
    }
    le64_put(g->ram + GUEST_PML4 + 0x2000, GUEST_PT | 7);
}

static struct kvm_segment segment(uint16_t selector, unsigned type, bool wide)
{
    return (struct kvm_segment) { .selector = selector,
                                  .limit = UINT32_MAX,
                                  .type = (uint8_t)type,
                                  .present = 1,
                                  .s = 1,
                                  .g = 1,
                                  .db = !wide,
                                  .l = wide };
}

static void enter_mode(struct guest *g)
{
    struct kvm_regs regs = { .rip = GUEST_CODE, .rflags = 2, .rsp = GUEST_STACK };
    struct kvm_sregs s;

    guest_get_sregs(g, &s);
    if (g->mode == GUEST_REAL) {
        s.cs.selector = 0;
        s.cs.base = 0;
        regs.rsp = 0x7000;
    } else {
        s.cs = segment(8, 11, g->mode == GUEST_64);
        s.ds = s.es = s.ss = s.fs = s.gs = segment(0x10, 3, false);
        s.gdt.base = GUEST_GDT;
        s.gdt.limit = 0xff;
        s.idt.base = GUEST_IDT;
        s.idt.limit = 0xfff;
        s.tr = (struct kvm_segment) { .base = GUEST_TSS, .limit = 0x67, .type = 11, .present = 1 };
        s.cr0 = 0x33;
    }
    if (g->mode == GUEST_64) {
        s.cr0 |= 0x80010000; /* PG, WP */
        s.cr3 = GUEST_PML4;
        s.cr4 = 0x620;  /* PAE, OSFXSR, OSXMMEXCPT */
        s.efer = 0xd00; /* LME, LMA, NXE */
    }
    guest_set_sregs(g, &s);
    guest_set_regs(g, &regs);
}

void guest_init(struct guest *g, enum guest_mode mode, bool interpreter)
{
    struct kvm_userspace_memory_region slot = { .memory_size = GUEST_RAM };
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 128 * sizeof(cpuid->entries[0]));

    (void)setenv("VIREO_ENGINE", interpreter ? "interpreter" : "jit", 1);
    *g = (struct guest) { .mode = mode };
    g->sys = vireo_kvm_open();
    assert_true(g->sys >= 0);
    g->vm = vireo_kvm_ioctl(g->sys, KVM_CREATE_VM, NULL);
    assert_true(g->vm >= 0);
    g->ram = mmap(NULL, GUEST_RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(g->ram != MAP_FAILED);
    slot.userspace_addr = (uintptr_t)g->ram;
    assert_int_equal(vireo_kvm_ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
    g->vcpu = vireo_kvm_ioctl(g->vm, KVM_CREATE_VCPU, number(0));
    assert_true(g->vcpu >= 0);
    g->run_bytes = (size_t)vireo_kvm_ioctl(g->sys, KVM_GET_VCPU_MMAP_SIZE, NULL);
    g->run = mmap(NULL, g->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
    assert_true(g->run != MAP_FAILED);
    assert_non_null(cpuid);
    cpuid->nent = 128;
    assert_int_equal(vireo_kvm_ioctl(g->sys, KVM_GET_SUPPORTED_CPUID, cpuid), 0);
    assert_int_equal(vireo_kvm_ioctl(g->vcpu, KVM_SET_CPUID2, cpuid), 0);
    free(cpuid);
    fill_tables(g);
    fill_page_tables(g);
    enter_mode(g);
}

void guest_done(struct guest *g)
{
    (void)munmap(g->run, g->run_bytes);
    (void)vireo_kvm_close(g->vcpu);
    (void)vireo_kvm_close(g->vm);
    (void)vireo_kvm_close(g->sys);
    (void)munmap(g->ram, GUEST_RAM);
}

void guest_code(struct guest *g, uint32_t at, const void *start, const void *end)
{
    memcpy(g->ram + at, start, (size_t)((const uint8_t *)end - (const uint8_t *)start));
}

uint32_t guest_run(struct guest *g)
{
    assert_int_equal(vireo_kvm_ioctl(g->vcpu, KVM_RUN, NULL), 0);
    return g->run->exit_reason;
}

void guest_get_regs(struct guest *g, struct kvm_regs *regs)
{
    assert_int_equal(vireo_kvm_ioctl(g->vcpu, KVM_GET_REGS, regs), 0);
}

void guest_set_regs(struct guest *g, const struct kvm_regs *regs)
{
    struct kvm_regs copy = *regs;

    assert_int_equal(vireo_kvm_ioctl(g->vcpu, KVM_SET_REGS, &copy), 0);
}

void guest_get_sregs(struct guest *g, struct kvm_sregs *sregs)
{
    assert_int_equal(vireo_kvm_ioctl(g->vcpu, KVM_GET_SREGS, sregs), 0);
}

void guest_set_sregs(struct guest *g, const struct kvm_sregs *sregs)
{
    struct kvm_sregs copy = *sregs;

    assert_int_equal(vireo_kvm_ioctl(g->vcpu, KVM_SET_SREGS, &copy), 0);
}

struct guest_trap guest_trap(struct guest *g)
{
    bool wide = g->mode == GUEST_64;
    unsigned size = wide ? 8 : 4;
    struct guest_trap t = { 0 };
    struct kvm_sregs s;
    struct kvm_regs r;
    uint64_t word[4] = { 0 };
    unsigned k = 0;

    guest_get_regs(g, &r);
    guest_get_sregs(g, &s);
    assert_true(r.rsp < GUEST_RAM - 64);
    for (unsigned n = 0; n < 4; n++) {
        word[n] = wide ? le64_get(g->ram + r.rsp + n * size) : le32_get(g->ram + r.rsp + n * size);
    }
    t.vector = (unsigned)word[k++];
    if (has_error(t.vector)) {
        t.error = word[k++];
    }
    t.rip = word[k];
    t.cr2 = s.cr2;
    t.rflags = wide ? le64_get(g->ram + r.rsp + (k + 2) * size)
                    : le32_get(g->ram + r.rsp + (k + 2) * size);
    return t;
}
