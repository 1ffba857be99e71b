/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* throttle.c - a filter that slows requests down to its group's limits (throttle-group=, file=). */
#include "block/filter/throttle.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/ctx.h"
#include "block/core/iov.h"
#include "block/filter/pass.h"
#include "codec/keyval.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Above this the arithmetic in nanoseconds might wrap; it is 2^40 a second. */
#define MAX_RATE (1ull << 40)

struct throttle_group {
    struct list link; /* in the context's */
    char *name;       /* owned */
    pthread_mutex_t lock;
    struct throttle_limits limits;
    double level[_THROTTLE_MAX]; /* what is in the buckets */
    double burst[_THROTTLE_MAX];
    uint64_t then_nsec; /* when they leaked last */
};

struct throttle {
    struct block_node node;
    struct throttle_group *group; /* borrowed from the context */
};

static const char *const kinds[_THROTTLE_MAX] = { "bps-total",  "bps-read",  "bps-write",
                                                  "iops-total", "iops-read", "iops-write" };

static int get(struct keyval *opts, const char *kind, const char *suffix, uint64_t dflt,
               uint64_t *ret, struct err **err)
{
    char key[64];
    unsigned long long v;
    int r;

    (void)snprintf(key, sizeof(key), "x-%s%s", kind, suffix);
    r = keyval_get_size(opts, key, dflt, &v, err);
    *ret = v;
    return r == 0 && v > MAX_RATE ? err_set(err, EINVAL, "%s is at most %llu", key, MAX_RATE) : r;
}

int throttle_parse(struct keyval *opts, struct throttle_limits *ret, struct err **err)
{
    int r = get(opts, "iops-size", "", 0, &ret->iops_size, err);

    for (int k = 0; r == 0 && k < _THROTTLE_MAX; k++) {
        struct throttle_limit *l = &ret->of[k];

        r = get(opts, kinds[k], "", 0, &l->avg, err);
        if (r == 0) {
            r = get(opts, kinds[k], "-max", 0, &l->max, err);
        }
        if (r == 0) {
            r = get(opts, kinds[k], "-max-length", 1, &l->length, err);
        }
        if (r == 0 && l->max != 0 && l->max < l->avg) {
            r = err_set(err, EINVAL, "x-%s-max cannot be lower than x-%s", kinds[k], kinds[k]);
        }
        if (r == 0 && (l->length == 0 || (l->max == 0 && l->length > 1))) {
            r = err_set(err, EINVAL, "x-%s-max-length needs x-%s-max, and is not 0", kinds[k],
                        kinds[k]);
        }
    }
    for (int k = 0; r == 0 && k < _THROTTLE_MAX; k += 3) {
        if (ret->of[k].avg != 0 && (ret->of[k + 1].avg != 0 || ret->of[k + 2].avg != 0)) {
            r = err_set(
                err, EINVAL,
                "bps/iops total values and read/write values cannot be used at the same time");
        }
    }
    return r;
}

static struct throttle_group *find(struct block_ctx *ctx, const char *name)
{
    LIST_FOREACH (&ctx->throttle_groups, it) {
        struct throttle_group *g = CONTAINER_OF(it, struct throttle_group, link);

        if (str_eq(g->name, name)) {
            return g;
        }
    }
    return NULL;
}

