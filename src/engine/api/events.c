/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* events.c - what is pending at a vCPU: exceptions, interrupts, NMI, MP state, debug, machine
 * checks. */
#include "base/bytes.h"
#include "engine/irqchip/irqchip.h"

#include <errno.h>

int vcpu_get_events(void *object, void *arg)
{
    struct vcpu *v = object;
    struct cpu *c = v->cpu;
    struct kvm_vcpu_events e = { .flags = 0 };

    /* A message in flight becomes part of the state here. */
    if (v->lapic != NULL) {
        (void)irq_events(c);
    }
    e.exception.injected = c->exception.pending;
    e.exception.nr = c->exception.vector;
    e.exception.has_error_code = c->exception.has_error;
    e.exception.error_code = c->exception.error;
    e.interrupt.injected = c->interrupt.pending;
    e.interrupt.nr = c->interrupt.vector;
    e.interrupt.soft = c->interrupt.soft;
    e.interrupt.shadow = !c->irq_shadow        ? 0
                         : c->shadow_is_mov_ss ? KVM_X86_SHADOW_INT_MOV_SS
                                               : KVM_X86_SHADOW_INT_STI;
    e.nmi.pending = c->nmi_pending;
    e.nmi.masked = c->nmi_masked;
    e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    memcpy(arg, &e, sizeof(e));
    return 0;
}

int vcpu_set_events(void *object, void *arg)
{
    struct vcpu *v = object;
    struct cpu *c = v->cpu;
    struct kvm_vcpu_events e;
    const uint32_t known = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
                           KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM |
                           KVM_VCPUEVENT_VALID_PAYLOAD;

    memcpy(&e, arg, sizeof(e));
    if ((e.flags & ~known) != 0 ||
        ((e.exception.injected != 0 || e.exception.pending != 0) &&
         (e.exception.nr > 31 || e.exception.nr == EXC_NMI)) ||
        ((e.flags & KVM_VCPUEVENT_VALID_SMM) != 0 && (e.smi.smm != 0 || e.smi.pending != 0))) {
        return -EINVAL;
    }
    c->exception.pending =
        e.exception.injected != 0 ||
        ((e.flags & KVM_VCPUEVENT_VALID_PAYLOAD) != 0 && e.exception.pending != 0);
    c->exception.vector = e.exception.nr;
    c->exception.has_error = e.exception.has_error_code != 0;
    c->exception.error = e.exception.error_code;
    c->interrupt.pending = e.interrupt.injected != 0;
    c->interrupt.vector = e.interrupt.nr;
    c->interrupt.soft = e.interrupt.soft != 0;
    if ((e.flags & KVM_VCPUEVENT_VALID_SHADOW) != 0) {
        c->irq_shadow = e.interrupt.shadow != 0;
        c->shadow_is_mov_ss = (e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS) != 0;
    }
    if ((e.flags & KVM_VCPUEVENT_VALID_NMI_PENDING) != 0) {
        c->nmi_pending = e.nmi.pending != 0;
    }
    c->nmi_masked = e.nmi.masked != 0;
    cpu_kick(c, false);
    return 0;
}

int vcpu_get_mp_state(void *object, void *arg)
{
    struct vcpu *v = object;
    struct kvm_mp_state s;

    if (v->lapic != NULL) {
        (void)irq_events(v->cpu);
    }
    s.mp_state = atomic_load(&v->mp_state);
    memcpy(arg, &s, sizeof(s));
    return 0;
}

int vcpu_set_mp_state(void *object, void *arg)
{
    struct vcpu *v = object;
    struct kvm_mp_state s;

    memcpy(&s, arg, sizeof(s));
    switch (s.mp_state) {
    case KVM_MP_STATE_RUNNABLE:
        break;
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED:
    case KVM_MP_STATE_HALTED:
        if (v->lapic == NULL) {
            return -EINVAL;
        }
        break;
    default:
        return -EINVAL;
    }
    atomic_store(&v->mp_state, s.mp_state);
    v->cpu->halted = s.mp_state == KVM_MP_STATE_HALTED;
    return 0;
}

int vcpu_interrupt(void *object, void *arg)
{
    struct vcpu *v = object;
    struct kvm_interrupt irq;

    memcpy(&irq, arg, sizeof(irq));
    if (irq.irq > 255) {
        return -EINVAL;
    }
    if (v->vm->irqchip != NULL && !v->vm->irqchip->split) {
        return -ENXIO;
    }
    if (v->cpu->interrupt.pending) {
        return -EEXIST;
    }
    v->cpu->interrupt.pending = true;
    v->cpu->interrupt.vector = (uint8_t)irq.irq;
    v->cpu->interrupt.soft = false;
    vcpu_wake(v);
    return 0;
}

int vcpu_nmi(void *object, void *arg)
{
    struct vcpu *v = object;

    (void)arg;
    if (v->lapic != NULL) {
        lapic_inject_nmi(v->lapic);
    } else {
        v->cpu->nmi_pending = true;
        vcpu_wake(v);
    }
    return 0;
}

int vcpu_set_guest_debug(void *object, void *arg)
{
    struct vcpu *v = object;
    struct kvm_guest_debug d;

    memcpy(&d, arg, sizeof(d));
    v->cpu->guest_debug = (d.control & KVM_GUESTDBG_ENABLE) != 0 ? d.control : 0;
    v->cpu->single_step = (v->cpu->guest_debug & KVM_GUESTDBG_SINGLESTEP) != 0;
    memcpy(v->cpu->debug_dr, d.arch.debugreg, sizeof(v->cpu->debug_dr));
    if ((v->cpu->guest_debug & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) != 0) {
        if (v->cpu->exception.pending) {
            return -EBUSY;
        }
        v->cpu->exception.pending = true;
        v->cpu->exception.has_error = false;
        v->cpu->exception.vector =
            (v->cpu->guest_debug & KVM_GUESTDBG_INJECT_DB) != 0 ? EXC_DB : EXC_BP;
    }
    cpu_update_mode(v->cpu);
    return 0;
}

int vcpu_setup_mce(void *object, void *arg)
{
    struct cpu *c = ((struct vcpu *)object)->cpu;
    uint64_t cap;
    unsigned banks;

    memcpy(&cap, arg, sizeof(cap));
    banks = cap & 0xff;
    if (banks == 0 || banks > 32) {
        return -EINVAL;
    }
    c->mcg_cap = cap;
    c->mcg_ctl = (cap & 1 << 8) != 0 ? UINT64_MAX : 0;
    for (unsigned i = 0; i < banks; i++) {
        c->mc_banks[i * 4] = UINT64_MAX;
    }
    return 0;
}

int vcpu_set_mce(void *object, void *arg)
{
    struct cpu *c = ((struct vcpu *)object)->cpu;
    struct kvm_x86_mce m;
    uint64_t *bank;

    memcpy(&m, arg, sizeof(m));
    if (m.bank >= (c->mcg_cap & 0xff) || (m.status >> 63) == 0) {
        return -EINVAL;
    }
    bank = &c->mc_banks[m.bank * 4];
    if ((m.status >> 61 & 1) != 0 && bank[0] != UINT64_MAX) {
        return 0; /* reporting is off for this bank */
    }
    bank[1] = m.status;
    bank[2] = m.addr;
    bank[3] = m.misc;
    if ((m.status >> 61 & 1) != 0) {
        c->mcg_status = m.mcg_status;
        c->exception.pending = true;
        c->exception.has_error = false;
        c->exception.vector = EXC_MC;
        cpu_kick(c, false);
    }
    return 0;
}
