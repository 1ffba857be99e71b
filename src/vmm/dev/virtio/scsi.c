/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scsi.c - the SCSI host adapter (virtio 1.2, 5.6): queues for control, events and requests. A
 * request is a header with the command, data out; a response with status and sense, data in.
 */
#include "base/bytes.h"
#include "vmm/dev/disk/scsi_bus.h"
#include "vmm/dev/virtio/virtio.h"

#include <errno.h>
#include <string.h>

#define F_INOUT   (1ull << 0)
#define F_HOTPLUG (1ull << 1)
#define F_CHANGE  (1ull << 2)

enum {
    Q_CONTROL = 0,
    Q_EVENT = 1,
    Q_REQUEST = 2,

    CDB_BYTES = 32,
    SENSE_BYTES = 96,
    REQUEST_BYTES = 19 + CDB_BYTES,
    RESPONSE_BYTES = 12 + SENSE_BYTES,
    CONFIG_BYTES = 36,
    EVENT_BYTES = 16,
    CONTROL_BYTES = 24,
    MAX_TARGET = 255,
    MAX_LUN = 16383,
    SEG_MAX = 254,

    RESP_OK = 0,
    RESP_BAD_TARGET = 3,
    RESP_FAILURE = 9,
    TMF_DONE = 0,
    TMF_REJECTED = 11,
    TMF_BAD_LUN = 12,

    TMF = 0,
    TMF_ABORT_TASK = 0,
    TMF_ABORT_TASK_SET = 1,
    TMF_CLEAR_TASK_SET = 3,
    TMF_NEXUS_RESET = 4,
    TMF_LUN_RESET = 5,

    EVENT_TRANSPORT_RESET = 1,
    REASON_RESCAN = 1,
    REASON_REMOVED = 2,

    INQUIRY = 0x12,
    REPORT_LUNS = 0xa0,
};

#define EVENTS_MISSED (1u << 31)

struct vscsi {
    struct virtio_dev vd;
    uint32_t opt_queues, opt_max_sectors, opt_per_lun, opt_queue_size;
    bool opt_hotplug, opt_change;
    char *opt_iothread;
    struct scsi_bus *bus; /* owned */
    bool missed;          /* an event found no buffer */
};

struct request {
    struct scsi_req req; /* first */
    struct vscsi *vs;
    struct vq *vq;
    struct vq_elem *elem;
    struct iovec *data; /* owned */
    size_t max;         /* bytes that data holds */
};

static const struct opt vscsi_opts[] = {
    VIRTIO_OPTS(struct vscsi),
    OPT_U32(struct vscsi, opt_queues, "num_queues", "0", "request queues; 0: one a CPU"),
    OPT_U32(struct vscsi, opt_max_sectors, "max_sectors", "65535", "of one request"),
    OPT_U32(struct vscsi, opt_per_lun, "cmd_per_lun", "128", "commands of one unit"),
    OPT_U32(struct vscsi, opt_queue_size, "virtqueue_size", "256", "accepted: 256"),
    OPT_BOOL(struct vscsi, opt_hotplug, "hotplug", "on", "tells of units that come and go"),
    OPT_BOOL(struct vscsi, opt_change, "param_change", "on", "tells of units that change"),
    OPT_STR(struct vscsi, opt_iothread, "iothread", NULL, "accepted: the main loop serves it"),
    OPT_END,
};

/* ---- requests ---- */

/* target and unit of 8 bytes (5.6.6.1); false: no unit can have that. */
static bool parse_lun(const uint8_t *lun, uint32_t *target, uint32_t *number)
{
    *target = lun[1];
    *number = be16_get(lun + 2) & 0x3fff;
    return lun[0] == 1 && (lun[2] == 0 || (lun[2] & 0xc0) == 0x40) && lun[4] == 0 && lun[5] == 0 &&
           lun[6] == 0 && lun[7] == 0;
}

