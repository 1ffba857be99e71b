/* SPDX-License-Identifier: GPL-2.0-or-later */
/* usb.c - what all USB devices share: places on buses, endpoint 0, standard requests (USB 2.0, 9). */
#include "vmm/dev/usb/usb.h"

#include "base/bytes.h"
#include "base/str.h"
#include "vmm/mem/gmem.h"

#include <errno.h>
#include <string.h>

enum control_stage { STAGE_IDLE, STAGE_IN, STAGE_OUT, STAGE_STATUS_IN };

enum { STRING_MANUFACTURER = 1, STRING_PRODUCT = 2, STRING_SERIAL = 3, FEATURE_HALT = 0,
       FEATURE_WAKEUP = 1 };

const struct opt usb_opts[] = {
    OPT_STR(struct usb_dev, opt_bus, "bus", NULL, "USB bus, as usb.0"),
    OPT_STR(struct usb_dev, opt_port, "port", NULL, "port of the bus, from 1"),
    OPT_STR(struct usb_dev, opt_serial, "serial", NULL, "serial number"),
    OPT_END,
};

/* ---- packets ---- */

size_t usb_put(struct usb_packet *p, const void *buf, size_t len)
{
    size_t n = iov_write(p->iov, p->n_iov, p->actual, buf, min_u64(len, p->len - p->actual));

    p->actual += n;
    return n;
}

size_t usb_get(struct usb_packet *p, void *buf, size_t len)
{
    size_t n = iov_read(p->iov, p->n_iov, p->actual, buf, min_u64(len, p->len - p->actual));

    p->actual += n;
    return n;
}

void usb_complete(struct usb_packet *p, enum usb_status status)
{
    p->kept_by = NULL;
    p->status = status;
    p->done(p);
}

void usb_cancel(struct usb_packet *p)
{
    struct usb_dev *ud = p->kept_by;

    if (ud != NULL) {
        p->kept_by = NULL;
        ud->dev.cls->usb->cancel(ud, p);
    }
}

void usb_wakeup(struct usb_dev *ud, uint8_t ep)
{
    if (ud->bus != NULL && ud->bus->wakeup != NULL) {
        ud->bus->wakeup(ud->bus->arg, ud, ep);
    }
}

/* ---- standard requests ---- */

static uint32_t halt_bit(unsigned ep)
{
    return 1u << ((ep & 0xf) + ((ep & 0x80) != 0 ? 16 : 0));
}

static int put_string(uint8_t *d, const char *s)
{
    size_t n = strnlen(s, 126);

    d[0] = (uint8_t)(2 + n * 2);
    d[1] = USB_DESC_STRING;
    for (size_t i = 0; i < n; i++) {
        d[2 + i * 2] = (uint8_t)s[i];
        d[3 + i * 2] = 0;
    }
    return d[0];
}

static int device_descriptor(const struct usb_dev *ud, uint8_t *d)
{
    const struct usb_class *cls = ud->dev.cls->usb;

    d[0] = 18;
    d[1] = USB_DESC_DEVICE;
    le16_put(d + 2, cls->no_high ? 0x0110 : 0x0200);
    d[4] = cls->class_code;
    d[5] = d[6] = 0;
    d[7] = ud->speed >= USB_HIGH ? 64 : 8;
    le16_put(d + 8, cls->vendor);
    le16_put(d + 10, cls->product);
    le16_put(d + 12, 0);
    d[14] = STRING_MANUFACTURER;
    d[15] = STRING_PRODUCT;
    d[16] = STRING_SERIAL;
    d[17] = 1;
    return 18;
}

static int config_descriptor(struct usb_dev *ud, uint8_t *d)
{
    size_t n = 9 + ud->dev.cls->usb->describe(ud, d + 9);

    d[0] = 9;
    d[1] = USB_DESC_CONFIG;
    le16_put(d + 2, (uint16_t)n);
    d[4] = 1; /* interfaces */
    d[5] = 1; /* its number */
    d[6] = 0;
    d[7] = 0xa0; /* bus powered, wakes the host */
    d[8] = 50;   /* 100 mA */
    return (int)n;
}

