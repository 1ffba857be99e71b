/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hid.c - usb-tablet, usb-mouse and usb-kbd (Device Class Definition for HID 1.11). The device takes
 * input once its driver asks for reports; until then the PS/2 ones do.
 */
#include "base/bytes.h"
#include "vmm/dev/usb/usb.h"
#include "vmm/ui/input.h"

#include <errno.h>
#include <string.h>

enum hid_kind { HID_TABLET, HID_MOUSE, HID_KEYBOARD };

enum {
    MAX_EVENTS = 32,
    MAX_KEYS = 6,
    ROLLOVER = 1, /* usage: more keys are down than fit */
    MODIFIERS_FROM = 0xe0,

    DESC_HID = 0x21,
    DESC_REPORT = 0x22,
    GET_REPORT = 0xa101,
    GET_IDLE = 0xa102,
    GET_PROTOCOL = 0xa103,
    SET_REPORT = 0x2109,
    SET_IDLE = 0x210a,
    SET_PROTOCOL = 0x210b,
    INTERFACE_DESCRIPTOR = 0x8100 | USB_GET_DESCRIPTOR,

    MAX_REPORT = 8,
};

struct hid_event {
    int32_t x, y, z;  /* moves add up; positions replace */
    uint32_t buttons; /* keyboard: usage, with 0x100 when it goes up */
};

struct hid {
    struct usb_dev ud;
    struct input_handler input;
    bool active, boot_protocol, changed;
    uint8_t idle, leds;
    /* What the next report says, and what is to come after it. */
    uint32_t n_events;
    struct hid_event events[MAX_EVENTS];
    struct hid_event last;
    uint8_t keys[MAX_KEYS * 2];
    uint32_t n_keys;
    uint8_t modifiers;
};

static const struct usb_class tablet_usb, mouse_usb;

static const uint8_t tablet_report[] = {
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00,             /* mouse, pointer */
    0x05, 0x09, 0x19, 0x01, 0x29, 0x03, 0x15, 0x00, 0x25, 0x01,             /* three buttons */
    0x95, 0x03, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x05, 0x81, 0x01, /* and filling */
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x00, 0x26, 0xff, 0x7f,       /* X, Y absolute */
    0x35, 0x00, 0x46, 0xff, 0x7f, 0x75, 0x10, 0x95, 0x02, 0x81, 0x02,       /* */
    0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00,             /* wheel */
    0x75, 0x08, 0x95, 0x01, 0x81, 0x06, 0xc0, 0xc0,
};

static const uint8_t mouse_report[] = {
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00,             /* mouse, pointer */
    0x05, 0x09, 0x19, 0x01, 0x29, 0x03, 0x15, 0x00, 0x25, 0x01,             /* three buttons */
    0x95, 0x03, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x05, 0x81, 0x01, /* and filling */
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, /* X, Y, wheel */
    0x75, 0x08, 0x95, 0x03, 0x81, 0x06, 0xc0, 0xc0,
};

static const uint8_t keyboard_report[] = {
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, 0x75, 0x01, 0x95, 0x08, 0x05, 0x07, /* modifiers */
    0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01, 0x81, 0x02,             /* */
    0x95, 0x01, 0x75, 0x08, 0x81, 0x01, 0x95, 0x05, 0x75, 0x01, 0x05, 0x08, /* filling, LEDs */
    0x19, 0x01, 0x29, 0x05, 0x91, 0x02, 0x95, 0x01, 0x75, 0x03, 0x91, 0x01, /* */
    0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x26, 0xff, 0x00, 0x05, 0x07,       /* six keys */
    0x19, 0x00, 0x2a, 0xff, 0x00, 0x81, 0x00, 0xc0,
};

static const struct hid_type {
    const uint8_t *report;
    uint16_t report_len;
    uint8_t subclass, protocol;
    uint8_t packet; /* the longest report */
} types[] = {
    [HID_TABLET] = { tablet_report, sizeof(tablet_report), 0, 0, 6 },
    [HID_MOUSE] = { mouse_report, sizeof(mouse_report), 1, 2, 4 },
    [HID_KEYBOARD] = { keyboard_report, sizeof(keyboard_report), 1, 1, 8 },
};

static enum hid_kind kind_of(const struct usb_dev *ud)
{
    return ud->dev.cls->usb == &tablet_usb ? HID_TABLET
           : ud->dev.cls->usb == &mouse_usb ? HID_MOUSE
                                            : HID_KEYBOARD;
}

/* ---- input ---- */

static void event_came(struct hid *h)
{
    h->changed = true;
    usb_wakeup(&h->ud, 0x81);
}

static struct hid_event *new_event(struct hid *h)
{
    return h->n_events < MAX_EVENTS ? &h->events[h->n_events++] : NULL;
}

static void hid_key(void *arg, unsigned key, bool down)
{
    struct hid *h = arg;
    uint8_t usage = input_key_usage(key);
    struct hid_event *e = usage != 0 ? new_event(h) : NULL;

    if (e != NULL) {
        *e = (struct hid_event) { .buttons = usage | (down ? 0 : 0x100u) };
        event_came(h);
    }
}

