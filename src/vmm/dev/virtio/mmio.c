/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mmio.c - virtio over memory-mapped registers (virtio 1.2, 4.2), version 2.
 */
#include "vmm/dev/virtio/virtio.h"

#include "base/bytes.h"
#include "base/log.h"
#include "vmm/machine/class.h"

#include <errno.h>
#include <string.h>

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

    MAGIC = 0x74726976,  /* "virt" */
    VENDOR = 0x52495656, /* "VVIR" */
};

static void update_irq(struct virtio_dev *vd)
{
    irq_set(&vd->irq, vd->isr != 0);
}

uint64_t virtio_mmio_read(void *dev, uint64_t off, unsigned size)
{
    struct virtio_dev *vd = dev;
    const struct vq *vq = vd->queue_sel < vd->n_queues ? &vd->queues[vd->queue_sel] : NULL;

    if (off >= R_CONFIG) {
        return virtio_config_read(vd, off - R_CONFIG, size);
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
            virtio_start_queue(vd, vq);
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
        virtio_config_write(vd, off - R_CONFIG, value, size);
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
        virtio_kick(vd, v & 0xffff);
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

static void mmio_interrupt(struct virtio_dev *vd, int what)
{
    if (what >= 0) {
        vd->isr |= VIRTIO_ISR_QUEUE;
    } else if (what == VIRTIO_INTERRUPT_CONFIG) {
        vd->isr |= VIRTIO_ISR_CONFIG;
    }
    update_irq(vd);
}

static const struct virtio_transport mmio_transport = { .interrupt = mmio_interrupt };

int virtio_mmio_realize(struct device *dev, struct err **err)
{
    struct virtio_dev *vd = (struct virtio_dev *)dev;
    struct machine *m = dev->m;
    int r;

    if (m->cls->claim_virtio == NULL) {
        return err_set(err, ENODEV,
                       "machine '%s' has no places for virtio by memory-mapped "
                       "registers: use the -pci form of the device",
                       m->cls->name);
    }
    if (vd->opt_force_legacy) {
        return err_set(err, ENOTSUP, "force-legacy=on is not supported");
    }
    r = virtio_core_init(vd, &mmio_transport, err);
    if (r == 0) {
        r = m->cls->claim_virtio(m, dev, &vd->gpa, &vd->irq, err);
    }
    if (r == 0) {
        r = virtio_make_kicks(vd, err);
    }
    for (unsigned i = 0; r == 0 && i < vd->n_queues; i++) {
        uint64_t match = i;

        if (m->accel != NULL && vd->opt_ioeventfd) {
            (void)accel_ioeventfd(m->accel, vd->kick_fds[i], false, vd->gpa + R_QUEUE_NOTIFY, 4,
                                  &match, true);
        }
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
    virtio_core_done((struct virtio_dev *)dev);
}
