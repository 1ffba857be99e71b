/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cache.c - which blocks there are: by address and mode, by guest physical page; their death.
 *
 * Memory is given back only as a whole (jit_reset). A block that must not run any more has each of
 * its entries overwritten by a jump to its stale stub, so that links to it need not be known.
 */
#include "engine/exec/exec.h"
#include "engine/jit/state.h"
#include "engine/mmu/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t mix(uint64_t x)
{
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

static unsigned block_slot(uint64_t gpa, uint64_t va, uint32_t mode)
{
    return (unsigned)(mix(gpa ^ mix(va + mode)) >> 8) & ((1 << JIT_HASH_BITS) - 1);
}

struct block *jit_find(struct jit *j, uint64_t gpa, uint64_t va, uint32_t mode)
{
    for (uint32_t i = j->hash[block_slot(gpa, va, mode)]; i != 0; i = j->block[i].hash_next) {
        struct block *b = &j->block[i];
        if (b->gpa == gpa && b->va == va && b->mode == mode)
            return b;
    }
    return NULL;
}

static struct page *find_page(struct jit *j, uint64_t gpa, bool make)
{
    uint64_t key = (gpa & ~UINT64_C(0xfff)) | 1;

    for (unsigned i = (unsigned)(mix(key) >> 20);; i++) {
        struct page *p = &j->page[i & ((1 << JIT_PAGE_BITS) - 1)];
        if (p->gpa == key)
            return p;
        if (p->gpa == 0) {
            if (!make)
                return NULL;
            p->gpa = key;
            p->limit = 16;
            j->n_pages++;
            return p;
        }
    }
}

static uint64_t load(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    memcpy(&v, p, n);
    return v;
}

static uint32_t bytes_sum(const uint8_t *p, unsigned n)
{
    uint64_t sum = n;

    for (; n >= 8; p += 8, n -= 8)
        sum = mix(sum ^ load(p, 8));
    return (uint32_t)(mix(sum ^ load(p, n)) >> 32);
}

static bool is_first_page(const struct block *b, uint64_t page)
{
    return (b->gpa & ~UINT64_C(0xfff)) == page;
}

/* Is the block's part in this page, whose bytes are at host, what it was translated from? */
static bool agrees(const struct block *b, uint64_t page, const uint8_t *host)
{
    if (is_first_page(b, page))
        return b->sum == bytes_sum(host + (b->gpa & 0xfff), b->bytes - b->bytes2);
    return b->sum2 == bytes_sum(host, b->bytes2);
}

static bool overlaps(const struct block *b, uint64_t page, uint64_t from, uint64_t to)
{
    if (is_first_page(b, page))
        return b->gpa < to && b->gpa + (b->bytes - b->bytes2) > from;
    return page < to && page + b->bytes2 > from;
}

static uint64_t page_sum(const uint8_t *p)
{
    uint64_t a = 1, b = 2, c = 3, d = 4; /* four, since a multiplication takes so many cycles */

    for (unsigned i = 0; i < 4096; i += 32) {
        a = mix(a ^ load(p + i, 8));
        b = mix(b ^ load(p + i + 8, 8));
        c = mix(c ^ load(p + i + 16, 8));
        d = mix(d ^ load(p + i + 24, 8));
    }
    return mix(mix(mix(a) ^ b) ^ c) ^ d;
}

static uint64_t chunks(uint64_t from, uint64_t to)
{
    unsigned first = (unsigned)(from & 0xfff) / 64, last = (unsigned)((to - 1) & 0xfff) / 64;

    return ~UINT64_C(0) >> (63 - last) & ~UINT64_C(0) << first;
}

static struct page *cover(struct jit *j, uint64_t from, unsigned bytes)
{
    struct page *p = find_page(j, from, true);

    p->covered |= chunks(from, from + bytes);
    p->kills = 0;
    return p;
}

void jit_add(struct jit *j, uint32_t i, const uint8_t *host, const uint8_t *host2)
{
    struct block *b = &j->block[i];
    unsigned slot = block_slot(b->gpa, b->va, b->mode), first = b->bytes - b->bytes2;

    b->hash_next = j->hash[slot];
    j->hash[slot] = i;
    b->sum = bytes_sum(host + (b->gpa & 0xfff), first);
    struct page *p = cover(j, b->gpa, first);
    b->page_next = p->first;
    p->first = i;
    if (b->gpa2 != 0) {
        b->sum2 = bytes_sum(host2, b->bytes2);
        p = cover(j, b->gpa2 & ~UINT64_C(1), b->bytes2);
        b->page2_next = p->first;
        p->first = i;
    }
}

bool jit_seen(struct jit *j, uint64_t gpa, uint64_t va)
{
    uint64_t h = mix(gpa ^ mix(va)) >> 8 & ((1 << JIT_SEEN_BITS) - 1);
    uint64_t bit = UINT64_C(1) << (h % 64);
    bool seen = (j->seen[h / 64] & bit) != 0;

    j->seen[h / 64] |= bit;
    return seen;
}

bool jit_full(const struct jit *j)
{
    return j->emit.p + JIT_BLOCK_ROOM > j->emit.end || j->cold.p + JIT_COLD_ROOM > j->cold.end ||
           j->n_blocks + 2 > JIT_MAX_BLOCKS || j->n_sites + 10 * JIT_MAX_INSNS > JIT_MAX_SITES ||
           j->n_pages > (1 << JIT_PAGE_BITS) / 2 || j->n_tokens + 4 > JIT_MAX_TOKENS;
}

void jit_reset(struct jit *j)
{
    for (unsigned i = 0; i < 1 << JIT_PAGE_BITS; i++) {
        if (j->page[i].first != 0)
            mem_unprotect_code(j->cpu, j->page[i].gpa & ~UINT64_C(1));
    }
    j->emit.p = j->code_start;
    j->cold.p = j->emit.end;
    j->n_blocks = j->n_sites = j->n_pages = j->n_tokens = 0;
    j->n_modes = 0;
    memset(j->mapped, 0, sizeof j->mapped);
    memset(j->hash, 0, sizeof j->hash);
    memset(j->page, 0, sizeof j->page);
    memset(j->token, 0, sizeof j->token);
    memset(j->seen, 0, sizeof j->seen);
    memset(j->cpu->tlb.token, 0, sizeof j->cpu->tlb.token);
    memset(j->cpu->tlb.named, 0, sizeof j->cpu->tlb.named);
    j->flush_wanted = false;
    j->stats.flushes++;
}

int jit_mode_index(struct jit *j, uint32_t mode)
{
    for (unsigned i = 0; i < j->n_modes; i++) {
        if (j->mode[i] == mode)
            return (int)i;
    }
    if (j->n_modes == JIT_MODES)
        return -1;
    uint64_t *table = jit_table(j->cpu, j->n_modes), miss = (uintptr_t)jit_rx(j, j->t_miss);
    (void)madvise(table, JIT_TABLE_SLOTS * sizeof *table, MADV_HUGEPAGE);
    (void)madvise(table, JIT_TABLE_SLOTS * sizeof *table, MADV_POPULATE_WRITE);
    for (uint64_t i = 0; i <= j->cpu->scratch[SCR_JUMP_MASK]; i++)
        table[i] = miss;
    j->mode[j->n_modes] = mode;
    return (int)j->n_modes++;
}

uint32_t jit_token(struct jit *j, uint64_t vpage, uint64_t gpa, unsigned index)
{
    vpage = (vpage & ~UINT64_C(0xfff)) | index;
    gpa = (gpa & ~UINT64_C(0xfff)) | 1;
    for (unsigned i = (unsigned)(mix(vpage ^ mix(gpa)) >> 16);; i++) {
        unsigned k = i & ((1 << JIT_TOKEN_BITS) - 1);
        if (j->token[k].gpa == gpa && j->token[k].vpage == vpage)
            return j->token[k].id;
        if (j->token[k].gpa == 0) {
            if (j->n_tokens + 1 >= JIT_MAX_TOKENS) {
                j->flush_wanted = true;
                return 0;
            }
            j->token[k].gpa = gpa;
            j->token[k].vpage = vpage;
            j->token[k].id = ++j->n_tokens;
            return j->token[k].id;
        }
    }
}

void jit_redirect(struct jit *j, uint32_t from, uint32_t to)
{
    uint8_t *p = j->rw + from;
    int32_t rel = (int32_t)to - (int32_t)(from + 5);

    p[0] = 0xe9;
    memcpy(p + 1, &rel, 4);
}

/* Code that is written and run again and again would else make its chain longer each time. */
static void unhash(struct jit *j, const struct block *b)
{
    uint32_t *where = &j->hash[block_slot(b->gpa, b->va, b->mode)];

    while (&j->block[*where] != b)
        where = &j->block[*where].hash_next;
    *where = b->hash_next;
}

static void kill_block(struct jit *j, struct block *b)
{
    b->dead = true;
    unhash(j, b);
    jit_redirect(j, b->e0, (uint32_t)(j->t_miss - j->rw)); /* maybe another address was meant */
    jit_redirect(j, b->e1, b->stale);
    jit_redirect(j, b->ep, b->stale);
    jit_redirect(j, b->e2, b->stale);
    j->stats.invalidated++;
}

void jit_forward(struct jit *j, const struct block *from, const struct block *to)
{
    jit_redirect(j, from->e1, to->e1);
    jit_redirect(j, from->ep, to->ep);
    jit_redirect(j, from->e2, to->e2);
}

/* Drops blocks of one page that overlap [from, to), or, with host, that are not as they were
 * translated; returns how many remain. */
static unsigned drop_in_page(struct jit *j, struct page *p, uint64_t from, uint64_t to,
                             const uint8_t *host)
{
    uint64_t page = p->gpa & ~UINT64_C(1);
    unsigned left = 0;
    uint32_t *where = &p->first;

    while (*where != 0) {
        struct block *b = &j->block[*where];
        uint32_t *next = is_first_page(b, page) ? &b->page_next : &b->page2_next;
        if (!b->dead && overlaps(b, page, from, to) && (host == NULL || !agrees(b, page, host))) {
            kill_block(j, b);
            p->kills++;
        }
        if (b->dead) { /* or was already, by the other of its two pages */
            *where = *next;
        } else {
            left++;
            where = next;
        }
    }
    if (left == 0) {
        p->covered = 0;
        p->kills = 0;
    }
    return left;
}

/* A page whose code is written again and again, with none of it run between, loses all its blocks:
 * someone makes new code there. So does one whose data is written often; if it comes back it is
 * given more patience, since then it holds hot code and hot data. */
static void drop(struct jit *j, uint64_t gpa, uint64_t len)
{
    enum { KILLS = 3 };
    struct page *p = find_page(j, gpa, false);
    unsigned left = 0;

    if (p != NULL && p->first != 0) {
        left = 1;
        if (p->covered & chunks(gpa, gpa + len))
            left = drop_in_page(j, p, gpa, gpa + len, NULL);
        bool often = left != 0 && ++p->hits >= p->limit;
        if (often) {
            p->hits = 0;
            if (p->limit < 1 << 14)
                p->limit *= 2;
        }
        if (often || p->kills > KILLS)
            left = drop_in_page(j, p, 0, UINT64_MAX, NULL);
    }
    if (left == 0)
        mem_unprotect_code(j->cpu, gpa);
}

void jit_verify_page(struct jit *j, uint64_t gpa, const uint8_t *host)
{
    struct page *p = find_page(j, gpa, false);

    if (p == NULL || p->first == 0)
        return;
    uint64_t sum = page_sum(host);
    if (sum == p->sum)
        return;
    p->sum = sum;
    (void)drop_in_page(j, p, 0, UINT64_MAX, host); /* the page stays protected: it is wanted now */
}

void jit_drop_range(struct jit *j, uint64_t gpa, uint64_t len)
{
    uint64_t end = gpa + len;

    if (len >= (uint64_t)4096 << JIT_PAGE_BITS) {
        j->flush_wanted = true;
        return;
    }
    while (gpa < end) {
        uint64_t next = (gpa | 0xfff) + 1;
        drop(j, gpa, (next < end ? next : end) - gpa);
        gpa = next;
    }
}

void jit_take_posts(struct jit *j)
{
    struct post todo[JIT_POSTS];
    unsigned n;

    if (__atomic_load_n(&j->n_posts, __ATOMIC_ACQUIRE) == 0)
        return;
    pthread_mutex_lock(&j->post_lock);
    n = j->n_posts;
    if (n > JIT_POSTS || j->post_all) {
        j->flush_wanted = true;
        n = 0;
    }
    memcpy(todo, j->post, n * sizeof todo[0]);
    j->post_all = false;
    __atomic_store_n(&j->n_posts, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&j->post_lock);
    for (unsigned i = 0; i < n; i++)
        jit_drop_range(j, todo[i].gpa, todo[i].len);
}

static void post(struct jit *j, uint64_t gpa, uint64_t len, bool all)
{
    pthread_mutex_lock(&j->post_lock);
    if (j->n_posts < JIT_POSTS)
        j->post[j->n_posts] = (struct post) { gpa, len };
    else
        all = true;
    j->post_all |= all;
    __atomic_store_n(&j->n_posts, j->n_posts < JIT_POSTS ? j->n_posts + 1 : j->n_posts,
                     __ATOMIC_RELEASE);
    pthread_mutex_unlock(&j->post_lock);
    __atomic_store_n(&j->cpu->run_page[RUN_BYTE_ATTENTION], 1, __ATOMIC_SEQ_CST);
}

void jit_invalidate(struct cpu *cpu, struct cpu *self, uint64_t gpa, uint64_t len)
{
    if (cpu->jit == NULL)
        return;
    if (cpu == self)
        jit_drop_range(cpu->jit, gpa, len);
    else
        post(cpu->jit, gpa, len, false);
}

void jit_flush(struct cpu *cpu, struct cpu *self)
{
    if (cpu->jit == NULL)
        return;
    if (cpu == self)
        cpu->jit->flush_wanted = true;
    else
        post(cpu->jit, 0, 0, true);
}

/* /tmp/perf-PID.map, so that perf names compiled code; only with VIREO_PERF_MAP in the environment.
 */
void jit_perf_map(struct jit *j, const struct block *b, uint32_t start, uint32_t end)
{
    char line[96];

    if (j->perf_fd < 0)
        return;
    int n = snprintf(line, sizeof line, "%lx %x guest-%lx\n",
                     (unsigned long)(uintptr_t)j->rx + start, end - start, (unsigned long)b->va);
    if (write(j->perf_fd, line, (size_t)n) != n)
        j->perf_fd = -1;
}
