/* SPDX-License-Identifier: GPL-2.0-or-later */
/* registry.c - every hypervisor driver. */
#include "mgmt/driver/driver.h"

#include <stddef.h>

extern const struct driver driver_qemu;
extern const struct driver driver_test;

const struct driver *const drivers[] = {
    &driver_qemu,
    &driver_test,
    NULL,
};
