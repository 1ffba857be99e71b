/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nvme.c - an NVMe controller with one namespace (NVM Express 1.4): pairs of queues in guest memory,
 * doorbells, data by physical region pages. Doorbells are answered on the loop.
 */
#include "base/bytes.h"
#include "base/str.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/disk/disk.h"
#include "vmm/mem/gmem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    BAR_BYTES = 0x4000,
    DOORBELLS = 0x1000,
    MSIX_TABLE = 0x3000,
    MSIX_PBA = 0x3800,

    REG_CAP = 0x00,
    REG_VS = 0x08,
    REG_INTMS = 0x0c,
    REG_INTMC = 0x10,
    REG_CC = 0x14,
    REG_CSTS = 0x1c,
    REG_AQA = 0x24,
    REG_ASQ = 0x28,
    REG_ACQ = 0x30,
    CC_ENABLE = 1,
    CC_SHUTDOWN = 3 << 14,
    CSTS_READY = 1,
    CSTS_FATAL = 2,
    CSTS_SHUT_DOWN = 2 << 2,

    MAX_QUEUES = 65, /* the administrator's is 0 */
    MAX_ENTRIES = 1024,
    SQE = 64,
    CQE = 16,
    PAGE = 4096,
    MDTS = 7, /* pages of one command, as a power of two */
    MAX_BYTES = PAGE << MDTS,
    MAX_IOV = (1 << MDTS) + 1,
    MAX_RANGES = 256,
    MAX_AER = 4,

    ADMIN_DELETE_SQ = 0x00,
    ADMIN_CREATE_SQ = 0x01,
    ADMIN_GET_LOG = 0x02,
    ADMIN_DELETE_CQ = 0x04,
    ADMIN_CREATE_CQ = 0x05,
    ADMIN_IDENTIFY = 0x06,
    ADMIN_ABORT = 0x08,
    ADMIN_SET_FEATURES = 0x09,
    ADMIN_GET_FEATURES = 0x0a,
    ADMIN_ASYNC_EVENT = 0x0c,
    IO_FLUSH = 0x00,
    IO_WRITE = 0x01,
    IO_READ = 0x02,
    IO_WRITE_ZEROES = 0x08,
    IO_DATASET = 0x09,

    FEATURE_WRITE_CACHE = 6,
    FEATURE_QUEUES = 7,
    N_FEATURES = 16,

    /* Status: type in bits 10-8, code in 7-0. */
    OK = 0,
    BAD_OPCODE = 0x01,
    BAD_FIELD = 0x02,
    DATA_ERROR = 0x04,
    INTERNAL = 0x06,
    BAD_NAMESPACE = 0x0b,
    BAD_PRP = 0x13,
    OUT_OF_RANGE = 0x80,
    BAD_CQ = 0x100,
    BAD_QID = 0x101,
    BAD_SIZE = 0x102,
    TOO_MANY_AER = 0x105,
    BAD_VECTOR = 0x108,
    WRITE_FAULT = 0x280,
    READ_FAULT = 0x281,
    READ_ONLY = 0x182,
    NO_RETRY = 0x4000,
    LATER = -1, /* the completion comes when the disk is done */
};

struct queue {
    uint64_t at;
    uint32_t size; /* entries; 0: there is none */
    uint32_t head, tail;
    uint32_t cq;     /* submission: where it completes */
    uint32_t phase;  /* completion */
    uint32_t vector; /* completion */
    uint32_t irq;    /* completion: interrupts are on */
};

struct nvme {
    struct pci_dev pd;
    struct disk disk;
    uint32_t opt_pairs, opt_vectors, opt_mdts;
    uint32_t cc, csts, aqa, mask;
    uint64_t asq, acq;
    struct queue sq[MAX_QUEUES], cq[MAX_QUEUES];
    uint32_t features[N_FEATURES];
    uint16_t aer[MAX_AER];
    uint32_t n_aer;
    uint32_t in_flight;
    bool work_posted;
};

struct command {
    struct block_req req; /* first */
    struct nvme *n;
    uint32_t sqid, cid;
    /* Of dataset management: the ranges left. */
    uint8_t *ranges; /* owned */
    uint32_t n_ranges, next_range;
    unsigned n_iov;
    struct iovec iov[MAX_IOV];
};

