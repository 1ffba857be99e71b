/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file.c - a regular file or device of the host (filename=, locking=auto|on|off).
 *
 * Images are locked while in use (lock.h). With cache.direct=on the file is open with O_DIRECT;
 * what is not aligned goes through a buffer here, whole blocks at a time.
 */
#include "block/core/block.h"

#include "base/bytes.h"
#include "base/str.h"
#include "os/fd.h"
#include "block/core/image.h"
#include "block/core/iov.h"
#include "block/proto/lock.h"
#include "codec/keyval.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { DIRECT_ALIGN = 4096 };

struct file_node {
    struct block_node node;
    int fd;
    bool is_device;
    bool locking;
    bool no_zero_range; /* the file system cannot */
    bool no_punch;
    uint64_t length;
    uint64_t data_end; /* [data_start, data_end) was data when last asked: lseek is not free */
    uint64_t data_start;
    pthread_mutex_t lock; /* the two above, and unaligned writes */
};

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
    } else if (S_ISCHR(st.st_mode)) {
        off_t end = lseek(f->fd, 0, SEEK_END);

        f->is_device = true;
        size = end > 0 ? (uint64_t)end : 0;
    } else {
        return err_set(err, EINVAL, "it is neither a regular file nor a block device");
    }
    f->length = size;
    return 0;
}

static int lock_image(struct file_node *f, struct err **err)
{
    struct block_node *node = &f->node;
    unsigned perm = PERM_CONSISTENT_READ;
    unsigned shared = PERM_ALL;

    if (!f->locking || f->is_device) {
        return 0;
    }
    if (!node->read_only) {
        perm |= PERM_WRITE | PERM_RESIZE;
    }
    if (!node->force_share && (!node->shares_writes || !node->read_only)) {
        shared &= ~(unsigned)(PERM_WRITE | PERM_RESIZE);
    }
    if (node->is_backing) {
        shared = node->force_share ? PERM_ALL : PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED;
    }
    return image_lock(f->fd, node->filename, perm, shared, err);
}

static int file_share_writes(struct block_node *node, bool share, struct err **err)
{
    struct file_node *f = (struct file_node *)node;

    node->shares_writes = share;
    return lock_image(f, err);
}

static int file_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct file_node *f = (struct file_node *)node;
    const char *path = keyval_get(opts, "filename");
    const char *locking = keyval_get(opts, "locking");
    int flags = O_CLOEXEC | (node->read_only ? O_RDONLY : O_RDWR) | (node->direct ? O_DIRECT : 0);
    int r;

    (void)keyval_get(opts, "aio");
    (void)keyval_get(opts, "pr-manager");
    (void)keyval_get(opts, "x-check-cache-dropped");
    (void)keyval_get(opts, "drop-cache");
    f->fd = -1;
    (void)pthread_mutex_init(&f->lock, NULL);
    if (path == NULL) {
        return err_set(err, EINVAL, "A file name is missing: filename=");
    }
    if (str_starts(path, "file:")) {
        path += 5;
    }
    node->filename = strdup(path);
    if (node->filename == NULL) {
        return -ENOMEM;
    }
    f->fd = fd_open(path, flags, 0);
    if (f->fd < 0) {
        r = f->fd;
        f->fd = -1;
        return err_set(err, -r, "Could not open '%s': %s", path, strerror(-r));
    }
    r = file_size(f, err);
    if (r < 0) {
        err_prefix(err, "'%s': ", path);
        return r;
    }
    f->locking = locking == NULL || !str_eq(locking, "off");
    return lock_image(f, err);
}

/* A new descriptor with the other rights takes the number of the old one. */
static int file_reopen(struct block_node *node, bool read_only, struct err **err)
{
    struct file_node *f = (struct file_node *)node;
    AUTO_FD int fd = fd_open(
        node->filename, (read_only ? O_RDONLY : O_RDWR) | (node->direct ? O_DIRECT : 0), 0);
    int r;

    if (fd < 0) {
        return err_set(err, -fd, "Could not reopen '%s': %s", node->filename, strerror(-fd));
    }
    /* The old one's locks go with it. */
    if (f->locking && !f->is_device) {
        (void)!image_lock(f->fd, node->filename, 0, PERM_ALL, NULL);
    }
    if (dup3(fd, f->fd, O_CLOEXEC) < 0) {
        return err_set(err, errno, "Could not reopen '%s': %s", node->filename, strerror(errno));
    }
    node->read_only = read_only;
    r = lock_image(f, err);
    if (r < 0) {
        node->read_only = !read_only;
    }
    return r;
}

