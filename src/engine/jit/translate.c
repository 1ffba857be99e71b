/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * translate.c - from guest code to a block.
 *
 * A block has four entries, each falling into the next:
 *   e0  from indirect jumps: is this the address wanted (R15)?
 *   e1  from direct jumps of other pages: is the page still mapped here (its token)?
 *   ep  from backward jumps: does someone want attention?
 *   e2  from forward jumps of the same page.
 * Where the block reads flags that come from outside, the checks are made with flags saved.
 */
#include "engine/jit/tr.h"

static enum insn_result fetch(const struct tr *t, uint64_t va, struct insn *in)
{
    unsigned off = va & 0xfff;

    return insn_decode(t->page.host + off, 4096 - off, t->bits, in);
}

/* An instruction of which the page has but the front. */
static enum insn_result fetch_across(const struct tr *t, uint64_t va, struct insn *in)
{
    uint8_t bytes[2 * INSN_MAX_BYTES];
    unsigned off = va & 0xfff, first = 4096 - off;

    memcpy(bytes, t->page.host + off, first);
    memcpy(bytes + first, t->second.host, INSN_MAX_BYTES);
    return insn_decode(bytes, first + INSN_MAX_BYTES, t->bits, in);
}

static bool same_page(uint64_t a, uint64_t b)
{
    return ((a ^ b) & ~UINT64_C(0xfff)) == 0;
}

static bool ends_block(const struct insn *in)
{
    bool is_jcc = (in->map == MAP_0F && in->opcode >= 0x80 && in->opcode <= 0x8f) ||
                  (in->map == MAP_1B && in->opcode >= 0x70 && in->opcode <= 0x7f);

    return in->info->bits & INFO_ENDS_BLOCK && !(in->info->cls == CLASS_BRANCH && is_jcc);
}

/* Decodes the block's instructions; 0: the first one cannot be had from this page alone. */
static unsigned collect(struct tr *t, uint64_t va)
{
    while (t->n < JIT_MAX_INSNS) {
        struct insn *in = &t->in[t->n];
        if (!same_page(va, t->b->va))
            break;
        enum insn_result r = fetch(t, va, in);
        if (r == INSN_MORE && t->second.host != NULL) {
            r = fetch_across(t, va, in);
            t->crosses = r == INSN_OK;
        }
        if (r != INSN_OK)
            break;
        t->at[t->n++] = va;
        va += in->len;
        if (ends_block(in))
            break;
    }
    t->at[t->n] = va;
    return t->n;
}

bool jit_reaches_next_page(uint64_t va, uint32_t mode, const uint8_t *host)
{
    unsigned bits = (mode & MODE_CODE_MASK) == MODE_CODE_64 ? 64 : 32;
    unsigned off = va & 0xfff;
    enum insn_result r = INSN_OK;
    struct insn in;

    if (off + JIT_MAX_INSNS * INSN_MAX_BYTES <= 4096)
        return false;
    for (unsigned n = 0; n < JIT_MAX_INSNS && off < 4096 && r == INSN_OK; n++) {
        r = insn_decode(host + off, 4096 - off, bits, &in);
        if (r == INSN_OK && ends_block(&in))
            break;
        off += in.len;
    }
    return r == INSN_MORE;
}

/* CLI and PAUSE, which are translated; all else of its class needs exact flags. */
static bool is_opaque(const struct insn *in)
{
    return in->info->cls == CLASS_SYSTEM &&
           !(in->map == MAP_1B && (in->opcode == 0x90 || in->opcode == 0xfa));
}

static unsigned kills(const struct insn *in)
{
    return in->info->bits & INFO_FLAGS_COND ? 0 : in->info->flags_written & FL_ARITH;
}

/* Which flags the code at va reads before it writes them, as far as a short look tells. */
static unsigned peek_live(const struct tr *t, uint64_t va)
{
    unsigned live = 0, open = FL_ARITH;

    for (unsigned i = 0; i < 5 && open != 0; i++) {
        struct insn in;
        if (!same_page(va, t->b->va) || fetch(t, va, &in) != INSN_OK)
            break;
        live |= in.info->flags_read & open;
        if (is_opaque(&in) || ends_block(&in))
            break;
        open &= ~kills(&in);
        va += in.len;
    }
    return live | open;
}

