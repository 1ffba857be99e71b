/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c - vireo-nbd: exports images over the NBD protocol. */
#include "base/log.h"
#include "base/opt.h"
#include "base/str.h"
#include "block/nbd/wire.h"
#include "os/fd.h"
#include "os/sock.h"
#include "os/tls.h"
#include "tools/nbd/nbd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

enum {
    OPT_OBJECT = 256,
    OPT_IMAGE_OPTS,
    OPT_CACHE,
    OPT_AIO,
    OPT_DISCARD,
    OPT_DETECT_ZEROES,
    OPT_TLS_CREDS,
    OPT_TLS_HOSTNAME,
    OPT_TLS_AUTHZ,
    OPT_FORK,
    OPT_PID_FILE,
    OPT_SELINUX_LABEL,
    OPT_EXPORT,
    BACKLOG = 64,
    MAX_LISTEN = 8,
    FIRST_PASSED_FD = 3, /* (sd_listen_fds(3)) */
};

static void usage(void)
{
    printf(
        "Usage: vireo-nbd [OPTIONS] FILE\n"
        "  or:  vireo-nbd -L [OPTIONS]\n"
        "Exports a disk image over the NBD protocol\n\n"
        "  -h, --help                display this help and exit\n"
        "  -V, --version             output version information and exit\n\n"
        "Connection properties:\n"
        "  -p, --port=PORT           port to listen on (default 10809)\n"
        "  -b, --bind=IFACE          address to bind to (default 0.0.0.0)\n"
        "  -k, --socket=PATH         listen on a unix socket instead\n"
        "  -e, --shared=NUM          clients at a time (default 1; 0: any number)\n"
        "  -t, --persistent          go on after the last client has left\n"
        "  -x, --export-name=NAME    the export's name (default: the empty name)\n"
        "  -D, --description=TEXT    the export's description\n"
        "  -v, --verbose             for qemu-nbd's command lines; no effect\n\n"
        "Exposing part of the image:\n"
        "  -o, --offset=OFFSET       where the export begins in the image\n"
        "  -A, --allocation-depth    offer the context qemu:allocation-depth\n"
        "  -B, --bitmap=NAME         offer a dirty bitmap as a context (may be repeated)\n\n"
        "More exports:\n"
        "      --export name=NAME,file=FILE[,format=FMT][,read-only=on|off][,description=TEXT]\n"
        "               [,offset=OFFSET][,load-snapshot=ID][,allocation-depth=on|off][,bitmap=NAME...]\n"
        "                            export this image too (may be repeated)\n\n"
        "General purpose options:\n"
        "  -L, --list                list the exports of another server\n"
        "      --object OBJECTDEF    define a 'secret', 'tls-creds-x509' or 'throttle-group'\n"
        "      --tls-creds=ID        TLS with the credentials of an earlier --object\n"
        "      --tls-hostname=NAME   with -L: the name in the server's certificate\n"
        "      --fork                go to the background when clients can connect\n"
        "      --pid-file=PATH       write the process id to that file, and lock it\n"
        "  -T, --trace PATTERN       enable trace points\n\n"
        "Block device options:\n"
        "  -f, --format=FORMAT       the image's format; guessed when left out\n"
        "  -r, --read-only           export read-only\n"
        "  -s, --snapshot            keep writes in a temporary file, not in FILE\n"
        "  -l, --load-snapshot=SNAP  export an internal snapshot, read-only: its id or name, or\n"
        "                            snapshot.id=ID,snapshot.name=NAME\n"
        "  -n, --nocache             same as --cache=none\n"
        "      --cache=MODE          none, writeback (default), writethrough, directsync, unsafe\n"
        "      --aio=MODE            threads, native or io_uring; here all the same\n"
        "      --discard=MODE        ignore, unmap (default)\n"
        "      --detect-zeroes=MODE  off (default), on, unmap\n"
        "      --image-opts          FILE is options like driver=qcow2,file.filename=disk.img\n\n"
        "The manual is vireo-nbd(8).\n");
}

static int fail(struct err *err, int r)
{
    log_error("%s", err != NULL ? err->text : strerror(-r));
    (void)err_free(err);
    return EXIT_FAILURE;
}

static int bad_use(const char *text)
{
    log_error("%s", text);
    (void)fprintf(stderr, "Try 'vireo-nbd --help' for more information.\n");
    return EXIT_FAILURE;
}

/* ---- going to the background ---- */

/* In the child, where stderr goes to the parent until ready() is called. The parent does not
 * return. */
