/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cli/confine.h"

#include "base/log.h"
#include "os/sandbox.h"
#include "vmm/machine/machine.h"

#include <linux/capability.h>

/* What a file server needs to act as the guest's several users; Landlock keeps it in its folders.
 */
static const unsigned file_server_caps[] = {
    CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID,
};

/* No socket(), no execve(), no ptrace(): a guest that has taken over a device gets nowhere. */
static const char *const allowed_calls[] = {
    /* bytes in and out */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2",
    "pwritev2", "lseek", "close", "dup", "dup3", "fcntl", "ioctl", "sendmsg", "sendto", "recvmsg",
    "recvfrom", "accept4", "shutdown", "setsockopt", "getsockopt", "getsockname", "getpeername",
    "io_uring_enter", "io_uring_register", "fsync", "fdatasync", "ftruncate", "fallocate",
    "sync_file_range",
    /* waiting */
    "poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl",
    "epoll_create1", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime",
    "signalfd4", "futex", "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres",
    "gettimeofday", "time", "restart_syscall", "sched_yield", "pipe2",
    /* memory and threads */
    "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "memfd_create", "membarrier", "clone",
    "clone3", "set_robust_list", "rseq", "set_tid_address", "sched_getaffinity",
    "sched_setaffinity", "arch_prctl", "prctl", "gettid", "getpid", "getuid", "geteuid", "getgid",
    "getegid", "tgkill", "sigaltstack", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "rt_sigtimedwait", "rt_sigpending", "exit", "exit_group", "wait4", "waitid", "getrandom",
    "getrlimit", "prlimit64", "getrusage", "getcpu",
    /* files below the shared folders */
    "openat", "newfstatat", "fstat", "stat", "lstat", "statx", "fstatfs", "statfs", "readlinkat",
    "readlink", "getdents64", "mkdirat", "unlinkat", "unlink", "renameat", "renameat2", "linkat",
    "symlinkat", "mknodat", "fchmodat", "fchmodat2", "fchownat", "utimensat", "umask", "access",
    "faccessat", "faccessat2", NULL
};

int confine_files(struct machine *m, struct err **err)
{
    struct sandbox_path paths[MACHINE_MAX_ALLOWED];
    bool active = false;
    int r;

    for (unsigned i = 0; i < m->n_allowed; i++) {
        paths[i] =
            (struct sandbox_path) { .path = m->allowed[i].path, .write = m->allowed[i].write };
    }
    r = m->n_allowed > 0
            ? sandbox_drop_keeping(file_server_caps,
                                   sizeof(file_server_caps) / sizeof(file_server_caps[0]), err)
            : sandbox_drop(0, 0, err);
    if (r == 0) {
        r = sandbox_files(paths, m->n_allowed, &active, err);
    }
    TRACE(confine_files, "Landlock %s, %u folders", active ? "on" : "not in this kernel",
          m->n_allowed);
    return r;
}

int confine_calls(struct err **err)
{
    return sandbox_syscalls(allowed_calls, false, err);
}
