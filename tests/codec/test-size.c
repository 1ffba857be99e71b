/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/size.h"

#include <errno.h>

#include "unit.h"

static void sizes_read_like_qemu_img(void **state)
{
    char b[SIZE_TEXT_BYTES];

    (void)state;
    assert_string_equal(size_format(0, b), "0 B");
    assert_string_equal(size_format(196616, b), "192 KiB");
    assert_string_equal(size_format(1536, b), "1.5 KiB");
    assert_string_equal(size_format(1ull << 40, b), "1 TiB");
    assert_string_equal(size_format(1023ull << 10, b), "0.999 MiB");
}

static void durations(void **state)
{
    uint64_t v = 0;

    (void)state;
    assert_int_equal(duration_parse("90", &v), 0);
    assert_int_equal(v, 90000000);
    assert_int_equal(duration_parse("200ms", &v), 0);
    assert_int_equal(v, 200000);
    assert_int_equal(duration_parse("2m", &v), 0);
    assert_int_equal(v, 120000000);
    assert_int_equal(duration_parse("2x", &v), -EINVAL);
    assert_int_equal(duration_parse("-2", &v), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_read_like_qemu_img),
        cmocka_unit_test(durations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
