/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * curl.c - files of web and FTP servers, read-only: http, https, ftp, ftps (url=, readahead=,
 * sslverify=, timeout=, cookie=, cookie-secret=, username=, password-secret=, proxy-username=,
 * proxy-password-secret=).
 *
 * A server that gives no parts of a file (Range) is of no use here. What was read ahead is kept in
 * a few pieces of readahead bytes.
 */
#include "block/core/block.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/iov.h"
#include "codec/keyval.h"
#include "os/dynlib.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FUNCTIONS(X)     \
    X(curl_global_init)  \
    X(curl_easy_init)    \
    X(curl_easy_cleanup) \
    X(curl_easy_setopt)  \
    X(curl_easy_perform) \
    X(curl_easy_getinfo) \
    X(curl_easy_strerror)
FUNCTIONS(DYNLIB_POINTER)

enum {
    DEFAULT_READAHEAD = 256 << 10,
    MAX_READAHEAD = 64 << 20,
    DEFAULT_TIMEOUT = 5,
    N_HANDLES = 4, /* requests at a time */
    N_PIECES = 8,
};

struct piece {
    uint64_t off;
    size_t len;
    uint8_t *data; /* owned */
    uint64_t used; /* when: the oldest is replaced */
};

struct curl_node {
    struct block_node node;
    uint64_t length;
    char *url; /* what follows: owned */
    char *cookie;
    char *user;
    char *password;
    char *proxy_user;
    char *proxy_password;
    bool verify;
    long timeout;
    size_t readahead;
    bool ranges; /* the server says that it has them */
    pthread_mutex_t lock;
    pthread_cond_t freed;
    CURL *handles[N_HANDLES]; /* owned */
    bool busy[N_HANDLES];
    struct piece pieces[N_PIECES];
    uint64_t clock;
};

/* Where an answer goes; what the server sends too much is not taken. */
struct sink {
    uint8_t *buf;
    size_t len;
    size_t got;
    bool too_much;
};

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    struct sink *s = arg;
    size_t len = size * n;

    if (len > s->len - s->got) {
        s->too_much = true;
        return 0;
    }
    memcpy(s->buf + s->got, data, len);
    s->got += len;
    return len;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct curl_node *c = arg;
    static const char accept[] = "accept-ranges:";
    size_t len = size * n;

    if (len > sizeof(accept) && strncasecmp(data, accept, sizeof(accept) - 1) == 0 &&
        memmem(data, len, "bytes", 5) != NULL) {
        c->ranges = true;
    }
    return len;
}

static CURL *new_handle(struct curl_node *c)
{
    CURL *h = dyn_curl_easy_init();

    if (h == NULL) {
        return NULL;
    }
    (void)dyn_curl_easy_setopt(h, CURLOPT_URL, c->url);
    (void)dyn_curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https,ftp,ftps");
    (void)dyn_curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, "http,https,ftp,ftps");
    (void)dyn_curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, (long)c->verify);
    (void)dyn_curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, c->verify ? 2L : 0L);
    (void)dyn_curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, c->timeout);
    /* A server that sends less than a byte a second for that long has gone. */
    (void)dyn_curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)dyn_curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, c->timeout);
    (void)dyn_curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    (void)dyn_curl_easy_setopt(h, CURLOPT_FAILONERROR, 1L);
    (void)dyn_curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 1L);
    (void)dyn_curl_easy_setopt(h, CURLOPT_MAXREDIRS, 10L);
    (void)dyn_curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_data);
    if (c->cookie != NULL) {
        (void)dyn_curl_easy_setopt(h, CURLOPT_COOKIE, c->cookie);
    }
    if (c->user != NULL) {
        (void)dyn_curl_easy_setopt(h, CURLOPT_USERNAME, c->user);
    }
    if (c->password != NULL) {
        (void)dyn_curl_easy_setopt(h, CURLOPT_PASSWORD, c->password);
    }
    if (c->proxy_user != NULL) {
        (void)dyn_curl_easy_setopt(h, CURLOPT_PROXYUSERNAME, c->proxy_user);
    }
    if (c->proxy_password != NULL) {
        (void)dyn_curl_easy_setopt(h, CURLOPT_PROXYPASSWORD, c->proxy_password);
    }
    return h;
}

/* ---- opening ---- */

