/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/core/block.h"

#include "codec/keyval.h"
#include "os/loop.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 1 << 20 };

struct image {
    char path[32];
    struct loop *loop;
    struct block_ctx *ctx;
    struct block_node *node;
};

static void image_init(struct image *im, const char *extra)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    char text[256];
    int fd;

    memset(im, 0, sizeof(*im));
    (void)snprintf(im->path, sizeof(im->path), "/tmp/vireo-block-XXXXXX");
    fd = mkstemp(im->path);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    (void)close(fd);
    assert_int_equal(loop_new(&im->loop), 0);
    assert_int_equal(block_ctx_new(im->loop, &im->ctx, NULL), 0);
    (void)snprintf(text, sizeof(text), "raw,node-name=n,file.driver=file,file.filename=%s%s",
                   im->path, extra);
    assert_int_equal(keyval_parse(text, "driver", false, &kv, NULL), 0);
    assert_int_equal(block_open(im->ctx, kv, NULL, NULL, &im->node, NULL), 0);
    assert_int_equal(keyval_check_used(kv, NULL), 0);
}

static void image_done(struct image *im)
{
    block_drain(im->ctx, NULL);
    (void)block_unref(im->node);
    (void)block_ctx_free(im->ctx);
    (void)loop_free(im->loop);
    (void)unlink(im->path);
}

static int result;

static void on_done(struct block_req *req, int r)
{
    (void)req;
    result = r;
}

static int run(struct image *im, enum block_op op, uint64_t off, void *buf, size_t len,
               unsigned flags)
{
    struct iovec iov[2] = { { buf, len / 2 }, { (char *)buf + len / 2, len - len / 2 } };
    struct block_req req = { .node = im->node,
                             .op = op,
                             .flags = flags,
                             .off = off,
                             .len = len,
                             .iov = iov,
                             .n_iov = buf != NULL ? 2 : 0,
                             .done = on_done };

    result = 1;
    block_submit(&req);
    assert_int_equal(result, 1); /* never inside the call */
    while (result == 1) {
        assert_true(loop_step(im->loop, 5000000) >= 0);
    }
    return result;
}

static void check_image(struct image *im)
{
    char put[4096];
    char get[4096];

    memset(put, 'x', sizeof(put));
    assert_int_equal(block_length(im->node), SIZE);
    assert_int_equal(run(im, BLOCK_WRITE, 8192, put, sizeof(put), BLOCK_REQ_FUA), 0);
    assert_int_equal(run(im, BLOCK_READ, 8192, get, sizeof(get), 0), 0);
    assert_memory_equal(put, get, sizeof(get));
    assert_int_equal(run(im, BLOCK_WRITE_ZEROES, 8192, NULL, 2048, 0), 0);
    assert_int_equal(run(im, BLOCK_READ, 8192, get, sizeof(get), 0), 0);
    assert_int_equal(get[2047], 0);
    assert_int_equal(get[2048], 'x');
    assert_int_equal(run(im, BLOCK_FLUSH, 0, NULL, 0, 0), 0);
    assert_int_equal(run(im, BLOCK_DISCARD, 0, NULL, 65536, 0), 0);
    assert_int_equal(run(im, BLOCK_READ, SIZE - 512, get, 512, 0), 0);
    assert_int_equal(run(im, BLOCK_READ, SIZE - 512, get, 1024, 0), -EIO);
    assert_int_equal(run(im, BLOCK_READ, UINT64_MAX - 100, get, 512, 0), -EIO);
}

static void test_ring(void **state)
{
    struct image im;

    (void)state;
    image_init(&im, ",discard=unmap,file.discard=unmap");
    check_image(&im);
    image_done(&im);
}

static void test_workers(void **state)
{
    struct image im;

    (void)state;
    (void)setenv("VIREO_NO_IO_URING", "1", 1);
    image_init(&im, "");
    check_image(&im);
    image_done(&im);
    (void)unsetenv("VIREO_NO_IO_URING");
}

static void test_read_only(void **state)
{
    struct image im;
    char buf[512] = { 0 };

    (void)state;
    image_init(&im, ",read-only=on");
    assert_int_equal(run(&im, BLOCK_WRITE, 0, buf, 512, 0), -EROFS);
    assert_int_equal(run(&im, BLOCK_READ, 0, buf, 512, 0), 0);
    image_done(&im);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_ring), cmocka_unit_test(test_workers),
                                        cmocka_unit_test(test_read_only) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