static int get_descriptor(struct usb_dev *ud, unsigned value, uint8_t *d)
{
    const struct usb_class *cls = ud->dev.cls->usb;

    switch (value >> 8) {
    case USB_DESC_DEVICE:
        return device_descriptor(ud, d);
    case USB_DESC_CONFIG:
        return (value & 0xff) == 0 ? config_descriptor(ud, d) : -1;
    case USB_DESC_QUALIFIER:
        if (cls->no_high) {
            return -1;
        }
        (void)device_descriptor(ud, d);
        d[0] = 10;
        d[1] = USB_DESC_QUALIFIER;
        d[7] = ud->speed >= USB_HIGH ? 8 : 64;
        d[8] = 1;
        d[9] = 0;
        return 10;
    case USB_DESC_STRING:
        switch (value & 0xff) {
        case 0: /* languages: US English */
            d[0] = 4;
            d[1] = USB_DESC_STRING;
            le16_put(d + 2, 0x0409);
            return 4;
        case STRING_MANUFACTURER:
            return put_string(d, cls->manufacturer);
        case STRING_PRODUCT:
            return put_string(d, cls->product_name);
        case STRING_SERIAL:
            return put_string(d, ud->opt_serial != NULL ? ud->opt_serial : "42");
        default:
            return -1;
        }
    default:
        return -1;
    }
}

/* The bytes of the data stage, or -1. */
static int control(struct usb_dev *ud, uint8_t *data, size_t length)
{
    const uint8_t *s = ud->setup;
    unsigned type = s[0];
    unsigned request = s[1];
    unsigned value = le16_get(s + 2);
    unsigned index = le16_get(s + 4);

    switch (type << 8 | request) {
    case 0x8000 | USB_GET_DESCRIPTOR:
        return get_descriptor(ud, value, data);
    case 0x8000 | USB_GET_CONFIGURATION:
        data[0] = ud->configuration;
        return 1;
    case USB_SET_CONFIGURATION:
        if (value > 1) {
            return -1;
        }
        ud->configuration = (uint8_t)value;
        ud->halted = 0;
        return 0;
    case USB_SET_ADDRESS:
        return 0; /* takes effect after the status stage */
    case 0x8000 | USB_GET_STATUS:
        le16_put(data, ud->remote_wakeup ? 2 : 0);
        return 2;
    case 0x8100 | USB_GET_STATUS:
        le16_put(data, 0);
        return 2;
    case 0x8200 | USB_GET_STATUS:
        le16_put(data, (ud->halted & halt_bit(index)) != 0);
        return 2;
    case USB_CLEAR_FEATURE:
    case USB_SET_FEATURE:
        if (value == FEATURE_WAKEUP) {
            ud->remote_wakeup = request == USB_SET_FEATURE;
            return 0;
        }
        return -1;
    case 0x0200 | USB_CLEAR_FEATURE:
    case 0x0200 | USB_SET_FEATURE:
        if (value != FEATURE_HALT) {
            return -1;
        }
        ud->halted = request == USB_SET_FEATURE ? ud->halted | halt_bit(index)
                                                : ud->halted & ~halt_bit(index);
        return 0;
    case 0x8100 | USB_GET_INTERFACE:
        data[0] = 0;
        return 1;
    case 0x0100 | USB_SET_INTERFACE:
        return value == 0 ? 0 : -1;
    default:
        return ud->dev.cls->usb->control(ud, type << 8 | request, value, index, data, length);
    }
}

/* ---- endpoint 0 (USB 2.0, 8.5.3) ---- */

static enum usb_status do_setup(struct usb_dev *ud, struct usb_packet *p)
{
    int n;

    if (usb_get(p, ud->setup, USB_SETUP_BYTES) != USB_SETUP_BYTES) {
        ud->stage = STAGE_IDLE;
        return USB_STALL;
    }
    ud->control_at = 0;
    ud->control_len = le16_get(ud->setup + 6);
    if ((ud->setup[0] & USB_REQ_IN) != 0) {
        memset(ud->control, 0, sizeof(ud->control));
        n = control(ud, ud->control, min_u64(ud->control_len, USB_CONTROL_MAX));
        if (n < 0) { /* SETUP is always taken: the stages that follow stall */
            ud->stage = STAGE_IDLE;
            return USB_OK;
        }
        ud->control_len = (uint32_t)min_u64((uint64_t)n, ud->control_len);
        ud->stage = STAGE_IN;
    } else if (ud->control_len > USB_CONTROL_MAX) {
        ud->stage = STAGE_IDLE;
    } else {
        ud->stage = ud->control_len > 0 ? STAGE_OUT : STAGE_STATUS_IN;
    }
    return USB_OK;
}

