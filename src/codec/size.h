/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * size.h - sizes and times as people read them. (Sizes are parsed by opt_parse_size().)
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SIZE_TEXT_BYTES = 32 };

/* "1.5 GiB", "512 B": three significant digits, as qemu-img writes them. */
const char *size_format(uint64_t bytes, char buf[SIZE_TEXT_BYTES]);

/* "10", "10s", "5m", "2h", "1.5s", "200ms" as microseconds: 0, -EINVAL, -ERANGE. */
int duration_parse(const char *s, uint64_t *ret_usec);