static void file_close(struct block_node *node)
{
    struct file_node *f = (struct file_node *)node;

    close_fdp(&f->fd);
    (void)pthread_mutex_destroy(&f->lock);
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
static int transfer_one(struct file_node *f, void *buf, size_t left, uint64_t off, bool write)
{
    uint8_t *p = buf;

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
    return 0;
}

static int transfer(struct file_node *f, const struct iovec *iov, unsigned n, uint64_t off,
                    bool write)
{
    while (n > 0) {
        unsigned batch = n > 1 ? (unsigned)min_u64(n, IOV_MAX) : 0;
        ssize_t done = batch == 0 ? 0
                       : write    ? pwritev(f->fd, iov, (int)batch, (off_t)off)
                                  : preadv(f->fd, iov, (int)batch, (off_t)off);
        size_t skip;

        if (done < 0 && errno != EINTR) {
            return -errno;
        }
        /* What one call did whole; the rest of a vector it cut, and single vectors, by themselves.
         */
        skip = done > 0 ? (size_t)done : 0;
        off += skip;
        while (n > 0 && skip >= iov->iov_len && (skip > 0 || iov->iov_len == 0)) {
            skip -= iov->iov_len;
            iov++;
            n--;
        }
        if (n > 0 && (skip > 0 || done <= 0)) {
            int r =
                transfer_one(f, (uint8_t *)iov->iov_base + skip, iov->iov_len - skip, off, write);

            if (r < 0) {
                return r;
            }
            off += iov->iov_len - skip;
            iov++;
            n--;
        }
    }
    return 0;
}

static bool is_aligned(const struct iovec *iov, unsigned n, uint64_t off)
{
    for (unsigned i = 0; i < n; i++) {
        if (((uintptr_t)iov[i].iov_base | iov[i].iov_len) % DIRECT_ALIGN != 0) {
            return false;
        }
    }
    return off % DIRECT_ALIGN == 0;
}

/* O_DIRECT wants aligned buffers: through one of ours, around which a write reads what it must not
 * change. */
static int transfer_direct(struct file_node *f, const struct iovec *iov, unsigned n, uint64_t off,
                           bool write)
{
    size_t len = iov_len(iov, n);
    uint64_t start = round_down_u64(off, DIRECT_ALIGN);
    size_t whole = round_up_u64(off + len, DIRECT_ALIGN) - start;
    AUTO_FREE void *bounce = NULL;
    int r = 0;

    if (is_aligned(iov, n, off)) {
        return transfer(f, iov, n, off, write);
    }
    if (posix_memalign(&bounce, DIRECT_ALIGN, whole) != 0) {
        return -ENOMEM;
    }
    if (!write) {
        r = transfer_one(f, bounce, whole, start, false);
        if (r == 0) {
            iov_from_buf(iov, n, 0, (uint8_t *)bounce + (off - start), len);
        }
        return r;
    }
    (void)pthread_mutex_lock(&f->lock);
    if (start != off || whole != len) {
        r = transfer_one(f, bounce, whole, start, false);
    }
    if (r == 0) {
        iov_to_buf(iov, n, 0, (uint8_t *)bounce + (off - start), len);
        r = transfer_one(f, bounce, whole, start, true);
    }
    /* The file ends where its last byte was written, not at the end of that block. */
    if (r == 0 && !f->is_device && start + whole > max_u64(f->length, off + len) &&
        ftruncate(f->fd, (off_t)max_u64(f->length, off + len)) < 0) {
        r = -errno;
    }
    (void)pthread_mutex_unlock(&f->lock);
    return r;
}

static int file_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct file_node *f = (struct file_node *)node;

    return node->direct ? transfer_direct(f, iov, n, off, false) : transfer(f, iov, n, off, false);
}

