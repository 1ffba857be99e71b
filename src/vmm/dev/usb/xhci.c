/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xhci.c - qemu-xhci and nec-usb-xhci: registers, ports, interrupters and event rings (eXtensible
 * Host Controller Interface 1.1). USB 2 ports come first, then as many USB 3 ones as asked for, which
 * stay empty: no device of ours is that fast.
 *
 * Doorbells are answered on the loop, where the devices' back ends live.
 */
#include "vmm/dev/usb/xhci.h"

#include "base/bytes.h"
#include "vmm/mem/gmem.h"

#include <errno.h>
#include <string.h>

enum {
    BAR_BYTES = 0x4000,
    OPER = 0x40,
    PORTS = OPER + 0x400,
    PORT_BYTES = 16,
    RUNTIME = 0x1000,
    INTR_AT = RUNTIME + 0x20,
    INTR_BYTES = 32,
    DOORBELLS = 0x2000,
    MSIX_TABLE = 0x3000,
    MSIX_PBA = 0x3800,
    EXTENDED_CAPS = 0x20,

    CMD_RUN = 1 << 0,
    CMD_RESET = 1 << 1,
    CMD_INT_ENABLE = 1 << 2,
    STS_HALTED = 1 << 0,
    STS_EVENT = 1 << 3,
    STS_PORT_CHANGE = 1 << 4,
    CRCR_STOP = 1 << 1,
    CRCR_ABORT = 1 << 2,
    CRCR_RUNNING = 1 << 3,
    IMAN_PENDING = 1,
    IMAN_ENABLE = 2,
    ERDP_BUSY = 1 << 3,

    PORT_CONNECTED = 1 << 0,
    PORT_ENABLED = 1 << 1,
    PORT_RESET = 1 << 4,
    PORT_LINK_SHIFT = 5,
    PORT_LINK_MASK = 0xf << PORT_LINK_SHIFT,
    PORT_POWER = 1 << 9,
    PORT_SPEED_SHIFT = 10,
    PORT_LINK_WRITE = 1 << 16,
    PORT_CHANGES = 0xfe << 16,
    PORT_CONNECT_CHANGED = 1 << 17,
    PORT_ENABLE_CHANGED = 1 << 18,
    PORT_RESET_CHANGED = 1 << 21,
    PORT_LINK_CHANGED = 1 << 22,
    PORT_WAKES = 7 << 25,
    LINK_U0 = 0,
    LINK_U3 = 3,
    LINK_RX_DETECT = 5,
    LINK_POLLING = 7,
    LINK_RESUME = 15,

    MAX_LINKS = 8, /* one after the other */
    ERST_MIN = 16,
    ERST_MAX = 4096,
    MICROFRAME_USEC = 125,
};

static const struct opt xhci_opts[] = {
    OPT_U32(struct xhci, opt_p2, "p2", "4", "number of USB 2 ports, 1 to 15"),
    OPT_U32(struct xhci, opt_p3, "p3", "4", "number of USB 3 ports, 1 to 15"),
    OPT_U32(struct xhci, opt_intrs, "intrs", "16", "number of interrupters, 1 to 16"),
    OPT_U32(struct xhci, opt_slots, "slots", "64", "number of device slots, 1 to 64"),
    OPT_END,
};

/* ---- memory ---- */

bool xhci_read(struct xhci *x, uint64_t at, uint32_t *words, unsigned n)
{
    uint8_t raw[32];

    if (gmem_read(&x->pd.dev.m->mem, at, raw, n * 4) < 0) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        words[i] = le32_get(raw + i * 4);
    }
    return true;
}

void xhci_write(struct xhci *x, uint64_t at, const uint32_t *words, unsigned n)
{
    uint8_t raw[32];

    for (unsigned i = 0; i < n; i++) {
        le32_put(raw + i * 4, words[i]);
    }
    (void)!gmem_write(&x->pd.dev.m->mem, at, raw, n * 4);
}

