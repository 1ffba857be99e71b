/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * submit.c - requests on their way: through the ring where the range's place is known, else through
 * a worker thread.
 */
#include "block/core/ctx.h"

#include "base/bytes.h"
#include "block/core/limits.h"
#include "block/filter/throttle.h"
#include "os/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void count(struct block_stats *st, const struct block_req *req, int result)
{
    if (result < 0) {
        st->failed[req->op]++;
        return;
    }
    st->ops[req->op]++;
    st->bytes[req->op] += req->len;
    st->ns[req->op] += now_ns() - req->begun_ns;
    if ((req->op == BLOCK_WRITE || req->op == BLOCK_WRITE_ZEROES) &&
        req->off + req->len > st->highest) {
        st->highest = req->off + req->len;
    }
}

static void complete(struct block_req *req, int result)
{
    count(&req->node->stats, req, result);
    if (req->held != NULL) {
        req->held_node->drv->unmap(req->held_node, req->held);
        req->held = NULL;
    }
    req->node->in_flight--;
    req->node->ctx->in_flight--;
    free(req->rest);
    req->rest = NULL;
    req->done(req, result);
}

/* ---- workers ---- */

static int run_blocking(struct block_req *req)
{
    struct block_node *node = req->node;
    int r = 0;

    switch (req->op) {
    case BLOCK_READ:
        return block_preadv(node, req->iov, req->n_iov, req->off);
    case BLOCK_WRITE:
        r = block_pwritev(node, req->iov, req->n_iov, req->off);
        break;
    case BLOCK_WRITE_ZEROES:
        r = block_write_zeroes(node, req->off, req->len, req->flags);
        break;
    case BLOCK_DISCARD:
        return block_discard(node, req->off, req->len);
    case BLOCK_FLUSH:
        return block_flush(node);
    }
    return r == 0 && (req->flags & BLOCK_REQ_FUA) != 0 ? block_flush(node) : r;
}

static void signal_event(int fd)
{
    uint64_t one = 1;

    (void)!write(fd, &one, sizeof(one));
}

static void *worker_main(void *arg)
{
    struct block_ctx *ctx = arg;

    (void)pthread_mutex_lock(&ctx->lock);
    while (!ctx->quit) {
        struct block_req *req;

        if (list_empty(&ctx->work)) {
            ctx->idle_workers++;
            (void)pthread_cond_wait(&ctx->work_cond, &ctx->lock);
            ctx->idle_workers--;
            continue;
        }
        req = CONTAINER_OF(ctx->work.next, struct block_req, link);
        list_remove(&req->link);
        ctx->n_work--;
        (void)pthread_mutex_unlock(&ctx->lock);
        req->result = req->result < 0 ? req->result : run_blocking(req);
        (void)pthread_mutex_lock(&ctx->lock);
        list_append(&ctx->finished, &req->link);
        signal_event(ctx->finished_event);
    }
    (void)pthread_mutex_unlock(&ctx->lock);
    return NULL;
}

static void on_finished(int fd, uint32_t events, void *arg)
{
    struct block_ctx *ctx = arg;
    struct list done;
    uint64_t count;

    (void)events;
    (void)!read(fd, &count, sizeof(count));
    list_init(&done);
    (void)pthread_mutex_lock(&ctx->lock);
    while (!list_empty(&ctx->finished)) {
        struct list *it = ctx->finished.next;

        list_remove(it);
        list_append(&done, it);
    }
    (void)pthread_mutex_unlock(&ctx->lock);
    while (!list_empty(&done)) {
        struct block_req *req = CONTAINER_OF(done.next, struct block_req, link);

        list_remove(&req->link);
        complete(req, req->result);
    }
}

static int start_worker(struct block_ctx *ctx)
{
    pthread_attr_t attr;
    sigset_t all;
    sigset_t old;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, 256 * 1024);
    r = pthread_create(&ctx->workers[ctx->n_workers], &attr, worker_main, ctx);
    (void)pthread_attr_destroy(&attr);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    ctx->n_workers += r == 0;
    return r;
}

