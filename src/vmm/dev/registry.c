/* SPDX-License-Identifier: GPL-2.0-or-later */
/* registry.c - every device model, in the order of -device help. */
#include "vmm/dev/device.h"

extern const struct device_class virtio_blk_class;
extern const struct device_class virtio_fs_class;
extern const struct device_class virtio_net_class;
extern const struct device_class virtio_serial_class;
extern const struct device_class virtconsole_class;
extern const struct device_class virtserialport_class;
extern const struct device_class virtio_rng_class;
extern const struct device_class serial_class;
extern const struct device_class debugcon_class;
extern const struct device_class debugexit_class;
extern const struct device_class testdev_class;
extern const struct device_class fw_cfg_class;
extern const struct device_class ged_class;
extern const struct device_class i8042_class;
extern const struct device_class mc146818_class;

const struct device_class *const device_classes[] = {
    &virtio_blk_class,  &virtio_fs_class,      &virtio_net_class, &virtio_serial_class,
    &virtconsole_class, &virtserialport_class, &virtio_rng_class, &serial_class,
    &debugcon_class,    &debugexit_class,      &testdev_class,    &fw_cfg_class,
    &ged_class,         &i8042_class,          &mc146818_class,   NULL,
};
