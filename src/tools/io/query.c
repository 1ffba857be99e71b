/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query.c - the commands about the image: open, length, map, truncate ... */
#include "tools/io/io.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/image.h"
#include "codec/json.h"
#include "tools/image/dump.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int cmd_open(struct io *io, int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "snCro:kd:t:U")) != -1) {
        switch (c) {
        case 'r':
            io->read_only = true;
            break;
        case 'n':
            io->cache = "none";
            break;
        case 't':
            io->cache = optarg;
            break;
        case 'd':
            io->discard = optarg;
            break;
        case 'U':
            io->force_share = true;
            break;
        case 'o':
            io->image_opts = true;
            return io_open(io, optarg);
        default:
            break;
        }
    }
    if (optind != argc - 1) {
        printf("open: one file name is needed\n");
        return -EINVAL;
    }
    return io_open(io, argv[optind]);
}

static int cmd_close(struct io *io, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    io->node = block_unref(io->node);
    return 0;
}

static int cmd_reopen(struct io *io, int argc, char **argv)
{
    struct err *err = NULL;
    int c;
    int r = 0;

    while (r == 0 && (c = getopt(argc, argv, "c:o:rw")) != -1) {
        if (c == 'r' || c == 'w') {
            r = block_set_read_only(io->node, c == 'r', &err);
        }
    }
    if (r < 0) {
        printf("%s\n", err != NULL ? err->text : strerror(-r));
        (void)err_free(err);
    }
    return r;
}

static int cmd_truncate(struct io *io, int argc, char **argv)
{
    enum block_prealloc prealloc = BLOCK_PREALLOC_OFF;
    struct err *err = NULL;
    int64_t size;
    int c;
    int r = 0;

    while (r == 0 && (c = getopt(argc, argv, "m:")) != -1) {
        r = c == 'm' ? block_prealloc_parse(optarg, &prealloc, &err) : -EINVAL;
    }
    size = r == 0 && optind < argc ? io_number(argv[optind]) : -1;
    if (r == 0 && size < 0) {
        return -EINVAL;
    }
    if (r == 0) {
        r = block_truncate(io->node, (uint64_t)size, prealloc, &err);
    }
    if (r < 0) {
        (void)fprintf(stderr, "vireo-io: %s\n", err != NULL ? err->text : strerror(-r));
        (void)err_free(err);
    }
    return r;
}

static int cmd_length(struct io *io, int argc, char **argv)
{
    int64_t size = block_length(io->node);
    char text[32];

    (void)argc;
    (void)argv;
    if (size < 0) {
        printf("getlength: %s\n", strerror((int)-size));
        return (int)size;
    }
    printf("%s\n", io_size_text((double)size, text));
    return 0;
}

static int cmd_alloc(struct io *io, int argc, char **argv)
{
    int64_t off = io_number(argv[1]);
    int64_t count = argc > 2 ? io_number(argv[2]) : BLOCK_SECTOR;
    uint64_t sum = 0;
    char text[32];

    if (off < 0 || count < 0) {
        return -EINVAL;
    }
    for (int64_t at = 0; at < count;) {
        struct block_extent ext;
        int r = block_status(io->node, (uint64_t)(off + at), (uint64_t)(count - at), &ext);

        if (r < 0) {
            printf("is_allocated failed: %s\n", strerror(-r));
            return r;
        }
        sum += (ext.flags & BLOCK_ALLOCATED) != 0 ? ext.len : 0;
        at += (int64_t)ext.len;
    }
    printf("%llu/%lld bytes allocated at offset %s\n", (unsigned long long)sum, (long long)count,
           io_size_text((double)off, text));
    return 0;
}

/* As a crash: nothing is closed. */
static int cmd_abort(struct io *io, int argc, char **argv)
{
    (void)io;
    (void)argc;
    (void)argv;
    abort();
}

