/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * insn.h - one decoded instruction (SDM 2, chapter 2), as decoder, interpreter and JIT share it.
 *
 * The decoder fills the fields from bytes alone; it reads no guest state but the code size. The
 * interpreter dispatches on (map, opcode, modrm reg); the JIT looks at info, and re-encodes by the
 * byte offsets kept here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { INSN_MAX_BYTES = 15 };

enum insn_map { MAP_1B, MAP_0F, MAP_0F38, MAP_0F3A };
enum insn_enc { ENC_LEGACY, ENC_VEX, ENC_EVEX };

enum {
    PFX_66 = 1 << 0,
    PFX_F2 = 1 << 1, /* REPNE; the last of F2 and F3 wins */
    PFX_F3 = 1 << 2, /* REP */
    PFX_LOCK = 1 << 3,
    PFX_67 = 1 << 4,
    PFX_REX = 1 << 5, /* any REX byte: changes the meaning of AH..BH encodings */
};

/* Arithmetic flags, at their places in RFLAGS. */
enum {
    FL_CF = 1 << 0,
    FL_PF = 1 << 2,
    FL_AF = 1 << 4,
    FL_ZF = 1 << 6,
    FL_SF = 1 << 7,
    FL_DF = 1 << 10,
    FL_OF = 1 << 11,
    FL_ARITH = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF,
};

/* What kind of thing an instruction is, for the JIT and for the interpreter's native thunk. */
enum insn_class {
    CLASS_INVALID, /* undefined in this form: #UD */
    CLASS_INT,     /* general-register integer work without a side effect; may be copied */
    CLASS_STACK,   /* push pop call ret enter leave pushf popf: implicit stack access */
    CLASS_BRANCH,  /* jmp jcc call ret loop: ends a block */
    CLASS_STRING,  /* movs stos lods scas cmps ins outs */
    CLASS_X87,     /* x87 and MMX */
    CLASS_VEC,     /* SSE AVX AVX-512 */
    CLASS_SYSTEM,  /* privileged, mode-changing, serialising, CPUID, RDTSC ...: the interpreter's */
};

enum {
    INFO_MEM_READ = 1 << 0,  /* the explicit memory operand is read */
    INFO_MEM_WRITE = 1 << 1, /* ... and/or written */
    INFO_MEM_ADDR = 1 << 2,  /* its address only (LEA, prefetch, NOP, INVLPG) */
    INFO_LOCKABLE = 1 << 3,
    INFO_IMPLICIT_LOCK = 1 << 4, /* XCHG with memory */
    INFO_ENDS_BLOCK = 1 << 5,    /* whatever follows must be looked up anew */
    INFO_ALIGN = 1 << 6,         /* a misaligned memory operand is #GP (legacy SSE, MOVAPS ...) */
    INFO_VSIB = 1 << 7,          /* gather/scatter addressing */
    INFO_CPL0 = 1 << 8,
    INFO_FLAGS_COND = 1 << 9, /* writes its flags only sometimes (shift by a count of 0, ...) */
    INFO_BITSTRING = 1 << 10, /* BT and its family: a register's value moves the memory operand */
    INFO_MASKED = 1 << 11,    /* elements that a mask leaves out cannot fault */
    INFO_MASKMOV = 1 << 12,   /* MASKMOVQ, MASKMOVDQU: memory at DS:[DI] */
};

/* How a general register named by one of the encoding's fields is used; 0: the field names none. */
enum {
    OPND_READ = 1 << 0,
    OPND_WRITE = 1 << 1,
    OPND_BYTE = 1 << 2, /* byte register: 4-7 are AH..BH without REX */
};

/* insn_info.mem_bytes beside plain numbers. */
enum {
    MEM_OPSIZE = 0,
    MEM_W = 0xfa,      /* 8 with W, else 4 */
    MEM_VL_8TH = 0xfb, /* of the vector length */
    MEM_VL_4TH = 0xfc,
    MEM_VL_HALF = 0xfd,
    MEM_VL = 0xfe,
    MEM_SPECIAL = 0xff,
};

/* What lies above x86-64-v2, which every host has. Where the host lacks it, the instruction is
 * undefined for guests too, since it is executed as it is. FEATURE_AVX2 stands for AVX as well. */
