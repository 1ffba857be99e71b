/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vcpu.h - a virtual CPU and its thread.
 *
 * The thread runs the guest while the machine runs; it parks when the machine is paused. All
 * requests on a vCPU's descriptor come from its own thread, or from another thread while it is
 * parked (or has not started).
 */
#pragma once

#include "base/err.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct machine;
struct boot_entry;
struct vcpu_initial;

struct vcpu {
    struct machine *m;
    unsigned index;
    int fd;
    struct kvm_run *run; /* shared with the accelerator */
    pthread_t thread;
    bool started;
    /* Under the machine's lock. */
    bool parked;
    bool quit;
    pid_t tid;
    struct vcpu_initial *initial; /* owned: the state after creation, for resets */
};

int vcpu_init(struct vcpu *v, struct machine *m, unsigned index, struct err **err) MUST_CHECK;
/* Starts the thread, parked. */
int vcpu_start(struct vcpu *v, struct err **err) MUST_CHECK;
/* Ends the thread and closes everything. Caller does not hold the lock. */
void vcpu_done(struct vcpu *v);

/* Back to the state after creation; parked. */
int vcpu_reset(struct vcpu *v, struct err **err) MUST_CHECK;
/* Sets the registers that a boot method wants (the boot CPU, after vcpu_reset()). */
int vcpu_set_entry(struct vcpu *v, const struct boot_entry *entry, struct err **err) MUST_CHECK;

/* Makes the thread look at the machine's state soon. Any thread. */
void vcpu_kick(struct vcpu *v);
/* A non-maskable interrupt. Main loop. */
void vcpu_nmi(struct vcpu *v);
/* A request on a parked vCPU: 0 or positive, or a negative errno. */
int vcpu_request(struct vcpu *v, unsigned long request, void *arg);