/* Growing happens by writing behind the end: formats allocate there. */
static void grown(struct file_node *f, uint64_t end)
{
    uint64_t old = __atomic_load_n(&f->length, __ATOMIC_RELAXED);

    while (end > old && !__atomic_compare_exchange_n(&f->length, &old, end, false, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED)) {
    }
}

static int file_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct file_node *f = (struct file_node *)node;
    int r = node->direct ? transfer_direct(f, iov, n, off, true) : transfer(f, iov, n, off, true);

    if (r == 0 && !f->is_device) {
        grown(f, off + iov_len(iov, n));
    }
    return r;
}

static void forget_data(struct file_node *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->data_start = f->data_end = 0;
    (void)pthread_mutex_unlock(&f->lock);
}

static int file_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    struct file_node *f = (struct file_node *)node;
    uint64_t length = __atomic_load_n(&f->length, __ATOMIC_RELAXED);

    if (f->is_device) {
        uint64_t range[2] = { off, len };

        if ((off | len) % BLOCK_SECTOR != 0) {
            return -ENOTSUP;
        }
        return ioctl(f->fd, BLKZEROOUT, range) == 0 ? 0 : -ENOTSUP;
    }
    forget_data(f);
    /* Behind the end the file grows by a hole, which is zeroes. */
    if (off >= length && ((flags & BLOCK_REQ_MAY_UNMAP) != 0 || f->no_zero_range)) {
        if (ftruncate(f->fd, (off_t)(off + len)) < 0) {
            return -errno;
        }
        grown(f, off + len);
        return 0;
    }
    if ((flags & BLOCK_REQ_MAY_UNMAP) != 0 && !f->no_punch) {
        if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) ==
            0) {
            if (off + len > length && ftruncate(f->fd, (off_t)(off + len)) < 0) {
                return -errno;
            }
            grown(f, off + len);
            return 0;
        }
        f->no_punch = errno == EOPNOTSUPP || errno == ENOSYS;
    }
    if (!f->no_zero_range) {
        if (fallocate(f->fd, FALLOC_FL_ZERO_RANGE, (off_t)off, (off_t)len) == 0) {
            grown(f, off + len);
            return 0;
        }
        if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) {
            return -errno;
        }
        f->no_zero_range = errno != EINVAL;
    }
    /* Without ZERO_RANGE (tmpfs): a hole, filled again. */
    if (!f->no_punch && off + len <= length &&
        fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) == 0 &&
        fallocate(f->fd, 0, (off_t)off, (off_t)len) == 0) {
        return 0;
    }
    return -ENOTSUP;
}

static int file_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    struct file_node *f = (struct file_node *)node;
    int r;

    forget_data(f);
    if (f->is_device) {
        uint64_t range[2] = { off, len };

        r = ioctl(f->fd, BLKDISCARD, range);
    } else {
        r = fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len);
    }
    return r == 0 || errno == EOPNOTSUPP || errno == ENOTTY || errno == ENOSYS || errno == EINVAL
               ? 0
               : -errno;
}

static int file_flush(struct block_node *node)
{
    if (node->no_flush) {
        return 0;
    }
    return fdatasync(((struct file_node *)node)->fd) < 0 ? -errno : 0;
}

static int write_out(struct file_node *f, uint64_t from, uint64_t to)
{
    enum { CHUNK = 1 << 20 };
    AUTO_FREE void *zeroes = calloc(1, CHUNK);
    int r = zeroes != NULL ? 0 : -ENOMEM;

    while (r == 0 && from < to) {
        size_t part = min_u64(CHUNK, to - from);

        r = transfer_one(f, zeroes, part, from, true);
        from += part;
    }
    return r == 0 && fsync(f->fd) < 0 ? -errno : r;
}

