/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every instruction form of the decode table with random state, alone and in short sequences: by
 * the interpreter, by the translator, and by this machine's own processor. Registers, flags (but
 * for undefined ones), vector and x87 state, memory, and the fault must be the same.
 *
 * VIREO_SOAK=1: ten million cases; VIREO_SEED=n repeats a run; VIREO_FORM=name takes one mnemonic.
 */
#include "unit.h"

#include "engine/api/vcpu.h"
#include "engine/exec/exec.h"
#include "engine/exec/interp.h"
#include "engine/jit/jit.h"
#include "engine/x86/insn.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define HOST_KERNEL UINT64_C(0x7ffffffff000) /* and above: not this process's */

enum {
    PAGE = 4096,
    CODE = 0x20000000,
    DATA = 0x20010000, /* two pages, then a hole */
    RODATA = 0x20014000,
    DATA_BYTES = 2 * PAGE,
    XS_BYTES = 832,
    /* Guest physical. */
    G_TABLES = 0x1000,
    G_KERNEL = 0x20000, /* IDT, GDT, TSS, stubs, stack: 4 pages */
    G_CODE = 0x40000,
    G_DATA = 0x50000,
    G_RODATA = 0x60000,
    RAM_BYTES = 0x80000,
    MAX_SEQUENCE = 6,
};
#define KERNEL UINT64_C(0xffff800000000000)

struct state {
    uint64_t gpr[16], rip, rflags;
    unsigned vector; /* 3: reached the end */
    uint64_t error, cr2;
    uint8_t xs[XS_BYTES] __attribute__((aligned(64)));
    uint8_t data[DATA_BYTES];
};

static struct vm vm;
static struct vcpu vcpu;
static struct cpu *cpu;
static uint8_t *ram, *code_rw;
static uint64_t rng;

static uint64_t rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}

/* ---- this machine ---- */

static struct state *native_result;
static uint64_t host_sp;

uint64_t native_gpr[16], native_flags, native_target;
uint8_t native_xs[4096] __attribute__((aligned(64)));
uint64_t *const native_host_sp = &host_sp;
void native_enter(void);
void native_leave(void);

__asm__(".text\n"
        "native_enter:\n"
        "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "  mov native_host_sp(%rip), %rax\n"
        "  mov %rsp, (%rax)\n"
        /* The program was written at another address: IRET serializes (SDM 3A, 8.1.3). */
        "  mov %rsp, %rcx; mov %ss, %eax; push %rax; push %rcx; pushfq\n"
        "  mov %cs, %eax; push %rax; lea 1f(%rip), %rax; push %rax; iretq\n"
        "1:\n"
        "  mov $7, %eax; xor %edx, %edx\n"
        "  xrstor64 native_xs(%rip)\n"
        "  pushq native_flags(%rip)\n"
        "  popfq\n"
        "  mov native_gpr+0(%rip), %rax\n"
        "  mov native_gpr+8(%rip), %rcx\n"
        "  mov native_gpr+16(%rip), %rdx\n"
        "  mov native_gpr+24(%rip), %rbx\n"
        "  mov native_gpr+32(%rip), %rsp\n"
        "  mov native_gpr+40(%rip), %rbp\n"
        "  mov native_gpr+48(%rip), %rsi\n"
        "  mov native_gpr+56(%rip), %rdi\n"
        "  mov native_gpr+64(%rip), %r8\n"
        "  mov native_gpr+72(%rip), %r9\n"
        "  mov native_gpr+80(%rip), %r10\n"
        "  mov native_gpr+88(%rip), %r11\n"
        "  mov native_gpr+96(%rip), %r12\n"
        "  mov native_gpr+104(%rip), %r13\n"
        "  mov native_gpr+112(%rip), %r14\n"
        "  mov native_gpr+120(%rip), %r15\n"
        "  jmp *native_target(%rip)\n"
        "native_leave:\n"
        "  fninit\n"
        "  vzeroupper\n"
        "  ldmxcsr default_mxcsr(%rip)\n"
        "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "  ret\n"
        "default_mxcsr: .long 0x1f80\n");

