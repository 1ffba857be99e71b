/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/acpi.h"

#include "base/bytes.h"
#include "unit.h"

#include <string.h>

static uint8_t sum(const uint8_t *p, size_t len)
{
    uint8_t s = 0;

    while (len-- > 0) {
        s = (uint8_t)(s + *p++);
    }
    return s;
}

static void test_tables(void **state)
{
    static uint8_t buf[ACPI_MAX_BYTES];
    struct acpi_config c = { .n_cpus = 3, .has_pic = true, .has_serial = true, .n_virtio = 2 };
    size_t len = acpi_build(&c, buf, sizeof(buf));
    const uint8_t *xsdt;

    (void)state;
    assert_true(len > 0);
    assert_memory_equal(buf, "RSD PTR ", 8);
    assert_int_equal(sum(buf, 20), 0);
    assert_int_equal(sum(buf, 36), 0);
    xsdt = buf + le64_get(buf + 24) - ACPI_GPA;
    assert_memory_equal(xsdt, "XSDT", 4);
    assert_int_equal(sum(xsdt, le32_get(xsdt + 4)), 0);
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *t = buf + le64_get(xsdt + 36 + i * 8) - ACPI_GPA;

        assert_true(memcmp(t, "FACP", 4) == 0 || memcmp(t, "APIC", 4) == 0);
        assert_int_equal(sum(t, le32_get(t + 4)), 0);
        if (memcmp(t, "FACP", 4) == 0) {
            const uint8_t *dsdt = buf + le64_get(t + 140) - ACPI_GPA;

            assert_memory_equal(dsdt, "DSDT", 4);
            assert_int_equal(sum(dsdt, le32_get(dsdt + 4)), 0);
        }
    }
    assert_int_equal(acpi_build(&c, buf, 100), 0); /* no room */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_tables) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
