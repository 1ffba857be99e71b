/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "os/path.h"

#include <string.h>

#include "unit.h"

static void user_folders_follow_xdg(void **state)
{
    AUTO_FREE char *a = NULL;
    AUTO_FREE char *b = NULL;
    AUTO_FREE char *c = NULL;

    (void)state;
    (void)setenv("XDG_CACHE_HOME", "/x/cache", 1);
    (void)unsetenv("XDG_CONFIG_HOME");
    (void)setenv("HOME", "/home/u", 1);
    a = path_of(PATH_CACHE, false, "k");
    b = path_of(PATH_CONFIG, false, NULL);
    c = path_of(PATH_RUN, true, "s");
    assert_string_equal(a, "/x/cache/vireo/k");
    assert_string_equal(b, "/home/u/.config/vireo");
    assert_string_equal(c, "/run/vireo/s");
}

static void folders_are_made(void **state)
{
    char dir[] = "/tmp/vireo-test-XXXXXX";
    CLEANUP(err_freep) struct err *err = NULL;
    AUTO_FREE char *deep = NULL;

    (void)state;
    assert_non_null(mkdtemp(dir));
    deep = path_join(dir, "a/b");
    assert_int_equal(path_make_folders(deep, 0700, &err), 0);
    assert_int_equal(path_make_folders(deep, 0700, &err), 0);
    assert_true(path_exists(deep));
    (void)rmdir(deep);
    *strrchr(deep, '/') = '\0';
    (void)rmdir(deep);
    (void)rmdir(dir);
}

static void programs_are_found(void **state)
{
    AUTO_FREE char *sh = path_find_program("sh");
    AUTO_FREE char *none = path_find_program("no-such-program");

    (void)state;
    assert_non_null(sh);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(user_folders_follow_xdg),
        cmocka_unit_test(folders_are_made),
        cmocka_unit_test(programs_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
