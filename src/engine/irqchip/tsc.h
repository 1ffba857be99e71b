/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tsc.h - the host's time stamp counter and its frequency. Any thread.
 */
#pragma once

#include <stdint.h>

static inline uint64_t tsc_read(void)
{
    return __builtin_ia32_rdtsc();
}

/* kHz, measured once per process. */
uint32_t tsc_khz(void);

static inline uint64_t tsc_to_nsec(uint64_t ticks)
{
    return (uint64_t)((unsigned __int128)ticks * 1000000u / tsc_khz());
}
