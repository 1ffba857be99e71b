/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * broker.h - a process outside the sandbox that opens files and sockets by name for the emulator.
 *
 * It is forked before anything else is opened, keeps one end of a socket, and opens what a request
 * names: what QMP commands ask for while the guest runs. It ends with the emulator.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct machine;

/* *ret: the emulator's end. uid, gid: who it is; 0: who we are. */
int broker_start(unsigned uid, unsigned gid, int *ret, struct err **err) MUST_CHECK;
/* From now on machine_open_file() and the block layer open by the broker. */
void broker_use(struct machine *m, int fd);
/* A stream socket that a QMP command names, listening or connected. port: NULL when place is a
 * unix socket's path, else place is the host. */
int machine_open_socket(struct machine *m, bool listening, const char *place, const char *port,
                        int *ret, struct err **err) MUST_CHECK;
