/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pty.c - a pseudo-terminal, whose name is printed and shown by query-chardev. */
#include "vmm/char/chardev.h"

#include "base/str.h"
#include "codec/keyval.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

struct pty_chr {
    struct chardev chr;
    struct chardev_stream s;
    int master;
    int slave; /* kept open, so that a client that leaves does not hang up the line */
};

static int pty_open(struct chardev *chr, struct keyval *opts, struct err **err)
{
    struct pty_chr *c = (struct pty_chr *)chr;
    char name[64];
    struct termios t;

    (void)opts;
    c->slave = -1;
    c->s.fd_in = c->s.fd_out = -1;
    c->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (c->master < 0 || grantpt(c->master) < 0 || unlockpt(c->master) < 0 ||
        ptsname_r(c->master, name, sizeof(name)) != 0) {
        return err_set(err, errno, "cannot make a pseudo-terminal: %s", strerror(errno));
    }
    c->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (c->slave >= 0 && tcgetattr(c->slave, &t) == 0) {
        cfmakeraw(&t);
        (void)tcsetattr(c->slave, TCSANOW, &t);
    }
    chr->filename = str_format("pty:%s", name);
    chr->opened = true;
    (void)fprintf(stderr, "char device redirected to %s (label %s)\n", name, chr->id);
    return chardev_stream_open(&c->s, chr, c->master, c->master, err);
}

static void pty_close(struct chardev *chr)
{
    struct pty_chr *c = (struct pty_chr *)chr;

    chardev_stream_close(&c->s);
    close_fdp(&c->slave);
    close_fdp(&c->master);
}

static void pty_write(struct chardev *chr, const uint8_t *buf, size_t len)
{
    chardev_stream_write(&((struct pty_chr *)chr)->s, buf, len);
}

static void pty_accept(struct chardev *chr)
{
    chardev_stream_accept(&((struct pty_chr *)chr)->s);
}

const struct chardev_class chardev_pty = {
    .name = "pty",
    .desc = "a pseudo-terminal",
    .size = sizeof(struct pty_chr),
    .open = pty_open,
    .close = pty_close,
    .write = pty_write,
    .accept_input = pty_accept,
};
