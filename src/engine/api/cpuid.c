/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cpuid.c - KVM_GET_SUPPORTED_CPUID, KVM_SET_CPUID(2): the tables a client gets and sets. */
#include "base/bytes.h"
#include "engine/irqchip/irqchip.h"
#include "engine/irqchip/pv.h"

#include <errno.h>

static unsigned pv_leaves(struct cpuid_entry *e)
{
    static const char signature[12] = { 'K', 'V', 'M', 'K', 'V', 'M', 'K', 'V', 'M' };

    e[0] = (struct cpuid_entry) { .function = PV_CPUID_SIGNATURE,
                                  .eax = PV_CPUID_FEATURES,
                                  .ebx = le32_get(signature),
                                  .ecx = le32_get(signature + 4),
                                  .edx = le32_get(signature + 8) };
    e[1] = (struct cpuid_entry) { .function = PV_CPUID_FEATURES, .eax = pv_features() };
    return 2;
}

static int put_entries(void *arg, const struct cpuid_entry *e, unsigned n)
{
    struct kvm_cpuid2 *out = arg;

    if (out->nent < n) {
        return -E2BIG;
    }
    for (unsigned i = 0; i < n; i++) {
        out->entries[i] = (struct kvm_cpuid_entry2) { .function = e[i].function,
                                                      .index = e[i].index,
                                                      .flags = e[i].flags,
                                                      .eax = e[i].eax,
                                                      .ebx = e[i].ebx,
                                                      .ecx = e[i].ecx,
                                                      .edx = e[i].edx };
    }
    out->nent = n;
    return 0;
}

int system_get_supported_cpuid(void *unused, void *arg)
{
    struct cpuid_entry e[CPUID_MAX_ENTRIES + 2];
    unsigned n = cpuid_supported(e);

    (void)unused;
    n += pv_leaves(e + n);
    return put_entries(arg, e, n);
}

int system_get_emulated_cpuid(void *unused, void *arg)
{
    (void)unused;
    return put_entries(arg, NULL, 0); /* nothing beyond the supported leaves */
}

static void apply(struct vcpu *v)
{
    struct cpuid_entry e[CPUID_MAX_ENTRIES];

    for (unsigned i = 0; i < v->n_cpuid; i++) {
        const struct kvm_cpuid_entry2 *in = &v->cpuid[i];

        e[i] = (struct cpuid_entry) { .function = in->function,
                                      .index = in->index,
                                      .flags = in->flags,
                                      .eax = in->eax,
                                      .ebx = in->ebx,
                                      .ecx = in->ecx,
                                      .edx = in->edx };
    }
    cpu_set_cpuid(v->cpu, e, v->n_cpuid);
}

int vcpu_set_cpuid2(void *object, void *arg)
{
    struct vcpu *v = object;
    const struct kvm_cpuid2 *in = arg;

    if (in->nent > CPUID_MAX_ENTRIES) {
        return -E2BIG;
    }
    memcpy(v->cpuid, in->entries, in->nent * sizeof(v->cpuid[0]));
    v->n_cpuid = in->nent;
    apply(v);
    return 0;
}

int vcpu_set_cpuid(void *object, void *arg)
{
    struct vcpu *v = object;
    const struct kvm_cpuid *in = arg;

    if (in->nent > CPUID_MAX_ENTRIES) {
        return -E2BIG;
    }
    for (unsigned i = 0; i < in->nent; i++) {
        v->cpuid[i] = (struct kvm_cpuid_entry2) { .function = in->entries[i].function,
                                                  .eax = in->entries[i].eax,
                                                  .ebx = in->entries[i].ebx,
                                                  .ecx = in->entries[i].ecx,
                                                  .edx = in->entries[i].edx };
    }
    v->n_cpuid = in->nent;
    apply(v);
    return 0;
}

int vcpu_get_cpuid2(void *object, void *arg)
{
    struct vcpu *v = object;
    struct kvm_cpuid2 *out = arg;

    if (out->nent < v->n_cpuid) {
        out->nent = v->n_cpuid;
        return -E2BIG;
    }
    memcpy(out->entries, v->cpuid, v->n_cpuid * sizeof(v->cpuid[0]));
    out->nent = v->n_cpuid;
    return 0;
}
