/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blk.c - the block device (virtio 1.2, 5.2): requests of a 16-byte header, data, and a status
 * byte.
 */
#include "base/bytes.h"
#include "base/hash.h"
#include "block/core/block.h"
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
    QUEUE_SIZE = 256,
    MAX_SECTORS = 1 << 20, /* of one discard or write-zeroes */
    WZ_UNMAP = 1,
};

struct blk {
    struct virtio_dev vd;
    /* Options. */
    char *drive;
    char *serial;
    char *write_cache;
    uint32_t num_queues;
    uint32_t logical_block_size;
    uint32_t physical_block_size;
    /* State. */
    struct block_node *node; /* counted */
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
    OPT_STR(struct blk, drive, "drive", NULL, "block node or drive id"),
    OPT_STR(struct blk, serial, "serial", NULL, "serial number, up to 20 characters"),
    OPT_STR(struct blk, write_cache, "write-cache", "auto", "on, off or auto"),
    OPT_U32(struct blk, num_queues, "num-queues", "1", "number of queues"),
    OPT_U32(struct blk, logical_block_size, "logical_block_size", "512", "bytes"),
    OPT_U32(struct blk, physical_block_size, "physical_block_size", "512", "bytes"),
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
    r->req.node = blk->node;
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
    const char *from = blk->serial != NULL ? blk->serial : blk->vd.dev.id;

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
    int64_t len = block_length(blk->node);

    le64_put(c, len > 0 ? (uint64_t)len / SECTOR : 0);
    le32_put(c + 12, SEG_MAX);
    le32_put(c + 20, blk->logical_block_size);
    c[24] = 0; /* physical block exponent */
    while (blk->logical_block_size << c[24] < blk->physical_block_size) {
        c[24]++;
    }
    le16_put(c + 26, 1);
    c[32] = blk->writeback;
    le16_put(c + 34, (uint16_t)blk->num_queues);
    le32_put(c + 36, MAX_SECTORS);
    le32_put(c + 40, 1);
    le32_put(c + 44, blk->logical_block_size / SECTOR);
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

    if (blk->node != NULL) {
        block_drain(blk->node->ctx, blk->node);
    }
    blk->writeback = blk->write_cache == NULL || strcmp(blk->write_cache, "off") != 0;
}

static int blk_init(struct virtio_dev *vd, struct err **err)
{
    struct blk *blk = (struct blk *)vd;
    struct block_node *node;

    if (blk->drive == NULL) {
        return err_set(err, EINVAL, "drive= is missing");
    }
    node = hash_get(vd->dev.m->blocks, blk->drive);
    if (node == NULL) {
        return err_set(err, ENOENT, "there is no drive or block node '%s'", blk->drive);
    }
    if (blk->num_queues == 0 || blk->num_queues > VIRTIO_MAX_QUEUES) {
        return err_set(err, EINVAL, "num-queues must be 1 to %d", VIRTIO_MAX_QUEUES);
    }
    if (blk->logical_block_size < SECTOR || blk->logical_block_size > 32768 ||
        (blk->logical_block_size & (blk->logical_block_size - 1)) != 0 ||
        blk->physical_block_size < blk->logical_block_size || blk->physical_block_size > 1 << 24) {
        return err_set(err, EINVAL, "block sizes are powers of two, 512 to 32768");
    }
    if (blk->serial != NULL && strlen(blk->serial) > ID_BYTES) {
        return err_set(err, EINVAL, "serial '%s' is longer than %d characters", blk->serial,
                       ID_BYTES);
    }
    blk->node = block_ref(node);
    blk->writeback = true;
    vd->device_features |= F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | F_CONFIG_WCE;
    vd->device_features |= node->read_only ? F_RO : F_DISCARD | F_WRITE_ZEROES;
    vd->device_features |= blk->num_queues > 1 ? F_MQ : 0;
    return virtio_set_queues(vd, blk->num_queues, err);
}

static void blk_done(struct virtio_dev *vd)
{
    struct blk *blk = (struct blk *)vd;

    if (blk->node != NULL) {
        block_drain(blk->node->ctx, blk->node);
        blk->node = block_unref(blk->node);
    }
}

static const struct virtio_class blk_virtio = {
    .id = VIRTIO_ID_BLK,
    .queue_size = QUEUE_SIZE,
    .config_size = CONFIG_BYTES,
    .init = blk_init,
    .done = blk_done,
    .get_config = blk_get_config,
    .set_config = blk_set_config,
    .handle_queue = blk_handle,
    .started = blk_started,
    .reset = blk_reset,
};

const struct device_class virtio_blk_class =
    VIRTIO_DEVICE_CLASS("virtio-blk-device", "disk", struct blk, blk_opts, &blk_virtio);

static void blk_boot_path(const struct device *dev, char *buf, size_t len)
{
    (void)snprintf(buf, len, "scsi@%x/disk@0,0", ((const struct pci_dev *)dev)->devfn >> 3);
}

const struct device_class virtio_blk_pci_class =
    VIRTIO_PCI_CLASS("virtio-blk-pci", "disk", struct blk, blk_opts, &blk_virtio, blk_boot_path);
