/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * uhci.c - USB 1.1 host controllers of PIIX3 and ICH9 (Universal HCI design guide 1.1): a list of
 * frames, one each millisecond, that link transfer descriptors and queues of them.
 *
 * Nothing tells us that the guest has queued something, so frames are walked by a timer; when they
 * have had nothing to do for a while, several at a time.
 */
#include "base/bytes.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/usb/usb.h"
#include "vmm/mem/gmem.h"

#include <errno.h>
#include <string.h>

enum {
    IO_BYTES = 32,
    N_PORTS = 2,

    CMD = 0x00,
    CMD_RUN = 1,
    CMD_HOST_RESET = 2,
    CMD_GLOBAL_RESET = 4,
    CMD_GLOBAL_RESUME = 16,
    STS = 0x02,
    STS_INT = 1,
    STS_ERROR = 2,
    STS_RESUME = 4,
    STS_PROCESS = 16,
    STS_HALTED = 32,
    INTR = 0x04,
    INTR_TIMEOUT = 1,
    INTR_RESUME = 2,
    INTR_COMPLETE = 4,
    INTR_SHORT = 8,
    FRAME = 0x06,
    FRAME_BASE = 0x08,
    SOF = 0x0c,
    PORT = 0x10,

    PORT_CONNECTED = 1,
    PORT_CONNECT_CHANGED = 2,
    PORT_ENABLED = 4,
    PORT_ENABLE_CHANGED = 8,
    PORT_RESUME = 0x40,
    PORT_ALWAYS = 0x80,
    PORT_RESET = 0x200,
    PORT_SUSPEND = 0x1000,

    LINK_END = 1,
    LINK_QUEUE = 2,
    LINK_DEPTH = 4,

    TD_BABBLE = 1 << 20,
    TD_STALLED = 1 << 22,
    TD_ACTIVE = 1 << 23,
    TD_COMPLETE_IRQ = 1 << 24,
    TD_SHORT = 1 << 29,
    TD_TIMEOUT = 1 << 18,
    TD_NAK = 1 << 19,
    TD_MAX_LEN = 1280,

    FRAME_USEC = 1000,
    FRAME_BUDGET = 8192, /* bytes */
    MAX_STEPS = 1024,    /* links of one frame */
    MAX_QUEUES = 128,
    IDLE_FRAMES = 64,
    MAX_BEHIND = 32,
    SLOW_FRAMES = 8,
};

struct td {
    uint32_t link, ctrl, token, buffer;
};

/* A transfer that its device keeps; the descriptor stays active. */
struct kept {
    struct list link;
    struct usb_packet p;
    struct iovec iov;
    uint32_t at, token;
    bool done, seen;
};

struct uhci {
    struct pci_dev pd;
    char *masterbus;
    uint32_t firstport;
    struct usb_bus *bus; /* owned */
    uint16_t cmd, sts, intr, frame;
    uint32_t base;
    uint8_t sof;
    uint8_t why; /* of STS_INT: 1 completion, 2 short packet */
    uint16_t ports[N_PORTS];
    struct list kepts;
    struct loop_source *timer;
    uint64_t last_usec; /* when the current frame began */
    uint32_t idle;      /* frames without work */
};

static const struct opt uhci_opts[] = {
    OPT_STR(struct uhci, masterbus, "masterbus", NULL, "the EHCI's bus that this one belongs to"),
    OPT_U32(struct uhci, firstport, "firstport", "0", "its first port there"),
    OPT_END,
};

static void update_irq(struct uhci *u)
{
    bool level = ((u->sts & STS_INT) != 0 && (((u->why & 1) != 0 && (u->intr & INTR_COMPLETE) != 0) ||
                                              ((u->why & 2) != 0 && (u->intr & INTR_SHORT) != 0))) ||
                 ((u->sts & STS_ERROR) != 0 && (u->intr & INTR_TIMEOUT) != 0) ||
                 ((u->sts & STS_RESUME) != 0 && (u->intr & INTR_RESUME) != 0) ||
                 (u->sts & (8 | STS_PROCESS)) != 0;

    pci_set_intx(&u->pd, level);
}

