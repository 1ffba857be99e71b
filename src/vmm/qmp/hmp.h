/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hmp.h - the human monitor's commands. Main loop only. */
#pragma once

struct machine;

/* Runs a line; what is to be shown, owned by the caller (NULL: no memory). */
char *hmp_run(struct machine *m, const char *line);
