/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stub.h - the remote end of gdb (-gdb, -s): the guest's CPUs are its threads. Main loop. */
#pragma once

#include "base/err.h"

struct gdb_stub;
struct machine;

/* at: a character device's short form, as "tcp::1234". */
int gdb_open(struct machine *m, const char *at, struct gdb_stub **ret, struct err **err) MUST_CHECK;
struct gdb_stub *gdb_close(struct gdb_stub *g);
