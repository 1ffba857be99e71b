/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/library.h"

#include "base/str.h"
#include "rpc/fault.h"

#include <errno.h>
#include <stdio.h>

_Static_assert(sizeof(struct vireo_param) == sizeof(struct rpc_typed_param), "same layout");

/* The public names are only that: a connection and a stream are ours. */
static struct connection *own(struct vireo_connect *c)
{
    return (struct connection *)c;
}

static struct flow *flow_of(struct vireo_stream *s)
{
    return (struct flow *)s;
}

/* ---- errors ---- */

static _Thread_local struct {
    struct vireo_error error;
    char text[4096];
} last;

static int failed(int r, struct err *err)
{
    int code = err != NULL ? err->code : -r;

    (void)snprintf(last.text, sizeof(last.text), "%s", err != NULL ? err->text : strerror(-r));
    last.error.message = last.text;
    last.error.code = code >= FAULT_BASE ? fault_kind(code)
                      : code == ENOMEM   ? FAULT_NO_MEMORY
                                         : FAULT_SYSTEM_ERROR;
    last.error.domain = code >= FAULT_BASE ? fault_domain(code) : DOM_REMOTE;
    err_free(err);
    return r;
}

const struct vireo_error *vireo_last_error(void)
{
    return &last.error;
}

/* ---- what calls answer ---- */

struct answer {
    struct arena arena;
    max_align_t ret[];
};

void vireo_free(void *ret)
{
    if (ret != NULL) {
        struct answer *a = (struct answer *)(void *)((char *)ret - offsetof(struct answer, ret));

        arena_done(&a->arena);
        free(a);
    }
}

int library_call(struct vireo_connect *c, const struct rpc_program *program, int proc,
                 const void *args, void **ret, struct vireo_stream **ret_stream)
{
    struct err *err = NULL;
    struct answer *a = calloc(1, sizeof(*a) + program->procs[proc].ret.size);
    int r;

    if (a == NULL) {
        return failed(-ENOMEM, NULL);
    }
    a->arena.max = CLIENT_ARENA_MAX;
    r = connection_call_stream(own(c), program, proc, args, ret != NULL ? a->ret : NULL, &a->arena,
                               (struct flow **)ret_stream, &err);
    if (r < 0 || ret == NULL) {
        vireo_free(a->ret);
    } else {
        *ret = a->ret;
    }
    return r < 0 ? failed(r, err) : 0;
}

const struct vireo_param *vireo_param_find(const struct vireo_param *params, uint32_t n,
                                           const char *field)
{
    for (uint32_t i = 0; i < n; i++) {
        if (str_eq(params[i].field, field)) {
            return &params[i];
        }
    }
    return NULL;
}

/* ---- connections ---- */

int vireo_connect_open(const char *uri, unsigned flags, struct vireo_connect **ret)
{
    struct err *err = NULL;
    struct connection *c = NULL;
    int r = connection_open(uri, (flags & VIREO_CONNECT_RO) != 0, &c, &err);

    *ret = (struct vireo_connect *)c;
    return r < 0 ? failed(r, err) : 0;
}

void vireo_connect_close(struct vireo_connect *c)
{
    connection_close(own(c));
}

const char *vireo_connect_uri(const struct vireo_connect *c)
{
    return connection_uri((const struct connection *)c);
}

int vireo_connect_is_alive(struct vireo_connect *c)
{
    return connection_alive(own(c));
}

int vireo_connect_fd(const struct vireo_connect *c)
{
    return connection_fd((const struct connection *)c);
}

struct listener {
    vireo_event_fn *fn;
    void *arg;
};

static void on_event(void *arg, const struct rpc_program *program, int proc, const void *msg)
{
    const struct listener *l = arg;

    l->fn(l->arg, program == &qemu_program, proc, msg);
}

int vireo_connect_events(struct vireo_connect *c, int timeout_ms, vireo_event_fn *fn, void *arg)
{
    struct listener l = { .fn = fn, .arg = arg };

    return connection_events(own(c), timeout_ms, on_event, &l);
}

/* ---- streams ---- */

ssize_t vireo_stream_recv(struct vireo_stream *s, void *buf, size_t len, int timeout_ms,
                          uint64_t *ret_hole)
{
    struct err *err = NULL;
    ssize_t n = flow_recv(flow_of(s), buf, len, timeout_ms, ret_hole, &err);

    return n < 0 && n != -EAGAIN ? failed((int)n, err) : n;
}

int vireo_stream_send(struct vireo_stream *s, const void *buf, size_t len)
{
    struct err *err = NULL;
    int r = flow_send(flow_of(s), buf, len, &err);

    return r < 0 ? failed(r, err) : 0;
}

int vireo_stream_send_hole(struct vireo_stream *s, uint64_t len)
{
    struct err *err = NULL;
    int r = flow_send_hole(flow_of(s), len, &err);

    return r < 0 ? failed(r, err) : 0;
}

int vireo_stream_finish(struct vireo_stream *s)
{
    struct err *err = NULL;
    int r = flow_finish(flow_of(s), &err);

    return r < 0 ? failed(r, err) : 0;
}

void vireo_stream_abort(struct vireo_stream *s)
{
    flow_abort(flow_of(s));
}

void vireo_stream_free(struct vireo_stream *s)
{
    flow_free(flow_of(s));
}