bool xhci_peek(struct xhci *x, struct xhci_ring *ring, struct trb *ret)
{
    for (unsigned links = 0; links < MAX_LINKS; links++) {
        uint32_t w[4];

        if (!xhci_read(x, ring->at, w, 4) || (w[3] & TRB_CYCLE) != ring->cycle) {
            return false;
        }
        *ret = (struct trb) { ring->at, (uint64_t)w[1] << 32 | w[0], w[2], w[3] };
        if (trb_type(ret) != TRB_LINK) {
            return true;
        }
        ring->at = ret->param & ~0xfull;
        ring->cycle ^= (ret->control & TRB_TOGGLE) != 0;
    }
    return false;
}

/* ---- interrupters (4.17) and event rings (4.9.4) ---- */

static void update_intx(struct xhci *x)
{
    if (!pci_msix_enabled(&x->pd) && !pci_msi_enabled(&x->pd)) {
        pci_set_intx(&x->pd, (x->intrs[0].iman & 3) == 3 && (x->cmd & CMD_INT_ENABLE) != 0);
    }
}

static void raise(struct xhci *x, unsigned n)
{
    struct xhci_intr *in = &x->intrs[n];
    bool busy = (in->erdp & ERDP_BUSY) != 0;

    in->erdp |= ERDP_BUSY;
    in->iman |= IMAN_PENDING;
    x->sts |= STS_EVENT;
    if (!busy && (in->iman & IMAN_ENABLE) != 0 && (x->cmd & CMD_INT_ENABLE) != 0) {
        if (pci_msix_enabled(&x->pd)) {
            in->iman &= ~(uint32_t)IMAN_PENDING;
            pci_msix_send(&x->pd, n);
        } else if (pci_msi_enabled(&x->pd)) {
            in->iman &= ~(uint32_t)IMAN_PENDING;
            pci_msi_send(&x->pd, n);
        }
    }
    update_intx(x);
}

static void put_event(struct xhci *x, struct xhci_intr *in, uint64_t param, uint32_t status,
                      uint32_t control)
{
    const uint32_t w[] = { (uint32_t)param, (uint32_t)(param >> 32), status, control | in->cycle };

    xhci_write(x, in->ring + (uint64_t)in->enqueue * TRB_BYTES, w, 4);
    if (++in->enqueue == in->ring_size) {
        in->enqueue = 0;
        in->cycle ^= 1;
    }
}

void xhci_event(struct xhci *x, unsigned n, uint64_t param, uint32_t status, uint32_t control)
{
    struct xhci_intr *in = &x->intrs[n < x->opt_intrs ? n : 0];
    uint64_t dequeue = ((in->erdp & ~0xfull) - in->ring) / TRB_BYTES;
    uint32_t room;

    if (in->ring_size == 0) {
        return;
    }
    if (dequeue >= in->ring_size) {
        dequeue = in->enqueue;
    }
    /* One entry less than there are; the last but one says that what follows is lost. */
    room = ((uint32_t)dequeue + in->ring_size - in->enqueue - 1) % in->ring_size;
    if (room == 0 || (room == 1 && in->full != 0)) {
        return;
    }
    if (room == 1) {
        in->full = 1;
        put_event(x, in, 0, (uint32_t)CC_EVENT_RING_FULL << 24, TRB_EV_HOST << 10);
    } else {
        put_event(x, in, param, status, control);
    }
    raise(x, (unsigned)(in - x->intrs));
}

/* The driver has written where the segment table lies. */
static void start_event_ring(struct xhci *x, struct xhci_intr *in)
{
    uint32_t seg[4];

    in->ring_size = in->enqueue = in->full = 0;
    in->cycle = 1;
    if (in->erst_size != 1 || in->erst == 0 || !xhci_read(x, in->erst, seg, 4) ||
        seg[2] < ERST_MIN || seg[2] > ERST_MAX) {
        return;
    }
    in->ring = ((uint64_t)seg[1] << 32 | seg[0]) & ~0x3full;
    in->ring_size = seg[2];
}

/* ---- ports (4.19) ---- */