static int file_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                         struct err **err)
{
    struct file_node *f = (struct file_node *)node;
    uint64_t old = f->length;
    int r = 0;

    if (f->is_device) {
        return len > f->length ? err_set(err, EINVAL, "Cannot grow device files") : 0;
    }
    if (prealloc == BLOCK_PREALLOC_METADATA) {
        return err_set(err, ENOTSUP, "Unsupported preallocation mode 'metadata'");
    }
    if (len < old && prealloc != BLOCK_PREALLOC_OFF) {
        return err_set(err, ENOTSUP, "Preallocation can't be used for shrinking images");
    }
    forget_data(f);
    if (prealloc == BLOCK_PREALLOC_FALLOC && len > old) {
        r = fallocate(f->fd, 0, (off_t)old, (off_t)(len - old)) < 0 ? -errno : 0;
        if (r == -EOPNOTSUPP) {
            r = posix_fallocate(f->fd, (off_t)old, (off_t)(len - old));
            r = -r;
        }
        if (r < 0) {
            (void)!ftruncate(f->fd, (off_t)old);
            return err_set(err, -r, "Could not preallocate data for the new file: %s",
                           strerror(-r));
        }
    } else if (ftruncate(f->fd, (off_t)len) < 0) {
        return err_set(err, errno, "Failed to resize the file: %s", strerror(errno));
    } else if (prealloc == BLOCK_PREALLOC_FULL && len > old) {
        r = write_out(f, old, len);
        if (r < 0) {
            (void)!ftruncate(f->fd, (off_t)old);
            return err_set(err, -r, "Could not write zeros for preallocation: %s", strerror(-r));
        }
    }
    __atomic_store_n(&f->length, len, __ATOMIC_RELAXED);
    return 0;
}

static int file_status(struct block_node *node, uint64_t off, uint64_t len,
                       struct block_extent *ret)
{
    struct file_node *f = (struct file_node *)node;
    off_t data;
    off_t hole;

    *ret = (struct block_extent) { .len = len,
                                   .flags = BLOCK_DATA | BLOCK_ALLOCATED | BLOCK_OFFSET,
                                   .host = node,
                                   .host_off = off };
    if (f->is_device) {
        return 0;
    }
    (void)pthread_mutex_lock(&f->lock);
    if (off >= f->data_start && off < f->data_end) {
        ret->len = min_u64(len, f->data_end - off);
        (void)pthread_mutex_unlock(&f->lock);
        return 0;
    }
    (void)pthread_mutex_unlock(&f->lock);
    data = lseek(f->fd, (off_t)off, SEEK_DATA);
    if (data < 0 && errno != ENXIO) {
        return 0; /* cannot say: data */
    }
    if (data < 0 || (uint64_t)data > off) {
        ret->flags = BLOCK_ZERO | BLOCK_ALLOCATED | BLOCK_OFFSET;
        ret->len = data < 0 ? len : min_u64(len, (uint64_t)data - off);
        return 0;
    }
    hole = lseek(f->fd, (off_t)off, SEEK_HOLE);
    if (hole > (off_t)off) {
        ret->len = min_u64(len, (uint64_t)hole - off);
        (void)pthread_mutex_lock(&f->lock);
        f->data_start = off;
        f->data_end = (uint64_t)hole;
        (void)pthread_mutex_unlock(&f->lock);
    }
    return 0;
}

static int64_t file_allocated(struct block_node *node)
{
    struct stat st;

    return fstat(((struct file_node *)node)->fd, &st) < 0 ? -errno : (int64_t)st.st_blocks * 512;
}

static const struct block_opt file_create_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { "nocow", BLOCK_OPT_BOOL, "Turn off copy-on-write (valid only on btrfs)", NULL },
    { "preallocation", BLOCK_OPT_STR, "Preallocation mode (allowed values: off, falloc, full)",
      NULL },
    { "extent_size_hint", BLOCK_OPT_SIZE, "Extent size hint for the image file, 0 to disable",
      NULL },
    { 0 },
};

