/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * console.c - virtio-serial-device, a controller with up to 8 ports, and the ports: virtconsole and
 * virtserialport (virtio 1.2, 5.3).
 *
 * Port 0 has queues 0 and 1, control messages 2 and 3, port N 2N+2 and 2N+3. A port that is a
 * console is named to the guest by a control message.
 */
#include "base/bytes.h"
#include "base/str.h"
#include "vmm/char/chardev.h"
#include "vmm/dev/virtio/virtio.h"

#include <errno.h>
#include <string.h>

#define F_SIZE      (1ull << 0)
#define F_MULTIPORT (1ull << 1)

enum {
    MAX_PORTS = 8,
    CONTROL_RX = 2,
    CONTROL_TX = 3,
    CONFIG_BYTES = 12,
    M_DEVICE_READY = 0,
    M_PORT_ADD = 1,
    M_PORT_READY = 3,
    M_CONSOLE_PORT = 4,
    M_RESIZE = 5,
    M_PORT_OPEN = 6,
    M_PORT_NAME = 7,
    CONTROL_BYTES = 8,
    NAME_MAX_BYTES = 64,
    PENDING_MAX = 64,
    CHUNK = 4096,
};

struct port;

struct serial_bus {
    struct virtio_dev vd;
    uint32_t max_ports;
    struct port *ports[MAX_PORTS]; /* borrowed: devices of their own */
    /* Control messages that wait for buffers. */
    struct {
        uint8_t bytes[CONTROL_BYTES + NAME_MAX_BYTES];
        size_t len;
    } pending[PENDING_MAX];
    unsigned n_pending;
};

struct port {
    struct device dev;
    char *chardev_id;
    char *name;
    uint32_t nr;
    bool is_console;
    struct serial_bus *bus;
    struct chardev *chr;
    struct chardev_frontend fe;
    bool guest_open;
    bool host_open;
};

static unsigned rx_queue(unsigned nr)
{
    return nr == 0 ? 0 : nr * 2 + 2;
}

static void flush_control(struct serial_bus *bus)
{
    struct vq *vq = &bus->vd.queues[CONTROL_RX];
    unsigned sent = 0;

    while (sent < bus->n_pending) {
        struct vq_elem *e = virtio_pop(&bus->vd, vq);

        if (e == NULL) {
            break;
        }
        vq_push(vq, e,
                (uint32_t)iov_write(e->in, e->n_in, 0, bus->pending[sent].bytes,
                                    bus->pending[sent].len));
        sent++;
    }
    if (sent > 0) {
        memmove(bus->pending, bus->pending + sent,
                (bus->n_pending - sent) * sizeof(bus->pending[0]));
        bus->n_pending -= sent;
        virtio_notify(&bus->vd, vq);
    }
}

static void send_control(struct serial_bus *bus, unsigned nr, unsigned event, unsigned value,
                         const char *text)
{
    uint8_t *p;
    size_t len = text != NULL ? strnlen(text, NAME_MAX_BYTES) : 0;

    if (!virtio_has(&bus->vd, F_MULTIPORT) || bus->n_pending == PENDING_MAX) {
        return;
    }
    p = bus->pending[bus->n_pending].bytes;
    le32_put(p, nr);
    le16_put(p + 4, (uint16_t)event);
    le16_put(p + 6, (uint16_t)value);
    if (len > 0) {
        memcpy(p + CONTROL_BYTES, text, len);
    }
    bus->pending[bus->n_pending++].len = CONTROL_BYTES + len;
    flush_control(bus);
}

static void add_ports(struct serial_bus *bus)
{
    for (unsigned i = 0; i < bus->max_ports; i++) {
        if (bus->ports[i] != NULL) {
            send_control(bus, i, M_PORT_ADD, 1, NULL);
        }
    }
}

static void control_message(struct serial_bus *bus, const uint8_t *m)
{
    unsigned nr = le32_get(m);
    struct port *port = nr < MAX_PORTS ? bus->ports[nr] : NULL;

    switch (le16_get(m + 4)) {
    case M_DEVICE_READY:
        add_ports(bus);
        break;
    case M_PORT_READY:
        if (port == NULL || le16_get(m + 6) == 0) {
            break;
        }
        if (port->is_console) {
            send_control(bus, nr, M_CONSOLE_PORT, 1, NULL);
        }
        if (port->name != NULL) {
            send_control(bus, nr, M_PORT_NAME, 1, port->name);
        }
        if (port->host_open || port->is_console) {
            send_control(bus, nr, M_PORT_OPEN, 1, NULL);
        }
        break;
    case M_PORT_OPEN:
        if (port != NULL) {
            port->guest_open = le16_get(m + 6) != 0;
            if (port->chr != NULL) {
                chardev_accept(port->chr);
            }
        }
        break;
    default:
        break;
    }
}