/* ---- transfers ---- */

static struct kept *kept_find(struct uhci *u, uint32_t at)
{
    LIST_FOREACH (&u->kepts, it) {
        struct kept *k = CONTAINER_OF(it, struct kept, link);

        if (k->at == at) {
            return k;
        }
    }
    return NULL;
}

static void kept_free(struct kept *k)
{
    if (!k->done) {
        usb_cancel(&k->p);
    }
    list_remove(&k->link);
    free(k);
}

static void kept_done(struct usb_packet *p)
{
    CONTAINER_OF(p, struct kept, p)->done = true;
}

static void drop_kept(struct uhci *u, bool unseen_only)
{
    LIST_FOREACH_SAFE (&u->kepts, it) {
        struct kept *k = CONTAINER_OF(it, struct kept, link);

        if (!unseen_only || !k->seen) {
            kept_free(k);
        } else {
            k->seen = false;
        }
    }
}

enum outcome { TD_DONE, TD_STOP_QUEUE, TD_LATER };

/* What a packet's end makes of its descriptor (design guide, 3.2.2). */
static enum outcome finish(struct uhci *u, struct td *td, const struct usb_packet *p,
                           uint32_t max, uint32_t *irq)
{
    td->ctrl &= ~0x7ffu;
    td->ctrl |= (uint32_t)(p->actual - 1) & 0x7ff;
    switch (p->status) {
    case USB_OK:
        td->ctrl &= ~(uint32_t)(TD_ACTIVE | TD_NAK);
        if ((td->ctrl & TD_COMPLETE_IRQ) != 0) {
            *irq |= 1;
        }
        if (p->pid == USB_IN && p->actual < max && (td->ctrl & TD_SHORT) != 0) {
            *irq |= 2;
            return TD_STOP_QUEUE;
        }
        return TD_DONE;
    case USB_NAK:
        td->ctrl |= TD_NAK;
        return TD_LATER;
    case USB_BABBLE:
        td->ctrl |= TD_BABBLE | TD_STALLED;
        break;
    case USB_NODEV:
        td->ctrl |= TD_TIMEOUT | TD_STALLED;
        break;
    default:
        td->ctrl |= TD_STALLED;
        break;
    }
    td->ctrl &= ~(uint32_t)TD_ACTIVE;
    u->sts |= STS_ERROR;
    if ((td->ctrl & TD_COMPLETE_IRQ) != 0) {
        *irq |= 1;
    }
    return TD_STOP_QUEUE;
}

static enum outcome do_td(struct uhci *u, uint32_t at, struct td *td, uint32_t *irq)
{
    uint32_t max = ((td->token >> 21) + 1) & 0x7ff;
    struct kept *k = kept_find(u, at);
    struct usb_packet p = { .pid = (enum usb_pid)(td->token & 0xff),
                            .ep = (uint8_t)(td->token >> 15 & 0xf) };
    struct iovec iov;
    struct usb_dev *ud;
    enum outcome out;

