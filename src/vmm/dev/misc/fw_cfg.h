/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg.h - what boards and options put into the firmware configuration device. */
#pragma once

#include "base/err.h"

#include <stdint.h>

struct device;
struct machine;

enum {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_IRQ0_OVERRIDE = 0x8002,
};

/* Copies the bytes. */
int fw_cfg_add(struct device *dev, uint16_t key, const void *data, uint32_t len, struct err **err)
    MUST_CHECK;
int fw_cfg_add_u32(struct device *dev, uint16_t key, uint32_t v, struct err **err) MUST_CHECK;
int fw_cfg_add_u64(struct device *dev, uint16_t key, uint64_t v, struct err **err) MUST_CHECK;
int fw_cfg_add_u16(struct device *dev, uint16_t key, uint16_t v, struct err **err) MUST_CHECK;
/* A named file ("opt/org.example/name"). */
int fw_cfg_add_file(struct device *dev, const char *name, const void *data, uint32_t len,
                    struct err **err) MUST_CHECK;
