/* SPDX-License-Identifier: GPL-2.0-or-later */
/* none.c - a machine without anything: management programs ask such a process what it can do. */
#include "vmm/machine/class.h"

struct none {
    bool dump_guest_core, usb, graphics;
    char *memory_backend;
};

static const struct opt none_opts[] = {
    OPT_BOOL(struct none, dump_guest_core, "dump-guest-core", "on", "accepted"),
    OPT_BOOL(struct none, usb, "usb", "off", "accepted"),
    OPT_BOOL(struct none, graphics, "graphics", "on", "accepted"),
    OPT_STR(struct none, memory_backend, "memory-backend", NULL, "accepted"),
    OPT_END,
};

static int none_init(struct machine *m, struct err **err)
{
    (void)m;
    (void)err;
    return 0;
}

static int none_finish(struct machine *m, const struct board_config *config, struct err **err)
{
    (void)m;
    (void)config;
    (void)err;
    return 0;
}

const struct machine_class none_class = {
    .name = "none",
    .desc = "empty machine",
    .opts = none_opts,
    .board_size = sizeof(struct none),
    .max_cpus = 1,
    .default_cpu = "qemu64",
    .no_cpus = true,
    .init = none_init,
    .finish = none_finish,
};
