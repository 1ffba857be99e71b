/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/keys.h"

#include <stddef.h>
#include <stdint.h>

enum { LINUX = 0, XT = 1, QNUM = 9, SAME_BELOW = 89 };

/* Linux key codes (linux/input-event-codes.h) above the main block, where they part from set 1. */
static const struct {
    uint16_t linux_code, qnum;
} extended[] = {
    { 96, 0x9c },  { 97, 0x9d },  { 98, 0xb5 },  { 99, 0x54 },  { 100, 0xb8 }, { 102, 0xc7 },
    { 103, 0xc8 }, { 104, 0xc9 }, { 105, 0xcb }, { 106, 0xcd }, { 107, 0xcf }, { 108, 0xd0 },
    { 109, 0xd1 }, { 110, 0xd2 }, { 111, 0xd3 }, { 113, 0xa0 }, { 114, 0xae }, { 115, 0xb0 },
    { 116, 0xde }, { 117, 0x59 }, { 119, 0xc6 }, { 125, 0xdb }, { 126, 0xdc }, { 127, 0xdd },
    { 142, 0xdf }, { 143, 0xe3 },
};

int keys_to_qnum(unsigned codeset, unsigned code)
{
    switch (codeset) {
    case LINUX:
        if (code < SAME_BELOW) {
            return (int)code;
        }
        for (size_t i = 0; i < sizeof(extended) / sizeof(extended[0]); i++) {
            if (extended[i].linux_code == code) {
                return extended[i].qnum;
            }
        }
        return -1;
    case XT:
    case QNUM:
        return code < 256 ? (int)code : -1;
    default:
        return -1;
    }
}