    if (k != NULL && k->token != td->token) { /* reused while it was under way */
        kept_free(k);
        k = NULL;
    }
    if (k != NULL) {
        k->seen = true;
        if (!k->done) {
            return TD_LATER;
        }
        out = finish(u, td, &k->p, max, irq);
        kept_free(k);
        return out;
    }
    ud = usb_by_address(u->bus, td->token >> 8 & 0x7f);
    if ((p.pid != USB_SETUP && p.pid != USB_IN && p.pid != USB_OUT) || max > TD_MAX_LEN) {
        u->sts |= STS_PROCESS;
        u->cmd &= (uint16_t)~CMD_RUN;
        return TD_LATER;
    }
    iov = (struct iovec) { .iov_base = max > 0 ? gmem_map(&u->pd.dev.m->mem, td->buffer, max,
                                                          p.pid == USB_IN)
                                               : NULL,
                           .iov_len = max };
    p.iov = &iov;
    p.n_iov = max > 0 ? 1 : 0;
    p.len = max;
    if (ud == NULL || (u->ports[ud->port] & PORT_ENABLED) == 0 ||
        (max > 0 && iov.iov_base == NULL)) {
        p.status = USB_NODEV;
        return finish(u, td, &p, max, irq);
    }
    usb_handle(ud, &p);
    if (p.status != USB_ASYNC) {
        return finish(u, td, &p, max, irq);
    }
    k = calloc(1, sizeof(*k));
    if (k == NULL) {
        usb_cancel(&p);
        p.status = USB_NAK;
        return finish(u, td, &p, max, irq);
    }
    usb_cancel(&p); /* it is kept at its final place */
    k->iov = iov;
    k->p = p;
    k->p.iov = &k->iov;
    k->p.done = kept_done;
    k->at = at;
    k->token = td->token;
    k->seen = true;
    list_append(&u->kepts, &k->link);
    usb_handle(ud, &k->p);
    if (k->p.status != USB_ASYNC) {
        out = finish(u, td, &k->p, max, irq);
        k->done = true;
        kept_free(k);
        return out;
    }
    return TD_LATER;
}

static bool read_words(struct uhci *u, uint32_t at, uint32_t *to, unsigned n)
{
    uint8_t raw[16];

    if (gmem_read(&u->pd.dev.m->mem, at, raw, n * 4) < 0) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        to[i] = le32_get(raw + i * 4);
    }
    return true;
}

static void write_word(struct uhci *u, uint32_t at, uint32_t v)
{
    uint8_t raw[4];

    le32_put(raw, v);
    (void)!gmem_write(&u->pd.dev.m->mem, at, raw, 4);
}

/* One frame (3.4). Queues may lead in a circle: it ends when a round has moved nothing. */
static bool walk_frame(struct uhci *u, uint32_t *irq)
{
    uint32_t queues[MAX_QUEUES];
    unsigned n_queues = 0;
    uint32_t budget = FRAME_BUDGET;
    uint32_t link;
    bool worked = false;
    bool since = false; /* something moved since the circle began */

    if (!read_words(u, u->base + (u->frame & 0x3ff) * 4u, &link, 1)) {
        return false;
    }
    for (unsigned step = 0; step < MAX_STEPS && (link & LINK_END) == 0 && budget > 0; step++) {
        uint32_t queue = 0;
        uint32_t head = 0;
        uint32_t qh[2];
        struct td td;
        uint32_t old;
        uint32_t at = link & ~0xfu;
        enum outcome out;

        if ((link & LINK_QUEUE) != 0) {
            for (unsigned i = 0; i < n_queues; i++) {
                if (queues[i] == at) {
                    if (!since) {
                        return worked;
                    }
                    since = false;
                    n_queues = 0;
                }
            }
            if (n_queues == MAX_QUEUES || !read_words(u, at, qh, 2)) {
                return worked;
            }
            queues[n_queues++] = at;
            if ((qh[1] & LINK_END) != 0) {
                link = qh[0];
                continue;
            }
            if ((qh[1] & LINK_QUEUE) != 0) {
                link = qh[1];
                continue;
            }
            queue = at;
            head = qh[0];
            link = qh[1];
            at = link & ~0xfu;
        }
        for (;;) {
            uint32_t words[4];

            if (!read_words(u, at, words, 4)) {
                return worked;
            }
            td = (struct td) { words[0], words[1], words[2], words[3] };
            if ((td.ctrl & TD_ACTIVE) == 0) {
                link = queue != 0 ? head : td.link;
                break;
            }
            old = td.ctrl;
            out = do_td(u, at, &td, irq);
            if (td.ctrl != old) {
                write_word(u, at + 4, td.ctrl);
            }
            if ((u->cmd & CMD_RUN) == 0) {
                return worked;
            }
            if (out != TD_LATER) {
                uint32_t moved = (td.ctrl + 1) & 0x7ff;

                worked = since = true;
                budget -= moved < budget ? moved : budget;
            }
            if (queue == 0) {
                link = td.link;
                break;
            }
            if (out != TD_DONE) {
                link = head;
                break;
            }
            write_word(u, queue + 4, td.link);
            if ((td.link & LINK_DEPTH) == 0 || (td.link & (LINK_END | LINK_QUEUE)) != 0 ||
                budget == 0 || ++step >= MAX_STEPS) {
                link = (td.link & LINK_DEPTH) != 0 && (td.link & LINK_END) == 0 ? td.link : head;
                break;
            }
            at = td.link & ~0xfu;
        }
    }
    return worked;
}

