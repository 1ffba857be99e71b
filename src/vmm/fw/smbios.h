/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smbios.h - SMBIOS tables (DSP0134 2.8): what dmidecode shows. */
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct keyval;

struct smbios_config {
    struct keyval *const *options; /* -smbios, borrowed */
    size_t n_options;
    const char *product, *version;
    const uint8_t *uuid; /* NULL: none */
    const char *cpu;
    unsigned n_cpus, sockets, cores, threads;
    uint64_t ram_low, ram_high;
};

/* Tables and the 31-byte anchor. *ret owned by the caller. */
int smbios_build(const struct smbios_config *c, uint8_t **ret, size_t *ret_len, uint8_t anchor[31],
                 struct err **err) MUST_CHECK;
