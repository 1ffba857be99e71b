/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pci.c - virtio over PCI (virtio 1.2, 4.1): the modern interface, and for transitional devices the
 * legacy one (4.1.4.10).
 *
 *     BAR 0  legacy registers (I/O), on transitional devices
 *     BAR 1  MSI-X
 *     BAR 4  modern: common 0x0000, ISR 0x1000, device configuration 0x2000, notifications 0x3000,
 *            4 bytes a queue
 */
#include "vmm/dev/virtio/virtio.h"

#include "base/bytes.h"
#include "base/str.h"
#include "vmm/state/stream.h"

#include <errno.h>
#include <string.h>

enum {
    COMMON = 0x0000,
    ISR = 0x1000,
    CONFIG = 0x2000,
    NOTIFY = 0x3000,
    PART = 0x1000,
    MODERN_BYTES = 0x4000,
    MODERN_BAR = 4,
    MSIX_BAR = 1,
    NOTIFY_STRIDE = 4,
    UNSET_VECTORS = 0xffffffff,

    /* Types of capabilities (4.1.4). */
    CFG_COMMON = 1,
    CFG_NOTIFY = 2,
    CFG_ISR = 3,
    CFG_DEVICE = 4,
    CFG_PCI = 5,

    /* Common configuration (4.1.4.3). */
    C_DEVICE_FEATURES_SEL = 0,
    C_DEVICE_FEATURES = 4,
    C_DRIVER_FEATURES_SEL = 8,
    C_DRIVER_FEATURES = 12,
    C_CONFIG_VECTOR = 16,
    C_NUM_QUEUES = 18,
    C_STATUS = 20,
    C_GENERATION = 21,
    C_QUEUE_SEL = 22,
    C_QUEUE_SIZE = 24,
    C_QUEUE_VECTOR = 26,
    C_QUEUE_ENABLE = 28,
    C_QUEUE_NOTIFY_OFF = 30,
    C_QUEUE_DESC = 32,
    C_QUEUE_DRIVER = 40,
    C_QUEUE_DEVICE = 48,

    /* Legacy registers (4.1.4.10). */
    L_DEVICE_FEATURES = 0,
    L_DRIVER_FEATURES = 4,
    L_QUEUE_PFN = 8,
    L_QUEUE_SIZE = 12,
    L_QUEUE_SEL = 14,
    L_QUEUE_NOTIFY = 16,
    L_STATUS = 18,
    L_ISR = 19,
    L_CONFIG_VECTOR = 20,
    L_QUEUE_VECTOR = 22,
    LEGACY_PAGE = 4096,
};

struct virtio_pci {
    uint16_t config_vector;
    uint16_t vectors[VIRTIO_MAX_QUEUES];
    uint64_t kicks_at; /* where the accelerator watches, or PCI_UNMAPPED */
    bool legacy;
    uint32_t legacy_pfn[VIRTIO_MAX_QUEUES];
    unsigned cfg_cap;
};

const struct opt virtio_pci_opts[] = {
    OPT_STR(struct virtio_dev, pci.opt_addr, "addr", NULL, "slot and function, as 5 or 5.1"),
    OPT_STR(struct virtio_dev, pci.opt_bus, "bus", NULL, "bus, as pci.0"),
    OPT_STR(struct virtio_dev, pci.opt_romfile, "romfile", NULL, "option ROM; empty: none"),
    OPT_BOOL(struct virtio_dev, pci.opt_multifunction, "multifunction", "off",
             "slot has more functions"),
    OPT_U32(struct virtio_dev, pci.opt_rombar, "rombar", "1", "0: no option ROM"),
    OPT_U32(struct virtio_dev, opt_vectors, "vectors", "4294967295",
            "MSI-X vectors; 0: no MSI-X; default one a queue and one"),
    OPT_STR(struct virtio_dev, opt_disable_legacy, "disable-legacy", "auto",
            "no legacy interface: on, off, auto"),
    OPT_BOOL(struct virtio_dev, opt_disable_modern, "disable-modern", "off", "no modern interface"),
    OPT_BOOL(struct virtio_dev, opt_page_per_vq, "page-per-vq", "off", "accepted: off"),
    OPT_BOOL(struct virtio_dev, opt_ats, "ats", "off", "accepted: off"),
    OPT_BOOL(struct virtio_dev, opt_aer, "aer", "off", "accepted: off"),
    OPT_END,
};

