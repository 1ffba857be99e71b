/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blk.c - the block device (virtio 1.2, 5.2): requests of a 16-byte header, data, and a status
 * byte.
 */
#include "base/bytes.h"
#include "base/str.h"
#include "block/core/block.h"
#include "vmm/dev/disk/disk.h"
#include "vmm/dev/virtio/virtio.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define F_SEG_MAX      (1ull << 2)
#define F_RO           (1ull << 5)
#define F_BLK_SIZE     (1ull << 6)
#define F_FLUSH        (1ull << 9)
#define F_TOPOLOGY     (1ull << 10)
#define F_CONFIG_WCE   (1ull << 11)
#define F_MQ           (1ull << 12)
#define F_DISCARD      (1ull << 13)
#define F_WRITE_ZEROES (1ull << 14)

enum {
    SECTOR = 512,
    T_IN = 0,
    T_OUT = 1,
    T_FLUSH = 4,
    T_GET_ID = 8,
    T_DISCARD = 11,
    T_WRITE_ZEROES = 13,
    S_OK = 0,
    S_IOERR = 1,
    S_UNSUPP = 2,
    ID_BYTES = 20,
    HEADER_BYTES = 16,
    SEGMENT_BYTES = 16,
    CONFIG_BYTES = 60,
    SEG_MAX = 254,
    MAX_SECTORS = 1 << 20, /* of one discard or write-zeroes */
    WZ_UNMAP = 1,
};

struct blk {
    struct virtio_dev vd;
    /* Options. */
    struct disk disk;
    uint32_t num_queues, queue_size;
    bool opt_discard, opt_write_zeroes, opt_config_wce, opt_merging;
    char *iothread;
    /* State. */
    bool writeback;
};

struct request {
    struct block_req req;
    struct blk *blk;
    struct vq *vq;
    struct vq_elem *elem;
    uint8_t *status;
    uint32_t in_len; /* bytes written to the guest when it goes well, status byte included */
    struct iovec iov[];
};

static const struct opt blk_opts[] = {
    VIRTIO_OPTS(struct blk),
    DISK_OPTS(struct blk, disk),
    OPT_U32(struct blk, num_queues, "num-queues", "1", "number of queues"),
    OPT_U32(struct blk, queue_size, "queue-size", "256", "entries of a queue"),
    OPT_BOOL(struct blk, opt_discard, "discard", "on", "the guest may discard"),
    OPT_BOOL(struct blk, opt_write_zeroes, "write-zeroes", "on", "the guest may write zeroes so"),
    OPT_BOOL(struct blk, opt_config_wce, "config-wce", "on", "the guest may set the write cache"),
    OPT_BOOL(struct blk, opt_merging, "request-merging", "on", "accepted"),
    OPT_STR(struct blk, iothread, "iothread", NULL, "accepted: the main loop serves it"),
    OPT_END,
};

static void finish(struct blk *blk, struct vq *vq, struct vq_elem *e, uint8_t *status, uint8_t code,
                   uint32_t len)
{
    *status = code;
    vq_push(vq, e, len);
    virtio_notify(&blk->vd, vq);
}

static void request_done(struct block_req *req, int result)
{
    struct request *r = (struct request *)req;

    if (result < 0 && req->op != BLOCK_DISCARD &&
        disk_error_stops(&r->blk->disk, r->blk->vd.dev.id, req->op, result)) {
        machine_retry(r->blk->vd.dev.m, req);
        return;
    }
    finish(r->blk, r->vq, r->elem, r->status, result == 0 ? S_OK : S_IOERR, r->in_len);
    free(r);
}

static void submit(struct blk *blk, struct vq *vq, struct vq_elem *e, uint8_t *status,
                   enum block_op op, uint64_t sector, uint64_t len, const struct iovec *iov,
                   unsigned n, size_t skip, unsigned flags)
{
    struct request *r = malloc(sizeof(*r) + n * sizeof(r->iov[0]));

    if (r == NULL || sector > UINT64_MAX / SECTOR || len > BLOCK_MAX_BYTES) {
        free(r);
        finish(blk, vq, e, status, S_IOERR, 1);
        return;
    }
    *r = (struct request) { .blk = blk, .vq = vq, .elem = e, .status = status, .in_len = 1 };
    r->req.n_iov = iov_slice(iov, n, skip, len, r->iov, n);
    r->req.iov = r->iov;
    r->req.node = blk->disk.node;
    r->req.op = op;
    r->req.flags = flags;
    r->req.off = sector * SECTOR;
    r->req.len = len;
    r->req.done = request_done;
    if (op == BLOCK_READ) {
        r->in_len = (uint32_t)len + 1;
    }
    block_submit(&r->req);
}

