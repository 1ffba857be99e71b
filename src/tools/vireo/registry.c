/* SPDX-License-Identifier: GPL-2.0-or-later */
/* registry.c - vireo's own commands; virsh's are in cmd_self.c's groups. */
#include "tools/vireo/command.h"

#include <stddef.h>

extern const struct command command_run;
extern const struct command command_doctor;

const struct command *const commands[] = {
    &command_run,
    &command_doctor,
    NULL,
};