static const struct opt nvme_opts[] = {
    DISK_OPTS(struct nvme, disk),
    OPT_U32(struct nvme, opt_pairs, "max_ioqpairs", "64", "pairs of queues, 1 to 64"),
    OPT_U32(struct nvme, opt_vectors, "msix_qsize", "65", "interrupt vectors, 1 to 65"),
    OPT_U32(struct nvme, opt_mdts, "mdts", "7", "accepted: 7"),
    OPT_END,
};

/* ---- completion ---- */

static void update_intx(struct nvme *n)
{
    bool level = false;

    for (unsigned i = 0; i < MAX_QUEUES; i++) {
        const struct queue *q = &n->cq[i];

        level |= q->size > 0 && q->irq && q->head != q->tail && q->vector < 32 &&
                 (n->mask >> q->vector & 1) == 0;
    }
    pci_set_intx(&n->pd, level);
}

static void notify(struct nvme *n, const struct queue *cq)
{
    if (!cq->irq) {
        return;
    }
    if (pci_msix_enabled(&n->pd)) {
        pci_msix_send(&n->pd, cq->vector);
    } else {
        update_intx(n);
    }
}

static void complete(struct nvme *n, uint32_t sqid, uint32_t cid, int status, uint32_t result)
{
    struct queue *sq = &n->sq[sqid];
    struct queue *cq = &n->cq[sq->cq];
    uint8_t e[CQE] = { 0 };

    if (sq->size == 0 || cq->size == 0 || (cq->tail + 1) % cq->size == cq->head) {
        return; /* the driver gave us no place */
    }
    le32_put(e, result);
    le16_put(e + 8, (uint16_t)sq->head);
    le16_put(e + 10, (uint16_t)sqid);
    le16_put(e + 12, (uint16_t)cid);
    le16_put(e + 14, (uint16_t)((unsigned)(status | (status != OK ? NO_RETRY : 0)) << 1 | cq->phase));
    (void)!gmem_write(&n->pd.dev.m->mem, cq->at + (uint64_t)cq->tail * CQE, e, CQE);
    if (++cq->tail == cq->size) {
        cq->tail = 0;
        cq->phase ^= 1;
    }
    notify(n, cq);
}

/* ---- data ---- */

/* Physical region pages (4.3): the first with an offset, then one more or a list of them. */
static int map_prps(struct nvme *n, const uint8_t *c, uint64_t len, bool to_guest,
                    struct iovec *iov, unsigned *ret_n)
{
    const struct gmem *mem = &n->pd.dev.m->mem;
    uint64_t prp1 = le64_get(c + 24);
    uint64_t prp2 = le64_get(c + 32);
    uint64_t part = min_u64(PAGE - prp1 % PAGE, len);
    uint64_t list = prp2;
    unsigned k = 0;

    *ret_n = 0;
    iov[k] = (struct iovec) { gmem_map(mem, prp1, part, to_guest), part };
    if (iov[k++].iov_base == NULL) {
        return BAD_PRP;
    }
    len -= part;
    while (len > 0) {
        uint64_t page = prp2;

        if (len > PAGE || k > 1) { /* there is a list; its last entry of a page leads on */
            uint8_t e[8];

            if (list % PAGE == PAGE - 8 && len > PAGE) {
                if (gmem_read(mem, list, e, 8) < 0) {
                    return BAD_PRP;
                }
                list = le64_get(e);
            }
            if (gmem_read(mem, list, e, 8) < 0) {
                return BAD_PRP;
            }
            page = le64_get(e);
            list += 8;
        }
        part = min_u64(PAGE, len);
        if (k == MAX_IOV || page % PAGE != 0 ||
            (iov[k].iov_base = gmem_map(mem, page, part, to_guest)) == NULL) {
            return BAD_PRP;
        }
        iov[k++].iov_len = part;
        len -= part;
    }
    *ret_n = k;
    return OK;
}

static int reply(struct nvme *n, const uint8_t *c, const void *data, uint64_t len)
{
    struct iovec iov[MAX_IOV];
    unsigned k;
    int status = map_prps(n, c, len, true, iov, &k);

    if (status == OK) {
        (void)iov_write(iov, k, 0, data, len);
    }
    return status;
}

