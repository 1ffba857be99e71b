/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/mmu/mem.h"

#include "base/bytes.h"
#include "engine/api/vm.h"
#include "engine/exec/core.h"
#include "engine/exec/smc.h"
#include "engine/mmu/phys.h"
#include "engine/mmu/walk.h"
#include "engine/x86/debug.h"

#include <stdlib.h>

static void fault_page(struct cpu *cpu, uint64_t va, uint32_t error)
{
    cpu->fault.pending = true;
    cpu->fault.vector = EXC_PF;
    cpu->fault.has_error = true;
    cpu->fault.error = error;
    cpu->fault.cr2 = va;
}

/* An entry makes room for another page: many of these, and the TLB is too small. */
static void note_eviction(struct cpu *cpu, const struct tlb_entry *e, uint64_t page, uint64_t none)
{
    struct tlb *tlb = &cpu->tlb;

    if (e->tag_r == none || e->tag_r == page || ++tlb->evicted < 2 * tlb->slots ||
        tlb->slots == TLB_MAX_SLOTS) {
        return;
    }
    tlb->evicted = 0;
    tlb->grow_wanted = true;
    __atomic_store_n(&cpu->run_page[RUN_BYTE_ATTENTION], 1, __ATOMIC_SEQ_CST);
}

/* Notes that some TLB lets the page be written; false: code has been protected there meanwhile. */
static bool may_tag(uint16_t *flags, uint16_t seen)
{
    return (seen & PAGE_TAGGED) != 0 ||
           (__atomic_fetch_or(flags, PAGE_TAGGED, __ATOMIC_SEQ_CST) & PAGE_CODE) == 0;
}

bool mem_fill(struct cpu *cpu, uint64_t va, enum mem_access access, enum tlb_index index,
              uint64_t *ret_gpa)
{
    static const enum walk_use uses[] = {
        [MEM_READ] = WALK_READ, [MEM_WRITE] = WALK_WRITE, [MEM_EXEC] = WALK_FETCH
    };
    unsigned slot = tlb_slot(&cpu->tlb, va);
    struct tlb_entry *e = &cpu->tlb.slot[index][slot];
    uint64_t page = va & ~UINT64_C(0xfff);
    uint64_t none = tlb_no_tag(slot);
    struct memslot *s;
    struct walk w;
    uint32_t error;
    bool user_ok, smep_ok;

    if (!walk(cpu, va, uses[access], index, &w, &error)) {
        fault_page(cpu, va, error);
        return false;
    }
    if (ret_gpa != NULL) {
        *ret_gpa = w.gpa;
    }
    s = phys_slot(cpu->vm, w.gpa);
    note_eviction(cpu, e, page, none);
    e->tag_r = e->tag_w = e->tag_x = none;
    if (s == NULL) {
        return true;
    }
    if (access == MEM_WRITE && !s->readonly) {
        phys_mark_dirty(cpu->vm, s, w.gpa);
    }
    e->host = (uintptr_t)phys_host(s, w.gpa & ~UINT64_C(0xfff));
    cpu->tlb.gpa[index][slot] = (w.gpa & ~UINT64_C(0xfff)) | (w.global ? TLB_GPA_GLOBAL : 0) |
                                (w.large ? TLB_GPA_LARGE : 0);
    tlb_note_filled(&cpu->tlb, index, slot, w.global);
    if (w.large) {
        uint64_t region = va & ~(TLB_LARGE_BYTES - 1);

        cpu->tlb.large_seen |= tlb_region_bit(va);
        cpu->tlb.large_lo = min_u64(cpu->tlb.large_lo, region);
        cpu->tlb.large_hi = max_u64(cpu->tlb.large_hi, region);
    }
    user_ok = index == TLB_USER ? w.user : !(w.user && index == TLB_KERNEL);
    smep_ok = index == TLB_USER ? w.user : !(w.user && (cpu->cr4 & CR4_SMEP) != 0);
    if (smep_ok && !w.nx) {
        e->tag_x = page;
    }
    if (!user_ok || debug_watches_page(cpu, page)) {
        return true; /* data breakpoints are seen by the slow path only */
    }
    e->tag_r = page;
    if (w.dirty && !s->readonly &&
        (w.writable || (index != TLB_USER && (cpu->cr0 & CR0_WP) == 0))) {
        uint16_t flags = __atomic_load_n(phys_flags(s, w.gpa), __ATOMIC_SEQ_CST);

        if ((flags & PAGE_CODE) == 0 && (!s->log_dirty || (flags & PAGE_DIRTY) != 0) &&
            may_tag(phys_flags(s, w.gpa), flags)) {
            e->tag_w = page;
        }
    }
    return true;
}

