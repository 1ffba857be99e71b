/* SPDX-License-Identifier: GPL-2.0-or-later */
/* secret.h - secrets belong to their calls (daemon/call_secret.c); the start loads them. */
#pragma once

struct world;

void secrets_load_all(struct world *w);
