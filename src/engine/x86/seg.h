/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * seg.h - descriptors and segment registers (SDM 3A, chapter 3 and 5).
 *
 * For use inside an instruction or an event's delivery: faults leave by longjmp.
 */
#pragma once

#include "engine/x86/cpu.h"

/* A descriptor as it lies in memory; address 0 when it came from nowhere. */
struct desc {
    uint32_t lo, hi;
    uint64_t at;
};

enum {
    DESC_TSS16 = 1,
    DESC_LDT = 2,
    DESC_TSS16_BUSY = 3,
    DESC_CALL16 = 4,
    DESC_TASK = 5,
    DESC_INT16 = 6,
    DESC_TRAP16 = 7,
    DESC_TSS32 = 9,
    DESC_TSS32_BUSY = 11,
    DESC_CALL32 = 12,
    DESC_INT32 = 14,
    DESC_TRAP32 = 15,
};

static inline unsigned desc_type(const struct desc *d)
{
    return (d->hi >> 8) & 15;
}

static inline unsigned desc_dpl(const struct desc *d)
{
    return (d->hi >> 13) & 3;
}

static inline bool desc_is_present(const struct desc *d)
{
    return (d->hi & (1 << 15)) != 0;
}

static inline bool desc_is_segment(const struct desc *d) /* code or data, not system */
{
    return (d->hi & (1 << 12)) != 0;
}

static inline bool desc_is_code(const struct desc *d)
{
    return desc_is_segment(d) && (d->hi & (8 << 8)) != 0;
}

static inline bool desc_is_conforming(const struct desc *d)
{
    return (d->hi & (4 << 8)) != 0;
}

static inline bool desc_is_writable_data(const struct desc *d)
{
    return desc_is_segment(d) && (d->hi & (10 << 8)) == 2 << 8;
}

static inline bool desc_is_long_code(const struct desc *d)
{
    return (d->hi & (1 << 21)) != 0;
}

static inline bool desc_is_big(const struct desc *d)
{
    return (d->hi & (1 << 22)) != 0;
}

/* Fetches the descriptor of sel; beyond its table's limit: exception vector with sel as error
 * code. */
struct desc desc_fetch(struct cpu *cpu, uint16_t sel, unsigned vector);
/* The same without a fault. */
bool desc_try(struct cpu *cpu, uint16_t sel, struct desc *ret);

/* Error code for a selector, with EXT while an event is delivered. */
uint32_t sel_error(struct cpu *cpu, uint16_t sel);

struct seg seg_of(uint16_t sel, const struct desc *d);
/* Sets the accessed bit in memory. */
void desc_set_accessed(struct cpu *cpu, struct desc *d);

/* What MOV/POP/LxS do, by mode. seg is not CS. */
void seg_load(struct cpu *cpu, unsigned seg, uint16_t sel);
/* Real and virtual-8086 mode's load. */
void seg_load_real(struct cpu *cpu, unsigned seg, uint16_t sel);
/* Checks of a stack segment for privilege level cpl, faults as vector (TS, GP or SS by rule). */
struct seg seg_stack(struct cpu *cpu, uint16_t sel, unsigned cpl, unsigned vector);
/* CS from a checked descriptor, RPL forced to cpl; updates mode. */
void cs_load(struct cpu *cpu, uint16_t sel, struct desc *d, unsigned cpl);
/* Data segments that a less privileged level must not keep become null (return to outer level). */
void seg_drop_privileged(struct cpu *cpu);
void lldt(struct cpu *cpu, uint16_t sel);
void ltr(struct cpu *cpu, uint16_t sel);

/* SS:SP for a privilege level from the TSS (32 and 16 bit). */
void tss_stack(struct cpu *cpu, unsigned level, uint16_t *ret_ss, uint32_t *ret_sp);
/* RSP0-2 (level 0-2) or IST1-7 (4 + n - 1 after rsp2's place): offset into a 64-bit TSS. */
uint64_t tss_stack64(struct cpu *cpu, unsigned offset);
