/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * serial.c - 16550A UART (National Semiconductor PC16550D data sheet), as isa-serial.
 *
 * Output leaves at once, so that the transmitter is always empty; input waits in a 16-byte FIFO.
 */
#include "base/log.h"
#include "vmm/char/chardev.h"
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <string.h>

enum {
    FIFO_BYTES = 16,
    REG_DATA = 0, /* RBR, THR; DLL */
    REG_IER = 1,  /* DLM */
    REG_IIR = 2,  /* FCR */
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCR = 7,

    IER_RECEIVED = 1,
    IER_EMPTY = 2,
    IER_LINE = 4,
    IER_MODEM = 8,
    IIR_NONE = 1,
    IIR_MODEM = 0,
    IIR_EMPTY = 2,
    IIR_RECEIVED = 4,
    IIR_LINE = 6,
    IIR_TIMEOUT = 12,
    IIR_FIFO = 0xc0,
    FCR_ENABLE = 1,
    FCR_CLEAR_RX = 2,
    LCR_DLAB = 0x80,
    MCR_LOOP = 0x10,
    MCR_OUT2 = 8,
    LSR_READY = 1,
    LSR_OVERRUN = 2,
    LSR_BREAK = 0x10,
    LSR_THR_EMPTY = 0x20,
    LSR_IDLE = 0x40,
    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_DCD = 0x80,
};

struct serial {
    struct device dev;
    /* Options. */
    char *chardev_id;
    uint32_t index;
    uint32_t iobase;
    uint32_t irq_number;
    /* State. */
    struct chardev *chr; /* NULL: nothing is connected */
    struct chardev_frontend fe;
    struct irq irq;
    uint8_t fifo[FIFO_BYTES];
    unsigned rx_first, rx_count;
    uint16_t divisor;
    uint8_t ier, lcr, mcr, lsr, msr, scr, fcr;
    bool thr_pending; /* THR became empty since the guest last looked */
    int line;
};

