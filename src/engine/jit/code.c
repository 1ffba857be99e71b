/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * code.c - executable memory (one memfd mapped twice, so that no page is writable and executable),
 * the region around struct cpu, and the thunks between C and compiled code.
 */
#include "base/bytes.h"
#include "engine/jit/tr.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ARITH = FL_ARITH, GUARD_BYTES = 64 << 10, HUGE_PAGE = 2 << 20 };

static size_t cpu_bytes(void)
{
    return (sizeof(struct cpu) + 4095) & ~(size_t)4095;
}

/* Each TLB table and each jump table is one huge page, if the host has them. */
int32_t jit_table_offset(unsigned mode_index)
{
    size_t tlb = offsetof(struct cpu, tlb.slot);

    return (int32_t)(tlb + round_up_u64(cpu_bytes() - tlb, HUGE_PAGE) +
                     mode_index * (JIT_TABLE_SLOTS * sizeof(uint64_t)));
}

static size_t region_bytes(void)
{
    return GUARD_BYTES + JIT_STACK_BYTES + (size_t)jit_table_offset(JIT_MODES);
}

/* Address space in which byte off is at the start of a huge page; NULL: there is none. */
static uint8_t *reserve_aligned(size_t bytes, size_t off)
{
    uint8_t *p = mmap(NULL, bytes + HUGE_PAGE, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t skip = -(uintptr_t)(p + off) % HUGE_PAGE;
    if (skip > 0)
        (void)munmap(p, skip);
    if (skip < HUGE_PAGE)
        (void)munmap(p + skip + bytes, HUGE_PAGE - skip);
    return p + skip;
}

void *jit_cpu_alloc(void)
{
    size_t before = GUARD_BYTES + JIT_STACK_BYTES;
    uint8_t *p = reserve_aligned(region_bytes(), before + offsetof(struct cpu, tlb.slot));

    if (p == NULL)
        return NULL;
    if (mprotect(p + GUARD_BYTES, region_bytes() - GUARD_BYTES, PROT_READ | PROT_WRITE) != 0) {
        (void)munmap(p, region_bytes());
        return NULL;
    }
    return p + before;
}

void jit_cpu_free(void *cpu)
{
    if (cpu != NULL)
        (void)munmap((uint8_t *)cpu - GUARD_BYTES - JIT_STACK_BYTES, region_bytes());
}

static void scr(struct emit *e, bool w, unsigned op, unsigned reg, unsigned n)
{
    emit_rm(e, w, op, reg, H_CTX, (int32_t)(offsetof(struct cpu, scratch) + 8 * n));
}

static const uint8_t kept[] = { H_AX, H_CX, H_DX, H_BX, H_BP, H_SI, H_DI, 8, 9, 10, 11, 12 };
static const uint8_t caller_saved[] = { H_AX, H_CX, H_DX, H_SI, H_DI, 8, 9, 10, 11 };
static const uint8_t host_saved[] = { H_BX, H_BP, 12, 13, 14, 15 };

/* unsigned enter(struct cpu *cpu, const void *entry) */
static void make_enter(struct jit *j)
{
    struct emit *e = &j->emit;

    for (unsigned i = 0; i < sizeof host_saved; i++) {
        emit_rex(e, false, 0, 0, host_saved[i]);
        emit_1(e, 0x50 | (host_saved[i] & 7));
    }
    emit_rm(e, true, 0x89, 4, H_DI,
            (int32_t)(offsetof(struct cpu, scratch) + sizeof(uint64_t) * SCR_HOST_SP));
    emit_rr(e, true, 0x89, H_DI, 4); /* rsp = cpu */
    scr(e, true, 0x89, H_SI, SCR_ARG);
    j->t_resume = e->p;
    emit_ctx(e, false, 0x8b, H_CX, rflags); /* POPF costs as much as all the rest */
    emit_rr(e, false, 0x89, H_CX, H_AX);
    emit_rr(e, false, 0xc1, 5, H_AX);
    emit_1(e, 11);
    emit_1(e, 0x24); /* and al, 1 */
    emit_1(e, 1);
    emit_1(e, 0x88); /* mov ah, cl */
    emit_1(e, 0xcc);
    emit_1(e, 0x04); /* add al, 127: OF */
    emit_1(e, 0x7f);
    emit_1(e, 0x9e);
    for (unsigned i = 0; i < sizeof kept; i++)
        emit_load_gpr(e, kept[i], kept[i]);
    emit_load_gpr(e, H_GSP, 4);
    emit_ctx(e, true, 0x8b, HT, rip); /* for entries that want to know the address */
    scr(e, false, 0xff, 4, SCR_ARG);
}

/* R15 to SCR_ARG, registers and flags into struct cpu. */
static void put_store_all(struct emit *e)
{
    scr(e, true, 0x89, HT, SCR_ARG);
    for (unsigned i = 0; i < sizeof kept; i++)
        emit_store_gpr(e, kept[i], kept[i]);
    emit_store_gpr(e, H_GSP, 4);
    emit_1(e, 0x9f);
    emit_rr(e, false, 0x0f90, 0, H_AX); /* seto al */
    emit_1(e, 0x0f);
    emit_1(e, 0xb6);
    emit_1(e, 0xcc); /* movzx ecx, ah */
    emit_rr(e, false, 0x0fb6, H_AX, H_AX);
    emit_rr(e, false, 0xc1, 4, H_AX);
    emit_1(e, 11);
    emit_rr(e, false, 0x09, H_AX, H_CX);
    emit_rr(e, false, 0x81, 4, H_CX);
    emit_4(e, ARITH);
    emit_ctx(e, true, 0x8b, H_AX, rflags);
    emit_rr(e, true, 0x81, 4, H_AX);
    emit_4(e, ~(uint32_t)ARITH);
    emit_rr(e, true, 0x09, H_CX, H_AX);
    emit_ctx(e, true, 0x89, H_AX, rflags);
}

static void put_leave(struct emit *e)
{
    scr(e, true, 0x8b, 4, SCR_HOST_SP);
    for (unsigned i = sizeof host_saved; i-- > 0;) {
        emit_rex(e, false, 0, 0, host_saved[i]);
        emit_1(e, 0x58 | (host_saved[i] & 7));
    }
    emit_1(e, 0xc3);
}

/* R15: what, for jit_fast(). */
static void make_fast(struct jit *j)
{
    struct emit *e = &j->emit;

    j->t_fast = e->p;
    put_store_all(e);
    emit_rr(e, true, 0x89, 4, H_DI);
    emit_rr(e, false, 0x89, HT, H_SI);
    emit_mov_imm(e, H_AX, (uintptr_t)jit_fast);
    emit_rr(e, false, 0xff, 2, H_AX);
    scr(e, true, 0x89, H_AX, SCR_ARG);
    emit_rr(e, true, 0x83, 7, H_AX);
    emit_1(e, FAST_LEAVE);
    emit_jump_to(e, CC_A, j->t_resume);
    emit_rr(e, false, 0x83, 6, H_AX); /* not done: REASON_STEP; done: REASON_LOOKUP */
    emit_1(e, 1);
    put_leave(e);
}

/* Everything into struct cpu; R14 is the reason, R15 goes to SCR_ARG. cpu->rip is set already. */
static void make_exit(struct jit *j)
{
    struct emit *e = &j->emit;

    j->t_exit = e->p;
    put_store_all(e);
    emit_rr(e, false, 0x89, HS, H_AX);
    put_leave(e);
}

/* RFLAGS from SCR_FLAGS, RAX from gpr[0] as caller keeps it; then out with REASON_STEP. */
static void make_restore(struct jit *j)
{
    struct emit *e = &j->emit;

    j->t_restore = e->p;
    scr(e, true, 0x89, H_AX, SCR_AX);
    scr(e, false, 0x8b, H_AX, SCR_FLAGS);
    emit_1(e, 0x04);
    emit_1(e, 0x7f); /* add al, 127: OF */
    emit_1(e, 0x9e); /* sahf */
    scr(e, true, 0x8b, H_AX, SCR_AX);
    emit_mov_imm(e, HS, REASON_STEP);
    emit_jump_to(e, CC_ALWAYS, j->t_exit);
}

/* Called from a stub, or, for strings, from the block: R14 = fn(cpu, R14, return address, R15), and
 * on at SCR_RESUME; when it is 0, leaves for the interpreter (fn has set cpu->rip). */
static uint8_t *make_call(struct jit *j, uint64_t fn)
{
    struct emit *e = &j->emit;
    uint8_t *start = e->p;

    /* One slot of the return address is on the stack. */
    for (unsigned i = 0; i < sizeof caller_saved; i++)
        emit_rm(e, true, 0x89, caller_saved[i], H_CTX, 8 + caller_saved[i] * 8);
    emit_rm(e, true, 0x8d, H_DI, H_CTX, 8);
    emit_rr(e, true, 0x89, HS, H_SI);
    emit_rm(e, true, 0x8b, H_DX, H_CTX, 0);
    emit_rr(e, true, 0x89, HT, H_CX);
    emit_rr(e, true, 0x83, 5, 4);
    emit_1(e, 8); /* sub rsp, 8 */
    emit_mov_imm(e, H_AX, fn);
    emit_rr(e, false, 0xff, 2, H_AX);
    emit_rr(e, true, 0x83, 0, 4);
    emit_1(e, 16);
    emit_rr(e, true, 0x89, H_AX, HS);
    emit_rr(e, true, 0x85, H_AX, H_AX);
    for (unsigned i = 0; i < sizeof caller_saved; i++)
        emit_load_gpr(e, caller_saved[i], caller_saved[i]);
    uint8_t *fail = emit_jump(e, CC_E);
    scr(e, false, 0xff, 4, SCR_RESUME);
    emit_patch(fail, e->p);
    scr(e, false, 0x83, 7, SCR_FLAGS_SAVED);
    emit_1(e, 0);
    emit_jump_to(e, CC_NE, j->t_restore);
    emit_mov_imm(e, HS, REASON_STEP);
    emit_jump_to(e, CC_ALWAYS, j->t_exit);
    return start;
}

/* Leaves with a reason, R15 in SCR_ARG; with flags in RFLAGS, or (*ret_saved) in SCR_FLAGS. */
static uint8_t *make_leave(struct jit *j, enum jit_reason reason, uint8_t **ret_saved)
{
    struct emit *e = &j->emit;

    if (ret_saved != NULL) {
        *ret_saved = e->p;
        tr_restore_raw(e, HS);
    }
    uint8_t *start = e->p;
    emit_mov_imm(e, HS, reason);
    emit_jump_to(e, CC_ALWAYS, j->t_exit);
    return start;
}

/* R15 := the return address of the stub's call */
static void pop_site(struct emit *e)
{
    emit_1(e, 0x41);
    emit_1(e, 0x5f);
}

static void make_thunks(struct jit *j)
{
    struct emit *e = &j->emit;

    union {
        void *p;
        unsigned (*fn)(struct cpu *, const void *);
    } enter = { .p = jit_rx(j, e->p) };
    j->enter = enter.fn;
    make_enter(j);
    make_exit(j);
    make_restore(j);
    make_fast(j);
    j->t_slow = make_call(j, (uintptr_t)jit_slow);
    j->t_fpu = make_call(j, (uintptr_t)jit_load_fpu);
    j->t_string = make_call(j, (uintptr_t)jit_string);
    j->t_link = e->p;
    pop_site(e);
    (void)make_leave(j, REASON_LINK, NULL);
    j->t_step_saved = e->p;
    pop_site(e);
    tr_restore_raw(e, HS);
    uint8_t *step = emit_jump(e, CC_ALWAYS);
    j->t_step = e->p;
    pop_site(e);
    emit_patch(step, make_leave(j, REASON_SITE, NULL));
    j->t_attention = make_leave(j, REASON_ATTENTION, &j->t_attention_saved);
    j->t_stale = make_leave(j, REASON_STALE, &j->t_stale_saved);
    j->t_miss_saved = e->p; /* an indirect jump to R15 that found nothing */
    tr_restore_raw(e, HS);
    j->t_miss = e->p;
    emit_ctx(e, true, 0x89, HT, rip);
    (void)make_leave(j, REASON_LOOKUP, NULL);
    j->code_start = e->p;
}

static uint8_t *map_view(int fd, int prot)
{
    uint8_t *at = reserve_aligned(JIT_CODE_BYTES, 0);

    return at != NULL ? mmap(at, JIT_CODE_BYTES, prot, MAP_SHARED | MAP_FIXED, fd, 0) : MAP_FAILED;
}

int jit_code_init(struct jit *j)
{
    int fd = memfd_create("vireo-code", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int ret = ftruncate(fd, JIT_CODE_BYTES) == 0 ? 0 : -errno;
    if (ret == 0) {
        j->rw = map_view(fd, PROT_READ | PROT_WRITE);
        j->rx = map_view(fd, PROT_READ | PROT_EXEC);
        if (j->rw == MAP_FAILED || j->rx == MAP_FAILED)
            ret = -ENOTSUP;
    }
    (void)close(fd);
    if (ret != 0)
        return ret;
    j->emit = (struct emit) { .p = j->rw, .end = j->rw + JIT_HOT_BYTES };
    j->cold = (struct emit) { .p = j->emit.end, .end = j->emit.end + JIT_COLD_BYTES };
    make_thunks(j);
    j->trimmed = j->emit.p;
    return 0;
}

void jit_release(struct jit *j)
{
    size_t used = ((size_t)(j->code_start - j->rw) + 4095) & ~(size_t)4095;

    (void)madvise(j->rw + used, JIT_CODE_BYTES - used, MADV_REMOVE);
    (void)madvise(j->block, (JIT_MAX_BLOCKS + 1) * sizeof *j->block, MADV_DONTNEED);
    (void)madvise(j->site, JIT_MAX_SITES * sizeof *j->site, MADV_DONTNEED);
    j->trimmed = j->code_start;
}

/* Makes the huge page around p of what is there; false: the host has none, or no room. A compiler's
 * code is a hundred megabytes, which with small pages is mostly misses of the processor's own TLB. The
 * kernel gives shared memory no huge pages unless told to, but does when asked for this one. */
static bool make_huge(struct jit *j, const uint8_t *p)
{
    size_t at = (size_t)(p - j->rw) / HUGE_PAGE * HUGE_PAGE;

    return at + HUGE_PAGE <= JIT_CODE_BYTES &&
           madvise(j->rw + at, HUGE_PAGE, MADV_COLLAPSE) == 0 &&
           madvise(j->rx + at, HUGE_PAGE, MADV_POPULATE_READ) == 0;
}

/* Maps the next bytes of code memory, from at on, in both views: one call for as many pages as would
 * cost a fault each, of tens of microseconds where the host is a virtual machine itself. */
static void map_ahead(struct jit *j, uint8_t *at, uint8_t *end, bool huge, uint8_t **mapped)
{
    if (*mapped >= at + JIT_BLOCK_ROOM || *mapped >= end)
        return;
    uint8_t *from = *mapped > at ? *mapped : at - ((uintptr_t)at & 4095);
    size_t n = end - from < JIT_AHEAD_BYTES ? (size_t)(end - from) : JIT_AHEAD_BYTES;
    if (huge && j->n_blocks >= JIT_MANY_BLOCKS && make_huge(j, from)) {
        *mapped = from - (uintptr_t)from % HUGE_PAGE + HUGE_PAGE;
        return;
    }
    /* Kernels before 5.14 do not know it, and the faults come one by one. */
    (void)madvise(from, n, MADV_POPULATE_WRITE);
    (void)madvise(j->rx + (from - j->rw), n, MADV_POPULATE_READ);
    *mapped = from + n;
}

/* Small guests do not pay for huge pages. */
static void begin_huge(struct jit *j)
{
    (void)madvise(j->block, (JIT_MAX_BLOCKS + 1) * sizeof *j->block, MADV_HUGEPAGE);
    (void)madvise(j->site, JIT_MAX_SITES * sizeof *j->site, MADV_HUGEPAGE);
    for (uint8_t *p = j->rw; p < j->emit.p; p += HUGE_PAGE)
        (void)make_huge(j, p);
    memset(j->mapped, 0, sizeof j->mapped);
}

void jit_code_ahead(struct jit *j)
{
    uint8_t *stubs = j->rw + jit_stub_offset(0);

    if (j->n_blocks == JIT_MANY_BLOCKS)
        begin_huge(j);
    map_ahead(j, j->emit.p, j->emit.end, true, &j->mapped[0]);
    map_ahead(j, j->cold.p, j->cold.end, true, &j->mapped[1]);
    map_ahead(j, stubs + (size_t)j->n_sites * JIT_STUB_BYTES, j->rw + JIT_CODE_BYTES, false,
              &j->mapped[2]);
}

void jit_code_trim(struct jit *j)
{
    if (j->emit.p >= j->trimmed && j->emit.p - j->trimmed < JIT_TRIM_BYTES)
        return;
    j->trimmed = j->emit.p;
    (void)madvise(j->rw, JIT_CODE_BYTES, MADV_DONTNEED);
    memset(j->mapped, 0, sizeof j->mapped);
}

void jit_code_done(struct jit *j)
{
    if (j->rw != NULL && j->rw != MAP_FAILED)
        (void)munmap(j->rw, JIT_CODE_BYTES);
    if (j->rx != NULL && j->rx != MAP_FAILED)
        (void)munmap(j->rx, JIT_CODE_BYTES);
}
