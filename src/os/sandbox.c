/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int sandbox_drop(unsigned uid, unsigned gid, struct err **err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return err_set(err, errno, "cannot set no_new_privs: %s", strerror(errno));
    }
    if (gid != 0 && (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0)) {
        return err_set(err, errno, "cannot change to group %u: %s", gid, strerror(errno));
    }
    if (uid != 0 && setresuid(uid, uid, uid) < 0) {
        return err_set(err, errno, "cannot change to user %u: %s", uid, strerror(errno));
    }
    capng_clear(CAPNG_SELECT_BOTH);
    /* The bounding set needs CAP_SETPCAP; without it an ordinary user has nothing to lose there. */
    if (capng_apply(CAPNG_SELECT_CAPS) != 0) {
        return err_set(err, EPERM, "cannot drop capabilities");
    }
    return 0;
}

int sandbox_drop_keeping(const unsigned *caps, size_t n, struct err **err)
{
    uint64_t have = 0;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return err_set(err, errno, "cannot set no_new_privs: %s", strerror(errno));
    }
    for (size_t i = 0; i < n; i++) {
        have |= capng_have_capability(CAPNG_EFFECTIVE, caps[i]) == 1 ? UINT64_C(1) << i : 0;
    }
    capng_clear(CAPNG_SELECT_BOTH);
    for (size_t i = 0; i < n; i++) {
        if ((have >> i & 1) != 0) {
            (void)capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, caps[i]);
        }
    }
    if (capng_apply(CAPNG_SELECT_CAPS) != 0) {
        return err_set(err, EPERM, "cannot drop capabilities");
    }
    return 0;
}

#define LANDLOCK_READ \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE)
#define LANDLOCK_ALL (LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1) /* version 1: bits up to MAKE_SYM */
#define LANDLOCK_FILE \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE)

static int add_path(int ruleset, const struct sandbox_path *p)
{
    AUTO_FD int fd = open(p->path, O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr rule = { .parent_fd = fd };
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    rule.allowed_access = p->write ? LANDLOCK_ALL : LANDLOCK_READ;
    if (!S_ISDIR(st.st_mode)) {
        rule.allowed_access &= LANDLOCK_FILE;
    }
    return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0
               ? -errno
               : 0;
}

int sandbox_files(const struct sandbox_path *paths, size_t n, bool *ret_active, struct err **err)
{
    struct landlock_ruleset_attr attr = { .handled_access_fs = LANDLOCK_ALL };
    AUTO_FD int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);

    *ret_active = false;
    if (ruleset < 0) {
        return errno == ENOSYS || errno == EOPNOTSUPP
                   ? 0
                   : err_set(err, errno, "cannot make a Landlock rule set: %s", strerror(errno));
    }
    for (size_t i = 0; i < n; i++) {
        int r = add_path(ruleset, &paths[i]);

        if (r < 0) {
            return err_set(err, -r, "cannot allow '%s' in the sandbox: %s", paths[i].path,
                           strerror(-r));
        }
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        syscall(SYS_landlock_restrict_self, ruleset, 0) < 0) {
        return err_set(err, errno, "cannot enter the Landlock sandbox: %s", strerror(errno));
    }
    *ret_active = true;
    return 0;
}

int sandbox_syscalls(const char *const *names, bool kill, struct err **err)
{
    scmp_filter_ctx ctx = seccomp_init(kill ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM));
    int r = ctx != NULL ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && names[i] != NULL; i++) {
        int nr = seccomp_syscall_resolve_name(names[i]);

        if (nr != __NR_SCMP_ERROR) {
            r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
        }
    }
    if (r == 0) {
        r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    }
    if (r == 0) {
        (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        r = seccomp_load(ctx);
    }
    if (ctx != NULL) {
        seccomp_release(ctx);
    }
    return r < 0 ? err_set(err, -r, "cannot set the system call filter: %s", strerror(-r)) : 0;
}
