/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "os/process.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

static void output_and_status(void **state)
{
    const char *const ok[] = { "sh", "-c", "echo one; echo two", NULL };
    const char *const bad[] = { "sh", "-c", "echo why >&2; exit 3", NULL };
    CLEANUP(err_freep) struct err *err = NULL;
    AUTO_FREE char *out = NULL;

    (void)state;
    assert_int_equal(process_capture(ok, 4096, &out, &err), 0);
    assert_string_equal(out, "one\ntwo\n");
    assert_int_equal(process_capture(bad, 4096, &out, &err), -EIO);
    assert_string_equal(err->text, "'sh' failed with status 3: why");
}

static void missing_program_is_named(void **state)
{
    const char *const argv[] = { "no-such-program", NULL };
    CLEANUP(err_freep) struct err *err = NULL;
    AUTO_FREE char *out = NULL;

    (void)state;
    assert_int_equal(process_capture(argv, 4096, &out, &err), -ENOENT);
    assert_non_null(strstr(err->text, "no-such-program"));
}

static void child_has_no_foreign_descriptors(void **state)
{
    const char *const argv[] = { "sh", "-c", "ls /proc/self/fd | wc -l", NULL };
    AUTO_FREE char *out = NULL;

    (void)state;
    assert_int_equal(process_capture(argv, 4096, &out, NULL), 0);
    assert_int_equal(atoi(out), 4); /* 0 1 2 and ls's own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_and_status),
        cmocka_unit_test(missing_program_is_named),
        cmocka_unit_test(child_has_no_foreign_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