enum insn_feature {
    FEATURE_NONE,
    FEATURE_AVX2,
    FEATURE_FMA,
    FEATURE_F16C,
    FEATURE_BMI1,
    FEATURE_BMI2,
    FEATURE_MOVBE,
    FEATURE_ADX,
    FEATURE_AES,
    FEATURE_PCLMUL,
    FEATURE_SHA,
    FEATURE_SSE4A,
    FEATURE_GFNI,
    FEATURE_RDRAND,
    FEATURE_RDSEED,
    FEATURE_VAES, /* with 256 bits; likewise VPCLMULQDQ */
    FEATURE_COUNT,
};

/* One row of the decode table. */
struct insn_info {
    uint8_t cls;       /* enum insn_class */
    uint8_t mem_bytes; /* width of the memory operand, or MEM_; see insn_mem_bytes() */
    uint8_t gpr_reg, gpr_rm, gpr_vvvv, gpr_opc; /* OPND_ */
    uint16_t flags_read;
    uint16_t flags_written; /* defined or undefined: anything that may change */
    uint16_t flags_undef;   /* of flags_written, what the SDM leaves undefined */
    uint32_t bits;          /* INFO_ */
    uint32_t regs_read;     /* implicit general registers, bit n = register n */
    uint32_t regs_written;
    uint16_t feature; /* enum insn_feature that this processor must have */
    const char *name; /* mnemonic, for traces */
};

struct insn {
    const struct insn_info *info; /* never NULL after a successful decode */
    uint8_t bytes[INSN_MAX_BYTES + 1];
    uint8_t len;
    uint8_t map; /* enum insn_map */
    uint8_t opcode;
    uint8_t enc; /* enum insn_enc */
    uint8_t prefixes;
    uint8_t rex; /* W R X B as bits 3..0 (from REX, VEX or EVEX, un-inverted) */
    uint8_t seg; /* effective segment 0..5 = ES CS SS DS FS GS, defaults applied */
    bool seg_override;
    uint8_t
        opsize; /* 2, 4, 8: after 66, REX.W and the 64-bit defaults; byte forms know themselves */
    uint8_t addrsize; /* 2, 4, 8 */
    bool has_modrm;
    uint8_t modrm;
    uint8_t mod;
    uint8_t reg; /* with REX.R (and EVEX.R') */
    uint8_t rm;  /* with REX.B when mod is 3; else raw */
    /* The memory operand when mod != 3 (or a moffs form): base and index register or REG_NONE. */
    uint8_t base;
    uint8_t index;
    uint8_t scale; /* 0..3: a shift */
    bool rip_relative;
    int32_t disp;
    uint64_t imm;  /* sign-extended as the instruction wants it; moffs address; far offset */
    uint16_t imm2; /* far selector; ENTER's level */
    uint8_t off_opcode, off_modrm, off_disp, off_imm; /* 0: absent */
    uint8_t disp_bytes, imm_bytes;
    uint8_t vvvv; /* VEX/EVEX second source */
    uint8_t vl;   /* 0: 128, 1: 256, 2: 512 */
    uint8_t pp;   /* VEX/EVEX/legacy mandatory prefix: 0 none, 1 66, 2 F3, 3 F2 */
    uint8_t evex_aaa;
    bool evex_z, evex_b;
};

/* Width of the explicit memory operand in bytes; 0: special (XSAVE, FNSTENV, gathers ...). */
unsigned insn_mem_bytes(const struct insn *insn);

enum { REG_NONE = 0xff };

enum insn_result {
    INSN_OK,
    INSN_MORE, /* the bytes end inside the instruction */
    INSN_BAD,  /* #UD */
    INSN_LONG, /* above 15 bytes: #GP */
};

/* Decodes the instruction at the front of bytes. code_bits is 16, 32 or 64 (CS.D and CS.L). Any
 * thread. For INSN_BAD len covers the bytes that were looked at. */
enum insn_result insn_decode(const uint8_t *bytes, unsigned n_bytes, unsigned code_bits,
                             struct insn *ret);

/* The forms of the table, for tests that walk them all: insn_form_bytes() writes a plain encoding
 * of form i for code of that size (mod 3 or a memory operand where the form allows both; register
 * numbers and memory operand as given), and returns its length, or 0 when there is none. */
struct insn_form_choice {
    bool memory;
    bool rex_w, prefix_66, vl256;
    uint8_t reg, rm, vvvv; /* 0..15 */
    uint8_t mem_base;      /* memory operand [base + disp8] */
    int8_t disp8;
    uint64_t imm;
};
unsigned insn_form_count(void);
unsigned insn_form_bytes(unsigned i, unsigned code_bits, const struct insn_form_choice *choice,
                         uint8_t ret[INSN_MAX_BYTES]);
const char *insn_form_name(unsigned i);
