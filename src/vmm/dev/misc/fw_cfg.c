/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fw_cfg.c - the firmware configuration device (QEMU documentation, specs/fw_cfg): a selector at
 * port 0x510, a byte-wise data port at 0x511, and a DMA register at 0x514, big-endian.
 */
#include "vmm/dev/misc/fw_cfg.h"

#include "base/bytes.h"
#include "base/str.h"
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <string.h>

enum {
    PORT = 0x510,
    MAX_ITEMS = 96,
    MAX_FILES = 64,
    FILE_NAME_BYTES = 56,
    DIR_ENTRY_BYTES = 64,
    ID_DMA = 2,
    ID_TRADITIONAL = 1,
    DMA_ERROR = 1,
    DMA_READ = 2,
    DMA_SKIP = 4,
    DMA_SELECT = 8,
    DMA_WRITE = 16,
};

struct item {
    uint16_t key;
    uint32_t len;
    uint8_t *data; /* owned */
};

struct fw_cfg {
    struct device dev;
    struct item items[MAX_ITEMS];
    unsigned n_items;
    char names[MAX_FILES][FILE_NAME_BYTES];
    unsigned n_files;
    uint16_t key;
    uint32_t offset;
    uint64_t dma_high; /* the upper half of the DMA address, until the lower one is written */
};

static struct item *find(struct fw_cfg *f, uint16_t key)
{
    for (unsigned i = 0; i < f->n_items; i++) {
        if (f->items[i].key == (key & 0xbfff)) {
            return &f->items[i];
        }
    }
    return NULL;
}

int fw_cfg_add(struct device *dev, uint16_t key, const void *data, uint32_t len, struct err **err)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    struct item *item = find(f, key);
    uint8_t *copy = malloc(len > 0 ? len : 1);

    if (copy == NULL || (item == NULL && f->n_items == MAX_ITEMS)) {
        free(copy);
        return err_set(err, ENOSPC, "no room for another fw_cfg item");
    }
    memcpy(copy, data, len);
    if (item == NULL) {
        item = &f->items[f->n_items++];
        item->data = NULL;
    }
    free(item->data);
    *item = (struct item) { .key = key, .len = len, .data = copy };
    return 0;
}

int fw_cfg_add_u16(struct device *dev, uint16_t key, uint16_t v, struct err **err)
{
    uint8_t le[2];

    le16_put(le, v);
    return fw_cfg_add(dev, key, le, sizeof(le), err);
}

int fw_cfg_add_u32(struct device *dev, uint16_t key, uint32_t v, struct err **err)
{
    uint8_t le[4];

    le32_put(le, v);
    return fw_cfg_add(dev, key, le, sizeof(le), err);
}

int fw_cfg_add_u64(struct device *dev, uint16_t key, uint64_t v, struct err **err)
{
    uint8_t le[8];

    le64_put(le, v);
    return fw_cfg_add(dev, key, le, sizeof(le), err);
}

/* The directory: a count and entries of size, selector, name, all big-endian. */
static int rebuild_directory(struct fw_cfg *f, struct err **err)
{
    uint8_t dir[4 + MAX_FILES * DIR_ENTRY_BYTES] = { 0 };

    be32_put(dir, f->n_files);
    for (unsigned i = 0; i < f->n_files; i++) {
        uint8_t *e = dir + 4 + (size_t)i * DIR_ENTRY_BYTES;
        const struct item *item = find(f, (uint16_t)(FW_CFG_FILE_FIRST + i));

        be32_put(e, item != NULL ? item->len : 0);
        be16_put(e + 4, (uint16_t)(FW_CFG_FILE_FIRST + i));
        memcpy(e + 8, f->names[i], FILE_NAME_BYTES);
    }
    return fw_cfg_add(&f->dev, FW_CFG_FILE_DIR, dir, 4 + f->n_files * DIR_ENTRY_BYTES, err);
}

int fw_cfg_add_file(struct device *dev, const char *name, const void *data, uint32_t len,
                    struct err **err)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    int r;

    if (strlen(name) >= FILE_NAME_BYTES || f->n_files == MAX_FILES) {
        return err_set(err, E2BIG,
                       "fw_cfg file '%s': the name has more than %d bytes, or there "
                       "are too many files",
                       name, FILE_NAME_BYTES - 1);
    }
    r = fw_cfg_add(dev, (uint16_t)(FW_CFG_FILE_FIRST + f->n_files), data, len, err);
    if (r < 0) {
        return r;
    }
    memcpy(f->names[f->n_files++], name, strlen(name));
    return rebuild_directory(f, err);
}

