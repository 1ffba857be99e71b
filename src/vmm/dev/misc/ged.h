/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ged.h - registers of the generic event device and of sleeping and resetting without fixed ACPI
 * hardware, as the ACPI tables describe them. */
#pragma once

enum {
    GED_EVENTS = 0, /* read: pending events, and clears them */
    GED_SLEEP_CONTROL = 1,
    GED_SLEEP_STATUS = 2,
    GED_RESET = 3,
    GED_BYTES = 4,

    GED_POWER_BUTTON = 2, /* in GED_EVENTS */
    GED_RESET_VALUE = 0x42,
    GED_SLEEP_S5 = 5,
    GED_SLEEP_ENABLE = 1 << 5, /* with the type in bits 2-4 (ACPI 6.4, 4.8.3.7) */
};
