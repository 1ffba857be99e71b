/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file.c - output to a file (path=, append=on), and the null back end. */
#include "vmm/char/chardev.h"

#include "base/str.h"
#include "codec/keyval.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct file_chr {
    struct chardev chr;
    struct chardev_stream s;
    int fd;
};

static int file_open(struct chardev *chr, struct keyval *opts, struct err **err)
{
    struct file_chr *c = (struct file_chr *)chr;
    const char *path = keyval_get(opts, "path");
    bool append = false;
    int r;

    c->fd = -1;
    c->s.fd_in = c->s.fd_out = -1;
    if (path == NULL) {
        return err_set(err, EINVAL, "path= is missing");
    }
    r = keyval_get_bool(opts, "append", false, &append, err);
    if (r < 0) {
        return r;
    }
    c->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0666);
    if (c->fd < 0) {
        return err_set(err, errno, "cannot open '%s': %s", path, strerror(errno));
    }
    chr->filename = str_format("file:%s", path);
    chr->opened = true;
    return chardev_stream_open(&c->s, chr, -1, c->fd, err);
}

static void file_close(struct chardev *chr)
{
    struct file_chr *c = (struct file_chr *)chr;

    chardev_stream_close(&c->s);
    close_fdp(&c->fd);
}

static void file_write(struct chardev *chr, const uint8_t *buf, size_t len)
{
    chardev_stream_write(&((struct file_chr *)chr)->s, buf, len);
}

static int null_open(struct chardev *chr, struct keyval *opts, struct err **err)
{
    (void)opts;
    (void)err;
    chr->filename = strdup("null");
    chr->opened = true;
    return 0;
}

static void null_close(struct chardev *chr)
{
    (void)chr;
}

static void null_write(struct chardev *chr, const uint8_t *buf, size_t len)
{
    (void)chr;
    (void)buf;
    (void)len;
}

const struct chardev_class chardev_file = {
    .name = "file",
    .desc = "output to a file",
    .size = sizeof(struct file_chr),
    .open = file_open,
    .close = file_close,
    .write = file_write,
};

const struct chardev_class chardev_null = {
    .name = "null",
    .desc = "nothing in, output dropped",
    .size = sizeof(struct chardev),
    .open = null_open,
    .close = null_close,
    .write = null_write,
};
