/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ahci.c - a serial ATA controller with six ports (AHCI 1.3): command lists, PRD tables, FISes,
 * native queueing.
 *
 * A port runs its non-queued command first; queued ones all at once. Data goes straight between the
 * PRD table's memory and the image.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/disk/ide.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    N_PORTS = 6,
    N_SLOTS = 32,
    MAX_PRD = 1024,
    ABAR_BYTES = 0x1000,

    HBA_CAP = 0x00,
    HBA_GHC = 0x04,
    HBA_IS = 0x08,
    HBA_PI = 0x0c,
    HBA_VS = 0x10,
    GHC_RESET = 1u << 0,
    GHC_IE = 1u << 1,
    GHC_AE = 1u << 31,

    P_CLB = 0x00,
    P_CLBU = 0x04,
    P_FB = 0x08,
    P_FBU = 0x0c,
    P_IS = 0x10,
    P_IE = 0x14,
    P_CMD = 0x18,
    P_TFD = 0x20,
    P_SIG = 0x24,
    P_SSTS = 0x28,
    P_SCTL = 0x2c,
    P_SERR = 0x30,
    P_SACT = 0x34,
    P_CI = 0x38,
    PORT0 = 0x100,
    PORT_BYTES = 0x80,

    CMD_START = 1u << 0,
    CMD_SPIN_UP = 1u << 1,
    CMD_POWER_ON = 1u << 2,
    CMD_FIS_ENABLE = 1u << 4,
    CMD_FIS_RUNNING = 1u << 14,
    CMD_LIST_RUNNING = 1u << 15,
    CMD_ICC = 0xfu << 28,

    IS_D2H = 1u << 0,
    IS_PIO_SETUP = 1u << 1,
    IS_SET_BITS = 1u << 3,
    IS_CONNECT = 1u << 6,
    IS_TASK_FILE_ERROR = 1u << 30,

    SSTS_PRESENT = 0x113, /* device, first generation, active */
    SIG_ATA = 0x00000101,
    SIG_ATAPI = 0xeb140101,

    FIS_H2D = 0x27,
    FIS_D2H = 0x34,
    FIS_SET_BITS = 0xa1,
    FIS_PIO_SETUP = 0x5f,
    RECEIVED_PIO = 0x20,
    RECEIVED_D2H = 0x40,
    RECEIVED_BITS = 0x58,

    HEADER_WRITE = 1 << 6,
    HEADER_ATAPI = 1 << 5,
};

struct port;

struct cmd {
    struct scsi_req scsi; /* begins with the block request */
    struct port *port;    /* NULL: cancelled */
    unsigned slot;
    bool ncq, pio;
    uint64_t header_gpa;
    uint32_t trim_at, trim_len; /* TRIM: position in the list */
    uint8_t *list;              /* owned */
    unsigned n_iov;
    struct iovec iov[];
};

struct port {
    struct ide_bus bus;
    struct ahci *owner;
    uint32_t clb, clbu, fb, fbu, is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
    uint32_t running;  /* slots under way */
    uint32_t finished; /* queued slots that the next FIS reports */
    struct cmd *cmds[N_SLOTS];
    uint8_t multiple, dma_mode;
};

struct ahci {
    struct pci_dev pd;
    uint32_t ghc, is;
    struct port ports[N_PORTS];
};

static struct gmem *mem_of(const struct port *p)
{
    return &p->owner->pd.dev.m->mem;
}

static struct ide_drive *drive(const struct port *p)
{
    return p->bus.units[0];
}

static void update_irq(struct ahci *a)
{
    a->is = 0;
    for (unsigned i = 0; i < N_PORTS; i++) {
        if ((a->ports[i].is & a->ports[i].ie) != 0) {
            a->is |= 1u << i;
        }
    }
    pci_set_interrupt(&a->pd, (a->ghc & GHC_IE) != 0 && a->is != 0);
}

static void raise(struct port *p, uint32_t bits)
{
    p->is |= bits;
    update_irq(p->owner);
}

/* ---- FISes to the guest ---- */