/* ---- reading and writing ---- */

static void next_range(struct command *cmd);

static void io_done(struct block_req *req, int result)
{
    struct command *cmd = (struct command *)req;
    struct nvme *n = cmd->n;
    int status = OK;

    if (result < 0 && req->op != BLOCK_DISCARD &&
        disk_error_stops(&n->disk, n->pd.dev.id, req->op, result)) {
        machine_retry(n->pd.dev.m, req);
        return;
    }
    if (req->op == BLOCK_DISCARD) { /* a hint that was not taken is no error */
        next_range(cmd);
        return;
    }
    if (result < 0) {
        status = req->op == BLOCK_READ ? READ_FAULT : WRITE_FAULT;
    }
    n->in_flight--;
    complete(n, cmd->sqid, cmd->cid, status, 0);
    free(cmd->ranges);
    free(cmd);
}

static void next_range(struct command *cmd)
{
    struct nvme *n = cmd->n;
    uint64_t blocks = disk_bytes(&n->disk) / n->disk.logical;

    while (cmd->next_range < cmd->n_ranges) {
        const uint8_t *r = cmd->ranges + (size_t)cmd->next_range++ * 16;
        uint64_t count = le32_get(r + 4);

        if (count > 0 && range_within(le64_get(r + 8), count, blocks)) {
            cmd->req = (struct block_req) {
                .node = n->disk.node,
                .op = BLOCK_DISCARD,
                .off = le64_get(r + 8) * n->disk.logical,
                .len = min_u64(count * n->disk.logical, BLOCK_MAX_BYTES),
                .done = io_done,
            };
            block_submit(&cmd->req);
            return;
        }
    }
    n->in_flight--;
    complete(n, cmd->sqid, cmd->cid, OK, 0);
    free(cmd->ranges);
    free(cmd);
}

static struct command *command_new(struct nvme *n, uint32_t sqid, const uint8_t *c)
{
    struct command *cmd = calloc(1, sizeof(*cmd));

    if (cmd != NULL) {
        cmd->n = n;
        cmd->sqid = sqid;
        cmd->cid = le16_get(c + 2);
    }
    return cmd;
}

static int dataset(struct nvme *n, uint32_t sqid, const uint8_t *c)
{
    struct command *cmd;
    size_t len = ((size_t)(le32_get(c + 40) & 0xff) + 1) * 16;
    int status;

    if ((le32_get(c + 44) & 4) == 0) { /* other hints are noted, that is all */
        return OK;
    }
    if (disk_read_only(&n->disk)) {
        return READ_ONLY;
    }
    cmd = command_new(n, sqid, c);
    if (cmd == NULL || (cmd->ranges = malloc(len)) == NULL) {
        free(cmd);
        return INTERNAL;
    }
    status = map_prps(n, c, len, false, cmd->iov, &cmd->n_iov);
    if (status != OK) {
        free(cmd->ranges);
        free(cmd);
        return status;
    }
    (void)iov_read(cmd->iov, cmd->n_iov, 0, cmd->ranges, len);
    cmd->n_ranges = (uint32_t)(len / 16);
    n->in_flight++;
    next_range(cmd);
    return LATER;
}

