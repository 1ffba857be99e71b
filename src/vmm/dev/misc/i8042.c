/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8042.c - the keyboard controller with a PS/2 keyboard and mouse (IBM PS/2 technical reference,
 * keyboard and auxiliary device controller), the A20 and reset bits of port 0x92.
 *
 * Each device has a queue; the output buffer shows the head of one of them, the keyboard's first.
 * With keyboard=off only the reset lines are there (microvm).
 */
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"
#include "vmm/ui/input.h"

#include <string.h>

enum {
    PORT_DATA = 0x60,
    PORT_STATUS = 0x64,
    PORT_92 = 0x92,
    P92_RESET = 1,
    P92_A20 = 2,

    STATUS_OUT_FULL = 1,
    STATUS_SYSTEM = 4,
    STATUS_COMMAND = 8,
    STATUS_UNLOCKED = 0x10,
    STATUS_AUX = 0x20,

    MODE_KBD_IRQ = 1,
    MODE_AUX_IRQ = 2,
    MODE_SYSTEM = 4,
    MODE_KBD_OFF = 0x10,
    MODE_AUX_OFF = 0x20,
    MODE_TRANSLATE = 0x40,

    OUT_RESET = 1,
    OUT_A20 = 2,

    ACK = 0xfa,
    SELF_TEST_OK = 0xaa,
    RESEND = 0xfe,
    QUEUE = 256,
};

struct ps2 {
    uint8_t queue[QUEUE];
    unsigned head, count;
    uint8_t expects; /* the command whose argument comes next */
    bool enabled;
};

struct i8042 {
    struct device dev;
    bool keyboard;
    struct irq kbd_irq, aux_irq;
    struct input_handler kbd_input, aux_input;
    uint8_t port92, status, mode, command, out_port;
    uint8_t direct; /* answer of the controller itself */
    bool has_direct, direct_is_aux;
    struct ps2 kbd, aux;
    uint8_t scancode_set, leds;
    /* The mouse. */
    uint8_t sample_rate, resolution, id, detect[3];
    bool scaling, remote;
    int dx, dy, dz;
    unsigned buttons;
};

static const struct opt i8042_opts[] = {
    OPT_BOOL(struct i8042, keyboard, "keyboard", "on", "with keyboard and mouse"),
    OPT_END,
};

/* ---- queues ---- */

static void update(struct i8042 *k)
{
    bool kbd = k->kbd.count > 0 && (k->mode & MODE_KBD_OFF) == 0;
    bool aux = k->aux.count > 0 && (k->mode & MODE_AUX_OFF) == 0;
    bool from_aux = k->has_direct ? k->direct_is_aux : !kbd && aux;
    bool full = k->has_direct || kbd || aux;

    k->status &= (uint8_t) ~(STATUS_OUT_FULL | STATUS_AUX);
    if (full) {
        k->status |= (uint8_t)(STATUS_OUT_FULL | (from_aux ? STATUS_AUX : 0));
    }
    irq_set(&k->kbd_irq, full && !from_aux && (k->mode & MODE_KBD_IRQ) != 0);
    irq_set(&k->aux_irq, full && from_aux && (k->mode & MODE_AUX_IRQ) != 0);
}

static void put(struct ps2 *p, uint8_t v)
{
    if (p->count < QUEUE) {
        p->queue[(p->head + p->count++) % QUEUE] = v;
    }
}

static uint8_t take(struct ps2 *p)
{
    uint8_t v = p->queue[p->head];

    p->head = (p->head + 1) % QUEUE;
    p->count--;
    return v;
}

static void put_direct(struct i8042 *k, uint8_t v, bool aux)
{
    k->direct = v;
    k->has_direct = true;
    k->direct_is_aux = aux;
}

/* ---- the keyboard ---- */

static void kbd_reset(struct i8042 *k)
{
    k->kbd = (struct ps2) { .enabled = true };
    k->scancode_set = 2;
    k->leds = 0;
}

