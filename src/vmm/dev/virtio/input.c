/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * input.c - keyboard, mouse and tablet (virtio 1.2, 5.8): events as Linux's evdev has them, one
 * buffer each. People's input goes here once the driver is ready.
 */
#include "base/bytes.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/ui/input.h"

#include <string.h>

enum {
    CFG_SELECT = 0,
    CFG_SUBSEL = 1,
    CFG_SIZE = 2,
    CFG_DATA = 8,
    CONFIG_BYTES = 136,
    SEL_NAME = 0x01,
    SEL_SERIAL = 0x02,
    SEL_IDS = 0x03,
    SEL_EV_BITS = 0x11,
    SEL_ABS_INFO = 0x12,

    EV_SYN = 0,
    EV_KEY = 1,
    EV_REL = 2,
    EV_ABS = 3,
    EV_LED = 0x11,
    EV_REP = 0x14,
    REL_WHEEL = 8,
    BTN_LEFT = 0x110,
    BUS_VIRTUAL = 6,
    EVENT_BYTES = 8,
    N_BUTTONS = 3,
};

struct vinput {
    struct virtio_dev vd;
    char *opt_serial, *opt_display;
    uint32_t opt_head;
    struct input_handler input;
    bool active;
    uint8_t select, subsel;
    uint32_t buttons;
};

static const struct opt vinput_opts[] = {
    VIRTIO_OPTS(struct vinput),
    OPT_STR(struct vinput, opt_serial, "serial", NULL, "serial number"),
    OPT_STR(struct vinput, opt_display, "display", NULL, "accepted: there is one display"),
    OPT_U32(struct vinput, opt_head, "head", "0", "accepted: 0"),
    OPT_END,
};

enum kind { KEYBOARD = 1, MOUSE = 2, TABLET = 3 };

static enum kind kind_of(const struct virtio_dev *vd)
{
    const char *name = vd->dev.cls->name;

    return name[7] == 'k' ? KEYBOARD : name[7] == 'm' ? MOUSE : TABLET;
}

/* ---- events ---- */

static void put_event(struct vinput *in, unsigned type, unsigned code, uint32_t value)
{
    struct vq *vq = &in->vd.queues[0];
    struct vq_elem *e = vq->ready ? virtio_pop(&in->vd, vq) : NULL;
    uint8_t b[EVENT_BYTES];

    if (e == NULL) {
        return; /* nobody listens */
    }
    le16_put(b, (uint16_t)type);
    le16_put(b + 2, (uint16_t)code);
    le32_put(b + 4, value);
    vq_push(vq, e, (uint32_t)iov_write(e->in, e->n_in, 0, b, sizeof(b)));
}

static void end_report(struct vinput *in)
{
    put_event(in, EV_SYN, 0, 0);
    virtio_notify(&in->vd, &in->vd.queues[0]);
}

/* Scan code set 1 is evdev's numbering, but for what 0xe0 precedes. */
static unsigned evdev_code(unsigned key)
{
    static const uint8_t extended[128] = {
        [0x1c] = 96,  [0x1d] = 97,  [0x35] = 98,  [0x37] = 99,  [0x38] = 100, [0x46] = 119,
        [0x47] = 102, [0x48] = 103, [0x49] = 104, [0x4b] = 105, [0x4d] = 106, [0x4f] = 107,
        [0x50] = 108, [0x51] = 109, [0x52] = 110, [0x53] = 111, [0x5b] = 125, [0x5c] = 126,
        [0x5d] = 127, [0x5e] = 116, [0x20] = 113, [0x2e] = 114, [0x30] = 115,
    };

    return (key & KEY_E0) != 0 ? extended[key & 0x7f] : key & 0x7f;
}

static void on_key(void *arg, unsigned key, bool down)
{
    unsigned code = evdev_code(key);

    if (code != 0) {
        put_event(arg, EV_KEY, code, down);
        end_report(arg);
    }
}

