/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vq.c - layouts:
 *     split  descriptor table: 16 bytes each: addr, len, flags, next (virtio 1.2, 2.7.5)
 *            driver area: flags, idx, ring[size], used_event (2.7.6)
 *            device area: flags, idx, ring[size] of id and len, avail_event (2.7.8)
 *     packed descriptor ring: 16 bytes each: addr, len, id, flags (2.8.13)
 *            driver and device areas: event suppression: offset and wrap, flags (2.8.14)
 *
 * Order: the driver writes descriptors, then idx (or flags); we read idx with acquire, then the
 * descriptors. We write used elements, then idx (or flags) with release. Between writing our index
 * and reading the driver's wish for interrupts a full barrier stands, else both sides could sleep.
 */
#include "vmm/dev/virtio/vq.h"

#include "base/bytes.h"
#include "vmm/mem/gmem.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    D_NEXT = 1,
    D_WRITE = 2,
    D_INDIRECT = 4,
    D_AVAIL = 1 << 7,
    D_USED = 1 << 15,
    AVAIL_NO_INTERRUPT = 1,
    USED_NO_NOTIFY = 1,
    EVENT_ENABLE = 0,
    EVENT_DISABLE = 1,
    EVENT_DESC = 2,
    DESC_BYTES = 16,
};

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next; /* packed: id */
};

static uint16_t load16(const uint8_t *p)
{
    return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE);
}

static void store16(uint8_t *p, uint16_t v)
{
    __atomic_store_n((uint16_t *)(void *)p, v, __ATOMIC_RELEASE);
}

void vq_init(struct vq *vq, const struct gmem *mem, uint16_t max_size)
{
    assert(max_size <= VQ_MAX_SIZE);
    *vq = (struct vq) { .mem = mem, .max_size = max_size, .size = max_size };
}

void vq_reset(struct vq *vq)
{
    uint32_t epoch = vq->epoch + 1;

    vq_init(vq, vq->mem, vq->max_size);
    vq->epoch = epoch;
}

void vq_start(struct vq *vq, bool packed, bool event_idx, bool indirect)
{
    uint64_t n = vq->size;

    vq->packed = packed;
    vq->event_idx = event_idx;
    vq->indirect = indirect;
    vq->avail_wrap = vq->used_wrap = true;
    vq->next_avail = vq->next_used = 0;
    vq->signalled_valid = false;
    vq->in_use = 0;
    /* (2.7: a power of two; 2.8.10.1: any size for packed) */
    if (n == 0 || n > vq->max_size || (!packed && (n & (n - 1)) != 0) || (vq->desc_gpa & 15) != 0 ||
        (vq->driver_gpa & (packed ? 3 : 1)) != 0 || (vq->device_gpa & 3) != 0) {
        vq->broken = true;
        return;
    }
    vq->desc = gmem_map(vq->mem, vq->desc_gpa, n * DESC_BYTES, packed);
    vq->driver = gmem_map(vq->mem, vq->driver_gpa, packed ? 4 : 6 + n * 2, false);
    vq->device = gmem_map(vq->mem, vq->device_gpa, packed ? 4 : 6 + n * 8, true);
    vq->broken = vq->desc == NULL || vq->driver == NULL || vq->device == NULL;
}

/* The copy that counts. Packed descriptors have the id where split ones have the flags (2.8.13). */
static struct desc desc_get(const uint8_t *p, bool packed)
{
    uint8_t copy[DESC_BYTES];

    memcpy(copy, p, sizeof(copy));
    return (struct desc) {
        .addr = le64_get(copy),
        .len = le32_get(copy + 8),
        .flags = le16_get(copy + (packed ? 14 : 12)),
        .next = le16_get(copy + (packed ? 12 : 14)),
    };
}

/* A chain being collected: device-readable buffers have to precede writable ones (2.7.4.2). */
struct chain {
    struct iovec iov[VQ_MAX_IOV];
    unsigned n_out, n_in;
};

static int chain_add(struct vq *vq, struct chain *c, const struct desc *d)
{
    bool write = (d->flags & D_WRITE) != 0;
    void *p;

    if (c->n_out + c->n_in == VQ_MAX_IOV || (!write && c->n_in > 0)) {
        return -EINVAL;
    }
    if (d->len == 0) {
        return 0;
    }
    p = gmem_map(vq->mem, d->addr, d->len, write);
    if (p == NULL) {
        return -EINVAL;
    }
    c->iov[c->n_out + c->n_in] = (struct iovec) { .iov_base = p, .iov_len = d->len };
    if (write) {
        c->n_in++;
    } else {
        c->n_out++;
    }
    return 0;
}

