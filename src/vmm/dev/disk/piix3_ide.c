/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * piix3_ide.c - the 82371SB's IDE function: two channels with the task file at the PC's ports, PIO
 * and bus-master DMA (ATA/ATAPI-7; Programming Interface for Bus Master IDE, 1.0).
 *
 * A channel runs one command at a time:
 *     PIO    a buffer is handed over by DRQ, chunk by chunk, through the data port
 *     DMA    the command waits until the bus master is started, then moves by its descriptor table
 *     PACKET the 12-byte command arrives by PIO, its data by either
 */
#include "base/bytes.h"
#include "base/log.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/disk/ide.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    N_CHANNELS = 2,
    MAX_PRD = 512,
    BUFFER = 128 * 1024,
    BM_START = 1,
    BM_TO_MEMORY = 8,
    BM_ACTIVE = 1,
    BM_ERROR = 2,
    BM_IRQ = 4,
    CONTROL_NIEN = 2,
    CONTROL_RESET = 4,
    CONTROL_HOB = 0x80,
    DEVICE_LBA = 0x40,
    DEVICE_SLAVE = 0x10,
    REASON_COMMAND = 1, /* ATAPI interrupt reason */
    REASON_TO_HOST = 2,
    PACKET_BYTES = 12,
};

enum phase {
    IDLE,
    PIO_IN,      /* to the guest */
    PIO_OUT,     /* from it */
    PIO_PACKET,  /* the ATAPI command */
    DMA_WAITING, /* for the bus master's start */
    BUSY,        /* a request is under way */
};

struct channel;

struct io {
    struct scsi_req scsi; /* begins with the block request */
    struct channel *ch;   /* NULL: cancelled */
    struct iovec iov[MAX_PRD];
    unsigned n_iov;
    uint8_t bounce[BUFFER];
};

struct channel {
    struct ide_bus bus;
    struct piix3_ide *owner;
    struct irq irq;
    /* Task file: [0] current, [1] previous (HOB). */
    uint8_t feature, error, device, status, control;
    uint8_t count[2], lba_low[2], lba_mid[2], lba_high[2];
    uint8_t multiple[2], dma_mode[2];
    uint8_t command;
    enum phase phase;
    uint8_t buffer[BUFFER];
    uint32_t pos, end; /* of the chunk in the buffer */
    uint32_t filled;   /* bytes in the buffer, of ATAPI replies */
    uint64_t sector;   /* of the next PIO transfer */
    uint32_t left;     /* sectors still to go */
    uint8_t packet[PACKET_BYTES];
    bool packet_dma;
    bool irq_level;
    struct io *io; /* under way */
    /* Bus master. */
    uint8_t bm_command, bm_status;
    uint32_t bm_prd;
};

struct piix3_ide {
    struct pci_dev pd;
    struct channel ch[N_CHANNELS];
};

static struct ide_drive *drive(struct channel *ch)
{
    return ch->bus.units[(ch->device & DEVICE_SLAVE) != 0];
}

static void set_irq(struct channel *ch, bool level)
{
    ch->irq_level = level;
    irq_set(&ch->irq, level && (ch->control & CONTROL_NIEN) == 0);
}

static void raise(struct channel *ch)
{
    ch->bm_status |= BM_IRQ;
    set_irq(ch, true);
}

static void complete(struct channel *ch, uint8_t status, uint8_t error)
{
    ch->phase = IDLE;
    ch->status = status;
    ch->error = error;
    raise(ch);
}

static void abort_command(struct channel *ch)
{
    complete(ch, ATA_DRDY | ATA_DSC | ATA_ERR, ATA_ERROR_ABORT);
}

/* ---- addresses ---- */

static bool is_ext(uint8_t command)
{
    return command == ATA_READ_SECTORS_EXT || command == ATA_READ_DMA_EXT ||
           command == ATA_READ_MULTIPLE_EXT || command == ATA_WRITE_SECTORS_EXT ||
           command == ATA_WRITE_DMA_EXT || command == ATA_WRITE_MULTIPLE_EXT;
}