static void put_buttons(struct vinput *in, unsigned buttons)
{
    for (unsigned i = 0; i < N_BUTTONS; i++) {
        if (((buttons ^ in->buttons) >> i & 1) != 0) {
            put_event(in, EV_KEY, BTN_LEFT + i, buttons >> i & 1);
        }
    }
    in->buttons = buttons;
}

static void on_relative(void *arg, int dx, int dy, int dz, unsigned buttons)
{
    struct vinput *in = arg;

    if (dx != 0) {
        put_event(in, EV_REL, 0, (uint32_t)dx);
    }
    if (dy != 0) {
        put_event(in, EV_REL, 1, (uint32_t)dy);
    }
    if (dz != 0) {
        put_event(in, EV_REL, REL_WHEEL, (uint32_t)-dz);
    }
    put_buttons(in, buttons);
    end_report(in);
}

static void on_absolute(void *arg, int x, int y, int dz, unsigned buttons)
{
    struct vinput *in = arg;

    put_event(in, EV_ABS, 0, (uint32_t)x);
    put_event(in, EV_ABS, 1, (uint32_t)y);
    if (dz != 0) {
        put_event(in, EV_REL, REL_WHEEL, (uint32_t)-dz);
    }
    put_buttons(in, buttons);
    end_report(in);
}

/* ---- what it is ---- */

static void set_bit(uint8_t *bits, unsigned n, uint8_t *size)
{
    bits[n / 8] |= (uint8_t)(1u << n % 8);
    *size = *size > n / 8 + 1 ? *size : (uint8_t)(n / 8 + 1);
}

/* Which events of a type there are. */
static void event_bits(enum kind kind, unsigned type, uint8_t *bits, uint8_t *size)
{
    if (kind == KEYBOARD) {
        for (unsigned key = 1; type == EV_KEY && key < 256; key++) {
            if (evdev_code(key) != 0 && input_key_usage(key) != 0) {
                set_bit(bits, evdev_code(key), size);
            }
        }
        for (unsigned i = 0; type == EV_LED && i < 3; i++) {
            set_bit(bits, i, size);
        }
        if (type == EV_REP) {
            set_bit(bits, 0, size);
        }
        return;
    }
    for (unsigned i = 0; type == EV_KEY && i < N_BUTTONS; i++) {
        set_bit(bits, BTN_LEFT + i, size);
    }
    if (type == EV_REL) {
        set_bit(bits, REL_WHEEL, size);
    }
    if (type == (kind == MOUSE ? EV_REL : EV_ABS)) {
        set_bit(bits, 0, size);
        set_bit(bits, 1, size);
    }
}

static void vinput_get_config(struct virtio_dev *vd, uint8_t *c)
{
    static const char *const names[] = { [KEYBOARD] = "QEMU Virtio Keyboard",
                                         [MOUSE] = "QEMU Virtio Mouse",
                                         [TABLET] = "QEMU Virtio Tablet" };
    const struct vinput *in = (struct vinput *)vd;
    enum kind kind = kind_of(vd);
    uint8_t *d = c + CFG_DATA;

    memset(c, 0, CONFIG_BYTES);
    c[CFG_SELECT] = in->select;
    c[CFG_SUBSEL] = in->subsel;
    switch (in->select) {
    case SEL_NAME:
        c[CFG_SIZE] = (uint8_t)strlen(names[kind]);
        memcpy(d, names[kind], c[CFG_SIZE]);
        break;
    case SEL_SERIAL:
        if (in->opt_serial != NULL) {
            c[CFG_SIZE] = (uint8_t)strnlen(in->opt_serial, CONFIG_BYTES - CFG_DATA);
            memcpy(d, in->opt_serial, c[CFG_SIZE]);
        }
        break;
    case SEL_IDS:
        c[CFG_SIZE] = 8;
        le16_put(d, BUS_VIRTUAL);
        le16_put(d + 2, 0x0627);
        le16_put(d + 4, (uint16_t)kind);
        le16_put(d + 6, 1);
        break;
    case SEL_EV_BITS:
        event_bits(kind, in->subsel, d, &c[CFG_SIZE]);
        break;
    case SEL_ABS_INFO:
        if (kind == TABLET && in->subsel < 2) {
            c[CFG_SIZE] = 20;
            le32_put(d + 4, INPUT_ABS_MAX);
        }
        break;
    default:
        break;
    }
}

