/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cmd_run.c - vireo run: a virtual machine now.
 *
 * Starts the emulator with one socket for each channel: the kernel's log (ttyS0), a control channel
 * to the guest's init, and either the console (hvc0, on a terminal) or the command's stdin, stdout
 * and stderr. The rest is an event loop that carries bytes and waits for "exit N" on the control
 * channel.
 */
#include "base/log.h"
#include "base/str.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/path.h"
#include "os/process.h"
#include "tools/vireo/command.h"
#include "tools/vireo/initramfs.h"
#include "tools/vireo/kernel.h"
#include "tools/vireo/run_options.h"
#include "tools/vireo/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

enum { CH_LOG, CH_CONTROL, CH_CONSOLE, CH_STDIN, CH_STDOUT, CH_STDERR, CH_COUNT };
enum {
    LOG_TAIL_BYTES = 16384,
    STATUS_NONE = -1,
    STATUS_TIMEOUT = 124,
    STATUS_LOST = 125,
    MAX_ARGV = 256
};

struct channel {
    struct run *run;
    int fd; /* our end; -1: closed */
    struct loop_source *src;
};

struct run {
    struct run_options opt;
    bool tty;
    struct loop *loop;
    struct channel ch[CH_COUNT];
    int guest_fd[CH_COUNT]; /* the emulator's ends until it has started */
    struct loop_source *in_src, *winch, *child_src, *timer;
    pid_t pid;
    char *argv[MAX_ARGV]; /* owned strings */
    unsigned argc;
    int status; /* the guest's, STATUS_NONE until known */
    bool child_gone;
    int child_status;
    bool timed_out;
    char *guest_error; /* owned: init's "error" line */
    char tail[LOG_TAIL_BYTES];
    size_t tail_len;
    char line[512]; /* of the control channel */
    size_t line_len;
};

/* ---- the emulator's command line ---- */

static void arg(struct run *r, const char *fmt, ...) PRINTF(2, 3);

static void arg(struct run *r, const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (r->argc + 1 < MAX_ARGV && vasprintf(&s, fmt, ap) >= 0) {
        r->argv[r->argc++] = s;
    }
    va_end(ap);
}

/* Commas are doubled inside option values. */
static char *escaped(const char *value)
{
    struct strbuf b = STRBUF_INIT(1 << 16);

    for (const char *p = value; *p != '\0'; p++) {
        strbuf_append(&b, p, 1);
        if (*p == ',') {
            strbuf_append(&b, p, 1);
        }
    }
    return strbuf_take(&b);
}

static int open_channel(struct run *r, unsigned ch, struct err **err)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return err_set(err, errno, "cannot make a socket: %s", strerror(errno));
    }
    r->ch[ch].fd = pair[0];
    r->guest_fd[ch] = pair[1];
    (void)!fd_set_nonblock(pair[0], ch != CH_STDIN);
    return 0;
}

static void port(struct run *r, unsigned ch, const char *name)
{
    arg(r, "-chardev");
    arg(r, "socket,id=%s,fd=%d", name, r->guest_fd[ch]);
    arg(r, "-device");
    arg(r, "virtserialport,chardev=%s,name=vireo.%s", name, name);
}

static void share(struct run *r, const char *path, const char *tag, bool writable)
{
    AUTO_FREE char *esc = escaped(path);

    arg(r, "-device");
    arg(r, "virtio-fs-device,path=%s,tag=%s,readonly=%s", esc != NULL ? esc : path, tag,
        writable ? "off" : "on");
}

static void args_channels(struct run *r)
{
    arg(r, "-chardev");
    arg(r, "socket,id=log,fd=%d", r->guest_fd[CH_LOG]);
    arg(r, "-serial");
    arg(r, "chardev:log");
    arg(r, "-device");
    arg(r, "virtio-serial-device");
    if (r->tty) {
        arg(r, "-chardev");
        arg(r, "socket,id=console,fd=%d", r->guest_fd[CH_CONSOLE]);
        arg(r, "-device");
        arg(r, "virtconsole,chardev=console");
    } else {
        port(r, CH_STDIN, "stdin");
        port(r, CH_STDOUT, "stdout");
        port(r, CH_STDERR, "stderr");
    }
    port(r, CH_CONTROL, "control");
}