static void handle_control(struct serial_bus *bus)
{
    struct vq *vq = &bus->vd.queues[CONTROL_TX];
    struct vq_elem *e;

    while ((e = virtio_pop(&bus->vd, vq)) != NULL) {
        uint8_t m[CONTROL_BYTES];

        if (iov_read(e->out, e->n_out, 0, m, sizeof(m)) == sizeof(m)) {
            control_message(bus, m);
        }
        vq_push(vq, e, 0);
    }
    virtio_notify(&bus->vd, vq);
}

static void handle_output(struct serial_bus *bus, unsigned nr)
{
    struct vq *vq = &bus->vd.queues[rx_queue(nr) + 1];
    struct port *port = bus->ports[nr];
    struct vq_elem *e;

    while ((e = virtio_pop(&bus->vd, vq)) != NULL) {
        for (unsigned i = 0; i < e->n_out && port != NULL && port->chr != NULL; i++) {
            uint8_t copy[CHUNK];

            for (size_t at = 0; at < e->out[i].iov_len; at += CHUNK) {
                size_t n = e->out[i].iov_len - at < CHUNK ? e->out[i].iov_len - at : CHUNK;

                memcpy(copy, (const uint8_t *)e->out[i].iov_base + at, n);
                chardev_write(port->chr, copy, n);
            }
        }
        vq_push(vq, e, 0);
    }
    virtio_notify(&bus->vd, vq);
}

static void bus_handle(struct virtio_dev *vd, unsigned index)
{
    struct serial_bus *bus = (struct serial_bus *)vd;
    unsigned nr = index < 2 ? 0 : index / 2 - 1;

    if (index == CONTROL_RX) {
        flush_control(bus);
    } else if (index == CONTROL_TX) {
        handle_control(bus);
    } else if ((index & 1) != 0) {
        handle_output(bus, nr);
    } else if (bus->ports[nr] != NULL && bus->ports[nr]->chr != NULL) {
        chardev_accept(bus->ports[nr]->chr);
    }
}

/* The guest's last words on its ports. */
static void bus_drain(struct virtio_dev *vd)
{
    struct serial_bus *bus = (struct serial_bus *)vd;

    for (unsigned nr = 0; nr < bus->max_ports; nr++) {
        if (bus->ports[nr] != NULL) {
            virtio_serve(vd, rx_queue(nr) + 1);
        }
    }
}

static size_t port_can_receive(void *arg)
{
    struct port *port = arg;
    struct serial_bus *bus = port->bus;
    struct vq *vq = &bus->vd.queues[rx_queue(port->nr)];

    if (!virtio_ready(&bus->vd) ||
        (virtio_has(&bus->vd, F_MULTIPORT) && !port->guest_open && !port->is_console)) {
        return 0;
    }
    return vq_has_avail(vq) ? CHUNK : 0;
}

static void port_receive(void *arg, const uint8_t *buf, size_t len)
{
    struct port *port = arg;
    struct serial_bus *bus = port->bus;
    struct vq *vq = &bus->vd.queues[rx_queue(port->nr)];

    while (len > 0) {
        struct vq_elem *e = virtio_pop(&bus->vd, vq);
        size_t n;

        if (e == NULL) {
            break;
        }
        n = iov_write(e->in, e->n_in, 0, buf, len);
        vq_push(vq, e, (uint32_t)n);
        buf += n;
        len -= n;
    }
    virtio_notify(&bus->vd, vq);
}

static void port_event(void *arg, enum chardev_event event)
{
    struct port *port = arg;

    if (event != CHARDEV_BREAK) {
        port->host_open = event == CHARDEV_OPENED;
        if (!port->is_console && virtio_ready(&port->bus->vd)) {
            send_control(port->bus, port->nr, M_PORT_OPEN, port->host_open, NULL);
        }
    }
}

static void bus_get_config(struct virtio_dev *vd, uint8_t *c)
{
    le16_put(c, 80);
    le16_put(c + 2, 25);
    le32_put(c + 4, ((struct serial_bus *)vd)->max_ports);
}

static void bus_reset(struct virtio_dev *vd)
{
    struct serial_bus *bus = (struct serial_bus *)vd;

    bus->n_pending = 0;
    for (unsigned i = 0; i < MAX_PORTS; i++) {
        if (bus->ports[i] != NULL) {
            bus->ports[i]->guest_open = false;
        }
    }
}

