/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * p9.c - the messages of 9P2000.L (the protocol of Linux's v9fs; diod's protocol.md describes it).
 *
 * A fid is an O_PATH descriptor, and once opened a second one for reading and writing, or a
 * folder's stream. Byte-range locks are granted without being taken on the host, extended
 * attributes are not there, and what new kernels ask for by name at a folder (renameat, unlinkat)
 * is not answered in the old way, by fid.
 */
#include "vmm/dev/virtio/p9.h"

#include "base/bytes.h"
#include "base/own.h"
#include "vmm/dev/virtio/p9_call.h"
#include "vmm/mem/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

enum {
    T_LERROR = 6,
    T_STATFS = 8,
    T_LOPEN = 12,
    T_LCREATE = 14,
    T_SYMLINK = 16,
    T_MKNOD = 18,
    T_READLINK = 22,
    T_GETATTR = 24,
    T_SETATTR = 26,
    T_READDIR = 40,
    T_FSYNC = 50,
    T_LOCK = 52,
    T_GETLOCK = 54,
    T_LINK = 70,
    T_MKDIR = 72,
    T_RENAMEAT = 74,
    T_UNLINKAT = 76,
    T_VERSION = 100,
    T_ATTACH = 104,
    T_FLUSH = 108,
    T_WALK = 110,
    T_READ = 116,
    T_WRITE = 118,
    T_CLUNK = 120,
};

/* ---- the host's files ---- */

static int result(int r)
{
    return r < 0 ? -errno : 0;
}

static int may_write(const struct p9_call *c)
{
    return c->p->read_only ? -EROFS : 0;
}

