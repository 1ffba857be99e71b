/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/server/client.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/str.h"
#include "mgmt/server/dispatch.h"
#include "mgmt/server/event.h"
#include "mgmt/server/stream.h"
#include "mgmt/transport/sasl.h"
#include "mgmt/transport/x509.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/tls.h"
#include "rpc/fault.h"
#include "rpc/protocol/remote.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

enum { READ_BYTES = 64 << 10, READ_KEEP = 256 << 10, KEEPALIVE_PING = 1 };

struct client *client_ref(struct client *c)
{
    c->refs++;
    return c;
}

struct client *client_unref(struct client *c)
{
    if (c == NULL || --c->refs > 0) {
        return NULL;
    }
    free(c->in);
    free(c->sasl_user);
    free(c->x509_name);
    free(c->address);
    free(c->uri);
    free(c);
    return NULL;
}

static void chunk_free(struct out_chunk *k)
{
    for (unsigned i = k->fds_sent; i < k->n_fds; i++) {
        (void)close(k->fds[i]);
    }
    free(k);
}

void client_close(struct client *c)
{
    if (c->fd < 0) {
        return;
    }
    client_ref(c);
    c->source = loop_source_free(c->source);
    c->keepalive = loop_source_free(c->keepalive);
    while (!list_empty(&c->streams)) {
        stream_free(CONTAINER_OF(c->streams.next, struct stream, link));
    }
    event_client_gone(c);
    if (c->service->server->client_gone != NULL) {
        c->service->server->client_gone(c);
    }
    LIST_FOREACH_SAFE (&c->out, it) {
        struct out_chunk *k = CONTAINER_OF(it, struct out_chunk, link);

        list_remove(&k->link);
        chunk_free(k);
    }
    for (unsigned i = 0; i < c->n_in_fds; i++) {
        (void)close(c->in_fds[i]);
    }
    c->n_in_fds = 0;
    c->tls = tls_free(c->tls);
    c->sasl = sasl_session_free(c->sasl);
    (void)close(c->fd);
    c->fd = -1;
    list_remove(&c->link);
    c->server->n_clients--;
    server_check_idle(c->server);
    client_unref(c); /* the list's */
    client_unref(c);
}

/* ---- sending ---- */