static int args_net(struct run *r, struct err **err)
{
    struct strbuf b = STRBUF_INIT(4096);
    AUTO_FREE char *text = NULL;

    if (!r->opt.net) {
        return 0;
    }
    strbuf_puts(&b, "user,id=net");
    for (unsigned i = 0; i < r->opt.n_forwards; i++) {
        const char *p = r->opt.forward[i];
        const char *colon = strchr(p, ':');
        AUTO_FREE char *host = colon != NULL ? strndup(p, (size_t)(colon - p)) : NULL;
        uint32_t a = 0;
        uint32_t g = 0;

        if (host == NULL || str_to_u32(host, 65535, &a) < 0 ||
            str_to_u32(colon + 1, 65535, &g) < 0) {
            strbuf_done(&b);
            return err_set(err, EINVAL, "'-p %s': write HOSTPORT:GUESTPORT", p);
        }
        strbuf_printf(&b, ",hostfwd=tcp:127.0.0.1:%u-:%u", a, g);
    }
    text = strbuf_take(&b);
    arg(r, "-netdev");
    arg(r, "%s", text != NULL ? text : "user,id=net");
    arg(r, "-device");
    arg(r, "virtio-net-device,netdev=net");
    return 0;
}

static int check_folder(const char *option, const char *path, struct err **err)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        return err_set(err, errno, "'%s %s': %s", option, path, strerror(errno));
    }
    return S_ISDIR(st.st_mode) ? 0 : err_set(err, ENOTDIR, "'%s %s' is not a folder", option, path);
}

static int check_file(const char *option, const char *path, struct err **err)
{
    return access(path, R_OK) == 0
               ? 0
               : err_set(err, errno, "'%s %s': %s", option, path, strerror(errno));
}

/* ---- what the guest's init is told ---- */

static void conf(struct strbuf *b, const char *key, const char *value)
{
    strbuf_printf(b, "%s=%s", key, value);
    strbuf_append(b, "", 1);
}

