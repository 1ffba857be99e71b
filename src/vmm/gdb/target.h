/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target.h - a parked CPU as gdb sees it: registers by its numbers, memory by linear addresses. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vcpu;

enum { GDB_N_REGS = 57, GDB_ALL_BYTES = 1024 };

/* What "target.xml" says. */
const char *gdb_target_xml(void);
/* All registers in order, or one; the bytes written, 0: there is no such register. */
size_t gdb_get_registers(struct vcpu *v, uint8_t buf[GDB_ALL_BYTES]);
size_t gdb_get_register(struct vcpu *v, unsigned n, uint8_t buf[16]);
bool gdb_set_registers(struct vcpu *v, const uint8_t *buf, size_t len);
bool gdb_set_register(struct vcpu *v, unsigned n, const uint8_t *buf, size_t len);
/* false: a part of it is not mapped. */
bool gdb_memory(struct vcpu *v, uint64_t at, uint8_t *buf, size_t len, bool write);
