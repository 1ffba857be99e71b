/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd.c - an export of an NBD server ("The NBD protocol"; URIs: doc/uri.md of the nbd project).
 *
 * Where the server allows several connections to an export, more are made when one is not enough.
 * A broken connection is made anew for the next request; with reconnect-delay=SECONDS requests
 * wait that long for it, and are sent again. Limits: 32 MiB a request, x509 credentials for TLS.
 */
#include "block/core/block.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/iov.h"
#include "block/nbd/client.h"
#include "block/nbd/wire.h"
#include "block/proto/url.h"
#include "codec/keyval.h"
#include "os/sock.h"
#include "os/tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_CONNECTIONS = 4, ZEROES_CHUNK = 1 << 30, RETRY_USEC = 200000 };

struct nbd_node {
    struct block_node node;
    char *path;   /* owned: unix socket; NULL: TCP */
    char *host;   /* owned */
    char *port;   /* owned */
    int given_fd; /* owned: server.type=fd, for one connection */
    char *export_name;
    char *tls_hostname;
    char *context;
    struct tls_creds *tls;
    uint64_t reconnect_usec;

    struct nbd_export_info info; /* of the first connection */
    uint64_t max_transfer;
    pthread_mutex_t lock; /* the connections */
    struct nbd_client *clients[MAX_CONNECTIONS];
    unsigned users[MAX_CONNECTIONS];
    unsigned n_clients;
    bool no_more;              /* one more connection was refused */
    pthread_mutex_t edge_lock; /* writes that do not suit the server's blocks */
};

