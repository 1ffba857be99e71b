/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run.c - the loop around compiled code: looking blocks up, joining them, what compiled code calls.
 *
 * While SCR_FPU is set, the guest's vector and x87 registers are in the host's registers. Functions
 * that run then are built for general registers only (see meson.build); before anything else is
 * called the state goes to cpu->xsave.
 */
#include "engine/exec/interp.h"
#include "engine/jit/state.h"
#include "engine/mmu/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { XSTATE_MASK = 7, MXCSR_MASKS = 0x1f80, FCW_MASKS = 0x3f };

/* ---- guest FPU state ---- */

void jit_save_fpu(struct cpu *cpu)
{
    static const uint32_t host_mxcsr = 0x1f80;
    uint8_t *x = cpu->xsave;
    uint64_t bv;
    uint16_t fcw;

    if (cpu->scratch[SCR_FPU] == 0)
        return;
    cpu->scratch[SCR_FPU] = 0;
    __asm__ volatile("xsave64 %0" : "+m"(*(uint8_t(*)[4096])x) : "a"(XSTATE_MASK), "d"(0));
    memcpy(&bv, x + 512, 8);
    bv |= XSTATE_MASK;
    memcpy(x + 512, &bv, 8);
    memcpy(&fcw, x, 2);
    __asm__ volatile("ldmxcsr %0; vzeroupper" : : "m"(host_mxcsr));
    if (x[4] != 0 || fcw != 0x37f)
        __asm__ volatile("fninit");
}

/* Leaves compiled code before the site's instruction. */
static uint64_t leave_at(struct cpu *cpu, const struct site *s)
{
    cpu->rip = cpu->jit->block[s->block].va + s->rip;
    cpu->scratch[SCR_FLAGS_SAVED] = s->flags & SITE_FLAGS_SAVED;
    return 0;
}

static void resume_at(struct cpu *cpu, const struct site *s)
{
    cpu->scratch[SCR_RESUME] = (uintptr_t)cpu->jit->rx + s->at;
}

uint64_t jit_load_fpu(struct cpu *cpu, uint64_t hs, uintptr_t ret, uint64_t ht)
{
    const struct site *s = jit_site_behind(cpu->jit, ret);
    uint8_t *x = cpu->xsave;
    uint32_t mxcsr;
    uint16_t fcw, fsw;

    (void)hs;
    (void)ht;
    resume_at(cpu, s);
    memcpy(&mxcsr, x + 24, 4);
    memcpy(&fcw, x, 2);
    memcpy(&fsw, x + 2, 2);
    if ((mxcsr & MXCSR_MASKS) != MXCSR_MASKS || mxcsr >> 16 != 0 ||
        (fcw & FCW_MASKS) != FCW_MASKS || fsw & 0x80) {
        /* An exception could be taken, which must not become a signal. */
        return leave_at(cpu, s);
    }
    __asm__ volatile("xrstor64 %0" : : "m"(*(uint8_t(*)[4096])x), "a"(XSTATE_MASK), "d"(0));
    cpu->scratch[SCR_FPU] = 1;
    return 1;
}

/* ---- memory ---- */

