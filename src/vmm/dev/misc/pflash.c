/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pflash.c - a flash chip below 4 GiB (CFI, Intel command set, one byte wide), whose contents are a
 * block node: OVMF's code and its variables.
 *
 * While the chip shows its array, the guest reads memory directly and every write comes here. After
 * a command that shows something else (status, identification) the memory is taken away, so that
 * reads come here, too, until the array is back.
 */
#include "base/bytes.h"
#include "base/hash.h"
#include "block/core/block.h"
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum {
    SECTOR = 4096,
    STATUS_READY = 0x80,
    BUFFER = 2048,
    CMD_READ_ARRAY = 0xff,
    CMD_CLEAR_STATUS = 0x50,
    CMD_READ_STATUS = 0x70,
    CMD_READ_ID = 0x90,
    CMD_QUERY = 0x98,
    CMD_PROGRAM = 0x10,
    CMD_PROGRAM_ALT = 0x40,
    CMD_ERASE = 0x20,
    CMD_LOCK = 0x60,
    CMD_BUFFER = 0xe8,
    CMD_CONFIRM = 0xd0,
};

struct flash_write {
    struct block_req req;
    struct iovec iov;
    struct pflash *f;
    uint8_t data[];
};

struct pflash {
    struct device dev;
    char *drive;
    uint64_t end; /* where it ends */
    struct block_node *node;
    uint8_t *data; /* owned mapping */
    uint64_t size;
    uint64_t at;
    bool read_only;
    bool array; /* shown */
    unsigned slot;
    bool mapped;
    uint8_t command, status;
    unsigned cycle;
    uint32_t left; /* of a buffered write */
    uint64_t dirty_from, dirty_to;
};

static const struct opt pflash_opts[] = {
    OPT_STR(struct pflash, drive, "drive", NULL, "block node"),
    OPT_U64(struct pflash, end, "end", "4294967296", "address after its last byte"),
    OPT_END,
};

static void show_array(struct pflash *f, bool on)
{
    f->array = on;
    if (on && !f->mapped) {
        f->mapped = machine_map_memory(f->dev.m, f->at, f->size, f->data, true, &f->slot) == 0;
    } else if (!on && f->mapped) {
        machine_unmap_memory(f->dev.m, f->slot);
        f->mapped = false;
    }
}

static void write_done(struct block_req *req, int result)
{
    struct flash_write *w = (struct flash_write *)req;

    if (result < 0) {
        w->f->status |= 0x10;
    }
    free(w);
}

static void save(void *arg)
{
    struct pflash *f = arg;
    uint64_t from = round_down_u64(f->dirty_from, 512);
    uint64_t to = round_up_u64(f->dirty_to, 512);
    struct flash_write *w;

    if (f->dirty_to <= f->dirty_from || f->read_only) {
        return;
    }
    w = malloc(sizeof(*w) + (to - from));
    if (w != NULL) {
        *w = (struct flash_write) { .f = f };
        memcpy(w->data, f->data + from, to - from);
        w->iov = (struct iovec) { .iov_base = w->data, .iov_len = to - from };
        w->req = (struct block_req) {
            .node = f->node,
            .op = BLOCK_WRITE,
            .off = from,
            .len = to - from,
            .iov = &w->iov,
            .n_iov = 1,
            .done = write_done,
        };
        block_submit(&w->req);
    }
    f->dirty_from = f->size;
    f->dirty_to = 0;
}

/* Written to the image soon, on the loop. */
static void touched(struct pflash *f, uint64_t off, uint64_t len)
{
    bool clean = f->dirty_to <= f->dirty_from;

    f->dirty_from = min_u64(f->dirty_from, off);
    f->dirty_to = max_u64(f->dirty_to, off + len);
    if (clean && f->dev.m->loop != NULL && loop_post(f->dev.m->loop, save, f) < 0) {
        f->status |= 0x10;
    }
}

static void program(struct pflash *f, uint64_t off, uint64_t value, unsigned size)
{
    if (f->read_only) {
        f->status |= 0x12;
        return;
    }
    for (unsigned i = 0; i < size && off + i < f->size; i++) {
        f->data[off + i] = (uint8_t)(value >> (i * 8));
    }
    touched(f, off, size);
}

static uint64_t flash_read(void *dev, uint64_t off, unsigned size)
{
    struct pflash *f = dev;
    uint64_t v = 0;

    if (f->array) {
        memcpy(&v, f->data + off, size);
        return v;
    }
    switch (f->command) {
    case CMD_READ_ID:
        return (off & 0xff) == 0 ? 0x89 : (off & 0xff) == 1 ? 0x18 : 0;
    case CMD_QUERY: {
        static const uint8_t cfi[] = { 'Q', 'R', 'Y', 1, 0, 0x31 };

        return off >= 0x10 && off < 0x10 + sizeof(cfi) ? cfi[off - 0x10] : 0;
    }
    default:
        return f->status | STATUS_READY;
    }
}

