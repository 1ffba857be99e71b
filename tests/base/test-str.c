/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/str.h"

#include <errno.h>

#include "unit.h"

static void buffer_has_a_limit(void **state)
{
    struct strbuf b = STRBUF_INIT(16);
    char *s;

    (void)state;
    strbuf_printf(&b, "%s-%d", "ab", 12);
    strbuf_puts(&b, "x");
    s = strbuf_take(&b);
    assert_string_equal(s, "ab-12x");
    free(s);
    strbuf_puts(&b, "12345678901234567");
    assert_true(b.failed);
    assert_null(strbuf_take(&b));
}

static void numbers_are_strict(void **state)
{
    uint64_t u = 0;
    int64_t i = 0;
    uint32_t w;

    (void)state;
    assert_int_equal(str_to_u64("0x10", 0, &u), 0);
    assert_int_equal(u, 16);
    assert_int_equal(str_to_u64("", 0, &u), -EINVAL);
    assert_int_equal(str_to_u64(" 1", 0, &u), -EINVAL);
    assert_int_equal(str_to_u64("-1", 0, &u), -EINVAL);
    assert_int_equal(str_to_u64("1x", 0, &u), -EINVAL);
    assert_int_equal(str_to_u64("18446744073709551616", 0, &u), -ERANGE);
    assert_int_equal(str_to_i64("-9223372036854775808", 10, &i), 0);
    assert_true(i == INT64_MIN);
    assert_int_equal(str_to_i64("-9223372036854775809", 10, &i), -ERANGE);
    assert_int_equal(str_to_u32("70000", 65535, &w), -ERANGE);
}

static void distance_finds_typing_errors(void **state)
{
    (void)state;
    assert_int_equal(str_distance("memory", "memroy"), 2);
    assert_int_equal(str_distance("a", "a"), 0);
    assert_int_equal(str_distance("", "abc"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_has_a_limit),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(distance_finds_typing_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
