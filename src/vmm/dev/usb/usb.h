/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usb.h - USB devices and the buses of their host controllers (USB 2.0).
 *
 * A device's struct begins with struct usb_dev; its device_class names a struct usb_class and uses
 * USB_DEVICE_CALLBACKS. A controller gives packets to usb_handle(); the core does endpoint 0 and
 * the standard requests, the class the rest. A packet that a device cannot answer now is either
 * refused (USB_NAK: ask again) or kept (USB_ASYNC) until usb_complete().
 *
 * Main loop, or a vCPU's thread with the machine's lock held.
 */
#pragma once

#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"

#include <sys/uio.h>

enum usb_speed { USB_LOW, USB_FULL, USB_HIGH, USB_SUPER };
enum usb_pid { USB_SETUP = 0x2d, USB_IN = 0x69, USB_OUT = 0xe1 };
enum usb_status { USB_OK, USB_NAK, USB_STALL, USB_BABBLE, USB_NODEV, USB_ASYNC };

enum {
    USB_MAX_PORTS = 32,
    USB_CONTROL_MAX = 4096,
    USB_SETUP_BYTES = 8,

    /* bmRequestType and bRequest together (USB 2.0, 9.3). */
    USB_REQ_IN = 0x80,
    USB_GET_STATUS = 0,
    USB_CLEAR_FEATURE = 1,
    USB_SET_FEATURE = 3,
    USB_SET_ADDRESS = 5,
    USB_GET_DESCRIPTOR = 6,
    USB_GET_CONFIGURATION = 8,
    USB_SET_CONFIGURATION = 9,
    USB_GET_INTERFACE = 10,
    USB_SET_INTERFACE = 11,

    USB_DESC_DEVICE = 1,
    USB_DESC_CONFIG = 2,
    USB_DESC_STRING = 3,
    USB_DESC_QUALIFIER = 6,
};

struct usb_bus;
struct usb_dev;

struct usb_packet {
    enum usb_pid pid;
    uint8_t ep;
    const struct iovec *iov;
    unsigned n_iov;
    size_t len; /* of iov */
    /* Filled in. */
    enum usb_status status;
    size_t actual;
    /* Of a packet that was kept. */
    void (*done)(struct usb_packet *p);
    void *arg;
    struct usb_dev *kept_by; /* NULL: not kept */
};

struct usb_class {
    uint16_t vendor, product;
    /* Strings 1 to 3: manufacturer, product, serial number (which an option may replace). */
    const char *manufacturer, *product_name;
    uint8_t class_code;
    bool no_high; /* full speed only */
    int (*init)(struct usb_dev *ud, struct err **err);
    void (*done)(struct usb_dev *ud);
    void (*reset)(struct usb_dev *ud);
    /* The configuration's descriptors behind its own, written to buf; returns the length. */
    size_t (*describe)(struct usb_dev *ud, uint8_t *buf);
    /* Requests of the class, and descriptors of interfaces: the bytes of the data stage, or -1 to
     * stall. data has room for (or holds) length bytes. */
    int (*control)(struct usb_dev *ud, unsigned request, unsigned value, unsigned index,
                   uint8_t *data, size_t length);
    enum usb_status (*data)(struct usb_dev *ud, struct usb_packet *p);
    /* A kept packet is wanted back. */
    void (*cancel)(struct usb_dev *ud, struct usb_packet *p);
};

struct usb_dev {
    struct device dev;
    char *opt_bus, *opt_port, *opt_serial;
    struct usb_bus *bus; /* NULL: not placed */
    unsigned port;       /* from 0 */
    enum usb_speed speed;
    uint8_t address, configuration;
    bool remote_wakeup;
    uint32_t halted; /* endpoints: bit n of OUT, 16 + n of IN */
    /* Endpoint 0. */
    uint8_t setup[USB_SETUP_BYTES];
    uint32_t stage; /* enum control_stage */
    uint32_t control_len, control_at;
    uint8_t control[USB_CONTROL_MAX];
};

struct usb_bus {
    struct list link; /* machine's usb_buses */
    char *name;       /* owned: "usb.0" or ID.0 */
    struct machine *m;
    unsigned n_ports;
    unsigned n_usable;    /* the ports that devices may take: the first ones */
    enum usb_speed speed; /* the fastest */
    struct usb_dev *devs[USB_MAX_PORTS];
    /* A device came or went; it has something to say on an endpoint (0x80: IN). */
    void (*changed)(void *arg, unsigned port);
    void (*wakeup)(void *arg, struct usb_dev *ud, uint8_t ep);
    void *arg;
};

int usb_bus_new(struct device *controller, unsigned ports, enum usb_speed speed,
                void (*changed)(void *arg, unsigned port),
                void (*wakeup)(void *arg, struct usb_dev *ud, uint8_t ep), struct usb_bus **ret,
                struct err **err) MUST_CHECK;
/* Devices on it lose their bus. */
struct usb_bus *usb_bus_free(struct usb_bus *bus);
struct usb_dev *usb_by_address(struct usb_bus *bus, unsigned address);
/* Does any port have a device? */
bool usb_bus_busy(const struct usb_bus *bus);

/* For controllers. */
void usb_handle(struct usb_dev *ud, struct usb_packet *p);
void usb_port_reset(struct usb_dev *ud);
/* The packet, which was kept, is the controller's again; done is not called. */
void usb_cancel(struct usb_packet *p);

/* For devices. */
void usb_complete(struct usb_packet *p, enum usb_status status);
static inline enum usb_status usb_keep(struct usb_dev *ud, struct usb_packet *p)
{
    p->kept_by = ud;
    return USB_ASYNC;
}
void usb_wakeup(struct usb_dev *ud, uint8_t ep);
/* Bytes of the packet from where it is; counts them. */
size_t usb_put(struct usb_packet *p, const void *buf, size_t len);
size_t usb_get(struct usb_packet *p, void *buf, size_t len);

extern const struct opt usb_opts[];
int usb_realize(struct device *dev, struct err **err);
void usb_reset(struct device *dev);
void usb_destroy(struct device *dev);
#define USB_DEVICE_CALLBACKS                                                                     \
    .bus = "usb-bus", .realize = usb_realize, .reset = usb_reset, .destroy = usb_destroy,        \
    .bus_opts = usb_opts, .hotplug_free = true
#define USB_FIELDS(T)                                                                            \
    FIELD(T, ud.address), FIELD(T, ud.configuration), FIELD(T, ud.remote_wakeup),                \
        FIELD(T, ud.halted), FIELD(T, ud.setup), FIELD(T, ud.stage), FIELD(T, ud.control_len),   \
        FIELD(T, ud.control_at), FIELD(T, ud.control)
/* For the post_load of devices. */
int usb_check_loaded(const struct usb_dev *ud, struct err **err) MUST_CHECK;
