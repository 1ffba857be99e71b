/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xhci_command.c - the command ring (xHCI 1.1, 4.6): slots, addresses, endpoints. */
#include "vmm/dev/usb/xhci.h"

#include "base/bytes.h"

enum {
    MAX_PER_RUN = 64,
    CTX_WORDS = 8,
    CTX_BYTES = 32,
    BLOCK_ADDRESS = 1 << 9, /* no SET_ADDRESS yet */
    DECONFIGURE = 1 << 9,

    SLOT_DEFAULT = 1,
    SLOT_ADDRESSED = 2,
    SLOT_CONFIGURED = 3,
};

static uint64_t input_ctx(uint64_t input, unsigned index)
{
    return input + CTX_BYTES * (index + 1u);
}

static void disable_ep(struct xhci *x, unsigned slot, unsigned dci)
{
    struct xhci_ep *ep = &x->slots[slot].eps[dci];

    if (ep->state != EP_DISABLED) {
        xhci_cancel(x, slot, dci, false);
        xhci_set_ep_state(x, slot, dci, EP_DISABLED);
    }
    *ep = (struct xhci_ep) { .state = EP_DISABLED };
}

/* Takes over an endpoint context, whose output copy lies at the slot's. */
static void enable_ep(struct xhci *x, unsigned slot, unsigned dci, uint32_t *ctx)
{
    struct xhci_ep *ep = &x->slots[slot].eps[dci];

    disable_ep(x, slot, dci);
    *ep = (struct xhci_ep) {
        .ring = { .at = ((uint64_t)ctx[3] << 32 | ctx[2]) & ~0xfull, .cycle = ctx[2] & 1 },
        .ctx = x->slots[slot].ctx + CTX_BYTES * dci,
        .state = EP_RUNNING,
        .type = ctx[1] >> 3 & 7,
    };
    ctx[0] = (ctx[0] & ~7u) | EP_RUNNING;
    xhci_write(x, ep->ctx, ctx, CTX_WORDS);
}

void xhci_disable_slot(struct xhci *x, unsigned slot)
{
    for (unsigned dci = 1; dci < XHCI_MAX_EPS; dci++) {
        disable_ep(x, slot, dci);
    }
    x->slots[slot] = (struct xhci_slot) { .enabled = 0 };
    x->bells[slot] = 0;
}

static unsigned address_device(struct xhci *x, unsigned slot, const struct trb *t)
{
    struct xhci_slot *s = &x->slots[slot];
    uint64_t input = t->param & ~0xfull;
    uint32_t flags[2];
    uint32_t slot_ctx[CTX_WORDS];
    uint32_t ep0[CTX_WORDS];
    uint32_t out[2];
    bool block = (t->control & BLOCK_ADDRESS) != 0;
    struct usb_dev *ud;

    if (!xhci_read(x, input, flags, 2) || !xhci_read(x, input_ctx(input, 0), slot_ctx, CTX_WORDS) ||
        !xhci_read(x, input_ctx(input, 1), ep0, CTX_WORDS) ||
        !xhci_read(x, x->dcbaap + 8u * slot, out, 2) || flags[0] != 0 || flags[1] != 3) {
        return CC_TRB;
    }
    s->ctx = ((uint64_t)out[1] << 32 | out[0]) & ~0x3full;
    s->port = slot_ctx[1] >> 16 & 0xff;
    s->intr = slot_ctx[2] >> 22;
    ud = xhci_device(x, slot);
    if ((slot_ctx[0] & 0xfffff) != 0) {
        return CC_TRB; /* there are no hubs */
    }
    if (ud == NULL) {
        return CC_TRANSACTION;
    }
    for (unsigned i = 1; i <= x->opt_slots; i++) {
        if (i != slot && x->slots[i].enabled && x->slots[i].addressed &&
            x->slots[i].port == s->port) {
            return CC_TRB;
        }
    }
    if (!block) {
        ud->address = (uint8_t)slot;
    }
    s->addressed = 1;
    slot_ctx[3] = (uint32_t)(block ? SLOT_DEFAULT : SLOT_ADDRESSED) << 27 | (block ? 0 : slot);
    xhci_write(x, s->ctx, slot_ctx, CTX_WORDS);
    enable_ep(x, slot, 1, ep0);
    return CC_SUCCESS;
}

