/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/fd.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int fd_read_all(int fd, void *buf, size_t len)
{
    for (char *p = buf; len > 0;) {
        ssize_t n = read(fd, p, len);

        if (n == 0) {
            return -ENODATA;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int fd_write_all(int fd, const void *buf, size_t len)
{
    for (const char *p = buf; len > 0;) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int fd_pread_all(int fd, void *buf, size_t len, uint64_t off)
{
    for (char *p = buf; len > 0;) {
        ssize_t n = pread(fd, p, len, (off_t)off);

        if (n == 0) {
            return -ENODATA;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            off += (uint64_t)n;
        }
    }
    return 0;
}

int fd_pwrite_all(int fd, const void *buf, size_t len, uint64_t off)
{
    for (const char *p = buf; len > 0;) {
        ssize_t n = pwrite(fd, p, len, (off_t)off);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            off += (uint64_t)n;
        }
    }
    return 0;
}

int fd_slurp(int fd, size_t max, char **ret, size_t *ret_len)
{
    AUTO_FREE char *buf = NULL;
    size_t len = 0;
    size_t room = 0;

    for (;;) {
        ssize_t n;

        if (room - len < 2) {
            char *bigger;

            room = room != 0 ? room * 2 : 4096;
            bigger = realloc(buf, room);
            if (bigger == NULL) {
                return -ENOMEM;
            }
            buf = bigger;
        }
        n = read(fd, buf + len, room - len - 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
        if (len > max) {
            return -EFBIG;
        }
    }
    buf[len] = '\0';
    *ret = TAKE_PTR(buf);
    if (ret_len != NULL) {
        *ret_len = len;
    }
    return 0;
}

int file_slurp(const char *path, size_t max, char **ret, size_t *ret_len)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? -errno : fd_slurp(fd, max, ret, ret_len);
}

static int sync_folder(const char *path)
{
    AUTO_FREE char *copy = strdup(path);
    AUTO_FD int fd = -1;

    if (copy == NULL) {
        return -ENOMEM;
    }
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int file_replace(const char *path, const void *buf, size_t len, mode_t mode)
{
    AUTO_FREE char *temp = str_format("%s.XXXXXX", path);
    AUTO_FD int fd = -1;
    int r;

    if (temp == NULL) {
        return -ENOMEM;
    }
    fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    r = fd_write_all(fd, buf, len);
    if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(temp, path) < 0)) {
        r = -errno;
    }
    if (r < 0) {
        (void)unlink(temp);
        return r;
    }
    return sync_folder(path);
}

int fd_set_nonblock(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0) {
        return -errno;
    }
    flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int fd_memfd(const char *name, uint64_t size, int *ret)
{
    AUTO_FD int fd = memfd_create(name, MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
        return -errno;
    }
    *ret = TAKE_FD(fd);
    return 0;
}

enum { MAX_PASSED = 64 };

ssize_t fd_send_with(int sock, const void *buf, size_t len, const int *fds, size_t n_fds)
{
    struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    union {
        struct cmsghdr hdr;
        char space[CMSG_SPACE(sizeof(int) * MAX_PASSED)];
    } ctl = { .space = { 0 } };
    ssize_t n;

    if (n_fds > MAX_PASSED) {
        return -E2BIG;
    }
    if (n_fds > 0) {
        msg.msg_control = &ctl;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        ctl.hdr.cmsg_level = SOL_SOCKET;
        ctl.hdr.cmsg_type = SCM_RIGHTS;
        ctl.hdr.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(&ctl.hdr), fds, sizeof(int) * n_fds);
    }
    do {
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t fd_recv_with(int sock, void *buf, size_t len, int *fds, size_t max_fds, size_t *ret_n_fds)
{
    struct iovec iov = { .iov_base = buf, .iov_len = len };
    union {
        struct cmsghdr hdr;
        char space[CMSG_SPACE(sizeof(int) * MAX_PASSED)];
    } ctl;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof(ctl)
    };
    size_t got = 0;
    ssize_t n;

    do {
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (got < max_fds) {
                fds[got++] = fd;
            } else {
                (void)close(fd);
            }
        }
    }
    *ret_n_fds = got;
    return n;
}

int fd_close_from(int first, const int *keep, size_t n_keep)
{
    unsigned from = (unsigned)first;

    for (size_t i = 0; i < n_keep; i++) {
        if (keep[i] < first) {
            continue;
        }
        if ((unsigned)keep[i] > from &&
            syscall(SYS_close_range, from, (unsigned)keep[i] - 1, 0) < 0) {
            return -errno;
        }
        from = (unsigned)keep[i] + 1;
    }
    return syscall(SYS_close_range, from, UINT_MAX, 0) < 0 ? -errno : 0;
}

static fd_opener_fn *opener;
static void *opener_arg;

void fd_set_opener(fd_opener_fn *fn, void *arg)
{
    opener = fn;
    opener_arg = arg;
}

int fd_open(const char *path, int flags, unsigned mode)
{
    int fd;

    if (opener != NULL) {
        return opener(opener_arg, path, flags, mode);
    }
    fd = open(path, flags | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}
