/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cpu.h - the state of one virtual CPU (SDM 3A, chapter 2 and 3).
 *
 * Owned by the thread that is inside KVM_RUN; other threads touch only the members marked atomic.
 * Compiled code addresses members by their offset: hot ones come first. Outside compiled code all
 * of it is architecturally exact.
 */
#pragma once

#include "engine/mmu/tlb.h"
#include "engine/x86/insn.h"

#include <stdbool.h>
#include <stdint.h>

enum { REG_AX, REG_CX, REG_DX, REG_BX, REG_SP, REG_BP, REG_SI, REG_DI };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

/* A segment register with its hidden part. attr is laid out as the descriptor's bits 40..55:
 * type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15, plus SEG_UNUSABLE. limit is in bytes. */
struct seg {
    uint64_t base;
    uint32_t limit;
    uint16_t sel;
    uint16_t pad;
    uint32_t attr;
};
enum {
    SEG_ATTR_TYPE = 15,
    SEG_ATTR_S = 1 << 4,
    SEG_ATTR_DPL_SHIFT = 5,
    SEG_ATTR_P = 1 << 7,
    SEG_ATTR_AVL = 1 << 12,
    SEG_ATTR_L = 1 << 13,
    SEG_ATTR_DB = 1 << 14,
    SEG_ATTR_G = 1 << 15,
    SEG_UNUSABLE = 1 << 16,
};

struct dtable {
    uint64_t base;
    uint16_t limit;
};

/* Exceptions (SDM 3A, 6.3.1). */
enum {
    EXC_DE = 0,
    EXC_DB = 1,
    EXC_NMI = 2,
    EXC_BP = 3,
    EXC_OF = 4,
    EXC_BR = 5,
    EXC_UD = 6,
    EXC_NM = 7,
    EXC_DF = 8,
    EXC_TS = 10,
    EXC_NP = 11,
    EXC_SS = 12,
    EXC_GP = 13,
    EXC_PF = 14,
    EXC_MF = 16,
    EXC_AC = 17,
    EXC_MC = 18,
    EXC_XM = 19,
};

/* Why the CPU stopped executing guest code; the API turns it into a KVM exit. */
enum cpu_exit {
    CPU_EXIT_NONE = 0,
    CPU_EXIT_IO,   /* exit_io filled; result of IN goes to exit_io.data before resuming */
    CPU_EXIT_MMIO, /* exit_mmio filled; likewise */
    CPU_EXIT_HLT,
    CPU_EXIT_SHUTDOWN, /* triple fault */
    CPU_EXIT_INTR,     /* kicked: cpu->kick was set */
    CPU_EXIT_DEBUG,
    CPU_EXIT_INTERNAL_ERROR,
    CPU_EXIT_HYPERCALL,
    CPU_EXIT_IRQ_WINDOW, /* asked for by want_irq_window, and now open */
};

enum { SMC_WRITES = 4 };

struct vm;
struct vcpu;
struct lapic;
struct jit;

struct cpu {
    /* ---- hot: reached from compiled code by short offsets ---- */
    uint64_t gpr[16];
    uint64_t rip;
    uint64_t rflags; /* bit 1 always set */
    /* Cached from CR0/CR4/EFER/CS/CPL/AC by cpu_update_mode(); part of a block's key. */
    uint32_t mode;
    uint64_t scratch[18]; /* for compiled code and its helpers */
    struct seg seg[SEG_COUNT];
    /* What the instruction at rip raised, to be delivered next (exec/interp.h). */
    struct {
        bool pending;
        bool has_error;
        uint8_t vector;
        uint32_t error;
        uint64_t cr2;
    } fault;

    /* ---- the page that compiled code polls. The API maps the client's struct kvm_run over it, so
     * that run->immediate_exit (byte 1), set by a client's signal handler, is seen without a system
     * call. Byte 3 is ours (padding in kvm_run): any thread sets it through cpu_kick(), the owner
     * clears it. "test dword [run_page], ATTENTION_MASK" at back-edges and indirect jumps. ---- */
    uint8_t run_page[4096] __attribute__((aligned(4096)));

    /* ---- system state ---- */
    struct seg ldt, tr;
    struct dtable gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, xcr0;
    uint64_t pdpte[4];        /* PAE: read at CR3's load (SDM 3A, 4.4.1) */
    uint32_t reset_signature; /* EDX after RESET: CPUID 1 EAX */
    uint8_t phys_bits;        /* MAXPHYADDR of the guest's CPUID */
    uint64_t dr[8];           /* 4 and 5 unused */
    uint8_t cpl;
    uint64_t star, lstar, cstar, fmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, tsc_aux, apic_base, misc_enable, xss, spec_ctrl;
    uint64_t tsc_offset; /* guest TSC = host TSC + offset */
    uint64_t tsc_adjust, tsc_deadline;
    uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_var[16];
    uint64_t mcg_cap, mcg_status, mcg_ctl, mc_banks[4 * 32];
    uint64_t smbase, feature_control, misc_features;

