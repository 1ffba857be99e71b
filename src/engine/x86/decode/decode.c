/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * decode.c - from bytes to struct insn (SDM 2, chapter 2 and appendix A).
 *
 * Prefixes, opcode and encoding are found by hand; everything that depends on the opcode comes from
 * opcodes.txt.
 */
#include "engine/x86/insn.h"

#include <cpuid.h>
#include <string.h>

enum { IMM_NONE, IMM_B, IMM_W, IMM_Z, IMM_V, IMM_FAR, IMM_MOFFS };
enum { MOD_ANY, MOD_MEM, MOD_REG };
enum { MODE_ANY, MODE_NOT_64, MODE_ONLY_64 };
enum {
    FORM_MODRM = 1 << 0,
    FORM_D64 = 1 << 1, /* operand size defaults to 64 bits in 64-bit mode; 66 makes it 16 */
    FORM_F64 = 1 << 2, /* operand size is 64 bits in 64-bit mode, whatever prefixes say */
    FORM_MODIG = 1 << 3,
    FORM_NO_VVVV = 1 << 4,
    FORM_SREG = 1 << 5,
    FORM_CREG = 1 << 6,
    FORM_DREG = 1 << 7,
    FORM_SSE = 1 << 8,
    FORM_VL = 1 << 9,
};

struct row {
    struct insn_info info;
    uint8_t enc, map, opcode;
    uint8_t pp; /* accepted mandatory prefixes: bit 0 none, 1 66, 2 F3, 3 F2 */
    int8_t w, l;
    uint8_t mod;
    int8_t reg, rm;
    uint8_t mode;
    uint8_t imm, imm2;
    uint16_t form;
};

/* clang-format off */
#include "opcodes.tab.h"
/* clang-format on */

/* Bytes that lie beyond the given ones read as 0; the total length tells afterwards. */
struct cursor {
    uint8_t bytes[48];
    unsigned pos;
};

static uint64_t take(struct cursor *c, unsigned n)
{
    uint64_t v = 0;
    memcpy(&v, c->bytes + c->pos, n);
    c->pos += n;
    return v;
}

static int64_t take_signed(struct cursor *c, unsigned n)
{
    uint64_t v = take(c, n);
    unsigned shift = 64 - 8 * n;
    return n == 0 ? 0 : (int64_t)(v << shift) >> shift;
}

static void take_prefixes(struct cursor *c, unsigned code_bits, struct insn *in)
{
    unsigned rex = 0, has_rex = 0;

    for (; c->pos < INSN_MAX_BYTES; c->pos++) {
        uint8_t b = c->bytes[c->pos];
        switch (b) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            if (code_bits != 64) {
                in->seg = (b >> 3) & 3;
                in->seg_override = true;
            }
            break;
        case 0x64:
        case 0x65:
            in->seg = b - 0x60;
            in->seg_override = true;
            break;
        case 0x66:
            in->prefixes |= PFX_66;
            break;
        case 0x67:
            in->prefixes |= PFX_67;
            break;
        case 0xf0:
            in->prefixes |= PFX_LOCK;
            break;
        case 0xf2:
            in->prefixes = (in->prefixes & ~PFX_F3) | PFX_F2;
            break;
        case 0xf3:
            in->prefixes = (in->prefixes & ~PFX_F2) | PFX_F3;
            break;
        default:
            if (code_bits == 64 && (b & 0xf0) == 0x40) {
                rex = b & 15; /* counts only right before the opcode */
                has_rex = 1;
                continue;
            }
            if (has_rex) {
                in->prefixes |= PFX_REX;
                in->rex = (uint8_t)rex;
            }
            return;
        }
        has_rex = 0;
    }
}

