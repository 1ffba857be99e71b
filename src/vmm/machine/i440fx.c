/* SPDX-License-Identifier: GPL-2.0-or-later */
/* i440fx.c - machine pc: 00.0 host bridge, 01.0 ISA, 01.1 IDE, 01.2 USB (when asked for), 01.3
 * power management. */
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/device.h"
#include "vmm/machine/pc.h"

#include "base/str.h"

#define LOW_MAX     0xe0000000u
#define LOW_ALIGNED 0xc0000000u

static int i440fx_machine_init(struct machine *m, struct err **err)
{
    struct pc *pc = m->board;
    int r = pc_init(m, m->ram_bytes >= LOW_MAX ? LOW_ALIGNED : LOW_MAX, err);

    if (r == 0) {
        r = pci_bus_new(m, "pci.0", NULL, false, &m->pci_root, err);
    }
    if (r == 0) {
        r = device_create_text(m, "i440FX,addr=0", NULL, err);
    }
    if (r == 0) {
        r = device_create_text(m, "PIIX3,addr=1.0,multifunction=on", NULL, err);
    }
    if (r == 0) {
        r = device_create_text(m, "piix3-ide,addr=1.1", NULL, err);
    }
    if (r == 0 && pc->usb) {
        r = device_create_text(m, "piix3-usb-uhci,addr=1.2,id=usb", NULL, err);
    }
    if (r == 0 && pc->acpi) {
        r = device_create_text(m, "PIIX4_PM,addr=1.3", NULL, err);
    }
    return r == 0 && pc->acpi ? device_create_text(m, "acpi-pci-hotplug", NULL, err) : r;
}

const struct machine_class pc_class = {
    .name = "pc-i440fx-7.2",
    .alias = "pc",
    .prefix = "pc-i440fx-",
    .desc = "Standard PC (i440FX + PIIX, 1996)",
    .opts = pc_opts,
    .board_size = sizeof(struct pc),
    .max_cpus = MACHINE_MAX_VCPUS,
    .default_cpu = "qemu64",
    .default_nic = "e1000",
    .default_vga = "VGA",
    .disk_interface = "ide",
    .init = i440fx_machine_init,
    .finish = pc_finish,
    .done = pc_done,
    .add_serial = pc_add_serial,
    .add_flash = pc_add_flash,
};