static bool root_is_image(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

static int describe_shares(struct run *r, struct strbuf *b, struct err **err)
{
    unsigned n = r->opt.n_shares + r->opt.n_rws;

    for (unsigned i = 0; i < n; i++) {
        bool rw = i >= r->opt.n_shares;
        const char *given = rw ? r->opt.rw[i - r->opt.n_shares] : r->opt.share[i];
        int e = check_folder(rw ? "--rw" : "--share", given, err);
        AUTO_FREE char *path = e == 0 ? realpath(given, NULL) : NULL;
        AUTO_FREE char *tag = str_format("share%u", i);
        AUTO_FREE char *line = NULL;

        if (e < 0) {
            return e;
        }
        line = path != NULL && tag != NULL ? str_format("%s:%s", tag, path) : NULL;
        if (line == NULL) {
            return -ENOMEM;
        }
        share(r, path, tag, rw);
        conf(b, "share", line);
    }
    return 0;
}

static int describe_root(struct run *r, struct strbuf *b, struct err **err)
{
    const char *root = r->opt.rootfs != NULL ? r->opt.rootfs : r->opt.command != NULL ? "/" : NULL;
    AUTO_FREE char *full = root != NULL ? realpath(root, NULL) : NULL;

    if (root == NULL) {
        return 0;
    }
    if (full == NULL) {
        return err_set(err, errno, "'--rootfs %s': %s", root, strerror(errno));
    }
    if (root_is_image(full)) {
        AUTO_FREE char *esc = escaped(full);

        arg(r, "-drive");
        arg(r, "id=root,file=%s,format=raw,if=none,readonly=on", esc != NULL ? esc : full);
        arg(r, "-device");
        arg(r, "virtio-blk-device,drive=root");
        conf(b, "root", "block:/dev/vda");
        return 0;
    }
    share(r, full, "root", false);
    conf(b, "root", "virtiofs:root");
    return 0;
}

static int describe(struct run *r, struct strbuf *b, struct err **err)
{
    AUTO_FREE char *cwd = getcwd(NULL, 0);
    struct winsize size;
    int e;

    conf(b, "control", "1");
    e = describe_root(r, b, err);
    e = e == 0 ? describe_shares(r, b, err) : e;
    if (e < 0) {
        return e;
    }
    if (r->opt.net) {
        conf(b, "net", "user");
    }
    if (r->tty) {
        conf(b, "tty", "1");
        if (terminal_size(&size)) {
            AUTO_FREE char *text = str_format("%u:%u", size.ws_row, size.ws_col);

            conf(b, "size", text != NULL ? text : "24:80");
        }
    }
    if (r->opt.command == NULL) {
        conf(b, "dir", "/root");
        conf(b, "env", "HOME=/root");
        conf(b, "env", "PATH=/bin:/sbin:/usr/bin:/usr/sbin");
        conf(b, "env", "PS1=vireo:\\w# ");
        conf(b, "env", getenv("TERM") != NULL && r->tty ? "TERM=linux" : "TERM=dumb");
        return 0;
    }
    conf(b, "dir", cwd != NULL ? cwd : "/");
    for (char **e2 = environ; *e2 != NULL; e2++) {
        conf(b, "env", *e2);
    }
    for (char *const *a = r->opt.command; *a != NULL; a++) {
        conf(b, "arg", *a);
    }
    return 0;
}

static void module_names(const struct run *r, const char *names[16])
{
    unsigned n = 0;

    names[n++] = "virtio_mmio";
    names[n++] = "virtio_console";
    if (r->opt.net) {
        names[n++] = "virtio_net";
    }
    if (r->opt.n_disks != 0 || (r->opt.rootfs != NULL && root_is_image(r->opt.rootfs))) {
        names[n++] = "virtio_blk";
    }
    if (r->opt.command != NULL || r->opt.rootfs != NULL || r->opt.n_shares + r->opt.n_rws != 0) {
        names[n++] = "virtiofs";
        names[n++] = "overlay";
    }
    names[n++] = "virtio-rng";
    names[n] = NULL;
}

static int args_boot(struct run *r, int *ret_initrd, struct err **err)
{
    struct guest_kernel k = { .image = NULL };
    struct strbuf text = STRBUF_INIT(2 << 20);
    const char *modules[16];
    int e;

    *ret_initrd = -1;
    if (r->opt.kernel != NULL && r->opt.initrd != NULL) {
        e = check_file("--kernel", r->opt.kernel, err);
        e = e == 0 ? check_file("--initrd", r->opt.initrd, err) : e;
        if (e == 0) {
            arg(r, "-kernel");
            arg(r, "%s", r->opt.kernel);
            arg(r, "-initrd");
            arg(r, "%s", r->opt.initrd);
        }
        return e;
    }
    if (r->opt.kernel != NULL && (e = check_file("--kernel", r->opt.kernel, err)) < 0) {
        return e;
    }
    e = guest_kernel_find(&k, err);
    e = e == 0 ? describe(r, &text, err) : e;
    if (e == 0 && text.failed) {
        e = err_set(err, E2BIG, "the command and its environment are too long");
    }
    if (e == 0) {
        module_names(r, modules);
        e = initramfs_build(
            &(struct initramfs_spec) {
                .kernel = &k, .modules = modules, .conf = text.s, .conf_len = text.len },
            ret_initrd, err);
    }
    if (e == 0) {
        arg(r, "-kernel");
        arg(r, "%s", r->opt.kernel != NULL ? r->opt.kernel : k.image);
        arg(r, "-initrd");
        arg(r, "/proc/self/fd/%d", *ret_initrd);
    }
    strbuf_done(&text);
    guest_kernel_done(&k);
    return e;
}

static int build_args(struct run *r, const char *emulator, int *ret_initrd, struct err **err)
{
    int e;

    arg(r, "%s", emulator);
    arg(r, "-M");
    arg(r, "microvm");
    if (r->opt.accel != NULL && !str_eq(r->opt.accel, "auto")) {
        arg(r, "-accel");
        arg(r, "%s", r->opt.accel);
    }
    arg(r, "-cpu");
    arg(r, "max");
    arg(r, "-nodefaults");
    arg(r, "-no-user-config");
    arg(r, "-display");
    arg(r, "none");
    arg(r, "-no-reboot");
    if (r->opt.quiet || !r->tty) {
        arg(r, "-quiet"); /* stderr is the command's */
    }
    arg(r, "-smp");
    arg(r, "%u", r->opt.cpus);
    arg(r, "-m");
    arg(r, "%llu", (unsigned long long)r->opt.memory_mib);
    args_channels(r);
    e = args_boot(r, ret_initrd, err);
    e = e == 0 ? args_net(r, err) : e;
    for (unsigned i = 0; e == 0 && i < r->opt.n_disks; i++) {
        AUTO_FREE char *esc = escaped(r->opt.disk[i]);

        e = check_file("--disk", r->opt.disk[i], err);
        arg(r, "-drive");
        arg(r, "id=disk%u,file=%s,format=raw,if=none", i, esc != NULL ? esc : r->opt.disk[i]);
        arg(r, "-device");
        arg(r, "virtio-blk-device,drive=disk%u", i);
    }
    arg(r, "-device");
    arg(r, "virtio-rng-device");
    arg(r, "-append");
    arg(r, "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check%s%s",
        r->opt.append != NULL ? " " : "", r->opt.append != NULL ? r->opt.append : "");
    return e;
}

/* ---- carrying bytes ---- */

static void close_channel(struct channel *c)
{
    c->src = loop_source_free(c->src);
    close_fdp(&c->fd);
}

/* The loop ends when the guest has said its status and everything it wrote was carried, or when the
 * emulator is gone. */
static void check_done(struct run *r)
{
    bool drained = true;

    for (unsigned i = 0; i < CH_COUNT; i++) {
        drained = drained && (i == CH_STDIN || r->ch[i].fd < 0);
    }

    if (r->child_gone && drained) {
        loop_quit(r->loop, 0);
    }
}

static void keep_tail(struct run *r, const char *buf, size_t n)
{
    if (n >= sizeof(r->tail)) {
        return;
    }
    if (r->tail_len + n > sizeof(r->tail)) {
        size_t drop = r->tail_len + n - sizeof(r->tail);

        memmove(r->tail, r->tail + drop, r->tail_len - drop);
        r->tail_len -= drop;
    }
    memcpy(r->tail + r->tail_len, buf, n);
    r->tail_len += n;
}

static void control_line(struct run *r, const char *line)
{
    uint32_t status;

    if (str_starts(line, "exit ") && str_to_u32(line + 5, 255, &status) == 0) {
        r->status = (int)status;
        /* Everything it wrote is with the emulator already: no need to wait for the power-off. */
        (void)kill(r->pid, SIGTERM);
    } else if (str_starts(line, "error ") && r->guest_error == NULL) {
        r->guest_error = strdup(line + 6);
    }
}

static void control_bytes(struct run *r, const char *buf, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (buf[i] == '\n') {
            r->line[r->line_len] = '\0';
            control_line(r, r->line);
            r->line_len = 0;
        } else if (r->line_len + 1 < sizeof(r->line)) {
            r->line[r->line_len++] = buf[i];
        }
    }
}