static void post_fis(struct port *p, unsigned off, const uint8_t *fis, size_t len)
{
    if ((p->cmd & CMD_FIS_ENABLE) != 0) {
        (void)!gmem_write(mem_of(p), ((uint64_t)p->fbu << 32 | p->fb) + off, fis, len);
    }
}

static void post_d2h(struct port *p, uint8_t status, uint8_t error, const uint8_t *h2d)
{
    uint8_t fis[20] = { FIS_D2H, 0x40, status, error };

    if (h2d != NULL) {
        memcpy(fis + 4, h2d + 4, 7);
        fis[12] = h2d[12];
        fis[13] = h2d[13];
    } else {
        le32_put(fis + 4, p->sig >> 8 & 0xffffff);
        fis[12] = (uint8_t)p->sig;
    }
    p->tfd = (uint32_t)error << 8 | status;
    post_fis(p, RECEIVED_D2H, fis, sizeof(fis));
}

static void post_pio_setup(struct port *p, uint8_t status, size_t len)
{
    uint8_t fis[20] = { FIS_PIO_SETUP, 0x60, ATA_DRDY | ATA_DSC | ATA_DRQ, 0 };

    fis[15] = status;
    le16_put(fis + 16, (uint16_t)len);
    p->tfd = status;
    post_fis(p, RECEIVED_PIO, fis, sizeof(fis));
}

static void post_set_bits(struct port *p, uint8_t error)
{
    uint8_t status = (uint8_t)(ATA_DRDY | ATA_DSC | (error != 0 ? ATA_ERR : 0));
    uint8_t fis[8] = { FIS_SET_BITS, 0x40, status & 0x77, error };

    le32_put(fis + 4, p->finished);
    p->sact &= ~p->finished;
    p->finished = 0;
    p->tfd = (uint32_t)error << 8 | status;
    post_fis(p, RECEIVED_BITS, fis, sizeof(fis));
}

/* ---- ends of commands ---- */

static void cmd_free(struct cmd *c)
{
    free(c->list);
    free(c);
}

static void start_more(struct port *p);

static void finish(struct cmd *c, uint8_t error, uint32_t transferred)
{
    struct port *p = c->port;
    uint8_t status = (uint8_t)(ATA_DRDY | ATA_DSC | (error != 0 ? ATA_ERR : 0));
    uint8_t prdbc[4];

    if (p == NULL) {
        cmd_free(c);
        return;
    }
    p->cmds[c->slot] = NULL;
    p->running &= ~(1u << c->slot);
    le32_put(prdbc, transferred);
    (void)!gmem_write(mem_of(p), c->header_gpa + 4, prdbc, sizeof(prdbc));
    if (c->ncq) {
        p->finished |= 1u << c->slot;
        post_set_bits(p, error);
        raise(p, IS_SET_BITS | (error != 0 ? IS_TASK_FILE_ERROR : 0));
    } else {
        if (error == 0) {
            p->ci &= ~(1u << c->slot);
        }
        if (c->pio && error == 0) {
            post_pio_setup(p, status, transferred);
            raise(p, IS_PIO_SETUP);
        } else {
            post_d2h(p, status, error, NULL);
            raise(p, IS_D2H | (error != 0 ? IS_TASK_FILE_ERROR : 0));
        }
    }
    cmd_free(c);
    start_more(p);
}

static void block_done(struct block_req *req, int result)
{
    struct cmd *c = (struct cmd *)req;
    struct ide_drive *d = c->port != NULL ? drive(c->port) : NULL;

    if (result < 0 && d != NULL && disk_error_stops(&d->disk, d->dev.id, req->op, result)) {
        machine_retry(d->dev.m, req);
        return;
    }
    finish(c, result < 0 ? (req->op == BLOCK_READ ? ATA_ERROR_UNC : ATA_ERROR_ABORT) : 0,
           (uint32_t)req->len);
}

static void packet_done(struct scsi_req *r)
{
    struct cmd *c = (struct cmd *)r;

    /* ATAPI: the error register's upper half is the sense key. */
    finish(c, r->status == SCSI_GOOD ? 0 : (uint8_t)((r->sense[2] & 0xf) << 4 | ATA_ERROR_ABORT),
           (uint32_t)r->transferred);
}

/* ---- commands ---- */

