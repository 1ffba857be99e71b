/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * smc.c - self- and cross-modifying code (SDM 3A, 8.1.3).
 *
 * This CPU's own translations are dropped before the write. Others get a post, before the write so
 * that they do not run old code for long, and after it, since they may have translated the old
 * bytes in between. Software makes them wait for more than that.
 */
#include "engine/exec/smc.h"

#include "engine/api/vm.h"
#include "engine/jit/jit.h"

static void tell(struct cpu *cpu, void *arg)
{
    const struct smc_write *w = arg;
    const struct memslot *s = phys_slot(cpu->vm, w->gpa);

    if (s != NULL && cpu->jit != NULL &&
        (__atomic_load_n(phys_flags(s, w->gpa), __ATOMIC_SEQ_CST) & PAGE_CODE_BIT(cpu->index)) !=
            0) {
        jit_invalidate(cpu, w->self, w->gpa, w->len);
    }
}

void smc_written(struct cpu *cpu, uint64_t gpa, unsigned len)
{
    struct smc_write w = { .self = cpu, .gpa = gpa, .len = len };

    vm_each_cpu(cpu->vm, tell, &w);
    if (cpu->vm->max_id == 0) {
        return;
    }
    if (cpu->n_smc_writes == SMC_WRITES) { /* an instruction that writes much: once for all of it */
        struct smc_write *last = &cpu->smc_write[SMC_WRITES - 1];
        uint64_t end = gpa + len;

        if (last->gpa + last->len > end) {
            end = last->gpa + last->len;
        }
        last->gpa = last->gpa < gpa ? last->gpa : gpa;
        last->len = end - last->gpa;
        return;
    }
    cpu->smc_write[cpu->n_smc_writes++] = w;
}

static void tell_other(struct cpu *cpu, void *arg)
{
    struct smc_write *w = arg, page = *w;

    /* Each page has its own bits. */
    for (uint64_t at = w->gpa; cpu != w->self && at < w->gpa + w->len; at = (at | 0xfff) + 1) {
        page.gpa = at;
        page.len = 4096 - (at & 0xfff);
        if (page.len > w->gpa + w->len - at) {
            page.len = w->gpa + w->len - at;
        }
        tell(cpu, &page);
    }
}

void smc_settle_slow(struct cpu *cpu)
{
    for (unsigned i = 0; i < cpu->n_smc_writes; i++) {
        vm_each_cpu(cpu->vm, tell_other, &cpu->smc_write[i]);
    }
    cpu->n_smc_writes = 0;
}
