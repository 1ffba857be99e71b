/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * init.c - process 1 of a guest that `vireo run` starts: static, without any library of ours.
 *
 * Reads /vireo.conf, a sequence of NUL-terminated "key=value" strings in the order to be carried
 * out: module=FILE          load /modules/FILE root=virtiofs:TAG | block:DEVICE   the root file
 * system, with a writable overlay in memory share=TAG:DIR        a virtio-fs share, mounted at DIR
 *     net=user             DHCP on the first Ethernet interface
 *     tty=1                the command gets the console hvc0 as its terminal, else three ports
 *     size=ROWS:COLUMNS    of that terminal
 *     dir=PATH env=K=V arg=STRING        the command; no arg: a shell
 * and answers on the port "vireo.control": "exit N\n" when the command is done, "error TEXT\n" when
 * it could not be run. The host sends "size ROWS COLUMNS\n" there when the terminal changes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { MAX_ARGS = 4096, MAX_ENV = 4096, CONF_BYTES = 1 << 20 };

static char conf[CONF_BYTES];
static char *args[MAX_ARGS + 1];
static int n_args;
static char *envs[MAX_ENV + 1];
static int n_envs;
static const char *dir = "/";
static bool tty;
static struct winsize size = { .ws_row = 24, .ws_col = 80 };
static int control = -1;
static const char *root = ""; /* what the command is chrooted to; "": the initramfs itself */

static _Noreturn void power_off(void)
{
    sync();
    (void)reboot(RB_POWER_OFF);
    for (;;) {
        (void)pause();
    }
}

static void say(const char *fmt, ...)
{
    char line[512];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n > 0) {
        /* Without the port, the kernel's console at least tells a person. */
        (void)!write(control >= 0 ? control : STDERR_FILENO, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
    }
}

static _Noreturn void fail(const char *what, const char *name)
{
    say("error %s '%s': %s\n", what, name, strerror(errno));
    power_off();
}

static void load_module(const char *name)
{
    char path[256];
    int fd;

    (void)snprintf(path, sizeof(path), "/modules/%s", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)) {
        fail("cannot load module", name);
    }
    (void)close(fd);
}

static void make_folder(const char *path)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST) {
        fail("cannot make folder", path);
    }
}

static void mount_at(const char *source, const char *target, const char *type, unsigned long flags,
                     const char *data)
{
    if (mount(source, target, type, flags, data) < 0) {
        fail("cannot mount", target);
    }
}

/* The port of that name, waiting for the driver to find it. */
static int open_port(const char *want, int flags)
{
    for (int tries = 0; tries < 2000; tries++) {
        DIR *d = opendir("/sys/class/virtio-ports");

        for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
            char path[512];
            char name[64] = "";
            int fd;
            ssize_t n;

            (void)snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", e->d_name);
            fd = open(path, O_RDONLY | O_CLOEXEC);
            n = fd >= 0 ? read(fd, name, sizeof(name) - 1) : 0;
            if (fd >= 0) {
                (void)close(fd);
            }
            name[n > 0 ? n : 0] = '\0';
            name[strcspn(name, "\n")] = '\0';
            if (strcmp(name, want) != 0) {
                continue;
            }
            (void)snprintf(path, sizeof(path), "/dev/%s", e->d_name);
            fd = open(path, flags | O_CLOEXEC);
            if (fd >= 0) {
                (void)closedir(d);
                return fd;
            }
        }
        if (d != NULL) {
            (void)closedir(d);
        }
        (void)usleep(1000);
    }
    return -1;
}

static void mount_root(const char *spec)
{
    const char *colon = strchr(spec, ':');

    make_folder("/lower");
    make_folder("/rw");
    make_folder("/root-fs");
    if (strncmp(spec, "virtiofs:", 9) == 0) {
        mount_at(colon + 1, "/lower", "virtiofs", MS_RDONLY, NULL);
    } else {
        mount_at(colon + 1, "/lower", "ext4", MS_RDONLY, NULL);
    }
    mount_at("tmpfs", "/rw", "tmpfs", 0, "mode=755");
    make_folder("/rw/upper");
    make_folder("/rw/work");
    mount_at("overlay", "/root-fs", "overlay", 0,
             "lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work");
    make_folder("/root-fs/dev");
    make_folder("/root-fs/proc");
    make_folder("/root-fs/sys");
    make_folder("/root-fs/tmp");
    make_folder("/root-fs/run");
    mount_at("/dev", "/root-fs/dev", NULL, MS_BIND | MS_REC, NULL);
    mount_at("proc", "/root-fs/proc", "proc", 0, NULL);
    mount_at("/sys", "/root-fs/sys", NULL, MS_BIND, NULL);
    mount_at("tmpfs", "/root-fs/run", "tmpfs", 0, "mode=755");
    root = "/root-fs";
}