static int transfer(struct nvme *n, uint32_t sqid, const uint8_t *c)
{
    uint64_t block = le64_get(c + 40);
    uint64_t count = (uint64_t)le16_get(c + 48) + 1;
    uint8_t op = c[0];
    struct command *cmd;
    int status = OK;

    if (op != IO_FLUSH && !range_within(block, count, disk_bytes(&n->disk) / n->disk.logical)) {
        return OUT_OF_RANGE;
    }
    if ((op == IO_WRITE || op == IO_WRITE_ZEROES) && disk_read_only(&n->disk)) {
        return READ_ONLY;
    }
    if ((op == IO_READ || op == IO_WRITE) && count * n->disk.logical > MAX_BYTES) {
        return BAD_FIELD;
    }
    cmd = command_new(n, sqid, c);
    if (cmd == NULL) {
        return INTERNAL;
    }
    cmd->req.node = n->disk.node;
    cmd->req.done = io_done;
    cmd->req.op = op == IO_FLUSH   ? BLOCK_FLUSH
                  : op == IO_READ  ? BLOCK_READ
                  : op == IO_WRITE ? BLOCK_WRITE
                                   : BLOCK_WRITE_ZEROES;
    if (op != IO_FLUSH) {
        cmd->req.off = block * n->disk.logical;
        cmd->req.len = count * n->disk.logical;
        cmd->req.flags = (le16_get(c + 50) >> 14 & 1) != 0 && op != IO_READ ? BLOCK_REQ_FUA : 0;
        if (op == IO_WRITE_ZEROES && (le16_get(c + 50) >> 9 & 1) != 0) {
            cmd->req.flags |= BLOCK_REQ_MAY_UNMAP;
        }
    }
    if (op == IO_WRITE && n->features[FEATURE_WRITE_CACHE] == 0) {
        cmd->req.flags |= BLOCK_REQ_FUA;
    }
    if (op == IO_READ || op == IO_WRITE) {
        status = map_prps(n, c, cmd->req.len, op == IO_READ, cmd->iov, &cmd->n_iov);
    }
    if (status != OK) {
        free(cmd);
        return status;
    }
    cmd->req.iov = cmd->iov;
    cmd->req.n_iov = cmd->n_iov;
    n->in_flight++;
    block_submit(&cmd->req);
    return LATER;
}

static int io_command(struct nvme *n, uint32_t sqid, const uint8_t *c)
{
    if (le32_get(c + 4) != 1 && !(c[0] == IO_FLUSH && le32_get(c + 4) == 0xffffffff)) {
        return BAD_NAMESPACE;
    }
    switch (c[0]) {
    case IO_FLUSH:
    case IO_WRITE:
    case IO_READ:
    case IO_WRITE_ZEROES:
        return transfer(n, sqid, c);
    case IO_DATASET:
        return dataset(n, sqid, c);
    default:
        return BAD_OPCODE;
    }
}

/* ---- the administrator's queue ---- */

static void put_padded(uint8_t *to, const char *s, size_t len)
{
    memset(to, ' ', len);
    memcpy(to, s, strnlen(s, len));
}

static void identify_controller(const struct nvme *n, uint8_t *d)
{
    le16_put(d, le16_get(n->pd.config));
    le16_put(d + 2, le16_get(n->pd.config + PCI_SUBSYSTEM_VENDOR_ID));
    put_padded(d + 4, disk_serial(&n->disk), 20);
    put_padded(d + 24, "QEMU NVMe Ctrl", 40);
    put_padded(d + 64, "7.2", 8);
    d[72] = 6; /* arbitration burst */
    d[77] = MDTS;
    le32_put(d + 80, 0x00010400);
    d[111] = 1; /* an I/O controller */
    d[258] = 3; /* aborts at once */
    d[259] = MAX_AER - 1;
    d[260] = 3; /* one firmware slot, read only */
    d[261] = 4; /* longer log pages */
    le16_put(d + 266, 343); /* kelvin */
    le16_put(d + 268, 373);
    d[512] = 0x66;
    d[513] = 0x44;
    le32_put(d + 516, 1);    /* namespaces */
    le16_put(d + 520, 4 | 8); /* dataset management, write zeroes */
    d[525] = 1;              /* there is a write cache */
    (void)snprintf((char *)d + 768, 256, "nqn.2019-08.org.qemu:%s", disk_serial(&n->disk));
    le16_put(d + 2048, 2500); /* power state 0: centiwatts */
}

static void identify_namespace(const struct nvme *n, uint8_t *d)
{
    uint64_t blocks = disk_bytes(&n->disk) / n->disk.logical;
    unsigned shift = 0;

    while (1u << shift < n->disk.logical) {
        shift++;
    }
    le64_put(d, blocks);
    le64_put(d + 8, blocks);
    le64_put(d + 16, blocks);
    d[24] = 1;  /* thin */
    d[33] = 9;  /* deallocated blocks read as zeroes */
    d[99] = disk_read_only(&n->disk) ? 1 : 0;
    d[128 + 2] = (uint8_t)shift;
}

