/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small guests in every mode, on the interpreter and on the translator: faults and their error
 * codes, paging rights, devices inside instructions, code that changes itself, task switches.
 */
#include "guest.h"

#include "base/bytes.h"
#include "vireo/kvm.h"

#define CODE(name, bits, text)                                                   \
    extern const uint8_t name[], name##_end[];                                   \
    __asm__(".pushsection .rodata\n.code" #bits "\n" #name ":\n" text "\n" #name \
            "_end:\n.code64\n.popsection")

static bool interpreter;

static void start(struct guest *g, enum guest_mode mode, const uint8_t *from, const uint8_t *to)
{
    guest_init(g, mode, interpreter);
    guest_code(g, GUEST_CODE, from, to);
}

static void expect_trap(struct guest *g, unsigned vector, uint64_t error)
{
    struct guest_trap t;

    assert_int_equal(guest_run(g), KVM_EXIT_HLT);
    t = guest_trap(g);
    assert_int_equal(t.vector, vector);
    assert_int_equal(t.error, error);
}

/* ---- paging ---- */

enum { P = 1, W = 2, U = 4, RSVD = 8, FETCH = 16 };
CODE(code_read, 64, "mov (%rdi), %rax; hlt");
CODE(code_write, 64, "movl $1, (%rdi); hlt");
CODE(code_fetch, 64, "jmp *%rdi");
CODE(code_stac_read, 64, "stac; mov (%rdi), %rax; hlt");
CODE(code_user_read, 64,
     "pushq $0x1b; pushq $0x28000; pushq $2; pushq $0x23; lea 1f(%rip), %rax; push %rax; iretq;"
     "1: mov (%rdi), %rax; hlt");

#define NX (UINT64_C(1) << 63)

static const struct {
    const uint8_t *from, *to;
    uint64_t pte; /* of the page at GUEST_DATA, beside the address */
    uint64_t cr4; /* SMEP, SMAP to add */
    bool no_wp;
    int error; /* -1: no fault */
} rights[] = {
    { code_read, code_read_end, P | W, 0, false, -1 },
    { code_read, code_read_end, 0, 0, false, 0 },
    { code_read, code_read_end, P | W | UINT64_C(1) << 51, 0, false, P | RSVD },
    { code_write, code_write_end, 0, 0, false, W },
    { code_write, code_write_end, P, 0, false, P | W },
    { code_write, code_write_end, P, 0, true, -1 },
    { code_fetch, code_fetch_end, P | NX, 0, false, P | FETCH },
    { code_fetch, code_fetch_end, P | W, 0, false, -1 },
    { code_fetch, code_fetch_end, P | U, 1 << 20, false, P | FETCH },
    { code_read, code_read_end, P | U, 1 << 21, false, P },
    { code_stac_read, code_stac_read_end, P | U, 1 << 21, false, -1 },
    { code_user_read, code_user_read_end, P, 0, false, P | U },
};

static void test_rights(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
        struct kvm_regs r;
        struct kvm_sregs s;
        struct guest_trap t;
        struct guest g;
        uint8_t *pte;

        start(&g, GUEST_64, rights[i].from, rights[i].to);
        pte = g.ram + GUEST_PT + 8 * (GUEST_DATA >> 12);
        for (unsigned page = 0; (rights[i].cr4 & 3 << 20) != 0 && page < 512; page++) {
            uint8_t *p = g.ram + GUEST_PT + 8 * page; /* supervisor pages for the rest */

            le64_put(p, le64_get(p) & ~UINT64_C(4));
        }
        le64_put(pte, GUEST_DATA | rights[i].pte);
        memset(g.ram + GUEST_DATA, 0xf4, 16);
        guest_get_regs(&g, &r);
        r.rdi = GUEST_DATA;
        guest_set_regs(&g, &r);
        guest_get_sregs(&g, &s);
        s.cr4 |= rights[i].cr4;
        if (rights[i].no_wp) {
            s.cr0 &= ~UINT64_C(0x10000);
        }
        guest_set_sregs(&g, &s);
        assert_int_equal(guest_run(&g), KVM_EXIT_HLT);
        if (rights[i].error < 0) {
            uint64_t want = (rights[i].from == code_write ? 0x60 : 0x20);

            guest_get_regs(&g, &r);
            assert_true(r.rsp == GUEST_STACK); /* no frame was pushed */
            assert_int_equal(le64_get(pte) & 0x60, want);
        } else {
            t = guest_trap(&g);
            assert_int_equal(t.vector, 14);
            assert_int_equal(t.error, rights[i].error);
            assert_int_equal(t.cr2, GUEST_DATA);
        }
        guest_done(&g);
    }
}