static int open_name(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

/* The O_PATH descriptor as a real one. */
static int reopen(const struct p9 *p, int fd, int flags)
{
    char name[16];
    int r;

    (void)snprintf(name, sizeof(name), "%d", fd);
    r = openat(p->proc_fd, name, flags | O_CLOEXEC | O_NONBLOCK);
    return r < 0 ? -errno : r;
}

/* Linux's open flags, as the protocol carries them, that we pass on. */
static int host_flags(uint32_t flags)
{
    return (int)(flags & (O_ACCMODE | O_APPEND | O_TRUNC | O_DSYNC | O_SYNC | O_NOATIME));
}

/* What was made belongs to whom the guest says, where we may say so. */
static void give(const struct p9_fid *dir, const char *name, uint32_t gid)
{
    if (geteuid() == 0) {
        (void)!fchownat(dir->fd, name, dir->uid, gid, AT_SYMLINK_NOFOLLOW);
    }
}

static int put_made(struct p9_call *c, const struct p9_fid *dir, const char *name, uint32_t gid)
{
    AUTO_FD int fd = -1;

    give(dir, name, gid);
    fd = open_name(dir->fd, name);
    return fd < 0 ? fd : p9_put_qid_of(c, fd);
}

/* ---- messages: 0, or a negative errno for Rlerror ---- */

static int op_version(struct p9_call *c)
{
    char version[32];
    uint32_t msize = p9_get4(c);

    p9_get_text(c, version, sizeof(version) - 1);
    if (c->bad || msize < P9_MSIZE_MIN) {
        return -EINVAL;
    }
    p9_reset(c->p);
    c->p->msize = msize < P9_MSIZE_MAX ? msize : P9_MSIZE_MAX;
    p9_put4(c, c->p->msize);
    if (strcmp(version, "9P2000.L") == 0) {
        p9_put_text(c, version, strlen(version));
    } else {
        p9_put_text(c, "unknown", 7);
    }
    return 0;
}

static int op_attach(struct p9_call *c)
{
    uint32_t id = p9_get4(c), uid;
    char text[P9_NAME_LEN + 1];
    int fd, r;

    (void)p9_get4(c); /* afid */
    p9_get_text(c, text, P9_NAME_LEN);
    p9_get_text(c, text, P9_NAME_LEN);
    uid = p9_get4(c);
    if (c->bad) {
        return -EINVAL;
    }
    fd = fcntl(c->p->root_fd, F_DUPFD_CLOEXEC, 3);
    r = fd < 0 ? -errno : p9_fid_add(c->p, id, fd, uid);
    return r < 0 ? r : p9_put_qid_of(c, c->p->root_fd);
}

static int op_walk(struct p9_call *c)
{
    struct p9_fid *from = p9_get_fid(c);
    uint32_t to = p9_get4(c);
    unsigned n = p9_get2(c), done = 0;
    AUTO_FD int fd = -1;
    size_t count_at = c->used;
    int r = 0;

    if (c->bad || from == NULL || n > P9_MAX_WALK) {
        return from == NULL ? -EBADF : -EINVAL;
    }
    p9_put2(c, 0);
    fd = fcntl(from->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        return -errno;
    }
    for (; done < n && r == 0; done += r == 0) {
        char name[P9_NAME_LEN + 1];
        int next;

        p9_get_name(c, name);
        next = c->bad ? -ENOENT : open_name(fd, name);
        c->bad = false;
        r = next < 0 ? next : 0;
        if (r == 0) {
            (void)close(fd);
            fd = next;
            r = p9_put_qid_of(c, fd);
        }
    }
    if (done < n) {
        if (done == 0) {
            return r;
        }
        le16_put(c->reply + count_at, (uint16_t)done); /* as far as it went; newfid is not made */
        return 0;
    }
    le16_put(c->reply + count_at, (uint16_t)n);
    if (to == from->id) {
        struct p9_fid **slot = p9_fid_slot(c->p, to);
        uint32_t uid = from->uid;

        if (from->open_fd >= 0 || from->dir != NULL) {
            return -EBADF;
        }
        p9_fid_free(c->p, slot);
        return p9_fid_add(c->p, to, TAKE_FD(fd), uid);
    }
    return p9_fid_add(c->p, to, TAKE_FD(fd), from->uid);
}

static int open_fid(struct p9_call *c, struct p9_fid *f, int flags)
{
    struct stat st;
    int fd;

    if (f->open_fd >= 0 || f->dir != NULL) {
        return -EBADF;
    }
    if (fstat(f->fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        return -EACCES; /* devices and pipes of the host are not the guest's */
    }
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) {
        int r = may_write(c);

        if (r < 0) {
            return r;
        }
    }
    fd = reopen(c->p, f->fd, S_ISDIR(st.st_mode) ? O_RDONLY | O_DIRECTORY : flags);
    if (fd < 0) {
        return fd;
    }
    if (!S_ISDIR(st.st_mode)) {
        f->open_fd = fd;
        return 0;
    }
    f->dir = fdopendir(fd);
    if (f->dir == NULL) {
        int r = -errno;

        (void)close(fd);
        return r;
    }
    return 0;
}

static int put_opened(struct p9_call *c, const struct p9_fid *f)
{
    int r = p9_put_qid_of(c, f->fd);

    p9_put4(c, 0); /* iounit: the client's choice */
    return r;
}

static int op_lopen(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    int flags = host_flags(p9_get4(c)), r;

    if (c->bad || f == NULL) {
        return -EBADF;
    }
    r = open_fid(c, f, flags);
    return r < 0 ? r : put_opened(c, f);
}

static int op_lcreate(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    char name[P9_NAME_LEN + 1];
    uint32_t flags, mode, gid;
    AUTO_FD int fd = -1, path = -1;
    struct stat st;

    p9_get_name(c, name);
    flags = p9_get4(c);
    mode = p9_get4(c);
    gid = p9_get4(c);
    if (c->bad || f == NULL || f->open_fd >= 0 || f->dir != NULL) {
        return c->bad ? -EINVAL : -EBADF;
    }
    if (may_write(c) < 0) {
        return -EROFS;
    }
    if (fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode)) {
        return -EEXIST; /* what is there already is no file to open, as in open_fid() */
    }
    fd = openat(f->fd, name,
                host_flags(flags) | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK |
                    (int)(flags & O_EXCL),
                mode & 07777);
    if (fd < 0) {
        return -errno;
    }
    give(f, name, gid);
    path = open_name(f->fd, name);
    if (path < 0) {
        return path;
    }
    (void)close(f->fd); /* the fid is the new file from now on */
    f->fd = TAKE_FD(path);
    f->open_fd = TAKE_FD(fd);
    return put_opened(c, f);
}