static void on_signal(int sig, siginfo_t *info, void *context)
{
    static const int order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                   REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                   REG_R12, REG_R13, REG_R14, REG_R15 };
    ucontext_t *uc = context;
    greg_t *g = uc->uc_mcontext.gregs;
    struct state *s = native_result;

    (void)info;
    (void)sig;
    if (s == NULL) {
        abort();
    }
    native_result = NULL;
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = (uint64_t)g[order[i]];
    s->rip = (uint64_t)g[REG_RIP];
    s->rflags = (uint64_t)g[REG_EFL];
    s->vector = (unsigned)g[REG_TRAPNO];
    s->error = (uint64_t)g[REG_ERR];
    s->cr2 = s->vector == 14 ? (uint64_t)g[REG_CR2] : 0;
    if (s->vector == 14 && s->cr2 >= HOST_KERNEL)
        s->error &= ~UINT64_C(1); /* pages of the host's kernel or hypervisor are present */
    memcpy(s->xs, uc->uc_mcontext.fpregs, XS_BYTES);
    g[REG_RIP] = (greg_t)(uintptr_t)native_leave;
    g[REG_RSP] = (greg_t)host_sp;
    g[REG_EFL] = 0x202;
}

static void run_native(const struct state *in, struct state *out)
{
    union {
        uint64_t n;
        void *p;
    } data = { .n = DATA };

    memcpy(data.p, in->data, DATA_BYTES);
    memcpy(native_gpr, in->gpr, sizeof native_gpr);
    memcpy(native_xs, in->xs, XS_BYTES);
    native_flags = in->rflags;
    native_target = in->rip;
    native_result = out;
    native_enter();
    memcpy(out->data, data.p, DATA_BYTES);
}

/* ---- the guest ---- */

static void put64(uint64_t gpa, uint64_t v)
{
    memcpy(ram + gpa, &v, 8);
}

static void map_page(uint64_t va, uint64_t gpa, uint64_t bits)
{
    static uint64_t next = G_TABLES + PAGE;
    uint64_t table = G_TABLES;

    for (int level = 3; level > 0; level--) {
        uint64_t at = table + ((va >> (12 + 9 * level)) & 511) * 8, e;
        memcpy(&e, ram + at, 8);
        if (!(e & 1)) {
            e = next | 7;
            next += PAGE;
            put64(at, e);
        }
        table = e & ~UINT64_C(0xfff);
    }
    put64(table + ((va >> 12) & 511) * 8, gpa | bits | 0x60 | 1);
}

/* IDT at 0, GDT at 0x1000 - 0x100, TSS at 0x1000, stubs (HLT) at 0x2000 + 16 * vector, stack below
 * 0x4000. */
static void make_guest(void)
{
    for (unsigned i = 0; i < 4; i++)
        map_page(KERNEL + i * PAGE, G_KERNEL + i * PAGE, 2);
    map_page(CODE, G_CODE, 4);
    map_page(DATA, G_DATA, 6);
    map_page(DATA + PAGE, G_DATA + PAGE, 6);
    map_page(RODATA, G_RODATA, 4);
    for (unsigned v = 0; v < 32; v++) {
        uint64_t to = KERNEL + 0x2000 + 16 * v;
        uint64_t low =
            (to & 0xffff) | 8u << 16 | (uint64_t)0xee00 << 32 | (to >> 16 & 0xffff) << 48;
        put64(G_KERNEL + 16 * v, low);
        put64(G_KERNEL + 16 * v + 8, to >> 32);
        ram[G_KERNEL + 0x2000 + 16 * v] = 0xf4;
    }
    put64(G_KERNEL + 0x1000 + 4, KERNEL + 0x4000); /* RSP0 */

    cpu->cr0 = 0x80050033;
    cpu->cr3 = G_TABLES;
    cpu->cr4 = 0x406b0 & ~UINT64_C(0x80);
    cpu->efer = 0xd01;
    cpu->xcr0 = 7;
    cpu->idt = (struct dtable) { .base = KERNEL, .limit = 511 };
    cpu->gdt = (struct dtable) { .base = KERNEL + 0xf00, .limit = 0x3f };
    put64(G_KERNEL + 0xf08, UINT64_C(0x00af9b000000ffff));
    put64(G_KERNEL + 0xf10, UINT64_C(0x00cf93000000ffff));
    cpu->tr = (struct seg) { .base = KERNEL + 0x1000, .limit = 0x67, .sel = 0x30, .attr = 0x8b };
}