static struct virtio_pci *on_pci(struct virtio_dev *vd)
{
    return vd->on_pci;
}

static void send_vector(struct virtio_dev *vd, uint16_t vector)
{
    if (vector != VIRTIO_NO_VECTOR) {
        pci_msix_send(&vd->pci, vector);
    }
}

static void pci_interrupt(struct virtio_dev *vd, int what)
{
    struct virtio_pci *vp = on_pci(vd);

    if (vp == NULL) {
        return;
    }
    if (what >= 0) {
        vd->isr |= VIRTIO_ISR_QUEUE;
    } else if (what == VIRTIO_INTERRUPT_CONFIG) {
        vd->isr |= VIRTIO_ISR_CONFIG;
    }
    if (pci_msix_enabled(&vd->pci)) {
        if (what >= 0) {
            send_vector(vd, vp->vectors[what]);
        } else if (what == VIRTIO_INTERRUPT_CONFIG) {
            send_vector(vd, vp->config_vector);
        }
    } else {
        pci_set_intx(&vd->pci, vd->isr != 0);
    }
}

static const struct virtio_transport pci_transport = { .interrupt = pci_interrupt };

/* Reading clears (4.1.4.5). */
static uint8_t isr_read(struct virtio_dev *vd)
{
    uint8_t isr = vd->isr;

    vd->isr = 0;
    pci_set_intx(&vd->pci, false);
    return isr;
}

static struct vq *selected(struct virtio_dev *vd)
{
    return vd->queue_sel < vd->n_queues ? &vd->queues[vd->queue_sel] : NULL;
}

/* Common configuration as bytes; accesses take a part of it. */
static void common_fill(struct virtio_dev *vd, uint8_t c[64])
{
    const struct vq *vq = selected(vd);
    struct virtio_pci *vp = on_pci(vd);

    memset(c, 0, 64);
    le32_put(c + C_DEVICE_FEATURES_SEL, vd->device_features_sel);
    if (vd->device_features_sel <= 1) {
        le32_put(c + C_DEVICE_FEATURES,
                 (uint32_t)(vd->device_features >> (vd->device_features_sel * 32)));
    }
    le32_put(c + C_DRIVER_FEATURES_SEL, vd->driver_features_sel);
    if (vd->driver_features_sel <= 1) {
        le32_put(c + C_DRIVER_FEATURES,
                 (uint32_t)(vd->driver_features >> (vd->driver_features_sel * 32)));
    }
    le16_put(c + C_CONFIG_VECTOR, vp->config_vector);
    le16_put(c + C_NUM_QUEUES, (uint16_t)vd->n_queues);
    c[C_STATUS] = vd->status;
    c[C_GENERATION] = (uint8_t)vd->config_generation;
    le16_put(c + C_QUEUE_SEL, (uint16_t)vd->queue_sel);
    if (vq != NULL) {
        le16_put(c + C_QUEUE_SIZE, vq->size);
        le16_put(c + C_QUEUE_VECTOR, vp->vectors[vd->queue_sel]);
        le16_put(c + C_QUEUE_ENABLE, vq->ready);
        le16_put(c + C_QUEUE_NOTIFY_OFF, (uint16_t)vd->queue_sel);
        le64_put(c + C_QUEUE_DESC, vq->desc_gpa);
        le64_put(c + C_QUEUE_DRIVER, vq->driver_gpa);
        le64_put(c + C_QUEUE_DEVICE, vq->device_gpa);
    }
}

static uint16_t checked_vector(const struct virtio_dev *vd, uint32_t v)
{
    return v < vd->pci.msix_n ? (uint16_t)v : VIRTIO_NO_VECTOR;
}

static void reset_transport(struct virtio_dev *vd)
{
    struct virtio_pci *vp = on_pci(vd);

    vp->config_vector = VIRTIO_NO_VECTOR;
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
        vp->vectors[i] = VIRTIO_NO_VECTOR;
        vp->legacy_pfn[i] = 0;
    }
}

