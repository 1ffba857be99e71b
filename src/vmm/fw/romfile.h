/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romfile.h - firmware and option ROMs by name, where QEMU's packages put them. */
#pragma once

#include "base/err.h"

#include <stddef.h>

struct machine;

/* The path of a file that is named without a folder: looked for in -L's, then in the folders of
 * Debian's seabios, ovmf, ipxe-qemu and qemu-system-data. Owned by the caller; an error names it.
 */
int romfile_find(struct machine *m, const char *name, char **ret, struct err **err) MUST_CHECK;
/* The bytes of it, at most max. */
int romfile_read(struct machine *m, const char *name, size_t max, char **ret, size_t *ret_len,
                 struct err **err) MUST_CHECK;
