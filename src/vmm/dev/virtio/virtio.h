/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio.h - virtio 1.2 devices, seen without their transport.
 *
 * A device type is a struct virtio_class: its features, configuration space and what to do when the
 * driver notifies a queue. A transport (mmio.c, pci.c) carries registers and interrupts. Queue
 * handlers run on the device's loop with the machine's lock held.
 *
 * Device status (virtio 1.2, 2.1) moves RESET -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK -> DRIVER_OK;
 * queues are served only in DRIVER_OK. A driver that breaks the rules gets NEEDS_RESET.
 */
#pragma once

#include "os/loop.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/device.h"
#include "vmm/dev/virtio/vq.h"
#include "vmm/machine/machine.h"

enum {
    VIRTIO_MAX_QUEUES = 64,

    VIRTIO_S_ACKNOWLEDGE = 1,
    VIRTIO_S_DRIVER = 2,
    VIRTIO_S_DRIVER_OK = 4,
    VIRTIO_S_FEATURES_OK = 8,
    VIRTIO_S_NEEDS_RESET = 64,
    VIRTIO_S_FAILED = 128,

    VIRTIO_ISR_QUEUE = 1,
    VIRTIO_ISR_CONFIG = 2,

    VIRTIO_ID_NET = 1,
    VIRTIO_ID_BLK = 2,
    VIRTIO_ID_CONSOLE = 3,
    VIRTIO_ID_RNG = 4,
    VIRTIO_ID_BALLOON = 5,
    VIRTIO_ID_SCSI = 8,
    VIRTIO_ID_9P = 9,
    VIRTIO_ID_GPU = 16,
    VIRTIO_ID_INPUT = 18,
    VIRTIO_ID_VSOCK = 19,
    VIRTIO_ID_FS = 26,

    VIRTIO_INTERRUPT_CONFIG = -1,
    VIRTIO_INTERRUPT_NONE = -2,

    VIRTIO_NO_VECTOR = 0xffff,
};

/* Feature bits of every device (virtio 1.2, 6). */
#define VIRTIO_F_INDIRECT_DESC   (1ull << 28)
#define VIRTIO_F_EVENT_IDX       (1ull << 29)
#define VIRTIO_F_VERSION_1       (1ull << 32)
#define VIRTIO_F_ACCESS_PLATFORM (1ull << 33)
#define VIRTIO_F_RING_PACKED     (1ull << 34)

struct virtio_dev;

struct virtio_transport {
    /* what: a queue's index, VIRTIO_INTERRUPT_CONFIG, or _NONE after a reset. */
    void (*interrupt)(struct virtio_dev *vd, int what);
};

struct virtio_class {
    uint32_t id;
    uint16_t queue_size; /* the most that the driver may choose */
    size_t config_size;
    /* Sets features and the number of queues, claims back ends. */
    int (*init)(struct virtio_dev *vd, struct err **err);
    void (*done)(struct virtio_dev *vd);
    /* The whole configuration space, config_size bytes. */
    void (*get_config)(struct virtio_dev *vd, uint8_t *config);
    void (*set_config)(struct virtio_dev *vd, size_t off, const uint8_t *bytes, size_t len);
    void (*handle_queue)(struct virtio_dev *vd, unsigned index);
    /* The driver is about to reset the device, as Linux does when it powers off: takes what is in
     * the queues, whose notifications may not have been served yet. On any thread, with the machine's
     * lock held. May be NULL: such buffers are lost. */
    void (*drain)(struct virtio_dev *vd);
    /* The driver is ready (DRIVER_OK), or gone. Either may be NULL. */
    void (*started)(struct virtio_dev *vd);
    void (*reset)(struct virtio_dev *vd);
};

/* Options that every virtio device has. */
#define VIRTIO_OPTS(T)                                                                \
    OPT_BOOL(T, vd.opt_packed, "packed", "off", "packed rings"),                      \
        OPT_BOOL(T, vd.opt_indirect, "indirect_desc", "on", "indirect descriptors"),  \
        OPT_BOOL(T, vd.opt_event_idx, "event_idx", "on", "event index"),              \
        OPT_BOOL(T, vd.opt_ioeventfd, "ioeventfd", "on", "notifications by eventfd"), \
        OPT_BOOL(T, vd.opt_force_legacy, "force-legacy", "off", "accepted: off"),     \
        OPT_BOOL(T, vd.opt_iommu, "iommu_platform", "off", "accepted: off")

struct virtio_dev {
    union {
        struct device dev;
        struct pci_dev pci; /* of the PCI transport */
    };
    const struct virtio_class *cls;
    const struct virtio_transport *transport;
    struct loop *loop; /* where queues are served; the main loop unless init chose another */
    bool opt_packed, opt_indirect, opt_event_idx, opt_ioeventfd, opt_force_legacy, opt_iommu;

