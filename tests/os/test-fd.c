/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "os/fd.h"

#include "base/str.h"

#include <errno.h>
#include <sys/socket.h>

#include "unit.h"

static void files_are_replaced_whole(void **state)
{
    char dir[] = "/tmp/vireo-test-XXXXXX";
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *text = NULL;
    size_t len = 0;

    (void)state;
    assert_non_null(mkdtemp(dir));
    path = str_format("%s/f", dir);
    assert_int_equal(file_replace(path, "one", 3, 0600), 0);
    assert_int_equal(file_replace(path, "twoo", 4, 0600), 0);
    assert_int_equal(file_slurp(path, 3, &text, &len), -EFBIG);
    assert_int_equal(file_slurp(path, 4, &text, &len), 0);
    assert_string_equal(text, "twoo");
    (void)unlink(path);
    assert_int_equal(rmdir(dir), 0); /* no temporary file is left */
}

static void descriptors_travel(void **state)
{
    int pair[2];
    int got[4] = { -1, -1, -1, -1 };
    size_t n = 0;
    int fd = -1;
    char c = 0;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(fd_memfd("t", 4096, &fd), 0);
    assert_int_equal(fd_pwrite_all(fd, "hi", 2, 100), 0);
    assert_int_equal(fd_send_with(pair[0], "x", 1, &fd, 1), 1);
    assert_int_equal(fd_recv_with(pair[1], &c, 1, got, 4, &n), 1);
    assert_int_equal(n, 1);
    assert_int_equal(fd_pread_all(got[0], &c, 1, 101), 0);
    assert_int_equal(c, 'i');
    assert_int_equal(fd_pread_all(got[0], &c, 1, 4096), -ENODATA);
    (void)close(got[0]);
    (void)close(fd);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(descriptors_travel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