static void enter_user(void)
{
    static const struct seg code = { .sel = 0x23, .limit = 0xffffffff, .attr = 0xa0fb };
    static const struct seg data = { .sel = 0x2b, .limit = 0xffffffff, .attr = 0xc0f3 };

    for (unsigned i = 0; i < SEG_COUNT; i++)
        cpu->seg[i] = data;
    cpu->seg[SEG_CS] = code;
    cpu->cpl = 3;
    cpu->halted = false;
    cpu_update_mode(cpu);
}

static void set_guest(const struct state *in)
{
    enter_user();
    memcpy(cpu->gpr, in->gpr, sizeof cpu->gpr);
    cpu->rip = in->rip;
    cpu->rflags = in->rflags;
    memcpy(cpu->xsave, in->xs, XS_BYTES);
    cpu->xsave[512] = 7;
    memcpy(ram + G_DATA, in->data, DATA_BYTES);
}

/* What the handler of the exception finds. */
static bool get_guest(struct state *out)
{
    uint64_t frame[6];
    uint64_t vector = (cpu->rip - (KERNEL + 0x2000)) / 16;
    uint64_t sp = cpu->gpr[4] - KERNEL;

    if (vector >= 32 || sp < 0x3000 || sp > 0x4000 - 40)
        return false;
    bool has_error = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
    memcpy(out->gpr, cpu->gpr, sizeof out->gpr);
    memcpy(frame, ram + G_KERNEL + sp + (has_error ? 8 : 0), 40);
    out->error = 0;
    if (has_error)
        memcpy(&out->error, ram + G_KERNEL + sp, 8);
    out->rip = frame[0];
    out->rflags = frame[2];
    out->gpr[4] = frame[3];
    out->vector = (unsigned)vector;
    out->cr2 = vector == 14 ? cpu->cr2 : 0;
    if (vector == 14 && out->cr2 >= HOST_KERNEL)
        out->error &= ~UINT64_C(1); /* our own kernel is somewhere else than the host's */
    memcpy(out->xs, cpu->xsave, XS_BYTES);
    memcpy(out->data, ram + G_DATA, DATA_BYTES);
    return true;
}

static bool run_guest(bool jit, const struct state *in, struct state *out)
{
    set_guest(in);
    for (unsigned i = 0; i < 1000; i++) {
        enum cpu_exit e = jit ? jit_run(cpu) : interp_run(cpu, 100);
        cpu->run_page[RUN_BYTE_ATTENTION] = 0;
        if (e == CPU_EXIT_HLT || cpu->halted)
            return get_guest(out);
        if (e != CPU_EXIT_NONE) {
            printf("exit %d at %lx\n", e, (unsigned long)cpu->rip);
            return false;
        }
    }
    return false;
}

/* ---- cases ---- */

struct program {
    uint8_t code[MAX_SEQUENCE * 16 + 16];
    unsigned len, n;
    uint16_t undefined; /* flags, at the end */
    bool x87;
    char names[128];
};

static uint64_t random_value(void)
{
    static const uint64_t edges[] = { 0,          1,          0x7f,      0x80,
                                      0xff,       0x7fff,     0x8000,    0x7fffffff,
                                      0x80000000, 0xffffffff, INT64_MAX, UINT64_C(1) << 63,
                                      UINT64_MAX };
    switch (rnd() % 8) {
    case 0:
        return edges[rnd() % (sizeof edges / sizeof edges[0])];
    case 1:
        return rnd();
    case 2:
        return rnd() & 0xffff;
    case 3:
        return DATA + PAGE - 140 + rnd() % 280;
    case 4:
        return DATA + DATA_BYTES - 150 + rnd() % 300;
    case 5:
        return RODATA + (rnd() % 256) * 16;
    default:
        return DATA + 256 + (rnd() % 440) * 16;
    }
}