CODE(code_stale, 64,
     "mov (%rdi), %rax; mov %rsi, (%rbx); mov (%rdi), %rcx; invlpg (%rdi); mov (%rdi), %rdx; hlt");

static void test_invlpg(void **state)
{
    struct kvm_regs r;
    struct guest g;

    (void)state;
    start(&g, GUEST_64, code_stale, code_stale_end);
    le64_put(g.ram + GUEST_DATA, 0x1111);
    le64_put(g.ram + GUEST_DATA + 0x1000, 0x2222);
    guest_get_regs(&g, &r);
    r.rdi = GUEST_DATA;
    r.rbx = GUEST_PT + 8 * (GUEST_DATA >> 12);
    r.rsi = (GUEST_DATA + 0x1000) | 7;
    guest_set_regs(&g, &r);
    assert_int_equal(guest_run(&g), KVM_EXIT_HLT);
    guest_get_regs(&g, &r);
    assert_int_equal(r.rax, 0x1111);
    assert_int_equal(r.rdx, 0x2222);
    guest_done(&g);
}

/* ---- exceptions ---- */

CODE(code_divide, 64, "xor %ecx, %ecx; div %ecx; hlt");
CODE(code_ud, 64, "ud2");
CODE(code_canonical, 64, "mov $0x8000000000000000, %rax; mov (%rax), %rax; hlt");
CODE(code_stack, 64, "mov $0x8000000000000000, %rsp; push %rax; hlt");
CODE(code_int3, 64, "int3");
CODE(code_msr, 64, "mov $0x12345, %ecx; rdmsr; hlt");
CODE(code_segment, 64, "mov $0x80, %eax; mov %eax, %ds; hlt");
CODE(code_gp_32, 32, "mov $0x28, %eax; mov %eax, %es; hlt");
CODE(code_bound_32, 32, "movl $5, 0x30000; movl $9, 0x30004; mov $4, %eax; bound %eax, 0x30000");
CODE(code_into_32, 32, "mov $0x7fffffff, %eax; inc %eax; into; hlt");
CODE(code_mf, 64, "fninit; pushq $0; fldcw (%rsp); fldz; fld1; fdivp; fwait; hlt");
CODE(code_xm, 64, "pushq $0; ldmxcsr (%rsp); xorps %xmm0, %xmm0; divss %xmm0, %xmm0; hlt");

static const struct {
    enum guest_mode mode;
    const uint8_t *from, *to;
    unsigned vector;
    uint64_t error;
    unsigned at; /* offset of the reported instruction; traps: of the next */
} traps[] = {
    { GUEST_64, code_divide, code_divide_end, 0, 0, 2 },
    { GUEST_64, code_ud, code_ud_end, 6, 0, 0 },
    { GUEST_64, code_canonical, code_canonical_end, 13, 0, 10 },
    { GUEST_64, code_int3, code_int3_end, 3, 0, 1 },
    { GUEST_64, code_msr, code_msr_end, 13, 0, 5 },
    { GUEST_64, code_segment, code_segment_end, 13, 0x80, 5 },
    { GUEST_32, code_gp_32, code_gp_32_end, 13, 0x28, 5 },
    { GUEST_32, code_bound_32, code_bound_32_end, 5, 0, 25 },
    { GUEST_32, code_into_32, code_into_32_end, 4, 0, 7 },
    { GUEST_64, code_mf, code_mf_end, 16, 0, 13 },
    { GUEST_64, code_xm, code_xm_end, 19, 0, 9 },
};

static void test_traps(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(traps) / sizeof(traps[0]); i++) {
        struct guest_trap t;
        struct guest g;

        start(&g, traps[i].mode, traps[i].from, traps[i].to);
        expect_trap(&g, traps[i].vector, traps[i].error);
        t = guest_trap(&g);
        assert_int_equal(t.rip, GUEST_CODE + traps[i].at);
        guest_done(&g);
    }
}

