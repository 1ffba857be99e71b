/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nfs.c - files of NFS servers, without a mount: nfs://HOST/EXPORT/FILE[?uid=N&gid=N...], or
 * server.host=, path=, user=, group=. One request at a time.
 */
#include "block/core/block.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/iov.h"
#include "block/proto/url.h"
#include "codec/keyval.h"
#include "os/dynlib.h"

#include <errno.h>
#include <fcntl.h>
#include <nfsc/libnfs.h>
#include <pthread.h>
#include <string.h>

#define FUNCTIONS(X)       \
    X(nfs_init_context)    \
    X(nfs_destroy_context) \
    X(nfs_get_error)       \
    X(nfs_set_uid)         \
    X(nfs_set_gid)         \
    X(nfs_mount)           \
    X(nfs_open)            \
    X(nfs_open2)           \
    X(nfs_close)           \
    X(nfs_fstat64)         \
    X(nfs_pread)           \
    X(nfs_pwrite)          \
    X(nfs_fsync)           \
    X(nfs_ftruncate)
FUNCTIONS(DYNLIB_POINTER)

enum { CHUNK = 1 << 20 };

struct nfs_node {
    struct block_node node;
    struct nfs_context *nfs;
    struct nfsfh *file;
    uint64_t length;
    pthread_mutex_t lock;
};

static int load(struct err **err)
{
    static const struct dynlib_symbol symbols[] = { FUNCTIONS(DYNLIB_SYMBOL) };

    return dynlib_open("libnfs.so.13", symbols, sizeof(symbols) / sizeof(symbols[0]), err);
}

static int set_id(struct keyval *opts, const char *key, uint32_t *ret, bool *ret_given,
                  struct err **err)
{
    const char *text = keyval_get(opts, key);

    *ret_given = text != NULL;
    return text == NULL || str_to_u32(text, INT32_MAX, ret) == 0
               ? 0
               : err_set(err, EINVAL, "%s takes a number, not '%s'", key, text);
}

/* Mounts the folder and opens the file in it; create_flags: O_CREAT and O_TRUNC, or 0. */
static int attach(struct nfs_node *s, struct keyval *opts, int create_flags, struct err **err)
{
    const char *host = keyval_get(opts, "server.host");
    const char *path = keyval_get(opts, "path");
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    AUTO_FREE char *folder = NULL;
    uint32_t uid = 0;
    uint32_t gid = 0;
    bool has_uid;
    bool has_gid;
    int r;

    (void)keyval_get(opts, "server.type");
    if (host == NULL || slash == NULL || slash[1] == '\0') {
        return err_set(err, EINVAL, "nfs: server.host= and path=/EXPORT/FILE are needed");
    }
    r = set_id(opts, "user", &uid, &has_uid, err);
    if (r == 0) {
        r = set_id(opts, "group", &gid, &has_gid, err);
    }
    if (r == 0) {
        r = load(err);
    }
    if (r < 0) {
        return r;
    }
    folder = strndup(path, (size_t)(slash - path) + (slash == path));
    s->nfs = dyn_nfs_init_context();
    if (s->nfs == NULL || folder == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    if (has_uid) {
        dyn_nfs_set_uid(s->nfs, (int)uid);
    }
    if (has_gid) {
        dyn_nfs_set_gid(s->nfs, (int)gid);
    }
    r = dyn_nfs_mount(s->nfs, host, folder);
    if (r < 0) {
        return err_set(err, -r, "Failed to mount nfs share: %s", dyn_nfs_get_error(s->nfs));
    }
    r = create_flags != 0
            ? dyn_nfs_open2(s->nfs, slash, O_RDWR | create_flags, 0600, &s->file)
            : dyn_nfs_open(s->nfs, slash, s->node.read_only ? O_RDONLY : O_RDWR, &s->file);
    return r < 0 ? err_set(err, -r, "Failed to open file : %s", dyn_nfs_get_error(s->nfs)) : 0;
}

static void detach(struct nfs_node *s)
{
    if (s->file != NULL) {
        (void)dyn_nfs_close(s->nfs, s->file);
    }
    if (s->nfs != NULL) {
        dyn_nfs_destroy_context(s->nfs);
    }
    s->file = NULL;
    s->nfs = NULL;
}

static int nfs_node_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct nfs_node *s = (struct nfs_node *)node;
    struct nfs_stat_64 st;
    const char *host = keyval_get(opts, "server.host");
    const char *path = keyval_get(opts, "path");
    int r;

    (void)keyval_get(opts, "readahead-size");
    (void)keyval_get(opts, "page-cache-size");
    (void)keyval_get(opts, "tcp-syn-count");
    (void)pthread_mutex_init(&s->lock, NULL);
    node->filename = str_format("nfs://%s%s", host != NULL ? host : "", path != NULL ? path : "");
    r = attach(s, opts, 0, err);
    if (r < 0) {
        return r;
    }
    r = dyn_nfs_fstat64(s->nfs, s->file, &st);
    if (r < 0) {
        return err_set(err, -r, "Failed to fstat file: %s", dyn_nfs_get_error(s->nfs));
    }
    s->length = st.nfs_size;
    return s->length <= BLOCK_MAX_LENGTH ? 0 : err_set(err, EFBIG, "the file is too large");
}