/* mkdir -p below the root in use, then mounts the share there. */
static void mount_share(char *spec)
{
    char *colon = strchr(spec, ':');
    char path[4096];

    if (colon == NULL) {
        return;
    }
    *colon = '\0';
    (void)snprintf(path, sizeof(path), "%s%s", root, colon + 1);
    for (char *p = path + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            (void)mkdir(path, 0755);
            *p = '/';
        }
    }
    (void)mkdir(path, 0755);
    mount_at(spec, path, "virtiofs", 0, NULL);
}

static int run_and_wait(char *const argv[])
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        (void)execv(argv[0], argv);
        _exit(127);
    }
    (void)waitpid(pid, &status, 0);
    return status;
}

static void start_network(void)
{
    static char *const up[] = { "/bin/busybox", "ip", "link", "set", "lo", "up", NULL };
    static char *const up0[] = { "/bin/busybox", "ip", "link", "set", "eth0", "up", NULL };
    static char *const dhcp[] = {
        "/bin/busybox", "udhcpc",          "-i", "eth0", "-q", "-n", "-f", "-t", "5", "-T", "1",
        "-s",           "/bin/dhcp-event", NULL
    };
    char path[64];
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int saved[3];

    for (int i = 0; i < 3; i++) {
        saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
        (void)dup2(null_fd, i);
    }
    (void)run_and_wait(up);
    (void)run_and_wait(up0);
    (void)run_and_wait(dhcp);
    for (int i = 0; i < 3; i++) {
        if (saved[i] >= 0) {
            (void)dup2(saved[i], i);
            (void)close(saved[i]);
        }
    }
    (void)close(null_fd);
    if (*root != '\0') {
        /* The host's resolv.conf may name a resolver that the guest cannot reach. */
        (void)snprintf(path, sizeof(path), "%s/etc/resolv.conf", root);
        (void)unlink(path);
        static char *const copy_fmt[] = { "/bin/busybox", "cp", "/etc/resolv.conf", NULL };
        char *copy[] = { copy_fmt[0], copy_fmt[1], copy_fmt[2], path, NULL };

        (void)run_and_wait(copy);
    }
}

static void parse_size(const char *s)
{
    unsigned rows = 0;
    unsigned cols = 0;

    if (sscanf(s, "%u%*[ :]%u", &rows, &cols) == 2 && rows > 0 && cols > 0) {
        size.ws_row = (unsigned short)rows;
        size.ws_col = (unsigned short)cols;
    }
}

static void carry_out(char *key)
{
    char *value = strchr(key, '=');

    if (value == NULL) {
        return;
    }
    *value++ = '\0';
    if (strcmp(key, "module") == 0) {
        load_module(value);
    } else if (strcmp(key, "control") == 0) {
        control = open_port("vireo.control", O_RDWR);
        if (control < 0) {
            fail("cannot open port", "vireo.control");
        }
    } else if (strcmp(key, "root") == 0) {
        mount_root(value);
    } else if (strcmp(key, "share") == 0) {
        mount_share(value);
    } else if (strcmp(key, "net") == 0) {
        start_network();
    } else if (strcmp(key, "tty") == 0) {
        tty = true;
    } else if (strcmp(key, "size") == 0) {
        parse_size(value);
    } else if (strcmp(key, "dir") == 0) {
        dir = value;
    } else if (strcmp(key, "env") == 0 && n_envs < MAX_ENV) {
        envs[n_envs++] = value;
    } else if (strcmp(key, "arg") == 0 && n_args < MAX_ARGS) {
        args[n_args++] = value;
    }
}

