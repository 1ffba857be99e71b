/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi_loader.h - ACPI tables for firmware that places them: a blob, and a script of commands to
 * allocate it, put in pointers and checksums (QEMU documentation, specs/acpi_hw_reduced_hotplug and
 * the loader's description in SeaBIOS and OVMF: fw_cfg file etc/table-loader).
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOADER_TABLES "etc/acpi/tables"
#define LOADER_RSDP   "etc/acpi/rsdp"

enum { LOADER_MAX_COMMANDS = 128, LOADER_COMMAND_BYTES = 128, LOADER_MAX_TABLES = 0x20000 };

struct acpi_loader {
    uint8_t *tables; /* owned, LOADER_MAX_TABLES */
    size_t len;
    uint8_t rsdp[36];
    uint8_t script[LOADER_MAX_COMMANDS * LOADER_COMMAND_BYTES];
    unsigned n;
    bool failed;
};

int acpi_loader_init(struct acpi_loader *l, struct err **err) MUST_CHECK;
void acpi_loader_done(struct acpi_loader *l);

/* A table's header and len bytes of zeroes; returns where it begins. */
size_t acpi_loader_begin(struct acpi_loader *l, const char *sig, unsigned rev, size_t len,
                         unsigned align);
/* Sets the length; the checksum is for the firmware to compute. */
void acpi_loader_end(struct acpi_loader *l, size_t at, size_t len);
/* Bytes at `at` in file hold an offset into the tables and become an address. */
void acpi_loader_pointer(struct acpi_loader *l, const char *file, size_t at, unsigned size,
                         uint64_t target);
void acpi_loader_rsdp(struct acpi_loader *l, size_t rsdt, size_t xsdt);
/* A file of its own that the firmware allocates (VM generation ID); and the command to tell us
 * where it is, by writing into the fw_cfg file `to`. */
void acpi_loader_allocate(struct acpi_loader *l, const char *file, unsigned align);
void acpi_loader_pointer_to(struct acpi_loader *l, const char *file, size_t at, unsigned size,
                            const char *to_file);
void acpi_loader_write_back(struct acpi_loader *l, const char *to, const char *file,
                            uint32_t file_offset);

/* Does what firmware would: the tables lie at gpa, the RSDP after them; returns its address. */
uint64_t acpi_loader_run(struct acpi_loader *l, uint64_t gpa);