static uint64_t lba_of(const struct channel *ch)
{
    if (is_ext(ch->command)) {
        return (uint64_t)ch->lba_high[1] << 40 | (uint64_t)ch->lba_mid[1] << 32 |
               (uint64_t)ch->lba_low[1] << 24 | (uint64_t)ch->lba_high[0] << 16 |
               (uint64_t)ch->lba_mid[0] << 8 | ch->lba_low[0];
    }
    if ((ch->device & DEVICE_LBA) != 0) {
        return (uint64_t)(ch->device & 0xf) << 24 | (uint64_t)ch->lba_high[0] << 16 |
               (uint64_t)ch->lba_mid[0] << 8 | ch->lba_low[0];
    }
    /* Cylinder, head, sector; 16 heads of 63. */
    return ((uint64_t)(ch->lba_high[0] << 8 | ch->lba_mid[0]) * 16 + (ch->device & 0xf)) * 63 +
           ch->lba_low[0] - 1;
}

static uint32_t count_of(const struct channel *ch)
{
    if (is_ext(ch->command)) {
        uint32_t n = (uint32_t)ch->count[1] << 8 | ch->count[0];

        return n != 0 ? n : 65536;
    }
    return ch->count[0] != 0 ? ch->count[0] : 256;
}

static bool range_ok(struct channel *ch)
{
    struct ide_drive *d = drive(ch);

    return d != NULL && !d->cd && range_within(ch->sector, ch->left, ide_sectors(d));
}

/* ---- requests ---- */

static struct io *io_new(struct channel *ch)
{
    struct io *io = calloc(1, sizeof(*io));

    if (io != NULL) {
        io->ch = ch;
        ch->io = io;
        ch->phase = BUSY;
        ch->status = ATA_BSY;
    }
    return io;
}

/* The channel of a request that has ended, or NULL when it was reset meanwhile. */
static struct channel *io_end(struct io *io)
{
    struct channel *ch = io->ch;

    if (ch != NULL) {
        ch->io = NULL;
    }
    return ch;
}

static bool io_retry(struct io *io, int result)
{
    struct ide_drive *d = io->ch != NULL ? drive(io->ch) : NULL;

    if (result < 0 && d != NULL && disk_error_stops(&d->disk, d->dev.id, io->scsi.req.op, result)) {
        machine_retry(d->dev.m, &io->scsi.req);
        return true;
    }
    return false;
}

static void block_io(struct io *io, struct ide_drive *d, enum block_op op, uint64_t sector,
                     uint64_t len, const struct iovec *iov, unsigned n,
                     void (*done)(struct block_req *, int))
{
    io->scsi.req = (struct block_req) {
        .node = d->disk.node,
        .op = op,
        .off = sector * SECTOR_BYTES,
        .len = len,
        .iov = iov,
        .n_iov = n,
        .done = done,
    };
    block_submit(&io->scsi.req);
}

/* ---- PIO ---- */

static uint32_t chunk_sectors(const struct channel *ch)
{
    uint8_t multiple = ch->multiple[(ch->device & DEVICE_SLAVE) != 0];
    bool is_multiple = ch->command == ATA_READ_MULTIPLE || ch->command == ATA_WRITE_MULTIPLE ||
                       ch->command == ATA_READ_MULTIPLE_EXT ||
                       ch->command == ATA_WRITE_MULTIPLE_EXT;
    uint32_t n = is_multiple && multiple != 0 ? multiple : 1;

    return n < ch->left ? n : ch->left;
}

static void show_buffer(struct channel *ch, enum phase phase, uint32_t len)
{
    ch->phase = phase;
    ch->pos = 0;
    ch->end = len;
    ch->status = ATA_DRDY | ATA_DSC | ATA_DRQ;
}

static void pio_read_next(struct channel *ch);

static void pio_read_done(struct block_req *req, int result)
{
    struct io *io = (struct io *)req;
    struct channel *ch;

    if (io_retry(io, result)) {
        return;
    }
    ch = io_end(io);
    if (ch != NULL) {
        uint32_t n = (uint32_t)(req->len / SECTOR_BYTES);

        if (result < 0) {
            complete(ch, ATA_DRDY | ATA_DSC | ATA_ERR, ATA_ERROR_UNC);
        } else {
            memcpy(ch->buffer, io->bounce, req->len);
            ch->sector += n;
            ch->left -= n;
            show_buffer(ch, PIO_IN, (uint32_t)req->len);
            raise(ch);
        }
    }
    free(io);
}

static void pio_read_next(struct channel *ch)
{
    struct io *io = io_new(ch);
    uint32_t n = chunk_sectors(ch);

    if (io == NULL) {
        abort_command(ch);
        return;
    }
    io->iov[0] = (struct iovec) { .iov_base = io->bounce, .iov_len = (size_t)n * SECTOR_BYTES };
    block_io(io, drive(ch), BLOCK_READ, ch->sector, (uint64_t)n * SECTOR_BYTES, io->iov, 1,
             pio_read_done);
}

