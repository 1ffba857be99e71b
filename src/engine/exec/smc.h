/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* smc.h - writes to pages that hold translated code. */
#pragma once

#include <stdint.h>

struct cpu;

/* The CPU is about to write there, in a page with PAGE_CODE: translations go first. */
void smc_written(struct cpu *cpu, uint64_t gpa, unsigned len);
