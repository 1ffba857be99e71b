/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/mem/gmem.h"

#include "unit.h"

#include <errno.h>
#include <string.h>

static void test_bounds(void **state)
{
    struct gmem mem = { .n = 0 };
    char buf[8] = "1234567";

    (void)state;
    assert_int_equal(gmem_add(&mem, "high", 0x100000000ull, 0x2000, false, NULL), 0);
    assert_int_equal(gmem_add(&mem, "low", 0, 0x1000, false, NULL), 0);
    assert_int_equal(gmem_add(&mem, "rom", 0x10000, 0x1000, true, NULL), 0);
    assert_int_equal(mem.regions[0].gpa, 0);
    assert_int_equal(gmem_write(&mem, 0xff8, buf, 8), 0);
    assert_int_equal(gmem_write(&mem, 0xff9, buf, 8), -EFAULT);
    assert_int_equal(gmem_write(&mem, UINT64_MAX - 3, buf, 8), -EFAULT);
    assert_int_equal(gmem_write(&mem, 0x10000, buf, 8), -EFAULT); /* ROM */
    assert_int_equal(gmem_load(&mem, 0x10000, buf, 8), 0);
    memset(buf, 0, sizeof(buf));
    assert_int_equal(gmem_read(&mem, 0x10000, buf, 8), 0);
    assert_string_equal(buf, "1234567");
    assert_null(gmem_map(&mem, 0x100000000ull, 0x2001, false));
    assert_non_null(gmem_map(&mem, 0x100000000ull, 0x2000, true));
    gmem_done(&mem);
}

static void test_iov(void **state)
{
    char a[4] = "abcd";
    char b[4] = "efgh";
    struct iovec iov[2] = { { a, 4 }, { b, 4 } };
    struct iovec out[2];
    char buf[8] = { 0 };

    (void)state;
    assert_int_equal(iov_size(iov, 2), 8);
    assert_int_equal(iov_read(iov, 2, 2, buf, 4), 4);
    assert_memory_equal(buf, "cdef", 4);
    assert_int_equal(iov_read(iov, 2, 6, buf, 8), 2);
    assert_int_equal(iov_write(iov, 2, 3, "XY", 2), 2);
    assert_memory_equal(a, "abcX", 4);
    assert_memory_equal(b, "Yfgh", 4);
    assert_int_equal(iov_slice(iov, 2, 3, 2, out, 2), 2);
    assert_int_equal(out[0].iov_len, 1);
    assert_int_equal(iov_slice(iov, 2, 8, 2, out, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_bounds), cmocka_unit_test(test_iov) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
