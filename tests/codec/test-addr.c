/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/addr.h"

#include <errno.h>

#include "unit.h"

static void check(const char *in, const char *out)
{
    struct addr a;
    CLEANUP(err_freep) struct err *err = NULL;
    AUTO_FREE char *back = NULL;

    assert_int_equal(addr_parse(in, &a, &err), 0);
    back = addr_format(&a);
    assert_string_equal(back, out);
    addr_done(&a);
}

static void round_trip(void **state)
{
    (void)state;
    check("unix:/run/x:y", "unix:/run/x:y");
    check("localhost:80", "tcp:localhost:80");
    check("tcp:[::1]:5900", "tcp:[::1]:5900");
    check(":0", "tcp::0");
    check("vsock:3:1024", "vsock:3:1024");
    check("fd:mon", "fd:mon");
}

static void refused(void **state)
{
    static const char *const bad[] = { "localhost", "h:65536", "::1:80",
                                       "[::1:80",   "unix:",   "vsock:x:1" };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct addr a;
        CLEANUP(err_freep) struct err *err = NULL;

        assert_int_equal(addr_parse(bad[i], &a, &err), -EINVAL);
        assert_non_null(err);
        addr_done(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
