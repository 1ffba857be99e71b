/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuse.c - nodes are O_PATH descriptors found again by device and inode; node number 1 is the root.
 * Open files and folders are handles in a table.
 */
#include "vmm/dev/virtio/fuse.h"

#include "base/bytes.h"
#include "vmm/mem/gmem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MAX_NODES = 1 << 20,
    MAX_HANDLES = 1 << 16,
    HASH_SIZE = 4096,
    MAX_ARG = 4096 + 2 * 256 + 256, /* of requests other than WRITE: a path and two names */
    MAX_IO = 1 << 20,
    VALID_SEC = 1, /* how long the guest may believe what it knows */
    HEADER_OUT = sizeof(struct fuse_out_header),
    VECTOR_MAX = 1024,
    MAX_DIR_BYTES = 65536,
};

struct node {
    int fd; /* O_PATH; -1: free slot */
    uint64_t dev, ino;
    uint64_t lookups;
    uint32_t next; /* in the hash chain or free list; 0: end */
};

struct handle {
    int fd; /* -1: free slot, unless dir */
    DIR *dir;
};

struct fuse {
    int root_fd;
    int proc_fd; /* /proc/self/fd */
    bool read_only;
    uint64_t root_dev;
    struct node *nodes; /* owned; slot 0 is unused */
    uint32_t n_nodes;
    uint32_t free_node;
    uint32_t hash[HASH_SIZE];
    struct handle *handles; /* owned */
    uint32_t n_handles;
};

/* A request being served. */
struct call {
    struct fuse *f;
    struct fuse_in_header h;
    uint8_t arg[MAX_ARG + 1]; /* NUL-terminated copy of what follows the header */
    size_t arg_len;
    const struct iovec *out;
    unsigned n_out;
    const struct iovec *in;
    unsigned n_in;
    size_t in_size;
};

/* ---- nodes ---- */

static uint32_t bucket(uint64_t dev, uint64_t ino)
{
    return (uint32_t)((ino * 0x9e3779b97f4a7c15ull ^ dev) >> 20) % HASH_SIZE;
}

static struct node *node_get(struct fuse *f, uint64_t id)
{
    return id > 0 && id < f->n_nodes && f->nodes[id].fd >= 0 ? &f->nodes[id] : NULL;
}

static uint64_t node_slot(struct fuse *f)
{
    uint32_t id = f->free_node;

    if (id != 0) {
        f->free_node = f->nodes[id].next;
        return id;
    }
    if (f->n_nodes == MAX_NODES) {
        return 0;
    }
    return f->n_nodes++;
}

/* The node of that file, with one more lookup; takes over fd. 0 when there is no room. */
static uint64_t node_of(struct fuse *f, int fd, const struct stat *st)
{
    uint32_t b = bucket(st->st_dev, st->st_ino);
    uint64_t id;

    for (id = f->hash[b]; id != 0; id = f->nodes[id].next) {
        if (f->nodes[id].dev == st->st_dev && f->nodes[id].ino == st->st_ino) {
            (void)close(fd);
            f->nodes[id].lookups++;
            return id;
        }
    }
    id = node_slot(f);
    if (id == 0) {
        (void)close(fd);
        return 0;
    }
    f->nodes[id] = (struct node) {
        .fd = fd, .dev = st->st_dev, .ino = st->st_ino, .lookups = 1, .next = f->hash[b]
    };
    f->hash[b] = (uint32_t)id;
    return id;
}

static void node_forget(struct fuse *f, uint64_t id, uint64_t lookups)
{
    struct node *n = node_get(f, id);
    uint32_t *p;

    if (n == NULL || id == FUSE_ROOT_ID) {
        return;
    }
    n->lookups -= lookups < n->lookups ? lookups : n->lookups;
    if (n->lookups > 0) {
        return;
    }
    for (p = &f->hash[bucket(n->dev, n->ino)]; *p != id; p = &f->nodes[*p].next) {
    }
    *p = n->next;
    (void)close(n->fd);
    n->fd = -1;
    n->next = f->free_node;
    f->free_node = (uint32_t)id;
}

/* ---- handles ---- */