static void read_conf(void)
{
    int fd = open("/vireo.conf", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, conf, sizeof(conf) - 1) : 0;

    if (fd >= 0) {
        (void)close(fd);
    }
    for (char *p = conf; p < conf + len;) {
        size_t n = strlen(p);

        carry_out(p);
        p += n + 1;
    }
}

/* The command's descriptors: the console, or one port each. Opened before the fork: a port opens
 * once. */
static void open_stdio(int fds[3])
{
    if (tty) {
        fds[0] = -1;
        for (int tries = 0; tries < 2000 && fds[0] < 0; tries++) {
            fds[0] = open("/dev/hvc0", O_RDWR | O_CLOEXEC | O_NOCTTY);
            if (fds[0] < 0) {
                (void)usleep(1000);
            }
        }
        fds[1] = fds[0];
        fds[2] = fds[0];
        (void)ioctl(fds[0], TIOCSWINSZ, &size);
        return;
    }
    fds[0] = open_port("vireo.stdin", O_RDONLY);
    fds[1] = open_port("vireo.stdout", O_WRONLY);
    fds[2] = open_port("vireo.stderr", O_WRONLY);
}

static _Noreturn void child(const int fds[3])
{
    static char *const shell[] = { "/bin/sh", NULL };
    char *const *argv = n_args > 0 ? args : shell;

    (void)setsid();
    for (int i = 0; i < 3; i++) {
        if (fds[i] >= 0) {
            (void)dup2(fds[i], i);
        }
    }
    if (tty) {
        (void)ioctl(0, TIOCSCTTY, 1);
    }
    if (*root != '\0' && (chroot(root) < 0 || chdir("/") < 0)) {
        dprintf(2, "vireo: cannot enter the root file system: %s\n", strerror(errno));
        _exit(125);
    }
    if (chdir(dir) < 0 && chdir("/") < 0) {
        _exit(125);
    }
    (void)execvpe(argv[0], argv, envs);
    dprintf(2, "vireo: cannot run '%s': %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

static void hear_control(void)
{
    char line[128];
    ssize_t n = read(control, line, sizeof(line) - 1);

    if (n > 5 && strncmp(line, "size ", 5) == 0) {
        line[n] = '\0';
        parse_size(line + 5);
        int fd = open("/dev/hvc0", O_RDWR | O_CLOEXEC | O_NOCTTY);

        if (fd >= 0) {
            (void)ioctl(fd, TIOCSWINSZ, &size);
            (void)close(fd);
        }
    }
}

static void on_child(int signo)
{
    (void)signo; /* interrupts ppoll() */
}

static int wait_for(pid_t pid)
{
    struct sigaction sa = { .sa_handler = on_child };
    sigset_t block;
    sigset_t none;

    (void)sigemptyset(&block);
    (void)sigemptyset(&none);
    (void)sigaddset(&block, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &block, NULL);
    (void)sigaction(SIGCHLD, &sa, NULL);
    for (;;) {
        struct pollfd p = { .fd = control, .events = POLLIN };
        int status;
        pid_t got;

        while ((got = waitpid(-1, &status, WNOHANG)) > 0) {
            if (got == pid) {
                return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            }
        }
        if (ppoll(&p, tty ? 1 : 0, NULL, &none) > 0) {
            hear_control();
        }
    }
}

int main(void)
{
    int fds[3] = { -1, -1, -1 };
    pid_t pid;
    int status;

    (void)mount("dev", "/dev", "devtmpfs", 0, NULL);
    (void)mount("proc", "/proc", "proc", 0, NULL);
    (void)mount("sys", "/sys", "sysfs", 0, NULL);
    (void)mkdir("/dev/pts", 0755);
    (void)mkdir("/dev/shm", 01777);
    (void)mount("devpts", "/dev/pts", "devpts", 0, "mode=620,ptmxmode=666");
    (void)mount("shm", "/dev/shm", "tmpfs", 0, "mode=1777");
    (void)sethostname("vireo", 5);
    read_conf();
    open_stdio(fds);
    (void)fflush(NULL);
    pid = fork();
    if (pid == 0) {
        (void)setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
        child(fds);
    }
    status = wait_for(pid);
    if (tty) {
        (void)tcdrain(fds[0]);
    }
    say("exit %d\n", status);
    power_off();
}
