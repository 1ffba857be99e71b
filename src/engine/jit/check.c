/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check.c - the cruel build's witness: a block that does not write memory is executed, taken back,
 * and executed again by the interpreter; the results must agree.
 */
#include "engine/exec/interp.h"
#include "engine/jit/state.h"

#ifdef VIREO_TORTURE

#include <stdio.h>
#include <stdlib.h>

enum { XS_COMPARED = 832 };

struct snapshot {
    uint64_t gpr[16], rip, rflags;
    uint8_t xs[XS_COMPARED];
};

static void take(const struct cpu *cpu, struct snapshot *s)
{
    memcpy(s->gpr, cpu->gpr, sizeof s->gpr);
    s->rip = cpu->rip;
    s->rflags = cpu->rflags;
    memcpy(s->xs, cpu->xsave, XS_COMPARED);
}

static void put_back(struct cpu *cpu, const struct snapshot *s)
{
    memcpy(cpu->gpr, s->gpr, sizeof s->gpr);
    cpu->rip = s->rip;
    cpu->rflags = s->rflags;
    memcpy(cpu->xsave, s->xs, XS_COMPARED);
}

static bool same(const struct snapshot *a, const struct snapshot *b, uint64_t undefined)
{
    /* Registers of the vector unit; not the x87 unit's pointers. */
    return memcmp(a->gpr, b->gpr, sizeof a->gpr) == 0 && a->rip == b->rip &&
           ((a->rflags ^ b->rflags) & FL_ARITH & ~undefined) == 0 &&
           memcmp(a->xs + 160, b->xs + 160, 256) == 0 && memcmp(a->xs + 576, b->xs + 576, 256) == 0;
}

/* The block at before->rip has just been executed; exact: to its end, else dead flags may differ.
 */
static bool agrees(struct jit *j, const struct block *b, const struct snapshot *before, bool exact)
{
    struct cpu *cpu = j->cpu;
    struct snapshot jit, interp;
    uint32_t mode = cpu->mode;
    bool ok = true;

    take(cpu, &jit);
    if (jit.rip >= b->va && jit.rip < b->va + b->bytes)
        return true; /* went into its own middle: how often is not known */
    put_back(cpu, before);
    for (unsigned i = 0; i < b->n && cpu->rip != jit.rip; i++) {
        if (interp_step(cpu) != CPU_EXIT_NONE || cpu->mode != mode) {
            ok = false; /* an exception: that it came must be seen by nobody */
            break;
        }
    }
    take(cpu, &interp);
    ok = ok && same(&jit, &interp, exact ? b->undefined : FL_ARITH);
    put_back(cpu, &jit);
    return ok;
}

void jit_check_before(struct jit *j, const struct block *b)
{
    j->checked = b->pure && ++j->check_count % 7 == 0 ? b : NULL;
    if (j->checked != NULL)
        take(j->cpu, &((struct snapshot *)j->check)[0]);
}

void jit_check_after(struct jit *j, bool exact)
{
    const struct block *b = j->checked;
    struct snapshot *before = j->check;

    j->checked = NULL;
    if (b == NULL || b->dead || agrees(j, b, before, exact))
        return;
    /* A device may have written what was read: once more, from the start. */
    put_back(j->cpu, before);
    (void)jit_enter(j, b);
    jit_save_fpu(j->cpu);
    if (agrees(j, b, before, exact))
        return;
    (void)fprintf(stderr, "translator and interpreter differ: block at %lx, %u bytes\n",
                  (unsigned long)b->va, b->bytes);
    abort();
}

size_t jit_check_bytes(void)
{
    return sizeof(struct snapshot);
}

#endif
