/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * thunk.h - executes one guest instruction natively, on the guest's register image.
 *
 * A thunk loads the registers that the instruction names from struct cpu and its XSAVE image, runs
 * the instruction with its memory operand at a host address, and stores the registers back. No host
 * exception can come of it: SSE exceptions are masked (op_fpu.c derives faults from the flags), x87
 * exceptions stay pending in the image.
 */
#pragma once

#include "engine/exec/core.h"

struct thunk_memory;

struct thunk_memory *thunk_memory_new(void);
struct thunk_memory *thunk_memory_free(struct thunk_memory *t);

/* Runs it; mem is the operand's host address or NULL. cpu->thunk.mxcsr goes in and comes out (SSE
 * and AVX only). */
void thunk_run(struct cpu *cpu, const struct insn *i, void *mem);