static bool canonical(uint64_t va)
{
    return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

/* Host address of va for an access that stays in its page; NULL: for the interpreter. */
static uint8_t *host_address(struct cpu *cpu, uint64_t va, bool write)
{
    struct tlb_entry *e = &cpu->tlb.slot[mem_index(cpu)][tlb_slot(&cpu->tlb, va)];
    uint64_t page = va & ~UINT64_C(0xfff);

    if ((write ? e->tag_w : e->tag_r) != page) {
        if (!canonical(va))
            return NULL;
        if (!mem_fill(cpu, va, write ? MEM_WRITE : MEM_READ, mem_index(cpu), NULL)) {
            cpu->fault.pending = false; /* the interpreter will find it again */
            return NULL;
        }
        if ((write ? e->tag_w : e->tag_r) != page)
            return NULL;
    }
    return (uint8_t *)e->host + (va & 0xfff);
}

/* The address that compiled code has compared with a tag. */
static uint64_t checked_address(const struct cpu *cpu, const struct site *s, uint64_t hs,
                                uint64_t ht)
{
    const struct tlb_entry *e = (const void *)((const uint8_t *)cpu->tlb.slot[mem_index(cpu)] + ht);

    if (s->flags & SITE_CONST)
        return hs;
    return hs ^ (s->flags & SITE_WRITE ? e->tag_w : e->tag_r);
}

/* The same code without windows, if it has been made already: compiled code goes on there. Where flags
 * are saved it cannot, since blocks expect them in RFLAGS. */
static bool resume_without_windows(struct cpu *cpu, struct site *s)
{
    struct jit *j = cpu->jit;
    const struct block *b = &j->block[s->block];

    if (!JIT_JOINS || s->flags & SITE_FLAGS_SAVED)
        return false;
    b = jit_find(j, b->gpa + s->rip, b->va + s->rip, b->mode | MODE_NO_WINDOWS);
    if (b == NULL)
        return false;
    cpu->scratch[SCR_RESUME] = (uintptr_t)j->rx + b->e2;
    /* Again and again: its stub goes there without asking, though the page may be another next time. */
    if (++s->failures == JIT_WINDOW_FAILURES)
        jit_redirect(j, jit_stub_offset((uint32_t)(s - j->site)), b->e2);
    return true;
}

uint64_t jit_slow(struct cpu *cpu, uint64_t hs, uintptr_t ret, uint64_t ht)
{
    struct site *s = jit_site_behind(cpu->jit, ret);
    uint64_t va = checked_address(cpu, s, hs, ht);

    cpu->jit->stats.slow++;
    if ((va & 0xfff) + s->size <= 4096 &&
        (!(s->flags & SITE_ALIGN) || (va & (s->size - 1u)) == 0)) {
        uint8_t *host = host_address(cpu, va, s->flags & SITE_WRITE);
        if (host != NULL) {
            resume_at(cpu, s);
            return (uintptr_t)host;
        }
    }
    if (s->flags & SITE_WINDOW && resume_without_windows(cpu, s))
        return 1;
    cpu->jit->window_failed = s->flags & SITE_WINDOW;
    return leave_at(cpu, s);
}

static void rep_movs(uint8_t *to, const uint8_t *from, uint64_t n, unsigned size)
{
    switch (size) {
    case 1:
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
        break;
    case 2:
        __asm__ volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
        break;
    case 4:
        __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
        break;
    default:
        __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
        break;
    }
}

static void rep_stos(uint8_t *to, uint64_t value, uint64_t n, unsigned size)
{
    switch (size) {
    case 1:
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
        break;
    case 2:
        __asm__ volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(value) : "memory");
        break;
    case 4:
        __asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(value) : "memory");
        break;
    default:
        __asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(value) : "memory");
        break;
    }
}

static uint64_t elements_in_page(uint64_t va, unsigned size)
{
    return (4096 - (va & 0xfff)) / size;
}

/* MOVS and STOS, page by page. 0: the rest is for the interpreter; registers tell how far it is. */
uint64_t jit_string(struct cpu *cpu, uint64_t hs, uintptr_t ret, uint64_t site)
{
    const struct site *s = &cpu->jit->site[site];
    bool stos = s->string & STRING_STOS, rep = s->string & STRING_REP;
    uint64_t mask = s->string & STRING_32 ? UINT32_MAX : UINT64_MAX;
    uint64_t left = rep ? cpu->gpr[REG_CX] & mask : 1;
    uint64_t to = cpu->gpr[REG_DI] & mask, from = cpu->gpr[REG_SI] & mask;

    (void)hs;
    cpu->scratch[SCR_RESUME] = ret;
    if (left == 0)
        return 1;
    if (!(cpu->rflags & FL_DF)) {
        while (left > 0) {
            uint64_t n = elements_in_page(to, s->size), m = elements_in_page(from, s->size);
            n = stos || n < m ? n : m;
            n = n < left ? n : left;
            if (n == 0 || (left != n && cpu_attention(cpu)))
                break;
            uint8_t *host = host_address(cpu, to, true);
            uint8_t *src = stos || host == NULL ? NULL : host_address(cpu, from, false);
            if (host == NULL || (!stos && src == NULL))
                break;
            /* Filling the one may have replaced the other. */
            if (!stos && host_address(cpu, to, true) != host)
                break;
            if (stos)
                rep_stos(host, cpu->gpr[REG_AX], n, s->size);
            else
                rep_movs(host, src, n, s->size);
            left -= n;
            to = (to + n * s->size) & mask;
            from = (from + (stos ? 0 : n * s->size)) & mask;
            cpu->gpr[REG_DI] = to;
            if (!stos)
                cpu->gpr[REG_SI] = from;
            if (rep)
                cpu->gpr[REG_CX] = left;
        }
        if (left == 0)
            return 1;
    }
    return leave_at(cpu, s);
}

