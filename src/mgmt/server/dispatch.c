/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/server/dispatch.h"

#include "base/str.h"
#include "mgmt/access/access.h"
#include "mgmt/driver/driver.h"
#include "mgmt/server/admin-ops.h"
#include "mgmt/server/qemu-ops.h"
#include "mgmt/server/remote-ops.h"
#include "mgmt/server/stream.h"
#include "mgmt/server/worker.h"
#include "rpc/fault.h"

#include <errno.h>

/* The table that serves a procedure, and how to call it. */
struct handler {
    const void *ops;
    int (*run)(const void *ops, struct call *call, const void *args, void *ret, struct err **err);
};

static struct handler remote_handlers[_REMOTE_PROC_END];
static struct handler qemu_handlers[_QEMU_PROC_END];
static struct handler admin_handlers[_ADMIN_PROC_END];

struct served {
    const struct rpc_program *program;
    struct handler *handlers;
};
static const struct served programs[];
static const size_t n_programs;

#define ADD(which, END)                                                               \
    void dispatch_add_##which(const struct which##_ops *ops)                          \
    {                                                                                 \
        for (unsigned i = 0; i < END; i++) {                                          \
            const struct which##_thunk *t = &which##_thunks[i];                       \
            void (*fn)(void);                                                         \
                                                                                      \
            if (t->run == NULL) {                                                     \
                continue;                                                             \
            }                                                                         \
            memcpy(&fn, (const char *)ops + t->offset, sizeof(fn));                   \
            if (fn != NULL && which##_handlers[i].run == NULL) {                      \
                which##_handlers[i] = (struct handler) { .ops = ops, .run = t->run }; \
            }                                                                         \
        }                                                                             \
    }

ADD(remote, _REMOTE_PROC_END)
ADD(qemu, _QEMU_PROC_END)
ADD(admin, _ADMIN_PROC_END)

/* A driver's own calls come before those that all have in common. */
#define DRIVER_OPS(which, table)                                            \
    do {                                                                    \
        const struct which##_thunk *t = &which##_thunks[call->header.proc]; \
        void (*fn)(void) = NULL;                                            \
                                                                            \
        if ((table) != NULL && t->run != NULL) {                            \
            memcpy(&fn, (const char *)(table) + t->offset, sizeof(fn));     \
        }                                                                   \
        if (fn != NULL) {                                                   \
            return (struct handler) { .ops = (table), .run = t->run };      \
        }                                                                   \
    } while (0)

static struct handler handler_of(const struct call *call)
{
    const struct driver *driver = call->world != NULL ? call->world->driver : NULL;

    if (driver != NULL && call->program == &remote_program) {
        DRIVER_OPS(remote, driver->calls);
    }
    if (driver != NULL && call->program == &qemu_program) {
        DRIVER_OPS(qemu, driver->qemu_calls);
    }
    for (size_t i = 0; i < n_programs; i++) {
        if (programs[i].program == call->program) {
            return programs[i].handlers[call->header.proc];
        }
    }
    return (struct handler) { 0 };
}

/* "domain_create_xml" is virDomainCreateXML: what libvirt's own messages call it. */
const char *call_api_name(struct call *call)
{
    static const struct {
        const char *word, *as;
    } special[] = { { "xml", "XML" },       { "cpu", "CPU" },       { "dhcp", "DHCP" },
                    { "uuid", "UUID" },     { "id", "ID" },         { "uri", "URI" },
                    { "vcpus", "Vcpus" },   { "os", "OS" },         { "fsfreeze", "FSFreeze" },
                    { "fsthaw", "FSThaw" }, { "fstrim", "FSTrim" }, { "fsinfo", "FSInfo" },
                    { "nmi", "NMI" },       { "io", "Io" } };
    const char *s = call->proc->name;
    char *out = arena_alloc(&call->arena, strlen(s) + 16);
    size_t n = 0;

    if (out == NULL) {
        return s;
    }
    memcpy(out, "vir", 3);
    n = 3;
    while (*s != '\0') {
        size_t len = strcspn(s, "_");
        bool done = false;

        for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
            if (strlen(special[i].word) == len && memcmp(special[i].word, s, len) == 0) {
                memcpy(out + n, special[i].as, len);
                done = true;
            }
        }
        if (!done) {
            memcpy(out + n, s, len);
            out[n] = (char)(out[n] >= 'a' && out[n] <= 'z' ? out[n] - 32 : out[n]);
        }
        n += len;
        s += len + (s[len] == '_');
    }
    out[n] = '\0';
    return out;
}

static bool before_auth(const struct call *call)
{
    return call->program == &remote_program &&
           ((call->header.proc >= REMOTE_AUTH_LIST && call->header.proc <= REMOTE_AUTH_POLKIT) ||
            call->header.proc == REMOTE_CONNECT_SUPPORTS_FEATURE);
}

static bool before_open(const struct call *call)
{
    return before_auth(call) || call->header.proc == REMOTE_CONNECT_OPEN ||
           call->header.proc == REMOTE_CONNECT_CLOSE ||
           call->header.proc == REMOTE_CONNECT_IS_SECURE;
}

