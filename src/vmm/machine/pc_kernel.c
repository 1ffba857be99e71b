/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_kernel.c - -kernel on a PC. A Linux kernel goes to the firmware by fw_cfg (OVMF loads it
 * itself; under SeaBIOS an option ROM of ours does). Other kernels (ELF, Multiboot) start directly.
 */
#include "base/bytes.h"
#include "base/str.h"
#include "os/fd.h"
#include "vmm/accel/cpuid.h"
#include "vmm/dev/misc/fw_cfg.h"
#include "vmm/fw/kernel.h"
#include "vmm/fw/rom/rom.h"
#include "vmm/machine/pc.h"

#include <errno.h>

enum {
    FW_SETUP_GPA = 0x10000,
    FW_CMDLINE_GPA = 0x20000,
    FW_KERNEL_GPA = 0x100000,
    MAX_CMDLINE = 0x8000,
    TOP_MARGIN = 1 << 20, /* the firmware keeps its tables at the end of RAM */
    KERNEL_MAX = 256 << 20,
    INITRD_MAX = 1 << 30,
};

static int add_linux(struct machine *m, const struct board_config *config, const uint8_t *file,
                     size_t len, struct err **err)
{
    struct pc *pc = m->board;
    struct device *fw = pc->fw_cfg;
    const char *cmdline = config->append != NULL ? config->append : "";
    unsigned sects = file[0x1f1] != 0 ? file[0x1f1] : 4;
    size_t setup_len = (sects + 1) * 512u;
    AUTO_FREE uint8_t *setup = NULL;
    AUTO_FREE char *initrd = NULL;
    size_t initrd_len = 0;
    uint64_t initrd_gpa = 0;
    uint64_t initrd_max = 0x37ffffff;
    int r = 0;

    if (len <= setup_len || strlen(cmdline) >= MAX_CMDLINE) {
        return err_set(err, EINVAL, "-kernel: '%s' is truncated, or -append is too long",
                       config->kernel);
    }
    setup = malloc(setup_len);
    if (setup == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    memcpy(setup, file, setup_len);
    if (config->initrd != NULL) {
        r = file_slurp(config->initrd, INITRD_MAX, &initrd, &initrd_len);
        if (r < 0) {
            return err_set(err, -r, "-initrd: cannot read '%s': %s", config->initrd, strerror(-r));
        }
        if (le16_get(file + 0x206) >= 0x203) {
            initrd_max = le32_get(file + 0x22c);
        }
        initrd_max = min_u64(initrd_max, pc->ram_low - TOP_MARGIN);
        if (initrd_len + FW_KERNEL_GPA > initrd_max) {
            return err_set(err, ENOMEM, "-initrd: '%s' does not fit into memory: see -m",
                           config->initrd);
        }
        initrd_gpa = (initrd_max - initrd_len) & ~4095ull;
    }
    setup[0x210] = 0xb0; /* loader: QEMU's number */
    setup[0x211] |= 0x80;
    le16_put(setup + 0x224, 0xfff0 - 0x200);
    le32_put(setup + 0x228, FW_CMDLINE_GPA);
    le32_put(setup + 0x218, (uint32_t)initrd_gpa);
    le32_put(setup + 0x21c, (uint32_t)initrd_len);
    {
        const struct {
            uint16_t key;
            uint64_t v;
        } numbers[] = {
            { FW_CFG_KERNEL_ADDR, FW_KERNEL_GPA },   { FW_CFG_KERNEL_SIZE, len - setup_len },
            { FW_CFG_INITRD_ADDR, initrd_gpa },      { FW_CFG_INITRD_SIZE, initrd_len },
            { FW_CFG_CMDLINE_ADDR, FW_CMDLINE_GPA }, { FW_CFG_CMDLINE_SIZE, strlen(cmdline) + 1 },
            { FW_CFG_SETUP_ADDR, FW_SETUP_GPA },     { FW_CFG_SETUP_SIZE, setup_len },
        };

        for (size_t i = 0; r == 0 && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
            r = fw_cfg_add_u32(fw, numbers[i].key, (uint32_t)numbers[i].v, err);
        }
    }
    if (r == 0) {
        r = fw_cfg_add(fw, FW_CFG_SETUP_DATA, setup, (uint32_t)setup_len, err);
    }
    if (r == 0) {
        r = fw_cfg_add(fw, FW_CFG_KERNEL_DATA, file + setup_len, (uint32_t)(len - setup_len), err);
    }
    if (r == 0) {
        r = fw_cfg_add(fw, FW_CFG_CMDLINE_DATA, cmdline, (uint32_t)strlen(cmdline) + 1, err);
    }
    if (r == 0 && initrd_len > 0) {
        r = fw_cfg_add(fw, FW_CFG_INITRD_DATA, initrd, (uint32_t)initrd_len, err);
    }
    return r == 0
               ? fw_cfg_add_file(fw, "genroms/linuxboot.bin", rom_linuxboot, rom_linuxboot_len, err)
               : r;
}

static int add_direct(struct machine *m, const struct board_config *config, struct err **err)
{
    struct pc *pc = m->board;
    struct boot_params p = {
        .kernel = config->kernel,
        .initrd = config->initrd,
        .cmdline = config->append != NULL ? config->append : "",
        .ram_low = pc->ram_low,
        .ram_high = pc->ram_high,
        .rsdp = 0,
        .long_mode = cpu_model_has(m->cpu, "lm"),
    };

    return boot_kernel(&m->boot, &p, err);
}

int pc_load_kernel(struct machine *m, const struct board_config *config, bool *ret_direct,
                   struct err **err)
{
    AUTO_FREE char *file = NULL;
    size_t len;
    int r;

    if (config->kernel == NULL) {
        return 0;
    }
    r = file_slurp(config->kernel, KERNEL_MAX, &file, &len);
    if (r < 0) {
        return err_set(err, -r, "-kernel: cannot read '%s': %s", config->kernel, strerror(-r));
    }
    if (len > 0x264 && memcmp(file + 0x202, "HdrS", 4) == 0) {
        return add_linux(m, config, (const uint8_t *)file, len, err);
    }
    *ret_direct = true;
    return add_direct(m, config, err);
}
