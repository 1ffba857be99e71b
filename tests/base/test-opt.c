/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/opt.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

struct thing {
    bool on;
    uint16_t port;
    uint64_t size;
    char *name;
};

static const struct opt thing_opts[] = {
    OPT_BOOL(struct thing, on, "on", "yes", "whether it runs"),
    OPT_U16(struct thing, port, "port", "80", "TCP port"),
    OPT_SIZE(struct thing, size, "size", "1G", "how large"),
    OPT_STR(struct thing, name, "name", NULL, "what it is called"),
    OPT_END,
};

static void defaults_and_settings(void **state)
{
    struct thing t = { 0 };
    CLEANUP(err_freep) struct err *err = NULL;

    (void)state;
    assert_int_equal(opt_defaults(thing_opts, &t, &err), 0);
    assert_true(t.on && t.port == 80 && t.size == 1ull << 30 && t.name == NULL);
    assert_int_equal(opt_set(thing_opts, &t, "name", "x", &err), 0);
    assert_int_equal(opt_set(thing_opts, &t, "name", "y", &err), 0);
    assert_string_equal(t.name, "y");
    assert_int_equal(opt_set(thing_opts, &t, "port", "65536", &err), -ERANGE);
    assert_non_null(strstr(err->text, "port"));
    opt_done(thing_opts, &t);
    assert_null(t.name);
}

static void unknown_names_get_a_hint(void **state)
{
    struct thing t = { 0 };
    CLEANUP(err_freep) struct err *err = NULL;

    (void)state;
    assert_int_equal(opt_set(thing_opts, &t, "prot", "1", &err), -ENOENT);
    assert_string_equal(err->text, "no option 'prot', did you mean 'port'?");
}

static void sizes(void **state)
{
    uint64_t v = 0;

    (void)state;
    assert_int_equal(opt_parse_size("512", &v), 0);
    assert_int_equal(v, 512);
    assert_int_equal(opt_parse_size("1.5k", &v), 0);
    assert_int_equal(v, 1536);
    assert_int_equal(opt_parse_size("4GiB", &v), 0);
    assert_true(v == 4ull << 30);
    assert_int_equal(opt_parse_size("16E", &v), -ERANGE);
    assert_int_equal(opt_parse_size("1Q", &v), -EINVAL);
    assert_int_equal(opt_parse_size("-1", &v), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_and_settings),
        cmocka_unit_test(unknown_names_get_a_hint),
        cmocka_unit_test(sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
