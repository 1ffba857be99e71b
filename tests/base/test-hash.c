/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/hash.h"

#include <errno.h>
#include <stdio.h>

#include "unit.h"

/* Adds and removes in an order that leaves long probe runs, and looks each key up all the time. */
static void survives_churn(void **state)
{
    enum { N = 2000 };
    static int values[N];
    CLEANUP(hash_freep) struct hash *h = hash_new();
    char key[32];

    (void)state;
    for (int i = 0; i < N; i++) {
        (void)snprintf(key, sizeof(key), "key-%d", i);
        assert_int_equal(hash_add(h, key, &values[i]), 0);
        assert_int_equal(hash_add(h, key, &values[i]), -EEXIST);
    }
    for (int i = 0; i < N; i += 3) {
        (void)snprintf(key, sizeof(key), "key-%d", i);
        assert_ptr_equal(hash_remove(h, key), &values[i]);
        assert_null(hash_remove(h, key));
    }
    for (int i = 0; i < N; i++) {
        (void)snprintf(key, sizeof(key), "key-%d", i);
        assert_ptr_equal(hash_get(h, key), i % 3 == 0 ? NULL : &values[i]);
    }
    assert_int_equal(hash_count(h), N - (N + 2) / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_churn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