static void submit(struct cmd *c, enum block_op op, uint64_t sector, uint64_t count, unsigned flags)
{
    struct ide_drive *d = drive(c->port);
    uint64_t len = count * SECTOR_BYTES;

    if (!range_within(sector, count, ide_sectors(d)) ||
        (op != BLOCK_FLUSH && iov_size(c->iov, c->n_iov) < len)) {
        finish(c, ATA_ERROR_ABORT, 0);
        return;
    }
    if (len > 0) {
        /* The table may describe more than the command moves. */
        c->n_iov = iov_slice(c->iov, c->n_iov, 0, len, c->iov, c->n_iov);
    }
    c->scsi.req = (struct block_req) {
        .node = d->disk.node,
        .op = op,
        .flags = flags,
        .off = sector * SECTOR_BYTES,
        .len = len,
        .iov = c->iov,
        .n_iov = c->n_iov,
        .done = block_done,
    };
    block_submit(&c->scsi.req);
}

/* TRIM: 8-byte entries of a 48-bit LBA and a count. */
static void trim_next(struct block_req *req, int result)
{
    struct cmd *c = (struct cmd *)req;

    (void)result;
    while (c->port != NULL && c->trim_at + 8 <= c->trim_len) {
        uint64_t entry = le64_get(c->list + c->trim_at);
        uint64_t sector = entry & ((1ull << 48) - 1);
        uint64_t count = entry >> 48;

        c->trim_at += 8;
        if (count > 0 && range_within(sector, count, ide_sectors(drive(c->port)))) {
            c->scsi.req = (struct block_req) {
                .node = drive(c->port)->disk.node,
                .op = BLOCK_DISCARD,
                .off = sector * SECTOR_BYTES,
                .len = count * SECTOR_BYTES,
                .done = trim_next,
            };
            block_submit(&c->scsi.req);
            return;
        }
    }
    finish(c, 0, c->trim_len);
}

static void trim(struct cmd *c, uint32_t count)
{
    c->trim_len = count * SECTOR_BYTES;
    c->list = count > 0 && count <= 64 ? malloc(c->trim_len) : NULL;
    if (c->list == NULL || iov_read(c->iov, c->n_iov, 0, c->list, c->trim_len) != c->trim_len) {
        finish(c, ATA_ERROR_ABORT, 0);
        return;
    }
    trim_next(&c->scsi.req, 0);
}

static void packet(struct cmd *c, uint64_t table)
{
    struct ide_drive *d = drive(c->port);

    memset(c->scsi.cdb, 0, sizeof(c->scsi.cdb));
    if (!d->cd || gmem_read(mem_of(c->port), table + 0x40, c->scsi.cdb, 12) < 0) {
        finish(c, ATA_ERROR_ABORT, 0);
        return;
    }
    c->scsi.lun = &d->lun;
    c->scsi.iov = c->iov;
    c->scsi.n_iov = c->n_iov;
    c->scsi.done = packet_done;
    scsi_start(&c->scsi);
}

static void identify(struct cmd *c, bool packet_form)
{
    struct ide_drive *d = drive(c->port);
    uint8_t id[512];

    if (d->cd != packet_form) {
        finish(c, ATA_ERROR_ABORT, 0);
        return;
    }
    ide_identify(d, c->port->multiple, c->port->dma_mode, id);
    c->pio = true;
    finish(c, 0, (uint32_t)iov_write(c->iov, c->n_iov, 0, id, sizeof(id)));
}

