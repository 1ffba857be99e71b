/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio devices with a driver that is ready: queues are set up as a guest would, then the input
 * says what lies in memory (rings, descriptors, requests) and which queues are notified. The first
 * byte chooses the device, the second the kind of ring.
 */
#include "../tests/vmm/board.h"
#include "base/bytes.h"
#include "base/str.h"
#include "vmm/dev/virtio/virtio.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    /* virtio 1.2, 4.2.2 */
    DRIVER_FEATURES = 0x20,
    DRIVER_FEATURES_SEL = 0x24,
    QUEUE_SEL = 0x30,
    QUEUE_NUM = 0x38,
    QUEUE_READY = 0x44,
    QUEUE_NOTIFY = 0x50,
    STATUS = 0x70,
    QUEUE_DESC = 0x80,
    QUEUE_DRIVER = 0x90,
    QUEUE_DEVICE = 0xa0,
    CONFIG = 0x100,

    RING_ENTRIES = 16,
    RING_BYTES = 1024,
    DATA_AT = 0x10000,
};

static void set(struct board *b, unsigned reg, uint32_t v)
{
    iobus_write(&b->m->mmio, BOARD_VIRTIO_GPA + reg, v, 4);
}

static void set_up(struct board *b, struct virtio_dev *vd)
{
    uint64_t features = vd->device_features;

    set(b, STATUS, VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER);
    for (unsigned i = 0; i < 2; i++) {
        set(b, DRIVER_FEATURES_SEL, i);
        set(b, DRIVER_FEATURES, (uint32_t)(features >> (i * 32)));
    }
    set(b, STATUS, VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER | VIRTIO_S_FEATURES_OK);
    for (unsigned i = 0; i < vd->n_queues; i++) {
        set(b, QUEUE_SEL, i);
        set(b, QUEUE_NUM, RING_ENTRIES);
        set(b, QUEUE_DESC, i * RING_BYTES);
        set(b, QUEUE_DRIVER, i * RING_BYTES + 512);
        set(b, QUEUE_DEVICE, i * RING_BYTES + 768);
        set(b, QUEUE_READY, 1);
    }
    set(b, STATUS,
        VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER | VIRTIO_S_FEATURES_OK | VIRTIO_S_DRIVER_OK);
}

/* Descriptors whose buffers lie in memory that the input fills, so that most chains are good. */
static void fill_split(uint8_t *ring, unsigned index, const uint8_t *in)
{
    for (unsigned i = 0; i < RING_ENTRIES; i++) {
        uint8_t *d = ring + i * 16;

        le64_put(d, DATA_AT + index * 0x8000u + i * 2048u + in[i]);
        le32_put(d + 8, in[16 + i] < 128 ? in[16 + i] : (uint32_t)in[16 + i] * 16);
        le16_put(d + 12, in[32 + i] & 7);
        le16_put(d + 14, (uint16_t)(i + 1) % RING_ENTRIES);
        le16_put(ring + 512 + 4 + i * 2, in[48 + i] % RING_ENTRIES);
    }
    le16_put(ring + 512 + 2, in[64] % (RING_ENTRIES + 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const devices[] = {
        "virtio-rng-device",
        "virtio-serial-device",
        "virtio-balloon-device,free-page-reporting=on",
        "virtio-scsi-device,num_queues=2",
        "virtio-gpu-device",
        "virtio-keyboard-device",
        "virtio-tablet-device",
        "virtio-fs-device,path=/usr/share/doc,tag=t,readonly=on",
    };
    struct device *dev;
    struct board b;

    if (size < 2 + 65) {
        return 0;
    }
    board_init(&b);
    dev = board_add(&b, devices[data[0] % (sizeof(devices) / sizeof(devices[0]))]);
    if (dev != NULL && str_starts(dev->cls->name, "virtio-scsi")) {
        assert(board_add(&b, "scsi-cd") != NULL); /* an empty drive, and an empty place */
    }
    if (dev != NULL) {
        struct virtio_dev *vd = (struct virtio_dev *)dev;
        uint8_t *ram = gmem_map(&b.m->mem, 0, BOARD_RAM, true);
        size_t rest = size - 2 - 65;

        if ((data[1] & 1) != 0) { /* the input is the ring */
            memcpy(ram, data + 2, size - 2 < DATA_AT ? size - 2 : DATA_AT);
        } else {
            for (unsigned i = 0; i < vd->n_queues && i < 8; i++) {
                fill_split(ram + i * RING_BYTES, i, data + 2);
            }
        }
        for (unsigned i = 0; i < 4; i++) {
            memcpy(ram + DATA_AT + i * 0x8000u, data + 2 + 65, rest < 0x8000 ? rest : 0x8000);
        }
        set_up(&b, vd);
        for (size_t i = 2; i < size && i < 32; i++) {
            if ((data[i] & 0x80) != 0) {
                iobus_write(&b.m->mmio, BOARD_VIRTIO_GPA + CONFIG + (data[i] & 0x7f), data[1], 1);
            }
            set(&b, QUEUE_NOTIFY, data[i] % (vd->n_queues + 1));
            (void)loop_step(b.loop, 0);
        }
        set(&b, STATUS, 0);
        (void)loop_step(b.loop, 0);
    }
    board_done(&b);
    return 0;
}
