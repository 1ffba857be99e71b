/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "codec/flatten.h"

#include "unit.h"

static void nested_members_have_dotted_names(void **state)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;

    (void)state;
    assert_int_equal(keyval_parse_any("{\"driver\": \"qcow2\", \"file\": {\"driver\": \"file\", "
                                      "\"locking\": true}, \"backing\": null, \"n\": [7, 8]}",
                                      NULL, false, &kv, NULL),
                     0);
    assert_string_equal(keyval_get(kv, "file.driver"), "file");
    assert_string_equal(keyval_get(kv, "file.locking"), "on");
    assert_string_equal(keyval_get(kv, "backing"), "");
    assert_string_equal(keyval_get(kv, "n.1"), "8");
}

static void plain_text_stays_keyval(void **state)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;

    (void)state;
    assert_int_equal(keyval_parse_any("virtio-blk-pci,drive=d", "driver", false, &kv, NULL), 0);
    assert_string_equal(keyval_get(kv, "driver"), "virtio-blk-pci");
    assert_int_not_equal(keyval_parse_any("{\"a\": ", NULL, false, &kv, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nested_members_have_dotted_names),
        cmocka_unit_test(plain_text_stays_keyval),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