static void pio_write_done(struct block_req *req, int result)
{
    struct io *io = (struct io *)req;
    struct channel *ch;

    if (io_retry(io, result)) {
        return;
    }
    ch = io_end(io);
    if (ch != NULL) {
        uint32_t n = (uint32_t)(req->len / SECTOR_BYTES);

        ch->sector += n;
        ch->left -= n;
        if (result < 0) {
            complete(ch, ATA_DRDY | ATA_DSC | ATA_ERR | ATA_DF, ATA_ERROR_ABORT);
        } else if (ch->left > 0) {
            show_buffer(ch, PIO_OUT, chunk_sectors(ch) * SECTOR_BYTES);
            raise(ch);
        } else {
            complete(ch, ATA_DRDY | ATA_DSC, 0);
        }
    }
    free(io);
}

static void pio_write_chunk(struct channel *ch)
{
    uint32_t len = ch->end;
    struct io *io = io_new(ch);

    if (io == NULL) {
        abort_command(ch);
        return;
    }
    memcpy(io->bounce, ch->buffer, len);
    io->iov[0] = (struct iovec) { .iov_base = io->bounce, .iov_len = len };
    block_io(io, drive(ch), BLOCK_WRITE, ch->sector, len, io->iov, 1, pio_write_done);
}

static void simple_done(struct block_req *req, int result)
{
    struct io *io = (struct io *)req;
    struct channel *ch;

    if (io_retry(io, result)) {
        return;
    }
    ch = io_end(io);
    if (ch != NULL) {
        complete(ch, (uint8_t)(ATA_DRDY | ATA_DSC | (result < 0 ? ATA_ERR | ATA_DF : 0)),
                 result < 0 ? ATA_ERROR_ABORT : 0);
    }
    free(io);
}

/* ---- bus master ---- */

/* The descriptor table as an iovec; false when it is not in memory or too long. */
static bool collect_prd(struct channel *ch, struct io *io, uint64_t limit, bool to_memory)
{
    const struct gmem *mem = &ch->owner->pd.dev.m->mem;
    uint64_t total = 0;

    io->n_iov = 0;
    for (unsigned i = 0; i < MAX_PRD && total < limit; i++) {
        uint8_t entry[8];
        uint32_t len;
        void *p;

        if (gmem_read(mem, ch->bm_prd + (uint64_t)i * 8, entry, sizeof(entry)) < 0) {
            return false;
        }
        len = le16_get(entry + 4) & 0xfffe;
        len = len != 0 ? len : 65536;
        len = (uint32_t)min_u64(len, limit - total);
        p = gmem_map(mem, le32_get(entry) & ~1u, len, to_memory);
        if (p == NULL) {
            return false;
        }
        io->iov[io->n_iov++] = (struct iovec) { .iov_base = p, .iov_len = len };
        total += len;
        if ((entry[7] & 0x80) != 0) {
            break;
        }
    }
    return true;
}

static void dma_finish(struct channel *ch, bool ok, uint8_t error)
{
    ch->bm_status &= (uint8_t)~BM_ACTIVE;
    if (!ok) {
        ch->bm_status |= BM_ERROR;
    }
    complete(ch, (uint8_t)(ATA_DRDY | ATA_DSC | (ok ? 0 : ATA_ERR)), ok ? 0 : error);
}

static void dma_done(struct block_req *req, int result)
{
    struct io *io = (struct io *)req;
    struct channel *ch;

    if (io_retry(io, result)) {
        return;
    }
    ch = io_end(io);
    if (ch != NULL) {
        dma_finish(ch, result == 0, ATA_ERROR_UNC);
    }
    free(io);
}

static void packet_done(struct scsi_req *r);

static void start_packet(struct channel *ch, struct io *io)
{
    memset(io->scsi.cdb, 0, sizeof(io->scsi.cdb));
    memcpy(io->scsi.cdb, ch->packet, PACKET_BYTES);
    io->scsi.lun = &drive(ch)->lun;
    io->scsi.iov = io->iov;
    io->scsi.n_iov = io->n_iov;
    io->scsi.done = packet_done;
    scsi_start(&io->scsi);
}