static int op_symlink(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    char name[P9_NAME_LEN + 1], target[4096];
    uint32_t gid;

    p9_get_name(c, name);
    p9_get_text(c, target, sizeof(target) - 1);
    gid = p9_get4(c);
    if (c->bad || f == NULL) {
        return -EINVAL;
    }
    if (may_write(c) < 0 || symlinkat(target, f->fd, name) < 0) {
        return c->p->read_only ? -EROFS : -errno;
    }
    return put_made(c, f, name, gid);
}

static int op_mknod(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    char name[P9_NAME_LEN + 1];
    uint32_t mode, gid;

    p9_get_name(c, name);
    mode = p9_get4(c);
    (void)p9_get8(c); /* major and minor */
    gid = p9_get4(c);
    if (c->bad || f == NULL) {
        return -EINVAL;
    }
    if (S_ISCHR(mode) || S_ISBLK(mode)) {
        return -EPERM; /* no device of the host by a guest's word */
    }
    if (may_write(c) < 0 || mknodat(f->fd, name, mode, 0) < 0) {
        return c->p->read_only ? -EROFS : -errno;
    }
    return put_made(c, f, name, gid);
}

static int op_mkdir(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    char name[P9_NAME_LEN + 1];
    uint32_t mode, gid;

    p9_get_name(c, name);
    mode = p9_get4(c);
    gid = p9_get4(c);
    if (c->bad || f == NULL) {
        return -EINVAL;
    }
    if (may_write(c) < 0 || mkdirat(f->fd, name, mode & 07777) < 0) {
        return c->p->read_only ? -EROFS : -errno;
    }
    return put_made(c, f, name, gid);
}

static int op_link(struct p9_call *c)
{
    struct p9_fid *dir = p9_get_fid(c), *f = p9_get_fid(c);
    char name[P9_NAME_LEN + 1], source[16];

    p9_get_name(c, name);
    if (c->bad || dir == NULL || f == NULL) {
        return -EINVAL;
    }
    (void)snprintf(source, sizeof(source), "%d", f->fd);
    return may_write(c) < 0
               ? -EROFS
               : result(linkat(c->p->proc_fd, source, dir->fd, name, AT_SYMLINK_FOLLOW));
}

static int op_renameat(struct p9_call *c)
{
    struct p9_fid *from = p9_get_fid(c), *to;
    char old[P9_NAME_LEN + 1], new[P9_NAME_LEN + 1];

    p9_get_name(c, old);
    to = p9_get_fid(c);
    p9_get_name(c, new);
    if (c->bad || from == NULL || to == NULL) {
        return -EINVAL;
    }
    return may_write(c) < 0 ? -EROFS : result(renameat(from->fd, old, to->fd, new));
}

static int op_unlinkat(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    char name[P9_NAME_LEN + 1];
    uint32_t flags;

    p9_get_name(c, name);
    flags = p9_get4(c);
    if (c->bad || f == NULL) {
        return -EINVAL;
    }
    return may_write(c) < 0 ? -EROFS : result(unlinkat(f->fd, name, (int)flags & AT_REMOVEDIR));
}

static int op_readlink(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    char target[4096];
    ssize_t n;

    if (f == NULL) {
        return -EBADF;
    }
    n = readlinkat(f->fd, "", target, sizeof(target));
    if (n < 0) {
        return -errno;
    }
    p9_put_text(c, target, (size_t)n);
    return 0;
}

static void put_time(struct p9_call *c, const struct timespec *t)
{
    p9_put8(c, (uint64_t)t->tv_sec);
    p9_put8(c, (uint64_t)t->tv_nsec);
}