static uint64_t now_usec(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* ---- connections ---- */

static int connect_one(struct nbd_node *b, struct nbd_client **ret, struct err **err)
{
    struct nbd_wish wish = { .export_name = b->export_name,
                             .tls = b->tls,
                             .tls_hostname = b->tls_hostname,
                             .context = b->context };
    int fd = -1;
    int r = 0;

    if (b->path != NULL) {
        r = sock_connect_unix(b->path, &fd, err);
    } else if (b->host != NULL) {
        r = sock_connect_tcp(b->host, b->port, &fd, err);
    } else if (b->given_fd >= 0) {
        fd = TAKE_FD(b->given_fd);
    } else {
        r = err_set(err, ECONNRESET, "the connection that was given is lost");
    }
    return r == 0 ? nbd_client_new(fd, &wish, ret, err) : r;
}

/* Is the export still what it was? A server that came back with another one is no help. */
static bool is_same_export(const struct nbd_export_info *a, const struct nbd_export_info *b)
{
    return a->size == b->size && a->min_block == b->min_block &&
           (a->flags & NBD_FLAG_READ_ONLY) == (b->flags & NBD_FLAG_READ_ONLY);
}

static int connect_again(struct nbd_node *b, struct nbd_client **ret)
{
    int r = connect_one(b, ret, NULL);

    if (r == 0 && !is_same_export(nbd_client_info(*ret), &b->info)) {
        *ret = nbd_client_free(*ret);
        r = -EIO;
    }
    return r;
}

/* A connection to use, with the number of its place. */
static int take_client(struct nbd_node *b, unsigned *ret_i)
{
    unsigned best = 0;
    int r = 0;

    (void)pthread_mutex_lock(&b->lock);
    for (unsigned i = 0; i < b->n_clients; i++) {
        /* Dead ones that nobody uses any more leave their place to a new one. */
        if (b->clients[i] != NULL && nbd_client_dead(b->clients[i]) && b->users[i] == 0) {
            b->clients[i] = nbd_client_free(b->clients[i]);
        }
    }
    for (unsigned i = 1; i < b->n_clients; i++) {
        if (b->clients[i] != NULL && !nbd_client_dead(b->clients[i]) &&
            (b->clients[best] == NULL || nbd_client_dead(b->clients[best]) ||
             nbd_client_load(b->clients[i]) < nbd_client_load(b->clients[best]))) {
            best = i;
        }
    }
    if (b->clients[best] == NULL) {
        r = connect_again(b, &b->clients[best]);
    } else if (nbd_client_dead(b->clients[best])) {
        r = -ECONNRESET; /* until its users have noticed */
    } else if (nbd_client_load(b->clients[best]) > 0 && b->n_clients < MAX_CONNECTIONS &&
               !b->no_more && (b->info.flags & NBD_FLAG_CAN_MULTI_CONN) != 0) {
        if (connect_again(b, &b->clients[b->n_clients]) == 0) {
            best = b->n_clients++;
        } else {
            b->no_more = true;
        }
    }
    if (r == 0) {
        b->users[best]++;
        *ret_i = best;
    }
    (void)pthread_mutex_unlock(&b->lock);
    return r;
}

static void release_client(struct nbd_node *b, unsigned i)
{
    (void)pthread_mutex_lock(&b->lock);
    b->users[i]--;
    (void)pthread_mutex_unlock(&b->lock);
}

struct request {
    uint16_t cmd;
    uint16_t flags;
    uint64_t off;
    uint32_t len;
    const struct iovec *iov;
    unsigned n;
    uint32_t extent_len;
    uint32_t extent_flags;
};

static int run_on(struct nbd_client *c, struct request *q)
{
    switch (q->cmd) {
    case NBD_CMD_READ:
    case NBD_CMD_WRITE:
        return nbd_client_transfer(c, q->cmd, q->flags, q->iov, q->n, q->off);
    case NBD_CMD_BLOCK_STATUS:
        return nbd_client_status(c, q->off, q->len, &q->extent_len, &q->extent_flags);
    default:
        return nbd_client_command(c, q->cmd, q->flags, q->off, q->len);
    }
}

/* Again on another connection when the one broke, as long as reconnect-delay allows. */
static int run(struct nbd_node *b, struct request *q)
{
    uint64_t deadline = now_usec() + b->reconnect_usec;
    int r;

    for (;;) {
        unsigned i = 0;
        bool dead = true;

        r = take_client(b, &i);
        if (r == 0) {
            r = run_on(b->clients[i], q);
            dead = r < 0 && nbd_client_dead(b->clients[i]);
            release_client(b, i);
        }
        if (!dead || now_usec() >= deadline) {
            return dead && r < 0 ? -EIO : r;
        }
        (void)usleep(RETRY_USEC);
    }
}

/* ---- options ---- */

static int copy_option(struct keyval *opts, const char *key, char **ret)
{
    const char *value = keyval_get(opts, key);

    if (value != NULL) {
        free(*ret);
        *ret = strdup(value);
        if (*ret == NULL) {
            return -ENOMEM;
        }
    }
    return 0;
}

static int address_options(struct nbd_node *b, struct keyval *opts, struct err **err)
{
    const char *type = keyval_get(opts, "server.type");
    char *fd = NULL;
    uint32_t number = 0;
    int r = 0;

    static const char *const keys[][2] = { { "path", "server.path" },
                                           { "host", "server.host" },
                                           { "port", "server.port" } };
    char **to[] = { &b->path, &b->host, &b->port };

    for (int i = 0; r == 0 && i < 3; i++) {
        r = copy_option(opts, keys[i][0], to[i]);
        if (r == 0) {
            r = copy_option(opts, keys[i][1], to[i]);
        }
    }
    if (r == 0) {
        r = copy_option(opts, "server.str", &fd);
    }
    if (r < 0) {
        return r;
    }
    if (type != NULL && !str_eq(type, "inet") && !str_eq(type, "unix") && !str_eq(type, "fd")) {
        free(fd);
        return err_set(err, EINVAL, "server.type takes inet, unix or fd, not '%s'", type);
    }
    if (type != NULL && str_eq(type, "fd")) {
        r = fd != NULL ? str_to_u32(fd, INT32_MAX, &number) : -EINVAL;
        free(fd);
        if (r < 0) {
            return err_set(err, EINVAL, "server.str must be the number of a descriptor");
        }
        b->given_fd = (int)number;
        return 0;
    }
    free(fd);
    if ((b->path != NULL) == (b->host != NULL)) {
        return err_set(err, EINVAL,
                       b->path != NULL ? "path and host may not be used at the same time"
                                       : "one of path and host must be specified");
    }
    if (b->host != NULL && b->port == NULL) {
        b->port = str_format("%d", NBD_DEFAULT_PORT);
    }
    return 0;
}

static int tls_options(struct nbd_node *b, struct keyval *opts, struct err **err)
{
    const char *id = keyval_get(opts, "tls-creds");
    const char *dir;
    int r = copy_option(opts, "tls-hostname", &b->tls_hostname);

    if (r < 0 || id == NULL) {
        return r < 0 || b->tls_hostname == NULL
                   ? r
                   : err_set(err, EINVAL, "tls-hostname is for tls-creds only");
    }
    dir = block_tls_folder(b->node.ctx, id);
    if (dir == NULL) {
        return err_set(err, ENOENT, "No TLS credentials with id '%s'", id);
    }
    if (b->tls_hostname == NULL && b->host != NULL) {
        b->tls_hostname = strdup(b->host);
    }
    if (b->tls_hostname == NULL) {
        return err_set(err, EINVAL,
                       "tls-hostname= is missing: the name in the server's certificate");
    }
    return tls_creds_load_folder(dir, false, &b->tls, err);
}

static int set_filename(struct nbd_node *b)
{
    const char *e = b->export_name;

    if (b->path != NULL) {
        b->node.filename = str_format(
            *e != '\0' ? "nbd+unix:///%s?socket=%s" : "nbd+unix://%s?socket=%s", e, b->path);
    } else if (b->host != NULL) {
        bool v6 = strchr(b->host, ':') != NULL;

        b->node.filename = str_format("nbd://%s%s%s:%s%s%s", v6 ? "[" : "", b->host, v6 ? "]" : "",
                                      b->port, *e != '\0' ? "/" : "", e);
    } else {
        b->node.filename = str_format("nbd:fd:%d", b->given_fd);
    }
    return b->node.filename != NULL ? 0 : -ENOMEM;
}

static int check_access(struct nbd_node *b, struct keyval *opts, struct err **err)
{
    bool automatic = false;
    int r = keyval_get_bool(opts, "auto-read-only", false, &automatic, err);

    if (r == 0 && !b->node.read_only && (b->info.flags & NBD_FLAG_READ_ONLY) != 0) {
        if (!automatic) {
            return err_set(err, EACCES, "the NBD server's export is read-only: open it read-only");
        }
        b->node.read_only = true;
    }
    return r;
}

static int nbd_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct nbd_node *b = (struct nbd_node *)node;
    unsigned long long reconnect = 0;
    unsigned long long patience = 0;
    uint64_t deadline;
    const char *bitmap = keyval_get(opts, "x-dirty-bitmap");
    int r;

    b->given_fd = -1;
    (void)pthread_mutex_init(&b->lock, NULL);
    (void)pthread_mutex_init(&b->edge_lock, NULL);
    r = keyval_get_u64(opts, "reconnect-delay", 0, &reconnect, err);
    if (r == 0) {
        r = keyval_get_u64(opts, "open-timeout", 0, &patience, err);
    }
    if (r == 0) {
        r = address_options(b, opts, err);
    }
    if (r == 0) {
        r = tls_options(b, opts, err);
    }
    if (r == 0) {
        b->export_name = strdup("");
        b->context = strdup(bitmap != NULL ? bitmap : "base:allocation");
        r = b->export_name != NULL && b->context != NULL
                ? copy_option(opts, "export", &b->export_name)
                : -ENOMEM;
    }
    if (r == 0) {
        r = set_filename(b);
    }
    if (r < 0) {
        return r;
    }
    deadline = now_usec() + patience * 1000000;
    while ((r = connect_one(b, &b->clients[0], now_usec() >= deadline ? err : NULL)) < 0 &&
           now_usec() < deadline) {
        (void)usleep(RETRY_USEC);
    }
    if (r < 0) {
        return err_set(err, -r, "cannot connect to the NBD server: %s", strerror(-r));
    }
    b->n_clients = 1;
    b->info = *nbd_client_info(b->clients[0]);
    b->info.description = NULL;
    b->reconnect_usec = reconnect * 1000000;
    b->max_transfer = round_down_u64(
        b->info.max_block == 0 ? NBD_MAX_PAYLOAD : min_u64(b->info.max_block, NBD_MAX_PAYLOAD),
        b->info.min_block);
    if (bitmap != NULL && !b->info.has_context) {
        return err_set(err, EINVAL, "requested x-dirty-bitmap %s not found", bitmap);
    }
    return check_access(b, opts, err);
}