/* One segment of sector, count, flags (5.2.6). We ask for no more than one. */
static void do_range(struct blk *blk, struct vq *vq, struct vq_elem *e, uint8_t *status,
                     uint32_t type)
{
    uint8_t seg[SEGMENT_BYTES];
    uint32_t sectors;

    if (iov_read(e->out, e->n_out, HEADER_BYTES, seg, sizeof(seg)) != sizeof(seg) ||
        iov_size(e->out, e->n_out) != HEADER_BYTES + SEGMENT_BYTES) {
        finish(blk, vq, e, status, S_IOERR, 1);
        return;
    }
    sectors = le32_get(seg + 8);
    if (sectors > MAX_SECTORS || (type == T_DISCARD && le32_get(seg + 12) != 0)) {
        finish(blk, vq, e, status, sectors > MAX_SECTORS ? S_IOERR : S_UNSUPP, 1);
        return;
    }
    submit(blk, vq, e, status, type == T_DISCARD ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES,
           le64_get(seg), (uint64_t)sectors * SECTOR, NULL, 0, 0,
           (le32_get(seg + 12) & WZ_UNMAP) != 0 ? BLOCK_REQ_MAY_UNMAP : 0);
}

static void do_get_id(struct blk *blk, struct vq *vq, struct vq_elem *e, uint8_t *status,
                      size_t data_len)
{
    char id[ID_BYTES] = { 0 };
    const char *from = blk->disk.serial != NULL ? blk->disk.serial : blk->vd.dev.id;

    if (from != NULL) {
        memcpy(id, from, strnlen(from, ID_BYTES));
    }
    (void)iov_write(e->in, e->n_in, 0, id, data_len < ID_BYTES ? data_len : ID_BYTES);
    finish(blk, vq, e, status, S_OK, ID_BYTES + 1);
}

static void handle_request(struct blk *blk, struct vq *vq, struct vq_elem *e)
{
    uint8_t header[HEADER_BYTES];
    size_t in_len = iov_size(e->in, e->n_in);
    size_t out_len = iov_size(e->out, e->n_out);
    const struct iovec *last = e->n_in > 0 ? &e->in[e->n_in - 1] : NULL;
    uint8_t *status;
    unsigned flags = blk->writeback ? 0 : BLOCK_REQ_FUA;
    uint32_t type;

    if (last == NULL || iov_read(e->out, e->n_out, 0, header, sizeof(header)) != sizeof(header)) {
        virtio_broken(&blk->vd, "a request without header or status");
        (void)vq_elem_free(e);
        return;
    }
    /* The last byte that we may write is the status. */
    status = (uint8_t *)last->iov_base + last->iov_len - 1;
    in_len--;
    out_len -= HEADER_BYTES;
    type = le32_get(header);
    switch (type) {
    case T_IN:
    case T_OUT:
        if ((type == T_IN ? in_len : out_len) % SECTOR != 0) {
            finish(blk, vq, e, status, S_IOERR, 1);
        } else if (type == T_IN) {
            submit(blk, vq, e, status, BLOCK_READ, le64_get(header + 8), in_len, e->in, e->n_in, 0,
                   0);
        } else {
            submit(blk, vq, e, status, BLOCK_WRITE, le64_get(header + 8), out_len, e->out, e->n_out,
                   HEADER_BYTES, flags);
        }
        break;
    case T_FLUSH:
        submit(blk, vq, e, status, BLOCK_FLUSH, 0, 0, NULL, 0, 0, 0);
        break;
    case T_GET_ID:
        do_get_id(blk, vq, e, status, in_len);
        break;
    case T_DISCARD:
    case T_WRITE_ZEROES:
        do_range(blk, vq, e, status, type);
        break;
    default:
        finish(blk, vq, e, status, S_UNSUPP, 1);
        break;
    }
}

static void blk_handle(struct virtio_dev *vd, unsigned index)
{
    struct blk *blk = (struct blk *)vd;
    struct vq *vq = &vd->queues[index];
    struct vq_elem *e;

    do {
        vq_enable_notify(vq, false);
        while ((e = virtio_pop(vd, vq)) != NULL) {
            handle_request(blk, vq, e);
        }
        vq_enable_notify(vq, true);
    } while (virtio_ready(vd) && vq_has_avail(vq));
}

static void blk_get_config(struct virtio_dev *vd, uint8_t *c)
{
    struct blk *blk = (struct blk *)vd;
    int64_t len = block_length(blk->disk.node);

    le64_put(c, len > 0 ? (uint64_t)len / SECTOR : 0);
    le32_put(c + 12, SEG_MAX);
    le32_put(c + 20, blk->disk.logical);
    c[24] = 0; /* physical block exponent */
    while (blk->disk.logical << c[24] < blk->disk.physical) {
        c[24]++;
    }
    le16_put(c + 26, 1);
    c[32] = blk->writeback;
    le16_put(c + 34, (uint16_t)blk->num_queues);
    le32_put(c + 36, MAX_SECTORS);
    le32_put(c + 40, 1);
    le32_put(c + 44, blk->disk.logical / SECTOR);
    le32_put(c + 48, MAX_SECTORS);
    le32_put(c + 52, 1);
    c[56] = 1; /* write zeroes may unmap */
}

