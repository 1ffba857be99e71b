/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every device class that needs no back end, driven by random bus accesses. The first byte chooses
 * the class; then each record of 8 bytes is an access: what, size, offset, value.
 */
#include "../tests/vmm/board.h"
#include "base/bytes.h"
#include "base/str.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void access_region(struct board *b, const uint8_t *r)
{
    struct iobus *bus = (r[0] & 1) != 0 ? &b->m->pio : &b->m->mmio;
    const struct io_region *region;
    unsigned width = 1u << ((r[0] >> 1) & 3);
    uint64_t addr;

    if (bus->n == 0) {
        return;
    }
    region = &bus->regions[r[1] % bus->n];
    addr = region->base + le16_get(r + 2) % region->len;
    if ((r[0] & 8) != 0) {
        iobus_write(bus, addr, le32_get(r + 4), width);
    } else {
        (void)iobus_read(bus, addr, width);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const devices[] = {
        "virtio-rng-device,packed=on",
        "virtio-serial-device",
        "isa-serial",
        "pc-testdev",
        "fw_cfg_io",
        "acpi-ged,addr=4096,gsi=9",
        "i8042",
        "mc146818rtc",
        "virtio-fs-device,path=/usr/share/doc,tag=t,readonly=on",
        "isa-debug-exit",
    };
    struct board b;

    if (size < 1) {
        return 0;
    }
    board_init(&b);
    if (board_add(&b, devices[data[0] % (sizeof(devices) / sizeof(devices[0]))]) != NULL) {
        uint8_t *ram = gmem_map(&b.m->mem, 0, BOARD_RAM, true);

        /* Rings and descriptors for those that look at memory. */
        memcpy(ram, data, size < 4096 ? size : 4096);
        for (size_t i = 1; i + 8 <= size && i < 4096; i += 8) {
            access_region(&b, data + i);
        }
        (void)loop_step(b.loop, 0);
    }
    board_done(&b);
    return 0;
}
