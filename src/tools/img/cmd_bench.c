/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_bench.c - how fast requests go, with so many under way at a time. */
#include "tools/img/img.h"

#include "base/str.h"
#include "os/loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MAX_DEPTH = 4096 };

struct bench {
    struct block_node *node;
    bool write;
    bool drain_on_flush;
    uint64_t count;
    uint64_t depth;
    uint64_t size;
    uint64_t step;
    uint64_t off;
    uint64_t flush_interval;
    uint64_t image_size;
    int pattern;

    struct slot *slots; /* owned */
    uint64_t submitted;
    uint64_t completed;
    uint64_t in_flight;
    uint64_t since_flush;
    bool flushing;
    struct block_req flush;
    int error;
};

struct slot {
    struct block_req req;
    struct iovec iov;
    struct bench *b;
    bool busy;
};

static void fill(struct bench *b);

static void on_flushed(struct block_req *req, int result)
{
    struct bench *b = CONTAINER_OF(req, struct bench, flush);

    b->flushing = false;
    b->error = result < 0 ? result : b->error;
}

static void on_done(struct block_req *req, int result)
{
    struct slot *s = CONTAINER_OF(req, struct slot, req);
    struct bench *b = s->b;

    s->busy = false;
    b->in_flight--;
    b->completed++;
    b->error = result < 0 ? result : b->error;
    if (b->flush_interval > 0 && ++b->since_flush >= b->flush_interval && !b->flushing &&
        b->error == 0) {
        b->since_flush = 0;
        b->flushing = true;
        b->flush = (struct block_req) { .node = b->node, .op = BLOCK_FLUSH, .done = on_flushed };
        block_submit(&b->flush);
    }
}

static void fill(struct bench *b)
{
    for (uint64_t i = 0; i < b->depth && b->submitted < b->count && b->error == 0; i++) {
        struct slot *s = &b->slots[i];

        if (s->busy || (b->flushing && b->drain_on_flush)) {
            continue;
        }
        s->busy = true;
        s->req = (struct block_req) { .node = b->node,
                                      .op = b->write ? BLOCK_WRITE : BLOCK_READ,
                                      .off = b->off,
                                      .len = b->size,
                                      .iov = &s->iov,
                                      .n_iov = 1,
                                      .done = on_done };
        b->off = (b->off + b->step) % (b->image_size - b->size + 1);
        b->off -= b->off % BLOCK_SECTOR;
        b->submitted++;
        b->in_flight++;
        block_submit(&s->req);
    }
}

