/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cpu.c - the accelerator's part: vCPUs, interrupt controllers, timer, clock, as KVM's API has
 * them. */
#include "vmm/state/state.h"

#include "base/bytes.h"
#include "base/str.h"
#include "vmm/machine/machine.h"
#include "vmm/state/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MAX_MSRS = 1024, XSAVE_BYTES = 4096 };

struct part {
    const char *name;
    unsigned long get, set;
    size_t size;
    bool optional;
};

/* In the order of restoring: CPU mode first, what depends on it after (KVM api.rst). */
static const struct part vcpu_parts[] = {
    { "mp", KVM_GET_MP_STATE, KVM_SET_MP_STATE, sizeof(struct kvm_mp_state), false },
    { "sregs", KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs), false },
    { "regs", KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs), false },
    { "xcrs", KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs), true },
    { "xsave", KVM_GET_XSAVE, KVM_SET_XSAVE, XSAVE_BYTES, true },
    { "fpu", KVM_GET_FPU, KVM_SET_FPU, sizeof(struct kvm_fpu), false },
    { "debug", KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, sizeof(struct kvm_debugregs), true },
    { "lapic", KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state), false },
    { "events", KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, sizeof(struct kvm_vcpu_events), true },
};

static const struct part vm_parts[] = {
    { "pit", KVM_GET_PIT2, KVM_SET_PIT2, sizeof(struct kvm_pit_state2), true },
    { "clock", KVM_GET_CLOCK, KVM_SET_CLOCK, sizeof(struct kvm_clock_data), true },
};

union any {
    uint8_t bytes[XSAVE_BYTES];
    struct kvm_clock_data clock;
    struct kvm_irqchip chip;
    uint64_t align;
};

/* A part that this accelerator does not have is saved with length 0. */
static void save_part(struct state_stream *s, const struct part *p, int r, const union any *v)
{
    if (r < 0 && !p->optional) {
        s->error = s->error != 0 ? s->error : r;
    }
    state_put_record(s, p->name, v, r < 0 ? 0 : p->size);
}

static bool load_part(struct state_stream *s, const struct part *p, union any *v)
{
    char name[STATE_NAME_MAX + 1];
    uint64_t len;

    state_get_head(s, name, &len);
    if (s->error == 0 && (!str_eq(name, p->name) || (len != 0 && len != p->size))) {
        s->error = -EINVAL;
    }
    if (s->error != 0 || len == 0) {
        return false;
    }
    state_get(s, v, p->size);
    return s->error == 0;
}

static void save_msrs(struct vcpu *v, struct state_stream *s)
{
    static struct {
        struct kvm_msr_list h;
        uint32_t index[MAX_MSRS];
    } list;
    static uint8_t out[MAX_MSRS * 12];
    size_t n = 0;

    list.h.nmsrs = MAX_MSRS;
    if (accel_sys_ioctl(v->m->accel, KVM_GET_MSR_INDEX_LIST, &list) < 0) {
        list.h.nmsrs = 0;
    }
    for (uint32_t i = 0; i < list.h.nmsrs && i < MAX_MSRS; i++) {
        struct {
            struct kvm_msrs h;
            struct kvm_msr_entry e;
        } one = { .h.nmsrs = 1, .e.index = list.index[i] };

        if (vcpu_request(v, KVM_GET_MSRS, &one) == 1) {
            le32_put(out + n, one.e.index);
            le64_put(out + n + 4, one.e.data);
            n += 12;
        }
    }
    state_put_record(s, "msrs", out, n);
}

static void load_msrs(struct vcpu *v, struct state_stream *s)
{
    static uint8_t in[MAX_MSRS * 12];
    char name[STATE_NAME_MAX + 1];
    uint64_t len;

    state_get_head(s, name, &len);
    if (s->error == 0 && (!str_eq(name, "msrs") || len > sizeof(in) || len % 12 != 0)) {
        s->error = -EINVAL;
    }
    if (s->error != 0) {
        return;
    }
    state_get(s, in, len);
    for (size_t i = 0; i < len; i += 12) {
        struct {
            struct kvm_msrs h;
            struct kvm_msr_entry e;
        } one = { .h.nmsrs = 1, .e.index = le32_get(in + i), .e.data = le64_get(in + i + 4) };

        (void)vcpu_request(v, KVM_SET_MSRS, &one);
    }
}

void state_save_cpus(struct machine *m, struct state_stream *s)
{
    static union any v;

    for (unsigned i = 0; i < m->n_vcpus; i++) {
        state_put_record(s, "vcpu", NULL, 0);
        for (size_t p = 0; p < sizeof(vcpu_parts) / sizeof(vcpu_parts[0]); p++) {
            memset(&v, 0, sizeof(v));
            save_part(s, &vcpu_parts[p], vcpu_request(&m->vcpus[i], vcpu_parts[p].get, &v), &v);
        }
        save_msrs(&m->vcpus[i], s);
    }
    for (unsigned chip = 0; chip < 3; chip++) {
        memset(&v, 0, sizeof(v));
        v.chip.chip_id = chip;
        if (accel_vm_ioctl(m->accel, KVM_GET_IRQCHIP, &v.chip) < 0) {
            s->error = s->error != 0 ? s->error : -EIO;
        }
        state_put_record(s, "irqchip", &v.chip, sizeof(v.chip));
    }
    for (size_t p = 0; p < sizeof(vm_parts) / sizeof(vm_parts[0]); p++) {
        memset(&v, 0, sizeof(v));
        save_part(s, &vm_parts[p], accel_vm_ioctl(m->accel, vm_parts[p].get, &v), &v);
    }
}

int state_load_cpus(struct machine *m, struct state_stream *s, struct err **err)
{
    static union any v;

    for (unsigned i = 0; i < m->n_vcpus && s->error == 0; i++) {
        state_get_record(s, "vcpu", NULL, 0);
        for (size_t p = 0; p < sizeof(vcpu_parts) / sizeof(vcpu_parts[0]); p++) {
            const struct part *part = &vcpu_parts[p];

            if (load_part(s, part, &v) && vcpu_request(&m->vcpus[i], part->set, &v) < 0 &&
                !part->optional) {
                return err_set(err, EINVAL, "the accelerator refuses '%s' of vCPU %u", part->name,
                               i);
            }
        }
        load_msrs(&m->vcpus[i], s);
    }
    for (unsigned chip = 0; chip < 3; chip++) {
        state_get_record(s, "irqchip", &v.chip, sizeof(v.chip));
        if (s->error == 0 &&
            (v.chip.chip_id != chip || accel_vm_ioctl(m->accel, KVM_SET_IRQCHIP, &v.chip) < 0)) {
            return err_set(err, EINVAL, "the accelerator refuses interrupt controller %u", chip);
        }
    }
    for (size_t p = 0; p < sizeof(vm_parts) / sizeof(vm_parts[0]); p++) {
        if (load_part(s, &vm_parts[p], &v)) {
            if (vm_parts[p].set == KVM_SET_CLOCK) {
                v.clock.flags = 0;
            }
            (void)accel_vm_ioctl(m->accel, vm_parts[p].set, &v);
        }
    }
    return s->error == 0 ? 0 : err_set(err, EINVAL, "the saved CPUs are broken, or others");
}
