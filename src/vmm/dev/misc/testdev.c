/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * testdev.c - pc-testdev: what kvm-unit-tests expect of the machine beside CPUs.
 *
 *     0xe0-0xe3         a register that every access size reads back
 *     0xe8              (obsolete exit port is isa-debug-exit's business)
 *     0x2000-0x2017     a write drives the line of GSI (port - 0x2000)
 *     0xfee00000-..     none of ours; 0xff000000: 64 KiB that read back as written
 */
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"

#include <string.h>

enum { IOPORT = 0xe0, IRQ_PORT = 0x2000, IRQ_LINES = 24, MEM_BYTES = 0x10000 };
#define MEM_GPA 0xff000000u

struct testdev {
    struct device dev;
    uint32_t ioport;
    uint8_t mem[MEM_BYTES];
};

static uint64_t port_read(void *dev, uint64_t off, unsigned size)
{
    (void)size;
    return ((struct testdev *)dev)->ioport >> (off * 8);
}

static void port_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct testdev *t = dev;
    unsigned shift = (unsigned)off * 8;
    uint64_t mask = ((1ull << (size * 8)) - 1) << shift;

    t->ioport = (uint32_t)((t->ioport & ~mask) | ((value << shift) & mask));
}

static uint64_t line_read(void *dev, uint64_t off, unsigned size)
{
    (void)dev;
    (void)off;
    (void)size;
    return 0;
}

static void line_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct testdev *t = dev;
    struct irq irq = machine_irq(t->dev.m, (unsigned)off);

    (void)size;
    irq_set(&irq, value != 0);
}

static uint64_t mem_read(void *dev, uint64_t off, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, ((struct testdev *)dev)->mem + off, size);
    return v;
}

static void mem_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    memcpy(((struct testdev *)dev)->mem + off, &value, size);
}

static const struct io_ops port_io = { .read = port_read, .write = port_write, .max_size = 4 };
static const struct io_ops line_io = { .read = line_read, .write = line_write, .max_size = 1 };
static const struct io_ops mem_io = { .read = mem_read, .write = mem_write, .max_size = 8 };

static int testdev_realize(struct device *dev, struct err **err)
{
    int r = iobus_add(&dev->m->pio, IOPORT, 4, &port_io, dev, "pc-testdev", err);

    if (r == 0) {
        r = iobus_add(&dev->m->pio, IRQ_PORT, IRQ_LINES, &line_io, dev, "pc-testdev-irq", err);
    }
    return r == 0
               ? iobus_add(&dev->m->mmio, MEM_GPA, MEM_BYTES, &mem_io, dev, "pc-testdev-mem", err)
               : r;
}

const struct device_class testdev_class = {
    .name = "pc-testdev",
    .bus = "ISA",
    .desc = "test device of kvm-unit-tests",
    .size = sizeof(struct testdev),
    .realize = testdev_realize,
};
