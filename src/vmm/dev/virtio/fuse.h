/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuse.h - a FUSE server (linux/fuse.h, protocol 7.31 and up) over one folder of the host: what
 * stands behind virtio-fs. Called by one thread at a time.
 *
 * Requests come from the guest's kernel and are not trusted: node and handle numbers are looked up
 * in tables, names may not leave their folder, everything is reached by descriptors below the root.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct fuse;

int fuse_new(const char *path, bool read_only, struct fuse **ret, struct err **err) MUST_CHECK;
struct fuse *fuse_free(struct fuse *f);

/* One request: out is what the guest sent, in where the answer goes. Returns the bytes answered; 0
 * where FUSE has no answer (FORGET) or the request is too short to have one. */
size_t fuse_serve(struct fuse *f, const struct iovec *out, unsigned n_out, const struct iovec *in,
                  unsigned n_in);
/* The guest's file system is gone: forgets all nodes and handles. */
void fuse_reset(struct fuse *f);
