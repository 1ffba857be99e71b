/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rpc/frame.h"

#include <errno.h>

#include "unit.h"

static void begin_and_take_apart(void **state)
{
    struct rpc_header h = {
        .program = 0x20008086, .version = 1, .proc = 14, .type = RPC_CALL, .serial = 7
    };
    struct rpc_header back;
    struct xdr_out x;
    struct xdr_in in;
    size_t len = 0;

    (void)state;
    rpc_frame_begin(&x, &h);
    xdr_put_u32(&x, 0xaabbccdd);
    assert_true(rpc_frame_end(&x));
    assert_int_equal(x.len, 32);
    assert_int_equal(rpc_frame_length(x.buf, &len), 0);
    assert_int_equal(len, 32);
    in = xdr_in_of(x.buf + RPC_LEN_BYTES, x.len - RPC_LEN_BYTES);
    assert_true(rpc_header_get(&in, &back));
    assert_memory_equal(&h, &back, sizeof(h));
    assert_int_equal(xdr_get_u32(&in), 0xaabbccdd);
    xdr_out_done(&x);
}

static void lengths_have_limits(void **state)
{
    static const uint8_t shorter[] = { 0, 0, 0, 27 };
    static const uint8_t longer[] = { 0x02, 0, 0, 5 };
    size_t len;

    (void)state;
    assert_int_equal(rpc_frame_length(shorter, &len), -EPROTO);
    assert_int_equal(rpc_frame_length(longer, &len), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begin_and_take_apart),
        cmocka_unit_test(lengths_have_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
