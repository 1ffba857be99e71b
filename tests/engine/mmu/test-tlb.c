/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/mmu/tlb.h"

#include "engine/x86/cpu.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

static void fill(struct cpu *cpu, uint64_t va, uint64_t gpa_bits)
{
    unsigned slot = tlb_slot(&cpu->tlb, va);

    cpu->tlb.slot[TLB_KERNEL][slot].tag_r = va & ~UINT64_C(0xfff);
    cpu->tlb.gpa[TLB_KERNEL][slot] = gpa_bits;
    tlb_note_filled(&cpu->tlb, TLB_KERNEL, slot, (gpa_bits & TLB_GPA_GLOBAL) != 0);
}

static bool has(const struct cpu *cpu, uint64_t va)
{
    return cpu->tlb.slot[TLB_KERNEL][tlb_slot(&cpu->tlb, va)].tag_r == (va & ~UINT64_C(0xfff));
}

static void test_flush(void **state)
{
    struct cpu *cpu = aligned_alloc(4096, (sizeof(*cpu) + 4095) & ~(size_t)4095);

    (void)state;
    assert_non_null(cpu);
    memset(cpu, 0, sizeof(*cpu));
    tlb_init(&cpu->tlb);
    assert_false(has(cpu, 0));
    fill(cpu, 0x1000, 0);
    fill(cpu, 0xffffffff81002000, TLB_GPA_GLOBAL);
    tlb_flush(cpu, true);
    assert_false(has(cpu, 0x1000));
    assert_true(has(cpu, 0xffffffff81002000));
    tlb_flush(cpu, false);
    assert_false(has(cpu, 0xffffffff81002000));

    /* One piece's INVLPG takes all pieces of a large page, and no other page. */
    fill(cpu, 0x40001000, TLB_GPA_LARGE);
    fill(cpu, 0x40002000, TLB_GPA_LARGE);
    fill(cpu, 0x40003000, 0);
    cpu->tlb.large_lo = cpu->tlb.large_hi = 0x40000000;
    cpu->tlb.large_seen = tlb_region_bit(0x40000000);
    tlb_flush_page(cpu, 0x40001000);
    assert_false(has(cpu, 0x40001000));
    assert_false(has(cpu, 0x40002000));
    assert_true(has(cpu, 0x40003000));
    free(cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_flush) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
