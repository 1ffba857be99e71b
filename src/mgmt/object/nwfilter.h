/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nwfilter.h - network filters belong to their calls (daemon/call_nwfilter.c); the start loads them. */
#pragma once

struct world;

void nwfilters_load_all(struct world *w);
