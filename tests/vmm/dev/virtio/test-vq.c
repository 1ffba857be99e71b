/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/virtio/vq.h"

#include "base/bytes.h"
#include "unit.h"
#include "vmm/mem/gmem.h"

#include <errno.h>
#include <string.h>

enum { SIZE = 4, DESC = 0x1000, DRIVER = 0x2000, DEVICE = 0x3000, DATA = 0x4000, RAM = 0x10000 };

struct ring {
    struct gmem mem;
    struct vq vq;
    uint8_t *ram;
};

static void ring_init(struct ring *r, bool packed, bool event_idx)
{
    memset(r, 0, sizeof(*r));
    assert_int_equal(gmem_add(&r->mem, "ram", 0, RAM, false, NULL), 0);
    r->ram = gmem_map(&r->mem, 0, RAM, true);
    vq_init(&r->vq, &r->mem, SIZE);
    r->vq.desc_gpa = DESC;
    r->vq.driver_gpa = DRIVER;
    r->vq.device_gpa = DEVICE;
    r->vq.ready = true;
    vq_start(&r->vq, packed, event_idx, true);
    assert_false(r->vq.broken);
}

static void put_desc(struct ring *r, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
                     uint16_t next)
{
    uint8_t *d = r->ram + DESC + i * 16;

    le64_put(d, addr);
    le32_put(d + 8, len);
    le16_put(d + 12, flags);
    le16_put(d + 14, next);
}

static void offer(struct ring *r, uint16_t head)
{
    uint16_t idx = le16_get(r->ram + DRIVER + 2);

    le16_put(r->ram + DRIVER + 4 + (idx % SIZE) * 2, head);
    le16_put(r->ram + DRIVER + 2, (uint16_t)(idx + 1));
}

static void test_split(void **state)
{
    struct ring r;
    struct vq_elem *e = NULL;

    (void)state;
    ring_init(&r, false, false);
    assert_int_equal(vq_pop(&r.vq, &e), 0);
    put_desc(&r, 0, DATA, 16, 1, 2);
    put_desc(&r, 2, DATA + 64, 8, 2, 0);
    offer(&r, 0);
    assert_true(vq_has_avail(&r.vq));
    assert_int_equal(vq_pop(&r.vq, &e), 1);
    assert_int_equal(e->n_out, 1);
    assert_int_equal(e->n_in, 1);
    assert_ptr_equal(e->in[0].iov_base, r.ram + DATA + 64);
    vq_push(&r.vq, e, 8);
    assert_int_equal(le16_get(r.ram + DEVICE + 2), 1);
    assert_int_equal(le32_get(r.ram + DEVICE + 4), 0);
    assert_int_equal(le32_get(r.ram + DEVICE + 8), 8);
    assert_true(vq_should_notify(&r.vq));
    le16_put(r.ram + DRIVER, 1); /* no interrupts, please */
    assert_false(vq_should_notify(&r.vq));
    gmem_done(&r.mem);
}

/* Each a ring that a hostile driver might make; all have to break the queue and nothing else. */
static void test_bad_chains(void **state)
{
    static const struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next, head;
    } bad[] = {
        { DATA, 16, 1, 0, 0 },           /* a loop */
        { DATA, 16, 1, 9, 0 },           /* next beyond the table */
        { DATA, 16, 0, 0, 9 },           /* head beyond the table */
        { RAM - 8, 16, 0, 0, 0 },        /* leaves memory */
        { UINT64_MAX - 4, 16, 2, 0, 0 }, /* wraps around */
        { DATA, 15, 4, 0, 0 },           /* an indirect table of no whole entries */
        { DATA, 0, 4, 0, 0 },            /* an empty one */
        { DATA, 16, 5, 0, 0 },           /* an indirect one that goes on */
        { RAM - 8, 16, 4, 0, 0 },        /* one that leaves memory */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ring r;
        struct vq_elem *e = NULL;

        ring_init(&r, false, false);
        put_desc(&r, 0, bad[i].addr, bad[i].len, bad[i].flags, bad[i].next);
        offer(&r, bad[i].head);
        assert_int_equal(vq_pop(&r.vq, &e), -EINVAL);
        assert_true(r.vq.broken);
        assert_int_equal(vq_pop(&r.vq, &e), 0);
        gmem_done(&r.mem);
    }
}

static void test_write_before_read(void **state)
{
    struct ring r;
    struct vq_elem *e = NULL;

    (void)state;
    ring_init(&r, false, false);
    put_desc(&r, 0, DATA, 16, 1 | 2, 1);
    put_desc(&r, 1, DATA, 16, 0, 0);
    offer(&r, 0);
    assert_int_equal(vq_pop(&r.vq, &e), -EINVAL);
    gmem_done(&r.mem);
}

