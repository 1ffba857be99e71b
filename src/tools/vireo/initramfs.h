/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * initramfs.h - the initial file system of `vireo run`'s guests: our init, busybox, the modules
 * asked for, and /vireo.conf, as one cpio archive (newc,
 * Documentation/driver-api/early-userspace/buffer-format.rst).
 */
#pragma once

#include "base/err.h"
#include "tools/vireo/kernel.h"

#include <stdint.h>

struct initramfs_spec {
    const struct guest_kernel *kernel;
    const char *const *modules; /* names without .ko, ends with NULL; dependencies are added */
    const char *conf;           /* what follows the module lines of /vireo.conf: NUL-separated */
    size_t conf_len;
};

/* A memory file with the archive; the caller closes it. */
int initramfs_build(const struct initramfs_spec *spec, int *ret_fd, struct err **err) MUST_CHECK;