static int bench(struct bench *b, struct loop *loop)
{
    struct timespec from;
    struct timespec to;
    double secs;

    b->slots = calloc(b->depth, sizeof(*b->slots));
    for (uint64_t i = 0; b->slots != NULL && i < b->depth; i++) {
        void *mem = NULL;

        if (posix_memalign(&mem, 4096, b->size) != 0) {
            return img_fail("no memory for %llu buffers", (unsigned long long)b->depth);
        }
        memset(mem, b->pattern, b->size);
        b->slots[i].iov = (struct iovec) { .iov_base = mem, .iov_len = b->size };
        b->slots[i].b = b;
    }
    if (b->slots == NULL) {
        return img_fail("no memory");
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    while (b->completed < b->count && (b->error == 0 || b->in_flight > 0)) {
        fill(b);
        if (loop_step(loop, UINT64_MAX) < 0) {
            break;
        }
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    block_drain(b->node->ctx, NULL);
    if (b->error < 0) {
        return img_fail("Failed request: %s", strerror(-b->error));
    }
    secs = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    printf("Run completed in %3.3f seconds.\n", secs);
    return 0;
}

static int run_in(struct img *img, struct bench *b, struct img_open *how, const char *name,
                  bool quiet)
{
    struct err *err = NULL;
    struct loop *loop = NULL;
    int r = loop_new(&loop);

    /* Asynchronous requests need a context with a loop. */
    img->objects = objects_free(img->objects);
    img->ctx = block_ctx_free(img->ctx);
    if (r == 0) {
        r = block_ctx_new(loop, &img->ctx, &err);
    }
    if (r == 0) {
        r = objects_new(img->ctx, &img->objects, &err);
    }
    if (r < 0) {
        return img_fail_err(err, r);
    }
    b->node = img_open(img, name, how);
    r = b->node == NULL;
    if (r == 0) {
        b->image_size = (uint64_t)block_length(b->node);
        if (b->image_size < b->size) {
            r = img_fail("The image is smaller than one buffer");
        } else if (!quiet) {
            printf(
                "Sending %llu %s requests, %llu bytes each, %llu in parallel (starting at offset %llu, step size %llu)\n",
                (unsigned long long)b->count, b->write ? "write" : "read",
                (unsigned long long)b->size, (unsigned long long)b->depth,
                (unsigned long long)b->off, (unsigned long long)b->step);
            if (b->flush_interval > 0) {
                printf("Sending flush every %s%llu requests\n",
                       b->drain_on_flush ? "" : "(no drain) ",
                       (unsigned long long)b->flush_interval);
            }
        }
    }
    if (r == 0) {
        r = bench(b, loop);
    }
    for (uint64_t i = 0; b->slots != NULL && i < b->depth; i++) {
        free(b->slots[i].iov.iov_base);
    }
    free(b->slots);
    (void)block_unref(b->node);
    img->objects = objects_free(img->objects);
    img->ctx = block_ctx_free(img->ctx);
    (void)loop_free(loop);
    return r;
}

static int number(const char *what, const char *text, uint64_t max, uint64_t *ret)
{
    if (img_size(what, text, ret) != 0) {
        return 1;
    }
    return *ret > max ? img_fail("Invalid %s specified. Must be between 0 and %llu.", what,
                                 (unsigned long long)max)
                      : 0;
}

static int run(struct img *img, int argc, char **argv)
{
    enum { OPT_FLUSH = OPT_FIRST_OWN, OPT_NO_DRAIN, OPT_PATTERN };
    static const struct option longs[] = { IMG_COMMON_LONGS,
                                           { "flush-interval", required_argument, 0, OPT_FLUSH },
                                           { "no-drain", no_argument, 0, OPT_NO_DRAIN },
                                           { "pattern", required_argument, 0, OPT_PATTERN },
                                           { 0 } };
    struct bench b = { .count = 75000, .depth = 64, .size = 4096, .drain_on_flush = true };
    struct img_open how = { 0 };
    uint64_t value = 0;
    bool quiet = false;
    int json = 0;
    int r = 0;
    int c;

    while ((c = getopt_long(argc, argv, ":hc:d:f:ni:o:qs:S:t:wU", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            r = number("request count", optarg, INT32_MAX, &b.count);
            break;
        case 'd':
            r = number("queue depth", optarg, MAX_DEPTH, &b.depth);
            break;
        case 'n': /* native AIO: ours is io_uring in any case */
            break;
        case 'i':
            if (!str_eq(optarg, "threads") && !str_eq(optarg, "native") &&
                !str_eq(optarg, "io_uring")) {
                return img_fail("Invalid aio option: %s", optarg);
            }
            if (str_eq(optarg, "threads")) {
                (void)setenv("VIREO_NO_IO_URING", "1", 1);
            }
            break;
        case 'o':
            r = img_size("offset", optarg, &b.off);
            break;
        case 'q':
            quiet = true;
            break;
        case 's':
            r = number("buffer size", optarg, 1 << 30, &b.size);
            break;
        case 'S':
            r = number("step size", optarg, INT32_MAX, &b.step);
            break;
        case 't':
            how.cache = optarg;
            r = img_cache_check(optarg);
            break;
        case 'w':
            b.write = true;
            break;
        case OPT_FLUSH:
            r = number("flush interval", optarg, INT32_MAX, &b.flush_interval);
            break;
        case OPT_NO_DRAIN:
            b.drain_on_flush = false;
            break;
        case OPT_PATTERN:
            r = number("pattern byte", optarg, 255, &value);
            b.pattern = (int)value;
            break;
        default:
            if (!img_common_option(img, c, &how, &json, &r)) {
                return img_bad_option(c, argv);
            }
        }
        if (r != 0) {
            return r;
        }
    }
    if (optind != argc - 1) {
        return img_usage("Expecting one image file name");
    }
    if (b.flush_interval > 0 && !b.write) {
        return img_fail("--flush-interval is only available in write tests");
    }
    if (b.flush_interval > 0 && b.flush_interval < b.depth) {
        return img_fail("Flush interval can't be smaller than depth");
    }
    if (b.size == 0 || b.depth == 0) {
        return img_fail("the buffer size and the depth must not be 0");
    }
    b.step = b.step == 0 ? b.size : b.step;
    how.write = b.write;
    how.quiet = quiet;
    return run_in(img, &b, &how, argv[optind], quiet);
}

const struct img_command img_bench = {
    .name = "bench",
    .usage =
        "[-c count] [-d depth] [-f fmt] [--flush-interval=flush_interval] [-i aio] [-n] [--no-drain] [-o offset] [--pattern=pattern] [-q] [-s buffer_size] [-S step_size] [-t cache] [-w] [-U] filename",
    .run = run,
};
