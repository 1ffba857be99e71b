/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* setup.c - a virtual CPU's translator comes and goes. */
#include "engine/jit/tr.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static int open_perf_map(void)
{
    char path[64];

    if (getenv("VIREO_PERF_MAP") == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* PEXT is microcode, of a hundred cycles and more, on AMD before family 19h. */
static bool has_fast_pext(void)
{
    unsigned a, b, c, d;

    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (b & bit_BMI2) == 0 ||
        __get_cpuid(0, &a, &b, &c, &d) == 0)
        return false;
    if (b == signature_INTEL_ebx)
        return true;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (a >> 8 & 15) + (a >> 20 & 255) >= 0x19;
}

int jit_init(struct cpu *cpu)
{
    struct jit *j = reserve(sizeof *j);

    if (j == NULL)
        return -ENOMEM;
    j->cpu = cpu;
    j->perf_fd = -1;
    pthread_mutex_init(&j->post_lock, NULL);
    cpu->jit = j;
    j->block = reserve((JIT_MAX_BLOCKS + 1) * sizeof *j->block);
    j->site = reserve(JIT_MAX_SITES * sizeof *j->site);
    j->tr = calloc(1, sizeof *j->tr);
#ifdef VIREO_TORTURE
    j->check = reserve(jit_check_bytes());
    if (j->check == NULL) {
        jit_done(cpu);
        return -ENOMEM;
    }
#endif
    j->wide_table = has_fast_pext();
    cpu->scratch[SCR_JUMP_MASK] = (UINT64_C(1) << (j->wide_table ? JIT_TABLE_BITS : 16)) - 1;
    int ret = j->block != NULL && j->site != NULL && j->tr != NULL ? jit_code_init(j) : -ENOMEM;
    if (ret != 0) {
        jit_done(cpu);
        return ret;
    }
    j->perf_fd = open_perf_map();
    return 0;
}

void jit_done(struct cpu *cpu)
{
    struct jit *j = cpu->jit;

    if (j == NULL)
        return;
    cpu->jit = NULL;
    jit_code_done(j);
    if (j->block != NULL)
        (void)munmap(j->block, (JIT_MAX_BLOCKS + 1) * sizeof *j->block);
    if (j->site != NULL)
        (void)munmap(j->site, JIT_MAX_SITES * sizeof *j->site);
#ifdef VIREO_TORTURE
    if (j->check != NULL)
        (void)munmap(j->check, jit_check_bytes());
#endif
    if (j->perf_fd >= 0)
        (void)close(j->perf_fd);
    free(j->tr);
    pthread_mutex_destroy(&j->post_lock);
    (void)munmap(j, sizeof *j);
}

void jit_get_stats(const struct cpu *cpu, struct jit_stats *ret)
{
    *ret = cpu->jit->stats;
    ret->code_bytes = (uint64_t)(cpu->jit->emit.p - cpu->jit->rw);
}
