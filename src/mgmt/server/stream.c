/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/server/stream.h"

#include "base/log.h"
#include "os/fd.h"
#include "os/loop.h"
#include "rpc/fault.h"
#include "rpc/protocol/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { QUEUE_PAUSE = 1 << 20, QUEUE_MAX = 40 << 20 };

struct stream *stream_free(struct stream *s)
{
    if (s == NULL) {
        return NULL;
    }
    list_remove(&s->link);
    loop_source_free(s->read_source);
    loop_source_free(s->write_source);
    if (s->spec.fd_write >= 0 && s->spec.fd_write != s->spec.fd_read) {
        (void)close(s->spec.fd_write);
    }
    close_fdp(&s->spec.fd_read);
    if (s->spec.end != NULL) {
        s->spec.end(s->spec.arg, !s->finished);
    }
    free(s->queue);
    free(s);
    return NULL;
}

static void send_packet(struct stream *s, uint32_t status, const void *p, size_t len)
{
    struct rpc_header h = s->header;
    struct xdr_out x;

    h.type = RPC_STREAM;
    h.status = status;
    rpc_frame_begin(&x, &h);
    if (len > 0) {
        xdr_put_raw(&x, p, len);
    }
    client_send(s->client, &x, -1);
}

static void send_hole(struct stream *s, int64_t length)
{
    struct rpc_header h = s->header;
    struct xdr_out x;

    h.type = RPC_STREAM_HOLE;
    h.status = RPC_CONTINUE;
    rpc_frame_begin(&x, &h);
    xdr_put_u64(&x, (uint64_t)length);
    xdr_put_u32(&x, 0);
    client_send(s->client, &x, -1);
}

void stream_abort(struct stream *s, struct err *err)
{
    struct rpc_header h = s->header;

    h.type = RPC_STREAM;
    client_send_error(s->client, &h, err);
    stream_free(s);
}

static void read_events(struct stream *s)
{
    bool on = s->started && !s->read_eof && s->client->out_bytes < CLIENT_QUEUE_PAUSE;

    if (s->read_source != NULL) {
        (void)loop_fd_events(s->read_source, on ? EPOLLIN : 0);
    }
}

/* The hole at the file's position, in bytes; 0: data is here. */
static int64_t hole_here(struct stream *s)
{
    off_t at = lseek(s->spec.fd_read, 0, SEEK_CUR), data, end;
    int64_t hole;

    data = lseek(s->spec.fd_read, at, SEEK_DATA);
    end = lseek(s->spec.fd_read, 0, SEEK_END);
    if (data < 0) {
        data = end;
    }
    hole = data - at;
    if (s->spec.read_max > 0 && (uint64_t)hole > s->spec.read_max - s->n_read) {
        hole = (int64_t)(s->spec.read_max - s->n_read);
    }
    (void)lseek(s->spec.fd_read, at + (hole > 0 ? hole : 0), SEEK_SET);
    return hole > 0 ? hole : 0;
}

/* One packet; false when nothing more comes now. */
static bool read_one(struct stream *s)
{
    uint8_t *buf = s->client->server->stream_buffer;
    size_t want = RPC_STREAM_DATA_MAX;
    ssize_t n;

    if (s->spec.sparse) {
        int64_t hole = hole_here(s);

        if (hole > 0) {
            s->n_read += (uint64_t)hole;
            send_hole(s, hole);
        }
    }
    if (s->spec.read_max > 0 && s->spec.read_max - s->n_read < want) {
        want = (size_t)(s->spec.read_max - s->n_read);
    }
    if (s->spec.sparse && want > 0) {
        off_t at = lseek(s->spec.fd_read, 0, SEEK_CUR),
              next = lseek(s->spec.fd_read, at, SEEK_HOLE);

        (void)lseek(s->spec.fd_read, at, SEEK_SET);
        if (next > at && (uint64_t)(next - at) < want) {
            want = (size_t)(next - at);
        }
    }
    n = want > 0 ? read(s->spec.fd_read, buf, want) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n <= 0) {
        s->read_eof = true; /* a pty's EIO is its end, too */
        send_packet(s, RPC_CONTINUE, NULL, 0);
        return false;
    }
    s->n_read += (uint64_t)n;
    send_packet(s, RPC_CONTINUE, buf, (size_t)n);
    return true;
}

