/* SPDX-License-Identifier: GPL-2.0-or-later */
/* acpi_pc_dsdt.h - the part of acpi_pc that is AML. */
#pragma once

#include <stddef.h>

struct acpi_loader;
struct acpi_pc_config;

size_t acpi_pc_add_dsdt(struct acpi_loader *l, const struct acpi_pc_config *c);