static void nfs_node_close(struct block_node *node)
{
    struct nfs_node *s = (struct nfs_node *)node;

    detach(s);
    (void)pthread_mutex_destroy(&s->lock);
}

static int64_t nfs_length(struct block_node *node)
{
    return (int64_t)((struct nfs_node *)node)->length;
}

static int transfer(struct nfs_node *s, uint8_t *p, size_t len, uint64_t off, bool write)
{
    while (len > 0) {
        size_t part = min_u64(len, CHUNK);
        int n = write ? dyn_nfs_pwrite(s->nfs, s->file, off, part, p)
                      : dyn_nfs_pread(s->nfs, s->file, off, part, p);

        if (n < 0 || (n == 0 && write)) {
            return n < 0 ? n : -EIO;
        }
        if (n == 0) {
            memset(p, 0, len);
            return 0;
        }
        p += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int both_ways(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off,
                     bool write)
{
    struct nfs_node *s = (struct nfs_node *)node;
    int r = 0;

    (void)pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; r == 0 && i < n; i++) {
        r = transfer(s, iov[i].iov_base, iov[i].iov_len, off, write);
        off += iov[i].iov_len;
    }
    if (r == 0 && write) {
        s->length = max_u64(s->length, off);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

static int nfs_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return both_ways(node, iov, n, off, false);
}

static int nfs_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return both_ways(node, iov, n, off, true);
}

static int nfs_flush(struct block_node *node)
{
    struct nfs_node *s = (struct nfs_node *)node;
    int r = 0;

    if (!node->no_flush) {
        (void)pthread_mutex_lock(&s->lock);
        r = dyn_nfs_fsync(s->nfs, s->file);
        (void)pthread_mutex_unlock(&s->lock);
    }
    return r;
}

static int nfs_node_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                             struct err **err)
{
    struct nfs_node *s = (struct nfs_node *)node;
    int r;

    if (prealloc != BLOCK_PREALLOC_OFF) {
        return err_set(err, ENOTSUP, "nfs knows no preallocation");
    }
    (void)pthread_mutex_lock(&s->lock);
    r = dyn_nfs_ftruncate(s->nfs, s->file, len);
    if (r == 0) {
        s->length = len;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return r < 0 ? err_set(err, -r, "Failed to truncate file: %s", dyn_nfs_get_error(s->nfs)) : 0;
}

/* "uid=N", "gid=N" ... of a URL's query, separated by '&'. */
static int parse_query(const char *query, struct keyval *opts, struct err **err)
{
    static const char *const names[][2] = { { "uid=", "user" },
                                            { "gid=", "group" },
                                            { "readahead=", "readahead-size" },
                                            { "pagecache=", "page-cache-size" },
                                            { "tcp-syncnt=", "tcp-syn-count" } };

    while (*query != '\0') {
        size_t len = strcspn(query, "&");
        bool known = false;

        for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            size_t skip = strlen(names[i][0]);

            if (str_starts(query, names[i][0]) && skip <= len) {
                AUTO_FREE char *value = url_decode(query + skip, len - skip);
                int r = value != NULL ? keyval_add(opts, names[i][1], value) : -ENOMEM;

                if (r < 0) {
                    return r;
                }
                known = true;
            }
        }
        if (!known) {
            return err_set(err, EINVAL, "Unknown NFS parameter name: %.*s", (int)len, query);
        }
        query += len + (query[len] == '&');
    }
    return 0;
}

static int parse_filename(const char *filename, struct keyval *opts, struct err **err)
{
    struct url u;
    int r;

    if (!url_parse(filename, &u) || *u.host == '\0' || *u.path == '\0') {
        url_done(&u);
        return err_set(err, EINVAL, "'%s' is no nfs URL: nfs://HOST/EXPORT/FILE", filename);
    }
    r = keyval_add(opts, "server.host", u.host);
    if (r == 0) {
        r = keyval_add(opts, "path", u.path);
    }
    if (r == 0 && u.query != NULL) {
        r = parse_query(u.query, opts, err);
    }
    url_done(&u);
    return r;
}

static const struct block_opt create_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { 0 },
};

static int nfs_node_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                           struct keyval *opts, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    struct nfs_node s = { .node.ctx = ctx };
    unsigned long long size = 0;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    (void)file;
    if (r == 0) {
        r = keyval_parse("", NULL, false, &kv, err);
    }
    if (r == 0) {
        r = block_parse_filename(filename, kv, err);
    }
    if (r < 0) {
        return r;
    }
    (void)pthread_mutex_init(&s.lock, NULL);
    r = attach(&s, kv, O_CREAT | O_TRUNC, err);
    if (r == 0) {
        r = nfs_node_truncate(&s.node, size, BLOCK_PREALLOC_OFF, err);
    }
    detach(&s);
    (void)pthread_mutex_destroy(&s.lock);
    return r;
}

static const char *const schemes[] = { "nfs", NULL };

const struct block_driver block_nfs = {
    .name = "nfs",
    .is_protocol = true,
    .size = sizeof(struct nfs_node),
    .schemes = schemes,
    .parse_filename = parse_filename,
    .open = nfs_node_open,
    .close = nfs_node_close,
    .length = nfs_length,
    .preadv = nfs_preadv,
    .pwritev = nfs_pwritev,
    .flush = nfs_flush,
    .truncate = nfs_node_truncate,
    .create_opts = create_opts,
    .create = nfs_node_create,
};