static void dma_start(struct channel *ch)
{
    bool to_memory = (ch->bm_command & BM_TO_MEMORY) != 0;
    bool packet = ch->command == ATA_PACKET;
    uint64_t len = packet ? BLOCK_MAX_BYTES : (uint64_t)ch->left * SECTOR_BYTES;
    struct io *io = io_new(ch);

    ch->bm_status |= BM_ACTIVE;
    if (io == NULL || drive(ch) == NULL || !collect_prd(ch, io, len, to_memory)) {
        ch->io = NULL;
        free(io);
        dma_finish(ch, false, ATA_ERROR_ABORT);
        return;
    }
    if (packet) {
        start_packet(ch, io);
        return;
    }
    if (iov_size(io->iov, io->n_iov) < len) {
        ch->io = NULL;
        free(io);
        dma_finish(ch, false, ATA_ERROR_ABORT);
        return;
    }
    block_io(io, drive(ch), to_memory ? BLOCK_READ : BLOCK_WRITE, ch->sector, len, io->iov,
             io->n_iov, dma_done);
}

/* ---- ATAPI ---- */

static void packet_show(struct channel *ch)
{
    uint32_t limit = (uint32_t)ch->lba_high[0] << 8 | ch->lba_mid[0];
    uint32_t n = ch->filled - ch->end;

    limit = limit == 0 || limit == 0xffff ? 0xfffe : limit & ~1u;
    n = n < limit ? n : limit;
    ch->lba_mid[0] = (uint8_t)n;
    ch->lba_high[0] = (uint8_t)(n >> 8);
    ch->count[0] = REASON_TO_HOST;
    ch->pos = ch->end;
    ch->end += n;
    ch->phase = PIO_IN;
    ch->status = ATA_DRDY | ATA_DSC | ATA_DRQ;
    raise(ch);
}

static void packet_done(struct scsi_req *r)
{
    struct io *io = (struct io *)r;
    struct channel *ch = io_end(io);

    if (ch != NULL) {
        bool ok = r->status == SCSI_GOOD;

        ch->count[0] = REASON_COMMAND | REASON_TO_HOST;
        if (ch->packet_dma) {
            dma_finish(ch, ok, 0);
            ch->bm_status &= (uint8_t)~BM_ERROR;
            ch->error = (uint8_t)(ok ? 0 : (r->sense[2] & 0xf) << 4 | ATA_ERROR_ABORT);
        } else if (!ok) {
            complete(ch, ATA_DRDY | ATA_ERR, (uint8_t)((r->sense[2] & 0xf) << 4 | ATA_ERROR_ABORT));
        } else if (r->transferred == 0) {
            complete(ch, ATA_DRDY | ATA_DSC, 0);
        } else {
            memcpy(ch->buffer, io->bounce, r->transferred);
            ch->filled = (uint32_t)r->transferred;
            ch->end = 0;
            packet_show(ch);
        }
    }
    free(io);
}

static void packet_received(struct channel *ch)
{
    struct ide_drive *d = drive(ch);
    int64_t len;
    struct io *io;

    memcpy(ch->packet, ch->buffer, PACKET_BYTES);
    TRACE(ide_packet, "channel %u operation 0x%02x%s", ch->bus.index, ch->packet[0],
          ch->packet_dma ? " by DMA" : "");
    if (d == NULL) {
        abort_command(ch);
        return;
    }
    len = scsi_transfer(&d->lun, ch->packet);
    if (ch->packet_dma && len != 0) {
        ch->phase = DMA_WAITING;
        ch->status = ATA_DRDY | ATA_DSC | ATA_DRQ;
        if ((ch->bm_command & BM_START) != 0) {
            dma_start(ch);
        }
        return;
    }
    ch->packet_dma = false;
    io = io_new(ch);
    if (io == NULL) {
        abort_command(ch);
        return;
    }
    io->iov[0] = (struct iovec) { .iov_base = io->bounce, .iov_len = BUFFER };
    io->n_iov = 1;
    start_packet(ch, io);
}

/* ---- commands ---- */

static void signature(struct channel *ch)
{
    const struct ide_drive *d = drive(ch);

    ch->count[0] = ch->lba_low[0] = 1;
    ch->lba_mid[0] = d != NULL && d->cd ? 0x14 : 0;
    ch->lba_high[0] = d != NULL && d->cd ? 0xeb : 0;
    if (d == NULL) {
        ch->lba_mid[0] = ch->lba_high[0] = 0xff;
    }
}