/* Workers but for the first are started by need: a machine whose disks io_uring serves has one. */
static void queue_work(struct block_ctx *ctx, struct block_req *req)
{
    bool busy;

    (void)pthread_mutex_lock(&ctx->lock);
    list_append(&ctx->work, &req->link);
    ctx->n_work++;
    busy = ctx->idle_workers < ctx->n_work;
    (void)pthread_cond_signal(&ctx->work_cond);
    (void)pthread_mutex_unlock(&ctx->lock);
    if (busy && ctx->n_workers < BLOCK_WORKERS) {
        (void)start_worker(ctx); /* the others do it in time where this fails */
    }
}

/* ---- io_uring ---- */

static bool ring_push(struct block_ctx *ctx, struct block_req *req)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ctx->ring);
    const struct iovec *iov = req->rest != NULL ? req->rest : req->iov;
    unsigned n = req->n_iov;
    uint64_t off = req->fd_off + req->progress;

    if (sqe == NULL) {
        return false;
    }
    if (req->rest != NULL) {
        for (n = 0; n < req->n_iov && iov[n].iov_len > 0; n++) {
        }
    }
    if (req->op == BLOCK_READ) {
        io_uring_prep_readv(sqe, req->fd, iov, n, off);
    } else if (req->op == BLOCK_WRITE) {
        io_uring_prep_writev(sqe, req->fd, iov, n, off);
        if ((req->flags & BLOCK_REQ_FUA) != 0) {
            sqe->rw_flags = RWF_DSYNC;
        }
    } else {
        io_uring_prep_fsync(sqe, req->fd, IORING_FSYNC_DATASYNC);
    }
    io_uring_sqe_set_data(sqe, req);
    ctx->ring_in_flight++;
    return true;
}

static void ring_submit(struct block_ctx *ctx, struct block_req *req)
{
    if (!list_empty(&ctx->ring_waiting) || ctx->ring_in_flight >= BLOCK_RING_ENTRIES ||
        !ring_push(ctx, req)) {
        list_append(&ctx->ring_waiting, &req->link);
        return;
    }
    (void)io_uring_submit(&ctx->ring);
}

/* After a short transfer: the iovec's remainder, to go on with. False when it cannot be had. */
static bool advance(struct block_req *req, uint64_t by)
{
    uint64_t skip;
    unsigned to = 0;

    if (req->rest == NULL) {
        req->rest = calloc(req->n_iov + 1, sizeof(*req->rest));
        if (req->rest == NULL) {
            return false;
        }
    }
    req->progress += by;
    skip = req->progress;
    memset(req->rest, 0, (req->n_iov + 1) * sizeof(*req->rest));
    for (unsigned i = 0; i < req->n_iov; i++) {
        uint64_t len = req->iov[i].iov_len;

        if (skip >= len) {
            skip -= len;
            continue;
        }
        req->rest[to].iov_base = (uint8_t *)req->iov[i].iov_base + skip;
        req->rest[to++].iov_len = len - skip;
        skip = 0;
    }
    return true;
}

static void zero_rest(struct block_req *req)
{
    for (unsigned i = 0; i < req->n_iov && req->rest[i].iov_len > 0; i++) {
        memset(req->rest[i].iov_base, 0, req->rest[i].iov_len);
    }
}

static void ring_completed(struct block_ctx *ctx, struct block_req *req, int res)
{
    if (res == -EINTR || res == -EAGAIN) {
        ring_submit(ctx, req);
        return;
    }
    if (res < 0 || req->op == BLOCK_FLUSH) {
        complete(req, res < 0 ? res : 0);
        return;
    }
    if (req->progress + (uint64_t)res == req->len) {
        complete(req, 0);
        return;
    }
    if (!advance(req, (uint64_t)res)) {
        complete(req, -ENOMEM);
    } else if (res == 0 && req->op == BLOCK_READ) {
        zero_rest(req); /* behind the end of the file, inside the image */
        complete(req, 0);
    } else if (res == 0) {
        complete(req, -EIO);
    } else {
        ring_submit(ctx, req);
    }
}