static void on_guest(int fd, uint32_t events, void *arg_)
{
    struct channel *c = arg_;
    struct run *r = c->run;
    char buf[65536];
    ssize_t n = read(fd, buf, sizeof(buf));

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        close_channel(c);
        check_done(r);
        return;
    }
    if (c == &r->ch[CH_LOG]) {
        keep_tail(r, buf, (size_t)n);
        if (r->opt.kernel != NULL && r->opt.initrd != NULL) {
            (void)!fd_write_all(STDOUT_FILENO, buf, (size_t)n);
        }
    } else if (c == &r->ch[CH_CONTROL]) {
        control_bytes(r, buf, (size_t)n);
    } else {
        (void)!fd_write_all(c == &r->ch[CH_STDERR] ? STDERR_FILENO : STDOUT_FILENO, buf, (size_t)n);
    }
}

static void on_stdin(int fd, uint32_t events, void *arg_)
{
    struct run *r = arg_;
    struct channel *to = &r->ch[r->tty ? CH_CONSOLE : CH_STDIN];
    char buf[16384];
    ssize_t n = read(fd, buf, sizeof(buf));

    (void)events;
    if (n > 0 && to->fd >= 0 && fd_write_all(to->fd, buf, (size_t)n) == 0) {
        return;
    }
    r->in_src = loop_source_free(r->in_src);
    if (!r->tty) {
        close_channel(to); /* the guest's command sees the end of its input */
    }
}