static unsigned live_at_end(const struct tr *t)
{
    const struct insn *last = &t->in[t->n - 1];
    uint64_t next = t->at[t->n];

    if (is_opaque(last))
        return FL_ARITH;
    if (!ends_block(last))
        return peek_live(t, next);
    if (last->map == MAP_1B &&
        (last->opcode == 0xe8 || last->opcode == 0xe9 || last->opcode == 0xeb))
        return peek_live(t, next + last->imm);
    return FL_ARITH;
}

static void find_live(struct tr *t)
{
    unsigned live = live_at_end(t);

    t->live[t->n] = (uint16_t)live;
    for (unsigned i = t->n; i-- > 0;) {
        const struct insn *in = &t->in[i];
        if (in->info->cls == CLASS_BRANCH && !ends_block(in))
            live = FL_ARITH; /* the way out is not looked at */
        if (is_opaque(in) || in->info->cls == CLASS_STRING)
            live = FL_ARITH;
        live = (live & ~kills(in)) | (in->info->flags_read & FL_ARITH);
        t->live[i] = (uint16_t)live;
    }
}

static uint32_t here(const struct tr *t)
{
    return (uint32_t)(t->e->p - t->j->rw);
}

static void compare_token(struct emit *e, const struct tr *t, uint64_t va, uint32_t token)
{
    emit_rm(e, false, 0x81, 7, H_CTX,
            (int32_t)(offsetof(struct cpu, tlb.token) +
                      (t->index * TLB_NAMES + tlb_name_slot(va)) * sizeof(uint32_t)));
    emit_4(e, token);
}

/* "Is R15 this block's address?", up to the jump if not. */
static void compare_address(struct tr *t, struct emit *e)
{
    if ((int64_t)t->b->va == (int32_t)t->b->va) {
        emit_rr(e, true, 0x81, 7, HT);
        emit_4(e, (uint32_t)t->b->va);
        return;
    }
    uint8_t *constant = t->j->cold.p;
    emit_8(&t->j->cold, t->b->va);
    emit_1(e, 0x4c); /* cmp r15, [rip + x] */
    emit_1(e, 0x3b);
    emit_1(e, 0x3d);
    emit_4(e, (uint32_t)(int32_t)(constant - (e->p + 4)));
}

static void poll_attention(struct emit *e)
{
    emit_ctx(e, false, 0xf7, 0, run_page);
    emit_4(e, ATTENTION_MASK);
}

/* A way out of the block as a whole; returns where it is. */
static uint8_t *put_way_out(struct tr *t, const uint8_t *thunk)
{
    uint8_t *start = t->j->cold.p;

    emit_mov_imm(&t->j->cold, HT, t->block_index);
    emit_jump_to(&t->j->cold, CC_ALWAYS, thunk);
    return start;
}

/* No flag comes in: the entries lie before the block. */
static void put_plain_entries(struct tr *t)
{
    struct emit *e = t->e;
    struct block *b = t->b;
    uint8_t *attention = put_way_out(t, t->j->t_attention), *stale = put_way_out(t, t->j->t_stale);

    b->stale = (uint32_t)(stale - t->j->rw);
    b->e0 = here(t);
    compare_address(t, e);
    emit_jump_to(e, CC_NE, t->j->t_miss);
    b->e1 = here(t);
    compare_token(e, t, b->va, b->token);
    emit_jump_to(e, CC_NE, stale);
    b->ep = here(t);
    poll_attention(e);
    emit_jump_to(e, CC_NE, attention);
    b->e2 = here(t);
}

/* Will the block's flags be saved before they are used? */
static bool begins_saved(const struct tr *t)
{
    for (unsigned i = 0; i < t->n; i++) {
        const struct insn_info *info = t->in[i].info;
        unsigned cls = info->cls;

        if (t->in[i].has_modrm && t->in[i].mod != 3 &&
            info->bits & (INFO_MEM_READ | INFO_MEM_WRITE) && t->explicit_window[i] == 0)
            return true;
        if (cls == CLASS_STACK || cls == CLASS_VEC || cls == CLASS_X87)
            return true;
        if ((info->flags_read | info->flags_written) & FL_ARITH || cls == CLASS_SYSTEM)
            return false;
    }
    return false;
}

