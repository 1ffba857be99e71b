/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent.h - the guest agent's commands. The connection is made when it is first needed.
 *
 * What comes back was written by the guest: nothing in it may be trusted.
 */
#pragma once

#include "mgmt/driver/qemu/run.h"

/* args (may be NULL) is consumed, *ret (may be NULL) is counted by the caller. */
int agent_run(struct domain *d, const char *command, struct json_object *args,
              struct json_object **ret, struct err **err);
int agent_run_wait(struct domain *d, const char *command, struct json_object *args,
                   uint64_t wait_usec, struct json_object **ret, struct err **err);
/* A command and its answer as text; the answer is owned by the caller. */
int agent_raw(struct domain *d, const char *text, uint64_t wait_usec, char **ret, struct err **err);

/* Stops writing to these file systems (n 0: to all); *ret (may be NULL): how many. */
int agent_freeze(struct domain *d, char *const *mounts, uint32_t n, int *ret, struct err **err);
int agent_thaw(struct domain *d, int *ret, struct err **err);
