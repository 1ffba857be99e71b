/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/nbd/client.h"

#include "base/bytes.h"
#include "block/core/iov.h"
#include "block/nbd/stream.h"
#include "block/nbd/wire.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { MAX_IN_FLIGHT = 32, HANDSHAKE_MS = 30000 };

/* A request that waits for its reply. */
struct slot {
    bool used;
    bool done;
    uint16_t cmd;
    uint64_t cookie;
    uint64_t off;
    uint64_t len;
    const struct iovec *iov; /* READ: where to */
    unsigned n;
    uint64_t received; /* READ, in chunks: bytes so far */
    bool has_extent;
    uint32_t extent_len;
    uint32_t extent_flags;
    int result;
};

struct nbd_client {
    struct nbd_stream stream;
    struct nbd_export_info info;
    pthread_mutex_t send_lock; /* one request is sent at a time */
    pthread_mutex_t lock;      /* what follows */
    pthread_cond_t changed;
    struct slot slots[MAX_IN_FLIGHT];
    unsigned n_used;
    uint64_t next_cookie;
    bool reading; /* some thread reads for all */
    int broken;   /* negative errno */
};

static int errno_of(uint32_t error)
{
    switch (error) {
    case 0:
        return 0;
    case NBD_EPERM:
        return -EPERM;
    case NBD_ENOMEM:
        return -ENOMEM;
    case NBD_ENOSPC:
        return -ENOSPC;
    case NBD_EOVERFLOW:
        return -EOVERFLOW;
    case NBD_ENOTSUP:
        return -ENOTSUP;
    case NBD_ESHUTDOWN:
        return -ESHUTDOWN;
    case NBD_EINVAL:
        return -EINVAL;
    default:
        return -EIO;
    }
}

