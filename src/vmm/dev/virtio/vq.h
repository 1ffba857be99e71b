/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vq.h - virtqueues, split and packed (virtio 1.2, 2.7 and 2.8): taking descriptor chains, giving
 * them back, deciding about notifications.
 *
 * The driver may write the ring at any time and is not trusted: descriptors are copied once,
 * indices checked, chains bounded, and every buffer lies inside guest RAM.
 */
#pragma once

#include "base/own.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct gmem;

enum { VQ_MAX_SIZE = 1024, VQ_MAX_IOV = 1024 };

struct vq_elem {
    uint16_t id;     /* split: head index; packed: buffer id */
    uint16_t n_desc; /* packed: ring slots that the chain took */
    uint32_t epoch;  /* of the queue: a reset makes it stale */
    unsigned n_out;  /* buffers that the device reads */
    unsigned n_in;   /* buffers that the device writes */
    struct iovec *out;
    struct iovec *in;
    struct iovec iov[]; /* n_out + n_in */
};

struct vq {
    const struct gmem *mem;
    uint16_t max_size;
    /* Set by the driver through the transport. */
    uint16_t size;
    bool ready;
    uint64_t desc_gpa, driver_gpa, device_gpa;
    /* From ready on. */
    bool packed, event_idx, indirect, in_order;
    uint8_t *desc, *driver, *device; /* mapped areas; NULL: bad addresses */
    uint32_t epoch;
    bool broken;
    uint16_t next_avail; /* split: running index; packed: slot */
    uint16_t next_used;
    bool avail_wrap, used_wrap; /* packed */
    uint16_t signalled_used;    /* where the driver was last interrupted */
    bool signalled_valid;
    unsigned in_use;
};

void vq_init(struct vq *vq, const struct gmem *mem, uint16_t max_size);
/* Back to unused; elements taken before become stale. */
void vq_reset(struct vq *vq);
/* Maps the areas. The queue is broken when they are not in RAM or size is bad. */
void vq_start(struct vq *vq, bool packed, bool event_idx, bool indirect);

/* 1 and an owned element; 0 when nothing is available; -EINVAL when the driver broke the ring. */
int vq_pop(struct vq *vq, struct vq_elem **ret);
/* Something is available (a hint). */
bool vq_has_avail(struct vq *vq);
/* Gives the chain back with len bytes written, and frees it. Stale elements are only freed. */
void vq_push(struct vq *vq, struct vq_elem *elem, uint32_t len);
/* Puts the last popped element back, and frees it. */
void vq_unpop(struct vq *vq, struct vq_elem *elem);
/* Must the driver be interrupted for what was pushed since the last yes? */
bool vq_should_notify(struct vq *vq);
/* Tells the driver whether to notify us of new buffers. After switching on, look once more. */
void vq_enable_notify(struct vq *vq, bool on);

static inline struct vq_elem *vq_elem_free(struct vq_elem *e)
{
    free(e);
    return NULL;
}
