/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * terminal.h - the user's terminal in raw mode, and its certain return to what it was.
 *
 * Restored at terminal_restore(), at exit(), and by the signals that end a program.
 */
#pragma once

#include <stdbool.h>
#include <sys/ioctl.h>

/* False when stdin and stdout are not both a terminal. */
bool terminal_raw(void);
void terminal_restore(void);
/* The size now; false when unknown. */
bool terminal_size(struct winsize *ret);