static void random_state(struct state *s)
{
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = random_value();
    if (rnd() % 8)
        s->gpr[4] = DATA + 512 + (rnd() % 200) * 8;
    s->rip = CODE;
    s->rflags = 0x202 | (rnd() & FL_ARITH);
    if (rnd() % 16 == 0)
        s->rflags |= FL_DF;
    for (unsigned i = 0; i < DATA_BYTES; i += 8) {
        uint64_t v = rnd();
        memcpy(s->data + i, &v, 8);
    }
    uint16_t fcw = 0x37f | (rnd() & 0xc00);
    uint32_t mxcsr = 0x1f80 | (rnd() & 0x6000) | (rnd() % 4 == 0 ? 0x8040 : 0);
    memcpy(s->xs, &fcw, 2);
    s->xs[4] = rnd() % 2 ? 0xff : 0;
    memcpy(s->xs + 24, &mxcsr, 4);
    for (unsigned i = 0; i < 8; i++) { /* x87: normal numbers */
        uint64_t m = rnd() | UINT64_C(1) << 63;
        uint16_t exp = (uint16_t)(0x3fff - 20 + rnd() % 40) | (rnd() & 0x8000);
        memcpy(s->xs + 32 + 16 * i, &m, 8);
        memcpy(s->xs + 40 + 16 * i, &exp, 2);
    }
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned k = 0; k < 4; k++) {
            uint64_t v = rnd();
            double d = (double)(int32_t)v / 256;
            if (v % 3 == 0)
                memcpy(&v, &d, 8);
            memcpy(s->xs + (k < 2 ? 160 : 576 - 16) + 16 * i + 8 * k, &v, 8);
        }
    }
    s->xs[512] = 7;
}

/* Forms that are left out, and why. */
static bool is_excluded(const struct insn *in)
{
    const char *n = in->info->name;
    static const char *const names[] = {
        "rdrand",     "rdseed", /* random */
        "popf",                 /* TF, AC for the host */
        "vpgatherdd", "vpgatherqd", "vgatherdps", "vgatherqps", "vpgatherdq",
        "vpgatherqq", "vgatherdpd", "vgatherqpd", /* partial results differ between processors */
        "fldenv",     "fnstenv",    "frstor",     "fnsave", /* hold addresses */
        "fneni",      "fndisi",     "fnsetpm",    "ret",        "jmpf",
        "xlat",       "enter",
    };

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(n, names[i]) == 0)
            return true;
    }
    if (in->info->cls == CLASS_SYSTEM || in->info->cls == CLASS_INVALID)
        return true;
    if (in->info->cls == CLASS_STRING &&
        (in->opcode == 0x6c || in->opcode == 0x6d || in->opcode == 0x6e || in->opcode == 0x6f))
        return true;
    if (in->info->cls == CLASS_BRANCH && in->map == MAP_1B && in->opcode == 0xff)
        return true;
    if (in->info->cls == CLASS_BRANCH && in->prefixes & PFX_66)
        return true; /* differs between manufacturers */
    if (in->info->feature == FEATURE_SHA && in->mod != 3)
        return true; /* Intel wants alignment (#GP), AMD does not */
    if ((strcmp(n, "shld") == 0 || strcmp(n, "shrd") == 0 || strcmp(n, "bswap") == 0) &&
        in->opsize == 2)
        return true; /* undefined result */
    return false;
}

static bool add_insn(struct program *p, const char *only)
{
    uint8_t bytes[INSN_MAX_BYTES + 2], *b = bytes + 1;
    struct insn in;
    unsigned form = (unsigned)(rnd() % insn_form_count());
    struct insn_form_choice c = {
        .memory = rnd() & 1,
        .rex_w = rnd() & 1,
        .prefix_66 = rnd() % 8 == 0,
        .vl256 = rnd() & 1,
        .reg = rnd() & 15,
        .rm = rnd() & 15,
        .vvvv = rnd() & 15,
        .mem_base = rnd() & 15,
        .disp8 = (int8_t)(rnd() % 3 ? rnd() & 0x70 : rnd()),
        .imm = rnd() % 4 ? rnd() & 0x7f : rnd(),
    };

    if (only != NULL && strcmp(insn_form_name(form), only) != 0)
        return false;
    unsigned len = insn_form_bytes(form, 64, &c, b);
    if (len == 0 || insn_decode(b, len, 64, &in) != INSN_OK)
        return false;
    if (in.info->cls == CLASS_BRANCH) {
        c.imm = 0;
        len = insn_form_bytes(form, 64, &c, b);
        if (len == 0 || insn_decode(b, len, 64, &in) != INSN_OK)
            return false;
    }
    if (is_excluded(&in) || in.info->flags_read & p->undefined)
        return false;
    if (in.info->cls == CLASS_STRING && rnd() & 1 && p->n == 0) {
        *--b = rnd() & 1 ? 0xf3 : 0xf2;
        len++;
    } else if (in.mod != 3 && in.has_modrm && in.info->bits & INFO_LOCKABLE && rnd() % 4 == 0) {
        *--b = 0xf0;
        len++;
        if (insn_decode(b, len, 64, &in) != INSN_OK)
            return false;
    }
    memcpy(p->code + p->len, b, len);
    p->len += len;
    p->n++;
    if (!(in.info->bits & INFO_FLAGS_COND))
        p->undefined &= (uint16_t)~in.info->flags_written;
    p->undefined |= in.info->flags_undef;
    (void)strncat(p->names, in.info->name, sizeof p->names - strlen(p->names) - 2);
    (void)strncat(p->names, " ", 2);
    return true;
}