/* ---- the loop ---- */

static bool can_run(const struct cpu *cpu)
{
    uint32_t never = MODE_VM86 | MODE_TF | MODE_BP | MODE_AC;

    if (cpu->mode & never || !(cpu->mode & MODE_PE))
        return false;
    if ((cpu->mode & MODE_CODE_MASK) == MODE_CODE_64)
        return true;
    return (cpu->mode & (MODE_CODE_MASK | MODE_FLAT | MODE_SS32)) ==
               (MODE_CODE_32 | MODE_FLAT | MODE_SS32) &&
           cpu->seg[SEG_CS].base == 0;
}

/* The TLB entry that lets cpu->rip be executed; false: *ret_exit says what happened instead. */
static bool map_code(struct cpu *cpu, uint64_t va, enum cpu_exit *ret_exit)
{
    struct tlb_entry *e = &cpu->tlb.slot[mem_index(cpu)][tlb_slot(&cpu->tlb, va)];
    uint64_t page = va & ~UINT64_C(0xfff);

    *ret_exit = CPU_EXIT_NONE;
    if (e->tag_x == page)
        return true;
    if (canonical(va)) {
        if (!mem_fill(cpu, va, MEM_EXEC, mem_index(cpu), NULL)) {
            jit_save_fpu(cpu);
            *ret_exit = interp_deliver_fault(cpu);
            return false;
        }
        if (e->tag_x == page)
            return true;
    }
    jit_save_fpu(cpu);
    *ret_exit = interp_step(cpu);
    return false;
}

static bool maps_code(const struct cpu *cpu, uint64_t va)
{
    return cpu->tlb.slot[mem_index(cpu)][tlb_slot(&cpu->tlb, va)].tag_x == (va & ~UINT64_C(0xfff));
}

uint64_t jit_mapped_code(const struct cpu *cpu, uint64_t va)
{
    return maps_code(cpu, va)
               ? (cpu->tlb.gpa[mem_index(cpu)][tlb_slot(&cpu->tlb, va)] & ~UINT64_C(0xfff)) |
                     (va & 0xfff)
               : 0;
}

static struct code_page mapped_page(const struct cpu *cpu, uint64_t va)
{
    unsigned index = mem_index(cpu), slot = tlb_slot(&cpu->tlb, va);

    return (struct code_page) { .host = (const uint8_t *)cpu->tlb.slot[index][slot].host,
                                .gpa = cpu->tlb.gpa[index][slot] & ~UINT64_C(0xfff) };
}

/* Has code of this page run since its mapping was last flushed? A guest that has a device write
 * there makes the mapping, or its flush, only afterwards. */
static bool is_named(struct jit *j, unsigned index, uint64_t va, uint64_t gpa)
{
    uint32_t token = j->cpu->tlb.token[index][tlb_name_slot(va)];

    return token != 0 && token == jit_token(j, va, gpa, index);
}

static void name_page(struct jit *j, uint64_t va, const struct code_page *page)
{
    struct cpu *cpu = j->cpu;
    unsigned index = mem_index(cpu);

    if (is_named(j, index, va, page->gpa))
        return;
    jit_verify_page(j, page->gpa, page->host);
    tlb_name(&cpu->tlb, index, va, jit_token(j, va, page->gpa, index),
             (cpu->tlb.gpa[index][tlb_slot(&cpu->tlb, va)] & TLB_GPA_GLOBAL) != 0);
}