static void status_write(struct virtio_dev *vd, uint8_t v)
{
    virtio_set_status(vd, v);
    if (v == 0) {
        reset_transport(vd);
    }
}

static void set_part(uint64_t *v, unsigned off, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    uint8_t part[8];

    le64_put(bytes, *v);
    le64_put(part, value);
    memcpy(bytes + off, part, size);
    *v = le64_get(bytes);
}

static void queue_write(struct virtio_dev *vd, unsigned off, uint64_t v, unsigned size)
{
    struct virtio_pci *vp = on_pci(vd);
    struct vq *vq = selected(vd);

    if (vq == NULL) {
        return;
    }
    if (off == C_QUEUE_VECTOR) {
        vp->vectors[vd->queue_sel] = checked_vector(vd, (uint32_t)v);
    } else if (vq->ready) {
        return; /* nothing changes under a running queue */
    } else if (off == C_QUEUE_SIZE) {
        vq->size = (uint16_t)(v <= vq->max_size ? v : 0);
    } else if (off == C_QUEUE_ENABLE) {
        if (v == 1) {
            virtio_start_queue(vd, vq);
        }
    } else if (off >= C_QUEUE_DESC && off + size <= C_QUEUE_DEVICE + 8 && (off & 7) + size <= 8) {
        uint64_t *area = off < C_QUEUE_DRIVER   ? &vq->desc_gpa
                         : off < C_QUEUE_DEVICE ? &vq->driver_gpa
                                                : &vq->device_gpa;

        set_part(area, off & 7, v, size);
    }
}

static void common_write(struct virtio_dev *vd, unsigned off, uint64_t v, unsigned size)
{
    switch (off) {
    case C_DEVICE_FEATURES_SEL:
        vd->device_features_sel = (uint32_t)v;
        break;
    case C_DRIVER_FEATURES_SEL:
        vd->driver_features_sel = (uint32_t)v;
        break;
    case C_DRIVER_FEATURES:
        if (vd->driver_features_sel <= 1 && (vd->status & VIRTIO_S_FEATURES_OK) == 0) {
            set_part(&vd->driver_features, vd->driver_features_sel * 4, v, 4);
        }
        break;
    case C_CONFIG_VECTOR:
        on_pci(vd)->config_vector = checked_vector(vd, (uint32_t)v);
        break;
    case C_STATUS:
        status_write(vd, (uint8_t)v);
        break;
    case C_QUEUE_SEL:
        vd->queue_sel = (uint32_t)v & 0xffff;
        break;
    default:
        queue_write(vd, off, v, size);
        break;
    }
}

static uint64_t modern_read(void *dev, uint64_t off, unsigned size)
{
    struct virtio_dev *vd = dev;
    uint8_t c[64];
    uint64_t v = 0;

    switch (off / PART * PART) {
    case COMMON:
        if (off + size <= sizeof(c)) {
            common_fill(vd, c);
            memcpy(&v, c + off, size);
        }
        return v;
    case ISR:
        return off == ISR ? isr_read(vd) : 0;
    case CONFIG:
        return virtio_config_read(vd, off - CONFIG, size);
    default:
        return 0;
    }
}

static void modern_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct virtio_dev *vd = dev;

    switch (off / PART * PART) {
    case COMMON:
        common_write(vd, (unsigned)off, value, size);
        break;
    case CONFIG:
        virtio_config_write(vd, off - CONFIG, value, size);
        break;
    case NOTIFY:
        virtio_kick(vd, (unsigned)(off - NOTIFY) / NOTIFY_STRIDE);
        break;
    default:
        break;
    }
}

static const struct io_ops modern_io = { .read = modern_read,
                                         .write = modern_write,
                                         .max_size = 4 };

/* ---- the legacy interface ---- */

static unsigned legacy_config_at(const struct virtio_dev *vd)
{
    return pci_msix_enabled(&vd->pci) ? 24 : 20;
}

