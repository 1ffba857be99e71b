/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msrs.c - KVM_GET/SET_MSRS and the lists that say which there are. What an MSR does is the CPU's
 * (x86/), the local APIC's or the paravirtual interface's business.
 */
#include "engine/api/vcpu.h"

#include <errno.h>
#include <string.h>

enum { MAX_MSRS_A_CALL = 256 };

/* What a client must carry over to another host to preserve a vCPU. */
static const uint32_t saved_msrs[] = {
    0x10,       0x3a,       0x3b,       0x48,       0x174,      0x175,      0x176,      0x1a0,
    0x277,      0x2ff,      0x17a,      0x17b,      0x6e0,      0x140,      0xc0000080, 0xc0000081,
    0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0x9e,
    0x11,       0x12,       0x4b564d00, 0x4b564d01, 0x4b564d03, 0x4b564d04, 0x4b564d05, 0xda0,
    0x200,      0x201,      0x202,      0x203,      0x204,      0x205,      0x206,      0x207,
    0x208,      0x209,      0x20a,      0x20b,      0x20c,      0x20d,      0x20e,      0x20f,
    0x250,      0x258,      0x259,      0x268,      0x269,      0x26a,      0x26b,      0x26c,
    0x26d,      0x26e,      0x26f,
};

static const uint32_t feature_msrs[] = { 0x10a, 0x8b, 0xc0011029 };

static bool readable(struct cpu *cpu, uint32_t index)
{
    uint64_t v;

    return cpu_msr_read(cpu, index, &v, true) == 0;
}

static int put_list(void *arg, const uint32_t *list, uint32_t n)
{
    struct kvm_msr_list *out = arg;
    uint32_t room = out->nmsrs;

    out->nmsrs = n;
    if (room < n) {
        return -E2BIG;
    }
    memcpy(out->indices, list, n * sizeof(list[0]));
    return 0;
}

/* Only what the CPU really knows is listed; asked once, of a CPU made for the purpose. */
static uint32_t filter(const uint32_t *in, size_t n, uint32_t *out)
{
    struct vm vm = { .n_vcpus = 0 };
    struct vcpu vcpu = { .vm = &vm };
    struct cpu *cpu = cpu_new(&vm, &vcpu, 0);
    uint32_t kept = 0;

    for (size_t i = 0; cpu != NULL && i < n; i++) {
        if (readable(cpu, in[i])) {
            out[kept++] = in[i];
        }
    }
    (void)cpu_free(cpu);
    return kept;
}

int system_get_msr_index_list(void *unused, void *arg)
{
    uint32_t list[sizeof(saved_msrs) / sizeof(saved_msrs[0])];

    (void)unused;
    return put_list(arg, list,
                    filter(saved_msrs, sizeof(saved_msrs) / sizeof(saved_msrs[0]), list));
}

int system_get_msr_feature_list(void *unused, void *arg)
{
    uint32_t list[sizeof(feature_msrs) / sizeof(feature_msrs[0])];

    (void)unused;
    return put_list(arg, list,
                    filter(feature_msrs, sizeof(feature_msrs) / sizeof(feature_msrs[0]), list));
}

static int each(struct cpu *cpu, struct kvm_msrs *msrs, bool write)
{
    uint32_t i;

    if (msrs->nmsrs >= MAX_MSRS_A_CALL) {
        return -E2BIG;
    }
    for (i = 0; i < msrs->nmsrs; i++) {
        struct kvm_msr_entry *e = &msrs->entries[i];
        uint64_t v = 0;

        if (write ? cpu_msr_write(cpu, e->index, e->data, true) < 0
                  : cpu_msr_read(cpu, e->index, &v, true) < 0) {
            break;
        }
        if (!write) {
            e->data = v;
        }
    }
    return (int)i; /* the count that worked; KVM stops at the first that does not */
}

int vcpu_get_msrs(void *vcpu, void *arg)
{
    return each(((struct vcpu *)vcpu)->cpu, arg, false);
}

int vcpu_set_msrs(void *vcpu, void *arg)
{
    return each(((struct vcpu *)vcpu)->cpu, arg, true);
}

int system_get_msrs(void *unused, void *arg)
{
    struct vm vm = { .n_vcpus = 0 };
    struct vcpu vcpu = { .vm = &vm };
    struct cpu *cpu = cpu_new(&vm, &vcpu, 0);
    int r;

    (void)unused;
    if (cpu == NULL) {
        return -ENOMEM;
    }
    r = each(cpu, arg, false);
    (void)cpu_free(cpu);
    return r;
}
