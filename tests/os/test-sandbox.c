/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "os/sandbox.h"

#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "unit.h"

/* Each case runs in a child, since nothing of a sandbox can be undone; the child's exit tells. */
static int in_child(int (*fn)(void))
{
    pid_t pid = fork();

    if (pid == 0) {
        _exit(fn());
    }
    return process_wait(pid);
}

static int only_null_opens(void)
{
    const struct sandbox_path paths[] = { { .path = "/dev/null", .write = true } };
    bool active = false;

    if (sandbox_files(paths, 1, &active, NULL) < 0) {
        return 1;
    }
    if (!active) {
        return 77;
    }
    if (open("/dev/null", O_RDWR | O_CLOEXEC) < 0) {
        return 2;
    }
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES ? 0 : 3;
}

static int socket_is_refused(void)
{
    const char *const names[] = { "exit_group", "write",        "sigaltstack", "mmap",
                                  "munmap",     "no_such_call", NULL };

    if (sandbox_syscalls(names, false, NULL) < 0) {
        return 1;
    }
    return socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM ? 0 : 2;
}

static void files(void **state)
{
    int r = in_child(only_null_opens);

    (void)state;
    if (r == 77) {
        skip();
    }
    assert_int_equal(r, 0);
}

static void syscalls(void **state)
{
    (void)state;
    assert_int_equal(in_child(socket_is_refused), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(syscalls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
