/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/connection.h"

#include "base/bytes.h"
#include "base/list.h"
#include "base/str.h"
#include "client/transport.h"
#include "rpc/fault.h"
#include "rpc/frame.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>

enum { KEEPALIVE_PING = 1, KEEPALIVE_PONG = 2, AUTH_NONE = 0, AUTH_POLKIT = 2 };

/* One message, as it came. */
struct packet {
    struct list link;
    struct rpc_header header;
    size_t len, off; /* of the payload */
    uint8_t data[];
};

struct waiting {
    struct list link;
    uint32_t serial;
    struct packet *reply; /* owned */
};

struct flow {
    struct list link;
    struct connection *c;
    const struct rpc_program *program;
    int proc;
    uint32_t serial;
    struct list packets;
    bool ended;
};

struct connection {
    struct transport *t;
    char *uri;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool reading; /* a thread waits in the transport */
    int dead;     /* the errno that ended it */
    uint32_t serial;
    struct list waiting, streams, events;
    unsigned n_events;
};

/* ---- reading ---- */

static int read_packet(struct connection *c, struct packet **ret)
{
    uint8_t word[RPC_LEN_BYTES], head[RPC_HEADER_BYTES];
    struct packet *p;
    struct xdr_in x;
    size_t len;
    int r = transport_read(c->t, word, sizeof(word));

    r = r == 0 ? rpc_frame_length(word, &len) : r;
    r = r == 0 ? transport_read(c->t, head, sizeof(head)) : r;
    if (r < 0) {
        return r;
    }
    len -= RPC_LEN_BYTES + RPC_HEADER_BYTES;
    p = malloc(sizeof(*p) + len);
    if (p == NULL) {
        return -ENOMEM;
    }
    p->len = len;
    p->off = 0;
    x = xdr_in_of(head, sizeof(head));
    r = rpc_header_get(&x, &p->header) ? transport_read(c->t, p->data, len) : -EPROTO;
    if (r < 0) {
        free(p);
        return r;
    }
    *ret = p;
    return 0;
}

static int send_header(struct connection *c, const struct rpc_header *h)
{
    struct xdr_out x;
    int r;

    rpc_frame_begin(&x, h);
    r = rpc_frame_end(&x) ? transport_write(c->t, x.buf, x.len) : -EMSGSIZE;
    xdr_out_done(&x);
    return r;
}

/* Takes the packet; the lock is held. */
static void deliver(struct connection *c, struct packet *p)
{
    const struct rpc_header *h = &p->header;

    if (h->program == RPC_KEEPALIVE_PROGRAM) {
        struct rpc_header pong = { .program = RPC_KEEPALIVE_PROGRAM,
                                   .version = 1,
                                   .proc = KEEPALIVE_PONG,
                                   .type = RPC_MESSAGE };

        if (h->proc == KEEPALIVE_PING) {
            (void)send_header(c, &pong);
        }
        free(p);
        return;
    }
    if (h->type == RPC_MESSAGE && c->n_events < CLIENT_EVENTS_MAX) {
        list_append(&c->events, &p->link);
        c->n_events++;
        return;
    }
    if (h->type == RPC_REPLY || h->type == RPC_REPLY_FDS) {
        LIST_FOREACH (&c->waiting, it) {
            struct waiting *w = CONTAINER_OF(it, struct waiting, link);

            if (w->serial == h->serial && w->reply == NULL) {
                w->reply = p;
                return;
            }
        }
    }
    if (h->type == RPC_STREAM || h->type == RPC_STREAM_HOLE) {
        LIST_FOREACH (&c->streams, it) {
            struct flow *s = CONTAINER_OF(it, struct flow, link);

            if (s->serial == h->serial && s->proc == h->proc) {
                list_append(&s->packets, &p->link);
                return;
            }
        }
    }
    free(p);
}

static uint64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Something may have come. The lock is held, but not while it waits; until (ms, UINT64_MAX: no
 * limit). 0, or -EAGAIN after the time, or what ended the connection. */
