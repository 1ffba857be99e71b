/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * interp.h - the interpreter: executes everything, exactly, one instruction at a time.
 *
 * Calling conventions that compiled code shares:
 * - An architectural fault is cpu->fault (pending, vector, error, cr2); cpu->rip still points to
 *   the faulting instruction. interp_step() delivers its own faults; a fault that a memory helper
 *   (mmu/mem.h) left is delivered by interp_deliver_fault().
 * - Whenever the run loop has to look at something (IF set while an interrupt waits, HLT, mode
 *   switched to single step, a request from another thread), the attention byte of the run page is
 *   set. After each interp_step() or interp_deliver_fault() that returns CPU_EXIT_NONE, compiled
 *   code re-reads cpu->rip and cpu->mode, and leaves to the loop if cpu_attention().
 */
#pragma once

#include "engine/x86/cpu.h"

/* Executes exactly one instruction at cpu->rip (one iteration or one page of a REP), delivering the
 * exception that it raises. CPU_EXIT_NONE: executed, or the exception's handler is next. Another
 * value goes out of cpu_exec(); for MMIO and IO, calling again completes the instruction. */
enum cpu_exit interp_step(struct cpu *cpu);

/* Executes instructions until attention, an exit, or max of them are done. */
enum cpu_exit interp_run(struct cpu *cpu, unsigned long max);

/* Delivers cpu->fault through the IDT, with double faults; CPU_EXIT_SHUTDOWN on a triple one. */
enum cpu_exit interp_deliver_fault(struct cpu *cpu);

/* State at struct cpu.interp; 0 or -ENOMEM. */
int interp_init(struct cpu *cpu);
void interp_done(struct cpu *cpu);