static int handle_new(struct fuse *f, int fd, DIR *dir, uint64_t *ret)
{
    uint32_t i;

    for (i = 0; i < f->n_handles; i++) {
        if (f->handles[i].fd < 0 && f->handles[i].dir == NULL) {
            break;
        }
    }
    if (i == f->n_handles) {
        uint32_t n = f->n_handles == 0 ? 64 : f->n_handles * 2;
        struct handle *more = n <= MAX_HANDLES ? reallocarray(f->handles, n, sizeof(*more)) : NULL;

        if (more == NULL) {
            return -ENFILE;
        }
        f->handles = more;
        for (uint32_t k = f->n_handles; k < n; k++) {
            f->handles[k] = (struct handle) { .fd = -1 };
        }
        f->n_handles = n;
    }
    f->handles[i] = (struct handle) { .fd = fd, .dir = dir };
    *ret = i;
    return 0;
}

static struct handle *handle_get(struct fuse *f, uint64_t fh, bool dir)
{
    struct handle *h = fh < f->n_handles ? &f->handles[fh] : NULL;

    return h != NULL && (dir ? h->dir != NULL : h->fd >= 0) ? h : NULL;
}

static void handle_close(struct handle *h)
{
    if (h->dir != NULL) {
        (void)closedir(h->dir);
    } else {
        (void)close(h->fd);
    }
    *h = (struct handle) { .fd = -1 };
}

/* ---- answers ---- */

static size_t answer(struct call *c, int error, const void *body, size_t len)
{
    struct fuse_out_header h = { .unique = c->h.unique, .error = error };

    if (error != 0 || HEADER_OUT + len > c->in_size) {
        h.error = error != 0 ? error : -EIO;
        len = 0;
    }
    h.len = (uint32_t)(HEADER_OUT + len);
    (void)iov_write(c->in, c->n_in, 0, &h, sizeof(h));
    if (len > 0) {
        (void)iov_write(c->in, c->n_in, HEADER_OUT, body, len);
    }
    return h.len;
}

/* The body is in place already. */
static size_t answer_in_place(struct call *c, size_t len)
{
    struct fuse_out_header h = { .unique = c->h.unique, .len = (uint32_t)(HEADER_OUT + len) };

    (void)iov_write(c->in, c->n_in, 0, &h, sizeof(h));
    return h.len;
}

static size_t done(struct call *c, int r)
{
    return answer(c, r < 0 ? -errno : 0, NULL, 0);
}

static void fill_attr(const struct fuse *f, const struct stat *st, struct fuse_attr *a)
{
    /* Files of other mounts below the root get numbers of their own. */
    uint64_t ino = st->st_dev == f->root_dev ? st->st_ino : st->st_ino ^ (uint64_t)st->st_dev << 40;

    *a = (struct fuse_attr) {
        .ino = ino,
        .size = (uint64_t)st->st_size,
        .blocks = (uint64_t)st->st_blocks,
        .atime = (uint64_t)st->st_atim.tv_sec,
        .mtime = (uint64_t)st->st_mtim.tv_sec,
        .ctime = (uint64_t)st->st_ctim.tv_sec,
        .atimensec = (uint32_t)st->st_atim.tv_nsec,
        .mtimensec = (uint32_t)st->st_mtim.tv_nsec,
        .ctimensec = (uint32_t)st->st_ctim.tv_nsec,
        .mode = st->st_mode,
        .nlink = (uint32_t)st->st_nlink,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .rdev = (uint32_t)st->st_rdev,
        .blksize = (uint32_t)st->st_blksize,
    };
}

/* ---- names ---- */

/* A name in the argument at off: no slash, not "." or "..". NULL when bad. */
static const char *name_at(const struct call *c, size_t off)
{
    const char *s = (const char *)c->arg + off;
    size_t len;

    if (off >= c->arg_len) {
        return NULL;
    }
    len = strnlen(s, c->arg_len - off);
    if (len == 0 || len > 255 || len == c->arg_len - off || memchr(s, '/', len) != NULL ||
        strcmp(s, ".") == 0 || strcmp(s, "..") == 0) {
        return NULL;
    }
    return s;
}

static int lookup(struct fuse *f, int dir_fd, const char *name, struct fuse_entry_out *e)
{
    AUTO_FD int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    *e = (struct fuse_entry_out) { .entry_valid = VALID_SEC, .attr_valid = VALID_SEC };
    fill_attr(f, &st, &e->attr);
    e->nodeid = node_of(f, TAKE_FD(fd), &st);
    return e->nodeid != 0 ? 0 : -ENFILE;
}

