/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/pc.h"

#include "base/bytes.h"
#include "base/str.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/device.h"
#include "vmm/dev/timer/mc146818.h"

#include <errno.h>

#define FOUR_GIB 0x100000000ull
#define MEM_MIN  0x00100000u

enum { VIDEO_WINDOW = 0xa0000, VIDEO_END = 0xc0000 };

const struct opt pc_opts[] = {
    OPT_BOOL(struct pc, acpi, "acpi", "on", "ACPI tables"),
    OPT_BOOL(struct pc, hpet, "hpet", "on", "high-precision event timer"),
    OPT_BOOL(struct pc, pit, "pit", "on", "interval timer"),
    OPT_BOOL(struct pc, pic, "pic", "on", "accepted: on"),
    OPT_BOOL(struct pc, usb, "usb", "off", "a USB controller"),
    OPT_BOOL(struct pc, i8042, "i8042", "on", "PS/2 keyboard and mouse"),
    OPT_BOOL(struct pc, smbus, "smbus", "on", "SMBus controller (q35)"),
    OPT_BOOL(struct pc, sata, "sata", "on", "AHCI controller (q35)"),
    OPT_BOOL(struct pc, graphics, "graphics", "on", "a graphics card by default"),
    OPT_BOOL(struct pc, dump_guest_core, "dump-guest-core", "off", "accepted"),
    OPT_BOOL(struct pc, mem_merge, "mem-merge", "on", "accepted"),
    OPT_BOOL(struct pc, nvdimm, "nvdimm", "off", "accepted: off"),
    OPT_BOOL(struct pc, hmat, "hmat", "off", "accepted: off"),
    OPT_BOOL(struct pc, suppress_vmdesc, "suppress-vmdesc", "off", "accepted"),
    OPT_BOOL(struct pc, default_bus_bypass_iommu, "default-bus-bypass-iommu", "off", "accepted"),
    OPT_BOOL(struct pc, fd_bootchk, "fd-bootchk", "on", "accepted"),
    OPT_STR(struct pc, memory_backend, "memory-backend", NULL, "object that is the RAM"),
    OPT_STR(struct pc, kernel_irqchip, "kernel-irqchip", "on", "accepted: on"),
    OPT_STR(struct pc, smm, "smm", "auto", "system-management mode: auto or off"),
    OPT_STR(struct pc, vmport, "vmport", "auto", "accepted: auto or off"),
    OPT_STR(struct pc, pflash0, "pflash0", NULL, "block node of the firmware flash"),
    OPT_STR(struct pc, pflash1, "pflash1", NULL, "block node of its variables"),
    OPT_STR(struct pc, pcspk_audiodev, "pcspk-audiodev", NULL, "accepted"),
    OPT_STR(struct pc, max_ram_below_4g, "max-ram-below-4g", NULL, "RAM below 4 GiB"),
    OPT_STR(struct pc, smbios_entry_point_type, "smbios-entry-point-type", "32", "accepted: 32"),
    OPT_END,
};

static int add_ram(struct machine *m, struct err **err)
{
    struct pc *pc = m->board;
    int r = gmem_add(&m->mem, "pc.ram", 0, VIDEO_WINDOW, false, err);

    if (r == 0) {
        r = gmem_add(&m->mem, "pc.ram-low", VIDEO_END, pc->ram_low - VIDEO_END, false, err);
    }
    if (r == 0 && pc->ram_high > 0) {
        r = gmem_add(&m->mem, "pc.ram-high", FOUR_GIB, pc->ram_high, false, err);
    }
    return r;
}

static int check_options(const struct pc *pc, struct err **err)
{
    if (!str_eq(pc->kernel_irqchip, "on") && !str_eq(pc->kernel_irqchip, "split")) {
        return err_set(err, EINVAL, "-machine: kernel-irqchip=%s is not supported: use on",
                       pc->kernel_irqchip);
    }
    if (str_eq(pc->smm, "on")) {
        return err_set(err, ENOTSUP,
                       "-machine: smm=on: there is no system-management mode; use "
                       "firmware built without it");
    }
    if (pc->nvdimm || pc->hmat) {
        return err_set(err, ENOTSUP, "-machine: nvdimm and hmat are not supported");
    }
    return 0;
}