/* VEX (SDM 2, 2.3.5) or EVEX after their first byte at c->pos. False: #UD. */
static bool take_vex(struct cursor *c, uint8_t first, unsigned code_bits, struct insn *in)
{
    uint8_t p1 = (uint8_t)take(c, 1), map = 1;

    if (in->prefixes & (PFX_66 | PFX_F2 | PFX_F3 | PFX_LOCK | PFX_REX))
        return false;
    in->enc = ENC_VEX;
    if (first == 0xc5) {
        in->rex = (~p1 >> 5) & 4;
        in->vvvv = (~p1 >> 3) & 15;
        in->vl = (p1 >> 2) & 1;
        in->pp = p1 & 3;
    } else if (first == 0xc4) {
        uint8_t p2 = (uint8_t)take(c, 1);
        in->rex = (uint8_t)(((~p1 >> 5) & 7) | ((p2 >> 4) & 8));
        in->vvvv = (~p2 >> 3) & 15;
        in->vl = (p2 >> 2) & 1;
        in->pp = p2 & 3;
        map = p1 & 31;
    } else {
        uint8_t p2 = (uint8_t)take(c, 1), p3 = (uint8_t)take(c, 1);
        in->enc = ENC_EVEX;
        in->rex = (uint8_t)(((~p1 >> 5) & 7) | ((p2 >> 4) & 8));
        in->vvvv = (uint8_t)(((~p2 >> 3) & 15) | (((unsigned)~p3 << 1) & 16));
        in->vl = (p3 >> 5) & 3;
        in->pp = p2 & 3;
        in->evex_aaa = p3 & 7;
        in->evex_b = (p3 >> 4) & 1;
        in->evex_z = p3 >> 7;
        map = p1 & 7;
    }
    if (code_bits != 64)
        in->rex &= 8;
    in->map = map;
    in->off_opcode = (uint8_t)c->pos;
    in->opcode = (uint8_t)take(c, 1);
    return map >= 1 && map <= 3;
}

static bool take_opcode(struct cursor *c, unsigned code_bits, struct insn *in)
{
    uint8_t b = (uint8_t)take(c, 1), next = c->bytes[c->pos];

    if ((b == 0xc4 || b == 0xc5 || b == 0x62) && (code_bits == 64 || next >= 0xc0))
        return take_vex(c, b, code_bits, in);
    in->map = MAP_1B;
    if (b == 0x0f) {
        in->map = MAP_0F;
        b = (uint8_t)take(c, 1);
        if (b == 0x38 || b == 0x3a) {
            in->map = b == 0x38 ? MAP_0F38 : MAP_0F3A;
            b = (uint8_t)take(c, 1);
        }
    }
    in->off_opcode = (uint8_t)(c->pos - 1);
    in->opcode = b;
    in->pp = in->prefixes & PFX_F3 ? 2 : in->prefixes & PFX_F2 ? 3 : in->prefixes & PFX_66 ? 1 : 0;
    return true;
}

static const struct row *find_row(const struct cursor *c, unsigned code_bits, const struct insn *in)
{
    unsigned enc = in->enc == ENC_VEX;
    unsigned first = row_index[enc][in->map][in->opcode].first;
    unsigned n = row_index[enc][in->map][in->opcode].n;
    uint8_t modrm = c->bytes[c->pos];

    for (const struct row *r = rows + first; n > 0; r++, n--) {
        if (!(r->pp >> in->pp & 1) || (r->mode == MODE_NOT_64 && code_bits == 64) ||
            (r->mode == MODE_ONLY_64 && code_bits != 64) || (r->w >= 0 && r->w != in->rex >> 3) ||
            (r->l >= 0 && enc && r->l != in->vl))
            continue;
        if ((r->mod == MOD_MEM && modrm >= 0xc0) || (r->mod == MOD_REG && modrm < 0xc0) ||
            (r->reg >= 0 && r->reg != ((modrm >> 3) & 7)) || (r->rm >= 0 && r->rm != (modrm & 7)))
            continue;
        return r;
    }
    return NULL;
}

static void take_memory_16(struct insn *in)
{
    static const uint8_t base[8] = { 3, 3, 5, 5, 6, 7, 5, 3 };
    static const uint8_t index[8] = { 6, 7, 6, 7, REG_NONE, REG_NONE, REG_NONE, REG_NONE };

    in->base = base[in->modrm & 7];
    in->index = index[in->modrm & 7];
    in->disp_bytes = in->mod;
    if (in->mod == 0 && (in->modrm & 7) == 6) {
        in->base = REG_NONE;
        in->disp_bytes = 2;
    }
}

static void take_memory_32(struct cursor *c, unsigned code_bits, struct insn *in)
{
    uint8_t low = in->modrm & 7;

    in->base = low | (in->rex & 1) << 3;
    in->disp_bytes = in->mod == 1 ? 1 : in->mod == 2 ? 4 : 0;
    if (low == 4) {
        uint8_t sib = (uint8_t)take(c, 1);
        in->base = (sib & 7) | (in->rex & 1) << 3;
        in->index = ((sib >> 3) & 7) | (in->rex & 2) << 2;
        in->scale = sib >> 6;
        if (in->index == 4 && !(in->info && in->info->bits & INFO_VSIB))
            in->index = REG_NONE;
        if (in->mod == 0 && (sib & 7) == 5) {
            in->base = REG_NONE;
            in->disp_bytes = 4;
        }
    } else if (in->mod == 0 && low == 5) {
        in->base = REG_NONE;
        in->disp_bytes = 4;
        in->rip_relative = code_bits == 64;
    }
}

