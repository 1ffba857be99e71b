/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * input.h - from a person's keyboard and pointer to the guest's devices. Main loop only.
 *
 * A key is its number in scan code set 1, with 0x80 added when 0xe0 precedes it: what QMP calls a
 * key's "number".
 */
#pragma once

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct machine;

enum {
    INPUT_LEFT = 1,
    INPUT_RIGHT = 2,
    INPUT_MIDDLE = 4,
    INPUT_ABS_MAX = 32767,

    KEY_E0 = 0x80,
    KEY_PAUSE = 0xc6,
    KEY_SYSRQ = 0xb7,
};

struct input_handler {
    struct list link;
    void *arg;
    /* NULL: the device has no such thing. */
    void (*key)(void *arg, unsigned key, bool down);
    void (*relative)(void *arg, int dx, int dy, int dz, unsigned buttons);
    void (*absolute)(void *arg, int x, int y, int dz, unsigned buttons);
};

void input_add(struct machine *m, struct input_handler *h);
void input_remove(struct input_handler *h);

/* To the device that came last of those that take it. */
void input_key(struct machine *m, unsigned key, bool down);
/* x and y: 0 to INPUT_ABS_MAX of the screen; devices that only move get the difference. */
void input_pointer(struct machine *m, int x, int y, int dz, unsigned buttons, unsigned width,
                   unsigned height);
void input_move(struct machine *m, int dx, int dy, int dz, unsigned buttons);
bool input_has_absolute(struct machine *m);

/* QMP's names (QKeyCode): the number, or 0. */
unsigned input_key_by_name(const char *name);
/* The USB usage (HID 1.11 usage tables, 10), or 0. */
uint8_t input_key_usage(unsigned key);
/* Scan code set 2's bytes of a key going down or up; returns how many. */
unsigned input_key_set2(unsigned key, bool down, uint8_t out[8]);
/* X11's keysym to a key; *shift: the US layout needs it. 0: unknown. */
unsigned input_keysym(uint32_t keysym, bool *shift);
