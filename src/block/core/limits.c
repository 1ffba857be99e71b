/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* limits.c - leaky buckets: a request fills those that count it, and waits while one runs over. */
#include "block/core/limits.h"

#include "block/core/ctx.h"
#include "os/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct block_limiter {
    struct block_node *node;
    struct block_limits limits;
    double level[BLOCK_N_LIMITS];
    uint64_t at_usec; /* of the levels */
    struct list waiting;
    struct loop_source *timer;
    bool replaying;
};

static bool counts(const struct block_req *req, unsigned limit, double *units)
{
    bool read = req->op == BLOCK_READ;
    bool write = req->op == BLOCK_WRITE || req->op == BLOCK_WRITE_ZEROES;

    *units = limit < BLOCK_LIMIT_IOPS ? (double)req->len : 1.0;
    switch (limit % BLOCK_LIMIT_IOPS) {
    case 0:
        return read || write;
    case 1:
        return read;
    default:
        return write;
    }
}

static double room(const struct block_limits *l, unsigned i)
{
    return l->max[i] != 0 ? (double)l->max[i] : (double)l->avg[i] / 10;
}

static void leak(struct block_limiter *t)
{
    uint64_t now = loop_now_usec();
    double seconds = (double)(now - t->at_usec) / 1e6;

    t->at_usec = now;
    for (unsigned i = 0; i < BLOCK_N_LIMITS; i++) {
        t->level[i] -= (double)t->limits.avg[i] * seconds;
        t->level[i] = t->level[i] > 0 ? t->level[i] : 0;
    }
}

/* Microseconds until the request may go; 0: now, and it is counted. */
static uint64_t wait_for(struct block_limiter *t, const struct block_req *req)
{
    double longest = 0;
    double units;

    leak(t);
    for (unsigned i = 0; i < BLOCK_N_LIMITS; i++) {
        if (t->limits.avg[i] != 0 && counts(req, i, &units)) {
            double over = t->level[i] - room(&t->limits, i);
            double wait = over / (double)t->limits.avg[i];

            longest = wait > longest ? wait : longest;
        }
    }
    if (longest > 0) {
        return (uint64_t)(longest * 1e6) + 1;
    }
    for (unsigned i = 0; i < BLOCK_N_LIMITS; i++) {
        if (t->limits.avg[i] != 0 && counts(req, i, &units)) {
            t->level[i] += units;
        }
    }
    return 0;
}

static void replay(struct block_limiter *t, bool all)
{
    while (!list_empty(&t->waiting)) {
        struct block_req *req = CONTAINER_OF(t->waiting.next, struct block_req, link);
        uint64_t usec = all ? 0 : wait_for(t, req);

        if (usec > 0) {
            (void)loop_timer_arm(t->timer, loop_now_usec() + usec);
            return;
        }
        list_remove(&req->link);
        t->replaying = true;
        block_submit(req);
        t->replaying = false;
    }
}

static void on_timer(void *arg)
{
    replay(arg, false);
}

bool block_limits_hold(struct block_req *req)
{
    struct block_limiter *t = req->node->limiter;
    uint64_t usec;

    if (t == NULL || t->replaying || req->op == BLOCK_FLUSH || req->op == BLOCK_DISCARD) {
        return false;
    }
    usec = list_empty(&t->waiting) ? wait_for(t, req) : 1;
    if (usec == 0) {
        return false;
    }
    if (list_empty(&t->waiting)) {
        (void)loop_timer_arm(t->timer, loop_now_usec() + usec);
    }
    list_append(&t->waiting, &req->link);
    return true;
}

void block_limits_release(struct block_node *node)
{
    if (node->limiter != NULL) {
        replay(node->limiter, true);
    }
}

void block_limits_free(struct block_node *node)
{
    struct block_limiter *t = node->limiter;

    if (t != NULL) {
        replay(t, true);
        node->limiter = NULL;
        (void)loop_source_free(t->timer);
        free(t);
    }
}

int block_set_limits(struct block_node *node, const struct block_limits *limits, struct err **err)
{
    struct block_limiter *t = node->limiter;
    bool any = false;
    int r;

    for (unsigned i = 0; limits != NULL && i < BLOCK_N_LIMITS; i++) {
        any |= limits->avg[i] != 0;
        if (limits->max[i] != 0 && limits->max[i] < limits->avg[i]) {
            return err_set(err, EINVAL, "bps_max/iops_max cannot be lower than bps/iops");
        }
    }
    if (!any) {
        block_limits_free(node);
        return 0;
    }
    if (t == NULL) {
        t = calloc(1, sizeof(*t));
        r = t != NULL ? loop_add_timer(node->ctx->loop, on_timer, t, &t->timer) : -ENOMEM;
        if (r < 0) {
            free(t);
            return err_set(err, -r, "no memory");
        }
        t->node = node;
        t->at_usec = loop_now_usec();
        list_init(&t->waiting);
        node->limiter = t;
    }
    t->limits = *limits;
    replay(t, false);
    return 0;
}

void block_get_limits(const struct block_node *node, struct block_limits *ret)
{
    *ret = node->limiter != NULL ? node->limiter->limits : (struct block_limits) { .avg = { 0 } };
}

void block_move_limits(struct block_node *from, struct block_node *to)
{
    struct block_limits limits;

    block_get_limits(from, &limits);
    block_limits_free(from);
    (void)!block_set_limits(to, &limits, NULL);
}