    /* Interrupt and event state (KVM_GET_VCPU_EVENTS). */
    bool irq_shadow; /* after STI or MOV SS: no interrupt before the next instruction's end */
    bool shadow_is_mov_ss;
    bool nmi_masked;
    bool nmi_pending;
    bool halted; /* HLT executed, waiting (in-kernel irqchip) */
    struct {
        bool pending;
        uint8_t vector;
        bool has_error;
        uint32_t error;
    } exception; /* injected by the API, or left over from an aborted delivery */
    struct {
        bool pending;
        uint8_t vector;
        bool soft;
    } interrupt; /* injected by KVM_INTERRUPT or taken from the irqchip, not yet delivered */

    /* ---- x87, SSE, AVX: an XSAVE image in standard format, always current outside compiled
     * code; 4096 bytes, 64-aligned ---- */
    uint8_t *xsave;

    /* For natively executed instructions (exec/thunk.h). */
    struct {
        uint64_t flags;
        uint32_t mxcsr, host_mxcsr;
        uint16_t host_cw;
    } thunk;

    /* ---- exits ---- */
    struct {
        uint16_t port;
        uint8_t size;
        bool in;
        uint32_t count;
        uint8_t data[4096];
    } exit_io;
    struct {
        uint64_t gpa;
        uint8_t data[8];
        uint8_t len;
        bool write;
        bool done; /* the API stored a read's data: re-execution consumes it */
    } exit_mmio;

    /* Writes of the current instruction to pages with code (exec/smc.h). */
    struct smc_write {
        struct cpu *self;
        uint64_t gpa, len;
    } smc_write[SMC_WRITES];
    unsigned n_smc_writes;

    /* ---- collaborators, borrowed unless said otherwise ---- */
    struct vm *vm;
    struct vcpu *vcpu;
    unsigned index;      /* its number in the VM */
    struct lapic *lapic; /* NULL without an in-kernel one */
    struct jit *jit;     /* owned by exec/ */
    void *interp;        /* owned by the interpreter: replay log, thunks */
    bool exit_wanted;    /* atomic: cpu_kick() with exit */
    bool want_irq_window;
    bool single_step;     /* KVM_GUESTDBG_SINGLESTEP */
    uint32_t guest_debug; /* KVM_GUESTDBG_ bits */
    uint64_t debug_dr[8];

    struct tlb tlb; /* last: large */
};

enum { RUN_BYTE_IMMEDIATE_EXIT = 1, RUN_BYTE_ATTENTION = 3 };
#define ATTENTION_MASK 0xffffff00u

/* Must compiled code be left at the next instruction boundary? */
static inline bool cpu_attention(const struct cpu *cpu)
{
    return (__atomic_load_n((const uint32_t *)(const void *)cpu->run_page, __ATOMIC_RELAXED) &
            ATTENTION_MASK) != 0;
}

/* cpu->mode: everything that changes what the same bytes mean. */
enum {
    MODE_CODE_16 = 0,
    MODE_CODE_32 = 1,
    MODE_CODE_64 = 2,
    MODE_CODE_MASK = 3,
    MODE_CPL_SHIFT = 2, /* two bits */
    MODE_SS32 = 1 << 4, /* SS.B: stack pointer size outside 64-bit mode */
    MODE_LONG = 1 << 5, /* EFER.LMA */
    MODE_PE = 1 << 6,
    MODE_VM86 = 1 << 7,
    MODE_MMU_SHIFT = 8,     /* two bits: enum tlb_index for data accesses */
    MODE_FPU_OFF = 1 << 10, /* CR0.EM or CR0.TS: FPU/SSE instructions go to the interpreter */
    MODE_FLAT = 1 << 11,    /* DS, ES, SS bases 0, no limits: implied in 64-bit mode */
    MODE_TF = 1 << 12,      /* RFLAGS.TF or single-stepping: one instruction at a time */
    MODE_AVX_OFF = 1 << 13, /* CR4.OSXSAVE clear or XCR0 without AVX */
    MODE_AC = 1 << 14,      /* alignment checks on */
    MODE_BP = 1 << 15,      /* DR7 (or guest debug) has an enabled breakpoint */
    MODE_SSE_OFF = 1 << 16, /* CR4.OSFXSR clear */
};

/* Recomputes cpu->mode. To be called after any change of CR0, CR4, EFER, XCR0, CS, SS, CPL,
 * RFLAGS.TF/ AC/VM or DR7. Does not flush the TLB. */
void cpu_update_mode(struct cpu *cpu);

/* State after RESET (SDM 3A, table 9-1) or INIT. */
void cpu_reset(struct cpu *cpu, bool init);