/* Flags come in, and are saved while the entries make their checks: these lie elsewhere, so that
 * the code between two blocks stays short. */
static void put_saving_entries(struct tr *t)
{
    struct emit *e = t->e, *c = &t->j->cold;
    struct block *b = t->b;
    struct jit *j = t->j;
    uint8_t *attention = put_way_out(t, j->t_attention_saved), *stale = put_way_out(t, j->t_stale);
    uint8_t *unmapped = put_way_out(t, j->t_stale_saved), *to_token, *to_poll, *body;

    t->saved = begins_saved(t);
    b->stale = (uint32_t)(stale - j->rw);
    b->e2 = here(t);
    if (t->saved)
        tr_save_raw(e, HT);
    body = e->p;
    b->e1 = (uint32_t)(c->p - j->rw);
    tr_save_raw(c, HS);
    to_token = emit_jump(c, CC_ALWAYS);
    b->ep = (uint32_t)(c->p - j->rw);
    tr_save_raw(c, HS);
    to_poll = emit_jump(c, CC_ALWAYS);
    uint8_t *constant = c->p;
    emit_8(c, b->va);
    b->e0 = (uint32_t)(c->p - j->rw);
    tr_save_raw(c, HS);
    emit_1(c, 0x4c); /* cmp r15, [rip + x] */
    emit_1(c, 0x3b);
    emit_1(c, 0x3d);
    emit_4(c, (uint32_t)(int32_t)(constant - (c->p + 4)));
    emit_jump_to(c, CC_NE, j->t_miss_saved);
    emit_patch(to_token, c->p);
    compare_token(c, t, b->va, b->token);
    emit_jump_to(c, CC_NE, unmapped);
    emit_patch(to_poll, c->p);
    poll_attention(c);
    emit_jump_to(c, CC_NE, attention);
    if (!t->saved)
        tr_restore_raw(c, HS);
    emit_jump_to(c, CC_ALWAYS, body);
}

static uint32_t new_site(struct tr *t, uint64_t va, unsigned size, unsigned flags)
{
    struct jit *j = t->j;

    j->site[j->n_sites] = (struct site) { .block = t->block_index,
                                          .rip = (uint16_t)(va - t->b->va),
                                          .size = (uint16_t)size,
                                          .flags = (uint8_t)flags };
    return j->n_sites++;
}

/* The stub of a site, which is at a place of its own. */
static uint8_t *put_stub_call(struct tr *t, uint32_t site, const uint8_t *thunk)
{
    uint8_t *p = t->j->rw + jit_stub_offset(site);

    p[0] = 0xe8;
    emit_patch(p + 1, thunk);
    return p;
}

static void put_stub(struct tr *t, const struct stub *s)
{
    struct jit *j = t->j;
    uint32_t site = new_site(t, s->va, s->size, s->flags);
    const uint8_t *thunk = s->kind == STUB_SLOW          ? j->t_slow
                           : s->kind == STUB_FPU         ? j->t_fpu
                           : s->kind == STUB_LINK        ? j->t_link
                           : s->flags & SITE_FLAGS_SAVED ? j->t_step_saved
                                                         : j->t_step;

    emit_patch(s->patch, put_stub_call(t, site, thunk));
    if (s->kind == STUB_LINK) {
        j->site[site].target = (int32_t)(s->va - t->b->va);
        j->site[site].at = (uint32_t)(s->patch - j->rw);
    } else if (s->kind != STUB_STEP) {
        j->site[site].at = (uint32_t)(s->resume - j->rw);
    }
}

/* The instruction at va is the interpreter's. */
static void leave_to_step(struct tr *t, uint64_t va)
{
    struct stub *s = tr_stub(t, STUB_STEP, emit_jump(t->e, CC_ALWAYS));

    s->va = va;
}

/* MOVS and STOS, with and without REP, in C; the others are left to the interpreter. */
static enum tr_result string(struct tr *t, const struct insn *in)
{
    bool stos = in->opcode == 0xaa || in->opcode == 0xab;
    bool movs = in->opcode == 0xa4 || in->opcode == 0xa5;
    unsigned size = in->opcode & 1 ? in->opsize : 1;