static size_t answer_entry(struct call *c, const struct node *dir, const char *name)
{
    struct fuse_entry_out e;
    int r = lookup(c->f, dir->fd, name, &e);

    return answer(c, r, &e, sizeof(e));
}

/* The O_PATH descriptor as a real one. */
static int reopen(const struct fuse *f, const struct node *n, int flags)
{
    char name[16];

    (void)snprintf(name, sizeof(name), "%d", n->fd);
    return openat(f->proc_fd, name, (flags & ~O_NOFOLLOW) | O_CLOEXEC | O_NONBLOCK);
}

/* ---- operations ---- */

static size_t op_init(struct call *c, struct node *n)
{
    struct fuse_init_in in = { 0 };
    struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION, .minor = 31 };
    const uint32_t wanted = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_DO_READDIRPLUS |
                            FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |
                            FUSE_AUTO_INVAL_DATA | FUSE_ASYNC_DIO | FUSE_ATOMIC_O_TRUNC |
                            FUSE_CACHE_SYMLINKS;

    (void)n;
    memcpy(&in, c->arg, c->arg_len < sizeof(in) ? c->arg_len : sizeof(in));
    if (in.major != FUSE_KERNEL_VERSION) {
        return answer(c, in.major > FUSE_KERNEL_VERSION ? 0 : -EPROTO, &out, sizeof(out));
    }
    out.max_readahead = in.max_readahead;
    out.flags = in.flags & wanted;
    out.max_background = 64;
    out.congestion_threshold = 48;
    out.max_write = MAX_IO;
    out.time_gran = 1;
    out.max_pages = MAX_IO / 4096;
    return answer(c, 0, &out, sizeof(out));
}

static size_t op_lookup(struct call *c, struct node *n)
{
    const char *name = name_at(c, 0);

    return name != NULL ? answer_entry(c, n, name) : answer(c, -EINVAL, NULL, 0);
}

static size_t op_forget(struct call *c, struct node *n)
{
    (void)n;
    if (c->arg_len >= sizeof(struct fuse_forget_in)) {
        node_forget(c->f, c->h.nodeid, le64_get(c->arg));
    }
    return 0;
}

static size_t op_batch_forget(struct call *c, struct node *n)
{
    uint32_t count = c->arg_len >= 8 ? le32_get(c->arg) : 0;

    (void)n;
    for (uint32_t i = 0; i < count; i++) {
        struct fuse_forget_one one;

        if (iov_read(c->out, c->n_out, sizeof(c->h) + 8 + (size_t)i * sizeof(one), &one,
                     sizeof(one)) != sizeof(one)) {
            break;
        }
        node_forget(c->f, one.nodeid, one.nlookup);
    }
    return 0;
}

static size_t answer_attr(struct call *c, int fd)
{
    struct fuse_attr_out out = { .attr_valid = VALID_SEC };
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return answer(c, -errno, NULL, 0);
    }
    fill_attr(c->f, &st, &out.attr);
    return answer(c, 0, &out, sizeof(out));
}

static size_t op_getattr(struct call *c, struct node *n)
{
    return answer_attr(c, n->fd);
}

static int set_times(struct fuse *f, const struct node *n, const struct fuse_setattr_in *in)
{
    struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
    char name[16];

    if ((in->valid & FATTR_ATIME_NOW) != 0) {
        t[0].tv_nsec = UTIME_NOW;
    } else if ((in->valid & FATTR_ATIME) != 0) {
        t[0] = (struct timespec) { (time_t)in->atime, in->atimensec };
    }
    if ((in->valid & FATTR_MTIME_NOW) != 0) {
        t[1].tv_nsec = UTIME_NOW;
    } else if ((in->valid & FATTR_MTIME) != 0) {
        t[1] = (struct timespec) { (time_t)in->mtime, in->mtimensec };
    }
    (void)snprintf(name, sizeof(name), "%d", n->fd);
    return utimensat(f->proc_fd, name, t, 0);
}

static int set_size(struct call *c, const struct node *n, const struct fuse_setattr_in *in)
{
    AUTO_FD int own = -1;
    struct handle *h = (in->valid & FATTR_FH) != 0 ? handle_get(c->f, in->fh, false) : NULL;

    if (h == NULL) {
        own = reopen(c->f, n, O_WRONLY);
        if (own < 0) {
            return -1;
        }
    }
    return ftruncate(h != NULL ? h->fd : own, (off_t)in->size);
}