static void show_identify(struct channel *ch, struct ide_drive *d)
{
    unsigned u = d->unit;

    ide_identify(d, ch->multiple[u], ch->dma_mode[u], ch->buffer);
    ch->left = 0;
    show_buffer(ch, PIO_IN, SECTOR_BYTES);
    raise(ch);
}

static void begin_transfer(struct channel *ch)
{
    uint8_t c = ch->command;

    ch->sector = lba_of(ch);
    ch->left = count_of(ch);
    if (!range_ok(ch)) {
        abort_command(ch);
        return;
    }
    switch (c) {
    case ATA_READ_DMA:
    case ATA_READ_DMA_EXT:
    case ATA_WRITE_DMA:
    case ATA_WRITE_DMA_EXT:
        ch->phase = DMA_WAITING;
        ch->status = ATA_DRDY | ATA_DSC | ATA_DRQ;
        if ((ch->bm_command & BM_START) != 0) {
            dma_start(ch);
        }
        break;
    case ATA_WRITE_SECTORS:
    case ATA_WRITE_SECTORS + 1:
    case ATA_WRITE_SECTORS_EXT:
    case ATA_WRITE_MULTIPLE:
    case ATA_WRITE_MULTIPLE_EXT:
        show_buffer(ch, PIO_OUT, chunk_sectors(ch) * SECTOR_BYTES);
        break;
    default:
        pio_read_next(ch);
        break;
    }
}

static void disk_command(struct channel *ch, struct ide_drive *d)
{
    struct io *io;

    switch (ch->command) {
    case ATA_IDENTIFY:
        show_identify(ch, d);
        break;
    case ATA_READ_SECTORS:
    case ATA_READ_SECTORS + 1:
    case ATA_READ_SECTORS_EXT:
    case ATA_READ_MULTIPLE:
    case ATA_READ_MULTIPLE_EXT:
    case ATA_READ_DMA:
    case ATA_READ_DMA_EXT:
    case ATA_WRITE_SECTORS:
    case ATA_WRITE_SECTORS + 1:
    case ATA_WRITE_SECTORS_EXT:
    case ATA_WRITE_MULTIPLE:
    case ATA_WRITE_MULTIPLE_EXT:
    case ATA_WRITE_DMA:
    case ATA_WRITE_DMA_EXT:
        begin_transfer(ch);
        break;
    case ATA_SET_MULTIPLE:
        if (ch->count[0] > ATA_MAX_MULTIPLE || (ch->count[0] & (ch->count[0] - 1)) != 0) {
            abort_command(ch);
        } else {
            ch->multiple[d->unit] = ch->count[0];
            complete(ch, ATA_DRDY | ATA_DSC, 0);
        }
        break;
    case ATA_FLUSH:
    case ATA_FLUSH_EXT:
        io = io_new(ch);
        if (io == NULL) {
            abort_command(ch);
        } else {
            block_io(io, d, BLOCK_FLUSH, 0, 0, NULL, 0, simple_done);
        }
        break;
    case 0x40: /* verify */
    case 0x41:
    case 0x42:
    case 0x10: /* recalibrate */
    case 0x70: /* seek */
    case 0x91: /* initialise parameters */
        complete(ch, ATA_DRDY | ATA_DSC, 0);
        break;
    case 0xf8: /* native maximum address */
    case 0x27: {
        uint64_t max = ide_sectors(d) - 1;

        ch->lba_low[0] = (uint8_t)max;
        ch->lba_mid[0] = (uint8_t)(max >> 8);
        ch->lba_high[0] = (uint8_t)(max >> 16);
        ch->lba_low[1] = (uint8_t)(max >> 24);
        complete(ch, ATA_DRDY | ATA_DSC, 0);
        break;
    }
    default:
        abort_command(ch);
        break;
    }
}