static void kbd_command(struct i8042 *k, uint8_t v)
{
    struct ps2 *p = &k->kbd;
    uint8_t expects = p->expects;

    p->expects = 0;
    if (expects == 0xed || expects == 0xf3) {
        put(p, ACK);
        return;
    }
    if (expects == 0xf0) {
        put(p, ACK);
        if (v == 0) {
            /* Translation maps the answer, too: set 2 reads as 0x41. */
            put(p, (k->mode & MODE_TRANSLATE) != 0 ? (k->scancode_set == 1 ? 0x43 : 0x41)
                                                   : k->scancode_set);
        } else if (v <= 3) {
            k->scancode_set = v;
        }
        return;
    }
    switch (v) {
    case 0xed: /* LEDs */
    case 0xf0: /* scan code set */
    case 0xf3: /* rate */
        p->expects = v;
        put(p, ACK);
        break;
    case 0xee:
        put(p, 0xee);
        break;
    case 0xf2:
        put(p, ACK);
        put(p, 0xab);
        put(p, (k->mode & MODE_TRANSLATE) != 0 ? 0x41 : 0x83);
        break;
    case 0xf4:
        p->enabled = true;
        put(p, ACK);
        break;
    case 0xf5:
    case 0xf6:
        kbd_reset(k);
        p->enabled = v == 0xf6;
        put(p, ACK);
        break;
    case 0xff:
        kbd_reset(k);
        put(p, ACK);
        put(p, SELF_TEST_OK);
        break;
    default:
        put(p, v == 0 ? RESEND : ACK);
        break;
    }
}

static void on_key(void *arg, unsigned key, bool down)
{
    struct i8042 *k = arg;
    static const uint8_t pause[6] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
    uint8_t bytes[8];
    unsigned n = 0;

    if (!k->kbd.enabled || k->kbd.count + 8 > QUEUE) {
        return;
    }
    if ((k->mode & MODE_TRANSLATE) == 0 && k->scancode_set == 2) {
        n = input_key_set2(key, down, bytes);
    } else if (key == KEY_PAUSE) {
        memcpy(bytes, pause, sizeof(pause));
        n = down ? sizeof(pause) : 0;
    } else {
        if ((key & KEY_E0) != 0) {
            bytes[n++] = 0xe0;
        }
        bytes[n++] = (uint8_t)((key & 0x7f) | (down ? 0 : 0x80));
    }
    for (unsigned i = 0; i < n; i++) {
        put(&k->kbd, bytes[i]);
    }
    update(k);
}

/* ---- the mouse ---- */

static void aux_reset(struct i8042 *k)
{
    k->aux = (struct ps2) { .enabled = false };
    k->sample_rate = 100;
    k->resolution = 2;
    k->id = 0;
    k->scaling = k->remote = false;
    k->dx = k->dy = k->dz = 0;
}

static int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

static void aux_packet(struct i8042 *k)
{
    int dx = clamp(k->dx, -255, 255);
    int dy = clamp(k->dy, -255, 255);
    int dz = clamp(k->dz, -8, 7);

    if (k->aux.count + 4 > QUEUE) {
        return;
    }
    put(&k->aux, (uint8_t)(0x08 | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0) | (k->buttons & 7)));
    put(&k->aux, (uint8_t)dx);
    put(&k->aux, (uint8_t)dy);
    if (k->id >= 3) {
        put(&k->aux, (uint8_t)(k->id == 4 ? dz & 0xf : dz));
    }
    k->dx -= dx;
    k->dy -= dy;
    k->dz -= dz;
}

static void on_move(void *arg, int dx, int dy, int dz, unsigned buttons)
{
    struct i8042 *k = arg;

    k->dx += dx;
    k->dy -= dy;
    k->dz += dz;
    k->buttons = buttons;
    if (k->aux.enabled && !k->remote) {
        do {
            aux_packet(k);
        } while ((k->dx != 0 || k->dy != 0) && k->aux.count + 4 <= QUEUE / 4);
        update(k);
    }
}

/* Rates 200, 100, 80 make it a wheel mouse; 200, 200, 80 one with five buttons. */
static void aux_rate(struct i8042 *k, uint8_t rate)
{
    k->sample_rate = rate;
    k->detect[0] = k->detect[1];
    k->detect[1] = k->detect[2];
    k->detect[2] = rate;
    if (k->detect[0] == 200 && k->detect[2] == 80) {
        k->id = k->detect[1] == 100 ? 3 : k->detect[1] == 200 ? 4 : k->id;
    }
}