static void set_slot_state(struct xhci *x, unsigned slot, uint32_t state, uint32_t entries)
{
    uint32_t ctx[4];

    if (xhci_read(x, x->slots[slot].ctx, ctx, 4)) {
        ctx[0] = entries != 0 ? (ctx[0] & 0x07ffffff) | entries << 27 : ctx[0];
        ctx[3] = (ctx[3] & 0x07ffffff) | state << 27;
        xhci_write(x, x->slots[slot].ctx, ctx, 4);
    }
}

static unsigned configure(struct xhci *x, unsigned slot, const struct trb *t)
{
    uint64_t input = t->param & ~0xfull;
    uint32_t flags[2];
    uint32_t ctx[CTX_WORDS];
    uint32_t entries = 1;

    if (!x->slots[slot].addressed) {
        return CC_CONTEXT_STATE;
    }
    if ((t->control & DECONFIGURE) != 0) {
        for (unsigned dci = 2; dci < XHCI_MAX_EPS; dci++) {
            disable_ep(x, slot, dci);
        }
        set_slot_state(x, slot, SLOT_ADDRESSED, 1);
        return CC_SUCCESS;
    }
    if (!xhci_read(x, input, flags, 2) || (flags[0] & 3) != 0 || (flags[1] & 3) != 1 ||
        !xhci_read(x, input_ctx(input, 0), ctx, CTX_WORDS)) {
        return CC_TRB;
    }
    entries = ctx[0] >> 27;
    for (unsigned dci = 2; dci < XHCI_MAX_EPS; dci++) {
        if ((flags[0] >> dci & 1) != 0) {
            disable_ep(x, slot, dci);
        }
        if ((flags[1] >> dci & 1) != 0) {
            if (!xhci_read(x, input_ctx(input, dci), ctx, CTX_WORDS)) {
                return CC_TRB;
            }
            enable_ep(x, slot, dci, ctx);
        }
    }
    set_slot_state(x, slot, SLOT_CONFIGURED, entries);
    return CC_SUCCESS;
}

static unsigned evaluate(struct xhci *x, unsigned slot, const struct trb *t)
{
    uint64_t input = t->param & ~0xfull;
    uint32_t flags[2];
    uint32_t in[CTX_WORDS];
    uint32_t out[CTX_WORDS];

    if (!xhci_read(x, input, flags, 2) || flags[0] != 0 || (flags[1] & ~3u) != 0) {
        return CC_TRB;
    }
    if ((flags[1] & 1) != 0 && xhci_read(x, input_ctx(input, 0), in, CTX_WORDS) &&
        xhci_read(x, x->slots[slot].ctx, out, CTX_WORDS)) {
        out[1] = (out[1] & ~0xffffu) | (in[1] & 0xffff); /* exit latency */
        out[2] = (out[2] & 0x3fffff) | (in[2] & 0xffc00000);
        x->slots[slot].intr = in[2] >> 22;
        xhci_write(x, x->slots[slot].ctx, out, CTX_WORDS);
    }
    if ((flags[1] & 2) != 0 && xhci_read(x, input_ctx(input, 1), in, CTX_WORDS) &&
        xhci_read(x, x->slots[slot].ctx + CTX_BYTES, out, CTX_WORDS)) {
        out[1] = (out[1] & 0xffff) | (in[1] & 0xffff0000); /* packet size */
        xhci_write(x, x->slots[slot].ctx + CTX_BYTES, out, CTX_WORDS);
    }
    return CC_SUCCESS;
}

