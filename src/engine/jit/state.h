/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * state.h - what the translator's files share: code memory, blocks, links, sites.
 */
#pragma once

#include "engine/jit/emit.h"
#include "engine/jit/jit.h"
#include "engine/mmu/phys.h"
#include "engine/x86/cpu.h"

#include <pthread.h>

#ifdef VIREO_TORTURE
enum {
    JIT_HOT_BYTES = 256 << 10,
    JIT_COLD_BYTES = 64 << 10,
    JIT_MAX_BLOCKS = 512,
    JIT_MAX_INSNS = 8
};
#else
enum {
    JIT_HOT_BYTES = 160 << 20,
    JIT_COLD_BYTES = 32 << 20,
    JIT_MAX_BLOCKS = 512 << 10,
    JIT_MAX_INSNS = 48
};
#endif
enum {
    JIT_MAX_SITES = 10 * JIT_MAX_BLOCKS,
    JIT_STUB_BYTES = 5, /* a call */
    JIT_CODE_BYTES = JIT_HOT_BYTES + JIT_COLD_BYTES + JIT_MAX_SITES * JIT_STUB_BYTES,
    JIT_HASH_BITS = 18,
    JIT_PAGE_BITS = 15,
    JIT_TOKEN_BITS = 16,
    JIT_MAX_TOKENS = 1 << (JIT_TOKEN_BITS - 1),
    JIT_MODES = 16, /* jump tables: one for each mode that has been met */
    JIT_TABLE_BITS = 17, /* 16 are used where the processor has no fast PEXT */
    JIT_TABLE_SLOTS = 1 << JIT_TABLE_BITS,
    JIT_STACK_BYTES = 512 << 10,
    JIT_BLOCK_ROOM = 24 << 10, /* at least so much hot code memory before a block is begun */
    JIT_COLD_ROOM = 512,
    JIT_TRIM_BYTES = 1 << 20,
    JIT_AHEAD_BYTES = 128 << 10, /* more than JIT_BLOCK_ROOM */
    JIT_MANY_BLOCKS = 16 << 10,
    JIT_WINDOW_FAILURES = 32,
    JIT_POSTS = 64,
    JIT_SEEN_BITS = 18,
    JIT_COLD_INSNS = 12, /* executed by the interpreter where code runs for the first time */
};

/* cpu->scratch, as compiled code uses it. */
enum {
    SCR_HOST_SP,
    SCR_FLAGS, /* lahf and seto */
    SCR_AX,
    SCR_TMP,
    SCR_FPU, /* guest x87/SSE/AVX state is in the host's registers */
    SCR_ARG,
    SCR_SPILL,
    SCR_RESUME,      /* where a helper's thunk goes on */
    SCR_FLAGS_SAVED, /* a failed slow path: flags are in SCR_FLAGS, not in RFLAGS */
    SCR_JUMP_MASK,   /* which bits of an address choose its slot in a jump table */
    SCR_WINDOWS,     /* TR_WINDOWS: host less guest address, see window.c */
    SCR_END = SCR_WINDOWS + 8
};
_Static_assert(SCR_END <= sizeof((struct cpu *)NULL)->scratch / sizeof(uint64_t), "no room");

/* Why compiled code came back to jit_run(). */
enum jit_reason {
    REASON_LOOKUP,    /* cpu->rip has no known block */
    REASON_STEP,      /* cpu->rip is an instruction for the interpreter */
    REASON_LINK,      /* SCR_ARG: behind the stub of a link that wants its target */
    REASON_ATTENTION, /* SCR_ARG: the block that comes next */
    REASON_STALE,     /* SCR_ARG: the block that may not be entered */
    REASON_SITE,      /* SCR_ARG: behind the stub of an instruction for the interpreter */
};

struct block {
    uint64_t gpa, va; /* these four are all that jit_find() looks at: half a cache line */
    uint32_t mode;
    uint32_t hash_next; /* index into jit->block; 0: none */
    uint64_t gpa2;      /* page into which the last instruction reaches, | 1; 0: none */
    uint32_t token;     /* see jit_token() */
    uint32_t sum, sum2; /* of its bytes in either page */
    uint16_t bytes;     /* of guest code */
    uint8_t bytes2;     /* ... of these in the second page */
    bool dead;
    bool pure;          /* writes no memory and takes no time: can be executed twice */
    uint8_t n;          /* instructions */
    uint16_t undefined; /* flags that one of them leaves undefined, or that are dead at the end */
    uint32_t e0, e1, ep, e2; /* entries: offsets in code memory; see translate.c */
    uint32_t stale;          /* where entries of a dead block go */
    uint32_t page_next, page2_next; /* indices into jit->block; 0: none */
};

