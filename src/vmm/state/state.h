/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state.h - saving and restoring a whole machine: RAM, CPUs, interrupt controllers, devices.
 *
 * The machine is paused and its disks are idle. What is restored goes into a machine of the same
 * kind with the same devices in the same order; records carry names, so that a machine that differs
 * is refused by the name of what differs. Main loop only.
 */
#pragma once

#include "base/err.h"

struct machine;
struct state_stream;

int state_save(struct machine *m, struct state_stream *s, struct err **err) MUST_CHECK;
int state_load(struct machine *m, struct state_stream *s, struct err **err) MUST_CHECK;

/* cpu.c */
void state_save_cpus(struct machine *m, struct state_stream *s);
int state_load_cpus(struct machine *m, struct state_stream *s, struct err **err) MUST_CHECK;
/* device.c */
void state_save_devices(struct machine *m, struct state_stream *s);
int state_load_devices(struct machine *m, struct state_stream *s, struct err **err) MUST_CHECK;

/* snapshot.c: all writable images that can hold snapshots, and the state in the first of them. */
int state_savevm(struct machine *m, const char *name, struct err **err) MUST_CHECK;
int state_loadvm(struct machine *m, const char *name, struct err **err) MUST_CHECK;
int state_delvm(struct machine *m, const char *name, struct err **err) MUST_CHECK;