/* The page behind va's, when it can be executed. */
static bool map_next_page(struct cpu *cpu, uint64_t va)
{
    uint64_t next = (va | 0xfff) + 1;

    if (!canonical(next) || (!(cpu->mode & MODE_LONG) && next > UINT32_MAX) ||
        tlb_slot(&cpu->tlb, next) == tlb_slot(&cpu->tlb, va))
        return false;
    if (!maps_code(cpu, next) && !mem_fill(cpu, next, MEM_EXEC, mem_index(cpu), NULL)) {
        cpu->fault.pending = false; /* found again if it is ever executed */
        return false;
    }
    return maps_code(cpu, next);
}

/* ... write-protected and named; its host NULL: it cannot be had. */
static struct code_page second_page(struct jit *j, uint64_t va)
{
    struct cpu *cpu = j->cpu;
    uint64_t next = (va | 0xfff) + 1;
    struct code_page none = { 0 }, second;

    if (!map_next_page(cpu, va))
        return none;
    second = mapped_page(cpu, next);
    mem_protect_code(cpu, second.gpa);
    if (!maps_code(cpu, next))
        return none;
    name_page(j, next, &second);
    return second;
}

static struct block *make_block(struct jit *j, uint64_t va, uint32_t mode, struct code_page page)
{
    struct cpu *cpu = j->cpu;

    jit_save_fpu(cpu);
    /* Posts before, and not after: one for this page, which has no block yet, would give up its
     * protection. What is posted from here on is taken before the block runs twice. */
    jit_take_posts(j);
    if (j->flush_wanted)
        return NULL;
    if (jit_full(j))
        jit_reset(j);
    mem_protect_code(cpu, page.gpa);
    /* Others may have run while the page was protected. */
    if (j->flush_wanted || !maps_code(cpu, va))
        return NULL;
    struct code_page second = { 0 };
    if (jit_reaches_next_page(va, mode, page.host)) {
        second = second_page(j, va);
        if (j->flush_wanted || !maps_code(cpu, va))
            return NULL;
    }
    return jit_translate(j, va, mode, page, second);
}

/* The block at cpu->rip, and the tables' entries for it. NULL: go round again, or leave if
 * *ret_exit is set. */
static struct block *find_block(struct jit *j, bool indirect, uint32_t mode,
                                enum cpu_exit *ret_exit)
{
    struct cpu *cpu = j->cpu;
    uint64_t va = cpu->rip;

    if (!map_code(cpu, va, ret_exit))
        return NULL;
    struct code_page page = mapped_page(cpu, va);
    name_page(j, va, &page);
    struct block *b = jit_find(j, page.gpa | (va & 0xfff), va, mode);
    if (b == NULL) {
        if (!jit_seen(j, page.gpa | (va & 0xfff), va) && !(mode & MODE_NO_WINDOWS)) {
            jit_save_fpu(cpu);
            *ret_exit = interp_run(cpu, JIT_COLD_INSNS);
            return NULL;
        }
        b = make_block(j, va, mode, page);
        if (b == NULL)
            return NULL;
    }
    if (indirect && JIT_JOINS) {
        int table = jit_mode_index(j, cpu->mode);
        if (table >= 0)
            *jit_table_slot(cpu, (unsigned)table, va) = (uintptr_t)j->rx + b->e0;
    }
    return b;
}

static uint64_t target_of(const struct jit *j, const struct site *s)
{
    uint64_t va = j->block[s->block].va + (uint64_t)(int64_t)s->target;

    return j->cpu->mode & MODE_LONG && (j->cpu->mode & MODE_CODE_MASK) == MODE_CODE_64
               ? va
               : (uint32_t)va;
}

static void join(struct jit *j, const struct site *s, const struct block *to)
{
    const struct block *from = &j->block[s->block];
    bool near = ((from->va ^ to->va) & ~UINT64_C(0xfff)) == 0 &&
                ((from->gpa ^ to->gpa) & ~UINT64_C(0xfff)) == 0;

    j->stats.links++;
    emit_patch(j->rw + s->at, j->rw + (!near                      ? to->e1
                                       : s->flags & SITE_BACKWARD ? to->ep
                                                                  : to->e2));
}

