/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* serve.c - requests of one client, worked on by several threads at a time. */
#include "base/bytes.h"
#include "block/core/bitmap.h"
#include "block/core/block.h"
#include "block/core/iov.h"
#include "block/nbd/peer.h"
#include "block/nbd/wire.h"

#include <errno.h>
#include <string.h>

enum {
    MAX_EXTENTS = 1 << 14, /* in one reply; the client asks again for the rest */
    MAX_CHUNKS = 256,      /* of one read: beyond that, data with zeroes in it */
};

struct request {
    uint16_t flags;
    uint16_t cmd;
    uint64_t cookie;
    uint64_t off;
    uint32_t len;
    uint8_t *data; /* owned: a write's */
};

static uint32_t error_of(int r)
{
    switch (-r) {
    case 0:
        return 0;
    case EPERM:
    case EROFS:
    case EACCES:
        return NBD_EPERM;
    case ENOMEM:
        return NBD_ENOMEM;
    case EINVAL:
        return NBD_EINVAL;
    case ENOSPC:
    case EFBIG:
    case EDQUOT:
        return NBD_ENOSPC;
    case EOVERFLOW:
        return NBD_EOVERFLOW;
    case ENOTSUP:
        return NBD_ENOTSUP;
    case ESHUTDOWN:
        return NBD_ESHUTDOWN;
    default:
        return NBD_EIO;
    }
}

/* ---- replies ---- */

static int send_message(struct nbd_peer *p, const void *head, size_t head_len, const void *data,
                        size_t len)
{
    struct iovec iov = iov_const(data, len);
    int r;

    (void)pthread_mutex_lock(&p->write_lock);
    r = nbd_stream_writev(&p->stream, head, head_len, &iov, len > 0);
    (void)pthread_mutex_unlock(&p->write_lock);
    return r;
}

/* head has room for the 20 bytes of a chunk's beginning before its own head_len - 20 bytes. */
static int send_chunk(struct nbd_peer *p, const struct request *q, bool last, uint16_t type,
                      uint8_t *head, size_t head_len, const void *data, size_t len)
{
    be32_put(head, NBD_MAGIC_STRUCTURED);
    be16_put(head + 4, last ? NBD_REPLY_DONE : 0);
    be16_put(head + 6, type);
    be64_put(head + 8, q->cookie);
    be32_put(head + 16, (uint32_t)(head_len - 20 + len));
    return send_message(p, head, head_len, data, len);
}

static int send_simple(struct nbd_peer *p, const struct request *q, uint32_t error,
                       const void *data, size_t len)
{
    uint8_t head[16];

    be32_put(head, NBD_MAGIC_SIMPLE);
    be32_put(head + 4, error);
    be64_put(head + 8, q->cookie);
    return send_message(p, head, sizeof(head), data, len);
}

static int send_result(struct nbd_peer *p, const struct request *q, int result)
{
    uint8_t head[26];

    /* Simple replies are fine for all that has no payload, whatever was agreed on. */
    if (!p->structured || (q->cmd != NBD_CMD_READ && q->cmd != NBD_CMD_BLOCK_STATUS)) {
        return send_simple(p, q, error_of(result), NULL, 0);
    }
    if (result == 0) {
        return send_chunk(p, q, true, NBD_REPLY_NONE, head, 20, NULL, 0);
    }
    be32_put(head + 20, error_of(result));
    be16_put(head + 24, 0);
    return send_chunk(p, q, true, NBD_REPLY_ERROR, head, 26, NULL, 0);
}

static int send_data(struct nbd_peer *p, const struct request *q, uint32_t at, uint32_t len,
                     const uint8_t *data, bool last)
{
    uint8_t head[28];

    be64_put(head + 20, q->off + at);
    return send_chunk(p, q, last, NBD_REPLY_OFFSET_DATA, head, 28, data, len);
}

static int send_hole(struct nbd_peer *p, const struct request *q, uint32_t at, uint32_t len,
                     bool last)
{
    uint8_t head[32];

    be64_put(head + 20, q->off + at);
    be32_put(head + 28, len);
    return send_chunk(p, q, last, NBD_REPLY_OFFSET_HOLE, head, 32, NULL, 0);
}

/* ---- requests ---- */

static int read_plain(struct nbd_peer *p, const struct request *q)
{
    const struct nbd_export *e = p->export;
    AUTO_FREE uint8_t *buf = malloc(q->len + 1ull);
    int r = buf != NULL ? block_pread(e->node, buf, q->len, e->options.off + q->off) : -ENOMEM;

    if (r < 0 || q->len == 0) {
        return send_result(p, q, r);
    }
    return p->structured ? send_data(p, q, 0, q->len, buf, true)
                         : send_simple(p, q, 0, buf, q->len);
}

