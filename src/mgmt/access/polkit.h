/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * polkit.h - asking polkit over the system bus (sd-bus).
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct client;

/* interactive: an agent may ask the user. 0, -EACCES, or what kept us from asking. */
int polkit_check(struct client *c, const char *action, bool interactive, struct err **err);
