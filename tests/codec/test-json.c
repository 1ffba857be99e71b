/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/json.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

static int parse(const char *s, struct json_object **ret)
{
    return json_parse(s, strlen(s), ret, NULL);
}

static void members_are_typed(void **state)
{
    AUTO_JSON struct json_object *o = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    const char *s = NULL;
    int64_t i = 0;

    (void)state;
    assert_int_equal(parse(" {\"a\": \"x\", \"n\": -5} \n", &o), 0);
    assert_int_equal(json_get_str(o, "a", &s, &err), 0);
    assert_string_equal(s, "x");
    assert_int_equal(json_get_i64(o, "n", &i, &err), 0);
    assert_int_equal(i, -5);
    assert_int_equal(json_get_str(o, "n", &s, &err), -EINVAL);
    assert_string_equal(err->text, "Invalid parameter type for 'n', expected: string");
    assert_int_equal(json_get_str(o, "z", &s, NULL), -ENOENT);
}

static void whole_text_is_one_value(void **state)
{
    AUTO_JSON struct json_object *o = NULL;

    (void)state;
    assert_int_equal(parse("12", &o), 0);
    assert_int_equal(json_object_get_int64(o), 12);
    assert_int_equal(parse("{} x", &o), -EINVAL);
    assert_int_equal(parse("{", &o), -EINVAL);
    assert_int_equal(parse("", &o), -EINVAL);
    assert_int_equal(parse("\"\xff\"", &o), -EINVAL);
}

static void depth_is_limited(void **state)
{
    char deep[200];
    AUTO_JSON struct json_object *o = NULL;

    (void)state;
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    assert_int_equal(parse(deep, &o), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_typed),
        cmocka_unit_test(whole_text_is_one_value),
        cmocka_unit_test(depth_is_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