static ssize_t put_bytes(struct client *c, const void *p, size_t len)
{
    ssize_t n;

    if (c->tls != NULL) {
        return tls_write(c->tls, p, len);
    }
    do {
        n = send(c->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void wanted_events(struct client *c)
{
    uint32_t e = 0;

    if (c->n_calls < CLIENT_CALLS_MAX && c->out_bytes < CLIENT_QUEUE_PAUSE) {
        e |= EPOLLIN;
    }
    if (!list_empty(&c->out) || (c->tls != NULL && tls_wants_write(c->tls))) {
        e |= EPOLLOUT;
    }
    (void)loop_fd_events(c->source, e);
}

/* 1 when the chunk is sent, 0 when the socket is full, or an error. */
static int chunk_put(struct client *c, struct out_chunk *k)
{
    while (k->off < k->len) {
        ssize_t n = sasl_active(c->sasl)
                        ? sasl_put(c->sasl, k->bytes + k->off, k->len - k->off, put_bytes, c)
                        : put_bytes(c, k->bytes + k->off, k->len - k->off);

        if (n < 0) {
            return n == -EAGAIN ? 0 : (int)n;
        }
        k->off += (size_t)n;
        c->out_bytes -= (size_t)n;
    }
    while (k->fds_sent < k->n_fds) {
        ssize_t n = fd_send_with(c->fd, "", 1, &k->fds[k->fds_sent], 1);

        if (n < 0) {
            return n == -EAGAIN ? 0 : (int)n;
        }
        (void)close(k->fds[k->fds_sent++]);
    }
    return 1;
}

static int flush(struct client *c)
{
    while (!list_empty(&c->out)) {
        struct out_chunk *k = CONTAINER_OF(c->out.next, struct out_chunk, link);
        int r = chunk_put(c, k);

        if (r <= 0) {
            return r;
        }
        list_remove(&k->link);
        chunk_free(k);
    }
    return 0;
}

void client_send(struct client *c, struct xdr_out *x, int fd)
{
    struct out_chunk *k;
    size_t off = 0;

    if (c->fd < 0 || !rpc_frame_end(x)) {
        if (c->fd >= 0) {
            log_warn("client %llu: a message did not fit", (unsigned long long)c->id);
        }
        goto out;
    }
    if (list_empty(&c->out) && fd < 0 && !sasl_active(c->sasl)) {
        ssize_t n = put_bytes(c, x->buf, x->len);

        if (n == (ssize_t)x->len) {
            goto out;
        }
        off = n > 0 ? (size_t)n : 0;
    }
    if (c->out_bytes + x->len > CLIENT_QUEUE_MAX) {
        log_warn("client %llu does not read; it is dropped", (unsigned long long)c->id);
        xdr_out_done(x);
        close_fdp(&fd);
        /* Not from here: the caller may still use the client. */
        (void)shutdown(c->fd, SHUT_RDWR);
        return;
    }
    k = malloc(sizeof(*k) + x->len - off);
    if (k == NULL) {
        (void)shutdown(c->fd, SHUT_RDWR);
        goto out;
    }
    k->len = x->len - off;
    k->off = 0;
    k->n_fds = 0;
    k->fds_sent = 0;
    memcpy(k->bytes, x->buf + off, k->len);
    if (fd >= 0) {
        k->fds[k->n_fds++] = TAKE_FD(fd);
    }
    list_append(&c->out, &k->link);
    c->out_bytes += k->len;
    if (flush(c) < 0) {
        (void)shutdown(c->fd, SHUT_RDWR);
    }
    wanted_events(c);
out:
    close_fdp(&fd);
    xdr_out_done(x);
}

void client_send_error(struct client *c, const struct rpc_header *h, struct err *err)
{
    struct rpc_header reply = *h;
    int code = err != NULL ? err->code : EIO;
    int kind = fault_kind(code);
    AUTO_FREE char *message = NULL;
    AUTO_FREE char *format = NULL;
    struct remote_error e = {
        .code = kind, .domain = fault_domain(code), .level = 2, .int1 = -1, .int2 = -1
    };
    struct xdr_out x;

    reply.status = RPC_ERROR;
    if (h->type == RPC_CALL || h->type == RPC_CALL_FDS) {
        reply.type = RPC_REPLY;
    }
    message = str_format("%s%s", fault_phrase(kind), err != NULL ? err->text : "out of memory");
    format = str_format("%s%%s", fault_phrase(kind));
    e.message = message;
    e.str1 = format;
    e.str2 = err != NULL ? err->text : NULL;
    if (kind == FAULT_SYSTEM_ERROR) {
        e.int1 = code;
    }
    rpc_frame_begin(&x, &reply);
    put_remote_error(&x, &e);
    client_send(c, &x, -1);
}

static void call_free(struct call *call)
{
    for (unsigned i = 0; i < call->n_fds; i++) {
        close_fdp(&call->fds[i]);
    }
    close_fdp(&call->reply_fd);
    arena_done(&call->arena);
    client_unref(call->client);
    free(call);
}

void call_finish(struct call *call, const void *ret, int r, struct err *err)
{
    struct client *c = call->client;
    struct stream *stream = call->stream;

    if (c->fd >= 0) {
        if (r < 0) {
            CLEANUP(err_freep) struct err *own = NULL;

            if (err == NULL) {
                (void)err_set(&own, -r, "%s", r == -ENOMEM ? "" : strerror(-r));
                err = own;
            }
            stream_free(stream);
            client_send_error(c, &call->header, err);
        } else {
            struct rpc_header h = call->header;
            struct xdr_out x;

            h.type = call->reply_fd >= 0 ? RPC_REPLY_FDS : RPC_REPLY;
            h.status = RPC_OK;
            rpc_frame_begin(&x, &h);
            if (call->reply_fd >= 0) {
                xdr_put_u32(&x, 1);
            }
            if (ret != NULL) {
                call->proc->ret.put(&x, ret);
            }
            if (x.failed) {
                CLEANUP(err_freep) struct err *big = NULL;

                xdr_out_done(&x);
                (void)fault(&big, DOM_RPC, RPC, "Unable to encode message payload");
                stream_free(stream);
                client_send_error(c, &call->header, big);
            } else {
                client_send(c, &x, TAKE_FD(call->reply_fd));
                if (call->sasl_done) {
                    sasl_activate(c->sasl);
                }
                if (stream != NULL) {
                    stream_start(stream);
                }
            }
        }
        c->n_calls--;
        client_resume(c);
    }
    call_free(call);
}

/* ---- receiving ---- */

static ssize_t get_bytes(struct client *c, uint8_t *p, size_t len)
{
    ssize_t n;
    size_t got = 0;

    if (c->tls != NULL) {
        return tls_read(c->tls, p, len);
    }
    do {
        n = fd_recv_with(c->fd, p, len, c->in_fds + c->n_in_fds, RPC_FDS_MAX - c->n_in_fds, &got);
    } while (n == -EINTR);
    c->n_in_fds += (unsigned)got;
    return n;
}

/* Handles what is complete; -EPROTO when the peer must go. */
static int consume(struct client *c)
{
    size_t at = 0;
    int r = 0;

    while (c->fd >= 0 && c->in_len - at >= RPC_LEN_BYTES && c->n_calls < CLIENT_CALLS_MAX) {
        size_t len, fds = 0;

        r = rpc_frame_length(c->in + at, &len);
        if (r < 0) {
            break;
        }
        if (c->in_len - at < len) {
            break;
        }
        if (be32_get(c->in + at + 16) == RPC_CALL_FDS) {
            fds = len >= RPC_LEN_BYTES + RPC_HEADER_BYTES + 4 ? be32_get(c->in + at + 28) : 0;
            if (fds > RPC_FDS_MAX || c->address != NULL) {
                r = -EPROTO;
                break;
            }
            if (c->in_len - at < len + fds) {
                break;
            }
        }
        r = dispatch_message(c, c->in + at + RPC_LEN_BYTES, len - RPC_LEN_BYTES);
        if (r < 0) {
            break;
        }
        at += len + fds;
    }
    if (c->fd >= 0 && at > 0) {
        memmove(c->in, c->in + at, c->in_len - at);
        c->in_len -= at;
    }
    if (c->in_len == 0 && c->in_room > READ_KEEP) {
        free(c->in);
        c->in = NULL;
        c->in_room = 0;
    }
    return r;
}

static int make_room(struct client *c)
{
    size_t want = READ_BYTES, len;
    uint8_t *p;

    if (c->in_len >= RPC_LEN_BYTES && rpc_frame_length(c->in, &len) == 0) {
        want = len + RPC_FDS_MAX;
    }
    /* A peer that only announces a large message gets room as its bytes come. */
    if (want > c->in_len * 2 + READ_BYTES) {
        want = c->in_len * 2 + READ_BYTES;
    }
    if (c->in_room >= want && c->in_room > c->in_len) {
        return 0;
    }
    p = realloc(c->in, want);
    if (p == NULL) {
        return -ENOMEM;
    }
    c->in = p;
    c->in_room = want;
    return 0;
}

static int receive(struct client *c)
{
    for (int rounds = 0; rounds < 16 && c->fd >= 0; rounds++) {
        ssize_t n;
        int r = make_room(c);

        if (r < 0) {
            return r;
        }
        n = get_bytes(c, c->in + c->in_len, c->in_room - c->in_len);
        if (n <= 0) {
            return n == -EAGAIN ? 0 : n == 0 ? -ECONNRESET : (int)n;
        }
        c->heard_usec = loop_now_usec();
        c->keepalive_unanswered = 0;
        if (sasl_active(c->sasl)) {
            size_t room = c->in_room;

            r = sasl_take(c->sasl, &c->in, &c->in_len, &room, (size_t)n);
            c->in_room = room;
            if (r < 0) {
                return r;
            }
        } else {
            c->in_len += (size_t)n;
        }
        r = consume(c);
        if (r < 0 || c->fd < 0) {
            return r;
        }
        if (c->n_calls >= CLIENT_CALLS_MAX || c->out_bytes >= CLIENT_QUEUE_PAUSE) {
            break;
        }
        /* A short read emptied the socket; TLS may hold decrypted bytes that poll cannot see. */
        if (c->tls == NULL ? c->in_len < c->in_room : tls_pending(c->tls) == 0) {
            break;
        }
    }
    return 0;
}

static int handshake(struct client *c)
{
    CLEANUP(err_freep) struct err *err = NULL;
    static const uint8_t verified = 1;
    int r = tls_handshake(c->tls, &err);

    if (r == -EAGAIN) {
        return 0;
    }
    if (r < 0) {
        log_warn("TLS client %s: %s", c->address, err != NULL ? err->text : strerror(-r));
        return r;
    }
    r = x509_allowed(c, &err);
    if (r < 0) {
        log_warn("TLS client %s: %s", c->address, err->text);
        return r;
    }
    c->tls_ready = true;
    /* The peer waits for this byte: its certificate was accepted. */
    return tls_write(c->tls, &verified, 1) == 1 ? 0 : -EIO;
}

static void on_fd(int fd, uint32_t events, void *arg)
{
    struct client *c = client_ref(arg);
    int r = 0;

    (void)fd;
    if (c->tls != NULL && !c->tls_ready) {
        r = handshake(c);
    } else {
        if (events & EPOLLOUT) {
            r = flush(c);
            if (r == 0 && c->out_bytes < CLIENT_QUEUE_PAUSE) {
                stream_client_ready(c);
            }
        }
        if (r == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
            r = receive(c);
        }
    }
    if (r < 0) {
        client_close(c);
    } else if (c->fd >= 0) {
        wanted_events(c);
    }
    client_unref(c);
}

void client_resume(struct client *c)
{
    if (c->fd >= 0 && c->n_calls == CLIENT_CALLS_MAX - 1) {
        /* What was read before the limit was reached. */
        if (consume(c) < 0) {
            client_close(c);
            return;
        }
        if (c->fd >= 0) {
            wanted_events(c);
        }
    }
}

static void on_keepalive(void *arg)
{
    struct client *c = arg;
    uint64_t period = (uint64_t)c->server->keepalive_seconds * 1000000;
    struct rpc_header h = {
        .program = RPC_KEEPALIVE_PROGRAM, .version = 1, .proc = KEEPALIVE_PING, .type = RPC_MESSAGE
    };
    struct xdr_out x;

    if (!c->asked_keepalive || period == 0) {
        return;
    }
    if (loop_now_usec() - c->heard_usec >= period) {
        if (c->keepalive_unanswered++ >= c->server->keepalive_count) {
            log_note("client %llu does not answer; it is dropped", (unsigned long long)c->id);
            client_close(c);
            return;
        }
        rpc_frame_begin(&x, &h);
        client_send(c, &x, -1);
    }
    if (c->fd >= 0) {
        (void)loop_timer_arm(c->keepalive, loop_now_usec() + period);
    }
}

void client_wants_keepalive(struct client *c)
{
    c->asked_keepalive = true;
    if (c->keepalive != NULL && c->server->keepalive_seconds > 0) {
        (void)loop_timer_arm(c->keepalive,
                             loop_now_usec() + (uint64_t)c->server->keepalive_seconds * 1000000);
    }
}

static void peer_of(struct client *c)
{
    struct ucred u;
    socklen_t len = sizeof(u);
    struct sockaddr_storage sa;
    socklen_t sa_len = sizeof(sa);
    char path[64], *text = NULL, *p;
    size_t n;

    if (getpeername(c->fd, (struct sockaddr *)&sa, &sa_len) == 0 && sa.ss_family != AF_UNIX) {
        char host[INET6_ADDRSTRLEN] = "?";
        unsigned port = 0;
        int one = 1;

        if (sa.ss_family == AF_INET) {
            struct sockaddr_in in;

            memcpy(&in, &sa, sizeof(in));
            (void)inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
            port = ntohs(in.sin_port);
        } else if (sa.ss_family == AF_INET6) {
            struct sockaddr_in6 in6;

            memcpy(&in6, &sa, sizeof(in6));
            (void)inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
            port = ntohs(in6.sin6_port);
        }
        c->address = str_format("%s:%u", host, port);
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        return;
    }
    if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &u, &len) == 0) {
        c->pid = u.pid;
        c->uid = u.uid;
        c->gid = u.gid;
        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)u.pid);
        if (c->service->auth == AUTH_POLKIT && file_slurp(path, 4096, &text, &n) == 0) {
            p = strrchr(text, ')');
            for (int field = 2; p != NULL && field < 22; field++) {
                p = strchr(p + 1, ' ');
            }
            if (p != NULL) {
                c->start_time = strtoull(p + 1, NULL, 10);
            }
        }
        free(text);
    }
}