static int op_getattr(struct p9_call *c)
{
    static const struct timespec none;
    struct p9_fid *f = p9_get_fid(c);
    struct stat st;

    if (f == NULL) {
        return -EBADF;
    }
    if (fstat(f->open_fd >= 0 ? f->open_fd : f->fd, &st) < 0) {
        return -errno;
    }
    p9_put8(c, 0x7ff); /* valid: all but creation time, generation and data version */
    p9_put_qid(c, &st);
    p9_put4(c, st.st_mode);
    p9_put4(c, st.st_uid);
    p9_put4(c, st.st_gid);
    p9_put8(c, st.st_nlink);
    p9_put8(c, st.st_rdev);
    p9_put8(c, (uint64_t)st.st_size);
    p9_put8(c, (uint64_t)st.st_blksize);
    p9_put8(c, (uint64_t)st.st_blocks);
    put_time(c, &st.st_atim);
    put_time(c, &st.st_mtim);
    put_time(c, &st.st_ctim);
    put_time(c, &none);
    p9_put8(c, 0);
    p9_put8(c, 0);
    return 0;
}

static int truncate_fid(struct p9_call *c, const struct p9_fid *f, uint64_t size)
{
    AUTO_FD int fd = -1;

    if (f->open_fd >= 0 && ftruncate(f->open_fd, (off_t)size) == 0) {
        return 0;
    }
    fd = reopen(c->p, f->fd, O_WRONLY);
    return fd < 0 ? fd : result(ftruncate(fd, (off_t)size));
}

static struct timespec wanted_time(uint32_t valid, uint32_t change, uint32_t set, uint64_t sec,
                                   uint64_t nsec)
{
    if ((valid & change) == 0) {
        return (struct timespec) { .tv_nsec = UTIME_OMIT };
    }
    if ((valid & set) == 0) {
        return (struct timespec) { .tv_nsec = UTIME_NOW };
    }
    return (struct timespec) { .tv_sec = (time_t)sec, .tv_nsec = (long)(nsec % 1000000000) };
}

static int op_setattr(struct p9_call *c)
{
    enum {
        MODE = 1,
        UID = 2,
        GID = 4,
        SIZE = 8,
        ATIME = 16,
        MTIME = 32,
        ATIME_SET = 128,
        MTIME_SET = 256
    };
    struct p9_fid *f = p9_get_fid(c);
    uint32_t valid = p9_get4(c), mode = p9_get4(c), uid = p9_get4(c), gid = p9_get4(c);
    uint64_t size = p9_get8(c), t[4];
    char name[16];
    int r;

    for (unsigned i = 0; i < 4; i++) {
        t[i] = p9_get8(c);
    }
    if (c->bad || f == NULL) {
        return -EINVAL;
    }
    r = may_write(c);
    (void)snprintf(name, sizeof(name), "%d", f->fd);
    if (r == 0 && (valid & (UID | GID)) != 0) {
        r = result(fchownat(f->fd, "", (valid & UID) != 0 ? uid : (uid_t)-1,
                            (valid & GID) != 0 ? gid : (gid_t)-1, AT_EMPTY_PATH));
    }
    if (r == 0 && (valid & MODE) != 0) {
        r = result(fchmodat(c->p->proc_fd, name, mode & 07777, 0));
    }
    if (r == 0 && (valid & SIZE) != 0) {
        r = truncate_fid(c, f, size);
    }
    if (r == 0 && (valid & (ATIME | MTIME)) != 0) {
        struct timespec times[2] = { wanted_time(valid, ATIME, ATIME_SET, t[0], t[1]),
                                     wanted_time(valid, MTIME, MTIME_SET, t[2], t[3]) };

        r = result(utimensat(c->p->proc_fd, name, times, 0));
    }
    return r;
}

/* How much data an answer may carry, of what the guest asks. */
static size_t data_room(const struct p9_call *c, uint32_t count)
{
    size_t room = c->room - c->used - 4;

    return count < room ? count : room;
}

