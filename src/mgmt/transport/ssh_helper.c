/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/transport/ssh_helper.h"

#include "base/str.h"
#include "client/transport.h"
#include "client/uri.h"
#include "os/fd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

enum { COPY_BYTES = 65536 };

/* From one to the other: false at the end of either. */
static bool copy(int from, int to)
{
    uint8_t buf[COPY_BYTES];
    ssize_t n = read(from, buf, sizeof(buf));

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (n <= 0) {
        return false;
    }
    for (ssize_t at = 0; at < n;) {
        ssize_t done = write(to, buf + at, (size_t)(n - at));

        if (done < 0 && errno == EAGAIN) {
            struct pollfd p = { .fd = to, .events = POLLOUT };

            (void)poll(&p, 1, -1);
        } else if (done < 0 && errno != EINTR) {
            return false;
        }
        at += done > 0 ? done : 0;
    }
    return true;
}

int ssh_helper_run(int argc, char **argv, struct err **err)
{
    CLEANUP(transport_closep) struct transport *t = NULL;
    CLEANUP(uri_done) struct uri u = { 0 };
    bool readonly = argc > 1 && (str_eq(argv[1], "-r") || str_eq(argv[1], "--readonly"));
    struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .events = POLLIN } };
    int r;

    if (argc != (readonly ? 3 : 2)) {
        return err_set(err, EINVAL, "usage: virt-ssh-helper [-r] URI");
    }
    r = uri_parse(argv[argc - 1], &u, err);
    r = r == 0 ? transport_open(&u, readonly, &t, err) : r;
    if (r < 0) {
        return r;
    }
    p[1].fd = transport_fd(t);
    for (;;) {
        if (poll(p, 2, -1) < 0 && errno != EINTR) {
            return err_set(err, errno, "cannot wait for data: %s", strerror(errno));
        }
        if ((p[0].revents != 0 && !copy(STDIN_FILENO, p[1].fd)) ||
            (p[1].revents != 0 && !copy(p[1].fd, STDOUT_FILENO))) {
            return 0;
        }
    }
}
