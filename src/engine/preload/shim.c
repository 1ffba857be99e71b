/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shim.c - what vireo-kvm preloads into a KVM client: the C library's calls on descriptors, of
 * which those that concern /dev/kvm and what was made from it go to the engine.
 *
 * mmap(), poll() and the like need no help: our descriptors are memory files.
 */
/* open and open64 are two symbols to answer for: no redirection of one to the other. */
#undef _FILE_OFFSET_BITS

#include "vireo/kvm.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* The next definition of this very function, looked up once. */
#define REAL(fn)                                                       \
    ({                                                                 \
        static __typeof__(&fn) real_;                                  \
        if (real_ == NULL) {                                           \
            real_ = (__typeof__(&fn))(uintptr_t)dlsym(RTLD_NEXT, #fn); \
        }                                                              \
        real_;                                                         \
    })

static bool is_kvm(const char *path)
{
    return path != NULL && strcmp(path, "/dev/kvm") == 0;
}

static mode_t mode_of(int flags, va_list ap)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
}

#define DEFINE_OPEN(name)                                                       \
    EXPORT int name(const char *path, int flags, ...)                           \
    {                                                                           \
        va_list ap;                                                             \
        mode_t mode;                                                            \
        va_start(ap, flags);                                                    \
        mode = mode_of(flags, ap);                                              \
        va_end(ap);                                                             \
        return is_kvm(path) ? vireo_kvm_open() : REAL(name)(path, flags, mode); \
    }
#define DEFINE_OPENAT(name)                                                          \
    EXPORT int name(int dir, const char *path, int flags, ...)                       \
    {                                                                                \
        va_list ap;                                                                  \
        mode_t mode;                                                                 \
        va_start(ap, flags);                                                         \
        mode = mode_of(flags, ap);                                                   \
        va_end(ap);                                                                  \
        return is_kvm(path) ? vireo_kvm_open() : REAL(name)(dir, path, flags, mode); \
    }

/* Fortified callers come through these. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

EXPORT int __open_2(const char *path, int flags)
{
    return is_kvm(path) ? vireo_kvm_open() : REAL(__open_2)(path, flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
    return is_kvm(path) ? vireo_kvm_open() : REAL(__open64_2)(path, flags);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
    return is_kvm(path) ? vireo_kvm_open() : REAL(__openat_2)(dir, path, flags);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
    return is_kvm(path) ? vireo_kvm_open() : REAL(__openat64_2)(dir, path, flags);
}

EXPORT int access(const char *path, int mode)
{
    return is_kvm(path) ? 0 : REAL(access)(path, mode);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    void *arg;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    return vireo_kvm_owns(fd) != 0 ? vireo_kvm_ioctl(fd, request, arg)
                                   : REAL(ioctl)(fd, request, arg);
}

/* The engine closes with close() too; by then the descriptor is no longer one of its own. */
EXPORT int close(int fd)
{
    return vireo_kvm_owns(fd) != 0 ? vireo_kvm_close(fd) : REAL(close)(fd);
}

static int adopt(int old_fd, int new_fd)
{
    if (new_fd >= 0 && vireo_kvm_owns(old_fd) != 0 && vireo_kvm_dup(old_fd, new_fd) < 0) {
        int saved = errno;

        (void)REAL(close)(new_fd);
        errno = saved;
        return -1;
    }
    return new_fd;
}

EXPORT int dup(int fd)
{
    return adopt(fd, REAL(dup)(fd));
}

EXPORT int dup2(int fd, int fd2)
{
    return adopt(fd, REAL(dup2)(fd, fd2));
}

EXPORT int dup3(int fd, int fd2, int flags)
{
    return adopt(fd, REAL(dup3)(fd, fd2, flags));
}

static int dup_command(int fd, int cmd, int new_fd)
{
    return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC ? adopt(fd, new_fd) : new_fd;
}

EXPORT int fcntl(int fd, int cmd, ...)
{
    va_list ap;
    void *arg;

    va_start(ap, cmd);
    arg = va_arg(ap, void *);
    va_end(ap);
    return dup_command(fd, cmd, REAL(fcntl)(fd, cmd, arg));
}

EXPORT int fcntl64(int fd, int cmd, ...)
{
    va_list ap;
    void *arg;

    va_start(ap, cmd);
    arg = va_arg(ap, void *);
    va_end(ap);
    return dup_command(fd, cmd, REAL(fcntl64)(fd, cmd, arg));
}
