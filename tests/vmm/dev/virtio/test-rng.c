/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The transport's registers, with the entropy device behind them. */
#include "vmm/dev/virtio/virtio.h"

#include "../../board.h"
#include "base/bytes.h"
#include "unit.h"

static uint32_t get(struct board *b, unsigned reg)
{
    return (uint32_t)iobus_read(&b->m->mmio, BOARD_VIRTIO_GPA + reg, 4);
}

static void put(struct board *b, unsigned reg, uint32_t v)
{
    iobus_write(&b->m->mmio, BOARD_VIRTIO_GPA + reg, v, 4);
}

static void negotiate(struct board *b)
{
    put(b, 0x70, 1 | 2);
    put(b, 0x24, 1);
    put(b, 0x20, 1); /* VERSION_1 */
    put(b, 0x70, 1 | 2 | 8);
}

static void test_identity(void **state)
{
    struct board b;

    (void)state;
    board_init(&b);
    assert_non_null(board_add(&b, "virtio-rng-device,id=r"));
    assert_int_equal(get(&b, 0), 0x74726976);
    assert_int_equal(get(&b, 4), 2);
    assert_int_equal(get(&b, 8), VIRTIO_ID_RNG);
    put(&b, 0x30, 7);
    assert_int_equal(get(&b, 0x34), 0); /* no such queue */
    put(&b, 0x30, 0);
    assert_int_equal(get(&b, 0x34), 64);
    board_done(&b);
}

static void test_features_that_we_lack(void **state)
{
    struct board b;

    (void)state;
    board_init(&b);
    assert_non_null(board_add(&b, "virtio-rng-device"));
    put(&b, 0x70, 1 | 2);
    put(&b, 0x24, 1);
    put(&b, 0x20, 1 | 1u << 30);
    put(&b, 0x70, 1 | 2 | 8);
    assert_int_equal(get(&b, 0x70) & 8, 0);
    board_done(&b);
}

static void test_entropy(void **state)
{
    struct board b;
    uint8_t *ram;
    uint8_t sum = 0;

    (void)state;
    board_init(&b);
    assert_non_null(board_add(&b, "virtio-rng-device"));
    ram = gmem_map(&b.m->mem, 0, BOARD_RAM, true);
    negotiate(&b);
    put(&b, 0x30, 0);
    put(&b, 0x38, 4);
    put(&b, 0x80, 0x1000);
    put(&b, 0x90, 0x2000);
    put(&b, 0xa0, 0x3000);
    put(&b, 0x44, 1);
    put(&b, 0x70, 1 | 2 | 8 | 4);
    assert_int_equal(get(&b, 0x70), 15);
    le64_put(ram + 0x1000, 0x4000);
    le32_put(ram + 0x1008, 64);
    le16_put(ram + 0x100c, 2);
    le16_put(ram + 0x2002, 1);
    put(&b, 0x50, 0);
    (void)loop_step(b.loop, 1000000);
    assert_int_equal(le16_get(ram + 0x3002), 1);
    assert_int_equal(le32_get(ram + 0x3008), 64);
    for (unsigned i = 0; i < 64; i++) {
        sum |= ram[0x4000 + i];
    }
    assert_int_not_equal(sum, 0);
    assert_int_equal(b.line[32], 1);
    assert_int_equal(get(&b, 0x60), 1);
    put(&b, 0x64, 1);
    assert_int_equal(b.line[32], 0);
    put(&b, 0x70, 0);
    assert_int_equal(get(&b, 0x70), 0);
    assert_int_equal(get(&b, 0x44), 0);
    board_done(&b);
}

static void test_queue_outside_memory(void **state)
{
    struct board b;

    (void)state;
    board_init(&b);
    assert_non_null(board_add(&b, "virtio-rng-device"));
    negotiate(&b);
    put(&b, 0x38, 4);
    put(&b, 0x84, 1);
    put(&b, 0x44, 1);
    assert_int_equal(get(&b, 0x70) & VIRTIO_S_NEEDS_RESET, VIRTIO_S_NEEDS_RESET);
    board_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_features_that_we_lack),
        cmocka_unit_test(test_entropy),
        cmocka_unit_test(test_queue_outside_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