/* Rings in one piece: descriptors, available, and on the next page used (2.7.2). */
static void legacy_place(struct virtio_dev *vd, uint32_t pfn)
{
    struct vq *vq = selected(vd);

    if (vq == NULL) {
        return;
    }
    on_pci(vd)->legacy_pfn[vd->queue_sel] = pfn;
    if (pfn == 0) {
        if (vq->ready) {
            vq_reset(vq);
        }
        return;
    }
    vq->size = vq->max_size;
    vq->desc_gpa = (uint64_t)pfn * LEGACY_PAGE;
    vq->driver_gpa = vq->desc_gpa + (uint64_t)vq->size * 16;
    vq->device_gpa = round_up_u64(vq->driver_gpa + 6 + (uint64_t)vq->size * 2, LEGACY_PAGE);
    if (!vq->ready) {
        virtio_start_queue(vd, vq);
    }
}

static uint64_t legacy_read(void *dev, uint64_t off, unsigned size)
{
    struct virtio_dev *vd = dev;
    struct virtio_pci *vp = on_pci(vd);
    const struct vq *vq = selected(vd);
    unsigned config = legacy_config_at(vd);

    if (off >= config) {
        return virtio_config_read(vd, off - config, size);
    }
    switch (off) {
    case L_DEVICE_FEATURES:
        return (uint32_t)vd->device_features;
    case L_DRIVER_FEATURES:
        return (uint32_t)vd->driver_features;
    case L_QUEUE_PFN:
        return vq != NULL ? vp->legacy_pfn[vd->queue_sel] : 0;
    case L_QUEUE_SIZE:
        return vq != NULL ? vq->max_size : 0;
    case L_QUEUE_SEL:
        return vd->queue_sel;
    case L_STATUS:
        return vd->status;
    case L_ISR:
        return isr_read(vd);
    case L_CONFIG_VECTOR:
        return vp->config_vector;
    case L_QUEUE_VECTOR:
        return vq != NULL ? vp->vectors[vd->queue_sel] : VIRTIO_NO_VECTOR;
    default:
        return 0;
    }
}

static void legacy_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct virtio_dev *vd = dev;
    struct virtio_pci *vp = on_pci(vd);
    unsigned config = legacy_config_at(vd);
    uint32_t v = (uint32_t)value;

    if (off >= config) {
        virtio_config_write(vd, off - config, value, size);
        return;
    }
    switch (off) {
    case L_DRIVER_FEATURES:
        vd->driver_features = v & vd->device_features;
        break;
    case L_QUEUE_PFN:
        legacy_place(vd, v);
        break;
    case L_QUEUE_SEL:
        vd->queue_sel = v & 0xffff;
        break;
    case L_QUEUE_NOTIFY:
        virtio_kick(vd, v & 0xffff);
        break;
    case L_STATUS:
        status_write(vd, (uint8_t)v);
        break;
    case L_CONFIG_VECTOR:
        vp->config_vector = checked_vector(vd, v);
        break;
    case L_QUEUE_VECTOR:
        if (selected(vd) != NULL) {
            vp->vectors[vd->queue_sel] = checked_vector(vd, v);
        }
        break;
    default:
        break;
    }
}

static const struct io_ops legacy_io = { .read = legacy_read,
                                         .write = legacy_write,
                                         .max_size = 4 };

/* ---- the function ---- */

/* The accelerator watches the notification registers where the guest has put them. */
static void move_kicks(struct virtio_dev *vd, uint64_t at)
{
    struct virtio_pci *vp = on_pci(vd);
    struct accel *a = vd->dev.m->accel;

    if (a == NULL || !vd->opt_ioeventfd || at == vp->kicks_at) {
        return;
    }
    for (int add = 0; add < 2; add++) {
        uint64_t base = add != 0 ? at : vp->kicks_at;

        for (unsigned i = 0; i < vd->n_queues && base != PCI_UNMAPPED; i++) {
            (void)accel_ioeventfd(a, vd->kick_fds[i], false, base + NOTIFY + i * NOTIFY_STRIDE, 0,
                                  NULL, add != 0);
        }
    }
    vp->kicks_at = at;
}