struct page {
    uint64_t gpa;     /* | 1: in use */
    uint64_t sum;     /* of its bytes, when they were last seen to agree with its blocks */
    uint64_t covered; /* one bit for 64 bytes: some block may lie there */
    uint32_t first;
    uint16_t hits, limit;
    uint16_t kills; /* blocks that writes have hit since one was last added */
};

/*
 * A place in compiled code that may have to leave it. Its stub, a call of a thunk, is the one of
 * the same number in the stub area, so that the return address tells which site it is.
 */
struct site {
    uint32_t block;
    uint32_t at; /* offset in code memory: where it goes on; of a link: the displacement to patch */
    union {
        struct {
            uint16_t rip; /* of the instruction, less the block's */
            uint16_t size;
        };
        int32_t target; /* of a link, less the block's address */
    };
    uint8_t flags;  /* SITE_ */
    union {
        uint8_t string;   /* STRING_ */
        uint8_t failures; /* of a window */
    };
};
enum {
    SITE_WRITE = 1,
    SITE_FLAGS_SAVED = 2,
    SITE_ALIGN = 4,
    SITE_WINDOW = 8,
    SITE_CONST = 16,    /* HS is the address, not address ^ tag */
    SITE_BACKWARD = 32, /* of a link */
};

enum { MODE_NO_WINDOWS = 1u << 30 }; /* in block.mode only */

enum { STRING_STOS = 1, STRING_REP = 2, STRING_32 = 4 };

struct post {
    uint64_t gpa, len;
};

struct jit {
    struct cpu *cpu;
    uint8_t *rw, *rx;
    struct emit emit, cold;
    uint8_t *trimmed;    /* how far code was written when the writable view was last let go */
    uint8_t *mapped[3];  /* how far the parts of code memory have been mapped ahead */
    uint8_t *code_start; /* after the thunks, writable view */
    /* Thunks, writable view. _saved: flags are in SCR_FLAGS, not in RFLAGS. */
    uint8_t *t_exit, *t_slow, *t_fpu, *t_step, *t_step_saved, *t_link, *t_miss, *t_miss_saved;
    uint8_t *t_restore, *t_string, *t_resume, *t_fast, *t_attention, *t_attention_saved, *t_stale;
    uint8_t *t_stale_saved;
    unsigned (*enter)(struct cpu *cpu, const void *entry);

    struct tr *tr;       /* owned: what jit_translate() works with */
    struct block *block; /* 1.. */
    uint32_t n_blocks;
    uint32_t hash[1 << JIT_HASH_BITS];
    struct page page[1 << JIT_PAGE_BITS];
    uint32_t n_pages;
    struct {
        uint64_t vpage, gpa; /* vpage | index; gpa | 1 */
        uint32_t id;
    } token[1 << JIT_TOKEN_BITS];
    uint32_t n_tokens;
    struct site *site;
    uint32_t n_sites;
    uint32_t mode[JIT_MODES];
    unsigned n_modes;
    uint64_t seen[(1 << JIT_SEEN_BITS) / 64]; /* places that have been entered, by a hash */
    bool wide_table; /* jump tables have JIT_TABLE_BITS, not 16 */
    bool flush_wanted;
    bool window_failed; /* by jit_slow(): go on at cpu->rip without windows */

    /* From other threads. */
    pthread_mutex_t post_lock;
    struct post post[JIT_POSTS];
    unsigned n_posts; /* atomic for a look without the lock */
    bool post_all;

    const struct block *checked; /* see check.c */
    unsigned check_count;
    void *check;

    int perf_fd;
    struct jit_stats stats;
};

/* ---- code.c: memory and thunks ---- */
int jit_code_init(struct jit *j);
/* After jit_reset(): gives back the memory of what there was. */
void jit_release(struct jit *j);
/* Lets go of the writable view's pages when many have been written: what is there stays, in the
 * executable view, and each page comes back at the next write to it. */
void jit_code_trim(struct jit *j);
/* Maps what the next block will take. */
void jit_code_ahead(struct jit *j);
void jit_code_done(struct jit *j);
static inline uint8_t *jit_rx(const struct jit *j, const uint8_t *rw)
{
    return j->rx + (rw - j->rw);
}
static inline uint64_t *jit_table(struct cpu *cpu, unsigned mode_index);
int32_t jit_table_offset(unsigned mode_index);