static int find_length(struct curl_node *c, struct err **err)
{
    CURL *h = new_handle(c);
    char text[CURL_ERROR_SIZE] = "";
    curl_off_t length = -1;
    CURLcode code;

    if (h == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    (void)dyn_curl_easy_setopt(h, CURLOPT_ERRORBUFFER, text);
    (void)dyn_curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    (void)dyn_curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    (void)dyn_curl_easy_setopt(h, CURLOPT_HEADERDATA, c);
    code = dyn_curl_easy_perform(h);
    (void)dyn_curl_easy_getinfo(h, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    dyn_curl_easy_cleanup(h);
    if (code != CURLE_OK) {
        return err_set(err, EIO, "CURL: Error opening file: %s",
                       *text != '\0' ? text : dyn_curl_easy_strerror(code));
    }
    if (length < 0) {
        return err_set(err, EINVAL, "CURL: the server does not say how long the file is");
    }
    if (str_starts(c->url, "http") && !c->ranges) {
        return err_set(err, EINVAL, "Server does not support 'range' (byte ranges).");
    }
    c->length = (uint64_t)length;
    return 0;
}

static int secret_option(struct block_node *node, struct keyval *opts, const char *key, char **ret,
                         struct err **err)
{
    const char *id = keyval_get(opts, key);
    uint8_t *bytes = NULL;
    size_t len = 0;
    int r = id != NULL ? block_secret(node->ctx, id, &bytes, &len, err) : 0;

    if (r == 0 && id != NULL) {
        *ret = strndup((char *)bytes, len);
        free(bytes);
    }
    return r;
}

static int copy_option(struct keyval *opts, const char *key, char **ret)
{
    const char *value = keyval_get(opts, key);

    *ret = value != NULL ? strdup(value) : NULL;
    return value != NULL && *ret == NULL ? -ENOMEM : 0;
}

static int parse_options(struct curl_node *c, struct keyval *opts, struct err **err)
{
    unsigned long long readahead = 0;
    unsigned long long timeout = 0;
    int r = keyval_get_size(opts, "readahead", DEFAULT_READAHEAD, &readahead, err);

    if (r == 0) {
        r = keyval_get_u64(opts, "timeout", DEFAULT_TIMEOUT, &timeout, err);
    }
    if (r == 0) {
        r = keyval_get_bool(opts, "sslverify", true, &c->verify, err);
    }
    if (r == 0 && (readahead % BLOCK_SECTOR != 0 || readahead > MAX_READAHEAD)) {
        r = err_set(err, EINVAL, "readahead is a multiple of 512, at most 64M");
    }
    if (r == 0 && timeout > 10000) {
        r = err_set(err, EINVAL, "timeout parameter is too large or negative");
    }
    c->readahead = readahead;
    c->timeout = (long)timeout;
    if (r == 0) {
        r = copy_option(opts, "url", &c->url);
    }
    if (r == 0) {
        r = copy_option(opts, "username", &c->user);
    }
    if (r == 0) {
        r = copy_option(opts, "proxy-username", &c->proxy_user);
    }
    if (r == 0) {
        r = copy_option(opts, "cookie", &c->cookie);
    }
    if (r == 0) {
        r = secret_option(&c->node, opts, "cookie-secret", &c->cookie, err);
    }
    if (r == 0) {
        r = secret_option(&c->node, opts, "password-secret", &c->password, err);
    }
    if (r == 0) {
        r = secret_option(&c->node, opts, "proxy-password-secret", &c->proxy_password, err);
    }
    if (r == 0 && (c->url == NULL || !str_starts(c->url, c->node.drv->name) ||
                   !str_starts(c->url + strlen(c->node.drv->name), "://"))) {
        r = err_set(err, EINVAL, "url= must begin with %s://", c->node.drv->name);
    }
    return r;
}

static int curl_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    static const struct dynlib_symbol symbols[] = { FUNCTIONS(DYNLIB_SYMBOL) };
    struct curl_node *c = (struct curl_node *)node;
    bool automatic = false;
    int r = keyval_get_bool(opts, "auto-read-only", false, &automatic, err);

    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->freed, NULL);
    if (r == 0) {
        r = parse_options(c, opts, err);
    }
    if (r == 0 && !node->read_only && !automatic) {
        r = err_set(err, EACCES, "curl driver does not support writes: open it read-only");
    }
    if (r == 0) {
        node->read_only = true;
        node->filename = strdup(c->url);
        r = dynlib_open("libcurl-gnutls.so.4", symbols, sizeof(symbols) / sizeof(symbols[0]), err);
    }
    if (r == 0 && dyn_curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK) {
        r = err_set(err, EIO, "libcurl does not start");
    }
    return r == 0 ? find_length(c, err) : r;
}

static void curl_close(struct block_node *node)
{
    struct curl_node *c = (struct curl_node *)node;

    for (int i = 0; i < N_HANDLES; i++) {
        if (c->handles[i] != NULL) {
            dyn_curl_easy_cleanup(c->handles[i]);
        }
    }
    for (int i = 0; i < N_PIECES; i++) {
        free(c->pieces[i].data);
    }
    free(c->url);
    free(c->cookie);
    free(c->user);
    free(c->password);
    free(c->proxy_user);
    free(c->proxy_password);
    (void)pthread_mutex_destroy(&c->lock);
    (void)pthread_cond_destroy(&c->freed);
}

static int64_t curl_length(struct block_node *node)
{
    return (int64_t)((struct curl_node *)node)->length;
}

/* ---- reading ---- */

