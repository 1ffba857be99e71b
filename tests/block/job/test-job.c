/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs on an image that is written to meanwhile. */
#include "block/job/job.h"

#include "block/core/image.h"
#include "codec/keyval.h"
#include "os/loop.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 8 << 20, WRITE = 3000, NAMES = 4 };

struct rig {
    struct loop *loop;
    struct block_ctx *ctx;
    char dir[32];
    uint8_t *content; /* what the image must hold */
    unsigned seed;
    bool done;
    bool ready;
    bool failed;
    struct block_node *node;
};

static char *path(struct rig *r, const char *name)
{
    static char text[4][64];
    static int next;
    char *p = text[next++ % 4];

    (void)snprintf(p, 64, "%s/%s", r->dir, name);
    return p;
}

static void create(struct rig *r, const char *name, const char *more)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    char text[256];

    (void)snprintf(text, sizeof(text), "size=%d%s", SIZE, more);
    assert_int_equal(keyval_parse(text, NULL, false, &kv, NULL), 0);
    assert_int_equal(block_create(r->ctx, "qcow2", path(r, name), kv, NULL), 0);
}

static struct block_node *open_image(struct rig *r, const char *name)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    struct block_node *node = NULL;
    struct err *err = NULL;

    assert_int_equal(keyval_parse("discard=unmap,cache.no-flush=on", NULL, false, &kv, NULL), 0);
    if (block_open_image(r->ctx, path(r, name), "qcow2", kv, &node, &err) < 0) {
        fail_msg("%s", err->text);
    }
    return node;
}

static void write_some(struct rig *r, struct block_node *node, int n)
{
    for (int i = 0; i < n; i++) {
        uint8_t buf[WRITE];
        uint64_t off = (uint64_t)rand_r(&r->seed) % (SIZE - WRITE);

        memset(buf, rand_r(&r->seed) % 255 + 1, sizeof(buf));
        assert_int_equal(block_pwrite(node, buf, sizeof(buf), off), 0);
        memcpy(r->content + off, buf, sizeof(buf));
    }
}

static void check_content(struct rig *r, struct block_node *node, const uint8_t *want)
{
    uint8_t *got = malloc(SIZE);

    (void)r;
    assert_int_equal(block_pread(node, got, SIZE, 0), 0);
    assert_memory_equal(got, want, SIZE);
    free(got);
}

static void on_event(void *arg, struct block_job *job, enum block_job_event ev)
{
    struct rig *r = arg;
    struct block_job_info info;

    block_job_query(job, &info);
    r->ready |= ev == BLOCK_JOB_EV_READY;
    r->done |= ev == BLOCK_JOB_EV_COMPLETED || ev == BLOCK_JOB_EV_CANCELLED;
    r->failed |= ev == BLOCK_JOB_EV_COMPLETED && info.error != NULL;
}

static int on_replace(void *arg, struct block_node *from, struct block_node *to, struct err **err)
{
    struct rig *r = arg;

    (void)err;
    assert_ptr_equal(from, r->node);
    r->node = block_ref(to);
    (void)block_unref(from);
    return 0;
}

static int set_up(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));

    (void)snprintf(r->dir, sizeof(r->dir), "/tmp/vireo-job-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(loop_new(&r->loop), 0);
    assert_int_equal(block_ctx_new(r->loop, &r->ctx, NULL), 0);
    r->content = calloc(1, SIZE);
    r->seed = 7;
    create(r, "base", "");
    r->node = open_image(r, "base");
    write_some(r, r->node, 300);
    (void)block_unref(r->node);
    {
        char more[128];

        (void)snprintf(more, sizeof(more), ",backing_fmt=qcow2,backing_file=%s/base", r->dir);
        create(r, "top", more);
    }
    create(r, "target", "");
    r->node = open_image(r, "top");
    write_some(r, r->node, 100);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[NAMES] = { "base", "top", "target", "other" };
    struct rig *r = *state;

    (void)block_unref(r->node);
    (void)block_ctx_free(r->ctx);
    (void)loop_free(r->loop);
    for (int i = 0; i < NAMES; i++) {
        (void)unlink(path(r, names[i]));
    }
    (void)rmdir(r->dir);
    free(r->content);
    free(r);
    return 0;
}

/* Runs the job to its end, writing all the while. */
static void run_job(struct rig *r, struct block_job_spec *spec)
{
    struct block_job *job = NULL;
    struct err *err = NULL;

    spec->id = "j";
    spec->event = on_event;
    spec->arg = r;
    if (block_job_start(r->ctx, spec, &job, &err) < 0) {
        fail_msg("%s", err->text);
    }
    for (int i = 0; !r->done; i++) {
        (void)loop_step(r->loop, 1000);
        if (i < 200) {
            write_some(r, r->node, 3);
        }
        if (r->ready && i >= 200) {
            (void)!block_job_complete(job, NULL);
        }
    }
    assert_false(r->failed);
    (void)block_job_free(job);
}

static void test_mirror(void **state)
{
    struct rig *r = *state;
    struct block_node *target = open_image(r, "target");
    struct block_job_spec spec = {
        .type = BLOCK_JOB_MIRROR, .node = r->node, .target = target, .replace = on_replace
    };

    run_job(r, &spec);
    assert_ptr_equal(r->node, target);
    check_content(r, target, r->content);
    (void)block_unref(target);
}