static size_t op_setattr(struct call *c, struct node *n)
{
    struct fuse_setattr_in in;
    char name[16];
    int r = 0;

    if (c->arg_len < sizeof(in)) {
        return answer(c, -EINVAL, NULL, 0);
    }
    memcpy(&in, c->arg, sizeof(in));
    (void)snprintf(name, sizeof(name), "%d", n->fd);
    if ((in.valid & FATTR_MODE) != 0) {
        r = fchmodat(c->f->proc_fd, name, in.mode & 07777, 0);
    }
    if (r == 0 && (in.valid & (FATTR_UID | FATTR_GID)) != 0) {
        r = fchownat(n->fd, "", (in.valid & FATTR_UID) != 0 ? in.uid : (uid_t)-1,
                     (in.valid & FATTR_GID) != 0 ? in.gid : (gid_t)-1,
                     AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
    }
    if (r == 0 && (in.valid & FATTR_SIZE) != 0) {
        r = set_size(c, n, &in);
    }
    if (r == 0 && (in.valid & (FATTR_ATIME | FATTR_MTIME)) != 0) {
        r = set_times(c->f, n, &in);
    }
    return r < 0 ? answer(c, -errno, NULL, 0) : answer_attr(c, n->fd);
}

static size_t op_readlink(struct call *c, struct node *n)
{
    char target[4096];
    ssize_t len = readlinkat(n->fd, "", target, sizeof(target));

    return len < 0 ? answer(c, -errno, NULL, 0) : answer(c, 0, target, (size_t)len);
}

static size_t op_symlink(struct call *c, struct node *n)
{
    const char *name = name_at(c, 0);
    const char *target = name != NULL ? name + strlen(name) + 1 : NULL;

    if (target == NULL || target >= (const char *)c->arg + c->arg_len) {
        return answer(c, -EINVAL, NULL, 0);
    }
    return symlinkat(target, n->fd, name) < 0 ? answer(c, -errno, NULL, 0)
                                              : answer_entry(c, n, name);
}

static size_t op_mknod(struct call *c, struct node *n)
{
    struct fuse_mknod_in in;
    const char *name = name_at(c, sizeof(in));

    if (name == NULL) {
        return answer(c, -EINVAL, NULL, 0);
    }
    memcpy(&in, c->arg, sizeof(in));
    /* No device nodes: the guest could talk to the host's devices by them. */
    if (S_ISCHR(in.mode) || S_ISBLK(in.mode)) {
        return answer(c, -EPERM, NULL, 0);
    }
    return mknodat(n->fd, name, in.mode, 0) < 0 ? answer(c, -errno, NULL, 0)
                                                : answer_entry(c, n, name);
}

static size_t op_mkdir(struct call *c, struct node *n)
{
    struct fuse_mkdir_in in;
    const char *name = name_at(c, sizeof(in));

    if (name == NULL) {
        return answer(c, -EINVAL, NULL, 0);
    }
    memcpy(&in, c->arg, sizeof(in));
    return mkdirat(n->fd, name, in.mode & 07777) < 0 ? answer(c, -errno, NULL, 0)
                                                     : answer_entry(c, n, name);
}

static size_t op_unlink(struct call *c, struct node *n)
{
    const char *name = name_at(c, 0);

    return name == NULL
               ? answer(c, -EINVAL, NULL, 0)
               : done(c, unlinkat(n->fd, name, c->h.opcode == FUSE_RMDIR ? AT_REMOVEDIR : 0));
}

static size_t op_rename(struct call *c, struct node *n)
{
    struct fuse_rename2_in in = { 0 };
    size_t size = c->h.opcode == FUSE_RENAME2 ? sizeof(in) : sizeof(struct fuse_rename_in);
    const char *from = name_at(c, size);
    const char *to = from != NULL ? name_at(c, size + strlen(from) + 1) : NULL;
    struct node *dir;

    if (to == NULL) {
        return answer(c, -EINVAL, NULL, 0);
    }
    memcpy(&in, c->arg, size);
    dir = node_get(c->f, in.newdir);
    return dir == NULL ? answer(c, -ESTALE, NULL, 0)
                       : done(c, renameat2(n->fd, from, dir->fd, to, in.flags & 3u));
}

static size_t op_link(struct call *c, struct node *n)
{
    struct fuse_link_in in;
    const char *name = name_at(c, sizeof(in));
    struct node *old;
    char path[16];

    if (name == NULL) {
        return answer(c, -EINVAL, NULL, 0);
    }
    memcpy(&in, c->arg, sizeof(in));
    old = node_get(c->f, in.oldnodeid);
    if (old == NULL) {
        return answer(c, -ESTALE, NULL, 0);
    }
    (void)snprintf(path, sizeof(path), "%d", old->fd);
    return linkat(c->f->proc_fd, path, n->fd, name, AT_SYMLINK_FOLLOW) < 0
               ? answer(c, -errno, NULL, 0)
               : answer_entry(c, n, name);
}

static bool may_open(const struct fuse *f, uint32_t flags)
{
    return !f->read_only || ((flags & O_ACCMODE) == O_RDONLY && (flags & (O_CREAT | O_TRUNC)) == 0);
}

enum { OPEN_FLAGS = O_ACCMODE | O_TRUNC | O_APPEND | O_SYNC | O_DSYNC };

static size_t op_open(struct call *c, struct node *n)
{
    struct fuse_open_out out = { .open_flags = FOPEN_KEEP_CACHE };
    uint32_t flags = c->arg_len >= 4 ? le32_get(c->arg) : 0;
    struct stat st;
    int fd;
    int r;

    if (!may_open(c->f, flags)) {
        return answer(c, -EROFS, NULL, 0);
    }
    /* Only files: opening a device or a pipe could block or do things on the host. */
    if (fstat(n->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return answer(c, S_ISDIR(st.st_mode) ? -EISDIR : -ENXIO, NULL, 0);
    }
    /* The guest's kernel does appending by itself, with its own idea of the end. */
    fd = reopen(c->f, n, (int)(flags & OPEN_FLAGS & ~(unsigned)O_APPEND));
    if (fd < 0) {
        return answer(c, -errno, NULL, 0);
    }
    r = handle_new(c->f, fd, NULL, &out.fh);
    if (r < 0) {
        (void)close(fd);
    }
    /* Files without a size (as in /proc) are read until they end. */
    if (st.st_size == 0) {
        out.open_flags = FOPEN_DIRECT_IO;
    }
    return answer(c, r, &out, sizeof(out));
}

static size_t op_create(struct call *c, struct node *n)
{
    struct {
        struct fuse_entry_out e;
        struct fuse_open_out o;
    } out = { .o.open_flags = 0 };
    struct fuse_create_in in;
    const char *name = name_at(c, sizeof(in));
    int fd;
    int r;

    if (name == NULL) {
        return answer(c, -EINVAL, NULL, 0);
    }
    memcpy(&in, c->arg, sizeof(in));
    fd = openat(n->fd, name,
                (int)(in.flags & (OPEN_FLAGS | O_EXCL) & ~(unsigned)O_APPEND) | O_CREAT |
                    O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK,
                in.mode & 07777);
    if (fd < 0) {
        return answer(c, -errno, NULL, 0);
    }
    r = lookup(c->f, n->fd, name, &out.e);
    if (r == 0) {
        r = handle_new(c->f, fd, NULL, &out.o.fh);
    }
    if (r < 0) {
        (void)close(fd);
    }
    return answer(c, r, &out, sizeof(out));
}

static size_t op_read(struct call *c, struct node *n)
{
    struct fuse_read_in in;
    struct iovec part[VECTOR_MAX];
    struct handle *h;
    unsigned parts;
    ssize_t got;

    (void)n;
    if (c->arg_len < sizeof(in)) {
        return answer(c, -EINVAL, NULL, 0);
    }
    memcpy(&in, c->arg, sizeof(in));
    h = handle_get(c->f, in.fh, false);
    if (h == NULL) {
        return answer(c, -EBADF, NULL, 0);
    }
    parts = iov_slice(c->in, c->n_in, HEADER_OUT, in.size, part, VECTOR_MAX);
    got = preadv(h->fd, part, (int)parts, (off_t)in.offset);
    return got < 0 ? answer(c, -errno, NULL, 0) : answer_in_place(c, (size_t)got);
}

static size_t op_write(struct call *c, struct node *n)
{
    struct fuse_write_in in;
    struct fuse_write_out out = { 0 };
    struct iovec part[VECTOR_MAX];
    struct handle *h;
    unsigned parts;
    ssize_t put;

    (void)n;
    if (c->arg_len < sizeof(in)) {
        return answer(c, -EINVAL, NULL, 0);
    }
    memcpy(&in, c->arg, sizeof(in));
    h = handle_get(c->f, in.fh, false);
    if (h == NULL) {
        return answer(c, -EBADF, NULL, 0);
    }
    parts = iov_slice(c->out, c->n_out, sizeof(c->h) + sizeof(in), in.size, part, VECTOR_MAX);
    put = pwritev(h->fd, part, (int)parts, (off_t)in.offset);
    if (put < 0) {
        return answer(c, -errno, NULL, 0);
    }
    out.size = (uint32_t)put;
    return answer(c, 0, &out, sizeof(out));
}

static size_t op_statfs(struct call *c, struct node *n)
{
    struct fuse_statfs_out out = { 0 };
    struct statvfs st;

    if (fstatvfs(n->fd, &st) < 0) {
        return answer(c, -errno, NULL, 0);
    }
    out.st = (struct fuse_kstatfs) {
        .blocks = st.f_blocks,
        .bfree = st.f_bfree,
        .bavail = st.f_bavail,
        .files = st.f_files,
        .ffree = st.f_ffree,
        .bsize = (uint32_t)st.f_bsize,
        .namelen = (uint32_t)st.f_namemax,
        .frsize = (uint32_t)st.f_frsize,
    };
    return answer(c, 0, &out, sizeof(out));
}

static size_t op_release(struct call *c, struct node *n)
{
    bool dir = c->h.opcode == FUSE_RELEASEDIR;
    struct handle *h = c->arg_len >= 8 ? handle_get(c->f, le64_get(c->arg), dir) : NULL;

    (void)n;
    if (h != NULL) {
        handle_close(h);
    }
    return answer(c, 0, NULL, 0);
}

static size_t op_fsync(struct call *c, struct node *n)
{
    struct fuse_fsync_in in = { 0 };
    struct handle *h;

    (void)n;
    memcpy(&in, c->arg, c->arg_len < sizeof(in) ? c->arg_len : sizeof(in));
    if (c->h.opcode == FUSE_FSYNCDIR) {
        return answer(c, 0, NULL, 0);
    }
    h = handle_get(c->f, in.fh, false);
    return h == NULL ? answer(c, -EBADF, NULL, 0)
                     : done(c, (in.fsync_flags & 1) != 0 ? fdatasync(h->fd) : fsync(h->fd));
}

static size_t op_ok(struct call *c, struct node *n)
{
    (void)n;
    return answer(c, 0, NULL, 0);
}

static size_t op_opendir(struct call *c, struct node *n)
{
    struct fuse_open_out out = { 0 };
    int fd = reopen(c->f, n, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int r;

    if (dir == NULL) {
        r = -errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return answer(c, r, NULL, 0);
    }
    r = handle_new(c->f, -1, dir, &out.fh);
    if (r < 0) {
        (void)closedir(dir);
    }
    return answer(c, r, &out, sizeof(out));
}

/* One entry at the end of buf; 0 when it does not fit. */
static size_t put_dirent(struct call *c, struct node *n, uint8_t *buf, size_t room,
                         const struct dirent *d, uint64_t next)
{
    bool plus = c->h.opcode == FUSE_READDIRPLUS;
    size_t name_len = strlen(d->d_name);
    size_t head = plus ? sizeof(struct fuse_entry_out) : 0;
    size_t len = head + round_up_u64(sizeof(struct fuse_dirent) + name_len, 8);
    struct fuse_dirent fd = {
        .ino = d->d_ino, .off = next, .namelen = (uint32_t)name_len, .type = d->d_type
    };

    if (len > room) {
        return 0;
    }
    memset(buf, 0, len);
    if (plus && strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0) {
        struct fuse_entry_out e;

        if (lookup(c->f, n->fd, d->d_name, &e) == 0) {
            memcpy(buf, &e, sizeof(e));
        }
    }
    memcpy(buf + head, &fd, sizeof(fd));
    memcpy(buf + head + sizeof(fd), d->d_name, name_len);
    return len;
}

static size_t op_readdir(struct call *c, struct node *n)
{
    static uint8_t buf[MAX_DIR_BYTES]; /* one thread at a time */
    struct fuse_read_in in;
    struct handle *h;
    size_t size;
    size_t at = 0;

    if (c->arg_len < sizeof(in)) {
        return answer(c, -EINVAL, NULL, 0);
    }
    memcpy(&in, c->arg, sizeof(in));
    h = handle_get(c->f, in.fh, true);
    if (h == NULL) {
        return answer(c, -EBADF, NULL, 0);
    }
    size = in.size < sizeof(buf) ? in.size : sizeof(buf);
    if (c->in_size < HEADER_OUT + size) {
        size = c->in_size > HEADER_OUT ? c->in_size - HEADER_OUT : 0;
    }
    if (telldir(h->dir) != (long)in.offset) {
        seekdir(h->dir, (long)in.offset);
    }
    for (;;) {
        long before = telldir(h->dir);
        struct dirent *d = readdir(h->dir);
        size_t len;

        if (d == NULL) {
            break;
        }
        len = put_dirent(c, n, buf + at, size - at, d, (uint64_t)telldir(h->dir));
        if (len == 0) {
            seekdir(h->dir, before);
            break;
        }
        at += len;
    }
    return answer(c, 0, buf, at);
}

static size_t op_fallocate(struct call *c, struct node *n)
{
    struct fuse_fallocate_in in;
    struct handle *h;

    (void)n;
    if (c->arg_len < sizeof(in)) {
        return answer(c, -EINVAL, NULL, 0);
    }
    memcpy(&in, c->arg, sizeof(in));
    h = handle_get(c->f, in.fh, false);
    return h == NULL ? answer(c, -EBADF, NULL, 0)
                     : done(c, fallocate(h->fd, (int)in.mode, (off_t)in.offset, (off_t)in.length));
}

static size_t op_lseek(struct call *c, struct node *n)
{
    struct fuse_lseek_in in;
    struct fuse_lseek_out out;
    struct handle *h;
    off_t at;

    (void)n;
    if (c->arg_len < sizeof(in)) {
        return answer(c, -EINVAL, NULL, 0);
    }
    memcpy(&in, c->arg, sizeof(in));
    h = handle_get(c->f, in.fh, false);
    at = h != NULL ? lseek(h->fd, (off_t)in.offset, (int)in.whence) : -1;
    out.offset = (uint64_t)at;
    return h == NULL ? answer(c, -EBADF, NULL, 0)
                     : answer(c, at < 0 ? -errno : 0, &out, sizeof(out));
}

static size_t op_destroy(struct call *c, struct node *n)
{
    (void)n;
    fuse_reset(c->f);
    return answer(c, 0, NULL, 0);
}

enum { CHANGES = 1, NO_NODE = 2 };

static const struct {
    size_t (*serve)(struct call *c, struct node *n);
    unsigned flags;
} ops[] = {
    [FUSE_LOOKUP] = { op_lookup, 0 },
    [FUSE_FORGET] = { op_forget, NO_NODE },
    [FUSE_GETATTR] = { op_getattr, 0 },
    [FUSE_SETATTR] = { op_setattr, CHANGES },
    [FUSE_READLINK] = { op_readlink, 0 },
    [FUSE_SYMLINK] = { op_symlink, CHANGES },
    [FUSE_MKNOD] = { op_mknod, CHANGES },
    [FUSE_MKDIR] = { op_mkdir, CHANGES },
    [FUSE_UNLINK] = { op_unlink, CHANGES },
    [FUSE_RMDIR] = { op_unlink, CHANGES },
    [FUSE_RENAME] = { op_rename, CHANGES },
    [FUSE_LINK] = { op_link, CHANGES },
    [FUSE_OPEN] = { op_open, 0 },
    [FUSE_READ] = { op_read, 0 },
    [FUSE_WRITE] = { op_write, CHANGES },
    [FUSE_STATFS] = { op_statfs, 0 },
    [FUSE_RELEASE] = { op_release, 0 },
    [FUSE_FSYNC] = { op_fsync, 0 },
    [FUSE_FLUSH] = { op_ok, 0 },
    [FUSE_INIT] = { op_init, NO_NODE },
    [FUSE_OPENDIR] = { op_opendir, 0 },
    [FUSE_READDIR] = { op_readdir, 0 },
    [FUSE_RELEASEDIR] = { op_release, 0 },
    [FUSE_FSYNCDIR] = { op_fsync, 0 },
    [FUSE_CREATE] = { op_create, CHANGES },
    [FUSE_DESTROY] = { op_destroy, NO_NODE },
    [FUSE_BATCH_FORGET] = { op_batch_forget, NO_NODE },
    [FUSE_FALLOCATE] = { op_fallocate, CHANGES },
    [FUSE_READDIRPLUS] = { op_readdir, 0 },
    [FUSE_RENAME2] = { op_rename, CHANGES },
    [FUSE_LSEEK] = { op_lseek, 0 },
};

size_t fuse_serve(struct fuse *f, const struct iovec *out, unsigned n_out, const struct iovec *in,
                  unsigned n_in)
{
    struct call c = { .f = f, .out = out, .n_out = n_out, .in = in, .n_in = n_in };
    struct node *n;

    c.in_size = iov_size(in, n_in);
    if (iov_read(out, n_out, 0, &c.h, sizeof(c.h)) != sizeof(c.h)) {
        return 0;
    }
    c.arg_len = iov_read(out, n_out, sizeof(c.h), c.arg, MAX_ARG);
    c.arg[c.arg_len] = '\0';
    if (c.h.opcode >= sizeof(ops) / sizeof(ops[0]) || ops[c.h.opcode].serve == NULL) {
        /* ENOSYS tells the kernel not to ask again: xattrs, locks, poll, access. */
        return c.in_size >= HEADER_OUT ? answer(&c, -ENOSYS, NULL, 0) : 0;
    }
    n = node_get(f, c.h.nodeid);
    if (n == NULL && (ops[c.h.opcode].flags & NO_NODE) == 0) {
        return c.in_size >= HEADER_OUT ? answer(&c, -ESTALE, NULL, 0) : 0;
    }
    if (c.in_size < HEADER_OUT && c.h.opcode != FUSE_FORGET && c.h.opcode != FUSE_BATCH_FORGET) {
        return 0;
    }
    if (f->read_only && (ops[c.h.opcode].flags & CHANGES) != 0) {
        return answer(&c, -EROFS, NULL, 0);
    }
    return ops[c.h.opcode].serve(&c, n);
}

void fuse_reset(struct fuse *f)
{
    for (uint32_t i = 0; i < f->n_handles; i++) {
        if (f->handles[i].fd >= 0 || f->handles[i].dir != NULL) {
            handle_close(&f->handles[i]);
        }
    }
    for (uint32_t id = 2; id < f->n_nodes; id++) {
        node_forget(f, id, UINT64_MAX);
    }
}

struct fuse *fuse_free(struct fuse *f)
{
    if (f != NULL) {
        if (f->nodes != NULL) {
            fuse_reset(f);
        }
        close_fdp(&f->root_fd);
        close_fdp(&f->proc_fd);
        free(f->nodes);
        free(f->handles);
        free(f);
    }
    return NULL;
}

/* A node is a descriptor: as many as we may have. */
static void raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int fuse_new(const char *path, bool read_only, struct fuse **ret, struct err **err)
{
    struct fuse *f = calloc(1, sizeof(*f));
    struct stat st;

    if (f == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    raise_limit();
    f->read_only = read_only;
    f->proc_fd = open("/proc/self/fd", O_PATH | O_CLOEXEC);
    f->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    /* All at once: the pages are touched only when used, and nodes never move under a request. */
    f->nodes = calloc(MAX_NODES, sizeof(*f->nodes));
    if (f->root_fd < 0 || f->proc_fd < 0 || fstat(f->root_fd, &st) < 0 || f->nodes == NULL) {
        int r = err_set(err, errno, "cannot open the folder '%s': %s", path, strerror(errno));

        (void)fuse_free(f);
        return r;
    }
    f->root_dev = st.st_dev;
    f->nodes[0].fd = -1;
    f->n_nodes = 2;
    f->nodes[FUSE_ROOT_ID] =
        (struct node) { .fd = f->root_fd, .dev = st.st_dev, .ino = st.st_ino, .lookups = 1 };
    f->hash[bucket(st.st_dev, st.st_ino)] = FUSE_ROOT_ID;
    (void)umask(0); /* modes are the guest's */
    *ret = f;
    return 0;
}
