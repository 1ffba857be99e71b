/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jit.h - the same-ISA translator: what the run loop, and writers of guest code, call.
 *
 * Each virtual CPU has its own translations, made and executed by the thread that owns the CPU.
 * Another thread only posts invalidations. See docs/engine-jit.md for the design.
 */
#pragma once

#include "engine/x86/cpu.h"

#include <stddef.h>

/* A struct cpu must lie in memory from here: compiled code and the helpers that it calls run on a
 * stack below it (guarded), and reach jump tables above it by 32-bit offsets. Zeroed; NULL: none.
 */
void *jit_cpu_alloc(void);
void jit_cpu_free(void *cpu);

/* cpu->jit; 0 or -errno. Without a JIT (-ENOTSUP: the host forbids executable memory) everything
 * else still works through the interpreter. */
int jit_init(struct cpu *cpu);
void jit_done(struct cpu *cpu);

/* Runs guest code from cpu->rip until attention (CPU_EXIT_NONE) or an exit. */
enum cpu_exit jit_run(struct cpu *cpu);

/* Guest physical bytes change, by this CPU (or self NULL: by a device or another thread). Callable
 * for any page; to be called before or after the write, for pages with PAGE_CODE. */
void jit_invalidate(struct cpu *cpu, struct cpu *self, uint64_t gpa, uint64_t len);

/* Drops everything: slots changed. */
void jit_flush(struct cpu *cpu, struct cpu *self);

struct jit_stats {
    uint64_t blocks, insns, flushes, links, dispatches, steps, slow, code_bytes, invalidated;
};
void jit_get_stats(const struct cpu *cpu, struct jit_stats *ret);