static int identify(struct nvme *n, const uint8_t *c)
{
    uint8_t d[PAGE] = { 0 };
    uint32_t nsid = le32_get(c + 4);

    switch (c[40]) {
    case 0: /* namespace */
        if (nsid != 1) {
            return nsid == 0xffffffff ? reply(n, c, d, PAGE) : BAD_NAMESPACE;
        }
        identify_namespace(n, d);
        break;
    case 1:
        identify_controller(n, d);
        break;
    case 2: /* namespaces above nsid */
        if (nsid >= 0xfffffffe) {
            return BAD_NAMESPACE;
        }
        le32_put(d, nsid < 1 ? 1 : 0);
        break;
    case 3: /* names of the namespace: a UUID that its serial number makes */
        if (nsid != 1) {
            return BAD_NAMESPACE;
        }
        d[0] = 3;
        d[1] = 16;
        memcpy(d + 4, disk_serial(&n->disk), strnlen(disk_serial(&n->disk), 16));
        break;
    default:
        return BAD_FIELD;
    }
    return reply(n, c, d, PAGE);
}

static int get_log(struct nvme *n, const uint8_t *c)
{
    uint8_t d[512] = { 0 };
    uint64_t len = (((uint64_t)le16_get(c + 44) << 16 | le16_get(c + 42)) + 1) * 4;
    uint64_t off = le64_get(c + 48);

    switch (c[40]) {
    case 1: /* errors: none */
        break;
    case 2:              /* health */
        le16_put(d + 1, 310); /* kelvin */
        d[3] = 100;      /* spare */
        d[4] = 10;
        break;
    case 3: /* firmware */
        d[0] = 1;
        put_padded(d + 8, "7.2", 8);
        break;
    default:
        return 0x109; /* invalid log page */
    }
    if (off >= sizeof(d)) {
        return BAD_FIELD;
    }
    return reply(n, c, d + off, min_u64(len, sizeof(d) - off));
}

static int create_cq(struct nvme *n, const uint8_t *c)
{
    uint32_t qid = le16_get(c + 40);
    uint32_t size = le16_get(c + 42) + 1u;
    uint32_t vector = le16_get(c + 46);

    if (qid == 0 || qid > n->opt_pairs || n->cq[qid].size != 0) {
        return BAD_QID;
    }
    if (size < 2 || size > MAX_ENTRIES) {
        return BAD_SIZE;
    }
    if (vector >= n->opt_vectors) {
        return BAD_VECTOR;
    }
    if ((c[44] & 1) == 0 || le64_get(c + 24) % PAGE != 0) {
        return BAD_FIELD;
    }
    n->cq[qid] = (struct queue) {
        .at = le64_get(c + 24), .size = size, .phase = 1, .vector = vector, .irq = c[44] >> 1 & 1
    };
    return OK;
}

static int create_sq(struct nvme *n, const uint8_t *c)
{
    uint32_t qid = le16_get(c + 40);
    uint32_t size = le16_get(c + 42) + 1u;
    uint32_t cq = le16_get(c + 46);

    if (qid == 0 || qid > n->opt_pairs || n->sq[qid].size != 0) {
        return BAD_QID;
    }
    if (cq == 0 || cq > n->opt_pairs || n->cq[cq].size == 0) {
        return BAD_CQ;
    }
    if (size < 2 || size > MAX_ENTRIES) {
        return BAD_SIZE;
    }
    if ((c[44] & 1) == 0 || le64_get(c + 24) % PAGE != 0) {
        return BAD_FIELD;
    }
    n->sq[qid] = (struct queue) { .at = le64_get(c + 24), .size = size, .cq = cq };
    return OK;
}

static void drain(struct nvme *n)
{
    if (n->disk.node != NULL) {
        block_drain(n->disk.node->ctx, n->disk.node);
    }
}

