/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/xdr.h"

#include <string.h>

#include "unit.h"

static void round_trip(void **state)
{
    static const uint8_t wire[] = { 0, 0, 0, 5, 'h', 'e', 'l', 'l', 'o', 0, 0, 0, 0, 0, 0, 1 };
    struct xdr_out out;
    struct xdr_in in;
    AUTO_FREE char *s = NULL;

    (void)state;
    xdr_out_init(&out, 64);
    xdr_put_string(&out, "hello", 16);
    xdr_put_u32(&out, 1);
    assert_int_equal(out.len, sizeof(wire));
    assert_memory_equal(out.buf, wire, sizeof(wire));
    in = xdr_in_of(out.buf, out.len);
    s = xdr_get_string(&in, 5);
    assert_string_equal(s, "hello");
    assert_true(xdr_get_bool(&in));
    assert_false(in.failed);
    assert_int_equal(in.left, 0);
    xdr_out_done(&out);
}

static void limits_hold(void **state)
{
    static const uint8_t huge[] = { 0xff, 0xff, 0xff, 0xff, 1, 2 };
    struct xdr_out out;
    struct xdr_in in = xdr_in_of(huge, sizeof(huge));

    (void)state;
    assert_null(xdr_get_string(&in, UINT32_MAX));
    assert_true(in.failed);
    in = xdr_in_of(huge, sizeof(huge));
    assert_int_equal(xdr_get_count(&in, UINT32_MAX, 4), 0);
    assert_true(in.failed);
    xdr_out_init(&out, 8);
    xdr_put_string(&out, "toolong", 6);
    assert_true(out.failed);
    xdr_out_done(&out);
    xdr_out_init(&out, 6);
    xdr_put_u64(&out, 1);
    assert_true(out.failed);
    xdr_out_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(limits_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