/* The block whose entry compiled code has found closed is dead, and this is the one in its place. */
static void replace(struct jit *j, const struct block *dead, const struct block *b)
{
    if (dead->dead && dead->va == b->va && dead->gpa == b->gpa &&
        ((dead->mode ^ b->mode) & ~(uint32_t)MODE_NO_WINDOWS) == 0)
        jit_forward(j, dead, b);
}

/* Compiled code has left: where is the guest? */
static void settle_rip(struct jit *j, enum jit_reason reason)
{
    struct cpu *cpu = j->cpu;
    uint64_t arg = cpu->scratch[SCR_ARG];

    if (reason == REASON_LINK)
        cpu->rip = target_of(j, jit_site_behind(j, arg));
    else if (reason == REASON_SITE)
        (void)leave_at(cpu, jit_site_behind(j, arg));
    else if (reason == REASON_ATTENTION || reason == REASON_STALE)
        cpu->rip = j->block[arg].va;
}

enum jit_reason jit_enter(struct jit *j, const struct block *b)
{
    enum jit_reason reason = (enum jit_reason)j->enter(j->cpu, j->rx + b->e2);

    settle_rip(j, reason);
    return reason;
}

static enum cpu_exit leave(struct cpu *cpu, enum cpu_exit exit)
{
    jit_save_fpu(cpu);
    return exit;
}

enum cpu_exit jit_run(struct cpu *cpu)
{
    struct jit *j = cpu->jit;
    const struct site *link = NULL;
    const struct block *stale = NULL;
    bool linking = false, indirect = false;
    uint32_t variant = 0;

    for (;;) {
        enum cpu_exit exit = CPU_EXIT_NONE;
        if (cpu_attention(cpu))
            return leave(cpu, CPU_EXIT_NONE);
        jit_take_posts(j);
        if (j->flush_wanted) {
            jit_reset(j);
            jit_release(j);
            linking = false;
            stale = NULL;
        }
        if (!can_run(cpu)) {
            jit_save_fpu(cpu);
            linking = false;
            stale = NULL;
            exit = interp_step(cpu);
            if (exit != CPU_EXIT_NONE)
                return exit;
            continue;
        }
        uint64_t flushes = j->stats.flushes;
        struct block *b = find_block(j, indirect, cpu->mode | variant, &exit);
        variant = 0;
        if (exit != CPU_EXIT_NONE)
            return leave(cpu, exit);
        if (b == NULL) {
            linking = false;
            stale = NULL;
            continue;
        }
        if (JIT_JOINS && linking && flushes == j->stats.flushes)
            join(j, link, b);
        if (stale != NULL && flushes == j->stats.flushes)
            replace(j, stale, b);
        stale = NULL;
        linking = indirect = false;
        j->stats.dispatches++;
#ifdef VIREO_TORTURE
        jit_save_fpu(cpu);
        jit_check_before(j, b);
#endif
        enum jit_reason reason = jit_enter(j, b);
#ifdef VIREO_TORTURE
        if (j->checked != NULL) {
            jit_save_fpu(cpu);
            jit_check_after(j, reason != REASON_STEP && reason != REASON_SITE);
        }
#endif
        switch (reason) {
        case REASON_STALE:
            stale = &j->block[cpu->scratch[SCR_ARG]];
            indirect = true;
            break;
        case REASON_LOOKUP:
            indirect = true;
            break;
        case REASON_STEP:
        case REASON_SITE:
            if (j->window_failed) {
                j->window_failed = false;
                variant = MODE_NO_WINDOWS;
                break;
            }
            j->stats.steps++;
            if ((cpu->rip & 0xfff) > 4096 - INSN_MAX_BYTES && map_next_page(cpu, cpu->rip)) {
                struct code_page next = mapped_page(cpu, (cpu->rip | 0xfff) + 1);
                name_page(j, (cpu->rip | 0xfff) + 1, &next); /* for blocks that reach there */
            }
            jit_save_fpu(cpu);
            exit = interp_step(cpu);
            if (exit != CPU_EXIT_NONE)
                return exit;
            break;
        case REASON_LINK:
            link = jit_site_behind(j, cpu->scratch[SCR_ARG]);
            linking = true;
            break;
        case REASON_ATTENTION:
            break;
        }
    }
}