static void run(struct cmd *c, const uint8_t *fis, uint64_t table)
{
    struct port *p = c->port;
    uint64_t lba28 =
        (uint64_t)(fis[7] & 0xf) << 24 | (uint64_t)fis[6] << 16 | (uint64_t)fis[5] << 8 | fis[4];
    uint64_t lba48 = (uint64_t)fis[10] << 40 | (uint64_t)fis[9] << 32 | (uint64_t)fis[8] << 24 |
                     (lba28 & 0xffffff);
    uint32_t count28 = fis[12] != 0 ? fis[12] : 256;
    uint32_t count48 = le16_get(fis + 12) != 0 ? le16_get(fis + 12) : 65536;
    uint32_t ncq_count = (uint32_t)fis[11] << 8 | fis[3];

    TRACE(ahci_command, "port %u slot %u command 0x%02x", p->bus.index, c->slot, fis[2]);
    if (drive(p)->cd && fis[2] != ATA_PACKET && fis[2] != ATA_IDENTIFY_PACKET &&
        fis[2] != ATA_SET_FEATURES && fis[2] != ATA_IDENTIFY && fis[2] < 0xe0) {
        finish(c, ATA_ERROR_ABORT, 0);
        return;
    }
    switch (fis[2]) {
    case ATA_READ_FPDMA:
    case ATA_WRITE_FPDMA:
        c->ncq = true;
        p->ci &= ~(1u << c->slot);
        submit(c, fis[2] == ATA_READ_FPDMA ? BLOCK_READ : BLOCK_WRITE, lba48,
               ncq_count != 0 ? ncq_count : 65536,
               fis[2] == ATA_WRITE_FPDMA && (fis[7] & 0x80) != 0 ? BLOCK_REQ_FUA : 0);
        break;
    case ATA_READ_SECTORS:
    case ATA_READ_MULTIPLE:
        c->pio = true;
        submit(c, BLOCK_READ, lba28, count28, 0);
        break;
    case ATA_READ_DMA:
        submit(c, BLOCK_READ, lba28, count28, 0);
        break;
    case ATA_READ_SECTORS_EXT:
    case ATA_READ_MULTIPLE_EXT:
        c->pio = true;
        submit(c, BLOCK_READ, lba48, count48, 0);
        break;
    case ATA_READ_DMA_EXT:
        submit(c, BLOCK_READ, lba48, count48, 0);
        break;
    case ATA_WRITE_SECTORS:
    case ATA_WRITE_MULTIPLE:
    case ATA_WRITE_DMA:
        submit(c, BLOCK_WRITE, lba28, count28, 0);
        break;
    case ATA_WRITE_SECTORS_EXT:
    case ATA_WRITE_MULTIPLE_EXT:
    case ATA_WRITE_DMA_EXT:
        submit(c, BLOCK_WRITE, lba48, count48, 0);
        break;
    case ATA_TRIM:
        if (disk_read_only(&drive(p)->disk) || (fis[3] & 1) == 0) {
            finish(c, ATA_ERROR_ABORT, 0);
        } else {
            trim(c, count48);
        }
        break;
    case ATA_FLUSH:
    case ATA_FLUSH_EXT:
        if (drive(p)->disk.node != NULL) {
            submit(c, BLOCK_FLUSH, 0, 0, 0);
        } else {
            finish(c, 0, 0);
        }
        break;
    case ATA_IDENTIFY:
        identify(c, false);
        break;
    case ATA_IDENTIFY_PACKET:
        identify(c, true);
        break;
    case ATA_PACKET:
        packet(c, table);
        break;
    case ATA_SET_FEATURES:
        if (fis[3] == 3) {
            p->dma_mode = fis[12];
        }
        finish(c, 0, 0);
        break;
    case ATA_SET_MULTIPLE:
        p->multiple = fis[12];
        finish(c, 0, 0);
        break;
    case 0xe0: /* power */
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0xe5:
    case 0xe6:
    case 0x40: /* verify */
    case 0x42:
        finish(c, 0, 0);
        break;
    default:
        finish(c, ATA_ERROR_ABORT, 0);
        break;
    }
}

/* The PRD table (AHCI 1.3, 4.2.3.3). */
static struct cmd *collect(struct port *p, unsigned slot, const uint8_t *header, uint64_t table)
{
    unsigned n = le16_get(header + 2);
    bool to_memory = (header[0] & HEADER_WRITE) == 0;
    struct cmd *c = n <= MAX_PRD ? calloc(1, sizeof(*c) + n * sizeof(struct iovec)) : NULL;

