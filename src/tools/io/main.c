/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c - vireo-io: reads and writes an image as commands say, for tests. */
#include "base/log.h"
#include "base/opt.h"
#include "base/str.h"
#include "codec/keyval.h"
#include "tools/image/objects.h"
#include "tools/io/io.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { MAX_ARGS = 128, MAX_COMMANDS = 4096, LINE_BYTES = 65536, OPT_OBJECT = 256, OPT_IMAGE_OPTS };

int64_t io_number(const char *text)
{
    uint64_t n;
    int r = opt_parse_size(text, &n);

    if (r < 0 || n > INT64_MAX) {
        printf("Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- %s\n",
               text);
        return r < 0 ? r : -ERANGE;
    }
    return (int64_t)n;
}

const char *io_size_text(double v, char buf[32])
{
    static const char *const units[] = { " bytes", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB" };
    int i = 0;
    char *dot;

    while (v >= 1024 && i < 6) {
        v /= 1024;
        i++;
    }
    (void)snprintf(buf, 32, "%.3f", v);
    dot = strstr(buf, ".000");
    if (dot != NULL) {
        *dot = '\0';
    }
    (void)snprintf(buf + strlen(buf), 32 - strlen(buf), "%s", units[i]);
    return buf;
}

void io_report(const char *verb, double secs, uint64_t off, uint64_t count, uint64_t total,
               bool short_form)
{
    char done[32];
    char rate[32];
    double per = secs > 0 ? (double)total / secs : 0;

    if (short_form) {
        printf("%llu,1,%d:%02d:%05.2f,%.3f,%.3f\n", (unsigned long long)total, (int)(secs / 3600),
               (int)(secs / 60) % 60, secs, per, secs > 0 ? 1 / secs : 0);
        return;
    }
    printf("%s %llu/%llu bytes at offset %llu\n", verb, (unsigned long long)total,
           (unsigned long long)count, (unsigned long long)off);
    printf("%s, 1 ops; %05.2f sec (%s/sec and %.4f ops/sec)\n", io_size_text((double)total, done),
           secs, io_size_text(per, rate), secs > 0 ? 1 / secs : 0);
}

static int add_flags(struct io *io, struct keyval *kv)
{
    const char *c = io->cache;
    bool direct = c != NULL && (str_eq(c, "none") || str_eq(c, "off") || str_eq(c, "directsync"));
    int r = keyval_add(kv, "read-only", io->read_only ? "on" : "off");

    if (r == 0 && direct) {
        r = keyval_add(kv, "cache.direct", "on");
    }
    if (r == 0 && c != NULL && str_eq(c, "unsafe")) {
        r = keyval_add(kv, "cache.no-flush", "on");
    }
    if (r == 0 && io->discard != NULL) {
        r = keyval_add(kv, "discard", io->discard);
    }
    if (r == 0 && io->force_share) {
        r = keyval_add(kv, "force-share", "on");
    }
    io->writethrough = c != NULL && (str_eq(c, "writethrough") || str_eq(c, "directsync"));
    return r;
}

int io_open(struct io *io, const char *name)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    struct err *err = NULL;
    int r;

    if (io->node != NULL) {
        (void)fprintf(stderr, "file open already, try 'help close'\n");
        return -EBUSY;
    }
    r = keyval_parse(io->image_opts ? name : "", NULL, false, &kv, &err);
    if (r == 0) {
        r = add_flags(io, kv);
    }
    if (r == 0 && io->image_opts) {
        r = block_open(io->ctx, kv, NULL, NULL, &io->node, &err);
        if (r == 0) {
            r = keyval_check_used(kv, &err);
        }
        err_prefix(&err, "can't open: ");
    } else if (r == 0) {
        r = block_open_image(io->ctx, name, io->fmt, kv, &io->node, &err);
        err_prefix(&err, "can't open device %s: ", name);
    }
    if (r < 0) {
        log_error("%s", err != NULL ? err->text : strerror(-r));
        io->node = block_unref(io->node);
        (void)err_free(err);
    }
    return r;
}

static const struct io_command *find(const char *name)
{
    const struct io_command *const tables[] = { io_rw_commands, io_query_commands };

    for (int t = 0; t < 2; t++) {
        for (const struct io_command *c = tables[t]; c->name != NULL; c++) {
            if (str_eq(c->name, name) || (c->alias != NULL && str_eq(c->alias, name))) {
                return c;
            }
        }
    }
    return NULL;
}

static int help(void)
{
    const struct io_command *const tables[] = { io_rw_commands, io_query_commands };

    for (int t = 0; t < 2; t++) {
        for (const struct io_command *c = tables[t]; c->name != NULL; c++) {
            printf("%s %s-- %s\n", c->name, c->args, c->help);
        }
    }
    printf("help -- this text\nquit -- exit the program\n");
    return 0;
}