static void port_event(struct xhci *x, unsigned port, uint32_t change)
{
    if ((x->ports[port] & change) == change) {
        return;
    }
    x->ports[port] |= change;
    x->sts |= STS_PORT_CHANGE;
    if (xhci_running(x)) {
        xhci_event(x, 0, (uint64_t)(port + 1) << 24, (uint32_t)CC_SUCCESS << 24, TRB_EV_PORT << 10);
    }
}

static void port_set_link(struct xhci *x, unsigned port, unsigned link)
{
    x->ports[port] = (x->ports[port] & ~(uint32_t)PORT_LINK_MASK) | link << PORT_LINK_SHIFT;
}

static void port_update(struct xhci *x, unsigned port)
{
    const struct usb_dev *ud = port < x->bus->n_ports ? x->bus->devs[port] : NULL;
    static const uint8_t speeds[] = { [USB_LOW] = 2, [USB_FULL] = 1, [USB_HIGH] = 3 };

    x->ports[port] &= PORT_CHANGES | PORT_WAKES;
    x->ports[port] |= PORT_POWER;
    if (ud != NULL) {
        x->ports[port] |= PORT_CONNECTED | (uint32_t)speeds[ud->speed] << PORT_SPEED_SHIFT;
    }
    port_set_link(x, port, ud != NULL ? LINK_POLLING : LINK_RX_DETECT);
}

static void xhci_changed(void *arg, unsigned port)
{
    struct xhci *x = arg;

    for (unsigned slot = 1; slot <= x->opt_slots; slot++) {
        if (x->slots[slot].enabled && x->slots[slot].port == port + 1) {
            xhci_cancel(x, slot, 0, false);
        }
    }
    port_update(x, port);
    port_event(x, port, PORT_CONNECT_CHANGED);
}

static void xhci_wakeup(void *arg, struct usb_dev *ud, uint8_t ep)
{
    struct xhci *x = arg;

    if ((x->ports[ud->port] & PORT_LINK_MASK) == LINK_U3 << PORT_LINK_SHIFT) {
        port_set_link(x, ud->port, LINK_RESUME);
        port_event(x, ud->port, PORT_LINK_CHANGED);
        return;
    }
    for (unsigned slot = 1; slot <= x->opt_slots; slot++) {
        if (x->slots[slot].enabled && x->slots[slot].port == ud->port + 1) {
            xhci_ring_bell(x, slot, (ep & 0xfu) * 2 + (ep >> 7));
        }
    }
}

static void port_write(struct xhci *x, unsigned port, uint32_t v)
{
    struct usb_dev *ud = port < x->bus->n_ports ? x->bus->devs[port] : NULL;

    x->ports[port] &= ~(v & PORT_CHANGES);
    x->ports[port] = (x->ports[port] & ~(uint32_t)(PORT_WAKES | PORT_POWER)) |
                     (v & (PORT_WAKES | PORT_POWER));
    if ((v & PORT_RESET) != 0) {
        if (ud != NULL) {
            usb_port_reset(ud);
            port_set_link(x, port, LINK_U0);
            x->ports[port] |= PORT_ENABLED;
        }
        port_event(x, port, PORT_RESET_CHANGED);
        return;
    }
    if ((v & PORT_ENABLED) != 0) { /* writing 1 switches off */
        x->ports[port] &= ~(uint32_t)PORT_ENABLED;
    }
    if ((v & PORT_LINK_WRITE) != 0) {
        unsigned old = (x->ports[port] & PORT_LINK_MASK) >> PORT_LINK_SHIFT;
        unsigned new = (v & PORT_LINK_MASK) >> PORT_LINK_SHIFT;

        if (new == LINK_U0 && old != LINK_U0 && ud != NULL) {
            port_set_link(x, port, LINK_U0);
            port_event(x, port, PORT_LINK_CHANGED);
        } else if ((new == LINK_U3 && old < LINK_U3) || (new == LINK_RESUME && old == LINK_U3)) {
            port_set_link(x, port, new);
        }
    }
}

/* ---- doorbells ---- */