static const uint16_t standard_ports[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
static const uint8_t standard_irqs[] = { 4, 3, 4, 3 };

static const struct opt serial_opts[] = {
    OPT_STR(struct serial, chardev_id, "chardev", NULL, "character device"),
    OPT_U32(struct serial, index, "index", "0", "COM port number, from 0"),
    OPT_U32(struct serial, iobase, "iobase", "0", "first port; 0: by index"),
    OPT_U32(struct serial, irq_number, "irq", "0", "ISA interrupt; 0: by index"),
    OPT_END,
};

static uint8_t pending_interrupt(const struct serial *s)
{
    if ((s->ier & IER_LINE) != 0 && (s->lsr & (LSR_OVERRUN | LSR_BREAK)) != 0) {
        return IIR_LINE;
    }
    if ((s->ier & IER_RECEIVED) != 0 && s->rx_count > 0) {
        return IIR_RECEIVED;
    }
    if ((s->ier & IER_EMPTY) != 0 && s->thr_pending) {
        return IIR_EMPTY;
    }
    if ((s->ier & IER_MODEM) != 0 && (s->msr & 0xf) != 0) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

static void update_irq(struct serial *s)
{
    int line = pending_interrupt(s) != IIR_NONE;

    if (line != s->line) {
        s->line = line;
        irq_set(&s->irq, line);
    }
}

static void rx_put(struct serial *s, uint8_t byte)
{
    if (s->rx_count == FIFO_BYTES) {
        s->lsr |= LSR_OVERRUN;
        return;
    }
    s->fifo[(s->rx_first + s->rx_count++) % FIFO_BYTES] = byte;
    s->lsr |= LSR_READY;
}

static uint8_t rx_get(struct serial *s)
{
    uint8_t byte = 0;

    if (s->rx_count > 0) {
        byte = s->fifo[s->rx_first];
        s->rx_first = (s->rx_first + 1) % FIFO_BYTES;
        s->rx_count--;
    }
    if (s->rx_count == 0) {
        s->lsr &= (uint8_t)~LSR_READY;
        if (s->chr != NULL) {
            chardev_accept(s->chr);
        }
    }
    return byte;
}

static size_t can_receive(void *arg)
{
    struct serial *s = arg;

    if ((s->mcr & MCR_LOOP) != 0) {
        return 0;
    }
    return (s->fcr & FCR_ENABLE) != 0 ? FIFO_BYTES - s->rx_count : s->rx_count == 0;
}

static void receive(void *arg, const uint8_t *buf, size_t len)
{
    struct serial *s = arg;

    for (size_t i = 0; i < len; i++) {
        rx_put(s, buf[i]);
    }
    update_irq(s);
}

static void on_event(void *arg, enum chardev_event event)
{
    struct serial *s = arg;

    if (event == CHARDEV_BREAK) {
        rx_put(s, 0);
        s->lsr |= LSR_BREAK;
        update_irq(s);
    }
}

static uint64_t serial_read(void *dev, uint64_t off, unsigned size)
{
    struct serial *s = dev;
    uint8_t v = 0;

    (void)size;
    switch (off) {
    case REG_DATA:
        v = (s->lcr & LCR_DLAB) != 0 ? (uint8_t)s->divisor : rx_get(s);
        break;
    case REG_IER:
        v = (s->lcr & LCR_DLAB) != 0 ? (uint8_t)(s->divisor >> 8) : s->ier;
        break;
    case REG_IIR:
        v = pending_interrupt(s);
        if (v == IIR_EMPTY) {
            s->thr_pending = false;
        }
        v |= (s->fcr & FCR_ENABLE) != 0 ? IIR_FIFO : 0;
        break;
    case REG_LCR:
        v = s->lcr;
        break;
    case REG_MCR:
        v = s->mcr;
        break;
    case REG_LSR:
        v = s->lsr;
        s->lsr &= (uint8_t) ~(LSR_OVERRUN | LSR_BREAK);
        break;
    case REG_MSR:
        if ((s->mcr & MCR_LOOP) != 0) { /* outputs come back: DTR-DSR, RTS-CTS, OUT1-RI, OUT2-DCD */
            v = (uint8_t)((s->mcr & 1) << 5 | (s->mcr & 2) << 3 | (s->mcr & 4) << 4 |
                          (s->mcr & 8) << 4);
        } else {
            v = s->msr;
            s->msr &= 0xf0;
        }
        break;
    default:
        v = s->scr;
        break;
    }
    update_irq(s);
    return v;
}

static void transmit(struct serial *s, uint8_t byte)
{
    if ((s->mcr & MCR_LOOP) != 0) {
        rx_put(s, byte);
    } else if (s->chr != NULL) {
        chardev_write(s->chr, &byte, 1);
    }
    s->thr_pending = true;
}

static void serial_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct serial *s = dev;
    uint8_t v = (uint8_t)value;

    (void)size;
    switch (off) {
    case REG_DATA:
        if ((s->lcr & LCR_DLAB) != 0) {
            s->divisor = (uint16_t)((s->divisor & 0xff00) | v);
        } else {
            transmit(s, v);
        }
        break;
    case REG_IER:
        if ((s->lcr & LCR_DLAB) != 0) {
            s->divisor = (uint16_t)((s->divisor & 0xff) | v << 8);
        } else {
            /* Enabling the interrupt with an empty transmitter raises it. */
            if ((v & IER_EMPTY) != 0 && (s->ier & IER_EMPTY) == 0) {
                s->thr_pending = true;
            }
            s->ier = v & 0xf;
        }
        break;
    case REG_IIR: /* FCR */
        if (((v ^ s->fcr) & FCR_ENABLE) != 0 || (v & FCR_CLEAR_RX) != 0) {
            s->rx_count = 0;
            s->lsr &= (uint8_t)~LSR_READY;
            if (s->chr != NULL) {
                chardev_accept(s->chr);
            }
        }
        s->fcr = v & 0xc9;
        break;
    case REG_LCR:
        s->lcr = v;
        break;
    case REG_MCR:
        s->mcr = v & 0x1f;
        if (s->chr != NULL) {
            chardev_accept(s->chr);
        }
        break;
    case REG_SCR:
        s->scr = v;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
    update_irq(s);
}

static const struct io_ops serial_io = { .read = serial_read,
                                         .write = serial_write,
                                         .max_size = 1 };

static int serial_realize(struct device *dev, struct err **err)
{
    struct serial *s = (struct serial *)dev;
    int r = 0;

    if (s->index >= sizeof(standard_irqs)) {
        return err_set(err, EINVAL, "index %u: there are COM ports 0 to 3", s->index);
    }
    if (s->iobase == 0) {
        s->iobase = standard_ports[s->index];
    }
    if (s->irq_number == 0) {
        s->irq_number = standard_irqs[s->index];
    }
    s->irq = machine_irq(dev->m, s->irq_number);
    if (s->chardev_id != NULL) {
        s->fe = (struct chardev_frontend) {
            .can_receive = can_receive, .receive = receive, .event = on_event, .arg = s
        };
        s->chr = chardev_find(dev->m, s->chardev_id);
        if (s->chr == NULL) {
            return err_set(err, ENOENT, "there is no chardev '%s'", s->chardev_id);
        }
        r = chardev_attach(s->chr, &s->fe, err);
        if (r < 0) {
            s->chr = NULL;
            return r;
        }
    }
    return iobus_add(&dev->m->pio, s->iobase, 8, &serial_io, dev, "serial", err);
}

static void serial_reset(struct device *dev)
{
    struct serial *s = (struct serial *)dev;

    s->rx_count = 0;
    s->divisor = 12;
    s->ier = 0;
    s->lcr = 0;
    s->mcr = MCR_OUT2;
    s->lsr = LSR_THR_EMPTY | LSR_IDLE;
    s->msr = MSR_DCD | MSR_DSR | MSR_CTS;
    s->scr = 0;
    s->fcr = 0;
    s->thr_pending = false;
    update_irq(s);
}

static void serial_destroy(struct device *dev)
{
    struct serial *s = (struct serial *)dev;

    if (s->chr != NULL) {
        chardev_detach(s->chr, &s->fe);
    }
}

static int serial_post_load(struct device *dev, struct err **err)
{
    struct serial *s = (struct serial *)dev;

    if (s->rx_first >= FIFO_BYTES || s->rx_count > FIFO_BYTES) {
        return err_set(err, EINVAL, "isa-serial: the saved state is broken");
    }
    s->line = -1; /* the interrupt controller is told anew */
    update_irq(s);
    if (s->chr != NULL) {
        chardev_accept(s->chr);
    }
    return 0;
}

static const struct state_field serial_fields[] = {
    FIELD(struct serial, fifo),    FIELD(struct serial, rx_first), FIELD(struct serial, rx_count),
    FIELD(struct serial, divisor), FIELD(struct serial, ier),      FIELD(struct serial, lcr),
    FIELD(struct serial, mcr),     FIELD(struct serial, lsr),      FIELD(struct serial, msr),
    FIELD(struct serial, scr),     FIELD(struct serial, fcr),      FIELD(struct serial, thr_pending),
    FIELD_END,
};

const struct device_class serial_class = {
    .name = "isa-serial",
    .bus = "ISA",
    .desc = "16550A serial port",
    .opts = serial_opts,
    .size = sizeof(struct serial),
    .realize = serial_realize,
    .reset = serial_reset,
    .destroy = serial_destroy,
    .fields = serial_fields,
    .post_load = serial_post_load,
};