static void ring_reap(struct block_ctx *ctx)
{
    struct io_uring_cqe *cqe;

    while (io_uring_peek_cqe(&ctx->ring, &cqe) == 0) {
        struct block_req *req = io_uring_cqe_get_data(cqe);
        int res = cqe->res;

        io_uring_cqe_seen(&ctx->ring, cqe);
        ctx->ring_in_flight--;
        ring_completed(ctx, req, res);
    }
    while (!list_empty(&ctx->ring_waiting) && ctx->ring_in_flight < BLOCK_RING_ENTRIES) {
        struct block_req *req = CONTAINER_OF(ctx->ring_waiting.next, struct block_req, link);

        if (!ring_push(ctx, req)) {
            break;
        }
        list_remove(&req->link);
    }
    (void)io_uring_submit(&ctx->ring);
}

static void on_ring(int fd, uint32_t events, void *arg)
{
    uint64_t count;

    (void)events;
    (void)!read(fd, &count, sizeof(count));
    ring_reap(arg);
}

static void start_ring(struct block_ctx *ctx)
{
    if (getenv("VIREO_NO_IO_URING") != NULL ||
        io_uring_queue_init(BLOCK_RING_ENTRIES, &ctx->ring, 0) < 0) {
        return; /* old or forbidden: workers do everything */
    }
    ctx->ring_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ctx->ring_event < 0 || io_uring_register_eventfd(&ctx->ring, ctx->ring_event) < 0 ||
        loop_add_fd(ctx->loop, ctx->ring_event, EPOLLIN, on_ring, ctx, &ctx->ring_source) < 0) {
        io_uring_queue_exit(&ctx->ring);
        close_fdp(&ctx->ring_event);
        return;
    }
    ctx->has_ring = true;
}

/* ---- the context ---- */

int block_ctx_new(struct loop *loop, struct block_ctx **ret, struct err **err)
{
    struct block_ctx *ctx = calloc(1, sizeof(*ctx));

    if (ctx == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    ctx->loop = loop;
    ctx->ring_event = ctx->finished_event = -1;
    list_init(&ctx->throttle_groups);
    list_init(&ctx->ring_waiting);
    list_init(&ctx->work);
    list_init(&ctx->finished);
    (void)pthread_mutex_init(&ctx->lock, NULL);
    (void)pthread_cond_init(&ctx->work_cond, NULL);
    *ret = ctx;
    return 0;
}

int block_ctx_prepare(struct block_ctx *ctx, struct err **err)
{
    int r;

    if (ctx->prepared) {
        return 0;
    }
    if (ctx->loop == NULL) {
        return err_set(err, EINVAL, "this program has no event loop for block requests");
    }
    ctx->finished_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ctx->finished_event < 0) {
        return err_set(err, errno, "cannot make an eventfd: %s", strerror(errno));
    }
    r = loop_add_fd(ctx->loop, ctx->finished_event, EPOLLIN, on_finished, ctx,
                    &ctx->finished_source);
    if (r < 0) {
        return err_set(err, -r, "cannot watch an eventfd: %s", strerror(-r));
    }
    r = start_worker(ctx);
    if (r != 0) {
        return err_set(err, r, "cannot start a thread: %s", strerror(r));
    }
    start_ring(ctx);
    ctx->prepared = true;
    return 0;
}

void block_ctx_set_secrets(struct block_ctx *ctx, block_secret_fn *fn, void *arg)
{
    ctx->secret = fn;
    ctx->secret_arg = arg;
}

int block_secret(struct block_ctx *ctx, const char *id, uint8_t **ret, size_t *ret_len,
                 struct err **err)
{
    return ctx->secret != NULL ? ctx->secret(ctx->secret_arg, id, ret, ret_len, err)
                               : err_set(err, ENOENT, "No secret with id '%s'", id);
}

void block_ctx_set_tls(struct block_ctx *ctx, block_tls_fn *fn, void *arg)
{
    ctx->tls = fn;
    ctx->tls_arg = arg;
}

const char *block_tls_folder(struct block_ctx *ctx, const char *id)
{
    return ctx->tls != NULL ? ctx->tls(ctx->tls_arg, id) : NULL;
}