static int delete_queue(struct nvme *n, const uint8_t *c, bool submission)
{
    uint32_t qid = le16_get(c + 40);

    if (qid == 0 || qid > n->opt_pairs || (submission ? n->sq : n->cq)[qid].size == 0) {
        return BAD_QID;
    }
    if (submission) {
        drain(n); /* what it holds completes first */
        n->sq[qid].size = 0;
        return OK;
    }
    for (unsigned i = 1; i < MAX_QUEUES; i++) {
        if (n->sq[i].size != 0 && n->sq[i].cq == qid) {
            return 0x10c; /* invalid queue deletion */
        }
    }
    n->cq[qid].size = 0;
    update_intx(n);
    return OK;
}

static int features(struct nvme *n, const uint8_t *c, uint32_t *result)
{
    uint8_t id = c[40];
    bool set = c[0] == ADMIN_SET_FEATURES;

    if (id == 0 || id >= N_FEATURES) {
        return BAD_FIELD;
    }
    if (id == FEATURE_QUEUES) {
        *result = (n->opt_pairs - 1) | (n->opt_pairs - 1) << 16;
        return OK;
    }
    if (set) {
        n->features[id] = le32_get(c + 44);
    }
    *result = n->features[id];
    return OK;
}

static int admin_command(struct nvme *n, const uint8_t *c, uint32_t *result)
{
    switch (c[0]) {
    case ADMIN_CREATE_CQ:
        return create_cq(n, c);
    case ADMIN_CREATE_SQ:
        return create_sq(n, c);
    case ADMIN_DELETE_CQ:
        return delete_queue(n, c, false);
    case ADMIN_DELETE_SQ:
        return delete_queue(n, c, true);
    case ADMIN_IDENTIFY:
        return identify(n, c);
    case ADMIN_GET_LOG:
        return get_log(n, c);
    case ADMIN_SET_FEATURES:
    case ADMIN_GET_FEATURES:
        return features(n, c, result);
    case ADMIN_ABORT:
        *result = 1; /* not aborted: it is over soon */
        return OK;
    case ADMIN_ASYNC_EVENT:
        if (n->n_aer == MAX_AER) {
            return TOO_MANY_AER;
        }
        n->aer[n->n_aer++] = le16_get(c + 2);
        return LATER; /* nothing ever happens */
    default:
        return BAD_OPCODE;
    }
}

/* ---- queues ---- */

static void run_queue(struct nvme *n, uint32_t sqid)
{
    struct queue *sq = &n->sq[sqid];

    while (sq->size > 0 && sq->head != sq->tail && (n->csts & CSTS_READY) != 0) {
        uint8_t c[SQE];
        uint32_t result = 0;
        int status;

        if (gmem_read(&n->pd.dev.m->mem, sq->at + (uint64_t)sq->head * SQE, c, SQE) < 0) {
            n->csts |= CSTS_FATAL;
            return;
        }
        sq->head = (sq->head + 1) % sq->size;
        status = (c[1] & 0xc3) != 0 ? BAD_FIELD /* fused, or scatter-gather lists */
                 : sqid == 0        ? admin_command(n, c, &result)
                                    : io_command(n, sqid, c);
        if (status != LATER) {
            complete(n, sqid, le16_get(c + 2), status, result);
        }
    }
}

static void work(void *arg)
{
    struct nvme *n = arg;

    n->work_posted = false;
    for (uint32_t i = 0; i < MAX_QUEUES; i++) {
        run_queue(n, i);
    }
}

static void post_work(struct nvme *n)
{
    if (!n->work_posted && n->pd.dev.m->loop != NULL) {
        n->work_posted = loop_post(n->pd.dev.m->loop, work, n) == 0;
    }
}

static void doorbell(struct nvme *n, uint64_t off, uint32_t v)
{
    uint32_t qid = (uint32_t)off / 8;

    if (qid >= MAX_QUEUES || (n->csts & CSTS_READY) == 0) {
        return;
    }
    if (off % 8 == 0 && n->sq[qid].size > 0 && v < n->sq[qid].size) {
        n->sq[qid].tail = v;
        post_work(n);
    } else if (off % 8 == 4 && n->cq[qid].size > 0 && v < n->cq[qid].size) {
        n->cq[qid].head = v;
        update_intx(n);
    }
}

/* ---- registers ---- */

