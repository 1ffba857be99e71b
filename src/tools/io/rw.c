/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rw.c - the commands that transfer data. */
#include "tools/io/io.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/snapshot.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct rw {
    bool quiet;
    bool short_form;
    bool verbose;
    bool has_pattern;
    bool zero;
    bool unmap;
    bool no_fallback;
    bool compressed;
    bool fua;
    bool vmstate;
    int pattern;
    const char *source;
    int64_t pattern_off;
    int64_t pattern_len;
};

static double now(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int parse(struct rw *rw, int argc, char **argv, const char *letters)
{
    uint32_t v;
    int c;

    rw->pattern_len = -1;
    while ((c = getopt(argc, argv, letters)) != -1) {
        switch (c) {
        case 'q':
            rw->quiet = true;
            break;
        case 'C':
            rw->short_form = true;
            break;
        case 'v':
            rw->verbose = true;
            break;
        case 'P':
            if (str_to_u32(optarg, 255, &v) < 0) {
                printf("%s is not a valid pattern byte\n", optarg);
                return -EINVAL;
            }
            rw->has_pattern = true;
            rw->pattern = (int)v;
            break;
        case 's':
            /* A source file of writes; the start of the pattern of reads. */
            rw->source = optarg;
            rw->pattern_off = 0;
            break;
        case 'l':
            rw->pattern_len = io_number(optarg);
            if (rw->pattern_len < 0) {
                return -EINVAL;
            }
            break;
        case 'z':
            rw->zero = true;
            break;
        case 'u':
            rw->unmap = true;
            break;
        case 'n':
            rw->no_fallback = true;
            break;
        case 'c':
            rw->compressed = true;
            break;
        case 'f':
            rw->fua = true;
            break;
        case 'b':
            rw->vmstate = true;
            break;
        case 'p':
            break; /* pread instead of readv: all one here */
        default:
            return -EINVAL;
        }
    }
    return 0;
}

static int range(struct io *io, const struct rw *rw, int64_t off, int64_t len, const char *what)
{
    int64_t size = block_length(io->node);

    if (off < 0 || len < 0) {
        return -EINVAL;
    }
    if (len > INT32_MAX - 511 && !rw->zero) {
        printf("length cannot exceed %d, given %lld\n", INT32_MAX - 511, (long long)len);
        return -EINVAL;
    }
    if (!rw->vmstate && (size < 0 || !range_within((uint64_t)off, (uint64_t)len, (uint64_t)size))) {
        printf("%s failed: %s\n", what, strerror(EIO));
        return -EIO;
    }
    return 0;
}

static void dump(const uint8_t *p, size_t len, uint64_t off)
{
    for (size_t i = 0; i < len; i += 16) {
        printf("%08llx:  ", (unsigned long long)(off + i));
        for (size_t k = i; k < i + 16; k++) {
            if (k < len) {
                printf("%02x ", p[k]);
            } else {
                printf("   ");
            }
        }
        printf(" ");
        for (size_t k = i; k < i + 16 && k < len; k++) {
            (void)putchar(isalnum(p[k]) != 0 ? p[k] : '.');
        }
        printf("\n");
    }
}

static int do_read(struct io *io, const struct rw *rw, int64_t off, int64_t len)
{
    AUTO_FREE uint8_t *buf = malloc((size_t)len + 1);
    double t = now();
    int64_t plen;
    int r = buf == NULL     ? -ENOMEM
            : rw->vmstate ? block_vmstate_pread(io->node, buf, (size_t)len, (uint64_t)off)
                            : block_pread(io->node, buf, (size_t)len, (uint64_t)off);

    t = now() - t;
    if (r < 0) {
        printf("read failed: %s\n", strerror(-r));
        return r;
    }
    plen = rw->pattern_len >= 0 ? rw->pattern_len : len - rw->pattern_off;
    if (rw->has_pattern && rw->pattern_off + plen > len) {
        printf("pattern verification range exceeds end of read data\n");
        return -EINVAL;
    }
    for (int64_t i = 0; rw->has_pattern && i < plen; i++) {
        if (buf[rw->pattern_off + i] != (uint8_t)rw->pattern) {
            printf("Pattern verification failed at offset %lld, %lld bytes\n", (long long)(off + rw->pattern_off),
                   (long long)plen);
            r = -EINVAL;
            break;
        }
    }
    if (rw->verbose) {
        dump(buf, (size_t)len, (uint64_t)off);
    }
    if (!rw->quiet) {
        io_report("read", t, (uint64_t)off, (uint64_t)len, (uint64_t)len, rw->short_form);
    }
    return r;
}

static int cmd_read(struct io *io, int argc, char **argv)
{
    struct rw rw = { 0 };
    int64_t off;
    int64_t len = 0;
    int r = parse(&rw, argc, argv, "bCl:pP:qs:v");

    if (r == 0 && argc - optind < 2) {
        r = -EINVAL;
    }
    if (r < 0) {
        printf("read: bad arguments, see help\n");
        return r;
    }
    if (rw.source != NULL) {
        rw.pattern_off = io_number(rw.source);
        if (rw.pattern_off < 0) {
            return -EINVAL;
        }
    }
    off = io_number(argv[optind]);
    for (int i = optind + 1; i < argc; i++) {
        int64_t part = io_number(argv[i]);

        if (part < 0) {
            return -EINVAL;
        }
        len += part;
    }
    r = range(io, &rw, off, len, "read");
    return r == 0 ? do_read(io, &rw, off, len) : r;
}

/* The bytes to write: a pattern, or a file over and over. */
static int fill(const struct rw *rw, uint8_t *buf, size_t len)
{
    size_t got = 0;
    AUTO_FD int fd = -1;

    if (rw->source == NULL) {
        memset(buf, rw->has_pattern ? rw->pattern : 0xcd, len);
        return 0;
    }
    fd = open(rw->source, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && got < len) {
        ssize_t n = read(fd, buf + got, len - got);

        if (n <= 0) {
            break;
        }
        got += (size_t)n;
    }
    if (got == 0) {
        printf("%s: %s\n", rw->source, fd < 0 ? strerror(errno) : "file is empty");
        return -EINVAL;
    }
    for (size_t i = got; i < len; i++) {
        buf[i] = buf[i - got];
    }
    return 0;
}

static int do_write(struct io *io, const struct rw *rw, int64_t off, int64_t len)
{
    AUTO_FREE uint8_t *buf = NULL;
    unsigned flags = (rw->unmap ? BLOCK_REQ_MAY_UNMAP : 0) | (rw->no_fallback ? BLOCK_REQ_NO_FALLBACK : 0);
    double t;
    int r = 0;

    if (!rw->zero) {
        buf = malloc((size_t)len + 1);
        r = buf != NULL ? fill(rw, buf, (size_t)len) : -ENOMEM;
    }
    if (r < 0) {
        return r;
    }
    t = now();
    if (rw->zero) {
        bool was = io->node->discard_on;

        io->node->discard_on |= rw->unmap;
        r = block_write_zeroes(io->node, (uint64_t)off, (uint64_t)len, flags);
        io->node->discard_on = was;
    } else if (rw->compressed) {
        r = block_pwrite_compressed(io->node, buf, (size_t)len, (uint64_t)off);
    } else if (rw->vmstate) {
        r = block_vmstate_pwrite(io->node, buf, (size_t)len, (uint64_t)off);
    } else {
        r = block_pwrite(io->node, buf, (size_t)len, (uint64_t)off);
    }
    if (r == 0 && (rw->fua || io->writethrough)) {
        r = block_flush(io->node);
    }
    t = now() - t;
    if (r < 0) {
        printf("write failed: %s\n", strerror(-r));
        return r;
    }
    if (!rw->quiet) {
        io_report("wrote", t, (uint64_t)off, (uint64_t)len, (uint64_t)len, rw->short_form);
    }
    return 0;
}

static int cmd_write(struct io *io, int argc, char **argv)
{
    struct rw rw = { 0 };
    int64_t off;
    int64_t len = 0;
    int r = parse(&rw, argc, argv, "bcCfnpP:qs:uz");

    if (r < 0 || argc - optind < 2) {
        printf("write: bad arguments, see help\n");
        return -EINVAL;
    }
    if (rw.zero && rw.has_pattern) {
        printf("-z and -P cannot be specified at the same time\n");
        return -EINVAL;
    }
    if (rw.unmap && !rw.zero) {
        printf("-u requires -z to be specified\n");
        return -EINVAL;
    }
    if (rw.compressed && rw.zero) {
        printf("-c and -z cannot be specified at the same time\n");
        return -EINVAL;
    }
    off = io_number(argv[optind]);
    for (int i = optind + 1; i < argc; i++) {
        int64_t part = io_number(argv[i]);

        if (part < 0) {
            return -EINVAL;
        }
        len += part;
    }
    r = range(io, &rw, off, len, "write");
    return r == 0 ? do_write(io, &rw, off, len) : r;
}

static int cmd_discard(struct io *io, int argc, char **argv)
{
    struct rw rw = { .zero = true };
    int64_t off;
    int64_t len;
    double t;
    int r = parse(&rw, argc, argv, "Cq");

    if (r < 0 || argc - optind != 2) {
        printf("discard: bad arguments, see help\n");
        return -EINVAL;
    }
    off = io_number(argv[optind]);
    len = io_number(argv[optind + 1]);
    r = range(io, &rw, off, len, "discard");
    if (r < 0) {
        return r;
    }
    t = now();
    r = block_discard(io->node, (uint64_t)off, (uint64_t)len);
    t = now() - t;
    if (r < 0) {
        printf("discard failed: %s\n", strerror(-r));
        return r;
    }
    if (!rw.quiet) {
        io_report("discard", t, (uint64_t)off, (uint64_t)len, (uint64_t)len, rw.short_form);
    }
    return 0;
}

static int cmd_flush(struct io *io, int argc, char **argv)
{
    int r = block_flush(io->node);

    (void)argc;
    (void)argv;
    if (r < 0) {
        printf("flush failed: %s\n", strerror(-r));
    }
    return r;
}

#define READ_ARGS  "[-bCqv] [-P pattern [-s off] [-l len]] off len... "
#define WRITE_ARGS "[-bcCfnquz] [-P pattern | -s source_file] off len... "

const struct io_command io_rw_commands[] = {
    { "read", "r", READ_ARGS, "reads a number of bytes at a specified offset", 2, -1, true, cmd_read },
    { "readv", NULL, READ_ARGS, "reads a number of bytes at a specified offset", 2, -1, true, cmd_read },
    { "aio_read", NULL, READ_ARGS, "the same", 2, -1, true, cmd_read },
    { "write", "w", WRITE_ARGS, "writes a number of bytes at a specified offset", 2, -1, true, cmd_write },
    { "writev", NULL, WRITE_ARGS, "writes a number of bytes at a specified offset", 2, -1, true, cmd_write },
    { "aio_write", NULL, WRITE_ARGS, "the same", 2, -1, true, cmd_write },
    { "aio_flush", NULL, "", "completes all outstanding requests", 0, 0, true, cmd_flush },
    { "flush", "f", "", "flush all in-core file state to disk", 0, 0, true, cmd_flush },
    { "discard", "d", "[-Cq] off len ", "discards a number of bytes at a specified offset", 2, -1, true, cmd_discard },
    { 0 },
};