int client_new(struct service *service, int fd, struct err **err)
{
    struct server *s = service->server;
    struct client *c = calloc(1, sizeof(*c));
    int r;

    if (c == NULL) {
        (void)close(fd);
        return -ENOMEM;
    }
    c->refs = 1;
    c->server = s;
    c->service = service;
    c->id = ++s->next_client_id;
    c->since = time(NULL);
    c->fd = fd;
    c->readonly = service->readonly;
    c->admin = service->admin;
    list_init(&c->streams);
    list_init(&c->subscriptions);
    list_init(&c->out);
    list_append(&s->clients, &c->link);
    s->n_clients++;
    peer_of(c);
    c->authenticated = service->auth == AUTH_NONE || (service->auth == AUTH_POLKIT && c->uid == 0);
    c->heard_usec = loop_now_usec();
    r = fd_set_nonblock(fd, true);
    if (r == 0 && service->tls != NULL) {
        r = tls_new(service->tls, fd, true, NULL, true, NULL, &c->tls, err);
    }
    if (r == 0) {
        r = loop_add_fd(s->loop, fd, EPOLLIN, on_fd, c, &c->source);
    }
    if (r == 0) {
        r = loop_add_timer(s->loop, on_keepalive, c, &c->keepalive);
    }
    if (r < 0) {
        client_close(c);
    }
    return r;
}