static void controller_reset(struct nvme *n)
{
    drain(n);
    memset(n->sq, 0, sizeof(n->sq));
    memset(n->cq, 0, sizeof(n->cq));
    memset(n->features, 0, sizeof(n->features));
    n->features[FEATURE_WRITE_CACHE] = !str_eq(n->disk.write_cache, "off");
    n->features[4] = 343;
    n->n_aer = 0;
    n->csts = 0;
    update_intx(n);
}

static void enable(struct nvme *n)
{
    uint32_t sq = (n->aqa & 0xfff) + 1;
    uint32_t cq = (n->aqa >> 16 & 0xfff) + 1;

    controller_reset(n);
    if (sq < 2 || cq < 2 || (n->asq & (PAGE - 1)) != 0 || (n->acq & (PAGE - 1)) != 0 ||
        (n->cc >> 7 & 15) != 0 || (n->cc >> 4 & 7) != 0) {
        n->csts = CSTS_FATAL;
        return;
    }
    n->sq[0] = (struct queue) { .at = n->asq, .size = sq };
    n->cq[0] = (struct queue) { .at = n->acq, .size = cq, .phase = 1, .irq = 1 };
    n->csts = CSTS_READY;
}

/* On the loop: requests are drained. */
static void cc_changed(void *arg)
{
    struct nvme *n = arg;

    if ((n->cc & CC_ENABLE) != 0 && (n->csts & (CSTS_READY | CSTS_FATAL)) == 0) {
        enable(n);
    } else if ((n->cc & CC_ENABLE) == 0 && (n->csts & (CSTS_READY | CSTS_FATAL)) != 0) {
        controller_reset(n);
    }
    if ((n->cc & CC_SHUTDOWN) != 0) {
        drain(n);
        n->csts |= CSTS_SHUT_DOWN;
    }
}

static uint64_t nvme_read(void *dev, uint64_t off, unsigned size)
{
    struct nvme *n = dev;
    uint8_t r[0x40] = { 0 };
    uint64_t v = 0;

    if (off >= MSIX_TABLE) {
        return pci_msix_read(&n->pd, off, size);
    }
    if (off + size > sizeof(r)) {
        return 0;
    }
    /* Entries, contiguous queues, 7.5 s for enabling, the NVM command set. */
    le64_put(r + REG_CAP, (MAX_ENTRIES - 1) | 1ull << 16 | 15ull << 24 | 1ull << 37);
    le32_put(r + REG_VS, 0x00010400);
    le32_put(r + REG_INTMS, n->mask);
    le32_put(r + REG_INTMC, n->mask);
    le32_put(r + REG_CC, n->cc);
    le32_put(r + REG_CSTS, n->csts);
    le32_put(r + REG_AQA, n->aqa);
    le64_put(r + REG_ASQ, n->asq);
    le64_put(r + REG_ACQ, n->acq);
    memcpy(&v, r + off, size);
    return v;
}

static void nvme_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct nvme *n = dev;
    uint32_t v = (uint32_t)value;

    if (off >= MSIX_TABLE) {
        pci_msix_write(&n->pd, off, value, size);
        return;
    }
    if (size == 8) {
        nvme_write(dev, off, v, 4);
        nvme_write(dev, off + 4, value >> 32, 4);
        return;
    }
    if (size != 4) {
        return;
    }
    if (off >= DOORBELLS) {
        doorbell(n, off - DOORBELLS, v);
        return;
    }
    switch (off) {
    case REG_INTMS:
        n->mask |= v;
        update_intx(n);
        break;
    case REG_INTMC:
        n->mask &= ~v;
        update_intx(n);
        break;
    case REG_CC:
        n->cc = v;
        if (n->pd.dev.m->loop != NULL) {
            (void)!loop_post(n->pd.dev.m->loop, cc_changed, n);
        }
        break;
    case REG_AQA:
        n->aqa = v & 0x0fff0fff;
        break;
    case REG_ASQ:
        n->asq = (n->asq & ~0xffffffffull) | v;
        break;
    case REG_ASQ + 4:
        n->asq = (n->asq & 0xffffffff) | (uint64_t)v << 32;
        break;
    case REG_ACQ:
        n->acq = (n->acq & ~0xffffffffull) | v;
        break;
    case REG_ACQ + 4:
        n->acq = (n->acq & 0xffffffff) | (uint64_t)v << 32;
        break;
    default:
        break;
    }
}

