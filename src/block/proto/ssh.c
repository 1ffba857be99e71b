/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ssh.c - files of other machines by SFTP: ssh://[USER@]HOST[:PORT]/PATH[?host_key_check=CHECK]
 * (host= or server.host=, port=, user=, path=, host_key_check=, host-key-check.mode= none,
 * known_hosts or hash with .type= and .hash=).
 *
 * Authentication is by the user's keys and agent; nobody is asked for a password. One request at a
 * time. CHECK: yes (known_hosts, the default), no, md5:HASH, sha1:HASH, sha256:HASH.
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
#include <libssh/libssh.h>
#include <libssh/sftp.h>
#include <pthread.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#define FUNCTIONS(X)               \
    X(ssh_new)                     \
    X(ssh_free)                    \
    X(ssh_options_set)             \
    X(ssh_connect)                 \
    X(ssh_disconnect)              \
    X(ssh_get_error)               \
    X(ssh_session_is_known_server) \
    X(ssh_get_server_publickey)    \
    X(ssh_get_publickey_hash)      \
    X(ssh_clean_pubkey_hash)       \
    X(ssh_key_free)                \
    X(ssh_userauth_none)           \
    X(ssh_userauth_publickey_auto) \
    X(sftp_new)                    \
    X(sftp_free)                   \
    X(sftp_init)                   \
    X(sftp_open)                   \
    X(sftp_close)                  \
    X(sftp_fstat)                  \
    X(sftp_attributes_free)        \
    X(sftp_seek64)                 \
    X(sftp_read)                   \
    X(sftp_write)                  \
    X(sftp_fsync)                  \
    X(sftp_extension_supported)
FUNCTIONS(DYNLIB_POINTER)

enum { CHUNK = 128 << 10 }; /* that SFTP servers take in one message */

struct ssh_node {
    struct block_node node;
    ssh_session session;
    sftp_session sftp;
    sftp_file file;
    uint64_t length;
    bool can_sync;
    pthread_mutex_t lock;
};

static int load(struct err **err)
{
    static const struct dynlib_symbol symbols[] = { FUNCTIONS(DYNLIB_SYMBOL) };

    return dynlib_open("libssh.so.4", symbols, sizeof(symbols) / sizeof(symbols[0]), err);
}

static int failed(struct ssh_node *s, const char *what, struct err **err)
{
    return err_set(err, EIO, "%s: %s", what, dyn_ssh_get_error(s->session));
}