static void aux_command(struct i8042 *k, uint8_t v)
{
    struct ps2 *p = &k->aux;
    uint8_t expects = p->expects;

    p->expects = 0;
    if (expects == 0xf3) {
        aux_rate(k, v);
        put(p, ACK);
        return;
    }
    if (expects == 0xe8) {
        k->resolution = v;
        put(p, ACK);
        return;
    }
    put(p, ACK);
    switch (v) {
    case 0xe6:
    case 0xe7:
        k->scaling = v == 0xe7;
        break;
    case 0xe8:
    case 0xf3:
        p->expects = v;
        break;
    case 0xe9:
        put(p, (uint8_t)((k->remote ? 0x40 : 0) | (p->enabled ? 0x20 : 0) |
                         (k->scaling ? 0x10 : 0) | (k->buttons & 7)));
        put(p, k->resolution);
        put(p, k->sample_rate);
        break;
    case 0xea:
    case 0xf0:
        k->remote = v == 0xf0;
        break;
    case 0xeb:
        aux_packet(k);
        break;
    case 0xf2:
        put(p, k->id);
        break;
    case 0xf4:
    case 0xf5:
        p->enabled = v == 0xf4;
        break;
    case 0xf6:
        k->sample_rate = 100;
        k->resolution = 2;
        p->enabled = k->remote = false;
        break;
    case 0xff:
        aux_reset(k);
        put(p, ACK);
        put(p, SELF_TEST_OK);
        put(p, 0);
        break;
    default:
        break;
    }
}

/* ---- the controller ---- */

static void out_port_write(struct i8042 *k, uint8_t v)
{
    k->out_port = v;
    if ((v & OUT_RESET) == 0) {
        machine_request_reset(k->dev.m, CAUSE_GUEST_RESET);
    }
}

static void command(struct i8042 *k, uint8_t v)
{
    k->command = 0;
    switch (v) {
    case 0x20:
        put_direct(k, k->mode, false);
        break;
    case 0x60: /* mode */
    case 0xd1: /* output port */
    case 0xd2: /* keyboard's output buffer */
    case 0xd3: /* mouse's */
    case 0xd4: /* to the mouse */
        k->command = v;
        break;
    case 0xa7:
        k->mode |= MODE_AUX_OFF;
        break;
    case 0xa8:
        k->mode &= (uint8_t)~MODE_AUX_OFF;
        break;
    case 0xa9:
    case 0xab:
        put_direct(k, 0, false);
        break;
    case 0xaa:
        k->status |= STATUS_SYSTEM;
        put_direct(k, 0x55, false);
        break;
    case 0xad:
        k->mode |= MODE_KBD_OFF;
        break;
    case 0xae:
        k->mode &= (uint8_t)~MODE_KBD_OFF;
        break;
    case 0xc0:
        put_direct(k, 0x80, false);
        break;
    case 0xd0:
        put_direct(k, k->out_port, false);
        break;
    case 0xdd:
    case 0xdf:
        k->out_port = (uint8_t)(v == 0xdf ? k->out_port | OUT_A20 : k->out_port & ~OUT_A20);
        break;
    default:
        /* 0xf0 to 0xff pulse the lines whose bits are 0; bit 0 is the reset. */
        if (v >= 0xf0 && (v & 1) == 0) {
            machine_request_reset(k->dev.m, CAUSE_GUEST_RESET);
        }
        break;
    }
}

static uint64_t status_read(void *dev, uint64_t off, unsigned size)
{
    const struct i8042 *k = dev;

    (void)off;
    (void)size;
    return k->keyboard ? k->status : 0;
}

static void status_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct i8042 *k = dev;

    (void)off;
    (void)size;
    if (!k->keyboard && value != 0xfe) {
        return;
    }
    k->status |= STATUS_COMMAND;
    command(k, (uint8_t)value);
    update(k);
}

static uint64_t data_read(void *dev, uint64_t off, unsigned size)
{
    struct i8042 *k = dev;
    uint8_t v = k->direct;

    (void)off;
    (void)size;
    if (k->has_direct) {
        k->has_direct = false;
    } else if (k->kbd.count > 0 && (k->mode & MODE_KBD_OFF) == 0) {
        v = k->direct = take(&k->kbd);
        irq_set(&k->kbd_irq, 0); /* the next byte is a new edge */
    } else if (k->aux.count > 0 && (k->mode & MODE_AUX_OFF) == 0) {
        v = k->direct = take(&k->aux);
        irq_set(&k->aux_irq, 0);
    }
    if (k->keyboard) {
        update(k);
    }
    return v;
}

static void data_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct i8042 *k = dev;
    uint8_t v = (uint8_t)value;
    uint8_t to = k->command;

    (void)off;
    (void)size;
    if (!k->keyboard) {
        return;
    }
    k->command = 0;
    k->status &= (uint8_t)~STATUS_COMMAND;
    switch (to) {
    case 0x60:
        k->mode = v;
        break;
    case 0xd1:
        out_port_write(k, v);
        break;
    case 0xd2:
    case 0xd3:
        put_direct(k, v, to == 0xd3);
        break;
    case 0xd4:
        k->mode &= (uint8_t)~MODE_AUX_OFF;
        aux_command(k, v);
        break;
    default:
        k->mode &= (uint8_t)~MODE_KBD_OFF;
        kbd_command(k, v);
        break;
    }
    update(k);
}

