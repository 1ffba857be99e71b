/* SPDX-License-Identifier: GPL-2.0-or-later */
/* registry.c - every command, in help order. */
#include "tools/vireo/command.h"

#include <stddef.h>

extern const struct command command_run;
extern const struct command command_doctor;
/* Over the daemon, as virsh's (cmd_domain.c). */
extern const struct command command_list;
extern const struct command command_define;
extern const struct command command_create;
extern const struct command command_start;
extern const struct command command_shutdown;
extern const struct command command_reboot;
extern const struct command command_reset;
extern const struct command command_destroy;
extern const struct command command_suspend;
extern const struct command command_resume;
extern const struct command command_managedsave;
extern const struct command command_dumpxml;
extern const struct command command_domstate;
extern const struct command command_autostart;
extern const struct command command_undefine;

const struct command *const commands[] = {
    &command_run,
    &command_doctor,
    &command_list,
    &command_define,
    &command_create,
    &command_start,
    &command_shutdown,
    &command_reboot,
    &command_reset,
    &command_destroy,
    &command_suspend,
    &command_resume,
    &command_managedsave,
    &command_dumpxml,
    &command_domstate,
    &command_autostart,
    &command_undefine,
    NULL,
};