static void show(const struct program *p, const struct state *in, const struct state *a,
                 const struct state *b, const char *what)
{
    printf("%s: %s:", what, p->names);
    for (unsigned i = 0; i < p->len; i++)
        printf(" %02x", p->code[i]);
    printf(
        "\n  vector %u/%u error %lx/%lx cr2 %lx/%lx rip %lx/%lx flags %lx/%lx (undefined %x, before %lx)\n",
        a->vector, b->vector, a->error, b->error, a->cr2, b->cr2, a->rip, b->rip, a->rflags,
        b->rflags, p->undefined, in->rflags);
    for (unsigned i = 0; i < 16; i++) {
        if (a->gpr[i] != b->gpr[i])
            printf("  r%u %lx/%lx (before %lx)\n", i, a->gpr[i], b->gpr[i], in->gpr[i]);
    }
    for (unsigned i = 0; i < XS_BYTES; i += 8) {
        unsigned n = i == 24 ? 4 : 8; /* MXCSR, but not its mask */
        if (memcmp(a->xs + i, b->xs + i, n) != 0 && (i < 416 || i >= 576))
            printf("  xsave+%u %lx/%lx\n", i, *(const uint64_t *)(const void *)(a->xs + i),
                   *(const uint64_t *)(const void *)(b->xs + i));
    }
    for (unsigned i = 0; i < DATA_BYTES; i++) {
        if (a->data[i] != b->data[i]) {
            printf("  data+%x %02x/%02x\n", i, a->data[i], b->data[i]);
            break;
        }
    }
}

static bool same(const struct program *p, const struct state *a, const struct state *b, bool jit)
{
    uint64_t flags = FL_ARITH | FL_DF;

    flags &= ~(uint64_t)p->undefined;
    if (a->vector != 3 && (p->n > 1 || jit))
        flags = FL_DF; /* dead flags are not kept over a check; undefined ones unknown */
    if (a->vector != 3 && b->vector != 3 &&
        (strstr(p->names, "maskmov") != NULL || strstr(p->names, "cmps") != NULL ||
         strncmp(p->names, "movs", 4) == 0))
        return true; /* which of several bytes or operands faults first differs between processors
                      */
    if (a->vector != b->vector || a->error != b->error || a->cr2 != b->cr2 || a->rip != b->rip ||
        ((a->rflags ^ b->rflags) & flags) != 0)
        return false;
    if (memcmp(a->gpr, b->gpr, sizeof a->gpr) != 0 || memcmp(a->data, b->data, DATA_BYTES) != 0)
        return false;
    /* Control, status, tag words; MXCSR; registers. Not the last instruction's addresses. */
    if (memcmp(a->xs, b->xs, 5) != 0 || memcmp(a->xs + 24, b->xs + 24, 4) != 0 ||
        memcmp(a->xs + 160, b->xs + 160, 256) != 0 || memcmp(a->xs + 576, b->xs + 576, 256) != 0)
        return false;
    for (unsigned i = 0; i < 8; i++) {
        if (memcmp(a->xs + 32 + 16 * i, b->xs + 32 + 16 * i, 10) != 0)
            return false;
    }
    return true;
}

static unsigned long failures;