static void first_cycle(struct pflash *f, uint8_t v)
{
    f->command = v;
    switch (v) {
    case CMD_CLEAR_STATUS:
        f->status = 0;
        show_array(f, true);
        break;
    case CMD_READ_STATUS:
    case CMD_READ_ID:
    case CMD_QUERY:
        show_array(f, false);
        break;
    case CMD_PROGRAM:
    case CMD_PROGRAM_ALT:
    case CMD_ERASE:
    case CMD_LOCK:
    case CMD_BUFFER:
        show_array(f, false);
        f->cycle = 1;
        break;
    default:
        show_array(f, true);
        break;
    }
}

static void flash_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct pflash *f = dev;
    uint8_t v = (uint8_t)value;

    switch (f->cycle) {
    case 0:
        first_cycle(f, v);
        break;
    case 1:
        f->cycle = 0;
        if (f->command == CMD_PROGRAM || f->command == CMD_PROGRAM_ALT) {
            program(f, off, value, size);
        } else if (f->command == CMD_ERASE && v == CMD_CONFIRM) {
            uint64_t sector = round_down_u64(off, SECTOR);

            if (f->read_only) {
                f->status |= 0x22;
            } else {
                memset(f->data + sector, 0xff, SECTOR);
                touched(f, sector, SECTOR);
            }
        } else if (f->command == CMD_BUFFER) {
            f->left = v + 1u;
            f->cycle = 2;
        } else if (v == CMD_READ_ARRAY) {
            show_array(f, true);
        }
        break;
    case 2:
        program(f, off, value, size);
        f->left -= f->left < size ? f->left : size;
        if (f->left == 0) {
            f->cycle = 3;
        }
        break;
    default: /* the confirmation */
        f->cycle = 0;
        break;
    }
}

static const struct io_ops flash_io = { .read = flash_read, .write = flash_write, .max_size = 8 };

static void read_done(struct block_req *req, int result)
{
    req->result = result;
    req->n_iov = 0;
}

static int load(struct pflash *f, struct err **err)
{
    struct iovec iov = { .iov_base = f->data, .iov_len = f->size };
    struct block_req req = {
        .node = f->node,
        .op = BLOCK_READ,
        .len = f->size,
        .iov = &iov,
        .n_iov = 1,
        .done = read_done,
    };

    block_submit(&req);
    block_drain(f->node->ctx, f->node);
    return req.result < 0
               ? err_set(err, -req.result, "cannot read the flash image: %s", strerror(-req.result))
               : 0;
}

static int pflash_realize(struct device *dev, struct err **err)
{
    struct pflash *f = (struct pflash *)dev;
    struct block_node *node = f->drive != NULL ? hash_get(dev->m->blocks, f->drive) : NULL;
    int64_t len;
    int r;

    if (node == NULL) {
        return err_set(err, ENOENT, "there is no drive or block node '%s'",
                       f->drive != NULL ? f->drive : "");
    }
    f->node = block_ref(node);
    len = block_length(node);
    if (len <= 0 || len % SECTOR != 0 || len > 16 << 20) {
        return err_set(err, EINVAL,
                       "flash '%s': its size must be a multiple of 4 KiB, at most 16 MiB",
                       f->drive);
    }
    f->size = (uint64_t)len;
    f->at = f->end - f->size;
    f->read_only = node->read_only;
    f->dirty_from = f->size;
    dev->m->flash_bytes = f->size;
    f->data = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (f->data == MAP_FAILED) {
        f->data = NULL;
        return err_set(err, ENOMEM, "no memory for the flash");
    }
    r = load(f, err);
    return r == 0 ? iobus_add(&dev->m->mmio, f->at, f->size, &flash_io, dev, "pflash", err) : r;
}

static void pflash_reset(struct device *dev)
{
    struct pflash *f = (struct pflash *)dev;

    f->command = f->status = 0;
    f->cycle = 0;
    show_array(f, true);
}

static void pflash_destroy(struct device *dev)
{
    struct pflash *f = (struct pflash *)dev;

    if (f->data != NULL) {
        show_array(f, false);
    }
    if (f->node != NULL) {
        save(f);
        block_drain(f->node->ctx, f->node);
        f->node = block_unref(f->node);
    }
    if (f->data != NULL) {
        (void)munmap(f->data, f->size);
    }
}

static int pflash_post_load(struct device *dev, struct err **err)
{
    struct pflash *f = (struct pflash *)dev;

    (void)err;
    show_array(f, f->array);
    return 0;
}

static const struct state_field pflash_fields[] = {
    FIELD(struct pflash, array), FIELD(struct pflash, command), FIELD(struct pflash, status),
    FIELD(struct pflash, cycle), FIELD(struct pflash, left),    FIELD_END,
};

const struct device_class pflash_class = {
    .name = "cfi.pflash01",
    .bus = "System",
    .desc = "flash",
    .opts = pflash_opts,
    .size = sizeof(struct pflash),
    .internal = true,
    .realize = pflash_realize,
    .reset = pflash_reset,
    .destroy = pflash_destroy,
    .fields = pflash_fields,
    .post_load = pflash_post_load,
};