static void vinput_set_config(struct virtio_dev *vd, size_t off, const uint8_t *bytes, size_t len)
{
    struct vinput *in = (struct vinput *)vd;

    for (size_t i = 0; i < len; i++) {
        if (off + i == CFG_SELECT) {
            in->select = bytes[i];
        } else if (off + i == CFG_SUBSEL) {
            in->subsel = bytes[i];
        }
    }
}

/* LEDs and the like: read and done. Event buffers wait for events. */
static void vinput_handle(struct virtio_dev *vd, unsigned index)
{
    struct vq_elem *e;

    if (index != 1) {
        return;
    }
    while ((e = virtio_pop(vd, &vd->queues[1])) != NULL) {
        vq_push(&vd->queues[1], e, 0);
    }
    virtio_notify(vd, &vd->queues[1]);
}

static void activate(struct vinput *in, bool on)
{
    if (in->active != on) {
        in->active = on;
        if (on) {
            input_add(in->vd.dev.m, &in->input);
        } else {
            input_remove(&in->input);
        }
    }
}

static void vinput_started(struct virtio_dev *vd)
{
    activate((struct vinput *)vd, true);
}

static void vinput_reset(struct virtio_dev *vd)
{
    struct vinput *in = (struct vinput *)vd;

    activate(in, false);
    in->select = in->subsel = 0;
    in->buttons = 0;
}

static int vinput_init(struct virtio_dev *vd, struct err **err)
{
    struct vinput *in = (struct vinput *)vd;

    in->input.arg = in;
    switch (kind_of(vd)) {
    case KEYBOARD:
        in->input.key = on_key;
        break;
    case MOUSE:
        in->input.relative = on_relative;
        break;
    default:
        in->input.absolute = on_absolute;
        break;
    }
    return virtio_set_queues(vd, 2, err);
}

static void vinput_done(struct virtio_dev *vd)
{
    activate((struct vinput *)vd, false);
}

static int vinput_post_load(struct device *dev, struct err **err)
{
    struct vinput *in = (struct vinput *)dev;

    (void)err;
    activate(in, virtio_ready(&in->vd));
    return 0;
}

static const struct state_field vinput_fields[] = {
    FIELD(struct vinput, select),
    FIELD(struct vinput, subsel),
    FIELD(struct vinput, buttons),
    FIELD_END,
};

static const struct virtio_class vinput_virtio = {
    .id = VIRTIO_ID_INPUT,
    .queue_size = 64,
    .config_size = CONFIG_BYTES,
    .init = vinput_init,
    .done = vinput_done,
    .get_config = vinput_get_config,
    .set_config = vinput_set_config,
    .handle_queue = vinput_handle,
    .started = vinput_started,
    .reset = vinput_reset,
};

#define INPUT_COMMON(desc_)                                                                   \
    .desc = (desc_), .opts = vinput_opts, .size = sizeof(struct vinput),                      \
    .virtio = &vinput_virtio, .fields = vinput_fields, .post_load = vinput_post_load
#define INPUT_CLASSES(symbol, name_, desc_)                                                   \
    const struct device_class symbol##_class = {                                              \
        .name = name_ "-device",                                                              \
        VIRTIO_MMIO_CALLBACKS,                                                                \
        INPUT_COMMON(desc_),                                                                  \
    };                                                                                        \
    const struct device_class symbol##_pci_class = {                                          \
        .name = name_ "-pci",                                                                 \
        VIRTIO_PCI_CALLBACKS,                                                                 \
        INPUT_COMMON(desc_),                                                                  \
    }

INPUT_CLASSES(virtio_keyboard, "virtio-keyboard", "keyboard");
INPUT_CLASSES(virtio_mouse, "virtio-mouse", "mouse");
INPUT_CLASSES(virtio_tablet, "virtio-tablet", "pointer with absolute positions");