static int go_background(void)
{
    int p[2];
    pid_t pid;

    if (pipe2(p, O_CLOEXEC) < 0) {
        return -errno;
    }
    pid = fork();
    if (pid < 0) {
        return -errno;
    }
    if (pid == 0) {
        (void)setsid();
        (void)dup2(p[1], STDERR_FILENO);
        (void)close(p[0]);
        (void)close(p[1]);
        return 0;
    }
    (void)close(p[1]);
    for (;;) {
        char buf[4096];
        ssize_t n = read(p[0], buf, sizeof(buf));

        if (n == 0 || (n < 0 && errno != EINTR)) {
            break;
        }
        /* A NUL is the sign that clients can connect. */
        if (n > 0 && buf[n - 1] == '\0') {
            _exit(EXIT_SUCCESS);
        }
        if (n > 0) {
            (void)!fd_write_all(STDERR_FILENO, buf, (size_t)n);
        }
    }
    _exit(EXIT_FAILURE);
}

static void background_ready(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)!write(STDERR_FILENO, "", 1);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
        (void)dup2(null, STDERR_FILENO);
        (void)close(null);
    }
}

static int write_pid_file(const char *path, int *ret_fd, struct err **err)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

    *ret_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*ret_fd < 0) {
        return err_set(err, errno, "Cannot open pid file '%s': %s", path, strerror(errno));
    }
    if (flock(*ret_fd, LOCK_EX | LOCK_NB) < 0) {
        return err_set(err, errno, "Cannot lock pid file '%s': %s", path, strerror(errno));
    }
    if (ftruncate(*ret_fd, 0) < 0 || fd_write_all(*ret_fd, text, (size_t)len) < 0) {
        return err_set(err, errno, "Cannot write pid file '%s': %s", path, strerror(errno));
    }
    return 0;
}

/* ---- serving ---- */

struct service {
    struct nbd_tool tool;
    struct nbd_server *server;
    struct tls_creds *creds;
    unsigned shared;
    bool persistent;
    bool fork;
    const char *pid_file;
    const char *file;
    unsigned n_passed; /* sockets that came with the process */
    int event;         /* the last client has left */
};

static void on_gone(void *arg, bool used, unsigned left)
{
    struct service *s = arg;
    uint64_t one = 1;

    if (used && left == 0 && !s->persistent) {
        (void)!write(s->event, &one, sizeof(one));
    }
}

static int load_creds(struct service *s, bool *ret_verify, struct err **err)
{
    const char *id = s->tool.tls_creds;
    const char *dir = id != NULL ? objects_tls(s->tool.objects, id, ret_verify) : NULL;

    if (id == NULL) {
        return 0;
    }
    return dir != NULL ? tls_creds_load_folder(dir, true, &s->creds, err)
                       : err_set(err, ENOENT, "No TLS credentials with id '%s'", id);
}

static int listen_all(struct service *s, struct err **err)
{
    struct nbd_tool *t = &s->tool;
    int fds[MAX_LISTEN];
    unsigned n = 0;
    int r = 0;

    if (s->n_passed > 0) {
        for (; n < s->n_passed && n < MAX_LISTEN; n++) {
            fds[n] = FIRST_PASSED_FD + (int)n;
        }
    } else if (t->path != NULL) {
        r = sock_listen_unix(t->path, BACKLOG, &fds[0], err);
        n = r == 0;
    } else {
        r = sock_listen_tcp(t->bind != NULL ? t->bind : "0.0.0.0", t->port, BACKLOG, fds,
                            MAX_LISTEN, &n, err);
    }
    for (unsigned i = 0; i < n; i++) {
        if (r == 0) {
            r = nbd_server_listen(s->server, fds[i], err);
        } else {
            (void)close(fds[i]);
        }
    }
    return r;
}

static int start(struct service *s, struct err **err)
{
    struct nbd_server_options o = { .max_clients = s->shared, .on_gone = on_gone, .arg = s };
    int r;

    s->event = eventfd(0, EFD_CLOEXEC);
    r = s->event < 0 ? err_set(err, errno, "cannot make an eventfd")
                     : load_creds(s, &o.verify_peer, err);
    if (r == 0) {
        o.tls = s->creds;
        r = nbd_server_new(&o, &s->server, err);
    }
    if (r == 0 && s->file != NULL) {
        r = nbd_export_file(&s->tool, s->server, s->file, err);
    }
    for (unsigned i = 0; r == 0 && i < s->tool.n_exports; i++) {
        r = nbd_export_text(&s->tool, s->server, s->tool.exports[i], err);
    }
    return r == 0 ? listen_all(s, err) : r;
}

