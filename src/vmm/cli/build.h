/* SPDX-License-Identifier: GPL-2.0-or-later */
/* build.h - from the parsed command line to a machine. */
#pragma once

#include "base/err.h"

struct block_ctx;
struct config;
struct loop;
struct machine;

/* Everything up to the first instruction; the vCPUs' threads are not started. */
int machine_build(struct config *c, struct loop *loop, struct machine **ret,
                  struct block_ctx **ret_blocks, struct err **err) MUST_CHECK;
/* Takes down the back ends and frees the machine. */
void machine_tear_down(struct machine *m, struct block_ctx *blocks);
