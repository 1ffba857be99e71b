/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debugexit.c - isa-debug-exit: a write of V ends the emulator with status V * 2 + 1 (test
 * kernels).
 */
#include "base/bytes.h"
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"
#include <errno.h>

struct debugexit {
    struct device dev;
    uint32_t iobase;
    uint32_t iosize;
};

static const struct opt debugexit_opts[] = {
    OPT_U32(struct debugexit, iobase, "iobase", "0x501", "first port"),
    OPT_U32(struct debugexit, iosize, "iosize", "2", "number of ports"),
    OPT_END,
};

static uint64_t debugexit_read(void *dev, uint64_t off, unsigned size)
{
    (void)dev;
    (void)off;
    (void)size;
    return 0;
}

static void debugexit_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct debugexit *d = dev;

    (void)off;
    (void)size;
    machine_quit(d->dev.m, (int)((value << 1) | 1) & 0xff);
}

static const struct io_ops debugexit_io = { .read = debugexit_read, .write = debugexit_write };

static int debugexit_realize(struct device *dev, struct err **err)
{
    struct debugexit *d = (struct debugexit *)dev;

    if (d->iosize == 0 || !range_within(d->iobase, d->iosize, 0x10000)) {
        return err_set(err, EINVAL, "ports 0x%x+%u do not exist", d->iobase, d->iosize);
    }
    return iobus_add(&dev->m->pio, d->iobase, d->iosize, &debugexit_io, dev, "isa-debug-exit", err);
}

const struct device_class debugexit_class = {
    .name = "isa-debug-exit",
    .bus = "ISA",
    .desc = "ends the emulator with a status that the guest chooses",
    .opts = debugexit_opts,
    .size = sizeof(struct debugexit),
    .realize = debugexit_realize,
};
