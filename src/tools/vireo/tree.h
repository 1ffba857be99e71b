/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree.h - names under their parents, as lines are drawn on a terminal. */
#pragma once

#include <stdint.h>

/* parents[i]: a name of the list, or NULL (or one that is not there) for a root. */
void tree_print(const char *const *names, const char *const *parents, uint32_t n);