int pc_init(struct machine *m, uint64_t low_max, struct err **err)
{
    struct pc *pc = m->board;
    uint64_t cap;
    int r = check_options(pc, err);

    if (r < 0) {
        return r;
    }
    if (m->ram_bytes < MEM_MIN || m->ram_bytes % 4096 != 0) {
        return err_set(err, EINVAL, "-m: memory must be 1 MiB or more, in pages of 4 KiB");
    }
    if (pc->max_ram_below_4g != NULL) {
        if (opt_parse_size(pc->max_ram_below_4g, &cap) < 0 || cap < MEM_MIN || cap > low_max ||
            cap % 4096 != 0) {
            return err_set(err, EINVAL, "-machine: max-ram-below-4g=%s: at most %llu MiB",
                           pc->max_ram_below_4g, (unsigned long long)low_max >> 20);
        }
        low_max = cap;
    }
    pc->ram_low = min_u64(m->ram_bytes, low_max);
    pc->ram_high = m->ram_bytes - pc->ram_low;
    r = add_ram(m, err);
    if (r == 0 && m->accel != NULL) {
        r = accel_make_irqchip(m->accel, pc->pit, err);
    }
    if (r == 0) {
        r = device_create_text(m, "fw_cfg_io", &pc->fw_cfg, err);
    }
    if (r == 0) {
        r = device_create_text(m, pc->i8042 ? "i8042" : "i8042,keyboard=off", NULL, err);
    }
    if (r == 0) {
        r = device_create_text(m, "mc146818rtc", &pc->rtc, err);
    }
    if (r == 0 && pc->hpet) {
        r = device_create_text(m, "hpet", NULL, err);
    }
    return r;
}

int pc_add_serial(struct machine *m, unsigned index, const char *chardev, struct err **err)
{
    struct pc *pc = m->board;
    AUTO_FREE char *text =
        str_format("isa-serial,index=%u%s%s", index, chardev != NULL ? ",chardev=" : "",
                   chardev != NULL ? chardev : "");

    if (index >= sizeof(pc->has_serial)) {
        return err_set(err, EINVAL, "-serial: a PC has four ports");
    }
    return device_create_text(m, text, NULL, err);
}

int pc_add_flash(struct machine *m, unsigned unit, const char *node, struct err **err)
{
    struct pc *pc = m->board;

    if (unit >= PC_MAX_FLASH) {
        return err_set(err, EINVAL, "if=pflash: units are 0 and 1");
    }
    if (pc->flash[unit] != NULL) {
        return err_set(err, EEXIST, "if=pflash: unit %u is there already", unit);
    }
    pc->flash[unit] = strdup(node);
    return pc->flash[unit] != NULL ? 0 : err_set(err, ENOMEM, "no memory");
}

void pc_done(struct machine *m)
{
    struct pc *pc = m->board;

    for (unsigned i = 0; i < PC_MAX_FLASH; i++) {
        free(pc->flash[i]);
    }
}

int pc_finish(struct machine *m, const struct board_config *config, struct err **err)
{
    bool direct = false;
    uint64_t rsdp = 0;
    int r;

    for (unsigned i = 0; i < PC_MAX_FLASH; i++) {
        struct pc *pc = m->board;
        const char *node = i == 0 ? pc->pflash0 : pc->pflash1;

        if (node != NULL && pc->flash[i] == NULL) {
            r = pc_add_flash(m, i, node, err);
            if (r < 0) {
                return r;
            }
        }
    }
    r = pc_load_kernel(m, config, &direct, err);
    if (r == 0) {
        r = pc_add_boot_order(m, config, err);
    }
    if (r == 0) {
        r = pc_add_tables(m, config, direct, &rsdp, err);
    }
    return r == 0 && !direct ? pc_load_firmware(m, config, err) : r;
}