static void nbd_close(struct block_node *node)
{
    struct nbd_node *b = (struct nbd_node *)node;

    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) {
        (void)nbd_client_free(b->clients[i]);
    }
    close_fdp(&b->given_fd);
    free(b->path);
    free(b->host);
    free(b->port);
    free(b->export_name);
    free(b->tls_hostname);
    free(b->context);
    (void)tls_creds_free(b->tls);
    (void)pthread_mutex_destroy(&b->lock);
    (void)pthread_mutex_destroy(&b->edge_lock);
}

static int nbd_reopen(struct block_node *node, bool read_only, struct err **err)
{
    struct nbd_node *b = (struct nbd_node *)node;

    return !read_only && (b->info.flags & NBD_FLAG_READ_ONLY) != 0
               ? err_set(err, EACCES, "the NBD server's export is read-only")
               : 0;
}

static int64_t nbd_length(struct block_node *node)
{
    return (int64_t)((struct nbd_node *)node)->info.size;
}

/* ---- requests ---- */

/* A range that suits the server's blocks, in pieces that suit its limits. */
static int transfer(struct nbd_node *b, uint16_t cmd, const struct iovec *iov, unsigned n,
                    uint64_t off)
{
    size_t total = iov_len(iov, n);
    AUTO_FREE struct iovec *part = NULL;
    int r = 0;

    if (total <= b->max_transfer) {
        struct request q = { .cmd = cmd, .off = off, .iov = iov, .n = n };

        return run(b, &q);
    }
    part = calloc(n + 1, sizeof(*part));
    if (part == NULL) {
        return -ENOMEM;
    }
    for (size_t done = 0; r == 0 && done < total;) {
        size_t len = min_u64(total - done, b->max_transfer);
        struct request q = { .cmd = cmd, .off = off + done, .iov = part };

        q.n = iov_part(iov, n, done, len, part);
        r = run(b, &q);
        done += len;
    }
    return r;
}

