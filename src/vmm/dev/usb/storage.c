/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * storage.c - usb-storage: one SCSI disk by bulk-only transport (USB MSC BOT 1.0): a command block
 * of 31 bytes, data, a status block of 13.
 */
#include "base/bytes.h"
#include "vmm/dev/disk/scsi.h"
#include "vmm/dev/usb/usb.h"
#include "vmm/state/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum bot_phase {
    BOT_COMMAND,
    BOT_DATA_OUT, /* data comes */
    BOT_RUNNING,  /* the disk works */
    BOT_DATA_IN,  /* data goes */
    BOT_STATUS,
};

enum {
    CBW_BYTES = 31,
    CSW_BYTES = 13,
    EP_IN = 1,
    EP_OUT = 2,
    MAX_TRANSFER = 16 << 20,
    RESET_BOT = 0x21ff,
    GET_MAX_LUN = 0xa1fe,
    CSW_GOOD = 0,
    CSW_FAILED = 1,
    CSW_PHASE = 2,
};

#define CBW_SIGNATURE 0x43425355u
#define CSW_SIGNATURE 0x53425355u

struct storage {
    struct usb_dev ud;
    struct disk disk;
    bool removable;
    struct scsi_lun lun;
    struct scsi_req req;
    bool req_runs;
    struct iovec iov;
    uint8_t *buf; /* owned: the data of the command, data_len bytes */
    /* The command. */
    uint32_t phase; /* enum bot_phase */
    uint32_t tag, length, data_len, at;
    bool to_host;
    uint8_t status;
    struct usb_packet *kept; /* borrowed: waits for the disk */
};

static const struct opt storage_opts[] = {
    DISK_OPTS(struct storage, disk),
    OPT_BOOL(struct storage, removable, "removable", "off", "the medium can be taken out"),
    OPT_END,
};

static void give(struct storage *s, struct usb_packet *p)
{
    uint8_t csw[CSW_BYTES];

    if (s->phase == BOT_DATA_IN) {
        s->at += (uint32_t)usb_put(p, s->buf + s->at, s->data_len - s->at);
        /* Less than the host asked for ends with a short packet, an empty one if need be. */
        if (s->at >= s->data_len && (s->at >= s->length || p->actual < p->len)) {
            s->phase = BOT_STATUS;
        }
        return;
    }
    le32_put(csw, CSW_SIGNATURE);
    le32_put(csw + 4, s->tag);
    le32_put(csw + 8, s->length > s->at ? s->length - s->at : 0);
    csw[12] = s->status;
    (void)usb_put(p, csw, sizeof(csw));
    s->phase = BOT_COMMAND;
}

static void command_done(struct scsi_req *req)
{
    struct storage *s = req->arg;
    struct usb_packet *p = TAKE_PTR(s->kept);

    s->req_runs = false;
    s->status = req->status == SCSI_GOOD ? CSW_GOOD : CSW_FAILED;
    if (s->phase != BOT_RUNNING) {
        return; /* reset meanwhile */
    }
    if (s->to_host) {
        s->data_len = (uint32_t)min_u64(req->transferred, s->length);
        s->at = 0;
    } else {
        s->at = (uint32_t)min_u64(req->transferred, s->length);
    }
    s->phase = s->to_host && s->length > 0 ? BOT_DATA_IN : BOT_STATUS;
    if (p != NULL) {
        give(s, p);
        usb_complete(p, USB_OK);
    }
}

static void run(struct storage *s)
{
    s->phase = BOT_RUNNING;
    s->req.lun = &s->lun;
    s->req.done = command_done;
    s->req.arg = s;
    s->iov = (struct iovec) { .iov_base = s->buf, .iov_len = s->data_len };
    s->req.iov = &s->iov;
    s->req.n_iov = s->data_len > 0 ? 1 : 0;
    s->req_runs = true;
    scsi_start(&s->req);
}

static enum usb_status take_command(struct storage *s, struct usb_packet *p)
{
    uint8_t c[CBW_BYTES];