/* The window through configuration space (4.1.4.9). */
static void cfg_written(struct virtio_dev *vd)
{
    uint8_t *cap = vd->pci.config + on_pci(vd)->cfg_cap;
    uint32_t off = le32_get(cap + 8);
    uint32_t size = le32_get(cap + 12);

    if (cap[4] == MODERN_BAR && (size == 1 || size == 2 || size == 4) &&
        range_within(off, size, MODERN_BYTES)) {
        modern_write(vd, off, le32_get(cap + 16), size);
    }
}

static void virtio_pci_config_written(struct pci_dev *pd, unsigned off, unsigned size)
{
    struct virtio_dev *vd = (struct virtio_dev *)pd;
    struct virtio_pci *vp = on_pci(vd);

    (void)size;
    move_kicks(vd, pd->bars[MODERN_BAR].at);
    if (vp->cfg_cap != 0 && off >= vp->cfg_cap + 16 && off < vp->cfg_cap + 20) {
        cfg_written(vd);
    }
}

static unsigned add_cfg(struct virtio_dev *vd, uint8_t type, unsigned len, uint32_t off,
                        uint32_t length)
{
    unsigned cap = pci_add_capability(&vd->pci, PCI_CAP_VENDOR, len);
    uint8_t *c = vd->pci.config + cap;

    c[2] = (uint8_t)len;
    c[3] = type;
    c[4] = MODERN_BAR;
    le32_put(c + 8, off);
    le32_put(c + 12, length);
    return cap;
}

static const struct {
    uint32_t id;
    uint16_t transitional; /* 0: modern only */
    uint32_t class_code;
} types[] = {
    { VIRTIO_ID_NET, 0x1000, 0x020000 },     { VIRTIO_ID_BLK, 0x1001, 0x010000 },
    { VIRTIO_ID_BALLOON, 0x1002, 0x00ff00 }, { VIRTIO_ID_CONSOLE, 0x1003, 0x078000 },
    { VIRTIO_ID_SCSI, 0x1004, 0x010000 },    { VIRTIO_ID_RNG, 0x1005, 0x00ff00 },
    { VIRTIO_ID_9P, 0x1009, 0x000200 },      { VIRTIO_ID_FS, 0, 0x018000 },
    { VIRTIO_ID_GPU, 0, 0x038000 },          { VIRTIO_ID_INPUT, 0, 0x090000 },
    { VIRTIO_ID_VSOCK, 0, 0x078000 },
};

static void set_identity(struct virtio_dev *vd, bool legacy)
{
    uint8_t *c = vd->pci.config;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i].id == vd->cls->id) {
            uint16_t device = legacy ? types[i].transitional : (uint16_t)(0x1040 + vd->cls->id);

            le16_put(c + PCI_DEVICE_ID, device);
            le16_put(c + PCI_SUBSYSTEM_ID, legacy ? (uint16_t)vd->cls->id : PCI_SUBSYSTEM_QEMU);
            c[PCI_REVISION] = legacy ? 0 : 1;
            c[PCI_CLASS_PROG] = (uint8_t)types[i].class_code;
            le16_put(c + PCI_CLASS, (uint16_t)(types[i].class_code >> 8));
            if (types[i].transitional == 0) {
                vd->on_pci->legacy = false;
            }
        }
    }
}

static int choose_legacy(struct virtio_dev *vd, bool *ret, struct err **err)
{
    const char *v = vd->opt_disable_legacy != NULL ? vd->opt_disable_legacy : "auto";
    bool off;

    if (str_eq(v, "auto")) {
        *ret = vd->pci.bus->bridge == NULL || !vd->pci.bus->express;
    } else if (str_to_bool(v, &off) == 0) {
        *ret = !off;
    } else {
        return err_set(err, EINVAL, "disable-legacy=%s: use on, off or auto", v);
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i].id == vd->dev.cls->virtio->id && types[i].transitional == 0) {
            *ret = false;
        }
    }
    return vd->opt_disable_modern && !*ret ? err_set(err, EINVAL, "both interfaces are disabled")
                                           : 0;
}