static bool suits(const struct nbd_node *b, uint64_t off, uint64_t len)
{
    return ((off | len) & (b->info.min_block - 1)) == 0;
}

/* Whole blocks around a range that does not suit, through a buffer. */
static int transfer_edges(struct nbd_node *b, bool write, const struct iovec *iov, unsigned n,
                          uint64_t off)
{
    size_t len = iov_len(iov, n);
    uint64_t start = round_down_u64(off, b->info.min_block);
    uint64_t end = min_u64(round_up_u64(off + len, b->info.min_block), b->info.size);
    AUTO_FREE uint8_t *buf = malloc(end - start);
    struct iovec whole = { .iov_base = buf, .iov_len = end - start };
    int r;

    if (buf == NULL) {
        return -ENOMEM;
    }
    if (!write) {
        r = transfer(b, NBD_CMD_READ, &whole, 1, start);
        if (r == 0) {
            iov_from_buf(iov, n, 0, buf + (off - start), len);
        }
        return r;
    }
    (void)pthread_mutex_lock(&b->edge_lock);
    r = transfer(b, NBD_CMD_READ, &whole, 1, start);
    if (r == 0) {
        iov_to_buf(iov, n, 0, buf + (off - start), len);
        r = transfer(b, NBD_CMD_WRITE, &whole, 1, start);
    }
    (void)pthread_mutex_unlock(&b->edge_lock);
    return r;
}

static int nbd_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct nbd_node *b = (struct nbd_node *)node;

    return suits(b, off, iov_len(iov, n)) ? transfer(b, NBD_CMD_READ, iov, n, off)
                                          : transfer_edges(b, false, iov, n, off);
}

static int nbd_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct nbd_node *b = (struct nbd_node *)node;

    if (!range_within(off, iov_len(iov, n), b->info.size)) {
        return -ENOSPC;
    }
    return suits(b, off, iov_len(iov, n)) ? transfer(b, NBD_CMD_WRITE, iov, n, off)
                                          : transfer_edges(b, true, iov, n, off);
}