/* Zeroes go as holes. */
static int read_sparse(struct nbd_peer *p, const struct request *q)
{
    const struct nbd_export *e = p->export;
    uint32_t at = 0;
    int r = 0;

    for (unsigned chunks = 0; r == 0 && at < q->len; chunks++) {
        struct block_extent ext = { .len = q->len - at };
        uint64_t off = e->options.off + q->off + at;
        bool last;

        if (chunks < MAX_CHUNKS) {
            r = block_status_above(e->node, NULL, off, q->len - at, &ext, NULL);
        }
        if (r < 0) {
            return send_result(p, q, r);
        }
        last = at + ext.len == q->len;
        if ((ext.flags & BLOCK_ZERO) != 0) {
            r = send_hole(p, q, at, (uint32_t)ext.len, last);
        } else {
            AUTO_FREE uint8_t *buf = malloc(ext.len);

            r = buf != NULL ? block_pread(e->node, buf, ext.len, off) : -ENOMEM;
            if (r < 0) {
                return send_result(p, q, r);
            }
            r = send_data(p, q, at, (uint32_t)ext.len, buf, last);
        }
        at += (uint32_t)ext.len;
    }
    return r;
}

/* What the context says of a range that begins at off of the node. */
static int context_extent(const struct nbd_export *e, unsigned context, uint64_t off, uint64_t len,
                          uint64_t *ret_len, uint32_t *ret_flags)
{
    struct block_extent ext;
    unsigned depth = 0;
    int r;

    if (context >= CONTEXT_BITMAPS) {
        uint64_t dirty = off + len;
        uint64_t dirty_len = 0;
        bool any = block_bitmap_next(e->options.bitmaps[context - CONTEXT_BITMAPS], off, len,
                                     &dirty, &dirty_len);

        *ret_flags = any && dirty <= off;
        *ret_len = !any ? len : dirty > off ? min_u64(dirty - off, len) : min_u64(dirty_len, len);
        return 0;
    }
    r = block_status_above(e->node, NULL, off, len, &ext, &depth);
    if (r < 0) {
        return r;
    }
    *ret_len = ext.len;
    if (context == CONTEXT_DEPTH) {
        *ret_flags = (ext.flags & BLOCK_ALLOCATED) != 0 ? depth + 1 : 0;
    } else {
        *ret_flags = ((ext.flags & BLOCK_DATA) != 0 ? 0 : NBD_STATE_HOLE) |
                     ((ext.flags & BLOCK_ZERO) != 0 ? NBD_STATE_ZERO : 0);
    }
    return 0;
}

static int send_context(struct nbd_peer *p, const struct request *q, unsigned context, bool last)
{
    const struct nbd_export *e = p->export;
    unsigned max = (q->flags & NBD_CMD_FLAG_REQ_ONE) != 0 ? 1 : MAX_EXTENTS;
    AUTO_FREE uint8_t *buf = NULL;
    uint8_t head[24];
    unsigned n = 0;
    unsigned room = 0;

    for (uint64_t at = 0; at < q->len;) {
        uint64_t len = 0;
        uint32_t flags = 0;
        int r = context_extent(e, context, e->options.off + q->off + at, q->len - at, &len, &flags);

        if (r < 0) {
            return r;
        }
        if (n > 0 && be32_get(buf + n * 8 - 4) == flags) {
            be32_put(buf + n * 8 - 8, be32_get(buf + n * 8 - 8) + (uint32_t)len);
        } else if (n == max) {
            break;
        } else {
            if (n == room) {
                uint8_t *more = realloc(buf, (room = room * 2 + 16) * 8ull);

                if (more == NULL) {
                    return -ENOMEM;
                }
                buf = more;
            }
            be32_put(buf + n * 8, (uint32_t)len);
            be32_put(buf + n * 8 + 4, flags);
            n++;
        }
        at += len;
    }
    be32_put(head + 20, context);
    (void)!send_chunk(p, q, last, NBD_REPLY_BLOCK_STATUS, head, 24, buf, n * 8ull);
    return 0;
}

static int block_status_request(struct nbd_peer *p, const struct request *q)
{
    unsigned last = 0;
    int r = 0;

    for (unsigned i = 0; i < MAX_CONTEXTS_SET; i++) {
        last = p->contexts[i] ? i + 1 : last;
    }
    if (last == 0 || q->len == 0) {
        return send_result(p, q, -EINVAL);
    }
    for (unsigned i = 0; r == 0 && i < last; i++) {
        if (p->contexts[i]) {
            r = send_context(p, q, i, i + 1 == last);
        }
    }
    return r < 0 ? send_result(p, q, r) : 0;
}