static void read_file(void *arg)
{
    struct stream *s = arg;

    for (int i = 0; i < 8 && !s->read_eof; i++) {
        if (s->client->fd < 0 || s->client->out_bytes >= CLIENT_QUEUE_PAUSE || !read_one(s)) {
            break;
        }
    }
    if (!s->read_eof && s->client->out_bytes < CLIENT_QUEUE_PAUSE) {
        (void)loop_timer_arm(s->read_source, loop_now_usec());
    }
}

static void on_read(int fd, uint32_t events, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    (void)events;
    if (s->client->fd >= 0 && s->client->out_bytes < CLIENT_QUEUE_PAUSE) {
        (void)read_one(s);
    }
    read_events(s);
}

static void finish(struct stream *s)
{
    send_packet(s, RPC_OK, NULL, 0);
    s->finished = true;
    stream_free(s);
}

/* Writes what is queued; false when the stream is gone. */
static bool write_queue(struct stream *s)
{
    while (s->queue_off < s->queue_len) {
        ssize_t n = write(s->spec.fd_write, s->queue + s->queue_off, s->queue_len - s->queue_off);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            (void)loop_fd_events(s->write_source, EPOLLOUT);
            return true;
        }
        if (n < 0) {
            CLEANUP(err_freep) struct err *err = NULL;

            (void)err_set(&err, errno, "cannot write to stream: %s", strerror(errno));
            stream_abort(s, err);
            return false;
        }
        s->queue_off += (size_t)n;
    }
    s->queue_len = s->queue_off = 0;
    if (s->write_source != NULL) {
        (void)loop_fd_events(s->write_source, 0);
    }
    if (s->client_done) {
        finish(s);
        return false;
    }
    return true;
}

static void on_write(int fd, uint32_t events, void *arg)
{
    (void)fd;
    (void)events;
    (void)write_queue(arg);
}

int stream_new(struct call *call, const struct stream_spec *spec, struct err **err)
{
    struct client *c = call->client;
    struct stream *s;
    unsigned n = 0;

    LIST_FOREACH (&c->streams, it) {
        n++;
    }
    s = n < STREAMS_MAX ? calloc(1, sizeof(*s)) : NULL;
    if (s == NULL || c->fd < 0) {
        if (spec->fd_write >= 0 && spec->fd_write != spec->fd_read) {
            (void)close(spec->fd_write);
        }
        if (spec->fd_read >= 0) {
            (void)close(spec->fd_read);
        }
        if (spec->end != NULL) {
            spec->end(spec->arg, true);
        }
        free(s);
        return n < STREAMS_MAX ? -ENOMEM
                               : fault(err, DOM_STREAMS, RPC, "more than %d streams", STREAMS_MAX);
    }
    if (c->server->stream_buffer == NULL) {
        c->server->stream_buffer = malloc(RPC_STREAM_DATA_MAX);
    }
    s->client = c;
    s->header = call->header;
    s->spec = *spec;
    list_append(&c->streams, &s->link);
    call->stream = s;
    return c->server->stream_buffer != NULL ? 0 : -ENOMEM;
}

void stream_start(struct stream *s)
{
    struct loop *loop = s->client->server->loop;
    int r = 0;

    s->started = true;
    if (s->spec.fd_read >= 0) {
        if (s->spec.regular) {
            r = loop_add_timer(loop, read_file, s, &s->read_source);
            if (r == 0) {
                r = loop_timer_arm(s->read_source, loop_now_usec());
            }
        } else {
            r = fd_set_nonblock(s->spec.fd_read, true);
            r = r == 0 ? loop_add_fd(loop, s->spec.fd_read, EPOLLIN, on_read, s, &s->read_source)
                       : r;
        }
    }
    if (r == 0 && s->spec.fd_write >= 0 && !s->spec.regular) {
        if (s->spec.fd_write == s->spec.fd_read) {
            s->spec.fd_write = fcntl(s->spec.fd_read, F_DUPFD_CLOEXEC, 0);
        }
        r = fd_set_nonblock(s->spec.fd_write, true);
        r = r == 0 ? loop_add_fd(loop, s->spec.fd_write, 0, on_write, s, &s->write_source) : r;
    }
    if (r < 0) {
        stream_abort(s, NULL);
    }
}