static void test_mirror_blocking(void **state)
{
    struct rig *r = *state;
    struct block_node *target = open_image(r, "target");
    struct block_job_spec spec = { .type = BLOCK_JOB_MIRROR,
                                   .node = r->node,
                                   .target = target,
                                   .replace = on_replace,
                                   .write_blocking = true };

    run_job(r, &spec);
    check_content(r, target, r->content);
    (void)block_unref(target);
}

static void test_backup(void **state)
{
    struct rig *r = *state;
    struct block_node *target = open_image(r, "target");
    uint8_t *then = malloc(SIZE);
    struct block_job_spec spec = {
        .type = BLOCK_JOB_BACKUP, .node = r->node, .target = target, .speed = 16 << 20
    };

    memcpy(then, r->content, SIZE);
    run_job(r, &spec);
    check_content(r, target, then);
    check_content(r, r->node, r->content);
    (void)block_unref(target);
    free(then);
}

static void test_incremental(void **state)
{
    struct rig *r = *state;
    struct block_node *target = open_image(r, "target");
    struct block_bitmap *bm;
    struct block_job_spec spec = { .type = BLOCK_JOB_BACKUP, .node = r->node, .target = target };

    assert_int_equal(block_bitmap_add(r->node, "b", 65536, &bm, NULL), 0);
    run_job(r, &spec);
    r->done = false;
    (void)block_unref(target);
    target = open_image(r, "target");
    assert_true(bm->count > 0);
    spec.target = target;
    spec.sync = BLOCK_SYNC_BITMAP;
    spec.bitmap = bm;
    {
        uint8_t *then = malloc(SIZE);

        memcpy(then, r->content, SIZE);
        run_job(r, &spec);
        check_content(r, target, then);
        free(then);
    }
    assert_false(bm->busy);
    (void)block_unref(target);
}

static void test_stream(void **state)
{
    struct rig *r = *state;
    struct block_job_spec spec = { .type = BLOCK_JOB_STREAM, .node = r->node };

    run_job(r, &spec);
    assert_null(r->node->backing);
    assert_null(r->node->backing_file);
    check_content(r, r->node, r->content);
}

static void test_active_commit(void **state)
{
    struct rig *r = *state;
    struct block_node *base = block_ref(r->node->backing);
    struct block_job_spec spec = {
        .type = BLOCK_JOB_COMMIT, .node = r->node, .base = base, .replace = on_replace
    };

    run_job(r, &spec);
    assert_ptr_equal(r->node, base);
    check_content(r, base, r->content);
    write_some(r, base, 10);
    (void)block_unref(base);
}

static void test_passive_commit(void **state)
{
    struct rig *r = *state;
    struct block_node *top = r->node;
    struct block_job_spec spec = { .type = BLOCK_JOB_COMMIT, .top = top, .base = top->backing };
    char more[128];

    (void)block_set_read_only(top, true, NULL);
    (void)snprintf(more, sizeof(more), ",backing_fmt=qcow2,backing_file=%s/top", r->dir);
    create(r, "other", more);
    r->node = open_image(r, "other");
    (void)block_set_backing(r->node, top);
    (void)block_unref(top);
    write_some(r, r->node, 50);
    spec.node = r->node;
    run_job(r, &spec);
    assert_ptr_equal(r->node->backing, spec.base);
    check_content(r, r->node, r->content);
}

static void test_cancel_and_pause(void **state)
{
    struct rig *r = *state;
    struct block_node *target = open_image(r, "target");
    struct block_job_spec spec = { .type = BLOCK_JOB_MIRROR,
                                   .node = r->node,
                                   .target = target,
                                   .id = "j",
                                   .speed = 1 << 20,
                                   .event = on_event,
                                   .arg = r };
    struct block_job *job = NULL;
    struct block_job_info info;

    assert_int_equal(block_job_start(r->ctx, &spec, &job, NULL), 0);
    assert_int_equal(block_job_complete(job, NULL), -EBUSY);
    assert_int_equal(block_job_pause(job, NULL), 0);
    do {
        (void)loop_step(r->loop, 1000);
        block_job_query(job, &info);
    } while (info.status != BLOCK_JOB_PAUSED);
    assert_int_equal(block_job_resume(job, NULL), 0);
    assert_int_equal(block_job_cancel(job, true, NULL), 0);
    while (!r->done) {
        (void)loop_step(r->loop, 1000);
    }
    block_job_query(job, &info);
    assert_int_equal(info.status, BLOCK_JOB_CONCLUDED);
    (void)block_job_free(job);
    check_content(r, r->node, r->content);
    (void)block_unref(target);
}

int main(void)
{
#define JOB_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        JOB_TEST(test_mirror),         JOB_TEST(test_mirror_blocking), JOB_TEST(test_backup),
        JOB_TEST(test_incremental),    JOB_TEST(test_stream),          JOB_TEST(test_active_commit),
        JOB_TEST(test_passive_commit), JOB_TEST(test_cancel_and_pause)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
