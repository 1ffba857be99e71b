/* SPDX-License-Identifier: GPL-2.0-or-later */
/* confine.h - the emulator gives up what it does not need before the guest runs. */
#pragma once

#include "base/err.h"

struct machine;

int confine(struct machine *m, struct err **err) MUST_CHECK;
