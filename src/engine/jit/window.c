/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * window.c - one TLB check for several accesses.
 *
 * Accesses through the same base register, while that is not changed (RSP: while it moves by known
 * amounts), are taken together: one check for the whole range, whose result, host address less
 * guest address, is kept in cpu->scratch. It is made at the first access, or before, where flags
 * are dead, so that "add rsp, 8; pop rbx; ret" saves none. When the range does not lie in one page,
 * or may not be accessed as a whole, the same code is translated again without windows, and that
 * goes on (jit_slow()).
 */
#include "engine/jit/tr.h"

enum { MAX_RANGE = 1024 };

struct access {
    bool is;
    bool write;
    unsigned base, index, scale;
    int disp;
    unsigned size;
};

static bool is_explicit(const struct insn *in)
{
    return in->has_modrm && in->mod != 3 && in->info->bits & (INFO_MEM_READ | INFO_MEM_WRITE) &&
           !(in->info->bits & (INFO_BITSTRING | INFO_ALIGN | INFO_VSIB | INFO_MASKED)) &&
           in->base != REG_NONE && in->seg < SEG_FS && in->addrsize == 8;
}

/* Pushes, pops, calls, returns: how they move RSP; 0: not one of these. */
static int stack_step(const struct insn *in)
{
    unsigned op = in->opcode, reg = in->modrm >> 3 & 7;

    if (in->map != MAP_1B || in->enc != ENC_LEGACY || in->opsize != 8)
        return 0;
    if ((op >= 0x50 && op <= 0x57) || op == 0x68 || op == 0x6a || op == 0x9c || op == 0xe8 ||
        (op == 0xff && (reg == 6 || reg == 2)))
        return -8;
    if (op == 0xc2 || op == 0xc3 || (op >= 0x58 && op <= 0x5f) || (op == 0x8f && in->mod == 3))
        return 8;
    return 0;
}

/* The access at the top of the stack. */
static struct access stack_access(const struct insn *in)
{
    int step = stack_step(in);

    return (struct access) { .is = step != 0,
                             .write = step < 0,
                             .base = 4,
                             .index = REG_NONE,
                             .disp = step < 0 ? step : 0,
                             .size = 8 };
}

static struct access explicit_access(const struct insn *in)
{
    struct access a = { .is = is_explicit(in),
                        .write = in->info->bits & INFO_MEM_WRITE,
                        .base = in->base,
                        .index = in->index,
                        .scale = in->index == REG_NONE ? 0 : in->scale,
                        .disp = in->disp };

    if (a.is)
        a.size = insn_mem_bytes(in);
    a.is = a.is && a.size != 0;
    return a;
}

/* How the instruction changes a base register: *ret_step when by a constant; false: unknown. */
static bool base_step(const struct insn *in, unsigned base, int *ret_step)
{
    const struct insn_info *info = in->info;
    unsigned reg = in->modrm >> 3 & 7;

    *ret_step = 0;
    if (info->cls == CLASS_STRING || info->cls == CLASS_SYSTEM)
        return false;
    if (base == 4 && stack_step(in) != 0) {
        *ret_step = stack_step(in);
        return !((in->opcode & 0xf8) == 0x58 && (in->opcode & 7) == 4 && !(in->rex & 1)) &&
               in->opcode != 0x8f;
    }
    if (info->cls == CLASS_STACK && in->opcode >= 0x58 && in->opcode <= 0x5f)
        return ((in->opcode & 7u) | (in->rex & 1u) << 3) != base;
    if (info->cls == CLASS_STACK && (in->opcode == 0xc9 || in->opcode == 0xc8))
        return base != 4 && base != 5;
    if (in->enc == ENC_LEGACY && in->map == MAP_1B && in->opsize == 8) {
        if ((in->opcode == 0x83 || in->opcode == 0x81) && in->mod == 3 && in->rm == base &&
            (reg == 0 || reg == 5)) {
            *ret_step = reg == 0 ? (int)in->imm : -(int)in->imm;
            return in->imm + 4096 < 8192;
        }
        if (in->opcode == 0x8d && in->reg == base && in->base == base && in->index == REG_NONE &&
            in->addrsize == 8) {
            *ret_step = in->disp;
            return in->disp > -4096 && in->disp < 4096;
        }
    }
    if (info->regs_written >> base & 1)
        return false;
    /* A byte register AH..BH belongs to 0..3. */
    if (info->gpr_reg & OPND_WRITE &&
        (in->reg == base || (info->gpr_reg & OPND_BYTE && (in->reg & 3) == base)))
        return false;
    if (info->gpr_rm & OPND_WRITE && in->has_modrm && in->mod == 3 &&
        (in->rm == base || (info->gpr_rm & OPND_BYTE && (in->rm & 3) == base)))
        return false;
    if (info->gpr_vvvv & OPND_WRITE && in->vvvv == base)
        return false;
    if (info->gpr_opc & OPND_WRITE) {
        unsigned n = (in->opcode & 7u) | (in->rex & 1u) << 3;
        return n != base && !(info->gpr_opc & OPND_BYTE && (n & 3) == base);
    }
    return true;
}

/* RSP alone may move; its windows hold host less guest address, others the host address of lo. */
static bool moves(const struct window *w)
{
    return w->base == 4 && w->index == REG_NONE;
}

static bool known_step(const struct insn *in, const struct window *w, int *ret_step)
{
    int step;

    if (w->index != REG_NONE && (!base_step(in, w->index, &step) || step != 0))
        return false;
    return base_step(in, w->base, ret_step) && (*ret_step == 0 || moves(w));
}

struct plan {
    struct window w;
    unsigned uses;
    unsigned
        last;  /* access that is in: twice the instruction's index, one more for its stack access */
    int shift; /* of the base since the window's start */
};

