/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memslot.c - guest physical memory (KVM api.rst, KVM_SET_USER_MEMORY_REGION, KVM_GET_DIRTY_LOG).
 */
#include "base/bytes.h"
#include "engine/api/vcpu.h"

#include <errno.h>
#include <stdlib.h>

enum { PAGE_BYTES = 4096 };

struct memslot *phys_slot(struct vm *vm, uint64_t gpa)
{
    const struct slot_table *t = vm->slots;
    unsigned lo = 0;
    unsigned hi = t->n;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        struct memslot *s = t->by_gpa[mid];

        if (gpa < s->gpa) {
            hi = mid;
        } else if (gpa - s->gpa >= s->size) {
            lo = mid + 1;
        } else {
            return s;
        }
    }
    return NULL;
}

void phys_mark_dirty(struct vm *vm, struct memslot *s, uint64_t gpa)
{
    (void)vm;
    if (s->log_dirty) {
        (void)__atomic_fetch_or(phys_flags(s, gpa), PAGE_DIRTY, __ATOMIC_RELAXED);
    }
}

static void slot_free(struct memslot *s)
{
    if (s != NULL) {
        free(s->page_flags);
        free(s);
    }
}

void vm_free_slots(struct vm *vm)
{
    for (unsigned i = 0; vm->slots != NULL && i < vm->slots->n; i++) {
        slot_free(vm->slots->by_gpa[i]);
    }
    free(vm->slots);
}

static struct memslot *find_id(struct vm *vm, uint32_t id)
{
    for (unsigned i = 0; i < vm->slots->n; i++) {
        if (vm->slots->by_gpa[i]->id == id) {
            return vm->slots->by_gpa[i];
        }
    }
    return NULL;
}

static void flush_cpu(struct cpu *cpu, void *arg)
{
    (void)arg;
    tlb_flush(cpu, false);
}

/* What changes while the VM stands still. */
struct change {
    struct vm *vm;
    struct slot_table *table;
    struct memslot *gone;
};

static void apply(void *arg)
{
    struct change *c = arg;

    /* Translations of the old slot's pages go first, while its flags still exist. */
    if (c->gone != NULL) {
        exec_invalidate_range(c->vm, c->gone->gpa, c->gone->size);
    }
    c->vm->slots = c->table;
    vm_each_cpu(c->vm, flush_cpu, NULL);
}

static bool overlaps(const struct slot_table *t, const struct memslot *but, uint64_t gpa,
                     uint64_t size)
{
    for (unsigned i = 0; i < t->n; i++) {
        const struct memslot *s = t->by_gpa[i];

        if (s != but && gpa < s->gpa + s->size && s->gpa < gpa + size) {
            return true;
        }
    }
    return false;
}

static int replace(struct vm *vm, struct memslot *gone, struct memslot *come)
{
    struct slot_table *old = vm->slots;
    struct change c = { .vm = vm, .gone = gone, .table = calloc(1, sizeof(*c.table)) };

    if (c.table == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < old->n; i++) {
        if (old->by_gpa[i] != gone) {
            c.table->by_gpa[c.table->n++] = old->by_gpa[i];
        }
    }
    if (come != NULL) {
        unsigned at = c.table->n;

        if (at == VM_MAX_SLOTS) {
            free(c.table);
            return -ENOSPC;
        }
        for (; at > 0 && c.table->by_gpa[at - 1]->gpa > come->gpa; at--) {
            c.table->by_gpa[at] = c.table->by_gpa[at - 1];
        }
        c.table->by_gpa[at] = come;
        c.table->n++;
    }
    vm_exclusive(vm, NULL, apply, &c);
    free(old);
    return 0;
}

struct flags_change {
    struct vm *vm;
    struct memslot *slot;
    bool log_dirty;
};

static void apply_flags(void *arg)
{
    struct flags_change *c = arg;

    for (uint64_t i = 0; c->log_dirty && !c->slot->log_dirty && i < c->slot->size / PAGE_BYTES;
         i++) {
        c->slot->page_flags[i] &= (uint16_t)~PAGE_DIRTY;
    }
    c->slot->log_dirty = c->log_dirty;
    vm_each_cpu(c->vm, flush_cpu, NULL);
}

static int remove_slot(struct vm *vm, struct memslot *old)
{
    int r = old != NULL ? replace(vm, old, NULL) : -EINVAL;

    if (r == 0) {
        slot_free(old);
    }
    return r;
}