static int advance(struct connection *c, uint64_t until)
{
    struct packet *p = NULL;
    uint64_t now = now_ms();
    int left = until == UINT64_MAX ? -1 : until > now ? (int)(until - now) : 0, r;

    if (c->dead != 0) {
        return c->dead;
    }
    if (c->reading) {
        struct timespec at;

        if (left < 0) {
            (void)pthread_cond_wait(&c->changed, &c->lock);
            return 0;
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_sec += left / 1000;
        at.tv_nsec += (long)(left % 1000) * 1000000;
        if (at.tv_nsec >= 1000000000) {
            at.tv_sec++;
            at.tv_nsec -= 1000000000;
        }
        return pthread_cond_timedwait(&c->changed, &c->lock, &at) == ETIMEDOUT ? -EAGAIN : 0;
    }
    c->reading = true;
    (void)pthread_mutex_unlock(&c->lock);
    r = transport_wait(c->t, left);
    r = r == 0 ? -EAGAIN : r > 0 ? read_packet(c, &p) : r;
    (void)pthread_mutex_lock(&c->lock);
    c->reading = false;
    if (p != NULL) {
        deliver(c, p);
    } else if (r < 0 && r != -EAGAIN) {
        c->dead = r;
    }
    (void)pthread_cond_broadcast(&c->changed);
    return r;
}

/* ---- calls ---- */

static int ended(int r, struct err **err)
{
    if (r == -ECONNRESET) {
        return fault(err, DOM_RPC, INTERNAL_ERROR, "client socket is closed");
    }
    return fault(err, DOM_RPC, SYSTEM_ERROR, "Cannot recv data: %s", strerror(-r));
}

/* The server's message is whole; a fault's phrase would be put before it a second time. */
static int server_error(struct xdr_in *x, struct err **err)
{
    struct arena a = ARENA_INIT(CLIENT_ARENA_MAX);
    struct remote_error e = { 0 };
    int r;

    get_remote_error(x, &a, &e);
    r = x->failed ? fault(err, DOM_RPC, RPC, "the server's error cannot be read")
                  : err_set(err, FAULT_BASE + (e.domain << 8) + e.code, "%s",
                            e.message != NULL ? e.message : "unknown error");
    arena_done(&a);
    return r;
}

static int wait_reply(struct connection *c, struct waiting *w, struct err **err)
{
    int r = 0;

    while (w->reply == NULL && r == 0) {
        r = advance(c, UINT64_MAX);
    }
    return w->reply != NULL ? 0 : ended(r, err);
}

static int take_reply(const struct packet *p, const struct rpc_proc *proc, void *ret,
                      struct arena *a, struct err **err)
{
    struct xdr_in x = xdr_in_of(p->data, p->len);

    if (p->header.status == RPC_ERROR) {
        return server_error(&x, err);
    }
    if (p->header.type == RPC_REPLY_FDS) {
        (void)xdr_get_u32(&x);
    }
    if (ret != NULL && proc->ret.get != NULL) {
        proc->ret.get(&x, a, ret);
    }
    return x.failed ? fault(err, DOM_RPC, RPC, "Unable to decode message payload") : 0;
}

int connection_call_stream(struct connection *c, const struct rpc_program *program, int proc,
                           const void *args, void *ret, struct arena *a, struct flow **ret_stream,
                           struct err **err)
{
    const struct rpc_proc *p = &program->procs[proc];
    CLEANUP(flow_freep) struct flow *s = ret_stream != NULL ? calloc(1, sizeof(*s)) : NULL;
    struct rpc_header h = {
        .program = program->nr, .version = program->version, .proc = proc, .type = RPC_CALL
    };
    struct waiting w = { .reply = NULL };
    struct xdr_out x;
    int r;

    if (ret_stream != NULL && s == NULL) {
        return -ENOMEM;
    }
    (void)pthread_mutex_lock(&c->lock);
    h.serial = w.serial = c->serial++;
    rpc_frame_begin(&x, &h);
    if (args != NULL && p->args.put != NULL) {
        p->args.put(&x, args);
    }
    if (!rpc_frame_end(&x)) {
        xdr_out_done(&x);
        (void)pthread_mutex_unlock(&c->lock);
        return fault(err, DOM_RPC, RPC, "Unable to encode message payload");
    }
    list_append(&c->waiting, &w.link);
    if (s != NULL) {
        s->c = c;
        s->program = program;
        s->proc = proc;
        s->serial = h.serial;
        list_init(&s->packets);
        list_append(&c->streams, &s->link);
    }
    r = c->dead != 0 ? c->dead : transport_write(c->t, x.buf, x.len);
    xdr_out_done(&x);
    r = r < 0 ? ended(r, err) : wait_reply(c, &w, err);
    list_remove(&w.link);
    (void)pthread_mutex_unlock(&c->lock);
    if (r == 0) {
        r = take_reply(w.reply, p, ret, a, err);
    }
    free(w.reply);
    if (r == 0 && ret_stream != NULL) {
        *ret_stream = TAKE_PTR(s);
    }
    return r;
}

int connection_call(struct connection *c, const struct rpc_program *program, int proc,
                    const void *args, void *ret, struct arena *a, struct err **err)
{
    return connection_call_stream(c, program, proc, args, ret, a, NULL, err);
}

/* ---- events ---- */

static void hand_out(const struct packet *p, connection_event_fn *fn, void *arg)
{
    const struct rpc_program *program =
        p->header.program == QEMU_PROGRAM ? &qemu_program : &remote_program;
    struct arena a = ARENA_INIT(CLIENT_ARENA_MAX);
    struct xdr_in x = xdr_in_of(p->data, p->len);
    const struct rpc_proc *proc;
    void *msg;

    if (p->header.program != program->nr || p->header.proc < 0 ||
        (unsigned)p->header.proc >= program->n_procs) {
        return;
    }
    proc = &program->procs[p->header.proc];
    msg = proc->args.get != NULL && (proc->flags & RPC_EVENT) ? arena_alloc(&a, proc->args.size)
                                                              : NULL;
    if (msg != NULL) {
        proc->args.get(&x, &a, msg);
        if (!x.failed) {
            fn(arg, program, p->header.proc, msg);
        }
    }
    arena_done(&a);
}

int connection_events(struct connection *c, int timeout_ms, connection_event_fn *fn, void *arg)
{
    uint64_t until = timeout_ms < 0 ? UINT64_MAX : now_ms() + (uint64_t)timeout_ms;
    int r = 0, n = 0;

    (void)pthread_mutex_lock(&c->lock);
    while (list_empty(&c->events) && r == 0) {
        r = advance(c, until);
    }
    while (!list_empty(&c->events)) {
        struct packet *p = CONTAINER_OF(c->events.next, struct packet, link);

        list_remove(&p->link);
        c->n_events--;
        (void)pthread_mutex_unlock(&c->lock);
        hand_out(p, fn, arg);
        free(p);
        n++;
        (void)pthread_mutex_lock(&c->lock);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return n > 0 ? n : r == -EAGAIN ? 0 : r;
}

/* ---- streams ---- */

static struct rpc_header flow_header(const struct flow *s, uint32_t type, uint32_t status)
{
    return (struct rpc_header) { .program = s->program->nr,
                                 .version = s->program->version,
                                 .proc = s->proc,
                                 .type = type,
                                 .serial = s->serial,
                                 .status = status };
}

static int send_packet(struct flow *s, uint32_t type, uint32_t status, const void *data, size_t len)
{
    struct rpc_header h = flow_header(s, type, status);
    struct xdr_out x;
    int r;

    rpc_frame_begin(&x, &h);
    if (len > 0) {
        xdr_put_raw(&x, data, len);
    }
    (void)pthread_mutex_lock(&s->c->lock);
    r = !rpc_frame_end(&x) ? -EMSGSIZE
        : s->c->dead != 0  ? s->c->dead
                           : transport_write(s->c->t, x.buf, x.len);
    (void)pthread_mutex_unlock(&s->c->lock);
    xdr_out_done(&x);
    return r;
}

/* The next packet, left in the list; NULL with an error or -EAGAIN. The lock is held. */
static int next_packet(struct flow *s, uint64_t until, struct packet **ret, struct err **err)
{
    int r = 0;

    while (list_empty(&s->packets) && r == 0) {
        r = advance(s->c, until);
    }
    if (list_empty(&s->packets)) {
        return r == -EAGAIN ? r : ended(r, err);
    }
    *ret = CONTAINER_OF(s->packets.next, struct packet, link);
    if ((*ret)->header.status == RPC_ERROR) {
        struct xdr_in x = xdr_in_of((*ret)->data, (*ret)->len);

        s->ended = true;
        return server_error(&x, err);
    }
    return 0;
}

static void drop_packet(struct packet *p)
{
    list_remove(&p->link);
    free(p);
}

ssize_t flow_recv(struct flow *s, void *buf, size_t len, int timeout_ms, uint64_t *ret_hole,
                  struct err **err)
{
    uint64_t until = timeout_ms < 0 ? UINT64_MAX : now_ms() + (uint64_t)timeout_ms;
    struct packet *p;
    ssize_t n = 0;
    int r;

    if (ret_hole != NULL) {
        *ret_hole = 0;
    }
    if (s->ended) {
        return 0;
    }
    (void)pthread_mutex_lock(&s->c->lock);
    r = next_packet(s, until, &p, err);
    if (r == 0 && p->header.type == RPC_STREAM_HOLE) {
        struct xdr_in x = xdr_in_of(p->data, p->len);
        uint64_t hole = xdr_get_u64(&x);

        if (ret_hole != NULL && !x.failed) {
            *ret_hole = hole;
        }
        drop_packet(p);
    } else if (r == 0 && p->len == 0) {
        s->ended = true;
        drop_packet(p);
    } else if (r == 0) {
        n = (ssize_t)(p->len - p->off < len ? p->len - p->off : len);
        memcpy(buf, p->data + p->off, (size_t)n);
        p->off += (size_t)n;
        if (p->off == p->len) {
            drop_packet(p);
        }
    }
    (void)pthread_mutex_unlock(&s->c->lock);
    return r < 0 ? r : n;
}

int flow_send(struct flow *s, const void *buf, size_t len, struct err **err)
{
    const uint8_t *p = buf;

    while (len > 0) {
        size_t n = len < RPC_STREAM_DATA_MAX ? len : RPC_STREAM_DATA_MAX;
        int r = send_packet(s, RPC_STREAM, RPC_CONTINUE, p, n);

        if (r < 0) {
            return ended(r, err);
        }
        p += n;
        len -= n;
    }
    return 0;
}

int flow_send_hole(struct flow *s, uint64_t len, struct err **err)
{
    uint8_t b[12] = { 0 };
    int r;

    be64_put(b, len);
    r = send_packet(s, RPC_STREAM_HOLE, RPC_CONTINUE, b, sizeof(b));
    return r < 0 ? ended(r, err) : 0;
}

int flow_finish(struct flow *s, struct err **err)
{
    int r = send_packet(s, RPC_STREAM, RPC_OK, NULL, 0);
    bool done = false;

    if (r < 0) {
        return ended(r, err);
    }
    (void)pthread_mutex_lock(&s->c->lock);
    while (r == 0 && !done) {
        struct packet *p = NULL;

        r = next_packet(s, UINT64_MAX, &p, err);
        if (r == 0) {
            done = p->header.status == RPC_OK;
            drop_packet(p);
        }
    }
    s->ended = true;
    (void)pthread_mutex_unlock(&s->c->lock);
    return r;
}

void flow_abort(struct flow *s)
{
    struct rpc_header h = flow_header(s, RPC_STREAM, RPC_ERROR);
    struct remote_error e = { .code = FAULT_RPC,
                              .domain = DOM_STREAMS,
                              .message = (char *)(uintptr_t) "stream aborted by the client",
                              .level = 2 };
    struct xdr_out x;

    rpc_frame_begin(&x, &h);
    put_remote_error(&x, &e);
    (void)pthread_mutex_lock(&s->c->lock);
    if (rpc_frame_end(&x) && s->c->dead == 0) {
        (void)!transport_write(s->c->t, x.buf, x.len);
    }
    s->ended = true;
    (void)pthread_mutex_unlock(&s->c->lock);
    xdr_out_done(&x);
}

struct flow *flow_free(struct flow *s)
{
    if (s == NULL) {
        return NULL;
    }
    (void)pthread_mutex_lock(&s->c->lock);
    list_remove(&s->link);
    LIST_FOREACH_SAFE (&s->packets, it) {
        drop_packet(CONTAINER_OF(it, struct packet, link));
    }
    (void)pthread_mutex_unlock(&s->c->lock);
    free(s);
    return NULL;
}

/* ---- opening and closing ---- */

static int authenticate(struct connection *c, struct arena *a, struct err **err)
{
    struct remote_auth_list_ret types = { 0 };
    struct remote_auth_polkit_ret polkit = { 0 };
    int r = connection_call(c, &remote_program, REMOTE_AUTH_LIST, NULL, &types, a, err);

    if (r < 0 || types.n_types == 0) {
        return r;
    }
    for (uint32_t i = 0; i < types.n_types; i++) {
        if (types.types[i] == AUTH_NONE) {
            return 0;
        }
        if (types.types[i] == AUTH_POLKIT) {
            return connection_call(c, &remote_program, REMOTE_AUTH_POLKIT, NULL, &polkit, a, err);
        }
    }
    return fault(err, DOM_AUTH, AUTH_FAILED,
                 "the server wants authentication of a kind (%d) that is not supported",
                 types.types[0]);
}

static const char *default_uri(void)
{
    const char *uri = getenv("LIBVIRT_DEFAULT_URI");

    return uri != NULL && *uri != '\0' ? uri
           : geteuid() == 0            ? "qemu:///system"
                                       : "qemu:///session";
}

int connection_open(const char *uri, bool readonly, struct connection **ret, struct err **err)
{
    CLEANUP(connection_closep) struct connection *c = calloc(1, sizeof(*c));
    CLEANUP(uri_done) struct uri u = { 0 };
    AUTO_FREE char *name = NULL;
    struct arena a = ARENA_INIT(CLIENT_ARENA_MAX);
    struct remote_connect_open_args args = { .flags = readonly ? 1 : 0 };
    pthread_condattr_t attr;
    int r;

    if (c == NULL) {
        return -ENOMEM;
    }
    list_init(&c->waiting);
    list_init(&c->streams);
    list_init(&c->events);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&c->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    c->uri = strdup(uri != NULL ? uri : default_uri());
    r = c->uri != NULL ? uri_parse(c->uri, &u, err) : -ENOMEM;
    r = r == 0 ? transport_open(&u, readonly, &c->t, err) : r;
    r = r == 0 ? authenticate(c, &a, err) : r;
    if (r == 0) {
        name = uri_for_server(&u);
        args.name = name;
        r = name != NULL
                ? connection_call(c, &remote_program, REMOTE_CONNECT_OPEN, &args, NULL, &a, err)
                : -ENOMEM;
    }
    arena_done(&a);
    if (r == 0) {
        *ret = TAKE_PTR(c);
    }
    return r;
}

struct connection *connection_close(struct connection *c)
{
    struct arena a = ARENA_INIT(1 << 16);

    if (c == NULL) {
        return NULL;
    }
    if (c->t != NULL && c->dead == 0) {
        (void)!connection_call(c, &remote_program, REMOTE_CONNECT_CLOSE, NULL, NULL, &a, NULL);
    }
    arena_done(&a);
    transport_close(c->t);
    LIST_FOREACH_SAFE (&c->events, it) {
        drop_packet(CONTAINER_OF(it, struct packet, link));
    }
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c->uri);
    free(c);
    return NULL;
}

const char *connection_uri(const struct connection *c)
{
    return c->uri;
}

bool connection_secure(const struct connection *c)
{
    return transport_secure(c->t);
}

int connection_fd(const struct connection *c)
{
    return transport_fd(c->t);
}

bool connection_alive(struct connection *c)
{
    bool alive;

    (void)pthread_mutex_lock(&c->lock);
    if (!c->reading && c->dead == 0 && transport_wait(c->t, 0) > 0) {
        (void)advance(c, now_ms());
    }
    alive = c->dead == 0;
    (void)pthread_mutex_unlock(&c->lock);
    return alive;
}
