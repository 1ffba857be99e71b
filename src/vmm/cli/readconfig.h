/* SPDX-License-Identifier: GPL-2.0-or-later */
/* readconfig.h - -readconfig: options from a file of sections, as QEMU writes and reads it. */
#pragma once

#include "base/err.h"

/* Calls take for each section with the option's name ("device") and its argument ("e1000,id=n"). */
int readconfig(const char *path, int (*take)(void *arg, const char *option, const char *value,
                                             struct err **err),
               void *arg, struct err **err) MUST_CHECK;
