/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/exec/thunk.h"

#include "base/bytes.h"
#include "base/own.h"
#include "engine/exec/ops.h"
#include "engine/x86/xstate.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { THUNK_BYTES = 1 << 20, THUNK_MAX = 768 };

/* Code is written through one mapping and executed through another (W^X). When it is full,
 * everything is forgotten: thunks of an older epoch are gone. */
struct thunk_memory {
    uint8_t *rw, *rx;
    size_t used;
    uint32_t epoch;
};

struct thunk_memory *thunk_memory_new(void)
{
    AUTO_FD int fd = memfd_create("vireo-thunks", MFD_CLOEXEC);
    struct thunk_memory *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        return NULL;
    }
    t->rw = t->rx = MAP_FAILED;
    t->epoch = 1;
    if (fd >= 0 && ftruncate(fd, THUNK_BYTES) == 0) {
        t->rw = mmap(NULL, THUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        t->rx = mmap(NULL, THUNK_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    }
    if (t->rw == MAP_FAILED || t->rx == MAP_FAILED) {
        return thunk_memory_free(t);
    }
    return t;
}

struct thunk_memory *thunk_memory_free(struct thunk_memory *t)
{
    if (t != NULL) {
        if (t->rw != MAP_FAILED) {
            (void)munmap(t->rw, THUNK_BYTES);
        }
        if (t->rx != MAP_FAILED) {
            (void)munmap(t->rx, THUNK_BYTES);
        }
        free(t);
    }
    return NULL;
}

/* ---- code ---- */

struct out {
    uint8_t *p;
};

static void byte(struct out *o, unsigned b)
{
    *o->p++ = (uint8_t)b;
}

static void word32(struct out *o, uint32_t v)
{
    le32_put(o->p, v);
    o->p += 4;
}

/* [base + disp32]; base is neither RSP nor R12. */
static void modrm_disp(struct out *o, unsigned reg, unsigned base, uint32_t disp)
{
    byte(o, 0x80 | (reg & 7) << 3 | (base & 7));
    word32(o, disp);
}

/* mov reg, [base + disp] (8b) or mov [base + disp], reg (89), 64 bits */
static void mov_mem(struct out *o, unsigned opcode, unsigned reg, unsigned base, uint32_t disp)
{
    byte(o, 0x48 | (reg >> 3) << 2 | base >> 3);
    byte(o, opcode);
    modrm_disp(o, reg, base, disp);
}

static void mov_reg(struct out *o, unsigned to, unsigned from)
{
    byte(o, 0x48 | (from >> 3) << 2 | to >> 3);
    byte(o, 0x89);
    byte(o, 0xc0 | (from & 7) << 3 | (to & 7));
}

/* An instruction 0F op /ext or op /ext on [base + disp]. */
static void mem_ext(struct out *o, bool map_0f, unsigned op, unsigned ext, unsigned base,
                    uint32_t disp, bool wide)
{
    if (base >= 8 || wide) {
        byte(o, 0x40 | (wide ? 8 : 0) | base >> 3);
    }
    if (map_0f) {
        byte(o, 0x0f);
    }
    byte(o, op);
    modrm_disp(o, ext, base, disp);
}

/* VEX.vl.pp.map opcode reg, vvvv, [base + disp] */
static void vex_mem(struct out *o, unsigned map, unsigned pp, unsigned vl, unsigned op,
                    unsigned reg, unsigned vvvv, unsigned base, uint32_t disp)
{
    byte(o, 0xc4);
    byte(o, ((~reg >> 3) & 1) << 7 | 0x40 | ((~base >> 3) & 1) << 5 | map);
    byte(o, (~vvvv & 15) << 3 | vl << 2 | pp);
    byte(o, op);
    modrm_disp(o, reg, base, disp);
}

static void vector_move(struct out *o, unsigned n, unsigned image, bool avx, bool save)
{
    uint32_t low = XS_XMM + 16 * n, high = XS_YMMH + 16 * n;

    if (!avx) { /* movups */
        byte(o, 0x40 | (n >> 3) << 2 | image >> 3);
        byte(o, 0x0f);
        byte(o, save ? 0x11 : 0x10);
        modrm_disp(o, n, image, low);
        return;
    }
    if (save) {
        vex_mem(o, 1, 0, 0, 0x11, n, 0, image, low);
        vex_mem(o, 3, 1, 1, 0x19, n, 0, image, high); /* vextractf128 */
    } else {
        vex_mem(o, 1, 0, 0, 0x10, n, 0, image, low);
        vex_mem(o, 3, 1, 1, 0x18, n, n, image, high); /* vinsertf128 */
    }
    byte(o, 1);
}

/* What a thunk has to do around its instruction. */
struct plan {
    uint16_t gpr_load, gpr_save; /* by guest number */
    uint16_t vectors;
    bool x87, sse, flags;
    unsigned rsp_as;          /* host register that stands for the guest's RSP */
    unsigned cpu, mem, image; /* host registers that hold addresses */
};

static unsigned host_reg(const struct plan *p, unsigned guest)
{
    return guest == REG_SP ? p->rsp_as : guest;
}

static void note_gpr(struct plan *p, unsigned n, unsigned use)
{
    if (use != 0) {
        p->gpr_load |= (uint16_t)(1u << n);
        if ((use & OPND_WRITE) != 0) {
            p->gpr_save |= (uint16_t)(1u << n);
        }
    }
}

static bool has_is4(const struct insn *i)
{
    return i->enc == ENC_VEX && i->map == MAP_0F3A && i->opcode >= 0x4a && i->opcode <= 0x4c;
}

static bool reads_xmm0(const struct insn *i)
{
    return i->enc == ENC_LEGACY &&
           ((i->map == MAP_0F38 &&
             (i->opcode == 0x10 || i->opcode == 0x14 || i->opcode == 0x15 || i->opcode == 0xcb)) ||
            (i->map == MAP_0F3A && (i->opcode == 0x60 || i->opcode == 0x62)));
}

static struct plan make_plan(const struct insn *i)
{
    static const uint8_t address_regs[] = { 15, 14, 11, 10, 9, 8 };
    const struct insn_info *info = i->info;
    struct plan p = { .x87 = info->cls == CLASS_X87,
                      .sse = info->cls == CLASS_VEC || (info->cls == CLASS_X87 && i->map != MAP_1B),
                      .flags = (info->flags_read | info->flags_written) != 0 };
    uint16_t used;
    unsigned n = 0;
    unsigned *address[] = { &p.cpu, &p.mem, &p.image };

    if (i->has_modrm) {
        note_gpr(&p, i->reg & 15, info->gpr_reg);
        if (i->mod == 3) {
            note_gpr(&p, i->rm & 15, info->gpr_rm);
        }
    }
    note_gpr(&p, i->vvvv & 15, info->gpr_vvvv);
    p.gpr_load |= (uint16_t)(info->regs_read | info->regs_written);
    p.gpr_save |= (uint16_t)info->regs_written;
    if (p.sse) {
        p.vectors = (uint16_t)(1u << (i->reg & 15));
        if (i->mod == 3) {
            p.vectors |= (uint16_t)(1u << (i->rm & 15));
        }
        if (i->enc == ENC_VEX) {
            p.vectors |= (uint16_t)(1u << (i->vvvv & 15));
        }
        if (has_is4(i)) {
            p.vectors |= (uint16_t)(1u << ((i->imm >> 4) & 15));
        }
        if (reads_xmm0(i)) {
            p.vectors |= 1;
        }
    }
    used = p.gpr_load;
    p.rsp_as = 12;
    if ((used & 1u << REG_SP) != 0) {
        while ((used & 1u << p.rsp_as) != 0) {
            p.rsp_as = p.rsp_as == 12 ? 13 : p.rsp_as == 13 ? 8 : p.rsp_as + 1;
        }
        used |= (uint16_t)(1u << p.rsp_as);
    }
    for (unsigned k = 0; k < sizeof(address_regs) && n < 3; k++) {
        if ((used & 1u << address_regs[k]) == 0) {
            *address[n++] = address_regs[k];
        }
    }
    return p;
}

/* PCMPESTRM and kin write XMM0 beside their operands. */
static bool writes_xmm0(const struct insn *i)
{
    return i->map == MAP_0F3A && (i->opcode == 0x60 || i->opcode == 0x62);
}

static bool needs_66(const struct insn *i)
{
    switch (i->info->cls) {
    case CLASS_VEC:
        return i->pp == 1;
    case CLASS_X87:
        return i->map == MAP_1B ? i->opsize == 2 && i->mod != 3 && insn_mem_bytes(i) == 0
                                : i->pp == 1;
    default: /* ADCX has it as part of its opcode */
        return i->opsize == 2 || (i->map == MAP_0F38 && i->opcode == 0xf6 && i->pp == 1);
    }
}

static void put_instruction(struct out *o, const struct insn *i, const struct plan *p)
{
    unsigned reg = i->info->gpr_reg != 0 ? host_reg(p, i->reg) : i->reg;
    unsigned rm = i->mod != 3 ? p->mem : i->info->gpr_rm != 0 ? host_reg(p, i->rm) : i->rm;
    bool wide = (i->rex & 8) != 0;

    if (i->enc == ENC_VEX) {
        unsigned vvvv = i->info->gpr_vvvv != 0 ? host_reg(p, i->vvvv) : i->vvvv;

        byte(o, 0xc4);
        byte(o, ((~reg >> 3) & 1) << 7 | 0x40 | ((~rm >> 3) & 1) << 5 | i->map);
        byte(o, (wide ? 0x80 : 0) | (~vvvv & 15) << 3 | i->vl << 2 | i->pp);
    } else {
        unsigned rex = (wide ? 8 : 0) | (reg >> 3 & 1) << 2 | (rm >> 3 & 1);

        if (needs_66(i)) {
            byte(o, 0x66);
        }
        if (i->pp == 2 || i->pp == 3) {
            byte(o, i->pp == 2 ? 0xf3 : 0xf2);
        }
        if (rex != 0 && i->has_modrm) {
            byte(o, 0x40 | rex);
        }
        if (i->map != MAP_1B) {
            byte(o, 0x0f);
        }
        if (i->map >= MAP_0F38) {
            byte(o, i->map == MAP_0F38 ? 0x38 : 0x3a);
        }
    }
    byte(o, i->opcode);
    if (i->has_modrm) {
        byte(o, (i->mod == 3 ? 0xc0 : 0) | (reg & 7) << 3 | (rm & 7));
    }
    for (unsigned k = i->off_imm; i->off_imm != 0 && k < i->len; k++) {
        byte(o, i->bytes[k]);
    }
}

static void push_pop(struct out *o, bool pop)
{
    static const uint8_t saved[] = { 3, 5, 12, 13, 14, 15 };

    for (unsigned k = 0; k < sizeof(saved); k++) {
        unsigned r = saved[pop ? sizeof(saved) - 1 - k : k];

        if (r >= 8) {
            byte(o, 0x41);
        }
        byte(o, (pop ? 0x58 : 0x50) | (r & 7));
    }
}

/* rax = 1, rdx = 0: the x87 component for XSAVE64 and XRSTOR64 */
static void x87_mask(struct out *o)
{
    byte(o, 0xb8);
    word32(o, 1);
    byte(o, 0x31);
    byte(o, 0xd2);
}

#define CPU_OFF(member) ((uint32_t)offsetof(struct cpu, member))

static void put_thunk(struct out *o, const struct insn *i)
{
    struct plan p = make_plan(i);
    bool avx = (xstate_supported() & XCR0_AVX) != 0;
    uint16_t vec_save = p.vectors;

    if (writes_xmm0(i)) {
        p.vectors |= 1;
        vec_save = p.vectors;
    }
    push_pop(o, false);
    mov_reg(o, p.cpu, 7); /* rdi */
    mov_reg(o, p.mem, 6); /* rsi */
    mov_mem(o, 0x8b, p.image, p.cpu, CPU_OFF(xsave));
    if (p.x87) {
        mem_ext(o, false, 0xd9, 7, p.cpu, CPU_OFF(thunk.host_cw), false); /* fnstcw */
        x87_mask(o);
        mem_ext(o, true, 0xae, 5, p.image, 0, true); /* xrstor64 */
    }
    for (unsigned n = 0; n < 16; n++) {
        if ((p.vectors >> n & 1) != 0) {
            vector_move(o, n, p.image, avx, false);
        }
    }
    if (p.sse) {
        mem_ext(o, true, 0xae, 3, p.cpu, CPU_OFF(thunk.host_mxcsr), false);
        mem_ext(o, true, 0xae, 2, p.cpu, CPU_OFF(thunk.mxcsr), false);
    }
    if (p.flags) {
        mem_ext(o, false, 0xff, 6, p.cpu, CPU_OFF(thunk.flags), false); /* push */
    }
    for (unsigned n = 0; n < 16; n++) {
        if ((p.gpr_load >> n & 1) != 0) {
            mov_mem(o, 0x8b, host_reg(&p, n), p.cpu, CPU_OFF(gpr) + 8 * n);
        }
    }
    if (p.flags) {
        byte(o, 0x9d);
    }
    put_instruction(o, i, &p);
    if (p.flags) {
        byte(o, 0x9c);
        mem_ext(o, false, 0x8f, 0, p.cpu, CPU_OFF(thunk.flags), false); /* pop */
    }
    for (unsigned n = 0; n < 16; n++) {
        if ((p.gpr_save >> n & 1) != 0) {
            mov_mem(o, 0x89, host_reg(&p, n), p.cpu, CPU_OFF(gpr) + 8 * n);
        }
    }
    if (p.sse) {
        mem_ext(o, true, 0xae, 3, p.cpu, CPU_OFF(thunk.mxcsr), false);
        mem_ext(o, true, 0xae, 2, p.cpu, CPU_OFF(thunk.host_mxcsr), false);
    }
    for (unsigned n = 0; n < 16; n++) {
        if ((vec_save >> n & 1) != 0) {
            vector_move(o, n, p.image, avx, true);
        }
    }
    if (p.x87) {
        x87_mask(o);
        mem_ext(o, true, 0xae, 4, p.image, 0, true); /* xsave64 */
        byte(o, 0xdb);
        byte(o, 0xe3);                                                    /* fninit */
        mem_ext(o, false, 0xd9, 5, p.cpu, CPU_OFF(thunk.host_cw), false); /* fldcw */
    }
    if (p.sse && avx) {
        byte(o, 0xc5); /* vzeroupper */
        byte(o, 0xf8);
        byte(o, 0x77);
    }
    push_pop(o, true);
    byte(o, 0xc3);
}

typedef void thunk_fn(struct cpu *cpu, void *mem);

static thunk_fn *thunk_of(struct cpu *cpu, const struct insn *i)
{
    struct interp *it = interp_of(cpu);
    struct thunk_memory *t = it->thunks;
    struct decoded *d = it->current;
    union {
        void *data;
        thunk_fn *fn;
    } u;

    if (d->thunk == NULL || d->thunk_epoch != t->epoch) {
        struct out o;

        if (t->used + THUNK_MAX > THUNK_BYTES) {
            t->used = 0;
            t->epoch++;
        }
        o.p = t->rw + t->used;
        put_thunk(&o, i);
        d->thunk = t->rx + t->used;
        d->thunk_epoch = t->epoch;
        t->used = (size_t)(o.p - t->rw);
        t->used = (t->used + 15) & ~(size_t)15;
    }
    u.data = d->thunk;
    return u.fn;
}

void thunk_run(struct cpu *cpu, const struct insn *i, void *mem)
{
    thunk_fn *fn = thunk_of(cpu, i);

    cpu->thunk.flags = cpu->rflags & FL_ARITH;
    fn(cpu, mem);
    if (i->info->flags_written != 0) {
        set_flags(cpu, i->info->flags_written & FL_ARITH, cpu->thunk.flags);
    }
    if (i->info->cls == CLASS_X87) {
        le64_put(cpu->xsave + XS_BV, xstate_supported());
    }
}

/* Integer instructions that need nothing but registers and a memory operand that is read. */
enum op_result ops_native(struct cpu *cpu, const struct insn *i)
{
    uint64_t buf[2] = { 0 };
    unsigned size = i->mod != 3 && i->has_modrm ? insn_mem_bytes(i) : 0;
    struct insn masked;

    if (size == 0) {
        /* No memory operand. */
    } else if ((i->info->bits & INFO_MEM_WRITE) != 0) {
        uint64_t va = insn_linear(cpu, i, size, true);
        void *host = mem_rmw_host(cpu, va, size);

        if (host != NULL) {
            thunk_run(cpu, i, host);
        } else {
            uint64_t fl = cpu->rflags, new_fl;

            buf[0] = load(cpu, va, size);
            thunk_run(cpu, i, buf);
            new_fl = cpu->rflags;
            cpu->rflags = fl; /* as long as the store may exit */
            store(cpu, va, size, buf[0]);
            cpu->rflags = new_fl;
        }
        return OP_NEXT;
    } else {
        buf[0] = load(cpu, insn_linear(cpu, i, size, false), size);
    }
    if (!in_64(cpu) && (i->rex & 8) != 0) {
        masked = *i; /* VEX.W is ignored outside of 64-bit mode */
        masked.rex &= 7;
        i = &masked;
    }
    thunk_run(cpu, i, buf);
    return OP_NEXT;
}
