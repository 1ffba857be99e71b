/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * board.h - a machine without CPUs for tests of devices: 2 MiB of RAM, a loop, and eyes on the
 * interrupt lines. The test plays the guest by bus accesses.
 */
#pragma once

#include "codec/keyval.h"
#include "vmm/dev/device.h"
#include "vmm/machine/class.h"
#include "vmm/machine/machine.h"

#include <assert.h>
#include <stdlib.h>

enum { BOARD_RAM = 2 << 20, BOARD_VIRTIO_GPA = 0x10000000 };

struct board {
    struct machine *m;
    struct loop *loop;
    int line[64];
    unsigned n_virtio;
};

static inline void board_irq(void *arg, unsigned gsi, int level)
{
    ((struct board *)arg)->line[gsi % 64] = level;
}

static inline int board_claim(struct machine *m, struct device *dev, uint64_t *gpa, struct irq *irq,
                              struct err **err)
{
    struct board *b = m->irq_watch_arg;

    (void)dev;
    (void)err;
    *gpa = BOARD_VIRTIO_GPA + b->n_virtio * 0x200u;
    *irq = machine_irq(m, 32 + b->n_virtio++);
    return 0;
}

static const struct machine_class board_class = { .name = "test", .claim_virtio = board_claim };

static inline void board_init(struct board *b)
{
    *b = (struct board) { .n_virtio = 0 };
    assert(loop_new(&b->loop) == 0);
    assert(machine_new(b->loop, &b->m, NULL) == 0);
    b->m->cls = &board_class;
    b->m->irq_watch = board_irq;
    b->m->irq_watch_arg = b;
    b->m->ram_bytes = BOARD_RAM;
    assert(gmem_add(&b->m->mem, "ram", 0, BOARD_RAM, false, NULL) == 0);
}

static inline void board_done(struct board *b)
{
    (void)machine_free(b->m);
    (void)loop_free(b->loop);
}

/* text as for -device; NULL when the device refuses. */
static inline struct device *board_add(struct board *b, const char *text)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    struct device *dev = NULL;

    if (keyval_parse(text, "driver", false, &kv, NULL) < 0 ||
        device_create(b->m, device_class_find(keyval_get(kv, "driver")), kv, &dev, NULL) < 0) {
        return NULL;
    }
    return dev;
}

static inline uint8_t board_inb(struct board *b, unsigned port)
{
    return (uint8_t)iobus_read(&b->m->pio, port, 1);
}

static inline void board_outb(struct board *b, unsigned port, unsigned v)
{
    iobus_write(&b->m->pio, port, v, 1);
}
