/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * display.h - the picture that a graphics device makes and that VNC and screendump show. Main loop.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct machine;

enum { DISPLAY_MAX = 8192 };

struct display {
    unsigned width, height;
    uint32_t *pixels; /* owned: 0x00rrggbb, width a line */
    /* Brings the pixels up to date; may call display_resize(). */
    void (*refresh)(void *arg);
    /* The viewer would like another size; may be NULL. */
    void (*propose)(void *arg, unsigned width, unsigned height);
    void *arg;
    const char *device_id; /* borrowed */
};

/* Black, of that size. 0, or a negative errno: the old picture stays. */
int display_resize(struct display *d, unsigned width, unsigned height);
void display_done(struct display *d);
/* The first device to come is what people see. */
void display_attach(struct machine *m, struct display *d);
void display_detach(struct machine *m, struct display *d);
void display_refresh(struct display *d);

/* Writes the picture: format "ppm" or "png". The descriptor stays the caller's. */
int display_save(struct display *d, int fd, const char *format, struct err **err) MUST_CHECK;