static int op_readdir(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    uint64_t offset = p9_get8(c);
    size_t room, start;
    struct dirent *d;

    if (c->bad || f == NULL || f->dir == NULL) {
        return -EBADF;
    }
    room = data_room(c, p9_get4(c));
    p9_put4(c, 0);
    start = c->used;
    if (offset == 0) {
        rewinddir(f->dir);
    } else {
        seekdir(f->dir, (long)offset);
    }
    while ((d = readdir(f->dir)) != NULL) {
        size_t len = strlen(d->d_name);

        if (c->used - start + P9_QID_LEN + 11 + len > room) {
            break;
        }
        p9_put1(c, d->d_type == DT_DIR ? P9_QID_DIR : d->d_type == DT_LNK ? P9_QID_LINK : 0);
        p9_put4(c, 0);
        p9_put8(c, d->d_ino);
        p9_put8(c, (uint64_t)d->d_off);
        p9_put1(c, d->d_type);
        p9_put_text(c, d->d_name, len);
    }
    le32_put(c->reply + start - 4, (uint32_t)(c->used - start));
    return 0;
}

static int op_read(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    uint64_t offset = p9_get8(c);
    size_t room = data_room(c, p9_get4(c));
    ssize_t n;

    if (c->bad || f == NULL || f->open_fd < 0 || offset > INT64_MAX) {
        return -EBADF;
    }
    n = pread(f->open_fd, c->reply + c->used + 4, room, (off_t)offset);
    if (n < 0) {
        return -errno;
    }
    p9_put4(c, (uint32_t)n);
    (void)p9_put(c, (size_t)n);
    return 0;
}

static int op_write(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    uint64_t offset = p9_get8(c);
    uint32_t count = p9_get4(c);
    const uint8_t *data = p9_take(c, count);
    ssize_t n;

    if (c->bad || f == NULL || f->open_fd < 0 || offset > INT64_MAX) {
        return -EBADF;
    }
    n = pwrite(f->open_fd, data, count, (off_t)offset);
    if (n < 0) {
        return -errno;
    }
    p9_put4(c, (uint32_t)n);
    return 0;
}

static int op_fsync(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    uint32_t data_only = p9_get4(c);

    if (c->bad || f == NULL) {
        return -EBADF;
    }
    if (f->open_fd < 0) {
        return 0;
    }
    return result(data_only != 0 ? fdatasync(f->open_fd) : fsync(f->open_fd));
}

static int op_statfs(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    struct statfs s;

    if (f == NULL) {
        return -EBADF;
    }
    if (fstatfs(f->fd, &s) < 0) {
        return -errno;
    }
    p9_put4(c, 0x01021997); /* V9FS_MAGIC */
    p9_put4(c, (uint32_t)s.f_bsize);
    p9_put8(c, s.f_blocks);
    p9_put8(c, s.f_bfree);
    p9_put8(c, s.f_bavail);
    p9_put8(c, s.f_files);
    p9_put8(c, s.f_ffree);
    p9_put8(c, 0);
    p9_put4(c, P9_NAME_LEN);
    return 0;
}

static int op_lock(struct p9_call *c)
{
    if (p9_get_fid(c) == NULL) {
        return -EBADF;
    }
    p9_put1(c, 0); /* success */
    return 0;
}

static int op_getlock(struct p9_call *c)
{
    struct p9_fid *f = p9_get_fid(c);
    uint64_t start, length;
    uint32_t proc;
    char client[P9_NAME_LEN + 1];

    (void)p9_get1(c);
    start = p9_get8(c);
    length = p9_get8(c);
    proc = p9_get4(c);
    p9_get_text(c, client, P9_NAME_LEN);
    if (c->bad || f == NULL) {
        return -EBADF;
    }
    p9_put1(c, 2); /* unlocked */
    p9_put8(c, start);
    p9_put8(c, length);
    p9_put4(c, proc);
    p9_put_text(c, client, strlen(client));
    return 0;
}

static int op_clunk(struct p9_call *c)
{
    struct p9_fid **slot = p9_fid_slot(c->p, p9_get4(c));

    if (c->bad || *slot == NULL) {
        return -EBADF;
    }
    p9_fid_free(c->p, slot);
    return 0;
}

static int op_flush(struct p9_call *c)
{
    (void)c; /* one request at a time: what could be flushed is answered */
    return 0;
}