struct usb_dev *xhci_device(struct xhci *x, unsigned slot)
{
    uint32_t port = x->slots[slot].port;

    return port > 0 && port <= x->bus->n_ports ? x->bus->devs[port - 1] : NULL;
}

static void work(void *arg)
{
    struct xhci *x = arg;

    x->work_posted = false;
    if (x->bells[0] != 0) {
        x->bells[0] = 0;
        xhci_run_commands(x);
    }
    for (unsigned slot = 1; slot <= x->opt_slots; slot++) {
        uint32_t rung = x->bells[slot];

        x->bells[slot] = 0;
        for (unsigned dci = 1; rung >> dci != 0; dci++) {
            if ((rung >> dci & 1) != 0) {
                xhci_run_endpoint(x, slot, dci);
            }
            if (dci == XHCI_MAX_EPS - 1) {
                break;
            }
        }
    }
}

void xhci_ring_bell(struct xhci *x, unsigned slot, unsigned target)
{
    if (!xhci_running(x)) {
        return;
    }
    x->bells[slot] |= slot == 0 ? 1 : 1u << target;
    if (!x->work_posted && x->pd.dev.m->loop != NULL) {
        x->work_posted = loop_post(x->pd.dev.m->loop, work, x) == 0;
    }
}

/* What devices refused is asked for again. */
static void on_retry(void *arg)
{
    struct xhci *x = arg;

    for (unsigned slot = 1; slot <= x->opt_slots; slot++) {
        for (unsigned dci = 1; dci < XHCI_MAX_EPS && x->slots[slot].enabled; dci++) {
            if (x->slots[slot].eps[dci].state == EP_RUNNING && x->slots[slot].eps[dci].type != 7) {
                xhci_ring_bell(x, slot, dci);
            }
        }
    }
}

/* ---- registers ---- */

static void controller_reset(struct xhci *x)
{
    xhci_cancel(x, 0, 0, false);
    x->cmd = x->notify = x->config = 0;
    x->sts = STS_HALTED;
    x->crcr = x->dcbaap = 0;
    x->commands = (struct xhci_ring) { .at = 0 };
    memset(x->slots, 0, sizeof(x->slots));
    memset(x->intrs, 0, sizeof(x->intrs));
    memset(x->bells, 0, sizeof(x->bells));
    for (unsigned i = 0; i < XHCI_MAX_INTRS; i++) {
        x->intrs[i].cycle = 1;
    }
    for (unsigned i = 0; i < x->n_ports; i++) {
        x->ports[i] = 0;
        port_update(x, i);
        if ((x->ports[i] & PORT_CONNECTED) != 0) {
            x->ports[i] |= PORT_CONNECT_CHANGED;
        }
    }
    x->started_usec = loop_now_usec();
    pci_set_intx(&x->pd, false);
}

/* "USB " with its revision and ports (7.2). */
static uint32_t protocol_cap(const struct xhci *x, unsigned word)
{
    bool third = word >= 4;

    switch (word & 3) {
    case 0:
        return 2 | (third ? 0 : 4 << 8) | (third ? 3u : 2u) << 24;
    case 1:
        return 0x20425355;
    case 2:
        return third ? (x->opt_p2 + 1) | x->opt_p3 << 8 : 1 | x->opt_p2 << 8;
    default:
        return 0;
    }
}

static uint32_t cap_read(const struct xhci *x, unsigned off)
{
    switch (off) {
    case 0x00:
        return OPER | 0x0100u << 16;
    case 0x04:
        return x->opt_slots | x->opt_intrs << 8 | x->n_ports << 24;
    case 0x08:
        return 0x0000000f;
    case 0x10:
        return 1 | (EXTENDED_CAPS / 4) << 16; /* 64-bit addresses */
    case 0x14:
        return DOORBELLS;
    case 0x18:
        return RUNTIME;
    default:
        return off >= EXTENDED_CAPS ? protocol_cap(x, (off - EXTENDED_CAPS) / 4) : 0;
    }
}

