/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * driver.h - a hypervisor driver is one table. What it leaves out is "not supported".
 *
 * Calls that are the same for all drivers (looking up, listing, defining) are in mgmt/daemon and
 * use the operations below; a driver's own calls come first.
 */
#pragma once

#include "mgmt/object/domain.h"
#include "mgmt/object/world.h"

struct remote_ops;
struct qemu_ops;

enum {
    START_PAUSED = 1,
    START_AUTODESTROY = 2,
    START_BYPASS_CACHE = 4,
    START_FORCE_BOOT = 8,
    START_VALIDATE = 16,
    START_RESET_NVRAM = 32
};

struct driver {
    const char *scheme; /* of the URI */
    const char *type;   /* what connect_get_type answers */
    int fault_domain;
    const struct remote_ops *calls;
    const struct qemu_ops *qemu_calls;

    int (*open)(struct world *w, struct err **err);
    void (*close)(struct world *w);
    unsigned long (*version)(struct world *w);
    /* Owned by the caller. */
    char *(*capabilities)(struct world *w, struct err **err);
    char *(*domain_capabilities)(struct world *w, const char *emulator, const char *arch,
                                 const char *machine, const char *type, struct err **err);
    /* Fills in a definition. */
    int (*complete)(struct world *w, struct node *def, struct err **err);

    /* Under the domain's job. The caller has checked the state. */
    int (*start)(struct domain *d, unsigned flags, struct err **err);
    int (*destroy)(struct domain *d, struct err **err);
    int (*suspend)(struct domain *d, struct err **err);
    int (*resume)(struct domain *d, struct err **err);
    int (*shutdown)(struct domain *d, unsigned flags, struct err **err);
    int (*reboot)(struct domain *d, unsigned flags, struct err **err);
    int (*reset)(struct domain *d, struct err **err);
    /* Host CPU time used, in ns; memory in use, in KiB. */
    void (*usage)(struct domain *d, uint64_t *ret_cpu_nsec, uint64_t *ret_mem_kib);
    /* May it be undefined, and what goes with it. */
    int (*undefine)(struct domain *d, unsigned flags, struct err **err);
    /* A file with the memory of a saved run exists; its path, owned. */
    char *(*managed_save_path)(struct domain *d);
};

/* Ends with NULL. */
extern const struct driver *const drivers[];
