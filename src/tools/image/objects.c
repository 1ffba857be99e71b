/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/image/objects.h"

#include "base/str.h"
#include "block/filter/throttle.h"
#include "codec/keyval.h"
#include "os/fd.h"

#include <errno.h>
#include <nettle/base64.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OBJECTS = 64, MAX_SECRET = 1 << 20 };

struct object {
    char *id;
    uint8_t *secret; /* owned; NULL: credentials */
    size_t len;
    char *dir; /* owned */
    bool verify_peer;
};

struct objects {
    struct block_ctx *ctx; /* borrowed */
    struct object list[MAX_OBJECTS];
    unsigned n;
};

static int find_secret(void *arg, const char *id, uint8_t **ret, size_t *ret_len, struct err **err)
{
    struct objects *o = arg;

    for (unsigned i = 0; i < o->n; i++) {
        if (str_eq(o->list[i].id, id) && o->list[i].secret != NULL) {
            *ret = malloc(o->list[i].len + 1);
            if (*ret == NULL) {
                return -ENOMEM;
            }
            memcpy(*ret, o->list[i].secret, o->list[i].len);
            *ret_len = o->list[i].len;
            return 0;
        }
    }
    return err_set(err, ENOENT, "No secret with id '%s'", id);
}

const char *objects_tls(struct objects *o, const char *id, bool *ret_verify)
{
    for (unsigned i = 0; i < o->n; i++) {
        if (str_eq(o->list[i].id, id) && o->list[i].dir != NULL) {
            *ret_verify = o->list[i].verify_peer;
            return o->list[i].dir;
        }
    }
    return NULL;
}

static const char *find_dir(void *arg, const char *id)
{
    bool verify;

    return objects_tls(arg, id, &verify);
}

int objects_new(struct block_ctx *ctx, struct objects **ret, struct err **err)
{
    *ret = calloc(1, sizeof(**ret));
    if (*ret == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    (*ret)->ctx = ctx;
    block_ctx_set_secrets(ctx, find_secret, *ret);
    block_ctx_set_tls(ctx, find_dir, *ret);
    return 0;
}

struct objects *objects_free(struct objects *o)
{
    for (unsigned i = 0; o != NULL && i < o->n; i++) {
        free(o->list[i].id);
        free(o->list[i].secret);
        free(o->list[i].dir);
    }
    free(o);
    return NULL;
}

static int decode_base64(struct object *new, struct err **err)
{
    struct base64_decode_ctx c;
    size_t len = BASE64_DECODE_LENGTH(new->len);
    uint8_t *out = malloc(len + 1);

    if (out == NULL) {
        return -ENOMEM;
    }
    base64_decode_init(&c);
    if (base64_decode_update(&c, &len, out, new->len, (const char *)new->secret) == 0 ||
        base64_decode_final(&c) == 0) {
        free(out);
        return err_set(err, EINVAL, "secret '%s' is not valid base64", new->id);
    }
    free(new->secret);
    new->secret = out;
    new->len = len;
    return 0;
}

static int add_secret(struct object *new, struct keyval *kv, struct err **err)
{
    const char *data = keyval_get(kv, "data");
    const char *file = keyval_get(kv, "file");
    const char *format = keyval_get(kv, "format");
    char *text = NULL;
    int r;

    if ((data == NULL) == (file == NULL)) {
        return err_set(err, EINVAL,
                       data == NULL ? "Must provide 'file' or 'data'"
                                    : "'file' and 'data' are mutually exclusive");
    }
    if (data != NULL) {
        new->secret = (uint8_t *)strdup(data);
        new->len = strlen(data);
    } else {
        r = file_slurp(file, MAX_SECRET, &text, &new->len);
        if (r < 0) {
            return err_set(err, -r, "Unable to read %s: %s", file, strerror(-r));
        }
        new->secret = (uint8_t *)text;
    }
    return format != NULL && str_eq(format, "base64") ? decode_base64(new, err)
           : new->secret != NULL                      ? 0
                                                      : -ENOMEM;
}

int objects_add(struct objects *o, const char *text, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    struct object *new = &o->list[o->n];
    const char *type;
    const char *id;
    int r = keyval_parse(text, "qom-type", false, &kv, err);

    if (r < 0) {
        return r;
    }
    type = keyval_get(kv, "qom-type");
    id = keyval_get(kv, "id");
    if (type == NULL || id == NULL || o->n == MAX_OBJECTS) {
        return err_set(err, EINVAL,
                       o->n == MAX_OBJECTS ? "too many objects" : "Parameter '%s' is missing",
                       type == NULL ? "qom-type" : "id");
    }
    new->id = strdup(id);
    o->n++;
    if (str_eq(type, "secret")) {
        r = add_secret(new, kv, err);
    } else if (str_eq(type, "tls-creds-x509")) {
        const char *dir = keyval_get(kv, "dir");

        (void)keyval_get(kv, "endpoint");
        r = keyval_get_bool(kv, "verify-peer", true, &new->verify_peer, err);
        new->dir = dir != NULL ? strdup(dir) : NULL;
        r = r < 0 || dir != NULL ? r : err_set(err, EINVAL, "tls-creds-x509: dir= is missing");
    } else if (str_eq(type, "throttle-group")) {
        struct throttle_limits limits = { 0 };

        r = throttle_parse(kv, &limits, err);
        r = r == 0 ? throttle_group_set(o->ctx, id, &limits, err) : r;
    } else {
        r = err_set(err, EINVAL,
                    "Invalid parameter '%s': objects here are 'secret', 'tls-creds-x509' and "
                    "'throttle-group'",
                    type);
    }
    return r == 0 ? keyval_check_used(kv, err) : r;
}