static bool widen(struct plan *p, const struct access *a)
{
    int lo = p->shift + a->disp, hi = lo + (int)a->size;

    lo = lo < p->w.lo ? lo : p->w.lo;
    hi = hi > p->w.hi ? hi : p->w.hi;
    if (hi - lo > MAX_RANGE)
        return false;
    p->w.lo = lo;
    p->w.hi = hi;
    p->w.write |= a->write;
    p->uses++;
    return true;
}

/* Walks on from instruction i, where the window's first access is. */
static void extend(struct tr *t, struct plan *p, unsigned i, bool first_is_stack, bool assign,
                   uint8_t id)
{
    bool branched = false;

    for (unsigned k = i; k < t->n; k++) {
        const struct insn *in = &t->in[k];
        struct access e = explicit_access(in), s = stack_access(in);
        int step;
        if (e.is && e.base == p->w.base && e.index == p->w.index && e.scale == p->w.scale &&
            t->explicit_window[k] == 0 && !(k == i && first_is_stack) &&
            !(branched && e.write && !p->w.write)) {
            if (assign && 2 * k <= p->last)
                t->explicit_window[k] = id;
            else if (!assign && widen(p, &e))
                p->last = 2 * k;
            else if (!assign)
                return;
        }
        if (s.is && moves(&p->w) && t->stack_window[k] == 0 &&
            !(branched && s.write && !p->w.write)) {
            if (assign && 2 * k + 1 <= p->last)
                t->stack_window[k] = id;
            else if (!assign && widen(p, &s))
                p->last = 2 * k + 1;
            else if (!assign)
                return;
        }
        if (!known_step(in, &p->w, &step))
            return;
        p->shift += step;
        if (in->info->cls == CLASS_BRANCH)
            branched = true;
    }
}

/* Does the block go on behind the end of a loop here? */
static bool is_loop_end(const struct tr *t, unsigned k)
{
    const struct insn *in = &t->in[k];

    return in->info->cls == CLASS_BRANCH && (int64_t)in->imm < 0;
}

/* Where before i the check may stand with flags dead; i itself when nowhere, or where only inside a
 * loop, which would pay for it each time. *ret_shift: how far the base moves from there to i. */
static unsigned hoist(const struct tr *t, unsigned i, const struct window *w, int *ret_shift)
{
    int shift = 0;

    *ret_shift = 0;
    if (t->live[i] == 0)
        return i;
    for (unsigned k = i; k-- > 0;) {
        int step;
        if (is_loop_end(t, k) || !known_step(&t->in[k], w, &step))
            return i;
        shift += step;
        if (t->live[k] == 0) {
            *ret_shift = shift;
            return k;
        }
    }
    return i;
}

static void try_window(struct tr *t, unsigned i, const struct access *a, bool stack)
{
    struct window w = {
        .base = (uint8_t)a->base,
        .index = (uint8_t)a->index,
        .scale = (uint8_t)a->scale,
        .lo = 1 << 20,
        .hi = -(1 << 20),
    };
    int shift;
    unsigned start = hoist(t, i, &w, &shift);
    struct plan p = { .w = w, .shift = shift };
    uint8_t id = (uint8_t)(t->n_windows + 1);

    if (t->n_windows == TR_WINDOWS)
        return;
    extend(t, &p, i, stack, false, id);
    if (p.uses < 2 && (p.uses == 0 || start == i))
        return;
    p.w.start = (uint8_t)start;
    p.shift = shift;
    extend(t, &p, i, stack, true, id);
    t->window[t->n_windows++] = p.w;
}

void tr_plan_windows(struct tr *t)
{
    memset(t->explicit_window, 0, sizeof t->explicit_window);
    memset(t->stack_window, 0, sizeof t->stack_window);
    t->n_windows = 0;
    if (t->bits != 64 || t->no_windows)
        return;
    for (unsigned i = 0; i < t->n; i++) {
        struct access e = explicit_access(&t->in[i]), s = stack_access(&t->in[i]);
        if (e.is && t->explicit_window[i] == 0)
            try_window(t, i, &e, false);
        if (s.is && t->stack_window[i] == 0)
            try_window(t, i, &s, true);
    }
}

static int32_t window_slot(uint8_t id)
{
    return (int32_t)(offsetof(struct cpu, scratch) + (SCR_WINDOWS + id - 1u) * sizeof(uint64_t));
}

void tr_open_windows(struct tr *t)
{
    struct emit *e = t->e;

    for (unsigned i = 0; i < t->n_windows; i++) {
        const struct window *w = &t->window[i];
        if (w->start != t->now)
            continue;
        tr_lea(t, w->base, w->index, w->scale, w->lo, true);
        tr_check(t, (unsigned)(w->hi - w->lo), w->write, false);
        t->stub[t->n_stubs - 1].flags |= SITE_WINDOW;
        if (moves(w))
            emit_rr(e, true, 0x29, H_GSP, HS);
        emit_rm(e, true, 0x89, HS, H_CTX, window_slot((uint8_t)(i + 1)));
        t->hs_window = (uint8_t)(i + 1);
    }
}

/* The memory operand [base + disp] inside window id. */
void tr_window_operand(struct tr *t, uint8_t id, int disp)
{
    const struct window *w = &t->window[id - 1];

    if (t->hs_window != id)
        emit_rm(t->e, true, 0x8b, HS, H_CTX, window_slot(id));
    t->hs_window = id;
    disp -= w->lo;
    if (moves(w))
        t->mem = (struct tr_mem) { .base = H_GSP, .index = HS, .disp = disp };
    else
        t->mem = (struct tr_mem) { .base = HS, .index = REG_NONE, .disp = disp };
}
