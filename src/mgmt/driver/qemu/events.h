/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * events.h - what the emulator says by itself, made into the domain's state and our events.
 */
#pragma once

#include "mgmt/driver/qemu/run.h"

struct json_object;

void events_take(void *arg, const char *name, struct json_object *data, int64_t sec, unsigned usec);
void events_agent_lifecycle(struct domain *d, int state, int reason);
void events_device(struct domain *d, bool added, const char *alias);
void events_block_job(struct domain *d, const char *path, const char *dst, int type, int status);
void events_disk_change(struct domain *d, const char *old, const char *new_path, const char *alias,
                        int reason);
/* What run.stats says. */
void events_job_completed(struct domain *d);
void events_tunable(struct domain *d, const char *field, uint64_t value);

/* A device that a command asked the guest to give back. */
struct device_wait {
    struct list link;
    const char *alias;
    bool gone, refused;
};
