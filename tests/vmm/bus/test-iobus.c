/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/bus/iobus.h"

#include "unit.h"

#include <errno.h>

static uint64_t get(void *dev, uint64_t off, unsigned size)
{
    (void)size;
    return ((uint8_t *)dev)[off];
}

static void put(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    (void)size;
    ((uint8_t *)dev)[off] = (uint8_t)value;
}

static const struct io_ops bytes_io = { .read = get, .write = put, .max_size = 1 };

static void test_dispatch(void **state)
{
    struct iobus bus = { .n = 0 };
    uint8_t a[4] = { 1, 2, 3, 4 };
    uint8_t b[2] = { 0xaa, 0xbb };

    (void)state;
    assert_int_equal(iobus_add(&bus, 0x14, 2, &bytes_io, b, "b", NULL), 0);
    assert_int_equal(iobus_add(&bus, 0x10, 4, &bytes_io, a, "a", NULL), 0);
    assert_int_equal(iobus_add(&bus, 0x13, 2, &bytes_io, a, "c", NULL), -EBUSY);
    assert_int_equal(iobus_read(&bus, 0x10, 4), 0x04030201);
    assert_int_equal(iobus_read(&bus, 0x12, 4), 0xbbaa0403); /* over the border of two devices */
    assert_int_equal(iobus_read(&bus, 0x20, 2), 0xffff);
    assert_int_equal(iobus_read(&bus, 0x20, 8), UINT64_MAX);
    iobus_write(&bus, 0x13, 0x5566, 2);
    assert_int_equal(a[3], 0x66);
    assert_int_equal(b[0], 0x55);
    iobus_remove(&bus, a);
    assert_int_equal(iobus_read(&bus, 0x10, 1), 0xff);
    assert_int_equal(iobus_read(&bus, 0x14, 1), 0x55);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_dispatch) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