struct block_ctx *block_ctx_free(struct block_ctx *ctx)
{
    if (ctx == NULL) {
        return NULL;
    }
    (void)pthread_mutex_lock(&ctx->lock);
    ctx->quit = true;
    (void)pthread_cond_broadcast(&ctx->work_cond);
    (void)pthread_mutex_unlock(&ctx->lock);
    for (unsigned i = 0; i < ctx->n_workers; i++) {
        (void)pthread_join(ctx->workers[i], NULL);
    }
    ctx->ring_source = loop_source_free(ctx->ring_source);
    ctx->finished_source = loop_source_free(ctx->finished_source);
    if (ctx->has_ring) {
        io_uring_queue_exit(&ctx->ring);
    }
    close_fdp(&ctx->ring_event);
    close_fdp(&ctx->finished_event);
    throttle_groups_free(ctx);
    (void)pthread_mutex_destroy(&ctx->lock);
    (void)pthread_cond_destroy(&ctx->work_cond);
    free(ctx);
    return NULL;
}

/* Follows the map down to a descriptor. At most one driver on the way pins the range. */
static bool find_fd(struct block_req *req)
{
    struct block_node *node = req->node;
    uint64_t off = req->off;

    for (;;) {
        struct block_map map = { .fd = -1 };

        if ((req->op == BLOCK_FLUSH && node->no_flush) || node->drv->map == NULL ||
            (req->op == BLOCK_WRITE &&
             (node->detect_zeroes || !list_empty(&node->hooks) || !list_empty(&node->bitmaps))) ||
            node->drv->map(node, req->op, off, req->len, &map) < 0) {
            break;
        }
        if (map.held != NULL && req->held != NULL) {
            node->drv->unmap(node, map.held);
            break; /* there is room for one pin */
        }
        if (map.held != NULL) {
            req->held_node = node;
            req->held = map.held;
        }
        off = map.off;
        if (map.child == NULL) {
            if (map.fd < 0) {
                break;
            }
            req->fd = map.fd;
            req->fd_off = off;
            return true;
        }
        node = map.child;
    }
    if (req->held != NULL) {
        req->held_node->drv->unmap(req->held_node, req->held);
        req->held = NULL;
    }
    return false;
}

static int check(struct block_req *req)
{
    int64_t size;

    if (req->op == BLOCK_FLUSH) {
        return 0;
    }
    size = block_length(req->node);
    if (size < 0) {
        return (int)size;
    }
    if (req->len > BLOCK_MAX_BYTES || !range_within(req->off, req->len, (uint64_t)size)) {
        return -EIO;
    }
    return req->op != BLOCK_READ && req->node->read_only ? -EROFS : 0;
}

void block_submit(struct block_req *req)
{
    struct block_ctx *ctx = req->node->ctx;

    list_init(&req->link);
    if (block_limits_hold(req)) {
        return;
    }
    req->begun_ns = now_ns();
    req->progress = 0;
    req->rest = NULL;
    req->held = NULL;
    req->node->in_flight++;
    ctx->in_flight++;
    req->result = block_ctx_prepare(ctx, NULL);
    if (req->result == 0) {
        req->result = check(req);
    }
    if (req->result == 0 && ctx->has_ring &&
        (req->op == BLOCK_READ || req->op == BLOCK_WRITE || req->op == BLOCK_FLUSH) &&
        find_fd(req)) {
        ring_submit(ctx, req);
    } else {
        queue_work(ctx, req); /* an error completes from there too: never inside this call */
    }
}

void block_drain(struct block_ctx *ctx, struct block_node *node)
{
    if (node != NULL) {
        block_limits_release(node);
    }
    while (node != NULL ? node->in_flight > 0 : ctx->in_flight > 0) {
        struct pollfd p[2] = { { .fd = ctx->finished_event, .events = POLLIN },
                               { .fd = ctx->ring_event, .events = POLLIN } };

        if (poll(p, 2, -1) < 0 && errno != EINTR) {
            return;
        }
        if ((p[0].revents & POLLIN) != 0) {
            on_finished(ctx->finished_event, 0, ctx);
        }
        if ((p[1].revents & POLLIN) != 0) {
            on_ring(ctx->ring_event, 0, ctx);
        }
    }
}