/* The table of an indirect descriptor (2.7.5.3, 2.8.7); in a packed ring it is in order. */
static int chain_add_indirect(struct vq *vq, struct chain *c, const struct desc *head)
{
    unsigned n = head->len / DESC_BYTES;
    const uint8_t *table;
    unsigned i = 0;

    if (!vq->indirect || head->len % DESC_BYTES != 0 || n == 0 || n > VQ_MAX_IOV) {
        return -EINVAL;
    }
    table = gmem_map(vq->mem, head->addr, head->len, false);
    if (table == NULL) {
        return -EINVAL;
    }
    for (unsigned count = 0; count < n; count++) {
        struct desc d = desc_get(table + (size_t)i * DESC_BYTES, vq->packed);

        if ((d.flags & D_INDIRECT) != 0 || chain_add(vq, c, &d) < 0) {
            return -EINVAL;
        }
        if (vq->packed) {
            i++;
        } else if ((d.flags & D_NEXT) == 0) {
            return 0;
        } else if (d.next >= n) {
            return -EINVAL;
        } else {
            i = d.next;
        }
    }
    return vq->packed ? 0 : -EINVAL; /* a loop */
}

static int elem_new(struct vq *vq, const struct chain *c, uint16_t id, uint16_t n_desc,
                    struct vq_elem **ret)
{
    size_t n = (size_t)c->n_out + c->n_in;
    struct vq_elem *e = malloc(sizeof(*e) + n * sizeof(e->iov[0]));

    if (e == NULL) {
        return -ENOMEM;
    }
    *e = (struct vq_elem) {
        .id = id, .n_desc = n_desc, .epoch = vq->epoch, .n_out = c->n_out, .n_in = c->n_in
    };
    memcpy(e->iov, c->iov, n * sizeof(e->iov[0]));
    e->out = e->iov;
    e->in = e->iov + c->n_out;
    vq->in_use++;
    *ret = e;
    return 1;
}

static int pop_split(struct vq *vq, struct vq_elem **ret)
{
    struct chain c;
    uint16_t idx = load16(vq->driver + 2);
    uint16_t pending = (uint16_t)(idx - vq->next_avail);
    uint16_t head;
    uint16_t i;
    unsigned count = 0;

    if (pending == 0 && vq->event_idx) {
        /* The event index was written before this look at idx; only now is that sure. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        idx = load16(vq->driver + 2);
        pending = (uint16_t)(idx - vq->next_avail);
    }
    if (pending == 0) {
        return 0;
    }
    if (pending > vq->size || vq->in_use >= vq->size) {
        return -EINVAL;
    }
    head = le16_get(vq->driver + 4 + (size_t)(vq->next_avail % vq->size) * 2);
    c.n_out = c.n_in = 0;
    for (i = head;;) {
        struct desc d;

        if (i >= vq->size || count++ == vq->size) {
            return -EINVAL;
        }
        d = desc_get(vq->desc + (size_t)i * DESC_BYTES, false);
        if ((d.flags & D_INDIRECT) != 0) {
            /* May end a chain, but not go on (2.7.5.3.1). */
            if ((d.flags & D_NEXT) != 0 || chain_add_indirect(vq, &c, &d) < 0) {
                return -EINVAL;
            }
            break;
        }
        if (chain_add(vq, &c, &d) < 0) {
            return -EINVAL;
        }
        if ((d.flags & D_NEXT) == 0) {
            break;
        }
        i = d.next;
    }
    vq->next_avail++;
    if (vq->event_idx) {
        store16(vq->device + 4 + (size_t)vq->size * 8, vq->next_avail);
    }
    return elem_new(vq, &c, head, 1, ret);
}

static bool packed_is_avail(const struct vq *vq, uint16_t flags)
{
    bool avail = (flags & D_AVAIL) != 0;
    bool used = (flags & D_USED) != 0;

    return avail == vq->avail_wrap && used != vq->avail_wrap;
}

static void packed_advance(uint16_t *slot, bool *wrap, unsigned by, uint16_t size)
{
    *slot = (uint16_t)(*slot + by);
    if (*slot >= size) {
        *slot = (uint16_t)(*slot - size);
        *wrap = !*wrap;
    }
}

static int pop_packed(struct vq *vq, struct vq_elem **ret)
{
    struct chain c;
    uint16_t slot = vq->next_avail;
    unsigned count = 0;
    struct desc d;

    if (!packed_is_avail(vq, load16(vq->desc + (size_t)slot * DESC_BYTES + 14))) {
        return 0;
    }
    c.n_out = c.n_in = 0;
    for (;;) {
        if (count++ == vq->size || vq->in_use >= vq->size) {
            return -EINVAL;
        }
        d = desc_get(vq->desc + (size_t)slot * DESC_BYTES, true);
        if ((d.flags & D_INDIRECT) != 0) {
            if (count > 1 || (d.flags & D_NEXT) != 0 || chain_add_indirect(vq, &c, &d) < 0) {
                return -EINVAL;
            }
            break;
        }
        if (chain_add(vq, &c, &d) < 0) {
            return -EINVAL;
        }
        if ((d.flags & D_NEXT) == 0) {
            break;
        }
        slot = (uint16_t)((slot + 1) % vq->size);
    }
    packed_advance(&vq->next_avail, &vq->avail_wrap, count, vq->size);
    return elem_new(vq, &c, d.next, (uint16_t)count, ret);
}