static uint32_t oper_read(const struct xhci *x, unsigned off)
{
    switch (off) {
    case 0x00:
        return x->cmd;
    case 0x04:
        return x->sts;
    case 0x08:
        return 1; /* pages of 4 KiB */
    case 0x14:
        return x->notify;
    case 0x18:
        return xhci_running(x) && x->commands.at != 0 ? CRCR_RUNNING : 0;
    case 0x30:
        return (uint32_t)x->dcbaap;
    case 0x34:
        return (uint32_t)(x->dcbaap >> 32);
    case 0x38:
        return x->config;
    default:
        return 0;
    }
}

static uint32_t intr_read(const struct xhci_intr *in, unsigned off)
{
    switch (off) {
    case 0x00:
        return in->iman;
    case 0x04:
        return in->imod;
    case 0x08:
        return in->erst_size;
    case 0x10:
        return (uint32_t)in->erst;
    case 0x14:
        return (uint32_t)(in->erst >> 32);
    case 0x18:
        return (uint32_t)in->erdp;
    case 0x1c:
        return (uint32_t)(in->erdp >> 32);
    default:
        return 0;
    }
}

static uint64_t xhci_mmio_read(void *dev, uint64_t off, unsigned size)
{
    struct xhci *x = dev;
    unsigned at = (unsigned)off & ~3u;
    uint32_t v = 0;

    if (off >= MSIX_TABLE) {
        return pci_msix_read(&x->pd, off, size);
    }
    if (at < OPER) {
        v = cap_read(x, at);
    } else if (at >= PORTS && at < PORTS + x->n_ports * PORT_BYTES) {
        v = at % PORT_BYTES == 0 ? x->ports[(at - PORTS) / PORT_BYTES] : 0;
    } else if (at < RUNTIME) {
        v = oper_read(x, at - OPER);
    } else if (at == RUNTIME) {
        v = (uint32_t)((loop_now_usec() - x->started_usec) / MICROFRAME_USEC) & 0x3fff;
    } else if (at >= INTR_AT && at < INTR_AT + x->opt_intrs * INTR_BYTES) {
        v = intr_read(&x->intrs[(at - INTR_AT) / INTR_BYTES], (at - INTR_AT) % INTR_BYTES);
    }
    return v >> (off & 3) * 8;
}

static void oper_write(struct xhci *x, unsigned off, uint32_t v)
{
    switch (off) {
    case 0x00:
        if ((v & CMD_RESET) != 0) {
            controller_reset(x);
            return;
        }
        x->cmd = v & 0xc0f;
        x->sts = (v & CMD_RUN) != 0 ? x->sts & ~(uint32_t)STS_HALTED : x->sts | STS_HALTED;
        update_intx(x);
        break;
    case 0x04:
        x->sts &= ~(v & (STS_EVENT | STS_PORT_CHANGE | 1u << 2 | 1u << 10));
        break;
    case 0x14:
        x->notify = v & 0xffff;
        break;
    case 0x18:
        x->crcr = (x->crcr & ~0xffffffffull) | (v & 0xffffffcfu);
        break;
    case 0x1c:
        x->crcr = (x->crcr & 0xffffffff) | (uint64_t)v << 32;
        if ((x->crcr & (CRCR_STOP | CRCR_ABORT)) != 0 && xhci_running(x)) {
            xhci_event(x, 0, x->commands.at, 24u << 24, TRB_EV_COMMAND << 10); /* stopped */
        } else {
            x->commands =
                (struct xhci_ring) { .at = x->crcr & ~0x3full, .cycle = x->crcr & 1 };
        }
        break;
    case 0x30:
        x->dcbaap = (x->dcbaap & ~0xffffffffull) | (v & ~0x3fu);
        break;
    case 0x34:
        x->dcbaap = (x->dcbaap & 0xffffffff) | (uint64_t)v << 32;
        break;
    case 0x38:
        x->config = v & 0xff;
        break;
    default:
        break;
    }
}