    if (p->len < CBW_BYTES || usb_get(p, c, sizeof(c)) != sizeof(c) ||
        le32_get(c) != CBW_SIGNATURE || c[14] == 0 || c[14] > 16) {
        return USB_STALL;
    }
    s->tag = le32_get(c + 4);
    s->length = le32_get(c + 8);
    s->to_host = (c[12] & 0x80) != 0;
    s->at = 0;
    memset(s->req.cdb, 0, sizeof(s->req.cdb));
    memcpy(s->req.cdb, c + 15, c[14]);
    if (s->length > MAX_TRANSFER) {
        return USB_STALL;
    }
    s->data_len = s->length;
    free(s->buf);
    s->buf = calloc(1, s->length > 0 ? s->length : 1);
    if (s->buf == NULL) {
        return USB_STALL;
    }
    if (c[13] != 0) { /* there is LUN 0 only */
        s->status = CSW_FAILED;
        s->data_len = 0;
        s->phase = BOT_STATUS;
        return USB_OK;
    }
    s->phase = BOT_DATA_OUT;
    if (s->to_host || s->length == 0) {
        run(s);
    }
    return USB_OK;
}

static enum usb_status storage_data(struct usb_dev *ud, struct usb_packet *p)
{
    struct storage *s = (struct storage *)ud;

    if (p->pid == USB_OUT && p->ep == EP_OUT) {
        if (s->phase == BOT_COMMAND) {
            return s->req_runs ? USB_NAK : take_command(s, p);
        }
        if (s->phase != BOT_DATA_OUT) {
            return s->phase == BOT_RUNNING ? USB_NAK : USB_STALL;
        }
        s->at += (uint32_t)usb_get(p, s->buf + s->at, s->data_len - s->at);
        if (s->at >= s->data_len) {
            run(s);
        }
        return USB_OK;
    }
    if (p->pid != USB_IN || p->ep != EP_IN) {
        return USB_STALL;
    }
    if (s->phase == BOT_RUNNING) {
        if (s->kept != NULL) {
            return USB_NAK;
        }
        s->kept = p;
        return usb_keep(ud, p);
    }
    if (s->phase != BOT_DATA_IN && s->phase != BOT_STATUS) {
        return s->phase == BOT_COMMAND ? USB_NAK : USB_STALL;
    }
    give(s, p);
    return USB_OK;
}

static void storage_cancel(struct usb_dev *ud, struct usb_packet *p)
{
    struct storage *s = (struct storage *)ud;

    if (s->kept == p) {
        s->kept = NULL;
    }
}

static void back_to_commands(struct storage *s)
{
    if (s->kept != NULL) {
        usb_complete(TAKE_PTR(s->kept), USB_NODEV);
    }
    if (s->req_runs && s->disk.node != NULL) {
        block_drain(s->disk.node->ctx, s->disk.node);
    }
    s->phase = BOT_COMMAND;
}

static int storage_control(struct usb_dev *ud, unsigned request, unsigned value, unsigned index,
                           uint8_t *data, size_t length)
{
    (void)value;
    (void)index;
    switch (request) {
    case RESET_BOT:
        back_to_commands((struct storage *)ud);
        return 0;
    case GET_MAX_LUN:
        if (length < 1) {
            return -1;
        }
        data[0] = 0;
        return 1;
    default:
        return -1;
    }
}

static void storage_reset(struct usb_dev *ud)
{
    struct storage *s = (struct storage *)ud;

    back_to_commands(s);
    scsi_lun_reset(&s->lun);
}

static size_t storage_describe(struct usb_dev *ud, uint8_t *d)
{
    uint8_t max = ud->speed >= USB_HIGH ? 2 : 0; /* 512 or 64 bytes */
    uint8_t low = ud->speed >= USB_HIGH ? 0 : 64;
    const uint8_t all[] = {
        9, 4, 0, 0, 2, 8, 6, 0x50, 0,           /* mass storage, SCSI, bulk only */
        7, 5, 0x80 | EP_IN, 2, low, max, 0, 7, 5, EP_OUT, 2, low, max, 0,
    };

    memcpy(d, all, sizeof(all));
    return sizeof(all);
}