static int permit(struct call *call, struct err **err)
{
    struct client *c = call->client;

    if (!c->authenticated && !before_auth(call)) {
        return fault(err, DOM_RPC, RPC, "authentication required");
    }
    if (call->program == &admin_program) {
        return 0;
    }
    if (c->world == NULL && !before_open(call)) {
        return fault(err, DOM_RPC, INTERNAL_ERROR, "hypervisor connection not open");
    }
    if (c->readonly && (call->proc->flags & RPC_WRITE)) {
        return fault(err, DOM_DOMAIN, OPERATION_DENIED, "read only access prevents %s",
                     call_api_name(call));
    }
    return access_check(call, err);
}

static void run(void *arg)
{
    struct call *call = arg;
    struct handler h = handler_of(call);
    CLEANUP(err_freep) struct err *err = NULL;
    void *ret = NULL;
    int r;

    if (call->proc->ret.size > 0) {
        ret = arena_alloc(&call->arena, call->proc->ret.size);
        if (ret == NULL) {
            call_finish(call, NULL, -ENOMEM, NULL);
            return;
        }
    }
    r = h.run(h.ops, call, call->args, ret, &err);
    call_finish(call, ret, r, err);
}

static void dispatch_call(struct call *call, struct xdr_in *in)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct rpc_header *h = &call->header;
    int r;

    if (h->proc <= 0 || (unsigned)h->proc >= call->program->n_procs ||
        call->program->procs[h->proc].name == NULL ||
        (call->program->procs[h->proc].flags & RPC_EVENT)) {
        r = fault(&err, DOM_RPC, RPC, "unknown procedure: %d", h->proc);
        call_finish(call, NULL, r, err);
        return;
    }
    call->proc = &call->program->procs[h->proc];
    r = permit(call, &err);
    if (r == 0 && handler_of(call).run == NULL) {
        r = fault(&err, call->world != NULL ? DOM_DOMAIN : DOM_RPC, NO_SUPPORT, "%s",
                  call_api_name(call));
    }
    if (r == 0 && call->proc->args.size > 0) {
        call->args = arena_alloc(&call->arena, call->proc->args.size);
        if (call->args != NULL) {
            call->proc->args.get(in, &call->arena, call->args);
        }
        if (call->args == NULL || in->failed) {
            r = fault(&err, DOM_RPC, RPC, "Unable to decode message payload");
        }
    }
    if (r == 0) {
        r = access_check_object(call, &err);
    }
    if (r < 0) {
        call_finish(call, NULL, r, err);
        return;
    }
    if (call->proc->flags & RPC_QUICK) {
        run(call);
        return;
    }
    r = worker_run(run, call, (call->proc->flags & RPC_HIGH) != 0);
    if (r < 0) {
        call_finish(call, NULL, r, NULL);
    }
}

static int new_call(struct client *c, const struct rpc_header *h, const struct rpc_program *program,
                    struct xdr_in *in)
{
    struct call *call = calloc(1, sizeof(*call));

    if (call == NULL) {
        return -ENOMEM;
    }
    list_init(&call->link);
    call->client = client_ref(c);
    call->world = c->world;
    call->program = program;
    call->header = *h;
    call->reply_fd = -1;
    call->arena = (struct arena)ARENA_INIT(CALL_ARENA_MAX);
    memcpy(call->fds, c->in_fds, c->n_in_fds * sizeof(int));
    call->n_fds = c->n_in_fds;
    c->n_in_fds = 0;
    c->n_calls++;
    dispatch_call(call, in);
    return 0;
}

static int keepalive(struct client *c, const struct rpc_header *h)
{
    struct rpc_header pong = *h;
    struct xdr_out x;

    if (h->proc != 1) {
        return 0;
    }
    pong.proc = 2;
    pong.type = RPC_MESSAGE;
    rpc_frame_begin(&x, &pong);
    client_send(c, &x, -1);
    return 0;
}

static int unknown_program(struct client *c, const struct rpc_header *h)
{
    CLEANUP(err_freep) struct err *err = NULL;

    (void)fault(&err, DOM_RPC, RPC, "Cannot find program %u version %u", h->program, h->version);
    client_send_error(c, h, err);
    return 0;
}

int dispatch_message(struct client *c, const uint8_t *p, size_t len)
{
    struct xdr_in in = xdr_in_of(p, len);
    struct rpc_header h;

    if (!rpc_header_get(&in, &h)) {
        return -EPROTO;
    }
    if (h.program == RPC_KEEPALIVE_PROGRAM) {
        return keepalive(c, &h);
    }
    if (h.type == RPC_CALL_FDS) {
        (void)xdr_get_u32(&in); /* their count, which the reader of the socket has seen */
    }
    for (size_t i = 0; i < n_programs; i++) {
        const struct rpc_program *program = programs[i].program;

        if (program->nr != h.program || program->version != h.version ||
            (program == &admin_program) != c->admin) {
            continue;
        }
        switch (h.type) {
        case RPC_CALL:
        case RPC_CALL_FDS:
            return h.status == RPC_OK ? new_call(c, &h, program, &in) : -EPROTO;
        case RPC_STREAM:
        case RPC_STREAM_HOLE:
            return stream_message(c, &h, in.p, in.left);
        default:
            return 0; /* replies and messages have no meaning here */
        }
    }
    return unknown_program(c, &h);
}

static const struct served programs[] = {
    { &remote_program, remote_handlers },
    { &qemu_program, qemu_handlers },
    { &admin_program, admin_handlers },
};
static const size_t n_programs = sizeof(programs) / sizeof(programs[0]);
