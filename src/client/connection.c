/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/connection.h"

#include "base/str.h"
#include "os/fd.h"
#include "os/path.h"
#include "rpc/fault.h"
#include "rpc/frame.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

struct connection {
    int fd;
    uint32_t serial;
};

/* The server's message is whole; a fault's phrase would be put before it a second time. */
static int server_error(const struct remote_error *e, struct err **err)
{
    return err_set(err, FAULT_BASE + (e->domain << 8) + e->code, "%s",
                   e->message != NULL ? e->message : "unknown error");
}

static int send_call(struct connection *c, const struct rpc_header *h, const void *args)
{
    const struct rpc_proc *p = &remote_program.procs[h->proc];
    struct xdr_out x;
    int r;

    rpc_frame_begin(&x, h);
    if (args != NULL) {
        p->args.put(&x, args);
    }
    r = rpc_frame_end(&x) ? fd_write_all(c->fd, x.buf, x.len) : -EMSGSIZE;
    xdr_out_done(&x);
    return r;
}

static int receive(struct connection *c, struct arena *a, uint8_t **ret, size_t *ret_len)
{
    uint8_t word[RPC_LEN_BYTES];
    size_t len;
    int r = fd_read_all(c->fd, word, sizeof(word));

    r = r == 0 ? rpc_frame_length(word, &len) : r;
    if (r < 0) {
        return r;
    }
    *ret_len = len - RPC_LEN_BYTES;
    *ret = arena_alloc(a, *ret_len);
    return *ret != NULL ? fd_read_all(c->fd, *ret, *ret_len) : -ENOMEM;
}

int connection_call(struct connection *c, int proc, const void *args, void *ret, struct arena *a,
                    struct err **err)
{
    struct rpc_header h = { .program = REMOTE_PROGRAM,
                            .version = REMOTE_VERSION,
                            .proc = proc,
                            .type = RPC_CALL,
                            .serial = ++c->serial };
    int r = send_call(c, &h, args);

    while (r == 0) {
        struct rpc_header reply;
        struct xdr_in in;
        uint8_t *p;
        size_t len;

        r = receive(c, a, &p, &len);
        if (r < 0) {
            break;
        }
        in = xdr_in_of(p, len);
        if (!rpc_header_get(&in, &reply)) {
            r = -EPROTO;
            break;
        }
        if (reply.type != RPC_REPLY || reply.serial != h.serial) {
            continue; /* a ping, or an event nobody asked for */
        }
        if (reply.status == RPC_ERROR) {
            struct remote_error e = { 0 };

            get_remote_error(&in, a, &e);
            return in.failed ? err_set(err, EPROTO, "the server's error cannot be read")
                             : server_error(&e, err);
        }
        if (ret != NULL) {
            remote_program.procs[proc].ret.get(&in, a, ret);
        }
        return in.failed ? err_set(err, EPROTO, "the server's reply cannot be read") : 0;
    }
    return err_set(err, -r, "the connection to the daemon ended: %s", strerror(-r));
}

static char *default_socket(bool system)
{
    char *own = path_of(PATH_RUN, system, "vireo-sock");

    if (own != NULL && path_exists(own)) {
        return own;
    }
    if (system && path_exists("/run/libvirt/libvirt-sock")) {
        free(own);
        return strdup("/run/libvirt/libvirt-sock");
    }
    return own;
}

/* Splits "qemu+unix:///system?socket=PATH" into the name for the server and the socket. */
static int parse_uri(const char *uri, char **ret_name, char **ret_socket, struct err **err)
{
    const char *colon = strchr(uri, ':'), *query = strchr(uri, '?'), *plus = strchr(uri, '+');
    size_t scheme, path;

    if (colon == NULL || !str_starts(colon, ":///")) {
        return fault(err, DOM_URI, INTERNAL_ERROR, "Unable to parse URI %s", uri);
    }
    if (plus != NULL && plus < colon && strncmp(plus, "+unix", 5) != 0) {
        return fault(err, DOM_REMOTE, INVALID_ARG, "transport of '%s' is not supported; use unix",
                     uri);
    }
    scheme = (size_t)((plus != NULL && plus < colon ? plus : colon) - uri);
    path = query != NULL ? (size_t)(query - colon) : strlen(colon);
    *ret_name = str_format("%.*s%.*s", (int)scheme, uri, (int)path, colon);
    if (query != NULL && str_starts(query, "?socket=")) {
        *ret_socket = strdup(query + 8);
    } else {
        *ret_socket = default_socket(strstr(uri, "/session") == NULL);
    }
    return *ret_name != NULL && *ret_socket != NULL ? 0 : -ENOMEM;
}

int connection_open(const char *uri, bool readonly, struct connection **ret, struct err **err)
{
    CLEANUP(connection_closep) struct connection *c = calloc(1, sizeof(*c));
    AUTO_FREE char *name = NULL, *path = NULL;
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    struct arena a = ARENA_INIT(CLIENT_ARENA_MAX);
    struct remote_connect_open_args args = { .flags = readonly ? 1 : 0 };
    int r;

    if (c == NULL) {
        return -ENOMEM;
    }
    c->fd = -1;
    if (uri == NULL) {
        uri = geteuid() == 0 ? "qemu:///system" : "qemu:///session";
    }
    r = parse_uri(uri, &name, &path, err);
    if (r < 0) {
        return r;
    }
    if (strlen(path) >= sizeof(sa.sun_path)) {
        return err_set(err, ENAMETOOLONG, "socket path '%s' is too long", path);
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        return err_set(err, errno, "Failed to connect socket to '%s': %s", path, strerror(errno));
    }
    args.name = name;
    r = connection_call(c, REMOTE_CONNECT_OPEN, &args, NULL, &a, err);
    arena_done(&a);
    if (r == 0) {
        *ret = TAKE_PTR(c);
    }
    return r;
}

struct connection *connection_close(struct connection *c)
{
    if (c != NULL) {
        close_fdp(&c->fd);
        free(c);
    }
    return NULL;
}