static int serve(struct service *s)
{
    AUTO_FD int pid_fd = -1;
    AUTO_FD int signals = -1;
    struct err *err = NULL;
    sigset_t set;
    int r = s->fork ? go_background() : 0;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (r == 0 && s->pid_file != NULL) {
        r = write_pid_file(s->pid_file, &pid_fd, &err);
    }
    if (r == 0) {
        r = start(s, &err);
    }
    if (r == 0) {
        struct pollfd p[2] = { { .fd = signals, .events = POLLIN },
                               { .fd = s->event, .events = POLLIN } };

        if (s->fork) {
            background_ready();
        }
        while (poll(p, 2, -1) < 0 && errno == EINTR) {
        }
    }
    s->server = nbd_server_free(s->server);
    s->creds = tls_creds_free(s->creds);
    close_fdp(&s->event);
    if (r == 0 && s->tool.path != NULL && s->n_passed == 0) {
        (void)unlink(s->tool.path);
    }
    if (pid_fd >= 0) {
        (void)unlink(s->pid_file);
    }
    return r < 0 ? fail(err, r) : EXIT_SUCCESS;
}

/* ---- options ---- */

static unsigned passed_sockets(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *fds = getenv("LISTEN_FDS");
    uint32_t n = 0;
    uint64_t who = 0;

    if (pid == NULL || fds == NULL || str_to_u64(pid, 10, &who) < 0 || who != (uint64_t)getpid() ||
        str_to_u32(fds, MAX_LISTEN, &n) < 0) {
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        (void)fcntl(FIRST_PASSED_FD + (int)i, F_SETFD, FD_CLOEXEC);
    }
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    return n;
}

static const char short_options[] = "hVb:o:p:rsnc:dvk:e:f:tl:x:T:D:AB:L";
static const struct option long_options[] = {
    { "help", no_argument, 0, 'h' },
    { "version", no_argument, 0, 'V' },
    { "bind", required_argument, 0, 'b' },
    { "port", required_argument, 0, 'p' },
    { "socket", required_argument, 0, 'k' },
    { "offset", required_argument, 0, 'o' },
    { "read-only", no_argument, 0, 'r' },
    { "allocation-depth", no_argument, 0, 'A' },
    { "bitmap", required_argument, 0, 'B' },
    { "connect", required_argument, 0, 'c' },
    { "disconnect", no_argument, 0, 'd' },
    { "list", no_argument, 0, 'L' },
    { "snapshot", no_argument, 0, 's' },
    { "load-snapshot", required_argument, 0, 'l' },
    { "nocache", no_argument, 0, 'n' },
    { "cache", required_argument, 0, OPT_CACHE },
    { "aio", required_argument, 0, OPT_AIO },
    { "discard", required_argument, 0, OPT_DISCARD },
    { "detect-zeroes", required_argument, 0, OPT_DETECT_ZEROES },
    { "shared", required_argument, 0, 'e' },
    { "format", required_argument, 0, 'f' },
    { "persistent", no_argument, 0, 't' },
    { "verbose", no_argument, 0, 'v' },
    { "object", required_argument, 0, OPT_OBJECT },
    { "export-name", required_argument, 0, 'x' },
    { "description", required_argument, 0, 'D' },
    { "tls-creds", required_argument, 0, OPT_TLS_CREDS },
    { "tls-hostname", required_argument, 0, OPT_TLS_HOSTNAME },
    { "tls-authz", required_argument, 0, OPT_TLS_AUTHZ },
    { "image-opts", no_argument, 0, OPT_IMAGE_OPTS },
    { "trace", required_argument, 0, 'T' },
    { "fork", no_argument, 0, OPT_FORK },
    { "pid-file", required_argument, 0, OPT_PID_FILE },
    { "selinux-label", required_argument, 0, OPT_SELINUX_LABEL },
    { "export", required_argument, 0, OPT_EXPORT },
    { 0 }
};

/* Options that say how the image is opened; false when c is none of them. */
static bool image_option(struct nbd_tool *t, int c)
{
    switch (c) {
    case 'f':
        t->fmt = optarg;
        return true;
    case 'r':
        t->read_only = true;
        return true;
    case 's':
        t->snapshot = true;
        return true;
    case 'l':
        t->load_snapshot = optarg;
        t->read_only = true;
        return true;
    case 'n':
        t->cache = "none";
        return true;
    case OPT_CACHE:
        t->cache = optarg;
        return true;
    case OPT_AIO:
        return true;
    case OPT_DISCARD:
        t->discard = optarg;
        return true;
    case OPT_DETECT_ZEROES:
        t->detect_zeroes = optarg;
        return true;
    case OPT_IMAGE_OPTS:
        t->image_opts = true;
        return true;
    default:
        return false;
    }
}