/* A fault while a page fault is delivered: #DF; with no handler for that either: shutdown. */
static void test_double_fault(void **state)
{
    struct guest g;

    (void)state;
    start(&g, GUEST_64, code_stack, code_stack_end);
    le64_put(g.ram + GUEST_TSS + 36, GUEST_STACK); /* IST1 for #DF */
    g.ram[GUEST_IDT + 8 * 16 + 4] = 1;
    expect_trap(&g, 8, 0);
    guest_done(&g);

    start(&g, GUEST_64, code_stack, code_stack_end);
    assert_int_equal(guest_run(&g), KVM_EXIT_SHUTDOWN);
    guest_done(&g);
}

/* ---- devices inside instructions ---- */

CODE(code_mmio, 64,
     "mov $0x10000000, %esi; lea 0x100(%rsi), %edi; cld; mov $3, %ecx; rep movsl;"
     "addl $5, (%rsi); pushq (%rsi); pop 8(%rsi); movups (%rsi), %xmm0; movups %xmm0, 0x30000;"
     "fldl (%rsi); fstpl 16(%rsi); lock xaddl %eax, (%rsi); hlt");

static void test_mmio(void **state)
{
    static const struct {
        bool write;
        unsigned len;
        uint64_t at, data;
    } want[] = {
        { false, 4, 0x000, 0x11 },
        { true, 4, 0x100, 0x11 },
        { false, 4, 0x004, 0x22 },
        { true, 4, 0x104, 0x22 },
        { false, 4, 0x008, 0x33 },
        { true, 4, 0x108, 0x33 },
        { false, 4, 0x00c, 0x10 },
        { true, 4, 0x00c, 0x15 },
        { false, 8, 0x00c, 0x77 },
        { true, 8, 0x014, 0x77 },
        { false, 8, 0x00c, 0xaa },
        { false, 8, 0x014, 0xbb },
        { false, 8, 0x00c, UINT64_C(0x3ff0000000000000) },
        { true, 8, 0x01c, UINT64_C(0x3ff0000000000000) },
        { false, 4, 0x00c, 7 },
        { true, 4, 0x00c, 8 },
    };
    struct kvm_regs r;
    struct guest g;

    (void)state;
    start(&g, GUEST_64, code_mmio, code_mmio_end);
    guest_get_regs(&g, &r);
    r.rax = 1;
    guest_set_regs(&g, &r);
    for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_int_equal(guest_run(&g), KVM_EXIT_MMIO);
        assert_int_equal(g.run->mmio.phys_addr, GUEST_MMIO + want[i].at);
        assert_int_equal(g.run->mmio.len, want[i].len);
        assert_int_equal(g.run->mmio.is_write, want[i].write);
        if (want[i].write) {
            uint64_t v = 0;

            memcpy(&v, g.run->mmio.data, want[i].len);
            assert_int_equal(v, want[i].data);
        } else {
            memcpy(g.run->mmio.data, &want[i].data, 8);
        }
        if (i == 0) {
            le32_put(g.ram + GUEST_DATA, 0); /* RAM may change meanwhile */
        }
    }
    assert_int_equal(guest_run(&g), KVM_EXIT_HLT);
    guest_get_regs(&g, &r);
    assert_int_equal(r.rax, 7);
    assert_int_equal(r.rsp, GUEST_STACK);
    assert_int_equal(le64_get(g.ram + GUEST_DATA), 0xaa);
    assert_int_equal(le64_get(g.ram + GUEST_DATA + 8), 0xbb);
    guest_done(&g);
}

CODE(code_string_port, 16, "cld; mov $0x10, %dx; mov $4, %cx; mov $0x6000, %di; rep insb; hlt");

static void test_ports(void **state)
{
    struct guest g;

    (void)state;
    start(&g, GUEST_REAL, code_string_port, code_string_port_end);
    for (unsigned i = 0; i < 4;) {
        assert_int_equal(guest_run(&g), KVM_EXIT_IO);
        assert_int_equal(g.run->io.direction, KVM_EXIT_IO_IN);
        for (unsigned k = 0; k < g.run->io.count; k++) {
            ((uint8_t *)g.run)[g.run->io.data_offset + k] = (uint8_t)(0xa0 + i++);
        }
    }
    assert_int_equal(guest_run(&g), KVM_EXIT_HLT);
    assert_int_equal(le32_get(g.ram + 0x6000), 0xa3a2a1a0);
    guest_done(&g);
}