static void respond(struct vscsi *vs, struct vq *vq, struct vq_elem *e, uint8_t response,
                    uint8_t status, const uint8_t *sense, uint32_t resid, size_t in_bytes)
{
    uint8_t r[RESPONSE_BYTES] = { 0 };

    le32_put(r, sense != NULL ? SCSI_SENSE_BYTES : 0);
    le32_put(r + 4, resid);
    r[10] = status;
    r[11] = response;
    if (sense != NULL) {
        memcpy(r + 12, sense, SCSI_SENSE_BYTES);
    }
    vq_push(vq, e, (uint32_t)(iov_write(e->in, e->n_in, 0, r, sizeof(r)) + in_bytes));
    virtio_notify(&vs->vd, vq);
}

static void request_done(struct scsi_req *req)
{
    struct request *r = (struct request *)req;
    bool checked = req->status == SCSI_CHECK_CONDITION;
    int64_t want = scsi_transfer(req->lun, req->cdb);
    bool in = want >= 0;
    size_t asked = min_u64(r->max, (uint64_t)(in ? want : -want));

    respond(r->vs, r->vq, r->elem, RESP_OK, req->status, checked ? req->sense : NULL,
            (uint32_t)(asked > req->transferred ? asked - req->transferred : 0),
            in ? req->transferred : 0);
    free(r->data);
    free(r);
}

/* What a target says of units it does not have. */
static void absent_unit(struct vscsi *vs, struct vq *vq, struct vq_elem *e, const uint8_t *cdb,
                        uint32_t target)
{
    uint8_t data[2048] = { 0 };
    uint8_t sense[SCSI_SENSE_BYTES] = { 0x70, 0, SENSE_ILLEGAL_REQUEST, [7] = 10, [12] = 0x25 };
    size_t len;
    size_t done;

    if (cdb[0] == REPORT_LUNS) {
        len = min_u64(scsi_report_luns(vs->bus, target, data, sizeof(data)), be32_get(cdb + 6));
    } else if (cdb[0] == INQUIRY && (cdb[1] & 1) == 0) {
        data[0] = 0x7f; /* nothing here */
        data[2] = 5;
        data[4] = 31;
        len = min_u64(36, be16_get(cdb + 3));
    } else {
        respond(vs, vq, e, RESP_OK, SCSI_CHECK_CONDITION, sense, 0, 0);
        return;
    }
    done = iov_write(e->in, e->n_in, RESPONSE_BYTES, data, len);
    respond(vs, vq, e, RESP_OK, SCSI_GOOD, NULL, 0, done);
}

static void start(struct vscsi *vs, struct vq *vq, struct vq_elem *e)
{
    uint8_t h[REQUEST_BYTES];
    size_t in_bytes = iov_size(e->in, e->n_in);
    size_t out_bytes = iov_size(e->out, e->n_out);
    uint32_t target;
    uint32_t number;
    struct scsi_dev *sd;
    struct request *r;
    bool out;
    unsigned n;

    if (in_bytes < RESPONSE_BYTES || iov_read(e->out, e->n_out, 0, h, sizeof(h)) != sizeof(h)) {
        virtio_broken(&vs->vd, "a request without header or response");
        (void)vq_elem_free(e);
        return;
    }
    if (!parse_lun(h, &target, &number) || !scsi_has_target(vs->bus, target)) {
        respond(vs, vq, e, RESP_BAD_TARGET, 0, NULL, 0, 0);
        return;
    }
    sd = scsi_find(vs->bus, target, number);
    if (sd == NULL || h[19] == REPORT_LUNS) {
        absent_unit(vs, vq, e, h + 19, target);
        return;
    }
    out = out_bytes > REQUEST_BYTES;
    n = out ? e->n_out : e->n_in;
    r = calloc(1, sizeof(*r));
    if (r == NULL || (r->data = calloc(n > 0 ? n : 1, sizeof(*r->data))) == NULL) {
        free(r);
        respond(vs, vq, e, RESP_FAILURE, 0, NULL, 0, 0);
        return;
    }
    r->vs = vs;
    r->vq = vq;
    r->elem = e;
    r->max = out ? out_bytes - REQUEST_BYTES : in_bytes - RESPONSE_BYTES;
    r->req.lun = &sd->lun;
    memcpy(r->req.cdb, h + 19, sizeof(r->req.cdb));
    r->req.n_iov = out ? iov_slice(e->out, e->n_out, REQUEST_BYTES, r->max, r->data, n)
                       : iov_slice(e->in, e->n_in, RESPONSE_BYTES, r->max, r->data, n);
    r->req.iov = r->data;
    r->req.done = request_done;
    scsi_start(&r->req);
}