static int take_data(struct stream *s, const uint8_t *p, size_t len)
{
    CLEANUP(err_freep) struct err *err = NULL;
    uint8_t *q;

    if (s->spec.fd_write < 0) {
        return 0; /* a reader's stray data */
    }
    s->n_written += len;
    if (s->spec.write_max > 0 && s->n_written > s->spec.write_max) {
        (void)err_set(&err, ENOSPC, "cannot write to stream: %s", strerror(ENOSPC));
        stream_abort(s, err);
        return 0;
    }
    if (s->queue_len + len > QUEUE_MAX) {
        (void)fault(&err, DOM_STREAMS, RPC, "stream data comes faster than it can be written");
        stream_abort(s, err);
        return 0;
    }
    if (s->queue_len + len > s->queue_room) {
        q = realloc(s->queue, s->queue_len + len);
        if (q == NULL) {
            stream_abort(s, NULL);
            return 0;
        }
        s->queue = q;
        s->queue_room = s->queue_len + len;
    }
    memcpy(s->queue + s->queue_len, p, len);
    s->queue_len += len;
    (void)write_queue(s);
    return 0;
}

static int take_hole(struct stream *s, const uint8_t *p, size_t len)
{
    struct xdr_in in = xdr_in_of(p, len);
    int64_t length = (int64_t)xdr_get_u64(&in);
    off_t at;

    (void)xdr_get_u32(&in);
    if (in.failed || length < 0 || s->spec.fd_write < 0 || !s->spec.regular) {
        return -EPROTO;
    }
    s->n_written += (uint64_t)length;
    at = lseek(s->spec.fd_write, length, SEEK_CUR);
    if (at < 0 || (s->spec.write_max > 0 && s->n_written > s->spec.write_max)) {
        CLEANUP(err_freep) struct err *err = NULL;

        (void)err_set(&err, ENOSPC, "cannot write to stream: %s", strerror(ENOSPC));
        stream_abort(s, err);
        return 0;
    }
    {
        struct stat st;

        if (fstat(s->spec.fd_write, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < at) {
            (void)ftruncate(s->spec.fd_write, at);
        }
    }
    return 0;
}

int stream_message(struct client *c, const struct rpc_header *h, const uint8_t *p, size_t len)
{
    struct stream *s = NULL;

    LIST_FOREACH (&c->streams, it) {
        struct stream *have = CONTAINER_OF(it, struct stream, link);

        if (have->header.serial == h->serial && have->header.proc == h->proc &&
            have->header.program == h->program) {
            s = have;
        }
    }
    if (s == NULL || !s->started) {
        return 0; /* it ended on our side while this was on its way */
    }
    if (h->type == RPC_STREAM_HOLE) {
        return take_hole(s, p, len);
    }
    switch (h->status) {
    case RPC_CONTINUE:
        return take_data(s, p, len);
    case RPC_OK:
        s->client_done = true;
        if (s->queue_off >= s->queue_len) {
            finish(s);
        }
        return 0;
    default:
        stream_free(s);
        return 0;
    }
}

void stream_client_ready(struct client *c)
{
    LIST_FOREACH_SAFE (&c->streams, it) {
        struct stream *s = CONTAINER_OF(it, struct stream, link);

        if (s->spec.regular && s->read_source != NULL && !s->read_eof) {
            (void)loop_timer_arm(s->read_source, loop_now_usec());
        } else {
            read_events(s);
        }
    }
}
