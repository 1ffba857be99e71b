/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xsave.h - FXSAVE, XSAVE and their family (SDM 1, chapter 13). */
#pragma once

#include "engine/exec/core.h"

/* The handler of a 0F AE or 0F C7 memory form, NULL for others. */
op_fn *xsave_op(const struct insn *i);

/* #UD or #NM unless SSE instructions may be used (op_fpu.c). */
void fpu_check_sse(struct cpu *cpu);
