/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * server.h - QMP, QEMU's machine protocol (QEMU documentation, interop/qmp-spec): JSON objects, a
 * line each. Main loop only.
 */
#pragma once

#include "base/err.h"

struct config;
struct machine;
struct qmp;

/* The monitors of -qmp and -mon mode=control; *ret is NULL when there are none. */
int qmp_open(struct machine *m, const struct config *c, struct qmp **ret, struct err **err)
    MUST_CHECK;
struct qmp *qmp_close(struct qmp *qmp);