static void take_modrm(struct cursor *c, unsigned code_bits, bool ignore_mod, struct insn *in)
{
    in->has_modrm = true;
    in->off_modrm = (uint8_t)c->pos;
    in->modrm = (uint8_t)take(c, 1);
    in->mod = in->modrm >> 6;
    in->reg = ((in->modrm >> 3) & 7) | (in->rex & 4) << 1;
    in->rm = in->modrm & 7;
    if (ignore_mod)
        in->mod = 3;
    if (in->mod == 3) {
        in->rm |= (in->rex & 1) << 3;
        return;
    }
    if (in->addrsize == 2)
        take_memory_16(in);
    else
        take_memory_32(c, code_bits, in);
    if (in->disp_bytes != 0) {
        in->off_disp = (uint8_t)c->pos;
        in->disp = (int32_t)take_signed(c, in->disp_bytes);
    }
    if (!in->seg_override && (in->base == 4 || in->base == 5))
        in->seg = 2;
}

static void take_immediate(struct cursor *c, uint8_t kind, struct insn *in)
{
    unsigned n = kind == IMM_B ? 1 : kind == IMM_W ? 2 : 0;

    if (kind == IMM_Z)
        n = in->opsize == 2 ? 2 : 4;
    else if (kind == IMM_V)
        n = in->opsize;
    else if (kind == IMM_FAR)
        n = in->opsize == 2 ? 2 : 4;
    else if (kind == IMM_MOFFS)
        n = in->addrsize;
    in->off_imm = (uint8_t)c->pos;
    in->imm_bytes = (uint8_t)n;
    in->imm = (uint64_t)take_signed(c, n);
    if (kind == IMM_FAR)
        in->imm2 = (uint16_t)take(c, 2);
    if (kind == IMM_FAR || kind == IMM_W)
        in->imm &= n == 2 ? 0xffff : 0xffffffff;
    if (kind == IMM_MOFFS && n < 8)
        in->imm &= (UINT64_C(1) << (8 * n)) - 1;
}

static void set_opsize(const struct row *r, unsigned code_bits, struct insn *in)
{
    bool small = (in->prefixes & PFX_66) != 0;

    if (code_bits == 64) {
        in->opsize = in->rex & 8 ? 8 : small ? 2 : 4;
        if (r->form & FORM_F64 || (r->form & FORM_D64 && !small))
            in->opsize = 8;
    } else {
        in->opsize = (code_bits == 32) != small ? 4 : 2;
    }
}

static bool cpuid_bit(unsigned leaf, unsigned reg, unsigned bit)
{
    unsigned r[4] = { 0 };

    return __get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3]) && (r[reg] >> bit & 1);
}

/* Does the kernel let AVX state be used? */
static bool avx_enabled(void)
{
    unsigned lo, hi;

    if (!cpuid_bit(1, 2, 27))
        return false;
    __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (lo & 6) == 6;
}

static uint32_t find_host_features(void)
{
    enum { B = 1, C = 2 };
    static const struct {
        unsigned leaf;
        uint8_t reg, bit, feature;
    } bits[] = {
        { 7, B, 5, FEATURE_AVX2 },    { 1, C, 12, FEATURE_FMA },
        { 1, C, 29, FEATURE_F16C },   { 7, B, 3, FEATURE_BMI1 },
        { 7, B, 8, FEATURE_BMI2 },    { 1, C, 22, FEATURE_MOVBE },
        { 7, B, 19, FEATURE_ADX },    { 1, C, 25, FEATURE_AES },
        { 1, C, 1, FEATURE_PCLMUL },  { 7, B, 29, FEATURE_SHA },
        { 7, C, 8, FEATURE_GFNI },    { 0x80000001, C, 6, FEATURE_SSE4A },
        { 1, C, 30, FEATURE_RDRAND }, { 7, B, 18, FEATURE_RDSEED },
        { 7, C, 9, FEATURE_VAES },
    };
    uint32_t found = 1 << FEATURE_NONE;

    for (unsigned i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        if (cpuid_bit(bits[i].leaf, bits[i].reg, bits[i].bit))
            found |= 1u << bits[i].feature;
    }
    if (!avx_enabled())
        found &=
            ~(1u << FEATURE_AVX2 | 1u << FEATURE_FMA | 1u << FEATURE_F16C | 1u << FEATURE_VAES);
    return found;
}

