/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * microvm.c - a machine without PCI: PIC, PIT, IOAPIC, RTC, one 16550, virtio by memory-mapped
 * registers, ACPI without fixed hardware.
 *
 *     0x00000000  RAM, up to 3 GiB (the rest from 4 GiB on)
 *     0xfea00000  generic event device
 *     0xfeb00000  virtio transports, 0x200 apart
 *     0xfec00000  IOAPIC     0xfee00000  local APICs
 *     below 4 GiB a ROM given with -bios, its last 128 KiB also below 1 MiB
 */
#include "vmm/machine/machine.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/str.h"
#include "codec/keyval.h"
#include "os/fd.h"
#include "vmm/accel/cpuid.h"
#include "vmm/dev/device.h"
#include "vmm/dev/misc/fw_cfg.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/fw/acpi.h"
#include "vmm/machine/class.h"

#include <errno.h>
#include <string.h>

#define LOW_RAM_MAX    0xc0000000u
#define GED_GPA        0xfea00000u
#define VIRTIO_GPA     0xfeb00000u
#define ROM_MAX        0x00800000u
#define MEM_MIN        0x00100000u
#define FOUR_GIB       0x100000000ull
#define LEGACY_ROM_MAX 0x20000u
#define RESET_STUB_GPA 0xffff0u

enum { VIRTIO_STRIDE = 0x200, GED_GSI = 9, MAX_VIRTIO = 14 };

/* IOAPIC pins that only virtio uses come first, then ISA pins that nothing here uses. Without ACPI
 * a kernel knows only the PIC: ISA pins. */
static const uint8_t virtio_gsis[MAX_VIRTIO] = { 16, 17, 18, 19, 20, 21, 22,
                                                 23, 5,  10, 11, 12, 15, 14 };
static const uint8_t virtio_isa_gsis[] = { 5, 6, 7, 10, 11, 12, 14, 15 };

struct microvm {
    /* Options. */
    bool pit, pic, rtc, isa_serial, acpi, auto_kernel_cmdline;
    bool x_option_roms, dump_guest_core, usb, graphics;
    char *memory_backend, *kernel_irqchip, *ioapic2;
    /* State. */
    struct acpi_config acpi_config;
    struct device *fw_cfg;
    struct strbuf cmdline_add;
};

static const struct opt microvm_opts[] = {
    OPT_BOOL(struct microvm, pit, "pit", "on", "interval timer"),
    OPT_BOOL(struct microvm, pic, "pic", "on", "8259 interrupt controllers"),
    OPT_BOOL(struct microvm, rtc, "rtc", "on", "real-time clock"),
    OPT_BOOL(struct microvm, isa_serial, "isa-serial", "on", "a first serial port"),
    OPT_BOOL(struct microvm, acpi, "acpi", "on", "ACPI tables"),
    OPT_BOOL(struct microvm, auto_kernel_cmdline, "auto-kernel-cmdline", "on",
             "without ACPI, name virtio devices on the kernel's command line"),
    OPT_BOOL(struct microvm, x_option_roms, "x-option-roms", "on", "accepted"),
    OPT_BOOL(struct microvm, dump_guest_core, "dump-guest-core", "off", "accepted"),
    OPT_BOOL(struct microvm, usb, "usb", "off", "accepted"),
    OPT_BOOL(struct microvm, graphics, "graphics", "on", "accepted"),
    OPT_STR(struct microvm, memory_backend, "memory-backend", NULL, "object that is the RAM"),
    OPT_STR(struct microvm, kernel_irqchip, "kernel-irqchip", "on", "accepted: on"),
    OPT_STR(struct microvm, ioapic2, "ioapic2", NULL, "accepted"),
    OPT_END,
};

static uint64_t ram_low(const struct machine *m)
{
    return min_u64(m->ram_bytes, LOW_RAM_MAX);
}

static int add_ram(struct machine *m, struct err **err)
{
    int r = gmem_add(&m->mem, "ram", 0, ram_low(m), false, err);

    if (r == 0 && m->ram_bytes > LOW_RAM_MAX) {
        r = gmem_add(&m->mem, "ram-high", FOUR_GIB, m->ram_bytes - LOW_RAM_MAX, false, err);
    }
    return r;
}

