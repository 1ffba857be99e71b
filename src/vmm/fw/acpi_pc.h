/* SPDX-License-Identifier: GPL-2.0-or-later */
/* acpi_pc.h - the tables of pc and q35: FADT with fixed hardware, MADT, HPET, MCFG, SRAT, DSDT. */
#pragma once

#include "base/err.h"
#include "vmm/fw/acpi_loader.h"

#include <stdbool.h>
#include <stdint.h>

enum { ACPI_PC_MAX_NODES = 16, ACPI_PC_HOTPLUG_PORT = 0xae00 };

struct acpi_pc_config {
    bool q35;
    bool has_hpet, has_i8042, has_serial[4], has_parallel, has_pvpanic, has_vmgenid, has_fw_cfg;
    bool s3, s4;
    unsigned n_cpus;
    unsigned max_cpus;
    uint64_t ram_low, ram_high;
    uint64_t pci_hole;   /* where 32-bit BARs may begin */
    uint64_t pci64_base; /* and 64-bit ones */
    uint64_t pci64_end;
    struct {
        uint64_t bytes;
        uint64_t cpus; /* bit n: vCPU n */
    } nodes[ACPI_PC_MAX_NODES];
    unsigned n_nodes;
};

int acpi_pc_build(struct acpi_loader *l, const struct acpi_pc_config *c, struct err **err)
    MUST_CHECK;