static int set_locked(struct vm *vm, const struct kvm_userspace_memory_region *r)
{
    struct memslot *old = find_id(vm, r->slot);
    bool ro = (r->flags & KVM_MEM_READONLY) != 0;
    bool log = (r->flags & KVM_MEM_LOG_DIRTY_PAGES) != 0;
    struct memslot *s;
    int ret;

    if (r->memory_size == 0) {
        return remove_slot(vm, old);
    }
    if (overlaps(vm->slots, old, r->guest_phys_addr, r->memory_size)) {
        return -EEXIST;
    }
    /* A slot may move and change its logging; its size, memory and kind stay. */
    if (old != NULL && (old->size != r->memory_size || old->readonly != ro ||
                        old->host != (uint8_t *)(uintptr_t)r->userspace_addr)) {
        return -EINVAL;
    }
    if (old != NULL && old->gpa == r->guest_phys_addr) {
        struct flags_change c = { .vm = vm, .slot = old, .log_dirty = log };

        vm_exclusive(vm, NULL, apply_flags, &c);
        return 0;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return -ENOMEM;
    }
    *s = (struct memslot) { .gpa = r->guest_phys_addr,
                            .size = r->memory_size,
                            .host = (uint8_t *)(uintptr_t)r->userspace_addr,
                            .id = r->slot,
                            .readonly = ro,
                            .log_dirty = log,
                            .page_flags = calloc(r->memory_size / PAGE_BYTES, sizeof(uint16_t)) };
    ret = s->page_flags != NULL ? replace(vm, old, s) : -ENOMEM;
    slot_free(ret < 0 ? s : old);
    return ret;
}

int vm_set_memory(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_userspace_memory_region r;
    uint64_t end;
    int ret;

    memcpy(&r, arg, sizeof(r));
    if ((r.flags & ~(uint32_t)(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)) != 0 ||
        ((r.memory_size | r.guest_phys_addr | r.userspace_addr) & (PAGE_BYTES - 1)) != 0 ||
        !u64_add(r.guest_phys_addr, r.memory_size, &end) || end > 1ull << 52 ||
        r.memory_size / PAGE_BYTES > UINT32_MAX >> 1 || r.slot >= VM_MAX_SLOTS) {
        return -EINVAL;
    }
    (void)pthread_mutex_lock(&vm->lock);
    ret = set_locked(vm, &r);
    vm_publish_stats(vm);
    (void)pthread_mutex_unlock(&vm->lock);
    return ret;
}

struct harvest {
    struct vm *vm;
    struct memslot *slot;
    uint64_t first, n;    /* pages */
    const uint64_t *only; /* NULL: all */
    uint64_t *bitmap;     /* NULL: only clear */
    bool clear;
};

static void harvest(void *arg)
{
    struct harvest *h = arg;

    for (uint64_t i = 0; i < h->n; i++) {
        uint16_t *f = &h->slot->page_flags[h->first + i];

        if ((*f & PAGE_DIRTY) == 0 || (h->only != NULL && (h->only[i / 64] >> (i % 64) & 1) == 0)) {
            continue;
        }
        if (h->bitmap != NULL) {
            h->bitmap[i / 64] |= 1ull << (i % 64);
        }
        if (h->clear) {
            *f &= (uint16_t)~PAGE_DIRTY;
        }
    }
    if (h->clear) {
        vm_each_cpu(h->vm, flush_cpu, NULL);
    }
}

int vm_get_dirty_log(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_dirty_log log;
    struct memslot *s;
    int ret = -ENOENT;

    memcpy(&log, arg, sizeof(log));
    (void)pthread_mutex_lock(&vm->lock);
    s = find_id(vm, log.slot);
    if (s != NULL && s->log_dirty && log.dirty_bitmap != NULL) {
        struct harvest h = { .vm = vm,
                             .slot = s,
                             .n = s->size / PAGE_BYTES,
                             .bitmap = log.dirty_bitmap,
                             .clear = vm->dirty_log_manual == 0 };

        memset(log.dirty_bitmap, 0, round_up_u64(h.n, 64) / 8);
        vm_exclusive(vm, NULL, harvest, &h);
        ret = 0;
    }
    (void)pthread_mutex_unlock(&vm->lock);
    return ret;
}

int vm_clear_dirty_log(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_clear_dirty_log log;
    struct memslot *s;
    int ret = -ENOENT;

    memcpy(&log, arg, sizeof(log));
    if (vm->dirty_log_manual == 0 || (log.first_page & 63) != 0) {
        return -EINVAL;
    }
    (void)pthread_mutex_lock(&vm->lock);
    s = find_id(vm, log.slot);
    if (s != NULL && s->log_dirty) {
        uint64_t pages = s->size / PAGE_BYTES;

        ret = -EINVAL;
        if (range_within(log.first_page, log.num_pages, pages) &&
            (log.num_pages % 64 == 0 || log.first_page + log.num_pages == pages)) {
            struct harvest h = { .vm = vm,
                                 .slot = s,
                                 .first = log.first_page,
                                 .n = log.num_pages,
                                 .only = log.dirty_bitmap,
                                 .clear = true };

            vm_exclusive(vm, NULL, harvest, &h);
            ret = 0;
        }
    }
    (void)pthread_mutex_unlock(&vm->lock);
    return ret;
}
