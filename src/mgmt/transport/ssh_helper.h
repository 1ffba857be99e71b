/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ssh_helper.h - what libvirt's clients run on the other host for qemu+ssh://: "virt-ssh-helper
 * [-r] URI" copies between its standard streams and the daemon's socket. vireod is that program
 * when it is called by that name.
 */
#pragma once

#include "base/err.h"

int ssh_helper_run(int argc, char **argv, struct err **err) MUST_CHECK;