static void run_command(struct channel *ch, uint8_t command)
{
    struct ide_drive *d = drive(ch);

    TRACE(ide_command, "channel %u unit %u command 0x%02x", ch->bus.index,
          (ch->device & DEVICE_SLAVE) != 0, command);
    if (d == NULL || ch->phase == BUSY) {
        return;
    }
    set_irq(ch, false);
    ch->command = command;
    ch->error = 0;
    ch->phase = IDLE;
    switch (command) {
    case ATA_SET_FEATURES:
        if (ch->feature == 3) { /* transfer mode */
            ch->dma_mode[d->unit] = ch->count[0];
        }
        complete(ch, ATA_DRDY | ATA_DSC, 0);
        return;
    case 0x08: /* device reset */
        if (d->cd) {
            signature(ch);
            ch->status = 0;
            ch->error = 1;
        } else {
            abort_command(ch);
        }
        return;
    case 0x90: /* diagnostic */
        ch->device &= (uint8_t)~DEVICE_SLAVE;
        signature(ch);
        complete(ch, ATA_DRDY | ATA_DSC, 1);
        return;
    case 0xe0: /* power: standby, idle, check, sleep */
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0xe6:
        complete(ch, ATA_DRDY | ATA_DSC, 0);
        return;
    case 0xe5:
        ch->count[0] = 0xff;
        complete(ch, ATA_DRDY | ATA_DSC, 0);
        return;
    default:
        break;
    }
    if (!d->cd) {
        disk_command(ch, d);
    } else if (command == ATA_PACKET) {
        ch->packet_dma = (ch->feature & 1) != 0;
        ch->count[0] = REASON_COMMAND;
        show_buffer(ch, PIO_PACKET, PACKET_BYTES);
    } else if (command == ATA_IDENTIFY_PACKET) {
        show_identify(ch, d);
    } else {
        if (command == ATA_IDENTIFY || command == ATA_READ_SECTORS) {
            signature(ch);
        }
        abort_command(ch);
    }
}

/* ---- the data port ---- */

static void chunk_read(struct channel *ch)
{
    if (ch->command == ATA_PACKET) {
        if (ch->end < ch->filled) {
            packet_show(ch);
        } else {
            ch->count[0] = REASON_COMMAND | REASON_TO_HOST;
            complete(ch, ATA_DRDY | ATA_DSC, 0);
        }
    } else if (ch->left > 0) {
        pio_read_next(ch);
    } else {
        ch->phase = IDLE;
        ch->status = ATA_DRDY | ATA_DSC;
    }
}

static uint64_t data_read(struct channel *ch, unsigned size)
{
    uint64_t v = 0;
    uint32_t left = ch->end - ch->pos;

    if (ch->phase != PIO_IN || left == 0) {
        return 0;
    }
    /* The last word of an odd length is half there. */
    memcpy(&v, ch->buffer + ch->pos, size < left ? size : left);
    ch->pos += size < left ? size : left;
    if (ch->pos >= ch->end) {
        chunk_read(ch);
    }
    return v;
}

static void data_write(struct channel *ch, uint64_t value, unsigned size)
{
    if ((ch->phase != PIO_OUT && ch->phase != PIO_PACKET) || ch->pos + size > ch->end) {
        return;
    }
    memcpy(ch->buffer + ch->pos, &value, size);
    ch->pos += size;
    if (ch->pos < ch->end) {
        return;
    }
    if (ch->phase == PIO_PACKET) {
        packet_received(ch);
    } else {
        pio_write_chunk(ch);
    }
}

/* ---- registers ---- */

static bool absent(struct channel *ch)
{
    return ch->bus.units[0] == NULL && ch->bus.units[1] == NULL;
}

static uint64_t task_read(void *arg, uint64_t off, unsigned size)
{
    struct channel *ch = arg;
    unsigned hob = (ch->control & CONTROL_HOB) != 0;

    if (off == 0) {
        return data_read(ch, size);
    }
    if (absent(ch)) {
        return 0xff; /* SeaBIOS and Linux see at once that nobody is there */
    }
    switch (off) {
    case 1:
        return drive(ch) != NULL ? ch->error : 0;
    case 2:
        return ch->count[hob];
    case 3:
        return ch->lba_low[hob];
    case 4:
        return ch->lba_mid[hob];
    case 5:
        return ch->lba_high[hob];
    case 6:
        return ch->device | 0xa0;
    default:
        set_irq(ch, false);
        return drive(ch) != NULL ? ch->status : 0;
    }
}

static void shift_in(uint8_t reg[2], uint8_t v)
{
    reg[1] = reg[0];
    reg[0] = v;
}

static void task_write(void *arg, uint64_t off, uint64_t value, unsigned size)
{
    struct channel *ch = arg;
    uint8_t v = (uint8_t)value;

    if (off == 0) {
        data_write(ch, value, size);
        return;
    }
    if (ch->phase == BUSY) {
        return;
    }
    ch->control &= (uint8_t)~CONTROL_HOB;
    switch (off) {
    case 1:
        ch->feature = v;
        break;
    case 2:
        shift_in(ch->count, v);
        break;
    case 3:
        shift_in(ch->lba_low, v);
        break;
    case 4:
        shift_in(ch->lba_mid, v);
        break;
    case 5:
        shift_in(ch->lba_high, v);
        break;
    case 6:
        ch->device = v;
        break;
    default:
        run_command(ch, v);
        break;
    }
}

