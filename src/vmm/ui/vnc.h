/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnc.h - the screen, keyboard and pointer for VNC viewers. Main loop only. */
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct keyval;
struct machine;
struct vnc;

/* opts of -vnc: "display" (HOST:N, :N, unix:PATH, none), "to", "password". *ret stays NULL for
 * none. */
int vnc_open(struct machine *m, struct keyval *opts, struct vnc **ret, struct err **err) MUST_CHECK;
struct vnc *vnc_close(struct vnc *v);
/* Of viewers that come from now on; with password=on only. */
int vnc_set_password(struct vnc *v, const char *password, struct err **err) MUST_CHECK;
/* Where it listens: "127.0.0.1" and "5900". */
const char *vnc_host(const struct vnc *v);
const char *vnc_service(const struct vnc *v);
/* A viewer whose connection somebody else has made; the descriptor becomes ours. */
void vnc_add_client(struct vnc *v, int fd);