void mem_drop_write_tags(struct cpu *cpu, uint64_t gpa)
{
    struct tlb *tlb = &cpu->tlb;

    gpa &= ~UINT64_C(0xfff);
    for (unsigned i = 0; i < TLB_INDEXES * TLB_KINDS; i++) {
        unsigned index = i / TLB_KINDS;
        const struct tlb_set *set = &tlb->filled[index][i % TLB_KINDS];

        for (unsigned slot = 0; (slot = tlb_set_next(set, slot)) < TLB_MAX_SLOTS; slot++) {
            if ((tlb->gpa[index][slot] & ~UINT64_C(0xfff)) == gpa) {
                tlb->slot[index][slot].tag_w = tlb_no_tag(slot);
            }
        }
    }
}

struct protect {
    struct memslot *slot;
    struct cpu *self;
    uint64_t gpa;
};

static void protect_cpu(struct cpu *cpu, void *arg)
{
    const struct protect *p = arg;

    mem_drop_write_tags(cpu, p->gpa);
}

static void protect_all(void *arg)
{
    struct protect *p = arg;

    __atomic_fetch_or(phys_flags(p->slot, p->gpa), PAGE_CODE_BIT(p->self->index), __ATOMIC_SEQ_CST);
    vm_each_cpu(p->self->vm, protect_cpu, p);
    __atomic_fetch_and(phys_flags(p->slot, p->gpa), (uint16_t)~PAGE_TAGGED, __ATOMIC_SEQ_CST);
}

/* Joins the others that have code there, or is the first in a page that no TLB lets be written, as are
 * those that a disk filled; false: write tags have to go. */
