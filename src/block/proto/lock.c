/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/proto/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { PERM_BASE = 100, SHARED_BASE = 200, N_PERMS = 4 };

static const char *const perm_names[N_PERMS] = { "consistent read", "write", "write unchanged",
                                                 "resize" };

static int set_byte(int fd, int byte, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* Has somebody else locked the byte? */
static int test_byte(int fd, int byte)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

    if (fcntl(fd, F_OFD_GETLK, &lock) < 0) {
        return -errno;
    }
    return lock.l_type != F_UNLCK;
}

static int busy(const char *path, const char *kind, int i, struct err **err)
{
    return err_set(err, EBUSY,
                   "Failed to get %s\"%s\" lock\nIs another process using the image [%s]?", kind,
                   perm_names[i], path);
}

int image_lock(int fd, const char *path, unsigned perm, unsigned shared, struct err **err)
{
    for (int i = 0; i < N_PERMS; i++) {
        bool use = (perm & 1u << i) != 0;
        bool deny = (shared & 1u << i) == 0;
        int r = set_byte(fd, PERM_BASE + i, use ? F_RDLCK : F_UNLCK);

        if (r == 0) {
            r = set_byte(fd, SHARED_BASE + i, deny ? F_RDLCK : F_UNLCK);
        }
        if (r == -EINVAL || r == -ENOLCK || r == -EOPNOTSUPP) {
            return 0; /* a file system without locks: as without us */
        }
        if (r < 0) {
            return err_set(err, -r, "cannot lock '%s': %s", path, strerror(-r));
        }
    }
    for (int i = 0; i < N_PERMS; i++) {
        if ((perm & 1u << i) != 0 && test_byte(fd, SHARED_BASE + i) > 0) {
            return busy(path, "", i, err);
        }
        if ((shared & 1u << i) == 0 && test_byte(fd, PERM_BASE + i) > 0) {
            return busy(path, "shared ", i, err);
        }
    }
    return 0;
}
