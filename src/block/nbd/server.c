/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* server.c - the NBD server's exports, its listening sockets, and its clients' threads. */
#include "base/str.h"
#include "block/core/bitmap.h"
#include "block/core/block.h"
#include "block/nbd/peer.h"
#include "block/nbd/wire.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAX_LISTENERS = 16,
    MAX_EXPORTS = 1024,
    MAX_CLIENTS = 1024,
    PEER_THREADS = 8, /* requests of one client that are worked on at a time */
    HANDSHAKE_MS = 30000,
    STACK_BYTES = 512 * 1024,
};

struct nbd_server {
    struct nbd_server_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list exports;
    unsigned n_exports;
    struct list peers;
    unsigned n_peers;
    int listeners[MAX_LISTENERS];
    unsigned n_listeners;
    int wake; /* owned: an eventfd for the accepting thread */
    pthread_t acceptor;
    bool accepting; /* the thread exists */
    bool quit;
};

static int start_thread(void *(*fn)(void *), void *arg, pthread_t *ret)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all;
    sigset_t old;
    int r;

    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (ret == NULL) {
        (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    }
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(ret != NULL ? ret : &thread, &attr, fn, arg);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    return -r;
}

/* ---- exports ---- */

static struct nbd_export *find_locked(struct nbd_server *s, const char *name)
{
    LIST_FOREACH (&s->exports, it) {
        struct nbd_export *e = CONTAINER_OF(it, struct nbd_export, link);

        if (str_eq(e->name, name)) {
            return e;
        }
    }
    return NULL;
}

static struct nbd_export *export_free(struct nbd_export *e)
{
    if (e != NULL) {
        (void)block_unref(e->node);
        free(e->name);
        free(e->description);
        free(e);
    }
    return NULL;
}

static int check_window(struct nbd_export *e, struct err **err)
{
    const struct nbd_export_options *o = &e->options;
    int64_t size = block_length(e->node);

    if (size < 0) {
        return err_set(err, (int)-size, "cannot tell the image's size: %s", strerror((int)-size));
    }
    if (o->off > (uint64_t)size || (o->len != UINT64_MAX && o->len > (uint64_t)size - o->off)) {
        return err_set(err, EINVAL,
                       "offset %llu is behind the end of the image, which has %lld bytes",
                       (unsigned long long)o->off, (long long)size);
    }
    e->len = o->len != UINT64_MAX ? o->len : (uint64_t)size - o->off;
    return 0;
}

int nbd_server_add(struct nbd_server *s, struct block_node *node,
                   const struct nbd_export_options *options, struct nbd_export **ret,
                   struct err **err)
{
    struct nbd_export *e;
    int r;

    if (strlen(options->name) > NBD_MAX_NAME ||
        (options->description != NULL && strlen(options->description) > NBD_MAX_NAME)) {
        return err_set(err, EINVAL, "an export's name and description have at most %d bytes",
                       NBD_MAX_NAME);
    }
    if (options->writable && node->read_only) {
        return err_set(err, EROFS, "a read-only image cannot be exported writable");
    }
    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    e->node = block_ref(node);
    e->name = strdup(options->name);
    e->description = options->description != NULL ? strdup(options->description) : NULL;
    e->options = *options;
    e->options.name = e->name;
    e->options.description = e->description;
    e->flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_CACHE |
               NBD_FLAG_CAN_MULTI_CONN; /* all clients see one node, and one flush is for all */
    e->flags |= options->writable
                    ? NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO
                    : NBD_FLAG_READ_ONLY;
    r = e->name != NULL && (options->description == NULL || e->description != NULL)
            ? check_window(e, err)
            : err_set(err, ENOMEM, "no memory");
    (void)pthread_mutex_lock(&s->lock);
    if (r == 0 && find_locked(s, e->name) != NULL) {
        r = err_set(err, EEXIST, "NBD server already has export named '%s'", e->name);
    } else if (r == 0 && s->n_exports == MAX_EXPORTS) {
        r = err_set(err, E2BIG, "an NBD server has at most %d exports", MAX_EXPORTS);
    } else if (r == 0) {
        list_append(&s->exports, &e->link);
        s->n_exports++;
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (r < 0) {
        (void)export_free(e);
        return r;
    }
    if (ret != NULL) {
        *ret = e;
    }
    return 0;
}

struct nbd_export *nbd_server_find(struct nbd_server *s, const char *name)
{
    struct nbd_export *e;