static int add_device(struct machine *m, const char *text, struct device **ret, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = keyval_parse(text, "driver", false, &kv, err);

    return r == 0 ? device_create(m, device_class_find(keyval_get(kv, "driver")), kv, ret, err) : r;
}

static int microvm_init(struct machine *m, struct err **err)
{
    struct microvm *mv = m->board;
    struct acpi_config *ac = &mv->acpi_config;
    AUTO_FREE char *ged = str_format("acpi-ged,addr=%u,gsi=%d", GED_GPA, GED_GSI);
    int r;

    mv->cmdline_add = (struct strbuf)STRBUF_INIT(4096);
    if (m->ram_bytes < MEM_MIN || m->ram_bytes % 4096 != 0) {
        return err_set(err, EINVAL, "-m: memory must be 1 MiB or more, in pages of 4 KiB");
    }
    if (mv->kernel_irqchip != NULL && !str_eq(mv->kernel_irqchip, "on")) {
        return err_set(err, EINVAL, "kernel-irqchip=%s is not supported: use on",
                       mv->kernel_irqchip);
    }
    r = add_ram(m, err);
    if (r == 0 && m->accel != NULL) {
        r = accel_make_irqchip(m->accel, mv->pit, err);
    }
    if (r == 0) {
        r = add_device(m, "i8042,keyboard=off", NULL, err);
    }
    if (r == 0 && ged != NULL) {
        r = add_device(m, ged, NULL, err);
    }
    if (r == 0 && mv->rtc) {
        r = add_device(m, "mc146818rtc", NULL, err);
    }
    if (r == 0) {
        r = add_device(m, "fw_cfg_io", &mv->fw_cfg, err);
    }
    ac->n_cpus = m->n_vcpus;
    ac->has_pic = mv->pic;
    ac->has_rtc = mv->rtc;
    ac->ged_gpa = GED_GPA;
    ac->ged_gsi = GED_GSI;
    ac->has_fw_cfg = true;
    return r;
}

static int microvm_claim_virtio(struct machine *m, struct device *dev, uint64_t *ret_gpa,
                                struct irq *ret_irq, struct err **err)
{
    struct microvm *mv = m->board;
    struct acpi_config *ac = &mv->acpi_config;
    unsigned i = ac->n_virtio;
    unsigned max = mv->acpi ? MAX_VIRTIO : sizeof(virtio_isa_gsis);
    unsigned gsi;

    (void)dev;
    if (i >= max) {
        return err_set(err, ENOSPC, "machine microvm has room for %u virtio devices", max);
    }
    gsi = mv->acpi ? virtio_gsis[i] : virtio_isa_gsis[i];
    *ret_gpa = VIRTIO_GPA + (uint64_t)i * VIRTIO_STRIDE;
    *ret_irq = machine_irq(m, gsi);
    ac->virtio[i].gpa = *ret_gpa;
    ac->virtio[i].gsi = gsi;
    ac->n_virtio++;
    if (!mv->acpi && mv->auto_kernel_cmdline) {
        strbuf_printf(&mv->cmdline_add, " virtio_mmio.device=512@0x%llx:%u",
                      (unsigned long long)*ret_gpa, gsi);
    }
    return 0;
}

static int microvm_add_serial(struct machine *m, unsigned index, const char *chardev,
                              struct err **err)
{
    struct microvm *mv = m->board;
    AUTO_FREE char *text =
        str_format("isa-serial,index=%u%s%s", index, chardev != NULL ? ",chardev=" : "",
                   chardev != NULL ? chardev : "");

