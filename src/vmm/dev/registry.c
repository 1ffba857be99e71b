/* SPDX-License-Identifier: GPL-2.0-or-later */
/* registry.c - every device model, in the order of -device help. */
#include "vmm/dev/device.h"

extern const struct device_class virtio_blk_class;
extern const struct device_class virtio_blk_pci_class;
extern const struct device_class virtio_fs_class;
extern const struct device_class virtio_fs_pci_class;
extern const struct device_class virtio_9p_class;
extern const struct device_class virtio_9p_pci_class;
extern const struct device_class virtio_net_class;
extern const struct device_class virtio_net_pci_class;
extern const struct device_class virtio_serial_class;
extern const struct device_class virtio_serial_pci_class;
extern const struct device_class virtconsole_class;
extern const struct device_class virtserialport_class;
extern const struct device_class virtio_rng_class;
extern const struct device_class virtio_rng_pci_class;
extern const struct device_class virtio_balloon_class;
extern const struct device_class virtio_balloon_pci_class;
extern const struct device_class e1000_class;
extern const struct device_class e1000e_class;
extern const struct device_class root_port_class;
extern const struct device_class acpi_hotplug_class;
extern const struct device_class ide_hd_class;
extern const struct device_class ide_cd_class;
extern const struct device_class ich9_ahci_class;
extern const struct device_class piix3_ide_class;
extern const struct device_class vga_class;
extern const struct device_class serial_class;
extern const struct device_class debugcon_class;
extern const struct device_class debugexit_class;
extern const struct device_class testdev_class;
extern const struct device_class fw_cfg_class;
extern const struct device_class ged_class;
extern const struct device_class i8042_class;
extern const struct device_class mc146818_class;
extern const struct device_class hpet_class;
extern const struct device_class pflash_class;
extern const struct device_class i440fx_class;
extern const struct device_class piix3_class;
extern const struct device_class piix4_pm_class;
extern const struct device_class mch_class;
extern const struct device_class ich9_lpc_class;
extern const struct device_class ich9_smb_class;
extern const struct device_class piix3_uhci_class;
extern const struct device_class piix4_uhci_class;
extern const struct device_class ich9_uhci1_class;
extern const struct device_class ich9_uhci2_class;
extern const struct device_class ich9_uhci3_class;
extern const struct device_class qemu_xhci_class;
extern const struct device_class nec_xhci_class;
extern const struct device_class virtio_gpu_class;
extern const struct device_class virtio_gpu_pci_class;
extern const struct device_class virtio_vga_class;
extern const struct device_class virtio_scsi_class;
extern const struct device_class virtio_scsi_pci_class;
extern const struct device_class scsi_hd_class;
extern const struct device_class scsi_cd_class;
extern const struct device_class nvme_class;
extern const struct device_class virtio_keyboard_class;
extern const struct device_class virtio_keyboard_pci_class;
extern const struct device_class virtio_mouse_class;
extern const struct device_class virtio_mouse_pci_class;
extern const struct device_class virtio_tablet_class;
extern const struct device_class virtio_tablet_pci_class;
extern const struct device_class pvpanic_class;
extern const struct device_class pvpanic_pci_class;
extern const struct device_class i6300esb_class;
extern const struct device_class usb_tablet_class;
extern const struct device_class usb_mouse_class;
extern const struct device_class usb_kbd_class;
extern const struct device_class usb_storage_class;

const struct device_class *const device_classes[] = {
    &virtio_blk_class,    &virtio_blk_pci_class,
    &virtio_fs_class,     &virtio_fs_pci_class,
    &virtio_9p_class,     &virtio_9p_pci_class,
    &virtio_net_class,    &virtio_net_pci_class,
    &virtio_serial_class, &virtio_serial_pci_class,
    &virtconsole_class,   &virtserialport_class,
    &virtio_rng_class,    &virtio_rng_pci_class,
    &virtio_balloon_class, &virtio_balloon_pci_class,
    &e1000_class,         &e1000e_class,
    &root_port_class,     &acpi_hotplug_class,
    &ide_hd_class,        &ide_cd_class,
    &ich9_ahci_class,     &piix3_ide_class,
    &vga_class,           &serial_class,
    &debugcon_class,      &debugexit_class,
    &testdev_class,       &fw_cfg_class,
    &ged_class,           &i8042_class,
    &mc146818_class,      &hpet_class,
    &pflash_class,        &i440fx_class,
    &piix3_class,         &piix4_pm_class,
    &mch_class,           &ich9_lpc_class,
    &ich9_smb_class,
    &piix3_uhci_class,
    &piix4_uhci_class,
    &ich9_uhci1_class,
    &ich9_uhci2_class,
    &ich9_uhci3_class,
    &qemu_xhci_class,
    &nec_xhci_class,
    &virtio_gpu_class,
    &virtio_gpu_pci_class,
    &virtio_vga_class,
    &virtio_scsi_class,
    &virtio_scsi_pci_class,
    &scsi_hd_class,
    &scsi_cd_class,
    &nvme_class,
    &virtio_keyboard_class,
    &virtio_keyboard_pci_class,
    &virtio_mouse_class,
    &virtio_mouse_pci_class,
    &virtio_tablet_class,
    &virtio_tablet_pci_class,
    &pvpanic_class,
    &pvpanic_pci_class,
    &i6300esb_class,
    &usb_tablet_class,
    &usb_mouse_class,
    &usb_kbd_class,
    &usb_storage_class,
    NULL,
};
