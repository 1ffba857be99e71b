/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xhci_transfer.c - transfer rings (xHCI 1.1, 4.9 to 4.11): a transfer descriptor, which is a chain
 * of TRBs, becomes one packet; the ring moves on when it is over.
 */
#include "vmm/dev/usb/xhci.h"

#include "base/bytes.h"
#include "vmm/mem/gmem.h"

enum {
    MAX_TRBS = 1024, /* of one descriptor */
    MAX_LENGTH = 16 << 20,
    MAX_PER_RUN = 256,
    RETRY_USEC = 1000,
    LENGTH_MASK = 0x1ffff,
    EVENT_DATA = 4, /* in an event: its pointer is a number of the driver's */
    EP_CONTROL = 4,
    CONTROL_IN = 0x80,
};

struct xhci_xfer {
    struct list link;
    struct xhci *x;
    struct usb_packet p;
    unsigned slot, dci;
    struct xhci_ring after; /* where the ring goes on */
    unsigned n_trbs;
    bool refused; /* asked again later */
    struct iovec *iov;      /* owned */
    uint8_t setup[USB_SETUP_BYTES];
    struct trb trbs[];
};

void xhci_set_ep_state(struct xhci *x, unsigned slot, unsigned dci, uint32_t state)
{
    struct xhci_ep *ep = &x->slots[slot].eps[dci];
    uint32_t ctx[4];

    ep->state = state;
    if (!xhci_read(x, ep->ctx, ctx, 4)) {
        return;
    }
    ctx[0] = (ctx[0] & ~7u) | state;
    if (state == EP_STOPPED || state == EP_HALTED || state == EP_ERROR) {
        ctx[2] = (uint32_t)ep->ring.at | ep->ring.cycle;
        ctx[3] = (uint32_t)(ep->ring.at >> 32);
    }
    xhci_write(x, ep->ctx, ctx, 4);
}

static struct xhci_xfer *xfer_free(struct xhci_xfer *t)
{
    if (t != NULL) {
        if (t->link.next != NULL) {
            list_remove(&t->link);
        }
        free(t->iov);
        free(t);
    }
    return NULL;
}

static struct xhci_xfer *xfer_find(struct xhci *x, unsigned slot, unsigned dci)
{
    LIST_FOREACH (&x->xfers, it) {
        struct xhci_xfer *t = CONTAINER_OF(it, struct xhci_xfer, link);

        if (t->slot == slot && t->dci == dci) {
            return t;
        }
    }
    return NULL;
}

/* ---- reading a descriptor ---- */

/* NULL: it is not complete, or there is no memory. */
static struct xhci_xfer *fetch(struct xhci *x, unsigned slot, unsigned dci)
{
    struct xhci_ring ring = x->slots[slot].eps[dci].ring;
    struct trb one;
    unsigned n = 0;
    struct xhci_xfer *t;

    do {
        if (n == MAX_TRBS || !xhci_peek(x, &ring, &one)) {
            return NULL;
        }
        ring.at += TRB_BYTES;
        n++;
    } while ((one.control & TRB_CHAIN) != 0);
    t = calloc(1, sizeof(*t) + n * sizeof(t->trbs[0]));
    if (t == NULL || (t->iov = calloc(n, sizeof(*t->iov))) == NULL) {
        return xfer_free(t);
    }
    ring = x->slots[slot].eps[dci].ring;
    for (unsigned i = 0; i < n; i++) {
        if (!xhci_peek(x, &ring, &t->trbs[i])) {
            return xfer_free(t);
        }
        ring.at += TRB_BYTES;
    }
    t->x = x;
    t->slot = slot;
    t->dci = dci;
    t->after = ring;
    t->n_trbs = n;
    return t;
}