    if (text == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    if (index == 0 && !mv->isa_serial) {
        return chardev == NULL ? 0 : err_set(err, EINVAL, "-serial needs -M microvm,isa-serial=on");
    }
    mv->acpi_config.has_serial |= index == 0;
    return add_device(m, text, NULL, err);
}

/* The ROM ends at 4 GiB; its last part is also where real mode looks after the first far jump. */
static int load_rom(struct machine *m, const char *path, struct err **err)
{
    AUTO_FREE char *rom = NULL;
    size_t len;
    uint64_t size;
    uint8_t *copy;
    int r = file_slurp(path, ROM_MAX, &rom, &len);

    if (r < 0) {
        return err_set(err, -r, "cannot read the ROM '%s': %s", path, strerror(-r));
    }
    if (len == 0) {
        return err_set(err, EINVAL, "the ROM '%s' is empty", path);
    }
    size = round_up_u64(len, 4096);
    r = gmem_add(&m->mem, "rom", FOUR_GIB - size, size, true, err);
    if (r == 0) {
        r = gmem_load(&m->mem, FOUR_GIB - len, rom, len);
    }
    copy = r == 0 ? gmem_map(&m->mem, FOUR_GIB - size, size, false) : NULL;
    if (copy != NULL) {
        uint64_t legacy = min_u64(size, LEGACY_ROM_MAX);

        r = boot_add_copy(&m->boot, 0x100000 - legacy, copy + size - legacy, legacy, err);
    }
    m->boot.entry.mode = BOOT_RESET_VECTOR;
    return r;
}

static int fill_fw_cfg(struct machine *m, const struct board_config *config, struct err **err)
{
    struct microvm *mv = m->board;
    struct device *fw = mv->fw_cfg;
    const char *cmdline = config->append != NULL ? config->append : "";
    int r = fw_cfg_add_u64(fw, FW_CFG_RAM_SIZE, m->ram_bytes, err);

    if (r == 0) {
        r = fw_cfg_add_u16(fw, FW_CFG_NB_CPUS, (uint16_t)m->n_vcpus, err);
    }
    if (r == 0) {
        r = fw_cfg_add_u16(fw, FW_CFG_MAX_CPUS, (uint16_t)m->n_vcpus, err);
    }
    if (r == 0) {
        r = fw_cfg_add(fw, FW_CFG_UUID, m->uuid, sizeof(m->uuid), err);
    }
    if (r == 0) {
        r = fw_cfg_add_u32(fw, FW_CFG_CMDLINE_SIZE, (uint32_t)strlen(cmdline) + 1, err);
    }
    return r == 0 ? fw_cfg_add(fw, FW_CFG_CMDLINE_DATA, cmdline, (uint32_t)strlen(cmdline) + 1, err)
                  : r;
}

/* Kernels that want to reboot by the firmware jump to the reset vector: there is no firmware, but a
 * few bytes that pull the keyboard controller's reset line. */
static const uint8_t reset_stub[] = {
    0xb0, 0xfe, /* mov $0xfe, %al */
    0xe6, 0x64, /* out %al, $0x64 */
    0xf4,       /* hlt */
    0xeb, 0xfd, /* jmp to hlt */
};

static int load_kernel(struct machine *m, const struct board_config *config, struct err **err)
{
    struct microvm *mv = m->board;
    AUTO_FREE char *extra = strbuf_take(&mv->cmdline_add);
    AUTO_FREE char *cmdline = str_format("%s%s", config->append != NULL ? config->append : "",
                                         extra != NULL ? extra : "");
    struct boot_params p = {
        .kernel = config->kernel,
        .initrd = config->initrd,
        .cmdline = cmdline,
        .ram_low = ram_low(m),
        .ram_high = m->ram_bytes - ram_low(m),
        .rsdp = mv->acpi ? ACPI_GPA : 0,
        .long_mode = cpu_model_has(m->cpu, "lm"),
    };
    int r = mv->acpi ? acpi_add(&m->boot, &mv->acpi_config, err) : 0;

    if (cmdline == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    if (r == 0) {
        r = boot_add_copy(&m->boot, RESET_STUB_GPA, reset_stub, sizeof(reset_stub), err);
    }
    return r == 0 ? boot_kernel(&m->boot, &p, err) : r;
}

static int microvm_finish(struct machine *m, const struct board_config *config, struct err **err)
{
    int r = fill_fw_cfg(m, config, err);

    if (r < 0) {
        return r;
    }
    if (config->bios != NULL) {
        r = load_rom(m, config->bios, err);
    } else if (config->kernel != NULL) {
        r = load_kernel(m, config, err);
    } else {
        m->boot.entry.mode = BOOT_RESET_VECTOR;
    }
    return r;
}

const struct machine_class microvm_class = {
    .name = "microvm",
    .desc = "a machine without PCI, booted directly",
    .opts = microvm_opts,
    .board_size = sizeof(struct microvm),
    .max_cpus = MACHINE_MAX_VCPUS,
    .default_cpu = "qemu64",
    .init = microvm_init,
    .finish = microvm_finish,
    .claim_virtio = microvm_claim_virtio,
    .add_serial = microvm_add_serial,
};
