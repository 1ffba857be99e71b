/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sync_regs.c - KVM_CAP_SYNC_REGS: registers in struct kvm_run, which save the client the requests
 * before and after KVM_RUN (KVM api.rst, 5, "kvm_valid_regs").
 */
#include "engine/api/vcpu.h"

#include <errno.h>
#include <string.h>

enum { FIELDS = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS };

int sync_regs_take(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    uint64_t dirty = run->kvm_dirty_regs;
    struct kvm_sync_regs s;
    int r = 0;

    if (((run->kvm_valid_regs | dirty) & ~(uint64_t)FIELDS) != 0) {
        return -EINVAL;
    }
    if (dirty == 0) {
        return 0;
    }
    memcpy(&s, &run->s.regs, sizeof(s)); /* once: the client's other threads may write there */
    if ((dirty & KVM_SYNC_X86_REGS) != 0) {
        r = vcpu_set_regs(v, &s.regs);
    }
    if (r == 0 && (dirty & KVM_SYNC_X86_SREGS) != 0) {
        r = vcpu_set_sregs(v, &s.sregs);
    }
    if (r == 0 && (dirty & KVM_SYNC_X86_EVENTS) != 0) {
        r = vcpu_set_events(v, &s.events);
    }
    if (r == 0) {
        run->kvm_dirty_regs = 0;
    }
    return r < 0 ? -EINVAL : 0;
}

void sync_regs_give(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    uint64_t want = run->kvm_valid_regs;

    if ((want & KVM_SYNC_X86_REGS) != 0) {
        (void)vcpu_get_regs(v, &run->s.regs.regs);
    }
    if ((want & KVM_SYNC_X86_SREGS) != 0) {
        (void)vcpu_get_sregs(v, &run->s.regs.sregs);
    }
    if ((want & KVM_SYNC_X86_EVENTS) != 0) {
        (void)vcpu_get_events(v, &run->s.regs.events);
    }
}
