/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fpu_trap.h - one SSE or AVX instruction with the guest's own exception masks.
 *
 * An unmasked underflow is raised for every tiny result, exact ones included, and says "inexact" of
 * a result with an unbounded exponent (SDM 1, 4.9.1.5): what the masked instruction reports tells
 * neither. So here it may really trap: SIGFPE is caught for this one instruction.
 */
#pragma once

#include "engine/exec/core.h"

/* Runs it with cpu->thunk.mxcsr. True: it raised an exception, and nothing but cpu->thunk.mxcsr,
 * which holds the flags then, has changed. Any thread; handlers of the client for SIGFPE are put
 * back before it returns, and get signals of other threads meanwhile. */
bool fpu_trap_run(struct cpu *cpu, const struct insn *i, void *mem);
