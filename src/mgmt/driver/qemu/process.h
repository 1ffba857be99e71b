/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * process.h - starting an emulator, taking one over after our own restart, and its end.
 */
#pragma once

#include "mgmt/driver/qemu/run.h"

struct start_spec {
    bool paused;
    int incoming_fd;      /* a saved state to read; -1: none; owned */
    const char *incoming; /* "tcp:..." for migration; the caller goes on from there; NULL */
    const char *loadvm;
    int running_reason, started_detail; /* what is said when it runs */
    bool quiet;                         /* emits no events: the caller does */
};

/* Under the domain's job, on a worker. */
int process_start(struct domain *d, const struct start_spec *spec, struct err **err) MUST_CHECK;
/* Ends it and waits until it is gone. No job needed. */
int process_stop(struct domain *d, int shutoff_reason, int stopped_detail, struct err **err);
/* The part of ending that is for any cause; on the loop or a worker. */
void process_ended(struct run *r, int shutoff_reason, int stopped_detail);
/* Writes the state file of a running domain. */
void process_save(struct domain *d);
/* Takes over what the state folder says is running. On a worker. */
void process_adopt_all(struct world *w);
/* Starts the vCPUs or stops them, with state and event. */
int process_cont(struct domain *d, int running_reason, int resumed_detail, struct err **err);
int process_pause(struct domain *d, int paused_reason, int suspended_detail, struct err **err);
/* A connection to a socket of the emulator's: a descriptor or a negative errno. */
int process_connect(const char *path);