static void intr_write(struct xhci *x, unsigned n, unsigned off, uint32_t v)
{
    struct xhci_intr *in = &x->intrs[n];

    switch (off) {
    case 0x00:
        in->iman = (in->iman & ~(v & IMAN_PENDING) & IMAN_PENDING) | (v & IMAN_ENABLE);
        update_intx(x);
        break;
    case 0x04:
        in->imod = v;
        break;
    case 0x08:
        in->erst_size = v & 0xffff;
        break;
    case 0x10:
        in->erst = (in->erst & ~0xffffffffull) | (v & ~0xfu);
        break;
    case 0x14:
        in->erst = (in->erst & 0xffffffff) | (uint64_t)v << 32;
        start_event_ring(x, in);
        break;
    case 0x18:
        in->erdp = (in->erdp & ~0xffffffffull) | (v & ~(uint32_t)ERDP_BUSY) |
                   (in->erdp & ERDP_BUSY & ~v);
        in->full = 0;
        if ((v & ERDP_BUSY) != 0 && in->ring_size != 0) {
            uint64_t dequeue = ((in->erdp & ~0xfull) - in->ring) / TRB_BYTES;

            if (dequeue < in->ring_size && dequeue != in->enqueue) {
                raise(x, n);
            }
        }
        break;
    case 0x1c:
        in->erdp = (in->erdp & 0xffffffff) | (uint64_t)v << 32;
        break;
    default:
        break;
    }
}

static void xhci_mmio_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct xhci *x = dev;
    unsigned at = (unsigned)off;
    uint32_t v = (uint32_t)value;

    if (off >= MSIX_TABLE) {
        pci_msix_write(&x->pd, off, value, size);
        return;
    }
    if (size != 4 || (at & 3) != 0) {
        return;
    }
    if (at >= PORTS && at < PORTS + x->n_ports * PORT_BYTES) {
        if (at % PORT_BYTES == 0) {
            port_write(x, (at - PORTS) / PORT_BYTES, v);
        }
    } else if (at >= OPER && at < RUNTIME) {
        oper_write(x, at - OPER, v);
    } else if (at >= INTR_AT && at < INTR_AT + x->opt_intrs * INTR_BYTES) {
        intr_write(x, (at - INTR_AT) / INTR_BYTES, (at - INTR_AT) % INTR_BYTES, v);
    } else if (at >= DOORBELLS && at <= DOORBELLS + x->opt_slots * 4) {
        unsigned slot = (at - DOORBELLS) / 4;

        if (slot == 0 || (v & 0xff) < XHCI_MAX_EPS) {
            xhci_ring_bell(x, slot, v & 0x1f);
        }
    }
}

static const struct io_ops xhci_io = { .read = xhci_mmio_read,
                                       .write = xhci_mmio_write,
                                       .max_size = 4 };

/* ---- the function ---- */

static int xhci_init(struct pci_dev *pd, struct err **err)
{
    struct xhci *x = (struct xhci *)pd;
    int r;

    list_init(&x->xfers);
    if (x->opt_p2 < 1 || x->opt_p2 > 15 || x->opt_p3 < 1 || x->opt_p3 > 15) {
        return err_set(err, EINVAL, "p2 and p3 must be 1 to 15");
    }
    if (x->opt_intrs < 1 || x->opt_intrs > XHCI_MAX_INTRS || x->opt_slots < 1 ||
        x->opt_slots > XHCI_MAX_SLOTS) {
        return err_set(err, EINVAL, "intrs must be 1 to %d and slots 1 to %d", XHCI_MAX_INTRS,
                       XHCI_MAX_SLOTS);
    }
    x->n_ports = x->opt_p2 + x->opt_p3;
    pd->config[0x60] = 0x30; /* USB 3.0 */
    pci_add_bar_io(pd, 0, PCI_BAR_MEM64, BAR_BYTES, &xhci_io, x, "xhci");
    r = pci_add_msix_at(pd, 0, x->opt_intrs, MSIX_TABLE, MSIX_PBA, err);
    if (r == 0 && pd->dev.m->loop != NULL) {
        r = loop_add_timer(pd->dev.m->loop, on_retry, x, &x->retry);
        if (r < 0) {
            return err_set(err, -r, "cannot make a timer");
        }
    }
    return r == 0 ? usb_bus_new(&pd->dev, x->opt_p2, USB_HIGH, xhci_changed, xhci_wakeup, &x->bus,
                                err)
                  : r;
}

