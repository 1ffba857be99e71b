/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confine.h - the emulator gives up what it does not need before the guest runs: privileges and
 * files first, then, once all threads exist, system calls.
 */
#pragma once

#include "base/err.h"

struct machine;

/* Drops capabilities (but for those that serving a shared folder takes) and closes the file system
 * but for the machine's allowed paths. Binds threads that are made later. */
int confine_files(struct machine *m, struct err **err) MUST_CHECK;
/* All threads. */
int confine_calls(struct err **err) MUST_CHECK;