static const struct io_ops nvme_io = { .read = nvme_read, .write = nvme_write, .max_size = 8 };

/* ---- the function ---- */

static int nvme_init(struct pci_dev *pd, struct err **err)
{
    struct nvme *n = (struct nvme *)pd;
    int r;

    if (n->opt_pairs < 1 || n->opt_pairs > MAX_QUEUES - 1 || n->opt_vectors < 1 ||
        n->opt_vectors > MAX_QUEUES) {
        return err_set(err, EINVAL, "max_ioqpairs must be 1 to %d, msix_qsize 1 to %d",
                       MAX_QUEUES - 1, MAX_QUEUES);
    }
    if (n->disk.serial == NULL) {
        return err_set(err, EINVAL, "serial= is missing");
    }
    if (n->opt_mdts != MDTS) {
        return err_set(err, ENOTSUP, "mdts=%u: only %d is possible", n->opt_mdts, MDTS);
    }
    r = disk_init(&n->disk, pd->dev.m, false, 0, err);
    if (r == 0) {
        pci_add_bar_io(pd, 0, PCI_BAR_MEM64, BAR_BYTES, &nvme_io, n, "nvme");
        r = pci_add_msix_at(pd, 0, n->opt_vectors, MSIX_TABLE, MSIX_PBA, err);
    }
    return r;
}

static void nvme_done(struct pci_dev *pd)
{
    disk_done(&((struct nvme *)pd)->disk);
}

static void nvme_reset(struct pci_dev *pd)
{
    struct nvme *n = (struct nvme *)pd;

    controller_reset(n);
    n->cc = n->aqa = n->mask = 0;
    n->asq = n->acq = 0;
}

static struct disk *nvme_disk(struct device *dev)
{
    return &((struct nvme *)dev)->disk;
}

static void nvme_boot_path(const struct device *dev, char *buf, size_t len)
{
    (void)snprintf(buf, len, "nvme@%x/namespace@1,0", ((const struct pci_dev *)dev)->devfn >> 3);
}

static int nvme_post_load(struct device *dev, struct err **err)
{
    struct nvme *n = (struct nvme *)dev;
    bool good = n->n_aer <= MAX_AER;

    for (unsigned i = 0; i < MAX_QUEUES; i++) {
        const struct queue *pair[] = { &n->sq[i], &n->cq[i] };

        for (unsigned k = 0; k < 2; k++) {
            good &= pair[k]->size <= 4096 && pair[k]->cq < MAX_QUEUES && pair[k]->phase <= 1 &&
                    (pair[k]->size == 0 ||
                     (pair[k]->head < pair[k]->size && pair[k]->tail < pair[k]->size));
        }
    }
    if (!good) {
        return err_set(err, EINVAL, "nvme: the saved state is broken");
    }
    n->in_flight = 0;
    post_work(n);
    return 0;
}

static const struct state_field nvme_fields[] = {
    FIELD(struct nvme, cc),       FIELD(struct nvme, csts), FIELD(struct nvme, aqa),
    FIELD(struct nvme, mask),     FIELD(struct nvme, asq),  FIELD(struct nvme, acq),
    FIELD(struct nvme, sq),       FIELD(struct nvme, cq),   FIELD(struct nvme, features),
    FIELD(struct nvme, aer),      FIELD(struct nvme, n_aer), FIELD_END,
};

static const struct pci_class nvme_pci = {
    .vendor = PCI_VENDOR_REDHAT,
    .device = 0x0010,
    .class_code = 0x010802,
    .revision = 2,
    .pin = 1,
    .express = true,
    .init = nvme_init,
    .done = nvme_done,
    .reset = nvme_reset,
};

const struct device_class nvme_class = {
    .name = "nvme",
    .desc = "NVMe disk",
    .opts = nvme_opts,
    .size = sizeof(struct nvme),
    .pci = &nvme_pci,
    .boot_path = nvme_boot_path,
    .disk = nvme_disk,
    .fields = nvme_fields,
    .post_load = nvme_post_load,
    PCI_DEVICE_CALLBACKS,
};
