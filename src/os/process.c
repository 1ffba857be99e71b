/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/process.h"

#include "base/str.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { CHILD_FAILED = 127 };

static void reset_signals(void)
{
    sigset_t none;

    for (int s = 1; s < NSIG; s++) {
        (void)signal(s, SIG_DFL);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_stdio(int fd, int as, int null_fd)
{
    if (fd == PROCESS_INHERIT || fd == as) {
        return fcntl(as, F_SETFD, 0);
    }
    return dup2(fd >= 0 ? fd : null_fd, as);
}

/* Runs in the child: anything but exec's success is reported through report_fd. */
static _Noreturn void child_main(const struct process_spec *spec, int report_fd, pid_t parent)
{
    /* The report must survive fd_close_from(), and must not be one of stdin to stderr. */
    int report = fcntl(report_fd, F_DUPFD_CLOEXEC, 1000);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int code;

    reset_signals();
    if (report < 0 || null_fd < 0 || child_stdio(spec->fd_in, 0, null_fd) < 0 ||
        child_stdio(spec->fd_out, 1, null_fd) < 0 || child_stdio(spec->fd_err, 2, null_fd) < 0) {
        goto fail;
    }
    for (size_t i = 0; i < spec->n_keep; i++) {
        if (fcntl(spec->keep[i], F_SETFD, 0) < 0) {
            goto fail;
        }
    }
    if (spec->new_session && setsid() < 0) {
        goto fail;
    }
    if (spec->die_with_parent && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)) {
        goto fail;
    }
    if (spec->dir != NULL && chdir(spec->dir) < 0) {
        goto fail;
    }
    for (size_t i = 0; spec->env != NULL && spec->env[i] != NULL; i++) {
        if (putenv((char *)(uintptr_t)spec->env[i]) != 0) {
            goto fail;
        }
    }
    (void)execvp(spec->argv[0], (char *const *)(uintptr_t)spec->argv);
fail:
    code = errno;
    (void)!write(report >= 0 ? report : report_fd, &code, sizeof(code));
    _exit(CHILD_FAILED);
}

int process_spawn(const struct process_spec *spec, pid_t *ret, struct err **err)
{
    int report[2];
    AUTO_FD int report_in = -1;
    pid_t parent = getpid();
    int code = 0;
    pid_t pid;

    if (pipe2(report, O_CLOEXEC) < 0) {
        return err_set(err, errno, "cannot start '%s': %s", spec->argv[0], strerror(errno));
    }
    report_in = report[0];
    pid = fork();
    if (pid == 0) {
        child_main(spec, report[1], parent);
    }
    (void)close(report[1]);
    if (pid < 0) {
        return err_set(err, errno, "cannot start '%s': %s", spec->argv[0], strerror(errno));
    }
    if (fd_read_all(report_in, &code, sizeof(code)) == 0) {
        (void)process_wait(pid);
        return err_set(err, code, "cannot start '%s': %s", spec->argv[0], strerror(code));
    }
    *ret = pid;
    return 0;
}

int process_wait(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Reads both pipes until both are at their end; keeps the last 512 bytes of stderr. */
static int drain(int out, int err_fd, struct strbuf *ret_out, char *tail, size_t tail_size)
{
    struct pollfd p[2] = { { .fd = out, .events = POLLIN }, { .fd = err_fd, .events = POLLIN } };
    size_t tail_len = 0;

    while (p[0].fd >= 0 || p[1].fd >= 0) {
        char buf[512];

        if (poll(p, 2, -1) < 0 && errno != EINTR) {
            return -errno;
        }
        for (int i = 0; i < 2; i++) {
            ssize_t n;

            if (p[i].fd < 0 || p[i].revents == 0) {
                continue;
            }
            n = read(p[i].fd, buf, sizeof(buf));
            if (n <= 0) {
                p[i].fd = -1;
            } else if (i == 0) {
                strbuf_append(ret_out, buf, (size_t)n);
            } else {
                size_t take = (size_t)n < tail_size - 1 ? (size_t)n : tail_size - 1;
                size_t keep = tail_len + take < tail_size ? tail_len : tail_size - 1 - take;

                memmove(tail, tail + tail_len - keep, keep);
                memcpy(tail + keep, buf + (size_t)n - take, take);
                tail_len = keep + take;
                tail[tail_len] = '\0';
            }
        }
    }
    while (tail_len > 0 && tail[tail_len - 1] == '\n') {
        tail[--tail_len] = '\0';
    }
    return 0;
}

int process_capture(const char *const *argv, size_t max, char **ret_out, struct err **err)
{
    struct strbuf text = STRBUF_INIT(max);
    char tail[512] = "";
    int out[2];
    int err_pipe[2];
    pid_t pid = -1;
    int r;

    if (pipe2(out, O_CLOEXEC) < 0) {
        return err_set(err, errno, "cannot start '%s': %s", argv[0], strerror(errno));
    }
    if (pipe2(err_pipe, O_CLOEXEC) < 0) {
        r = -errno;
        (void)close(out[0]);
        (void)close(out[1]);
        return err_set(err, -r, "cannot start '%s': %s", argv[0], strerror(-r));
    }
    r = process_spawn(&(struct process_spec) { .argv = argv,
                                               .fd_in = -1,
                                               .fd_out = out[1],
                                               .fd_err = err_pipe[1],
                                               .die_with_parent = true },
                      &pid, err);
    (void)close(out[1]);
    (void)close(err_pipe[1]);
    if (r == 0) {
        r = drain(out[0], err_pipe[0], &text, tail, sizeof(tail));
    }
    (void)close(out[0]);
    (void)close(err_pipe[0]);
    if (pid > 0) {
        int status = process_wait(pid);

        if (r == 0 && status != 0) {
            r = err_set(err, EIO, "'%s' failed with status %d: %s", argv[0], status, tail);
        }
    }
    if (r == 0) {
        *ret_out = strbuf_take(&text);
        r = *ret_out != NULL ? 0 : err_set(err, EFBIG, "'%s' wrote too much", argv[0]);
    }
    strbuf_done(&text);
    return r;
}