    if (c == NULL) {
        return NULL;
    }
    c->port = p;
    c->slot = slot;
    for (unsigned i = 0; i < n; i++) {
        uint8_t entry[16];
        size_t len;
        void *to;

        if (gmem_read(mem_of(p), table + 0x80 + (uint64_t)i * 16, entry, sizeof(entry)) < 0) {
            cmd_free(c);
            return NULL;
        }
        len = (le32_get(entry + 12) & 0x3fffff) + 1;
        to = gmem_map(mem_of(p), le64_get(entry), len, to_memory);
        if (to == NULL) {
            break; /* only an error when the command comes to need it: SeaBIOS leaves junk here */
        }
        c->iov[c->n_iov++] = (struct iovec) { .iov_base = to, .iov_len = len };
    }
    return c;
}

static void start_slot(struct port *p, unsigned slot)
{
    uint64_t at = ((uint64_t)p->clbu << 32 | p->clb) + slot * 32u;
    uint8_t header[32];
    uint8_t fis[64];
    uint64_t table;
    struct cmd *c = NULL;

    if (gmem_read(mem_of(p), at, header, sizeof(header)) == 0) {
        table = le64_get(header + 8) & ~0x7full;
        if (gmem_read(mem_of(p), table, fis, sizeof(fis)) == 0) {
            c = collect(p, slot, header, table);
        }
    }
    if (c == NULL) {
        post_d2h(p, ATA_DRDY | ATA_ERR, ATA_ERROR_ABORT, NULL);
        raise(p, IS_TASK_FILE_ERROR);
        return;
    }
    c->header_gpa = at;
    if (fis[0] != FIS_H2D || (fis[1] & 0x80) == 0) {
        /* A change of the control register: a soft reset when its bit falls. */
        if (fis[0] == FIS_H2D && (fis[15] & 4) == 0) {
            p->ci &= ~(1u << slot);
            post_d2h(p, drive(p)->cd ? 0 : ATA_DRDY | ATA_DSC, 1, NULL);
        } else {
            p->ci &= ~(1u << slot);
        }
        cmd_free(c);
        return;
    }
    p->cmds[slot] = c;
    p->running |= 1u << slot;
    p->tfd = (p->tfd & ~0xffu) | ATA_DRDY | ATA_DSC;
    run(c, fis, table);
}

static bool is_queued(const struct port *p, unsigned slot)
{
    return (p->sact & 1u << slot) != 0;
}

static void start_more(struct port *p)
{
    for (unsigned slot = 0; slot < N_SLOTS; slot++) {
        uint32_t bit = 1u << slot;

        if ((p->cmd & CMD_START) == 0 || drive(p) == NULL) {
            return;
        }
        if ((p->ci & bit) == 0 || (p->running & bit) != 0 || (p->tfd & ATA_ERR) != 0) {
            continue;
        }
        /* A command that is not queued runs alone. */
        if (p->running != 0 && !is_queued(p, slot)) {
            return;
        }
        start_slot(p, slot);
    }
}

/* ---- registers ---- */

static void cancel_all(struct port *p)
{
    for (unsigned i = 0; i < N_SLOTS; i++) {
        if (p->cmds[i] != NULL) {
            p->cmds[i]->port = NULL;
            p->cmds[i] = NULL;
        }
    }
    p->running = p->finished = 0;
}

static void port_signature(struct port *p)
{
    const struct ide_drive *d = drive(p);

    p->ssts = d != NULL ? SSTS_PRESENT : 0;
    p->sig = d == NULL ? 0xffffffff : d->cd ? SIG_ATAPI : SIG_ATA;
    p->tfd = d == NULL ? 0x7f : d->cd ? 0 : 0x150;
}

static void port_reset(struct port *p)
{
    cancel_all(p);
    p->serr = p->sact = p->ci = 0;
    port_signature(p);
    if (drive(p) != NULL) {
        p->serr = 1u << 26;
        post_d2h(p, drive(p)->cd ? 0 : ATA_DRDY | ATA_DSC, 1, NULL);
        raise(p, IS_CONNECT);
    }
}