/* ---- cache.c ---- */
uint32_t jit_token(struct jit *j, uint64_t vpage, uint64_t gpa, unsigned index);
struct block *jit_find(struct jit *j, uint64_t gpa, uint64_t va, uint32_t mode);
/* Registers a block in hash and pages after its fields are set. host2: of the second page. */
void jit_add(struct jit *j, uint32_t i, const uint8_t *host, const uint8_t *host2);
/* Writes a jump, both offsets in code memory. */
void jit_redirect(struct jit *j, uint32_t from, uint32_t to);
/* Links to a dead block lead to the one that has taken its place: the same code for the same address. */
void jit_forward(struct jit *j, const struct block *from, const struct block *to);
/* Has code there been entered before? Much runs but once, and is not worth translating. */
bool jit_seen(struct jit *j, uint64_t gpa, uint64_t va);
/* Drops what is not as it was translated: the client, or a device, may have written the page. */
void jit_verify_page(struct jit *j, uint64_t gpa, const uint8_t *host);
void jit_reset(struct jit *j);
bool jit_full(const struct jit *j);
void jit_drop_range(struct jit *j, uint64_t gpa, uint64_t len);
int jit_mode_index(struct jit *j, uint32_t mode); /* -1: too many */
void jit_take_posts(struct jit *j);
void jit_perf_map(struct jit *j, const struct block *b, uint32_t start, uint32_t end);

/* ---- translate.c ---- */
struct code_page {
    const uint8_t *host; /* of the page's first byte */
    uint64_t gpa;        /* of the page */
};
/* Makes the block at va; NULL: memory is full. second: the page behind, when the code's last
 * instruction may reach into it; its host NULL: leave that one to the interpreter. */
struct block *jit_translate(struct jit *j, uint64_t va, uint32_t mode, struct code_page page,
                            struct code_page second);
/* Does the block at va end with an instruction that reaches into the next page? */
bool jit_reaches_next_page(uint64_t va, uint32_t mode, const uint8_t *host);

/* ---- fast.c: system instructions without the interpreter ---- */
enum fast_kind {
    FAST_SYSCALL,
    FAST_SYSRET,
    FAST_POPF,
    FAST_STI,
    FAST_SWAPGS,
    FAST_RDTSC,
    FAST_RDTSCP,
    FAST_STAC,
    FAST_CLAC,
    FAST_RDFSBASE, /* in the order of their ModRM.reg */
    FAST_RDGSBASE,
    FAST_WRFSBASE,
    FAST_WRGSBASE,
};
enum { FAST_NOT_DONE = 0, FAST_LEAVE = 1 }; /* else: where to go on, cpu->rip in R15 */
/* what: kind | register << 8 | length << 16 | 64-bit operand << 24 */
uint64_t jit_fast(struct cpu *cpu, uint32_t what);

/* ---- check.c: the cruel build ---- */
#ifdef VIREO_TORTURE
enum { JIT_JOINS = 0 };
void jit_check_before(struct jit *j, const struct block *b);
void jit_check_after(struct jit *j, bool exact);
size_t jit_check_bytes(void);
#else
enum { JIT_JOINS = 1 }; /* blocks jump to each other */
#endif
void jit_save_fpu(struct cpu *cpu);
/* Runs compiled code from that block on; cpu->rip is right when it returns. */
enum jit_reason jit_enter(struct jit *j, const struct block *b);

/* Guest physical address of executable va, as far as the TLB knows it; 0: it does not. */
uint64_t jit_mapped_code(const struct cpu *cpu, uint64_t va);

/* ---- run.c, called from compiled code ---- */
/* hs, ht: R14 and R15; ret: the return address of the call in the stub. 0: leave for the
 * interpreter, cpu->rip is set. */
uint64_t jit_slow(struct cpu *cpu, uint64_t hs, uintptr_t ret, uint64_t ht);
uint64_t jit_load_fpu(struct cpu *cpu, uint64_t hs, uintptr_t ret, uint64_t ht);
uint64_t jit_string(struct cpu *cpu, uint64_t hs, uintptr_t ret, uint64_t site);

static inline uint32_t jit_stub_offset(uint32_t site)
{
    return JIT_HOT_BYTES + JIT_COLD_BYTES + site * JIT_STUB_BYTES;
}

static inline struct site *jit_site_behind(const struct jit *j, uintptr_t ret)
{
    return &j->site[((uint32_t)(ret - (uintptr_t)j->rx) - jit_stub_offset(1)) / JIT_STUB_BYTES];
}

static inline uint64_t *jit_table(struct cpu *cpu, unsigned mode_index)
{
    return (uint64_t *)(void *)((uint8_t *)cpu + jit_table_offset(mode_index));
}

/* The entry that compiled code takes for a jump to va. */
static inline uint64_t *jit_table_slot(struct cpu *cpu, unsigned mode_index, uint64_t va)
{
    return &jit_table(cpu, mode_index)[va & cpu->scratch[SCR_JUMP_MASK]];
}