static void arm(struct uhci *u)
{
    if (u->timer != NULL && (u->cmd & CMD_RUN) != 0) {
        uint64_t frames = u->idle > IDLE_FRAMES ? SLOW_FRAMES : 1;

        (void)loop_timer_arm(u->timer, u->last_usec + frames * FRAME_USEC);
    }
}

static void run_frames(struct uhci *u, uint64_t now)
{
    uint64_t behind = now > u->last_usec ? (now - u->last_usec) / FRAME_USEC : 0;

    if (behind > MAX_BEHIND) { /* the machine stood still: those frames are lost */
        u->last_usec = now - MAX_BEHIND * FRAME_USEC;
        behind = MAX_BEHIND;
    }
    for (; behind > 0 && (u->cmd & CMD_RUN) != 0; behind--) {
        uint32_t irq = 0;

        u->idle = walk_frame(u, &irq) || !list_empty(&u->kepts) ? 0 : u->idle + 1;
        u->frame = (u->frame + 1) & 0x7ff;
        u->last_usec += FRAME_USEC;
        if (irq != 0) {
            u->why |= (uint8_t)irq;
            u->sts |= STS_INT;
        }
        if ((u->frame & 31) == 0) {
            drop_kept(u, true); /* the guest has taken these away */
        }
    }
    update_irq(u);
}

static void on_timer(void *arg)
{
    struct uhci *u = arg;

    if (u->pd.dev.m->state == RUN_RUNNING) {
        run_frames(u, loop_now_usec());
    } else {
        u->last_usec = loop_now_usec();
    }
    arm(u);
}

/* ---- ports ---- */

static void uhci_changed(void *arg, unsigned port)
{
    struct uhci *u = arg;

    if (u->bus->devs[port] != NULL) {
        u->ports[port] |= PORT_CONNECTED | PORT_CONNECT_CHANGED;
    } else {
        drop_kept(u, false);
        u->ports[port] &= (uint16_t) ~(PORT_CONNECTED | PORT_SUSPEND);
        u->ports[port] |= PORT_CONNECT_CHANGED;
        if ((u->ports[port] & PORT_ENABLED) != 0) {
            u->ports[port] &= (uint16_t)~PORT_ENABLED;
            u->ports[port] |= PORT_ENABLE_CHANGED;
        }
    }
    u->idle = 0;
    if ((u->cmd & CMD_RUN) == 0) {
        u->sts |= STS_RESUME;
        update_irq(u);
    }
}

static void uhci_wakeup(void *arg, struct usb_dev *ud, uint8_t ep)
{
    struct uhci *u = arg;

    (void)ep;
    if ((u->ports[ud->port] & PORT_SUSPEND) != 0 && (u->ports[ud->port] & PORT_RESUME) == 0) {
        u->ports[ud->port] |= PORT_RESUME;
        u->sts |= STS_RESUME;
        update_irq(u);
    }
}

static void port_write(struct uhci *u, unsigned n, uint16_t v)
{
    struct usb_dev *ud = u->bus->devs[n];
    uint16_t old = u->ports[n];
    uint16_t keep = PORT_CONNECTED | PORT_CONNECT_CHANGED | PORT_ENABLE_CHANGED;

    if ((v & PORT_RESET) != 0 && (old & PORT_RESET) == 0 && ud != NULL) {
        usb_port_reset(ud);
    }
    u->ports[n] = (old & keep & (uint16_t) ~(v & (PORT_CONNECT_CHANGED | PORT_ENABLE_CHANGED))) |
                  (v & (uint16_t)(PORT_ENABLED | PORT_RESUME | PORT_RESET | PORT_SUSPEND));
    if ((u->ports[n] & PORT_CONNECTED) == 0 || (v & PORT_RESET) != 0) {
        u->ports[n] &= (uint16_t)~PORT_ENABLED;
    }
}

