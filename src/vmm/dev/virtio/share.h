/* SPDX-License-Identifier: GPL-2.0-or-later */
/* share.h - serving a file server's queue (FUSE, 9P) with the machine's lock free. */
#pragma once

#include "vmm/dev/virtio/virtio.h"

struct share {
    size_t (*serve)(void *server, const struct iovec *out, unsigned n_out, const struct iovec *in,
                    unsigned n_in);
    void (*forget)(void *server); /* the guest's file system is gone */
    void *server;                 /* borrowed; NULL: none yet */
    bool serving;
    bool reset_wanted;
};

/* All requests of a queue, in turn. */
void share_handle(struct share *s, struct virtio_dev *vd, unsigned index);
/* The device is reset. */
void share_reset(struct share *s);
