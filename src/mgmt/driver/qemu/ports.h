/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ports.h - TCP ports for displays and migration: ours to give while nobody else listens there.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>

int ports_take(unsigned first, unsigned last, unsigned *ret, struct err **err) MUST_CHECK;
/* A port that an earlier daemon gave. */
void ports_mark(unsigned port);
void ports_give_back(unsigned port);