static int storage_init(struct usb_dev *ud, struct err **err)
{
    struct storage *s = (struct storage *)ud;
    int r = disk_init(&s->disk, ud->dev.m, s->removable, 1, err);

    s->lun = (struct scsi_lun) {
        .disk = &s->disk,
        .vendor = "QEMU",
        .product = "QEMU HARDDISK",
        .version = "2.5+",
        .id = ud->dev.id,
    };
    return r;
}

static void storage_done(struct usb_dev *ud)
{
    struct storage *s = (struct storage *)ud;

    s->phase = BOT_COMMAND;
    s->kept = NULL;
    disk_done(&s->disk);
    free(s->buf);
}

static void storage_boot_path(const struct device *dev, char *buf, size_t len)
{
    const struct storage *s = (const struct storage *)dev;

    (void)snprintf(buf, len, "storage@%x/channel@0/disk@0,0", s->ud.port + 1);
}

static struct disk *storage_disk(struct device *dev)
{
    return &((struct storage *)dev)->disk;
}

static const struct device *storage_boot_parent(const struct device *dev)
{
    const struct usb_bus *bus = ((const struct usb_dev *)dev)->bus;

    return bus != NULL ? bus->arg : NULL;
}

/* The machine is saved when nothing is in flight, but a command may be between its packets. */
static void storage_save_more(struct device *dev, struct state_stream *st)
{
    const struct storage *s = (const struct storage *)dev;

    state_put_record(st, "data", s->buf, s->buf != NULL ? s->data_len : 0);
}

static void storage_load_more(struct device *dev, struct state_stream *st)
{
    struct storage *s = (struct storage *)dev;

    free(s->buf);
    s->buf = s->data_len <= MAX_TRANSFER ? calloc(1, s->data_len > 0 ? s->data_len : 1) : NULL;
    if (s->buf == NULL) {
        st->error = -EINVAL;
        return;
    }
    state_get_record(st, "data", s->buf, s->data_len);
}

static int storage_post_load(struct device *dev, struct err **err)
{
    struct storage *s = (struct storage *)dev;

    if (s->phase > BOT_STATUS || s->at > s->length || s->length > MAX_TRANSFER ||
        (s->phase == BOT_DATA_OUT && s->data_len != s->length) ||
        (s->phase == BOT_DATA_IN && s->at > s->data_len)) {
        return err_set(err, EINVAL, "usb-storage: the saved state is broken");
    }
    return usb_check_loaded(&s->ud, err);
}

static const struct state_field storage_fields[] = {
    USB_FIELDS(struct storage),
    FIELD(struct storage, phase),
    FIELD(struct storage, tag),
    FIELD(struct storage, length),
    FIELD(struct storage, data_len),
    FIELD(struct storage, at),
    FIELD(struct storage, to_host),
    FIELD(struct storage, status),
    FIELD(struct storage, lun.unit_attention),
    FIELD(struct storage, lun.key),
    FIELD(struct storage, lun.asc),
    FIELD(struct storage, lun.ascq),
    FIELD_END,
};

static const struct usb_class storage_usb = {
    .vendor = 0x46f4,
    .product = 0x0001,
    .manufacturer = "QEMU",
    .product_name = "QEMU USB HARDDRIVE",
    .init = storage_init,
    .done = storage_done,
    .reset = storage_reset,
    .describe = storage_describe,
    .control = storage_control,
    .data = storage_data,
    .cancel = storage_cancel,
};

const struct device_class usb_storage_class = {
    .name = "usb-storage",
    .desc = "USB disk",
    .opts = storage_opts,
    .size = sizeof(struct storage),
    .usb = &storage_usb,
    .boot_path = storage_boot_path,
    .boot_parent = storage_boot_parent,
    .disk = storage_disk,
    .fields = storage_fields,
    .save_more = storage_save_more,
    .load_more = storage_load_more,
    .post_load = storage_post_load,
    USB_DEVICE_CALLBACKS,
};