static bool host_has(const struct row *r, const struct insn *in)
{
    static uint32_t host; /* the same value whoever finds it first */
    uint32_t f = __atomic_load_n(&host, __ATOMIC_RELAXED);
    unsigned need = r->info.feature;

    if (f == 0) {
        f = find_host_features();
        __atomic_store_n(&host, f, __ATOMIC_RELAXED);
    }
    if (need == FEATURE_NONE)
        return true;
    if (in->enc == ENC_VEX && r->info.cls == CLASS_VEC && !(f >> FEATURE_AVX2 & 1))
        return false;
    if ((need == FEATURE_AES || need == FEATURE_PCLMUL) && in->vl != 0 && !(f >> FEATURE_VAES & 1))
        return false;
    return f >> need & 1;
}

/* Rules that a table of opcodes does not express. */
static bool form_is_valid(const struct row *r, unsigned code_bits, const struct insn *in)
{
    unsigned reg = (in->modrm >> 3) & 7;

    if (in->prefixes & PFX_LOCK && !(in->has_modrm && in->mod != 3 &&
                                     r->info.bits & INFO_LOCKABLE && r->info.bits & INFO_MEM_WRITE))
        return false;
    if (!host_has(r, in))
        return false;
    if (r->form & FORM_SREG && reg > 5)
        return false;
    if (r->form & FORM_CREG &&
        !(in->reg == 0 || (in->reg >= 2 && in->reg <= 4) || (in->reg == 8 && code_bits == 64)) &&
        in->map == MAP_0F)
        return false;
    if (r->form & FORM_DREG && in->reg > 7)
        return false;
    if (in->enc == ENC_VEX && r->form & FORM_NO_VVVV && in->vvvv != 0)
        return false;
    if (r->info.bits & INFO_VSIB &&
        ((in->modrm & 7) != 4 || in->reg == in->vvvv || in->reg == in->index ||
         in->index == in->vvvv || in->addrsize == 2))
        return false;
    return true;
}

/* No AVX-512 instruction is offered to guests; their lengths matter to whoever scans code. */
static enum insn_result skip_evex(struct cursor *c, unsigned code_bits, struct insn *in)
{
    take_modrm(c, code_bits, false, in);
    if (in->map == MAP_0F3A ||
        (in->map == MAP_0F && ((in->opcode >= 0x70 && in->opcode <= 0x73) || in->opcode == 0xc2 ||
                               (in->opcode >= 0xc4 && in->opcode <= 0xc6))))
        take_immediate(c, IMM_B, in);
    return INSN_BAD;
}

static enum insn_result decode(struct cursor *c, unsigned code_bits, struct insn *in)
{
    take_prefixes(c, code_bits, in);
    in->addrsize = code_bits == 64 ? in->prefixes & PFX_67 ? 4 : 8
                   : (code_bits == 32) != ((in->prefixes & PFX_67) != 0) ? 4
                                                                         : 2;
    if (!take_opcode(c, code_bits, in))
        return INSN_BAD;
    if (in->enc == ENC_EVEX)
        return skip_evex(c, code_bits, in);
    if (in->enc == ENC_VEX && code_bits != 64)
        in->vvvv &= 7;
    const struct row *r = find_row(c, code_bits, in);
    if (r == NULL) {
        c->pos++; /* a ModRM byte may have decided it */
        return INSN_BAD;
    }
    in->info = &r->info;
    set_opsize(r, code_bits, in);
    if (r->form & FORM_MODRM)
        take_modrm(c, code_bits, r->form & FORM_MODIG, in);
    if (r->imm != IMM_NONE)
        take_immediate(c, r->imm, in);
    if (r->imm2 == IMM_B)
        in->imm2 = (uint16_t)take(c, 1);
    return form_is_valid(r, code_bits, in) ? INSN_OK : INSN_BAD;
}

enum insn_result insn_decode(const uint8_t *bytes, unsigned n_bytes, unsigned code_bits,
                             struct insn *ret)
{
    struct cursor c = { .pos = 0 };
    unsigned n = n_bytes < INSN_MAX_BYTES ? n_bytes : INSN_MAX_BYTES;

    memcpy(c.bytes, bytes, n);
    memset(ret, 0, sizeof *ret);
    ret->seg = 3;
    ret->base = ret->index = REG_NONE;
    enum insn_result result = decode(&c, code_bits, ret);
    memcpy(ret->bytes, c.bytes, INSN_MAX_BYTES);
    if (c.pos > n) {
        ret->len = (uint8_t)n;
        if (n < INSN_MAX_BYTES)
            return INSN_MORE;
        ret->len = INSN_MAX_BYTES;
        return INSN_LONG;
    }
    ret->len = (uint8_t)c.pos;
    return result;
}

