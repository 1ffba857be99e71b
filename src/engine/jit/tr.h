/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tr.h - a block while it is being translated: shared by the parts of the translator.
 */
#pragma once

#include "engine/jit/state.h"

#include <stddef.h>

enum stub_kind { STUB_SLOW, STUB_FPU, STUB_LINK, STUB_STEP };

/* A way off the main path: a site and its stub, made when the block is complete. */
struct stub {
    enum stub_kind kind;
    uint8_t *patch;  /* the jump that leads here */
    uint8_t *resume; /* where it goes on */
    uint64_t va;     /* of the instruction; STUB_LINK: the target */
    uint16_t size;
    uint8_t flags; /* SITE_ */
};

/* A memory operand of emitted code: [base + index + disp]; index may be REG_NONE. */
struct tr_mem {
    unsigned base, index;
    int32_t disp;
};

enum { TR_WINDOWS = 8 };
struct window {
    uint8_t base, index, scale; /* guest registers; index may be REG_NONE */
    uint8_t start;              /* instruction before which it is checked */
    bool write;
    int lo, hi; /* from the base's value there */
};

enum { TR_MAX_STUBS = 8 * JIT_MAX_INSNS + 16 };

struct tr {
    struct jit *j;
    struct emit *e;
    struct block *b;
    uint32_t block_index;
    uint32_t mode;
    unsigned bits;  /* 32 or 64 */
    unsigned index; /* of the TLB */
    int mode_index;
    struct code_page page, second;
    bool crosses; /* the last instruction, into second */
    unsigned n;
    struct insn in[JIT_MAX_INSNS];
    uint64_t at[JIT_MAX_INSNS + 1];
    uint16_t live[JIT_MAX_INSNS + 1]; /* flags read later on, before each instruction */
    unsigned now;
    bool saved;    /* flags of the guest are in SCR_FLAGS; to be restored before the instruction */
    bool fpu_here; /* known to be loaded from here on */
    bool no_windows;
    struct tr_mem mem; /* of the current instruction, after tr_operand() */
    uint8_t hs_window; /* HS holds the content of this window's slot; 0: something else */
    uint8_t explicit_window[JIT_MAX_INSNS], stack_window[JIT_MAX_INSNS]; /* 0: none */
    struct window window[TR_WINDOWS];
    unsigned n_windows;
    struct stub stub[TR_MAX_STUBS];
    unsigned n_stubs;
};

enum tr_result {
    TR_NEXT, /* done, falls through */
    TR_END,  /* done, control has left */
    TR_STEP, /* not for compiled code: nothing was emitted that has an effect */
};

/* ---- operands.c ---- */
static inline void tr_scr(struct tr *t, bool w, unsigned op, unsigned reg, unsigned n)
{
    emit_rm(t->e, w, op, reg, H_CTX, (int32_t)(offsetof(struct cpu, scratch) + 8 * n));
}
static inline bool in_memory(unsigned guest)
{
    return guest >= 13 && guest < 16;
}
static inline unsigned host_of(unsigned guest)
{
    return guest == 4 ? H_GSP : guest;
}
/* The current instruction's place will be checked with flags clobbered: saves them where a later
 * instruction reads them. Clobbers temp, a scratch register, or none. */
void tr_need_flags(struct tr *t, unsigned temp);
/* Before the current instruction executes: flags into RFLAGS if it has to do with flags. */
void tr_restore_flags(struct tr *t, unsigned temp);
/* ... whatever it is. */
void tr_force_flags(struct tr *t, unsigned temp);
/* op reg, memory operand */
void tr_op_mem(struct tr *t, bool w, unsigned op, unsigned reg);
void tr_save_raw(struct emit *e, unsigned temp);
void tr_restore_raw(struct emit *e, unsigned temp);
struct stub *tr_stub(struct tr *t, enum stub_kind kind, uint8_t *patch);
/* Value of a guest register into a host scratch register. */
void tr_get(struct tr *t, unsigned host, unsigned guest);
void tr_put(struct tr *t, unsigned guest, unsigned host);
/* t->mem := the instruction's memory operand, checked for size bytes. False: it has a form for the
 * interpreter. */
bool tr_operand(struct tr *t, const struct insn *in, unsigned size, bool write, bool align);
/* HS holds a linear address; makes it a host address, and t->mem that. */
void tr_check(struct tr *t, unsigned size, bool write, bool align);
bool tr_address(struct tr *t, const struct insn *in);
/* HS := base + index << scale + disp */
void tr_lea(struct tr *t, unsigned base, unsigned index, unsigned scale, int disp, bool wide);
bool tr_is_const(const struct tr *t, const struct insn *in);

/* ---- window.c ---- */
void tr_plan_windows(struct tr *t);
void tr_open_windows(struct tr *t);
void tr_window_operand(struct tr *t, uint8_t id, int disp);

/* ---- copy.c ---- */
enum tr_result tr_copy(struct tr *t, const struct insn *in);

/* ---- flow.c ---- */
enum tr_result tr_branch(struct tr *t, const struct insn *in);
enum tr_result tr_stack(struct tr *t, const struct insn *in);
/* Leaves the block for a known address. */
void tr_exit(struct tr *t, unsigned cc, uint64_t target);
void tr_set_rip(struct tr *t, uint64_t va);