/* Moves with the same buttons become one. */
static void pointer(struct hid *h, int x, int y, int z, unsigned buttons, bool absolute)
{
    struct hid_event *e = h->n_events > 0 ? &h->events[h->n_events - 1] : NULL;

    if (e == NULL || e->buttons != buttons) {
        e = new_event(h);
        if (e == NULL) {
            return;
        }
        *e = (struct hid_event) { .buttons = buttons };
    }
    e->x = absolute ? x : e->x + x;
    e->y = absolute ? y : e->y + y;
    e->z += z;
    event_came(h);
}

static void hid_relative(void *arg, int dx, int dy, int dz, unsigned buttons)
{
    pointer(arg, dx, dy, dz, buttons, false);
}

static void hid_absolute(void *arg, int x, int y, int dz, unsigned buttons)
{
    pointer(arg, x, y, dz, buttons, true);
}

static void activate(struct hid *h, bool on)
{
    if (h->active != on) {
        h->active = on;
        if (on) {
            input_add(h->ud.dev.m, &h->input);
        } else {
            input_remove(&h->input);
        }
    }
}

/* ---- reports ---- */

static void drop_event(struct hid *h)
{
    h->n_events--;
    memmove(h->events, h->events + 1, h->n_events * sizeof(h->events[0]));
}

static void take_key(struct hid *h, uint32_t event)
{
    uint8_t usage = (uint8_t)event;
    bool down = (event & 0x100) == 0;
    unsigned i = 0;

    if (usage >= MODIFIERS_FROM && usage < MODIFIERS_FROM + 8) {
        uint8_t bit = (uint8_t)(1u << (usage - MODIFIERS_FROM));

        h->modifiers = down ? h->modifiers | bit : h->modifiers & (uint8_t)~bit;
        return;
    }
    while (i < h->n_keys && h->keys[i] != usage) {
        i++;
    }
    if (down && i == h->n_keys && h->n_keys < sizeof(h->keys)) {
        h->keys[h->n_keys++] = usage;
    } else if (!down && i < h->n_keys) {
        h->n_keys--;
        memmove(h->keys + i, h->keys + i + 1, h->n_keys - i);
    }
}

static int8_t part(int32_t *left)
{
    int32_t v = *left > 127 ? 127 : *left < -127 ? -127 : *left;

    *left -= v;
    return (int8_t)v;
}

static size_t make_report(struct hid *h, uint8_t *r)
{
    enum hid_kind kind = kind_of(&h->ud);
    struct hid_event *e = h->n_events > 0 ? &h->events[0] : NULL;

    if (kind == HID_KEYBOARD) {
        if (e != NULL) {
            take_key(h, e->buttons);
            drop_event(h);
        }
        memset(r, 0, 8);
        r[0] = h->modifiers;
        for (unsigned i = 0; i < MAX_KEYS; i++) {
            r[2 + i] = h->n_keys > MAX_KEYS ? ROLLOVER : i < h->n_keys ? h->keys[i] : 0;
        }
        return 8;
    }
    if (e != NULL) {
        h->last.x = e->x;
        h->last.y = e->y;
        h->last.buttons = e->buttons;
    }
    r[0] = (uint8_t)(h->last.buttons & 7);
    if (kind == HID_TABLET) {
        le16_put(r + 1, (uint16_t)h->last.x);
        le16_put(r + 3, (uint16_t)h->last.y);
        r[5] = e != NULL ? (uint8_t)-part(&e->z) : 0;
    } else {
        r[1] = e != NULL ? (uint8_t)part(&e->x) : 0;
        r[2] = e != NULL ? (uint8_t)part(&e->y) : 0;
        r[3] = e != NULL ? (uint8_t)-part(&e->z) : 0;
    }
    if (e != NULL && e->z == 0 && (kind == HID_TABLET || (e->x == 0 && e->y == 0))) {
        drop_event(h);
    }
    return kind == HID_TABLET ? 6 : h->boot_protocol ? 3 : 4;
}

/* ---- the device ---- */

static size_t hid_describe(struct usb_dev *ud, uint8_t *d)
{
    const struct hid_type *t = &types[kind_of(ud)];
    const uint8_t interface[] = { 9, 4, 0, 0, 1, 3, t->subclass, t->protocol, 0 };
    const uint8_t hid[] = {
        9, DESC_HID, 0x01, 0x00, 0, 1, DESC_REPORT, (uint8_t)t->report_len, 0,
    };
    /* Asked every 8 ms (high speed counts in powers of two of 125 us). */
    const uint8_t endpoint[] = { 7, 5, 0x81, 3, t->packet, 0, ud->speed >= USB_HIGH ? 7 : 8 };

    memcpy(d, interface, 9);
    memcpy(d + 9, hid, 9);
    memcpy(d + 18, endpoint, 7);
    return 25;
}