static int change(const struct nbd_export *e, const struct request *q)
{
    uint64_t off = e->options.off + q->off;
    unsigned how = 0;
    int r = 0;

    switch (q->cmd) {
    case NBD_CMD_WRITE:
        r = block_pwrite(e->node, q->data, q->len, off);
        break;
    case NBD_CMD_TRIM:
        r = block_discard(e->node, off, q->len);
        break;
    case NBD_CMD_WRITE_ZEROES:
        how = (q->flags & NBD_CMD_FLAG_NO_HOLE) == 0 ? BLOCK_REQ_MAY_UNMAP : 0;
        how |= (q->flags & NBD_CMD_FLAG_FAST_ZERO) != 0 ? BLOCK_REQ_NO_FALLBACK : 0;
        r = block_write_zeroes(e->node, off, q->len, how);
        break;
    default:
        break;
    }
    return r == 0 && ((q->flags & NBD_CMD_FLAG_FUA) != 0 || e->options.writethrough)
               ? block_flush(e->node)
               : r;
}

static int check(const struct nbd_export *e, const struct request *q)
{
    static const uint16_t allowed[] = {
        [NBD_CMD_READ] = NBD_CMD_FLAG_DF | NBD_CMD_FLAG_FUA,
        [NBD_CMD_WRITE] = NBD_CMD_FLAG_FUA,
        [NBD_CMD_FLUSH] = NBD_CMD_FLAG_FUA,
        [NBD_CMD_TRIM] = NBD_CMD_FLAG_FUA,
        [NBD_CMD_CACHE] = NBD_CMD_FLAG_FUA,
        [NBD_CMD_WRITE_ZEROES] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
        [NBD_CMD_BLOCK_STATUS] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE,
    };
    bool writes =
        q->cmd == NBD_CMD_WRITE || q->cmd == NBD_CMD_TRIM || q->cmd == NBD_CMD_WRITE_ZEROES;

    if (q->cmd > NBD_CMD_BLOCK_STATUS || (q->flags & ~allowed[q->cmd]) != 0) {
        return -EINVAL;
    }
    if (writes && !e->options.writable) {
        return -EPERM;
    }
    if (q->cmd != NBD_CMD_FLUSH && !range_within(q->off, q->len, e->len)) {
        return q->cmd == NBD_CMD_WRITE || q->cmd == NBD_CMD_WRITE_ZEROES ? -ENOSPC : -EINVAL;
    }
    return q->cmd == NBD_CMD_READ && q->len > NBD_MAX_PAYLOAD ? -EINVAL : 0;
}

static int answer(struct nbd_peer *p, const struct request *q)
{
    const struct nbd_export *e = p->export;
    int r = check(e, q);

    if (r < 0) {
        return send_result(p, q, r);
    }
    switch (q->cmd) {
    case NBD_CMD_READ:
        return p->structured && (q->flags & NBD_CMD_FLAG_DF) == 0 && q->len > 0 ? read_sparse(p, q)
                                                                                : read_plain(p, q);
    case NBD_CMD_BLOCK_STATUS:
        return block_status_request(p, q);
    case NBD_CMD_FLUSH:
        return send_result(p, q, block_flush(e->node));
    case NBD_CMD_CACHE:
        return send_result(p, q, 0);
    default:
        return send_result(p, q, change(e, q));
    }
}

/* 0, or a negative errno when the client has left or makes no sense. */
static int read_request(struct nbd_peer *p, struct request *q)
{
    uint8_t head[NBD_REQUEST_BYTES];
    int r = nbd_stream_read(&p->stream, head, sizeof(head));

    if (r < 0) {
        return r;
    }
    *q = (struct request) { .flags = be16_get(head + 4),
                            .cmd = be16_get(head + 6),
                            .cookie = be64_get(head + 8),
                            .off = be64_get(head + 16),
                            .len = be32_get(head + 24) };
    if (be32_get(head) != NBD_MAGIC_REQUEST) {
        return -EPROTO;
    }
    if (q->cmd == NBD_CMD_DISC) {
        return -ECONNRESET;
    }
    if (q->cmd != NBD_CMD_WRITE) {
        return 0;
    }
    if (q->len > NBD_MAX_PAYLOAD) {
        return -EPROTO; /* the rest could not be told from requests */
    }
    q->data = malloc(q->len + 1ull);
    return q->data != NULL ? nbd_stream_read(&p->stream, q->data, q->len) : -ENOMEM;
}

void nbd_peer_serve(struct nbd_peer *p)
{
    for (;;) {
        struct request q = { 0 };
        bool nobody_waits;
        int r;

        (void)pthread_mutex_lock(&p->lock);
        p->n_idle++;
        (void)pthread_mutex_unlock(&p->lock);
        (void)pthread_mutex_lock(&p->read_lock);
        r = p->over ? -ECONNRESET : read_request(p, &q);
        (void)pthread_mutex_lock(&p->lock);
        p->over |= r < 0;
        p->n_idle--;
        nobody_waits = p->n_idle == 0;
        (void)pthread_mutex_unlock(&p->lock);
        (void)pthread_mutex_unlock(&p->read_lock);
        if (r == 0 && nobody_waits) {
            nbd_peer_more_threads(p);
        }
        if (r == 0) {
            r = answer(p, &q);
        }
        free(q.data);
        if (r < 0) {
            nbd_stream_shutdown(&p->stream);
            return;
        }
    }
}
