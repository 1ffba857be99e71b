/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"

#include <string.h>

#include "unit.h"

static void first_cause_wins(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;

    (void)state;
    assert_int_equal(err_set(&err, 22, "bad size %d", 7), -22);
    assert_int_equal(err_set(&err, 5, "second"), -5);
    err_prefix(&err, "disk '%s': ", "sda");
    assert_int_equal(err->code, 22);
    assert_string_equal(err->text, "disk 'sda': bad size 7");
}

static void nobody_listens(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, 5, "lost"), -5);
    err_prefix(NULL, "nothing ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_cause_wins),
        cmocka_unit_test(nobody_listens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