static void bus_started(struct virtio_dev *vd)
{
    struct serial_bus *bus = (struct serial_bus *)vd;

    if (!virtio_has(vd, F_MULTIPORT) && bus->ports[0] != NULL) {
        bus->ports[0]->guest_open = true;
    }
}

static int bus_init(struct virtio_dev *vd, struct err **err)
{
    struct serial_bus *bus = (struct serial_bus *)vd;

    if (bus->max_ports == 0 || bus->max_ports > MAX_PORTS) {
        bus->max_ports = MAX_PORTS;
    }
    vd->device_features |= F_MULTIPORT;
    return virtio_set_queues(vd, (bus->max_ports + 1) * 2, err);
}

static const struct opt bus_opts[] = {
    VIRTIO_OPTS(struct serial_bus),
    OPT_U32(struct serial_bus, max_ports, "max_ports", "8", "ports, at most 8"),
    OPT_END,
};

static const struct virtio_class bus_virtio = {
    .id = VIRTIO_ID_CONSOLE,
    .queue_size = 128,
    .config_size = CONFIG_BYTES,
    .init = bus_init,
    .get_config = bus_get_config,
    .handle_queue = bus_handle,
    .drain = bus_drain,
    .started = bus_started,
    .reset = bus_reset,
};

const struct device_class virtio_serial_class = VIRTIO_DEVICE_CLASS(
    "virtio-serial-device", "consoles and serial ports", struct serial_bus, bus_opts, &bus_virtio);

const struct device_class virtio_serial_pci_class =
    VIRTIO_PCI_CLASS("virtio-serial-pci", "consoles and serial ports", struct serial_bus, bus_opts,
                     &bus_virtio, NULL);

/* ---- ports ---- */

static const struct opt port_opts[] = {
    OPT_STR(struct port, chardev_id, "chardev", NULL, "character device"),
    OPT_STR(struct port, name, "name", NULL, "name of the port for the guest"),
    OPT_U32(struct port, nr, "nr", "0", "number; 0: the next free one"),
    OPT_END,
};

static int port_realize(struct device *dev, struct err **err)
{
    struct port *port = (struct port *)dev;
    struct serial_bus *bus = NULL;
    unsigned nr = port->nr;
    int r;

    port->is_console = str_eq(dev->cls->name, "virtconsole");
    LIST_FOREACH (&dev->m->devices, it) {
        struct device *other = CONTAINER_OF(it, struct device, link);

        if (other->cls->virtio == &bus_virtio) { /* on either transport */
            bus = (struct serial_bus *)other;
        }
    }
    if (bus == NULL) {
        return err_set(err, ENODEV, "it needs a -device virtio-serial-device before it");
    }
    if (nr == 0) {
        nr = port->is_console ? 0 : 1; /* port 0 is kept for a console */
        while (nr < bus->max_ports && bus->ports[nr] != NULL) {
            nr++;
        }
    }
    if (nr >= bus->max_ports || bus->ports[nr] != NULL) {
        return err_set(err, EBUSY, "port %u is taken or beyond max_ports", nr);
    }
    port->bus = bus;
    port->nr = nr;
    if (port->chardev_id != NULL) {
        port->chr = chardev_find(dev->m, port->chardev_id);
        if (port->chr == NULL) {
            return err_set(err, ENOENT, "there is no chardev '%s'", port->chardev_id);
        }
        port->fe = (struct chardev_frontend) { .can_receive = port_can_receive,
                                               .receive = port_receive,
                                               .event = port_event,
                                               .arg = port };
        r = chardev_attach(port->chr, &port->fe, err);
        if (r < 0) {
            port->chr = NULL;
            return r;
        }
    }
    bus->ports[nr] = port;
    return 0;
}

static void port_destroy(struct device *dev)
{
    struct port *port = (struct port *)dev;

    if (port->chr != NULL) {
        chardev_detach(port->chr, &port->fe);
    }
    if (port->bus != NULL && port->bus->ports[port->nr] == port) {
        port->bus->ports[port->nr] = NULL;
    }
}

const struct device_class virtconsole_class = {
    .name = "virtconsole",
    .bus = "virtio-serial-bus",
    .desc = "console port of a virtio-serial controller",
    .opts = port_opts,
    .size = sizeof(struct port),
    .realize = port_realize,
    .destroy = port_destroy,
};

const struct device_class virtserialport_class = {
    .name = "virtserialport",
    .bus = "virtio-serial-bus",
    .desc = "port of a virtio-serial controller",
    .opts = port_opts,
    .size = sizeof(struct port),
    .realize = port_realize,
    .destroy = port_destroy,
};
