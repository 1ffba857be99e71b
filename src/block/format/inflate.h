/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inflate.h - whole blocks that formats keep compressed. */
#pragma once

#include "base/own.h"

#include <stddef.h>
#include <stdint.h>

/* A zlib stream (RFC 1950) of exactly out_len bytes. */
int inflate_zlib(const void *in, size_t len, void *out, size_t out_len) MUST_CHECK;
/* A bzip2 stream of at most out_len bytes, the rest zeroed; opens libbz2. */
int inflate_bzip2(const void *in, size_t len, void *out, size_t out_len) MUST_CHECK;