static uint64_t now_nsec(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int throttle_group_set(struct block_ctx *ctx, const char *name,
                       const struct throttle_limits *limits, struct err **err)
{
    struct throttle_group *g = find(ctx, name);

    if (g == NULL) {
        g = calloc(1, sizeof(*g));
        if (g == NULL || (g->name = strdup(name)) == NULL) {
            free(g);
            return err_set(err, ENOMEM, "no memory");
        }
        (void)pthread_mutex_init(&g->lock, NULL);
        g->then_nsec = now_nsec();
        list_append(&ctx->throttle_groups, &g->link);
    }
    (void)pthread_mutex_lock(&g->lock);
    g->limits = *limits;
    (void)pthread_mutex_unlock(&g->lock);
    return 0;
}

void throttle_groups_free(struct block_ctx *ctx)
{
    while (!list_empty(&ctx->throttle_groups)) {
        struct throttle_group *g =
            CONTAINER_OF(ctx->throttle_groups.next, struct throttle_group, link);

        list_remove(&g->link);
        (void)pthread_mutex_destroy(&g->lock);
        free(g->name);
        free(g);
    }
}

static void leak(struct throttle_group *g)
{
    uint64_t now = now_nsec();
    double secs = (double)(now - g->then_nsec) / 1e9;

    g->then_nsec = now;
    for (int k = 0; k < _THROTTLE_MAX; k++) {
        const struct throttle_limit *l = &g->limits.of[k];

        g->level[k] -= secs * (double)l->avg;
        g->level[k] = g->level[k] > 0 ? g->level[k] : 0;
        g->burst[k] -= secs * (double)l->max;
        g->burst[k] = g->burst[k] > 0 ? g->burst[k] : 0;
    }
}

/* Seconds until the bucket has room. */
static double wait_of(const struct throttle_group *g, int k)
{
    const struct throttle_limit *l = &g->limits.of[k];
    double room = l->max > 0 ? (double)l->max * (double)l->length : (double)l->avg / 10;
    double wait = 0;

    if (l->avg == 0) {
        return 0;
    }
    if (g->level[k] > room) {
        wait = (g->level[k] - room) / (double)l->avg;
    }
    /* During a burst of some seconds max is the rate, evened out over a tenth of one. */
    if (l->length > 1 && g->burst[k] > (double)l->max / 10) {
        double more = (g->burst[k] - (double)l->max / 10) / (double)l->max;

        wait = more > wait ? more : wait;
    }
    return wait;
}

static void account(struct throttle_group *g, int k, double units)
{
    g->level[k] += units;
    g->burst[k] += units;
}

/* Waits, with nothing locked, until the group allows the request. */
static void await(struct throttle_group *g, bool write, uint64_t len)
{
    int side = write ? 2 : 1;

    (void)pthread_mutex_lock(&g->lock);
    for (;;) {
        double wait = 0;
        struct timespec ts;

        leak(g);
        for (int k = 0; k < _THROTTLE_MAX; k++) {
            double w = k % 3 == 0 || k % 3 == side ? wait_of(g, k) : 0;

            wait = w > wait ? w : wait;
        }
        if (wait <= 0) {
            break;
        }
        (void)pthread_mutex_unlock(&g->lock);
        wait = wait < 1 ? wait : 1;
        ts = (struct timespec) { .tv_sec = (time_t)wait,
                                 .tv_nsec = (long)((wait - (double)(time_t)wait) * 1e9) };
        (void)nanosleep(&ts, NULL);
        (void)pthread_mutex_lock(&g->lock);
    }
    account(g, THROTTLE_BPS_TOTAL, (double)len);
    account(g, THROTTLE_BPS_TOTAL + side, (double)len);
    len = g->limits.iops_size > 0 ? (len + g->limits.iops_size - 1) / g->limits.iops_size : 1;
    account(g, THROTTLE_IOPS_TOTAL, (double)max_u64(len, 1));
    account(g, THROTTLE_IOPS_TOTAL + side, (double)max_u64(len, 1));
    (void)pthread_mutex_unlock(&g->lock);
}

static int throttle_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct throttle *t = (struct throttle *)node;
    const char *name = keyval_get(opts, "throttle-group");

    if (name == NULL) {
        return err_set(err, EINVAL, "throttle-group= is missing");
    }
    t->group = find(node->ctx, name);
    if (t->group == NULL) {
        return err_set(err, ENOENT, "Throttle group '%s' does not exist", name);
    }
    return pass_open(node, opts, "file", err);
}

static int throttle_preadv(struct block_node *node, const struct iovec *iov, unsigned n,
                           uint64_t off)
{
    await(((struct throttle *)node)->group, false, iov_len(iov, n));
    return pass_preadv(node, iov, n, off);
}

static int throttle_pwritev(struct block_node *node, const struct iovec *iov, unsigned n,
                            uint64_t off)
{
    await(((struct throttle *)node)->group, true, iov_len(iov, n));
    return pass_pwritev(node, iov, n, off);
}

static int throttle_write_zeroes(struct block_node *node, uint64_t off, uint64_t len,
                                 unsigned flags)
{
    await(((struct throttle *)node)->group, true, len);
    return pass_write_zeroes(node, off, len, flags);
}

static int throttle_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    await(((struct throttle *)node)->group, true, len);
    return pass_discard(node, off, len);
}

const struct block_driver block_throttle = {
    .name = "throttle",
    .is_filter = true,
    .size = sizeof(struct throttle),
    .open = throttle_open,
    .close = pass_close,
    .length = pass_length,
    .preadv = throttle_preadv,
    .pwritev = throttle_pwritev,
    .write_zeroes = throttle_write_zeroes,
    .discard = throttle_discard,
    .flush = pass_flush,
    .truncate = pass_truncate,
    .status = pass_status,
};
