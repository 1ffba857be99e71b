/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file.c - a regular file or block device of the host (filename=, locking=auto|on|off).
 *
 * Images are locked by OFD locks while in use: shared for reading, exclusive for writing.
 */
#include "block/core/block.h"

#include "base/bytes.h"
#include "base/str.h"
#include "codec/keyval.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_node {
    struct block_node node;
    int fd;
    bool is_device;
    uint64_t length;
};

static int lock_image(int fd, bool write)
{
    struct flock lock = { .l_type = write ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };

    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static int file_size(struct file_node *f, struct err **err)
{
    struct stat st;
    uint64_t size = 0;

    if (fstat(f->fd, &st) < 0) {
        return err_set(err, errno, "cannot stat the file: %s", strerror(errno));
    }
    if (S_ISBLK(st.st_mode)) {
        f->is_device = true;
        if (ioctl(f->fd, BLKGETSIZE64, &size) < 0) {
            return err_set(err, errno, "cannot tell the device's size: %s", strerror(errno));
        }
    } else if (S_ISREG(st.st_mode)) {
        size = (uint64_t)st.st_size;
    } else {
        return err_set(err, EINVAL, "it is neither a regular file nor a block device");
    }
    f->length = size;
    return 0;
}

static int file_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct file_node *f = (struct file_node *)node;
    const char *path = keyval_get(opts, "filename");
    const char *locking = keyval_get(opts, "locking");
    int flags = O_CLOEXEC | (node->read_only ? O_RDONLY : O_RDWR) | (node->direct ? O_DIRECT : 0);
    int r;

    (void)keyval_get(opts, "aio");
    f->fd = -1;
    if (path == NULL) {
        return err_set(err, EINVAL, "filename= is missing");
    }
    if (str_starts(path, "file:")) {
        path += 5;
    }
    node->filename = strdup(path);
    f->fd = open(path, flags);
    if (f->fd < 0) {
        return err_set(err, errno, "cannot open '%s'%s: %s", path,
                       node->read_only ? "" : " for writing", strerror(errno));
    }
    r = file_size(f, err);
    if (r < 0) {
        err_prefix(err, "'%s': ", path);
        return r;
    }
    if (locking == NULL || !str_eq(locking, "off")) {
        r = lock_image(f->fd, !node->read_only);
        if (r == -EAGAIN || r == -EACCES) {
            return err_set(err, EBUSY, "'%s' is in use by another process (locked)", path);
        }
    }
    return 0;
}

static void file_close(struct block_node *node)
{
    close_fdp(&((struct file_node *)node)->fd);
}

static int64_t file_length(struct block_node *node)
{
    return (int64_t)((struct file_node *)node)->length;
}

static int file_map(struct block_node *node, enum block_op op, uint64_t off, uint64_t len,
                    struct block_map *ret)
{
    struct file_node *f = (struct file_node *)node;

    (void)len;
    /* What needs bounce buffers is for the blocking path. */
    if (node->direct && op != BLOCK_FLUSH) {
        return -EAGAIN;
    }
    *ret = (struct block_map) { .fd = f->fd, .off = off };
    return 0;
}

/* Whole transfers in either direction; a read behind the end gives zeroes. */
static int transfer(struct file_node *f, const struct iovec *iov, unsigned n, uint64_t off,
                    bool write)
{
    for (unsigned i = 0; i < n; i++) {
        uint8_t *p = iov[i].iov_base;
        size_t left = iov[i].iov_len;

        while (left > 0) {
            ssize_t done =
                write ? pwrite(f->fd, p, left, (off_t)off) : pread(f->fd, p, left, (off_t)off);

            if (done < 0 && errno == EINTR) {
                continue;
            }
            if (done < 0) {
                return -errno;
            }
            if (done == 0) {
                if (write) {
                    return -ENOSPC;
                }
                memset(p, 0, left);
                done = (ssize_t)left;
            }
            p += done;
            left -= (size_t)done;
            off += (uint64_t)done;
        }
    }
    return 0;
}

/* O_DIRECT wants aligned buffers: through one of ours. */
static int transfer_direct(struct file_node *f, const struct iovec *iov, unsigned n, uint64_t off,
                           bool write)
{
    enum { ALIGN = 4096 };
    size_t len = 0;
    size_t at = 0;
    AUTO_FREE void *bounce = NULL;
    struct iovec one;
    int r;

    for (unsigned i = 0; i < n; i++) {
        len += iov[i].iov_len;
    }
    if (posix_memalign(&bounce, ALIGN, round_up_u64(len, ALIGN)) != 0) {
        return -ENOMEM;
    }
    one = (struct iovec) { .iov_base = bounce, .iov_len = len };
    if (write) {
        for (unsigned i = 0; i < n; at += iov[i++].iov_len) {
            memcpy((uint8_t *)bounce + at, iov[i].iov_base, iov[i].iov_len);
        }
        return transfer(f, &one, 1, off, true);
    }
    r = transfer(f, &one, 1, off, false);
    for (unsigned i = 0; r == 0 && i < n; at += iov[i++].iov_len) {
        memcpy(iov[i].iov_base, (uint8_t *)bounce + at, iov[i].iov_len);
    }
    return r;
}

static int file_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct file_node *f = (struct file_node *)node;

    return node->direct ? transfer_direct(f, iov, n, off, false) : transfer(f, iov, n, off, false);
}

static int file_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct file_node *f = (struct file_node *)node;

    return node->direct ? transfer_direct(f, iov, n, off, true) : transfer(f, iov, n, off, true);
}

static int file_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    struct file_node *f = (struct file_node *)node;
    int mode = (flags & BLOCK_REQ_MAY_UNMAP) != 0 && node->discard_on
                   ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
                   : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;

    if (fallocate(f->fd, mode, (off_t)off, (off_t)len) == 0) {
        return 0;
    }
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL ? -ENOTSUP : -errno;
}

static int file_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    struct file_node *f = (struct file_node *)node;
    int r;

    if (f->is_device) {
        uint64_t range[2] = { off, len };

        r = ioctl(f->fd, BLKDISCARD, range);
    } else {
        r = fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len);
    }
    return r == 0 || errno == EOPNOTSUPP || errno == ENOTTY ? 0 : -errno;
}

static int file_flush(struct block_node *node)
{
    return fdatasync(((struct file_node *)node)->fd) < 0 ? -errno : 0;
}

static int file_truncate(struct block_node *node, uint64_t len)
{
    struct file_node *f = (struct file_node *)node;

    if (len > INT64_MAX || ftruncate(f->fd, (off_t)len) < 0) {
        return len > INT64_MAX ? -EFBIG : -errno;
    }
    f->length = len;
    return 0;
}

const struct block_driver block_file = {
    .name = "file",
    .is_protocol = true,
    .size = sizeof(struct file_node),
    .open = file_open,
    .close = file_close,
    .length = file_length,
    .map = file_map,
    .preadv = file_preadv,
    .pwritev = file_pwritev,
    .write_zeroes = file_write_zeroes,
    .discard = file_discard,
    .flush = file_flush,
    .truncate = file_truncate,
};
