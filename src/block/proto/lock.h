/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lock.h - image locks that QEMU's programs and ours understand alike.
 *
 * Each permission has two bytes of the file: byte 100+i is read-locked by who uses permission i,
 * byte 200+i by who does not want others to use it. Taking them never fails; then each side looks
 * whether the other's byte is locked. OFD locks, so that they belong to the open file.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PERM_CONSISTENT_READ = 1 << 0,
    PERM_WRITE = 1 << 1,
    PERM_WRITE_UNCHANGED = 1 << 2,
    PERM_RESIZE = 1 << 3,
    PERM_ALL = 15,
};

/* perm: what we use; shared: what others may use. -EBUSY with the text when somebody objects. */
int image_lock(int fd, const char *path, unsigned perm, unsigned shared, struct err **err)
    MUST_CHECK;
