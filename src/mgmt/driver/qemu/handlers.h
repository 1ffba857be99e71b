/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handlers.h - the qemu driver's handlers, declared from the list in handlers.tab.h with the types
 * of the generated table.
 */
#pragma once

#include "mgmt/driver/qemu/calls.h"

#define H(member) extern __typeof__(*((struct remote_ops *)0)->member) qemu_##member;
#include "mgmt/driver/qemu/handlers.tab.h"
#undef H

extern __typeof__(*((struct qemu_ops *)0)->domain_monitor_command) qemu_domain_monitor_command;
extern __typeof__(*((struct qemu_ops *)0)->domain_agent_command) qemu_domain_agent_command;
extern __typeof__(*((struct qemu_ops *)0)->connect_domain_monitor_event_register)
    qemu_connect_domain_monitor_event_register;
extern __typeof__(*((struct qemu_ops *)0)->connect_domain_monitor_event_deregister)
    qemu_connect_domain_monitor_event_deregister;