static int in_chunks(struct nbd_node *b, uint16_t cmd, uint16_t flags, uint64_t off, uint64_t len)
{
    int r = 0;

    while (r == 0 && len > 0) {
        struct request q = { .cmd = cmd, .flags = flags, .off = off };

        q.len = (uint32_t)min_u64(len, ZEROES_CHUNK);
        r = run(b, &q);
        off += q.len;
        len -= q.len;
    }
    return r;
}

static int nbd_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
    struct nbd_node *b = (struct nbd_node *)node;
    uint16_t how = (flags & BLOCK_REQ_MAY_UNMAP) != 0 ? 0 : NBD_CMD_FLAG_NO_HOLE;

    if ((b->info.flags & NBD_FLAG_SEND_WRITE_ZEROES) == 0 || !suits(b, off, len)) {
        return -ENOTSUP;
    }
    if ((flags & BLOCK_REQ_NO_FALLBACK) != 0) {
        if ((b->info.flags & NBD_FLAG_SEND_FAST_ZERO) == 0) {
            return -ENOTSUP;
        }
        how |= NBD_CMD_FLAG_FAST_ZERO;
    }
    return in_chunks(b, NBD_CMD_WRITE_ZEROES, how, off, len);
}

static int nbd_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    struct nbd_node *b = (struct nbd_node *)node;
    uint64_t end = round_down_u64(off + len, b->info.min_block);

    off = round_up_u64(off, b->info.min_block);
    return (b->info.flags & NBD_FLAG_SEND_TRIM) != 0 && end > off
               ? in_chunks(b, NBD_CMD_TRIM, 0, off, end - off)
               : 0;
}

static bool is_connected(struct nbd_node *b)
{
    bool any = false;

    (void)pthread_mutex_lock(&b->lock);
    for (unsigned i = 0; i < b->n_clients; i++) {
        any |= b->clients[i] != NULL && !nbd_client_dead(b->clients[i]);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return any;
}

static int nbd_flush(struct block_node *node)
{
    struct nbd_node *b = (struct nbd_node *)node;
    struct request q = { .cmd = NBD_CMD_FLUSH };

    /* What went over a lost connection is lost, unless the user wants to wait for the server. */
    if (b->reconnect_usec == 0 && !is_connected(b)) {
        return -EIO;
    }
    return (b->info.flags & NBD_FLAG_SEND_FLUSH) != 0 ? run(b, &q) : 0;
}

static int nbd_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                        struct err **err)
{
    (void)prealloc;
    return len > ((struct nbd_node *)node)->info.size
               ? err_set(err, EINVAL, "Cannot grow NBD nodes")
               : 0;
}

static int nbd_status(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret)
{
    struct nbd_node *b = (struct nbd_node *)node;
    uint64_t start = round_down_u64(off, b->info.min_block);
    struct request q = { .cmd = NBD_CMD_BLOCK_STATUS, .off = start };
    int r;

    *ret = (struct block_extent) { .len = len,
                                   .flags = BLOCK_DATA | BLOCK_ALLOCATED | BLOCK_OFFSET,
                                   .host = node,
                                   .host_off = off };
    if (!b->info.has_context) {
        return 0;
    }
    q.len = (uint32_t)min_u64(round_up_u64(off + len, b->info.min_block) - start,
                              round_down_u64(UINT32_MAX, b->info.min_block));
    q.len = (uint32_t)min_u64(q.len, b->info.size - start);
    r = run(b, &q);
    if (r < 0) {
        return r;
    }
    /* An extent that ends inside our first block tells us of that block only. */
    ret->len = q.extent_len > off - start ? min_u64(len, q.extent_len - (off - start))
                                          : min_u64(len, b->info.min_block - (off - start));
    if ((q.extent_flags & NBD_STATE_HOLE) != 0) {
        ret->flags &= ~(unsigned)BLOCK_DATA;
    }
    if ((q.extent_flags & NBD_STATE_ZERO) != 0) {
        ret->flags |= BLOCK_ZERO;
    }
    /* With another context than base:allocation: neither data nor zeroes says nothing is there. */
    if ((ret->flags & (BLOCK_DATA | BLOCK_ZERO)) == 0) {
        ret->flags = 0;
    }
    return 0;
}