/* ---- registers ---- */

static void host_reset(struct uhci *u)
{
    drop_kept(u, false);
    u->cmd = u->intr = u->frame = 0;
    u->sts = STS_HALTED;
    u->why = 0;
    u->base = 0;
    u->sof = 64;
    u->idle = 0;
    for (unsigned i = 0; i < N_PORTS; i++) {
        u->ports[i] = 0;
        if (u->bus != NULL && u->bus->devs[i] != NULL) {
            u->ports[i] = PORT_CONNECTED | PORT_CONNECT_CHANGED;
            usb_port_reset(u->bus->devs[i]);
        }
    }
    update_irq(u);
}

static uint64_t uhci_read(void *dev, uint64_t off, unsigned size)
{
    struct uhci *u = dev;

    (void)size;
    switch (off & ~1u) {
    case CMD:
        return u->cmd;
    case STS:
        return u->sts;
    case INTR:
        return u->intr;
    case FRAME:
        return u->frame;
    case FRAME_BASE:
        return u->base & 0xffff;
    case FRAME_BASE + 2:
        return u->base >> 16;
    case SOF:
        return u->sof;
    default:
        return off >= PORT && off < PORT + N_PORTS * 2 ? u->ports[(off - PORT) / 2] | PORT_ALWAYS
               : off < PORT                           ? 0
                                                      : 0xff7f;
    }
}

static void cmd_write(struct uhci *u, uint16_t v)
{
    if ((v & CMD_GLOBAL_RESET) != 0 || (v & CMD_HOST_RESET) != 0) {
        host_reset(u);
        u->cmd = v & CMD_GLOBAL_RESET;
        return;
    }
    if ((v & CMD_RUN) != 0 && (u->cmd & CMD_RUN) == 0) {
        u->sts &= (uint16_t)~STS_HALTED;
        u->last_usec = loop_now_usec();
    } else if ((v & CMD_RUN) == 0) {
        u->sts |= STS_HALTED;
    }
    u->cmd = v;
}

static void arm_later(void *arg)
{
    arm(arg);
}

static void uhci_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct uhci *u = dev;
    uint16_t v = (uint16_t)value;

    if (size == 4) {
        uhci_write(dev, off, value & 0xffff, 2);
        uhci_write(dev, off + 2, value >> 16, 2);
        return;
    }
    switch (off) {
    case CMD:
        cmd_write(u, v);
        if ((v & CMD_RUN) != 0 && u->timer != NULL) {
            (void)!loop_post(u->pd.dev.m->loop, arm_later, u);
        }
        break;
    case STS:
        u->sts &= (uint16_t) ~(v & (uint16_t)~STS_HALTED);
        if ((v & STS_INT) != 0) {
            u->why = 0;
        }
        break;
    case INTR:
        u->intr = v & 15;
        break;
    case FRAME:
        if ((u->sts & STS_HALTED) != 0) {
            u->frame = v & 0x7ff;
        }
        break;
    case FRAME_BASE:
        u->base = (u->base & 0xffff0000) | (v & 0xf000);
        break;
    case FRAME_BASE + 2:
        u->base = (u->base & 0xffff) | (uint32_t)v << 16;
        break;
    case SOF:
        u->sof = v & 0x7f;
        break;
    default:
        if (off >= PORT && off < PORT + N_PORTS * 2 && (off & 1) == 0 && size == 2) {
            port_write(u, (unsigned)(off - PORT) / 2, v);
        }
        break;
    }
    u->idle = 0;
    update_irq(u);
}

static const struct io_ops uhci_io = { .read = uhci_read, .write = uhci_write, .max_size = 4 };