/* What a new file may want of its file system; where it cannot, nothing is lost. */
static void set_file_attributes(int fd, bool nocow, unsigned long long hint)
{
    struct fsxattr attr;
    int flags;

    if (nocow && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_NOCOW_FL;
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
    if (hint > 0 && hint <= UINT32_MAX && ioctl(fd, FS_IOC_FSGETXATTR, &attr) == 0) {
        attr.fsx_xflags |= FS_XFLAG_EXTSIZE;
        attr.fsx_extsize = (uint32_t)hint;
        (void)ioctl(fd, FS_IOC_FSSETXATTR, &attr);
    }
}

static int file_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                       struct keyval *opts, struct err **err)
{
    enum { DEFAULT_HINT = 1 << 20 };
    struct file_node f = { .fd = -1 };
    AUTO_FD int fd = -1;
    unsigned long long size = 0;
    unsigned long long hint = 0;
    bool nocow = false;
    enum block_prealloc prealloc;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    (void)ctx;
    (void)file;
    if (str_starts(filename, "file:")) {
        filename += 5;
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "nocow", false, &nocow, err);
    }
    if (r == 0) {
        r = keyval_get_size(opts, "extent_size_hint", DEFAULT_HINT, &hint, err);
    }
    if (r == 0) {
        r = block_prealloc_parse(keyval_get(opts, "preallocation"), &prealloc, err);
    }
    if (r < 0) {
        return r;
    }
    fd = fd_open(filename, O_RDWR | O_CREAT, 0644);
    if (fd < 0) {
        r = fd;
        fd = -1;
        return err_set(err, -r, "Could not create '%s': %s", filename, strerror(-r));
    }
    /* Nobody may be using what is about to be emptied. */
    r = image_lock(fd, filename, PERM_WRITE | PERM_RESIZE,
                   PERM_ALL & ~(unsigned)(PERM_WRITE | PERM_RESIZE), err);
    if (r < 0) {
        return r;
    }
    if (ftruncate(fd, 0) < 0) {
        return err_set(err, errno, "Could not empty '%s': %s", filename, strerror(errno));
    }
    set_file_attributes(fd, nocow, hint);
    f.fd = fd;
    f.node.filename = NULL;
    (void)pthread_mutex_init(&f.lock, NULL);
    r = file_truncate(&f.node, size, prealloc, err);
    (void)pthread_mutex_destroy(&f.lock);
    return r;
}

static const char *const file_schemes[] = { "file", NULL };

const struct block_driver block_file = {
    .name = "file",
    .is_protocol = true,
    .size = sizeof(struct file_node),
    .schemes = file_schemes,
    .open = file_open,
    .close = file_close,
    .reopen = file_reopen,
    .share_writes = file_share_writes,
    .length = file_length,
    .map = file_map,
    .preadv = file_preadv,
    .pwritev = file_pwritev,
    .write_zeroes = file_write_zeroes,
    .discard = file_discard,
    .flush = file_flush,
    .truncate = file_truncate,
    .status = file_status,
    .allocated = file_allocated,
    .create_opts = file_create_opts,
    .create = file_create,
};

static const char *const device_schemes[] = { "host_device", NULL };

static int device_parse_filename(const char *filename, struct keyval *opts, struct err **err)
{
    (void)err;
    return keyval_add(opts, "filename", strchr(filename, ':') + 1);
}

#define DEVICE_DRIVER(name_, schemes_)                                                             \
    {                                                                                              \
        .name = name_, .is_protocol = true, .size = sizeof(struct file_node), .schemes = schemes_, \
        .parse_filename = device_parse_filename, .open = file_open, .close = file_close,           \
        .length = file_length, .map = file_map, .preadv = file_preadv, .pwritev = file_pwritev,    \
        .write_zeroes = file_write_zeroes, .discard = file_discard, .flush = file_flush,           \
        .truncate = file_truncate, .status = file_status, .allocated = file_allocated,             \
    }

static const char *const cdrom_schemes[] = { "host_cdrom", NULL };
static const char *const floppy_schemes[] = { "host_floppy", NULL };

const struct block_driver block_host_device = DEVICE_DRIVER("host_device", device_schemes);
const struct block_driver block_host_cdrom = DEVICE_DRIVER("host_cdrom", cdrom_schemes);
const struct block_driver block_host_floppy = DEVICE_DRIVER("host_floppy", floppy_schemes);
