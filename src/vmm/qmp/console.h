/* SPDX-License-Identifier: GPL-2.0-or-later */
/* console.h - human monitors: -monitor, -mon mode=readline, and those of -serial mon:DEV. */
#pragma once

#include "base/err.h"

struct config;
struct consoles;
struct machine;

int consoles_open(struct machine *m, const struct config *c, struct consoles **ret,
                  struct err **err) MUST_CHECK;
struct consoles *consoles_close(struct consoles *all);