static void cancel(struct channel *ch)
{
    if (ch->io != NULL) {
        ch->io->ch = NULL;
        ch->io = NULL;
    }
    ch->phase = IDLE;
}

static void channel_reset(struct channel *ch)
{
    cancel(ch);
    ch->device = 0;
    ch->multiple[0] = ch->multiple[1] = ATA_MAX_MULTIPLE;
    signature(ch);
    ch->status = drive(ch) != NULL && drive(ch)->cd ? 0 : ATA_DRDY | ATA_DSC;
    ch->error = 1;
    ch->control &= (uint8_t)~CONTROL_HOB;
    set_irq(ch, false);
}

static uint64_t control_read(void *arg, uint64_t off, unsigned size)
{
    struct channel *ch = arg;

    (void)off;
    (void)size;
    return absent(ch) ? 0xff : drive(ch) != NULL ? ch->status : 0;
}

static void control_write(void *arg, uint64_t off, uint64_t value, unsigned size)
{
    struct channel *ch = arg;
    uint8_t old = ch->control;

    (void)off;
    (void)size;
    ch->control = (uint8_t)value;
    if ((value & CONTROL_RESET) != 0 && (old & CONTROL_RESET) == 0) {
        channel_reset(ch);
        ch->status = ATA_BSY;
    } else if ((value & CONTROL_RESET) == 0 && (old & CONTROL_RESET) != 0) {
        channel_reset(ch);
    }
    set_irq(ch, ch->irq_level);
}

static uint64_t bm_read(void *dev, uint64_t off, unsigned size)
{
    struct piix3_ide *p = dev;
    const struct channel *ch = &p->ch[off >> 3];
    uint8_t regs[8] = { ch->bm_command, 0, ch->bm_status, 0 };
    uint64_t v = 0;

    le32_put(regs + 4, ch->bm_prd);
    if ((off & 7) + size <= sizeof(regs)) {
        memcpy(&v, regs + (off & 7), size);
    }
    return v;
}

static void bm_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct piix3_ide *p = dev;
    struct channel *ch = &p->ch[off >> 3];
    uint8_t old = ch->bm_command;

    switch (off & 7) {
    case 0:
        ch->bm_command = (uint8_t)value & (BM_START | BM_TO_MEMORY);
        if ((value & BM_START) == 0) {
            /* Stopping ends a transfer; what is under way completes first. */
            ch->bm_status &= (uint8_t)~BM_ACTIVE;
        } else if ((old & BM_START) == 0) {
            if (ch->phase == DMA_WAITING) {
                dma_start(ch);
            } else {
                ch->bm_status |= BM_ACTIVE;
            }
        }
        break;
    case 2:
        ch->bm_status = (uint8_t)((value & 0x60) | (ch->bm_status & BM_ACTIVE) |
                                  (ch->bm_status & ~value & (BM_ERROR | BM_IRQ)));
        break;
    case 4:
        if (size == 4) {
            ch->bm_prd = (uint32_t)value & ~3u;
        }
        break;
    default:
        break;
    }
}

static const struct io_ops task_io = { .read = task_read, .write = task_write, .max_size = 4 };
static const struct io_ops control_io = { .read = control_read,
                                          .write = control_write,
                                          .max_size = 1 };
static const struct io_ops bm_io = { .read = bm_read, .write = bm_write, .max_size = 4 };

static int ide_init(struct pci_dev *pd, struct err **err)
{
    static const uint16_t ports[] = { 0x1f0, 0x170 };
    static const uint16_t controls[] = { 0x3f6, 0x376 };
    static const unsigned irqs[] = { 14, 15 };
    struct piix3_ide *p = (struct piix3_ide *)pd;
    int r = 0;

    le32_put(pd->wmask + 0x40, 0xffffffff); /* timing; bit 15 of each half enables a channel */
    pci_add_bar_io(pd, 4, PCI_BAR_IO, 16, &bm_io, p, "bmdma");
    for (unsigned i = 0; i < N_CHANNELS && r == 0; i++) {
        struct channel *ch = &p->ch[i];

        ch->owner = p;
        ch->irq = machine_irq(pd->dev.m, irqs[i]);
        (void)snprintf(ch->bus.name, sizeof(ch->bus.name), "ide.%u", i);
        ch->bus.n_units = 2;
        ch->bus.controller = pd;
        ch->bus.index = i;
        ide_bus_add(&ch->bus, pd->dev.m);
        r = iobus_add(&pd->dev.m->pio, ports[i], 8, &task_io, ch, "ide", err);
        if (r == 0) {
            r = iobus_add(&pd->dev.m->pio, controls[i], 1, &control_io, ch, "ide-control", err);
        }
    }
    return r;
}

