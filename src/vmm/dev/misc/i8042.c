/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8042.c - as much of the keyboard controller as a machine without keyboard has: the reset line by
 * command 0xfe, and the A20 and reset bits of port 0x92.
 */
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"

enum {
    PORT_DATA = 0x60,
    PORT_STATUS = 0x64,
    PORT_92 = 0x92,
    CMD_PULSE_RESET = 0xfe,
    P92_RESET = 1,
    P92_A20 = 2,
};

struct i8042 {
    struct device dev;
    uint8_t port92;
};

/* Status 0: nothing to read, ready for commands. */
static uint64_t kbc_read(void *dev, uint64_t off, unsigned size)
{
    (void)dev;
    (void)off;
    (void)size;
    return 0;
}

static void status_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct i8042 *k = dev;

    (void)off;
    (void)size;
    if (value == CMD_PULSE_RESET) {
        machine_request_reset(k->dev.m, CAUSE_GUEST_RESET);
    }
}

static void data_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    (void)dev;
    (void)off;
    (void)value;
    (void)size;
}

static uint64_t port92_read(void *dev, uint64_t off, unsigned size)
{
    (void)off;
    (void)size;
    return ((struct i8042 *)dev)->port92;
}

static void port92_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct i8042 *k = dev;

    (void)off;
    (void)size;
    k->port92 = (uint8_t)(value & ~(unsigned)P92_RESET);
    if ((value & P92_RESET) != 0) {
        machine_request_reset(k->dev.m, CAUSE_GUEST_RESET);
    }
}

static const struct io_ops data_io = { .read = kbc_read, .write = data_write, .max_size = 1 };
static const struct io_ops status_io = { .read = kbc_read, .write = status_write, .max_size = 1 };
static const struct io_ops port92_io = { .read = port92_read,
                                         .write = port92_write,
                                         .max_size = 1 };

static int i8042_realize(struct device *dev, struct err **err)
{
    struct iobus *pio = &dev->m->pio;
    int r = iobus_add(pio, PORT_DATA, 1, &data_io, dev, "i8042-data", err);

    if (r == 0) {
        r = iobus_add(pio, PORT_STATUS, 1, &status_io, dev, "i8042-cmd", err);
    }
    return r == 0 ? iobus_add(pio, PORT_92, 1, &port92_io, dev, "port92", err) : r;
}

static void i8042_reset(struct device *dev)
{
    ((struct i8042 *)dev)->port92 = P92_A20;
}

const struct device_class i8042_class = {
    .name = "i8042",
    .bus = "ISA",
    .desc = "reset lines of the keyboard controller and port 0x92",
    .size = sizeof(struct i8042),
    .internal = true,
    .realize = i8042_realize,
    .reset = i8042_reset,
};