/* ---- code that changes ---- */

CODE(code_smc, 64,
     "xor %ebx, %ebx; mov $1000, %ecx;"
     "1: incl 2f+1(%rip);"
     "2: mov $0, %eax; add %eax, %ebx; dec %ecx; jnz 1b; hlt");

static void test_smc(void **state)
{
    struct kvm_regs r;
    struct guest g;

    (void)state;
    start(&g, GUEST_64, code_smc, code_smc_end);
    assert_int_equal(guest_run(&g), KVM_EXIT_HLT);
    guest_get_regs(&g, &r);
    assert_int_equal(r.rbx, 1000 * 1001 / 2);
    guest_done(&g);
}

/* ---- tasks ---- */

CODE(code_task, 32, "mov $0x1234, %ecx; ljmp $0x30, $0; 1: hlt");
CODE(code_task_2, 32, "mov %eax, 0x30000; hlt");

static void put_tss(struct guest *g, unsigned sel, uint32_t at, unsigned type)
{
    le64_put(g->ram + GUEST_GDT + sel, 0x67 | (uint64_t)at << 16 | (uint64_t)(0x80 | type) << 40);
}

static void test_task(void **state)
{
    const uint32_t next = 0x6000;
    struct kvm_sregs s;
    struct guest g;
    uint8_t *t;

    (void)state;
    start(&g, GUEST_32, code_task, code_task_end);
    guest_code(&g, GUEST_CODE + 0x100, code_task_2, code_task_2_end);
    put_tss(&g, 0x28, GUEST_TSS, 11);
    put_tss(&g, 0x30, next, 9);
    guest_get_sregs(&g, &s);
    s.tr.selector = 0x28;
    guest_set_sregs(&g, &s);
    t = g.ram + next;
    le32_put(t + 32, GUEST_CODE + 0x100);
    le32_put(t + 36, 2);
    le32_put(t + 40, 0xabcd); /* EAX */
    le32_put(t + 56, GUEST_STACK);
    for (unsigned k = 0; k < 6; k++) {
        le32_put(t + 72 + 4 * k, k == 1 ? 8 : 0x10);
    }
    assert_int_equal(guest_run(&g), KVM_EXIT_HLT);
    assert_int_equal(le32_get(g.ram + GUEST_DATA), 0xabcd);
    guest_get_sregs(&g, &s);
    assert_int_equal(s.tr.selector, 0x30);
    assert_int_equal(le32_get(g.ram + GUEST_TSS + 32), GUEST_CODE + 12); /* EIP */
    assert_int_equal(le32_get(g.ram + GUEST_TSS + 44), 0x1234);          /* ECX */
    assert_int_equal(g.ram[GUEST_GDT + 0x28 + 5] & 2, 0);                /* not busy */
    guest_done(&g);
}

/* ---- single step by the client, breakpoints ---- */

CODE(code_steps, 64, "nop; inc %rax; mov %rax, %rbx; hlt");

static void test_single_step(void **state)
{
    struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
    static const unsigned at[] = { 1, 4, 7 };
    struct kvm_regs r;
    struct guest g;

    (void)state;
    start(&g, GUEST_64, code_steps, code_steps_end);
    assert_int_equal(vireo_kvm_ioctl(g.vcpu, KVM_SET_GUEST_DEBUG, &debug), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(guest_run(&g), KVM_EXIT_DEBUG);
        guest_get_regs(&g, &r);
        assert_int_equal(r.rip, GUEST_CODE + at[i]);
    }
    guest_done(&g);
}

static int with_interpreter(void **state)
{
    (void)state;
    interpreter = true;
    return 0;
}

static int with_translator(void **state)
{
    (void)state;
    interpreter = false;
    return 0;
}

int main(void)
{
#define BOTH(fn) \
    cmocka_unit_test_setup(fn, with_interpreter), cmocka_unit_test_setup(fn, with_translator)
    const struct CMUnitTest tests[] = {
        BOTH(test_rights),       BOTH(test_invlpg), BOTH(test_traps),
        BOTH(test_double_fault), BOTH(test_mmio),   BOTH(test_ports),
        BOTH(test_smc),          BOTH(test_task),   BOTH(test_single_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