static void ide_reset(struct pci_dev *pd)
{
    struct piix3_ide *p = (struct piix3_ide *)pd;

    le32_put(pd->config + 0x40, 0x80008000);
    for (unsigned i = 0; i < N_CHANNELS; i++) {
        struct channel *ch = &p->ch[i];

        ch->control = 0;
        ch->bm_command = ch->bm_status = 0;
        ch->bm_prd = 0;
        ch->dma_mode[0] = ch->dma_mode[1] = 0x45;
        channel_reset(ch);
    }
}

static void ide_done(struct pci_dev *pd)
{
    struct piix3_ide *p = (struct piix3_ide *)pd;

    for (unsigned i = 0; i < N_CHANNELS; i++) {
        cancel(&p->ch[i]);
        ide_bus_remove(&p->ch[i].bus);
        iobus_remove(&pd->dev.m->pio, &p->ch[i]);
    }
}

static const struct pci_class ide_pci = {
    .vendor = PCI_VENDOR_INTEL,
    .device = 0x7010,
    .class_code = 0x010180,
    .no_hotplug = true,
    .init = ide_init,
    .done = ide_done,
    .reset = ide_reset,
};

#define CHANNEL_FIELDS(n)                                                                    \
    FIELD(struct piix3_ide, ch[n].feature), FIELD(struct piix3_ide, ch[n].error),            \
        FIELD(struct piix3_ide, ch[n].device), FIELD(struct piix3_ide, ch[n].status),        \
        FIELD(struct piix3_ide, ch[n].control), FIELD(struct piix3_ide, ch[n].count),        \
        FIELD(struct piix3_ide, ch[n].lba_low), FIELD(struct piix3_ide, ch[n].lba_mid),      \
        FIELD(struct piix3_ide, ch[n].lba_high), FIELD(struct piix3_ide, ch[n].multiple),    \
        FIELD(struct piix3_ide, ch[n].dma_mode), FIELD(struct piix3_ide, ch[n].command),     \
        FIELD(struct piix3_ide, ch[n].phase), FIELD(struct piix3_ide, ch[n].buffer),         \
        FIELD(struct piix3_ide, ch[n].pos), FIELD(struct piix3_ide, ch[n].end),              \
        FIELD(struct piix3_ide, ch[n].filled), FIELD(struct piix3_ide, ch[n].sector),        \
        FIELD(struct piix3_ide, ch[n].left), FIELD(struct piix3_ide, ch[n].packet),          \
        FIELD(struct piix3_ide, ch[n].packet_dma), FIELD(struct piix3_ide, ch[n].irq_level), \
        FIELD(struct piix3_ide, ch[n].bm_command), FIELD(struct piix3_ide, ch[n].bm_status), \
        FIELD(struct piix3_ide, ch[n].bm_prd)

static const struct state_field ide_fields[] = { CHANNEL_FIELDS(0), CHANNEL_FIELDS(1), FIELD_END };

/* What was saved may come from a stranger. */
static int ide_post_load(struct device *dev, struct err **err)
{
    struct piix3_ide *p = (struct piix3_ide *)dev;

    for (unsigned i = 0; i < N_CHANNELS; i++) {
        struct channel *ch = &p->ch[i];

        if (ch->end > BUFFER || ch->pos > ch->end || ch->filled > BUFFER || ch->phase >= BUSY) {
            return err_set(err, EINVAL, "piix3-ide: the saved state is broken");
        }
    }
    return 0;
}

const struct device_class piix3_ide_class = {
    .name = "piix3-ide",
    .desc = "IDE controller",
    .size = sizeof(struct piix3_ide),
    .internal = true,
    .pci = &ide_pci,
    .fields = ide_fields,
    .post_load = ide_post_load,
    PCI_DEVICE_CALLBACKS,
};