static void one_case(const char *only)
{
    static struct state in, native, interp, jit;
    struct program p = { 0 };
    unsigned want = rnd() % 3 ? 1 : 1 + (unsigned)(rnd() % MAX_SEQUENCE);

    for (unsigned tries = 0; p.n < want && tries < (only != NULL ? 100000u : 30u); tries++)
        (void)add_insn(&p, only);
    if (p.n == 0)
        return;
    p.code[p.len++] = 0xcc;
    random_state(&in);
    if (p.code[0] == 0xf3 || p.code[0] == 0xf2)
        in.gpr[1] &= 31;
    memcpy(code_rw, p.code, p.len);
    memcpy(ram + G_CODE, p.code, p.len);
    jit_invalidate(cpu, cpu, G_CODE, PAGE);
    run_native(&in, &native);
    if (native.vector == 6) /* hypervisors in software answer so when they, rarely, lose track */
        run_native(&in, &native);
    if (!run_guest(false, &in, &interp)) {
        show(&p, &in, &native, &native, "interpreter lost");
        failures++;
    } else if (!same(&p, &native, &interp, false)) {
        show(&p, &in, &native, &interp, "native/interpreter");
        failures++;
    }
    if (!run_guest(true, &in, &jit)) {
        show(&p, &in, &native, &native, "jit lost");
        failures++;
    } else if (!same(&p, &native, &jit, true)) {
        show(&p, &in, &native, &jit, "native/jit");
        failures++;
    }
}

/* Here and not in setup(): cmocka installs its own handlers before each test. */
static void catch_signals(void)
{
    static uint8_t alt[64 << 10];
    static const int signals[] = { SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGTRAP };
    stack_t ss = { .ss_sp = alt, .ss_size = sizeof alt };
    struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    (void)sigaltstack(&ss, NULL);
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++)
        (void)sigaction(signals[i], &sa, NULL);
}

static void test_forms(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* the sanitizer's shadow lies where random pointers must find nothing */
#endif
    const char *only = getenv("VIREO_FORM"), *seed = getenv("VIREO_SEED");
    unsigned long n = getenv("VIREO_SOAK") != NULL ? 10000000 : 100000;

    rng = seed != NULL ? strtoull(seed, NULL, 0) : 20261121;
    printf("%lu cases, VIREO_SEED=%lu\n", n, (unsigned long)rng);
    catch_signals();
    vm_guest_enter(&vm);
    for (unsigned long i = 0; i < n && failures < 40; i++)
        one_case(only);
    assert_int_equal(failures, 0);
}

static void *map_at(uint64_t va, size_t bytes, int prot)
{
    union {
        uint64_t n;
        void *p;
    } at = { .n = va };
    void *p = mmap(at.p, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    assert_true(p == at.p);
    return p;
}

/* Twice, so that the programs, like the guest's, cannot write to their own code. */
static void map_code(void)
{
    int fd = memfd_create("code", MFD_CLOEXEC);
    union {
        uint64_t n;
        void *p;
    } at = { .n = CODE };

    assert_return_code(fd, errno);
    assert_return_code(ftruncate(fd, PAGE), errno);
    code_rw = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(code_rw != MAP_FAILED);
    assert_true(mmap(at.p, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) ==
                at.p);
    (void)close(fd);
}

static int setup(void **state)
{
    (void)state;
    static uint16_t page_flags[RAM_BYTES / PAGE];
    static struct memslot slot;
    static struct slot_table table;

    ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    slot = (struct memslot) { .size = RAM_BYTES, .host = ram, .page_flags = page_flags };
    table.n = 1;
    table.by_gpa[0] = &slot;
    vm.slots = &table;
    vm.vcpus[0] = &vcpu;
    vm.n_vcpus = 1;
    (void)setenv("VIREO_ENGINE", "jit", 1);
    cpu = cpu_new(&vm, &vcpu, 0);
    assert_non_null(cpu);
    vcpu.cpu = cpu;
    map_code();
    (void)map_at(DATA, DATA_BYTES, PROT_READ | PROT_WRITE);
    volatile const uint8_t *ro = map_at(RODATA, PAGE, PROT_READ);
    (void)ro[0]; /* present, so that error codes tell so */
    make_guest();
    cpu_state_changed(cpu);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cpu = cpu_free(cpu);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_forms) };

    return cmocka_run_group_tests(tests, setup, teardown);
}
