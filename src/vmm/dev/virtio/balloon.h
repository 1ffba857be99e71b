/* SPDX-License-Identifier: GPL-2.0-or-later */
/* balloon.h - the machine's memory balloon, as QMP's balloon and query-balloon see it. Main loop. */
#pragma once

#include "base/err.h"

#include <stdint.h>

struct machine;

/* The guest shall have that much; the most is what it was given. */
int balloon_set(struct machine *m, uint64_t bytes, struct err **err) MUST_CHECK;
/* What the guest has now. */
int balloon_get(struct machine *m, uint64_t *ret_bytes, struct err **err) MUST_CHECK;
