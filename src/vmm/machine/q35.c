/* SPDX-License-Identifier: GPL-2.0-or-later */
/* q35.c - machine q35: 00.0 host bridge, 1f.0 LPC, 1f.2 AHCI, 1f.3 SMBus; USB at 1d when asked for.
 */
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/device.h"
#include "vmm/machine/pc.h"

#include "base/str.h"

#define LOW_MAX     0xb0000000u
#define LOW_ALIGNED 0x80000000u

static int q35_machine_init(struct machine *m, struct err **err)
{
    struct pc *pc = m->board;
    int r;

    pc->q35 = true;
    r = pc_init(m, m->ram_bytes >= LOW_MAX ? LOW_ALIGNED : LOW_MAX, err);
    if (r == 0) {
        r = pci_bus_new(m, "pcie.0", NULL, true, &m->pci_root, err);
    }
    if (r == 0) {
        r = device_create_text(m, "mch,addr=0", NULL, err);
    }
    if (r == 0) {
        r = device_create_text(m, "ICH9-LPC,addr=1f.0,multifunction=on", NULL, err);
    }
    if (r == 0 && pc->sata) {
        r = device_create_text(m, "ich9-ahci,addr=1f.2", NULL, err);
    }
    if (r == 0 && pc->usb) {
        r = device_create_text(m, "ich9-usb-uhci1,addr=1d.0,id=usb", NULL, err);
    }
    return r == 0 && pc->smbus ? device_create_text(m, "ICH9-SMB,addr=1f.3", NULL, err) : r;
}

const struct machine_class q35_class = {
    .name = "pc-q35-7.2",
    .alias = "q35",
    .prefix = "pc-q35-",
    .desc = "Standard PC (Q35 + ICH9, 2009)",
    .opts = pc_opts,
    .board_size = sizeof(struct pc),
    .max_cpus = MACHINE_MAX_VCPUS,
    .default_cpu = "qemu64",
    .default_nic = "e1000e",
    .default_vga = "VGA",
    .disk_interface = "ide",
    .init = q35_machine_init,
    .finish = pc_finish,
    .done = pc_done,
    .add_serial = pc_add_serial,
    .add_flash = pc_add_flash,
};