static int take_handle(struct curl_node *c, int *ret)
{
    (void)pthread_mutex_lock(&c->lock);
    for (;;) {
        for (int i = 0; i < N_HANDLES; i++) {
            if (!c->busy[i]) {
                c->busy[i] = true;
                if (c->handles[i] == NULL) {
                    c->handles[i] = new_handle(c);
                }
                *ret = i;
                (void)pthread_mutex_unlock(&c->lock);
                return c->handles[i] != NULL ? 0 : -ENOMEM;
            }
        }
        (void)pthread_cond_wait(&c->freed, &c->lock);
    }
}

static void give_handle(struct curl_node *c, int i)
{
    (void)pthread_mutex_lock(&c->lock);
    c->busy[i] = false;
    (void)pthread_cond_signal(&c->freed);
    (void)pthread_mutex_unlock(&c->lock);
}

static int fetch(struct curl_node *c, uint8_t *buf, size_t len, uint64_t off)
{
    struct sink sink = { .buf = buf, .len = len };
    char range[64];
    CURLcode code = CURLE_OUT_OF_MEMORY;
    int i;
    int r = take_handle(c, &i);

    if (r == 0) {
        CURL *h = c->handles[i];

        (void)snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)off,
                       (unsigned long long)(off + len - 1));
        (void)dyn_curl_easy_setopt(h, CURLOPT_RANGE, range);
        (void)dyn_curl_easy_setopt(h, CURLOPT_WRITEDATA, &sink);
        code = dyn_curl_easy_perform(h);
    }
    give_handle(c, i);
    /* FTP has no end of a part: it is cut off when all is there. */
    return r < 0 ? r : sink.got == len && (code == CURLE_OK || sink.too_much) ? 0 : -EIO;
}

/* A part that is at hand: its length, or 0. */
static size_t from_pieces(struct curl_node *c, uint8_t *buf, size_t len, uint64_t off)
{
    size_t n = 0;

    (void)pthread_mutex_lock(&c->lock);
    for (int i = 0; i < N_PIECES && n == 0; i++) {
        struct piece *p = &c->pieces[i];

        if (p->data != NULL && off >= p->off && off < p->off + p->len) {
            n = min_u64(len, p->off + p->len - off);
            memcpy(buf, p->data + (off - p->off), n);
            p->used = ++c->clock;
        }
    }
    (void)pthread_mutex_unlock(&c->lock);
    return n;
}

static void keep_piece(struct curl_node *c, uint8_t *data, size_t len, uint64_t off)
{
    struct piece *oldest = &c->pieces[0];

    (void)pthread_mutex_lock(&c->lock);
    for (int i = 1; i < N_PIECES; i++) {
        oldest = c->pieces[i].used < oldest->used ? &c->pieces[i] : oldest;
    }
    free(oldest->data);
    *oldest = (struct piece) { .off = off, .len = len, .data = data, .used = ++c->clock };
    (void)pthread_mutex_unlock(&c->lock);
}

static int read_buf(struct curl_node *c, uint8_t *buf, size_t len, uint64_t off)
{
    while (len > 0) {
        size_t n = from_pieces(c, buf, len, off);

        if (n == 0 && len >= c->readahead) {
            return fetch(c, buf, len, off);
        }
        if (n == 0) {
            size_t ahead = min_u64(c->readahead, c->length - off);
            uint8_t *data = malloc(ahead);
            int r = data != NULL ? fetch(c, data, ahead, off) : -ENOMEM;

            if (r < 0) {
                free(data);
                return r;
            }
            n = min_u64(len, ahead);
            memcpy(buf, data, n);
            keep_piece(c, data, ahead, off);
        }
        buf += n;
        off += n;
        len -= n;
    }
    return 0;
}

static int curl_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct curl_node *c = (struct curl_node *)node;
    size_t len = iov_len(iov, n);
    AUTO_FREE uint8_t *buf = n == 1 ? NULL : malloc(len + 1);
    int r;

    if (n == 1) {
        return read_buf(c, iov->iov_base, len, off);
    }
    r = buf != NULL ? read_buf(c, buf, len, off) : -ENOMEM;
    if (r == 0) {
        iov_from_buf(iov, n, 0, buf, len);
    }
    return r;
}

static int parse_filename(const char *filename, struct keyval *opts, struct err **err)
{
    (void)err;
    return keyval_add(opts, "url", filename);
}

static const char *const http[] = { "http", NULL };
static const char *const https[] = { "https", NULL };
static const char *const ftp[] = { "ftp", NULL };
static const char *const ftps[] = { "ftps", NULL };

#define CURL_DRIVER(name_, schemes_)                                                               \
    {                                                                                              \
        .name = name_, .is_protocol = true, .size = sizeof(struct curl_node), .schemes = schemes_, \
        .parse_filename = parse_filename, .open = curl_open, .close = curl_close,                  \
        .length = curl_length, .preadv = curl_preadv,                                              \
    }

const struct block_driver block_http = CURL_DRIVER("http", http);
const struct block_driver block_https = CURL_DRIVER("https", https);
const struct block_driver block_ftp = CURL_DRIVER("ftp", ftp);
const struct block_driver block_ftps = CURL_DRIVER("ftps", ftps);