static enum usb_status do_status_in(struct usb_dev *ud)
{
    ud->stage = STAGE_IDLE;
    if (control(ud, ud->control, ud->control_len) < 0) {
        return USB_STALL;
    }
    if (ud->setup[0] == 0 && ud->setup[1] == USB_SET_ADDRESS) {
        ud->address = ud->setup[2] & 0x7f;
    }
    return USB_OK;
}

static enum usb_status do_control(struct usb_dev *ud, struct usb_packet *p)
{
    size_t n;

    if (p->pid == USB_SETUP) {
        return do_setup(ud, p);
    }
    switch (ud->stage) {
    case STAGE_IN:
        if (p->pid == USB_IN) {
            n = usb_put(p, ud->control + ud->control_at, ud->control_len - ud->control_at);
            ud->control_at += (uint32_t)n;
            return USB_OK;
        }
        ud->stage = STAGE_IDLE; /* an OUT ends it, early too */
        return USB_OK;
    case STAGE_OUT:
        if (p->pid == USB_OUT) {
            n = usb_get(p, ud->control + ud->control_at, ud->control_len - ud->control_at);
            ud->control_at += (uint32_t)n;
            if (ud->control_at >= ud->control_len) {
                ud->stage = STAGE_STATUS_IN;
            }
            return USB_OK;
        }
        return do_status_in(ud);
    case STAGE_STATUS_IN:
        return p->pid == USB_IN ? do_status_in(ud) : USB_STALL;
    default:
        return USB_STALL;
    }
}

void usb_handle(struct usb_dev *ud, struct usb_packet *p)
{
    p->actual = 0;
    p->kept_by = NULL;
    if (p->ep == 0) {
        p->status = do_control(ud, p);
    } else if ((ud->halted & halt_bit(p->ep | (p->pid == USB_IN ? 0x80u : 0))) != 0) {
        p->status = USB_STALL;
    } else if (p->pid == USB_SETUP) {
        p->status = USB_STALL;
    } else {
        p->status = ud->dev.cls->usb->data(ud, p);
        if (p->status == USB_STALL) {
            ud->halted |= halt_bit(p->ep | (p->pid == USB_IN ? 0x80u : 0));
        }
    }
}

void usb_port_reset(struct usb_dev *ud)
{
    ud->address = 0;
    ud->configuration = 0;
    ud->remote_wakeup = false;
    ud->halted = 0;
    ud->stage = STAGE_IDLE;
    if (ud->dev.cls->usb->reset != NULL) {
        ud->dev.cls->usb->reset(ud);
    }
}

/* ---- buses and places ---- */

int usb_bus_new(struct device *controller, unsigned ports, enum usb_speed speed,
                void (*changed)(void *arg, unsigned port),
                void (*wakeup)(void *arg, struct usb_dev *ud, uint8_t ep), struct usb_bus **ret,
                struct err **err)
{
    struct machine *m = controller->m;
    CLEANUP(free_memp) struct usb_bus *bus = calloc(1, sizeof(*bus));
    unsigned number = 0;

