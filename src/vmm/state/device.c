/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device.c - devices by their tables: PCI's and virtio's common part, then the class's fields. */
#include "vmm/dev/device.h"

#include "base/bytes.h"
#include "base/str.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/state/state.h"
#include "vmm/state/stream.h"

#include <errno.h>
#include <string.h>

/* What a virtqueue needs beyond its rings. */
struct queue_state {
    uint64_t desc, driver, device;
    uint16_t size, next_avail, next_used, signalled_used;
    uint8_t ready, avail_wrap, used_wrap, signalled_valid;
    uint32_t in_use;
};

static void save_pci(const struct pci_dev *pd, struct state_stream *s)
{
    uint8_t intx = pd->intx;

    state_put_record(s, "config", pd->config, pd->config_size);
    state_put_record(s, "intx", &intx, 1);
    state_put_record(s, "msix-table", pd->msix_table, pd->msix_n * 16u);
    state_put_record(s, "msix-pba", pd->msix_pba, (pd->msix_n + 63) / 64 * 8);
}

static void load_pci(struct pci_dev *pd, struct state_stream *s)
{
    uint8_t fixed[8];
    uint8_t intx = 0;

    memcpy(fixed, pd->config, 4);
    state_get_record(s, "config", pd->config, pd->config_size);
    if (s->error == 0 && memcmp(fixed, pd->config, 4) != 0) {
        s->error = -EINVAL;
    }
    state_get_record(s, "intx", &intx, 1);
    state_get_record(s, "msix-table", pd->msix_table, pd->msix_n * 16u);
    state_get_record(s, "msix-pba", pd->msix_pba, (pd->msix_n + 63) / 64 * 8);
    if (s->error == 0) {
        pci_update_bars(pd);
        pci_set_intx(pd, intx != 0);
        if (pd->dev.cls->pci->config_written != NULL) {
            pd->dev.cls->pci->config_written(pd, 0, 0);
        }
    }
}

static void save_virtio(struct virtio_dev *vd, struct state_stream *s)
{
    uint8_t head[24] = { vd->status, vd->isr };

    le64_put(head + 8, vd->driver_features);
    le32_put(head + 16, vd->config_generation);
    state_put_record(s, "virtio", head, sizeof(head));
    for (unsigned i = 0; i < vd->n_queues; i++) {
        const struct vq *q = &vd->queues[i];
        struct queue_state st;

        memset(&st, 0, sizeof(st));
        st.desc = q->desc_gpa;
        st.driver = q->driver_gpa;
        st.device = q->device_gpa;
        st.size = q->size;
        st.next_avail = q->next_avail;
        st.next_used = q->next_used;
        st.signalled_used = q->signalled_used;
        st.ready = q->ready;
        st.avail_wrap = q->avail_wrap;
        st.used_wrap = q->used_wrap;
        st.signalled_valid = q->signalled_valid;
        st.in_use = q->in_use;
        state_put_record(s, "queue", &st, sizeof(st));
    }
    if (vd->on_pci != NULL) {
        virtio_pci_save(vd, s);
    }
}

static void load_virtio(struct virtio_dev *vd, struct state_stream *s)
{
    uint8_t head[24];

    state_get_record(s, "virtio", head, sizeof(head));
    vd->driver_features = le64_get(head + 8) & vd->device_features;
    vd->config_generation = le32_get(head + 16);
    for (unsigned i = 0; i < vd->n_queues; i++) {
        struct vq *q = &vd->queues[i];
        struct queue_state st;

        state_get_record(s, "queue", &st, sizeof(st));
        if (s->error != 0) {
            return;
        }
        vq_reset(q);
        q->desc_gpa = st.desc;
        q->driver_gpa = st.driver;
        q->device_gpa = st.device;
        q->size = st.size <= q->max_size ? st.size : 0;
        if (st.ready != 0) {
            virtio_start_queue(vd, q);
            /* Slots of a packed ring, running indices of a split one. */
            q->next_avail = q->packed && st.next_avail >= q->size ? 0 : st.next_avail;
            q->next_used = q->packed && st.next_used >= q->size ? 0 : st.next_used;
            q->signalled_used = st.signalled_used;
            q->signalled_valid = st.signalled_valid != 0;
            q->avail_wrap = st.avail_wrap != 0;
            q->used_wrap = st.used_wrap != 0;
            q->in_use = st.in_use <= q->size ? st.in_use : q->size;
        }
    }
    vd->isr = head[1];
    vd->status = head[0];
    if (vd->on_pci != NULL) {
        virtio_pci_load(vd, s);
    }
}

/* The driver's buffers that were there before are looked at again once it runs. */
static void wake_queues(struct virtio_dev *vd)
{
    for (unsigned i = 0; i < vd->n_queues && virtio_ready(vd); i++) {
        virtio_kick(vd, i);
    }
}

static void save_one(struct device *dev, struct state_stream *s)
{
    if (dev->cls->pre_save != NULL) {
        dev->cls->pre_save(dev);
    }
    state_put_record(s, dev->cls->name, dev->id, dev->id != NULL ? strlen(dev->id) : 0);
    if (dev->cls->pci != NULL) {
        save_pci((struct pci_dev *)dev, s);
    }
    if (dev->cls->virtio != NULL) {
        save_virtio((struct virtio_dev *)dev, s);
    }
    for (const struct state_field *f = dev->cls->fields; f != NULL && f->name != NULL; f++) {
        state_put_record(s, f->name, (const uint8_t *)dev + f->offset, f->size);
    }
    if (dev->cls->save_more != NULL) {
        dev->cls->save_more(dev, s);
    }
}

static int load_one(struct device *dev, struct state_stream *s, struct err **err)
{
    char name[STATE_NAME_MAX + 1];
    char id[256];
    uint64_t len;

    state_get_head(s, name, &len);
    if (s->error != 0 || !str_eq(name, dev->cls->name) || len >= sizeof(id)) {
        return err_set(err, EINVAL, "the saved machine has '%s' where this one has '%s'", name,
                       dev->cls->name);
    }
    state_get(s, id, len);
    if (dev->cls->pci != NULL) {
        load_pci((struct pci_dev *)dev, s);
    }
    if (dev->cls->virtio != NULL) {
        load_virtio((struct virtio_dev *)dev, s);
    }
    for (const struct state_field *f = dev->cls->fields; f != NULL && f->name != NULL; f++) {
        state_get_record(s, f->name, (uint8_t *)dev + f->offset, f->size);
    }
    if (dev->cls->load_more != NULL && s->error == 0) {
        dev->cls->load_more(dev, s);
    }
    if (s->error != 0) {
        return err_set(err, EINVAL, "the saved state of '%s' is broken, or of another version",
                       dev->cls->name);
    }
    return dev->cls->post_load != NULL ? dev->cls->post_load(dev, err) : 0;
}

void state_save_devices(struct machine *m, struct state_stream *s)
{
    LIST_FOREACH (&m->devices, it) {
        save_one(CONTAINER_OF(it, struct device, link), s);
    }
}

int state_load_devices(struct machine *m, struct state_stream *s, struct err **err)
{
    LIST_FOREACH (&m->devices, it) {
        int r = load_one(CONTAINER_OF(it, struct device, link), s, err);

        if (r < 0) {
            return r;
        }
    }
    LIST_FOREACH (&m->devices, it) {
        struct device *dev = CONTAINER_OF(it, struct device, link);

        if (dev->cls->virtio != NULL) {
            wake_queues((struct virtio_dev *)dev);
        }
    }
    return 0;
}
