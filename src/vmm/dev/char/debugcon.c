/* SPDX-License-Identifier: GPL-2.0-or-later */
/* debugcon.c - isa-debugcon: a port that firmware and test kernels write text to. */
#include "vmm/char/chardev.h"
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"

#include <errno.h>

struct debugcon {
    struct device dev;
    char *chardev_id;
    uint32_t iobase;
    uint32_t readback;
    struct chardev *chr;
    struct chardev_frontend fe; /* output only */
};

static const struct opt debugcon_opts[] = {
    OPT_STR(struct debugcon, chardev_id, "chardev", NULL, "character device"),
    OPT_U32(struct debugcon, iobase, "iobase", "0xe9", "port"),
    OPT_U32(struct debugcon, readback, "readback", "0xe9", "what reading the port gives"),
    OPT_END,
};

static uint64_t debugcon_read(void *dev, uint64_t off, unsigned size)
{
    (void)off;
    (void)size;
    return ((struct debugcon *)dev)->readback;
}

static void debugcon_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct debugcon *d = dev;
    uint8_t byte = (uint8_t)value;

    (void)off;
    (void)size;
    chardev_write(d->chr, &byte, 1);
}

static const struct io_ops debugcon_io = { .read = debugcon_read,
                                           .write = debugcon_write,
                                           .max_size = 1 };

static int debugcon_realize(struct device *dev, struct err **err)
{
    struct debugcon *d = (struct debugcon *)dev;
    struct chardev *chr;
    int r;

    if (d->chardev_id == NULL || d->iobase > 0xffff) {
        return err_set(err, EINVAL, "chardev= is missing, or iobase is no port");
    }
    chr = chardev_find(dev->m, d->chardev_id);
    if (chr == NULL) {
        return err_set(err, ENOENT, "there is no chardev '%s'", d->chardev_id);
    }
    r = chardev_attach(chr, &d->fe, err);
    if (r < 0) {
        return r;
    }
    d->chr = chr;
    return iobus_add(&dev->m->pio, d->iobase, 1, &debugcon_io, dev, "isa-debugcon", err);
}

static void debugcon_destroy(struct device *dev)
{
    struct debugcon *d = (struct debugcon *)dev;

    if (d->chr != NULL) {
        chardev_detach(d->chr, &d->fe);
    }
}

const struct device_class debugcon_class = {
    .name = "isa-debugcon",
    .bus = "ISA",
    .desc = "debug output port",
    .opts = debugcon_opts,
    .size = sizeof(struct debugcon),
    .realize = debugcon_realize,
    .destroy = debugcon_destroy,
};