static int virtio_pci_init(struct pci_dev *pd, struct err **err)
{
    struct virtio_dev *vd = (struct virtio_dev *)pd;
    struct virtio_pci *vp = calloc(1, sizeof(*vp));
    unsigned vectors;
    unsigned cap;
    int r;

    if (vp == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    vd->on_pci = vp;
    vp->kicks_at = PCI_UNMAPPED;
    r = choose_legacy(vd, &vp->legacy, err);
    if (r == 0) {
        r = virtio_core_init(vd, &pci_transport, err);
    }
    if (r == 0) {
        r = virtio_make_kicks(vd, err);
    }
    if (r < 0) {
        return r;
    }
    set_identity(vd, vp->legacy);
    if (vp->legacy) {
        uint64_t size = 32;

        while (size < 24 + vd->cls->config_size) {
            size *= 2;
        }
        pci_add_bar_io(pd, 0, PCI_BAR_IO, size, &legacy_io, vd, "virtio-legacy");
    }
    vectors = vd->opt_vectors != UNSET_VECTORS ? vd->opt_vectors : vd->n_queues + 1;
    if (vectors > 0) {
        r = pci_add_msix(pd, MSIX_BAR, vectors, err);
    }
    if (r == 0 && !vd->opt_disable_modern) {
        pci_add_bar_io(pd, MODERN_BAR, PCI_BAR_MEM64, MODERN_BYTES, &modern_io, vd,
                       "virtio-modern");
        pd->config[PCI_BAR0 + MODERN_BAR * 4] |= 8;
        (void)add_cfg(vd, CFG_COMMON, 16, COMMON, PART);
        (void)add_cfg(vd, CFG_ISR, 16, ISR, PART);
        (void)add_cfg(vd, CFG_DEVICE, 16, CONFIG, PART);
        cap = add_cfg(vd, CFG_NOTIFY, 20, NOTIFY, PART);
        le32_put(pd->config + cap + 16, NOTIFY_STRIDE);
        vp->cfg_cap = add_cfg(vd, CFG_PCI, 20, 0, 0);
        memset(pd->wmask + vp->cfg_cap + 4, 0xff, 1);
        memset(pd->wmask + vp->cfg_cap + 8, 0xff, 12);
    }
    reset_transport(vd);
    return r == 0 && vd->cls->id == VIRTIO_ID_NET ? pci_add_rom(pd, "efi-virtio.rom", err) : r;
}

static void virtio_pci_done(struct pci_dev *pd)
{
    struct virtio_dev *vd = (struct virtio_dev *)pd;

    if (vd->on_pci == NULL) {
        return;
    }
    move_kicks(vd, PCI_UNMAPPED);
    virtio_core_done(vd);
    free(vd->on_pci);
    vd->on_pci = NULL;
}

static void virtio_pci_reset(struct pci_dev *pd)
{
    struct virtio_dev *vd = (struct virtio_dev *)pd;

    virtio_core_reset(vd);
    reset_transport(vd);
    move_kicks(vd, pd->bars[MODERN_BAR].at);
}

void virtio_pci_save(struct virtio_dev *vd, struct state_stream *s)
{
    struct virtio_pci *vp = on_pci(vd);

    state_put_record(s, "config-vector", &vp->config_vector, sizeof(vp->config_vector));
    state_put_record(s, "vectors", vp->vectors, sizeof(vp->vectors));
    state_put_record(s, "legacy-pfn", vp->legacy_pfn, sizeof(vp->legacy_pfn));
}

void virtio_pci_load(struct virtio_dev *vd, struct state_stream *s)
{
    struct virtio_pci *vp = on_pci(vd);

    state_get_record(s, "config-vector", &vp->config_vector, sizeof(vp->config_vector));
    state_get_record(s, "vectors", vp->vectors, sizeof(vp->vectors));
    state_get_record(s, "legacy-pfn", vp->legacy_pfn, sizeof(vp->legacy_pfn));
    move_kicks(vd, vd->pci.bars[MODERN_BAR].at);
}

const struct pci_class virtio_pci = {
    .vendor = PCI_VENDOR_VIRTIO,
    .pin = 1,
    .express = true,
    .init = virtio_pci_init,
    .done = virtio_pci_done,
    .reset = virtio_pci_reset,
    .config_written = virtio_pci_config_written,
};
