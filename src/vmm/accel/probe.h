/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * probe.h - does an accelerator really run guests? Opening /dev/kvm proves nothing: there are hosts
 * where it opens and cannot run a kernel.
 *
 * A small 64-bit guest with paging uses int3, cmpxchg16b, xrstor, wrmsr and iretq and takes an
 * interrupt, in a child process with a time limit.
 */
#pragma once

#include <stdbool.h>

struct accel_provider;

enum { PROBE_WHY_BYTES = 160 };

struct probe_result {
    bool ok;
    bool cached;
    char why[PROBE_WHY_BYTES]; /* one phrase, when not ok */
};

void probe_run(const struct accel_provider *p, struct probe_result *ret);
/* The same, remembered until the host is booted again ($XDG_CACHE_HOME/vireo/kvm-probe). */
void probe_run_cached(const struct accel_provider *p, struct probe_result *ret);