static int uhci_init(struct pci_dev *pd, struct err **err)
{
    struct uhci *u = (struct uhci *)pd;
    int r = 0;

    list_init(&u->kepts);
    if (u->firstport != 0 && u->masterbus == NULL) {
        return err_set(err, EINVAL, "firstport= needs masterbus=");
    }
    pd->config[0x60] = 0x10; /* USB 1.0 */
    le16_put(pd->wmask + 0xc0, 0xffff);
    pci_add_bar_io(pd, 4, PCI_BAR_IO, IO_BYTES, &uhci_io, u, "uhci");
    if (pd->dev.m->loop != NULL) {
        r = loop_add_timer(pd->dev.m->loop, on_timer, u, &u->timer);
    }
    if (r < 0) {
        return err_set(err, -r, "cannot make a timer");
    }
    r = usb_bus_new(&pd->dev, N_PORTS, USB_FULL, uhci_changed, uhci_wakeup, &u->bus, err);
    if (r == 0 && u->masterbus != NULL) {
        /* A companion's ports are the EHCI's, which serves what can go fast: all we have. */
        u->bus->n_usable = 0;
    }
    return r;
}

static void uhci_done(struct pci_dev *pd)
{
    struct uhci *u = (struct uhci *)pd;

    u->timer = loop_source_free(u->timer);
    if (u->kepts.next != NULL) {
        drop_kept(u, false);
    }
    u->bus = usb_bus_free(u->bus);
}

static void uhci_reset(struct pci_dev *pd)
{
    host_reset((struct uhci *)pd);
}

/* Transfers that are kept begin again: their descriptors are active still. */
static void uhci_pre_save(struct device *dev)
{
    drop_kept((struct uhci *)dev, false);
}

static int uhci_post_load(struct device *dev, struct err **err)
{
    struct uhci *u = (struct uhci *)dev;

    (void)err;
    u->last_usec = loop_now_usec();
    u->idle = 0;
    arm(u);
    return 0;
}

static const struct state_field uhci_fields[] = {
    FIELD(struct uhci, cmd),   FIELD(struct uhci, sts),  FIELD(struct uhci, intr),
    FIELD(struct uhci, frame), FIELD(struct uhci, base), FIELD(struct uhci, sof),
    FIELD(struct uhci, why),   FIELD(struct uhci, ports), FIELD_END,
};

#define UHCI_PCI(device_, revision_, pin_)                                                      \
    {                                                                                           \
        .vendor = PCI_VENDOR_INTEL, .device = (device_), .class_code = 0x0c0300,                \
        .revision = (revision_), .pin = (pin_), .no_hotplug = true, .init = uhci_init,          \
        .done = uhci_done, .reset = uhci_reset                                                  \
    }
#define UHCI_CLASS(name_, pci_)                                                                 \
    {                                                                                           \
        .name = (name_), .desc = "USB 1.1 controller", .opts = uhci_opts,                       \
        .size = sizeof(struct uhci), .pci = (pci_), .fields = uhci_fields,                      \
        .pre_save = uhci_pre_save, .post_load = uhci_post_load, PCI_DEVICE_CALLBACKS            \
    }

static const struct pci_class piix3_pci = UHCI_PCI(0x7020, 1, 4);
static const struct pci_class piix4_pci = UHCI_PCI(0x7112, 1, 4);
static const struct pci_class ich9_1_pci = UHCI_PCI(0x2934, 3, 1);
static const struct pci_class ich9_2_pci = UHCI_PCI(0x2935, 3, 2);
static const struct pci_class ich9_3_pci = UHCI_PCI(0x2936, 3, 3);

const struct device_class piix3_uhci_class = UHCI_CLASS("piix3-usb-uhci", &piix3_pci);
const struct device_class piix4_uhci_class = UHCI_CLASS("piix4-usb-uhci", &piix4_pci);
const struct device_class ich9_uhci1_class = UHCI_CLASS("ich9-usb-uhci1", &ich9_1_pci);
const struct device_class ich9_uhci2_class = UHCI_CLASS("ich9-usb-uhci2", &ich9_2_pci);
const struct device_class ich9_uhci3_class = UHCI_CLASS("ich9-usb-uhci3", &ich9_3_pci);