static int cmd_info(struct io *io, int argc, char **argv)
{
    struct block_info info = { 0 };
    struct json_object *specific =
        io->node->drv->specific != NULL ? io->node->drv->specific(io->node) : NULL;
    char text[32];

    (void)argc;
    (void)argv;
    printf("format name: %s\n", io->node->drv->name);
    if (io->node->drv->info != NULL) {
        io->node->drv->info(io->node, &info);
    }
    if (info.cluster_size > 0) {
        printf("cluster size: %s\n", io_size_text((double)info.cluster_size, text));
    }
    if (info.vm_state_offset > 0) {
        printf("vm state offset: %s\n", io_size_text((double)info.vm_state_offset, text));
    }
    if (specific != NULL) {
        printf("Format specific information:\n");
        info_dump(specific, 1);
        json_object_put(specific);
    }
    return 0;
}

static int cmd_map(struct io *io, int argc, char **argv)
{
    int64_t size = block_length(io->node);

    (void)argc;
    (void)argv;
    for (uint64_t off = 0; size > 0 && off < (uint64_t)size;) {
        uint64_t len = 0;
        bool now = false;
        char a[32];
        char b[32];

        for (uint64_t at = off; at < (uint64_t)size;) {
            struct block_extent ext;
            int r = block_status(io->node, at, (uint64_t)size - at, &ext);
            bool is = r == 0 && (ext.flags & BLOCK_ALLOCATED) != 0;

            if (r < 0) {
                printf("Failed to get allocation status: %s\n", strerror(-r));
                return r;
            }
            if (len > 0 && is != now) {
                break;
            }
            now = is;
            len += ext.len;
            at += ext.len;
        }
        printf("%s (0x%llx) bytes %s allocated at offset %s (0x%llx)\n",
               io_size_text((double)len, a), (unsigned long long)len, now ? "   " : "not",
               io_size_text((double)off, b), (unsigned long long)off);
        off += len;
    }
    return 0;
}

static int cmd_sleep(struct io *io, int argc, char **argv)
{
    uint32_t msec;
    struct timespec ts;

    (void)io;
    (void)argc;
    if (str_to_u32(argv[1], 1u << 30, &msec) < 0) {
        printf("%s is not a number of milliseconds\n", argv[1]);
        return -EINVAL;
    }
    ts = (struct timespec) { .tv_sec = msec / 1000, .tv_nsec = (long)(msec % 1000) * 1000000 };
    (void)nanosleep(&ts, NULL);
    return 0;
}

static int cmd_sigraise(struct io *io, int argc, char **argv)
{
    uint32_t signo;

    (void)io;
    (void)argc;
    if (str_to_u32(argv[1], 64, &signo) < 0) {
        printf("%s is not a signal number\n", argv[1]);
        return -EINVAL;
    }
    /* As if the process died here: nothing that is buffered is lost. */
    (void)fflush(stdout);
    return raise((int)signo);
}

const struct io_command io_query_commands[] = {
    { "open", "o", "[-nrU] [-t cache] [-d discard] [-o options] [path] ",
      "open the file specified by path", 1, -1, false, cmd_open },
    { "close", "c", "", "close the current open file", 0, 0, true, cmd_close },
    { "reopen", NULL, "[-r | -w] ", "reopens an image with new options", 0, -1, true, cmd_reopen },
    { "truncate", "t", "[-m prealloc_mode] off ", "truncates the current file at the given offset",
      1, 3, true, cmd_truncate },
    { "length", "l", "", "gets the length of the current file", 0, 0, true, cmd_length },
    { "alloc", "a", "offset [count] ", "checks if offset is allocated in the file", 1, 2, true,
      cmd_alloc },
    { "abort", NULL, "", "ends the program as a crash does", 0, 0, false, cmd_abort },
    { "info", "i", "", "prints information about the image", 0, 0, true, cmd_info },
    { "map", NULL, "", "prints the allocated areas of a file", 0, 0, true, cmd_map },
    { "sleep", NULL, "msec ", "waits for the given value in milliseconds", 1, 1, false, cmd_sleep },
    { "sigraise", NULL, "signal ", "raises a signal", 1, 1, false, cmd_sigraise },
    { 0 },
};