    uint64_t device_features;
    uint64_t driver_features;
    uint8_t status;
    uint8_t isr;
    uint32_t config_generation;
    unsigned n_queues;
    struct vq *queues; /* owned, n_queues */
    int *kick_fds;     /* owned: eventfds that the accelerator signals; -1: none */
    struct loop_source **kick_sources;
    bool queues_allocated;

    /* The transport. */
    uint64_t gpa;
    struct irq irq;
    uint32_t device_features_sel, driver_features_sel, queue_sel, shm_sel;
    struct virtio_pci *on_pci; /* owned by the PCI transport */
    /* Options of the PCI transport (virtio_pci_opts). */
    uint32_t opt_vectors;
    char *opt_disable_legacy;
    bool opt_disable_modern, opt_page_per_vq, opt_ats, opt_aer;
};

/* The realize, reset and destroy of a class whose .virtio is set: virtio over MMIO. */
int virtio_mmio_realize(struct device *dev, struct err **err);
void virtio_mmio_reset(struct device *dev);
void virtio_mmio_destroy(struct device *dev);
uint64_t virtio_mmio_read(void *dev, uint64_t off, unsigned size);
void virtio_mmio_write(void *dev, uint64_t off, uint64_t value, unsigned size);

/* For devices. */
static inline bool virtio_has(const struct virtio_dev *vd, uint64_t feature)
{
    return (vd->driver_features & feature) != 0;
}
static inline bool virtio_ready(const struct virtio_dev *vd)
{
    return (vd->status & (VIRTIO_S_DRIVER_OK | VIRTIO_S_NEEDS_RESET)) == VIRTIO_S_DRIVER_OK;
}
/* In init(), before it returns: how many queues there are. */
int virtio_set_queues(struct virtio_dev *vd, unsigned n, struct err **err) MUST_CHECK;
/* Raises the queue's interrupt unless the driver does not want one now. */
void virtio_notify(struct virtio_dev *vd, struct vq *vq);
void virtio_config_changed(struct virtio_dev *vd);
/* The driver broke the rules (virtio 1.2, 2.1.2). */
void virtio_broken(struct virtio_dev *vd, const char *why);
/* vq_pop() with virtio_broken() on bad rings; NULL when empty or broken. */
struct vq_elem *virtio_pop(struct virtio_dev *vd, struct vq *vq);

/* For transports. */
int virtio_core_init(struct virtio_dev *vd, const struct virtio_transport *transport,
                     struct err **err) MUST_CHECK;
void virtio_core_done(struct virtio_dev *vd);
void virtio_core_reset(struct virtio_dev *vd);
void virtio_set_status(struct virtio_dev *vd, uint8_t status);
int virtio_make_kicks(struct virtio_dev *vd, struct err **err) MUST_CHECK;
void virtio_kick(struct virtio_dev *vd, unsigned index);
void virtio_serve(struct virtio_dev *vd, unsigned index);
void virtio_start_queue(struct virtio_dev *vd, struct vq *vq);
uint32_t virtio_config_read(struct virtio_dev *vd, uint64_t off, unsigned size);
void virtio_config_write(struct virtio_dev *vd, uint64_t off, uint64_t value, unsigned size);

extern const struct pci_class virtio_pci;
extern const struct opt virtio_pci_opts[];
struct state_stream;
/* The transport's part of a saved device. */
void virtio_pci_save(struct virtio_dev *vd, struct state_stream *s);
void virtio_pci_load(struct virtio_dev *vd, struct state_stream *s);

/* A table entry's common half: the device by memory-mapped registers, and on PCI. */
#define VIRTIO_MMIO_CALLBACKS                                                              \
    .bus = "virtio-bus", .realize = virtio_mmio_realize, .reset = virtio_mmio_reset,       \
    .destroy = virtio_mmio_destroy
#define VIRTIO_PCI_CALLBACKS                                                               \
    .bus = "PCI", .realize = pci_realize, .reset = pci_reset, .destroy = pci_destroy,      \
    .bus_opts = virtio_pci_opts, .pci = &virtio_pci
#define VIRTIO_DEVICE_CLASS(name_, desc_, T, opts_, vclass_)                              \
    {                                                                                     \
        .name = (name_), .desc = (desc_), .opts = (opts_), .size = sizeof(T),             \
        .virtio = (vclass_), VIRTIO_MMIO_CALLBACKS                                        \
    }
#define VIRTIO_PCI_CLASS(name_, desc_, T, opts_, vclass_, boot_)                          \
    {                                                                                     \
        .name = (name_), .desc = (desc_), .opts = (opts_), .size = sizeof(T),             \
        .virtio = (vclass_), .boot_path = (boot_), VIRTIO_PCI_CALLBACKS                   \
    }