static bool join_protectors(struct cpu *cpu, uint16_t *flags)
{
    uint16_t old = __atomic_load_n(flags, __ATOMIC_SEQ_CST);

    while ((old & PAGE_CODE) != 0 || (old & PAGE_TAGGED) == 0) {
        if ((old & PAGE_CODE_BIT(cpu->index)) != 0 ||
            __atomic_compare_exchange_n(flags, &old, old | PAGE_CODE_BIT(cpu->index), false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            return true;
        }
    }
    return false;
}

void mem_protect_code(struct cpu *cpu, uint64_t gpa)
{
    struct protect p = { .slot = phys_slot(cpu->vm, gpa), .self = cpu, .gpa = gpa };

    if (p.slot != NULL && !join_protectors(cpu, phys_flags(p.slot, gpa))) {
        vm_exclusive(cpu->vm, cpu, protect_all, &p);
    }
}

void mem_unprotect_code(struct cpu *cpu, uint64_t gpa)
{
    struct memslot *s = phys_slot(cpu->vm, gpa);

    if (s != NULL && cpu->vm->max_id < PAGE_CODE_CPUS) {
        (void)__atomic_fetch_and(phys_flags(s, gpa), (uint16_t)~PAGE_CODE_BIT(cpu->index),
                                 __ATOMIC_SEQ_CST);
    }
}

/* Where one access that stays in a page goes: host memory, or (NULL) the device at *ret_gpa. Raises
 * nothing: false with cpu->fault. */
static bool locate(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size,
                   enum mem_access access, uint8_t **ret_host, uint64_t *ret_gpa)
{
    struct tlb_entry *e = &cpu->tlb.slot[index][tlb_slot(&cpu->tlb, va)];
    uint64_t off = va & 0xfff;
    uint64_t tag = access == MEM_READ ? e->tag_r : access == MEM_WRITE ? e->tag_w : e->tag_x;
    struct memslot *s;

    *ret_gpa = 0;
    if ((va ^ off) == tag) {
        *ret_host = (uint8_t *)(e->host + off);
        return true;
    }
    if (!mem_fill(cpu, va, access, index, ret_gpa)) {
        return false;
    }
    s = phys_slot(cpu->vm, *ret_gpa);
    if (s == NULL || (access == MEM_WRITE && s->readonly)) {
        *ret_host = NULL;
        return true;
    }
    *ret_host = phys_host(s, *ret_gpa);
    if (access == MEM_WRITE &&
        (__atomic_load_n(phys_flags(s, *ret_gpa), __ATOMIC_RELAXED) & PAGE_CODE) != 0) {
        smc_written(cpu, *ret_gpa, size);
    }
    return true;
}

void *mem_host(struct cpu *cpu, uint64_t va, unsigned size, enum mem_access access)
{
    uint8_t *host;
    uint64_t gpa;

    if ((va & 0xfff) + size > 4096 || !locate(cpu, mem_index(cpu), va, size, access, &host, &gpa)) {
        return NULL;
    }
    return host;
}

static bool copy(struct cpu *cpu, uint64_t va, unsigned size, uint8_t *buf, enum mem_access access)
{
    uint8_t *host[3];
    unsigned part[3], n = 0;

    for (unsigned done = 0; done < size; done += part[n++]) {
        uint64_t gpa;
        unsigned left = 4096 - (unsigned)((va + done) & 0xfff);

        part[n] = left < size - done ? left : size - done;
        if (!locate(cpu, mem_index(cpu), va + done, part[n], access, &host[n], &gpa) ||
            host[n] == NULL) {
            return false;
        }
    }
    for (unsigned i = 0; i < n; buf += part[i++]) {
        if (access == MEM_READ) {
            memcpy(buf, host[i], part[i]);
        } else {
            memcpy(host[i], buf, part[i]);
        }
    }
    return true;
}

bool mem_read(struct cpu *cpu, uint64_t va, unsigned size, void *buf)
{
    return copy(cpu, va, size, buf, MEM_READ);
}

bool mem_write(struct cpu *cpu, uint64_t va, unsigned size, const void *buf)
{
    union {
        const void *in;
        uint8_t *out;
    } same = { .in = buf }; /* copy() only reads it for a write */

    return copy(cpu, va, size, same.out, MEM_WRITE);
}

/* ---- device accesses, with replay ---- */

static struct replay *replay_next(struct cpu *cpu, bool port, uint64_t at, unsigned len, bool write)
{
    struct interp *it = interp_of(cpu);

    if (it->replay_at < it->replay_n) {
        struct replay *r = &it->replay[it->replay_at];

        if (r->port == port && r->at == at && r->len == len && r->write == write) {
            it->replay_at++;
            return r;
        }
        /* The instruction takes another way than before (its operands were changed between exit
         * and resumption): what it did so far cannot be undone. */
        it->replay_n = it->replay_at;
    }
    return NULL;
}

static struct replay *replay_add(struct cpu *cpu, bool port, uint64_t at, unsigned len, bool write)
{
    struct interp *it = interp_of(cpu);
    struct replay *r = &it->replay[it->replay_n];

    if (it->replay_n == REPLAY_MAX) {
        exit_now(cpu, CPU_EXIT_INTERNAL_ERROR);
    }
    it->replay_n++;
    it->replay_at = it->replay_n;
    *r = (struct replay) { .at = at, .len = (uint8_t)len, .write = write, .port = port };
    return r;
}

static void wait_for_client(struct cpu *cpu, enum cpu_exit exit)
{
    struct interp *it = interp_of(cpu);

    it->waiting = true;
    it->waiting_rip = cpu->rip;
    exit_now(cpu, exit);
}

static void device(struct cpu *cpu, uint64_t gpa, unsigned len, uint8_t *data, bool write)
{
    while (len > 0) {
        unsigned n = len > 8 ? 8 : len;
        struct replay *r = replay_next(cpu, false, gpa, n, write);

        if (r == NULL) {
            r = replay_add(cpu, false, gpa, n, write);
            if (write) {
                memcpy(r->data, data, n);
            }
            if (!vm_mmio(cpu, gpa, r->data, n, write)) {
                cpu->exit_mmio.gpa = gpa;
                cpu->exit_mmio.len = (uint8_t)n;
                cpu->exit_mmio.write = write;
                cpu->exit_mmio.done = false;
                memcpy(cpu->exit_mmio.data, r->data, 8);
                wait_for_client(cpu, CPU_EXIT_MMIO);
            }
        }
        if (!write) {
            memcpy(data, r->data, n);
        }
        gpa += n;
        data += n;
        len -= n;
    }
}

static void port_access(struct cpu *cpu, uint16_t port, unsigned size, uint8_t *data, bool write)
{
    struct replay *r = replay_next(cpu, true, port, size, write);

    if (r == NULL) {
        r = replay_add(cpu, true, port, size, write);
        if (write) {
            memcpy(r->data, data, size);
        }
        if (!vm_pio(cpu, port, r->data, size, write)) {
            cpu->exit_io.port = port;
            cpu->exit_io.size = (uint8_t)size;
            cpu->exit_io.in = !write;
            cpu->exit_io.count = 1;
            memcpy(cpu->exit_io.data, r->data, 8);
            wait_for_client(cpu, CPU_EXIT_IO);
        }
    }
    if (!write) {
        memcpy(data, r->data, size);
    }
}

uint32_t port_read(struct cpu *cpu, uint16_t port, unsigned size)
{
    uint8_t data[8] = { 0 };

    debug_check_io(cpu, port, size);
    port_access(cpu, port, size, data, false);
    return le32_get(data);
}

void port_write(struct cpu *cpu, uint16_t port, unsigned size, uint32_t value)
{
    uint8_t data[8] = { 0 };

    debug_check_io(cpu, port, size);
    le32_put(data, value);
    port_access(cpu, port, size, data, true);
}

/* ---- accesses of the interpreter ---- */

/* Raises what the whole access would raise, before any of it is done. */
static void prepare(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size,
                    enum mem_access access)
{
    if ((cpu->mode & MODE_AC) != 0 && index == TLB_USER && (va & (size - 1)) != 0 && size <= 8) {
        raise_err(cpu, EXC_AC, 0);
    }
    if ((va & 0xfff) + size > 4096) {
        uint64_t next = (va | 0xfff) + 1;

        if ((cpu->mode & MODE_LONG) == 0) {
            next = (uint32_t)next;
        }
        if (!mem_fill(cpu, va, access, index, NULL) || !mem_fill(cpu, next, access, index, NULL)) {
            leave(cpu, LEAVE_FAULT);
        }
    }
}

static void access_bytes(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size,
                         uint8_t *buf, bool write)
{
    prepare(cpu, index, va, size, write ? MEM_WRITE : MEM_READ);
    debug_check_access(cpu, va, size, write);
    while (size > 0) {
        unsigned left = 4096 - (unsigned)(va & 0xfff);
        unsigned n = left < size ? left : size;
        uint8_t *host;
        uint64_t gpa;

        if (!locate(cpu, index, va, n, write ? MEM_WRITE : MEM_READ, &host, &gpa)) {
            leave(cpu, LEAVE_FAULT);
        }
        if (host == NULL) {
            device(cpu, gpa, n, buf, write);
        } else if (n == 8 || n == 4 || n == 2 || n == 1) {
            if (write) {
                uint64_t v = 0;

                memcpy(&v, buf, n);
                store_host(host, n, v);
            } else {
                uint64_t v = load_host(host, n);

                memcpy(buf, &v, n);
            }
        } else if (write) {
            memcpy(host, buf, n);
        } else {
            memcpy(buf, host, n);
        }
        va += n;
        if ((cpu->mode & MODE_LONG) == 0) {
            va = (uint32_t)va;
        }
        buf += n;
        size -= n;
    }
}

void mem_load_bytes(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size, void *buf)
{
    access_bytes(cpu, index, va, size, buf, false);
}

void mem_store_bytes(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size,
                     const void *buf)
{
    union {
        const void *in;
        uint8_t *out;
    } same = { .in = buf }; /* only read for a write */

    access_bytes(cpu, index, va, size, same.out, true);
}

uint64_t mem_load_slow(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size)
{
    uint8_t buf[8] = { 0 };

    access_bytes(cpu, index, va, size, buf, false);
    return le64_get(buf);
}

void mem_store_slow(struct cpu *cpu, enum tlb_index index, uint64_t va, unsigned size, uint64_t v)
{
    uint8_t buf[8];

    le64_put(buf, v);
    access_bytes(cpu, index, va, size, buf, true);
}

void mem_probe_write(struct cpu *cpu, uint64_t va, unsigned size)
{
    uint64_t last = va + size - 1;

    if ((cpu->mode & MODE_LONG) == 0) {
        last = (uint32_t)last;
    }
    for (int i = 0; i < 2; i++) {
        uint64_t at = i == 0 ? va : last;
        const struct tlb_entry *e = &cpu->tlb.slot[mem_index(cpu)][tlb_slot(&cpu->tlb, at)];

        if ((at & ~UINT64_C(0xfff)) != e->tag_w &&
            !mem_fill(cpu, at, MEM_WRITE, mem_index(cpu), NULL)) {
            leave(cpu, LEAVE_FAULT);
        }
        if ((va ^ last) < 4096) {
            break;
        }
    }
}

void *mem_rmw_host(struct cpu *cpu, uint64_t va, unsigned size)
{
    uint8_t *host;
    uint64_t gpa;

    prepare(cpu, mem_index(cpu), va, size, MEM_WRITE);
    if ((va & 0xfff) + size > 4096) {
        return NULL;
    }
    debug_check_access(cpu, va, size, true);
    if (!locate(cpu, mem_index(cpu), va, size, MEM_WRITE, &host, &gpa)) {
        leave(cpu, LEAVE_FAULT);
    }
    return host;
}

bool cpu_translate_debug(struct cpu *cpu, uint64_t va, uint64_t *ret_gpa)
{
    struct walk w;
    uint32_t error;

    if (!walk(cpu, va, WALK_PEEK, TLB_KERNEL_AC, &w, &error)) {
        return false;
    }
    *ret_gpa = w.gpa;
    return true;
}
