/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel.h - who executes the guest: KVM's API behind one table, the kernel's or the library's.
 *
 * Nothing above this header knows which one it is.
 */
#pragma once

#include "base/err.h"

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct accel_provider {
    const char *name; /* for -accel */
    const char *desc;
    /* As open("/dev/kvm"), ioctl, mmap and close: -1 and errno on failure. */
    int (*open)(void);
    int (*ioctl)(int fd, unsigned long request, void *arg);
    void *(*mmap)(size_t len, int fd, uint64_t off); /* MAP_FAILED on failure */
    int (*close)(int fd);
};

extern const struct accel_provider accel_kernel;
extern const struct accel_provider accel_library;
extern const struct accel_provider *const accel_providers[]; /* ends with NULL */

struct accel {
    const struct accel_provider *p;
    int sys_fd;
    int vm_fd;
    size_t run_size; /* bytes of a vCPU's shared page(s) */
};

/* A VM with in-kernel interrupt controllers and, if wanted, PIT. */
int accel_open(const struct accel_provider *p, struct accel **ret, struct err **err) MUST_CHECK;
struct accel *accel_free(struct accel *a);
DEFINE_CLEANUP(struct accel, accel_free)

/* 0 or positive result, or a negative errno. */
int accel_sys_ioctl(struct accel *a, unsigned long request, void *arg);
int accel_vm_ioctl(struct accel *a, unsigned long request, void *arg);

/* Interrupt controllers; routes GSI 0-23 to PIC and IOAPIC as a PC does. */
int accel_make_irqchip(struct accel *a, bool pit, struct err **err) MUST_CHECK;
int accel_set_memory(struct accel *a, unsigned slot, uint64_t gpa, uint64_t size, void *host,
                     bool readonly, struct err **err) MUST_CHECK;
/* Level of a GSI's line. Any thread. */
void accel_set_irq(struct accel *a, unsigned gsi, int level);
void accel_send_msi(struct accel *a, uint64_t address, uint32_t data);
/* Writes of that size (0: any) at addr signal fd instead of leaving to us. -ENOSYS when the
 * provider has none: the caller then handles the exit. */
int accel_ioeventfd(struct accel *a, int fd, bool pio, uint64_t addr, unsigned size,
                    const uint64_t *match, bool add);

/*
 * What the user asked for ("kvm", "vireo", "tcg", or NULL for the best). *ret_why: one phrase for
 * people, owned by the caller.
 */
int accel_choose(const char *name, const struct accel_provider **ret, char **ret_why,
                 struct err **err) MUST_CHECK;
