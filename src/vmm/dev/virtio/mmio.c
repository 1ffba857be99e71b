/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mmio.c - virtio over memory-mapped registers (virtio 1.2, 4.2), version 2, and the state that all
 * virtio devices share.
 */
#include "vmm/dev/virtio/virtio.h"

#include "base/bytes.h"
#include "base/log.h"
#include "vmm/machine/class.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    R_MAGIC = 0x00,
    R_VERSION = 0x04,
    R_DEVICE_ID = 0x08,
    R_VENDOR_ID = 0x0c,
    R_DEVICE_FEATURES = 0x10,
    R_DEVICE_FEATURES_SEL = 0x14,
    R_DRIVER_FEATURES = 0x20,
    R_DRIVER_FEATURES_SEL = 0x24,
    R_QUEUE_SEL = 0x30,
    R_QUEUE_NUM_MAX = 0x34,
    R_QUEUE_NUM = 0x38,
    R_QUEUE_READY = 0x44,
    R_QUEUE_NOTIFY = 0x50,
    R_INTERRUPT_STATUS = 0x60,
    R_INTERRUPT_ACK = 0x64,
    R_STATUS = 0x70,
    R_QUEUE_DESC_LOW = 0x80,
    R_QUEUE_DESC_HIGH = 0x84,
    R_QUEUE_DRIVER_LOW = 0x90,
    R_QUEUE_DRIVER_HIGH = 0x94,
    R_QUEUE_DEVICE_LOW = 0xa0,
    R_QUEUE_DEVICE_HIGH = 0xa4,
    R_SHM_SEL = 0xac,
    R_SHM_LEN_LOW = 0xb0,
    R_SHM_LEN_HIGH = 0xb4,
    R_SHM_BASE_LOW = 0xb8,
    R_SHM_BASE_HIGH = 0xbc,
    R_QUEUE_RESET = 0xc0,
    R_CONFIG_GENERATION = 0xfc,
    R_CONFIG = 0x100,
    REGION_BYTES = 0x200,
    MAX_CONFIG = 0x100,

    MAGIC = 0x74726976,  /* "virt" */
    VENDOR = 0x52495656, /* "VVIR" */
};

static void update_irq(struct virtio_dev *vd)
{
    irq_set(&vd->irq, vd->isr != 0);
}

void virtio_notify(struct virtio_dev *vd, struct vq *vq)
{
    if (vq_should_notify(vq)) {
        vd->isr |= VIRTIO_ISR_QUEUE;
        update_irq(vd);
    }
}

void virtio_config_changed(struct virtio_dev *vd)
{
    vd->config_generation++;
    if ((vd->status & VIRTIO_S_DRIVER_OK) != 0) {
        vd->isr |= VIRTIO_ISR_CONFIG;
        update_irq(vd);
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

static void serve(struct virtio_dev *vd, unsigned index)
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
            serve(vd, i);
            return;
        }
    }
}

/* One eventfd a queue, which the accelerator signals on a write of the queue's number to
 * QUEUE_NOTIFY. Where it cannot, and in tests, the write comes to virtio_mmio_write(). */
static int make_kicks(struct virtio_dev *vd, struct err **err)
{
    struct accel *a = vd->dev.m->accel;

    for (unsigned i = 0; i < vd->n_queues; i++) {
        uint64_t match = i;
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
        if (a != NULL && vd->opt_ioeventfd) {
            (void)accel_ioeventfd(a, fd, false, vd->gpa + R_QUEUE_NOTIFY, 4, &match, true);
        }
    }
    return 0;
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
    update_irq(vd);
}