    if ((!stos && !movs) || in->addrsize != t->bits / 8 || in->seg >= SEG_FS)
        return TR_STEP;
    tr_need_flags(t, HT);
    uint32_t site = new_site(t, t->at[t->now], size, t->saved ? SITE_FLAGS_SAVED : 0);
    t->j->site[site].string =
        (uint8_t)((stos ? STRING_STOS : 0) | (in->prefixes & (PFX_F2 | PFX_F3) ? STRING_REP : 0) |
                  (t->bits == 32 ? STRING_32 : 0));
    emit_mov_imm(t->e, HT, site);
    emit_1(t->e, 0xe8);
    emit_4(t->e, 0);
    emit_patch(t->e->p - 4, t->j->t_string);
    tr_restore_flags(t, HT);
    return TR_NEXT;
}

/* Which of jit_fast()'s an instruction is; -1: none. */
static int fast_kind(const struct tr *t, const struct insn *in)
{
    unsigned reg = in->modrm >> 3 & 7;

    if (t->bits != 64 || in->enc != ENC_LEGACY)
        return -1;
    if (in->map == MAP_1B)
        return in->opcode == 0xfb                      ? FAST_STI
               : in->opcode == 0x9d && in->opsize == 8 ? FAST_POPF
                                                       : -1;
    if (in->map != MAP_0F)
        return -1;
    switch (in->opcode) {
    case 0x05:
        return FAST_SYSCALL;
    case 0x07:
        return in->opsize == 8 ? FAST_SYSRET : -1;
    case 0x31:
        return FAST_RDTSC;
    case 0x01:
        return in->modrm == 0xf9                  ? FAST_RDTSCP
               : in->modrm == 0xf8                ? FAST_SWAPGS
               : in->modrm == 0xca && in->pp == 0 ? FAST_CLAC
               : in->modrm == 0xcb && in->pp == 0 ? FAST_STAC
                                                  : -1;
    case 0xae:
        return in->mod == 3 && in->pp == 2 && reg < 4 ? (int)(FAST_RDFSBASE + reg) : -1;
    default:
        return -1;
    }
}

static enum tr_result fast(struct tr *t, const struct insn *in)
{
    int kind = fast_kind(t, in);

    if (kind < 0)
        return TR_STEP;
    tr_force_flags(t, HT);
    tr_set_rip(t, t->at[t->now]);
    emit_mov_imm(t->e, HT,
                 (unsigned)kind | (unsigned)(in->rm & 15) << 8 | (unsigned)in->len << 16 |
                     (in->opsize == 8 ? 1u << 24 : 0));
    emit_jump_to(t->e, CC_ALWAYS, t->j->t_fast);
    return TR_END;
}

static enum tr_result cli(struct tr *t)
{
    if (t->mode & (3 << MODE_CPL_SHIFT | MODE_VM86))
        return TR_STEP;
    tr_need_flags(t, HT);
    emit_ctx(t->e, false, 0x81, 4, rflags);
    emit_4(t->e, ~(uint32_t)(1 << 9));
    return TR_NEXT;
}

static enum tr_result translate_one(struct tr *t, const struct insn *in)
{
    switch (in->info->cls) {
    case CLASS_INT:
    case CLASS_VEC:
    case CLASS_X87:
        return tr_copy(t, in);
    case CLASS_STACK:
        return in->opcode == 0x9d ? fast(t, in) : tr_stack(t, in);
    case CLASS_BRANCH:
        return tr_branch(t, in);
    case CLASS_STRING:
        return string(t, in);
    default:
        if (in->map == MAP_1B && in->opcode == 0x90) { /* PAUSE */
            emit_1(t->e, 0xf3);
            emit_1(t->e, 0x90);
            return TR_NEXT;
        }
        if (in->map == MAP_1B && in->opcode == 0xfa)
            return cli(t);
        return fast(t, in);
    }
}

/* Of the second page nobody knows whether it is still mapped as it was; the interpreter goes on
 * where it is not, and names it. */
