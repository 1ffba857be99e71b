/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* io.h - may the guest use a port (SDM 1, 19.5)? */
#pragma once

#include <stdint.h>

struct cpu;

/* #GP(0) unless IOPL or the TSS's bitmap allows it. */
void io_check(struct cpu *cpu, uint16_t port, unsigned size);
