/* SPDX-License-Identifier: GPL-2.0-or-later */
/* core.c - the state that all virtio devices share, whatever their transport (virtio 1.2, 2). */
#include "vmm/dev/virtio/virtio.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MAX_CONFIG = 0x100 };

void virtio_notify(struct virtio_dev *vd, struct vq *vq)
{
    if (vq_should_notify(vq)) {
        vd->transport->interrupt(vd, (int)(vq - vd->queues));
    }
}

void virtio_config_changed(struct virtio_dev *vd)
{
    vd->config_generation++;
    if ((vd->status & VIRTIO_S_DRIVER_OK) != 0) {
        vd->transport->interrupt(vd, VIRTIO_INTERRUPT_CONFIG);
    }
}

void virtio_broken(struct virtio_dev *vd, const char *why)
{
    LOG_LIMITED(LOG_WARN, "%s: the guest's driver broke the rules: %s", vd->dev.cls->name, why);
    vd->status |= VIRTIO_S_NEEDS_RESET;
    virtio_config_changed(vd);
}

struct vq_elem *virtio_pop(struct virtio_dev *vd, struct vq *vq)
{
    struct vq_elem *e = NULL;
    int r;

    if (!virtio_ready(vd)) {
        return NULL;
    }
    r = vq_pop(vq, &e);
    if (r == -EINVAL) {
        virtio_broken(vd, "bad descriptors");
    }
    return r == 1 ? e : NULL;
}

void virtio_serve(struct virtio_dev *vd, unsigned index)
{
    if (virtio_ready(vd) && vd->queues[index].ready) {
        vd->cls->handle_queue(vd, index);
    }
}

static void on_kick(int fd, uint32_t events, void *arg)
{
    struct virtio_dev *vd = arg;
    uint64_t count;

    (void)events;
    (void)!read(fd, &count, sizeof(count));
    for (unsigned i = 0; i < vd->n_queues; i++) {
        if (vd->kick_fds[i] == fd) {
            virtio_serve(vd, i);
            return;
        }
    }
}

/* One eventfd a queue, which the accelerator signals in the transport's place. Where it cannot, and
 * in tests, the transport calls virtio_kick(). */
int virtio_make_kicks(struct virtio_dev *vd, struct err **err)
{
    for (unsigned i = 0; i < vd->n_queues && vd->dev.m->loop != NULL; i++) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        int r;

        if (fd < 0) {
            return err_set(err, errno, "cannot make an eventfd: %s", strerror(errno));
        }
        vd->kick_fds[i] = fd;
        r = loop_add_fd(vd->loop, fd, EPOLLIN, on_kick, vd, &vd->kick_sources[i]);
        if (r < 0) {
            return err_set(err, -r, "cannot watch an eventfd: %s", strerror(-r));
        }
    }
    return 0;
}

/* On the device's loop, as from the accelerator. */
void virtio_kick(struct virtio_dev *vd, unsigned index)
{
    uint64_t one = 1;

    if (index < vd->n_queues && vd->kick_fds[index] >= 0) {
        (void)!write(vd->kick_fds[index], &one, sizeof(one));
    } else if (index < vd->n_queues) {
        virtio_serve(vd, index);
    }
}

int virtio_set_queues(struct virtio_dev *vd, unsigned n, struct err **err)
{
    vd->queues = calloc(n, sizeof(*vd->queues));
    vd->kick_fds = calloc(n, sizeof(*vd->kick_fds));
    vd->kick_sources = calloc(n, sizeof(struct loop_source *));
    if (n > VIRTIO_MAX_QUEUES || vd->queues == NULL || vd->kick_fds == NULL ||
        vd->kick_sources == NULL) {
        return err_set(err, ENOMEM, "no memory for %u queues", n);
    }
    vd->n_queues = n;
    for (unsigned i = 0; i < n; i++) {
        vq_init(&vd->queues[i], &vd->dev.m->mem, vd->cls->queue_size);
        vd->kick_fds[i] = -1;
    }
    return 0;
}

