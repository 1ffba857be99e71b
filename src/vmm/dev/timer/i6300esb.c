/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i6300esb.c - the watchdog of the 6300ESB (Intel 6300ESB I/O Controller Hub data sheet, 15): two
 * stages; when the second ends and a reboot is wanted, the machine's watchdog action is taken.
 */
#include "base/bytes.h"
#include "os/loop.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <string.h>

enum {
    BAR_BYTES = 16,
    CONFIG_REG = 0x60,
    CONFIG_NO_REBOOT = 1 << 5,
    CONFIG_FAST = 1 << 2, /* 1 MHz in place of 1 kHz */
    LOCK_REG = 0x68,
    LOCK_LOCKED = 1,
    LOCK_ENABLED = 2,
    LOCK_FREE_RUN = 4,

    TIMER1 = 0x00,
    TIMER2 = 0x04,
    RELOAD = 0x0c,
    RELOAD_NOW = 0x100,
    RELOAD_TIMED_OUT = 0x200,
    TIMER_MASK = 0xfffff,
    UNLOCK_1 = 0x80,
    UNLOCK_2 = 0x86,
};

struct watchdog {
    struct pci_dev pd;
    uint32_t timer1, timer2;
    uint8_t unlock; /* how many words of the key were written */
    uint8_t stage;  /* 0: stopped */
    bool timed_out;
    struct loop_source *timer;
    uint64_t due_usec;
};

static uint64_t ticks_usec(const struct watchdog *w, uint32_t ticks)
{
    bool fast = (w->pd.config[CONFIG_REG] & CONFIG_FAST) != 0;

    /* The PCI clock, 33 MHz, over 2^5 or 2^15. */
    return ((uint64_t)ticks << (fast ? 5 : 15)) / 33;
}

static void arm(void *arg)
{
    struct watchdog *w = arg;

    if (w->stage == 0) {
        (void)loop_timer_disarm(w->timer);
    } else {
        (void)loop_timer_arm(w->timer, w->due_usec);
    }
}

static void set_stage(struct watchdog *w, unsigned stage)
{
    w->stage = (uint8_t)stage;
    w->due_usec = loop_now_usec() + ticks_usec(w, stage == 2 ? w->timer2 : w->timer1);
    if (w->timer != NULL) {
        (void)!loop_post(w->pd.dev.m->loop, arm, w); /* timers are the loop's */
    }
}

static void expired(void *arg)
{
    struct watchdog *w = arg;

    if (w->pd.dev.m->state != RUN_RUNNING) { /* time stands still */
        w->due_usec = loop_now_usec() + ticks_usec(w, w->timer1);
        arm(w);
    } else if (w->stage == 1) {
        set_stage(w, 2);
    } else if (w->stage == 2) {
        w->timed_out = true;
        if ((w->pd.config[CONFIG_REG] & CONFIG_NO_REBOOT) == 0) {
            machine_watchdog(w->pd.dev.m);
        }
        set_stage(w, (w->pd.config[LOCK_REG] & LOCK_FREE_RUN) != 0 ? 1 : 0);
    }
}

static uint64_t esb_read(void *dev, uint64_t off, unsigned size)
{
    struct watchdog *w = dev;

    (void)size;
    return off == RELOAD ? (w->timed_out ? RELOAD_TIMED_OUT : 0) : 0;
}

static void esb_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct watchdog *w = dev;
    uint32_t v = (uint32_t)value;

    (void)size;
    if (off == RELOAD && v == UNLOCK_1) {
        w->unlock = 1;
        return;
    }
    if (off == RELOAD && v == UNLOCK_2 && w->unlock == 1) {
        w->unlock = 2;
        return;
    }
    if (w->unlock == 2) {
        if (off == RELOAD) {
            if ((v & RELOAD_NOW) != 0 && w->stage != 0) {
                set_stage(w, 1);
            }
            if ((v & RELOAD_TIMED_OUT) != 0) {
                w->timed_out = false;
            }
        } else if (off == TIMER1) {
            w->timer1 = v & TIMER_MASK;
        } else if (off == TIMER2) {
            w->timer2 = v & TIMER_MASK;
        }
    }
    w->unlock = 0;
}

static const struct io_ops esb_io = { .read = esb_read, .write = esb_write, .max_size = 4 };

static void esb_config_written(struct pci_dev *pd, unsigned off, unsigned size)
{
    struct watchdog *w = (struct watchdog *)pd;

    if (off > LOCK_REG || off + size <= LOCK_REG) {
        return;
    }
    if ((pd->config[LOCK_REG] & LOCK_LOCKED) != 0) {
        pd->wmask[LOCK_REG] = 0; /* until the next reset */
    }
    if ((pd->config[LOCK_REG] & LOCK_ENABLED) == 0) {
        set_stage(w, 0);
    } else if (w->stage == 0) {
        set_stage(w, 1);
    }
}

static void esb_reset(struct pci_dev *pd)
{
    struct watchdog *w = (struct watchdog *)pd;

    le16_put(pd->config + CONFIG_REG, 0);
    pd->config[LOCK_REG] = 0;
    pd->wmask[LOCK_REG] = 7;
    w->timer1 = w->timer2 = TIMER_MASK;
    w->unlock = 0;
    set_stage(w, 0);
    /* That it was the watchdog who reset the machine can be asked for. */
}

static int esb_init(struct pci_dev *pd, struct err **err)
{
    struct watchdog *w = (struct watchdog *)pd;
    int r = 0;

    le16_put(pd->wmask + CONFIG_REG, 0x0027);
    pd->wmask[LOCK_REG] = 7;
    pci_add_bar_io(pd, 0, PCI_BAR_MEM32, BAR_BYTES, &esb_io, w, "i6300esb");
    if (pd->dev.m->loop != NULL) {
        r = loop_add_timer(pd->dev.m->loop, expired, w, &w->timer);
    }
    return r < 0 ? err_set(err, -r, "cannot make a timer: %s", strerror(-r)) : 0;
}

static void esb_done(struct pci_dev *pd)
{
    struct watchdog *w = (struct watchdog *)pd;

    w->timer = loop_source_free(w->timer);
}

static int esb_post_load(struct device *dev, struct err **err)
{
    struct watchdog *w = (struct watchdog *)dev;

    (void)err;
    set_stage(w, w->stage <= 2 ? w->stage : 0);
    return 0;
}

static const struct state_field esb_fields[] = {
    FIELD(struct watchdog, timer1), FIELD(struct watchdog, timer2),
    FIELD(struct watchdog, unlock), FIELD(struct watchdog, stage),
    FIELD(struct watchdog, timed_out), FIELD_END,
};

static const struct pci_class esb_pci = {
    .vendor = PCI_VENDOR_INTEL,
    .device = 0x25ab,
    .class_code = 0x088000,
    .init = esb_init,
    .done = esb_done,
    .reset = esb_reset,
    .config_written = esb_config_written,
};

const struct device_class i6300esb_class = {
    .name = "i6300esb",
    .desc = "watchdog (Intel 6300ESB)",
    .size = sizeof(struct watchdog),
    .pci = &esb_pci,
    .fields = esb_fields,
    .post_load = esb_post_load,
    PCI_DEVICE_CALLBACKS,
};