static unsigned endpoint_command(struct xhci *x, unsigned slot, const struct trb *t)
{
    unsigned dci = t->control >> 16 & 0x1f;
    struct xhci_ep *ep = &x->slots[slot].eps[dci];

    if (dci == 0 || ep->state == EP_DISABLED) {
        return dci == 0 ? CC_TRB : CC_EP_NOT_ENABLED;
    }
    switch (trb_type(t)) {
    case TRB_STOP_EP:
        if (ep->state != EP_RUNNING) {
            return CC_CONTEXT_STATE;
        }
        xhci_cancel(x, slot, dci, true);
        xhci_set_ep_state(x, slot, dci, EP_STOPPED);
        return CC_SUCCESS;
    case TRB_RESET_EP:
        if (ep->state != EP_HALTED) {
            return CC_CONTEXT_STATE;
        }
        xhci_cancel(x, slot, dci, false);
        xhci_set_ep_state(x, slot, dci, EP_STOPPED);
        return CC_SUCCESS;
    default: /* set dequeue pointer */
        if (ep->state != EP_STOPPED && ep->state != EP_ERROR) {
            return CC_CONTEXT_STATE;
        }
        ep->ring = (struct xhci_ring) { .at = t->param & ~0xfull, .cycle = t->param & 1 };
        xhci_set_ep_state(x, slot, dci, EP_STOPPED);
        return CC_SUCCESS;
    }
}

static unsigned reset_device(struct xhci *x, unsigned slot)
{
    struct usb_dev *ud = xhci_device(x, slot);

    for (unsigned dci = 2; dci < XHCI_MAX_EPS; dci++) {
        disable_ep(x, slot, dci);
    }
    if (ud != NULL) {
        ud->address = 0;
    }
    set_slot_state(x, slot, SLOT_DEFAULT, 1);
    return CC_SUCCESS;
}

static unsigned run(struct xhci *x, const struct trb *t, unsigned *slot)
{
    unsigned type = trb_type(t);

    if (type == TRB_COMMAND_NOOP) {
        return CC_SUCCESS;
    }
    if (type == TRB_ENABLE_SLOT) {
        for (*slot = 1; *slot <= x->opt_slots; (*slot)++) {
            if (!x->slots[*slot].enabled) {
                x->slots[*slot] = (struct xhci_slot) { .enabled = 1 };
                return CC_SUCCESS;
            }
        }
        *slot = 0;
        return CC_NO_SLOTS;
    }
    *slot = t->control >> 24;
    if (*slot == 0 || *slot > x->opt_slots || !x->slots[*slot].enabled) {
        return type >= TRB_DISABLE_SLOT && type <= TRB_RESET_DEVICE ? CC_SLOT_NOT_ENABLED : CC_TRB;
    }
    switch (type) {
    case TRB_DISABLE_SLOT:
        xhci_disable_slot(x, *slot);
        return CC_SUCCESS;
    case TRB_ADDRESS_DEVICE:
        return address_device(x, *slot, t);
    case TRB_CONFIGURE_EP:
        return configure(x, *slot, t);
    case TRB_EVALUATE:
        return evaluate(x, *slot, t);
    case TRB_RESET_EP:
    case TRB_STOP_EP:
    case TRB_SET_DEQUEUE:
        return endpoint_command(x, *slot, t);
    case TRB_RESET_DEVICE:
        return reset_device(x, *slot);
    default:
        return CC_TRB;
    }
}

void xhci_run_commands(struct xhci *x)
{
    struct trb t;

    for (unsigned i = 0; i < MAX_PER_RUN && xhci_running(x); i++) {
        unsigned slot = 0;
        unsigned code;

        if (!xhci_peek(x, &x->commands, &t)) {
            return;
        }
        code = run(x, &t, &slot);
        x->commands.at += TRB_BYTES;
        xhci_event(x, 0, t.at, code << 24, TRB_EV_COMMAND << 10 | slot << 24);
    }
    if (xhci_running(x)) {
        xhci_ring_bell(x, 0, 0);
    }
}
