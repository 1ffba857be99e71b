/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/virtio/share.h"

/* The machine's lock is free while the host's file system works; a reset in that time makes the
 * element stale and waits for us with forgetting what the guest had open. */
void share_handle(struct share *s, struct virtio_dev *vd, unsigned index)
{
    struct vq *vq = &vd->queues[index];
    struct vq_elem *e;

    while ((e = virtio_pop(vd, vq)) != NULL) {
        size_t len;

        s->serving = true;
        machine_unlock(vd->dev.m);
        len = s->serve(s->server, e->out, e->n_out, e->in, e->n_in);
        machine_lock(vd->dev.m);
        s->serving = false;
        if (s->reset_wanted) {
            s->reset_wanted = false;
            s->forget(s->server);
        }
        vq_push(vq, e, (uint32_t)len);
        virtio_notify(vd, vq);
    }
}

void share_reset(struct share *s)
{
    if (s->serving) {
        s->reset_wanted = true;
    } else if (s->server != NULL) {
        s->forget(s->server);
    }
}
