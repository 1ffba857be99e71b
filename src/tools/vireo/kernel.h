/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel.h - where the guest's kernel, its modules and busybox come from: the installed Debian
 * packages, or, without root, the packages unpacked into the cache.
 */
#pragma once

#include "base/err.h"

struct guest_kernel {
    char *image;   /* bzImage */
    char *version; /* 6.1.0-56-cloud-amd64 */
    char *modules; /* the folder lib/modules/VERSION; NULL: none */
    char *busybox; /* static */
};

int guest_kernel_find(struct guest_kernel *ret, struct err **err) MUST_CHECK;
void guest_kernel_done(struct guest_kernel *k);