static void on_winch(int signo, void *arg_)
{
    struct run *r = arg_;
    struct winsize size;

    (void)signo;
    if (terminal_size(&size) && r->ch[CH_CONTROL].fd >= 0) {
        char line[64];
        int n = snprintf(line, sizeof(line), "size %u %u\n", size.ws_row, size.ws_col);

        (void)!fd_write_all(r->ch[CH_CONTROL].fd, line, (size_t)n);
    }
}

static void on_exit_of_emulator(pid_t pid, int code, int status, void *arg_)
{
    struct run *r = arg_;

    (void)pid;
    r->child_gone = true;
    r->child_status = code == CLD_EXITED ? status : 128 + status;
    for (unsigned i = 0; i < CH_COUNT; i++) {
        /* What is still in the sockets is read before the loop ends; stdin has nowhere to go. */
        if (i == CH_STDIN) {
            close_channel(&r->ch[i]);
        }
    }
    check_done(r);
}

static void on_timeout(void *arg_)
{
    struct run *r = arg_;

    r->timed_out = true;
    (void)kill(r->pid, SIGKILL);
}

/* ---- life ---- */

static int watch(struct run *r, struct err **err)
{
    int e = loop_add_child(r->loop, r->pid, on_exit_of_emulator, r, &r->child_src);

    for (unsigned i = 0; e == 0 && i < CH_COUNT; i++) {
        if (r->ch[i].fd >= 0 && i != CH_STDIN) {
            e = loop_add_fd(r->loop, r->ch[i].fd, EPOLLIN, on_guest, &r->ch[i], &r->ch[i].src);
        }
    }
    if (e == 0 && (r->tty || r->ch[CH_STDIN].fd >= 0)) {
        int in = loop_add_fd(r->loop, STDIN_FILENO, EPOLLIN, on_stdin, r, &r->in_src);

        if (in == -EPERM) {
            /* A regular file (or /dev/null) is always ready, and epoll will not have it. */
            char buf[16384];
            ssize_t n;

            while ((n = read(STDIN_FILENO, buf, sizeof(buf))) > 0 &&
                   fd_write_all(r->ch[CH_STDIN].fd, buf, (size_t)n) == 0) {
            }
            close_channel(&r->ch[CH_STDIN]);
        } else {
            e = in;
        }
    }
    if (e == 0 && r->tty) {
        e = loop_add_signal(r->loop, SIGWINCH, on_winch, r, &r->winch);
    }
    if (e == 0 && r->opt.timeout_usec != 0) {
        e = loop_add_timer(r->loop, on_timeout, r, &r->timer);
        e = e == 0 ? loop_timer_arm(r->timer, loop_now_usec() + r->opt.timeout_usec) : e;
    }
    return e < 0 ? err_set(err, -e, "cannot watch the emulator: %s", strerror(-e)) : 0;
}

static int compare_int(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int start(struct run *r, struct err **err)
{
    AUTO_FREE char *emulator = path_find_program("vireo-system-x86_64");
    AUTO_FD int initrd = -1;
    int keep[CH_COUNT + 1];
    size_t n_keep = 0;
    static const unsigned on_tty[] = { CH_LOG, CH_CONTROL, CH_CONSOLE };
    static const unsigned on_pipes[] = { CH_LOG, CH_CONTROL, CH_STDIN, CH_STDOUT, CH_STDERR };
    int e = 0;

    if (emulator == NULL) {
        return err_set(err, ENOENT, "'vireo-system-x86_64' is neither beside vireo nor in $PATH");
    }
    for (unsigned i = 0; e == 0 && i < (r->tty ? 3u : 5u); i++) {
        e = open_channel(r, r->tty ? on_tty[i] : on_pipes[i], err);
    }
    e = e == 0 ? build_args(r, emulator, &initrd, err) : e;
    if (e < 0) {
        return e;
    }
    for (unsigned i = 0; i < CH_COUNT; i++) {
        if (r->guest_fd[i] >= 0) {
            keep[n_keep++] = r->guest_fd[i];
        }
    }
    if (initrd >= 0) {
        keep[n_keep++] = initrd;
    }
    qsort(keep, n_keep, sizeof(keep[0]), compare_int);
    e = process_spawn(&(struct process_spec) { .argv = (const char *const *)r->argv,
                                               .fd_in = -1,
                                               .fd_out = -1,
                                               .fd_err = PROCESS_INHERIT,
                                               .keep = keep,
                                               .n_keep = n_keep,
                                               .die_with_parent = true,
                                               .new_session = true },
                      &r->pid, err);
    for (unsigned i = 0; i < CH_COUNT; i++) {
        close_fdp(&r->guest_fd[i]);
    }
    return e;
}

/* The last line of the kernel's log that tells why it ended, or NULL. */
static char *panic_line(const struct run *r)
{
    static const char *const marks[] = { "Kernel panic", "BUG:", "Out of memory" };

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        const char *at = memmem(r->tail, r->tail_len, marks[i], strlen(marks[i]));

        if (at != NULL) {
            size_t left = r->tail_len - (size_t)(at - r->tail);
            size_t n = 0;

            while (n < left && at[n] != '\r' && at[n] != '\n') {
                n++;
            }
            return strndup(at, n);
        }
    }
    return NULL;
}

