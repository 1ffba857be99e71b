/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iobus.h - who answers at which port (pio) or address (mmio): the two address spaces of a PC.
 *
 * Accesses come from vCPU threads with the machine's lock held. Addresses that nobody owns read as
 * all ones and swallow writes, as on a PC.
 */
#pragma once

#include "base/err.h"

#include <stdint.h>

struct io_ops {
    /* off: from the region's start. Size 1, 2, 4 or 8, at most max_size. */
    uint64_t (*read)(void *dev, uint64_t off, unsigned size);
    void (*write)(void *dev, uint64_t off, uint64_t value, unsigned size);
    unsigned max_size; /* larger accesses are split; 0: 8 */
};

struct io_region {
    uint64_t base;
    uint64_t len;
    const struct io_ops *ops;
    void *dev;
    const char *name;
};

enum { IOBUS_MAX_REGIONS = 512 };

struct iobus {
    struct io_region regions[IOBUS_MAX_REGIONS]; /* sorted by base, none overlap */
    unsigned n;
};

/* An error that names both when the range is taken. name, ops and dev are borrowed. */
int iobus_add(struct iobus *bus, uint64_t base, uint64_t len, const struct io_ops *ops, void *dev,
              const char *name, struct err **err) MUST_CHECK;
void iobus_remove(struct iobus *bus, const void *dev);
/* The one region of dev that begins there, if any. */
void iobus_remove_at(struct iobus *bus, uint64_t base, const void *dev);

uint64_t iobus_read(const struct iobus *bus, uint64_t addr, unsigned size);
void iobus_write(const struct iobus *bus, uint64_t addr, uint64_t value, unsigned size);
