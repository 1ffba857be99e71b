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
    struct keyval *boot;          /* -boot, or NULL */
    struct keyval *const *smbios; /* -smbios */
    size_t n_smbios;
    struct keyval *const *numa; /* -numa */
    size_t n_numa;
    unsigned sockets, cores, threads;
    const char *cpu;
    bool nographic;
};

struct machine_class {
    const char *name;   /* "microvm"; of versioned kinds "pc-i440fx-7.2" */
    const char *alias;  /* "pc"; NULL: none */
    const char *prefix; /* of the names of older versions, "pc-i440fx-"; NULL: there are none */
    const char *desc;
    const struct opt *opts; /* of the board's state */
    size_t board_size;      /* machine.board */
    unsigned max_cpus;
    const char *default_cpu;
    const char *default_nic;    /* device; NULL: no card without being asked */
    const char *default_vga;    /* device; NULL: no display */
    const char *disk_interface; /* of -drive and -hda without if=: "ide", "virtio" */
    bool no_cpus;
    /* Memory, interrupt controllers, the board's own devices: before vCPUs and options' devices. */
    int (*init)(struct machine *m, struct err **err);
    /* After all devices: tables for the guest, kernel or ROM. */
    int (*finish)(struct machine *m, const struct board_config *config, struct err **err);
    void (*done)(struct machine *m); /* may be NULL */
    /* A free place for a virtio device (transport by memory-mapped registers); NULL: there is no
     * such transport. */
    int (*claim_virtio)(struct machine *m, struct device *dev, uint64_t *ret_gpa,
                        struct irq *ret_irq, struct err **err);
    /* The first serial port, when the user wants n of them; chardev: id. */
    int (*add_serial)(struct machine *m, unsigned index, const char *chardev, struct err **err);
    /* A drive of -drive if=pflash (node: name); NULL: there is no flash. */
    int (*add_flash)(struct machine *m, unsigned unit, const char *node, struct err **err);
};

extern const struct machine_class *const machine_classes[]; /* the default first; ends with NULL */
/* Versions of QEMU whose names versioned kinds have, newest first; ends with NULL. */
extern const char *const machine_versions[];
/* By name, alias or an older version's name. */
const struct machine_class *machine_class_find(const char *name);
