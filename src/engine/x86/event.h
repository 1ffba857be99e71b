/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * event.h - exceptions and interrupts through IVT or IDT (SDM 3A, chapter 6), and IRET.
 */
#pragma once

#include "engine/x86/cpu.h"

enum event_kind {
    EVENT_EXCEPTION, /* raised by the processor */
    EVENT_EXTERNAL,  /* interrupt or NMI */
    EVENT_INT_N,     /* INT n, INT3, INTO: the gate's DPL counts */
    EVENT_ICEBP,     /* INT1: not its DPL */
};

/* Delivers one event between two instructions, cpu->rip being where the handler returns to. A fault
 * on the way becomes the next event, a double fault or shutdown. CPU_EXIT_NONE or
 * CPU_EXIT_SHUTDOWN (or an internal error: a stack in device memory). */
enum cpu_exit event_deliver(struct cpu *cpu, unsigned vector, enum event_kind kind, bool has_error,
                            uint32_t error);

/* The same inside an instruction (INT n): a fault leaves by longjmp. Sets cpu->rip. */
void event_enter(struct cpu *cpu, unsigned vector, enum event_kind kind, bool has_error,
                 uint32_t error, uint64_t return_rip);

/* IRET, inside an instruction: returns the new rip. */
uint64_t event_return(struct cpu *cpu, unsigned opsize);

/* Task switch (x86/task.c). */
enum task_reason { TASK_JMP, TASK_CALL, TASK_IRET, TASK_EVENT };
/* sel names a TSS; rip is the outgoing task's resumption point. Returns the new one. */
uint64_t task_switch(struct cpu *cpu, uint16_t sel, enum task_reason reason, bool has_error,
                     uint32_t error, uint64_t rip);

/* Far transfers (x86/far.c), inside an instruction; each returns the new rip. */
uint64_t far_jump(struct cpu *cpu, uint16_t sel, uint64_t offset, unsigned opsize);
uint64_t far_call(struct cpu *cpu, uint16_t sel, uint64_t offset, unsigned opsize);
uint64_t far_return(struct cpu *cpu, unsigned opsize, unsigned release);

/* CS descriptor checks for a direct transfer (JMP, CALL): faults or returns the new CPL's
 * descriptor unchanged. */
struct desc;
void code_check_transfer(struct cpu *cpu, uint16_t sel, const struct desc *d);
/* #GP(0) when ip is outside of what the code segment d allows. */
void code_check_ip(struct cpu *cpu, const struct desc *d, uint64_t ip);