    (void)pthread_mutex_lock(&s->lock);
    e = find_locked(s, name);
    (void)pthread_mutex_unlock(&s->lock);
    return e;
}

int nbd_server_remove(struct nbd_server *s, struct nbd_export *e, bool force)
{
    (void)pthread_mutex_lock(&s->lock);
    if (e->n_peers > 0 && !force) {
        (void)pthread_mutex_unlock(&s->lock);
        return -EBUSY;
    }
    list_remove(&e->link); /* nobody new comes */
    e->removed = true;
    s->n_exports--;
    LIST_FOREACH (&s->peers, it) {
        struct nbd_peer *p = CONTAINER_OF(it, struct nbd_peer, link);

        if (p->export == e) {
            nbd_stream_shutdown(&p->stream);
        }
    }
    while (e->n_peers > 0) {
        (void)pthread_cond_wait(&s->changed, &s->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
    (void)export_free(e);
    return 0;
}

struct nbd_export *nbd_server_use(struct nbd_server *s, const char *name)
{
    struct nbd_export *e;

    (void)pthread_mutex_lock(&s->lock);
    e = find_locked(s, name);
    if (e != NULL) {
        e->n_peers++;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return e;
}

void nbd_server_unuse(struct nbd_server *s, struct nbd_export *e)
{
    (void)pthread_mutex_lock(&s->lock);
    e->n_peers--;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
}

int nbd_server_start(struct nbd_peer *p, struct nbd_export *e)
{
    int r;

    (void)pthread_mutex_lock(&p->server->lock);
    r = e->removed ? -ESHUTDOWN : 0;
    if (r == 0) {
        p->export = e;
    }
    (void)pthread_mutex_unlock(&p->server->lock);
    return r;
}

int nbd_server_names(struct nbd_server *s, char ***ret, unsigned *ret_n)
{
    int r = 0;

    (void)pthread_mutex_lock(&s->lock);
    *ret = calloc(s->n_exports + 1, sizeof(**ret));
    *ret_n = 0;
    if (*ret == NULL) {
        r = -ENOMEM;
    } else {
        LIST_FOREACH (&s->exports, it) {
            char *name = strdup(CONTAINER_OF(it, struct nbd_export, link)->name);

            if (name != NULL) {
                (*ret)[(*ret_n)++] = name;
            }
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

bool nbd_export_context(const struct nbd_export *e, unsigned i, char *buf, size_t size)
{
    if (i == CONTEXT_BASE) {
        (void)snprintf(buf, size, "base:allocation");
        return true;
    }
    if (i == CONTEXT_DEPTH) {
        (void)snprintf(buf, size, "qemu:allocation-depth");
        return e->options.allocation_depth;
    }
    if (i - CONTEXT_BITMAPS < e->options.n_bitmaps) {
        (void)snprintf(buf, size, "qemu:dirty-bitmap:%s",
                       e->options.bitmaps[i - CONTEXT_BITMAPS]->name);
        return true;
    }
    return false;
}

const struct nbd_server_options *nbd_server_options(const struct nbd_server *s)
{
    return &s->options;
}

/* ---- clients ---- */

static void wake_acceptor(struct nbd_server *s)
{
    uint64_t one = 1;

    (void)!write(s->wake, &one, sizeof(one));
}

static void peer_done(struct nbd_peer *p)
{
    struct nbd_server *s = p->server;
    bool used = p->export != NULL;
    unsigned left;

    if (used) {
        nbd_server_unuse(s, p->export);
    }
    (void)pthread_mutex_lock(&s->lock);
    list_remove(&p->link);
    left = s->n_peers - 1;
    (void)pthread_mutex_unlock(&s->lock);
    nbd_stream_done(&p->stream);
    free(p->context_export);
    (void)pthread_mutex_destroy(&p->read_lock);
    (void)pthread_mutex_destroy(&p->write_lock);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
    if (s->options.on_gone != NULL) {
        s->options.on_gone(s->options.arg, used, left);
    }
    /* The last thing that this thread does with the server, which may be gone afterwards. */
    (void)pthread_mutex_lock(&s->lock);
    s->n_peers--;
    wake_acceptor(s);
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
}

static void leave(struct nbd_peer *p)
{
    bool last;

    (void)pthread_mutex_lock(&p->lock);
    last = --p->n_threads == 0;
    (void)pthread_mutex_unlock(&p->lock);
    if (last) {
        peer_done(p);
    }
}

static void *more_main(void *arg)
{
    nbd_peer_serve(arg);
    leave(arg);
    return NULL;
}

void nbd_peer_more_threads(struct nbd_peer *p)
{
    bool want;

    (void)pthread_mutex_lock(&p->lock);
    want = p->n_threads < PEER_THREADS && !p->over;
    p->n_threads += want;
    (void)pthread_mutex_unlock(&p->lock);
    if (want && start_thread(more_main, p, NULL) < 0) {
        (void)pthread_mutex_lock(&p->lock);
        p->n_threads--;
        (void)pthread_mutex_unlock(&p->lock);
    }
}

static void *peer_main(void *arg)
{
    struct nbd_peer *p = arg;

    nbd_stream_set_timeout(&p->stream, HANDSHAKE_MS);
    if (nbd_peer_greet(p) == 0) {
        nbd_stream_set_timeout(&p->stream, -1);
        nbd_peer_serve(p);
    }
    leave(p);
    return NULL;
}

int nbd_server_add_client(struct nbd_server *s, int fd, struct err **err)
{
    struct nbd_peer *p = calloc(1, sizeof(*p));
    int r;

    if (p == NULL) {
        (void)close(fd);
        return err_set(err, ENOMEM, "no memory");
    }
    p->server = s;
    p->n_threads = 1;
    nbd_stream_init(&p->stream, fd);
    (void)pthread_mutex_init(&p->read_lock, NULL);
    (void)pthread_mutex_init(&p->write_lock, NULL);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_mutex_lock(&s->lock);
    list_append(&s->peers, &p->link);
    s->n_peers++;
    (void)pthread_mutex_unlock(&s->lock);
    r = start_thread(peer_main, p, NULL);
    if (r < 0) {
        leave(p);
        return err_set(err, -r, "cannot start a thread for an NBD client: %s", strerror(-r));
    }
    return 0;
}

unsigned nbd_server_clients(struct nbd_server *s)
{
    unsigned n;

    (void)pthread_mutex_lock(&s->lock);
    n = s->n_peers;
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- listening ---- */

static void *accept_main(void *arg)
{
    struct nbd_server *s = arg;

    for (;;) {
        struct pollfd p[MAX_LISTENERS + 1] = { { .fd = s->wake, .events = POLLIN } };
        uint64_t count;
        unsigned n;
        bool full;
        bool quit;

        (void)pthread_mutex_lock(&s->lock);
        n = s->n_listeners;
        full = s->n_peers >= (s->options.max_clients > 0 ? s->options.max_clients : MAX_CLIENTS);
        quit = s->quit;
        for (unsigned i = 0; i < n; i++) {
            p[i + 1] = (struct pollfd) { .fd = s->listeners[i], .events = POLLIN };
        }
        (void)pthread_mutex_unlock(&s->lock);
        if (quit) {
            return NULL;
        }
        if (poll(p, full ? 1 : n + 1, -1) < 0 && errno != EINTR) {
            return NULL;
        }
        if ((p[0].revents & POLLIN) != 0) {
            (void)!read(s->wake, &count, sizeof(count));
        }
        for (unsigned i = 0; !full && i < n; i++) {
            int fd = (p[i + 1].revents & POLLIN) != 0
                         ? accept4(p[i + 1].fd, NULL, NULL, SOCK_CLOEXEC)
                         : -1;

            if (fd >= 0) {
                (void)!nbd_server_add_client(s, fd, NULL);
                break; /* there may be room for one only */
            }
        }
    }
}

int nbd_server_listen(struct nbd_server *s, int fd, struct err **err)
{
    int r = 0;

    (void)pthread_mutex_lock(&s->lock);
    if (s->n_listeners == MAX_LISTENERS) {
        r = err_set(err, E2BIG, "an NBD server listens on at most %d sockets", MAX_LISTENERS);
    } else {
        s->listeners[s->n_listeners++] = fd;
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    if (!s->accepting) {
        r = start_thread(accept_main, s, &s->acceptor);
        if (r < 0) {
            return err_set(err, -r, "cannot start a thread for the NBD server: %s", strerror(-r));
        }
        s->accepting = true;
    }
    wake_acceptor(s);
    return 0;
}

int nbd_server_new(const struct nbd_server_options *options, struct nbd_server **ret,
                   struct err **err)
{
    struct nbd_server *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    s->options = *options;
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake < 0) {
        int why = errno;

        free(s);
        return err_set(err, why, "cannot make an eventfd: %s", strerror(why));
    }
    list_init(&s->exports);
    list_init(&s->peers);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    *ret = s;
    return 0;
}

struct nbd_server *nbd_server_free(struct nbd_server *s)
{
    if (s == NULL) {
        return NULL;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->quit = true;
    (void)pthread_mutex_unlock(&s->lock);
    if (s->accepting) {
        wake_acceptor(s);
        (void)pthread_join(s->acceptor, NULL);
    }
    (void)pthread_mutex_lock(&s->lock);
    LIST_FOREACH (&s->peers, it) {
        nbd_stream_shutdown(&CONTAINER_OF(it, struct nbd_peer, link)->stream);
    }
    while (s->n_peers > 0) {
        (void)pthread_cond_wait(&s->changed, &s->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
    while (!list_empty(&s->exports)) {
        struct list *it = s->exports.next;

        list_remove(it);
        (void)export_free(CONTAINER_OF(it, struct nbd_export, link));
    }
    for (unsigned i = 0; i < s->n_listeners; i++) {
        (void)close(s->listeners[i]);
    }
    close_fdp(&s->wake);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->changed);
    free(s);
    return NULL;
}