static uint8_t next_byte(struct fw_cfg *f)
{
    const struct item *item = find(f, f->key);

    return item != NULL && f->offset < item->len ? item->data[f->offset++] : 0;
}

/* The descriptor, in guest memory: control, length, address, all big-endian. Control is written
 * back: 0, or the error bit. */
static void do_dma(struct fw_cfg *f, uint64_t gpa)
{
    struct gmem *mem = &f->dev.m->mem;
    uint8_t desc[16];
    uint8_t result[4];
    const struct item *item;
    uint32_t control;
    uint32_t len;
    uint64_t to;
    bool bad = false;

    if (gmem_read(mem, gpa, desc, sizeof(desc)) < 0) {
        return;
    }
    control = be32_get(desc);
    len = be32_get(desc + 4);
    to = be64_get(desc + 8);
    if ((control & DMA_SELECT) != 0) {
        f->key = (uint16_t)(control >> 16);
        f->offset = 0;
    }
    item = find(f, f->key);
    if ((control & DMA_READ) != 0) {
        uint8_t *p = gmem_map(mem, to, len, true);
        uint32_t have = item != NULL && f->offset < item->len ? item->len - f->offset : 0;
        uint32_t n = len < have ? len : have;

        bad = p == NULL && len > 0;
        if (!bad && len > 0) {
            if (n > 0) {
                memcpy(p, item->data + f->offset, n);
            }
            memset(p + n, 0, len - n);
            f->offset += n;
        }
    } else if ((control & DMA_SKIP) != 0) {
        f->offset = f->offset + len >= f->offset ? f->offset + len : UINT32_MAX;
    } else if ((control & DMA_WRITE) != 0) {
        bad = true; /* no item can be written */
    }
    be32_put(result, bad ? DMA_ERROR : 0);
    (void)!gmem_write(mem, gpa, result, sizeof(result));
}

static uint64_t select_read(void *dev, uint64_t off, unsigned size)
{
    (void)size;
    return off == 0 ? 0 : next_byte(dev);
}

static void select_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct fw_cfg *f = dev;

    if (off == 0 && size == 2) {
        f->key = (uint16_t)value;
        f->offset = 0;
    }
}

/* Reading gives "QEMU CFG", the sign that DMA is there. */
static uint64_t dma_read(void *dev, uint64_t off, unsigned size)
{
    uint64_t sign = 0x51454d5520434647ull;

    (void)dev;
    if (size == 4) {
        return __builtin_bswap32((uint32_t)(off == 0 ? sign >> 32 : sign));
    }
    return size == 8 ? __builtin_bswap64(sign) : sign >> ((7 - off) * 8);
}

static void dma_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct fw_cfg *f = dev;

    if (size == 8) {
        do_dma(f, __builtin_bswap64(value));
    } else if (size == 4 && off == 0) {
        f->dma_high = __builtin_bswap32((uint32_t)value);
    } else if (size == 4 && off == 4) {
        uint64_t gpa = f->dma_high << 32 | __builtin_bswap32((uint32_t)value);

        f->dma_high = 0;
        do_dma(f, gpa);
    }
}

static const struct io_ops select_io = { .read = select_read,
                                         .write = select_write,
                                         .max_size = 2 };
static const struct io_ops dma_io = { .read = dma_read, .write = dma_write, .max_size = 8 };

static int fw_cfg_realize(struct device *dev, struct err **err)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    int r = fw_cfg_add(dev, FW_CFG_SIGNATURE, "QEMU", 4, err);

    if (r == 0) {
        r = fw_cfg_add_u32(dev, FW_CFG_ID, ID_TRADITIONAL | ID_DMA, err);
    }
    if (r == 0) {
        r = rebuild_directory(f, err);
    }
    if (r == 0) {
        r = iobus_add(&dev->m->pio, PORT, 2, &select_io, dev, "fw_cfg", err);
    }
    return r == 0 ? iobus_add(&dev->m->pio, PORT + 4, 8, &dma_io, dev, "fw_cfg-dma", err) : r;
}

static void fw_cfg_reset(struct device *dev)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;

    f->key = 0;
    f->offset = 0;
    f->dma_high = 0;
}

static void fw_cfg_destroy(struct device *dev)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;

    for (unsigned i = 0; i < f->n_items; i++) {
        free(f->items[i].data);
    }
}

const struct device_class fw_cfg_class = {
    .name = "fw_cfg_io",
    .bus = "System",
    .desc = "firmware configuration device",
    .size = sizeof(struct fw_cfg),
    .internal = true,
    .realize = fw_cfg_realize,
    .reset = fw_cfg_reset,
    .destroy = fw_cfg_destroy,
};
