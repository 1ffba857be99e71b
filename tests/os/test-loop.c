/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "os/loop.h"

#include <pthread.h>

#include "unit.h"

static void count_and_stop(void *arg)
{
    struct loop **loop = arg;

    loop_quit(*loop, 7);
}

static void timer_fires(void **state)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    CLEANUP(loop_source_freep) struct loop_source *timer = NULL;

    (void)state;
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(loop_add_timer(loop, count_and_stop, &loop, &timer), 0);
    assert_true(loop_timer_arm(timer, loop_now_usec() + 1000) >= 0);
    assert_int_equal(loop_run(loop), 7);
}

static void *poster(void *arg)
{
    assert_int_equal(loop_post(*(struct loop **)arg, count_and_stop, arg), 0);
    return NULL;
}

static void posts_cross_threads(void **state)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    pthread_t t;

    (void)state;
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(pthread_create(&t, NULL, poster, &loop), 0);
    assert_int_equal(loop_run(loop), 7);
    (void)pthread_join(t, NULL);
}

static void must_not_run(void *arg)
{
    (void)arg;
    fail();
}

static void dropped_posts_do_not_run(void **state)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    int dying;

    (void)state;
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(loop_post(loop, must_not_run, &dying), 0);
    assert_int_equal(loop_post(loop, count_and_stop, &loop), 0);
    loop_unpost(loop, &dying);
    assert_int_equal(loop_run(loop), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timer_fires),
        cmocka_unit_test(posts_cross_threads),
        cmocka_unit_test(dropped_posts_do_not_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