void virtio_core_reset(struct virtio_dev *vd)
{
    vd->status = 0;
    vd->isr = 0;
    vd->driver_features = 0;
    vd->device_features_sel = vd->driver_features_sel = vd->queue_sel = vd->shm_sel = 0;
    for (unsigned i = 0; i < vd->n_queues; i++) {
        vq_reset(&vd->queues[i]);
    }
    if (vd->cls->reset != NULL) {
        vd->cls->reset(vd);
    }
    vd->transport->interrupt(vd, VIRTIO_INTERRUPT_NONE);
}

void virtio_set_status(struct virtio_dev *vd, uint8_t status)
{
    bool was_ready = virtio_ready(vd);

    if (status == 0) {
        if (was_ready && vd->cls->drain != NULL) {
            vd->cls->drain(vd);
        }
        virtio_core_reset(vd);
        return;
    }
    /* FEATURES_OK stays clear when the driver wants what we do not have (2.2.2, 3.1.1). */
    if ((status & VIRTIO_S_FEATURES_OK) != 0 && (vd->status & VIRTIO_S_FEATURES_OK) == 0 &&
        ((vd->driver_features & ~vd->device_features) != 0 ||
         (vd->driver_features & VIRTIO_F_VERSION_1) == 0)) {
        status &= (uint8_t)~VIRTIO_S_FEATURES_OK;
    }
    vd->status = (uint8_t)(status | (vd->status & VIRTIO_S_NEEDS_RESET));
    if (was_ready || !virtio_ready(vd)) {
        return;
    }
    if (vd->cls->started != NULL) {
        vd->cls->started(vd);
    }
    /* A driver may fill and notify queues first (Linux's balloon does), against 3.1.1. */
    for (unsigned i = 0; i < vd->n_queues; i++) {
        if (vd->queues[i].ready && vq_has_avail(&vd->queues[i])) {
            virtio_kick(vd, i);
        }
    }
}

uint32_t virtio_config_read(struct virtio_dev *vd, uint64_t off, unsigned size)
{
    uint8_t config[MAX_CONFIG + 8] = { 0 };
    uint32_t v = 0;

    if (off >= MAX_CONFIG) {
        return 0;
    }
    if (vd->cls->get_config != NULL) {
        vd->cls->get_config(vd, config);
    }
    memset(config + vd->cls->config_size, 0, sizeof(config) - vd->cls->config_size);
    memcpy(&v, config + off, size <= 4 ? size : 4);
    return v;
}

void virtio_config_write(struct virtio_dev *vd, uint64_t off, uint64_t value, unsigned size)
{
    uint8_t bytes[8];

    le64_put(bytes, value);
    if (vd->cls->set_config != NULL && range_within(off, size, vd->cls->config_size)) {
        vd->cls->set_config(vd, off, bytes, size);
    }
}

void virtio_start_queue(struct virtio_dev *vd, struct vq *vq)
{
    vq->ready = true;
    vq_start(vq, virtio_has(vd, VIRTIO_F_RING_PACKED), virtio_has(vd, VIRTIO_F_EVENT_IDX),
             virtio_has(vd, VIRTIO_F_INDIRECT_DESC));
    if (vq->broken) {
        virtio_broken(vd, "a queue that is not in memory");
    }
}

int virtio_core_init(struct virtio_dev *vd, const struct virtio_transport *transport,
                     struct err **err)
{
    vd->cls = vd->dev.cls->virtio;
    vd->transport = transport;
    vd->loop = vd->dev.m->loop;
    vd->device_features = VIRTIO_F_VERSION_1 | (vd->opt_packed ? VIRTIO_F_RING_PACKED : 0) |
                          (vd->opt_indirect ? VIRTIO_F_INDIRECT_DESC : 0) |
                          (vd->opt_event_idx ? VIRTIO_F_EVENT_IDX : 0);
    if (vd->opt_iommu) {
        return err_set(err, ENOTSUP, "iommu_platform=on is not supported");
    }
    return vd->cls->init(vd, err);
}

void virtio_core_done(struct virtio_dev *vd)
{
    for (unsigned i = 0; i < vd->n_queues; i++) {
        vd->kick_sources[i] = loop_source_free(vd->kick_sources[i]);
    }
    if (vd->cls != NULL && vd->cls->done != NULL) {
        vd->cls->done(vd);
    }
    for (unsigned i = 0; i < vd->n_queues; i++) {
        close_fdp(&vd->kick_fds[i]);
    }
    free(vd->queues);
    free(vd->kick_fds);
    free(vd->kick_sources);
}