static void xhci_done(struct pci_dev *pd)
{
    struct xhci *x = (struct xhci *)pd;

    if (x->xfers.next != NULL) {
        xhci_cancel(x, 0, 0, false);
    }
    x->retry = loop_source_free(x->retry);
    x->bus = usb_bus_free(x->bus);
}

static void xhci_reset(struct pci_dev *pd)
{
    struct xhci *x = (struct xhci *)pd;

    for (unsigned i = 0; i < x->bus->n_ports; i++) {
        if (x->bus->devs[i] != NULL) {
            usb_port_reset(x->bus->devs[i]);
        }
    }
    controller_reset(x);
}

static void ring_all(struct xhci *x)
{
    for (unsigned slot = 1; slot <= x->opt_slots; slot++) {
        for (unsigned dci = 1; dci < XHCI_MAX_EPS; dci++) {
            if (x->slots[slot].enabled && x->slots[slot].eps[dci].state == EP_RUNNING) {
                xhci_ring_bell(x, slot, dci);
            }
        }
    }
}

/* What is under way starts again: its TRBs are still on their rings. */
static void xhci_pre_save(struct device *dev)
{
    struct xhci *x = (struct xhci *)dev;

    xhci_cancel(x, 0, 0, false);
    ring_all(x);
}

static int xhci_post_load(struct device *dev, struct err **err)
{
    struct xhci *x = (struct xhci *)dev;

    for (unsigned i = 0; i < XHCI_MAX_INTRS; i++) {
        struct xhci_intr *in = &x->intrs[i];

        if (in->ring_size > ERST_MAX || (in->ring_size > 0 && in->enqueue >= in->ring_size) ||
            in->cycle > 1) {
            return err_set(err, EINVAL, "xhci: the saved state is broken");
        }
    }
    x->started_usec = loop_now_usec();
    ring_all(x);
    xhci_ring_bell(x, 0, 0);
    return 0;
}

static const struct state_field xhci_fields[] = {
    FIELD(struct xhci, cmd),      FIELD(struct xhci, sts),    FIELD(struct xhci, notify),
    FIELD(struct xhci, config),   FIELD(struct xhci, crcr),   FIELD(struct xhci, dcbaap),
    FIELD(struct xhci, commands), FIELD(struct xhci, ports),  FIELD(struct xhci, slots),
    FIELD(struct xhci, intrs),    FIELD_END,
};

static const struct pci_class qemu_pci = {
    .vendor = PCI_VENDOR_REDHAT,
    .device = 0x000d,
    .class_code = 0x0c0330,
    .revision = 1,
    .pin = 1,
    .express = true,
    .init = xhci_init,
    .done = xhci_done,
    .reset = xhci_reset,
};

static const struct pci_class nec_pci = {
    .vendor = 0x1033,
    .device = 0x0194,
    .class_code = 0x0c0330,
    .revision = 3,
    .pin = 1,
    .express = true,
    .init = xhci_init,
    .done = xhci_done,
    .reset = xhci_reset,
};

#define XHCI_CLASS(name_, pci_)                                                              \
    {                                                                                        \
        .name = (name_), .desc = "USB controller (xHCI)", .opts = xhci_opts,                 \
        .size = sizeof(struct xhci), .pci = (pci_), .fields = xhci_fields,                   \
        .pre_save = xhci_pre_save, .post_load = xhci_post_load, PCI_DEVICE_CALLBACKS         \
    }

const struct device_class qemu_xhci_class = XHCI_CLASS("qemu-xhci", &qemu_pci);
const struct device_class nec_xhci_class = XHCI_CLASS("nec-usb-xhci", &nec_pci);
