/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* Random bytes of the host's kernel, good for keys. Any thread. */
void random_bytes(void *out, size_t len);