int nbd_client_new(int fd, const struct nbd_wish *wish, struct nbd_client **ret, struct err **err)
{
    struct nbd_client *c = calloc(1, sizeof(*c));
    int r;

    if (c == NULL) {
        (void)close(fd);
        return err_set(err, ENOMEM, "no memory");
    }
    nbd_stream_init(&c->stream, fd);
    (void)pthread_mutex_init(&c->send_lock, NULL);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->changed, NULL);
    nbd_stream_set_timeout(&c->stream, HANDSHAKE_MS);
    r = nbd_negotiate(&c->stream, wish, &c->info, err);
    nbd_stream_set_timeout(&c->stream, -1);
    if (r < 0) {
        c->broken = r;
        (void)nbd_client_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

struct nbd_client *nbd_client_free(struct nbd_client *c)
{
    if (c == NULL) {
        return NULL;
    }
    if (c->broken == 0) {
        uint8_t bye[NBD_REQUEST_BYTES] = { 0 };

        be32_put(bye, NBD_MAGIC_REQUEST);
        be16_put(bye + 6, NBD_CMD_DISC);
        (void)!nbd_stream_write(&c->stream, bye, sizeof(bye));
    }
    nbd_stream_done(&c->stream);
    free(c->info.description);
    (void)pthread_mutex_destroy(&c->send_lock);
    (void)pthread_mutex_destroy(&c->lock);
    (void)pthread_cond_destroy(&c->changed);
    free(c);
    return NULL;
}

void nbd_client_shutdown(struct nbd_client *c)
{
    nbd_stream_shutdown(&c->stream);
}

const struct nbd_export_info *nbd_client_info(const struct nbd_client *c)
{
    return &c->info;
}

bool nbd_client_dead(struct nbd_client *c)
{
    bool dead;

    (void)pthread_mutex_lock(&c->lock);
    dead = c->broken != 0;
    (void)pthread_mutex_unlock(&c->lock);
    return dead;
}

unsigned nbd_client_load(struct nbd_client *c)
{
    return __atomic_load_n(&c->n_used, __ATOMIC_RELAXED);
}

/* ---- replies; the lock is not held, the slot is the reader's until it is done ---- */

static struct slot *slot_of(struct nbd_client *c, uint64_t cookie)
{
    struct slot *found = NULL;

    (void)pthread_mutex_lock(&c->lock);
    for (int i = 0; i < MAX_IN_FLIGHT; i++) {
        struct slot *s = &c->slots[i];

        if (s->used && !s->done && s->cookie == cookie) {
            found = s;
        }
    }
    (void)pthread_mutex_unlock(&c->lock);
    return found;
}

static int read_simple(struct nbd_client *c, struct slot *s, uint32_t error, bool *ret_done)
{
    *ret_done = true;
    s->result = errno_of(error);
    if (s->cmd == NBD_CMD_BLOCK_STATUS && error == 0) {
        return -EPROTO;
    }
    return s->cmd == NBD_CMD_READ && error == 0 ? nbd_stream_readv(&c->stream, s->iov, s->n) : 0;
}

static int read_data(struct nbd_client *c, struct slot *s, uint32_t len)
{
    struct iovec *part;
    uint8_t head[8];
    uint64_t at;
    int r;

    if (s->cmd != NBD_CMD_READ || len <= 8) {
        return -EPROTO;
    }
    r = nbd_stream_read(&c->stream, head, sizeof(head));
    len -= 8;
    at = be64_get(head) - s->off;
    if (r < 0 || !range_within(at, len, s->len)) {
        return r < 0 ? r : -EPROTO;
    }
    part = calloc(s->n + 1, sizeof(*part));
    if (part == NULL) {
        return -ENOMEM;
    }
    r = nbd_stream_readv(&c->stream, part, iov_part(s->iov, s->n, at, len, part));
    free(part);
    s->received += len;
    return r;
}

static int read_hole(struct nbd_client *c, struct slot *s, uint32_t len)
{
    uint8_t head[12];
    uint64_t at;
    uint32_t hole;
    int r;

    if (s->cmd != NBD_CMD_READ || len != sizeof(head)) {
        return -EPROTO;
    }
    r = nbd_stream_read(&c->stream, head, sizeof(head));
    at = be64_get(head) - s->off;
    hole = be32_get(head + 8);
    if (r < 0 || !range_within(at, hole, s->len)) {
        return r < 0 ? r : -EPROTO;
    }
    iov_zero(s->iov, s->n, at, hole);
    s->received += hole;
    return 0;
}

static int read_extents(struct nbd_client *c, struct slot *s, uint32_t len)
{
    uint8_t head[12];
    int r;

    if (s->cmd != NBD_CMD_BLOCK_STATUS || len < 12 || (len - 4) % 8 != 0) {
        return -EPROTO;
    }
    r = nbd_stream_read(&c->stream, head, sizeof(head));
    if (r == 0 && be32_get(head) == c->info.context_id && be32_get(head + 4) > 0) {
        s->has_extent = true;
        s->extent_len = be32_get(head + 4);
        s->extent_flags = be32_get(head + 8);
    }
    return r == 0 ? nbd_stream_skip(&c->stream, len - sizeof(head)) : r;
}

static int read_error(struct nbd_client *c, struct slot *s, uint32_t len)
{
    uint8_t head[6];
    int r;

    if (len < sizeof(head)) {
        return -EPROTO;
    }
    r = nbd_stream_read(&c->stream, head, sizeof(head));
    if (r == 0 && s->result == 0) {
        s->result = errno_of(be32_get(head));
        s->result = s->result == 0 ? -EIO : s->result;
    }
    return r == 0 ? nbd_stream_skip(&c->stream, len - sizeof(head)) : r;
}

static int read_chunk(struct nbd_client *c, struct slot *s, uint16_t flags, uint16_t type,
                      uint32_t len, bool *ret_done)
{
    *ret_done = (flags & NBD_REPLY_DONE) != 0;
    switch (type) {
    case NBD_REPLY_NONE:
        return len == 0 && *ret_done ? 0 : -EPROTO;
    case NBD_REPLY_OFFSET_DATA:
        return read_data(c, s, len);
    case NBD_REPLY_OFFSET_HOLE:
        return read_hole(c, s, len);
    case NBD_REPLY_BLOCK_STATUS:
        return read_extents(c, s, len);
    default:
        break;
    }
    return (type & 0x8000) != 0 ? read_error(c, s, len) : -EPROTO;
}

/* One message from the server; *ret_done: that slot's last. */
static int read_reply(struct nbd_client *c, struct slot **ret, bool *ret_done)
{
    uint8_t head[20];
    struct slot *s;
    int r = nbd_stream_read(&c->stream, head, 16);

    if (r < 0) {
        return r;
    }
    if (be32_get(head) == NBD_MAGIC_SIMPLE) {
        *ret = s = slot_of(c, be64_get(head + 8));
        return s != NULL ? read_simple(c, s, be32_get(head + 4), ret_done) : -EPROTO;
    }
    if (be32_get(head) != NBD_MAGIC_STRUCTURED || !c->info.structured) {
        return -EPROTO;
    }
    r = nbd_stream_read(&c->stream, head + 16, 4);
    if (r < 0) {
        return r;
    }
    *ret = s = slot_of(c, be64_get(head + 8));
    if (s == NULL || be32_get(head + 16) > 8u + NBD_MAX_PAYLOAD) {
        return -EPROTO;
    }
    r = read_chunk(c, s, be16_get(head + 4), be16_get(head + 6), be32_get(head + 16), ret_done);
    if (r == 0 && *ret_done && s->result == 0 && s->cmd == NBD_CMD_READ && s->received != s->len) {
        return -EPROTO;
    }
    return r;
}

/* ---- requests ---- */

static void break_locked(struct nbd_client *c, int why)
{
    if (c->broken == 0) {
        c->broken = why;
        nbd_stream_shutdown(&c->stream);
    }
    (void)pthread_cond_broadcast(&c->changed);
}

static int take_slot(struct nbd_client *c, const struct slot *request, struct slot **ret)
{
    int r;

    (void)pthread_mutex_lock(&c->lock);
    while (c->broken == 0 && c->n_used == MAX_IN_FLIGHT) {
        (void)pthread_cond_wait(&c->changed, &c->lock);
    }
    r = c->broken;
    for (int i = 0; r == 0 && i < MAX_IN_FLIGHT; i++) {
        if (!c->slots[i].used) {
            *ret = &c->slots[i];
            **ret = *request;
            (*ret)->used = true;
            (*ret)->cookie = ++c->next_cookie;
            break;
        }
    }
    if (r == 0) {
        __atomic_store_n(&c->n_used, c->n_used + 1, __ATOMIC_RELAXED);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return r;
}

static int wait_reply(struct nbd_client *c, struct slot *s)
{
    int r;

    (void)pthread_mutex_lock(&c->lock);
    /* While another thread reads, it may be filling our buffers: a break alone is no reason to go.
     */
    while (!s->done && (c->broken == 0 || c->reading)) {
        struct slot *other = NULL;
        bool done = false;

        if (c->reading) {
            (void)pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        c->reading = true;
        (void)pthread_mutex_unlock(&c->lock);
        r = read_reply(c, &other, &done);
        (void)pthread_mutex_lock(&c->lock);
        c->reading = false;
        if (r < 0) {
            break_locked(c, r);
        } else if (done) {
            other->done = true;
            (void)pthread_cond_broadcast(&c->changed);
        }
    }
    r = s->done ? s->result : c->broken;
    (void)pthread_mutex_unlock(&c->lock);
    return r;
}

static int run(struct nbd_client *c, const struct slot *request, uint16_t flags,
               struct slot *ret_slot)
{
    uint8_t head[NBD_REQUEST_BYTES];
    struct slot *s = NULL;
    bool write = request->cmd == NBD_CMD_WRITE;
    int r = take_slot(c, request, &s);

    if (r < 0) {
        return r;
    }
    be32_put(head, NBD_MAGIC_REQUEST);
    be16_put(head + 4, flags);
    be16_put(head + 6, request->cmd);
    be64_put(head + 8, s->cookie);
    be64_put(head + 16, request->off);
    be32_put(head + 24, (uint32_t)request->len);
    (void)pthread_mutex_lock(&c->send_lock);
    r = nbd_stream_writev(&c->stream, head, sizeof(head), request->iov, write ? request->n : 0);
    (void)pthread_mutex_unlock(&c->send_lock);
    if (r < 0) {
        (void)pthread_mutex_lock(&c->lock);
        break_locked(c, r);
        (void)pthread_mutex_unlock(&c->lock);
    }
    r = wait_reply(c, s);
    (void)pthread_mutex_lock(&c->lock);
    if (ret_slot != NULL) {
        *ret_slot = *s;
    }
    s->used = false;
    __atomic_store_n(&c->n_used, c->n_used - 1, __ATOMIC_RELAXED);
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->lock);
    return r;
}

int nbd_client_transfer(struct nbd_client *c, uint16_t cmd, uint16_t flags, const struct iovec *iov,
                        unsigned n, uint64_t off)
{
    struct slot request = { .cmd = cmd, .off = off, .len = iov_len(iov, n), .iov = iov, .n = n };

    return run(c, &request, flags, NULL);
}

int nbd_client_command(struct nbd_client *c, uint16_t cmd, uint16_t flags, uint64_t off,
                       uint32_t len)
{
    struct slot request = { .cmd = cmd, .off = off, .len = len };

    return run(c, &request, flags, NULL);
}

int nbd_client_status(struct nbd_client *c, uint64_t off, uint32_t len, uint32_t *ret_len,
                      uint32_t *ret_flags)
{
    struct slot request = { .cmd = NBD_CMD_BLOCK_STATUS, .off = off, .len = len };
    struct slot got = { 0 };
    int r = run(c, &request, NBD_CMD_FLAG_REQ_ONE, &got);

    if (r == 0 && !got.has_extent) {
        return -EPROTO;
    }
    *ret_len = (uint32_t)min_u64(got.extent_len, len);
    *ret_flags = got.extent_flags;
    return r;
}