/* What the kernel said last, when it is the only clue. */
static void show_tail(const struct run *r)
{
    if (!r->opt.quiet) {
        (void)!fd_write_all(STDERR_FILENO, r->tail, r->tail_len);
    }
}

static int verdict(struct run *r, struct err **err)
{
    AUTO_FREE char *panic = NULL;

    if (r->status != STATUS_NONE) {
        return r->status;
    }
    if (r->timed_out) {
        show_tail(r);
        log_error("the guest did not end within %g s (--timeout)",
                  (double)r->opt.timeout_usec / 1e6);
        return STATUS_TIMEOUT;
    }
    if (r->guest_error != NULL) {
        return err_set(err, EIO, "in the guest: %s", r->guest_error);
    }
    panic = panic_line(r);
    if (panic != NULL) {
        log_error("the guest's kernel died: %s", panic);
        return STATUS_LOST;
    }
    if (r->opt.kernel != NULL && r->opt.initrd != NULL && r->child_status == 0) {
        return 0;
    }
    if (r->child_status == 1) {
        return 1; /* the emulator has said why */
    }
    show_tail(r);
    log_error("the guest ended without a status%s",
              r->child_status == 0 ? " (it rebooted or reset: a triple fault, or a panic)" : "");
    return STATUS_LOST;
}

static void run_done(struct run *r)
{
    terminal_restore();
    for (unsigned i = 0; i < CH_COUNT; i++) {
        close_channel(&r->ch[i]);
        close_fdp(&r->guest_fd[i]);
    }
    (void)loop_source_free(r->in_src);
    (void)loop_source_free(r->winch);
    (void)loop_source_free(r->child_src);
    (void)loop_source_free(r->timer);
    (void)loop_free(r->loop);
    for (unsigned i = 0; i < r->argc; i++) {
        free(r->argv[i]);
    }
    free(r->guest_error);
    free(r);
}

static int run_command(int argc, char **argv, struct err **err)
{
    struct run *r = calloc(1, sizeof(*r));
    int e;

    if (r == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < CH_COUNT; i++) {
        r->ch[i] = (struct channel) { .run = r, .fd = -1 };
        r->guest_fd[i] = -1;
    }
    r->status = STATUS_NONE;
    e = run_options_parse(argc, argv, &r->opt, err);
    if (e == 0) {
        r->tty = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
        e = loop_new(&r->loop);
    }
    e = e == 0 ? start(r, err) : e;
    if (e == 0 && r->tty) {
        (void)terminal_raw();
    }
    e = e == 0 ? watch(r, err) : e;
    if (e == 0) {
        (void)loop_run(r->loop);
        terminal_restore();
        e = verdict(r, err);
    }
    run_done(r);
    return e;
}

const struct command command_run = {
    .name = "run",
    .usage = "[OPTION]... [-- COMMAND [ARGUMENT]...]",
    .summary = "Starts a virtual machine now, and runs a shell or COMMAND in it.",
    .help = run_help,
    .run = run_command,
};
