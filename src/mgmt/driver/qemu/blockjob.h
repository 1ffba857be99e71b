/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockjob.h - the emulator's JOB_STATUS_CHANGE events move our block jobs (call_block.c). */
#pragma once

#include "mgmt/driver/qemu/run.h"

struct json_object;

void blockjob_status(struct run *r, struct json_object *data);
/* The run is over. */
void blockjob_forget(struct run *r);