/* ---- names ---- */

/* "nbd:unix:PATH[:exportname=NAME]", "nbd:HOST:PORT[:exportname=NAME]". */
static int parse_old(const char *text, struct keyval *opts, struct err **err)
{
    const char *mark = strstr(text, ":exportname=");
    AUTO_FREE char *place = strndup(text, mark != NULL ? (size_t)(mark - text) : strlen(text));
    char *colon;
    int r = 0;

    if (place == NULL) {
        return -ENOMEM;
    }
    if (mark != NULL && mark[12] != '\0') {
        r = keyval_add(opts, "export", mark + 12);
    }
    if (r == 0 && str_starts(place, "unix:")) {
        return keyval_add(opts, "server.path", place + 5);
    }
    colon = strrchr(place, ':');
    if (colon == NULL || colon[1] == '\0' || colon == place) {
        return err_set(err, EINVAL,
                       "'nbd:%s' is no NBD address: nbd:HOST:PORT or nbd:unix:PATH, then "
                       "[:exportname=NAME]",
                       text);
    }
    *colon = '\0';
    if (*place == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        memmove(place, place + 1, strlen(place));
    }
    r = r == 0 ? keyval_add(opts, "server.host", place) : r;
    return r == 0 ? keyval_add(opts, "server.port", colon + 1) : r;
}

/* "nbd[+tcp]://HOST[:PORT]/[EXPORT]", "nbd+unix:///[EXPORT]?socket=PATH". */
static int parse_uri(const char *uri, bool is_unix, struct keyval *opts, struct err **err)
{
    const char *form = is_unix ? "nbd+unix:///EXPORT?socket=PATH" : "nbd://HOST[:PORT]/EXPORT";
    AUTO_FREE char *path = NULL;
    struct url u;
    bool good = url_parse(uri, &u);
    int r = 0;

    if (good && is_unix) {
        good = *u.host == '\0' && u.query != NULL && str_starts(u.query, "socket=") &&
               u.query[7] != '\0';
        path = good ? url_decode(u.query + 7, strlen(u.query + 7)) : NULL;
    } else if (good) {
        good = *u.host != '\0' && u.query == NULL;
    }
    if (!good) {
        r = err_set(err, EINVAL, "'%s' is no NBD URI: %s", uri, form);
    }
    if (r == 0 && u.path[0] == '/' && u.path[1] != '\0') {
        r = keyval_add(opts, "export", u.path + 1);
    }
    if (r == 0 && is_unix) {
        r = path != NULL ? keyval_add(opts, "server.path", path) : -ENOMEM;
    } else if (r == 0) {
        r = keyval_add(opts, "server.host", u.host);
        r = r == 0 && u.port != NULL ? keyval_add(opts, "server.port", u.port) : r;
    }
    url_done(&u);
    return r;
}

static int nbd_parse_filename(const char *filename, struct keyval *opts, struct err **err)
{
    if (strstr(filename, "://") == NULL) {
        return str_starts(filename, "nbd:") ? parse_old(filename + 4, opts, err)
                                            : err_set(err, EINVAL, "'%s' is no NBD URI", filename);
    }
    return parse_uri(filename, str_starts(filename, "nbd+unix:"), opts, err);
}

static const char *const schemes[] = { "nbd", "nbd+tcp", "nbd+unix", NULL };

const struct block_driver block_nbd = {
    .name = "nbd",
    .is_protocol = true,
    .size = sizeof(struct nbd_node),
    .schemes = schemes,
    .parse_filename = nbd_parse_filename,
    .open = nbd_open,
    .close = nbd_close,
    .reopen = nbd_reopen,
    .length = nbd_length,
    .preadv = nbd_preadv,
    .pwritev = nbd_pwritev,
    .write_zeroes = nbd_write_zeroes,
    .discard = nbd_discard,
    .flush = nbd_flush,
    .truncate = nbd_truncate,
    .status = nbd_status,
};