static uint32_t port_read(const struct port *p, unsigned off)
{
    switch (off) {
    case P_CLB:
        return p->clb;
    case P_CLBU:
        return p->clbu;
    case P_FB:
        return p->fb;
    case P_FBU:
        return p->fbu;
    case P_IS:
        return p->is;
    case P_IE:
        return p->ie;
    case P_CMD:
        return p->cmd | ((p->cmd & CMD_START) != 0 ? CMD_LIST_RUNNING : 0) |
               ((p->cmd & CMD_FIS_ENABLE) != 0 ? CMD_FIS_RUNNING : 0);
    case P_TFD:
        return p->tfd;
    case P_SIG:
        return p->sig;
    case P_SSTS:
        return p->ssts;
    case P_SCTL:
        return p->sctl;
    case P_SERR:
        return p->serr;
    case P_SACT:
        return p->sact;
    case P_CI:
        return p->ci;
    default:
        return 0;
    }
}

static void port_write(struct port *p, unsigned off, uint32_t v)
{
    switch (off) {
    case P_CLB:
        p->clb = v & ~0x3ffu;
        break;
    case P_CLBU:
        p->clbu = v;
        break;
    case P_FB:
        p->fb = v & ~0xffu;
        break;
    case P_FBU:
        p->fbu = v;
        break;
    case P_IS:
        p->is &= ~v;
        update_irq(p->owner);
        break;
    case P_IE:
        p->ie = v & 0xfdc000ff;
        update_irq(p->owner);
        break;
    case P_CMD:
        if ((p->cmd & CMD_START) != 0 && (v & CMD_START) == 0) {
            cancel_all(p);
            p->ci = p->sact = 0;
            p->tfd &= ~(uint32_t)(ATA_ERR | ATA_BSY | ATA_DRQ);
        }
        p->cmd = v & (CMD_START | CMD_SPIN_UP | CMD_POWER_ON | 8 | CMD_FIS_ENABLE | 0x0b000000);
        if ((v & CMD_FIS_ENABLE) != 0 && (p->cmd & CMD_START) == 0 && drive(p) != NULL) {
            post_d2h(p, drive(p)->cd ? 0 : ATA_DRDY | ATA_DSC, 1, NULL);
        }
        start_more(p);
        break;
    case P_SCTL:
        if ((p->sctl & 0xf) == 1 && (v & 0xf) == 0) {
            port_reset(p);
        } else if ((v & 0xf) == 1) {
            cancel_all(p);
            p->ssts = 0;
        }
        p->sctl = v;
        break;
    case P_SERR:
        p->serr &= ~v;
        break;
    case P_SACT:
        p->sact |= v;
        break;
    case P_CI:
        if ((p->cmd & CMD_START) != 0) {
            p->ci |= v;
            start_more(p);
        }
        break;
    default:
        break;
    }
}

static void hba_reset(struct ahci *a)
{
    a->ghc = GHC_AE;
    for (unsigned i = 0; i < N_PORTS; i++) {
        struct port *p = &a->ports[i];

        cancel_all(p);
        p->clb = p->clbu = p->fb = p->fbu = p->is = p->ie = 0;
        p->sctl = p->serr = p->sact = p->ci = 0;
        p->cmd = CMD_SPIN_UP | CMD_POWER_ON;
        p->multiple = ATA_MAX_MULTIPLE;
        p->dma_mode = 0x45;
        port_signature(p);
    }
    update_irq(a);
}

static uint64_t ahci_read(void *dev, uint64_t off, unsigned size)
{
    struct ahci *a = dev;

    (void)size;
    off &= ~3ull;
    if (off >= PORT0) {
        unsigned n = (unsigned)(off - PORT0) / PORT_BYTES;

        return n < N_PORTS ? port_read(&a->ports[n], (off - PORT0) % PORT_BYTES) : 0;
    }
    switch (off) {
    case HBA_CAP: /* 64 bits, queueing, AHCI only, 1.5 Gbit/s, 32 slots */
        return 1u << 31 | 1u << 30 | 1u << 18 | 1u << 20 | (N_SLOTS - 1) << 8 | (N_PORTS - 1);
    case HBA_GHC:
        return a->ghc;
    case HBA_IS:
        return a->is;
    case HBA_PI:
        return (1u << N_PORTS) - 1;
    case HBA_VS:
        return 0x10000;
    default:
        return 0;
    }
}