/* ---- control ---- */

static void drain_unit(struct scsi_dev *sd)
{
    if (sd->disk.node != NULL) {
        block_drain(sd->disk.node->ctx, sd->disk.node);
    }
}

/* Commands are over soon or were never started, so that aborting is waiting. */
static uint8_t task_management(struct vscsi *vs, const uint8_t *c)
{
    uint32_t subtype = le32_get(c + 4);
    uint32_t target;
    uint32_t number;
    struct scsi_dev *sd;

    if (!parse_lun(c + 8, &target, &number)) {
        return TMF_BAD_LUN;
    }
    sd = scsi_find(vs->bus, target, number);
    if (sd == NULL) {
        return TMF_BAD_LUN;
    }
    switch (subtype) {
    case TMF_ABORT_TASK:
    case TMF_ABORT_TASK_SET:
    case TMF_CLEAR_TASK_SET:
        drain_unit(sd);
        return TMF_DONE;
    case TMF_NEXUS_RESET:
    case TMF_LUN_RESET:
        drain_unit(sd);
        scsi_lun_reset(&sd->lun);
        return TMF_DONE;
    default:
        return TMF_REJECTED;
    }
}

static void control(struct vscsi *vs, struct vq *vq, struct vq_elem *e)
{
    uint8_t c[CONTROL_BYTES] = { 0 };
    uint8_t reply[5] = { 0 };
    size_t n = iov_read(e->out, e->n_out, 0, c, sizeof(c));
    size_t len;

    if (n >= CONTROL_BYTES && le32_get(c) == TMF) {
        reply[0] = task_management(vs, c);
        len = iov_write(e->in, e->n_in, 0, reply, 1);
    } else { /* no asynchronous notifications */
        reply[4] = n >= 4 && le32_get(c) <= 2 ? RESP_OK : RESP_FAILURE;
        len = iov_write(e->in, e->n_in, 0, reply, 5);
    }
    vq_push(vq, e, (uint32_t)len);
    virtio_notify(&vs->vd, vq);
}

/* ---- events ---- */

static void send_event(struct vscsi *vs, uint32_t event, const struct scsi_dev *sd, uint32_t reason)
{
    struct vq *vq = &vs->vd.queues[Q_EVENT];
    struct vq_elem *e = vq->ready ? virtio_pop(&vs->vd, vq) : NULL;
    uint8_t b[EVENT_BYTES] = { 0 };

    if (e == NULL) {
        vs->missed = true;
        return;
    }
    le32_put(b, event | (vs->missed ? EVENTS_MISSED : 0));
    vs->missed = false;
    if (sd != NULL) {
        b[4] = 1;
        b[5] = (uint8_t)sd->target;
        /* As in REPORT LUNS, which Linux compares with. */
        be16_put(b + 6, (uint16_t)(sd->number < 256 ? sd->number : 0x4000 | sd->number));
    }
    le32_put(b + 12, reason);
    vq_push(vq, e, (uint32_t)iov_write(e->in, e->n_in, 0, b, sizeof(b)));
    virtio_notify(&vs->vd, vq);
}

static void unit_changed(void *arg, struct scsi_dev *sd, bool here)
{
    struct vscsi *vs = arg;

    if (virtio_ready(&vs->vd) && virtio_has(&vs->vd, F_HOTPLUG)) {
        send_event(vs, EVENT_TRANSPORT_RESET, sd, here ? REASON_RESCAN : REASON_REMOVED);
    }
}