static int (*op_of(uint8_t type))(struct p9_call *c)
{
    static int (*const ops[256])(struct p9_call * c) = {
        [T_STATFS] = op_statfs,     [T_LOPEN] = op_lopen,     [T_LCREATE] = op_lcreate,
        [T_SYMLINK] = op_symlink,   [T_MKNOD] = op_mknod,     [T_READLINK] = op_readlink,
        [T_GETATTR] = op_getattr,   [T_SETATTR] = op_setattr, [T_READDIR] = op_readdir,
        [T_FSYNC] = op_fsync,       [T_LOCK] = op_lock,       [T_GETLOCK] = op_getlock,
        [T_LINK] = op_link,         [T_MKDIR] = op_mkdir,     [T_RENAMEAT] = op_renameat,
        [T_UNLINKAT] = op_unlinkat, [T_VERSION] = op_version, [T_ATTACH] = op_attach,
        [T_FLUSH] = op_flush,       [T_WALK] = op_walk,       [T_READ] = op_read,
        [T_WRITE] = op_write,       [T_CLUNK] = op_clunk,
    };

    return ops[type];
}

size_t p9_serve(struct p9 *p, const struct iovec *out, unsigned n_out, const struct iovec *in,
                unsigned n_in)
{
    size_t len = iov_size(out, n_out), room = iov_size(in, n_in);
    struct p9_call c = { .p = p };
    AUTO_FREE uint8_t *request = NULL, *reply = NULL;
    int (*op)(struct p9_call * c);
    int r;

    len = len < p->msize ? len : p->msize;
    room = room < p->msize ? room : p->msize;
    if (len < P9_HEADER || room < P9_HEADER + 4) {
        return 0;
    }
    request = malloc(len);
    reply = malloc(room);
    if (request == NULL || reply == NULL) {
        return 0;
    }
    (void)iov_read(out, n_out, 0, request, len);
    c.in = request;
    c.len = le32_get(request) < len ? le32_get(request) : len;
    c.len = c.len < P9_HEADER ? P9_HEADER : c.len;
    c.at = P9_HEADER;
    c.reply = reply;
    c.room = room;
    c.used = P9_HEADER;
    op = op_of(request[4]);
    r = op != NULL ? op(&c) : -EOPNOTSUPP;
    if (r == 0 && c.bad) {
        r = -EIO; /* the answer has no room */
    }
    reply[4] = request[4] + 1;
    if (r < 0) {
        c.used = P9_HEADER + 4;
        reply[4] = T_LERROR + 1;
        le32_put(reply + P9_HEADER, (uint32_t)-r);
    }
    le32_put(reply, (uint32_t)c.used);
    memcpy(reply + 5, request + 5, 2);
    return iov_write(in, n_in, 0, reply, c.used);
}

void p9_reset(struct p9 *p)
{
    for (unsigned b = 0; b < P9_BUCKETS; b++) {
        while (p->fids[b] != NULL) {
            p9_fid_free(p, &p->fids[b]);
        }
    }
    p->msize = P9_MSIZE_MAX;
}

int p9_new(const char *path, bool read_only, struct p9 **ret, struct err **err)
{
    struct p9 *p = calloc(1, sizeof(*p));

    if (p == NULL) {
        return err_set(err, ENOMEM, "out of memory");
    }
    p->read_only = read_only;
    p->msize = P9_MSIZE_MAX;
    p->proc_fd = -1;
    p->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (p->root_fd >= 0) {
        p->proc_fd = open("/proc/self/fd", O_PATH | O_CLOEXEC);
    }
    if (p->root_fd < 0 || p->proc_fd < 0) {
        int e = errno;

        (void)p9_free(p);
        return err_set(err, e, "cannot share '%s': %s", path, strerror(e));
    }
    *ret = p;
    return 0;
}

struct p9 *p9_free(struct p9 *p)
{
    if (p != NULL) {
        p9_reset(p);
        close_fdp(&p->root_fd);
        close_fdp(&p->proc_fd);
        free(p);
    }
    return NULL;
}