static void test_event_index(void **state)
{
    struct ring r;
    struct vq_elem *e = NULL;

    (void)state;
    ring_init(&r, false, true);
    put_desc(&r, 0, DATA, 16, 2, 0);
    for (unsigned i = 0; i < 3; i++) {
        offer(&r, 0);
    }
    le16_put(r.ram + DRIVER + 4 + SIZE * 2, 1); /* interrupt when used index 1 is passed */
    assert_int_equal(vq_pop(&r.vq, &e), 1);
    vq_push(&r.vq, e, 0);
    assert_true(vq_should_notify(&r.vq)); /* the first always */
    assert_int_equal(vq_pop(&r.vq, &e), 1);
    vq_push(&r.vq, e, 0);
    assert_true(vq_should_notify(&r.vq));
    assert_int_equal(vq_pop(&r.vq, &e), 1);
    vq_push(&r.vq, e, 0);
    assert_false(vq_should_notify(&r.vq));
    assert_int_equal(le16_get(r.ram + DEVICE + 4 + SIZE * 8), 3); /* avail_event */
    gmem_done(&r.mem);
}

static void put_packed(struct ring *r, unsigned i, uint64_t addr, uint32_t len, uint16_t id,
                       uint16_t flags)
{
    uint8_t *d = r->ram + DESC + i * 16;

    le64_put(d, addr);
    le32_put(d + 8, len);
    le16_put(d + 12, id);
    le16_put(d + 14, flags);
}

/* Two laps of a packed ring: chains of two, the wrap counters turn over. */
static void test_packed(void **state)
{
    struct ring r;
    struct vq_elem *e = NULL;
    bool wrap = true;
    unsigned slot = 0;

    (void)state;
    ring_init(&r, true, false);
    for (unsigned round = 0; round < 4; round++) {
        uint16_t avail = wrap ? 1 << 7 : 1 << 15;

        put_packed(&r, slot, DATA, 8, 0, (uint16_t)(avail | 1));
        put_packed(&r, slot + 1, DATA + 64, 8, (uint16_t)(round + 5), (uint16_t)(avail | 2));
        assert_int_equal(vq_pop(&r.vq, &e), 1);
        assert_int_equal(e->id, round + 5);
        assert_int_equal(e->n_desc, 2);
        assert_int_equal(vq_pop(&r.vq, &e) == 1, 0);
        vq_push(&r.vq, e, 4);
        assert_int_equal(le16_get(r.ram + DESC + slot * 16 + 12), round + 5);
        assert_int_equal(le16_get(r.ram + DESC + slot * 16 + 14) & 0x8080, wrap ? 0x8080 : 0);
        slot += 2;
        if (slot == SIZE) {
            slot = 0;
            wrap = !wrap;
        }
    }
    gmem_done(&r.mem);
}

static void test_packed_indirect(void **state)
{
    struct ring r;
    struct vq_elem *e = NULL;

    (void)state;
    ring_init(&r, true, false);
    put_packed(&r, 0, DATA, 32, 9, 1 << 7 | 4);
    le64_put(r.ram + DATA, DATA + 0x100);
    le32_put(r.ram + DATA + 8, 24);
    le64_put(r.ram + DATA + 16, DATA + 0x200);
    le32_put(r.ram + DATA + 24, 8);
    le16_put(r.ram + DATA + 30, 2); /* the flags stand last */
    assert_int_equal(vq_pop(&r.vq, &e), 1);
    assert_int_equal(e->n_out, 1);
    assert_int_equal(e->n_in, 1);
    assert_int_equal(e->out[0].iov_len, 24);
    assert_int_equal(e->id, 9);
    vq_push(&r.vq, e, 8);
    gmem_done(&r.mem);
}

static void test_reset_makes_stale(void **state)
{
    struct ring r;
    struct vq_elem *e = NULL;

    (void)state;
    ring_init(&r, false, false);
    put_desc(&r, 0, DATA, 16, 2, 0);
    offer(&r, 0);
    assert_int_equal(vq_pop(&r.vq, &e), 1);
    vq_reset(&r.vq);
    vq_push(&r.vq, e, 16);
    assert_int_equal(le16_get(r.ram + DEVICE + 2), 0);
    gmem_done(&r.mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_bad_chains),
        cmocka_unit_test(test_write_before_read),
        cmocka_unit_test(test_event_index),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_packed_indirect),
        cmocka_unit_test(test_reset_makes_stale),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
