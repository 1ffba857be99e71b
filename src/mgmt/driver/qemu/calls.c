/* SPDX-License-Identifier: GPL-2.0-or-later */
/* calls.c - the tables of what only emulators answer; the functions are in call_*.c, by area. */
#include "mgmt/driver/qemu/calls.h"

#include "mgmt/driver/qemu/handlers.h"

const struct remote_ops qemu_calls = {
#define H(member) .member = qemu_##member,
#include "mgmt/driver/qemu/handlers.tab.h"
#undef H
};

const struct qemu_ops qemu_own_calls = {
    .domain_monitor_command = qemu_domain_monitor_command,
    .domain_agent_command = qemu_domain_agent_command,
    .connect_domain_monitor_event_register = qemu_connect_domain_monitor_event_register,
    .connect_domain_monitor_event_deregister = qemu_connect_domain_monitor_event_deregister,
};
