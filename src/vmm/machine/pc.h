/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc.h - what pc (i440FX, PIIX) and q35 (ICH9) have in common.
 *
 *     0x00000000  RAM: 640 KiB, video window, from 0xc0000 on RAM again up to ram_low
 *     0x000e0000  the firmware's last 128 KiB, copied at each reset
 *     ram_low..   PCI; q35: configuration space at 0xb0000000
 *     0xfec00000  IOAPIC     0xfed00000  HPET     0xfee00000  local APICs
 *     below 4 GiB firmware: a ROM, or flash
 *     4 GiB..     the rest of RAM, then 64-bit PCI
 */
#pragma once

#include "vmm/machine/class.h"
#include "vmm/machine/machine.h"

enum { PC_MAX_FLASH = 2 };

struct pc {
    /* Options. */
    bool acpi, hpet, pit, usb, smbus, sata, graphics, dump_guest_core, mem_merge, nvdimm, i8042,
        pic;
    bool suppress_vmdesc, default_bus_bypass_iommu, hmat, fd_bootchk;
    char *memory_backend, *kernel_irqchip, *smm, *vmport, *pflash0, *pflash1, *pcspk_audiodev;
    char *max_ram_below_4g, *smbios_entry_point_type, *confidential, *x_direct;
    /* State. */
    bool q35;
    uint64_t ram_low, ram_high;
    struct device *fw_cfg, *rtc;
    char *flash[PC_MAX_FLASH]; /* owned: block nodes */
    bool has_serial[4], has_parallel;
};

extern const struct opt pc_opts[];

/* low_max: where RAM below 4 GiB ends at most. Memory, interrupt controllers, ISA devices. */
int pc_init(struct machine *m, uint64_t low_max, struct err **err) MUST_CHECK;
int pc_finish(struct machine *m, const struct board_config *config, struct err **err) MUST_CHECK;
int pc_add_serial(struct machine *m, unsigned index, const char *chardev, struct err **err)
    MUST_CHECK;
int pc_add_flash(struct machine *m, unsigned unit, const char *node, struct err **err) MUST_CHECK;
void pc_done(struct machine *m);

/* pc_firmware.c */
int pc_load_firmware(struct machine *m, const struct board_config *config, struct err **err)
    MUST_CHECK;
/* pc_tables.c: fw_cfg's items, ACPI, SMBIOS; *ret_rsdp: where, when the tables are put into memory
 * because nobody else would. */
int pc_add_tables(struct machine *m, const struct board_config *config, bool direct,
                  uint64_t *ret_rsdp, struct err **err) MUST_CHECK;
/* pc_kernel.c: -kernel through fw_cfg and an option ROM, or without firmware. */
int pc_load_kernel(struct machine *m, const struct board_config *config, bool *ret_direct,
                   struct err **err) MUST_CHECK;
/* The file that tells firmware what to boot, from the devices' bootindex. */
int pc_add_boot_order(struct machine *m, const struct board_config *config, struct err **err)
    MUST_CHECK;
