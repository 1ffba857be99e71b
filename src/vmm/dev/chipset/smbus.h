/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smbus.h - an SMBus host controller (PIIX4 and ICH9 have the same registers) with an empty bus:
 * every transaction ends with "no acknowledgement". */
#pragma once

#include <stdint.h>

enum { SMBUS_STATUS = 0, SMBUS_CONTROL = 2, SMBUS_START = 0x40, SMBUS_DEVICE_ERROR = 4 };

struct smbus {
    uint8_t regs[16];
};

static inline void smbus_reset(struct smbus *s)
{
    *s = (struct smbus) { .regs = { 0 } };
}

static inline uint8_t smbus_read(const struct smbus *s, uint64_t off)
{
    return off < sizeof(s->regs) ? s->regs[off] : 0;
}

static inline void smbus_write(struct smbus *s, uint64_t off, uint8_t v)
{
    if (off == SMBUS_STATUS) {
        s->regs[0] &= (uint8_t)~v;
    } else if (off < sizeof(s->regs)) {
        s->regs[off] = off == SMBUS_CONTROL ? v & (uint8_t)~SMBUS_START : v;
        if (off == SMBUS_CONTROL && (v & SMBUS_START) != 0) {
            s->regs[0] |= SMBUS_DEVICE_ERROR;
        }
    }
}