int vq_pop(struct vq *vq, struct vq_elem **ret)
{
    int r;

    if (!vq->ready || vq->broken) {
        return 0;
    }
    r = vq->packed ? pop_packed(vq, ret) : pop_split(vq, ret);
    if (r == -EINVAL) {
        vq->broken = true;
    }
    return r;
}

bool vq_has_avail(struct vq *vq)
{
    if (!vq->ready || vq->broken) {
        return false;
    }
    if (vq->packed) {
        return packed_is_avail(vq, load16(vq->desc + (size_t)vq->next_avail * DESC_BYTES + 14));
    }
    return load16(vq->driver + 2) != vq->next_avail;
}

void vq_unpop(struct vq *vq, struct vq_elem *e)
{
    if (e->epoch == vq->epoch && !vq->broken) {
        vq->in_use--;
        if (vq->packed) {
            if (vq->next_avail < e->n_desc) {
                vq->next_avail = (uint16_t)(vq->next_avail + vq->size);
                vq->avail_wrap = !vq->avail_wrap;
            }
            vq->next_avail = (uint16_t)(vq->next_avail - e->n_desc);
        } else {
            vq->next_avail--;
        }
    }
    (void)vq_elem_free(e);
}

static void push_split(struct vq *vq, const struct vq_elem *e, uint32_t len)
{
    uint8_t *used = vq->device + 4 + (size_t)(vq->next_used % vq->size) * 8;

    le32_put(used, e->id);
    le32_put(used + 4, len);
    vq->next_used++;
    store16(vq->device + 2, vq->next_used);
}

static void push_packed(struct vq *vq, const struct vq_elem *e, uint32_t len)
{
    uint8_t *d = vq->desc + (size_t)vq->next_used * DESC_BYTES;
    uint16_t flags = vq->used_wrap ? D_AVAIL | D_USED : 0;

    le32_put(d + 8, len);
    le16_put(d + 12, e->id);
    store16(d + 14, (uint16_t)(flags | (e->n_in > 0 ? D_WRITE : 0)));
    packed_advance(&vq->next_used, &vq->used_wrap, e->n_desc, vq->size);
}

void vq_push(struct vq *vq, struct vq_elem *e, uint32_t len)
{
    if (e->epoch == vq->epoch && vq->ready && !vq->broken) {
        vq->in_use--;
        if (vq->packed) {
            push_packed(vq, e, len);
        } else {
            push_split(vq, e, len);
        }
    }
    (void)vq_elem_free(e);
}

/* Has the index passed event since old? (2.7.10, the formula of vring_need_event) */
static bool passed(uint16_t event, uint16_t now, uint16_t old)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

static bool notify_split(struct vq *vq)
{
    uint16_t old = vq->signalled_used;
    bool valid = vq->signalled_valid;

    vq->signalled_used = vq->next_used;
    vq->signalled_valid = true;
    if (!vq->event_idx) {
        return (load16(vq->driver) & AVAIL_NO_INTERRUPT) == 0;
    }
    return !valid || passed(load16(vq->driver + 4 + (size_t)vq->size * 2), vq->next_used, old);
}

static bool notify_packed(struct vq *vq)
{
    uint16_t flags = load16(vq->driver + 2) & 3;
    uint16_t event = load16(vq->driver);
    uint16_t old = vq->signalled_used;
    bool valid = vq->signalled_valid;
    uint16_t off = event & 0x7fff;

    vq->signalled_used = vq->next_used;
    vq->signalled_valid = true;
    if (flags != EVENT_DESC || !vq->event_idx) {
        return flags != EVENT_DISABLE;
    }
    if (!valid) {
        return true;
    }
    if (((event & 0x8000) != 0) != vq->used_wrap) {
        off = (uint16_t)(off - vq->size);
    }
    /* The old position is in the lap before when it is ahead of the new one. */
    if (old > vq->next_used) {
        old = (uint16_t)(old - vq->size);
    }
    return passed(off, vq->next_used, old);
}

bool vq_should_notify(struct vq *vq)
{
    if (!vq->ready || vq->broken) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return vq->packed ? notify_packed(vq) : notify_split(vq);
}

void vq_enable_notify(struct vq *vq, bool on)
{
    if (!vq->ready || vq->broken) {
        return;
    }
    if (vq->packed) {
        store16(vq->device + 2, on ? EVENT_ENABLE : EVENT_DISABLE);
    } else if (vq->event_idx) {
        if (on) {
            store16(vq->device + 4 + (size_t)vq->size * 8, load16(vq->driver + 2));
        }
    } else {
        store16(vq->device, on ? 0 : USED_NO_NOTIFY);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
