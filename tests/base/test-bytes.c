/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/bytes.h"

#include "unit.h"

static void integers_have_an_order(void **state)
{
    uint8_t b[8];

    (void)state;
    be32_put(b, 0x01020304);
    assert_int_equal(b[0], 1);
    assert_int_equal(le32_get(b), 0x04030201);
    le64_put(b, 0x0102030405060708);
    assert_int_equal(b[0], 8);
    assert_int_equal(be16_get(b), 0x0807);
}

static void reader_stops_at_the_end(void **state)
{
    static const uint8_t b[] = { 1, 2, 0, 0, 0, 9 };
    struct reader r = reader_of(b, sizeof(b));

    (void)state;
    assert_int_equal(reader_u8(&r), 1);
    assert_int_equal(reader_le32(&r), 2);
    assert_int_equal(reader_le16(&r), 0);
    assert_true(r.failed);
    assert_int_equal(reader_u8(&r), 0); /* stays failed although one byte is left */
}

static void arithmetic_does_not_wrap(void **state)
{
    uint64_t v = 7;

    (void)state;
    assert_false(u64_add(UINT64_MAX, 1, &v));
    assert_false(u64_mul(1ull << 33, 1ull << 33, &v));
    assert_int_equal(v, 7);
    assert_true(range_within(10, 6, 16));
    assert_false(range_within(10, 7, 16));
    assert_false(range_within(UINT64_MAX, 2, 16));
    assert_int_equal(round_up_u64(4097, 4096), 8192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_have_an_order),
        cmocka_unit_test(reader_stops_at_the_end),
        cmocka_unit_test(arithmetic_does_not_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
