/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi_pm.h - ACPI's fixed hardware, which the south bridges have in common (ACPI 6.4, 4.8): PM1
 * event and control, the power-management timer, a block of general-purpose events.
 */
#pragma once

#include "vmm/machine/machine.h"

enum {
    PM1_EVENT = 0,
    PM1_CONTROL = 4,
    PM_TIMER = 8,
    PM_GPE_MAX = 16, /* bytes: half status, half enable */

    PM_SMI_CMD = 0xb2,
    PM_ACPI_ENABLE = 2, /* written to PM_SMI_CMD, ICH9 */
    PM_ACPI_DISABLE = 3,
    PM_S5 = 0, /* SLP_TYP, as the DSDT says */
    PM_S3 = 1,
    PM_S4 = 2,
};

struct acpi_pm {
    struct machine *m;
    struct irq sci;
    uint16_t status, enable, control;
    uint8_t gpe_status[PM_GPE_MAX / 2], gpe_enable[PM_GPE_MAX / 2];
    unsigned gpe_len; /* bytes of status */
    bool s3_off, s4_off;
};

/* Also makes the power button this one's. */
void acpi_pm_init(struct acpi_pm *pm, struct machine *m, unsigned sci, unsigned gpe_len);
void acpi_pm_done(struct acpi_pm *pm);
void acpi_pm_reset(struct acpi_pm *pm);
uint64_t acpi_pm_read(struct acpi_pm *pm, uint64_t off, unsigned size);
void acpi_pm_write(struct acpi_pm *pm, uint64_t off, uint64_t value, unsigned size);
uint64_t acpi_pm_gpe_read(struct acpi_pm *pm, uint64_t off, unsigned size);
void acpi_pm_gpe_write(struct acpi_pm *pm, uint64_t off, uint64_t value, unsigned size);
/* Sets a general-purpose event's status. */
void acpi_pm_gpe_raise(struct acpi_pm *pm, unsigned bit);
/* The operating system takes over, or gives back (SCI_EN). */
void acpi_pm_enable(struct acpi_pm *pm, bool on);
/* The machine wakes: what the guest will find in PM1 status. */
void acpi_pm_wake(struct acpi_pm *pm);