static void check_second_page(struct tr *t)
{
    uint64_t va = t->at[t->n] & ~UINT64_C(0xfff);
    uint32_t token = jit_token(t->j, va, t->second.gpa, t->index);

    tr_need_flags(t, HT);
    compare_token(t->e, t, va, token);
    tr_stub(t, STUB_STEP, emit_jump(t->e, CC_NE));
}

static void put_body(struct tr *t)
{
    for (t->now = 0; t->now < t->n; t->now++) {
        const struct insn *in = &t->in[t->now];
        tr_open_windows(t);
        if (t->crosses && t->now == t->n - 1)
            check_second_page(t);
        enum tr_result r = translate_one(t, in);
        if (r == TR_END)
            return;
        if (r == TR_STEP) {
            tr_force_flags(t, HT);
            leave_to_step(t, t->at[t->now]);
            return;
        }
        /* Room for the most that one instruction may want. */
        if (t->n_stubs + 8 > TR_MAX_STUBS) {
            t->now++;
            break;
        }
    }
    uint64_t next = t->at[t->now];
    tr_force_flags(t, HT);
    t->now = t->now > 0 ? t->now - 1 : 0;
    if (t->n == 0)
        leave_to_step(t, t->b->va);
    else
        tr_exit(t, CC_ALWAYS, next);
}

/* What check.c wants to know. */
static void describe(struct tr *t)
{
    t->b->n = (uint8_t)t->n;
    t->b->undefined = FL_ARITH & (uint16_t)~t->live[t->n];
    t->b->pure = t->n > 0;
    for (unsigned i = 0; i < t->n; i++) {
        const struct insn *in = &t->in[i];
        unsigned cls = in->info->cls;
        t->b->undefined |= in->info->flags_undef;
        if (in->info->bits & INFO_MEM_WRITE || cls == CLASS_STRING || cls == CLASS_SYSTEM ||
            (cls == CLASS_STACK && !(in->opcode >= 0x58 && in->opcode <= 0x5f)) ||
            (cls == CLASS_BRANCH && (in->opcode == 0xe8 || in->opcode == 0xff)) ||
            (in->map == MAP_0F && in->opcode == 0xc7))
            t->b->pure = false;
    }
}

struct block *jit_translate(struct jit *j, uint64_t va, uint32_t key, struct code_page page,
                            struct code_page second)
{
    uint32_t mode = key;
    struct tr *t = j->tr;

    if (jit_full(j))
        return NULL;
    jit_code_ahead(j);
    t->j = j;
    t->e = &j->emit;
    t->no_windows = (mode & MODE_NO_WINDOWS) != 0;
    mode &= ~(uint32_t)MODE_NO_WINDOWS;
    t->mode = mode;
    t->bits = (mode & MODE_CODE_MASK) == MODE_CODE_64 ? 64 : 32;
    t->index = (mode >> MODE_MMU_SHIFT) & 3;
    t->page = page;
    t->second = second;
    t->crosses = false;
    t->n = t->n_stubs = t->now = 0;
    t->saved = t->fpu_here = false;
    t->hs_window = 0;
    t->mode_index = jit_mode_index(j, mode);
    if (t->mode_index < 0)
        return NULL;
    t->block_index = ++j->n_blocks;
    struct block *b = t->b = &j->block[t->block_index];
    *b = (struct block) { .gpa = page.gpa | (va & 0xfff), .va = va, .mode = key };
    b->token = jit_token(j, va, page.gpa, t->index);
    if (collect(t, va) == 0) {
        t->live[0] = FL_ARITH;
        b->bytes = 1;
    } else {
        find_live(t);
        b->bytes = (uint16_t)(t->at[t->n] - va);
    }
    if (t->crosses) {
        b->gpa2 = second.gpa | 1;
        b->bytes2 = t->at[t->n] & 0xfff;
    }
    describe(t);
    tr_plan_windows(t);
    uint32_t start = here(t);
    if (t->live[0] == 0)
        put_plain_entries(t);
    else
        put_saving_entries(t);
    put_body(t);
    for (unsigned i = 0; i < t->n_stubs; i++)
        put_stub(t, &t->stub[i]);
    jit_add(j, t->block_index, page.host, second.host);
    j->stats.blocks++;
    j->stats.insns += t->n;
    jit_code_trim(j);
    jit_perf_map(j, b, start, here(t));
    return b;
}
