/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xhci.h - what the parts of the xHCI controller share (eXtensible Host Controller Interface 1.1):
 * xhci.c has registers, ports and interrupters, xhci_command.c the command ring, xhci_transfer.c
 * the transfer rings.
 */
#pragma once

#include "vmm/bus/pci/pci.h"
#include "vmm/dev/usb/usb.h"

enum {
    XHCI_MAX_SLOTS = 64,
    XHCI_MAX_EPS = 32, /* by device context index; 0 is the slot */
    XHCI_MAX_INTRS = 16,
    XHCI_MAX_PORTS = 30,

    TRB_BYTES = 16,
    TRB_CYCLE = 1 << 0,
    TRB_TOGGLE = 1 << 1, /* of links */
    TRB_SHORT_IRQ = 1 << 2,
    TRB_CHAIN = 1 << 4,
    TRB_IRQ = 1 << 5,
    TRB_IMMEDIATE = 1 << 6,
    TRB_DIR_IN = 1 << 16,

    TRB_NORMAL = 1,
    TRB_SETUP = 2,
    TRB_DATA = 3,
    TRB_STATUS = 4,
    TRB_ISOCH = 5,
    TRB_LINK = 6,
    TRB_EVENT_DATA = 7,
    TRB_NOOP = 8,
    TRB_ENABLE_SLOT = 9,
    TRB_DISABLE_SLOT = 10,
    TRB_ADDRESS_DEVICE = 11,
    TRB_CONFIGURE_EP = 12,
    TRB_EVALUATE = 13,
    TRB_RESET_EP = 14,
    TRB_STOP_EP = 15,
    TRB_SET_DEQUEUE = 16,
    TRB_RESET_DEVICE = 17,
    TRB_COMMAND_NOOP = 23,
    TRB_EV_TRANSFER = 32,
    TRB_EV_COMMAND = 33,
    TRB_EV_PORT = 34,
    TRB_EV_HOST = 37,

    CC_SUCCESS = 1,
    CC_DATA_BUFFER = 2,
    CC_BABBLE = 3,
    CC_TRANSACTION = 4,
    CC_TRB = 5,
    CC_STALL = 6,
    CC_NO_SLOTS = 9,
    CC_SLOT_NOT_ENABLED = 11,
    CC_EP_NOT_ENABLED = 12,
    CC_SHORT = 13,
    CC_PARAMETER = 17,
    CC_CONTEXT_STATE = 19,
    CC_EVENT_RING_FULL = 21,
    CC_STOPPED = 26,

    EP_DISABLED = 0,
    EP_RUNNING = 1,
    EP_HALTED = 2,
    EP_STOPPED = 3,
    EP_ERROR = 4,
};

struct trb {
    uint64_t at; /* its own address */
    uint64_t param;
    uint32_t status, control;
};

static inline unsigned trb_type(const struct trb *t)
{
    return t->control >> 10 & 0x3f;
}

struct xhci_ring {
    uint64_t at;
    uint32_t cycle;
};

struct xhci_ep {
    struct xhci_ring ring;
    uint64_t ctx; /* its context's address */
    uint32_t state, type;
};

struct xhci_slot {
    uint32_t enabled, addressed;
    uint32_t port; /* from 1; 0: none */
    uint32_t intr;
    uint64_t ctx;
    struct xhci_ep eps[XHCI_MAX_EPS];
};

struct xhci_intr {
    uint32_t iman, imod, erst_size, full;
    uint64_t erst, erdp;
    uint64_t ring;
    uint32_t ring_size, enqueue, cycle;
};

struct xhci_xfer;

struct xhci {
    struct pci_dev pd;
    uint32_t opt_p2, opt_p3, opt_intrs, opt_slots;
    struct usb_bus *bus; /* owned */
    uint32_t cmd, sts, notify, config;
    uint64_t crcr, dcbaap;
    struct xhci_ring commands;
    uint32_t n_ports;
    uint32_t ports[XHCI_MAX_PORTS];
    struct xhci_slot slots[XHCI_MAX_SLOTS + 1]; /* by id; 0 is not used */
    struct xhci_intr intrs[XHCI_MAX_INTRS];
    uint32_t bells[XHCI_MAX_SLOTS + 1]; /* rung, to be looked at on the loop */
    bool work_posted;
    struct list xfers;         /* struct xhci_xfer.link: under way */
    struct loop_source *retry; /* for what devices refused for now */
    uint64_t started_usec;     /* of the microframe counter */
};

static inline bool xhci_running(const struct xhci *x)
{
    return (x->cmd & 1) != 0 && (x->sts & (1 << 12)) == 0;
}

/* xhci.c */
void xhci_event(struct xhci *x, unsigned intr, uint64_t param, uint32_t status, uint32_t control);
bool xhci_read(struct xhci *x, uint64_t at, uint32_t *words, unsigned n);
void xhci_write(struct xhci *x, uint64_t at, const uint32_t *words, unsigned n);
/* The TRB at the ring's place, past links; false: there is none yet. Does not move the ring. */
bool xhci_peek(struct xhci *x, struct xhci_ring *ring, struct trb *ret);
void xhci_ring_bell(struct xhci *x, unsigned slot, unsigned target);
struct usb_dev *xhci_device(struct xhci *x, unsigned slot);

/* xhci_command.c */
void xhci_run_commands(struct xhci *x);
void xhci_disable_slot(struct xhci *x, unsigned slot);

/* xhci_transfer.c */
void xhci_set_ep_state(struct xhci *x, unsigned slot, unsigned dci, uint32_t state);
void xhci_run_endpoint(struct xhci *x, unsigned slot, unsigned dci);
/* Takes back what is under way; it starts again when the ring runs again. dci 0: all of the slot,
 * slot 0: all. */
void xhci_cancel(struct xhci *x, unsigned slot, unsigned dci, bool tell);