static void blk_set_config(struct virtio_dev *vd, size_t off, const uint8_t *bytes, size_t len)
{
    struct blk *blk = (struct blk *)vd;

    if (off == 32 && len == 1 && virtio_has(vd, F_CONFIG_WCE)) {
        blk->writeback = (bytes[0] & 1) != 0;
    }
}

/* What writes mean before DRIVER_OK: without the flush feature they are through (5.2.5.1). */
static void blk_started(struct virtio_dev *vd)
{
    struct blk *blk = (struct blk *)vd;

    if (!virtio_has(vd, F_FLUSH) && !virtio_has(vd, F_CONFIG_WCE)) {
        blk->writeback = false;
    }
}

static void blk_reset(struct virtio_dev *vd)
{
    struct blk *blk = (struct blk *)vd;

    if (blk->disk.node != NULL) {
        block_drain(blk->disk.node->ctx, blk->disk.node);
    }
    blk->writeback = !str_eq(blk->disk.write_cache, "off");
}

static int blk_init(struct virtio_dev *vd, struct err **err)
{
    struct blk *blk = (struct blk *)vd;
    int r = disk_init(&blk->disk, vd->dev.m, false, 0, err);

    if (r < 0) {
        return r;
    }
    if (blk->num_queues == 0 || blk->num_queues > VIRTIO_MAX_QUEUES) {
        return err_set(err, EINVAL, "num-queues must be 1 to %d", VIRTIO_MAX_QUEUES);
    }
    if (blk->queue_size < 2 || blk->queue_size > VQ_MAX_SIZE ||
        (blk->queue_size & (blk->queue_size - 1)) != 0) {
        return err_set(err, EINVAL, "queue-size must be a power of two, 2 to %d", VQ_MAX_SIZE);
    }
    blk->writeback = !str_eq(blk->disk.write_cache, "off");
    vd->device_features |= F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY |
                           (blk->opt_config_wce ? F_CONFIG_WCE : 0);
    vd->device_features |= disk_read_only(&blk->disk)
                               ? F_RO
                               : (blk->opt_discard ? F_DISCARD : 0) |
                                     (blk->opt_write_zeroes ? F_WRITE_ZEROES : 0);
    vd->device_features |= blk->num_queues > 1 ? F_MQ : 0;
    r = virtio_set_queues(vd, blk->num_queues, err);
    for (unsigned i = 0; r == 0 && i < blk->num_queues; i++) {
        vq_init(&vd->queues[i], &vd->dev.m->mem, (uint16_t)blk->queue_size);
    }
    return r;
}

static void blk_done(struct virtio_dev *vd)
{
    disk_done(&((struct blk *)vd)->disk);
}

static struct disk *blk_disk(struct device *dev)
{
    return &((struct blk *)dev)->disk;
}

/* The image has another size. */
static void blk_resized(struct device *dev)
{
    virtio_config_changed((struct virtio_dev *)dev);
}

static const struct state_field blk_fields[] = {
    FIELD(struct blk, writeback),
    FIELD_END,
};

static const struct virtio_class blk_virtio = {
    .id = VIRTIO_ID_BLK,
    .queue_size = VQ_MAX_SIZE,
    .config_size = CONFIG_BYTES,
    .init = blk_init,
    .done = blk_done,
    .get_config = blk_get_config,
    .set_config = blk_set_config,
    .handle_queue = blk_handle,
    .started = blk_started,
    .reset = blk_reset,
};

static void blk_boot_path(const struct device *dev, char *buf, size_t len)
{
    (void)snprintf(buf, len, "scsi@%x/disk@0,0", ((const struct pci_dev *)dev)->devfn >> 3);
}

#define BLK_COMMON                                                                           \
    .desc = "disk", .opts = blk_opts, .size = sizeof(struct blk), .virtio = &blk_virtio,     \
    .disk = blk_disk, .resized = blk_resized, .fields = blk_fields

const struct device_class virtio_blk_class = {
    .name = "virtio-blk-device",
    VIRTIO_MMIO_CALLBACKS,
    BLK_COMMON,
};

const struct device_class virtio_blk_pci_class = {
    .name = "virtio-blk-pci",
    .boot_path = blk_boot_path,
    VIRTIO_PCI_CALLBACKS,
    BLK_COMMON,
};