static void ahci_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct ahci *a = dev;
    uint32_t v = (uint32_t)value;

    if (size != 4 && (off & 3) != 0) {
        return;
    }
    if (off >= PORT0) {
        unsigned n = (unsigned)(off - PORT0) / PORT_BYTES;

        if (n < N_PORTS) {
            port_write(&a->ports[n], (off - PORT0) % PORT_BYTES, v);
        }
    } else if (off == HBA_GHC) {
        if ((v & GHC_RESET) != 0) {
            hba_reset(a);
        } else {
            a->ghc = (v & GHC_IE) | GHC_AE;
            update_irq(a);
        }
    }
}

static const struct io_ops ahci_io = { .read = ahci_read, .write = ahci_write, .max_size = 4 };

static void on_attach(void *arg, unsigned index)
{
    port_signature(&((struct ahci *)arg)->ports[index]);
}

static int ahci_init(struct pci_dev *pd, struct err **err)
{
    struct ahci *a = (struct ahci *)pd;
    const char *id = pd->dev.id;

    (void)err;
    pd->config[0x90] = 1 << 6; /* AHCI mode */
    pci_add_msi(pd, 1);
    for (unsigned i = 0; i < N_PORTS; i++) {
        struct port *p = &a->ports[i];

        p->owner = a;
        if (id != NULL) {
            (void)snprintf(p->bus.name, sizeof(p->bus.name), "%.24s.%u", id, i);
        } else {
            (void)snprintf(p->bus.name, sizeof(p->bus.name), "ide.%u", i);
        }
        p->bus.n_units = 1;
        p->bus.controller = pd;
        p->bus.index = i;
        p->bus.attached = on_attach;
        p->bus.arg = a;
        ide_bus_add(&p->bus, pd->dev.m);
    }
    pci_add_bar_io(pd, 5, PCI_BAR_MEM32, ABAR_BYTES, &ahci_io, a, "ahci");
    return 0;
}

static void ahci_reset(struct pci_dev *pd)
{
    hba_reset((struct ahci *)pd);
}

static void ahci_done(struct pci_dev *pd)
{
    struct ahci *a = (struct ahci *)pd;

    for (unsigned i = 0; i < N_PORTS; i++) {
        cancel_all(&a->ports[i]);
        ide_bus_remove(&a->ports[i].bus);
        if (a->ports[i].bus.units[0] != NULL) {
            a->ports[i].bus.units[0]->bus = NULL;
        }
    }
}

static const struct pci_class ahci_pci = {
    .vendor = PCI_VENDOR_INTEL,
    .device = 0x2922,
    .class_code = 0x010601,
    .revision = 2,
    .pin = 1,
    .init = ahci_init,
    .done = ahci_done,
    .reset = ahci_reset,
};

#define PORT_FIELDS(n)                                                        \
    FIELD(struct ahci, ports[n].clb), FIELD(struct ahci, ports[n].clbu),      \
        FIELD(struct ahci, ports[n].fb), FIELD(struct ahci, ports[n].fbu),    \
        FIELD(struct ahci, ports[n].is), FIELD(struct ahci, ports[n].ie),     \
        FIELD(struct ahci, ports[n].cmd), FIELD(struct ahci, ports[n].tfd),   \
        FIELD(struct ahci, ports[n].sig), FIELD(struct ahci, ports[n].ssts),  \
        FIELD(struct ahci, ports[n].sctl), FIELD(struct ahci, ports[n].serr), \
        FIELD(struct ahci, ports[n].sact), FIELD(struct ahci, ports[n].ci),   \
        FIELD(struct ahci, ports[n].multiple), FIELD(struct ahci, ports[n].dma_mode)

static const struct state_field ahci_fields[] = {
    FIELD(struct ahci, ghc), FIELD(struct ahci, is), PORT_FIELDS(0), PORT_FIELDS(1), PORT_FIELDS(2),
    PORT_FIELDS(3),          PORT_FIELDS(4),         PORT_FIELDS(5), FIELD_END,
};

const struct device_class ich9_ahci_class = {
    .name = "ich9-ahci",
    .desc = "AHCI controller",
    .size = sizeof(struct ahci),
    .pci = &ahci_pci,
    .fields = ahci_fields,
    PCI_DEVICE_CALLBACKS,
};
