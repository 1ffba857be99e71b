/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/keyval.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

static void pairs_and_commas(void **state)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    unsigned long long size = 0;
    bool on = false;

    (void)state;
    assert_int_equal(keyval_parse("virtio-blk,file.name=a,,b,id=x,id=y,size=2k,noacpi", "driver",
                                  true, &kv, &err),
                     0);
    assert_string_equal(keyval_get(kv, "driver"), "virtio-blk");
    assert_string_equal(keyval_get(kv, "file.name"), "a,b");
    assert_string_equal(keyval_get(kv, "id"), "y");
    assert_int_equal(keyval_get_size(kv, "size", 0, &size, &err), 0);
    assert_int_equal(size, 2048);
    assert_int_equal(keyval_check_used(kv, &err), -EINVAL);
    assert_int_equal(keyval_get_bool(kv, "acpi", true, &on, NULL), 0);
    assert_false(on);
    assert_int_equal(keyval_check_used(kv, NULL), 0);
}

static void json_becomes_dotted_keys(void **state)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;

    (void)state;
    assert_int_equal(keyval_parse("{\"driver\":\"raw\",\"file\":{\"ro\":true,\"l\":[1,\"z\"]}}",
                                  NULL, false, &kv, NULL),
                     0);
    assert_string_equal(keyval_get(kv, "driver"), "raw");
    assert_string_equal(keyval_get(kv, "file.ro"), "on");
    assert_string_equal(keyval_get(kv, "file.l.1"), "z");
}

static void bad_text_is_refused(void **state)
{
    struct keyval *kv = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    (void)state;
    assert_int_equal(keyval_parse("a=b,flag", NULL, false, &kv, &err), -EINVAL);
    assert_non_null(strstr(err->text, "flag"));
    assert_int_equal(keyval_parse("=x", NULL, true, &kv, NULL), -EINVAL);
    assert_int_equal(keyval_parse("{\"a\":", NULL, true, &kv, NULL), -EINVAL);
    assert_null(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_and_commas),
        cmocka_unit_test(json_becomes_dotted_keys),
        cmocka_unit_test(bad_text_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