/* The key's hash in hexadecimal must be the wanted one; colons do not count. */
static int check_hash(struct ssh_node *s, const char *type, const char *want, struct err **err)
{
    enum ssh_publickey_hash_type kind = str_eq(type, "md5")    ? SSH_PUBLICKEY_HASH_MD5
                                        : str_eq(type, "sha1") ? SSH_PUBLICKEY_HASH_SHA1
                                                               : SSH_PUBLICKEY_HASH_SHA256;
    unsigned char *hash = NULL;
    ssh_key key = NULL;
    size_t len = 0;
    bool same = true;
    int r = dyn_ssh_get_server_publickey(s->session, &key);

    if (r != SSH_OK || dyn_ssh_get_publickey_hash(key, kind, &hash, &len) != 0) {
        dyn_ssh_key_free(key);
        return failed(s, "failed to read remote host key", err);
    }
    for (size_t i = 0; i < 2 * len; i++) {
        unsigned digit = (unsigned)(i % 2 == 0 ? hash[i / 2] >> 4 : hash[i / 2] & 15);
        char c;

        while (*want == ':') {
            want++;
        }
        c = *want;
        same &=
            c != '\0' && "0123456789abcdef"[digit] == (c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
        want += c != '\0';
    }
    dyn_ssh_clean_pubkey_hash(&hash);
    dyn_ssh_key_free(key);
    return same && *want == '\0'
               ? 0
               : err_set(err, EPERM, "remote host key fingerprint does not match host_key_check");
}

static int check_host_key(struct ssh_node *s, struct keyval *opts, struct err **err)
{
    const char *mode = keyval_get(opts, "host-key-check.mode");
    const char *type = keyval_get(opts, "host-key-check.type");
    const char *hash = keyval_get(opts, "host-key-check.hash");

    if (mode != NULL && str_eq(mode, "none")) {
        return 0;
    }
    if (mode != NULL && str_eq(mode, "hash")) {
        if (type == NULL || hash == NULL ||
            (!str_eq(type, "md5") && !str_eq(type, "sha1") && !str_eq(type, "sha256"))) {
            return err_set(err, EINVAL, "host-key-check.type is md5, sha1 or sha256, with a .hash");
        }
        return check_hash(s, type, hash, err);
    }
    if (mode != NULL && !str_eq(mode, "known_hosts")) {
        return err_set(err, EINVAL, "unknown host_key_check setting (%s)", mode);
    }
    switch (dyn_ssh_session_is_known_server(s->session)) {
    case SSH_KNOWN_HOSTS_OK:
        return 0;
    case SSH_KNOWN_HOSTS_CHANGED:
        return err_set(err, EPERM, "host key does not match the one in known_hosts");
    case SSH_KNOWN_HOSTS_OTHER:
        return err_set(err, EPERM, "host key for this server not found, another type exists");
    case SSH_KNOWN_HOSTS_UNKNOWN:
    case SSH_KNOWN_HOSTS_NOT_FOUND:
        return err_set(err, EPERM, "no host key was found in known_hosts");
    default:
        return failed(s, "cannot check the host's key", err);
    }
}

static int connect_session(struct ssh_node *s, struct keyval *opts, struct err **err)
{
    const char *host = keyval_get(opts, "host");
    const char *port = keyval_get(opts, "port");
    const char *user = keyval_get(opts, "user");
    const char *server_host = keyval_get(opts, "server.host");
    const char *server_port = keyval_get(opts, "server.port");
    uint32_t number = 22;
    int r;

    (void)keyval_get(opts, "server.type");
    host = server_host != NULL ? server_host : host;
    port = server_port != NULL ? server_port : port;
    if (host == NULL) {
        return err_set(err, EINVAL, "No hostname was specified: host=");
    }
    if (port != NULL && str_to_u32(port, 65535, &number) < 0) {
        return err_set(err, EINVAL, "'%s' is no port", port);
    }
    if (user == NULL) {
        const struct passwd *pw = getpwuid(geteuid());

        user = pw != NULL ? pw->pw_name : NULL;
    }
    s->session = dyn_ssh_new();
    if (s->session == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    if (dyn_ssh_options_set(s->session, SSH_OPTIONS_HOST, host) < 0 ||
        dyn_ssh_options_set(s->session, SSH_OPTIONS_PORT, &number) < 0 ||
        (user != NULL && dyn_ssh_options_set(s->session, SSH_OPTIONS_USER, user) < 0)) {
        return failed(s, "failed to set up the ssh session", err);
    }
    if (dyn_ssh_connect(s->session) != SSH_OK) {
        return failed(s, "failed to establish SSH session", err);
    }
    r = check_host_key(s, opts, err);
    if (r == 0 && dyn_ssh_userauth_none(s->session, NULL) != SSH_AUTH_SUCCESS &&
        dyn_ssh_userauth_publickey_auto(s->session, NULL, NULL) != SSH_AUTH_SUCCESS) {
        r = err_set(err, EPERM, "failed to authenticate using publickey authentication");
    }
    return r;
}

static int open_file(struct ssh_node *s, const char *path, int flags, struct err **err)
{
    s->sftp = dyn_sftp_new(s->session);
    if (s->sftp == NULL || dyn_sftp_init(s->sftp) < 0) {
        return failed(s, "failed to initialize sftp handle", err);
    }
    s->file = dyn_sftp_open(s->sftp, path, flags, 0644);
    if (s->file == NULL) {
        return err_set(err, EIO, "failed to open remote file '%s': %s", path,
                       dyn_ssh_get_error(s->session));
    }
    return 0;
}

static void disconnect(struct ssh_node *s)
{
    if (s->file != NULL) {
        (void)dyn_sftp_close(s->file);
    }
    if (s->sftp != NULL) {
        dyn_sftp_free(s->sftp);
    }
    if (s->session != NULL) {
        dyn_ssh_disconnect(s->session);
        dyn_ssh_free(s->session);
    }
    s->file = NULL;
    s->sftp = NULL;
    s->session = NULL;
}

static int ssh_node_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct ssh_node *s = (struct ssh_node *)node;
    const char *path = keyval_get(opts, "path");
    const char *host = keyval_get(opts, "host");
    sftp_attributes attr;
    int r = load(err);

    (void)pthread_mutex_init(&s->lock, NULL);
    if (r == 0 && path == NULL) {
        r = err_set(err, EINVAL, "No path was specified: path=");
    }
    if (r == 0) {
        node->filename = str_format("ssh://%s%s", host != NULL ? host : "", path);
        r = connect_session(s, opts, err);
    }
    if (r == 0) {
        r = open_file(s, path, node->read_only ? O_RDONLY : O_RDWR, err);
    }
    if (r < 0) {
        return r;
    }
    attr = dyn_sftp_fstat(s->file);
    if (attr == NULL) {
        return failed(s, "failed to read file attributes", err);
    }
    s->length = attr->size;
    dyn_sftp_attributes_free(attr);
    s->can_sync = dyn_sftp_extension_supported(s->sftp, "fsync@openssh.com", "1") != 0;
    return s->length <= BLOCK_MAX_LENGTH ? 0 : err_set(err, EFBIG, "the file is too large");
}

static void ssh_node_close(struct block_node *node)
{
    struct ssh_node *s = (struct ssh_node *)node;

    disconnect(s);
    (void)pthread_mutex_destroy(&s->lock);
}

static int64_t ssh_length(struct block_node *node)
{
    return (int64_t)((struct ssh_node *)node)->length;
}

static int transfer(struct ssh_node *s, uint8_t *p, size_t len, bool write)
{
    while (len > 0) {
        size_t part = min_u64(len, CHUNK);
        ssize_t n = write ? dyn_sftp_write(s->file, p, part) : dyn_sftp_read(s->file, p, part);

        if (n < 0 || (n == 0 && write)) {
            return -EIO;
        }
        if (n == 0) {
            memset(p, 0, len);
            return 0;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int both_ways(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off,
                     bool write)
{
    struct ssh_node *s = (struct ssh_node *)node;
    int r;

    (void)pthread_mutex_lock(&s->lock);
    r = dyn_sftp_seek64(s->file, off) < 0 ? -EIO : 0;
    for (unsigned i = 0; r == 0 && i < n; i++) {
        r = transfer(s, iov[i].iov_base, iov[i].iov_len, write);
    }
    if (r == 0 && write) {
        s->length = max_u64(s->length, off + iov_len(iov, n));
    }
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

static int ssh_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return both_ways(node, iov, n, off, false);
}

static int ssh_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return both_ways(node, iov, n, off, true);
}

static int ssh_flush(struct block_node *node)
{
    struct ssh_node *s = (struct ssh_node *)node;
    int r = 0;

    if (s->can_sync && !node->no_flush) {
        (void)pthread_mutex_lock(&s->lock);
        r = dyn_sftp_fsync(s->file) < 0 ? -EIO : 0;
        (void)pthread_mutex_unlock(&s->lock);
    }
    return r;
}

/* SFTP clients cannot shorten an open file; formats do without. */
static int ssh_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                        struct err **err)
{
    struct ssh_node *s = (struct ssh_node *)node;
    uint8_t zero = 0;
    struct iovec iov = { .iov_base = &zero, .iov_len = 1 };

    if (prealloc != BLOCK_PREALLOC_OFF) {
        return err_set(err, ENOTSUP, "ssh knows no preallocation");
    }
    if (len < s->length) {
        return err_set(err, ENOTSUP, "ssh driver does not support shrinking files");
    }
    return len > s->length ? ssh_pwritev(node, &iov, 1, len - 1) : 0;
}

static int parse_check(const char *query, struct keyval *opts, struct err **err)
{
    const char *check = str_starts(query, "host_key_check=") ? query + 15 : NULL;
    const char *colon = check != NULL ? strchr(check, ':') : NULL;
    AUTO_FREE char *type = colon != NULL ? strndup(check, (size_t)(colon - check)) : NULL;
    int r;

    if (check == NULL) {
        return err_set(err, EINVAL, "unsupported parameter '%s' in the ssh URI", query);
    }
    if (colon == NULL) {
        return keyval_add(opts, "host-key-check.mode",
                          str_eq(check, "no")    ? "none"
                          : str_eq(check, "yes") ? "known_hosts"
                                                 : check);
    }
    r = keyval_add(opts, "host-key-check.mode", "hash");
    if (r == 0) {
        r = type != NULL ? keyval_add(opts, "host-key-check.type", type) : -ENOMEM;
    }
    return r == 0 ? keyval_add(opts, "host-key-check.hash", colon + 1) : r;
}

static int parse_filename(const char *filename, struct keyval *opts, struct err **err)
{
    struct url u;
    int r = 0;

    if (!url_parse(filename, &u) || *u.host == '\0' || *u.path == '\0') {
        url_done(&u);
        return err_set(err, EINVAL, "'%s' is no ssh URI: ssh://[USER@]HOST[:PORT]/PATH", filename);
    }
    if (u.user != NULL) {
        r = keyval_add(opts, "user", u.user);
    }
    if (r == 0) {
        r = keyval_add(opts, "host", u.host);
    }
    if (r == 0 && u.port != NULL) {
        r = keyval_add(opts, "port", u.port);
    }
    if (r == 0) {
        r = keyval_add(opts, "path", u.path);
    }
    if (r == 0 && u.query != NULL) {
        r = parse_check(u.query, opts, err);
    }
    url_done(&u);
    return r;
}

static const struct block_opt create_opts[] = {
    { "size", BLOCK_OPT_SIZE, "Virtual disk size", NULL },
    { 0 },
};

static int ssh_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                      struct keyval *opts, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    struct ssh_node s = { .node.ctx = ctx };
    unsigned long long size = 0;
    int r = keyval_get_size(opts, "size", 0, &size, err);

    (void)file;
    if (r == 0) {
        r = keyval_parse("", NULL, false, &kv, err);
    }
    if (r == 0) {
        r = block_parse_filename(filename, kv, err);
    }
    if (r == 0) {
        r = load(err);
    }
    if (r < 0) {
        return r;
    }
    (void)pthread_mutex_init(&s.lock, NULL);
    r = connect_session(&s, kv, err);
    if (r == 0) {
        r = open_file(&s, keyval_get(kv, "path"), O_RDWR | O_CREAT | O_TRUNC, err);
    }
    if (r == 0) {
        r = ssh_truncate(&s.node, size, BLOCK_PREALLOC_OFF, err);
    }
    disconnect(&s);
    (void)pthread_mutex_destroy(&s.lock);
    return r;
}

static const char *const schemes[] = { "ssh", NULL };

const struct block_driver block_ssh = {
    .name = "ssh",
    .is_protocol = true,
    .size = sizeof(struct ssh_node),
    .schemes = schemes,
    .parse_filename = parse_filename,
    .open = ssh_node_open,
    .close = ssh_node_close,
    .length = ssh_length,
    .preadv = ssh_preadv,
    .pwritev = ssh_pwritev,
    .flush = ssh_flush,
    .truncate = ssh_truncate,
    .create_opts = create_opts,
    .create = ssh_create,
};