static int run_line(struct io *io, const char *line)
{
    AUTO_FREE char *copy = strdup(line);
    char *argv[MAX_ARGS + 1];
    char *save = NULL;
    const struct io_command *c;
    int argc = 0;

    for (char *p = copy != NULL ? strtok_r(copy, " \t\n", &save) : NULL;
         p != NULL && argc < MAX_ARGS; p = strtok_r(NULL, " \t\n", &save)) {
        argv[argc++] = p;
    }
    argv[argc] = NULL;
    if (argc == 0) {
        return 0;
    }
    if (str_eq(argv[0], "quit") || str_eq(argv[0], "q")) {
        return 1;
    }
    if (str_eq(argv[0], "help") || str_eq(argv[0], "?")) {
        return help();
    }
    c = find(argv[0]);
    if (c == NULL) {
        (void)fprintf(stderr, "command \"%s\" not found\n", argv[0]);
        return -EINVAL;
    }
    if (c->needs_image && io->node == NULL) {
        (void)fprintf(stderr, "no file open, try 'help open'\n");
        return -EINVAL;
    }
    if (argc - 1 < c->min_args || (c->max_args >= 0 && argc - 1 > c->max_args)) {
        (void)fprintf(stderr, "bad argument count %d to %s, expected %d%s arguments\n", argc - 1,
                      argv[0], c->min_args, c->max_args != c->min_args ? " or more" : "");
        return -EINVAL;
    }
    optind = 0;
    return c->run(io, argc, argv);
}

static int interact(struct io *io)
{
    AUTO_FREE char *line = malloc(LINE_BYTES);
    int status = 0;

    for (;;) {
        int r;

        printf("vireo-io> ");
        (void)fflush(stdout);
        if (line == NULL || fgets(line, LINE_BYTES, stdin) == NULL) {
            return status;
        }
        r = run_line(io, line);
        (void)fflush(stdout);
        if (r > 0) {
            return status;
        }
        status |= r < 0;
    }
}

static void usage(void)
{
    printf("Usage: vireo-io [OPTIONS]... [-c STRING]... [file]\n"
           "Reads and writes a disk image as commands say\n\n"
           "  --object OBJECTDEF   define a 'secret', 'tls-creds-x509' or 'throttle-group'\n"
           "  --image-opts         treat file as option string\n"
           "  -c, --cmd STRING     execute command with its arguments\n"
           "  -f, --format FMT     the image's format\n"
           "  -r, --read-only      open for reading only\n"
           "  -n, --nocache        same as -t none\n"
           "  -t, --cache MODE     use the given cache mode for the image\n"
           "  -d, --discard MODE   ignore or unmap\n"
           "  -i, --aio MODE       threads, native or io_uring; here all the same\n"
           "  -U, --force-share    share the image with writers\n"
           "  -h, --help           display this help and exit\n"
           "  -V, --version        output version information and exit\n\n"
           "See 'vireo-io -c help' for the commands, and vireo-io(1).\n");
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, 0, 'h' },
                                           { "version", no_argument, 0, 'V' },
                                           { "cmd", required_argument, 0, 'c' },
                                           { "format", required_argument, 0, 'f' },
                                           { "read-only", no_argument, 0, 'r' },
                                           { "nocache", no_argument, 0, 'n' },
                                           { "cache", required_argument, 0, 't' },
                                           { "discard", required_argument, 0, 'd' },
                                           { "aio", required_argument, 0, 'i' },
                                           { "force-share", no_argument, 0, 'U' },
                                           { "object", required_argument, 0, OPT_OBJECT },
                                           { "image-opts", no_argument, 0, OPT_IMAGE_OPTS },
                                           { 0 } };
    const char *commands[MAX_COMMANDS];
    struct io io = { 0 };
    struct objects *objects = NULL;
    struct err *err = NULL;
    int n = 0;
    int status = 0;
    int c;

    log_set_program("vireo-io");
    if (block_ctx_new(NULL, &io.ctx, &err) < 0 || objects_new(io.ctx, &objects, &err) < 0) {
        log_error("no memory");
        return 1;
    }
    while ((c = getopt_long(argc, argv, "hVc:d:f:rnt:i:kmU", longs, NULL)) != -1) {
        switch (c) {
        case 'h':
            usage();
            return 0;
        case 'V':
            printf("vireo-io version %s\n", VIREO_VERSION);
            return 0;
        case 'c':
            if (n < MAX_COMMANDS) {
                commands[n++] = optarg;
            }
            break;
        case 'd':
            io.discard = optarg;
            break;
        case 'f':
            io.fmt = optarg;
            break;
        case 'r':
            io.read_only = true;
            break;
        case 'n':
            io.cache = "none";
            break;
        case 't':
            io.cache = optarg;
            break;
        case 'i':
        case 'k':
        case 'm':
            break;
        case 'U':
            io.force_share = true;
            break;
        case OPT_OBJECT:
            if (objects_add(objects, optarg, &err) < 0) {
                log_error("%s", err != NULL ? err->text : "bad object");
                return 1;
            }
            break;
        case OPT_IMAGE_OPTS:
            io.image_opts = true;
            break;
        default:
            (void)fprintf(stderr, "Try 'vireo-io --help' for more information.\n");
            return 1;
        }
    }
    if (argc - optind > 1) {
        (void)fprintf(stderr, "Try 'vireo-io --help' for more information.\n");
        return 1;
    }
    if (optind < argc && io_open(&io, argv[optind]) < 0) {
        return 1;
    }
    if (n == 0) {
        status = interact(&io);
    }
    for (int i = 0; i < n; i++) {
        int r = run_line(&io, commands[i]);

        if (r > 0) {
            break;
        }
        status |= r < 0;
    }
    io.node = block_unref(io.node);
    (void)objects_free(objects);
    (void)block_ctx_free(io.ctx);
    return status;
}