static void vscsi_handle(struct virtio_dev *vd, unsigned index)
{
    struct vscsi *vs = (struct vscsi *)vd;
    struct vq *vq = &vd->queues[index];
    struct vq_elem *e;

    if (index == Q_EVENT) {
        if (vs->missed) {
            send_event(vs, 0, NULL, 0);
        }
        return;
    }
    do {
        vq_enable_notify(vq, false);
        while ((e = virtio_pop(vd, vq)) != NULL) {
            if (index == Q_CONTROL) {
                control(vs, vq, e);
            } else {
                start(vs, vq, e);
            }
        }
        vq_enable_notify(vq, true);
    } while (virtio_ready(vd) && vq_has_avail(vq));
}

/* ---- the adapter ---- */

static void vscsi_get_config(struct virtio_dev *vd, uint8_t *c)
{
    const struct vscsi *vs = (struct vscsi *)vd;

    le32_put(c, vd->n_queues - Q_REQUEST);
    le32_put(c + 4, SEG_MAX);
    le32_put(c + 8, vs->opt_max_sectors);
    le32_put(c + 12, vs->opt_per_lun);
    le32_put(c + 16, EVENT_BYTES);
    le32_put(c + 20, SENSE_BYTES);
    le32_put(c + 24, CDB_BYTES);
    le16_put(c + 28, 0); /* channels */
    le16_put(c + 30, MAX_TARGET);
    le32_put(c + 32, MAX_LUN);
}

static void drain_all(struct vscsi *vs)
{
    if (vs->bus != NULL) {
        LIST_FOREACH (&vs->bus->devs, it) {
            drain_unit(CONTAINER_OF(it, struct scsi_dev, link));
        }
    }
}

static void vscsi_reset(struct virtio_dev *vd)
{
    struct vscsi *vs = (struct vscsi *)vd;

    drain_all(vs);
    vs->missed = false;
}

static int vscsi_init(struct virtio_dev *vd, struct err **err)
{
    struct vscsi *vs = (struct vscsi *)vd;
    unsigned n = vs->opt_queues;
    int r;

    if (n == 0) {
        n = vd->dev.m->n_vcpus > 0 ? vd->dev.m->n_vcpus : 1;
        n = n > VIRTIO_MAX_QUEUES - Q_REQUEST ? VIRTIO_MAX_QUEUES - Q_REQUEST : n;
    }
    if (n > VIRTIO_MAX_QUEUES - Q_REQUEST) {
        return err_set(err, EINVAL, "num_queues must be 1 to %d", VIRTIO_MAX_QUEUES - Q_REQUEST);
    }
    vd->device_features |= F_INOUT | (vs->opt_hotplug ? F_HOTPLUG : 0) |
                           (vs->opt_change ? F_CHANGE : 0);
    r = scsi_bus_new(&vd->dev, MAX_TARGET + 1, MAX_LUN + 1, unit_changed, &vs->bus, err);
    return r == 0 ? virtio_set_queues(vd, n + Q_REQUEST, err) : r;
}

static void vscsi_done(struct virtio_dev *vd)
{
    struct vscsi *vs = (struct vscsi *)vd;

    drain_all(vs);
    vs->bus = scsi_bus_free(vs->bus);
}

static const struct virtio_class vscsi_virtio = {
    .id = VIRTIO_ID_SCSI,
    .queue_size = 256,
    .config_size = CONFIG_BYTES,
    .init = vscsi_init,
    .done = vscsi_done,
    .get_config = vscsi_get_config,
    .handle_queue = vscsi_handle,
    .reset = vscsi_reset,
};

const struct device_class virtio_scsi_class = VIRTIO_DEVICE_CLASS(
    "virtio-scsi-device", "SCSI host adapter", struct vscsi, vscsi_opts, &vscsi_virtio);

const struct device_class virtio_scsi_pci_class = VIRTIO_PCI_CLASS(
    "virtio-scsi-pci", "SCSI host adapter", struct vscsi, vscsi_opts, &vscsi_virtio, NULL);