/* Buffers and direction; a completion code. */
static unsigned prepare(struct xhci_xfer *t)
{
    struct xhci_ep *ep = &t->x->slots[t->slot].eps[t->dci];
    const struct gmem *mem = &t->x->pd.dev.m->mem;
    bool in = (t->dci & 1) != 0;
    bool setup = false;
    size_t len = 0;
    unsigned n = 0;

    if (ep->type == EP_CONTROL) {
        in = (t->trbs[0].control & TRB_DIR_IN) != 0;
    }
    for (unsigned i = 0; i < t->n_trbs; i++) {
        struct trb *r = &t->trbs[i];
        uint32_t part = r->status & LENGTH_MASK;

        switch (trb_type(r)) {
        case TRB_SETUP:
            if (i != 0 || ep->type != EP_CONTROL) {
                return CC_TRB;
            }
            setup = true;
            le64_put(t->setup, r->param);
            t->iov[n++] =
                (struct iovec) { .iov_base = t->setup, .iov_len = USB_SETUP_BYTES };
            len = USB_SETUP_BYTES;
            continue;
        case TRB_NORMAL:
        case TRB_DATA:
            break;
        case TRB_STATUS:
        case TRB_EVENT_DATA:
        case TRB_NOOP:
            continue;
        default:
            return CC_TRB;
        }
        if (part == 0) {
            continue;
        }
        if ((r->control & TRB_IMMEDIATE) != 0) {
            if (part > 8 || in) {
                return CC_TRB;
            }
            t->iov[n++] = (struct iovec) { .iov_base = &r->param, .iov_len = part };
        } else {
            void *host = gmem_map(mem, r->param, part, in);

            if (host == NULL) {
                return CC_DATA_BUFFER;
            }
            t->iov[n++] = (struct iovec) { .iov_base = host, .iov_len = part };
        }
        len += part;
        if (len > MAX_LENGTH) {
            return CC_TRB;
        }
    }
    t->p.pid = setup ? USB_SETUP : in ? USB_IN : USB_OUT;
    t->p.ep = (uint8_t)(t->dci / 2);
    t->p.iov = t->iov;
    t->p.n_iov = n;
    t->p.len = len;
    return CC_SUCCESS;
}

/* ---- its end ---- */

static unsigned code_of(enum usb_status status)
{
    switch (status) {
    case USB_OK:
        return CC_SUCCESS;
    case USB_STALL:
        return CC_STALL;
    case USB_BABBLE:
        return CC_BABBLE;
    default:
        return CC_TRANSACTION;
    }
}

/* The events that its TRBs ask for (4.11.3). */
static void tell(struct xhci_xfer *t, unsigned code)
{
    size_t left = t->p.pid == USB_SETUP ? 0 : t->p.actual;
    uint32_t event_data = 0;
    bool is_short = false;

    for (unsigned i = 0; i < t->n_trbs; i++) {
        const struct trb *r = &t->trbs[i];
        uint32_t part = r->status & LENGTH_MASK;
        uint32_t moved = 0;
        unsigned type = trb_type(r);
        uint64_t param = r->at;
        uint32_t flags = 0;
        uint32_t rest;

        if (type == TRB_NORMAL || type == TRB_DATA) {
            moved = (uint32_t)min_u64(part, left);
            left -= moved;
            event_data += moved;
            is_short |= moved < part && code == CC_SUCCESS;
        } else {
            moved = type == TRB_SETUP ? part : 0;
        }
        rest = part - moved;
        if ((r->control & TRB_IRQ) == 0 && !(is_short && (r->control & TRB_SHORT_IRQ) != 0) &&
            !(code != CC_SUCCESS && left == 0 && type != TRB_EVENT_DATA)) {
            continue;
        }
        if (type == TRB_EVENT_DATA) {
            param = r->param;
            flags = EVENT_DATA;
            rest = event_data & 0xffffff;
            event_data = 0;
        }
        xhci_event(t->x, r->status >> 22, param,
                   rest | (code != CC_SUCCESS ? code
                           : is_short         ? (unsigned)CC_SHORT
                                              : (unsigned)CC_SUCCESS)
                              << 24,
                   flags | TRB_EV_TRANSFER << 10 | t->dci << 16 | t->slot << 24);
        if (code != CC_SUCCESS) {
            return; /* one event for a failure */
        }
        if (is_short && type != TRB_EVENT_DATA) {
            /* An Event Data TRB that follows is told too, nothing else. */
            while (i + 1 < t->n_trbs && trb_type(&t->trbs[i + 1]) != TRB_EVENT_DATA) {
                i++;
            }
        }
    }
}