static uint64_t port92_read(void *dev, uint64_t off, unsigned size)
{
    (void)off;
    (void)size;
    return ((struct i8042 *)dev)->port92;
}

static void port92_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct i8042 *k = dev;

    (void)off;
    (void)size;
    k->port92 = (uint8_t)(value & ~(unsigned)P92_RESET);
    if ((value & P92_RESET) != 0) {
        machine_request_reset(k->dev.m, CAUSE_GUEST_RESET);
    }
}

static const struct io_ops data_io = { .read = data_read, .write = data_write, .max_size = 1 };
static const struct io_ops status_io = { .read = status_read,
                                         .write = status_write,
                                         .max_size = 1 };
static const struct io_ops port92_io = { .read = port92_read,
                                         .write = port92_write,
                                         .max_size = 1 };

static int i8042_realize(struct device *dev, struct err **err)
{
    struct i8042 *k = (struct i8042 *)dev;
    struct iobus *pio = &dev->m->pio;
    int r = iobus_add(pio, PORT_DATA, 1, &data_io, dev, "i8042-data", err);

    if (k->keyboard) {
        k->kbd_irq = machine_irq(dev->m, 1);
        k->aux_irq = machine_irq(dev->m, 12);
        k->kbd_input = (struct input_handler) { .arg = k, .key = on_key };
        k->aux_input = (struct input_handler) { .arg = k, .relative = on_move };
        input_add(dev->m, &k->kbd_input);
        input_add(dev->m, &k->aux_input);
    }
    if (r == 0) {
        r = iobus_add(pio, PORT_STATUS, 1, &status_io, dev, "i8042-cmd", err);
    }
    return r == 0 ? iobus_add(pio, PORT_92, 1, &port92_io, dev, "port92", err) : r;
}

static void i8042_reset(struct device *dev)
{
    struct i8042 *k = (struct i8042 *)dev;

    k->port92 = P92_A20;
    k->mode = MODE_KBD_IRQ | MODE_AUX_IRQ;
    k->status = STATUS_COMMAND | STATUS_UNLOCKED;
    k->out_port = OUT_RESET | OUT_A20 | 0xcc;
    k->command = 0;
    k->has_direct = false;
    kbd_reset(k);
    aux_reset(k);
    k->buttons = 0;
    if (k->keyboard) {
        update(k);
    }
}

static void i8042_destroy(struct device *dev)
{
    struct i8042 *k = (struct i8042 *)dev;

    input_remove(&k->kbd_input);
    input_remove(&k->aux_input);
}

static int i8042_post_load(struct device *dev, struct err **err)
{
    struct i8042 *k = (struct i8042 *)dev;

    (void)err;
    k->kbd.head %= QUEUE;
    k->aux.head %= QUEUE;
    k->kbd.count %= QUEUE + 1;
    k->aux.count %= QUEUE + 1;
    return 0;
}

static const struct state_field i8042_fields[] = {
    FIELD(struct i8042, port92),       FIELD(struct i8042, status),
    FIELD(struct i8042, mode),         FIELD(struct i8042, command),
    FIELD(struct i8042, out_port),     FIELD(struct i8042, direct),
    FIELD(struct i8042, has_direct),   FIELD(struct i8042, direct_is_aux),
    FIELD(struct i8042, kbd),          FIELD(struct i8042, aux),
    FIELD(struct i8042, scancode_set), FIELD(struct i8042, leds),
    FIELD(struct i8042, sample_rate),  FIELD(struct i8042, resolution),
    FIELD(struct i8042, id),           FIELD(struct i8042, detect),
    FIELD(struct i8042, scaling),      FIELD(struct i8042, remote),
    FIELD(struct i8042, buttons),      FIELD_END,
};

const struct device_class i8042_class = {
    .name = "i8042",
    .bus = "ISA",
    .desc = "keyboard controller with PS/2 keyboard and mouse, port 0x92",
    .opts = i8042_opts,
    .size = sizeof(struct i8042),
    .internal = true,
    .realize = i8042_realize,
    .reset = i8042_reset,
    .destroy = i8042_destroy,
    .fields = i8042_fields,
    .post_load = i8042_post_load,
};
