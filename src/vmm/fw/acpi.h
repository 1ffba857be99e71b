/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi.h - the tables of a machine without ACPI's fixed hardware (ACPI 6.4, 4.1): RSDP, XSDT, FADT,
 * MADT, DSDT.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct boot;

enum { ACPI_MAX_VIRTIO = 32, ACPI_GPA = 0xe0000, ACPI_MAX_BYTES = 0x10000 };

struct acpi_config {
    unsigned n_cpus;
    bool has_pic; /* 8259s beside the IOAPIC */
    bool has_rtc;
    bool has_serial;
    bool has_i8042;
    /* The generic event device (dev/misc/ged.c). */
    uint64_t ged_gpa; /* event selector, then sleep control, sleep status, reset registers */
    unsigned ged_gsi;
    bool has_fw_cfg;
    struct {
        uint64_t gpa;
        unsigned gsi;
    } virtio[ACPI_MAX_VIRTIO];
    unsigned n_virtio;
};

/* Adds the tables to what is loaded; the RSDP is at ACPI_GPA. */
int acpi_add(struct boot *b, const struct acpi_config *c, struct err **err) MUST_CHECK;
/* The tables as bytes, to lie at ACPI_GPA; returns the length, 0 when they do not fit. */
size_t acpi_build(const struct acpi_config *c, uint8_t *buf, size_t max);