static int hid_control(struct usb_dev *ud, unsigned request, unsigned value, unsigned index,
                       uint8_t *data, size_t length)
{
    struct hid *h = (struct hid *)ud;
    const struct hid_type *t = &types[kind_of(ud)];
    uint8_t all[32];

    (void)index;
    switch (request) {
    case INTERFACE_DESCRIPTOR:
        if (value >> 8 == DESC_REPORT) {
            memcpy(data, t->report, t->report_len);
            return t->report_len;
        }
        if (value >> 8 == DESC_HID) {
            (void)hid_describe(ud, all);
            memcpy(data, all + 9, 9);
            return 9;
        }
        return -1;
    case GET_REPORT:
        return (int)make_report(h, data);
    case SET_REPORT:
        h->leds = length > 0 ? data[0] : 0;
        return 0;
    case GET_IDLE:
        data[0] = h->idle;
        return 1;
    case SET_IDLE:
        h->idle = (uint8_t)(value >> 8);
        return 0;
    case GET_PROTOCOL:
        data[0] = !h->boot_protocol;
        return 1;
    case SET_PROTOCOL:
        h->boot_protocol = value == 0;
        return 0;
    default:
        return -1;
    }
}

static enum usb_status hid_data(struct usb_dev *ud, struct usb_packet *p)
{
    struct hid *h = (struct hid *)ud;
    uint8_t report[MAX_REPORT];

    if (p->pid != USB_IN || p->ep != 1) {
        return USB_STALL;
    }
    activate(h, true);
    if (!h->changed) {
        return USB_NAK;
    }
    (void)usb_put(p, report, make_report(h, report));
    h->changed = h->n_events > 0;
    return USB_OK;
}

static void hid_reset(struct usb_dev *ud)
{
    struct hid *h = (struct hid *)ud;

    activate(h, false);
    h->changed = h->boot_protocol = false;
    h->idle = 0;
    h->n_events = h->n_keys = 0;
    h->modifiers = 0;
}

static void hid_cancel(struct usb_dev *ud, struct usb_packet *p)
{
    (void)ud;
    (void)p; /* none is ever kept */
}

static int hid_init(struct usb_dev *ud, struct err **err)
{
    struct hid *h = (struct hid *)ud;

    (void)err;
    h->input.arg = h;
    switch (kind_of(ud)) {
    case HID_TABLET:
        h->input.absolute = hid_absolute;
        break;
    case HID_MOUSE:
        h->input.relative = hid_relative;
        break;
    default:
        h->input.key = hid_key;
        break;
    }
    return 0;
}

static void hid_done(struct usb_dev *ud)
{
    activate((struct hid *)ud, false);
}

static void hid_pre_save(struct device *dev)
{
    struct hid *h = (struct hid *)dev;

    h->last.z = h->active; /* it is in no table */
}

static int hid_post_load(struct device *dev, struct err **err)
{
    struct hid *h = (struct hid *)dev;

    if (h->n_events > MAX_EVENTS || h->n_keys > sizeof(h->keys)) {
        return err_set(err, EINVAL, "%s: the saved state is broken", dev->cls->name);
    }
    activate(h, h->last.z != 0);
    h->last.z = 0;
    return usb_check_loaded(&h->ud, err);
}

static const struct state_field hid_fields[] = {
    USB_FIELDS(struct hid),
    FIELD(struct hid, boot_protocol),
    FIELD(struct hid, changed),
    FIELD(struct hid, idle),
    FIELD(struct hid, leds),
    FIELD(struct hid, n_events),
    FIELD(struct hid, events),
    FIELD(struct hid, last),
    FIELD(struct hid, keys),
    FIELD(struct hid, n_keys),
    FIELD(struct hid, modifiers),
    FIELD_END,
};

#define HID_USB(name_)                                                                  \
    {                                                                                   \
        .vendor = 0x0627, .product = 0x0001, .manufacturer = "QEMU",                    \
        .product_name = (name_), .init = hid_init, .done = hid_done, .reset = hid_reset, \
        .describe = hid_describe, .control = hid_control, .data = hid_data,             \
        .cancel = hid_cancel                                                            \
    }

static const struct usb_class tablet_usb = HID_USB("QEMU USB Tablet");
static const struct usb_class mouse_usb = HID_USB("QEMU USB Mouse");
static const struct usb_class keyboard_usb = HID_USB("QEMU USB Keyboard");

#define HID_CLASS(name_, desc_, usb_)                                                \
    {                                                                                \
        .name = (name_), .desc = (desc_), .size = sizeof(struct hid), .usb = (usb_), \
        .fields = hid_fields, .pre_save = hid_pre_save, .post_load = hid_post_load,  \
        USB_DEVICE_CALLBACKS                                                         \
    }

const struct device_class usb_tablet_class =
    HID_CLASS("usb-tablet", "USB pointer with absolute positions", &tablet_usb);
const struct device_class usb_mouse_class = HID_CLASS("usb-mouse", "USB mouse", &mouse_usb);
const struct device_class usb_kbd_class = HID_CLASS("usb-kbd", "USB keyboard", &keyboard_usb);