static void finish(struct xhci_xfer *t, unsigned code)
{
    struct xhci *x = t->x;
    unsigned slot = t->slot;
    unsigned dci = t->dci;
    struct xhci_ep *ep = &x->slots[slot].eps[dci];

    if (code == CC_SUCCESS) {
        ep->ring = t->after;
        tell(t, code);
    } else {
        /* The driver moves the ring after it has seen the failure (4.10.2.1). */
        xhci_set_ep_state(x, slot, dci, code == CC_TRB ? EP_ERROR : EP_HALTED);
        tell(t, code);
    }
    (void)xfer_free(t);
}

static void kept_done(struct usb_packet *p)
{
    struct xhci_xfer *t = CONTAINER_OF(p, struct xhci_xfer, p);
    struct xhci *x = t->x;
    unsigned slot = t->slot;
    unsigned dci = t->dci;

    finish(t, code_of(p->status));
    xhci_ring_bell(x, slot, dci);
}

/* ---- running ---- */

/* false: the ring has to wait. */
static bool run_one(struct xhci_xfer *t, struct usb_dev *ud)
{
    struct xhci *x = t->x;

    t->refused = false;
    usb_handle(ud, &t->p);
    switch (t->p.status) {
    case USB_ASYNC:
        return false;
    case USB_NAK:
        t->refused = true;
        if (x->slots[t->slot].eps[t->dci].type != 7 && x->retry != NULL) {
            /* Interrupt endpoints wake us up; others are asked again. */
            (void)loop_timer_arm(x->retry, loop_now_usec() + RETRY_USEC);
        }
        return false;
    default:
        finish(t, code_of(t->p.status));
        return true;
    }
}

void xhci_run_endpoint(struct xhci *x, unsigned slot, unsigned dci)
{
    struct xhci_ep *ep = &x->slots[slot].eps[dci];

    if (!x->slots[slot].enabled || ep->state == EP_DISABLED || !xhci_running(x)) {
        return;
    }
    if (ep->state == EP_STOPPED) {
        xhci_set_ep_state(x, slot, dci, EP_RUNNING);
    }
    for (unsigned i = 0; i < MAX_PER_RUN && ep->state == EP_RUNNING; i++) {
        struct xhci_xfer *t = xfer_find(x, slot, dci);
        struct usb_dev *ud = xhci_device(x, slot);
        unsigned code;

        if (t != NULL && !t->refused) {
            return; /* one at a time */
        }
        if (t == NULL) {
            t = fetch(x, slot, dci);
            if (t == NULL) {
                return;
            }
            list_append(&x->xfers, &t->link);
            t->p.done = kept_done;
            code = prepare(t);
            if (code != CC_SUCCESS) {
                finish(t, code);
                return;
            }
            if (trb_type(&t->trbs[0]) == TRB_NOOP ||
                (ep->type != EP_CONTROL && t->p.len == 0 &&
                 trb_type(&t->trbs[0]) == TRB_EVENT_DATA)) {
                finish(t, CC_SUCCESS);
                continue;
            }
        }
        if (ud == NULL) {
            finish(t, CC_TRANSACTION);
            return;
        }
        if (!run_one(t, ud)) {
            return;
        }
    }
    if (ep->state == EP_RUNNING) {
        xhci_ring_bell(x, slot, dci); /* the rest after others had their turn */
    }
}

void xhci_cancel(struct xhci *x, unsigned slot, unsigned dci, bool tell_driver)
{
    LIST_FOREACH_SAFE (&x->xfers, it) {
        struct xhci_xfer *t = CONTAINER_OF(it, struct xhci_xfer, link);

        if ((slot != 0 && t->slot != slot) || (dci != 0 && t->dci != dci)) {
            continue;
        }
        usb_cancel(&t->p);
        if (tell_driver) {
            xhci_event(x, t->trbs[0].status >> 22, t->trbs[0].at,
                       (t->trbs[0].status & LENGTH_MASK) | (uint32_t)CC_STOPPED << 24,
                       TRB_EV_TRANSFER << 10 | t->dci << 16 | t->slot << 24);
        }
        (void)xfer_free(t);
    }
}
