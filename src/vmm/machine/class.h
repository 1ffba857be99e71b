/* SPDX-License-Identifier: GPL-2.0-or-later */
/* class.h - a kind of machine: which board, what it is wired to. */
#pragma once

#include "base/err.h"
#include "base/opt.h"

#include <stdbool.h>
#include <stdint.h>

struct boot_params;
struct device;
struct irq;
struct keyval;
struct machine;

/* What is asked of a board; strings are borrowed. */
struct board_config {
    const char *kernel, *initrd, *append, *bios;
};

struct machine_class {
    const char *name;
    const char *desc;
    const struct opt *opts; /* of the board's state */
    size_t board_size;      /* machine.board */
    unsigned max_cpus;
    const char *default_cpu;
    /* Memory, interrupt controllers, the board's own devices: before vCPUs and options' devices. */
    int (*init)(struct machine *m, struct err **err);
    /* After all devices: tables for the guest, kernel or ROM. */
    int (*finish)(struct machine *m, const struct board_config *config, struct err **err);
    /* A free place for a virtio device (transport by memory-mapped registers). */
    int (*claim_virtio)(struct machine *m, struct device *dev, uint64_t *ret_gpa,
                        struct irq *ret_irq, struct err **err);
    /* The first serial port, when the user wants n of them; chardev: id. */
    int (*add_serial)(struct machine *m, unsigned index, const char *chardev, struct err **err);
};

extern const struct machine_class *const machine_classes[]; /* the default first; ends with NULL */
const struct machine_class *machine_class_find(const char *name);
