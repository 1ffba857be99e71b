/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * p9.h - a 9P2000.L server over one folder of the host: what stands behind virtio-9p. Called by one
 * thread at a time.
 *
 * Requests come from the guest's kernel and are not trusted: fids are looked up in a table, names
 * may not leave their folder, everything is reached by descriptors below the root.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <sys/uio.h>

struct p9;

int p9_new(const char *path, bool read_only, struct p9 **ret, struct err **err) MUST_CHECK;
struct p9 *p9_free(struct p9 *p);

/* One request: out is what the guest sent, in where the answer goes. Returns the bytes answered; 0
 * where the request is too short to have an answer. */
size_t p9_serve(struct p9 *p, const struct iovec *out, unsigned n_out, const struct iovec *in,
                unsigned n_in);
/* The guest's file system is gone: forgets all fids. */
void p9_reset(struct p9 *p);
