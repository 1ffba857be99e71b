/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/api/stats.h"

#include "engine/api/vcpu.h"
#include "engine/jit/jit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NAME_BYTES = 48, DESC_BYTES = sizeof(struct kvm_stats_desc) + NAME_BYTES };

#define COUNTER (KVM_STATS_TYPE_CUMULATIVE | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10)
#define INSTANT (KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10)

static void fill(uint8_t *p, const char *id, const struct stats_entry *entries, unsigned n)
{
    struct kvm_stats_header h = {
        .name_size = NAME_BYTES,
        .num_desc = n,
        .id_offset = sizeof(h),
        .desc_offset = sizeof(h) + NAME_BYTES,
        .data_offset = sizeof(h) + NAME_BYTES + n * DESC_BYTES,
    };

    memcpy(p, &h, sizeof(h));
    (void)snprintf((char *)p + h.id_offset, NAME_BYTES, "%s", id);
    for (unsigned i = 0; i < n; i++) {
        struct kvm_stats_desc d = { .flags = entries[i].flags, .size = 1, .offset = i * 8 };
        uint8_t *at = p + h.desc_offset + (size_t)i * DESC_BYTES;

        memcpy(at, &d, sizeof(d));
        (void)snprintf((char *)at + sizeof(d), NAME_BYTES, "%s", entries[i].name);
    }
}

static int make(struct stats_file *s, const char *id, const struct stats_entry *entries, unsigned n)
{
    uint64_t bytes = sizeof(struct kvm_stats_header) + NAME_BYTES + n * (DESC_BYTES + 8ull);
    int fd = memfd_create("vireo-kvm-stats", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *map;

    if (fd < 0) {
        return -errno;
    }
    map = ftruncate(fd, (off_t)bytes) == 0
              ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
              : MAP_FAILED;
    /* Readers cannot change what we write, nor cut it off. */
    if (map == MAP_FAILED ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
        int r = -errno;

        if (map != MAP_FAILED) {
            (void)munmap(map, bytes);
        }
        (void)close(fd);
        return r;
    }
    fill(map, id, entries, n);
    *s = (struct stats_file) {
        .data = (uint64_t *)(void *)((uint8_t *)map + bytes - n * 8ull),
        .map = map,
        .map_bytes = bytes,
        .fd = fd,
    };
    return 0;
}

int stats_open(struct stats_file *s, const char *id, const struct stats_entry *entries, unsigned n)
{
    char path[40];
    int r = s->data == NULL ? make(s, id, entries, n) : 0;

    if (r < 0) {
        return r;
    }
    /* Opened anew, so that each reader has a position of its own. */
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
    r = open(path, O_RDONLY | O_CLOEXEC);
    return r < 0 ? -errno : r;
}

void stats_done(struct stats_file *s)
{
    if (s->data != NULL) {
        (void)munmap(s->map, s->map_bytes);
        (void)close(s->fd);
        s->data = NULL;
    }
}

/* ---- a vCPU's ---- */

static const struct stats_entry vcpu_entries[] = {
    { "exits", COUNTER },
    { "io_exits", COUNTER },
    { "mmio_exits", COUNTER },
    { "signal_exits", COUNTER },
    { "halt_exits", COUNTER },
    { "irq_injections", COUNTER },
    { "jit_blocks", COUNTER },      /* translated */
    { "jit_insns", COUNTER },       /* ... their instructions */
    { "jit_flushes", COUNTER },     /* of all blocks */
    { "jit_invalidated", COUNTER }, /* blocks whose code was written */
    { "jit_dispatches", COUNTER },  /* entries into compiled code */
    { "jit_interpreted", COUNTER }, /* single instructions among compiled code */
    { "tlb_misses", COUNTER },      /* and other accesses that inline code could not do */
    { "jit_code_bytes", INSTANT },
};
enum { N_VCPU = sizeof(vcpu_entries) / sizeof(vcpu_entries[0]) };

void vcpu_publish_stats(struct vcpu *v)
{
    struct jit_stats j = { 0 };
    uint64_t *d = v->stats.data;

    if (d == NULL) {
        return;
    }
    if (v->cpu->jit != NULL) {
        jit_get_stats(v->cpu, &j);
    }
    const uint64_t now[N_VCPU] = {
        v->stat.exits, v->stat.io_exits,       v->stat.mmio_exits, v->stat.signal_exits,
        v->stat.halts, v->stat.irq_injections, j.blocks,           j.insns,
        j.flushes,     j.invalidated,          j.dispatches,       j.steps,
        j.slow,        j.code_bytes,
    };
    for (unsigned i = 0; i < N_VCPU; i++) {
        __atomic_store_n(&d[i], now[i], __ATOMIC_RELAXED);
    }
}

int vcpu_get_stats_fd(void *object, void *arg)
{
    struct vcpu *v = object;
    char id[32];
    int r;

    (void)arg;
    (void)snprintf(id, sizeof(id), "kvm-%d/vcpu-%u", (int)getpid(), v->id);
    r = stats_open(&v->stats, id, vcpu_entries, N_VCPU);
    vcpu_publish_stats(v);
    return r;
}

/* ---- a VM's ---- */

static const struct stats_entry vm_entries[] = { { "vcpus", INSTANT }, { "memslots", INSTANT } };

void vm_publish_stats(struct vm *vm)
{
    uint64_t *d = vm->stats.data;

    if (d != NULL) {
        __atomic_store_n(&d[0], vm->n_vcpus, __ATOMIC_RELAXED);
        __atomic_store_n(&d[1], vm->slots != NULL ? vm->slots->n : 0, __ATOMIC_RELAXED);
    }
}

int vm_get_stats_fd(void *object, void *arg)
{
    struct vm *vm = object;
    char id[32];
    int r;

    (void)arg;
    (void)snprintf(id, sizeof(id), "kvm-%d", (int)getpid());
    (void)pthread_mutex_lock(&vm->lock);
    r = stats_open(&vm->stats, id, vm_entries, sizeof(vm_entries) / sizeof(vm_entries[0]));
    vm_publish_stats(vm);
    (void)pthread_mutex_unlock(&vm->lock);
    return r;
}