void virtio_set_status(struct virtio_dev *vd, uint8_t status)
{
    bool was_ready = virtio_ready(vd);

    if (status == 0) {
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
    if (!was_ready && virtio_ready(vd) && vd->cls->started != NULL) {
        vd->cls->started(vd);
    }
}

static uint32_t config_read(struct virtio_dev *vd, uint64_t off, unsigned size)
{
    uint8_t config[MAX_CONFIG + 8] = { 0 };
    uint32_t v = 0;

    if (vd->cls->get_config != NULL) {
        vd->cls->get_config(vd, config);
    }
    memset(config + vd->cls->config_size, 0, sizeof(config) - vd->cls->config_size);
    memcpy(&v, config + off, size <= 4 ? size : 4);
    return v;
}

uint64_t virtio_mmio_read(void *dev, uint64_t off, unsigned size)
{
    struct virtio_dev *vd = dev;
    const struct vq *vq = vd->queue_sel < vd->n_queues ? &vd->queues[vd->queue_sel] : NULL;

    if (off >= R_CONFIG) {
        return config_read(vd, off - R_CONFIG, size);
    }
    if (size != 4) {
        return 0; /* (4.2.2.2) */
    }
    switch (off) {
    case R_MAGIC:
        return MAGIC;
    case R_VERSION:
        return 2;
    case R_DEVICE_ID:
        return vd->cls->id;
    case R_VENDOR_ID:
        return VENDOR;
    case R_DEVICE_FEATURES:
        return vd->device_features_sel <= 1
                   ? (uint32_t)(vd->device_features >> (vd->device_features_sel * 32))
                   : 0;
    case R_QUEUE_NUM_MAX:
        return vq != NULL ? vq->max_size : 0;
    case R_QUEUE_READY:
        return vq != NULL ? vq->ready : 0;
    case R_INTERRUPT_STATUS:
        return vd->isr;
    case R_STATUS:
        return vd->status;
    case R_CONFIG_GENERATION:
        return vd->config_generation;
    case R_SHM_LEN_LOW: /* no shared memory regions: length of all ones (4.2.2) */
    case R_SHM_LEN_HIGH:
    case R_SHM_BASE_LOW:
    case R_SHM_BASE_HIGH:
        return UINT32_MAX;
    default:
        return 0;
    }
}

static void set_half(uint64_t *v, bool high, uint32_t half)
{
    *v = high ? (*v & 0xffffffffu) | (uint64_t)half << 32 : (*v & ~0xffffffffull) | half;
}

static void queue_write(struct virtio_dev *vd, uint64_t off, uint32_t v)
{
    struct vq *vq = vd->queue_sel < vd->n_queues ? &vd->queues[vd->queue_sel] : NULL;

    /* Nothing changes under a running queue. */
    if (vq == NULL || (vq->ready && off != R_QUEUE_READY)) {
        return;
    }
    switch (off) {
    case R_QUEUE_NUM:
        vq->size = (uint16_t)(v <= vq->max_size ? v : 0);
        break;
    case R_QUEUE_DESC_LOW:
    case R_QUEUE_DESC_HIGH:
        set_half(&vq->desc_gpa, off == R_QUEUE_DESC_HIGH, v);
        break;
    case R_QUEUE_DRIVER_LOW:
    case R_QUEUE_DRIVER_HIGH:
        set_half(&vq->driver_gpa, off == R_QUEUE_DRIVER_HIGH, v);
        break;
    case R_QUEUE_DEVICE_LOW:
    case R_QUEUE_DEVICE_HIGH:
        set_half(&vq->device_gpa, off == R_QUEUE_DEVICE_HIGH, v);
        break;
    case R_QUEUE_READY:
        if (v == 1 && !vq->ready) {
            vq->ready = true;
            vq_start(vq, virtio_has(vd, VIRTIO_F_RING_PACKED), virtio_has(vd, VIRTIO_F_EVENT_IDX),
                     virtio_has(vd, VIRTIO_F_INDIRECT_DESC));
            if (vq->broken) {
                virtio_broken(vd, "a queue that is not in memory");
            }
        } else if (v == 0 && vq->ready) {
            vq_reset(vq);
        }
        break;
    default:
        break;
    }
}

void virtio_mmio_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct virtio_dev *vd = dev;
    uint32_t v = (uint32_t)value;

    if (off >= R_CONFIG) {
        uint8_t bytes[8];
        size_t at = off - R_CONFIG;

        le64_put(bytes, value);
        if (vd->cls->set_config != NULL && range_within(at, size, vd->cls->config_size)) {
            vd->cls->set_config(vd, at, bytes, size);
        }
        return;
    }
    if (size != 4) {
        return;
    }
    switch (off) {
    case R_DEVICE_FEATURES_SEL:
        vd->device_features_sel = v;
        break;
    case R_DRIVER_FEATURES_SEL:
        vd->driver_features_sel = v;
        break;
    case R_DRIVER_FEATURES:
        if (vd->driver_features_sel <= 1 && (vd->status & VIRTIO_S_FEATURES_OK) == 0) {
            set_half(&vd->driver_features, vd->driver_features_sel == 1, v);
        }
        break;
    case R_QUEUE_SEL:
        vd->queue_sel = v;
        break;
    case R_QUEUE_NOTIFY:
        /* On the device's loop, as from the accelerator. */
        if ((v & 0xffff) < vd->n_queues && vd->kick_fds[v & 0xffff] >= 0) {
            uint64_t one = 1;

            (void)!write(vd->kick_fds[v & 0xffff], &one, sizeof(one));
        } else if ((v & 0xffff) < vd->n_queues) {
            serve(vd, v & 0xffff);
        }
        break;
    case R_INTERRUPT_ACK:
        vd->isr &= (uint8_t)~v;
        update_irq(vd);
        break;
    case R_STATUS:
        virtio_set_status(vd, (uint8_t)v);
        break;
    case R_SHM_SEL:
        vd->shm_sel = v;
        break;
    default:
        queue_write(vd, off, v);
        break;
    }
}

static const struct io_ops mmio_io = { .read = virtio_mmio_read,
                                       .write = virtio_mmio_write,
                                       .max_size = 4 };

int virtio_mmio_realize(struct device *dev, struct err **err)
{
    struct virtio_dev *vd = (struct virtio_dev *)dev;
    struct machine *m = dev->m;
    int r;

    vd->cls = dev->cls->virtio;
    vd->loop = m->loop;
    vd->device_features = VIRTIO_F_VERSION_1 | (vd->opt_packed ? VIRTIO_F_RING_PACKED : 0) |
                          (vd->opt_indirect ? VIRTIO_F_INDIRECT_DESC : 0) |
                          (vd->opt_event_idx ? VIRTIO_F_EVENT_IDX : 0);
    if (vd->opt_force_legacy || vd->opt_iommu) {
        return err_set(err, ENOTSUP, "force-legacy and iommu_platform are not supported");
    }
    r = vd->cls->init(vd, err);
    if (r == 0) {
        r = m->cls->claim_virtio(m, dev, &vd->gpa, &vd->irq, err);
    }
    if (r == 0 && m->loop != NULL) {
        r = make_kicks(vd, err);
    }
    return r == 0 ? iobus_add(&m->mmio, vd->gpa, REGION_BYTES, &mmio_io, dev, dev->cls->name, err)
                  : r;
}

void virtio_mmio_reset(struct device *dev)
{
    virtio_core_reset((struct virtio_dev *)dev);
}

void virtio_mmio_destroy(struct device *dev)
{
    struct virtio_dev *vd = (struct virtio_dev *)dev;

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
