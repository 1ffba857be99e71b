/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * caps.h - capabilities of the host and of domains, as XML.
 */
#pragma once

#include "base/err.h"

struct world;

/* Owned by the caller. */
char *caps_host(struct world *w, struct err **err);
char *caps_domain(struct world *w, const char *emulator, const char *arch, const char *machine,
                  const char *type, struct err **err);
/* What domains get that name none; NULL: nothing is installed. */
const char *caps_default_emulator(const char *arch);
void caps_set_emulator(const char *path);