unsigned insn_mem_bytes(const struct insn *insn)
{
    unsigned vector = 16u << insn->vl;

    switch (insn->info->mem_bytes) {
    case MEM_OPSIZE:
        return insn->opsize;
    case MEM_W:
        return insn->rex & 8 ? 8 : 4;
    case MEM_VL_8TH:
        return vector / 8;
    case MEM_VL_4TH:
        return vector / 4;
    case MEM_VL_HALF:
        return vector / 2;
    case MEM_VL:
        return vector;
    case MEM_SPECIAL:
        return 0;
    default:
        return insn->info->mem_bytes;
    }
}

unsigned insn_form_count(void)
{
    return sizeof rows / sizeof rows[0];
}

const char *insn_form_name(unsigned i)
{
    return rows[i].info.name;
}

static unsigned put_legacy(const struct row *r, const struct insn_form_choice *c, uint8_t rex,
                           uint8_t pp, unsigned code_bits, uint8_t *out)
{
    unsigned n = 0;

    if (pp == 2 || pp == 3)
        out[n++] = pp == 2 ? 0xf3 : 0xf2;
    if (pp == 1 || c->prefix_66)
        out[n++] = 0x66;
    if (code_bits == 64 && rex != 0)
        out[n++] = 0x40 | rex;
    if (r->map != MAP_1B)
        out[n++] = 0x0f;
    if (r->map >= MAP_0F38)
        out[n++] = r->map == MAP_0F38 ? 0x38 : 0x3a;
    out[n++] = r->opcode;
    return n;
}

static unsigned put_vex(const struct row *r, const struct insn_form_choice *c, uint8_t rex,
                        uint8_t pp, unsigned code_bits, uint8_t *out)
{
    unsigned n = 0, l = r->l >= 0 ? (unsigned)r->l : c->vl256;
    uint8_t vvvv = r->form & FORM_NO_VVVV ? 0 : code_bits == 64 ? c->vvvv & 15 : c->vvvv & 7;

    out[n++] = 0xc4;
    out[n++] = (uint8_t)((~rex & 7) << 5 | r->map);
    out[n++] = (uint8_t)((rex & 8) << 4 | (~vvvv & 15) << 3 | l << 2 | pp);
    out[n++] = r->opcode;
    return n;
}

unsigned insn_form_bytes(unsigned i, unsigned code_bits, const struct insn_form_choice *c,
                         uint8_t ret[INSN_MAX_BYTES])
{
    const struct row *r = &rows[i];
    bool memory = r->mod == MOD_MEM || (r->mod == MOD_ANY && c->memory && !(r->form & FORM_MODIG));
    bool w = r->w >= 0 ? r->w != 0 : c->rex_w;
    uint8_t mask = code_bits == 64 ? 15 : 7, reg = c->reg & mask, rm = c->rm & mask;
    uint8_t pp = r->pp == 15 ? 0 : (uint8_t)__builtin_ctz(r->pp);
    uint8_t out[32] = { 0 };

    if ((code_bits == 64 && r->mode == MODE_NOT_64) || (code_bits != 64 && r->mode == MODE_ONLY_64))
        return 0;
    if (r->reg >= 0)
        reg = (uint8_t)r->reg;
    if (memory)
        rm = c->mem_base & mask;
    if (r->rm >= 0)
        rm = (uint8_t)r->rm;
    uint8_t rex = (uint8_t)(w << 3 | (reg & 8) >> 1 | (rm & 8) >> 3);
    if (!(r->form & FORM_MODRM) && !(r->info.gpr_opc))
        rex &= 8;
    unsigned n =
        r->enc ? put_vex(r, c, rex, pp, code_bits, out) : put_legacy(r, c, rex, pp, code_bits, out);
    if (r->form & FORM_MODRM) {
        bool sib = memory && ((rm & 7) == 4 || r->info.bits & INFO_VSIB);
        out[n++] = (uint8_t)((memory ? 0x40 : 0xc0) | (reg & 7) << 3 | (sib ? 4 : rm & 7));
        if (sib) /* gathers: index 7 or as given by vvvv would collide; use 6 */
            out[n++] = (uint8_t)((r->info.bits & INFO_VSIB ? 6 << 3 : 4 << 3) | (rm & 7));
        if (memory)
            out[n++] = (uint8_t)c->disp8;
    }
    memcpy(out + n, &c->imm, 8); /* as many bytes as it turns out to have */
    struct insn in;
    if (insn_decode(out, INSN_MAX_BYTES, code_bits, &in) != INSN_OK || in.info != &r->info)
        return 0;
    memcpy(ret, out, INSN_MAX_BYTES);
    return in.len;
}