/* Options that take a number or of which there can be too many: 0, or 1 after a message. */
static int counted_option(struct service *s, int c)
{
    struct nbd_tool *t = &s->tool;
    struct err *err = NULL;
    int r = 0;

    switch (c) {
    case 'e':
        if (str_to_u32(optarg, INT32_MAX, &s->shared) < 0) {
            log_error("Invalid shared device number '%s'", optarg);
            return 1;
        }
        return 0;
    case 'o':
        if (opt_parse_size(optarg, &t->off) < 0) {
            log_error("Invalid offset '%s'", optarg);
            return 1;
        }
        return 0;
    case 'B':
        if (t->n_bitmaps == MAX_BITMAPS) {
            return bad_use("too many bitmaps");
        }
        t->bitmaps[t->n_bitmaps++] = optarg;
        return 0;
    case OPT_EXPORT:
        if (t->n_exports == MAX_EXPORTS) {
            return bad_use("too many exports");
        }
        t->exports[t->n_exports++] = optarg;
        return 0;
    default:
        r = objects_add(t->objects, optarg, &err);
        return r < 0 ? fail(err, r) : 0;
    }
}

static int option(struct service *s, int c, bool *ret_list)
{
    struct nbd_tool *t = &s->tool;

    if (image_option(t, c)) {
        return 0;
    }
    switch (c) {
    case 'p':
        t->port = optarg;
        return 0;
    case 'b':
        t->bind = optarg;
        return 0;
    case 'k':
        t->path = optarg;
        return 0;
    case 't':
        s->persistent = true;
        return 0;
    case 'v':
        return 0;
    case 'x':
        t->name = optarg;
        return 0;
    case 'D':
        t->description = optarg;
        return 0;
    case 'A':
        t->allocation_depth = true;
        return 0;
    case 'L':
        *ret_list = true;
        return 0;
    case 'T':
        return trace_enable(str_starts(optarg, "enable=") ? optarg + 7 : optarg) < 0;
    case 'e':
    case 'o':
    case 'B':
    case OPT_EXPORT:
    case OPT_OBJECT:
        return counted_option(s, c);
    case OPT_TLS_CREDS:
        t->tls_creds = optarg;
        return 0;
    case OPT_TLS_HOSTNAME:
        t->tls_hostname = optarg;
        return 0;
    case OPT_FORK:
        s->fork = true;
        return 0;
    case OPT_PID_FILE:
        s->pid_file = optarg;
        return 0;
    case 'c':
    case 'd':
        return bad_use("the kernel's NBD client is not handled here: use nbd-client(8)");
    case OPT_TLS_AUTHZ:
        return bad_use(
            "--tls-authz is not supported: verify-peer=on takes clients whose certificate "
            "the CA has signed");
    case OPT_SELINUX_LABEL:
        return bad_use("--selinux-label is not supported");
    default:
        (void)fprintf(stderr, "Try 'vireo-nbd --help' for more information.\n");
        return 1;
    }
}

static int check_use(struct service *s, int argc, bool list)
{
    struct nbd_tool *t = &s->tool;

    if (list) {
        return argc != optind ? bad_use("List mode is incompatible with a file name") : 0;
    }
    if (argc - optind > 1 || (argc == optind && t->n_exports == 0)) {
        return bad_use(argc == optind ? "A file name is missing" : "Invalid number of arguments");
    }
    if (t->tls_hostname != NULL) {
        return bad_use("TLS hostname is only required by clients: give it with -L");
    }
    if (t->path != NULL && t->bind != NULL) {
        return bad_use("Unix socket can't be used with bind");
    }
    if (s->n_passed > 0 && (t->path != NULL || t->bind != NULL || t->port != NULL)) {
        return bad_use("Socket activation can't be used with -b, -k or -p");
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct service s = { .shared = 1, .event = -1, .n_passed = passed_sockets() };
    struct nbd_tool *t = &s.tool;
    struct err *err = NULL;
    bool list = false;
    int status;
    int c;

    log_set_program("vireo-nbd");
    if (block_ctx_new(NULL, &t->ctx, &err) < 0 || objects_new(t->ctx, &t->objects, &err) < 0) {
        return fail(err, -ENOMEM);
    }
    while ((c = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
        if (c == 'h') {
            usage();
            return EXIT_SUCCESS;
        }
        if (c == 'V') {
            printf("vireo-nbd version %s\n", VIREO_VERSION);
            return EXIT_SUCCESS;
        }
        if (option(&s, c, &list) != 0) {
            return EXIT_FAILURE;
        }
    }
    if (check_use(&s, argc, list) != 0) {
        return EXIT_FAILURE;
    }
    if (t->port == NULL) {
        t->port = "10809";
    }
    s.file = argv[optind];
    if (list) {
        int r = nbd_print_list(t, &err);

        status = r < 0 ? fail(err, r) : EXIT_SUCCESS;
    } else {
        status = serve(&s);
    }
    t->objects = objects_free(t->objects);
    t->ctx = block_ctx_free(t->ctx);
    return status;
}
