/* SPDX-License-Identifier: GPL-2.0-or-later */
/* help.h - listings, all made from the tables. On stdout. */
#pragma once

#include "base/err.h"

void help_version(void);
void help_machines(void);
void help_cpus(void);
void help_devices(void);
int help_device(const char *name, struct err **err) MUST_CHECK;
void help_accels(void);
