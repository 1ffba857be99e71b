/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../../board.h"
#include "unit.h"

static unsigned get(struct board *b, unsigned reg)
{
    board_outb(b, 0x70, reg);
    return board_inb(b, 0x71);
}

static void put(struct board *b, unsigned reg, unsigned v)
{
    board_outb(b, 0x70, reg);
    board_outb(b, 0x71, v);
}

static void test_set_time(void **state)
{
    struct board b;

    (void)state;
    board_init(&b);
    assert_non_null(board_add(&b, "mc146818rtc"));
    put(&b, 11, 0x82);
    put(&b, 0, 0x10);
    put(&b, 2, 0x59);
    put(&b, 4, 0x23);
    put(&b, 7, 0x29);
    put(&b, 8, 0x02);
    put(&b, 9, 0x24);
    put(&b, 0x32, 0x20);
    put(&b, 11, 0x02);
    assert_in_range(get(&b, 0), 0x10, 0x11);
    assert_int_equal(get(&b, 2), 0x59);
    assert_int_equal(get(&b, 4), 0x23);
    assert_int_equal(get(&b, 7), 0x29);
    assert_int_equal(get(&b, 6), 5); /* a Thursday */
    put(&b, 11, 0x06);               /* binary */
    assert_int_equal(get(&b, 9), 24);
    put(&b, 0x50, 0xab);
    assert_int_equal(get(&b, 0x50), 0xab);
    board_done(&b);
}

static void test_periodic(void **state)
{
    struct board b;

    (void)state;
    board_init(&b);
    assert_non_null(board_add(&b, "mc146818rtc"));
    put(&b, 10, 0x26); /* 1024 Hz */
    put(&b, 11, 0x42);
    for (unsigned i = 0; i < 100 && b.line[8] == 0; i++) {
        (void)loop_step(b.loop, 20000);
    }
    assert_int_equal(b.line[8], 1);
    assert_int_equal(get(&b, 12) & 0xc0, 0xc0);
    assert_int_equal(b.line[8], 0);
    board_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_set_time),
                                        cmocka_unit_test(test_periodic) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
