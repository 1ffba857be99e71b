/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/bus/iobus.h"

#include "base/log.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static const struct io_region *find(const struct iobus *bus, uint64_t addr)
{
    unsigned lo = 0;
    unsigned hi = bus->n;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        const struct io_region *r = &bus->regions[mid];

        if (addr < r->base) {
            hi = mid;
        } else if (addr - r->base >= r->len) {
            lo = mid + 1;
        } else {
            return r;
        }
    }
    return NULL;
}

int iobus_add(struct iobus *bus, uint64_t base, uint64_t len, const struct io_ops *ops, void *dev,
              const char *name, struct err **err)
{
    unsigned at = bus->n;

    if (bus->n == IOBUS_MAX_REGIONS) {
        return err_set(err, ENOSPC, "no room on the bus for '%s'", name);
    }
    for (unsigned i = 0; i < bus->n; i++) {
        const struct io_region *r = &bus->regions[i];

        if (base < r->base + r->len && r->base < base + len) {
            return err_set(err, EBUSY, "address 0x%llx is taken by '%s' already",
                           (unsigned long long)base, r->name);
        }
    }
    while (at > 0 && bus->regions[at - 1].base > base) {
        bus->regions[at] = bus->regions[at - 1];
        at--;
    }
    bus->regions[at] =
        (struct io_region) { .base = base, .len = len, .ops = ops, .dev = dev, .name = name };
    bus->n++;
    return 0;
}

void iobus_remove(struct iobus *bus, const void *dev)
{
    unsigned to = 0;

    for (unsigned i = 0; i < bus->n; i++) {
        if (bus->regions[i].dev != dev) {
            bus->regions[to++] = bus->regions[i];
        }
    }
    bus->n = to;
}

void iobus_remove_at(struct iobus *bus, uint64_t base, const void *dev)
{
    for (unsigned i = 0; i < bus->n; i++) {
        if (bus->regions[i].base == base && bus->regions[i].dev == dev) {
            memmove(&bus->regions[i], &bus->regions[i + 1],
                    (bus->n - i - 1) * sizeof(bus->regions[0]));
            bus->n--;
            return;
        }
    }
}

static bool fits(const struct io_region *r, uint64_t addr, unsigned size)
{
    unsigned max = r->ops->max_size != 0 ? r->ops->max_size : 8;

    return size <= max && addr - r->base + size <= r->len;
}

uint64_t iobus_read(const struct iobus *bus, uint64_t addr, unsigned size)
{
    const struct io_region *r = find(bus, addr);
    uint64_t ones = size >= 8 ? UINT64_MAX : (1ull << (size * 8)) - 1;

    if (r == NULL && size > 1 && find(bus, addr + size / 2) != NULL) {
        return iobus_read(bus, addr, size / 2) | iobus_read(bus, addr + size / 2, size / 2)
                                                     << (size * 4);
    }
    if (r == NULL || r->ops->read == NULL) {
        TRACE(bus_unassigned_read, "0x%llx size %u", (unsigned long long)addr, size);
        return ones;
    }
    if (!fits(r, addr, size) && size > 1) {
        return iobus_read(bus, addr, size / 2) | iobus_read(bus, addr + size / 2, size / 2)
                                                     << (size * 4);
    }
    return r->ops->read(r->dev, addr - r->base, size) & ones;
}

void iobus_write(const struct iobus *bus, uint64_t addr, uint64_t value, unsigned size)
{
    const struct io_region *r = find(bus, addr);

    if ((r == NULL && size > 1 && find(bus, addr + size / 2) != NULL) ||
        (r != NULL && !fits(r, addr, size) && size > 1)) {
        iobus_write(bus, addr, value & ((1ull << (size * 4)) - 1), size / 2);
        iobus_write(bus, addr + size / 2, value >> (size * 4), size / 2);
        return;
    }
    if (r == NULL || r->ops->write == NULL) {
        TRACE(bus_unassigned_write, "0x%llx size %u value 0x%llx", (unsigned long long)addr, size,
              (unsigned long long)value);
        return;
    }
    r->ops->write(r->dev, addr - r->base, value, size);
}