    LIST_FOREACH (&m->usb_buses, it) {
        (void)it;
        number++;
    }
    if (bus == NULL ||
        (bus->name = controller->id != NULL ? str_format("%s.0", controller->id)
                                            : str_format("usb-bus.%u", number)) == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    bus->m = m;
    bus->n_ports = bus->n_usable = ports;
    bus->speed = speed;
    bus->changed = changed;
    bus->wakeup = wakeup;
    bus->arg = controller;
    list_append(&m->usb_buses, &bus->link);
    *ret = TAKE_PTR(bus);
    return 0;
}

struct usb_bus *usb_bus_free(struct usb_bus *bus)
{
    if (bus != NULL) {
        for (unsigned i = 0; i < bus->n_ports; i++) {
            if (bus->devs[i] != NULL) {
                bus->devs[i]->bus = NULL;
            }
        }
        list_remove(&bus->link);
        free(bus->name);
        free(bus);
    }
    return NULL;
}

struct usb_dev *usb_by_address(struct usb_bus *bus, unsigned address)
{
    for (unsigned i = 0; i < bus->n_ports; i++) {
        if (bus->devs[i] != NULL && bus->devs[i]->address == address) {
            return bus->devs[i];
        }
    }
    return NULL;
}

bool usb_bus_busy(const struct usb_bus *bus)
{
    for (unsigned i = 0; i < bus->n_ports; i++) {
        if (bus->devs[i] != NULL) {
            return true;
        }
    }
    return false;
}

static struct usb_bus *find_bus(struct machine *m, const char *name)
{
    struct usb_bus *free_one = NULL;

    LIST_FOREACH (&m->usb_buses, it) {
        struct usb_bus *bus = CONTAINER_OF(it, struct usb_bus, link);

        if (name != NULL && str_eq(bus->name, name)) {
            return bus;
        }
        if (name == NULL && free_one == NULL) {
            for (unsigned i = 0; i < bus->n_usable; i++) {
                if (bus->devs[i] == NULL) {
                    free_one = bus;
                }
            }
        }
    }
    return free_one;
}

static int place(struct usb_dev *ud, struct err **err)
{
    struct usb_bus *bus = find_bus(ud->dev.m, ud->opt_bus);
    uint64_t port = 0;

    if (bus == NULL && ud->opt_bus != NULL) {
        return err_set(err, ENOENT, "there is no USB bus '%s'", ud->opt_bus);
    }
    if (bus == NULL) {
        return err_set(err, ENODEV,
                       "there is no USB bus with a free port: add a controller, as with '-usb' or "
                       "'-device qemu-xhci'");
    }
    if (ud->opt_port != NULL) {
        if (str_to_u64(ud->opt_port, 10, &port) < 0 || port < 1 || port > bus->n_usable) {
            return err_set(err, EINVAL, "port=%s: bus '%s' has ports 1 to %u", ud->opt_port,
                           bus->name, bus->n_usable);
        }
        port--;
        if (bus->devs[port] != NULL) {
            return err_set(err, EBUSY, "port %s of bus '%s' is taken by '%s'", ud->opt_port,
                           bus->name, bus->devs[port]->dev.cls->name);
        }
    } else {
        while (port < bus->n_usable && bus->devs[port] != NULL) {
            port++;
        }
        if (port == bus->n_usable) {
            return err_set(err, ENOSPC, "bus '%s' has no free port", bus->name);
        }
    }
    ud->bus = bus;
    ud->port = (unsigned)port;
    return 0;
}

int usb_realize(struct device *dev, struct err **err)
{
    struct usb_dev *ud = (struct usb_dev *)dev;
    const struct usb_class *cls = dev->cls->usb;
    int r = place(ud, err);

    if (r < 0) {
        return r;
    }
    ud->speed = cls->no_high || ud->bus->speed < USB_HIGH ? USB_FULL : USB_HIGH;
    r = cls->init(ud, err);
    if (r < 0) {
        ud->bus = NULL;
        return r;
    }
    ud->bus->devs[ud->port] = ud;
    ud->bus->changed(ud->bus->arg, ud->port);
    return 0;
}

void usb_reset(struct device *dev)
{
    usb_port_reset((struct usb_dev *)dev);
}

void usb_destroy(struct device *dev)
{
    struct usb_dev *ud = (struct usb_dev *)dev;
    struct usb_bus *bus = ud->bus;

    if (bus != NULL && bus->devs[ud->port] == ud) {
        bus->devs[ud->port] = NULL;
        bus->changed(bus->arg, ud->port); /* takes its kept packets back */
    }
    if (dev->cls->usb->done != NULL) {
        dev->cls->usb->done(ud);
    }
}

int usb_check_loaded(const struct usb_dev *ud, struct err **err)
{
    return ud->control_len > USB_CONTROL_MAX || ud->control_at > ud->control_len
               ? err_set(err, EINVAL, "%s: the saved state is broken", ud->dev.cls->name)
               : 0;
}
