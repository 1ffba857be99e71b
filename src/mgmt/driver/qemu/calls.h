/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls.h - the calls that only an emulator can answer, by area.
 */
#pragma once

#include "mgmt/server/qemu-ops.h"
#include "mgmt/server/remote-ops.h"

extern const struct remote_ops qemu_calls;
extern const struct qemu_ops qemu_own_calls;
